/* balancer/random: a usable server by chance, those of a higher weight more often.  What it draws from is in
 * lib/sampler.h. */
#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/sampler.h>

#include <stdlib.h>

struct hf_balancer_pool {
    hf_random random;
    hf_sampler *sampler;
};

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    const hf_host **self = malloc(sizeof(const hf_host *)); /* every pool is on its own */

    (void)configuration;
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for a balancer");
    *self = host;
    *ret_self = (void *)self;
    return HF_OK;
}

static void destroy(void *self)
{
    free(self);
}

static void pool_close(hf_balancer_pool *pool)
{
    hf_sampler_destroy(pool->sampler);
    free(pool);
}

static int32_t pool_open(void *self, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    hf_balancer_pool *pool = calloc(1, sizeof *pool);

    (void)self;
    if (pool)
        pool->sampler = hf_sampler_create(setup->server_count);
    if (!pool || !pool->sampler) {
        free(pool);
        return hf_error_set(error, HF_ENOMEM, "no memory for a pool of %u servers", setup->server_count);
    }
    hf_random_init(&pool->random, setup->random_seed);
    for (uint32_t i = 0; i < setup->server_count; i++)
        hf_sampler_weigh(pool->sampler, i, setup->servers[i].weight);
    *ret_pool = pool;
    return HF_OK;
}

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    uint32_t server = hf_sampler_draw(pool->sampler, &pool->random, request->usable);

    if (server == HF_SAMPLER_NONE)
        return HF_ENOTFOUND;
    *ret_server = server;
    return HF_OK;
}

static void weigh(hf_balancer_pool *pool, uint32_t server, uint32_t weight)
{
    hf_sampler_weigh(pool->sampler, server, weight);
}

static const hf_balancer balancer = {
    .head = HF_HEAD(hf_balancer),
    .create = create,
    .destroy = destroy,
    .pool_open = pool_open,
    .pool_close = pool_close,
    .pick = pick,
    .weigh = weigh,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "balancer",
    .name = "random",
    .summary = "A server by chance, by weight.",
    .interface = {.balancer = &balancer},
    .options = {NULL, sizeof(hf_option), 0},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.random",
    .version = "0.1.0",
    .summary = "Gives requests to servers by chance.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
