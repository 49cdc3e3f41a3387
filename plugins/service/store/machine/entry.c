/* What an entry leaves as a whole: one row of the change feed, one of remembered idempotency keys, and less of both at
 * their old ends. */
#include "internal.h"

#include <holdfast/lib/error.h>

static const hf_slice nothing = {NULL, 0};

void store_entry_begin(struct store_applying *applying, const struct store_bundle *bundle)
{
    applying->bundle = *bundle;
    applying->first_change = applying->last_change = applying->last_remembered = 0;
    applying->changes.size = applying->remembered.size = 0;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* A row is its time and what the commands have added. */
static int32_t gather_row(struct store_applying *applying, uint8_t tag, uint64_t version, const hf_buffer *row,
                          hf_error *error)
{
    uint8_t time[STORE_ROW_TIME_SIZE];
    struct store_space_key key;

    store_row_write_time(time, applying->bundle.time_us);
    store_space_key_at_version(&key, tag, version);
    return store_gather_add(&applying->gather, HF_ENGINE_PUT, store_space_key_slice(&key),
                            (hf_slice){time, sizeof time}, (hf_slice){row->data, row->size}, error);
}

static int32_t end_changes(struct store_applying *applying, hf_error *error)
{
    struct store_machine_state *state = &applying->position.state;
    struct store_window_item item = {
        .first = applying->first_change, .last = applying->last_change, .time_us = applying->bundle.time_us};

    if (item.last == 0)
        return 0;
    if (state->feed_last == 0)
        state->feed_first = item.first;
    state->feed_last = item.last;
    if (store_window_add_newest(&applying->machine->changes, &item) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for what is to be forgotten; apply the entry again later");
    return gather_row(applying, STORE_TAG_CHANGE, item.last, &applying->changes, error);
}

static int32_t end_remembered(struct store_applying *applying, hf_error *error)
{
    struct store_window_item item = {.last = applying->last_remembered,
                                     .time_us = applying->bundle.time_us,
                                     .keys = {applying->remembered.data, applying->remembered.size}};

    if (item.last == 0)
        return 0;
    if (store_window_add_newest(&applying->machine->repeats, &item) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for what is to be forgotten; apply the entry again later");
    return gather_row(applying, STORE_TAG_REMEMBERED, item.last, &applying->remembered, error);
}

/* ---- Forgetting -------------------------------------------------------------------------------------------------- */

static int32_t forget_row(struct store_applying *applying, uint8_t tag, uint64_t version, hf_error *error)
{
    struct store_space_key key;

    store_space_key_at_version(&key, tag, version);
    return store_gather_add(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing, nothing, error);
}

/* The newest stays, so that feed_last is known after a reopening. */
static int32_t forget_changes(struct store_applying *applying, hf_error *error)
{
    struct store_window *window = &applying->machine->changes;
    struct store_position *position = &applying->position;

    for (int n = 0; n < STORE_FORGET_CHANGES; n++) {
        const struct store_window_item *oldest = store_window_oldest(window);

        if (!oldest || oldest->last == position->state.feed_last || oldest->time_us >= applying->bundle.feed_horizon_us)
            return 0;
        int32_t r = forget_row(applying, STORE_TAG_CHANGE, oldest->last, error);

        if (r < 0)
            return r;
        position->feed_forgotten = oldest->last;
        store_window_remove_oldest(window);
        oldest = store_window_oldest(window);
        if (oldest) /* always: the newest is there, or as many as may be forgotten and one more */
            position->state.feed_first = oldest->first;
    }
    return 0;
}

static int32_t forget_keys(struct store_applying *applying, hf_slice keys, hf_error *error)
{
    hf_slice idempotency_key = nothing;
    struct store_space_key key;

    while (store_remembered_next(&keys, &idempotency_key)) {
        store_space_key_make(&key, STORE_TAG_REPEAT, idempotency_key);
        int32_t r = store_gather_add_readable(&applying->gather, HF_ENGINE_DELETE, store_space_key_slice(&key), nothing,
                                              nothing, error);

        if (r < 0)
            return r;
    }
    return 0;
}

static int32_t forget_repeats(struct store_applying *applying, hf_error *error)
{
    struct store_window *window = &applying->machine->repeats;

    for (int n = 0; n < STORE_FORGET_REPEATS; n++) {
        const struct store_window_item *oldest = store_window_oldest(window);

        if (!oldest || oldest->time_us >= applying->bundle.repeat_horizon_us)
            return 0;
        int32_t r = forget_keys(applying, oldest->keys, error);

        if (r == 0)
            r = forget_row(applying, STORE_TAG_REMEMBERED, oldest->last, error);
        if (r < 0)
            return r;
        store_window_remove_oldest(window);
    }
    return 0;
}

int32_t store_entry_end(struct store_applying *applying, hf_error *error)
{
    int32_t r = end_changes(applying, error);

    if (r == 0)
        r = end_remembered(applying, error);
    /* Each replica copies at a pace of its own, and goes by the rows of what changed meanwhile; and takes over what was
     * closed when it comes to it. */
    if (r < 0 || store_shape_splits(&applying->position.state.shape) ||
        applying->position.state.shape.state == STORE_SHAPE_CLOSED)
        return r;
    r = forget_changes(applying, error);
    return r < 0 ? r : forget_repeats(applying, error);
}
