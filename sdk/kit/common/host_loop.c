/* hf.loop/1: all loops and the pool on the check's thread, by a clock that the check moves. */
#include "host_private.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

enum { PASSES_MAX = 1000 };

struct hf_timer {
    hf_timer *next;
    hf_loop *loop;
    hf_timer_function function;
    void *arg;
    uint64_t due_us; /* 0: idle */
    uint64_t period_us;
};

struct hf_watch {
    hf_watch *next;
    hf_loop *loop;
    int32_t fd;
    uint32_t events;
    hf_watch_function function;
    void *arg;
};

struct kit_posted {
    hf_task task;
    void (*function)(void *arg);
    void *arg;
};

/* ---- The table --------------------------------------------------------------------------------------------------- */

static hf_loop *loop_main(const hf_host *host)
{
    return &kit_of(host)->loops[0];
}

static uint32_t loop_worker_count(const hf_host *host)
{
    (void)host;
    return KIT_WORKERS;
}

static hf_loop *loop_worker(const hf_host *host, uint32_t index)
{
    if (index >= KIT_WORKERS)
        hf_kit_fail("the worker loop %u was asked for, of %d", index, KIT_WORKERS);
    return &kit_of(host)->loops[1 + index];
}

static hf_loop *loop_current(const hf_host *host)
{
    hf_kit_host *kit = kit_of(host);

    return kit_on_thread(kit) ? kit->running : NULL;
}

static void post_locked(hf_loop *loop, hf_task *task)
{
    task->next = NULL;
    if (loop->first)
        loop->last->next = task;
    else
        loop->first = task;
    loop->last = task;
    pthread_cond_signal(&loop->host->posted);
}

static void loop_post(hf_loop *loop, hf_task *task)
{
    if (!loop || !task || !task->run)
        hf_kit_fail("a task was posted without a loop, or without a function to run");
    pthread_mutex_lock(&loop->host->lock);
    post_locked(loop, task);
    pthread_mutex_unlock(&loop->host->lock);
}

static int32_t loop_submit(const hf_host *host, hf_job *job, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);

    (void)error;
    if (!job->work || !job->done || !job->loop)
        hf_kit_fail("a job was submitted without work, done or a loop");
    pthread_mutex_lock(&kit->lock);
    job->task.next = NULL;
    if (kit->jobs)
        kit->jobs_last->task.next = &job->task;
    else
        kit->jobs = job;
    kit->jobs_last = job;
    pthread_cond_signal(&kit->posted);
    pthread_mutex_unlock(&kit->lock);
    return HF_OK;
}

static uint64_t loop_now_us(hf_loop *loop)
{
    return loop->host->now_us;
}

static int32_t timer_create_(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer,
                             hf_error *error)
{
    (void)error;
    kit_must_be_on(loop, "timer_create");
    hf_timer *timer = kit_allocate(sizeof *timer);
    *timer = (hf_timer){.next = loop->timers, .loop = loop, .function = function, .arg = arg};
    loop->timers = timer;
    *ret_timer = timer;
    return HF_OK;
}

static void timer_start(hf_timer *timer, uint64_t delay_us, uint64_t period_us)
{
    kit_must_be_on(timer->loop, "timer_start");
    timer->due_us = timer->loop->host->now_us + (delay_us ? delay_us : 1);
    timer->period_us = period_us;
}

static void timer_stop(hf_timer *timer)
{
    kit_must_be_on(timer->loop, "timer_stop");
    timer->due_us = 0;
}

static void timer_destroy(hf_timer *timer)
{
    if (!timer)
        return;
    kit_must_be_on(timer->loop, "timer_destroy");
    hf_timer **at = &timer->loop->timers;
    while (*at && *at != timer)
        at = &(*at)->next;
    if (!*at)
        hf_kit_fail("a timer was destroyed twice");
    *at = timer->next;
    free(timer);
}

static int32_t watch_create(hf_loop *loop, int32_t fd, uint32_t events, hf_watch_function function, void *arg,
                            hf_watch **ret_watch, hf_error *error)
{
    kit_must_be_on(loop, "watch_create");
    if (fd < 0)
        return hf_error_set(error, HF_EINVAL, "%d is not a file descriptor", fd);
    hf_watch *watch = kit_allocate(sizeof *watch);
    *watch = (hf_watch){loop->watches, loop, fd, events, function, arg};
    loop->watches = watch;
    *ret_watch = watch;
    return HF_OK;
}

static int32_t watch_change(hf_watch *watch, uint32_t events, hf_error *error)
{
    (void)error;
    kit_must_be_on(watch->loop, "watch_change");
    watch->events = events;
    return HF_OK;
}

static void watch_destroy(hf_watch *watch)
{
    if (!watch)
        return;
    kit_must_be_on(watch->loop, "watch_destroy");
    hf_watch **at = &watch->loop->watches;
    while (*at && *at != watch)
        at = &(*at)->next;
    if (!*at)
        hf_kit_fail("a watch was destroyed twice");
    *at = watch->next;
    free(watch);
}

const hf_loop_interface kit_loop_interface = {
    .head = HF_HEAD(hf_loop_interface),
    .main_loop = loop_main,
    .worker_count = loop_worker_count,
    .worker = loop_worker,
    .current = loop_current,
    .post = loop_post,
    .submit = loop_submit,
    .now_us = loop_now_us,
    .timer_create = timer_create_,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_destroy = timer_destroy,
    .watch_create = watch_create,
    .watch_change = watch_change,
    .watch_destroy = watch_destroy,
    .submit_bulk = loop_submit,
};

/* ---- Running ----------------------------------------------------------------------------------------------------- */

/* The tasks that wait now; those that they post come with the next pass. */
static int32_t run_tasks(hf_loop *loop)
{
    pthread_mutex_lock(&loop->host->lock);
    hf_task *task = loop->first;
    loop->first = NULL;
    pthread_mutex_unlock(&loop->host->lock);
    int32_t any = task != NULL;

    loop->host->running = loop;
    while (task) {
        hf_task *next = task->next; /* `run` may free it */
        task->run(task);
        task = next;
    }
    return any;
}

static void finish_job(hf_task *task)
{
    hf_job *job = (hf_job *)(void *)task;

    job->done(job);
}

static int32_t run_job(hf_kit_host *host)
{
    pthread_mutex_lock(&host->lock);
    hf_job *job = host->jobs;
    if (job)
        host->jobs = (hf_job *)(void *)job->task.next;
    pthread_mutex_unlock(&host->lock);
    if (!job)
        return 0;
    host->running = NULL; /* a pool thread has no loop */
    job->work(job);
    job->task.run = finish_job;
    loop_post(job->loop, &job->task);
    return 1;
}

static hf_timer *due_timer(hf_loop *loop, uint64_t until_us)
{
    hf_timer *found = NULL;

    for (hf_timer *timer = loop->timers; timer; timer = timer->next)
        if (timer->due_us && timer->due_us <= until_us && (!found || timer->due_us < found->due_us))
            found = timer;
    return found;
}

static int32_t run_timer(hf_loop *loop)
{
    hf_timer *timer = due_timer(loop, loop->host->now_us);

    if (!timer)
        return 0;
    timer->due_us = timer->period_us ? loop->host->now_us + timer->period_us : 0;
    loop->host->running = loop;
    timer->function(timer->arg); /* may destroy it */
    return 1;
}

/* One ready descriptor: what its function does may change any other. */
static int32_t run_watch(hf_loop *loop)
{
    for (hf_watch *watch = loop->watches; watch; watch = watch->next) {
        short wanted =
            (short)((watch->events & HF_WATCH_READ ? POLLIN : 0) | (watch->events & HF_WATCH_WRITE ? POLLOUT : 0));
        struct pollfd ready = {.fd = watch->fd, .events = wanted};
        if (!wanted || poll(&ready, 1, 0) <= 0)
            continue;
        if (ready.revents & POLLNVAL)
            hf_kit_fail("the descriptor %d was closed before its watch was destroyed", watch->fd);
        uint32_t events = (ready.revents & (POLLIN | POLLHUP | POLLERR) ? HF_WATCH_READ : 0) |
                          (ready.revents & (POLLOUT | POLLERR) ? HF_WATCH_WRITE : 0);
        loop->host->running = loop;
        watch->function(watch->arg, watch->fd, events & watch->events);
        return 1;
    }
    return 0;
}

int32_t kit_run_ready(hf_kit_host *host)
{
    int32_t any = 0, more = 1;

    for (int32_t pass = 0; more && pass < PASSES_MAX; pass++) {
        more = 0;
        for (uint32_t i = 0; i <= KIT_WORKERS; i++) {
            more |= run_tasks(&host->loops[i]);
            more |= run_timer(&host->loops[i]);
            more |= run_watch(&host->loops[i]);
        }
        more |= run_job(host);
        any |= more;
    }
    host->running = &host->loops[0];
    return any;
}

void kit_run_timers(hf_kit_host *host)
{
    host->begun = 1;
    for (uint32_t i = 0; i <= KIT_WORKERS; i++)
        run_timer(&host->loops[i]);
    host->running = &host->loops[0];
}

void hf_kit_host_advance(hf_kit_host *host, uint64_t us)
{
    uint64_t target = host->now_us + us;

    host->begun = 1;
    for (;;) {
        hf_timer *next = NULL;
        kit_run_ready(host);
        for (uint32_t i = 0; i <= KIT_WORKERS; i++) {
            hf_timer *timer = due_timer(&host->loops[i], target);
            if (timer && (!next || timer->due_us < next->due_us))
                next = timer;
        }
        if (!next)
            break;
        if (next->due_us > host->now_us)
            host->now_us = next->due_us;
    }
    host->now_us = target;
    kit_run_ready(host);
}

static uint64_t real_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int32_t anything_posted(const hf_kit_host *host)
{
    for (uint32_t i = 0; i <= KIT_WORKERS; i++)
        if (host->loops[i].first)
            return 1;
    return host->jobs != NULL;
}

/* Until another thread posts, at most a millisecond: timers and descriptors are looked at again then. */
static void wait_for_post(hf_kit_host *host)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&host->lock);
    while (!anything_posted(host) && pthread_cond_timedwait(&host->posted, &host->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&host->lock);
}

int32_t hf_kit_host_run_until(hf_kit_host *host, int32_t (*condition)(void *arg), void *arg, uint64_t limit_us)
{
    uint64_t begun = real_us(), clock_begun = host->now_us;

    host->begun = 1;
    for (;;) {
        kit_run_ready(host);
        if (condition && condition(arg))
            return 1;
        uint64_t passed = real_us() - begun;
        if (passed >= limit_us)
            return 0;
        wait_for_post(host);
        if (clock_begun + passed > host->now_us)
            host->now_us = clock_begun + passed;
    }
}

static void run_posted(hf_task *task)
{
    struct kit_posted *posted = (struct kit_posted *)(void *)task;
    void (*function)(void *arg) = posted->function;
    void *arg = posted->arg;

    free(posted);
    function(arg);
}

void kit_call_on(hf_loop *loop, void (*function)(void *arg), void *arg)
{
    struct kit_posted *posted = kit_allocate(sizeof *posted);

    *posted = (struct kit_posted){{NULL, run_posted}, function, arg};
    loop_post(loop, &posted->task);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

void kit_loops_create(hf_kit_host *host)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->posted, &attributes);
    pthread_condattr_destroy(&attributes);
    for (uint32_t i = 0; i <= KIT_WORKERS; i++)
        host->loops[i].host = host;
    host->running = &host->loops[0];
    host->now_us = 1000000;
}

uint32_t hf_kit_host_timers(const hf_kit_host *host)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i <= KIT_WORKERS; i++)
        for (const hf_timer *timer = host->loops[i].timers; timer; timer = timer->next)
            count++;
    return count;
}

uint32_t hf_kit_host_watches(const hf_kit_host *host)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i <= KIT_WORKERS; i++)
        for (const hf_watch *watch = host->loops[i].watches; watch; watch = watch->next)
            count++;
    return count;
}

int32_t kit_is_watched(const hf_loop *loop, int32_t fd)
{
    for (const hf_watch *watch = loop->watches; watch; watch = watch->next)
        if (watch->fd == fd)
            return 1;
    return 0;
}

/* Tasks that wait belong to whoever posted them; they are not run any more. */
void kit_loops_destroy(hf_kit_host *host)
{
    host->ended = 1;
    for (uint32_t i = 0; i <= KIT_WORKERS; i++) {
        while (host->loops[i].timers)
            timer_destroy(host->loops[i].timers);
        while (host->loops[i].watches)
            watch_destroy(host->loops[i].watches);
        for (hf_task *task = host->loops[i].first, *next; task; task = next) {
            next = task->next;
            if (task->run == run_posted)
                free(task);
        }
    }
    pthread_cond_destroy(&host->posted);
    pthread_mutex_destroy(&host->lock);
}
