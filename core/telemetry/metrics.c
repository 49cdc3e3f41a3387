/* Metrics: series are looked up under a lock when they are registered and rendered; changing one is an atomic. */
#include "metrics.h"

#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SERIES = 10000, MOST_LABELS = 8 };

struct hf_metric {
    _Atomic uint64_t count; /* counters */
    _Atomic double value;   /* gauges */
    int32_t type;
    char *name, *help;
    char *labels; /* rendered: {a="b",c="d"}, or "" */
};

struct hf_metrics {
    pthread_mutex_t lock; /* protects the list, not the values; innermost */
    hf_metric **series;   /* sorted by name, then by labels: the order of rendering */
    uint64_t count;
};

int32_t hf_metrics_create(hf_metrics **ret_metrics, hf_error *error)
{
    hf_metrics *metrics = calloc(1, sizeof *metrics);

    if (!metrics)
        return hf_error_set(error, HF_ENOMEM, "no memory for metrics");
    pthread_mutex_init(&metrics->lock, NULL);
    *ret_metrics = metrics;
    return 0;
}

static void free_metric(hf_metric *metric)
{
    if (!metric)
        return;
    free(metric->name);
    free(metric->help);
    free(metric->labels);
    free(metric);
}

void hf_metrics_destroy(hf_metrics *metrics)
{
    if (!metrics)
        return;
    for (uint64_t i = 0; i < metrics->count; i++)
        free_metric(metrics->series[i]);
    free(metrics->series);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* ---- Registering --------------------------------------------------------------------------------------------- */

static int name_is_good(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return 0;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static void escape(FILE *out, const char *text, int quote)
{
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\\\", out);
        else if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '"' && quote)
            fputs("\\\"", out);
        else
            fputc(*text, out);
    }
}

static char *render_labels(const char *const (*labels)[2], uint64_t count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (uint64_t i = 0; i < count; i++) {
        fprintf(out, "%s%s=\"", i ? "," : "{", labels[i][0]);
        escape(out, labels[i][1], 1);
        fputc('"', out);
    }
    if (count)
        fputc('}', out);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}

static int compare(const hf_metric *metric, const char *name, const char *labels)
{
    int by_name = strcmp(metric->name, name);

    return by_name ? by_name : strcmp(metric->labels, labels);
}

/* Where the series is, or belongs. */
static uint64_t position(const hf_metrics *metrics, const char *name, const char *labels)
{
    uint64_t low = 0, high = metrics->count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (compare(metrics->series[middle], name, labels) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t insert(hf_metrics *metrics, uint64_t at, int32_t type, const char *name, const char *help,
                      const char *labels, hf_error *error)
{
    if (metrics->count >= MOST_SERIES)
        return hf_error_set(error, HF_ETOOLARGE, "metric '%s': there are %d series, no more are kept", name,
                            MOST_SERIES);

    hf_metric **series = realloc(metrics->series, (metrics->count + 1) * sizeof(hf_metric *));
    if (series)
        metrics->series = series;
    hf_metric *metric = calloc(1, sizeof *metric);
    if (metric) {
        metric->type = type;
        metric->name = strdup(name);
        metric->help = strdup(help);
        metric->labels = strdup(labels);
    }
    if (!series || !metric || !metric->name || !metric->help || !metric->labels) {
        free_metric(metric);
        return hf_error_set(error, HF_ENOMEM, "no memory for metric '%s'", name);
    }
    memmove(&series[at + 1], &series[at], (metrics->count - at) * sizeof(hf_metric *));
    series[at] = metric;
    metrics->count++;
    return 0;
}

static int32_t find_or_insert(hf_metrics *metrics, int32_t type, const char *name, const char *help, const char *labels,
                              hf_metric **ret_metric, hf_error *error)
{
    uint64_t family = position(metrics, name, "");

    if (family < metrics->count && strcmp(metrics->series[family]->name, name) == 0 &&
        metrics->series[family]->type != type)
        return hf_error_set(error, HF_ECONFLICT, "metric '%s' exists already with another type", name);

    uint64_t at = position(metrics, name, labels);
    if (at == metrics->count || compare(metrics->series[at], name, labels) != 0) {
        int32_t result = insert(metrics, at, type, name, help, labels, error);
        if (result)
            return result;
    }
    *ret_metric = metrics->series[at];
    return 0;
}

int32_t hf_metrics_add(hf_metrics *metrics, int32_t type, const char *name, const char *help,
                       const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    if (!name_is_good(name))
        return hf_error_set(error, HF_EINVAL, "metric name '%s': expected lower-case letters, digits and '_'", name);
    if (label_count > MOST_LABELS)
        return hf_error_set(error, HF_EINVAL, "metric '%s' has %" PRIu64 " labels, at most %d are allowed", name,
                            label_count, MOST_LABELS);
    for (uint64_t i = 0; i < label_count; i++)
        if (!name_is_good(labels[i][0]))
            return hf_error_set(error, HF_EINVAL,
                                "metric '%s': label '%s': expected lower-case letters, digits and '_'", name,
                                labels[i][0]);

    char *rendered = render_labels(labels, label_count);
    if (!rendered)
        return hf_error_set(error, HF_ENOMEM, "no memory for metric '%s'", name);
    pthread_mutex_lock(&metrics->lock);
    int32_t result = find_or_insert(metrics, type, name, help, rendered, ret_metric, error);
    pthread_mutex_unlock(&metrics->lock);
    free(rendered);
    return result;
}

/* ---- Changing and rendering ---------------------------------------------------------------------------------- */

void hf_metric_increment(hf_metric *metric, uint64_t by)
{
    atomic_fetch_add_explicit(&metric->count, by, memory_order_relaxed);
}

void hf_metric_set(hf_metric *metric, double value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

double hf_metric_value(const hf_metric *metric)
{
    return metric->type == HF_METRIC_COUNTER ? (double)atomic_load_explicit(&metric->count, memory_order_relaxed)
                                             : atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void render_family(FILE *out, const hf_metric *metric)
{
    fprintf(out, "# HELP %s ", metric->name);
    escape(out, metric->help, 0);
    fprintf(out, "\n# TYPE %s %s\n", metric->name, metric->type == HF_METRIC_COUNTER ? "counter" : "gauge");
}

static void render_value(FILE *out, const hf_metric *metric)
{
    if (metric->type == HF_METRIC_COUNTER)
        fprintf(out, "%s%s %" PRIu64 "\n", metric->name, metric->labels,
                atomic_load_explicit(&metric->count, memory_order_relaxed));
    else
        fprintf(out, "%s%s %.17g\n", metric->name, metric->labels, hf_metric_value(metric));
}

int32_t hf_metrics_render(hf_metrics *metrics, char **ret_text, uint64_t *ret_size, hf_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return hf_error_set(error, HF_ENOMEM, "no memory to render the metrics");
    pthread_mutex_lock(&metrics->lock);
    for (uint64_t i = 0; i < metrics->count; i++) {
        const hf_metric *metric = metrics->series[i];
        if (i == 0 || strcmp(metrics->series[i - 1]->name, metric->name) != 0)
            render_family(out, metric);
        render_value(out, metric);
    }
    pthread_mutex_unlock(&metrics->lock);
    if (fclose(out)) {
        free(text);
        return hf_error_set(error, HF_ENOMEM, "no memory to render the metrics");
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}
