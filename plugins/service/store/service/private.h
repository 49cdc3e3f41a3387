/* service/private.h: between the files of the store service. */
#ifndef STORE_SERVICE_PRIVATE_H
#define STORE_SERVICE_PRIVATE_H

#include "http/http.h"
#include "machine/phase.h"
#include "recover/fence.h"
#include "replica/replica.h"
#include "service/identity.h"
#include "service/options.h"

#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/host/signal.h>

#include <pthread.h>

struct store_creation;
struct store_drive;
struct store_sweep;
struct store_scrub;
struct store_compare;
struct store_compared;
struct store_fill;

/* What one worker loop has of the store. */
struct store_shard {
    struct store_service *service;
    uint32_t index;
    hf_loop *loop;
    hf_timer *timer;
    uint64_t hello_us;               /* when the hello is said again */
    int32_t hurried;                 /* 1: the timer is at its short period */
    uint64_t replica_count;          /* places, some of them empty */
    struct store_replica **replicas; /* of partition P at P / shards */
    struct store_routing *routing;
    struct store_call *calls;         /* waiting to be tried again */
    struct store_creation *creations; /* waiting for the routing to have their table */
    _Atomic uint32_t accepted;        /* bit per node: it believed what this shard's link began with */
    uint8_t trusted[STORE_NODES_MAX]; /* by node, 1: what its last link here began with was believed */
    hf_task begin_task, stop_task;
    uint32_t stopping; /* replicas that have not stopped, and one */
    struct store_sweep *sweep;
    struct store_compared *compared; /* trees that others ask for */
};

/* Work on the catalog, in the pool. */
struct store_rebuild {
    hf_job job;
    struct store_service *service;
    int32_t code;
    hf_error error;
    struct store_routing *routing;
    uint64_t opened_count;
    struct store_replica **opened;
};

struct store_metrics {
    hf_metric *applied;
    hf_metric *leaders;
    hf_metric *replicas;
    hf_metric *checks, *check_bytes, *damages, *repairs, *damaged_reads, *comparisons, *differences;
    hf_metric *log_bytes, *log_syncs, *log_records, *log_segments, *log_queue_bytes, *log_sync_us_max;
};

struct store_service {
    const hf_host *host;
    const struct store_options *_Atomic options;  /* the main loop gives others in their place */
    const struct store_options *options_prepared; /* by a reload */
    const struct store_options *options_next;     /* committed; taken over by the next tick */
    const hf_loop_interface *loops;
    const hf_peer_interface *peers; /* NULL: alone */
    const hf_node_interface *node;
    const hf_metrics_interface *metrics;
    const hf_signal_interface *signals; /* NULL: the host has none */
    struct store_nodes nodes;

    struct store_environment environment;
    struct store_admission admission;
    const hf_engine *engine;
    void *engine_self;
    hf_engine_database *database;
    const hf_replication *replication;
    void *replication_self;
    struct store_log_file_system file_system;
    int32_t file_system_open;
    struct store_log *log;
    hf_peer_channel *calls, *hello, *recoveries, *compare_channel;
    struct store_http *http;
    struct store_identity identity;
    struct store_witness witness;
    int32_t witness_open;
    struct store_fence fence;
    int32_t fence_open;
    _Atomic int32_t out;  /* 1: this node takes no part any more, for others know better than its disk */
    _Atomic int32_t lost; /* 1: because an operator has called it lost */
    hf_job lost_job;
    _Atomic uint32_t lost_by;            /* the node + 1 that said so */
    _Atomic(struct store_drive *) drive; /* a recovery that this node drives */
    hf_job witness_job;
    _Atomic int32_t witness_saving, witness_again;
    uint64_t witness_us;                /* [first worker loop] when it is saved again */
    uint64_t told_position;             /* likewise; of the log, that the others were told */
    struct store_membership membership; /* [main] */
    _Atomic uint64_t cluster;           /* of the membership; 0: there is no catalog here yet */
    _Atomic uint64_t cluster_heard;     /* that others have, 0: none did */
    _Atomic uint64_t generation;        /* ids of this node that are older are void, as far as others said */
    _Atomic uint32_t accepted;          /* bit per node: it believed this node on some link, and none was lost since */
    _Atomic uint32_t refused;           /* bit per node: it did not */
    _Atomic int32_t refused_why;        /* STORE_IDENTITY_... */
    _Atomic uint32_t fresh;             /* bit per node that has no catalog either, as it said */
    _Atomic uint64_t strangers[STORE_NODES_MAX];    /* the disk that was refused and complained about, 0: none */
    _Atomic int32_t strangers_why[STORE_NODES_MAX]; /* STORE_IDENTITY_... */
    _Atomic uint64_t replaceable[STORE_NODES_MAX];  /* likewise, when it is empty and could replace the known one */
    uint64_t begin_us;                              /* when the loops began to run */

    uint32_t shard_count;
    struct store_shard *shards;

    pthread_rwlock_t lock; /* guards replicas */
    uint64_t replica_count;
    struct store_replica **replicas; /* by partition; kept until the end */

    /* Main loop. */
    struct store_rebuild rebuild;
    int32_t rebuilding, rebuild_again;
    uint64_t rebuilt_index; /* the catalog's applied index that the routing has */
    struct store_routing *routing;
    hf_timer *timer;
    uint64_t ticks;
    _Atomic int32_t catalog_posted;
    hf_task catalog_task;
    int32_t ensuring;      /* a declared table is being made */
    uint64_t ensure_table; /* the next declared table to look at; count: all are there */
    hf_task ensure_task;
    struct store_compaction *compaction;
    uint64_t slow_us;            /* [first worker loop] when the next two look again */
    struct store_placer *placer; /* [first worker loop] */
    struct store_retire *retire; /* likewise */
    struct store_driver *driver; /* likewise */
    struct store_growth *growth; /* likewise */
    hf_task join_task;
    _Atomic int32_t join_posted;
    int32_t joins;
    uint64_t join_replica;
    _Atomic uint64_t applied_total;
    uint64_t applied_shown;
    _Atomic uint64_t partition_max_size;
    _Atomic uint64_t snapshot_free_us, scrub_free_us;
    struct store_integrity integrity;
    struct {
        uint64_t checks, bytes, damages, repairs, reads, comparisons, differences;
    } shown;                                   /* of `integrity`, in the metrics */
    _Atomic uint64_t comparisons, differences; /* of groups; those whose replicas were not the same */
    _Atomic int32_t engine_damaged;
    _Atomic uint64_t damaged_partition;        /* where it was noticed */
    const char *directory;                     /* with the state of this node */
    _Atomic int32_t is_damaged;                /* 1: opening has met damage in this node's own files */
    int32_t begins_anew;                       /* 1: what the node had was set aside just now */
    _Atomic int32_t heals;                     /* 1: it asks the others to be filled anew */
    uint64_t needed_saved;                     /* the count that is remembered, and one; 0: none yet */
    _Atomic uint64_t healing[STORE_NODES_MAX]; /* the disk that a node asks to be filled on, 0: none */
    struct store_fill *fill;                   /* [first worker loop] */
    struct store_scrub *scrub;                 /* [first worker loop] */
    struct store_metrics series;
    int32_t started;
    int32_t draining;
    _Atomic uint32_t shards_left;
    hf_task drained_task;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* running.c */
/* Something waits for time to pass: looks every 25 ms for a while, instead of every 100.  [loop of the shard] */
void store_shard_hurry(struct store_shard *shard);

/* shard.c */
/* The shard of the calling worker loop. */
struct store_shard *store_shard_current(struct store_service *service);
static inline struct store_shard *store_shard_of(struct store_service *service, uint64_t partition)
{
    return &service->shards[partition % service->shard_count];
}
struct store_replica *store_shard_replica(const struct store_shard *shard, uint64_t partition);
/* [loop of the shard] */
int32_t store_shard_add(struct store_shard *shard, struct store_replica *replica);
void store_shard_route(struct store_shard *shard, struct store_routing *routing); /* takes over a reference */
void store_shard_remove(struct store_shard *shard, uint64_t partition);
/* Tells the replica who should be in its group. */
void store_shard_want(struct store_shard *shard, struct store_replica *replica);

/* call.c */
void store_calls_retry(struct store_shard *shard, uint64_t now_us);
void store_calls_end(struct store_shard *shard);

/* transaction.c: sends a phase of a transaction, which is encoded into a buffer of its own: finished(phase_call) on the
 * calling loop, never before this returned.  HF_ENOMEM: it was not sent. */
struct store_phase_call {
    struct store_call call; /* first; call.op.result and command are given back before `finished` is called */
    hf_buffer command;
    uint64_t client; /* for whom a transaction is prepared; what it then needs is never refused for want of room */
    void (*finished)(struct store_phase_call *phase_call);
    void *arg;
};
int32_t store_phase_send(struct store_service *service, struct store_phase_call *phase_call, uint64_t partition,
                         const struct store_phase *phase, uint64_t deadline_us);

/* sweep.c: transactions that nobody looks after any more.  [loop of the shard] */
void store_sweep_tick(struct store_shard *shard, uint64_t now_us);
void store_sweep_free(struct store_shard *shard);

/* refresh.c: for the environment of replicas. */
void store_service_refresh(void *service, struct store_replica *replica, uint64_t now_us);

/* remote.c: what other nodes send. */
int32_t store_remote_open(struct store_service *service, hf_error *error);

/* hello.c: who is at the other end of a link.  [worker loops] */
int32_t store_hello_open(struct store_service *service, hf_error *error);
void store_hello_link(struct store_service *service, uint32_t node, int32_t up);
/* Says it again to those who have not believed it, or all while there is no catalog.  [worker loops] */
void store_hello_tick(struct store_shard *shard, uint64_t now_us);
/* What a node that was judged so runs on: "another disk than before".  Static. */
const char *store_hello_describe(int32_t judgement);
/* This node takes no part any more: its replicas leave.  [loop of the shard] */
void store_hello_leave(struct store_shard *shard);
/* 1 when the node may take part.  [worker loops] */
int32_t store_hello_trusts(struct store_service *service, uint32_t node);
/* A message for this node's replica of the catalog, which is not open: this node was made a member.  [worker loops] */
void store_hello_join(struct store_service *service, uint32_t node, uint64_t replica);

/* recover.c, recover_drive.c: see recover.h. */
int32_t store_recover_open(struct store_service *service, hf_error *error);
void store_recover_tick(struct store_shard *shard, uint64_t now_us);

/* edit.c: writes records of the catalog, all or nothing, and says what came of it.  What the operations refer to is
 * copied.  [worker loops] */
/* Says of a failure that the catalog could not be reached, which is what `code` means there. */
void store_catalog_explain(int32_t code, hf_error *error);
typedef void (*store_edit_done)(void *arg, int32_t code, const hf_error *error);
void store_edit(struct store_service *service, const struct store_operation *operations, uint64_t count,
                store_edit_done done, void *arg);
struct store_operation store_edit_put(hf_slice key, hf_slice value, uint64_t version); /* version 0: must be absent */

/* placer.c: the catalog's leader lets partitions move.  [first worker loop] */
void store_placer_tick(struct store_shard *shard, uint64_t now_us);
void store_placer_free(struct store_service *service);

/* retire.c: replicas whose place is elsewhere now are removed from this node.  [first worker loop] */
void store_retire_tick(struct store_shard *shard, uint64_t now_us);
void store_retire_free(struct store_service *service);
/* Whether the answer to STORE_OP_MEMBERS has the replica. */
int32_t store_members_have(hf_slice members, uint64_t replica);

/* integrity.c: what is said of damage. */
int32_t store_integrity_open(struct store_service *service, hf_error *error); /* [main] */
void store_integrity_show(struct store_service *service);                     /* [main] */

/* scrub.c: looks for damage.  [first worker loop] */
void store_scrub_tick(struct store_shard *shard, uint64_t now_us);
void store_scrub_free(struct store_service *service);

/* compare.c: of a partition whose replica here leads.  done(arg) is called once, never before this returned; NULL: no
 * memory.  [first worker loop] */
typedef void (*store_compare_done)(void *arg, int32_t code);
struct store_compare *store_compare_start(struct store_service *service, uint64_t partition, store_compare_done done,
                                          void *arg);
void store_compare_tick(struct store_compare *compare); /* every second */
void store_compare_free(struct store_compare *compare); /* of one that is not done, when no loop runs any more */

/* compared.c: answers other nodes that compare. */
int32_t store_compared_open(struct store_service *service, hf_error *error); /* [main] */
void store_compared_free(struct store_shard *shard);

/* fill.c: nodes with damaged data are filled anew.  [first worker loop] */
void store_fill_tick(struct store_shard *shard, uint64_t now_us);
void store_fill_free(struct store_service *service);

/* reshape.c: the catalog's leader carries out splits and merges.  [first worker loop] */
void store_driver_tick(struct store_shard *shard, uint64_t now_us);
void store_driver_free(struct store_service *service);

/* growth.c: leaders ask for splits of what has grown too large or too busy.  [first worker loop] */
void store_growth_tick(struct store_shard *shard);
void store_growth_free(struct store_service *service);

/* catalog.c */
struct store_replica *store_catalog_replica(struct store_service *service); /* NULL: there is none yet; [any] */
/* The catalog's replica is to be opened: as one of those that begin it (`joins` 0), or under this id.  [any] */
void store_catalog_join(struct store_service *service, int32_t joins, uint64_t replica);
int32_t store_catalog_open(struct store_service *service, hf_error *error);
void store_catalog_changed(void *arg, struct store_replica *replica);
void store_catalog_tick(struct store_service *service);

/* creation.c: tables that were made, or are looked for, wait for the routing to have them.  [loop of the shard] */
void store_creations_check(struct store_shard *shard, uint64_t now_us);

/* compact.c */
void store_compact_tick(struct store_service *service);
void store_compact_free(struct store_service *service);

/* replicas.c */
/* Opens this node's replica, with that id, of a group that it begins (`joins` 0) or that is there already.  Blocks. */
int32_t store_service_open_replica(struct store_service *service, const struct store_partition *partition,
                                   const struct store_table *table, uint64_t self, int32_t joins,
                                   struct store_replica **ret_replica, hf_error *error);
/* Takes a stopped replica out, so that it can be closed.  [main] */
void store_service_unregister(struct store_service *service, uint64_t partition);
int32_t store_service_register(struct store_service *service, struct store_replica *replica); /* takes it over */
/* The node + 1 that leads the partition as far as its replica here knows; 0: unknown, or no replica here.  [any] */
uint32_t store_service_leader(struct store_service *service, uint64_t partition);
int32_t store_service_has(struct store_service *service, uint64_t partition);
/* What this node's replica is like, and its id; 0: there is none.  [any] */
int32_t store_service_shape(struct store_service *service, uint64_t partition, struct store_shape *ret_shape,
                            uint64_t *ret_self);

/* say.c */
void store_service_log(const struct store_service *service, int32_t level, const char *format, ...) HF_PRINTF(3, 4);

#endif
