/* The process's own metrics; see gauges.h. */
#include "daemon/gauges.h"

#include "loop/loop.h"
#include "telemetry/metrics.h"

#include <dirent.h>
#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct loop_gauge {
    hf_loop *loop;
    hf_metric *stall;
    _Atomic uint64_t since_scrape_us, since_start_us;
    char name[24];
};

struct hf_gauges {
    uint64_t started_us;
    hf_metric *resident, *files, *uptime;
    uint32_t loop_count;
    struct loop_gauge loops[HF_WORKERS_MAX + 1];
};

static int32_t add_loop(hf_gauges *gauges, hf_metrics *metrics, hf_loop *loop, hf_error *error)
{
    struct loop_gauge *gauge = &gauges->loops[gauges->loop_count];

    gauge->loop = loop;
    if (gauges->loop_count)
        snprintf(gauge->name, sizeof gauge->name, "worker-%u", gauges->loop_count - 1);
    else
        snprintf(gauge->name, sizeof gauge->name, "main");
    const char *const labels[1][2] = {{"loop", gauge->name}};
    int32_t result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_loop_stall_microseconds",
                                    "Longest time that one event held up the loop since the last scrape", labels, 1,
                                    &gauge->stall, error);
    gauges->loop_count += result == 0;
    return result;
}

static int32_t add_all(hf_gauges *gauges, hf_process *process, const char *version, hf_error *error)
{
    hf_metrics *metrics = hf_process_metrics(process);
    const char *const labels[1][2] = {{"version", version}};
    hf_metric *build = NULL;

    int32_t result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_build_info", "Always 1; says what runs", labels,
                                    1, &build, error);
    if (!result)
        hf_metric_set(build, 1);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_process_resident_bytes", "Memory in use", NULL, 0,
                                &gauges->resident, error);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_process_open_files", "Open file descriptors", NULL,
                                0, &gauges->files, error);
    if (!result)
        result = hf_metrics_add(metrics, HF_METRIC_GAUGE, "holdfast_process_uptime_seconds", "Since the start", NULL, 0,
                                &gauges->uptime, error);
    if (!result)
        result = add_loop(gauges, metrics, hf_process_main_loop(process), error);
    for (uint32_t i = 0; !result && hf_process_worker(process, i); i++)
        result = add_loop(gauges, metrics, hf_process_worker(process, i), error);
    return result;
}

int32_t hf_gauges_create(hf_process *process, const char *version, hf_gauges **ret_gauges, hf_error *error)
{
    hf_gauges *gauges = calloc(1, sizeof *gauges);

    if (!gauges)
        return hf_error_set(error, HF_ENOMEM, "no memory for the process's metrics");
    gauges->started_us = hf_clock_us();
    int32_t result = add_all(gauges, process, version, error);
    if (result) {
        hf_gauges_destroy(gauges);
        return result;
    }
    *ret_gauges = gauges;
    return 0;
}

void hf_gauges_destroy(hf_gauges *gauges)
{
    free(gauges); /* metrics live as long as the process's registry */
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(void)
{
    unsigned long long whole = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &whole, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");

    if (!folder)
        return 0;
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* the folder's own */
}

static void raise_to(_Atomic uint64_t *value, uint64_t least)
{
    uint64_t seen = atomic_load_explicit(value, memory_order_relaxed);

    while (seen < least &&
           !atomic_compare_exchange_weak_explicit(value, &seen, least, memory_order_relaxed, memory_order_relaxed))
        ;
}

static void look(struct loop_gauge *gauge)
{
    uint64_t stall_us = hf_loop_take_longest_stall_us(gauge->loop);

    raise_to(&gauge->since_scrape_us, stall_us);
    raise_to(&gauge->since_start_us, stall_us);
}

uint64_t hf_gauges_uptime_us(const hf_gauges *gauges)
{
    return hf_clock_us() - gauges->started_us;
}

void hf_gauges_update(hf_gauges *gauges)
{
    hf_metric_set(gauges->resident, (double)resident_bytes());
    hf_metric_set(gauges->files, (double)open_files());
    hf_metric_set(gauges->uptime, (double)hf_gauges_uptime_us(gauges) / 1e6);
    for (uint32_t i = 0; i < gauges->loop_count; i++) {
        look(&gauges->loops[i]);
        hf_metric_set(gauges->loops[i].stall, (double)atomic_exchange(&gauges->loops[i].since_scrape_us, 0));
    }
}

const char *hf_gauges_loop(hf_gauges *gauges, uint32_t index, uint64_t *ret_longest_stall_us)
{
    if (index >= gauges->loop_count)
        return NULL;
    look(&gauges->loops[index]);
    *ret_longest_stall_us = atomic_load(&gauges->loops[index].since_start_us);
    return gauges->loops[index].name;
}
