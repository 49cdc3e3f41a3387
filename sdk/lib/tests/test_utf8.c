/* Shows that every character passes, and that each kind of fault is found at its offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <holdfast/lib/utf8.h>

static void every_character_round_trips(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110400; c++) {
        uint8_t bytes[4];
        uint32_t size = hf_utf8_encode(c, bytes);

        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            assert_int_equal(size, 0);
        else
            assert_true(size > 0 && hf_utf8_valid((hf_slice){bytes, size}, NULL));
        if (size > 1)
            assert_false(hf_utf8_valid((hf_slice){bytes, size - 1}, NULL));
    }
    assert_true(hf_utf8_valid((hf_slice){NULL, 0}, NULL));
}

static void finds_each_fault(void **state)
{
    static const char *const faults[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "\xc3",
        "\xc3(",
        "\xe2\x82",
        "\xe2\x82(",
        "\xf0\x9f\x98",
        "\xf0\x9f\x98(",
    };

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        uint8_t text[16] = "a\xc3\xa9";
        uint64_t offset = 99, size = strlen(faults[i]);

        memcpy(text + 3, faults[i], size);
        assert_false(hf_utf8_valid((hf_slice){text, 3 + size}, &offset));
        assert_int_equal(offset, 3);
    }
}

/* ASCII is skipped eight bytes at a time: a fault at any place behind it is still found there. */
static void finds_a_fault_behind_ascii(void **state)
{
    uint8_t text[40];

    (void)state;
    for (uint64_t size = 1; size <= sizeof text; size++) {
        for (uint64_t fault = 0; fault < size; fault++) {
            uint64_t offset = 99;

            memset(text, 'a', sizeof text);
            assert_true(hf_utf8_valid((hf_slice){text, size}, NULL));
            text[fault] = 0x80;
            assert_false(hf_utf8_valid((hf_slice){text, size}, &offset));
            assert_int_equal(offset, fault);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_round_trips),
        cmocka_unit_test(finds_each_fault),
        cmocka_unit_test(finds_a_fault_behind_ascii),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
