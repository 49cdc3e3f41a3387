/* hf.metrics/1: series that nobody reads, with the rules of the real ones. */
#include "host_private.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_SIZE = 1024, LABELS_MAX = 8 };

struct hf_metric {
    hf_metric *next;
    int32_t type;
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

static int32_t add(const hf_host *host, int32_t type, const char *name, const char *help,
                   const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);
    char series[SERIES_SIZE];
    uint32_t count = 0;

    if ((type != HF_METRIC_COUNTER && type != HF_METRIC_GAUGE) || !name_is_valid(name) || !help || !*help ||
        label_count > LABELS_MAX || !write_series(series, name, labels, label_count))
        hf_kit_fail("the metric '%s' has a wrong type, name, help or label", name ? name : "(null)");
    pthread_mutex_lock(&kit->lock);
    hf_metric *found = kit->metrics;
    for (; found && strcmp(found->series, series) != 0; found = found->next) {
        count++;
        if (strcmp(found->name, name) == 0 && found->type != type)
            hf_kit_fail("the metric '%s' was added as a counter and as a gauge", name);
    }
    if (!found && count < KIT_METRICS_MAX) {
        found = kit_allocate(sizeof *found);
        found->type = type;
        snprintf(found->name, sizeof found->name, "%s", name);
        memcpy(found->series, series, sizeof series);
        found->next = kit->metrics;
        kit->metrics = found;
    }
    pthread_mutex_unlock(&kit->lock);
    if (!found)
        return hf_error_set(error, HF_ETOOLARGE, "more than %d series", KIT_METRICS_MAX);
    *ret_metric = found;
    return HF_OK;
}

static void increment(hf_metric *metric, uint64_t by)
{
    (void)by;
    if (metric->type != HF_METRIC_COUNTER)
        hf_kit_fail("the metric '%s' is a gauge and was incremented", metric->name);
}

static void set(hf_metric *metric, double value)
{
    (void)value;
    if (metric->type != HF_METRIC_GAUGE)
        hf_kit_fail("the metric '%s' is a counter and was set", metric->name);
}

const hf_metrics_interface kit_metrics_interface = {
    .head = HF_HEAD(hf_metrics_interface),
    .add = add,
    .increment = increment,
    .set = set,
};

void kit_metrics_destroy(hf_kit_host *host)
{
    while (host->metrics) {
        hf_metric *metric = host->metrics;
        host->metrics = metric->next;
        free(metric);
    }
}
