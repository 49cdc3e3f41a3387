/* Shows whom a node keeps out after it has bound itself to a plan, and that it stays bound over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <holdfast/lib/error.h>

#include "recover/fence.h"

static const struct store_nodes three = {.count = 3, .names = {"n1", "n2", "n3"}};
static char directory[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/store-fence-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"recovery", "lost"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static void the_dead_stay_out(void **state)
{
    const uint64_t disks[STORE_NODES_MAX] = {11, 22, 33};
    struct store_fence fence;

    (void)state;
    assert_int_equal(store_fence_open(&fence, directory, &three, NULL), 0);
    assert_int_equal(store_fence_plan(&fence), 0);
    assert_int_equal(store_fence_keeps_out(&fence, 1, 22, 0), 0);
    assert_int_equal(store_fence_promise(&fence, 0, 0xabc, 1u << 1 | 1u << 2, disks, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_fence_plan(&fence), 0xabc);
        assert_int_equal(store_fence_keeps_out(&fence, 0, 11, 0), 0);
        assert_int_equal(store_fence_keeps_out(&fence, 1, 22, 0), 1);
        assert_int_equal(store_fence_keeps_out(&fence, 1, 22, 22), 1); /* the catalog may be older than the plan */
        assert_int_equal(store_fence_keeps_out(&fence, 1, 44, 0), 1);
        assert_int_equal(store_fence_keeps_out(&fence, 1, 44, 44), 0); /* replaced since */
        assert_int_equal(store_fence_keeps_out(&fence, 2, 33, 0), 1);
        store_fence_close(&fence);
        assert_int_equal(store_fence_open(&fence, directory, &three, NULL), 0); /* a restart */
    }
    store_fence_close(&fence);
}

static void one_plan_follows_the_other(void **state)
{
    const uint64_t disks[STORE_NODES_MAX] = {11, 22, 33}, later[STORE_NODES_MAX] = {11, 44, 33};
    struct store_fence fence;
    hf_error error = {0};

    (void)state;
    assert_int_equal(store_fence_open(&fence, directory, &three, NULL), 0);
    assert_int_equal(store_fence_promise(&fence, 0, 1, 1u << 1, disks, NULL), 0);
    assert_int_equal(store_fence_promise(&fence, 0, 1, 1u << 1, disks, NULL), 0); /* the same again */
    assert_int_equal(store_fence_promise(&fence, 0, 2, 1u << 2, disks, &error), HF_ECONFLICT);
    assert_non_null(strstr(error.message, "plan 0000000000000001 since"));
    assert_int_equal(store_fence_keeps_out(&fence, 2, 33, 0), 0);
    assert_int_equal(store_fence_promise(&fence, 1, 2, 1u << 1, later, NULL), 0);
    assert_int_equal(store_fence_plan(&fence), 2);
    assert_int_equal(store_fence_keeps_out(&fence, 1, 44, 44), 1); /* died again, as what had replaced it */
    store_fence_close(&fence);
}

static void a_promise_that_was_not_saved_was_not_made(void **state)
{
    const uint64_t disks[STORE_NODES_MAX] = {11, 22, 33};
    struct store_fence fence;

    (void)state;
    assert_int_equal(store_fence_open(&fence, "/nowhere/at/all", &three, NULL), 0);
    assert_int_equal(store_fence_promise(&fence, 0, 1, 1u << 1, disks, NULL), HF_EIO);
    assert_int_equal(store_fence_plan(&fence), 0);
    assert_int_equal(store_fence_keeps_out(&fence, 1, 22, 0), 0);
    store_fence_close(&fence);
}

static void what_was_called_lost_stays_so(void **state)
{
    struct store_fence fence;

    (void)state;
    assert_int_equal(store_fence_open(&fence, directory, &three, NULL), 0);
    assert_string_equal(fence.lost_to, "");
    assert_int_equal(store_fence_leave(&fence, "n1", NULL), 0);
    store_fence_close(&fence);
    assert_int_equal(store_fence_open(&fence, directory, &three, NULL), 0);
    assert_string_equal(fence.lost_to, "n1");
    store_fence_close(&fence);
}

static void a_damaged_file_is_refused(void **state)
{
    static const char *const names[] = {"recovery", "lost"};
    struct store_fence fence;
    hf_error error = {0};
    char path[128];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs("plan 0000000000000001\nchecksum 00000000\n", file);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(store_fence_open(&fence, directory, &three, &error), HF_ECORRUPT);
        assert_non_null(strstr(error.message, "is damaged"));
        store_fence_close(&fence);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_dead_stay_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_plan_follows_the_other, set_up, tear_down),
        cmocka_unit_test(a_promise_that_was_not_saved_was_not_made),
        cmocka_unit_test_setup_teardown(what_was_called_lost_stays_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
