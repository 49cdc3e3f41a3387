/* cache.h: answers that all workers share: a table in shards, each with a lock that is held for a moment only, bounded
 * by memory; what was not used for longest goes first.  Beside it stand flights: one request for a key goes to a
 * server, others wait for what becomes of it.  The time is told.  [any] */
#ifndef GATEWAY_CACHE_H
#define GATEWAY_CACHE_H

#include "cache/stored.h"

#include <holdfast/host/metrics.h>

#include <pthread.h>

enum { GATEWAY_CACHE_SHARDS_MAX = 16, GATEWAY_CACHE_VARIANTS_MAX = 32 };

/* What became of a request that looked. */
enum { GATEWAY_CACHE_HIT, GATEWAY_CACHE_MISS, GATEWAY_CACHE_STALE, GATEWAY_CACHE_REVALIDATED, GATEWAY_CACHE_RESULTS };

/* Whoever waits for a flight.  `wake` is called once, without a lock, from any thread; it is not called any more after
 * gateway_flight_leave has said so. */
struct gateway_cache_waiter {
    struct gateway_cache_waiter *next, *previous;
    struct gateway_flight *flight; /* NULL: it waits no more */
    void (*wake)(struct gateway_cache_waiter *waiter);
};

struct gateway_flight {
    struct gateway_flight *next;
    struct gateway_cache_key key;
    struct gateway_cache_waiter *waiters;
    int32_t is_void; /* what it brings has become invalid meanwhile */
};

struct gateway_cache_shard {
    pthread_mutex_t lock;
    struct gateway_stored **buckets;
    struct gateway_stored *newest, *oldest;
    uint64_t memory, count;
    struct gateway_flight *flights;
};

struct gateway_cache {
    atomic_uint references;
    char *name;
    uint64_t memory_maximum, object_maximum;
    uint64_t seed;
    uint32_t shard_count, bucket_count; /* powers of two */
    uint32_t lock_count;
    struct gateway_cache_shard *shards;
    _Atomic uint64_t filling; /* bytes of bodies that are coming in */
    _Atomic uint64_t results[GATEWAY_CACHE_RESULTS];
    const hf_metrics_interface *metrics; /* NULL: none */
    hf_metric *counted[GATEWAY_CACHE_RESULTS], *bytes, *objects;
};

/* `seed` is random, so that nobody knows what stands together.  NULL: no memory. */
struct gateway_cache *gateway_cache_create(const char *name, uint64_t memory_maximum, uint64_t object_maximum,
                                           uint64_t seed);
void gateway_cache_hold(struct gateway_cache *cache);
void gateway_cache_release(struct gateway_cache *cache); /* accepts NULL */

/* Sets the key's hash. */
void gateway_cache_hash(const struct gateway_cache *cache, struct gateway_cache_key *key);

/* What is stored for the request, held; NULL: nothing. */
struct gateway_stored *gateway_cache_find(struct gateway_cache *cache, const struct gateway_cache_key *key,
                                          const hf_http1_head *request);

/* Puts it in the place of what would answer the same request; takes one reference.  `flight` (may be NULL) has brought
 * it: when that is void, it is thrown away. */
void gateway_cache_put(struct gateway_cache *cache, struct gateway_stored *stored, const hf_http1_head *request,
                       const struct gateway_flight *flight);

/* What is stored for a URL, under whatever key, is of no use any more, nor is what is being fetched.  How many went. */
uint64_t gateway_cache_forget(struct gateway_cache *cache, hf_slice url);

/* The same for all URLs that begin so.  Looks through all of the cache: not on a loop. */
uint64_t gateway_cache_purge(struct gateway_cache *cache, hf_slice prefix);

/* "hit", "miss", ... */
const char *gateway_cache_word(int32_t result);

/* Shows it among the host's metrics (meter.c); and counts there.  Errors as the host's.  [main] */
int32_t gateway_cache_add_metrics(struct gateway_cache *cache, const hf_host *host, hf_error *error);
void gateway_cache_remove_metrics(struct gateway_cache *cache);
void gateway_cache_count(struct gateway_cache *cache, int32_t result);
void gateway_cache_show(struct gateway_cache *cache); /* what is stored now */

/* Objects and bytes that are stored. */
void gateway_cache_measure(struct gateway_cache *cache, uint64_t *ret_count, uint64_t *ret_memory);

/* ---- Flights ----------------------------------------------------------------------------------------------------- */

enum { GATEWAY_FLIGHT_LEADS, GATEWAY_FLIGHT_WAITS, GATEWAY_FLIGHT_ALONE /* no memory: it goes, and nobody waits */ };

/* Begins one, or waits for that which is under way; `waiter` NULL: it does not wait (GATEWAY_FLIGHT_WAITS, too).  The
 * texts of the key are copied. */
int32_t gateway_flight_begin(struct gateway_cache *cache, const struct gateway_cache_key *key,
                             struct gateway_cache_waiter *waiter, struct gateway_flight **ret_flight);

/* It is over: those who wait look again. */
void gateway_flight_end(struct gateway_cache *cache, struct gateway_flight *flight);

/* 1: it waits no more, and `wake` will not be called.  0: it has been called, or is being called.  `overtakes`: the
 * flight takes too long: what it brings is not stored, and the next request begins another. */
int32_t gateway_flight_leave(struct gateway_cache *cache, struct gateway_cache_waiter *waiter, uint64_t hash,
                             int32_t overtakes);

#endif
