/* machine.h: the state machine of one partition: records, change feed and remembered idempotency keys in one space of
 * an engine, and the position in the log up to which they are there.
 *
 * Deterministic: the same entries give the same space on every replica.  What one entry changes is in one atomic
 * write together with the applied position, so a crash leaves an exact prefix.  The functions that change something,
 * and store_machine_open, are called by one thread at a time; reads may run beside them.  Everything blocks on the
 * disk [pool], except reads with HF_ENGINE_CACHED_ONLY [any]. */
#ifndef STORE_MACHINE_H
#define STORE_MACHINE_H

#include "bundle.h"
#include "command.h"
#include "phase.h"
#include "reshape.h"

#include <holdfast/kind/engine.h>
#include <holdfast/kind/replication.h>
#include <holdfast/lib/arena.h>

enum { STORE_MEMBERS_MAX = 31 }; /* as many as a replication group takes */

struct store_machine;

/* Which keys the partition has, by their hash, and what is being made of it. */
enum {
    STORE_SHAPE_STEADY = 0,
    STORE_SHAPE_SPLITTING = 1, /* every replica copies what `other` is to have */
    STORE_SHAPE_CLOSING = 2,   /* likewise, and new transactions on that part are turned away */
    STORE_SHAPE_CLOSED = 3,    /* its records are `other`'s now; only the change feed is left, and what was decided */
    STORE_SHAPE_DRAINING = 4   /* it is to be closed, and new transactions are turned away */
};

struct store_shape {
    uint64_t hash_from, hash_to; /* a partition that was never split takes all: nobody sends it others' keys */
    uint64_t epoch;              /* how often it was split, merged or closed */
    int32_t state;               /* STORE_SHAPE_... */
    int32_t has_strays;          /* 1: records of keys that it has given away have not all been removed */
    uint64_t other;              /* the partition of the last split or merge, or that under way; 0: none */
    uint64_t other_from;         /* while it splits: the first hash that goes */
    uint64_t version;            /* of the last split, merge or closing */
};

static inline int store_shape_splits(const struct store_shape *shape)
{
    return shape->state == STORE_SHAPE_SPLITTING || shape->state == STORE_SHAPE_CLOSING;
}

static inline int store_shape_has(const struct store_shape *shape, uint64_t hash)
{
    return hash >= shape->hash_from && hash <= shape->hash_to && shape->state != STORE_SHAPE_CLOSED;
}

struct store_machine_state {
    uint64_t applied_index; /* 0: empty */
    uint64_t applied_term;
    uint64_t version;      /* of the newest command; each takes the next */
    uint64_t feed_first;   /* version of the oldest change that is kept; feed_last + 1: none */
    uint64_t feed_last;    /* version of the newest change, 0: none */
    uint32_t member_count; /* replicas as of applied_index */
    hf_replication_member members[STORE_MEMBERS_MAX];
    struct store_shape shape;
};

struct store_entry {
    uint64_t index;
    uint64_t term;
    int32_t type;           /* HF_ENTRY_... */
    uint32_t outcome_count; /* set when it is applied: of its commands */
    hf_slice payload;
};

/* What became of a command.  HF_EINVAL: its idempotency key was used for something else.  HF_ESTATE: a transaction has
 * locked one of its keys, and nothing was done; try again when store_machine_unlocks has grown. Of a step: PREPARE also
 * HF_EEXIST: its idempotency key is known, and `version` that of the first time; HF_EBUSY: too many transactions are
 * under way here; and like DECIDE HF_EDENIED: it was decided against the transaction.  DECIDE HF_ESTATE: there is no
 * decision yet.  FINISH with version 0: there was nothing to finish any more.  HF_EMOVED: a key belongs to another
 * partition by now, and nothing was done; see reshape.h for what the steps of splits and merges answer. */
struct store_outcome {
    int32_t code;       /* 0; HF_ECONFLICT: a condition did not hold; HF_ECORRUPT: not a command */
    int32_t repeated;   /* 1: the idempotency key was known; `version` and code are those of the first time */
    uint64_t version;   /* of all records written.  With HF_ECONFLICT: the record's present version, 0: there is none */
    uint64_t operation; /* with HF_ECONFLICT: which operation's condition failed */
};

/* The outcomes of several entries' commands, one after the other.  Begins as zeroes; owned by whoever has it. */
struct store_outcomes {
    struct store_outcome *items; /* free it in the end */
    uint64_t count, capacity;
};

struct store_record {
    uint64_t version;
    uint64_t time_us;
    uint64_t deadline_us; /* 0: none */
    uint32_t checksum;
    hf_slice value;  /* give it back with store_record_release */
    hf_slice stored; /* the engine's */
};

/* Whether the record is to be taken as absent, though it may not have been removed yet. */
static inline int store_record_expired(const struct store_record *record, uint64_t now_us)
{
    return record->deadline_us && record->deadline_us <= now_us;
}

struct store_change {
    uint64_t version;   /* of the record; all changes of a command have the same */
    uint32_t operation; /* place within the command */
    int32_t type;       /* STORE_PUT, STORE_DELETE or STORE_EXPIRE */
    uint64_t time_us;
    uint64_t user;
    hf_slice key;
    int32_t superseded; /* of a put, 1: a later change of the same key follows, and the value is no longer kept */
    hf_slice value;     /* of a put that is not superseded */
};

enum { STORE_TRANSACTION_PREPARED = 1, STORE_TRANSACTION_COMMITTED = 2, STORE_TRANSACTION_ABORTED = 3 };
enum { STORE_TRANSACTIONS_MAX = 4096 };

/* A transaction that this partition has part in: prepared, or, at its home, decided and not forgotten. */
struct store_transaction {
    uint8_t id[STORE_TRANSACTION_ID_SIZE];
    int32_t state;              /* STORE_TRANSACTION_... */
    uint64_t home;              /* partition */
    uint64_t time_us;           /* of the last step */
    uint64_t version;           /* of what the home's part has written; 0: nothing yet */
    uint32_t participant_count; /* at the home: the other partitions */
    uint64_t participants[STORE_PARTICIPANTS_MAX];
};

/* Opens the machine in space `space`.  `members` are those of an empty one and are ignored otherwise.  The engine and
 * the database outlive it.  HF_ECORRUPT, HF_EVERSION (written by a newer release), HF_EIO, HF_ENOMEM. */
int32_t store_machine_open(const hf_engine *engine, hf_engine_database *database, uint64_t space,
                           const hf_replication_member *members, uint32_t member_count,
                           struct store_machine **ret_machine, hf_error *error);
void store_machine_close(struct store_machine *machine);

/* A copy of the state; [any]. */
void store_machine_state(struct store_machine *machine, struct store_machine_state *ret_state);
void store_machine_shape(struct store_machine *machine, struct store_shape *ret_shape);

/* Applies entries, which follow applied_index without a gap; membership and empty entries, too.  Several entries share
 * an engine write where they can.  *ret_applied entries were applied, also when an error comes back; *outcomes, which
 * is emptied first, then begins with those of their commands, entries[i].outcome_count of each.  HF_EBUSY (the engine
 * is behind: call again later with the rest), HF_EINVAL (not the next entry), HF_EIO, HF_ECORRUPT (what is stored),
 * HF_ENOMEM, HF_EVERSION: an entry of a newer release, which other replicas may understand; passing over it would make
 * this one differ, so nothing after it can be applied before an upgrade.
 * With HF_ENGINE_CACHED_ONLY in `flags` it does not wait for a disk: HF_EBUSY also means that it would have had to. */
int32_t store_machine_apply(struct store_machine *machine, struct store_entry *entries, uint64_t count, uint32_t flags,
                            struct store_outcomes *outcomes, uint64_t *ret_applied, hf_error *error);

/* Finds a record; checks its value against the checksum.  One whose deadline has passed is found until a command has
 * removed it.  HF_ENOTFOUND, HF_ECORRUPT, HF_EBUSY (cached only). */
int32_t store_machine_get(struct store_machine *machine, hf_slice key, uint32_t flags, struct store_record *ret_record,
                          hf_error *error);
void store_record_release(struct store_machine *machine, struct store_record *record);

/* Visits records in key order (with HF_ENGINE_REVERSE from high to low) whose key begins with `prefix` and is >=
 * `start`; a visitor that returns anything but 0 ends it.  Key and record are borrowed for the call.  HF_ECORRUPT,
 * HF_EINVAL, HF_EIO, HF_EBUSY (cached only). */
typedef int32_t (*store_visit_record)(void *arg, hf_slice key, const struct store_record *record);
int32_t store_machine_scan(struct store_machine *machine, hf_slice prefix, hf_slice start, uint32_t flags,
                           store_visit_record visit, void *arg, hf_error *error);

/* Copies some of what a split under way is to take away into the other partition's space, about `bytes` of it; returns
 * 1 when everything is there that there is at the moment, 0: there is more; also when no split is under way.  May run
 * beside applies.  HF_EIO, HF_ECORRUPT, HF_ENOMEM, HF_EBUSY: the engine is behind.  [pool] */
int32_t store_machine_fork(struct store_machine *machine, uint64_t bytes, hf_error *error);
/* 1 when the last call has found nothing to copy, and the same split is still under way.  [any] */
int32_t store_machine_is_forked(struct store_machine *machine);

/* 1 while it cannot go on because a partition that was merged into this one is behind on this node, or not there, and
 * may never be: this replica may have come later than the merge.  A snapshot has what it lacks.  [any] */
int32_t store_machine_lacks_other(struct store_machine *machine);

/* Records whose keys the partition has given away, from the key `from` on, as the operations of a command that removes
 * them (STORE_REMOVE): at most `capacity`; keys lie in the arena.  Errors as store_machine_due. */
int32_t store_machine_strays(struct store_machine *machine, hf_slice from, hf_arena *arena,
                             struct store_operation *operations, uint64_t capacity, uint64_t *ret_count,
                             hf_error *error);

/* How many bytes the records of the partition's own keys have, keys and values; counting ends once it is more than
 * `most`.  HF_EIO.  [pool] */
int32_t store_machine_count(struct store_machine *machine, uint64_t most, uint64_t *ret_bytes, hf_error *error);

/* 1: a machine has been in that space and was not erased, 0: not.  HF_EIO. */
int32_t store_machine_is_there(const hf_engine *engine, hf_engine_database *database, uint64_t space, hf_error *error);

/* Removes what a split that this replica has not seen the end of may have left in the space of a partition that is to
 * be opened: a space with a position is left alone.  HF_EIO. */
int32_t store_machine_discard(const hf_engine *engine, hf_engine_database *database, uint64_t space, hf_error *error);

/* When the next record expires, or sooner; UINT64_MAX: none has a deadline.  [any] */
uint64_t store_machine_next_deadline(struct store_machine *machine);

/* The records whose deadline is not after `now_us`, earliest first, as the operations of a command that removes them:
 * at most `capacity`; keys lie in the arena.  HF_EIO, HF_ECORRUPT, HF_ENOMEM. */
int32_t store_machine_due(struct store_machine *machine, uint64_t now_us, hf_arena *arena,
                          struct store_operation *operations, uint64_t capacity, uint64_t *ret_count, hf_error *error);

/* Copies transactions that have somebody to wait for and whose last phase is not after `until_us`, and those that have
 * nobody and whose decision is not after `decided_until_us`; at most `capacity`; returns how many.  [any] */
uint32_t store_machine_transactions(struct store_machine *machine, uint64_t until_us, uint64_t decided_until_us,
                                    struct store_transaction *ret_transactions, uint32_t capacity);

/* How many transactions it has part in, or remembers.  [any] */
uint32_t store_machine_transaction_count(struct store_machine *machine);

/* How often locks have been given back since it was opened: whoever met a lock tries again when it has grown.  [any] */
uint64_t store_machine_unlocks(struct store_machine *machine);

/* Whether a transaction has locked the key.  0, 1, or HF_EBUSY (cached only), HF_EIO. */
int32_t store_machine_locked(struct store_machine *machine, hf_slice key, uint32_t flags, hf_error *error);

/* The first locked key that begins with `prefix` and is >= `start`, into *ret_key, which has been begun; 1, 0: there is
 * none; HF_EIO, HF_ENOMEM. */
int32_t store_machine_first_lock(struct store_machine *machine, hf_slice prefix, hf_slice start, hf_buffer *ret_key,
                                 hf_error *error);

/* Visits changes with version >= `from`, in order; the change is borrowed for the call.  An entry's changes are
 * forgotten together, so none is ever seen in part, unless the visitor ends it.  HF_ENOTFOUND: changes between `from`
 * and feed_first have been forgotten; the reader must begin with a scan.  HF_ECORRUPT, HF_EIO. */
typedef int32_t (*store_visit_change)(void *arg, const struct store_change *change);
int32_t store_machine_changes(struct store_machine *machine, uint64_t from, store_visit_change visit, void *arg,
                              hf_error *error);

/* A checkpoint as of applied_index, as bytes: export_open and so on of the engine.  Call between applies. */
int32_t store_machine_export(struct store_machine *machine, hf_engine_export **ret_export,
                             struct store_machine_state *ret_state, hf_error *error);

/* After the space was replaced by an import: reads the state anew; of an empty space, a state without members.  Errors
 * as store_machine_open; the state is then as it was. */
int32_t store_machine_reload(struct store_machine *machine, hf_error *error);

/* Removes everything in the space; the state is then that of an empty one, without members. */
int32_t store_machine_erase(struct store_machine *machine, hf_error *error);

#endif
