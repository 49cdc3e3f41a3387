/* Where partitions are, and what is known of nodes, as the catalog's records; see table.h.
 *
 * {"record":1,"partition":7,"replicas":[{"node":"n1","generation":0}],"leaving":[{"node":"n3","generation":0}]}
 * {"record":1,"name":"n4","state":"active","generation":0,"disk":"00000000deadbeef"} */
#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>

enum { RECORD = 1, SCRATCH_MAXIMUM = 1 << 20 };

static const char *const state_names[] = {"new", "active", "draining", "removed", "lost"};

/* ---- Nodes
 * ----------------------------------------------------------------------------------------------------------- */

const char *store_node_state_name(int32_t state)
{
    return state_names[state];
}

uint32_t store_node_find(const struct store_nodes *nodes, hf_slice name)
{
    for (uint32_t i = 0; i < nodes->count; i++)
        if (hf_slice_is(name, nodes->names[i]))
            return i;
    return UINT32_MAX;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void write_replicas(hf_json_writer *writer, const char *name, const uint64_t *replicas, uint32_t count,
                           const struct store_nodes *nodes)
{
    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "node", nodes->names[store_replica_node(replicas[i])]);
        hf_json_member_unsigned(writer, "generation", store_replica_generation(replicas[i]));
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

int32_t store_placement_write(hf_buffer *buffer, const struct store_partition *partition,
                              const struct store_nodes *nodes)
{
    hf_json_writer writer;

    hf_json_writer_init(&writer, buffer);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "record", RECORD);
    hf_json_member_unsigned(&writer, "partition", partition->id);
    write_replicas(&writer, "replicas", partition->replicas, partition->member_count, nodes);
    write_replicas(&writer, "leaving", partition->leaving, partition->leaving_count, nodes);
    hf_json_end_object(&writer);
    return writer.result;
}

int32_t store_node_write(hf_buffer *buffer, const char *name, const struct store_node_record *record)
{
    hf_json_writer writer;
    char disk[17];

    snprintf(disk, sizeof disk, "%016" PRIx64, record->disk);
    hf_json_writer_init(&writer, buffer);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "record", RECORD);
    hf_json_member_text(&writer, "name", name);
    hf_json_member_text(&writer, "state", state_names[record->state]);
    hf_json_member_unsigned(&writer, "generation", record->generation);
    hf_json_member_text(&writer, "disk", disk);
    hf_json_end_object(&writer);
    return writer.result;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int32_t damaged(hf_error *error, const char *what)
{
    return hf_error_set(error, HF_ECORRUPT, "a record of the catalog is damaged: %s", what);
}

static int32_t parse(hf_slice json, hf_arena *scratch, hf_value *ret_root, hf_error *error)
{
    int32_t r = hf_json_parse(json, scratch, ret_root, error);

    if (r == HF_EINVAL || (r == 0 && ret_root->type != HF_VALUE_MAP))
        return damaged(error, "it is not a JSON object");
    if (r < 0)
        return r;
    int64_t record = hf_value_get_integer(ret_root, "record", 0);

    if (record > RECORD)
        return hf_error_set(error, HF_EVERSION,
                            "a record of the catalog has format %lld and this release knows up to %d; upgrade this "
                            "node",
                            (long long)record, RECORD);
    return record == RECORD ? 0 : damaged(error, "it has no format number");
}

static int32_t read_replicas(const hf_value *list, const struct store_nodes *nodes, uint64_t *replicas,
                             uint32_t *ret_count, hf_error *error)
{
    uint32_t count = 0;

    if (!list || list->type != HF_VALUE_LIST || list->count > STORE_NODES_MAX)
        return damaged(error, "a list of replicas is missing or too long");
    for (uint64_t i = 0; i < list->count; i++) {
        const hf_value *item = &list->as.items[i];
        hf_slice name = hf_value_get_string(item, "node", (hf_slice){NULL, 0});
        int64_t generation = hf_value_get_integer(item, "generation", -1);
        uint32_t node = store_node_find(nodes, name);

        if (node == UINT32_MAX)
            return hf_error_set(error, HF_ECORRUPT,
                                "a partition is on node '%.*s', which is not in this node's list of members; check "
                                "the configuration",
                                (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        if (generation < 0 || generation > STORE_GENERATION_MAX)
            return damaged(error, "a replica has no valid generation");
        replicas[count++] = store_replica_id(node, (uint64_t)generation);
        for (uint32_t k = 0; k + 1 < count; k++)
            if (replicas[k] == replicas[count - 1])
                return damaged(error, "a replica is named twice");
    }
    *ret_count = count;
    return 0;
}

static int32_t apply_placement(const hf_value *root, uint64_t version, const struct store_routing *routing,
                               const struct store_nodes *nodes, hf_error *error)
{
    int64_t id = hf_value_get_integer(root, "partition", 0);
    const struct store_routed *routed = id > 0 ? store_routing_partition(routing, (uint64_t)id) : NULL;
    uint64_t replicas[STORE_NODES_MAX], leaving[STORE_NODES_MAX];
    uint32_t count = 0, leaving_count = 0;
    int32_t r;

    if (id <= 0)
        return damaged(error, "a placement names no partition");
    if (!routed)
        return 0;
    r = read_replicas(hf_value_get(root, "replicas"), nodes, replicas, &count, error);
    if (r == 0 && count == 0)
        r = damaged(error, "a placement names no replica");
    if (r == 0)
        r = read_replicas(hf_value_get(root, "leaving"), nodes, leaving, &leaving_count, error);
    if (r < 0)
        return r;
    /* The routing is being built and nobody else has it. */
    struct store_partition *partition = (struct store_partition *)(uintptr_t)routed->partition;

    partition->placement_version = version;
    partition->member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        partition->replicas[i] = replicas[i];
        partition->members[i] = store_replica_node(replicas[i]);
    }
    partition->leaving_count = leaving_count;
    for (uint32_t i = 0; i < leaving_count; i++)
        partition->leaving[i] = leaving[i];
    return 0;
}

int32_t store_placement_apply(hf_slice json, uint64_t version, const struct store_routing *routing,
                              const struct store_nodes *nodes, hf_error *error)
{
    hf_value root = hf_value_null();
    hf_arena scratch;

    hf_arena_init(&scratch, SCRATCH_MAXIMUM);
    int32_t r = parse(json, &scratch, &root, error);

    if (r == 0)
        r = apply_placement(&root, version, routing, nodes, error);
    hf_arena_done(&scratch);
    return r;
}

int store_read_hash(hf_slice text, uint64_t *ret_number)
{
    *ret_number = 0;
    for (uint64_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return 0;
        *ret_number = *ret_number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return text.size == 16;
}

static int32_t apply_node(const hf_value *root, uint64_t version, struct store_routing *routing,
                          const struct store_nodes *nodes, hf_error *error)
{
    hf_slice state = hf_value_get_string(root, "state", (hf_slice){NULL, 0});
    uint32_t node = store_node_find(nodes, hf_value_get_string(root, "name", (hf_slice){NULL, 0}));
    int64_t generation = hf_value_get_integer(root, "generation", -1);
    struct store_node_record record = {
        .state = STORE_NODE_LOST + 1, .generation = (uint64_t)generation, .version = version};

    for (int32_t i = STORE_NODE_NEW; i <= STORE_NODE_LOST; i++)
        if (hf_slice_is(state, state_names[i]))
            record.state = i;
    if (record.state > STORE_NODE_LOST || generation < 0 || generation > STORE_GENERATION_MAX ||
        !store_read_hash(hf_value_get_string(root, "disk", (hf_slice){NULL, 0}), &record.disk))
        return damaged(error, "that of a node has no valid state, generation or disk");
    if (node != UINT32_MAX)
        routing->nodes[node] = record;
    return 0;
}

int32_t store_node_apply(hf_slice json, uint64_t version, struct store_routing *routing,
                         const struct store_nodes *nodes, hf_error *error)
{
    hf_value root = hf_value_null();
    hf_arena scratch;

    hf_arena_init(&scratch, SCRATCH_MAXIMUM);
    int32_t r = parse(json, &scratch, &root, error);

    if (r == 0)
        r = apply_node(&root, version, routing, nodes, error);
    hf_arena_done(&scratch);
    return r;
}
