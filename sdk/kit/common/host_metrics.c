/* hf.metrics/1: series that nobody reads, with the rules of the real ones. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_SIZE = 1024, LABELS_MAX = 8 };

struct hf_metric {
    hf_metric *next;
    hf_kit_host *kit;
    uint32_t references; /* adds without a remove */
    int32_t type;
    uint64_t bound_count;
    double bounds[HF_METRIC_BOUNDS_MAX];
    char name[128];
    char series[SERIES_SIZE]; /* the name and its labels */
};

static int32_t name_is_valid(const char *name)
{
    size_t size = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;

    return size > 0 && size < 128 && !name[size] && !(name[0] >= '0' && name[0] <= '9');
}

static int32_t write_series(char *series, const char *name, const char *const (*labels)[2], uint64_t count)
{
    size_t used = (size_t)snprintf(series, SERIES_SIZE, "%s", name);

    for (uint64_t i = 0; i < count && used < SERIES_SIZE; i++) {
        if (!name_is_valid(labels[i][0]) || !labels[i][1])
            return 0;
        used += (size_t)snprintf(series + used, SERIES_SIZE - used, "\x01%s\x01%s", labels[i][0], labels[i][1]);
    }
    return used < SERIES_SIZE;
}

static void check_family(const hf_metric *known, const hf_metric *wanted)
{
    if (strcmp(known->name, wanted->name) != 0)
        return;
    if (known->type != wanted->type)
        hf_kit_fail("the metric '%s' was added with two types", known->name);
    if (known->bound_count != wanted->bound_count ||
        memcmp(known->bounds, wanted->bounds, known->bound_count * sizeof known->bounds[0]) != 0)
        hf_kit_fail("the histogram '%s' was added with two sets of bounds", known->name);
}

/* Finds or keeps a copy of what is wanted. */
static int32_t keep(hf_kit_host *kit, const hf_metric *wanted, hf_metric **ret_metric, hf_error *error)
{
    uint32_t count = 0;

    pthread_mutex_lock(&kit->lock);
    hf_metric *found = kit->metrics;
    for (; found && strcmp(found->series, wanted->series) != 0; found = found->next) {
        count++;
        check_family(found, wanted);
    }
    if (found) {
        check_family(found, wanted);
    } else if (count < KIT_METRICS_MAX) {
        found = kit_allocate(sizeof *found);
        *found = *wanted;
        found->kit = kit;
        found->next = kit->metrics;
        kit->metrics = found;
    }
    if (found)
        found->references++;
    pthread_mutex_unlock(&kit->lock);
    if (!found)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d series", KIT_METRICS_MAX);
    *ret_metric = found;
    return HF_OK;
}

static void describe(hf_metric *wanted, const char *name, const char *help, const char *const (*labels)[2],
                     uint64_t label_count)
{
    if (!name_is_valid(name) || !help || !*help || label_count > LABELS_MAX ||
        !write_series(wanted->series, name, labels, label_count))
        hf_kit_fail("the metric '%s' has a wrong name, help or label", name ? name : "(null)");
    snprintf(wanted->name, sizeof wanted->name, "%s", name);
}

static int32_t add(const hf_host *host, int32_t type, const char *name, const char *help,
                   const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    hf_metric wanted = {.type = type};

    describe(&wanted, name, help, labels, label_count);
    if (type != HF_METRIC_COUNTER && type != HF_METRIC_GAUGE)
        hf_kit_fail("the metric '%s' was added as something else than a counter or a gauge", name);
    return keep(kit_of(host), &wanted, ret_metric, error);
}

static int32_t add_histogram(const hf_host *host, const char *name, const char *help, const char *const (*labels)[2],
                             uint64_t label_count, const double *bounds, uint64_t bound_count, hf_metric **ret_metric,
                             hf_error *error)
{
    hf_metric wanted = {.type = HF_METRIC_HISTOGRAM, .bound_count = bound_count};

    describe(&wanted, name, help, labels, label_count);
    if (bound_count < 1 || bound_count > HF_METRIC_BOUNDS_MAX)
        hf_kit_fail("the histogram '%s' was added with %llu bounds", name, (unsigned long long)bound_count);
    for (uint64_t i = 0; i < bound_count; i++) {
        if (!isfinite(bounds[i]) || (i && bounds[i] <= bounds[i - 1]))
            hf_kit_fail("the bounds of the histogram '%s' do not rise, or are not finite", name);
        wanted.bounds[i] = bounds[i];
    }
    for (uint64_t i = 0; i < label_count; i++)
        if (strcmp(labels[i][0], "le") == 0)
            hf_kit_fail("the histogram '%s' was added with a label 'le'", name);
    return keep(kit_of(host), &wanted, ret_metric, error);
}

static void increment(hf_metric *metric, uint64_t by)
{
    (void)by;
    if (metric->type != HF_METRIC_COUNTER)
        hf_kit_fail("the metric '%s' is no counter and was incremented", metric->name);
}

static void set(hf_metric *metric, double value)
{
    (void)value;
    if (metric->type != HF_METRIC_GAUGE)
        hf_kit_fail("the metric '%s' is no gauge and was set", metric->name);
}

static void observe(hf_metric *metric, double value)
{
    (void)value;
    if (metric->type != HF_METRIC_HISTOGRAM)
        hf_kit_fail("the metric '%s' is no histogram and was given a value to observe", metric->name);
}

static int32_t observe_counted(hf_metric *metric, const uint64_t *counts, uint64_t count, double sum)
{
    (void)counts;
    (void)sum;
    if (metric->type != HF_METRIC_HISTOGRAM)
        hf_kit_fail("the metric '%s' is no histogram and was given counted values", metric->name);
    if (count < 2 || count > HF_METRIC_BOUNDS_MAX + 1)
        hf_kit_fail("the metric '%s' was given %llu counts; expected one more than it has bounds", metric->name,
                    (unsigned long long)count);
    return HF_OK;
}

static void remove_metric(hf_metric *metric)
{
    if (!metric)
        return;
    hf_kit_host *kit = metric->kit;
    pthread_mutex_lock(&kit->lock);
    hf_metric **link = &kit->metrics;
    while (*link && *link != metric)
        link = &(*link)->next;
    int last = --metric->references == 0;
    if (last)
        *link = metric->next;
    pthread_mutex_unlock(&kit->lock);
    if (last)
        free(metric);
}

const hf_metrics_interface kit_metrics_interface = {
    .head = HF_HEAD(hf_metrics_interface),
    .add = add,
    .increment = increment,
    .set = set,
    .add_histogram = add_histogram,
    .observe = observe,
    .remove = remove_metric,
    .observe_counted = observe_counted,
};

void kit_metrics_destroy(hf_kit_host *host)
{
    while (host->metrics) {
        hf_metric *metric = host->metrics;
        host->metrics = metric->next;
        free(metric);
    }
}
