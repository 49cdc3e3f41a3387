/* sim_raft.c: runs replicas of the Raft core against a network, disks and clocks that fail by a seed, and checks after
 * every step what Raft promises.  One thread, one source of randomness: a seed is one exact run. */
#include <holdfast/holdfast.h>
#include <holdfast/kind/replication.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int hf_raft_test_bug;

enum { NODES = 5, KEYS = 4, LOG_MAX = 6000, OPS_MAX = 2048, WRITES_MAX = 512, KNOWN_MAX = 16384 };
enum { BUG_APPLY_TWICE = 5 };
enum { EV_TICK, EV_MESSAGE, EV_DISK, EV_CLIENT, EV_NEMESIS, EV_RESTART, EV_SNAPSHOT, EV_SNAPSHOT_DONE, EV_ATTACK };

#define MS 1000u
#define RUN_US (6000 * MS)  /* with faults */
#define CALM_US (5000 * MS) /* healed: everything must come right again */

typedef struct { uint64_t term; int32_t type; uint32_t op; } entry;
typedef struct { uint64_t version[KEYS]; uint64_t index, term; uint8_t seen[OPS_MAX]; } machine; /* replicated state */
typedef struct { uint64_t id, truncate, first, count; bool has_state; hf_replication_state state; entry *entries; } disk_write;
typedef struct { hf_replication_message m; entry *entries; uint64_t after; uint64_t life; } packet;

typedef struct event {
    uint64_t at, seq;
    int type;
    uint32_t node, from;
    uint64_t life, number;
    void *data; /* packet or machine, owned */
} event;

typedef struct {
    bool up;
    uint64_t life, paused_until, offset, rate, disk_free, disk_slow;
    hf_replication_group *g;
    entry log[LOG_MAX]; /* in memory; index is the position */
    machine now;
    /* what survives a crash */
    entry disk[LOG_MAX];
    uint64_t disk_last;
    hf_replication_state disk_state;
    machine snapshot;
    disk_write writes[WRITES_MAX];
    uint32_t write_first, write_count;
    packet *held[4096]; /* messages that wait for the disk */
    uint32_t held_count;
    uint64_t lead_term;
} node;

typedef struct { bool used, write, done; uint32_t key, node; uint64_t life, floor, index, term, read_index; bool read_ready; } operation;
typedef struct { uint64_t index, term, previous; uint32_t op; int32_t type; } known_entry;

static uint64_t rng, now, sequence, seed, hash_value, highest_applied;
static uint32_t count, op_count, loss, duplicate, delay, commits;
static bool calm, failed, verbose;
static char reason[HF_ERROR_MESSAGE_SIZE + 120];
static node nodes[NODES];
static bool blocked[NODES][NODES];
static operation ops[OPS_MAX];
static entry agreed[LOG_MAX];
static uint64_t agreed_by[LOG_MAX]; /* the term of the replica that applied it first */
static known_entry known[KNOWN_MAX];
static uint64_t floors[KEYS];
static uint32_t leader_of[4096];
static event *heap;
static size_t heap_count, heap_capacity;
static const hf_replication *raft;
static void *instance;

static uint64_t roll(uint64_t below)
{
    uint64_t z = rng += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

static void trace(uint64_t a, uint64_t b)
{
    hash_value = (hash_value ^ (a * 0x9e3779b97f4a7c15u + b)) * 0x100000001b3u;
    hash_value ^= hash_value >> 29;
}

static void fail(const char *what, uint64_t a, uint64_t b)
{
    if (!failed)
        snprintf(reason, sizeof reason, "%s (%llu, %llu) at %llu us", what, (unsigned long long)a,
                 (unsigned long long)b, (unsigned long long)now);
    failed = true;
}

/* ---- Events ---------------------------------------------------------------------------------------------------- */

static bool earlier(const event *a, const event *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

static void schedule(event e)
{
    size_t at = heap_count++;

    if (heap_count > heap_capacity) {
        heap_capacity = heap_capacity ? heap_capacity * 2 : 1024;
        heap = realloc(heap, heap_capacity * sizeof *heap);
        if (!heap)
            abort();
    }
    e.seq = sequence++;
    for (; at > 0 && earlier(&e, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = e;
}

static event next_event(void)
{
    event top = heap[0], last = heap[--heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < heap_count) {
        if (child + 1 < heap_count && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static void free_packet(packet *p)
{
    free(p->entries);
    free(p);
}

static void free_event(event *e)
{
    if (e->type == EV_MESSAGE)
        free_packet(e->data);
    else
        free(e->data);
}

/* ---- Checks ---------------------------------------------------------------------------------------------------- */

static uint64_t term_on_disk(const node *n, uint64_t index)
{
    return index <= n->snapshot.index ? n->snapshot.term : n->disk[index].term;
}

/* Log matching: index and term name one entry, with one predecessor. */
static void check_known(uint64_t index, uint64_t previous, const entry *e)
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
static void check_commit(uint64_t index, uint64_t term)
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

static void check_leader(node *n, uint32_t id, const hf_replication_status *s)
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

/* ---- A replica ------------------------------------------------------------------------------------------------- */

static uint64_t local_time(const node *n)
{
    return n->offset + now / 1000 * n->rate + now % 1000;
}

static void transmit(packet *p)
{
    uint32_t from = (uint32_t)p->m.from - 1, to = (uint32_t)p->m.to - 1;
    bool drop = blocked[from][to] || (!calm && roll(100) < loss);
    uint32_t copies = drop ? 0 : !calm && roll(100) < duplicate ? 2 : 1;

    for (uint32_t i = 0; i < copies; i++) {
        packet *c = malloc(sizeof *c);

        if (!c)
            abort();
        *c = *p;
        c->entries = NULL;
        if (p->m.entry_count) {
            c->entries = malloc(p->m.entry_count * sizeof *c->entries);
            if (!c->entries)
                abort();
            memcpy(c->entries, p->entries, p->m.entry_count * sizeof *c->entries);
        }
        schedule((event){.at = now + 100 + roll(delay) + (roll(50) == 0 ? roll(200 * MS) : 0), .type = EV_MESSAGE,
                         .node = to, .from = from, .data = c});
    }
    free_packet(p);
}

static void release_held(node *n, uint64_t done)
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

static void store(node *n, const disk_write *w, uint64_t entries)
{
    if (w->has_state)
        n->disk_state = w->state;
    if (w->truncate && n->disk_last >= w->truncate)
        n->disk_last = w->truncate - 1;
    for (uint64_t i = 0; i < entries; i++) {
        if (w->first + i != n->disk_last + 1 && w->first + i > n->snapshot.index)
            fail("the driver was told to leave a gap in the log", w->first + i, n->disk_last);
        if (w->first + i <= n->snapshot.index)
            continue;
        n->disk[w->first + i] = w->entries[i];
        n->disk_last = w->first + i;
    }
}

static void drop_write(node *n)
{
    free(n->writes[n->write_first % WRITES_MAX].entries);
    n->write_first++;
    n->write_count--;
}

static void take_storage(node *n, uint32_t id, const hf_replication_output *o)
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
    *w = (disk_write){o->write_id, o->truncate_from, o->append_first, o->append_count, o->state_changed, o->state, NULL};
    if (w->count) {
        w->entries = malloc(w->count * sizeof *w->entries);
        if (!w->entries)
            abort();
        memcpy(w->entries, n->log + w->first, w->count * sizeof *w->entries);
    }
    n->disk_free = (n->disk_free > now ? n->disk_free : now) + took;
    schedule((event){.at = n->disk_free, .type = EV_DISK, .node = id - 1, .life = n->life, .number = o->write_id});
}

static void send_out(node *n, const hf_replication_output *o)
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

static void finish(operation *o, uint64_t version)
{
    if (o->write ? version <= o->floor : version < o->floor)
        fail(o->write ? "linearizability: a write took effect in the past" : "linearizability: a read saw the past",
             version, o->floor);
    if (version > floors[o->key])
        floors[o->key] = version;
    o->done = true;
    trace(version, o->key);
}

static void apply_one(node *n, uint32_t id, uint64_t index, uint64_t term)
{
    entry *e = &n->log[index];

    if (!agreed[index].term) {
        agreed[index] = *e;
        agreed_by[index] = term;
        highest_applied = index > highest_applied ? index : highest_applied;
    } else if (agreed[index].term != e->term || agreed[index].op != e->op) {
        fail("state-machine safety: two entries applied at", index, id);
    }
    trace(index, e->term * 8 + id);
    n->now.index = index;
    n->now.term = e->term;
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

static void apply(node *n, uint32_t id, uint64_t commit, uint64_t term)
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

static void answer_reads(node *n, uint32_t id, const hf_replication_output *o)
{
    for (uint64_t i = 0; i < o->read_count; i++) {
        operation *op = &ops[o->reads[i].context];

        if (o->reads[i].code == 0 && op->life == n->life && op->node == id) {
            op->read_ready = true;
            op->read_index = o->reads[i].index;
        }
    }
    for (uint32_t i = op_count > 64 ? op_count - 64 : 0; i < op_count; i++) {
        operation *op = &ops[i];

        if (op->read_ready && !op->done && op->node == id && op->life == n->life && op->read_index <= n->now.index)
            finish(op, n->now.version[op->key]);
    }
}

/* `staged`: payloads that came with the call just made, from index staged_first. */
static void after_call(uint32_t id, const entry *staged, uint64_t staged_first, uint64_t staged_count)
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
        schedule((event){.at = now + 5 * MS + roll(100 * MS), .type = EV_SNAPSHOT,
                         .node = (uint32_t)o.snapshots_wanted[i] - 1, .from = id - 1, .life = n->life, .data = copy});
    }
    check_leader(n, id, &s);
}

static void start(uint32_t id)
{
    node *n = &nodes[id - 1];
    hf_replication_member members[NODES];
    uint64_t held = n->disk_last - n->snapshot.index;
    hf_replication_entry *entries = calloc(held + 1, sizeof *entries);
    hf_error error;

    if (!entries)
        abort();
    for (uint32_t i = 0; i < count; i++)
        members[i] = (hf_replication_member){.replica = i + 1};
    for (uint64_t i = 0; i < held; i++) {
        entry *e = &n->disk[n->snapshot.index + 1 + i];

        entries[i] = (hf_replication_entry){.index = n->snapshot.index + 1 + i, .term = e->term, .type = e->type,
                                            .size = 8};
        n->log[n->snapshot.index + 1 + i] = *e;
    }
    hf_replication_setup setup = {.size = sizeof setup, .member_count = count, .self = id, .members = members,
                                  .state = n->disk_state, .snapshot_index = n->snapshot.index,
                                  .snapshot_term = n->snapshot.term, .applied_index = n->snapshot.index,
                                  .entries = entries, .entry_count = held, .now_us = local_time(n),
                                  .random_seed = roll(UINT64_MAX)};

    n->now = n->snapshot;
    n->life++;
    n->up = true;
    n->paused_until = n->disk_free = n->lead_term = 0;
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
static void crash(uint32_t id)
{
    node *n = &nodes[id - 1];
    uint32_t kept = (uint32_t)roll(n->write_count + 1);

    if (!n->up)
        return;
    for (; kept > 0; kept--) {
        store(n, &n->writes[n->write_first % WRITES_MAX], n->writes[n->write_first % WRITES_MAX].count);
        drop_write(n);
    }
    if (n->write_count && roll(2))
        store(n, &n->writes[n->write_first % WRITES_MAX], roll(n->writes[n->write_first % WRITES_MAX].count + 1));
    while (n->write_count)
        drop_write(n);
    for (uint32_t i = 0; i < n->held_count; i++)
        free_packet(n->held[i]);
    n->held_count = 0;
    raft->group_close(n->g);
    n->g = NULL;
    n->up = false;
    trace(id, now);
}

static void complete_writes(node *n, uint32_t id, uint64_t last)
{
    while (n->write_count && n->writes[n->write_first % WRITES_MAX].id <= last) {
        disk_write *w = &n->writes[n->write_first % WRITES_MAX];

        store(n, w, w->count);
        drop_write(n);
    }
    release_held(n, last);
    raft->persisted(n->g, last);
    after_call(id, NULL, 0, 0);
}

static void deliver(event *e)
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
        entries[i] = (hf_replication_entry){.index = p->m.first_index + i, .term = p->entries[i].term,
                                            .type = p->entries[i].type, .size = 8};
    p->m.entries = p->m.entry_count ? entries : NULL;
    if (raft->receive(n->g, &p->m, local_time(n), &error))
        fail(error.message, e->node + 1, e->from + 1);
    trace(e->node, p->m.header[1] + 16 * p->m.entry_count);
    after_call(e->node + 1, p->entries, p->m.first_index, p->m.entry_count);
}

static void install(event *e)
{
    node *n = &nodes[e->node];
    machine *m = e->data;
    hf_replication_member members[NODES];
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
        if (n->disk_state.term < m->term)
            n->disk_state = (hf_replication_state){.term = m->term};
        for (uint32_t i = 0; i < count; i++)
            members[i] = (hf_replication_member){.replica = i + 1};
        if (raft->snapshot_installed(n->g, m->index, m->term, members, count, NULL))
            fail("a snapshot was refused", m->index, e->node + 1);
        after_call(e->node + 1, NULL, 0, 0);
    }
    schedule((event){.at = now + roll(delay) + 1, .type = EV_SNAPSHOT_DONE, .node = e->from, .from = e->node,
                     .life = e->life, .number = ok ? m->index : 0});
}

/* ---- Clients and faults ------------------------------------------------------------------------------------------ */

/* Clients ask whoever believes to lead, deposed leaders too. */
static void client(void)
{
    uint32_t id = (uint32_t)roll(count) + 1;
    node *n = &nodes[id - 1];
    operation *o = &ops[op_count];
    uint32_t size = 8;
    hf_replication_status s = {.size = sizeof s};

    schedule((event){.at = now + roll(8 * MS), .type = EV_CLIENT});
    if (!n->up || n->paused_until > now || op_count >= (calm ? OPS_MAX - 1 : OPS_MAX - 600))
        return;
    raft->status(n->g, &s);
    if (s.role != HF_ROLE_LEADER)
        return;
    *o = (operation){.used = true, .write = roll(2), .key = (uint32_t)roll(KEYS), .node = id, .life = n->life};
    o->floor = floors[o->key];
    op_count++;
    if (!o->write) {
        raft->read_request(n->g, op_count - 1, NULL);
        after_call(id, NULL, 0, 0);
    } else if (raft->propose(n->g, &size, 1, &o->index, &o->term, NULL) == 0) {
        entry e = {.term = o->term, .type = HF_ENTRY_NORMAL, .op = op_count - 1};

        after_call(id, &e, o->index, 1);
    }
}

static void compact(uint32_t id)
{
    node *n = &nodes[id - 1];

    if (!n->up || n->now.index <= n->snapshot.index)
        return;
    n->snapshot = n->now;
    raft->compacted(n->g, n->now.index, NULL);
    after_call(id, NULL, 0, 0);
}

static void crash_for_a_while(uint32_t id)
{
    if (!nodes[id - 1].up)
        return;
    crash(id);
    schedule((event){.at = now + 5 * MS + roll(roll(2) ? 100 * MS : 900 * MS), .type = EV_RESTART, .node = id - 1});
}

/* A write or flush fails: the driver trusts nothing that was not durable before, and takes no further part until it is
 * started anew. */
static void fail_disk(uint32_t id)
{
    while (nodes[id - 1].up && nodes[id - 1].write_count)
        drop_write(&nodes[id - 1]);
    crash_for_a_while(id);
}

static void partition(bool one_way)
{
    uint64_t side = roll(1u << count);

    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = 0; b < count; b++)
            blocked[a][b] = (side >> a & 1) != (side >> b & 1) && (!one_way || (side >> a & 1));
}

static void isolate(uint32_t index)
{
    for (uint32_t i = 0; i < count; i++)
        blocked[i][index] = blocked[index][i] = true;
}

static void nemesis(void)
{
    uint32_t id = (uint32_t)roll(count) + 1;
    node *n = &nodes[id - 1];

    schedule((event){.at = now + 20 * MS + roll(250 * MS), .type = EV_NEMESIS});
    switch (roll(13)) {
    case 0: case 1:
        crash_for_a_while(id);
        return;
    case 11:
        fail_disk(id);
        return;
    case 2: case 3:
        partition(roll(3) == 0);
        return;
    case 4: case 5: case 6:
        memset(blocked, 0, sizeof blocked);
        return;
    case 7:
        n->paused_until = now + roll(800 * MS);
        return;
    case 8:
        n->disk_slow = roll(2) ? 0 : 100 * MS;
        return;
    case 9:
        compact(id);
        return;
    case 10:
        if (n->up && n->paused_until <= now && raft->transfer(n->g, roll(count) + 1, NULL) == 0)
            after_call(id, NULL, 0, 0);
        return;
    default:
        if (n->up && n->paused_until <= now) {
            raft->unreachable(n->g, roll(count) + 1, local_time(n));
            after_call(id, NULL, 0, 0);
        }
    }
}

static void make_calm(void)
{
    calm = true;
    memset(blocked, 0, sizeof blocked);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].paused_until = nodes[i].disk_slow = 0;
        if (!nodes[i].up)
            start(i + 1);
    }
}

static void step(event *e)
{
    node *n = &nodes[e->node];
    bool same_life = n->up && e->life == n->life;

    switch (e->type) {
    case EV_TICK:
        if (!same_life)
            return;
        raft->tick(n->g, local_time(n));
        after_call(e->node + 1, NULL, 0, 0);
        schedule((event){.at = now + 5 * MS, .type = EV_TICK, .node = e->node, .life = n->life});
        return;
    case EV_MESSAGE:
        if (n->up && (calm || !blocked[e->from][e->node]))
            deliver(e);
        return;
    case EV_DISK:
        if (same_life && n->write_count && n->writes[n->write_first % WRITES_MAX].id <= e->number)
            complete_writes(n, e->node + 1, e->number);
        return;
    case EV_SNAPSHOT_DONE:
        if (same_life) {
            raft->snapshot_sent(n->g, e->from + 1, e->number, e->number != 0);
            after_call(e->node + 1, NULL, 0, 0);
        }
        return;
    case EV_CLIENT: client(); return;
    case EV_NEMESIS: if (!calm) nemesis(); return;
    case EV_RESTART: if (!n->up) start(e->node + 1); return;
    case EV_SNAPSHOT: install(e); return;
    default:
        if (calm)
            return;
        if (roll(2))
            crash_for_a_while(e->node + 1);
        else
            isolate(e->node);
    }
}

static bool needs_node(const event *e)
{
    return e->type == EV_TICK || e->type == EV_MESSAGE || e->type == EV_DISK || e->type == EV_SNAPSHOT ||
           e->type == EV_SNAPSHOT_DONE;
}

static void check_end(void)
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

/* ---- Runs ------------------------------------------------------------------------------------------------------- */

static void reset(void)
{
    rng = seed * 0x2545f4914f6cdd1du + 1;
    now = sequence = highest_applied = 0;
    hash_value = 14695981039346656037u;
    op_count = commits = 0;
    calm = failed = false;
    memset(nodes, 0, sizeof nodes);
    memset(blocked, 0, sizeof blocked);
    memset(ops, 0, sizeof ops);
    memset(agreed, 0, sizeof agreed);
    memset(agreed_by, 0, sizeof agreed_by);
    memset(known, 0, sizeof known);
    memset(floors, 0, sizeof floors);
    memset(leader_of, 0, sizeof leader_of);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const hf_host host = {.head = HF_HEAD(hf_host), .alloc = host_alloc, .free = host_free};

/* The fields in the order of the plugin's options. */
typedef struct { uint64_t election, heartbeat, bytes, message; int64_t messages; } configuration;

static bool run(void)
{
    reset();
    configuration c = {100 * MS + roll(200 * MS), 20 * MS + roll(20 * MS), 1 << 20, roll(2) ? 1 : 64,
                       (int64_t)(1 + roll(16))};
    count = roll(2) ? 3 : 5;
    loss = (uint32_t)roll(15);
    duplicate = (uint32_t)roll(10);
    delay = (uint32_t)(500 + roll(20 * MS));
    if (raft->create(&host, &c, &instance, NULL))
        abort();
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].offset = roll(1000000 * MS);
        nodes[i].rate = 900 + roll(200);
        start(i + 1);
    }
    schedule((event){.at = 100 * MS, .type = EV_CLIENT});
    schedule((event){.at = 300 * MS, .type = EV_NEMESIS});
    while (heap_count && !failed && now < RUN_US + CALM_US) {
        event e = next_event();

        now = e.at;
        if (!calm && now > RUN_US) {
            make_calm();
            commits = 0;
        }
        if (needs_node(&e) && nodes[e.node].paused_until > now) {
            e.at = nodes[e.node].paused_until + roll(MS);
            schedule(e);
            continue;
        }
        step(&e);
        free_event(&e);
    }
    if (!failed)
        check_end();
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i].up)
            crash(i + 1);
    while (heap_count) {
        event e = next_event();

        free_event(&e);
    }
    raft->destroy(instance);
    if (verbose || failed)
        printf("seed %llu: %s, %u replicas, %u operations, %llu entries, trace %016llx\n", (unsigned long long)seed,
               failed ? reason : "ok", count, op_count, (unsigned long long)highest_applied,
               (unsigned long long)hash_value);
    return !failed;
}

static int bug_number(const char *name)
{
    static const char *const names[] = {"none", "vote-twice", "commit-old-term", "ack-unsynced", "stale-read",
                                        "apply-twice"};

    for (int i = 0; i < 6; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fprintf(stderr, "unknown bug %s\n", name);
    exit(2);
}

static int replay(uint64_t which)
{
    uint64_t first;

    seed = which;
    run();
    first = hash_value;
    run();
    printf("seed %llu: trace %016llx, then %016llx\n", (unsigned long long)seed, (unsigned long long)first,
           (unsigned long long)hash_value);
    return first != hash_value;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 500, first = 1;
    bool expect_failure = false, twice = false;

    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (strcmp(argv[i], "--seeds") == 0 && more)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && more)
            first = strtoull(argv[++i], NULL, 10), seeds = 1;
        else if (strcmp(argv[i], "--bug") == 0 && more)
            hf_raft_test_bug = bug_number(argv[++i]);
        else if (strcmp(argv[i], "--expect-failure") == 0)
            expect_failure = true;
        else if (strcmp(argv[i], "--replay") == 0)
            twice = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            return fprintf(stderr, "usage: sim_raft [--seeds N] [--seed S] [--bug NAME] [--expect-failure] [--replay] "
                                   "[--verbose]\n"), 2;
    }
    raft = hf_plugin_v1()->provides[0]->interface.replication;
    if (twice)
        return replay(first);
    for (seed = first; seed < first + seeds; seed++)
        if (!run())
            return expect_failure ? 0 : 1;
    printf("%llu seeds without a failure\n", (unsigned long long)seeds);
    return expect_failure ? 1 : 0;
}
