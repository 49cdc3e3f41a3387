/* What the catalog's records make of this node: a new routing, and the replicas that it is to have by that.  It is work
 * for the pool, or done before the loops run; what comes of it is in a store_rebuild, which catalog.c takes over. */
#include "service/catalog_private.h"

#include "service/heal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

static const char *const prefixes[STORE_RECORD_KINDS] = {"nodes/", TABLE_PREFIX, "placements/", "reshapes/"};

/* ---- Routing from records ---------------------------------------------------------------------------------------- */

struct record_copy {
    struct store_payload *payload;
    uint64_t version;
};

struct records {
    uint64_t count, at;
    struct record_copy *items;
    int32_t code;
};

static int32_t collect(void *arg, hf_slice key, const struct store_record *record)
{
    struct records *records = arg;
    struct record_copy *items = realloc(records->items, (records->count + 1) * sizeof *items);
    struct record_copy copy = {store_payload_copy(record->value), record->version};

    (void)key;
    if (items)
        records->items = items;
    if (!items || !copy.payload) {
        store_payload_release(copy.payload);
        records->code = HF_ENOMEM;
        return 1;
    }
    items[records->count++] = copy;
    return 0;
}

static int32_t next_record(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    struct records *records = (struct records *)arg + kind;

    (void)error;
    if (records->at == records->count)
        return HF_ENOTFOUND;
    *ret_json = store_payload_slice(records->items[records->at].payload);
    *ret_version = records->items[records->at++].version;
    return HF_OK;
}

static void free_records(struct records *records)
{
    for (uint64_t i = 0; i < records->count; i++)
        store_payload_release(records->items[i].payload);
    free(records->items);
}

/* Blocks.  Without a machine: nothing is known. */
static int32_t build_routing(struct store_service *service, struct store_machine *machine,
                             struct store_routing **ret_routing, hf_error *error)
{
    struct records records[STORE_RECORD_KINDS] = {0};
    struct store_machine_state state = {0};
    int32_t result = HF_OK;

    if (machine)
        store_machine_state(machine, &state);
    for (int kind = 0; machine && kind < STORE_RECORD_KINDS && result == HF_OK; kind++) {
        result = store_machine_scan(machine, hf_slice_of(prefixes[kind]), (hf_slice){NULL, 0}, 0, collect,
                                    &records[kind], error);
        service->is_damaged |= result == HF_ECORRUPT;
        if (result == HF_OK && records[kind].code != HF_OK)
            result = hf_error_set(error, records[kind].code, "no memory for the catalog");
    }
    if (result == HF_OK)
        result = store_routing_build(&service->nodes, state.applied_index, next_record, records, ret_routing, error);
    if (result == HF_OK)
        (*ret_routing)->catalog_version = state.version;
    for (int kind = 0; kind < STORE_RECORD_KINDS; kind++)
        free_records(&records[kind]);
    return result;
}

/* ---- Replicas that are missing ----------------------------------------------------------------------------------- */

/* The id of this node's replica, also of one that is to go; 0: it has none. */
static uint64_t own_replica(const struct store_partition *partition, uint32_t self)
{
    uint64_t id = 0;

    for (uint32_t i = 0; i < partition->leaving_count; i++)
        if (store_replica_node(partition->leaving[i]) == self)
            id = partition->leaving[i];
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == self)
            id = partition->replicas[i];
    return id;
}

/* Whether the replica is one of those that the group begins with; others join it. */
static int32_t is_first(const struct store_partition *partition, uint64_t replica)
{
    for (uint32_t i = 0; i < partition->first_count; i++)
        if (partition->first[i] == replica)
            return 1;
    return 0;
}

/* Older ids of this node are void.  A catalog that is still being copied may not know it yet, but its own replica here
 * has been opened under an id of this disk. */
static uint64_t oldest_generation(const struct store_service *service, const struct store_routing *routing)
{
    uint64_t known = routing->nodes[service->nodes.self].generation;
    uint64_t own = store_replica_generation(service->membership.replica);

    return known > own ? known : own;
}

/* What this node's replica of a partition is like, whether it runs or was opened a moment ago. */
static int32_t find_shape(struct store_rebuild *rebuild, uint64_t partition, struct store_shape *ret_shape,
                          uint64_t *ret_self)
{
    for (uint64_t i = 0; i < rebuild->opened_count; i++)
        if (store_replica_partition(rebuild->opened[i]) == partition) {
            store_machine_shape(store_replica_machine(rebuild->opened[i]), ret_shape);
            *ret_self = store_replica_self(rebuild->opened[i]);
            return 1;
        }
    return store_service_shape(rebuild->service, partition, ret_shape, ret_self);
}

/* A partition that came of a split begins with what this node's replica of its parent has copied, when that has reached
 * the end of the split; before that it must wait.  Where there is no such copy, it joins and gets everything from the
 * others. */
static int32_t must_wait_for_parent(struct store_rebuild *rebuild, const struct store_partition *partition)
{
    struct store_shape shape;
    uint64_t self = 0;

    return partition->parent && find_shape(rebuild, partition->parent, &shape, &self) &&
           shape.epoch < partition->parent_epoch;
}

static int32_t open_one(struct store_rebuild *rebuild, const struct store_table *table,
                        const struct store_partition *partition, uint64_t self, int32_t joins)
{
    struct store_service *service = rebuild->service;
    int32_t result = HF_OK;

    if (partition->parent)
        result = store_machine_discard(service->engine, service->database, partition->id, &rebuild->error);
    if (result == HF_OK)
        result = store_service_open_replica(service, partition, table, self, joins,
                                            &rebuild->opened[rebuild->opened_count], &rebuild->error);
    rebuild->opened_count += result == HF_OK;
    return result;
}

/* The split has ended here, and the catalog does not know yet. */
static int32_t open_split_off(struct store_rebuild *rebuild, const struct store_reshaping *reshaping)
{
    const struct store_routed *parent = store_routing_partition(rebuild->routing, reshaping->partition);
    struct store_partition child = {.id = reshaping->other, .parent = reshaping->partition};
    struct store_shape shape;
    uint64_t self = 0;

    if (reshaping->merges || !parent || store_service_has(rebuild->service, child.id) ||
        !find_shape(rebuild, reshaping->partition, &shape, &self) || shape.other != child.id ||
        shape.state != STORE_SHAPE_STEADY)
        return HF_OK;
    return open_one(rebuild, parent->table, &child, self, 1);
}

/* A replica had moved away and was not removed yet when this node last ended.  It is opened as what it was, so that its
 * group is asked whether it may go (retire.c), and a recovery finds it. */
static int32_t open_left_over(struct store_rebuild *rebuild, const struct store_routed *routed)
{
    struct store_service *service = rebuild->service;
    uint64_t partition = routed->partition->id;

    if (service->routing || partition == STORE_CATALOG_PARTITION) /* only at start: later they are here until they go */
        return HF_OK;
    int32_t result = store_machine_is_there(service->engine, service->database, partition, &rebuild->error);

    if (result <= 0)
        return result;
    return open_one(rebuild, routed->table, routed->partition, store_replica_id(service->nodes.self, 0), 1);
}

/* Opens the replicas of this node that are not there yet.  Blocks. */
static int32_t open_missing(struct store_rebuild *rebuild)
{
    struct store_service *service = rebuild->service;
    const struct store_routing *routing = rebuild->routing;
    uint64_t oldest = oldest_generation(service, routing);

    rebuild->opened = calloc(routing->partition_count + routing->reshaping_count + 1, sizeof(struct store_replica *));
    if (!rebuild->opened)
        return hf_error_set(&rebuild->error, HF_ENOMEM, "no memory for new replicas");
    for (uint32_t i = 0; i < routing->partition_count; i++) {
        const struct store_routed *routed = &routing->partitions[i];
        uint64_t self = own_replica(routed->partition, service->nodes.self);
        int32_t result = self ? HF_OK : open_left_over(rebuild, routed);

        if (result != HF_OK)
            return result;
        if (!self || routed->partition->id == STORE_CATALOG_PARTITION ||
            store_service_has(service, routed->partition->id))
            continue;
        if (store_replica_generation(self) < oldest)
            continue; /* of the disk that this one replaces */
        if (must_wait_for_parent(rebuild, routed->partition))
            continue;
        result = open_one(rebuild, routed->table, routed->partition, self,
                          !is_first(routed->partition, self) || routed->partition->parent);
        if (result != HF_OK)
            return result;
    }
    for (uint32_t i = 0; i < routing->reshaping_count; i++) {
        int32_t result = open_split_off(rebuild, &routing->reshaping[i]);

        if (result != HF_OK)
            return result;
    }
    return HF_OK;
}

/* ---- The work ---------------------------------------------------------------------------------------------------- */

/* Before there is anything new that the others do not have. */
static int32_t remember_needed(struct store_service *service, const struct store_routing *routing, hf_error *error)
{
    uint64_t needed = store_needed_count(routing, &service->nodes);
    int32_t result = HF_OK;

    if (service->needed_saved != needed + 1)
        result = store_needed_save(service->directory, needed, error);
    if (result == HF_OK)
        service->needed_saved = needed + 1;
    return result;
}

void store_catalog_rebuild_work(hf_job *job)
{
    struct store_rebuild *rebuild = (struct store_rebuild *)(void *)job;
    struct store_service *service = rebuild->service;
    struct store_replica *catalog = store_catalog_replica(service);

    rebuild->code =
        build_routing(service, catalog ? store_replica_machine(catalog) : NULL, &rebuild->routing, &rebuild->error);
    if (rebuild->code == HF_OK)
        rebuild->code = remember_needed(service, rebuild->routing, &rebuild->error);
    if (rebuild->code == HF_OK)
        rebuild->code = open_missing(rebuild);
}
