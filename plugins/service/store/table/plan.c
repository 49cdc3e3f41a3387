/* Divides a table into partitions and finds a key's partition; see table.h. */
#include "table/internal.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <string.h>

uint64_t store_key_hash(hf_slice key)
{
    return hf_hash64(0, key.data, key.size);
}

/* ---- Dividing ---------------------------------------------------------------------------------------------------- */

/* Where range `i` of `count` begins: the whole part of i * 2^64 / count; of range `count`, which is none, 0. */
static uint64_t range_from(uint32_t i, uint32_t count)
{
    uint64_t size = UINT64_MAX / count, rest = UINT64_MAX % count + 1; /* 2^64 = size * count + rest */

    return i * size + i * rest / count;
}

int store_same_zone(const struct store_nodes *nodes, uint32_t a, uint32_t b)
{
    const char *zone = nodes->zones[a];

    return zone && zone[0] && nodes->zones[b] && strcmp(zone, nodes->zones[b]) == 0;
}

static void add_member(struct store_partition *partition, uint32_t node, int zone_again,
                       const struct store_nodes *nodes)
{
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == node || (!zone_again && store_same_zone(nodes, partition->members[i], node)))
            return;
    partition->members[partition->member_count++] = node;
}

/* Consecutive partitions lead on consecutive nodes, over all tables.  The others follow with a distance that changes
 * with every turn, so that when a node fails its work goes to all the others and not to one neighbour. */
static void place(struct store_partition *partition, uint32_t replicas, const struct store_nodes *nodes)
{
    uint32_t open[STORE_NODES_MAX], count = 0;

    for (uint32_t node = 0; node < nodes->count; node++)
        if (!(nodes->closed >> node & 1))
            open[count++] = node;
    uint32_t first = (uint32_t)(partition->id % count);

    /* Zones that have none yet first. */
    for (int zone_again = 0; zone_again < 2; zone_again++)
        for (uint32_t i = 0; i < count && partition->member_count < replicas; i++) {
            uint64_t distance = i == 0 ? 0 : 1 + (partition->id / count + i - 1) % (count - 1);

            add_member(partition, open[(first + distance) % count], zone_again, nodes);
        }
    partition->first_count = partition->member_count;
    for (uint32_t i = 0; i < partition->member_count; i++)
        partition->first[i] = partition->replicas[i] =
            store_replica_id(partition->members[i], nodes->generations[partition->members[i]]);
}

static int32_t check_plan(const struct store_declaration *declaration, const struct store_nodes *nodes,
                          uint64_t first_partition, hf_error *error)
{
    if (nodes->count == 0 || nodes->count > STORE_NODES_MAX)
        return hf_error_set(error, HF_EINVAL, "a table cannot be placed on %u nodes; expected 1 to %d",
                            (unsigned)nodes->count, STORE_NODES_MAX);
    if ((~nodes->closed & (UINT32_MAX >> (32 - nodes->count))) == 0)
        return hf_error_set(error, HF_EINVAL, "no node takes new replicas; add a node, or end a draining");
    if (first_partition <= STORE_CATALOG_PARTITION || first_partition > INT64_MAX - STORE_TABLE_PARTITIONS_MAX)
        return hf_error_set(error, HF_EINVAL,
                            "partitions cannot be numbered from %llu; expected %d or more, below 2^63",
                            (unsigned long long)first_partition, STORE_CATALOG_PARTITION + 1);
    return store_declaration_check(declaration, error);
}

static void divide(struct store_table *table, const char *const *values, uint32_t value_count,
                   const struct store_nodes *nodes, uint64_t first_partition)
{
    uint32_t ranges = table->declaration.hash_ranges;

    for (uint32_t i = 0; i < value_count * ranges; i++) {
        struct store_partition *partition = &table->partitions[i];

        partition->id = first_partition + i;
        partition->value = values[i / ranges];
        partition->hash_from = range_from(i % ranges, ranges);
        partition->hash_to = range_from(i % ranges + 1, ranges) - 1;
        place(partition, table->declaration.replicas, nodes);
    }
    table->partition_count = value_count * ranges;
}

int32_t store_table_plan(const struct store_declaration *declaration, const struct store_nodes *nodes,
                         uint64_t first_partition, hf_arena *arena, struct store_table *ret_table, hf_error *error)
{
    struct store_table table = {0};
    int32_t r = check_plan(declaration, nodes, first_partition, error);

    if (r == 0)
        r = store_declaration_copy(declaration, arena, &table.declaration, error);
    if (r < 0)
        return r;
    uint32_t value_count = declaration->value_count ? declaration->value_count : 1;
    const char **values = hf_arena_alloc(arena, value_count * sizeof *values);

    table.partitions =
        hf_arena_alloc(arena, (uint64_t)value_count * declaration->hash_ranges * sizeof *table.partitions);
    if (!values || !table.partitions)
        return hf_error_set(error, HF_ENOMEM, "there is no memory for the %llu partitions of table '%s'; free some",
                            (unsigned long long)value_count * declaration->hash_ranges, declaration->name);
    values[0] = "";
    for (uint32_t i = 0; i < declaration->value_count; i++)
        values[i] = table.declaration.values[i];
    store_sort_values(values, value_count);
    divide(&table, values, value_count, nodes, first_partition);
    *ret_table = table;
    return 0;
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

/* Binary search: partitions are sorted by value, then range, and the ranges of a value have no gaps. */
static const struct store_partition *find(const struct store_table *table, hf_slice value, uint64_t hash)
{
    uint32_t low = 0, high = table->partition_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct store_partition *partition = &table->partitions[middle];
        int order = store_compare_text(value, partition->value);

        if (order == 0)
            order = hash < partition->hash_from ? -1 : hash > partition->hash_to;
        if (order == 0)
            return partition;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct store_partition *store_table_find(const struct store_table *table, hf_slice value, hf_slice key)
{
    if (table->declaration.partition_by[0] == '\0')
        value.size = 0;
    return find(table, value, store_key_hash(key));
}

const struct store_partition *store_table_candidate(const struct store_table *table, hf_slice key, uint32_t n)
{
    const struct store_declaration *declaration = &table->declaration;

    if (declaration->partition_by[0] == '\0')
        return n == 0 ? find(table, (hf_slice){NULL, 0}, store_key_hash(key)) : NULL;
    if (n >= declaration->value_count)
        return NULL;
    return find(table, hf_slice_of(declaration->values[n]), store_key_hash(key));
}
