/* balancer/probe: what service/probe chooses; says how many instances there are and what its options are. */
#include <holdfast/kind/balancer.h>
#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdio.h>

typedef struct picker_options {
    int64_t points;
    int64_t spare;
} picker_options;

typedef struct picker {
    const hf_host *host;
    const picker_options *options;
} picker;

static atomic_int alive;

static const hf_option rows[] = {
    HF_CONFIG_INTEGER("points", picker_options, points, .default_text = "1", .minimum = 1, .maximum = 100,
                      .doc = "What it says."),
    HF_CONFIG_INTEGER("spare", picker_options, spare, .doc = "Must be less than points."),
};

static void check(const void *configuration, const hf_config_report *report)
{
    const picker_options *options = configuration;

    if (options->spare >= options->points)
        report->problem(report, "spare", "the picker's 'spare' is too much, expected less than 'points'");
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    const picker_options *options = configuration;

    if (options->points == 99)
        return hf_error_set(error, HF_EINVAL, "99 points are refused");
    picker *self = host->alloc(host, sizeof *self);
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory");
    self->host = host;
    self->options = options;
    atomic_fetch_add(&alive, 1);
    *ret_self = self;
    return 0;
}

static void destroy(void *instance)
{
    picker *self = instance;

    if (!self)
        return;
    self->options = NULL; /* whoever calls it now crashes */
    atomic_fetch_sub(&alive, 1);
    self->host->free(self->host, self);
}

static void health(void *instance, hf_health *ret_health)
{
    picker *self = instance;

    snprintf(ret_health->reason, sizeof ret_health->reason, "%d alive, %lld points", atomic_load(&alive),
             (long long)self->options->points);
}

static int32_t config_prepare(void *instance, const void *configuration, hf_error *error)
{
    (void)instance, (void)configuration;
    return hf_error_set(error, HF_ESTATE, "one that was chosen is never given another configuration");
}

static void config_end(void *instance)
{
    (void)instance;
}

static int32_t pool_open(void *instance, const hf_balancer_setup *setup, hf_balancer_pool **ret_pool, hf_error *error)
{
    (void)instance, (void)setup, (void)ret_pool;
    return hf_error_set(error, HF_EUNSUPPORTED, "it picks nothing");
}

static void pool_close(hf_balancer_pool *pool)
{
    (void)pool;
}

static int32_t pick(hf_balancer_pool *pool, const hf_balancer_request *request, uint32_t *ret_server)
{
    (void)pool, (void)request, (void)ret_server;
    return HF_ENOTFOUND;
}

static const hf_balancer balancer = {
    .head = HF_HEAD(hf_balancer),
    .create = create,
    .destroy = destroy,
    .config_prepare = config_prepare,
    .config_commit = config_end,
    .config_abort = config_end,
    .health = health,
    .pool_open = pool_open,
    .pool_close = pool_close,
    .pick = pick,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "balancer",
    .name = "probe",
    .summary = "Helps to test the daemon.",
    .interface = {.balancer = &balancer},
    .options = HF_TABLE(rows),
    .configuration_size = sizeof(picker_options),
    .check = check,
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.balancer.probe",
    .version = "1.0.0",
    .summary = "Helps to test the daemon.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
