/* Applying entries: gathers what they write and gives it to the engine together with the position. */
#include "internal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum {
    WRITE_OPERATIONS_MAX = 1000, /* of several entries; a larger entry has a write of its own */
    WRITE_BYTES_MAX = 1 << 20,
    ROW_BYTES_MAX = 256 << 20 /* far more than the keys of an entry's commands */
};

struct run {
    struct store_applying applying;
    struct store_outcomes *outcomes;
    uint64_t pending; /* entries that are gathered and not yet written */
    uint64_t applied;
    int windows_ahead; /* 1: the windows have seen what is not gathered as a whole */
};

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static int32_t gather_position(struct store_applying *applying, hf_error *error)
{
    struct store_space_key key;
    uint8_t bytes[STORE_POSITION_SIZE_MAX];
    uint64_t size = store_position_write(bytes, &applying->position);

    store_space_key_make(&key, STORE_TAG_POSITION, (hf_slice){NULL, 0});
    return store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key), (hf_slice){bytes, size},
                            (hf_slice){NULL, 0}, error);
}

static int32_t write_gathered(struct store_applying *applying, hf_error *error)
{
    struct store_machine *machine = applying->machine;
    uint64_t floor = store_machine_feed_floor(machine);

    int32_t r = store_transactions_reserve(applying, error);

    if (r < 0)
        return r;
    store_machine_set_feed_floor(machine, applying->position.feed_forgotten);
    r = machine->engine->write(machine->database, applying->gather.operations, applying->gather.count, error);

    if (r < 0) {
        store_machine_set_feed_floor(machine, floor);
        return r;
    }
    store_machine_set_position(machine, &applying->position);
    store_machine_lower_next_deadline(machine, applying->first_deadline);
    store_transactions_settle(applying);
    if (atomic_load_explicit(&machine->is_forked, memory_order_relaxed) &&
        !store_shape_splits(&applying->position.state.shape))
        store_fork_drop(machine); /* the split has ended */
    return 0;
}

static int32_t flush(struct run *run, hf_error *error)
{
    struct store_gather *gather = &run->applying.gather;

    if (run->pending == 0)
        return 0;
    gather->count = gather->whole; /* an entry that failed may have left a part */
    store_gather_order(gather, STORE_TAG_CHANGE);
    int32_t r = gather_position(&run->applying, error);

    if (r == 0)
        r = write_gathered(&run->applying, error);
    if (r < 0)
        return r;
    store_gather_clear(gather);
    run->applying.first_deadline = UINT64_MAX;
    run->applied += run->pending;
    run->pending = 0;
    return 0;
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static int32_t load_windows(struct run *run, hf_error *error)
{
    struct store_machine *machine = run->applying.machine;
    int changes = store_window_must_load(&machine->changes), repeats = store_window_must_load(&machine->repeats);

    if (!changes && !repeats)
        return 0;
    if (run->applying.read_flags & HF_ENGINE_CACHED_ONLY)
        return hf_error_set(error, HF_EBUSY, "what is to be forgotten must be read from the disk");
    int32_t r = flush(run, error); /* the newest are not in the engine yet */

    if (r == 0 && changes)
        r = store_window_load_changes(&machine->changes, machine->engine, machine->database, machine->space, error);
    if (r == 0 && repeats)
        r = store_window_load_repeats(&machine->repeats, machine->engine, machine->database, machine->space, error);
    return r;
}

static int32_t make_room(struct run *run, uint64_t size, hf_error *error)
{
    const struct store_gather *gather = &run->applying.gather;

    return gather->count >= WRITE_OPERATIONS_MAX || gather->bytes + size > WRITE_BYTES_MAX ? flush(run, error) : 0;
}

int32_t store_applying_decode(struct store_applying *applying, hf_slice bytes, struct store_command *ret_command,
                              hf_error *error)
{
    int32_t r = store_command_decode(bytes, applying->few, STORE_FEW_OPERATIONS, ret_command, error);

    if (r == HF_ETOOLARGE && !applying->many) {
        applying->many = malloc(STORE_OPERATIONS_MAX * sizeof *applying->many);
        if (!applying->many)
            return hf_error_set(error, HF_ENOMEM, "no memory for the operations of a command");
    }
    if (r == HF_ETOOLARGE)
        r = store_command_decode(bytes, applying->many, STORE_OPERATIONS_MAX, ret_command, error);
    ret_command->time_us = applying->bundle.time_us;
    return r;
}

static int32_t add_outcome(struct run *run, struct store_outcome **ret_outcome, hf_error *error)
{
    struct store_outcomes *outcomes = run->outcomes;

    if (outcomes->count == outcomes->capacity) {
        uint64_t capacity = outcomes->capacity ? outcomes->capacity * 2 : STORE_BUNDLE_COMMANDS_MAX;
        struct store_outcome *items = realloc(outcomes->items, capacity * sizeof *items);

        if (!items)
            return hf_error_set(error, HF_ENOMEM, "no memory for the outcomes of an entry's commands");
        outcomes->items = items;
        outcomes->capacity = capacity;
    }
    *ret_outcome = &outcomes->items[outcomes->count++];
    **ret_outcome = (struct store_outcome){0};
    return 0;
}

/* Bytes that are no command are so on every replica, and are passed over.  A command of a newer release is not: other
 * replicas may perform it, so this one must wait. */
static int32_t decoded(int32_t r, struct store_outcome *outcome, const hf_error *failure, hf_error *error)
{
    if (r == HF_ECORRUPT)
        outcome->code = r;
    else if (r < 0 && error)
        *error = *failure;
    return r;
}

/* It looks at the engine as a whole, so that what came before must be there. */
static int32_t apply_reshape(struct run *run, const struct store_reshape *reshape, struct store_outcome *outcome,
                             hf_error *error)
{
    if (run->applying.bundle.count > 1) {
        outcome->code = HF_ECORRUPT;
        return 0;
    }
    int32_t r = flush(run, error);

    return r < 0 ? r : store_perform_reshape(&run->applying, reshape, outcome, error);
}

static int32_t apply_command(struct run *run, hf_slice bytes, hf_error *error)
{
    struct store_outcome *outcome = NULL;
    struct store_command command = {0};
    struct store_phase phase;
    struct store_reshape reshape;
    hf_error failure;
    int32_t r = add_outcome(run, &outcome, error);

    if (r < 0)
        return r;
    if (store_is_reshape(bytes)) {
        r = decoded(store_reshape_decode(bytes, &reshape, &failure), outcome, &failure, error);
        if (r == 0)
            return apply_reshape(run, &reshape, outcome, error);
    } else if (store_is_phase(bytes)) {
        r = decoded(store_phase_decode(bytes, &phase, &failure), outcome, &failure, error);
        if (r == 0)
            return store_perform_phase(&run->applying, &phase, outcome, error);
    } else {
        r = decoded(store_applying_decode(&run->applying, bytes, &command, &failure), outcome, &failure, error);
        if (r == 0)
            return store_perform(&run->applying, &command, outcome, error);
    }
    return r == HF_ECORRUPT ? 0 : r;
}

static int32_t apply_bundle(struct run *run, struct store_entry *entry, hf_error *error)
{
    struct store_bundle bundle;
    hf_slice command = {NULL, 0};
    hf_error failure;
    int32_t r = store_bundle_read(entry->payload, &bundle, &failure);

    if (r == HF_ECORRUPT)
        return 0; /* as above */
    if (r < 0) {
        if (error)
            *error = failure;
        return r;
    }
    r = make_room(run, entry->payload.size, error);
    if (r == 0)
        r = load_windows(run, error);
    if (r < 0)
        return r;
    store_entry_begin(&run->applying, &bundle);
    while (r == 0 && store_bundle_next(&bundle, &command))
        r = apply_command(run, command, error);
    if (r < 0)
        return r;
    run->windows_ahead = 1;
    r = store_entry_end(&run->applying, error);
    run->windows_ahead = r < 0;
    return r;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

/* Passes over what cannot be one, as every replica does. */
static void apply_membership(struct run *run, hf_slice payload)
{
    struct store_machine_state *state = &run->applying.position.state;
    uint64_t count = payload.size / sizeof(hf_replication_member);

    if (count == 0 || count > STORE_MEMBERS_MAX || payload.size % sizeof(hf_replication_member) != 0)
        return;
    memset(state->members, 0, sizeof state->members);
    memcpy(state->members, payload.data, payload.size);
    state->member_count = (uint32_t)count;
}

static int32_t apply_by_type(struct run *run, struct store_entry *entry, hf_error *error)
{
    switch (entry->type) {
    case HF_ENTRY_NORMAL:
        return apply_bundle(run, entry, error);
    case HF_ENTRY_MEMBERSHIP:
        apply_membership(run, entry->payload);
        return 0;
    case HF_ENTRY_EMPTY:
        return 0;
    default:
        return hf_error_set(error, HF_EVERSION,
                            "entry %llu has type %d, which this release does not know; upgrade this "
                            "node",
                            (unsigned long long)entry->index, entry->type);
    }
}

static int32_t check_order(const struct store_machine_state *state, const struct store_entry *entry, hf_error *error)
{
    if (entry->index == state->applied_index + 1 && entry->term >= state->applied_term)
        return 0;
    return hf_error_set(error, HF_EINVAL,
                        "entry %llu of term %llu cannot be applied after entry %llu of term %llu; expected the next "
                        "index and no older term",
                        (unsigned long long)entry->index, (unsigned long long)entry->term,
                        (unsigned long long)state->applied_index, (unsigned long long)state->applied_term);
}

static int32_t apply_entry(struct run *run, struct store_entry *entry, hf_error *error)
{
    struct store_applying *applying = &run->applying;
    struct store_position before = applying->position;
    uint64_t outcomes_before = run->outcomes->count;
    int32_t r = check_order(&before.state, entry, error);

    if (r == 0)
        r = apply_by_type(run, entry, error);
    if (r < 0) {
        applying->position = before;
        return r;
    }
    entry->outcome_count = (uint32_t)(run->outcomes->count - outcomes_before);
    applying->position.state.applied_index = entry->index;
    applying->position.state.applied_term = entry->term;
    applying->gather.whole = applying->gather.count;
    applying->noted_whole = applying->noted_count;
    run->pending++;
    return 0;
}

static void begin_run(struct run *run, struct store_machine *machine, uint32_t flags, struct store_outcomes *outcomes)
{
    *run = (struct run){.applying = {.machine = machine, .read_flags = flags, .first_deadline = UINT64_MAX},
                        .outcomes = outcomes};
    outcomes->count = 0;
    store_machine_position(machine, &run->applying.position);
    run->applying.transaction_count = machine->transaction_count; /* only this thread changes it */
    store_gather_init(&run->applying.gather, machine->space);
    hf_buffer_init(&run->applying.changes, ROW_BYTES_MAX);
    hf_buffer_init(&run->applying.remembered, ROW_BYTES_MAX);
}

static void end_run(struct run *run)
{
    store_gather_done(&run->applying.gather);
    hf_buffer_done(&run->applying.changes);
    hf_buffer_done(&run->applying.remembered);
    free(run->applying.many);
    free(run->applying.noted);
}

int32_t store_machine_apply(struct store_machine *machine, struct store_entry *entries, uint64_t count, uint32_t flags,
                            struct store_outcomes *outcomes, uint64_t *ret_applied, hf_error *error)
{
    struct run run;
    int32_t r = 0;

    begin_run(&run, machine, flags, outcomes);
    for (uint64_t i = 0; r == 0 && i < count; i++)
        r = apply_entry(&run, &entries[i], error);

    /* What came before a failed entry is applied all the same, unless it was the write that failed. */
    int32_t flushed = flush(&run, error);

    if (flushed < 0)
        r = flushed;
    if (flushed < 0 || run.windows_ahead) { /* the windows have seen entries that are not in the engine */
        store_window_reset(&machine->changes);
        store_window_reset(&machine->repeats);
    }
    *ret_applied = run.applied;
    end_run(&run);
    return r;
}
