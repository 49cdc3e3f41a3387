/* Help, completion and the manual page, all from the table of commands. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const char global_help[] =
    "Options of every command:\n"
    "  --node HOST:PORT[,...]  nodes to ask, in this order (or $HOLDFAST_NODE; 127.0.0.1:7400)\n"
    "  --token TOKEN           who asks (or $HOLDFAST_TOKEN)\n"
    "  --json                  one JSON document instead of text\n"
    "  --timeout SECONDS       for each request (30)\n"
    "  --help                  about a command\n"
    "Ends with 0 done, 1 refused or failed, 2 usage, 3 not found, 4 conflict, 5 nobody answered.\n";

static int matches(const cli_command *command, const char *topic)
{
    size_t length = strlen(topic);

    return strncmp(command->name, topic, length) == 0 &&
           (command->name[length] == '\0' || command->name[length] == ' ');
}

int cli_is_topic(const char *topic)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);

    for (uint32_t i = 0; i < count; i++)
        if (matches(&commands[i], topic))
            return 1;
    return 0;
}

static void print_command(const cli_command *command)
{
    printf("holdfast %s%s%s\n  %s\n  Example: %s\n", command->name, *command->usage ? " " : "", command->usage,
           command->summary, command->example);
}

void cli_help(const char *topic)
{
    uint32_t count, found = 0;
    const cli_command *commands = cli_commands(&count);

    for (uint32_t i = 0; topic && i < count; i++)
        if (matches(&commands[i], topic)) {
            if (found++)
                putchar('\n');
            print_command(&commands[i]);
        }
    if (found)
        return;
    printf("holdfast COMMAND ...\n\n");
    for (uint32_t i = 0; i < count; i++)
        printf("  %-16s%s\n", commands[i].name, commands[i].summary);
    printf("\n%s", global_help);
}

/* A dot or an apostrophe at the beginning of a line would be a request to the formatter, a backslash its escape. */
static void print_roff(const char *text)
{
    for (const char *at = text; *at; at++) {
        if ((at == text || at[-1] == '\n') && (*at == '.' || *at == '\''))
            fputs("\\&", stdout);
        if (*at == '\\')
            fputs("\\e", stdout);
        else if (*at == '-')
            fputs("\\-", stdout);
        else
            putchar(*at);
    }
}

int cli_manual(cli_run *cli)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);

    (void)cli;
    printf(".TH HOLDFAST 1\n.SH NAME\nholdfast \\- works with a Holdfast cluster\n"
           ".SH SYNOPSIS\n.B holdfast\nCOMMAND ...\n.SH COMMANDS\n");
    for (uint32_t i = 0; i < count; i++) {
        printf(".TP\n.B ");
        print_roff("holdfast ");
        print_roff(commands[i].name);
        printf("\\fR ");
        print_roff(commands[i].usage);
        putchar('\n');
        print_roff(commands[i].summary);
        printf("\n.br\nExample:\n.br\n");
        print_roff(commands[i].example);
        putchar('\n');
    }
    printf(".SH OPTIONS\n.nf\n");
    print_roff(global_help);
    printf(".fi\n");
    return CLI_OK;
}
