/* cluster.h: a group of three replicas in memory, with a network that delays, loses and cuts, all by one seed. */
#ifndef HOLDFAST_KIT_CLUSTER_H
#define HOLDFAST_KIT_CLUSTER_H

#include <holdfast/kit/plugin.h>

#include <holdfast/kind/replication.h>

enum { CLUSTER_SIZE = 3, LOG_MAX = 2000, QUEUE_MAX = 4096, TICK_US = 10000, CHANGES_MAX = 16 };

struct cluster_message {
    hf_replication_message message; /* its entries are `entries` */
    uint64_t due_us;
    hf_replication_entry *entries; /* owned */
};

struct cluster_replica {
    hf_replication_group *group;           /* NULL: down */
    hf_replication_state state;            /* as stored */
    hf_replication_entry log[LOG_MAX + 1]; /* by index; log[0] is not used */
    uint64_t last;
    uint64_t applied;
    uint64_t values[LOG_MAX + 1]; /* of the entries: what the state machine sees */
};

struct cluster {
    const hf_replication *table;
    hf_kit_instance instance;
    struct cluster_replica replicas[CLUSTER_SIZE];
    struct cluster_message *queue;
    uint32_t queued;
    uint64_t now_us;
    uint64_t random;
    uint32_t lost_percent;
    uint32_t cut; /* bit per replica that is cut off */
    uint64_t next_value;
    uint64_t kept_values[LOG_MAX + 1]; /* by index: what the first replica applied; all others must agree */
    hf_replication_message sample;     /* the last message that was sent, for those who want to damage one */
    uint64_t reads_answered;
    hf_replication_member changes[CHANGES_MAX][CLUSTER_SIZE]; /* payloads of membership entries */
    uint32_t change_count;
};

void cluster_open(struct cluster *cluster, const hf_kit_subject *subject);
void cluster_close(struct cluster *cluster);
void cluster_start(struct cluster *cluster, uint32_t index);
void cluster_crash(struct cluster *cluster, uint32_t index);
/* Cuts one replica off from the others, until `cut` is 0 again. */
void cluster_cut(struct cluster *cluster, uint32_t index);

/* Lets time pass. */
void cluster_run(struct cluster *cluster, uint64_t us);
/* The index of the one leader that is not cut off, or CLUSTER_SIZE. */
uint32_t cluster_leader(struct cluster *cluster);
/* Runs until there is a leader, for a minute of the group's clock, and returns it. */
uint32_t cluster_wait_leader(struct cluster *cluster);
/* Proposes one entry at the leader, again and again until it is taken. */
void cluster_propose(struct cluster *cluster);
/* Changes the members at the leader, again and again until it is taken; or by force at replica `index`. */
void cluster_change_members(struct cluster *cluster, const hf_replication_member *members, uint32_t count);
void cluster_force_members(struct cluster *cluster, uint32_t index, const hf_replication_member *members,
                           uint32_t count);
/* Runs until all replicas that are up and not cut off have applied the same, and at least the entry `index`. */
void cluster_wait_applied(struct cluster *cluster, uint64_t index);

#endif
