/* Histograms; see histogram.h.
 *
 * Each thread counts in one of eight stripes, which have cache lines of their own: workers that observe the same
 * histogram seldom wait for each other's.  A value is in its bucket's count alone; what is rendered as the count is
 * the sum of the buckets that were read, so they always agree. */
#include "histogram.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { STRIPES = 8, LINE_SIZE = 64 };

struct stripe {
    _Atomic double sum;
    _Atomic uint64_t counts[]; /* one more than there are bounds */
};

struct hf_histogram {
    uint64_t bound_count;
    uint64_t stripe_size; /* bytes, a multiple of LINE_SIZE */
    double bounds[HF_METRIC_BOUNDS_MAX];
    uint8_t *stripes; /* STRIPES of them */
};

int32_t hf_histogram_bounds_are_good(const double *bounds, uint64_t count)
{
    if (count < 1 || count > HF_METRIC_BOUNDS_MAX)
        return 0;
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(bounds[i]) || (i && bounds[i] <= bounds[i - 1]))
            return 0;
    return 1;
}

hf_histogram *hf_histogram_create(const double *bounds, uint64_t count)
{
    hf_histogram *histogram = calloc(1, sizeof *histogram);

    if (!histogram)
        return NULL;
    uint64_t size = sizeof(struct stripe) + (count + 1) * sizeof(uint64_t);
    histogram->bound_count = count;
    histogram->stripe_size = (size + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE;
    memcpy(histogram->bounds, bounds, count * sizeof *bounds);
    histogram->stripes = aligned_alloc(LINE_SIZE, STRIPES * histogram->stripe_size);
    if (!histogram->stripes) {
        free(histogram);
        return NULL;
    }
    memset(histogram->stripes, 0, STRIPES * histogram->stripe_size);
    return histogram;
}

void hf_histogram_destroy(hf_histogram *histogram)
{
    if (!histogram)
        return;
    free(histogram->stripes);
    free(histogram);
}

const double *hf_histogram_bounds(const hf_histogram *histogram, uint64_t *ret_count)
{
    *ret_count = histogram->bound_count;
    return histogram->bounds;
}

static struct stripe *stripe_at(const hf_histogram *histogram, uint32_t index)
{
    return (struct stripe *)(void *)(histogram->stripes + index * histogram->stripe_size);
}

/* Threads take the stripes in turn, as they come. */
static uint32_t own_stripe(void)
{
    static _Atomic uint32_t threads;
    static _Thread_local uint32_t own; /* counted from 1 */

    if (!own)
        own = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % STRIPES;
    return own - 1;
}

/* The first bound that is not below the value; bound_count when there is none. */
static uint64_t bucket_of(const hf_histogram *histogram, double value)
{
    uint64_t low = 0, high = histogram->bound_count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (histogram->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_to_sum(struct stripe *stripe, double value)
{
    double sum = atomic_load_explicit(&stripe->sum, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&stripe->sum, &sum, sum + value, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void hf_histogram_observe(hf_histogram *histogram, double value)
{
    struct stripe *stripe = stripe_at(histogram, own_stripe());

    if (!isfinite(value)) /* the sum would be lost for ever */
        return;
    atomic_fetch_add_explicit(&stripe->counts[bucket_of(histogram, value)], 1, memory_order_relaxed);
    add_to_sum(stripe, value);
}

int32_t hf_histogram_add(hf_histogram *histogram, const uint64_t *counts, uint64_t count, double sum)
{
    struct stripe *stripe = stripe_at(histogram, own_stripe());

    if (count != histogram->bound_count + 1 || !isfinite(sum))
        return HF_EINVAL;
    for (uint64_t i = 0; i < count; i++)
        if (counts[i])
            atomic_fetch_add_explicit(&stripe->counts[i], counts[i], memory_order_relaxed);
    add_to_sum(stripe, sum);
    return HF_OK;
}

void hf_histogram_read(const hf_histogram *histogram, hf_histogram_reading *ret_reading)
{
    memset(ret_reading, 0, sizeof *ret_reading);
    for (uint32_t i = 0; i < STRIPES; i++) {
        struct stripe *stripe = stripe_at(histogram, i);
        for (uint64_t j = 0; j <= histogram->bound_count; j++)
            ret_reading->counts[j] += atomic_load_explicit(&stripe->counts[j], memory_order_relaxed);
        ret_reading->sum += atomic_load_explicit(&stripe->sum, memory_order_relaxed);
    }
    for (uint64_t j = 0; j <= histogram->bound_count; j++)
        ret_reading->count += ret_reading->counts[j];
}
