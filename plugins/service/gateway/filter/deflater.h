/* deflater.h: gzip by zlib, with streams that are used again: what one needs, up to 150 KiB, is large enough to be
 * worth that, and is bounded here.  One thread at a time. */
#ifndef GATEWAY_DEFLATER_H
#define GATEWAY_DEFLATER_H

#include <holdfast/holdfast.h>

enum {
    GATEWAY_DEFLATERS_MAX = 256,      /* at a time in a worker: 37 MiB */
    GATEWAY_DEFLATERS_SPARE_MAX = 16, /* of one size that are kept */
    GATEWAY_DEFLATER_BITS_MIN = 10,
    GATEWAY_DEFLATER_BITS_MAX = 15
};

/* How long a body is that has no length. */
#define GATEWAY_DEFLATER_UNKNOWN UINT64_MAX

enum { GATEWAY_DEFLATE_GOES_ON, GATEWAY_DEFLATE_FLUSHES /* all that came can be read */, GATEWAY_DEFLATE_ENDS };

struct gateway_deflater;

/* Of a worker; all bytes zero: none yet. */
struct gateway_deflaters {
    struct gateway_deflater *spare[GATEWAY_DEFLATER_BITS_MAX + 1];
    uint32_t spare_count[GATEWAY_DEFLATER_BITS_MAX + 1];
    uint32_t used;
};

/* For a body of that length, with a level of zlib.  NULL: no memory, or too many at a time. */
struct gateway_deflater *gateway_deflater_take(struct gateway_deflaters *pool, int32_t level, uint64_t length);
void gateway_deflater_give_back(struct gateway_deflaters *pool, struct gateway_deflater *deflater); /* accepts NULL */

/* Frees what is kept. */
void gateway_deflaters_done(struct gateway_deflaters *pool);

/* Takes from the front of `input` and writes to `room`; how many bytes it wrote.  When it has filled the room it is to
 * be called again with more, until it has not: only then has it done what was asked (`how`, GATEWAY_DEFLATE_...). */
uint64_t gateway_deflate(struct gateway_deflater *deflater, hf_slice *input, int32_t how, uint8_t *room, uint64_t size);

#endif
