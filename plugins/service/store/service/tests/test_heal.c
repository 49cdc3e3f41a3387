/* Damaged data is set aside only when that takes nothing from anybody, and whatever interrupts it. */
#include <dirent.h>
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

#include "service/heal.h"
#include "service/identity.h"

static char directory[64];

static const char *path_of(const char *name)
{
    static char path[200];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void make_file(const char *name)
{
    FILE *file = fopen(path_of(name), "w");

    assert_non_null(file);
    fputs(name, file);
    fclose(file);
}

static int is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/store-heal-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[100];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

static void expect_refused(uint32_t nodes, uint64_t most, const char *why)
{
    hf_error error = {0};

    assert_int_equal(store_heal_allowed(directory, nodes, most, &error), HF_ESTATE);
    assert_non_null(strstr(error.message, why));
}

static void what_is_needed_is_not_given_up(void **state)
{
    (void)state;
    expect_refused(3, 3, "is not known");
    assert_int_equal(store_needed_save(directory, 2, NULL), 0);
    expect_refused(3, 3, "cannot go on without 2 replicas");
    assert_int_equal(store_needed_save(directory, 0, NULL), 0);
    assert_int_equal(store_heal_allowed(directory, 3, 3, NULL), 0);
    expect_refused(1, 3, "no other node");
    expect_refused(3, 0, "heal_maximum");
}

static void a_damaged_count_is_none(void **state)
{
    (void)state;
    assert_int_equal(store_needed_save(directory, 0, NULL), 0);
    FILE *file = fopen(path_of("needed"), "r+");

    assert_non_null(file);
    fputs("Q", file);
    fclose(file);
    expect_refused(3, 3, "is not known");
}

static void everything_is_moved_and_kept(void **state)
{
    char name[STORE_ASIDE_NAME_SIZE];
    hf_error error = {0};

    (void)state;
    make_file("identity");
    make_file("witness");
    assert_int_equal(mkdir(path_of("engine"), 0700), 0);
    make_file("engine/CURRENT");
    assert_int_equal(store_heal_mark(directory, "block checksum mismatch", NULL), 0);
    assert_int_equal(store_heal_check_mark(directory, &error), HF_ECORRUPT);
    assert_non_null(strstr(error.message, "block checksum mismatch"));
    assert_int_equal(store_heal_set_aside(directory, name, NULL), 0);
    assert_string_equal(name, "damaged-1");
    assert_true(is_there("damaged-1/identity") && is_there("damaged-1/witness") &&
                is_there("damaged-1/engine/CURRENT"));
    assert_false(is_there("identity") || is_there("witness") || is_there("engine"));
    assert_int_equal(store_heal_check_mark(directory, NULL), HF_ECORRUPT); /* the node has not begun anew yet */
    assert_int_equal(store_heal_unmark(directory, NULL), 0);
    assert_int_equal(store_heal_check_mark(directory, NULL), 0);
    assert_int_equal(store_heal_unmark(directory, NULL), 0);
}

static void an_interrupted_move_goes_on(void **state)
{
    char name[STORE_ASIDE_NAME_SIZE];

    (void)state;
    make_file("identity");
    assert_int_equal(store_heal_mark(directory, "x", NULL), 0);
    assert_int_equal(store_heal_set_aside(directory, name, NULL), 0);
    make_file("witness"); /* as if it had not been moved yet */
    assert_int_equal(store_heal_set_aside(directory, name, NULL), 0);
    assert_string_equal(name, "damaged-2");
    assert_true(is_there("damaged-1/identity") && is_there("damaged-2/witness") && !is_there("damaged-2/damaged-1"));
    assert_int_equal(store_needed_save(directory, 0, NULL), 0);
    expect_refused(3, 2, "2 times already");
    assert_int_equal(store_heal_allowed(directory, 3, 3, NULL), 0);
}

static void partitions_that_need_this_node_are_counted(void **state)
{
    const struct store_nodes nodes = {.count = 3, .self = 1, .names = {"n1", "n2", "n3"}};
    struct store_partition partitions[] = {
        {.id = 1, .member_count = 3, .members = {0, 1, 2}},
        {.id = 2, .member_count = 3, .members = {0, 1, 2}},
        {.id = 3, .member_count = 1, .members = {1}},
        {.id = 4, .member_count = 1, .members = {0}},
        {.id = 5, .member_count = 2, .members = {0, 1}},
        {.id = 6, .member_count = 1, .members = {0}, .leaving_count = 1, .leaving = {store_replica_id(1, 0)}},
    };
    struct store_routed routed[6];
    struct store_routing routing = {.partition_count = 6, .partitions = routed};

    (void)state;
    for (int i = 0; i < 6; i++)
        routed[i] = (struct store_routed){.partition = &partitions[i]};
    for (int i = 0; i < 3; i++)
        routing.nodes[i].state = STORE_NODE_ACTIVE;
    assert_int_equal(store_needed_count(&routing, &nodes), 3);
    routing.nodes[2].state = STORE_NODE_REMOVED; /* two nodes: neither of their catalog's voters is a majority */
    assert_int_equal(store_needed_count(&routing, &nodes), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_needed_is_not_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_count_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_is_moved_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_interrupted_move_goes_on, set_up, tear_down),
        cmocka_unit_test(partitions_that_need_this_node_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
