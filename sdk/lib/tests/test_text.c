#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <holdfast/lib/text.h>

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(hf_text_distance("", ""), 0);
    assert_int_equal(hf_text_distance("", "abc"), 3);
    assert_int_equal(hf_text_distance("abc", ""), 3);
    assert_int_equal(hf_text_distance("cach_size", "cache_size"), 1);
    assert_int_equal(hf_text_distance("kitten", "sitting"), 3);
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"status", "start", "scan", "signals"};

    (void)state;
    assert_string_equal(hf_text_nearest("statsu", names, 4), "status");
    assert_string_equal(hf_text_nearest("scna", names, 4), "scan");
    assert_null(hf_text_nearest("completely", names, 4));
    assert_null(hf_text_nearest("x", names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_distance), cmocka_unit_test(test_nearest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
