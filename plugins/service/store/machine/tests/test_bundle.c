/* Shows that an entry's bytes hold its commands, and that no damage reads as an entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bundle.h"

#define TEXT(literal) ((hf_slice){(const uint8_t *)(literal), sizeof(literal) - 1})

enum { COMMANDS = 3, SIZE = STORE_BUNDLE_HEAD_SIZE + COMMANDS * STORE_BUNDLE_COMMAND_HEAD_SIZE + 6 + 0 + 1 };

static void write_bundle(uint8_t bytes[SIZE])
{
    const struct store_bundle bundle = {
        .time_us = UINT64_MAX, .feed_horizon_us = 2, .repeat_horizon_us = 3, .count = COMMANDS};
    uint8_t *to = store_bundle_write_head(bytes, &bundle);

    to = store_bundle_write_command(to, TEXT("first\0"));
    to = store_bundle_write_command(to, (hf_slice){NULL, 0});
    to = store_bundle_write_command(to, TEXT("x"));
    assert_int_equal(to - bytes, SIZE);
}

static void bytes_hold_all_commands(void **state)
{
    uint8_t bytes[SIZE];
    struct store_bundle bundle;
    hf_slice command = {NULL, 0};

    (void)state;
    write_bundle(bytes);
    assert_int_equal(store_bundle_read((hf_slice){bytes, SIZE}, &bundle, NULL), 0);
    assert_true(bundle.time_us == UINT64_MAX && bundle.feed_horizon_us == 2 && bundle.repeat_horizon_us == 3);
    assert_int_equal(bundle.count, COMMANDS);
    assert_int_equal(store_bundle_next(&bundle, &command), 1);
    assert_int_equal(command.size, 6);
    assert_memory_equal(command.data, "first\0", 6);
    assert_int_equal(store_bundle_next(&bundle, &command), 1);
    assert_int_equal(command.size, 0);
    assert_int_equal(store_bundle_next(&bundle, &command), 1);
    assert_memory_equal(command.data, "x", 1);
    assert_int_equal(store_bundle_next(&bundle, &command), 0);
}

static int32_t read_copy(const uint8_t *bytes, uint64_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* of the exact size, so that a sanitizer sees a read past the end */
    struct store_bundle bundle;
    hf_error error = {0};

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int32_t r = store_bundle_read((hf_slice){copy, size}, &bundle, &error);

    assert_int_equal(error.code, r);
    free(copy);
    return r;
}

static void damage_is_no_entry(void **state)
{
    enum { COUNT = STORE_BUNDLE_HEAD_SIZE - 1, FIRST_SIZE = STORE_BUNDLE_HEAD_SIZE };
    uint8_t bytes[SIZE + 1] = {0};

    (void)state;
    write_bundle(bytes);
    for (uint64_t size = 0; size < SIZE; size++)
        assert_int_equal(read_copy(bytes, size), HF_ECORRUPT);
    assert_int_equal(read_copy(bytes, SIZE), 0);
    assert_int_equal(read_copy(bytes, SIZE + 1), HF_ECORRUPT);
    for (int count = 0; count < 256; count++) {
        bytes[COUNT] = (uint8_t)count;
        assert_int_equal(read_copy(bytes, SIZE), count == COMMANDS ? 0 : HF_ECORRUPT);
    }
    bytes[COUNT] = COMMANDS;
    bytes[FIRST_SIZE] = 0xff;
    assert_int_equal(read_copy(bytes, SIZE), HF_ECORRUPT);
    bytes[FIRST_SIZE] = 0;
    bytes[0]++;
    assert_int_equal(read_copy(bytes, SIZE), HF_EVERSION);
    bytes[0] = 1; /* from before the first release */
    assert_int_equal(read_copy(bytes, SIZE), HF_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_hold_all_commands), cmocka_unit_test(damage_is_no_entry)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
