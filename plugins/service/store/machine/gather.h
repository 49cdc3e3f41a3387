/* gather.h: what several entries write, gathered for one atomic write of the engine.  One thread at a time.
 *
 * Later entries must see what earlier ones wrote though it is not in the engine yet, so the gathered operations can be
 * looked up by key. */
#ifndef STORE_GATHER_H
#define STORE_GATHER_H

#include <holdfast/kind/engine.h>
#include <holdfast/lib/arena.h>

struct store_gather {
    uint64_t space;
    hf_engine_operation *operations; /* owned */
    uint64_t count, capacity;
    uint64_t whole;      /* operations of entries that are gathered entirely; those after it may be half an entry */
    uint64_t bytes;      /* of keys and values */
    uint32_t *slots;     /* owned; hash table of the readable operations: their place, from 1 */
    uint64_t slot_count; /* a power of two, or 0 */
    uint64_t slots_used;
    hf_arena arena; /* keys and values; bounded by the callers: one entry, or what the limits allow of several */
};

void store_gather_init(struct store_gather *gather, uint64_t space);
void store_gather_done(struct store_gather *gather);
/* Forgets everything, after it was written. */
void store_gather_clear(struct store_gather *gather);

/* Adds an operation; copies the key and the value, which is `head` followed by `body`.  HF_ENOMEM. */
int32_t store_gather_add(struct store_gather *gather, int32_t type, hf_slice key, hf_slice head, hf_slice body,
                         hf_error *error);
/* The same, for keys that later entries may look up. */
int32_t store_gather_add_readable(struct store_gather *gather, int32_t type, hf_slice key, hf_slice head, hf_slice body,
                                  hf_error *error);
/* Puts operations on keys that begin with `tag` behind all others, in their order: keys that follow one another are
 * then written one after the other, which costs an engine's memory table a fraction.  Nothing can be looked up
 * afterwards. */
void store_gather_order(struct store_gather *gather, uint8_t tag);
/* The newest readable operation on `key`, or NULL; valid until the next call. */
const hf_engine_operation *store_gather_find(const struct store_gather *gather, hf_slice key);

#endif
