/* A detector for test_check.c: good as it is, and bad in one way with each of the macros BAD_... */
#include <holdfast/host/loop.h>
#include <holdfast/host/node.h>
#include <holdfast/host/signal.h>
#include <holdfast/kind/detector.h>
#include <holdfast/lib/error.h>

#include <sys/statvfs.h>
#include <time.h>

enum { INTERVAL_US = 1000000, LOW_PERCENT = 10 };

struct detector {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_signal_interface *signals;
    hf_timer *timer;
    int32_t low;
    uint32_t samples;
    void *grown;
};

static const hf_signal_kind low = {sizeof low, HF_SIGNAL_WARNING, "sample.low", "Little space is left."};

/* Whether space is low; -1: nobody knows. */
static int32_t look(void)
{
    struct statvfs status;

    if (statvfs("/", &status) != 0)
        return -1;
#ifdef BAD_SAMPLES
    return (int64_t)status.f_bavail * 100 < LOW_PERCENT * (int64_t)status.f_blocks + 1;
#else
    if (status.f_blocks == 0 || status.f_bavail > status.f_blocks)
        return -1;
    return (uint64_t)status.f_bavail * 100 < LOW_PERCENT * (uint64_t)status.f_blocks;
#endif
}

static void tick(void *arg)
{
    struct detector *self = arg;
    int32_t now = look();

    self->samples++;
#ifdef BAD_GROWS
    self->host->alloc(self->host, 10);
#endif
#ifdef BAD_CLOCK /* a clock of its own, with a period that the host does not know */
    struct timespec real;
    clock_gettime(CLOCK_MONOTONIC, &real);
    if (real.tv_nsec / 8 % 8)
        return;
#endif
#ifdef BAD_FLAPS
    if (self->samples % 7 == 0 && self->low) {
        self->signals->clear(self->host, low.name, "/");
        self->low = 0;
        return;
    }
#endif
    if (now < 0 || now == self->low)
        return;
    self->low = now;
    if (now)
        self->signals->raise(self->host, low.name, "/", NULL);
    else
        self->signals->clear(self->host, low.name, "/");
}

static void destroy(void *arg)
{
    struct detector *self = arg;

    if (self)
        self->host->free(self->host, self);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct detector *self = host->alloc(host, sizeof *self);
    int32_t result = HF_OK;

    (void)configuration;
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the detector");
    self->host = host;
    self->loops = (const hf_loop_interface *)host->query(host, HF_LOOP_INTERFACE);
    self->signals = (const hf_signal_interface *)host->query(host, HF_SIGNAL_INTERFACE);
    if (!self->loops || !self->signals)
        result = hf_error_set(error, HF_EUNSUPPORTED, "the host offers no loops or no signals");
#ifndef BAD_UNDECLARED
    else
        result = self->signals->declare(host, &low, error);
#endif
    if (result) {
        destroy(self);
        return result;
    }
    *ret_self = self;
    return HF_OK;
}

static int32_t start(void *arg, hf_error *error)
{
    struct detector *self = arg;
    int32_t result = self->loops->timer_create(self->loops->main_loop(self->host), tick, self, &self->timer, error);

    if (!result)
        self->loops->timer_start(self->timer, 1, INTERVAL_US);
    return result;
}

static void stop(void *arg)
{
    struct detector *self = arg;

    self->loops->timer_destroy(self->timer);
    self->timer = NULL;
}

static const hf_detector detector = {
    .head = HF_HEAD(hf_detector),
    .create = create,
    .destroy = destroy,
    .start = start,
    .stop = stop,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "detector",
    .name = "sample",
    .summary = "For the tests of the kit.",
    .interface = {.detector = &detector},
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.example.detector.sample",
    .version = "1.0.0",
    .summary = "For the tests of the kit.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
