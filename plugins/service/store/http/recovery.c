/* Bringing back a cluster that lost its majority for good: the plan, and carrying it out. */
#include "http/private.h"

#include <holdfast/lib/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLAN_MAXIMUM = 32 << 20, ACTOR_SIZE = 40 };

struct recovery {
    struct store_http *http;
    hf_http_request *request;
};

static void finished(void *arg, int32_t code, hf_slice plan, const hf_error *error)
{
    struct recovery recovery = *(struct recovery *)arg;
    struct store_op op = {.type = STORE_OP_WRITE, .code = code};
    hf_error problem = {.code = code};

    free(arg);
    if (error)
        problem = op.error = *error;
    if (code == HF_OK)
        recovery.http->http->respond(recovery.request, 200, "application/json", plan, NULL, 0);
    else if (code == HF_ECONFLICT || code == HF_ENOTFOUND || code == HF_ESTATE)
        recovery.http->http->problem(recovery.request, 409, "conflict", &problem, NULL);
    else
        store_problem(recovery.http, recovery.request, &op);
}

static void refuse(struct store_http *http, hf_http_request *request, uint32_t status, const char *problem,
                   int32_t code, const char *message)
{
    hf_error error = {0};

    hf_error_set(&error, code, "%s", message);
    http->http->problem(request, status, problem, &error, NULL);
}

static struct recovery *begin(struct store_http *http, hf_http_request *request)
{
    struct recovery *recovery = malloc(sizeof *recovery);

    if (recovery)
        *recovery = (struct recovery){http, request};
    else
        refuse(http, request, 503, "busy", HF_EBUSY, "no memory for the request");
    return recovery;
}

/* "n2,n3" as bits; 0: one of them is no node, and that was answered. */
static int read_dead(struct store_http *http, hf_http_request *request, uint32_t *ret_dead)
{
    const struct store_nodes *nodes = store_service_nodes(http->service);
    hf_slice list = http->http->query(request, "dead");
    char text[200];

    *ret_dead = 0;
    while (list.size > 0) {
        hf_slice name = {list.data, 0};

        while (name.size < list.size && list.data[name.size] != ',')
            name.size++;
        uint32_t node = store_node_find(nodes, name);

        if (node == UINT32_MAX) {
            snprintf(text, sizeof text, "there is no node '%.*s'; expected the names of members, with commas",
                     (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
            refuse(http, request, 404, "not-found", HF_ENOTFOUND, text);
            return 0;
        }
        *ret_dead |= 1u << node;
        list.data += name.size + (name.size < list.size);
        list.size -= name.size + (name.size < list.size);
    }
    return 1;
}

void store_http_recovery_plan(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    uint32_t dead;
    struct recovery *recovery = read_dead(http, request, &dead) ? begin(http, request) : NULL;

    if (recovery)
        store_service_recover_plan(http->service, dead, finished, recovery);
}

/* The plan within the body; 0 after answering. */
static int read_plan(struct store_http *http, hf_http_request *request, hf_buffer *plan)
{
    hf_value body = hf_value_null();
    hf_error error = {0};

    if (hf_json_parse(http->http->body(request), http->http->arena(request), &body, &error) != HF_OK) {
        refuse(http, request, 400, "bad-request", HF_EINVAL, error.message);
        return 0;
    }
    const hf_value *document = hf_value_get(&body, "plan");

    if (!document || document->type != HF_VALUE_MAP || !hf_value_get_boolean(&body, "accept_data_loss", 0)) {
        refuse(http, request, 422, "unprocessable", HF_EINVAL,
               "expected {\"plan\":{...},\"accept_data_loss\":true} with a plan of GET /v1/recovery");
        return 0;
    }
    if (hf_json_append(plan, document) != HF_OK) {
        refuse(http, request, 503, "busy", HF_EBUSY, "no memory for the plan");
        return 0;
    }
    return 1;
}

void store_http_recover(void *arg, hf_http_request *request)
{
    struct store_http *http = arg;
    char actor[ACTOR_SIZE];
    hf_buffer plan;

    hf_buffer_init(&plan, PLAN_MAXIMUM);
    struct recovery *recovery = read_plan(http, request, &plan) ? begin(http, request) : NULL;

    snprintf(actor, sizeof actor, "user %016" PRIx64, http->http->user(request));
    if (recovery)
        store_service_recover(http->service, (hf_slice){plan.data, plan.size}, actor, finished, recovery);
    hf_buffer_done(&plan);
}
