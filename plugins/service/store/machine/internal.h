/* internal.h: what the sources of the state machine share. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "forget.h"
#include "gather.h"
#include "layout.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_machine {
    const hf_engine *engine;
    hf_engine_database *database;
    uint64_t space;

    pthread_mutex_t lock;           /* protects the next seven; held for a few instructions */
    struct store_position position; /* as it stands in the engine */
    /* Readers of the feed that begin at or below it are refused.  Runs ahead of position.feed_forgotten while the
     * write that forgets is under way: a view taken meanwhile may lack those changes. */
    uint64_t feed_floor;
    uint64_t next_deadline; /* no record in the engine has an earlier one; UINT64_MAX: none */

    uint32_t transaction_count, transaction_capacity;
    struct store_transaction *transactions; /* as they stand in the engine; owned */
    uint64_t unlocks;

    _Atomic int32_t has_locks; /* 0: no key is locked, so that none is looked for */

    pthread_mutex_t fork_lock; /* protects what is copied for a split; held while a piece is */
    struct store_fork *fork;   /* NULL: nothing was copied yet */
    _Atomic int32_t is_forked;

    _Atomic int32_t lacks_other; /* 1: an ABSORB waits for a partition that is not on this node, or behind */

    /* Of the thread that applies. */
    struct store_window changes, repeats;
    int has_deadlines; /* 0: no record has one, so that none is looked for; not taken back while the machine is open */
};

/* machine.c */
void store_machine_position(struct store_machine *machine, struct store_position *ret_position);
void store_machine_set_position(struct store_machine *machine, const struct store_position *position);
uint64_t store_machine_feed_floor(struct store_machine *machine);
void store_machine_set_feed_floor(struct store_machine *machine, uint64_t floor);
void store_machine_set_next_deadline(struct store_machine *machine, uint64_t deadline_us);
/* Records with that deadline are in the engine now. */
void store_machine_lower_next_deadline(struct store_machine *machine, uint64_t deadline_us);

enum { STORE_FEW_OPERATIONS = 4 /* of nearly all commands */ };

/* Entries on their way into the engine. */
struct store_applying {
    struct store_machine *machine;
    struct store_gather gather;
    struct store_position position; /* after the gathered commands */
    uint32_t read_flags;            /* for the engine */
    uint64_t first_deadline;        /* of what is gathered; UINT64_MAX: none */
    struct store_operation few[STORE_FEW_OPERATIONS];
    struct store_operation *many; /* owned; room for any command's operations, NULL until it is needed */

    /* What becomes of transactions with what is gathered; state 0: it goes. */
    struct store_transaction *noted;                   /* owned */
    uint32_t noted_count, noted_whole, noted_capacity; /* `whole`: of entries that are gathered entirely */
    uint64_t transaction_count;                        /* with what is noted; the same on every replica */

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

/* The same of a transaction's step. */
int32_t store_perform_phase(struct store_applying *applying, const struct store_phase *phase,
                            struct store_outcome *ret_outcome, hf_error *error);

/* Reads a command; its operations lie in `applying` until the next one is read.  HF_ENOMEM, and as
 * store_command_decode. */
int32_t store_applying_decode(struct store_applying *applying, hf_slice bytes, struct store_command *ret_command,
                              hf_error *error);

/* A stored row, gathered or in the engine; `from_engine` tells whose it is.  HF_ENOTFOUND; errors of the engine. */
struct store_present {
    hf_slice bytes;
    int from_engine;
};
int32_t store_present_read(struct store_applying *applying, hf_slice key, struct store_present *ret_present,
                           hf_error *error);
void store_present_release(struct store_applying *applying, const struct store_present *present);

/* Parts of store_perform: the outcome's code tells of the first condition that does not hold; outcome->repeated whether
 * the key was known. */
int32_t store_check_conditions(struct store_applying *applying, const struct store_command *command,
                               struct store_outcome *outcome, hf_error *error);
int32_t store_gather_operations(struct store_applying *applying, uint64_t version, const struct store_command *command,
                                hf_error *error);
int32_t store_find_repeat(struct store_applying *applying, const struct store_command *command,
                          struct store_outcome *outcome, hf_error *error);
int32_t store_remember(struct store_applying *applying, uint64_t version, const struct store_command *command,
                       const struct store_outcome *outcome, hf_error *error);

/* read.c: the keys of a tag that begin with `prefix` and are >= `start`.  HF_EINVAL: too long. */
int32_t store_space_range(uint8_t tag, hf_slice prefix, hf_slice start, struct store_space_key *ret_from,
                          struct store_space_key *ret_to, hf_error *error);

/* transactions.c */
/* Whether a key of the command is locked: 0, 1, or an error. */
int32_t store_find_lock(struct store_applying *applying, const struct store_command *command, hf_error *error);
/* Gathers a transaction's row, and notes it; state 0: the row goes. */
int32_t store_gather_transaction(struct store_applying *applying, const struct store_transaction *transaction,
                                 hf_error *error);
/* Before the engine's write: room for what is noted, HF_ENOMEM.  After it: that is how things stand. */
int32_t store_transactions_reserve(struct store_applying *applying, hf_error *error);
void store_transactions_settle(struct store_applying *applying);
/* Reads what stands in the engine. */
int32_t store_transactions_load(struct store_machine *machine, hf_error *error);

/* What is there of a record, gathered or in the engine; version 0: there is none.  The value is not kept. */
int32_t store_find_record(struct store_applying *applying, hf_slice key, struct store_record *ret_record,
                          hf_error *error);
/* Notes what a command has changed in the entry's row. */
int32_t store_note_change(struct store_applying *applying, uint64_t version, const struct store_command *command,
                          hf_error *error);

/* perform_reshape.c: a step of a split or merge, of an entry of its own; what was gathered before is in the engine.
 * HF_EBUSY: it must wait for the disk, or for another partition. */
int32_t store_perform_reshape(struct store_applying *applying, const struct store_reshape *reshape,
                              struct store_outcome *ret_outcome, hf_error *error);
/* 0 when one of the command's keys belongs to another partition by now. */
int store_owns_keys(const struct store_shape *shape, const struct store_command *command);
/* A command of STORE_REMOVE. */
int32_t store_perform_removes(struct store_applying *applying, const struct store_command *command, hf_error *error);

/* fork.c: copies all that there is; the machine changes nothing meanwhile. */
int32_t store_fork_complete(struct store_machine *machine, hf_error *error);
/* Whether the partition has begun on this node: 1, 0, or an error of the engine. */
int32_t store_fork_has_begun(const struct store_machine *machine, uint64_t other, hf_error *error);
/* Forgets how far it has come.  [any] */
void store_fork_drop(struct store_machine *machine);

/* expiry.c: the deadline that a write asks for; 0: none. */
uint64_t store_deadline_of(const struct store_applying *applying, const struct store_operation *operation);
/* Keeps the rows of deadlines in step with a record that gets another version, or goes (deadline 0). */
int32_t store_gather_deadline(struct store_applying *applying, hf_slice key, uint64_t version, uint64_t deadline_us,
                              hf_error *error);
/* A command of STORE_EXPIRE. */
int32_t store_perform_expires(struct store_applying *applying, uint64_t version, const struct store_command *command,
                              hf_error *error);
/* Reads from the engine when the first record expires. */
int32_t store_load_deadlines(struct store_machine *machine, uint64_t *ret_deadline_us, hf_error *error);

/* entry.c: begins an entry, and gathers what it leaves as a whole and what it makes to be forgotten.  Both windows are
 * loaded.  Errors as store_perform. */
void store_entry_begin(struct store_applying *applying, const struct store_bundle *bundle);
int32_t store_entry_end(struct store_applying *applying, hf_error *error);

#endif
