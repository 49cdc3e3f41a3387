/* payload.h: the bytes of a log entry, shared by the log's writer, the messages and the state machine. */
#ifndef STORE_PAYLOAD_H
#define STORE_PAYLOAD_H

#include <holdfast/holdfast.h>

#include <stdatomic.h>

struct store_payload {
    _Atomic uint32_t references;
    uint32_t size;
    uint8_t bytes[];
};

/* One reference, bytes not set; NULL without memory.  [any] */
struct store_payload *store_payload_create(uint64_t size);
struct store_payload *store_payload_copy(hf_slice bytes);
struct store_payload *store_payload_hold(struct store_payload *payload);
void store_payload_release(struct store_payload *payload); /* accepts NULL */

static inline hf_slice store_payload_slice(const struct store_payload *payload)
{
    return payload ? (hf_slice){payload->bytes, payload->size} : (hf_slice){NULL, 0};
}

#endif
