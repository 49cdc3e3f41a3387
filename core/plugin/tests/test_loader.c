/* Shows with real shared objects that a plugin that does not fit is refused before any of its code runs, that the
 * manifest says what the plugin's tables say, and that damaged files are refused at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../loader.h"
#include "../note.h"

static const char *folder; /* of the plugins built from plugins/sample.c */
static hf_error error;

static const char *path_of(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s.so", folder, name);
    return path;
}

static int plugin_code_ran(void)
{
    return getenv("HOLDFAST_TEST_PLUGIN_RAN") != NULL;
}

static int32_t load(const char *name, hf_registry **ret_registry)
{
    assert_int_equal(hf_registry_create(ret_registry, NULL), 0);
    unsetenv("HOLDFAST_TEST_PLUGIN_RAN");
    return hf_plugin_load(*ret_registry, path_of(name), NULL, &error);
}

static void refused(const char *name, int32_t code, const char *words, int may_have_run)
{
    hf_registry *registry;
    uint64_t count;

    assert_int_equal(load(name, &registry), code);
    if (!strstr(error.message, words))
        fail_msg("'%s' does not say '%s'", error.message, words);
    assert_int_equal(plugin_code_ran(), may_have_run);
    hf_registry_list(registry, &count);
    assert_int_equal(count, 0);
    hf_registry_destroy(registry);
}

static void a_good_plugin_is_loaded(void **state)
{
    hf_registry *registry;

    (void)state;
    assert_int_equal(load("sample", &registry), 0);
    assert_true(plugin_code_ran());
    const hf_capability *found = hf_registry_find(registry, "replication", "sample");
    assert_non_null(found);
    assert_int_equal(found->options.count, 1);
    assert_string_equal(found->plugin_id, "org.example.sample");
    hf_registry_destroy(registry);
}

static void the_manifest_says_what_the_tables_say(void **state)
{
    char *manifest;

    (void)state;
    assert_int_equal(hf_plugin_note_read(path_of("sample"), &manifest, &error), 0);
    assert_string_equal(manifest,
                        "{\"interface_major\":1,\"interface_minor\":0,\"minor_needed\":0,\"id\":\"org.example.sample\","
                        "\"version\":\"1.0.0\",\"summary\":\"Only for loading.\",\"licence\":\"Apache-2.0\","
                        "\"requires\":[],\"provides\":[{\"kind\":\"replication\",\"name\":\"sample\","
                        "\"summary\":\"Only for loading.\",\"options\":[{\"name\":\"rounds\",\"type\":\"integer\","
                        "\"required\":false,\"reloadable\":false,\"secret\":false,\"minimum\":1,\"maximum\":9,"
                        "\"default\":\"3\",\"doc\":\"How many \\\"rounds\\\" there are.\"}]}]}");
    free(manifest);
}

static void what_does_not_fit_is_refused_before_it_runs(void **state)
{
    (void)state;
    refused("other_major", HF_EVERSION, "interface 2.0, this host has 1.0; install a build for it", 0);
    refused("newer_minor", HF_EVERSION, "upgrade Holdfast", 0);
}

static void a_plugin_that_fails_in_load_is_refused(void **state)
{
    (void)state;
    refused("fail_load", HF_EIO, "failed to load: the sample was told to fail", 1);
}

static void what_is_no_plugin_is_refused(void **state)
{
    hf_registry *registry;

    (void)state;
    refused("missing", HF_ENOTFOUND, "cannot find plugin", 0);
    assert_int_equal(hf_registry_create(&registry, NULL), 0);
    assert_int_equal(hf_plugin_load(registry, "/etc/passwd", NULL, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "not an ELF file"));
    assert_int_equal(hf_plugin_load(registry, "/", NULL, &error), HF_EINVAL);
    assert_int_equal(hf_plugin_load(registry, "/proc/self/exe", NULL, &error), HF_ENOTFOUND);
    assert_non_null(strstr(error.message, "no manifest"));
    hf_registry_destroy(registry);
}

/* ---- Damaged files ------------------------------------------------------------------------------------------- */

static uint8_t *read_file(const char *path, uint64_t *ret_size)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *ret_size = (uint64_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*ret_size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *ret_size, file), *ret_size);
    fclose(file);
    return bytes;
}

static void check_inside(hf_slice file, const char *what)
{
    hf_slice json = {0};

    if (hf_plugin_note_find(file, what, &json, &error) == 0)
        assert_true(json.data >= file.data && json.data + json.size <= file.data + file.size);
    else
        assert_true(strlen(error.message) > 0);
}

/* Every truncation, and every byte of the headers and the note replaced: never a read outside the file (the
 * sanitizers watch), and a manifest only from inside it. */
static void damaged_files_are_never_read_outside(void **state)
{
    uint64_t size;
    uint8_t *bytes = read_file(path_of("sample"), &size);
    uint64_t tail = size > 4096 ? size - 4096 : 0; /* section headers and the note are at the end */

    (void)state;
    for (uint64_t cut = 0; cut < size; cut += cut < 128 || cut >= tail ? 1 : 97) {
        uint8_t *copy = malloc(cut ? cut : 1); /* of the exact size, so that reading past it is seen */
        memcpy(copy, bytes, cut);
        check_inside((hf_slice){copy, cut}, "cut");
        free(copy);
    }
    for (uint64_t at = 0; at < size; at += at < 64 || at >= tail ? 1 : 101) {
        const uint8_t original = bytes[at];
        const uint8_t replacements[] = {0x00, 0xff, 0x7f, (uint8_t)(original ^ 1)};
        for (size_t i = 0; i < sizeof replacements; i++) {
            bytes[at] = replacements[i];
            check_inside((hf_slice){bytes, size}, "changed");
        }
        bytes[at] = original;
    }
    free(bytes);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_refused_before_it_runs),
        cmocka_unit_test(what_is_no_plugin_is_refused),
        cmocka_unit_test(the_manifest_says_what_the_tables_say),
        cmocka_unit_test(damaged_files_are_never_read_outside),
        cmocka_unit_test(a_good_plugin_is_loaded),
        cmocka_unit_test(a_plugin_that_fails_in_load_is_refused),
    };
    if (count < 2) {
        fprintf(stderr, "usage: core_plugin_loader FOLDER\n");
        return 2;
    }
    folder = arguments[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
