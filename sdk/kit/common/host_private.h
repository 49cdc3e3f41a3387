/* host_private.h: the kit's host, for its own files.  All of it belongs to the check's thread but what `lock` protects.
 */
#ifndef HOLDFAST_KIT_HOST_PRIVATE_H
#define HOLDFAST_KIT_HOST_PRIVATE_H

#include <holdfast/kit/host.h>
#include <holdfast/kit/plugin.h>

#include <holdfast/host/http.h>
#include <holdfast/host/listen.h>
#include <holdfast/host/loop.h>
#include <holdfast/host/lua.h>
#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/host/peer.h>
#include <holdfast/host/signal.h>

#include <pthread.h>

enum {
    KIT_WORKERS = 2,
    KIT_INTERFACES = 8,
    KIT_METRICS_MAX = 4096,
    KIT_SIGNALS_MAX = 4096,
    KIT_DECLARED_MAX = 256,
    KIT_ROUTES_MAX = 256,
    KIT_CHANNELS_MAX = 32
};

struct hf_loop {
    hf_kit_host *host;
    hf_task *first; /* under `lock` */
    hf_task *last;
    hf_timer *timers;
    hf_watch *watches;
};

/* The root table of one instance; a capability that the plugin asks for has one of its own. */
struct kit_root {
    hf_kit_host *host;
    struct kit_root *next;
    hf_host *table;
    hf_kit_configuration *configuration; /* of a capability that was asked for; owned */
    const hf_head *head;                 /* its table; owned */
    char name[140];
    char *state_directory;
    _Atomic uint64_t blocks;
    _Atomic uint64_t bytes;
};

struct kit_signal_state {
    char name[64];
    char subject[256];
};

struct kit_channel {
    hf_kit_host *host;
    const char *name;
    hf_peer_handlers handlers;
    void *arg;
};

struct hf_kit_host {
    const hf_kit_subject *subject;
    int32_t tables; /* HF_KIT_TABLES_... */
    pthread_t thread;
    struct kit_root *roots; /* newest first */
    struct kit_root *own;
    struct kit_mapping *mappings;
    const hf_head *interfaces[KIT_INTERFACES];

    const char *withheld;
    _Atomic uint32_t asked; /* bit per interface */
    _Atomic uint64_t allocations;
    uint64_t fail_at;
    _Atomic int32_t allocation_failed;

    int32_t begun;                  /* the loops run: nothing can be declared any more */
    int32_t ended;                  /* they have ended: what they held may be destroyed from the main thread */
    hf_loop loops[1 + KIT_WORKERS]; /* 0: main */
    hf_loop *running;
    uint64_t now_us;
    pthread_mutex_t lock; /* of the loops' and the pool's queues, and the signals */
    pthread_cond_t posted;
    hf_job *jobs;
    hf_job *jobs_last;

    hf_metric *metrics;
    uint64_t random;

    const hf_signal_kind *signal_kinds[KIT_DECLARED_MAX];
    uint32_t signal_kind_count;
    const hf_action *actions[KIT_DECLARED_MAX];
    uint32_t action_count;
    struct kit_signal_state raised[KIT_DECLARED_MAX];
    uint32_t raised_count;
    hf_kit_signal *events;
    uint64_t event_count;

    hf_decision *decisions;
    struct kit_route_entry *routes;
    uint32_t route_count;
    hf_http_request *requests;
    uint32_t nodes;
    struct kit_channel channels[KIT_CHANNELS_MAX];
    uint32_t channel_count;
    hf_peer_request *peer_requests;
    struct kit_listener *listeners; /* newest first */
    uint32_t listen_fails_at;       /* openings until then; 0: none fails */
    int32_t listen_failed;
};

/* The host behind a root table. */
struct kit_root *kit_root_of(const hf_host *host);
static inline hf_kit_host *kit_of(const hf_host *host)
{
    return kit_root_of(host)->host;
}

/* A root table of its own for a capability. */
struct kit_root *kit_root_create(hf_kit_host *host, const char *name);

int32_t kit_on_thread(const hf_kit_host *host);
/* Ends the check unless the call is made on the check's thread before the loops run. */
void kit_must_declare(const hf_kit_host *host, const char *function);
/* Ends the check unless the call is made on the loop's thread. */
void kit_must_be_on(const hf_loop *loop, const char *function);
/* Runs what is ready; returns whether anything was. */
int32_t kit_run_ready(hf_kit_host *host);
/* Fires the timers that are due, and runs nothing else. */
void kit_run_timers(hf_kit_host *host);

/* Whether some watch of the loop has the descriptor. */
int32_t kit_is_watched(const hf_loop *loop, int32_t fd);

/* Ends the check when the plugin itself has closed a socket that it was given to listen at. */
void kit_listeners_look(const hf_kit_host *host);

/* Runs function(arg) on the loop, in the order of posts. */
void kit_call_on(hf_loop *loop, void (*function)(void *arg), void *arg);

extern const hf_loop_interface kit_loop_interface;
extern const hf_metrics_interface kit_metrics_interface;
extern const hf_node_interface kit_node_interface;
extern const hf_signal_interface kit_signal_interface;
extern const hf_lua_interface kit_lua_interface;
extern const hf_http_interface kit_http_interface;
extern const hf_peer_interface kit_peer_interface;
extern const hf_listen_interface kit_listen_interface;

void kit_loops_create(hf_kit_host *host);
void kit_loops_destroy(hf_kit_host *host);
void kit_metrics_destroy(hf_kit_host *host);
void kit_node_forget(struct kit_root *root);
void kit_decisions_destroy(hf_kit_host *host);
void kit_http_destroy(hf_kit_host *host);
void kit_peers_destroy(hf_kit_host *host);
void kit_listeners_destroy(hf_kit_host *host);

/* calloc that ends the check instead of failing. */
void *kit_allocate(uint64_t size);

#endif
