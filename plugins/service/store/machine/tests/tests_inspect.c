/* What is looked through: everything, as of one moment, the same on every replica; and damage is counted. */
#include "kit.h"

#include "inspect.h"

static void look_through(struct store_inspection *inspection, uint64_t piece)
{
    int32_t more = 1;

    while (more)
        assert_int_equal(store_inspection_go_on(inspection, piece, &more, NULL), 0);
    store_inspection_close(inspection);
}

static struct store_inspection *begin(struct store_machine *machine)
{
    struct store_inspection *inspection = NULL;

    assert_int_equal(store_inspection_begin(machine, &inspection, NULL), 0);
    return inspection;
}

static void apply_random(struct store_machine *machine, uint64_t from, uint64_t to)
{
    for (uint64_t index = from; index <= to; index++) {
        struct kit_random_entry random;
        struct store_outcomes outcomes = {0};
        uint64_t applied = 0;

        kit_random_entry(&random, 11, index);
        assert_int_equal(store_machine_apply(machine, &random.entry, 1, 0, &outcomes, &applied, NULL), 0);
        free(outcomes.items);
        hf_buffer_done(&random.payload);
    }
}

static void a_view_is_of_one_moment_and_read_in_any_pieces(void **state)
{
    struct kit *kit = *state;
    struct store_machine *other = kit_open_machine(kit->database, kit_engine, SPACE + 1);

    apply_random(kit->machine, 1, 300);
    apply_random(other, 1, 300);
    struct store_inspection *a = begin(kit->machine), *b = begin(other);

    apply_random(other, 301, 330); /* does not show */
    look_through(a, 100);
    look_through(b, 1 << 20);
    assert_int_equal(a->damaged, 0);
    assert_int_equal(a->state.applied_index, 300);
    assert_true(a->rows > 20);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(&a->tree, &b->tree, sizeof a->tree);
    store_inspection_free(b);
    b = begin(other);
    look_through(b, 1000);
    assert_memory_not_equal(&a->tree, &b->tree, sizeof a->tree);
    store_inspection_free(a);
    store_inspection_free(b);
    store_machine_close(other);
}

static void damage(struct kit *kit, hf_slice key, uint64_t at)
{
    hf_slice stored = {NULL, 0};
    uint8_t bytes[256];

    assert_int_equal(kit_engine->get(kit->database, SPACE, key, 0, &stored, NULL), 0);
    assert_true(stored.size <= sizeof bytes);
    memcpy(bytes, stored.data, stored.size);
    bytes[at < stored.size ? at : stored.size - 1] ^= 0x40;
    hf_engine_operation operation = {.type = HF_ENGINE_PUT, .space = SPACE, .key = key, .value = {bytes, stored.size}};

    kit_engine->release(kit->database, stored);
    assert_int_equal(kit_engine->write(kit->database, &operation, 1, NULL), 0);
}

static uint64_t count_damaged(struct kit *kit, const char *expected)
{
    struct store_inspection *inspection = begin(kit->machine);

    look_through(inspection, 1 << 16);
    uint64_t damaged = inspection->damaged;

    if (damaged)
        assert_non_null(strstr(inspection->first.message, expected));
    store_inspection_free(inspection);
    return damaged;
}

static void damaged_values_are_counted(void **state)
{
    struct kit *kit = *state;

    for (int i = 0; i < 10; i++) {
        char key[8];

        snprintf(key, sizeof key, "key%d", i);
        kit_apply_one(kit->machine, kit_put((hf_slice){(const uint8_t *)key, 4}, TEXT("a value of some length")));
    }
    assert_int_equal(count_damaged(kit, ""), 0);
    damage(kit, TEXT("rkey3"), 30);
    assert_int_equal(count_damaged(kit, "checksum"), 1);
    damage(kit, TEXT("rkey7"), UINT64_MAX);
    assert_int_equal(count_damaged(kit, "checksum"), 2);
    damage(kit, TEXT("a"), 10);
    assert_int_equal(count_damaged(kit, ""), 3);
}

static void rows_of_newer_releases_are_no_damage(void **state)
{
    struct kit *kit = *state;
    hf_engine_operation operation = {.type = HF_ENGINE_PUT, .space = SPACE, .key = TEXT("z"), .value = TEXT("?")};

    kit_apply_one(kit->machine, kit_put(TEXT("key"), TEXT("value")));
    assert_int_equal(kit_engine->write(kit->database, &operation, 1, NULL), 0);
    assert_int_equal(count_damaged(kit, ""), 0);
}

int kit_test_inspect(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_view_is_of_one_moment_and_read_in_any_pieces),
        TEST(damaged_values_are_counted),
        TEST(rows_of_newer_releases_are_no_damage),
    };

    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
