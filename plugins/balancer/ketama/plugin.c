/* balancer/ketama: requests with the same key get the same server, by consistent hashing with bounded loads.
 *
 * The bound is that of Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): a server
 * takes load_factor times its share of what is under way and no more; what is over goes to the next one on the ring. */
#include "ring.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#define LOAD_FACTOR_LEAST 1.05 /* the nearer it is to 1, the further requests walk for a server with room */
#define LOAD_FACTOR_MOST  10.0

struct options {
    int64_t points;
    double load_factor;
};

static const hf_option option_rows[] = {
    HF_CONFIG_INTEGER("points", struct options, points, .default_text = "160", .minimum = 1, .maximum = 1000,
                      .doc =
                          "Points on the ring for a server of average weight. More spread keys more evenly, and take "
                          "more memory."),
    HF_CONFIG_FLOAT("load_factor", struct options, load_factor, .default_text = "1.25", .minimum_float = 0.0,
                    .maximum_float = LOAD_FACTOR_MOST,
                    .doc =
                        "A server has at most this many times its share of the requests under way, at least 1.05; 0: "
                        "no bound."),
};

struct instance {
    const hf_host *host;
    const struct options *options;
};

struct hf_balancer_pool {
    const hf_host *host;
    double load_factor;
    hf_random random; /* stands for the keys that requests lack */
    struct ketama_ring ring;
    struct ketama_server servers[];
};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t check(const struct options *options, hf_error *error)
{
    double factor = options->load_factor;

    if (factor == 0 || (factor >= LOAD_FACTOR_LEAST && factor <= LOAD_FACTOR_MOST))
        return HF_OK;
    return hf_error_set(error, HF_EINVAL, "load_factor is %g; expected %g to %g, or 0 for no bound", factor,
                        LOAD_FACTOR_LEAST, LOAD_FACTOR_MOST);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    int32_t result = check(configuration, error);

    if (result != HF_OK)
        return result;
    struct instance *self = host->alloc(host, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for a balancer");
    self->host = host;
    self->options = configuration;
    *ret_self = self;
    return HF_OK;
}

static void destroy(void *arg)
{
    struct instance *self = arg;

    if (self)
        self->host->free(self->host, self);
}

static void pool_close(hf_balancer_pool *pool)
{
    if (!pool)
        return;
    pool->host->free(pool->host, pool->ring.points);
    pool->host->free(pool->host, pool->ring.spare);
    pool->host->free(pool->host, pool);
}

static hf_balancer_pool *pool_allocate(const hf_host *host, uint32_t server_count, uint64_t capacity)
{
    hf_balancer_pool *pool = host->alloc(host, sizeof *pool + server_count * sizeof pool->servers[0]);

    if (!pool)
        return NULL;
    pool->host = host;
    pool->ring.servers = pool->servers;
    pool->ring.points = host->alloc(host, capacity * sizeof *pool->ring.points);
    pool->ring.spare = host->alloc(host, capacity * sizeof *pool->ring.spare);
    if (pool->ring.points && pool->ring.spare)
        return pool;
    pool_close(pool);
    return NULL;
}

static int32_t pool_open(void *arg, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    const struct instance *self = arg;
    uint32_t count = setup->server_count, points = (uint32_t)self->options->points;

    if (count * points > KETAMA_POINTS_TOTAL_MAX)
        return hf_error_set(error, HF_EINVAL,
                            "%u servers with %u points each are %u points, at most %d can be had; "
                            "lower the option points to %d",
                            count, points, count * points, KETAMA_POINTS_TOTAL_MAX,
                            KETAMA_POINTS_TOTAL_MAX / (int)count);
    hf_balancer_pool *pool = pool_allocate(self->host, count, ketama_capacity(count, points));

    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for a ring of %u servers with %u points each", count, points);
    pool->load_factor = self->options->load_factor;
    hf_random_init(&pool->random, setup->random_seed);
    ketama_fill(&pool->ring, setup->servers, count, points);
    *ret_pool = pool;
    return HF_OK;
}

/* ---- Picking ----------------------------------------------------------------------------------------------------- */

/* What the bound is made of: requests under way at, and weights of, the usable servers. */
struct load {
    uint32_t is_known;
    uint64_t requests;
    uint64_t weights;
};

static void learn_load(const hf_balancer_pool *pool, const hf_balancer_request *request, struct load *load)
{
    *load = (struct load){.is_known = 1};
    for (uint32_t i = 0; i < pool->ring.server_count; i++)
        if (hf_balancer_is_usable(request, i)) {
            load->requests += hf_balancer_in_flight(request, i);
            load->weights += pool->servers[i].weight;
        }
}

/* Whether it may have one more: at most ceil(load_factor * (requests + 1) * weight / weights).  That is never less than
 * one, so an idle server needs no look at the others. */
static int has_room(const hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t server,
                    struct load *load)
{
    uint32_t own = hf_balancer_in_flight(request, server);

    if (pool->load_factor == 0 || own == 0)
        return 1;
    if (!load->is_known)
        learn_load(pool, request, load);
    return (double)own * (double)load->weights <
           pool->load_factor * (double)(load->requests + 1) * pool->servers[server].weight;
}

/* From the key's place on, the first usable server with room.  As the bounds add up to more than there is, one has room
 * unless numbers changed meanwhile; then the first usable one is as good. */
static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    const struct ketama_ring *ring = &pool->ring;
    uint32_t first = UINT32_MAX;
    struct load load = {0};

    if (!hf_balancer_has_usable(request, ring->server_count))
        return HF_ENOTFOUND;
    uint32_t at = ketama_find(ring, request->has_key ? request->key : hf_random_next(&pool->random));

    for (uint32_t i = 0; i < ring->point_count; i++) {
        uint32_t server = ring->points[at].server;

        at = at + 1 < ring->point_count ? at + 1 : 0;
        if (!hf_balancer_is_usable(request, server))
            continue;
        if (first == UINT32_MAX)
            first = server;
        if (has_room(pool, request, server, &load)) {
            *ret_server = server;
            return HF_OK;
        }
    }
    *ret_server = first;
    return HF_OK;
}

static void weigh(hf_balancer_pool *pool, uint32_t server, uint32_t weight)
{
    ketama_weigh(&pool->ring, server, weight);
}

/* ---- What it declares -------------------------------------------------------------------------------------------- */

static const hf_balancer balancer = {
    .head = {(uint32_t)sizeof(hf_balancer), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR,
             HF_BALANCER_KEYED | HF_BALANCER_BOUNDS_LOADS},
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
    .name = "ketama",
    .summary = "The same server for the same key, by consistent hashing with bounded loads.",
    .interface = {.balancer = &balancer},
    .options = HF_TABLE(option_rows),
    .configuration_size = sizeof(struct options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.ketama",
    .version = "0.1.0",
    .summary = "Gives requests to servers by key, on a ring, with bounded loads.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
