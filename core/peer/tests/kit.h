/* kit.h: a small cluster in one process, each node with its own loops, threads and listening socket, and what its tests
 * do with it. */
#ifndef HOLDFAST_CORE_PEER_TESTS_KIT_H
#define HOLDFAST_CORE_PEER_TESTS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop.h"
#include "metrics.h"
#include "peer/peer.h"
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { KIT_NODES = 3, KIT_WORKERS = 2, KIT_LANES = KIT_WORKERS + 1, KIT_HELD_MAX = 5000, KIT_QUEUE_LIMIT = 8 << 20 };

typedef struct kit_node {
    /* What it is started with; kit_prepare sets it, tests may change it before kit_start. */
    const char *name;
    const char *certificates;
    const char *cluster;
    uint64_t queue_limit;
    uint32_t member_count;
    char addresses[KIT_NODES][32];
    hf_peer_member members[KIT_NODES];
    const hf_peer_handlers *handlers; /* of the channel "test" */
    uint16_t port;
    int listener;

    hf_loop *main, *workers[KIT_WORKERS], *bulk;
    hf_pool *pool;
    hf_metrics *metrics;
    hf_peers *peers;
    hf_peer_channel *channel;

    /* Guarded by kit_lock. */
    uint32_t up[KIT_NODES];                /* lanes */
    uint32_t received[KIT_NODES];          /* messages */
    uint32_t next[KIT_NODES][KIT_WORKERS]; /* number of the next message of each lane */
    uint32_t disorder;
    uint64_t received_bytes, received_hash; /* the hash is that of the last message */
    hf_peer_request *held[KIT_HELD_MAX];
    uint32_t held_count;
    int stopped;
} kit_node;

extern kit_node kit_nodes[KIT_NODES]; /* "n1", "n2", "n3" */
extern char kit_directory[64],
    kit_other_directory[64]; /* certificates of the cluster "test", and of another authority */
extern pthread_mutex_t kit_lock;
extern pthread_cond_t kit_changed;

/* Handlers of a node.  A message begins with its number in its lane; a request is answered by its text: "hold" later
 * (see held), "fail" with HF_ECONFLICT, "loop" with "worker" or "bulk", others with their own bytes. */
extern const hf_peer_handlers kit_handlers;

/* Waits for a condition on what kit_lock guards; fails the test after a long time. */
#define KIT_WAIT(condition)                                                                                            \
    do {                                                                                                               \
        struct timespec kit_until;                                                                                     \
        clock_gettime(CLOCK_REALTIME, &kit_until);                                                                     \
        kit_until.tv_sec += 40;                                                                                        \
        pthread_mutex_lock(&kit_lock);                                                                                 \
        while (!(condition))                                                                                           \
            if (pthread_cond_timedwait(&kit_changed, &kit_lock, &kit_until) == ETIMEDOUT) {                            \
                pthread_mutex_unlock(&kit_lock);                                                                       \
                kit_print_log();                                                                                       \
                fail_msg("waited in vain for %s", #condition);                                                         \
            }                                                                                                          \
        pthread_mutex_unlock(&kit_lock);                                                                               \
    } while (0)

/* Group fixtures: certificates, and the log's capture. */
int kit_begin(void **state);
int kit_finish(void **state);

/* Fixtures of a test.  kit_prepare: listening sockets and settings, and an empty log; kit_set_up: and all nodes started
 * and linked; kit_tear_down: stops what runs. */
int kit_prepare(void **state);
void kit_prepare_nodes(void); /* of it, what concerns the nodes */
int kit_set_up(void **state);
int kit_tear_down(void **state);

void kit_start(kit_node *node);
void kit_halt(kit_node *node); /* ends its links */
void kit_end(kit_node *node);  /* ends its loops after that */
void kit_stop(kit_node *node); /* both */
/* Fills in all but the handlers. */
void kit_settings(kit_node *node, hf_peers_settings *ret_settings);
/* Waits until both nodes have all their links to each other. */
void kit_wait_linked(const kit_node *one, const kit_node *other);

/* Runs the function on the loop and waits until it has returned. */
void kit_run(hf_loop *loop, void (*function)(void *arg), void *arg);

/* The log since kit_prepare. */
const char *kit_log(void);         /* kit_lock is held */
int kit_logged(const char *words); /* likewise */
void kit_wait_log(const char *words);
void kit_print_log(void);

/* The value of one line of the node's metrics, NAME{LABELS}; -1: there is none. */
double kit_metric(const kit_node *node, const char *series);

/* ---- Sending --------------------------------------------------------------------------------------------------- */

/* Sends `count` numbered messages of 4 + `size` bytes in one turn of the worker's loop.  Returns how many were taken;
 * *ret_last: the code of the last one. */
uint32_t kit_burst(kit_node *node, uint32_t worker, uint32_t to, uint32_t count, uint32_t size, int32_t *ret_last);

typedef struct kit_call {
    hf_task task;
    kit_node *node;
    uint32_t to;
    uint64_t timeout_us;
    const char *text;
    int is_bulk;
    int in_call, early, elsewhere;
    uint32_t done; /* how often */
    int32_t code;
    char response[32];
} kit_call;

/* Begins a call on the node's first worker loop; `done` becomes 1. */
void kit_call_start(kit_call *call, kit_node *node, uint32_t to, const char *text, uint64_t timeout_us);
/* Waits for the end of the call, which must come once, later and on the same loop.  Returns its code. */
int32_t kit_call_wait(kit_call *call);
int32_t kit_call_now(kit_node *node, uint32_t to, const char *text, char response[32]);
/* The same through the bulk loops. */
int32_t kit_bulk_call_now(kit_node *node, uint32_t to, const char *text, char response[32]);

#endif
