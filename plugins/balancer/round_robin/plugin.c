/* balancer/round_robin: servers in turn, those of a higher weight more often and evenly between the others.
 *
 * Smooth weighted round robin, as nginx does it: at every pick each usable server gains its weight, the one that has
 * most is picked and gives up what all of them gained.  With weights 5, 1 and 1 that is a a b a c a a, not a a a a a b
 * c. */
#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { HEAD_START_MAX = 64 };

struct place {
    int64_t gained;
    uint32_t weight;
};

struct hf_balancer_pool {
    uint32_t count;
    struct place places[];
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

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    struct place *best = NULL;
    int64_t all = 0;

    for (uint32_t i = 0; i < pool->count; i++) {
        struct place *place = &pool->places[i];

        if (request && !hf_balancer_is_usable(request, i))
            continue;
        place->gained += place->weight;
        all += place->weight;
        if (!best || place->gained > best->gained)
            best = place;
    }
    if (!best)
        return HF_ENOTFOUND;
    best->gained -= all;
    *ret_server = (uint32_t)(best - pool->places);
    return HF_OK;
}

static int32_t pool_open(void *self, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    hf_balancer_pool *pool = calloc(1, sizeof *pool + setup->server_count * sizeof pool->places[0]);
    uint32_t ignored;

    (void)self;
    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for a pool of %u servers", setup->server_count);
    pool->count = setup->server_count;
    for (uint32_t i = 0; i < pool->count; i++)
        pool->places[i].weight = setup->servers[i].weight;
    /* Pools of other loops and nodes begin elsewhere, so that the first server does not get the first request of all.
     */
    for (uint64_t picks = setup->random_seed % HEAD_START_MAX; picks > 0; picks--)
        (void)pick(pool, NULL, &ignored); /* all are usable */
    *ret_pool = pool;
    return HF_OK;
}

static void pool_close(hf_balancer_pool *pool)
{
    free(pool);
}

static void weigh(hf_balancer_pool *pool, uint32_t server, uint32_t weight)
{
    pool->places[server].weight = weight;
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
    .name = "round_robin",
    .summary = "Servers in turn, by weight.",
    .interface = {.balancer = &balancer},
    .options = {NULL, sizeof(hf_option), 0},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.round_robin",
    .version = "0.1.0",
    .summary = "Gives requests to servers in turn.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
