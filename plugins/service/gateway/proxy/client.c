/* A client's connection, HTTP/1.1: requests are read from it one after the other, answers go out as they come. */
#include "proxy/private.h"

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
    DRAIN_US = 1000000 /* for a request that is on its way when the worker begins to drain */
};

static void ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);
static void next_request(struct gateway_client *client);

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

static void set_address(struct gateway_client *client, const struct sockaddr_storage *address)
{
    client->address = *address;
    client->text_size = gateway_address_text(address, client->text);
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
    client->worker = worker;
    client->port = port;
    client->state = port->listener->proxy_protocol ? CLIENT_PROXY_HEADER : CLIENT_HEAD;
    client->deadline.passed = overdue;
    hf_buffer_init(&client->waiting, UINT64_MAX);
    set_address(client, address);
    if (address->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* it is only slower without */
    if (gateway_socket_open(&client->socket, worker->loops, worker->loop, fd, HF_WATCH_READ, ready, client, NULL) !=
        HF_OK) {
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
        gateway_exchange_abandon(client->exchange);
    link_out(client);
    gateway_deadline_clear(&worker->wheel, &client->deadline);
    gateway_socket_close(&client->socket);
    gateway_worker_give_back(worker, client->block);
    client->block = NULL;
    hf_buffer_done(&client->waiting);
    client->next = worker->dead_clients;
    worker->dead_clients = client;
}

/* ---- What to be called for ----------------------------------------------------------------------------------------
 */

static void want(struct gateway_client *client)
{
    int reads = !client->has_ended && !client->is_paused &&
                !(client->state == CLIENT_WAITS && client->block && client->block->size == sizeof client->block->bytes);

    gateway_socket_want(&client->socket, (reads ? (uint32_t)HF_WATCH_READ : 0u) |
                                             (client->waiting.size ? (uint32_t)HF_WATCH_WRITE : 0u));
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
    if (client->is_broken)
        return;
    client->is_broken = 1;
    hf_buffer_done(&client->waiting);
    make_due(client);
}

/* ---- Sending ------------------------------------------------------------------------------------------------------
 */

static void keep_waiting(struct gateway_client *client, const struct iovec *pieces, uint32_t count, uint64_t sent)
{
    for (uint32_t i = 0; i < count && !client->is_broken; i++) {
        uint64_t part = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;

        sent -= part;
        if (hf_buffer_append(&client->waiting, (const uint8_t *)pieces[i].iov_base + part, pieces[i].iov_len - part) !=
            HF_OK)
            break_off(client);
    }
}

static void send_pieces(struct gateway_client *client, const struct iovec *pieces, uint32_t count)
{
    int64_t sent = 0;

    if (client->is_broken || count == 0)
        return;
    if (client->waiting.size == 0)
        sent = gateway_socket_write(&client->socket, pieces, (int32_t)count);
    if (sent == GATEWAY_BROKEN) {
        break_off(client);
        return;
    }
    keep_waiting(client, pieces, count, sent > 0 ? (uint64_t)sent : 0);
    if (client->waiting.size && !client->is_broken) {
        expect(client, listener_of(client) ? listener_of(client)->send_timeout_us : LINGER_US);
        want(client);
    }
}

void gateway_client_flush(struct gateway_client *client)
{
    struct gateway_gather *gather = &client->worker->gather;

    send_pieces(client, gather->pieces, gather->count);
    gather->count = gather->text_size = 0;
    gather->head.size = 0;
}

static void gather_piece(struct gateway_client *client, const void *bytes, uint64_t size)
{
    struct gateway_gather *gather = &client->worker->gather;

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

void gateway_client_body(struct gateway_client *client, hf_slice piece)
{
    struct gateway_gather *gather = &client->worker->gather;

    if (gather->count + 3 > GATEWAY_PIECES_MAX)
        gateway_client_flush(client);
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

int32_t gateway_client_head(struct gateway_client *client, const hf_http1_head *head, hf_slice bytes, hf_error *error)
{
    struct gateway_exchange *exchange = client->exchange;
    struct gateway_gather *gather = &client->worker->gather;
    int last = is_last(client, head->status);
    struct gateway_forward how = {.method = exchange->head.method, .minor = exchange->head.minor, .keep_alive = !last};

    if (exchange->route) {
        how.edits = exchange->route->response_edits;
        how.edit_count = exchange->route->response_edit_count;
    }
    uint8_t trace[GATEWAY_TRACE_SIZE];
    if (exchange->account.trace.is_present && exchange->generation->plan->trace.in_answers && head->status >= 200) {
        gateway_trace_write(&exchange->account.trace, trace);
        how.trace = (hf_slice){trace, sizeof trace};
    }
    if (gather->count) /* an interim answer, whose bytes would move */
        gateway_client_flush(client);
    int32_t code = gateway_forward_response(&how, bytes, head, &gather->head, &client->body_out, error);
    if (code != HF_OK)
        return code;
    if (head->status >= 200)
        client->closes |= last || client->body_out == HF_HTTP1_BODY_UNTIL_CLOSE;
    gather_piece(client, gather->head.data, gather->head.size);
    exchange->account.head_sent += gather->head.size;
    return HF_OK;
}

/* ---- After an answer -----------------------------------------------------------------------------------------------
 */

static void linger(struct gateway_client *client)
{
    client->state = CLIENT_LINGERS;
    client->is_paused = 0;
    expect(client, LINGER_US);
    want(client);
    if (client->waiting.size == 0)
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

static void go_on(struct gateway_client *client)
{
    client->state = CLIENT_HEAD;
    client->is_paused = 0;
    drop_taken(client);
    expect(client, listener_of(client)->idle_timeout_us);
    want(client);
    if (client->block)
        make_due(client); /* pipelined: in its turn, not deeper and deeper */
}

void gateway_client_end(struct gateway_client *client)
{
    struct gateway_exchange *exchange = client->exchange;
    int whole = exchange->request_ended;

    if (client->body_out == HF_HTTP1_BODY_CHUNKED && !exchange->is_tunnel)
        gather_piece(client, "0\r\n\r\n", 5);
    gateway_client_flush(client);
    gateway_exchange_over(exchange);
    client->exchange = NULL;
    client->body_out = HF_HTTP1_BODY_NONE;
    if (client->is_broken)
        return;
    if (client->closes || !whole)
        linger(client);
    else
        go_on(client);
}

/* ---- Requests ------------------------------------------------------------------------------------------------------
 */

/* The connection cannot go on after what has come; the answer says why. */
static void refuse(struct gateway_client *client, uint32_t status, const char *why)
{
    client->closes = 1;
    if (!client->exchange) {
        client->exchange = gateway_exchange_create(client);
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
    if (client->body_size <= client->exchange->listener->body_maximum)
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

/* Takes what there is of the body from the front of the bytes; how many bytes of them it took. */
static uint64_t take_body(struct gateway_client *client, hf_slice bytes)
{
    if (client->exchange->head.body == HF_HTTP1_BODY_CHUNKED)
        return take_chunks(client, bytes);

    uint64_t size = bytes.size < client->body_left ? bytes.size : client->body_left;

    client->body_left -= size;
    if (size)
        gateway_exchange_body(client->exchange, (hf_slice){bytes.data, size});
    if (client->body_left == 0 && client->exchange && client->state == CLIENT_BODY)
        body_ended(client);
    return size;
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
    client->chunked = (hf_http1_chunked){0};
    client->body_left = exchange->head.body == HF_HTTP1_BODY_LENGTH ? exchange->head.content_length : 0;
    client->body_size = 0;
    expect(client, exchange->listener->body_timeout_us);
    if (exchange->head.expect_continue && exchange->head.minor == 1 && client->taken == block->size)
        send_continue(client);
    if (client->taken < block->size)
        client->taken +=
            (uint32_t)take_body(client, (hf_slice){block->bytes + client->taken, block->size - client->taken});
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

/* Reads the head at the front of the block; the request begins when it is complete. */
static void next_request(struct gateway_client *client)
{
    struct gateway_block *block = client->block;
    hf_error error = {0};

    if (!listener_of(client)) { /* it has gone: nobody knows any more what is to become of its requests */
        gateway_client_destroy(client);
        return;
    }
    client->exchange = gateway_exchange_create(client);
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

/* ---- Receiving -----------------------------------------------------------------------------------------------------
 */

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

static void receive_head(struct gateway_client *client)
{
    int was_empty = client->block == NULL;
    int64_t got = read_block(client);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) {
        gateway_client_destroy(client);
        return;
    }
    next_request(client);
    if (was_empty && !client->is_dead && !client->exchange && client->state == CLIENT_HEAD)
        expect(client, listener_of(client)->head_timeout_us); /* from the first byte on */
}

/* Not more than what the block can take of a request that follows. */
static void receive_body(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    struct gateway_block *block = client->block;
    uint64_t room = sizeof block->bytes - client->taken;
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
    uint64_t taken = take_body(client, (hf_slice){worker->scratch, (uint64_t)got});
    if (client->is_dead || !client->block || client->state == CLIENT_LINGERS)
        return;
    /* `taken` bytes of the block are done with, and what is left now follows them. */
    block->size = client->taken;
    memcpy(block->bytes + block->size, worker->scratch + taken, (uint64_t)got - taken);
    block->size += (uint32_t)((uint64_t)got - taken);
    if (client->state == CLIENT_HEAD) /* the exchange is over already */
        go_on(client);
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
    if (!header.is_local)
        set_address(client, &header.source);
    client->taken = (uint32_t)size;
    client->state = CLIENT_HEAD;
    drop_taken(client);
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
    default:
        receive_rest(client);
    }
}

static void send_waiting(struct gateway_client *client)
{
    struct iovec piece = {client->waiting.data, client->waiting.size};
    int64_t sent = client->waiting.size ? gateway_socket_write(&client->socket, &piece, 1) : 0;

    if (sent == GATEWAY_BROKEN) {
        break_off(client);
        return;
    }
    if (sent > 0) {
        hf_buffer_consume(&client->waiting, (uint64_t)sent);
        expect(client, listener_of(client) ? listener_of(client)->send_timeout_us : LINGER_US);
    }
    if (client->waiting.size == 0) {
        hf_buffer_done(&client->waiting);
        if (client->state == CLIENT_LINGERS)
            linger(client);
        else if (client->state == CLIENT_HEAD)
            expect(client, listener_of(client) ? listener_of(client)->idle_timeout_us : LINGER_US);
        else if (client->state == CLIENT_WAITS)
            gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    }
    want(client);
    if (client->exchange)
        gateway_exchange_client_writable(client->exchange);
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_client *client = arg;
    struct gateway_worker *worker = client->worker;

    (void)fd;
    if (events & HF_WATCH_WRITE)
        send_waiting(client);
    if (events & HF_WATCH_READ && !client->is_dead && !client->is_broken)
        do
            receive(client);
        while (!client->is_dead && !client->is_broken && client->socket.events & HF_WATCH_READ &&
               gateway_socket_has_more(&client->socket));
    gateway_worker_settle(worker);
}

void gateway_client_resume(struct gateway_client *client)
{
    if (!client->is_paused)
        return;
    client->is_paused = 0;
    if (client->state == CLIENT_BODY)
        expect(client, client->exchange->listener->body_timeout_us);
    want(client);
}

void gateway_client_pause(struct gateway_client *client)
{
    client->is_paused = 1;
    if (client->state == CLIENT_BODY) /* it is not the client that is slow */
        gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    want(client);
}

void gateway_client_tunnel(struct gateway_client *client)
{
    struct gateway_block *block = client->block;

    client->state = CLIENT_TUNNEL;
    client->closes = 1;
    client->body_out = HF_HTTP1_BODY_UNTIL_CLOSE;
    expect(client, client->exchange->listener->idle_timeout_us);
    gateway_client_flush(client);
    if (block && block->size > client->taken)
        gateway_exchange_body(client->exchange, (hf_slice){block->bytes + client->taken, block->size - client->taken});
    client->taken = block ? block->size : 0;
    want(client);
}

void gateway_client_touch(struct gateway_client *client)
{
    if (client->waiting.size == 0)
        expect(client, client->exchange->listener->idle_timeout_us);
}

/* ---- Time-outs and the end of the worker ----------------------------------------------------------------------------
 */

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_client *client =
        (struct gateway_client *)((char *)deadline - offsetof(struct gateway_client, deadline));

    if (client->is_broken || client->waiting.size || client->state == CLIENT_LINGERS ||
        client->state == CLIENT_TUNNEL || client->state == CLIENT_PROXY_HEADER ||
        (client->state == CLIENT_HEAD && !client->block))
        gateway_client_destroy(client); /* there is nothing to say, or nobody who listens */
    else
        refuse(client, 408, "the request did not come in time");
}

void gateway_client_drain(struct gateway_client *client)
{
    client->closes = 1;
    if (client->state == CLIENT_HEAD && !client->block)
        expect(client, DRAIN_US);
}

void gateway_client_settle(struct gateway_client *client)
{
    client->is_due = 0;
    if (client->is_dead)
        return;
    if (client->is_broken)
        gateway_client_destroy(client);
    else if (client->state == CLIENT_HEAD && client->block && !client->exchange)
        next_request(client);
}
