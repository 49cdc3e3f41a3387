/* Shows what Cache-Control and dates are read as, which answers are stored and for how long, when they may be used, and
 * what a client has already; the time is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/date.h"
#include "cache/rules.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

#define NOW INT64_C(784111777) /* Sun, 06 Nov 1994 08:49:37 GMT */
#define S   UINT64_C(1000000)

static struct gateway_cache_control control_of(const char *text)
{
    struct gateway_cache_control control;

    gateway_cache_control_init(&control);
    gateway_cache_control_add(&control, hf_slice_of(text));
    return control;
}

static void directives_are_read(void **state)
{
    (void)state;
    assert_int_equal(control_of("no-store, No-Cache ,PRIVATE").said,
                     GATEWAY_NO_STORE | GATEWAY_NO_CACHE | GATEWAY_PRIVATE);
    assert_int_equal(control_of("public,must-revalidate, proxy-revalidate,only-if-cached").said,
                     GATEWAY_PUBLIC | GATEWAY_MUST_REVALIDATE | GATEWAY_PROXY_REVALIDATE | GATEWAY_ONLY_IF_CACHED);
    assert_int_equal(control_of("max-age=60").max_age, 60);
    assert_int_equal(control_of("Max-Age = \"60\"").max_age, 60);
    assert_int_equal(control_of("s-maxage=1, max-age=2").s_maxage, 1);
    assert_int_equal(control_of("max-age=60, max-age=30").max_age, 30);
    assert_int_equal(control_of("max-age=99999999999999999999999").max_age, INT64_C(1) << 31);
    assert_int_equal(control_of("max-age").max_age, 0);
    assert_int_equal(control_of("max-age=").max_age, 0);
    assert_int_equal(control_of("max-age=-1").max_age, 0);
    assert_int_equal(control_of("max-age=1x").max_age, 0);
    assert_int_equal(control_of("maxage=1").max_age, -1);
    assert_int_equal(control_of("stale-while-revalidate=5, stale-if-error=7").stale_while_revalidate, 5);
    assert_int_equal(control_of("stale-while-revalidate=5, stale-if-error=7").stale_if_error, 7);
    assert_int_equal(control_of("max-stale").said, GATEWAY_ANY_STALE);
    assert_int_equal(control_of("max-stale=5").max_stale, 5);
    assert_int_equal(control_of("min-fresh=5, min-fresh=9").min_fresh, 9);
    /* What stands in quotes is no directive, and a list of fields is as good as none. */
    assert_int_equal(control_of("x=\"no-store, max-age=5\", max-age=7").max_age, 7);
    assert_int_equal(control_of("x=\"no-store\"").said, 0);
    assert_int_equal(control_of("no-cache=\"a, \\\"b\", private").said, GATEWAY_NO_CACHE | GATEWAY_PRIVATE);
    assert_int_equal(control_of("private=\"a, b\", max-age=9").said, GATEWAY_PRIVATE);
    assert_int_equal(control_of("private=\"a, b\", max-age=9").max_age, 9);
    assert_int_equal(control_of(",, ,").said, 0);
}

static void dates_are_read(void **state)
{
    static const char *const wrong[] = {"",
                                        "0",
                                        "now",
                                        "Sun, 06 Nov 1994 08:49:37",
                                        "Sun, 06 Nov 1994 08:49:37 GMT ",
                                        "Sun, 06 Xxx 1994 08:49:37 GMT",
                                        "Sun, 32 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 24:49:37 GMT",
                                        "Sun, 06 Nov 1994 08:60:37 GMT",
                                        "Sun, 06 Nov 1994 08:49:37 CET",
                                        "Sun, 06 Nov 1969 08:49:37 GMT"};

    (void)state;
    assert_int_equal(gateway_http_date(hf_slice_of("Sun, 06 Nov 1994 08:49:37 GMT"), NOW), NOW);
    assert_int_equal(gateway_http_date(hf_slice_of("Sunday, 06-Nov-94 08:49:37 GMT"), NOW), NOW);
    assert_int_equal(gateway_http_date(hf_slice_of("Sun Nov  6 08:49:37 1994"), NOW), NOW);
    assert_int_equal(gateway_http_date(hf_slice_of("Thu, 01 Jan 1970 00:00:00 GMT"), NOW), 0);
    assert_int_equal(gateway_http_date(hf_slice_of("Thu, 29 Feb 2024 12:00:00 GMT"), NOW), 1709208000);
    assert_int_equal(gateway_http_date(hf_slice_of("Fri, 31 Dec 9999 23:59:59 GMT"), NOW), INT64_C(253402300799));
    /* Two digits: not more than 50 years ahead. */
    assert_int_equal(gateway_http_date(hf_slice_of("Sunday, 06-Nov-94 08:49:37 GMT"), INT64_C(1764000000)), NOW);
    assert_true(gateway_http_date(hf_slice_of("Sunday, 06-Nov-44 08:49:37 GMT"), INT64_C(1764000000)) >
                INT64_C(1764000000));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(gateway_http_date(hf_slice_of(wrong[i]), NOW), -1);
}

/* ---- Storing ----------------------------------------------------------------------------------------------------- */

struct message {
    char request_text[512], answer_text[1024];
    hf_http1_head request, answer;
};

static void read_message(struct message *message, const char *method, const char *asks, const char *status,
                         const char *fields)
{
    snprintf(message->request_text, sizeof message->request_text, "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", method, asks);
    snprintf(message->answer_text, sizeof message->answer_text, "HTTP/1.1 %s\r\n%s\r\n", status, fields);
    assert_true(hf_http1_parse_request(hf_slice_of(message->request_text), &message->request, NULL) > 0);
    assert_true(hf_http1_parse_response(hf_slice_of(message->answer_text), message->request.method, &message->answer,
                                        NULL) > 0);
}

#define DATE  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define FRESH "Cache-Control: max-age=60\r\n"
#define BODY  "Content-Length: 10\r\n"
#define AUTH  "Authorization: x\r\n"

static void each_row_of_the_table(void **state)
{
    static const struct gateway_cache_rules strict = {.object_maximum = 1000};
    static const struct gateway_cache_rules lax = {
        .object_maximum = 1000, .default_ttl_s = 5, .stale_if_error_s = 100, .stale_while_revalidate_s = 10};
    static const struct {
        const char *method, *asks, *status, *fields;
        int64_t strict, lax; /* lifetime; -1: it is not stored */
    } rows[] = {
        {"GET", "", "200 OK", BODY FRESH, 60, 60},
        {"GET", "", "200 OK", BODY "Cache-Control: max-age=60, s-maxage=7\r\n", 7, 7},
        {"GET", "", "200 OK", BODY DATE "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", 60, 60},
        {"GET", "", "200 OK", BODY "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", 60, 60},
        {"GET", "", "200 OK", BODY FRESH "Expires: Sun, 06 Nov 1994 08:50:07 GMT\r\n", 60, 60},
        {"GET", "", "200 OK", BODY "Expires: 0\r\n", -1, 0}, /* in place of errors */
        {"GET", "", "200 OK", BODY "Expires: 0\r\nETag: \"a\"\r\n", 0, 0},
        {"GET", "", "200 OK", BODY, -1, 5},
        {"GET", "", "404 Not Found", BODY, -1, -1},
        {"GET", "", "404 Not Found", BODY FRESH, 60, 60},
        {"GET", "", "302 Found", BODY, -1, -1},
        {"GET", "", "302 Found", BODY FRESH, 60, 60},
        {"GET", "", "301 Moved", BODY, -1, 5},
        {"GET", "", "206 Partial", BODY FRESH "Content-Range: bytes 0-9/20\r\n", -1, -1},
        {"GET", "", "304 Not Modified", FRESH, -1, -1},
        {"GET", "", "500 Error", BODY FRESH, -1, -1},
        {"GET", "", "204 No Content", FRESH, -1, -1},
        {"HEAD", "", "200 OK", BODY FRESH, -1, -1},
        {"POST", "", "200 OK", BODY FRESH, -1, -1},
        {"GET", "", "200 OK", BODY "Cache-Control: no-store, max-age=60\r\n", -1, -1},
        {"GET", "", "200 OK", BODY FRESH "Cache-Control: private\r\n", -1, -1},
        {"GET", "", "200 OK", BODY FRESH "Set-Cookie: a=b\r\n", -1, -1},
        {"GET", "", "200 OK", BODY "Cache-Control: public, max-age=60\r\nSet-Cookie: a=b\r\n", -1, -1},
        {"GET", "", "200 OK", BODY FRESH "Vary: a, *\r\n", -1, -1},
        {"GET", "", "200 OK", BODY FRESH "Vary: a\r\n", 60, 60},
        {"GET", "", "200 OK", BODY "Cache-Control: no-cache\r\n", -1, -1},
        {"GET", "", "200 OK", BODY "Cache-Control: no-cache\r\nETag: \"a\"\r\n", 0, 5},
        {"GET", "", "200 OK", BODY "Cache-Control: max-age=0, must-revalidate\r\n", -1, -1},
        {"GET", "", "200 OK", BODY "Cache-Control: max-age=0, must-revalidate\r\nLast-Modified: x\r\n", 0, 0},
        {"GET", "", "200 OK", BODY "Cache-Control: max-age=0, stale-if-error=5\r\n", 0, 0},
        {"GET", "", "200 OK", BODY FRESH "Age: 60\r\n", -1, 60},
        {"GET", "", "200 OK", "Content-Length: 1000\r\n" FRESH, 60, 60},
        {"GET", "", "200 OK", "Content-Length: 1001\r\n" FRESH, -1, -1},
        {"GET", "", "200 OK", "Transfer-Encoding: chunked\r\n" FRESH, 60, 60},
        {"GET", AUTH, "200 OK", BODY FRESH, -1, -1},
        {"GET", AUTH, "200 OK", BODY "Cache-Control: public, max-age=60\r\n", 60, 60},
        {"GET", AUTH, "200 OK", BODY "Cache-Control: must-revalidate, max-age=60\r\n", 60, 60},
        {"GET", AUTH, "200 OK", BODY "Cache-Control: s-maxage=60\r\n", 60, 60},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gateway_freshness freshness;
        struct message message;

        read_message(&message, rows[i].method, rows[i].asks, rows[i].status, rows[i].fields);
        for (int is_lax = 0; is_lax < 2; is_lax++) {
            int64_t expected = is_lax ? rows[i].lax : rows[i].strict;
            int32_t stores =
                gateway_cache_stores(is_lax ? &lax : &strict, &message.request, &message.answer, NOW, 0, &freshness);

            if (stores != (expected >= 0))
                print_error("row %zu: %s\n", i, rows[i].fields);
            assert_int_equal(stores, expected >= 0);
            if (stores)
                assert_int_equal(freshness.lifetime_s, expected);
        }
    }
}

static struct gateway_freshness freshness_of(const struct gateway_cache_rules *rules, const char *fields, int64_t now_s,
                                             uint64_t delay_us)
{
    struct gateway_freshness freshness = {0};
    struct message message;

    read_message(&message, "GET", "", "200 OK", fields);
    assert_true(gateway_cache_stores(rules, &message.request, &message.answer, now_s, delay_us, &freshness));
    return freshness;
}

static void age_begins_before_it_comes(void **state)
{
    static const struct gateway_cache_rules rules = {.object_maximum = 1000};

    (void)state;
    assert_int_equal(freshness_of(&rules, BODY FRESH DATE, NOW, 0).initial_age_us, 0);
    assert_int_equal(freshness_of(&rules, BODY FRESH DATE, NOW + 7, 0).initial_age_us, 7 * S);
    assert_int_equal(freshness_of(&rules, BODY FRESH DATE, NOW - 7, 0).initial_age_us, 0);
    assert_int_equal(freshness_of(&rules, BODY FRESH "Age: 20\r\n", NOW, 3 * S).initial_age_us, 23 * S);
    assert_int_equal(freshness_of(&rules, BODY FRESH DATE "Age: 20\r\n", NOW + 30, 3 * S).initial_age_us, 30 * S);
    assert_int_equal(freshness_of(&rules, BODY FRESH "Age: x\r\n", NOW, 3 * S).initial_age_us, 3 * S);
}

/* ---- Using ------------------------------------------------------------------------------------------------------- */

static int32_t use(const char *fields, uint64_t age_us, const char *asks)
{
    static const struct gateway_cache_rules rules = {.object_maximum = 1000, .stale_if_error_s = 30};
    struct gateway_freshness freshness = freshness_of(&rules, fields, NOW, 0);
    struct gateway_cache_control wishes;
    struct message message;

    read_message(&message, "GET", asks, "200 OK", fields);
    gateway_cache_control_read(&wishes, &message.request);
    return gateway_cache_use(&freshness, age_us, &message.request, &wishes);
}

static void fresh_ones_are_used(void **state)
{
    const char *strict = BODY "ETag: \"a\"\r\nCache-Control: max-age=60, must-revalidate\r\n";

    (void)state;
    assert_int_equal(use(BODY FRESH, 0, ""), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY FRESH, 60 * S - 1, ""), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY FRESH, 60 * S, ""), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 10 * S, "Cache-Control: no-cache\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 10 * S, "Pragma: no-cache\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 10 * S, "Pragma: no-cache\r\nCache-Control: max-age=99\r\n"), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY FRESH, 10 * S, "Cache-Control: max-age=10\r\n"), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY FRESH, 10 * S + 1, "Cache-Control: max-age=10\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 1, "Cache-Control: max-age=0\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 10 * S, "Cache-Control: min-fresh=50\r\n"), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY FRESH, 11 * S, "Cache-Control: min-fresh=50\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(strict, 10 * S, ""), GATEWAY_USE_FRESH);
    assert_int_equal(use(BODY "ETag: \"a\"\r\nCache-Control: no-cache, max-age=60\r\n", 0, ""), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 0, AUTH), GATEWAY_USE_NOT); /* what all may see need not be for them */
    assert_int_equal(use(BODY "Cache-Control: public, max-age=60\r\n", 0, AUTH), GATEWAY_USE_FRESH);
}

static void stale_ones_only_where_that_is_allowed(void **state)
{
    const char *refreshed = BODY "Cache-Control: max-age=60, stale-while-revalidate=10\r\n";
    const char *strict = BODY "Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=10\r\n";
    const char *shared = BODY "Cache-Control: s-maxage=60\r\n";

    (void)state;
    assert_int_equal(use(refreshed, 60 * S, ""), GATEWAY_USE_REFRESH);
    assert_int_equal(use(refreshed, 70 * S - 1, ""), GATEWAY_USE_REFRESH);
    assert_int_equal(use(refreshed, 70 * S, ""), GATEWAY_USE_NOT);
    assert_int_equal(use(refreshed, 65 * S, "Cache-Control: min-fresh=1\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(strict, 60 * S, ""), GATEWAY_USE_NOT);
    assert_int_equal(use(BODY FRESH, 65 * S, "Cache-Control: max-stale\r\n"), GATEWAY_USE_WANTED_STALE);
    assert_int_equal(use(BODY FRESH, 65 * S, "Cache-Control: max-stale=5\r\n"), GATEWAY_USE_WANTED_STALE);
    assert_int_equal(use(BODY FRESH, 66 * S, "Cache-Control: max-stale=5\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(strict, 65 * S, "Cache-Control: max-stale\r\n"), GATEWAY_USE_NOT);
    assert_int_equal(use(shared, 65 * S, "Cache-Control: max-stale\r\n"), GATEWAY_USE_NOT);
}

static int32_t use_on_error(const char *fields, uint64_t age_us, const char *asks)
{
    static const struct gateway_cache_rules rules = {.object_maximum = 1000, .stale_if_error_s = 30};
    struct gateway_freshness freshness = freshness_of(&rules, fields, NOW, 0);
    struct message message;

    read_message(&message, "GET", asks, "200 OK", fields);
    return gateway_cache_use_on_error(&freshness, age_us, &message.request);
}

static void errors_are_covered_for_some_time(void **state)
{
    (void)state;
    assert_true(use_on_error(BODY FRESH, 10 * S, ""));
    assert_true(use_on_error(BODY FRESH, 90 * S - 1, ""));
    assert_false(use_on_error(BODY FRESH, 90 * S, ""));
    assert_true(use_on_error(BODY "Cache-Control: max-age=60, stale-if-error=100\r\n", 150 * S, ""));
    assert_false(use_on_error(BODY "Cache-Control: max-age=60, stale-if-error=0\r\n", 60 * S, ""));
    assert_true(use_on_error(BODY "Cache-Control: s-maxage=60\r\n", 80 * S, ""));
    assert_false(use_on_error(BODY "Cache-Control: max-age=60, must-revalidate\r\n", 10 * S, ""));
    assert_false(use_on_error(BODY "Cache-Control: max-age=60, proxy-revalidate\r\n", 10 * S, ""));
    assert_false(use_on_error(BODY "ETag: \"a\"\r\nCache-Control: max-age=60, no-cache\r\n", 10 * S, ""));
    assert_false(use_on_error(BODY FRESH, 10 * S, AUTH));
    assert_true(gateway_cache_is_error(500) && gateway_cache_is_error(502) && gateway_cache_is_error(503) &&
                gateway_cache_is_error(504));
    assert_false(gateway_cache_is_error(501) || gateway_cache_is_error(404) || gateway_cache_is_error(200));
}

static void requests_that_look(void **state)
{
    static const char *const not [] = {"Range: bytes=0-1\r\n",
                                       "If-Match: \"a\"\r\n",
                                       "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                                       "If-Range: \"a\"\r\n",
                                       "Upgrade: websocket\r\n",
                                       "Content-Length: 1\r\n",
                                       "Cache-Control: no-store\r\n"};
    struct gateway_cache_control wishes;
    struct message message;

    (void)state;
    read_message(&message, "GET", "If-None-Match: \"a\"\r\n", "200 OK", "");
    gateway_cache_control_read(&wishes, &message.request);
    assert_true(gateway_cache_looks(&message.request, &wishes));
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++) {
        read_message(&message, "GET", not [i], "200 OK", "");
        gateway_cache_control_read(&wishes, &message.request);
        assert_false(gateway_cache_looks(&message.request, &wishes));
    }
    assert_true(gateway_cache_invalidates(hf_slice_of("POST")) && gateway_cache_invalidates(hf_slice_of("X-OWN")));
    assert_false(gateway_cache_invalidates(hf_slice_of("GET")) || gateway_cache_invalidates(hf_slice_of("OPTIONS")));
}

static int32_t not_modified(const char *asks, const char *etag)
{
    struct message message;
    hf_slice none = {NULL, 0};

    read_message(&message, "GET", asks, "200 OK", "");
    return gateway_cache_not_modified(&message.request, etag ? hf_slice_of(etag) : none,
                                      hf_slice_of("Sun, 06 Nov 1994 08:49:37 GMT"), NOW);
}

static void what_a_client_has_already(void **state)
{
    (void)state;
    assert_true(not_modified("If-None-Match: \"a\"\r\n", "\"a\""));
    assert_true(not_modified("If-None-Match: W/\"a\"\r\n", "\"a\""));
    assert_true(not_modified("If-None-Match: \"x, \", \"a\"\r\n", "W/\"a\""));
    assert_true(not_modified("If-None-Match: \"x\"\r\nIf-None-Match: \"a\"\r\n", "\"a\""));
    assert_true(not_modified("If-None-Match: *\r\n", NULL));
    assert_false(not_modified("If-None-Match: \"b\"\r\n", "\"a\""));
    assert_false(not_modified("If-None-Match: \"b, \"a\"\"\r\n", "\"c\""));
    assert_false(not_modified("If-None-Match: a\r\n", "\"a\""));
    assert_false(not_modified("If-None-Match: \"a\"\r\n", NULL));
    assert_true(not_modified("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", NULL));
    assert_false(not_modified("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", NULL));
    assert_false(not_modified("If-Modified-Since: soon\r\n", NULL));
    assert_false(not_modified("If-None-Match: \"b\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "\"a\""));
    assert_false(not_modified("", "\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(directives_are_read),
                                       cmocka_unit_test(dates_are_read),
                                       cmocka_unit_test(each_row_of_the_table),
                                       cmocka_unit_test(age_begins_before_it_comes),
                                       cmocka_unit_test(fresh_ones_are_used),
                                       cmocka_unit_test(stale_ones_only_where_that_is_allowed),
                                       cmocka_unit_test(errors_are_covered_for_some_time),
                                       cmocka_unit_test(requests_that_look),
                                       cmocka_unit_test(what_a_client_has_already)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
