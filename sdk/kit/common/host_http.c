/* hf.http/1: routes, and requests that the check makes itself.  Each must be answered exactly once. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_SIZE = 64 << 20, STREAM_US = 300000 };

struct kit_route_entry {
    hf_http_route route;
    void *arg;
};

/* Kept until the host goes, so that a second answer is seen. */
struct hf_http_request {
    hf_http_request *next;
    hf_kit_host *host;
    const struct kit_route_entry *route;
    const char *text;
    hf_slice body;
    hf_arena arena;
    hf_loop *loop;
    _Atomic uint32_t status; /* of the answer */
    _Atomic int32_t streaming;
    _Atomic int32_t stream_ended;
    hf_http_stream_event event;
    void *event_arg;
    int32_t gone; /* the client */
};

static int32_t is_text(const char *text)
{
    return text && *text;
}

static int32_t route(const hf_host *host, const hf_http_route *route_, void *arg, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);

    kit_must_declare(kit, "hf.http/1 route");
    if (route_->size < sizeof *route_ || !is_text(route_->method) || !is_text(route_->pattern) ||
        route_->pattern[0] != '/' || !is_text(route_->doc) || !route_->handle || route_->right < HF_HTTP_PUBLIC ||
        route_->right > HF_HTTP_ADMIN)
        hf_kit_fail("the route '%s' has a wrong size, method, pattern, doc, right or handler",
                    route_->pattern ? route_->pattern : "(null)");
    for (uint32_t i = 0; i < kit->route_count; i++)
        if (strcmp(kit->routes[i].route.method, route_->method) == 0 &&
            strcmp(kit->routes[i].route.pattern, route_->pattern) == 0)
            return hf_error_set(error, HF_EEXIST, "the route %s %s is there already", route_->method, route_->pattern);
    if (!kit->routes)
        kit->routes = kit_allocate(KIT_ROUTES_MAX * sizeof *kit->routes);
    if (kit->route_count == KIT_ROUTES_MAX)
        return hf_error_set(error, HF_ENOMEM, "more than %d routes", KIT_ROUTES_MAX);
    kit->routes[kit->route_count++] = (struct kit_route_entry){*route_, arg};
    return HF_OK;
}

/* ---- The request ------------------------------------------------------------------------------------------------- */

static void must_be_open(const hf_http_request *request, const char *function)
{
    if (atomic_load(&request->status))
        hf_kit_fail("%s %s: %s was called after the answer", request->route->route.method,
                    request->route->route.pattern, function);
}

static hf_slice method(const hf_http_request *request)
{
    must_be_open(request, "method");
    return hf_slice_of(request->route->route.method);
}

static hf_slice parameter(const hf_http_request *request, const char *name)
{
    const char *pattern = request->route->route.pattern;
    size_t size = strlen(name);

    must_be_open(request, "parameter");
    for (const char *at = strchr(pattern, '{'); at; at = strchr(at + 1, '{'))
        if (strncmp(at + 1, name, size) == 0 && at[1 + size] == '}')
            return hf_slice_of(request->text);
    return (hf_slice){NULL, 0};
}

static hf_slice nothing(const hf_http_request *request, const char *name)
{
    (void)name;
    must_be_open(request, "query or header");
    return (hf_slice){NULL, 0};
}

static hf_slice body(const hf_http_request *request)
{
    must_be_open(request, "body");
    return request->body;
}

static hf_arena *arena(hf_http_request *request)
{
    must_be_open(request, "arena");
    return &request->arena;
}

static hf_loop *loop(const hf_http_request *request)
{
    return request->loop;
}

static const uint8_t *trace(const hf_http_request *request)
{
    static const uint8_t bytes[16] = {1, 2, 3, 4};

    (void)request;
    return bytes;
}

static uint64_t client(const hf_http_request *request)
{
    (void)request;
    return 1; /* there is one */
}

static uint64_t user(const hf_http_request *request)
{
    (void)request;
    return 1;
}

static int32_t allowed(const hf_http_request *request, int32_t right, hf_slice table)
{
    (void)request, (void)right, (void)table;
    return 1;
}

/* ---- The answer -------------------------------------------------------------------------------------------------- */

static void answer(hf_http_request *request, uint32_t status)
{
    if (status < 100 || status > 599)
        hf_kit_fail("%s %s was answered with status %u", request->route->route.method, request->route->route.pattern,
                    status);
    if (atomic_exchange(&request->status, status))
        hf_kit_fail("%s %s was answered twice", request->route->route.method, request->route->route.pattern);
}

static void respond(hf_http_request *request, uint32_t status, const char *type, hf_slice bytes,
                    const hf_http_field *fields, uint32_t field_count)
{
    if (!type && bytes.size)
        hf_kit_fail("%s %s was answered with a body that has no type", request->route->route.method,
                    request->route->route.pattern);
    for (uint32_t i = 0; i < field_count; i++)
        if (!is_text(fields[i].name) || !fields[i].value)
            hf_kit_fail("%s was answered with a field without name or value", request->route->route.pattern);
    answer(request, status);
}

static void problem(hf_http_request *request, uint32_t status, const char *problem_, const hf_error *error,
                    const char *members)
{
    (void)members;
    if (!is_text(problem_) || !error)
        hf_kit_fail("%s was answered with a problem without a name or an error", request->route->route.pattern);
    answer(request, status);
}

static void stream_begin(hf_http_request *request, uint32_t status, const char *type, hf_http_stream_event event,
                         void *arg)
{
    (void)type;
    kit_must_be_on(request->loop, "stream_begin");
    request->event = event;
    request->event_arg = arg;
    atomic_store(&request->streaming, 1);
    answer(request, status);
}

static uint64_t stream_write(hf_http_request *request, hf_slice bytes)
{
    if (!atomic_load(&request->streaming) || atomic_load(&request->stream_ended))
        hf_kit_fail("%s: stream_write was called outside of a stream", request->route->route.pattern);
    (void)bytes;
    return request->gone ? UINT64_MAX : 0;
}

static void stream_end(hf_http_request *request)
{
    if (!atomic_load(&request->streaming) || atomic_exchange(&request->stream_ended, 1))
        hf_kit_fail("%s: stream_end was called twice, or outside of a stream", request->route->route.pattern);
}

const hf_http_interface kit_http_interface = {
    .head = HF_HEAD(hf_http_interface),
    .route = route,
    .method = method,
    .parameter = parameter,
    .query = nothing,
    .header = nothing,
    .body = body,
    .arena = arena,
    .loop = loop,
    .trace = trace,
    .user = user,
    .allowed = allowed,
    .respond = respond,
    .problem = problem,
    .stream_begin = stream_begin,
    .stream_write = stream_write,
    .stream_end = stream_end,
    .client = client,
};

/* ---- The client -------------------------------------------------------------------------------------------------- */

int32_t hf_kit_host_route(const hf_kit_host *host, uint32_t index, hf_kit_route *ret_route)
{
    if (index >= host->route_count)
        return 0;
    const hf_http_route *found = &host->routes[index].route;
    *ret_route = (hf_kit_route){found->right, found->method, found->pattern};
    return 1;
}

static void handle(void *arg)
{
    hf_http_request *request = arg;

    request->route->route.handle(request->route->arg, request);
}

static void go_away(void *arg)
{
    hf_http_request *request = arg;

    request->gone = 1;
    if (!atomic_load(&request->stream_ended))
        request->event(request->event_arg, HF_HTTP_STREAM_CLOSED);
}

static int32_t is_answered(void *arg)
{
    return atomic_load(&((hf_http_request *)arg)->status) != 0;
}

static int32_t is_ended(void *arg)
{
    return atomic_load(&((hf_http_request *)arg)->stream_ended);
}

uint32_t hf_kit_host_request(hf_kit_host *host, uint32_t index, const char *text, hf_slice bytes, uint64_t limit_us)
{
    hf_http_request *request = kit_allocate(sizeof *request);

    request->next = host->requests;
    host->requests = request;
    request->host = host;
    request->route = &host->routes[index];
    request->text = text;
    request->body = bytes;
    request->loop = &host->loops[1 + index % KIT_WORKERS];
    hf_arena_init(&request->arena, ARENA_SIZE);
    kit_call_on(request->loop, handle, request);
    if (!hf_kit_host_run_until(host, is_answered, request, limit_us))
        return 0;
    if (atomic_load(&request->streaming) && !hf_kit_host_run_until(host, is_ended, request, STREAM_US)) {
        kit_call_on(request->loop, go_away, request);
        if (!hf_kit_host_run_until(host, is_ended, request, limit_us))
            hf_kit_fail("%s: its client went away, and stream_end was not called", request->route->route.pattern);
    }
    hf_arena_done(&request->arena); /* what still reads it reads freed memory */
    return atomic_load(&request->status);
}

void kit_http_destroy(hf_kit_host *host)
{
    while (host->requests) {
        hf_http_request *request = host->requests;
        host->requests = request->next;
        hf_arena_done(&request->arena);
        free(request);
    }
    free(host->routes);
}
