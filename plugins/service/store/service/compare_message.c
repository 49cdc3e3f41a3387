#include "service/compare_message.h"

#include "bytes.h"

enum { VERSION = 1 };

void store_compare_write(uint8_t to[STORE_COMPARE_SIZE], const struct store_compare_request *request)
{
    to[0] = VERSION;
    to[1] = (uint8_t)request->kind;
    store_write_be(to + 2, request->partition, 8);
    store_write_be(to + 10, request->session, 8);
    store_write_be(to + 18, request->argument, 8);
}

int32_t store_compare_read(hf_slice bytes, struct store_compare_request *ret_request)
{
    struct store_compare_request request;

    if (bytes.size != STORE_COMPARE_SIZE || bytes.data[0] != VERSION)
        return HF_EPROTOCOL;
    request = (struct store_compare_request){.kind = bytes.data[1],
                                             .partition = store_read_be(bytes.data + 2, 8),
                                             .session = store_read_be(bytes.data + 10, 8),
                                             .argument = store_read_be(bytes.data + 18, 8)};
    if (request.kind < STORE_COMPARE_BEGIN || request.kind > STORE_COMPARE_FORGET || request.session == 0)
        return HF_EPROTOCOL;
    if (request.kind == STORE_COMPARE_BEGIN && request.argument == 0)
        return HF_EPROTOCOL;
    if (request.kind == STORE_COMPARE_ASK &&
        !store_hash_tree_has_children((uint32_t)(request.argument >> 32), (uint32_t)request.argument))
        return HF_EPROTOCOL;
    *ret_request = request;
    return HF_OK;
}

void store_compare_write_hashes(uint8_t to[STORE_COMPARE_HASHES_SIZE], const uint64_t hashes[STORE_HASH_TREE_FANOUT])
{
    for (int i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        store_write_be(to + 8 * i, hashes[i], 8);
}

int32_t store_compare_read_hashes(hf_slice bytes, uint64_t ret_hashes[STORE_HASH_TREE_FANOUT])
{
    if (bytes.size != STORE_COMPARE_HASHES_SIZE)
        return HF_EPROTOCOL;
    for (int i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        ret_hashes[i] = store_read_be(bytes.data + 8 * i, 8);
    return HF_OK;
}
