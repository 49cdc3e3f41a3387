/* node.c: a driver of the Raft core, as the product is one: starting, crashing, messages, applying, snapshots. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t local_time(const node *n)
{
    return n->offset + now * n->rate / 1000;
}

void release_held(node *n, uint64_t done)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n->held_count; i++) {
        if (n->held[i]->after <= done)
            transmit(n->held[i]);
        else
            n->held[kept++] = n->held[i];
    }
    n->held_count = kept;
}

void send_out(node *n, const hf_replication_output *o)
{
    for (uint64_t i = 0; i < o->message_count; i++) {
        packet *p = calloc(1, sizeof *p);

        if (!p)
            abort();
        p->m = o->messages[i];
        if (p->m.entry_count) {
            p->entries = malloc(p->m.entry_count * sizeof *p->entries);
            if (!p->entries)
                abort();
            memcpy(p->entries, n->log + p->m.first_index, p->m.entry_count * sizeof *p->entries);
        }
        if (p->m.after_persist && n->write_count && n->held_count < 4096) {
            p->after = n->writes[(n->write_first + n->write_count - 1) % WRITES_MAX].id;
            n->held[n->held_count++] = p;
        } else {
            transmit(p);
        }
    }
}

void apply_one(node *n, uint32_t id, uint64_t index, uint64_t term)
{
    entry *e = &n->log[index];

    if (!agreed[index].term) {
        agreed[index] = *e;
        agreed_by[index] = term;
        highest_applied = index > highest_applied ? index : highest_applied;
        if (e->type == HF_ENTRY_MEMBERSHIP)
            members_agreed(e->op);
    } else if (agreed[index].term != e->term || agreed[index].op != e->op) {
        fail("state-machine safety: two entries applied at", index, id);
    }
    trace(index, e->term * 8 + id);
    n->now.index = index;
    n->now.term = e->term;
    if (e->type == HF_ENTRY_MEMBERSHIP)
        n->now.config = e->op;
    if (e->type != HF_ENTRY_NORMAL)
        return;
    if (n->now.seen[e->op])
        fail("an operation was applied twice at", e->op, id);
    n->now.seen[e->op] = 1;
    n->now.version[ops[e->op].key] = index;
    operation *o = &ops[e->op];

    if (!o->done && o->node == id && o->life == n->life && o->index == index && o->term == e->term) {
        commits++;
        finish(o, index);
    }
}

void apply(node *n, uint32_t id, uint64_t commit, uint64_t term)
{
    if (commit <= n->now.index)
        return;
    while (n->now.index < commit && !failed) {
        apply_one(n, id, n->now.index + 1, term);
        if (hf_raft_test_bug == BUG_APPLY_TWICE && roll(200) == 0)
            apply_one(n, id, n->now.index, term);
    }
    raft->applied(n->g, n->now.index);
}

/* `staged`: payloads that came with the call just made, from index staged_first. */
void after_call(uint32_t id, const entry *staged, uint64_t staged_first, uint64_t staged_count)
{
    node *n = &nodes[id - 1];
    hf_replication_output o = {.size = sizeof o};
    hf_replication_status s = {.size = sizeof s};
    uint64_t term, previous;

    raft->take(n->g, &o);
    raft->status(n->g, &s);
    if (s.last_index >= LOG_MAX - 1) {
        fail("the simulation's log is full", s.last_index, id);
        return;
    }
    for (uint64_t i = o.append_first; i < o.append_first + o.append_count; i++) {
        if (raft->term_at(n->g, i, &term) || raft->term_at(n->g, i - 1, &previous)) {
            fail("term_at does not know an appended entry", i, id);
            return;
        }
        bool given = i >= staged_first && i < staged_first + staged_count && staged[i - staged_first].term == term;

        n->log[i] = given ? staged[i - staged_first] : (entry){.term = term, .type = HF_ENTRY_EMPTY};
        check_known(i, previous, &n->log[i]);
    }
    take_storage(n, id, &o);
    send_out(n, &o);
    if (s.role == HF_ROLE_LEADER && s.commit_index && !raft->term_at(n->g, s.commit_index, &term))
        check_commit(s.commit_index, term);
    apply(n, id, o.commit_index, s.term);
    answer_reads(n, id, &o);
    for (uint64_t i = 0; i < o.snapshot_wanted_count; i++) {
        machine *copy = malloc(sizeof *copy);

        if (!copy)
            abort();
        *copy = n->now;
        schedule((event){.at = now + 5 * MS + roll(100 * MS),
                         .type = EV_SNAPSHOT,
                         .node = (uint32_t)o.snapshots_wanted[i] - 1,
                         .from = id - 1,
                         .life = n->life,
                         .data = copy});
    }
    check_leader(n, id, &s);
    fault_counts[FAULT_QUIET] += s.quiet && !n->quiet && s.role == HF_ROLE_LEADER;
    n->quiet = s.quiet;
}

/* An entry as the core is told of it. */
static hf_replication_entry replication_entry(const entry *e, uint64_t index)
{
    hf_replication_entry r = {.index = index, .term = e->term, .type = e->type, .size = 8};

    if (e->type == HF_ENTRY_MEMBERSHIP) {
        const configuration *c = configuration_of(e->op);

        r.payload = (const uint8_t *)c->members;
        r.size = c->count * (uint32_t)sizeof c->members[0];
    }
    return r;
}

void start(uint32_t id)
{
    node *n = &nodes[id - 1];
    const configuration *members = configuration_of(n->snapshot.config);
    uint64_t held = n->disk_last - n->snapshot.index;
    hf_replication_entry *entries = calloc(held + 1, sizeof *entries);
    hf_error error;

    if (!entries)
        abort();
    for (uint64_t i = 0; i < held; i++) {
        entry *e = &n->disk[n->snapshot.index + 1 + i];

        entries[i] = replication_entry(e, n->snapshot.index + 1 + i);
        n->log[n->snapshot.index + 1 + i] = *e;
    }
    hf_replication_setup setup = {.size = sizeof setup,
                                  .member_count = members->count,
                                  .self = id,
                                  .members = members->members,
                                  .state = n->disk_state,
                                  .snapshot_index = n->snapshot.index,
                                  .snapshot_term = n->snapshot.term,
                                  .applied_index = n->snapshot.index,
                                  .entries = entries,
                                  .entry_count = held,
                                  .now_us = local_time(n),
                                  .random_seed = roll(UINT64_MAX)};

    n->now = n->snapshot;
    n->life++;
    n->up = true;
    n->paused_until = n->disk_free = n->lead_term = 0;
    n->quiet = false;
    n->look_at = n->step_at = 0;
    if (raft->group_open(instance, &setup, &n->g, &error)) {
        n->up = false;
        fail(error.message, id, n->disk_last);
    } else {
        after_call(id, NULL, 0, 0);
        schedule((event){.at = now + roll(10 * MS), .type = EV_TICK, .node = id - 1, .life = n->life});
    }
    free(entries);
}

/* Unsynced writes: some made it in order, the next one perhaps in part, the rest are lost. */
void crash(uint32_t id)
{
    node *n = &nodes[id - 1];
    uint32_t kept = (uint32_t)roll(n->write_count + 1);

    if (!n->up)
        return;
    for (; kept > 0; kept--) {
        store(n, &n->writes[n->write_first % WRITES_MAX], n->writes[n->write_first % WRITES_MAX].count);
        drop_write(n);
    }
    if (n->write_count && roll(2)) {
        store(n, &n->writes[n->write_first % WRITES_MAX], roll(n->writes[n->write_first % WRITES_MAX].count + 1));
        fault_counts[FAULT_TORN_WRITE] += !calm;
    }
    fault_counts[FAULT_LOST_WRITE] += calm ? 0 : n->write_count;
    fault_counts[FAULT_CRASH] += !calm; /* and not the end of the run */
    while (n->write_count)
        drop_write(n);
    for (uint32_t i = 0; i < n->held_count; i++)
        free_packet(n->held[i]);
    n->held_count = 0;
    raft->group_close(n->g);
    n->g = NULL;
    n->up = false;
    report_down(id - 1);
    trace(id, now);
}

void deliver(event *e)
{
    node *n = &nodes[e->node];
    packet *p = e->data;
    hf_replication_entry entries[512];
    hf_error error;

    if (p->m.entry_count > 512) {
        fail("an append of too many entries", p->m.entry_count, e->from + 1);
        return;
    }
    for (uint64_t i = 0; i < p->m.entry_count; i++)
        entries[i] = replication_entry(&p->entries[i], p->m.first_index + i);
    p->m.entries = p->m.entry_count ? entries : NULL;
    if (raft->receive(n->g, &p->m, local_time(n), &error))
        fail(error.message, e->node + 1, e->from + 1);
    trace(e->node, p->m.header[1] + 16 * p->m.entry_count);
    after_call(e->node + 1, p->entries, p->m.first_index, p->m.entry_count);
}

void install(event *e)
{
    node *n = &nodes[e->node];
    machine *m = e->data;
    const configuration *members = configuration_of(m->config);
    hf_replication_status s = {.size = sizeof s};
    uint64_t term;
    bool ok = n->up && !blocked[e->from][e->node] && roll(10);

    if (ok && n->write_count) /* the log's order: what was asked for before is on the disk before */
        complete_writes(n, e->node + 1, n->writes[(n->write_first + n->write_count - 1) % WRITES_MAX].id);
    while (ok && n->write_count)
        complete_writes(n, e->node + 1, n->writes[(n->write_first + n->write_count - 1) % WRITES_MAX].id);
    if (ok)
        raft->status(n->g, &s);
    if (ok && m->index > s.commit_index && s.role != HF_ROLE_LEADER) {
        if (raft->term_at(n->g, m->index, &term) || term != m->term)
            n->disk_last = m->index;
        n->snapshot = n->now = *m;
        find_disk_config(n);
        if (n->disk_state.term < m->term)
            n->disk_state = (hf_replication_state){.term = m->term};
        if (raft->snapshot_installed(n->g, m->index, m->term, members->members, members->count, NULL))
            fail("a snapshot was refused", m->index, e->node + 1);
        fault_counts[FAULT_SNAPSHOT]++;
        after_call(e->node + 1, NULL, 0, 0);
    }
    schedule((event){.at = now + roll(delay) + 1,
                     .type = EV_SNAPSHOT_DONE,
                     .node = e->from,
                     .from = e->node,
                     .life = e->life,
                     .number = ok ? m->index : 0});
}

void compact(uint32_t id)
{
    node *n = &nodes[id - 1];

    if (!n->up || n->now.index <= n->snapshot.index || !n->now.config)
        return;
    n->snapshot = n->now;
    raft->compacted(n->g, n->now.index, NULL);
    after_call(id, NULL, 0, 0);
}

void crash_for_a_while(uint32_t id)
{
    if (!nodes[id - 1].up)
        return;
    crash(id);
    schedule((event){.at = now + 5 * MS + roll(roll(2) ? 100 * MS : 900 * MS), .type = EV_RESTART, .node = id - 1});
}
