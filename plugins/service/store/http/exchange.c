/* A request and the calls that answer it, and what goes wrong with either. */
#include "http/private.h"

#include <holdfast/lib/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { RETRY_SOON_MS = 200 };

uint64_t store_now_us(const struct store_http *http)
{
    return http->loops->now_us(http->loops->current(http->host));
}

/* ---- Problems ------------------------------------------------------------------------------------------------- */

static const struct meaning {
    int32_t code;
    uint32_t status;
    const char *problem;
    int32_t retry;
} meanings[] = {
    {HF_ENOTLEADER, 503, "no-leader", HF_RETRY_LATER},     {HF_EBUSY, 503, "busy", HF_RETRY_LATER},
    {HF_ETIMEOUT, 503, "unknown-outcome", HF_RETRY_LATER}, {HF_ECLOSED, 503, "no-leader", HF_RETRY_ELSEWHERE},
    {HF_ETOOLARGE, 413, "too-large", HF_RETRY_NO},         {HF_EEXIST, 409, "conflict", HF_RETRY_NO},
    {HF_EINVAL, 422, "unprocessable", HF_RETRY_NO},        {HF_ECONFLICT, 412, "precondition-failed", HF_RETRY_NO},
    {HF_ENOTFOUND, 404, "not-found", HF_RETRY_NO},
};

void store_problem(struct store_http *http, hf_http_request *request, const struct store_op *op)
{
    struct meaning meaning = {op->code, 500, "internal", HF_RETRY_LATER};
    hf_error error = op->error;
    char members[64] = "";

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == op->code)
            meaning = meanings[i];
    if (op->code == HF_ETIMEOUT && op->type != STORE_OP_WRITE)
        meaning.problem = "no-leader"; /* a read has no outcome */
    error.code = op->code;
    error.retry = meaning.retry;
    if (meaning.retry == HF_RETRY_LATER && !error.retry_after_ms)
        error.retry_after_ms = RETRY_SOON_MS;
    if (op->code == HF_ECONFLICT)
        snprintf(members, sizeof members, "\"version\":%llu,\"operation\":%llu", (unsigned long long)op->version,
                 (unsigned long long)op->operation);
    http->http->problem(request, meaning.status, meaning.problem, &error, members[0] ? members : NULL);
}

void store_refuse_op(struct exchange *exchange, const struct store_op *op)
{
    store_problem(exchange->http, exchange->request, op);
    store_exchange_end(exchange);
}

void store_refuse(struct exchange *exchange, uint32_t status, const char *problem, int32_t code, const char *format,
                  ...)
{
    hf_error error = {.code = code};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    if (status == 503) {
        error.retry = HF_RETRY_LATER;
        error.retry_after_ms = RETRY_SOON_MS;
    }
    exchange->http->http->problem(exchange->request, status, problem, &error, NULL);
    store_exchange_end(exchange);
}

/* ---- What has moved ---------------------------------------------------------------------------------------------- */

/* A split or merge is under way, and this node's routing is a moment behind. */
struct moved {
    struct store_http *http;
    hf_http_request *request;
    void (*again)(void *arg, hf_http_request *request);
    struct store_routing *routing; /* that was out of date */
    hf_timer *timer;
    uint64_t begun_us, until_us;
    int32_t was_unknown;
};

enum { LOOK_EVERY_US = 5000, LOOK_FOR_US = 250000 };

/* While a request is handled anew: when it was first, and whether it may have been done then. */
static _Thread_local uint64_t first_begun_us;
static _Thread_local int32_t first_unknown;

static void look_again(void *arg)
{
    struct moved *moved = arg;
    struct store_http *http = moved->http;

    if (store_service_routing(http->service) == moved->routing && store_now_us(http) < moved->until_us)
        return;
    http->loops->timer_destroy(moved->timer);
    store_routing_release(moved->routing);
    first_begun_us = moved->begun_us;
    first_unknown = moved->was_unknown;
    moved->again(http, moved->request);
    first_begun_us = 0;
    first_unknown = 0;
    free(moved);
}

static int32_t may_have_been_done(const struct exchange *exchange)
{
    int32_t unknown = exchange->was_unknown;

    for (uint32_t i = 0; i < exchange->count; i++)
        unknown |= exchange->calls[i].call.op.type == STORE_OP_WRITE && exchange->calls[i].call.unknown;
    return unknown;
}

void store_exchange_again(struct exchange *exchange)
{
    struct store_http *http = exchange->http;
    struct moved *moved = calloc(1, sizeof *moved);
    uint64_t now = store_now_us(http);
    int32_t unknown = may_have_been_done(exchange);

    if (!moved || now - exchange->begun_us > http->options.write_timeout_us ||
        http->loops->timer_create(http->loops->current(http->host), look_again, moved, &moved->timer, NULL) != HF_OK) {
        free(moved);
        store_refuse(exchange, 503, unknown ? "unknown-outcome" : "no-leader", unknown ? HF_ETIMEOUT : HF_ENOTLEADER,
                     "the partition is being split or merged, and where the records are was not known in time");
        return;
    }
    moved->http = http;
    moved->request = exchange->request;
    moved->again = exchange->again;
    moved->routing = store_routing_hold(exchange->routing);
    moved->begun_us = exchange->begun_us;
    moved->was_unknown = unknown;
    moved->until_us = now + LOOK_FOR_US;
    http->loops->timer_start(moved->timer, LOOK_EVERY_US, LOOK_EVERY_US);
    store_exchange_end(exchange);
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

void store_exchange_end(struct exchange *exchange)
{
    struct store_http *http = exchange->http;

    http->metrics->increment(http->requests[exchange->kind], 1);
    http->metrics->increment(http->microseconds[exchange->kind], store_now_us(http) - exchange->started_us);
    for (uint32_t i = 0; i < exchange->count; i++)
        store_op_done(&exchange->calls[i].call.op);
    hf_buffer_done(&exchange->command);
    store_routing_release(exchange->routing);
    free(exchange);
}

static struct exchange *allocate(struct store_http *http, hf_http_request *request, int32_t kind, uint32_t calls)
{
    struct exchange *exchange = calloc(1, sizeof *exchange + calls * sizeof exchange->calls[0]);
    hf_error error = {0};

    if (!exchange) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        http->http->problem(request, 503, "busy", &error, NULL);
        return NULL;
    }
    exchange->http = http;
    exchange->request = request;
    exchange->kind = kind;
    exchange->count = calls;
    exchange->started_us = store_now_us(http);
    exchange->begun_us = first_begun_us ? first_begun_us : exchange->started_us;
    exchange->was_unknown = first_unknown;
    exchange->routing = store_routing_hold(store_service_routing(http->service));
    hf_buffer_init(&exchange->command, UINT32_MAX);
    return exchange;
}

static int32_t is_internal(hf_slice table)
{
    return table.size > 0 && table.data[0] == '_';
}

/* A request whose table this node does not know: it may have been made a moment ago, or while this node was away. */
struct search {
    struct store_http *http;
    hf_http_request *request;
    void (*again)(void *arg, hf_http_request *request);
};

static void searched(void *arg, int32_t code, int32_t existed, const hf_error *error)
{
    struct search search = *(struct search *)arg;
    struct store_op op = {.type = STORE_OP_GET, .code = code};
    hf_slice name = search.http->http->parameter(search.request, "table");

    (void)existed;
    free(arg);
    if (code == HF_OK) {
        search.again(search.http, search.request);
        return;
    }
    if (code == HF_ENOTFOUND)
        hf_error_set(&op.error, HF_ENOTFOUND, "there is no table '%.*s'; see GET /v1/tables",
                     (int)(name.size < 100 ? name.size : 100), (const char *)name.data);
    else if (error)
        op.error = *error;
    store_problem(search.http, search.request, &op);
}

static void search_table(struct store_http *http, hf_http_request *request, hf_slice name,
                         void (*again)(void *arg, hf_http_request *request))
{
    struct search *search = malloc(sizeof *search);
    hf_error error = {0};

    if (!search) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        http->http->problem(request, 503, "busy", &error, NULL);
        return;
    }
    *search = (struct search){http, request, again};
    store_service_find_table(http->service, name, http->options.read_timeout_us, searched, search);
}

static void refuse_table(struct store_http *http, hf_http_request *request, hf_slice name, const char *why)
{
    hf_error error = {0};

    hf_error_set(&error, HF_EDENIED, "%s: '%.*s'", why, (int)(name.size < 70 ? name.size : 70),
                 (const char *)name.data);
    http->http->problem(request, 403, "forbidden", &error, NULL);
}

/* NULL: the request was answered, or will be. */
static const struct store_table *find_table(struct store_http *http, hf_http_request *request, hf_slice name,
                                            int32_t right, void (*again)(void *arg, hf_http_request *request))
{
    const struct store_table *table = store_routing_table(store_service_routing(http->service), name);

    if (!http->http->allowed(request, is_internal(name) ? HF_HTTP_ADMIN : right, name)) {
        refuse_table(http, request, name, "this token has not the right to do this with the table");
        return NULL;
    }
    if (is_internal(name) && right >= HF_HTTP_WRITE) {
        refuse_table(http, request, name, "names that begin with '_' are the store's own");
        return NULL;
    }
    if (!table)
        search_table(http, request, name, again);
    return table;
}

struct exchange *store_exchange_begin_without(struct store_http *http, hf_http_request *request, int32_t kind,
                                              uint32_t calls)
{
    return allocate(http, request, kind, calls);
}

int32_t store_exchange_table(struct exchange *exchange, hf_slice name, int32_t right,
                             void (*again)(void *arg, hf_http_request *request))
{
    exchange->again = again;
    exchange->table = find_table(exchange->http, exchange->request, name, right, again);
    if (exchange->table)
        return 1;
    store_exchange_end(exchange);
    return 0;
}

struct exchange *store_exchange_begin(struct store_http *http, hf_http_request *request, int32_t kind, int32_t right,
                                      uint32_t calls, void (*again)(void *arg, hf_http_request *request))
{
    hf_slice name = http->http->parameter(request, "table");
    const struct store_table *table = find_table(http, request, name, right, again);
    struct exchange *exchange;

    if (!table)
        return NULL;
    exchange = allocate(http, request, kind, calls ? calls : table->partition_count);
    if (exchange) { /* the same turn: the routing is the same */
        exchange->table = table;
        exchange->again = again;
    }
    return exchange;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void call_finished(struct store_call *call)
{
    struct exchange *exchange = ((struct exchange_call *)(void *)call)->exchange;

    if (--exchange->left > 0)
        return;
    for (uint32_t i = 0; i < exchange->count; i++)
        if (exchange->calls[i].call.op.code == HF_EMOVED) {
            store_exchange_again(exchange);
            return;
        }
    exchange->finish(exchange);
}

void store_exchange_start(struct exchange *exchange, uint32_t place)
{
    struct exchange_call *call = &exchange->calls[place];
    const struct store_http_options *options = &exchange->http->options;

    call->exchange = exchange;
    call->call.was_unknown = exchange->was_unknown;
    call->call.op.partition = call->partition->id;
    call->call.op.client = exchange->http->http->client(exchange->request);
    call->call.op.deadline_us =
        store_now_us(exchange->http) +
        (call->call.op.type == STORE_OP_WRITE ? options->write_timeout_us : options->read_timeout_us);
    call->call.finished = call_finished;
    exchange->left++;
    store_call_start(exchange->http->service, &call->call);
}

int32_t store_is_stale(const struct exchange *exchange)
{
    return hf_slice_is(exchange->http->http->query(exchange->request, "consistency"), "stale");
}
