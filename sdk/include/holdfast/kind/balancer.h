/* kind/balancer.h: which server of a pool gets the next request.
 *
 * A process creates one instance of a balancer for every upstream that names it, with the options that are given there;
 * the instance opens a pool for every worker loop and every generation of the upstream's servers.  A pool is pure:
 * time, chance and what is known of the servers come in as arguments, so that the same calls with the same seed give
 * the same answers, under test as in service.  All calls for one pool come from its loop [loop]; `pick` and `ended` are
 * on the path of every request: no memory is taken there, nothing waits.
 *
 * Servers are known by their place in the list that the pool was opened with.  When servers come or go, the user opens
 * another pool, in the background pool of threads where that takes long, lets it follow the one in use, and closes
 * that.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_KIND_BALANCER_H
#define HOLDFAST_KIND_BALANCER_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Capability bits. */
#define HF_BALANCER_KEYED        1 /* requests with the same key get the same server while it is usable */
#define HF_BALANCER_BOUNDS_LOADS 2 /* no server gets more than a share of what is under way, whatever the keys are */

enum { HF_BALANCER_SERVERS_MAX = 4096, HF_BALANCER_WEIGHT_MAX = 65535 };

typedef struct hf_balancer_pool hf_balancer_pool; /* the plugin's own */

typedef struct hf_balancer_server {
    hf_slice name; /* "10.1.0.7:8080"; each once in a list.  Keyed balancers place a server by it, wherever it stands in
                      the list, on every node */
    uint32_t weight; /* 1..HF_BALANCER_WEIGHT_MAX: its share of the requests, beside the others' weights */
    uint32_t reserved;
} hf_balancer_server;

typedef struct hf_balancer_setup {
    uint32_t size;                     /* of this struct, set by the caller */
    uint32_t server_count;             /* 1..HF_BALANCER_SERVERS_MAX */
    const hf_balancer_server *servers; /* valid during the call, as are the names */
    uint64_t random_seed;
} hf_balancer_setup;

typedef struct hf_balancer_request {
    uint32_t size;             /* of this struct, set by the caller */
    int32_t has_key;           /* 0: it has none; keyed balancers then take any server by chance */
    uint64_t key;              /* hash of what is to meet the same server: all bits are spread evenly */
    uint64_t now_us;           /* monotonic */
    const uint64_t *usable;    /* bit per server, the first one lowest: it is well, has room, and has not been tried for
                                  this request; whole words, whose bits behind the last server mean nothing */
    const uint32_t *in_flight; /* by server: requests under way.  All loops count there meanwhile: read a number once,
                                  with hf_balancer_in_flight */
} hf_balancer_request;

typedef struct hf_balancer_result {
    uint32_t size;       /* of this struct, set by the caller */
    int32_t failed;      /* 1: no answer, or one that the upstream counts as a failure */
    uint64_t latency_us; /* from the pick to the head of the answer, or to the failure */
    uint64_t now_us;     /* monotonic */
} hf_balancer_result;

struct hf_balancer {
    HF_INSTANCE_FUNCTIONS

    /* Reads nothing of other pools, and may take milliseconds: HF_BALANCER_SERVERS_MAX servers and a table to fill.
     * HF_EINVAL: more servers, or weights, than it can do with; the message says which.  HF_ENOMEM.  [any] */
    int32_t (*pool_open)(void *self, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error);
    void (*pool_close)(hf_balancer_pool *pool);

    /* The place of the server that gets the request, always a usable one.  HF_ENOTFOUND: none is usable. */
    int32_t (*pick)(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server);

    /* A request that `server` was picked for has ended.  It may come to the pool of a later generation, if the server
     * is still there.  May be NULL. */
    void (*ended)(hf_balancer_pool *pool, uint32_t server, const hf_balancer_result *result);

    /* The server's weight changes, as it does many times while one starts slowly; what its neighbours have stays as it
     * is as far as possible.  May be NULL: the user opens another pool. */
    void (*weigh)(hf_balancer_pool *pool, uint32_t server, uint32_t weight);

    /* `pool` is to be used in place of `before`, of the same instance: it takes over what that has learned about
     * servers of the same name.  Both stay open.  May be NULL: nothing is learned. */
    void (*follow)(hf_balancer_pool *pool, const hf_balancer_pool *before);
};

/* 1: the request may get that server. */
static inline int32_t hf_balancer_is_usable(const hf_balancer_request *request, uint32_t server)
{
    return (int32_t)(request->usable[server / 64] >> server % 64 & 1);
}

static inline uint32_t hf_balancer_in_flight(const hf_balancer_request *request, uint32_t server)
{
    return __atomic_load_n(&request->in_flight[server], __ATOMIC_RELAXED);
}

/* 1: there is one that it may get. */
static inline int32_t hf_balancer_has_usable(const hf_balancer_request *request, uint32_t server_count)
{
    uint32_t words = server_count / 64, rest = server_count % 64;

    for (uint32_t i = 0; i < words; i++)
        if (request->usable[i])
            return 1;
    return rest && (request->usable[words] & ((UINT64_C(1) << rest) - 1)) != 0;
}

#ifdef __cplusplus
}
#endif
#endif
