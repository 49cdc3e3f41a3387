#include "guard/token_bucket.h"

void gateway_bucket_init(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, uint64_t now_us)
{
    *bucket = (struct gateway_bucket){.tokens = rules->burst, .filled_us = now_us};
}

void gateway_bucket_add(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, double tokens)
{
    bucket->tokens = bucket->tokens + tokens < rules->burst ? bucket->tokens + tokens : rules->burst;
}

uint64_t gateway_bucket_take(struct gateway_bucket *bucket, const struct gateway_bucket_rules *rules, double tokens,
                             uint64_t now_us)
{
    if (now_us > bucket->filled_us) { /* another thread's clock may have been read a little earlier */
        gateway_bucket_add(bucket, rules, (double)(now_us - bucket->filled_us) * rules->rate / 1e6);
        bucket->filled_us = now_us;
    }
    if (bucket->tokens >= tokens) {
        bucket->tokens -= tokens;
        return 0;
    }
    double missing_us = rules->rate > 0 ? (tokens - bucket->tokens) / rules->rate * 1e6 : 1e19;

    return missing_us < 1e18 ? (uint64_t)missing_us + 1 : UINT64_MAX;
}
