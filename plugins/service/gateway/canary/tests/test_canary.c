/* Shows, in simulated time and by drawn requests, that users keep their version, that a good release reaches all of
 * them, that a bad one is rolled back soon, and that neither is mistaken for the other more often than allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "canary/canary.h"
#include <holdfast/lib/hash.h>

enum { SECOND = 1000000 };

static const struct gateway_canary_rules rules = {.steps = {100, 500, 2500},
                                                  .step_count = 3,
                                                  .requests_minimum = 50,
                                                  .step_us = 60 * (uint64_t)SECOND,
                                                  .margins = {0.01, 0.05},
                                                  .error = 0.05};

static hf_random chance;

static int happens(double probability)
{
    return (double)(hf_random_next(&chance) >> 11) / 9007199254740992.0 < probability;
}

/* What the versions do: probabilities by measure. */
typedef struct {
    double stable[GATEWAY_MEASURES], release[GATEWAY_MEASURES];
} rates_of_versions;

typedef struct {
    int32_t state, measure;
    uint32_t step;
    uint64_t requests; /* of the release, in all steps */
    uint64_t took_us;
} result;

/* A thousand requests a second of as many users as there are, until it is decided, or for that many requests. */
static result roll_out(const rates_of_versions *rates, uint64_t seed, uint64_t requests)
{
    struct gateway_canary canary;
    result outcome = {.measure = -1};
    uint64_t now = 5 * (uint64_t)SECOND;

    hf_random_init(&chance, seed);
    gateway_canary_init(&canary, (uint32_t)seed, now);
    for (uint64_t i = 0; i < requests && canary.state == GATEWAY_CANARY_RUNNING; i++) {
        int32_t version = gateway_canary_version(&canary, &rules, hf_random_next(&chance));
        const double *by = version == GATEWAY_CANARY ? rates->release : rates->stable;

        outcome.requests += version == GATEWAY_CANARY;
        gateway_canary_request(&canary, version, happens(by[0]), happens(by[1]));
        now += 1000;
        (void)gateway_canary_advance(&canary, &rules, now, &outcome.measure);
    }
    outcome.state = canary.state;
    outcome.step = canary.step;
    outcome.took_us = now - 5 * (uint64_t)SECOND;
    return outcome;
}

static void users_keep_their_version(void **state)
{
    struct gateway_canary canary, other;
    uint32_t with_release[3] = {0}, in_both = 0;

    (void)state;
    gateway_canary_init(&canary, 1, 0);
    gateway_canary_init(&other, 2, 0);
    other.step = 2;
    for (uint64_t user = 0; user < 100000; user++) {
        int32_t before = GATEWAY_STABLE;

        for (canary.step = 0; canary.step < 3; canary.step++) {
            int32_t version = gateway_canary_version(&canary, &rules, user);

            assert_true(before == GATEWAY_STABLE || version == GATEWAY_CANARY);
            with_release[canary.step] += version == GATEWAY_CANARY;
            before = version;
        }
        in_both += before == GATEWAY_CANARY && gateway_canary_version(&other, &rules, user) == GATEWAY_CANARY;
    }
    assert_in_range(with_release[0], 900, 1100); /* a deviation is 31 */
    assert_in_range(with_release[1], 4750, 5250);
    assert_in_range(with_release[2], 24500, 25500);
    assert_in_range(in_both, 5800, 6700); /* a quarter of a quarter: other users try another release */
}

static void a_good_release_reaches_all(void **state)
{
    static const rates_of_versions rates = {{0.002, 0.02}, {0.002, 0.02}};
    result outcome = roll_out(&rates, 1, 10000000);

    (void)state;
    assert_int_equal(outcome.state, GATEWAY_CANARY_PROMOTED);
    assert_true(outcome.took_us >= 3 * rules.step_us);
}

static void all_users_have_it_then_and_none_after_a_roll_back(void **state)
{
    struct gateway_canary canary;

    (void)state;
    gateway_canary_init(&canary, 1, 0);
    canary.state = GATEWAY_CANARY_PROMOTED;
    for (uint64_t user = 0; user < 1000; user++)
        assert_int_equal(gateway_canary_version(&canary, &rules, user), GATEWAY_CANARY);
    assert_false(gateway_canary_advance(&canary, &rules, UINT64_MAX, NULL));
    canary.state = GATEWAY_CANARY_ROLLED_BACK;
    for (uint64_t user = 0; user < 1000; user++)
        assert_int_equal(gateway_canary_version(&canary, &rules, user), GATEWAY_STABLE);
}

static void a_step_needs_time_and_requests(void **state)
{
    struct gateway_canary canary;

    (void)state;
    gateway_canary_init(&canary, 1, 0);
    for (int i = 0; i < 1000000; i++)
        gateway_canary_request(&canary, GATEWAY_STABLE, 0, 0);
    assert_false(gateway_canary_advance(&canary, &rules, rules.step_us, NULL)); /* nothing is known of the release */
    for (int i = 0; i < 100000; i++)
        gateway_canary_request(&canary, GATEWAY_CANARY, 0, 0);
    assert_false(gateway_canary_advance(&canary, &rules, rules.step_us - 1, NULL));
    assert_true(gateway_canary_advance(&canary, &rules, rules.step_us, NULL));
    assert_int_equal(canary.step, 1);
    assert_int_equal(canary.versions[GATEWAY_CANARY].requests, 0); /* counted anew */
    assert_false(gateway_canary_advance(&canary, &rules, 2 * rules.step_us, NULL));
}

static void a_broken_release_is_rolled_back_at_once(void **state)
{
    static const rates_of_versions rates = {{0.002, 0.02}, {1, 0.02}};

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        result outcome = roll_out(&rates, seed, 1000000);

        assert_int_equal(outcome.state, GATEWAY_CANARY_ROLLED_BACK);
        assert_int_equal(outcome.measure, GATEWAY_MEASURE_FAILED);
        assert_int_equal(outcome.step, 0);
        assert_in_range(outcome.requests, 3, 30);
    }
}

static void a_slow_one_is_too(void **state)
{
    static const rates_of_versions rates = {{0.002, 0.02}, {0.002, 0.3}};
    result outcome = roll_out(&rates, 3, 1000000);

    (void)state;
    assert_int_equal(outcome.state, GATEWAY_CANARY_ROLLED_BACK);
    assert_int_equal(outcome.measure, GATEWAY_MEASURE_SLOW);
    assert_int_equal(outcome.step, 0);
}

/* At the margin itself, the worst case of a good release, at most a twentieth is rolled back; a bad one just outside is
 * promoted no more often.  Asked after every request, a test for one fixed number of requests would err in most runs.
 */
static void it_errs_as_seldom_as_allowed(void **state)
{
    static const rates_of_versions cases[] = {
        {{0.001, 0.01}, {0.011, 0.06}},
        {{0.05, 0.2}, {0.06, 0.25}},
        {{0.3, 0.5}, {0.31, 0.55}},
    };
    enum { RUNS = 100 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rolled_back = 0, promoted = 0;

        for (uint64_t seed = 1; seed <= RUNS; seed++) {
            result outcome = roll_out(&cases[i], seed, 100000);

            rolled_back += outcome.state == GATEWAY_CANARY_ROLLED_BACK;
            promoted += outcome.state == GATEWAY_CANARY_PROMOTED;
        }
        assert_in_range(rolled_back, 0, RUNS / 20);
        assert_in_range(promoted, 0, RUNS / 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_keep_their_version),
        cmocka_unit_test(a_good_release_reaches_all),
        cmocka_unit_test(all_users_have_it_then_and_none_after_a_roll_back),
        cmocka_unit_test(a_step_needs_time_and_requests),
        cmocka_unit_test(a_broken_release_is_rolled_back_at_once),
        cmocka_unit_test(a_slow_one_is_too),
        cmocka_unit_test(it_errs_as_seldom_as_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
