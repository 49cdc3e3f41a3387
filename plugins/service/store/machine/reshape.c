/* Bytes: format 5, step 1, other 8, from 8, index 8; what a step does not need is 0.
 * Releases before this format stop at it, as they must: they could not perform it. */
#include "reshape.h"

#include "bytes.h"

#include <holdfast/lib/error.h>

enum { FORMAT = 5 };

int store_is_reshape(hf_slice bytes)
{
    return bytes.size > 0 && bytes.data[0] == FORMAT;
}

void store_reshape_encode(uint8_t to[STORE_RESHAPE_SIZE], const struct store_reshape *reshape)
{
    to[0] = FORMAT;
    to[1] = (uint8_t)reshape->step;
    store_write_be(to + 2, reshape->other, 8);
    store_write_be(to + 10, reshape->from, 8);
    store_write_be(to + 18, reshape->index, 8);
}

int32_t store_reshape_decode(hf_slice bytes, struct store_reshape *ret_reshape, hf_error *error)
{
    if (bytes.size != STORE_RESHAPE_SIZE || bytes.data[0] != FORMAT || bytes.data[1] < STORE_RESHAPE_SPLIT_BEGIN ||
        bytes.data[1] > STORE_RESHAPE_ABSORB)
        return hf_error_set(error, HF_ECORRUPT, "a step of a split or merge (%llu bytes) is damaged",
                            (unsigned long long)bytes.size);
    *ret_reshape = (struct store_reshape){.step = bytes.data[1],
                                          .other = store_read_be(bytes.data + 2, 8),
                                          .from = store_read_be(bytes.data + 10, 8),
                                          .index = store_read_be(bytes.data + 18, 8)};
    return 0;
}
