/* metrics.h: what the gateway tells of itself: series at /metrics, rates of the last seconds, its health.  [main]
 * unless it says otherwise. */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "meter/meter.h"
#include "upstream/upstream.h"

#include <holdfast/host/metrics.h>

struct gateway;
struct gateway_metrics;

/* Without hf.metrics/1 there are rates and health, and no series.  HF_ENOMEM. */
int32_t gateway_metrics_create(struct gateway *gateway, struct gateway_metrics **ret_metrics, hf_error *error);

/* All series go.  Accepts NULL. */
void gateway_metrics_destroy(struct gateway_metrics *metrics);

/* Every 100 ms: publishes what was counted, a few times a second, and looks after meters that nobody uses. */
void gateway_metrics_tend(struct gateway_metrics *metrics, uint64_t now_us);

/* What is wrong with the gateway.  [any] */
void gateway_metrics_health(struct gateway_metrics *metrics, hf_health *ret_health);

/* Of about the last ten seconds. */
struct gateway_rates {
    double seconds; /* how long they were; 0: it has only begun, and all is 0 */
    double requests_per_s, failures_per_s, received_per_s, sent_per_s;
    uint64_t mean_us, p50_us, p99_us;
};

void gateway_metrics_rates(const struct gateway_metrics *metrics, const struct gateway_meter *meter,
                           const struct gateway_sums *now, struct gateway_rates *ret_rates);

/* Why a server gets requests, or does not. */
enum {
    GATEWAY_SERVER_UP,
    GATEWAY_SERVER_DRAINING,
    GATEWAY_SERVER_FAILING, /* as many requests have failed as max_fails allows */
    GATEWAY_SERVER_DOWN,    /* say the checks */
    GATEWAY_SERVER_EJECTED, /* it fails more often than the others */
    GATEWAY_SERVER_BREAKER, /* its breaker is open, or only lets a few through */
    GATEWAY_SERVER_STATES
};

struct gateway_server_status {
    int32_t state;     /* GATEWAY_SERVER_... */
    uint64_t since_us; /* of the state, since 1970 */
    uint64_t requests, failures;
    uint32_t in_flight, connections, idle;
    struct gateway_rates rates; /* without quantiles and bytes */
};

/* Of the server at a place of the upstream's present set. */
void gateway_metrics_server(struct gateway_metrics *metrics, const struct gateway_server_set *set, uint32_t place,
                            struct gateway_server_status *ret_status);

/* "up", "draining", ... */
const char *gateway_server_state_name(int32_t state);

/* GATEWAY_BREAKER_..., as it is now; -1: the upstream has none. */
int32_t gateway_metrics_breaker(const struct gateway_server_set *set, uint64_t now_us);

#endif
