/* Shows that a failing disk fails the log for good, that nothing acknowledged is lost by it, and that short writes
 * are no failure. */
#include "kit.h"

#include <errno.h>
#include <string.h>

static uint8_t payload[3000];

/* Writes entries until one fails; returns the last good index. */
static uint64_t write_until_failure(struct kit *kit, uint64_t most)
{
    for (uint64_t i = 1; i <= most; i++) {
        int32_t r = kit_one(kit, kit_entry(1, i, 1, payload, sizeof payload));

        if (r < 0) {
            assert_int_equal(r, HF_EIO);
            return i - 1;
        }
    }
    fail_msg("the disk's fault did not show");
    return 0;
}

static void expect_failed(struct kit *kit)
{
    struct store_log_metrics metrics;
    struct store_log_record record = kit_text(9, 1, 1, "x");
    struct store_log_request request = {.records = &record, .count = 1};
    hf_error error = {0};

    assert_int_equal(store_log_submit(kit->log, &request, &error), HF_EIO);
    assert_true(strlen(error.message) > 20);
    store_log_metrics(kit->log, &metrics);
    assert_int_equal(metrics.failed, 1);
    assert_int_equal(metrics.queue_bytes, 0);
}

static void fails_for_good(enum disk_operation operation, int code, uint64_t after)
{
    struct kit kit;

    kit_init(&kit, 1);
    kit_open(&kit);
    disk_fail(kit.disk, operation, after, code, 1);
    uint64_t good = write_until_failure(&kit, 20);

    expect_failed(&kit); /* though the disk has recovered */
    if (good)
        kit_expect_range(&kit, 1, 1, good);
    kit_close(&kit);
    disk_crash(kit.disk);
    kit_open(&kit);
    struct store_log_group_info info = {0};

    if (good)
        assert_int_equal(store_log_group(kit.log, 1, &info), 0);
    assert_in_range(info.last_index, good, good + 1);
    assert_int_equal(kit.damage_count, 0);
    assert_int_equal(kit_one(&kit, kit_entry(1, good + 1, 2, payload, sizeof payload)), 0);
    kit_done(&kit);
}

static void a_failed_write_is_final(void **state)
{
    (void)state;
    fails_for_good(DISK_PWRITEV, -EIO, 0);
    fails_for_good(DISK_PWRITEV, -EIO, 3);
    fails_for_good(DISK_PWRITEV, -ENOSPC, 2);
}

static void a_failed_flush_is_final(void **state)
{
    (void)state;
    fails_for_good(DISK_FDATASYNC, -EIO, 0);
    fails_for_good(DISK_FDATASYNC, -EIO, 4);
}

static void no_space_for_a_segment_is_final(void **state)
{
    (void)state;
    fails_for_good(DISK_FALLOCATE, -ENOSPC, 0);
    fails_for_good(DISK_OPEN, -ENOSPC, 0);
    fails_for_good(DISK_RENAME, -EIO, 0);
    fails_for_good(DISK_FSYNC_DIRECTORY, -EIO, 0);
}

static void opening_reports_a_failure(void **state)
{
    const enum disk_operation operations[] = {DISK_OPEN,      DISK_PWRITEV, DISK_PREAD, DISK_FDATASYNC,
                                              DISK_FALLOCATE, DISK_RENAME,  DISK_LIST,  DISK_FSYNC_DIRECTORY};
    struct kit kit;

    (void)state;
    for (uint64_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        hf_error error = {0};

        kit_init(&kit, 1);
        if (operations[i] == DISK_PREAD) { /* there must be something to read */
            kit_open(&kit);
            kit_close(&kit);
        }
        disk_fail(kit.disk, operations[i], 0, -EIO, 1);
        assert_int_equal(kit_try_open(&kit, &error), HF_EIO);
        assert_true(strlen(error.message) > 20);
        kit_open(&kit);
        assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "text")), 0);
        kit_done(&kit);
    }
}

static void all_that_waits_fails_in_order(void **state)
{
    struct kit kit;
    struct kit_wait waits[10];
    struct store_log_record records[10];

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    disk_hold(kit.disk, DISK_FDATASYNC);
    disk_fail(kit.disk, DISK_FDATASYNC, 0, -EIO, 0);
    for (uint64_t i = 0; i < 10; i++) {
        records[i] = kit_text(1, i + 1, 1, "text");
        assert_int_equal(kit_begin(&waits[i], kit.log, &records[i], 1), 0);
    }
    disk_wait_holding(kit.disk);
    disk_release(kit.disk);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kit_end(&waits[i]), HF_EIO);
    expect_failed(&kit);
    disk_heal(kit.disk);
    kit_done(&kit);
}

static void short_writes_are_continued(void **state)
{
    struct kit kit;
    static uint8_t back[sizeof payload];
    struct store_log_entry entry;

    (void)state;
    kit_init(&kit, 7);
    kit.disk->write_max = 700;
    kit_open(&kit);
    for (uint64_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 31);
    for (uint64_t i = 1; i <= 30; i++) {
        struct store_log_record records[] = {kit_entry(1, i, 1, payload, 100 * i), kit_entry(2, i, 1, payload, 10),
                                             kit_state(1, i, 1, i)};

        assert_int_equal(kit_submit(kit.log, records, 3), 0);
    }
    kit_close(&kit);
    disk_crash(kit.disk);
    kit_open(&kit);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(store_log_read(kit.log, 1, i, back, sizeof back, &entry, NULL), 0);
        assert_int_equal(entry.size, 100 * i);
        assert_memory_equal(back, payload, entry.size);
    }
    kit_done(&kit);
}

/* The kernel forgot that the pages were never written: what recovery finds in them it must write itself. */
static void a_forgotten_write_is_written_again(void **state)
{
    struct kit kit;

    (void)state;
    kit_init(&kit, 1);
    kit.disk->forgetful = 1;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "first")), 0);
    disk_fail(kit.disk, DISK_FDATASYNC, 0, -EIO, 1);
    assert_int_equal(kit_one(&kit, kit_text(1, 2, 1, "second")), HF_EIO);
    kit_reopen(&kit);
    kit_expect_text(&kit, 1, 2, 1, "second"); /* in memory only until recovery has written it */
    kit_close(&kit);
    disk_crash(kit.disk);
    kit_open(&kit);
    kit_expect_text(&kit, 1, 1, 1, "first");
    kit_expect_text(&kit, 1, 2, 1, "second");
    kit_done(&kit);
}

static void a_failed_read_is_reported(void **state)
{
    struct kit kit;
    struct store_log_entry entry;
    char buffer[64];

    (void)state;
    kit_init(&kit, 1);
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "text")), 0);
    disk_fail(kit.disk, DISK_PREAD, 1, -EIO, 1);
    assert_int_equal(store_log_read(kit.log, 1, 1, buffer, sizeof buffer, &entry, NULL), HF_EIO);
    kit_expect_text(&kit, 1, 1, 1, "text");
    kit_done(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_write_is_final),
        cmocka_unit_test(a_failed_flush_is_final),
        cmocka_unit_test(no_space_for_a_segment_is_final),
        cmocka_unit_test(opening_reports_a_failure),
        cmocka_unit_test(all_that_waits_fails_in_order),
        cmocka_unit_test(short_writes_are_continued),
        cmocka_unit_test(a_forgotten_write_is_written_again),
        cmocka_unit_test(a_failed_read_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
