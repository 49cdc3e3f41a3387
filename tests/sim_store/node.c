/* node.c: a node: the product's store, begun, ticked and killed. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

node nodes[NODES_MAX];
uint32_t node_count, partition_count;

/* ---- Beginning and ending ---------------------------------------------------------------------------------------- */

/* As the raft plugin's options, in their order. */
typedef struct {
    uint64_t election, heartbeat, bytes, message;
    int64_t messages;
    uint64_t lease;
    int64_t drift;
    uint64_t quiet_after;
} raft_configuration;

/* Percent: of two clocks, one a tenth too fast and one a tenth too slow. */
enum { CLOCK_DRIFT = 23 };

/* Nobody looks at the metrics. */
static int32_t add_metric(const hf_host *host, int32_t type, const char *name, const char *help,
                          const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    (void)host, (void)type, (void)name, (void)help, (void)labels, (void)label_count, (void)error;
    *ret_metric = NULL;
    return HF_OK;
}

static void increment_metric(hf_metric *metric, uint64_t by)
{
    (void)metric, (void)by;
}

static void set_metric(hf_metric *metric, double value)
{
    (void)metric, (void)value;
}

static void begin_admission(node *n)
{
    static const hf_metrics_interface metrics = {.add = add_metric, .increment = increment_metric, .set = set_metric};
    static const struct store_admission_settings settings = {.partition_operations = 1 << 14,
                                                             .table_operations = 1 << 16,
                                                             .node_operations = 1 << 16,
                                                             .table_bytes = 8 << 20,
                                                             .node_bytes = 8 << 20,
                                                             .client_share = 100,
                                                             .retry_minimum_us = 100 * MS,
                                                             .retry_maximum_us = 1000 * MS};

    store_admission_configure(&n->service.admission, &settings, 1 << 20);
    if (store_admission_open(&n->service.admission, &n->host, &metrics, n->index, NULL))
        abort();
}

/* Nothing is damaged here that the machine would not notice. */
static void damage_changed(void *arg, uint64_t partition, int32_t damaged, const char *why)
{
    (void)arg, (void)partition, (void)damaged, (void)why;
}

static void engine_damaged(void *arg, uint64_t partition, const char *what)
{
    (void)arg, (void)partition, (void)what;
}

static void begin_service(node *n)
{
    static const raft_configuration options = {300 * MS, 60 * MS, 1 << 20,     64 << 10,
                                               16,       80 * MS, CLOCK_DRIFT, 800 * MS};
    struct store_service *service = &n->service;

    memset(service, 0, sizeof *service);
    memset(&n->shard, 0, sizeof n->shard);
    service->host = &n->host;
    service->loops = &sim_loops;
    service->peers = &sim_peers;
    service->node = &sim_node_interface;
    service->nodes = names(n->index);
    service->options = &sim_options;
    service->engine = &sim_engine;
    service->database = n->database;
    service->membership =
        (struct store_membership){.cluster = 1, .replica = store_replica_id(n->index, 0), .first_count = node_count};
    atomic_store(&service->cluster, 1);
    service->identity =
        (struct store_identity){.disk = n->index + 1, .starts = n->life, .boot = n->index * 1000 + n->life};
    service->shard_count = 1;
    service->shards = &n->shard;
    service->replication = raft;
    atomic_store(&service->partition_max_size, UINT64_MAX); /* splits are asked for, see reshape.c */
    begin_admission(n);
    service->integrity.changed = damage_changed;
    service->integrity.engine_damaged = engine_damaged;
    n->shard.service = service;
    n->shard.loop = &n->loop;
    service_begin(n);
    if (raft->create(&n->host, &options, &n->raft, NULL))
        abort();
    service->environment = (struct store_environment){.host = &n->host,
                                                      .loops = &sim_loops,
                                                      .peers = &sim_peers,
                                                      .engine = &sim_engine,
                                                      .database = n->database,
                                                      .replication = raft,
                                                      .replication_self = n->raft,
                                                      .log = &n->log,
                                                      .self = n->index,
                                                      .cache_maximum = 4 << 10,
                                                      .admission = &service->admission,
                                                      .refresh = store_service_refresh,
                                                      .refresh_arg = service,
                                                      .snapshot_free_us = &service->snapshot_free_us,
                                                      .scrub_free_us = &service->scrub_free_us,
                                                      .integrity = &service->integrity,
                                                      .wall_us = sim_node_interface.wall_us,
                                                      .clock_us = sim_clock_us,
                                                      .applied_total = &service->applied_total,
                                                      .partition_max_size = &service->partition_max_size};
}

/* As service.c opens and begins. */
static void open_service(node *n)
{
    struct store_service *service = &n->service;
    hf_error error = {0};

    if (store_remote_open(service, &error))
        abort();
    service->hello = service->calls; /* links are the same for all */
    n->log.at_once = true;           /* nobody can do anything else before */
    if (store_catalog_open(service, &error)) {
        fail(error.message, 0, n->index);
        return;
    }
    n->log.at_once = false;
    for (uint64_t id = 0; id < service->replica_count; id++)
        if (service->replicas[id] && store_shard_add(&n->shard, service->replicas[id]))
            abort();
    store_shard_route(&n->shard, store_routing_hold(service->routing));
    service->started = 1;
}

void start(node *n)
{
    n->life++;
    n->up = true;
    n->paused_until = 0;
    n->log.of = n;
    host_begin(n);
    if (!n->database) {
        engine_begin(n);
        seed_catalog(n);
    }
    memset(n->link_life, 0, sizeof n->link_life);
    enter(n);
    begin_service(n);
    open_service(n);
    store_shard_hurry(&n->shard);
    leave();
    schedule((event){.at = now + roll(25 * MS), .type = EV_TICK, .node = n->index, .life = n->life});
    schedule((event){.at = now + roll(500 * MS), .type = EV_FLUSH, .node = n->index, .life = n->life});
    trace(n->index, now);
    say("node %u starts", n->index);
}

/* As running.c's main_tick and shard_tick, but what that does every second is done more often: runs are short. */
void tick(node *n)
{
    uint64_t period = now < n->hurry_until || n->shard.calls ? 25 * MS : 100 * MS, time = n->loop_now;

    for (uint64_t i = 0; i < n->shard.replica_count; i++)
        if (n->shard.replicas[i])
            store_replica_tick(n->shard.replicas[i], time);
    store_calls_retry(&n->shard, time);
    store_recover_tick(&n->shard, time);
    store_sweep_tick(&n->shard, time);
    store_creations_check(&n->shard, time);
    if (now >= n->slow_tick_us) {
        n->slow_tick_us = now + 150 * MS;
        store_catalog_tick(&n->service);
        store_placer_tick(&n->shard, time);
        store_retire_tick(&n->shard, time);
    }
    store_driver_tick(&n->shard, time);
    schedule((event){.at = now + period, .type = EV_TICK, .node = n->index, .life = n->life});
}

void crash(node *n)
{
    say("node %u dies", n->index);
    count_lost_driver(n);
    clients_of_dead(n);
    log_crash(n);
    engine_crash(n);
    heap_drop(n);
    n->up = false;
    trace(n->index, now);
}

void crash_for_a_while(node *n)
{
    if (!n->up)
        return;
    fault_counts[FAULT_CRASH]++;
    crash(n);
    schedule((event){.at = now + 20 * MS + roll(roll(2) ? 200 * MS : 1500 * MS), .type = EV_RESTART, .node = n->index});
}

/* Now and then the engine is flushed, and the log loses what the engine has: where a replica asks for it, all. */
void flush_and_compact(node *n)
{
    engine_flush(n);
    for (uint64_t id = STORE_CATALOG_PARTITION; id < SPACES_MAX; id++) {
        struct store_replica *replica = replica_of(n, id);
        uint64_t applied = replica ? atomic_load(&store_replica_published(replica)->applied) : 0;
        bool asked = replica && atomic_exchange(&store_replica_published(replica)->compact, 0);
        uint64_t keep = asked || roll(2) ? 0 : roll(30);

        if (applied <= keep || (!asked && (calm || chance(60))))
            continue;
        fault_counts[FAULT_COMPACTED]++;
        store_replica_compact(replica, applied - keep);
    }
    schedule((event){.at = now + 300 * MS + roll(700 * MS), .type = EV_FLUSH, .node = n->index, .life = n->life});
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

struct store_replica *replica_of(node *n, uint64_t partition)
{
    return n->up ? store_shard_replica(&n->shard, partition) : NULL;
}

node *leader_of(uint64_t partition)
{
    node *found = NULL;
    uint64_t term = 0;

    for (uint32_t i = 0; i < node_count; i++) {
        struct store_replica *replica = replica_of(&nodes[i], partition);
        const struct store_replica_published *published = replica ? store_replica_published(replica) : NULL;

        if (!published || atomic_load(&published->role) != HF_ROLE_LEADER || atomic_load(&published->term) < term)
            continue;
        term = atomic_load(&published->term);
        found = &nodes[i];
    }
    return found;
}

node *some_node(void)
{
    return &nodes[roll(node_count)];
}
