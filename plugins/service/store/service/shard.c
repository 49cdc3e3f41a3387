/* A worker loop's share of the store: its replicas, its calls, its clock. */
#include "service/private.h"

#include <stdlib.h>

struct store_shard *store_shard_current(struct store_service *service)
{
    hf_loop *loop = service->loops->current(service->host);

    for (uint32_t i = 0; i < service->shard_count; i++)
        if (service->shards[i].loop == loop)
            return &service->shards[i];
    return NULL;
}

struct store_replica *store_shard_replica(const struct store_shard *shard, uint64_t partition)
{
    uint64_t place = partition / shard->service->shard_count;

    return place < shard->replica_count ? shard->replicas[place] : NULL;
}

int32_t store_shard_add(struct store_shard *shard, struct store_replica *replica)
{
    uint64_t place = store_replica_partition(replica) / shard->service->shard_count;

    if (place >= shard->replica_count) {
        uint64_t count = place + 16;
        struct store_replica **replicas = realloc(shard->replicas, count * sizeof(struct store_replica *));

        if (!replicas)
            return HF_ENOMEM;
        for (uint64_t i = shard->replica_count; i < count; i++)
            replicas[i] = NULL;
        shard->replicas = replicas;
        shard->replica_count = count;
    }
    shard->replicas[place] = replica;
    if (shard->routing)
        store_shard_want(shard, replica);
    return HF_OK;
}

void store_shard_remove(struct store_shard *shard, uint64_t partition)
{
    shard->replicas[partition / shard->service->shard_count] = NULL;
}

void store_shard_want(struct store_shard *shard, struct store_replica *replica)
{
    const struct store_routed *routed = store_routing_partition(shard->routing, store_replica_partition(replica));
    hf_replication_member members[STORE_NODES_MAX];

    if (!routed || (routed->partition->id == STORE_CATALOG_PARTITION && shard->routing->node_records == 0))
        return; /* nobody has said who belongs to it */
    const struct store_partition *partition = routed->partition;

    for (uint32_t i = 0; i < partition->member_count; i++)
        members[i] = (hf_replication_member){.replica = partition->replicas[i],
                                             .learner = partition->id == STORE_CATALOG_PARTITION &&
                                                        i >= store_catalog_voters(shard->routing)};
    store_replica_want(replica, members, partition->member_count);
}

void store_shard_route(struct store_shard *shard, struct store_routing *routing)
{
    store_routing_release(shard->routing);
    shard->routing = routing;
    for (uint64_t i = 0; i < shard->replica_count; i++)
        if (shard->replicas[i])
            store_shard_want(shard, shard->replicas[i]);
    store_creations_check(shard, shard->service->loops->now_us(shard->loop));
}
