/* holdfastd: its command line. */
#include "daemon/check.h"
#include "daemon/child.h"
#include "daemon/handover.h"
#include "daemon/supervise.h"
#include "daemon/unix_signals.h"

#include <errno.h>
#include <getopt.h>
#include <holdfast/holdfast.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: holdfastd [OPTION]...\n"
    "Runs a Holdfast node: the processes that its configuration names.\n"
    "\n"
    "  -c, --config FILE        the configuration; default /etc/holdfast/holdfast.cfg\n"
    "      --check              print everything that is wrong with it, and end\n"
    "      --handover VERSION   with --check: also say whether this program can go on from the state of a running one\n"
    "      --process NAME       run only this one of its processes, without a supervisor\n"
    "      --options [SECTION]  print the reference of all options, or of one section's, and end\n"
    "      --version            print the version, and end\n"
    "  -h, --help               print this, and end\n"
    "\n"
    "SIGHUP reloads the configuration, SIGUSR2 restarts the node with the program that is installed now, without\n"
    "refusing a connection, SIGTERM and SIGINT end it.\n"
    "Exit code: 0; 1 when something failed; 2 when the command line is wrong.\n";

enum { RUN, CHECK, OPTIONS, PRINT_VERSION, PRINT_HELP };

struct command {
    int what;
    const char *config, *process, *section, *handover;
};

/* Returns 0, or EXIT_USAGE after saying why. */
static int parse(int count, char **arguments, struct command *command)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},   {"check", no_argument, NULL, CHECK},
        {"handover", required_argument, NULL, 'o'}, {"process", required_argument, NULL, 'p'},
        {"options", no_argument, NULL, OPTIONS},    {"version", no_argument, NULL, PRINT_VERSION},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, arguments, "c:h", options, NULL)) != -1) {
        if (option == '?')
            return EXIT_USAGE; /* getopt has said why */
        if (option == 'c')
            command->config = optarg;
        else if (option == 'p')
            command->process = optarg;
        else if (option == 'o')
            command->handover = optarg;
        else
            command->what = option == 'h' ? PRINT_HELP : option;
    }
    if (command->what == OPTIONS && optind < count)
        command->section = arguments[optind++];
    if (optind < count) {
        fprintf(stderr, "%s: '%s' is not an option\n", arguments[0], arguments[optind]);
        return EXIT_USAGE;
    }
    if (command->handover && command->what != CHECK) {
        fprintf(stderr, "%s: --handover goes with --check only\n", arguments[0]);
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

static int check(const char *path, const char *handover)
{
    hf_config_problems *problems = calloc(1, sizeof *problems);
    int exit_code = EXIT_SUCCESS;
    hf_error error = {0};

    if (!problems) {
        perror("holdfastd");
        return EXIT_FAILURE;
    }
    if (handover && hf_handover_check(handover, &error) != 0) {
        puts(error.message);
        exit_code = EXIT_FAILURE;
    } else if (hf_check(path, problems) != 0) {
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

static int same_file(const char *a, const char *b)
{
    struct stat one, other;

    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* The path by which this program was started: after an upgrade the new one is there, be it that the file was replaced
 * or that a link leads elsewhere, while /proc/self/exe stays the old one. */
static int find_program(char program[PATH_MAX])
{
    static const char self[] = "/proc/self/exe";
    const char *started = (const char *)getauxval(AT_EXECFN);
    char folder[PATH_MAX] = "";

    if (started && (*started == '/' || getcwd(folder, sizeof folder)) &&
        snprintf(program, PATH_MAX, "%s%s%s", folder, *folder ? "/" : "", started) < PATH_MAX &&
        same_file(program, self))
        return 0;
    ssize_t size = readlink(self, program, PATH_MAX - 1);
    if (size <= 0)
        return -1;
    program[size] = '\0';
    return 0;
}

static int run(const struct command *command, char **arguments)
{
    char program[PATH_MAX];
    hf_error error = {0};

    if (find_program(program) != 0) {
        perror("holdfastd: cannot find its own file (is /proc mounted?)");
        return EXIT_FAILURE;
    }
    if (hf_unix_signals_block(&error) != 0) {
        fprintf(stderr, "holdfastd: %s\n", error.message);
        return EXIT_FAILURE;
    }
    return command->process ? hf_child_run(command->config, command->process)
                            : hf_supervise_run(program, command->config, arguments);
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
        return check(command.config, command.handover);
    case OPTIONS:
        return print_options(&command);
    case PRINT_VERSION:
        puts("holdfastd " HOLDFAST_VERSION);
        return flushed(EXIT_SUCCESS);
    case PRINT_HELP:
        fputs(usage, stdout);
        return flushed(EXIT_SUCCESS);
    default:
        return run(&command, arguments);
    }
}
