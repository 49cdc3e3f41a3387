/* Commands about plugins: those of a node, and files, whose manifests are read without running any of their code. */
#include "cli/cli.h"

#include "plugin/note.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MANIFESTS_MAXIMUM = 64 << 20 };

/* The manifest as text that the caller frees; checked to be JSON. */
static int32_t read_manifest(const char *path, char **ret_json, hf_error *error)
{
    int32_t result = hf_plugin_note_read(path, ret_json, error);

    if (result == 0)
        result = hf_json_check(hf_slice_of(*ret_json), error);
    return result;
}

/* The manifest's members and where it was found, as the nodes tell it. */
static int32_t add_manifest(hf_json_writer *writer, const char *json, const char *path, hf_error *error)
{
    hf_arena arena;
    hf_value manifest = hf_value_null();

    hf_arena_init(&arena, MANIFESTS_MAXIMUM);
    int32_t result = hf_json_parse(hf_slice_of(json), &arena, &manifest, error);
    if (result == 0) {
        hf_json_begin_object(writer);
        for (uint64_t i = 0; manifest.type == HF_VALUE_MAP && i < manifest.count; i++) {
            hf_slice name = manifest.as.members[i].name;
            char text[128];
            if (name.size >= sizeof text || hf_slice_is(name, "path"))
                continue; /* no manifest has such a member */
            memcpy(text, name.data, name.size);
            text[name.size] = '\0';
            hf_json_name(writer, text);
            hf_json_value(writer, &manifest.as.members[i].value);
        }
        hf_json_member_text(writer, "path", path);
        hf_json_end_object(writer);
    }
    hf_arena_done(&arena);
    return result;
}

static void add_row(cli_table *table, const hf_value *manifest)
{
    const hf_value *provides = hf_value_get(manifest, "provides");
    hf_buffer text;

    hf_buffer_init(&text, 1 << 20);
    for (uint64_t i = 0; i < cli_list_count(provides); i++) {
        hf_slice kind = hf_value_get_string(&provides->as.items[i], "kind", hf_slice_of("?"));
        hf_slice name = hf_value_get_string(&provides->as.items[i], "name", hf_slice_of("?"));
        if (hf_buffer_append_format(&text, "%s%.*s/%.*s", i ? " " : "", (int)kind.size, (const char *)kind.data,
                                    (int)name.size, (const char *)name.data) != 0)
            cli_out_of_memory();
    }
    hf_value list = hf_value_string((hf_slice){text.data, text.size});
    cli_table_value(table, &list);
    cli_table_value(table, hf_value_get(manifest, "version"));
    cli_table_value(table, hf_value_get(manifest, "id"));
    cli_table_value(table, hf_value_get(manifest, "path"));
    hf_buffer_done(&text);
}

static void print_plugins(const hf_value *document)
{
    static const char *const titles[] = {"PROVIDES", "VERSION", "ID", "FILE"};
    const hf_value *plugins = hf_value_get(document, "plugins");
    cli_table table;

    cli_table_begin(&table, 4, titles);
    for (uint64_t i = 0; i < cli_list_count(plugins); i++)
        add_row(&table, &plugins->as.items[i]);
    cli_table_end(&table);
}

/* The manifests of a folder's plugins, as members of an open JSON list, with "path". */
static int read_directory(DIR *open, const char *directory, hf_json_writer *writer)
{
    int result = CLI_OK;

    for (struct dirent *entry; (entry = readdir(open));) {
        size_t size = strlen(entry->d_name);
        char path[4500];
        char *json = NULL;
        hf_error error = {0};

        if (size < 4 || strcmp(entry->d_name + size - 3, ".so") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (read_manifest(path, &json, &error) != 0 || add_manifest(writer, json, path, &error) != 0) {
            fprintf(stderr, "holdfast: %s\n", error.message);
            result = CLI_FAILED;
        }
        free(json);
    }
    return result;
}

static int list_directory(const cli_run *cli, const char *directory)
{
    DIR *open = opendir(directory);
    hf_json_writer writer;
    cli_answer answer = {.document = hf_value_null()};
    int result;

    if (!open) {
        fprintf(stderr, "holdfast: cannot read '%s': %s\n", directory, strerror(errno));
        return CLI_FAILED;
    }
    hf_buffer_init(&answer.body, MANIFESTS_MAXIMUM);
    hf_arena_init(&answer.arena, MANIFESTS_MAXIMUM);
    hf_json_writer_init(&writer, &answer.body);
    hf_json_begin_object(&writer);
    hf_json_name(&writer, "plugins");
    hf_json_begin_list(&writer);
    result = read_directory(open, directory, &writer);
    closedir(open);
    hf_json_end_list(&writer);
    hf_json_end_object(&writer);
    if (writer.result ||
        hf_json_parse((hf_slice){answer.body.data, answer.body.size}, &answer.arena, &answer.document, NULL) != 0)
        cli_out_of_memory();
    cli_show(cli, &answer, print_plugins);
    cli_answer_done(&answer);
    return result;
}

int cli_plugin_list(cli_run *cli)
{
    if (cli->argument_count)
        return list_directory(cli, cli->arguments[0]);
    return cli_show_path(cli, "GET", "/v1/admin/plugins", (hf_slice){NULL, 0}, print_plugins);
}

static int provides(const hf_value *plugin, const char *wanted)
{
    const hf_value *list = hf_value_get(plugin, "provides");

    for (uint64_t i = 0; i < cli_list_count(list); i++) {
        hf_slice kind = hf_value_get_string(&list->as.items[i], "kind", hf_slice_of(""));
        hf_slice name = hf_value_get_string(&list->as.items[i], "name", hf_slice_of(""));
        const char *slash = strchr(wanted, '/');
        if (slash && hf_slice_is(name, slash + 1) &&
            hf_slice_equal(kind, (hf_slice){(const uint8_t *)wanted, (uint64_t)(slash - wanted)}))
            return 1;
    }
    return 0;
}

/* A document of its own, as text and as value. */
static void show_value(const cli_run *cli, const hf_value *value)
{
    cli_answer answer = {.document = *value};

    hf_buffer_init(&answer.body, MANIFESTS_MAXIMUM);
    if (hf_json_append(&answer.body, value) != 0)
        cli_out_of_memory();
    cli_show(cli, &answer, NULL);
    cli_answer_done(&answer);
}

/* The plugin of a running node that provides KIND/NAME. */
static int show_running(cli_run *cli, const char *wanted)
{
    cli_answer answer;
    int result = cli_request(cli, "GET", "/v1/admin/plugins", NULL, (hf_slice){NULL, 0}, &answer);
    const hf_value *plugins = hf_value_get(&answer.document, "plugins"), *found = NULL;

    for (uint64_t i = 0; i < cli_list_count(plugins) && !found; i++)
        found = provides(&plugins->as.items[i], wanted) ? &plugins->as.items[i] : NULL;
    if (found) {
        show_value(cli, found);
    } else if (result == CLI_OK) {
        fprintf(stderr, "holdfast: the node has no plugin that provides '%s'; see 'holdfast plugin list'\n", wanted);
        result = CLI_NOT_FOUND;
    }
    cli_answer_done(&answer);
    return result;
}

int cli_plugin_show(cli_run *cli)
{
    const char *wanted = cli->arguments[0];
    hf_value manifest = hf_value_null();
    hf_error error = {0};
    char *json = NULL;
    struct stat file;
    int32_t result;

    if (stat(wanted, &file) != 0)
        return show_running(cli, wanted);
    result = read_manifest(wanted, &json, &error);
    if (result == 0)
        result = hf_json_parse(hf_slice_of(json), &cli->arena, &manifest, &error);
    free(json);
    if (result != 0) {
        fprintf(stderr, "holdfast: %s\n", error.message);
        return CLI_FAILED;
    }
    show_value(cli, &manifest);
    return CLI_OK;
}
