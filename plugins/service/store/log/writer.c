/* The thread that writes: it gathers what is waiting into one write and one flush, makes the index follow, and
 * completes the requests in their order.
 *
 * After a failed write or flush the log stays failed: the kernel may have dropped the pages that it could not write, so
 * a later flush that succeeds says nothing about them. */
#include "log_private.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- One write --------------------------------------------------------------------------------------------------- */

static void begin_batch(struct batch *batch)
{
    batch->staged = 0;
    batch->part_count = 0;
    batch->item_count = 0;
    batch->bytes = 0;
}

static void add_part(struct batch *batch, const void *data, uint64_t size)
{
    struct iovec *last = batch->part_count ? &batch->parts[batch->part_count - 1] : NULL;

    batch->bytes += size;
    if (last && (uint8_t *)last->iov_base + last->iov_len == (const uint8_t *)data)
        last->iov_len += size;
    else
        batch->parts[batch->part_count++] = (struct iovec){(void *)(uintptr_t)data, size};
}

static int fits(const struct store_log *log, const struct store_log_record *record)
{
    const struct batch *batch = log->batch;
    uint32_t payload = record_payload_size(record), stored = record_stored_size(payload);
    uint64_t staging = payload <= BATCH_COPY_MAX ? stored : RECORD_HEADER_SIZE + RECORD_ALIGNMENT;

    return batch->item_count < BATCH_RECORDS_MAX && batch->part_count + 3 <= BATCH_PARTS_MAX &&
           batch->staged + staging <= BATCH_STAGING_SIZE &&
           log->current->end + batch->bytes + stored <= log->options.segment_size;
}

/* The record fits. */
static void add_record(struct store_log *log, const struct store_log_record *record, struct store_log_request *request)
{
    struct batch *batch = log->batch;
    uint32_t payload = record_payload_size(record), stored = record_stored_size(payload), size;
    uint32_t seed = segment_seed(log->options.node, log->current->number);
    uint8_t *staging = batch->staging + batch->staged;
    int copied = payload <= BATCH_COPY_MAX;

    batch->items[batch->item_count++] =
        (struct batch_item){record, request, (uint32_t)(log->current->end + batch->bytes)};
    size = record_encode(record, seed, (uint32_t)log->current->end, staging);
    if (record->type == STORE_LOG_ENTRY && copied && payload) {
        memcpy(staging + size, record->payload.data, payload);
        size += payload;
    }
    add_part(batch, staging, size);
    batch->staged += size;
    if (!copied) {
        add_part(batch, record->payload.data, payload);
        size += payload;
    }
    if (stored > size) {
        memset(batch->staging + batch->staged, 0, stored - size);
        add_part(batch, batch->staging + batch->staged, stored - size);
        batch->staged += stored - size;
    }
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* What is durable becomes visible. */
static int32_t index_batch(struct store_log *log, uint64_t sync_us)
{
    struct batch *batch = log->batch;
    struct store_log_metrics *metrics = &log->metrics;
    int32_t result = HF_OK;

    pthread_mutex_lock(&log->lock);
    for (uint32_t i = 0; i < batch->item_count && result == HF_OK; i++) {
        const struct batch_item *item = &batch->items[i];
        int32_t r = index_apply(&log->index, item->record, record_payload_size(item->record), log->current->number,
                                item->offset);

        if (r == INDEX_GAP && item->request)
            item->request->bytes |= REQUEST_GAP;
        if (r == HF_ENOMEM)
            result = HF_ENOMEM;
    }
    log->current->end += batch->bytes;
    metrics->bytes += batch->bytes;
    metrics->records += batch->item_count;
    metrics->syncs++;
    metrics->sync_us_last = sync_us;
    if (sync_us > metrics->sync_us_max)
        metrics->sync_us_max = sync_us;
    if (batch->item_count > metrics->batch_records_max)
        metrics->batch_records_max = batch->item_count;
    if (batch->bytes > metrics->batch_bytes_max)
        metrics->batch_bytes_max = batch->bytes;
    pthread_mutex_unlock(&log->lock);
    return result;
}

static int32_t write_batch(struct store_log *log)
{
    const struct store_log_file_system *fs = &log->options.file_system;
    struct batch *batch = log->batch;
    int32_t result;
    uint64_t start;
    int r;

    if (batch->item_count == 0)
        return HF_OK;
    result = log_write_all(log, log->current->file, batch->parts, batch->part_count, log->current->end, &log->failure);
    if (result != HF_OK)
        return result;
    start = now_us();
    r = fs->fdatasync(fs->context, log->current->file);
    if (r < 0)
        return hf_error_set_errno(&log->failure, HF_EIO, -r, "cannot flush the log");
    result = index_batch(log, now_us() - start);
    begin_batch(batch);
    return result == HF_OK ? HF_OK : hf_error_set(&log->failure, result, "no memory for the index of the log");
}

/* ---- Segments
 * -------------------------------------------------------------------------------------------------------- */

/* The latest states and compaction markers of all groups, so that idle groups do not keep old segments. */
static uint64_t collect_marks(struct store_log *log)
{
    struct log_index *index = &log->index;
    uint64_t count = 0;

    pthread_mutex_lock(&log->lock);
    free(log->batch->marks);
    log->batch->marks = calloc(index->group_count * 2 + 1, sizeof *log->batch->marks);
    for (uint64_t i = 0; i < index->bucket_count && log->batch->marks; i++)
        for (struct index_group *group = index->buckets[i]; group; group = group->next) {
            if (group->state_segment)
                log->batch->marks[count++] = group->state;
            if (group->compact_segment)
                log->batch->marks[count++] = group->compact;
        }
    pthread_mutex_unlock(&log->lock);
    return count;
}

static int32_t roll(struct store_log *log)
{
    uint64_t count;
    int32_t result = write_batch(log);

    if (result == HF_OK)
        result = log_segment_begin(log, &log->failure);
    if (result != HF_OK)
        return result;
    count = collect_marks(log);
    for (uint64_t i = 0; i < count && result == HF_OK; i++) {
        if (!fits(log, &log->batch->marks[i]))
            result = write_batch(log);
        /* Half a segment at most: what is left is carried over by the next one. */
        if (result == HF_OK && log->current->end + log->batch->bytes < log->options.segment_size / 2)
            add_record(log, &log->batch->marks[i], NULL);
    }
    /* They are durable before anything that could replace them is. */
    return result == HF_OK ? write_batch(log) : result;
}

static int32_t add(struct store_log *log, struct store_log_request *request, const struct store_log_record *record)
{
    int32_t result = HF_OK;

    if (!fits(log, record))
        result = write_batch(log);
    if (result == HF_OK && !fits(log, record))
        result = roll(log);
    if (result == HF_OK)
        add_record(log, record, request);
    return result;
}

/* ---- The thread
 * ------------------------------------------------------------------------------------------------------ */

static int32_t write_requests(struct store_log *log, struct store_log_request *requests)
{
    int32_t result = HF_OK;

    begin_batch(log->batch);
    for (struct store_log_request *request = requests; request && result == HF_OK; request = request->next)
        for (uint64_t i = 0; i < request->count && result == HF_OK; i++)
            result = add(log, request, &request->records[i]);
    return result == HF_OK ? write_batch(log) : result;
}

static void complete(struct store_log *log, struct store_log_request *requests, int32_t code)
{
    while (requests) {
        struct store_log_request *request = requests;
        int32_t gap = (request->bytes & REQUEST_GAP) != 0;

        requests = request->next;
        pthread_mutex_lock(&log->lock);
        log->metrics.queue_bytes -= request->bytes & ~REQUEST_GAP;
        pthread_mutex_unlock(&log->lock);
        request->done(request, code != HF_OK ? code : gap ? HF_EINVAL : HF_OK, request->argument);
    }
}

/* All that waits now, or NULL when the log closes. */
static struct store_log_request *wait_for_requests(struct store_log *log)
{
    struct store_log_request *requests;

    pthread_mutex_lock(&log->lock);
    while (!log->first && !log->closing)
        pthread_cond_wait(&log->work, &log->lock);
    requests = log->first;
    log->first = NULL;
    log->last = &log->first;
    log->pending_index_bytes = 0;
    pthread_mutex_unlock(&log->lock);
    return requests;
}

void *log_writer_main(void *argument)
{
    struct store_log *log = argument;
    struct store_log_request *requests;

    while ((requests = wait_for_requests(log)) != NULL) {
        int32_t result = log->failed;

        if (!result)
            result = write_requests(log, requests);
        if (result && !log->failed) {
            pthread_mutex_lock(&log->lock);
            log->failed = result;
            log->metrics.failed = 1;
            pthread_mutex_unlock(&log->lock);
        }
        complete(log, requests, result);
        if (!result)
            log_segments_free(log);
    }
    return NULL;
}
