/* Trace context: what is read, refused and written, after the examples of the W3C recommendation. */
#include "record/trace.h"

#include <holdfast/lib/value.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define EXAMPLE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static int32_t read(const char *text, struct gateway_trace *trace)
{
    return gateway_trace_read(hf_slice_of(text), trace);
}

static void a_valid_one_is_read_and_written(void **state)
{
    struct gateway_trace trace;
    uint8_t text[GATEWAY_TRACE_SIZE];

    (void)state;
    assert_int_equal(read(EXAMPLE, &trace), 1);
    assert_int_equal(trace.id[0], 0x0a);
    assert_int_equal(trace.id[15], 0x9c);
    assert_int_equal(trace.parent[7], 0x31);
    assert_int_equal(trace.flags, GATEWAY_TRACE_SAMPLED);
    memcpy(trace.span, trace.parent, sizeof trace.span);
    gateway_trace_write(&trace, text);
    assert_memory_equal(text, EXAMPLE, GATEWAY_TRACE_SIZE);
}

static void flags_that_nobody_knows_go(void **state)
{
    struct gateway_trace trace;

    (void)state;
    assert_int_equal(read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", &trace), 1);
    assert_int_equal(trace.flags, 0);
    assert_int_equal(read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", &trace), 1);
    assert_int_equal(trace.flags, GATEWAY_TRACE_SAMPLED | GATEWAY_TRACE_RANDOM);
}

static void later_versions_are_read_as_far_as_they_are_known(void **state)
{
    struct gateway_trace trace;

    (void)state;
    assert_int_equal(read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &trace), 1);
    assert_int_equal(read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", &trace), 1);
    assert_int_equal(read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", &trace), 0);
    assert_int_equal(read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more", &trace), 0);
}

static void what_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        EXAMPLE " ",
        EXAMPLE "-00",                                             /* version 00 has four parts */
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", /* never a version */
        "00-00000000000000000000000000000000-b7ad6b7169203331-01", /* no trace */
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", /* no parent */
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", /* upper case */
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x", /* no digit */
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    };
    struct gateway_trace trace, untouched;

    (void)state;
    memset(&untouched, 0x5a, sizeof untouched);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&trace, 0x5a, sizeof trace);
        if (read(bad[i], &trace))
            fail_msg("it was taken: '%s'", bad[i]);
        assert_memory_equal(&trace, &untouched, sizeof trace);
    }
}

static void one_that_begins_here_is_like_no_other(void **state)
{
    struct gateway_trace a, b, again;
    uint8_t text[GATEWAY_TRACE_SIZE];
    hf_random random;

    (void)state;
    hf_random_init(&random, 1);
    gateway_trace_begin(&a, &random, 1);
    gateway_trace_begin(&b, &random, 0);
    assert_int_equal(a.flags, GATEWAY_TRACE_SAMPLED);
    assert_int_equal(b.flags, 0);
    assert_memory_not_equal(a.id, b.id, sizeof a.id);
    assert_memory_not_equal(a.span, b.span, sizeof a.span);
    gateway_trace_write(&b, text);
    assert_int_equal(gateway_trace_read((hf_slice){text, sizeof text}, &again), 1);
    assert_memory_equal(again.id, b.id, sizeof b.id);
    assert_memory_equal(again.parent, b.span, sizeof b.span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_one_is_read_and_written),
        cmocka_unit_test(flags_that_nobody_knows_go),
        cmocka_unit_test(later_versions_are_read_as_far_as_they_are_known),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(one_that_begins_here_is_like_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
