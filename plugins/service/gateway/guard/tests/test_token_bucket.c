/* Shows that over any time no more than the burst and the rate is let through, and that the wait it names is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard/token_bucket.h"

#include <holdfast/lib/hash.h>

enum { SECOND = 1000000 };

static void a_full_one_gives_its_burst(void **state)
{
    const struct gateway_bucket_rules rules = {.rate = 10, .burst = 5};
    struct gateway_bucket bucket;

    (void)state;
    gateway_bucket_init(&bucket, &rules, 7);
    for (int i = 0; i < 5; i++)
        assert_int_equal(gateway_bucket_take(&bucket, &rules, 1, 7), 0);
    uint64_t wait = gateway_bucket_take(&bucket, &rules, 1, 7);

    assert_in_range(wait, 100000, 100001);
    assert_true(gateway_bucket_take(&bucket, &rules, 1, 7 + 99999) > 0);
    assert_int_equal(gateway_bucket_take(&bucket, &rules, 1, 7 + wait), 0);
    assert_int_equal(gateway_bucket_take(&bucket, &rules, 5, 7 + 3600 * (uint64_t)SECOND), 0); /* no more than full */
    assert_true(gateway_bucket_take(&bucket, &rules, 1, 7 + 3600 * (uint64_t)SECOND) > 0);
}

static void retries_are_paid_for_by_requests(void **state)
{
    const struct gateway_bucket_rules rules = {.rate = 0, .burst = 10};
    struct gateway_bucket bucket;
    int retries = 0;

    (void)state;
    gateway_bucket_init(&bucket, &rules, 1);
    for (int i = 0; i < 1000; i++) { /* every one of them fails */
        gateway_bucket_add(&bucket, &rules, 0.25);
        retries += gateway_bucket_take(&bucket, &rules, 1, 1) == 0;
    }
    assert_in_range(retries, 258, 260);
    assert_true(gateway_bucket_take(&bucket, &rules, 1, UINT64_MAX) == UINT64_MAX); /* none come by themselves */
}

static void a_clock_read_earlier_takes_nothing_away(void **state)
{
    const struct gateway_bucket_rules rules = {.rate = 1000, .burst = 1};
    struct gateway_bucket bucket;

    (void)state;
    gateway_bucket_init(&bucket, &rules, SECOND);
    assert_int_equal(gateway_bucket_take(&bucket, &rules, 1, SECOND), 0);
    assert_true(gateway_bucket_take(&bucket, &rules, 1, SECOND - 500) > 0);
    assert_true(gateway_bucket_take(&bucket, &rules, 1, SECOND + 999) > 0);
    assert_int_equal(gateway_bucket_take(&bucket, &rules, 1, SECOND + 1001), 0);
}

static void the_mean_is_the_rate(void **state)
{
    const struct gateway_bucket_rules rules = {.rate = 333, .burst = 50};
    struct gateway_bucket bucket;
    uint64_t now = 5, taken = 0;
    hf_random random;

    (void)state;
    hf_random_init(&random, 3);
    gateway_bucket_init(&bucket, &rules, now);
    while (now < 100 * (uint64_t)SECOND) {
        now += hf_random_below(&random, 2000);
        taken += gateway_bucket_take(&bucket, &rules, 1, now) == 0;
    }
    assert_in_range(taken, 33300 + 50 - 20, 33300 + 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_one_gives_its_burst),
        cmocka_unit_test(retries_are_paid_for_by_requests),
        cmocka_unit_test(a_clock_read_earlier_takes_nothing_away),
        cmocka_unit_test(the_mean_is_the_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
