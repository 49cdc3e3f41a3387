/* Records that expire: when they count as absent, when they go, and what is kept about them. */
#include "kit.h"

#include "layout.h"

#include <holdfast/lib/value.h>

enum { SECOND = 1000000 };

static struct store_outcome apply_at(struct kit *kit, uint64_t time_us, struct store_operation operation)
{
    struct kit_command command = {
        .command = {.time_us = time_us, .user = 5, .operations = &operation, .operation_count = 1}};

    return kit_apply(kit->machine, &command);
}

static struct store_operation put_for(hf_slice key, hf_slice value, uint32_t seconds)
{
    struct store_operation operation = kit_put(key, value);

    operation.expire_after = seconds;
    return operation;
}

static uint64_t due(struct kit *kit, uint64_t now_us, struct store_operation *operations, uint64_t capacity,
                    hf_arena *arena)
{
    uint64_t count = 0;

    assert_int_equal(store_machine_due(kit->machine, now_us, arena, operations, capacity, &count, NULL), 0);
    return count;
}

/* Proposes what is due at `now_us`, as a leader does, and returns how many there were. */
static uint64_t expire_at(struct kit *kit, uint64_t now_us)
{
    struct store_operation operations[STORE_EXPIRES_MAX];
    struct kit_command command = {.command = {.time_us = now_us, .operations = operations}};
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    command.command.operation_count = due(kit, now_us, operations, STORE_EXPIRES_MAX, &arena);
    if (command.command.operation_count)
        assert_int_equal(kit_apply(kit->machine, &command).code, 0);
    hf_arena_done(&arena);
    return command.command.operation_count;
}

static int32_t count_row(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    ++*(uint64_t *)arg;
    return 0;
}

static uint64_t count_rows(struct kit *kit, uint8_t tag)
{
    uint8_t next = (uint8_t)(tag + 1);
    uint64_t count = 0;

    assert_int_equal(
        kit_engine->scan(kit->database, SPACE, (hf_slice){&tag, 1}, (hf_slice){&next, 1}, 0, count_row, &count, NULL),
        0);
    return count;
}

/* ---- Deadlines --------------------------------------------------------------------------------------------------- */

static void deadlines_come_from_the_entry(void **state)
{
    struct kit *kit = *state;
    struct store_record record;

    assert_true(store_machine_next_deadline(kit->machine) == UINT64_MAX);
    apply_at(kit, 7 * SECOND, put_for(TEXT("a"), TEXT("1"), 3));
    assert_true(store_machine_next_deadline(kit->machine) <= 10 * SECOND);
    kit_reopen(kit);
    assert_true(store_machine_next_deadline(kit->machine) == 10 * SECOND);
    assert_int_equal(store_machine_get(kit->machine, TEXT("a"), 0, &record, NULL), 0);
    assert_true(record.deadline_us == 10 * SECOND && record.time_us == 7 * SECOND);
    assert_false(store_record_expired(&record, 10 * SECOND - 1));
    assert_true(store_record_expired(&record, 10 * SECOND));
    store_record_release(kit->machine, &record);
    apply_at(kit, UINT64_MAX - 5, put_for(TEXT("b"), TEXT("1"), 1));
    assert_int_equal(store_machine_get(kit->machine, TEXT("b"), 0, &record, NULL), 0);
    assert_true(record.deadline_us == UINT64_MAX);
    store_record_release(kit->machine, &record);
}

static void an_expired_record_is_absent_for_conditions(void **state)
{
    struct kit *kit = *state;
    uint64_t version = apply_at(kit, 1 * SECOND, put_for(TEXT("a"), TEXT("1"), 2)).version;
    struct store_outcome outcome;

    outcome = apply_at(kit, 3 * SECOND - 1, kit_if(kit_put(TEXT("a"), TEXT("2")), STORE_IF_ABSENT, 0));
    assert_true(outcome.code == HF_ECONFLICT && outcome.version == version);
    outcome = apply_at(kit, 3 * SECOND, kit_if(kit_put(TEXT("a"), TEXT("2")), STORE_IF_VERSION, version));
    assert_true(outcome.code == HF_ECONFLICT && outcome.version == 0);
    outcome = apply_at(kit, 3 * SECOND, kit_if(kit_delete(TEXT("a")), STORE_IF_PRESENT, 0));
    assert_true(outcome.code == HF_ECONFLICT && outcome.version == 0);
    outcome = apply_at(kit, 3 * SECOND, kit_if(kit_put(TEXT("a"), TEXT("2")), STORE_IF_ABSENT, 0));
    assert_int_equal(outcome.code, 0);
    kit_expect(kit->machine, TEXT("a"), TEXT("2"), outcome.version);
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 0);
}

static void a_write_sets_moves_and_takes_away_the_deadline(void **state)
{
    struct kit *kit = *state;
    struct store_operation operation;
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    apply_at(kit, 1 * SECOND, put_for(TEXT("a"), TEXT("1"), 2));
    apply_at(kit, 2 * SECOND, put_for(TEXT("a"), TEXT("2"), 1)); /* the same deadline, another version */
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 1);
    assert_int_equal(due(kit, 3 * SECOND, &operation, 1, &arena), 1);
    assert_int_equal(operation.version, 2);
    apply_at(kit, 2 * SECOND, put_for(TEXT("a"), TEXT("3"), 5));
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 1);
    assert_int_equal(due(kit, 7 * SECOND - 1, &operation, 1, &arena), 0);
    assert_true(store_machine_next_deadline(kit->machine) == 7 * SECOND);
    apply_at(kit, 3 * SECOND, kit_put(TEXT("a"), TEXT("4")));
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 0);
    assert_int_equal(due(kit, UINT64_MAX, &operation, 1, &arena), 0);
    assert_true(store_machine_next_deadline(kit->machine) == UINT64_MAX);
    apply_at(kit, 4 * SECOND, put_for(TEXT("a"), TEXT("5"), 1));
    apply_at(kit, 4 * SECOND, kit_delete(TEXT("a")));
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 0);
    assert_int_equal(count_rows(kit, STORE_TAG_RECORD), 0);
    hf_arena_done(&arena);
}

/* ---- Going ------------------------------------------------------------------------------------------------------- */

struct seen {
    uint64_t count;
    struct store_change last;
};

static int32_t see_change(void *arg, const struct store_change *change)
{
    struct seen *seen = arg;

    seen->count++;
    seen->last = *change;
    return 0;
}

static void what_is_due_goes_and_the_feed_says_why(void **state)
{
    struct kit *kit = *state;
    struct seen seen = {.count = 0};

    apply_at(kit, 1 * SECOND, put_for(TEXT("a"), TEXT("1"), 2));
    apply_at(kit, 1 * SECOND, put_for(TEXT("b"), TEXT("1"), 9));
    apply_at(kit, 1 * SECOND, kit_put(TEXT("c"), TEXT("1")));
    assert_int_equal(expire_at(kit, 3 * SECOND - 1), 0);
    kit_expect(kit->machine, TEXT("a"), TEXT("1"), 1);
    assert_int_equal(expire_at(kit, 3 * SECOND), 1);
    kit_expect_none(kit->machine, TEXT("a"));
    kit_expect(kit->machine, TEXT("b"), TEXT("1"), 2);
    kit_expect(kit->machine, TEXT("c"), TEXT("1"), 3);
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 1);
    assert_int_equal(store_machine_changes(kit->machine, 1, see_change, &seen, NULL), 0);
    assert_int_equal(seen.count, 4);
    assert_true(seen.last.type == STORE_EXPIRE && seen.last.version == 4 && seen.last.time_us == 3 * SECOND);
    assert_int_equal(expire_at(kit, 3 * SECOND), 0);
    assert_int_equal(kit_state(kit->machine).version, 4);
}

/* Between the proposal and its place in the log the record may change. */
static void a_record_that_changed_meanwhile_stays(void **state)
{
    struct kit *kit = *state;
    struct store_operation operations[3];
    struct kit_command command = {.command = {.time_us = 5 * SECOND, .operations = operations, .operation_count = 3}};
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    apply_at(kit, 1 * SECOND, put_for(TEXT("a"), TEXT("1"), 1));
    apply_at(kit, 1 * SECOND, put_for(TEXT("b"), TEXT("1"), 2));
    apply_at(kit, 1 * SECOND, put_for(TEXT("c"), TEXT("1"), 3));
    assert_int_equal(due(kit, 5 * SECOND, operations, 3, &arena), 3);
    assert_true(hf_slice_is(operations[0].key, "a") && hf_slice_is(operations[2].key, "c")); /* the earliest first */
    apply_at(kit, 4 * SECOND, put_for(TEXT("a"), TEXT("2"), 1)); /* due as well, and not what was meant */
    apply_at(kit, 4 * SECOND, kit_delete(TEXT("b")));
    kit_apply(kit->machine, &command);
    kit_expect(kit->machine, TEXT("a"), TEXT("2"), 4);
    kit_expect_none(kit->machine, TEXT("c"));
    assert_int_equal(kit_state(kit->machine).feed_last, 6);
    kit_apply(kit->machine, &command); /* again: nothing is left to do, and that is no change */
    assert_int_equal(kit_state(kit->machine).feed_last, 6);
    assert_int_equal(kit_state(kit->machine).version, 7);
    hf_arena_done(&arena);
}

/* A later leader's clock may be behind. */
static void nothing_goes_before_its_time(void **state)
{
    struct kit *kit = *state;
    struct store_operation operation = {
        .type = STORE_EXPIRE, .condition = STORE_IF_VERSION, .version = 1, .key = TEXT("a")};

    apply_at(kit, 5 * SECOND, put_for(TEXT("a"), TEXT("1"), 5));
    assert_int_equal(apply_at(kit, 10 * SECOND - 1, operation).code, 0);
    kit_expect(kit->machine, TEXT("a"), TEXT("1"), 1);
    assert_int_equal(apply_at(kit, 10 * SECOND, operation).code, 0);
    kit_expect_none(kit->machine, TEXT("a"));
}

static void much_is_removed_piece_by_piece(void **state)
{
    enum { RECORDS = 2 * STORE_EXPIRES_MAX + 7 };
    struct kit *kit = *state;
    static struct store_operation operations[RECORDS];
    static char keys[RECORDS][8];
    struct kit_command command = {.command = {.time_us = 1, .operations = operations, .operation_count = RECORDS}};

    for (int i = 0; i < RECORDS; i++) {
        snprintf(keys[i], sizeof keys[i], "%03d", i);
        operations[i] = put_for(hf_slice_of(keys[i]), TEXT("v"), 1);
    }
    assert_int_equal(kit_apply(kit->machine, &command).code, 0);
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), RECORDS);
    assert_int_equal(expire_at(kit, 2 * SECOND), STORE_EXPIRES_MAX);
    assert_int_equal(expire_at(kit, 2 * SECOND), STORE_EXPIRES_MAX);
    kit_reopen(kit);
    assert_int_equal(expire_at(kit, 2 * SECOND), 7);
    assert_int_equal(expire_at(kit, 2 * SECOND), 0);
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 0);
    assert_int_equal(count_rows(kit, STORE_TAG_RECORD), 0);
}

/* ---- What is stored ---------------------------------------------------------------------------------------------- */

static void a_record_without_a_deadline_is_stored_as_before(void **state)
{
    static const uint8_t before[] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 'v'};
    struct kit *kit = *state;
    hf_slice stored = {NULL, 0};

    apply_at(kit, 9, kit_put(TEXT("a"), TEXT("v")));
    assert_int_equal(kit_engine->get(kit->database, SPACE, TEXT("ra"), 0, &stored, NULL), 0);
    assert_int_equal(stored.size, sizeof before);
    assert_memory_equal(stored.data, before, 17); /* then the checksum */
    assert_int_equal(stored.data[21], 'v');
    kit_engine->release(kit->database, stored);
    assert_int_equal(count_rows(kit, STORE_TAG_DEADLINE), 0);
}

static void a_damaged_deadline_is_found(void **state)
{
    struct kit *kit = *state;
    hf_engine_operation bad = {
        .type = HF_ENGINE_PUT, .space = SPACE, .key = TEXT("e1234567"), .value = TEXT("12345678")};
    struct store_operation operation;
    uint64_t count = 7;
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    apply_at(kit, 9, kit_put(TEXT("a"), TEXT("v")));
    assert_int_equal(kit_engine->write(kit->database, &bad, 1, NULL), 0);
    assert_int_equal(store_machine_due(kit->machine, 1, &arena, &operation, 1, &count, NULL), HF_ECORRUPT);
    assert_int_equal(count, 0);
    assert_true(store_machine_next_deadline(kit->machine) == 0); /* to be looked for again */
    bad.key = TEXT("e12345678k");
    bad.value = TEXT("1234567");
    assert_int_equal(kit_engine->write(kit->database, &bad, 1, NULL), 0);
    assert_int_equal(store_machine_due(kit->machine, 1, &arena, &operation, 1, &count, NULL), HF_ECORRUPT);
    hf_arena_done(&arena);
}

int kit_test_expiry(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deadlines_come_from_the_entry),
        TEST(an_expired_record_is_absent_for_conditions),
        TEST(a_write_sets_moves_and_takes_away_the_deadline),
        TEST(what_is_due_goes_and_the_feed_says_why),
        TEST(a_record_that_changed_meanwhile_stays),
        TEST(nothing_goes_before_its_time),
        TEST(much_is_removed_piece_by_piece),
        TEST(a_record_without_a_deadline_is_stored_as_before),
        TEST(a_damaged_deadline_is_found),
    };

    return cmocka_run_group_tests_name("expiry", tests, NULL, NULL);
}
