/* trace.h: which request this is, over all that have to do with it (W3C Trace Context).  Pure. */
#ifndef GATEWAY_TRACE_H
#define GATEWAY_TRACE_H

#include <holdfast/lib/hash.h>

enum {
    GATEWAY_TRACE_SIZE = 55,   /* bytes of a traceparent field of version 00 */
    GATEWAY_TRACE_SAMPLED = 1, /* flag */
    GATEWAY_TRACE_RANDOM = 2   /* flag: the id is random; of level 2 */
};

struct gateway_trace {
    uint8_t id[16];     /* of the trace; all zero: there is none */
    uint8_t span[8];    /* of what the gateway does of it, the parent of what servers do */
    uint8_t parent[8];  /* of the client; all zero: the trace begins here */
    uint8_t flags;      /* GATEWAY_TRACE_SAMPLED, _RANDOM */
    uint8_t is_present; /* 0: all else means nothing */
};

/* Reads a traceparent: its id, parent and those flags that are known.  0: it is none, and nothing was set.  Later
 * versions are read as far as they are like version 00, as the recommendation has it. */
int32_t gateway_trace_read(hf_slice text, struct gateway_trace *ret_trace);

/* A trace that begins here, and another span of the one there is. */
void gateway_trace_begin(struct gateway_trace *trace, hf_random *random, int32_t is_sampled);
void gateway_trace_next_span(struct gateway_trace *trace, hf_random *random);

/* "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", without a zero byte. */
void gateway_trace_write(const struct gateway_trace *trace, uint8_t text[GATEWAY_TRACE_SIZE]);

/* Two lower-case hexadecimal digits a byte. */
void gateway_trace_hex(const uint8_t *bytes, uint32_t count, uint8_t *text);

#endif
