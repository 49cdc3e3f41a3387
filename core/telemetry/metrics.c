/* Metrics: series are looked up under a lock when they are registered and rendered; changing one is an atomic. */
#include "metrics.h"

#include "histogram.h"

#include <holdfast/lib/error.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SERIES = 10000, MOST_LABELS = 8, NAME_SIZE_MAX = 127 };

struct hf_metric {
    _Atomic uint64_t count;  /* counters */
    _Atomic double value;    /* gauges */
    hf_histogram *histogram; /* or NULL */
    hf_metrics *metrics;     /* borrowed */
    uint32_t references;     /* adds that have not been followed by a remove; under the lock */
    int32_t type;
    char *name, *help;
    char *labels; /* rendered: {a="b",c="d"}, or "" */
};

struct hf_metrics {
    pthread_mutex_t lock; /* protects the list, not the values; innermost */
    hf_metric **series;   /* sorted by name, then by labels: the order of rendering */
    uint64_t count;
    uint64_t weight; /* lines that the series are rendered as */
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
    hf_histogram_destroy(metric->histogram);
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
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return !name[size] && size <= NAME_SIZE_MAX;
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

/* What is asked for. */
struct wish {
    int32_t type;
    const char *name, *help;
    const char *labels;   /* rendered */
    const double *bounds; /* histograms */
    uint64_t bound_count;
};

static uint64_t weight_of(int32_t type, uint64_t bound_count)
{
    return type == HF_METRIC_HISTOGRAM ? bound_count + 3 : 1; /* +Inf, _sum and _count */
}

static hf_metric *make(hf_metrics *metrics, const struct wish *wish)
{
    hf_metric *metric = calloc(1, sizeof *metric);

    if (!metric)
        return NULL;
    metric->metrics = metrics;
    metric->type = wish->type;
    metric->name = strdup(wish->name);
    metric->help = strdup(wish->help);
    metric->labels = strdup(wish->labels);
    if (wish->type == HF_METRIC_HISTOGRAM)
        metric->histogram = hf_histogram_create(wish->bounds, wish->bound_count);
    if (metric->name && metric->help && metric->labels && (metric->histogram || wish->type != HF_METRIC_HISTOGRAM))
        return metric;
    free_metric(metric);
    return NULL;
}

static int32_t insert(hf_metrics *metrics, uint64_t at, const struct wish *wish, hf_error *error)
{
    uint64_t weight = weight_of(wish->type, wish->bound_count);

    if (metrics->weight + weight > MOST_SERIES)
        return hf_error_set(error, HF_ETOOLARGE, "metric '%s': there are %" PRIu64 " series, no more than %d are kept",
                            wish->name, metrics->weight, MOST_SERIES);

    hf_metric **series = realloc(metrics->series, (metrics->count + 1) * sizeof(hf_metric *));
    if (series)
        metrics->series = series;
    hf_metric *metric = series ? make(metrics, wish) : NULL;
    if (!metric)
        return hf_error_set(error, HF_ENOMEM, "no memory for metric '%s'", wish->name);
    memmove(&series[at + 1], &series[at], (metrics->count - at) * sizeof(hf_metric *));
    series[at] = metric;
    metrics->count++;
    metrics->weight += weight;
    return 0;
}

/* The first series of that name, or NULL. */
static const hf_metric *family(const hf_metrics *metrics, const char *name)
{
    uint64_t at = position(metrics, name, "");

    return at < metrics->count && strcmp(metrics->series[at]->name, name) == 0 ? metrics->series[at] : NULL;
}

/* A name that a histogram is rendered with must not be another metric's: nobody could tell the lines apart. */
static const char *clash(const hf_metrics *metrics, const struct wish *wish)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    size_t size = strlen(wish->name);
    char other[NAME_SIZE_MAX + sizeof "_bucket"];

    for (int i = 0; i < 3; i++) {
        size_t suffix_size = strlen(suffixes[i]);
        snprintf(other, sizeof other, "%s%s", wish->name, suffixes[i]);
        const hf_metric *found = wish->type == HF_METRIC_HISTOGRAM ? family(metrics, other) : NULL;
        if (!found && size > suffix_size && strcmp(wish->name + size - suffix_size, suffixes[i]) == 0) {
            snprintf(other, sizeof other, "%.*s", (int)(size - suffix_size), wish->name);
            found = family(metrics, other);
            found = found && found->histogram ? found : NULL;
        }
        if (found)
            return found->name;
    }
    return NULL;
}

static int same_bounds(const hf_metric *metric, const struct wish *wish)
{
    uint64_t count;
    const double *bounds = hf_histogram_bounds(metric->histogram, &count);

    return count == wish->bound_count && memcmp(bounds, wish->bounds, count * sizeof *bounds) == 0;
}

static int32_t check_family(const hf_metrics *metrics, const struct wish *wish, hf_error *error)
{
    const hf_metric *known = family(metrics, wish->name);

    if (known && known->type != wish->type)
        return hf_error_set(error, HF_ECONFLICT, "metric '%s' exists already with another type", wish->name);
    if (known && known->histogram && !same_bounds(known, wish))
        return hf_error_set(error, HF_ECONFLICT, "metric '%s' exists already with other bounds", wish->name);
    const char *other = known ? NULL : clash(metrics, wish);
    return other ? hf_error_set(error, HF_ECONFLICT, "metric '%s' has lines with names of '%s'; rename one", wish->name,
                                other)
                 : 0;
}

static int32_t find_or_insert(hf_metrics *metrics, const struct wish *wish, hf_metric **ret_metric, hf_error *error)
{
    int32_t result = check_family(metrics, wish, error);
    uint64_t at = position(metrics, wish->name, wish->labels);

    if (!result && (at == metrics->count || compare(metrics->series[at], wish->name, wish->labels) != 0))
        result = insert(metrics, at, wish, error);
    if (result)
        return result;
    metrics->series[at]->references++;
    *ret_metric = metrics->series[at];
    return 0;
}

static int32_t check_labels(const struct wish *wish, const char *const (*labels)[2], uint64_t count, hf_error *error)
{
    if (count > MOST_LABELS)
        return hf_error_set(error, HF_EINVAL, "metric '%s' has %" PRIu64 " labels, at most %d are allowed", wish->name,
                            count, MOST_LABELS);
    for (uint64_t i = 0; i < count; i++) {
        if (!name_is_good(labels[i][0]))
            return hf_error_set(error, HF_EINVAL,
                                "metric '%s': label '%s': expected lower-case letters, digits and '_'", wish->name,
                                labels[i][0]);
        if (wish->type == HF_METRIC_HISTOGRAM && strcmp(labels[i][0], "le") == 0)
            return hf_error_set(error, HF_EINVAL, "metric '%s': a histogram's buckets have the label 'le' already",
                                wish->name);
    }
    return 0;
}

static int32_t add(hf_metrics *metrics, struct wish *wish, const char *const (*labels)[2], uint64_t label_count,
                   hf_metric **ret_metric, hf_error *error)
{
    if (!name_is_good(wish->name))
        return hf_error_set(error, HF_EINVAL, "metric name '%s': expected up to %d lower-case letters, digits and '_'",
                            wish->name, NAME_SIZE_MAX);
    int32_t result = check_labels(wish, labels, label_count, error);
    if (result)
        return result;

    char *rendered = render_labels(labels, label_count);
    if (!rendered)
        return hf_error_set(error, HF_ENOMEM, "no memory for metric '%s'", wish->name);
    wish->labels = rendered;
    pthread_mutex_lock(&metrics->lock);
    result = find_or_insert(metrics, wish, ret_metric, error);
    pthread_mutex_unlock(&metrics->lock);
    free(rendered);
    return result;
}

int32_t hf_metrics_add(hf_metrics *metrics, int32_t type, const char *name, const char *help,
                       const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error)
{
    struct wish wish = {.type = type, .name = name, .help = help};

    if (type != HF_METRIC_COUNTER && type != HF_METRIC_GAUGE)
        return hf_error_set(error, HF_EINVAL, "metric '%s' has the type %d, expected a counter or a gauge", name, type);
    return add(metrics, &wish, labels, label_count, ret_metric, error);
}

int32_t hf_metrics_add_histogram(hf_metrics *metrics, const char *name, const char *help,
                                 const char *const (*labels)[2], uint64_t label_count, const double *bounds,
                                 uint64_t bound_count, hf_metric **ret_metric, hf_error *error)
{
    struct wish wish = {
        .type = HF_METRIC_HISTOGRAM, .name = name, .help = help, .bounds = bounds, .bound_count = bound_count};

    if (!hf_histogram_bounds_are_good(bounds, bound_count))
        return hf_error_set(error, HF_EINVAL, "metric '%s': expected 1 to %d finite bounds, each above the one before",
                            name, HF_METRIC_BOUNDS_MAX);
    return add(metrics, &wish, labels, label_count, ret_metric, error);
}

void hf_metric_remove(hf_metric *metric)
{
    if (!metric)
        return;

    hf_metrics *metrics = metric->metrics;
    uint64_t bound_count = 0;

    pthread_mutex_lock(&metrics->lock);
    int last = --metric->references == 0;
    if (last) {
        uint64_t at = position(metrics, metric->name, metric->labels);
        metrics->count--;
        memmove(&metrics->series[at], &metrics->series[at + 1], (metrics->count - at) * sizeof(hf_metric *));
        if (metric->histogram)
            (void)hf_histogram_bounds(metric->histogram, &bound_count);
        metrics->weight -= weight_of(metric->type, bound_count);
    }
    pthread_mutex_unlock(&metrics->lock);
    if (last)
        free_metric(metric);
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

void hf_metric_observe(hf_metric *metric, double value)
{
    hf_histogram_observe(metric->histogram, value);
}

int32_t hf_metric_observe_counted(hf_metric *metric, const uint64_t *counts, uint64_t count, double sum)
{
    return hf_histogram_add(metric->histogram, counts, count, sum);
}

double hf_metric_value(const hf_metric *metric)
{
    hf_histogram_reading reading;

    if (metric->histogram) {
        hf_histogram_read(metric->histogram, &reading);
        return (double)reading.count;
    }
    return metric->type == HF_METRIC_COUNTER ? (double)atomic_load_explicit(&metric->count, memory_order_relaxed)
                                             : atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void render_family(FILE *out, const hf_metric *metric)
{
    static const char *const types[] = {"", "counter", "gauge", "histogram"};

    fprintf(out, "# HELP %s ", metric->name);
    escape(out, metric->help, 0);
    fprintf(out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
}

/* The shortest of the usual forms that reads back as the same number: 0.1, not 0.10000000000000001. */
static void render_bound(FILE *out, double bound)
{
    char text[32];

    snprintf(text, sizeof text, "%.15g", bound);
    if (strtod(text, NULL) != bound)
        snprintf(text, sizeof text, "%.17g", bound);
    fputs(text, out);
}

static void render_histogram(FILE *out, const hf_metric *metric)
{
    size_t size = strlen(metric->labels);
    int inner = size ? (int)size - 1 : 0; /* without the closing brace */
    const char *before = size ? metric->labels : "{", *comma = size ? "," : "";
    uint64_t bound_count, below = 0;
    const double *bounds = hf_histogram_bounds(metric->histogram, &bound_count);
    hf_histogram_reading reading;

    hf_histogram_read(metric->histogram, &reading);
    for (uint64_t i = 0; i <= bound_count; i++) {
        below += reading.counts[i];
        fprintf(out, "%s_bucket%.*s%sle=\"", metric->name, size ? inner : 1, before, comma);
        if (i < bound_count)
            render_bound(out, bounds[i]);
        else
            fputs("+Inf", out);
        fprintf(out, "\"} %" PRIu64 "\n", below);
    }
    fprintf(out, "%s_sum%s %.17g\n", metric->name, metric->labels, reading.sum);
    fprintf(out, "%s_count%s %" PRIu64 "\n", metric->name, metric->labels, reading.count);
}

static void render_value(FILE *out, const hf_metric *metric)
{
    if (metric->histogram)
        render_histogram(out, metric);
    else if (metric->type == HF_METRIC_COUNTER)
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
