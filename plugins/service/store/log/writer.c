/* The writer thread: gathers what is waiting into one write and one flush, and completes the requests in order. */
#include "log_private.h"

#include <assert.h>
#include <holdfast/lib/error.h>
#include <string.h>
#include <time.h>

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* After a failed write or flush nobody knows what the disk has: the kernel may have marked the pages clean, so that a
 * second fdatasync succeeds without having written them.  Hence there is no second try; the process has to start
 * again and recover from what is really there. */
static int32_t fail(struct store_log *log, const hf_error *error)
{
    pthread_mutex_lock(&log->lock);
    if (!log->failed) {
        log->failed = HF_EIO;
        log->failure = *error;
        log->metrics.failed = 1;
    }
    pthread_mutex_unlock(&log->lock);
    return HF_EIO;
}

/* ---- Completing ---------------------------------------------------------------------------------------------- */

/* Completes from batch->waiting up to, and without, `end`.  A request is the caller's again once `done` is called. */
static void complete(struct store_log *log, const struct store_log_request *end, int32_t code)
{
    uint64_t requests = 0, bytes = 0;

    for (const struct store_log_request *r = log->batch->waiting; r != end; r = r->next) {
        requests++;
        bytes += r->bytes;
    }
    pthread_mutex_lock(&log->lock);
    log->metrics.queue_bytes -= bytes;
    if (code == 0)
        log->metrics.requests += requests;
    pthread_mutex_unlock(&log->lock);
    while (log->batch->waiting != end) {
        struct store_log_request *request = log->batch->waiting;

        log->batch->waiting = request->next;
        request->done(request, code, request->argument);
    }
}

/* ---- Writing ------------------------------------------------------------------------------------------------- */

/* Blocks that are only reserved are turned into written ones by the file system's journal, at every flush, which takes
 * as long again as the flush.  So a new segment is filled with zeros ahead of the records, many blocks at a time. */
static void add_zeros(struct store_log *log)
{
    static const uint8_t zeros[ZERO_SIZE];
    struct segment *segment = log->current;
    struct batch *batch = log->batch;
    uint64_t end = segment->end + batch->bytes;

    if (end <= segment->written)
        return;
    segment->written = (end + ZERO_AHEAD - 1) / ZERO_AHEAD * ZERO_AHEAD;
    if (segment->written > segment->size)
        segment->written = segment->size;
    for (uint64_t left = segment->written - end, size; left; left -= size) {
        size = left < ZERO_SIZE ? left : ZERO_SIZE;
        batch->parts[batch->part_count++] = (struct iovec){(void *)(uintptr_t)zeros, size};
    }
}

static int write_and_sync(struct store_log *log)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct batch *batch = log->batch;

    add_zeros(log);
    int r = log_write_all(fs, log->current->file, batch->parts, batch->part_count, log->current->end);

    return r < 0 ? r : fs->fdatasync(fs->context, log->current->file);
}

static void apply(struct store_log *log, uint64_t sync_us)
{
    struct batch *batch = log->batch;
    struct store_log_metrics *metrics = &log->metrics;

    pthread_mutex_lock(&log->lock);
    for (uint32_t i = 0; i < batch->item_count; i++) {
        const struct store_log_record *record = batch->items[i].record;

        index_apply(&log->index, record, record_payload_size(record), log->current->number, batch->items[i].offset);
    }
    log->current->end += batch->bytes;
    metrics->bytes += batch->bytes;
    metrics->records += batch->item_count;
    metrics->syncs++;
    metrics->sync_us_last = sync_us;
    if (metrics->sync_us_max < sync_us)
        metrics->sync_us_max = sync_us;
    if (metrics->batch_records_max < batch->item_count)
        metrics->batch_records_max = batch->item_count;
    if (metrics->batch_bytes_max < batch->bytes)
        metrics->batch_bytes_max = batch->bytes;
    pthread_mutex_unlock(&log->lock);
    log->last_end = log->current->end;
    atomic_store(&log->position, log->last_number << 32 | log->last_end);
    batch->staged = batch->bytes = 0;
    batch->part_count = 0;
    batch->item_count = 0;
}

static int32_t flush(struct store_log *log)
{
    hf_error error = {0};

    if (!log->batch->item_count)
        return 0;
    uint64_t began = now_us();
    int r = write_and_sync(log);

    if (r < 0) {
        (void)hf_error_set_errno(&error, HF_EIO, -r,
                                 "the log cannot be written and takes no more; check the disk and restart the node");
        return fail(log, &error);
    }
    apply(log, now_us() - began);
    complete(log, log->batch->staged_end, 0);
    return log_segments_free(log, &error) < 0 ? fail(log, &error) : 0;
}

/* ---- Staging ------------------------------------------------------------------------------------------------- */

static void add_part(struct batch *batch, const void *data, uint64_t size)
{
    struct iovec *last = batch->part_count ? &batch->parts[batch->part_count - 1] : NULL;

    if (!size)
        return;
    if (last && (uint8_t *)last->iov_base + last->iov_len == data)
        last->iov_len += size;
    else
        batch->parts[batch->part_count++] = (struct iovec){(void *)(uintptr_t)data, size};
    batch->bytes += size;
}

static void add_staged(struct batch *batch, uint64_t size)
{
    add_part(batch, batch->staging + batch->staged, size);
    batch->staged += size;
}

static int has_room(const struct batch *batch)
{
    return batch->item_count < BATCH_RECORDS_MAX && batch->part_count + 3 + ZERO_PARTS <= BATCH_PARTS_MAX &&
           batch->staged + RECORD_HEADER_SIZE + BATCH_COPY_MAX + RECORD_ALIGNMENT <= BATCH_STAGING_SIZE;
}

static void stage(struct store_log *log, const struct store_log_record *record)
{
    struct batch *batch = log->batch;
    uint64_t begin = batch->bytes, size = record_stored_size(record_payload_size(record));
    uint32_t seed = segment_seed(log->options.node, log->current->number);

    batch->items[batch->item_count++] = (struct batch_item){record, (uint32_t)(log->current->end + begin)};
    add_staged(batch, record_encode(record, seed, (uint32_t)log->current->end, batch->staging + batch->staged));
    if (record->type == STORE_LOG_ENTRY && record->payload.size > BATCH_COPY_MAX) {
        add_part(batch, record->payload.data, record->payload.size);
    } else if (record->type == STORE_LOG_ENTRY && record->payload.size) {
        memcpy(batch->staging + batch->staged, record->payload.data, record->payload.size);
        add_staged(batch, record->payload.size);
    }
    uint64_t padding = size - (batch->bytes - begin);

    memset(batch->staging + batch->staged, 0, padding);
    add_staged(batch, padding);
}

static uint64_t room_in_segment(const struct store_log *log)
{
    return log->current->size - log->current->end - log->batch->bytes;
}

static void stage_copies(struct store_log *log, uint64_t bytes_max)
{
    uint32_t copies = log_marks_gather(log, bytes_max);

    for (uint32_t i = 0; i < copies; i++) {
        assert(has_room(log->batch));
        stage(log, &log->batch->copies[i]);
    }
}

/* Begins a segment in which at least `needed` bytes are free.  Copies take at most half of it, so that each segment
 * takes new records too and the log cannot be busy with itself alone. */
static int32_t roll(struct store_log *log, uint64_t needed)
{
    hf_error error = {0};

    if (flush(log) < 0)
        return HF_EIO;
    if (log_segment_begin(log, &error) < 0)
        return fail(log, &error);
    uint64_t room = room_in_segment(log) - needed, half = log->current->size / 2;

    stage_copies(log, room < half ? room : half);
    return 0;
}

/* Compaction has taken the last entries out of the oldest segments: they go now, not when the next segment begins,
 * which may be a long time on a quiet node. */
static int32_t free_compacted(struct store_log *log)
{
    stage_copies(log, room_in_segment(log));
    return flush(log);
}

static int32_t add_record(struct store_log *log, const struct store_log_record *record)
{
    uint64_t size = record_stored_size(record_payload_size(record));

    if (size > room_in_segment(log) && roll(log, size) < 0)
        return HF_EIO;
    if (!has_room(log->batch) && flush(log) < 0)
        return HF_EIO;
    stage(log, record);
    return 0;
}

static int32_t add_request(struct store_log *log, struct store_log_request *request)
{
    for (uint64_t i = 0; i < request->count; i++)
        if (add_record(log, &request->records[i]) < 0)
            return HF_EIO;
    log->batch->staged_end = request->next;
    return 0;
}

/* ---- The thread ---------------------------------------------------------------------------------------------- */

static void write_requests(struct store_log *log, struct store_log_request *list)
{
    int32_t r = 0;

    log->batch->waiting = log->batch->staged_end = list;
    for (struct store_log_request *request = list; r == 0 && request; request = log->batch->staged_end)
        r = add_request(log, request);
    if (r == 0)
        r = flush(log);
    if (r == 0)
        r = free_compacted(log);
    if (r < 0)
        complete(log, NULL, HF_EIO);
}

void *log_writer_main(void *argument)
{
    struct store_log *log = argument;

    pthread_mutex_lock(&log->lock);
    for (;;) {
        while (!log->first && !log->closing)
            pthread_cond_wait(&log->work, &log->lock);
        struct store_log_request *list = log->first;
        int32_t failed = log->failed;

        if (!list)
            break;
        log->first = NULL;
        log->last = &log->first;
        pthread_mutex_unlock(&log->lock);
        log->batch->waiting = list;
        if (failed)
            complete(log, NULL, HF_EIO);
        else
            write_requests(log, list);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}
