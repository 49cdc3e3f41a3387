/* A request as its handler sees it, and the bytes of its answer; see <holdfast/host/http.h>. */
#include "http/private.h"
#include "loop/loop.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <holdfast/lib/url.h>
#include <holdfast/lib/utf8.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ARENA_MAXIMUM = 64 * 1024 * 1024 };

/* Bytes that the head of an answer takes: reserved at once, so that it cannot end half-way for want of memory. */
enum { HEAD_USUAL = 2048 };

enum { SPARE_MAXIMUM = 64, SPARE_BUFFER_MAXIMUM = 32 * 1024 };

static hf_http_request *take_spare(http_shard *shard)
{
    hf_http_request *request = shard->spare;

    if (!request)
        return NULL;
    shard->spare = request->next_spare;
    shard->spare_count--;
    return request;
}

hf_http_request *hf_http_request_create(http_shard *shard)
{
    hf_http_request *request = take_spare(shard);

    if (!request) {
        request = calloc(1, sizeof *request);
        if (!request)
            return NULL;
        hf_buffer_init(&request->input, UINT64_MAX);
        hf_buffer_init(&request->chunks, UINT64_MAX);
        hf_buffer_init(&request->answer, UINT64_MAX);
        hf_arena_init(&request->arena, ARENA_MAXIMUM);
    }
    request->shard = shard;
    request->start_us = hf_loop_now_us(shard->loop);
    return request;
}

static void release(hf_http_request *request)
{
    hf_buffer_done(&request->input);
    hf_buffer_done(&request->chunks);
    hf_buffer_done(&request->answer);
    hf_arena_done(&request->arena);
    free(request);
}

static void clear_buffer(hf_buffer *buffer)
{
    if (buffer->capacity > SPARE_BUFFER_MAXIMUM)
        hf_buffer_done(buffer);
    hf_buffer_clear(buffer);
}

/* As new, but for the memory that it has. */
static void clear(hf_http_request *request)
{
    hf_buffer input = request->input, chunks = request->chunks, answer = request->answer;
    hf_arena arena = request->arena;

    clear_buffer(&input);
    clear_buffer(&chunks);
    clear_buffer(&answer);
    hf_arena_clear(&arena);
    memset(request, 0, sizeof *request);
    request->input = input;
    request->chunks = chunks;
    request->answer = answer;
    request->arena = arena;
}

void hf_http_request_free(hf_http_request *request)
{
    if (!request)
        return;
    http_shard *shard = request->shard;
    hf_http_server *server = shard->server;
    if (request->memory)
        hf_gate_leave(&server->bodies, server->shares, request->client, 0, request->memory);
    if (request->answer_memory)
        hf_gate_leave(&server->answers, server->shares, request->address, 0, request->answer_memory);
    if (shard->spare_count == SPARE_MAXIMUM) {
        release(request);
        return;
    }
    clear(request);
    request->next_spare = shard->spare;
    shard->spare = request;
    shard->spare_count++;
}

void hf_http_requests_free_spare(http_shard *shard)
{
    while (shard->spare)
        release(take_spare(shard));
}

/* ---- Admission --------------------------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* W3C Trace Context, level 1: "00-TRACE-PARENT-FLAGS".  Returns 1 when it gives a trace id. */
static int read_traceparent(hf_slice value, uint8_t trace[16])
{
    int any = 0;

    if (value.size < 55 || value.data[2] != '-' || value.data[35] != '-')
        return 0;
    for (int i = 0; i < 16; i++) {
        int high = hex_digit(value.data[3 + 2 * i]), low = hex_digit(value.data[4 + 2 * i]);
        if (high < 0 || low < 0)
            return 0;
        trace[i] = (uint8_t)(high * 16 + low);
        any |= trace[i];
    }
    return any;
}

static void set_trace(hf_http_request *request)
{
    if (read_traceparent(hf_http1_header_find(&request->head, "traceparent"), request->trace))
        return;
    uint64_t halves[2] = {hf_random_next(&request->shard->random), hf_random_next(&request->shard->random) | 1};
    memcpy(request->trace, halves, sizeof halves);
}

static uint32_t find_route(hf_http_request *request, hf_error *error, const char **ret_problem, char *allow,
                           uint64_t allow_capacity)
{
    hf_slice path;
    const hf_http1_head *head = &request->head;

    if (hf_url_split(head->target, &path, &request->query_text, error) != 0) {
        *ret_problem = "bad-request";
        return 400;
    }
    switch (
        hf_router_find(&request->shard->server->router, head->method, path, &request->match, allow, allow_capacity)) {
    case 0:
        return 0;
    case HF_EUNSUPPORTED:
        hf_error_set(error, HF_EUNSUPPORTED, "%.*s is not possible here, expected %s", (int)head->method.size,
                     (const char *)head->method.data, allow);
        *ret_problem = "method-not-allowed";
        return 405;
    default:
        hf_error_set(error, HF_ENOTFOUND, "there is nothing at '%.*s'", (int)(path.size < 200 ? path.size : 200),
                     (const char *)path.data);
        *ret_problem = "not-found";
        return 404;
    }
}

static uint32_t decode_parameters(hf_http_request *request, hf_error *error, const char **ret_problem)
{
    for (uint32_t i = 0; i < request->match.parameter_count; i++) {
        hf_slice *value = &request->match.values[i];
        uint64_t offset = 0;
        int32_t result = hf_url_decode(*value, 0, &request->arena, value, error);

        if (!result && !hf_utf8_valid(*value, &offset))
            result = hf_error_set(error, HF_EINVAL, "{%.*s} in the path is not UTF-8 at its byte %llu",
                                  (int)request->match.names[i].size, (const char *)request->match.names[i].data,
                                  (unsigned long long)offset);
        if (result) {
            *ret_problem = "bad-request";
            return 400;
        }
    }
    return 0;
}

static uint32_t authorise(hf_http_request *request, hf_error *error, const char **ret_problem)
{
    const hf_http_authority *authority = &request->shard->server->settings.authority;
    int32_t right = request->match.entry->route.right;

    request->principal.right = HF_HTTP_ADMIN;
    if (authority->identify) {
        hf_slice authorization = hf_http1_header_find(&request->head, "authorization");
        if (authority->identify(authority->arg, authorization, &request->principal, error) != 0) {
            *ret_problem = "unauthorized";
            return 401;
        }
    }
    if (request->principal.right >= right)
        return 0;
    *ret_problem = request->principal.user ? "forbidden" : "unauthorized";
    hf_error_set(error, HF_EDENIED,
                 request->principal.user ? "this token has not the right to do this"
                                         : "expected 'Authorization: Bearer TOKEN'; see 'holdfast help token'");
    return request->principal.user ? 403 : 401;
}

uint32_t hf_http_request_admit(hf_http_request *request, hf_error *error, const char **ret_problem, char *allow,
                               uint64_t allow_capacity)
{
    allow[0] = '\0';
    set_trace(request);
    request->head_only = hf_slice_is(request->head.method, "HEAD");
    uint32_t status = find_route(request, error, ret_problem, allow, allow_capacity);
    if (!status)
        status = authorise(request, error, ret_problem);
    request->address = hf_http_connection_address(request->connection);
    request->client = request->principal.user ? request->principal.user : request->address;
    if (!status)
        status = decode_parameters(request, error, ret_problem);
    return status;
}

/* ---- What the handler asks --------------------------------------------------------------------------------------- */

hf_slice hf_http_method(const hf_http_request *request)
{
    return request->head.method;
}

hf_slice hf_http_parameter(const hf_http_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->match.parameter_count; i++)
        if (hf_slice_is(request->match.names[i], name))
            return request->match.values[i];
    return (hf_slice){NULL, 0};
}

hf_slice hf_http_query(const hf_http_request *request, const char *name)
{
    hf_arena *arena = &((hf_http_request *)(uintptr_t)request)->arena; /* decoding allocates; the request is the same */
    hf_slice found, value;
    uint64_t cursor = 0;

    while (hf_url_query_next(request->query_text, &cursor, &found, &value))
        if (hf_url_decode(found, 1, arena, &found, NULL) == 0 && hf_slice_is(found, name)) {
            if (!value.data)
                return hf_slice_of("");
            return hf_url_decode(value, 1, arena, &value, NULL) == 0 ? value : (hf_slice){NULL, 0};
        }
    return (hf_slice){NULL, 0};
}

hf_slice hf_http_header(const hf_http_request *request, const char *name)
{
    return hf_http1_header_find(&request->head, name);
}

hf_slice hf_http_body(const hf_http_request *request)
{
    return request->body;
}

hf_arena *hf_http_arena(hf_http_request *request)
{
    return &request->arena;
}

hf_loop *hf_http_loop(const hf_http_request *request)
{
    return request->shard->loop;
}

const uint8_t *hf_http_trace(const hf_http_request *request)
{
    return request->trace;
}

uint64_t hf_http_user(const hf_http_request *request)
{
    return request->principal.user;
}

uint64_t hf_http_client(const hf_http_request *request)
{
    return request->client;
}

int32_t hf_http_allowed(const hf_http_request *request, int32_t right, hf_slice table)
{
    const hf_http_authority *authority = &request->shard->server->settings.authority;

    return authority->allowed ? authority->allowed(authority->arg, &request->principal, right, table) : 1;
}

/* ---- The answer -------------------------------------------------------------------------------------------------- */

static void deliver_task(hf_task *task)
{
    hf_http_connection_answer((hf_http_request *)task); /* the task is its first member */
}

static void deliver(hf_http_request *request)
{
    if (hf_loop_current() == request->shard->loop) {
        hf_http_connection_answer(request);
        return;
    }
    request->task.run = deliver_task;
    hf_loop_post(request->shard->loop, &request->task);
}

static void append_text(hf_buffer *answer, const char *text)
{
    hf_buffer_append(answer, text, strlen(text));
}

static void append_number(hf_buffer *answer, uint64_t number)
{
    char digits[20], *first = digits + sizeof digits;

    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    hf_buffer_append(answer, first, (uint64_t)(digits + sizeof digits - first));
}

static void append_date(hf_buffer *answer)
{
    static _Thread_local time_t last;
    static _Thread_local char text[40];
    time_t now = time(NULL);
    struct tm parts;

    if (now != last && gmtime_r(&now, &parts)) {
        strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
        last = now;
    }
    append_text(answer, text);
}

static void append_trace(hf_buffer *answer, const uint8_t trace[16])
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "Holdfast-Trace: 00000000000000000000000000000000\r\n";

    for (int i = 0; i < 16; i++) {
        text[16 + 2 * i] = digits[trace[i] >> 4];
        text[17 + 2 * i] = digits[trace[i] & 15];
    }
    hf_buffer_append(answer, text, sizeof text - 1);
}

static void append_field(hf_buffer *answer, const char *name, const char *value)
{
    append_text(answer, name);
    append_text(answer, ": ");
    append_text(answer, value);
    append_text(answer, "\r\n");
}

static void begin_answer(hf_http_request *request, uint32_t status, const char *type)
{
    hf_buffer *answer = &request->answer;

    request->status = status;
    request->failed |= hf_buffer_reserve(answer, HEAD_USUAL) != 0;
    append_text(answer, "HTTP/1.1 ");
    append_number(answer, status);
    append_text(answer, " ");
    append_text(answer, hf_http1_reason(status));
    append_text(answer, "\r\n");
    append_date(answer);
    append_trace(answer, request->trace);
    if (type)
        append_field(answer, "Content-Type", type);
    if (!request->keep_alive)
        append_field(answer, "Connection", "close");
    else if (request->head.minor == 0)
        append_field(answer, "Connection", "keep-alive");
}

/* Memory for a large answer; 0 after answering that there is none. */
static int admit_answer(hf_http_request *request, uint64_t size)
{
    hf_http_server *server = request->shard->server;
    uint64_t now = hf_clock_us(); /* maybe of a thread without a loop */
    int32_t why = hf_http_server_enter(request, HTTP_REFUSED_ANSWERS, request->address, size, now);
    hf_error error;

    if (!why) {
        request->answer_memory = size;
        return 1;
    }
    request->refused_answer = size;
    hf_http_server_refuse(server, HTTP_REFUSED_ANSWERS, why, now, &error);
    hf_http_problem(request, 503, "busy", &error, NULL);
    return 0;
}

void hf_http_respond(hf_http_request *request, uint32_t status, const char *type, hf_slice body,
                     const hf_http_field *fields, uint32_t field_count)
{
    hf_buffer *answer = &request->answer;

    if (body.size > HF_HTTP_ANSWER_LARGE && !request->head_only && !admit_answer(request, body.size))
        return;
    begin_answer(request, status, type);
    for (uint32_t i = 0; i < field_count; i++)
        append_field(answer, fields[i].name, fields[i].value);
    if (status != 204 && status != 304) {
        append_text(answer, "Content-Length: ");
        append_number(answer, body.size);
        append_text(answer, "\r\n");
    }
    request->failed |= hf_buffer_append(answer, "\r\n", 2) != 0;
    if (!request->head_only)
        request->failed |= hf_buffer_append(answer, body.data, body.size) != 0;
    deliver(request);
}

static void append_retry(hf_json_writer *writer, const hf_error *error)
{
    static const char *const words[] = {"no", "later", "elsewhere"};
    int32_t retry = error && error->retry >= 0 && error->retry <= HF_RETRY_ELSEWHERE ? error->retry : HF_RETRY_NO;

    hf_json_member_text(writer, "retry", words[retry]);
    if (retry == HF_RETRY_LATER) {
        hf_json_member_unsigned(writer, "retry_after_ms", error->retry_after_ms ? error->retry_after_ms : 1000);
    }
}

static void write_problem(hf_buffer *body, uint32_t status, const char *problem, const hf_error *error)
{
    char type[96];
    hf_json_writer writer;

    snprintf(type, sizeof type, "urn:holdfast:problem:%s", problem);
    hf_json_writer_init(&writer, body);
    hf_json_begin_object(&writer);
    hf_json_member_text(&writer, "type", type);
    hf_json_member_text(&writer, "title", hf_http1_reason(status));
    hf_json_member_unsigned(&writer, "status", status);
    hf_json_member_text(&writer, "detail", error ? error->message : "");
    append_retry(&writer, error);
    hf_json_end_object(&writer);
}

static void respond_problem(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                            const char *members, const char *allow)
{
    hf_buffer body;
    hf_http_field fields[2];
    uint32_t count = 0;
    char seconds[24];

    hf_buffer_init(&body, 64 * 1024);
    write_problem(&body, status, problem, error);
    if (members && body.size) { /* before the closing brace */
        body.size--;
        hf_buffer_append_format(&body, ",%s}", members);
    }
    if (error && error->retry == HF_RETRY_LATER) {
        uint64_t after = error->retry_after_ms ? error->retry_after_ms : 1000;
        snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)((after + 999) / 1000));
        fields[count++] = (hf_http_field){"Retry-After", seconds};
    }
    if (allow && allow[0])
        fields[count++] = (hf_http_field){"Allow", allow};
    hf_http_respond(request, status, "application/problem+json", (hf_slice){body.data, body.size}, fields, count);
    hf_buffer_done(&body);
}

/* What went wrong here, and not with the request, can be found in the log by the trace id that the answer carries. */
static void log_failure(const hf_http_request *request, uint32_t status, const hf_error *error)
{
    static const uint8_t no_trace[16];
    hf_slice method = request->head.method, target = request->head.target;

    hf_log_set_trace(request->trace);
    hf_log(status == 500 ? HF_LOG_ERROR : HF_LOG_DEBUG, "http", "%.*s %.*s: %u: %s", (int)method.size,
           (const char *)method.data, (int)(target.size < 200 ? target.size : 200), (const char *)target.data, status,
           error ? error->message : "");
    hf_log_set_trace(no_trace);
}

void hf_http_problem(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                     const char *members)
{
    if (status >= 500)
        log_failure(request, status, error);
    respond_problem(request, status, problem, error, members, NULL);
}

void hf_http_request_refuse(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                            const char *allow)
{
    respond_problem(request, status, problem, error, NULL, allow);
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

void hf_http_stream_begin(hf_http_request *request, uint32_t status, const char *type, hf_http_stream_event event,
                          void *arg)
{
    request->state = HTTP_STREAMING;
    request->event = event;
    request->event_arg = arg;
    if (request->head.minor == 0)
        request->keep_alive = 0; /* HTTP/1.0 knows no chunks: the end of the connection is the end of the body */
    begin_answer(request, status, type);
    if (request->head.minor > 0)
        hf_buffer_append_format(&request->answer, "Transfer-Encoding: chunked\r\n");
    hf_buffer_append_format(&request->answer, "\r\n");
    hf_http_connection_stream(request, 0);
}

uint64_t hf_http_stream_write(hf_http_request *request, hf_slice bytes)
{
    hf_buffer *answer = &request->answer;

    if (!request->connection)
        return UINT64_MAX;
    if (request->head_only)
        return 0;
    if (!bytes.size)
        return hf_http_connection_waiting(request->connection);
    if (request->head.minor > 0)
        request->failed |= hf_buffer_append_format(answer, "%llx\r\n", (unsigned long long)bytes.size) != 0;
    request->failed |= hf_buffer_append(answer, bytes.data, bytes.size) != 0;
    if (request->head.minor > 0)
        request->failed |= hf_buffer_append(answer, "\r\n", 2) != 0;
    return hf_http_connection_stream(request, 0);
}

static void closed_task(hf_task *task)
{
    hf_http_request *request = (hf_http_request *)task; /* the task is its first member */

    request->closing = 0;
    if (request->ended)
        hf_http_connection_answer(request);
    else
        request->event(request->event_arg, HF_HTTP_STREAM_CLOSED);
}

void hf_http_request_closed(hf_http_request *request)
{
    if (!request->writing) {
        request->event(request->event_arg, HF_HTTP_STREAM_CLOSED);
        return;
    }
    request->closing = 1;
    request->task.run = closed_task;
    hf_loop_post(request->shard->loop, &request->task);
}

void hf_http_stream_end(hf_http_request *request)
{
    if (request->closing) {
        request->ended = 1;
        return;
    }
    if (request->head.minor > 0 && !request->head_only)
        hf_buffer_append_format(&request->answer, "0\r\n\r\n");
    hf_http_connection_stream(request, 1);
}
