/* Lists of servers: copies of their own, changed by name, and known to be what a configuration says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "upstream/list.h"

#include <holdfast/kind/balancer.h>

static struct gateway_server_options server(const char *name, const char *address)
{
    struct gateway_server_options made;

    gateway_server_defaults(&made, name, address);
    return made;
}

static void defaults_are_those_of_the_options(void **state)
{
    struct gateway_server_options made = server("a", "10.0.0.1:80");

    (void)state;
    assert_string_equal(made.name, "a");
    assert_string_equal(made.address, "10.0.0.1:80");
    assert_int_equal(made.weight, 1);
    assert_int_equal(made.max_fails, 1);
    assert_int_equal(made.fail_timeout_us, 10000000);
    assert_int_equal(made.backup, 0);
    assert_int_equal(made.requests_maximum, 0);
}

static void a_list_has_copies(void **state)
{
    char name[] = "a", address[] = "10.0.0.1:80";
    struct gateway_server_options items[] = {server(name, address), server("b", "10.0.0.2:80")};
    hf_groups groups = {.count = 2, .items = items};
    struct gateway_server_list list, copy;

    (void)state;
    items[0].weight = 7;
    assert_int_equal(gateway_server_list_read(&list, &groups, NULL), HF_OK);
    name[0] = address[0] = 'x';
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].name, "a");
    assert_string_equal(list.items[0].address, "10.0.0.1:80");
    assert_int_equal(list.items[0].weight, 7);
    assert_false(list.is_changed);
    list.is_changed = 1;
    assert_int_equal(gateway_server_list_copy(&copy, &list, NULL), HF_OK);
    assert_true(copy.is_changed);
    assert_int_equal(copy.configured, list.configured);
    gateway_server_list_done(&list);
    assert_string_equal(gateway_server_list_find(&copy, "b")->address, "10.0.0.2:80");
    assert_null(gateway_server_list_find(&copy, "c"));
    gateway_server_list_done(&copy);
    gateway_server_list_done(&copy);
}

static void it_changes_by_name(void **state)
{
    struct gateway_server_options a = server("a", "10.0.0.1:80"), same_name = server("a", "10.0.0.2:80"),
                                  same_address = server("b", "10.0.0.1:80"), c = server("c", "unix:/run/c");
    struct gateway_server_list list = {0};

    (void)state;
    assert_int_equal(gateway_server_list_add(&list, &a, NULL), HF_OK);
    assert_int_equal(gateway_server_list_add(&list, &same_name, NULL), HF_EEXIST);
    assert_int_equal(gateway_server_list_add(&list, &same_address, NULL), HF_EEXIST);
    assert_int_equal(gateway_server_list_add(&list, &c, NULL), HF_OK);
    assert_int_equal(list.count, 2);
    assert_int_equal(gateway_server_list_remove(&list, "b", NULL), HF_ENOTFOUND);
    assert_int_equal(gateway_server_list_remove(&list, "a", NULL), HF_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].name, "c");
    assert_int_equal(gateway_server_list_add(&list, &same_name, NULL), HF_OK);
    gateway_server_list_done(&list);
}

static void it_is_bounded(void **state)
{
    struct gateway_server_list list = {0};
    char name[32], address[32];

    (void)state;
    for (int i = 0; i < HF_BALANCER_SERVERS_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        snprintf(address, sizeof address, "10.0.0.1:%d", i);
        struct gateway_server_options one = server(name, address);
        assert_int_equal(gateway_server_list_add(&list, &one, NULL), HF_OK);
    }
    struct gateway_server_options one = server("more", "10.0.0.2:1");
    assert_int_equal(gateway_server_list_add(&list, &one, NULL), HF_ETOOLARGE);
    gateway_server_list_done(&list);
}

/* By it a reload tells whether the configuration says the same of the servers as before. */
static void every_option_is_part_of_the_print(void **state)
{
    struct gateway_server_options items[2] = {server("a", "10.0.0.1:80"), server("b", "10.0.0.2:80")};
    hf_groups groups = {.count = 2, .items = items};
    uint64_t print = gateway_server_list_print(&groups);
    char address[] = "10.0.0.2:80"; /* other memory, the same text */

    (void)state;
    items[1].address = address;
    assert_int_equal(gateway_server_list_print(&groups), print);
    items[1].drain = 1;
    assert_int_not_equal(gateway_server_list_print(&groups), print);
    items[1].drain = 0;
    items[1].fail_timeout_us++;
    assert_int_not_equal(gateway_server_list_print(&groups), print);
    items[1].fail_timeout_us--;
    items[1].name = "c";
    assert_int_not_equal(gateway_server_list_print(&groups), print);
    items[1].name = "b";
    address[7] = '3';
    assert_int_not_equal(gateway_server_list_print(&groups), print);
    address[7] = '2';
    assert_int_equal(gateway_server_list_print(&groups), print);
    groups.count = 1;
    assert_int_not_equal(gateway_server_list_print(&groups), print);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_options),
        cmocka_unit_test(a_list_has_copies),
        cmocka_unit_test(it_changes_by_name),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(every_option_is_part_of_the_print),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
