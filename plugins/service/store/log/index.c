/* Keeps the index of groups and entries, and each segment's count of live records. */
#include "index.h"

#include <assert.h>
#include <holdfast/lib/hash.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_AT_FIRST = 256, ENTRIES_AT_FIRST = 16, ENTRIES_KEPT = 64 };

int32_t index_init(struct log_index *index, uint64_t bytes_max)
{
    memset(index, 0, sizeof *index);
    index->bytes_max = bytes_max;
    index->bucket_count = BUCKETS_AT_FIRST;
    index->buckets = calloc(index->bucket_count, sizeof *index->buckets);
    return index->buckets ? 0 : HF_ENOMEM;
}

static uint64_t bucket_of(uint64_t group, uint64_t bucket_count)
{
    return hf_hash64(0, &group, sizeof group) & (bucket_count - 1);
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

/* ---- Groups -------------------------------------------------------------------------------------------------- */

struct index_group *index_find(const struct log_index *index, uint64_t group)
{
    struct index_group *g = index->buckets[bucket_of(group, index->bucket_count)];

    while (g && g->id != group)
        g = g->next;
    return g;
}

struct index_group *index_next(const struct log_index *index, const struct index_group *after)
{
    uint64_t bucket = 0;

    if (after && after->next)
        return after->next;
    if (after)
        bucket = bucket_of(after->id, index->bucket_count) + 1;
    for (; bucket < index->bucket_count; bucket++)
        if (index->buckets[bucket])
            return index->buckets[bucket];
    return NULL;
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
    if (index->bytes + sizeof *g > index->bytes_max)
        return NULL;
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

/* A group that holds nothing and waits for nothing goes. */
static void release_group(struct log_index *index, struct index_group *g)
{
    if (g->exists || g->pending)
        return;
    struct index_group **link = &index->buckets[bucket_of(g->id, index->bucket_count)];

    while (*link != g)
        link = &(*link)->next;
    *link = g->next;
    index->group_count--;
    index->bytes -= sizeof *g + g->capacity * sizeof *g->entries;
    free(g->entries);
    free(g);
}

/* ---- Segments ------------------------------------------------------------------------------------------------ */

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

/* ---- Entries of a group -------------------------------------------------------------------------------------- */

static void drop_entry_at(struct log_index *index, const struct index_entry *entry)
{
    index_segment(index, entry->segment_type >> 8)->entries--;
}

static void drop_from(struct log_index *index, struct index_group *g, uint64_t from)
{
    while (g->count && g->first + g->count > from)
        drop_entry_at(index, &g->entries[g->head + --g->count]);
    if (!g->count)
        g->missing = 0;
}

static void drop_before(struct log_index *index, struct index_group *g, uint64_t first)
{
    for (; g->count && g->first < first; g->first++, g->head++, g->count--)
        drop_entry_at(index, &g->entries[g->head]);
    if (!g->count)
        g->first = first;
    if (g->first == first)
        g->missing = 0;
}

static void move_to_front(struct index_group *g)
{
    if (g->head)
        memmove(g->entries, g->entries + g->head, g->count * sizeof *g->entries);
    g->head = 0;
}

static int32_t set_capacity(struct log_index *index, struct index_group *g, uint64_t capacity)
{
    struct index_entry *entries = realloc(g->entries, capacity * sizeof *entries);

    if (!entries)
        return HF_ENOMEM;
    index->bytes = index->bytes - g->capacity * sizeof *entries + capacity * sizeof *entries;
    g->entries = entries;
    g->capacity = capacity;
    return 0;
}

static int32_t make_room(struct log_index *index, struct index_group *g)
{
    if (g->head + g->count + g->reserved < g->capacity)
        return 0;
    if (g->head && g->head >= g->capacity / 2) {
        move_to_front(g);
        return 0;
    }
    uint64_t more = g->capacity ? g->capacity : ENTRIES_AT_FIRST;

    if (index->bytes + more * sizeof *g->entries > index->bytes_max)
        return HF_ENOMEM;
    return set_capacity(index, g, g->capacity + more);
}

/* Gives memory back after entries went; keeping it is no failure. */
static void shrink(struct log_index *index, struct index_group *g)
{
    if (g->capacity <= ENTRIES_KEPT || g->count + g->reserved >= g->capacity / 4)
        return;
    uint64_t capacity = g->capacity;

    while (capacity > ENTRIES_KEPT && g->count + g->reserved < capacity / 4)
        capacity /= 2;
    move_to_front(g);
    (void)set_capacity(index, g, capacity);
}

static void set_mark(struct log_index *index, uint64_t *mark, uint64_t segment)
{
    if (*mark)
        index_segment(index, *mark)->marks--;
    if (segment)
        index_segment(index, segment)->marks++;
    *mark = segment;
}

/* ---- Planning ------------------------------------------------------------------------------------------------ */

static void begin_plan(struct index_group *g)
{
    g->plan = (struct index_plan){.compact = g->compact_segment ? g->compact.index : 0};
    if (g->count) {
        g->plan.first = g->first;
        g->plan.next = g->first + g->count;
    } else if (g->compact_segment) {
        g->plan.first = g->plan.next = g->plan.compact;
    }
}

static int plan_entry(struct index_plan *plan, uint64_t entry)
{
    if (entry < plan->compact || (plan->next && entry > plan->next))
        return 0;
    if (!plan->next || entry < plan->first)
        plan->first = entry;
    plan->next = entry + 1;
    return 1;
}

static int plan_truncate(struct index_plan *plan, uint64_t from)
{
    if (plan->next && from < plan->next)
        plan->next = from;
    if (plan->next <= plan->first)
        plan->first = plan->next = plan->compact;
    return 1;
}

static int plan_compact(struct index_plan *plan, uint64_t to)
{
    if (to < plan->compact || (plan->next && to < plan->first))
        return 0;
    plan->first = plan->compact = to;
    if (plan->next < to)
        plan->next = to;
    return 1;
}

static int plan_record(struct index_plan *plan, const struct store_log_record *record)
{
    switch (record->type) {
    case STORE_LOG_ENTRY:
        return plan_entry(plan, record->index);
    case STORE_LOG_TRUNCATE:
        return plan_truncate(plan, record->index);
    case STORE_LOG_COMPACT:
        return plan_compact(plan, record->index);
    case STORE_LOG_REMOVED:
        *plan = (struct index_plan){0};
        return 1;
    default:
        return 1;
    }
}

int32_t index_reserve(struct log_index *index, const struct store_log_record *record)
{
    struct index_group *g = find_or_add(index, record->group);

    if (!g)
        return HF_ENOMEM;
    if (record->type == STORE_LOG_ENTRY) {
        if (make_room(index, g) < 0) {
            release_group(index, g);
            return HF_ENOMEM;
        }
        g->reserved++;
    }
    if (!g->pending++)
        begin_plan(g);
    return 0;
}

int32_t index_plan(struct log_index *index, const struct store_log_record *record, struct index_plan *ret_before)
{
    int32_t r = index_reserve(index, record);

    if (r < 0)
        return r;
    struct index_group *g = index_find(index, record->group);

    *ret_before = g->plan;
    if (plan_record(&g->plan, record))
        return 0;
    index_unplan(index, record, ret_before);
    return HF_EINVAL;
}

void index_unplan(struct log_index *index, const struct store_log_record *record, const struct index_plan *before)
{
    struct index_group *g = index_find(index, record->group);

    assert(g && g->pending);
    g->plan = *before;
    g->pending--;
    if (record->type == STORE_LOG_ENTRY)
        g->reserved--;
    shrink(index, g);
    release_group(index, g);
}

/* ---- Applying ------------------------------------------------------------------------------------------------ */

/* A gap appears only in recovery, where the segment that held the entries in between may be gone because a compaction
 * that is still to come made them dead.  index_group_incomplete says afterwards whether one did. */
static void append(struct log_index *index, struct index_group *g, uint64_t at, struct index_entry entry)
{
    drop_from(index, g, at);
    int gap = g->count ? at > g->first + g->count : g->compact_segment && at > g->first;

    if (gap)
        drop_from(index, g, 0);
    if (!g->count) {
        g->first = at;
        g->head = 0;
        g->missing = gap;
    }
    g->entries[g->head + g->count++] = entry;
    index_segment(index, entry.segment_type >> 8)->entries++;
}

static void truncate_from(struct log_index *index, struct index_group *g, uint64_t from)
{
    drop_from(index, g, from);
    if (!g->count && g->compact_segment)
        g->first = g->compact.index;
    shrink(index, g);
}

static void compact_to(struct log_index *index, struct index_group *g, const struct store_log_record *record,
                       uint64_t segment)
{
    drop_before(index, g, record->index);
    g->compact = *record;
    set_mark(index, &g->compact_segment, segment);
    shrink(index, g);
}

static void empty_group(struct log_index *index, struct index_group *g)
{
    drop_from(index, g, 0);
    set_mark(index, &g->state_segment, 0);
    set_mark(index, &g->compact_segment, 0);
    memset(&g->state, 0, sizeof g->state);
    memset(&g->compact, 0, sizeof g->compact);
    g->exists = 0;
    shrink(index, g);
}

void index_apply(struct log_index *index, const struct store_log_record *record, uint32_t payload_size,
                 uint64_t segment, uint32_t offset)
{
    struct index_group *g = index_find(index, record->group);

    assert(g && g->pending);
    g->pending--;
    switch (record->type) {
    case STORE_LOG_ENTRY:
        g->reserved--;
        append(index, g, record->index,
               (struct index_entry){record->term, segment << 8 | (uint8_t)record->entry_type, offset, payload_size});
        g->exists = 1;
        break;
    case STORE_LOG_STATE:
        g->state = *record;
        set_mark(index, &g->state_segment, segment);
        g->exists = 1;
        break;
    case STORE_LOG_TRUNCATE:
        truncate_from(index, g, record->index);
        break;
    case STORE_LOG_COMPACT:
        compact_to(index, g, record, segment);
        g->exists = 1;
        break;
    default:
        empty_group(index, g);
    }
    release_group(index, g);
}

/* ---- Looking ------------------------------------------------------------------------------------------------- */

const struct index_entry *index_entry(const struct index_group *group, uint64_t entry)
{
    if (entry < group->first || entry - group->first >= group->count)
        return NULL;
    return &group->entries[group->head + (entry - group->first)];
}

void index_group_info(const struct index_group *g, struct store_log_group_info *ret_info)
{
    uint64_t first = g->count || g->compact_segment ? g->first : 1;

    *ret_info = (struct store_log_group_info){.group = g->id,
                                              .term = g->state.term,
                                              .vote = g->state.vote,
                                              .commit = g->state.commit,
                                              .first_index = first,
                                              .last_index = first + g->count - 1,
                                              .snapshot_index = g->compact.snapshot_index,
                                              .snapshot_term = g->compact.term};
}

int index_group_incomplete(const struct index_group *g)
{
    return g->count && (g->missing || (g->compact_segment && g->first > g->compact.index));
}
