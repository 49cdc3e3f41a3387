/* Networks, and addresses as text. */
#include "plan/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        address.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
        address.ss_family = AF_INET6;
    }
    return address;
}

static int has(const char *network, const char *address)
{
    struct gateway_network parsed;
    struct sockaddr_storage at = address_of(address);

    assert_int_equal(gateway_network_parse(network, &parsed, NULL), HF_OK);
    return gateway_network_has(&parsed, (const struct sockaddr *)&at);
}

static void addresses_lie_in_networks(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.1"));
    assert_true(has("192.168.4.0/22", "192.168.7.255"));
    assert_false(has("192.168.4.0/22", "192.168.8.0"));
    assert_true(has("192.0.2.7", "192.0.2.7"));
    assert_false(has("192.0.2.7", "192.0.2.6"));
    assert_true(has("0.0.0.0/0", "203.0.113.1"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("::/0", "203.0.113.1")); /* which is ::ffff:203.0.113.1 */
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
}

static void what_is_no_network_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "10.0/8",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/8 ",
                                      "2001:db8::/129",
                                      "10.0.0.0/+8",
                                      "10.0.0.0/0x8",
                                      "host",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd"};
    struct gateway_network network;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hf_error error = {0};
        assert_int_equal(gateway_network_parse(bad[i], &network, &error), HF_EINVAL);
        assert_true(strlen(error.message) > 0);
    }
}

static void addresses_become_text(void **state)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1", "192.0.2.1"}, {"2001:db8::1", "2001:db8::1"}, {"::ffff:192.0.2.1", "192.0.2.1"}};
    struct sockaddr_storage path = {.ss_family = AF_UNIX};
    char text[GATEWAY_ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct sockaddr_storage address = address_of(pairs[i][0]);
        assert_int_equal(gateway_address_text((const struct sockaddr *)&address, text), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
    }
    assert_int_equal(gateway_address_text((const struct sockaddr *)&path, text), 4);
    assert_string_equal(text, "unix");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_lie_in_networks),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(addresses_become_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
