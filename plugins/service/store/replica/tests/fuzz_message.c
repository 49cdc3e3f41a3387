/* Whatever the bytes are: what is read as a message is written back as the same bytes. */
#include "replica/message.h"
#include "replica/snapshot.h"

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
    struct store_snapshot_request request;
    struct store_message message;
    hf_buffer buffer;

    if (store_message_read((hf_slice){data, size}, &message) == HF_OK) {
        hf_buffer_init(&buffer, 1 << 26);
        require(store_message_write_head(&buffer, &message) == HF_OK);
        for (uint32_t i = 0; i < message.entry_count; i++) {
            hf_slice payload = store_payload_slice(message.entries[i].payload);
            require(hf_buffer_append(&buffer, payload.data, payload.size) == HF_OK);
        }
        require(buffer.size == size && memcmp(buffer.data, data, size) == 0);
        hf_buffer_done(&buffer);
        store_message_done(&message);
    }
    if (store_snapshot_read((hf_slice){data, size}, &request) == HF_OK) {
        uint8_t bytes[STORE_SNAPSHOT_BEGIN_MAX];
        require(store_snapshot_write(bytes, &request) + request.bytes.size == size);
    }
    return 0;
}
