/* host.c: what the host gives to a service: a loop, a pool, timers, clocks, randomness and the log of messages. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

struct hf_timer {
    struct hf_timer *next;
    node *of;
    hf_timer_function function;
    void *arg;
    uint64_t number; /* of the event that it waits for; 0: idle */
};

uint64_t local_time(const node *n)
{
    return n->offset + now * n->rate / 1000;
}

uint64_t wall_time(const node *n)
{
    return WALL_US + now + (uint64_t)n->wall;
}

uint64_t sim_clock_us(void)
{
    return local_time(here);
}

/* ---- Tasks and jobs ---------------------------------------------------------------------------------------------- */

static hf_loop *current(const hf_host *host)
{
    (void)host;
    return here ? &here->loop : NULL;
}

static hf_loop *main_loop(const hf_host *host)
{
    return &((node *)(uintptr_t)host)->loop;
}

static void post(hf_loop *loop, hf_task *task)
{
    node *n = loop->of;

    task->next = NULL;
    *n->tasks_end = task;
    n->tasks_end = &task->next;
    if (n->tasks_scheduled)
        return;
    n->tasks_scheduled = true;
    schedule((event){.at = now + 1, .type = EV_TASKS, .node = n->index, .life = n->life});
}

void run_tasks(node *n)
{
    hf_task *task = n->tasks;

    n->tasks = NULL;
    n->tasks_end = &n->tasks;
    n->tasks_scheduled = false;
    while (task) { /* what these post runs in the next turn */
        hf_task *next = task->next;

        task->run(task);
        task = next;
    }
}

static int32_t submit(const hf_host *host, hf_job *job, hf_error *error)
{
    node *n = (node *)(uintptr_t)host;

    (void)error;
    if (!calm && roll(200) == 0) {
        fault_counts[FAULT_POOL_FULL]++;
        return HF_EBUSY;
    }
    schedule((event){.at = now + 10 + roll(300), .type = EV_WORK, .node = n->index, .life = n->life, .data = job});
    return HF_OK;
}

/* ---- Timers ------------------------------------------------------------------------------------------------------ */

static uint64_t loop_now(hf_loop *loop)
{
    return loop->of->loop_now;
}

static int32_t create_timer(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer, hf_error *error)
{
    hf_timer *timer = calloc(1, sizeof *timer);

    (void)error;
    *timer = (hf_timer){loop->of->timers, loop->of, function, arg, 0};
    loop->of->timers = timer;
    *ret_timer = timer;
    return HF_OK;
}

static void start_timer(hf_timer *timer, uint64_t delay_us, uint64_t period_us)
{
    if (period_us)
        fail("the simulator has no periodic timers", period_us, 0);
    timer->number = ++serial;
    schedule((event){.at = now + delay_us * 1000 / timer->of->rate + 1,
                     .type = EV_TIMER,
                     .node = timer->of->index,
                     .life = timer->of->life,
                     .number = timer->number});
}

static void stop_timer(hf_timer *timer)
{
    timer->number = 0;
}

static void destroy_timer(hf_timer *timer)
{
    hf_timer **link;

    if (!timer)
        return;
    for (link = &timer->of->timers; *link != timer; link = &(*link)->next)
        ;
    *link = timer->next;
    free(timer);
}

void run_timer(node *n, uint64_t number)
{
    for (hf_timer *timer = n->timers; timer; timer = timer->next)
        if (timer->number == number) {
            timer->number = 0;
            timer->function(timer->arg);
            return;
        }
}

const hf_loop_interface sim_loops = {
    .head = HF_HEAD(hf_loop_interface),
    .main_loop = main_loop,
    .current = current,
    .post = post,
    .submit = submit,
    .now_us = loop_now,
    .timer_create = create_timer,
    .timer_start = start_timer,
    .timer_stop = stop_timer,
    .timer_destroy = destroy_timer,
    .submit_bulk = submit,
};

/* ---- The rest ---------------------------------------------------------------------------------------------------- */

static uint64_t host_wall_us(const hf_host *host)
{
    return wall_time((const node *)(const void *)host);
}

static void host_random(const hf_host *host, void *bytes, uint64_t size)
{
    uint8_t *to = bytes;

    (void)host;
    for (uint64_t i = 0; i < size; i++)
        to[i] = (uint8_t)roll(256);
}

const hf_node_interface sim_node_interface = {
    .head = HF_HEAD(hf_node_interface),
    .wall_us = host_wall_us,
    .random = host_random,
};

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    say("node %u [%d] %.*s", ((const node *)(const void *)host)->index, level, (int)message.size,
        (const char *)message.data);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    (void)host;
    return calloc(1, size);
}

static void host_free(const hf_host *host, void *memory)
{
    (void)host;
    free(memory);
}

/* An engine's data outlives its node. */
static void *engine_alloc(const hf_host *host, uint64_t size)
{
    uint32_t owner = heap_of_all();
    void *memory = calloc(1, size);

    (void)host;
    heap_back(owner);
    return memory;
}

/* It offers nothing beyond what the service has been given. */
static const hf_head *host_query(const hf_host *host, const char *name)
{
    (void)host;
    (void)name;
    return NULL;
}

void host_begin(node *n)
{
    n->host = (hf_host){
        .head = HF_HEAD(hf_host), .log = host_log, .alloc = host_alloc, .free = host_free, .query = host_query};
    n->engine_host = n->host;
    n->engine_host.alloc = engine_alloc;
    n->loop.of = n;
    n->tasks = NULL;
    n->tasks_end = &n->tasks;
    n->tasks_scheduled = false;
    n->timers = NULL;
    n->calls = NULL;
    n->channel_count = 0;
}
