/* A connection to a server: from the pool of its place, or new; an answer is read from it as it comes. */
#include "proxy/private.h"

#include "http2/http2.h"
#include "worker/announce.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);

static const struct gateway_link_calls calls;

static struct gateway_place *place_of(const struct gateway_link *link)
{
    return &link->set->places[link->place];
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

/* The client that alone may use links of the exchange; 0: all may. */
static uint64_t owner_of(const struct gateway_exchange *exchange)
{
    return exchange->set->send_proxy ? exchange->front->peer->id : 0;
}

void gateway_link_init(struct gateway_link *link, struct gateway_exchange *exchange, uint32_t place)
{
    link->calls = &calls;
    link->worker = exchange->worker;
    link->set = exchange->set;
    link->owner = owner_of(exchange);
    link->server = exchange->set->places[place].server;
    link->place = place;
    link->socket.fd = -1;
    link->deadline.passed = overdue;
    hf_buffer_init(&link->waiting, UINT64_MAX);
    hf_buffer_init(&link->partial, GATEWAY_ANSWER_HEAD_MAX + GATEWAY_SCRATCH_SIZE);
    hf_buffer_init(&link->trailers, GATEWAY_HEAD_OUT_MAX);
    link->chunked.trailers = &link->trailers;
    gateway_server_hold(link->server);
    gateway_server_set_hold(link->set);
}

struct gateway_link *gateway_link_create(struct gateway_exchange *exchange, uint32_t place)
{
    struct gateway_link *link = calloc(1, sizeof *link);

    if (!link)
        return NULL;
    gateway_link_init(link, exchange, place);
    link->is_connection = 1;
    atomic_fetch_add_explicit(&link->server->connections, 1, memory_order_relaxed);
    return link;
}

void gateway_link_bury(struct gateway_link *link)
{
    struct gateway_worker *worker = link->worker;

    if (link->is_dead)
        return;
    link->is_dead = 1;
    link->exchange = NULL;
    gateway_deadline_clear(&worker->wheel, &link->deadline);
    gateway_socket_close(&link->socket);
    gateway_server_set_release(link->set);
    atomic_fetch_sub_explicit(&link->server->connections, (unsigned)link->is_connection, memory_order_relaxed);
    gateway_server_release(link->server);
    link->set = NULL;
    link->server = NULL;
    hf_buffer_done(&link->waiting);
    link->next = worker->dead_links;
    worker->dead_links = link;
}

static void take_out(struct gateway_link *link)
{
    struct gateway_view *view = link->view;

    if (link->previous)
        link->previous->next = link->next;
    else
        view->idle[link->place] = link->next;
    if (link->next)
        link->next->previous = link->previous;
    view->idle_count[link->place]--;
    link->next = link->previous = NULL;
    link->view = NULL;
}

void gateway_link_destroy(struct gateway_link *link)
{
    if (gateway_socket_is_tls(&link->socket)) /* in order; plain connections have no words for that */
        gateway_socket_end(&link->socket);
    take_out(link);
    gateway_link_bury(link);
}

void gateway_links_disown(struct gateway_worker *worker, uint64_t owner)
{
    struct gateway_link *next;

    for (struct gateway_view *view = worker->views; view; view = view->next)
        for (uint32_t i = 0; i < view->set->count; i++)
            for (struct gateway_link *link = view->idle[i]; link; link = next) {
                next = link->next;
                if (link->owner == owner)
                    gateway_link_destroy(link);
            }
}

/* ---- Kept for later ---------------------------------------------------------------------------------------------- */

static int find_place(const struct gateway_view *view, const struct gateway_server *server, uint32_t *ret_place)
{
    for (uint32_t i = 0; i < view->set->count; i++)
        if (view->set->places[i].server == server) {
            *ret_place = i;
            return 1;
        }
    return 0;
}

/* 0: it is not to be kept. */
static int keep(struct gateway_link *link, struct gateway_view *view)
{
    uint32_t place = link->place;
    int32_t address = (int32_t)link->address;

    if (!link->keeps || !link->is_complete || link->is_broken || link->waiting.size || link->worker->is_draining)
        return 0;
    if (view->set != link->set &&
        (!gateway_tls_client_is_like(view->set->tls, link->set->tls) || !find_place(view, link->server, &place)))
        return 0;
    if (view->idle_count[place] >= view->set->idle_maximum || view->set->places[place].is_draining)
        return 0;
    if (view->set != link->set)
        address =
            gateway_addresses_find(&view->set->places[place].addresses, &place_of(link)->addresses, link->address);
    if (address < 0) /* the server is no longer there */
        return 0;
    link->address = (uint32_t)address;
    gateway_server_set_release(link->set);
    link->set = NULL;
    link->exchange = NULL;
    link->view = view;
    link->place = place;
    link->state = LINK_IDLE;
    link->next = view->idle[place];
    if (link->next)
        link->next->previous = link;
    view->idle[place] = link;
    view->idle_count[place]++;
    hf_buffer_done(&link->waiting); /* idle ones are many */
    gateway_worker_deadline(link->worker, &link->deadline,
                            gateway_worker_now(link->worker) + view->set->idle_timeout_us);
    gateway_socket_want(&link->socket, HF_WATCH_READ);
    return 1;
}

void gateway_link_leave(struct gateway_link *link, int32_t outcome)
{
    struct gateway_exchange *exchange = link->exchange;
    struct gateway_view *view = exchange->view;

    if (outcome != GATEWAY_ABANDONED && link->state != LINK_TUNNEL) {
        atomic_fetch_add_explicit(&link->server->timed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&link->server->timed_us, gateway_worker_now(link->worker) - link->picked_us,
                                  memory_order_relaxed);
    }
    if (view->set == link->set) /* else nobody asks that balancer any more */
        gateway_choice_learn(link->set, link->worker->index, link->place, outcome, link->picked_us,
                             gateway_worker_now(link->worker));
    gateway_server_end(link->set, link->place, &link->call, outcome, gateway_worker_now(link->worker));
    if (link->owner) { /* it goes when the client does */
        exchange->front->peer->owns_links = 1;
        link->keeps &= !exchange->front->peer->is_gone;
    }
    exchange->link = NULL;
    link->exchange = NULL;
    link->worker->has_room |= view->queued > 0;
    link->calls->left(link, view, exchange->request_ended);
}

static void left(struct gateway_link *link, struct gateway_view *view, int32_t whole)
{
    if (!whole || !keep(link, view))
        gateway_link_bury(link);
}

/* ---- Failing ----------------------------------------------------------------------------------------------------- */

static void fail(struct gateway_link *link, int32_t why)
{
    if (link->carrier)
        gateway_http2_carrier_failed(link, why);
    else
        gateway_exchange_link_failed(link->exchange, why);
}

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_link *link = (struct gateway_link *)((char *)deadline - offsetof(struct gateway_link, deadline));

    if (link->state == LINK_IDLE)
        gateway_link_destroy(link);
    else if (link->carrier && link->state != LINK_CONNECTING)
        gateway_http2_carrier_overdue(link);
    else
        fail(link, LINK_TIMEOUT);
}

void gateway_link_expect(struct gateway_link *link, uint64_t due_us)
{
    if (due_us)
        gateway_worker_deadline(link->worker, &link->deadline, due_us);
    else
        gateway_deadline_clear(&link->worker->wheel, &link->deadline);
}

static void expect_more(struct gateway_link *link)
{
    gateway_link_expect(link, gateway_worker_now(link->worker) + link->set->receive_timeout_us);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

void gateway_link_want(struct gateway_link *link)
{
    gateway_socket_want(&link->socket, (link->is_paused ? 0u : (uint32_t)HF_WATCH_READ) |
                                           (link->waiting.size ? (uint32_t)HF_WATCH_WRITE : 0u));
}

static void break_off(struct gateway_link *link)
{
    link->is_broken = 1;
    link->keeps = 0;
    hf_buffer_clear(&link->waiting);
}

static void keep_waiting(struct gateway_link *link, const struct iovec *pieces, int32_t count, uint64_t sent)
{
    for (int32_t i = 0; i < count && !link->is_broken; i++) {
        uint64_t part = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;

        sent -= part;
        if (hf_buffer_append(&link->waiting, (const uint8_t *)pieces[i].iov_base + part, pieces[i].iov_len - part) !=
            HF_OK)
            break_off(link); /* its answer will not come, or not be whole */
    }
}

static void send_pieces(struct gateway_link *link, struct iovec *pieces, int32_t count)
{
    int64_t sent = 0;

    if (link->is_broken)
        return;
    if (link->waiting.size == 0)
        sent = gateway_socket_write(&link->socket, pieces, count);
    if (sent == GATEWAY_BROKEN) {
        break_off(link);
        return;
    }
    link->has_sent |= sent > 0;
    keep_waiting(link, pieces, count, sent > 0 ? (uint64_t)sent : 0);
    if (link->waiting.size)
        gateway_link_want(link);
}

static void send_waiting(struct gateway_link *link)
{
    struct iovec piece = {link->waiting.data, link->waiting.size};
    int64_t sent = link->waiting.size ? gateway_socket_write(&link->socket, &piece, 1) : 0;

    if (sent == GATEWAY_BROKEN)
        break_off(link);
    else if (sent > 0)
        hf_buffer_consume(&link->waiting, (uint64_t)sent);
    if (link->waiting.size == 0)
        hf_buffer_done(&link->waiting);
    link->has_sent |= sent > 0;
    gateway_link_want(link);
    if (sent > 0)
        gateway_exchange_link_writable(link->exchange);
}

static void send_body(struct gateway_link *link, hf_slice piece)
{
    char frame[24];
    struct iovec pieces[3] = {{frame, 0}, {(void *)(uintptr_t)piece.data, piece.size}, {(void *)(uintptr_t) "\r\n", 2}};

    if (link->body_out == HF_HTTP1_BODY_CHUNKED && link->state != LINK_TUNNEL) {
        pieces[0].iov_len = (size_t)snprintf(frame, sizeof frame, "%llx\r\n", (unsigned long long)piece.size);
        send_pieces(link, pieces, 3);
    } else {
        send_pieces(link, &pieces[1], 1);
    }
}

static void begin_request(struct gateway_link *link, hf_slice head, hf_slice body)
{
    struct iovec pieces[2] = {{(void *)(uintptr_t)head.data, head.size}, {(void *)(uintptr_t)body.data, body.size}};
    int is_plain = body.size && link->body_out != HF_HTTP1_BODY_CHUNKED;

    send_pieces(link, pieces, is_plain ? 2 : 1);
    if (body.size && !is_plain)
        send_body(link, body);
}

static void end_request(struct gateway_link *link, hf_slice trailers)
{
    struct iovec pieces[3] = {{(void *)(uintptr_t) "0\r\n", 3},
                              {(void *)(uintptr_t)trailers.data, trailers.size},
                              {(void *)(uintptr_t) "\r\n", 2}};

    if (link->body_out == HF_HTTP1_BODY_CHUNKED)
        send_pieces(link, pieces, 3);
}

static void pause_reading(struct gateway_link *link)
{
    if (link->is_paused)
        return;
    link->is_paused = 1;
    gateway_link_expect(link, 0); /* it is the client that is slow */
    gateway_link_want(link);
}

static void resume(struct gateway_link *link)
{
    if (!link->is_paused)
        return;
    link->is_paused = 0;
    expect_more(link);
    gateway_link_want(link);
}

static void tunnel(struct gateway_link *link)
{
    link->state = LINK_TUNNEL;
    link->keeps = 0;
    gateway_link_expect(link, 0); /* the client's connection has the time-out of both */
}

/* The server learns whose requests these are. */
static void announce(struct gateway_link *link)
{
    const struct gateway_peer *peer = link->exchange->front->peer;
    uint8_t header[GATEWAY_PROXY_WRITE_MAX];
    struct iovec piece = {
        header, gateway_announce(header, link->set->send_proxy, peer->fd, &peer->address.any, peer->destination)};

    send_pieces(link, &piece, 1);
    link->has_sent = 0; /* nothing of a request */
}

static const struct gateway_link_calls calls = {.begin = begin_request,
                                                .body = send_body,
                                                .end = end_request,
                                                .pause = pause_reading,
                                                .resume = resume,
                                                .tunnel = tunnel,
                                                .left = left};

/* ---- Connecting -------------------------------------------------------------------------------------------------- */

static int32_t connect_to(struct gateway_link *link, uint32_t address, hf_error *error)
{
    const struct gateway_addresses *addresses = &place_of(link)->addresses;
    const struct sockaddr *at = (const struct sockaddr *)&addresses->items[address];
    int on = 1, fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "no socket for the server '%s'", link->server->name);
    if (at->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* it is only slower without */
    if (connect(fd, at, addresses->sizes[address]) != 0 && errno != EINPROGRESS) {
        hf_error_set_errno(error, HF_EIO, errno, "no connection to the server '%s'", link->server->name);
        close(fd);
        return HF_EIO;
    }
    link->address = address;
    link->state = LINK_CONNECTING;
    gateway_link_expect(link, gateway_worker_now(link->worker) + link->set->connect_timeout_us);
    return gateway_socket_open(&link->socket, link->worker->loops, link->worker->loop, fd, HF_WATCH_WRITE, ready, link,
                               error);
}

/* The first of the place's addresses, from `address` on, that a connection can be begun to. */
static int32_t connect_from(struct gateway_link *link, uint32_t address, hf_error *error)
{
    int32_t code = hf_error_set(error, HF_EIO, "the server '%s' has no address", link->server->name);

    for (; address < place_of(link)->addresses.count; address++) {
        code = connect_to(link, address, error);
        if (code == HF_OK)
            return HF_OK;
    }
    return code;
}

int32_t gateway_link_connect(struct gateway_link *link, hf_error *error)
{
    return connect_from(link, 0, error);
}

static void connected(struct gateway_link *link)
{
    int failed = 0;
    socklen_t size = sizeof failed;

    if (getsockopt(link->socket.fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed) {
        gateway_socket_close(&link->socket);
        if (connect_from(link, link->address + 1, NULL) != HF_OK)
            fail(link, LINK_ERROR);
        return;
    }
    if (link->owner && !gateway_socket_is_tls(&link->socket))
        announce(link);                                            /* before TLS, which is between us and the server */
    if (link->set->tls && !gateway_socket_is_tls(&link->socket)) { /* connect_timeout is for both */
        if (gateway_socket_ask_tls(&link->socket, link->worker->tls, link->set->tls, link->place, NULL) != HF_OK)
            fail(link, LINK_ERROR);
        return;
    }
    if (!gateway_socket_is_open(&link->socket)) {
        fail(link, LINK_ERROR);
        return;
    }
    link->state = LINK_HEAD;
    gateway_link_expect(link, 0);
    gateway_link_want(link);
    if (link->carrier)
        gateway_http2_connected(link);
    else
        gateway_exchange_link_ready(link->exchange);
}

static struct gateway_link *take_idle(struct gateway_exchange *exchange, uint32_t place)
{
    uint64_t owner = owner_of(exchange);
    struct gateway_view *view = exchange->view;
    struct gateway_link *link = view->set == exchange->set ? view->idle[place] : NULL;

    while (link && link->owner != owner)
        link = link->next;
    if (!link)
        return NULL;
    take_out(link);
    link->set = exchange->set;
    gateway_server_set_hold(link->set);
    link->is_reused = 1;
    link->state = LINK_HEAD;
    link->keeps = link->is_complete = link->has_sent = link->has_answered = 0;
    link->chunked = (hf_http1_chunked){.trailers = &link->trailers};
    return link;
}

int32_t gateway_link_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                          hf_error *error)
{
    if (exchange->set->http2)
        return gateway_http2_open(exchange, place, call, error);

    struct gateway_link *link = take_idle(exchange, place);
    int32_t is_new = link == NULL, code = HF_OK;

    if (is_new)
        link = gateway_link_create(exchange, place);
    if (!link)
        return hf_error_set(error, HF_ENOMEM, "no memory for a connection to a server");
    link->call = *call;
    link->picked_us = gateway_worker_now(link->worker);
    if (is_new)
        code = gateway_link_connect(link, error);
    if (code != HF_OK) {
        gateway_link_bury(link);
        return code;
    }
    link->exchange = exchange;
    exchange->link = link;
    if (!is_new)
        gateway_exchange_link_ready(exchange);
    return HF_OK;
}

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

static void complete(struct gateway_link *link)
{
    link->is_complete = 1;
    gateway_exchange_answered(link->exchange);
}

static void take_chunks(struct gateway_link *link, hf_slice bytes)
{
    while (link->exchange) {
        uint64_t taken = 0;
        hf_slice data = {NULL, 0};
        int32_t result = hf_http1_chunked_next(&link->chunked, bytes, &taken, &data, NULL);

        if (result < 0) {
            fail(link, LINK_INVALID);
            return;
        }
        if (data.size)
            gateway_exchange_answer_body(link->exchange, data);
        bytes = (hf_slice){bytes.data + taken, bytes.size - taken};
        if (result == 1) {
            link->keeps &= bytes.size == 0;
            complete(link);
            return;
        }
        if (bytes.size == 0)
            return;
    }
}

static void take_body(struct gateway_link *link, hf_slice bytes)
{
    uint64_t size = bytes.size < link->body_left ? bytes.size : link->body_left;

    switch (link->body) {
    case HF_HTTP1_BODY_CHUNKED:
        take_chunks(link, bytes);
        return;
    case HF_HTTP1_BODY_UNTIL_CLOSE:
        if (bytes.size) /* an empty chunk would be the last one */
            gateway_exchange_answer_body(link->exchange, bytes);
        return;
    default: /* a length, of 0 where there is no body */
        link->keeps &= size == bytes.size;
        link->body_left -= size;
        if (size)
            gateway_exchange_answer_body(link->exchange, (hf_slice){bytes.data, size});
        if (link->body_left == 0)
            complete(link);
    }
}

/* Reads a head at the front of the bytes: its size; 0: not all of it is there, or the link is done with. */
static uint64_t take_head(struct gateway_link *link, hf_slice bytes)
{
    hf_http1_head *head = &link->worker->answer;
    int64_t size = hf_http1_parse_response(bytes, link->exchange->head.method, head, NULL);

    if (size < 0 || (size == 0 && bytes.size >= GATEWAY_ANSWER_HEAD_MAX)) {
        fail(link, LINK_INVALID);
        return 0;
    }
    if (size == 0)
        return 0;
    if (head->status >= 200) {
        link->state = LINK_BODY;
        link->keeps = head->keep_alive && !link->is_broken;
        link->body = head->body;
        link->body_left = head->body == HF_HTTP1_BODY_LENGTH ? head->content_length : 0;
    }
    gateway_exchange_head(link->exchange, head, (hf_slice){bytes.data, (uint64_t)size});
    return link->exchange ? (uint64_t)size : 0;
}

/* Puts by what is left of a head that is not complete. */
static void put_by(struct gateway_link *link, hf_slice bytes, int is_partial)
{
    if (is_partial)
        hf_buffer_consume(&link->partial, link->partial.size - bytes.size);
    else if (hf_buffer_append(&link->partial, bytes.data, bytes.size) != HF_OK)
        fail(link, LINK_ERROR);
}

static void take_bytes(struct gateway_link *link, hf_slice bytes)
{
    int is_partial = link->partial.size > 0;

    if (is_partial) {
        if (hf_buffer_append(&link->partial, bytes.data, bytes.size) != HF_OK) {
            fail(link, LINK_ERROR);
            return;
        }
        bytes = (hf_slice){link->partial.data, link->partial.size};
    }
    while (link->exchange && link->state == LINK_HEAD) {
        uint64_t size = take_head(link, bytes);

        if (!link->exchange)
            return;
        if (size == 0) {
            put_by(link, bytes, is_partial);
            return;
        }
        bytes = (hf_slice){bytes.data + size, bytes.size - size};
        if (bytes.size == 0 && link->state == LINK_HEAD)
            break;
    }
    if (link->exchange && link->state == LINK_BODY)
        take_body(link, bytes);
    else if (link->exchange && link->state == LINK_TUNNEL && bytes.size)
        gateway_exchange_answer_body(link->exchange, bytes);
    if (link->exchange)
        gateway_exchange_answer_flush(link->exchange);
    if (link->state == LINK_IDLE) { /* of which there are many */
        hf_buffer_done(&link->partial);
        hf_buffer_done(&link->trailers);
    } else if (!link->is_dead) {
        hf_buffer_clear(&link->partial);
    }
}

/* The server sends no more. */
static void ended(struct gateway_link *link)
{
    link->keeps = 0;
    if (link->state == LINK_TUNNEL || (link->state == LINK_BODY && link->body == HF_HTTP1_BODY_UNTIL_CLOSE))
        complete(link);
    else
        fail(link, LINK_ERROR);
}

/* On an idle connection only TLS itself may have something to say, such as a session for the next one. */
static void receive_idle(struct gateway_link *link)
{
    struct gateway_worker *worker = link->worker;

    if (gateway_socket_read(&link->socket, worker->scratch, sizeof worker->scratch) != GATEWAY_AGAIN)
        gateway_link_destroy(link); /* it ends, or sends what nobody has asked for */
}

static void receive(struct gateway_link *link)
{
    struct gateway_worker *worker = link->worker;

    do {
        int64_t got = gateway_socket_read(&link->socket, worker->scratch, sizeof worker->scratch);

        if (got == GATEWAY_AGAIN)
            return;
        if (got == 0) {
            ended(link);
            return;
        }
        if (got == GATEWAY_BROKEN) {
            fail(link, LINK_ERROR);
            return;
        }
        link->has_answered = 1;
        if (link->state == LINK_BODY)
            expect_more(link);
        take_bytes(link, (hf_slice){worker->scratch, (uint64_t)got});
    } while (link->exchange && !link->is_paused && gateway_socket_has_more(&link->socket));
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_link *link = arg;
    struct gateway_worker *worker = link->worker;

    (void)fd;
    if (link->state == LINK_IDLE) {
        receive_idle(link);
    } else if (link->state == LINK_CONNECTING) {
        connected(link);
    } else if (link->carrier) {
        gateway_http2_carrier_ready(link, events);
    } else {
        if (events & HF_WATCH_WRITE)
            send_waiting(link);
        if (events & HF_WATCH_READ && link->exchange && !link->is_dead)
            receive(link);
    }
    gateway_worker_settle(worker);
}
