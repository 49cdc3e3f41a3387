/* Documents against declared options: the values that arrive, and every problem on its own line. */
#include "options.h"

#include "config/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *data = "tests/data";
static hf_config_problems problems;

static int32_t load(const char *name, hf_config_generation **generation)
{
    char path[1024];

    memset(&problems, 0, sizeof problems);
    snprintf(path, sizeof path, "%s/%s", data, name);
    return hf_config_load(path, test_sections, TEST_SECTION_COUNT, generation, &problems);
}

static int32_t check_text(const char *text, const hf_config_section *sections, uint32_t count,
                          hf_config_generation **generation)
{
    hf_config_tree *tree = NULL;

    memset(&problems, 0, sizeof problems);
    assert_int_equal(hf_config_tree_parse("memory", text, strlen(text), &tree, NULL), 0);
    return hf_config_check(tree, sections, count, generation, &problems);
}

static void values_arrive(void **state)
{
    hf_config_generation *generation = NULL;
    int32_t present = 0;

    (void)state;
    if (load("good/full.cfg", &generation) != 0)
        fail_msg("%s", problems.lines[0]);

    const store_config *store = hf_config_generation_get(generation, "store", &present);
    const peer_config *peers = store->peers.items;
    const rocksdb_config *rocksdb = hf_config_generation_get(generation, "engine.rocksdb", NULL);

    assert_int_equal(present, 1);
    assert_int_equal(store->port, 9000);
    assert_true(store->ratio == 1.0);
    assert_string_equal(store->title, "Grüße");
    assert_int_equal(store->tags.count, 1);
    assert_int_equal(store->timeout_us, 300000);
    assert_int_equal(store->mode, 0);
    assert_true(store->path[0] == '/' && strstr(store->path, "/good/data"));
    assert_string_equal(store->listen, "[::1]:9000");
    assert_int_equal(store->tls.verify, 1);
    assert_int_equal(store->peers.count, 2);
    assert_string_equal(peers[0].name, "north");
    assert_int_equal(peers[0].weight, 3);
    assert_string_equal(peers[1].address, "unix:/run/south.sock");
    assert_int_equal(peers[1].weight, 1);
    assert_int_equal(rocksdb->cache_size, 2097152);
    assert_int_equal(rocksdb->sync, 0);
    assert_null(hf_config_generation_get(generation, "none", NULL));
    hf_config_generation_free(generation);
}

static void defaults_fill_what_is_left_out(void **state)
{
    hf_config_generation *generation = NULL;
    int32_t present = 1;

    (void)state;
    assert_int_equal(check_text("store: { };", test_sections, TEST_SECTION_COUNT, &generation), 0);

    const store_config *store = hf_config_generation_get(generation, "store", NULL);
    const rocksdb_config *rocksdb = hf_config_generation_get(generation, "engine.rocksdb", &present);

    assert_int_equal(present, 0);
    assert_int_equal(store->port, 8080);
    assert_string_equal(store->title, "");
    assert_int_equal(store->tags.count, 2);
    assert_string_equal(store->tags.items[1], "b");
    assert_int_equal(store->timeout_us, 10000000);
    assert_int_equal(store->mode, 1);
    assert_string_equal(store->path, "/var/lib/store");
    assert_int_equal(rocksdb->cache_size, 67108864);
    hf_config_generation_free(generation);
}

static void all_problems_are_told(void **state)
{
    hf_config_generation *generation = NULL;
    char path[1024], line[512], expected[2048];
    uint32_t count = 0;

    (void)state;
    assert_int_equal(load("bad/many.cfg", &generation), HF_EINVAL);
    assert_null(generation);
    snprintf(path, sizeof path, "%s/bad/many.expected", data);

    FILE *file = fopen(path, "r");

    assert_non_null(file);
    for (; fgets(line, sizeof line, file); count++) {
        int found = 0;

        line[strcspn(line, "\n")] = '\0';
        snprintf(expected, sizeof expected, "%s/bad/many.cfg:%s", data, line);
        for (uint32_t i = 0; i < problems.count; i++)
            found += strcmp(problems.lines[i], expected) == 0;
        if (found != 1)
            fail_msg("told %d times: %s", found, expected);
    }
    fclose(file);
    assert_int_equal(count, problems.count);
}

static void missing_section_and_bad_document(void **state)
{
    hf_config_generation *generation = NULL;

    (void)state;
    assert_int_equal(check_text("", test_sections, TEST_SECTION_COUNT, &generation), HF_EINVAL);
    assert_string_equal(problems.lines[0], "memory:1: section 'store' is missing, expected a group { ... }");
    assert_int_equal(check_text("store = 1;", test_sections, TEST_SECTION_COUNT, &generation), HF_EINVAL);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.lines[0], "memory:1: 'store' is 1, expected a group { ... }");
    assert_int_equal(load("bad/syntax.cfg", &generation), HF_EINVAL);
    assert_int_equal(problems.count, 1);
    assert_int_equal(load("bad/none.cfg", &generation), HF_ENOTFOUND);
}

/* A plugin built with longer or shorter rows, and one whose option lies outside its struct. */
static void rows_of_other_sizes(void **state)
{
    struct long_row {
        hf_option row;
        uint64_t more;
    } longer[] = {{rocksdb_rows[0], ~0ull}, {rocksdb_rows[1], ~0ull}};
    hf_option outside[] = {rocksdb_rows[0]};
    unsigned char shorter[offsetof(hf_option, doc)];
    hf_option_table long_table = {&longer[0].row, sizeof longer[0], 2}, outside_table = HF_TABLE(outside);
    hf_option_table short_table = {(const hf_option *)(const void *)shorter, sizeof shorter, 1};
    hf_config_section section = {"engine.rocksdb", &long_table, sizeof(rocksdb_config), 0, NULL};
    const char *text = "engine: { rocksdb: { cache_size = \"1MiB\"; }; };";
    hf_config_generation *generation = NULL;

    (void)state;
    assert_int_equal(check_text(text, &section, 1, &generation), 0);
    assert_int_equal(((const rocksdb_config *)hf_config_generation_get(generation, "engine.rocksdb", NULL))->sync, 1);
    hf_config_generation_free(generation);
    memcpy(shorter, &rocksdb_rows[0], sizeof shorter);
    section.options = &short_table;
    assert_int_equal(check_text(text, &section, 1, &generation), 0);
    hf_config_generation_free(generation);
    outside[0].offset = sizeof(rocksdb_config);
    section.options = &outside_table;
    assert_int_equal(check_text(text, &section, 1, &generation), HF_EINVAL);
}

static void problems_are_bounded(void **state)
{
    char text[4096] = "store: { };";
    hf_config_generation *generation = NULL;

    (void)state;
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "unknown%d = %d;\n", i, i);
    assert_int_equal(check_text(text, test_sections, TEST_SECTION_COUNT, &generation), HF_EINVAL);
    assert_int_equal(problems.count, HF_CONFIG_PROBLEMS_MAX);
    assert_int_equal(problems.dropped, 100 - HF_CONFIG_PROBLEMS_MAX);
}

static void units_and_distances(void **state)
{
    char text[32];
    uint64_t value = 0;

    (void)state;
    assert_true(hf_config_size_parse("64MiB", &value) && value == 64 << 20);
    assert_true(hf_config_size_parse("1 GB", &value) && value == 1000000000);
    assert_false(hf_config_size_parse("20000000TiB", &value));
    assert_false(hf_config_size_parse("99999999999999999999", &value));
    assert_false(hf_config_size_parse("-1", &value));
    assert_false(hf_config_duration_parse("10", &value));
    assert_true(hf_config_duration_parse("2h", &value) && value == 7200000000);
    hf_config_duration_format(90000000, text, sizeof text);
    assert_string_equal(text, "90s");
    hf_config_size_format(1536, text, sizeof text);
    assert_string_equal(text, "1536B");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_arrive),         cmocka_unit_test(defaults_fill_what_is_left_out),
        cmocka_unit_test(all_problems_are_told), cmocka_unit_test(missing_section_and_bad_document),
        cmocka_unit_test(rows_of_other_sizes),   cmocka_unit_test(problems_are_bounded),
        cmocka_unit_test(units_and_distances),
    };

    if (argc > 1)
        data = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
