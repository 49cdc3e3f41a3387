/* Shows that flipped bytes are reported and never pass, and that only an interrupted last write is cut off. */
#include "format.h"
#include "kit.h"

#include <stdio.h>
#include <string.h>

/* Twelve entries, three to a segment of 4 KiB. */
static void fill(struct kit *kit)
{
    static char text[1001];

    memset(text, 'a', sizeof text - 1);
    kit_init(kit, 1);
    kit->options.segment_size = 4096;
    kit_open(kit);
    for (uint64_t i = 1; i <= 12; i++)
        assert_int_equal(kit_one(kit, kit_text(1, i, 1, text)), 0);
    kit_close(kit);
}

static uint8_t *segment_bytes(struct kit *kit, uint64_t number)
{
    char name[SEGMENT_NAME_SIZE];
    uint64_t size = 0;

    segment_name(number, ".log", name);
    uint8_t *bytes = disk_bytes(kit->disk, name, &size);

    assert_non_null(bytes);
    assert_int_equal(size, 4096);
    return bytes;
}

/* Every byte of a segment in the middle, one bit each. */
static void a_flipped_bit_is_reported(void **state)
{
    struct kit kit;
    hf_error error = {0};

    (void)state;
    fill(&kit);
    uint8_t *bytes = segment_bytes(&kit, 2);

    for (uint64_t at = 0; at < 64 + 3 * 1040; at += at < 110 ? 1 : 13) {
        bytes[at] ^= (uint8_t)(1 << at % 8);
        assert_int_equal(kit_try_open(&kit, &error), HF_ECORRUPT);
        assert_true(kit.damage_count >= 1);
        assert_int_equal(kit.damages[0].segment, 2);
        assert_int_equal(kit.cut_bytes, 0);
        if (at > 64 + 40 && at < 64 + 1040) {
            assert_int_equal(kit.damages[0].offset, 64);
            assert_int_equal(kit.damages[0].size, 1040);
            assert_true(kit.damages[0].group_known);
            assert_int_equal(kit.damages[0].group, 1);
        }
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    kit_open(&kit);
    kit_expect_range(&kit, 1, 1, 12);
    kit_done(&kit);
}

/* After an orderly end the last write is known to have been whole. */
static void damage_of_the_last_write_is_no_torn_tail_after_an_orderly_end(void **state)
{
    struct kit kit;
    hf_error error = {0};

    (void)state;
    fill(&kit);
    segment_bytes(&kit, 4)[64 + 2 * 1040 + 500] ^= 1;
    kit_open(&kit);
    assert_int_equal(kit.damage_count, 0);
    assert_true(kit.cut_bytes > 0);
    kit_expect_range(&kit, 1, 1, 11);
    kit_done(&kit);
    fill(&kit);
    kit_open(&kit);
    assert_int_equal(store_log_finish(kit.log, &error), 0);
    kit.log = NULL;
    for (uint64_t at = 64 + 2 * 1040; at < 64 + 3 * 1040; at += 13) {
        uint8_t *bytes = segment_bytes(&kit, 4);

        bytes[at] ^= (uint8_t)(1 << at % 8);
        assert_int_equal(kit_try_open(&kit, &error), HF_ECORRUPT);
        assert_int_equal(kit.damages[0].segment, 4);
        assert_int_equal(kit.cut_bytes, 0);
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    kit_open(&kit);
    kit_expect_range(&kit, 1, 1, 12);
    assert_int_equal(store_log_finish(kit.log, &error), 0); /* nothing was written: no segment more */
    kit.log = NULL;
    assert_int_equal(disk_count(kit.disk, ".log"), 5);
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 13, 1, "goes on")), 0);
    kit_reopen(&kit);
    kit_expect_text(&kit, 1, 13, 1, "goes on");
    kit_done(&kit);
}

static void damage_can_be_accepted(void **state)
{
    struct kit kit;

    (void)state;
    fill(&kit);
    segment_bytes(&kit, 2)[64 + 500] ^= 1;
    kit.options.accept_damage = 1;
    kit_open(&kit);
    assert_int_equal(kit.damage_count, 2); /* the record; and the entries before the gap, which follow nothing now */
    assert_int_equal(kit.damages[1].group, 1);
    assert_true(kit.damages[1].group_known);
    kit_expect_range(&kit, 1, 5, 12);
    assert_int_equal(kit_one(&kit, kit_text(1, 13, 1, "goes on")), 0);
    kit_reopen(&kit);
    kit_expect_text(&kit, 1, 13, 1, "goes on");
    assert_int_equal(kit_one(&kit, kit_removed(1)), 0); /* and is fetched anew from the peers */
    assert_int_equal(kit_one(&kit, kit_text(2, 1, 1, "x")), 0);
    kit.options.accept_damage = 0;
    kit_reopen(&kit);
    kit_expect_range(&kit, 2, 1, 1);
    kit_done(&kit);
}

static void a_damaged_header_does_not_lose_the_records(void **state)
{
    struct kit kit;

    (void)state;
    fill(&kit);
    segment_bytes(&kit, 4)[20] ^= 1;
    kit.options.accept_damage = 1;
    kit_open(&kit);
    assert_int_equal(kit.damage_count, 1);
    kit_expect_range(&kit, 1, 1, 12);
    kit_done(&kit);
}

static void a_missing_segment_is_reported(void **state)
{
    struct kit kit;
    hf_error error = {0};
    struct store_log_file_system fs;

    (void)state;
    fill(&kit);
    fs = disk_file_system(kit.disk);
    assert_int_equal(fs.unlink(fs.context, "0000000000000002.log"), 0);
    assert_int_equal(kit_try_open(&kit, &error), HF_ECORRUPT);
    assert_int_equal(kit.damages[0].segment, 2);
    kit_done(&kit);
}

static void a_read_notices_damage(void **state)
{
    struct kit kit;
    struct store_log_entry entry;
    char buffer[2000];

    (void)state;
    fill(&kit);
    kit_open(&kit);
    segment_bytes(&kit, 2)[64 + 1040 + 700] ^= 1;
    assert_int_equal(store_log_read(kit.log, 1, 5, buffer, sizeof buffer, &entry, NULL), HF_ECORRUPT);
    assert_int_equal(store_log_read(kit.log, 1, 4, buffer, sizeof buffer, &entry, NULL), 0);
    kit_done(&kit);
}

/* One write of four records of which the second did not arrive: the rest must go, and stay away. */
static void a_torn_tail_is_cut_and_stays_cut(void **state)
{
    struct kit kit;
    struct store_log_record records[] = {kit_text(1, 2, 1, "second"), kit_text(1, 3, 1, "third"),
                                         kit_text(1, 4, 1, "fourth"), kit_text(1, 5, 1, "fifth")};

    (void)state;
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "first")), 0);
    assert_int_equal(kit_submit(kit.log, records, 4), 0);
    kit_close(&kit);
    memset(segment_bytes(&kit, 1) + 64 + 2 * 48, 0, 48); /* records of 48 bytes: the third */
    kit_open(&kit);
    assert_int_equal(kit.damage_count, 0);
    assert_int_equal(kit.cut_bytes, 3 * 48);
    kit_expect_range(&kit, 1, 1, 2);
    /* One of the same size in its place must not bring back what came behind. */
    assert_int_equal(kit_one(&kit, kit_text(1, 3, 2, "3rd")), 0);
    kit_reopen(&kit);
    assert_int_equal(kit.cut_bytes, 0);
    kit_expect_range(&kit, 1, 1, 3);
    kit_expect_text(&kit, 1, 3, 2, "3rd");
    kit_done(&kit);
}

/* The same hole, but with a later write behind it: that one began when the hole was a durable record. */
static void a_hole_before_a_later_write_is_damage(void **state)
{
    struct kit kit;
    hf_error error = {0};
    struct store_log_record records[] = {kit_text(1, 2, 1, "second"), kit_text(1, 3, 1, "third"),
                                         kit_text(1, 4, 1, "fourth")};

    (void)state;
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    assert_int_equal(kit_one(&kit, kit_text(1, 1, 1, "first")), 0);
    assert_int_equal(kit_submit(kit.log, records, 3), 0);
    assert_int_equal(kit_one(&kit, kit_text(1, 5, 1, "fifth")), 0);
    kit_close(&kit);
    memset(segment_bytes(&kit, 1) + 64 + 2 * 48, 0, 48);
    assert_int_equal(kit_try_open(&kit, &error), HF_ECORRUPT);
    assert_int_equal(kit.damages[0].offset, 64 + 2 * 48);
    assert_int_equal(kit.damages[0].size, 48);
    kit_done(&kit);
}

/* What a recycled file still has from its former life must not be read. */
static void stale_records_never_pass(void **state)
{
    struct kit kit;
    static char text[1001];

    (void)state;
    memset(text, 's', sizeof text - 1);
    kit_init(&kit, 1);
    kit.options.segment_size = 4096;
    kit_open(&kit);
    for (uint64_t i = 1; i <= 60; i++) {
        assert_int_equal(kit_one(&kit, kit_text(1, i, 1, text)), 0);
        assert_int_equal(kit_one(&kit, kit_compact(1, i, 1)), 0);
        kit_reopen(&kit);
        kit_expect_range(&kit, 1, i, i);
        assert_int_equal(kit.cut_bytes, 0);
    }
    kit_done(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_is_reported),
        cmocka_unit_test(damage_of_the_last_write_is_no_torn_tail_after_an_orderly_end),
        cmocka_unit_test(damage_can_be_accepted),
        cmocka_unit_test(a_damaged_header_does_not_lose_the_records),
        cmocka_unit_test(a_missing_segment_is_reported),
        cmocka_unit_test(a_read_notices_damage),
        cmocka_unit_test(a_torn_tail_is_cut_and_stays_cut),
        cmocka_unit_test(a_hole_before_a_later_write_is_damage),
        cmocka_unit_test(stale_records_never_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
