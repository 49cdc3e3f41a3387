/* server_health.h: whether a server gets requests: what requests to it have shown (max_fails, fail_timeout), what
 * active checks say (rise, fall), and what the operator wants (drain); and how much it gets after it comes back (slow
 * start).
 *
 * The state is the caller's, on one thread or under the caller's lock.  Times are monotonic microseconds and never go
 * back.  Pure. */
#ifndef GATEWAY_SERVER_HEALTH_H
#define GATEWAY_SERVER_HEALTH_H

#include <holdfast/holdfast.h>

struct gateway_health_rules {
    uint32_t fails_maximum; /* failed requests within fail_timeout_us after which it gets none; 0: any number */
    /* The time in which they are counted, and how long it then gets none: after that one request in this time, until
     * one succeeds. */
    uint64_t fail_timeout_us;
    uint64_t slow_start_us; /* in which its share grows to the whole after it comes back; 0: at once */
    uint32_t rise, fall;    /* active checks in a row that must succeed, or fail, to change what is thought; >= 1 */
};

struct gateway_health {
    uint32_t fails;
    uint64_t failed_us;  /* the last failure */
    uint64_t counted_us; /* begin of the present fail_timeout */
    uint64_t back_us;    /* when it came back; 0: it was never away */
    int32_t is_down;     /* say the checks */
    uint32_t streak;     /* checks in a row that said otherwise */
    int32_t is_draining;
};

/* It is well, and known to be; with `is_unknown`, it gets nothing until a check succeeds. */
void gateway_health_init(struct gateway_health *health, int32_t is_unknown);

/* Whether it may be picked now. */
int32_t gateway_health_is_usable(const struct gateway_health *health, const struct gateway_health_rules *rules,
                                 uint64_t now_us);

/* It was picked. */
void gateway_health_picked(struct gateway_health *health, const struct gateway_health_rules *rules, uint64_t now_us);

/* It was picked though it is away: the answer to this request counts, and not before fail_timeout is over again is it
 * picked as usual. */
void gateway_health_probed(struct gateway_health *health, uint64_t now_us);

/* How a request went.  Returns 1 when the server is away, or back, by this. */
int32_t gateway_health_request(struct gateway_health *health, const struct gateway_health_rules *rules,
                               int32_t succeeded, uint64_t now_us);

/* How an active check went.  The same result. */
int32_t gateway_health_check(struct gateway_health *health, const struct gateway_health_rules *rules, int32_t succeeded,
                             uint64_t now_us);

/* What is left of a weight while the server starts slowly: at least 1, at most `weight`, which is at least 1. */
uint32_t gateway_health_weight(const struct gateway_health *health, const struct gateway_health_rules *rules,
                               uint32_t weight, uint64_t now_us);

#endif
