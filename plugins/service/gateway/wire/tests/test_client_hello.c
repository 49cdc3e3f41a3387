/* Shows that the name is found in what a real client sends, however it is cut, and that what is no ClientHello is
 * refused as soon as that can be seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/client_hello.h"

#include <openssl/ssl.h>
#include <string.h>

enum { HELLO_MAX = 4096, RECORD_HEAD = 5 };

/* What OpenSSL sends first; `name` may be NULL. */
static uint64_t make_hello(const char *name, int version, uint8_t to[HELLO_MAX])
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
    SSL *ssl = SSL_new(context);

    SSL_set_max_proto_version(ssl, version);
    SSL_set_bio(ssl, in, out);
    if (name)
        assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
    SSL_set_connect_state(ssl);
    assert_int_equal(SSL_do_handshake(ssl), -1);
    int size = BIO_read(out, to, HELLO_MAX);

    assert_true(size > RECORD_HEAD && size < HELLO_MAX);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return (uint64_t)size;
}

static int32_t read_hello(const uint8_t *bytes, uint64_t size, struct gateway_client_hello *hello)
{
    return gateway_client_hello_read((hf_slice){bytes, size}, hello, NULL);
}

static void the_name_of_a_real_client_is_found(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct gateway_client_hello hello;
    uint8_t bytes[HELLO_MAX];

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint64_t size = make_hello("Support.Example-1.com", versions[i], bytes);

        assert_int_equal(read_hello(bytes, size, &hello), 1);
        assert_string_equal(hello.server_name, "support.example-1.com");
        for (uint64_t shorter = 0; shorter < size; shorter++) {
            assert_int_equal(read_hello(bytes, shorter, &hello), 0);
            assert_string_equal(hello.server_name, "");
        }
        size = make_hello(NULL, versions[i], bytes);
        assert_int_equal(read_hello(bytes, size, &hello), 1);
        assert_string_equal(hello.server_name, "");
    }
}

/* The same message in records of `part` bytes. */
static uint64_t divide(const uint8_t *bytes, uint64_t size, uint64_t part, uint8_t *to)
{
    uint64_t written = 0;

    for (uint64_t at = RECORD_HEAD; at < size; at += part) {
        uint64_t length = size - at < part ? size - at : part;

        memcpy(to + written, bytes, 3);
        to[written + 3] = (uint8_t)(length >> 8);
        to[written + 4] = (uint8_t)length;
        memcpy(to + written + RECORD_HEAD, bytes + at, length);
        written += RECORD_HEAD + length;
    }
    return written;
}

static void the_message_may_be_divided_over_records(void **state)
{
    static uint8_t divided[HELLO_MAX * (1 + RECORD_HEAD)];
    struct gateway_client_hello hello;
    uint8_t bytes[HELLO_MAX];

    (void)state;
    uint64_t size = make_hello("support.example", TLS1_3_VERSION, bytes);

    for (uint64_t part = 1; part < size; part++) {
        uint64_t all = divide(bytes, size, part, divided);

        assert_int_equal(read_hello(divided, all, &hello), 1);
        assert_string_equal(hello.server_name, "support.example");
        assert_int_equal(read_hello(divided, all - 1, &hello), 0);
    }
}

static void what_is_no_hello_is_refused_early(void **state)
{
    static const uint8_t empty_record[] = {22, 3, 1, 0, 0}, alert[] = {21, 3}, old[] = {22, 2},
                         other_message[] = {22, 3, 1, 0, 4, 2, 0, 0, 0}, too_long[] = {22, 3, 1, 0x40, 1};
    struct gateway_client_hello hello;

    (void)state;
    assert_int_equal(read_hello((const uint8_t *)"GET / HTTP/1.1", 1, &hello), HF_EPROTOCOL);
    assert_int_equal(read_hello(alert, sizeof alert, &hello), HF_EPROTOCOL);
    assert_int_equal(read_hello(old, sizeof old, &hello), HF_EPROTOCOL);
    assert_int_equal(read_hello(empty_record, sizeof empty_record, &hello), HF_EPROTOCOL);
    assert_int_equal(read_hello(other_message, 6, &hello), HF_EPROTOCOL);
    assert_int_equal(read_hello(too_long, sizeof too_long, &hello), HF_EPROTOCOL);
}

/* Finds the name inside a real hello and puts other bytes in its place. */
static void expect_refused_name(const char *name, uint64_t length)
{
    struct gateway_client_hello hello;
    uint8_t bytes[HELLO_MAX];
    uint64_t size = make_hello("aaaaaaaaaaaa", TLS1_3_VERSION, bytes);
    uint8_t *at = memmem(bytes, size, "aaaaaaaaaaaa", 12);

    assert_non_null(at);
    assert_true(length <= 12);
    memcpy(at, name, length);
    assert_int_equal(read_hello(bytes, size, &hello), HF_EPROTOCOL);
    assert_string_equal(hello.server_name, "");
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    expect_refused_name("a\0b", 3);
    expect_refused_name(".a", 2);
    expect_refused_name("a..b", 4);
    expect_refused_name("a/b", 3);
    expect_refused_name("aaaaaaaaaaa.", 12);
    expect_refused_name("\xc3\xa4", 2);
}

/* No bit that is flipped makes it read beyond its bytes (the sanitizers watch) or never come to an end. */
static void a_damaged_hello_has_an_answer(void **state)
{
    struct gateway_client_hello hello;
    uint8_t bytes[HELLO_MAX];

    (void)state;
    uint64_t size = make_hello("support.example", TLS1_3_VERSION, bytes);

    for (uint64_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int32_t result = read_hello(bytes, size, &hello);
        assert_true(result == 0 || result == 1 || result == HF_EPROTOCOL);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void an_endless_hello_is_refused(void **state)
{
    static uint8_t bytes[GATEWAY_HELLO_MAX + 1];
    struct gateway_client_hello hello;

    (void)state;
    for (uint64_t at = 0; at + RECORD_HEAD <= sizeof bytes; at += RECORD_HEAD + 16384)
        memcpy(bytes + at, (const uint8_t[]){22, 3, 1, 0x40, 0}, RECORD_HEAD);
    memcpy(bytes + RECORD_HEAD, (const uint8_t[]){1, 0xff, 0xff, 0xff, 3, 3}, 6);
    memcpy(bytes + RECORD_HEAD + 6 + 32, (const uint8_t[]){0, 0, 2, 0x13, 1, 1, 0, 0xff, 0xff}, 9);
    /* The lengths do not agree, so it is malformed; with room for one huge extension it would go on for ever. */
    assert_int_equal(read_hello(bytes, sizeof bytes, &hello), HF_EPROTOCOL);
    memcpy(bytes + RECORD_HEAD, (const uint8_t[]){1, 1, 0, 0x2a, 3, 3}, 6); /* 65578 bytes, 65535 of extensions */
    memcpy(bytes + RECORD_HEAD + 6 + 32 + 9, (const uint8_t[]){0xaa, 0xaa, 0xff, 0xfb}, 4);
    assert_int_equal(read_hello(bytes, GATEWAY_HELLO_MAX - 1, &hello), 0);
    assert_int_equal(read_hello(bytes, sizeof bytes, &hello), HF_ETOOLARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_of_a_real_client_is_found), cmocka_unit_test(the_message_may_be_divided_over_records),
        cmocka_unit_test(what_is_no_hello_is_refused_early),  cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(a_damaged_hello_has_an_answer),      cmocka_unit_test(an_endless_hello_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
