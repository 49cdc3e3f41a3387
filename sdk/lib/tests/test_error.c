/* Shows that errors carry code, advice and one clean line, however long the text is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <holdfast/lib/error.h>

static void sets_code_and_advice(void **state)
{
    hf_error error;

    (void)state;
    assert_int_equal(hf_error_set(&error, HF_EBUSY, "queue of '%s' is full", "orders"), HF_EBUSY);
    assert_int_equal(error.code, HF_EBUSY);
    assert_int_equal(error.retry, HF_RETRY_LATER);
    assert_string_equal(error.message, "queue of 'orders' is full");
    assert_int_equal(hf_error_set(NULL, HF_EIO, "nobody listens"), HF_EIO);
}

static void control_characters_become_spaces(void **state)
{
    hf_error error;

    (void)state;
    hf_error_set(&error, HF_EINVAL, "a\nb\tc\x7f");
    assert_string_equal(error.message, "a b c ");
}

static void long_text_ends_at_a_whole_character(void **state)
{
    char text[2 * HF_ERROR_MESSAGE_SIZE];
    hf_error error;

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xe4\xb8\xad", 4);
        hf_error_set(&error, HF_EINVAL, "%s", text);
        size_t size = strlen(error.message);
        assert_true(size >= HF_ERROR_MESSAGE_SIZE - 4);
        assert_int_equal((size - shift) % 3, 0);
    }
}

static void adds_the_systems_words_and_a_prefix(void **state)
{
    hf_error error;

    (void)state;
    hf_error_set_errno(&error, HF_EIO, ENOSPC, "cannot write '%s'", "/x");
    assert_string_equal(error.message, "cannot write '/x': No space left on device");
    assert_int_equal(hf_error_prefix(&error, "table '%s'", "t"), HF_EIO);
    assert_string_equal(error.message, "table 't': cannot write '/x': No space left on device");
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    for (int32_t code = HF_EMOVED; code <= 0; code++)
        assert_string_not_equal(hf_error_name(code), "HF_E?");
    assert_string_equal(hf_error_name(HF_EVERSION), "HF_EVERSION");
    assert_string_equal(hf_error_name(HF_EMOVED), "HF_EMOVED");
    assert_string_equal(hf_error_name(HF_EMOVED - 1), "HF_E?");
    assert_string_equal(hf_error_name(1), "HF_E?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_code_and_advice),
        cmocka_unit_test(control_characters_become_spaces),
        cmocka_unit_test(long_text_ends_at_a_whole_character),
        cmocka_unit_test(adds_the_systems_words_and_a_prefix),
        cmocka_unit_test(every_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
