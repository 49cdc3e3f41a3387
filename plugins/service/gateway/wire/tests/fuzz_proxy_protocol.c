/* Whatever the bytes are: a header that is complete stays the same when more bytes follow, a shorter prefix needs more,
 * and what was read is read again as the same from what is written of it. */
#include "wire/proxy_protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_written(const struct gateway_proxy_header *header, int version)
{
    uint8_t bytes[GATEWAY_PROXY_WRITE_MAX];
    struct gateway_proxy_header again;
    int64_t size = gateway_proxy_write(bytes, version, header, NULL);

    if (header->authority.size > GATEWAY_PROXY_AUTHORITY_MAX) {
        require(size == HF_EINVAL);
        return;
    }
    require(size > 0 && gateway_proxy_read((hf_slice){bytes, (uint64_t)size}, &again, NULL) == size);
    require(again.is_local == header->is_local);
    if (!header->is_local) {
        require(memcmp(&again.source, &header->source, sizeof again.source) == 0);
        require(memcmp(&again.destination, &header->destination, sizeof again.destination) == 0);
    }
    if (version == 2 && !header->is_local)
        require(
            again.authority.size == header->authority.size &&
            (!again.authority.size || memcmp(again.authority.data, header->authority.data, again.authority.size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_proxy_header header, prefix;
    int64_t read = gateway_proxy_read((hf_slice){data, size}, &header, NULL);

    if (read <= 0)
        return 0;
    require((uint64_t)read <= size);
    for (int64_t i = 0; i < read && i < 300; i++)
        require(gateway_proxy_read((hf_slice){data, (uint64_t)i}, &prefix, NULL) == 0);
    check_written(&header, 1);
    check_written(&header, 2);
    return 0;
}
