/* A connection to a server: from the pool of its place, or new; an answer is read from it as it comes. */
#include "proxy/private.h"

#include <holdfast/lib/error.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);

static struct gateway_place *place_of(const struct gateway_link *link)
{
    return &link->set->places[link->place];
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

static struct gateway_link *create(struct gateway_exchange *exchange, uint32_t place)
{
    struct gateway_link *link = calloc(1, sizeof *link);

    if (!link)
        return NULL;
    link->worker = exchange->worker;
    link->set = exchange->set;
    link->server = exchange->set->places[place].server;
    link->place = place;
    link->socket.fd = -1;
    link->deadline.passed = overdue;
    hf_buffer_init(&link->waiting, UINT64_MAX);
    hf_buffer_init(&link->partial, GATEWAY_ANSWER_HEAD_MAX + GATEWAY_SCRATCH_SIZE);
    gateway_server_hold(link->server);
    gateway_server_set_hold(link->set);
    atomic_fetch_add_explicit(&link->server->connections, 1, memory_order_relaxed);
    return link;
}

/* Closed at once, freed when the callback ends. */
static void bury(struct gateway_link *link)
{
    struct gateway_worker *worker = link->worker;

    if (link->is_dead)
        return;
    link->is_dead = 1;
    link->exchange = NULL;
    gateway_deadline_clear(&worker->wheel, &link->deadline);
    gateway_socket_close(&link->socket);
    gateway_server_set_release(link->set);
    atomic_fetch_sub_explicit(&link->server->connections, 1, memory_order_relaxed);
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
    take_out(link);
    bury(link);
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

    if (!link->keeps || !link->is_complete || link->is_broken || link->waiting.size || link->worker->is_draining)
        return 0;
    if (view->set != link->set && !find_place(view, link->server, &place))
        return 0;
    if (view->idle_count[place] >= view->set->idle_maximum || view->set->places[place].is_draining)
        return 0;
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
    hf_buffer_done(&link->partial); /* idle ones are many */
    hf_buffer_done(&link->waiting);
    gateway_worker_deadline(link->worker, &link->deadline,
                            gateway_worker_now(link->worker) + view->set->idle_timeout_us);
    gateway_socket_want(&link->socket, HF_WATCH_READ);
    return 1;
}

/* The balancer learns how it went, if the place still means the same to it. */
static void tell_balancer(const struct gateway_link *link, const struct gateway_view *view, int32_t outcome)
{
    const struct gateway_server_set *set = link->set;
    const struct gateway_pools *pools = &set->pools[link->worker->index];
    uint64_t now_us = gateway_worker_now(link->worker);
    hf_balancer_result result = {.size = sizeof result,
                                 .failed = outcome == GATEWAY_FAILED,
                                 .latency_us = now_us - link->picked_us,
                                 .now_us = now_us};

    if (!set->balancer->ended || view->set != set || outcome == GATEWAY_ABANDONED)
        return;
    if (link->place < set->backup_at)
        set->balancer->ended(pools->regular, link->place, &result);
    else
        set->balancer->ended(pools->backup, link->place - set->backup_at, &result);
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
    tell_balancer(link, view, outcome);
    gateway_server_end(link->set, link->place, &link->call, outcome, gateway_worker_now(link->worker));
    exchange->link = NULL;
    link->exchange = NULL;
    link->worker->has_room |= view->queued > 0;
    if (!exchange->request_ended || !keep(link, view))
        bury(link);
}

/* ---- Failing ------------------------------------------------------------------------------------------------------
 */

static void fail(struct gateway_link *link, int32_t why)
{
    gateway_exchange_link_failed(link->exchange, why);
}

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_link *link = (struct gateway_link *)((char *)deadline - offsetof(struct gateway_link, deadline));

    if (link->state == LINK_IDLE)
        gateway_link_destroy(link);
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

/* ---- Sending ------------------------------------------------------------------------------------------------------
 */

static void want(struct gateway_link *link)
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

void gateway_link_send(struct gateway_link *link, struct iovec *pieces, int32_t count)
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
        want(link);
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
    want(link);
    if (sent > 0)
        gateway_exchange_link_writable(link->exchange);
}

void gateway_link_pause(struct gateway_link *link)
{
    if (link->is_paused)
        return;
    link->is_paused = 1;
    gateway_link_expect(link, 0); /* it is the client that is slow */
    want(link);
}

void gateway_link_resume(struct gateway_link *link)
{
    if (!link->is_paused)
        return;
    link->is_paused = 0;
    expect_more(link);
    want(link);
}

void gateway_link_tunnel(struct gateway_link *link)
{
    link->state = LINK_TUNNEL;
    link->keeps = 0;
    gateway_link_expect(link, 0); /* the client's connection has the time-out of both */
}

/* ---- Connecting ---------------------------------------------------------------------------------------------------
 */

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
    link->state = LINK_HEAD;
    gateway_link_expect(link, 0);
    want(link);
    gateway_exchange_link_ready(link->exchange);
}

static struct gateway_link *take_idle(struct gateway_exchange *exchange, uint32_t place)
{
    struct gateway_view *view = exchange->view;
    struct gateway_link *link = view->set == exchange->set ? view->idle[place] : NULL;

    if (!link)
        return NULL;
    take_out(link);
    link->set = exchange->set;
    gateway_server_set_hold(link->set);
    link->is_reused = 1;
    link->state = LINK_HEAD;
    link->keeps = link->is_complete = link->has_sent = link->has_answered = 0;
    link->chunked = (hf_http1_chunked){0};
    return link;
}

int32_t gateway_link_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                          hf_error *error)
{
    struct gateway_link *link = take_idle(exchange, place);
    int32_t is_new = link == NULL, code = HF_OK;

    if (is_new)
        link = create(exchange, place);
    if (!link)
        return hf_error_set(error, HF_ENOMEM, "no memory for a connection to a server");
    link->call = *call;
    link->picked_us = gateway_worker_now(link->worker);
    if (is_new)
        code = connect_from(link, 0, error);
    if (code != HF_OK) {
        bury(link);
        return code;
    }
    link->exchange = exchange;
    exchange->link = link;
    if (!is_new)
        gateway_exchange_link_ready(exchange);
    return HF_OK;
}

/* ---- Receiving ----------------------------------------------------------------------------------------------------
 */

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
    if (!link->is_dead)
        hf_buffer_clear(&link->partial);
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
    if (link->state == LINK_IDLE) { /* it ends, or sends what nobody has asked for */
        gateway_link_destroy(link);
    } else if (link->state == LINK_CONNECTING) {
        connected(link);
    } else {
        if (events & HF_WATCH_WRITE)
            send_waiting(link);
        if (events & HF_WATCH_READ && link->exchange && !link->is_dead)
            receive(link);
    }
    gateway_worker_settle(worker);
}
