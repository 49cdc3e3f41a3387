/* main.c: runs nodes of the store against links, disks and clocks that fail by a seed, and checks what clients saw. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const hf_plugin *hf_plugin_of_memory(void); /* engine/memory, linked in under this name */

const hf_replication *raft;
const hf_engine *memory_engine;
int hf_store_test_bug;

static void run_in(node *n, const event *e)
{
    hf_job *job = e->data;

    enter(n);
    switch (e->type) {
    case EV_TASKS:
        run_tasks(n);
        break;
    case EV_WORK:
        n->log.at_once = true; /* the pool may wait for it */
        job->work(job);
        n->log.at_once = false;
        schedule((event){.at = now + 5 + roll(100), .type = EV_DONE, .node = n->index, .life = n->life, .data = job});
        break;
    case EV_DONE:
        job->done(job);
        break;
    case EV_TIMER:
        run_timer(n, e->number);
        break;
    case EV_TICK:
        tick(n);
        break;
    case EV_DISK:
        log_write(n, e->data);
        break;
    case EV_CALL_OVER:
        call_over(n, e->number);
        break;
    default:
        flush_and_compact(n);
    }
    leave();
}

static void restart(node *n, uint64_t life)
{
    if (n->up && n->life == life) {
        fault_counts[FAULT_CRASH]++;
        crash(n);
    }
    if (!n->up && !n->is_lost)
        start(n);
}

static void step(event *e)
{
    node *n = &nodes[e->type == EV_CLIENT ? 0 : e->node];

    if ((e->type < EV_NODE_EVENTS) && n->up && n->paused_until > now) {
        e->at = n->paused_until + roll(100);
        schedule(*e);
        return;
    }
    if (e->type == EV_PACKET) {
        deliver(e->data);
        free_packet(e->data);
        return;
    }
    if (e->type < EV_NODE_EVENTS) {
        if (n->up && n->life == e->life)
            run_in(n, e);
        return;
    }
    switch (e->type) {
    case EV_LINKS:
        look_at_links();
        return;
    case EV_CLIENT:
        client(e->node, e->number);
        return;
    case EV_NEMESIS:
        if (!calm)
            nemesis();
        return;
    case EV_RESTART:
        restart(n, e->number);
        return;
    case EV_OPERATOR:
        operator_looks();
        return;
    default:
        check_locks();
    }
}

static void begin(void)
{
    rng = seed * 0x2545f4914f6cdd1du + 1;
    now = serial = 0;
    hash_value = 14695981039346656037u;
    calm = failed = false;
    memset(nodes, 0, sizeof nodes);
    memset(blocked, 0, sizeof blocked);
    node_count = roll(3) ? 3 : 4 + (uint32_t)roll(2);
    partition_count = 1 + (uint32_t)roll(PARTITIONS_MAX);
    delay = (uint32_t)(100 + roll(roll(2) ? 1000 : 8000));
    reshape_begin();
    loss_begin();
    for (uint32_t i = 0; i < node_count; i++) {
        node *n = &nodes[i];

        n->index = i;
        n->offset = 1 + roll(1000000 * MS);
        n->rate = 900 + roll(200);
        n->wall = (int64_t)roll(600 * MS) - (int64_t)(300 * MS);
        fault_counts[FAULT_CLOCK_RATE] += n->rate != 1000;
        start(n);
    }
    clients_begin();
    links_begin();
    checks_begin();
    schedule((event){.at = 500 * MS, .type = EV_NEMESIS});
}

static void end(void)
{
    event e;

    for (uint32_t i = 0; i < node_count; i++)
        if (nodes[i].up)
            crash(&nodes[i]);
    while (next_event(&e))
        ;
    forget_events();
    heap_drop_all();
}

static bool run(void)
{
    uint64_t look = 0, what = 0, where = 0;
    const char *why = NULL;
    event e;

    begin();
    while (!failed && next_event(&e)) {
        now = e.at;
        if (now > RUN_US + SETTLE_US && now > look) {
            look = now + 50 * MS;
            why = unsettled(&what, &where);
            if (!why)
                break;
            if (now > RUN_US + CALM_US)
                fail(why, what, where);
        }
        if (!calm && now > RUN_US)
            make_calm();
        step(&e);
    }
    if (!failed)
        check_end();
    if (verbose || failed)
        printf("seed %llu: %s, %u nodes, %u partitions, %u requests, trace %016llx\n", (unsigned long long)seed,
               failed ? reason : "ok", node_count, partition_count, history_count, (unsigned long long)hash_value);
    calm = true;
    end();
    return !failed;
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

enum { SEEDS_FOR_ALL = 100 };

static int bug_number(const char *name)
{
    static const char *const names[] = STORE_BUG_NAMES;

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
        else if (strcmp(argv[i], "--first") == 0 && more)
            first = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && more)
            first = strtoull(argv[++i], NULL, 10), seeds = 1;
        else if (strcmp(argv[i], "--bug") == 0 && more)
            hf_store_test_bug = bug_number(argv[++i]);
        else if (strcmp(argv[i], "--expect-failure") == 0)
            expect_failure = true;
        else if (strcmp(argv[i], "--replay") == 0)
            twice = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            return fprintf(stderr, "usage: sim_store [--seeds N] [--first S] [--seed S] [--bug NAME] "
                                   "[--expect-failure] [--replay] [--verbose]\n"),
                   2;
    }
    raft = hf_plugin_v1()->provides[0]->interface.replication;
    memory_engine = hf_plugin_of_memory()->provides[0]->interface.engine;
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
