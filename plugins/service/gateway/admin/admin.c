#include "admin/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { ANSWER_MAXIMUM = 16 << 20, BODY_MAXIMUM = 16 << 10 };

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

void gateway_answer_error(const struct gateway_admin *admin, hf_http_request *request, const hf_error *error)
{
    static const struct {
        int32_t code;
        uint32_t status;
        const char *problem;
    } known[] = {{HF_EINVAL, 400, "bad-request"},      {HF_ENOTFOUND, 404, "not-found"}, {HF_EEXIST, 409, "conflict"},
                 {HF_ECONFLICT, 409, "conflict"},      {HF_EBUSY, 503, "busy"},          {HF_ESTATE, 503, "busy"},
                 {HF_ETOOLARGE, 422, "unprocessable"}, {HF_EIO, 422, "unprocessable"},   {HF_ENOMEM, 503, "busy"}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == error->code) {
            admin->http->problem(request, known[i].status, known[i].problem, error, NULL);
            return;
        }
    admin->http->problem(request, 500, "internal", error, NULL);
}

static void answer_no_memory(const struct gateway_admin *admin, hf_http_request *request)
{
    hf_error error = {0};

    hf_error_set(&error, HF_EBUSY, "no memory for the answer; try again later");
    gateway_answer_error(admin, request, &error);
}

void gateway_answer_json(const struct gateway_admin *admin, hf_http_request *request, uint32_t status,
                         hf_json_writer *writer)
{
    hf_buffer *body = writer->buffer;

    if (writer->result == HF_OK)
        admin->http->respond(request, status, "application/json", (hf_slice){body->data, body->size}, NULL, 0);
    else
        answer_no_memory(admin, request);
    hf_buffer_done(body);
}

void gateway_json_begin(hf_json_writer *writer, hf_buffer *body)
{
    hf_buffer_init(body, ANSWER_MAXIMUM);
    hf_json_writer_init(writer, body);
}

/* ---- The way to the main loop ------------------------------------------------------------------------------------ */

static void run_ask(hf_task *task)
{
    struct gateway_ask *ask = (struct gateway_ask *)task;

    ask->answer(ask);
}

void gateway_ask_begin(const struct gateway_admin *admin, hf_http_request *request,
                       void (*answer)(struct gateway_ask *ask))
{
    const struct gateway *gateway = admin->gateway;
    struct gateway_ask *ask = hf_arena_alloc(admin->http->arena(request), sizeof *ask);

    if (!ask) {
        answer_no_memory(admin, request);
        return;
    }
    *ask = (struct gateway_ask){.task.run = run_ask, .admin = admin, .request = request, .answer = answer};
    gateway->loops->post(gateway->loops->main_loop(gateway->host), &ask->task);
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static void handle_gateway(void *arg, hf_http_request *request)
{
    gateway_ask_begin(arg, request, gateway_show_gateway);
}

static void handle_upstreams(void *arg, hf_http_request *request)
{
    gateway_ask_begin(arg, request, gateway_show_upstreams);
}

static void handle_upstream(void *arg, hf_http_request *request)
{
    gateway_ask_begin(arg, request, gateway_show_upstream);
}

static void handle_routes(void *arg, hf_http_request *request)
{
    gateway_ask_begin(arg, request, gateway_show_routes);
}

static void handle_top(void *arg, hf_http_request *request)
{
    gateway_ask_begin(arg, request, gateway_show_top);
}

#define SERVERS "/v1/gateway/upstreams/{upstream}/servers"

static const hf_http_route routes[] = {
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway", 0, "The gateway: listeners, connections, rates.",
     handle_gateway},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/upstreams", 0, "The upstreams and their servers.",
     handle_upstreams},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/upstreams/{upstream}", 0, "One upstream and its servers.",
     handle_upstream},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/routes", 0, "The routes, in their order.", handle_routes},
    {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/v1/gateway/top", 0, "What goes on: rates of the last ten seconds.",
     handle_top},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", SERVERS, BODY_MAXIMUM, "Adds a server.", gateway_handle_add},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "PUT", SERVERS "/{server}", BODY_MAXIMUM, "Changes a server.",
     gateway_handle_set},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "DELETE", SERVERS "/{server}", 0, "Takes a server out.",
     gateway_handle_remove},
    {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", SERVERS "/{server}/{action}", BODY_MAXIMUM,
     "drain: it gets no more requests; undrain: it does again.", gateway_handle_action},
};

int32_t gateway_admin_create(struct gateway *gateway, struct gateway_admin **ret_admin, hf_error *error)
{
    const hf_http_interface *http =
        (const hf_http_interface *)(const void *)gateway->host->query(gateway->host, HF_HTTP_INTERFACE);
    int32_t code = HF_OK;

    if (!http)
        return HF_OK;
    struct gateway_admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's admin interface");
    admin->gateway = gateway;
    admin->http = http;
    admin->signals =
        (const hf_signal_interface *)(const void *)gateway->host->query(gateway->host, HF_SIGNAL_INTERFACE);
    *ret_admin = admin;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && code == HF_OK; i++)
        code = http->route(gateway->host, &routes[i], admin, error);
    return code;
}

void gateway_admin_destroy(struct gateway_admin *admin)
{
    free(admin);
}
