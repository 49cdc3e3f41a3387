#include "replica/entries.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_LEAST = 64 };

void store_entries_init(struct store_entries *entries, uint64_t next)
{
    *entries = (struct store_entries){.first = next};
}

static struct store_entry_slot *slot_at(const struct store_entries *entries, uint64_t place)
{
    return &entries->slots[(entries->head + place) & (entries->capacity - 1)];
}

static void drop(struct store_entries *entries, struct store_entry_slot *slot)
{
    if (slot->payload)
        entries->bytes -= slot->payload->size;
    store_payload_release(slot->payload);
    slot->payload = NULL;
}

void store_entries_done(struct store_entries *entries)
{
    store_entries_truncate(entries, 0);
    free(entries->slots);
    *entries = (struct store_entries){0};
}

static int32_t grow(struct store_entries *entries)
{
    uint64_t capacity = entries->capacity ? entries->capacity * 2 : CAPACITY_LEAST;
    struct store_entry_slot *slots = malloc(capacity * sizeof *slots);

    if (!slots)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < entries->count; i++)
        slots[i] = *slot_at(entries, i);
    free(entries->slots);
    entries->slots = slots;
    entries->capacity = capacity;
    entries->head = 0;
    return HF_OK;
}

int32_t store_entries_add(struct store_entries *entries, uint64_t term, int32_t type, struct store_payload *payload)
{
    if (entries->count == entries->capacity && grow(entries) != HF_OK)
        return HF_ENOMEM;
    *slot_at(entries, entries->count) = (struct store_entry_slot){term, type, payload};
    entries->count++;
    if (payload)
        entries->bytes += payload->size;
    return HF_OK;
}

const struct store_entry_slot *store_entries_get(const struct store_entries *entries, uint64_t index)
{
    if (index < entries->first || index - entries->first >= entries->count)
        return NULL;
    return slot_at(entries, index - entries->first);
}

void store_entries_truncate(struct store_entries *entries, uint64_t index)
{
    while (entries->count > 0 && entries->first + entries->count > index)
        drop(entries, slot_at(entries, --entries->count));
    if (entries->count == 0)
        entries->first = index;
}

void store_entries_restart(struct store_entries *entries, uint64_t next)
{
    store_entries_truncate(entries, 0);
    entries->first = next;
}

void store_entries_trim(struct store_entries *entries, uint64_t through, uint64_t bytes_max)
{
    while (entries->count > 0 && entries->first <= through && entries->bytes >= bytes_max) {
        drop(entries, slot_at(entries, 0));
        entries->head = (entries->head + 1) & (entries->capacity - 1);
        entries->first++;
        entries->count--;
    }
}
