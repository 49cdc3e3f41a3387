#include "meter/meter.h"

#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

const uint64_t gateway_latency_bounds[GATEWAY_LATENCY_BOUNDS] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void free_meter(struct gateway_meter *meter)
{
    free(meter->name);
    free(meter->cells);
    free(meter);
}

static struct gateway_meter *create(const struct gateway_meters *meters, int32_t kind, hf_slice name)
{
    struct gateway_meter *meter = calloc(1, sizeof *meter);
    size_t size = meters->worker_count * sizeof *meter->cells;

    if (!meter)
        return NULL;
    atomic_init(&meter->references, 1);
    meter->kind = kind;
    meter->worker_count = meters->worker_count;
    meter->name = strndup((const char *)name.data, name.size);
    meter->cells = aligned_alloc(_Alignof(struct gateway_cell), size);
    if (!meter->name || !meter->cells) {
        free_meter(meter);
        return NULL;
    }
    memset(meter->cells, 0, size);
    return meter;
}

struct gateway_meter *gateway_meters_take(struct gateway_meters *meters, int32_t kind, hf_slice name)
{
    for (struct gateway_meter *meter = meters->first; meter; meter = meter->next)
        if (meter->kind == kind && hf_slice_is(name, meter->name)) {
            gateway_meter_hold(meter);
            return meter;
        }
    struct gateway_meter *meter = create(meters, kind, name);
    if (!meter)
        return NULL;
    meter->next = meters->first;
    meters->first = meter;
    return meter;
}

void gateway_meter_hold(struct gateway_meter *meter)
{
    atomic_fetch_add_explicit(&meter->references, 1, memory_order_relaxed);
}

/* What was counted before is seen by whoever sweeps. */
void gateway_meter_release(struct gateway_meter *meter)
{
    if (meter)
        atomic_fetch_sub_explicit(&meter->references, 1, memory_order_release);
}

int32_t gateway_meter_is_unused(const struct gateway_meter *meter)
{
    return atomic_load_explicit(&meter->references, memory_order_acquire) == 0;
}

void gateway_meters_sweep(struct gateway_meters *meters)
{
    for (struct gateway_meter **at = &meters->first; *at;) {
        struct gateway_meter *meter = *at;

        if (meter->user || !gateway_meter_is_unused(meter)) {
            at = &meter->next;
            continue;
        }
        *at = meter->next;
        free_meter(meter);
    }
}

void gateway_meters_destroy(struct gateway_meters *meters)
{
    while (meters->first) {
        struct gateway_meter *meter = meters->first;

        meters->first = meter->next;
        free_meter(meter);
    }
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static uint32_t bound_of(uint64_t us)
{
    uint32_t low = 0, high = GATEWAY_LATENCY_BOUNDS;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (gateway_latency_bounds[middle] < us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Values below 4 have a place each; from there on four share each power of two. */
static uint32_t place_of(uint64_t us)
{
    if (us < 4)
        return (uint32_t)us;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(us); /* >= 2 */
    uint32_t place = (power - 1) * 4 + (uint32_t)(us >> (power - 2) & 3);
    return place < GATEWAY_SKETCH_SIZE ? place : GATEWAY_SKETCH_SIZE - 1;
}

/* The largest value there. */
static uint64_t value_at(uint32_t place)
{
    if (place < 4)
        return place;
    uint32_t power = place / 4 + 1;
    return (UINT64_C(1) << power) + ((uint64_t)(place % 4 + 1) << (power - 2)) - 1;
}

void gateway_cell_latency(struct gateway_cell *cell, uint64_t us)
{
    atomic_uint *seen = &cell->sketch[place_of(us)];

    gateway_count(&cell->latency_us, us);
    gateway_count(&cell->latency[bound_of(us)], 1);
    atomic_store_explicit(seen, atomic_load_explicit(seen, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- Adding up --------------------------------------------------------------------------------------------------- */

static uint64_t load(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void add_cell(const struct gateway_cell *cell, struct gateway_sums *sums)
{
    for (int i = 0; i < GATEWAY_STATUS_CLASSES; i++)
        sums->requests[i] += load(&cell->requests[i]);
    sums->failures += load(&cell->failures);
    sums->tries += load(&cell->tries);
    sums->retries += load(&cell->retries);
    sums->degraded += load(&cell->degraded);
    sums->received += load(&cell->received);
    sums->sent += load(&cell->sent);
    sums->closed += load(&cell->closed); /* before what was accepted, so that no more are closed than that */
    sums->accepted += load(&cell->accepted);
    sums->refused += load(&cell->refused);
    sums->datagrams_received += load(&cell->datagrams_received);
    sums->datagrams_sent += load(&cell->datagrams_sent);
    sums->datagrams_lost += load(&cell->datagrams_lost);
    sums->dequeued += load(&cell->dequeued);
    sums->queued += load(&cell->queued);
    sums->latency_us += load(&cell->latency_us);
    for (int i = 0; i <= GATEWAY_LATENCY_BOUNDS; i++)
        sums->latency[i] += load(&cell->latency[i]);
    for (int i = 0; i < GATEWAY_SKETCH_SIZE; i++)
        sums->sketch[i] += atomic_load_explicit(&cell->sketch[i], memory_order_relaxed);
}

void gateway_meter_sum(const struct gateway_meter *meter, struct gateway_sums *ret_sums)
{
    memset(ret_sums, 0, sizeof *ret_sums);
    for (uint32_t i = 0; i < meter->worker_count; i++)
        add_cell(&meter->cells[i], ret_sums);
}

uint64_t gateway_sums_quantile(const struct gateway_sums *after, const struct gateway_sums *before, double share)
{
    uint64_t all = 0, below = 0;

    for (int i = 0; i < GATEWAY_SKETCH_SIZE; i++)
        all += (uint32_t)(after->sketch[i] - before->sketch[i]); /* they may have turned over */
    if (all == 0)
        return 0;
    uint64_t wanted = (uint64_t)(share * (double)all);
    for (uint32_t i = 0; i < GATEWAY_SKETCH_SIZE; i++) {
        below += (uint32_t)(after->sketch[i] - before->sketch[i]);
        if (below > wanted || below == all)
            return value_at(i);
    }
    return value_at(GATEWAY_SKETCH_SIZE - 1);
}
