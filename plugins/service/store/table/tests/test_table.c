/* Shows that declarations are read and refused with a reason, that plans are even and whole, that a table survives its
 * record, that no damaged record reads as a table, and that every key is found where a plain search finds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/hash.h>

#include "table/table.h"

static const struct store_nodes nodes = {.count = 5, .names = {"n1", "n2", "n3", "n4", "n5"}};

static const char *const regions[] = {"us", "eu", "apac", "e", "\xc3\xa4"};

static struct store_declaration tickets(void)
{
    return (struct store_declaration){.name = "tickets",
                                      .partition_by = "region",
                                      .value_count = 5,
                                      .values = regions,
                                      .hash_ranges = 3,
                                      .replicas = 3,
                                      .value_maximum = 1 << 20,
                                      .keep_changes_us = 86400000000,
                                      .keep_repeats_us = 1000000};
}

static hf_arena arena;

static int set_up(void **state)
{
    (void)state;
    hf_arena_init(&arena, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_arena_done(&arena);
    return 0;
}

/* ---- Declarations ------------------------------------------------------------------------------------------------ */

static int32_t parse(const char *name, const char *json, struct store_declaration *ret_declaration, hf_error *error)
{
    hf_value body;

    assert_int_equal(hf_json_parse(hf_slice_of(json), &arena, &body, NULL), 0);
    return store_declaration_parse(name, &body, &arena, ret_declaration, error);
}

static void what_is_left_out_has_its_default(void **state)
{
    struct store_declaration d;

    (void)state;
    assert_int_equal(parse("t", "{}", &d, NULL), 0);
    assert_string_equal(d.name, "t");
    assert_string_equal(d.partition_by, "");
    assert_int_equal(d.value_count, 0);
    assert_int_equal(d.hash_ranges, 1);
    assert_int_equal(d.replicas, 3);
    assert_int_equal(d.format, STORE_FORMAT_JSON);
    assert_int_equal(d.value_maximum, 1 << 20);
    assert_true(d.keep_changes_us == 7 * UINT64_C(86400000000) && d.keep_repeats_us == UINT64_C(86400000000));
}

static void everything_can_be_declared(void **state)
{
    struct store_declaration d;

    (void)state;
    assert_int_equal(parse("t-1_Z",
                           "{\"partition_by\":\"region\",\"partitions\":[\"us\",\"eu\"],\"hash_ranges\":1024,"
                           "\"replicas\":31,\"format\":\"json\",\"value_maximum\":16777216,\"keep_changes\":1,"
                           "\"keep_idempotency_keys\":315360000}",
                           &d, NULL),
                     0);
    assert_string_equal(d.partition_by, "region");
    assert_int_equal(d.value_count, 2);
    assert_string_equal(d.values[0], "us");
    assert_string_equal(d.values[1], "eu");
    assert_true(d.hash_ranges == 1024 && d.replicas == 31 && d.value_maximum == 16777216);
    assert_true(d.keep_changes_us == 1000000 && d.keep_repeats_us == UINT64_C(315360000000000));
    assert_int_equal(parse("t", "{\"format\":\"bytes\"}", &d, NULL), 0);
    assert_int_equal(d.format, STORE_FORMAT_BYTES);
}

static void bad_declarations_are_refused_with_what_is_expected(void **state)
{
    static const struct {
        const char *name, *json, *message; /* parts of the message, apart by '|' */
    } rows[] = {
        {"T", "{}", "'T'|lower-case letter"},
        {"", "{}", "''|lower-case letter"},
        {"1", "{}", "lower-case letter"},
        {"_catalog", "{}", "lower-case letter"},
        {"a/b", "{}", "'a/b'|'_' and '-'"},
        {"a\xc3\xa4", "{}", "lower-case letter"},
        {"a23456789a123456789b123456789c123456789d123456789e123456789f1234", "{}", "up to 62"},
        {"t", "[]", "a list|expected an object"},
        {"t", "{\"hash_range\":1}", "'hash_range'|expected partition_by, partitions, hash_ranges"},
        {"t", "{\"name\":\"t\"}", "'name' is unknown"},
        {"t", "{\"hash_ranges\":0}", "hash_ranges is 0|1 to 1024"},
        {"t", "{\"hash_ranges\":1025}", "hash_ranges is 1025|1 to 1024"},
        {"t", "{\"hash_ranges\":4294967297}", "hash_ranges is 4294967297|1 to 1024"},
        {"t", "{\"hash_ranges\":-1}", "hash_ranges is -1|1 to 1024"},
        {"t", "{\"hash_ranges\":1.0}", "a float|expected an integer"},
        {"t", "{\"hash_ranges\":\"1\"}", "a string|expected an integer"},
        {"t", "{\"hash_ranges\":null}", "null|expected an integer"},
        {"t", "{\"replicas\":0}", "replicas is 0|1 to 31"},
        {"t", "{\"replicas\":32}", "replicas is 32|1 to 31"},
        {"t", "{\"value_maximum\":1023}", "1023|1024 to 16777216 bytes"},
        {"t", "{\"value_maximum\":16777217}", "16777217|1024 to 16777216 bytes"},
        {"t", "{\"keep_changes\":0}", "keep_changes is 0|1 to 315360000 seconds"},
        {"t", "{\"keep_changes\":9223372036854775807}", "1 to 315360000 seconds"},
        {"t", "{\"keep_idempotency_keys\":0}", "keep_idempotency_keys is 0|seconds"},
        {"t", "{\"format\":\"xml\"}", "'xml'|\"json\" or \"bytes\""},
        {"t", "{\"format\":1}", "an integer|\"json\" or \"bytes\""},
        {"t", "{\"partition_by\":\"r\"}", "'r' has 0 values|1 to 1024"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[]}", "0 values|1 to 1024"},
        {"t", "{\"partitions\":[\"a\"]}", "no partition_by|name of the field"},
        {"t", "{\"partition_by\":1,\"partitions\":[\"a\"]}", "partition_by is an integer|a string"},
        {"t", "{\"partition_by\":\"\",\"partitions\":[\"a\"]}", "partition_by|1 to 255 bytes"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":\"a\"}", "partitions is a string|a list of strings"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[1]}", "an integer|expected a string"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[\"\"]}", "1 to 255 bytes"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[\"a\\u0000b\"]}", "without control characters"},
        {"t", "{\"partition_by\":\"r\\n\",\"partitions\":[\"a\"]}", "without control characters"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[\"a\",\"b\",\"a\"]}", "'a' twice|once"},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[\"a\"],\"format\":\"bytes\"}", "'r'|format \"json\""},
        {"t", "{\"partition_by\":\"r\",\"partitions\":[\"a\",\"b\",\"c\",\"d\",\"e\"],\"hash_ranges\":1024}",
         "5120 partitions|at most 4096"},
    };
    struct store_declaration d;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_error error = {0};
        char parts[128], *rest = parts;

        if (parse(rows[i].name, rows[i].json, &d, &error) != HF_EINVAL || error.code != HF_EINVAL)
            fail_msg("accepted: %s %s", rows[i].name, rows[i].json);
        snprintf(parts, sizeof parts, "%s", rows[i].message);
        for (char *part; (part = strsep(&rest, "|"));)
            if (!strstr(error.message, part))
                fail_msg("%s: '%s' is not in: %s", rows[i].json, part, error.message);
        assert_int_equal(parse(rows[i].name, rows[i].json, &d, NULL), HF_EINVAL);
    }
}

static void limits_hold_for_declarations_in_memory(void **state)
{
    static const char *many[STORE_TABLE_VALUES_MAX + 1];
    static char texts[STORE_TABLE_VALUES_MAX + 1][8];
    char longest[STORE_TABLE_TEXT_MAX + 2];
    const char *const values[] = {longest};
    struct store_declaration d = tickets();

    (void)state;
    assert_int_equal(store_declaration_check(&d, NULL), 0);
    for (int i = 0; i <= STORE_TABLE_VALUES_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        many[i] = texts[i];
    }
    d.values = many;
    d.value_count = STORE_TABLE_VALUES_MAX;
    assert_int_equal(store_declaration_check(&d, NULL), 0);
    d.hash_ranges = 5;
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);
    d.hash_ranges = 1;
    d.value_count++;
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);

    d = tickets();
    d.keep_changes_us++;
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);
    d = tickets();
    d.format = 2;
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);
    d = tickets();
    memset(longest, 'v', sizeof longest);
    longest[STORE_TABLE_TEXT_MAX] = '\0';
    d.values = values;
    d.value_count = 1;
    assert_int_equal(store_declaration_check(&d, NULL), 0);
    longest[STORE_TABLE_TEXT_MAX] = 'v';
    longest[STORE_TABLE_TEXT_MAX + 1] = '\0';
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);
    longest[0] = '\xff';
    longest[1] = '\0';
    assert_int_equal(store_declaration_check(&d, NULL), HF_EINVAL);
}

static void every_difference_is_seen(void **state)
{
    static const char *const reversed[] = {"\xc3\xa4", "e", "apac", "eu", "us"};
    static const char *const other[] = {"\xc3\xa4", "e", "apac", "eu", "uk"};
    struct store_declaration a = tickets(), changed[] = {a, a, a, a, a, a, a, a, a};

    (void)state;
    assert_true(store_declaration_same(&a, &changed[0]));
    changed[0].values = reversed;
    assert_true(store_declaration_same(&a, &changed[0]));
    changed[0].values = other;
    changed[1].name = "ticket";
    changed[2].partition_by = "area";
    changed[3].value_count = 4;
    changed[4].hash_ranges++;
    changed[5].replicas++;
    changed[6].format = STORE_FORMAT_BYTES;
    changed[7].keep_changes_us += 1000000;
    changed[8].keep_repeats_us += 1000000;
    for (int i = 0; i < 9; i++) {
        assert_false(store_declaration_same(&a, &changed[i]));
        assert_false(store_declaration_same(&changed[i], &a));
    }
    changed[0] = a;
    changed[0].value_maximum++;
    assert_false(store_declaration_same(&a, &changed[0]));
}

static void a_declaration_reads_back_as_it_was_written(void **state)
{
    struct store_declaration d = tickets(), read;
    hf_buffer buffer;
    hf_json_writer writer;

    (void)state;
    for (int divided = 1; divided >= 0; divided--) {
        hf_buffer_init(&buffer, 1 << 20);
        hf_json_writer_init(&writer, &buffer);
        hf_json_begin_object(&writer);
        store_declaration_write(&writer, &d);
        hf_json_end_object(&writer);
        assert_int_equal(writer.result, 0);
        assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
        assert_int_equal(parse("tickets", (const char *)buffer.data, &read, NULL), 0);
        assert_true(store_declaration_same(&d, &read));
        hf_buffer_done(&buffer);
        d.partition_by = "";
        d.value_count = 0;
        d.format = STORE_FORMAT_BYTES;
    }
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

/* Everything that must hold of a plan. */
static void assert_plan(const struct store_table *table, const struct store_nodes *cluster, uint64_t first_partition)
{
    const struct store_declaration *d = &table->declaration;
    uint32_t leads[STORE_NODES_MAX] = {0}, holds[STORE_NODES_MAX] = {0};
    uint32_t expected = d->replicas < cluster->count ? d->replicas : cluster->count;

    assert_int_equal(table->partition_count, (d->value_count ? d->value_count : 1) * d->hash_ranges);
    for (uint32_t i = 0; i < table->partition_count; i++) {
        const struct store_partition *p = &table->partitions[i], *before = p - 1;
        uint32_t seen = 0, range = i % d->hash_ranges;

        assert_true(p->id == first_partition + i);
        assert_true(range == 0 ? p->hash_from == 0 : p->hash_from == before->hash_to + 1);
        assert_true(range > 0 ? strcmp(before->value, p->value) == 0 : i == 0 || strcmp(before->value, p->value) < 0);
        assert_true((range == d->hash_ranges - 1) == (p->hash_to == UINT64_MAX));
        if (d->hash_ranges > 1) /* even: at most one apart */
            assert_true(p->hash_to - p->hash_from + 1 - UINT64_MAX / d->hash_ranges <= 1);
        assert_int_equal(p->member_count, expected);
        for (uint32_t m = 0; m < p->member_count; m++) {
            assert_true(p->members[m] < cluster->count && !(seen >> p->members[m] & 1));
            seen |= UINT32_C(1) << p->members[m];
            holds[p->members[m]]++;
        }
        leads[p->members[0]]++;
    }
    for (uint32_t n = 0; n < cluster->count; n++) {
        uint32_t even = table->partition_count / cluster->count;

        assert_true(leads[n] >= even && leads[n] <= even + 1);
        /* Every whole turn gives each node as many; the first and the last turn may be in part. */
        assert_true(holds[n] + expected >= even * expected && holds[n] <= (even + 2) * expected);
    }
}

static void plans_are_whole_and_even(void **state)
{
    static const uint32_t ranges[] = {1, 2, 3, 7, 64, 100, 819};

    (void)state;
    for (uint32_t count = 1; count <= STORE_NODES_MAX; count++)
        for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
            struct store_nodes cluster = {.count = count};
            struct store_declaration d = tickets();
            struct store_table table;

            d.hash_ranges = ranges[r];
            d.replicas = 1 + (count + ranges[r]) % 7;
            assert_int_equal(store_table_plan(&d, &cluster, 2 + count, &arena, &table, NULL), 0);
            assert_plan(&table, &cluster, 2 + count);
            d.partition_by = "";
            d.value_count = 0;
            assert_int_equal(store_table_plan(&d, &cluster, 1000 + count, &arena, &table, NULL), 0);
            assert_plan(&table, &cluster, 1000 + count);
            hf_arena_clear(&arena);
        }
}

static void small_tables_lead_on_different_nodes(void **state)
{
    struct store_declaration d = tickets();
    uint32_t leads[STORE_NODES_MAX] = {0};

    (void)state;
    d.value_count = 1;
    d.hash_ranges = 1;
    for (uint64_t id = 2; id < 2 + 4 * nodes.count; id++) {
        struct store_table table;

        assert_int_equal(store_table_plan(&d, &nodes, id, &arena, &table, NULL), 0);
        leads[table.partitions[0].members[0]]++;
    }
    for (uint32_t n = 0; n < nodes.count; n++)
        assert_int_equal(leads[n], 4);
}

/* When a node fails, the others share what it led. */
static void followers_of_a_node_are_spread(void **state)
{
    struct store_declaration d = tickets();
    struct store_table table;
    uint32_t second[STORE_NODES_MAX] = {0};

    (void)state;
    d.hash_ranges = 8;
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    for (uint32_t i = 0; i < table.partition_count; i++)
        if (table.partitions[i].members[0] == 0)
            second[table.partitions[i].members[1]]++;
    for (uint32_t n = 1; n < nodes.count; n++)
        assert_int_equal(second[n], 2);
}

static void a_plan_owns_its_strings(void **state)
{
    char name[] = "t", field[] = "f", value[] = "v";
    const char *values[] = {value};
    struct store_declaration d = tickets();
    struct store_table table;

    (void)state;
    d.name = name;
    d.partition_by = field;
    d.values = values;
    d.value_count = 1;
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    name[0] = field[0] = value[0] = 'x';
    values[0] = NULL;
    assert_string_equal(table.declaration.name, "t");
    assert_string_equal(table.declaration.partition_by, "f");
    assert_string_equal(table.declaration.values[0], "v");
    assert_string_equal(table.partitions[0].value, "v");
}

static void plans_that_cannot_be_are_refused(void **state)
{
    struct store_declaration d = tickets();
    struct store_nodes none = {0}, too_many = {.count = STORE_NODES_MAX + 1};
    struct store_table table;
    hf_arena small;
    hf_error error;

    (void)state;
    assert_int_equal(store_table_plan(&d, &none, 2, &arena, &table, &error), HF_EINVAL);
    assert_int_equal(store_table_plan(&d, &too_many, 2, &arena, &table, &error), HF_EINVAL);
    assert_int_equal(store_table_plan(&d, &nodes, 0, &arena, &table, &error), HF_EINVAL);
    assert_int_equal(store_table_plan(&d, &nodes, STORE_CATALOG_PARTITION, &arena, &table, &error), HF_EINVAL);
    assert_int_equal(store_table_plan(&d, &nodes, INT64_MAX, &arena, &table, &error), HF_EINVAL);
    d.hash_ranges = 0;
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, &error), HF_EINVAL);
    d = tickets();
    d.hash_ranges = 800;
    for (uint64_t maximum = 0; maximum <= 64 << 10; maximum += 4 << 10) {
        hf_arena_init(&small, maximum);
        assert_int_equal(store_table_plan(&d, &nodes, 2, &small, &table, &error), HF_ENOMEM);
        hf_arena_done(&small);
    }
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static void assert_same_table(const struct store_table *a, const struct store_table *b)
{
    assert_true(store_declaration_same(&a->declaration, &b->declaration));
    assert_int_equal(a->partition_count, b->partition_count);
    for (uint32_t i = 0; i < a->partition_count; i++) {
        const struct store_partition *p = &a->partitions[i], *q = &b->partitions[i];

        assert_true(p->id == q->id && p->hash_from == q->hash_from && p->hash_to == q->hash_to);
        assert_string_equal(p->value, q->value);
        assert_int_equal(p->member_count, q->member_count);
        assert_memory_equal(p->members, q->members, p->member_count * sizeof p->members[0]);
    }
}

static void a_table_survives_its_record(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct store_declaration d = tickets();
        struct store_table table, read;
        hf_buffer buffer;

        if (i > 0) {
            d.partition_by = "";
            d.value_count = 0;
        }
        d.hash_ranges = i == 2 ? STORE_TABLE_HASH_RANGES_MAX : 3;
        hf_buffer_init(&buffer, 1 << 20);
        assert_int_equal(store_table_plan(&d, &nodes, INT64_MAX - 5000, &arena, &table, NULL), 0);
        assert_int_equal(store_table_write(&buffer, &table, &nodes, NULL), 0);
        assert_int_equal(store_table_parse((hf_slice){buffer.data, buffer.size}, &nodes, &arena, &read, NULL), 0);
        hf_buffer_done(&buffer);
        assert_same_table(&table, &read);
    }
}

/* A group that is made after one of its nodes was replaced begins with that node's new id. */
static void replicas_begin_under_ids_that_are_not_void(void **state)
{
    struct store_nodes replaced = nodes;
    struct store_declaration d = tickets();
    struct store_table table, read;
    hf_buffer buffer;
    uint32_t with = 0;

    (void)state;
    replaced.generations[1] = 77;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_table_plan(&d, &replaced, 2, &arena, &table, NULL), 0);
    assert_int_equal(store_table_write(&buffer, &table, &nodes, NULL), 0);
    assert_int_equal(store_table_parse((hf_slice){buffer.data, buffer.size}, &nodes, &arena, &read, NULL), 0);
    hf_buffer_done(&buffer);
    assert_same_table(&table, &read);
    for (uint32_t i = 0; i < read.partition_count; i++)
        for (uint32_t m = 0; m < read.partitions[i].member_count; m++) {
            const struct store_partition *partition = &read.partitions[i];
            uint64_t id = store_replica_id(partition->members[m], partition->members[m] == 1 ? 77 : 0);

            assert_true(partition->replicas[m] == id && partition->first[m] == id);
            with += partition->members[m] == 1;
        }
    assert_true(with > 0);
}

static void members_keep_their_names_when_the_cluster_is_listed_otherwise(void **state)
{
    struct store_nodes other = {.count = 6, .names = {"n0", "n5", "n4", "n3", "n2", "n1"}};
    struct store_declaration d = tickets();
    struct store_table table, read;
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    assert_int_equal(store_table_write(&buffer, &table, &nodes, NULL), 0);
    assert_int_equal(store_table_parse((hf_slice){buffer.data, buffer.size}, &other, &arena, &read, NULL), 0);
    hf_buffer_done(&buffer);
    for (uint32_t i = 0; i < table.partition_count; i++)
        for (uint32_t m = 0; m < table.partitions[i].member_count; m++)
            assert_string_equal(nodes.names[table.partitions[i].members[m]],
                                other.names[read.partitions[i].members[m]]);
}

static void a_record_that_does_not_fit_leaves_the_buffer(void **state)
{
    struct store_declaration d = tickets();
    struct store_nodes fewer = {.count = 2, .names = {"n1", "n2"}};
    struct store_table table;
    hf_buffer buffer;
    hf_error error;

    (void)state;
    hf_buffer_init(&buffer, 500);
    assert_int_equal(hf_buffer_append(&buffer, "before", 6), 0);
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    assert_int_equal(store_table_write(&buffer, &table, &nodes, &error), HF_ETOOLARGE);
    assert_int_equal(buffer.size, 6);
    assert_int_equal(store_table_write(&buffer, &table, &fewer, &error), HF_EINVAL);
    assert_int_equal(buffer.size, 6);
    hf_buffer_done(&buffer);
}

static const char record[] =
    "{\"record\":1,\"name\":\"t\",\"declaration\":{\"partition_by\":\"r\",\"partitions\":[\"us\",\"eu\"]},"
    "\"partitions\":["
    "{\"id\":2,\"value\":\"eu\",\"hash_from\":\"0000000000000000\",\"hash_to\":\"7fffffffffffffff\","
    "\"nodes\":[\"n1\",\"n2\"]},"
    "{\"id\":9,\"value\":\"eu\",\"hash_from\":\"8000000000000000\",\"hash_to\":\"ffffffffffffffff\","
    "\"nodes\":[\"n3\"]},"
    "{\"id\":4,\"value\":\"us\",\"hash_from\":\"0000000000000000\",\"hash_to\":\"ffffffffffffffff\","
    "\"nodes\":[\"n4\",\"n5\",\"n1\"]}]}";

static int32_t parse_changed(const char *from, const char *to, hf_error *error)
{
    char text[2 * sizeof record];
    const char *at = strstr(record, from);
    struct store_table table;

    assert_non_null(at);
    assert_true(strlen(to) < sizeof record);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - record), record, to, at + strlen(from));
    return store_table_parse(hf_slice_of(text), &nodes, &arena, &table, error);
}

static void damaged_records_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } rows[] = {
        {"]}]}", "]}]", "byte"},
        {"{\"record\"", "[{\"record\"", "byte"},
        {"\"record\":1", "\"record\":0", "'record' is 0"},
        {"\"record\":1", "\"record\":\"1\"", "'record' is a string; expected an integer"},
        {"\"record\":1,", "", "'record' is missing"},
        {"\"record\":1,", "\"record\":1,\"x\":1,", "5 members; expected 4"},
        {"\"name\":\"t\"", "\"name\":1", "'name' is an integer"},
        {"\"name\":\"t\"", "\"name\":\"T\"", "lower-case letter"},
        {"\"name\":\"t\"", "\"name\":\"t\\u0000\"", "zero byte"},
        {"\"name\":\"t\"", "\"nam\":\"t\"", "'name' is missing"},
        {"{\"partition_by\":\"r\",\"partitions\":[\"us\",\"eu\"]}", "[]", "'declaration' is a list"},
        {"\"id\":2", "\"id\":2,\"generations\":[1]", "a number for each of 'nodes'"},
        {"\"id\":2", "\"id\":2,\"generations\":[1,-1]", "not a number from 0"},
        {"[\"us\",\"eu\"]", "[\"us\",\"us\"]", "twice"},
        {"[\"us\",\"eu\"]", "[\"us\",\"eu\",\"z\"]", "end before"},
        {"[\"us\",\"eu\"]", "[\"us\",\"a\"]", "'eu'; expected 'a'"},
        {"[\"us\",\"eu\"]", "[\"eu\"]", "expected the end of the list"},
        {"\"id\":2", "\"id\":0", "'id' is 0; expected 2 or more"},
        {"\"id\":2", "\"id\":1", "'id' is 1"},
        {"\"id\":2", "\"id\":-5", "'id' is -5"},
        {"\"id\":2", "\"id\":4", "have the id 4"},
        {"\"id\":2", "\"id\":2.5", "'id' is a float"},
        {"\"id\":2", "\"id\":18446744073709551615", "'id' is a float"},
        {"\"id\":2", "\"id\":2,\"more\":1", "6 members; expected 5"},
        {"\"value\":\"eu\"", "\"value\":\"us\"", "'us'; expected 'eu'"},
        {"\"value\":\"eu\"", "\"value\":\"e\"", "'e'; expected 'eu'"},
        {"\"value\":\"eu\"", "\"value\":\"eu\\u0000\"", "expected 'eu'"},
        {"\"value\":\"eu\"", "\"value\":null", "'value' is null"},
        {"\"value\":\"us\"", "\"value\":\"eu\"", "partition 3 of the list: its value is 'eu'; expected 'us'"},
        {"7fffffffffffffff", "7ffffffffffffffe", "begins at 7fffffffffffffff, without gap"},
        {"7fffffffffffffff", "8000000000000000", "begins at 8000000000000001, without gap or overlap"},
        {"7fffffffffffffff", "ffffffffffffffff", "expected 'us'"},
        {"\"hash_from\":\"0000000000000000\"", "\"hash_from\":\"0000000000000001\"", "begins at 0000000000000000"},
        {"\"8000000000000000\",\"hash_to\":\"ffffffffffffffff\"",
         "\"8000000000000000\",\"hash_to\":\"7000000000000000\"", "begins at 8000000000000000"},
        {"\"8000000000000000\",\"hash_to\":\"ffffffffffffffff\"",
         "\"8000000000000000\",\"hash_to\":\"fffffffffffffffe\"", "'us'; expected 'eu'"},
        {"7fffffffffffffff", "7FFFFFFFFFFFFFFF", "16 digits"},
        {"7fffffffffffffff", "7ffffffffffffff", "16 digits"},
        {"7fffffffffffffff", "07fffffffffffffff", "16 digits"},
        {"7fffffffffffffff", "7ffffffffffffff\\u0000", "16 digits"},
        {"\"7fffffffffffffff\"", "9223372036854775807", "'hash_to' is an integer"},
        {"\"n2\"", "\"n6\"", "node 'n6' is unknown"},
        {"\"n2\"", "\"n2\\u0000\"", "is unknown"},
        {"\"n2\"", "\"n1\"", "'n1' is there twice"},
        {"\"n2\"", "2", "one of 'nodes' is an integer"},
        {"[\"n3\"]", "[]", "partition 2 of the list: 'nodes' has 0 names"},
        {"[\"n3\"]", "\"n3\"", "'nodes' is a string"},
        {"[\"n3\"]},", "[\"n3\"]},null,", "it is null"},
        {"\"partitions\":[{", "\"partitions\":null,\"p\":[{", "5 members"},
        {"[\"n4\",\"n5\",\"n1\"]}", "[\"n4\",\"n5\",\"n1\"]},{}", "has 0 members"},
    };
    struct store_table table;

    (void)state;
    assert_int_equal(store_table_parse(hf_slice_of(record), &nodes, &arena, &table, NULL), 0);
    assert_int_equal(table.partition_count, 3);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_error error = {0};

        if (parse_changed(rows[i].from, rows[i].to, &error) != HF_ECORRUPT || error.code != HF_ECORRUPT)
            fail_msg("accepted: %s instead of %s (%d, %s)", rows[i].to, rows[i].from, (int)error.code, error.message);
        if (!strstr(error.message, rows[i].message))
            fail_msg("%s: '%s' is not in: %s", rows[i].to, rows[i].message, error.message);
        assert_int_equal(parse_changed(rows[i].from, rows[i].to, NULL), HF_ECORRUPT);
    }
}

static void records_of_newer_releases_and_endless_ones_are_refused(void **state)
{
    struct store_table table;
    hf_error error = {0};
    char *blanks = malloc(STORE_TABLE_RECORD_MAX + 1);

    (void)state;
    assert_int_equal(parse_changed("\"record\":1,", "\"record\":4,\"what\":{},", &error), HF_EVERSION);
    assert_non_null(strstr(error.message, "upgrade this node"));
    assert_non_null(blanks);
    memset(blanks, ' ', STORE_TABLE_RECORD_MAX + 1);
    memcpy(blanks, record, sizeof record - 1);
    assert_int_equal(
        store_table_parse((hf_slice){(const uint8_t *)blanks, STORE_TABLE_RECORD_MAX}, &nodes, &arena, &table, &error),
        0);
    assert_int_equal(store_table_parse((hf_slice){(const uint8_t *)blanks, STORE_TABLE_RECORD_MAX + 1}, &nodes, &arena,
                                       &table, &error),
                     HF_ETOOLARGE);
    free(blanks);
}

static void no_cut_record_is_a_table(void **state)
{
    struct store_table table;

    (void)state;
    for (uint64_t size = 0; size < sizeof record - 1; size++)
        assert_int_equal(store_table_parse((hf_slice){(const uint8_t *)record, size}, &nodes, &arena, &table, NULL),
                         HF_ECORRUPT);
}

static void reading_says_when_memory_is_short(void **state)
{
    struct store_declaration d = tickets();
    struct store_table table;
    hf_arena small;
    hf_buffer buffer;

    (void)state;
    d.hash_ranges = 100;
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    assert_int_equal(store_table_write(&buffer, &table, &nodes, NULL), 0);
    for (uint64_t maximum = 0; maximum <= 16 << 10; maximum += 4 << 10) {
        hf_arena_init(&small, maximum);
        assert_int_equal(store_table_parse((hf_slice){buffer.data, buffer.size}, &nodes, &small, &table, NULL),
                         HF_ENOMEM);
        hf_arena_done(&small);
    }
    hf_buffer_done(&buffer);
}

/* ---- Finding ----------------------------------------------------------------------------------------------------- */

/* What store_table_find should find, by looking at every partition. */
static const struct store_partition *search(const struct store_table *table, hf_slice value, hf_slice key)
{
    uint64_t hash = hf_hash64(0, key.data, key.size);

    for (uint32_t i = 0; i < table->partition_count; i++) {
        const struct store_partition *p = &table->partitions[i];
        int here = table->declaration.value_count == 0 || hf_slice_is(value, p->value);

        if (here && p->hash_from <= hash && hash <= p->hash_to)
            return p;
    }
    return NULL;
}

/* Every partition that could hold the key is a candidate once, and there are no others. */
static void assert_candidates(const struct store_table *table, hf_slice key)
{
    uint64_t hash = hf_hash64(0, key.data, key.size);
    uint32_t expected = 0, n = 0;
    uint8_t seen[STORE_TABLE_PARTITIONS_MAX] = {0};

    for (uint32_t i = 0; i < table->partition_count; i++)
        expected += table->partitions[i].hash_from <= hash && hash <= table->partitions[i].hash_to;
    for (const struct store_partition *p; (p = store_table_candidate(table, key, n)); n++) {
        assert_true(p->hash_from <= hash && hash <= p->hash_to);
        assert_false(seen[p - table->partitions]);
        seen[p - table->partitions] = 1;
    }
    assert_int_equal(n, expected);
    assert_null(store_table_candidate(table, key, n + 1));
    assert_null(store_table_candidate(table, key, UINT32_MAX));
}

static void assert_found(const struct store_table *table, hf_random *random)
{
    static const char *const values[] = {"us", "eu", "apac", "e", "\xc3\xa4", "", "a", "eu ", "EU", "zz", "apa"};

    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[40];
        uint64_t size = hf_random_below(random, sizeof bytes);
        hf_slice value = hf_slice_of(values[hf_random_below(random, sizeof values / sizeof values[0])]);

        for (uint64_t b = 0; b < size; b++)
            bytes[b] = (uint8_t)hf_random_next(random);
        hf_slice key = {bytes, size};

        assert_ptr_equal(store_table_find(table, value, key), search(table, value, key));
        assert_candidates(table, key);
    }
    assert_int_equal(store_key_hash(hf_slice_of("k")), hf_hash64(0, "k", 1));
}

static void keys_are_found_where_a_plain_search_finds_them(void **state)
{
    static const uint32_t ranges[] = {1, 2, 5, 64};
    struct store_declaration d = tickets();
    struct store_table table;
    hf_random random;

    (void)state;
    hf_random_init(&random, 1);
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        d.hash_ranges = ranges[r];
        assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
        assert_found(&table, &random);
    }
    assert_int_equal(store_table_parse(hf_slice_of(record), &nodes, &arena, &table, NULL), 0);
    assert_found(&table, &random);
    d.partition_by = "";
    d.value_count = 0;
    d.hash_ranges = 7;
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    assert_found(&table, &random);
}

/* Ranges that begin, end, and begin and end at a key's hash. */
static void a_range_has_both_its_ends(void **state)
{
    static const char *const keys[] = {"a", "b", "c"};
    struct store_declaration d = tickets();
    struct store_table table;

    (void)state;
    d.partition_by = "";
    d.value_count = 0;
    assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
    assert_int_equal(table.partition_count, 3);
    for (int i = 0; i < 3; i++) {
        hf_slice key = hf_slice_of(keys[i]), any = hf_slice_of("any");
        uint64_t hash = store_key_hash(key);

        table.partitions[0].hash_to = hash - 1;
        table.partitions[1].hash_from = table.partitions[1].hash_to = hash;
        table.partitions[2].hash_from = hash + 1;
        assert_ptr_equal(store_table_find(&table, any, key), &table.partitions[1]);
        table.partitions[0].hash_to = hash;
        table.partitions[1].hash_from = table.partitions[1].hash_to = hash + 1;
        table.partitions[2].hash_from = hash + 2;
        assert_ptr_equal(store_table_find(&table, any, key), &table.partitions[0]);
        table.partitions[0].hash_to = hash - 2;
        table.partitions[1].hash_from = table.partitions[1].hash_to = hash - 1;
        table.partitions[2].hash_from = hash;
        assert_ptr_equal(store_table_candidate(&table, key, 0), &table.partitions[2]);
    }
}

static void split(const struct store_table *table, uint64_t partition, uint64_t from, uint64_t child, uint64_t version,
                  hf_arena *memory, struct store_table *ret_table)
{
    const struct store_partition given = {.id = child, .parent_version = version};

    assert_int_equal(store_table_split(table, partition, from, &given, memory, ret_table), HF_OK);
}

static void merge(const struct store_table *table, uint64_t partition, uint64_t upper, hf_arena *memory,
                  struct store_table *ret_table)
{
    assert_int_equal(store_table_merge(table, partition, upper, 1000, 0, memory, ret_table), HF_OK);
}

static void no_two_feeds_begin_with_the_same(void **state)
{
    static struct store_partition whole = {.id = 2, .hash_to = UINT64_MAX};
    const struct store_table table = {.partition_count = 1, .partitions = &whole};
    const uint64_t quarter = UINT64_MAX / 4;
    struct store_table split_once, split_twice, merged, merged_all;
    hf_arena memory;

    (void)state;
    hf_arena_init(&memory, 1 << 20);
    split(&table, 2, 2 * quarter, 3, 10, &memory, &split_once);
    split(&split_once, 3, 3 * quarter, 4, 20, &memory, &split_twice);

    merge(&split_twice, 3, 4, &memory, &merged); /* back into its parent, which goes back into its own */
    merge(&merged, 2, 3, &memory, &merged_all);
    assert_int_equal(store_table_feed_begin(&merged_all, store_table_retired(&merged_all, 4)), 21);
    assert_int_equal(store_table_feed_begin(&merged_all, store_table_retired(&merged_all, 3)), 11);

    merge(&split_twice, 2, 3, &memory, &merged); /* its parent is gone before it */
    merge(&merged, 2, 4, &memory, &merged_all);
    assert_int_equal(store_table_feed_begin(&merged_all, store_table_retired(&merged_all, 4)), 11);

    split(&table, 2, quarter, 3, 10, &memory,
          &split_once); /* split again afterwards: the new one has the parent's alone */
    merge(&split_once, 2, 3, &memory, &merged);
    split(&merged, 2, quarter, 5, 30, &memory, &split_twice);
    assert_int_equal(store_table_feed_begin(&split_twice, store_table_retired(&split_twice, 3)), 11);
    hf_arena_done(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_left_out_has_its_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_can_be_declared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_declarations_are_refused_with_what_is_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_hold_for_declarations_in_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_difference_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_declaration_reads_back_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plans_are_whole_and_even, set_up, tear_down),
        cmocka_unit_test_setup_teardown(small_tables_lead_on_different_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(followers_of_a_node_are_spread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plan_owns_its_strings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plans_that_cannot_be_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_survives_its_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replicas_begin_under_ids_that_are_not_void, set_up, tear_down),
        cmocka_unit_test_setup_teardown(members_keep_their_names_when_the_cluster_is_listed_otherwise, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_record_that_does_not_fit_leaves_the_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_records_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_of_newer_releases_and_endless_ones_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_cut_record_is_a_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_says_when_memory_is_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_found_where_a_plain_search_finds_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_has_both_its_ends, set_up, tear_down),
        cmocka_unit_test(no_two_feeds_begin_with_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
