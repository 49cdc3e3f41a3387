/* replica.h: one replica of one partition: drives its replication group, keeps its log, applies what is committed and
 * answers operations.
 *
 * A replica belongs to one worker loop; its functions are called there [loop] unless tagged otherwise.  What blocks
 * goes to the pool, one job that changes the state machine at a time; what is to be durable goes to the node's log. */
#ifndef STORE_REPLICA_H
#define STORE_REPLICA_H

#include "log/store_log.h"
#include "machine.h"
#include "replica/admission.h"
#include "replica/message.h"
#include "service/op.h"
#include "table/table.h"

#include <holdfast/host/peer.h>

struct store_replica;
struct store_snapshot_arrived;

/* What is noticed of damage, by all replicas of a node. */
struct store_integrity {
    _Atomic uint64_t checks, bytes; /* replicas that were looked through, and what was read for it */
    _Atomic uint64_t damages, repairs;
    _Atomic uint64_t reads; /* that met damage, and were answered by another replica */
    /* A replica was found damaged (1), or is repaired (0).  [worker loops] */
    void (*changed)(void *arg, uint64_t partition, int32_t damaged, const char *why);
    /* The engine's own files are damaged: no replica of the node can be relied on.  [any] */
    void (*engine_damaged)(void *arg, uint64_t partition, const char *what);
    void *arg;
};

/* What all replicas of a node share.  All is borrowed. */
struct store_environment {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_peer_interface *peers; /* NULL: this node is alone */
    hf_peer_channel *messages;      /* of the replication groups */
    hf_peer_channel *snapshots;
    const hf_engine *engine;
    hf_engine_database *database;
    const hf_replication *replication;
    void *replication_self;
    struct store_log *log;
    uint32_t self;          /* this node */
    uint64_t cache_maximum; /* bytes of payloads kept in memory for each replica */
    struct store_admission *admission;
    uint64_t snapshot_rate;             /* bytes per second that all snapshots of this node may send; 0: any */
    _Atomic uint64_t *snapshot_free_us; /* when the next piece may go */
    uint64_t scrub_rate;                /* bytes per second that all looking through replicas may read; 0: any */
    _Atomic uint64_t *scrub_free_us;    /* when the next piece may be read */
    struct store_integrity *integrity;
    uint64_t (*wall_us)(const hf_host *host);
    uint64_t (*clock_us)(void);                 /* as the loops' time, read at the call */
    const _Atomic uint64_t *partition_max_size; /* bytes of records; 0: any */
    _Atomic uint64_t *applied_total;            /* metrics' sources */
    /* Asks the partition's leader for its index, and calls store_replica_refreshed on the replica's loop. */
    void (*refresh)(void *arg, struct store_replica *replica, uint64_t now_us);
    void *refresh_arg;
};

struct store_replica_setup {
    const struct store_environment *environment;
    uint64_t partition;
    struct store_table_queues *table;
    hf_loop *loop;
    uint64_t self;         /* the replica's id, unless what is stored already has a newer one */
    uint32_t member_count; /* 0: it joins a group that is there already, and waits for what that sends */
    hf_replication_member members[STORE_MEMBERS_MAX]; /* as of the group's beginning */
    int32_t announce; /* 1: the first leader writes the members into the log, for those who join without knowing them */
    uint64_t keep_changes_us;
    uint64_t keep_repeats_us;
    uint64_t random_seed;
    uint64_t now_us;
    /* Called after entries were applied and when the replica's role or leader changed; may be NULL. */
    void (*changed)(void *arg, struct store_replica *replica);
    /* Called after the partition was split, closed or merged with another; may be NULL. */
    void (*reshaped)(void *arg, struct store_replica *replica);
    void *arg;
};

/* Read by any thread. */
struct store_replica_published {
    _Atomic int32_t role;
    _Atomic int32_t failed;
    _Atomic uint32_t leader;     /* node + 1 */
    _Atomic int32_t damaged;     /* 1: it has something damaged, and waits to be repaired */
    _Atomic int32_t repaired;    /* 1: it was repaired, and is to be looked through once more */
    _Atomic uint64_t looked_us;  /* monotonic: the same */
    _Atomic uint64_t checked_us; /* wall clock: when it was last looked through; 0: not since the start */
    _Atomic int32_t moving;      /* of a leader, 1: the group's members are not yet those that are wanted */
    _Atomic uint64_t term;
    _Atomic uint64_t commit;
    _Atomic uint64_t applied;
    _Atomic uint64_t rate;       /* operations per second lately, of a leader */
    _Atomic int32_t is_oversize; /* of a leader, 1: it has more than partition_max_size */
    _Atomic int32_t
        compact; /* 1: its log should not go back behind a split or merge: who comes later must not repeat it */
};

/* Opens the replica from the engine and the log.  Blocks.  [any, before it is given to its loop] */
int32_t store_replica_open(const struct store_replica_setup *setup, struct store_replica **ret_replica,
                           hf_error *error);

/* Frees it; it must have stopped, or its loop must not run any more.  Accepts NULL. */
void store_replica_close(struct store_replica *replica);

uint64_t store_replica_partition(const struct store_replica *replica);
uint64_t store_replica_self(const struct store_replica *replica);                       /* its id; [any] */
struct store_replica_published *store_replica_published(struct store_replica *replica); /* [any] */
struct store_machine *store_replica_machine(struct store_replica *replica);             /* [any] */

/* An operation in the hands of a replica; embedded by whoever asks. */
struct store_work {
    hf_job job; /* its task may be used by the owner until store_replica_execute */
    struct store_op *op;
    void (*done)(struct store_work *work); /* [loop]; op has the answer */
    /* The replica's own. */
    struct store_work *next, *previous;
    struct store_replica *replica;
    uint64_t index;
    uint64_t term;
    uint32_t place;   /* among the commands of the entry */
    uint64_t wall_us; /* of a read: records whose deadline is not later are absent */
    int32_t state;
    int32_t admitted;  /* it counts in the replica's queues */
    int32_t is_locked; /* a transaction has locked what it reads */
    uint64_t unlocks;  /* store_machine_unlocks when it looked */
    hf_buffer lock;    /* of a scan: the first locked key */
    uint64_t retry_us;
    uint64_t fresh_us; /* of a stale read: the replica's, when it looked */
};

/* Carries out the operation on this replica; `done` is called once, maybe before this returns. */
void store_replica_execute(struct store_replica *replica, struct store_work *work);

/* A message of the group arrived; takes over the entries' payloads. */
void store_replica_receive(struct store_replica *replica, struct store_message *message);

/* What came of what environment->refresh asked for at `asked_us`. */
void store_replica_refreshed(struct store_replica *replica, uint64_t asked_us, int32_t code, uint64_t index);

/* The link to a node was lost, or is there again. */
void store_replica_link_changed(struct store_replica *replica, uint32_t node, int32_t up);

/* Lets time pass; every 25 to 100 ms. */
void store_replica_tick(struct store_replica *replica, uint64_t now_us);

/* Hands leadership over.  HF_ENOTLEADER, HF_EINVAL: not a member. */
int32_t store_replica_transfer(struct store_replica *replica, uint32_t node, hf_error *error);

/* The members that the group should have, the one that should lead first.  A leader gets there step by step: what is to
 * come copies everything as a learner, then votes, and only then goes what is to go. */
void store_replica_want(struct store_replica *replica, const hf_replication_member *members, uint32_t count);

/* How the replica stands, for a recovery. */
struct store_replica_standing {
    int32_t failed;
    int32_t leads;
    uint64_t last_term, last_index; /* of its log */
    uint64_t commit;
    uint32_t transactions; /* open here, at most 64 are counted */
    uint32_t member_count; /* in force; 0: it waits to be told */
    hf_replication_member members[STORE_MEMBERS_MAX];
};
void store_replica_stand(struct store_replica *replica, struct store_replica_standing *ret_standing);

/* Makes this replica the group's only member, where the group lost its majority for good and this log is the latest of
 * all that are left: it ends at `last_index` of `last_term`.  0 also when that was done already.  HF_ECONFLICT: it ends
 * elsewhere; HF_ESTATE: it leads; HF_EBUSY: a leader was just heard, or a snapshot is coming; HF_EIO: it has failed;
 * HF_EUNSUPPORTED: the replication plugin cannot do it; HF_ENOMEM. */
int32_t store_replica_force(struct store_replica *replica, uint64_t last_term, uint64_t last_index, hf_error *error);

/* Takes no part any more, for others know better than this node's disk: sends nothing, answers nothing. */
void store_replica_leave(struct store_replica *replica);

/* Drops the stored log up to and including `index`, which the engine has flushed. */
void store_replica_compact(struct store_replica *replica, uint64_t index);

/* Answers everything with HF_ECLOSED and calls stopped(arg) when nothing of it is under way any more. */
void store_replica_stop(struct store_replica *replica, void (*stopped)(void *arg), void *arg);

/* Removes what the replica has stored; it has stopped.  HF_EIO.  Blocks. */
int32_t store_replica_erase(struct store_replica *replica, hf_error *error);

/* A request on the channel of snapshots, for this replica; see snapshot.h.  Answers it, and takes it over. */
void store_replica_snapshot_request(struct store_replica *replica, struct store_snapshot_arrived *arrived);

#endif
