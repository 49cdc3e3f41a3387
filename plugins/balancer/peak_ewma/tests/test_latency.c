/* Shows how peaks are taken, how they are forgotten, and what failures count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "latency.h"

enum { DECAY_US = 10000000, FAILURE_US = 1000000, BEGIN_US = 5000000 };

static const struct latency_rules rules = {DECAY_US, FAILURE_US};

static void expect(const struct latency *latency, double typical_us, uint64_t now_us, double expected_us)
{
    assert_float_equal(latency_expected(latency, &rules, typical_us, now_us), expected_us, expected_us / 1000);
}

static void a_peak_is_taken_at_once_and_forgotten_slowly(void **state)
{
    struct latency latency = {0};

    (void)state;
    latency_heard(&latency, &rules, 2000, 0, BEGIN_US);
    expect(&latency, 2000, BEGIN_US, 2000);
    latency_heard(&latency, &rules, 50000, 0, BEGIN_US + 1);
    expect(&latency, 2000, BEGIN_US + 1, 50000);
    for (uint32_t i = 1; i <= 1000; i++) /* as fast as `decay` says, however many answers there are */
        latency_heard(&latency, &rules, 2000, 0, BEGIN_US + 1 + i * (DECAY_US / 1000));
    expect(&latency, 2000, BEGIN_US + 1 + DECAY_US, 2000 + 48000 * 0.36788);
}

static void silence_forgets_down_to_half_of_what_is_typical(void **state)
{
    struct latency latency = {0};

    (void)state;
    expect(&latency, 0, BEGIN_US, 1); /* nothing is known of anybody */
    expect(&latency, 2000, BEGIN_US, 2000);
    latency_heard(&latency, &rules, 50000, 0, BEGIN_US);
    expect(&latency, 2000, BEGIN_US + DECAY_US, 50000 * 0.36788);
    expect(&latency, 2000, BEGIN_US + 100 * (uint64_t)DECAY_US, 1000);
    expect(&latency, 2000, 0, 50000); /* a clock that was set back */

    struct latency fast = {0};

    latency_heard(&fast, &rules, 500, 0, BEGIN_US);
    expect(&fast, 2000, BEGIN_US + DECAY_US, 500); /* it was fast anyway */
}

static void failures_count_by_their_part(void **state)
{
    struct latency latency = {0};
    uint64_t now_us = BEGIN_US;

    (void)state;
    for (uint32_t i = 0; i < 10000; i++) /* 100 s; one in a hundred fails, quickly */
        latency_heard(&latency, &rules, i % 100 == 99 ? 10 : 2000, i % 100 == 99, now_us += 10000);
    assert_float_equal(latency.peak_us, 2000 + FAILURE_US / 100, 1500);
    latency_heard(&latency, &rules, 3 * FAILURE_US, 1, now_us + 1);
    expect(&latency, 2000, now_us + 1, 3 * FAILURE_US);

    struct latency failing = {0};

    latency_heard(&failing, &rules, 10, 1, BEGIN_US);
    expect(&failing, 2000, BEGIN_US, FAILURE_US);
}

static void odd_latencies_are_bounded(void **state)
{
    struct latency latency = {0};

    (void)state;
    latency_heard(&latency, &rules, 0, 0, BEGIN_US);
    expect(&latency, 0, BEGIN_US, 1);
    latency_heard(&latency, &rules, UINT64_MAX, 0, BEGIN_US);
    expect(&latency, 0, BEGIN_US, 60e6);
    latency_heard(&latency, &rules, 2000, 0, UINT64_MAX);
    expect(&latency, 0, UINT64_MAX, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peak_is_taken_at_once_and_forgotten_slowly),
        cmocka_unit_test(silence_forgets_down_to_half_of_what_is_typical),
        cmocka_unit_test(failures_count_by_their_part),
        cmocka_unit_test(odd_latencies_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
