/* Shows which keys lines get, which lines are refused, and that idempotency keys tell writes apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/record_key.h"

#include <holdfast/lib/value.h>

static int32_t make(const char *fields, const char *line, hf_buffer *key, hf_error *error)
{
    cli_key_rule rule = {.line_prefix = "line-"};

    if (fields)
        assert_int_equal(cli_key_rule_parse(fields, &rule, NULL), 0);
    return cli_key_make(&rule, hf_slice_of(line), 42, key, error);
}

static void assert_key(const char *fields, const char *line, const char *expected, size_t size)
{
    hf_buffer key;

    hf_buffer_init(&key, 1 << 20);
    assert_int_equal(make(fields, line, &key, NULL), 0);
    assert_int_equal(key.size, size);
    assert_memory_equal(key.data, expected, size);
    hf_buffer_done(&key);
}

static void assert_refused(const char *fields, const char *line, int32_t code, const char *why)
{
    hf_buffer key;
    hf_error error = {0};

    hf_buffer_init(&key, 1 << 20);
    assert_int_equal(make(fields, line, &key, &error), code);
    assert_non_null(strstr(error.message, why));
    hf_buffer_done(&key);
}

static void joins_fields(void **state)
{
    (void)state;
    assert_key("id", "{\"id\":\"a/b\"}", "a/b", 3);
    assert_key("group,n", "{\"n\":7,\"group\":\"g\"}", "g/000007", 8);
    assert_key("n", "{\"n\":12345678}", "12345678", 8);
    assert_key("id", "{\"id\":\"a\\u0000b\"}", "a\0b", 3); /* not cut at the zero byte */
    assert_key("id", "{\"id\":\"\\u00e4\"}", "\xc3\xa4", 2);
    assert_key(NULL, "[1]", "line-000000042", 14);
}

static void refuses_what_makes_no_key(void **state)
{
    char line[2 * CLI_KEY_MAX];

    (void)state;
    assert_refused("id", "{\"id\":", HF_EINVAL, "byte");
    assert_refused(NULL, "{\"id\":", HF_EINVAL, "byte");
    assert_refused("id", "{}", HF_EINVAL, "'id' is missing");
    assert_refused("id", "[]", HF_EINVAL, "'id' is missing");
    assert_refused("a,id", "{\"a\":1,\"id\":\"\"}", HF_EINVAL, "'id' is empty");
    assert_refused("id", "{\"id\":-1}", HF_EINVAL, "'id' is");
    assert_refused("id", "{\"id\":1.5}", HF_EINVAL, "'id' is");
    assert_refused("id", "{\"id\":null}", HF_EINVAL, "'id' is");
    memset(line, 'x', sizeof line);
    memcpy(line, "{\"id\":\"", 7);
    memcpy(line + 7 + CLI_KEY_MAX, "\"}", 3);
    hf_buffer key;
    hf_buffer_init(&key, 1 << 20);
    assert_int_equal(make("id", line, &key, NULL), 0);
    assert_int_equal(key.size, CLI_KEY_MAX);
    hf_buffer_done(&key);
    memcpy(line + 7 + CLI_KEY_MAX, "x\"}", 4);
    assert_refused("id", line, HF_ETOOLARGE, "at most 1024 bytes");
}

static void rules_are_checked(void **state)
{
    cli_key_rule rule;
    char text[CLI_KEY_FIELD_SIZE + 1];

    (void)state;
    assert_int_equal(cli_key_rule_parse("a,b", &rule, NULL), 0);
    assert_int_equal(rule.count, 2);
    assert_string_equal(rule.fields[1], "b");
    assert_int_equal(cli_key_rule_parse("", &rule, NULL), HF_EINVAL);
    assert_int_equal(cli_key_rule_parse("a,,b", &rule, NULL), HF_EINVAL);
    assert_int_equal(cli_key_rule_parse("a,", &rule, NULL), HF_EINVAL);
    assert_int_equal(cli_key_rule_parse("a,b,c,d,e,f,g,h", &rule, NULL), 0);
    assert_int_equal(cli_key_rule_parse("a,b,c,d,e,f,g,h,i", &rule, NULL), HF_EINVAL);
    memset(text, 'f', sizeof text);
    text[CLI_KEY_FIELD_SIZE] = '\0';
    assert_int_equal(cli_key_rule_parse(text, &rule, NULL), HF_EINVAL);
}

static void idempotency_keys_tell_writes_apart(void **state)
{
    char first[CLI_IDEMPOTENCY_SIZE], other[CLI_IDEMPOTENCY_SIZE];
    hf_slice key = hf_slice_of("k"), line = hf_slice_of("{}");

    (void)state;
    cli_idempotency_key("/a/file.jsonl", 1, key, line, first);
    assert_true(strlen(first) <= 64);
    cli_idempotency_key("file.jsonl", 1, key, line, other); /* the same from another folder */
    assert_string_equal(first, other);
    cli_idempotency_key("file.jsonl", 2, key, line, other);
    assert_string_not_equal(first, other);
    cli_idempotency_key("file.jsonl", 1, hf_slice_of("l"), line, other);
    assert_string_not_equal(first, other);
    cli_idempotency_key("file.jsonl", 1, key, hf_slice_of("[]"), other);
    assert_string_not_equal(first, other);
    cli_idempotency_key("other.jsonl", 1, key, line, other);
    assert_string_not_equal(first, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_fields),
        cmocka_unit_test(refuses_what_makes_no_key),
        cmocka_unit_test(rules_are_checked),
        cmocka_unit_test(idempotency_keys_tell_writes_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
