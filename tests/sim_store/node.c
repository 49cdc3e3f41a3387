/* node.c: a node: the product's store, begun, ticked and killed; and what its code asks of the parts of the service that
 * are not simulated. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

node nodes[NODES_MAX];
uint32_t node_count, partition_count;
struct store_routing *routing;
const struct store_table *table;

/* ---- Parts of the service that are not here ---------------------------------------------------------------------- */

void store_service_log(const struct store_service *service, int32_t level, const char *format, ...)
{
    char text[700];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    service->host->log(service->host, level, (hf_slice){(const uint8_t *)text, strlen(text)});
}

uint32_t store_service_leader(struct store_service *service, uint64_t partition)
{
    struct store_replica *replica = store_shard_replica(&service->shards[0], partition);

    return replica ? atomic_load(&store_replica_published(replica)->leader) : 0;
}

void store_shard_hurry(struct store_shard *shard)
{
    shard->loop->of->hurry_until = now + 300 * MS;
}

void store_creations_check(struct store_shard *shard, uint64_t now_us)
{
    (void)shard;
    (void)now_us;
}

int32_t store_hello_open(struct store_service *service, hf_error *error)
{
    (void)service;
    (void)error;
    return HF_OK;
}

int32_t store_hello_trusts(struct store_service *service, uint32_t other)
{
    (void)service;
    (void)other;
    return 1;
}

void store_hello_link(struct store_service *service, uint32_t other, int32_t up)
{
    (void)service;
    (void)other;
    (void)up;
}

void store_hello_join(struct store_service *service, uint32_t other, uint64_t replica)
{
    (void)service;
    (void)other;
    (void)replica;
}

void store_witness_hear(struct store_witness *witness, uint32_t other, uint64_t position)
{
    (void)witness;
    (void)other;
    (void)position;
}

int32_t store_compared_open(struct store_service *service, hf_error *error)
{
    (void)service;
    (void)error;
    return HF_OK;
}

int32_t store_recover_open(struct store_service *service, hf_error *error)
{
    (void)service;
    (void)error;
    return HF_OK;
}

/* ---- Where everything is ----------------------------------------------------------------------------------------- */

static struct store_nodes names(uint32_t self)
{
    static const char *const all[NODES_MAX] = {"a", "b", "c", "d", "e"};
    struct store_nodes n = {.count = node_count, .self = self};

    memcpy(n.names, all, sizeof all);
    return n;
}

static int32_t next_record(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    hf_slice *record = arg;

    (void)error;
    if (kind != STORE_RECORDS_OF_TABLES || record->size == 0)
        return HF_ENOTFOUND;
    *ret_json = *record;
    *ret_version = 1;
    *record = (hf_slice){NULL, 0};
    return 0;
}

/* One table, as the catalog would have it. */
void routing_begin(void)
{
    const struct store_declaration declaration = {.name = "t",
                                                  .partition_by = "",
                                                  .hash_ranges = partition_count,
                                                  .replicas = 3,
                                                  .format = STORE_FORMAT_BYTES,
                                                  .value_maximum = 1 << 20,
                                                  .keep_changes_us = UINT64_C(86400000000),
                                                  .keep_repeats_us = UINT64_C(86400000000)};
    const struct store_nodes cluster = names(0);
    struct store_table planned;
    hf_error error = {0};
    hf_buffer record;
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    hf_buffer_init(&record, 1 << 20);
    if (store_table_plan(&declaration, &cluster, FIRST_PARTITION, &arena, &planned, &error) ||
        store_table_write(&record, &planned, &cluster, &error))
        abort();
    hf_slice json = {record.data, record.size};

    if (store_routing_build(&cluster, 1, next_record, &json, &routing, &error))
        abort();
    hf_buffer_done(&record);
    hf_arena_done(&arena);
    table = store_routing_table(routing, (hf_slice){(const uint8_t *)"t", 1});
}

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
    static const raft_configuration options = {300 * MS, 60 * MS, 1 << 20, 64 << 10, 16, 80 * MS, CLOCK_DRIFT, 800 * MS};
    struct store_service *service = &n->service;

    memset(service, 0, sizeof *service);
    memset(&n->shard, 0, sizeof n->shard);
    service->host = &n->host;
    service->loops = &sim_loops;
    service->peers = &sim_peers;
    service->node = &sim_node_interface;
    service->nodes = names(n->index);
    service->shard_count = 1;
    service->shards = &n->shard;
    service->replication = raft;
    atomic_store(&service->partition_max_size, UINT64_MAX); /* nothing is split here */
    begin_admission(n);
    service->integrity.changed = damage_changed;
    service->integrity.engine_damaged = engine_damaged;
    n->shard.service = service;
    n->shard.loop = &n->loop;
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

/* As store_service_open_replica. */
static void open_replica(node *n, const struct store_partition *partition, uint64_t self)
{
    struct store_replica_setup setup = {.environment = &n->service.environment,
                                        .partition = partition->id,
                                        .table = store_admission_table(&n->service.admission, "t"),
                                        .loop = &n->loop,
                                        .self = self,
                                        .member_count = partition->first_count,
                                        .keep_changes_us = table->declaration.keep_changes_us,
                                        .keep_repeats_us = table->declaration.keep_repeats_us,
                                        .random_seed = roll(UINT64_MAX),
                                        .now_us = n->loop_now};
    struct store_replica *replica = NULL;
    hf_error error = {0};

    for (uint32_t i = 0; i < setup.member_count; i++)
        setup.members[i] = (hf_replication_member){.replica = partition->first[i]};
    if (store_replica_open(&setup, &replica, &error) || store_shard_add(&n->shard, replica)) {
        fail(error.message, partition->id, n->index);
        return;
    }
}

void start(node *n)
{
    hf_error error = {0};

    n->life++;
    n->up = true;
    n->paused_until = 0;
    n->log.of = n;
    host_begin(n);
    if (!n->database)
        engine_begin(n);
    memset(n->link_life, 0, sizeof n->link_life);
    enter(n);
    begin_service(n);
    if (store_remote_open(&n->service, &error))
        abort();
    n->log.at_once = true;
    for (uint32_t i = 0; i < table->partition_count; i++)
        for (uint32_t k = 0; k < table->partitions[i].member_count; k++)
            if (table->partitions[i].members[k] == n->index)
                open_replica(n, &table->partitions[i], table->partitions[i].replicas[k]);
    n->log.at_once = false;
    store_shard_route(&n->shard, store_routing_hold(routing));
    store_shard_hurry(&n->shard);
    leave();
    schedule((event){.at = now + roll(25 * MS), .type = EV_TICK, .node = n->index, .life = n->life});
    schedule((event){.at = now + roll(500 * MS), .type = EV_FLUSH, .node = n->index, .life = n->life});
    trace(n->index, now);
    say("node %u starts", n->index);
}

/* As service.c's shard_tick. */
void tick(node *n)
{
    uint64_t period = now < n->hurry_until || n->shard.calls ? 25 * MS : 100 * MS, time = n->loop_now;

    for (uint64_t i = 0; i < n->shard.replica_count; i++)
        if (n->shard.replicas[i])
            store_replica_tick(n->shard.replicas[i], time);
    store_calls_retry(&n->shard, time);
    store_sweep_tick(&n->shard, time);
    schedule((event){.at = now + period, .type = EV_TICK, .node = n->index, .life = n->life});
}

void crash(node *n)
{
    say("node %u dies", n->index);
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

/* Now and then the engine is flushed, and the log loses what the engine has. */
void flush_and_compact(node *n)
{
    engine_flush(n);
    for (uint32_t i = 0; i < partition_count && !calm; i++) {
        struct store_replica *replica = replica_of(n, FIRST_PARTITION + i);
        uint64_t keep = roll(2) ? 0 : roll(30), applied = replica ? atomic_load(&store_replica_published(replica)->applied) : 0;

        if (applied <= keep || chance(60))
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
