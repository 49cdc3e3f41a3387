#include "http2/http2.h"

#include <string.h>

int32_t gateway_http2_begins(hf_slice bytes)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    uint64_t size = sizeof preface - 1, common = bytes.size < size ? bytes.size : size;

    if (memcmp(bytes.data, preface, common) != 0)
        return 0;
    return common == size ? 1 : -1;
}
