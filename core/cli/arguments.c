/* The command line: global options anywhere, the command's words, its arguments and its options. */
#include "cli/cli.h"

#include <holdfast/lib/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char names[CLI_OPTIONS_MAX][32];
    const char *candidates[CLI_OPTIONS_MAX];
    uint32_t count = 0;
    const char *lists[] = {global_options, cli->command ? cli->command->options : NULL};

    for (int i = 0; i < 2; i++)
        for (const char *at = lists[i]; at && *at && count < CLI_OPTIONS_MAX; count++) {
            size_t size = strcspn(at, " "), name = size - (at[size - 1] == ':');
            snprintf(names[count], sizeof names[count], "--%.*s", (int)name, at);
            candidates[count] = names[count];
            at += size + strspn(at + size, " ");
        }
    const char *near = hf_text_nearest(argument, candidates, count);
    fprintf(stderr, "holdfast: unknown option '%s'", argument);
    fprintf(stderr, near ? "; did you mean '%s'?\n" : "; see 'holdfast help'\n", near);
    return CLI_USAGE;
}

static int split_nodes(cli_run *cli, const char *text)
{
    char *copy = hf_arena_strdup(&cli->arena, text);

    cli->node_count = 0;
    for (char *name = copy ? strtok(copy, ",") : NULL; name && cli->node_count < CLI_NODES_MAX;
         name = strtok(NULL, ","))
        cli->nodes[cli->node_count++] = name;
    if (cli->node_count)
        return CLI_OK;
    fprintf(stderr, "holdfast: '%s' names no node; expected host:port[,host:port...]\n", text);
    return CLI_USAGE;
}

static int set_global(cli_run *cli, const char *name, size_t length, const char *value, int *ret_help)
{
    if (length == 4 && memcmp(name, "node", 4) == 0)
        return split_nodes(cli, value);
    if (length == 5 && memcmp(name, "token", 5) == 0)
        cli->token = value;
    else if (length == 4 && memcmp(name, "json", 4) == 0)
        cli->json = 1;
    else if (length == 7 && memcmp(name, "timeout", 7) == 0)
        cli->timeout_s = strtol(value, NULL, 10);
    else
        *ret_help = 1;
    if (cli->timeout_s > 0)
        return CLI_OK;
    fprintf(stderr, "holdfast: '%s' is not a time-out; expected seconds, 1 or more\n", value);
    return CLI_USAGE;
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
    const char *names[128];
    char wanted[128];

    for (uint32_t i = 0; i < count; i++)
        names[i] = commands[i].name;
    snprintf(wanted, sizeof wanted, "%s%s%s", word[0], words > 1 ? " " : "", words > 1 ? word[1] : "");
    const char *near = hf_text_nearest(wanted, names, count);
    if (!near)
        near = hf_text_nearest(word[0], names, count);
    fprintf(stderr, "holdfast: unknown command '%s'", wanted);
    fprintf(stderr, near ? "; did you mean '%s'?\n" : "; see 'holdfast help'\n", near);
    return CLI_USAGE;
}

/* Everything that does not begin with "--" (and all behind a lone "--"). */
static uint32_t collect_words(int argc, char **argv, const char **words)
{
    uint32_t count = 0;

    for (int i = 1; i < argc && count < CLI_ARGUMENTS_MAX; i++)
        if (strncmp(argv[i], "--", 2) != 0)
            words[count++] = argv[i];
    return count;
}

static int take_option(cli_run *cli, int argc, char **argv, int *at, int *ret_help)
{
    const char *argument = argv[*at], *name = argument + 2, *equals = strchr(name, '='), *value = NULL;
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    int global = find_option(global_options, name, length);
    int own = cli->command ? find_option(cli->command->options, name, length) : 0;

    if (!global && !own)
        return unknown_option(cli, argument);
    if ((own ? own : global) == 2) {
        value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
        if (!value) {
            fprintf(stderr, "holdfast: '%s' needs a value\n", argument);
            return CLI_USAGE;
        }
    }
    if (!own)
        return set_global(cli, name, length, value, ret_help);
    if (cli->option_count == CLI_OPTIONS_MAX) {
        fprintf(stderr, "holdfast: more than %d options\n", CLI_OPTIONS_MAX);
        return CLI_USAGE;
    }
    cli->options[cli->option_count].name = name;
    cli->options[cli->option_count++].value = value ? value : "";
    return CLI_OK;
}

static int check_count(const cli_run *cli)
{
    const cli_command *command = cli->command;

    if (cli->argument_count >= command->least && cli->argument_count <= command->most)
        return CLI_OK;
    fprintf(stderr, "usage: holdfast %s %s\n", command->name, command->usage);
    return CLI_USAGE;
}

int cli_parse(cli_run *cli, int argc, char **argv)
{
    const char *words[CLI_ARGUMENTS_MAX];
    const char *node = getenv("HOLDFAST_NODE");
    uint32_t skip = 0;
    int result, help = 0, options_end = 0;

    cli->timeout_s = 30;
    cli->token = getenv("HOLDFAST_TOKEN");
    result = split_nodes(cli, node && *node ? node : "127.0.0.1:7400");
    /* The command's name must be known before its options: global options with a value stand in the way. */
    char *plain[CLI_ARGUMENTS_MAX + 1] = {argv[0]};
    int plain_count = 1;
    for (int i = 1; i < argc && plain_count < CLI_ARGUMENTS_MAX; i++) {
        int kind =
            strncmp(argv[i], "--", 2) == 0 ? find_option(global_options, argv[i] + 2, strcspn(argv[i] + 2, "=")) : 0;
        if (kind == 2 && !strchr(argv[i], '='))
            i++;
        else if (!kind)
            plain[plain_count++] = argv[i];
    }
    uint32_t count = collect_words(plain_count, plain, words);
    if (count && strcmp(words[0], "help") != 0) {
        skip = find_command(cli, count, words);
        if (!skip)
            return unknown_command(count, words);
    }
    for (int i = 1; i < argc && result == CLI_OK; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0)
            options_end = 1;
        else if (!options_end && strncmp(argv[i], "--", 2) == 0)
            result = take_option(cli, argc, argv, &i, &help);
        else if (skip > 0)
            skip--;
        else if (cli->argument_count < CLI_ARGUMENTS_MAX)
            cli->arguments[cli->argument_count++] = argv[i];
    }
    if (result != CLI_OK)
        return result;
    if (help || !cli->command) {
        const char *topic = cli->command ? cli->command->name : cli->argument_count > 1 ? cli->arguments[1] : NULL;
        cli_help(topic);
        cli->command = NULL;
        return CLI_OK;
    }
    return check_count(cli);
}

const char *cli_option(const cli_run *cli, const char *name)
{
    size_t length = strlen(name);

    for (uint32_t i = 0; i < cli->option_count; i++)
        if (strncmp(cli->options[i].name, name, length) == 0 &&
            (cli->options[i].name[length] == '\0' || cli->options[i].name[length] == '='))
            return cli->options[i].value;
    return NULL;
}
