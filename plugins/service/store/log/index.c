/* Keeps the index of groups and entries, and each segment's count of live records. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

int32_t index_init(struct log_index *index)
{
    memset(index, 0, sizeof *index);
    index->bucket_count = 256;
    index->buckets = calloc(index->bucket_count, sizeof *index->buckets);
    return index->buckets ? 0 : HF_ENOMEM;
}

static uint64_t bucket_of(uint64_t group, uint64_t bucket_count)
{
    return (group * 0x9e3779b97f4a7c15u >> 32) % bucket_count;
}

void index_done(struct log_index *index)
{
    for (uint64_t i = 0; index->buckets && i < index->bucket_count; i++)
        while (index->buckets[i]) {
            struct index_group *group = index->buckets[i];

            index->buckets[i] = group->next;
            free(group->entries);
            free(group);
        }
    free(index->buckets);
    free(index->segments);
    memset(index, 0, sizeof *index);
}

struct index_group *index_find(const struct log_index *index, uint64_t group)
{
    struct index_group *g = index->buckets[bucket_of(group, index->bucket_count)];

    while (g && g->id != group)
        g = g->next;
    return g;
}

/* Chains stay short; when memory is short they may grow, which is slower and still right. */
static void grow_buckets(struct log_index *index)
{
    uint64_t count = index->bucket_count * 4;
    struct index_group **buckets = calloc(count, sizeof *buckets);

    if (!buckets)
        return;
    for (uint64_t i = 0; i < index->bucket_count; i++)
        while (index->buckets[i]) {
            struct index_group *g = index->buckets[i], **to = &buckets[bucket_of(g->id, count)];

            index->buckets[i] = g->next;
            g->next = *to;
            *to = g;
        }
    free(index->buckets);
    index->buckets = buckets;
    index->bucket_count = count;
}

static struct index_group *find_or_add(struct log_index *index, uint64_t id)
{
    struct index_group *g = index_find(index, id);

    if (g)
        return g;
    if (index->group_count >= index->bucket_count * 2)
        grow_buckets(index);
    g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    struct index_group **bucket = &index->buckets[bucket_of(id, index->bucket_count)];

    g->id = id;
    g->next = *bucket;
    *bucket = g;
    index->group_count++;
    index->bytes += sizeof *g;
    return g;
}

struct segment *index_segment(const struct log_index *index, uint64_t number)
{
    uint64_t low = 0, high = index->segment_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (index->segments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < index->segment_count && index->segments[low]->number == number ? index->segments[low] : NULL;
}

int32_t index_segment_add(struct log_index *index, struct segment *segment)
{
    if (index->segment_count == index->segment_capacity) {
        uint64_t capacity = index->segment_capacity ? index->segment_capacity * 2 : 16;
        struct segment **segments = realloc(index->segments, capacity * sizeof(struct segment *));

        if (!segments)
            return HF_ENOMEM;
        index->segments = segments;
        index->segment_capacity = capacity;
    }
    index->segments[index->segment_count++] = segment;
    return 0;
}

void index_segment_remove_oldest(struct log_index *index)
{
    index->segment_count--;
    memmove(index->segments, index->segments + 1, index->segment_count * sizeof *index->segments);
}

static void drop_entry_at(struct log_index *index, const struct index_entry *entry)
{
    struct segment *segment = index_segment(index, entry->segment_type >> 8);

    if (segment)
        segment->entries--;
}

static void drop_from(struct log_index *index, struct index_group *g, uint64_t from)
{
    while (g->count && g->first + g->count > from)
        drop_entry_at(index, &g->entries[g->head + --g->count]);
}

static void drop_before(struct log_index *index, struct index_group *g, uint64_t first)
{
    for (; g->count && g->first < first; g->first++, g->head++, g->count--)
        drop_entry_at(index, &g->entries[g->head]);
    if (!g->count)
        g->first = first;
}

static void set_mark(struct log_index *index, uint64_t *mark, uint64_t segment)
{
    struct segment *old = *mark ? index_segment(index, *mark) : NULL, *now = segment ? index_segment(index, segment) : NULL;

    if (old)
        old->marks--;
    if (now)
        now->marks++;
    *mark = segment;
}

static int32_t make_room(struct log_index *index, struct index_group *g)
{
    if (g->head + g->count < g->capacity)
        return 0;
    if (g->head > g->capacity / 2) {
        memmove(g->entries, g->entries + g->head, g->count * sizeof *g->entries);
        g->head = 0;
        return 0;
    }
    uint64_t capacity = g->capacity ? g->capacity * 2 : 16;
    struct index_entry *entries = realloc(g->entries, capacity * sizeof *entries);

    if (!entries)
        return HF_ENOMEM;
    index->bytes += (capacity - g->capacity) * sizeof *entries;
    g->entries = entries;
    g->capacity = capacity;
    return 0;
}

static int32_t append(struct log_index *index, struct index_group *g, const struct store_log_record *record,
                      struct index_entry entry)
{
    if (g->compact_segment && record->index < g->compact.index)
        return INDEX_APPLIED; /* compacted already: a copy that came late */
    drop_from(index, g, record->index);
    if (!g->count && (record->index < g->first || !g->compact_segment))
        g->first = record->index;
    if (record->index != g->first + g->count)
        return INDEX_GAP;
    if (make_room(index, g) < 0)
        return HF_ENOMEM;
    g->entries[g->head + g->count++] = entry;
    struct segment *segment = index_segment(index, entry.segment_type >> 8);

    if (segment)
        segment->entries++;
    return INDEX_APPLIED;
}

static void remove_group(struct log_index *index, struct index_group *g)
{
    struct index_group **link = &index->buckets[bucket_of(g->id, index->bucket_count)];

    drop_from(index, g, 0);
    set_mark(index, &g->state_segment, 0);
    set_mark(index, &g->compact_segment, 0);
    while (*link != g)
        link = &(*link)->next;
    *link = g->next;
    index->group_count--;
    index->bytes -= sizeof *g + g->capacity * sizeof *g->entries;
    free(g->entries);
    free(g);
}

int32_t index_apply(struct log_index *index, const struct store_log_record *record, uint32_t payload_size,
                    uint64_t segment, uint32_t offset)
{
    int removal = record->type == STORE_LOG_REMOVED;
    struct index_group *g = removal ? index_find(index, record->group) : find_or_add(index, record->group);

    if (!g)
        return removal ? INDEX_APPLIED : HF_ENOMEM;
    switch (record->type) {
    case STORE_LOG_ENTRY:
        return append(index, g, record,
                      (struct index_entry){record->term, segment << 8 | (uint8_t)record->entry_type, offset,
                                           payload_size});
    case STORE_LOG_STATE:
        g->state = *record;
        set_mark(index, &g->state_segment, segment);
        break;
    case STORE_LOG_TRUNCATE:
        drop_from(index, g, record->index);
        break;
    case STORE_LOG_COMPACT:
        drop_before(index, g, record->index);
        g->compact = *record;
        set_mark(index, &g->compact_segment, segment);
        break;
    default:
        remove_group(index, g);
    }
    return INDEX_APPLIED;
}

const struct index_entry *index_entry(const struct index_group *group, uint64_t entry)
{
    if (entry < group->first || entry - group->first >= group->count)
        return NULL;
    return &group->entries[group->head + (entry - group->first)];
}

void index_group_info(const struct index_group *g, struct store_log_group_info *ret_info)
{
    uint64_t first = g->count || g->compact_segment ? g->first : 1;

    *ret_info = (struct store_log_group_info){
        .group = g->id, .term = g->state.term, .vote = g->state.vote, .commit = g->state.commit, .first_index = first,
        .last_index = first + g->count - 1, .snapshot_index = g->compact.snapshot_index,
        .snapshot_term = g->compact.term};
}
