/* Shows that each key has a limit of its own, that threads share it, and that many keys only push out old ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard/limiter.h"

#include <holdfast/lib/value.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static const struct gateway_bucket_rules rules = {.rate = 10, .burst = 20};

static void every_key_has_its_own(void **state)
{
    struct gateway_limiter *limiter = gateway_limiter_create(7);

    (void)state;
    assert_non_null(limiter);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(gateway_limiter_take(limiter, &rules, hf_slice_of("a"), 1), 0);
        assert_int_equal(gateway_limiter_take(limiter, &rules, hf_slice_of("b"), 1), 0);
    }
    assert_in_range(gateway_limiter_take(limiter, &rules, hf_slice_of("a"), 1), 100000, 100001);
    assert_int_equal(gateway_limiter_take(limiter, &rules, hf_slice_of("a"), 100002), 0);
    assert_true(gateway_limiter_take(limiter, &rules, hf_slice_of("a"), 100002) > 0);
    assert_int_equal(gateway_limiter_take(limiter, &rules, hf_slice_of(""), 1), 0); /* a key like others */
    gateway_limiter_destroy(limiter);
    gateway_limiter_destroy(NULL);
}

/* Other rules count from the next request on. */
static void rules_may_change(void **state)
{
    const struct gateway_bucket_rules smaller = {.rate = 1, .burst = 2};
    struct gateway_limiter *limiter = gateway_limiter_create(7);

    (void)state;
    assert_non_null(limiter);
    assert_int_equal(gateway_limiter_take(limiter, &rules, hf_slice_of("a"), 1), 0);
    assert_int_equal(gateway_limiter_take(limiter, &smaller, hf_slice_of("a"), 1000000), 0);
    assert_int_equal(gateway_limiter_take(limiter, &smaller, hf_slice_of("a"), 1000000), 0);
    assert_in_range(gateway_limiter_take(limiter, &smaller, hf_slice_of("a"), 1000000), 1, 1000001);
    gateway_limiter_destroy(limiter);
}

/* A key in use stays while ten times more keys than there is room for come by; one that is not used goes. */
static void old_keys_fall_out(void **state)
{
    const struct gateway_bucket_rules none = {.rate = 0, .burst = 1000000};
    const struct gateway_bucket_rules one = {.rate = 0, .burst = 1};
    struct gateway_limiter *limiter = gateway_limiter_create(7);
    char name[24];

    (void)state;
    assert_non_null(limiter);
    assert_int_equal(gateway_limiter_take(limiter, &one, hf_slice_of("kept"), 1), 0);
    assert_int_equal(gateway_limiter_take(limiter, &one, hf_slice_of("left"), 1), 0);
    for (uint64_t i = 0; i < 10 * (uint64_t)GATEWAY_LIMITER_KEYS; i++) {
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        assert_int_equal(gateway_limiter_take(limiter, &none, hf_slice_of(name), 2 + i), 0);
        if (i % 1000 == 0)
            assert_int_equal(gateway_limiter_take(limiter, &one, hf_slice_of("kept"), 2 + i), UINT64_MAX);
    }
    assert_int_equal(gateway_limiter_take(limiter, &one, hf_slice_of("left"), UINT64_C(1) << 40), 0);
    gateway_limiter_destroy(limiter);
}

struct crowd {
    struct gateway_limiter *limiter;
    atomic_uint let_through;
};

static void *ask_often(void *arg)
{
    struct crowd *crowd = arg;

    for (uint64_t i = 0; i < 200000; i++) /* one second each, at the same time */
        if (gateway_limiter_take(crowd->limiter, &rules, hf_slice_of("all"), 1 + i * 5) == 0)
            atomic_fetch_add(&crowd->let_through, 1);
    return NULL;
}

static void threads_share_it(void **state)
{
    struct crowd crowd = {.limiter = gateway_limiter_create(7)};
    pthread_t threads[4];

    (void)state;
    assert_non_null(crowd.limiter);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &crowd), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(atomic_load(&crowd.let_through), 29, 30); /* the burst, and the rate for a second */
    gateway_limiter_destroy(crowd.limiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_its_own),
        cmocka_unit_test(rules_may_change),
        cmocka_unit_test(old_keys_fall_out),
        cmocka_unit_test(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
