/* `holdfast completion`: what shells complete, from the table of commands.  Each row gives two lists: behind its words
 * come its options, and behind the first word of two comes the second. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const char global_words[] = "--node --token --json --timeout --help";

static void print_options(const char *options, const char *before)
{
    for (const char *at = options; *at;) {
        size_t size = strcspn(at, " ");
        printf("%s%.*s ", before, (int)(size - (at[size - 1] == ':')), at);
        at += size + strspn(at + size, " ");
    }
}

/* Whether a row before `row` has the same first word. */
static int seen_before(const cli_command *commands, uint32_t row)
{
    size_t size = strcspn(commands[row].name, " ");

    for (uint32_t i = 0; i < row; i++)
        if (strcspn(commands[i].name, " ") == size && memcmp(commands[i].name, commands[row].name, size) == 0)
            return 1;
    return 0;
}

static void print_first_words(const cli_command *commands, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!seen_before(commands, i))
            printf("%.*s ", (int)strcspn(commands[i].name, " "), commands[i].name);
    printf("help");
}

static void print_second_words(const cli_command *commands, uint32_t count, const char *first, size_t size)
{
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(commands[i].name, first, size) == 0 && commands[i].name[size] == ' ')
            printf("%s ", commands[i].name + size + 1);
}

static void print_bash(const cli_command *commands, uint32_t count)
{
    printf("_holdfast() {\n  local words='%s' first=${COMP_WORDS[1]} second=${COMP_WORDS[2]}\n", global_words);
    printf("  if [ \"$COMP_CWORD\" = 1 ]; then\n    words=\"$words ");
    print_first_words(commands, count);
    printf("\"\n  else\n    if [ \"$COMP_CWORD\" = 2 ]; then second=; fi\n    case \"$first $second\" in\n");
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strcspn(commands[i].name, " ");
        if (commands[i].name[size] == ' ' && !seen_before(commands, i)) {
            printf("    '%.*s ') words='", (int)size, commands[i].name);
            print_second_words(commands, count, commands[i].name, size);
            printf("' ;;\n");
        }
        if (!*commands[i].options)
            continue;
        printf("    '%s'%s) words=\"$words ", commands[i].name, commands[i].name[size] ? "" : "' '*");
        print_options(commands[i].options, "--");
        printf("\" ;;\n");
    }
    printf("    esac\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
           "complete -o default -F _holdfast holdfast\n");
}

static void print_fish(const cli_command *commands, uint32_t count)
{
    printf("complete -c holdfast -n __fish_use_subcommand -a '");
    print_first_words(commands, count);
    printf("'\n");
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strcspn(commands[i].name, " ");
        if (commands[i].name[size] == ' ' && !seen_before(commands, i)) {
            printf("complete -c holdfast -n '__fish_seen_subcommand_from %.*s' -a '", (int)size, commands[i].name);
            print_second_words(commands, count, commands[i].name, size);
            printf("'\n");
        }
        if (!*commands[i].options)
            continue;
        printf("complete -c holdfast -n 'string match -q \"holdfast %s*\" (commandline -c)' -a '", commands[i].name);
        print_options(commands[i].options, "--");
        printf("'\n");
    }
}

int cli_completion(cli_run *cli)
{
    const char *shell = cli->arguments[0];
    uint32_t count;
    const cli_command *commands = cli_commands(&count);

    if (strcmp(shell, "zsh") == 0)
        printf("autoload -U +X bashcompinit && bashcompinit\n");
    if (strcmp(shell, "bash") == 0 || strcmp(shell, "zsh") == 0) {
        print_bash(commands, count);
        return CLI_OK;
    }
    if (strcmp(shell, "fish") == 0) {
        print_fish(commands, count);
        return CLI_OK;
    }
    fprintf(stderr, "holdfast: '%s' is not a shell that is known; expected bash, zsh or fish\n", shell);
    return CLI_USAGE;
}
