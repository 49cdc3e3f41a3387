#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watch.h"

static const struct threshold_limits limits = {10, 5, 12, 3};

static int32_t feed(struct threshold_watch *watch, double value, int times)
{
    int32_t changes = 0;

    for (int i = 0; i < times; i++)
        changes += threshold_sample(watch, &limits, value);
    return changes;
}

static void it_takes_several_samples(void **state)
{
    struct threshold_watch watch = {0};

    (void)state;
    assert_int_equal(feed(&watch, 50, 10), 0);
    assert_int_equal(feed(&watch, 9, 2), 0);
    assert_int_equal(feed(&watch, 50, 1), 0);
    assert_int_equal(feed(&watch, 9, 2), 0);
    assert_int_equal(feed(&watch, 9, 1), 1);
    assert_int_equal(watch.state, THRESHOLD_LOW);
}

static void it_does_not_flap(void **state)
{
    struct threshold_watch watch = {0};

    (void)state;
    feed(&watch, 9, 3);
    assert_int_equal(feed(&watch, 11, 20), 0); /* above low, and not above clear */
    assert_int_equal(feed(&watch, 13, 3), 1);
    assert_int_equal(watch.state, THRESHOLD_OK);
    assert_int_equal(feed(&watch, 11, 20), 0);
}

static void it_gets_worse_and_better(void **state)
{
    struct threshold_watch watch = {0};

    (void)state;
    assert_int_equal(feed(&watch, 1, 3), 1);
    assert_int_equal(watch.state, THRESHOLD_CRITICAL);
    assert_int_equal(feed(&watch, 8, 3), 1);
    assert_int_equal(watch.state, THRESHOLD_LOW);
    assert_int_equal(feed(&watch, 1, 3), 1);
    assert_int_equal(feed(&watch, 90, 3), 1);
    assert_int_equal(watch.state, THRESHOLD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_several_samples),
        cmocka_unit_test(it_does_not_flap),
        cmocka_unit_test(it_gets_worse_and_better),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
