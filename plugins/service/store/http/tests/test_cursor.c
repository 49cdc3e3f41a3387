/* Cursors: what is read is what was written, and for no other scan; nothing damaged is read. */
#include "http/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static hf_arena arena;

static int set_up(void **state)
{
    (void)state;
    hf_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_arena_done(&arena);
    return 0;
}

static struct store_scan scan_of(const char *table, const char *prefix, const char *partition)
{
    return (struct store_scan){hf_slice_of(table), hf_slice_of(prefix),
                               partition ? hf_slice_of(partition) : (hf_slice){NULL, 0}};
}

static hf_slice write(hf_buffer *text, const struct store_scan *scan, hf_slice key, uint64_t partition)
{
    struct store_cursor cursor = {key, partition};

    hf_buffer_init(text, 8192);
    assert_int_equal(store_cursor_append(text, scan, &cursor), HF_OK);
    return (hf_slice){text->data, text->size};
}

static void cursors_both_ways(void **state)
{
    static uint8_t longest[STORE_KEY_MAX];
    const hf_slice keys[] = {
        hf_slice_of("a"), hf_slice_of("~"), {(const uint8_t *)"\0\xff", 2}, {longest, sizeof longest}};
    struct store_scan scan = scan_of("items", "p/", "eu");

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct store_cursor cursor = {{NULL, 0}, 0};
        hf_buffer text;

        assert_null(store_start_read(write(&text, &scan, keys[i], 7 + i), &scan, &arena, &cursor));
        assert_int_equal(cursor.value, 7 + i);
        assert_true(hf_slice_equal(cursor.key, keys[i]));
        hf_buffer_done(&text);
    }
}

static void a_cursor_is_of_one_scan(void **state)
{
    static const struct {
        const char *table, *prefix, *partition, *says;
    } others[] = {
        {"item", "p/", "eu", "another table"},
        {"items", "p", "eu", "another prefix or partition"},
        {"items", "", "eu", "another prefix or partition"},
        {"items", "p/", "us", "another prefix or partition"},
        {"items", "p/", NULL, "another prefix or partition"},
        {"items", "p/eu", NULL, "another prefix or partition"},
    };
    struct store_scan scan = scan_of("items", "p/", "eu");
    struct store_cursor cursor;
    hf_buffer text;
    hf_slice written = write(&text, &scan, hf_slice_of("p/a"), 9);

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct store_scan other = scan_of(others[i].table, others[i].prefix, others[i].partition);
        const char *wrong = store_start_read(written, &other, &arena, &cursor);

        assert_non_null(wrong);
        assert_non_null(strstr(wrong, others[i].says));
    }
    hf_buffer_done(&text);
}

static void no_damaged_cursor_is_read(void **state)
{
    struct store_scan scan = scan_of("items", "", NULL);
    struct store_cursor cursor;
    hf_buffer text;
    hf_slice written = write(&text, &scan, hf_slice_of("key"), 9);

    (void)state;
    for (uint64_t size = 1; size < written.size; size++)
        assert_non_null(store_start_read((hf_slice){written.data, size}, &scan, &arena, &cursor));
    for (uint64_t i = 1; i < written.size; i++) {
        uint8_t before = text.data[i];

        text.data[i] = before == 'A' ? 'B' : 'A';
        assert_non_null(store_start_read(written, &scan, &arena, &cursor));
        text.data[i] = before;
    }
    assert_null(store_start_read(written, &scan, &arena, &cursor));
    hf_buffer_done(&text);
}

static void anything_else_is_a_key(void **state)
{
    static const char *const rows[][2] = {{"", ""},     {"a", "a"}, {"a~", "a~"}, {"~~", "~"}, {"~~abc.1", "~abc.1"},
                                          {"~~~", "~~"}};
    struct store_scan scan = scan_of("items", "", NULL);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct store_cursor cursor = {{NULL, 0}, 1};

        assert_null(store_start_read(hf_slice_of(rows[i][0]), &scan, &arena, &cursor));
        assert_true(hf_slice_is(cursor.key, rows[i][1]));
        assert_int_equal(cursor.value, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cursors_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cursor_is_of_one_scan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_damaged_cursor_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(anything_else_is_a_key, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
