/* Commands about the configuration; files are checked by the daemon beside this program. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_config_show(cli_run *cli)
{
    return cli_show_path(cli, "GET", "/v1/admin/config", (hf_slice){NULL, 0}, NULL);
}

static void print_keys(const hf_value *document, const char *name, const char *title)
{
    const hf_value *keys = hf_value_get(document, name);

    for (uint64_t i = 0; i < cli_list_count(keys); i++) {
        printf("  %s ", title);
        cli_print_clean(hf_value_slice(&keys->as.items[i]));
        putchar('\n');
    }
}

static void print_reload(const hf_value *document)
{
    printf("version %lld of the configuration is in force\n", (long long)hf_value_get_integer(document, "version", 0));
    print_keys(document, "changed", "changed:");
    print_keys(document, "restart_needed", "needs a restart:");
}

int cli_config_reload(cli_run *cli)
{
    return cli_show_path(cli, "POST", "/v1/admin/config/reload", hf_slice_of(""), print_reload);
}

/* Runs holdfastd in this program's place. */
static int run_daemon(const char *const *arguments)
{
    char self[4096], path[4200];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    self[size > 0 ? size : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
        snprintf(path, sizeof path, "%s/holdfastd", self);
        execv(path, (char *const *)(uintptr_t)arguments);
        snprintf(path, sizeof path, "%s/../sbin/holdfastd", self);
        execv(path, (char *const *)(uintptr_t)arguments);
    }
    execvp("holdfastd", (char *const *)(uintptr_t)arguments);
    fprintf(stderr, "holdfast: cannot run holdfastd: %s\n", strerror(errno));
    return CLI_FAILED;
}

int cli_config_check(cli_run *cli)
{
    const char *const arguments[] = {"holdfastd", "--config", cli->arguments[0], "--check", NULL};

    return run_daemon(arguments);
}

static void print_changes(const hf_value *document)
{
    static const char *const titles[] = {"OPTION", "IN FORCE", "IN THE FILE", "TAKES"};
    const hf_value *changes = hf_value_get(document, "changes");
    cli_table table;

    print_keys(document, "problems", "problem:");
    if (cli_list_count(changes) == 0) {
        if (changes)
            printf("the file says what is in force\n");
        return;
    }
    cli_table_begin(&table, 4, titles);
    for (uint64_t i = 0; i < changes->count; i++) {
        const hf_value *change = &changes->as.items[i];
        cli_table_value(&table, hf_value_get(change, "key"));
        cli_table_value(&table, hf_value_get(change, "in_force"));
        cli_table_value(&table, hf_value_get(change, "in_file"));
        cli_table_text(&table, hf_value_get_boolean(change, "restart_needed", 0) ? "a restart" : "a reload");
    }
    cli_table_end(&table);
}

int cli_config_diff(cli_run *cli)
{
    cli_path path;
    cli_answer answer;
    char *absolute = realpath(cli->arguments[0], NULL);
    int result;

    if (!absolute) {
        fprintf(stderr, "holdfast: cannot find '%s': %s\n", cli->arguments[0], strerror(errno));
        return CLI_FAILED;
    }
    cli_path_begin(&path, "/v1/admin/config/diff");
    cli_path_query(&path, "file", absolute);
    free(absolute);
    result = cli_request(cli, "GET", cli_path_end(cli, &path), NULL, (hf_slice){NULL, 0}, &answer);
    if (result == CLI_OK) {
        cli_show(cli, &answer, print_changes);
        if (cli_list_count(hf_value_get(&answer.document, "problems")) > 0)
            result = CLI_FAILED; /* such a file would be refused */
    }
    cli_answer_done(&answer);
    return result;
}
