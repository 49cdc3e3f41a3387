/* Fetching for nobody: the front of an exchange whose answer only the cache wants. */
#include "proxy/caching_private.h"

#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum { REFRESHES_MAX = 256 /* of a worker */, AGAIN_US = 1000000 };

struct gateway_refresh {
    struct gateway_front front;              /* first */
    struct gateway_refresh *next, *previous; /* of the worker */
    struct gateway_worker *worker;
    struct gateway_exchange *exchange; /* NULL: over */
    struct gateway_peer peer;
};

static struct gateway_refresh *refresh_of(struct gateway_front *front)
{
    return (struct gateway_refresh *)front;
}

/* ---- The front --------------------------------------------------------------------------------------------------- */

static int32_t take_head(struct gateway_front *front, const hf_http1_head *head, hf_slice bytes, hf_error *error)
{
    (void)front;
    (void)head;
    (void)bytes;
    (void)error;
    return HF_OK;
}

static void take_body(struct gateway_front *front, hf_slice piece)
{
    (void)front;
    (void)piece;
}

static void nothing(struct gateway_front *front)
{
    (void)front;
}

/* It is freed with its exchange, when the callback ends. */
static void over(struct gateway_front *front)
{
    struct gateway_refresh *refresh = refresh_of(front);
    struct gateway_worker *worker = refresh->worker;
    struct gateway_exchange *exchange = refresh->exchange;

    if (!exchange)
        return;
    refresh->exchange = NULL;
    if (refresh->previous)
        refresh->previous->next = refresh->next;
    else
        worker->refreshes = refresh->next;
    if (refresh->next)
        refresh->next->previous = refresh->previous;
    worker->refresh_count--;
    gateway_exchange_over(exchange);
}

static void end(struct gateway_front *front, hf_slice trailers)
{
    (void)trailers;
    over(front);
}

static const struct gateway_front_calls calls = {.head = take_head,
                                                 .body = take_body,
                                                 .flush = nothing,
                                                 .end = end,
                                                 .pause = nothing,
                                                 .resume = nothing,
                                                 .tunnel = over,
                                                 .touch = nothing,
                                                 .destroy = over};

void gateway_refresh_free(struct gateway_refresh *refresh)
{
    free(refresh);
}

void gateway_refreshes_close(struct gateway_worker *worker)
{
    while (worker->refreshes)
        over(&worker->refreshes->front);
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

/* With the plan that the request began with. */
static void take_generation(struct gateway_exchange *exchange, struct gateway_generation *generation)
{
    gateway_worker_leave(exchange->worker, exchange->generation);
    exchange->generation = generation;
    generation->uses++;
}

/* What was said by a policy lies in the memory of the request that it was asked about. */
static int copy_edits(struct gateway_exchange *exchange, const struct gateway_caching *from)
{
    struct gateway_edit *edits = hf_arena_alloc(&exchange->arena, from->own_edit_count * sizeof *edits);

    for (uint32_t i = 0; edits && i < from->own_edit_count; i++) {
        const struct gateway_edit *edit = &from->own_edits[i];

        if (hf_arena_copy(&exchange->arena, edit->name, &edits[i].name) != HF_OK ||
            (edit->value.data && hf_arena_copy(&exchange->arena, edit->value, &edits[i].value) != HF_OK))
            return 0;
    }
    exchange->request_edits = edits;
    exchange->request_edit_count = from->own_edit_count;
    return edits != NULL;
}

static int copy_request(struct gateway_exchange *exchange, const struct gateway_exchange *from)
{
    const struct gateway_peer *peer = exchange->front->peer;

    return hf_arena_copy(&exchange->arena, from->head_bytes, &exchange->head_bytes) == HF_OK &&
           hf_http1_parse_request(exchange->head_bytes, &exchange->head, NULL) > 0 &&
           gateway_request_read(&exchange->head, (hf_slice){(const uint8_t *)peer->text, peer->text_size},
                                &exchange->arena, &exchange->request, NULL) == HF_OK;
}

static int copy_caching(struct gateway_exchange *exchange, const struct gateway_caching *from)
{
    struct gateway_caching *caching = gateway_caching_create(exchange, from->upstream);

    if (!caching)
        return 0;
    gateway_cache_control_init(&caching->wishes);
    caching->stored = from->stored;
    gateway_stored_hold(caching->stored);
    caching->key.hash = from->key.hash;
    caching->began_us = gateway_worker_now(exchange->worker);
    return hf_arena_copy(&exchange->arena, from->key.url, &caching->key.url) == HF_OK &&
           hf_arena_copy(&exchange->arena, from->key.extra, &caching->key.extra) == HF_OK &&
           gateway_caching_condition(caching) == HF_OK;
}

static struct gateway_refresh *create(const struct gateway_caching *caching)
{
    const struct gateway_exchange *from = caching->exchange;
    struct gateway_worker *worker = from->worker;
    struct gateway_refresh *refresh = calloc(1, sizeof *refresh);

    if (!refresh)
        return NULL;
    refresh->front.calls = &calls;
    refresh->front.peer = &refresh->peer;
    refresh->worker = worker;
    refresh->peer = *from->front->peer;
    refresh->peer.destination = NULL;
    refresh->peer.owns_links = 0;
    refresh->peer.fd = -1;
    refresh->peer.id = ++worker->last_client;
    refresh->exchange = gateway_exchange_create(worker, &refresh->front, from->listener);
    if (!refresh->exchange) {
        free(refresh);
        return NULL;
    }
    refresh->next = worker->refreshes;
    if (refresh->next)
        refresh->next->previous = refresh;
    worker->refreshes = refresh;
    worker->refresh_count++;
    return refresh;
}

static int copy(struct gateway_exchange *exchange, const struct gateway_caching *from)
{
    return copy_request(exchange, from->exchange) && copy_edits(exchange, from) && copy_caching(exchange, from);
}

/* Without memory, or when somebody fetches the same already, it ends at once. */
static void begin(const struct gateway_caching *caching)
{
    const struct gateway_exchange *from = caching->exchange;
    struct gateway_refresh *refresh = create(caching);
    struct gateway_exchange *exchange = refresh ? refresh->exchange : NULL;

    if (!refresh)
        return;
    take_generation(exchange, from->generation);
    exchange->is_internal = 1;
    exchange->request_ended = 1;
    exchange->route = from->route;
    int is_whole = copy(exchange, caching);
    if (exchange->caching)
        exchange->caching->refresh = refresh; /* which is freed with it */
    if (is_whole &&
        gateway_flight_begin(caching->cache, &caching->key, NULL, &exchange->caching->flight) == GATEWAY_FLIGHT_LEADS) {
        gateway_exchange_forward(exchange, caching->upstream);
        return;
    }
    over(&refresh->front);
    if (!exchange->caching)
        free(refresh);
}

/* A server that is told whose requests these are would be told wrong. */
static int names_clients(const struct gateway_caching *caching)
{
    return caching->exchange->generation->views[caching->upstream]->set->send_proxy != 0;
}

void gateway_refresh_begin(struct gateway_caching *caching)
{
    struct gateway_worker *worker = caching->worker;
    struct gateway_stored *stored = caching->stored;
    uint64_t now_us = gateway_worker_now(worker);
    uint64_t until_us = atomic_load_explicit(&stored->refreshed_until_us, memory_order_relaxed);

    if (now_us < until_us || worker->refresh_count >= REFRESHES_MAX || worker->is_draining || names_clients(caching) ||
        !hf_slice_is(caching->exchange->head.method, "GET"))
        return;
    /* While it is fetched nobody else begins, and when that fails, not at once. */
    if (atomic_compare_exchange_strong_explicit(&stored->refreshed_until_us, &until_us, now_us + AGAIN_US,
                                                memory_order_relaxed, memory_order_relaxed))
        begin(caching);
}
