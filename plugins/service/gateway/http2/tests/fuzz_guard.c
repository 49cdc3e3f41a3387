/* Whatever the bytes are: they are judged the same in one piece and byte by byte. */
#include "http2/guard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway_http2_guard one, two;
    const char *why = NULL;

    gateway_http2_guard_init(&one, GATEWAY_HTTP2_PREFACE_SIZE, 4096, 1);
    gateway_http2_guard_init(&two, GATEWAY_HTTP2_PREFACE_SIZE, 4096, 1);
    const char *whole = gateway_http2_guard_look(&one, (hf_slice){data, size}, 1);
    for (size_t i = 0; i < size && !why; i++)
        why = gateway_http2_guard_look(&two, (hf_slice){data + i, 1}, 1);
    if (why != whole || one.code != two.code)
        abort();
    if (!why && (one.left != two.left || one.have != two.have || one.in_block != two.in_block ||
                 one.last_stream != two.last_stream || one.updates != two.updates))
        abort();
    return 0;
}
