#include "service/caches.h"

#include "service/private.h"

#include <holdfast/host/http.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum { DOCUMENT_MAX = 1 << 20 };

/* A request on its way: to the main loop, which knows the caches, and for a purge to the pool and back, since looking
 * through a cache takes longer than a loop may be held. */
struct call {
    hf_job job; /* first */
    hf_task task;
    struct gateway *gateway;
    const hf_http_interface *http;
    hf_http_request *request;
    hf_slice name, what; /* in the request's memory */
    int32_t is_prefix;
    struct gateway_cache *cache; /* held while it is purged */
    uint64_t purged;
};

void gateway_caches_show(const struct gateway *gateway)
{
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->cache_count; i++)
        gateway_cache_show(gateway->plan->caches[i].cache);
}

static void refuse(struct call *call, uint32_t status, const char *problem, int32_t code, const char *message)
{
    hf_error error;

    hf_error_set(&error, code, "%s", message);
    call->http->problem(call->request, status, problem, &error, NULL);
    free(call);
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static void write_cache(hf_json_writer *writer, struct gateway_cache *cache)
{
    uint64_t objects, memory;

    gateway_cache_measure(cache, &objects, &memory);
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", cache->name);
    hf_json_member_unsigned(writer, "objects", objects);
    hf_json_member_unsigned(writer, "memory", memory);
    hf_json_member_unsigned(writer, "memory_maximum", cache->memory_maximum);
    for (int32_t i = 0; i < GATEWAY_CACHE_RESULTS; i++)
        hf_json_member_unsigned(writer, gateway_cache_word(i),
                                atomic_load_explicit(&cache->results[i], memory_order_relaxed));
    hf_json_end_object(writer);
}

static void show(hf_task *task)
{
    struct call *call = (struct call *)((char *)task - offsetof(struct call, task));
    const struct gateway_plan *plan = call->gateway->plan;
    hf_json_writer writer;
    hf_buffer text;

    hf_buffer_init(&text, DOCUMENT_MAX);
    hf_json_writer_init(&writer, &text);
    hf_json_begin_object(&writer);
    hf_json_member_unsigned(&writer, "format", 1);
    hf_json_name(&writer, "caches");
    hf_json_begin_list(&writer);
    for (uint32_t i = 0; plan && i < plan->cache_count; i++)
        write_cache(&writer, plan->caches[i].cache);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    if (writer.result == HF_OK) {
        call->http->respond(call->request, 200, "application/json", (hf_slice){text.data, text.size}, NULL, 0);
        free(call);
    } else {
        refuse(call, 503, "busy", HF_EBUSY, "no memory for the answer");
    }
    hf_buffer_done(&text);
}

/* ---- Purging ----------------------------------------------------------------------------------------------------- */

static void purge(hf_job *job)
{
    struct call *call = (struct call *)job;

    call->purged =
        call->is_prefix ? gateway_cache_purge(call->cache, call->what) : gateway_cache_forget(call->cache, call->what);
}

static void purged(hf_job *job)
{
    struct call *call = (struct call *)job;
    hf_buffer text;

    gateway_cache_release(call->cache);
    hf_buffer_init(&text, DOCUMENT_MAX);
    if (hf_buffer_append_format(&text, "{\"purged\":%llu}", (unsigned long long)call->purged) == HF_OK) {
        call->http->respond(call->request, 200, "application/json", (hf_slice){text.data, text.size}, NULL, 0);
        free(call);
    } else {
        refuse(call, 503, "busy", HF_EBUSY, "it was purged, but there is no memory to say so");
    }
    hf_buffer_done(&text);
}

static struct gateway_cache *find(const struct gateway *gateway, hf_slice name)
{
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->cache_count; i++)
        if (hf_slice_is(name, gateway->plan->caches[i].cache->name))
            return gateway->plan->caches[i].cache;
    return NULL;
}

static void begin_purge(hf_task *task)
{
    struct call *call = (struct call *)((char *)task - offsetof(struct call, task));
    struct gateway *gateway = call->gateway;

    call->cache = find(gateway, call->name);
    if (!call->cache) {
        refuse(call, 404, "not-found", HF_ENOTFOUND, "there is no cache of that name");
        return;
    }
    gateway_cache_hold(call->cache);
    call->job = (hf_job){.loop = gateway->loops->main_loop(gateway->host), .work = purge, .done = purged};
    if (gateway->loops->submit(gateway->host, &call->job, NULL) == HF_OK)
        return;
    gateway_cache_release(call->cache);
    refuse(call, 503, "busy", HF_EBUSY, "too much is to be done already; try again later");
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* NULL: it was refused. */
static struct call *begin(struct gateway *gateway, hf_http_request *request, void (*run)(hf_task *task))
{
    const hf_http_interface *http = gateway->desk.http;
    struct call *call = calloc(1, sizeof *call);
    hf_error error;

    if (!call) {
        hf_error_set(&error, HF_EBUSY, "no memory for the request");
        http->problem(request, 503, "busy", &error, NULL);
        return NULL;
    }
    call->gateway = gateway;
    call->http = http;
    call->request = request;
    call->task.run = run;
    return call;
}

static void to_main(struct call *call)
{
    call->gateway->loops->post(call->gateway->loops->main_loop(call->gateway->host), &call->task);
}

static void handle_get(void *arg, hf_http_request *request)
{
    struct call *call = begin(arg, request, show);

    if (call)
        to_main(call);
}

/* Without url and prefix: all of it. */
static void handle_delete(void *arg, hf_http_request *request)
{
    struct call *call = begin(arg, request, begin_purge);

    if (!call)
        return;
    hf_slice url = call->http->query(request, "url"), prefix = call->http->query(request, "prefix");
    call->name = call->http->parameter(request, "cache");
    call->is_prefix = url.data == NULL;
    call->what = url.data ? url : prefix;
    if (url.data && prefix.data)
        refuse(call, 400, "bad-request", HF_EINVAL, "expected url or prefix, not both");
    else
        to_main(call);
}

int32_t gateway_caches_open(struct gateway *gateway, hf_error *error)
{
    static const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/caches", 0, "What the gateway's caches have.",
         handle_get},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "DELETE", "/v1/gateway/caches/{cache}", 0,
         "Forgets what a cache of the gateway has: of one URL (url), of all that begin so (prefix), or all.",
         handle_delete},
    };
    const hf_http_interface *http = gateway->desk.http;
    int32_t code = HF_OK;

    for (size_t i = 0; http && i < sizeof routes / sizeof *routes && code == HF_OK; i++)
        code = http->route(gateway->host, &routes[i], gateway, error);
    return code;
}
