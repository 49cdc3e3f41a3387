/* One client's connection: reads requests one after the other, hands them out, and writes the answers.
 *
 * States: HEAD (waiting for a head), BODY (for its body), SKIP (discarding the body of a refused request), HANDLER (a
 * handler has the request), STREAM (it is writing a stream), and LINGER (everything is sent; bytes that still come are
 * discarded until the client closes, because closing over unread bytes would destroy the answer on its way).  Reading
 * stops while a handler has the request, so a client cannot make the server hold more than one; a stream goes on
 * reading to notice that the client is gone. */
#include "http/private.h"
#include "loop/loop.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD, BODY, SKIP, HANDLER, STREAM, LINGER };

enum { LINGER_US = 2000000, SHORT_SEND_US = 2000000 };

enum { READ_SIZE = 16 * 1024, SKIP_MAXIMUM = 64 * 1024 * 1024, PIPELINE_MAXIMUM = 64 * 1024 };

struct http_connection {
    http_shard *shard;
    http_connection *next, *previous;
    int fd;
    uint64_t address; /* a number for where it comes from */
    hf_watch *watch;
    uint32_t watched; /* events */
    int hasty;        /* it sends, or closes, while a handler has its request */
    int state;
    int processing; /* inside `process`: freeing waits for its end */
    int closed;
    int ending;           /* close when the output is out */
    int throttled;        /* a stream's writer was told to wait */
    uint64_t deadline_us; /* 0: none; while something waits to be sent, only that has to go on */
    uint64_t skip_left;   /* of a body that is discarded */
    hf_http1_chunked chunked;
    uint64_t chunk_begin; /* where in the input undecoded chunks begin */
    int64_t head_size;
    hf_http_request *request; /* the present one */
    hf_buffer ahead;          /* received after the present request */
    hf_buffer output;
    uint64_t output_at;      /* how much of it the client has taken */
    uint64_t counted;        /* bytes of it in the server's gate of answers */
    uint64_t refused_answer; /* bytes of its last answer, when there was no memory for it */
    uint64_t taken_us;       /* when the client last took something, or what it is to take began to wait */
    uint64_t left_in_kernel; /* then */
    int sending;             /* something waits */
};

static void process(http_connection *connection);

http_connection *hf_http_connection_next(http_connection *connection)
{
    return connection->next;
}

uint64_t hf_http_connection_address(const http_connection *connection)
{
    return connection->address;
}

/* Bytes that were not given to the kernel. */
static uint64_t waiting_of(const http_connection *connection)
{
    return connection->output.size - connection->output_at;
}

/* Its client has to take something before it is asked what it wants next: otherwise one that sends on and on, and never
 * reads, would fill the memory with small answers, refusals for example. */
static int is_behind(const http_connection *connection)
{
    return waiting_of(connection) > (connection->state == STREAM ? HF_HTTP_STREAM_HIGH : HF_HTTP_ANSWER_LARGE);
}

/* Bytes that the kernel has and the client has not.  The kernel takes more only when a good part of them is gone, which
 * may take a slow client long. */
static uint64_t in_kernel(const http_connection *connection)
{
    int bytes = 0;

    return ioctl(connection->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t hf_http_connection_waiting(const http_connection *connection)
{
    return waiting_of(connection) + in_kernel(connection);
}

int hf_http_connection_idle(const http_connection *connection)
{
    return connection->state == HEAD && !waiting_of(connection) &&
           (!connection->request || !connection->request->input.size);
}

static void set_deadline(http_connection *connection, uint64_t after_us)
{
    connection->deadline_us = hf_loop_now_us(connection->shard->loop) + after_us;
}

static void watch(http_connection *connection)
{
    uint32_t events = 0;

    if (connection->state == LINGER || (connection->state != HANDLER && !connection->ending && !is_behind(connection)))
        events |= HF_WATCH_READ;
    if (connection->state == HANDLER && !connection->hasty) /* nothing comes of a client that waits for its answer */
        events |= connection->watched & HF_WATCH_READ;
    if (waiting_of(connection))
        events |= HF_WATCH_WRITE;
    if (events == connection->watched)
        return;
    if (hf_watch_change(connection->watch, events, NULL) == 0)
        connection->watched = events;
    else
        hf_http_connection_close(connection);
}

/* ---- Memory of answers ------------------------------------------------------------------------------------------- */

/* Little is not counted: the number of connections bounds it. */
enum { KEPT_MAXIMUM = 32 * 1024 };

static void count_answers(http_connection *connection, uint64_t bytes)
{
    hf_http_server *server = connection->shard->server;
    uint64_t now = bytes > HF_HTTP_ANSWER_LARGE ? bytes : 0;

    if (now > connection->counted)
        hf_gate_force(&server->answers, server->shares, connection->address, 0, now - connection->counted,
                      hf_loop_now_us(connection->shard->loop));
    else if (now < connection->counted)
        hf_gate_leave(&server->answers, server->shares, connection->address, 0, connection->counted - now);
    connection->counted = now;
}

/* The client has taken `size` bytes.  What is left moves forward seldom, so that moving costs no more than sending. */
static void consume_output(http_connection *connection, uint64_t size)
{
    hf_buffer *output = &connection->output;

    connection->output_at += size;
    if (connection->output_at * 2 < output->size)
        return;
    hf_buffer_consume(output, connection->output_at);
    connection->output_at = 0;
    if (!output->size && output->capacity > KEPT_MAXIMUM)
        hf_buffer_done(output);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void unlink_connection(http_connection *connection)
{
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connection->shard->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
}

static void release(http_connection *connection)
{
    hf_buffer_done(&connection->ahead);
    hf_buffer_done(&connection->output);
    free(connection);
}

void hf_http_connection_close(http_connection *connection)
{
    hf_http_server *server = connection->shard->server;
    hf_http_request *request = connection->request;

    if (connection->closed)
        return;
    connection->closed = 1;
    hf_watch_destroy(connection->watch);
    close(connection->fd);
    unlink_connection(connection);
    hf_gate_leave(&server->connection_gate, server->shares, ~connection->address, 1, 0);
    hf_metric_set(server->connections, (double)hf_gate_items(&server->connection_gate));
    connection->request = NULL;
    count_answers(connection, 0);
    if (request && (connection->state == HANDLER || connection->state == STREAM)) {
        request->connection = NULL; /* its handler answers into nothing */
        if (connection->state == STREAM)
            hf_http_request_closed(request);
    } else {
        hf_http_request_free(request);
    }
    if (!connection->processing)
        release(connection);
}

/* ---- Output ------------------------------------------------------------------------------------------------------ */

static void sent(http_connection *connection, uint64_t taken)
{
    hf_http_request *request = connection->request;

    count_answers(connection, waiting_of(connection));
    if (waiting_of(connection)) {
        if (taken || !connection->sending) {
            connection->taken_us = hf_loop_now_us(connection->shard->loop);
            connection->left_in_kernel = in_kernel(connection);
        }
        connection->sending = 1;
        return;
    }
    if (connection->sending && connection->state == HEAD && !request)
        set_deadline(connection, connection->shard->server->settings.idle_timeout_us);
    connection->sending = 0;
    if (connection->ending && connection->state != LINGER) {
        connection->state = LINGER;
        shutdown(connection->fd, SHUT_WR); /* a failure shows when reading */
        set_deadline(connection, LINGER_US);
        return;
    }
    if (connection->state == STREAM || connection->state == HANDLER)
        connection->deadline_us = 0;
    if (connection->state == STREAM && connection->throttled && !request->writing) {
        connection->throttled = 0;
        request->event(request->event_arg, HF_HTTP_STREAM_WRITABLE);
    }
}

static void flush(http_connection *connection)
{
    uint64_t taken = 0;

    while (waiting_of(connection)) {
        ssize_t size =
            send(connection->fd, connection->output.data + connection->output_at, waiting_of(connection), MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0) {
            if (errno == EAGAIN)
                break;
            hf_http_connection_close(connection);
            return;
        }
        hf_metric_increment(connection->shard->server->sent_bytes, (uint64_t)size);
        taken += (uint64_t)size;
        consume_output(connection, (uint64_t)size);
    }
    sent(connection, taken);
}

/* Moves the request's bytes to the connection's output. */
static int move_output(http_connection *connection, hf_buffer *from)
{
    hf_http_request *request = connection->request;
    int32_t result = 0;

    connection->counted += request->answer_memory; /* it is in the gate already, under the same key */
    request->answer_memory = 0;

    if (!waiting_of(connection)) {
        hf_buffer empty = connection->output;
        connection->output = *from;
        *from = empty;
    } else {
        result = hf_buffer_append(&connection->output, from->data, from->size);
    }
    hf_buffer_clear(from);
    return result == 0;
}

static void count_request(const hf_http_request *request)
{
    hf_http_server *server = request->shard->server;
    uint32_t class = request->status / 100;

    if (class >= 1 && class <= 5)
        hf_metric_increment(server->requests[class - 1], 1);
    hf_metric_increment(server->request_microseconds, hf_loop_now_us(request->shard->loop) - request->start_us);
}

/* The request is answered: the connection waits for the next one. */
static void next_request(http_connection *connection)
{
    hf_http_request *request = connection->request;

    connection->request = NULL;
    if (request->status < 500)
        connection->refused_answer = 0;
    else if (request->refused_answer)
        connection->refused_answer = request->refused_answer;
    if (!request->keep_alive || connection->shard->stopping)
        connection->ending = 1;
    hf_http_request_free(request);
    if (connection->state != SKIP)
        connection->state = HEAD;
    set_deadline(connection, connection->shard->server->settings.idle_timeout_us);
}

static void go_on(http_connection *connection)
{
    if (connection->processing)
        return; /* `process` itself goes on */
    process(connection);
}

void hf_http_connection_answer(hf_http_request *request)
{
    http_connection *connection = request->connection;

    count_request(request);
    if (!connection) {
        hf_http_request_free(request);
        return;
    }
    if (request->failed || !move_output(connection, &request->answer)) {
        connection->state = HEAD;
        connection->processing++; /* the request is freed by the close, and the connection afterwards */
        hf_http_connection_close(connection);
        if (--connection->processing == 0)
            release(connection);
        return;
    }
    next_request(connection);
    go_on(connection);
}

uint64_t hf_http_connection_stream(hf_http_request *request, int ended)
{
    http_connection *connection = request->connection;

    if (ended) {
        hf_http_connection_answer(request);
        return 0;
    }
    if (!connection)
        return UINT64_MAX;
    connection->state = STREAM;
    connection->processing++;
    request->writing = 1;
    if (request->failed || !move_output(connection, &request->answer))
        hf_http_connection_close(connection);
    if (!connection->closed)
        flush(connection);
    if (!connection->closed)
        watch(connection);
    uint64_t waiting = connection->closed ? UINT64_MAX : waiting_of(connection);
    connection->throttled = waiting > HF_HTTP_STREAM_HIGH;
    request->writing = 0;
    if (--connection->processing == 0 && connection->closed)
        release(connection);
    return waiting;
}

/* ---- Input ------------------------------------------------------------------------------------------------------- */

static void hand_out(http_connection *connection)
{
    static const uint8_t no_trace[16];
    hf_http_request *request = connection->request;
    uint64_t head_size = (uint64_t)connection->head_size;
    uint64_t body_size = request->head.body == HF_HTTP1_BODY_LENGTH ? request->head.content_length : 0;

    if (request->head.body == HF_HTTP1_BODY_CHUNKED)
        request->body = (hf_slice){request->chunks.data, request->chunks.size};
    else
        request->body = (hf_slice){request->input.data + head_size, body_size};
    connection->state = HANDLER;
    connection->deadline_us = 0;
    hf_log_set_trace(request->trace);
    request->match.entry->route.handle(request->match.entry->arg, request); /* the request may be gone now */
    hf_log_set_trace(no_trace);
}

/* Answers before the body was read.  What of it is still to come is skipped when that is little, so that the
 * connection stays usable; otherwise the connection ends. */
static void refuse(http_connection *connection, uint32_t status, const char *problem, const hf_error *error,
                   const char *allow)
{
    hf_http_request *request = connection->request;
    uint64_t have = request->input.size - (uint64_t)connection->head_size;

    connection->state = HANDLER;
    if (request->head.body == HF_HTTP1_BODY_LENGTH && !request->head.expect_continue &&
        request->head.content_length <= SKIP_MAXIMUM) {
        uint64_t take = have < request->head.content_length ? have : request->head.content_length;
        connection->skip_left = request->head.content_length - take;
        hf_buffer_append(&connection->ahead, request->input.data + connection->head_size + take, have - take);
        if (connection->skip_left)
            connection->state = SKIP;
    } else if (request->head.body != HF_HTTP1_BODY_NONE) {
        request->keep_alive = 0;
    } else {
        hf_buffer_append(&connection->ahead, request->input.data + connection->head_size, have);
    }
    hf_http_request_refuse(request, status, problem, error, allow);
}

static void refuse_head(http_connection *connection, uint32_t status, const char *problem, const hf_error *error)
{
    connection->request->keep_alive = 0;
    connection->state = HANDLER;
    hf_http_request_refuse(connection->request, status, problem, error, NULL);
}

/* Counts memory for a body: HF_EBUSY when the server, or this client, holds too much already. */
static int32_t admit_memory(hf_http_request *request, uint64_t size, hf_error *error)
{
    hf_http_server *server = request->shard->server;
    int32_t why =
        hf_http_server_enter(request, HTTP_REFUSED_BODIES, request->client, size, hf_loop_now_us(request->shard->loop));

    if (why)
        return hf_http_server_refuse(server, HTTP_REFUSED_BODIES, why, hf_loop_now_us(request->shard->loop), error);
    request->memory += size;
    return 0;
}

/* A client that does not take its answers is not given more; others are, as long as there is room for them.  After an
 * answer that found none, as much is asked for before the next one is made: making it only to drop it helps nobody. */
static int32_t admit_answer(const http_connection *connection, hf_error *error)
{
    hf_http_server *server = connection->shard->server;
    uint64_t now = hf_loop_now_us(connection->shard->loop);
    uint64_t size = connection->refused_answer, some = server->answer_limits.bytes / 4;

    if (hf_gate_bytes(&server->answers) < some)
        return 0;
    if (size > some)
        size = some;
    if (size < HF_HTTP_ANSWER_LARGE)
        size = HF_HTTP_ANSWER_LARGE;
    int32_t why = hf_http_server_enter(connection->request, HTTP_REFUSED_ANSWERS, connection->address, size, now);

    if (why)
        return hf_http_server_refuse(server, HTTP_REFUSED_ANSWERS, why, now, error);
    hf_gate_leave(&server->answers, server->shares, connection->address, 0, size);
    return 0;
}

static void refuse_busy(http_connection *connection, const hf_error *error)
{
    refuse(connection, 503, "busy", error, NULL);
}

static void refuse_large(http_connection *connection)
{
    uint64_t maximum = connection->request->match.entry->route.body_maximum;
    hf_error error;

    hf_error_set(&error, HF_ETOOLARGE, "the body is larger than %llu bytes, which is the most that is taken here",
                 (unsigned long long)maximum);
    refuse(connection, 413, "too-large", &error, NULL);
}

/* Decides about a complete head. */
static void begin_body(http_connection *connection)
{
    hf_http_request *request = connection->request;
    const hf_http1_head *head = &request->head;
    const char *problem = "bad-request";
    char allow[64];
    hf_error error = {0};

    request->keep_alive = head->keep_alive;
    uint32_t status = hf_http_request_admit(request, &error, &problem, allow, sizeof allow);
    if (status) {
        refuse(connection, status, problem, &error, allow);
        return;
    }
    if (head->body == HF_HTTP1_BODY_LENGTH && head->content_length > request->match.entry->route.body_maximum) {
        refuse_large(connection);
        return;
    }
    if ((head->body == HF_HTTP1_BODY_LENGTH && admit_memory(request, head->content_length, &error) != 0) ||
        admit_answer(connection, &error) != 0) {
        refuse_busy(connection, &error);
        return;
    }
    connection->state = BODY;
    connection->chunked = (hf_http1_chunked){0};
    connection->chunk_begin = (uint64_t)connection->head_size;
    if (head->expect_continue && head->body != HF_HTTP1_BODY_NONE)
        hf_buffer_append_format(&connection->output, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void parse_head(http_connection *connection)
{
    hf_http_request *request = connection->request;
    const hf_http_settings *settings = &connection->shard->server->settings;
    hf_slice input = {request->input.data, request->input.size};
    hf_error error = {0};
    int64_t size = hf_http1_parse_request(input, &request->head, &error);

    if (size > 0 && (uint64_t)size <= settings->head_maximum) {
        connection->head_size = size;
        request->head_at = (uintptr_t)input.data;
        begin_body(connection);
    } else if (size > 0 || (size == 0 && input.size > settings->head_maximum) || size == HF_ETOOLARGE) {
        hf_error_set(&error, HF_ETOOLARGE, "the request's head is larger than %llu bytes or has more than %d fields",
                     (unsigned long long)settings->head_maximum, HF_HTTP1_HEADERS_MAX);
        refuse_head(connection, 431, "too-large", &error);
    } else if (size < 0) {
        refuse_head(connection, size == HF_EVERSION ? 505 : size == HF_EUNSUPPORTED ? 501 : 400, "bad-request", &error);
    }
}

static void move_slice(hf_slice *slice, uintptr_t from, uint64_t size, const uint8_t *to)
{
    uintptr_t at = (uintptr_t)slice->data;

    if (slice->data && at >= from && at <= from + size) /* decoded values lie in the arena */
        slice->data = to + (at - from);
}

/* The bytes may have moved while the body came: points the head's slices at where they are now. */
static void settle_head(hf_http_request *request, uint64_t head_size)
{
    uintptr_t from = request->head_at;
    const uint8_t *to = request->input.data;

    if (from == (uintptr_t)to)
        return;
    move_slice(&request->head.method, from, head_size, to);
    move_slice(&request->head.target, from, head_size, to);
    move_slice(&request->query_text, from, head_size, to);
    for (uint32_t i = 0; i < request->head.header_count; i++) {
        move_slice(&request->head.headers[i].name, from, head_size, to);
        move_slice(&request->head.headers[i].value, from, head_size, to);
    }
    for (uint32_t i = 0; i < request->match.parameter_count; i++)
        move_slice(&request->match.values[i], from, head_size, to);
    request->head_at = (uintptr_t)to;
}

static void body_complete(http_connection *connection, uint64_t used)
{
    hf_http_request *request = connection->request;

    if (request->input.size > used) { /* the next request's */
        hf_buffer_append(&connection->ahead, request->input.data + used, request->input.size - used);
        request->input.size = used;
    }
    settle_head(request, (uint64_t)connection->head_size);
    hand_out(connection);
}

static void read_length(http_connection *connection)
{
    hf_http_request *request = connection->request;
    hf_error error;
    uint64_t whole = (uint64_t)connection->head_size + request->head.content_length;

    if (request->input.size >= whole)
        body_complete(connection, whole);
    else if (hf_buffer_reserve(&request->input, whole - request->input.size) != 0) {
        hf_error_set(&error, HF_EBUSY, "no memory for the body; send this again later");
        refuse_busy(connection, &error);
    }
}

static void refuse_chunk(http_connection *connection, const hf_error *error)
{
    connection->request->keep_alive = 0;
    connection->state = HANDLER;
    hf_http_request_refuse(connection->request,
                           error->code == HF_ETOOLARGE ? 413
                           : error->code == HF_EBUSY   ? 503
                                                       : 400,
                           error->code == HF_ETOOLARGE ? "too-large"
                           : error->code == HF_EBUSY   ? "busy"
                                                       : "bad-request",
                           error, NULL);
}

static int32_t take_chunk(hf_http_request *request, hf_slice data, hf_error *error)
{
    uint64_t maximum = request->match.entry->route.body_maximum;

    if (request->chunks.size + data.size > maximum)
        return hf_error_set(error, HF_ETOOLARGE,
                            "the body is larger than %llu bytes, which is the most that is taken here",
                            (unsigned long long)maximum);
    if (admit_memory(request, data.size, error) != 0)
        return HF_EBUSY;
    if (hf_buffer_append(&request->chunks, data.data, data.size) != 0)
        return hf_error_set(error, HF_EBUSY, "no memory for the body; send this again later");
    return 0;
}

static void read_chunked(http_connection *connection)
{
    hf_http_request *request = connection->request;

    for (;;) {
        hf_slice bytes = {request->input.data + connection->chunk_begin, request->input.size - connection->chunk_begin};
        hf_slice data = {NULL, 0};
        uint64_t taken = 0;
        hf_error error = {0};
        int32_t result = hf_http1_chunked_next(&connection->chunked, bytes, &taken, &data, &error);

        if (result >= 0 && data.size && take_chunk(request, data, &error) != 0)
            result = error.code;
        if (result < 0) {
            refuse_chunk(connection, &error);
            return;
        }
        connection->chunk_begin += taken;
        if (result == 1) {
            body_complete(connection, connection->chunk_begin);
            return;
        }
        if (taken == bytes.size || !taken)
            break;
    }
    /* Decoded chunks are not kept twice. */
    uint64_t undecoded = request->input.size - connection->chunk_begin;
    memmove(request->input.data + connection->head_size, request->input.data + connection->chunk_begin, undecoded);
    request->input.size = (uint64_t)connection->head_size + undecoded;
    connection->chunk_begin = (uint64_t)connection->head_size;
}

static void read_body(http_connection *connection)
{
    switch (connection->request->head.body) {
    case HF_HTTP1_BODY_LENGTH:
        read_length(connection);
        break;
    case HF_HTTP1_BODY_CHUNKED:
        read_chunked(connection);
        break;
    default:
        body_complete(connection, (uint64_t)connection->head_size);
    }
}

static void skip(http_connection *connection)
{
    uint64_t size = connection->ahead.size < connection->skip_left ? connection->ahead.size : connection->skip_left;

    hf_buffer_consume(&connection->ahead, size);
    connection->skip_left -= size;
    if (!connection->skip_left)
        connection->state = HEAD;
}

/* Begins the next request with what was received ahead.  Returns 0 when there is nothing to do. */
static int begin_request(http_connection *connection)
{
    hf_http_request *request = connection->request;

    if (!request) {
        if (!connection->ahead.size)
            return 0;
        request = hf_http_request_create(connection->shard);
        if (!request) {
            hf_http_connection_close(connection);
            return 0;
        }
        request->connection = connection;
        connection->request = request;
        set_deadline(connection, connection->shard->server->settings.receive_timeout_us);
    }
    if (!request->input.size) {
        hf_buffer empty = request->input;
        request->input = connection->ahead;
        connection->ahead = empty;
    } else {
        if (hf_buffer_append(&request->input, connection->ahead.data, connection->ahead.size) != 0)
            hf_http_connection_close(connection);
        hf_buffer_clear(&connection->ahead);
    }
    return 1;
}

/* Takes as many steps as the received bytes allow. */
static void step(http_connection *connection)
{
    for (;;) {
        int before = connection->state;
        uint64_t ahead = connection->ahead.size;

        if (connection->closed || connection->ending || before == HANDLER || before == STREAM || is_behind(connection))
            return;
        if (before == SKIP) {
            skip(connection);
            if (connection->state == SKIP)
                return;
            continue;
        }
        if (!begin_request(connection))
            return;
        if (before == HEAD)
            parse_head(connection);
        if (!connection->closed && connection->state == BODY)
            read_body(connection);
        if (connection->state == before && connection->ahead.size == ahead && !ahead)
            return;
        if ((connection->state == HEAD || connection->state == BODY) && !connection->ahead.size)
            return; /* more bytes are needed */
    }
}

static void process(http_connection *connection)
{
    int was_behind;

    connection->processing++;
    do { /* what came ahead is gone on with here once its client is not behind any more: no event would tell of it */
        step(connection);
        was_behind = is_behind(connection);
        if (!connection->closed)
            flush(connection);
    } while (!connection->closed && was_behind && !is_behind(connection));
    if (!connection->closed)
        watch(connection);
    if (--connection->processing == 0 && connection->closed)
        release(connection);
}

static void receive(http_connection *connection)
{
    hf_buffer *into = &connection->ahead;

    /* A body of known length goes where it belongs at once. */
    if (connection->state == BODY && connection->request->head.body == HF_HTTP1_BODY_LENGTH)
        into = &connection->request->input;
    if (hf_buffer_reserve(into, READ_SIZE) != 0) {
        hf_http_connection_close(connection);
        return;
    }
    ssize_t size = recv(connection->fd, into->data + into->size, into->capacity - into->size, 0);
    if (size > 0) {
        into->size += (uint64_t)size;
        hf_metric_increment(connection->shard->server->received_bytes, (uint64_t)size);
        if (connection->state == BODY || connection->state == SKIP)
            set_deadline(connection, connection->shard->server->settings.receive_timeout_us);
    } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
        hf_http_connection_close(connection);
    }
    if (!connection->closed && connection->state == LINGER)
        hf_buffer_clear(&connection->ahead);
    if (!connection->closed && connection->state == STREAM && connection->ahead.size > PIPELINE_MAXIMUM)
        hf_http_connection_close(connection);
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    http_connection *connection = arg;

    (void)fd;
    connection->processing++;
    if (events & HF_WATCH_WRITE)
        flush(connection);
    if (!connection->closed && (events & HF_WATCH_READ) && connection->state == HANDLER)
        connection->hasty = 1;
    else if (!connection->closed && (events & HF_WATCH_READ))
        receive(connection);
    if (!connection->closed)
        process(connection);
    if (--connection->processing == 0 && connection->closed)
        release(connection);
}

void hf_http_connection_open(http_shard *shard, int fd, uint64_t address)
{
    hf_http_server *server = shard->server;
    http_connection *connection = calloc(1, sizeof *connection);

    if (!connection || hf_watch_create(shard->loop, fd, HF_WATCH_READ, ready, connection, &connection->watch, NULL)) {
        hf_gate_leave(&server->connection_gate, server->shares, ~address, 1, 0);
        free(connection);
        close(fd);
        hf_metric_increment(server->refused_connections, 1);
        return;
    }
    connection->shard = shard;
    connection->fd = fd;
    connection->address = address;
    connection->watched = HF_WATCH_READ;
    hf_buffer_init(&connection->ahead, UINT64_MAX);
    hf_buffer_init(&connection->output, UINT64_MAX);
    connection->next = shard->connections;
    if (connection->next)
        connection->next->previous = connection;
    shard->connections = connection;
    hf_metric_set(server->connections, (double)hf_gate_items(&server->connection_gate));
    set_deadline(connection, server->settings.idle_timeout_us);
}

/* While memory for answers is short, one that takes nothing has to make room soon. */
static int is_stalled(http_connection *connection, uint64_t now_us)
{
    hf_http_server *server = connection->shard->server;
    uint64_t patience_us = server->settings.send_timeout_us;

    if (!connection->sending)
        return 0;
    if (connection->counted && patience_us > SHORT_SEND_US &&
        hf_gate_bytes(&server->answers) > server->answer_limits.bytes / 4)
        patience_us = SHORT_SEND_US;
    if (now_us < connection->taken_us + patience_us)
        return 0;
    uint64_t left = in_kernel(connection);

    if (left >= connection->left_in_kernel)
        return 1;
    connection->left_in_kernel = left; /* it is slow, but takes some */
    connection->taken_us = now_us;
    return 0;
}

static int is_late(const http_connection *connection, uint64_t now_us)
{
    return !connection->sending && connection->deadline_us && connection->deadline_us <= now_us;
}

void hf_http_connections_sweep(http_shard *shard)
{
    uint64_t now = hf_loop_now_us(shard->loop);
    http_connection *next;

    for (http_connection *connection = shard->connections; connection; connection = next) {
        next = connection->next;
        if (is_stalled(connection, now)) {
            hf_metric_increment(shard->server->stalled_connections, 1);
            hf_http_connection_close(connection);
        } else if (is_late(connection, now)) {
            hf_http_connection_close(connection);
        } else if (shard->stopping && (hf_http_connection_idle(connection) || now >= shard->stop_deadline_us)) {
            hf_http_connection_close(connection);
        }
    }
}
