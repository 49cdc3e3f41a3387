/* Commands about a running process: plugins, policies, configuration, signals, actions, the audit log. */
#include "cli/cli.h"

#include "lua/lua_host.h"
#include "plugin/note.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int show(cli_run *cli, const char *method, const char *path, hf_slice body)
{
    cli_answer answer;
    int result = cli_request(cli, method, path, NULL, body, &answer);

    if (result == CLI_OK)
        cli_show(cli, &answer, NULL);
    hf_buffer_done(&answer.body);
    return result;
}

static int get(cli_run *cli, const char *path)
{
    return show(cli, "GET", path, (hf_slice){NULL, 0});
}

static int get_limited(cli_run *cli, const char *text)
{
    cli_path path;

    cli_path_begin(&path, text);
    cli_path_query(&path, "limit", cli_option(cli, "limit"));
    return get(cli, cli_path_end(cli, &path));
}

int cli_signals(cli_run *cli)
{
    return get_limited(cli, "/v1/admin/signals");
}

int cli_audit(cli_run *cli)
{
    return get_limited(cli, "/v1/admin/audit");
}

int cli_policy_list(cli_run *cli)
{
    return get(cli, "/v1/admin/policies");
}

int cli_policy_reload(cli_run *cli)
{
    return show(cli, "POST", "/v1/admin/policies/reload", hf_slice_of(""));
}

enum { POINTS_MAX = 256 };

static const char *copy_text(cli_run *cli, const hf_value *map, const char *name)
{
    hf_slice copy = {NULL, 0};

    if (hf_arena_copy(&cli->arena, hf_value_get_string(map, name, hf_slice_of("-")), &copy) != 0)
        cli_out_of_memory();
    return (const char *)copy.data;
}

static hf_lua_parameter read_parameter(cli_run *cli, const hf_value *parameter)
{
    return (hf_lua_parameter){.name = copy_text(cli, parameter, "name"),
                              .doc = copy_text(cli, parameter, "doc"),
                              .type = (int32_t)hf_value_get_integer(parameter, "type", HF_LUA_ANY)};
}

static hf_decision_point *read_point(cli_run *cli, const hf_value *described)
{
    const hf_value *parameters = hf_value_get(described, "parameters");
    uint64_t count = parameters && parameters->type == HF_VALUE_LIST && parameters->count <= 8 ? parameters->count : 0;
    hf_decision_point *point = hf_arena_alloc(&cli->arena, sizeof *point);
    hf_lua_parameter *copies = hf_arena_alloc(&cli->arena, (count + 1) * sizeof *copies);

    if (!point || !copies)
        cli_out_of_memory();
    for (uint64_t i = 0; i < count; i++)
        copies[i] = read_parameter(cli, &parameters->as.items[i]);
    *point = (hf_decision_point){.size = sizeof *point,
                                 .parameter_count = (uint32_t)count,
                                 .name = copy_text(cli, described, "name"),
                                 .doc = copy_text(cli, described, "doc"),
                                 .parameters = copies,
                                 .result = read_parameter(cli, hf_value_get(described, "result"))};
    return point;
}

/* The node says which decision points its plugins declare; the tests run here. */
int cli_policy_test(cli_run *cli)
{
    const hf_decision_point *points[POINTS_MAX];
    uint32_t count = 0, passed = 0, failed = 0;
    hf_error error = {0};
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/admin/policies", NULL, (hf_slice){NULL, 0}, &answer);
    const hf_value *list = hf_value_get(&answer.document, "points");

    for (uint64_t i = 0;
         result == CLI_OK && list && list->type == HF_VALUE_LIST && i < list->count && count < POINTS_MAX; i++)
        points[count++] = read_point(cli, &list->as.items[i]);
    hf_buffer_done(&answer.body);
    if (result != CLI_OK)
        return result;
    if (hf_lua_test_file(cli->arguments[0], points, count, stdout, &passed, &failed, &error) != 0) {
        fprintf(stderr, "holdfast: %s\n", error.message);
        return CLI_FAILED;
    }
    return failed ? CLI_FAILED : CLI_OK;
}

int cli_config_show(cli_run *cli)
{
    return get(cli, "/v1/admin/config");
}

int cli_config_reload(cli_run *cli)
{
    return show(cli, "POST", "/v1/admin/config/reload", hf_slice_of(""));
}

int cli_action_list(cli_run *cli)
{
    return get(cli, "/v1/admin/actions");
}

int cli_action_run(cli_run *cli)
{
    cli_path path;

    cli_path_begin(&path, "/v1/admin/actions/");
    cli_path_segment(&path, cli->arguments[0]);
    return show(cli, "POST", cli_path_end(cli, &path), hf_slice_of(cli->argument_count > 1 ? cli->arguments[1] : "{}"));
}

/* ---- Configuration files, checked by the daemon beside this program
 * ------------------------------------------------------- */

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

int cli_config_diff(cli_run *cli)
{
    cli_path path;
    char *absolute = realpath(cli->arguments[0], NULL);

    if (!absolute) {
        fprintf(stderr, "holdfast: cannot find '%s': %s\n", cli->arguments[0], strerror(errno));
        return CLI_FAILED;
    }
    cli_path_begin(&path, "/v1/admin/config/diff");
    cli_path_query(&path, "file", absolute);
    free(absolute);
    return get(cli, cli_path_end(cli, &path));
}

/* ---- Plugins
 * ------------------------------------------------------------------------------------------------------------- */

static int read_manifest(cli_run *cli, const char *path, hf_value *ret_manifest, hf_error *error)
{
    char *json = NULL;
    int32_t result = hf_plugin_note_read(path, &json, error);

    if (result == 0)
        result = hf_json_parse(hf_slice_of(json), &cli->arena, ret_manifest, error);
    free(json);
    return result;
}

static void add_row(cli_table *table, const hf_value *manifest, const char *path)
{
    const hf_value *provides = hf_value_get(manifest, "provides");
    char text[512] = "";

    for (uint64_t i = 0; provides && provides->type == HF_VALUE_LIST && i < provides->count; i++) {
        hf_slice kind = hf_value_get_string(&provides->as.items[i], "kind", hf_slice_of("?"));
        hf_slice name = hf_value_get_string(&provides->as.items[i], "name", hf_slice_of("?"));
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%.*s/%.*s", used ? " " : "", (int)kind.size,
                 (const char *)kind.data, (int)name.size, (const char *)name.data);
    }
    cli_table_text(table, text);
    cli_table_value(table, hf_value_get(manifest, "version"));
    cli_table_value(table, hf_value_get(manifest, "id"));
    cli_table_text(table, path);
}

static void print_plugins(const hf_value *document)
{
    static const char *const titles[] = {"PROVIDES", "VERSION", "ID", "FILE"};
    const hf_value *plugins = hf_value_get(document, "plugins");
    cli_table table;

    cli_table_begin(&table, 4, titles);
    for (uint64_t i = 0; plugins && plugins->type == HF_VALUE_LIST && i < plugins->count; i++) {
        char path[512];
        hf_slice text = hf_value_get_string(&plugins->as.items[i], "path", hf_slice_of("-"));
        snprintf(path, sizeof path, "%.*s", (int)text.size, (const char *)text.data);
        add_row(&table, &plugins->as.items[i], path);
    }
    cli_table_end(&table);
}

static int list_directory(cli_run *cli, const char *directory)
{
    static const char *const titles[] = {"PROVIDES", "VERSION", "ID", "FILE"};
    DIR *open = opendir(directory);
    int result = CLI_OK;
    cli_table table;

    if (!open) {
        fprintf(stderr, "holdfast: cannot read '%s': %s\n", directory, strerror(errno));
        return CLI_FAILED;
    }
    cli_table_begin(&table, 4, titles);
    for (struct dirent *entry; (entry = readdir(open));) {
        size_t size = strlen(entry->d_name);
        char path[4500];
        hf_value manifest = hf_value_null();
        hf_error error = {0};

        if (size < 4 || strcmp(entry->d_name + size - 3, ".so") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (read_manifest(cli, path, &manifest, &error) == 0) {
            add_row(&table, &manifest, path);
        } else {
            fprintf(stderr, "holdfast: %s\n", error.message);
            result = CLI_FAILED;
        }
    }
    closedir(open);
    cli_table_end(&table);
    return result;
}

int cli_plugin_list(cli_run *cli)
{
    cli_answer answer;

    if (cli->argument_count)
        return list_directory(cli, cli->arguments[0]);
    int result = cli_request(cli, "GET", "/v1/admin/plugins", NULL, (hf_slice){NULL, 0}, &answer);
    if (result == CLI_OK)
        cli_show(cli, &answer, print_plugins);
    hf_buffer_done(&answer.body);
    return result;
}

/* The plugin of a running node that provides KIND/NAME. */
static int show_running(cli_run *cli, const char *wanted)
{
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/admin/plugins", NULL, (hf_slice){NULL, 0}, &answer);
    const hf_value *plugins = hf_value_get(&answer.document, "plugins"), *found = NULL;

    for (uint64_t i = 0; result == CLI_OK && plugins && i < plugins->count; i++) {
        const hf_value *provides = hf_value_get(&plugins->as.items[i], "provides");
        for (uint64_t j = 0; provides && j < provides->count; j++) {
            hf_slice kind = hf_value_get_string(&provides->as.items[j], "kind", hf_slice_of(""));
            hf_slice name = hf_value_get_string(&provides->as.items[j], "name", hf_slice_of(""));
            char text[256];
            snprintf(text, sizeof text, "%.*s/%.*s", (int)kind.size, (const char *)kind.data, (int)name.size,
                     (const char *)name.data);
            if (strcmp(text, wanted) == 0)
                found = &plugins->as.items[i];
        }
    }
    if (found) {
        answer.document = *found;
        hf_buffer_clear(&answer.body);
        if (hf_json_append(&answer.body, found) != 0)
            cli_out_of_memory();
        cli_show(cli, &answer, NULL);
    } else if (result == CLI_OK) {
        fprintf(stderr, "holdfast: the node has no plugin that provides '%s'; see 'holdfast plugin list'\n", wanted);
        result = CLI_NOT_FOUND;
    }
    hf_buffer_done(&answer.body);
    return result;
}

int cli_plugin_show(cli_run *cli)
{
    const char *wanted = cli->arguments[0];
    cli_answer answer = {.document = hf_value_null()};
    hf_error error = {0};
    struct stat file;

    if (stat(wanted, &file) != 0)
        return show_running(cli, wanted);
    if (read_manifest(cli, wanted, &answer.document, &error) != 0) {
        fprintf(stderr, "holdfast: %s\n", error.message);
        return CLI_FAILED;
    }
    hf_buffer_init(&answer.body, 1 << 22);
    if (hf_json_append(&answer.body, &answer.document) != 0)
        cli_out_of_memory();
    cli_show(cli, &answer, NULL);
    hf_buffer_done(&answer.body);
    return CLI_OK;
}
