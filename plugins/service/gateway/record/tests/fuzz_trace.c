/* Whatever a client sends as traceparent: what is taken is written again as a field that reads the same. */
#include "record/trace.h"

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
    struct gateway_trace trace, again;
    uint8_t text[GATEWAY_TRACE_SIZE];
    hf_random random;

    if (!gateway_trace_read((hf_slice){data, size}, &trace))
        return 0;
    require(trace.is_present);
    memcpy(trace.span, trace.parent, sizeof trace.span);
    gateway_trace_write(&trace, text);
    require(memcmp(text + 3, data + 3, GATEWAY_TRACE_SIZE - 5) == 0);
    require(gateway_trace_read((hf_slice){text, sizeof text}, &again));
    require(memcmp(again.id, trace.id, sizeof again.id) == 0);
    require(memcmp(again.parent, trace.parent, sizeof again.parent) == 0 && again.flags == trace.flags);
    hf_random_init(&random, size);
    gateway_trace_next_span(&trace, &random);
    gateway_trace_write(&trace, text);
    require(gateway_trace_read((hf_slice){text, sizeof text}, &again));
    require(memcmp(again.parent, trace.span, sizeof again.parent) == 0);
    return 0;
}
