/* Shows which upstream the name of a TLS client leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stream/server_names.h"

#include <holdfast/lib/value.h>

static int32_t find(const char *host)
{
    const hf_slice first[] = {hf_slice_of("a.example"), hf_slice_of("b.example")};
    const hf_slice second[] = {hf_slice_of("*.b.example")};
    const hf_slice third[] = {hf_slice_of("c.b.example"), hf_slice_of("a.example")};
    const struct gateway_server_name names[] = {{first, 2, 0}, {second, 1, 1}, {third, 2, 2}};

    return gateway_server_names_find(names, 3, hf_slice_of(host));
}

static void finds_exact_names(void **state)
{
    (void)state;
    assert_int_equal(find("a.example"), 0);
    assert_int_equal(find("b.example"), 0);
    assert_int_equal(find("A.Example"), 0);
}

static void finds_names_below(void **state)
{
    (void)state;
    assert_int_equal(find("x.b.example"), 1);
    assert_int_equal(find("y.x.b.example"), 1);
    assert_int_equal(find("c.b.example"), 1); /* the first that has it */
}

static void finds_no_others(void **state)
{
    (void)state;
    assert_int_equal(find(""), -1);
    assert_int_equal(find("example"), -1);
    assert_int_equal(find("xb.example"), -1);
    assert_int_equal(find(".b.example"), -1);
    assert_int_equal(find("a.example.evil"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_exact_names), cmocka_unit_test(finds_names_below),
                                       cmocka_unit_test(finds_no_others)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
