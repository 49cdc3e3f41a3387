#include "cache/cache.h"

#include <stddef.h>

const char *gateway_cache_word(int32_t result)
{
    static const char *const words[] = {[GATEWAY_CACHE_HIT] = "hit",
                                        [GATEWAY_CACHE_MISS] = "miss",
                                        [GATEWAY_CACHE_STALE] = "stale",
                                        [GATEWAY_CACHE_REVALIDATED] = "revalidated"};

    return words[result];
}

int32_t gateway_cache_add_metrics(struct gateway_cache *cache, const hf_host *host, hf_error *error)
{
    const hf_metrics_interface *metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    const char *labels[2][2] = {{"cache", cache->name}, {"result", NULL}};
    int32_t code = HF_OK;

    cache->metrics = metrics;
    for (int32_t i = 0; metrics && i < GATEWAY_CACHE_RESULTS && code == HF_OK; i++) {
        labels[1][1] = gateway_cache_word(i);
        code = metrics->add(host, HF_METRIC_COUNTER, "holdfast_gateway_cache_requests_total",
                            "Requests that looked into a cache, by what became of them.",
                            (const char *const(*)[2])labels, 2, &cache->counted[i], error);
    }
    if (metrics && code == HF_OK)
        code =
            metrics->add(host, HF_METRIC_GAUGE, "holdfast_gateway_cache_bytes", "Memory that a cache's answers take.",
                         (const char *const(*)[2])labels, 1, &cache->bytes, error);
    if (metrics && code == HF_OK)
        code = metrics->add(host, HF_METRIC_GAUGE, "holdfast_gateway_cache_objects", "Answers that a cache has.",
                            (const char *const(*)[2])labels, 1, &cache->objects, error);
    return code;
}

void gateway_cache_remove_metrics(struct gateway_cache *cache)
{
    if (!cache->metrics)
        return;
    for (int32_t i = 0; i < GATEWAY_CACHE_RESULTS; i++)
        cache->metrics->remove(cache->counted[i]);
    cache->metrics->remove(cache->bytes);
    cache->metrics->remove(cache->objects);
}

void gateway_cache_count(struct gateway_cache *cache, int32_t result)
{
    atomic_fetch_add_explicit(&cache->results[result], 1, memory_order_relaxed);
    if (cache->metrics)
        cache->metrics->increment(cache->counted[result], 1);
}

void gateway_cache_show(struct gateway_cache *cache)
{
    uint64_t count, memory;

    if (!cache->metrics)
        return;
    gateway_cache_measure(cache, &count, &memory);
    cache->metrics->set(cache->objects, (double)count);
    cache->metrics->set(cache->bytes, (double)memory);
}
