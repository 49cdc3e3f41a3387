/* Any bytes as a command: what decodes has exactly these bytes as its encoding. */
#include "command.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct store_operation operations[STORE_OPERATIONS_MAX];
    struct store_command command;
    hf_buffer buffer;
    hf_error error;

    if (store_command_decode((hf_slice){bytes, size}, operations, STORE_OPERATIONS_MAX, &command, &error) < 0)
        return 0;
    hf_buffer_init(&buffer, UINT64_MAX);
    if (store_command_encode(&buffer, &command, &error) < 0 || buffer.size != size ||
        memcmp(buffer.data, bytes, size) != 0)
        abort();
    hf_buffer_done(&buffer);
    return 0;
}
