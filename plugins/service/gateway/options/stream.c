#include "options/stream.h"

#include "options/options.h"
#include "upstream/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 512 };

static const hf_option name_options[] = {
    HF_CONFIG_STRINGS("hosts", struct gateway_name_options, hosts, .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                      .doc = "Names, such as a.example, or *.a.example for all below it."),
    HF_CONFIG_STRING("upstream", struct gateway_name_options, upstream,
                     .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE, .doc = "Whose servers get these connections."),
};
const hf_option_table gateway_name_table = HF_TABLE(name_options);

const char *const gateway_send_proxy_words[] = {"off", "v1", "v2", NULL};

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

/* One listener that is looked at. */
struct check {
    const struct gateway_options *options;
    const struct gateway_listener_options *listener;
    const hf_config_report *report;
};

static void problem(const struct check *check, const char *option, const char *format, ...) HF_PRINTF(3, 4);

static void problem(const struct check *check, const char *option, const char *format, ...)
{
    char path[PATH_SIZE], message[HF_ERROR_MESSAGE_SIZE];
    va_list arguments;

    snprintf(path, sizeof path, "listeners.%s.%s", check->listener->name, option);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    check->report->problem(check->report, path, message);
}

static const struct gateway_upstream_options *find(const struct check *check, const char *name)
{
    const struct gateway_upstream_options *upstreams = check->options->upstreams.items;

    for (uint64_t i = 0; i < check->options->upstreams.count; i++)
        if (strcmp(upstreams[i].name, name) == 0)
            return &upstreams[i];
    return NULL;
}

/* There is no request in which a key could be. */
static void check_key(const struct check *check, const char *option, const struct gateway_upstream_options *upstream)
{
    struct gateway_key key;

    if (gateway_key_parse(upstream->key, &key, NULL) == HF_OK && key.of != GATEWAY_KEY_CLIENT)
        problem(check, option,
                "%s: the key of the upstream '%s' is '%s', which only requests of HTTP have; expected client", option,
                upstream->name, upstream->key);
}

static void check_datagrams(const struct check *check, const struct gateway_upstream_options *upstream)
{
    const struct gateway_server_options *servers = upstream->servers.items;

    if (upstream->send_proxy)
        problem(check, "upstream", "upstream: '%s' has send_proxy, which datagrams cannot have; expected off",
                upstream->name);
    for (uint64_t i = 0; i < upstream->servers.count; i++)
        if (strncmp(servers[i].address, "unix:", 5) == 0)
            problem(check, "upstream",
                    "upstream: the server '%s' of '%s' has a path for an address; expected HOST:PORT", servers[i].name,
                    upstream->name);
}

/* With those that are asked in its place; names that lead in a circle are told of elsewhere. */
static void check_upstream(const struct check *check, const char *option, const char *name)
{
    const struct gateway_upstream_options *upstream = find(check, name);

    if (!upstream)
        problem(check, option, "%s: there is no upstream '%s'", option, name);
    for (uint64_t steps = 0; upstream && steps <= check->options->upstreams.count; steps++) {
        check_key(check, option, upstream);
        if (check->listener->protocol == GATEWAY_PROTOCOL_UDP)
            check_datagrams(check, upstream);
        upstream = upstream->degraded.upstream[0] ? find(check, upstream->degraded.upstream) : NULL;
    }
}

static void check_http(const struct check *check)
{
    if (check->listener->upstream[0])
        problem(check, "upstream", "upstream: a listener of HTTP has routes for that; expected protocol tcp or udp");
    if (check->listener->server_names.count)
        problem(check, "server_names", "server_names: a listener of HTTP has routes for that; expected protocol tcp");
}

static void check_tcp(const struct check *check)
{
    const struct gateway_name_options *names = check->listener->server_names.items;

    if (!check->listener->upstream[0] && check->listener->server_names.count == 0)
        problem(check, "upstream", "upstream: is missing; expected the one whose servers get the connections");
    for (uint64_t i = 0; i < check->listener->server_names.count; i++) {
        char option[PATH_SIZE];

        snprintf(option, sizeof option, "server_names.%s.upstream", names[i].name);
        check_upstream(check, option, names[i].upstream);
    }
}

static void check_udp(const struct check *check)
{
    const struct gateway_listener_options *listener = check->listener;

    if (!listener->upstream[0])
        problem(check, "upstream", "upstream: is missing; expected the one whose servers get the datagrams");
    if (listener->server_names.count)
        problem(check, "server_names", "server_names: datagrams have none; expected protocol tcp");
    if (listener->proxy_protocol)
        problem(check, "proxy_protocol",
                "proxy_protocol: datagrams have no such header; expected protocol http or tcp");
    if (strncmp(listener->address, "unix:", 5) == 0)
        problem(check, "address", "address: '%s' is a path; expected HOST:PORT for datagrams", listener->address);
}

void gateway_options_check_stream(const struct gateway_options *options,
                                  const struct gateway_listener_options *listener, const hf_config_report *report)
{
    struct check check = {.options = options, .listener = listener, .report = report};

    if (listener->protocol == GATEWAY_PROTOCOL_HTTP) {
        check_http(&check);
        return;
    }
    if (listener->protocol == GATEWAY_PROTOCOL_TCP)
        check_tcp(&check);
    else
        check_udp(&check);
    if (listener->upstream[0])
        check_upstream(&check, "upstream", listener->upstream);
}
