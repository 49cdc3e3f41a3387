/* Shows that hf_hash64 gives the published XXH64 values, and that the generator follows its reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/hash.h>

/* The buffer of xxHash's own sanity checks. */
static void fill(uint8_t *buffer, size_t size)
{
    uint64_t generator = 2654435761u;

    for (size_t i = 0; i < size; i++) {
        buffer[i] = (uint8_t)(generator >> 56);
        generator *= 11400714785074694797u;
    }
}

static void gives_the_published_values(void **state)
{
    uint8_t buffer[256];

    (void)state;
    fill(buffer, sizeof buffer);
    assert_int_equal(hf_hash64(0, NULL, 0), 0xef46db3751d8e999);
    assert_int_equal(hf_hash64(2654435761u, NULL, 0), 0xac75fda2929b17ef);
    assert_int_equal(hf_hash64(0, buffer, 1), 0xe934a84adb052768);
    assert_int_equal(hf_hash64(2654435761u, buffer, 1), 0x5014607643a9b4c3);
    assert_int_equal(hf_hash64(0, buffer, 14), 0x8282dcc4994e35c8);
    assert_int_equal(hf_hash64(2654435761u, buffer, 14), 0xc3bd6bf63deb6df0);
    assert_int_equal(hf_hash64(0, buffer, 222), 0xb641ae8cb691c174);
    assert_int_equal(hf_hash64(2654435761u, buffer, 222), 0x20cb8ab7ae10c14a);
    assert_int_equal(hf_hash64(0, "a", 1), 0xd24ec4f1a98c6e5b);
    assert_int_equal(hf_hash64(0, "abc", 3), 0x44bc2cf5ad770999);
}

static void generator_follows_its_reference(void **state)
{
    hf_random random = {{1, 2, 3, 4}};

    (void)state;
    assert_int_equal(hf_random_next(&random), 11520);
    assert_int_equal(hf_random_next(&random), 0);
    assert_int_equal(hf_random_next(&random), 1509978240);
    assert_int_equal(hf_random_next(&random), 1215971899390074240);
    hf_random_init(&random, 0); /* splitmix64's first value for seed 0 */
    assert_int_equal(random.state[0], 0xe220a8397b1dcdaf);
}

static void below_stays_below_and_reaches_all(void **state)
{
    hf_random random;
    int seen[7] = {0};

    (void)state;
    hf_random_init(&random, 42);
    for (int i = 0; i < 7000; i++)
        seen[hf_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 850, 1150);
    assert_int_equal(hf_random_below(&random, 0), 0);
    assert_int_equal(hf_random_below(&random, 1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(hf_random_below(&random, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_values),
        cmocka_unit_test(generator_follows_its_reference),
        cmocka_unit_test(below_stays_below_and_reaches_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
