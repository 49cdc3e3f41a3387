/* Shows that a buffer grows up to its maximum and no further, and that refusals change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/buffer.h>

static void grows_and_consumes(void **state)
{
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 1000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(hf_buffer_append(&buffer, "0123456789", 10), HF_OK);
    assert_int_equal(buffer.size, 1000);
    hf_buffer_consume(&buffer, 995);
    assert_int_equal(buffer.size, 5);
    assert_memory_equal(buffer.data, "56789", 5);
    hf_buffer_consume(&buffer, 0);
    hf_buffer_consume(&buffer, UINT64_MAX);
    assert_int_equal(buffer.size, 0);
    hf_buffer_done(&buffer);
    assert_null(buffer.data);
}

static void refuses_past_the_maximum(void **state)
{
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 8);
    assert_int_equal(hf_buffer_append(&buffer, "123456789", 9), HF_ETOOLARGE);
    assert_int_equal(hf_buffer_append(&buffer, "12345678", 8), HF_OK);
    assert_int_equal(hf_buffer_append(&buffer, "9", 1), HF_ETOOLARGE);
    assert_int_equal(hf_buffer_append(&buffer, NULL, 0), HF_OK);
    assert_int_equal(hf_buffer_reserve(&buffer, UINT64_MAX), HF_ETOOLARGE);
    assert_int_equal(buffer.size, 8);
    assert_int_equal(buffer.capacity, 8);
    hf_buffer_clear(&buffer);
    assert_int_equal(hf_buffer_append(&buffer, "x", 1), HF_OK);
    hf_buffer_done(&buffer);
}

static void impossible_sizes_are_out_of_memory(void **state)
{
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, UINT64_MAX);
    assert_int_equal(hf_buffer_append(&buffer, "ab", 2), HF_OK);
    assert_int_equal(hf_buffer_reserve(&buffer, UINT64_MAX / 2 + 2), HF_ENOMEM);
    assert_int_equal(buffer.size, 2);
    assert_memory_equal(buffer.data, "ab", 2);
    hf_buffer_done(&buffer);
}

static void formats_short_and_long_text(void **state)
{
    hf_buffer buffer;

    (void)state;
    hf_buffer_init(&buffer, 2000);
    assert_int_equal(hf_buffer_append_format(&buffer, "%s=%d;", "a", 42), HF_OK);
    assert_int_equal(hf_buffer_append_format(&buffer, "%0900d", 7), HF_OK);
    assert_int_equal(buffer.size, 905);
    assert_memory_equal(buffer.data, "a=42;000", 8);
    assert_int_equal(buffer.data[904], '7');
    assert_int_equal(hf_buffer_append_format(&buffer, "%01500d", 7), HF_ETOOLARGE);
    assert_int_equal(buffer.size, 905);
    hf_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_consumes),
        cmocka_unit_test(refuses_past_the_maximum),
        cmocka_unit_test(impossible_sizes_are_out_of_memory),
        cmocka_unit_test(formats_short_and_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
