/* One process: loops, pool, metrics; see process.h. */
#include "process.h"

#include "host.h"
#include "loop.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <stdlib.h>

struct hf_process {
    hf_loop *main_loop;
    hf_loop *workers[HF_WORKERS_MAX];
    uint32_t worker_count;
    hf_pool *pool;
    hf_metrics *metrics;
};

static int32_t create_loops(hf_process *process, uint32_t count, hf_error *error)
{
    int32_t result = hf_loop_create("main", &process->main_loop, error);

    while (!result && process->worker_count < count) {
        char name[24];
        snprintf(name, sizeof name, "worker-%u", process->worker_count);
        result = hf_loop_create(name, &process->workers[process->worker_count], error);
        if (!result)
            process->worker_count++;
    }
    return result;
}

int32_t hf_process_create(const hf_process_settings *settings, hf_process **ret_process, hf_error *error)
{
    if (settings->worker_count < 1 || settings->worker_count > HF_WORKERS_MAX)
        return hf_error_set(error, HF_EINVAL, "%u worker loops, expected 1 to %d", settings->worker_count,
                            HF_WORKERS_MAX);

    hf_process *process = calloc(1, sizeof *process);
    if (!process)
        return hf_error_set(error, HF_ENOMEM, "no memory for the process");
    int32_t result = create_loops(process, settings->worker_count, error);
    if (!result)
        result = hf_pool_create(settings->pool_threads, settings->pool_queue_limit, &process->pool, error);
    if (!result)
        result = hf_metrics_create(&process->metrics, error);
    if (result) {
        hf_process_destroy(process);
        return result;
    }
    *ret_process = process;
    return 0;
}

void hf_process_destroy(hf_process *process)
{
    if (!process)
        return;
    hf_pool_destroy(process->pool); /* first: it posts what is done to the loops, which then run it */
    for (uint32_t i = 0; i < process->worker_count; i++)
        hf_loop_destroy(process->workers[i]);
    hf_loop_destroy(process->main_loop);
    hf_metrics_destroy(process->metrics);
    free(process);
}

static void stop_workers(hf_process *process, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        hf_loop_stop(process->workers[i]);
    for (uint32_t i = 0; i < count; i++)
        hf_loop_thread_join(process->workers[i]);
}

int32_t hf_process_run(hf_process *process, hf_error *error)
{
    for (uint32_t i = 0; i < process->worker_count; i++) {
        int32_t result = hf_loop_thread_start(process->workers[i], error);
        if (result) {
            stop_workers(process, i);
            return result;
        }
    }
    hf_loop_run(process->main_loop);
    stop_workers(process, process->worker_count);
    return 0;
}

void hf_process_stop(hf_process *process)
{
    hf_loop_stop(process->main_loop);
}

hf_loop *hf_process_main_loop(hf_process *process)
{
    return process->main_loop;
}

hf_loop *hf_process_worker(hf_process *process, uint32_t index)
{
    return index < process->worker_count ? process->workers[index] : NULL;
}

uint32_t hf_process_worker_count(const hf_process *process)
{
    return process->worker_count;
}

hf_metrics *hf_process_metrics(hf_process *process)
{
    return process->metrics;
}

hf_pool *hf_process_pool(hf_process *process)
{
    return process->pool;
}
