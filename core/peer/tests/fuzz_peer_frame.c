/* Whatever the bytes are: a frame that is read lies inside them and is written back the same, and a hello likewise. */
#include "peer/frame.h"

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
    hf_slice input = {data, size};
    uint64_t needed = 0;
    hf_frame frame;
    hf_hello hello;
    hf_buffer buffer;
    int64_t read = hf_frame_read(input, &frame, &needed);

    hf_buffer_init(&buffer, 1 << 26);
    require(read <= (int64_t)size);
    if (read > 0) {
        require(hf_frame_append(&buffer, &frame, &frame.payload, 1) == 0);
        require(buffer.size == (uint64_t)read && memcmp(buffer.data, data, buffer.size) == 0);
    } else if (read == 0) {
        require(needed > size && needed <= HF_FRAME_HEAD_SIZE + HF_PEER_MESSAGE_MAX);
    }
    hf_buffer_clear(&buffer);
    if (hf_hello_read(input, &hello) == 0) {
        hf_hello again;
        require(hf_hello_append(&buffer, &hello) == 0);
        require(hf_hello_read((hf_slice){buffer.data, buffer.size}, &again) == 0);
        require(again.lane == hello.lane && again.members == hello.members &&
                again.channel_count == hello.channel_count);
    }
    hf_buffer_done(&buffer);
    return 0;
}
