/* service.c: what the product's sources ask of those that are not here: its replicas by partition, as in the product's
 * replicas.c; and what needs files, other disks or an operator, of which there are none. */
#include "sim.h"

#include "service/heal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Replicas ---------------------------------------------------------------------------------------------------- */

void service_begin(node *n)
{
    struct store_service *service = &n->service;

    service->replica_count = SPACES_MAX;
    service->replicas = calloc(SPACES_MAX, sizeof(struct store_replica *));
    pthread_rwlock_init(&service->lock, NULL);
}

int32_t store_service_open_replica(struct store_service *service, const struct store_partition *partition,
                                   const struct store_table *described, uint64_t self, int32_t joins,
                                   struct store_replica **ret_replica, hf_error *error)
{
    node *n = service->shards[0].loop->of;
    struct store_replica_setup setup = {
        .environment = &service->environment,
        .partition = partition->id,
        .table = store_admission_table(&service->admission, described->declaration.name),
        .loop = &n->loop,
        .self = self,
        .member_count = joins ? 0 : partition->first_count,
        .announce = partition->id == STORE_CATALOG_PARTITION,
        .keep_changes_us = described->declaration.keep_changes_us,
        .keep_repeats_us = described->declaration.keep_repeats_us,
        .random_seed = roll(UINT64_MAX),
        .now_us = n->loop_now,
        .arg = service,
    };

    for (uint32_t i = 0; i < setup.member_count; i++)
        setup.members[i] = (hf_replication_member){.replica = partition->first[i]};
    if (partition->id == STORE_CATALOG_PARTITION)
        setup.changed = store_catalog_changed;
    else
        setup.reshaped = store_catalog_changed;
    return store_replica_open(&setup, ret_replica, error);
}

int32_t store_service_register(struct store_service *service, struct store_replica *replica)
{
    uint64_t id = store_replica_partition(replica);

    if (id >= SPACES_MAX) {
        fail("more partitions than the simulator has room for", id, 0);
        return HF_ENOMEM;
    }
    service->replicas[id] = replica;
    say("node %u opens replica %llx of partition %llu", service->nodes.self,
        (unsigned long long)store_replica_self(replica), (unsigned long long)id);
    return HF_OK;
}

void store_service_unregister(struct store_service *service, uint64_t partition)
{
    service->replicas[partition] = NULL;
    fault_counts[FAULT_MOVED_AWAY]++;
}

int32_t store_service_has(struct store_service *service, uint64_t partition)
{
    return partition < SPACES_MAX && service->replicas[partition];
}

int32_t store_service_shape(struct store_service *service, uint64_t partition, struct store_shape *ret_shape,
                            uint64_t *ret_self)
{
    struct store_replica *replica = partition < SPACES_MAX ? service->replicas[partition] : NULL;

    if (!replica)
        return 0;
    store_machine_shape(store_replica_machine(replica), ret_shape);
    *ret_self = store_replica_self(replica);
    return 1;
}

uint32_t store_service_leader(struct store_service *service, uint64_t partition)
{
    struct store_replica *replica = store_service_has(service, partition) ? service->replicas[partition] : NULL;

    return replica ? atomic_load(&store_replica_published(replica)->leader) : 0;
}

void store_shard_hurry(struct store_shard *shard)
{
    shard->loop->of->hurry_until = now + 300 * MS;
}

uint64_t store_service_configuration(const struct store_service *service)
{
    (void)service;
    return 1;
}

/* ---- What needs more than a simulated node has ------------------------------------------------------------------- */

void store_settings_declaration(const struct store_table_settings *settings, struct store_declaration *ret_declaration)
{
    (void)settings;
    *ret_declaration = (struct store_declaration){0}; /* no table is in the configuration */
}

int32_t store_identity_save(const char *directory, const struct store_nodes *cluster,
                            const struct store_identity *identity, const struct store_membership *membership,
                            hf_error *error)
{
    (void)directory, (void)cluster, (void)identity, (void)membership, (void)error;
    return HF_OK;
}

uint64_t store_cluster_number(const struct store_nodes *cluster, uint32_t first_count)
{
    (void)cluster;
    return first_count + 1;
}

uint64_t store_needed_count(const struct store_routing *routing, const struct store_nodes *cluster)
{
    (void)routing, (void)cluster;
    return 0;
}

int32_t store_needed_save(const char *directory, uint64_t count, hf_error *error)
{
    (void)directory, (void)count, (void)error;
    return HF_OK;
}

int32_t store_hello_open(struct store_service *service, hf_error *error)
{
    (void)service, (void)error;
    return HF_OK;
}

int32_t store_hello_trusts(struct store_service *service, uint32_t other)
{
    (void)service, (void)other;
    return 1;
}

void store_hello_link(struct store_service *service, uint32_t other, int32_t up)
{
    (void)service, (void)other, (void)up;
}

void store_hello_join(struct store_service *service, uint32_t other, uint64_t replica)
{
    (void)service, (void)other, (void)replica;
}

void store_witness_hear(struct store_witness *witness, uint32_t other, uint64_t position)
{
    (void)witness, (void)other, (void)position;
}

int32_t store_compared_open(struct store_service *service, hf_error *error)
{
    (void)service, (void)error;
    return HF_OK;
}
