/* A request and its answer: which route it takes, which server is asked, and which one next when that fails. */
#include "proxy/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEGRADED_HOPS_MAX = 4, SPARE_BUFFER_MAX = 16 << 10 };

static void overdue(struct gateway_deadline *deadline);
static void forward(struct gateway_exchange *exchange, uint32_t upstream);
static void try_next(struct gateway_exchange *exchange);

/* ---- Life ------------------------------------------------------------------------------------------------------ */

struct gateway_exchange *gateway_exchange_create(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    struct gateway_exchange *exchange = worker->spare_exchanges;

    if (exchange) {
        worker->spare_exchanges = exchange->next;
        worker->spare_exchange_count--;
    } else {
        exchange = calloc(1, sizeof *exchange);
        if (!exchange)
            return NULL;
        hf_arena_init(&exchange->arena, GATEWAY_ARENA_MAX);
        hf_buffer_init(&exchange->out, GATEWAY_HEAD_OUT_MAX);
        hf_buffer_init(&exchange->body, GATEWAY_REPLAY_MAX + 2 * GATEWAY_SCRATCH_SIZE);
        exchange->deadline.passed = overdue;
    }
    exchange->next = NULL;
    exchange->worker = worker;
    exchange->client = client;
    exchange->generation = gateway_worker_use(worker);
    exchange->listener = client->port->listener;
    exchange->began_us = gateway_worker_now(worker);
    exchange->body_kept = 1;
    return exchange;
}

/* Keeps its memory, forgets all else. */
static void wipe(struct gateway_exchange *exchange)
{
    hf_arena arena = exchange->arena;
    hf_buffer out = exchange->out, body = exchange->body;

    hf_arena_clear(&arena);
    hf_buffer_clear(&out);
    if (body.capacity > SPARE_BUFFER_MAX)
        hf_buffer_done(&body);
    hf_buffer_clear(&body);
    memset(exchange, 0, offsetof(struct gateway_exchange, head));
    memset(&exchange->request, 0, sizeof *exchange - offsetof(struct gateway_exchange, request));
    exchange->arena = arena;
    exchange->out = out;
    exchange->body = body;
    exchange->deadline.passed = overdue;
}

void gateway_exchange_free(struct gateway_exchange *exchange)
{
    struct gateway_worker *worker = exchange->worker;

    if (worker->spare_exchange_count < GATEWAY_SPARE_MAX) {
        wipe(exchange);
        exchange->next = worker->spare_exchanges;
        worker->spare_exchanges = exchange;
        worker->spare_exchange_count++;
    } else {
        hf_arena_done(&exchange->arena);
        hf_buffer_done(&exchange->out);
        hf_buffer_done(&exchange->body);
        free(exchange);
    }
}

/* The upstream has no more to do with it. */
static void end_call(struct gateway_exchange *exchange, int32_t outcome)
{
    if (!exchange->set)
        return;
    if (exchange->is_counted)
        gateway_upstream_end(exchange->set, &exchange->upstream_call, outcome, gateway_worker_now(exchange->worker));
    exchange->is_counted = 0;
    gateway_server_set_release(exchange->set);
    exchange->set = NULL;
    exchange->view = NULL;
}

void gateway_exchange_over(struct gateway_exchange *exchange)
{
    struct gateway_worker *worker = exchange->worker;

    if (exchange->is_dead)
        return;
    exchange->is_dead = 1;
    gateway_account_close(exchange);
    if (exchange->is_queued)
        gateway_view_dequeue(exchange->view, exchange);
    if (exchange->link)
        gateway_link_leave(exchange->link, GATEWAY_ABANDONED);
    end_call(exchange, GATEWAY_ABANDONED);
    gateway_deadline_clear(&worker->wheel, &exchange->deadline);
    gateway_worker_leave(worker, exchange->generation);
    exchange->next = worker->dead_exchanges;
    worker->dead_exchanges = exchange;
}

void gateway_exchange_abandon(struct gateway_exchange *exchange)
{
    exchange->client->exchange = NULL;
    gateway_exchange_over(exchange);
}

/* ---- Refusing -----------------------------------------------------------------------------------------------------
 */

void gateway_exchange_refuse(struct gateway_exchange *exchange, uint32_t status, const char *why)
{
    struct gateway_client *client = exchange->client;

    gateway_account_refuse(exchange, why);
    if (exchange->link)
        gateway_link_leave(exchange->link, GATEWAY_ABANDONED);
    if (exchange->answered || client->is_broken) { /* so that nobody takes the answer for a whole one */
        gateway_client_flush(client);
        gateway_client_destroy(client);
        return;
    }
    gateway_answer_problem(exchange, status, why);
}

static uint32_t status_for(int32_t code)
{
    return code == HF_EINVAL ? 400 : code == HF_ETOOLARGE ? 431 : 503;
}

/* No server can be asked: what the upstream's configuration says for that. */
static void degrade(struct gateway_exchange *exchange, uint32_t upstream, uint32_t status, const char *why)
{
    const struct gateway_degraded *degraded = &exchange->generation->plan->upstreams[upstream].degraded;

    end_call(exchange, GATEWAY_ABANDONED);
    gateway_account_degrade(exchange, upstream, why);
    if (degraded->upstream != GATEWAY_NO_UPSTREAM && exchange->degraded_hops < DEGRADED_HOPS_MAX &&
        exchange->body_kept) {
        exchange->degraded_hops++;
        forward(exchange, degraded->upstream);
    } else if (degraded->body.size) {
        gateway_answer(exchange, degraded->status, degraded->type, degraded->body, (hf_slice){NULL, 0});
    } else {
        gateway_exchange_refuse(exchange, status, why);
    }
}

/* ---- Choosing a server ---------------------------------------------------------------------------------------------
 */

static int is_keyed(const struct gateway_server_set *set)
{
    return (set->balancer->head.capabilities & HF_BALANCER_KEYED) != 0;
}

static void mark_tried(uint64_t *tried, const struct gateway_server_set *set, const struct gateway_server *server)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->places[i].server == server)
            tried[i / 64] |= UINT64_C(1) << i % 64;
}

/* The servers have changed since the last try: the next is made among those that are there now.  0: no memory. */
static int follow_servers(struct gateway_exchange *exchange)
{
    struct gateway_server_set *before = exchange->set, *set = exchange->view->set;

    if (before == set)
        return 1;
    uint64_t *tried = hf_arena_alloc(&exchange->arena, (set->count / 64 + 1) * sizeof *tried);
    if (!tried)
        return 0;
    for (uint32_t i = 0; i < before->count; i++)
        if (exchange->tried[i / 64] >> i % 64 & 1)
            mark_tried(tried, set, before->places[i].server);
    if (exchange->is_counted && before->has_breaker != set->has_breaker) { /* it has, or will have, no breaker */
        gateway_upstream_end(before, &exchange->upstream_call, GATEWAY_ABANDONED, gateway_worker_now(exchange->worker));
        exchange->is_counted = 0;
    }
    gateway_server_set_hold(set);
    gateway_server_set_release(before);
    exchange->set = set;
    exchange->tried = tried;
    return 1;
}

/* Which servers this request may get: well, not yet asked, with room.  *ret_full: some have no room. */
static void usable_now(struct gateway_exchange *exchange, uint64_t *bits, int *ret_full)
{
    struct gateway_server_set *set = exchange->set;
    struct gateway_usable *usable = &exchange->view->usable;

    *ret_full = 0;
    gateway_server_set_look(set, usable, gateway_worker_now(exchange->worker));
    for (uint32_t i = 0; i < (set->count + 63) / 64; i++)
        bits[i] = usable->bits[i] & ~exchange->tried[i];
    for (uint32_t i = 0; i < set->count; i++)
        if (set->places[i].requests_maximum && bits[i / 64] >> i % 64 & 1 &&
            atomic_load_explicit(&set->places[i].server->in_flight, memory_order_relaxed) >=
                set->places[i].requests_maximum) {
            bits[i / 64] &= ~(UINT64_C(1) << i % 64);
            *ret_full = 1;
        }
}

static void shift(const uint64_t *bits, uint32_t by, uint32_t count, uint64_t *to)
{
    memset(to, 0, (count + 63) / 64 * sizeof *to);
    for (uint32_t i = 0; i < count; i++)
        to[i / 64] |= (bits[(i + by) / 64] >> (i + by) % 64 & 1) << i % 64;
}

static int pick_from(const struct gateway_exchange *exchange, hf_balancer_pool *pool, const uint64_t *bits,
                     uint32_t first, uint32_t *ret_place)
{
    const struct gateway_server_set *set = exchange->set;
    hf_balancer_request request = {.size = sizeof request,
                                   .has_key = exchange->has_key,
                                   .key = exchange->key,
                                   .now_us = gateway_worker_now(exchange->worker),
                                   .usable = bits,
                                   .in_flight = (const uint32_t *)(const void *)(set->in_flight + first)};

    if (!pool || set->balancer->pick(pool, &request, ret_place) != HF_OK)
        return 0;
    *ret_place += first;
    return 1;
}

/* 0: none can be picked. */
static int pick(struct gateway_exchange *exchange, uint32_t *ret_place, int *ret_full)
{
    const struct gateway_server_set *set = exchange->set;
    const struct gateway_pools *pools = &set->pools[exchange->worker->index];
    uint64_t bits[HF_BALANCER_SERVERS_MAX / 64], shifted[HF_BALANCER_SERVERS_MAX / 64];

    usable_now(exchange, bits, ret_full);
    if (pick_from(exchange, pools->regular, bits, 0, ret_place))
        return 1;
    if (!pools->backup)
        return 0;
    shift(bits, set->backup_at, set->count - set->backup_at, shifted);
    return pick_from(exchange, pools->backup, shifted, set->backup_at, ret_place);
}

static int was_tried(const struct gateway_exchange *exchange)
{
    return exchange->tries > 0;
}

/* The servers that are well have no room: the request waits, or is refused early. */
static void wait_in_queue(struct gateway_exchange *exchange)
{
    struct gateway_view *view = exchange->view;

    if (view->queued >= exchange->set->queue_maximum) {
        degrade(exchange, exchange->upstream, 503, "all servers are busy; try again later");
        return;
    }
    gateway_view_enqueue(view, exchange);
    gateway_worker_deadline(exchange->worker, &exchange->deadline,
                            gateway_worker_now(exchange->worker) + exchange->set->queue_timeout_us);
}

static void ask(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call)
{
    struct gateway_server_set *set = exchange->set;

    exchange->tried[place / 64] |= UINT64_C(1) << place % 64;
    exchange->tries++;
    gateway_account_try(exchange, set->places[place].server);
    if (gateway_link_open(exchange, place, call, NULL) == HF_OK)
        return;
    gateway_server_end(set, place, call, GATEWAY_FAILED, gateway_worker_now(exchange->worker));
    try_next(exchange);
}

static void no_server(struct gateway_exchange *exchange)
{
    gateway_account_failed(exchange);
    if (was_tried(exchange) || exchange->last_status)
        degrade(exchange, exchange->upstream, exchange->last_status ? exchange->last_status : 502,
                "no server could answer");
    else
        degrade(exchange, exchange->upstream, 503, "no server is available; try again later");
}

static void try_next(struct gateway_exchange *exchange)
{
    struct gateway_breaker_call call = {0};
    uint32_t place = 0;
    int full = 0;

    if (exchange->tries >= exchange->route->tries) {
        no_server(exchange);
        return;
    }
    if (!follow_servers(exchange)) {
        gateway_exchange_refuse(exchange, 503, "no memory for the request; try again later");
        return;
    }
    while (pick(exchange, &place, &full)) {
        if (gateway_server_begin(exchange->set, place, gateway_worker_now(exchange->worker), &call)) {
            ask(exchange, place, &call);
            return;
        }
        exchange->tried[place / 64] |= UINT64_C(1) << place % 64; /* its breaker tries others first */
    }
    if (full && !was_tried(exchange))
        wait_in_queue(exchange);
    else
        no_server(exchange);
}

/* The time for the answer runs on from where it was. */
static void leave_queue(struct gateway_exchange *exchange)
{
    gateway_view_dequeue(exchange->view, exchange);
    if (exchange->due_us)
        gateway_worker_deadline(exchange->worker, &exchange->deadline, exchange->due_us);
    else
        gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
}

int32_t gateway_exchange_try_queued(struct gateway_exchange *exchange)
{
    struct gateway_breaker_call call = {0};
    uint32_t place = 0;
    int full = 0;

    if (!follow_servers(exchange)) {
        leave_queue(exchange);
        gateway_exchange_refuse(exchange, 503, "no memory for the request; try again later");
        return 1;
    }
    if (!pick(exchange, &place, &full)) {
        if (full)
            return 0;
        leave_queue(exchange);
        no_server(exchange);
        return 1;
    }
    leave_queue(exchange);
    if (gateway_server_begin(exchange->set, place, gateway_worker_now(exchange->worker), &call))
        ask(exchange, place, &call);
    else
        try_next(exchange);
    return 1;
}

/* ---- The way to the upstream ---------------------------------------------------------------------------------------
 */

/* The target with the route's prefix replaced; the client's own where it is not replaced.  The path was decoded and
 * cleaned for matching; what goes on is what the client wrote, so the prefix is only replaced where it was written as
 * the route has it. */
static int32_t make_target(struct gateway_exchange *exchange, hf_slice *ret_target, hf_error *error)
{
    const struct gateway_route *route = exchange->route;
    hf_slice target = exchange->head.target, with = route->replace_prefix;
    uint64_t size = route->path.size;

    if (!with.data || route->path_match != GATEWAY_PATH_PREFIX)
        return HF_OK;
    if (!hf_slice_begins(target, route->path))
        return hf_error_set(error, HF_EINVAL, "the path is written in a way that its beginning cannot be replaced");
    if (with.data[with.size - 1] == '/' && size < target.size && target.data[size] == '/')
        size++; /* one slash is enough */
    uint8_t *text = hf_arena_alloc(&exchange->arena, with.size + target.size + 1);
    if (!text)
        return hf_error_set(error, HF_ENOMEM, "no memory for the request");
    uint64_t at = 0;
    int needs_slash =
        with.data[with.size - 1] != '/' && size < target.size && target.data[size] != '/' && target.data[size] != '?';
    memcpy(text, with.data, with.size);
    at = with.size;
    if (needs_slash)
        text[at++] = '/';
    memcpy(text + at, target.data + size, target.size - size);
    *ret_target = (hf_slice){text, at + target.size - size};
    return HF_OK;
}

static int is_trusted(const struct gateway_exchange *exchange)
{
    const struct gateway_listener *listener = exchange->listener;

    for (uint32_t i = 0; i < listener->trusted_count; i++)
        if (gateway_network_has(&listener->trusted[i], &exchange->client->address))
            return 1;
    return 0;
}

static int32_t make_head(struct gateway_exchange *exchange, hf_error *error)
{
    const struct gateway_route *route = exchange->route;
    struct gateway_forward how = {.edits = route->request_edits,
                                  .edit_count = route->request_edit_count,
                                  .client = exchange->request.client,
                                  .is_proxy = is_trusted(exchange),
                                  .upgrades = route->upgrades && exchange->head.body == HF_HTTP1_BODY_NONE,
                                  .host = route->host,
                                  .keeps_state = exchange->account.keeps_state};
    uint8_t trace[GATEWAY_TRACE_SIZE];
    int32_t code = make_target(exchange, &how.target, error);

    if (exchange->account.trace.is_present) {
        gateway_trace_write(&exchange->account.trace, trace);
        how.trace = (hf_slice){trace, sizeof trace};
    }

    return code == HF_OK ? gateway_forward_request(&how, exchange->head_bytes, &exchange->head, &exchange->out, error)
                         : code;
}

static void read_key(struct gateway_exchange *exchange)
{
    hf_slice body = {exchange->body.data, exchange->body.size};

    exchange->waits_for_body = 0;
    exchange->has_key =
        gateway_key_hash(&exchange->set->key, &exchange->request, body, &exchange->arena, &exchange->key);
}

static void forward(struct gateway_exchange *exchange, uint32_t upstream)
{
    struct gateway_view *view = exchange->generation->views[upstream];
    uint64_t now_us = gateway_worker_now(exchange->worker);

    exchange->upstream = upstream;
    exchange->view = view;
    exchange->set = view->set;
    exchange->tries = 0;
    gateway_server_set_hold(exchange->set);
    if (!gateway_upstream_begin(exchange->set, now_us, &exchange->upstream_call)) {
        degrade(exchange, upstream, 503, "the servers fail or are slow, and get no requests for a while");
        return;
    }
    exchange->is_counted = 1;
    gateway_upstream_pay(exchange->set);
    exchange->tried = hf_arena_alloc(&exchange->arena, (exchange->set->count / 64 + 1) * sizeof *exchange->tried);
    if (!exchange->tried) {
        gateway_exchange_refuse(exchange, 503, "no memory for the request; try again later");
        return;
    }
    if (is_keyed(exchange->set) && exchange->set->key.of == GATEWAY_KEY_BODY && !exchange->request_ended &&
        exchange->body.size < GATEWAY_REPLAY_MAX) {
        exchange->waits_for_body = 1;
        return;
    }
    if (is_keyed(exchange->set))
        read_key(exchange);
    try_next(exchange);
}

static void expect_answer(struct gateway_exchange *exchange)
{
    if (exchange->is_queued || exchange->answered || !exchange->route)
        return;
    exchange->due_us = gateway_worker_now(exchange->worker) + exchange->route->timeout_us;
    gateway_worker_deadline(exchange->worker, &exchange->deadline, exchange->due_us);
}

static void take_route(struct gateway_exchange *exchange)
{
    const struct gateway_route *route = exchange->route;
    hf_error error = {0};

    if (route->kind != GATEWAY_ROUTE_FORWARDS) {
        gateway_answer_route(exchange);
        return;
    }
    int32_t code = make_head(exchange, &error);
    if (code != HF_OK) {
        gateway_exchange_refuse(exchange, status_for(code), error.message);
        return;
    }
    exchange->body_out = exchange->head.body;
    if (exchange->request_ended)
        expect_answer(exchange);
    forward(exchange, route->upstream);
}

void gateway_exchange_start(struct gateway_exchange *exchange)
{
    const struct gateway_listener *listener = exchange->listener;
    struct gateway_client *client = exchange->client;
    hf_error error = {0};

    gateway_account_begin(exchange);
    if (exchange->head.body == HF_HTTP1_BODY_LENGTH && exchange->head.content_length > listener->body_maximum) {
        gateway_exchange_refuse(exchange, 413, "the body of the request is larger than allowed");
        return;
    }
    int32_t code = gateway_request_read(&exchange->head, (hf_slice){(const uint8_t *)client->text, client->text_size},
                                        &exchange->arena, &exchange->request, &error);
    if (code != HF_OK) {
        gateway_exchange_refuse(exchange, status_for(code), error.message);
        return;
    }
    int32_t rule = gateway_match(listener->rules, listener->rule_count, &exchange->request, &exchange->arena);
    if (rule < 0) {
        gateway_exchange_refuse(exchange, 404, "no route of the gateway matches the request");
        return;
    }
    exchange->route = &exchange->generation->plan->routes[listener->routes[rule]];
    take_route(exchange);
}

/* ---- The request's body ---------------------------------------------------------------------------------------------
 */

static int is_asked(const struct gateway_exchange *exchange)
{
    return exchange->link && exchange->link->state != LINK_CONNECTING;
}

static void send_body(struct gateway_exchange *exchange, hf_slice piece)
{
    char frame[24];
    struct iovec pieces[3] = {{frame, 0}, {(void *)(uintptr_t)piece.data, piece.size}, {(void *)(uintptr_t) "\r\n", 2}};

    if (exchange->body_out == HF_HTTP1_BODY_CHUNKED && !exchange->is_tunnel) {
        pieces[0].iov_len = (size_t)snprintf(frame, sizeof frame, "%llx\r\n", (unsigned long long)piece.size);
        gateway_link_send(exchange->link, pieces, 3);
    } else {
        gateway_link_send(exchange->link, &pieces[1], 1);
    }
    if (exchange->link->waiting.size > GATEWAY_WAITING_MAX)
        gateway_client_pause(exchange->client);
}

/* While no server has it, all of it is kept; later, as long as it is short. */
static void keep_body(struct gateway_exchange *exchange, hf_slice piece)
{
    int asked = is_asked(exchange);

    if (!exchange->body_kept || exchange->is_tunnel)
        return;
    if ((asked && exchange->body.size + piece.size > GATEWAY_REPLAY_MAX) ||
        hf_buffer_append(&exchange->body, piece.data, piece.size) != HF_OK) {
        exchange->body_kept = 0;
        hf_buffer_clear(&exchange->body);
    }
}

void gateway_exchange_body(struct gateway_exchange *exchange, hf_slice piece)
{
    exchange->account.body_received += piece.size;
    keep_body(exchange, piece);
    if (is_asked(exchange)) {
        send_body(exchange, piece);
    } else if (!exchange->body_kept) {
        gateway_exchange_refuse(exchange, 503, "no memory for the request's body; try again later");
    } else if (exchange->body.size >= GATEWAY_REPLAY_MAX) {
        gateway_client_pause(exchange->client);
        if (exchange->waits_for_body) {
            read_key(exchange);
            try_next(exchange);
        }
    }
}

static void send_last_chunk(struct gateway_exchange *exchange)
{
    struct iovec piece = {(void *)(uintptr_t) "0\r\n\r\n", 5};

    if (exchange->body_out == HF_HTTP1_BODY_CHUNKED)
        gateway_link_send(exchange->link, &piece, 1);
}

void gateway_exchange_body_ended(struct gateway_exchange *exchange)
{
    exchange->request_ended = 1;
    expect_answer(exchange);
    if (is_asked(exchange)) {
        send_last_chunk(exchange);
    } else if (exchange->waits_for_body) {
        read_key(exchange);
        try_next(exchange);
    }
}

/* ---- A server is there
 * ----------------------------------------------------------------------------------------------- */

void gateway_exchange_link_ready(struct gateway_exchange *exchange)
{
    uint64_t try_us = exchange->route->try_timeout_us;
    hf_slice body = {exchange->body.data, exchange->body.size};
    struct iovec pieces[2] = {{exchange->out.data, exchange->out.size}, {(void *)(uintptr_t)body.data, body.size}};
    int is_plain = body.size && exchange->body_out != HF_HTTP1_BODY_CHUNKED;

    gateway_link_send(exchange->link, pieces, is_plain ? 2 : 1);
    if (body.size && !is_plain)
        send_body(exchange, body);
    if (exchange->request_ended)
        send_last_chunk(exchange);
    if (try_us)
        gateway_link_expect(exchange->link, gateway_worker_now(exchange->worker) + try_us);
    if (exchange->link->waiting.size <= GATEWAY_WAITING_MAX)
        gateway_client_resume(exchange->client);
}

void gateway_exchange_link_writable(struct gateway_exchange *exchange)
{
    if (exchange->link->waiting.size < GATEWAY_WAITING_MAX / 2)
        gateway_client_resume(exchange->client);
    if (exchange->is_tunnel)
        gateway_client_touch(exchange->client);
}

void gateway_exchange_client_writable(struct gateway_exchange *exchange)
{
    if (exchange->link && exchange->client->waiting.size < GATEWAY_WAITING_MAX / 2)
        gateway_link_resume(exchange->link);
}

/* ---- Another server -------------------------------------------------------------------------------------------------
 */

/* RFC 9110, 9.2.2. */
static int is_idempotent(hf_slice method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (hf_slice_is(method, methods[i]))
            return 1;
    return 0;
}

static uint32_t retry_bit_of(uint32_t status)
{
    switch (status) {
    case 429:
        return GATEWAY_RETRY_429;
    case 500:
        return GATEWAY_RETRY_500;
    case 502:
        return GATEWAY_RETRY_502;
    case 503:
        return GATEWAY_RETRY_503;
    case 504:
        return GATEWAY_RETRY_504;
    default:
        return 0;
    }
}

/* Whether another server may be asked, now that one has failed for a reason of retry_on.  `was_sent`: the server may
 * have done what was asked. */
static int may_retry(struct gateway_exchange *exchange, uint32_t bit, int was_sent)
{
    const struct gateway_route *route = exchange->route;

    if (!(route->retry_on & bit) || exchange->answered || !exchange->body_kept || exchange->client->is_broken)
        return 0;
    if (was_sent && !is_idempotent(exchange->head.method) && !(route->retry_on & GATEWAY_RETRY_NON_IDEMPOTENT))
        return 0;
    return exchange->tries < route->tries &&
           gateway_upstream_may_retry(exchange->set, gateway_worker_now(exchange->worker));
}

static uint32_t status_of_failure(int32_t why)
{
    return why == LINK_TIMEOUT ? 504 : 502;
}

static const char *words_of_failure(int32_t why)
{
    static const char *const words[] = {[LINK_ERROR] = "the connection to the server failed",
                                        [LINK_TIMEOUT] = "the server did not answer in time",
                                        [LINK_INVALID] = "the server's answer is no HTTP"};

    return words[why];
}

static void finish_failed(struct gateway_exchange *exchange, int32_t why)
{
    uint32_t upstream = exchange->upstream;

    gateway_account_failed(exchange);
    if (exchange->is_counted)
        gateway_upstream_end(exchange->set, &exchange->upstream_call, GATEWAY_FAILED,
                             gateway_worker_now(exchange->worker));
    exchange->is_counted = 0;
    if (exchange->answered || !is_idempotent(exchange->head.method))
        gateway_exchange_refuse(exchange, status_of_failure(why), words_of_failure(why));
    else
        degrade(exchange, upstream, status_of_failure(why), words_of_failure(why));
}

void gateway_exchange_link_failed(struct gateway_exchange *exchange, int32_t why)
{
    static const uint32_t bits[] = {[LINK_ERROR] = GATEWAY_RETRY_ERROR,
                                    [LINK_TIMEOUT] = GATEWAY_RETRY_TIMEOUT,
                                    [LINK_INVALID] = GATEWAY_RETRY_INVALID_HEADER};
    struct gateway_link *link = exchange->link;
    int was_sent = link->has_sent;
    /* A server may close a connection that it has kept just when a request goes out on it: that is no failure, and does
     * not count as a try. */
    int was_stale = link->is_reused && !link->has_answered && why == LINK_ERROR;
    uint32_t place = link->place;

    if (exchange->is_tunnel) { /* the end of one side is the end of both */
        gateway_client_flush(exchange->client);
        gateway_client_end(exchange->client);
        return;
    }
    gateway_link_leave(link, was_stale ? GATEWAY_ABANDONED : GATEWAY_FAILED);
    if (was_stale && may_retry(exchange, bits[why], was_sent)) {
        exchange->tries--;
        exchange->tried[place / 64] &= ~(UINT64_C(1) << place % 64);
        try_next(exchange);
    } else if (!was_stale && may_retry(exchange, bits[why], was_sent)) {
        exchange->last_status = status_of_failure(why);
        try_next(exchange);
    } else {
        finish_failed(exchange, why);
    }
}

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_exchange *exchange =
        (struct gateway_exchange *)((char *)deadline - offsetof(struct gateway_exchange, deadline));

    if (exchange->is_queued) {
        gateway_view_dequeue(exchange->view, exchange);
        degrade(exchange, exchange->upstream, 503, "all servers were busy for too long; try again later");
        return;
    }
    if (exchange->link)
        gateway_link_leave(exchange->link, GATEWAY_FAILED);
    finish_failed(exchange, LINK_TIMEOUT);
}

/* ---- The answer
 * ------------------------------------------------------------------------------------------------------ */

static int32_t outcome_of(const struct gateway_exchange *exchange, uint32_t status)
{
    if (exchange->route->retry_on & retry_bit_of(status))
        return GATEWAY_FAILED;
    return status >= 500 ? GATEWAY_ERRED : GATEWAY_SERVED;
}

static void switch_protocols(struct gateway_exchange *exchange)
{
    exchange->is_tunnel = 1;
    gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
    gateway_link_tunnel(exchange->link);
    gateway_client_tunnel(exchange->client);
}

static int asked_to_upgrade(const struct gateway_exchange *exchange)
{
    return exchange->route->upgrades && exchange->head.body == HF_HTTP1_BODY_NONE &&
           hf_http1_header_find(&exchange->head, "upgrade").data != NULL;
}

void gateway_exchange_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes)
{
    uint32_t status = head->status;
    hf_error error = {0};

    if (status == 100 || (status < 200 && status != 101 && exchange->head.minor == 0))
        return; /* the client was told already, or does not know of interim answers */
    if (status == 101 && !asked_to_upgrade(exchange)) {
        gateway_exchange_link_failed(exchange, LINK_INVALID);
        return;
    }
    if (retry_bit_of(status) && may_retry(exchange, retry_bit_of(status), 1)) {
        exchange->last_status = status;
        gateway_link_leave(exchange->link, GATEWAY_FAILED);
        try_next(exchange);
        return;
    }
    if (gateway_client_head(exchange->client, head, bytes, &error) != HF_OK) {
        gateway_exchange_link_failed(exchange, LINK_INVALID);
        return;
    }
    exchange->status = status;
    if (status < 200 && status != 101)
        return;
    exchange->answered = 1;
    gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
    if (status == 101)
        switch_protocols(exchange);
}

void gateway_exchange_answer_body(struct gateway_exchange *exchange, hf_slice piece)
{
    exchange->bytes_sent += piece.size;
    gateway_client_body(exchange->client, piece);
}

void gateway_exchange_answer_flush(struct gateway_exchange *exchange)
{
    gateway_client_flush(exchange->client);
    if (exchange->is_tunnel)
        gateway_client_touch(exchange->client);
    if (exchange->client->waiting.size > GATEWAY_WAITING_MAX && exchange->link)
        gateway_link_pause(exchange->link);
}

void gateway_exchange_answered(struct gateway_exchange *exchange)
{
    struct gateway_client *client = exchange->client;
    int32_t outcome = outcome_of(exchange, exchange->status);

    gateway_account_served(exchange);
    gateway_client_flush(client); /* what was gathered may lie in memory of the link's */
    gateway_link_leave(exchange->link, outcome);
    end_call(exchange, outcome);
    gateway_client_end(client);
}
