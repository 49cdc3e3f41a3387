/* A client's connection, HTTP/1.1: requests are read from it one after the other, answers go out as they come. */
#include "proxy/private.h"

#include "http2/http2.h"
#include "tls/server.h"
#include "wire/proxy_protocol.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINGER_US = 2000000, /* for what a client still sends when all is said */
    LINGER_MAX = 1 << 20,
    JOINED_MAX = 4096, /* bytes of a piece that is copied behind the head before it */
    DRAIN_US = 1000000 /* for a request that is on its way when the worker begins to drain */
};

static void ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);
static void next_request(struct gateway_client *client);

static const struct gateway_front_calls calls;

static struct gateway_client *client_of(struct gateway_front *front)
{
    return (struct gateway_client *)front;
}

static const struct gateway_listener *listener_of(const struct gateway_client *client)
{
    return client->port->listener;
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

static void link_in(struct gateway_client *client)
{
    client->next = client->port->clients;
    if (client->next)
        client->next->previous = client;
    client->port->clients = client;
    client->port->client_count++;
    gateway_count(&client->port->meter->cells[client->worker->index].accepted, 1);
}

static void link_out(struct gateway_client *client)
{
    if (client->previous)
        client->previous->next = client->next;
    else
        client->port->clients = client->next;
    if (client->next)
        client->next->previous = client->previous;
    client->port->client_count--;
    gateway_count(&client->port->meter->cells[client->worker->index].closed, 1);
}

static void expect(struct gateway_client *client, uint64_t within_us)
{
    gateway_worker_deadline(client->worker, &client->deadline, gateway_worker_now(client->worker) + within_us);
}

/* How long a request is awaited: not for long where it is the last one, perhaps of a worker that drains. */
static uint64_t patience(const struct gateway_client *client, uint64_t usual_us)
{
    return client->closes && usual_us > DRAIN_US ? DRAIN_US : usual_us;
}

static void set_address(struct gateway_client *client, const struct sockaddr_storage *address)
{
    memcpy(&client->peer.address, address, sizeof client->peer.address);
    client->peer.text_size = gateway_address_text(&client->peer.address.any, client->peer.text);
}

/* Where the listener has TLS; `first` was read already. */
static int32_t begin_tls(struct gateway_client *client, hf_slice first)
{
    struct gateway_tls_server *tls = client->port->listener->tls;

    client->peer.is_tls = tls != NULL;
    return tls ? gateway_socket_serve_tls(&client->socket, client->worker->tls, tls, first, NULL) : HF_OK;
}

void gateway_client_accept(struct gateway_port *port, int32_t fd, const struct sockaddr_storage *address)
{
    struct gateway_worker *worker = port->worker;
    struct gateway_client *client = calloc(1, sizeof *client);
    int on = 1;

    if (!client) {
        (void)close(fd);
        return;
    }
    client->front.calls = &calls;
    client->front.peer = &client->peer;
    client->worker = worker;
    client->peer.id = ++worker->last_client;
    client->peer.fd = fd;
    client->port = port;
    client->state = port->listener->proxy_protocol ? CLIENT_PROXY_HEADER : CLIENT_HEAD;
    client->deadline.passed = overdue;
    hf_buffer_init(&client->front.waiting, UINT64_MAX);
    set_address(client, address);
    if (address->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* it is only slower without */
    if (gateway_socket_open(&client->socket, worker->loops, worker->loop, fd, HF_WATCH_READ, ready, client, NULL) !=
        HF_OK) {
        free(client);
        return;
    }
    if (client->state == CLIENT_HEAD && begin_tls(client, (hf_slice){NULL, 0}) != HF_OK) {
        gateway_socket_close(&client->socket);
        free(client);
        return;
    }
    link_in(client);
    expect(client, port->listener->head_timeout_us);
}

void gateway_client_destroy(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;

    if (client->is_dead)
        return;
    client->is_dead = 1;
    if (client->exchange)
        gateway_exchange_over(client->exchange);
    client->exchange = NULL;
    if (client->http2)
        gateway_http2_close(client);
    if (client->peer.owns_links)
        gateway_links_disown(worker, client->peer.id);
    free(client->peer.destination);
    client->peer.destination = NULL;
    client->peer.is_gone = 1;
    link_out(client);
    gateway_deadline_clear(&worker->wheel, &client->deadline);
    gateway_socket_close(&client->socket);
    gateway_worker_give_back(worker, client->block);
    client->block = NULL;
    hf_buffer_done(&client->front.waiting);
    client->next = worker->dead_clients;
    worker->dead_clients = client;
}

/* ---- What to be called for --------------------------------------------------------------------------------------- */

/* Whoever asks and does not read what is answered is asked for nothing more, however much was sent at once. */
static int is_behind(const struct gateway_client *client)
{
    return client->state == CLIENT_HEAD && client->front.waiting.size > GATEWAY_WAITING_MAX;
}

static void want(struct gateway_client *client)
{
    int reads = !client->has_ended && !client->is_paused && !is_behind(client) &&
                !(client->state == CLIENT_WAITS && client->block && client->block->size == sizeof client->block->bytes);

    gateway_socket_want(&client->socket, (reads ? (uint32_t)HF_WATCH_READ : 0u) |
                                             (client->front.waiting.size ? (uint32_t)HF_WATCH_WRITE : 0u));
}

static void make_due(struct gateway_client *client)
{
    if (client->is_due)
        return;
    client->is_due = 1;
    client->next_due = client->worker->due_clients;
    client->worker->due_clients = client;
}

static void break_off(struct gateway_client *client)
{
    if (client->front.is_broken)
        return;
    client->front.is_broken = 1;
    hf_buffer_done(&client->front.waiting);
    make_due(client);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static void keep_waiting(struct gateway_client *client, const struct iovec *pieces, uint32_t count, uint64_t sent)
{
    for (uint32_t i = 0; i < count && !client->front.is_broken; i++) {
        uint64_t part = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;

        sent -= part;
        if (hf_buffer_append(&client->front.waiting, (const uint8_t *)pieces[i].iov_base + part,
                             pieces[i].iov_len - part) != HF_OK)
            break_off(client);
    }
}

static void send_pieces(struct gateway_client *client, const struct iovec *pieces, uint32_t count)
{
    int64_t sent = 0;

    if (client->front.is_broken || count == 0)
        return;
    if (client->front.waiting.size == 0)
        sent = gateway_socket_write(&client->socket, pieces, (int32_t)count);
    if (sent == GATEWAY_BROKEN) {
        break_off(client);
        return;
    }
    keep_waiting(client, pieces, count, sent > 0 ? (uint64_t)sent : 0);
    if (client->front.waiting.size && !client->front.is_broken) {
        expect(client, listener_of(client) ? listener_of(client)->send_timeout_us : LINGER_US);
        want(client);
    }
}

static void flush(struct gateway_front *front)
{
    struct gateway_client *client = client_of(front);
    struct gateway_gather *gather = &client->worker->gather;

    send_pieces(client, gather->pieces, gather->count);
    gather->count = gather->text_size = 0;
    gather->head.size = 0;
}

/* A short piece directly behind the head goes into the same memory: one piece costs the kernel less than two.  0: it is
 * none, or there is no memory. */
static int join_head(struct gateway_gather *gather, const void *bytes, uint64_t size)
{
    if (gather->count != 1 || gather->head.size == 0 || size > JOINED_MAX ||
        hf_buffer_append(&gather->head, bytes, size) != HF_OK)
        return 0;
    gather->pieces[0] = (struct iovec){gather->head.data, gather->head.size};
    return 1;
}

static void gather_piece(struct gateway_client *client, const void *bytes, uint64_t size)
{
    struct gateway_gather *gather = &client->worker->gather;

    if (join_head(gather, bytes, size))
        return;
    gather->pieces[gather->count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* The line before or after a chunk. */
static void gather_text(struct gateway_client *client, const char *format, unsigned long long number)
{
    struct gateway_gather *gather = &client->worker->gather;
    char *at = gather->text + gather->text_size;
    int size = snprintf(at, sizeof gather->text - gather->text_size, format, number);

    gather->text_size += (uint32_t)size;
    gather_piece(client, at, (uint64_t)size);
}

static void send_body(struct gateway_front *front, hf_slice piece)
{
    struct gateway_client *client = client_of(front);
    struct gateway_gather *gather = &client->worker->gather;

    if (gather->count + 3 > GATEWAY_PIECES_MAX)
        flush(front);
    if (client->body_out == HF_HTTP1_BODY_CHUNKED)
        gather_text(client, "%llx\r\n", (unsigned long long)piece.size);
    gather_piece(client, piece.data, piece.size);
    if (client->body_out == HF_HTTP1_BODY_CHUNKED)
        gather_piece(client, "\r\n", 2);
}

/* Whether this answer is the last one of the connection. */
static int is_last(const struct gateway_client *client, uint32_t status)
{
    const struct gateway_exchange *exchange = client->exchange;

    return client->closes || client->has_ended || client->worker->is_draining || !listener_of(client) ||
           !exchange->head.keep_alive || (status >= 200 && !exchange->request_ended);
}

static int32_t send_head(struct gateway_front *front, const hf_http1_head *head, hf_slice bytes, hf_error *error)
{
    struct gateway_client *client = client_of(front);
    struct gateway_exchange *exchange = client->exchange;
    struct gateway_gather *gather = &client->worker->gather;
    int last = is_last(client, head->status);
    struct gateway_forward how = {.edits = exchange->response_edits,
                                  .edit_count = exchange->response_edit_count,
                                  .method = exchange->head.method,
                                  .minor = exchange->head.minor,
                                  .keep_alive = !last,
                                  .is_encoded = exchange->is_encoded};

    uint8_t trace[GATEWAY_TRACE_SIZE];

    gateway_account_answer(exchange, head->status, trace, &how);
    if (gather->count) /* an interim answer, whose bytes would move */
        flush(front);
    int32_t code = gateway_forward_response(&how, bytes, head, &gather->head, &client->body_out, error);
    if (code != HF_OK)
        return code;
    if (head->status >= 200)
        client->closes |= last || client->body_out == HF_HTTP1_BODY_UNTIL_CLOSE;
    gather_piece(client, gather->head.data, gather->head.size);
    exchange->account.head_sent += gather->head.size;
    return HF_OK;
}

/* ---- After an answer --------------------------------------------------------------------------------------------- */

static void linger(struct gateway_client *client)
{
    client->state = CLIENT_LINGERS;
    client->is_paused = 0;
    expect(client, LINGER_US);
    want(client);
    if (client->front.waiting.size == 0)
        gateway_socket_end(&client->socket);
}

/* What stands behind the request, which may be another one, moves to the front of the block. */
static void drop_taken(struct gateway_client *client)
{
    struct gateway_block *block = client->block;

    if (!block)
        return;
    memmove(block->bytes, block->bytes + client->taken, block->size - client->taken);
    block->size -= client->taken;
    client->taken = 0;
    if (block->size == 0) {
        gateway_worker_give_back(client->worker, block);
        client->block = NULL;
    }
}

/* Of the next head something may be there already. */
static void expect_request(struct gateway_client *client)
{
    const struct gateway_listener *listener = listener_of(client);

    if (listener)
        expect(client, patience(client, client->block ? listener->head_timeout_us : listener->idle_timeout_us));
    else
        expect(client, LINGER_US);
}

static void go_on(struct gateway_client *client)
{
    client->state = CLIENT_HEAD;
    client->is_paused = 0;
    drop_taken(client);
    expect_request(client);
    want(client);
    if (client->block && !is_behind(client))
        make_due(client); /* pipelined: in its turn, not deeper and deeper */
}

static void finish(struct gateway_client *client)
{
    client->is_over = 0;
    if (client->front.is_broken)
        return;
    if (client->closes)
        linger(client);
    else
        go_on(client);
}

/* RFC 9110, 6.5.1: only to clients that say they take them. */
static int takes_trailers(const struct gateway_exchange *exchange)
{
    return hf_http1_list_has(hf_http1_header_find(&exchange->head, "te"), "trailers");
}

static void gather_last_chunk(struct gateway_client *client, hf_slice trailers)
{
    if (trailers.size == 0 || !takes_trailers(client->exchange)) {
        gather_piece(client, "0\r\n\r\n", 5);
        return;
    }
    gather_piece(client, "0\r\n", 3);
    gather_piece(client, trailers.data, trailers.size);
    gather_piece(client, "\r\n", 2);
}

static void end(struct gateway_front *front, hf_slice trailers)
{
    struct gateway_client *client = client_of(front);
    struct gateway_exchange *exchange = client->exchange;

    if (client->body_out == HF_HTTP1_BODY_CHUNKED && !exchange->is_tunnel)
        gather_last_chunk(client, trailers);
    flush(front);
    client->closes |= !exchange->request_ended;
    gateway_exchange_over(exchange);
    client->exchange = NULL;
    client->body_out = HF_HTTP1_BODY_NONE;
    if (client->is_taking)
        client->is_over = 1;
    else
        finish(client);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* The connection cannot go on after what has come; the answer says why. */
static void refuse(struct gateway_client *client, uint32_t status, const char *why)
{
    client->closes = 1;
    if (!client->exchange) {
        client->exchange = gateway_exchange_create(client->worker, &client->front, listener_of(client));
        if (client->exchange) /* it has that of a request of long ago */
            client->exchange->head = (hf_http1_head){.minor = 1};
    }
    if (client->exchange)
        gateway_exchange_refuse(client->exchange, status, why);
    else
        gateway_client_destroy(client);
}

static uint32_t status_for(int32_t code)
{
    return code == HF_ETOOLARGE ? 431 : code == HF_EVERSION ? 505 : code == HF_EUNSUPPORTED ? 501 : 400;
}

static void body_ended(struct gateway_client *client)
{
    client->state = CLIENT_WAITS;
    gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    gateway_exchange_body_ended(client->exchange);
}

static int is_too_large(struct gateway_client *client, uint64_t more)
{
    client->body_size += more;
    if (client->body_size <= client->exchange->body_maximum)
        return 0;
    refuse(client, 413, "the body of the request is larger than allowed");
    return 1;
}

/* Takes chunks from the front of the bytes; how many of them it took. */
static uint64_t take_chunks(struct gateway_client *client, hf_slice bytes)
{
    uint64_t all = 0;
    hf_error error = {0};

    while (client->exchange && client->state == CLIENT_BODY && all < bytes.size) {
        uint64_t taken = 0;
        hf_slice data = {NULL, 0};
        int32_t result = hf_http1_chunked_next(&client->chunked, (hf_slice){bytes.data + all, bytes.size - all}, &taken,
                                               &data, &error);

        all += taken;
        if (result < 0) {
            refuse(client, 400, error.message);
        } else if (data.size && !is_too_large(client, data.size)) {
            gateway_exchange_body(client->exchange, data);
        }
        if (result == 1 && client->exchange && client->state == CLIENT_BODY)
            body_ended(client);
    }
    return all;
}

static uint64_t take_length(struct gateway_client *client, hf_slice bytes)
{
    uint64_t size = bytes.size < client->body_left ? bytes.size : client->body_left;

    client->body_left -= size;
    if (size)
        gateway_exchange_body(client->exchange, (hf_slice){bytes.data, size});
    if (client->body_left == 0 && client->exchange && client->state == CLIENT_BODY)
        body_ended(client);
    return size;
}

/* Takes what there is of the body from the front of the bytes, and leaves in the block what stands behind it: the next
 * request, perhaps.  The answer may be complete meanwhile; what comes after it waits until the bytes are in order. */
static void take_body(struct gateway_client *client, hf_slice bytes)
{
    uint32_t head_end = client->taken;

    client->is_taking = 1;
    uint64_t taken =
        client->exchange->head.body == HF_HTTP1_BODY_CHUNKED ? take_chunks(client, bytes) : take_length(client, bytes);
    client->is_taking = 0;
    if (client->is_dead)
        return;
    memmove(client->block->bytes + head_end, bytes.data + taken, bytes.size - taken);
    client->block->size = head_end + (uint32_t)(bytes.size - taken);
    if (client->is_over)
        finish(client);
}

static void send_continue(struct gateway_client *client)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct iovec piece = {(void *)(uintptr_t)text, sizeof text - 1};

    send_pieces(client, &piece, 1);
}

static void begin_body(struct gateway_client *client)
{
    struct gateway_exchange *exchange = client->exchange;
    struct gateway_block *block = client->block;

    client->state = CLIENT_BODY;
    client->chunked = (hf_http1_chunked){.trailers = &exchange->trailers};
    client->body_left = exchange->head.body == HF_HTTP1_BODY_LENGTH ? exchange->head.content_length : 0;
    client->body_size = 0;
    expect(client, exchange->listener->body_timeout_us);
    if (exchange->head.expect_continue && exchange->head.minor == 1 && client->taken == block->size)
        send_continue(client);
    if (client->taken < block->size)
        take_body(client, (hf_slice){block->bytes + client->taken, block->size - client->taken});
    else
        want(client);
}

static void begin_exchange(struct gateway_client *client, uint64_t head_size)
{
    struct gateway_exchange *exchange = client->exchange;

    exchange->head_bytes = (hf_slice){client->block->bytes + client->taken, head_size};
    client->taken += (uint32_t)head_size;
    exchange->request_ended = exchange->head.body == HF_HTTP1_BODY_NONE;
    client->state = CLIENT_WAITS;
    if (exchange->request_ended)
        gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    gateway_exchange_start(exchange);
    if (client->exchange && client->state == CLIENT_WAITS && !exchange->request_ended)
        begin_body(client);
}

/* What there is of a request that cannot be read, for those who look for the reason. */
static hf_slice first_line(const struct gateway_client *client)
{
    const uint8_t *from = client->block->bytes + client->taken;
    uint64_t size = client->block->size - client->taken, at = 0;

    while (at < size && from[at] != '\r' && from[at] != '\n')
        at++;
    return (hf_slice){from, at};
}

/* Whether the connection's first bytes say that it does not speak HTTP/1.1, or do not say it yet. */
static int is_another_version(struct gateway_client *client)
{
    const struct gateway_listener *listener = listener_of(client);
    hf_slice bytes = {client->block->bytes + client->taken, client->block->size - client->taken};
    int32_t negotiated = client->is_http1 ? GATEWAY_ALPN_NONE : gateway_socket_protocol(&client->socket);
    int32_t begins = client->is_http1 || !listener->http2                ? 0
                     : negotiated == GATEWAY_ALPN_H2 || !listener->http1 ? 1
                                                                         : gateway_http2_begins(bytes);

    client->is_http1 = begins == 0;
    if (begins > 0 && gateway_http2_accept(client) != HF_OK)
        gateway_client_destroy(client);
    return begins != 0;
}

/* Reads the head at the front of the block; the request begins when it is complete. */
static void next_request(struct gateway_client *client)
{
    struct gateway_block *block = client->block;
    hf_error error = {0};

    if (!listener_of(client)) { /* it has gone: nobody knows any more what is to become of its requests */
        gateway_client_destroy(client);
        return;
    }
    if (is_another_version(client))
        return;
    client->exchange = gateway_exchange_create(client->worker, &client->front, listener_of(client));
    if (!client->exchange) {
        gateway_client_destroy(client);
        return;
    }
    int64_t size = hf_http1_parse_request((hf_slice){block->bytes + client->taken, block->size - client->taken},
                                          &client->exchange->head, &error);
    if (size > 0 && (uint64_t)size <= listener_of(client)->head_maximum) {
        begin_exchange(client, (uint64_t)size);
        return;
    }
    if (size > 0 || (size == 0 && block->size - client->taken >= listener_of(client)->head_maximum)) {
        client->exchange->head.header_count = 0;
        client->exchange->account.line = first_line(client);
        refuse(client, 431, "the head of the request is larger than allowed");
    } else if (size < 0) {
        client->exchange->head = (hf_http1_head){.minor = 1};
        client->exchange->account.line = first_line(client);
        refuse(client, status_for((int32_t)size), error.message);
    } else {
        gateway_exchange_over(client->exchange);
        client->exchange = NULL;
    }
}

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

/* Behind what the block has; < 0 as gateway_socket_read, and 0 at the end. */
static int64_t read_block(struct gateway_client *client)
{
    if (!client->block)
        client->block = gateway_worker_block(client->worker);
    if (!client->block)
        return GATEWAY_BROKEN;

    struct gateway_block *block = client->block;
    int64_t got = gateway_socket_read(&client->socket, block->bytes + block->size, sizeof block->bytes - block->size);

    if (got > 0)
        block->size += (uint32_t)got;
    if (block->size == 0) {
        gateway_worker_give_back(client->worker, block);
        client->block = NULL;
    }
    return got;
}

/* A connection without a request ends in order, which only TLS has words for; what is under way is cut off. */
static void end_now(struct gateway_client *client)
{
    if (client->state == CLIENT_HEAD && !client->front.is_broken && client->front.waiting.size == 0 &&
        gateway_socket_is_tls(&client->socket))
        gateway_socket_end(&client->socket);
    gateway_client_destroy(client);
}

static void receive_head(struct gateway_client *client)
{
    int was_empty = client->block == NULL;
    int64_t got = read_block(client);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) {
        end_now(client);
        return;
    }
    next_request(client);
    if (was_empty && client->block && !client->is_dead && !client->exchange && client->state == CLIENT_HEAD)
        expect_request(client); /* from the first byte on */
}

/* Not more than what the block can take of a request that follows. */
static void receive_body(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    uint64_t room = sizeof client->block->bytes - client->taken;
    uint64_t most = client->exchange->head.body == HF_HTTP1_BODY_LENGTH && client->body_left < sizeof worker->scratch
                        ? client->body_left
                        : sizeof worker->scratch;

    if (client->exchange->head.body == HF_HTTP1_BODY_CHUNKED && room < most)
        most = room;
    int64_t got = gateway_socket_read(&client->socket, worker->scratch, most);
    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) { /* it breaks off: nobody may take it for a whole one */
        gateway_client_destroy(client);
        return;
    }
    expect(client, client->exchange->listener->body_timeout_us);
    take_body(client, (hf_slice){worker->scratch, (uint64_t)got});
}

static void receive_ahead(struct gateway_client *client)
{
    int64_t got = read_block(client);

    if (got == GATEWAY_BROKEN) {
        gateway_client_destroy(client);
    } else if (got == 0) { /* it may have ended only its own side */
        client->has_ended = 1;
        want(client);
    } else {
        want(client);
    }
}

static void receive_tunnel(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    int64_t got = gateway_socket_read(&client->socket, worker->scratch, sizeof worker->scratch);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) {
        gateway_client_destroy(client);
        return;
    }
    expect(client, client->exchange->listener->idle_timeout_us);
    gateway_exchange_body(client->exchange, (hf_slice){worker->scratch, (uint64_t)got});
}

static void receive_rest(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    int64_t got = gateway_socket_read(&client->socket, worker->scratch, sizeof worker->scratch);

    if (got == GATEWAY_AGAIN)
        return;
    client->lingered += got > 0 ? (uint64_t)got : 0;
    if (got <= 0 || client->lingered > LINGER_MAX)
        gateway_client_destroy(client);
}

/* TLS begins behind the header; what is there of it goes to the socket. */
static void receive_tls(struct gateway_client *client)
{
    struct gateway_block *block = client->block;
    hf_slice first = {block ? block->bytes : NULL, block ? block->size : 0};

    if (begin_tls(client, first) != HF_OK) {
        gateway_client_destroy(client);
        return;
    }
    gateway_worker_give_back(client->worker, block);
    client->block = NULL;
}

static void receive_proxy_header(struct gateway_client *client)
{
    struct gateway_proxy_header header;
    int64_t got = read_block(client);

    if (got == GATEWAY_AGAIN)
        return;
    int64_t size = got > 0 ? gateway_proxy_read((hf_slice){client->block->bytes, client->block->size}, &header, NULL)
                           : HF_EPROTOCOL;
    if (size < 0 || (size == 0 && client->block->size == sizeof client->block->bytes)) {
        gateway_client_destroy(client);
        return;
    }
    if (size == 0)
        return;
    if (!header.is_local) {
        set_address(client, &header.source);
        client->peer.destination = malloc(sizeof *client->peer.destination);
        if (client->peer.destination) /* else servers are told where the proxy has connected to */
            *client->peer.destination = header.destination;
    }
    client->taken = (uint32_t)size;
    client->state = CLIENT_HEAD;
    drop_taken(client);
    if (client->port->listener && client->port->listener->tls) {
        receive_tls(client);
        return;
    }
    if (client->block)
        next_request(client);
}

static void receive(struct gateway_client *client)
{
    switch (client->state) {
    case CLIENT_PROXY_HEADER:
        receive_proxy_header(client);
        break;
    case CLIENT_HEAD:
        receive_head(client);
        break;
    case CLIENT_BODY:
        receive_body(client);
        break;
    case CLIENT_WAITS:
        receive_ahead(client);
        break;
    case CLIENT_TUNNEL:
        receive_tunnel(client);
        break;
    case CLIENT_HTTP2:
        gateway_http2_receive(client);
        break;
    default:
        receive_rest(client);
    }
}

static void send_waiting(struct gateway_client *client)
{
    struct iovec piece = {client->front.waiting.data, client->front.waiting.size};
    int64_t sent = client->front.waiting.size ? gateway_socket_write(&client->socket, &piece, 1) : 0;

    if (sent == GATEWAY_BROKEN) {
        break_off(client);
        return;
    }
    if (sent > 0) {
        hf_buffer_consume(&client->front.waiting, (uint64_t)sent);
        expect(client, listener_of(client) ? listener_of(client)->send_timeout_us : LINGER_US);
    }
    if (client->front.waiting.size == 0) {
        hf_buffer_done(&client->front.waiting);
        if (client->state == CLIENT_LINGERS)
            linger(client);
        else if (client->state == CLIENT_HEAD)
            expect_request(client);
        else if (client->state == CLIENT_WAITS)
            gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    }
    want(client);
    if (client->state == CLIENT_HEAD && client->block && !is_behind(client))
        make_due(client);
    if (client->exchange)
        gateway_exchange_client_writable(client->exchange);
    else if (client->state == CLIENT_HTTP2)
        gateway_http2_writable(client);
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_client *client = arg;
    struct gateway_worker *worker = client->worker;

    (void)fd;
    if (events & HF_WATCH_WRITE)
        send_waiting(client);
    if (events & HF_WATCH_READ && !client->is_dead && !client->front.is_broken)
        do
            receive(client);
        while (!client->is_dead && !client->front.is_broken && client->socket.events & HF_WATCH_READ &&
               gateway_socket_has_more(&client->socket));
    gateway_worker_settle(worker);
}

static void resume(struct gateway_front *front)
{
    struct gateway_client *client = client_of(front);

    if (!client->is_paused)
        return;
    client->is_paused = 0;
    if (client->state == CLIENT_BODY)
        expect(client, client->exchange->listener->body_timeout_us);
    want(client);
}

static void pause_reading(struct gateway_front *front)
{
    struct gateway_client *client = client_of(front);

    client->is_paused = 1;
    if (client->state == CLIENT_BODY) /* it is not the client that is slow */
        gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    want(client);
}

static void tunnel(struct gateway_front *front)
{
    struct gateway_client *client = client_of(front);
    struct gateway_block *block = client->block;

    client->state = CLIENT_TUNNEL;
    client->closes = 1;
    client->body_out = HF_HTTP1_BODY_UNTIL_CLOSE;
    expect(client, client->exchange->listener->idle_timeout_us);
    flush(front);
    if (block && block->size > client->taken)
        gateway_exchange_body(client->exchange, (hf_slice){block->bytes + client->taken, block->size - client->taken});
    client->taken = block ? block->size : 0;
    want(client);
}

static void touch(struct gateway_front *front)
{
    struct gateway_client *client = client_of(front);

    if (client->front.waiting.size == 0)
        expect(client, client->exchange->listener->idle_timeout_us);
}

static void destroy(struct gateway_front *front)
{
    gateway_client_destroy(client_of(front));
}

static const struct gateway_front_calls calls = {.head = send_head,
                                                 .body = send_body,
                                                 .flush = flush,
                                                 .end = end,
                                                 .pause = pause_reading,
                                                 .resume = resume,
                                                 .tunnel = tunnel,
                                                 .touch = touch,
                                                 .destroy = destroy};

/* ---- Time-outs and the end of the worker ------------------------------------------------------------------------- */

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_client *client =
        (struct gateway_client *)((char *)deadline - offsetof(struct gateway_client, deadline));

    if (client->state == CLIENT_HTTP2)
        gateway_http2_overdue(client);
    else if (client->front.is_broken || client->front.waiting.size || client->state == CLIENT_LINGERS ||
             client->state == CLIENT_TUNNEL || client->state == CLIENT_PROXY_HEADER ||
             (client->state == CLIENT_HEAD && !client->block))
        end_now(client); /* there is nothing to say, or nobody who listens */
    else
        refuse(client, 408, "the request did not come in time");
}

void gateway_client_drain(struct gateway_client *client)
{
    client->closes = 1;
    if (client->state == CLIENT_HTTP2)
        gateway_http2_drain(client);
    else if (client->state == CLIENT_PROXY_HEADER || (client->state == CLIENT_HEAD && client->front.waiting.size == 0))
        expect(client, DRAIN_US); /* also for the rest of one that has begun */
}

void gateway_client_settle(struct gateway_client *client)
{
    client->is_due = 0;
    if (client->is_dead)
        return;
    if (client->front.is_broken) {
        gateway_client_destroy(client);
    } else if (client->state == CLIENT_HTTP2) {
        gateway_http2_settle(client);
    } else if (client->state == CLIENT_HEAD && client->block && !client->exchange && !is_behind(client)) {
        next_request(client);
        if (!client->is_dead && !client->exchange && client->state == CLIENT_HEAD && client->block)
            expect_request(client); /* it has begun */
    }
}

/* ---- For HTTP/2 -------------------------------------------------------------------------------------------------- */

void gateway_client_make_due(struct gateway_client *client)
{
    make_due(client);
}

void gateway_client_break_off(struct gateway_client *client)
{
    break_off(client);
}

void gateway_client_want(struct gateway_client *client)
{
    want(client);
}

void gateway_client_expect(struct gateway_client *client, uint64_t within_us)
{
    expect(client, within_us);
}

void gateway_client_linger(struct gateway_client *client)
{
    linger(client);
}
