/* Transactions over partitions: their phases by example, and then many at random over several machines, with senders
 * that die between any two phases, phases that come late or twice, and restarts. */
#include "kit.h"

#include <holdfast/lib/value.h>

enum { PATIENCE = 50, MACHINES = 4 };

/* ---- By example -------------------------------------------------------------------------------------------------- */

static void append_command(hf_buffer *payload, const hf_buffer *command, uint64_t time_us)
{
    struct store_bundle bundle = {.time_us = time_us, .count = 1};
    uint64_t size = STORE_BUNDLE_HEAD_SIZE + STORE_BUNDLE_COMMAND_HEAD_SIZE + command->size;

    assert_int_equal(hf_buffer_reserve(payload, size), 0);
    store_bundle_write_command(store_bundle_write_head(payload->data, &bundle), BYTES(*command));
    payload->size = size;
}

static struct store_outcome apply_bytes(struct store_machine *machine, const hf_buffer *command, uint64_t time_us)
{
    struct store_outcomes outcomes = {0};
    struct store_machine_state before = kit_state(machine);
    struct store_entry entry = {
        .index = before.applied_index + 1, .term = before.applied_term, .type = HF_ENTRY_NORMAL};
    uint64_t applied = 0;
    hf_buffer payload;

    hf_buffer_init(&payload, 1 << 20);
    append_command(&payload, command, time_us);
    entry.payload = BYTES(payload);
    assert_int_equal(store_machine_apply(machine, &entry, 1, 0, &outcomes, &applied, NULL), 0);
    assert_int_equal(outcomes.count, 1);
    struct store_outcome outcome = outcomes.items[0];

    free(outcomes.items);
    hf_buffer_done(&payload);
    return outcome;
}

static struct store_outcome apply_phase(struct store_machine *machine, const struct store_phase *phase,
                                        uint64_t time_us)
{
    hf_buffer bytes;

    hf_buffer_init(&bytes, 1 << 20);
    assert_int_equal(store_phase_encode(&bytes, phase, NULL), 0);
    struct store_outcome outcome = apply_bytes(machine, &bytes, time_us);

    hf_buffer_done(&bytes);
    return outcome;
}

static struct store_phase phase_of(int32_t phase, uint8_t id, int32_t decision)
{
    return (struct store_phase){.phase = phase, .id = {id}, .decision = decision, .patience_us = PATIENCE};
}

static struct store_outcome prepare(struct store_machine *machine, uint8_t id, uint64_t home, const char *key,
                                    struct store_operation operation, uint64_t time_us)
{
    struct store_command command = {
        .idempotency_key = hf_slice_of(key), .operations = &operation, .operation_count = 1};
    struct store_phase phase = phase_of(STORE_PHASE_PREPARE, id, 0);
    hf_buffer bytes;

    hf_buffer_init(&bytes, 1 << 20);
    assert_int_equal(store_command_encode(&bytes, &command, NULL), 0);
    phase.home = home;
    phase.participant_count = home == 1;
    phase.participants[0] = 2;
    phase.command = BYTES(bytes);
    struct store_outcome outcome = apply_phase(machine, &phase, time_us);

    hf_buffer_done(&bytes);
    return outcome;
}

static int is_locked(struct store_machine *machine, hf_slice key)
{
    return store_machine_locked(machine, key, 0, NULL);
}

static void a_prepared_record_is_locked_until_the_decision(void **state)
{
    struct kit *kit = *state;
    struct store_machine *m = kit->machine;
    hf_buffer first;

    kit_apply_one(m, kit_put(TEXT("a"), TEXT("old")));
    assert_int_equal(prepare(m, 1, 1, "", kit_put(TEXT("a"), TEXT("new")), 100).code, 0);
    assert_int_equal(is_locked(m, TEXT("a")), 1);
    assert_int_equal(is_locked(m, TEXT("b")), 0);
    assert_int_equal(kit_apply_one(m, kit_put(TEXT("a"), TEXT("other"))).code, HF_ESTATE);
    assert_int_equal(prepare(m, 2, 1, "", kit_put(TEXT("a"), TEXT("x")), 100).code, HF_ESTATE);
    kit_expect(m, TEXT("a"), TEXT("old"), 1);
    hf_buffer_init(&first, 100);
    assert_int_equal(store_machine_first_lock(m, NOTHING, NOTHING, &first, NULL), 1);
    assert_true(hf_slice_is(BYTES(first), "a"));
    assert_int_equal(store_machine_first_lock(m, NOTHING, TEXT("aa"), &first, NULL), 0);
    hf_buffer_done(&first);

    kit_reopen(kit);
    m = kit->machine;
    assert_int_equal(is_locked(m, TEXT("a")), 1);
    uint64_t unlocks = store_machine_unlocks(m);
    struct store_phase commit = phase_of(STORE_PHASE_DECIDE, 1, STORE_DECISION_COMMIT);
    struct store_outcome outcome = apply_phase(m, &commit, 200);

    assert_true(outcome.code == 0 && outcome.version == kit_state(m).version);
    assert_true(store_machine_unlocks(m) > unlocks);
    assert_int_equal(is_locked(m, TEXT("a")), 0);
    kit_expect(m, TEXT("a"), TEXT("new"), outcome.version);
    assert_true(apply_phase(m, &commit, 201).version == outcome.version); /* the same decision, once more */
    kit_expect(m, TEXT("a"), TEXT("new"), outcome.version);
}

static void who_asks_gets_the_decision_or_makes_it(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_phase ask = phase_of(STORE_PHASE_DECIDE, 1, STORE_DECISION_ASK);
    struct store_phase commit = phase_of(STORE_PHASE_DECIDE, 1, STORE_DECISION_COMMIT);

    assert_int_equal(prepare(m, 1, 1, "", kit_put(TEXT("a"), TEXT("v")), 100).code, 0);
    assert_int_equal(apply_phase(m, &ask, 100 + PATIENCE - 1).code, HF_ESTATE);
    assert_int_equal(is_locked(m, TEXT("a")), 1);
    assert_int_equal(apply_phase(m, &ask, 100 + PATIENCE).code, HF_EDENIED);
    assert_int_equal(is_locked(m, TEXT("a")), 0);
    assert_int_equal(apply_phase(m, &commit, 300).code, HF_EDENIED);
    kit_expect_none(m, TEXT("a"));

    ask.id[0] = commit.id[0] = 2; /* asked before it is prepared, which then comes too late */
    assert_int_equal(apply_phase(m, &ask, 300).code, HF_EDENIED);
    assert_int_equal(prepare(m, 2, 1, "", kit_put(TEXT("a"), TEXT("v")), 301).code, HF_EDENIED);
    assert_int_equal(apply_phase(m, &commit, 302).code, HF_EDENIED);
    kit_expect_none(m, TEXT("a"));
}

static void decisions_are_kept_as_long_as_somebody_may_ask(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_phase commit = phase_of(STORE_PHASE_DECIDE, 1, STORE_DECISION_COMMIT);
    struct store_phase forget = phase_of(STORE_PHASE_FORGET, 1, 0);
    struct store_transaction kept;

    prepare(m, 1, 1, "", kit_put(TEXT("a"), TEXT("v")), 100);
    assert_int_equal(store_machine_transactions(m, 99, 99, &kept, 1), 0);
    assert_int_equal(store_machine_transactions(m, 100, 0, &kept, 1), 1);
    assert_true(kept.state == STORE_TRANSACTION_PREPARED && kept.id[0] == 1 && kept.home == 1);
    assert_int_equal(apply_phase(m, &commit, 200).code, 0);
    assert_int_equal(store_machine_transactions(m, 200, 0, &kept, 1), 1);
    assert_true(kept.state == STORE_TRANSACTION_COMMITTED && kept.participant_count == 1 && kept.participants[0] == 2);
    apply_phase(m, &forget, 200 + PATIENCE - 1);
    assert_int_equal(store_machine_transactions(m, 200, 199, &kept, 1), 0); /* nobody waits for it any more */
    assert_int_equal(store_machine_transactions(m, 200, 200, &kept, 1), 1);
    assert_int_equal(apply_phase(m, &commit, 260).code, 0);
    apply_phase(m, &forget, 200 + PATIENCE);
    assert_int_equal(store_machine_transactions(m, UINT64_MAX, UINT64_MAX, &kept, 1), 0);
}

static void an_idempotency_key_holds_for_transactions_and_others(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_phase commit = phase_of(STORE_PHASE_DECIDE, 1, STORE_DECISION_COMMIT);

    assert_int_equal(prepare(m, 1, 1, "once", kit_put(TEXT("a"), TEXT("v")), 100).code, 0);
    uint64_t version = apply_phase(m, &commit, 200).version;
    struct store_outcome again = prepare(m, 2, 1, "once", kit_put(TEXT("a"), TEXT("v")), 300);

    assert_true(again.code == HF_EEXIST && again.version == version);
    assert_int_equal(prepare(m, 3, 1, "once", kit_put(TEXT("a"), TEXT("w")), 301).code, HF_EINVAL);
    assert_int_equal(is_locked(m, TEXT("a")), 0);
    kit_expect(m, TEXT("a"), TEXT("v"), version);
}

static void conditions_are_looked_at_when_it_is_prepared(void **state)
{
    struct store_machine *m = ((struct kit *)*state)->machine;
    struct store_operation check = {.type = STORE_CHECK, .condition = STORE_IF_VERSION, .version = 1, .key = TEXT("a")};
    struct store_phase commit = phase_of(STORE_PHASE_DECIDE, 2, STORE_DECISION_COMMIT);

    kit_apply_one(m, kit_put(TEXT("a"), TEXT("v")));
    assert_int_equal(prepare(m, 1, 1, "", kit_if(kit_put(TEXT("a"), TEXT("w")), STORE_IF_ABSENT, 0), 1).code,
                     HF_ECONFLICT);
    assert_int_equal(is_locked(m, TEXT("a")), 0);
    assert_int_equal(prepare(m, 2, 1, "", check, 2).code, 0);
    assert_int_equal(is_locked(m, TEXT("a")), 1); /* so that it still holds at the decision */
    uint64_t feed_last = kit_state(m).feed_last;

    assert_int_equal(apply_phase(m, &commit, 3).code, 0);
    kit_expect(m, TEXT("a"), TEXT("v"), 1);
    assert_true(kit_state(m).feed_last == feed_last); /* nothing has changed */
}

/* ---- At random --------------------------------------------------------------------------------------------------- */

enum { KEYS = 5, TRANSACTIONS = 400, ALIVE = 6, RESTART_ONE_IN = 300 };

/* A sender and what it knows; every transaction adds 1 to a key of each of its machines, or to none. */
struct sender {
    uint8_t id[STORE_TRANSACTION_ID_SIZE];
    int machines[MACHINES], count;
    int step; /* prepared so many; then: decide, finish each other, forget */
    int dead;
    int keys[MACHINES];
    uint64_t was[MACHINES], began_us;
};

struct bank {
    struct kit *kit;
    struct store_machine *machines[MACHINES];
    uint64_t model[MACHINES][KEYS]; /* as of decisions */
    hf_random random;
    uint64_t now_us;
    struct sender senders[ALIVE];
    uint64_t next_id;
    int committed, aborted, swept;
};

static hf_slice key_of(int key)
{
    static const char *const keys[KEYS] = {"k0", "k1", "k2", "k3", "k4"};

    return hf_slice_of(keys[key]);
}

static uint64_t value_of(struct store_machine *machine, int key, uint64_t *ret_version)
{
    struct store_record record;

    *ret_version = 0;
    if (store_machine_get(machine, key_of(key), 0, &record, NULL) != 0)
        return 0;
    uint64_t value = 0;

    memcpy(&value, record.value.data, sizeof value);
    *ret_version = record.version;
    store_record_release(machine, &record);
    return value;
}

static struct store_outcome send_phase(struct bank *bank, int machine, const struct sender *sender, int32_t kind,
                                       int32_t decision)
{
    struct store_phase phase = {.phase = kind, .decision = decision, .patience_us = PATIENCE};

    memcpy(phase.id, sender->id, sizeof phase.id);
    return apply_phase(bank->machines[machine], &phase, ++bank->now_us);
}

static void begin_sender(struct bank *bank, struct sender *sender)
{
    int first = (int)hf_random_below(&bank->random, MACHINES);

    *sender = (struct sender){.count = 2 + (int)hf_random_below(&bank->random, MACHINES - 1)};
    bank->next_id++;
    memcpy(sender->id, &bank->next_id, sizeof bank->next_id);
    for (int i = 0; i < sender->count; i++) {
        sender->machines[i] = (first + i) % MACHINES;
        sender->keys[i] = (int)hf_random_below(&bank->random, KEYS);
    }
}

static struct store_outcome send_prepare(struct bank *bank, struct sender *sender, int part)
{
    struct store_machine *machine = bank->machines[sender->machines[part]];
    uint64_t version = 0, value = value_of(machine, sender->keys[part], &version) + 1;
    struct store_operation operation =
        kit_if(kit_put(key_of(sender->keys[part]), (hf_slice){(const uint8_t *)&value, sizeof value}),
               version ? STORE_IF_VERSION : STORE_IF_ABSENT, version);
    struct store_command command = {.operations = &operation, .operation_count = 1};
    struct store_phase phase = {.phase = STORE_PHASE_PREPARE, .home = 1 + (uint64_t)sender->machines[0]};
    hf_buffer bytes;

    hf_buffer_init(&bytes, 1000);
    assert_int_equal(store_command_encode(&bytes, &command, NULL), 0);
    phase.command = BYTES(bytes);
    memcpy(phase.id, sender->id, sizeof phase.id);
    for (int i = 1; part == 0 && i < sender->count; i++)
        phase.participants[phase.participant_count++] = 1 + (uint64_t)sender->machines[i];
    struct store_outcome outcome = apply_phase(machine, &phase, ++bank->now_us);

    hf_buffer_done(&bytes);
    return outcome;
}

static void give_up(struct bank *bank, struct sender *sender, int prepared)
{
    for (int i = 0; i < prepared; i++)
        if (hf_random_below(&bank->random, 4) > 0) /* some aborts are lost */
            send_phase(bank, sender->machines[i], sender, i == 0 ? STORE_PHASE_DECIDE : STORE_PHASE_FINISH,
                       STORE_DECISION_ABORT);
    sender->dead = 1;
}

static void decide(struct bank *bank, struct sender *sender)
{
    int32_t code = send_phase(bank, sender->machines[0], sender, STORE_PHASE_DECIDE, STORE_DECISION_COMMIT).code;

    if (code == HF_EDENIED) {
        bank->aborted++;
        give_up(bank, sender, sender->count);
        return;
    }
    assert_int_equal(code, 0);
    if (sender->step == sender->count) /* not the repetition */
        for (int i = 0; i < sender->count; i++)
            bank->model[sender->machines[i]][sender->keys[i]]++;
    bank->committed++;
    sender->step++;
}

static void step_sender(struct bank *bank, struct sender *sender)
{
    if (sender->step < sender->count) {
        int32_t code = send_prepare(bank, sender, sender->step).code;

        if (code == 0)
            sender->step++;
        else
            give_up(bank, sender, sender->step);
    } else if (sender->step == sender->count) {
        decide(bank, sender);
    } else if (sender->step < 2 * sender->count) {
        send_phase(bank, sender->machines[sender->step - sender->count], sender, STORE_PHASE_FINISH,
                   STORE_DECISION_COMMIT);
        sender->step++;
    } else {
        struct store_phase phase = {.phase = STORE_PHASE_FORGET};

        memcpy(phase.id, sender->id, sizeof phase.id);
        apply_phase(bank->machines[sender->machines[0]], &phase, ++bank->now_us);
        sender->dead = 1;
    }
}

static void care_for(struct bank *bank, int machine, const struct store_transaction *transaction)
{
    struct sender as = {0};

    memcpy(as.id, transaction->id, sizeof as.id);
    bank->swept++;
    if (transaction->state == STORE_TRANSACTION_PREPARED) {
        int home = (int)transaction->home - 1;
        int32_t code = send_phase(bank, home, &as, STORE_PHASE_DECIDE, STORE_DECISION_ASK).code;

        if (home != machine && code != HF_ESTATE)
            send_phase(bank, machine, &as, STORE_PHASE_FINISH,
                       code == 0 ? STORE_DECISION_COMMIT : STORE_DECISION_ABORT);
        return;
    }
    for (uint32_t i = 0; i < transaction->participant_count; i++)
        send_phase(bank, (int)transaction->participants[i] - 1, &as, STORE_PHASE_FINISH, STORE_DECISION_COMMIT);
    struct store_phase forget = {.phase = STORE_PHASE_FORGET, .patience_us = UINT64_C(1) << 40};

    memcpy(forget.id, transaction->id, sizeof forget.id);
    apply_phase(bank->machines[machine], &forget, ++bank->now_us);
}

static void sweep(struct bank *bank, int machine)
{
    struct store_transaction found[4];
    uint32_t count = store_machine_transactions(bank->machines[machine], bank->now_us - PATIENCE, 0, found, 4);

    for (uint32_t i = 0; i < count; i++)
        care_for(bank, machine, &found[i]);
}

static void reopen(struct bank *bank, int machine)
{
    store_machine_close(bank->machines[machine]);
    bank->machines[machine] = kit_open_machine(bank->kit->database, kit_engine, SPACE + 1 + (uint64_t)machine);
}

static void assert_as_decided(struct bank *bank)
{
    struct store_transaction left;

    for (int m = 0; m < MACHINES; m++) {
        for (int round = 0; round < 1000; round++)
            sweep(bank, m);
        bank->now_us += PATIENCE;
    }
    for (int m = 0; m < MACHINES; m++)
        for (int round = 0; round < 1000; round++)
            sweep(bank, m);
    for (int m = 0; m < MACHINES; m++) {
        assert_int_equal(store_machine_transactions(bank->machines[m], UINT64_MAX, 0, &left, 1), 0);
        for (int key = 0; key < KEYS; key++) {
            uint64_t version;

            assert_int_equal(is_locked(bank->machines[m], key_of(key)), 0);
            assert_true(value_of(bank->machines[m], key, &version) == bank->model[m][key]);
        }
    }
}

static void run(struct bank *bank)
{
    for (int i = 0; i < ALIVE; i++)
        begin_sender(bank, &bank->senders[i]);
    while (bank->next_id < TRANSACTIONS) {
        struct sender *sender = &bank->senders[hf_random_below(&bank->random, ALIVE)];

        bank->now_us += hf_random_below(&bank->random, 8);
        if (hf_random_below(&bank->random, 30) == 0 && sender->step <= sender->count)
            sender->dead = 1; /* before the decision, so that the model knows of it */
        else if (hf_random_below(&bank->random, 30) == 0 && sender->step > sender->count)
            sender->dead = 1;
        if (sender->dead)
            begin_sender(bank, sender);
        step_sender(bank, sender);
        if (hf_random_below(&bank->random, 4) == 0)
            sweep(bank, (int)hf_random_below(&bank->random, MACHINES));
        if (hf_random_below(&bank->random, RESTART_ONE_IN) == 0)
            reopen(bank, (int)hf_random_below(&bank->random, MACHINES));
    }
}

static void all_or_nothing_whoever_dies(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct bank bank = {.kit = *state, .now_us = 1000};

        hf_random_init(&bank.random, seed);
        for (int i = 0; i < MACHINES; i++)
            bank.machines[i] = kit_open_machine(bank.kit->database, kit_engine, SPACE + 1 + (uint64_t)i);
        run(&bank);
        assert_as_decided(&bank);
        assert_true(bank.committed > 20 && bank.swept > 20);
        for (int i = 0; i < MACHINES; i++) {
            assert_int_equal(store_machine_erase(bank.machines[i], NULL), 0);
            store_machine_close(bank.machines[i]);
        }
    }
}

int kit_test_transaction(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_prepared_record_is_locked_until_the_decision),
        TEST(who_asks_gets_the_decision_or_makes_it),
        TEST(decisions_are_kept_as_long_as_somebody_may_ask),
        TEST(an_idempotency_key_holds_for_transactions_and_others),
        TEST(conditions_are_looked_at_when_it_is_prepared),
        TEST(all_or_nothing_whoever_dies),
    };

    return cmocka_run_group_tests_name("transaction", tests, NULL, NULL);
}
