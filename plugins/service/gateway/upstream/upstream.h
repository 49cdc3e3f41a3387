/* upstream.h: servers that do the same, shared by all workers and by later configurations: what is known of each
 * server stays when the configuration changes.
 *
 * An upstream has a set of servers at a time, which never changes; a change makes another set, which workers take over
 * one after the other.  What requests show of a server is counted in the server itself, under the upstream's lock,
 * which is held for some ten nanoseconds, and not at all for requests to servers that are simply well. */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include "guard/breaker.h"
#include "guard/outlier.h"
#include "guard/server_health.h"
#include "guard/token_bucket.h"
#include "options/options.h"
#include "route/key.h"
#include "tls/client.h"
#include "upstream/list.h"

#include <holdfast/kind/balancer.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum { GATEWAY_ADDRESSES_MAX = 8 /* of one server */ };

/* Where a server is, as its name was last resolved. */
struct gateway_addresses {
    uint32_t count;
    socklen_t sizes[GATEWAY_ADDRESSES_MAX];
    struct sockaddr_storage items[GATEWAY_ADDRESSES_MAX];
};

struct gateway_upstream;
struct gateway_server_set;

/* Sets that nobody uses any more.  Whoever lets one go last puts it here, from any thread; it is freed on the main
 * loop, where balancers want to be. */
struct gateway_bin {
    _Atomic(struct gateway_server_set *) sets;
};

/* [main] */
void gateway_bin_empty(struct gateway_bin *bin);

struct gateway_server {
    atomic_uint references;
    char *name;    /* of the configuration's group */
    char *address; /* as configured; what keyed balancers place it by */
    struct gateway_upstream *upstream;
    /* Under the upstream's lock: */
    struct gateway_health health;
    struct gateway_outlier outlier;
    struct gateway_breaker breaker;
    char why[64]; /* a check failed last; "": none since it was well */
    /* [main]: */
    struct gateway_check *check;  /* the checker's; NULL: it is not asked */
    int32_t told_down, told_open; /* by signals */
    /* Any thread: */
    atomic_int is_troubled; /* its health says more than that it is well: requests must look at it */
    atomic_uint in_flight;
    _Atomic uint64_t requests, failures;
    _Atomic uint64_t checks, checks_failed;
    _Atomic uint64_t timed, timed_us; /* requests that took their time, and how long together */
    atomic_uint connections;
    void *user; /* what somebody publishes of it; [main] */
};

/* What a set says of a server. */
struct gateway_place {
    struct gateway_server *server;
    struct gateway_addresses addresses;
    struct gateway_health_rules health;
    uint32_t weight;
    uint32_t requests_maximum; /* 0: any number */
    int32_t is_backup;
    int32_t is_draining;
    int32_t is_pending; /* its name is asked for the first time: it may be there in a moment */
};

/* A balancer's pools of one worker: servers that get requests first, and those that get them when no other can. */
struct gateway_pools {
    hf_balancer_pool *regular, *backup; /* NULL: no such servers */
};

struct gateway_server_set {
    atomic_uint references;
    struct gateway_bin *bin;
    struct gateway_server_set *next_in_bin;
    struct gateway_upstream *upstream;
    const hf_balancer *balancer;
    void *balancer_self; /* one instance for each set */
    uint32_t count, worker_count;
    struct gateway_pools *pools; /* by worker; each of its worker's */
    /* By place.  Regular servers come first: the places of the backups' pool begin at backup_at. */
    struct gateway_place *places;
    uint32_t backup_at;
    int32_t has_maximum;            /* some server takes a bounded number of requests at a time */
    atomic_uint *in_flight;         /* as balancers read it */
    atomic_int is_old;              /* the upstream has a newer one */
    struct gateway_tls_client *tls; /* NULL: none */
    uint32_t pending_count;
    uint32_t weight_unit; /* balancers see weights multiplied by it, so that a small one can start slowly */

    /* What the upstream's options say. */
    struct gateway_key key;
    struct gateway_breaker_rules breaker, server_breaker;
    struct gateway_outlier_rules outlier;
    struct gateway_bucket_rules retries;
    struct gateway_check_options check; /* its texts are the set's own */
    int32_t has_breaker, has_server_breaker, has_outlier, has_check;
    double retry_ratio;
    uint64_t outlier_interval_us;
    uint64_t connect_timeout_us, send_timeout_us, receive_timeout_us, idle_timeout_us, queue_timeout_us,
        hold_timeout_us;
    uint32_t idle_maximum, queue_maximum;
    int32_t send_proxy;       /* 0, or the version */
    int32_t http2;            /* is what they speak, */
    uint32_t streams_maximum; /* and requests at a time on a connection */
    char *texts[4];
    struct gateway_server_list servers; /* that it was made from; [main] */
};

struct gateway_upstream {
    atomic_uint references;
    char *name;
    pthread_mutex_t lock;
    struct gateway_breaker breaker;
    struct gateway_bucket retries;
    atomic_int is_short; /* retries is not full */
    uint64_t judged_us;  /* when outliers were last looked for */
    /* Counts what may change which servers can be picked: workers look anew when it has. */
    _Atomic uint64_t changes;
    struct gateway_server_set *set; /* the newest; [main] */
    /* [main]: what was told of it, and whether some server must be looked at every moment. */
    uint64_t told_changes;
    int32_t told_open, is_watched;
    uint32_t id; /* by which workers know it: small, and its own as long as it lives */
};

/* How a request to a server went. */
enum {
    GATEWAY_SERVED,
    GATEWAY_ERRED,    /* served, but with an answer that says it has failed inside: breakers and outliers count it */
    GATEWAY_FAILED,   /* error, time-out, an answer that is none, or one that counts as a failure */
    GATEWAY_ABANDONED /* by the client or us: says nothing of the server */
};

struct gateway_upstream *gateway_upstream_create(const char *name, uint32_t id, hf_error *error);
void gateway_upstream_hold(struct gateway_upstream *upstream);
void gateway_upstream_release(struct gateway_upstream *upstream); /* accepts NULL */

void gateway_server_hold(struct gateway_server *server);
void gateway_server_release(struct gateway_server *server); /* accepts NULL */

void gateway_server_set_hold(struct gateway_server_set *set);
void gateway_server_set_release(struct gateway_server_set *set); /* accepts NULL */

/* Which of a set's servers a worker may pick, as it last looked. */
struct gateway_usable {
    uint64_t changes;  /* of the upstream, then */
    uint64_t until_us; /* when time alone may have changed it */
    /* By place; the memory is the worker's: who can be picked, and who can not only because requests to it failed. */
    uint64_t *bits, *away;
    /* The worker's pools of the set, and by place the weights that they know of, times weight_unit; NULL: they need not
     * be told. */
    const struct gateway_pools *pools;
    uint32_t *weights, *wanted;
};

/* For a worker, with its pools.  HF_ENOMEM: it is empty. */
int32_t gateway_usable_init(struct gateway_usable *usable, const struct gateway_server_set *set, uint32_t worker);
void gateway_usable_done(struct gateway_usable *usable);

/* Looks again where something has changed, and tells the pools the weights of servers that start slowly. */
void gateway_server_set_look(struct gateway_server_set *set, struct gateway_usable *usable, uint64_t now_us);

/* A request goes to the server at `place`.  0: its breaker refuses it. */
int32_t gateway_server_begin(struct gateway_server_set *set, uint32_t place, uint64_t now_us,
                             struct gateway_breaker_call *ret_call);

/* The request is to find out whether a server that is away is back. */
void gateway_server_probed(struct gateway_server_set *set, uint32_t place, uint64_t now_us);

/* And has ended, with the set that it began with. */
void gateway_server_end(struct gateway_server_set *set, uint32_t place, const struct gateway_breaker_call *call,
                        int32_t outcome, uint64_t now_us);

/* The two halves of that, for what shows how it went long before it ends, such as a connection that is there.  `set` is
 * NULL for what began with a set that it has let go of since then. */
void gateway_server_report(struct gateway_server_set *set, uint32_t place, const struct gateway_breaker_call *call,
                           int32_t outcome, uint64_t now_us);
void gateway_server_leave(struct gateway_server *server, struct gateway_server_set *set, uint32_t place);

/* The set is the newest of its upstream from now on.  [main] */
void gateway_server_set_publish(struct gateway_server_set *set);
/* A check of the server has ended; `why` says why it failed.  [main] */
void gateway_server_checked(struct gateway_server_set *set, uint32_t place, int32_t is_well, const char *why,
                            uint64_t now_us);

/* It is checked no more, and so not down.  [main] */
void gateway_server_unchecked(struct gateway_server *server);

/* It is somewhere else now: what requests to it have shown says nothing any more.  [main] */
void gateway_server_moved(struct gateway_server *server);

/* What balancers read of requests under way is put right, where two that ended at once have left it one off, or some
 * have ended that began with another set.  [main] */
void gateway_server_set_recount(struct gateway_server_set *set);

/* Whether they have one in common. */
int32_t gateway_addresses_meet(const struct gateway_addresses *a, const struct gateway_addresses *b);

/* Which of them the other's address is; -1: none. */
int32_t gateway_addresses_find(const struct gateway_addresses *addresses, const struct gateway_addresses *other,
                               uint32_t address);

/* Looks for servers that stand out.  [main] */
void gateway_server_set_judge(struct gateway_server_set *set, uint64_t now_us);

/* The breaker of the whole upstream; without one every call is let through. */
int32_t gateway_upstream_begin(struct gateway_server_set *set, uint64_t now_us, struct gateway_breaker_call *ret_call);
void gateway_upstream_end(struct gateway_server_set *set, const struct gateway_breaker_call *call, int32_t outcome,
                          uint64_t now_us);

/* Whether a retry may be made now; every request pays for a part of one. */
void gateway_upstream_pay(struct gateway_server_set *set);
int32_t gateway_upstream_may_retry(struct gateway_server_set *set, uint64_t now_us);

#endif
