/* Making a table: its record is written to the catalog, where it must not be yet, and its partitions get their numbers
 * from the record "meta" in the same write.  Who is told that it is there can use it here: this node's routing has it
 * then, unless that took too long. */
#include "service/catalog_private.h"

#include "table/balance.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define META_KEY "meta"

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
