/* What one command does: idempotency key, conditions, records, and its part of the entry's rows. */
#include "internal.h"

#include <holdfast/lib/error.h>

#include <string.h>

static const hf_slice nothing = {NULL, 0};

/* ---- Reading what the gathered entries and, below them, the engine hold ------------------------------------------ */

int32_t store_present_read(struct store_applying *applying, hf_slice key, struct store_present *ret_present,
                           hf_error *error)
{
    const struct store_machine *machine = applying->machine;
    const hf_engine_operation *gathered = store_gather_find(&applying->gather, key);
    hf_error failure;

    *ret_present = (struct store_present){0};
    if (gathered) {
        ret_present->bytes = gathered->value;
        return gathered->type == HF_ENGINE_PUT ? 0 : HF_ENOTFOUND;
    }
    int32_t r = machine->engine->get(machine->database, machine->space, key, applying->read_flags, &ret_present->bytes,
                                     &failure);

    ret_present->from_engine = r == 0;
    if (r < 0 && r != HF_ENOTFOUND && error) /* that there is none is no failure here */
        *error = failure;
    return r;
}

void store_present_release(struct store_applying *applying, const struct store_present *present)
{
    if (present->from_engine)
        applying->machine->engine->release(applying->machine->database, present->bytes);
}

/* ---- Conditions -------------------------------------------------------------------------------------------------- */

int32_t store_find_record(struct store_applying *applying, hf_slice key, struct store_record *ret_record,
                          hf_error *error)
{
    struct store_space_key space_key;
    struct store_present present;

    *ret_record = (struct store_record){0};
    store_space_key_make(&space_key, STORE_TAG_RECORD, key);
    int32_t r = store_present_read(applying, store_space_key_slice(&space_key), &present, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0)
        return r;
    r = store_record_read(present.bytes, ret_record, error);
    ret_record->value = ret_record->stored = nothing;
    store_present_release(applying, &present);
    return r;
}

/* 0: there is no record, or it has expired. */
static int32_t read_version(struct store_applying *applying, hf_slice key, uint64_t *ret_version, hf_error *error)
{
    struct store_record record;
    int32_t r = store_find_record(applying, key, &record, error);

    *ret_version = store_record_expired(&record, applying->bundle.time_us) ? 0 : record.version;
    return r;
}

static int holds(const struct store_operation *operation, uint64_t version)
{
    switch (operation->condition) {
    case STORE_IF_ABSENT:
        return version == 0;
    case STORE_IF_PRESENT:
        return version != 0;
    case STORE_IF_VERSION:
        return version != 0 && version == operation->version;
    default:
        return 1;
    }
}

/* Sets the outcome to the first conflict, if there is one. */
int32_t store_check_conditions(struct store_applying *applying, const struct store_command *command,
                               struct store_outcome *outcome, hf_error *error)
{
    for (uint64_t i = 0; i < command->operation_count; i++) {
        const struct store_operation *operation = &command->operations[i];
        uint64_t version = 0;

        if (operation->condition == STORE_IF_ANY)
            continue;
        int32_t r = read_version(applying, operation->key, &version, error);

        if (r < 0)
            return r;
        if (!holds(operation, version)) {
            *outcome = (struct store_outcome){.code = HF_ECONFLICT, .version = version, .operation = i};
            return 0;
        }
    }
    return 0;
}

/* ---- Records and changes ----------------------------------------------------------------------------------------- */

static int32_t gather_record(struct store_applying *applying, uint64_t version, const struct store_operation *operation,
                             hf_error *error)
{
    struct store_record record = {.version = version,
                                  .time_us = applying->bundle.time_us,
                                  .deadline_us = store_deadline_of(applying, operation),
                                  .checksum = operation->checksum};
    struct store_space_key key;
    uint8_t head[STORE_RECORD_HEAD_MAX];
    int32_t r = store_gather_deadline(applying, operation->key, version, record.deadline_us, error);

    if (r < 0)
        return r;
    store_space_key_make(&key, STORE_TAG_RECORD, operation->key);
    if (operation->type == STORE_DELETE)
        return store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                         nothing, error);
    uint64_t size = store_record_write_head(head, &record);

    return store_gather_add_readable(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                                     (hf_slice){head, size}, operation->value, error);
}

int32_t store_note_change(struct store_applying *applying, uint64_t version, const struct store_command *command,
                          hf_error *error)
{
    if (applying->first_change == 0)
        applying->first_change = version;
    applying->last_change = version;
    if (store_changes_add(&applying->changes, version, command) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for the changes of an entry; apply it again later");
    return 0;
}

static int changes_something(const struct store_command *command)
{
    for (uint64_t i = 0; i < command->operation_count; i++)
        if (command->operations[i].type != STORE_CHECK)
            return 1;
    return 0;
}

int32_t store_gather_operations(struct store_applying *applying, uint64_t version, const struct store_command *command,
                                hf_error *error)
{
    for (uint32_t i = 0; i < command->operation_count; i++) {
        int32_t r = command->operations[i].type == STORE_CHECK
                        ? 0
                        : gather_record(applying, version, &command->operations[i], error);

        if (r < 0)
            return r;
    }
    return changes_something(command) ? store_note_change(applying, version, command, error) : 0;
}

/* ---- Idempotency keys -------------------------------------------------------------------------------------------- */

/* outcome->repeated tells whether the key was known. */
int32_t store_find_repeat(struct store_applying *applying, const struct store_command *command,
                          struct store_outcome *outcome, hf_error *error)
{
    hf_slice idempotency_key = command->idempotency_key;
    struct store_space_key key;
    uint64_t asked = 0;
    struct store_present present;

    if (idempotency_key.size == 0)
        return 0;
    store_space_key_make(&key, STORE_TAG_REPEAT, idempotency_key);
    int32_t r = store_present_read(applying, store_space_key_slice(&key), &present, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0)
        return r;
    r = store_repeat_read(present.bytes, outcome, &asked, error);
    store_present_release(applying, &present);
    if (r == 0 && asked != command->asked)
        outcome->code = HF_EINVAL;
    return r;
}

int32_t store_remember(struct store_applying *applying, uint64_t version, const struct store_command *command,
                       const struct store_outcome *outcome, hf_error *error)
{
    hf_slice idempotency_key = command->idempotency_key;
    struct store_space_key key;
    uint8_t repeat[STORE_REPEAT_SIZE];

    if (idempotency_key.size == 0)
        return 0;
    applying->last_remembered = version;
    if (store_remembered_add(&applying->remembered, idempotency_key) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for an idempotency key; apply the entry again later");
    store_repeat_write(repeat, version, outcome, command->asked);
    store_space_key_make(&key, STORE_TAG_REPEAT, idempotency_key);
    return store_gather_add_readable(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                                     (hf_slice){repeat, sizeof repeat}, nothing, error);
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

int32_t store_perform(struct store_applying *applying, const struct store_command *command,
                      struct store_outcome *ret_outcome, hf_error *error)
{
    uint64_t version = ++applying->position.state.version;

    *ret_outcome = (struct store_outcome){0};
    int32_t r = store_find_repeat(applying, command, ret_outcome, error);

    if (r < 0 || ret_outcome->repeated)
        return r;
    ret_outcome->version = version;
    if (command->operations[0].type == STORE_EXPIRE)
        return store_perform_expires(applying, version, command, error);
    if (command->operations[0].type == STORE_REMOVE)
        return store_perform_removes(applying, command, error);
    if (!store_owns_keys(&applying->position.state.shape, command)) {
        ret_outcome->code = HF_EMOVED; /* and nothing to remember: it is asked for elsewhere */
        return 0;
    }
    r = store_find_lock(applying, command, error);
    if (r > 0)
        ret_outcome->code = HF_ESTATE; /* and nothing to remember: it will be tried again */
    if (r != 0)
        return r < 0 ? r : 0;
    r = store_check_conditions(applying, command, ret_outcome, error);
    if (r == 0 && ret_outcome->code == 0)
        r = store_gather_operations(applying, version, command, error);
    return r < 0 ? r : store_remember(applying, version, command, ret_outcome, error);
}
