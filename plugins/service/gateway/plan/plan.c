#include "plan/plan.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum { PLAN_MAXIMUM = 256 << 20 /* bytes */ };

/* One plan in the making. */
struct making {
    const struct gateway_build *build;
    const struct gateway_options *options;
    const struct gateway_plan *before;
    uint32_t *next_upstream_id;
    struct gateway_plan *plan;
    hf_error *error;
};

static int32_t no_memory(const struct making *making)
{
    return hf_error_set(making->error, HF_ENOMEM, "no memory for the gateway's configuration");
}

static void *take(const struct making *making, uint64_t count, uint64_t size)
{
    return hf_arena_alloc(&making->plan->arena, count * size);
}

/* A copy in the plan, which outlives the options.  NULL data: no memory. */
static hf_slice copy(const struct making *making, const char *text)
{
    char *own = hf_arena_strdup(&making->plan->arena, text);

    return own ? hf_slice_of(own) : (hf_slice){NULL, 0};
}

/* ---- Words ------------------------------------------------------------------------------------------------------- */

uint32_t gateway_retry_bit(const char *word)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } words[] = {{"error", GATEWAY_RETRY_ERROR},
                 {"timeout", GATEWAY_RETRY_TIMEOUT},
                 {"http_429", GATEWAY_RETRY_429},
                 {"invalid_header", GATEWAY_RETRY_INVALID_HEADER},
                 {"http_500", GATEWAY_RETRY_500},
                 {"http_502", GATEWAY_RETRY_502},
                 {"http_503", GATEWAY_RETRY_503},
                 {"http_504", GATEWAY_RETRY_504},
                 {"non_idempotent", GATEWAY_RETRY_NON_IDEMPOTENT}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].bit;
    return 0;
}

static int is_field_name(hf_slice name)
{
    for (uint64_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr("!#$%&'*+-.^_`|~", c)))
            return 0;
    }
    return name.size > 0;
}

static int has_controls(const char *text)
{
    for (; *text; text++)
        if ((uint8_t)*text < 0x20 || *text == 0x7f)
            return 1;
    return 0;
}

int32_t gateway_edit_parse(const char *text, struct gateway_edit *ret_edit, hf_error *error)
{
    size_t size = strcspn(text, ":");
    hf_slice name = {(const uint8_t *)text, size};

    if (!text[size] || !is_field_name(name) || has_controls(text))
        return hf_error_set(error, HF_EINVAL, "'%s' is no header field; expected \"Name: value\" or \"Name:\"", text);
    if (!gateway_forward_may_edit(name))
        return hf_error_set(error, HF_EINVAL,
                            "the field '%.*s' cannot be set by a route: it says where messages end, or what becomes of "
                            "the connection",
                            (int)size, text);
    const char *value = text + size + 1 + strspn(text + size + 1, " ");
    *ret_edit = (struct gateway_edit){.name = name, .value = *value ? hf_slice_of(value) : (hf_slice){NULL, 0}};
    return HF_OK;
}

/* ---- Meters and logs --------------------------------------------------------------------------------------------- */

static int32_t take_meter(const struct making *making, int32_t kind, hf_slice name, struct gateway_meter **ret_meter)
{
    *ret_meter = gateway_meters_take(making->build->meters, kind, name);
    return *ret_meter ? HF_OK : no_memory(making);
}

static int32_t take_log(const struct making *making, const struct gateway_listener_log_options *options,
                        struct gateway_log **ret_log)
{
    const struct gateway_access_log_options *common = &making->options->access_log;
    struct gateway_log_rules rules = {.path = options->path[0] ? options->path : common->path,
                                      .format =
                                          options->path[0] && options->format ? options->format - 1 : common->format,
                                      .buffer_size = common->buffer_size,
                                      .flush_us = common->flush_us};

    if (!options->enabled || !rules.path[0])
        return HF_OK;
    return gateway_logs_take(making->build->logs, &rules, ret_log, making->error);
}

/* ---- Upstreams --------------------------------------------------------------------------------------------------- */

static int32_t find_upstream(const struct making *making, const char *name, uint32_t *ret_upstream)
{
    const struct gateway_upstream_options *options = making->options->upstreams.items;

    for (uint64_t i = 0; i < making->options->upstreams.count; i++)
        if (strcmp(options[i].name, name) == 0) {
            *ret_upstream = (uint32_t)i;
            return HF_OK;
        }
    return hf_error_set(making->error, HF_EINVAL, "there is no upstream '%s'", name);
}

static struct gateway_upstream *keep_upstream(const struct making *making, const char *name)
{
    for (uint32_t i = 0; making->before && i < making->before->upstream_count; i++) {
        struct gateway_upstream *upstream = making->before->upstreams[i].upstream;

        if (strcmp(upstream->name, name) == 0) {
            gateway_upstream_hold(upstream);
            return upstream;
        }
    }
    return gateway_upstream_create(name, (*making->next_upstream_id)++, making->error);
}

static int32_t make_upstream(const struct making *making, const struct gateway_upstream_options *options,
                             struct gateway_plan_upstream *upstream)
{
    struct gateway_degraded *degraded = &upstream->degraded;

    upstream->upstream = keep_upstream(making, options->name);
    if (!upstream->upstream)
        return HF_ENOMEM;
    if (take_meter(making, GATEWAY_METER_UPSTREAM, hf_slice_of(options->name), &upstream->meter) != HF_OK)
        return HF_ENOMEM;
    degraded->upstream = GATEWAY_NO_UPSTREAM;
    degraded->status = (uint32_t)options->degraded.status;
    degraded->body = copy(making, options->degraded.body);
    degraded->type = copy(making, options->degraded.type);
    if (!degraded->body.data || !degraded->type.data)
        return no_memory(making);
    if (options->degraded.upstream[0]) {
        int32_t code = find_upstream(making, options->degraded.upstream, &degraded->upstream);
        if (code != HF_OK)
            return hf_error_prefix(making->error, "upstream '%s'", options->name);
    }
    return gateway_server_set_build(making->build, upstream->upstream, options, NULL, &upstream->set, making->error);
}

static int32_t make_upstreams(const struct making *making)
{
    const struct gateway_upstream_options *options = making->options->upstreams.items;
    struct gateway_plan *plan = making->plan;
    int32_t code = HF_OK;

    plan->upstreams = take(making, making->options->upstreams.count, sizeof *plan->upstreams);
    if (!plan->upstreams)
        return no_memory(making);
    for (uint64_t i = 0; i < making->options->upstreams.count && code == HF_OK; i++)
        code = make_upstream(making, &options[i], &plan->upstreams[plan->upstream_count++]);
    return code;
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static int32_t copy_list(const struct making *making, const hf_strings *strings, const hf_slice **ret_slices,
                         uint32_t *ret_count)
{
    hf_slice *slices = take(making, strings->count, sizeof *slices);

    for (uint64_t i = 0; slices && i < strings->count; i++) {
        slices[i] = copy(making, strings->items[i]);
        if (!slices[i].data)
            return no_memory(making);
    }
    *ret_slices = slices;
    *ret_count = (uint32_t)strings->count;
    return slices ? HF_OK : no_memory(making);
}

static int32_t make_edits(const struct making *making, const hf_strings *strings, const struct gateway_edit **ret_edits,
                          uint32_t *ret_count)
{
    struct gateway_edit *edits = take(making, strings->count, sizeof *edits);

    for (uint64_t i = 0; edits && i < strings->count; i++) {
        hf_slice text = copy(making, strings->items[i]);
        if (!text.data)
            return no_memory(making);
        int32_t code = gateway_edit_parse((const char *)text.data, &edits[i], making->error);
        if (code != HF_OK)
            return code;
    }
    *ret_edits = edits;
    *ret_count = (uint32_t)strings->count;
    return edits ? HF_OK : no_memory(making);
}

static int32_t make_conditions(const struct making *making, const hf_groups *groups, struct gateway_rule *rule)
{
    const struct gateway_condition_options *options = groups->items;
    struct gateway_condition *conditions = take(making, groups->count, sizeof *conditions);

    for (uint64_t i = 0; conditions && i < groups->count; i++) {
        conditions[i] = (struct gateway_condition){.of = options[i].of,
                                                   .test = options[i].test,
                                                   .name = copy(making, options[i].key),
                                                   .value = copy(making, options[i].value)};
        if (!conditions[i].name.data || !conditions[i].value.data)
            return no_memory(making);
    }
    rule->conditions = conditions;
    rule->condition_count = (uint32_t)groups->count;
    return conditions ? HF_OK : no_memory(making);
}

static int32_t make_rule(const struct making *making, const struct gateway_route_options *options,
                         struct gateway_rule *rule)
{
    int32_t code = copy_list(making, &options->hosts, &rule->hosts, &rule->host_count);

    if (code == HF_OK)
        code = copy_list(making, &options->methods, &rule->methods, &rule->method_count);
    if (code == HF_OK)
        code = make_conditions(making, &options->conditions, rule);
    rule->path = copy(making, options->path);
    rule->path_test = options->path_match;
    return code == HF_OK && !rule->path.data ? no_memory(making) : code;
}

static int32_t make_texts(const struct making *making, const struct gateway_route_options *options,
                          struct gateway_route *route)
{
    route->name = copy(making, options->name);
    route->redirect = copy(making, options->redirect);
    route->body = copy(making, options->body);
    route->type = copy(making, options->type);
    route->path = copy(making, options->path);
    if (options->host[0])
        route->host = copy(making, options->host);
    if (options->replace_prefix[0])
        route->replace_prefix = copy(making, options->replace_prefix);
    return route->name.data && route->redirect.data && route->body.data && route->type.data && route->path.data &&
                   (!options->host[0] || route->host.data) &&
                   (!options->replace_prefix[0] || route->replace_prefix.data)
               ? HF_OK
               : no_memory(making);
}

static int32_t make_retries(const struct making *making, const struct gateway_route_options *options,
                            struct gateway_route *route)
{
    for (uint64_t i = 0; i < options->retry_on.count; i++) {
        uint32_t bit = gateway_retry_bit(options->retry_on.items[i]);
        if (!bit)
            return hf_error_set(making->error, HF_EINVAL, "retry_on: there is no '%s'", options->retry_on.items[i]);
        route->retry_on |= bit;
    }
    route->tries = (uint32_t)options->tries;
    route->timeout_us = options->timeout_us;
    route->try_timeout_us = options->try_timeout_us;
    return HF_OK;
}

/* One that was there before goes on counting. */
static int32_t make_admission(const struct making *making, const char *name, struct gateway_route *route)
{
    uint64_t seed;

    for (uint32_t i = 0; making->before && i < making->before->route_count; i++) {
        struct gateway_admission *admission = making->before->routes[i].admission;

        if (admission && strcmp(admission->route, name) == 0) {
            gateway_admission_hold(admission);
            route->admission = admission;
            return HF_OK;
        }
    }
    making->build->node->random(making->build->host, &seed, sizeof seed);
    return gateway_admission_create(making->build->host, name, seed, &route->admission, making->error);
}

static int32_t make_limits(const struct making *making, const struct gateway_route_options *options,
                           struct gateway_route *route)
{
    hf_slice key = copy(making, options->limit.key);

    if (!key.data)
        return no_memory(making);
    route->has_policy = options->policy;
    route->limit = (struct gateway_bucket_rules){.rate = options->limit.rate, .burst = (double)options->limit.burst};
    route->limit_status = (uint32_t)options->limit.status;
    route->requests_maximum = (uint32_t)options->requests_maximum;
    route->body_maximum = options->body_maximum;
    int32_t code = gateway_key_parse((const char *)key.data, &route->limit_key, making->error);
    if (code == HF_OK && (route->limit.rate > 0 || route->requests_maximum))
        code = make_admission(making, options->name, route);
    return code;
}

static int32_t make_caches(const struct making *making)
{
    const struct gateway_plan *before = making->before;
    struct gateway_plan *plan = making->plan;
    uint64_t seed;

    making->build->node->random(making->build->host, &seed, sizeof seed);
    return gateway_caches_make(&making->options->caches, making->build->host, seed, &plan->arena,
                               before ? before->caches : NULL, before ? before->cache_count : 0, &plan->caches,
                               &plan->cache_count, making->error);
}

static int32_t find_cache(const struct making *making, const char *name, struct gateway_route *route)
{
    for (uint32_t i = 0; i < making->plan->cache_count; i++)
        if (strcmp(making->plan->caches[i].cache->name, name) == 0) {
            route->cache = &making->plan->caches[i];
            return HF_OK;
        }
    return hf_error_set(making->error, HF_EINVAL, "there is no cache '%s'", name);
}

static int32_t make_route(const struct making *making, const struct gateway_route_options *options,
                          struct gateway_route *route)
{
    int32_t code = make_texts(making, options, route);

    route->path_match = options->path_match;
    route->upgrades = options->upgrades;
    route->kind = options->upstream[0]   ? GATEWAY_ROUTE_FORWARDS
                  : options->redirect[0] ? GATEWAY_ROUTE_REDIRECTS
                                         : GATEWAY_ROUTE_ANSWERS;
    route->status = options->status ? (uint32_t)options->status : route->kind == GATEWAY_ROUTE_REDIRECTS ? 308 : 200;
    route->upstream = GATEWAY_NO_UPSTREAM;
    if (code == HF_OK && route->kind == GATEWAY_ROUTE_FORWARDS)
        code = find_upstream(making, options->upstream, &route->upstream);
    if (code == HF_OK)
        code = take_meter(making, GATEWAY_METER_ROUTE, route->name, &route->meter);
    if (code == HF_OK)
        code = make_retries(making, options, route);
    if (code == HF_OK)
        code = make_edits(making, &options->request_fields, &route->request_edits, &route->request_edit_count);
    if (code == HF_OK)
        code = make_edits(making, &options->response_fields, &route->response_edits, &route->response_edit_count);
    if (code == HF_OK)
        code = make_limits(making, options, route);
    if (code == HF_OK)
        code = gateway_gzip_make(&options->gzip, &making->plan->arena, &route->gzip, making->error);
    if (code == HF_OK && options->cache[0])
        code = find_cache(making, options->cache, route);
    return code == HF_OK ? code : hf_error_prefix(making->error, "route '%s'", options->name);
}

static int32_t make_routes(const struct making *making)
{
    const struct gateway_route_options *options = making->options->routes.items;
    struct gateway_plan *plan = making->plan;
    int32_t code = HF_OK;

    plan->route_count = (uint32_t)making->options->routes.count;
    plan->routes = take(making, plan->route_count, sizeof *plan->routes);
    if (!plan->routes)
        return no_memory(making);
    for (uint32_t i = 0; i < plan->route_count && code == HF_OK; i++)
        code = make_route(making, &options[i], &plan->routes[i]);
    return code;
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

static int takes(const struct gateway_route_options *route, const char *listener)
{
    for (uint64_t i = 0; i < route->listeners.count; i++)
        if (strcmp(route->listeners.items[i], listener) == 0)
            return 1;
    return route->listeners.count == 0;
}

static int32_t make_rules(const struct making *making, struct gateway_listener *listener, const char *name)
{
    const struct gateway_route_options *options = making->options->routes.items;
    uint64_t count = making->options->routes.count;
    int32_t code = HF_OK;

    listener->rules = take(making, count, sizeof *listener->rules);
    listener->routes = take(making, count, sizeof *listener->routes);
    if (!listener->rules || !listener->routes)
        return no_memory(making);
    for (uint64_t i = 0; i < count && code == HF_OK; i++) {
        if (!takes(&options[i], name))
            continue;
        listener->routes[listener->rule_count] = (uint32_t)i;
        code = make_rule(making, &options[i], &listener->rules[listener->rule_count++]);
    }
    return code;
}

static int32_t make_names(const struct making *making, const hf_groups *groups, struct gateway_listener *listener)
{
    const struct gateway_name_options *options = groups->items;
    struct gateway_server_name *names = take(making, groups->count, sizeof *names);
    int32_t code = names ? HF_OK : no_memory(making);

    for (uint64_t i = 0; i < groups->count && code == HF_OK; i++) {
        code = copy_list(making, &options[i].hosts, &names[i].hosts, &names[i].host_count);
        if (code == HF_OK)
            code = find_upstream(making, options[i].upstream, &names[i].upstream);
    }
    listener->names = names;
    listener->name_count = (uint32_t)groups->count;
    return code;
}

/* Where a listener leads that does not look at requests. */
static int32_t make_way(const struct making *making, const struct gateway_listener_options *options,
                        struct gateway_listener *listener)
{
    listener->tries = (uint32_t)options->tries;
    listener->flow_timeout_us = options->flow_timeout_us;
    listener->flows_maximum = (uint32_t)options->flows_maximum;
    listener->upstream = GATEWAY_NO_UPSTREAM;
    int32_t code = make_names(making, &options->server_names, listener);
    if (code == HF_OK && options->upstream[0])
        code = find_upstream(making, options->upstream, &listener->upstream);
    return code;
}

static int32_t make_listener(const struct making *making, const struct gateway_listener_options *options,
                             struct gateway_listener *listener)
{
    struct gateway_network *trusted = take(making, options->trusted_proxies.count, sizeof *trusted);
    int32_t code = HF_OK;

    listener->name = copy(making, options->name);
    listener->address = (const char *)copy(making, options->address).data;
    if (!listener->name.data || !listener->address || !trusted)
        return no_memory(making);
    listener->protocol = options->protocol;
    listener->proxy_protocol = options->proxy_protocol;
    listener->http1 = options->http1;
    listener->http2 = options->http2;
    listener->streams_maximum = (uint32_t)options->http2_streams_maximum;
    listener->connections_maximum = (uint32_t)options->connections_maximum;
    listener->head_maximum = options->head_maximum;
    listener->body_maximum = options->body_maximum;
    listener->head_timeout_us = options->head_timeout_us;
    listener->body_timeout_us = options->body_timeout_us;
    listener->send_timeout_us = options->send_timeout_us;
    listener->idle_timeout_us = options->idle_timeout_us;
    listener->trusted = trusted;
    for (uint64_t i = 0; i < options->trusted_proxies.count && code == HF_OK; i++)
        code = gateway_network_parse(options->trusted_proxies.items[i], &trusted[listener->trusted_count++],
                                     making->error);
    if (code == HF_OK && options->tls.certificates.count)
        code = gateway_tls_server_create(making->build->host, making->build->tickets, options->name, &options->tls,
                                         options->http2, &listener->tls, making->error);
    if (code == HF_OK)
        code = make_rules(making, listener, options->name);
    if (code == HF_OK)
        code = make_way(making, options, listener);
    if (code == HF_OK)
        code = take_meter(making, GATEWAY_METER_LISTENER, listener->name, &listener->meter);
    if (code == HF_OK)
        code = take_log(making, &options->access_log, &listener->log);
    return code == HF_OK ? code : hf_error_prefix(making->error, "listener '%s'", options->name);
}

static int32_t make_listeners(const struct making *making)
{
    const struct gateway_listener_options *options = making->options->listeners.items;
    struct gateway_plan *plan = making->plan;
    int32_t code = HF_OK;

    plan->listener_count = (uint32_t)making->options->listeners.count;
    plan->listeners = take(making, plan->listener_count, sizeof *plan->listeners);
    if (!plan->listeners)
        return no_memory(making);
    for (uint32_t i = 0; i < plan->listener_count && code == HF_OK; i++)
        code = make_listener(making, &options[i], &plan->listeners[i]);
    return code;
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

int32_t gateway_plan_create(const struct gateway_build *build, const struct gateway_options *options,
                            const struct gateway_plan *before, uint32_t *next_upstream_id,
                            struct gateway_plan **ret_plan, hf_error *error)
{
    struct making making = {.build = build,
                            .options = options,
                            .before = before,
                            .next_upstream_id = next_upstream_id,
                            .plan = calloc(1, sizeof *making.plan),
                            .error = error};

    if (!making.plan)
        return no_memory(&making);
    atomic_init(&making.plan->references, 1);
    hf_arena_init(&making.plan->arena, PLAN_MAXIMUM);
    making.plan->trace = options->trace;
    int32_t code = take_meter(&making, GATEWAY_METER_ROUTE, hf_slice_of(GATEWAY_NO_ROUTE), &making.plan->unrouted);
    if (code == HF_OK)
        code = make_upstreams(&making);
    if (code == HF_OK)
        code = make_caches(&making);
    if (code == HF_OK)
        code = make_routes(&making);
    if (code == HF_OK)
        code = make_listeners(&making);
    if (code != HF_OK) {
        gateway_plan_release(making.plan);
        return code;
    }
    *ret_plan = making.plan;
    return HF_OK;
}

void gateway_plan_hold(struct gateway_plan *plan)
{
    atomic_fetch_add_explicit(&plan->references, 1, memory_order_relaxed);
}

void gateway_plan_release(struct gateway_plan *plan)
{
    if (!plan || atomic_fetch_sub_explicit(&plan->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < plan->upstream_count; i++) {
        gateway_server_set_release(plan->upstreams[i].set);
        gateway_upstream_release(plan->upstreams[i].upstream);
        gateway_meter_release(plan->upstreams[i].meter);
    }
    for (uint32_t i = 0; plan->routes && i < plan->route_count; i++) {
        gateway_meter_release(plan->routes[i].meter);
        gateway_admission_release(plan->routes[i].admission);
    }
    for (uint32_t i = 0; plan->listeners && i < plan->listener_count; i++) {
        gateway_tls_server_release(plan->listeners[i].tls);
        gateway_meter_release(plan->listeners[i].meter);
        gateway_log_release(plan->listeners[i].log);
    }
    gateway_meter_release(plan->unrouted);
    gateway_caches_release(plan->caches, plan->cache_count);
    hf_arena_done(&plan->arena);
    free(plan);
}
