/* plan.h: a configuration made ready: what workers read for every request.  It never changes; a reload makes another,
 * and what began with one ends with it. */
#ifndef GATEWAY_PLAN_H
#define GATEWAY_PLAN_H

#include "cache/options.h"
#include "filter/gzip.h"
#include "forward/forward.h"
#include "log/access_log.h"
#include "meter/meter.h"
#include "plan/admission.h"
#include "plan/network.h"
#include "route/match.h"
#include "stream/server_names.h"
#include "tls/server.h"
#include "upstream/build.h"

#include <holdfast/lib/arena.h>

enum { GATEWAY_ROUTE_FORWARDS, GATEWAY_ROUTE_REDIRECTS, GATEWAY_ROUTE_ANSWERS };
enum { GATEWAY_NO_UPSTREAM = UINT32_MAX };

/* What requests without a route are counted by; no route can have this name. */
#define GATEWAY_NO_ROUTE "-"

/* Bits: what another server is asked after. */
enum {
    GATEWAY_RETRY_ERROR = 1,
    GATEWAY_RETRY_TIMEOUT = 2,
    GATEWAY_RETRY_INVALID_HEADER = 4,
    GATEWAY_RETRY_NON_IDEMPOTENT = 8,
    GATEWAY_RETRY_429 = 16,
    GATEWAY_RETRY_500 = 32,
    GATEWAY_RETRY_502 = 64,
    GATEWAY_RETRY_503 = 128,
    GATEWAY_RETRY_504 = 256
};

struct gateway_route {
    hf_slice name;
    int32_t kind; /* GATEWAY_ROUTE_... */
    uint32_t upstream;
    hf_slice redirect;
    uint32_t status;
    hf_slice body, type;
    hf_slice host; /* NULL data: the client's */
    hf_slice path; /* of the rule */
    int32_t path_match;
    hf_slice replace_prefix; /* NULL data: the path stays */
    const struct gateway_edit *request_edits, *response_edits;
    uint32_t request_edit_count, response_edit_count;
    int32_t upgrades;
    uint32_t tries;
    uint32_t retry_on;
    uint64_t timeout_us, try_timeout_us; /* the second 0: as long as the first */
    struct gateway_meter *meter;         /* held */
    int32_t has_policy;
    struct gateway_admission *admission; /* held; NULL: lets everything in */
    struct gateway_bucket_rules limit;   /* rate 0: none */
    struct gateway_key limit_key;
    uint32_t limit_status;
    uint32_t requests_maximum; /* 0: any number */
    uint64_t body_maximum;     /* 0: the listener's */
    struct gateway_gzip gzip;
    const struct gateway_plan_cache *cache; /* NULL: none */
};

struct gateway_listener {
    hf_slice name;
    const char *address;
    int32_t protocol, proxy_protocol;
    struct gateway_tls_server *tls; /* held by the plan; NULL: none */
    int32_t http1, http2;
    uint32_t streams_maximum; /* of a connection that speaks it */
    /* Of those that pass on: */
    uint32_t upstream;                       /* or GATEWAY_NO_UPSTREAM */
    const struct gateway_server_name *names; /* by which connections have another */
    uint32_t name_count;
    uint32_t tries, flows_maximum;
    uint64_t flow_timeout_us;
    const struct gateway_network *trusted;
    uint32_t trusted_count;
    uint32_t connections_maximum;
    uint64_t head_maximum, body_maximum;
    uint64_t head_timeout_us, body_timeout_us, send_timeout_us, idle_timeout_us;
    /* The routes that its requests may take, in order. */
    struct gateway_rule *rules;
    uint32_t *routes; /* by rule */
    uint32_t rule_count;
    struct gateway_meter *meter; /* held */
    struct gateway_log *log;     /* held; NULL: its requests are not logged */
};

/* What is answered when no server can be asked. */
struct gateway_degraded {
    uint32_t upstream; /* or GATEWAY_NO_UPSTREAM */
    uint32_t status;
    hf_slice body, type; /* empty: a problem document */
};

struct gateway_plan_upstream {
    struct gateway_upstream *upstream;
    struct gateway_server_set *set;
    struct gateway_degraded degraded;
    struct gateway_meter *meter; /* held */
};

struct gateway_plan {
    atomic_uint references;
    hf_arena arena; /* of all that follows */
    struct gateway_listener *listeners;
    uint32_t listener_count;
    struct gateway_route *routes;
    uint32_t route_count;
    struct gateway_plan_upstream *upstreams;
    uint32_t upstream_count;
    struct gateway_plan_cache *caches;
    uint32_t cache_count;
    struct gateway_meter *unrouted; /* requests that take no route; held */
    struct gateway_trace_options trace;
};

/* Makes a plan.  Upstreams that `before` (may be NULL) has are kept.  `*next_upstream_id` numbers new ones.  HF_EINVAL:
 * what refers to something does not find it, with what it is; or as gateway_server_set_build.  [main] */
int32_t gateway_plan_create(const struct gateway_build *build, const struct gateway_options *options,
                            const struct gateway_plan *before, uint32_t *next_upstream_id,
                            struct gateway_plan **ret_plan, hf_error *error);

void gateway_plan_hold(struct gateway_plan *plan);
void gateway_plan_release(struct gateway_plan *plan); /* accepts NULL */

/* Reads "Name: value" or "Name:"; the slices point into `text`.  HF_EINVAL: it is neither, or a field that a route may
 * not edit. */
int32_t gateway_edit_parse(const char *text, struct gateway_edit *ret_edit, hf_error *error);

/* The bit of a word of retry_on; 0: there is no such word. */
uint32_t gateway_retry_bit(const char *word);

#endif
