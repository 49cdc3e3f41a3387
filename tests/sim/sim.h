/* sim.h: what the files of the simulator share. */
#ifndef HOLDFAST_SIM_H
#define HOLDFAST_SIM_H

#include <holdfast/holdfast.h>
#include <holdfast/kind/replication.h>

#include "replica/step.h"

#include <stdbool.h>

extern int hf_raft_test_bug;

enum { NODES = 12, KEYS = 4, LOG_MAX = 6000, OPS_MAX = 2048, WRITES_MAX = 512, KNOWN_MAX = 16384, CONFIGS_MAX = 512 };
/* Deliberate mistakes that are not the core's but its driver's; the others are in raft.h. */
enum { BUG_APPLY_TWICE = 5, BUG_PROMOTE_EARLY = 13, BUG_REJOIN_EMPTY = 14 };
enum {
    EV_TICK,
    EV_MESSAGE,
    EV_DISK,
    EV_CLIENT,
    EV_NEMESIS,
    EV_RESTART,
    EV_SNAPSHOT,
    EV_SNAPSHOT_DONE,
    EV_ATTACK,
    EV_LINK_LOST,
    EV_CATALOG
};

/* What goes wrong; counted over all seeds. */
enum {
    FAULT_LOSS,
    FAULT_DUPLICATE,
    FAULT_LATE, /* overtaken by what was sent after it */
    FAULT_CRASH,
    FAULT_LOST_WRITE,
    FAULT_TORN_WRITE,
    FAULT_FAILED_WRITE,
    FAULT_SLOW_DISK,
    FAULT_PARTITION,
    FAULT_ONE_WAY,
    FAULT_PAUSE,
    FAULT_CLOCK,
    FAULT_TRANSFER,
    FAULT_UNREACHABLE,
    FAULT_SNAPSHOT,
    FAULT_LULL,
    FAULT_DISK_LOST, /* for good, with everything on it: a new replica takes its place */
    FAULT_RETIRED,   /* removed, and erased some time after */
    FAULT_LEARNER,   /* changes of members that were committed: a learner came, */
    FAULT_PROMOTED,  /* became a voter, */
    FAULT_DEMOTED,
    FAULT_REMOVED,      /* a replica was removed, */
    FAULT_LEADER_LEFT,  /* one that led when it was asked to go, */
    FAULT_CHANGE_LOST,  /* or the change was overwritten by another leader */
    FAULT_CHANGED_MIND, /* the catalog wants back what it took out before it was gone */
    FAULT_LEASE_READ,   /* not faults, but what they are to hit */
    FAULT_QUIET,
    FAULTS
};

#define MS         1000u
#define RUN_US     (6000 * MS) /* with faults */
#define CALM_US    (5000 * MS) /* healed: everything must come right again, */
#define SETTLED_US (1500 * MS) /* so long before the end */

typedef struct {
    uint64_t term;
    int32_t type;
    uint32_t op; /* of a change of members: which configuration */
} entry;
typedef struct {
    uint64_t version[KEYS];
    uint64_t index, term;
    uint32_t config; /* see configuration_of; 0: not known yet */
    uint8_t seen[OPS_MAX];
} machine; /* replicated state */
typedef struct {
    uint64_t id, truncate, first, count;
    bool has_state;
    hf_replication_state state;
    entry *entries;
} disk_write;
typedef struct {
    hf_replication_message m;
    entry *entries;
    uint64_t after;
    uint64_t life;
} packet;

typedef struct event {
    uint64_t at, seq;
    int type;
    uint32_t node, from;
    uint64_t life, number;
    void *data; /* packet or machine, owned */
} event;

typedef struct {
    bool up, gone;   /* gone: its disk is lost or erased, and the id with it */
    bool announce;   /* see replica/members.c */
    uint32_t wanted; /* configuration, as this replica's node has heard of it */
    uint64_t look_at, step_at;
    uint64_t life, paused_until, offset, rate, disk_free, disk_slow;
    hf_replication_group *g;
    entry log[LOG_MAX]; /* in memory; index is the position */
    machine now;
    /* what survives a crash */
    entry disk[LOG_MAX];
    uint64_t disk_last;
    uint32_t disk_config; /* the configuration that it would begin with */
    hf_replication_state disk_state;
    machine snapshot;
    disk_write writes[WRITES_MAX];
    uint32_t write_first, write_count;
    packet *held[4096]; /* messages that wait for the disk */
    uint32_t held_count;
    uint64_t lead_term;
    bool quiet;
} node;

typedef struct {
    bool used, write, done;
    uint32_t key, node;
    uint64_t life, floor, index, term, read_index;
    bool read_ready;
} operation;
typedef struct {
    uint64_t index, term, previous;
    uint32_t op;
    int32_t type;
} known_entry;

extern uint64_t lull_until; /* clients have nothing to ask */
extern uint64_t rng, now, sequence, seed, hash_value, highest_applied;
extern uint32_t count; /* of replicas that there have been: ids 1 to count */
extern uint32_t op_count, loss, duplicate, delay, commits;
extern bool calm, failed, verbose;
extern char reason[HF_ERROR_MESSAGE_SIZE + 120];
extern node nodes[NODES];
extern bool blocked[NODES][NODES];
extern operation ops[OPS_MAX];
extern entry agreed[LOG_MAX];
extern uint64_t agreed_by[LOG_MAX]; /* the term of the replica that applied it first */
extern known_entry known[KNOWN_MAX];
extern uint64_t floors[KEYS];
extern uint32_t leader_of[4096];
extern uint64_t fault_counts[FAULTS];
extern event *heap;
extern size_t heap_count, heap_capacity;
extern const hf_replication *raft;
extern void *instance;

/* ---- random.c ---- */

uint64_t roll(uint64_t below);
void trace(uint64_t a, uint64_t b);
void fail(const char *what, uint64_t a, uint64_t b);

/* ---- events.c ---- */

bool earlier(const event *a, const event *b);
void schedule(event e);
event next_event(void);
void free_packet(packet *p);
void free_event(event *e);

/* ---- checks.c ---- */

uint64_t term_on_disk(const node *n, uint64_t index);
void check_known(uint64_t index, uint64_t previous, const entry *e);
void check_commit(uint64_t index, uint64_t term);
/* Election safety, seen from the disks: two replicas that could both win must need a common vote. */
void check_majorities(void);
/* What a leader may propose, and when; of the configuration before and the next. */
void check_change(uint32_t id, uint32_t before, uint32_t next);
void check_leader(node *n, uint32_t id, const hf_replication_status *s);
void check_settled(void);
void check_end(void);
extern uint64_t settled_term;

/* ---- network.c ---- */

void transmit(packet *p);
void partition(bool one_way);
void isolate(uint32_t index);
/* Drivers are told, a little later, that they cannot reach the node, or those whom they are cut off from. */
void report_down(uint32_t index);
void report_cut_off(void);

/* ---- disk.c ---- */

void store(node *n, const disk_write *w, uint64_t entries);
/* After entries have gone from the disk. */
void find_disk_config(node *n);
void drop_write(node *n);
void take_storage(node *n, uint32_t id, const hf_replication_output *o);
void complete_writes(node *n, uint32_t id, uint64_t last);
void fail_disk(uint32_t id);
void hurry_disk(uint32_t id);

/* ---- node.c ---- */

uint64_t local_time(const node *n);
void release_held(node *n, uint64_t done);
void send_out(node *n, const hf_replication_output *o);
void apply_one(node *n, uint32_t id, uint64_t index, uint64_t term);
void apply(node *n, uint32_t id, uint64_t commit, uint64_t term);
void after_call(uint32_t id, const entry *staged, uint64_t staged_first, uint64_t staged_count);
void start(uint32_t id);
void crash(uint32_t id);
void deliver(event *e);
void install(event *e);
void compact(uint32_t id);
void crash_for_a_while(uint32_t id);

/* ---- members.c ---- */

typedef struct {
    uint32_t count;
    uint32_t all, voters; /* ids as bits, from 1 on */
    hf_replication_member members[STORE_MEMBERS_MAX];
} configuration;

extern uint32_t wanted_now, agreed_config;

void members_reset(void);
/* The members that the first replicas are told of; then give birth to as many. */
void first_members(uint32_t how_many);
void give_birth(void);
const configuration *configuration_of(uint32_t number);
uint32_t configuration_number(const hf_replication_member *members, uint32_t member_count);
static inline bool has_member(const configuration *c, uint32_t id, bool voter)
{
    return (voter ? c->voters : c->all) >> (id - 1) & 1;
}
/* What the catalog wants from now on; the nodes hear of it later. */
void catalog(void);
/* A leader's next step, as replica/members.c does it. */
void members_tick(uint32_t id);
/* An entry that changes the members is committed. */
void members_agreed(uint32_t after);
uint32_t some_replica(void); /* one that is not gone */

/* ---- clients.c ---- */

void answer_reads(node *n, uint32_t id, const hf_replication_output *o);
void client(void);

/* ---- linearizability.c ---- */

void finish(operation *o, uint64_t version);

/* ---- faults.c ---- */

void nemesis(void);
void make_calm(void);
/* Prints the counts; false: one of the faults never happened. */
bool report_faults(void);

#endif
