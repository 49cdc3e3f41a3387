/* log.c: a node's log (store_log.h) on a disk that lags behind, forgets what was not flushed, and fails. */
#include "sim.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static kept_group *group_of(struct store_log *log, uint64_t group)
{
    return &log->groups[group];
}

static uint64_t entry_count(const kept_group *g)
{
    return g->info.last_index + 1 - g->info.first_index;
}

static void cut(kept_group *g, uint64_t from)
{
    while (g->info.last_index >= from && entry_count(g) > 0) {
        free(g->entries[entry_count(g) - 1].bytes);
        g->info.last_index--;
    }
}

static void compact(kept_group *g, const struct store_log_record *r)
{
    uint64_t gone = 0, before = entry_count(g);

    if (r->index < g->info.first_index || r->snapshot_index + 1 != r->index) { /* the real one refuses it */
        fail("a compaction of the log goes back", r->index, g->info.first_index);
        return;
    }

    while (gone < before && g->info.first_index + gone < r->index)
        free(g->entries[gone++].bytes);
    if (gone) /* and so there are entries: nobody may be told to move from a null pointer */
        memmove(g->entries, g->entries + gone, (before - gone) * sizeof *g->entries);
    g->info.first_index = r->index;
    if (before == gone)
        g->info.last_index = r->index - 1;
    g->info.snapshot_index = r->snapshot_index;
    g->info.snapshot_term = r->term;
}

static void add(kept_group *g, const struct store_log_record *r)
{
    cut(g, r->index);
    if (r->index != g->info.last_index + 1) {
        fail("an entry leaves a gap in the log", r->index, g->info.last_index);
        return;
    }
    if (entry_count(g) == g->capacity) {
        g->capacity = g->capacity ? g->capacity * 2 : 64;
        g->entries = realloc(g->entries, g->capacity * sizeof *g->entries);
    }
    kept_entry *e = &g->entries[entry_count(g)];

    *e = (kept_entry){r->term, r->entry_type, (uint32_t)r->payload.size, malloc(r->payload.size + 1)};
    if (r->payload.size)
        memcpy(e->bytes, r->payload.data, r->payload.size);
    g->info.last_index++;
}

static void keep(struct store_log *log, const struct store_log_record *r)
{
    kept_group *g = group_of(log, r->group);
    uint32_t owner = heap_of_all();

    if (!g->there)
        g->info = (struct store_log_group_info){.group = r->group, .first_index = 1};
    g->there = r->type != STORE_LOG_REMOVED;
    switch (r->type) {
    case STORE_LOG_ENTRY:
        add(g, r);
        break;
    case STORE_LOG_STATE:
        g->info.term = r->term;
        g->info.vote = r->vote;
        g->info.commit = r->commit;
        break;
    case STORE_LOG_TRUNCATE:
        cut(g, r->index);
        break;
    case STORE_LOG_COMPACT:
        compact(g, r);
        break;
    default:
        cut(g, 1);
    }
    heap_back(owner);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void begin_write(struct store_log *log)
{
    log->writing = true;
    schedule((event){.at = now + 100 + roll(MS) + (log->slow ? roll(log->slow) : 0),
                     .type = EV_DISK,
                     .node = log->of->index,
                     .life = log->of->life,
                     .data = log->last});
}

int32_t store_log_submit(struct store_log *log, struct store_log_request *request, hf_error *error)
{
    if (log->failed)
        return hf_error_set(error, HF_EIO, "the log has failed");
    if (log->at_once) {
        for (uint64_t i = 0; i < request->count; i++)
            keep(log, &request->records[i]);
        request->done(request, HF_OK, request->argument);
        return HF_OK;
    }
    request->next = NULL;
    if (log->last)
        log->last->next = request;
    else
        log->first = request;
    log->last = request;
    if (!log->writing)
        begin_write(log);
    return HF_OK;
}

/* Up to the last request that there was when the write began; one may be gone once it is done. */
void log_write(node *n, const void *end)
{
    struct store_log *log = &n->log;
    int32_t code = log->failed ? HF_EIO : HF_OK;

    log->writing = false;
    for (bool more = true; more;) {
        struct store_log_request *request = log->first;

        more = request != end;
        log->first = request->next;
        if (!log->first)
            log->last = NULL;
        for (uint64_t i = 0; i < request->count && code == HF_OK; i++)
            keep(log, &request->records[i]);
        request->done(request, code, request->argument);
    }
    if (log->first && !log->writing)
        begin_write(log);
}

/* Of what was not durable, as much as there was time for. */
void log_crash(node *n)
{
    struct store_log *log = &n->log;
    bool lost = log->failed;

    for (struct store_log_request *request = log->first; request; request = request->next)
        for (uint64_t i = 0; i < request->count; i++) {
            lost = lost || chance(30);
            if (!lost)
                keep(log, &request->records[i]);
            else
                fault_counts[FAULT_LOST_WRITE] += !calm;
        }
    log->first = log->last = NULL;
    log->writing = log->failed = false;
}

void log_drop(node *n)
{
    memset(&n->log, 0, sizeof n->log);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

int32_t store_log_group(struct store_log *log, uint64_t group, struct store_log_group_info *ret_info)
{
    const kept_group *g = group_of(log, group);

    if (!g->there)
        return HF_ENOTFOUND;
    *ret_info = g->info;
    return HF_OK;
}

static const kept_entry *find(struct store_log *log, uint64_t group, uint64_t index)
{
    const kept_group *g = group_of(log, group);

    return g->there && index >= g->info.first_index && index <= g->info.last_index
               ? &g->entries[index - g->info.first_index]
               : NULL;
}

int32_t store_log_entry(struct store_log *log, uint64_t group, uint64_t index, struct store_log_entry *ret_entry)
{
    const kept_entry *e = find(log, group, index);

    if (!e)
        return HF_ENOTFOUND;
    *ret_entry = (struct store_log_entry){.term = e->term, .size = e->size, .type = e->type};
    return HF_OK;
}

int32_t store_log_read(struct store_log *log, uint64_t group, uint64_t index, void *buffer, uint64_t buffer_size,
                       struct store_log_entry *ret_entry, hf_error *error)
{
    const kept_entry *e = find(log, group, index);

    if (!e)
        return hf_error_set(error, HF_ENOTFOUND, "there is no entry %llu", (unsigned long long)index);
    *ret_entry = (struct store_log_entry){.term = e->term, .size = e->size, .type = e->type};
    if (buffer_size < e->size)
        return hf_error_set(error, HF_ETOOLARGE, "the entry has %u bytes", e->size);
    memcpy(buffer, e->bytes, e->size);
    return HF_OK;
}

uint64_t store_log_position(struct store_log *log)
{
    (void)log;
    return 0; /* old images of disks are not simulated */
}
