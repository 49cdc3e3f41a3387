/* kit/host.h: a host for one instance under check: everything of holdfast/host, in one thread, with a clock that stands
 * still until the check moves it.
 *
 * All loops and the pool run on the check's thread, inside hf_kit_host_advance and hf_kit_host_run_until; a plugin's
 * own threads may post to them.  What the plugin does against the rules of an interface ends the check.  Functions are
 * for the check's thread.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIT_HOST_H
#define HOLDFAST_KIT_HOST_H

#include <holdfast/kit/check.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_kit_host hf_kit_host;

/* How the tables that the plugin gets end. */
enum {
    HF_KIT_TABLES_SAME = 0,  /* as this SDK knows them */
    HF_KIT_TABLES_OLDER = 1, /* as of the minor that the plugin needs, and behind their end nothing may be read */
    HF_KIT_TABLES_NEWER = 2  /* of the next minor: behind what this SDK knows are functions that nobody can call */
};

hf_kit_host *hf_kit_host_create(const hf_kit_subject *subject, int32_t tables);
/* Accepts NULL. */
void hf_kit_host_destroy(hf_kit_host *host);

const hf_host *hf_kit_host_root(hf_kit_host *host);

/* ---- Faults ---- */

/* The interface `name` is not offered; NULL: all are. */
void hf_kit_host_withhold(hf_kit_host *host, const char *name);
/* The interfaces that the plugin asked for: the index-th name, or NULL behind the last. */
const char *hf_kit_host_asked(const hf_kit_host *host, uint32_t index);
/* The `number`-th allocation from now on fails, counted from 1; 0: none. */
void hf_kit_host_fail_allocation(hf_kit_host *host, uint64_t number);
int32_t hf_kit_host_allocation_failed(const hf_kit_host *host);

/* The `number`-th opening of sockets to listen at that is right from now on is refused (HF_EIO), counted from 1; 0:
 * none. */
void hf_kit_host_fail_listen(hf_kit_host *host, uint32_t number);
int32_t hf_kit_host_listen_failed(const hf_kit_host *host);

/* ---- What the plugin holds ---- */

/* Blocks of host memory in use; *ret_bytes may be NULL. */
uint64_t hf_kit_host_memory(const hf_kit_host *host, uint64_t *ret_bytes);
/* Timers and watches that exist. */
uint32_t hf_kit_host_timers(const hf_kit_host *host);
uint32_t hf_kit_host_watches(const hf_kit_host *host);

/* ---- Time ---- */

/* Lets `us` microseconds of the kit's clock pass: timers fire in order, tasks and jobs run between them. */
void hf_kit_host_advance(hf_kit_host *host, uint64_t us);
/* Runs with the clock at about the speed of the real one until the condition holds; returns 0 when it did not within
 * `limit_us`. */
int32_t hf_kit_host_run_until(hf_kit_host *host, int32_t (*condition)(void *arg), void *arg, uint64_t limit_us);

/* ---- Signals ---- */

typedef struct hf_kit_signal {
    char name[64];
    char subject[256];
    int32_t raised; /* 1 raised, 0 cleared */
    uint64_t at_us;
} hf_kit_signal;

/* What was raised and cleared, in order; raising what is raised is not in it.  At most 4096 are kept. */
const hf_kit_signal *hf_kit_host_signals(const hf_kit_host *host, uint64_t *ret_count);

/* ---- HTTP ---- */

typedef struct hf_kit_route {
    int32_t right;
    const char *method;
    const char *pattern;
} hf_kit_route;

/* The routes that were added; 0 behind the last. */
int32_t hf_kit_host_route(const hf_kit_host *host, uint32_t index, hf_kit_route *ret_route);
/* Calls the route's handler with the text for every {name}, and waits for the answer, and for the end of a stream,
 * whose client goes away.  Returns the answer's status; 0: there was none within `limit_us`. */
uint32_t hf_kit_host_request(hf_kit_host *host, uint32_t route, const char *text, hf_slice body, uint64_t limit_us);

/* ---- Listeners ---- */

typedef struct hf_kit_listener {
    int32_t type;        /* HF_LISTEN_... */
    const char *address; /* as the plugin gave it; valid until it is closed */
    uint32_t count;      /* of sockets */
} hf_kit_listener;

/* Where the plugin listens now, the newest first; 0 behind the last.  Its sockets are at a free port of this machine,
 * or at a path in the check's folder, whatever the address says. */
int32_t hf_kit_host_listener(const hf_kit_host *host, uint32_t index, hf_kit_listener *ret_listener);
/* A non-blocking socket that is connected there, which the caller closes; -1: refused. */
int32_t hf_kit_host_connect(const hf_kit_host *host, uint32_t index);

/* ---- Peers ---- */

/* Gives the bytes to every channel, as a message and as a request of another node.  The kit's cluster has one node
 * unless `nodes` of hf_kit_host_peers says more; their links never come up. */
void hf_kit_host_peers(hf_kit_host *host, uint32_t nodes);
void hf_kit_host_peer_receive(hf_kit_host *host, uint32_t node, hf_slice bytes);

#ifdef __cplusplus
}
#endif
#endif
