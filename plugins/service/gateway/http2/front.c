/* A client's connection that speaks HTTP/2: each of its streams is a request, and the front of an exchange. */
#include "http2/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum {
    DRAIN_US = 1000000,         /* between the two frames GOAWAY: for requests that are on their way */
    PIECES_AT_A_TIME = 32,      /* of a body */
    SPARE_BUFFER_MAX = 8 << 10, /* bytes */
    ENCODED_HEAD_FACTOR = 2     /* a head may be longer as it is encoded than as text, but not much */
};

/* Why the connection has a deadline. */
enum { WAITS_AS_BEFORE, WAITS_FOR_NOTHING, WAITS_FOR_HEAD, WAITS_FOR_REQUEST, WAITS_TO_SEND, WAITS_TO_DRAIN };

struct gateway_http2 {
    struct gateway_client *client;
    nghttp2_session *session;
    struct gateway_http2_guard guard;
    struct gateway_http2_head head; /* of the request that is coming */
    struct gateway_stream *streams;
    struct gateway_stream *taken; /* of which the client has taken something that waited */
    uint32_t stream_count;
    uint32_t head_maximum;
    int32_t waits_for; /* WAITS_... */
    int32_t is_fed;    /* the session is being fed: it is not asked for bytes */
    int32_t is_over;   /* nothing that comes is looked at any more */
    int32_t drains;    /* 1: the client was told; 2: and which request was the last */
};

struct gateway_stream {
    struct gateway_front front;             /* first */
    struct gateway_stream *next, *previous; /* of the connection; or spare or dead ones */
    struct gateway_stream *next_taken;
    int32_t is_taken;
    struct gateway_http2 *http2;
    struct gateway_exchange *exchange; /* NULL: not yet, or over */
    struct gateway_outlet outlet;
    struct gateway_deadline deadline;
    hf_buffer text; /* the head, as text */
    uint64_t body_size;
    uint64_t unread; /* bytes that came, and for which the client gets no room yet */
    int32_t id;
    int32_t is_paused;
    int32_t is_answered; /* the head of a final answer was submitted */
    int32_t has_body;    /* of the answer */
    int32_t has_ended;   /* the client's side */
    int32_t is_dead;
};

static struct gateway_stream *stream_of(struct gateway_front *front)
{
    return (struct gateway_stream *)front;
}

static struct gateway_worker *worker_of(const struct gateway_stream *stream)
{
    return stream->http2->client->worker;
}

static uint64_t now_of(const struct gateway_http2 *http2)
{
    return gateway_worker_now(http2->client->worker);
}

/* The connection ends, and the client is told why. */
static void give_up(struct gateway_http2 *http2, uint32_t code, const char *why)
{
    if (http2->is_over)
        return;
    http2->is_over = 1;
    if (nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(http2->session), code, (const uint8_t *)why,
                              strlen(why)) != 0 ||
        nghttp2_session_terminate_session(http2->session, code) != 0)
        gateway_client_break_off(http2->client);
    gateway_client_make_due(http2->client);
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

static void stream_overdue(struct gateway_deadline *deadline);
static void taken(struct gateway_outlet *outlet);
static const struct gateway_front_calls calls;

static struct gateway_stream *take_stream(struct gateway_worker *worker)
{
    struct gateway_stream *stream = worker->spare_streams;

    if (stream) {
        worker->spare_streams = stream->next;
        worker->spare_stream_count--;
        return stream;
    }
    stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    hf_buffer_init(&stream->front.waiting, UINT64_MAX);
    hf_buffer_init(&stream->text, UINT64_MAX); /* what is added is bounded */
    return stream;
}

static struct gateway_stream *create_stream(struct gateway_http2 *http2, int32_t id)
{
    struct gateway_stream *stream = take_stream(http2->client->worker);

    if (!stream)
        return NULL;
    stream->front.calls = &calls;
    stream->front.peer = &http2->client->peer;
    stream->http2 = http2;
    stream->id = id;
    stream->deadline.passed = stream_overdue;
    stream->outlet.waiting = &stream->front.waiting;
    stream->outlet.taken = taken;
    hf_buffer_init(&stream->outlet.trailers, GATEWAY_HEAD_OUT_MAX);
    stream->next = http2->streams;
    if (stream->next)
        stream->next->previous = stream;
    http2->streams = stream;
    http2->stream_count++;
    return stream;
}

/* The stream is gone: so is its exchange, if there is one still. */
static void end_stream(struct gateway_stream *stream)
{
    struct gateway_http2 *http2 = stream->http2;
    struct gateway_worker *worker = http2->client->worker;

    if (stream->is_dead)
        return;
    stream->is_dead = 1;
    if (stream->exchange)
        gateway_exchange_over(stream->exchange);
    stream->exchange = NULL;
    gateway_deadline_clear(&worker->wheel, &stream->deadline);
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        http2->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    http2->stream_count--;
    stream->previous = NULL;
    stream->next = worker->dead_streams;
    worker->dead_streams = stream;
    gateway_client_make_due(http2->client); /* the last one may have been waited for */
}

/* Keeps its memory, if that is little, and forgets all else. */
static void wipe(struct gateway_stream *stream)
{
    hf_buffer waiting = stream->front.waiting, text = stream->text;

    hf_buffer_clear(&waiting);
    hf_buffer_clear(&text);
    if (waiting.capacity > SPARE_BUFFER_MAX)
        hf_buffer_done(&waiting);
    if (text.capacity > SPARE_BUFFER_MAX)
        hf_buffer_done(&text);
    memset(stream, 0, sizeof *stream);
    stream->front.waiting = waiting;
    stream->text = text;
}

static void free_stream(struct gateway_stream *stream)
{
    hf_buffer_done(&stream->front.waiting);
    hf_buffer_done(&stream->text);
    free(stream);
}

static void put_away(struct gateway_worker *worker, struct gateway_stream *stream)
{
    hf_buffer_done(&stream->outlet.trailers);
    if (worker->spare_stream_count >= GATEWAY_SPARE_MAX) {
        free_stream(stream);
        return;
    }
    wipe(stream);
    stream->next = worker->spare_streams;
    worker->spare_streams = stream;
    worker->spare_stream_count++;
}

void gateway_http2_free_dead(struct gateway_worker *worker)
{
    while (worker->dead_streams) {
        struct gateway_stream *stream = worker->dead_streams;

        worker->dead_streams = stream->next;
        put_away(worker, stream);
    }
}

void gateway_http2_release(struct gateway_worker *worker)
{
    while (worker->spare_streams) {
        struct gateway_stream *stream = worker->spare_streams;

        worker->spare_streams = stream->next;
        free_stream(stream);
    }
    worker->spare_stream_count = 0;
    free(worker->http2);
    worker->http2 = NULL;
}

static void reset(struct gateway_stream *stream, uint32_t code)
{
    if (nghttp2_submit_rst_stream(stream->http2->session, NGHTTP2_FLAG_NONE, stream->id, code) != 0)
        give_up(stream->http2, NGHTTP2_INTERNAL_ERROR, "no memory");
    gateway_client_make_due(stream->http2->client);
}

/* ---- Time-outs of streams --------------------------------------------------------------------------------------- */

static void expect(struct gateway_stream *stream, uint64_t within_us)
{
    gateway_worker_deadline(worker_of(stream), &stream->deadline, now_of(stream->http2) + within_us);
}

static void expect_nothing(struct gateway_stream *stream)
{
    gateway_deadline_clear(&worker_of(stream)->wheel, &stream->deadline);
}

/* What is to come next: the client takes more, or sends more.  While both talk, silence may be longer. */
static void expect_next(struct gateway_stream *stream)
{
    const struct gateway_exchange *exchange = stream->exchange;
    const struct gateway_listener *listener = stream->http2->client->port->listener;

    if (stream->front.waiting.size || (stream->outlet.ended && stream->has_body))
        expect(stream, listener ? listener->send_timeout_us : DRAIN_US);
    else if (exchange && !stream->has_ended && !stream->is_paused)
        expect(stream, stream->is_answered ? exchange->listener->idle_timeout_us : exchange->listener->body_timeout_us);
    else
        expect_nothing(stream);
}

/* The stream itself goes when the session is done with it. */
static void break_off(struct gateway_stream *stream, uint32_t code)
{
    reset(stream, code);
    if (stream->exchange)
        gateway_exchange_over(stream->exchange);
    stream->exchange = NULL;
    expect_nothing(stream);
}

static void stream_overdue(struct gateway_deadline *deadline)
{
    struct gateway_stream *stream =
        (struct gateway_stream *)((char *)deadline - offsetof(struct gateway_stream, deadline));

    if (stream->exchange && !stream->is_answered && stream->front.waiting.size == 0) {
        gateway_exchange_refuse(stream->exchange, 408, "the request did not come in time");
        return;
    }
    break_off(stream, NGHTTP2_CANCEL);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

static int32_t submit_head(struct gateway_stream *stream, const nghttp2_nv *fields, size_t count, int is_final)
{
    nghttp2_session *session = stream->http2->session;
    nghttp2_data_provider body = {.source = {.ptr = &stream->outlet}, .read_callback = gateway_outlet_read};

    if (!is_final)
        return nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, stream->id, NULL, fields, count, NULL) == 0
                   ? HF_OK
                   : HF_ENOMEM;
    stream->is_answered = 1;
    return nghttp2_submit_response(session, stream->id, fields, count, stream->has_body ? &body : NULL) == 0
               ? HF_OK
               : HF_ENOMEM;
}

static int32_t send_head(struct gateway_front *front, const hf_http1_head *head, hf_slice bytes, hf_error *error)
{
    struct gateway_stream *stream = stream_of(front);
    const struct gateway_exchange *exchange = stream->exchange;
    struct gateway_forward how = {.edits = exchange->response_edits,
                                  .edit_count = exchange->response_edit_count,
                                  .method = exchange->head.method,
                                  .minor = 1,
                                  .keep_alive = 1,
                                  .is_encoded = exchange->is_encoded};
    nghttp2_nv fields[GATEWAY_HTTP2_FIELDS_MAX];
    uint8_t trace[GATEWAY_TRACE_SIZE];
    char text[32];
    int32_t body = HF_HTTP1_BODY_NONE;

    (void)bytes;
    gateway_account_answer(exchange, head->status, trace, &how);
    int64_t count = gateway_http2_response(&how, head, text, fields, &body, error);
    if (count < 0)
        return (int32_t)count;
    for (int64_t i = 0; i < count; i++)
        stream->exchange->account.head_sent += fields[i].namelen + fields[i].valuelen + 4;
    if (head->status >= 200)
        stream->has_body = body != HF_HTTP1_BODY_NONE;
    gateway_client_make_due(stream->http2->client);
    return submit_head(stream, fields, (size_t)count, head->status >= 200);
}

static void send_now(struct gateway_http2 *http2)
{
    struct gateway_client *client = http2->client;

    if (http2->is_fed || client->front.is_broken)
        return;
    if (gateway_http2_send(http2->session, client->worker->http2, &client->socket, &client->front.waiting) != HF_OK)
        gateway_client_break_off(client);
    gateway_client_want(client);
}

/* Large pieces go out from where they are; small ones with what else there is when the callback ends. */
static void flush(struct gateway_front *front)
{
    struct gateway_stream *stream = stream_of(front);
    struct gateway_http2 *http2 = stream->http2;
    struct gateway_gather *gather = &worker_of(stream)->gather;
    uint64_t size = 0;

    if (gather->count == 0 && !stream->outlet.ended)
        return;
    for (uint32_t i = 0; i < gather->count; i++)
        size += gather->pieces[i].iov_len;
    stream->outlet.pieces = gather->pieces;
    stream->outlet.piece_count = gather->count;
    gather->count = 0;
    if (stream->has_body)
        (void)nghttp2_session_resume_data(http2->session, stream->id); /* it fails when it does not wait */
    if (size >= GATEWAY_HTTP2_DIRECT && !stream->is_dead)
        send_now(http2);
    if (gateway_outlet_keep(&stream->outlet) != HF_OK)
        reset(stream, NGHTTP2_INTERNAL_ERROR);
    if (!stream->is_dead)
        expect_next(stream);
    gateway_client_make_due(http2->client);
}

static void send_body(struct gateway_front *front, hf_slice piece)
{
    struct gateway_stream *stream = stream_of(front);
    struct gateway_gather *gather = &worker_of(stream)->gather;

    if (gather->count == PIECES_AT_A_TIME)
        flush(front);
    gather->pieces[gather->count++] = (struct iovec){(void *)(uintptr_t)piece.data, piece.size};
}

/* What still comes of the request is thrown away; the client is told so once the answer is out. */
static void end(struct gateway_front *front, hf_slice trailers)
{
    struct gateway_stream *stream = stream_of(front);
    struct gateway_exchange *exchange = stream->exchange;
    hf_buffer *own = &stream->outlet.trailers;

    stream->outlet.ended = 1;
    stream->exchange = NULL;
    stream->is_paused = 0;
    if (hf_buffer_append(own, trailers.data, trailers.size) != HF_OK)
        reset(stream, NGHTTP2_INTERNAL_ERROR);
    flush(front);
    gateway_exchange_over(exchange);
}

static void destroy(struct gateway_front *front)
{
    struct gateway_stream *stream = stream_of(front);

    if (!stream->is_dead)
        break_off(stream, NGHTTP2_INTERNAL_ERROR);
}

static void taken(struct gateway_outlet *outlet)
{
    struct gateway_stream *stream = (struct gateway_stream *)((char *)outlet - offsetof(struct gateway_stream, outlet));

    if (stream->is_dead || stream->is_taken)
        return;
    stream->is_taken = 1;
    stream->next_taken = stream->http2->taken;
    stream->http2->taken = stream;
    gateway_client_make_due(stream->http2->client);
}

/* More may come of these; not while the session is asked for what it has. */
static void tell_taken(struct gateway_http2 *http2)
{
    while (http2->taken) {
        struct gateway_stream *stream = http2->taken;

        http2->taken = stream->next_taken;
        stream->is_taken = 0;
        if (stream->is_dead)
            continue;
        expect_next(stream);
        if (stream->exchange)
            gateway_exchange_client_writable(stream->exchange);
    }
}

/* ---- Back-pressure of requests ---------------------------------------------------------------------------------- */

static void give_room(struct gateway_stream *stream)
{
    struct gateway_http2 *http2 = stream->http2;

    if (stream->unread && nghttp2_session_consume(http2->session, stream->id, stream->unread) != 0)
        give_up(http2, NGHTTP2_INTERNAL_ERROR, "no memory");
    stream->unread = 0;
    gateway_client_make_due(http2->client);
}

static void pause_reading(struct gateway_front *front)
{
    stream_of(front)->is_paused = 1;
    expect_next(stream_of(front));
}

static void resume(struct gateway_front *front)
{
    struct gateway_stream *stream = stream_of(front);

    if (!stream->is_paused)
        return;
    stream->is_paused = 0;
    expect_next(stream);
    give_room(stream);
}

/* No request of HTTP/2 asks for another protocol this way. */
static void tunnel(struct gateway_front *front)
{
    destroy(front);
}

static void touch(struct gateway_front *front)
{
    expect_next(stream_of(front));
}

static const struct gateway_front_calls calls = {.version = "2",
                                                 .head = send_head,
                                                 .body = send_body,
                                                 .flush = flush,
                                                 .end = end,
                                                 .pause = pause_reading,
                                                 .resume = resume,
                                                 .tunnel = tunnel,
                                                 .touch = touch,
                                                 .destroy = destroy};

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static uint32_t status_for(int64_t code)
{
    return code == HF_ETOOLARGE ? 431 : code == HF_EUNSUPPORTED ? 501 : 400;
}

static int begin_exchange(struct gateway_stream *stream)
{
    struct gateway_client *client = stream->http2->client;

    if (client->port->listener) /* else nobody knows any more what is to become of the request */
        stream->exchange = gateway_exchange_create(client->worker, &stream->front, client->port->listener);
    if (!stream->exchange)
        reset(stream, NGHTTP2_REFUSED_STREAM);
    return stream->exchange != NULL;
}

/* For those who look for the reason. */
static hf_slice first_line(const struct gateway_stream *stream)
{
    const uint8_t *end = stream->text.size ? memchr(stream->text.data, '\r', stream->text.size) : NULL;

    return (hf_slice){stream->text.data, end ? (uint64_t)(end - stream->text.data) : 0};
}

/* No request can be made of the head, which the answer says. */
static void refuse_head(struct gateway_stream *stream, int64_t code, const char *why)
{
    struct gateway_exchange *exchange = stream->exchange;

    exchange->head = (hf_http1_head){.minor = 1};
    exchange->request_ended = stream->has_ended;
    exchange->account.line = first_line(stream);
    gateway_exchange_refuse(exchange, status_for(code), why);
}

static void send_continue(struct gateway_stream *stream)
{
    const nghttp2_nv field = {
        .name = (uint8_t *)(uintptr_t) ":status", .namelen = 7, .value = (uint8_t *)(uintptr_t) "100", .valuelen = 3};

    (void)submit_head(stream, &field, 1, 0); /* clients do not wait for ever */
}

static void start(struct gateway_stream *stream, uint64_t size)
{
    struct gateway_exchange *exchange = stream->exchange;

    exchange->head_bytes = (hf_slice){stream->text.data, size};
    exchange->request_ended = exchange->head.body == HF_HTTP1_BODY_NONE;
    gateway_exchange_start(exchange);
    if (!stream->exchange || stream->has_ended)
        return;
    if (exchange->head.expect_continue && !stream->is_answered)
        send_continue(stream);
    expect_next(stream);
}

static void take_request(struct gateway_stream *stream, const struct gateway_http2_head *head)
{
    hf_slice text = {stream->text.data, stream->text.size};
    hf_error error = {0};

    if (!begin_exchange(stream))
        return;
    if (head->is_too_large) {
        refuse_head(stream, HF_ETOOLARGE, "the head of the request is larger than allowed");
        return;
    }
    if (head->is_wrong) {
        refuse_head(stream, HF_EINVAL, "the head of the request has characters that it cannot have");
        return;
    }
    int64_t size = hf_http1_parse_request(text, &stream->exchange->head, &error);
    if (size == (int64_t)text.size)
        start(stream, text.size);
    else
        refuse_head(stream, size, size < 0 ? error.message : "the head of the request is not one head");
}

static void body_ended(struct gateway_stream *stream)
{
    struct gateway_exchange *exchange = stream->exchange;

    stream->has_ended = 1;
    if (!exchange)
        return;
    expect_next(stream);
    if (!exchange->request_ended)
        gateway_exchange_body_ended(exchange);
}

static void take_body(struct gateway_stream *stream, hf_slice piece)
{
    struct gateway_exchange *exchange = stream->exchange;

    stream->body_size += piece.size;
    if (stream->body_size > exchange->body_maximum) {
        gateway_exchange_refuse(exchange, 413, "the body of the request is larger than allowed");
        return;
    }
    expect_next(stream);
    gateway_exchange_body(exchange, piece);
}

/* ---- What the session calls ------------------------------------------------------------------------------------- */

static struct gateway_stream *find_stream(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_http2 *http2 = arg;
    struct gateway_stream *stream;

    gateway_http2_head_done(&http2->head);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = http2->client->port->listener ? create_stream(http2, frame->hd.stream_id) : NULL;
    if (stream && nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream) == 0)
        return 0;
    /* Nobody knows what is to become of it, or there is no memory: the client may ask again elsewhere. */
    if (stream)
        end_stream(stream);
    (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *arg)
{
    struct gateway_http2 *http2 = arg;
    struct gateway_stream *stream = find_stream(session, frame->hd.stream_id);
    int32_t code;

    (void)flags;
    if (!stream)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        code = gateway_http2_head_add(&http2->head, name, value, http2->head_maximum, &stream->text);
    else
        code = stream->exchange ? gateway_http2_trailer_add(name, value, &stream->exchange->trailers) : HF_OK;
    if (code == HF_OK)
        return 0;
    reset(stream, code == HF_EINVAL ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_INTERNAL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* nghttp2 passes over fields with characters that no field has; nobody else is to wonder what was meant. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                             const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
    (void)name;
    (void)namelen;
    (void)value;
    (void)valuelen;
    (void)flags;
    (void)arg;
    (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void take_head(struct gateway_http2 *http2, struct gateway_stream *stream, int ended)
{
    int32_t code = gateway_http2_head_end(&http2->head, !ended, http2->head_maximum, &stream->text);

    stream->has_ended = ended;
    if (code == HF_OK)
        take_request(stream, &http2->head);
    else
        reset(stream, NGHTTP2_REFUSED_STREAM);
    gateway_http2_head_done(&http2->head);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_http2 *http2 = arg;
    struct gateway_stream *stream = find_stream(session, frame->hd.stream_id);
    int ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (!stream || stream->is_dead)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        take_head(http2, stream, ended);
    else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && ended)
        body_ended(stream);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size, void *arg)
{
    struct gateway_stream *stream = find_stream(session, id);

    (void)flags;
    (void)arg;
    if (!stream || stream->is_dead) {
        (void)nghttp2_session_consume_connection(session, size);
        return 0;
    }
    stream->unread += size;
    if (stream->exchange && !stream->exchange->request_ended)
        take_body(stream, (hf_slice){bytes, size});
    if (!stream->is_paused && !stream->is_dead)
        give_room(stream);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct gateway_stream *stream = find_stream(session, id);

    (void)code;
    (void)arg;
    if (!stream || stream->is_dead)
        return 0;
    if (stream->unread)
        (void)nghttp2_session_consume_connection(session, stream->unread);
    stream->unread = 0;
    end_stream(stream);
    return 0;
}

/* Whether a stream was reset for what the client did. */
static int is_clients_fault(uint32_t code)
{
    return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR || code == NGHTTP2_STREAM_CLOSED ||
           code == NGHTTP2_FRAME_SIZE_ERROR || code == NGHTTP2_REFUSED_STREAM;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_http2 *http2 = arg;
    struct gateway_stream *stream = find_stream(session, frame->hd.stream_id);
    int ended = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (frame->hd.type == NGHTTP2_DATA)
        gateway_http2_guard_sent(&http2->guard);
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_clients_fault(frame->rst_stream.error_code)) {
        const char *why = gateway_http2_guard_reset(&http2->guard, now_of(http2));
        if (why)
            give_up(http2, NGHTTP2_ENHANCE_YOUR_CALM, why);
    }
    if (ended && stream && !stream->is_dead && !stream->has_ended) /* RFC 9113, 8.1 */
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t size,
                        nghttp2_data_source *source, void *arg)
{
    struct gateway_http2 *http2 = arg;

    (void)session;
    (void)frame;
    return gateway_outlet_send(http2->client->worker->http2, head, size, source->ptr);
}

/* ---- The connection --------------------------------------------------------------------------------------------- */

static int32_t create_session(struct gateway_http2 *http2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int failed = nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option);

    if (!failed) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_max_deflate_dynamic_table_size(option, GATEWAY_HTTP2_TABLE_SIZE);
        failed = nghttp2_session_server_new2(&http2->session, callbacks, http2, option);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return failed ? HF_ENOMEM : HF_OK;
}

static int32_t submit_settings(struct gateway_http2 *http2)
{
    const struct gateway_listener *listener = http2->client->port->listener;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, listener->streams_maximum},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GATEWAY_HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)listener->head_maximum}};

    return nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) ==
                       0 &&
                   nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0, GATEWAY_HTTP2_WINDOW) ==
                       0
               ? HF_OK
               : HF_ENOMEM;
}

static void feed(struct gateway_http2 *http2, hf_slice bytes)
{
    if (http2->is_over)
        return;
    const char *why = gateway_http2_guard_look(&http2->guard, bytes, now_of(http2));
    if (why) {
        give_up(http2, http2->guard.code, why);
        return;
    }
    http2->is_fed = 1;
    ssize_t taken_bytes = nghttp2_session_mem_recv(http2->session, bytes.data, bytes.size);
    http2->is_fed = 0;
    if (taken_bytes < 0)
        give_up(http2, taken_bytes == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
                "what it sends cannot be taken");
    gateway_client_make_due(http2->client);
}

int32_t gateway_http2_accept(struct gateway_client *client)
{
    struct gateway_http2 *http2 = calloc(1, sizeof *http2);
    struct gateway_block *block = client->block;

    if (!http2 || !gateway_http2_scratch(client->worker)) {
        free(http2);
        return HF_ENOMEM;
    }
    http2->client = client;
    client->http2 = http2;
    client->state = CLIENT_HTTP2;
    if (create_session(http2) != HF_OK || submit_settings(http2) != HF_OK)
        return HF_ENOMEM; /* the rest goes with the client */
    http2->head_maximum = (uint32_t)client->port->listener->head_maximum;
    gateway_http2_guard_init(&http2->guard, GATEWAY_HTTP2_PREFACE_SIZE, http2->head_maximum * ENCODED_HEAD_FACTOR,
                             gateway_worker_now(client->worker));
    client->block = NULL;
    if (block)
        feed(http2, (hf_slice){block->bytes + client->taken, block->size - client->taken});
    gateway_worker_give_back(client->worker, block);
    client->taken = 0;
    if (client->closes)
        gateway_http2_drain(client);
    gateway_client_make_due(client);
    return HF_OK;
}

/* Which deadline the connection has now.  One that goes on is not put off. */
static void expect_of_connection(struct gateway_http2 *http2)
{
    struct gateway_client *client = http2->client;
    const struct gateway_listener *listener = client->port->listener;
    int32_t waits_for = client->front.waiting.size ? WAITS_TO_SEND
                        : http2->drains == 1       ? WAITS_TO_DRAIN
                        : http2->guard.in_block    ? WAITS_FOR_HEAD
                        : http2->stream_count == 0 ? WAITS_FOR_REQUEST
                                                   : WAITS_FOR_NOTHING;
    const uint64_t within_us[] = {[WAITS_AS_BEFORE] = 0,
                                  [WAITS_FOR_NOTHING] = 0,
                                  [WAITS_FOR_HEAD] = listener ? listener->head_timeout_us : DRAIN_US,
                                  [WAITS_FOR_REQUEST] = listener ? listener->idle_timeout_us : DRAIN_US,
                                  [WAITS_TO_SEND] = listener ? listener->send_timeout_us : DRAIN_US,
                                  [WAITS_TO_DRAIN] = DRAIN_US};

    if (waits_for == http2->waits_for)
        return;
    http2->waits_for = waits_for;
    if (waits_for == WAITS_FOR_NOTHING)
        gateway_deadline_clear(&client->worker->wheel, &client->deadline);
    else
        gateway_client_expect(client, within_us[waits_for]);
}

void gateway_http2_receive(struct gateway_client *client)
{
    struct gateway_worker *worker = client->worker;
    int64_t got = gateway_socket_read(&client->socket, worker->scratch, sizeof worker->scratch);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) {
        gateway_client_destroy(client);
        return;
    }
    feed(client->http2, (hf_slice){worker->scratch, (uint64_t)got});
}

void gateway_http2_writable(struct gateway_client *client)
{
    client->http2->waits_for = WAITS_AS_BEFORE; /* some has gone: the time for the rest begins anew */
    gateway_client_make_due(client);
}

/* All is said: what the client still sends is thrown away, so that it reads what we said last. */
static void finish(struct gateway_http2 *http2)
{
    http2->is_over = 1;
    http2->taken = NULL;
    while (http2->streams)
        end_stream(http2->streams);
    gateway_client_linger(http2->client);
}

void gateway_http2_settle(struct gateway_client *client)
{
    struct gateway_http2 *http2 = client->http2;

    if (client->state != CLIENT_HTTP2)
        return;
    send_now(http2);
    tell_taken(http2);
    if (client->front.is_broken)
        return; /* it is due again, and ends then */
    if (!nghttp2_session_want_read(http2->session) && !nghttp2_session_want_write(http2->session))
        finish(http2);
    else if (http2->is_over && client->front.waiting.size)
        gateway_client_destroy(client); /* it does not even read why */
    else
        expect_of_connection(http2);
}

/* The second frame GOAWAY: which request was the last. */
static void say_last(struct gateway_http2 *http2)
{
    http2->drains = 2;
    if (nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(http2->session), NGHTTP2_NO_ERROR, NULL, 0) != 0)
        gateway_client_break_off(http2->client);
    gateway_client_make_due(http2->client);
}

void gateway_http2_overdue(struct gateway_client *client)
{
    struct gateway_http2 *http2 = client->http2;

    if (client->state == CLIENT_LINGERS || client->front.is_broken || http2->waits_for == WAITS_TO_SEND) {
        gateway_client_destroy(client);
    } else if (http2->waits_for == WAITS_TO_DRAIN) {
        http2->waits_for = WAITS_AS_BEFORE;
        say_last(http2);
    } else if (http2->waits_for == WAITS_FOR_HEAD) {
        give_up(http2, NGHTTP2_ENHANCE_YOUR_CALM, "the head of a request did not come in time");
    } else {
        http2->is_over = 1; /* idle for too long */
        (void)nghttp2_session_terminate_session(http2->session, NGHTTP2_NO_ERROR);
        gateway_client_make_due(client);
    }
}

void gateway_http2_drain(struct gateway_client *client)
{
    struct gateway_http2 *http2 = client->http2;

    if (http2->drains || http2->is_over)
        return;
    http2->drains = 1;
    if (nghttp2_submit_shutdown_notice(http2->session) != 0)
        gateway_client_break_off(client);
    gateway_client_make_due(client);
}

void gateway_http2_close(struct gateway_client *client)
{
    struct gateway_http2 *http2 = client->http2;

    http2->is_over = 1;
    http2->taken = NULL;
    while (http2->streams)
        end_stream(http2->streams);
}

void gateway_http2_free(struct gateway_client *client)
{
    struct gateway_http2 *http2 = client->http2;

    if (!http2)
        return;
    gateway_http2_head_done(&http2->head);
    nghttp2_session_del(http2->session);
    free(http2);
}
