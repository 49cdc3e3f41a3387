/* histogram.h: how often values fell into which bucket.  Many threads observe, one renders. */
#ifndef HOLDFAST_CORE_TELEMETRY_HISTOGRAM_H
#define HOLDFAST_CORE_TELEMETRY_HISTOGRAM_H

#include <holdfast/host/metrics.h>

typedef struct hf_histogram hf_histogram;

/* What was observed until about now. */
typedef struct hf_histogram_reading {
    uint64_t counts[HF_METRIC_BOUNDS_MAX + 1]; /* of each bucket, the last for what is larger than all bounds */
    uint64_t count;                            /* their sum */
    double sum;                                /* of the values; may have one more or less than `count` */
} hf_histogram_reading;

/* 1 when these are 1 to 32 finite numbers, each larger than the one before. */
int32_t hf_histogram_bounds_are_good(const double *bounds, uint64_t count);

/* `bounds`, which are good, are copied.  NULL: no memory. */
hf_histogram *hf_histogram_create(const double *bounds, uint64_t count);
void hf_histogram_destroy(hf_histogram *histogram); /* accepts NULL */

void hf_histogram_observe(hf_histogram *histogram, double value); /* [any] */
/* Values that were counted elsewhere, in as many buckets.  HF_EINVAL.  [any] */
int32_t hf_histogram_add(hf_histogram *histogram, const uint64_t *counts, uint64_t count, double sum);
void hf_histogram_read(const hf_histogram *histogram, hf_histogram_reading *ret_reading); /* [any] */

/* The bounds; `*ret_count` of them. */
const double *hf_histogram_bounds(const hf_histogram *histogram, uint64_t *ret_count);

#endif
