/* Shows, in simulated time, when the breaker opens, how it tries again, and that at no time more calls than allowed
 * are let through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard/breaker.h"

#include <holdfast/lib/hash.h>

enum { MS = 1000, SECOND = 1000 * MS };

static const struct gateway_breaker_rules rules = {.window_us = 10 * SECOND,
                                                   .calls_minimum = 20,
                                                   .failed_percent = 50,
                                                   .slow_us = 1 * SECOND,
                                                   .slow_percent = 80,
                                                   .open_us = 5 * SECOND,
                                                   .open_maximum_us = 30 * SECOND,
                                                   .tries = 3};
static uint64_t now;
static struct gateway_breaker breaker;

static int set_up(void **state)
{
    (void)state;
    gateway_breaker_init(&breaker);
    now = 1000 * (uint64_t)SECOND;
    return 0;
}

/* One call that takes `took_us`.  Returns whether it was let through. */
static int call(int32_t outcome, uint64_t took_us)
{
    struct gateway_breaker_call begun;

    if (!gateway_breaker_begin(&breaker, &rules, now, &begun))
        return 0;
    now += took_us;
    (void)gateway_breaker_end(&breaker, &rules, &begun, outcome, now);
    return 1;
}

static void calls(int count, int32_t outcome, uint64_t took_us)
{
    for (int i = 0; i < count; i++)
        assert_true(call(outcome, took_us));
}

static void open_it(void)
{
    calls(20, GATEWAY_CALL_FAILED, MS);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN);
}

static void it_opens_when_half_of_the_calls_fail(void **state)
{
    (void)state;
    calls(11, GATEWAY_CALL_SUCCEEDED, MS);
    calls(10, GATEWAY_CALL_FAILED, MS);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED); /* 10 of 21 */
    calls(1, GATEWAY_CALL_FAILED, MS);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN); /* 11 of 22 */
    assert_false(call(GATEWAY_CALL_SUCCEEDED, MS));
    assert_int_equal(gateway_breaker_wait(&breaker, now), 5 * SECOND);
}

static void few_calls_do_not_open_it(void **state)
{
    (void)state;
    calls(19, GATEWAY_CALL_FAILED, MS);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED);
    assert_int_equal(gateway_breaker_wait(&breaker, now), 0);
}

static void what_is_long_ago_does_not_count(void **state)
{
    (void)state;
    calls(19, GATEWAY_CALL_FAILED, 0);
    now += 10 * (uint64_t)SECOND;
    calls(19, GATEWAY_CALL_FAILED, 0);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED);
    now += 8 * (uint64_t)SECOND; /* less than the window and a slice */
    calls(1, GATEWAY_CALL_FAILED, 0);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN);
}

static void it_opens_when_calls_are_slow(void **state)
{
    (void)state;
    calls(4, GATEWAY_CALL_SUCCEEDED, MS);
    for (int i = 0; i < 16; i++) { /* side by side: all end at about the same time */
        struct gateway_breaker_call begun = {.began_us = now - 2 * (uint64_t)SECOND, .epoch = breaker.epoch};

        breaker.in_flight++;
        assert_int_equal(
            gateway_breaker_end(&breaker, &rules, &begun, i % 2 ? GATEWAY_CALL_SUCCEEDED : GATEWAY_CALL_ABANDONED, now),
            i == 15);
    }
    assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN);
}

static void abandoned_calls_say_nothing(void **state)
{
    (void)state;
    calls(100, GATEWAY_CALL_ABANDONED, MS);
    calls(19, GATEWAY_CALL_FAILED, MS);
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED);
    assert_int_equal(breaker.in_flight, 0);
}

static void it_closes_when_all_tries_succeed(void **state)
{
    struct gateway_breaker_call begun[3], another;

    (void)state;
    open_it();
    now += 5 * (uint64_t)SECOND - 1;
    assert_false(call(GATEWAY_CALL_SUCCEEDED, 0));
    now++;
    for (int i = 0; i < 3; i++)
        assert_true(gateway_breaker_begin(&breaker, &rules, now, &begun[i]));
    assert_false(gateway_breaker_begin(&breaker, &rules, now, &another)); /* no more than three */
    assert_false(gateway_breaker_end(&breaker, &rules, &begun[0], GATEWAY_CALL_SUCCEEDED, now));
    assert_false(gateway_breaker_end(&breaker, &rules, &begun[1], GATEWAY_CALL_ABANDONED, now));
    assert_true(gateway_breaker_begin(&breaker, &rules, now, &another)); /* in the place of the abandoned one */
    assert_false(gateway_breaker_end(&breaker, &rules, &another, GATEWAY_CALL_SUCCEEDED, now));
    assert_true(gateway_breaker_end(&breaker, &rules, &begun[2], GATEWAY_CALL_SUCCEEDED, now));
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED);
    calls(19, GATEWAY_CALL_FAILED, MS); /* the former failures are forgotten */
    assert_int_equal(breaker.state, GATEWAY_BREAKER_CLOSED);
}

static void a_failed_try_opens_it_for_twice_as_long(void **state)
{
    static const uint64_t seconds[] = {10, 20, 30, 30};

    (void)state;
    open_it();
    for (int i = 0; i < 4; i++) {
        now = breaker.open_until_us;
        calls(2, GATEWAY_CALL_SUCCEEDED, MS);
        calls(1, GATEWAY_CALL_FAILED, MS);
        assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN);
        assert_int_equal(gateway_breaker_wait(&breaker, now), seconds[i] * SECOND);
    }
    now = breaker.open_until_us;
    calls(1, GATEWAY_CALL_SUCCEEDED, 2 * (uint64_t)SECOND); /* slow */
    assert_int_equal(breaker.state, GATEWAY_BREAKER_OPEN);
    now = breaker.open_until_us;
    calls(3, GATEWAY_CALL_SUCCEEDED, MS);
    open_it();
    assert_int_equal(gateway_breaker_wait(&breaker, now), 5 * SECOND); /* it begins anew */
}

static void late_answers_decide_nothing(void **state)
{
    struct gateway_breaker_call early[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_true(gateway_breaker_begin(&breaker, &rules, now, &early[i]));
    open_it();
    now = breaker.open_until_us;
    calls(1, GATEWAY_CALL_SUCCEEDED, MS);
    assert_false(gateway_breaker_end(&breaker, &rules, &early[0], GATEWAY_CALL_FAILED, now));
    assert_int_equal(breaker.state, GATEWAY_BREAKER_HALF_OPEN);
    assert_false(gateway_breaker_end(&breaker, &rules, &early[1], GATEWAY_CALL_SUCCEEDED, now));
    assert_int_equal(breaker.succeeded, 1);
    assert_int_equal(breaker.in_flight, 0);
}

static void calls_in_flight_are_bounded(void **state)
{
    struct gateway_breaker_rules bounded = rules;
    struct gateway_breaker_call begun[5];

    (void)state;
    bounded.in_flight_maximum = 4;
    for (int i = 0; i < 5; i++)
        assert_int_equal(gateway_breaker_begin(&breaker, &bounded, now, &begun[i]), i < 4);
    assert_false(gateway_breaker_end(&breaker, &bounded, &begun[0], GATEWAY_CALL_SUCCEEDED, now));
    assert_true(gateway_breaker_begin(&breaker, &bounded, now, &begun[4]));
}

/* A server whose failures come and go: whatever happens, the bounds hold, and a well one is served again. */
static void it_holds_over_a_long_time(void **state)
{
    enum { STEPS = 200000, MOST = 50 };
    struct gateway_breaker_rules bounded = rules;
    struct gateway_breaker_call begun[MOST];
    uint32_t count = 0;
    hf_random random;

    (void)state;
    hf_random_init(&random, 7);
    bounded.in_flight_maximum = MOST;
    for (int i = 0; i < STEPS; i++) {
        int is_sick = i / 5000 % 2 == 1, is_last = i > STEPS - 5000;

        now += hf_random_below(&random, 5 * MS);
        if (hf_random_below(&random, 2) && gateway_breaker_begin(&breaker, &bounded, now, &begun[count])) {
            assert_true(breaker.state != GATEWAY_BREAKER_OPEN);
            assert_true(++count <= MOST);
        } else if (count > 0) {
            uint32_t which = (uint32_t)hf_random_below(&random, count);
            int32_t outcome =
                is_sick && !is_last && hf_random_below(&random, 4) ? GATEWAY_CALL_FAILED : GATEWAY_CALL_SUCCEEDED;

            (void)gateway_breaker_end(&breaker, &bounded, &begun[which], outcome, now);
            begun[which] = begun[--count];
        }
        assert_int_equal(breaker.in_flight, count);
        assert_true(breaker.tried <= bounded.tries && breaker.succeeded <= breaker.tried);
    }
    assert_true(breaker.epoch > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_opens_when_half_of_the_calls_fail, set_up),
        cmocka_unit_test_setup(few_calls_do_not_open_it, set_up),
        cmocka_unit_test_setup(what_is_long_ago_does_not_count, set_up),
        cmocka_unit_test_setup(it_opens_when_calls_are_slow, set_up),
        cmocka_unit_test_setup(abandoned_calls_say_nothing, set_up),
        cmocka_unit_test_setup(it_closes_when_all_tries_succeed, set_up),
        cmocka_unit_test_setup(a_failed_try_opens_it_for_twice_as_long, set_up),
        cmocka_unit_test_setup(late_answers_decide_nothing, set_up),
        cmocka_unit_test_setup(calls_in_flight_are_bounded, set_up),
        cmocka_unit_test_setup(it_holds_over_a_long_time, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
