/* holdfastd: its command line. */
#include "daemon/check.h"
#include "daemon/child.h"
#include "daemon/supervise.h"
#include "daemon/unix_signals.h"

#include <errno.h>
#include <getopt.h>
#include <holdfast/holdfast.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: holdfastd [OPTION]...\n"
    "Runs a Holdfast node: the processes that its configuration names.\n"
    "\n"
    "  -c, --config FILE        the configuration; default /etc/holdfast/holdfast.cfg\n"
    "      --check              print everything that is wrong with it, and end\n"
    "      --process NAME       run only this one of its processes, without a supervisor\n"
    "      --options [SECTION]  print the reference of all options, or of one section's, and end\n"
    "      --version            print the version, and end\n"
    "  -h, --help               print this, and end\n"
    "\n"
    "SIGHUP reloads the configuration, SIGTERM and SIGINT end the node.\n"
    "Exit code: 0; 1 when something failed; 2 when the command line is wrong.\n";

enum { RUN, CHECK, OPTIONS, PRINT_VERSION, PRINT_HELP };

struct command {
    int what;
    const char *config, *process, *section;
};

/* Returns 0, or EXIT_USAGE after saying why. */
static int parse(int count, char **arguments, struct command *command)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, CHECK},
                                            {"process", required_argument, NULL, 'p'},
                                            {"options", no_argument, NULL, OPTIONS},
                                            {"version", no_argument, NULL, PRINT_VERSION},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, arguments, "c:h", options, NULL)) != -1) {
        if (option == '?')
            return EXIT_USAGE; /* getopt has said why */
        if (option == 'c')
            command->config = optarg;
        else if (option == 'p')
            command->process = optarg;
        else
            command->what = option == 'h' ? PRINT_HELP : option;
    }
    if (command->what == OPTIONS && optind < count)
        command->section = arguments[optind++];
    if (optind < count) {
        fprintf(stderr, "%s: '%s' is not an option\n", arguments[0], arguments[optind]);
        return EXIT_USAGE;
    }
    if (command->process && command->what != RUN) {
        fprintf(stderr, "%s: --process does not go with the other options\n", arguments[0]);
        return EXIT_USAGE;
    }
    return 0;
}

/* Also a full disk is an error. */
static int flushed(int exit_code)
{
    if (fflush(stdout) == 0)
        return exit_code;
    perror("holdfastd: cannot write");
    return EXIT_FAILURE;
}

static int check(const char *path)
{
    hf_config_problems *problems = calloc(1, sizeof *problems);
    int exit_code = EXIT_SUCCESS;

    if (!problems) {
        perror("holdfastd");
        return EXIT_FAILURE;
    }
    if (hf_check(path, problems) != 0) {
        hf_check_print(stdout, problems);
        exit_code = EXIT_FAILURE;
    } else {
        printf("%s: ok\n", path);
    }
    free(problems);
    return flushed(exit_code);
}

static int print_options(const struct command *command)
{
    hf_error error = {0};

    if (hf_check_reference(stdout, command->config, command->section, &error) != 0) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        return EXIT_FAILURE;
    }
    return flushed(EXIT_SUCCESS);
}

static int run(const struct command *command)
{
    char program[PATH_MAX];
    hf_error error = {0};
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);

    if (size <= 0) {
        perror("holdfastd: cannot find its own file (is /proc mounted?)");
        return EXIT_FAILURE;
    }
    program[size] = '\0';
    if (hf_unix_signals_block(&error) != 0) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        return EXIT_FAILURE;
    }
    return command->process ? hf_child_run(command->config, command->process)
                            : hf_supervise_run(program, command->config);
}

int main(int count, char **arguments)
{
    struct command command = {.what = RUN, .config = "/etc/holdfast/holdfast.cfg"};

    if (parse(count, arguments, &command) != 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    switch (command.what) {
    case CHECK:
        return check(command.config);
    case OPTIONS:
        return print_options(&command);
    case PRINT_VERSION:
        puts("holdfastd " HOLDFAST_VERSION);
        return flushed(EXIT_SUCCESS);
    case PRINT_HELP:
        fputs(usage, stdout);
        return flushed(EXIT_SUCCESS);
    default:
        return run(&command);
    }
}
