/* The catalog: its replica is opened, and what its records say becomes this node's routing.
 *
 * The catalog is the partition 1, which every node has.  When its replica has applied something, the records are read
 * in the pool, replicas that are new to this node are opened (catalog_rebuild.c), and the loops get the new routing. */
#include "service/catalog_private.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdlib.h>

/* ---- To the loops --------------------------------------------------------------------------------------------- */

struct hand_over {
    hf_task task;
    struct store_shard *shard;
    struct store_routing *routing; /* one of the two */
    struct store_replica *replica;
};

static void take_over(hf_task *task)
{
    struct hand_over *given = (struct hand_over *)(void *)task;

    if (given->replica && store_shard_add(given->shard, given->replica) != HF_OK)
        store_service_log(given->shard->service, HF_LOG_ERROR, "no memory for the replica of partition %" PRIu64,
                          store_replica_partition(given->replica));
    if (given->routing)
        store_shard_route(given->shard, given->routing);
    free(given);
}

static int32_t hand(struct store_shard *shard, struct store_routing *routing, struct store_replica *replica)
{
    struct hand_over *given = malloc(sizeof *given);

    if (!given)
        return HF_ENOMEM;
    *given = (struct hand_over){.task.run = take_over, .shard = shard, .routing = routing, .replica = replica};
    shard->service->loops->post(shard->loop, &given->task);
    return HF_OK;
}

static void adopt(struct store_service *service, struct store_rebuild *rebuild)
{
    for (uint64_t i = 0; i < rebuild->opened_count; i++) {
        struct store_replica *replica = rebuild->opened[i];
        struct store_shard *shard = store_shard_of(service, store_replica_partition(replica));

        if (store_service_register(service, replica) != HF_OK) {
            store_service_log(service, HF_LOG_ERROR, "no memory for a new replica; restart the node");
            store_replica_close(replica);
        } else if (hand(shard, NULL, replica) != HF_OK) {
            store_service_log(service, HF_LOG_ERROR, "no memory to run a new replica; restart the node");
        }
    }
    rebuild->opened_count = 0;
    if (rebuild->code != HF_OK) {
        store_service_log(service, HF_LOG_ERROR, "the catalog could not be followed: %s", rebuild->error.message);
        store_routing_release(rebuild->routing);
        return;
    }
    service->rebuilt_index = rebuild->routing->catalog_index;
    store_routing_release(service->routing);
    service->routing = rebuild->routing;
    for (uint32_t i = 0; i < service->shard_count; i++) {
        store_routing_hold(service->routing);
        if (hand(&service->shards[i], service->routing, NULL) != HF_OK)
            store_routing_release(service->routing);
    }
}

static void start_rebuild(struct store_service *service);

static void rebuild_done(hf_job *job)
{
    struct store_rebuild *rebuild = (struct store_rebuild *)(void *)job;
    struct store_service *service = rebuild->service;

    adopt(service, rebuild);
    free(rebuild->opened);
    service->rebuilding = 0;
    if (service->rebuild_again)
        start_rebuild(service);
}

static void start_rebuild(struct store_service *service)
{
    struct store_rebuild *rebuild = &service->rebuild;

    service->rebuild_again = service->rebuilding;
    if (service->rebuilding || service->draining)
        return;
    *rebuild = (struct store_rebuild){.service = service};
    rebuild->job.loop = service->loops->main_loop(service->host);
    rebuild->job.work = store_catalog_rebuild_work;
    rebuild->job.done = rebuild_done;
    service->rebuilding = service->loops->submit(service->host, &rebuild->job, NULL) == HF_OK;
}

static void catalog_task(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, catalog_task));

    atomic_store(&service->catalog_posted, 0);
    start_rebuild(service);
}

/* [the loop of the catalog's replica] */
void store_catalog_changed(void *arg, struct store_replica *replica)
{
    struct store_service *service = arg;

    (void)replica;
    if (!service->started || atomic_exchange(&service->catalog_posted, 1))
        return;
    service->catalog_task.run = catalog_task;
    service->loops->post(service->loops->main_loop(service->host), &service->catalog_task);
}

void store_catalog_tick(struct store_service *service)
{
    struct store_replica *catalog = store_catalog_replica(service);

    if (service->draining || !catalog)
        return;
    if (atomic_load(&store_replica_published(catalog)->applied) > service->rebuilt_index)
        start_rebuild(service);
    store_tables_ensure(service);
}

/* ---- Beginning ------------------------------------------------------------------------------------------------ */

/* Under the membership, which is saved already. */
static int32_t open_catalog(struct store_service *service, hf_error *error)
{
    const struct store_membership *membership = &service->membership;
    struct store_partition partition = {.id = STORE_CATALOG_PARTITION, .first_count = membership->first_count};
    struct store_table table = {.declaration = {.name = STORE_CATALOG_TABLE,
                                                .keep_changes_us = UINT64_C(7) * 86400 * 1000000,
                                                .keep_repeats_us = UINT64_C(86400) * 1000000}};
    struct store_replica *replica = NULL;
    int32_t result;

    for (uint32_t i = 0; i < membership->first_count; i++)
        partition.first[i] = store_replica_id(i, 0);
    result = store_service_open_replica(service, &partition, &table, membership->replica, membership->first_count == 0,
                                        &replica, error);
    if (result != HF_OK)
        return result;
    result = store_service_register(service, replica);
    if (result != HF_OK) {
        store_replica_close(replica);
        hf_error_set(error, result, "no memory for the catalog's replica");
    }
    return result;
}

/* This node has part in the cluster from now on. */
static int32_t begin_membership(struct store_service *service, int32_t joins, uint64_t replica, hf_error *error)
{
    struct store_membership membership = {.replica = replica, .first_count = joins ? 0 : service->nodes.count};
    int32_t result;

    membership.cluster =
        joins ? atomic_load(&service->cluster_heard) : store_cluster_number(&service->nodes, service->nodes.count);
    result = store_identity_save(service->witness.path, &service->nodes, &service->identity, &membership, error);
    if (result != HF_OK)
        return result;
    service->membership = membership;
    atomic_store(&service->heals, 0); /* it takes part again */
    result = open_catalog(service, error);
    if (result == HF_OK)
        atomic_store(&service->cluster, membership.cluster);
    return result;
}

/* [main] It is small, and there is nothing else to do yet. */
static void join_task(hf_task *task)
{
    struct store_service *service = (struct store_service *)((char *)task - offsetof(struct store_service, join_task));
    hf_error error = {0};

    if (atomic_load(&service->cluster) || service->draining)
        return;
    if (begin_membership(service, service->joins, service->join_replica, &error) != HF_OK) {
        store_service_log(service, HF_LOG_ERROR, "the catalog could not be opened; it is tried again: %s",
                          error.message);
        atomic_store(&service->join_posted, 0); /* the next hello asks again */
        return;
    }
    store_service_log(service, HF_LOG_INFO,
                      service->joins ? "this node joins the cluster" : "this node begins the cluster");
    if (hand(store_shard_of(service, STORE_CATALOG_PARTITION), NULL, service->replicas[STORE_CATALOG_PARTITION]) !=
        HF_OK)
        store_service_log(service, HF_LOG_ERROR, "no memory to run the catalog's replica; restart the node");
}

void store_catalog_join(struct store_service *service, int32_t joins, uint64_t replica)
{
    if (atomic_exchange(&service->join_posted, 1))
        return;
    service->joins = joins;
    service->join_replica = replica;
    service->join_task.run = join_task;
    service->loops->post(service->loops->main_loop(service->host), &service->join_task);
}

struct store_replica *store_catalog_replica(struct store_service *service)
{
    struct store_replica *replica = NULL;

    pthread_rwlock_rdlock(&service->lock);
    if (service->replica_count > STORE_CATALOG_PARTITION)
        replica = service->replicas[STORE_CATALOG_PARTITION];
    pthread_rwlock_unlock(&service->lock);
    return replica;
}

/* Those that are registered are closed with the service. */
static void register_opened(struct store_service *service, struct store_rebuild *rebuild)
{
    for (uint64_t i = 0; i < rebuild->opened_count; i++) {
        if (rebuild->code == HF_OK)
            rebuild->code = store_service_register(service, rebuild->opened[i]);
        if (rebuild->code != HF_OK)
            store_replica_close(rebuild->opened[i]);
    }
    free(rebuild->opened);
}

/* At start: everything by the calling thread, before the loops know of it. */
int32_t store_catalog_open(struct store_service *service, hf_error *error)
{
    struct store_rebuild rebuild = {.service = service};
    int32_t result = HF_OK;

    /* A node that was given up opens nothing.  A node of several that has nothing asks the others first. */
    if (atomic_load(&service->lost))
        result = HF_OK;
    else if (service->membership.cluster)
        result = open_catalog(service, error);
    else if (!service->peers)
        result = begin_membership(service, 0, store_replica_id(0, 0), error);
    if (result != HF_OK)
        return result;
    store_catalog_rebuild_work(&rebuild.job);
    if (error && rebuild.code != HF_OK)
        *error = rebuild.error;
    register_opened(service, &rebuild);
    service->routing = rebuild.routing;
    if (rebuild.code == HF_OK)
        service->rebuilt_index = rebuild.routing->catalog_index;
    return rebuild.code;
}
