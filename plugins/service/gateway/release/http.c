/* The releases over HTTP.  Requests come on worker loops; everything about releases is the main loop's. */
#include "release/desk.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 16384, DOCUMENT_MAX = 1 << 20 };

/* A request on its way through the main loop. */
struct call {
    struct gateway_wait wait; /* first */
    hf_task task;
    struct gateway_desk *desk;
    hf_http_request *request;
    char stable[GATEWAY_RELEASE_NAME_SIZE];
    char actor[GATEWAY_ACTOR_SIZE];
    struct gateway_release wish;
};

static void refuse(const struct gateway_desk *desk, hf_http_request *request, int32_t code, const hf_error *error)
{
    static const struct {
        int32_t code;
        uint32_t status;
        const char *problem;
    } rows[] = {{HF_EINVAL, 400, "bad-request"}, {HF_ENOTFOUND, 404, "not-found"}, {HF_ECONFLICT, 409, "conflict"}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code) {
            desk->http->problem(request, rows[i].status, rows[i].problem, error, NULL);
            return;
        }
    desk->http->problem(request, 503, "busy", error, NULL);
}

static void end_call(struct call *call, int32_t code, const hf_error *error)
{
    if (code != HF_OK)
        refuse(call->desk, call->request, code, error);
    free(call);
}

static void respond(const struct call *call, uint32_t status, const hf_buffer *text)
{
    call->desk->http->respond(call->request, status, "application/json", (hf_slice){text->data, text->size}, NULL, 0);
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static void show_all(hf_task *task)
{
    struct call *call = (struct call *)((char *)task - offsetof(struct call, task));
    const struct gateway_desk *desk = call->desk;
    const struct gateway_release *releases[GATEWAY_RELEASES_MAX];
    uint32_t count = 0;
    hf_error error = {0};
    hf_buffer text;

    for (uint32_t i = 0; i < GATEWAY_RELEASES_MAX; i++)
        if (desk->slots[i].release)
            releases[count++] = desk->slots[i].release;
    hf_buffer_init(&text, DOCUMENT_MAX);
    int32_t code = gateway_releases_write(&text, releases, count, gateway_desk_now(desk));
    if (code == HF_OK)
        respond(call, 200, &text);
    else
        hf_error_set(&error, HF_EBUSY, "no memory for the answer");
    hf_buffer_done(&text);
    end_call(call, code, &error);
}

/* What was done is in the file, or could not be put there. */
static void written(struct gateway_wait *wait, int32_t code, const hf_error *error)
{
    struct call *call = (struct call *)(void *)wait;
    const struct gateway_release *release = gateway_desk_find(call->desk, call->stable);
    hf_json_writer writer;
    hf_buffer text;

    hf_buffer_init(&text, DOCUMENT_MAX);
    hf_json_writer_init(&writer, &text);
    if (release)
        gateway_release_write(&writer, release, gateway_desk_now(call->desk));
    if (code == HF_OK && release && writer.result == HF_OK)
        respond(call, 200, &text);
    else if (code == HF_OK) /* done, and gone again since, or there is no memory to show it */
        call->desk->http->respond(call->request, 204, NULL, (hf_slice){NULL, 0}, NULL, 0);
    hf_buffer_done(&text);
    end_call(call, code, error);
}

/* ---- Doing ------------------------------------------------------------------------------------------------------- */

static void start(hf_task *task)
{
    struct call *call = (struct call *)((char *)task - offsetof(struct call, task));
    hf_error error = {0};
    int32_t code = gateway_desk_start(call->desk, call->stable, &call->wish, call->actor, &error);

    if (code == HF_OK)
        gateway_desk_wait(call->desk, &call->wait);
    else
        end_call(call, code, &error);
}

static void abort_release(hf_task *task)
{
    struct call *call = (struct call *)((char *)task - offsetof(struct call, task));
    hf_error error = {0};
    int32_t code = gateway_desk_abort(call->desk, call->stable, call->actor, &error);

    if (code == HF_OK)
        gateway_desk_wait(call->desk, &call->wait);
    else
        end_call(call, code, &error);
}

/* NULL: it was refused. */
static struct call *begin(struct gateway_desk *desk, hf_http_request *request, void (*run)(hf_task *task))
{
    struct call *call = calloc(1, sizeof *call);
    hf_slice stable = desk->http->parameter(request, "upstream");
    hf_error error = {0};
    int32_t code = call ? HF_OK : hf_error_set(&error, HF_EBUSY, "no memory for the request");

    if (code == HF_OK &&
        (stable.size >= sizeof call->stable || memchr(stable.data ? stable.data : (const uint8_t *)"", 0, stable.size)))
        code = hf_error_set(&error, HF_ENOTFOUND, "there is no such upstream: the name is too long, or none");
    if (code != HF_OK) {
        refuse(desk, request, code, &error);
        free(call);
        return NULL;
    }
    if (stable.size)
        memcpy(call->stable, stable.data, stable.size);
    snprintf(call->actor, sizeof call->actor, "user %016llx", (unsigned long long)desk->http->user(request));
    call->desk = desk;
    call->request = request;
    call->wait.written = written;
    call->task.run = run;
    return call;
}

static void to_main(struct call *call)
{
    call->desk->loops->post(call->desk->loops->main_loop(call->desk->host), &call->task);
}

static void handle_get(void *arg, hf_http_request *request)
{
    struct call *call = begin(arg, request, show_all);

    if (call)
        to_main(call);
}

static void handle_post(void *arg, hf_http_request *request)
{
    struct gateway_desk *desk = arg;
    struct call *call = begin(desk, request, start);
    hf_error error = {0};
    hf_value wish;

    if (!call)
        return;
    int32_t code = hf_json_parse(desk->http->body(request), desk->http->arena(request), &wish, &error);
    if (code == HF_OK)
        code = gateway_release_read_wish(&wish, &call->wish, &error);
    if (code == HF_OK)
        to_main(call);
    else
        end_call(call, code, &error);
}

static void handle_delete(void *arg, hf_http_request *request)
{
    struct call *call = begin(arg, request, abort_release);

    if (call)
        to_main(call);
}

int32_t gateway_desk_add_routes(struct gateway_desk *desk, hf_error *error)
{
    static const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/canaries", 0,
         "Releases that are under way, and those that have ended.", handle_get},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/v1/gateway/canaries/{upstream}", BODY_MAX,
         "Begins to give users of an upstream a new version.", handle_post},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "DELETE", "/v1/gateway/canaries/{upstream}", 0,
         "Gives all users of an upstream its stable version again.", handle_delete},
    };
    int32_t code = HF_OK;

    for (size_t i = 0; desk->http && i < sizeof routes / sizeof *routes && code == HF_OK; i++)
        code = desk->http->route(desk->host, &routes[i], desk, error);
    return code;
}
