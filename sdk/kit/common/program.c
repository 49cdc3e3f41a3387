/* The program: what is to be checked, with which suites. */
#include "run.h"
#include "suites.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LIST_MAX = 64 };

static const char usage[] =
    "usage: holdfast-plugin-check [OPTION]... PLUGIN.so [KIND/NAME]\n"
    "Checks a plugin against the rules of the interface and of its kinds, each check in a process of its own.\n"
    "\n"
    "  --with FILE.so      another plugin, which provides what this one asks for; may be repeated\n"
    "  --set NAME=VALUE    an option that differs from its default, such as log.size=1MiB; may be repeated; the\n"
    "                      groups of a list are made by naming them: listeners.web.address=127.0.0.1:80\n"
    "  --only CHECK        only the check of this name, and those that it needs\n"
    "  --limit SECONDS     time limit of every check\n"
    "  --list              says what is checked, and checks nothing\n"
    "  --json              writes the report as JSON\n"
    "  --verbose           shows what the plugin logs\n"
    "\n"
    "Exit status: 0 everything held, 1 something failed, 2 nothing could be checked.\n";

struct program {
    struct kit_run run;
    const char *with[LIST_MAX];
    const char *settings[LIST_MAX];
    char kind[KIT_NAME_SIZE];
    const char *name; /* of the capability; NULL: all */
    const hf_kit_suite *suites[64];
    uint32_t suite_count;
};

static int32_t complain(const char *format, const char *what)
{
    fprintf(stderr, format, what);
    fputs("Try 'holdfast-plugin-check --help'.\n", stderr);
    return 2;
}

/* The plugin's own path; `with` is made absolute, too, since dlopen searches bare names in the system's folders. */
static int32_t take_path(const char *path, const char **ret_path)
{
    char *absolute = realpath(path, NULL); /* kept until the program ends */

    if (!absolute)
        return complain("holdfast-plugin-check: there is no file '%s'\n", path);
    *ret_path = absolute;
    return 0;
}

static int32_t take_option(struct program *program, int option)
{
    hf_kit_subject *subject = &program->run.subject;

    switch (option) {
    case 'w':
        if (subject->with_count == LIST_MAX)
            return complain("holdfast-plugin-check: too many --with, at '%s'\n", optarg);
        return take_path(optarg, &program->with[subject->with_count++]);
    case 's':
        if (subject->setting_count == LIST_MAX || !strchr(optarg, '='))
            return complain("holdfast-plugin-check: --set '%s': expected NAME=VALUE, at most 64 times\n", optarg);
        program->settings[subject->setting_count++] = optarg;
        return 0;
    case 'o':
        program->run.only = optarg;
        return 0;
    case 't':
        program->run.limit_s = (uint32_t)strtoul(optarg, NULL, 10);
        return program->run.limit_s > 0 && program->run.limit_s <= 3600
                   ? 0
                   : complain("holdfast-plugin-check: --limit '%s': expected 1 to 3600 seconds\n", optarg);
    case 'l':
        program->run.list = 1;
        return 0;
    case 'j':
        program->run.json = 1;
        return 0;
    case 'v':
        subject->verbose = 1;
        return 0;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("Try 'holdfast-plugin-check --help'.\n", stderr);
        return 2;
    }
}

static int32_t take_capability(struct program *program, const char *text)
{
    const char *slash = strchr(text, '/');

    if (!slash || slash == text || !slash[1] || (size_t)(slash - text) >= sizeof program->kind)
        return complain("holdfast-plugin-check: '%s' is not KIND/NAME, such as engine/memory\n", text);
    memcpy(program->kind, text, (size_t)(slash - text));
    program->name = slash + 1;
    return 0;
}

static int32_t take_arguments(struct program *program, int32_t count, char **arguments)
{
    static const struct option options[] = {
        {"with", required_argument, NULL, 'w'},
        {"set", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"limit", required_argument, NULL, 't'},
        {"list", no_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int32_t result = 0;
    int option;

    while (result == 0 && (option = getopt_long(count, arguments, "", options, NULL)) != -1)
        result = take_option(program, option);
    if (result || program->run.list)
        return result;
    if (count - optind < 1 || count - optind > 2) {
        fputs(usage, stderr);
        return 2;
    }
    result = take_path(arguments[optind], &program->run.subject.path);
    if (!result && count - optind == 2)
        result = take_capability(program, arguments[optind + 1]);
    program->run.subject.with = program->with;
    program->run.subject.settings = program->settings;
    return result;
}

static void list_checks(const struct program *program)
{
    for (uint32_t i = 0; i < program->suite_count; i++) {
        const hf_kit_suite *suite = program->suites[i];
        printf("%s\n", !suite->kind ? "The file:" : strcmp(suite->kind, "*") == 0 ? "Every capability:" : suite->kind);
        for (uint32_t j = 0; j < suite->count; j++)
            printf("  %-24s %s\n", suite->checks[j].name, suite->checks[j].doc);
    }
}

static int32_t is_check(const struct program *program, const char *name)
{
    for (uint32_t i = 0; i < program->suite_count; i++)
        for (uint32_t j = 0; j < program->suites[i]->count; j++)
            if (strcmp(program->suites[i]->checks[j].name, name) == 0)
                return 1;
    return 0;
}

static void run_suite(struct program *program, const hf_kit_suite *suite)
{
    for (uint32_t i = 0; i < suite->count; i++)
        if (!program->run.only || strcmp(program->run.only, suite->checks[i].name) == 0)
            kit_run_check(&program->run, &suite->checks[i]);
}

/* Returns 0 when the plugin provides nothing of what was asked for. */
static int32_t run_capabilities(struct program *program)
{
    int32_t any = 0;

    for (uint32_t p = 0; p < kit_report->provided_count; p++) {
        const struct kit_provided *provided = &kit_report->provided[p];
        if (program->name && (strcmp(provided->kind, program->kind) != 0 || strcmp(provided->name, program->name) != 0))
            continue;
        any = 1;
        program->run.subject.kind = provided->kind;
        program->run.subject.name = provided->name;
        for (uint32_t i = 0; i < program->suite_count; i++) {
            const char *kind = program->suites[i]->kind;
            if (kind && (strcmp(kind, "*") == 0 || strcmp(kind, provided->kind) == 0))
                run_suite(program, program->suites[i]);
        }
    }
    return any;
}

static int32_t run_all(struct program *program)
{
    kit_report_begin(&program->run);
    /* Without an entry there is nothing else to check. */
    if (kit_run_check(&program->run, &kit_file_suite.checks[0]) != KIT_RESULT_OK)
        return kit_report_end(&program->run);
    hf_kit_suite rest = {NULL, kit_file_suite.checks + 1, kit_file_suite.count - 1};
    if (!program->name)
        run_suite(program, &rest);
    for (uint32_t i = 0; !program->name && i < program->suite_count; i++)
        if (!program->suites[i]->kind && program->suites[i] != &kit_file_suite)
            run_suite(program, program->suites[i]);
    if (!run_capabilities(program))
        return complain("holdfast-plugin-check: the plugin does not provide '%s'\n", program->name);
    return kit_report_end(&program->run);
}

int32_t hf_kit_main(int32_t count, char **arguments, const hf_kit_suite *const *more, uint32_t more_count)
{
    static const hf_kit_suite *const own[] = {&kit_file_suite,    &kit_options_suite,     &kit_life_suite,
                                              &kit_host_suite,    &kit_engine_suite,      &kit_detector_suite,
                                              &kit_service_suite, &kit_replication_suite, &kit_balancer_suite};
    static struct program program;
    int32_t result = take_arguments(&program, count, arguments);

    if (result)
        return result;
    for (uint32_t i = 0; i < sizeof own / sizeof *own; i++)
        program.suites[program.suite_count++] = own[i];
    for (uint32_t i = 0; i < more_count && program.suite_count < sizeof program.suites / sizeof *program.suites; i++)
        program.suites[program.suite_count++] = more[i];
    if (program.run.list) {
        list_checks(&program);
        return 0;
    }
    if (program.run.only && !is_check(&program, program.run.only))
        return complain("holdfast-plugin-check: there is no check '%s'; see --list\n", program.run.only);
    kit_report = mmap(NULL, sizeof *kit_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kit_report == MAP_FAILED) {
        fputs("holdfast-plugin-check: out of memory\n", stderr);
        return 2;
    }
    return run_all(&program);
}
