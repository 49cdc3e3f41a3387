/* entries.h: the newest entries of a replica's log, in memory.  One thread. */
#ifndef STORE_ENTRIES_H
#define STORE_ENTRIES_H

#include "replica/payload.h"

struct store_entry_slot {
    uint64_t term;
    int32_t type;                  /* HF_ENTRY_... */
    struct store_payload *payload; /* owned; NULL: empty */
};

/* Entries first .. first + count - 1, without gap. */
struct store_entries {
    uint64_t first;
    uint64_t count;
    uint64_t bytes;    /* of the payloads */
    uint64_t capacity; /* a power of two */
    uint64_t head;     /* place of `first` in the ring */
    struct store_entry_slot *slots;
};

/* Empty; the next entry to add is `next`. */
void store_entries_init(struct store_entries *entries, uint64_t next);
void store_entries_done(struct store_entries *entries);

/* Adds the entry after the last one and takes over the payload's reference.  HF_ENOMEM: nothing was taken. */
int32_t store_entries_add(struct store_entries *entries, uint64_t term, int32_t type, struct store_payload *payload);

/* The entry, or NULL when it is not here. */
const struct store_entry_slot *store_entries_get(const struct store_entries *entries, uint64_t index);

/* Drops entries from `index` on.  When all are dropped the next to add is `index`. */
void store_entries_truncate(struct store_entries *entries, uint64_t index);

/* Drops everything; the next entry to add is `next`. */
void store_entries_restart(struct store_entries *entries, uint64_t next);

/* Drops old entries up to and including `through`, as long as more than `bytes_max` bytes are held. */
void store_entries_trim(struct store_entries *entries, uint64_t through, uint64_t bytes_max);

/* Index of the next entry to add. */
static inline uint64_t store_entries_next(const struct store_entries *entries)
{
    return entries->first + entries->count;
}

#endif
