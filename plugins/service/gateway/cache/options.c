#include "cache/options.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

#define SECONDS(n) (INT64_C(1000000) * (n))

static const hf_option cache_options[] = {
    HF_CONFIG_SIZE("memory", struct gateway_cache_options, memory, .default_text = "64MiB", .minimum = 1 << 20,
                   .maximum = INT64_C(1) << 40, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes that its answers may take; what was not used for longest goes first. A reload that "
                          "changes it begins with an empty cache."),
    HF_CONFIG_SIZE("object_maximum", struct gateway_cache_options, object_maximum, .default_text = "1MiB",
                   .minimum = 1024, .maximum = INT64_C(1) << 32, .flags = HF_OPTION_RELOADABLE,
                   .doc = "Bytes of a body; larger ones are not stored. At most a quarter of memory."),
    HF_CONFIG_DURATION("default_ttl", struct gateway_cache_options, default_ttl_us, .default_text = "0s", .minimum = 0,
                       .maximum = SECONDS(31536000), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long answers with status 200, 203, 301 or 308 are fresh that say nothing of it; 0: "
                              "they are not stored."),
    HF_CONFIG_DURATION("stale_if_error", struct gateway_cache_options, stale_if_error_us, .default_text = "0s",
                       .minimum = 0, .maximum = SECONDS(31536000), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long after that they are used while servers fail, are not available, or answer 500, "
                              "502, 503 or 504, where an answer does not say it itself."),
    HF_CONFIG_DURATION("stale_while_revalidate", struct gateway_cache_options, stale_while_revalidate_us,
                       .default_text = "0s", .minimum = 0, .maximum = SECONDS(31536000), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long after that they are used while they are fetched anew, likewise."),
    HF_CONFIG_DURATION("wait_timeout", struct gateway_cache_options, wait_timeout_us, .default_text = "5s",
                       .minimum = 0, .maximum = SECONDS(600), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long a request waits for another one that fetches the same; then it goes itself."),
    HF_CONFIG_STRINGS("key", struct gateway_cache_options, key, .flags = HF_OPTION_RELOADABLE,
                      .doc = "What of a request makes it another one, besides route, upstream, scheme, host, path and "
                             "query: client, field NAME or cookie NAME."),
    HF_CONFIG_BOOLEAN("status_field", struct gateway_cache_options, status_field, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether answers have a field X-Cache: hit, miss, stale or revalidated."),
};
const hf_option_table gateway_cache_table = HF_TABLE(cache_options);

static void problem(const hf_config_report *report, const char *path, const char *option, const char *message)
{
    char text[512];

    snprintf(text, sizeof text, "%s.%s", path, option);
    report->problem(report, text, message);
}

void gateway_cache_check(const struct gateway_cache_options *options, const hf_config_report *report, const char *path)
{
    char message[HF_ERROR_MESSAGE_SIZE];

    if (options->object_maximum > options->memory / 4)
        problem(report, path, "object_maximum", "object_maximum: it is more than a quarter of memory");
    for (uint64_t i = 0; i < options->key.count; i++) {
        struct gateway_key key;
        hf_error error;

        if (gateway_key_parse(options->key.items[i], &key, &error) != HF_OK) {
            snprintf(message, sizeof message, "key: %.400s", error.message);
            problem(report, path, "key", message);
        } else if (key.of == GATEWAY_KEY_BODY || key.of == GATEWAY_KEY_POLICY) {
            snprintf(message, sizeof message, "key: '%s' is not known of a request that looks into a cache",
                     options->key.items[i]);
            problem(report, path, "key", message);
        }
    }
}

static int64_t seconds(uint64_t us)
{
    return (int64_t)((us + 999999) / 1000000);
}

static int32_t keep_or_create(const struct gateway_cache_options *options, const hf_host *host, uint64_t seed,
                              const struct gateway_plan_cache *before, uint32_t before_count,
                              struct gateway_cache **ret_cache, hf_error *error)
{
    for (uint32_t i = 0; i < before_count; i++) {
        struct gateway_cache *cache = before[i].cache;

        if (strcmp(cache->name, options->name) == 0 && cache->memory_maximum == options->memory &&
            cache->object_maximum == options->object_maximum) {
            gateway_cache_hold(cache);
            *ret_cache = cache;
            return HF_OK;
        }
    }
    *ret_cache = gateway_cache_create(options->name, options->memory, options->object_maximum, seed);
    return *ret_cache ? gateway_cache_add_metrics(*ret_cache, host, error)
                      : hf_error_set(error, HF_ENOMEM, "no memory for the cache '%s'", options->name);
}

static int32_t make_keys(const struct gateway_cache_options *options, hf_arena *arena, struct gateway_plan_cache *cache,
                         hf_error *error)
{
    cache->keys = hf_arena_alloc(arena, options->key.count * sizeof *cache->keys);
    if (!cache->keys)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");
    for (uint64_t i = 0; i < options->key.count; i++) {
        const char *text = hf_arena_strdup(arena, options->key.items[i]);
        int32_t code = text ? gateway_key_parse(text, &cache->keys[cache->key_count++], error)
                            : hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");

        if (code != HF_OK)
            return code;
    }
    return HF_OK;
}

int32_t gateway_caches_make(const hf_groups *groups, const hf_host *host, uint64_t seed, hf_arena *arena,
                            const struct gateway_plan_cache *before, uint32_t before_count,
                            struct gateway_plan_cache **ret_caches, uint32_t *ret_count, hf_error *error)
{
    const struct gateway_cache_options *options = groups->items;
    struct gateway_plan_cache *caches = hf_arena_alloc(arena, groups->count * sizeof *caches);
    int32_t code = HF_OK;

    if (!caches)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");
    *ret_caches = caches;
    for (uint64_t i = 0; i < groups->count && code == HF_OK; i++) {
        caches[i] = (struct gateway_plan_cache){
            .rules = {.object_maximum = options[i].object_maximum,
                      .default_ttl_s = seconds(options[i].default_ttl_us),
                      .stale_if_error_s = seconds(options[i].stale_if_error_us),
                      .stale_while_revalidate_s = seconds(options[i].stale_while_revalidate_us)},
            .wait_timeout_us = options[i].wait_timeout_us,
            .shows_result = options[i].status_field};
        code = keep_or_create(&options[i], host, seed, before, before_count, &caches[i].cache, error);
        *ret_count += caches[i].cache != NULL;
        if (code == HF_OK)
            code = make_keys(&options[i], arena, &caches[i], error);
    }
    return code;
}

void gateway_caches_release(struct gateway_plan_cache *caches, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        gateway_cache_release(caches[i].cache);
}
