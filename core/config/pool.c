/* A chain of blocks; see pool.h. */
#include "config/pool.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 16384, ALLOC_MAX = 64 * 1024 * 1024 };

struct hf_config_block {
    struct hf_config_block *next;
    uint64_t size;
    alignas(max_align_t) unsigned char bytes[];
};

static struct hf_config_block *block_add(hf_config_pool *pool, uint64_t wanted)
{
    uint64_t size = wanted > BLOCK_SIZE ? wanted : BLOCK_SIZE;
    struct hf_config_block *block = calloc(1, sizeof *block + size);

    if (!block)
        return NULL;
    block->size = size;
    block->next = pool->blocks;
    pool->blocks = block;
    pool->left = size;
    return block;
}

void *hf_config_pool_alloc(hf_config_pool *pool, uint64_t size)
{
    if (size > ALLOC_MAX)
        return NULL;

    uint64_t rounded = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);

    if (rounded > pool->left && !block_add(pool, rounded))
        return NULL;

    void *memory = pool->blocks ? pool->blocks->bytes + (pool->blocks->size - pool->left) : NULL;

    pool->left -= rounded;
    return memory;
}

char *hf_config_pool_copy(hf_config_pool *pool, const char *text, uint64_t size)
{
    char *copy = hf_config_pool_alloc(pool, size + 1);

    if (copy && size > 0)
        memcpy(copy, text, size);
    return copy;
}

void hf_config_pool_done(hf_config_pool *pool)
{
    while (pool->blocks) {
        struct hf_config_block *next = pool->blocks->next;

        free(pool->blocks);
        pool->blocks = next;
    }
    pool->left = 0;
}
