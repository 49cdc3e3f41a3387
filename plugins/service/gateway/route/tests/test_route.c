/* Shows what is read from a request, which route it takes, and what its key is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "route/key.h"
#include "route/match.h"
#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

static hf_arena arena;
static hf_http1_head head;
static struct gateway_request request;
static char text[2048];

static int set_up(void **state)
{
    (void)state;
    hf_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_arena_done(&arena);
    return 0;
}

/* A request for the target with those fields. */
static int32_t read_request(const char *target, const char *fields)
{
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n%s\r\n", target, fields);
    assert_true(hf_http1_parse_request(hf_slice_of(text), &head, NULL) > 0);
    return gateway_request_read(&head, hf_slice_of("192.0.2.1"), &arena, &request, NULL);
}

static void expect_slice(hf_slice slice, const char *expected)
{
    char got[512];

    if (!expected) {
        assert_null(slice.data);
        return;
    }
    snprintf(got, sizeof got, "%.*s", (int)slice.size, (const char *)slice.data);
    assert_string_equal(got, expected);
}

static void expect_path(const char *target, const char *path)
{
    assert_int_equal(read_request(target, "Host: a\r\n"), HF_OK);
    expect_slice(request.path, path);
}

static void paths_are_one_however_written(void **state)
{
    (void)state;
    expect_path("/", "/");
    expect_path("/a/b", "/a/b");
    expect_path("/a/b/?q=/..", "/a/b/");
    expect_path("//a///b", "/a/b");
    expect_path("/a/./b/.", "/a/b/");
    expect_path("/a/../b", "/b");
    expect_path("/a/b/..", "/a/");
    expect_path("/a/..", "/");
    expect_path("/open/%2e%2E/closed", "/closed");
    expect_path("/a%2Fb%20c", "/a/b c");
    expect_path("/...", "/...");
    expect_path("http://a", "/");
    expect_path("http://a/b#c", "/b");
}

static void paths_that_are_none_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_request("/..", "Host: a\r\n"), HF_EINVAL);
    assert_int_equal(read_request("/a/../../b", "Host: a\r\n"), HF_EINVAL);
    assert_int_equal(read_request("/a%00b", "Host: a\r\n"), HF_EINVAL);
    assert_int_equal(read_request("/a%2", "Host: a\r\n"), HF_EINVAL);
    assert_int_equal(read_request("a", "Host: a\r\n"), HF_EINVAL);
}

static void dots_that_servers_read_in_different_ways_are_refused(void **state)
{
    static const char *const doubtful[] = {"/a/..%2fb", "/a%2F../b",   "/a%2f..",  "/a/../b%2fc",
                                           "/a\\..\\b", "/a%5c..%5Cb", "/a/..;/b", "/a/.;x/b",
                                           "/..;/b",    "/a/..%3b/b",  "/a;/../b", "/a/%2e%2e;b"};
    static const char *const certain[] = {"/a%2fb",   "/a\\b",    "/a;b=../c", "/a%2f..b",
                                          "/a/b..;c", "/a/...;c", "/a;..",     "/;"};

    (void)state;
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++)
        assert_int_equal(read_request(doubtful[i], "Host: a\r\n"), HF_EINVAL);
    for (size_t i = 0; i < sizeof certain / sizeof *certain; i++)
        assert_int_equal(read_request(certain[i], "Host: a\r\n"), HF_OK);
}

static void tunnels_are_refused(void **state)
{
    (void)state;
    snprintf(text, sizeof text, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(hf_http1_parse_request(hf_slice_of(text), &head, NULL) > 0);
    assert_int_equal(gateway_request_read(&head, hf_slice_of("192.0.2.1"), &arena, &request, NULL), HF_EUNSUPPORTED);
}

static void hosts_have_no_port(void **state)
{
    static const char *const hosts[][2] = {
        {"a.example", "a.example"},     {"a.example:8080", "a.example"},        {"a.example.", "a.example"},
        {"a.example.:80", "a.example"}, {"[2001:db8::1]:443", "[2001:db8::1]"}, {"[2001:db8::1]", "[2001:db8::1]"},
        {"192.0.2.1", "192.0.2.1"},
    };
    char fields[64];

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        snprintf(fields, sizeof fields, "Host: %s\r\n", hosts[i][0]);
        assert_int_equal(read_request("/", fields), HF_OK);
        expect_slice(request.host, hosts[i][1]);
    }
    assert_int_equal(read_request("http://b:1/", "Host: a\r\n"), HF_OK);
    expect_slice(request.host, "b");
}

static void parts_are_found_by_name(void **state)
{
    (void)state;
    assert_int_equal(read_request("/?a%20b=1+2&c&a+b=3", "Host: a\r\nCookie: x=1;y=2; z\r\ncookie: u=a=b\r\nX-E:\r\n"),
                     HF_OK);
    expect_slice(gateway_request_argument(&request, hf_slice_of("a b"), &arena), "1 2");
    expect_slice(gateway_request_argument(&request, hf_slice_of("c"), &arena), "");
    expect_slice(gateway_request_argument(&request, hf_slice_of("d"), &arena), NULL);
    expect_slice(gateway_request_cookie(&request, hf_slice_of("x")), "1");
    expect_slice(gateway_request_cookie(&request, hf_slice_of("y")), "2");
    expect_slice(gateway_request_cookie(&request, hf_slice_of("z")), NULL);
    expect_slice(gateway_request_cookie(&request, hf_slice_of("u")), "a=b");
    expect_slice(gateway_request_cookie(&request, hf_slice_of("X")), NULL);
    expect_slice(gateway_request_field(&request, hf_slice_of("x-e")), "");
    expect_slice(gateway_request_field(&request, hf_slice_of("x-f")), NULL);
}

static void the_first_rule_that_matches_is_taken(void **state)
{
    const hf_slice hosts[] = {hf_slice_of("a.example"), hf_slice_of("*.b.example")};
    const hf_slice methods[] = {hf_slice_of("POST")};
    const struct gateway_condition conditions[] = {
        {GATEWAY_OF_FIELD, GATEWAY_BEGINS, hf_slice_of("x-line"), hf_slice_of("gold")},
        {GATEWAY_OF_COOKIE, GATEWAY_IS_ABSENT, hf_slice_of("old"), {NULL, 0}},
        {GATEWAY_OF_ARGUMENT, GATEWAY_IS_EQUAL, hf_slice_of("v"), hf_slice_of("2")},
    };
    const struct gateway_rule rules[] = {
        {.path = hf_slice_of("/exact"), .path_test = GATEWAY_PATH_EXACT},
        {.path = hf_slice_of("/c"), .conditions = conditions, .condition_count = 3},
        {.methods = methods, .method_count = 1},
        {.path = hf_slice_of("/p")},
        {.hosts = hosts, .host_count = 2, .path = hf_slice_of("/q/")},
    };
    static const struct {
        const char *target, *fields;
        int32_t expected;
    } cases[] = {
        {"/exact", "Host: x\r\n", 0},
        {"/exact/", "Host: x\r\n", -1},
        {"/c/d?v=2", "Host: x\r\nX-Line: golden\r\n", 1},
        {"/c/d?v=2", "Host: x\r\nX-Line: gold\r\nCookie: old=1\r\n", -1},
        {"/c/d?v=3", "Host: x\r\nX-Line: gold\r\n", -1},
        {"/c/d?v=2", "Host: x\r\nX-Line: silver\r\n", -1},
        {"/p", "Host: x\r\n", 3},
        {"/p/q/r", "Host: x\r\n", 3},
        {"/pq", "Host: x\r\n", -1},
        {"/%70/x", "Host: x\r\n", 3},
        {"/q/z", "Host: A.EXAMPLE:80\r\n", 4},
        {"/q/z", "Host: x.y.b.example\r\n", 4},
        {"/q/z", "Host: b.example\r\n", -1},
        {"/q/z", "Host: xb.example\r\n", -1},
        {"/q", "Host: a.example\r\n", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_request(cases[i].target, cases[i].fields), HF_OK);
        assert_int_equal(gateway_match(rules, 5, &request, &arena), cases[i].expected);
    }
    assert_int_equal(read_request("/other", "Host: x\r\n"), HF_OK);
    head.method = hf_slice_of("POST");
    assert_int_equal(gateway_match(rules, 5, &request, &arena), 2);
}

static void expect_key(int32_t of, const char *name, const char *body, const char *value)
{
    struct gateway_key key = {of, hf_slice_of(name)};
    uint64_t hash = 0;

    assert_int_equal(gateway_key_hash(&key, &request, hf_slice_of(body), &arena, &hash), value != NULL);
    if (value)
        assert_int_equal(hash, hf_hash64(0, value, strlen(value)));
}

static void keys_are_of_what_is_asked(void **state)
{
    (void)state;
    assert_int_equal(read_request("/a/../p?user=u%201", "Host: a\r\nX-User: 7\r\nCookie: s=k\r\nX-Empty:\r\n"), HF_OK);
    expect_key(GATEWAY_KEY_CLIENT, "", "", "192.0.2.1");
    expect_key(GATEWAY_KEY_FIELD, "x-user", "", "7");
    expect_key(GATEWAY_KEY_FIELD, "x-empty", "", NULL);
    expect_key(GATEWAY_KEY_FIELD, "x-other", "", NULL);
    expect_key(GATEWAY_KEY_COOKIE, "s", "", "k");
    expect_key(GATEWAY_KEY_PATH, "", "", "/p");
    expect_key(GATEWAY_KEY_ARGUMENT, "user", "", "u 1");
    expect_key(GATEWAY_KEY_BODY, "user", "{\"a\":{\"user\":\"x\"},\"user\":\"u1\"}", "u1");
    expect_key(GATEWAY_KEY_BODY, "user", "{\"user\":-12}", "-12");
    expect_key(GATEWAY_KEY_BODY, "user", "{\"user\":null}", NULL);
    expect_key(GATEWAY_KEY_BODY, "user", "{\"user\":\"u1\",\"rest\":\"is not here y", "u1");
    expect_key(GATEWAY_KEY_BODY, "user", "[1]", NULL);
    expect_key(GATEWAY_KEY_BODY, "user", "user=1", NULL);
    expect_key(GATEWAY_KEY_BODY, "user", "", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_are_one_however_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_that_are_none_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dots_that_servers_read_in_different_ways_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tunnels_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hosts_have_no_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_are_found_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_rule_that_matches_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_of_what_is_asked, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
