/* kind/replication.h: how the replicas of a partition agree on one order of entries.
 *
 * A group is a pure step machine.  Time, messages and completed writes go in; messages to send, entries to store and
 * committed positions come out through `take`.  It has no clock, socket, file, thread or random source of its own, so
 * that the same code runs under the simulator, and it never holds the payload of an entry: the driver keeps the log
 * and attaches entries to messages by index.  All calls for one group come from its loop [loop].
 *
 * When it can no longer reach another replica the driver calls `unreachable`, at the latest some seconds later: a group
 * with nothing to do may send nothing, and then hears of a dead leader in no other way.  When it can again, it calls
 * `reachable`.
 *
 * Every now_us is the driver's monotonic clock, read for the call: a time from earlier in the turn would make promises
 * shorter than they are.
 *
 * The driver's duty, in this order, for every output that `take` returns:
 *   1. store `state` (when state_changed) and the log changes (truncate, then append) durably, then call `persisted`;
 *   2. messages flagged after_persist wait for that; the others may leave at once, beside the write;
 *   3. apply entries up to `commit_index`, each once, in order, and call `applied`.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIND_REPLICATION_H
#define HOLDFAST_KIND_REPLICATION_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_replication_group hf_replication_group;

enum {
    HF_ENTRY_NORMAL = 0,    /* the state machine's own */
    HF_ENTRY_EMPTY = 1,     /* written by a new leader; the state machine ignores it */
    HF_ENTRY_MEMBERSHIP = 2 /* payload: hf_replication_member array, applied by the group when appended */
};

/* What the group must know of an entry; the payload stays with the driver. */
typedef struct hf_replication_entry {
    uint64_t index; /* counts from 1 */
    uint64_t term;
    int32_t type;           /* HF_ENTRY_... */
    uint32_t size;          /* of the payload, bytes: for flow control */
    const uint8_t *payload; /* only for HF_ENTRY_MEMBERSHIP; NULL otherwise is fine */
} hf_replication_entry;

typedef struct hf_replication_member {
    uint64_t replica; /* unique for ever within the group, not 0 */
    int32_t learner;  /* 1: receives the log, does not vote */
    uint32_t reserved;
} hf_replication_member;

/* What must survive a crash besides the log. */
typedef struct hf_replication_state {
    uint64_t term;
    uint64_t vote;   /* replica, 0: none */
    uint64_t commit; /* a hint: losing it is harmless */
} hf_replication_state;

typedef struct hf_replication_setup {
    uint32_t size; /* sizeof(hf_replication_setup) */
    uint32_t member_count;
    uint64_t self;                        /* own replica id */
    const hf_replication_member *members; /* as of snapshot_index; borrowed for the call */
    hf_replication_state state;           /* as stored, or zero */
    uint64_t snapshot_index;              /* entries up to it are only in the engine; 0: none */
    uint64_t snapshot_term;
    uint64_t applied_index;              /* >= snapshot_index */
    const hf_replication_entry *entries; /* the stored log after snapshot_index; borrowed for the call */
    uint64_t entry_count;
    uint64_t now_us;      /* the driver's monotonic clock */
    uint64_t random_seed; /* for election time-outs */
} hf_replication_setup;

#define HF_REPLICATION_HEADER_MAX 128

/* A message between replicas.  `header` is the strategy's own encoding; entries travel beside it. */
typedef struct hf_replication_message {
    uint64_t from;
    uint64_t to;
    uint64_t first_index;                /* of the attached entries */
    uint64_t entry_count;                /* 0: none */
    const hf_replication_entry *entries; /* when receiving; when sending NULL: the driver attaches first_index... */
    int32_t after_persist;               /* 1: send only when all storage of the same output, and of every earlier
                                            one, is durable */
    uint32_t header_size;
    uint8_t header[HF_REPLICATION_HEADER_MAX];
} hf_replication_message;

typedef struct hf_replication_read {
    uint64_t context; /* what read_request was given */
    uint64_t index;   /* the read may be answered once this is applied */
    int32_t code;     /* 0, or HF_ENOTLEADER: ask elsewhere */
    uint32_t reserved;
} hf_replication_read;

enum { HF_ROLE_FOLLOWER = 0, HF_ROLE_CANDIDATE = 1, HF_ROLE_LEADER = 2, HF_ROLE_LEARNER = 3 };

/* What the group wants done.  Arrays are the group's, valid until the next call on the group. */
typedef struct hf_replication_output {
    uint32_t size;         /* sizeof(hf_replication_output), set by the caller */
    int32_t state_changed; /* store `state` before anything flagged after_persist */
    hf_replication_state state;
    uint64_t truncate_from; /* drop stored entries from this index on; 0: none */
    uint64_t append_first;  /* entries to store, which the group was given by propose or receive */
    uint64_t append_count;
    uint64_t write_id;     /* hand it to `persisted` when state and entries are durable; 0: nothing
                              to store */
    uint64_t commit_index; /* apply up to here */
    const hf_replication_message *messages;
    uint64_t message_count;
    const hf_replication_read *reads;
    uint64_t read_count;
    const uint64_t *snapshots_wanted; /* replicas that need what the log no longer has: send a snapshot, then
                                         call snapshot_sent */
    uint64_t snapshot_wanted_count;
} hf_replication_output;

typedef struct hf_replication_status {
    uint32_t size; /* set by the caller */
    int32_t role;  /* HF_ROLE_... */
    uint64_t term;
    uint64_t leader; /* replica, 0: unknown */
    uint64_t commit_index;
    uint64_t last_index;
    uint64_t persisted_index;
    uint64_t next_wake_us; /* when `tick` has something to do, UINT64_MAX: not before another call; the driver may call
                              it earlier */
    uint64_t lease_until_us; /* of a leader: until when it answers reads without asking, 0: it asks */
    uint64_t clock_faults;   /* how often the clocks of replicas were found to differ more than is allowed */
    int32_t quiet;           /* 1: nothing to do, nothing is sent */
    uint32_t reserved;
} hf_replication_status;

/* A member as its leader sees it. */
typedef struct hf_replication_progress {
    uint32_t size;        /* set by the caller */
    int32_t reachable;    /* 1: it answers, as far as the leader can tell */
    uint64_t match_index; /* it holds the log durably up to here */
} hf_replication_progress;

struct hf_replication {
    HF_INSTANCE_FUNCTIONS

    /* Opens a group from its stored state.  HF_ECORRUPT: the stored log and state contradict each other. */
    int32_t (*group_open)(void *self, const hf_replication_setup *setup, hf_replication_group **ret_group,
                          hf_error *error);
    void (*group_close)(hf_replication_group *group);

    /* Lets time pass; now_us never goes back. */
    void (*tick)(hf_replication_group *group, uint64_t now_us);

    /* Appends `count` entries of the given payload sizes.  The driver binds the payloads to *ret_first_index and
     * up.  HF_ENOTLEADER, or HF_EBUSY when too much is in flight. */
    int32_t (*propose)(hf_replication_group *group, const uint32_t *sizes, uint64_t count, uint64_t *ret_first_index,
                       uint64_t *ret_term, hf_error *error);

    /* Takes a message from another replica.  The next output says which of its entries are to be stored.
     * HF_EPROTOCOL: malformed; it was ignored. */
    int32_t (*receive)(hf_replication_group *group, const hf_replication_message *message, uint64_t now_us,
                       hf_error *error);

    /* All storage asked for up to and including `write_id` is durable. */
    void (*persisted)(hf_replication_group *group, uint64_t write_id);

    /* The state machine has applied everything up to `index`. */
    void (*applied)(hf_replication_group *group, uint64_t index);

    /* Asks for a linearizable read; the answer comes in an output's `reads`.  now_us is read after the read was asked
     * for: it decides whether the leader may answer by its clock alone. */
    int32_t (*read_request)(hf_replication_group *group, uint64_t context, uint64_t now_us, hf_error *error);

    /* The link to `replica` is gone: probe it instead of streaming, and when it was the leader, look for a new one
     * soon. */
    void (*unreachable)(hf_replication_group *group, uint64_t replica, uint64_t now_us);

    /* A snapshot up to `index` reached `replica` (ok 1), or did not (ok 0). */
    void (*snapshot_sent)(hf_replication_group *group, uint64_t replica, uint64_t index, int32_t ok);

    /* This replica's state machine was replaced by a snapshot; the log before and at `index` is gone. */
    int32_t (*snapshot_installed)(hf_replication_group *group, uint64_t index, uint64_t term,
                                  const hf_replication_member *members, uint32_t member_count, hf_error *error);

    /* The driver drops stored entries up to and including `index`, which is applied. */
    int32_t (*compacted)(hf_replication_group *group, uint64_t index, hf_error *error);

    /* Hands leadership to `replica`, which is caught up first; given up after an election time-out. */
    int32_t (*transfer)(hf_replication_group *group, uint64_t replica, hf_error *error);

    /* Asks for an election now, as if the time-out had passed. */
    void (*campaign)(hf_replication_group *group);

    /* Term of the entry at `index`: HF_ENOTFOUND when it is not in the log and is not the snapshot's. */
    int32_t (*term_at)(hf_replication_group *group, uint64_t index, uint64_t *ret_term);

    /* Collects what is to be done; empty (no write_id, counts 0) when there is nothing new. */
    void (*take)(hf_replication_group *group, hf_replication_output *output);

    void (*status)(hf_replication_group *group, hf_replication_status *ret_status);

    /* Appends an HF_ENTRY_MEMBERSHIP entry, to which the driver binds the array of members as payload.  It is in force
     * at once.  HF_ENOTLEADER; HF_EBUSY while an earlier change is not committed; HF_EINVAL when more than one voter
     * would come or go. */
    int32_t (*propose_membership)(hf_replication_group *group, const hf_replication_member *members, uint32_t count,
                                  uint64_t *ret_index, uint64_t *ret_term, hf_error *error);

    /* HF_ENOTLEADER; HF_ENOTFOUND: no such member. */
    int32_t (*progress)(hf_replication_group *group, uint64_t replica, hf_replication_progress *ret_progress);

    /* The members in force, which may not be committed yet: copies up to `capacity` of them and returns how many there
     * are.  0: the group waits to be told.  May be NULL. */
    uint32_t (*members)(hf_replication_group *group, hf_replication_member *ret_members, uint32_t capacity);

    /* For a group that lost its majority for good: puts `members` into force, this replica a voter among them, without
     * asking anybody.  Appends an HF_ENTRY_MEMBERSHIP entry of a new term, to which the driver binds the array as
     * payload; once the group leads by those members, all that this replica's log holds counts as committed, and what
     * only the others held is lost.
     *
     * Safe only when whoever calls it sees to two things.  Of the replicas that can still take part, none may hold a
     * later last entry (by its term, then its index): then nothing that any of them knows to be committed is missing
     * here.  And replicas that are not in the list, nor among those that can still take part, must never again be heard
     * by any that can.
     *
     * HF_ESTATE: this replica leads, so there is a majority.  HF_EBUSY: it has just heard a leader.  HF_EINVAL: not a
     * list with this replica as a voter.  May be NULL. */
    int32_t (*force_membership)(hf_replication_group *group, const hf_replication_member *members, uint32_t count,
                                uint64_t now_us, uint64_t *ret_index, uint64_t *ret_term, hf_error *error);

    /* The link to `replica` is there again.  It may not speak first: one that has nothing yet knows no members.  May be
     * NULL, where nothing is left unsaid to a replica that was unreachable. */
    void (*reachable)(hf_replication_group *group, uint64_t replica, uint64_t now_us);
};

#ifdef __cplusplus
}
#endif
#endif
