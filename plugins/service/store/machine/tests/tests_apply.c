/* Conditions, batches, idempotency keys, membership, order of entries. */
#include "kit.h"

static void conditions_decide(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_outcome o;

    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("1")), STORE_IF_PRESENT, 0));
    assert_true(o.code == HF_ECONFLICT && o.version == 0 && o.operation == 0 && !o.repeated);
    kit_expect_none(m, TEXT("a"));
    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("2")), STORE_IF_ABSENT, 0));
    assert_true(o.code == 0 && o.version == 2);
    kit_expect(m, TEXT("a"), TEXT("2"), 2);
    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("3")), STORE_IF_ABSENT, 0));
    assert_true(o.code == HF_ECONFLICT && o.version == 2);
    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("4")), STORE_IF_VERSION, 1));
    assert_true(o.code == HF_ECONFLICT && o.version == 2);
    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("5")), STORE_IF_VERSION, 2));
    assert_true(o.code == 0 && o.version == 5);
    o = kit_apply_one(m, kit_if(kit_delete(TEXT("a")), STORE_IF_VERSION, 2));
    assert_true(o.code == HF_ECONFLICT && o.version == 5);
    kit_expect(m, TEXT("a"), TEXT("5"), 5);
    o = kit_apply_one(m, kit_if(kit_delete(TEXT("a")), STORE_IF_PRESENT, 0));
    assert_true(o.code == 0 && o.version == 7);
    kit_expect_none(m, TEXT("a"));
    o = kit_apply_one(m, kit_if(kit_put(TEXT("a"), TEXT("8")), STORE_IF_VERSION, 0));
    assert_true(o.code == HF_ECONFLICT && o.version == 0);
    o = kit_apply_one(m, kit_delete(TEXT("a")));
    assert_true(o.code == 0 && o.version == 9);
    assert_int_equal(kit_state(m).applied_index, 9);
}

static void batches_are_all_or_nothing(void **state)
{
    struct kit *kit = *state;
    struct store_operation operations[] = {kit_put(TEXT("a"), TEXT("new")), kit_delete(TEXT("b")),
                                           kit_if(kit_put(TEXT("c"), TEXT("new")), STORE_IF_VERSION, 1),
                                           kit_put(TEXT("d"), NOTHING)};
    struct kit_command command = {.command = {.operations = operations, .operation_count = 4}};

    kit_apply_one(kit->machine, kit_put(TEXT("b"), TEXT("old")));
    kit_apply_one(kit->machine, kit_put(TEXT("c"), TEXT("old")));
    struct store_outcome o = kit_apply(kit->machine, &command);

    assert_true(o.code == HF_ECONFLICT && o.version == 2 && o.operation == 2);
    kit_reopen(kit);
    kit_expect_none(kit->machine, TEXT("a"));
    kit_expect(kit->machine, TEXT("b"), TEXT("old"), 1);
    kit_expect(kit->machine, TEXT("c"), TEXT("old"), 2);
    assert_int_equal(kit_state(kit->machine).feed_last, 2);

    operations[2].version = 2;
    o = kit_apply(kit->machine, &command);
    assert_true(o.code == 0 && o.version == 4);
    kit_reopen(kit);
    kit_expect(kit->machine, TEXT("a"), TEXT("new"), 4);
    kit_expect_none(kit->machine, TEXT("b"));
    kit_expect(kit->machine, TEXT("c"), TEXT("new"), 4);
    kit_expect(kit->machine, TEXT("d"), NOTHING, 4);
}

/* More operations than one write is meant to take, and entries after it that depend on it in the same call. */
static void the_largest_command_is_one_write(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    static struct store_operation operations[STORE_OPERATIONS_MAX];
    static uint8_t keys[STORE_OPERATIONS_MAX][8], value[4096];
    struct kit_command command = {
        .command = {.time_us = 1, .operations = operations, .operation_count = STORE_OPERATIONS_MAX}};

    for (int i = 0; i < STORE_OPERATIONS_MAX; i++) {
        snprintf((char *)keys[i], sizeof keys[i], "%05d", i);
        operations[i] = kit_put((hf_slice){keys[i], 5}, (hf_slice){value, sizeof value});
    }
    assert_int_equal(kit_apply(m, &command).code, 0);
    kit_expect(m, TEXT("00000"), (hf_slice){value, sizeof value}, 1);
    kit_expect(m, TEXT("00999"), (hf_slice){value, sizeof value}, 1);
    command.command.time_us = 5;
    command.feed_horizon_us = 5;
    assert_int_equal(kit_apply(m, &command).code, 0);
    assert_int_equal(kit_state(m).feed_first, 2);
    kit_expect(m, TEXT("00500"), (hf_slice){value, sizeof value}, 2);
}

static struct store_outcome apply_once(struct store_machine *m, const char *idempotency_key,
                                       struct store_operation operation, uint64_t time_us, uint64_t horizon_us)
{
    struct kit_command command = {
        .command = {.time_us = time_us,
                    .idempotency_key = {(const uint8_t *)idempotency_key, strlen(idempotency_key)},
                    .operations = &operation,
                    .operation_count = 1},
        .repeat_horizon_us = horizon_us,
    };

    return kit_apply(m, &command);
}

static void expect_repeats(struct store_machine *m)
{
    struct store_outcome o = apply_once(m, "good", kit_put(TEXT("a"), TEXT("first")), 50, 0);

    assert_true(o.repeated && o.code == 0 && o.version == 1);
    o = apply_once(m, "good", kit_put(TEXT("a"), TEXT("other")), 50, 0); /* what was asked for then is another thing */
    assert_true(o.repeated && o.code == HF_EINVAL);
    o = apply_once(m, "bad", kit_if(kit_put(TEXT("a"), TEXT("x")), STORE_IF_ABSENT, 0), 50, 0);
    assert_true(o.repeated && o.code == HF_ECONFLICT && o.version == 1 && o.operation == 0);
    kit_expect(m, TEXT("a"), TEXT("first"), 1);
    assert_int_equal(kit_state(m).feed_last, 1);
}

static void a_repeat_has_the_first_outcome(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine, *copy;

    assert_int_equal(apply_once(m, "good", kit_put(TEXT("a"), TEXT("first")), 10, 0).code, 0);
    assert_int_equal(apply_once(m, "bad", kit_if(kit_put(TEXT("a"), TEXT("x")), STORE_IF_ABSENT, 0), 20, 0).code,
                     HF_ECONFLICT);
    expect_repeats(m);
    kit_reopen(kit);
    expect_repeats(kit->machine);

    hf_buffer bytes = kit_export(kit->database, SPACE);

    copy = kit_open_machine(kit->database, kit_engine, SPACE + 1);
    kit_import(kit->database, SPACE + 1, BYTES(bytes));
    assert_int_equal(store_machine_reload(copy, NULL), 0);
    expect_repeats(copy);
    store_machine_close(copy);
    hf_buffer_done(&bytes);
}

static void idempotency_keys_are_forgotten_in_order(void **state)
{
    struct kit *kit = *state;
    const struct store_operation operation = kit_put(TEXT("a"), TEXT("v"));
    char key[16];

    for (int i = 1; i <= 100; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_false(apply_once(kit->machine, key, operation, (uint64_t)i, 0).repeated);
    }
    kit_reopen(kit);
    /* Not the horizon itself: three are older than 4.  Two go with the first entry, the third with the next. */
    assert_true(apply_once(kit->machine, "key-1", operation, 200, 4).repeated);
    assert_false(apply_once(kit->machine, "key-2", operation, 201, 4).repeated);
    assert_false(apply_once(kit->machine, "key-3", operation, 202, 4).repeated);
    assert_true(apply_once(kit->machine, "key-4", operation, 203, 4).repeated);
    assert_true(apply_once(kit->machine, "key-2", operation, 203, 4).repeated);
    for (int i = 0; i < 60; i++)
        kit_apply(kit->machine,
                  &(struct kit_command){.command = {.time_us = 204, .operations = &operation, .operation_count = 1},
                                        .repeat_horizon_us = 202});
    assert_false(apply_once(kit->machine, "key-100", operation, 205, 0).repeated);
    assert_false(apply_once(kit->machine, "key-2", operation, 205, 0).repeated);
    assert_true(apply_once(kit->machine, "key-3", operation, 205, 0).repeated);
}

/* ---- Several commands in an entry -------------------------------------------------------------------------------- */

static struct kit_command command_of(const char *idempotency_key, const struct store_operation *operation)
{
    return (struct kit_command){
        .command = {.time_us = 7,
                    .idempotency_key = {(const uint8_t *)idempotency_key, strlen(idempotency_key)},
                    .operations = operation,
                    .operation_count = 1}};
}

static void commands_of_an_entry_see_each_other(void **state)
{
    struct kit *kit = *state;
    const struct store_operation first = kit_if(kit_put(TEXT("a"), TEXT("1")), STORE_IF_ABSENT, 0),
                                 second = kit_if(kit_put(TEXT("a"), TEXT("2")), STORE_IF_VERSION, 1),
                                 last = kit_delete(TEXT("b"));
    const struct kit_command commands[] = {command_of("x", &first), command_of("", &first), command_of("x", &first),
                                           command_of("", &second), command_of("y", &last)};
    struct store_outcome o[5];

    kit_apply_together(kit->machine, commands, 5, o);
    assert_true(o[0].code == 0 && o[0].version == 1);
    assert_true(o[1].code == HF_ECONFLICT && o[1].version == 1);
    assert_true(o[2].repeated && o[2].code == 0 && o[2].version == 1);
    assert_true(o[3].code == 0 && o[3].version == 4);
    assert_true(o[4].code == 0 && o[4].version == 5);
    for (int reopened = 0; reopened < 2; reopened++) {
        struct store_machine_state s = kit_state(kit->machine);

        assert_true(s.applied_index == 1 && s.version == 5 && s.feed_first == 1 && s.feed_last == 5);
        kit_expect(kit->machine, TEXT("a"), TEXT("2"), 4);
        kit_reopen(kit);
    }
    assert_true(apply_once(kit->machine, "y", last, 8, 0).repeated);
    /* What was remembered together is forgotten together. */
    assert_false(apply_once(kit->machine, "z", last, 9, 8).repeated);
    assert_false(apply_once(kit->machine, "x", last, 9, 8).repeated);
    assert_false(apply_once(kit->machine, "y", last, 9, 8).repeated);
}

/* ---- Entries that are no commands -------------------------------------------------------------------------------- */

/* Outcomes are freed; *ret_code is that of the only one, 0 when there is none. */
static int32_t apply_entry(struct store_machine *m, struct store_entry entry, int32_t *ret_code)
{
    struct store_outcomes outcomes = {0};
    uint64_t applied = 9;
    hf_error error = {0};
    int32_t r = store_machine_apply(m, &entry, 1, 0, &outcomes, &applied, &error);

    assert_int_equal(applied, r == 0);
    assert_int_equal(error.code, r);
    assert_true(r < 0 || entry.outcome_count == outcomes.count);
    *ret_code = r == 0 && outcomes.count == 1 ? outcomes.items[0].code : 0;
    free(outcomes.items);
    return r;
}

static struct store_entry entry_of(uint64_t index, uint64_t term, int32_t type, hf_slice payload)
{
    return (struct store_entry){.index = index, .term = term, .type = type, .payload = payload};
}

static void membership_is_part_of_the_state(void **state)
{
    struct kit *kit = *state;
    hf_replication_member members[40] = {{.replica = 9}, {.replica = UINT64_MAX, .learner = 1}, {.replica = 11}};
    hf_slice three = {(const uint8_t *)members, 3 * sizeof members[0]};
    hf_slice too_many = {(const uint8_t *)members, sizeof members};
    int32_t code;

    assert_int_equal(kit_state(kit->machine).member_count, 2);
    assert_int_equal(apply_entry(kit->machine, entry_of(1, 3, HF_ENTRY_MEMBERSHIP, three), &code), 0);
    kit_reopen(kit);
    struct store_machine_state s = kit_state(kit->machine);

    assert_true(s.applied_index == 1 && s.applied_term == 3 && s.member_count == 3);
    assert_memory_equal(s.members, members, 3 * sizeof members[0]);
    assert_int_equal(apply_entry(kit->machine, entry_of(2, 3, HF_ENTRY_MEMBERSHIP, too_many), &code), 0);
    assert_int_equal(apply_entry(kit->machine, entry_of(3, 4, HF_ENTRY_EMPTY, NOTHING), &code), 0);
    s = kit_state(kit->machine);
    assert_true(s.applied_index == 3 && s.applied_term == 4 && s.member_count == 3 && s.feed_last == 0);
}

static void damaged_commands_are_passed_over_and_newer_ones_are_not(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_operation operation = kit_put(TEXT("a"), TEXT("v"));
    struct kit_command commands[] = {command_of("", &operation)};
    int32_t code = 0;
    hf_buffer payload;

    assert_int_equal(apply_entry(m, entry_of(1, 1, HF_ENTRY_NORMAL, TEXT("\2damage")), &code), 0);
    assert_int_equal(apply_entry(m, entry_of(2, 1, HF_ENTRY_NORMAL, TEXT("\3newer")), &code), HF_EVERSION);
    assert_int_equal(apply_entry(m, entry_of(2, 1, 77, NOTHING), &code), HF_EVERSION);
    assert_int_equal(kit_state(m).applied_index, 1);

    hf_buffer_init(&payload, 1 << 20);
    kit_bundle(&payload, commands, 1);
    uint8_t *format = payload.data + STORE_BUNDLE_HEAD_SIZE + STORE_BUNDLE_COMMAND_HEAD_SIZE;

    assert_int_equal(*format, 2);
    *format = 6;
    assert_int_equal(apply_entry(m, entry_of(2, 1, HF_ENTRY_NORMAL, BYTES(payload)), &code), HF_EVERSION);
    *format = 0;
    assert_int_equal(apply_entry(m, entry_of(2, 1, HF_ENTRY_NORMAL, BYTES(payload)), &code), 0);
    assert_int_equal(code, HF_ECORRUPT);
    *format = 2;
    assert_int_equal(apply_entry(m, entry_of(3, 1, HF_ENTRY_NORMAL, BYTES(payload)), &code), 0);
    assert_int_equal(code, 0);
    kit_expect(m, TEXT("a"), TEXT("v"), 1);
    hf_buffer_done(&payload);
}

static void entries_out_of_order_are_refused(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_outcomes outcomes = {0};
    uint64_t applied = 0;
    int32_t code;
    struct store_entry entries[] = {entry_of(1, 5, HF_ENTRY_EMPTY, NOTHING), entry_of(2, 5, HF_ENTRY_EMPTY, NOTHING),
                                    entry_of(2, 5, HF_ENTRY_EMPTY, NOTHING)};

    assert_int_equal(apply_entry(m, entry_of(0, 1, HF_ENTRY_EMPTY, NOTHING), &code), HF_EINVAL);
    assert_int_equal(apply_entry(m, entry_of(2, 1, HF_ENTRY_EMPTY, NOTHING), &code), HF_EINVAL);
    assert_int_equal(store_machine_apply(m, entries, 3, 0, &outcomes, &applied, NULL), HF_EINVAL);
    assert_int_equal(applied, 2); /* what came before is applied */
    assert_int_equal(kit_state(m).applied_index, 2);
    assert_int_equal(apply_entry(m, entry_of(3, 4, HF_ENTRY_EMPTY, NOTHING), &code), HF_EINVAL);
    assert_int_equal(store_machine_apply(m, entries, 0, 0, &outcomes, &applied, NULL), 0);
    assert_int_equal(applied, 0);
    free(outcomes.items);
}

static void erasing_leaves_nothing(void **state)
{
    struct kit *kit = *state;
    struct store_machine *neighbour = kit_open_machine(kit->database, kit_engine, SPACE + 1);

    kit_apply_one(neighbour, kit_put(TEXT("a"), TEXT("stays")));
    apply_once(kit->machine, "once", kit_put(TEXT("a"), TEXT("v")), 1, 0);
    assert_int_equal(store_machine_erase(kit->machine, NULL), 0);
    struct store_machine_state s = kit_state(kit->machine);

    assert_true(s.applied_index == 0 && s.feed_first == 1 && s.feed_last == 0 && s.member_count == 0);
    kit_expect_none(kit->machine, TEXT("a"));
    assert_false(apply_once(kit->machine, "once", kit_put(TEXT("a"), TEXT("v")), 1, 0).repeated);
    kit_expect(neighbour, TEXT("a"), TEXT("stays"), 1);
    store_machine_close(neighbour);
}

int kit_test_apply(void)
{
    const struct CMUnitTest tests[] = {
        TEST(conditions_decide),
        TEST(batches_are_all_or_nothing),
        TEST(the_largest_command_is_one_write),
        TEST(a_repeat_has_the_first_outcome),
        TEST(idempotency_keys_are_forgotten_in_order),
        TEST(commands_of_an_entry_see_each_other),
        TEST(membership_is_part_of_the_state),
        TEST(damaged_commands_are_passed_over_and_newer_ones_are_not),
        TEST(entries_out_of_order_are_refused),
        TEST(erasing_leaves_nothing),
    };

    return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
