/* What a log should hold; see model.h. */
#include "model.h"

#include <string.h>

static void apply_entry(struct model_group *g, const struct model_record *m)
{
    uint64_t at = m->record.index;

    if (g->first == g->next && !g->compact)
        g->first = at;
    if (at < g->first)
        g->first = at;
    g->entries[at % MODEL_ENTRIES].term = m->record.term;
    g->entries[at % MODEL_ENTRIES].serial = m->serial;
    g->entries[at % MODEL_ENTRIES].size = (uint32_t)m->record.payload.size;
    g->next = at + 1;
    g->exists = 1;
}

static void apply_compact(struct model_group *g, const struct store_log_record *r)
{
    g->compact = g->first = r->index;
    g->compact_term = r->term;
    if (g->next < r->index)
        g->next = r->index;
    g->exists = 1;
}

void model_apply(struct model *model, const struct model_record *m)
{
    struct model_group *g = &model->groups[m->record.group];

    switch (m->record.type) {
    case STORE_LOG_ENTRY:
        apply_entry(g, m);
        break;
    case STORE_LOG_STATE:
        g->term = m->record.term;
        g->vote = m->record.vote;
        g->commit = m->record.commit;
        g->exists = 1;
        break;
    case STORE_LOG_TRUNCATE:
        if (g->next > m->record.index)
            g->next = m->record.index > g->first ? m->record.index : g->first;
        break;
    case STORE_LOG_COMPACT:
        apply_compact(g, &m->record);
        break;
    default:
        memset(g, 0, sizeof *g);
    }
}

/* ---- Records that may follow --------------------------------------------------------------------------------- */

static struct store_log_record next_entry(const struct model_group *g, hf_random *random, uint64_t serial)
{
    struct store_log_record r = {.type = STORE_LOG_ENTRY, .entry_type = (int32_t)(serial & 255), .term = serial};
    uint64_t size = hf_random_below(random, 20) ? 600 : MODEL_PAYLOAD_MAX;

    r.index = g->next ? g->next : 1;
    if (g->next > g->first && !hf_random_below(random, 12))
        r.index = g->first + hf_random_below(random, g->next - g->first);
    r.payload.size = hf_random_below(random, size);
    return r;
}

static struct store_log_record next_compact(const struct model_group *g, hf_random *random, uint64_t serial)
{
    uint64_t first = g->first ? g->first : 1, live = g->next > first ? g->next - first : 0;
    uint64_t beyond = hf_random_below(random, 10) ? 0 : 50; /* a snapshot of later entries */

    return (struct store_log_record){
        .type = STORE_LOG_COMPACT, .index = first + hf_random_below(random, live + 1 + beyond), .term = serial};
}

struct model_record model_next(const struct model *model, hf_random *random, uint64_t serial)
{
    uint64_t group = hf_random_below(random, MODEL_GROUPS), kind = hf_random_below(random, 100);
    const struct model_group *g = &model->groups[group];
    struct model_record m = {.serial = serial};
    uint64_t live = g->next - g->first;

    if (kind < 14)
        m.record = (struct store_log_record){
            .type = STORE_LOG_STATE, .term = serial, .vote = serial * 3, .commit = serial * 5};
    else if (kind < 22 || live > 500)
        m.record = next_compact(g, random, serial);
    else if (kind < 28 && live)
        m.record = (struct store_log_record){.type = STORE_LOG_TRUNCATE,
                                             .index = g->first + hf_random_below(random, live + 1)};
    else if (kind < 29)
        m.record = (struct store_log_record){.type = STORE_LOG_REMOVED};
    else
        m.record = next_entry(g, random, serial);
    if (m.record.type == STORE_LOG_COMPACT)
        m.record.snapshot_index = m.record.index - 1;
    m.record.group = group;
    return m;
}

void model_payload(uint64_t serial, uint8_t *out, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        out[i] = (uint8_t)((serial + i / 8) * 0x9e3779b97f4a7c15u >> (i % 8 * 8));
}

/* ---- Comparing ----------------------------------------------------------------------------------------------- */

static int info_matches(const struct model_group *g, const struct store_log_group_info *info)
{
    if (info->term != g->term || info->vote != g->vote || info->commit != g->commit ||
        info->snapshot_term != g->compact_term)
        return 0;
    if (g->first == g->next && !g->compact)
        return info->last_index + 1 == info->first_index;
    return info->first_index == g->first && info->last_index + 1 == g->next;
}

static int entry_matches(const struct model_group *g, struct store_log *log, uint64_t group, uint64_t at)
{
    uint8_t expected[MODEL_PAYLOAD_MAX], found[MODEL_PAYLOAD_MAX];
    struct store_log_entry entry;
    uint64_t serial = g->entries[at % MODEL_ENTRIES].serial;

    if (store_log_entry(log, group, at, &entry) < 0 || entry.term != g->entries[at % MODEL_ENTRIES].term)
        return 0;
    if (store_log_read(log, group, at, found, sizeof found, &entry, NULL) < 0)
        return 0;
    model_payload(serial, expected, entry.size);
    return entry.size == g->entries[at % MODEL_ENTRIES].size && entry.type == (int32_t)(serial & 255) &&
           memcmp(expected, found, entry.size) == 0;
}

static int group_matches(const struct model_group *g, struct store_log *log, uint64_t group)
{
    struct store_log_group_info info = {.first_index = 1};
    int known = store_log_group(log, group, &info) == 0;

    /* A group of which all entries were truncated and that has no state may be forgotten. */
    if (!known && g->exists && (g->next != g->first || g->compact || g->term))
        return 0;
    if ((known && !g->exists) || !info_matches(g, &info))
        return 0;
    for (uint64_t at = g->first; at < g->next; at++)
        if (!entry_matches(g, log, group, at))
            return 0;
    return 1;
}

int model_matches(const struct model *model, struct store_log *log)
{
    struct store_log_group_info info;

    if (store_log_group(log, MODEL_GROUPS, &info) == 0)
        return 0;
    for (uint64_t group = 0; group < MODEL_GROUPS; group++)
        if (!group_matches(&model->groups[group], log, group))
            return 0;
    return 1;
}
