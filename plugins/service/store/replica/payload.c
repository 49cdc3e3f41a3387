#include "replica/payload.h"

#include <stdlib.h>
#include <string.h>

struct store_payload *store_payload_create(uint64_t size)
{
    struct store_payload *payload = size <= UINT32_MAX ? malloc(sizeof *payload + size) : NULL;

    if (payload) {
        atomic_init(&payload->references, 1);
        payload->size = (uint32_t)size;
    }
    return payload;
}

struct store_payload *store_payload_copy(hf_slice bytes)
{
    struct store_payload *payload = store_payload_create(bytes.size);

    if (payload && bytes.size)
        memcpy(payload->bytes, bytes.data, bytes.size);
    return payload;
}

struct store_payload *store_payload_hold(struct store_payload *payload)
{
    if (payload)
        atomic_fetch_add_explicit(&payload->references, 1, memory_order_relaxed);
    return payload;
}

void store_payload_release(struct store_payload *payload)
{
    if (payload && atomic_fetch_sub_explicit(&payload->references, 1, memory_order_acq_rel) == 1)
        free(payload);
}
