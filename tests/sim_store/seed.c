/* seed.c: the catalog as it is in the beginning: one table and all nodes, as if a snapshot with them had been installed
 * everywhere, so that a run need not wait for it. */
#include "sim.h"

#include <holdfast/lib/checksum.h>

#include <stdlib.h>
#include <string.h>

const struct store_options sim_options = {.moves_maximum = 2};

enum { FIRST_INDEX = 1, FIRST_TERM = 1, RECORDS = 2 + NODES_MAX, TEXT_MAX = 1 << 20 };

struct store_nodes names(uint32_t self)
{
    static const char *const all[NODES_MAX] = {"a", "b", "c", "d", "e"};
    struct store_nodes n = {.count = node_count, .self = self};

    memcpy(n.names, all, sizeof all);
    return n;
}

const struct store_table *table_of(const struct store_routing *routing)
{
    return store_routing_table(routing, (hf_slice){(const uint8_t *)"t", 1});
}

static void write_table(hf_buffer *text)
{
    const struct store_declaration declaration = {.name = "t",
                                                  .partition_by = "",
                                                  .hash_ranges = partition_count,
                                                  .replicas = 3,
                                                  .format = STORE_FORMAT_BYTES,
                                                  .value_maximum = 1 << 20,
                                                  .keep_changes_us = UINT64_C(86400000000),
                                                  .keep_repeats_us = UINT64_C(86400000000)};
    const struct store_nodes cluster = names(0);
    struct store_table planned;
    hf_arena arena;

    hf_arena_init(&arena, TEXT_MAX);
    if (store_table_plan(&declaration, &cluster, FIRST_PARTITION, &arena, &planned, NULL) ||
        store_table_write(text, &planned, &cluster, NULL))
        abort();
    hf_arena_done(&arena);
}

static void add(struct store_command *command, struct store_operation *operations, const char *key,
                const hf_buffer *text)
{
    operations[command->operation_count++] = store_edit_put(hf_slice_of(key), (hf_slice){text->data, text->size}, 0);
}

/* The command that writes them all. */
static void write_command(hf_buffer *bytes)
{
    static const char *const node_keys[NODES_MAX] = {"nodes/a", "nodes/b", "nodes/c", "nodes/d", "nodes/e"};
    const struct store_node_record active = {.state = STORE_NODE_ACTIVE};
    struct store_operation operations[RECORDS];
    struct store_command command = {.operations = operations};
    hf_buffer texts[RECORDS];

    for (uint32_t i = 0; i < RECORDS; i++)
        hf_buffer_init(&texts[i], TEXT_MAX);
    write_table(&texts[0]);
    add(&command, operations, "tables/t", &texts[0]);
    hf_buffer_append_format(&texts[1], "{\"next_partition\":%u}", FIRST_PARTITION + partition_count);
    add(&command, operations, "meta", &texts[1]);
    for (uint32_t i = 0; i < node_count; i++) {
        if (store_node_write(&texts[2 + i], node_keys[i] + strlen("nodes/"), &active))
            abort();
        add(&command, operations, node_keys[i], &texts[2 + i]);
    }
    if (store_command_encode(bytes, &command, NULL))
        abort();
    for (uint32_t i = 0; i < RECORDS; i++)
        hf_buffer_done(&texts[i]);
}

static void write_entry(hf_buffer *payload)
{
    const struct store_bundle head = {.time_us = WALL_US, .count = 1};
    hf_buffer bytes;

    hf_buffer_init(&bytes, TEXT_MAX);
    write_command(&bytes);
    if (hf_buffer_reserve(payload, (uint64_t)STORE_BUNDLE_HEAD_SIZE + STORE_BUNDLE_COMMAND_HEAD_SIZE + bytes.size))
        abort();
    uint8_t *end = store_bundle_write_head(payload->data, &head);

    end = store_bundle_write_command(end, (hf_slice){bytes.data, bytes.size});
    payload->size = (uint64_t)(end - payload->data);
    hf_buffer_done(&bytes);
}

void seed_catalog(node *n)
{
    hf_replication_member members[NODES_MAX] = {0};
    struct store_machine *machine;
    struct store_outcomes outcomes = {0};
    hf_buffer payload;
    uint64_t applied = 0;

    for (uint32_t i = 0; i < node_count; i++)
        members[i].replica = store_replica_id(i, 0);
    hf_buffer_init(&payload, TEXT_MAX);
    write_entry(&payload);
    struct store_entry entry = {
        .index = FIRST_INDEX, .term = FIRST_TERM, .type = HF_ENTRY_NORMAL, .payload = {payload.data, payload.size}};

    if (store_machine_open(memory_engine, n->database, STORE_CATALOG_PARTITION, members, node_count, &machine, NULL) ||
        store_machine_apply(machine, &entry, 1, 0, &outcomes, &applied, NULL) || outcomes.items[0].code)
        abort();
    store_machine_close(machine);
    free(outcomes.items);
    hf_buffer_done(&payload);
    engine_flush(n);
}
