/* pool.h: the servers of a pool, and which of a few drawn ones gets a request.  As kind/balancer.h has it. */
#ifndef PEAK_EWMA_POOL_H
#define PEAK_EWMA_POOL_H

#include <holdfast/kind/balancer.h>

struct pool_options {
    int64_t choices;
    uint64_t decay_us, failure_latency_us;
};

int32_t pool_open(const struct pool_options *options, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool,
                  hf_error *error);
void pool_close(hf_balancer_pool *pool);
int32_t pool_pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server);
void pool_ended(hf_balancer_pool *pool, uint32_t server, const hf_balancer_result *result);
void pool_weigh(hf_balancer_pool *pool, uint32_t server, uint32_t weight);
void pool_follow(hf_balancer_pool *pool, const hf_balancer_pool *before);

#endif
