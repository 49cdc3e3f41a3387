/* A client's connection that goes on to a server as it is. */
#include "stream/private.h"

#include "wire/client_hello.h"
#include "worker/announce.h"

#include <holdfast/lib/value.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void client_ready(void *arg, int32_t fd, uint32_t events);
static void server_ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);

/* ---- Life ------------------------------------------------------------------------------------------------------ */

static struct gateway_cell *cell_of(const struct gateway_tcp *stream)
{
    return &stream->port->meter->cells[stream->worker->index];
}

static void link_in(struct gateway_tcp *stream)
{
    stream->next = stream->port->streams;
    if (stream->next)
        stream->next->previous = stream;
    stream->port->streams = stream;
    stream->port->stream_count++;
    gateway_count(&cell_of(stream)->accepted, 1);
}

static void link_out(struct gateway_tcp *stream)
{
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        stream->port->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    stream->port->stream_count--;
    gateway_count(&cell_of(stream)->closed, 1);
}

static void enqueue(struct gateway_tcp *stream)
{
    struct gateway_view *view = stream->seat.view;

    stream->state = STREAM_WAITS;
    stream->next_queued = NULL;
    stream->previous_queued = view->streams_end;
    if (view->streams_end)
        view->streams_end->next_queued = stream;
    else
        view->streams = stream;
    view->streams_end = stream;
    view->queued++;
}

static void dequeue(struct gateway_tcp *stream)
{
    struct gateway_view *view = stream->seat.view;

    if (stream->previous_queued)
        stream->previous_queued->next_queued = stream->next_queued;
    else
        view->streams = stream->next_queued;
    if (stream->next_queued)
        stream->next_queued->previous_queued = stream->previous_queued;
    else
        view->streams_end = stream->previous_queued;
    view->queued--;
}

static void expect(struct gateway_tcp *stream, uint64_t within_us)
{
    gateway_worker_deadline(stream->worker, &stream->deadline, gateway_worker_now(stream->worker) + within_us);
}

static void end(struct gateway_tcp *stream)
{
    struct gateway_worker *worker = stream->worker;

    if (stream->is_dead)
        return;
    stream->is_dead = 1;
    if (stream->state == STREAM_WAITS)
        dequeue(stream);
    link_out(stream);
    worker->has_unused |= stream->port->listener == NULL;
    gateway_deadline_clear(&worker->wheel, &stream->deadline);
    gateway_socket_close(&stream->client);
    gateway_socket_close(&stream->server);
    gateway_way_done(&stream->up, &worker->pipes);
    gateway_way_done(&stream->down, &worker->pipes);
    gateway_seat_done(&stream->seat);
    free(stream->destination);
    stream->destination = NULL;
    stream->next = worker->dead_tcps;
    worker->dead_tcps = stream;
}

void gateway_stream_free(struct gateway_tcp *dead)
{
    while (dead) {
        struct gateway_tcp *next = dead->next;

        free(dead);
        dead = next;
    }
}

void gateway_stream_destroy(struct gateway_tcp *stream)
{
    struct linger at_once = {.l_onoff = 1};

    if (stream->client.fd >= 0)
        (void)setsockopt(stream->client.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* or only closed */
    if (stream->server.fd >= 0)
        (void)setsockopt(stream->server.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    end(stream);
}

void gateway_stream_follow(struct gateway_port *port)
{
    for (struct gateway_tcp *stream = port->streams; stream; stream = stream->next)
        gateway_seat_follow(&stream->seat);
}

/* ---- Bytes both ways --------------------------------------------------------------------------------------------- */

static void want(struct gateway_tcp *stream)
{
    int32_t up_waits = gateway_way_waits(&stream->up), down_waits = gateway_way_waits(&stream->down);

    gateway_socket_want(&stream->client, (!stream->up.has_ended && !up_waits ? (uint32_t)HF_WATCH_READ : 0u) |
                                             (down_waits ? (uint32_t)HF_WATCH_WRITE : 0u));
    gateway_socket_want(&stream->server, (!stream->down.has_ended && !down_waits ? (uint32_t)HF_WATCH_READ : 0u) |
                                             (up_waits ? (uint32_t)HF_WATCH_WRITE : 0u));
}

/* Moves what can be moved one way, from where it waits and then from the socket it comes from. */
static void pass(struct gateway_tcp *stream, struct gateway_way *way, const struct gateway_socket *from,
                 const struct gateway_socket *to)
{
    struct gateway_worker *worker = stream->worker;
    hf_buffer scratch = {.data = worker->scratch, .capacity = sizeof worker->scratch};
    uint64_t before = way->moved;
    int32_t result = GATEWAY_WAY_GOES_ON;

    if (gateway_way_waits(way))
        result = gateway_way_flush(way, to->fd, &worker->pipes);
    if (result == GATEWAY_WAY_GOES_ON && !gateway_way_waits(way) && !way->has_ended)
        result = gateway_way_move(way, from->fd, to->fd, &worker->pipes, scratch);
    if (way->moved > before) {
        expect(stream, stream->idle_timeout_us);
        gateway_count(way == &stream->up ? &cell_of(stream)->received : &cell_of(stream)->sent, way->moved - before);
    }
    if (result == GATEWAY_WAY_BROKEN)
        gateway_stream_destroy(stream);
    else if (stream->up.is_passed_on && stream->down.is_passed_on)
        end(stream);
    else
        want(stream);
}

/* ---- Connecting -------------------------------------------------------------------------------------------------- */

static int32_t connect_to(struct gateway_tcp *stream, const struct gateway_addresses *addresses, uint32_t index)
{
    const struct sockaddr *at = (const struct sockaddr *)&addresses->items[index];
    struct gateway_worker *worker = stream->worker;
    int on = 1, fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return HF_EIO;
    if (at->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* it is only slower without */
    if (connect(fd, at, addresses->sizes[index]) != 0 && errno != EINPROGRESS) {
        close(fd);
        return HF_EIO;
    }
    stream->address_index = index;
    stream->state = STREAM_CONNECTING;
    expect(stream, stream->seat.set->connect_timeout_us);
    return gateway_socket_open(&stream->server, worker->loops, worker->loop, fd, HF_WATCH_WRITE, server_ready, stream,
                               NULL);
}

/* The first of the server's addresses, from `index` on, that a connection can be begun to. */
static int32_t connect_from(struct gateway_tcp *stream, uint32_t index)
{
    const struct gateway_addresses *addresses = gateway_seat_addresses(&stream->seat);
    int32_t code = HF_EIO;

    for (; index < addresses->count && code != HF_OK; index++)
        code = connect_to(stream, addresses, index);
    return code;
}

static void wait_in_queue(struct gateway_tcp *stream)
{
    const struct gateway_seat *seat = &stream->seat;

    if (seat->view->queued >= seat->set->queue_maximum || seat->view->set != seat->set) {
        gateway_stream_destroy(stream);
        return;
    }
    enqueue(stream);
    expect(stream, seat->set->queue_timeout_us);
}

/* What taking a server has given: a connection to it is begun, or to the next one. */
static void go_on(struct gateway_tcp *stream, int32_t taken)
{
    while (taken == GATEWAY_SEAT_TAKEN && connect_from(stream, 0) != HF_OK) {
        gateway_seat_fail(&stream->seat);
        taken = gateway_seat_take_next(&stream->seat);
    }
    if (taken == GATEWAY_SEAT_FULL)
        wait_in_queue(stream);
    else if (taken == GATEWAY_SEAT_NONE)
        gateway_stream_destroy(stream);
}

static void begin(struct gateway_tcp *stream, uint32_t upstream)
{
    if (upstream == GATEWAY_NO_UPSTREAM)
        gateway_stream_destroy(stream);
    else
        go_on(stream, gateway_seat_take(&stream->seat, upstream));
}

static void try_next(struct gateway_tcp *stream)
{
    gateway_socket_close(&stream->server);
    gateway_seat_fail(&stream->seat);
    go_on(stream, gateway_seat_take_next(&stream->seat));
}

/* What the server is to get first goes before what the client has sent.  0: no memory. */
static int announce(struct gateway_tcp *stream)
{
    int32_t version = stream->seat.set->send_proxy;
    uint8_t header[GATEWAY_PROXY_WRITE_MAX];
    hf_buffer first;

    if (!version)
        return 1;
    uint32_t size = gateway_announce(header, version, stream->client.fd, (const struct sockaddr *)&stream->address,
                                     stream->destination);
    hf_buffer_init(&first, UINT64_MAX);
    if (hf_buffer_append(&first, header, size) != HF_OK ||
        hf_buffer_append(&first, stream->up.waiting.data, stream->up.waiting.size) != HF_OK) {
        hf_buffer_done(&first);
        return 0;
    }
    hf_buffer_done(&stream->up.waiting);
    stream->up.waiting = first;
    return 1;
}

static void connected(struct gateway_tcp *stream)
{
    int failed = 0;
    socklen_t size = sizeof failed;

    if (getsockopt(stream->server.fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed) {
        gateway_socket_close(&stream->server);
        if (connect_from(stream, stream->address_index + 1) != HF_OK)
            try_next(stream);
        return;
    }
    stream->state = STREAM_OPEN;
    gateway_seat_prove(&stream->seat);
    if (!announce(stream)) {
        gateway_stream_destroy(stream);
        return;
    }
    gateway_seat_settle(&stream->seat);
    stream->listener = NULL;
    expect(stream, stream->idle_timeout_us);
    if (gateway_way_waits(&stream->up))
        pass(stream, &stream->up, &stream->client, &stream->server);
    else
        want(stream);
}

/* ---- Queues ------------------------------------------------------------------------------------------------------ */

void gateway_stream_serve(struct gateway_view *view)
{
    while (view->streams) {
        struct gateway_tcp *stream = view->streams;
        int32_t taken = gateway_seat_take_next(&stream->seat);

        if (taken == GATEWAY_SEAT_FULL && stream->seat.view == view)
            return;
        /* It may have come to another upstream by now; it leaves the queue of this one. */
        struct gateway_view *other = stream->seat.view;
        stream->seat.view = view;
        dequeue(stream);
        stream->seat.view = other;
        stream->state = STREAM_HEAD;
        go_on(stream, taken);
    }
}

/* ---- What must be known first ------------------------------------------------------------------------------------ */

/* 1: it was read; 0: more is to come; -1: it is none. */
static int take_proxy_header(struct gateway_tcp *stream)
{
    hf_buffer *waiting = &stream->up.waiting;
    struct gateway_proxy_header header;
    int64_t size = gateway_proxy_read((hf_slice){waiting->data, waiting->size}, &header, NULL);

    if (size < 0 || (size == 0 && waiting->size >= GATEWAY_BLOCK_SIZE))
        return -1;
    if (size == 0)
        return 0;
    if (!header.is_local) {
        stream->destination = malloc(sizeof *stream->destination);
        if (!stream->destination)
            return -1;
        *stream->destination = header.destination;
        stream->address = header.source;
        gateway_seat_rename(&stream->seat, &header.source);
    }
    stream->is_header_to_come = 0;
    hf_buffer_consume(waiting, (uint64_t)size);
    return 1;
}

static int take_name(struct gateway_tcp *stream, uint32_t *ret_upstream)
{
    const struct gateway_listener *listener = stream->listener;
    const hf_buffer *waiting = &stream->up.waiting;
    struct gateway_client_hello hello;
    int32_t result = gateway_client_hello_read((hf_slice){waiting->data, waiting->size}, &hello, NULL);

    if (result <= 0)
        return result < 0 ? -1 : 0;
    int32_t name = gateway_server_names_find(listener->names, listener->name_count, hf_slice_of(hello.server_name));
    *ret_upstream = name < 0 ? listener->upstream : listener->names[name].upstream;
    return 1;
}

static void look(struct gateway_tcp *stream)
{
    uint32_t upstream = stream->listener->upstream;
    int known = stream->is_header_to_come ? take_proxy_header(stream) : 1;

    if (known > 0 && stream->listener->name_count)
        known = take_name(stream, &upstream);
    if (known == 0)
        return;
    gateway_socket_want(&stream->client, 0); /* what it sends on waits for the server */
    if (known > 0)
        begin(stream, upstream);
    else
        gateway_stream_destroy(stream);
}

static void read_head(struct gateway_tcp *stream)
{
    struct gateway_worker *worker = stream->worker;
    int64_t got = gateway_socket_read(&stream->client, worker->scratch, GATEWAY_BLOCK_SIZE);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0 || hf_buffer_append(&stream->up.waiting, worker->scratch, (uint64_t)got) != HF_OK)
        end(stream);
    else
        look(stream);
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static void client_ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_tcp *stream = arg;
    struct gateway_worker *worker = stream->worker;

    (void)fd;
    if (stream->state == STREAM_HEAD) {
        read_head(stream);
    } else {
        if (events & HF_WATCH_WRITE)
            pass(stream, &stream->down, &stream->server, &stream->client);
        if (events & HF_WATCH_READ && !stream->is_dead && stream->client.events & HF_WATCH_READ)
            pass(stream, &stream->up, &stream->client, &stream->server);
    }
    gateway_worker_settle(worker);
}

static void server_ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_tcp *stream = arg;
    struct gateway_worker *worker = stream->worker;

    (void)fd;
    if (stream->state == STREAM_CONNECTING) {
        connected(stream);
    } else {
        if (events & HF_WATCH_WRITE)
            pass(stream, &stream->up, &stream->client, &stream->server);
        if (events & HF_WATCH_READ && !stream->is_dead && stream->server.events & HF_WATCH_READ)
            pass(stream, &stream->down, &stream->server, &stream->client);
    }
    gateway_worker_settle(worker);
}

static void overdue(struct gateway_deadline *deadline)
{
    struct gateway_tcp *stream = (struct gateway_tcp *)((char *)deadline - offsetof(struct gateway_tcp, deadline));

    if (stream->state == STREAM_CONNECTING)
        try_next(stream);
    else if (stream->state == STREAM_OPEN && !gateway_way_waits(&stream->up) && !gateway_way_waits(&stream->down))
        end(stream); /* all that was sent has arrived */
    else
        gateway_stream_destroy(stream);
}

void gateway_stream_accept(struct gateway_port *port, int32_t fd, const struct sockaddr_storage *address)
{
    struct gateway_worker *worker = port->worker;
    const struct gateway_listener *listener = port->listener;
    struct gateway_tcp *stream = calloc(1, sizeof *stream);
    int needs_head = listener->proxy_protocol || listener->name_count, on = 1;

    if (!stream) {
        (void)close(fd);
        return;
    }
    stream->worker = worker;
    stream->port = port;
    stream->listener = listener;
    stream->server.fd = -1;
    stream->is_header_to_come = listener->proxy_protocol;
    stream->idle_timeout_us = listener->idle_timeout_us;
    stream->address = *address;
    stream->deadline.passed = overdue;
    gateway_way_init(&stream->up);
    gateway_way_init(&stream->down);
    if (address->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* it is only slower without */
    if (gateway_socket_open(&stream->client, worker->loops, worker->loop, fd, needs_head ? HF_WATCH_READ : 0,
                            client_ready, stream, NULL) != HF_OK) {
        free(stream);
        return;
    }
    gateway_seat_init(&stream->seat, worker, address, listener->tries);
    link_in(stream);
    if (needs_head)
        expect(stream, listener->head_timeout_us);
    else
        begin(stream, listener->upstream);
}
