/* options.h: the configuration of the gateway, as the host reads it; see options.c for what each option means. */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include "cache/options.h"
#include "filter/options.h"
#include "options/operation.h"
#include "options/stream.h"
#include "tls/options.h"

#include <holdfast/holdfast.h>

enum { GATEWAY_PROTOCOL_HTTP /* HTTP/1.1 */, GATEWAY_PROTOCOL_TCP, GATEWAY_PROTOCOL_UDP };
enum { GATEWAY_SPEAKS_HTTP1, GATEWAY_SPEAKS_HTTP2 };
enum { GATEWAY_CHECK_NONE, GATEWAY_CHECK_TCP, GATEWAY_CHECK_HTTP, GATEWAY_CHECK_REDIS_MASTER, GATEWAY_CHECK_TLS };

struct gateway_listener_options {
    const char *name;
    const char *address;
    int32_t protocol;       /* GATEWAY_PROTOCOL_... */
    const char *upstream;   /* of tcp and udp */
    hf_groups server_names; /* of tcp: gateway_name_options */
    int64_t tries;
    uint64_t flow_timeout_us;
    int64_t flows_maximum;
    int32_t proxy_protocol;
    int32_t http1;
    int32_t http2;
    int64_t http2_streams_maximum;
    hf_strings trusted_proxies;
    int64_t connections_maximum;
    uint64_t head_maximum;
    uint64_t body_maximum;
    uint64_t head_timeout_us;
    uint64_t body_timeout_us;
    uint64_t send_timeout_us;
    uint64_t idle_timeout_us;
    struct gateway_tls_server_options tls;
    struct gateway_listener_log_options access_log;
};

struct gateway_condition_options {
    const char *name; /* of the group: for people */
    int32_t of;       /* GATEWAY_OF_... */
    const char *key;
    int32_t test; /* GATEWAY_IS_..., GATEWAY_BEGINS */
    const char *value;
};

/* What each key may do at a route; see limit.c. */
struct gateway_limit_options {
    double rate; /* 0: there is no limit */
    int64_t burst;
    const char *key;
    int64_t status;
};

extern const hf_option_table gateway_limit_table;

struct gateway_route_options {
    const char *name;
    hf_strings listeners;
    hf_strings hosts;
    hf_strings methods;
    const char *path;
    int32_t path_match;   /* GATEWAY_PATH_... */
    hf_groups conditions; /* gateway_condition_options */

    const char *upstream; /* "": answers itself */
    const char *redirect;
    int64_t status;
    const char *body;
    const char *type;

    const char *host;           /* in place of the client's; "": that */
    const char *replace_prefix; /* in place of `path` */
    hf_strings request_fields;  /* "Name: value"; "Name:" takes it out */
    hf_strings response_fields;
    int32_t upgrades;
    uint64_t timeout_us;
    int64_t tries;
    hf_strings retry_on;
    uint64_t try_timeout_us;
    int32_t policy;
    struct gateway_limit_options limit;
    int64_t requests_maximum;
    uint64_t body_maximum; /* 0: the listener's */
    struct gateway_gzip_options gzip;
    const char *cache; /* "": none */
};

struct gateway_server_options {
    const char *name;
    const char *address;
    int64_t weight;
    int64_t max_fails;
    uint64_t fail_timeout_us;
    int32_t backup;
    int32_t drain;
    int64_t requests_maximum;
    int32_t resolve_all;
};

struct gateway_check_options {
    int32_t type; /* GATEWAY_CHECK_... */
    uint64_t interval_us;
    uint64_t timeout_us;
    int64_t rise, fall;
    const char *path;
    const char *host;
    int64_t status_least, status_most;
    const char *body;
    int32_t initially_down;
};

struct gateway_breaker_options {
    int32_t enabled;
    uint64_t window_us;
    int64_t calls_minimum;
    int64_t failed_percent;
    uint64_t slow_us;
    int64_t slow_percent;
    int64_t in_flight_maximum;
    uint64_t open_us, open_maximum_us;
    int64_t tries;
};

struct gateway_outlier_options {
    int32_t enabled;
    uint64_t interval_us;
    int64_t requests_minimum;
    int64_t margin_percent;
    int64_t ejected_percent;
    uint64_t eject_us, eject_maximum_us;
};

/* What is answered when no server can be asked. */
struct gateway_degraded_options {
    const char *upstream; /* "": none */
    int64_t status;
    const char *body;
    const char *type;
};

struct gateway_upstream_options {
    const char *name;
    int32_t protocol; /* GATEWAY_SPEAKS_... */
    int64_t http2_streams_maximum;
    hf_capability_choice balancer;
    const char *key;    /* "client", "field NAME", ... */
    hf_groups servers;  /* gateway_server_options */
    int32_t send_proxy; /* 0, or a version of the PROXY protocol */
    uint64_t connect_timeout_us;
    uint64_t send_timeout_us;
    uint64_t receive_timeout_us;
    int64_t idle_maximum;
    uint64_t idle_timeout_us;
    uint64_t slow_start_us;
    double retry_ratio;
    int64_t retry_burst;
    int64_t queue_maximum;
    uint64_t queue_timeout_us;
    uint64_t hold_timeout_us;
    uint64_t resolve_minimum_us, resolve_maximum_us;
    struct gateway_check_options check;
    struct gateway_breaker_options breaker;
    struct gateway_breaker_options server_breaker;
    struct gateway_outlier_options outlier;
    struct gateway_degraded_options degraded;
    struct gateway_tls_client_options tls;
};

struct gateway_options {
    hf_groups listeners; /* gateway_listener_options */
    hf_groups routes;    /* gateway_route_options, in the order in which they are tried */
    hf_groups upstreams; /* gateway_upstream_options */
    hf_strings resolvers;
    hf_groups caches; /* gateway_cache_options */
    struct gateway_access_log_options access_log;
    struct gateway_trace_options trace;
};

enum { GATEWAY_OPTION_COUNT = 7 };

extern const hf_option gateway_option_rows[GATEWAY_OPTION_COUNT];

/* The options of a server, gateway_server_options: lists of servers are copied, compared and changed by its rows. */
extern const hf_option_table gateway_server_table;

#endif
