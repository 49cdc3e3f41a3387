#include "cache/cache.h"

#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

enum { OBJECT_USUAL = 4096, BUCKETS_MAX = 1 << 16, BUCKETS_AT_A_TIME = 64, OBJECTS_IN_SHARD = 4 };

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static uint32_t power_of_two(uint64_t least, uint32_t most)
{
    uint32_t power = 1;

    while (power < least && power < most)
        power *= 2;
    return power;
}

/* As many as still have room for some of the largest objects each. */
static uint32_t shards_for(uint64_t memory, uint64_t object)
{
    uint32_t count = GATEWAY_CACHE_SHARDS_MAX;

    while (count > 1 && memory / count < OBJECTS_IN_SHARD * object)
        count /= 2;
    return count;
}

static int32_t init_shards(struct gateway_cache *cache)
{
    cache->shards = calloc(cache->shard_count, sizeof *cache->shards);
    if (!cache->shards)
        return HF_ENOMEM;
    for (; cache->lock_count < cache->shard_count; cache->lock_count++)
        if (pthread_mutex_init(&cache->shards[cache->lock_count].lock, NULL) != 0)
            return HF_ENOMEM;
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        cache->shards[i].buckets = calloc(cache->bucket_count, sizeof(struct gateway_stored *));
        if (!cache->shards[i].buckets)
            return HF_ENOMEM;
    }
    return HF_OK;
}

struct gateway_cache *gateway_cache_create(const char *name, uint64_t memory_maximum, uint64_t object_maximum,
                                           uint64_t seed)
{
    struct gateway_cache *cache = calloc(1, sizeof *cache);

    if (!cache)
        return NULL;
    atomic_init(&cache->references, 1);
    cache->name = strdup(name);
    cache->memory_maximum = memory_maximum;
    cache->object_maximum = object_maximum;
    cache->seed = seed;
    cache->shard_count = shards_for(memory_maximum, object_maximum);
    cache->bucket_count = power_of_two(memory_maximum / cache->shard_count / OBJECT_USUAL, BUCKETS_MAX);
    if (cache->name && init_shards(cache) == HF_OK)
        return cache;
    gateway_cache_release(cache);
    return NULL;
}

void gateway_cache_hold(struct gateway_cache *cache)
{
    atomic_fetch_add_explicit(&cache->references, 1, memory_order_relaxed);
}

static void destroy_shard(struct gateway_cache_shard *shard)
{
    while (shard->newest) {
        struct gateway_stored *stored = shard->newest;

        shard->newest = stored->older;
        gateway_stored_release(stored);
    }
    free(shard->buckets);
}

void gateway_cache_release(struct gateway_cache *cache)
{
    if (!cache || atomic_fetch_sub_explicit(&cache->references, 1, memory_order_acq_rel) != 1)
        return;
    gateway_cache_remove_metrics(cache);
    for (uint32_t i = 0; cache->shards && i < cache->shard_count; i++)
        destroy_shard(&cache->shards[i]);
    for (uint32_t i = 0; i < cache->lock_count; i++)
        pthread_mutex_destroy(&cache->shards[i].lock);
    free(cache->shards);
    free(cache->name);
    free(cache);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

void gateway_cache_hash(const struct gateway_cache *cache, struct gateway_cache_key *key)
{
    key->hash = hf_hash64(cache->seed, key->url.data, key->url.size);
}

static struct gateway_cache_shard *shard_of(const struct gateway_cache *cache, uint64_t hash)
{
    return &cache->shards[hash % cache->shard_count];
}

static struct gateway_stored **bucket_of(const struct gateway_cache *cache, struct gateway_cache_shard *shard,
                                         uint64_t hash)
{
    return &shard->buckets[hash / GATEWAY_CACHE_SHARDS_MAX % cache->bucket_count];
}

static void unlink_use(struct gateway_cache_shard *shard, struct gateway_stored *stored)
{
    if (stored->newer)
        stored->newer->older = stored->older;
    else
        shard->newest = stored->older;
    if (stored->older)
        stored->older->newer = stored->newer;
    else
        shard->oldest = stored->newer;
    stored->newer = stored->older = NULL;
}

static void link_use(struct gateway_cache_shard *shard, struct gateway_stored *stored)
{
    stored->newer = NULL;
    stored->older = shard->newest;
    if (stored->older)
        stored->older->newer = stored;
    else
        shard->oldest = stored;
    shard->newest = stored;
}

/* Takes it out; the table's reference goes to a list of what is to be released without the lock. */
static void take_out(struct gateway_cache *cache, struct gateway_cache_shard *shard, struct gateway_stored *stored,
                     struct gateway_stored **gone)
{
    struct gateway_stored **at = bucket_of(cache, shard, stored->key.hash);

    while (*at != stored)
        at = &(*at)->next;
    *at = stored->next;
    unlink_use(shard, stored);
    shard->memory -= stored->memory;
    shard->count--;
    stored->is_in_table = 0;
    stored->older = *gone;
    *gone = stored;
}

/* What is in the list is in no table, and so nobody else touches its links. */
static void release_all(struct gateway_stored *gone)
{
    while (gone) {
        struct gateway_stored *next = gone->older;

        gateway_stored_release(gone);
        gone = next;
    }
}

struct gateway_stored *gateway_cache_find(struct gateway_cache *cache, const struct gateway_cache_key *key,
                                          const hf_http1_head *request)
{
    struct gateway_cache_shard *shard = shard_of(cache, key->hash);
    struct gateway_stored *stored;

    pthread_mutex_lock(&shard->lock);
    for (stored = *bucket_of(cache, shard, key->hash); stored; stored = stored->next)
        if (gateway_stored_matches(stored, key, request))
            break;
    if (stored) {
        gateway_stored_hold(stored);
        if (shard->newest != stored) {
            unlink_use(shard, stored);
            link_use(shard, stored);
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return stored;
}

/* What the new one replaces, and what is one too many of its URL. */
static void make_place(struct gateway_cache *cache, struct gateway_cache_shard *shard,
                       const struct gateway_stored *stored, const hf_http1_head *request, struct gateway_stored **gone)
{
    struct gateway_stored *each = *bucket_of(cache, shard, stored->key.hash), *next, *last = NULL;
    uint32_t variants = 0;

    for (; each; each = next) {
        next = each->next;
        if (gateway_stored_matches(each, &stored->key, request)) {
            take_out(cache, shard, each, gone);
        } else if (each->key.hash == stored->key.hash) {
            variants++;
            last = each;
        }
    }
    if (variants >= GATEWAY_CACHE_VARIANTS_MAX)
        take_out(cache, shard, last, gone);
}

void gateway_cache_put(struct gateway_cache *cache, struct gateway_stored *stored, const hf_http1_head *request,
                       const struct gateway_flight *flight)
{
    struct gateway_cache_shard *shard = shard_of(cache, stored->key.hash);
    uint64_t maximum = cache->memory_maximum / cache->shard_count;
    struct gateway_stored **bucket, *gone = NULL;

    if (stored->memory > maximum) {
        gateway_stored_release(stored);
        return;
    }
    pthread_mutex_lock(&shard->lock);
    if (flight && flight->is_void) {
        pthread_mutex_unlock(&shard->lock);
        gateway_stored_release(stored);
        return;
    }
    make_place(cache, shard, stored, request, &gone);
    while (shard->oldest && shard->memory + stored->memory > maximum)
        take_out(cache, shard, shard->oldest, &gone);
    bucket = bucket_of(cache, shard, stored->key.hash);
    stored->next = *bucket;
    *bucket = stored;
    stored->is_in_table = 1;
    link_use(shard, stored);
    shard->memory += stored->memory;
    shard->count++;
    pthread_mutex_unlock(&shard->lock);
    release_all(gone);
}

/* ---- Forgetting -------------------------------------------------------------------------------------------------- */

static int is_meant(hf_slice url, hf_slice wanted, int is_prefix)
{
    return is_prefix ? hf_slice_begins(url, wanted) : hf_slice_equal(url, wanted);
}

static void void_flights(struct gateway_cache_shard *shard, hf_slice url, int is_prefix)
{
    for (struct gateway_flight *flight = shard->flights; flight; flight = flight->next)
        flight->is_void |= is_meant(flight->key.url, url, is_prefix);
}

/* What stands in some buckets of a shard. */
static uint64_t forget_in(struct gateway_cache *cache, struct gateway_cache_shard *shard, struct gateway_stored **from,
                          uint32_t buckets, hf_slice url, int is_prefix)
{
    struct gateway_stored *gone = NULL, *next;
    uint64_t count = 0;

    pthread_mutex_lock(&shard->lock);
    void_flights(shard, url, is_prefix);
    for (uint32_t i = 0; i < buckets; i++)
        for (struct gateway_stored *each = from[i]; each; each = next) {
            next = each->next;
            if (!is_meant(each->key.url, url, is_prefix))
                continue;
            take_out(cache, shard, each, &gone);
            count++;
        }
    pthread_mutex_unlock(&shard->lock);
    release_all(gone);
    return count;
}

uint64_t gateway_cache_forget(struct gateway_cache *cache, hf_slice url)
{
    struct gateway_cache_key key = {.url = url};

    gateway_cache_hash(cache, &key);
    struct gateway_cache_shard *shard = shard_of(cache, key.hash);
    return forget_in(cache, shard, bucket_of(cache, shard, key.hash), 1, url, 0);
}

uint64_t gateway_cache_purge(struct gateway_cache *cache, hf_slice prefix)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < cache->shard_count; i++)
        for (uint32_t at = 0; at < cache->bucket_count; at += BUCKETS_AT_A_TIME) {
            uint32_t left = cache->bucket_count - at;

            count += forget_in(cache, &cache->shards[i], &cache->shards[i].buckets[at],
                               left < BUCKETS_AT_A_TIME ? left : BUCKETS_AT_A_TIME, prefix, 1);
        }
    return count;
}

void gateway_cache_measure(struct gateway_cache *cache, uint64_t *ret_count, uint64_t *ret_memory)
{
    *ret_count = *ret_memory = 0;
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        pthread_mutex_lock(&cache->shards[i].lock);
        *ret_count += cache->shards[i].count;
        *ret_memory += cache->shards[i].memory;
        pthread_mutex_unlock(&cache->shards[i].lock);
    }
}

/* ---- Flights ----------------------------------------------------------------------------------------------------- */

static struct gateway_flight *create_flight(const struct gateway_cache_key *key)
{
    struct gateway_flight *flight = malloc(sizeof *flight + key->url.size + key->extra.size);

    if (!flight)
        return NULL;
    uint8_t *text = (uint8_t *)(flight + 1);
    memcpy(text, key->url.data, key->url.size);
    if (key->extra.size)
        memcpy(text + key->url.size, key->extra.data, key->extra.size);
    *flight =
        (struct gateway_flight){.key = {{text, key->url.size}, {text + key->url.size, key->extra.size}, key->hash}};
    return flight;
}

static struct gateway_flight *find_flight(const struct gateway_cache_shard *shard, const struct gateway_cache_key *key)
{
    for (struct gateway_flight *flight = shard->flights; flight; flight = flight->next)
        if (!flight->is_void && flight->key.hash == key->hash && hf_slice_equal(flight->key.url, key->url) &&
            hf_slice_equal(flight->key.extra, key->extra))
            return flight;
    return NULL;
}

static void add_waiter(struct gateway_flight *flight, struct gateway_cache_waiter *waiter)
{
    waiter->flight = flight;
    waiter->previous = NULL;
    waiter->next = flight->waiters;
    if (waiter->next)
        waiter->next->previous = waiter;
    flight->waiters = waiter;
}

int32_t gateway_flight_begin(struct gateway_cache *cache, const struct gateway_cache_key *key,
                             struct gateway_cache_waiter *waiter, struct gateway_flight **ret_flight)
{
    struct gateway_cache_shard *shard = shard_of(cache, key->hash);
    int32_t result = GATEWAY_FLIGHT_WAITS;

    pthread_mutex_lock(&shard->lock);
    struct gateway_flight *flight = find_flight(shard, key);
    if (flight && waiter) {
        add_waiter(flight, waiter);
    } else if (!flight) {
        *ret_flight = create_flight(key);
        result = *ret_flight ? GATEWAY_FLIGHT_LEADS : GATEWAY_FLIGHT_ALONE;
        if (*ret_flight) {
            (*ret_flight)->next = shard->flights;
            shard->flights = *ret_flight;
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return result;
}

void gateway_flight_end(struct gateway_cache *cache, struct gateway_flight *flight)
{
    struct gateway_cache_shard *shard = shard_of(cache, flight->key.hash);
    struct gateway_flight **at = &shard->flights;
    struct gateway_cache_waiter *waiter, *next;

    pthread_mutex_lock(&shard->lock);
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    waiter = flight->waiters;
    for (struct gateway_cache_waiter *each = waiter; each; each = each->next)
        each->flight = NULL;
    pthread_mutex_unlock(&shard->lock);
    free(flight);
    for (; waiter; waiter = next) {
        next = waiter->next; /* it may be gone after that */
        waiter->wake(waiter);
    }
}

int32_t gateway_flight_leave(struct gateway_cache *cache, struct gateway_cache_waiter *waiter, uint64_t hash,
                             int32_t overtakes)
{
    struct gateway_cache_shard *shard = shard_of(cache, hash);
    int32_t waited;

    pthread_mutex_lock(&shard->lock);
    waited = waiter->flight != NULL;
    if (waited) {
        waiter->flight->is_void |= overtakes;
        if (waiter->previous)
            waiter->previous->next = waiter->next;
        else
            waiter->flight->waiters = waiter->next;
        if (waiter->next)
            waiter->next->previous = waiter->previous;
        waiter->flight = NULL;
    }
    pthread_mutex_unlock(&shard->lock);
    return waited;
}
