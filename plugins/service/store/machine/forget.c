/* Windows on what is oldest; see forget.h. */
#include "forget.h"

#include "layout.h"

#include <string.h>

void store_window_reset(struct store_window *window)
{
    window->first = window->count = 0;
    window->complete = 0;
    window->from = 0;
}

const struct store_window_item *store_window_oldest(const struct store_window *window)
{
    return window->count ? &window->items[window->first] : NULL;
}

void store_window_remove_oldest(struct store_window *window)
{
    window->from = window->items[window->first].index + 1;
    window->first = (window->first + 1) % STORE_WINDOW_SIZE;
    window->count--;
}

void store_window_add_newest(struct store_window *window, const struct store_window_item *item)
{
    if (!window->complete)
        return;
    if (window->count == STORE_WINDOW_SIZE) {
        window->complete = 0;
        return;
    }
    window->items[(window->first + window->count++) % STORE_WINDOW_SIZE] = *item;
}

/* ---- Loading ---- */

struct loading {
    struct store_window *window;
    hf_error *error;
    int32_t result;
};

typedef int32_t (*visit_stored)(void *arg, hf_slice key, hf_slice value);

/* While it loads, the window counts as complete; a visitor that finds no room makes it incomplete and ends. */
static int32_t load(struct store_window *window, const hf_engine *engine, hf_engine_database *database, uint64_t space,
                    uint8_t tag, visit_stored visit, hf_error *error)
{
    struct loading loading = {window, error, 0};
    struct store_space_key from, to;

    window->first = window->count = 0;
    window->complete = 1;
    store_space_key_at_index(&from, tag, window->from);
    store_space_key_after_tag(&to, tag);
    int32_t r = engine->scan(database, space, store_space_key_slice(&from), store_space_key_slice(&to), 0, visit,
                             &loading, error);

    if (r == 0)
        r = loading.result;
    if (r < 0)
        store_window_reset(window);
    return r;
}

static int32_t load_change(void *arg, hf_slice key, hf_slice value)
{
    struct loading *loading = arg;
    struct store_window *window = loading->window;
    struct store_change change;

    loading->result = store_change_read(key, value, &change, loading->error);
    if (loading->result < 0)
        return 1;
    struct store_window_item *newest =
        window->count ? &window->items[(window->first + window->count - 1) % STORE_WINDOW_SIZE] : NULL;

    if (newest && newest->index == change.index) {
        newest->operations++;
        return 0;
    }
    store_window_add_newest(
        window, &(struct store_window_item){.index = change.index, .time_us = change.time_us, .operations = 1});
    return !window->complete;
}

int32_t store_window_load_changes(struct store_window *window, const hf_engine *engine, hf_engine_database *database,
                                  uint64_t space, hf_error *error)
{
    return load(window, engine, database, space, STORE_TAG_CHANGE, load_change, error);
}

static int32_t load_repeat(void *arg, hf_slice key, hf_slice value)
{
    struct loading *loading = arg;
    struct store_window_item item = {0};
    hf_slice idempotency_key = {NULL, 0};

    loading->result = store_remembered_read(key, value, &item.index, &item.time_us, &idempotency_key, loading->error);
    if (loading->result < 0)
        return 1;
    item.key_size = (uint32_t)idempotency_key.size;
    memcpy(item.key, idempotency_key.data, idempotency_key.size);
    store_window_add_newest(loading->window, &item);
    return !loading->window->complete;
}

int32_t store_window_load_repeats(struct store_window *window, const hf_engine *engine, hf_engine_database *database,
                                  uint64_t space, hf_error *error)
{
    return load(window, engine, database, space, STORE_TAG_REMEMBERED, load_repeat, error);
}
