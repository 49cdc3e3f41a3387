/* service/private.h: between the files of the store service. */
#ifndef STORE_SERVICE_PRIVATE_H
#define STORE_SERVICE_PRIVATE_H

#include "http/http.h"
#include "replica/replica.h"
#include "service/options.h"

#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>

#include <pthread.h>

struct store_creation;

/* What one worker loop has of the store. */
struct store_shard {
    struct store_service *service;
    uint32_t index;
    hf_loop *loop;
    hf_timer *timer;
    int32_t hurried;                 /* 1: the timer is at its short period */
    uint64_t replica_count;          /* places, some of them empty */
    struct store_replica **replicas; /* of partition P at P / shards */
    struct store_routing *routing;
    struct store_call *calls;         /* waiting to be tried again */
    struct store_creation *creations; /* waiting for the routing to have their table */
    hf_task begin_task, stop_task;
    uint32_t stopping; /* replicas that have not stopped, and one */
};

/* Work on the catalog, in the pool. */
struct store_rebuild {
    hf_job job;
    struct store_service *service;
    int32_t code;
    hf_error error;
    struct store_routing *routing;
    uint64_t opened_count;
    struct store_replica **opened;
};

struct store_metrics {
    hf_metric *applied;
    hf_metric *leaders;
    hf_metric *replicas;
    hf_metric *log_bytes, *log_syncs, *log_records, *log_segments, *log_queue_bytes, *log_sync_us_max;
};

struct store_service {
    const hf_host *host;
    const struct store_options *options;
    const struct store_options *options_prepared; /* by a reload */
    const struct store_options *options_next;     /* committed; taken over by the next tick */
    const hf_loop_interface *loops;
    const hf_peer_interface *peers; /* NULL: alone */
    const hf_node_interface *node;
    const hf_metrics_interface *metrics;
    struct store_nodes nodes;

    struct store_environment environment;
    const hf_engine *engine;
    void *engine_self;
    hf_engine_database *database;
    const hf_replication *replication;
    void *replication_self;
    struct store_log_file_system file_system;
    int32_t file_system_open;
    struct store_log *log;
    hf_peer_channel *calls;
    struct store_http *http;

    uint32_t shard_count;
    struct store_shard *shards;

    pthread_rwlock_t lock; /* guards replicas */
    uint64_t replica_count;
    struct store_replica **replicas; /* by partition; kept until the end */

    /* Main loop. */
    struct store_rebuild rebuild;
    int32_t rebuilding;
    uint64_t rebuilt_index; /* the catalog's applied index that the routing has */
    struct store_routing *routing;
    hf_timer *timer;
    uint64_t ticks;
    _Atomic int32_t catalog_posted;
    hf_task catalog_task;
    int32_t ensuring;      /* a declared table is being made */
    uint64_t ensure_table; /* the next declared table to look at; count: all are there */
    hf_task ensure_task;
    struct store_compaction *compaction;
    _Atomic uint64_t applied_total;
    uint64_t applied_shown;
    struct store_metrics series;
    int32_t started;
    int32_t draining;
    _Atomic uint32_t shards_left;
    hf_task drained_task;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* Something waits for time to pass: looks every 25 ms for a while, instead of every 100.  [loop of the shard] */
void store_shard_hurry(struct store_shard *shard);
/* The shard of the calling worker loop. */
struct store_shard *store_shard_current(struct store_service *service);
static inline struct store_shard *store_shard_of(struct store_service *service, uint64_t partition)
{
    return &service->shards[partition % service->shard_count];
}
struct store_replica *store_shard_replica(const struct store_shard *shard, uint64_t partition);
/* [loop of the shard] */
int32_t store_shard_add(struct store_shard *shard, struct store_replica *replica);
void store_shard_route(struct store_shard *shard, struct store_routing *routing); /* takes over a reference */

/* call.c */
void store_calls_retry(struct store_shard *shard, uint64_t now_us);
void store_calls_end(struct store_shard *shard);

/* remote.c: what other nodes send. */
int32_t store_remote_open(struct store_service *service, hf_error *error);

/* catalog.c */
int32_t store_catalog_open(struct store_service *service, hf_error *error);
void store_catalog_changed(void *arg, struct store_replica *replica);
void store_catalog_tick(struct store_service *service);
void store_creations_check(struct store_shard *shard, uint64_t now_us);

/* compact.c */
void store_compact_tick(struct store_service *service);
void store_compact_free(struct store_service *service);

/* service.c */
int32_t store_service_open_replica(struct store_service *service, const struct store_partition *partition,
                                   const struct store_table *table, struct store_replica **ret_replica,
                                   hf_error *error);
int32_t store_service_register(struct store_service *service, struct store_replica *replica); /* takes it over */
/* The node + 1 that leads the partition as far as its replica here knows; 0: unknown, or no replica here.  [any] */
uint32_t store_service_leader(struct store_service *service, uint64_t partition);
int32_t store_service_has(struct store_service *service, uint64_t partition);
void store_service_log(const struct store_service *service, int32_t level, const char *format, ...) HF_PRINTF(3, 4);

#endif
