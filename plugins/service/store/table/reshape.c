/* Splits and merges as a table's partitions and the catalog's records see them; see table.h.
 *
 * {"record":1,"partition":7,"other":12,"kind":"split","from":"8000000000000000"}
 * {"record":1,"partition":7,"other":12,"kind":"merge"} */
#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RECORD = 1, SCRATCH_MAXIMUM = 1 << 20 };

/* ---- The catalog's record ---------------------------------------------------------------------------------------- */

int32_t store_reshaping_write(hf_buffer *buffer, const struct store_reshaping *reshaping)
{
    hf_json_writer writer;
    char from[17];

    hf_json_writer_init(&writer, buffer);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "record", RECORD);
    hf_json_member_unsigned(&writer, "partition", reshaping->partition);
    hf_json_member_unsigned(&writer, "other", reshaping->other);
    hf_json_member_text(&writer, "kind", reshaping->merges ? "merge" : "split");
    if (!reshaping->merges) {
        snprintf(from, sizeof from, "%016" PRIx64, reshaping->from);
        hf_json_member_text(&writer, "from", from);
    }
    hf_json_end_object(&writer);
    return writer.result;
}

static int32_t read_root(const hf_value *root, struct store_reshaping *ret_reshaping, hf_error *error)
{
    int64_t record = hf_value_get_integer(root, "record", 0);
    int64_t partition = hf_value_get_integer(root, "partition", 0), other = hf_value_get_integer(root, "other", 0);
    hf_slice kind = hf_value_get_string(root, "kind", (hf_slice){NULL, 0});
    hf_slice from = hf_value_get_string(root, "from", (hf_slice){NULL, 0});
    struct store_reshaping reshaping = {.merges = hf_slice_is(kind, "merge")};

    if (record > RECORD)
        return hf_error_set(error, HF_EVERSION,
                            "a record of a split has format %lld and this release knows up to %d; upgrade this node",
                            (long long)record, RECORD);
    if (record != RECORD || partition <= STORE_CATALOG_PARTITION || other <= STORE_CATALOG_PARTITION ||
        (!reshaping.merges && (!hf_slice_is(kind, "split") || !store_read_hash(from, &reshaping.from))))
        return hf_error_set(error, HF_ECORRUPT, "a record of the catalog is damaged: it is no split and no merge");
    reshaping.partition = (uint64_t)partition;
    reshaping.other = (uint64_t)other;
    *ret_reshaping = reshaping;
    return 0;
}

int32_t store_reshaping_read(hf_slice json, uint64_t version, struct store_reshaping *ret_reshaping, hf_error *error)
{
    hf_value root = hf_value_null();
    hf_arena scratch;

    hf_arena_init(&scratch, SCRATCH_MAXIMUM);
    int32_t r = hf_json_parse(json, &scratch, &root, error);

    if (r == HF_EINVAL || (r == 0 && root.type != HF_VALUE_MAP))
        r = hf_error_set(error, HF_ECORRUPT, "a record of the catalog is damaged: it is not a JSON object");
    if (r == 0)
        r = read_root(&root, ret_reshaping, error);
    if (r == 0)
        ret_reshaping->version = version;
    hf_arena_done(&scratch);
    return r;
}

const struct store_reshaping *store_routing_reshaping(const struct store_routing *routing, uint64_t partition)
{
    for (uint32_t i = 0; i < routing->reshaping_count; i++)
        if (routing->reshaping[i].partition == partition || routing->reshaping[i].other == partition)
            return &routing->reshaping[i];
    return NULL;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

/* UINT32_MAX: there is none. */
static uint32_t find(const struct store_table *table, uint64_t partition)
{
    for (uint32_t i = 0; i < table->partition_count; i++)
        if (table->partitions[i].id == partition)
            return i;
    return UINT32_MAX;
}

const struct store_partition *store_table_neighbour(const struct store_table *table, uint64_t partition)
{
    uint32_t at = find(table, partition);

    if (at == UINT32_MAX || at + 1 == table->partition_count || table->partitions[at].hash_to == UINT64_MAX)
        return NULL;
    return &table->partitions[at + 1];
}

const struct store_retired *store_table_retired(const struct store_table *table, uint64_t partition)
{
    for (uint32_t i = 0; i < table->retired_count; i++)
        if (table->retired[i].partition.id == partition)
            return &table->retired[i];
    return NULL;
}

/* Living or merged; NULL: it is not known any more. */
static const struct store_partition *find_any(const struct store_table *table, uint64_t partition)
{
    const struct store_retired *retired = store_table_retired(table, partition);
    uint32_t at = find(table, partition);

    if (at != UINT32_MAX)
        return &table->partitions[at];
    return retired ? &retired->partition : NULL;
}

uint64_t store_table_feed_begin(const struct store_table *table, const struct store_retired *retired)
{
    const struct store_partition *partition = &retired->partition;

    while (partition && partition->parent && partition->parent != retired->heir)
        partition = find_any(table, partition->parent);
    return partition && partition->parent ? partition->parent_version + 1 : 0;
}

int32_t store_table_split(const struct store_table *table, uint64_t partition, uint64_t from,
                          const struct store_partition *child, hf_arena *arena, struct store_table *ret_table)
{
    uint32_t at = find(table, partition), count = table->partition_count;

    if (at == UINT32_MAX)
        return HF_ENOTFOUND;
    if (from <= table->partitions[at].hash_from || from > table->partitions[at].hash_to)
        return HF_EINVAL;
    if (count == STORE_TABLE_PARTITIONS_MAX)
        return HF_ETOOLARGE;
    struct store_partition *partitions = hf_arena_alloc(arena, (count + 1) * sizeof *partitions);

    if (!partitions)
        return HF_ENOMEM;
    memcpy(partitions, table->partitions, (at + 1) * sizeof *partitions);
    memcpy(partitions + at + 2, table->partitions + at + 1, (count - at - 1) * sizeof *partitions);
    partitions[at].hash_to = from - 1;
    partitions[at + 1] = *child;
    partitions[at + 1].value = partitions[at].value;
    partitions[at + 1].hash_from = from;
    partitions[at + 1].hash_to = table->partitions[at].hash_to;
    partitions[at + 1].parent = partition;
    *ret_table = *table;
    ret_table->partition_count = count + 1;
    ret_table->partitions = partitions;
    return HF_OK;
}

/* Appends, without the oldest when there are too many. */
static struct store_retired *copy_retired(const struct store_table *table, hf_arena *arena, uint32_t *ret_count)
{
    uint32_t skipped = table->retired_count == STORE_TABLE_RETIRED_MAX, kept = table->retired_count - skipped;
    struct store_retired *retired = hf_arena_alloc(arena, (kept + 1) * sizeof *retired);

    if (retired && kept)
        memcpy(retired, table->retired + skipped, kept * sizeof *retired);
    *ret_count = kept;
    return retired;
}

int32_t store_table_merge(const struct store_table *table, uint64_t partition, uint64_t upper, uint64_t version,
                          uint64_t time_us, hf_arena *arena, struct store_table *ret_table)
{
    const struct store_partition *neighbour = store_table_neighbour(table, partition);
    uint32_t at = find(table, partition), count = table->partition_count, retired_count = 0;

    if (!neighbour || neighbour->id != upper)
        return HF_ENOTFOUND;
    struct store_partition *partitions = hf_arena_alloc(arena, count * sizeof *partitions);
    struct store_retired *retired = copy_retired(table, arena, &retired_count);

    if (!partitions || !retired)
        return HF_ENOMEM;
    memcpy(partitions, table->partitions, (at + 1) * sizeof *partitions);
    memcpy(partitions + at + 1, table->partitions + at + 2, (count - at - 2) * sizeof *partitions);
    partitions[at].hash_to = neighbour->hash_to;
    retired[retired_count++] =
        (struct store_retired){.partition = *neighbour, .heir = partition, .version = version, .time_us = time_us};
    *ret_table = *table;
    ret_table->partition_count = count - 1;
    ret_table->partitions = partitions;
    ret_table->retired_count = retired_count;
    ret_table->retired = retired;
    return HF_OK;
}
