/* A generation as JSON, and sections that are groups of named groups. */
#include "options.h"

#include "config/diff.h"
#include "config/document.h"
#include "config/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct user_config {
    const char *name;
    const char *password;
    hf_strings rights;
} user_config;

typedef struct users_config {
    hf_groups users;
} users_config;

static const hf_option user_rows[] = {
    HF_CONFIG_STRING("password", user_config, password, .flags = HF_OPTION_SECRET | HF_OPTION_REQUIRED,
                     .doc = "Its password."),
    HF_CONFIG_STRINGS("rights", user_config, rights, .flags = HF_OPTION_RELOADABLE, .doc = "What it may do."),
};
static const hf_option_table user_table = HF_TABLE(user_rows);
static const hf_option users_rows[] = {
    HF_CONFIG_GROUPS("users", users_config, users, user_config, .members = &user_table, .flags = HF_OPTION_RELOADABLE,
                     .doc = "Who may come in."),
};
static const hf_option_table users_table = HF_TABLE(users_rows);

static const hf_config_section sections[] = {
    {"users", &users_table, sizeof(users_config), HF_CONFIG_SECTION_NAMED, "Who may come in."},
    {"engine.rocksdb", &rocksdb_table, sizeof(rocksdb_config), 0, "A log-structured engine."},
    {"store", &store_table, sizeof(store_config), 0, "The object store."},
    {"engine.other", &rocksdb_table, sizeof(rocksdb_config), 0, "Another engine."},
};
enum { SECTION_COUNT = 4 };

static hf_config_problems problems;

static int32_t check(const char *text, hf_config_generation **ret_generation)
{
    hf_config_tree *tree = NULL;

    memset(&problems, 0, sizeof problems);
    assert_int_equal(hf_config_tree_parse("memory", text, strlen(text), &tree, NULL), 0);
    return hf_config_check(tree, sections, SECTION_COUNT, ret_generation, &problems);
}

static hf_config_generation *good(const char *text)
{
    hf_config_generation *generation = NULL;

    if (check(text, &generation) != 0)
        fail_msg("%s", problems.lines[0]);
    return generation;
}

static void named_groups_are_read(void **state)
{
    hf_config_generation *generation =
        good("users: { ann: { password = \"x\"; rights = [ \"a\" ]; }; bob: { password = \"y\"; }; };");
    const users_config *users = hf_config_generation_get(generation, "users", NULL);
    const user_config *items = users->users.items;

    (void)state;
    assert_int_equal(users->users.count, 2);
    assert_string_equal(items[0].name, "ann");
    assert_string_equal(items[0].password, "x");
    assert_int_equal(items[0].rights.count, 1);
    assert_string_equal(items[1].name, "bob");
    hf_config_generation_free(generation);
    generation = good("store: { };");
    users = hf_config_generation_get(generation, "users", NULL);
    assert_int_equal(users->users.count, 0);
    hf_config_generation_free(generation);
}

static void named_groups_are_checked(void **state)
{
    hf_config_generation *generation = NULL;

    (void)state;
    assert_int_equal(check("users: {\n ann: { pasword = \"x\"; };\n bob = 3;\n};\nuser: { };", &generation), HF_EINVAL);
    assert_int_equal(problems.count, 4);
    assert_string_equal(problems.lines[0], "memory:2: 'users.ann.password' is missing, expected a string");
    assert_string_equal(problems.lines[1],
                        "memory:2: unknown option 'pasword' in 'users.ann'; did you mean 'password'?");
    assert_string_equal(problems.lines[2], "memory:3: 'users.bob' is 3, expected a group { ... }");
    assert_string_equal(problems.lines[3], "memory:5: unknown section 'user'; did you mean 'users'?");
    assert_int_equal(check("users = 5;", &generation), HF_EINVAL);
    assert_string_equal(problems.lines[0], "memory:1: 'users' is 5, expected a group { ... }");
}

static void named_groups_are_compared(void **state)
{
    hf_config_generation *none = good("store: { };");
    hf_config_generation *one = good("store: { }; users: { ann: { password = \"x\"; }; };");
    hf_config_generation *other = good("store: { }; users: { ann: { password = \"y\"; rights = [ \"a\" ]; }; };");
    hf_config_diff *diff = NULL;
    uint64_t count;

    (void)state;
    assert_int_equal(hf_config_diff_create(none, one, &diff), 0);
    const hf_config_change *changes = hf_config_diff_changes(diff, &count);
    assert_int_equal(count, 1);
    assert_string_equal(changes[0].key, "users.ann");
    assert_int_equal(changes[0].reloadable, 1);
    hf_config_diff_free(diff);

    assert_int_equal(hf_config_diff_create(one, other, &diff), 0);
    changes = hf_config_diff_changes(diff, &count);
    assert_int_equal(count, 2);
    assert_string_equal(changes[0].key, "users.ann.password");
    assert_string_equal(changes[0].new_text, "***");
    assert_int_equal(changes[0].reloadable, 0);
    assert_string_equal(changes[1].key, "users.ann.rights");
    assert_int_equal(changes[1].reloadable, 1);
    hf_config_diff_free(diff);
    hf_config_generation_free(none);
    hf_config_generation_free(one);
    hf_config_generation_free(other);
}

static void named_groups_are_documented(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    (void)state;
    assert_int_equal(hf_config_reference_markdown(file, &sections[0]), 0);
    fclose(file);
    assert_non_null(strstr(text, "| `NAME.password` |"));
    assert_null(strstr(text, "`users`"));
    free(text);
    file = open_memstream(&text, &size);
    assert_int_equal(hf_config_reference_sample(file, &sections[0]), 0);
    fclose(file);
    hf_config_generation_free(good(text));
    assert_non_null(strstr(text, "# name: {\n"));
    free(text);
}

static void document_has_values_without_secrets(void **state)
{
    static const char expected[] =
        "{\"users\":{\"ann\":{\"rights\":[\"a\",\"b\\\"\"]}},"
        "\"engine\":{\"rocksdb\":{\"cache_size\":\"2MiB\",\"sync\":false},"
        "\"other\":{\"cache_size\":\"64MiB\",\"sync\":true}},"
        "\"store\":{\"port\":8080,\"ratio\":0.5,\"title\":\"t\",\"tags\":[\"a\",\"b\"],\"timeout\":\"10s\","
        "\"mode\":\"safe\",\"path\":\"/p\",\"listen\":\"127.0.0.1:80\",\"tls\":{\"key\":\"/k\",\"verify\":true},"
        "\"peers\":{\"a\":{\"address\":\"h:1\",\"weight\":1}}}}";
    hf_config_generation *generation =
        good("users: { ann: { password = \"x\"; rights = [ \"a\", \"b\\\"\" ]; }; };"
             "engine: { rocksdb: { cache_size = \"2MiB\"; sync = false; }; };"
             "store: { title = \"t\"; token = \"hidden\"; path = \"/p\"; tls: { key = \"/k\"; };"
             " peers: { a: { address = \"h:1\"; }; }; };");
    hf_buffer buffer;
    hf_json_writer writer;

    (void)state;
    hf_buffer_init(&buffer, 1 << 20);
    hf_json_writer_init(&writer, &buffer);
    hf_config_document_json(&writer, generation);
    assert_int_equal(writer.result, 0);
    assert_int_equal(buffer.size, sizeof expected - 1);
    assert_memory_equal(buffer.data, expected, sizeof expected - 1);
    hf_buffer_done(&buffer);
    hf_config_generation_free(generation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_groups_are_read),
        cmocka_unit_test(named_groups_are_checked),
        cmocka_unit_test(named_groups_are_compared),
        cmocka_unit_test(named_groups_are_documented),
        cmocka_unit_test(document_has_values_without_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
