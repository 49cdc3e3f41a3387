/* checks.c: what Raft promises, checked while it runs and at the end. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t term_on_disk(const node *n, uint64_t index)
{
    return index <= n->snapshot.index ? n->snapshot.term : n->disk[index].term;
}

/* Log matching: index and term name one entry, with one predecessor. */
void check_known(uint64_t index, uint64_t previous, const entry *e)
{
    size_t at = (size_t)((index * 0x9e3779b97f4a7c15u) ^ (e->term * 0xc2b2ae3d27d4eb4fu)) % KNOWN_MAX;

    for (size_t tries = 0; tries < KNOWN_MAX; tries++, at = (at + 1) % KNOWN_MAX) {
        known_entry *k = &known[at];

        if (!k->index) {
            *k = (known_entry){index, e->term, previous, e->op, e->type};
            return;
        }
        if (k->index == index && k->term == e->term) {
            if (k->op != e->op || k->type != e->type || k->previous != previous)
                fail("log matching: one index and term, two entries", index, e->term);
            return;
        }
    }
}

/* Leader completeness, seen from the disks: once committed, no replica without the entry may win an election. */
void check_commit(uint64_t index, uint64_t term)
{
    for (uint32_t i = 0; i < count; i++) {
        node *n = &nodes[i];
        uint32_t votes = 0;
        uint64_t last = term_on_disk(n, n->disk_last);

        if (n->snapshot.index >= index || (n->disk_last >= index && n->disk[index].term == term))
            continue;
        for (uint32_t k = 0; k < count; k++) {
            uint64_t other = term_on_disk(&nodes[k], nodes[k].disk_last);

            votes += k == i || last > other || (last == other && n->disk_last >= nodes[k].disk_last);
        }
        if (votes > count / 2)
            fail("a committed entry is missing at a replica that could win", index, i + 1);
    }
}

void check_leader(node *n, uint32_t id, const hf_replication_status *s)
{
    if (s->role != HF_ROLE_LEADER)
        return;
    if (s->term < 4096 && leader_of[s->term] && leader_of[s->term] != id)
        fail("election safety: two leaders in term", s->term, id);
    if (s->term < 4096)
        leader_of[s->term] = id;
    if (n->lead_term == s->term)
        return;
    n->lead_term = s->term;
    for (uint64_t i = n->snapshot.index + 1; i <= highest_applied; i++)
        /* Votes may come late: a leader of an older term than the commit owes nothing. */
        if (agreed_by[i] < s->term && (i > s->last_index || n->log[i].term != agreed[i].term))
            fail("leader completeness: a new leader lacks entry", i, id);
    if (!calm && roll(3) == 0) /* young leaders are where old terms' entries are miscounted */
        schedule((event){.at = now + roll(40 * MS), .type = EV_ATTACK, .node = id - 1});
}

void check_end(void)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++)
        least = nodes[i].now.index < least ? nodes[i].now.index : least;
    for (uint32_t i = 0; i < op_count; i++)
        if (ops[i].write && ops[i].done && ops[i].index <= least)
            for (uint32_t k = 0; k < count; k++)
                if (!nodes[k].now.seen[i])
                    fail("an acknowledged write is lost at", i, k + 1);
    if (!commits || least + 400 < highest_applied)
        fail("no progress after the faults ended", least, highest_applied);
}
