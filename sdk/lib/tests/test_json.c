/* Shows that JSON is read strictly, that what is written reads back as the same value, and that limits and refusals
 * hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/hash.h>
#include <holdfast/lib/json.h>

enum { PLENTY = 16 << 20 };

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

typedef struct fixture {
    hf_arena arena;
    hf_buffer buffer;
    hf_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);

    if (!f)
        return -1;
    hf_arena_init(&f->arena, PLENTY);
    hf_buffer_init(&f->buffer, PLENTY);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    hf_arena_done(&f->arena);
    hf_buffer_done(&f->buffer);
    free(f);
    return 0;
}

/* The text in memory of exactly its size, so that a sanitizer sees any byte read behind it, and gone afterwards. */
static int32_t parse_slice(fixture *f, hf_slice text, hf_value *ret_value)
{
    uint8_t *copy = malloc(text.size ? text.size : 1);

    assert_non_null(copy);
    if (text.size)
        memcpy(copy, text.data, text.size);
    f->error = (hf_error){0};

    int32_t checked = hf_json_check((hf_slice){copy, text.size}, NULL);
    int32_t r = hf_json_parse((hf_slice){copy, text.size}, &f->arena, ret_value, &f->error);

    if (r >= 0)
        assert_int_equal(checked, HF_OK);
    else if (r == HF_EINVAL && !strstr(f->error.message, "a second member"))
        assert_int_equal(checked, HF_EINVAL);
    memset(copy, 'x', text.size);
    free(copy);
    return r;
}

static hf_value parse(fixture *f, const char *text)
{
    hf_value value = hf_value_null();

    if (parse_slice(f, hf_slice_of(text), &value) != HF_OK)
        fail_msg("%s: %s", text, f->error.message);
    return value;
}

static void assert_text(const fixture *f, const char *expected)
{
    if (!hf_slice_is((hf_slice){f->buffer.data, f->buffer.size}, expected))
        fail_msg("expected %s, got %.*s", expected, (int)f->buffer.size, (const char *)f->buffer.data);
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

static void reads_every_type(void **state)
{
    fixture *f = *state;
    hf_value v =
        parse(f, " {\"n\":null , \"t\":true,\"f\":false,\"i\":-42,\"d\":2.5,\r\n\t\"s\":\"text\",\"l\":[1,[],{}],"
                 "\"m\":{\"a\":{\"b\":[null]}}} ");

    assert_int_equal(v.type, HF_VALUE_MAP);
    assert_int_equal(v.count, 8);
    assert_int_equal(hf_value_get(&v, "n")->type, HF_VALUE_NULL);
    assert_int_equal(hf_value_get_boolean(&v, "t", 0), 1);
    assert_int_equal(hf_value_get_boolean(&v, "f", 1), 0);
    assert_int_equal(hf_value_get_integer(&v, "i", 0), -42);
    assert_true(hf_value_get_float(&v, "d", 0) == 2.5);
    assert_true(hf_slice_is(hf_value_get_string(&v, "s", hf_slice_of("")), "text"));

    const hf_value *list = hf_value_get(&v, "l");

    assert_int_equal(list->type, HF_VALUE_LIST);
    assert_int_equal(list->count, 3);
    assert_int_equal(list->as.items[0].as.integer, 1);
    assert_int_equal(list->as.items[1].type, HF_VALUE_LIST);
    assert_int_equal(list->as.items[1].count, 0);
    assert_int_equal(list->as.items[2].type, HF_VALUE_MAP);
    assert_int_equal(hf_value_get(hf_value_get(hf_value_get(&v, "m"), "a"), "b")->count, 1);
    assert_true(hf_slice_is(v.as.members[7].name, "m"));
}

static void decodes_strings(void **state)
{
    static const struct {
        const char *json;
        const char *text;
        uint64_t size;
    } cases[] = {
        {"\"\"", "", 0},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"plain text of more than eight bytes \xe2\x82\xac and on, \\n, and on\"",
         "plain text of more than eight bytes \xe2\x82\xac and on, \n, and on", 57},
        {"\"\x7f\"", "\x7f", 1},
        {"\"\xf4\x8f\xbf\xbf\"", "\xf4\x8f\xbf\xbf", 4},
    };
    fixture *f = *state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        hf_value v = parse(f, cases[i].json);

        assert_int_equal(v.type, HF_VALUE_STRING);
        assert_int_equal(v.count, cases[i].size);
        assert_memory_equal(v.as.text, cases[i].text, cases[i].size);
        assert_int_equal(v.as.text[v.count], 0);
    }
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *json;
        int64_t integer;
    } integers[] = {{"0", 0},
                    {"-0", 0},
                    {"-1", -1},
                    {"1234567890", 1234567890},
                    {"9223372036854775807", INT64_MAX},
                    {"-9223372036854775808", INT64_MIN}};
    static const struct {
        const char *json;
        double number;
    } floats[] = {
        {"0.0", 0},
        {"1e3", 1000},
        {"1E+3", 1000},
        {"25e-1", 2.5},
        {"0.1", 0.1},
        {"123.456", 123.456},
        {"9223372036854775808", 9223372036854775808.0},
        {"-9223372036854775809", -9223372036854775809.0},
        {"18446744073709551616", 18446744073709551616.0},
        {"100000000000000000000000000000000", 1e32},
        {"9007199254740993.0", 9007199254740993.0},
        {"2.2250738585072011e-308", 2.2250738585072011e-308},
        {"1.7976931348623157e308", DBL_MAX},
        {"4.9e-324", 4.9e-324},
        {"1e-400", 0},
        {"0e999999999999999999999", 0},
        {"0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000001e88", 0.1}};
    fixture *f = *state;

    for (size_t i = 0; i < LENGTH(integers); i++) {
        hf_value v = parse(f, integers[i].json);

        assert_int_equal(v.type, HF_VALUE_INTEGER);
        assert_true(v.as.integer == integers[i].integer);
    }
    for (size_t i = 0; i < LENGTH(floats); i++) {
        hf_value v = parse(f, floats[i].json);

        assert_int_equal(v.type, HF_VALUE_FLOAT);
        if (v.as.number != floats[i].number)
            fail_msg("%s was read as %.17g", floats[i].json, v.as.number);
    }
    assert_true(signbit(parse(f, "-0.0").as.number));
}

/* An exponent far too large for the fast path, taken back by as many zeroes of the fraction. */
static void reads_a_very_long_number(void **state)
{
    enum { ZEROES = 2000000 };
    fixture *f = *state;
    char *text = malloc(ZEROES + 32);
    hf_value v = hf_value_null();

    assert_non_null(text);
    memset(text, '0', ZEROES + 2);
    text[1] = '.';
    strcpy(text + ZEROES + 2, "7e20000000");
    assert_int_equal(parse_slice(f, hf_slice_of(text), &v), HF_EINVAL);
    strcpy(text + ZEROES + 2, "7e2000001");
    assert_int_equal(parse_slice(f, hf_slice_of(text), &v), HF_OK);
    free(text);
    assert_int_equal(v.type, HF_VALUE_FLOAT);
    assert_true(v.as.number == 7.0);
}

static void refuses_what_is_malformed(void **state)
{
    static const struct {
        const char *json;
        const char *message; /* its beginning */
    } cases[] = {
        {"", "byte 0: the text ends; expected a value"},
        {"  ", "byte 2: the text ends; expected a value"},
        {"nul", "byte 0: found 'n'; expected a value"},
        {"True", "byte 0: found 'T'; expected a value"},
        {"truex", "byte 4: found 'x'; expected nothing after the value"},
        {"1 2", "byte 2: found '2'; expected nothing after the value"},
        {"\xef\xbb\xbf{}", "byte 0: found the byte 0xef; expected a value"},
        {"[1,]", "byte 3: found ']'; expected a value"},
        {"[,1]", "byte 1: found ','; expected a value"},
        {"[1 2]", "byte 3: found '2'; expected ',' or ']'"},
        {"[1", "byte 2: the text ends; expected ',' or ']'"},
        {"[", "byte 1: the text ends; expected a value"},
        {"]", "byte 0: found ']'; expected a value"},
        {"[1}", "byte 2: found '}'; expected ',' or ']'"},
        {"{", "byte 1: the text ends; expected a name"},
        {"{\"a\"}", "byte 4: found '}'; expected ':'"},
        {"{\"a\":}", "byte 5: found '}'; expected a value"},
        {"{\"a\":1,}", "byte 7: found '}'; expected a name"},
        {"{\"a\":1 \"b\":2}", "byte 7: found '\"'; expected ',' or '}'"},
        {"{a:1}", "byte 1: found 'a'; expected a name"},
        {"{1:1}", "byte 1: found '1'; expected a name"},
        {"/**/1", "byte 0: found '/'; expected a value"},
        {"\"abc", "byte 4: the text ends; expected a closing quote"},
        {"\"a\nb\"", "byte 2: found the byte 0x0a; expected a closing quote"},
        {"'a'", "byte 0: found '''; expected a value"},
        {"\"\\x\"", "byte 2: found 'x'; expected one of"},
        {"\"\\", "byte 2: the text ends; expected one of"},
        {"\"\\u12", "byte 5: the text ends; expected four hexadecimal digits"},
        {"\"\\u12g4\"", "byte 5: found 'g'; expected four hexadecimal digits"},
        {"\"\\ud800\"", "byte 1: half of a surrogate pair"},
        {"\"\\udc00\"", "byte 1: half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "byte 1: half of a surrogate pair"},
        {"\"\\ud800\\n\"", "byte 1: half of a surrogate pair"},
        {"\"ab\xff\"", "byte 3: found the byte 0xff; expected UTF-8"},
        {"\"\xc3\"", "byte 1: found the byte 0xc3; expected UTF-8"},
        {"\"\xed\xa0\x80\"", "byte 1: found the byte 0xed; expected UTF-8"},
        {"-", "byte 1: the text ends; expected a digit"},
        {"+1", "byte 0: found '+'; expected a value"},
        {"01", "byte 1: found '1'; expected no digit after a leading zero"},
        {"-01", "byte 2: found '1'; expected no digit after a leading zero"},
        {".5", "byte 0: found '.'; expected a value"},
        {"1.", "byte 2: the text ends; expected a digit"},
        {"1.e1", "byte 2: found 'e'; expected a digit"},
        {"1e", "byte 2: the text ends; expected a digit of the exponent"},
        {"1e+", "byte 3: the text ends; expected a digit of the exponent"},
        {"0x1", "byte 1: found 'x'; expected nothing after"},
        {"[1e309]", "byte 1: the number is out of range"},
        {"-1e99999999999999999999", "byte 0: the number is out of range"},
        {"NaN", "byte 0: found 'N'; expected a value"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        hf_value v = hf_value_integer(77);

        assert_int_equal(parse_slice(f, hf_slice_of(cases[i].json), &v), HF_EINVAL);
        assert_int_equal(f->error.code, HF_EINVAL);
        assert_int_equal(v.as.integer, 77);
        if (strncmp(f->error.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s: expected %s, got %s", cases[i].json, cases[i].message, f->error.message);
    }
    assert_int_equal(hf_json_check((hf_slice){NULL, 0}, NULL), HF_EINVAL);
    assert_int_equal(hf_json_check((hf_slice){(const uint8_t *)"\"a\0b\"", 5}, NULL), HF_EINVAL);
    assert_int_equal(hf_json_check((hf_slice){(const uint8_t *)"1\0", 2}, NULL), HF_EINVAL);
}

static void every_cut_is_refused(void **state)
{
    static const char text[] = "{\"a\\u00e9\":[1.5e3,true,false,null,\"\\ud83d\\ude00\xe2\x82\xac\"],\"b\":{}}";
    fixture *f = *state;
    hf_value v = hf_value_null();

    for (uint64_t size = 0; size < sizeof text - 1; size++)
        assert_int_equal(parse_slice(f, (hf_slice){(const uint8_t *)text, size}, &v), HF_EINVAL);
    assert_int_equal(parse_slice(f, hf_slice_of(text), &v), HF_OK);
}

static void refuses_duplicate_names(void **state)
{
    static const char *const cases[] = {
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"\":1,\"b\":[],\"\":2}]",
        "{\"x\":{\"k\":1,\"l\":2,\"k\":3}}",
    };
    fixture *f = *state;
    hf_value v;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(parse_slice(f, hf_slice_of(cases[i]), &v), HF_EINVAL);
        assert_non_null(strstr(f->error.message, "a second member is called"));
        assert_int_equal(hf_json_check(hf_slice_of(cases[i]), NULL), HF_OK);
    }
    assert_int_equal(parse_slice(f, hf_slice_of(cases[0]), &v), HF_EINVAL);
    assert_int_equal(strncmp(f->error.message, "byte 7:", 7), 0);
    parse(f, "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}");
}

/* Both ways of looking for duplicates, and the growth of the stack. */
static void objects_of_every_size(void **state)
{
    fixture *f = *state;
    static const int sizes[] = {1, 15, 16, 17, 18, 31, 32, 33, 64, 65, 3000};

    for (size_t s = 0; s < LENGTH(sizes); s++) {
        hf_value v = hf_value_null();

        hf_buffer_clear(&f->buffer);
        assert_int_equal(hf_buffer_append(&f->buffer, "{", 1), HF_OK);
        for (int i = 0; i < sizes[s]; i++)
            assert_int_equal(hf_buffer_append_format(&f->buffer, "%s\"%d\":[%d]", i ? "," : "", i, i), HF_OK);

        uint64_t size = f->buffer.size;

        assert_int_equal(hf_buffer_append(&f->buffer, "}", 1), HF_OK);
        assert_int_equal(parse_slice(f, (hf_slice){f->buffer.data, f->buffer.size}, &v), HF_OK);
        assert_int_equal(v.count, sizes[s]);
        for (int i = 0; i < sizes[s]; i++) {
            char name[16];

            snprintf(name, sizeof name, "%d", i);
            assert_true(hf_slice_is(v.as.members[i].name, name));
            assert_int_equal(v.as.members[i].value.as.items[0].as.integer, i);
        }
        f->buffer.size = size;
        assert_int_equal(hf_buffer_append_format(&f->buffer, ",\"%d\":0,\"0\":0}", sizes[s] / 2), HF_OK);
        assert_int_equal(parse_slice(f, (hf_slice){f->buffer.data, f->buffer.size}, &v), HF_EINVAL);

        char message[64];

        snprintf(message, sizeof message, "byte %d: a second member is called \"%d\"", (int)size + 1, sizes[s] / 2);
        assert_int_equal(strncmp(f->error.message, message, strlen(message)), 0);
    }
}

static void a_long_duplicate_is_cut_at_a_character(void **state)
{
    fixture *f = *state;
    hf_value v;
    char text[400] = "{\"x", name[200] = "";

    for (int i = 0; i < 60; i++)
        strcat(name, "\xc3\xa9");
    strcat(strcat(strcat(strcat(strcat(text, name), "\":1,\"x"), name), "\""), ":2}");
    assert_int_equal(parse_slice(f, hf_slice_of(text), &v), HF_EINVAL);

    char *quote = strchr(f->error.message, '"');

    assert_non_null(quote);
    assert_int_equal(strchr(quote + 1, '"') - quote - 1, 59);
}

static void depth_is_limited(void **state)
{
    fixture *f = *state;
    char text[2 * HF_JSON_DEPTH_MAX + 8] = "";
    hf_value v;

    memset(text, '[', HF_JSON_DEPTH_MAX);
    memset(text + HF_JSON_DEPTH_MAX, ']', HF_JSON_DEPTH_MAX);
    v = parse(f, text);
    assert_int_equal(hf_json_append(&f->buffer, &v), HF_OK);
    assert_text(f, text);

    hf_value deeper = hf_value_list(&v, 1);

    assert_int_equal(hf_json_append(&f->buffer, &deeper), HF_ETOOLARGE);
    assert_text(f, text);
    assert_int_equal(hf_json_append_pretty(&f->buffer, &deeper), HF_ETOOLARGE);
    memset(text, '[', HF_JSON_DEPTH_MAX + 1);
    assert_int_equal(parse_slice(f, hf_slice_of(text), &v), HF_EINVAL);
    assert_non_null(strstr(f->error.message, "byte 64: the values are nested too deeply"));
    /* Siblings do not add up. */
    parse(f,
          "[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
          "[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
          "[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
          "[[]],[[]],[[]],[[]],[[]],[[]],[[]]]");
}

static void a_full_arena_is_out_of_memory(void **state)
{
    static const char *const cases[] = {"\"abc\"", "[1]", "{\"a\":1}", "[[[1]]]"};
    fixture *f = *state;
    hf_value v = hf_value_integer(7);

    hf_arena_done(&f->arena);
    hf_arena_init(&f->arena, 0);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(parse_slice(f, hf_slice_of(cases[i]), &v), HF_ENOMEM);
        assert_int_equal(f->error.code, HF_ENOMEM);
    }
    assert_int_equal(v.as.integer, 7);
    assert_int_equal(parse(f, "[]").count, 0);

    /* What can never fit is refused while it is gathered. */
    hf_arena_init(&f->arena, 8192);
    assert_int_equal(hf_buffer_append(&f->buffer, "[0", 2), HF_OK);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(hf_buffer_append(&f->buffer, ",0", 2), HF_OK);
    assert_int_equal(hf_buffer_append(&f->buffer, "]", 1), HF_OK);
    assert_int_equal(parse_slice(f, (hf_slice){f->buffer.data, f->buffer.size}, &v), HF_ENOMEM);

    unsigned long long at = strtoull(f->error.message + strlen("byte "), NULL, 10);

    assert_in_range(at, 1, 4000);
}

/* ---- Finding one member -------------------------------------------------------------------------------------- */

static void finds_a_string(void **state)
{
    static const struct {
        const char *json;
        int32_t result;
        const char *text;
    } cases[] = {
        {"{\"user\":\"ann\"}", HF_OK, "ann"},
        {" { \"a\" : [1,{\"user\":\"no\"}] , \"user\" : \"a\\u00e9\\n\" , \"b\":1 } ", HF_OK, "a\xc3\xa9\n"},
        {"{\"us\\u0065r\":\"escaped\"}", HF_OK, "escaped"},
        {"{\"use\\u0072s\":\"no\",\"us\\u0065\":\"no\",\"user\":\"\"}", HF_OK, ""},
        {"{\"user\":\"first\",\"user\":\"second\"}", HF_OK, "first"},
        {"{\"user\":\"found\" what follows is not looked at", HF_OK, "found"},
        {"{}", HF_ENOTFOUND, NULL},
        {"{\"a\":\"user\",\"User\":\"x\",\"userx\":\"x\",\"\":\"x\"}", HF_ENOTFOUND, NULL},
        {"{\"a\":{\"user\":\"inner\"}}", HF_ENOTFOUND, NULL},
        {"{\"user\":1}", HF_ENOTFOUND, NULL},
        {"{\"user\":[\"ann\"]}", HF_ENOTFOUND, NULL},
        {"[\"user\",\"ann\"]", HF_ENOTFOUND, NULL},
        {"\"user\"", HF_ENOTFOUND, NULL},
        {"", HF_EINVAL, NULL},
        {"[", HF_EINVAL, NULL},
        {"{\"a\":1", HF_EINVAL, NULL},
        {"{\"a\":1,}", HF_EINVAL, NULL},
        {"{\"a\":1 \"user\":\"ann\"}", HF_EINVAL, NULL},
        {"{\"a\":tru,\"user\":\"ann\"}", HF_EINVAL, NULL},
        {"{\"a\":\"\xff\",\"user\":\"ann\"}", HF_EINVAL, NULL},
        {"{\"user\" \"ann\"}", HF_EINVAL, NULL},
        {"{\"user\":\"ann", HF_EINVAL, NULL},
        {"{\"user\":\"\xff\"}", HF_EINVAL, NULL},
        {"{\"user\":[1,}", HF_EINVAL, NULL},
        {"{user:\"ann\"}", HF_EINVAL, NULL},
        {"{} x", HF_EINVAL, NULL},
    };
    fixture *f = *state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        hf_slice found = hf_slice_of("untouched");
        int32_t r = hf_json_find_string(hf_slice_of(cases[i].json), "user", &f->arena, &found);

        if (r != cases[i].result || !hf_slice_is(found, r < 0 ? "untouched" : cases[i].text))
            fail_msg("%s: result %d, %.*s", cases[i].json, r, (int)found.size, (const char *)found.data);
    }
}

static void finding_builds_nothing_else(void **state)
{
    fixture *f = *state;
    hf_slice found = {NULL, 0};

    hf_arena_done(&f->arena);
    hf_arena_init(&f->arena, 4096);
    assert_int_equal(hf_buffer_append(&f->buffer, "{\"a\":[", 6), HF_OK);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(hf_buffer_append(&f->buffer, "\"some text\",", 12), HF_OK);
    assert_int_equal(hf_buffer_append(&f->buffer, "0],\"k\":\"v\"}", 11), HF_OK);
    assert_int_equal(hf_json_find_string((hf_slice){f->buffer.data, f->buffer.size}, "k", &f->arena, &found), HF_OK);
    assert_true(hf_slice_is(found, "v"));
    assert_int_equal(hf_json_find_string((hf_slice){f->buffer.data, f->buffer.size}, "l", &f->arena, &found),
                     HF_ENOTFOUND);
    hf_arena_done(&f->arena);
    hf_arena_init(&f->arena, 0);
    assert_int_equal(hf_json_find_string((hf_slice){f->buffer.data, f->buffer.size}, "k", &f->arena, &found),
                     HF_ENOMEM);
}

/* ---- Writing ------------------------------------------------------------------------------------------------- */

static void writes_the_shortest_form(void **state)
{
    fixture *f = *state;
    const char *shortest =
        "{\"n\":null,\"t\":true,\"f\":false,\"i\":-9223372036854775808,\"l\":[1,[],{},0.1],\"m\":{\"\":"
        "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\"}}";
    hf_value v = parse(f, shortest);

    assert_int_equal(hf_json_append(&f->buffer, &v), HF_OK);
    assert_text(f, shortest);
}

static void writes_for_people(void **state)
{
    fixture *f = *state;
    const char *pretty = "{\n  \"a\": 1,\n  \"b\": [\n    true,\n    {\n      \"c\": \"d\"\n    }\n  ],\n  \"e\": [],\n"
                         "  \"f\": {}\n}";
    hf_value v = parse(f, "{\"a\":1,\"b\":[true,{\"c\":\"d\"}],\"e\":[],\"f\":{}}");

    assert_int_equal(hf_json_append_pretty(&f->buffer, &v), HF_OK);
    assert_text(f, pretty);
}

static void assert_float(fixture *f, double number, const char *expected)
{
    hf_value v = hf_value_float(number);

    hf_buffer_clear(&f->buffer);
    assert_int_equal(hf_json_append(&f->buffer, &v), HF_OK);
    assert_text(f, expected);
}

static void writes_floats(void **state)
{
    fixture *f = *state;

    assert_float(f, 0.0, "0.0");
    assert_float(f, -0.0, "-0.0");
    assert_float(f, 3.0, "3.0");
    assert_float(f, 0.1, "0.1");
    assert_float(f, -2.5, "-2.5");
    assert_float(f, 0.1 + 0.2, "0.30000000000000004");
    assert_float(f, 1e22, "1e+22");
    assert_float(f, 1.0 / 3, "0.3333333333333333");
    assert_float(f, 12345678901234568.0, "12345678901234568.0");
    assert_float(f, DBL_MAX, "1.7976931348623157e+308");
    assert_float(f, (double)INFINITY, "null");
    assert_float(f, (double)-INFINITY, "null");
    assert_float(f, (double)NAN, "null");
}

/* Doubles of every exponent, by their bits. */
static void floats_read_back_the_same(void **state)
{
    fixture *f = *state;
    hf_random random;

    hf_random_init(&random, 7);
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = hf_random_next(&random);
        hf_value v = hf_value_float(0), again = hf_value_null();

        if (i % 2)
            v.as.number = (double)(int64_t)(bits >> 20) / (double)(1 << (bits & 15));
        else
            memcpy(&v.as.number, &bits, sizeof bits);
        if (!isfinite(v.as.number))
            continue;
        hf_buffer_clear(&f->buffer);
        assert_int_equal(hf_json_append(&f->buffer, &v), HF_OK);
        assert_int_equal(hf_json_parse((hf_slice){f->buffer.data, f->buffer.size}, &f->arena, &again, NULL), HF_OK);
        assert_int_equal(again.type, HF_VALUE_FLOAT);
        assert_memory_equal(&again.as.number, &v.as.number, sizeof(double));
    }
}

/* The fast path and the C library agree. */
static void reading_rounds_as_the_library_does(void **state)
{
    fixture *f = *state;
    hf_random random;

    hf_random_init(&random, 11);
    for (int i = 0; i < 50000; i++) {
        char text[64];
        uint64_t digits = hf_random_next(&random) >> hf_random_below(&random, 64);
        int power = (int)hf_random_below(&random, 60) - 30;
        hf_value v = hf_value_null();

        snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)(digits / 1000),
                 (unsigned long long)(digits % 1000), power);
        assert_int_equal(hf_json_parse(hf_slice_of(text), &f->arena, &v, NULL), HF_OK);
        if (v.type != HF_VALUE_FLOAT || v.as.number != strtod(text, NULL))
            fail_msg("%s was read as %.17g", text, v.as.number);
    }
}

/* Whatever locale with a decimal comma the machine has; without one there is nothing to show. */
static void the_locale_does_not_matter(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    fixture *f = *state;
    const char *set = NULL;

    for (size_t i = 0; i < LENGTH(names) && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]);
    if (!set)
        skip();

    double number = parse(f, "0.30000000000000004").as.number;
    hf_value v = hf_value_float(number);
    int32_t r = hf_json_append(&f->buffer, &v);

    setlocale(LC_NUMERIC, "C");
    assert_true(number == 0.1 + 0.2);
    assert_int_equal(r, HF_OK);
    assert_text(f, "0.30000000000000004");
}

static void repairs_what_is_not_utf8(void **state)
{
    fixture *f = *state;

    assert_int_equal(hf_json_append_string(&f->buffer, hf_slice_of("a\xff\"\xe2\x82z\xc3\xa9\xc3")), HF_OK);
    assert_text(f, "\"a\xef\xbf\xbd\\\"\xef\xbf\xbd\xef\xbf\xbdz\xc3\xa9\xef\xbf\xbd\"");
    assert_int_equal(hf_json_check((hf_slice){f->buffer.data, f->buffer.size}, NULL), HF_OK);
    hf_buffer_clear(&f->buffer);
    assert_int_equal(hf_json_append_string(&f->buffer, (hf_slice){NULL, 0}), HF_OK);
    assert_text(f, "\"\"");
    hf_buffer_clear(&f->buffer);
    assert_int_equal(hf_json_append_string(&f->buffer, (hf_slice){(const uint8_t *)"a\0b", 3}), HF_OK);
    assert_text(f, "\"a\\u0000b\"");
}

/* Text is looked at eight bytes at a time, on both ways: a special byte is seen at any place. */
static void special_bytes_are_seen_at_every_place(void **state)
{
    static const char specials[] = "\"\\\n\x1f\xff\x01";
    fixture *f = *state;

    for (uint64_t size = 1; size < 24; size++) {
        for (uint64_t i = 0; i < size * (sizeof specials - 1); i++) {
            uint8_t text[32];
            hf_value v = hf_value_null();

            memset(text, 'a', sizeof text);
            text[0] = '"';
            text[1 + i % size] = (uint8_t)specials[i / size];
            text[1 + size] = '"';
            assert_int_equal(parse_slice(f, (hf_slice){text, size + 2}, &v), HF_EINVAL);
            hf_buffer_clear(&f->buffer);
            assert_int_equal(hf_json_append_string(&f->buffer, (hf_slice){text + 1, size}), HF_OK);
            assert_int_equal(parse_slice(f, (hf_slice){f->buffer.data, f->buffer.size}, &v), HF_OK);
            if (specials[i / size] == '\xff') {
                assert_int_equal(v.count, size + 2);
                assert_memory_equal(v.as.text + i % size, "\xef\xbf\xbd", 3);
            } else {
                assert_true(hf_slice_equal(hf_value_slice(&v), (hf_slice){text + 1, size}));
            }
        }
    }
}

static void a_full_buffer_is_as_it_was(void **state)
{
    fixture *f = *state;
    hf_value v = parse(f, "{\"a\":[1,2.5,\"\\n\"],\"b\":{\"c\":null}}");

    for (uint64_t maximum = 3; maximum < 36; maximum++) {
        hf_buffer buffer;

        hf_buffer_init(&buffer, maximum);
        assert_int_equal(hf_buffer_append(&buffer, "old", 3), HF_OK);
        assert_int_equal(hf_json_append(&buffer, &v), HF_ETOOLARGE);
        assert_int_equal(hf_json_append_pretty(&buffer, &v), HF_ETOOLARGE);
        assert_int_equal(hf_json_append_string(&buffer, hf_slice_of("thirty-six bytes of text, or even more")),
                         HF_ETOOLARGE);
        assert_int_equal(buffer.size, 3);
        assert_memory_equal(buffer.data, "old", 3);
        hf_buffer_done(&buffer);
    }
}

static void writes_piece_by_piece(void **state)
{
    fixture *f = *state;
    const hf_value_member members[] = {{hf_slice_of("x"), hf_value_integer(1)}};
    const hf_value map = hf_value_map(members, 1);
    hf_json_writer w;

    hf_json_writer_init(&w, &f->buffer);
    hf_json_begin_object(&w);
    hf_json_name(&w, "list");
    hf_json_begin_list(&w);
    hf_json_begin_list(&w);
    hf_json_end_list(&w);
    hf_json_begin_list(&w);
    hf_json_integer(&w, -1);
    hf_json_unsigned(&w, UINT64_MAX);
    hf_json_float(&w, 0.5);
    hf_json_end_list(&w);
    hf_json_boolean(&w, 1);
    hf_json_boolean(&w, 0);
    hf_json_end_list(&w);
    hf_json_name(&w, "text\n");
    hf_json_text(&w, "a\"b");
    hf_json_name(&w, "none");
    hf_json_text(&w, NULL);
    hf_json_name(&w, "string");
    hf_json_string(&w, (hf_slice){(const uint8_t *)"ab", 1});
    hf_json_name(&w, "value");
    hf_json_value(&w, &map);
    hf_json_name(&w, "raw");
    hf_json_raw(&w, hf_slice_of("[ ]"));
    hf_json_name(&w, "empty");
    hf_json_begin_object(&w);
    hf_json_end_object(&w);
    hf_json_end_object(&w);
    assert_int_equal(w.result, HF_OK);
    assert_int_equal(w.depth, 0);
    assert_text(f, "{\"list\":[[],[-1,18446744073709551615,0.5],true,false],\"text\\n\":\"a\\\"b\",\"none\":null,"
                   "\"string\":\"a\",\"value\":{\"x\":1},\"raw\":[ ],\"empty\":{}}");
    assert_int_equal(hf_json_check((hf_slice){f->buffer.data, f->buffer.size}, NULL), HF_OK);
}

static void a_member_is_written_in_one_call(void **state)
{
    fixture *f = *state;
    hf_json_writer w;

    hf_json_writer_init(&w, &f->buffer);
    hf_json_begin_object(&w);
    hf_json_member_text(&w, "text", "a");
    hf_json_member_text(&w, "none", NULL);
    hf_json_member_string(&w, "string", (hf_slice){(const uint8_t *)"bc", 1});
    hf_json_member_integer(&w, "integer", INT64_MIN);
    hf_json_member_unsigned(&w, "unsigned", UINT64_MAX);
    hf_json_member_float(&w, "float", 0.5);
    hf_json_member_boolean(&w, "boolean", 1);
    hf_json_end_object(&w);
    assert_int_equal(w.result, HF_OK);
    assert_text(f, "{\"text\":\"a\",\"none\":null,\"string\":\"b\",\"integer\":-9223372036854775808,"
                   "\"unsigned\":18446744073709551615,\"float\":0.5,\"boolean\":true}");
}

static void the_writer_reaches_every_level(void **state)
{
    fixture *f = *state;
    hf_value empty = hf_value_list(NULL, 0);
    hf_json_writer w;

    hf_json_writer_init(&w, &f->buffer);
    for (int i = 0; i < HF_JSON_DEPTH_MAX; i++) {
        hf_json_begin_list(&w);
        hf_json_integer(&w, i);
    }
    for (int i = 0; i < HF_JSON_DEPTH_MAX; i++) {
        hf_json_integer(&w, i);
        hf_json_end_list(&w);
    }
    assert_int_equal(w.result, HF_OK);
    assert_int_equal(hf_json_check((hf_slice){f->buffer.data, f->buffer.size}, NULL), HF_OK);

    hf_buffer_clear(&f->buffer);
    hf_json_writer_init(&w, &f->buffer);
    for (int i = 0; i <= HF_JSON_DEPTH_MAX; i++)
        hf_json_begin_list(&w);
    assert_int_equal(w.result, HF_ETOOLARGE);

    hf_json_writer_init(&w, &f->buffer);
    for (int i = 0; i < HF_JSON_DEPTH_MAX; i++)
        hf_json_begin_list(&w);
    assert_int_equal(w.result, HF_OK);
    hf_json_value(&w, &empty);
    assert_int_equal(w.result, HF_ETOOLARGE);
}

static void errors_of_the_writer_stick(void **state)
{
    fixture *f = *state;
    hf_buffer small;
    hf_json_writer w;

    hf_buffer_init(&small, 6);
    hf_json_writer_init(&w, &small);
    hf_json_begin_list(&w);
    hf_json_text(&w, "too long");
    assert_int_equal(w.result, HF_ETOOLARGE);

    uint64_t size = small.size;

    hf_json_integer(&w, 1);
    hf_json_end_list(&w);
    hf_json_end_list(&w);
    assert_int_equal(w.result, HF_ETOOLARGE);
    assert_int_equal(small.size, size);
    hf_buffer_done(&small);

    hf_json_writer_init(&w, &f->buffer);
    hf_json_end_object(&w);
    assert_int_equal(w.result, HF_ESTATE);
    hf_json_writer_init(&w, &f->buffer);
    hf_json_name(&w, "outside");
    assert_int_equal(w.result, HF_ESTATE);
    hf_json_writer_init(&w, &f->buffer);
    hf_json_begin_object(&w);
    hf_json_name(&w, "a");
    hf_json_end_object(&w);
    assert_int_equal(w.result, HF_ESTATE);
    hf_json_writer_init(&w, &f->buffer);
    hf_json_begin_object(&w);
    hf_json_name(&w, "a");
    hf_json_name(&w, "b");
    assert_int_equal(w.result, HF_ESTATE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_every_type),
        TEST(decodes_strings),
        TEST(reads_numbers),
        TEST(reads_a_very_long_number),
        TEST(refuses_what_is_malformed),
        TEST(every_cut_is_refused),
        TEST(refuses_duplicate_names),
        TEST(objects_of_every_size),
        TEST(a_long_duplicate_is_cut_at_a_character),
        TEST(depth_is_limited),
        TEST(a_full_arena_is_out_of_memory),
        TEST(finds_a_string),
        TEST(finding_builds_nothing_else),
        TEST(writes_the_shortest_form),
        TEST(writes_for_people),
        TEST(writes_floats),
        TEST(floats_read_back_the_same),
        TEST(reading_rounds_as_the_library_does),
        TEST(the_locale_does_not_matter),
        TEST(repairs_what_is_not_utf8),
        TEST(special_bytes_are_seen_at_every_place),
        TEST(a_full_buffer_is_as_it_was),
        TEST(writes_piece_by_piece),
        TEST(a_member_is_written_in_one_call),
        TEST(the_writer_reaches_every_level),
        TEST(errors_of_the_writer_stick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
