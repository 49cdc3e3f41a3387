#include "options/check.h"

#include "http2/http2.h"
#include "options/options.h"
#include "plan/plan.h"
#include "tls/check.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/text.h>
#include <holdfast/lib/url.h>

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 512 };

/* One configuration that is looked at. */
struct check {
    const struct gateway_options *options;
    const hf_config_report *report;
    const char *path; /* of the group that is looked at: "routes.api" */
};

static void problem(const struct check *check, const char *option, const char *format, ...) HF_PRINTF(3, 4);

static void problem(const struct check *check, const char *option, const char *format, ...)
{
    char path[PATH_SIZE], message[HF_ERROR_MESSAGE_SIZE];
    va_list arguments;

    snprintf(path, sizeof path, "%s.%s", check->path, option);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    check->report->problem(check->report, path, message);
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* The name of the i-th group, which is the first member of each. */
static const char *name_at(const hf_groups *groups, uint64_t size, uint64_t i)
{
    return *(const char *const *)((const char *)groups->items + i * size);
}

static int has_name(const hf_groups *groups, uint64_t size, const char *name)
{
    for (uint64_t i = 0; i < groups->count; i++)
        if (strcmp(name_at(groups, size, i), name) == 0)
            return 1;
    return 0;
}

/* `name` must be one of the groups; `what` says what they are. */
static void check_name(const struct check *check, const char *option, const hf_groups *groups, uint64_t size,
                       const char *what, const char *name)
{
    const char **names = calloc(groups->count + 1, sizeof *names), *nearest = NULL;

    if (has_name(groups, size, name)) {
        free(names);
        return;
    }
    for (uint64_t i = 0; names && i < groups->count; i++)
        names[i] = name_at(groups, size, i);
    if (names)
        nearest = hf_text_nearest(name, names, groups->count);
    problem(check, option, "%s: there is no %s '%s'%s%s%s", option, what, name, nearest ? "; did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "");
    free(names);
}

static void check_upstream_name(const struct check *check, const char *option, const char *name)
{
    check_name(check, option, &check->options->upstreams, sizeof(struct gateway_upstream_options), "upstream", name);
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

/* Lines of two kinds in one file are of use to nobody. */
static void check_access_log(const struct check *check, const struct gateway_listener_options *listener)
{
    const struct gateway_access_log_options *common = &check->options->access_log;
    const struct gateway_listener_log_options *own = &listener->access_log;
    const struct gateway_listener_options *all = check->options->listeners.items;
    int32_t format = own->format ? own->format - 1 : common->format;

    if (own->format && !own->path[0])
        problem(check, "access_log.format", "format: it is of a file of its own; expected path, too");
    if (own->path[0] && strcmp(own->path, common->path) == 0 && format != common->format)
        problem(check, "access_log.format", "format: the gateway's access_log has the same path and another format");
    for (const struct gateway_listener_options *other = all; own->path[0] && other < listener; other++)
        if (strcmp(other->access_log.path, own->path) == 0 &&
            (other->access_log.format ? other->access_log.format - 1 : common->format) != format)
            problem(check, "access_log.format", "format: the listener '%s' has the same path and another format",
                    other->name);
}

static void check_listener(const struct check *check, const struct gateway_listener_options *listener)
{
    const struct gateway_listener_options *all = check->options->listeners.items;
    hf_error error;

    for (const struct gateway_listener_options *other = all; other < listener; other++)
        if (strcmp(other->address, listener->address) == 0 &&
            (other->protocol == GATEWAY_PROTOCOL_UDP) == (listener->protocol == GATEWAY_PROTOCOL_UDP))
            problem(check, "address", "address: '%s' is that of the listener '%s', too", listener->address,
                    other->name);
    check_access_log(check, listener);
    if (listener->http2 && !gateway_http2_is_there())
        problem(check, "http2", "http2: this gateway was built without HTTP/2 (nghttp2); expected false");
    if (!listener->http1 && !listener->http2)
        problem(check, "http1", "http1: it is false, and http2, too; expected one of them to be true");
    for (uint64_t i = 0; i < listener->trusted_proxies.count; i++) {
        struct gateway_network network;
        if (gateway_network_parse(listener->trusted_proxies.items[i], &network, &error) != HF_OK)
            problem(check, "trusted_proxies", "trusted_proxies: %s", error.message);
    }
    gateway_tls_check_server(&listener->tls, check->report, check->path);
    gateway_options_check_stream(check->options, listener, check->report);
}

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static void check_fields(const struct check *check, const char *option, const hf_strings *fields)
{
    hf_error error;

    for (uint64_t i = 0; i < fields->count; i++) {
        struct gateway_edit edit;
        if (gateway_edit_parse(fields->items[i], &edit, &error) != HF_OK)
            problem(check, option, "%s: %s", option, error.message);
    }
}

/* Nothing that would end a line or a field where it is put into a head. */
static void check_text(const struct check *check, const char *option, const char *text)
{
    for (const char *at = text; *at; at++)
        if ((uint8_t)*at < 0x20 || *at == 0x7f) {
            problem(check, option, "%s: it has a control character, which no header field can have", option);
            return;
        }
}

static void check_target(const struct check *check, const struct gateway_route_options *route)
{
    if (route->upstream[0])
        check_upstream_name(check, "upstream", route->upstream);
    if (route->upstream[0] && (route->redirect[0] || route->body[0] || route->status))
        problem(check, "upstream", "upstream: the route has redirect, status or body, too; expected one of them");
    if (route->redirect[0] && route->status && (route->status < 301 || route->status > 308))
        problem(check, "status", "status: %lld does not redirect; expected 301, 302, 303, 307 or 308",
                (long long)route->status);
    if (!route->redirect[0] && route->status && route->status < 200)
        problem(check, "status", "status: %lld is no final answer; expected 200 to 599", (long long)route->status);
    if (route->replace_prefix[0] && (route->replace_prefix[0] != '/' || route->path_match != GATEWAY_PATH_PREFIX))
        problem(check, "replace_prefix",
                "replace_prefix: it begins with '/', and takes the place of a path that is matched as a prefix");
}

static void check_limit(const struct check *check, const struct gateway_limit_options *limit)
{
    struct gateway_key key;
    hf_error error;

    if (gateway_key_parse(limit->key, &key, &error) != HF_OK)
        problem(check, "limit.key", "key: %s", error.message);
    else if (key.of == GATEWAY_KEY_BODY || key.of == GATEWAY_KEY_POLICY)
        problem(check, "limit.key",
                "key: '%s' is not known when a request is let in; expected client, path, field NAME, cookie NAME or "
                "argument NAME",
                limit->key);
}

/* Only what speaks HTTP has requests. */
static void check_route_listener(const struct check *check, const char *name)
{
    const struct gateway_listener_options *listeners = check->options->listeners.items;

    check_name(check, "listeners", &check->options->listeners, sizeof *listeners, "listener", name);
    for (uint64_t i = 0; i < check->options->listeners.count; i++)
        if (strcmp(listeners[i].name, name) == 0 && listeners[i].protocol != GATEWAY_PROTOCOL_HTTP)
            problem(check, "listeners", "listeners: '%s' does not speak HTTP; its option upstream says where it leads",
                    name);
}

static void check_route(const struct check *check, const struct gateway_route_options *route)
{
    for (uint64_t i = 0; i < route->listeners.count; i++)
        check_route_listener(check, route->listeners.items[i]);
    if (route->path[0] != '/' && strcmp(route->path, "*") != 0)
        problem(check, "path", "path: '%s' does not begin with '/'", route->path);
    check_target(check, route);
    check_fields(check, "request_fields", &route->request_fields);
    check_fields(check, "response_fields", &route->response_fields);
    check_text(check, "host", route->host);
    check_text(check, "type", route->type);
    check_text(check, "redirect", route->redirect);
    check_text(check, "replace_prefix", route->replace_prefix);
    if (route->cache[0])
        check_name(check, "cache", &check->options->caches, sizeof(struct gateway_cache_options), "cache",
                   route->cache);
    check_limit(check, &route->limit);
    gateway_gzip_check(&route->gzip, check->report, check->path);
    for (uint64_t i = 0; i < route->retry_on.count; i++)
        if (!gateway_retry_bit(route->retry_on.items[i]))
            problem(
                check, "retry_on",
                "retry_on: there is no '%s'; expected error, timeout, invalid_header, http_429, http_500, http_502, "
                "http_503, http_504 or non_idempotent",
                route->retry_on.items[i]);
}

/* ---- Upstreams --------------------------------------------------------------------------------------------------- */

static void check_servers(const struct check *check, const struct gateway_upstream_options *upstream)
{
    const struct gateway_server_options *servers = upstream->servers.items;

    if (upstream->servers.count == 0 || upstream->servers.count > HF_BALANCER_SERVERS_MAX)
        problem(check, "servers", "servers: there are %llu; expected 1 to %d",
                (unsigned long long)upstream->servers.count, HF_BALANCER_SERVERS_MAX);
    for (uint64_t i = 0; i < upstream->servers.count; i++)
        for (uint64_t k = 0; k < i; k++)
            if (strcmp(servers[i].address, servers[k].address) == 0) {
                char option[PATH_SIZE];
                snprintf(option, sizeof option, "servers.%s.address", servers[i].name);
                problem(check, option, "address: '%s' is that of the server '%s', too", servers[i].address,
                        servers[k].name);
            }
}

static const struct gateway_upstream_options *find_upstream(const struct check *check, const char *name)
{
    const struct gateway_upstream_options *upstreams = check->options->upstreams.items;

    for (uint64_t i = 0; i < check->options->upstreams.count; i++)
        if (strcmp(upstreams[i].name, name) == 0)
            return &upstreams[i];
    return NULL;
}

/* From one upstream to the one that is asked in its place, and on, nobody may come back. */
static void check_fallback(const struct check *check, const struct gateway_upstream_options *upstream)
{
    const struct gateway_upstream_options *at = upstream;

    if (!upstream->degraded.upstream[0])
        return;
    check_upstream_name(check, "degraded.upstream", upstream->degraded.upstream);
    for (uint64_t steps = 0; at && at->degraded.upstream[0] && steps <= check->options->upstreams.count; steps++) {
        at = find_upstream(check, at->degraded.upstream);
        if (at == upstream) {
            problem(check, "degraded.upstream",
                    "degraded.upstream: it leads back to '%s' itself; expected upstreams that end somewhere",
                    upstream->name);
            return;
        }
    }
}

static void check_upstream(const struct check *check, const struct gateway_upstream_options *upstream)
{
    struct gateway_key key;
    hf_error error;

    check_servers(check, upstream);
    if (upstream->protocol == GATEWAY_SPEAKS_HTTP2 && !gateway_http2_is_there())
        problem(check, "protocol", "protocol: this gateway was built without HTTP/2 (nghttp2); expected http1");
    check_fallback(check, upstream);
    if (gateway_key_parse(upstream->key, &key, &error) != HF_OK)
        problem(check, "key", "key: %s", error.message);
    if (upstream->send_proxy && upstream->protocol == GATEWAY_SPEAKS_HTTP2)
        problem(check, "send_proxy", "send_proxy: connections of HTTP/2 are those of many clients; expected off");
    if (upstream->check.type == GATEWAY_CHECK_TLS && !upstream->tls.enabled)
        problem(check, "check.type", "type: tls, but the upstream's servers do not speak it (tls.enabled)");
    if (upstream->check.type == GATEWAY_CHECK_HTTP && upstream->protocol == GATEWAY_SPEAKS_HTTP2)
        problem(check, "check.type",
                "type: checks of this type speak HTTP/1.1; expected tcp with protocol = \"http2\"");
    if (upstream->resolve_minimum_us > upstream->resolve_maximum_us)
        problem(check, "resolve_minimum", "resolve_minimum: it is more than resolve_maximum");
    if (upstream->check.status_least > upstream->check.status_most)
        problem(check, "check.status_least", "status_least: %lld is more than status_most, %lld",
                (long long)upstream->check.status_least, (long long)upstream->check.status_most);
    if (upstream->check.path[0] != '/')
        problem(check, "check.path", "path: '%s' does not begin with '/'", upstream->check.path);
    check_text(check, "check.path", upstream->check.path);
    check_text(check, "check.host", upstream->check.host);
    check_text(check, "degraded.type", upstream->degraded.type);
    gateway_tls_check_client(&upstream->tls, &upstream->servers, check->report, check->path);
}

/* They are numbers: who would resolve them? */
static void check_resolvers(const struct gateway_options *options, const hf_config_report *report)
{
    char message[HF_ERROR_MESSAGE_SIZE], host[256], port[16];

    for (uint64_t i = 0; i < options->resolvers.count; i++) {
        const char *resolver = options->resolvers.items[i];
        struct in6_addr address;

        if (hf_url_split_address(resolver, host, sizeof host, port, sizeof port, NULL) == HF_OK && port[0] &&
            (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1))
            continue;
        snprintf(message, sizeof message, "resolvers: '%.200s' is no address; expected such as 10.0.0.1:53", resolver);
        report->problem(report, "resolvers", message);
    }
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

void gateway_options_check(const void *configuration, const hf_config_report *report)
{
    const struct gateway_options *options = configuration;
    const struct gateway_listener_options *listeners = options->listeners.items;
    const struct gateway_route_options *routes = options->routes.items;
    const struct gateway_upstream_options *upstreams = options->upstreams.items;
    char path[PATH_SIZE];
    struct check check = {.options = options, .report = report, .path = path};

    check_resolvers(options, report);
    for (uint64_t i = 0; i < options->listeners.count; i++) {
        snprintf(path, sizeof path, "listeners.%s", listeners[i].name);
        check_listener(&check, &listeners[i]);
    }
    for (uint64_t i = 0; i < options->routes.count; i++) {
        snprintf(path, sizeof path, "routes.%s", routes[i].name);
        check_route(&check, &routes[i]);
    }
    for (uint64_t i = 0; i < options->caches.count; i++) {
        const struct gateway_cache_options *caches = options->caches.items;

        snprintf(path, sizeof path, "caches.%s", caches[i].name);
        gateway_cache_check(&caches[i], report, path);
    }
    for (uint64_t i = 0; i < options->upstreams.count; i++) {
        snprintf(path, sizeof path, "upstreams.%s", upstreams[i].name);
        check_upstream(&check, &upstreams[i]);
    }
}
