/* Shows how a command line is taken apart, and that nothing on it is silently left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"

enum { WORDS_MAX = 48 };

/* Parses "holdfast" and the words up to a NULL. */
static int parse(cli_run *cli, ...)
{
    char *words[WORDS_MAX] = {(char *)(uintptr_t) "holdfast"};
    int count = 1;
    va_list arguments;

    va_start(arguments, cli);
    for (char *word; (word = va_arg(arguments, char *)) != NULL && count < WORDS_MAX;)
        words[count++] = word;
    va_end(arguments);
    hf_arena_done(&cli->arena);
    *cli = (cli_run){0};
    hf_arena_init(&cli->arena, 1 << 20);
    return cli_parse(cli, count, words);
}

static int begin(void **state)
{
    unsetenv("HOLDFAST_NODE");
    unsetenv("HOLDFAST_TOKEN");
    *state = calloc(1, sizeof(cli_run));
    return *state ? 0 : -1;
}

static int end(void **state)
{
    hf_arena_done(&((cli_run *)*state)->arena);
    free(*state);
    return 0;
}

static void finds_command_arguments_and_options(void **state)
{
    cli_run *cli = *state;

    assert_int_equal(parse(cli, "put", "t", "k", "{}", "--partition", "eu", "--if-version=7", NULL), CLI_OK);
    assert_string_equal(cli->command->name, "put");
    assert_int_equal(cli->argument_count, 3);
    assert_string_equal(cli->arguments[2], "{}");
    assert_string_equal(cli_option(cli, "partition"), "eu");
    assert_string_equal(cli_option(cli, "if-version"), "7");
    assert_null(cli_option(cli, "if-absent"));
    assert_null(cli_option(cli, "if"));
    assert_int_equal(parse(cli, "table", "show", "t", NULL), CLI_OK);
    assert_string_equal(cli->command->name, "table show");
    assert_int_equal(cli->argument_count, 1);
}

static void global_options_stand_anywhere(void **state)
{
    cli_run *cli = *state;

    assert_int_equal(parse(cli, "--node", "a:1,b:2", "table", "--json", "show", "t", "--timeout=7", NULL), CLI_OK);
    assert_string_equal(cli->command->name, "table show");
    assert_string_equal(cli->arguments[0], "t");
    assert_int_equal(cli->node_count, 2);
    assert_string_equal(cli->nodes[1], "b:2");
    assert_int_equal(cli->timeout_s, 7);
    assert_true(cli->json);
    assert_int_equal(parse(cli, "get", "t", "--", "--json", NULL), CLI_OK);
    assert_string_equal(cli->arguments[1], "--json");
    assert_false(cli->json);
}

static void the_environment_gives_defaults(void **state)
{
    cli_run *cli = *state;

    assert_int_equal(parse(cli, "status", NULL), CLI_OK);
    assert_string_equal(cli->nodes[0], "127.0.0.1:7400");
    assert_null(cli->token);
    setenv("HOLDFAST_NODE", "x:1", 1);
    setenv("HOLDFAST_TOKEN", "hf_a", 1);
    assert_int_equal(parse(cli, "status", NULL), CLI_OK);
    assert_string_equal(cli->nodes[0], "x:1");
    assert_string_equal(cli->token, "hf_a");
    assert_int_equal(parse(cli, "status", "--node", "y:2", "--token", "hf_b", NULL), CLI_OK);
    assert_string_equal(cli->nodes[0], "y:2");
    assert_string_equal(cli->token, "hf_b");
    unsetenv("HOLDFAST_NODE");
    unsetenv("HOLDFAST_TOKEN");
}

static void mistakes_are_refused(void **state)
{
    cli_run *cli = *state;
    char token[CLI_TOKEN_MAX + 2];

    memset(token, 'x', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    assert_int_equal(parse(cli, "get", "t", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "get", "t", "k", "more", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "gett", "t", "k", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "table", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "scan", "t", "--limt", "3", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "scan", "t", "--limit", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "scan", "t", "--stale=yes", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "get", "t", "k", "--follow", NULL), CLI_USAGE); /* another command's */
    assert_int_equal(parse(cli, "status", "--timeout", "0", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "status", "--timeout", "5s", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "status", "--node", ",", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "status", "--node", "http://a:1", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "status", "--token", "a\r\nX: y", NULL), CLI_USAGE);
    assert_int_equal(parse(cli, "status", "--token", token, NULL), CLI_USAGE);
    token[CLI_TOKEN_MAX] = '\0';
    assert_int_equal(parse(cli, "status", "--token", token, NULL), CLI_OK);
}

static void help_runs_nothing(void **state)
{
    cli_run *cli = *state;

    assert_int_equal(parse(cli, NULL), CLI_OK);
    assert_null(cli->command);
    assert_int_equal(parse(cli, "put", "--help", NULL), CLI_OK);
    assert_null(cli->command);
    assert_int_equal(parse(cli, "table", "--help", NULL), CLI_OK);
    assert_null(cli->command);
    assert_int_equal(parse(cli, "help", "table", "create", NULL), CLI_OK);
    assert_null(cli->command);
    assert_int_equal(parse(cli, "help", "tabel", NULL), CLI_USAGE);
}

static void numbers_are_whole_and_in_range(void **state)
{
    cli_run *cli = *state;
    uint64_t number = 5;

    assert_int_equal(parse(cli, "scan", "t", NULL), CLI_OK);
    assert_int_equal(cli_number(cli, "limit", 1, 10, &number), CLI_OK);
    assert_int_equal(number, 5); /* not given */
    assert_int_equal(parse(cli, "scan", "t", "--limit", "10", NULL), CLI_OK);
    assert_int_equal(cli_number(cli, "limit", 1, 10, &number), CLI_OK);
    assert_int_equal(number, 10);
    assert_int_equal(cli_number(cli, "limit", 1, 9, &number), CLI_USAGE);
    assert_int_equal(cli_number(cli, "limit", 11, 20, &number), CLI_USAGE);
    assert_int_equal(number, 10);
    static const char *const wrong[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1.5", "18446744073709551616"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(cli_read_number("n", wrong[i], 0, UINT64_MAX, &number), CLI_USAGE);
    assert_int_equal(cli_read_number("n", "18446744073709551615", 0, UINT64_MAX, &number), CLI_OK);
}

/* What the parser and the help take for granted of the table. */
static void rows_are_complete(void **state)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);

    (void)state;
    assert_true(count <= CLI_COMMANDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const cli_command *row = &commands[i];
        assert_true(row->least <= row->most && row->most < CLI_ARGUMENTS_MAX);
        assert_true(row->run && *row->summary && strstr(row->example, row->name));
        for (const char *at = row->options; *at;) {
            size_t size = strcspn(at, " "), name = size - (at[size - 1] == ':');
            char option[64] = "--";
            assert_true(name > 0 && name < sizeof option - 2);
            memcpy(option + 2, at, name);
            assert_non_null(strstr(row->usage, option)); /* the usage tells of every option */
            at += size + strspn(at + size, " ");
        }
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(row->name, commands[j].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_command_arguments_and_options, begin, end),
        cmocka_unit_test_setup_teardown(global_options_stand_anywhere, begin, end),
        cmocka_unit_test_setup_teardown(the_environment_gives_defaults, begin, end),
        cmocka_unit_test_setup_teardown(mistakes_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(help_runs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(numbers_are_whole_and_in_range, begin, end),
        cmocka_unit_test(rows_are_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
