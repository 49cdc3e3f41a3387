/* Any bytes as a request, an answer and rows, chosen by the first byte: what is read has exactly these bytes as its
 * encoding. */
#include "service/op.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* `buffer` holds what was written; it must be `bytes`. */
static void check_same(hf_buffer *buffer, hf_slice bytes)
{
    if (buffer->size != bytes.size || (bytes.size && memcmp(buffer->data, bytes.data, bytes.size) != 0))
        abort();
    hf_buffer_done(buffer);
}

static void fuzz_request(hf_slice bytes)
{
    struct store_op op;
    hf_buffer buffer;

    if (store_op_read_request(bytes, 0, &op) < 0)
        return;
    hf_buffer_init(&buffer, UINT64_MAX);
    if (store_op_write_request(&buffer, &op, 0) < 0)
        abort();
    check_same(&buffer, bytes);
}

static void fuzz_answer(hf_slice bytes)
{
    struct store_op op = {0};
    hf_buffer buffer;

    hf_buffer_init(&op.result, UINT64_MAX);
    if (store_op_read_answer(bytes, &op) == 0) {
        hf_buffer_init(&buffer, UINT64_MAX);
        if (store_op_write_answer(&buffer, &op) < 0)
            abort();
        check_same(&buffer, bytes);
    }
    hf_buffer_done(&op.result);
}

static void fuzz_rows(hf_slice bytes)
{
    struct store_row row;
    hf_slice rest = bytes;
    hf_buffer buffer;

    hf_buffer_init(&buffer, UINT64_MAX);
    while (store_result_next(&rest, &row) == 1)
        if (store_result_add(&buffer, &row) < 0)
            abort();
    check_same(&buffer, (hf_slice){bytes.data, bytes.size - rest.size});
}

static void fuzz_changes(hf_slice bytes)
{
    struct store_feed_row row;
    hf_slice rest = bytes;
    hf_buffer buffer;

    hf_buffer_init(&buffer, UINT64_MAX);
    while (store_result_next_change(&rest, &row) == 1)
        if (store_result_add_change(&buffer, &row) < 0)
            abort();
    check_same(&buffer, (hf_slice){bytes.data, bytes.size - rest.size});
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static void (*const fuzz[])(hf_slice) = {fuzz_request, fuzz_answer, fuzz_rows, fuzz_changes};

    if (size > 0)
        fuzz[bytes[0] % 4]((hf_slice){bytes + 1, size - 1});
    return 0;
}
