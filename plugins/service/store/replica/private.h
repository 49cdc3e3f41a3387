/* replica/private.h: between the files of a replica. */
#ifndef STORE_REPLICA_PRIVATE_H
#define STORE_REPLICA_PRIVATE_H

#include "replica/check.h"
#include "replica/entries.h"
#include "replica/replica.h"

enum {
    STORE_APPLY_ENTRIES_MAX = 512, /* in one job */
    STORE_APPLY_BYTES_MAX = 8 << 20,
    STORE_SLOW_SENDS_MAX = 4 /* messages whose entries are being read from the log */
};

/* A list of works, in order. */
struct store_works {
    struct store_work *first, *last;
    uint64_t count;
};

/* A message on its way out. */
struct store_outgoing {
    struct store_outgoing *next;
    uint64_t term; /* of the group when the message was made */
    uint64_t to;
    uint64_t first_index;
    uint64_t entry_count;
    uint32_t header_size;
    uint8_t header[HF_REPLICATION_HEADER_MAX];
};

/* A batch on its way into the log, and what waits for it to be durable. */
struct store_storage {
    struct store_log_request request;
    hf_task task; /* back to the loop */
    struct store_replica *replica;
    struct store_storage *next;
    int32_t submitted;
    int32_t code;
    uint64_t write_id;  /* for the group, 0: none */
    uint64_t compacted; /* the log's entries up to here are gone, 0: none */
    int32_t installed;  /* 1: a snapshot's position was stored */
    struct store_outgoing *messages, *messages_last;
    uint64_t count;
    struct store_log_record *records;
    struct store_payload **payloads; /* of the records */
};

/* The one job that changes the state machine. */
struct store_apply {
    hf_job job;
    struct store_replica *replica;
    uint64_t count;
    uint64_t applied;
    int32_t code;
    hf_error error;
    struct store_entry entries[STORE_APPLY_ENTRIES_MAX];
    struct store_payload *payloads[STORE_APPLY_ENTRIES_MAX];
    int32_t missing[STORE_APPLY_ENTRIES_MAX]; /* 1: only in the log's files */
    struct store_outcomes outcomes;
};

struct store_removal;
struct store_fork_job;
struct store_snapshot_sender;
struct store_snapshot_receiver;

struct store_replica {
    const struct store_environment *environment;
    struct store_replica_setup setup;
    hf_replication_group *group;
    struct store_machine *machine;
    struct store_replica_published published;
    struct store_entries entries;
    const struct store_message *incoming; /* whose entries the group is taking */

    uint64_t commit;
    uint64_t applied;
    uint64_t compacted;
    uint64_t now_us;
    uint64_t next_wake_us;  /* when the clock of the group has something to do */
    uint64_t fresh_us;      /* everything that was acknowledged before is applied here; 0: not known */
    uint64_t refresh_us;    /* when the leader was asked for its index, 0: it is not being asked */
    uint64_t refresh_index; /* what it has said, and is not applied yet; 0: nothing */
    int32_t refresh_failed; /* the last time */
    uint64_t last_time_us;  /* stamped on a command */
    uint64_t read_context;  /* the last one given to a read */
    uint64_t self;          /* its id */
    uint64_t other_self;    /* for whom messages have come that was here before, or is to be; 0: none */
    uint64_t group_leader;  /* id of the leading replica, 0: unknown */
    uint64_t members_us;    /* when the members are to be looked at again */
    uint64_t step_us;       /* when a change of members was last proposed, or leadership last handed over */
    uint32_t wanted_count;  /* 0: not said yet */
    hf_replication_member wanted[STORE_MEMBERS_MAX];
    uint64_t epoch;     /* of the shape, as last seen */
    int32_t announce;   /* 1: the members are not known to be in the log */
    int32_t installing; /* 1: a snapshot is about to replace everything: messages are dropped */
    int32_t role;
    uint32_t leader;

    struct store_storage *storage, *storage_last;
    struct store_works queued;     /* writes, not yet proposed */
    struct store_works proposed;   /* by index */
    struct store_works reading;    /* asked the group for a read index */
    struct store_works waiting;    /* for `applied` to reach their index */
    struct store_works watching;   /* for changes */
    struct store_works locked;     /* for transactions to end */
    struct store_works refreshing; /* for the leader's index, before they read what is here */
    uint64_t unlocks_seen;
    struct store_queues queues; /* all of them together, and what they hold */

    struct store_apply *apply; /* NULL: nothing was applied lately */
    int32_t apply_due;         /* 1: what is committed does not wait for more */
    int32_t settling;          /* 1: what was applied is being answered */
    int32_t exclusive;         /* 1: a job has the state machine for itself */
    uint32_t jobs;             /* others in the pool */
    uint32_t slow_sends;
    uint64_t entries_used_us; /* when one was last added */

    struct store_check *check; /* NULL: it is not being looked through */
    int32_t suspect;           /* 1: a read met something damaged: to be looked through */
    int32_t damaged;           /* 1: to be repaired */
    int32_t differs;           /* 1: for another reason than what a look at it alone shows */
    int32_t repair_phase;
    uint32_t repair_turn;
    uint64_t repair_us;    /* when the next step is due */
    uint64_t hand_over_us; /* as leader, not before that */
    uint64_t lacking_us;   /* since when it lacks what was merged into it; 0: it does not */
    uint64_t clean_us;     /* when it was last looked through and found whole, 0: not yet */

    struct store_removal *removal; /* NULL until a record had to go */
    struct store_fork_job *fork;   /* under way; else NULL */
    uint64_t fork_us;              /* when the next piece may be copied */
    uint64_t measure_us;           /* when it is next looked at how much there is */
    uint64_t measured_applied;     /* as of the last look */
    uint64_t small_estimate;       /* of the engine, when the records were less than the most; 0: they never were */
    int32_t is_measured;           /* 1: the records are being counted */
    uint64_t operations;           /* that were asked for since rate_us, in this role */
    uint64_t rate, rate_us;        /* operations per second before that */
    struct store_snapshot_sender *senders;
    struct store_snapshot_receiver *receiver;

    hf_task run_task;
    int32_t run_posted;
    int32_t running;
    int32_t again;
    int32_t failed;
    int32_t stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* run.c: gives the group what there is and does what it asks for. */
void store_replica_run(struct store_replica *replica);
/* The same at the end of this turn, once for all who ask. */
void store_replica_run_soon(struct store_replica *replica);
/* Stops taking part, after an error that repeating cannot help. */
void store_replica_fail(struct store_replica *replica, const char *what, const hf_error *error);
void store_replica_check_stopped(struct store_replica *replica);
void store_replica_log(const struct store_replica *replica, int32_t level, const char *format, ...) HF_PRINTF(3, 4);

/* storage.c */
struct store_storage *store_storage_create(struct store_replica *replica, uint64_t records);
/* Puts it at the end of what goes to the log. */
void store_storage_submit(struct store_storage *storage);
/* Tries again what the log's full queue refused. */
void store_storage_retry(struct store_replica *replica);
/* Stores what the output asks for.  HF_ENOMEM. */
int32_t store_storage_output(struct store_replica *replica, const hf_replication_output *output);

/* send.c */
void store_send_output(struct store_replica *replica, const hf_replication_output *output);
void store_send(struct store_replica *replica, struct store_outgoing *message); /* takes it over */
void store_outgoing_free(struct store_outgoing *messages);

/* members.c: a leader's next step towards the members that are wanted.  [tick] */
void store_members_tick(struct store_replica *replica);

/* apply.c */
void store_apply_start(struct store_replica *replica);
/* The same of what a follower lets wait otherwise. */
void store_apply_now(struct store_replica *replica);
/* Gives back its memory, which most replicas do not need most of the time; no job has it. */
void store_apply_free(struct store_replica *replica);

/* work.c */
enum {
    STORE_WORK_QUEUED = 1,
    STORE_WORK_PROPOSED,
    STORE_WORK_READING,
    STORE_WORK_WAITING,
    STORE_WORK_WATCHING,
    STORE_WORK_LOCKED,
    STORE_WORK_REFRESHING,
    STORE_WORK_RUNNING
};
void store_works_add(struct store_works *works, struct store_work *work);
void store_works_remove(struct store_works *works, struct store_work *work);
void store_work_finish(struct store_work *work, int32_t code, const char *message);
void store_work_answer(struct store_work *work);
void store_work_wait_for_lock(struct store_replica *replica, struct store_work *work);
void store_works_propose(struct store_replica *replica);
/* What came of the writes up to `index`, where an entry of `term` with these outcomes is applied; NULL: not known. */
void store_works_settle(struct store_replica *replica, uint64_t index, uint64_t term,
                        const struct store_outcome *outcomes, uint64_t count);
void store_works_answer_reads(struct store_replica *replica, const hf_replication_output *output);
void store_works_applied(struct store_replica *replica);
void store_works_expire(struct store_replica *replica);
void store_works_end(struct store_replica *replica, int32_t code, const char *message);

/* read.c */
#define STORE_MOVED "the records belong to another partition by now"
/* Whether the partition has, or had until it was closed, all that who asks takes it to have. */
int store_range_is_here(const struct store_shape *shape, const struct store_op *op);
void store_work_read(struct store_replica *replica, struct store_work *work);   /* enough is applied */
void store_work_submit(struct store_replica *replica, struct store_work *work); /* to the pool */

/* results.c */
int32_t store_work_reserve_result(struct store_work *work); /* HF_EBUSY: it was answered so */
void store_work_count_result(struct store_work *work);

/* stale.c */
void store_stale_begin(struct store_replica *replica, struct store_work *work);
void store_stale_applied(struct store_replica *replica);
void store_stale_tick(struct store_replica *replica);
void store_stale_age(struct store_work *work);

/* The time of what this replica proposes or reads now: its node's, which does not go back here. */
uint64_t store_replica_time(const struct store_replica *replica);

/* removal.c: of a leader, proposes that what has passed its deadline, or was given away, be removed. */
void store_removal_tick(struct store_replica *replica);
void store_removal_free(struct store_replica *replica);

/* After entries were applied, or a snapshot was installed. */
void store_replica_look_at_shape(struct store_replica *replica);

/* measure.c: of a leader, whether the partition is to be split. */
void store_measure_tick(struct store_replica *replica);

/* fork.c: copies what a split under way takes away. */
void store_fork_tick(struct store_replica *replica);

/* check.c: looks through what the replica has; begins with the state machine's turn, 1: it is taken. */
int32_t store_check_claim(struct store_replica *replica);
/* The entry behind which nothing may be applied before the view was taken; UINT64_MAX: any. */
uint64_t store_check_limit(const struct store_replica *replica);
void store_check_tick(struct store_replica *replica);
int32_t store_check_busy(const struct store_replica *replica);
void store_check_stop(struct store_replica *replica);
void store_check_free(struct store_replica *replica);

/* repair.c: takes everything anew when something is damaged. */
/* The engine answered so: when its files are damaged, that is said. */
void store_repair_engine(const struct store_replica *replica, int32_t code, const hf_error *error);
void store_repair_begin(struct store_replica *replica, const char *why);
void store_repair_tick(struct store_replica *replica);
/* A read has ended: when it met damage, another replica has to answer. */
void store_repair_meet(struct store_work *work);
void store_repair_found(struct store_replica *replica, const struct store_findings *findings);
/* 1: nothing is applied, for a snapshot is to come that must not be behind. */
int32_t store_repair_holds(const struct store_replica *replica);
/* A snapshot has come, or has not. */
void store_repair_received(struct store_replica *replica, int32_t code);
/* Another replica asks for a snapshot.  HF_ENOTLEADER; HF_EBUSY: this replica is looked through first; HF_EINVAL. */
int32_t store_repair_asked(struct store_replica *replica, uint64_t target);

/* snapshot_send.c */
void store_snapshot_send_repair(struct store_replica *replica, uint64_t target);
void store_snapshots_send(struct store_replica *replica, const hf_replication_output *output);
/* Begins what waits for the state machine's turn; 1: it is taken. */
int32_t store_snapshot_send_claim(struct store_replica *replica);
int32_t store_snapshot_send_busy(const struct store_replica *replica);
void store_snapshot_send_stop(struct store_replica *replica);
void store_snapshot_send_free(struct store_replica *replica);

/* snapshot_receive.c; the same */
int32_t store_snapshot_receive_claim(struct store_replica *replica);
void store_snapshot_stored(struct store_replica *replica);
void store_snapshot_receive_tick(struct store_replica *replica);
int32_t store_snapshot_receive_busy(const struct store_replica *replica);
void store_snapshot_receive_stop(struct store_replica *replica);
void store_snapshot_receive_free(struct store_replica *replica);

/* Hands a job over: 1: as bulk work, which gives way to requests. */
static inline int32_t store_submit(const struct store_environment *environment, hf_job *job, int32_t is_bulk,
                                   hf_error *error)
{
    const hf_loop_interface *loops = environment->loops;

    return is_bulk ? loops->submit_bulk(environment->host, job, error) : loops->submit(environment->host, job, error);
}

#endif
