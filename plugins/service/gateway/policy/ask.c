/* The decision points: declared once, asked on the workers' loops. */
#include "policy/policy.h"

#include "proxy/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdio.h>
#include <string.h>

enum {
    INSTRUCTIONS_MAX = 20000, /* of one decision: a fraction of a millisecond, in which others wait */
    LOG_EVERY_US = 1000000
};

static const hf_lua_parameter request_only[] = {{"request", "what the client asks for", HF_LUA_OBJECT, 0}};
static const hf_lua_parameter request_and_response[] = {{"request", "what the client has asked for", HF_LUA_OBJECT, 0},
                                                        {"response", "the server's answer", HF_LUA_OBJECT, 0}};
static const hf_lua_parameter request_and_error[] = {{"request", "what the client asks for", HF_LUA_OBJECT, 0},
                                                     {"error", "why no server answers", HF_LUA_OBJECT, 0}};

#define POINT(text, list)                                                                                              \
    .size = sizeof(hf_decision_point), .name = (text), .parameters = (list),                                           \
    .parameter_count = sizeof(list) / sizeof *(list), .instruction_maximum = INSTRUCTIONS_MAX,                         \
    .members = gateway_shown_members, .member_count = GATEWAY_SHOWN_MEMBERS

static const hf_decision_point points[GATEWAY_POINTS] = {
    [GATEWAY_POINT_ROUTE] =
        {POINT("gateway.route", request_only),
         .doc = "Where a request goes, after the configuration has found its route; for routes with policy = true.",
         .result =
             {"wish",
              "nil, or one of upstream = NAME, route = NAME, redirect = URL, and status, body, type of an answer; "
              "and request_fields, response_fields = { NAME = VALUE }",
              HF_VALUE_MAP, 0},
         .default_doc = "the configuration's route is taken"},
    [GATEWAY_POINT_BALANCE_KEY] = {POINT("gateway.balance_key", request_only),
                                   .doc = "By what a balancer with a key knows the request; for upstreams with key = "
                                          "\"policy\".",
                                   .result = {"key", "text or an integer; nil: the client's address", HF_LUA_ANY, 0},
                                   .default_doc = "the client's address is the key"},
    [GATEWAY_POINT_RESPONSE] =
        {POINT("gateway.on_response", request_and_response),
         .doc =
             "What becomes of a server's answer, before any of it goes to the client; for routes with policy = true.",
         .result = {"wish",
                    "nil, or one of retry = true (another server, where that is safe) and status, body, type of an "
                    "answer in its place; and fields = { NAME = VALUE }",
                    HF_VALUE_MAP, 0},
         .default_doc = "the answer goes to the client"},
    [GATEWAY_POINT_ERROR] =
        {POINT("gateway.on_error", request_and_error),
         .doc = "What is answered when no server does; for routes with policy = true.",
         .result = {"wish",
                    "nil, or one of upstream = NAME and status, body, type of an answer; and fields = { NAME = VALUE }",
                    HF_VALUE_MAP, 0},
         .default_doc = "the upstream's degraded answer, or a problem document"},
};

int32_t gateway_policies_declare(const hf_host *host, struct gateway_policies *ret_policies, hf_error *error)
{
    int32_t code = HF_OK;

    ret_policies->host = host;
    ret_policies->lua = (const hf_lua_interface *)host->query(host, HF_LUA_INTERFACE);
    ret_policies->metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    for (int32_t i = 0; ret_policies->lua && i < GATEWAY_POINTS && code == HF_OK; i++) {
        const char *labels[1][2] = {{"point", points[i].name}};

        code = ret_policies->lua->declare(host, &points[i], &ret_policies->points[i], error);
        if (code == HF_OK && ret_policies->metrics)
            code = ret_policies->metrics->add(host, HF_METRIC_COUNTER, "holdfast_gateway_policy_ignored_total",
                                              "Answers of policies that could not be followed.",
                                              (const char *const(*)[2])labels, 1, &ret_policies->ignored[i], error);
    }
    return code;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static int has_policy(const struct gateway_policies *policies, int32_t point)
{
    return policies && policies->lua && policies->lua->has_policy(policies->points[point]);
}

/* Counted always, and logged once a second at most. */
static void ignore(struct gateway_exchange *exchange, int32_t point, const hf_error *why)
{
    struct gateway_policies *policies = exchange->worker->policies;
    uint64_t now_us = gateway_worker_now(exchange->worker), quiet_until_us = atomic_load(&policies->quiet_until_us);
    char text[HF_ERROR_MESSAGE_SIZE + 160];

    if (policies->metrics)
        policies->metrics->increment(policies->ignored[point], 1);
    if (now_us < quiet_until_us ||
        !atomic_compare_exchange_strong(&policies->quiet_until_us, &quiet_until_us, now_us + LOG_EVERY_US))
        return;
    snprintf(text, sizeof text, "what the policy for %s has answered for the route '%.*s' cannot be followed: %s; %s",
             points[point].name, (int)exchange->route->name.size, (const char *)exchange->route->name.data,
             why->message, points[point].default_doc);
    policies->host->log(policies->host, HF_LOG_WARNING, hf_slice_of(text));
}

/* 0: nothing is wanted. */
static int decide(struct gateway_exchange *exchange, int32_t point, const hf_value *arguments, hf_value *ret_result)
{
    const struct gateway_policies *policies = exchange->worker->policies;

    return policies->lua->decide(policies->points[point], arguments, &exchange->arena, ret_result, NULL) == HF_OK &&
           ret_result->type != HF_VALUE_NULL;
}

static void read_wish(struct gateway_exchange *exchange, int32_t point, const hf_value *result,
                      struct gateway_wish *wish)
{
    const struct gateway_edit *request_edits = exchange->request_edits, *response_edits = exchange->response_edits;
    uint32_t request_count = exchange->request_edit_count, response_count = exchange->response_edit_count;
    hf_error error = {0};
    int32_t code = gateway_wish_read(point, result, exchange->generation->plan, wish, &error);

    if (code == HF_OK && wish->what == GATEWAY_WISH_ROUTE) { /* its edits come first, and the policy's instead */
        const struct gateway_route *route = &exchange->generation->plan->routes[wish->route];

        request_edits = route->request_edits;
        request_count = route->request_edit_count;
        response_edits = route->response_edits;
        response_count = route->response_edit_count;
    }
    if (code == HF_OK)
        code = gateway_wish_edit(wish->request_fields, &exchange->arena, &request_edits, &request_count, &error);
    if (code == HF_OK)
        code = gateway_wish_edit(wish->response_fields, &exchange->arena, &response_edits, &response_count, &error);
    if (code != HF_OK) {
        *wish = (struct gateway_wish){.what = GATEWAY_WISH_NONE};
        ignore(exchange, point, &error);
        return;
    }
    exchange->request_edits = request_edits;
    exchange->request_edit_count = request_count;
    exchange->response_edits = response_edits;
    exchange->response_edit_count = response_count;
}

void gateway_policy_route(struct gateway_exchange *exchange, struct gateway_wish *ret_wish)
{
    hf_value argument, result;

    ret_wish->what = GATEWAY_WISH_NONE;
    if (!has_policy(exchange->worker->policies, GATEWAY_POINT_ROUTE) || !gateway_show_request(exchange))
        return;
    argument = hf_value_object(&exchange->shown->request);
    if (decide(exchange, GATEWAY_POINT_ROUTE, &argument, &result))
        read_wish(exchange, GATEWAY_POINT_ROUTE, &result, ret_wish);
}

void gateway_policy_response(struct gateway_exchange *exchange, const hf_http1_head *head,
                             struct gateway_wish *ret_wish)
{
    struct gateway_shown_response shown = {.exchange = exchange, .head = head};
    hf_value arguments[2], result;

    ret_wish->what = GATEWAY_WISH_NONE;
    if (!has_policy(exchange->worker->policies, GATEWAY_POINT_RESPONSE) || !gateway_show_request(exchange))
        return;
    gateway_show_response(&shown);
    arguments[0] = hf_value_object(&exchange->shown->request);
    arguments[1] = hf_value_object(&shown.response);
    if (decide(exchange, GATEWAY_POINT_RESPONSE, arguments, &result))
        read_wish(exchange, GATEWAY_POINT_RESPONSE, &result, ret_wish);
}

void gateway_policy_error(struct gateway_exchange *exchange, uint32_t upstream, uint32_t status, const char *why,
                          struct gateway_wish *ret_wish)
{
    struct gateway_shown_error shown = {.exchange = exchange, .upstream = upstream, .status = status, .why = why};
    hf_value arguments[2], result;

    ret_wish->what = GATEWAY_WISH_NONE;
    if (!has_policy(exchange->worker->policies, GATEWAY_POINT_ERROR) || !gateway_show_request(exchange))
        return;
    gateway_show_error(&shown);
    arguments[0] = hf_value_object(&exchange->shown->request);
    arguments[1] = hf_value_object(&shown.error);
    if (!decide(exchange, GATEWAY_POINT_ERROR, arguments, &result))
        return;
    read_wish(exchange, GATEWAY_POINT_ERROR, &result, ret_wish);
    if (ret_wish->what == GATEWAY_WISH_ANSWER && ret_wish->status == 0)
        ret_wish->status = status;
}

int32_t gateway_policy_key(struct gateway_exchange *exchange, uint64_t *ret_key)
{
    hf_value argument, result;
    hf_error error = {0};

    if (!has_policy(exchange->worker->policies, GATEWAY_POINT_BALANCE_KEY) || !gateway_show_request(exchange))
        return 0;
    argument = hf_value_object(&exchange->shown->request);
    if (!decide(exchange, GATEWAY_POINT_BALANCE_KEY, &argument, &result))
        return 0;
    if (result.type == HF_VALUE_STRING && result.count) {
        *ret_key = hf_hash64(0, result.as.text, result.count); /* as gateway_key_hash */
        return 1;
    }
    if (result.type == HF_VALUE_INTEGER) { /* 7 and "7" are the same user */
        char text[24];
        int size = snprintf(text, sizeof text, "%lld", (long long)result.as.integer);
        *ret_key = hf_hash64(0, text, (uint64_t)size);
        return 1;
    }
    hf_error_set(&error, HF_EINVAL, "the key is %s; expected text or an integer", hf_value_type_name(result.type));
    ignore(exchange, GATEWAY_POINT_BALANCE_KEY, &error);
    return 0;
}
