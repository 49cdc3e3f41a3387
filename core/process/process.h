/* process.h: what one holdfastd process consists of: its loops, its background pool, its metrics, and the hosts through
 * which plugins see them. */
#ifndef HOLDFAST_CORE_PROCESS_PROCESS_H
#define HOLDFAST_CORE_PROCESS_PROCESS_H

#include "http/server.h"
#include "lua/lua_host.h"
#include "metrics.h"
#include "peer/peer.h"
#include "pool.h"
#include "signal/signals.h"

#include <holdfast/host/loop.h>

enum { HF_WORKERS_MAX = 256 };

typedef struct hf_process hf_process;

typedef struct hf_process_settings {
    uint32_t worker_count;     /* 1..HF_WORKERS_MAX */
    uint32_t pool_threads;     /* 1..256, in each of the two pools */
    uint32_t pool_queue_limit; /* jobs that may wait, in each */
} hf_process_settings;

/* Makes the loops and the pools; nothing runs yet.  HF_EINVAL, HF_ENOMEM, HF_EIO.  [main] */
int32_t hf_process_create(const hf_process_settings *settings, hf_process **ret_process, hf_error *error);

/* Starts the workers' threads, runs the main loop on the calling thread until hf_process_stop, then ends the workers.
 * HF_EIO: a thread could not be started.  [main] */
int32_t hf_process_run(hf_process *process, hf_error *error);

/* Makes hf_process_run return.  [any] */
void hf_process_stop(hf_process *process);

/* Every host must have been freed.  Accepts NULL.  [main] */
void hf_process_destroy(hf_process *process);

hf_loop *hf_process_main_loop(hf_process *process);
hf_loop *hf_process_worker(hf_process *process, uint32_t index); /* NULL behind the last */
hf_loop *hf_process_bulk_loop(hf_process *process);              /* for what gives way to all others */
hf_metrics *hf_process_metrics(hf_process *process);
hf_pool *hf_process_pool(hf_process *process);
hf_pool *hf_process_bulk_pool(hf_process *process);

/* As in <holdfast/host/listen.h>.  [main] */
typedef struct hf_process_listen {
    int32_t (*open)(void *arg, int32_t type, const char *address, uint32_t count, int32_t *ret_descriptors,
                    hf_error *error);
    void (*close)(void *arg, int32_t type, const char *address, const int32_t *descriptors, uint32_t count);
    void *arg;
} hf_process_listen;

/* What plugins reach through their hosts besides loops and metrics.  All is borrowed; NULL parts are not offered. */
typedef struct hf_process_parts {
    hf_http_server *http;
    hf_peers *peers;
    hf_lua_host *lua;
    hf_signals *signals;
    hf_process_listen listen;
    const char *node_name;
    const char *cluster_name;
    const char *state_directory;                  /* every instance gets a folder in it */
    uint64_t (*configuration_version)(void *arg); /* [any] */
    int32_t (*capability)(void *arg, const char *kind, const char *name, const hf_head **ret_interface, void **ret_self,
                          hf_error *error); /* [main] */
    int32_t (*capability_chosen)(void *arg, const char *kind, const hf_capability_choice *choice,
                                 const hf_head **ret_interface, void **ret_self, hf_error *error); /* [main] */
    void *arg;
} hf_process_parts;

/* Before the first host is made.  [main] */
void hf_process_offer(hf_process *process, const hf_process_parts *parts);
const hf_process_parts *hf_process_offered(const hf_process *process);

/* Makes the host for one plugin or instance; `name` (copied) stands in its log lines.  HF_ENOMEM.  [main] */
int32_t hf_process_host_create(hf_process *process, const char *name, const hf_host **ret_host, hf_error *error);

/* Frees a host.  Returns the bytes that its plugin has allocated and not freed: 0, or a leak of the plugin's, whose
 * memory stays valid.  Accepts NULL.  [main] */
uint64_t hf_process_host_free(const hf_host *host);

/* Bytes that the host's plugin holds now.  [any] */
uint64_t hf_process_host_memory(const hf_host *host);

#endif
