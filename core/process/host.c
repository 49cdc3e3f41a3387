/* The host as a plugin sees it: log lines under its name, memory that is accounted to it, and the interfaces that it
 * can ask for by name. */
#include "host.h"

#include "log.h"
#include "loop.h"

#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct plugin_host {
    hf_host host; /* first: a plugin's hf_host pointer is one of this */
    hf_process *process;
    char *name;
    _Atomic uint64_t memory;
};

/* In front of each of a plugin's blocks; its size keeps them aligned for every type. */
struct block {
    _Alignas(max_align_t) uint64_t size;
};

static struct plugin_host *of(const hf_host *host)
{
    return (struct plugin_host *)(uintptr_t)host;
}

/* ---- The root ------------------------------------------------------------------------------------------------ */

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    hf_log_write(level, of(host)->name, message, NULL, 0);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    uint64_t whole;

    if (__builtin_add_overflow(size, sizeof(struct block), &whole))
        return NULL;
    struct block *block = calloc(1, whole);
    if (!block)
        return NULL;
    block->size = size;
    atomic_fetch_add_explicit(&of(host)->memory, size, memory_order_relaxed);
    return block + 1;
}

static void host_free(const hf_host *host, void *memory)
{
    if (!memory)
        return;
    struct block *block = (struct block *)memory - 1;
    atomic_fetch_sub_explicit(&of(host)->memory, block->size, memory_order_relaxed);
    free(block);
}

/* ---- hf.loop/1 ----------------------------------------------------------------------------------------------- */

static hf_loop *loop_main(const hf_host *host)
{
    return hf_process_main_loop(of(host)->process);
}

static uint32_t loop_worker_count(const hf_host *host)
{
    return hf_process_worker_count(of(host)->process);
}

static hf_loop *loop_worker(const hf_host *host, uint32_t index)
{
    return hf_process_worker(of(host)->process, index);
}

static hf_loop *loop_current(const hf_host *host)
{
    (void)host;
    return hf_loop_current();
}

static int32_t loop_submit(const hf_host *host, hf_job *job, hf_error *error)
{
    return hf_pool_submit(hf_process_pool(of(host)->process), job, error);
}

static const hf_loop_interface loop_interface = {
    .head = HF_HEAD(hf_loop_interface),
    .main_loop = loop_main,
    .worker_count = loop_worker_count,
    .worker = loop_worker,
    .current = loop_current,
    .post = hf_loop_post,
    .submit = loop_submit,
    .now_us = hf_loop_now_us,
    .timer_create = hf_timer_create,
    .timer_start = hf_timer_start,
    .timer_stop = hf_timer_stop,
    .timer_destroy = hf_timer_destroy,
    .watch_create = hf_watch_create,
    .watch_change = hf_watch_change,
    .watch_destroy = hf_watch_destroy,
};

/* ---- Query --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const hf_head *head;
} interfaces[] = {
    {HF_LOOP_INTERFACE, &loop_interface.head},
};

static const hf_head *host_query(const hf_host *host, const char *name)
{
    (void)host;
    for (size_t i = 0; i < sizeof interfaces / sizeof interfaces[0]; i++)
        if (strcmp(interfaces[i].name, name) == 0)
            return interfaces[i].head;
    return NULL;
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

int32_t hf_process_host_create(hf_process *process, const char *name, const hf_host **ret_host, hf_error *error)
{
    struct plugin_host *host = calloc(1, sizeof *host);

    if (host)
        host->name = strdup(name);
    if (!host || !host->name) {
        free(host);
        return hf_error_set(error, HF_ENOMEM, "no memory for the host of '%s'", name);
    }
    host->process = process;
    host->host = (hf_host){HF_HEAD(hf_host), host_log, host_alloc, host_free, host_query};
    *ret_host = &host->host;
    return 0;
}

uint64_t hf_process_host_memory(const hf_host *host)
{
    return atomic_load_explicit(&of(host)->memory, memory_order_relaxed);
}

uint64_t hf_process_host_free(const hf_host *host)
{
    if (!host)
        return 0;
    uint64_t left = hf_process_host_memory(host);
    free(of(host)->name);
    free(of(host));
    return left;
}
