/* Reading documents: includes and merging, and one line with file and line for everything that can be wrong. */
#include "config/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *data = "tests/data";

static int32_t load(const char *name, hf_config_tree **tree, hf_error *error)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", data, name);
    return hf_config_tree_load(path, tree, error);
}

static void good_documents_merge(void **state)
{
    hf_config_tree *tree = NULL;
    hf_error error = {0};

    (void)state;
    if (load("good/main.cfg", &tree, &error) != 0)
        fail_msg("%s", error.message);
    assert_string_equal(hf_config_tree_find(tree, "engine.rocksdb.cache_size")->string, "64MiB");

    const hf_config_node *path = hf_config_tree_find(tree, "engine.rocksdb.path");

    assert_string_equal(path->string, "data");
    assert_int_equal(path->line, 1);
    assert_non_null(strstr(path->file, "conf.d/10-engine.cfg"));
    assert_int_equal(hf_config_tree_find(tree, "store.port")->integer, 8080);
    assert_int_equal(hf_config_tree_find(tree, "store.port")->line, 2);
    assert_int_equal(hf_config_tree_find(tree, "store.mixed")->child_count, 3);
    assert_int_equal(hf_config_tree_find(tree, "audit.enabled")->integer, 1);
    assert_non_null(strstr(hf_config_tree_find(tree, "audit.enabled")->file, "extra.cfg"));
    assert_true(hf_config_tree_find(tree, "node.weight")->number == 1.5);
    assert_null(hf_config_tree_find(tree, "include"));
    assert_null(hf_config_tree_find(tree, "node.weight.more"));
    hf_config_tree_free(tree);
}

static void bad_documents_name_file_and_line(void **state)
{
    static const struct {
        const char *file, *expected;
        int32_t code;
    } cases[] = {
        {"bad/syntax.cfg", "bad/syntax.cfg:2: syntax error; expected 'name = value;'", HF_EINVAL},
        {"bad/duplicate.cfg", "bad/duplicate.cfg:2: duplicate setting name; expected each name once", HF_EINVAL},
        {"bad/utf8.cfg", "bad/utf8.cfg:2: byte 0xc3 is not text; expected UTF-8", HF_EINVAL},
        {"bad/escape.cfg", "bad/escape.cfg:1: string has byte 0xff; expected UTF-8", HF_EINVAL},
        {"bad/cycle.cfg", "bad/cycle.cfg:1: file includes itself", HF_EINVAL},
        {"bad/at_cycle.cfg", "bad/at_cycle.cfg:2: @include \"at_cycle.cfg\" is too deep or a cycle", HF_EINVAL},
        {"bad/at_missing.cfg", "bad/at_missing.cfg:2: @include \"none.cfg\"", HF_ENOTFOUND},
        {"bad/at_absolute.cfg", "bad/at_absolute.cfg:3: @include \"/dev/null\"; expected a path relative", HF_EINVAL},
        {"bad/missing_include.cfg", "bad/missing_include.cfg:1: included file", HF_ENOTFOUND},
        {"bad/include_type.cfg", "bad/include_type.cfg:1: 'include' has an integer; expected a list", HF_EINVAL},
        {"bad/twice.cfg", "bad/twice_b.inc:2: 'port' is given already at ", HF_EEXIST},
        {"bad/twice.cfg", "bad/twice.cfg:3; expected it once", HF_EEXIST},
        {"bad/deep.cfg", "bad/deep.cfg:1: nested too deep; expected at most 32 levels", HF_ETOOLARGE},
        {"bad/none.cfg", "bad/none.cfg:1: cannot open: No such file", HF_ENOTFOUND},
        {"bad", "bad:1: not a regular file", HF_EIO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_config_tree *tree = NULL;
        hf_error error = {0};
        int32_t r = load(cases[i].file, &tree, &error);

        if (r != cases[i].code || !strstr(error.message, cases[i].expected))
            fail_msg("%s: %d '%s', expected '%s'", cases[i].file, (int)r, error.message, cases[i].expected);
        assert_null(tree);
    }
}

static void memory_takes_no_includes(void **state)
{
    static const char *const texts[] = {"include = [ \"*\" ];", "x = 1;\n @include \"a\"\n"};
    hf_config_tree *tree = NULL;
    hf_error error = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(hf_config_tree_parse("memory", texts[i], strlen(texts[i]), &tree, &error), HF_EUNSUPPORTED);
    assert_int_equal(hf_config_tree_parse("memory", "a\0b", 3, &tree, &error), HF_EINVAL);
    assert_string_equal(error.message, "memory:1: byte 0x00 is not text; expected UTF-8");
    assert_int_equal(hf_config_tree_parse("memory", "", 0, &tree, &error), 0);
    assert_int_equal(hf_config_tree_root(tree)->child_count, 0);
    hf_config_tree_free(tree);
}

static void large_and_unreadable_files(void **state)
{
    char path[] = "/tmp/holdfast-config-XXXXXX";
    int fd = mkstemp(path);
    hf_config_tree *tree = NULL;
    hf_error error = {0};

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 * 1024 * 1024 + 1), 0);
    assert_int_equal(hf_config_tree_load(path, &tree, &error), HF_ETOOLARGE);
    assert_int_equal(fchmod(fd, 0), 0);
    if (geteuid() != 0) /* root reads everything */
        assert_int_equal(hf_config_tree_load(path, &tree, &error), HF_EIO);
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_documents_merge),
        cmocka_unit_test(bad_documents_name_file_and_line),
        cmocka_unit_test(memory_takes_no_includes),
        cmocka_unit_test(large_and_unreadable_files),
    };

    if (argc > 1)
        data = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
