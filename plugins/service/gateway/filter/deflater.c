#include "filter/deflater.h"

#include <stdlib.h>
#include <zlib.h>

/* A block of output is made in one go, once so many symbols have come as the memory allows; with more of it, which
 * makes hardly a difference to the size, that takes longer than a loop may be held. */
enum { WITH_GZIP_HEAD = 16, MEMORY_LEVEL_MAX = 5, MEMORY_LEVEL_LESS = 7 /* than the bits of the window */ };

struct gateway_deflater {
    struct gateway_deflater *next;
    z_stream stream;
    int32_t bits, level;
};

/* A window no larger than the body. */
static int32_t bits_for(uint64_t length)
{
    int32_t bits = GATEWAY_DEFLATER_BITS_MAX;

    while (bits > GATEWAY_DEFLATER_BITS_MIN && length <= UINT64_C(1) << (bits - 1))
        bits--;
    return bits;
}

static struct gateway_deflater *create(int32_t level, int32_t bits)
{
    struct gateway_deflater *deflater = calloc(1, sizeof *deflater);
    int32_t memory = bits - MEMORY_LEVEL_LESS < MEMORY_LEVEL_MAX ? bits - MEMORY_LEVEL_LESS : MEMORY_LEVEL_MAX;

    if (!deflater)
        return NULL;
    deflater->bits = bits;
    deflater->level = level;
    if (deflateInit2(&deflater->stream, level, Z_DEFLATED, bits + WITH_GZIP_HEAD, memory, Z_DEFAULT_STRATEGY) == Z_OK)
        return deflater;
    free(deflater);
    return NULL;
}

static void destroy(struct gateway_deflater *deflater)
{
    (void)deflateEnd(&deflater->stream); /* it says whether something was still to come */
    free(deflater);
}

struct gateway_deflater *gateway_deflater_take(struct gateway_deflaters *pool, int32_t level, uint64_t length)
{
    int32_t bits = bits_for(length);
    struct gateway_deflater *deflater = pool->spare[bits];

    if (pool->used >= GATEWAY_DEFLATERS_MAX)
        return NULL;
    if (deflater) {
        pool->spare[bits] = deflater->next;
        pool->spare_count[bits]--;
    }
    if (deflater && deflater->level != level) { /* of another route */
        destroy(deflater);
        deflater = NULL;
    }
    if (!deflater)
        deflater = create(level, bits);
    pool->used += deflater != NULL;
    return deflater;
}

void gateway_deflater_give_back(struct gateway_deflaters *pool, struct gateway_deflater *deflater)
{
    if (!deflater)
        return;
    pool->used--;
    if (pool->spare_count[deflater->bits] >= GATEWAY_DEFLATERS_SPARE_MAX || deflateReset(&deflater->stream) != Z_OK) {
        destroy(deflater);
        return;
    }
    deflater->next = pool->spare[deflater->bits];
    pool->spare[deflater->bits] = deflater;
    pool->spare_count[deflater->bits]++;
}

void gateway_deflaters_done(struct gateway_deflaters *pool)
{
    for (int32_t bits = 0; bits <= GATEWAY_DEFLATER_BITS_MAX; bits++)
        while (pool->spare[bits]) {
            struct gateway_deflater *deflater = pool->spare[bits];

            pool->spare[bits] = deflater->next;
            destroy(deflater);
        }
}

uint64_t gateway_deflate(struct gateway_deflater *deflater, hf_slice *input, int32_t how, uint8_t *room, uint64_t size)
{
    static const int words[] = {[GATEWAY_DEFLATE_GOES_ON] = Z_NO_FLUSH,
                                [GATEWAY_DEFLATE_FLUSHES] = Z_SYNC_FLUSH,
                                [GATEWAY_DEFLATE_ENDS] = Z_FINISH};
    z_stream *stream = &deflater->stream;

    stream->next_in = (Bytef *)(uintptr_t)input->data;
    stream->avail_in = (uInt)input->size; /* callers give less than 4 GiB */
    stream->next_out = room;
    stream->avail_out = (uInt)size;
    (void)deflate(stream, words[how]); /* Z_BUF_ERROR: there was nothing to do; others only without a stream */
    *input = (hf_slice){input->data + (input->size - stream->avail_in), stream->avail_in};
    return size - stream->avail_out;
}
