/* balancer/peak_ewma: of two servers drawn by chance the one with the lower cost: latency times requests under way.
 *
 * Two draws are enough to keep the most loaded server's load small (M. Mitzenmacher, "The power of two choices in
 * randomized load balancing", IEEE Trans. Parallel Distrib. Syst. 12(10), 2001), and unlike the best of all they do not
 * send every loop and node to the same server.  The latency is a moving average that follows peaks at once and forgets
 * them slowly, as in Finagle and linkerd ("Beyond round robin: load balancing for latency", Buoyant, 2016). */
#include "pool.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

static const hf_option option_rows[] = {
    HF_CONFIG_INTEGER("choices", struct pool_options, choices, .default_text = "2", .minimum = 2, .maximum = 10,
                      .doc = "Servers that are drawn by chance, of which the cheapest gets the request."),
    HF_CONFIG_DURATION("decay", struct pool_options, decay_us, .default_text = "10s", .minimum = 100000,
                       .maximum = INT64_C(600) * 1000000,
                       .doc = "Time in which a slow answer fades to 37 percent: a server that was slow is tried "
                              "again after a few times that."),
    HF_CONFIG_DURATION(
        "failure_latency", struct pool_options, failure_latency_us, .default_text = "1s", .minimum = 1000,
        .maximum = INT64_C(60) * 1000000,
        .doc = "What a failure counts for: an answer after this time, or after its own when that is longer."),
};

struct peak_ewma {
    const hf_host *host;
    const struct pool_options *options;
};

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct peak_ewma *self = malloc(sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for a balancer");
    *self = (struct peak_ewma){host, configuration};
    *ret_self = self;
    return HF_OK;
}

static void destroy(void *self)
{
    free(self);
}

static int32_t open_pool(void *arg, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    const struct peak_ewma *self = arg;

    return pool_open(self->options, setup, ret_pool, error);
}

static const hf_balancer balancer = {
    .head = HF_HEAD(hf_balancer),
    .create = create,
    .destroy = destroy,
    .pool_open = open_pool,
    .pool_close = pool_close,
    .pick = pool_pick,
    .ended = pool_ended,
    .weigh = pool_weigh,
    .follow = pool_follow,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "balancer",
    .name = "peak_ewma",
    .summary = "The better of two servers, by latency and requests under way.",
    .interface = {.balancer = &balancer},
    .options = HF_TABLE(option_rows),
    .configuration_size = sizeof(struct pool_options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.peak_ewma",
    .version = "0.1.0",
    .summary = "Gives requests to servers that answer fast.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
