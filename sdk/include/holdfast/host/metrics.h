/* host/metrics.h: counters and gauges that appear at /metrics: host->query(host, "hf.metrics/1").
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_METRICS_H
#define HOLDFAST_HOST_METRICS_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_METRICS_INTERFACE "hf.metrics/1"

enum { HF_METRIC_COUNTER = 1, HF_METRIC_GAUGE = 2 };

typedef struct hf_metric hf_metric;

typedef struct hf_metrics_interface {
    hf_head head;

    /* Finds or adds a series: name ([a-z_][a-z0-9_]*), help, and up to 8 label pairs {name, value}; all copied.
     * HF_EINVAL: a bad name; HF_ECONFLICT: the name has another type; HF_ETOOLARGE: too many series.  It lives as
     * long as the process.  [any] */
    int32_t (*add)(const hf_host *host, int32_t type, const char *name, const char *help,
                   const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error);

    void (*increment)(hf_metric *metric, uint64_t by); /* counters; [any] */
    void (*set)(hf_metric *metric, double value);      /* gauges; [any] */
} hf_metrics_interface;

#ifdef __cplusplus
}
#endif
#endif
