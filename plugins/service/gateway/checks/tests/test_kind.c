/* What servers answer when they are asked whether they are well: every answer is given whole, and byte by byte, which
 * must come to the same. */
#include "checks/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct gateway_check_options options(int32_t type, const char *body)
{
    return (struct gateway_check_options){
        .type = type, .path = "/health?x=1", .host = "", .status_least = 200, .status_most = 299, .body = body};
}

/* What is thought once all of the bytes are there, and the server has closed if `ended`. */
static struct gateway_check_verdict ask(const struct gateway_check_options *check, const char *answer, int32_t ended)
{
    const struct gateway_check_kind *kind = gateway_check_kind(check->type);
    struct gateway_check_verdict whole = {0}, pieces = {0};
    size_t size = strlen(answer);
    uint8_t *bytes = malloc(size + 1); /* of its own size, so that reading beyond it is found */

    memcpy(bytes, answer, size);
    kind->look(check, (hf_slice){bytes, size}, ended, &whole);
    for (size_t i = 1; i <= size && pieces.state == GATEWAY_CHECK_OPEN; i++)
        kind->look(check, (hf_slice){bytes, i}, 0, &pieces);
    if (pieces.state == GATEWAY_CHECK_OPEN)
        kind->look(check, (hf_slice){bytes, size}, ended, &pieces);
    free(bytes);
    assert_int_equal(pieces.state, whole.state);
    assert_string_equal(pieces.why, whole.why);
    return whole;
}

static void is_well(const struct gateway_check_options *check, const char *answer)
{
    assert_int_equal(ask(check, answer, 0).state, GATEWAY_CHECK_WELL);
}

static void is_ill(const struct gateway_check_options *check, const char *answer, int32_t ended, const char *why)
{
    struct gateway_check_verdict verdict = ask(check, answer, ended);

    assert_int_equal(verdict.state, GATEWAY_CHECK_ILL);
    assert_string_equal(verdict.why, why);
}

static void is_open(const struct gateway_check_options *check, const char *answer)
{
    assert_int_equal(ask(check, answer, 0).state, GATEWAY_CHECK_OPEN);
}

static void a_connection_is_enough_for_tcp(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_TCP, "");
    struct gateway_check_verdict verdict = {0};

    (void)state;
    assert_null(gateway_check_kind(GATEWAY_CHECK_TCP)->begin);
    gateway_check_kind(GATEWAY_CHECK_TCP)->look(&check, (hf_slice){NULL, 0}, 0, &verdict);
    assert_int_equal(verdict.state, GATEWAY_CHECK_WELL);
}

static void http_asks_for_the_path_of_the_host(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_HTTP, "");
    static const char *const hosts[][3] = {{"", "10.0.0.7:80", "10.0.0.7:80"},
                                           {"", "unix:/run/a", "localhost"},
                                           {"a.example", "10.0.0.7:80", "a.example"}};

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        char expected[256];
        hf_buffer out;

        check.host = hosts[i][0];
        hf_buffer_init(&out, 1024);
        assert_int_equal(gateway_check_kind(GATEWAY_CHECK_HTTP)->begin(&check, hosts[i][1], &out), HF_OK);
        snprintf(expected, sizeof expected, "GET /health?x=1 HTTP/1.1\r\nHost: %s\r\n", hosts[i][2]);
        assert_memory_equal(out.data, expected, strlen(expected));
        assert_memory_equal(out.data + out.size - 4, "\r\n\r\n", 4);
        hf_buffer_done(&out);
    }
}

static void http_looks_at_the_status(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_HTTP, "");

    (void)state;
    is_well(&check, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    is_well(&check, "HTTP/1.0 204 No Content\r\n\r\n");
    is_well(&check, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 299 Fine\r\n\r\n");
    is_ill(&check, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 0, "status 503");
    is_ill(&check, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 0, "status 101");
    is_ill(&check, "HTTP/1.1 301 Moved\r\n\r\n", 0, "status 301");
    is_ill(&check, "HTTP/1.1 200 OK\r\nContent-", 1, "it closed the connection without an answer");
    is_ill(&check, "", 1, "it closed the connection without an answer");
    is_ill(&check, "+PONG\r\n\r\n", 0, "its answer is no HTTP");
    is_open(&check, "HTTP/1.1 200 OK\r\n");
    is_open(&check, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void http_looks_for_a_text(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_HTTP, "\"up\"");
    const char *const lacks = "its answer lacks the text";

    (void)state;
    is_well(&check, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"is\": \"up\"}\n");
    is_well(&check, "HTTP/1.1 200 OK\r\n\r\nit is \"up\" for now");
    is_well(&check, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n \"u\r\n2\r\np\"\r\n0\r\n\r\n");
    is_ill(&check, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndown", 0, lacks);
    is_ill(&check, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"up\"", 0, lacks); /* beyond its end */
    is_ill(&check, "HTTP/1.1 200 OK\r\n\r\ndown", 1, lacks);
    is_ill(&check, "HTTP/1.1 204 No Content\r\n\r\n", 0, lacks);
    is_ill(&check, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n0\r\n\r\n", 0, lacks);
    is_ill(&check, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 0, "its answer is no HTTP");
    is_open(&check, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"is\": \"u");
    is_open(&check, "HTTP/1.1 200 OK\r\n\r\nnot yet");
    is_ill(&check, "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\n\"up\"", 0, "status 500");
}

static void http_reads_only_so_much(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_HTTP, "end");
    static char answer[GATEWAY_CHECK_BYTES_MAX + 1];
    struct gateway_check_verdict verdict = {0};
    size_t head = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\n\r\n");

    (void)state;
    memset(answer + head, 'x', sizeof answer - head - 1);
    memcpy(answer + head + GATEWAY_CHECK_BODY_MAX - 3, "end", 3);
    hf_slice bytes = {(const uint8_t *)answer, head + GATEWAY_CHECK_BODY_MAX};
    gateway_check_kind(GATEWAY_CHECK_HTTP)->look(&check, bytes, 0, &verdict);
    assert_int_equal(verdict.state, GATEWAY_CHECK_WELL);

    memcpy(answer + head + GATEWAY_CHECK_BODY_MAX - 3, "xend", 4);
    bytes.size = sizeof answer - 1;
    verdict.state = GATEWAY_CHECK_OPEN;
    gateway_check_kind(GATEWAY_CHECK_HTTP)->look(&check, bytes, 0, &verdict);
    assert_int_equal(verdict.state, GATEWAY_CHECK_ILL);

    memset(answer + 17, 'x', sizeof answer - 18); /* a head that does not end */
    verdict.state = GATEWAY_CHECK_OPEN;
    bytes.size = GATEWAY_CHECK_HEAD_MAX;
    gateway_check_kind(GATEWAY_CHECK_HTTP)->look(&check, bytes, 0, &verdict);
    assert_int_equal(verdict.state, GATEWAY_CHECK_ILL);
}

static void redis_must_be_the_master(void **state)
{
    struct gateway_check_options check = options(GATEWAY_CHECK_REDIS_MASTER, "");
    hf_buffer out;

    (void)state;
    hf_buffer_init(&out, 1024);
    assert_int_equal(gateway_check_kind(GATEWAY_CHECK_REDIS_MASTER)->begin(&check, "a:1", &out), HF_OK);
    assert_int_equal(out.size, 35 - 3);
    assert_memory_equal(out.data, "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n", out.size);
    hf_buffer_done(&out);
    is_well(&check, "$28\r\n# Replication\r\nrole:master\r\n\r\n");
    is_ill(&check, "$27\r\n# Replication\r\nrole:slave\r\n\r\n", 0, "its role is slave");
    is_ill(&check, "$15\r\n# Replication\r\n\r\n", 0, "it does not say its role");
    is_ill(&check, "-NOAUTH Authentication required.\r\n", 0, "it says: NOAUTH Authentication required.");
    is_ill(&check, "-LOADING \x01\xff\r\n", 0, "it says: LOADING ??");
    is_ill(&check, "+OK\r\n", 0, "its answer is no RESP");
    is_ill(&check, "$-1\r\n", 0, "its answer is no RESP");
    is_ill(&check, "$\r\n", 0, "its answer is no RESP");
    is_ill(&check, "$99999999999999999999999\r\n", 0, "its answer is no RESP");
    is_ill(&check, "$28\r\n# Repl", 1, "its answer broke off");
    is_ill(&check, "$28", 1, "it closed the connection without an answer");
    is_open(&check, "$28\r\n# Replication\r\nrole:mas");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_enough_for_tcp), cmocka_unit_test(http_asks_for_the_path_of_the_host),
        cmocka_unit_test(http_looks_at_the_status),       cmocka_unit_test(http_looks_for_a_text),
        cmocka_unit_test(http_reads_only_so_much),        cmocka_unit_test(redis_must_be_the_master),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
