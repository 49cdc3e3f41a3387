/* config/pool.h: memory that is freed all at once, with the tree, generation or list that owns it. */
#ifndef HOLDFAST_CONFIG_POOL_H
#define HOLDFAST_CONFIG_POOL_H

#include <holdfast/holdfast.h>

typedef struct hf_config_pool {
    struct hf_config_block *blocks; /* {0} is an empty pool */
    uint64_t left;                  /* bytes unused at the end of the first block */
} hf_config_pool;

/* Zeroed and aligned for every type; NULL without memory or over 64 MiB.  Valid until hf_config_pool_done. [any] */
void *hf_config_pool_alloc(hf_config_pool *pool, uint64_t size);

/* A copy of `size` bytes with a NUL behind it, or NULL. */
char *hf_config_pool_copy(hf_config_pool *pool, const char *text, uint64_t size);

/* Frees everything; the pool is empty and usable again. */
void hf_config_pool_done(hf_config_pool *pool);

#endif
