/* Gathered operations and their hash table; see gather.h. */
#include "gather.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 64, SLOTS_FIRST = 64 };

void store_gather_init(struct store_gather *gather, uint64_t space)
{
    *gather = (struct store_gather){.space = space};
    hf_arena_init(&gather->arena, UINT64_MAX);
}

void store_gather_done(struct store_gather *gather)
{
    free(gather->operations);
    free(gather->slots);
    hf_arena_done(&gather->arena);
    store_gather_init(gather, gather->space);
}

void store_gather_clear(struct store_gather *gather)
{
    gather->count = gather->whole = gather->bytes = gather->slots_used = 0;
    if (gather->slots)
        memset(gather->slots, 0, gather->slot_count * sizeof *gather->slots);
    hf_arena_clear(&gather->arena);
}

static int32_t no_memory(hf_error *error)
{
    return hf_error_set(error, HF_ENOMEM, "no memory to gather the operations of an entry; apply it again later");
}

static int32_t grow_operations(struct store_gather *gather, hf_error *error)
{
    uint64_t capacity = gather->capacity ? gather->capacity * 2 : CAPACITY_FIRST;

    if (gather->count < gather->capacity)
        return 0;
    hf_engine_operation *operations = realloc(gather->operations, capacity * sizeof *operations);

    if (!operations)
        return no_memory(error);
    gather->operations = operations;
    gather->capacity = capacity;
    return 0;
}

int32_t store_gather_add(struct store_gather *gather, int32_t type, hf_slice key, hf_slice head, hf_slice body,
                         hf_error *error)
{
    uint64_t size = key.size + head.size + body.size;
    int32_t r = grow_operations(gather, error);

    if (r < 0)
        return r;
    uint8_t *bytes = hf_arena_alloc(&gather->arena, size);

    if (!bytes)
        return no_memory(error);
    memcpy(bytes, key.data, key.size);
    if (head.size)
        memcpy(bytes + key.size, head.data, head.size);
    if (body.size)
        memcpy(bytes + key.size + head.size, body.data, body.size);
    gather->operations[gather->count++] = (hf_engine_operation){.type = type,
                                                                .space = gather->space,
                                                                .key = {bytes, key.size},
                                                                .value = {bytes + key.size, head.size + body.size}};
    gather->bytes += size;
    return 0;
}

/* ---- The hash table: open addressing, at most half full ---------------------------------------------------------- */

/* The slot of the key, or the free one where it belongs. */
static uint32_t *find_slot(const struct store_gather *gather, hf_slice key)
{
    uint64_t mask = gather->slot_count - 1, at = hf_hash64(0, key.data, key.size) & mask;

    for (; gather->slots[at]; at = (at + 1) & mask) {
        hf_slice other = gather->operations[gather->slots[at] - 1].key;

        if (other.size == key.size && memcmp(other.data, key.data, key.size) == 0)
            break;
    }
    return &gather->slots[at];
}

static int32_t grow_slots(struct store_gather *gather, hf_error *error)
{
    uint64_t old_count = gather->slot_count;
    uint32_t *old = gather->slots;

    if (gather->slots_used * 2 < old_count)
        return 0;
    uint64_t count = old_count ? old_count * 2 : SLOTS_FIRST;
    uint32_t *slots = calloc(count, sizeof *slots);

    if (!slots)
        return no_memory(error);
    gather->slots = slots;
    gather->slot_count = count;
    for (uint64_t i = 0; i < old_count; i++)
        if (old[i])
            *find_slot(gather, gather->operations[old[i] - 1].key) = old[i];
    free(old);
    return 0;
}

int32_t store_gather_add_readable(struct store_gather *gather, int32_t type, hf_slice key, hf_slice head, hf_slice body,
                                  hf_error *error)
{
    int32_t r = grow_slots(gather, error);

    if (r == 0)
        r = store_gather_add(gather, type, key, head, body, error);
    if (r < 0)
        return r;
    uint32_t *slot = find_slot(gather, key);

    gather->slots_used += *slot == 0;
    *slot = (uint32_t)gather->count;
    return 0;
}

const hf_engine_operation *store_gather_find(const struct store_gather *gather, hf_slice key)
{
    uint32_t *slot = gather->slot_count ? find_slot(gather, key) : NULL;

    return slot && *slot ? &gather->operations[*slot - 1] : NULL;
}

void store_gather_order(struct store_gather *gather, uint8_t tag)
{
    hf_engine_operation *ordered = gather->count > 1 ? malloc(gather->count * sizeof *ordered) : NULL;
    uint64_t count = 0;

    if (!ordered)
        return; /* any order is right */
    for (int last = 0; last < 2; last++)
        for (uint64_t i = 0; i < gather->count; i++) {
            const hf_engine_operation *operation = &gather->operations[i];
            if ((operation->key.data[0] == tag) == last)
                ordered[count++] = *operation;
        }
    memcpy(gather->operations, ordered, count * sizeof *ordered);
    free(ordered);
}
