/* host/metrics.h: counters, gauges and histograms that appear at /metrics: host->query(host, "hf.metrics/1").
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

enum { HF_METRIC_COUNTER = 1, HF_METRIC_GAUGE = 2, HF_METRIC_HISTOGRAM = 3 };

enum { HF_METRIC_BOUNDS_MAX = 32 };

typedef struct hf_metric hf_metric;

typedef struct hf_metrics_interface {
    hf_head head;

    /* Finds or adds the series of a counter or gauge: name ([a-z_][a-z0-9_]*, up to 127), help, and up to 8 label pairs
     * {name, value}, values of any text; all copied.  HF_EINVAL: a bad name, or a histogram; HF_ECONFLICT: the name has
     * another type, or is one that a histogram is shown with; HF_ETOOLARGE: too many series.  It lives until each add
     * has had its remove, or as long as the process.  [any] */
    int32_t (*add)(const hf_host *host, int32_t type, const char *name, const char *help,
                   const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric, hf_error *error);

    void (*increment)(hf_metric *metric, uint64_t by); /* counters; [any] */
    void (*set)(hf_metric *metric, double value);      /* gauges; [any] */

    /* Finds or adds the series of a histogram, as add does.  `bounds` are 1 to 32 numbers, each larger than the one
     * before; they are copied, and are the upper ends of the buckets, inclusive; a last one for all that is larger
     * comes by itself.  A name keeps its bounds.  HF_EINVAL: also other bounds than these, or a label `le`;
     * HF_ECONFLICT: also when the name has other bounds; HF_ETOOLARGE: it counts as bound_count + 3 series.  [any] */
    int32_t (*add_histogram)(const hf_host *host, const char *name, const char *help, const char *const (*labels)[2],
                             uint64_t label_count, const double *bounds, uint64_t bound_count, hf_metric **ret_metric,
                             hf_error *error);

    /* Counts a value, in the unit that the name ends with.  One that is not finite is ignored.  Two atomic operations
     * on memory that few threads share; no lock.  [any] */
    void (*observe)(hf_metric *metric, double value); /* histograms */

    /* Gives a series back that was got by add or add_histogram; the pointer is then invalid.  When nobody else has it,
     * it disappears, and starts from 0 if it is added again.  Accepts NULL.  [any], while nobody uses this pointer */
    void (*remove)(hf_metric *metric);

    /* Counts many values at a time, which the caller has counted in buckets of the same bounds: `counts` has one more
     * than there are bounds, `sum` is that of the values.  For those who count far more often than anybody looks.
     * HF_EINVAL: another number of counts, or a sum that is not finite; nothing is counted.  [any] */
    int32_t (*observe_counted)(hf_metric *metric, const uint64_t *counts, uint64_t count, double sum); /* histograms */
} hf_metrics_interface;

#ifdef __cplusplus
}
#endif
#endif
