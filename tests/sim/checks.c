/* checks.c: what Raft promises, checked while it runs and at the end. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEARLY_ENTRIES = 64 }; /* as in replica/members.c */

uint64_t settled_term;

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

static uint32_t size_of(uint32_t set)
{
    return (uint32_t)__builtin_popcount(set);
}

/* How many votes the replica needs if all were started anew from their disks and it asked for them; 0: it would not get
 * them.  Who would vote for it, it included, as a set of bits. */
static uint32_t could_win(uint32_t index, uint32_t *ret_votes)
{
    const node *n = &nodes[index];
    const configuration *c = configuration_of(n->disk_config);
    uint64_t last = term_on_disk(n, n->disk_last);
    uint32_t votes = 0, voters = 0;

    if (n->gone)
        return 0; /* who is no voter may still ask for votes; what is promised rests on those who give them */
    for (uint32_t i = 0; i < c->count; i++) {
        const node *other = &nodes[c->members[i].replica - 1];
        uint64_t theirs = term_on_disk(other, other->disk_last);

        if (c->members[i].learner)
            continue;
        voters++;
        if (!other->gone && (other == n || last > theirs || (last == theirs && n->disk_last >= other->disk_last)))
            votes |= 1u << (c->members[i].replica - 1);
    }
    if (ret_votes)
        *ret_votes = votes;
    return size_of(votes) > voters / 2 ? voters / 2 + 1 : 0;
}

/* Leader completeness, seen from the disks: once committed, no replica without the entry may win an election. */
void check_commit(uint64_t index, uint64_t term)
{
    for (uint32_t i = 0; i < count; i++) {
        node *n = &nodes[i];

        if (n->gone || n->snapshot.index >= index || (n->disk_last >= index && n->disk[index].term == term))
            continue;
        if (could_win(i, NULL))
            fail("a committed entry is missing at a replica that could win", index, i + 1);
    }
}

void check_majorities(void)
{
    uint32_t votes[NODES], needed[NODES];

    for (uint32_t i = 0; i < count; i++) {
        needed[i] = could_win(i, &votes[i]);
        for (uint32_t k = 0; needed[i] && k < i; k++)
            /* Disjoint sets of that many out of the two: exactly when together they are as many. */
            if (needed[k] && size_of(votes[i] | votes[k]) >= needed[i] + needed[k])
                fail("two majorities without a common voter", k + 1, i + 1);
    }
}

/* ---- Changes of members ---------------------------------------------------------------------------------------- */

/* A new voter has nearly everything, or the group would wait for it; its disk may have been lost since it said so. */
void check_change(uint32_t id, uint32_t before, uint32_t next)
{
    const configuration *from = configuration_of(before), *to = configuration_of(next);
    uint64_t last = nodes[id - 1].now.index;
    uint32_t came = 0, went = 0;

    for (uint32_t i = 1; i <= count; i++) {
        bool did = has_member(from, i, true), does = has_member(to, i, true);

        came += does && !did;
        went += did && !does;
        if (does && !did && !nodes[i - 1].gone && nodes[i - 1].disk_last + NEARLY_ENTRIES < last)
            fail("a replica was to vote before it had nearly everything", i, last);
    }
    if (came + went > 1)
        fail("more than one voter came or went", before, next);
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

/* The group has the members that are wanted, and is led by the first of them. */
static void check_arrived(const configuration *members)
{
    const configuration *wanted = configuration_of(wanted_now);
    hf_replication_status s = {.size = sizeof s};
    node *first = &nodes[wanted->members[0].replica - 1];

    for (uint32_t i = 1; i <= count; i++)
        if (has_member(members, i, false) != has_member(wanted, i, false) ||
            has_member(members, i, true) != has_member(wanted, i, true))
            fail("the members are not those that are wanted", agreed_config, wanted_now);
    if (first->up)
        raft->status(first->g, &s);
    if (s.role != HF_ROLE_LEADER)
        fail("the replica that should lead does not", wanted->members[0].replica, 0);
    if (s.term != settled_term)
        fail("the group was disturbed after everything had settled", settled_term, s.term);
}

/* From now on nothing happens that calls for an election: whoever asks for one, disturbs. */
void check_settled(void)
{
    for (uint32_t i = 0; i < count; i++) {
        hf_replication_status s = {.size = sizeof s};

        if (!nodes[i].up)
            continue;
        raft->status(nodes[i].g, &s);
        if (s.role == HF_ROLE_LEADER && s.term > settled_term)
            settled_term = s.term;
    }
}

void check_end(void)
{
    uint64_t least = UINT64_MAX;

    const configuration *members = configuration_of(agreed_config);

    for (uint32_t i = 0; i < members->count; i++) {
        const machine *m = &nodes[members->members[i].replica - 1].now;

        least = m->index < least ? m->index : least;
    }
    for (uint32_t i = 0; i < op_count; i++)
        if (ops[i].write && ops[i].done && ops[i].index <= least)
            for (uint32_t k = 0; k < members->count; k++)
                if (!nodes[members->members[k].replica - 1].now.seen[i])
                    fail("an acknowledged write is lost at", i, members->members[k].replica);
    check_arrived(members);
    if (!commits || least < highest_applied)
        fail("no progress after the faults ended", least, highest_applied);
}
