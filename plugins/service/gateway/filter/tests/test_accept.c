/* Shows which clients take gzip, by what they write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "filter/accept.h"

#include <holdfast/lib/value.h>

static int takes(const char *first, const char *second)
{
    struct gateway_accept accept;

    gateway_accept_init(&accept);
    if (first)
        gateway_accept_add(&accept, hf_slice_of(first));
    if (second)
        gateway_accept_add(&accept, hf_slice_of(second));
    return gateway_accept_has_gzip(&accept);
}

static void who_names_it_takes_it(void **state)
{
    (void)state;
    assert_true(takes("gzip", NULL));
    assert_true(takes("GZip, deflate, br", NULL));
    assert_true(takes("br;q=1.0, gzip;q=0.8, *;q=0.1", NULL));
    assert_true(takes("x-gzip", NULL));
    assert_true(takes("deflate", "gzip"));
    assert_true(takes(" deflate ,\tgzip ; Q=0.001", NULL));
    assert_false(takes(NULL, NULL));
    assert_false(takes("", NULL));
    assert_false(takes("deflate, br", NULL));
    assert_false(takes("gzipped, igzip", NULL));
}

static void weights_count(void **state)
{
    (void)state;
    assert_false(takes("gzip;q=0", NULL));
    assert_false(takes("gzip;q=0.000", NULL));
    assert_false(takes("gzip;q=0, *", NULL)); /* what is named counts more */
    assert_true(takes("*", NULL));
    assert_false(takes("*;q=0", NULL));
    assert_true(takes("identity;q=0.5, gzip;q=0.5", NULL));
    assert_false(takes("identity, gzip;q=0.5", NULL));
    assert_true(takes("identity;q=0, gzip;q=0.5", NULL));
    assert_true(takes("gzip;x=1;q=1.000", NULL));
}

static void a_weight_that_is_none_is_a_refusal(void **state)
{
    static const char *const wrong[] = {"gzip;q=",    "gzip;q=2",  "gzip;q=1.001", "gzip;q=0.0001", "gzip;q=-1",
                                        "gzip;q=0,5", "gzip;q=.5", "gzip;q=1x",    "gzip;q=0.5.5",  "gzip;q=0 .5"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(takes(wrong[i], NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_names_it_takes_it), cmocka_unit_test(weights_count),
                                       cmocka_unit_test(a_weight_that_is_none_is_a_refusal)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
