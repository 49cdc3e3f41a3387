/* limiter.h: a rate limit for each of many keys, such as clients: a token bucket each, in a table of fixed size that
 * all threads share, so that the limit is that of the node, whichever thread a request comes to.
 *
 * When a key comes for which there is no room, the key of its neighbourhood that was used longest ago is forgotten, and
 * begins anew with a full bucket should it come back.  Keys cannot be chosen so that they meet in one place without
 * knowing the seed. */
#ifndef GATEWAY_LIMITER_H
#define GATEWAY_LIMITER_H

#include "guard/token_bucket.h"

enum { GATEWAY_LIMITER_KEYS = 65536 };

struct gateway_limiter;

/* 1.5 MiB, of which only what is used is really taken.  NULL: no memory. */
struct gateway_limiter *gateway_limiter_create(uint64_t seed);
void gateway_limiter_destroy(struct gateway_limiter *limiter); /* accepts NULL */

/* Takes a token of the key's bucket, as gateway_bucket_take: 0, or after how many microseconds there will be one.  The
 * rules may differ from one call to the next.  Holds a lock for less than a microsecond.  [any] */
uint64_t gateway_limiter_take(struct gateway_limiter *limiter, const struct gateway_bucket_rules *rules, hf_slice key,
                              uint64_t now_us);

#endif
