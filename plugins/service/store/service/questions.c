/* What the HTTP interface and the host ask of the store: what it knows, and how it is. */
#include "service/service.h"

#include "service/call.h"
#include "service/private.h"

#include <stdio.h>

struct store_routing *store_service_routing(struct store_service *service)
{
    return store_shard_current(service)->routing;
}

const struct store_nodes *store_service_nodes(const struct store_service *service)
{
    return &service->nodes;
}

const char *store_service_cluster(const struct store_service *service)
{
    return service->node->cluster_name(service->host);
}

const hf_host *store_service_host(const struct store_service *service)
{
    return service->host;
}

uint64_t store_service_configuration(const struct store_service *service)
{
    return service->node->configuration_version(service->host);
}

int32_t store_service_node_up(struct store_service *service, uint32_t node)
{
    return node == service->nodes.self || service->peers->is_up(service->calls, node);
}

int32_t store_service_problem(struct store_service *service, char *text, uint64_t capacity)
{
    struct store_log_metrics log = {0};
    uint64_t failed = 0, damaged = 0;

    text[0] = '\0';
    pthread_rwlock_rdlock(&service->lock);
    for (uint64_t id = 0; id < service->replica_count; id++) {
        failed += service->replicas[id] && atomic_load(&store_replica_published(service->replicas[id])->failed);
        damaged += service->replicas[id] && atomic_load(&store_replica_published(service->replicas[id])->damaged);
    }
    pthread_rwlock_unlock(&service->lock);
    store_log_metrics(service->log, &log);
    if (atomic_load(&service->heals))
        snprintf(text, capacity,
                 "this node's data was damaged and set aside; it waits for the leader of the catalog to fill it anew, "
                 "for which a majority of the other nodes has to be there");
    else if (atomic_load(&service->lost))
        snprintf(text, capacity,
                 "this node was given up as lost by 'holdfast cluster recover' and must not take part with this disk; "
                 "empty its state directory, start it, and run 'holdfast node replace %s' elsewhere",
                 service->nodes.names[service->nodes.self]);
    else if (atomic_load(&service->refused))
        snprintf(text, capacity,
                 "the other nodes do not let this node take part: it runs on %s; see its log, and run 'holdfast node "
                 "replace %s'",
                 store_hello_describe(atomic_load(&service->refused_why)), service->nodes.names[service->nodes.self]);
    else if (atomic_load(&service->engine_damaged))
        snprintf(text, capacity, "files of this node's engine are damaged; see its log");
    else if (log.failed)
        snprintf(text, capacity, "the write-ahead log cannot be written; look at the disk and restart this node");
    else if (failed)
        snprintf(text, capacity, "%llu replicas of this node have stopped on an error; see its log",
                 (unsigned long long)failed);
    if (text[0])
        return HF_HEALTH_FAILING;
    if (damaged)
        snprintf(text, capacity, "%llu replicas of this node have damaged data and are being repaired; see its log",
                 (unsigned long long)damaged);
    return damaged ? HF_HEALTH_DEGRADED : HF_HEALTH_OK;
}

void store_service_health(void *self, hf_health *ret_health)
{
    struct store_service *service = self;

    if (!service->log)
        return;
    ret_health->state = store_service_problem(service, ret_health->reason, sizeof ret_health->reason);
}
