/* The gateway as documents.  A server takes about a microsecond of the main loop. */
#include "admin/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <math.h>
#include <string.h>

static uint64_t now_of(const struct gateway *gateway)
{
    return gateway->loops->now_us(gateway->loops->main_loop(gateway->host));
}

/* ---- Members ----------------------------------------------------------------------------------------------------- */

/* To a tenth, which nobody can read more of. */
static void write_rate(hf_json_writer *writer, const char *name, double rate)
{
    hf_json_member_float(writer, name, round(rate * 10) / 10);
}

static void write_list(hf_json_writer *writer, const char *name, const hf_slice *items, uint32_t count)
{
    hf_json_name(writer, name);
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < count; i++)
        hf_json_string(writer, items[i]);
    hf_json_end_list(writer);
}

static void write_statuses(hf_json_writer *writer, const struct gateway_sums *sums)
{
    static const char *const names[GATEWAY_STATUS_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

    hf_json_name(writer, "status");
    hf_json_begin_object(writer);
    for (int i = 0; i < GATEWAY_STATUS_CLASSES; i++)
        if (sums->requests[i] || i == 2)
            hf_json_member_unsigned(writer, names[i], sums->requests[i]);
    hf_json_end_object(writer);
}

static void write_rates(hf_json_writer *writer, const struct gateway_rates *rates)
{
    write_rate(writer, "requests_per_s", rates->requests_per_s);
    write_rate(writer, "failures_per_s", rates->failures_per_s);
    hf_json_member_unsigned(writer, "mean_us", rates->mean_us);
}

static void write_latencies(hf_json_writer *writer, const struct gateway_rates *rates)
{
    write_rates(writer, rates);
    hf_json_member_unsigned(writer, "p50_us", rates->p50_us);
    hf_json_member_unsigned(writer, "p99_us", rates->p99_us);
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

static void write_listener(hf_json_writer *writer, const struct gateway *gateway,
                           const struct gateway_listener *listener)
{
    struct gateway_sums sums;
    struct gateway_rates rates;

    gateway_meter_sum(listener->meter, &sums);
    gateway_metrics_rates(gateway->metrics, listener->meter, &sums, &rates);
    hf_json_begin_object(writer);
    hf_json_member_string(writer, "name", listener->name);
    hf_json_member_text(writer, "address", listener->address);
    hf_json_member_unsigned(writer, "connections", sums.accepted - sums.closed);
    hf_json_member_unsigned(writer, "connections_maximum", listener->connections_maximum);
    hf_json_member_unsigned(writer, "connections_total", sums.accepted);
    hf_json_member_unsigned(writer, "connections_refused", sums.refused);
    hf_json_member_unsigned(writer, "requests", gateway_sums_requests(&sums));
    write_statuses(writer, &sums);
    hf_json_member_unsigned(writer, "received_bytes", sums.received);
    hf_json_member_unsigned(writer, "sent_bytes", sums.sent);
    write_rate(writer, "requests_per_s", rates.requests_per_s);
    write_rate(writer, "received_per_s", rates.received_per_s);
    write_rate(writer, "sent_per_s", rates.sent_per_s);
    hf_json_end_object(writer);
}

static void write_listeners(hf_json_writer *writer, const struct gateway *gateway)
{
    hf_json_name(writer, "listeners");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->listener_count; i++)
        write_listener(writer, gateway, &gateway->plan->listeners[i]);
    hf_json_end_list(writer);
}

static void write_logs(hf_json_writer *writer, const struct gateway *gateway)
{
    struct gateway_log_status status;
    char reason[128];

    hf_json_name(writer, "access_logs");
    hf_json_begin_list(writer);
    for (struct gateway_log *log = NULL; (log = gateway_log_next(&gateway->logs, log));) {
        gateway_log_get_status(log, &status);
        hf_json_begin_object(writer);
        hf_json_member_text(writer, "path", gateway_log_get_rules(log)->path);
        hf_json_member_text(writer, "format",
                            gateway_log_get_rules(log)->format == GATEWAY_FORMAT_COMBINED ? "combined" : "json");
        hf_json_member_unsigned(writer, "lines", status.lines);
        hf_json_member_unsigned(writer, "dropped", status.dropped);
        hf_json_member_text(writer, "error",
                            status.failed_errno ? strerror_r(status.failed_errno, reason, sizeof reason) : NULL);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
}

/* ---- Servers ----------------------------------------------------------------------------------------------------- */

static void write_server(hf_json_writer *writer, const struct gateway *gateway, const struct gateway_server_set *set,
                         uint32_t index)
{
    const struct gateway_place *place = &set->places[index];
    struct gateway_server_status status;

    gateway_metrics_server(gateway->metrics, set, index, &status);
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", place->server->name);
    hf_json_member_text(writer, "address", place->server->address);
    hf_json_member_text(writer, "state", gateway_server_state_name(status.state));
    hf_json_member_unsigned(writer, "since_ms", status.since_us / 1000);
    hf_json_member_unsigned(writer, "weight", place->weight);
    hf_json_member_boolean(writer, "backup", place->is_backup);
    hf_json_member_unsigned(writer, "requests_maximum", place->requests_maximum);
    hf_json_member_unsigned(writer, "max_fails", place->health.fails_maximum);
    hf_json_member_unsigned(writer, "fail_timeout_ms", place->health.fail_timeout_us / 1000);
    hf_json_member_unsigned(writer, "in_flight", status.in_flight);
    hf_json_member_unsigned(writer, "connections", status.connections);
    hf_json_member_unsigned(writer, "idle", status.idle);
    hf_json_member_unsigned(writer, "requests", status.requests);
    hf_json_member_unsigned(writer, "failures", status.failures);
    write_rates(writer, &status.rates);
    hf_json_end_object(writer);
}

int32_t gateway_show_server(const struct gateway *gateway, const struct gateway_plan_upstream *upstream, hf_slice name,
                            hf_json_writer *writer)
{
    const struct gateway_server_set *set = upstream->upstream->set;

    for (uint32_t i = 0; i < set->count; i++)
        if (hf_slice_is(name, set->places[i].server->name)) {
            write_server(writer, gateway, set, i);
            return 1;
        }
    return 0;
}

/* ---- Upstreams --------------------------------------------------------------------------------------------------- */

const struct gateway_plan_upstream *gateway_find_upstream(const struct gateway *gateway, hf_slice name)
{
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        if (hf_slice_is(name, gateway->plan->upstreams[i].upstream->name))
            return &gateway->plan->upstreams[i];
    return NULL;
}

static void write_breaker(hf_json_writer *writer, const struct gateway *gateway, const struct gateway_server_set *set)
{
    static const char *const names[] = {[GATEWAY_BREAKER_CLOSED] = "closed",
                                        [GATEWAY_BREAKER_OPEN] = "open",
                                        [GATEWAY_BREAKER_HALF_OPEN] = "half-open"};
    int32_t state = gateway_metrics_breaker(set, now_of(gateway));

    hf_json_member_text(writer, "breaker", state < 0 ? NULL : names[state]);
}

static void write_upstream(hf_json_writer *writer, const struct gateway *gateway,
                           const struct gateway_plan_upstream *upstream)
{
    const struct gateway_server_set *set = upstream->upstream->set;
    struct gateway_sums sums;
    struct gateway_rates rates;

    gateway_meter_sum(upstream->meter, &sums);
    gateway_metrics_rates(gateway->metrics, upstream->meter, &sums, &rates);
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "name", upstream->upstream->name);
    hf_json_member_boolean(writer, "changed", set->servers.is_changed);
    write_breaker(writer, gateway, set);
    hf_json_member_unsigned(writer, "queued", sums.queued - sums.dequeued);
    hf_json_member_unsigned(writer, "requests", gateway_sums_requests(&sums));
    write_statuses(writer, &sums);
    hf_json_member_unsigned(writer, "tries", sums.tries);
    hf_json_member_unsigned(writer, "retries", sums.retries);
    hf_json_member_unsigned(writer, "failures", sums.failures);
    hf_json_member_unsigned(writer, "degraded", sums.degraded);
    write_latencies(writer, &rates);
    hf_json_name(writer, "servers");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < set->count; i++)
        write_server(writer, gateway, set, i);
    hf_json_end_list(writer);
    hf_json_end_object(writer);
}

static void write_upstreams(hf_json_writer *writer, const struct gateway *gateway)
{
    hf_json_name(writer, "upstreams");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        write_upstream(writer, gateway, &gateway->plan->upstreams[i]);
    hf_json_end_list(writer);
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

/* The route's rule in some listener, where all that have it have the same; NULL: no listener has it. */
static const struct gateway_rule *rule_of(const struct gateway_plan *plan, uint32_t route)
{
    for (uint32_t i = 0; i < plan->listener_count; i++)
        for (uint32_t k = 0; k < plan->listeners[i].rule_count; k++)
            if (plan->listeners[i].routes[k] == route)
                return &plan->listeners[i].rules[k];
    return NULL;
}

static int has_route(const struct gateway_listener *listener, uint32_t route)
{
    for (uint32_t i = 0; i < listener->rule_count; i++)
        if (listener->routes[i] == route)
            return 1;
    return 0;
}

static void write_rule(hf_json_writer *writer, const struct gateway_plan *plan, uint32_t route)
{
    const struct gateway_rule *rule = rule_of(plan, route);

    hf_json_name(writer, "listeners");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; i < plan->listener_count; i++)
        if (has_route(&plan->listeners[i], route))
            hf_json_string(writer, plan->listeners[i].name);
    hf_json_end_list(writer);
    write_list(writer, "hosts", rule ? rule->hosts : NULL, rule ? rule->host_count : 0);
    write_list(writer, "methods", rule ? rule->methods : NULL, rule ? rule->method_count : 0);
    hf_json_member_string(writer, "path", plan->routes[route].path);
    hf_json_member_text(writer, "path_match",
                        plan->routes[route].path_match == GATEWAY_PATH_EXACT ? "exact" : "prefix");
    hf_json_member_unsigned(writer, "conditions", rule ? rule->condition_count : 0);
}

static void write_target(hf_json_writer *writer, const struct gateway_plan *plan, const struct gateway_route *route)
{
    if (route->kind == GATEWAY_ROUTE_FORWARDS)
        hf_json_member_text(writer, "upstream", plan->upstreams[route->upstream].upstream->name);
    else if (route->kind == GATEWAY_ROUTE_REDIRECTS)
        hf_json_member_string(writer, "redirect", route->redirect);
    else
        hf_json_member_unsigned(writer, "answers", route->status);
}

static void write_counts(hf_json_writer *writer, const struct gateway *gateway, const struct gateway_meter *meter)
{
    struct gateway_sums sums;
    struct gateway_rates rates;

    gateway_meter_sum(meter, &sums);
    gateway_metrics_rates(gateway->metrics, meter, &sums, &rates);
    hf_json_member_unsigned(writer, "requests", gateway_sums_requests(&sums));
    write_statuses(writer, &sums);
    hf_json_member_unsigned(writer, "failures", sums.failures);
    hf_json_member_unsigned(writer, "degraded", sums.degraded);
    write_latencies(writer, &rates);
}

static void write_routes(hf_json_writer *writer, const struct gateway *gateway)
{
    const struct gateway_plan *plan = gateway->plan;

    hf_json_name(writer, "routes");
    hf_json_begin_list(writer);
    for (uint32_t i = 0; plan && i < plan->route_count; i++) {
        hf_json_begin_object(writer);
        hf_json_member_string(writer, "name", plan->routes[i].name);
        write_rule(writer, plan, i);
        write_target(writer, plan, &plan->routes[i]);
        write_counts(writer, gateway, plan->routes[i].meter);
        hf_json_end_object(writer);
    }
    hf_json_end_list(writer);
    hf_json_name(writer, "unrouted");
    hf_json_begin_object(writer);
    if (plan)
        write_counts(writer, gateway, plan->unrouted);
    hf_json_end_object(writer);
}

/* ---- Documents --------------------------------------------------------------------------------------------------- */

static void answer_object(struct gateway_ask *ask, void (*write)(hf_json_writer *, const struct gateway *))
{
    hf_json_writer writer;
    hf_buffer body;

    gateway_json_begin(&writer, &body);
    hf_json_begin_object(&writer);
    write(&writer, ask->admin->gateway);
    hf_json_end_object(&writer);
    gateway_answer_json(ask->admin, ask->request, 200, &writer);
}

static void write_gateway(hf_json_writer *writer, const struct gateway *gateway)
{
    static const char *const states[] = {[HF_HEALTH_OK] = "ok", [HF_HEALTH_DEGRADED] = "degraded"};
    hf_health health = {0};

    gateway_metrics_health(gateway->metrics, &health);
    hf_json_member_text(writer, "state", states[health.state]);
    hf_json_member_text(writer, "reason", health.reason[0] ? health.reason : NULL);
    hf_json_member_unsigned(writer, "configuration_version", gateway->node->configuration_version(gateway->host));
    hf_json_member_unsigned(writer, "workers", gateway->worker_count);
    hf_json_member_unsigned(writer, "routes", gateway->plan ? gateway->plan->route_count : 0);
    hf_json_member_unsigned(writer, "upstreams", gateway->plan ? gateway->plan->upstream_count : 0);
    write_listeners(writer, gateway);
    write_logs(writer, gateway);
}

void gateway_show_gateway(struct gateway_ask *ask)
{
    answer_object(ask, write_gateway);
}

void gateway_show_upstreams(struct gateway_ask *ask)
{
    answer_object(ask, write_upstreams);
}

void gateway_show_routes(struct gateway_ask *ask)
{
    answer_object(ask, write_routes);
}

static void write_top(hf_json_writer *writer, const struct gateway *gateway)
{
    write_listeners(writer, gateway);
    write_routes(writer, gateway);
    write_upstreams(writer, gateway);
}

void gateway_show_top(struct gateway_ask *ask)
{
    answer_object(ask, write_top);
}

void gateway_show_upstream(struct gateway_ask *ask)
{
    const struct gateway_admin *admin = ask->admin;
    hf_slice name = admin->http->parameter(ask->request, "upstream");
    const struct gateway_plan_upstream *upstream = gateway_find_upstream(admin->gateway, name);
    hf_json_writer writer;
    hf_buffer body;
    hf_error error = {0};

    if (!upstream) {
        hf_error_set(&error, HF_ENOTFOUND, "there is no upstream '%.*s'", (int)(name.size < 64 ? name.size : 64),
                     (const char *)name.data);
        gateway_answer_error(admin, ask->request, &error);
        return;
    }
    gateway_json_begin(&writer, &body);
    write_upstream(&writer, admin->gateway, upstream);
    gateway_answer_json(admin, ask->request, 200, &writer);
}
