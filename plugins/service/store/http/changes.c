/* The change feed as a stream of JSON lines.
 *
 * Partitions are split and merged while a stream follows them.  A partition that came of a split begins where its
 * parent's feed stands, or at the split when that is earlier: until the stream knows of the split, the parent's feed is
 * only read by replicas that still have all of it (HF_EMOVED otherwise), so nothing is passed over.
 *
 * For every partition there is at most one call under way, which waits on the replica's side for changes when there are
 * none; so a stream costs nothing while nothing happens.  Nothing is asked for while the client has not taken what it
 * was sent, so a slow one is behind, and holds little; one that takes nothing at all is told where to go on, and
 * disconnected.  All of a stream happens on its request's loop. */
#include "http/private.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_US = 50000, WAIT_MS = 10000, PAGE_ROWS = 500, LINE_EVERY_US = 10000000, OUTPUT_HIGH = 1 << 20 };

struct feed {
    struct store_call call; /* first */
    struct store_stream *stream;
    uint64_t partition;
    uint64_t hash_from, hash_to; /* of the partition, as far as this stream knows */
    uint64_t from;
    uint64_t later_us; /* it was refused for want of room: when to ask again; 0: no */
    int32_t placed;    /* `from` was asked for, or follows from what was */
    int32_t busy;      /* a call is under way */
    int32_t waiting;   /* for the routing to tell what became of the partition */
    int32_t ended;     /* all that was there has been sent (without follow), or it is gone */
};

struct store_stream {
    struct store_stream *next, **link; /* guarded by http->lock */
    struct store_http *http;
    hf_http_request *request;
    hf_loop *loop;
    struct store_routing *routing;
    const struct store_table *table;
    hf_timer *timer;
    hf_task end_task; /* when the process ends */
    int32_t end_posted;
    int32_t follow;
    int32_t stale;     /* what the nearest replica has will do: the rest comes later, or is not wanted */
    int32_t begun;     /* the answer's head is out */
    int32_t closed;    /* the client is gone, or the stream shall end */
    int32_t throttled; /* the client is slow */
    uint64_t waiting;  /* bytes that it has not got, when that was last looked at */
    uint64_t taken_us; /* when it last got some of them */
    uint64_t lines_us; /* when something was last sent */
    int32_t is_named;  /* 1: only partitions of `value` */
    char value[STORE_TABLE_TEXT_MAX + 1];
    uint32_t busy; /* calls under way */
    uint32_t count, capacity;
    struct feed **feeds; /* owned */
};

static void ask(struct feed *feed);
static void ask_all(struct store_stream *stream);

/* ---- Ending --------------------------------------------------------------------------------------------------- */

static void free_stream(struct store_stream *stream)
{
    struct store_http *http = stream->http;

    pthread_mutex_lock(&http->lock);
    *stream->link = stream->next;
    if (stream->next)
        stream->next->link = stream->link;
    pthread_mutex_unlock(&http->lock);
    http->metrics->set(http->streams, (double)(atomic_fetch_sub(&http->stream_count, 1) - 1));
    http->loops->timer_destroy(stream->timer);
    for (uint32_t i = 0; i < stream->count; i++) {
        store_op_done(&stream->feeds[i]->call.op);
        free(stream->feeds[i]);
    }
    free(stream->feeds);
    store_routing_release(stream->routing);
    free(stream);
}

/* Ends the answer once nothing is under way any more. */
static void check_end(struct store_stream *stream)
{
    hf_http_request *request = stream->request;
    const hf_http_interface *http = stream->http->http;
    int32_t ended = 1;

    for (uint32_t i = 0; i < stream->count; i++)
        ended &= stream->feeds[i]->ended;
    if (stream->busy || stream->end_posted || !(ended || stream->closed))
        return;
    free_stream(stream);
    http->stream_end(request);
}

static void end_now(hf_task *task)
{
    struct store_stream *stream = (struct store_stream *)((char *)task - offsetof(struct store_stream, end_task));

    stream->end_posted = 0;
    stream->closed = 1;
    check_end(stream);
}

void store_http_end_streams(struct store_http *http)
{
    atomic_store(&http->draining, 1);
    pthread_mutex_lock(&http->lock);
    for (struct store_stream *stream = http->open_streams; stream; stream = stream->next) {
        stream->end_posted = 1;
        stream->end_task.run = end_now;
        http->loops->post(stream->loop, &stream->end_task);
    }
    pthread_mutex_unlock(&http->lock);
}

static void event(void *arg, int32_t what)
{
    struct store_stream *stream = arg;

    if (what == HF_HTTP_STREAM_CLOSED) {
        stream->closed = 1;
        check_end(stream);
        return;
    }
    stream->throttled = 0;
    ask_all(stream);
}

/* ---- Lines ---------------------------------------------------------------------------------------------------- */

static void write_bytes(struct store_stream *stream, hf_slice bytes)
{
    uint64_t waiting = stream->http->http->stream_write(stream->request, bytes);

    stream->lines_us = stream->http->loops->now_us(stream->loop);
    if (waiting == UINT64_MAX)
        stream->closed = 1; /* its event is on the way */
    else if (waiting > OUTPUT_HIGH)
        stream->throttled = 1;
    stream->waiting = UINT64_MAX; /* not known with what is on its way; the next look tells */
    stream->taken_us = stream->lines_us;
}

static void write_change(hf_buffer *lines, const struct feed *feed, const struct store_feed_row *row)
{
    hf_json_writer writer;
    char time[STORE_TIME_SIZE];

    store_time_text(row->time_us, time);
    hf_json_writer_init(&writer, lines);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "partition", feed->partition);
    hf_json_member_unsigned(&writer, "version", row->version);
    hf_json_member_text(&writer, "type", row->type == STORE_PUT ? "put" : "delete");
    hf_json_member_string(&writer, "key", row->key);
    hf_json_member_text(&writer, "time", time);
    if (row->type == STORE_EXPIRE) {
        hf_json_member_text(&writer, "reason", "expired");
    } else if (row->superseded) {
        hf_json_member_boolean(&writer, "superseded", 1);
    } else if (row->type != STORE_DELETE) {
        store_write_value(&writer, feed->stream->table, row->value);
    }
    hf_json_end_object(&writer);
    hf_buffer_append(lines, "\n", 1);
}

static void write_page(struct feed *feed)
{
    struct store_op *op = &feed->call.op;
    hf_slice rest = {op->result.data, op->result.size};
    struct store_feed_row row;
    hf_buffer lines;

    hf_buffer_init(&lines, UINT64_MAX);
    while (store_result_next_change(&rest, &row) == 1)
        write_change(&lines, feed, &row);
    if (lines.size)
        write_bytes(feed->stream, (hf_slice){lines.data, lines.size});
    hf_buffer_done(&lines);
}

/* "7:43,8:1": what the query's `from` must be to go on behind what was sent. */
static void write_positions(hf_json_writer *writer, const struct store_stream *stream)
{
    hf_buffer text;

    hf_buffer_init(&text, UINT64_MAX);
    for (uint32_t i = 0; i < stream->count; i++)
        if (stream->feeds[i]->from && !stream->feeds[i]->ended)
            hf_buffer_append_format(&text, "%s%llu:%llu", text.size ? "," : "",
                                    (unsigned long long)stream->feeds[i]->partition,
                                    (unsigned long long)stream->feeds[i]->from);
    hf_json_string(writer, (hf_slice){text.data, text.size});
    hf_buffer_done(&text);
}

static void log_end(const struct store_stream *stream, const char *detail)
{
    const hf_host *host = stream->http->host;
    char text[400];

    snprintf(text, sizeof text, "a stream of changes of the table '%s' was ended: %s", stream->table->declaration.name,
             detail);
    host->log(host, HF_LOG_WARNING, hf_slice_of(text));
}

/* Ends a stream that was to go on, with a line that says why. */
static void end_early(struct store_stream *stream, int reason, const char *detail)
{
    static const char *const words[STORE_HTTP_ENDINGS] = {"slow", "gone"};
    struct store_http *http = stream->http;
    hf_json_writer writer;
    hf_buffer line;

    hf_buffer_init(&line, UINT64_MAX);
    hf_json_writer_init(&writer, &line);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "end", words[reason]);
    hf_json_member_text(&writer, "detail", detail);
    if (reason == STORE_HTTP_ENDED_SLOW) {
        hf_json_name(&writer, "from");
        write_positions(&writer, stream);
    }
    hf_json_end_object(&writer);
    hf_buffer_append(&line, "\n", 1);
    write_bytes(stream, (hf_slice){line.data, line.size});
    hf_buffer_done(&line);
    http->metrics->increment(http->ended[reason], 1);
    log_end(stream, detail);
    stream->closed = 1;
    check_end(stream);
}

/* ---- Calls ---------------------------------------------------------------------------------------------------- */

static void begin_answer(struct store_stream *stream)
{
    if (stream->begun)
        return;
    stream->begun = 1;
    stream->http->http->stream_begin(stream->request, 200, "application/x-ndjson", event, stream);
}

/* Before the answer has begun there can still be a problem document instead of it. */
static void fail(struct feed *feed)
{
    struct store_stream *stream = feed->stream;
    struct store_op op = feed->call.op;
    hf_http_request *request = stream->request;
    struct store_http *http = stream->http;
    hf_error error = {0};

    if (op.code == HF_ENOTFOUND)
        hf_error_set(&error, HF_ENOTFOUND,
                     "changes from version %llu on are no longer kept; the oldest is %llu; begin with a scan",
                     (unsigned long long)op.from, (unsigned long long)op.version);
    if (stream->begun) {
        end_early(stream, STORE_HTTP_ENDED_GONE, error.message);
        return;
    }
    stream->closed = 1;
    stream->begun = 1;
    if (stream->busy) { /* the others' calls still look at the stream: it begins, and ends at once */
        stream->http->http->stream_begin(request, 503, "application/x-ndjson", event, stream);
        return;
    }
    free_stream(stream);
    if (op.code == HF_ENOTFOUND)
        http->http->problem(request, 410, "gone", &error, NULL);
    else
        store_problem(http, request, &op);
}

/* A partition that was merged, and is not in the catalog any more. */
static int is_over(const struct feed *feed)
{
    return !store_routing_partition(store_service_routing(feed->stream->http->service), feed->partition);
}

/* Looks soon, and at every turn of the clock anyway. */
static void wait_for_routing(struct feed *feed)
{
    feed->waiting = 1;
    feed->stream->http->loops->timer_start(feed->stream->timer, WAITING_US, WAITING_US);
}

static void answered(struct store_call *call)
{
    struct feed *feed = (struct feed *)(void *)call;
    struct store_stream *stream = feed->stream;
    feed->busy = 0;
    stream->busy--;
    if (stream->closed) {
        check_end(stream);
        return;
    }
    if (call->op.code == HF_EMOVED) {
        wait_for_routing(feed);
        return;
    }
    if (call->op.code != HF_OK) {
        if (is_over(feed)) { /* its records are another's for so long that its changes are no longer kept */
            feed->ended = 1;
            check_end(stream);
            return;
        }
        if (!stream->begun || call->op.code == HF_ENOTFOUND)
            fail(feed);
        else if (call->op.code == HF_EBUSY)
            feed->later_us = stream->http->loops->now_us(stream->loop) + call->op.error.retry_after_ms * 1000;
        else
            ask(feed); /* nobody could be reached for a while: go on trying */
        return;
    }
    begin_answer(stream);
    write_page(feed);
    feed->from = call->op.version;
    feed->ended = !stream->follow && !call->op.more;
    if (!feed->ended && !stream->closed && !stream->throttled)
        ask(feed);
    else
        check_end(stream);
}

static void ask(struct feed *feed)
{
    struct store_stream *stream = feed->stream;
    struct store_http *http = stream->http;

    store_op_done(&feed->call.op);
    feed->call = (struct store_call){
        .op = {.type = STORE_OP_CHANGES,
               .stale = stream->stale,
               .partition = feed->partition,
               .client = http->http->client(stream->request),
               .deadline_us = http->loops->now_us(stream->loop) + http->options.read_timeout_us,
               .from = feed->from,
               .hash_from = feed->hash_from,
               .hash_to = feed->hash_to,
               .limit = PAGE_ROWS,
               .wait_ms = stream->follow && stream->begun && feed->from ? WAIT_MS : 0},
        .finished = answered,
    };
    feed->busy = 1;
    feed->later_us = 0;
    stream->busy++;
    store_call_start(http->service, &feed->call);
}

/* Of all that are not being asked, or will be later. */
static void ask_all(struct store_stream *stream)
{
    uint64_t now = stream->http->loops->now_us(stream->loop);

    for (uint32_t i = 0; i < stream->count; i++) {
        struct feed *feed = stream->feeds[i];

        if (!feed->busy && !feed->waiting && !feed->ended && feed->later_us <= now)
            ask(feed);
    }
}

/* ---- Partitions -------------------------------------------------------------------------------------------------- */

static struct feed *find_feed(const struct store_stream *stream, uint64_t partition)
{
    for (uint32_t i = 0; i < stream->count; i++)
        if (stream->feeds[i]->partition == partition)
            return stream->feeds[i];
    return NULL;
}

static struct feed *add_feed(struct store_stream *stream, uint64_t partition)
{
    struct feed *feed = calloc(1, sizeof *feed);

    if (feed && stream->count == stream->capacity) {
        uint32_t capacity = stream->capacity ? 2 * stream->capacity : 8;
        struct feed **feeds = realloc(stream->feeds, capacity * sizeof(struct feed *));

        if (!feeds) {
            free(feed);
            return NULL;
        }
        stream->feeds = feeds;
        stream->capacity = capacity;
    }
    if (!feed)
        return NULL;
    feed->stream = stream;
    feed->partition = partition;
    stream->feeds[stream->count++] = feed;
    return feed;
}

/* 0: no memory. */
static int32_t include(struct store_stream *stream, const struct store_partition *partition)
{
    struct feed *feed = find_feed(stream, partition->id);

    if (stream->is_named && strcmp(stream->value, partition->value) != 0)
        return 1;
    if (!feed)
        feed = add_feed(stream, partition->id);
    if (!feed)
        return 0;
    feed->hash_from = partition->hash_from;
    feed->hash_to = partition->hash_to;
    feed->waiting = 0;
    return 1;
}

/* A partition that was split off begins where its parent's feed stands, where that is known. */
static void place_children(struct store_stream *stream)
{
    for (uint32_t i = 0; i < stream->table->partition_count; i++) {
        const struct store_partition *partition = &stream->table->partitions[i];
        struct feed *feed = find_feed(stream, partition->id);
        const struct feed *parent = partition->parent ? find_feed(stream, partition->parent) : NULL;

        if (!feed || feed->placed || !parent || !parent->placed)
            continue;
        feed->from = parent->from <= partition->parent_version ? parent->from : partition->parent_version + 1;
        feed->placed = 1;
        i = UINT32_MAX; /* it may be the parent of one that was looked at before */
    }
}

/* Nothing is to be told twice to who reads everything. */
static int32_t include_retired(struct store_stream *stream, const struct store_table *table,
                               const struct store_retired *retired)
{
    if (!include(stream, &retired->partition))
        return 0;
    struct feed *feed = find_feed(stream, retired->partition.id);
    uint64_t begin = store_table_feed_begin(table, retired);

    if (feed && !feed->placed && feed->from < begin)
        feed->from = begin;
    return 1;
}

/* Takes the table's partitions as they are now.  0: no memory. */
static int32_t follow_routing(struct store_stream *stream, struct store_routing *routing,
                              const struct store_table *table)
{
    int32_t good = 1;

    store_routing_hold(routing);
    store_routing_release(stream->routing);
    stream->routing = routing;
    stream->table = table;
    for (uint32_t i = 0; i < table->partition_count && good; i++)
        good = include(stream, &table->partitions[i]);
    for (uint32_t i = 0; i < table->retired_count && good; i++)
        if (!table->retired[i].is_gone)
            good = include_retired(stream, table, &table->retired[i]);
    return good;
}

/* What is here now and was not: splits and merges have happened. */
static void look_at_routing(struct store_stream *stream)
{
    struct store_routing *routing = store_service_routing(stream->http->service);
    const struct store_table *table =
        routing == stream->routing ? NULL : store_routing_table(routing, hf_slice_of(stream->table->declaration.name));

    if (!table)
        return;
    for (uint32_t i = 0; i < stream->count; i++) {
        stream->feeds[i]->placed = 1; /* that is where it stands */
        stream->feeds[i]->ended |= !store_routing_partition(routing, stream->feeds[i]->partition);
    }
    if (!follow_routing(stream, routing, table)) {
        stream->closed = 1; /* the client begins again where it stands */
        return;
    }
    place_children(stream);
    if (!stream->throttled)
        ask_all(stream);
}

/* Slow is one that gets nothing, not one that gets little at a time. */
static void look_at_slow(struct store_stream *stream, uint64_t now_us)
{
    uint64_t waiting = stream->http->http->stream_write(stream->request, (hf_slice){NULL, 0});
    char detail[160];

    if (waiting < stream->waiting || waiting == UINT64_MAX) {
        stream->waiting = waiting;
        stream->taken_us = now_us;
        return;
    }
    if (now_us - stream->taken_us < stream->http->options.changes_timeout_us)
        return;
    snprintf(detail, sizeof detail, "nothing of %llu bytes was taken for %llu ms; read faster, and go on from here",
             (unsigned long long)waiting, (unsigned long long)((now_us - stream->taken_us) / 1000));
    end_early(stream, STORE_HTTP_ENDED_SLOW, detail);
}

static void start_clock(struct store_stream *stream)
{
    uint64_t timeout_us = stream->http->options.changes_timeout_us;
    uint64_t period_us = (timeout_us < LINE_EVERY_US ? timeout_us : LINE_EVERY_US) / 4;

    stream->http->loops->timer_start(stream->timer, period_us, period_us);
}

/* An empty line shows that the stream lives. */
static void tick(void *arg)
{
    struct store_stream *stream = arg;
    uint64_t now = stream->http->loops->now_us(stream->loop);
    int32_t waiting = 0;

    if (!stream->closed)
        look_at_routing(stream);
    for (uint32_t i = 0; i < stream->count; i++)
        waiting |= stream->feeds[i]->waiting;
    if (!waiting)
        start_clock(stream);
    if (!stream->begun || stream->closed)
        return;
    if (stream->throttled) {
        look_at_slow(stream, now);
        return;
    }
    if (now - stream->lines_us >= LINE_EVERY_US)
        write_bytes(stream, (hf_slice){(const uint8_t *)"\n", 1});
    if (!stream->closed)
        ask_all(stream); /* those that were refused */
}

/* ---- The request ---------------------------------------------------------------------------------------------- */

/* "7:43".  0 when it is not that. */
static int read_position(hf_slice text, uint64_t *ret_partition, uint64_t *ret_version)
{
    const uint8_t *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    uint64_t size = colon ? (uint64_t)(colon - text.data) : 0;

    return colon && store_number_read((hf_slice){text.data, size}, INT64_MAX, ret_partition) == HF_OK &&
           store_number_read((hf_slice){colon + 1, text.size - size - 1}, INT64_MAX, ret_version) == HF_OK;
}

/* from=7:43,8:1.  HF_EINVAL: it is not that; HF_ENOTFOUND: a partition that the stream has not. */
static int32_t read_from(struct store_stream *stream, hf_slice text, hf_error *error)
{
    while (text.size) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        hf_slice part = {text.data, comma ? (uint64_t)(comma - text.data) : text.size};
        uint64_t partition = 0, version = 0;

        if (!read_position(part, &partition, &version))
            return hf_error_set(error, HF_EINVAL, "from is not PARTITION:VERSION[,PARTITION:VERSION...]");
        struct feed *feed = find_feed(stream, partition);

        const struct store_retired *retired = feed ? NULL : store_table_retired(stream->table, partition);

        if (retired && version <= retired->version)
            return hf_error_set(error, HF_ECLOSED,
                                "the partition %llu was merged into %llu and its changes are no longer kept; begin "
                                "with a scan",
                                (unsigned long long)partition, (unsigned long long)retired->heir);
        if (!feed && !retired)
            return hf_error_set(error, HF_ENOTFOUND,
                                "from names the partition %llu, which is none of those asked for; see "
                                "GET /v1/tables/%s/partitions",
                                (unsigned long long)partition, stream->table->declaration.name);
        if (feed && feed->placed)
            return hf_error_set(error, HF_EINVAL, "from names the partition %llu twice; expected each once",
                                (unsigned long long)partition);
        if (feed) {
            feed->from = version;
            feed->placed = 1;
        }
        text.data += part.size + (comma != NULL);
        text.size -= part.size + (comma != NULL);
    }
    return HF_OK;
}

static struct store_stream *make_stream(struct exchange *exchange, hf_slice named)
{
    struct store_http *http = exchange->http;
    const struct store_table *table = exchange->table;
    struct store_stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return NULL;
    stream->http = http;
    stream->request = exchange->request;
    stream->loop = http->http->loop(exchange->request);
    stream->is_named = named.data != NULL;
    snprintf(stream->value, sizeof stream->value, "%.*s", (int)(named.size < sizeof stream->value ? named.size : 0),
             named.data ? (const char *)named.data : "");
    stream->follow = hf_slice_is(http->http->query(exchange->request, "follow"), "1");
    stream->stale = stream->follow || store_is_stale(exchange);
    stream->lines_us = http->loops->now_us(stream->loop);
    if (!follow_routing(stream, exchange->routing, table) ||
        http->loops->timer_create(stream->loop, tick, stream, &stream->timer, NULL) != HF_OK) {
        for (uint32_t i = 0; i < stream->count; i++)
            free(stream->feeds[i]);
        free(stream->feeds);
        store_routing_release(stream->routing);
        free(stream);
        return NULL;
    }
    pthread_mutex_lock(&http->lock);
    stream->next = http->open_streams;
    stream->link = &http->open_streams;
    if (stream->next)
        stream->next->link = &stream->next;
    http->open_streams = stream;
    pthread_mutex_unlock(&http->lock);
    http->metrics->set(http->streams, (double)(atomic_fetch_add(&http->stream_count, 1) + 1));
    return stream;
}

/* The stream that the query asks for; NULL after answering. */
static struct store_stream *open_stream(struct exchange *exchange)
{
    const hf_http_interface *http = exchange->http->http;
    hf_slice named = http->query(exchange->request, "partition");
    struct store_stream *stream = make_stream(exchange, named);
    hf_error error = {0};

    if (!stream) {
        store_refuse(exchange, 503, "busy", HF_EBUSY, "no memory for a stream");
        return NULL;
    }
    if (stream->count == 0)
        hf_error_set(&error, HF_ENOTFOUND, "'%.*s' is not a partition of the table '%s'",
                     (int)(named.size < 100 ? named.size : 100), (const char *)named.data,
                     exchange->table->declaration.name);
    else
        read_from(stream, http->query(exchange->request, "from"), &error);
    if (error.code == HF_OK) {
        place_children(stream);
        return stream;
    }
    free_stream(stream);
    if (error.code == HF_ECLOSED)
        store_refuse(exchange, 410, "gone", HF_ENOTFOUND, "%s", error.message);
    else if (error.code == HF_ENOTFOUND)
        store_refuse(exchange, 422, "unprocessable", HF_EINVAL, "%s", error.message);
    else
        store_refuse(exchange, 400, "bad-request", HF_EINVAL, "%s", error.message);
    return NULL;
}

void store_http_changes(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    struct exchange *exchange =
        store_exchange_begin(http, request, STORE_HTTP_CHANGES, HF_HTTP_READ, 1, store_http_changes);
    struct store_stream *stream;

    if (!exchange)
        return;
    if (atomic_load(&http->draining)) {
        store_refuse(exchange, 503, "no-leader", HF_ECLOSED, "this node is shutting down; ask another");
        return;
    }
    stream = open_stream(exchange);
    if (!stream)
        return;
    store_exchange_end(exchange);
    start_clock(stream);
    ask_all(stream);
}
