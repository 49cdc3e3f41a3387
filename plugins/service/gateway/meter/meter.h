/* meter.h: what is counted of listeners, routes and upstreams.
 *
 * Each worker counts in cells of its own, with plain stores: a request costs a few nanoseconds and no memory that
 * others write to.  The main loop adds the cells up whenever somebody wants to know.  A meter belongs to a name, and
 * stays over reloads as long as some configuration in use has it; its numbers never go back. */
#ifndef GATEWAY_METER_H
#define GATEWAY_METER_H

#include <holdfast/holdfast.h>

#include <stdatomic.h>

enum { GATEWAY_METER_LISTENER, GATEWAY_METER_ROUTE, GATEWAY_METER_UPSTREAM, GATEWAY_METER_KINDS };

enum {
    GATEWAY_LATENCY_BOUNDS = 15,
    GATEWAY_SKETCH_SIZE = 108, /* four for each power of two, up to 134 s */
    GATEWAY_STATUS_CLASSES = 6 /* by the first digit of the status; 0: no answer was begun */
};

/* The bounds of the histograms, in microseconds. */
extern const uint64_t gateway_latency_bounds[GATEWAY_LATENCY_BOUNDS];

/* What one meter knows; a cell has the same, of one worker. */
#define GATEWAY_METER_COUNTS(number, small)                                                                            \
    number requests[GATEWAY_STATUS_CLASSES];                                                                           \
    number failures;       /* upstreams: requests that no server could answer; routes: 5xx, and broken off */          \
    number tries, retries; /* upstreams: servers that were asked, and of those, not the first of a request */          \
    number degraded;       /* upstreams: answers in place of theirs */                                                 \
    number received, sent; /* bytes */                                                                                 \
    number accepted, refused, closed; /* listeners: connections, or flows of datagrams */                              \
    number datagrams_received, datagrams_sent, datagrams_lost;                                                         \
    number queued, dequeued; /* upstreams */                                                                           \
    number latency_us;       /* the sum of what is counted in the next two */                                          \
    number latency[GATEWAY_LATENCY_BOUNDS + 1];                                                                        \
    small sketch[GATEWAY_SKETCH_SIZE];

struct gateway_cell {
    _Alignas(64) atomic_uint unused;
    GATEWAY_METER_COUNTS(_Atomic uint64_t, atomic_uint)
};

struct gateway_sums {
    GATEWAY_METER_COUNTS(uint64_t, uint32_t)
};

struct gateway_meter {
    struct gateway_meter *next;
    atomic_uint references; /* of plans and ports */
    int32_t kind;           /* GATEWAY_METER_... */
    uint32_t worker_count;
    char *name;
    struct gateway_cell *cells; /* by worker */
    void *user;                 /* what somebody publishes of it, until that is gone; [main] */
};

/* The meters of a gateway.  [main] */
struct gateway_meters {
    uint32_t worker_count;
    struct gateway_meter *first;
};

/* The meter of that kind and name, held.  NULL: no memory.  [main] */
struct gateway_meter *gateway_meters_take(struct gateway_meters *meters, int32_t kind, hf_slice name);
void gateway_meter_hold(struct gateway_meter *meter);    /* [any] */
void gateway_meter_release(struct gateway_meter *meter); /* accepts NULL; [any] */

/* Nobody counts there any more. */
int32_t gateway_meter_is_unused(const struct gateway_meter *meter);

/* Frees those that nobody uses and of which nothing is published. */
void gateway_meters_sweep(struct gateway_meters *meters);

/* Whatever is still held. */
void gateway_meters_destroy(struct gateway_meters *meters);

void gateway_meter_sum(const struct gateway_meter *meter, struct gateway_sums *ret_sums); /* [any] */

static inline uint64_t gateway_sums_requests(const struct gateway_sums *sums)
{
    uint64_t all = 0;

    for (int i = 0; i < GATEWAY_STATUS_CLASSES; i++)
        all += sums->requests[i];
    return all;
}

/* The microseconds below which `share` (0..1) of what was counted between two sums lies, and at most a quarter more; 0:
 * nothing was. */
uint64_t gateway_sums_quantile(const struct gateway_sums *after, const struct gateway_sums *before, double share);

/* ---- Counting [the worker's loop] -------------------------------------------------------------------------------- */

/* Only one thread writes. */
static inline void gateway_count(_Atomic uint64_t *number, uint64_t more)
{
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + more, memory_order_relaxed);
}

void gateway_cell_latency(struct gateway_cell *cell, uint64_t us);

#endif
