/* Shows what a node remembers of its own disk and of the others', and what it refuses because of that. */
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

#include "service/identity.h"

static const struct store_nodes three = {.count = 3, .names = {"n1", "n2", "n3"}};
static char directory[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/store-identity-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"identity", "witness"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static int32_t begin(const struct store_nodes *nodes, uint64_t random, struct store_identity *ret_identity,
                     struct store_membership *ret_membership, hf_error *error)
{
    return store_identity_begin(directory, random, nodes, ret_identity, ret_membership, error);
}

static void a_disk_keeps_its_number_and_counts_its_starts(void **state)
{
    struct store_identity identity;
    struct store_membership membership;

    (void)state;
    assert_int_equal(begin(&three, 0xabcdef, &identity, &membership, NULL), 0);
    assert_true(identity.disk == 0xabcdef && identity.starts == 1 && membership.cluster == 0);
    assert_true(identity.boot != 0 && identity.previous == 0);
    uint64_t boot = identity.boot;
    membership = (struct store_membership){.cluster = 77, .replica = 0x10002, .first_count = 3};
    assert_int_equal(store_identity_save(directory, &three, &identity, &membership, NULL), 0);
    assert_int_equal(begin(&three, 99, &identity, &membership, NULL), 0);
    assert_true(identity.disk == 0xabcdef && identity.starts == 2);
    assert_true(identity.boot != boot && identity.previous == boot);
    assert_true(membership.cluster == 77 && membership.replica == 0x10002 && membership.first_count == 3);
}

static void members_may_only_be_appended(void **state)
{
    const struct store_nodes more = {.count = 4, .names = {"n1", "n2", "n3", "n4"}};
    const struct store_nodes other = {.count = 3, .names = {"n1", "n3", "n2"}};
    const struct store_nodes fewer = {.count = 2, .names = {"n1", "n2"}};
    struct store_identity identity;
    struct store_membership membership;
    hf_error error = {0};

    (void)state;
    assert_int_equal(begin(&three, 1, &identity, &membership, &error), 0);
    assert_int_equal(begin(&other, 1, &identity, &membership, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "member 2 of the cluster was 'n2'"));
    assert_int_equal(begin(&fewer, 1, &identity, &membership, &error), HF_EINVAL);
    assert_int_equal(begin(&more, 1, &identity, &membership, &error), 0);
    assert_int_equal(begin(&three, 1, &identity, &membership, &error), HF_EINVAL);
}

static long read_file(const char *name, char *text, size_t capacity)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    size_t size = fread(text, 1, capacity, file);

    assert_int_equal(fclose(file), 0);
    return (long)size;
}

static void write_file(const char *name, const char *text, size_t size)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fwrite(text, 1, size, file) == size);
    assert_int_equal(fclose(file), 0);
}

static void every_damaged_byte_is_found(void **state)
{
    struct store_identity identity;
    struct store_membership membership;
    char good[1000], bad[1000];

    (void)state;
    assert_int_equal(begin(&three, 1, &identity, &membership, NULL), 0);
    long size = read_file("identity", good, sizeof good);

    for (long i = 0; i + 1 < size; i++) { /* the last is the end of the line */
        memcpy(bad, good, (size_t)size);
        bad[i] ^= 0x03;
        write_file("identity", bad, (size_t)size);
        assert_int_equal(begin(&three, 1, &identity, &membership, NULL), HF_ECORRUPT);
        write_file("identity", good, (size_t)i);
        assert_int_equal(begin(&three, 1, &identity, &membership, NULL), HF_ECORRUPT);
    }
    write_file("identity", good, (size_t)size);
    assert_int_equal(begin(&three, 1, &identity, &membership, NULL), 0);
}

static int32_t judge(struct store_witness *witness, uint64_t disk, uint64_t starts, uint64_t replaced,
                     int32_t *ret_news)
{
    const struct store_identity said = {.disk = disk, .starts = starts, .boot = starts, .previous = starts - 1};

    return store_witness_judge(witness, 1, &said, replaced, ret_news);
}

static void others_are_known_by_their_disk(void **state)
{
    struct store_witness witness;
    int32_t news = 0;

    (void)state;
    assert_int_equal(store_witness_open(&witness, directory, &three, NULL), 0);
    assert_int_equal(judge(&witness, 5, 3, 0, &news), STORE_IDENTITY_GOOD);
    assert_int_equal(news, 1);
    assert_int_equal(judge(&witness, 5, 3, 0, &news), STORE_IDENTITY_GOOD);
    assert_int_equal(news, 0);
    assert_int_equal(judge(&witness, 5, 2, 0, &news), STORE_IDENTITY_OLDER);
    assert_int_equal(judge(&witness, 6, 1, 0, &news), STORE_IDENTITY_FOREIGN);
    assert_int_equal(store_witness_save(&witness, NULL), 0);
    store_witness_close(&witness);

    assert_int_equal(store_witness_open(&witness, directory, &three, NULL), 0);
    assert_int_equal(judge(&witness, 6, 1, 7, &news), STORE_IDENTITY_FOREIGN);
    assert_int_equal(judge(&witness, 6, 1, 6, &news), STORE_IDENTITY_GOOD); /* it was replaced */
    assert_int_equal(news, 1);
    assert_int_equal(judge(&witness, 5, 9, 6, &news), STORE_IDENTITY_FOREIGN); /* the old disk comes back */
    store_witness_close(&witness);
}

/* Disk 5; starts, boot, previous, position. */
static int32_t judge_start(struct store_witness *witness, uint64_t starts, uint64_t boot, uint64_t previous,
                           uint64_t position)
{
    const struct store_identity said = {5, starts, boot, previous, position};
    int32_t news;

    return store_witness_judge(witness, 1, &said, 0, &news);
}

static void an_older_log_is_an_old_image(void **state)
{
    struct store_witness witness;

    (void)state;
    assert_int_equal(store_witness_open(&witness, directory, &three, NULL), 0);
    assert_int_equal(judge_start(&witness, 3, 30, 20, 1000), STORE_IDENTITY_GOOD);
    store_witness_hear(&witness, 1, 1500);
    store_witness_hear(&witness, 1, 1200); /* overtaken on another link */
    assert_true(store_witness_is_behind(&witness));
    assert_int_equal(judge_start(&witness, 3, 30, 20, 1000), STORE_IDENTITY_GOOD);  /* the same start, linked anew */
    assert_int_equal(judge_start(&witness, 4, 40, 30, 1499), STORE_IDENTITY_OLDER); /* an image of that start */
    assert_int_equal(store_witness_save(&witness, NULL), 0);
    assert_false(store_witness_is_behind(&witness));
    store_witness_close(&witness);

    assert_int_equal(store_witness_open(&witness, directory, &three, NULL), 0);
    assert_int_equal(judge_start(&witness, 4, 40, 30, 1499), STORE_IDENTITY_OLDER);
    assert_int_equal(judge_start(&witness, 4, 40, 30, 1500), STORE_IDENTITY_GOOD);
    store_witness_close(&witness);
}

static void a_copied_disk_is_known_by_its_starts(void **state)
{
    struct store_witness witness;

    (void)state;
    assert_int_equal(store_witness_open(&witness, directory, &three, NULL), 0);
    assert_int_equal(judge_start(&witness, 3, 30, 20, 1000), STORE_IDENTITY_GOOD);
    assert_int_equal(judge_start(&witness, 3, 31, 20, 1000), STORE_IDENTITY_COPY); /* both were start 3 */
    assert_int_equal(judge_start(&witness, 4, 41, 31, 1000), STORE_IDENTITY_COPY); /* it goes on from there */
    assert_int_equal(judge_start(&witness, 4, 40, 30, 1000), STORE_IDENTITY_GOOD);
    assert_int_equal(judge_start(&witness, 7, 70, 60, 1000), STORE_IDENTITY_GOOD); /* some were not heard of */
    store_witness_close(&witness);
}

static void clusters_differ_by_who_began_them(void **state)
{
    const struct store_nodes other = {.count = 3, .names = {"n1", "n2", "n4"}};

    (void)state;
    assert_true(store_cluster_number(&three, 3) == store_cluster_number(&three, 3));
    assert_true(store_cluster_number(&three, 2) == store_cluster_number(&other, 2));
    assert_true(store_cluster_number(&three, 3) != store_cluster_number(&other, 3));
    assert_true(store_cluster_number(&three, 3) != store_cluster_number(&three, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_disk_keeps_its_number_and_counts_its_starts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(members_may_only_be_appended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_damaged_byte_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_known_by_their_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_log_is_an_old_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copied_disk_is_known_by_its_starts, set_up, tear_down),
        cmocka_unit_test(clusters_differ_by_who_began_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
