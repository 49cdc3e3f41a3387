/* Shows that headers of both versions are read and written as the specification says, come in any pieces, and that
 * whatever two readers could understand in two ways is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define BYTES(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"

static const char *address_text(const struct sockaddr_storage *address)
{
    static char text[2][INET6_ADDRSTRLEN + 8];
    static int turn;
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;

    turn = !turn;
    inet_ntop(address->ss_family, address->ss_family == AF_INET ? (const void *)&four->sin_addr : &six->sin6_addr, ip,
              sizeof ip);
    snprintf(text[turn], sizeof text[turn], "%s %u", ip, ntohs(four->sin_port));
    return text[turn];
}

static void set_address(struct sockaddr_storage *address, const char *ip, uint16_t port)
{
    struct sockaddr_in *four = (void *)address;
    struct sockaddr_in6 *six = (void *)address;

    *address = (struct sockaddr_storage){.ss_family = strchr(ip, ':') ? AF_INET6 : AF_INET};
    four->sin_port = htons(port);
    assert_int_equal(inet_pton(address->ss_family, ip,
                               address->ss_family == AF_INET ? (void *)&four->sin_addr : (void *)&six->sin6_addr),
                     1);
}

/* Reads it, and every shorter piece of it, which needs more. */
static int64_t read_all(hf_slice bytes, struct gateway_proxy_header *header)
{
    int64_t size = gateway_proxy_read(bytes, header, NULL);

    for (int64_t i = 0; i < size; i++) {
        struct gateway_proxy_header shorter;
        assert_int_equal(gateway_proxy_read((hf_slice){bytes.data, (uint64_t)i}, &shorter, NULL), 0);
    }
    return size;
}

static void lines_are_read(void **state)
{
    struct gateway_proxy_header header;

    (void)state;
    assert_int_equal(read_all(BYTES("PROXY TCP4 192.168.0.1 10.0.0.11 56324 443\r\nGET /"), &header), 44);
    assert_false(header.is_local);
    assert_string_equal(address_text(&header.source), "192.168.0.1 56324");
    assert_string_equal(address_text(&header.destination), "10.0.0.11 443");
    assert_int_equal(read_all(BYTES("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), &header), 36);
    assert_string_equal(address_text(&header.source), "2001:db8::1 0");
    assert_string_equal(address_text(&header.destination), "::1 65535");
    assert_int_equal(read_all(BYTES("PROXY UNKNOWN\r\n"), &header), 15);
    assert_true(header.is_local);
    assert_int_equal(read_all(BYTES("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), &header), 43);
    assert_true(header.is_local);
}

static void what_is_no_line_is_refused(void **state)
{
    static const hf_slice wrong[] = {
        {(const uint8_t *)"GET / HTTP/1.1\r\n", 16},
        {(const uint8_t *)"G", 1},
        {(const uint8_t *)"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 32},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", 31},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n", 33},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", 33},
        {(const uint8_t *)"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", 33},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 30},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", 33},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", 36},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", 33},
        {(const uint8_t *)"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", 33},
        {(const uint8_t *)"PROXY TCP4 ::1 ::1 1 1\r\n", 24},
        {(const uint8_t *)"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", 32},
        {(const uint8_t *)"PROXY TCP6 ::1%lo ::1 1 1\r\n", 27},
        {(const uint8_t *)"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", 32},
        {(const uint8_t *)"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n", 33},
        {(const uint8_t *)"PROXY \r\n", 8},
    };
    struct gateway_proxy_header header;
    char longer[108];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(gateway_proxy_read(wrong[i], &header, NULL), HF_EPROTOCOL);
    memset(longer, ' ', sizeof longer);
    memcpy(longer, "PROXY UNKNOWN", 13);
    assert_int_equal(gateway_proxy_read((hf_slice){(uint8_t *)longer, 106}, &header, NULL), 0);
    assert_int_equal(gateway_proxy_read((hf_slice){(uint8_t *)longer, 107}, &header, NULL), HF_EPROTOCOL);
}

static void binary_headers_are_read(void **state)
{
    struct gateway_proxy_header header;

    (void)state;
    assert_int_equal(read_all(BYTES(SIGNATURE "\x21\x11\0\x0c\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbbrest"), &header), 28);
    assert_string_equal(address_text(&header.source), "10.0.0.1 12345");
    assert_string_equal(address_text(&header.destination), "10.0.0.2 443");
    assert_int_equal(header.authority.size, 0);
    /* A fact that nobody knows, and the authority. */
    assert_int_equal(read_all(BYTES(SIGNATURE "\x21\x11\0\x15\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb"
                                              "\xea\0\1x\2\0\2hf"),
                              &header),
                     37);
    assert_int_equal(header.authority.size, 2);
    assert_memory_equal(header.authority.data, "hf", 2);
    assert_int_equal(read_all(BYTES(SIGNATURE "\x20\0\0\0"), &header), 16);
    assert_true(header.is_local);
    assert_int_equal(read_all(BYTES(SIGNATURE "\x20\x11\0\x0c\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb"), &header), 28);
    assert_true(header.is_local);
    assert_int_equal(read_all(BYTES(SIGNATURE "\x21\x31\0\3abc"), &header), 19); /* a Unix socket's */
    assert_true(header.is_local);
}

static void malformed_binary_headers_are_refused(void **state)
{
    static const hf_slice wrong[] = {
        BYTES("\r\n\r\n\0\r\nQUIT!"),
        BYTES(SIGNATURE "\x11\x11\0\0"),                                                 /* version 1 */
        BYTES(SIGNATURE "\x22\x11\0\0"),                                                 /* command 2 */
        BYTES(SIGNATURE "\x21\x11\0\x0b\x0a\0\0\1\x0a\0\0\2\x30\x39\x01"),               /* addresses cut off */
        BYTES(SIGNATURE "\x21\x21\0\x0c\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb"),           /* too short for IPv6 */
        BYTES(SIGNATURE "\x21\x11\0\x0e\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb\2\0"),       /* half a TLV's head */
        BYTES(SIGNATURE "\x21\x11\0\x10\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb\2\0\2x"),    /* TLV past the end */
        BYTES(SIGNATURE "\x21\x11\0\x12\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb\3\0\3xyz"),  /* checksum of 3 bytes */
        BYTES(SIGNATURE "\x21\x11\0\x13\x0a\0\0\1\x0a\0\0\2\x30\x39\x01\xbb\3\0\4wxyz"), /* a wrong one */
    };
    struct gateway_proxy_header header;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(gateway_proxy_read(wrong[i], &header, NULL), HF_EPROTOCOL);
}

static void what_is_written_is_read_again(void **state)
{
    static const char *const pairs[][2] = {{"192.0.2.7", "198.51.100.9"}, {"2001:db8::7", "2001:db8:ffff::9"}};
    uint8_t bytes[GATEWAY_PROXY_WRITE_MAX];
    struct gateway_proxy_header header = {0}, again;

    (void)state;
    for (int i = 0; i < 4; i++) {
        int version = 1 + i / 2;

        set_address(&header.source, pairs[i % 2][0], 50000);
        set_address(&header.destination, pairs[i % 2][1], 443);
        header.authority = version == 2 ? BYTES("support.example") : (hf_slice){NULL, 0};
        int64_t size = gateway_proxy_write(bytes, version, &header, NULL);

        assert_int_equal(read_all((hf_slice){bytes, (uint64_t)size}, &again), size);
        assert_memory_equal(&again.source, &header.source, sizeof header.source);
        assert_memory_equal(&again.destination, &header.destination, sizeof header.destination);
        assert_int_equal(again.authority.size, header.authority.size);
        if (version == 1)
            continue;
        for (int64_t at = 16; at < size; at++) { /* the checksum finds every flipped bit */
            bytes[at] ^= (uint8_t)(1 << at % 8);
            int64_t result = gateway_proxy_read((hf_slice){bytes, (uint64_t)size}, &again, NULL);
            if (at != size - 7 && at != size - 6 && at != size - 5) /* its own head */
                assert_int_equal(result, HF_EPROTOCOL);
            bytes[at] ^= (uint8_t)(1 << at % 8);
        }
    }
    header = (struct gateway_proxy_header){.is_local = 1};
    for (int version = 1; version <= 2; version++) {
        int64_t size = gateway_proxy_write(bytes, version, &header, NULL);

        assert_int_equal(read_all((hf_slice){bytes, (uint64_t)size}, &again), size);
        assert_true(again.is_local);
    }
}

static void what_cannot_be_said_is_not_written(void **state)
{
    static uint8_t name[256];
    uint8_t bytes[GATEWAY_PROXY_WRITE_MAX];
    struct gateway_proxy_header header = {0};

    (void)state;
    set_address(&header.source, "192.0.2.7", 1);
    set_address(&header.destination, "::1", 2);
    assert_int_equal(gateway_proxy_write(bytes, 2, &header, NULL), HF_EINVAL);
    set_address(&header.destination, "192.0.2.8", 2);
    assert_int_equal(gateway_proxy_write(bytes, 3, &header, NULL), HF_EINVAL);
    header.authority = (hf_slice){name, sizeof name};
    assert_int_equal(gateway_proxy_write(bytes, 2, &header, NULL), HF_EINVAL);
    header.authority.size = 255;
    assert_true(gateway_proxy_write(bytes, 2, &header, NULL) > 255);
    header.source.ss_family = header.destination.ss_family = AF_UNIX;
    assert_int_equal(gateway_proxy_write(bytes, 2, &header, NULL), HF_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(what_is_no_line_is_refused),
        cmocka_unit_test(binary_headers_are_read),
        cmocka_unit_test(malformed_binary_headers_are_refused),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_cannot_be_said_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
