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

void cli_help(const char *topic)
{
    uint32_t count, found = 0;
    const cli_command *commands = cli_commands(&count);

    for (uint32_t i = 0; topic && i < count; i++)
        if (matches(&commands[i], topic)) {
            printf("%sholdfast %s %s\n  %s\n  Example: %s\n", found ? "\n" : "", commands[i].name, commands[i].usage,
                   commands[i].summary, commands[i].example);
            found++;
        }
    if (found)
        return;
    printf("holdfast COMMAND ...\n\n");
    for (uint32_t i = 0; i < count; i++)
        printf("  %-16s%s\n", commands[i].name, commands[i].summary);
    printf("\n%s", global_help);
}

/* ---- Completion
 * -------------------------------------------------------------------------------------------------------- */

/* All first words, or all second words behind `first`. */
static void print_words(const char *first)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);
    char last[64] = "";

    for (uint32_t i = 0; i < count; i++) {
        const char *name = commands[i].name;
        size_t length = strcspn(name, " ");
        char word[64];

        if (first && (strlen(first) != length || memcmp(first, name, length) != 0 || name[length] == '\0'))
            continue;
        if (first)
            snprintf(word, sizeof word, "%s", name + length + 1);
        else
            snprintf(word, sizeof word, "%.*s", (int)length, name);
        if (strcmp(word, last) != 0)
            printf("%s ", word);
        snprintf(last, sizeof last, "%s", word);
    }
}

static void print_second_words(const char *line_format)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);
    char last[64] = "";

    for (uint32_t i = 0; i < count; i++) {
        size_t length = strcspn(commands[i].name, " ");
        char word[64];

        snprintf(word, sizeof word, "%.*s", (int)length, commands[i].name);
        if (commands[i].name[length] == '\0' || strcmp(word, last) == 0)
            continue;
        snprintf(last, sizeof last, "%s", word);
        printf(line_format, word, word);
        print_words(word);
        printf("'%s\n", strchr(line_format, ')') ? " ;;" : "");
    }
}

int cli_completion(cli_run *cli)
{
    const char *shell = cli->arguments[0];

    if (strcmp(shell, "bash") == 0 || strcmp(shell, "zsh") == 0) {
        if (strcmp(shell, "zsh") == 0)
            printf("autoload -U +X bashcompinit && bashcompinit\n");
        printf("_holdfast() {\n  local words='--node --token --json --timeout --help'\n"
               "  if [ \"$COMP_CWORD\" = 1 ]; then words=\"$words ");
        print_words(NULL);
        printf("\"; else case \"${COMP_WORDS[1]}\" in\n");
        print_second_words("    %s) [ \"$COMP_CWORD\" = 2 ] && : %s && words='");
        printf("  esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
               "complete -o default -F _holdfast holdfast\n");
        return CLI_OK;
    }
    if (strcmp(shell, "fish") == 0) {
        printf("complete -c holdfast -n __fish_use_subcommand -a '");
        print_words(NULL);
        printf("'\n");
        print_second_words("complete -c holdfast -n '__fish_seen_subcommand_from %s' -d '%s' -a '");
        return CLI_OK;
    }
    fprintf(stderr, "holdfast: '%s' is not a shell that is known; expected bash, zsh or fish\n", shell);
    return CLI_USAGE;
}

int cli_manual(cli_run *cli)
{
    uint32_t count;
    const cli_command *commands = cli_commands(&count);

    (void)cli;
    printf(
        ".TH HOLDFAST 1\n.SH NAME\nholdfast \\- works with a Holdfast cluster\n.SH SYNOPSIS\n.B holdfast\nCOMMAND ...\n"
        ".SH COMMANDS\n");
    for (uint32_t i = 0; i < count; i++)
        printf(".TP\n.B holdfast %s %s\n%s\n.br\nExample: %s\n", commands[i].name, commands[i].usage,
               commands[i].summary, commands[i].example);
    printf(".SH OPTIONS\n.nf\n%s.fi\n", global_help);
    return CLI_OK;
}
