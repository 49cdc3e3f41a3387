/* What a step of a transaction does; see phase.h. */
#include "internal.h"

#include "bug.h"

#include <holdfast/lib/error.h>

#include <string.h>

static const hf_slice nothing = {NULL, 0};

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* state 0: there is none. */
static int32_t find_transaction(struct store_applying *applying, const uint8_t *id,
                                struct store_transaction *ret_transaction, hf_error *error)
{
    struct store_space_key key;
    struct store_present present;

    *ret_transaction = (struct store_transaction){0};
    store_space_key_make(&key, STORE_TAG_TRANSACTION, (hf_slice){id, STORE_TRANSACTION_ID_SIZE});
    int32_t r = store_present_read(applying, store_space_key_slice(&key), &present, error);

    if (r == HF_ENOTFOUND) {
        memcpy(ret_transaction->id, id, sizeof ret_transaction->id);
        return 0;
    }
    if (r < 0)
        return r;
    r = store_transaction_read(store_space_key_slice(&key), present.bytes, ret_transaction, error);
    store_present_release(applying, &present);
    return r;
}

static int32_t set_state(struct store_applying *applying, struct store_transaction *transaction, int32_t state,
                         hf_error *error)
{
    if (transaction->state == 0)
        applying->transaction_count++;
    if (state == 0)
        applying->transaction_count--;
    transaction->state = state;
    transaction->time_us = applying->bundle.time_us;
    return store_gather_transaction(applying, transaction, error);
}

static int32_t gather_lock(struct store_applying *applying, int32_t type, hf_slice key, const uint8_t *id,
                           hf_error *error)
{
    struct store_space_key lock;
    hf_slice row = type == HF_ENGINE_PUT ? (hf_slice){id, STORE_TRANSACTION_ID_SIZE} : nothing;

    store_space_key_make(&lock, STORE_TAG_LOCK, key);
    return store_gather_add_readable(&applying->gather, type, store_space_key_slice(&lock), row, nothing, error);
}

static int32_t gather_locks(struct store_applying *applying, int32_t type, const struct store_command *command,
                            const uint8_t *id, hf_error *error)
{
    int32_t r = 0;

    for (uint64_t i = 0; r == 0 && i < command->operation_count; i++)
        r = gather_lock(applying, type, command->operations[i].key, id, error);
    return r;
}

static int32_t gather_prepared(struct store_applying *applying, int32_t type, const uint8_t *id, hf_slice command,
                               hf_error *error)
{
    struct store_space_key key;

    store_space_key_make(&key, STORE_TAG_PREPARED, (hf_slice){id, STORE_TRANSACTION_ID_SIZE});
    return store_gather_add_readable(&applying->gather, type, store_space_key_slice(&key), command, nothing, error);
}

/* ---- Prepare ----------------------------------------------------------------------------------------------------- */

/* A split or merge that is to be completed waits for the transactions on what it takes away, and no others begin. */
static int is_closing(const struct store_applying *applying, const struct store_command *command)
{
    const struct store_shape *shape = &applying->position.state.shape;

    if (shape->state == STORE_SHAPE_DRAINING)
        return 1;
    for (uint64_t i = 0; i < command->operation_count && shape->state == STORE_SHAPE_CLOSING; i++)
        if (store_hash_of(command->operations[i].key) >= shape->other_from)
            return 1;
    return 0;
}

/* Whether the command can be prepared; the outcome says why not. */
static int32_t may_prepare(struct store_applying *applying, const struct store_command *command,
                           struct store_outcome *outcome, hf_error *error)
{
    int32_t r = store_find_repeat(applying, command, outcome, error);

    if (r == 0 && outcome->repeated && outcome->code == 0)
        outcome->code = HF_EEXIST;
    if (r < 0 || outcome->repeated)
        return r;
    if (applying->transaction_count >= STORE_TRANSACTIONS_MAX || is_closing(applying, command)) {
        outcome->code = HF_EBUSY;
        return 0;
    }
    r = STORE_BUG(NO_LOCK) ? 0 : store_find_lock(applying, command, error);
    if (r > 0)
        outcome->code = HF_ESTATE;
    return r == 0 ? store_check_conditions(applying, command, outcome, error) : r < 0 ? r : 0;
}

static int32_t prepare(struct store_applying *applying, const struct store_phase *phase,
                       struct store_transaction *transaction, struct store_outcome *outcome, hf_error *error)
{
    struct store_command command = {0};
    hf_error failure;
    int32_t r = store_applying_decode(applying, phase->command, &command, &failure);

    if (r == HF_ECORRUPT) {
        outcome->code = r;
        return 0;
    }
    if (r < 0) {
        if (error)
            *error = failure;
        return r;
    }
    if (!store_owns_keys(&applying->position.state.shape, &command)) {
        outcome->code = HF_EMOVED;
        return 0;
    }
    r = may_prepare(applying, &command, outcome, error);
    if (r < 0 || outcome->code != 0)
        return r;
    transaction->home = phase->home;
    transaction->participant_count = phase->participant_count;
    memcpy(transaction->participants, phase->participants, sizeof transaction->participants);
    r = gather_locks(applying, HF_ENGINE_PUT, &command, phase->id, error);
    if (r == 0)
        r = gather_prepared(applying, HF_ENGINE_PUT, phase->id, phase->command, error);
    return r < 0 ? r : set_state(applying, transaction, STORE_TRANSACTION_PREPARED, error);
}

/* ---- Carrying out, or letting go --------------------------------------------------------------------------------- */

static int32_t read_prepared(struct store_applying *applying, const uint8_t *id, struct store_present *ret_present,
                             struct store_command *ret_command, hf_error *error)
{
    struct store_space_key key;

    store_space_key_make(&key, STORE_TAG_PREPARED, (hf_slice){id, STORE_TRANSACTION_ID_SIZE});
    int32_t r = store_present_read(applying, store_space_key_slice(&key), ret_present, error);

    if (r == HF_ENOTFOUND)
        return hf_error_set(error, HF_ECORRUPT,
                            "a prepared transaction has no command; fetch the partition anew from another replica");
    return r < 0 ? r : store_applying_decode(applying, ret_present->bytes, ret_command, error);
}

/* Ends a prepared transaction's part here. */
static int32_t resolve(struct store_applying *applying, const struct store_transaction *transaction, int commit,
                       uint64_t version, hf_error *error)
{
    struct store_present present = {0};
    struct store_command command = {0};
    int32_t r = read_prepared(applying, transaction->id, &present, &command, error);

    if (r == 0)
        r = gather_locks(applying, HF_ENGINE_DELETE, &command, transaction->id, error);
    if (r == 0 && commit)
        r = store_gather_operations(applying, version, &command, error);
    if (r == 0 && commit && !STORE_BUG(FORGET_REPEAT)) {
        const struct store_outcome outcome = {.version = version};

        r = store_remember(applying, version, &command, &outcome, error);
    }
    store_present_release(applying, &present);
    return r < 0 ? r : gather_prepared(applying, HF_ENGINE_DELETE, transaction->id, nothing, error);
}

/* ---- Decide ------------------------------------------------------------------------------------------------------ */

static int32_t commit(struct store_applying *applying, struct store_transaction *transaction, uint64_t version,
                      hf_error *error)
{
    int32_t r = resolve(applying, transaction, 1, version, error);

    transaction->version = version;
    return r < 0 ? r : set_state(applying, transaction, STORE_TRANSACTION_COMMITTED, error);
}

/* Who asks may be faster than the PREPARE, which must then find that it comes too late. */
static int32_t abort_it(struct store_applying *applying, const struct store_phase *phase,
                        struct store_transaction *transaction, hf_error *error)
{
    int32_t r = transaction->state == STORE_TRANSACTION_PREPARED ? resolve(applying, transaction, 0, 0, error) : 0;

    if (r < 0 || transaction->state == STORE_TRANSACTION_ABORTED)
        return r;
    if (phase->decision == STORE_DECISION_ASK && !STORE_BUG(FORGET_ABORT)) {
        transaction->participant_count = 0;
        return set_state(applying, transaction, STORE_TRANSACTION_ABORTED, error);
    }
    /* Nobody will commit it: its sender has given it up. */
    return transaction->state ? set_state(applying, transaction, 0, error) : 0;
}

static int is_patient(const struct store_applying *applying, const struct store_phase *phase,
                      const struct store_transaction *transaction)
{
    return phase->decision == STORE_DECISION_ASK && transaction->state == STORE_TRANSACTION_PREPARED &&
           applying->bundle.time_us < transaction->time_us + phase->patience_us;
}

static int32_t decide(struct store_applying *applying, const struct store_phase *phase,
                      struct store_transaction *transaction, uint64_t version, struct store_outcome *outcome,
                      hf_error *error)
{
    int32_t r = 0;

    if (transaction->state == STORE_TRANSACTION_PREPARED && phase->decision == STORE_DECISION_COMMIT)
        r = commit(applying, transaction, version, error);
    outcome->version = transaction->version;
    if (r < 0 || transaction->state == STORE_TRANSACTION_COMMITTED)
        return r;
    if (is_patient(applying, phase, transaction)) {
        outcome->code = HF_ESTATE;
        return 0;
    }
    outcome->code = HF_EDENIED;
    return phase->decision == STORE_DECISION_COMMIT ? 0 : abort_it(applying, phase, transaction, error);
}

/* ---- Finish and forget ------------------------------------------------------------------------------------------- */

static int32_t finish(struct store_applying *applying, const struct store_phase *phase,
                      struct store_transaction *transaction, uint64_t version, struct store_outcome *outcome,
                      hf_error *error)
{
    int is_commit = phase->decision == STORE_DECISION_COMMIT;

    outcome->version = 0;
    if (transaction->state != STORE_TRANSACTION_PREPARED)
        return 0;
    outcome->version = is_commit ? version : 0;
    int32_t r = resolve(applying, transaction, is_commit, version, error);

    return r < 0 ? r : set_state(applying, transaction, 0, error);
}

static int32_t forget(struct store_applying *applying, const struct store_phase *phase,
                      struct store_transaction *transaction, hf_error *error)
{
    if (transaction->state != STORE_TRANSACTION_COMMITTED && transaction->state != STORE_TRANSACTION_ABORTED)
        return 0;
    if (applying->bundle.time_us >= transaction->time_us + phase->patience_us || STORE_BUG(FORGET_COMMIT))
        return set_state(applying, transaction, 0, error);
    transaction->participant_count = 0;
    return store_gather_transaction(applying, transaction, error);
}

int32_t store_perform_phase(struct store_applying *applying, const struct store_phase *phase,
                            struct store_outcome *ret_outcome, hf_error *error)
{
    uint64_t version = ++applying->position.state.version;
    struct store_transaction transaction;
    int32_t r = find_transaction(applying, phase->id, &transaction, error);

    *ret_outcome = (struct store_outcome){.version = version};
    if (r < 0)
        return r;
    switch (phase->phase) {
    case STORE_PHASE_PREPARE:
        if (transaction.state == STORE_TRANSACTION_ABORTED)
            ret_outcome->code = HF_EDENIED;
        return transaction.state ? 0 : prepare(applying, phase, &transaction, ret_outcome, error);
    case STORE_PHASE_DECIDE:
        return decide(applying, phase, &transaction, version, ret_outcome, error);
    case STORE_PHASE_FINISH:
        return finish(applying, phase, &transaction, version, ret_outcome, error);
    default:
        return forget(applying, phase, &transaction, error);
    }
}
