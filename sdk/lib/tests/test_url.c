#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/url.h>

static hf_slice text(const char *string)
{
    return (hf_slice){(const uint8_t *)string, strlen(string)};
}

static void assert_slice(hf_slice slice, const char *expected)
{
    if (!expected) {
        assert_null(slice.data);
        return;
    }
    assert_int_equal(slice.size, strlen(expected));
    assert_memory_equal(slice.data, expected, slice.size);
}

static void test_split(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/", "/", NULL},         {"/a/b?x=1&y#f?z", "/a/b", "x=1&y"},
        {"/a?", "/a", ""},        {"http://h:1/p?q", "/p", "q"},
        {"https://h", "/", NULL}, {"https://h?q", "/", "q"},
        {"//a", "//a", NULL},
    };
    static const char *const bad[] = {"", "*", "a", "http:/a", "://a", "/a b", "/\x7f", "/\xc3\xa4"};
    hf_slice path, query;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(hf_url_split(text(rows[i].target), &path, &query, NULL), 0);
        assert_slice(path, rows[i].path);
        assert_slice(query, rows[i].query);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hf_url_split(text(bad[i]), &path, &query, NULL), HF_EINVAL);
}

static void test_decode(void **state)
{
    hf_slice plain = text("plain"), decoded;
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 1 << 16);
    assert_int_equal(hf_url_decode(plain, 1, &arena, &decoded, NULL), 0);
    assert_ptr_equal(decoded.data, plain.data);
    assert_int_equal(hf_url_decode(text("a%2Fb+c%e4%BD%A0"), 0, &arena, &decoded, NULL), 0);
    assert_slice(decoded, "a/b+c\xe4\xbd\xa0");
    assert_int_equal(hf_url_decode(text("a+b%2b"), 1, &arena, &decoded, NULL), 0);
    assert_slice(decoded, "a b+");
    assert_int_equal(hf_url_decode(text("%"), 0, &arena, &decoded, NULL), HF_EINVAL);
    assert_int_equal(hf_url_decode(text("%4"), 0, &arena, &decoded, NULL), HF_EINVAL);
    assert_int_equal(hf_url_decode(text("%4g"), 0, &arena, &decoded, NULL), HF_EINVAL);
    hf_arena_done(&arena);
}

/* Every byte survives encoding and decoding. */
static void test_round_trip(void **state)
{
    uint8_t all[256];
    hf_buffer encoded;
    hf_slice decoded;
    hf_arena arena;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    hf_arena_init(&arena, 1 << 16);
    hf_buffer_init(&encoded, 1 << 16);
    assert_int_equal(hf_url_append_encoded(&encoded, (hf_slice){all, sizeof all}), 0);
    for (uint64_t i = 0; i < encoded.size; i++)
        assert_true(encoded.data[i] > ' ' && encoded.data[i] < 0x7f && !strchr("/?#&=+", encoded.data[i]));
    assert_int_equal(hf_url_decode((hf_slice){encoded.data, encoded.size}, 1, &arena, &decoded, NULL), 0);
    assert_int_equal(decoded.size, sizeof all);
    assert_memory_equal(decoded.data, all, sizeof all);
    hf_buffer_done(&encoded);
    hf_arena_done(&arena);
}

static void test_query(void **state)
{
    hf_slice query = text("a=1&&b&c=x=y&="), name, value;
    uint64_t cursor = 0;

    (void)state;
    assert_int_equal(hf_url_query_next(query, &cursor, &name, &value), 1);
    assert_slice(name, "a");
    assert_slice(value, "1");
    assert_int_equal(hf_url_query_next(query, &cursor, &name, &value), 1);
    assert_slice(name, "b");
    assert_slice(value, NULL);
    assert_int_equal(hf_url_query_next(query, &cursor, &name, &value), 1);
    assert_slice(name, "c");
    assert_slice(value, "x=y");
    assert_int_equal(hf_url_query_next(query, &cursor, &name, &value), 1);
    assert_slice(name, "");
    assert_slice(value, "");
    assert_int_equal(hf_url_query_next(query, &cursor, &name, &value), 0);
}

static void test_address(void **state)
{
    static const char *const bad[] = {
        "",      "host",  ":80",   "host:",   "host:x", "host:65536",
        "::1:1", "[::1]", "[]:80", "[::1]80", "unix:",  "a-host-name-that-is-too-long:80"};
    char host[24], port[8];

    (void)state;
    assert_int_equal(hf_url_split_address("localhost:7400", host, sizeof host, port, sizeof port, NULL), 0);
    assert_string_equal(host, "localhost");
    assert_string_equal(port, "7400");
    assert_int_equal(hf_url_split_address("[::1]:0", host, sizeof host, port, sizeof port, NULL), 0);
    assert_string_equal(host, "::1");
    assert_string_equal(port, "0");
    assert_int_equal(hf_url_split_address("unix:/run/x.sock", host, sizeof host, port, sizeof port, NULL), 0);
    assert_string_equal(host, "unix:/run/x.sock");
    assert_string_equal(port, "");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hf_url_split_address(bad[i], host, sizeof host, port, sizeof port, NULL), HF_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split), cmocka_unit_test(test_decode),  cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_query), cmocka_unit_test(test_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
