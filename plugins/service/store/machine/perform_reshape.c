/* What a step of a split or merge does; see reshape.h. */
#include "internal.h"

#include "bug.h"
#include "bytes.h"

#include <holdfast/lib/error.h>

#include <string.h>

static const hf_slice nothing = {NULL, 0};

enum { KEYS_IN_ROW = 1000, FIRST_INDEX = 1, FIRST_TERM = 1 };

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

int store_owns_keys(const struct store_shape *shape, const struct store_command *command)
{
    if (STORE_BUG(KEEP_WRITING) ||
        (shape->hash_from == 0 && shape->hash_to == UINT64_MAX && shape->state != STORE_SHAPE_CLOSED))
        return 1;
    for (uint64_t i = 0; i < command->operation_count; i++)
        if (!store_shape_has(shape, store_hash_of(command->operations[i].key)))
            return 0;
    return 1;
}

/* ---- Locks ------------------------------------------------------------------------------------------------------- */

struct lock_search {
    uint64_t from; /* hash */
    int found;
};

static int32_t visit_lock(void *arg, hf_slice key, hf_slice row)
{
    struct lock_search *search = arg;

    (void)row;
    search->found = store_hash_of((hf_slice){key.data + 1, key.size - 1}) >= search->from;
    return search->found;
}

/* Whether a key with that hash or a higher one is locked: 1, 0, or an error. */
static int32_t has_lock_from(const struct store_machine *machine, uint64_t hash, hf_error *error)
{
    struct lock_search search = {hash, 0};
    struct store_space_key from, to;

    store_space_key_make(&from, STORE_TAG_LOCK, nothing);
    store_space_key_after_tag(&to, STORE_TAG_LOCK);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                      store_space_key_slice(&to), 0, visit_lock, &search, error);

    return r < 0 ? r : search.found;
}

/* ---- Splitting --------------------------------------------------------------------------------------------------- */

static int32_t split_begin(struct store_applying *applying, const struct store_reshape *reshape,
                           struct store_outcome *outcome)
{
    struct store_shape *shape = &applying->position.state.shape;

    if (shape->other == reshape->other && shape->state != STORE_SHAPE_CLOSED)
        return 0; /* begun, or even ended already */
    if (shape->state != STORE_SHAPE_STEADY || reshape->from <= shape->hash_from || reshape->from > shape->hash_to) {
        outcome->code = HF_ECONFLICT;
        return 0;
    }
    shape->state = STORE_SHAPE_SPLITTING;
    shape->other = reshape->other;
    shape->other_from = reshape->from;
    return 0;
}

/* The first position of the partition that comes to be: as if a snapshot had been installed there. */
static int32_t gather_other(struct store_applying *applying, uint64_t version, hf_error *error)
{
    const struct store_position *own = &applying->position;
    struct store_position other = {.feed_forgotten = own->feed_forgotten};
    struct store_space_key key;
    uint8_t bytes[STORE_POSITION_SIZE_MAX];

    other.state = own->state;
    other.state.applied_index = FIRST_INDEX;
    other.state.applied_term = FIRST_TERM;
    other.state.shape = (struct store_shape){.hash_from = own->state.shape.other_from,
                                             .hash_to = own->state.shape.hash_to,
                                             .epoch = own->state.shape.epoch + 1,
                                             .version = version};
    uint64_t size = store_position_write(bytes, &other), space = applying->gather.space;

    store_space_key_make(&key, STORE_TAG_POSITION, nothing);
    applying->gather.space = own->state.shape.other;
    int32_t r = store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key), (hf_slice){bytes, size},
                                 nothing, error);

    applying->gather.space = space;
    return r;
}

static int32_t split_end(struct store_applying *applying, const struct store_reshape *reshape, uint64_t version,
                         struct store_outcome *outcome, hf_error *error)
{
    struct store_shape *shape = &applying->position.state.shape;

    if (shape->other == reshape->other && shape->state == STORE_SHAPE_STEADY) {
        outcome->version = shape->version;
        return 0;
    }
    if (shape->other != reshape->other || !store_shape_splits(shape)) {
        outcome->code = HF_ECONFLICT;
        return 0;
    }
    int32_t r = STORE_BUG(SPLIT_LOCKED) ? 0 : has_lock_from(applying->machine, shape->other_from, error);

    if (r > 0) {
        shape->state = STORE_SHAPE_CLOSING;
        outcome->code = HF_EBUSY;
        return 0;
    }
    if (r == 0)
        r = store_fork_has_begun(applying->machine, shape->other, error);
    if (r == 0) { /* else this replica came to the node later than that partition did */
        r = store_fork_complete(applying->machine, error);
        if (r == 0)
            r = gather_other(applying, version, error);
    }
    if (r < 0)
        return r;
    shape->hash_to = shape->other_from - 1;
    shape->state = STORE_SHAPE_STEADY;
    shape->has_strays = 1;
    shape->epoch++;
    shape->version = version;
    return 0;
}

int32_t store_perform_removes(struct store_applying *applying, const struct store_command *command, hf_error *error)
{
    const struct store_shape *shape = &applying->position.state.shape;
    int32_t r = 0;

    for (uint64_t i = 0; i < command->operation_count && r == 0; i++) {
        const struct store_operation *operation = &command->operations[i];
        struct store_space_key key;

        if (store_shape_has(shape, store_hash_of(operation->key)))
            continue; /* it has come back by a merge */
        r = store_gather_deadline(applying, operation->key, 0, 0, error);
        store_space_key_make(&key, STORE_TAG_RECORD, operation->key);
        if (r == 0)
            r = store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                          nothing, error);
    }
    return r;
}

/* ---- Merging ----------------------------------------------------------------------------------------------------- */

/* What was decided here stays here for those who ask; what is prepared must be decided first. */
static int32_t close_it(struct store_applying *applying, const struct store_reshape *reshape, uint64_t version,
                        struct store_outcome *outcome, hf_error *error)
{
    struct store_shape *shape = &applying->position.state.shape;

    if (shape->state == STORE_SHAPE_CLOSED) {
        outcome->code = shape->other == reshape->other ? 0 : HF_ECONFLICT;
        outcome->version = shape->version;
        return 0;
    }
    if ((shape->state != STORE_SHAPE_STEADY && shape->state != STORE_SHAPE_DRAINING) || shape->has_strays) {
        outcome->code = HF_ECONFLICT;
        return 0;
    }
    int32_t r = has_lock_from(applying->machine, 0, error);

    if (r < 0)
        return r;
    if (r > 0) {
        shape->state = STORE_SHAPE_DRAINING;
        outcome->code = HF_EBUSY;
        return 0;
    }
    shape->state = STORE_SHAPE_CLOSED;
    shape->other = reshape->other;
    shape->epoch++;
    shape->version = version;
    return 0;
}

/* Taking over rows from the closed partition's space. */
struct absorbing {
    struct store_applying *applying;
    uint64_t version; /* the last one that was taken for a row of idempotency keys */
    hf_buffer keys;   /* of the next such row */
    uint64_t count;
    hf_error *error;
    int32_t result;
};

static int32_t end_keys(struct absorbing *absorbing)
{
    struct store_applying *applying = absorbing->applying;
    struct store_space_key key;
    uint8_t time[STORE_ROW_TIME_SIZE];

    if (absorbing->count == 0)
        return 0;
    absorbing->count = 0;
    store_row_write_time(time, applying->bundle.time_us);
    store_space_key_at_version(&key, STORE_TAG_REMEMBERED, ++absorbing->version);
    int32_t r =
        store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key), (hf_slice){time, sizeof time},
                         (hf_slice){absorbing->keys.data, absorbing->keys.size}, absorbing->error);

    absorbing->keys.size = 0;
    return r;
}

static int32_t take_repeat(struct absorbing *absorbing, hf_slice key, hf_slice row)
{
    struct store_applying *applying = absorbing->applying;
    struct store_present present;
    int32_t r = store_present_read(applying, key, &present, absorbing->error);

    if (r != HF_ENOTFOUND) { /* both have it since they were one */
        if (r == 0)
            store_present_release(applying, &present);
        return r;
    }
    r = store_gather_add(&applying->gather, HF_ENGINE_PUT, key, row, nothing, absorbing->error);
    if (r == 0 && store_remembered_add(&absorbing->keys, (hf_slice){key.data + 1, key.size - 1}) < 0)
        r = hf_error_set(absorbing->error, HF_ENOMEM, "no memory for idempotency keys; apply the entry again later");
    if (r == 0 && ++absorbing->count == KEYS_IN_ROW)
        r = end_keys(absorbing);
    return r;
}

static int32_t visit_absorbed(void *arg, hf_slice key, hf_slice row)
{
    struct absorbing *absorbing = arg;
    struct store_applying *applying = absorbing->applying;

    if (key.data[0] == STORE_TAG_REPEAT) {
        absorbing->result = take_repeat(absorbing, key, row);
    } else {
        absorbing->result = store_gather_add(&applying->gather, HF_ENGINE_PUT, key, row, nothing, absorbing->error);
        if (key.data[0] == STORE_TAG_DEADLINE) {
            applying->machine->has_deadlines = 1;
            applying->first_deadline = 0; /* some time; the next search tells */
        }
    }
    return absorbing->result < 0;
}

/* All rows of a tag. */
static int32_t take_rows(struct absorbing *absorbing, uint64_t space, uint8_t tag)
{
    const struct store_machine *machine = absorbing->applying->machine;
    struct store_space_key from, to;

    store_space_key_make(&from, tag, nothing);
    store_space_key_after_tag(&to, tag);
    int32_t r = machine->engine->scan(machine->database, space, store_space_key_slice(&from),
                                      store_space_key_slice(&to), 0, visit_absorbed, absorbing, absorbing->error);

    return r < 0 ? r : absorbing->result;
}

/* HF_EBUSY: it is not as far yet on this node. */
static int32_t read_closed(const struct store_machine *machine, const struct store_reshape *reshape,
                           struct store_position *ret_position, hf_error *error)
{
    struct store_space_key key;
    hf_slice bytes = nothing;

    store_space_key_make(&key, STORE_TAG_POSITION, nothing);
    int32_t r = machine->engine->get(machine->database, reshape->other, store_space_key_slice(&key), 0, &bytes, error);

    if (r == HF_ENOTFOUND)
        return hf_error_set(error, HF_EBUSY, "partition %llu, which is to be merged into this one, is not here yet",
                            (unsigned long long)reshape->other);
    if (r < 0)
        return r;
    r = store_position_read(bytes, ret_position, error);
    machine->engine->release(machine->database, bytes);
    if (r == 0 &&
        (ret_position->state.applied_index < reshape->index || ret_position->state.shape.state != STORE_SHAPE_CLOSED))
        r = hf_error_set(error, HF_EBUSY, "partition %llu, which is to be merged into this one, is behind here",
                         (unsigned long long)reshape->other);
    return r;
}

static int32_t take_all(struct store_applying *applying, uint64_t other, uint64_t *version, hf_error *error)
{
    struct absorbing absorbing = {.applying = applying, .version = *version, .error = error};
    int32_t r;

    hf_buffer_init(&absorbing.keys, UINT32_MAX);
    r = take_rows(&absorbing, other, STORE_TAG_RECORD);
    if (r == 0)
        r = take_rows(&absorbing, other, STORE_TAG_DEADLINE);
    if (r == 0 && !STORE_BUG(LEAVE_REPEATS))
        r = take_rows(&absorbing, other, STORE_TAG_REPEAT);
    if (r == 0)
        r = end_keys(&absorbing);
    hf_buffer_done(&absorbing.keys);
    *version = absorbing.version;
    return r;
}

static int32_t absorb(struct store_applying *applying, const struct store_reshape *reshape,
                      struct store_outcome *outcome, hf_error *error)
{
    struct store_machine_state *state = &applying->position.state;
    struct store_position closed;

    if (state->shape.other == reshape->other && state->shape.hash_to >= reshape->from) {
        outcome->version = state->shape.version;
        return 0;
    }
    if (state->shape.state != STORE_SHAPE_STEADY || state->shape.has_strays) {
        outcome->code = HF_ECONFLICT;
        return 0;
    }
    int32_t r = read_closed(applying->machine, reshape, &closed, error);

    atomic_store(&applying->machine->lacks_other, r == HF_EBUSY);
    if (r < 0)
        return r;
    /* Versions of both go on from the higher one.  That of the closing is the same on all replicas; what came later, a
     * repeated CLOSE or a write that was refused, has been counted here or not. */
    if (state->version < closed.state.shape.version && !STORE_BUG(OWN_VERSIONS))
        state->version = closed.state.shape.version;
    r = take_all(applying, reshape->other, &state->version, error);
    if (r < 0)
        return r;
    state->version++;
    state->shape.hash_to = reshape->from;
    state->shape.other = reshape->other;
    state->shape.epoch++;
    state->shape.version = outcome->version = state->version;
    store_window_reset(&applying->machine->repeats); /* rows were added behind its back */
    return 0;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

int32_t store_perform_reshape(struct store_applying *applying, const struct store_reshape *reshape,
                              struct store_outcome *ret_outcome, hf_error *error)
{
    int blocks = reshape->step == STORE_RESHAPE_SPLIT_END || reshape->step == STORE_RESHAPE_CLOSE ||
                 reshape->step == STORE_RESHAPE_ABSORB;

    if (blocks && applying->read_flags & HF_ENGINE_CACHED_ONLY)
        return hf_error_set(error, HF_EBUSY, "a split or merge must read from the disk");
    uint64_t version = ++applying->position.state.version;

    *ret_outcome = (struct store_outcome){.version = version};
    switch (reshape->step) {
    case STORE_RESHAPE_SPLIT_BEGIN:
        return split_begin(applying, reshape, ret_outcome);
    case STORE_RESHAPE_SPLIT_END:
        return split_end(applying, reshape, version, ret_outcome, error);
    case STORE_RESHAPE_TRIMMED:
        if (reshape->index == applying->position.state.shape.epoch)
            applying->position.state.shape.has_strays = 0;
        return 0;
    case STORE_RESHAPE_CLOSE:
        return close_it(applying, reshape, version, ret_outcome, error);
    default:
        return absorb(applying, reshape, ret_outcome, error);
    }
}

/* ---- Around a split ---------------------------------------------------------------------------------------------- */

struct stray_search {
    struct store_shape shape;
    hf_arena *arena;
    struct store_operation *operations;
    uint64_t capacity, count;
    hf_error *error;
    int32_t result;
};

static int32_t visit_stray(void *arg, hf_slice key, hf_slice row)
{
    struct stray_search *search = arg;
    hf_slice record_key = {key.data + 1, key.size - 1};

    (void)row;
    if (store_shape_has(&search->shape, store_hash_of(record_key)))
        return 0;
    struct store_operation *operation = &search->operations[search->count++];

    *operation = (struct store_operation){.type = STORE_REMOVE};
    if (hf_arena_copy(search->arena, record_key, &operation->key) < 0)
        search->result = hf_error_set(search->error, HF_ENOMEM, "no memory for the keys of records that have moved");
    return search->result < 0 || search->count == search->capacity;
}

int32_t store_machine_strays(struct store_machine *machine, hf_slice from, hf_arena *arena,
                             struct store_operation *operations, uint64_t capacity, uint64_t *ret_count,
                             hf_error *error)
{
    struct stray_search search = {.arena = arena, .operations = operations, .capacity = capacity, .error = error};
    struct store_machine_state state;
    struct store_space_key first, end;

    store_machine_state(machine, &state);
    search.shape = state.shape;
    store_space_key_make(&first, STORE_TAG_RECORD, from);
    store_space_key_after_tag(&end, STORE_TAG_RECORD);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&first),
                                      store_space_key_slice(&end), 0, visit_stray, &search, error);

    *ret_count = search.count;
    return r < 0 ? r : search.result;
}

struct counting {
    struct store_shape shape;
    uint64_t bytes, most;
};

static int32_t count_record(void *arg, hf_slice key, hf_slice row)
{
    struct counting *counting = arg;

    if (store_shape_has(&counting->shape, store_hash_of((hf_slice){key.data + 1, key.size - 1})))
        counting->bytes += key.size + row.size;
    return counting->bytes > counting->most;
}

int32_t store_machine_count(struct store_machine *machine, uint64_t most, uint64_t *ret_bytes, hf_error *error)
{
    struct counting counting = {.most = most};
    struct store_space_key first, end;

    store_machine_shape(machine, &counting.shape);
    store_space_key_make(&first, STORE_TAG_RECORD, nothing);
    store_space_key_after_tag(&end, STORE_TAG_RECORD);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&first),
                                      store_space_key_slice(&end), 0, count_record, &counting, error);

    *ret_bytes = counting.bytes;
    return r;
}

int32_t store_machine_is_there(const hf_engine *engine, hf_engine_database *database, uint64_t space, hf_error *error)
{
    struct store_space_key key;
    hf_slice bytes = nothing;

    store_space_key_make(&key, STORE_TAG_POSITION, nothing);
    int32_t r = engine->get(database, space, store_space_key_slice(&key), 0, &bytes, error);

    if (r == HF_ENOTFOUND)
        return 0;
    if (r == 0)
        engine->release(database, bytes);
    return r < 0 ? r : 1;
}

int32_t store_machine_discard(const hf_engine *engine, hf_engine_database *database, uint64_t space, hf_error *error)
{
    const hf_engine_operation everything = {.type = HF_ENGINE_DELETE_RANGE, .space = space};
    int32_t r = store_machine_is_there(engine, database, space, error);

    if (r == 0)
        return engine->write(database, &everything, 1, error);
    return r < 0 ? r : 0;
}
