/* Shows that places are drawn by their weights, also when weights change and when most places may not be drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/sampler.h>

enum { PLACES = 100, WORDS = 2, DRAWS = 200000 };

static hf_random chance;

/* Pearson's statistic of DRAWS draws, for shares that follow `weights` of the `allowed`; others must not be drawn. */
static double chi_square(const hf_sampler *sampler, const uint32_t *weights, const uint64_t *allowed)
{
    uint32_t counts[PLACES] = {0};
    double all = 0, sum = 0;

    for (uint32_t i = 0; i < PLACES; i++)
        all += allowed[i / 64] >> i % 64 & 1 ? weights[i] : 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint32_t place = hf_sampler_draw(sampler, &chance, allowed);

        assert_true(place < PLACES);
        counts[place]++;
    }
    for (uint32_t i = 0; i < PLACES; i++) {
        double expected = allowed[i / 64] >> i % 64 & 1 ? DRAWS * (weights[i] / all) : 0;

        if (expected == 0)
            assert_int_equal(counts[i], 0);
        else
            sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return sum;
}

static void draws_by_weight(void **state)
{
    const uint64_t all[WORDS] = {UINT64_MAX, UINT64_MAX}, few[WORDS] = {UINT64_C(1) << 3 | UINT64_C(1) << 40, 1 << 9};
    hf_sampler *sampler = hf_sampler_create(PLACES);
    uint32_t weights[PLACES];
    uint64_t total = 0;

    (void)state;
    hf_random_init(&chance, 1);
    for (uint32_t round = 0; round < 3; round++) { /* later rounds change what the first one set */
        total = 0;
        for (uint32_t i = 0; i < PLACES; i++) {
            weights[i] = (i * 7 + round * 3) % 11;
            hf_sampler_weigh(sampler, i, weights[i]);
            assert_int_equal(hf_sampler_weight(sampler, i), weights[i]);
            total += weights[i];
        }
        assert_int_equal(hf_sampler_total(sampler), total);
        assert_true(chi_square(sampler, weights, all) < 170); /* at most 99 degrees of freedom: once in 100,000 */
        assert_true(chi_square(sampler, weights, few) < 24);  /* two */
    }
    hf_sampler_destroy(sampler);
}

static void finds_the_only_one(void **state)
{
    (void)state;
    hf_random_init(&chance, 2);
    for (uint32_t count = 1; count <= PLACES; count++) {
        hf_sampler *sampler = hf_sampler_create(count);

        for (uint32_t i = 0; i < count; i++)
            hf_sampler_weigh(sampler, i, i == 0 ? UINT32_MAX : 1);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t allowed[WORDS] = {0};

            allowed[i / 64] = UINT64_C(1) << i % 64;
            assert_int_equal(hf_sampler_draw(sampler, &chance, allowed), i);
        }
        hf_sampler_destroy(sampler);
    }
}

static void finds_none(void **state)
{
    const uint64_t none[WORDS] = {0}, beyond[WORDS] = {~UINT64_C(7), UINT64_MAX}, first[WORDS] = {1};
    hf_sampler *sampler = hf_sampler_create(3), *empty = hf_sampler_create(0);

    (void)state;
    assert_int_equal(hf_sampler_draw(sampler, &chance, first), HF_SAMPLER_NONE); /* nothing has a weight */
    hf_sampler_weigh(sampler, 1, 5);
    assert_int_equal(hf_sampler_draw(sampler, &chance, none), HF_SAMPLER_NONE);
    assert_int_equal(hf_sampler_draw(sampler, &chance, beyond), HF_SAMPLER_NONE);
    assert_int_equal(hf_sampler_draw(sampler, &chance, first), HF_SAMPLER_NONE);
    assert_int_equal(hf_sampler_draw(empty, &chance, none), HF_SAMPLER_NONE);
    hf_sampler_destroy(sampler);
    hf_sampler_destroy(empty);
    hf_sampler_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_by_weight),
        cmocka_unit_test(finds_the_only_one),
        cmocka_unit_test(finds_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
