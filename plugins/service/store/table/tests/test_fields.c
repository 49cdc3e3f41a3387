/* Shows that fields are declared and refused with a reason, survive being written, copied and compared, and that each
 * rule about values holds at its very limits, with a message that names field, expectation and what came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "table/table.h"

static hf_arena arena;

static int set_up(void **state)
{
    (void)state;
    hf_arena_init(&arena, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_arena_done(&arena);
    return 0;
}

static int32_t parse(const char *json, struct store_declaration *ret_declaration, hf_error *error)
{
    hf_value body;

    assert_int_equal(hf_json_parse(hf_slice_of(json), &arena, &body, error), 0);
    return store_declaration_parse("t", &body, &arena, ret_declaration, error);
}

static void assert_says(const char *message, const char *parts)
{
    char copy[256], *rest = copy;

    snprintf(copy, sizeof copy, "%s", parts);
    for (char *part; (part = strsep(&rest, "|"));)
        if (!strstr(message, part))
            fail_msg("'%s' is not in: %s", part, message);
}

/* ---- Declarations ------------------------------------------------------------------------------------------------ */

static const char everything[] =
    "{\"fields\":{\"z\":{\"type\":\"string\",\"required\":true,\"min_length\":2,\"max_length\":64},\"n\":{\"type\":"
    "\"number\",\"min\":-1.5,\"max\":9007199254740992},\"a\":{},\"one\":{\"type\":\"string\",\"one_of\":[\"x\",\"y\"]},"
    "\"i\":{\"type\":\"integer\",\"min\":1}},\"other_fields\":false,\"expire_after\":60}";

static void fields_are_read(void **state)
{
    static const char *const names[] = {"a", "i", "n", "one", "z"};
    struct store_declaration d;
    const struct store_field *f;

    (void)state;
    assert_int_equal(parse(everything, &d, NULL), 0);
    assert_int_equal(d.fields.count, 5);
    assert_true(d.fields.others_refused);
    assert_true(d.expire_after_us == 60000000);
    f = d.fields.items;
    for (int i = 0; i < 5; i++)
        assert_string_equal(f[i].name, names[i]);
    assert_true(f[0].type == STORE_FIELD_ANY && !f[0].required);
    assert_true(f[1].type == STORE_FIELD_INTEGER && f[1].minimum == 1 && f[1].maximum == STORE_FIELD_UNLIMITED);
    assert_true(f[2].type == STORE_FIELD_NUMBER && f[2].minimum == -1.5 && f[2].maximum == 9007199254740992.0);
    assert_int_equal(f[3].one_of.count, 2);
    assert_string_equal(f[3].one_of.items[1], "y");
    assert_true(f[4].required && f[4].minimum_length == 2 && f[4].maximum_length == 64);
    assert_int_equal(parse("{}", &d, NULL), 0);
    assert_true(d.fields.count == 0 && !d.fields.others_refused && d.expire_after_us == 0);
}

static void bad_fields_are_refused_with_what_is_expected(void **state)
{
    static const char *const rows[][2] = {
        {"{\"fields\":[]}", "fields is a list|an object"},
        {"{\"fields\":{\"a\":\"string\"}}", "'a' is declared by a string|an object"},
        {"{\"fields\":{\"\":{}}}", "a field's name|1 to 255"},
        {"{\"fields\":{\"a\":{\"type\":\"text\"}}}", "'a' is 'text'|any, string, integer"},
        {"{\"fields\":{\"a\":{\"type\":1}}}", "type of the field 'a'|a string"},
        {"{\"fields\":{\"a\":{\"must\":true}}}", "'must' of the field 'a'|required, min"},
        {"{\"fields\":{\"a\":{\"required\":1}}}", "required of the field 'a'|a boolean"},
        {"{\"fields\":{\"a\":{\"type\":\"integer\",\"min\":\"1\"}}}", "min of the field 'a' is a string|a number"},
        {"{\"fields\":{\"a\":{\"type\":\"integer\",\"min\":9007199254740993}}}", "min of the field 'a'|2^53"},
        {"{\"fields\":{\"a\":{\"type\":\"number\",\"max\":1e300}}}", "max of the field 'a'|1e300"},
        {"{\"fields\":{\"a\":{\"type\":\"number\",\"min\":2,\"max\":1}}}", "min 2 and max 1|no greater"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"min\":2}}}", "type string|integer or number"},
        {"{\"fields\":{\"a\":{\"min\":2}}}", "type any|integer or number"},
        {"{\"fields\":{\"a\":{\"type\":\"integer\",\"max_length\":2}}}", "type integer|expected string"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"max_length\":0}}}", "max_length of the field 'a' is 0|1 to"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"min_length\":-1}}}", "min_length of the field 'a' is -1|0 to"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"min_length\":3,\"max_length\":2}}}", "min_length 3|no greater"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"max_length\":1.5}}}", "max_length of the field 'a'|an integer"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[]}}}", "one_of of the field 'a'|1 to 64"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":\"x\"}}}", "one_of of the field 'a'|list"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[1]}}}", "a value in one_of|a string"},
        {"{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[\"x\",\"x\"]}}}", "'x' twice"},
        {"{\"fields\":{\"a\":{\"type\":\"object\",\"one_of\":[\"x\"]}}}", "type object|expected string"},
        {"{\"other_fields\":false}", "other_fields is false|declare some"},
        {"{\"fields\":{\"a\":{}},\"other_fields\":1}", "other_fields is an integer|a boolean"},
        {"{\"fields\":{\"a\":{}},\"format\":\"bytes\"}", "fields needs|\"json\""},
        {"{\"partition_by\":\"r\",\"partitions\":[\"x\"],\"fields\":{\"r\":{\"type\":\"integer\"}}}",
         "'r' is partition_by|expected string"},
        {"{\"expire_after\":-1}", "expire_after is -1|0 to 315360000 seconds"},
        {"{\"expire_after\":315360001}", "expire_after is 315360001|0 to 315360000 seconds"},
    };
    struct store_declaration d;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_error error = {0};

        if (parse(rows[i][0], &d, &error) != HF_EINVAL)
            fail_msg("accepted: %s", rows[i][0]);
        assert_says(error.message, rows[i][1]);
    }
}

static void the_number_of_fields_is_bounded(void **state)
{
    struct store_field items[STORE_FIELDS_MAX + 1];
    char names[STORE_FIELDS_MAX + 1][8];
    struct store_fields fields = {STORE_FIELDS_MAX, 0, items};

    (void)state;
    for (int i = 0; i <= STORE_FIELDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        items[i] =
            (struct store_field){.name = names[i], .minimum = -STORE_FIELD_UNLIMITED, .maximum = STORE_FIELD_UNLIMITED};
    }
    assert_int_equal(store_fields_check(&fields, "", NULL), 0);
    fields.count++;
    assert_int_equal(store_fields_check(&fields, "", NULL), HF_EINVAL);
    fields.count = 2;
    items[1].name = "0";
    assert_int_equal(store_fields_check(&fields, "", NULL), HF_EINVAL);
}

static void assert_written_as(const struct store_declaration *d, struct store_declaration *ret_read)
{
    hf_buffer buffer;
    hf_json_writer writer;

    hf_buffer_init(&buffer, 1 << 20);
    hf_json_writer_init(&writer, &buffer);
    hf_json_begin_object(&writer);
    store_declaration_write(&writer, d);
    hf_json_end_object(&writer);
    assert_int_equal(writer.result, 0);
    assert_int_equal(hf_buffer_append(&buffer, "", 1), 0);
    assert_int_equal(parse((const char *)buffer.data, ret_read, NULL), 0);
    hf_buffer_done(&buffer);
}

static void fields_survive_writing_and_copying(void **state)
{
    struct store_declaration d, read, copy;

    (void)state;
    assert_int_equal(parse(everything, &d, NULL), 0);
    assert_written_as(&d, &read);
    assert_true(store_declaration_same(&d, &read));
    assert_int_equal(store_declaration_copy(&d, &arena, &copy, NULL), 0);
    assert_true(store_declaration_same(&d, &copy) && store_declaration_same(&copy, &d));
    assert_ptr_not_equal(copy.fields.items, d.fields.items);
    assert_ptr_not_equal(copy.fields.items[4].name, d.fields.items[4].name);
}

static void every_difference_of_fields_is_seen(void **state)
{
    static const char *const rows[] = {
        "{}",
        "{\"fields\":{\"a\":{}}}",
        "{\"fields\":{\"b\":{}}}",
        "{\"fields\":{\"a\":{},\"b\":{}}}",
        "{\"fields\":{\"a\":{}},\"other_fields\":false}",
        "{\"fields\":{\"a\":{\"required\":true}}}",
        "{\"fields\":{\"a\":{\"type\":\"string\"}}}",
        "{\"fields\":{\"a\":{\"type\":\"string\",\"min_length\":1}}}",
        "{\"fields\":{\"a\":{\"type\":\"string\",\"max_length\":1}}}",
        "{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[\"x\"]}}}",
        "{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[\"y\"]}}}",
        "{\"fields\":{\"a\":{\"type\":\"number\",\"min\":1}}}",
        "{\"fields\":{\"a\":{\"type\":\"number\",\"max\":1}}}",
        "{\"expire_after\":1}",
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct store_declaration d[ROWS], x, y;

    (void)state;
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(parse(rows[i], &d[i], NULL), 0);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            assert_int_equal(store_declaration_same(&d[i], &d[j]), i == j);
    assert_int_equal(parse("{\"fields\":{\"a\":{\"type\":\"string\",\"one_of\":[\"x\",\"y\"]},\"b\":{}}}", &x, NULL),
                     0);
    assert_int_equal(parse("{\"fields\":{\"b\":{},\"a\":{\"one_of\":[\"y\",\"x\"],\"type\":\"string\"}}}", &y, NULL),
                     0);
    assert_true(store_declaration_same(&x, &y));
}

/* A release before fields reads the records of tables that have none. */
static void only_tables_that_need_it_have_the_newer_record(void **state)
{
    static const struct store_nodes nodes = {.count = 1, .names = {"n1"}};
    static const char *const rows[][2] = {{"{}", "{\"record\":1,"},
                                          {"{\"fields\":{\"a\":{}}}", "{\"record\":2,"},
                                          {"{\"expire_after\":5}", "{\"record\":2,"}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct store_declaration d;
        struct store_table table, read;
        hf_buffer record;

        hf_buffer_init(&record, 1 << 20);
        assert_int_equal(parse(rows[i][0], &d, NULL), 0);
        assert_int_equal(store_table_plan(&d, &nodes, 2, &arena, &table, NULL), 0);
        assert_int_equal(store_table_write(&record, &table, &nodes, NULL), 0);
        assert_memory_equal(record.data, rows[i][1], strlen(rows[i][1]));
        assert_int_equal(store_table_parse((hf_slice){record.data, record.size}, &nodes, &arena, &read, NULL), 0);
        assert_true(store_declaration_same(&d, &read.declaration));
        hf_buffer_done(&record);
    }
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

struct value_row {
    const char *value;
    const char *says; /* NULL: good; parts of the message, apart by '|' */
    const char *field;
};

static void check_values(const char *declaration, const struct value_row *rows, size_t count)
{
    struct store_declaration d;
    hf_error error = {0};

    if (parse(declaration, &d, &error) != 0)
        fail_msg("%s: %s", declaration, error.message);
    for (size_t i = 0; i < count; i++) {
        hf_slice field = {NULL, 0};

        error = (hf_error){0};
        assert_int_equal(hf_json_check(hf_slice_of(rows[i].value), NULL), 0);
        int32_t r =
            store_fields_check_value(&d.fields, d.partition_by, hf_slice_of(rows[i].value), &arena, &field, &error);

        if (r != (rows[i].says ? HF_EINVAL : 0))
            fail_msg("%s: %d %s", rows[i].value, (int)r, error.message);
        if (!rows[i].says)
            continue;
        assert_says(error.message, rows[i].says);
        assert_int_equal(field.data != NULL, rows[i].field != NULL);
        if (rows[i].field)
            assert_true(hf_slice_is(field, rows[i].field));
    }
}

#define CHECK(declaration, rows) check_values(declaration, rows, sizeof(rows) / sizeof *(rows))

static void types(void **state)
{
    static const struct value_row rows[] = {
        {"{}", NULL, NULL},
        {" { \"s\" : \"\" , \"i\" : -1 , \"n\" : 1.5 , \"b\" : false , \"o\" : { } , \"l\" : [ ] , \"a\" : null } ",
         NULL, NULL},
        {"{\"a\":1,\"n\":1,\"i\":0}", NULL, NULL},
        {"{\"o\":{\"s\":1,\"x\":[{\"i\":\"}\\\"]\"}]},\"l\":[\"]\",[[]]],\"b\":true}", NULL, NULL},
        {"{\"s\":1}", "'s' is a number|a string", "s"},
        {"{\"s\":null}", "'s' is null|a string", "s"},
        {"{\"s\":[\"x\"]}", "'s' is an array", "s"},
        {"{\"i\":\"1\"}", "'i' is a string|an integer", "i"},
        {"{\"i\":1.0}", "'i' is 1.0|an integer", "i"},
        {"{\"i\":1e3}", "'i' is 1e3|an integer", "i"},
        {"{\"i\":9223372036854775808}", "'i' is 9223372036854775808|an integer", "i"},
        {"{\"i\":9223372036854775807}", NULL, NULL},
        {"{\"n\":true}", "'n' is a boolean|a number", "n"},
        {"{\"b\":0}", "'b' is a number|a boolean", "b"},
        {"{\"o\":[]}", "'o' is an array|an object", "o"},
        {"{\"l\":{}}", "'l' is an object|an array", "l"},
        {"{\"o\":{\"x\":1},\"l\":{}}", "'l' is an object", "l"},
        {"[]", "not an object", NULL},
        {"\"{\"", "not an object", NULL},
        {"null", "not an object", NULL},
        {"{\"\\u0073\":1}", "'s' is a number", "s"}, /* names may be escaped */
        {"{\"s\":\"x\",\"s\":1}", "'s' is there twice", "s"},
        {"{\"s\":\"x\",\"\\u0073\":\"x\"}", "'s' is there twice", "s"},
        {"{\"other\":1,\"other\":2,\"s\":\"x\"}", NULL, NULL},
    };

    (void)state;
    CHECK("{\"fields\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"n\":{\"type\":\"number\"},"
          "\"b\":{\"type\":\"boolean\"},\"o\":{\"type\":\"object\"},\"l\":{\"type\":\"array\"},\"a\":{}}}",
          rows);
}

static void numbers(void **state)
{
    static const struct value_row rows[] = {
        {"{\"i\":1}", NULL, NULL},
        {"{\"i\":5}", NULL, NULL},
        {"{\"i\":0}", "'i' is 0|an integer from 1 to 5", "i"},
        {"{\"i\":6}", "'i' is 6|an integer from 1 to 5", "i"},
        {"{\"i\":-9223372036854775808}", "an integer from 1 to 5", "i"},
        {"{\"big\":9007199254740992}", NULL, NULL},
        {"{\"big\":9007199254740993}", "9007199254740993|at most 9007199254740992", "big"},
        {"{\"huge\":9223372036854775807}", NULL, NULL},
        {"{\"tiny\":-9223372036854775808}", NULL, NULL},
        {"{\"n\":-1.5}", NULL, NULL},
        {"{\"n\":-1}", NULL, NULL},
        {"{\"n\":-2}", "'n' is -2|a number of at least -1.5", "n"},
        {"{\"n\":-1.50001}", "'n' is -1.50001", "n"},
        {"{\"n\":1e307}", NULL, NULL},
        {"{\"half\":0}", NULL, NULL},
        {"{\"half\":1}", "'half' is 1|at most 0.5", "half"},
    };

    (void)state;
    CHECK("{\"fields\":{\"i\":{\"type\":\"integer\",\"min\":1,\"max\":5},\"big\":{\"type\":\"integer\",\"max\":"
          "9007199254740992},\"n\":{\"type\":\"number\",\"min\":-1.5},\"half\":{\"type\":\"integer\",\"max\":0.5},"
          "\"huge\":{\"type\":\"integer\",\"max\":1e19},\"tiny\":{\"type\":\"integer\",\"min\":-1e19}}}",
          rows);
}

static void strings(void **state)
{
    static const struct value_row rows[] = {
        {"{\"s\":\"ab\"}", NULL, NULL},
        {"{\"s\":\"abcd\"}", NULL, NULL},
        {"{\"s\":\"a\"}", "a string of 1 characters|a string of 2 to 4 characters", "s"},
        {"{\"s\":\"abcde\"}", "a string of 5 characters|2 to 4", "s"},
        {"{\"s\":\"\xf0\x9f\x98\x80\xc3\xa4\xe4\xbd\xa0z\"}", NULL, NULL}, /* code points, not bytes */
        {"{\"s\":\"\\ud83d\\ude00\\u00e4\\n\\\"\"}", NULL, NULL},          /* nor escapes */
        {"{\"s\":\"\\ud83d\\ude00\"}", "a string of 1 characters", "s"},
        {"{\"c\":\"chat\"}", NULL, NULL},
        {"{\"c\":\"\\u0063hat\"}", NULL, NULL},
        {"{\"c\":\"fax\"}", "'c' is 'fax'|one of 'chat', 'mail'", "c"},
        {"{\"c\":\"\"}", "'c' is ''", "c"},
        {"{\"most\":\"abc\"}", "at most 2 characters", "most"},
        {"{\"least\":\"\"}", "at least 1 characters", "least"},
    };

    (void)state;
    CHECK("{\"fields\":{\"s\":{\"type\":\"string\",\"min_length\":2,\"max_length\":4},\"c\":{\"type\":\"string\","
          "\"one_of\":[\"chat\",\"mail\"]},\"most\":{\"type\":\"string\",\"max_length\":2},\"least\":{\"type\":"
          "\"string\","
          "\"min_length\":1}}}",
          rows);
}

static void what_must_and_may_be_there(void **state)
{
    static const struct value_row rows[] = {
        {"{\"a\":1,\"region\":\"eu\"}", NULL, NULL}, /* partition_by is known */
        {"{\"a\":null,\"b\":true}", NULL, NULL},
        {"{\"b\":true}", "'a' is missing|any value", "a"},
        {"{}", "'a' is missing", "a"},
        {"{\"a\":1,\"c\":1}", "'c' is not declared|one of its 2 fields", "c"},
        {"{\"a\":1,\"\":1}", "'' is not declared", ""},
        {"{\"c\":1}", "'c' is not declared", "c"},
        {"{\"a\":1,\"b\":{\"c\":1}}", "'b' is an object|a boolean", "b"},
    };

    (void)state;
    CHECK("{\"partition_by\":\"region\",\"partitions\":[\"eu\"],\"fields\":{\"a\":{\"required\":true},\"b\":{\"type\":"
          "\"boolean\"}},\"other_fields\":false}",
          rows);
}

/* Nothing behind the end is read, and messages stay whole, whatever the size of names and values. */
static void long_names_and_values(void **state)
{
    struct store_declaration d;
    hf_error error = {0};
    hf_slice field;
    hf_buffer text;

    (void)state;
    assert_int_equal(
        parse("{\"fields\":{\"s\":{\"type\":\"string\",\"one_of\":[\"x\"]}},\"other_fields\":false}", &d, NULL), 0);
    for (int name = 0; name < 2; name++) {
        hf_buffer_init(&text, 1 << 20);
        assert_int_equal(hf_buffer_append_format(&text, name ? "{\"" : "{\"s\":\""), 0);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(hf_buffer_append(&text, "\xc3\xa4", 2), 0);
        assert_int_equal(hf_buffer_append_format(&text, name ? "\":1}" : "\"}"), 0);
        assert_int_equal(
            store_fields_check_value(&d.fields, "", (hf_slice){text.data, text.size}, &arena, &field, &error),
            HF_EINVAL);
        assert_says(error.message, "\xc3\xa4'|expected");
        hf_buffer_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_fields_are_refused_with_what_is_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_number_of_fields_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_survive_writing_and_copying, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_difference_of_fields_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_tables_that_need_it_have_the_newer_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_must_and_may_be_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_names_and_values, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
