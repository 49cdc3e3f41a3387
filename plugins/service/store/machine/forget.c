/* Windows on what is oldest; see forget.h. */
#include "forget.h"

#include "layout.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static void drop_first(struct store_window *window)
{
    free((void *)(uintptr_t)window->items[window->first].keys.data);
    window->first = (window->first + 1) % STORE_WINDOW_SIZE;
    window->count--;
}

static void drop_all(struct store_window *window)
{
    while (window->count > 0)
        drop_first(window);
}

void store_window_reset(struct store_window *window)
{
    drop_all(window);
    window->complete = 0;
    window->from = 0;
}

const struct store_window_item *store_window_oldest(const struct store_window *window)
{
    return window->count ? &window->items[window->first] : NULL;
}

void store_window_remove_oldest(struct store_window *window)
{
    window->from = window->items[window->first].last + 1;
    drop_first(window);
}

int32_t store_window_add_newest(struct store_window *window, const struct store_window_item *item)
{
    struct store_window_item *place = &window->items[(window->first + window->count) % STORE_WINDOW_SIZE];
    uint8_t *keys = NULL;

    if (!window->complete)
        return 0;
    if (window->count == STORE_WINDOW_SIZE) {
        window->complete = 0;
        return 0;
    }
    if (item->keys.size) {
        keys = malloc(item->keys.size);
        if (!keys)
            return HF_ENOMEM;
        memcpy(keys, item->keys.data, item->keys.size);
    }
    *place = *item;
    place->keys.data = keys;
    window->count++;
    return 0;
}

/* ---- Loading ----------------------------------------------------------------------------------------------------- */

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

    drop_all(window);
    window->complete = 1;
    store_space_key_at_version(&from, tag, window->from);
    store_space_key_after_tag(&to, tag);
    int32_t r = engine->scan(database, space, store_space_key_slice(&from), store_space_key_slice(&to), 0, visit,
                             &loading, error);

    if (r == 0)
        r = loading.result;
    if (r < 0)
        store_window_reset(window);
    return r;
}

/* Adds a row to the window; 1 ends the scan. */
static int32_t add_loaded(struct loading *loading, const struct store_window_item *item)
{
    if (store_window_add_newest(loading->window, item) != 0)
        loading->result = hf_error_set(loading->error, HF_ENOMEM, "no memory for what is to be forgotten next");
    return loading->result < 0 || !loading->window->complete;
}

static int32_t load_change(void *arg, hf_slice key, hf_slice value)
{
    struct loading *loading = arg;
    struct store_changes changes;
    struct store_change first = {0};

    loading->result = store_changes_read(key, value, &changes, loading->error);
    if (loading->result == 0 && store_changes_next(&changes, &first, loading->error) != 1)
        loading->result = HF_ECORRUPT;
    if (loading->result < 0)
        return 1;
    return add_loaded(
        loading, &(struct store_window_item){.first = first.version, .last = changes.last, .time_us = changes.time_us});
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

    loading->result = store_remembered_read(key, value, &item.last, &item.time_us, &item.keys, loading->error);
    return loading->result < 0 ? 1 : add_loaded(loading, &item);
}

int32_t store_window_load_repeats(struct store_window *window, const hf_engine *engine, hf_engine_database *database,
                                  uint64_t space, hf_error *error)
{
    return load(window, engine, database, space, STORE_TAG_REMEMBERED, load_repeat, error);
}
