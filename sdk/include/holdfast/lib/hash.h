/* lib/hash.h: a fast hash for tables and placement, and a seeded generator for simulators.  Neither is for secrets.
 * Pure; [any]. */
#ifndef HOLDFAST_LIB_HASH_H
#define HOLDFAST_LIB_HASH_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* XXH64 of `size` bytes at `data`, which may be NULL when size is 0.  The same on every machine and in every version,
 * so it may be stored. */
uint64_t hf_hash64(uint64_t seed, const void *data, uint64_t size);

/* xoshiro256**; one thread at a time. */
typedef struct hf_random {
    uint64_t state[4]; /* not all zero */
} hf_random;

/* Begins the sequence that belongs to `seed`; any value will do. */
void hf_random_init(hf_random *random, uint64_t seed);

/* The next 64 bits. */
uint64_t hf_random_next(hf_random *random);

/* An unbiased number in 0..n-1; 0 when n is 0. */
uint64_t hf_random_below(hf_random *random, uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
