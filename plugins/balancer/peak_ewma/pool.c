#include "pool.h"

#include "latency.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/sampler.h>

#include <stdlib.h>
#include <string.h>

/* By which part `typical_us` moves with each answer. */
static const double TYPICAL_STEP = 0.05;

struct name {
    uint64_t hash;
    uint32_t server;
};

struct hf_balancer_pool {
    uint32_t choices;
    uint32_t count;
    struct latency_rules rules;
    double typical_us; /* 0: nothing was heard yet */
    hf_random random;
    hf_sampler *sampler;
    struct name *names;                          /* sorted */
    uint64_t left[HF_BALANCER_SERVERS_MAX / 64]; /* what the pick under way may still draw */
    struct latency servers[];
};

/* ---- Picking ----------------------------------------------------------------------------------------------------- */

/* What a request is expected to wait for, and to cost the others: the latency for each request under way and for this
 * one, as in Finagle.  With weights, a request under way is the smaller a part of what the server can do the greater
 * its weight; this request counts as it would at a server of average weight, so that idle servers are told apart by
 * their latency alone, and their weights, by which they are drawn, do not count twice. */
static double cost(const hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t server)
{
    double latency_us = latency_expected(&pool->servers[server], &pool->rules, pool->typical_us, request->now_us);
    double under_way = hf_balancer_in_flight(request, server);

    return latency_us * (under_way / hf_sampler_weight(pool->sampler, server) +
                         pool->count / (double)hf_sampler_total(pool->sampler));
}

/* The cheapest of some that are drawn by weight, each once; of equals the one drawn first. */
int32_t pool_pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    uint32_t best = HF_SAMPLER_NONE;
    double best_cost = 0;

    memcpy(pool->left, request->usable, (pool->count + 63) / 64 * sizeof pool->left[0]);
    for (uint32_t i = 0; i < pool->choices; i++) {
        uint32_t server = hf_sampler_draw(pool->sampler, &pool->random, pool->left);

        if (server == HF_SAMPLER_NONE)
            break;
        pool->left[server / 64] &= ~(UINT64_C(1) << server % 64);
        double server_cost = cost(pool, request, server);

        if (best == HF_SAMPLER_NONE || server_cost < best_cost) {
            best = server;
            best_cost = server_cost;
        }
    }
    *ret_server = best;
    return best == HF_SAMPLER_NONE ? HF_ENOTFOUND : HF_OK;
}

/* ---- Learning ---------------------------------------------------------------------------------------------------- */

/* The median of what servers are taken for, each as often as it is heard: a step towards every value, as in Q. Ma, S.
 * Muthukrishnan and M. Sandler, "Frugal streaming for estimating quantiles" (2013), here in proportion.  An answer
 * after a minute moves it no more than one that was a little slow. */
static void learn_typical(hf_balancer_pool *pool, double peak_us)
{
    if (pool->typical_us == 0)
        pool->typical_us = peak_us;
    else if (peak_us > pool->typical_us)
        pool->typical_us *= 1 + TYPICAL_STEP;
    else if (peak_us < pool->typical_us)
        pool->typical_us /= 1 + TYPICAL_STEP;
}

void pool_ended(hf_balancer_pool *pool, uint32_t server, const hf_balancer_result *result)
{
    struct latency *latency = &pool->servers[server];

    latency_heard(latency, &pool->rules, result->latency_us, result->failed, result->now_us);
    learn_typical(pool, latency->peak_us);
}

void pool_weigh(hf_balancer_pool *pool, uint32_t server, uint32_t weight)
{
    hf_sampler_weigh(pool->sampler, server, weight);
}

static int compare_names(const void *a, const void *b)
{
    const struct name *left = a, *right = b;

    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

/* Both lists of names are sorted. */
void pool_follow(hf_balancer_pool *pool, const hf_balancer_pool *before)
{
    pool->typical_us = before->typical_us;
    for (uint32_t i = 0, k = 0; i < pool->count && k < before->count;) {
        int order = compare_names(&pool->names[i], &before->names[k]);

        if (order == 0)
            pool->servers[pool->names[i].server] = before->servers[before->names[k].server];
        i += order <= 0;
        k += order >= 0;
    }
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void add_servers(hf_balancer_pool *pool, const hf_balancer_setup *setup)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        const hf_slice *name = &setup->servers[i].name;

        pool->names[i] = (struct name){hf_hash64(0, name->data, name->size), i};
        hf_sampler_weigh(pool->sampler, i, setup->servers[i].weight);
    }
    qsort(pool->names, pool->count, sizeof pool->names[0], compare_names);
}

void pool_close(hf_balancer_pool *pool)
{
    hf_sampler_destroy(pool->sampler);
    free(pool->names);
    free(pool);
}

static hf_balancer_pool *allocate(uint32_t count)
{
    hf_balancer_pool *pool = calloc(1, sizeof *pool + count * sizeof pool->servers[0]);

    if (!pool)
        return NULL;
    pool->sampler = hf_sampler_create(count);
    pool->names = calloc(count, sizeof pool->names[0]);
    if (pool->sampler && pool->names)
        return pool;
    pool_close(pool);
    return NULL;
}

int32_t pool_open(const struct pool_options *options, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool,
                  hf_error *error)
{
    if (setup->server_count > HF_BALANCER_SERVERS_MAX)
        return hf_error_set(error, HF_EINVAL, "a pool of %u servers, expected at most %d", setup->server_count,
                            HF_BALANCER_SERVERS_MAX);
    hf_balancer_pool *pool = allocate(setup->server_count);

    if (!pool)
        return hf_error_set(error, HF_ENOMEM, "no memory for a pool of %u servers", setup->server_count);
    pool->count = setup->server_count;
    pool->choices = (uint32_t)options->choices;
    pool->rules = (struct latency_rules){(double)options->decay_us, (double)options->failure_latency_us};
    hf_random_init(&pool->random, setup->random_seed);
    add_servers(pool, setup);
    *ret_pool = pool;
    return HF_OK;
}
