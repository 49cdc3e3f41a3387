/* Splits and merges: what each of the two partitions then has, and what it answers. */
#include "kit.h"

#include "layout.h"

#include <holdfast/lib/value.h>

enum { OTHER = 20, SECOND = 30, KEYS = 300, SHORT = 4 << 10 };

static const uint64_t middle = UINT64_C(1) << 63;

static struct store_outcome step(struct store_machine *m, struct store_reshape reshape)
{
    uint8_t bytes[STORE_RESHAPE_SIZE];

    store_reshape_encode(bytes, &reshape);
    return kit_apply_bytes(m, (hf_slice){bytes, sizeof bytes}, 5000);
}

static struct store_outcome begin_split(struct store_machine *m, uint64_t other, uint64_t from)
{
    return step(m, (struct store_reshape){.step = STORE_RESHAPE_SPLIT_BEGIN, .other = other, .from = from});
}

static struct store_outcome end_split(struct store_machine *m, uint64_t other)
{
    return step(m, (struct store_reshape){.step = STORE_RESHAPE_SPLIT_END, .other = other});
}

static hf_slice key_of(int i)
{
    static char text[16];

    return (hf_slice){(const uint8_t *)text, (uint64_t)snprintf(text, sizeof text, "k%03d", i)};
}

static int is_upper(int i)
{
    return store_hash_of(key_of(i)) >= middle;
}

static int find_key(int upper)
{
    int i = 0;

    while (is_upper(i) != upper)
        i++;
    return i;
}

static struct store_outcome put(struct store_machine *m, int i, const char *value, const char *idempotency_key,
                                uint32_t expire_after)
{
    struct store_operation operation = kit_put(key_of(i), hf_slice_of(value));
    struct kit_command command = {.command = {.time_us = 1000,
                                              .user = 5,
                                              .idempotency_key = hf_slice_of(idempotency_key),
                                              .operations = &operation,
                                              .operation_count = 1}};

    operation.expire_after = expire_after;
    return kit_apply(m, &command);
}

static void fill(struct store_machine *m, const char *value)
{
    char idempotency_key[16];

    for (int i = 0; i < KEYS; i++) {
        snprintf(idempotency_key, sizeof idempotency_key, "%s-%d", value, i);
        put(m, i, value, i % 7 == 0 ? idempotency_key : "", i % 11 == 0 ? 100 + (uint32_t)i : 0);
    }
}

static void expect_there(struct store_machine *m, int i, const char *value)
{
    struct store_record record;

    assert_int_equal(store_machine_get(m, key_of(i), 0, &record, NULL), 0);
    assert_true(hf_slice_is(record.value, value));
    store_record_release(m, &record);
}

static struct store_outcome trimmed(struct store_machine *m, uint64_t epoch)
{
    return step(m, (struct store_reshape){.step = STORE_RESHAPE_TRIMMED, .index = epoch});
}

/* Removes strays as a leader does. */
static void trim(struct store_machine *m)
{
    static struct store_operation operations[STORE_REMOVES_MAX];
    uint64_t count = 0;

    do {
        hf_arena arena;

        hf_arena_init(&arena, 1 << 20);
        assert_int_equal(store_machine_strays(m, NOTHING, &arena, operations, STORE_REMOVES_MAX, &count, NULL), 0);
        if (count > 0) {
            struct kit_command command = {.command = {.operations = operations, .operation_count = count}};

            assert_int_equal(kit_apply(m, &command).code, 0);
        }
        hf_arena_done(&arena);
    } while (count > 0);
    assert_int_equal(trimmed(m, kit_state(m).shape.epoch).code, 0);
    assert_int_equal(kit_state(m).shape.has_strays, 0);
}

struct counted {
    uint64_t puts, with_value, last;
    int upper, lower;
};

static int32_t count_change(void *arg, const struct store_change *change)
{
    struct counted *counted = arg;

    counted->puts += change->type == STORE_PUT;
    counted->with_value += change->type == STORE_PUT && !change->superseded;
    assert_true(change->version >= counted->last);
    counted->last = change->version;
    *(store_hash_of(change->key) >= middle ? &counted->upper : &counted->lower) += 1;
    return 0;
}

static struct counted read_feed(struct store_machine *m, uint64_t from)
{
    struct counted counted = {0};
    hf_error error = {0};

    if (store_machine_changes(m, from, count_change, &counted, &error) < 0)
        fail_msg("changes: %s", error.message);
    return counted;
}

/* ---- Splits ------------------------------------------------------------------------------------------------------ */

static void a_split_gives_each_its_part(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine, *other;

    fill(m, "before");
    assert_int_equal(begin_split(m, OTHER, middle).code, 0);
    assert_int_equal(store_machine_fork(m, SHORT, NULL), 0);
    fill(m, "while");
    for (int i = 0; i < 20; i++)
        kit_apply_one(m, kit_delete(key_of(i)));
    while (store_machine_fork(m, SHORT, NULL) == 0)
        ;
    assert_true(store_machine_is_forked(m));
    put(m, find_key(1), "last", "last", 0);
    uint64_t before = kit_state(m).version;
    struct store_outcome o = end_split(m, OTHER);

    assert_true(o.code == 0 && o.version == before + 1);
    assert_false(store_machine_is_forked(m));
    other = kit_open_machine(kit->database, kit_engine, OTHER);
    struct store_machine_state of_other = kit_state(other), own = kit_state(m);

    assert_true(of_other.applied_index == 1 && of_other.applied_term == 1 && of_other.version == own.version);
    assert_true(of_other.member_count == 2 && of_other.members[1].learner);
    assert_true(of_other.shape.hash_from == middle && of_other.shape.hash_to == UINT64_MAX);
    assert_true(own.shape.hash_to == middle - 1 && own.shape.has_strays && own.shape.epoch == 1);
    for (int i = 0; i < KEYS; i++) {
        struct store_machine *there = is_upper(i) ? other : m, *not_there = is_upper(i) ? m : other;

        if (i < 20 && i != find_key(1))
            kit_expect_none(there, key_of(i));
        else
            expect_there(there, i, i == find_key(1) ? "last" : "while");
        assert_int_equal(put(not_there, i, "x", "", 0).code, HF_EMOVED);
    }
    trim(m);
    for (int i = 0; i < KEYS; i++)
        if (is_upper(i))
            kit_expect_none(m, key_of(i));
    assert_int_equal(kit_state(m).shape.has_strays, 0);
    assert_int_equal(store_machine_next_deadline(other) < UINT64_MAX, 1);

    /* A request that was done before is known to both, and by its key's partition. */
    assert_true(put(other, 280, "while", "while-280", 0).repeated || put(m, 280, "while", "while-280", 0).repeated);
    assert_true(put(other, find_key(1), "last", "last", 0).repeated);
    store_machine_close(other);
}

static void both_feeds_together_have_everything(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine;

    fill(m, "v");
    struct counted whole = read_feed(m, 1);

    begin_split(m, OTHER, middle);
    end_split(m, OTHER);
    struct store_machine *other = kit_open_machine(kit->database, kit_engine, OTHER);

    trim(m);
    struct counted lower = read_feed(m, 1), upper = read_feed(other, 1);

    assert_true(lower.upper == 0 && upper.lower == 0);
    assert_int_equal(lower.puts + upper.puts, whole.puts);
    assert_int_equal(lower.with_value + upper.with_value, whole.with_value);
    assert_int_equal(kit_apply_one(other, kit_put(key_of(find_key(1)), TEXT("new"))).code, 0);
    assert_int_equal(read_feed(other, kit_state(m).version - 1).puts, 1);
    store_machine_close(other);
    other = kit_open_machine(kit->database, kit_engine, OTHER);
    assert_true(kit_state(other).feed_last > 0);
    store_machine_close(other);
}

static void nothing_is_forgotten_while_it_splits(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_operation operation = kit_put(TEXT("a"), TEXT("1"));
    struct kit_command command = {.command = {.time_us = 10, .operations = &operation, .operation_count = 1}};

    for (int i = 0; i < 10; i++)
        kit_apply(m, &command);
    begin_split(m, OTHER, middle);
    command.feed_horizon_us = 1000;
    kit_apply(m, &command);
    assert_int_equal(kit_state(m).feed_first, 1);
    end_split(m, OTHER);
    kit_apply(m, &command);
    assert_true(kit_state(m).feed_first > 1);
}

static void steps_can_be_repeated(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;

    fill(m, "v");
    assert_int_equal(end_split(m, OTHER).code, HF_ECONFLICT);
    assert_int_equal(begin_split(m, OTHER, 0).code, HF_ECONFLICT);
    assert_int_equal(begin_split(m, OTHER, middle).code, 0);
    assert_int_equal(begin_split(m, OTHER, middle).code, 0);
    assert_int_equal(begin_split(m, SECOND, middle).code, HF_ECONFLICT);
    assert_int_equal(end_split(m, SECOND).code, HF_ECONFLICT);
    struct store_outcome first = end_split(m, OTHER), again = end_split(m, OTHER);

    assert_true(first.code == 0 && again.code == 0 && first.version == again.version);
    assert_int_equal(begin_split(m, OTHER, middle).code, 0);
    assert_int_equal(kit_state(m).shape.state, STORE_SHAPE_STEADY);
}

static void split_machines_can_be_split(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine;

    fill(m, "v");
    begin_split(m, OTHER, middle);
    end_split(m, OTHER);
    assert_int_equal(begin_split(m, SECOND, middle).code, HF_ECONFLICT); /* not its own any more */
    assert_int_equal(begin_split(m, SECOND, middle / 2).code, 0);
    assert_int_equal(end_split(m, SECOND).code, 0);
    assert_int_equal(trimmed(m, 1).code, 0); /* found before the second split */
    assert_int_equal(kit_state(m).shape.has_strays, 1);
    trim(m);
    struct store_machine *other = kit_open_machine(kit->database, kit_engine, OTHER);
    struct store_machine *second = kit_open_machine(kit->database, kit_engine, SECOND);

    for (int i = 0; i < KEYS; i++) {
        uint64_t hash = store_hash_of(key_of(i));

        expect_there(hash >= middle ? other : hash >= middle / 2 ? second : m, i, "v");
    }
    store_machine_close(other);
    store_machine_close(second);
}

/* The copy may be at any point, or not have begun, and a restart loses it. */
static void replicas_agree_however_they_copy(void **state)
{
    struct kit *kit = *state;
    struct store_machine *a = kit->machine, *b = NULL;

    for (int n = 0; n < 2; n++) {
        if (n == 1) /* in the database that was opened anew */
            b = kit_open_machine(kit->database, kit_engine, SPACE + 1);
        struct store_machine *m = n ? b : a;
        uint64_t other = n ? SECOND : OTHER;

        fill(m, "before");
        /* The other's number is in the space, so that both are told the same one; the second one's copy moves. */
        begin_split(m, OTHER, middle);
        for (int i = 0; n == 0 && i < 10; i++)
            store_machine_fork(m, SHORT, NULL);
        if (n == 0) {
            kit_reopen(kit);
            m = a = kit->machine;
            store_machine_fork(m, SHORT, NULL);
        }
        fill(m, "after");
        end_split(m, OTHER);
        if (n == 0) {
            hf_buffer bytes = kit_export(kit->database, OTHER);

            kit_import(kit->database, SECOND, BYTES(bytes));
            hf_buffer_done(&bytes);
        }
        (void)other;
    }
    kit_assert_same_spaces(kit->database, OTHER, SECOND);
    kit_assert_same_spaces(kit->database, SPACE, SPACE + 1);
    store_machine_close(b);
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

static struct store_outcome phase(struct store_machine *m, int32_t which, int32_t decision, uint8_t id, int key)
{
    struct store_operation operation = kit_put(key_of(key), TEXT("t"));
    struct store_command command = {.operations = &operation, .operation_count = 1};
    struct store_phase phase = {.phase = which, .decision = decision, .home = 99, .id = {id}};
    struct store_outcome outcome;
    hf_buffer inner, bytes;

    hf_buffer_init(&inner, 1 << 16);
    hf_buffer_init(&bytes, 1 << 16);
    assert_int_equal(store_command_encode(&inner, &command, NULL), 0);
    phase.command = BYTES(inner);
    assert_int_equal(store_phase_encode(&bytes, &phase, NULL), 0);
    outcome = kit_apply_bytes(m, BYTES(bytes), 1000);
    hf_buffer_done(&inner);
    hf_buffer_done(&bytes);
    return outcome;
}

static void a_split_waits_for_transactions_on_what_goes(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    int upper = find_key(1), lower = find_key(0);

    fill(m, "v");
    begin_split(m, OTHER, middle);
    assert_int_equal(phase(m, STORE_PHASE_PREPARE, 0, 1, upper).code, 0);
    assert_int_equal(end_split(m, OTHER).code, HF_EBUSY);
    assert_int_equal(kit_state(m).shape.state, STORE_SHAPE_CLOSING);
    assert_int_equal(phase(m, STORE_PHASE_PREPARE, 0, 2, upper + 1000).code == 0,
                     store_hash_of(key_of(upper + 1000)) < middle);
    assert_int_equal(phase(m, STORE_PHASE_PREPARE, 0, 3, lower).code, 0);
    assert_int_equal(put(m, upper, "w", "", 0).code, HF_ESTATE); /* locked */
    assert_int_equal(phase(m, STORE_PHASE_FINISH, STORE_DECISION_COMMIT, 1, upper).code, 0);
    assert_int_equal(end_split(m, OTHER).code, 0);
    assert_int_equal(phase(m, STORE_PHASE_PREPARE, 0, 4, upper).code, HF_EMOVED);
    assert_int_equal(phase(m, STORE_PHASE_FINISH, STORE_DECISION_COMMIT, 3, lower).code, 0);
}

/* ---- Merges ------------------------------------------------------------------------------------------------------ */

static void what_was_split_can_be_merged(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine;

    fill(m, "v");
    begin_split(m, OTHER, middle);
    end_split(m, OTHER);
    trim(m);
    struct store_machine *other = kit_open_machine(kit->database, kit_engine, OTHER);

    put(other, find_key(1), "of the other", "of the other", 1000);
    for (int i = 0; i < 50; i++)
        kit_apply_one(other, kit_put(key_of(find_key(1)), TEXT("again")));
    uint64_t index = kit_state(other).applied_index + 1;
    struct store_reshape absorb = {.step = STORE_RESHAPE_ABSORB, .other = OTHER, .from = UINT64_MAX, .index = index};
    struct store_outcome o = step(other, (struct store_reshape){.step = STORE_RESHAPE_CLOSE, .other = SPACE});

    assert_int_equal(o.code, 0);
    assert_int_equal(step(other, (struct store_reshape){.step = STORE_RESHAPE_CLOSE, .other = SPACE}).version,
                     o.version);
    assert_int_equal(put(other, find_key(1), "late", "", 0).code, HF_EMOVED);
    o = step(m, absorb);
    assert_int_equal(o.code, 0);
    assert_true(o.version > kit_state(other).version - 2);
    for (int i = 0; i < KEYS; i++)
        if (i != find_key(1))
            expect_there(m, i, "v");
    expect_there(m, find_key(1), "again");
    assert_true(put(m, find_key(1), "of the other", "of the other", 1000).repeated);
    assert_int_equal(step(m, absorb).version, o.version);
    o = put(m, find_key(1), "newer", "", 0);
    assert_true(o.code == 0 && o.version > kit_state(other).version);
    kit_reopen(kit);
    expect_there(kit->machine, find_key(1), "newer");
    assert_int_equal(kit_state(kit->machine).shape.hash_to, UINT64_MAX);
    store_machine_close(other);
}

static void a_merge_waits(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine;
    struct store_reshape absorb = {.step = STORE_RESHAPE_ABSORB, .other = OTHER, .from = UINT64_MAX, .index = 3};
    uint8_t bytes[STORE_RESHAPE_SIZE];
    struct store_bundle bundle = {.count = 1};
    uint8_t payload[STORE_BUNDLE_HEAD_SIZE + STORE_BUNDLE_COMMAND_HEAD_SIZE + STORE_RESHAPE_SIZE];
    struct store_outcomes outcomes = {0};
    uint64_t applied = 0;

    fill(m, "v");
    begin_split(m, OTHER, middle);
    end_split(m, OTHER);
    assert_int_equal(step(m, absorb).code, HF_ECONFLICT); /* strays */
    trim(m);
    struct store_machine *other = kit_open_machine(kit->database, kit_engine, OTHER);

    store_reshape_encode(bytes, &absorb);
    uint8_t *end =
        store_bundle_write_command(store_bundle_write_head(payload, &bundle), (hf_slice){bytes, sizeof bytes});
    struct store_entry entry = {
        .index = kit_state(m).applied_index + 1, .term = 100, .payload = {payload, (uint64_t)(end - payload)}};

    assert_int_equal(store_machine_apply(m, &entry, 1, 0, &outcomes, &applied, NULL), HF_EBUSY);
    assert_int_equal(phase(other, STORE_PHASE_PREPARE, 0, 1, find_key(1)).code, 0);
    assert_int_equal(step(other, (struct store_reshape){.step = STORE_RESHAPE_CLOSE, .other = SPACE}).code, HF_EBUSY);
    assert_int_equal(phase(other, STORE_PHASE_FINISH, STORE_DECISION_ABORT, 1, find_key(1)).code, 0);
    assert_int_equal(step(other, (struct store_reshape){.step = STORE_RESHAPE_CLOSE, .other = SPACE}).code, 0);
    assert_int_equal(store_machine_apply(m, &entry, 1, HF_ENGINE_CACHED_ONLY, &outcomes, &applied, NULL), HF_EBUSY);
    assert_int_equal(store_machine_apply(m, &entry, 1, 0, &outcomes, &applied, NULL), 0);
    assert_int_equal(outcomes.items[0].code, 0);
    free(outcomes.items);
    store_machine_close(other);
}

static void leftovers_are_discarded(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine, *other = NULL;

    fill(m, "v");
    begin_split(m, OTHER, middle);
    store_machine_fork(m, UINT64_MAX, NULL);
    assert_int_equal(store_machine_open(kit_engine, kit->database, OTHER, NULL, 0, &other, NULL), HF_ECORRUPT);
    assert_int_equal(store_machine_discard(kit_engine, kit->database, OTHER, NULL), 0);
    assert_int_equal(store_machine_open(kit_engine, kit->database, OTHER, NULL, 0, &other, NULL), 0);
    store_machine_close(other);
    assert_int_equal(store_machine_discard(kit_engine, kit->database, SPACE, NULL), 0);
    expect_there(m, 0, "v");
}

int kit_test_reshape(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_split_gives_each_its_part),
        TEST(both_feeds_together_have_everything),
        TEST(nothing_is_forgotten_while_it_splits),
        TEST(steps_can_be_repeated),
        TEST(split_machines_can_be_split),
        TEST(replicas_agree_however_they_copy),
        TEST(a_split_waits_for_transactions_on_what_goes),
        TEST(what_was_split_can_be_merged),
        TEST(a_merge_waits),
        TEST(leftovers_are_discarded),
    };

    return cmocka_run_group_tests_name("reshape", tests, NULL, NULL);
}
