/* What operators do with nodes: records of the catalog, which the placer then follows. */
#include "service/private.h"

#include "service/call.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MAX = 4096 };

static const char *const actions[] = {"add", "drain", "remove", "replace"};

int32_t store_node_action(hf_slice name)
{
    for (int32_t i = 0; i < (int32_t)(sizeof actions / sizeof *actions); i++)
        if (hf_slice_is(name, actions[i]))
            return i;
    return HF_EINVAL;
}

static uint32_t count_replicas(const struct store_routing *routing, uint32_t node)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < routing->partition_count; i++) {
        const struct store_partition *partition = routing->partitions[i].partition;

        if (partition->id == STORE_CATALOG_PARTITION)
            continue;
        for (uint32_t k = 0; k < partition->member_count; k++)
            count += partition->members[k] == node;
        for (uint32_t k = 0; k < partition->leaving_count; k++)
            count += store_replica_node(partition->leaving[k]) == node &&
                     !store_partition_has_replica(partition, partition->leaving[k]); /* only added: counted above */
    }
    return count;
}

static uint32_t count_active(const struct store_routing *routing)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < STORE_NODES_MAX; i++)
        count += routing->nodes[i].state == STORE_NODE_ACTIVE;
    return count;
}

static int32_t refuse(hf_error *error, const struct store_service *service, uint32_t node, const char *why)
{
    return hf_error_set(error, HF_ECONFLICT, "node '%s' %s", service->nodes.names[node], why);
}

static int32_t decide(struct store_service *service, const struct store_routing *routing, uint32_t node, int32_t action,
                      struct store_node_record *record, hf_error *error)
{
    uint64_t disk = atomic_load(&service->replaceable[node]);
    uint32_t replicas = count_replicas(routing, node);

    *record = routing->nodes[node];
    switch (action) {
    case STORE_NODE_ADD:
        if (record->state == STORE_NODE_ACTIVE)
            return refuse(error, service, node, "takes part already");
        if (record->state == STORE_NODE_LOST)
            return refuse(error, service, node,
                          "was called lost by a recovery; start it with an empty state directory, and replace it");
        if (record->state != STORE_NODE_DRAINING) /* under an id of the catalog's group that was never used */
            record->generation = routing->catalog_version + 1;
        record->state = STORE_NODE_ACTIVE;
        return HF_OK;
    case STORE_NODE_DRAIN:
        if (record->state != STORE_NODE_ACTIVE)
            return refuse(error, service, node, "is not active");
        if (count_active(routing) < 2)
            return refuse(error, service, node, "is the only active one: its replicas have nowhere to go");
        record->state = STORE_NODE_DRAINING;
        return HF_OK;
    case STORE_NODE_REMOVE:
        if (record->state != STORE_NODE_DRAINING && record->state != STORE_NODE_NEW && record->state != STORE_NODE_LOST)
            return refuse(error, service, node, "has to be drained first");
        if (replicas)
            return hf_error_set(error, HF_ECONFLICT, "node '%s' still has %u replicas; wait until they have moved",
                                service->nodes.names[node], replicas);
        record->state = STORE_NODE_REMOVED;
        return HF_OK;
    default:
        if (record->state != STORE_NODE_ACTIVE && record->state != STORE_NODE_DRAINING &&
            record->state != STORE_NODE_LOST)
            return refuse(error, service, node, "does not take part; add it instead");
        if (!disk)
            return refuse(error, service, node,
                          "has not come with another disk; start it with an empty state directory first");
        record->generation = routing->catalog_version + 1;
        record->disk = disk;
        if (record->state == STORE_NODE_LOST)
            record->state = STORE_NODE_ACTIVE;
        return HF_OK;
    }
}

void store_service_node_change(struct store_service *service, uint32_t node, int32_t action, store_edit_done done,
                               void *arg)
{
    const struct store_routing *routing = store_shard_current(service)->routing;
    struct store_operation operation;
    struct store_node_record record;
    hf_error error = {0};
    char key[300];
    hf_buffer value;
    int32_t result = decide(service, routing, node, action, &record, &error);

    if (result != HF_OK) {
        done(arg, result, &error);
        return;
    }
    hf_buffer_init(&value, RECORD_MAX);
    snprintf(key, sizeof key, "nodes/%s", service->nodes.names[node]);
    result = store_node_write(&value, service->nodes.names[node], &record);
    operation = store_edit_put(hf_slice_of(key), (hf_slice){value.data, value.size}, routing->nodes[node].version);
    if (result == HF_OK) {
        store_service_log(service, HF_LOG_INFO, "node %s: %s", service->nodes.names[node], actions[action]);
        store_edit(service, &operation, 1, done, arg);
    } else {
        hf_error_set(&error, result, "no memory for the node's record");
        done(arg, result, &error);
    }
    hf_buffer_done(&value);
}
