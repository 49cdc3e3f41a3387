/* A connection to a server that speaks HTTP/2, the carrier, and the lanes on it: each is the link of an exchange.  The
 * carrier is a link, too, as far as connecting, TLS and the socket go. */
#include "http2/private.h"

#include "tls/server.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

struct gateway_lane;

enum { WAITS_AS_BEFORE, WAITS_FOR_NOTHING, WAITS_TO_SEND, WAITS_FOR_USE };

struct gateway_carrier {
    struct gateway_carrier *next, *previous; /* of the view */
    struct gateway_carrier *next_due;
    int32_t is_due;
    struct gateway_link *link;
    struct gateway_view *view;
    nghttp2_session *session;       /* NULL: it is being connected */
    struct gateway_http2_head head; /* of the answer that is coming */
    struct gateway_lane *lanes;
    uint32_t lane_count;
    uint32_t lanes_maximum;
    struct gateway_lane *gathered; /* whose answer is gathered, and not flushed yet; NULL: nobody's */
    int32_t waits_for;             /* WAITS_... */
    int32_t is_fed;
    int32_t has_answered; /* a request */
    int32_t goes;         /* it takes no more */
    int32_t is_broken;    /* it ends with the callback */
    int32_t is_dead;
};

struct gateway_lane {
    struct gateway_link link;             /* first */
    struct gateway_lane *next, *previous; /* of the carrier */
    struct gateway_carrier *carrier;      /* NULL: it is off it */
    struct gateway_outlet outlet;
    uint64_t unread; /* bytes that came, and for which the server gets no room yet */
    int32_t id;      /* 0: the request has not begun */
};

static void lane_overdue(struct gateway_deadline *deadline);
static void taken(struct gateway_outlet *outlet);
static const struct gateway_link_calls calls;

static struct gateway_lane *lane_of(struct gateway_link *link)
{
    return (struct gateway_lane *)link;
}

static void make_due(struct gateway_carrier *carrier)
{
    struct gateway_worker *worker = carrier->link->worker;

    if (carrier->is_due || carrier->is_dead)
        return;
    carrier->is_due = 1;
    carrier->next_due = worker->due_carriers;
    worker->due_carriers = carrier;
}

static void break_off(struct gateway_carrier *carrier)
{
    carrier->is_broken = 1;
    carrier->goes = 1;
    make_due(carrier);
}

/* ---- Lanes ------------------------------------------------------------------------------------------------------ */

static void enter(struct gateway_lane *lane, struct gateway_carrier *carrier)
{
    lane->carrier = carrier;
    lane->next = carrier->lanes;
    if (lane->next)
        lane->next->previous = lane;
    carrier->lanes = lane;
    carrier->lane_count++;
}

static void exit_carrier(struct gateway_lane *lane)
{
    struct gateway_carrier *carrier = lane->carrier;

    if (carrier->gathered == lane)
        carrier->gathered = NULL;
    if (lane->previous)
        lane->previous->next = lane->next;
    else
        carrier->lanes = lane->next;
    if (lane->next)
        lane->next->previous = lane->previous;
    lane->next = lane->previous = NULL;
    lane->carrier = NULL;
    carrier->lane_count--;
    make_due(carrier);
}

static void bury(struct gateway_lane *lane)
{
    hf_buffer_done(&lane->outlet.trailers);
    gateway_link_bury(&lane->link);
}

/* The session knows the lane no more.  Whoever still has it learns why. */
static void close_lane(struct gateway_lane *lane, int32_t why)
{
    exit_carrier(lane);
    if (lane->link.exchange)
        gateway_exchange_link_failed(lane->link.exchange, why);
    else
        bury(lane);
}

/* The request was not looked at, and may go anywhere; also to this server, by another connection. */
static void refuse_lane(struct gateway_lane *lane)
{
    struct gateway_carrier *carrier = lane->carrier;

    lane->link.has_sent = 0;
    lane->link.is_reused |= carrier->goes || carrier->lane_count > 1;
    if (carrier->lane_count > 1 && carrier->lanes_maximum >= carrier->lane_count)
        carrier->lanes_maximum = carrier->lane_count - 1; /* it has less room than it said */
    close_lane(lane, LINK_ERROR);
}

static void lane_overdue(struct gateway_deadline *deadline)
{
    struct gateway_lane *lane = (struct gateway_lane *)((char *)deadline - offsetof(struct gateway_link, deadline));

    gateway_exchange_link_failed(lane->link.exchange, LINK_TIMEOUT);
}

static void expect_more(struct gateway_lane *lane)
{
    gateway_link_expect(&lane->link, gateway_worker_now(lane->link.worker) + lane->link.set->receive_timeout_us);
}

static void reset(struct gateway_lane *lane, uint32_t code)
{
    if (nghttp2_submit_rst_stream(lane->carrier->session, NGHTTP2_FLAG_NONE, lane->id, code) != 0)
        break_off(lane->carrier);
    make_due(lane->carrier);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static void send_now(struct gateway_carrier *carrier)
{
    struct gateway_link *link = carrier->link;

    if (carrier->is_fed || carrier->is_broken)
        return;
    if (gateway_http2_send(carrier->session, link->worker->http2, &link->socket, &link->waiting) != HF_OK)
        break_off(carrier);
    else
        gateway_link_want(link);
}

static void begin(struct gateway_link *link, hf_slice head, hf_slice body)
{
    struct gateway_lane *lane = lane_of(link);
    struct gateway_carrier *carrier = lane->carrier;
    int has_body = link->body_out != HF_HTTP1_BODY_NONE;
    nghttp2_data_provider provider = {.source = {.ptr = &lane->outlet}, .read_callback = gateway_outlet_read};
    nghttp2_nv *fields = NULL;
    uint32_t count = 0;

    if (hf_buffer_append(&link->waiting, body.data, body.size) == HF_OK)
        count =
            gateway_http2_request(head, gateway_socket_is_tls(&carrier->link->socket), &link->exchange->arena, &fields);
    lane->id =
        count ? nghttp2_submit_request(carrier->session, NULL, fields, count, has_body ? &provider : NULL, lane) : -1;
    if (lane->id < 0) { /* no memory, or no numbers are left: another connection will do */
        lane->id = 0;
        break_off(carrier);
    }
    make_due(carrier);
}

/* Large pieces go out from where they are. */
static void send_body(struct gateway_link *link, hf_slice piece)
{
    struct gateway_lane *lane = lane_of(link);
    const struct iovec pieces = {(void *)(uintptr_t)piece.data, piece.size};

    lane->outlet.pieces = &pieces;
    lane->outlet.piece_count = 1;
    if (lane->id)
        (void)nghttp2_session_resume_data(lane->carrier->session, lane->id); /* it fails when it does not wait */
    if (lane->id && piece.size >= GATEWAY_HTTP2_DIRECT)
        send_now(lane->carrier);
    if (gateway_outlet_keep(&lane->outlet) != HF_OK)
        break_off(lane->carrier);
    make_due(lane->carrier);
}

static void end(struct gateway_link *link, hf_slice trailers)
{
    struct gateway_lane *lane = lane_of(link);

    lane->outlet.ended = 1;
    if (hf_buffer_append(&lane->outlet.trailers, trailers.data, trailers.size) != HF_OK)
        break_off(lane->carrier);
    if (lane->id)
        (void)nghttp2_session_resume_data(lane->carrier->session, lane->id);
    make_due(lane->carrier);
}

static void taken(struct gateway_outlet *outlet)
{
    struct gateway_lane *lane = (struct gateway_lane *)((char *)outlet - offsetof(struct gateway_lane, outlet));

    if (lane->link.exchange)
        gateway_exchange_link_writable(lane->link.exchange);
}

static void pause_reading(struct gateway_link *link)
{
    link->is_paused = 1;
    gateway_link_expect(link, 0); /* it is the client that is slow */
}

static void resume(struct gateway_link *link)
{
    struct gateway_lane *lane = lane_of(link);

    if (!link->is_paused)
        return;
    link->is_paused = 0;
    expect_more(lane);
    if (lane->unread && nghttp2_session_consume_stream(lane->carrier->session, lane->id, lane->unread) != 0)
        break_off(lane->carrier);
    lane->unread = 0;
    make_due(lane->carrier);
}

/* Nobody is asked for another protocol this way. */
static void tunnel(struct gateway_link *link)
{
    gateway_exchange_link_failed(link->exchange, LINK_INVALID);
}

/* The lane stays until the session is done with it. */
static void left(struct gateway_link *link, struct gateway_view *view, int32_t whole)
{
    struct gateway_lane *lane = lane_of(link);

    (void)view;
    gateway_link_expect(link, 0);
    if (lane->carrier && lane->carrier->gathered == lane)
        lane->carrier->gathered = NULL;
    if (lane->carrier && lane->id == 0)
        exit_carrier(lane);
    if (!lane->carrier) {
        bury(lane);
        return;
    }
    if (!link->is_complete || !whole || !nghttp2_session_get_stream_local_close(lane->carrier->session, lane->id))
        reset(lane, link->is_complete ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
}

static const struct gateway_link_calls calls = {.begin = begin,
                                                .body = send_body,
                                                .end = end,
                                                .pause = pause_reading,
                                                .resume = resume,
                                                .tunnel = tunnel,
                                                .left = left};

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

/* What was gathered of one answer goes out before another is touched. */
static void flush(struct gateway_carrier *carrier)
{
    struct gateway_lane *lane = carrier->gathered;

    carrier->gathered = NULL;
    if (lane && lane->link.exchange)
        gateway_exchange_answer_flush(lane->link.exchange);
}

static void turn_to(struct gateway_carrier *carrier, struct gateway_lane *lane)
{
    if (carrier->gathered != lane)
        flush(carrier);
    carrier->gathered = lane;
}

static void complete(struct gateway_lane *lane)
{
    lane->carrier->gathered = NULL;
    lane->carrier->has_answered = 1;
    lane->link.is_complete = 1;
    gateway_exchange_answered(lane->link.exchange);
}

static void invalid(struct gateway_lane *lane)
{
    gateway_exchange_link_failed(lane->link.exchange, LINK_INVALID);
}

/* An answer without a body ends with its head, and a client of HTTP/1.1 must see that. */
static int32_t end_head(struct gateway_lane *lane, int ended)
{
    struct gateway_http2_head *head = &lane->carrier->head;
    int is_silent = hf_slice_is(lane->link.exchange->head.method, "HEAD") || gateway_http2_head_is_silent(head);
    hf_buffer *text = &lane->link.partial;

    if (ended && !is_silent && !head->has_length) {
        static const char none[] = "content-length: 0\r\n";
        int32_t code = gateway_http2_head_begin(head, text);

        if (code == HF_OK)
            code = hf_buffer_append(text, none, sizeof none - 1);
        if (code != HF_OK)
            return code;
    }
    return gateway_http2_head_end(head, !ended && !is_silent, GATEWAY_ANSWER_HEAD_MAX, text);
}

static void take_head(struct gateway_lane *lane, int ended)
{
    struct gateway_link *link = &lane->link;
    const struct gateway_http2_head *read = &lane->carrier->head;
    hf_http1_head *head = &link->worker->answer;
    hf_slice bytes = {link->partial.data, link->partial.size};

    if (read->is_too_large || read->is_wrong ||
        hf_http1_parse_response(bytes, link->exchange->head.method, head, NULL) != (int64_t)bytes.size ||
        head->status == 101) {
        invalid(lane);
        return;
    }
    if (head->status >= 200) {
        link->state = LINK_BODY;
        link->body = head->body;
        expect_more(lane);
    }
    gateway_exchange_head(link->exchange, head, bytes);
    hf_buffer_clear(&link->partial);
    if (link->exchange && ended)
        complete(lane);
}

/* ---- What the session calls ------------------------------------------------------------------------------------- */

/* NULL: nobody wants to know any more. */
static struct gateway_lane *find_lane(nghttp2_session *session, int32_t id)
{
    struct gateway_lane *lane = nghttp2_session_get_stream_user_data(session, id);

    return lane && lane->link.exchange ? lane : NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = find_lane(session, frame->hd.stream_id);

    gateway_http2_head_done(&carrier->head);
    if (lane)
        lane->link.has_answered = 1;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = find_lane(session, frame->hd.stream_id);
    int32_t code;

    (void)flags;
    if (!lane)
        return 0;
    if (lane->link.state == LINK_HEAD)
        code = gateway_http2_head_add(&carrier->head, name, value, GATEWAY_ANSWER_HEAD_MAX, &lane->link.partial);
    else
        code = gateway_http2_trailer_add(name, value, &lane->link.trailers);
    if (code == HF_OK)
        return 0;
    turn_to(carrier, lane);
    gateway_exchange_link_failed(lane->link.exchange, code == HF_ENOMEM ? LINK_ERROR : LINK_INVALID);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
                             const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
    struct gateway_lane *lane = find_lane(session, frame->hd.stream_id);

    (void)name;
    (void)namelen;
    (void)value;
    (void)valuelen;
    (void)flags;
    if (lane) {
        turn_to(arg, lane);
        invalid(lane);
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void take_headers(struct gateway_carrier *carrier, struct gateway_lane *lane, int ended)
{
    turn_to(carrier, lane);
    if (lane->link.state != LINK_HEAD) { /* trailers */
        if (ended)
            complete(lane);
    } else if (end_head(lane, ended) == HF_OK) {
        take_head(lane, ended);
    } else {
        gateway_exchange_link_failed(lane->link.exchange, LINK_ERROR);
    }
    gateway_http2_head_done(&carrier->head);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = frame->hd.stream_id ? find_lane(session, frame->hd.stream_id) : NULL;
    int ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        carrier->goes = 1;
        make_due(carrier);
    } else if (lane && frame->hd.type == NGHTTP2_HEADERS) {
        take_headers(carrier, lane, ended);
    } else if (lane && frame->hd.type == NGHTTP2_DATA && ended) {
        turn_to(carrier, lane);
        complete(lane);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = find_lane(session, id);

    (void)flags;
    /* One client that is slow does not hold up the others: each has the room of its own stream. */
    (void)nghttp2_session_consume_connection(session, size);
    if (!lane)
        return 0;
    turn_to(carrier, lane);
    if (!lane->link.is_paused)
        expect_more(lane);
    lane->unread += size;
    gateway_exchange_answer_body(lane->link.exchange, (hf_slice){bytes, size});
    if (lane->link.exchange && !lane->link.is_paused) {
        (void)nghttp2_session_consume_stream(session, id, lane->unread);
        lane->unread = 0;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = nghttp2_session_get_stream_user_data(session, id);

    if (!lane)
        return 0;
    turn_to(carrier, lane);
    lane->link.is_reused = 0; /* it is the server that does not want the request, and not a connection that was old */
    if (lane->link.exchange && code == NGHTTP2_REFUSED_STREAM)
        refuse_lane(lane);
    else
        close_lane(lane, code == NGHTTP2_PROTOCOL_ERROR ? LINK_INVALID : LINK_ERROR);
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gateway_lane *lane = frame->hd.stream_id ? find_lane(session, frame->hd.stream_id) : NULL;

    (void)arg;
    if (lane && frame->hd.type == NGHTTP2_HEADERS)
        lane->link.has_sent = 1;
    return 0;
}

/* A request that was too late for a server that goes. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
    struct gateway_carrier *carrier = arg;
    struct gateway_lane *lane = carrier->lanes;

    (void)session;
    (void)error;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    while (lane && lane->id != frame->hd.stream_id)
        lane = lane->next;
    if (lane)
        refuse_lane(lane);
    return 0;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t size,
                        nghttp2_data_source *source, void *arg)
{
    struct gateway_carrier *carrier = arg;

    (void)session;
    (void)frame;
    return gateway_outlet_send(carrier->link->worker->http2, head, size, source->ptr);
}

/* ---- The connection --------------------------------------------------------------------------------------------- */

static void leave_view(struct gateway_carrier *carrier)
{
    if (carrier->previous)
        carrier->previous->next = carrier->next;
    else
        carrier->view->carriers = carrier->next;
    if (carrier->next)
        carrier->next->previous = carrier->previous;
    carrier->next = carrier->previous = NULL;
}

/* It ends at once, and with it all requests that are on it. */
static void close_carrier(struct gateway_carrier *carrier, int32_t why)
{
    if (carrier->is_dead)
        return;
    carrier->is_dead = 1;
    carrier->goes = 1;
    leave_view(carrier);
    flush(carrier);
    while (carrier->lanes)
        close_lane(carrier->lanes, why);
    gateway_link_bury(carrier->link);
}

void gateway_http2_carrier_free(struct gateway_carrier *carrier)
{
    if (!carrier)
        return;
    gateway_http2_head_done(&carrier->head);
    nghttp2_session_del(carrier->session);
    free(carrier);
}

static int32_t create_session(struct gateway_carrier *carrier)
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
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_max_deflate_dynamic_table_size(option, GATEWAY_HTTP2_TABLE_SIZE);
        failed = nghttp2_session_client_new2(&carrier->session, callbacks, carrier, option);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return failed ? HF_ENOMEM : HF_OK;
}

static int32_t submit_settings(const struct gateway_carrier *carrier)
{
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GATEWAY_HTTP2_STREAM_WINDOW},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GATEWAY_ANSWER_HEAD_MAX}};
    uint64_t window = (uint64_t)carrier->lanes_maximum * GATEWAY_HTTP2_STREAM_WINDOW;
    int32_t most = window < INT32_MAX ? (int32_t)window : INT32_MAX;

    return nghttp2_submit_settings(carrier->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) ==
                       0 &&
                   nghttp2_session_set_local_window_size(carrier->session, NGHTTP2_FLAG_NONE, 0, most) == 0
               ? HF_OK
               : HF_ENOMEM;
}

/* Requests that were waiting for the connection begin. */
static void begin_lanes(struct gateway_carrier *carrier)
{
    struct gateway_lane *next;

    for (struct gateway_lane *lane = carrier->lanes; lane && !carrier->is_broken; lane = next) {
        next = lane->next;
        lane->link.state = LINK_HEAD;
        gateway_exchange_link_ready(lane->link.exchange);
    }
}

void gateway_http2_connected(struct gateway_link *link)
{
    struct gateway_carrier *carrier = link->carrier;

    if (gateway_socket_is_tls(&link->socket) && gateway_socket_protocol(&link->socket) != GATEWAY_ALPN_H2) {
        close_carrier(carrier, LINK_ERROR);
        return;
    }
    if (create_session(carrier) != HF_OK || submit_settings(carrier) != HF_OK) {
        close_carrier(carrier, LINK_ERROR);
        return;
    }
    gateway_server_set_release(link->set); /* it outlives that */
    link->set = NULL;
    begin_lanes(carrier);
    make_due(carrier);
}

void gateway_http2_carrier_failed(struct gateway_link *link, int32_t why)
{
    close_carrier(link->carrier, why);
}

/* As many as the server says, and we want. */
static uint32_t most_lanes(const struct gateway_carrier *carrier)
{
    uint32_t most = carrier->lanes_maximum, theirs = most;

    if (carrier->session)
        theirs = nghttp2_session_get_remote_settings(carrier->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    most = theirs < most ? theirs : most;
    return most ? most : 1;
}

/* What a new connection to a server will take, before that has said it. */
static uint32_t guess_lanes(const struct gateway_view *view, const struct gateway_server *server, uint32_t most)
{
    for (const struct gateway_carrier *carrier = view->carriers; carrier; carrier = carrier->next)
        if (carrier->link->server == server && most_lanes(carrier) < most)
            most = most_lanes(carrier);
    return most;
}

static struct gateway_carrier *create_carrier(struct gateway_exchange *exchange, uint32_t place, hf_error *error)
{
    struct gateway_view *view = exchange->view;
    struct gateway_carrier *carrier = calloc(1, sizeof *carrier);
    struct gateway_link *link = carrier ? gateway_link_create(exchange, place) : NULL;

    if (!link || !gateway_http2_scratch(exchange->worker)) {
        hf_error_set(error, HF_ENOMEM, "no memory for a connection to a server");
        if (link)
            gateway_link_bury(link);
        free(carrier);
        return NULL;
    }
    carrier->link = link;
    carrier->view = view;
    carrier->lanes_maximum = guess_lanes(view, link->server, exchange->set->streams_maximum);
    carrier->goes = exchange->set != view->set; /* places are those of that one */
    link->carrier = carrier;
    if (gateway_link_connect(link, error) != HF_OK) {
        carrier->is_dead = 1;
        gateway_link_bury(link);
        return NULL;
    }
    carrier->next = view->carriers;
    if (carrier->next)
        carrier->next->previous = carrier;
    view->carriers = carrier;
    return carrier;
}

static struct gateway_carrier *find_carrier(const struct gateway_view *view, const struct gateway_server *server)
{
    for (struct gateway_carrier *carrier = view->carriers; carrier; carrier = carrier->next)
        if (carrier->link->server == server && !carrier->goes && carrier->lane_count < most_lanes(carrier))
            return carrier;
    return NULL;
}

int32_t gateway_http2_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                           hf_error *error)
{
    struct gateway_carrier *carrier = find_carrier(exchange->view, exchange->set->places[place].server);
    struct gateway_lane *lane = calloc(1, sizeof *lane);
    struct gateway_link *link = &lane->link;

    if (!lane)
        return hf_error_set(error, HF_ENOMEM, "no memory for a request to a server");
    if (!carrier)
        carrier = create_carrier(exchange, place, error);
    if (!carrier) {
        free(lane);
        return HF_EIO;
    }
    gateway_link_init(link, exchange, place);
    link->calls = &calls;
    link->deadline.passed = lane_overdue;
    link->state = carrier->session ? LINK_HEAD : LINK_CONNECTING;
    link->is_reused = carrier->has_answered;
    link->call = *call;
    link->picked_us = gateway_worker_now(link->worker);
    lane->outlet.waiting = &link->waiting;
    lane->outlet.taken = taken;
    hf_buffer_init(&lane->outlet.trailers, GATEWAY_HEAD_OUT_MAX);
    enter(lane, carrier);
    link->exchange = exchange;
    exchange->link = link;
    if (carrier->session)
        gateway_exchange_link_ready(exchange);
    return HF_OK;
}

static void receive(struct gateway_carrier *carrier)
{
    struct gateway_worker *worker = carrier->link->worker;
    int64_t got = gateway_socket_read(&carrier->link->socket, worker->scratch, sizeof worker->scratch);

    if (got == GATEWAY_AGAIN)
        return;
    if (got <= 0) {
        break_off(carrier);
        return;
    }
    carrier->is_fed = 1;
    ssize_t used = nghttp2_session_mem_recv(carrier->session, worker->scratch, (size_t)got);
    flush(carrier);
    carrier->is_fed = 0;
    if (used < 0)
        break_off(carrier);
    make_due(carrier);
}

static void send_waiting(struct gateway_carrier *carrier)
{
    struct gateway_link *link = carrier->link;
    struct iovec piece = {link->waiting.data, link->waiting.size};
    int64_t sent = link->waiting.size ? gateway_socket_write(&link->socket, &piece, 1) : 0;

    if (sent == GATEWAY_BROKEN)
        break_off(carrier);
    else if (sent > 0)
        hf_buffer_consume(&link->waiting, (uint64_t)sent);
    if (link->waiting.size == 0)
        hf_buffer_done(&link->waiting);
    if (sent > 0)
        carrier->waits_for = WAITS_AS_BEFORE; /* the time for the rest begins anew */
    gateway_link_want(link);
    make_due(carrier);
}

void gateway_http2_carrier_ready(struct gateway_link *link, uint32_t events)
{
    struct gateway_carrier *carrier = link->carrier;

    if (events & HF_WATCH_WRITE)
        send_waiting(carrier);
    if (events & HF_WATCH_READ)
        do
            receive(carrier);
        while (!carrier->is_broken && gateway_socket_has_more(&link->socket));
}

void gateway_http2_carrier_overdue(struct gateway_link *link)
{
    struct gateway_carrier *carrier = link->carrier;

    if (carrier->waits_for == WAITS_TO_SEND) {
        close_carrier(carrier, LINK_TIMEOUT);
        return;
    }
    carrier->goes = 1;
    make_due(carrier);
}

/* ---- The end of a callback -------------------------------------------------------------------------------------- */

static void expect(struct gateway_carrier *carrier)
{
    struct gateway_link *link = carrier->link;
    const struct gateway_server_set *set = carrier->view->set;
    int32_t waits_for = link->waiting.size         ? WAITS_TO_SEND
                        : carrier->lane_count == 0 ? WAITS_FOR_USE
                                                   : WAITS_FOR_NOTHING;

    if (waits_for == carrier->waits_for)
        return;
    carrier->waits_for = waits_for;
    if (waits_for == WAITS_FOR_NOTHING)
        gateway_link_expect(link, 0);
    else
        gateway_link_expect(link, gateway_worker_now(link->worker) +
                                      (waits_for == WAITS_TO_SEND ? set->send_timeout_us : set->idle_timeout_us));
}

/* Whether there are as many without a request as are to be kept. */
static int is_one_too_many(const struct gateway_carrier *carrier)
{
    uint32_t idle = 0;

    if (carrier->lane_count)
        return 0;
    for (const struct gateway_carrier *each = carrier->view->carriers; each; each = each->next)
        idle += each->link->server == carrier->link->server && each->session && each->lane_count == 0;
    return idle > carrier->view->set->idle_maximum;
}

static void settle(struct gateway_carrier *carrier)
{
    carrier->is_due = 0;
    if (carrier->is_dead)
        return;
    if (carrier->session && !carrier->is_broken)
        send_now(carrier);
    if (carrier->is_broken) {
        close_carrier(carrier, LINK_ERROR);
        return;
    }
    carrier->goes |= carrier->link->worker->is_draining || is_one_too_many(carrier);
    if (carrier->lane_count == 0 && carrier->goes) {
        if (carrier->session) { /* politely, as far as it goes */
            (void)nghttp2_session_terminate_session(carrier->session, NGHTTP2_NO_ERROR);
            send_now(carrier);
            gateway_socket_end(&carrier->link->socket);
        }
        close_carrier(carrier, LINK_ERROR);
    } else if (carrier->session && !nghttp2_session_want_read(carrier->session) &&
               !nghttp2_session_want_write(carrier->session)) {
        close_carrier(carrier, LINK_ERROR);
    } else if (carrier->session) {
        expect(carrier);
    }
}

void gateway_http2_settle_carriers(struct gateway_worker *worker)
{
    while (worker->due_carriers) {
        struct gateway_carrier *carrier = worker->due_carriers;

        worker->due_carriers = carrier->next_due;
        settle(carrier);
    }
}

/* ---- Sets of servers -------------------------------------------------------------------------------------------- */

static int stays(const struct gateway_carrier *carrier, const struct gateway_server_set *before,
                 const struct gateway_server_set *set)
{
    struct gateway_link *link = carrier->link;

    if (!set || !set->http2 || !carrier->session || carrier->goes || !gateway_tls_client_is_like(before->tls, set->tls))
        return 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->places[i].server != link->server || set->places[i].is_draining)
            continue;
        int32_t address =
            gateway_addresses_find(&set->places[i].addresses, &before->places[link->place].addresses, link->address);
        if (address < 0) /* the server is no longer there */
            return 0;
        link->place = i;
        link->address = (uint32_t)address;
        return 1;
    }
    return 0;
}

void gateway_http2_follow(struct gateway_view *view, const struct gateway_server_set *set)
{
    for (struct gateway_carrier *carrier = view->carriers; carrier; carrier = carrier->next)
        if (!stays(carrier, view->set, set)) {
            carrier->goes = 1;
            make_due(carrier);
        }
}

void gateway_http2_close_view(struct gateway_view *view)
{
    while (view->carriers)
        close_carrier(view->carriers, LINK_ERROR);
}
