/* A balancer for test_check.c: good as it is, and bad in one way with each of the macros BAD_...
 *
 * Rendezvous hashing: of all servers the one whose hash with the key is highest; one of weight n has n draws. */
#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <stdlib.h>

enum { DRAWS_MAX = 16, BOUND = 2 /* times the average */ };

struct hf_balancer_pool {
    hf_random random;
    uint32_t count;
    uint32_t draws[HF_BALANCER_SERVERS_MAX];
    uint64_t names[HF_BALANCER_SERVERS_MAX];
};

struct instance {
    const hf_host *host;
};

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct instance *self = host->alloc(host, sizeof *self);

    (void)configuration;
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for an instance");
    self->host = host;
    *ret_self = self;
    return HF_OK;
}

static void destroy(void *arg)
{
    struct instance *self = arg;

    if (self)
        self->host->free(self->host, self);
}

static int32_t pool_open(void *self, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    hf_balancer_pool *pool = calloc(1, sizeof *pool);

    (void)self;
    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for a pool");
    hf_random_init(&pool->random, setup->random_seed);
    pool->count = setup->server_count;
    for (uint32_t i = 0; i < pool->count; i++) {
        const hf_balancer_server *server = &setup->servers[i];

        pool->draws[i] = server->weight < DRAWS_MAX ? server->weight : DRAWS_MAX;
        pool->names[i] = hf_hash64(1, server->name.data, server->name.size);
#ifdef BAD_ORDER
        pool->names[i] = hf_hash64(1, &i, sizeof i);
#endif
#ifdef BAD_WEIGHTS
        pool->draws[i] = 1;
#endif
#ifdef BAD_SPREAD
        pool->draws[i] += i == 0;
#endif
    }
    *ret_pool = pool;
    return HF_OK;
}

static void pool_close(hf_balancer_pool *pool)
{
    free(pool);
}

static int32_t is_usable(const hf_balancer_request *request, uint32_t place)
{
#ifdef BAD_USABLE
    if (place == 3)
        return 1;
#endif
    return request->usable[place / 64] >> place % 64 & 1;
}

static uint64_t bound(const hf_balancer_pool *pool, const hf_balancer_request *request)
{
    uint64_t all = 1, usable = 0;

    for (uint32_t i = 0; i < pool->count; i++)
        if (is_usable(request, i)) {
            all += request->in_flight[i];
            usable++;
        }
#ifdef BAD_BOUNDS
    return UINT64_MAX;
#endif
    return usable ? BOUND * all / usable + 1 : 0;
}

static uint64_t score(const hf_balancer_pool *pool, uint32_t place, uint64_t key)
{
    uint64_t best = 0;

#ifdef BAD_DISRUPTION /* modulo: nearly every key moves when the number changes */
    return place == key % pool->count ? UINT64_MAX : place + 1;
#endif
#ifdef BAD_AWAY /* the neighbour takes all */
    if (place == 1 && hf_hash64(key, &pool->names[0], 8) > UINT64_MAX / 10 * 9)
        return UINT64_MAX - 1;
    if (place == 0)
        return hf_hash64(key, &pool->names[0], 8) > UINT64_MAX / 10 * 9 ? UINT64_MAX : 1;
#endif
    for (uint64_t draw = 0; draw < pool->draws[place]; draw++) {
        uint64_t drawn = hf_hash64(key + draw, &pool->names[place], sizeof pool->names[place]);

        best = drawn > best ? drawn : best;
    }
    return best;
}

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    uint64_t most = bound(pool, request), best = 0, key = request->key;
    int32_t result = HF_ENOTFOUND;

    if (!request->has_key)
        key = hf_random_next(&pool->random);
#ifdef BAD_SEED
    static uint64_t calls;
    key += calls++ % 4999 == 0;
#endif
    for (uint32_t i = 0; i < pool->count; i++) {
        uint64_t here = is_usable(request, i) && request->in_flight[i] < most ? score(pool, i, key) : 0;

        if (here <= best)
            continue;
        best = here;
        *ret_server = i;
        result = HF_OK;
    }
    return result;
}

static const hf_balancer balancer = {
    .head = {sizeof(hf_balancer), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR, HF_BALANCER_KEYED | HF_BALANCER_BOUNDS_LOADS},
    .create = create,
    .destroy = destroy,
    .pool_open = pool_open,
    .pool_close = pool_close,
    .pick = pick,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "balancer",
    .name = "sample",
    .summary = "A balancer for the kit's own tests.",
    .interface = {.balancer = &balancer},
    .options = {NULL, sizeof(hf_option), 0},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.sample.balancer",
    .version = "1.0.0",
    .summary = "A balancer for the kit's own tests.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
