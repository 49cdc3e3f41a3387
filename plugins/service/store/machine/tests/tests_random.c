/* Random entries: the machine does what the model does; and how entries are divided into calls, failing disks and
 * reopening make no difference to a single stored byte. */
#include "kit.h"
#include "model.h"

enum { ENTRIES = 220, ROUNDS = 150, SEED = 20240229 };

/* ---- An engine that fails now and then --------------------------------------------------------------------------- */

static struct {
    hf_engine table;
    hf_random random;
    uint64_t one_in; /* 0: never */
    uint64_t failures;
} faulty;

static int fails(void)
{
    if (faulty.one_in == 0 || hf_random_below(&faulty.random, faulty.one_in) != 0)
        return 0;
    faulty.failures++;
    return 1;
}

static int32_t faulty_write(hf_engine_database *database, const hf_engine_operation *operations, uint64_t count,
                            hf_error *error)
{
    return fails() ? HF_EBUSY : kit_engine->write(database, operations, count, error);
}

static int32_t faulty_get(hf_engine_database *database, uint64_t space, hf_slice key, uint32_t flags,
                          hf_slice *ret_value, hf_error *error)
{
    return fails() ? HF_EIO : kit_engine->get(database, space, key, flags, ret_value, error);
}

static int32_t faulty_scan(hf_engine_database *database, uint64_t space, hf_slice from, hf_slice to, uint32_t flags,
                           hf_engine_visit visit, void *arg, hf_error *error)
{
    return fails() ? HF_EIO : kit_engine->scan(database, space, from, to, flags, visit, arg, error);
}

static const hf_engine *make_faulty(uint64_t seed)
{
    faulty.table = *kit_engine;
    faulty.table.write = faulty_write;
    faulty.table.get = faulty_get;
    faulty.table.scan = faulty_scan;
    faulty.one_in = 0;
    hf_random_init(&faulty.random, seed);
    return &faulty.table;
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

static void assert_outcome(struct store_outcome a, struct store_outcome b)
{
    assert_int_equal(a.code, b.code);
    assert_int_equal(a.repeated, b.repeated);
    assert_int_equal(a.version, b.version);
    assert_int_equal(a.operation, b.operation);
}

static void assert_state(struct store_machine *machine, const struct store_machine_state *expected)
{
    struct store_machine_state state = kit_state(machine);

    assert_memory_equal(&state, expected, sizeof state);
}

static int32_t compare_record(void *arg, hf_slice key, const struct store_record *record)
{
    struct {
        const struct model *model;
        int count;
    } *comparison = arg;
    const struct model_record *expected = model_find(comparison->model, key);

    assert_non_null(expected);
    assert_true(record->version == expected->version && record->time_us == expected->time_us);
    assert_true(record->deadline_us == expected->deadline_us);
    assert_int_equal(record->value.size, expected->value_size);
    assert_memory_equal(record->value.data, expected->value, expected->value_size);
    comparison->count++;
    return 0;
}

static void assert_records(struct store_machine *machine, const struct model *model)
{
    struct {
        const struct model *model;
        int count;
    } comparison = {model, 0};

    assert_int_equal(store_machine_scan(machine, NOTHING, NOTHING, 0, compare_record, &comparison, NULL), 0);
    for (int i = 0; i < MODEL_RECORDS; i++)
        comparison.count -= model->records[i].version != 0;
    assert_int_equal(comparison.count, 0);
}

/* For each record that has a deadline there is its row, and no other. */
static void assert_deadlines(struct store_machine *machine, const struct model *model)
{
    struct store_operation due[MODEL_RECORDS];
    uint64_t count = 0, earliest = UINT64_MAX;
    hf_arena arena;

    hf_arena_init(&arena, 1 << 20);
    for (int i = 0; i < MODEL_RECORDS; i++)
        if (model->records[i].deadline_us && model->records[i].deadline_us < earliest)
            earliest = model->records[i].deadline_us;
    assert_true(store_machine_next_deadline(machine) <= earliest);
    assert_int_equal(store_machine_due(machine, UINT64_MAX, &arena, due, MODEL_RECORDS, &count, NULL), 0);
    assert_true(store_machine_next_deadline(machine) == earliest);
    for (uint64_t i = 0; i < count; i++) {
        const struct model_record *record = model_find(model, due[i].key);

        assert_true(record && record->deadline_us && record->version == due[i].version);
    }
    for (int i = 0; i < MODEL_RECORDS; i++)
        count -= model->records[i].deadline_us != 0;
    assert_int_equal(count, 0);
    hf_arena_done(&arena);
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------ */

static struct kit_random_entry random_entries[ENTRIES];
static struct store_entry entries[ENTRIES];
static struct store_outcome expected[ENTRIES][KIT_COMMANDS_MAX];
static uint64_t expired; /* records, in all rounds */

/* What the applied entries of *outcomes are said to have come to. */
static void assert_outcomes(const struct store_outcomes *outcomes, uint64_t first, uint64_t applied)
{
    uint64_t at = 0;

    for (uint64_t i = first; i < first + applied; i++) {
        assert_int_equal(entries[i].outcome_count, random_entries[i].command_count);
        for (uint32_t j = 0; j < entries[i].outcome_count; j++)
            assert_outcome(outcomes->items[at++], expected[i][j]);
    }
    assert_true(at <= outcomes->count);
}

static void apply_one_by_one(struct store_machine *machine, struct model *model)
{
    struct store_outcomes outcomes = {0};

    for (uint64_t i = 0; i < ENTRIES; i++) {
        uint64_t applied = 0;

        model_apply(model, &random_entries[i], expected[i]);
        assert_int_equal(store_machine_apply(machine, &entries[i], 1, 0, &outcomes, &applied, NULL), 0);
        assert_outcomes(&outcomes, i, 1);
        assert_state(machine, &model->state);
    }
    assert_records(machine, model);
    assert_deadlines(machine, model);
    expired += model->expired;
    free(outcomes.items);
}

/* Opening may fail, too. */
static void reopen(struct kit *kit, uint64_t space, struct store_machine **machine)
{
    store_machine_close(*machine);
    faulty.one_in = 0;
    *machine = kit_open_machine(kit->database, &faulty.table, space);
}

static void apply_divided(struct kit *kit, uint64_t space, struct store_machine **machine, uint64_t one_in)
{
    struct store_outcomes outcomes = {0};
    uint64_t done = 0;

    while (done < ENTRIES) {
        uint64_t count = 1 + hf_random_below(&faulty.random, hf_random_below(&faulty.random, ENTRIES - done) + 1),
                 applied = UINT64_MAX;

        faulty.one_in = one_in;
        int32_t r = store_machine_apply(*machine, entries + done, count, 0, &outcomes, &applied, NULL);

        faulty.one_in = 0;
        assert_true(r == 0 ? applied == count : one_in && applied < count && (r == HF_EBUSY || r == HF_EIO));
        assert_outcomes(&outcomes, done, applied);
        done += applied;
        assert_int_equal(kit_state(*machine).applied_index, done);
        if (hf_random_below(&faulty.random, 4) == 0)
            reopen(kit, space, machine);
    }
    free(outcomes.items);
}

static void run_round(struct kit *kit, uint64_t round)
{
    uint64_t space = 100 + 2 * round;
    struct model *model = calloc(1, sizeof *model);
    struct store_machine *simple = kit_open_machine(kit->database, kit_engine, space);
    struct store_machine *divided = kit_open_machine(kit->database, make_faulty(SEED + round), space + 1);

    assert_non_null(model);
    model->state = kit_state(simple);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        kit_random_entry(&random_entries[i], SEED + round, i + 1);
        entries[i] = random_entries[i].entry;
    }
    apply_one_by_one(simple, model);
    apply_divided(kit, space + 1, &divided, round % 2 ? 12 : 0);
    assert_state(divided, &model->state);
    kit_assert_same_spaces(kit->database, space, space + 1);
    assert_int_equal(store_machine_erase(simple, NULL), 0);
    assert_int_equal(store_machine_erase(divided, NULL), 0);
    store_machine_close(simple);
    store_machine_close(divided);
    free(model);
    for (int i = 0; i < ENTRIES; i++)
        hf_buffer_done(&random_entries[i].payload);
}

static void division_and_failures_make_no_difference(void **state)
{
    uint64_t conflicts = 0, repeats = 0;

    for (uint64_t round = 0; round < ROUNDS; round++) {
        run_round(*state, round);
        for (int i = 0; i < ENTRIES; i++)
            for (uint32_t j = 0; j < random_entries[i].command_count; j++) {
                conflicts += expected[i][j].code == HF_ECONFLICT && !expected[i][j].repeated;
                repeats += (uint64_t)expected[i][j].repeated;
            }
    }
    print_message("%d conflicts, %d repeats, %d failures, %d expired\n", (int)conflicts, (int)repeats,
                  (int)faulty.failures, (int)expired);
    /* The rounds have met what they are for. */
    assert_true(conflicts > 5 * ROUNDS && repeats > 2 * ROUNDS && faulty.failures > ROUNDS && expired > ROUNDS / 10);
}

int kit_test_random(void)
{
    const struct CMUnitTest tests[] = {TEST(division_and_failures_make_no_difference)};

    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
