/* Whatever the bytes are: what is read is written back as the same bytes. */
#include "service/compare_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[STORE_COMPARE_SIZE], answer[STORE_COMPARE_HASHES_SIZE];
    uint64_t hashes[STORE_HASH_TREE_FANOUT];
    struct store_compare_request request;

    if (store_compare_read((hf_slice){data, size}, &request) == HF_OK) {
        store_compare_write(bytes, &request);
        require(size == sizeof bytes && memcmp(bytes, data, size) == 0);
        require(request.kind != STORE_COMPARE_ASK || (request.argument & 0xffffffff) < STORE_HASH_TREE_FANOUT);
    }
    if (store_compare_read_hashes((hf_slice){data, size}, hashes) == HF_OK) {
        store_compare_write_hashes(answer, hashes);
        require(size == sizeof answer && memcmp(answer, data, size) == 0);
    }
    return 0;
}
