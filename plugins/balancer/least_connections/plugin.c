/* balancer/least_connections: the server with the fewest requests under way in proportion to its weight.
 *
 * As nginx does it (ngx_http_upstream_least_conn_module): loads are compared crosswise, a's requests times b's weight
 * with b's times a's, and among those that have the least, the turn goes round by smooth weighted round robin: each of
 * them gains its weight, the one that has most is picked and gives up what all of them gained.  With nothing under way
 * the shares follow the weights. */
#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>

#include <stdlib.h>

enum { HEAD_START_MAX = 64 };

struct place {
    int64_t gained;
    uint32_t weight;
    uint32_t in_flight; /* as the pick under way saw it */
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

/* Below 0: a has less under way than b, in proportion; 0: as much. */
static int compare(const struct place *a, const struct place *b)
{
    uint64_t load_a = (uint64_t)a->in_flight * b->weight, load_b = (uint64_t)b->in_flight * a->weight;

    return load_a < load_b ? -1 : load_a > load_b;
}

/* One of those with the least; other loops count at the same time, so every number is read once. */
static const struct place *find_least(hf_balancer_pool *pool, const hf_balancer_request *request)
{
    const struct place *least = NULL;

    for (uint32_t i = 0; i < pool->count; i++) {
        struct place *place = &pool->places[i];

        if (!hf_balancer_is_usable(request, i))
            continue;
        place->in_flight = hf_balancer_in_flight(request, i);
        if (!least || compare(place, least) < 0)
            least = place;
    }
    return least;
}

/* Whose turn it is among those with as much under way as `least`.  `request` NULL: all are usable. */
static uint32_t take_turn(hf_balancer_pool *pool, const hf_balancer_request *request, const struct place *least)
{
    struct place *next = NULL;
    int64_t all = 0;

    for (uint32_t i = 0; i < pool->count; i++) {
        struct place *place = &pool->places[i];

        if ((request && !hf_balancer_is_usable(request, i)) || compare(place, least) != 0)
            continue;
        place->gained += place->weight;
        all += place->weight;
        if (!next || place->gained > next->gained)
            next = place;
    }
    next->gained -= all;
    return (uint32_t)(next - pool->places);
}

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    const struct place *least = find_least(pool, request);

    if (!least)
        return HF_ENOTFOUND;
    *ret_server = take_turn(pool, request, least);
    return HF_OK;
}

static int32_t pool_open(void *self, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    hf_balancer_pool *pool = calloc(1, sizeof *pool + setup->server_count * sizeof pool->places[0]);

    (void)self;
    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for a pool of %u servers", setup->server_count);
    pool->count = setup->server_count;
    for (uint32_t i = 0; i < pool->count; i++)
        pool->places[i].weight = setup->servers[i].weight;
    /* Pools of other loops and nodes begin elsewhere, so that not all of them take the same idle server. */
    for (uint64_t turns = setup->random_seed % HEAD_START_MAX; turns > 0; turns--)
        (void)take_turn(pool, NULL, &pool->places[0]); /* nothing is under way yet */
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
    .name = "least_connections",
    .summary = "The server with the fewest requests under way, by weight.",
    .interface = {.balancer = &balancer},
    .options = {NULL, sizeof(hf_option), 0},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.least_connections",
    .version = "0.1.0",
    .summary = "Gives requests to the servers that have the fewest under way.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
