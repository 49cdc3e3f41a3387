/* Shows, in simulated time, when a server gets requests, and how much of its share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard/server_health.h"

enum { SECOND = 1000000 };

static const struct gateway_health_rules rules = {.fails_maximum = 3,
                                                  .fail_timeout_us = 30 * (uint64_t)SECOND,
                                                  .slow_start_us = 10 * (uint64_t)SECOND,
                                                  .rise = 2,
                                                  .fall = 3};
static uint64_t now;
static struct gateway_health health;

static int set_up(void **state)
{
    (void)state;
    gateway_health_init(&health, 0);
    now = 1000 * (uint64_t)SECOND;
    return 0;
}

/* Picks it and ends the request; 0: it could not be picked. */
static int request(int succeeded)
{
    if (!gateway_health_is_usable(&health, &rules, now))
        return 0;
    gateway_health_picked(&health, &rules, now);
    (void)gateway_health_request(&health, &rules, succeeded, now);
    return 1;
}

static void three_failures_within_the_time_send_it_away(void **state)
{
    (void)state;
    assert_true(request(0));
    now += 29 * (uint64_t)SECOND;
    assert_true(request(1)); /* does not make up for it within the time */
    assert_true(request(0));
    assert_true(request(0));
    assert_false(request(1));
    now += 30 * (uint64_t)SECOND - 1;
    assert_false(request(1));
    now++;
    assert_true(request(1));
    assert_true(request(1));
}

static void failures_far_apart_do_not(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(request(0));
        assert_true(request(0));
        now += 31 * (uint64_t)SECOND;
        assert_true(request(1)); /* the time is over, and it was well in the next one */
    }
}

static void after_the_time_one_request_tries(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(request(0));
    now += 30 * (uint64_t)SECOND;
    assert_true(gateway_health_is_usable(&health, &rules, now));
    gateway_health_picked(&health, &rules, now);
    now += SECOND; /* under way */
    assert_false(gateway_health_is_usable(&health, &rules, now));
    assert_false(gateway_health_request(&health, &rules, 0, now)); /* still away */
    now += 29 * (uint64_t)SECOND;
    assert_false(gateway_health_is_usable(&health, &rules, now));
    now += SECOND;
    assert_true(request(1));
    assert_true(gateway_health_is_usable(&health, &rules, now));
}

static void one_that_is_probed_comes_back_with_its_answer(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        (void)request(0);
    now += SECOND;
    assert_false(gateway_health_request(&health, &rules, 1, now)); /* sent before: says nothing */
    gateway_health_probed(&health, now);
    assert_false(gateway_health_is_usable(&health, &rules, now)); /* nothing else is sent meanwhile */
    now += 29 * (uint64_t)SECOND;
    assert_false(gateway_health_is_usable(&health, &rules, now));
    assert_true(gateway_health_request(&health, &rules, 1, now));
    assert_true(gateway_health_is_usable(&health, &rules, now));
}

static void changes_are_told(void **state)
{
    (void)state;
    gateway_health_picked(&health, &rules, now);
    assert_false(gateway_health_request(&health, &rules, 0, now));
    assert_false(gateway_health_request(&health, &rules, 0, now));
    assert_true(gateway_health_request(&health, &rules, 0, now));
    assert_false(gateway_health_request(&health, &rules, 0, now));
    assert_false(gateway_health_request(&health, &rules, 1, now)); /* was sent before */
    now += 30 * (uint64_t)SECOND;
    gateway_health_picked(&health, &rules, now);
    assert_true(gateway_health_request(&health, &rules, 1, now));
}

static void without_a_maximum_it_never_goes_away(void **state)
{
    struct gateway_health_rules never = rules;

    (void)state;
    never.fails_maximum = 0;
    for (int i = 0; i < 100; i++)
        assert_false(gateway_health_request(&health, &never, 0, now));
    assert_true(gateway_health_is_usable(&health, &never, now));
}

static void checks_need_to_agree(void **state)
{
    (void)state;
    assert_false(gateway_health_check(&health, &rules, 0, now));
    assert_false(gateway_health_check(&health, &rules, 0, now));
    assert_false(gateway_health_check(&health, &rules, 1, now)); /* begins anew */
    assert_false(gateway_health_check(&health, &rules, 0, now));
    assert_false(gateway_health_check(&health, &rules, 0, now));
    assert_true(gateway_health_is_usable(&health, &rules, now));
    assert_true(gateway_health_check(&health, &rules, 0, now));
    assert_false(gateway_health_is_usable(&health, &rules, now));
    assert_false(gateway_health_check(&health, &rules, 1, now));
    assert_true(gateway_health_check(&health, &rules, 1, now));
    assert_true(gateway_health_is_usable(&health, &rules, now));
}

static void an_unknown_one_waits_for_its_checks(void **state)
{
    (void)state;
    gateway_health_init(&health, 1);
    assert_false(gateway_health_is_usable(&health, &rules, now));
    assert_false(gateway_health_check(&health, &rules, 1, now));
    assert_true(gateway_health_check(&health, &rules, 1, now));
    assert_true(gateway_health_is_usable(&health, &rules, now));
}

static void a_drained_one_gets_nothing(void **state)
{
    (void)state;
    health.is_draining = 1;
    assert_false(gateway_health_is_usable(&health, &rules, now));
    assert_false(gateway_health_request(&health, &rules, 1, now)); /* those under way end */
}

static void its_share_grows_after_it_comes_back(void **state)
{
    (void)state;
    assert_int_equal(gateway_health_weight(&health, &rules, 100, now), 100);
    for (int i = 0; i < 3; i++)
        assert_true(request(0));
    now += 30 * (uint64_t)SECOND;
    assert_true(request(1));
    assert_int_equal(gateway_health_weight(&health, &rules, 100, now), 1);
    now += 5 * (uint64_t)SECOND;
    assert_int_equal(gateway_health_weight(&health, &rules, 100, now), 50);
    assert_int_equal(gateway_health_weight(&health, &rules, 1, now), 1);
    assert_int_equal(gateway_health_weight(&health, &rules, UINT32_MAX, now), UINT32_MAX / 2);
    now += 5 * (uint64_t)SECOND;
    assert_int_equal(gateway_health_weight(&health, &rules, 100, now), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(three_failures_within_the_time_send_it_away, set_up),
        cmocka_unit_test_setup(failures_far_apart_do_not, set_up),
        cmocka_unit_test_setup(after_the_time_one_request_tries, set_up),
        cmocka_unit_test_setup(one_that_is_probed_comes_back_with_its_answer, set_up),
        cmocka_unit_test_setup(changes_are_told, set_up),
        cmocka_unit_test_setup(without_a_maximum_it_never_goes_away, set_up),
        cmocka_unit_test_setup(checks_need_to_agree, set_up),
        cmocka_unit_test_setup(an_unknown_one_waits_for_its_checks, set_up),
        cmocka_unit_test_setup(a_drained_one_gets_nothing, set_up),
        cmocka_unit_test_setup(its_share_grows_after_it_comes_back, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
