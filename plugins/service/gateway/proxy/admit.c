/* Whether a route lets a request in: how large it is, how often its like have come, how many there are. */
#include "proxy/private.h"

static hf_slice limited_key(struct gateway_exchange *exchange)
{
    const struct gateway_request *request = &exchange->request;
    hf_slice key = gateway_key_value(&exchange->route->limit_key, request, (hf_slice){NULL, 0}, &exchange->arena);

    return key.size ? key : request->client;
}

/* 0: there were too many already; answered. */
static int is_within_rate(struct gateway_exchange *exchange)
{
    const struct gateway_route *route = exchange->route;

    if (route->limit.rate <= 0)
        return 1;
    uint64_t wait_us = gateway_limiter_take(route->admission->limiter, &route->limit, limited_key(exchange),
                                            gateway_worker_now(exchange->worker));
    if (wait_us == 0)
        return 1;
    gateway_admission_count(route->admission, GATEWAY_OVER_RATE);
    exchange->retry_after_s = wait_us < UINT32_MAX * UINT64_C(1000000) ? (uint32_t)((wait_us + 999999) / 1000000) : 1;
    gateway_exchange_refuse(exchange, route->limit_status, "too many requests; try again later");
    return 0;
}

int32_t gateway_exchange_admit(struct gateway_exchange *exchange)
{
    const struct gateway_route *route = exchange->route;

    exchange->body_maximum = route->body_maximum ? route->body_maximum : exchange->listener->body_maximum;
    if (exchange->head.body == HF_HTTP1_BODY_LENGTH && exchange->head.content_length > exchange->body_maximum) {
        gateway_exchange_refuse(exchange, 413, "the body of the request is larger than allowed");
        return 0;
    }
    if (!route->admission)
        return 1;
    if (!is_within_rate(exchange))
        return 0;
    if (!gateway_admission_enter(route->admission, route->requests_maximum)) {
        gateway_admission_count(route->admission, GATEWAY_OVER_MAXIMUM);
        gateway_exchange_refuse(exchange, 503, "the route has as many requests as it takes; try again later");
        return 0;
    }
    exchange->admission = route->admission;
    return 1;
}

void gateway_exchange_leave_admission(struct gateway_exchange *exchange)
{
    if (exchange->admission)
        gateway_admission_leave(exchange->admission);
    exchange->admission = NULL;
}
