/* disk.c: a replica's log on its disk, which lags behind its memory. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void find_disk_config(node *n)
{
    uint64_t index = n->disk_last;

    while (index > n->snapshot.index && n->disk[index].type != HF_ENTRY_MEMBERSHIP)
        index--;
    n->disk_config = index > n->snapshot.index ? n->disk[index].op : n->snapshot.config;
}

static void cut(node *n, uint64_t from)
{
    for (uint64_t i = from > n->snapshot.index ? from : n->snapshot.index + 1; i <= n->disk_last; i++)
        fault_counts[FAULT_CHANGE_LOST] += n->disk[i].type == HF_ENTRY_MEMBERSHIP;
    n->disk_last = from - 1;
    find_disk_config(n);
}

void store(node *n, const disk_write *w, uint64_t entries)
{
    if (w->has_state)
        n->disk_state = w->state;
    if (w->truncate && n->disk_last >= w->truncate)
        cut(n, w->truncate);
    for (uint64_t i = 0; i < entries; i++) {
        if (w->first + i != n->disk_last + 1 && w->first + i > n->snapshot.index)
            fail("the driver was told to leave a gap in the log", w->first + i, n->disk_last);
        if (w->first + i <= n->snapshot.index)
            continue;
        n->disk[w->first + i] = w->entries[i];
        n->disk_last = w->first + i;
        if (w->entries[i].type == HF_ENTRY_MEMBERSHIP)
            n->disk_config = w->entries[i].op;
    }
}

void drop_write(node *n)
{
    free(n->writes[n->write_first % WRITES_MAX].entries);
    n->write_first++;
    n->write_count--;
}

void take_storage(node *n, uint32_t id, const hf_replication_output *o)
{
    disk_write *w = &n->writes[(n->write_first + n->write_count) % WRITES_MAX];
    uint64_t took = 200 + roll(2 * MS) + (n->disk_slow ? roll(n->disk_slow) : 0);

    if (!o->write_id)
        return;
    if (n->write_count == WRITES_MAX) {
        fail("too many writes in flight", n->write_count, id);
        return;
    }
    n->write_count++;
    *w =
        (disk_write){o->write_id, o->truncate_from, o->append_first, o->append_count, o->state_changed, o->state, NULL};
    if (w->count) {
        w->entries = malloc(w->count * sizeof *w->entries);
        if (!w->entries)
            abort();
        memcpy(w->entries, n->log + w->first, w->count * sizeof *w->entries);
    }
    n->disk_free = (n->disk_free > now ? n->disk_free : now) + took;
    schedule((event){.at = n->disk_free, .type = EV_DISK, .node = id - 1, .life = n->life, .number = o->write_id});
}

void complete_writes(node *n, uint32_t id, uint64_t last)
{
    while (n->write_count && n->writes[n->write_first % WRITES_MAX].id <= last) {
        disk_write *w = &n->writes[n->write_first % WRITES_MAX];

        store(n, w, w->count);
        drop_write(n);
    }
    check_majorities();
    release_held(n, last);
    raft->persisted(n->g, last);
    after_call(id, NULL, 0, 0);
}

/* What a slow disk still has to write comes at once. */
void hurry_disk(uint32_t id)
{
    node *n = &nodes[id - 1];

    n->disk_slow = 0;
    n->disk_free = now + MS;
    if (n->write_count)
        schedule((event){.at = n->disk_free,
                         .type = EV_DISK,
                         .node = id - 1,
                         .life = n->life,
                         .number = n->writes[(n->write_first + n->write_count - 1) % WRITES_MAX].id});
}

/* A write or flush fails: the driver trusts nothing that was not durable before, and takes no further part until it is
 * started anew. */
void fail_disk(uint32_t id)
{
    fault_counts[FAULT_FAILED_WRITE] += nodes[id - 1].up && nodes[id - 1].write_count;
    while (nodes[id - 1].up && nodes[id - 1].write_count)
        drop_write(&nodes[id - 1]);
    crash_for_a_while(id);
}
