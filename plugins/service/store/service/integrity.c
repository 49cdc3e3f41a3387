/* What the node says of damage: signals, metrics, health. */
#include "service/private.h"

#include <holdfast/host/signal.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <inttypes.h>
#include <stdio.h>

static const hf_signal_kind damaged = {
    sizeof damaged,
    HF_SIGNAL_CRITICAL,
    "store.damaged",
    "A replica of this node has damaged data, which is fetched anew from the others; over when it is repaired. detail: "
    "partition, reason.",
};
static const hf_signal_kind engine_damaged = {
    sizeof engine_damaged,
    HF_SIGNAL_CRITICAL,
    "store.engine_damaged",
    "Files of this node's engine are damaged. detail: partition, reason.",
};

static void raise_signal(struct store_service *service, const char *name, uint64_t partition, const char *why)
{
    const hf_value_member members[] = {
        {hf_slice_of("partition"), hf_value_integer((int64_t)partition)},
        {hf_slice_of("reason"), hf_value_text(why)},
    };
    hf_value detail = hf_value_map(members, 2);
    char subject[40];

    snprintf(subject, sizeof subject, "partition %" PRIu64, partition);
    if (service->signals && service->signals->raise(service->host, name, subject, &detail) != HF_OK)
        store_service_log(service, HF_LOG_WARNING, "the signal %s could not be raised", name);
}

/* [worker loops] */
static void changed(void *arg, uint64_t partition, int32_t is_damaged, const char *why)
{
    struct store_service *service = arg;
    char subject[40];

    if (is_damaged) {
        raise_signal(service, damaged.name, partition, why);
        return;
    }
    snprintf(subject, sizeof subject, "partition %" PRIu64, partition);
    if (service->signals)
        (void)service->signals->clear(service->host, damaged.name, subject);
}

/* [any] */
static void engine_is_damaged(void *arg, uint64_t partition, const char *what)
{
    struct store_service *service = arg;

    if (atomic_load(&service->engine_damaged))
        return;
    atomic_store(&service->damaged_partition, partition);
    if (atomic_exchange(&service->engine_damaged, 1))
        return;
    store_service_log(service, HF_LOG_ERROR,
                      "the files of the engine are damaged, which was noticed in partition %" PRIu64 ": %s", partition,
                      what);
    raise_signal(service, engine_damaged.name, partition, what);
}

int32_t store_integrity_open(struct store_service *service, hf_error *error)
{
    const struct {
        hf_metric **metric;
        const char *name, *help;
    } rows[] = {
        {&service->series.checks, "holdfast_store_scrubs_total", "Replicas that were looked through to the end"},
        {&service->series.check_bytes, "holdfast_store_scrubbed_bytes_total", "Bytes read to look for damage"},
        {&service->series.damages, "holdfast_store_damages_total", "Replicas that were found damaged"},
        {&service->series.repairs, "holdfast_store_repairs_total", "Replicas that were fetched anew because of damage"},
        {&service->series.damaged_reads, "holdfast_store_damaged_reads_total",
         "Reads that met damage and were left to another replica"},
        {&service->series.comparisons, "holdfast_store_comparisons_total",
         "Groups whose replicas were compared by this node, which led them"},
        {&service->series.differences, "holdfast_store_differences_total",
         "Groups whose replicas were found to differ by this node, which led them"},
    };
    const hf_signal_kind *const kinds[] = {&damaged, &engine_damaged};
    int32_t result = HF_OK;

    service->integrity.changed = changed;
    service->integrity.engine_damaged = engine_is_damaged;
    service->integrity.arg = service;
    service->signals = (const hf_signal_interface *)service->host->query(service->host, HF_SIGNAL_INTERFACE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && result == HF_OK; i++)
        result = service->metrics->add(service->host, HF_METRIC_COUNTER, rows[i].name, rows[i].help, NULL, 0,
                                       rows[i].metric, error);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && result == HF_OK && service->signals; i++) {
        result = service->signals->declare(service->host, kinds[i], error);
        if (result == HF_EEXIST) /* the store begins a second time, without what was damaged */
            result = HF_OK;
    }
    return result;
}

static void show(struct store_service *service, hf_metric *metric, _Atomic uint64_t *now, uint64_t *shown)
{
    uint64_t value = atomic_load(now);

    service->metrics->increment(metric, value - *shown);
    *shown = value;
}

void store_integrity_show(struct store_service *service)
{
    struct store_integrity *integrity = &service->integrity;

    show(service, service->series.checks, &integrity->checks, &service->shown.checks);
    show(service, service->series.check_bytes, &integrity->bytes, &service->shown.bytes);
    show(service, service->series.damages, &integrity->damages, &service->shown.damages);
    show(service, service->series.repairs, &integrity->repairs, &service->shown.repairs);
    show(service, service->series.damaged_reads, &integrity->reads, &service->shown.reads);
    show(service, service->series.comparisons, &service->comparisons, &service->shown.comparisons);
    show(service, service->series.differences, &service->differences, &service->shown.differences);
}
