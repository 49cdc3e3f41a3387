/* Shows, in simulated time, which servers are ejected, for how long, and that chance and common failures eject none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guard/outlier.h"
#include <holdfast/lib/hash.h>

enum { SECOND = 1000000, SERVERS = 10 };

static const struct gateway_outlier_rules rules = {.requests_minimum = 20,
                                                   .margin_percent = 10,
                                                   .ejected_percent = 30,
                                                   .eject_us = 30 * (uint64_t)SECOND,
                                                   .eject_maximum_us = 70 * (uint64_t)SECOND};
static struct gateway_outlier servers[SERVERS];
static uint64_t now;

static int set_up(void **state)
{
    (void)state;
    memset(servers, 0, sizeof servers);
    now = 1000 * (uint64_t)SECOND;
    return 0;
}

/* Ten seconds in which every server that is not ejected has a hundred requests; `failed` by server. */
static uint32_t pass(const uint32_t failed[SERVERS])
{
    for (int i = 0; i < SERVERS; i++)
        for (uint32_t k = 0; k < 100 && !gateway_outlier_is_ejected(&servers[i], now); k++)
            gateway_outlier_request(&servers[i], k < failed[i]);
    now += 10 * (uint64_t)SECOND;
    return gateway_outlier_judge(servers, SERVERS, &rules, now);
}

static void who_fails_more_often_is_ejected(void **state)
{
    static const uint32_t failed[SERVERS] = {1, 0, 2, 40, 1};

    (void)state;
    assert_int_equal(pass(failed), 1);
    for (int i = 0; i < SERVERS; i++)
        assert_int_equal(gateway_outlier_is_ejected(&servers[i], now), i == 3);
    now += rules.eject_us;
    assert_false(gateway_outlier_is_ejected(&servers[3], now));
}

static void where_all_fail_nobody_is(void **state)
{
    static const uint32_t failed[SERVERS] = {60, 70, 65, 72, 66, 64, 70, 61, 69, 68};

    (void)state;
    assert_int_equal(pass(failed), 0);
}

static void within_the_margin_nobody_is(void **state)
{
    static const uint32_t failed[SERVERS] = {9};

    (void)state;
    assert_int_equal(pass(failed), 0);
}

static void few_requests_are_not_judged(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        gateway_outlier_request(&servers[1], 0);
    for (uint32_t i = 1; i < rules.requests_minimum; i++)
        gateway_outlier_request(&servers[0], 1);
    assert_int_equal(gateway_outlier_judge(servers, SERVERS, &rules, now), 0);
    assert_int_equal(servers[0].requests, 0); /* counted anew all the same */
}

static void no_more_than_allowed_and_the_worst_first(void **state)
{
    static const uint32_t failed[SERVERS] = {50, 60, 70, 80};
    static const struct gateway_outlier_rules all = {.requests_minimum = 1,
                                                     .margin_percent = 1,
                                                     .ejected_percent = 100,
                                                     .eject_us = SECOND,
                                                     .eject_maximum_us = SECOND};

    (void)state;
    assert_int_equal(pass(failed), 3);
    assert_false(gateway_outlier_is_ejected(&servers[0], now));
    assert_int_equal(pass(failed), 0); /* three are out */
    memset(servers, 0, sizeof servers);
    for (int i = 0; i < 100; i++) {
        gateway_outlier_request(&servers[0], 1);
        gateway_outlier_request(&servers[1], i < 50);
    }
    assert_int_equal(gateway_outlier_judge(servers, 2, &all, now), 1); /* one always stays */
    assert_true(gateway_outlier_is_ejected(&servers[0], now));
}

static void again_is_longer_and_forgiven_in_time(void **state)
{
    static const uint32_t bad[SERVERS] = {90}, good[SERVERS] = {0};

    (void)state;
    for (uint64_t time = 1; time <= 3; time++) {
        assert_int_equal(pass(bad), 1);
        uint64_t expected =
            time * rules.eject_us < rules.eject_maximum_us ? time * rules.eject_us : rules.eject_maximum_us;

        assert_int_equal(servers[0].until_us - now, expected);
        now = servers[0].until_us;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pass(good), 0);
    assert_int_equal(servers[0].ejections, 0);
    assert_int_equal(pass(bad), 1);
    assert_int_equal(servers[0].until_us - now, rules.eject_us);
}

/* A thousand times ten servers that are all alike, with a margin so low that only chance is in question: 1.35 in a
 * thousand are expected to stand out. */
static void chance_seldom_ejects(void **state)
{
    static const struct gateway_outlier_rules close = {
        .requests_minimum = 20, .margin_percent = 0, .ejected_percent = 30, .eject_us = 1, .eject_maximum_us = 1};
    hf_random chance;
    uint32_t ejected = 0;

    (void)state;
    hf_random_init(&chance, 7);
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < SERVERS; i++)
            for (int k = 0; k < 100; k++)
                gateway_outlier_request(&servers[i], hf_random_below(&chance, 100) < 20);
        now += SECOND;
        ejected += gateway_outlier_judge(servers, SERVERS, &close, now);
    }
    assert_in_range(ejected, 3, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_fails_more_often_is_ejected, set_up),
        cmocka_unit_test_setup(where_all_fail_nobody_is, set_up),
        cmocka_unit_test_setup(within_the_margin_nobody_is, set_up),
        cmocka_unit_test_setup(few_requests_are_not_judged, set_up),
        cmocka_unit_test_setup(no_more_than_allowed_and_the_worst_first, set_up),
        cmocka_unit_test_setup(again_is_longer_and_forgiven_in_time, set_up),
        cmocka_unit_test_setup(chance_seldom_ejects, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
