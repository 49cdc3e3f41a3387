/* Shows that what was written is found again, also after reopening, and that segments come and go. */
#include "format.h"
#include "kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void round_trip_and_reopening(void **state)
{
    struct kit kit;
    struct store_log_record records[] = {kit_text(1, 1, 5, "one"), kit_text(2, 10, 6, ""), kit_text(1, 2, 5, "two"),
                                         kit_state(1, 5, 3, 1), kit_compact(2, 10, 6)};

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_submit(kit.log, records, 5), 0);
    for (int i = 0; i < 3; i++) {
        struct store_log_group_info info;

        kit_expect_text(&kit, 1, 1, 5, "one");
        kit_expect_text(&kit, 1, 2, 5, "two");
        kit_expect_text(&kit, 2, 10, 6, "");
        kit_expect_range(&kit, 1, 1, 2);
        kit_expect_range(&kit, 2, 10, 10);
        assert_int_equal(store_log_group(kit.log, 1, &info), 0);
        assert_int_equal(info.term * 100 + info.vote * 10 + info.commit, 531);
        assert_int_equal(store_log_group(kit.log, 2, &info), 0);
        assert_int_equal(info.snapshot_index * 10 + info.snapshot_term, 96);
        assert_int_equal(store_log_group(kit.log, 3, &info), HF_ENOTFOUND);
        kit_reopen(&kit);
        assert_int_equal(kit.cut_bytes, 0);
    }
    assert_int_equal(disk_count(kit.disk, ".log"), 1);
    kit_done(&kit);
}

static void reading_says_what_is_wrong(void **state)
{
    struct kit kit;
    struct store_log_entry entry;
    char buffer[8];

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 5, "longer than eight")), 0);
    assert_int_equal(store_log_read(kit.log, 1, 1, buffer, sizeof buffer, &entry, NULL), HF_ETOOLARGE);
    assert_int_equal(entry.size, strlen("longer than eight"));
    assert_int_equal(store_log_read(kit.log, 1, 2, buffer, sizeof buffer, &entry, NULL), HF_ENOTFOUND);
    assert_int_equal(store_log_read(kit.log, 2, 1, buffer, sizeof buffer, &entry, NULL), HF_ENOTFOUND);
    assert_int_equal(store_log_entry(kit.log, 1, 1, &entry), 0);
    assert_int_equal(store_log_entry(kit.log, 1, 0, &entry), HF_ENOTFOUND);
    kit_done(&kit);
}

static void entries_are_replaced_and_truncated(void **state)
{
    struct kit kit;

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    for (uint64_t i = 1; i <= 9; i++)
        assert_int_equal(kit_one(&kit, kit_text(1, i, 1, "old")), 0);
    assert_int_equal(kit_one(&kit, kit_text(1, 6, 2, "new")), 0);
    kit_expect_range(&kit, 1, 1, 6);
    assert_int_equal(kit_one(&kit, kit_truncate(1, 4)), 0);
    kit_expect_range(&kit, 1, 1, 3);
    assert_int_equal(kit_one(&kit, kit_text(1, 4, 3, "newer")), 0);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 1, 4);
    kit_expect_text(&kit, 1, 3, 1, "old");
    kit_expect_text(&kit, 1, 4, 3, "newer");
    assert_int_equal(kit_one(&kit, kit_compact(1, 100, 9)), 0);
    kit_expect_range(&kit, 1, 100, 99);
    assert_int_equal(kit_one(&kit, kit_text(1, 100, 9, "after a snapshot")), 0);
    assert_int_equal(kit_one(&kit, kit_truncate(1, 100)), 0);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 100, 99);
    kit_done(&kit);
}

static void a_removed_group_begins_anew(void **state)
{
    struct kit kit;
    struct store_log_group_info info;
    struct store_log_record records[] = {kit_text(1, 1, 1, "old"), kit_state(1, 1, 1, 1), kit_compact(1, 2, 1),
                                         kit_removed(1), kit_text(1, 1, 7, "a new life")};

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_submit(kit.log, records, 5), 0);
    kit_reopen(&kit);
    kit_expect_text(&kit, 1, 1, 7, "a new life");
    assert_int_equal(store_log_group(kit.log, 1, &info), 0);
    assert_int_equal(info.term + info.snapshot_index, 0);
    assert_int_equal(kit_one(&kit, kit_removed(1)), 0);
    assert_int_equal(store_log_group(kit.log, 1, &info), HF_ENOTFOUND);
    kit_reopen(&kit);
    assert_int_equal(store_log_group(kit.log, 1, &info), HF_ENOTFOUND);
    assert_int_equal(kit_one(&kit, kit_removed(1)), 0);
    kit_done(&kit);
}

static void what_cannot_follow_is_refused(void **state)
{
    struct kit kit;
    struct store_log_record gap[] = {kit_text(1, 6, 1, "six"), kit_text(2, 1, 1, "x"), kit_text(1, 8, 1, "eight")};

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 5, 1, "five")), 0);
    assert_int_equal(kit_submit(kit.log, gap, 3), HF_EINVAL);
    kit_expect_range(&kit, 1, 5, 5);
    assert_int_equal(kit_one(&kit, kit_text(1, 7, 1, "seven")), HF_EINVAL);
    assert_int_equal(kit_one(&kit, kit_text(1, 6, 1, "six")), 0);
    assert_int_equal(kit_one(&kit, kit_compact(1, 6, 1)), 0);
    assert_int_equal(kit_one(&kit, kit_text(1, 5, 1, "five")), HF_EINVAL);
    assert_int_equal(kit_one(&kit, kit_compact(1, 5, 1)), HF_EINVAL);
    assert_int_equal(kit_one(&kit, kit_text(1, 0, 1, "zero")), HF_EINVAL);
    assert_int_equal(kit_one(&kit, (struct store_log_record){.type = 9}), HF_EINVAL);
    assert_int_equal(kit_submit(kit.log, gap, 0), HF_EINVAL);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 6, 6);
    kit_done(&kit);
}

static void rolls_and_takes_the_largest(void **state)
{
    static uint8_t large[KIT_SEGMENT_SIZE], back[KIT_SEGMENT_SIZE];
    uint64_t most = KIT_SEGMENT_SIZE - 64 - 40;
    struct kit kit;
    struct store_log_entry entry;

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    for (uint64_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 7);
    assert_int_equal(kit_one(&kit, kit_entry(1, 1, 1, large, most + 1)), HF_ETOOLARGE);
    for (uint64_t i = 1; i <= 20; i++)
        assert_int_equal(kit_one(&kit, kit_entry(1, i, i, large, most - (i & 1) * 6000)), 0);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 1, 20);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(store_log_read(kit.log, 1, i, back, sizeof back, &entry, NULL), 0);
        assert_int_equal(entry.size, most - (i & 1) * 6000);
        assert_memory_equal(back, large, entry.size);
    }
    assert_int_equal(disk_count(kit.disk, ".log"), 20);
    kit_done(&kit);
}

static void compaction_frees_and_recycles(void **state)
{
    static uint8_t payload[1000];
    struct kit kit;
    struct store_log_metrics metrics;
    struct store_log_group_info info;

    (void)state;
    kit_init(&kit, 1);
    kit.options.spare_max = 2;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_state(77, 4, 5, 6)), 0); /* idle from now on */
    assert_int_equal(kit_one(&kit, kit_compact(78, 40, 3)), 0);
    for (uint64_t i = 1; i <= 400; i++) {
        assert_int_equal(kit_one(&kit, kit_entry(1, i, 1, payload, sizeof payload)), 0);
        if (i % 50 == 0)
            assert_int_equal(kit_one(&kit, kit_compact(1, i, 1)), 0);
        assert_in_range(disk_count(kit.disk, ".log"), 1, 8);
        assert_in_range(disk_count(kit.disk, ".spare"), 0, 2);
    }
    store_log_metrics(kit.log, &metrics);
    assert_true(metrics.freed > 15 && metrics.recycled > 5);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 400, 400);
    kit_expect_range(&kit, 78, 40, 39);
    assert_int_equal(store_log_group(kit.log, 77, &info), 0);
    assert_int_equal(info.term * 100 + info.vote * 10 + info.commit, 456);
    kit_done(&kit);
}

static void many_idle_groups_do_not_keep_the_log(void **state)
{
    static uint8_t payload[1000];
    struct kit kit;
    int most = 0;

    (void)state;
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    for (uint64_t g = 100; g < 400; g++) /* 300 states of 56 bytes: more than four segments */
        assert_int_equal(kit_one(&kit, kit_state(g, g, 0, 0)), 0);
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(kit_one(&kit, kit_entry(1, i, 1, payload, sizeof payload)), 0);
        assert_int_equal(kit_one(&kit, kit_compact(1, i, 1)), 0);
        int count = disk_count(kit.disk, ".log");

        most = count > most ? count : most;
    }
    assert_in_range(most, 1, 20);
    kit_reopen(&kit);
    for (uint64_t g = 100; g < 400; g++) {
        struct store_log_group_info info;

        assert_int_equal(store_log_group(kit.log, g, &info), 0);
        assert_int_equal(info.term, g);
    }
    kit_done(&kit);
}

/* The entries before the compaction are in segments that are gone, and what replaced the marker comes later. */
static void a_freed_beginning_is_no_gap(void **state)
{
    static uint8_t payload[3000];
    struct kit kit;

    (void)state;
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_entry(1, 1, 1, payload, sizeof payload)), 0);
    assert_int_equal(kit_one(&kit, kit_entry(1, 2, 1, payload, sizeof payload)), 0);
    assert_int_equal(kit_one(&kit, kit_compact(1, 2, 1)), 0);
    assert_int_equal(kit_one(&kit, kit_entry(1, 3, 1, payload, sizeof payload)), 0);
    assert_int_equal(kit_one(&kit, kit_entry(1, 4, 1, payload, sizeof payload)), 0);
    assert_int_equal(kit_one(&kit, kit_compact(1, 4, 1)), 0);
    for (uint64_t i = 5; i < 12; i++) {
        assert_int_equal(kit_one(&kit, kit_entry(1, i, 1, payload, sizeof payload)), 0);
        kit_reopen(&kit);
        kit_expect_range(&kit, 1, 4, i);
        assert_int_equal(kit.damage_count, 0);
    }
    kit_done(&kit);
}

static void limits_are_kept(void **state)
{
    static uint8_t payload[1000];
    struct kit kit;
    struct kit_wait first, second;
    struct store_log_metrics metrics;
    struct store_log_record one = kit_entry(1, 1, 1, payload, sizeof payload), two = one, three = one;
    struct store_log_record many[3] = {one, two, three};

    (void)state;
    kit_init(&kit, 1);
    kit.options.queue_bytes_max = 2200;
    kit_open(&kit);
    disk_hold(kit.disk, DISK_FDATASYNC);
    two.index = many[1].index = 2;
    three.index = many[2].index = 3;
    assert_int_equal(kit_begin(&first, kit.log, &one, 1), 0);
    disk_wait_holding(kit.disk);
    assert_int_equal(kit_begin(&second, kit.log, &two, 1), 0);
    assert_int_equal(kit_submit(kit.log, &three, 1), HF_EBUSY);
    assert_int_equal(kit_submit(kit.log, many, 3), HF_ETOOLARGE);
    disk_release(kit.disk);
    assert_int_equal(kit_end(&first), 0);
    assert_int_equal(kit_end(&second), 0);
    assert_int_equal(kit_submit(kit.log, &three, 1), 0);
    store_log_metrics(kit.log, &metrics);
    assert_int_equal(metrics.refused, 1);
    assert_int_equal(metrics.queue_bytes, 0);
    kit_done(&kit);
}

static void a_full_index_takes_no_entries(void **state)
{
    struct kit kit;
    uint64_t i = 1;
    int32_t r = 0;

    (void)state;
    kit_init(&kit, 1);
    kit.options.index_bytes_max = 8192;
    kit_open(&kit);
    while (r == 0 && i < 1000)
        r = kit_one(&kit, kit_text(1, i++, 1, "x"));
    assert_int_equal(r, HF_ENOMEM);
    assert_true(i > 100);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 1, i - 2);
    assert_int_equal(kit_one(&kit, kit_state(1, 1, 1, 1)), 0);
    assert_int_equal(kit_one(&kit, kit_compact(1, i - 1, 1)), 0);
    assert_int_equal(kit_one(&kit, kit_text(1, i - 1, 1, "x")), 0);
    kit_done(&kit);
}

static void waiting_requests_share_a_write(void **state)
{
    struct kit kit;
    struct kit_wait waits[50];
    struct store_log_record records[50];
    struct store_log_metrics before, after;

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    disk_hold(kit.disk, DISK_FDATASYNC);
    for (uint64_t i = 0; i < 50; i++) {
        records[i] = kit_text(1, i + 1, 1, "text");
        assert_int_equal(kit_begin(&waits[i], kit.log, &records[i], 1), 0);
        if (i == 0)
            disk_wait_holding(kit.disk);
    }
    store_log_metrics(kit.log, &before);
    disk_release(kit.disk);
    for (int i = 0; i < 50; i++)
        assert_int_equal(kit_end(&waits[i]), 0);
    store_log_metrics(kit.log, &after);
    assert_int_equal(after.syncs - before.syncs, 2);
    assert_int_equal(after.batch_records_max, 49);
    kit_done(&kit);
}

static void other_logs_are_refused(void **state)
{
    struct kit kit;
    hf_error error = {0};
    uint64_t size = 0;

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "text")), 0);
    kit_close(&kit);
    kit.options.node[0] ^= 1;
    assert_int_equal(kit_try_open(&kit, &error), HF_ESTATE);
    kit.options.node[0] ^= 1;

    uint8_t *bytes = disk_bytes(kit.disk, "0000000000000001.log", &size), good[64];
    struct segment_header header;

    assert_non_null(bytes);
    memcpy(good, bytes, sizeof good);
    assert_int_equal(segment_header_decode(bytes, size, &header), 0);
    header.version = 2;
    segment_header_encode(&header, bytes);
    assert_int_equal(kit_try_open(&kit, &error), HF_EVERSION);
    memcpy(bytes, good, sizeof good);
    kit.options.segment_size = 1000;
    assert_int_equal(kit_try_open(&kit, &error), HF_EINVAL);
    kit.options.segment_size = 8192; /* a changed size is no fault */
    kit_open(&kit);
    kit_expect_text(&kit, 1, 1, 1, "text");
    kit_done(&kit);
}

/* ---- On a real directory ------------------------------------------------------------------------------------- */

static void remove_files(const char *directory, struct store_log_file_system *fs)
{
    for (uint64_t n = 1; n < 200; n++)
        for (int spare = 0; spare < 2; spare++) {
            char name[SEGMENT_NAME_SIZE];

            segment_name(n, spare ? ".spare" : ".log", name);
            (void)fs->unlink(fs->context, name); /* most are not there */
        }
    store_log_file_system_close(fs);
    assert_int_equal(rmdir(directory), 0);
}

static void works_on_a_real_directory(void **state)
{
    char directory[] = "/tmp/store_log_XXXXXX";
    static uint8_t payload[2000];
    struct kit kit;
    struct store_log_file_system fs;

    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(store_log_file_system_open(directory, &fs, NULL), 0);
    kit_init(&kit, 1);
    kit.options.file_system = fs;
    kit_open(&kit);
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(kit_one(&kit, kit_entry(1, i, 1, payload, sizeof payload)), 0);
        if (i % 10 == 0)
            assert_int_equal(kit_one(&kit, kit_compact(1, i, 1)), 0);
    }
    assert_int_equal(kit_one(&kit, kit_text(1, 51, 2, "last")), 0);
    kit_reopen(&kit);
    kit_expect_range(&kit, 1, 50, 51);
    kit_expect_text(&kit, 1, 51, 2, "last");
    kit_done(&kit);
    remove_files(directory, &fs);
}

static void a_directory_belongs_to_one_process(void **state)
{
    char directory[] = "/tmp/store_log_XXXXXX";
    struct store_log_file_system fs, other;
    hf_error error = {0};
    int status = 0;

    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(store_log_file_system_open(directory, &fs, NULL), 0);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0)
        _exit(store_log_file_system_open(directory, &other, &error) == HF_EBUSY ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_log_file_system_close(&fs);
    assert_int_equal(store_log_file_system_open(directory, &fs, NULL), 0);
    remove_files(directory, &fs);
    assert_int_equal(store_log_file_system_open(directory, &fs, &error), HF_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip_and_reopening),
        cmocka_unit_test(reading_says_what_is_wrong),
        cmocka_unit_test(entries_are_replaced_and_truncated),
        cmocka_unit_test(a_removed_group_begins_anew),
        cmocka_unit_test(what_cannot_follow_is_refused),
        cmocka_unit_test(rolls_and_takes_the_largest),
        cmocka_unit_test(compaction_frees_and_recycles),
        cmocka_unit_test(many_idle_groups_do_not_keep_the_log),
        cmocka_unit_test(a_freed_beginning_is_no_gap),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(a_full_index_takes_no_entries),
        cmocka_unit_test(waiting_requests_share_a_write),
        cmocka_unit_test(other_logs_are_refused),
        cmocka_unit_test(works_on_a_real_directory),
        cmocka_unit_test(a_directory_belongs_to_one_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
