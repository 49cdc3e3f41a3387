/* This node's replicas, by partition: all loops find one here, under the service's lock, from when it is registered
 * until it is taken out.  It belongs to its own loop all the same: others read what it has published, and its shape. */
#include "service/call.h"
#include "service/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

int32_t store_service_open_replica(struct store_service *service, const struct store_partition *partition,
                                   const struct store_table *table, uint64_t self, int32_t joins,
                                   struct store_replica **ret_replica, hf_error *error)
{
    hf_loop *main_loop = service->loops->main_loop(service->host);
    struct store_replica_setup setup = {
        .environment = &service->environment,
        .partition = partition->id,
        .loop = store_shard_of(service, partition->id)->loop,
        .self = self,
        .member_count = joins ? 0 : partition->first_count,
        .table = store_admission_table(&service->admission, table->declaration.name),
        .announce = partition->id == STORE_CATALOG_PARTITION,
        .keep_changes_us = table->declaration.keep_changes_us,
        .keep_repeats_us = table->declaration.keep_repeats_us,
        .now_us = service->loops->now_us(main_loop),
        .arg = service,
    };

    if (!setup.table)
        return hf_error_set(error, HF_ENOMEM, "no memory for a table's queues");
    service->node->random(service->host, &setup.random_seed, sizeof setup.random_seed);
    for (uint32_t i = 0; i < setup.member_count; i++)
        setup.members[i] = (hf_replication_member){.replica = partition->first[i]};
    if (partition->id == STORE_CATALOG_PARTITION)
        setup.changed = store_catalog_changed;
    else
        setup.reshaped = store_catalog_changed; /* the partition that came of a split is to be opened */
    int32_t result = store_replica_open(&setup, ret_replica, error);

    service->is_damaged |= result == HF_ECORRUPT;
    return result;
}

int32_t store_service_register(struct store_service *service, struct store_replica *replica)
{
    uint64_t id = store_replica_partition(replica);
    int32_t result = HF_OK;

    pthread_rwlock_wrlock(&service->lock);
    if (id >= service->replica_count) {
        uint64_t count = id + 64;
        struct store_replica **replicas = realloc(service->replicas, count * sizeof(struct store_replica *));

        if (replicas) {
            memset(replicas + service->replica_count, 0,
                   (count - service->replica_count) * sizeof(struct store_replica *));
            service->replicas = replicas;
            service->replica_count = count;
        } else {
            result = HF_ENOMEM;
        }
    }
    if (result == HF_OK)
        service->replicas[id] = replica;
    pthread_rwlock_unlock(&service->lock);
    return result;
}

void store_service_unregister(struct store_service *service, uint64_t partition)
{
    pthread_rwlock_wrlock(&service->lock);
    service->replicas[partition] = NULL;
    pthread_rwlock_unlock(&service->lock);
}

int32_t store_service_has(struct store_service *service, uint64_t partition)
{
    pthread_rwlock_rdlock(&service->lock);
    int32_t has = partition < service->replica_count && service->replicas[partition];
    pthread_rwlock_unlock(&service->lock);
    return has;
}

int32_t store_service_shape(struct store_service *service, uint64_t partition, struct store_shape *ret_shape,
                            uint64_t *ret_self)
{
    struct store_replica *replica = NULL;

    pthread_rwlock_rdlock(&service->lock);
    if (partition < service->replica_count)
        replica = service->replicas[partition];
    if (replica) {
        store_machine_shape(store_replica_machine(replica), ret_shape);
        *ret_self = store_replica_self(replica);
    }
    pthread_rwlock_unlock(&service->lock);
    return replica != NULL;
}

uint32_t store_service_leader(struct store_service *service, uint64_t partition)
{
    uint32_t leader = 0;

    pthread_rwlock_rdlock(&service->lock);
    if (partition < service->replica_count && service->replicas[partition])
        leader =
            atomic_load_explicit(&store_replica_published(service->replicas[partition])->leader, memory_order_relaxed);
    pthread_rwlock_unlock(&service->lock);
    return leader;
}

void store_service_replica_info(struct store_service *service, uint64_t partition, struct store_replica_info *ret_info)
{
    struct store_replica_published *published = NULL;

    *ret_info = (struct store_replica_info){0};
    pthread_rwlock_rdlock(&service->lock);
    if (partition < service->replica_count && service->replicas[partition])
        published = store_replica_published(service->replicas[partition]);
    if (!published) {
        pthread_rwlock_unlock(&service->lock);
        return;
    }
    ret_info->present = 1;
    ret_info->moving = atomic_load(&published->moving);
    ret_info->role = atomic_load(&published->role);
    ret_info->failed = atomic_load(&published->failed);
    ret_info->damaged = atomic_load(&published->damaged);
    ret_info->checked_us = atomic_load(&published->checked_us);
    ret_info->leader = atomic_load(&published->leader);
    ret_info->term = atomic_load(&published->term);
    ret_info->commit = atomic_load(&published->commit);
    ret_info->applied = atomic_load(&published->applied);
    pthread_rwlock_unlock(&service->lock);
    ret_info->bytes = service->engine->space_size(service->database, partition);
}
