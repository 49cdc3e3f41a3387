/* breaker.h: a circuit breaker (M. T. Nygard, Release It!, 2007): calls to something that fails or is slow are refused
 * at once for a while, instead of waiting in vain and making it worse; then a few are let through to try.
 *
 * The state is the caller's, on one thread or under the caller's lock.  Times are monotonic microseconds and never go
 * back.  Pure. */
#ifndef GATEWAY_BREAKER_H
#define GATEWAY_BREAKER_H

#include <holdfast/holdfast.h>

enum { GATEWAY_BREAKER_SLICES = 10 /* of the window; the oldest goes at a time */ };
enum { GATEWAY_BREAKER_CLOSED, GATEWAY_BREAKER_OPEN, GATEWAY_BREAKER_HALF_OPEN };
enum {
    GATEWAY_CALL_SUCCEEDED,
    GATEWAY_CALL_FAILED,
    GATEWAY_CALL_ABANDONED /* by us or the client: says nothing about the other side, unless it was slow by then */
};

struct gateway_breaker_rules {
    uint64_t window_us;         /* over which calls are counted; at least GATEWAY_BREAKER_SLICES */
    uint32_t calls_minimum;     /* fewer in the window never open it */
    uint32_t failed_percent;    /* of the calls in the window, at which it opens; 0: never */
    uint64_t slow_us;           /* a call that takes so long is slow */
    uint32_t slow_percent;      /* likewise, of slow calls; 0: never */
    uint32_t in_flight_maximum; /* calls at the same time; more are refused; 0: any number */
    uint64_t open_us;           /* how long it stays open first; it doubles when trying fails, */
    uint64_t open_maximum_us;   /* up to this */
    uint32_t tries; /* calls that must all succeed, one after the other or together, until it closes; >= 1 */
};

struct gateway_breaker_slice {
    uint64_t number; /* of the time; others than the window's are stale */
    uint32_t calls, failed, slow;
};

struct gateway_breaker {
    int32_t state;
    uint32_t in_flight;
    uint32_t tried, succeeded; /* while half open: begun, and well ended */
    uint64_t epoch;            /* counts changes of the state */
    uint64_t open_until_us;
    uint64_t open_for_us; /* the last time */
    struct gateway_breaker_slice slices[GATEWAY_BREAKER_SLICES];
};

/* A call that was let through. */
struct gateway_breaker_call {
    uint64_t began_us;
    uint64_t epoch;
};

/* It is closed, and knows of no calls.  All bytes zero is the same. */
void gateway_breaker_init(struct gateway_breaker *breaker);

/* Whether a call may be made now: 1: yes, and it is ended by gateway_breaker_end, once; 0: no, answer without it. */
int32_t gateway_breaker_begin(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules,
                              uint64_t now_us, struct gateway_breaker_call *ret_call);

/* How it went, GATEWAY_CALL_....  Returns 1 when this changed the breaker's state. */
int32_t gateway_breaker_end(struct gateway_breaker *breaker, const struct gateway_breaker_rules *rules,
                            const struct gateway_breaker_call *call, int32_t outcome, uint64_t now_us);

/* How long it still refuses calls, in microseconds: what Retry-After says; 0: it does not. */
uint64_t gateway_breaker_wait(const struct gateway_breaker *breaker, uint64_t now_us);

#endif
