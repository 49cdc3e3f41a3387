#include "options/options.h"

#include "route/match.h"

#include <holdfast/kind/balancer.h>

#define SECONDS(n) (INT64_C(1000000) * (n))

static const char *const protocols[] = {
    [GATEWAY_PROTOCOL_HTTP] = "http", [GATEWAY_PROTOCOL_TCP] = "tcp", [GATEWAY_PROTOCOL_UDP] = "udp", NULL};
static const char *const versions[] = {[GATEWAY_SPEAKS_HTTP1] = "http1", [GATEWAY_SPEAKS_HTTP2] = "http2", NULL};
static const char *const parts[] = {
    [GATEWAY_OF_FIELD] = "field", [GATEWAY_OF_COOKIE] = "cookie", [GATEWAY_OF_ARGUMENT] = "argument", NULL};
static const char *const tests[] = {[GATEWAY_IS_PRESENT] = "present",
                                    [GATEWAY_IS_ABSENT] = "absent",
                                    [GATEWAY_IS_EQUAL] = "equals",
                                    [GATEWAY_BEGINS] = "begins",
                                    NULL};
static const char *const path_tests[] = {[GATEWAY_PATH_PREFIX] = "prefix", [GATEWAY_PATH_EXACT] = "exact", NULL};
static const char *const checks[] = {[GATEWAY_CHECK_NONE] = "none", [GATEWAY_CHECK_TCP] = "tcp",
                                     [GATEWAY_CHECK_HTTP] = "http", [GATEWAY_CHECK_REDIS_MASTER] = "redis_master",
                                     [GATEWAY_CHECK_TLS] = "tls",   NULL};

static const hf_option listener_options[] = {
    HF_CONFIG_ADDRESS("address", struct gateway_listener_options, address, .flags = HF_OPTION_REQUIRED,
                      .doc = "Where clients connect to."),
    HF_CONFIG_CHOICE("protocol", struct gateway_listener_options, protocol, .choices = protocols,
                     .default_text = "http",
                     .doc = "What clients speak; http is HTTP/1.1, 1.0 and 2; bytes of tcp and datagrams of udp go "
                            "to a server as they are."),
    HF_CONFIG_BOOLEAN("http1", struct gateway_listener_options, http1, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether clients may speak HTTP/1.1 and 1.0; without it every connection must begin as "
                             "HTTP/2."),
    HF_CONFIG_BOOLEAN("http2", struct gateway_listener_options, http2, .default_text = GATEWAY_HTTP2_DEFAULT,
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether clients may speak HTTP/2, too: over TLS when they offer it (ALPN), else when a "
                             "connection begins with its preface. It is false where the gateway was built without "
                             "nghttp2."),
    HF_CONFIG_INTEGER("http2_streams_maximum", struct gateway_listener_options, http2_streams_maximum,
                      .default_text = "128", .minimum = 1, .maximum = 65536, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests at a time on a connection that speaks HTTP/2."),
    HF_CONFIG_STRING("upstream", struct gateway_listener_options, upstream, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "tcp, udp: whose servers get the connections or datagrams; beside server_names, those that "
                            "have none of the names, and empty: these are closed."),
    HF_CONFIG_GROUPS("server_names", struct gateway_listener_options, server_names, struct gateway_name_options,
                     .members = &gateway_name_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "tcp: where connections go by the name that TLS clients ask for (SNI); their TLS is not "
                            "ended here. The first that has the name is taken; what is no TLS is closed."),
    HF_CONFIG_INTEGER("tries", struct gateway_listener_options, tries, .default_text = "3", .minimum = 1, .maximum = 16,
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "tcp: servers that are tried for a connection at most; udp: for a datagram."),
    HF_CONFIG_DURATION("flow_timeout", struct gateway_listener_options, flow_timeout_us, .default_text = "60s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "udp: how long a client keeps its server while neither of them sends anything."),
    HF_CONFIG_INTEGER("flows_maximum", struct gateway_listener_options, flows_maximum, .default_text = "16384",
                      .minimum = 1, .maximum = 1 << 20, .flags = HF_OPTION_RELOADABLE,
                      .doc = "udp: clients at a time in each worker; datagrams of more are thrown away, and counted."),
    HF_CONFIG_BOOLEAN("proxy_protocol", struct gateway_listener_options, proxy_protocol, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether every connection begins with a header of the PROXY protocol (version 1 or 2); "
                             "one that does not is closed."),
    HF_CONFIG_STRINGS("trusted_proxies", struct gateway_listener_options, trusted_proxies,
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Addresses and networks (10.0.0.0/8) of proxies of yours: what they say of their clients "
                             "in X-Forwarded-For and Forwarded goes on. What others say there is taken out."),
    HF_CONFIG_INTEGER("connections_maximum", struct gateway_listener_options, connections_maximum,
                      .default_text = "65536", .minimum = 1, .maximum = 1 << 24, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Connections at a time; more are closed at once, and counted."),
    HF_CONFIG_SIZE("head_maximum", struct gateway_listener_options, head_maximum, .default_text = "16KiB",
                   .minimum = 1024, .maximum = 16384, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of a request's head; more are answered with 431."),
    HF_CONFIG_SIZE("body_maximum", struct gateway_listener_options, body_maximum, .default_text = "64MiB", .minimum = 0,
                   .maximum = INT64_C(1) << 50, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of a request's body; more are answered with 413."),
    HF_CONFIG_DURATION("head_timeout", struct gateway_listener_options, head_timeout_us, .default_text = "10s",
                       .minimum = 1000, .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which a head must be complete, from its first byte on; later: 408."),
    HF_CONFIG_DURATION("body_timeout", struct gateway_listener_options, body_timeout_us, .default_text = "30s",
                       .minimum = 1000, .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "Within which more of a body must come; later: 408."),
    HF_CONFIG_DURATION("send_timeout", struct gateway_listener_options, send_timeout_us, .default_text = "30s",
                       .minimum = 1000, .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "Within which a client must take more of an answer; else its connection is closed."),
    HF_CONFIG_DURATION("idle_timeout", struct gateway_listener_options, idle_timeout_us, .default_text = "75s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long a connection without a request stays open, and one that was upgraded, or is "
                              "tcp, and on which nothing moves."),
    HF_CONFIG_GROUP("tls", struct gateway_listener_options, tls, .members = &gateway_tls_server_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "TLS with clients."),
    HF_CONFIG_GROUP("access_log", struct gateway_listener_options, access_log, .members = &gateway_listener_log_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Where its requests are logged, if not with the others."),
};
static const hf_option_table listener_table = HF_TABLE(listener_options);

static const hf_option condition_options[] = {
    HF_CONFIG_CHOICE("of", struct gateway_condition_options, of, .choices = parts, .default_text = "field",
                     .flags = HF_OPTION_RELOADABLE, .doc = "What is looked at."),
    HF_CONFIG_STRING("key", struct gateway_condition_options, key, .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                     .doc = "Name of the header field, cookie or argument of the query."),
    HF_CONFIG_CHOICE("test", struct gateway_condition_options, test, .choices = tests, .default_text = "present",
                     .flags = HF_OPTION_RELOADABLE, .doc = "What must hold."),
    HF_CONFIG_STRING("value", struct gateway_condition_options, value, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE, .doc = "What it equals, or begins with."),
};
static const hf_option_table condition_table = HF_TABLE(condition_options);

static const hf_option route_options[] = {
    HF_CONFIG_STRINGS("listeners", struct gateway_route_options, listeners, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Listeners whose requests may take the route; none: all that speak HTTP."),
    HF_CONFIG_STRINGS("hosts", struct gateway_route_options, hosts, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Names that clients ask for, such as a.example, or *.a.example for all below it; none: "
                             "any."),
    HF_CONFIG_STRINGS("methods", struct gateway_route_options, methods, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Methods, such as GET; none: any."),
    HF_CONFIG_STRING("path", struct gateway_route_options, path, .default_text = "/", .flags = HF_OPTION_RELOADABLE,
                     .doc = "The decoded path, or what it begins with."),
    HF_CONFIG_CHOICE("path_match", struct gateway_route_options, path_match, .choices = path_tests,
                     .default_text = "prefix", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Whether the path begins with these whole segments, or is exactly that."),
    HF_CONFIG_GROUPS("conditions", struct gateway_route_options, conditions, struct gateway_condition_options,
                     .members = &condition_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "What must hold besides, all of it."),
    HF_CONFIG_STRING("upstream", struct gateway_route_options, upstream, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "Whose servers answer. Without one the route answers itself, with redirect or status."),
    HF_CONFIG_STRING("redirect", struct gateway_route_options, redirect, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "Where the client is sent to; $host, $path and $query stand for the request's, $path being "
                            "what follows the route's path where that is a prefix."),
    HF_CONFIG_INTEGER("status", struct gateway_route_options, status, .default_text = "0", .minimum = 0, .maximum = 599,
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Status of what the route answers itself; 0: 308 for a redirect, else 200."),
    HF_CONFIG_STRING("body", struct gateway_route_options, body, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What the route answers itself."),
    HF_CONFIG_STRING("type", struct gateway_route_options, type, .default_text = "text/plain; charset=utf-8",
                     .flags = HF_OPTION_RELOADABLE, .doc = "Content-Type of `body`."),
    HF_CONFIG_STRING("host", struct gateway_route_options, host, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Host that the server is asked for; empty: the client's."),
    HF_CONFIG_STRING("replace_prefix", struct gateway_route_options, replace_prefix, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "What the server gets in place of the route's path, where that is a prefix; empty: the "
                            "path stays as it is."),
    HF_CONFIG_STRINGS("request_fields", struct gateway_route_options, request_fields, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Header fields that servers get in place of the client's of that name: \"Name: value\"; "
                             "\"Name:\" takes it out."),
    HF_CONFIG_STRINGS("response_fields", struct gateway_route_options, response_fields, .flags = HF_OPTION_RELOADABLE,
                      .doc = "The same in answers."),
    HF_CONFIG_BOOLEAN("upgrades", struct gateway_route_options, upgrades, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether clients may change to another protocol, such as WebSocket."),
    HF_CONFIG_DURATION("timeout", struct gateway_route_options, timeout_us, .default_text = "60s", .minimum = 1000,
                       .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which the head of an answer must come, all tries together; later: 504."),
    HF_CONFIG_INTEGER("tries", struct gateway_route_options, tries, .default_text = "3", .minimum = 1, .maximum = 16,
                      .flags = HF_OPTION_RELOADABLE, .doc = "Servers that are asked for one request at most."),
    HF_CONFIG_STRINGS("retry_on", struct gateway_route_options, retry_on,
                      .default_text = "error, timeout, invalid_header", .flags = HF_OPTION_RELOADABLE,
                      .doc = "What another server is asked after: error, timeout, invalid_header, http_429, http_500, "
                             "http_502, http_503, http_504, and non_idempotent: also where the server may have done "
                             "what was asked, for any method."),
    HF_CONFIG_DURATION("try_timeout", struct gateway_route_options, try_timeout_us, .default_text = "0s", .minimum = 0,
                       .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which the head of an answer must come from one server; 0: as long as timeout."),
    HF_CONFIG_BOOLEAN("policy", struct gateway_route_options, policy, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether the policies for gateway.route, gateway.on_response and gateway.on_error are "
                             "asked about its requests."),
    HF_CONFIG_GROUP("limit", struct gateway_route_options, limit, .members = &gateway_limit_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "How often each client, or user, may ask."),
    HF_CONFIG_INTEGER("requests_maximum", struct gateway_route_options, requests_maximum, .default_text = "0",
                      .minimum = 0, .maximum = 1 << 24, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests at a time, at all workers together; more are answered with 503; 0: any number."),
    HF_CONFIG_SIZE("body_maximum", struct gateway_route_options, body_maximum, .default_text = "0", .minimum = 0,
                   .maximum = INT64_C(1) << 50, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of a request's body, in place of the listener's body_maximum; 0: that one."),
    HF_CONFIG_GROUP("gzip", struct gateway_route_options, gzip, .members = &gateway_gzip_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Answers that are compressed on their way to clients."),
    HF_CONFIG_STRING("cache", struct gateway_route_options, cache, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "The cache that answers of its servers are stored in, and come from; empty: none."),
};
static const hf_option_table route_table = HF_TABLE(route_options);

static const hf_option server_options[] = {
    HF_CONFIG_ADDRESS("address", struct gateway_server_options, address,
                      .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE, .doc = "Where it listens."),
    HF_CONFIG_INTEGER("weight", struct gateway_server_options, weight, .default_text = "1", .minimum = 1,
                      .maximum = HF_BALANCER_WEIGHT_MAX, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Its share of the requests, beside the others' weights."),
    HF_CONFIG_INTEGER("max_fails", struct gateway_server_options, max_fails, .default_text = "1", .minimum = 0,
                      .maximum = 1000000, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Failed requests within fail_timeout after which it gets none for that time; 0: any "
                             "number."),
    HF_CONFIG_DURATION("fail_timeout", struct gateway_server_options, fail_timeout_us, .default_text = "10s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which failures are counted, and how long it then gets no requests."),
    HF_CONFIG_BOOLEAN("backup", struct gateway_server_options, backup, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether it only gets requests while none of the others can."),
    HF_CONFIG_BOOLEAN("drain", struct gateway_server_options, drain, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether it gets no more requests, and finishes those that it has."),
    HF_CONFIG_INTEGER("requests_maximum", struct gateway_server_options, requests_maximum, .default_text = "0",
                      .minimum = 0, .maximum = 1 << 24, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests at a time; 0: any number."),
    HF_CONFIG_BOOLEAN("resolve_all", struct gateway_server_options, resolve_all, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether every address of its name is a server of its own, called NAME#ADDRESS; otherwise "
                             "they are ways to one server, of which the first that takes a connection is used."),
};
const hf_option_table gateway_server_table = HF_TABLE(server_options);

static const hf_option check_options[] = {
    HF_CONFIG_CHOICE(
        "type", struct gateway_check_options, type, .choices = checks, .default_text = "none",
        .flags = HF_OPTION_RELOADABLE,
        .doc =
            "How servers are asked whether they are well: by a connection, by a TLS handshake, by a GET request, or by "
            "the question whether they are the master of a Redis replication; the last two over TLS where the "
            "upstream has it."),
    HF_CONFIG_DURATION("interval", struct gateway_check_options, interval_us, .default_text = "5s", .minimum = 10000,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE, .doc = "Between two checks."),
    HF_CONFIG_DURATION("timeout", struct gateway_check_options, timeout_us, .default_text = "2s", .minimum = 1000,
                       .maximum = SECONDS(600), .flags = HF_OPTION_RELOADABLE, .doc = "In which one must succeed."),
    HF_CONFIG_INTEGER("rise", struct gateway_check_options, rise, .default_text = "2", .minimum = 1, .maximum = 1000,
                      .flags = HF_OPTION_RELOADABLE, .doc = "Checks in a row that must succeed to bring it back."),
    HF_CONFIG_INTEGER("fall", struct gateway_check_options, fall, .default_text = "3", .minimum = 1, .maximum = 1000,
                      .flags = HF_OPTION_RELOADABLE, .doc = "Checks in a row that must fail to take it out."),
    HF_CONFIG_STRING("path", struct gateway_check_options, path, .default_text = "/", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What is asked for, path and query."),
    HF_CONFIG_STRING("host", struct gateway_check_options, host, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Host that is asked for; empty: the server's address."),
    HF_CONFIG_INTEGER("status_least", struct gateway_check_options, status_least, .default_text = "200", .minimum = 100,
                      .maximum = 599, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Lowest status of the answer of a server that is well."),
    HF_CONFIG_INTEGER("status_most", struct gateway_check_options, status_most, .default_text = "399", .minimum = 100,
                      .maximum = 599, .flags = HF_OPTION_RELOADABLE, .doc = "Highest such status."),
    HF_CONFIG_STRING("body", struct gateway_check_options, body, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What must stand in the first 16 KiB of the answer; empty: nothing."),
    HF_CONFIG_BOOLEAN("initially_down", struct gateway_check_options, initially_down, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether a server that is new gets nothing until a check has succeeded."),
};
static const hf_option_table check_table = HF_TABLE(check_options);

static const hf_option breaker_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_breaker_options, enabled, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE, .doc = "Whether there is one."),
    HF_CONFIG_DURATION("window", struct gateway_breaker_options, window_us, .default_text = "10s", .minimum = 1000,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE, .doc = "Over which calls are counted."),
    HF_CONFIG_INTEGER("calls_minimum", struct gateway_breaker_options, calls_minimum, .default_text = "20",
                      .minimum = 1, .maximum = 1 << 30, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Fewer calls in the window never open it."),
    HF_CONFIG_INTEGER("failed_percent", struct gateway_breaker_options, failed_percent, .default_text = "50",
                      .minimum = 0, .maximum = 100, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Failed calls in a hundred that open it; 0: never."),
    HF_CONFIG_DURATION("slow", struct gateway_breaker_options, slow_us, .default_text = "1s", .minimum = 1,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "A call that takes so long is slow."),
    HF_CONFIG_INTEGER("slow_percent", struct gateway_breaker_options, slow_percent, .default_text = "0", .minimum = 0,
                      .maximum = 100, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Slow calls in a hundred that open it; 0: never."),
    HF_CONFIG_INTEGER("in_flight_maximum", struct gateway_breaker_options, in_flight_maximum, .default_text = "0",
                      .minimum = 0, .maximum = 1 << 24, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Calls at a time; 0: any number."),
    HF_CONFIG_DURATION("open", struct gateway_breaker_options, open_us, .default_text = "5s", .minimum = 1000,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long it stays open the first time; twice as long every time that trying fails."),
    HF_CONFIG_DURATION("open_maximum", struct gateway_breaker_options, open_maximum_us, .default_text = "60s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long at most."),
    HF_CONFIG_INTEGER("tries", struct gateway_breaker_options, tries, .default_text = "3", .minimum = 1,
                      .maximum = 1000, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Calls that are let through then, and must all succeed for it to close."),
};
static const hf_option_table breaker_table = HF_TABLE(breaker_options);

static const hf_option outlier_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_outlier_options, enabled, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE, .doc = "Whether servers are compared."),
    HF_CONFIG_DURATION("interval", struct gateway_outlier_options, interval_us, .default_text = "10s", .minimum = 10000,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE, .doc = "Between two judgements."),
    HF_CONFIG_INTEGER("requests_minimum", struct gateway_outlier_options, requests_minimum, .default_text = "50",
                      .minimum = 1, .maximum = 1 << 30, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests without which a server is not judged."),
    HF_CONFIG_INTEGER("margin_percent", struct gateway_outlier_options, margin_percent, .default_text = "5",
                      .minimum = 0, .maximum = 100, .flags = HF_OPTION_RELOADABLE,
                      .doc = "By how many in a hundred its requests must fail more often than the others', beside "
                             "chance."),
    HF_CONFIG_INTEGER("ejected_percent", struct gateway_outlier_options, ejected_percent, .default_text = "30",
                      .minimum = 1, .maximum = 99, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Servers in a hundred that may be out at a time; one always stays."),
    HF_CONFIG_DURATION("eject", struct gateway_outlier_options, eject_us, .default_text = "30s", .minimum = 1000,
                       .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long it gets no requests the first time; longer every time that it happens again "
                              "soon."),
    HF_CONFIG_DURATION("eject_maximum", struct gateway_outlier_options, eject_maximum_us, .default_text = "300s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long at most."),
};
static const hf_option_table outlier_table = HF_TABLE(outlier_options);

static const hf_option degraded_options[] = {
    HF_CONFIG_STRING("upstream", struct gateway_degraded_options, upstream, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE, .doc = "Another upstream that is asked instead; empty: none."),
    HF_CONFIG_INTEGER("status", struct gateway_degraded_options, status, .default_text = "503", .minimum = 200,
                      .maximum = 599, .flags = HF_OPTION_RELOADABLE, .doc = "Status of what is answered otherwise."),
    HF_CONFIG_STRING("body", struct gateway_degraded_options, body, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What is answered; empty: a problem document that says why."),
    HF_CONFIG_STRING("type", struct gateway_degraded_options, type, .default_text = "application/json",
                     .flags = HF_OPTION_RELOADABLE, .doc = "Content-Type of `body`."),
};
static const hf_option_table degraded_table = HF_TABLE(degraded_options);

static const hf_option upstream_options[] = {
    HF_CONFIG_CHOICE("protocol", struct gateway_upstream_options, protocol, .choices = versions,
                     .default_text = "http1", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What the servers speak: HTTP/1.1, or HTTP/2, with TLS by ALPN and without it at once "
                            "(prior knowledge)."),
    HF_CONFIG_INTEGER("http2_streams_maximum", struct gateway_upstream_options, http2_streams_maximum,
                      .default_text = "100", .minimum = 1, .maximum = 65536, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests at a time on a connection to a server that speaks HTTP/2, as far as that allows "
                             "so many."),
    HF_CONFIG_CAPABILITY("balancer", struct gateway_upstream_options, balancer, "balancer",
                         .default_text = "round_robin", .flags = HF_OPTION_RELOADABLE,
                         .doc = "What chooses among the servers."),
    HF_CONFIG_STRING("key", struct gateway_upstream_options, key, .default_text = "client",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "What requests must have in common to meet the same server, for balancers that use a key: "
                            "client (its address), path, field NAME, cookie NAME, argument NAME, body NAME (a member "
                            "of the JSON object that is the body), or policy (what gateway.balance_key says)."),
    HF_CONFIG_GROUPS("servers", struct gateway_upstream_options, servers, struct gateway_server_options,
                     .members = &gateway_server_table, .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                     .doc = "The servers."),
    HF_CONFIG_CHOICE("send_proxy", struct gateway_upstream_options, send_proxy, .choices = gateway_send_proxy_words,
                     .default_text = "off", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Which version of the PROXY protocol tells servers who the client is, at the beginning of "
                            "each connection; a connection then carries the requests of one client only."),
    HF_CONFIG_DURATION("connect_timeout", struct gateway_upstream_options, connect_timeout_us, .default_text = "5s",
                       .minimum = 1000, .maximum = SECONDS(600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which a connection to a server must be there."),
    HF_CONFIG_DURATION("send_timeout", struct gateway_upstream_options, send_timeout_us, .default_text = "30s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "Within which a server must take more of a request."),
    HF_CONFIG_DURATION("receive_timeout", struct gateway_upstream_options, receive_timeout_us, .default_text = "60s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "Within which a server must send more of the body of its answer."),
    HF_CONFIG_INTEGER("idle_maximum", struct gateway_upstream_options, idle_maximum, .default_text = "64", .minimum = 0,
                      .maximum = 65536, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Connections to a server that each worker keeps open without a request."),
    HF_CONFIG_DURATION("idle_timeout", struct gateway_upstream_options, idle_timeout_us, .default_text = "55s",
                       .minimum = 1000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long; it should be shorter than what the servers allow."),
    HF_CONFIG_DURATION("slow_start", struct gateway_upstream_options, slow_start_us, .default_text = "0s", .minimum = 0,
                       .maximum = SECONDS(3600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "In which the share of a server that has come back grows to the whole."),
    HF_CONFIG_FLOAT("retry_ratio", struct gateway_upstream_options, retry_ratio, .default_text = "0.2",
                    .minimum_float = 0, .maximum_float = 10, .flags = HF_OPTION_RELOADABLE,
                    .doc = "Retries that may be made for each request, so that they do not double the load when "
                           "everything fails."),
    HF_CONFIG_INTEGER("retry_burst", struct gateway_upstream_options, retry_burst, .default_text = "100", .minimum = 1,
                      .maximum = 1000000, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Retries that may be made at once, however few the requests were."),
    HF_CONFIG_INTEGER("queue_maximum", struct gateway_upstream_options, queue_maximum, .default_text = "0",
                      .minimum = 0, .maximum = 1 << 20, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Requests that wait in each worker while all servers have requests_maximum; 0: none."),
    HF_CONFIG_DURATION("queue_timeout", struct gateway_upstream_options, queue_timeout_us, .default_text = "1s",
                       .minimum = 1000, .maximum = SECONDS(600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long they wait."),
    HF_CONFIG_DURATION("hold_timeout", struct gateway_upstream_options, hold_timeout_us, .default_text = "0s",
                       .minimum = 0, .maximum = SECONDS(600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long a request waits for a server when none can be reached, as while the only one "
                              "restarts, queue_maximum of them, or 1024 where that is 0; 0: it is refused at once."),
    HF_CONFIG_DURATION("resolve_minimum", struct gateway_upstream_options, resolve_minimum_us, .default_text = "1s",
                       .minimum = 100000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "Names of servers are asked for again when their time to live ends, but not sooner than "
                              "after this; after a failure this is doubled each time."),
    HF_CONFIG_DURATION("resolve_maximum", struct gateway_upstream_options, resolve_maximum_us, .default_text = "300s",
                       .minimum = 100000, .maximum = SECONDS(86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "And not later than after this."),
    HF_CONFIG_GROUP("check", struct gateway_upstream_options, check, .members = &check_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "How servers are checked while nobody asks them."),
    HF_CONFIG_GROUP("breaker", struct gateway_upstream_options, breaker, .members = &breaker_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "The circuit breaker of the whole upstream."),
    HF_CONFIG_GROUP("server_breaker", struct gateway_upstream_options, server_breaker, .members = &breaker_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "The circuit breaker of each server."),
    HF_CONFIG_GROUP("outlier", struct gateway_upstream_options, outlier, .members = &outlier_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Servers that fail more often than the others."),
    HF_CONFIG_GROUP("degraded", struct gateway_upstream_options, degraded, .members = &degraded_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "What is answered when no server can be asked."),
    HF_CONFIG_GROUP("tls", struct gateway_upstream_options, tls, .members = &gateway_tls_client_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "TLS with the servers."),
};
static const hf_option_table upstream_table = HF_TABLE(upstream_options);

const hf_option gateway_option_rows[GATEWAY_OPTION_COUNT] = {
    HF_CONFIG_GROUPS("listeners", struct gateway_options, listeners, struct gateway_listener_options,
                     .members = &listener_table, .flags = HF_OPTION_RELOADABLE, .doc = "Where clients connect to."),
    HF_CONFIG_GROUPS("routes", struct gateway_options, routes, struct gateway_route_options, .members = &route_table,
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "Which requests go where; the first that matches is taken, and what matches none is "
                            "answered with 404."),
    HF_CONFIG_GROUPS("upstreams", struct gateway_options, upstreams, struct gateway_upstream_options,
                     .members = &upstream_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Servers that do the same, and how requests are divided among them."),
    HF_CONFIG_STRINGS("resolvers", struct gateway_options, resolvers, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whom names of servers are asked of: \"10.0.0.1:53\" or \"[fd00::1]:53\"; none: those of "
                             "/etc/resolv.conf."),
    HF_CONFIG_GROUPS("caches", struct gateway_options, caches, struct gateway_cache_options,
                     .members = &gateway_cache_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Where routes store answers of servers."),
    HF_CONFIG_GROUP("access_log", struct gateway_options, access_log, .members = &gateway_access_log_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "A line for every request."),
    HF_CONFIG_GROUP("trace", struct gateway_options, trace, .members = &gateway_trace_table,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Which request this is, over all that have to do with it."),
};
