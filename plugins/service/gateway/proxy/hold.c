/* Requests that are held while no server can be reached: all of them restart, or the names of new ones have not been
 * answered yet.  They wait in the queue of the view, beside those that wait for room. */
#include "proxy/private.h"

#include <string.h>

enum {
    PENDING_US = 5000000, /* for a name that is asked for the first time */
    AGAIN_US = 100000,    /* between two tries of a request; doubled each time, */
    AGAIN_DOUBLED = 3,    /* but not more often than so */
    PROBE_US = 250000,    /* between two requests, of a worker, that try a server which is away */
    HELD_MAX = 1024       /* where queue_maximum says nothing */
};

static uint64_t hold_for(const struct gateway_server_set *set)
{
    return set->pending_count && set->hold_timeout_us < PENDING_US ? PENDING_US : set->hold_timeout_us;
}

int32_t gateway_hold_may(const struct gateway_exchange *exchange)
{
    uint64_t now_us = gateway_worker_now(exchange->worker);

    if (!hold_for(exchange->set) || exchange->was_answered || exchange->answered || !exchange->body_kept ||
        exchange->front->is_broken)
        return 0;
    return !exchange->held_until_us || now_us < exchange->held_until_us;
}

/* The route's time-out goes on meanwhile. */
static void wait_until(struct gateway_exchange *exchange, uint64_t until_us)
{
    if (exchange->due_us && exchange->due_us < until_us)
        until_us = exchange->due_us;
    gateway_worker_deadline(exchange->worker, &exchange->deadline, until_us);
}

int32_t gateway_hold(struct gateway_exchange *exchange)
{
    const struct gateway_server_set *set = exchange->set;
    struct gateway_view *view = exchange->view;
    uint64_t now_us = gateway_worker_now(exchange->worker);

    if (view->queued >= (set->queue_maximum ? set->queue_maximum : HELD_MAX))
        return 0;
    if (!exchange->held_until_us)
        exchange->held_until_us = now_us + hold_for(set);
    exchange->is_held = 1;
    exchange->again_us = 0; /* whoever was not tried goes as soon as it can */
    if (exchange->holds || exchange->tries)
        exchange->again_us =
            now_us + ((uint64_t)AGAIN_US << (exchange->holds < AGAIN_DOUBLED ? exchange->holds : AGAIN_DOUBLED));
    exchange->holds++;
    exchange->tries = 0; /* all servers are new to it then */
    memset(exchange->tried, 0, (set->count / 64 + 1) * sizeof *exchange->tried);
    gateway_view_enqueue(view, exchange);
    wait_until(exchange, exchange->held_until_us);
    return 1;
}

int32_t gateway_hold_is_due(const struct gateway_exchange *exchange)
{
    return !exchange->is_held || gateway_worker_now(exchange->worker) >= exchange->again_us;
}

int32_t gateway_hold_probes(struct gateway_exchange *exchange, uint64_t *bits)
{
    struct gateway_view *view = exchange->view;
    uint64_t now_us = gateway_worker_now(exchange->worker);

    if (!exchange->is_held || now_us - view->probed_us < PROBE_US)
        return 0;
    memcpy(bits, view->usable.away, (view->set->count + 63) / 64 * sizeof *bits);
    for (uint32_t i = 0; i < (view->set->count + 63) / 64; i++)
        if (bits[i]) {
            view->probed_us = now_us;
            return 1;
        }
    return 0;
}

void gateway_hold_probed(struct gateway_exchange *exchange, uint32_t place)
{
    gateway_server_probed(exchange->set, place, gateway_worker_now(exchange->worker));
}
