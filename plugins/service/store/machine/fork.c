/* Copying what a split takes away into the other partition's space, beside the work on this one.
 *
 * First all records of the part and all idempotency keys, in the order of their keys; then the rows of changes and of
 * remembered keys, in the order of their versions.  What such a row names that is newer than the beginning of the copy
 * has changed since, so it is copied again as it is now; nothing that happens later is missed, for it has a row of its
 * own further on.  When the rows end, the copy is what this partition has, and with the last entry of the split, which
 * nothing runs beside, exactly so.  A copy that was broken off begins anew. */
#include "internal.h"

#include "bug.h"
#include "bytes.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static const hf_slice nothing = {NULL, 0};

enum { PIECE_BYTES = 256 << 10, PIECE_OPERATIONS = 2000, ROW_MAX = 256 << 20 };

/* What is being copied. */
enum { RECORDS = 0, REPEATS, CHANGES, REMEMBERED, STAGES };
static const uint8_t tags[STAGES] = {STORE_TAG_RECORD, STORE_TAG_REPEAT, STORE_TAG_CHANGE, STORE_TAG_REMEMBERED};

struct store_fork {
    struct store_machine *machine;
    uint64_t other, from, to; /* the space, and its hashes */
    uint64_t since;           /* version at the beginning: what is newer is copied again where a row names it */
    int32_t stage;
    struct store_space_key next[STAGES]; /* where each goes on */
    struct store_gather gather;          /* for the other's space */
    int32_t full;                        /* 1: the piece has ended before the stage */
    int32_t result;
    hf_error *error;
};

/* ---- What both sides have ---------------------------------------------------------------------------------------- */

static int32_t add(struct store_fork *fork, int32_t type, hf_slice key, hf_slice value)
{
    return store_gather_add_readable(&fork->gather, type, key, value, nothing, fork->error);
}

/* The row in the other's space as it will be; HF_ENOTFOUND.  `*ret_owned` tells that it is to be released. */
static int32_t read_copy(struct store_fork *fork, hf_slice key, hf_slice *ret_row, int *ret_owned)
{
    const struct store_machine *machine = fork->machine;
    const hf_engine_operation *gathered = store_gather_find(&fork->gather, key);

    *ret_owned = !gathered;
    if (!gathered)
        return machine->engine->get(machine->database, fork->other, key, 0, ret_row, fork->error);
    *ret_row = gathered->value;
    return gathered->type == HF_ENGINE_PUT ? 0 : HF_ENOTFOUND;
}

/* The row of the copied record's deadline goes with it. */
static int32_t drop_deadline(struct store_fork *fork, hf_slice key)
{
    struct store_record record = {0};
    struct store_space_key row;
    hf_slice bytes = nothing;
    int owned = 0;
    int32_t r = read_copy(fork, key, &bytes, &owned);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r == 0)
        r = store_record_read(bytes, &record, fork->error);
    if (owned && bytes.data)
        fork->machine->engine->release(fork->machine->database, bytes);
    if (r < 0 || !record.deadline_us)
        return r;
    store_space_key_at_deadline(&row, record.deadline_us, (hf_slice){key.data + 1, key.size - 1});
    return add(fork, HF_ENGINE_DELETE, store_space_key_slice(&row), nothing);
}

static int32_t copy_record(struct store_fork *fork, hf_slice key, hf_slice row)
{
    struct store_record record = {0};
    struct store_space_key deadline;
    uint8_t version[8];
    int32_t r = store_record_read(row, &record, fork->error);

    if (r == 0)
        r = add(fork, HF_ENGINE_PUT, key, row);
    if (r < 0 || !record.deadline_us)
        return r;
    store_space_key_at_deadline(&deadline, record.deadline_us, (hf_slice){key.data + 1, key.size - 1});
    store_write_be(version, record.version, sizeof version);
    return add(fork, HF_ENGINE_PUT, store_space_key_slice(&deadline), (hf_slice){version, sizeof version});
}

/* ---- What has changed since the beginning ------------------------------------------------------------------------ */

/* A row of this partition's space as it is now, with the `copy` of a row that is there. */
static int32_t copy_again(struct store_fork *fork, hf_slice key,
                          int32_t (*copy)(struct store_fork *fork, hf_slice key, hf_slice row))
{
    const struct store_machine *machine = fork->machine;
    hf_slice row = nothing;
    int32_t r = machine->engine->get(machine->database, machine->space, key, 0, &row, fork->error);

    if (r == HF_ENOTFOUND)
        return add(fork, HF_ENGINE_DELETE, key, nothing);
    if (r < 0)
        return r;
    r = copy(fork, key, row);
    machine->engine->release(machine->database, row);
    return r;
}

static int32_t copy_row(struct store_fork *fork, hf_slice key, hf_slice row)
{
    if (STORE_BUG(LEAVE_REPEATS) && key.data[0] == STORE_TAG_REPEAT)
        return 0;
    return add(fork, HF_ENGINE_PUT, key, row);
}

static int32_t copy_changed_records(struct store_fork *fork, const struct store_changes *changes)
{
    struct store_changes rest = *changes;
    struct store_change change = {0};
    struct store_space_key key;
    int32_t r;

    while ((r = store_changes_next(&rest, &change, fork->error)) == 1) {
        uint64_t hash = store_hash_of(change.key);

        if (hash < fork->from || hash > fork->to)
            continue;
        store_space_key_make(&key, STORE_TAG_RECORD, change.key);
        r = drop_deadline(fork, store_space_key_slice(&key));
        if (r == 0)
            r = copy_again(fork, store_space_key_slice(&key), copy_record);
        if (r < 0)
            return r;
    }
    return r;
}

/* ---- Rows, one after the other ----------------------------------------------------------------------------------- */

static int32_t take_record(struct store_fork *fork, hf_slice key, hf_slice row)
{
    uint64_t hash = store_hash_of((hf_slice){key.data + 1, key.size - 1});

    return hash >= fork->from && hash <= fork->to ? copy_record(fork, key, row) : 0;
}

static int32_t take_changes(struct store_fork *fork, hf_slice key, hf_slice row)
{
    struct store_changes changes;
    struct store_space_key part_key;
    uint64_t last = 0;
    hf_buffer part;
    int32_t r = store_changes_read(key, row, &changes, fork->error);

    if (r < 0)
        return r;
    hf_buffer_init(&part, ROW_MAX);
    r = store_changes_part(&changes, fork->from, fork->to, &part, &last, fork->error);
    store_space_key_at_version(&part_key, STORE_TAG_CHANGE, last);
    if (r == 0 && last)
        r = store_gather_add(&fork->gather, HF_ENGINE_PUT, store_space_key_slice(&part_key),
                             (hf_slice){row.data, STORE_ROW_TIME_SIZE}, (hf_slice){part.data, part.size}, fork->error);
    hf_buffer_done(&part);
    return r == 0 && last && changes.last > fork->since && !STORE_BUG(LATE_CHANGES)
               ? copy_changed_records(fork, &changes)
               : r;
}

static int32_t take_remembered(struct store_fork *fork, hf_slice key, hf_slice row)
{
    uint64_t version = 0, time_us = 0;
    hf_slice keys = nothing, idempotency_key = nothing;
    struct store_space_key repeat;
    int32_t r = store_remembered_read(key, row, &version, &time_us, &keys, fork->error);

    if (r == 0)
        r = copy_row(fork, key, row);
    while (r == 0 && version > fork->since && store_remembered_next(&keys, &idempotency_key)) {
        store_space_key_make(&repeat, STORE_TAG_REPEAT, idempotency_key);
        r = copy_again(fork, store_space_key_slice(&repeat), copy_row);
    }
    return r;
}

/* The key behind this one. */
static void go_behind(struct store_space_key *next, hf_slice key)
{
    memcpy(next->bytes, key.data, key.size);
    next->bytes[key.size] = 0;
    next->size = key.size + 1;
}

static int32_t visit_row(void *arg, hf_slice key, hf_slice row)
{
    static int32_t (*const take[STAGES])(struct store_fork * fork, hf_slice key,
                                         hf_slice row) = {take_record, copy_row, take_changes, take_remembered};
    struct store_fork *fork = arg;

    if (fork->gather.bytes >= PIECE_BYTES || fork->gather.count >= PIECE_OPERATIONS) {
        fork->full = 1;
        return 1;
    }
    fork->result = take[fork->stage](fork, key, row);
    if (fork->result == 0)
        go_behind(&fork->next[fork->stage], key);
    return fork->result < 0;
}

/* Copies a piece of the stage; *ret_bytes is what it was.  Nothing has happened when it fails. */
static int32_t copy_piece(struct store_fork *fork, uint64_t *ret_bytes)
{
    const struct store_machine *machine = fork->machine;
    const struct store_space_key begin = fork->next[fork->stage];
    struct store_space_key end;

    fork->full = 0;
    fork->result = 0;
    store_space_key_after_tag(&end, tags[fork->stage]);
    int32_t r =
        machine->engine->scan(machine->database, machine->space, store_space_key_slice(&fork->next[fork->stage]),
                              store_space_key_slice(&end), 0, visit_row, fork, fork->error);

    if (r == 0)
        r = fork->result;
    if (r == 0 && fork->gather.count > 0)
        r = machine->engine->write(machine->database, fork->gather.operations, fork->gather.count, fork->error);
    *ret_bytes = fork->gather.bytes;
    store_gather_clear(&fork->gather);
    if (r < 0)
        fork->next[fork->stage] = begin;
    return r;
}

/* ---- The copy as a whole ----------------------------------------------------------------------------------------- */

static int32_t begin(struct store_machine *machine, const struct store_machine_state *state, hf_error *error)
{
    const hf_engine_operation everything = {.type = HF_ENGINE_DELETE_RANGE, .space = state->shape.other};
    struct store_fork *fork = calloc(1, sizeof *fork);

    if (!fork)
        return hf_error_set(error, HF_ENOMEM, "no memory to copy what a split takes away");
    int32_t r = machine->engine->write(machine->database, &everything, 1, error);

    if (r < 0) {
        free(fork);
        return r;
    }
    *fork = (struct store_fork){.machine = machine,
                                .other = state->shape.other,
                                .from = state->shape.other_from,
                                .to = state->shape.hash_to,
                                .since = state->version};
    for (int stage = 0; stage < STAGES; stage++)
        store_space_key_make(&fork->next[stage], tags[stage], nothing);
    store_gather_init(&fork->gather, fork->other);
    machine->fork = fork;
    return 0;
}

static void drop(struct store_machine *machine)
{
    atomic_store(&machine->is_forked, 0);
    if (machine->fork)
        store_gather_done(&machine->fork->gather);
    free(machine->fork);
    machine->fork = NULL;
}

/* It has ended when both kinds of rows have, one after the other, within the call. */
static int32_t copy_some(struct store_fork *fork, uint64_t bytes, int *ret_end)
{
    uint64_t done = 0, piece = 0;
    int32_t r = 0;
    int changes_ended = 0;

    *ret_end = 0;
    while (r == 0 && !*ret_end && done < bytes) {
        r = copy_piece(fork, &piece);
        done += piece;
        if (r < 0 || fork->full)
            continue;
        *ret_end = changes_ended && fork->stage == REMEMBERED;
        changes_ended |= fork->stage == CHANGES;
        fork->stage = fork->stage == REMEMBERED ? CHANGES : fork->stage + 1;
    }
    return r;
}

int32_t store_fork_has_begun(const struct store_machine *machine, uint64_t other, hf_error *error)
{
    struct store_space_key key;
    hf_slice bytes = nothing;

    store_space_key_make(&key, STORE_TAG_POSITION, nothing);
    int32_t r = machine->engine->get(machine->database, other, store_space_key_slice(&key), 0, &bytes, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r == 0)
        machine->engine->release(machine->database, bytes);
    return r < 0 ? r : 1;
}

/* A replica that came to the node later and goes through the log may meet a split whose other partition lives here:
 * that must not be written. */
static int32_t begin_if_needed(struct store_machine *machine, const struct store_machine_state *state, hf_error *error)
{
    int32_t begun = store_fork_has_begun(machine, state->shape.other, error);

    if (begun > 0)
        atomic_store(&machine->is_forked, 1);
    return begun != 0 ? begun : begin(machine, state, error);
}

static int32_t run(struct store_machine *machine, uint64_t bytes, hf_error *error)
{
    struct store_machine_state state;
    int32_t r = 0;
    int end = 0;

    store_machine_state(machine, &state);
    if (machine->fork && (!store_shape_splits(&state.shape) || machine->fork->other != state.shape.other))
        drop(machine);
    if (!store_shape_splits(&state.shape))
        return 1;
    if (!machine->fork)
        r = begin_if_needed(machine, &state, error);
    if (r != 0)
        return r;
    machine->fork->error = error;
    r = copy_some(machine->fork, bytes, &end);
    if (r == HF_EBUSY)
        return r; /* what was gathered is gathered again */
    if (r < 0)
        drop(machine); /* the next call begins anew */
    else
        atomic_store(&machine->is_forked, end);
    return r < 0 ? r : end;
}

int32_t store_machine_fork(struct store_machine *machine, uint64_t bytes, hf_error *error)
{
    pthread_mutex_lock(&machine->fork_lock);
    int32_t r = run(machine, bytes, error);

    pthread_mutex_unlock(&machine->fork_lock);
    return r;
}

int32_t store_machine_is_forked(struct store_machine *machine)
{
    return atomic_load(&machine->is_forked);
}

int32_t store_fork_complete(struct store_machine *machine, hf_error *error)
{
    int32_t r = store_machine_fork(machine, UINT64_MAX, error);

    return r < 0 ? r : 0;
}

void store_fork_drop(struct store_machine *machine)
{
    pthread_mutex_lock(&machine->fork_lock);
    drop(machine);
    pthread_mutex_unlock(&machine->fork_lock);
}
