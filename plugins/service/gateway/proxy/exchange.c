/* A request and its answer: which route it takes, which server is asked, and which one next when that fails. */
#include "proxy/caching.h"
#include "proxy/outflow.h"
#include "proxy/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum { DEGRADED_HOPS_MAX = 4, SPARE_BUFFER_MAX = 16 << 10 };

static void overdue(struct gateway_deadline *deadline);
static void forward(struct gateway_exchange *exchange, uint32_t upstream);
static void try_next(struct gateway_exchange *exchange);

/* ---- Life ------------------------------------------------------------------------------------------------------ */

struct gateway_exchange *gateway_exchange_create(struct gateway_worker *worker, struct gateway_front *front,
                                                 const struct gateway_listener *listener)
{
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
        hf_buffer_init(&exchange->trailers, GATEWAY_HEAD_OUT_MAX);
        exchange->deadline.passed = overdue;
    }
    exchange->next = NULL;
    exchange->worker = worker;
    exchange->front = front;
    exchange->generation = gateway_worker_use(worker);
    exchange->listener = listener;
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
    hf_buffer_done(&exchange->trailers);
    if (body.capacity > SPARE_BUFFER_MAX)
        hf_buffer_done(&body);
    hf_buffer_clear(&body);
    memset(exchange, 0, offsetof(struct gateway_exchange, head));
    memset(&exchange->request, 0, sizeof *exchange - offsetof(struct gateway_exchange, request));
    exchange->arena = arena;
    exchange->out = out;
    exchange->body = body;
    hf_buffer_init(&exchange->trailers, GATEWAY_HEAD_OUT_MAX);
    exchange->deadline.passed = overdue;
}

void gateway_exchange_free(struct gateway_exchange *exchange)
{
    struct gateway_worker *worker = exchange->worker;

    if (exchange->outflow)
        gateway_outflow_free(exchange);
    if (exchange->caching)
        gateway_caching_free(exchange);
    if (worker->spare_exchange_count < GATEWAY_SPARE_MAX) {
        wipe(exchange);
        exchange->next = worker->spare_exchanges;
        worker->spare_exchanges = exchange;
        worker->spare_exchange_count++;
    } else {
        hf_arena_done(&exchange->arena);
        hf_buffer_done(&exchange->out);
        hf_buffer_done(&exchange->body);
        hf_buffer_done(&exchange->trailers);
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
    gateway_exchange_leave_admission(exchange);
    gateway_split_count(exchange);
    if (exchange->outflow)
        gateway_outflow_stop(exchange);
    if (exchange->caching)
        gateway_caching_over(exchange);
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

/* ---- Refusing ---------------------------------------------------------------------------------------------------- */

void gateway_exchange_refuse(struct gateway_exchange *exchange, uint32_t status, const char *why)
{
    struct gateway_front *front = exchange->front;

    gateway_account_refuse(exchange, why);
    if (exchange->link)
        gateway_link_leave(exchange->link, GATEWAY_ABANDONED);
    if (exchange->answered || front->is_broken) { /* so that nobody takes the answer for a whole one */
        front->calls->flush(front);
        front->calls->destroy(front);
        return;
    }
    gateway_answer_problem(exchange, status, why);
}

static uint32_t status_for(int32_t code)
{
    return code == HF_EINVAL ? 400 : code == HF_ETOOLARGE ? 431 : code == HF_EUNSUPPORTED ? 501 : 503;
}

/* The request is malformed, or too large to go on.  Whoever writes such a one may mean something else by what follows,
 * too: nothing more is read from that connection. */
static void refuse_head(struct gateway_exchange *exchange, int32_t code, const char *why)
{
    exchange->head.keep_alive &= code == HF_ENOMEM;
    gateway_exchange_refuse(exchange, status_for(code), why);
}

int32_t gateway_exchange_can_degrade(const struct gateway_exchange *exchange)
{
    return !exchange->is_internal && exchange->degraded_hops < DEGRADED_HOPS_MAX && exchange->body_kept &&
           !exchange->may_be_done;
}

static void forward_instead(struct gateway_exchange *exchange, uint32_t upstream)
{
    exchange->degraded_hops++;
    if (exchange->caching) {
        gateway_caching_give_up(exchange);
        gateway_exchange_forward(exchange, upstream);
    } else {
        forward(exchange, upstream);
    }
}

static void answer_wish(struct gateway_exchange *exchange, const struct gateway_wish *wish)
{
    gateway_answer(exchange, wish->status, wish->type, wish->body, wish->location);
}

/* 0: no policy says what is to be done. */
static int degrade_by_policy(struct gateway_exchange *exchange, uint32_t upstream, uint32_t status, const char *why)
{
    struct gateway_wish wish;

    if (!exchange->route->has_policy)
        return 0;
    gateway_policy_error(exchange, upstream, status, why, &wish);
    if (wish.what == GATEWAY_WISH_FORWARD && gateway_exchange_can_degrade(exchange))
        forward_instead(exchange, wish.upstream);
    else if (wish.what == GATEWAY_WISH_ANSWER)
        answer_wish(exchange, &wish);
    else
        return 0;
    return 1;
}

/* No server can be asked: what a policy, or the upstream's configuration, says for that. */
static void degrade(struct gateway_exchange *exchange, uint32_t upstream, uint32_t status, const char *why)
{
    const struct gateway_degraded *degraded = &exchange->generation->plan->upstreams[upstream].degraded;

    end_call(exchange, GATEWAY_ABANDONED);
    gateway_account_degrade(exchange, upstream, why);
    exchange->split.has_failed = 1;
    if (exchange->caching && gateway_caching_stale(exchange))
        return;
    if (degrade_by_policy(exchange, upstream, status, why))
        return;
    if (exchange->may_be_done) {
        gateway_exchange_refuse(exchange, status, why);
    } else if (degraded->upstream != GATEWAY_NO_UPSTREAM && gateway_exchange_can_degrade(exchange)) {
        forward_instead(exchange, degraded->upstream);
    } else if (degraded->body.size) {
        gateway_answer(exchange, degraded->status, degraded->type, degraded->body, (hf_slice){NULL, 0});
    } else {
        gateway_exchange_refuse(exchange, status, why);
    }
}

/* ---- Choosing a server ------------------------------------------------------------------------------------------- */

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

static struct gateway_choice choice_of(const struct gateway_exchange *exchange)
{
    struct gateway_view *view = exchange->view;

    return (struct gateway_choice){.set = exchange->set,
                                   .usable = view->set == exchange->set ? &view->usable : NULL,
                                   .worker = exchange->worker->index,
                                   .tried = exchange->tried,
                                   .has_key = exchange->has_key,
                                   .key = exchange->key,
                                   .now_us = gateway_worker_now(exchange->worker)};
}

/* 0: none can be picked. */
static int pick(struct gateway_exchange *exchange, uint32_t *ret_place, int32_t *ret_full)
{
    struct gateway_choice choice = choice_of(exchange);
    uint64_t bits[HF_BALANCER_SERVERS_MAX / 64];

    if (gateway_choose(&choice, ret_place, ret_full))
        return 1;
    if (*ret_full || !gateway_hold_probes(exchange, bits) || !gateway_choose_from(&choice, bits, ret_place))
        return 0;
    gateway_hold_probed(exchange, *ret_place);
    return 1;
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

/* For the breaker of the upstream it has failed, whatever is answered now. */
static void count_failed(struct gateway_exchange *exchange)
{
    if (exchange->is_counted)
        gateway_upstream_end(exchange->set, &exchange->upstream_call, GATEWAY_FAILED,
                             gateway_worker_now(exchange->worker));
    exchange->is_counted = 0;
}

/* The server must take some of what waits for it. */
static void expect_room(struct gateway_exchange *exchange)
{
    if (exchange->request_ended || exchange->is_tunnel)
        return;
    exchange->is_stuck = 1;
    gateway_worker_deadline(exchange->worker, &exchange->deadline,
                            gateway_worker_now(exchange->worker) + exchange->set->send_timeout_us);
}

/* It has, or is left. */
static void expect_no_room(struct gateway_exchange *exchange)
{
    if (exchange->is_stuck && !exchange->request_ended)
        gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
    exchange->is_stuck = 0;
}

static void no_server(struct gateway_exchange *exchange)
{
    if (gateway_hold_may(exchange) && gateway_hold(exchange))
        return;
    gateway_account_failed(exchange);
    if (was_tried(exchange) || exchange->last_status) {
        count_failed(exchange);
        degrade(exchange, exchange->upstream, exchange->last_status ? exchange->last_status : 502,
                "no server could answer");
    } else {
        degrade(exchange, exchange->upstream, 503, "no server is available; try again later");
    }
}

static void try_next(struct gateway_exchange *exchange)
{
    struct gateway_breaker_call call = {0};
    uint32_t place = 0;
    int32_t full = 0;

    expect_no_room(exchange);
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
    exchange->is_held = 0;
    if (exchange->due_us)
        gateway_worker_deadline(exchange->worker, &exchange->deadline, exchange->due_us);
    else
        gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
}

int32_t gateway_exchange_try_queued(struct gateway_exchange *exchange)
{
    struct gateway_breaker_call call = {0};
    uint32_t place = 0;
    int32_t full = 0;

    if (!gateway_hold_is_due(exchange))
        return 0;
    if (!follow_servers(exchange)) {
        leave_queue(exchange);
        gateway_exchange_refuse(exchange, 503, "no memory for the request; try again later");
        return 1;
    }
    if (!pick(exchange, &place, &full)) {
        if (full || (exchange->is_held && gateway_hold_may(exchange)))
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

/* ---- The way to the upstream ------------------------------------------------------------------------------------- */

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
    if (exchange->is_rerouted && !hf_slice_begins(target, route->path))
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
        if (gateway_network_has(&listener->trusted[i], &exchange->front->peer->address.any))
            return 1;
    return 0;
}

static int32_t make_head(struct gateway_exchange *exchange, hf_error *error)
{
    const struct gateway_route *route = exchange->route;
    struct gateway_forward how = {.edits = exchange->request_edits,
                                  .edit_count = exchange->request_edit_count,
                                  .client = exchange->request.client,
                                  .is_tls = exchange->front->peer->is_tls,
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

    const struct gateway_key *key = &exchange->set->key;
    const struct gateway_key client = {.of = GATEWAY_KEY_CLIENT};

    exchange->waits_for_body = 0;
    if (key->of == GATEWAY_KEY_POLICY) {
        exchange->has_key = gateway_policy_key(exchange, &exchange->key);
        key = &client;
    } else {
        exchange->has_key = 0;
    }
    if (!exchange->has_key)
        exchange->has_key = gateway_key_hash(key, &exchange->request, body, &exchange->arena, &exchange->key);
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
    if (gateway_choice_is_keyed(exchange->set) && exchange->set->key.of == GATEWAY_KEY_BODY &&
        !exchange->request_ended && exchange->body.size < GATEWAY_REPLAY_MAX) {
        exchange->waits_for_body = 1;
        return;
    }
    if (gateway_choice_is_keyed(exchange->set))
        read_key(exchange);
    try_next(exchange);
}

static void expect_answer(struct gateway_exchange *exchange)
{
    if (exchange->answered || !exchange->route)
        return;
    exchange->due_us = gateway_worker_now(exchange->worker) + exchange->route->timeout_us;
    if (!exchange->is_queued) /* else when it leaves the queue */
        gateway_worker_deadline(exchange->worker, &exchange->deadline, exchange->due_us);
}

void gateway_exchange_forward(struct gateway_exchange *exchange, uint32_t upstream)
{
    hf_error error = {0};

    hf_buffer_clear(&exchange->out);
    int32_t code = make_head(exchange, &error);
    if (code != HF_OK) {
        refuse_head(exchange, code, error.message);
        return;
    }
    if (exchange->request_ended)
        expect_answer(exchange);
    forward(exchange, upstream);
}

/* What a cache has for it may take the place of a server's answer. */
static void take_cached_route(struct gateway_exchange *exchange)
{
    uint32_t upstream = gateway_split_choose(exchange, exchange->upstream);

    if (!gateway_caching_begin(exchange, upstream))
        gateway_exchange_forward(exchange, upstream);
}

static void take_route(struct gateway_exchange *exchange)
{
    int forwards = exchange->upstream != GATEWAY_NO_UPSTREAM, is_cached = forwards && exchange->route->cache;
    hf_error error = {0};
    int32_t code = forwards && !is_cached ? make_head(exchange, &error) : gateway_forward_look(&exchange->head, &error);

    if (code != HF_OK) {
        refuse_head(exchange, code, error.message);
        return;
    }
    if (!forwards) {
        gateway_answer_route(exchange);
        return;
    }
    if (is_cached) {
        take_cached_route(exchange);
        return;
    }
    if (exchange->request_ended)
        expect_answer(exchange);
    forward(exchange, gateway_split_choose(exchange, exchange->upstream));
}

static void set_route(struct gateway_exchange *exchange, const struct gateway_route *route)
{
    exchange->route = route;
    exchange->upstream = route->upstream;
}

/* What the route's policy says comes before the route itself.  0: the request was answered. */
static int obey_policy(struct gateway_exchange *exchange)
{
    struct gateway_wish wish;

    gateway_policy_route(exchange, &wish);
    switch (wish.what) {
    case GATEWAY_WISH_FORWARD:
        exchange->upstream = wish.upstream;
        return 1;
    case GATEWAY_WISH_ROUTE: /* the edits are those of the new one already */
        gateway_exchange_leave_admission(exchange);
        set_route(exchange, &exchange->generation->plan->routes[wish.route]);
        exchange->is_rerouted = 1;
        return gateway_exchange_admit(exchange);
    case GATEWAY_WISH_ANSWER:
        if (wish.status == 0)
            wish.status = 200;
        answer_wish(exchange, &wish);
        return 0;
    default:
        return 1;
    }
}

static void begin_route(struct gateway_exchange *exchange, const struct gateway_route *route)
{
    set_route(exchange, route);
    exchange->request_edits = route->request_edits;
    exchange->request_edit_count = route->request_edit_count;
    exchange->response_edits = route->response_edits;
    exchange->response_edit_count = route->response_edit_count;
    if (gateway_exchange_admit(exchange) && (!route->has_policy || obey_policy(exchange)))
        take_route(exchange);
}

void gateway_exchange_start(struct gateway_exchange *exchange)
{
    const struct gateway_listener *listener = exchange->listener;
    const struct gateway_peer *peer = exchange->front->peer;
    hf_error error = {0};

    gateway_account_begin(exchange);
    exchange->body_maximum = listener->body_maximum;
    int32_t code = gateway_request_read(&exchange->head, (hf_slice){(const uint8_t *)peer->text, peer->text_size},
                                        &exchange->arena, &exchange->request, &error);
    if (code != HF_OK) {
        refuse_head(exchange, code, error.message);
        return;
    }
    int32_t rule = gateway_match(listener->rules, listener->rule_count, &exchange->request, &exchange->arena);
    if (rule < 0) {
        gateway_exchange_refuse(exchange, 404, "no route of the gateway matches the request");
        return;
    }
    begin_route(exchange, &exchange->generation->plan->routes[listener->routes[rule]]);
}

/* ---- The request's body ------------------------------------------------------------------------------------------ */

static int is_asked(const struct gateway_exchange *exchange)
{
    return exchange->link && exchange->link->state != LINK_CONNECTING;
}

static void send_body(struct gateway_exchange *exchange, hf_slice piece)
{
    struct gateway_link *link = exchange->link;

    link->calls->body(link, piece);
    if (link->waiting.size > GATEWAY_WAITING_MAX) {
        exchange->front->calls->pause(exchange->front);
        expect_room(exchange);
    }
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
        exchange->front->calls->pause(exchange->front);
        if (exchange->waits_for_body) {
            read_key(exchange);
            try_next(exchange);
        }
    }
}

static void end_request(struct gateway_exchange *exchange)
{
    exchange->link->calls->end(exchange->link, (hf_slice){exchange->trailers.data, exchange->trailers.size});
}

void gateway_exchange_body_ended(struct gateway_exchange *exchange)
{
    hf_error error = {0};

    if (exchange->trailers.size && gateway_forward_trailers(exchange->request_edits, exchange->request_edit_count,
                                                            &exchange->trailers, &error) != HF_OK) {
        gateway_exchange_refuse(exchange, 400, error.message);
        return;
    }
    exchange->request_ended = 1;
    expect_answer(exchange);
    if (is_asked(exchange)) {
        end_request(exchange);
    } else if (exchange->waits_for_body) {
        read_key(exchange);
        try_next(exchange);
    }
}

/* ---- A server is there
 * ----------------------------------------------------------------------------------------------- */

void gateway_exchange_link_ready(struct gateway_exchange *exchange)
{
    struct gateway_link *link = exchange->link;
    uint64_t try_us = exchange->route->try_timeout_us;

    link->body_out = exchange->head.body;
    link->calls->begin(link, (hf_slice){exchange->out.data, exchange->out.size},
                       (hf_slice){exchange->body.data, exchange->body.size});
    if (exchange->request_ended)
        end_request(exchange);
    if (try_us)
        gateway_link_expect(link, gateway_worker_now(exchange->worker) + try_us);
    if (link->waiting.size <= GATEWAY_WAITING_MAX)
        exchange->front->calls->resume(exchange->front);
    else
        expect_room(exchange);
}

void gateway_exchange_link_writable(struct gateway_exchange *exchange)
{
    if (exchange->link->waiting.size < GATEWAY_WAITING_MAX / 2) {
        expect_no_room(exchange);
        exchange->front->calls->resume(exchange->front);
    } else if (exchange->is_stuck) {
        expect_room(exchange);
    }
    if (exchange->is_tunnel)
        exchange->front->calls->touch(exchange->front);
}

void gateway_exchange_client_writable(struct gateway_exchange *exchange)
{
    if (exchange->outflow)
        gateway_outflow_writable(exchange);
    else if (exchange->link && exchange->front->waiting.size < GATEWAY_WAITING_MAX / 2)
        exchange->link->calls->resume(exchange->link);
}

/* ---- Another server ---------------------------------------------------------------------------------------------- */

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

/* Whether it may be asked for again.  `was_sent`: a server may have done what was asked. */
static int may_repeat(const struct gateway_exchange *exchange, int was_sent)
{
    if (exchange->answered || !exchange->body_kept || exchange->front->is_broken)
        return 0;
    return !was_sent || is_idempotent(exchange->head.method) ||
           exchange->route->retry_on & GATEWAY_RETRY_NON_IDEMPOTENT;
}

/* Whether another server may be asked now. */
static int may_ask_another(struct gateway_exchange *exchange, int was_sent)
{
    return may_repeat(exchange, was_sent) && exchange->tries < exchange->route->tries &&
           gateway_upstream_may_retry(exchange->set, gateway_worker_now(exchange->worker));
}

/* The same, after a failure for a reason of retry_on. */
static int may_retry(struct gateway_exchange *exchange, uint32_t bit, int was_sent)
{
    return (exchange->route->retry_on & bit) != 0 && may_ask_another(exchange, was_sent);
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
    count_failed(exchange);
    exchange->may_be_done = !is_idempotent(exchange->head.method);
    exchange->split.has_failed = 1;
    if (exchange->answered)
        gateway_exchange_refuse(exchange, status_of_failure(why), words_of_failure(why));
    else
        degrade(exchange, upstream, status_of_failure(why), words_of_failure(why));
}

void gateway_exchange_link_failed(struct gateway_exchange *exchange, int32_t why)
{
    static const uint32_t bits[] = {[LINK_ERROR] = GATEWAY_RETRY_ERROR,
                                    [LINK_TIMEOUT] = GATEWAY_RETRY_TIMEOUT,
                                    [LINK_INVALID] = GATEWAY_RETRY_INVALID_HEADER};
    struct gateway_front *front = exchange->front;
    struct gateway_link *link = exchange->link;
    int was_sent = link->has_sent;
    /* A server may close a connection that it has kept just when a request goes out on it: that is no failure, and does
     * not count as a try. */
    int was_stale = link->is_reused && !link->has_answered && why == LINK_ERROR;
    uint32_t place = link->place;

    if (exchange->is_tunnel) { /* the end of one side is the end of both */
        front->calls->flush(front);
        front->calls->end(front, (hf_slice){NULL, 0});
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
    } else if (exchange->route->retry_on & bits[why] && may_repeat(exchange, was_sent) && gateway_hold_may(exchange) &&
               gateway_hold(exchange)) {
        exchange->last_status = status_of_failure(why);
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
        degrade(exchange, exchange->upstream, exchange->last_status ? exchange->last_status : 503,
                exchange->is_held ? "no server could be reached for too long; try again later"
                                  : "all servers were busy for too long; try again later");
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
    exchange->link->calls->tunnel(exchange->link);
    exchange->front->calls->tunnel(exchange->front);
}

static int asked_to_upgrade(const struct gateway_exchange *exchange)
{
    return exchange->route->upgrades && exchange->head.body == HF_HTTP1_BODY_NONE &&
           hf_http1_header_find(&exchange->head, "upgrade").data != NULL;
}

/* 1: the policy has decided otherwise: another server is asked, or the client has another answer. */
static int obey_response_policy(struct gateway_exchange *exchange, const hf_http1_head *head)
{
    uint32_t status = head->status;
    struct gateway_wish wish;

    gateway_policy_response(exchange, head, &wish);
    if (wish.what == GATEWAY_WISH_RETRY && may_ask_another(exchange, 1)) {
        exchange->last_status = status;
        gateway_link_leave(exchange->link, outcome_of(exchange, status));
        try_next(exchange);
        return 1;
    }
    if (wish.what != GATEWAY_WISH_ANSWER)
        return 0;
    if (wish.status == 0)
        wish.status = status;
    exchange->split.has_failed |= status >= 500;
    gateway_link_leave(exchange->link, outcome_of(exchange, status));
    end_call(exchange, outcome_of(exchange, status));
    answer_wish(exchange, &wish);
    return 1;
}

/* 1: the answer does not go to the client: what is stored does, now or once the answer is complete. */
static int obey_cache(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes)
{
    uint32_t status = head->status;
    int32_t outcome = outcome_of(exchange, status);

    switch (gateway_caching_head(exchange, head, bytes)) {
    case GATEWAY_CACHING_VALIDATES:
        exchange->status = status;
        return 1;
    case GATEWAY_CACHING_REPLACES:
        exchange->split.has_failed |= status >= 500;
        gateway_link_leave(exchange->link, outcome);
        end_call(exchange, outcome);
        if (!gateway_caching_stale(exchange))
            gateway_exchange_refuse(exchange, 503, "no memory for the answer; try again later");
        return 1;
    default:
        return 0;
    }
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
        exchange->was_answered = 1;
        gateway_link_leave(exchange->link, GATEWAY_FAILED);
        try_next(exchange);
        return;
    }
    if (exchange->route->has_policy && status >= 200 && obey_response_policy(exchange, head))
        return;
    if (exchange->caching && status >= 200 && obey_cache(exchange, head, bytes))
        return;
    if (gateway_outflow_head(exchange, head, bytes, &error) != HF_OK) {
        gateway_exchange_link_failed(exchange, LINK_INVALID);
        return;
    }
    exchange->status = status;
    if (status < 200 && status != 101)
        return;
    exchange->answered = 1;
    exchange->split.head_us = gateway_worker_now(exchange->worker);
    gateway_deadline_clear(&exchange->worker->wheel, &exchange->deadline);
    if (status == 101)
        switch_protocols(exchange);
}

void gateway_exchange_answer_body(struct gateway_exchange *exchange, hf_slice piece)
{
    if (exchange->caching)
        gateway_caching_body(exchange, piece);
    if (exchange->outflow) {
        gateway_outflow_body(exchange, piece);
        return;
    }
    exchange->bytes_sent += piece.size;
    exchange->front->calls->body(exchange->front, piece);
}

void gateway_exchange_answer_flush(struct gateway_exchange *exchange)
{
    struct gateway_front *front = exchange->front;

    if (exchange->outflow) {
        gateway_outflow_flush(exchange);
        return;
    }
    front->calls->flush(front);
    if (exchange->is_tunnel)
        front->calls->touch(front);
    if (front->waiting.size > GATEWAY_WAITING_MAX && exchange->link)
        exchange->link->calls->pause(exchange->link);
}

/* What was gathered lies in memory of the link's, which stays until the callback's end. */
void gateway_exchange_answered(struct gateway_exchange *exchange)
{
    hf_buffer *trailers = &exchange->link->trailers;
    int32_t outcome = outcome_of(exchange, exchange->status);

    if (trailers->size &&
        gateway_forward_trailers(exchange->response_edits, exchange->response_edit_count, trailers, NULL) != HF_OK) {
        gateway_exchange_link_failed(exchange, LINK_INVALID);
        return;
    }
    gateway_account_served(exchange);
    gateway_link_leave(exchange->link, outcome);
    end_call(exchange, outcome);
    if (exchange->caching && gateway_caching_answered(exchange))
        return;
    if (exchange->outflow)
        gateway_outflow_end(exchange, (hf_slice){trailers->data, trailers->size});
    else
        exchange->front->calls->end(exchange->front, (hf_slice){trailers->data, trailers->size});
}
