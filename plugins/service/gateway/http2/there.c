#include "http2/http2.h"

int32_t gateway_http2_is_there(void)
{
    return 1;
}
