/* Opens and closes the log, takes requests and answers questions. */
#include "log_private.h"

#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1ull << 20)

/* ---- Opening and closing ------------------------------------------------------------------------------------- */

static int32_t set_options(struct store_log *log, const struct store_log_options *options, hf_error *error)
{
    struct store_log_options *o = &log->options;

    *o = *options;
    o->segment_size = o->segment_size ? o->segment_size : 64 * MIB;
    o->queue_bytes_max = o->queue_bytes_max ? o->queue_bytes_max : 64 * MIB;
    o->index_bytes_max = o->index_bytes_max ? o->index_bytes_max : 1024 * MIB;
    o->spare_max = o->spare_max ? o->spare_max : 4;
    if (o->segment_size < SEGMENT_SIZE_MIN || o->segment_size > SEGMENT_SIZE_MAX || o->segment_size % RECORD_ALIGNMENT)
        return hf_error_set(error, HF_EINVAL,
                            "the log's segment size is %" PRIu64
                            " bytes, but must be a multiple of 8 from 4 KiB to 1 GiB",
                            o->segment_size);
    if (o->spare_max > SPARE_MAX)
        return hf_error_set(error, HF_EINVAL, "the log is to keep %" PRIu32 " spare segments, but %d are the most",
                            o->spare_max, (int)SPARE_MAX);
    return 0;
}

static void free_log(struct store_log *log)
{
    const struct store_log_file_system *fs = &log->options.file_system;

    for (uint64_t i = 0; i < log->index.segment_count; i++) {
        fs->close(fs->context, log->index.segments[i]->file);
        free(log->index.segments[i]);
    }
    index_done(&log->index);
    pthread_cond_destroy(&log->work);
    pthread_mutex_destroy(&log->lock);
    if (log->batch)
        free(log->batch->staging);
    free(log->batch);
    free(log->plans);
    free(log);
}

static struct store_log *new_log(void)
{
    struct store_log *log = calloc(1, sizeof *log);

    if (!log)
        return NULL;
    log->last = &log->first;
    if (pthread_mutex_init(&log->lock, NULL) != 0) {
        free(log);
        return NULL;
    }
    if (pthread_cond_init(&log->work, NULL) != 0) {
        pthread_mutex_destroy(&log->lock);
        free(log);
        return NULL;
    }
    log->batch = calloc(1, sizeof *log->batch);
    if (log->batch)
        log->batch->staging = malloc(BATCH_STAGING_SIZE);
    if (log->batch && log->batch->staging && index_init(&log->index, UINT64_MAX) == 0)
        return log;
    free_log(log);
    return NULL;
}

static int32_t start(struct store_log *log, const struct store_log_options *options, hf_error *error)
{
    int32_t r = set_options(log, options, error);

    if (r == 0)
        r = log_recover(log, error);
    log->index.bytes_max = log->options.index_bytes_max;
    if (r == 0 && !log->current)
        r = log_segment_begin(log, error);
    if (r < 0)
        return r;
    int failed = pthread_create(&log->thread, NULL, log_writer_main, log);

    return failed ? hf_error_set_errno(error, HF_ENOMEM, failed, "cannot start the log's thread") : 0;
}

int32_t store_log_open(const struct store_log_options *options, struct store_log **ret_log, hf_error *error)
{
    struct store_log *log = new_log();

    if (!log)
        return hf_error_set(error, HF_ENOMEM, "no memory for the log; give the process more");
    int32_t r = start(log, options, error);

    if (r < 0)
        free_log(log);
    else
        *ret_log = log;
    return r;
}

static void stop(struct store_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->closing = 1;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    stop(log);
    free_log(log);
}

int32_t store_log_finish(struct store_log *log, hf_error *error)
{
    int32_t r = 0;

    if (!log)
        return 0;
    stop(log);
    if (!log->failed && log->current && log->current->end > SEGMENT_HEADER_SIZE)
        r = log_segment_begin(log, error);
    free_log(log);
    return r;
}

/* ---- Submitting ---------------------------------------------------------------------------------------------- */

static int well_formed(const struct store_log_record *record)
{
    int indexed = record->index >= 1 && record->index < UINT64_MAX;

    switch (record->type) {
    case STORE_LOG_ENTRY:
        return indexed && record->entry_type >= 0 && record->entry_type <= 255 &&
               (record->payload.data || !record->payload.size);
    case STORE_LOG_TRUNCATE:
    case STORE_LOG_COMPACT:
        return indexed;
    case STORE_LOG_STATE:
    case STORE_LOG_REMOVED:
        return 1;
    default:
        return 0;
    }
}

static int32_t measure(const struct store_log *log, struct store_log_request *request, hf_error *error)
{
    uint64_t payload_max = log->options.segment_size - SEGMENT_HEADER_SIZE - RECORD_HEADER_SIZE;

    request->bytes = 0;
    for (uint64_t i = 0; i < request->count; i++) {
        const struct store_log_record *record = &request->records[i];

        if (!well_formed(record))
            return hf_error_set(error, HF_EINVAL,
                                "record %" PRIu64 " for the log is malformed (type %d, group %" PRIu64
                                ", index %" PRIu64 "); this is a fault of the caller",
                                i, (int)record->type, record->group, record->index);
        if (record->type == STORE_LOG_ENTRY && record->payload.size > payload_max)
            return hf_error_set(error, HF_ETOOLARGE,
                                "an entry of %" PRIu64 " bytes does not fit into a log segment, which takes %" PRIu64
                                "; write less at once or raise the segment size",
                                record->payload.size, payload_max);
        request->bytes += record_stored_size(record_payload_size(record));
    }
    if (!request->count)
        return hf_error_set(error, HF_EINVAL, "a request to the log has no records");
    if (request->bytes > log->options.queue_bytes_max)
        return hf_error_set(error, HF_ETOOLARGE,
                            "a request of %" PRIu64 " bytes is larger than the log's queue of %" PRIu64
                            "; divide it or raise the limit",
                            request->bytes, log->options.queue_bytes_max);
    return 0;
}

static int32_t check_state(struct store_log *log, const struct store_log_request *request, hf_error *error)
{
    if (log->failed)
        return hf_error_set(error, log->failed, "%s", log->failure.message);
    if (log->closing)
        return hf_error_set(error, HF_ECLOSED, "the log is closing");
    if (log->metrics.queue_bytes + request->bytes <= log->options.queue_bytes_max)
        return 0;
    log->metrics.refused++;
    return hf_error_set(error, HF_EBUSY,
                        "%" PRIu64 " bytes wait for the log, the limit is %" PRIu64 "; try again later",
                        log->metrics.queue_bytes, log->options.queue_bytes_max);
}

static int32_t grow_plans(struct store_log *log, uint64_t count)
{
    struct index_plan *plans = count > log->plan_capacity ? realloc(log->plans, count * sizeof *plans) : log->plans;

    if (!plans)
        return HF_ENOMEM;
    log->plans = plans;
    if (log->plan_capacity < count)
        log->plan_capacity = count;
    return 0;
}

static int32_t plan_refused(struct store_log *log, const struct store_log_record *record, int32_t code, hf_error *error)
{
    if (code == HF_EINVAL)
        return hf_error_set(error, code,
                            "record of type %d with index %" PRIu64 " does not follow what group %" PRIu64
                            " has in the log; this is a fault of the caller",
                            (int)record->type, record->index, record->group);
    log->metrics.refused++;
    return hf_error_set(error, code,
                        "the log's index takes %" PRIu64 " bytes, the limit is %" PRIu64
                        "; compact the groups or raise the limit",
                        log->index.bytes, log->index.bytes_max);
}

/* All of the request, or nothing of it. */
static int32_t plan(struct store_log *log, const struct store_log_request *request, hf_error *error)
{
    uint64_t i;
    int32_t r = grow_plans(log, request->count);

    if (r < 0)
        return hf_error_set(error, r, "no memory for a request to the log; give the process more");
    for (i = 0; r == 0 && i < request->count; i++)
        r = index_plan(&log->index, &request->records[i], &log->plans[i]);
    if (r == 0)
        return 0;
    const struct store_log_record *refused = &request->records[--i];

    while (i-- > 0)
        index_unplan(&log->index, &request->records[i], &log->plans[i]);
    return plan_refused(log, refused, r, error);
}

int32_t store_log_submit(struct store_log *log, struct store_log_request *request, hf_error *error)
{
    int32_t r = measure(log, request, error);

    if (r < 0)
        return r;
    request->next = NULL;
    pthread_mutex_lock(&log->lock);
    r = check_state(log, request, error);
    if (r == 0)
        r = plan(log, request, error);
    if (r == 0) {
        *log->last = request;
        log->last = &request->next;
        log->metrics.queue_bytes += request->bytes;
        pthread_cond_signal(&log->work);
    }
    pthread_mutex_unlock(&log->lock);
    return r;
}

/* ---- Questions ----------------------------------------------------------------------------------------------- */

void store_log_groups(struct store_log *log, void (*each)(void *argument, const struct store_log_group_info *info),
                      void *argument)
{
    struct store_log_group_info info;

    pthread_mutex_lock(&log->lock);
    for (const struct index_group *g = index_next(&log->index, NULL); g; g = index_next(&log->index, g)) {
        if (!g->exists)
            continue;
        index_group_info(g, &info);
        each(argument, &info);
    }
    pthread_mutex_unlock(&log->lock);
}

int32_t store_log_group(struct store_log *log, uint64_t group, struct store_log_group_info *ret_info)
{
    pthread_mutex_lock(&log->lock);
    const struct index_group *g = index_find(&log->index, group);
    int found = g && g->exists;

    if (found)
        index_group_info(g, ret_info);
    pthread_mutex_unlock(&log->lock);
    return found ? 0 : HF_ENOTFOUND;
}

/* With the lock held. */
static int find_entry(struct store_log *log, uint64_t group, uint64_t index, struct store_log_entry *ret_entry)
{
    const struct index_group *g = index_find(&log->index, group);
    const struct index_entry *entry = g ? index_entry(g, index) : NULL;

    if (!entry)
        return 0;
    *ret_entry = (struct store_log_entry){.term = entry->term,
                                          .segment = entry->segment_type >> 8,
                                          .offset = entry->offset,
                                          .size = entry->size,
                                          .type = (int32_t)(entry->segment_type & 255)};
    return 1;
}

int32_t store_log_entry(struct store_log *log, uint64_t group, uint64_t index, struct store_log_entry *ret_entry)
{
    pthread_mutex_lock(&log->lock);
    int found = find_entry(log, group, index, ret_entry);

    pthread_mutex_unlock(&log->lock);
    return found ? 0 : HF_ENOTFOUND;
}

static int32_t read_entry(struct store_log *log, int file, const struct store_log_record *expected,
                          const struct store_log_entry *entry, void *buffer, hf_error *error)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    uint8_t header[RECORD_HEADER_SIZE];
    uint32_t seed = segment_seed(log->options.node, entry->segment);
    int64_t head = log_read_all(fs, file, header, sizeof header, entry->offset);
    int64_t body = head < 0 ? head : log_read_all(fs, file, buffer, entry->size, entry->offset + RECORD_HEADER_SIZE);

    if (body < 0)
        return hf_error_set_errno(error, HF_EIO, (int)-body,
                                  "cannot read offset %" PRIu32 " of log segment %016" PRIx64, entry->offset,
                                  entry->segment);
    if (head == RECORD_HEADER_SIZE && body == entry->size &&
        record_check_entry(header, buffer, entry->size, seed, expected) == 0)
        return 0;
    return hf_error_set(error, HF_ECORRUPT,
                        "entry %" PRIu64 " of group %" PRIu64 " is damaged at offset %" PRIu32
                        " of log segment %016" PRIx64 "; fetch it from another replica",
                        expected->index, expected->group, entry->offset, entry->segment);
}

int32_t store_log_read(struct store_log *log, uint64_t group, uint64_t index, void *buffer, uint64_t buffer_size,
                       struct store_log_entry *ret_entry, hf_error *error)
{
    struct segment *segment = NULL;

    pthread_mutex_lock(&log->lock);
    int found = find_entry(log, group, index, ret_entry);

    if (found && ret_entry->size <= buffer_size) {
        segment = index_segment(&log->index, ret_entry->segment);
        segment->readers++; /* the file must not be reused meanwhile */
    }
    pthread_mutex_unlock(&log->lock);
    if (!found)
        return hf_error_set(error, HF_ENOTFOUND, "group %" PRIu64 " has no durable entry %" PRIu64 " in the log", group,
                            index);
    if (!segment)
        return hf_error_set(error, HF_ETOOLARGE, "the entry has %" PRIu32 " bytes, the buffer %" PRIu64,
                            ret_entry->size, buffer_size);
    struct store_log_record expected = {
        .group = group, .index = index, .term = ret_entry->term, .entry_type = ret_entry->type};
    int32_t r = read_entry(log, segment->file, &expected, ret_entry, buffer, error);

    pthread_mutex_lock(&log->lock);
    segment->readers--;
    pthread_mutex_unlock(&log->lock);
    return r;
}

uint64_t store_log_position(struct store_log *log)
{
    return atomic_load(&log->position);
}

void store_log_metrics(struct store_log *log, struct store_log_metrics *ret_metrics)
{
    pthread_mutex_lock(&log->lock);
    *ret_metrics = log->metrics;
    ret_metrics->segments = log->index.segment_count;
    ret_metrics->index_bytes = log->index.bytes;
    ret_metrics->groups = 0;
    for (const struct index_group *g = index_next(&log->index, NULL); g; g = index_next(&log->index, g))
        ret_metrics->groups += (uint64_t)g->exists;
    pthread_mutex_unlock(&log->lock);
}
