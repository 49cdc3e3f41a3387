#include "guard/limiter.h"

#include <holdfast/lib/hash.h>

#include <pthread.h>
#include <stdlib.h>

enum { SHARDS = 64, WAYS = 8, PLACES = GATEWAY_LIMITER_KEYS / SHARDS / WAYS };

struct entry {
    uint64_t key; /* a hash of it; 0: nobody is here */
    struct gateway_bucket bucket;
};

struct shard {
    pthread_mutex_t lock;
    struct entry entries[PLACES][WAYS];
};

struct gateway_limiter {
    uint64_t seed;
    uint32_t lock_count;
    struct shard shards[SHARDS];
};

struct gateway_limiter *gateway_limiter_create(uint64_t seed)
{
    struct gateway_limiter *limiter = calloc(1, sizeof *limiter);

    if (!limiter)
        return NULL;
    limiter->seed = seed;
    for (; limiter->lock_count < SHARDS; limiter->lock_count++)
        if (pthread_mutex_init(&limiter->shards[limiter->lock_count].lock, NULL) != 0) {
            gateway_limiter_destroy(limiter);
            return NULL;
        }
    return limiter;
}

void gateway_limiter_destroy(struct gateway_limiter *limiter)
{
    if (!limiter)
        return;
    for (uint32_t i = 0; i < limiter->lock_count; i++)
        pthread_mutex_destroy(&limiter->shards[i].lock);
    free(limiter);
}

/* The key's entry, or the one that it takes over: a free one, or else the one that was used longest ago. */
static struct entry *find(struct entry *entries, uint64_t key)
{
    struct entry *oldest = entries;

    for (uint32_t i = 0; i < WAYS; i++) {
        if (entries[i].key == key)
            return &entries[i];
        if (oldest->key && (!entries[i].key || entries[i].bucket.filled_us < oldest->bucket.filled_us))
            oldest = &entries[i];
    }
    return oldest;
}

uint64_t gateway_limiter_take(struct gateway_limiter *limiter, const struct gateway_bucket_rules *rules, hf_slice key,
                              uint64_t now_us)
{
    uint64_t hash = hf_hash64(limiter->seed, key.data, key.size), wait_us;
    struct shard *shard = &limiter->shards[hash % SHARDS];

    hash += hash == 0;
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = find(shard->entries[hash / SHARDS % PLACES], hash);
    if (entry->key != hash) {
        entry->key = hash;
        gateway_bucket_init(&entry->bucket, rules, now_us);
    }
    wait_us = gateway_bucket_take(&entry->bucket, rules, 1, now_us);
    pthread_mutex_unlock(&shard->lock);
    return wait_us;
}
