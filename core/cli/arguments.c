/* The command line: global options anywhere, the command's words, its arguments and its options. */
#include "cli/cli.h"

#include <errno.h>
#include <holdfast/lib/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEADING_WORDS = 3 }; /* "help table create" */

static const char global_options[] = "node: token: json timeout: help";

/* Whether the list has the option: 1 without a value, 2 with one, 0 not at all. */
static int find_option(const char *list, const char *name, size_t length)
{
    while (list && *list) {
        size_t size = strcspn(list, " ");
        int takes_value = list[size - 1] == ':';

        if (size - (size_t)takes_value == length && memcmp(list, name, length) == 0)
            return 1 + takes_value;
        list += size + strspn(list + size, " ");
    }
    return 0;
}

static int unknown_option(const cli_run *cli, const char *argument)
{
    char names[CLI_OPTIONS_MAX][32], wanted[64];
    const char *candidates[CLI_OPTIONS_MAX], *near;
    uint32_t count = 0;
    const char *lists[] = {global_options, cli->command->options};

    for (int i = 0; i < 2; i++)
        for (const char *at = lists[i]; at && *at && count < CLI_OPTIONS_MAX; count++) {
            size_t size = strcspn(at, " "), name = size - (at[size - 1] == ':');
            snprintf(names[count], sizeof names[count], "--%.*s", (int)name, at);
            candidates[count] = names[count];
            at += size + strspn(at + size, " ");
        }
    snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(argument, "="), argument);
    near = hf_text_nearest(wanted, candidates, count);
    if (near)
        fprintf(stderr, "holdfast: unknown option '%s'; did you mean '%s'?\n", argument, near);
    else
        fprintf(stderr, "holdfast: unknown option '%s'; see 'holdfast help %s'\n", argument, cli->command->name);
    return CLI_USAGE;
}

static int refuse_node(const char *name, const char *why)
{
    fprintf(stderr, "holdfast: '%s' %s; expected host:port[,host:port...], at most %d\n", name, why, CLI_NODES_MAX);
    return CLI_USAGE;
}

static int split_nodes(cli_run *cli, const char *text)
{
    char *copy = hf_arena_strdup(&cli->arena, text), *rest = NULL;

    if (!copy)
        return cli_out_of_memory();
    cli->node_count = 0;
    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (strpbrk(name, "/@?# \t\r\n"))
            return refuse_node(name, "is not an address");
        if (cli->node_count == CLI_NODES_MAX)
            return refuse_node(name, "is one node too many");
        cli->nodes[cli->node_count++] = name;
    }
    return cli->node_count ? CLI_OK : refuse_node(text, "names no node");
}

/* A token goes into a header as it is, so nothing else may come in with it. */
static int set_token(cli_run *cli, const char *token)
{
    size_t size = strlen(token), visible = 0;

    while (token[visible] > ' ' && token[visible] <= '~')
        visible++;
    if (size == 0 || size > CLI_TOKEN_MAX || visible < size) {
        fprintf(stderr, "holdfast: that is not a token; expected 1 to %d visible ASCII characters\n", CLI_TOKEN_MAX);
        return CLI_USAGE;
    }
    cli->token = token;
    return CLI_OK;
}

int cli_read_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
    char *end = NULL;

    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && number >= least && number <= most) {
        *ret_number = number;
        return CLI_OK;
    }
    fprintf(stderr, "holdfast: %s is '%s'; expected %llu or more", what, text, (unsigned long long)least);
    if (most < UINT64_MAX)
        fprintf(stderr, ", at most %llu", (unsigned long long)most);
    fputc('\n', stderr);
    return CLI_USAGE;
}

int cli_number(const cli_run *cli, const char *option, uint64_t least, uint64_t most, uint64_t *number)
{
    const char *text = cli_option(cli, option);
    char what[48];

    if (!text)
        return CLI_OK;
    snprintf(what, sizeof what, "--%s", option);
    return cli_read_number(what, text, least, most, number);
}

static int set_global(cli_run *cli, const char *name, size_t length, const char *value)
{
    if (length == 4 && memcmp(name, "node", 4) == 0)
        return split_nodes(cli, value);
    if (length == 5 && memcmp(name, "token", 5) == 0)
        return set_token(cli, value);
    if (length == 7 && memcmp(name, "timeout", 7) == 0)
        return cli_read_number("--timeout", value, 1, CLI_SECONDS_MAX, &cli->timeout_s);
    if (length == 4 && memcmp(name, "json", 4) == 0)
        cli->json = 1;
    return CLI_OK; /* --help was seen before */
}

/* Finds the command that the first words name; returns how many words it has. */
static uint32_t find_command(cli_run *cli, uint32_t words, const char *const *word)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);
    char two[128];

    snprintf(two, sizeof two, "%s %s", word[0], words > 1 ? word[1] : "");
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(commands[i].name, word[0]) == 0 || (words > 1 && strcmp(commands[i].name, two) == 0)) {
            cli->command = &commands[i];
            return strchr(commands[i].name, ' ') ? 2 : 1;
        }
    }
    return 0;
}

static int unknown_command(uint32_t words, const char *const *word)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);
    const char *names[CLI_COMMANDS_MAX], *near;
    char wanted[128];

    for (uint32_t i = 0; i < count; i++)
        names[i] = commands[i].name;
    snprintf(wanted, sizeof wanted, "%s%s%s", word[0], words > 1 ? " " : "", words > 1 ? word[1] : "");
    near = hf_text_nearest(wanted, names, count);
    if (!near)
        near = hf_text_nearest(word[0], names, count);
    fprintf(stderr, "holdfast: unknown command '%s'; ", wanted);
    if (near)
        fprintf(stderr, "did you mean '%s'?\n", near);
    else
        fprintf(stderr, "see 'holdfast help%s%s'\n", cli_is_topic(word[0]) ? " " : "",
                cli_is_topic(word[0]) ? word[0] : "");
    return CLI_USAGE;
}

/* The first words, which name the command; its row must be known before its own options can be told from what they
 * take.  Global options with a value may stand before them. */
static uint32_t leading_words(int argc, char **argv, const char *words[LEADING_WORDS])
{
    uint32_t count = 0;

    for (int i = 1; i < argc && count < LEADING_WORDS && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0)
            words[count++] = argv[i];
        else if (find_option(global_options, argv[i] + 2, strlen(argv[i] + 2)) == 2)
            i++;
    }
    return count;
}

static int asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return 1;
    return 0;
}

/* "help", "help TOPIC", "COMMAND --help", "GROUP --help", or nothing at all. */
static int show_help(const cli_run *cli, uint32_t words, const char *const *word, int is_help)
{
    char topic[128] = "";

    if (cli->command)
        snprintf(topic, sizeof topic, "%s", cli->command->name);
    else if (words)
        snprintf(topic, sizeof topic, "%s%s%s", word[0], words > 1 ? " " : "", words > 1 ? word[1] : "");
    if (!*topic) {
        cli_help(NULL);
        return CLI_OK;
    }
    /* Behind a group's name without the word "help" there may be anything. */
    if (!cli_is_topic(topic) && !is_help && words)
        snprintf(topic, sizeof topic, "%s", word[0]);
    if (!cli_is_topic(topic))
        return unknown_command(words, word);
    cli_help(topic);
    return CLI_OK;
}

static int store_option(cli_run *cli, const char *name, size_t length, const char *value)
{
    if (cli->option_count == CLI_OPTIONS_MAX) {
        fprintf(stderr, "holdfast: more than %d options\n", CLI_OPTIONS_MAX);
        return CLI_USAGE;
    }
    cli->options[cli->option_count].name = name;
    cli->options[cli->option_count].length = length;
    cli->options[cli->option_count++].value = value ? value : "";
    return CLI_OK;
}

static int take_option(cli_run *cli, int argc, char **argv, int *at)
{
    const char *argument = argv[*at], *name = argument + 2, *equals = strchr(name, '='), *value = NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    int global = find_option(global_options, name, length), own = find_option(cli->command->options, name, length);
    int takes_value = (own ? own : global) == 2;

    if (!global && !own)
        return unknown_option(cli, argument);
    if (takes_value)
        value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    if (takes_value != (value != NULL) || (!takes_value && equals)) {
        fprintf(stderr, "holdfast: '%s' %s a value\n", argument, takes_value ? "needs" : "does not take");
        return CLI_USAGE;
    }
    return own ? store_option(cli, name, length, value) : set_global(cli, name, length, value);
}

static int check_count(const cli_run *cli)
{
    const cli_command *command = cli->command;

    if (cli->argument_count >= command->least && cli->argument_count <= command->most)
        return CLI_OK;
    fprintf(stderr, "usage: holdfast %s%s%s\n", command->name, *command->usage ? " " : "", command->usage);
    return CLI_USAGE;
}

/* Everything on the line but the `skip` words of the command's name. */
static int take_line(cli_run *cli, int argc, char **argv, uint32_t skip)
{
    int result = CLI_OK, options_end = 0;

    for (int i = 1; i < argc && result == CLI_OK; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0)
            options_end = 1;
        else if (!options_end && strncmp(argv[i], "--", 2) == 0)
            result = take_option(cli, argc, argv, &i);
        else if (skip > 0)
            skip--;
        else if (cli->argument_count < CLI_ARGUMENTS_MAX)
            cli->arguments[cli->argument_count++] = argv[i];
        else
            result = check_count(cli); /* no command takes that many */
    }
    return result == CLI_OK ? check_count(cli) : result;
}

static int take_environment(cli_run *cli)
{
    const char *node = getenv("HOLDFAST_NODE"), *token = getenv("HOLDFAST_TOKEN");
    int result = split_nodes(cli, node && *node ? node : "127.0.0.1:7400");

    cli->timeout_s = 30;
    return result == CLI_OK && token && *token ? set_token(cli, token) : result;
}

int cli_parse(cli_run *cli, int argc, char **argv)
{
    const char *words[LEADING_WORDS] = {NULL};
    uint32_t count = leading_words(argc, argv, words), skip;

    if (count && strcmp(words[0], "help") == 0)
        return show_help(cli, count - 1, words + 1, 1);
    skip = count ? find_command(cli, count, words) : 0;
    if (!count || asks_for_help(argc, argv)) {
        int result = show_help(cli, count, words, 0);
        cli->command = NULL;
        return result;
    }
    if (!skip)
        return unknown_command(count, words);

    int result = take_environment(cli);

    return result == CLI_OK ? take_line(cli, argc, argv, skip) : result;
}

const char *cli_option(const cli_run *cli, const char *name)
{
    for (uint32_t i = 0; i < cli->option_count; i++)
        if (strlen(name) == cli->options[i].length && memcmp(cli->options[i].name, name, cli->options[i].length) == 0)
            return cli->options[i].value;
    return NULL;
}
