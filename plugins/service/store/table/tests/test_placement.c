/* Shows that placements and what is known of nodes are read as they were written, and that nothing damaged is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/error.h>

#include "table/table.h"

static const struct store_nodes nodes = {.count = 3, .names = {"n1", "n2", "n3"}};

struct fixture {
    struct store_routing *routing;
    hf_buffer buffer;
};

static int32_t one_table(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    struct fixture *fixture = arg;
    const struct store_declaration declaration = {.name = "t",
                                                  .partition_by = "",
                                                  .hash_ranges = 2,
                                                  .replicas = 2,
                                                  .value_maximum = 1 << 20,
                                                  .keep_changes_us = 1000000,
                                                  .keep_repeats_us = 1000000};
    struct store_table table;
    hf_arena arena;

    if (kind != STORE_RECORDS_OF_TABLES || fixture->buffer.size > 0)
        return HF_ENOTFOUND;
    hf_arena_init(&arena, 1 << 20);
    assert_int_equal(store_table_plan(&declaration, &nodes, 2, &arena, &table, error), 0);
    assert_int_equal(store_table_write(&fixture->buffer, &table, &nodes, error), 0);
    hf_arena_done(&arena);
    *ret_version = 1;
    *ret_json = (hf_slice){fixture->buffer.data, fixture->buffer.size};
    return 0;
}

static int set_up(void **state)
{
    static struct fixture fixture;

    hf_buffer_init(&fixture.buffer, 1 << 20);
    *state = &fixture;
    int32_t r = store_routing_build(&nodes, 1, one_table, &fixture, &fixture.routing, NULL);

    hf_buffer_clear(&fixture.buffer);
    return r;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    store_routing_release(fixture->routing);
    hf_buffer_done(&fixture->buffer);
    return 0;
}

static hf_slice written(const struct fixture *fixture)
{
    return (hf_slice){fixture->buffer.data, fixture->buffer.size};
}

static const struct store_partition *partition(const struct fixture *fixture)
{
    return store_routing_partition(fixture->routing, 3)->partition;
}

static void a_placement_is_read_as_it_was_written(void **state)
{
    struct fixture *fixture = *state;
    struct store_partition moved = *partition(fixture);

    moved.member_count = 2;
    moved.members[0] = 2;
    moved.replicas[0] = store_replica_id(2, 17);
    moved.members[1] = 0;
    moved.replicas[1] = store_replica_id(0, 0);
    moved.leaving_count = 1;
    moved.leaving[0] = store_replica_id(2, 3); /* the same node's, of before it lost its disk */
    assert_int_equal(store_placement_write(&fixture->buffer, &moved, &nodes), 0);
    assert_int_equal(store_placement_apply(written(fixture), 99, fixture->routing, &nodes, NULL), 0);
    const struct store_partition *read = partition(fixture);

    assert_true(read->placement_version == 99 && read->member_count == 2 && read->leaving_count == 1);
    assert_true(read->members[0] == 2 && read->replicas[0] == moved.replicas[0]);
    assert_true(read->members[1] == 0 && read->replicas[1] == moved.replicas[1]);
    assert_true(read->leaving[0] == moved.leaving[0]);
    assert_int_equal(read->first_count, moved.first_count); /* where it began stays */
}

static void a_node_is_read_as_it_was_written(void **state)
{
    struct fixture *fixture = *state;
    const struct store_node_record record = {
        .state = STORE_NODE_DRAINING, .generation = 41, .disk = UINT64_C(0xfedcba9876543210)};

    assert_int_equal(store_node_write(&fixture->buffer, "n2", &record), 0);
    assert_int_equal(store_node_apply(written(fixture), 7, fixture->routing, &nodes, NULL), 0);
    const struct store_node_record *read = &fixture->routing->nodes[1];

    assert_true(read->state == record.state && read->generation == 41 && read->disk == record.disk);
    assert_int_equal(read->version, 7);
}

static void damaged_placements_are_refused(void **state)
{
    static const struct {
        const char *json;
        int32_t code;
    } rows[] = {
        {"", HF_ECORRUPT},
        {"[]", HF_ECORRUPT},
        {"{}", HF_ECORRUPT},
        {"{\"record\":2,\"partition\":3}", HF_EVERSION},
        {"{\"record\":1,\"replicas\":[],\"leaving\":[]}", HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[],\"leaving\":[]}", HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[{\"node\":\"n9\",\"generation\":0}],\"leaving\":[]}",
         HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[{\"node\":\"n1\"}],\"leaving\":[]}", HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[{\"node\":\"n1\",\"generation\":-1}],\"leaving\":[]}",
         HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[{\"node\":\"n1\",\"generation\":0},"
         "{\"node\":\"n1\",\"generation\":0}],\"leaving\":[]}",
         HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3,\"replicas\":[{\"node\":\"n1\",\"generation\":0}]}", HF_ECORRUPT},
        {"{\"record\":1,\"partition\":3000,\"replicas\":[],\"leaving\":[]}", 0}, /* of a table that is gone */
    };
    struct fixture *fixture = *state;
    const struct store_partition before = *partition(fixture);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(store_placement_apply(hf_slice_of(rows[i].json), 5, fixture->routing, &nodes, NULL),
                         rows[i].code);
    assert_memory_equal(&before, partition(fixture), sizeof before);
}

static void damaged_nodes_are_refused(void **state)
{
    static const char *const rows[] = {
        "{\"record\":1,\"name\":\"n1\",\"state\":\"asleep\",\"generation\":0,\"disk\":\"0000000000000000\"}",
        "{\"record\":1,\"name\":\"n1\",\"state\":\"active\",\"disk\":\"0000000000000000\"}",
        "{\"record\":1,\"name\":\"n1\",\"state\":\"active\",\"generation\":0,\"disk\":\"0\"}",
        "{\"record\":1,\"name\":\"n1\",\"state\":\"active\",\"generation\":0,\"disk\":\"000000000000000G\"}",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(store_node_apply(hf_slice_of(rows[i]), 5, fixture->routing, &nodes, NULL), HF_ECORRUPT);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_placement_is_read_as_it_was_written),
        TEST(a_node_is_read_as_it_was_written),
        TEST(damaged_placements_are_refused),
        TEST(damaged_nodes_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
