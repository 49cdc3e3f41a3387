/* token_bucket.h: what may be done at a mean rate, and some at once: rate limits, and the budget of retries, which are
 * paid for by requests.  The state is the caller's, on one thread or under the caller's lock.  Times are monotonic
 * microseconds.  Pure. */
#ifndef GATEWAY_TOKEN_BUCKET_H
#define GATEWAY_TOKEN_BUCKET_H

#include <holdfast/holdfast.h>

struct gateway_bucket_rules {
    double rate;  /* tokens a second that come by themselves; >= 0 */
    double burst; /* the most there can be; >= 1 */
};

struct gateway_bucket {
    double tokens;
    uint64_t filled_us;
};

/* It is full. */
void gateway_bucket_init(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, uint64_t now_us);

/* Takes `tokens` (at most the burst) when they are there: 0.  Else nothing, and returns after how many microseconds
 * they will be, when nobody else takes any: at least 1; UINT64_MAX: never by themselves. */
uint64_t gateway_bucket_take(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, double tokens,
                             uint64_t now_us);

/* Adds some, up to the burst: a request adds 0.2 to a budget of one retry for five requests. */
void gateway_bucket_add(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, double tokens);

#endif
