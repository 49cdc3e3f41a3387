/* internal.h: what the sources of the state machine share. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "forget.h"
#include "gather.h"
#include "layout.h"

#include <pthread.h>

struct store_machine {
    const hf_engine *engine;
    hf_engine_database *database;
    uint64_t space;

    pthread_mutex_t lock;           /* protects the next two; held for a few instructions */
    struct store_position position; /* as it stands in the engine */
    /* Readers of the feed that begin at or below it are refused.  Runs ahead of position.feed_forgotten while the
     * write that forgets is under way: a view taken meanwhile may lack those changes. */
    uint64_t feed_floor;

    /* Of the thread that applies. */
    struct store_window changes, repeats;
};

/* machine.c */
void store_machine_position(struct store_machine *machine, struct store_position *ret_position);
void store_machine_set_position(struct store_machine *machine, const struct store_position *position);
uint64_t store_machine_feed_floor(struct store_machine *machine);
void store_machine_set_feed_floor(struct store_machine *machine, uint64_t floor);

/* Entries on their way into the engine. */
struct store_applying {
    struct store_machine *machine;
    struct store_gather gather;
    struct store_position position; /* after the gathered commands */
    uint32_t read_flags;            /* for the engine */

    /* The entry that is being performed. */
    struct store_bundle bundle;
    uint64_t first_change, last_change; /* versions; 0: nothing was changed */
    uint64_t last_remembered;
    hf_buffer changes, remembered; /* rows, as far as they have come */
};

/* perform.c */
/* Gathers what the entry's next command changes, as of what is gathered before it.  On an error the gathered operations
 * and the position hold a part of the entry.  HF_EIO, HF_ECORRUPT, HF_EVERSION (a stored record), HF_ENOMEM. */
int32_t store_perform(struct store_applying *applying, const struct store_command *command,
                      struct store_outcome *ret_outcome, hf_error *error);

/* entry.c: begins an entry, and gathers what it leaves as a whole and what it makes to be forgotten.  Both windows are
 * loaded.  Errors as store_perform. */
void store_entry_begin(struct store_applying *applying, const struct store_bundle *bundle);
int32_t store_entry_end(struct store_applying *applying, hf_error *error);

#endif
