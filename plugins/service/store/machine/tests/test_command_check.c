/* A value that was damaged on its way is found before it is proposed. */
#include "command_check.h"

#include "command.h"
#include "phase.h"

#include <holdfast/lib/checksum.h>
#include <holdfast/lib/value.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VALUE_SIZE = 40 };

/* `count` puts, each with a value of its own, and a deletion. */
static hf_buffer make_command(uint32_t count)
{
    static char keys[STORE_OPERATIONS_MAX][16];
    static uint8_t values[STORE_OPERATIONS_MAX][VALUE_SIZE];
    static struct store_operation operations[STORE_OPERATIONS_MAX];
    struct store_command command = {.operations = operations, .operation_count = count + 1};
    hf_buffer buffer;

    for (uint32_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%u", i);
        memset(values[i], 'a' + (int)(i % 26), VALUE_SIZE);
        operations[i] = (struct store_operation){.type = STORE_PUT,
                                                 .key = hf_slice_of(keys[i]),
                                                 .value = {values[i], VALUE_SIZE},
                                                 .checksum = hf_crc32c(0, values[i], VALUE_SIZE)};
    }
    operations[count] = (struct store_operation){.type = STORE_DELETE, .key = hf_slice_of("other")};
    hf_buffer_init(&buffer, 1 << 20);
    assert_int_equal(store_command_encode(&buffer, &command, NULL), 0);
    return buffer;
}

/* Flips each bit of the last put's value, which ends before the deletion's 2 + 2 + 5 bytes. */
static void expect_flips_found(hf_buffer *buffer, uint64_t behind)
{
    uint64_t end = buffer->size - behind;
    hf_slice bytes = {buffer->data, buffer->size};
    hf_error error = {0};

    assert_int_equal(store_command_check(bytes, NULL), 0);
    for (uint64_t bit = 0; bit < VALUE_SIZE * 8; bit++) {
        buffer->data[end - VALUE_SIZE + bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(store_command_check(bytes, &error), HF_ECORRUPT);
        buffer->data[end - VALUE_SIZE + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_non_null(strstr(error.message, "repeat the write"));
    assert_int_equal(store_command_check(bytes, NULL), 0);
}

static void every_flipped_bit_of_a_value_is_found(void **state)
{
    static const uint32_t counts[] = {1, 3, 16, 17, STORE_OPERATIONS_MAX - 1};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        hf_buffer buffer = make_command(counts[i]);

        expect_flips_found(&buffer, 9);
        hf_buffer_done(&buffer);
    }
}

static void values_of_transactions_are_looked_at(void **state)
{
    hf_buffer command = make_command(2), step;
    struct store_phase phase = {.phase = STORE_PHASE_PREPARE, .home = 7, .command = {command.data, command.size}};

    (void)state;
    hf_buffer_init(&step, 1 << 20);
    assert_int_equal(store_phase_encode(&step, &phase, NULL), 0);
    expect_flips_found(&step, 9);
    hf_buffer_done(&step);
    phase = (struct store_phase){.phase = STORE_PHASE_FORGET};
    hf_buffer_init(&step, 1 << 20);
    assert_int_equal(store_phase_encode(&step, &phase, NULL), 0);
    assert_int_equal(store_command_check((hf_slice){step.data, step.size}, NULL), 0);
    hf_buffer_done(&step);
    hf_buffer_done(&command);
}

static void what_is_no_command_has_no_values(void **state)
{
    hf_buffer buffer = make_command(5);

    (void)state;
    for (uint64_t size = 0; size < buffer.size; size++) {
        uint8_t *cut = malloc(size + 1); /* of its own, so that reading behind it is noticed */

        memcpy(cut, buffer.data, size);
        assert_int_equal(store_command_check((hf_slice){cut, size}, NULL), 0);
        free(cut);
    }
    hf_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_a_value_is_found),
        cmocka_unit_test(values_of_transactions_are_looked_at),
        cmocka_unit_test(what_is_no_command_has_no_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
