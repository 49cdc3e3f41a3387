/* Shows that a routing finds every table and partition, refuses a catalog that contradicts itself, and lives exactly
 * as long as somebody holds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include <holdfast/lib/error.h>

#include "table/table.h"

enum { TABLES = 40, RANGES = 9, THREADS = 4, TURNS = 20000 };

static const struct store_nodes nodes = {.count = 3, .names = {"n1", "n2", "n3"}};

/* Gives records of tables, each in memory that is overwritten by the next. */
struct catalog {
    uint32_t count;
    uint32_t place;
    int32_t (*change)(uint32_t place, struct store_declaration *d, uint64_t *id); /* or NULL */
    hf_buffer buffer;
};

static int32_t next_record(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    struct catalog *catalog = arg;
    char name[16];
    struct store_declaration d = {.name = name,
                                  .partition_by = "",
                                  .hash_ranges = RANGES,
                                  .replicas = 2,
                                  .value_maximum = 1 << 20,
                                  .keep_changes_us = 1000000,
                                  .keep_repeats_us = 1000000};
    /* Neither names nor ids come in order. */
    uint64_t id = 2 + (uint64_t)(catalog->count - 1 - catalog->place) * RANGES;
    struct store_table table;
    hf_arena arena;

    *ret_version = catalog->place + 1;
    if (kind != STORE_RECORDS_OF_TABLES || catalog->place == catalog->count)
        return HF_ENOTFOUND;
    snprintf(name, sizeof name, "t%u", (unsigned)(catalog->place * 7 % catalog->count));
    if (catalog->change) {
        int32_t r = catalog->change(catalog->place, &d, &id);

        if (r < 0)
            return hf_error_set(error, r, "the catalog cannot be read");
    }
    hf_arena_init(&arena, 1 << 20);
    memset(catalog->buffer.data, 'x', catalog->buffer.size);
    hf_buffer_clear(&catalog->buffer);
    assert_int_equal(store_table_plan(&d, &nodes, id, &arena, &table, NULL), 0);
    assert_int_equal(store_table_write(&catalog->buffer, &table, &nodes, NULL), 0);
    hf_arena_done(&arena);
    catalog->place++;
    *ret_json = (hf_slice){catalog->buffer.data, catalog->buffer.size};
    return 0;
}

static int32_t build(uint32_t count, int32_t (*change)(uint32_t, struct store_declaration *, uint64_t *),
                     struct store_routing **ret_routing, hf_error *error)
{
    struct catalog catalog = {.count = count, .change = change};

    hf_buffer_init(&catalog.buffer, 1 << 20);
    assert_int_equal(hf_buffer_reserve(&catalog.buffer, 1), 0);
    int32_t r = store_routing_build(&nodes, 42, next_record, &catalog, ret_routing, error);

    hf_buffer_done(&catalog.buffer);
    return r;
}

static void the_catalog_is_there_before_any_table(void **state)
{
    struct store_routing *routing = NULL;

    (void)state;
    assert_int_equal(build(0, NULL, &routing, NULL), 0);
    assert_true(routing->catalog_index == 42 && routing->table_count == 1 && routing->partition_count == 1);
    const struct store_table *table = store_routing_table(routing, hf_slice_of(STORE_CATALOG_TABLE));
    const struct store_routed *routed = store_routing_partition(routing, STORE_CATALOG_PARTITION);

    assert_non_null(table);
    assert_non_null(routed);
    assert_ptr_equal(routed->table, table);
    assert_ptr_equal(store_table_find(table, hf_slice_of(""), hf_slice_of("tables/t")), routed->partition);
    assert_int_equal(table->declaration.format, STORE_FORMAT_JSON);
    assert_int_equal(table->declaration.replicas, nodes.count);
    assert_int_equal(routed->partition->member_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(routed->partition->members[i], i);
    store_routing_release(routing);
    store_routing_release(NULL);
}

static void every_table_and_partition_is_found(void **state)
{
    struct store_routing *routing = NULL;

    (void)state;
    assert_int_equal(build(TABLES, NULL, &routing, NULL), 0);
    assert_int_equal(routing->table_count, 1 + TABLES);
    assert_int_equal(routing->partition_count, 1 + TABLES * RANGES);
    for (uint32_t i = 0; i < TABLES; i++) {
        char name[16];

        snprintf(name, sizeof name, "t%u", (unsigned)i);
        const struct store_table *table = store_routing_table(routing, hf_slice_of(name));

        assert_non_null(table);
        assert_string_equal(table->declaration.name, name);
        for (uint32_t p = 0; p < table->partition_count; p++) {
            const struct store_routed *routed = store_routing_partition(routing, table->partitions[p].id);

            assert_non_null(routed);
            assert_ptr_equal(routed->table, table);
            assert_ptr_equal(routed->partition, &table->partitions[p]);
        }
    }
    for (uint32_t i = 1; i < routing->table_count; i++)
        assert_true(strcmp(routing->tables[i - 1]->declaration.name, routing->tables[i]->declaration.name) < 0);
    for (uint32_t i = 1; i < routing->partition_count; i++)
        assert_true(routing->partitions[i - 1].partition->id < routing->partitions[i].partition->id);
    assert_null(store_routing_table(routing, hf_slice_of("t40")));
    assert_null(store_routing_table(routing, hf_slice_of("t")));
    assert_null(store_routing_table(routing, (hf_slice){NULL, 0}));
    assert_null(store_routing_partition(routing, 0));
    assert_null(store_routing_partition(routing, 2 + TABLES * RANGES));
    assert_null(store_routing_partition(routing, UINT64_MAX));
    store_routing_release(routing);
}

static int32_t same_name(uint32_t place, struct store_declaration *d, uint64_t *id)
{
    (void)id;
    if (place == 5)
        d->name = "t7";
    return 0;
}

static int32_t same_id(uint32_t place, struct store_declaration *d, uint64_t *id)
{
    (void)d;
    *id += place == 0; /* its last range is then the next table's first */
    *id -= place == 1;
    return 0;
}

static int32_t disk_error(uint32_t place, struct store_declaration *d, uint64_t *id)
{
    (void)d;
    (void)id;
    return place == 3 ? HF_EIO : 0;
}

static int32_t damaged_record(void *arg, int32_t kind, hf_slice *ret_json, uint64_t *ret_version, hf_error *error)
{
    (void)arg, (void)kind, (void)error;
    *ret_version = 1;
    *ret_json = hf_slice_of("{\"record\":1}");
    return 0;
}

static void contradictions_and_errors_end_the_building(void **state)
{
    struct store_routing *routing = NULL;
    struct store_nodes none = {0};
    hf_error error;

    (void)state;
    assert_int_equal(build(TABLES, same_name, &routing, &error), HF_ECORRUPT);
    assert_non_null(strstr(error.message, "two records of table 't7'"));
    assert_int_equal(build(TABLES, same_id, &routing, &error), HF_ECORRUPT);
    assert_non_null(strstr(error.message, "both have a partition"));
    assert_int_equal(build(TABLES, disk_error, &routing, &error), HF_EIO);
    assert_string_equal(error.message, "the catalog cannot be read");
    assert_int_equal(store_routing_build(&nodes, 1, damaged_record, NULL, &routing, &error), HF_ECORRUPT);
    assert_int_equal(store_routing_build(&none, 1, damaged_record, NULL, &routing, &error), HF_EINVAL);
    assert_null(routing);
}

/* ---- Many holders ------------------------------------------------------------------------------------------------ */

static void *hold_and_release(void *arg)
{
    struct store_routing *routing = arg;
    uint64_t found = 0;

    for (int i = 0; i < TURNS; i++) {
        struct store_routing *held = store_routing_hold(routing);

        found += store_routing_partition(held, (uint64_t)i % (TABLES * RANGES) + 2) != NULL;
        store_routing_release(held);
    }
    store_routing_release(routing); /* the thread's own; the last one frees */
    return (void *)(uintptr_t)found;
}

static void the_last_holder_frees(void **state)
{
    struct store_routing *routing = NULL;
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(build(TABLES, NULL, &routing, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, store_routing_hold(routing)), 0);
    struct store_routing *kept = store_routing_hold(routing);

    store_routing_release(routing);
    for (int i = 0; i < THREADS; i++) {
        void *found = NULL;

        assert_int_equal(pthread_join(threads[i], &found), 0);
        assert_int_equal((uintptr_t)found, TURNS);
    }
    assert_int_equal(atomic_load(&kept->references), 1);
    assert_non_null(store_routing_table(kept, hf_slice_of("t0")));
    store_routing_release(kept);
}

/* Nobody waits for anybody: whichever thread is last frees, which the sanitizers watch. */
static void any_thread_may_be_the_last(void **state)
{
    (void)state;
    for (int turn = 0; turn < 50; turn++) {
        struct store_routing *routing = NULL;
        pthread_t threads[THREADS];

        assert_int_equal(build(2, NULL, &routing, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            store_routing_hold(routing);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, routing), 0);
        store_routing_release(routing);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_catalog_is_there_before_any_table),
        cmocka_unit_test(every_table_and_partition_is_found),
        cmocka_unit_test(contradictions_and_errors_end_the_building),
        cmocka_unit_test(the_last_holder_frees),
        cmocka_unit_test(any_thread_may_be_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
