/* Shows which head the other side gets, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "forward/forward.h"
#include <holdfast/lib/value.h>

static struct gateway_forward from_client(void)
{
    return (struct gateway_forward){.client = hf_slice_of("192.0.2.1"), .minor = 1, .keep_alive = 1};
}

/* The whole of what we say of a client at that address. */
#define FROM                                                                                                           \
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"                                 \
    "Forwarded: for=192.0.2.1;proto=http;host=\"a\"\r\n"

static int32_t forward_request(const struct gateway_forward *how, const char *text, char *to, uint64_t maximum)
{
    hf_http1_head head;
    hf_buffer buffer;
    hf_slice bytes = hf_slice_of(text);
    int64_t size = hf_http1_parse_request(bytes, &head, NULL);

    assert_true(size > 0);
    hf_buffer_init(&buffer, maximum);
    int32_t code = gateway_forward_request(how, (hf_slice){bytes.data, (uint64_t)size}, &head, &buffer, NULL);

    snprintf(to, 4096, "%.*s", (int)buffer.size, buffer.data ? (const char *)buffer.data : "");
    hf_buffer_done(&buffer);
    if (code != HF_ETOOLARGE)
        assert_int_equal(gateway_forward_look(&head, NULL), code);
    return code;
}

static void expect_request(const struct gateway_forward *how, const char *text, const char *expected)
{
    char got[4096];

    assert_int_equal(forward_request(how, text, got, 4096), HF_OK);
    assert_string_equal(got, expected);
}

static void expect_refused(const char *text)
{
    struct gateway_forward how = from_client();
    char got[4096];

    assert_int_equal(forward_request(&how, text, got, 4096), HF_EINVAL);
    assert_string_equal(got, "");
}

static int32_t expect_response(const struct gateway_forward *how, const char *text, const char *expected)
{
    hf_http1_head head;
    hf_buffer buffer;
    hf_slice bytes = hf_slice_of(text);
    int64_t size = hf_http1_parse_response(bytes, how->method, &head, NULL);
    int32_t body = -1;
    char got[4096];

    assert_true(size > 0);
    hf_buffer_init(&buffer, 4096);
    assert_int_equal(gateway_forward_response(how, (hf_slice){bytes.data, (uint64_t)size}, &head, &buffer, &body, NULL),
                     HF_OK);
    snprintf(got, sizeof got, "%.*s", (int)buffer.size, (const char *)buffer.data);
    hf_buffer_done(&buffer);
    assert_string_equal(got, expected);
    return body;
}

static void fields_pass_as_they_are_and_in_order(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, "GET /p?q=1 HTTP/1.1\r\nHost: a\r\nAccept:  */* \r\nCookie: b=1\r\ncookie: c=2\r\n\r\n",
                   "GET /p?q=1 HTTP/1.1\r\nHost: a\r\nAccept:  */* \r\nCookie: b=1\r\ncookie: c=2\r\n" FROM "\r\n");
}

static void what_concerns_the_connection_stays_behind(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(
        &how,
        "GET / HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\n"
        "Proxy-Connection: close\r\nTE: gzip\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\nx-hop: 2\r\nX-B: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n" FROM "\r\n");
    /* What the connection's options may not take away: where the message ends, and whose it is. */
    expect_request(&how, "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 3\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: a\r\n" FROM "Content-Length: 3\r\n\r\n");
}

static void what_servers_take_for_ours_stays_behind(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how,
                   "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\nX-A_B: 1\r\nTRANSFER_encoding: chunked\r\n"
                   "X_Forwarded-For: 1\r\nx_forwarded_proto: https\r\nX_Forwarded_Server: 1\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a\r\nX-A_B: 1\r\nX_Forwarded_Server: 1\r\n" FROM "\r\n");
}

static void bodies_are_framed_anew(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\nContent-Length: 7\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: a\r\n" FROM "Content-Length: 7\r\n\r\n");
    expect_request(&how, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                   "POST / HTTP/1.1\r\nHost: a\r\n" FROM "Content-Length: 0\r\n\r\n");
    expect_request(
        &how, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nTrailer: X\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\n" FROM "Transfer-Encoding: chunked\r\n\r\n");
}

static void a_proxy_of_ours_is_believed_and_nobody_else(void **state)
{
    static const char text[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 203.0.113.5\r\n"
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nForwarded: for=198.51.100.9\r\n\r\n";
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, text, "GET / HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    how.is_proxy = 1;
    expect_request(&how, text,
                   "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9, 203.0.113.5, 192.0.2.1\r\n"
                   "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
                   "Forwarded: for=198.51.100.9, for=192.0.2.1;proto=http;host=\"a\"\r\n\r\n");
    how.is_proxy = 0;
    how.is_tls = 1;
    how.client = hf_slice_of("2001:db8::1");
    expect_request(&how, "GET / HTTP/1.1\r\nHost: a:8443\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a:8443\r\nX-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n"
                   "X-Forwarded-Host: a:8443\r\nForwarded: for=\"[2001:db8::1]\";proto=https;host=\"a:8443\"\r\n\r\n");
}

static void the_trace_goes_on(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nTraceparent: of-the-client\r\nX: 1\r\nTraceState: s=1\r\n"
                               "traceparent: again\r\n\r\n";
    struct gateway_edit edit = {hf_slice_of("traceparent"), {NULL, 0}};
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, text,
                   "GET / HTTP/1.1\r\nHost: a\r\nTraceparent: of-the-client\r\nX: 1\r\nTraceState: s=1\r\n"
                   "traceparent: again\r\n" FROM "\r\n");
    how.trace = hf_slice_of("ours");
    expect_request(&how, text, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" FROM "traceparent: ours\r\n\r\n");
    how.keeps_state = 1;
    expect_request(&how, text,
                   "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nTraceState: s=1\r\n" FROM "traceparent: ours\r\n\r\n");
    how.edits = &edit;
    how.edit_count = 1;
    expect_request(&how, text, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nTraceState: s=1\r\n" FROM "\r\n");
}

static void clients_may_be_told_the_trace(void **state)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\ntraceresponse: theirs\r\ntraceparent: x\r\nContent-Length: 0\r\n\r\n";
    struct gateway_forward how = {.method = hf_slice_of("GET"), .minor = 1, .keep_alive = 1};

    (void)state;
    (void)expect_response(&how, text,
                          "HTTP/1.1 200 OK\r\ntraceresponse: theirs\r\ntraceparent: x\r\nContent-Length: 0\r\n\r\n");
    how.trace = hf_slice_of("ours");
    (void)expect_response(&how, text,
                          "HTTP/1.1 200 OK\r\ntraceparent: x\r\ntraceresponse: ours\r\nContent-Length: 0\r\n\r\n");
}

static void targets_become_paths(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, "GET HTTP://a/p?q HTTP/1.1\r\nHost: other\r\n\r\n",
                   "GET /p?q HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
                   "OPTIONS * HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    how.host = hf_slice_of("inner");
    how.target = hf_slice_of("/new");
    expect_request(&how, "GET /old HTTP/1.1\r\nHost: a\r\n\r\n", "GET /new HTTP/1.1\r\nHost: inner\r\n" FROM "\r\n");
    expect_refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_refused("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_refused("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_refused("GET http:///p HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_refused("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n");
}

static void other_protocols_only_where_allowed(void **state)
{
    static const char text[] =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    struct gateway_forward how = from_client();

    (void)state;
    expect_request(&how, text, "GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n" FROM "\r\n");
    how.upgrades = 1;
    expect_request(&how, text,
                   "GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n" FROM
                   "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    expect_request(&how, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo, H2C\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a\r\n" FROM "\r\n");
    expect_request(&how, "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers, gzip\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a\r\n" FROM "Connection: TE\r\nTE: trailers\r\n\r\n");
}

static void routes_edit_fields(void **state)
{
    struct gateway_forward how = from_client();
    const struct gateway_edit edits[] = {{hf_slice_of("X-User"), hf_slice_of("7")},
                                         {hf_slice_of("Cookie"), {NULL, 0}},
                                         {hf_slice_of("x-forwarded-for"), {NULL, 0}}};

    (void)state;
    how.edits = edits;
    how.edit_count = 3;
    expect_request(&how, "GET / HTTP/1.1\r\nHost: a\r\nx-user: 1\r\nX-User: 2\r\nAccept: b\r\nCookie: c\r\n\r\n",
                   "GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
                   "Forwarded: for=192.0.2.1;proto=http;host=\"a\"\r\nX-User: 7\r\n\r\n");
    assert_true(gateway_forward_may_edit(hf_slice_of("X-Forwarded-For")));
    assert_true(gateway_forward_may_edit(hf_slice_of("Server")));
    assert_false(gateway_forward_may_edit(hf_slice_of("transfer-encoding")));
    assert_false(gateway_forward_may_edit(hf_slice_of("HOST")));
}

static void bounds_are_kept(void **state)
{
    struct gateway_forward how = from_client();
    char text[2048] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x", got[4096];

    (void)state;
    assert_int_equal(forward_request(&how, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", got, 64), HF_ETOOLARGE);
    assert_string_equal(got, "");
    for (int i = 0; i < 31; i++)
        strcat(text, ",x");
    strcat(text, "\r\n");
    size_t size = strlen(text);

    strcat(text, "\r\n");
    assert_int_equal(forward_request(&how, text, got, 4096), HF_OK);
    text[size] = 0;
    strcat(text, "Connection: y\r\n\r\n");
    expect_refused(text);
}

static void responses_go_to_the_client(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    how.method = hf_slice_of("GET");
    assert_int_equal(expect_response(&how,
                                     "HTTP/1.1 200 Fine\r\nServer: s\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
                                     "Host: h\r\nContent-Length: 5\r\n\r\n",
                                     "HTTP/1.1 200 Fine\r\nServer: s\r\nHost: h\r\nContent-Length: 5\r\n\r\n"),
                     HF_HTTP1_BODY_LENGTH);
    assert_int_equal(expect_response(&how, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                     HF_HTTP1_BODY_CHUNKED);
    assert_int_equal(expect_response(&how, "HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"),
                     HF_HTTP1_BODY_CHUNKED);
    assert_int_equal(expect_response(&how, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                                     "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
                     HF_HTTP1_BODY_NONE);
    assert_int_equal(expect_response(&how, "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
                                     "HTTP/1.1 204 No Content\r\n\r\n"),
                     HF_HTTP1_BODY_NONE);
    how.method = hf_slice_of("HEAD");
    assert_int_equal(expect_response(&how, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
                     HF_HTTP1_BODY_NONE);
}

static void old_clients_get_what_they_know(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    how.method = hf_slice_of("GET");
    how.minor = 0;
    assert_int_equal(expect_response(&how, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
                     HF_HTTP1_BODY_UNTIL_CLOSE);
    expect_response(&how, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n");
    how.keep_alive = 0;
    expect_response(&how, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n");
}

static void upgrades_are_answered(void **state)
{
    struct gateway_forward how = from_client();

    (void)state;
    how.method = hf_slice_of("GET");
    expect_response(&how,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nS: k\r\n\r\n",
                    "HTTP/1.1 101 Switching Protocols\r\nS: k\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    expect_response(&how, "HTTP/1.1 200 OK\r\nUpgrade: h2\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    how.keep_alive = 0;
    expect_response(
        &how, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nConnection: upgrade, close\r\nContent-Length: 0\r\n\r\n");
    expect_response(&how, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n");
}

static int32_t forward_trailers(const char *lines, const struct gateway_edit *edits, uint32_t count, char *to)
{
    hf_buffer buffer;

    hf_buffer_init(&buffer, 4096);
    assert_int_equal(hf_buffer_append(&buffer, lines, strlen(lines)), HF_OK);
    int32_t code = gateway_forward_trailers(edits, count, &buffer, NULL);

    snprintf(to, 4096, "%.*s", (int)buffer.size, (const char *)buffer.data);
    hf_buffer_done(&buffer);
    return code;
}

static void trailers_pass_unless_they_come_too_late(void **state)
{
    struct gateway_edit edit = {.name = hf_slice_of("x-inner")};
    char lines[4096];

    (void)state;
    assert_int_equal(forward_trailers("grpc-status: 0\r\nSet-Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\n"
                                      "connection: x\r\nContent-Type: a/b\r\nX-Inner: 1\r\ngrpc-message:ok\r\n",
                                      &edit, 1, lines),
                     HF_OK);
    assert_string_equal(lines, "grpc-status: 0\r\ngrpc-message:ok\r\n");
    assert_int_equal(forward_trailers("a: b\r\ncontent-length: 1\r\n", NULL, 0, lines), HF_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_pass_as_they_are_and_in_order),
        cmocka_unit_test(what_concerns_the_connection_stays_behind),
        cmocka_unit_test(what_servers_take_for_ours_stays_behind),
        cmocka_unit_test(bodies_are_framed_anew),
        cmocka_unit_test(a_proxy_of_ours_is_believed_and_nobody_else),
        cmocka_unit_test(the_trace_goes_on),
        cmocka_unit_test(clients_may_be_told_the_trace),
        cmocka_unit_test(targets_become_paths),
        cmocka_unit_test(other_protocols_only_where_allowed),
        cmocka_unit_test(routes_edit_fields),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(responses_go_to_the_client),
        cmocka_unit_test(old_clients_get_what_they_know),
        cmocka_unit_test(upgrades_are_answered),
        cmocka_unit_test(trailers_pass_unless_they_come_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
