/* Opening, reopening, copying and erasing a partition's state machine; see machine.h. */
#include "internal.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static const hf_slice nothing = {NULL, 0};

/* ---- The state that readers share -------------------------------------------------------------------------------- */

void store_machine_position(struct store_machine *machine, struct store_position *ret_position)
{
    pthread_mutex_lock(&machine->lock);
    *ret_position = machine->position;
    pthread_mutex_unlock(&machine->lock);
}

void store_machine_set_position(struct store_machine *machine, const struct store_position *position)
{
    pthread_mutex_lock(&machine->lock);
    machine->position = *position;
    machine->feed_floor = position->feed_forgotten;
    pthread_mutex_unlock(&machine->lock);
}

uint64_t store_machine_feed_floor(struct store_machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    uint64_t floor = machine->feed_floor;

    pthread_mutex_unlock(&machine->lock);
    return floor;
}

void store_machine_set_feed_floor(struct store_machine *machine, uint64_t floor)
{
    pthread_mutex_lock(&machine->lock);
    machine->feed_floor = floor;
    pthread_mutex_unlock(&machine->lock);
}

void store_machine_set_next_deadline(struct store_machine *machine, uint64_t deadline_us)
{
    pthread_mutex_lock(&machine->lock);
    machine->next_deadline = deadline_us;
    pthread_mutex_unlock(&machine->lock);
}

void store_machine_lower_next_deadline(struct store_machine *machine, uint64_t deadline_us)
{
    pthread_mutex_lock(&machine->lock);
    if (deadline_us < machine->next_deadline)
        machine->next_deadline = deadline_us;
    pthread_mutex_unlock(&machine->lock);
}

uint64_t store_machine_next_deadline(struct store_machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    uint64_t deadline_us = machine->next_deadline;

    pthread_mutex_unlock(&machine->lock);
    return deadline_us;
}

void store_machine_state(struct store_machine *machine, struct store_machine_state *ret_state)
{
    pthread_mutex_lock(&machine->lock);
    *ret_state = machine->position.state;
    pthread_mutex_unlock(&machine->lock);
}

int32_t store_machine_lacks_other(struct store_machine *machine)
{
    return atomic_load(&machine->lacks_other);
}

void store_machine_shape(struct store_machine *machine, struct store_shape *ret_shape)
{
    pthread_mutex_lock(&machine->lock);
    *ret_shape = machine->position.state.shape;
    pthread_mutex_unlock(&machine->lock);
}

/* ---- Loading ----------------------------------------------------------------------------------------------------- */

/* The version of a change at an end of the feed. */
struct end_of_feed {
    int last; /* 1: of the row's last change, 0: of its first */
    uint64_t version;
    int32_t result;
    hf_error *error;
};

static int32_t visit_end(void *arg, hf_slice key, hf_slice value)
{
    struct end_of_feed *end = arg;
    struct store_changes changes;
    struct store_change first = {0};

    end->result = store_changes_read(key, value, &changes, end->error);
    if (end->result == 0 && store_changes_next(&changes, &first, end->error) != 1)
        end->result = HF_ECORRUPT;
    if (end->result == 0)
        end->version = end->last ? changes.last : first.version;
    return 1;
}

/* The first change, or with HF_ENGINE_REVERSE the last; *ret_version stays when there is none. */
static int32_t find_end(struct store_machine *machine, uint32_t flags, uint64_t *ret_version, hf_error *error)
{
    struct end_of_feed end = {flags == HF_ENGINE_REVERSE, *ret_version, 0, error};
    struct store_space_key from, to;

    store_space_key_make(&from, STORE_TAG_CHANGE, nothing);
    store_space_key_after_tag(&to, STORE_TAG_CHANGE);
    int32_t r = machine->engine->scan(machine->database, machine->space, store_space_key_slice(&from),
                                      store_space_key_slice(&to), flags, visit_end, &end, error);

    if (r == 0)
        r = end.result;
    if (r == 0)
        *ret_version = end.version;
    return r;
}

static int32_t load_feed(struct store_machine *machine, struct store_position *position, hf_error *error)
{
    struct store_machine_state *state = &position->state;
    int32_t r;

    state->feed_first = 1;
    state->feed_last = 0;
    r = find_end(machine, 0, &state->feed_first, error);
    if (r == 0)
        r = find_end(machine, HF_ENGINE_REVERSE, &state->feed_last, error);
    if (r < 0)
        return r;
    if (!state->feed_last && position->feed_forgotten) /* a part of another feed, of which nothing was left */
        state->feed_first = position->feed_forgotten + 1;
    if (state->feed_last > state->version || (state->feed_last && state->feed_first <= position->feed_forgotten))
        return hf_error_set(error, HF_ECORRUPT,
                            "the change feed (%llu to %llu) does not fit the newest version %llu; fetch the partition "
                            "anew from another replica",
                            (unsigned long long)state->feed_first, (unsigned long long)state->feed_last,
                            (unsigned long long)state->version);
    return 0;
}

static int32_t note_presence(void *arg, hf_slice key, hf_slice value)
{
    (void)key, (void)value;
    *(int *)arg = 1;
    return 1;
}

/* Without a position there must be nothing else. */
static int32_t check_empty(struct store_machine *machine, hf_error *error)
{
    int present = 0;
    int32_t r =
        machine->engine->scan(machine->database, machine->space, nothing, nothing, 0, note_presence, &present, error);

    if (r < 0 || !present)
        return r;
    return hf_error_set(error, HF_ECORRUPT,
                        "the partition has data but no applied position; fetch it anew from another replica");
}

/* *ret_position stays when the space is empty. */
static int32_t load_position(struct store_machine *machine, struct store_position *ret_position, hf_error *error)
{
    struct store_space_key key;
    struct store_position position = {0};
    hf_slice bytes = {NULL, 0};
    hf_error failure;

    store_space_key_make(&key, STORE_TAG_POSITION, nothing);
    int32_t r =
        machine->engine->get(machine->database, machine->space, store_space_key_slice(&key), 0, &bytes, &failure);

    if (r == HF_ENOTFOUND)
        return check_empty(machine, error);
    if (r < 0) {
        if (error)
            *error = failure;
        return r;
    }
    r = store_position_read(bytes, &position, error);
    machine->engine->release(machine->database, bytes);
    if (r == 0)
        r = load_feed(machine, &position, error);
    if (r == 0)
        *ret_position = position;
    return r;
}

static int32_t load(struct store_machine *machine, const struct store_position *when_empty, hf_error *error)
{
    struct store_position position = *when_empty;
    uint64_t deadline_us = UINT64_MAX;
    int32_t r = load_position(machine, &position, error);

    if (r == 0)
        r = store_load_deadlines(machine, &deadline_us, error);
    if (r == 0)
        r = store_transactions_load(machine, error);
    if (r < 0)
        return r;
    machine->has_deadlines = deadline_us != UINT64_MAX;
    store_machine_set_next_deadline(machine, deadline_us);
    store_window_reset(&machine->changes);
    store_window_reset(&machine->repeats);
    store_fork_drop(machine); /* what it has copied was of another state */
    store_machine_set_position(machine, &position);
    return 0;
}

static struct store_position empty_position(void)
{
    return (struct store_position){.state = {.feed_first = 1, .shape = {.hash_to = UINT64_MAX}}};
}

/* ---- Public ------------------------------------------------------------------------------------------------------ */

int32_t store_machine_open(const hf_engine *engine, hf_engine_database *database, uint64_t space,
                           const hf_replication_member *members, uint32_t member_count,
                           struct store_machine **ret_machine, hf_error *error)
{
    struct store_position position = empty_position();

    if (member_count > STORE_MEMBERS_MAX)
        return hf_error_set(error, HF_EINVAL, "a partition cannot have %u replicas; expected at most %d", member_count,
                            STORE_MEMBERS_MAX);
    for (uint32_t i = 0; i < member_count; i++)
        position.state.members[i] = members[i];
    position.state.member_count = member_count;

    struct store_machine *machine = calloc(1, sizeof *machine);

    if (!machine)
        return hf_error_set(error, HF_ENOMEM, "no memory for a partition's state machine");
    machine->engine = engine;
    machine->database = database;
    machine->space = space;
    pthread_mutex_init(&machine->lock, NULL);
    pthread_mutex_init(&machine->fork_lock, NULL);
    int32_t r = load(machine, &position, error);

    if (r < 0) {
        store_machine_close(machine);
        return r;
    }
    *ret_machine = machine;
    return 0;
}

void store_machine_close(struct store_machine *machine)
{
    if (!machine)
        return;
    store_window_reset(&machine->changes);
    store_window_reset(&machine->repeats);
    store_fork_drop(machine);
    pthread_mutex_destroy(&machine->fork_lock);
    pthread_mutex_destroy(&machine->lock);
    free(machine->transactions);
    free(machine);
}

int32_t store_machine_export(struct store_machine *machine, hf_engine_export **ret_export,
                             struct store_machine_state *ret_state, hf_error *error)
{
    int32_t r = machine->engine->export_open(machine->database, machine->space, ret_export, error);

    if (r == 0)
        store_machine_state(machine, ret_state);
    return r;
}

int32_t store_machine_reload(struct store_machine *machine, hf_error *error)
{
    struct store_position position = empty_position();

    atomic_store(&machine->lacks_other, 0);
    return load(machine, &position, error);
}

int32_t store_machine_erase(struct store_machine *machine, hf_error *error)
{
    hf_engine_operation everything = {.type = HF_ENGINE_DELETE_RANGE, .space = machine->space};
    int32_t r = machine->engine->write(machine->database, &everything, 1, error);

    return r < 0 ? r : store_machine_reload(machine, error);
}
