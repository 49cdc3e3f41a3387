/* Copies the latest states and compaction markers out of the oldest segments, so that idle groups do not keep them. */
#include "log_private.h"

static int add(struct store_log *log, uint32_t *count, uint64_t *bytes, uint64_t bytes_max,
               const struct store_log_record *record)
{
    uint32_t size = record_stored_size(record_payload_size(record));

    if (*count == COPIES_MAX || *bytes + size > bytes_max)
        return 0;
    if (index_reserve(&log->index, record) < 0)
        return 0;
    log->batch->copies[(*count)++] = *record;
    *bytes += size;
    return 1;
}

uint32_t log_marks_gather(struct store_log *log, uint64_t bytes_max)
{
    const struct log_index *index = &log->index;
    uint32_t count = 0;
    uint64_t bytes = 0;
    int room = 1;

    pthread_mutex_lock(&log->lock);
    for (uint64_t i = 0; room && i < index->segment_count; i++) {
        const struct segment *segment = index->segments[i];

        if (segment == log->current || segment->entries)
            break;
        const struct index_group *g = segment->marks ? index_next(index, NULL) : NULL;

        for (; room && g; g = index_next(index, g)) {
            if (g->state_segment == segment->number)
                room = add(log, &count, &bytes, bytes_max, &g->state);
            if (room && g->compact_segment == segment->number)
                room = add(log, &count, &bytes, bytes_max, &g->compact);
        }
    }
    pthread_mutex_unlock(&log->lock);
    return count;
}
