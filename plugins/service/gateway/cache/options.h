/* options.h: what the configuration says of caches, and what plans make of it; see options.c. */
#ifndef GATEWAY_CACHE_OPTIONS_H
#define GATEWAY_CACHE_OPTIONS_H

#include "cache/cache.h"
#include "route/key.h"

#include <holdfast/lib/arena.h>

struct gateway_cache_options {
    const char *name;
    uint64_t memory, object_maximum;
    uint64_t default_ttl_us, stale_if_error_us, stale_while_revalidate_us;
    uint64_t wait_timeout_us;
    hf_strings key;
    int32_t status_field;
};

extern const hf_option_table gateway_cache_table;

/* A cache as a plan has it. */
struct gateway_plan_cache {
    struct gateway_cache *cache; /* held */
    struct gateway_cache_rules rules;
    struct gateway_key *keys;
    uint32_t key_count;
    uint64_t wait_timeout_us;
    int32_t shows_result;
};

/* Reports what the types of the options cannot say; `path` is that of the cache.  [main] */
void gateway_cache_check(const struct gateway_cache_options *options, const hf_config_report *report, const char *path);

/* Makes those of a plan; the caches of `before` go on where they are of the same size.  `seed` as in cache.h.
 * HF_ENOMEM, HF_EINVAL, or the host's; what was made is the caller's to release in any case.  [main] */
int32_t gateway_caches_make(const hf_groups *options, const hf_host *host, uint64_t seed, hf_arena *arena,
                            const struct gateway_plan_cache *before, uint32_t before_count,
                            struct gateway_plan_cache **ret_caches, uint32_t *ret_count, hf_error *error);
void gateway_caches_release(struct gateway_plan_cache *caches, uint32_t count);

#endif
