#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/hash.h>
#include <holdfast/lib/http1.h>
#include <holdfast/lib/value.h>

static hf_slice text(const char *string)
{
    return (hf_slice){(const uint8_t *)string, strlen(string)};
}

static void assert_slice(hf_slice slice, const char *expected)
{
    assert_int_equal(slice.size, strlen(expected));
    assert_memory_equal(slice.data, expected, slice.size);
}

static void test_request(void **state)
{
    static const char request[] = "PUT /v1/tables/a/records/b?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length:  12 \r\n"
                                  "X-Empty:\r\nExpect: 100-Continue\r\n\r\nbody";
    hf_http1_head head;

    (void)state;
    assert_int_equal(hf_http1_parse_request(text(request), &head, NULL), strlen(request) - 4);
    assert_slice(head.method, "PUT");
    assert_slice(head.target, "/v1/tables/a/records/b?x=1");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.body, HF_HTTP1_BODY_LENGTH);
    assert_int_equal(head.content_length, 12);
    assert_int_equal(head.keep_alive, 1);
    assert_int_equal(head.expect_continue, 1);
    assert_int_equal(head.header_count, 4);
    assert_slice(hf_http1_header_find(&head, "CONTENT-length"), "12");
    assert_non_null(hf_http1_header_find(&head, "x-empty").data);
    assert_int_equal(hf_http1_header_find(&head, "x-empty").size, 0);
    assert_null(hf_http1_header_find(&head, "x-none").data);
    for (size_t i = 0; i < strlen(request) - 4; i++)
        assert_int_equal(hf_http1_parse_request((hf_slice){(const uint8_t *)request, i}, &head, NULL), 0);
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *request;
        int32_t keep_alive;
        int32_t body;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, HF_HTTP1_BODY_NONE},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", 0, HF_HTTP1_BODY_NONE},
        {"GET / HTTP/1.0\r\n\r\n", 0, HF_HTTP1_BODY_NONE},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1, HF_HTTP1_BODY_NONE},
        {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, HF_HTTP1_BODY_NONE},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 1, HF_HTTP1_BODY_CHUNKED},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 1, HF_HTTP1_BODY_LENGTH},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1, HF_HTTP1_BODY_NONE},
    };
    hf_http1_head head;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hf_http1_parse_request(text(rows[i].request), &head, NULL), strlen(rows[i].request));
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
        assert_int_equal(head.body, rows[i].body);
    }
}

/* What other parsers have read in two ways. */
static void test_refused(void **state)
{
    static const struct {
        const char *request;
        int32_t code;
    } rows[] = {
        {"GET / HTTP/1.1\nHost: a\n\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HF_EINVAL},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", HF_EINVAL},
        {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", HF_EVERSION},
        {"GET / HTTP/1.9\r\nHost: a\r\n\r\n", HF_EVERSION},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", HF_EINVAL},
        {"GET /\r\nHost: a\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\r\n: value\r\n\r\n", HF_EINVAL},
        {"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HF_EINVAL},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", HF_EUNSUPPORTED},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         HF_EUNSUPPORTED},
        {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HF_EINVAL},
    };
    hf_http1_head head;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hf_error error = {0};

        if (hf_http1_parse_request(text(rows[i].request), &head, &error) != rows[i].code)
            fail_msg("row %zu: %d '%s', expected %d", i, error.code, error.message, rows[i].code);
        assert_true(error.message[0] != 0);
    }
}

static void test_too_many_fields(void **state)
{
    char request[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";
    hf_http1_head head;

    (void)state;
    for (int i = 1; i < HF_HTTP1_HEADERS_MAX; i++)
        strcat(request, "A: b\r\n");
    size_t full = strlen(request);
    strcat(request, "\r\n");
    assert_int_equal(hf_http1_parse_request(text(request), &head, NULL), strlen(request));
    request[full] = 0;
    strcat(request, "A: b\r\n\r\n");
    assert_int_equal(hf_http1_parse_request(text(request), &head, NULL), HF_ETOOLARGE);
}

static void test_response(void **state)
{
    static const struct {
        const char *method;
        const char *response;
        int32_t body;
        int32_t keep_alive;
        uint32_t status;
    } rows[] = {
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HF_HTTP1_BODY_LENGTH, 1, 200},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HF_HTTP1_BODY_NONE, 1, 200},
        {"GET", "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", HF_HTTP1_BODY_CHUNKED, 1, 200},
        {"GET", "HTTP/1.1 204 No Content\r\n\r\n", HF_HTTP1_BODY_NONE, 1, 204},
        {"GET", "HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", HF_HTTP1_BODY_NONE, 1, 304},
        {"GET", "HTTP/1.1 200 OK\r\n\r\n", HF_HTTP1_BODY_UNTIL_CLOSE, 0, 200},
        {"GET", "HTTP/1.0 503 x\r\nContent-Length: 0\r\n\r\n", HF_HTTP1_BODY_NONE, 0, 503},
    };
    hf_http1_head head;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hf_http1_parse_response(text(rows[i].response), text(rows[i].method), &head, NULL),
                         strlen(rows[i].response));
        assert_int_equal(head.body, rows[i].body);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
        assert_int_equal(head.status, rows[i].status);
    }
    assert_int_equal(hf_http1_parse_response(text("HTTP/1.1 20 OK\r\n\r\n"), text("GET"), &head, NULL), HF_EINVAL);
    assert_int_equal(hf_http1_parse_response(text("HTTP/1.1 600 OK\r\n\r\n"), text("GET"), &head, NULL), HF_EINVAL);
}

/* Reads a chunked body in pieces of random size; returns the result and the content. */
static int32_t read_chunked_with(hf_random *random, const char *body, char *content, uint64_t *ret_taken,
                                 hf_buffer *trailers)
{
    hf_http1_chunked chunked = {.trailers = trailers};
    uint64_t size = strlen(body), at = 0, available = 0;

    content[0] = 0;
    for (;;) {
        uint64_t taken = 0;
        hf_slice data;
        int32_t result;

        if (available < size && at == available)
            available += 1 + hf_random_below(random, size - available);
        result = hf_http1_chunked_next(&chunked, (hf_slice){(const uint8_t *)body + at, available - at}, &taken, &data,
                                       NULL);
        if (result < 0)
            return result;
        if (data.size)
            strncat(content, (const char *)data.data, data.size);
        at += taken;
        *ret_taken = at;
        if (result == 1 || (at == size && taken == 0))
            return result;
    }
}

static int32_t read_chunked(hf_random *random, const char *body, char *content, uint64_t *ret_taken)
{
    return read_chunked_with(random, body, content, ret_taken, NULL);
}

static void test_chunked(void **state)
{
    static const char good[] =
        "4 \r\nWiki\r\n6\t;name=\"v\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\nC: d\r\n\r\nnext";
    static const char *const bad[] = {"\r\n",        "x\r\n",          "4\nWiki",         "4\r\nWikix",
                                      "4\r\nWiki\n", "1\r\na\rb",      "-1\r\n",          "1000000000000000\r\n",
                                      "0\r\n\rA",    "0\r\nA\x01\r\n", "4;a\x02\r\nWiki", "4 4\r\nWiki",
                                      "4 a\r\nWiki", "4;\x7f\r\nWiki", "0\r\nA\x7f\r\n"};
    char content[256];
    uint64_t taken = 0;
    hf_random random;

    (void)state;
    hf_random_init(&random, 1);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(read_chunked(&random, good, content, &taken), 1);
        assert_string_equal(content, "Wikipedia in \r\n\r\nchunks.");
        assert_int_equal(taken, strlen(good) - 4);
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++)
            assert_int_equal(read_chunked(&random, bad[b], content, &taken), HF_EINVAL);
    }
    assert_int_equal(read_chunked(&random, "3\r\nab", content, &taken), 0);
}

static void test_trailers(void **state)
{
    static const char *const bad[] = {"A b\r\n",
                                      "A : b\r\n",
                                      " A: b\r\n",
                                      "A: b\r\n\r\nC: d\r\n",
                                      "Content-Length: 1\r\n",
                                      "host: x\r\n",
                                      "A: b\r\nTransfer-Encoding: chunked\r\n",
                                      "A: b"};
    char content[256];
    uint64_t taken = 0;
    hf_buffer trailers;
    hf_random random;
    hf_http1_head head;

    (void)state;
    hf_random_init(&random, 2);
    hf_buffer_init(&trailers, 64);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(
            read_chunked_with(&random, "1\r\na\r\n0\r\nA: b\r\nC:d\r\n\r\nnext", content, &taken, &trailers), 1);
        assert_int_equal(trailers.size, 11);
        assert_memory_equal(trailers.data, "A: b\r\nC:d\r\n", 11);
        hf_buffer_clear(&trailers);
        assert_int_equal(read_chunked_with(&random, "0\r\n\r\n", content, &taken, &trailers), 1);
        assert_int_equal(trailers.size, 0);
    }
    assert_int_equal(
        read_chunked_with(&random, "0\r\nA: 0123456789012345678901234567890123456789012345678901234567890123\r\n\r\n",
                          content, &taken, &trailers),
        HF_ETOOLARGE);
    hf_buffer_done(&trailers);
    assert_int_equal(hf_http1_parse_trailers(text("A: b\r\nC:d\r\n"), &head, NULL), HF_OK);
    assert_int_equal(head.header_count, 2);
    assert_memory_equal(head.headers[1].value.data, "d", 1);
    assert_int_equal(hf_http1_parse_trailers(text(""), &head, NULL), HF_OK);
    assert_int_equal(head.header_count, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hf_http1_parse_trailers(text(bad[i]), &head, NULL), HF_EINVAL);
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(hf_http1_reason(404), "Not Found");
    assert_string_equal(hf_http1_reason(599), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),  cmocka_unit_test(test_keep_alive),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_response), cmocka_unit_test(test_too_many_fields), cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_trailers), cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
