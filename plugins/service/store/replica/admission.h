/* admission.h: what may wait in this node's replicas.
 *
 * Operations wait in queues: writes until they are applied, reads until they may look and have looked, readers of the
 * change feed until there is a change.  Each kind is bounded in every partition, in every table and on the node, and at
 * each of these a client has a fair share (lib/gate.h).  What would be too much, or would only be done after its
 * deadline, is refused before anything is kept of it. */
#ifndef STORE_ADMISSION_H
#define STORE_ADMISSION_H

#include "service/op.h"

#include <holdfast/host/metrics.h>
#include <holdfast/lib/gate.h>

#include <pthread.h>

/* Kinds of queues, and where they are bounded. */
enum { STORE_QUEUE_WRITES = 0, STORE_QUEUE_READS, STORE_QUEUE_WATCHES, STORE_QUEUES };
enum { STORE_LEVEL_PARTITION = 0, STORE_LEVEL_TABLE, STORE_LEVEL_NODE, STORE_LEVELS };

/* Why an operation is refused; for the first three a level is full. */
enum { STORE_REFUSED_CLIENT = STORE_LEVELS, STORE_REFUSED_LATE, STORE_REFUSALS };

struct store_admission_settings {
    int64_t partition_operations, table_operations, node_operations;
    uint64_t table_bytes, node_bytes;
    int64_t client_share; /* percent */
    uint64_t retry_minimum_us, retry_maximum_us;
};

/* A table's queues on this node; lives as long as the admission. */
struct store_table_queues {
    struct store_table_queues *next;
    uint64_t salt; /* makes clients' keys different from those at other tables */
    hf_gate gates[STORE_QUEUES];
    hf_metric *operations, *bytes;
    char name[];
};

/* A node's. */
struct store_admission {
    hf_gate_limits limits[STORE_LEVELS]; /* of each kind */
    uint64_t retry_minimum_ms, retry_maximum_ms;
    hf_shares *shares;
    hf_gate gates[STORE_QUEUES];
    hf_gate results; /* what reads have found, of which no answer was made yet */
    const hf_host *host;
    const hf_metrics_interface *metrics;
    hf_metric *refused[STORE_REFUSALS];
    hf_metric *operations[STORE_QUEUES], *bytes[STORE_QUEUES], *result_bytes;
    pthread_mutex_t lock; /* guards the list */
    struct store_table_queues *tables;
};

/* Where an operation waits. */
struct store_queues {
    struct store_admission *admission;
    struct store_table_queues *table;
    uint64_t salt; /* the partition's */
    hf_gate gates[STORE_QUEUES];
};

int32_t store_admission_open(struct store_admission *admission, const hf_host *host,
                             const hf_metrics_interface *metrics, uint64_t seed, hf_error *error);
void store_admission_close(struct store_admission *admission); /* also of one that is zeroed */
/* [any] */
void store_admission_configure(struct store_admission *admission, const struct store_admission_settings *settings,
                               uint64_t partition_bytes);
/* The queues of the table, made when they are not there yet; NULL: no memory.  [any] */
struct store_table_queues *store_admission_table(struct store_admission *admission, const char *name);
/* Measures, and shows what waits.  [main, every quarter of a second] */
void store_admission_tick(struct store_admission *admission, uint64_t now_us);

void store_queues_begin(struct store_queues *queues, struct store_admission *admission,
                        struct store_table_queues *table, uint64_t partition);
/* [the replica's loop, every 100 ms] */
void store_queues_measure(struct store_queues *queues, uint64_t now_us);
/* Takes the operation in: HF_OK; HF_EBUSY with op->error, which says when to try again. */
int32_t store_queues_enter(struct store_queues *queues, struct store_op *op, uint64_t now_us);
/* It is answered, with the request's fields as they were. */
void store_queues_leave(struct store_queues *queues, const struct store_op *op);
/* When to try again what was refused for want of room elsewhere. */
uint64_t store_queues_retry_after_ms(struct store_queues *queues, const struct store_op *op, uint64_t now_us);

#endif
