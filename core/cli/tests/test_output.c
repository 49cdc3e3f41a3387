/* Shows tables, times, paths and what is taken out of text before a terminal sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cli/cli.h"

static void free_table(cli_table *table)
{
    for (uint64_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}

static void columns_are_aligned(void **state)
{
    static const char *const titles[] = {"NAME", "N", "LAST"};
    static const char expected[] = "NAME   N        LAST\n"
                                   "a      7        -\n"
                                   "gr\xc3\xbcn   [1,\"x\"]  b\n"
                                   "x y z  -        \n";
    hf_value items[] = {hf_value_integer(1), hf_value_text("x")};
    hf_value seven = hf_value_integer(7), list = hf_value_list(items, 2), null = hf_value_null();
    hf_value green = hf_value_text("gr\xc3\xbcn"), empty = hf_value_text("");
    cli_table table;
    hf_buffer text;

    (void)state;
    cli_table_begin(&table, 3, titles);
    cli_table_text(&table, "a");
    cli_table_value(&table, &seven);
    cli_table_value(&table, NULL);
    cli_table_value(&table, &green);
    cli_table_value(&table, &list);
    cli_table_text(&table, "b");
    cli_table_text(&table, "x\ny\x1bz"); /* would break the line, or command the terminal */
    cli_table_value(&table, &null);
    cli_table_text(&table, "");
    hf_buffer_init(&text, 1 << 16);
    cli_table_format(&table, &text);
    assert_int_equal(text.size, sizeof expected - 1);
    assert_memory_equal(text.data, expected, text.size);
    hf_buffer_clear(&text);
    cli_table_value(&table, &empty);
    free_table(&table);
    hf_buffer_done(&text);
}

static void only_titles_make_one_line(void **state)
{
    static const char *const titles[] = {"A", "B"};
    cli_table table;
    hf_buffer text;

    (void)state;
    cli_table_begin(&table, 2, titles);
    hf_buffer_init(&text, 100);
    cli_table_format(&table, &text);
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "A  B\n", 5);
    free_table(&table);
    hf_buffer_done(&text);
}

static void control_characters_become_blanks(void **state)
{
    static const char input[] = "a\x1b[31m\tb\x7f\xc2\x9b\xc3\xa9\0c", expected[] = "a [31m b   \xc3\xa9 c";
    hf_buffer text;

    (void)state;
    hf_buffer_init(&text, 100);
    assert_int_equal(hf_buffer_append(&text, "\n", 1), 0); /* what was there stays */
    cli_append_clean(&text, (hf_slice){(const uint8_t *)input, sizeof input - 1});
    assert_int_equal(text.size, 1 + sizeof expected - 1);
    assert_int_equal(text.data[0], '\n');
    assert_memory_equal(text.data + 1, expected, sizeof expected - 1);
    hf_buffer_done(&text);
}

static void times_are_local(void **state)
{
    char text[CLI_TIME_SIZE];

    (void)state;
    setenv("TZ", "XST-2", 1); /* two hours east */
    tzset();
    cli_local_time(hf_slice_of("2026-11-01T23:30:00Z"), text);
    assert_string_equal(text, "2026-11-02 01:30:00");
    cli_local_time(hf_slice_of("2026-11-01T10:00:00.123Z"), text);
    assert_string_equal(text, "2026-11-01 12:00:00");
    cli_local_ms(0, text);
    assert_string_equal(text, "1970-01-01 02:00:00");
    cli_local_time(hf_slice_of("never"), text);
    assert_string_equal(text, "never");
    cli_local_time(hf_slice_of("a text that is much longer than any time"), text);
    assert_int_equal(strlen(text), CLI_TIME_SIZE - 1);
}

static void paths_are_encoded(void **state)
{
    cli_run cli = {0};
    cli_path path;

    (void)state;
    hf_arena_init(&cli.arena, 1 << 16);
    cli_path_begin(&path, "/v1/tables/");
    cli_path_segment(&path, (hf_slice){(const uint8_t *)"a/b\0?", 5});
    cli_path_text(&path, "/records");
    cli_path_query(&path, "prefix", NULL);
    cli_path_query(&path, "start", "x&y");
    cli_path_query(&path, "limit", "5");
    assert_string_equal(cli_path_end(&cli, &path), "/v1/tables/a%2Fb%00%3F/records?start=x%26y&limit=5");
    hf_arena_done(&cli.arena);
}

static void statuses_become_exit_codes(void **state)
{
    static const int expected[][2] = {
        {200, CLI_OK},          {202, CLI_OK},     {404, CLI_NOT_FOUND}, {409, CLI_CONFLICT}, {412, CLI_CONFLICT},
        {503, CLI_UNAVAILABLE}, {500, CLI_FAILED}, {400, CLI_FAILED},    {401, CLI_FAILED},   {301, CLI_FAILED}};

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(cli_code(expected[i][0]), expected[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(only_titles_make_one_line),
        cmocka_unit_test(control_characters_become_blanks),
        cmocka_unit_test(times_are_local),
        cmocka_unit_test(paths_are_encoded),
        cmocka_unit_test(statuses_become_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
