/* detector/threshold: raises a signal when a file system runs out of space. */
#include "watch.h"

#include <holdfast/host/loop.h>
#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/host/signal.h>
#include <holdfast/kind/detector.h>
#include <holdfast/lib/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

enum { PATHS_MAX = 16 };

struct options {
    hf_strings paths;
    double low;
    double critical;
    double clear;
    int64_t samples;
    uint64_t interval_us;
};

static const hf_option option_rows[] = {
    HF_CONFIG_STRINGS("paths", struct options, paths,
                      .doc = "Folders whose file systems are watched. None: this node's state directory."),
    HF_CONFIG_FLOAT("low", struct options, low, .default_text = "10.0", .minimum_float = 0.1, .maximum_float = 99.0,
                    .flags = HF_OPTION_RELOADABLE, .doc = "Percent free below which disk.low is raised."),
    HF_CONFIG_FLOAT("critical", struct options, critical, .default_text = "5.0", .minimum_float = 0.1,
                    .maximum_float = 99.0, .flags = HF_OPTION_RELOADABLE,
                    .doc = "Percent free below which disk.critical is raised."),
    HF_CONFIG_FLOAT("clear", struct options, clear, .default_text = "12.0", .minimum_float = 0.1,
                    .maximum_float = 100.0, .flags = HF_OPTION_RELOADABLE,
                    .doc = "Percent free above which it is over."),
    HF_CONFIG_INTEGER("samples", struct options, samples, .default_text = "3", .minimum = 1, .maximum = 100,
                      .flags = HF_OPTION_RELOADABLE, .doc = "Samples in a row before anything changes."),
    HF_CONFIG_DURATION("interval", struct options, interval_us, .default_text = "10s", .minimum = 100000,
                       .maximum = INT64_C(3600) * 1000000, .flags = HF_OPTION_RELOADABLE,
                       .doc = "Time between samples."),
};

struct place {
    const char *path;
    struct threshold_watch watch;
    double free_percent; /* by the last sample; below 0: it failed */
    uint64_t free_bytes;
    int32_t failed; /* said so already */
    hf_metric *free_ratio;
};

struct threshold {
    hf_job job; /* the sample under way */
    const hf_host *host;
    const struct options *options, *prepared;
    const hf_loop_interface *loops;
    const hf_signal_interface *signals;
    const hf_metrics_interface *metrics;
    hf_timer *timer;
    int32_t sampling;
    int32_t stopped;
    uint32_t count;
    struct place places[PATHS_MAX];
};

static const hf_signal_kind low = {
    sizeof low,
    HF_SIGNAL_WARNING,
    "disk.low",
    "A file system has little space left. detail: path, free_percent, free_bytes.",
};
static const hf_signal_kind critical = {
    sizeof critical,
    HF_SIGNAL_CRITICAL,
    "disk.critical",
    "A file system has almost no space left. detail: path, free_percent, free_bytes.",
};

/* ---- Sampling ---------------------------------------------------------------------------------------------------- */

/* [pool] */
static void sample(hf_job *job)
{
    struct threshold *self = (struct threshold *)(void *)job;

    for (uint32_t i = 0; i < self->count; i++) {
        struct place *place = &self->places[i];
        struct statvfs status;

        place->free_percent = -1;
        if (statvfs(place->path, &status) != 0 || status.f_blocks == 0)
            continue;
        place->free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
        place->free_percent = (double)status.f_bavail * 100 / (double)status.f_blocks;
    }
}

static void raise_signal(struct threshold *self, const struct place *place, const char *name)
{
    const hf_value_member members[] = {
        {hf_slice_of("path"), hf_value_text(place->path)},
        {hf_slice_of("free_percent"), hf_value_float(place->free_percent)},
        {hf_slice_of("free_bytes"), hf_value_integer((int64_t)place->free_bytes)},
    };
    hf_value detail = hf_value_map(members, 3);

    self->signals->raise(self->host, name, place->path, &detail);
}

static void judge(struct threshold *self, struct place *place)
{
    const struct options *options = self->options;
    struct threshold_limits limits = {options->low, options->critical, options->clear, (uint32_t)options->samples};
    int32_t before = place->watch.state;

    if (place->free_percent < 0) {
        char text[300];
        if (!place->failed)
            snprintf(text, sizeof text, "the file system of '%.200s' cannot be looked at", place->path);
        if (!place->failed)
            self->host->log(self->host, HF_LOG_WARNING, (hf_slice){(const uint8_t *)text, strlen(text)});
        place->failed = 1;
        return;
    }
    place->failed = 0;
    self->metrics->set(place->free_ratio, place->free_percent / 100);
    if (!threshold_sample(&place->watch, &limits, place->free_percent))
        return;
    if (before == THRESHOLD_LOW)
        self->signals->clear(self->host, low.name, place->path);
    if (before == THRESHOLD_CRITICAL)
        self->signals->clear(self->host, critical.name, place->path);
    if (place->watch.state == THRESHOLD_LOW)
        raise_signal(self, place, low.name);
    if (place->watch.state == THRESHOLD_CRITICAL)
        raise_signal(self, place, critical.name);
}

static void sampled(hf_job *job)
{
    struct threshold *self = (struct threshold *)(void *)job;

    self->sampling = 0;
    if (self->stopped)
        return;
    for (uint32_t i = 0; i < self->count; i++)
        judge(self, &self->places[i]);
}

static void tick(void *arg)
{
    struct threshold *self = arg;

    if (self->sampling)
        return;
    self->job.loop = self->loops->main_loop(self->host);
    self->job.work = sample;
    self->job.done = sampled;
    self->sampling = self->loops->submit(self->host, &self->job, NULL) == HF_OK; /* else the next tick tries again */
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t check(const struct options *options, hf_error *error)
{
    if (options->critical < options->low && options->low <= options->clear)
        return HF_OK;
    return hf_error_set(error, HF_EINVAL, "critical is %g, low %g and clear %g; expected critical < low <= clear",
                        options->critical, options->low, options->clear);
}

static int32_t add_place(struct threshold *self, const char *path, hf_error *error)
{
    const char *const label[1][2] = {{"path", path}};
    struct place *place = &self->places[self->count];

    if (self->count == PATHS_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d paths", PATHS_MAX);
    *place = (struct place){.path = path};
    self->count++;
    return self->metrics->add(self->host, HF_METRIC_GAUGE, "holdfast_disk_free_ratio",
                              "Free part of a file system, 0 to 1", label, 1, &place->free_ratio, error);
}

static int32_t add_places(struct threshold *self, hf_error *error)
{
    const hf_node_interface *node = (const hf_node_interface *)self->host->query(self->host, HF_NODE_INTERFACE);
    int32_t result = HF_OK;

    if (self->options->paths.count == 0 && !node)
        return hf_error_set(error, HF_EUNSUPPORTED,
                            "the host says nothing of a state directory; name the folders to watch in 'paths'");
    for (uint64_t i = 0; i < self->options->paths.count && result == HF_OK; i++)
        result = add_place(self, self->options->paths.items[i], error);
    if (self->options->paths.count == 0) {
        const char *own = node->state_directory(self->host, error);
        result = own ? add_place(self, own, error) : HF_EIO;
    }
    return result;
}

static int32_t prepare(struct threshold *self, hf_error *error)
{
    int32_t result = check(self->options, error);

    self->loops = (const hf_loop_interface *)self->host->query(self->host, HF_LOOP_INTERFACE);
    self->signals = (const hf_signal_interface *)self->host->query(self->host, HF_SIGNAL_INTERFACE);
    self->metrics = (const hf_metrics_interface *)self->host->query(self->host, HF_METRICS_INTERFACE);
    if (result == HF_OK && (!self->loops || !self->signals || !self->metrics))
        result = hf_error_set(error, HF_EUNSUPPORTED, "the host offers no loops, signals or metrics");
    if (result == HF_OK)
        result = add_places(self, error);
    if (result == HF_OK)
        result = self->signals->declare(self->host, &low, error);
    if (result == HF_OK)
        result = self->signals->declare(self->host, &critical, error);
    return result;
}

static void destroy(void *arg)
{
    struct threshold *self = arg;

    if (self)
        self->host->free(self->host, self);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct threshold *self = host->alloc(host, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the detector");
    self->host = host;
    self->options = configuration;
    int32_t result = prepare(self, error);
    if (result != HF_OK) {
        destroy(self);
        return result;
    }
    *ret_self = self;
    return HF_OK;
}

static int32_t start(void *arg, hf_error *error)
{
    struct threshold *self = arg;
    int32_t result = self->loops->timer_create(self->loops->main_loop(self->host), tick, self, &self->timer, error);

    if (result == HF_OK)
        self->loops->timer_start(self->timer, 1, self->options->interval_us);
    return result;
}

static void stop(void *arg)
{
    struct threshold *self = arg;

    self->stopped = 1;
    if (self->timer)
        self->loops->timer_destroy(self->timer);
    self->timer = NULL;
}

static void drain(void *arg, uint64_t deadline_us, void (*done)(void *arg), void *done_arg)
{
    (void)deadline_us;
    stop(arg);
    done(done_arg);
}

static int32_t config_prepare(void *arg, const void *configuration, hf_error *error)
{
    struct threshold *self = arg;

    self->prepared = configuration;
    return check(configuration, error);
}

static void config_commit(void *arg)
{
    struct threshold *self = arg;

    self->options = self->prepared;
    if (self->timer)
        self->loops->timer_start(self->timer, self->options->interval_us, self->options->interval_us);
}

static void config_abort(void *arg)
{
    (void)arg;
}

static const hf_detector detector = {
    .head = HF_HEAD(hf_detector),
    .create = create,
    .destroy = destroy,
    .config_prepare = config_prepare,
    .config_commit = config_commit,
    .config_abort = config_abort,
    .start = start,
    .drain = drain,
    .stop = stop,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "detector",
    .name = "threshold",
    .summary = "Raises a signal when a file system runs out of space.",
    .interface = {.detector = &detector},
    .options = HF_TABLE(option_rows),
    .configuration_size = sizeof(struct options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.holdfast.detector.threshold",
    .version = "0.1.0",
    .summary = "Watches free disk space.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
