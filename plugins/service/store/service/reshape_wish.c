/* Asking for a split or merge: a record of the catalog says from then on that it is to be.  It is written only if
 * nothing has changed that this node's routing does not know of. */
#include "service/reshape_private.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct wish {
    struct store_call call; /* first */
    struct store_service *service;
    struct store_routing *routing; /* that was asked, with the partition's table */
    const struct store_table *table;
    struct store_reshaping reshaping;
    void (*done)(void *arg, int32_t code, const hf_error *error);
    void *arg;
};

static void granted(void *arg, int32_t code, const hf_error *error)
{
    struct wish *wish = arg;

    wish->done(wish->arg, code, error);
    store_routing_release(wish->routing);
    free(wish);
}

static void add_check(struct edits *edits, int32_t condition, uint64_t version)
{
    edits->operations[edits->count] = (struct store_operation){
        .type = STORE_CHECK, .condition = condition, .version = version, .key = hf_slice_of(edits->keys[edits->count])};
    edits->count++;
}

static void add_absence(struct edits *edits, uint64_t partition)
{
    store_edits_add_reshaping_key(edits, partition);
    add_check(edits, STORE_IF_ABSENT, 0);
}

/* This node's routing may be behind: the table must be as it is there, and no split or merge that came since may be
 * about one of the partitions, or both would wait for each other for ever.  The lower neighbour's may be a merge with
 * this one. */
static void add_checks(struct edits *edits, const struct wish *wish)
{
    const struct store_table *table = wish->table;
    uint64_t partition = wish->reshaping.partition;

    snprintf(edits->keys[edits->count], sizeof edits->keys[0], "tables/%s", table->declaration.name);
    add_check(edits, STORE_IF_VERSION, table->version);
    if (wish->reshaping.merges)
        add_absence(edits, wish->reshaping.other);
    for (uint32_t i = 1; i < table->partition_count; i++)
        if (table->partitions[i].id == partition && table->partitions[i].hash_from > 0)
            add_absence(edits, table->partitions[i - 1].id);
}

static void write_wish(struct wish *wish, uint64_t next_partition, uint64_t meta_version)
{
    struct edits edits;
    hf_error error = {0};
    int32_t result = HF_OK;

    store_edits_begin(&edits);
    add_checks(&edits, wish);
    if (!wish->reshaping.merges) { /* it needs a number */
        wish->reshaping.other = next_partition;
        snprintf(edits.keys[edits.count], sizeof edits.keys[0], "meta");
        result =
            hf_buffer_append_format(&edits.values[edits.count], "{\"next_partition\":%" PRIu64 "}", next_partition + 1);
        store_edits_add_put(&edits, meta_version);
    }
    store_edits_add_reshaping_key(&edits, wish->reshaping.partition);
    if (result == HF_OK)
        result = store_reshaping_write(&edits.values[edits.count], &wish->reshaping);
    store_edits_add_put(&edits, 0);
    if (result == HF_OK)
        store_edit(wish->service, edits.operations, edits.count, granted, wish);
    else
        granted(wish, hf_error_set(&error, HF_EBUSY, "no memory for the request"), &error);
    store_edits_end(&edits);
}

static void meta_read(struct store_call *call)
{
    struct wish *wish = (struct wish *)(void *)call;
    hf_slice rest = {call->op.result.data, call->op.result.size};
    hf_value value = hf_value_null();
    struct store_row row;
    hf_arena arena;
    int64_t next = 0;

    hf_arena_init(&arena, 4096);
    if (call->op.code == HF_OK && store_result_next(&rest, &row) == 1 &&
        hf_json_parse(row.value, &arena, &value, NULL) == HF_OK)
        next = hf_value_get_integer(&value, "next_partition", 0);
    hf_arena_done(&arena);
    uint64_t version = next > STORE_CATALOG_PARTITION ? row.version : 0;

    hf_buffer_done(&call->op.result);
    if (version)
        write_wish(wish, (uint64_t)next, version);
    else if (call->op.code == HF_OK)
        granted(
            wish,
            hf_error_set(&call->op.error, HF_ECORRUPT, "the catalog does not say which number the next partition has"),
            &call->op.error);
    else
        granted(wish, call->op.code, &call->op.error);
}

static int32_t check_wish(const struct store_routing *routing, struct store_reshaping *reshaping, hf_error *error)
{
    const struct store_routed *routed = store_routing_partition(routing, reshaping->partition);

    if (!routed || routed->partition->id == STORE_CATALOG_PARTITION ||
        store_table_retired(routed->table, reshaping->partition))
        return hf_error_set(error, HF_ENOTFOUND, "there is no partition %" PRIu64 " that could be split or merged",
                            reshaping->partition);
    const struct store_partition *partition = routed->partition;
    const struct store_partition *upper = store_table_neighbour(routed->table, partition->id);

    if (partition->is_reshaping || (reshaping->merges && upper && upper->is_reshaping))
        return hf_error_set(error, HF_ECONFLICT, "the partition is being split or merged already");
    if (reshaping->merges && !upper)
        return hf_error_set(error, HF_ECONFLICT, "the partition has no upper neighbour of the same value");
    if (!reshaping->merges && partition->hash_to - partition->hash_from < 2)
        return hf_error_set(error, HF_ECONFLICT, "the partition is too narrow to be split");
    reshaping->other = upper ? upper->id : 0;
    reshaping->from = partition->hash_from + (partition->hash_to - partition->hash_from) / 2 + 1;
    return HF_OK;
}

void store_service_reshape(struct store_service *service, uint64_t partition, int32_t merge,
                           void (*done)(void *arg, int32_t code, const hf_error *error), void *arg)
{
    struct store_reshaping reshaping = {.partition = partition, .merges = merge};
    struct store_shard *shard = store_shard_current(service);
    struct wish *wish = NULL;
    hf_error error = {0};
    int32_t result = check_wish(shard->routing, &reshaping, &error);

    if (result == HF_OK && !(wish = calloc(1, sizeof *wish)))
        result = hf_error_set(&error, HF_EBUSY, "no memory for the request");
    if (result != HF_OK) {
        done(arg, result, &error);
        return;
    }
    *wish = (struct wish){.service = service,
                          .routing = store_routing_hold(shard->routing),
                          .table = store_routing_partition(shard->routing, partition)->table,
                          .reshaping = reshaping,
                          .done = done,
                          .arg = arg};
    if (merge) {
        write_wish(wish, 0, 0);
        return;
    }
    wish->call = (struct store_call){.op = {.type = STORE_OP_GET,
                                            .partition = STORE_CATALOG_PARTITION,
                                            .deadline_us = service->loops->now_us(shard->loop) + TIMEOUT_US,
                                            .key = hf_slice_of("meta")},
                                     .finished = meta_read};
    store_call_start(service, &wish->call);
}
