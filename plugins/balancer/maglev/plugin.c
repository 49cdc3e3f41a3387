/* balancer/maglev: requests with the same key get the same server, by one look into a table (Eisenbud et al., "Maglev",
 * NSDI 2016). */
#include "table.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <inttypes.h>

/* Entries that are tried by chance before the table is gone through: with a tenth of the servers usable, one request in
 * a thousand is left. */
enum { PROBES = 64 };

struct options {
    int64_t table_size;
};

static const hf_option option_rows[] = {
    HF_CONFIG_INTEGER("table_size", struct options, table_size, .default_text = "65537", .minimum = MAGLEV_SIZE_LEAST,
                      .maximum = MAGLEV_SIZE_MOST,
                      .doc =
                          "Entries of the table, a prime number. A hundred times the number of servers or more keeps "
                          "their shares even."),
};

struct instance {
    const hf_host *host;
    uint32_t table_size;
};

struct hf_balancer_pool {
    const hf_host *host;
    hf_random random; /* stands for the keys that requests lack */
    uint32_t server_count;
    uint32_t size;
    uint16_t table[]; /* servers */
};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t check(int64_t size, hf_error *error)
{
    int64_t below = size, above = size;

    if (maglev_is_prime(size))
        return HF_OK;
    while (!maglev_is_prime(below))
        below--;
    while (!maglev_is_prime(above))
        above++;
    return hf_error_set(error, HF_EINVAL,
                        "table_size is %" PRId64 ", which is not prime; the nearest that are: %" PRId64 " and %" PRId64,
                        size, below, above);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    const struct options *options = configuration;
    int32_t result = check(options->table_size, error);

    if (result != HF_OK)
        return result;
    struct instance *self = host->alloc(host, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for a balancer");
    self->host = host;
    self->table_size = (uint32_t)options->table_size;
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
    if (pool)
        pool->host->free(pool->host, pool);
}

static int32_t pool_open(void *arg, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    const struct instance *self = arg;
    const hf_host *host = self->host;
    uint32_t count = setup->server_count;

    if (count > self->table_size)
        return hf_error_set(error, HF_EINVAL,
                            "%u servers do not fit into a table of %u entries; raise table_size, best to a hundred "
                            "times as many",
                            count, self->table_size);
    hf_balancer_pool *pool = host->alloc(host, sizeof *pool + self->table_size * sizeof pool->table[0]);
    struct maglev_contender *contenders = host->alloc(host, count * sizeof *contenders);

    if (!pool || !contenders) {
        host->free(host, contenders);
        host->free(host, pool);
        return hf_error_set(error, HF_ENOMEM, "no memory for a table of %u entries", self->table_size);
    }
    pool->host = host;
    pool->server_count = count;
    pool->size = self->table_size;
    hf_random_init(&pool->random, setup->random_seed);
    maglev_fill(pool->table, pool->size, setup->servers, count, contenders);
    host->free(host, contenders);
    *ret_pool = pool;
    return HF_OK;
}

/* ---- Picking ----------------------------------------------------------------------------------------------------- */

/* Another server for a key whose own is not usable.  Entries that the key itself begins a sequence of are tried, so
 * that one server's keys go to all others by their weights, and no other key moves; then those behind the last one. */
static uint32_t find_other(const hf_balancer_pool *pool, const hf_balancer_request *request, uint64_t key)
{
    uint32_t entry = 0;
    hf_random sequence;

    hf_random_init(&sequence, key);
    for (uint32_t i = 0; i < PROBES; i++) {
        entry = (uint32_t)(hf_random_next(&sequence) % pool->size);
        if (hf_balancer_is_usable(request, pool->table[entry]))
            return pool->table[entry];
    }
    while (!hf_balancer_is_usable(request, pool->table[entry])) /* every server has an entry, and one is usable */
        entry = entry + 1 < pool->size ? entry + 1 : 0;
    return pool->table[entry];
}

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    uint64_t key = request->has_key ? request->key : hf_random_next(&pool->random);
    uint32_t server = pool->table[key % pool->size];

    if (!hf_balancer_is_usable(request, server)) {
        if (!hf_balancer_has_usable(request, pool->server_count))
            return HF_ENOTFOUND;
        server = find_other(pool, request, key);
    }
    *ret_server = server;
    return HF_OK;
}

/* ---- What it declares -------------------------------------------------------------------------------------------- */

static const hf_balancer balancer = {
    .head = {(uint32_t)sizeof(hf_balancer), HF_INTERFACE_MAJOR, HF_INTERFACE_MINOR, HF_BALANCER_KEYED},
    .create = create,
    .destroy = destroy,
    .pool_open = pool_open,
    .pool_close = pool_close,
    .pick = pick,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "balancer",
    .name = "maglev",
    .summary = "The same server for the same key, by one look into a table.",
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
    .id = "org.holdfast.balancer.maglev",
    .version = "0.1.0",
    .summary = "Gives requests to servers by key, from a table.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
