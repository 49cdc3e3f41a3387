/* A table as the catalog's record, and back; see table.h.
 *
 * {"record":3,"name":"tickets","declaration":{...},
 *  "partitions":[{"id":2,"value":"eu","hash_from":"0000000000000000","hash_to":"7fffffffffffffff",
 *                 "nodes":["n1","n2"]},
 *                {"id":9,"value":"eu","hash_from":"8000000000000000","hash_to":"ffffffffffffffff",
 *                 "nodes":["n1","n2"],"parent":2,"parent_epoch":1,"parent_version":700}],
 *  "retired":[{"id":7,"value":"eu","hash_from":"c000000000000000","hash_to":"ffffffffffffffff","nodes":["n1","n2"],
 *              "heir":9,"version":900,"time":1764370000000000,"gone":false}]}
 * `nodes` are those that the partition began on.  A record is of format 1 where nothing that came with format 2 is
 * declared (fields, expiry), and of format 3 where partitions were split, so that nodes of a release before it go on
 * reading it where they can.  Partitions by value, then hash; without partition_by the value is "".  Nodes by
 * name, so that the record does not depend on their order in a configuration. */
#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD = 3, /* newest version of the format */
    RECORD_OF_FIELDS = 2,
    RECORD_FIRST = 1,
    SCRATCH_MAXIMUM = 128 << 20 /* bytes: the largest record as a tree of values */
};

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void write_hash(hf_json_writer *writer, const char *name, uint64_t hash)
{
    char text[17];

    snprintf(text, sizeof text, "%016" PRIx64, hash);
    hf_json_member_text(writer, name, text);
}

static int has_generations(const struct store_partition *partition)
{
    uint64_t any = 0;

    for (uint32_t i = 0; i < partition->first_count; i++)
        any |= store_replica_generation(partition->first[i]);
    return any != 0;
}

/* Of the replicas that the group begins with; nodes that were never replaced have none. */
static void write_generations(hf_json_writer *writer, const struct store_partition *partition)
{
    if (!has_generations(partition))
        return;
    hf_json_name(writer, "generations");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < partition->first_count; i++)
        hf_json_unsigned(writer, store_replica_generation(partition->first[i]));
    hf_json_end_list(writer);
}

static void write_partition(hf_json_writer *writer, const struct store_partition *partition,
                            const struct store_nodes *nodes)
{
    hf_json_begin_object(writer);
    hf_json_member_unsigned(writer, "id", partition->id);
    hf_json_member_text(writer, "value", partition->value);
    write_hash(writer, "hash_from", partition->hash_from);
    write_hash(writer, "hash_to", partition->hash_to);
    hf_json_name(writer, "nodes");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < partition->first_count; i++)
        hf_json_text(writer, nodes->names[store_replica_node(partition->first[i])]);
    hf_json_end_list(writer);
    write_generations(writer, partition);
}

static void write_parent(hf_json_writer *writer, const struct store_partition *partition)
{
    if (!partition->parent)
        return;
    hf_json_member_unsigned(writer, "parent", partition->parent);
    hf_json_member_unsigned(writer, "parent_epoch", partition->parent_epoch);
    hf_json_member_unsigned(writer, "parent_version", partition->parent_version);
}

static void write_present(hf_json_writer *writer, const struct store_partition *partition,
                          const struct store_nodes *nodes)
{
    write_partition(writer, partition, nodes);
    write_parent(writer, partition);
    hf_json_end_object(writer);
}

static void write_retired(hf_json_writer *writer, const struct store_retired *retired, const struct store_nodes *nodes)
{
    write_partition(writer, &retired->partition, nodes);
    write_parent(writer,
                 &retired->partition); /* a node that was away still has to know that it did not begin by itself */
    hf_json_member_unsigned(writer, "heir", retired->heir);
    hf_json_member_unsigned(writer, "version", retired->version);
    hf_json_member_unsigned(writer, "time", retired->time_us);
    hf_json_member_boolean(writer, "gone", retired->is_gone);
    hf_json_end_object(writer);
}

static int format_of(const struct store_table *table)
{
    const struct store_declaration *declaration = &table->declaration;
    int is_split = table->retired_count > 0;

    for (uint32_t i = 0; i < table->partition_count; i++)
        is_split |= table->partitions[i].parent != 0;
    for (uint32_t i = 0; i < table->partition_count; i++)
        is_split |= has_generations(&table->partitions[i]);
    if (is_split)
        return RECORD;
    return declaration->fields.count > 0 || declaration->expire_after_us > 0 ? RECORD_OF_FIELDS : RECORD_FIRST;
}

static void write_table(hf_json_writer *writer, const struct store_table *table, const struct store_nodes *nodes)
{
    hf_json_begin_object(writer);
    hf_json_member_unsigned(writer, "record", (uint64_t)format_of(table));
    hf_json_member_text(writer, "name", table->declaration.name);
    hf_json_name(writer, "declaration");
    hf_json_begin_object(writer);
    store_declaration_write(writer, &table->declaration);
    hf_json_end_object(writer);
    hf_json_name(writer, "partitions");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < table->partition_count && writer->result == 0; i++)
        write_present(writer, &table->partitions[i], nodes);
    hf_json_end_list(writer);
    if (table->retired_count > 0) {
        hf_json_name(writer, "retired");
        hf_json_begin_list(writer);
        for (uint32_t i = 0; i < table->retired_count && writer->result == 0; i++)
            write_retired(writer, &table->retired[i], nodes);
        hf_json_end_list(writer);
    }
    hf_json_end_object(writer);
}

static int32_t check_members(const struct store_table *table, const struct store_nodes *nodes, hf_error *error)
{
    for (uint32_t i = 0; i < table->partition_count; i++) {
        const struct store_partition *partition = &table->partitions[i];

        for (uint32_t m = 0; m < partition->first_count; m++)
            if (store_replica_node(partition->first[m]) >= nodes->count)
                return hf_error_set(error, HF_EINVAL,
                                    "table '%s', partition %llu: there is no node %u; expected below %u",
                                    table->declaration.name, (unsigned long long)partition->id,
                                    (unsigned)store_replica_node(partition->first[m]), (unsigned)nodes->count);
    }
    return 0;
}

int32_t store_table_write(hf_buffer *buffer, const struct store_table *table, const struct store_nodes *nodes,
                          hf_error *error)
{
    uint64_t begin = buffer->size;
    hf_json_writer writer;
    int32_t r = check_members(table, nodes, error);

    if (r < 0)
        return r;
    hf_json_writer_init(&writer, buffer);
    write_table(&writer, table, nodes);
    r = writer.result;
    if (r == 0 && buffer->size - begin > STORE_TABLE_RECORD_MAX)
        r = HF_ETOOLARGE;
    if (r == 0)
        return 0;
    buffer->size = begin;
    return hf_error_set(error, r, "the record of table '%s' with %u partitions cannot be written%s",
                        table->declaration.name, (unsigned)table->partition_count,
                        r == HF_ETOOLARGE ? ": it is too long; declare fewer partitions, or shorter values"
                                          : ": there is no memory");
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* What is being read, and where the error goes. */
struct reading {
    const struct store_nodes *nodes;
    hf_arena *arena;
    hf_arena scratch;
    struct store_table table;
    const char **values; /* sorted; one "" without partition_by; in the scratch */
    uint32_t value_count;
    hf_error *error;
};

static int32_t no_memory(struct reading *reading)
{
    return hf_error_set(reading->error, HF_ENOMEM, "there is no memory for a table's record; free some and try again");
}

/* The member, or NULL and the error when it is missing or of another type. */
static const hf_value *member(struct reading *reading, const hf_value *map, const char *name, int32_t type)
{
    const hf_value *value = hf_value_get(map, name);

    if (value && value->type == type)
        return value;
    hf_error_set(reading->error, HF_ECORRUPT, "'%s' is %s; expected %s", name,
                 value ? hf_value_type_name(value->type) : "missing", hf_value_type_name(type));
    return NULL;
}

static int32_t check_map(struct reading *reading, const hf_value *value, const char *what, uint64_t members)
{
    if (value->type != HF_VALUE_MAP)
        return hf_error_set(reading->error, HF_ECORRUPT, "%s is %s; expected an object", what,
                            hf_value_type_name(value->type));
    if (value->count == members)
        return 0;
    return hf_error_set(reading->error, HF_ECORRUPT, "%s has %llu members; expected %llu", what,
                        (unsigned long long)value->count, (unsigned long long)members);
}

static int32_t read_hash(struct reading *reading, const hf_value *map, const char *name, uint64_t *ret_hash)
{
    const hf_value *value = member(reading, map, name, HF_VALUE_STRING);

    if (!value)
        return HF_ECORRUPT;
    if (store_read_hash(hf_value_slice(value), ret_hash))
        return 0;
    return hf_error_set(reading->error, HF_ECORRUPT, "'%s' is not a hash; expected 16 digits of 0-9 and a-f", name);
}

static int32_t add_member(struct reading *reading, struct store_partition *partition, const hf_value *name)
{
    uint32_t node = 0;

    if (name->type != HF_VALUE_STRING)
        return hf_error_set(reading->error, HF_ECORRUPT, "one of 'nodes' is %s; expected a string",
                            hf_value_type_name(name->type));
    while (node < reading->nodes->count && !hf_slice_is(hf_value_slice(name), reading->nodes->names[node]))
        node++;
    if (node == reading->nodes->count)
        return hf_error_set(reading->error, HF_ECORRUPT,
                            "node '%.*s' is unknown; expected one of the cluster's %u nodes: check the list of nodes "
                            "in the configuration",
                            (int)(name->count < 64 ? name->count : 64), (const char *)name->as.text,
                            (unsigned)reading->nodes->count);
    for (uint32_t i = 0; i < partition->member_count; i++)
        if (partition->members[i] == node)
            return hf_error_set(reading->error, HF_ECORRUPT, "node '%s' is there twice; expected every node once",
                                reading->nodes->names[node]);
    partition->members[partition->member_count] = node;
    partition->replicas[partition->member_count] = store_replica_id(node, 0);
    partition->first[partition->member_count++] = store_replica_id(node, 0);
    partition->first_count = partition->member_count;
    return 0;
}

static uint64_t tells_generations(const hf_value *map)
{
    return hf_value_get(map, "generations") != NULL;
}

static int32_t read_generations(struct reading *reading, const hf_value *map, struct store_partition *partition)
{
    const hf_value *generations = hf_value_get(map, "generations");

    if (!generations)
        return 0;
    if (generations->type != HF_VALUE_LIST || generations->count != partition->member_count)
        return hf_error_set(reading->error, HF_ECORRUPT, "'generations' does not have a number for each of 'nodes'");
    for (uint32_t i = 0; i < partition->member_count; i++) {
        const hf_value *generation = &generations->as.items[i];

        if (generation->type != HF_VALUE_INTEGER || generation->as.integer < 0 ||
            generation->as.integer > STORE_GENERATION_MAX)
            return hf_error_set(reading->error, HF_ECORRUPT, "one of 'generations' is not a number from 0 to %d",
                                STORE_GENERATION_MAX);
        partition->first[i] = partition->replicas[i] =
            store_replica_id(partition->members[i], (uint64_t)generation->as.integer);
    }
    return 0;
}

static int32_t read_members(struct reading *reading, const hf_value *map, struct store_partition *partition)
{
    const hf_value *nodes = member(reading, map, "nodes", HF_VALUE_LIST);

    if (!nodes)
        return HF_ECORRUPT;
    if (nodes->count == 0 || nodes->count > STORE_NODES_MAX)
        return hf_error_set(reading->error, HF_ECORRUPT, "'nodes' has %llu names; expected 1 to %d",
                            (unsigned long long)nodes->count, STORE_NODES_MAX);
    for (uint64_t i = 0; i < nodes->count; i++) {
        int32_t r = add_member(reading, partition, &nodes->as.items[i]);

        if (r < 0)
            return r;
    }
    return read_generations(reading, map, partition);
}

static int32_t read_number(struct reading *reading, const hf_value *map, const char *name, uint64_t *ret_number)
{
    const hf_value *value = member(reading, map, name, HF_VALUE_INTEGER);

    if (!value)
        return HF_ECORRUPT;
    if (value->as.integer < 0)
        return hf_error_set(reading->error, HF_ECORRUPT, "'%s' is %lld; expected 0 or more", name,
                            (long long)value->as.integer);
    *ret_number = (uint64_t)value->as.integer;
    return 0;
}

/* The values come one after the other, each with ranges that begin at 0, follow each other and end at 2^64 - 1.
 * `before` is NULL for the first partition. */
static int32_t check_order(struct reading *reading, const struct store_partition *before,
                           const struct store_partition *partition, hf_slice value, uint32_t *value_index)
{
    int first = !before || before->hash_to == UINT64_MAX;
    uint64_t from = first ? 0 : before->hash_to + 1;

    if (before && first)
        (*value_index)++;
    if (*value_index >= reading->value_count)
        return hf_error_set(reading->error, HF_ECORRUPT,
                            "it follows after the last value's last range; expected the end of the list");
    const char *expected = reading->values[*value_index];

    if (store_compare_text(value, expected) != 0)
        return hf_error_set(reading->error, HF_ECORRUPT, "its value is '%.*s'; expected '%s', in order",
                            (int)(value.size < 64 ? value.size : 64), (const char *)value.data, expected);
    if (partition->hash_from != from || partition->hash_to < from)
        return hf_error_set(reading->error, HF_ECORRUPT,
                            "its range is %016" PRIx64 " to %016" PRIx64 "; expected one that begins at %016" PRIx64
                            ", without gap or overlap",
                            partition->hash_from, partition->hash_to, from);
    return 0;
}

static uint64_t parent_members(const hf_value *map)
{
    return hf_value_get(map, "parent") ? 3 : 0;
}

static int32_t read_parent(struct reading *reading, const hf_value *map, struct store_partition *partition)
{
    if (!parent_members(map))
        return 0;
    int32_t r = read_number(reading, map, "parent", &partition->parent);

    if (r == 0)
        r = read_number(reading, map, "parent_epoch", &partition->parent_epoch);
    return r == 0 ? read_number(reading, map, "parent_version", &partition->parent_version) : r;
}

static int32_t read_partition(struct reading *reading, const hf_value *map, const struct store_partition *before,
                              struct store_partition *partition, uint32_t *value_index)
{
    int32_t r = check_map(reading, map, "it", 5 + parent_members(map) + tells_generations(map));

    if (r == 0)
        r = read_parent(reading, map, partition);
    if (r < 0)
        return r;
    const hf_value *id = member(reading, map, "id", HF_VALUE_INTEGER);
    const hf_value *value = id ? member(reading, map, "value", HF_VALUE_STRING) : NULL;

    if (!value)
        return HF_ECORRUPT;
    if (id->as.integer <= STORE_CATALOG_PARTITION)
        return hf_error_set(reading->error, HF_ECORRUPT, "'id' is %lld; expected %d or more", (long long)id->as.integer,
                            STORE_CATALOG_PARTITION + 1);
    partition->id = (uint64_t)id->as.integer;
    r = read_hash(reading, map, "hash_from", &partition->hash_from);
    if (r == 0)
        r = read_hash(reading, map, "hash_to", &partition->hash_to);
    if (r == 0)
        r = check_order(reading, before, partition, hf_value_slice(value), value_index);
    if (r < 0)
        return r;
    partition->value = reading->values[*value_index];
    return read_members(reading, map, partition);
}

static int32_t read_one_retired(struct reading *reading, const hf_value *map, struct store_retired *retired)
{
    struct store_partition *partition = &retired->partition;
    int32_t r = check_map(reading, map, "it", 9 + parent_members(map) + tells_generations(map));

    if (r == 0)
        r = read_parent(reading, map, partition);
    if (r == 0)
        r = read_number(reading, map, "id", &partition->id);
    if (r == 0)
        r = read_hash(reading, map, "hash_from", &partition->hash_from);
    if (r == 0)
        r = read_hash(reading, map, "hash_to", &partition->hash_to);
    if (r == 0)
        r = read_number(reading, map, "heir", &retired->heir);
    if (r == 0)
        r = read_number(reading, map, "version", &retired->version);
    if (r == 0)
        r = read_number(reading, map, "time", &retired->time_us);
    const hf_value *value = r == 0 ? member(reading, map, "value", HF_VALUE_STRING) : NULL;
    const hf_value *gone = value ? member(reading, map, "gone", HF_VALUE_BOOLEAN) : NULL;

    if (!gone || partition->id <= STORE_CATALOG_PARTITION)
        return r < 0 ? r : hf_error_set(reading->error, HF_ECORRUPT, "it is not a partition that was");
    retired->is_gone = gone->boolean != 0;
    for (uint32_t i = 0; i < reading->value_count && !partition->value; i++)
        if (store_compare_text(hf_value_slice(value), reading->values[i]) == 0)
            partition->value = reading->values[i];
    if (!partition->value)
        return hf_error_set(reading->error, HF_ECORRUPT, "its value is not one of the table's");
    return read_members(reading, map, partition);
}

static int32_t read_retired(struct reading *reading, const hf_value *root)
{
    const hf_value *list = hf_value_get(root, "retired");

    if (!list)
        return 0;
    if (list->type != HF_VALUE_LIST || list->count > STORE_TABLE_RETIRED_MAX)
        return hf_error_set(reading->error, HF_ECORRUPT, "'retired' is not a list, or too long");
    reading->table.retired = hf_arena_alloc(reading->arena, (list->count + 1) * sizeof *reading->table.retired);
    if (!reading->table.retired)
        return no_memory(reading);
    for (uint64_t i = 0; i < list->count; i++) {
        int32_t r;

        reading->table.retired[i] = (struct store_retired){0};
        r = read_one_retired(reading, &list->as.items[i], &reading->table.retired[i]);
        if (r < 0) {
            hf_error_prefix(reading->error, "retired partition %llu of the list", (unsigned long long)i + 1);
            return r;
        }
    }
    reading->table.retired_count = (uint32_t)list->count;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int32_t check_ids(struct reading *reading)
{
    uint32_t present = reading->table.partition_count, count = present + reading->table.retired_count;
    uint64_t *ids = hf_arena_alloc(&reading->scratch, count * sizeof *ids);

    if (!ids)
        return no_memory(reading);
    for (uint32_t i = 0; i < present; i++)
        ids[i] = reading->table.partitions[i].id;
    for (uint32_t i = present; i < count; i++)
        ids[i] = reading->table.retired[i - present].partition.id;
    qsort(ids, count, sizeof *ids, compare_ids);
    for (uint32_t i = 1; i < count; i++)
        if (ids[i] == ids[i - 1])
            return hf_error_set(reading->error, HF_ECORRUPT, "two partitions have the id %llu; expected every id once",
                                (unsigned long long)ids[i]);
    return 0;
}

/* The declared values in the order in which the partitions come. */
static int32_t sort_values(struct reading *reading)
{
    const struct store_declaration *declaration = &reading->table.declaration;

    reading->value_count = declaration->value_count ? declaration->value_count : 1;
    reading->values = hf_arena_alloc(&reading->scratch, reading->value_count * sizeof *reading->values);
    if (!reading->values)
        return no_memory(reading);
    reading->values[0] = ""; /* static, so it may outlive the scratch */
    for (uint32_t i = 0; i < declaration->value_count; i++)
        reading->values[i] = declaration->values[i];
    store_sort_values(reading->values, reading->value_count);
    return 0;
}

static int32_t read_each_partition(struct reading *reading, const hf_value *list)
{
    struct store_partition *partitions = reading->table.partitions, *before = NULL;
    uint32_t value_index = 0;

    for (uint64_t i = 0; i < list->count; i++) {
        int32_t r = read_partition(reading, &list->as.items[i], before, &partitions[i], &value_index);

        if (r < 0) {
            hf_error_prefix(reading->error, "partition %llu of the list", (unsigned long long)i + 1);
            return r;
        }
        before = &partitions[i];
    }
    if (before && value_index == reading->value_count - 1 && before->hash_to == UINT64_MAX)
        return 0;
    return hf_error_set(reading->error, HF_ECORRUPT,
                        "the partitions end before the last value's last range; expected all of them");
}

static int32_t read_partitions(struct reading *reading, const hf_value *list)
{
    if (list->count > STORE_TABLE_PARTITIONS_MAX)
        return hf_error_set(reading->error, HF_ECORRUPT, "'partitions' has %llu items; expected at most %d",
                            (unsigned long long)list->count, STORE_TABLE_PARTITIONS_MAX);
    reading->table.partition_count = (uint32_t)list->count;
    reading->table.partitions = hf_arena_alloc(reading->arena, list->count * sizeof *reading->table.partitions);
    if (!reading->table.partitions)
        return no_memory(reading);
    int32_t r = sort_values(reading);

    return r < 0 ? r : read_each_partition(reading, list);
}

static int32_t read_declaration(struct reading *reading, const hf_value *root)
{
    const hf_value *name = member(reading, root, "name", HF_VALUE_STRING);
    const hf_value *declaration = name ? member(reading, root, "declaration", HF_VALUE_MAP) : NULL;

    if (!declaration)
        return HF_ECORRUPT;
    if (name->count > STORE_TABLE_NAME_MAX || memchr(name->as.text, 0, name->count))
        return hf_error_set(reading->error, HF_ECORRUPT, "'name' has %llu bytes or a zero byte; expected 1 to %d bytes",
                            (unsigned long long)name->count, STORE_TABLE_NAME_MAX);
    const char *text = store_copy_text(&reading->scratch, hf_value_slice(name));

    if (!text)
        return no_memory(reading);
    int32_t r = store_declaration_parse(text, declaration, reading->arena, &reading->table.declaration, reading->error);

    if (r == HF_EINVAL && reading->error)
        reading->error->code = HF_ECORRUPT;
    return r == HF_EINVAL ? HF_ECORRUPT : r;
}

static int32_t read_root(struct reading *reading, const hf_value *root)
{
    const hf_value *record = member(reading, root, "record", HF_VALUE_INTEGER);

    if (!record)
        return HF_ECORRUPT;
    if (record->as.integer > RECORD)
        return hf_error_set(reading->error, HF_EVERSION,
                            "it has format %lld and this release knows up to %d; upgrade this node",
                            (long long)record->as.integer, RECORD);
    if (record->as.integer < RECORD_FIRST)
        return hf_error_set(reading->error, HF_ECORRUPT, "'record' is %lld; expected %d to %d",
                            (long long)record->as.integer, RECORD_FIRST, RECORD);
    int32_t r = check_map(reading, root, "it", hf_value_get(root, "retired") ? 5 : 4);

    if (r == 0)
        r = read_declaration(reading, root);
    if (r < 0)
        return r;
    const hf_value *list = member(reading, root, "partitions", HF_VALUE_LIST);

    if (!list)
        return HF_ECORRUPT;
    r = read_partitions(reading, list);
    if (r == 0)
        r = read_retired(reading, root);
    return r < 0 ? r : check_ids(reading);
}

static int32_t read_json(struct reading *reading, hf_slice json)
{
    hf_value root;
    int32_t r = hf_json_parse(json, &reading->scratch, &root, reading->error);

    if (r == HF_EINVAL) {
        if (reading->error)
            reading->error->code = HF_ECORRUPT;
        return HF_ECORRUPT;
    }
    return r < 0 ? r : read_root(reading, &root);
}

int32_t store_table_parse(hf_slice json, const struct store_nodes *nodes, hf_arena *arena,
                          struct store_table *ret_table, hf_error *error)
{
    struct reading reading = {.nodes = nodes, .arena = arena, .error = error};

    if (json.size > STORE_TABLE_RECORD_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "a table's record has %llu bytes; expected at most %d",
                            (unsigned long long)json.size, STORE_TABLE_RECORD_MAX);
    hf_arena_init(&reading.scratch, SCRATCH_MAXIMUM);
    int32_t r = read_json(&reading, json);

    hf_arena_done(&reading.scratch);
    if (r == 0)
        *ret_table = reading.table;
    else
        hf_error_prefix(error, "the record of a table");
    return r;
}
