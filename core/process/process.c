/* One process: loops, pools, metrics; see process.h. */
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
    hf_loop *bulk_loop;
    hf_pool *pool, *bulk_pool;
    hf_metrics *metrics;
    hf_process_parts parts;
};

static int32_t create_loops(hf_process *process, uint32_t count, hf_error *error)
{
    int32_t result = hf_loop_create("main", &process->main_loop, error);

    if (!result)
        result = hf_loop_create("bulk", &process->bulk_loop, error);
    while (!result && process->worker_count < count) {
        char name[24];
        snprintf(name, sizeof name, "worker-%u", process->worker_count);
        result = hf_loop_create(name, &process->workers[process->worker_count], error);
        if (!result)
            process->worker_count++;
    }
    return result;
}

static int32_t create_pools(hf_process *process, const hf_process_settings *settings, hf_error *error)
{
    int32_t result = hf_pool_create("pool", HF_URGENCY_BACKGROUND, settings->pool_threads, settings->pool_queue_limit,
                                    &process->pool, error);

    return result ? result
                  : hf_pool_create("bulk pool", HF_URGENCY_BULK, settings->pool_threads, settings->pool_queue_limit,
                                   &process->bulk_pool, error);
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
        result = create_pools(process, settings, error);
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
    hf_pool_destroy(process->bulk_pool); /* first: they post what is done to the loops, which then run it */
    hf_pool_destroy(process->pool);
    for (uint32_t i = 0; i < process->worker_count; i++)
        hf_loop_destroy(process->workers[i]);
    hf_loop_destroy(process->bulk_loop);
    hf_loop_destroy(process->main_loop);
    hf_metrics_destroy(process->metrics);
    free(process);
}

static hf_loop *threaded_loop(const hf_process *process, uint32_t index)
{
    return index < process->worker_count ? process->workers[index] : process->bulk_loop;
}

static void stop_threads(hf_process *process, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        hf_loop_stop(threaded_loop(process, i));
    for (uint32_t i = 0; i < count; i++)
        hf_loop_thread_join(threaded_loop(process, i));
}

int32_t hf_process_run(hf_process *process, hf_error *error)
{
    uint32_t count = process->worker_count + 1;

    for (uint32_t i = 0; i < count; i++) {
        int32_t result = hf_loop_thread_start(threaded_loop(process, i),
                                              i < process->worker_count ? HF_URGENCY_SERVE : HF_URGENCY_BULK, error);
        if (result) {
            stop_threads(process, i);
            return result;
        }
    }
    hf_loop_run(process->main_loop);
    stop_threads(process, count);
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

hf_loop *hf_process_bulk_loop(hf_process *process)
{
    return process->bulk_loop;
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

hf_pool *hf_process_bulk_pool(hf_process *process)
{
    return process->bulk_pool;
}

void hf_process_offer(hf_process *process, const hf_process_parts *parts)
{
    process->parts = *parts;
}

const hf_process_parts *hf_process_offered(const hf_process *process)
{
    return &process->parts;
}
