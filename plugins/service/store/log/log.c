/* The log as its users see it: opening, handing in, looking up; see store_log.h. */
#include "log_private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { SEGMENT_SIZE_USUAL = 64 << 20, QUEUE_BYTES_USUAL = 64 << 20, INDEX_BYTES_USUAL = 1 << 30, SPARES_USUAL = 4 };

static void set_defaults(struct store_log_options *options)
{
    if (!options->segment_size)
        options->segment_size = SEGMENT_SIZE_USUAL;
    if (!options->queue_bytes_max)
        options->queue_bytes_max = QUEUE_BYTES_USUAL;
    if (!options->index_bytes_max)
        options->index_bytes_max = INDEX_BYTES_USUAL;
    if (!options->spare_max)
        options->spare_max = SPARES_USUAL;
}

static void free_log(struct store_log *log)
{
    const struct store_log_file_system *fs = &log->options.file_system;

    for (uint64_t i = 0; i < log->index.segment_count; i++) {
        fs->close(fs->context, log->index.segments[i]->file);
        free(log->index.segments[i]);
    }
    index_done(&log->index);
    if (log->batch) {
        free(log->batch->staging);
        free(log->batch->marks);
    }
    free(log->batch);
    pthread_cond_destroy(&log->work);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

static int32_t allocate(const struct store_log_options *options, struct store_log **ret_log)
{
    struct store_log *log = calloc(1, sizeof *log);

    if (!log)
        return HF_ENOMEM;
    log->options = *options;
    set_defaults(&log->options);
    log->last = &log->first;
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->work, NULL);
    log->batch = calloc(1, sizeof *log->batch);
    if (log->batch)
        log->batch->staging = malloc(BATCH_STAGING_SIZE);
    if (!log->batch || !log->batch->staging || index_init(&log->index) != HF_OK) {
        free_log(log);
        return HF_ENOMEM;
    }
    *ret_log = log;
    return HF_OK;
}

int32_t store_log_open(const struct store_log_options *options, struct store_log **ret_log, hf_error *error)
{
    struct store_log *log = NULL;
    int32_t result;

    if (options->segment_size && (options->segment_size < SEGMENT_SIZE_MIN || options->segment_size > SEGMENT_SIZE_MAX))
        return hf_error_set(error, HF_EINVAL, "a segment of %llu bytes; expected %u to %u",
                            (unsigned long long)options->segment_size, SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX);
    if (allocate(options, &log) != HF_OK)
        return hf_error_set(error, HF_ENOMEM, "no memory to open the log");
    result = log_recover(log, error);
    if (result == HF_OK && pthread_create(&log->thread, NULL, log_writer_main, log) != 0)
        result = hf_error_set(error, HF_EIO, "the log's thread could not be started");
    if (result != HF_OK) {
        free_log(log);
        return result;
    }
    *ret_log = log;
    return HF_OK;
}

void store_log_close(struct store_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->lock);
    log->closing = 1;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    free_log(log);
}

/* ---- Handing in
 * ------------------------------------------------------------------------------------------------------ */

static int32_t check_record(const struct store_log *log, const struct store_log_record *record, hf_error *error)
{
    uint64_t maximum = log->options.segment_size - SEGMENT_HEADER_SIZE - RECORD_HEADER_SIZE - RECORD_ALIGNMENT;

    if (record->type < STORE_LOG_ENTRY || record->type > STORE_LOG_REMOVED)
        return hf_error_set(error, HF_EINVAL, "a record of the unknown type %d for the log", record->type);
    if (record->type != STORE_LOG_ENTRY)
        return HF_OK;
    if (record->index == 0 || record->entry_type < 0 || record->entry_type > 255)
        return hf_error_set(error, HF_EINVAL, "a malformed entry for the log: index %llu, type %d",
                            (unsigned long long)record->index, record->entry_type);
    if (record->payload.size > maximum / 2)
        return hf_error_set(error, HF_ETOOLARGE,
                            "an entry of %llu bytes is too large for a segment of the log; at most %llu",
                            (unsigned long long)record->payload.size, (unsigned long long)(maximum / 2));
    return HF_OK;
}

static int32_t measure(const struct store_log *log, const struct store_log_request *request, uint64_t *ret_bytes,
                       uint64_t *ret_index_bytes, hf_error *error)
{
    *ret_bytes = *ret_index_bytes = 0;
    for (uint64_t i = 0; i < request->count; i++) {
        int32_t result = check_record(log, &request->records[i], error);

        if (result != HF_OK)
            return result;
        *ret_bytes += record_stored_size(record_payload_size(&request->records[i]));
        *ret_index_bytes += sizeof(struct index_entry);
    }
    return HF_OK;
}

static int32_t enqueue(struct store_log *log, struct store_log_request *request, uint64_t index_bytes, hf_error *error)
{
    if (log->failed || log->closing)
        return hf_error_set(error, HF_EIO, "the log has failed: %s",
                            log->closing ? "it is closed" : log->failure.message);
    if (log->metrics.queue_bytes && log->metrics.queue_bytes + request->bytes > log->options.queue_bytes_max)
        return hf_error_set(error, HF_EBUSY, "too much waits to be written to the log");
    if (log->index.bytes + log->pending_index_bytes + index_bytes > log->options.index_bytes_max)
        return hf_error_set(error, HF_ENOMEM, "the log has too many entries for its index");
    request->next = NULL;
    *log->last = request;
    log->last = &request->next;
    log->metrics.queue_bytes += request->bytes;
    log->metrics.requests++;
    log->pending_index_bytes += index_bytes;
    return HF_OK;
}

int32_t store_log_submit(struct store_log *log, struct store_log_request *request, hf_error *error)
{
    uint64_t index_bytes = 0;
    int32_t result = measure(log, request, &request->bytes, &index_bytes, error);

    pthread_mutex_lock(&log->lock);
    if (result == HF_OK)
        result = enqueue(log, request, index_bytes, error);
    if (result == HF_OK)
        pthread_cond_signal(&log->work);
    else
        log->metrics.refused++;
    pthread_mutex_unlock(&log->lock);
    return result;
}

/* ---- Looking up
 * ------------------------------------------------------------------------------------------------------ */

void store_log_groups(struct store_log *log, void (*each)(void *argument, const struct store_log_group_info *info),
                      void *argument)
{
    pthread_mutex_lock(&log->lock);
    for (uint64_t i = 0; i < log->index.bucket_count; i++)
        for (struct index_group *group = log->index.buckets[i]; group; group = group->next) {
            struct store_log_group_info info;

            index_group_info(group, &info);
            each(argument, &info);
        }
    pthread_mutex_unlock(&log->lock);
}

int32_t store_log_group(struct store_log *log, uint64_t group, struct store_log_group_info *ret_info)
{
    pthread_mutex_lock(&log->lock);
    struct index_group *found = index_find(&log->index, group);
    if (found)
        index_group_info(found, ret_info);
    pthread_mutex_unlock(&log->lock);
    return found ? HF_OK : HF_ENOTFOUND;
}

/* With the lock held. */
static int32_t find_entry(const struct store_log *log, uint64_t group, uint64_t index,
                          struct store_log_entry *ret_entry)
{
    const struct index_group *found = index_find(&log->index, group);
    const struct index_entry *entry = found ? index_entry(found, index) : NULL;

    if (!entry)
        return HF_ENOTFOUND;
    *ret_entry = (struct store_log_entry){.term = entry->term,
                                          .segment = entry->segment_type >> 8,
                                          .offset = entry->offset,
                                          .size = entry->size,
                                          .type = (int32_t)(entry->segment_type & 255)};
    return HF_OK;
}

int32_t store_log_entry(struct store_log *log, uint64_t group, uint64_t index, struct store_log_entry *ret_entry)
{
    pthread_mutex_lock(&log->lock);
    int32_t result = find_entry(log, group, index, ret_entry);
    pthread_mutex_unlock(&log->lock);
    return result;
}

/* The segment of the entry, which cannot be freed until it is given back. */
static struct segment *hold_segment(struct store_log *log, uint64_t group, uint64_t index,
                                    struct store_log_entry *ret_entry)
{
    struct segment *segment = NULL;

    pthread_mutex_lock(&log->lock);
    if (find_entry(log, group, index, ret_entry) == HF_OK)
        segment = index_segment(&log->index, ret_entry->segment);
    if (segment)
        segment->readers++;
    pthread_mutex_unlock(&log->lock);
    return segment;
}

static void give_back(struct store_log *log, struct segment *segment)
{
    pthread_mutex_lock(&log->lock);
    segment->readers--;
    pthread_mutex_unlock(&log->lock);
}

static int32_t read_record(struct store_log *log, const struct segment *segment, uint64_t group, uint64_t index,
                           const struct store_log_entry *entry, void *buffer, hf_error *error)
{
    uint32_t stored = record_stored_size(entry->size);
    uint8_t *bytes = malloc(stored);
    struct record_view view;
    int32_t result;

    if (!bytes)
        return hf_error_set(error, HF_ENOMEM, "no memory to read an entry of the log");
    result = log_read_all(log, segment->file, bytes, stored, entry->offset, error);
    if (result == HF_OK && (record_decode(bytes, stored, segment_seed(log->options.node, segment->number),
                                          entry->offset, &view) != HF_OK ||
                            view.record.group != group || view.record.index != index ||
                            view.record.term != entry->term || view.payload_size != entry->size))
        result = hf_error_set(
            error, HF_ECORRUPT, "entry %llu of partition %llu is damaged in segment %016llx of the log at byte %u",
            (unsigned long long)index, (unsigned long long)group, (unsigned long long)segment->number, entry->offset);
    if (result == HF_OK && entry->size)
        memcpy(buffer, view.record.payload.data, entry->size);
    free(bytes);
    return result;
}

int32_t store_log_read(struct store_log *log, uint64_t group, uint64_t index, void *buffer, uint64_t buffer_size,
                       struct store_log_entry *ret_entry, hf_error *error)
{
    struct segment *segment = hold_segment(log, group, index, ret_entry);
    int32_t result;

    if (!segment)
        return hf_error_set(error, HF_ENOTFOUND, "entry %llu of partition %llu is not in the log",
                            (unsigned long long)index, (unsigned long long)group);
    if (ret_entry->size > buffer_size)
        result = hf_error_set(error, HF_ETOOLARGE, "the entry has %u bytes", ret_entry->size);
    else
        result = read_record(log, segment, group, index, ret_entry, buffer, error);
    give_back(log, segment);
    return result;
}

void store_log_metrics(struct store_log *log, struct store_log_metrics *ret_metrics)
{
    pthread_mutex_lock(&log->lock);
    *ret_metrics = log->metrics;
    ret_metrics->segments = log->index.segment_count;
    ret_metrics->spares = log->spare_count;
    ret_metrics->index_bytes = log->index.bytes;
    ret_metrics->groups = log->index.group_count;
    pthread_mutex_unlock(&log->lock);
}
