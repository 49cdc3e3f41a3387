/* sim.h: what the files of the store's simulator share.
 *
 * The product's own replicas, calls, transactions and sweeps run here on nodes that are made of events: loops, pool,
 * links, log, engine and clocks are the simulator's.  One thread, one source of randomness: a seed is one exact run. */
#ifndef HOLDFAST_SIM_STORE_H
#define HOLDFAST_SIM_STORE_H

#include "bug.h"
#include "service/call.h"
#include "service/private.h"

#include <stdbool.h>

enum { NODES_MAX = 5, PARTITIONS_MAX = 4, KEYS = 12, EXPIRING_KEYS = 4, CLIENTS = 6, HISTORY_MAX = 4096 };
/* Partitions are numbered as they come: the catalog's, those that the table is made with, those that splits make. */
enum { FIRST_PARTITION = 2, SPACES_MAX = 16 };

#define MS        1000u
#define RUN_US    (3000 * MS)  /* with faults */
#define SETTLE_US (1500 * MS)  /* healed, while clients go on */
#define CALM_US   (30000 * MS) /* healed: by then nothing may be left undone */
#define LOCK_US   (1000 * MS)  /* no lock is older, once there are leaders that can be reached */
#define WALL_US   UINT64_C(1700000000000000)

/* What goes wrong; counted over all seeds. */
enum {
    FAULT_CRASH,
    FAULT_OLD_IMAGE,  /* the engine came back as of its last flush */
    FAULT_LOST_WRITE, /* records that were not durable */
    FAULT_DISK_ERROR,
    FAULT_SLOW_DISK,
    FAULT_PARTITION,
    FAULT_ONE_WAY,
    FAULT_LINK_LOST,
    FAULT_LOST_MESSAGE,
    FAULT_LOST_CALL, /* outcome unknown: the link went while it was under way */
    FAULT_PAUSE,
    FAULT_CLOCK_RATE,
    FAULT_CLOCK_STEP, /* of the wall clock */
    FAULT_TRANSFER,
    FAULT_POOL_FULL,
    FAULT_ENGINE_BUSY,
    FAULT_COMPACTED,
    FAULT_SNAPSHOT,    /* installed */
    FAULT_COORDINATOR, /* died with a transaction under way */
    FAULT_ABANDONED,   /* its client did not wait, and asked again elsewhere under the same idempotency key */
    FAULT_NO_KEY,      /* likewise, without a key: nobody asks again */
    FAULT_COMMITTED,   /* transactions over several partitions, not faults but what they are to hit */
    FAULT_CONFLICT,    /* whose conditions did not hold */
    FAULT_IN_THE_WAY,  /* that gave up before others */
    FAULT_REPEATED,    /* answered from memory */
    FAULT_EXPIRED,
    FAULT_SPLIT, /* asked for */
    FAULT_MERGE,
    FAULT_DRAIN,      /* a node's replicas are to move away */
    FAULT_SPLIT_DONE, /* by the catalog, in the end */
    FAULT_MERGE_DONE,
    FAULT_MOVED_AWAY,    /* replicas that were removed, for their place was elsewhere */
    FAULT_MOVED,         /* answers that a record is in another partition by now */
    FAULT_DRIVER,        /* died with a split or merge under way */
    FAULT_MAJORITY_LOST, /* for good */
    FAULTS
};

typedef struct node node;
struct hf_loop {
    node *of;
};

enum {
    EV_TASKS,
    EV_WORK,
    EV_DONE,
    EV_TIMER,
    EV_TICK,
    EV_PACKET,
    EV_DISK,
    EV_CALL_OVER,
    EV_FLUSH,
    EV_NODE_EVENTS, /* those above belong to a life of a node */
    EV_LINKS,
    EV_CLIENT,
    EV_NEMESIS,
    EV_RESTART,
    EV_LOCKS,
    EV_OPERATOR
};

typedef struct {
    uint64_t at, sequence;
    int type;
    uint32_t node;
    uint64_t life, number;
    void *data;
} event;

/* ---- The log of a node (log.c) ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t term;
    int32_t type;
    uint32_t size;
    uint8_t *bytes;
} kept_entry;

typedef struct {
    bool there;
    struct store_log_group_info info;
    kept_entry *entries; /* of index first_index + i */
    uint64_t capacity;
} kept_group;

struct store_log {
    node *of;
    kept_group groups[SPACES_MAX];
    struct store_log_request *first, *last; /* not durable; of the node's life */
    bool failed, writing, at_once;
    uint64_t slow; /* microseconds more, at most */
};

/* ---- Nodes ------------------------------------------------------------------------------------------------------- */

struct hf_peer_channel {
    node *of;
    hf_peer_handlers handlers;
    void *arg;
};
enum { CHANNELS = 4 };

typedef struct pending_call pending_call;

struct node {
    hf_host host; /* first */
    hf_host engine_host;
    uint32_t index;
    bool up, is_lost;  /* for good */
    uint64_t bound_to; /* the plan of a recovery */
    uint64_t life, paused_until;
    uint64_t offset, rate; /* of the monotonic clock */
    int64_t wall;          /* of the wall clock, from true time */
    uint64_t loop_now;
    hf_loop loop;
    hf_task *tasks, **tasks_end;
    bool tasks_scheduled;
    hf_timer *timers;
    pending_call *calls;
    hf_peer_channel channels[CHANNELS];
    uint32_t channel_count;
    uint64_t link_life[NODES_MAX]; /* of the other at the end of a link that is up; 0: down */
    uint64_t hurry_until, slow_tick_us;
    struct store_log log;
    hf_engine_database *database;
    hf_buffer image[SPACES_MAX]; /* as of the last flush */
    void *raft;
    struct store_service service;
    struct store_shard shard;
};

extern uint64_t rng, now, seed, hash_value, serial;
extern bool calm, failed, verbose;
extern char reason[HF_ERROR_MESSAGE_SIZE + 200];
extern uint64_t fault_counts[FAULTS];
extern node nodes[NODES_MAX];
extern uint32_t node_count, partition_count;
extern bool blocked[NODES_MAX][NODES_MAX];
extern uint32_t delay;
extern const hf_replication *raft;
extern const hf_engine *memory_engine;
extern node *here; /* whose code runs; NULL: the simulator's */

/* ---- heap.c: memory by node, so that a crash takes all of it. ---------------------------------------------------- */

void enter(node *n);
void leave(void);
/* Until `unmute` with what this returned, memory is nobody's: it survives crashes. */
uint32_t heap_of_all(void);
void heap_back(uint32_t owner);
void heap_drop(const node *n);
void heap_drop_all(void);

/* ---- events.c ---- */

uint64_t roll(uint64_t below);
bool chance(uint32_t percent);
void trace(uint64_t a, uint64_t b);
/* With --verbose. */
void say(const char *format, ...) HF_PRINTF(1, 2);
void fail(const char *what, uint64_t a, uint64_t b);
void schedule(event e);
bool next_event(event *ret_event);
void forget_events(void);

/* ---- host.c: loops, pool, timers and time ---- */

extern const hf_loop_interface sim_loops;
extern const hf_node_interface sim_node_interface;
uint64_t local_time(const node *n);
uint64_t wall_time(const node *n);
uint64_t sim_clock_us(void);
void run_tasks(node *n);
void run_timer(node *n, uint64_t number);
void host_begin(node *n);

/* ---- links.c ---- */

extern const hf_peer_interface sim_peers;
void deliver(void *packet);
void free_packet(void *packet);
void call_over(node *n, uint64_t number);
/* Links that are cut are noticed, and come back. */
void look_at_links(void);
void links_begin(void);

/* ---- log.c ---- */

void log_write(node *n, const void *end);
void log_crash(node *n);
void log_drop(node *n);

/* ---- engine.c ---- */

extern hf_engine sim_engine;
void engine_begin(node *n);
void engine_flush(node *n);
void engine_crash(node *n);
void engine_drop(node *n);

/* ---- node.c ---- */

void start(node *n);
void crash(node *n);
void crash_for_a_while(node *n);
void tick(node *n);
void flush_and_compact(node *n);
struct store_replica *replica_of(node *n, uint64_t partition);
node *leader_of(uint64_t partition); /* NULL: nobody who is up */
node *some_node(void);

/* ---- service.c: what the product's sources ask of those that are not here ---- */

void service_begin(node *n);

/* ---- seed.c: the catalog as it is in the beginning ---- */

extern const struct store_options sim_options;
struct store_nodes names(uint32_t self);
void seed_catalog(node *n);
/* The table as a node's routing has it. */
const struct store_table *table_of(const struct store_routing *routing);

/* ---- loss.c: a majority that is lost for good ---- */

extern bool loses_majority; /* this run is one of those: in it nothing is split, merged or moved before */
void loss_begin(void);
void lose_majority(void);
void operator_looks(void);
bool is_lost_for_good(void); /* not recovered yet */
void check_what_was_left(void);

/* ---- reshape.c: splits, merges and moves that are asked for ---- */

void reshape_begin(void);
void ask_for_split_or_merge(void);
void drain_or_add(void);
/* Of a node that dies. */
void count_lost_driver(const node *n);
/* NULL: nothing is left undone; or what is. */
const char *unsettled(uint64_t *ret_what, uint64_t *ret_where);

/* ---- clients.c ---- */

enum { READ = 1, WRITE = 2 };
enum { OUTCOME_NONE = 0, OUTCOME_DONE, OUTCOME_NOT_DONE, OUTCOME_UNKNOWN };
enum { PARTS_MAX = 3 };

/* What a client asked for, in one attempt or more. */
typedef struct {
    int type, outcome;
    bool has_idempotency_key, expires, was_unknown;
    uint32_t count;
    struct {
        uint32_t key;
        int32_t type, condition; /* STORE_PUT ..., STORE_IF_... */
        uint64_t condition_version;
    } operations[PARTS_MAX];
    uint64_t begun, ended; /* true time */
    uint64_t version;      /* read; 0: nothing was there */
    uint64_t writer;       /* of what was read: operation + 1 */
    uint32_t attempts;
    uint64_t times_found; /* in the change feed */
} operation;

extern operation history[HISTORY_MAX];
extern uint32_t history_count;
void clients_begin(void);
/* What came of an attempt; ignored when the client does not wait for it any more. */
void attempt_over(uint32_t client, uint64_t attempt, int32_t code, bool repeated, hf_slice result);
void client(uint32_t number, uint64_t abandoned); /* abandoned: the attempt that it does not wait for any more */
void clients_of_dead(const node *n);              /* the node died: they do not know */
bool clients_are_idle(void);
uint32_t key_text(uint32_t key, char *text, uint32_t capacity);
uint64_t key_partition(const struct store_routing *routing, uint32_t key);

/* ---- requests.c: an attempt in the hands of a node, which asks anew when what it is about has moved ---- */

void request_begin(node *n, uint32_t client, uint32_t operation_number, uint64_t attempt);

/* ---- checks.c, feed.c, graph.c ---- */

void checks_begin(void);
void check_locks(void);
void check_end(void);
/* One order of all operations that every client could have seen: strict serializability. */
typedef struct {
    uint64_t version;
    uint32_t operation;
    int32_t type;
    uint64_t time_us;
} change;
typedef struct {
    uint32_t count;
    change items[HISTORY_MAX];
} changes;
extern changes changes_of[KEYS + EXPIRING_KEYS];
uint32_t key_number(hf_slice key);
void read_feeds(void);
void check_graph(void);

/* ---- faults.c ---- */

void nemesis(void);
void make_calm(void);
bool report_faults(void);

#endif
