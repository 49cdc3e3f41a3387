/* metrics.h: counters and gauges of the process, in the Prometheus text format.
 *
 * Registered at start, changed from any thread without a lock, rendered on demand. */
#ifndef HOLDFAST_CORE_TELEMETRY_METRICS_H
#define HOLDFAST_CORE_TELEMETRY_METRICS_H

#include <holdfast/host/metrics.h>

typedef struct hf_metrics hf_metrics;

int32_t hf_metrics_create(hf_metrics **ret_metrics, hf_error *error);
void hf_metrics_destroy(hf_metrics *metrics);

/* Finds or adds a series: name ([a-z_][a-z0-9_]*), help, and up to 8 label pairs {name, value} (label_count counts
 * pairs; all copied).  The same name must keep its type; the first help counts.  HF_EINVAL: a bad name; HF_ECONFLICT:
 * another type; HF_ETOOLARGE: more than 10,000 series, so that labels made of user input cannot eat the memory. The
 * metric lives as long as `metrics`.  [any] */
int32_t hf_metrics_add(hf_metrics *metrics, int32_t type, const char *name, const char *help,
                       const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error);

void hf_metric_increment(hf_metric *metric, uint64_t by); /* counters [any] */
void hf_metric_set(hf_metric *metric, double value);      /* gauges [any] */
double hf_metric_value(const hf_metric *metric);          /* [any] */

/* Renders all series, grouped by name, in the text format 0.0.4; the caller frees *ret_text with free().  [any] */
int32_t hf_metrics_render(hf_metrics *metrics, char **ret_text, uint64_t *ret_size, hf_error *error);

#endif
