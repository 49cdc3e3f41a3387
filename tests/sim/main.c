/* main.c: runs replicas of the Raft core against a network, disks and clocks that fail by a seed, and checks after
 * every step what Raft promises.  One thread, one source of randomness: a seed is one exact run. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t lull_until;
uint64_t rng, now, sequence, seed, hash_value, highest_applied;
uint32_t count;
uint32_t op_count, loss, duplicate, delay, commits;
bool calm, failed, verbose;
char reason[HF_ERROR_MESSAGE_SIZE + 120];
node nodes[NODES];
bool blocked[NODES][NODES];
operation ops[OPS_MAX];
entry agreed[LOG_MAX];
uint64_t agreed_by[LOG_MAX]; /* the term of the replica that applied it first */
known_entry known[KNOWN_MAX];
uint64_t floors[KEYS];
uint32_t leader_of[4096];
event *heap;
size_t heap_count, heap_capacity;
const hf_replication *raft;
void *instance;

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
        members_tick(e->node + 1);
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
    case EV_CLIENT:
        client();
        return;
    case EV_NEMESIS:
        if (!calm)
            nemesis();
        return;
    case EV_CATALOG:
        if (!calm)
            catalog();
        return;
    case EV_LINK_LOST:
        if (same_life && (!nodes[e->from].up || blocked[e->node][e->from] || blocked[e->from][e->node])) {
            raft->unreachable(n->g, e->from + 1, local_time(n));
            after_call(e->node + 1, NULL, 0, 0);
        } else if (same_life) { /* it was there again before it was missed */
            raft->reachable(n->g, e->from + 1, local_time(n));
            after_call(e->node + 1, NULL, 0, 0);
        }
        return;
    case EV_RESTART:
        if (!n->up && !n->gone)
            start(e->node + 1);
        return;
    case EV_SNAPSHOT:
        install(e);
        return;
    default:
        if (calm || n->gone)
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
           e->type == EV_SNAPSHOT_DONE || e->type == EV_LINK_LOST;
}

static void reset(void)
{
    rng = seed * 0x2545f4914f6cdd1du + 1;
    now = sequence = highest_applied = lull_until = 0;
    hash_value = 14695981039346656037u;
    op_count = commits = 0;
    settled_term = 0;
    members_reset();
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
typedef struct {
    uint64_t election, heartbeat, bytes, message;
    int64_t messages;
    uint64_t lease;
    int64_t drift;
    uint64_t quiet_after;
} raft_configuration;

/* Percent: of two clocks, one a tenth too fast and one a tenth too slow. */
enum { CLOCK_DRIFT = 23 };

static bool run(void)
{
    reset();
    raft_configuration c = {100 * MS + roll(200 * MS),
                            20 * MS + roll(20 * MS),
                            1 << 20,
                            roll(2) ? 1 : 64,
                            (int64_t)(1 + roll(16)),
                            0,
                            CLOCK_DRIFT,
                            0};
    c.lease = roll(4) ? c.election / (1 + roll(4)) : 0;
    c.quiet_after = roll(4) ? 50 * MS + roll(200 * MS) : 0;
    uint32_t initial = roll(2) ? 3 : 5;
    first_members(initial);
    loss = (uint32_t)roll(15);
    duplicate = (uint32_t)roll(10);
    delay = (uint32_t)(500 + roll(20 * MS));
    if (raft->create(&host, &c, &instance, NULL))
        abort();
    for (count = 0; count < initial;)
        give_birth();
    schedule((event){.at = 100 * MS, .type = EV_CLIENT});
    schedule((event){.at = 300 * MS, .type = EV_NEMESIS});
    schedule((event){.at = roll(2) ? 400 * MS : UINT64_MAX, .type = EV_CATALOG}); /* or members stay as they are */
    while (heap_count && !failed && now < RUN_US + CALM_US) {
        event e = next_event();

        now = e.at;
        if (!calm && now > RUN_US) {
            make_calm();
            commits = 0;
        }
        if (!settled_term && now > RUN_US + CALM_US - SETTLED_US)
            check_settled();
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

enum { SEEDS_FOR_ALL = 100 };

static int bug_number(const char *name)
{
    static const char *const names[] = {
        "none",        "vote-twice",    "commit-old-term", "ack-unsynced",   "stale-read",
        "apply-twice", "long-lease",    "forget-promise",  "learner-counts", "two-changes",
        "late-config", "forget-config", "change-too-soon", "promote-early",  "rejoin-empty"};

    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
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
                                   "[--verbose]\n"),
                   2;
    }
    raft = hf_plugin_v1()->provides[0]->interface.replication;
    if (twice)
        return replay(first);
    for (seed = first; seed < first + seeds; seed++)
        if (!run())
            return expect_failure ? 0 : 1;
    bool all = report_faults();
    printf("%llu seeds without a failure\n", (unsigned long long)seeds);
    if (!all && seeds >= SEEDS_FOR_ALL)
        return fprintf(stderr, "one of the faults never happened: the simulation does not test what it says\n"), 1;
    return expect_failure ? 1 : 0;
}
