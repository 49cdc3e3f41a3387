/* What one command does: conditions, records, changes, idempotency keys, and what it makes to be forgotten. */
#include "internal.h"

#include "bytes.h"

#include <holdfast/lib/error.h>

#include <string.h>

static const hf_slice nothing = {NULL, 0};

/* ---- Reading what the gathered entries and, below them, the engine hold ------------------------------------------ */

/* A stored value; `from_engine` tells whose it is. */
struct present_value {
    hf_slice bytes;
    int from_engine;
};

static int32_t read_present(struct store_applying *applying, hf_slice key, struct present_value *ret_value,
                            hf_error *error)
{
    const struct store_machine *machine = applying->machine;
    const hf_engine_operation *gathered = store_gather_find(&applying->gather, key);
    hf_error failure;

    *ret_value = (struct present_value){0};
    if (gathered) {
        ret_value->bytes = gathered->value;
        return gathered->type == HF_ENGINE_PUT ? 0 : HF_ENOTFOUND;
    }
    int32_t r =
        machine->engine->get(machine->database, machine->space, key, applying->read_flags, &ret_value->bytes, &failure);

    ret_value->from_engine = r == 0;
    if (r < 0 && r != HF_ENOTFOUND && error) /* that there is none is no failure here */
        *error = failure;
    return r;
}

static void release_present(struct store_applying *applying, const struct present_value *value)
{
    if (value->from_engine)
        applying->machine->engine->release(applying->machine->database, value->bytes);
}

/* ---- Conditions -------------------------------------------------------------------------------------------------- */

/* 0: there is no record. */
static int32_t read_version(struct store_applying *applying, hf_slice key, uint64_t *ret_version, hf_error *error)
{
    struct store_space_key space_key;
    struct store_record record = {0};
    struct present_value present;

    *ret_version = 0;
    store_space_key_make(&space_key, STORE_TAG_RECORD, key);
    int32_t r = read_present(applying, store_space_key_slice(&space_key), &present, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0)
        return r;
    r = store_record_read(present.bytes, &record, error);
    *ret_version = record.version;
    release_present(applying, &present);
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
static int32_t check_conditions(struct store_applying *applying, const struct store_command *command,
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

static int32_t gather_record(struct store_applying *applying, uint64_t index, uint64_t time_us,
                             const struct store_operation *operation, hf_error *error)
{
    struct store_space_key key;
    uint8_t head[STORE_RECORD_HEAD_SIZE];

    store_space_key_make(&key, STORE_TAG_RECORD, operation->key);
    if (operation->type == STORE_DELETE)
        return store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                         nothing, error);
    store_record_write_head(head, index, time_us, operation->checksum);
    return store_gather_add_readable(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                                     (hf_slice){head, sizeof head}, operation->value, error);
}

static int32_t gather_change(struct store_applying *applying, uint64_t index, uint32_t place,
                             const struct store_command *command, hf_error *error)
{
    const struct store_operation *operation = &command->operations[place];
    struct store_space_key key;
    uint8_t head[STORE_CHANGE_HEAD_SIZE];

    store_space_key_of_change(&key, index, place);
    store_change_write_head(head, operation->type, command->time_us, command->user);
    return store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                            (hf_slice){head, sizeof head}, operation->key, error);
}

static void note_newest_change(struct store_applying *applying, uint64_t index, const struct store_command *command)
{
    struct store_machine_state *state = &applying->position.state;

    if (state->feed_last == 0)
        state->feed_first = index;
    state->feed_last = index;
    store_window_add_newest(&applying->machine->changes,
                            &(struct store_window_item){.index = index,
                                                        .time_us = command->time_us,
                                                        .operations = (uint32_t)command->operation_count});
}

static int32_t gather_operations(struct store_applying *applying, uint64_t index, const struct store_command *command,
                                 hf_error *error)
{
    for (uint32_t i = 0; i < command->operation_count; i++) {
        int32_t r = gather_record(applying, index, command->time_us, &command->operations[i], error);

        if (r == 0)
            r = gather_change(applying, index, i, command, error);
        if (r < 0)
            return r;
    }
    note_newest_change(applying, index, command);
    return 0;
}

/* ---- Idempotency keys -------------------------------------------------------------------------------------------- */

/* outcome->repeated tells whether the key was known. */
static int32_t find_repeat(struct store_applying *applying, hf_slice idempotency_key, struct store_outcome *outcome,
                           hf_error *error)
{
    struct store_space_key key;
    struct present_value present;

    if (idempotency_key.size == 0)
        return 0;
    store_space_key_make(&key, STORE_TAG_REPEAT, idempotency_key);
    int32_t r = read_present(applying, store_space_key_slice(&key), &present, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r < 0)
        return r;
    r = store_repeat_read(present.bytes, outcome, error);
    release_present(applying, &present);
    return r;
}

static int32_t remember(struct store_applying *applying, uint64_t index, const struct store_command *command,
                        const struct store_outcome *outcome, hf_error *error)
{
    struct store_window_item item = {
        .index = index, .time_us = command->time_us, .key_size = (uint32_t)command->idempotency_key.size};
    struct store_space_key key;
    uint8_t repeat[STORE_REPEAT_SIZE], head[STORE_REMEMBERED_HEAD_SIZE];

    if (item.key_size == 0)
        return 0;
    store_repeat_write(repeat, index, outcome);
    store_space_key_make(&key, STORE_TAG_REPEAT, command->idempotency_key);
    int32_t r = store_gather_add_readable(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                                          (hf_slice){repeat, sizeof repeat}, nothing, error);

    if (r < 0)
        return r;
    store_write_be(head, command->time_us, 8);
    store_space_key_at_index(&key, STORE_TAG_REMEMBERED, index);
    memcpy(item.key, command->idempotency_key.data, item.key_size);
    store_window_add_newest(&applying->machine->repeats, &item);
    return store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                            (hf_slice){head, sizeof head}, command->idempotency_key, error);
}

/* ---- Forgetting -------------------------------------------------------------------------------------------------- */

/* Deleting a range costs every later scan over it a little, deleting one by one costs the write. */
enum { DELETED_ONE_BY_ONE = 8 };

static int32_t forget_change(struct store_applying *applying, const struct store_window_item *item, hf_error *error)
{
    struct store_space_key key, end;

    if (item->operations > DELETED_ONE_BY_ONE) {
        store_space_key_at_index(&key, STORE_TAG_CHANGE, item->index);
        store_space_key_at_index(&end, STORE_TAG_CHANGE, item->index + 1);
        return store_gather_add(&applying->gather, HF_ENGINE_DELETE_RANGE, store_space_key_slice(&key),
                                store_space_key_slice(&end), nothing, error);
    }
    for (uint32_t i = 0; i < item->operations; i++) {
        store_space_key_of_change(&key, item->index, i);
        int32_t r =
            store_gather_add(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing, nothing, error);

        if (r < 0)
            return r;
    }
    return 0;
}

/* The newest stays, so that feed_last is known after a reopening. */
static int32_t forget_changes(struct store_applying *applying, uint64_t horizon_us, hf_error *error)
{
    struct store_window *window = &applying->machine->changes;
    struct store_position *position = &applying->position;

    for (int n = 0; n < STORE_FORGET_CHANGES; n++) {
        const struct store_window_item *oldest = store_window_oldest(window);

        if (!oldest || oldest->index == position->state.feed_last || oldest->time_us >= horizon_us)
            return 0;
        int32_t r = forget_change(applying, oldest, error);

        if (r < 0)
            return r;
        position->feed_forgotten = oldest->index;
        store_window_remove_oldest(window);
        oldest = store_window_oldest(window);
        if (oldest) /* always: the newest is there, or as many as may be forgotten and one more */
            position->state.feed_first = oldest->index;
    }
    return 0;
}

static int32_t forget_repeats(struct store_applying *applying, uint64_t horizon_us, hf_error *error)
{
    struct store_window *window = &applying->machine->repeats;
    struct store_space_key key;

    for (int n = 0; n < STORE_FORGET_REPEATS; n++) {
        const struct store_window_item *oldest = store_window_oldest(window);

        if (!oldest || oldest->time_us >= horizon_us)
            return 0;
        store_space_key_make(&key, STORE_TAG_REPEAT, (hf_slice){oldest->key, oldest->key_size});
        int32_t r = store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                              nothing, error);

        if (r < 0)
            return r;
        store_space_key_at_index(&key, STORE_TAG_REMEMBERED, oldest->index);
        r = store_gather_add(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing, nothing, error);
        if (r < 0)
            return r;
        store_window_remove_oldest(window);
    }
    return 0;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int32_t perform_first(struct store_applying *applying, uint64_t index, const struct store_command *command,
                             struct store_outcome *outcome, hf_error *error)
{
    outcome->version = index;
    int32_t r = check_conditions(applying, command, outcome, error);

    if (r == 0 && outcome->code == 0)
        r = gather_operations(applying, index, command, error);
    return r < 0 ? r : remember(applying, index, command, outcome, error);
}

int32_t store_perform(struct store_applying *applying, uint64_t index, const struct store_command *command,
                      struct store_outcome *ret_outcome, hf_error *error)
{
    *ret_outcome = (struct store_outcome){0};
    int32_t r = find_repeat(applying, command->idempotency_key, ret_outcome, error);

    if (r == 0 && !ret_outcome->repeated)
        r = perform_first(applying, index, command, ret_outcome, error);
    if (r == 0)
        r = forget_changes(applying, command->feed_horizon_us, error);
    return r < 0 ? r : forget_repeats(applying, command->repeat_horizon_us, error);
}
