/* The addresses of a name: the same whatever order they come in; and when it is asked again. */
#include "resolve/addresses.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add(struct gateway_name_addresses *addresses, const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        gateway_name_addresses_add(addresses, (const struct sockaddr *)&four);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
        gateway_name_addresses_add(addresses, (const struct sockaddr *)&six);
    }
}

static void text_of(const struct gateway_name_address *address, char *text)
{
    assert_non_null(inet_ntop(address->family, address->bytes, text, INET6_ADDRSTRLEN));
}

static void order_does_not_matter(void **state)
{
    static const char *const texts[] = {"10.0.0.2", "::1", "10.0.0.10", "10.0.0.1", "fd00::7"};
    static const char *const sorted[] = {"10.0.0.1", "10.0.0.2", "10.0.0.10", "::1", "fd00::7"};
    struct gateway_name_addresses *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);

    (void)state;
    for (int i = 0; i < 5; i++) {
        add(a, texts[i]);
        add(a, texts[i]); /* twice is once */
        add(b, texts[4 - i]);
    }
    assert_int_equal(a->count, 5);
    assert_true(gateway_name_addresses_same(a, b));
    for (int i = 0; i < 5; i++) {
        char text[INET6_ADDRSTRLEN];
        text_of(&a->items[i], text);
        assert_string_equal(text, sorted[i]);
    }
    add(b, "10.0.0.3");
    assert_false(gateway_name_addresses_same(a, b));
    add(a, "10.0.0.4");
    assert_false(gateway_name_addresses_same(a, b));
    free(a);
    free(b);
}

static void too_many_are_left_out_the_same_way(void **state)
{
    struct gateway_name_addresses *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);

    (void)state;
    for (int i = 0; i < 400; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.0.%d.%d", i / 200, i % 200);
        add(a, text);
        snprintf(text, sizeof text, "10.0.%d.%d", (399 - i) / 200, (399 - i) % 200);
        add(b, text);
    }
    assert_int_equal(a->count, GATEWAY_NAME_ADDRESSES_MAX);
    assert_true(gateway_name_addresses_same(a, b));
    free(a);
    free(b);
}

static void other_families_are_left_out(void **state)
{
    struct gateway_name_addresses *a = calloc(1, sizeof *a);
    struct sockaddr other = {.sa_family = AF_UNIX};

    (void)state;
    gateway_name_addresses_add(a, &other);
    assert_int_equal(a->count, 0);
    free(a);
}

static void they_get_a_port(void **state)
{
    struct gateway_name_addresses *a = calloc(1, sizeof *a);
    struct sockaddr_storage address;
    char text[INET6_ADDRSTRLEN];

    (void)state;
    add(a, "10.1.2.3");
    add(a, "fd00::7");
    assert_int_equal(gateway_name_address_write(&a->items[0], 8080, &address), sizeof(struct sockaddr_in));
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    assert_int_equal(four->sin_family, AF_INET);
    assert_int_equal(ntohs(four->sin_port), 8080);
    assert_string_equal(inet_ntop(AF_INET, &four->sin_addr, text, sizeof text), "10.1.2.3");
    assert_int_equal(gateway_name_address_write(&a->items[1], 443, &address), sizeof(struct sockaddr_in6));
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
    assert_int_equal(six->sin6_family, AF_INET6);
    assert_int_equal(ntohs(six->sin6_port), 443);
    assert_string_equal(inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text), "fd00::7");
    free(a);
}

static void times_are_bounded(void **state)
{
    const uint64_t second = 1000000, least = second, most = 300 * second;

    (void)state;
    assert_int_equal(gateway_name_wait(0, 0, least, most), second);
    assert_int_equal(gateway_name_wait(-1, 0, least, most), second);
    assert_int_equal(gateway_name_wait(30, 0, least, most), 30 * second);
    assert_int_equal(gateway_name_wait(86400, 0, least, most), 300 * second);
    assert_int_equal(gateway_name_wait(30, 1, least, most), second); /* failed: the old time to live says nothing */
    assert_int_equal(gateway_name_wait(0, 2, least, most), 2 * second);
    assert_int_equal(gateway_name_wait(0, 5, least, most), 16 * second);
    assert_int_equal(gateway_name_wait(0, 4000000000u, least, most), 300 * second);
    assert_int_equal(gateway_name_wait(7, 0, 10 * second, 5 * second), 5 * second); /* the upper one is kept to */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_matter),       cmocka_unit_test(too_many_are_left_out_the_same_way),
        cmocka_unit_test(other_families_are_left_out), cmocka_unit_test(they_get_a_port),
        cmocka_unit_test(times_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
