/* raft.h: what the files of this folder share.  One raft per configured instance, one hf_replication_group per group.
 * Chapter and section numbers are those of D. Ongaro, "Consensus: Bridging Theory and Practice" (2014). */
#ifndef HOLDFAST_RAFT_H
#define HOLDFAST_RAFT_H

#include <holdfast/holdfast.h>
#include <holdfast/kind/replication.h>
#include <holdfast/lib/error.h>

#include <stdbool.h>

#define RAFT_MEMBERS_MAX       31
#define RAFT_WRITES_MAX        32
#define RAFT_NEVER             UINT64_MAX
#define RAFT_HURRY             4
#define RAFT_COMPARE_CLOCKS_US 1000000

/* ---- Deliberate mistakes, only for proving that the simulator finds them --------------------------------------- */

enum {
    RAFT_BUG_NONE = 0,
    RAFT_BUG_VOTE_TWICE = 1,
    RAFT_BUG_COMMIT_OLD_TERM = 2,
    RAFT_BUG_ACK_UNSYNCED = 3,
    RAFT_BUG_STALE_READ = 4,
    RAFT_BUG_APPLY_TWICE = 5,
    RAFT_BUG_LONG_LEASE = 6,
    RAFT_BUG_FORGET_PROMISE = 7,
    RAFT_BUG_LEARNER_COUNTS = 8,
    RAFT_BUG_TWO_CHANGES = 9,
    RAFT_BUG_LATE_CONFIG = 10,
    RAFT_BUG_FORGET_CONFIG = 11,
    RAFT_BUG_CHANGE_TOO_SOON = 12
}; /* higher ones are the simulator's own */

#ifdef HF_RAFT_TEST_BUGS
extern int hf_raft_test_bug;
#define RAFT_BUG(which) (hf_raft_test_bug == (which))
#else
#define RAFT_BUG(which) false
#endif

/* ---- Messages (message.c) ------------------------------------------------------------------------------------ */

enum {
    RAFT_PREVOTE = 1,
    RAFT_PREVOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND,
    RAFT_APPEND_REPLY,
    RAFT_HEARTBEAT,
    RAFT_HEARTBEAT_REPLY,
    RAFT_TIMEOUT_NOW
};

typedef struct raft_message {
    uint8_t type;
    bool reject;
    bool force;        /* of a vote: the leader itself asked for the election, so do not protect it */
    bool quiet;        /* of a heartbeat: the last one for now; of its reply: agreed */
    uint64_t term;     /* the sender's; of a pre-vote and its grant, the term that would follow */
    uint64_t index;    /* append: the entry before; votes: the last one; replies: what matches or was rejected */
    uint64_t log_term; /* of the entry at index */
    uint64_t commit;
    uint64_t hint; /* rejected append: where the follower's log may agree */
    uint64_t hint_term;
    uint64_t round; /* of read heartbeats */
    uint64_t sent;  /* append, heartbeat: the leader's clock; given back in the reply */
    uint64_t clock; /* of a reply: the follower's clock */
} raft_message;

void raft_message_encode(const raft_message *m, hf_replication_message *to);
int32_t raft_message_decode(const hf_replication_message *from, raft_message *ret_m, hf_error *error);

/* ---- The log, without its entries (term_log.c) --------------------------------------------------------------- */

typedef struct raft_run {
    uint64_t first; /* index where this term begins; it ends where the next run begins */
    uint64_t term;
} raft_run;

typedef struct raft_term_log {
    const hf_host *host;
    raft_run *runs;
    uint64_t count, capacity;
    uint64_t snapshot_index, snapshot_term; /* the position just before the first entry */
    uint64_t last;
} raft_term_log;

bool raft_log_reserve(raft_term_log *log, uint64_t more);
void raft_log_append(raft_term_log *log, uint64_t term, uint64_t count); /* after raft_log_reserve */
void raft_log_truncate(raft_term_log *log, uint64_t from);
void raft_log_compact(raft_term_log *log, uint64_t index);
void raft_log_reset(raft_term_log *log, uint64_t index, uint64_t term);
bool raft_log_term(const raft_term_log *log, uint64_t index, uint64_t *ret_term);
bool raft_log_matches(const raft_term_log *log, uint64_t index, uint64_t term);
uint64_t raft_log_last_term(const raft_term_log *log);
uint64_t raft_log_agreement(const raft_term_log *log, uint64_t index, uint64_t term);

/* ---- Configuration of an instance ---------------------------------------------------------------------------- */

typedef struct raft_options {
    uint64_t election_timeout_us;
    uint64_t heartbeat_interval_us;
    uint64_t max_inflight_bytes;
    uint64_t max_message_bytes;
    int64_t max_inflight_messages;
    uint64_t lease_us;
    int64_t clock_drift; /* percent */
    uint64_t quiet_after_us;
} raft_options;

typedef struct raft {
    const hf_host *host;
    raft_options options;
} raft;

/* ---- A follower as its leader sees it (progress.c) ----------------------------------------------------------- */

enum { RAFT_PROBE = 0, RAFT_REPLICATE = 1, RAFT_SNAPSHOT = 2 };

typedef struct raft_flight {
    uint64_t last;  /* index of the message's last entry */
    uint64_t bytes; /* estimated */
} raft_flight;

typedef struct raft_progress {
    uint64_t replica;
    bool learner;
    bool active;      /* heard since the last quorum check */
    bool paused;      /* a probe is out: wait for its answer or for the next heartbeat's */
    bool ask;         /* send an append without entries: finds out what was lost */
    bool timeout_now; /* the message of a leadership transfer has been sent */
    int state;
    uint64_t match, next;
    uint64_t commit_sent;
    uint64_t round; /* highest read round answered */
    uint64_t sent;  /* the newest `sent` that came back */
    bool gone;      /* the driver lost the link to it, and it was not heard since */
    /* Its clock minus the own one, when the two were last compared: between these. */
    uint64_t compared_at;
    int64_t offset_low, offset_high;
    int vote; /* of a campaign: 0 unknown, 1 granted, -1 refused */
    raft_flight *flights;
    uint64_t flight_first, flight_count, flight_bytes;
} raft_progress;

typedef struct raft_config {
    uint64_t index; /* of the entry that made it */
    uint32_t count;
    hf_replication_member members[RAFT_MEMBERS_MAX];
} raft_config;

typedef struct raft_read {
    uint64_t context, index, round; /* round 0: not begun */
} raft_read;

typedef struct raft_write {
    uint64_t id, last; /* `last` falls when the log is truncated below it */
} raft_write;

struct hf_replication_group {
    raft *raft;
    uint64_t self, now, random;

    /* section 3.3 */
    uint64_t term, vote, leader;
    int role;       /* HF_ROLE_... */
    bool pre_vote;  /* a candidate in section 9.6's first phase: the term is still the old one */
    bool forced;    /* campaign by leadership transfer */
    bool link_lost; /* the driver said that the leader is unreachable: do not protect it */
    uint32_t hurry; /* campaigns still to be tried after a shortened time-out: halved this many times */
    uint64_t leader_seen, election_deadline, heartbeat_deadline, quorum_deadline;
    uint64_t promised_until; /* no vote before this, unless the leader itself asks for it: its lease counts on that */
    bool lease_void;         /* no reads by lease in this term any more */
    uint64_t clock_faults;   /* clocks were found to drift apart faster than configured */
    bool quiet;              /* nothing is to be done: no heartbeats, no time-outs */
    uint64_t busy_at;        /* when there was last something to do */
    uint64_t vote_write;     /* own vote counts when this write is durable; RAFT_NEVER: not yet handed out */

    raft_term_log log;
    uint64_t commit, applied, persisted, mean_size;
    raft_config *configs; /* oldest first; the last is in force from the moment it is appended (chapter 4) */
    uint64_t config_count, config_capacity;

    raft_progress progress[RAFT_MEMBERS_MAX]; /* of the configuration in force, self included */
    uint32_t progress_count;
    uint64_t transferee, transfer_deadline;
    bool heartbeat_due;

    raft_read *reads;
    uint64_t read_count, read_capacity, round;

    /* the output being collected */
    bool taken, state_dirty;
    uint64_t truncate_from, append_first, next_write;
    raft_write writes[RAFT_WRITES_MAX];
    uint32_t write_count;
    hf_replication_message *messages;
    uint64_t message_count, message_capacity;
    hf_replication_read *answers;
    uint64_t answer_count, answer_capacity;
    uint64_t snapshots[RAFT_MEMBERS_MAX];
    uint64_t snapshot_count;
};

typedef hf_replication_group raft_group;

/* ---- output.c -------------------------------------------------------------------------------------------------- */

bool raft_grow(const hf_host *host, void **array, uint64_t *capacity, uint64_t needed, uint64_t item_size);
hf_replication_message *raft_send(raft_group *g, uint64_t to, const raft_message *m, bool after_persist);
void raft_answer_read(raft_group *g, uint64_t context, uint64_t index, int32_t code);
void raft_output_begin(raft_group *g);
void raft_take(raft_group *g, hf_replication_output *output);
void raft_persisted(raft_group *g, uint64_t write_id);

/* ---- progress.c ------------------------------------------------------------------------------------------------ */

raft_progress *raft_progress_find(raft_group *g, uint64_t replica);
void raft_progress_probe(raft_progress *pr, uint64_t next);
void raft_progress_replicate(raft_group *g, raft_progress *pr);
bool raft_progress_full(const raft_group *g, const raft_progress *pr);
void raft_progress_sent(raft_progress *pr, uint64_t limit, uint64_t last, uint64_t bytes);
void raft_progress_acked(raft_progress *pr, uint64_t limit, uint64_t match);
void raft_progress_free(raft_group *g);
uint32_t raft_quorum(const raft_group *g);
bool raft_is_voter(const raft_group *g, uint64_t replica);

/* ---- membership.c ---------------------------------------------------------------------------------------------- */

int32_t raft_members_parse(const uint8_t *payload, uint64_t size, raft_config *ret_config, hf_error *error);
bool raft_config_reserve(raft_group *g, uint64_t more);
void raft_config_push(raft_group *g, const raft_config *config); /* after raft_config_reserve */
void raft_config_truncate(raft_group *g, uint64_t from);
void raft_config_committed(raft_group *g);
void raft_config_reset(raft_group *g, const raft_config *config);
int32_t raft_propose_membership(raft_group *g, const hf_replication_member *members, uint32_t count,
                                uint64_t *ret_index, uint64_t *ret_term, hf_error *error);
bool raft_may_campaign(const raft_group *g);
uint32_t raft_members(raft_group *g, hf_replication_member *ret_members, uint32_t capacity);
int32_t raft_force_membership(raft_group *g, const hf_replication_member *members, uint32_t count, uint64_t now_us,
                              uint64_t *ret_index, uint64_t *ret_term, hf_error *error);

/* ---- election.c ------------------------------------------------------------------------------------------------ */

void raft_reset_election_timer(raft_group *g);
void raft_become_follower(raft_group *g, uint64_t term, uint64_t leader);
void raft_campaign(raft_group *g, bool now_for_real);
void raft_count_own_vote(raft_group *g);
void raft_check_quorum(raft_group *g);
bool raft_protects_leader(const raft_group *g);
void raft_on_vote(raft_group *g, uint64_t from, const raft_message *m);
void raft_on_vote_reply(raft_group *g, uint64_t from, const raft_message *m);
void raft_on_timeout_now(raft_group *g);
void raft_leader_lost(raft_group *g);

/* ---- lease.c ---------------------------------------------------------------------------------------------------- */

uint64_t raft_lease_until(const raft_group *g);
bool raft_lease_holds(const raft_group *g);
void raft_promise(raft_group *g);
void raft_note_reply(raft_group *g, raft_progress *pr, const raft_message *m);

/* ---- quiet.c ---------------------------------------------------------------------------------------------------- */

void raft_wake(raft_group *g);
void raft_fall_quiet(raft_group *g);
bool raft_agrees_to_be_quiet(raft_group *g, const raft_message *m);

/* ---- replicate.c ----------------------------------------------------------------------------------------------- */

void raft_append_own(raft_group *g, uint64_t count);
void raft_advance_commit(raft_group *g);
void raft_replicate(raft_group *g);
int32_t raft_on_append(raft_group *g, const hf_replication_message *message, const raft_message *m, hf_error *error);
void raft_on_append_reply(raft_group *g, uint64_t from, const raft_message *m);
void raft_on_heartbeat(raft_group *g, uint64_t from, const raft_message *m);
void raft_on_heartbeat_reply(raft_group *g, uint64_t from, const raft_message *m);
void raft_commit_to(raft_group *g, uint64_t index);

/* ---- read.c ---------------------------------------------------------------------------------------------------- */

int32_t raft_read_request(raft_group *g, uint64_t context, hf_error *error);
bool raft_knows_commit(const raft_group *g);
void raft_reads_begin(raft_group *g);
void raft_reads_confirm(raft_group *g);
void raft_reads_refuse(raft_group *g);

extern const hf_replication raft_interface;

#endif
