/* Everything that a node knows of the tables, shared by its loops; see table.h. */
#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { ROUTING_MAXIMUM = 1 << 30 /* bytes of all tables; some 1500 of the largest */ };

/* While building: tables in the order in which they come. */
struct building {
    const struct store_nodes *nodes;
    struct store_routing *routing;
    const struct store_table **tables; /* owned until they lie in the arena */
    uint32_t capacity;
};

static int32_t no_memory(hf_error *error)
{
    return hf_error_set(error, HF_ENOMEM, "there is no memory for the tables' routing; free some, or remove tables");
}

static int32_t add_table(struct building *building, const struct store_table *table, hf_error *error)
{
    struct store_routing *routing = building->routing;
    struct store_table *copy = hf_arena_alloc(&routing->arena, sizeof *copy);

    if (!copy)
        return no_memory(error);
    if (routing->table_count == building->capacity) {
        uint32_t capacity = building->capacity ? 2 * building->capacity : 16;
        const struct store_table **tables = realloc(building->tables, capacity * sizeof *tables);

        if (!tables)
            return no_memory(error);
        building->tables = tables;
        building->capacity = capacity;
    }
    *copy = *table;
    building->tables[routing->table_count++] = copy;
    routing->partition_count += table->partition_count;
    for (uint32_t i = 0; i < table->retired_count; i++)
        routing->partition_count += !table->retired[i].is_gone;
    return 0;
}

static int32_t add_catalog(struct building *building, hf_error *error)
{
    struct store_table catalog = {
        .declaration = {.name = STORE_CATALOG_TABLE,
                        .partition_by = "",
                        .hash_ranges = 1,
                        .replicas = building->nodes->count,
                        .format = STORE_FORMAT_JSON,
                        .value_maximum = STORE_TABLE_RECORD_MAX,
                        .keep_changes_us = 7 * UINT64_C(86400000000),
                        .keep_repeats_us = UINT64_C(86400000000)},
        .partition_count = 1,
    };
    struct store_partition *partition = hf_arena_alloc(&building->routing->arena, sizeof *partition);

    if (!partition)
        return no_memory(error);
    *partition = (struct store_partition){.id = STORE_CATALOG_PARTITION, .value = "", .hash_to = UINT64_MAX};
    store_catalog_members(building->routing, building->nodes, partition);
    catalog.partitions = partition;
    return add_table(building, &catalog, error);
}

void store_catalog_members(const struct store_routing *routing, const struct store_nodes *nodes,
                           struct store_partition *partition)
{
    static const int32_t states[] = {STORE_NODE_ACTIVE, STORE_NODE_DRAINING};

    partition->member_count = partition->first_count = 0;
    for (int s = 0; s < 2; s++)
        for (uint32_t node = 0; node < nodes->count; node++) {
            const struct store_node_record *record = &routing->nodes[node];

            if (record->state != states[s])
                continue;
            partition->members[partition->member_count] = node;
            partition->replicas[partition->member_count++] = store_replica_id(node, record->generation);
        }
}

uint32_t store_catalog_voters(const struct store_routing *routing)
{
    uint32_t active = 0;

    for (uint32_t i = 0; i < STORE_NODES_MAX; i++)
        active += routing->nodes[i].state == STORE_NODE_ACTIVE;
    return active >= 5 ? 5 : active == 4 ? 3 : active ? active : 1;
}

static int32_t add_nodes(struct building *building, store_next_record next, void *arg, hf_error *error)
{
    struct store_routing *routing = building->routing;
    uint32_t count = 0;

    for (;; count++) {
        hf_slice json = {NULL, 0};
        uint64_t version = 0;
        int32_t r = next(arg, STORE_RECORDS_OF_NODES, &json, &version, error);

        if (r == HF_ENOTFOUND)
            break;
        if (r == 0)
            r = store_node_apply(json, version, routing, building->nodes, error);
        if (r < 0)
            return r;
    }
    routing->node_records = count;
    for (uint32_t i = 0; i < building->nodes->count && count == 0; i++)
        routing->nodes[i].state = STORE_NODE_ACTIVE;
    return 0;
}

static int32_t add_placements(struct building *building, store_next_record next, void *arg, hf_error *error)
{
    for (;;) {
        hf_slice json = {NULL, 0};
        uint64_t version = 0;
        int32_t r = next(arg, STORE_RECORDS_OF_PLACEMENTS, &json, &version, error);

        if (r == HF_ENOTFOUND)
            return 0;
        if (r == 0)
            r = store_placement_apply(json, version, building->routing, building->nodes, error);
        if (r < 0)
            return r;
    }
}

static int32_t add_tables(struct building *building, store_next_record next, void *arg, hf_error *error)
{
    for (;;) {
        struct store_table table = {0};
        hf_slice json = {NULL, 0};
        uint64_t version = 0;
        int32_t r = next(arg, STORE_RECORDS_OF_TABLES, &json, &version, error);

        if (r == HF_ENOTFOUND)
            return 0;
        if (r == 0)
            r = store_table_parse(json, building->nodes, &building->routing->arena, &table, error);
        table.version = version;
        if (r == 0)
            r = add_table(building, &table, error);
        if (r < 0)
            return r;
    }
}

static int compare_tables(const void *a, const void *b)
{
    const struct store_table *const *x = a, *const *y = b;

    return strcmp((*x)->declaration.name, (*y)->declaration.name);
}

static int32_t sort_tables(struct building *building, hf_error *error)
{
    struct store_routing *routing = building->routing;

    routing->tables = hf_arena_alloc(&routing->arena, routing->table_count * sizeof *routing->tables);
    if (!routing->tables)
        return no_memory(error);
    memcpy(routing->tables, building->tables, routing->table_count * sizeof *routing->tables);
    qsort(routing->tables, routing->table_count, sizeof *routing->tables, compare_tables);
    for (uint32_t i = 1; i < routing->table_count; i++)
        if (compare_tables(&routing->tables[i - 1], &routing->tables[i]) == 0)
            return hf_error_set(error, HF_ECORRUPT, "the catalog has two records of table '%s'; expected one",
                                routing->tables[i]->declaration.name);
    return 0;
}

static int compare_routed(const void *a, const void *b)
{
    uint64_t x = ((const struct store_routed *)a)->partition->id, y = ((const struct store_routed *)b)->partition->id;

    return (x > y) - (x < y);
}

static int32_t sort_partitions(struct store_routing *routing, hf_error *error)
{
    struct store_routed *routed = hf_arena_alloc(&routing->arena, routing->partition_count * sizeof *routed);
    uint32_t count = 0;

    if (!routed)
        return no_memory(error);
    for (uint32_t t = 0; t < routing->table_count; t++)
        for (uint32_t p = 0; p < routing->tables[t]->partition_count; p++)
            routed[count++] = (struct store_routed){routing->tables[t], &routing->tables[t]->partitions[p]};
    for (uint32_t t = 0; t < routing->table_count; t++)
        for (uint32_t p = 0; p < routing->tables[t]->retired_count; p++)
            if (!routing->tables[t]->retired[p].is_gone)
                routed[count++] = (struct store_routed){routing->tables[t], &routing->tables[t]->retired[p].partition};
    qsort(routed, count, sizeof *routed, compare_routed);
    for (uint32_t i = 1; i < count; i++)
        if (routed[i - 1].partition->id == routed[i].partition->id)
            return hf_error_set(error, HF_ECORRUPT, "tables '%s' and '%s' both have a partition %llu; expected one",
                                routed[i - 1].table->declaration.name, routed[i].table->declaration.name,
                                (unsigned long long)routed[i].partition->id);
    routing->partitions = routed;
    return 0;
}

/* The routing is being built and nobody else has it. */
static void mark(const struct store_routing *routing, uint64_t partition)
{
    const struct store_routed *routed = store_routing_partition(routing, partition);

    if (routed)
        ((struct store_partition *)(uintptr_t)routed->partition)->is_reshaping = 1;
}

static int32_t add_reshaping(struct building *building, store_next_record next, void *arg, hf_error *error)
{
    struct store_routing *routing = building->routing;

    routing->reshaping = hf_arena_alloc(&routing->arena, STORE_RESHAPING_MAX * sizeof *routing->reshaping);
    if (!routing->reshaping)
        return no_memory(error);
    for (;;) {
        struct store_reshaping *reshaping = &routing->reshaping[routing->reshaping_count];
        hf_slice json = {NULL, 0};
        uint64_t version = 0;
        int32_t r = next(arg, STORE_RECORDS_OF_RESHAPES, &json, &version, error);

        if (r == HF_ENOTFOUND || routing->reshaping_count == STORE_RESHAPING_MAX)
            return 0; /* more than these have their turn later */
        if (r == 0)
            r = store_reshaping_read(json, version, reshaping, error);
        if (r < 0)
            return r;
        routing->reshaping_count++;
        mark(routing, reshaping->partition);
        mark(routing, reshaping->other);
    }
}

static int32_t fill(struct building *building, store_next_record next, void *arg, hf_error *error)
{
    int32_t r = add_nodes(building, next, arg, error);

    if (r == 0)
        r = add_catalog(building, error);
    if (r == 0)
        r = add_tables(building, next, arg, error);
    if (r == 0)
        r = sort_tables(building, error);
    if (r == 0)
        r = sort_partitions(building->routing, error);
    if (r == 0)
        r = add_placements(building, next, arg, error);
    return r < 0 ? r : add_reshaping(building, next, arg, error);
}

int32_t store_routing_build(const struct store_nodes *nodes, uint64_t catalog_index, store_next_record next, void *arg,
                            struct store_routing **ret_routing, hf_error *error)
{
    struct building building = {.nodes = nodes};

    if (nodes->count == 0 || nodes->count > STORE_NODES_MAX)
        return hf_error_set(error, HF_EINVAL, "the cluster has %u nodes; expected 1 to %d", (unsigned)nodes->count,
                            STORE_NODES_MAX);
    building.routing = calloc(1, sizeof *building.routing);
    if (!building.routing)
        return no_memory(error);
    atomic_init(&building.routing->references, 1);
    hf_arena_init(&building.routing->arena, ROUTING_MAXIMUM);
    building.routing->catalog_index = catalog_index;
    int32_t r = fill(&building, next, arg, error);

    free(building.tables);
    if (r < 0)
        store_routing_release(building.routing);
    else
        *ret_routing = building.routing;
    return r;
}

struct store_routing *store_routing_hold(struct store_routing *routing)
{
    atomic_fetch_add_explicit(&routing->references, 1, memory_order_relaxed);
    return routing;
}

void store_routing_release(struct store_routing *routing)
{
    /* Acquire and release: whoever frees has seen the end of everybody's use. */
    if (!routing || atomic_fetch_sub_explicit(&routing->references, 1, memory_order_acq_rel) != 1)
        return;
    hf_arena_done(&routing->arena);
    free(routing);
}

const struct store_table *store_routing_table(const struct store_routing *routing, hf_slice name)
{
    uint32_t low = 0, high = routing->table_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = store_compare_text(name, routing->tables[middle]->declaration.name);

        if (order == 0)
            return routing->tables[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct store_routed *store_routing_partition(const struct store_routing *routing, uint64_t id)
{
    uint32_t low = 0, high = routing->partition_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t there = routing->partitions[middle].partition->id;

        if (id == there)
            return &routing->partitions[middle];
        if (id < there)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
