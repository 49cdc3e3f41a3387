/* The catalog: its replica's records become this node's routing, and declared tables become records.
 *
 * The catalog is the partition 1, which every node has.  When its replica has applied something, the records are read
 * in the pool, replicas that are new to this node are opened, and the loops get the new routing. */
#include "service/heal.h"
#include "service/private.h"
#include "table/balance.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_PREFIX "tables/"
#define META_KEY     "meta"

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
        int32_t result;

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

static void rebuild_work(hf_job *job)
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
        } else {
            hand(shard, NULL, replica);
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
    rebuild->job.work = rebuild_work;
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
    if (result == HF_OK)
        result = store_service_register(service, replica);
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
        store_service_log(service, HF_LOG_ERROR, "the catalog could not be opened: %s", error.message);
        return;
    }
    store_service_log(service, HF_LOG_INFO,
                      service->joins ? "this node joins the cluster" : "this node begins the cluster");
    hand(store_shard_of(service, STORE_CATALOG_PARTITION), NULL, service->replicas[STORE_CATALOG_PARTITION]);
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
    rebuild_work(&rebuild.job);
    if (error && rebuild.code != HF_OK)
        *error = rebuild.error;
    for (uint64_t i = 0; i < rebuild.opened_count && rebuild.code == HF_OK; i++)
        rebuild.code = store_service_register(service, rebuild.opened[i]);
    free(rebuild.opened);
    service->routing = rebuild.routing;
    if (rebuild.code == HF_OK)
        service->rebuilt_index = rebuild.routing->catalog_index;
    return rebuild.code;
}

/* ---- Making a table ------------------------------------------------------------------------------------------- */

enum { READ_TABLE = 1, READ_META, WRITE, AWAIT };
enum { CREATE_TIMEOUT_US = 15000000, CONFLICTS_MAX = 20, RECORD_MAX = 8 << 20 };

struct store_creation {
    struct store_call call;
    struct store_service *service;
    struct store_shard *shard;
    struct store_creation *next;
    int32_t step;
    int32_t existed;
    int32_t look_only; /* 1: the table is only looked for */
    uint32_t conflicts;
    uint64_t deadline_us;
    uint64_t meta_version;
    uint64_t next_partition;
    hf_arena arena;
    char key[sizeof TABLE_PREFIX + STORE_TABLE_NAME_MAX];
    struct store_declaration declaration;
    hf_buffer command;
    store_create_done done;
    void *arg;
};

static void read_record(struct store_creation *creation, int32_t step, const char *key);

static void end_creation(struct store_creation *creation, int32_t code, const hf_error *error)
{
    hf_error explained = error ? *error : (hf_error){0};

    if (error && creation->step != AWAIT) { /* a call to the catalog failed */
        store_catalog_explain(code, &explained);
        error = &explained;
    }
    creation->done(creation->arg, code, creation->existed, error);
    hf_buffer_done(&creation->call.op.result);
    hf_buffer_done(&creation->command);
    hf_arena_done(&creation->arena);
    free(creation);
}

static void fail_creation(struct store_creation *creation, int32_t code, const char *message)
{
    hf_error error = {0};

    hf_error_set(&error, code, "%s", message);
    end_creation(creation, code, &error);
}

/* The table is in the catalog; the caller may use it when this node knows it. */
static void await_routing(struct store_creation *creation)
{
    creation->step = AWAIT;
    creation->next = creation->shard->creations;
    creation->shard->creations = creation;
    store_creations_check(creation->shard, creation->service->loops->now_us(creation->shard->loop));
}

void store_creations_check(struct store_shard *shard, uint64_t now_us)
{
    struct store_creation **link = &shard->creations;

    while (*link) {
        struct store_creation *creation = *link;

        if (!store_routing_table(shard->routing, hf_slice_of(creation->declaration.name)) &&
            now_us < creation->deadline_us && !shard->service->draining) {
            link = &creation->next;
            continue;
        }
        *link = creation->next;
        if (creation->look_only && !store_routing_table(shard->routing, hf_slice_of(creation->declaration.name)))
            fail_creation(creation, HF_ENOTLEADER, "this node has not heard of the table yet, which is there");
        else
            end_creation(creation, HF_OK, NULL);
    }
}

static int32_t encode(struct store_creation *creation, hf_slice table, hf_slice meta, hf_error *error)
{
    struct store_service *service = creation->service;
    uint8_t key[16];
    struct store_operation operations[] = {
        {.type = STORE_PUT,
         .condition = STORE_IF_ABSENT,
         .key = hf_slice_of(creation->key),
         .value = table,
         .checksum = hf_crc32c(0, table.data, table.size)},
        {.type = STORE_PUT,
         .condition = creation->meta_version ? STORE_IF_VERSION : STORE_IF_ABSENT,
         .version = creation->meta_version,
         .key = hf_slice_of(META_KEY),
         .value = meta,
         .checksum = hf_crc32c(0, meta.data, meta.size)},
    };
    struct store_command command = {.configuration = store_service_configuration(service),
                                    .idempotency_key = {key, sizeof key},
                                    .operations = operations,
                                    .operation_count = 2};

    service->node->random(service->host, key, sizeof key);
    hf_buffer_clear(&creation->command);
    return store_command_encode(&creation->command, &command, error);
}

static void write_table(struct store_creation *creation);

static void created(struct store_call *call)
{
    struct store_creation *creation = (struct store_creation *)(void *)call;

    if (call->op.code == HF_OK)
        await_routing(creation);
    else if (call->op.code == HF_ECONFLICT && ++creation->conflicts < CONFLICTS_MAX)
        read_record(creation, READ_TABLE, creation->key); /* somebody was faster */
    else
        end_creation(creation, call->op.code, &call->op.error);
}

static void write_table(struct store_creation *creation)
{
    struct store_service *service = creation->service;
    struct store_table table;
    hf_buffer record;
    hf_error error = {0};
    char meta[64];
    struct store_nodes open;
    int32_t result;

    store_open_nodes(creation->shard->routing, &service->nodes, &open);
    result =
        store_table_plan(&creation->declaration, &open, creation->next_partition, &creation->arena, &table, &error);

    hf_buffer_init(&record, RECORD_MAX);
    if (result == HF_OK)
        result = store_table_write(&record, &table, &service->nodes, &error);
    if (result == HF_OK) {
        snprintf(meta, sizeof meta, "{\"next_partition\":%" PRIu64 "}",
                 creation->next_partition + table.partition_count);
        result = encode(creation, (hf_slice){record.data, record.size}, hf_slice_of(meta), &error);
    }
    hf_buffer_done(&record);
    if (result != HF_OK) {
        end_creation(creation, result, &error);
        return;
    }
    hf_buffer_done(&creation->call.op.result);
    creation->step = WRITE;
    creation->call = (struct store_call){
        .op = {.type = STORE_OP_WRITE,
               .partition = STORE_CATALOG_PARTITION,
               .deadline_us = creation->deadline_us,
               .command = {creation->command.data, creation->command.size}},
        .repeatable = 1,
        .finished = created,
    };
    store_call_start(service, &creation->call);
}

static void table_found(struct store_creation *creation, hf_slice value)
{
    struct store_table table;
    hf_error error = {0};
    int32_t result = store_table_parse(value, &creation->service->nodes, &creation->arena, &table, &error);

    if (result != HF_OK) {
        end_creation(creation, result, &error);
    } else if (store_declaration_same(&table.declaration, &creation->declaration)) {
        creation->existed = 1;
        await_routing(creation);
    } else {
        creation->existed = 1;
        fail_creation(creation, HF_EEXIST, "the table is there already with another declaration");
    }
}

static void meta_found(struct store_creation *creation, const struct store_row *row)
{
    hf_value value = hf_value_null();
    int64_t next = 0;

    if (hf_json_parse(row->value, &creation->arena, &value, NULL) == HF_OK)
        next = hf_value_get_integer(&value, "next_partition", 0);
    if (next <= STORE_CATALOG_PARTITION) {
        fail_creation(creation, HF_ECORRUPT, "the catalog's record 'meta' is damaged");
        return;
    }
    creation->meta_version = row->version;
    creation->next_partition = (uint64_t)next;
    write_table(creation);
}

static void record_read(struct store_call *call)
{
    struct store_creation *creation = (struct store_creation *)(void *)call;
    hf_slice rest = {call->op.result.data, call->op.result.size};
    struct store_row row;
    int found = call->op.code == HF_OK && store_result_next(&rest, &row) == 1;

    if (creation->look_only && found) {
        await_routing(creation);
    } else if (creation->look_only && call->op.code == HF_ENOTFOUND) {
        end_creation(creation, HF_ENOTFOUND, &call->op.error);
    } else if (call->op.code != HF_ENOTFOUND && !found) {
        end_creation(creation, call->op.code == HF_OK ? HF_ECORRUPT : call->op.code, &call->op.error);
    } else if (creation->step == READ_TABLE) {
        if (found)
            table_found(creation, row.value);
        else
            read_record(creation, READ_META, META_KEY);
    } else if (found) {
        meta_found(creation, &row);
    } else {
        creation->meta_version = 0;
        creation->next_partition = STORE_CATALOG_PARTITION + 1;
        write_table(creation);
    }
}

static void read_record(struct store_creation *creation, int32_t step, const char *key)
{
    hf_buffer_done(&creation->call.op.result);
    creation->step = step;
    creation->call = (struct store_call){
        .op = {.type = STORE_OP_GET,
               .partition = STORE_CATALOG_PARTITION,
               .deadline_us = creation->deadline_us,
               .key = hf_slice_of(key)},
        .finished = record_read,
    };
    store_call_start(creation->service, &creation->call);
}

static void begin_creation(struct store_service *service, const struct store_declaration *declaration,
                           int32_t look_only, uint64_t timeout_us, store_create_done done, void *arg)
{
    struct store_creation *creation = calloc(1, sizeof *creation);
    struct store_shard *shard = store_shard_current(service);

    if (creation)
        hf_arena_init(&creation->arena, 16 << 20);
    if (!creation || store_declaration_copy(declaration, &creation->arena, &creation->declaration, NULL) != HF_OK) {
        hf_error error = {0};
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        if (creation)
            hf_arena_done(&creation->arena);
        free(creation);
        done(arg, HF_EBUSY, 0, &error);
        return;
    }
    creation->service = service;
    creation->shard = shard;
    creation->look_only = look_only;
    creation->done = done;
    creation->arg = arg;
    creation->deadline_us = service->loops->now_us(shard->loop) + timeout_us;
    hf_buffer_init(&creation->command, RECORD_MAX);
    snprintf(creation->key, sizeof creation->key, "%s%s", TABLE_PREFIX, creation->declaration.name);
    read_record(creation, READ_TABLE, creation->key);
}

void store_service_create_table(struct store_service *service, const struct store_declaration *declaration,
                                store_create_done done, void *arg)
{
    begin_creation(service, declaration, 0, CREATE_TIMEOUT_US, done, arg);
}

void store_service_find_table(struct store_service *service, hf_slice name, uint64_t timeout_us, store_create_done done,
                              void *arg)
{
    char text[STORE_TABLE_NAME_MAX + 1];
    struct store_declaration declaration = {.name = text, .partition_by = ""};

    if (name.size > STORE_TABLE_NAME_MAX) { /* no table has such a name */
        hf_error error = {0};
        hf_error_set(&error, HF_ENOTFOUND, "there is no such table");
        done(arg, HF_ENOTFOUND, 0, &error);
        return;
    }
    snprintf(text, sizeof text, "%.*s", (int)name.size, (const char *)name.data);
    begin_creation(service, &declaration, 1, timeout_us, done, arg);
}

/* ---- Tables of the configuration ------------------------------------------------------------------------------ */

static void ensured_main(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, ensure_task));

    service->ensuring = 0;
}

static void ensured(void *arg, int32_t code, int32_t existed, const hf_error *error)
{
    struct store_service *service = arg;
    const struct store_table_settings *settings =
        (const struct store_table_settings *)service->options->tables.items + service->ensure_table;

    if (code == HF_OK) {
        if (!existed)
            store_service_log(service, HF_LOG_INFO, "made the table '%s'", settings->name);
        service->ensure_table++;
    } else if (code == HF_EEXIST) {
        store_service_log(service, HF_LOG_WARNING,
                          "the table '%s' is declared otherwise in the configuration than it is; it stays as it is",
                          settings->name);
        service->ensure_table++;
    } else {
        store_service_log(service, HF_LOG_DEBUG, "the table '%s' could not be made yet: %s", settings->name,
                          error ? error->message : "");
    }
    service->ensure_task.run = ensured_main;
    service->loops->post(service->loops->main_loop(service->host), &service->ensure_task);
}

/* [the first worker loop] */
static void ensure_next(hf_task *task)
{
    struct store_service *service =
        (struct store_service *)((char *)task - offsetof(struct store_service, ensure_task));
    struct store_declaration declaration;

    store_settings_declaration(
        (const struct store_table_settings *)service->options->tables.items + service->ensure_table, &declaration);
    store_service_create_table(service, &declaration, ensured, service);
}

/* [main] The catalog's leader makes what is declared and missing, one table after the other. */
static void ensure_tables(struct store_service *service)
{
    struct store_replica *catalog = store_catalog_replica(service);

    if (service->ensuring || service->ensure_table >= service->options->tables.count ||
        atomic_load(&store_replica_published(catalog)->role) != HF_ROLE_LEADER)
        return;
    service->ensuring = 1;
    service->ensure_task.run = ensure_next;
    service->loops->post(service->shards[0].loop, &service->ensure_task);
}

void store_catalog_tick(struct store_service *service)
{
    struct store_replica *catalog = store_catalog_replica(service);

    if (service->draining || !catalog)
        return;
    if (atomic_load(&store_replica_published(catalog)->applied) > service->rebuilt_index)
        start_rebuild(service);
    ensure_tables(service);
}
