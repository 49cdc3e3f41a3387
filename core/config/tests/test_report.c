/* What is told about configurations: differences between two generations, the reference, the sample. */
#include "options.h"

#include "config/diff.h"
#include "config/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static hf_config_problems problems;

static hf_config_generation *check(const char *text, const hf_config_section *sections, uint32_t count)
{
    hf_config_tree *tree = NULL;
    hf_config_generation *generation = NULL;

    memset(&problems, 0, sizeof problems);
    assert_int_equal(hf_config_tree_parse("memory", text, strlen(text), &tree, NULL), 0);
    if (hf_config_check(tree, sections, count, &generation, &problems) != 0)
        fail_msg("%s", problems.lines[0]);
    return generation;
}

static hf_config_diff *diff_of(const char *old_text, const char *new_text)
{
    hf_config_generation *old_generation = check(old_text, test_sections, TEST_SECTION_COUNT);
    hf_config_generation *new_generation = check(new_text, test_sections, TEST_SECTION_COUNT);
    hf_config_diff *diff = NULL;

    assert_int_equal(hf_config_diff_create(old_generation, new_generation, &diff), 0);
    hf_config_generation_free(old_generation);
    hf_config_generation_free(new_generation);
    return diff;
}

static void changes_are_listed(void **state)
{
    static const hf_config_change expected[] = {
        {"store", "store.port", "8080", "81", 0},
        {"store", "store.tags", "[ \"a\", \"b\" ]", "[ \"c\" ]", 1},
        {"store", "store.timeout", "\"10s\"", "\"1500ms\"", 1},
        {"store", "store.mode", "\"safe\"", "\"fast\"", 0},
        {"store", "store.token", "***", "***", 1},
        {"store", "store.peers.a.weight", "1", "2", 1},
        {"store", "store.peers.b", "{ ... }", "(absent)", 1},
        {"store", "store.peers.c", "(absent)", "{ ... }", 1},
        {"engine.rocksdb", "engine.rocksdb", "(absent)", "{ ... }", 0},
    };
    hf_config_diff *diff =
        diff_of("store: { token = \"one\"; peers: { a: { address = \"h:1\"; }; b: { address = \"h:2\"; }; }; };",
                "store: { port = 81; tags = [ \"c\" ]; timeout = \"1500ms\"; mode = \"fast\"; token = \"two\";"
                "peers: { c: { address = \"h:3\"; }; a: { address = \"h:1\"; weight = 2; }; }; };"
                "engine: { rocksdb: { cache_size = 67108864; }; };"); /* the default "64MiB": no change */
    uint64_t count;
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);

    (void)state;
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (uint64_t i = 0; i < count; i++) {
        assert_string_equal(changes[i].section, expected[i].section);
        assert_string_equal(changes[i].key, expected[i].key);
        assert_string_equal(changes[i].old_text, expected[i].old_text);
        assert_string_equal(changes[i].new_text, expected[i].new_text);
        assert_int_equal(changes[i].reloadable, expected[i].reloadable);
    }
    assert_int_equal(hf_config_diff_reloadable(diff), 0);
    hf_config_diff_free(diff);
}

static void equal_and_reloadable(void **state)
{
    hf_config_diff *same = diff_of("store: { port = 8080; };", "store: { timeout = \"10s\"; };");
    hf_config_diff *light = diff_of("store: { };", "store: { ratio = 0.25; };");
    uint64_t count;

    (void)state;
    (void)hf_config_diff_changes(same, &count);
    assert_int_equal(count, 0);
    assert_int_equal(hf_config_diff_reloadable(light), 1);
    hf_config_diff_free(same);
    hf_config_diff_free(light);
}

static char *render(int32_t (*write)(FILE *, const hf_config_section *), const hf_config_section *section)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(file);
    assert_int_equal(write(file, section), 0);
    fclose(file);
    return text;
}

static void markdown_has_every_option(void **state)
{
    char *text = render(hf_config_reference_markdown, &test_sections[0]);

    (void)state;
    assert_non_null(strstr(text, "## store\n\nThe object store.\n"));
    assert_non_null(strstr(text, "| `port` | an integer from 1 to 65535 | `8080` | restart | Port to listen on. |\n"));
    assert_non_null(strstr(text, "such as [ \"a\", \"b\" ] | `[ \"a\", \"b\" ]` | reload | Labels. |\n"));
    assert_non_null(strstr(text, "| `tls.key` | the path of a file or folder | required | restart | Private key. |\n"));
    assert_non_null(strstr(text, "| `peers.NAME.weight` |"));
    assert_non_null(strstr(text, "Shared secret. Never printed. |"));
    free(text);
}

/* The sample as it is, and with every option uncommented, is a document. */
static void sample_reads_back(void **state)
{
    char *text = render(hf_config_reference_sample, &test_sections[1]);

    (void)state;
    assert_non_null(strstr(text, "        # cache_size = \"64MiB\";\n"));
    hf_config_generation_free(check(text, &test_sections[1], 1));
    for (char *at = text; (at = strstr(at, "# ")) != NULL; at += 2)
        if (strchr(at, '\n')[-1] == ';')
            memcpy(at, "  ", 2);
    hf_config_generation_free(check(text, &test_sections[1], 1));
    free(text);
    text = render(hf_config_reference_sample, &test_sections[0]);
    hf_config_generation_free(check(text, test_sections, 1));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_listed),
        cmocka_unit_test(equal_and_reloadable),
        cmocka_unit_test(markdown_has_every_option),
        cmocka_unit_test(sample_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
