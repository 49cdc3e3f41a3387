/* metrics.h: counters, gauges and histograms of the process, in the Prometheus text format.
 *
 * Registered at any time, changed from any thread without a lock, rendered on demand. */
#ifndef HOLDFAST_CORE_TELEMETRY_METRICS_H
#define HOLDFAST_CORE_TELEMETRY_METRICS_H

#include <holdfast/host/metrics.h>

typedef struct hf_metrics hf_metrics;

int32_t hf_metrics_create(hf_metrics **ret_metrics, hf_error *error);
void hf_metrics_destroy(hf_metrics *metrics);

/* Finds or adds a counter's or gauge's series: name ([a-z_][a-z0-9_]*, up to 127), help, and up to 8 label pairs {name,
 * value} (label_count counts pairs; all copied).  The same name must keep its type; the first help counts.  HF_EINVAL:
 * a bad name; HF_ECONFLICT: another type, or a name that a histogram is rendered with; HF_ETOOLARGE: more than 10,000
 * series, so that labels made of user input cannot eat the memory. The metric lives until each add has had its remove,
 * or as long as `metrics`.  [any] */
int32_t hf_metrics_add(hf_metrics *metrics, int32_t type, const char *name, const char *help,
                       const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error);

/* The same for a histogram; `bounds` are 1 to 32 finite numbers that rise.  HF_EINVAL: also for other bounds and a
 * label `le`; HF_ECONFLICT: also for other bounds than the name has already.  It counts as bound_count + 3 series.
 * [any] */
int32_t hf_metrics_add_histogram(hf_metrics *metrics, const char *name, const char *help,
                                 const char *const (*labels)[2], uint64_t label_count, const double *bounds,
                                 uint64_t bound_count, hf_metric **ret_metric, hf_error *error);

/* Gives back what an add gave; the last one frees the series.  Accepts NULL.  [any], while nobody uses the pointer */
void hf_metric_remove(hf_metric *metric);

void hf_metric_increment(hf_metric *metric, uint64_t by); /* counters [any] */
void hf_metric_set(hf_metric *metric, double value);      /* gauges [any] */
void hf_metric_observe(hf_metric *metric, double value);  /* histograms; finite values [any] */
/* Values that were counted elsewhere in buckets of the same bounds; HF_EINVAL: their number is another.  [any] */
int32_t hf_metric_observe_counted(hf_metric *metric, const uint64_t *counts, uint64_t count, double sum);
double hf_metric_value(const hf_metric *metric); /* of a histogram: how many values [any] */

/* Renders all series, grouped by name, in the text format 0.0.4; the caller frees *ret_text with free().  [any] */
int32_t hf_metrics_render(hf_metrics *metrics, char **ret_text, uint64_t *ret_size, hf_error *error);

#endif
