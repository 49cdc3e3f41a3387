#include "proxy/outflow.h"

#include "filter/deflater.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum {
    ROOM_SIZE = 32 << 10,    /* of what has been compressed and is not yet sent */
    STREAM_LENGTH = 4 << 10, /* streams of events are open for long, and their messages are short */
    FASTER = 5,
    FAST = 7 /* levels */
};

struct gateway_outflow {
    struct gateway_exchange *exchange;
    struct gateway_outflow *next, *previous; /* of those that wait for their turn */
    struct gateway_deflater *deflater;       /* NULL: it goes as it is */
    hf_buffer pending;                       /* of the body; not compressed yet */
    uint64_t pending_taken;
    const struct gateway_chunk *feed; /* of a stored body: what comes next; NULL: nothing */
    uint64_t feed_taken;
    hf_buffer trailers;
    uint64_t slice;  /* bytes that are compressed at a time */
    uint32_t unsent; /* bytes at the end of the worker's room */
    int32_t is_due;
    int32_t is_flowing; /* nobody knows when more comes: nothing is held back */
    int32_t wants_flush;
    int32_t has_ended;
};

/* Of a worker. */
struct gateway_outflows {
    struct gateway_worker *worker;
    struct gateway_deflaters deflaters;
    hf_timer *timer;
    struct gateway_outflow *due, *due_end;
    uint64_t turn_us; /* the wake-up in which something was last compressed */
    uint64_t left;    /* bytes that may still be, in the same one */
    uint32_t taken;   /* bytes of the room */
    uint8_t room[ROOM_SIZE];
};

/* ---- Turns ------------------------------------------------------------------------------------------------------- */

static void turn(void *arg);

static int32_t create_outflows(struct gateway_worker *worker)
{
    struct gateway_outflows *outflows = calloc(1, sizeof *outflows);

    if (!outflows)
        return HF_ENOMEM;
    outflows->worker = worker;
    if (worker->loops->timer_create(worker->loop, turn, outflows, &outflows->timer, NULL) != HF_OK) {
        free(outflows);
        return HF_ENOMEM;
    }
    worker->outflows = outflows;
    return HF_OK;
}

void gateway_outflows_stop(struct gateway_worker *worker)
{
    if (!worker->outflows)
        return;
    worker->loops->timer_destroy(worker->outflows->timer);
    worker->outflows->timer = NULL;
}

void gateway_outflows_destroy(struct gateway_worker *worker)
{
    if (!worker->outflows)
        return;
    gateway_deflaters_done(&worker->outflows->deflaters);
    free(worker->outflows);
    worker->outflows = NULL;
}

static void make_due(struct gateway_outflow *outflow)
{
    struct gateway_outflows *outflows = outflow->exchange->worker->outflows;

    if (outflow->is_due || outflow->exchange->is_dead)
        return;
    if (!outflows->due)
        outflows->worker->loops->timer_start(outflows->timer, 0, 0);
    outflow->is_due = 1;
    outflow->next = NULL;
    outflow->previous = outflows->due_end;
    if (outflow->previous)
        outflow->previous->next = outflow;
    else
        outflows->due = outflow;
    outflows->due_end = outflow;
}

static void not_due(struct gateway_outflow *outflow)
{
    struct gateway_outflows *outflows = outflow->exchange->worker->outflows;

    if (!outflow->is_due)
        return;
    outflow->is_due = 0;
    if (outflow->previous)
        outflow->previous->next = outflow->next;
    else
        outflows->due = outflow->next;
    if (outflow->next)
        outflow->next->previous = outflow->previous;
    else
        outflows->due_end = outflow->previous;
}

/* ---- Compressing ------------------------------------------------------------------------------------------------- */

/* What was compressed goes to the front, which has it until it is flushed. */
static void emit(struct gateway_outflow *outflow)
{
    struct gateway_exchange *exchange = outflow->exchange;
    const struct gateway_outflows *outflows = exchange->worker->outflows;
    uint32_t size = outflow->unsent;

    outflow->unsent = 0;
    if (size == 0 || exchange->is_dead)
        return;
    exchange->bytes_sent += size;
    exchange->front->calls->body(exchange->front, (hf_slice){outflows->room + outflows->taken - size, size});
}

/* The room is the worker's: nothing of it is kept beyond a flush. */
static void send_out(struct gateway_outflow *outflow)
{
    struct gateway_exchange *exchange = outflow->exchange;

    emit(outflow);
    if (!exchange->is_dead)
        exchange->front->calls->flush(exchange->front);
    exchange->worker->outflows->taken = 0;
}

static void compress(struct gateway_outflow *outflow, hf_slice input, int32_t how)
{
    struct gateway_outflows *outflows = outflow->exchange->worker->outflows;
    uint64_t room, made;

    if (outflows->worker->gather.count == 0 && outflow->unsent == 0)
        outflows->taken = 0;
    do {
        if (outflows->taken == ROOM_SIZE)
            send_out(outflow);
        room = ROOM_SIZE - outflows->taken;
        made = gateway_deflate(outflow->deflater, &input, how, outflows->room + outflows->taken, room);
        outflows->taken += (uint32_t)made;
        outflow->unsent += (uint32_t)made;
    } while (made == room && !outflow->exchange->is_dead);
}

static uint64_t pending_of(const struct gateway_outflow *outflow)
{
    return outflow->pending.size - outflow->pending_taken;
}

static int is_stuffed(const struct gateway_outflow *outflow)
{
    return outflow->exchange->front->waiting.size > GATEWAY_WAITING_MAX;
}

/* How much may be compressed in this wake-up still. */
static uint64_t allowance(const struct gateway_outflow *outflow)
{
    struct gateway_outflows *outflows = outflow->exchange->worker->outflows;
    uint64_t now_us = gateway_worker_now(outflows->worker);

    if (outflows->turn_us != now_us) {
        outflows->turn_us = now_us;
        outflows->left = outflow->slice;
    }
    return outflows->left < outflow->slice ? outflows->left : outflow->slice;
}

/* Compresses from the front of the bytes what may be now. */
static void take(struct gateway_outflow *outflow, hf_slice *bytes)
{
    uint64_t most = allowance(outflow), size = bytes->size < most ? bytes->size : most;

    if (size == 0)
        return;
    outflow->exchange->worker->outflows->left -= size;
    compress(outflow, (hf_slice){bytes->data, size}, GATEWAY_DEFLATE_GOES_ON);
    *bytes = (hf_slice){bytes->data + size, bytes->size - size};
}

static void take_pending(struct gateway_outflow *outflow)
{
    hf_slice bytes = {outflow->pending.data + outflow->pending_taken, pending_of(outflow)};
    uint64_t before = bytes.size;

    take(outflow, &bytes);
    outflow->pending_taken += before - bytes.size;
    if (bytes.size)
        return;
    hf_buffer_done(&outflow->pending);
    outflow->pending_taken = 0;
}

/* As much of a stored body as the client takes at once, or as may be compressed. */
static void take_feed(struct gateway_outflow *outflow)
{
    struct gateway_exchange *exchange = outflow->exchange;
    const struct gateway_chunk *chunk = outflow->feed;
    hf_slice bytes = {chunk->bytes + outflow->feed_taken, chunk->size - outflow->feed_taken};

    if (outflow->deflater) {
        take(outflow, &bytes);
        outflow->feed_taken = chunk->size - bytes.size;
    } else {
        exchange->bytes_sent += bytes.size;
        exchange->front->calls->body(exchange->front, bytes);
        bytes.size = 0;
    }
    if (bytes.size)
        return;
    outflow->feed = chunk->next;
    outflow->feed_taken = 0;
    outflow->has_ended = outflow->feed == NULL;
}

static int has_more(const struct gateway_outflow *outflow)
{
    return pending_of(outflow) || outflow->feed;
}

/* All of the body has been compressed: what its end, or a pause, demands. */
static void settle_stream(struct gateway_outflow *outflow)
{
    struct gateway_exchange *exchange = outflow->exchange;

    if (outflow->has_ended) {
        if (outflow->deflater)
            compress(outflow, (hf_slice){NULL, 0}, GATEWAY_DEFLATE_ENDS);
        emit(outflow);
        exchange->account.is_whole = 1;
        if (!exchange->is_dead)
            exchange->front->calls->end(exchange->front, (hf_slice){outflow->trailers.data, outflow->trailers.size});
        return;
    }
    if (outflow->wants_flush)
        compress(outflow, (hf_slice){NULL, 0}, GATEWAY_DEFLATE_FLUSHES);
    outflow->wants_flush = 0;
}

/* The server is read as long as neither much is to be compressed, nor the client slow. */
static void pace(struct gateway_outflow *outflow)
{
    const struct gateway_exchange *exchange = outflow->exchange;
    struct gateway_link *link = exchange->link;
    uint64_t more =
        pending_of(outflow) > exchange->front->waiting.size ? pending_of(outflow) : exchange->front->waiting.size;

    if (link && more > GATEWAY_WAITING_MAX)
        link->calls->pause(link);
    else if (link && more < GATEWAY_WAITING_MAX / 2)
        link->calls->resume(link);
}

/* Goes on with what is pending. */
static void go_on(struct gateway_outflow *outflow)
{
    struct gateway_exchange *exchange = outflow->exchange;

    if (is_stuffed(outflow))
        return; /* it is called again once the client has taken some */
    if (outflow->feed)
        take_feed(outflow);
    else if (pending_of(outflow))
        take_pending(outflow);
    if (!exchange->is_dead && !has_more(outflow))
        settle_stream(outflow);
    if (exchange->is_dead)
        return;
    send_out(outflow);
    if (exchange->is_dead)
        return;
    if (has_more(outflow) && !is_stuffed(outflow))
        make_due(outflow);
    pace(outflow);
}

static void turn(void *arg)
{
    struct gateway_outflows *outflows = arg;
    struct gateway_worker *worker = outflows->worker;
    struct gateway_outflow *outflow = outflows->due;

    if (outflow) {
        not_due(outflow);
        go_on(outflow);
    }
    if (outflows->due)
        worker->loops->timer_start(outflows->timer, 0, 0);
    gateway_worker_settle(worker);
}

/* ---- The answer -------------------------------------------------------------------------------------------------- */

static uint64_t length_of(const hf_http1_head *head)
{
    hf_slice type = hf_http1_header_find(head, "content-type");

    if (head->body == HF_HTTP1_BODY_LENGTH)
        return head->content_length;
    if (type.size >= 17 && hf_http1_same((hf_slice){type.data, 17}, hf_slice_of("text/event-stream")))
        return STREAM_LENGTH;
    return GATEWAY_DEFLATER_UNKNOWN;
}

/* NULL: no memory. */
static struct gateway_outflow *create_plain(struct gateway_exchange *exchange)
{
    struct gateway_worker *worker = exchange->worker;
    struct gateway_outflow *outflow = NULL;

    if (worker->outflows || create_outflows(worker) == HF_OK)
        outflow = calloc(1, sizeof *outflow);
    if (outflow)
        outflow->exchange = exchange;
    return outflow;
}

/* NULL: no memory, or too many answers are being compressed. */
static struct gateway_outflow *create(struct gateway_exchange *exchange, const hf_http1_head *head)
{
    struct gateway_outflow *outflow = create_plain(exchange);
    int32_t level = exchange->route->gzip.level;

    if (!outflow)
        return NULL;
    outflow->slice = level <= FASTER ? 4096 : level <= FAST ? 2048 : 1024;
    outflow->is_flowing = head->body != HF_HTTP1_BODY_LENGTH;
    hf_buffer_init(&outflow->pending, UINT64_MAX); /* the link is paused when there is much */
    hf_buffer_init(&outflow->trailers, GATEWAY_HEAD_OUT_MAX);
    outflow->deflater = gateway_deflater_take(&exchange->worker->outflows->deflaters, level, length_of(head));
    if (outflow->deflater)
        return outflow;
    free(outflow);
    return NULL;
}

/* What the client is told must be true also when the answer cannot be compressed after all. */
static int32_t begin(struct gateway_exchange *exchange, const hf_http1_head *head, int32_t decision)
{
    if (decision == GATEWAY_GZIP_DOES && head->body != HF_HTTP1_BODY_NONE) {
        exchange->outflow = create(exchange, head);
        if (!exchange->outflow)
            decision = GATEWAY_GZIP_VARIES;
    }
    exchange->is_encoded = decision == GATEWAY_GZIP_DOES;
    return decision;
}

static void undo(struct gateway_exchange *exchange)
{
    exchange->is_encoded = 0;
    if (exchange->outflow)
        gateway_outflow_free(exchange);
}

int32_t gateway_outflow_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes,
                             hf_error *error)
{
    struct gateway_front *front = exchange->front;
    struct gateway_gzip_answer answer = {head, exchange->response_edits, exchange->response_edit_count};
    const struct gateway_gzip_answer before = answer;
    int32_t decision = exchange->route && exchange->route->gzip.level && !exchange->is_internal
                           ? gateway_gzip_decide(&exchange->route->gzip, &exchange->head, &answer)
                           : GATEWAY_GZIP_NONE;

    if (decision == GATEWAY_GZIP_NONE)
        return front->calls->head(front, head, bytes, error);
    int32_t code = gateway_gzip_edit(begin(exchange, head, decision), &answer, &exchange->arena);
    if (code != HF_OK) {
        undo(exchange);
        return hf_error_set(error, code, "no memory for the answer's head");
    }
    exchange->response_edits = answer.edits;
    exchange->response_edit_count = answer.edit_count;
    code = front->calls->head(front, head, bytes, error);
    exchange->response_edits = before.edits; /* another answer may have to come in its place */
    exchange->response_edit_count = before.edit_count;
    if (code != HF_OK)
        undo(exchange);
    return code;
}

void gateway_outflow_body(struct gateway_exchange *exchange, hf_slice piece)
{
    struct gateway_outflow *outflow = exchange->outflow;

    if (pending_of(outflow) == 0 && !is_stuffed(outflow))
        take(outflow, &piece);
    if (exchange->is_dead || piece.size == 0)
        return;
    if (hf_buffer_append(&outflow->pending, piece.data, piece.size) != HF_OK) {
        gateway_exchange_refuse(exchange, 503, "no memory for the answer"); /* it breaks off */
        return;
    }
    make_due(outflow);
}

void gateway_outflow_flush(struct gateway_exchange *exchange)
{
    struct gateway_outflow *outflow = exchange->outflow;

    outflow->wants_flush |= outflow->is_flowing;
    if (pending_of(outflow) == 0)
        settle_stream(outflow);
    if (exchange->is_dead)
        return;
    send_out(outflow);
    if (!exchange->is_dead)
        pace(outflow);
}

void gateway_outflow_end(struct gateway_exchange *exchange, hf_slice trailers)
{
    struct gateway_outflow *outflow = exchange->outflow;

    outflow->has_ended = 1;
    if (hf_buffer_append(&outflow->trailers, trailers.data, trailers.size) != HF_OK) {
        gateway_exchange_refuse(exchange, 503, "no memory for the answer");
        return;
    }
    if (pending_of(outflow) == 0)
        settle_stream(outflow);
    else
        send_out(outflow); /* the head, and what there is */
}

void gateway_outflow_feed(struct gateway_exchange *exchange, const struct gateway_body *body)
{
    if (!exchange->outflow)
        exchange->outflow = create_plain(exchange);
    if (!exchange->outflow) {
        gateway_exchange_refuse(exchange, 503, "no memory for the answer");
        return;
    }
    exchange->outflow->feed = body->first;
    go_on(exchange->outflow);
}

void gateway_outflow_writable(struct gateway_exchange *exchange)
{
    struct gateway_outflow *outflow = exchange->outflow;

    if (has_more(outflow))
        make_due(outflow); /* not at once: the connection may be in the middle of sending */
    pace(outflow);
}

void gateway_outflow_stop(struct gateway_exchange *exchange)
{
    not_due(exchange->outflow);
}

void gateway_outflow_free(struct gateway_exchange *exchange)
{
    struct gateway_outflow *outflow = exchange->outflow;

    not_due(outflow);
    gateway_deflater_give_back(&exchange->worker->outflows->deflaters, outflow->deflater);
    hf_buffer_done(&outflow->pending);
    hf_buffer_done(&outflow->trailers);
    free(outflow);
    exchange->outflow = NULL;
}
