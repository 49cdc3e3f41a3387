/* Times, Base64 and numbers: what is read is what was written, and nothing else is read. */
#include "http/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static hf_slice slice(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

static void times(void **state)
{
    char text[STORE_TIME_SIZE];

    (void)state;
    store_time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    store_time_text(1793700000123456, text);
    assert_string_equal(text, "2026-11-03T10:00:00.123Z");
}

static void base64_both_ways(void **state)
{
    static const char *const rows[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"\xfb\xff", "+/8=", "-_8"},
        {"\xff\xff\xff", "////", "____"},
    };
    hf_arena arena;
    hf_buffer text;

    (void)state;
    hf_arena_init(&arena, 1 << 20);
    hf_buffer_init(&text, 1024);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int32_t url = 0; url < 2; url++) {
            hf_slice bytes = slice(rows[i][0]), read = {0};

            hf_buffer_clear(&text);
            assert_int_equal(store_base64_append(&text, bytes, url), HF_OK);
            assert_int_equal(text.size, strlen(rows[i][1 + url]));
            assert_memory_equal(text.data, rows[i][1 + url], text.size);
            assert_int_equal(store_base64_read((hf_slice){text.data, text.size}, &arena, &read), HF_OK);
            assert_int_equal(read.size, bytes.size);
            assert_memory_equal(read.data, bytes.data, bytes.size);
        }
    hf_buffer_done(&text);
    hf_arena_done(&arena);
}

static void base64_refused(void **state)
{
    static const char *const texts[] = {
        "Z", "Zm9vY", "Zh==", "Zm9=", "Zg=", "Zg===", "====", "=", "Zm 9v", "Zm9v\n", "Z=g=", "\xff\xff"};
    hf_arena arena;

    (void)state;
    hf_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        hf_slice read = {0};
        if (store_base64_read(slice(texts[i]), &arena, &read) != HF_EINVAL)
            fail_msg("'%s' was read", texts[i]);
    }
    hf_arena_done(&arena);
}

static void numbers(void **state)
{
    static const char *const wrong[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "5x", "1.0", "18446744073709551616", "99999999999999999999"};
    uint64_t number = 7;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (store_number_read(slice(wrong[i]), INT64_MAX, &number) != HF_EINVAL)
            fail_msg("'%s' was read", wrong[i]);
    assert_int_equal(store_number_read(slice("9223372036854775807"), INT64_MAX, &number), HF_OK);
    assert_int_equal(number, INT64_MAX);
    assert_int_equal(store_number_read(slice("9223372036854775808"), INT64_MAX, &number), HF_EINVAL);
    assert_int_equal(store_number_read(slice("1001"), 1000, &number), HF_EINVAL);
    assert_int_equal(store_number_read(slice("0"), 1000, &number), HF_OK);
    assert_int_equal(number, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(base64_both_ways),
        cmocka_unit_test(base64_refused),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
