/* forget.h: the oldest of what is kept in order, so that it can be forgotten in order.  One thread at a time.
 *
 * A window holds the oldest few of a sequence that grows at its new end: of the entries in the change feed, or of the
 * remembered idempotency keys.  How much an entry forgets depends only on the sequence, never on what the window
 * happens to hold: before it is asked, the window must hold STORE_FORGET_WANTED or all there is. */
#ifndef STORE_FORGET_H
#define STORE_FORGET_H

#include "machine.h"

enum {
    STORE_FORGET_CHANGES = 4,                       /* entries of the change feed that one entry forgets at most */
    STORE_FORGET_REPEATS = 2,                       /* entries' idempotency keys, likewise */
    STORE_FORGET_WANTED = STORE_FORGET_CHANGES + 1, /* one more, which tells where the rest begins */
    STORE_WINDOW_SIZE = 32
};

/* One entry's row. */
struct store_window_item {
    uint64_t first; /* version of its first change */
    uint64_t last;  /* the row's version */
    uint64_t time_us;
    hf_slice keys; /* its idempotency keys; a copy that the window owns */
};

struct store_window {
    uint32_t first, count;
    int complete;  /* 1: the window is the whole sequence */
    uint64_t from; /* nothing before this version remains; where loading begins */
    struct store_window_item items[STORE_WINDOW_SIZE];
};

/* Nothing is known. */
void store_window_reset(struct store_window *window);
static inline int store_window_must_load(const struct store_window *window)
{
    return !window->complete && window->count < STORE_FORGET_WANTED;
}
/* The oldest, or NULL. */
const struct store_window_item *store_window_oldest(const struct store_window *window);
void store_window_remove_oldest(struct store_window *window);
/* Something new at the end of the sequence; not held when there is no room.  HF_ENOMEM: the keys could not be copied.
 */
int32_t store_window_add_newest(struct store_window *window, const struct store_window_item *item);

/* Fill the window from the engine, which must hold the whole sequence.  HF_EIO, HF_ECORRUPT. */
int32_t store_window_load_changes(struct store_window *window, const hf_engine *engine, hf_engine_database *database,
                                  uint64_t space, hf_error *error);
int32_t store_window_load_repeats(struct store_window *window, const hf_engine *engine, hf_engine_database *database,
                                  uint64_t space, hf_error *error);

#endif
