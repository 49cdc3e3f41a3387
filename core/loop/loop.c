/* An event loop on libevent.  Each loop is run by one thread at a time; other threads reach it only through post.
 *
 * The queue of posted tasks is a lock-free stack that producers push to and the loop takes whole and reverses: tasks of
 * one producer keep their order, a push is one compare-and-swap, and only the push that finds the stack empty pays for
 * a wake-up through the eventfd. */
#include "loop.h"

#include <errno.h>
#include <event2/event.h>
#include <holdfast/lib/error.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct hf_loop {
    struct event_base *base;
    struct event *wake_event;
    int wake_fd;
    _Atomic(hf_task *) posted;
    atomic_bool stopping;
    _Atomic uint64_t longest_stall_us;
    uint64_t woke_us; /* when the present wake-up began; the loop's thread only */
    pthread_t thread;
    hf_urgency urgency; /* of the thread */
    int threaded;
    char name[16]; /* the kernel's limit for a thread's name */
};

struct hf_timer {
    hf_loop *loop;
    struct event *event;
    hf_timer_function function;
    void *arg;
    uint64_t period_us;
};

struct hf_watch {
    hf_loop *loop;
    struct event *event;
    hf_watch_function function;
    void *arg;
    int32_t fd;
};

static _Thread_local hf_loop *current_loop;

uint64_t hf_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

hf_loop *hf_loop_current(void)
{
    return current_loop;
}

uint64_t hf_loop_now_us(hf_loop *loop)
{
    return loop->woke_us ? loop->woke_us : hf_clock_us();
}

/* ---- Posted tasks -------------------------------------------------------------------------------------------- */

static void wake(hf_loop *loop)
{
    uint64_t one = 1;

    if (current_loop == loop) { /* awake, and on its own thread: no system call is needed */
        event_active(loop->wake_event, EV_TIMEOUT, 0);
        return;
    }

    /* EAGAIN means that the counter is at its maximum: the loop is awake already. */
    while (write(loop->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void hf_loop_post(hf_loop *loop, hf_task *task)
{
    hf_task *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);

    do
        task->next = head;
    while (
        !atomic_compare_exchange_weak_explicit(&loop->posted, &head, task, memory_order_release, memory_order_relaxed));
    if (!head)
        wake(loop);
}

static hf_task *take_posted(hf_loop *loop)
{
    hf_task *task = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    hf_task *in_order = NULL;

    while (task) {
        hf_task *next = task->next;
        task->next = in_order;
        in_order = task;
        task = next;
    }
    return in_order;
}

/* Runs what was posted before the call; what these tasks post waits for the next round, so that sockets get their
 * turn. */
static int run_posted(hf_loop *loop)
{
    hf_task *task = take_posted(loop);
    int ran = task != NULL;

    while (task) {
        hf_task *next = task->next; /* the task may be gone after run */
        task->run(task);
        task = next;
    }
    return ran;
}

/* ---- Running ------------------------------------------------------------------------------------------------- */

static void begin_wake(hf_loop *loop)
{
    loop->woke_us = hf_clock_us();
}

/* Every callback passes here, so the stall is that of one callback, the smallest unit that can hold up others. */
static void end_wake(hf_loop *loop)
{
    uint64_t took_us = hf_clock_us() - loop->woke_us;

    if (took_us > atomic_load_explicit(&loop->longest_stall_us, memory_order_relaxed))
        atomic_store_explicit(&loop->longest_stall_us, took_us, memory_order_relaxed);
    loop->woke_us = 0;
}

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
    hf_loop *loop = arg;
    uint64_t count;

    while ((events & EV_READ) && read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    begin_wake(loop);
    run_posted(loop);
    end_wake(loop);
    if (atomic_load_explicit(&loop->stopping, memory_order_acquire))
        event_base_loopbreak(loop->base);
}

uint64_t hf_loop_take_longest_stall_us(hf_loop *loop)
{
    return atomic_exchange_explicit(&loop->longest_stall_us, 0, memory_order_relaxed);
}

void hf_loop_run(hf_loop *loop)
{
    hf_loop *outer = current_loop;

    current_loop = loop;
    event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
    current_loop = outer;
    atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
}

void hf_loop_stop(hf_loop *loop)
{
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    wake(loop);
}

static void *loop_thread(void *arg)
{
    hf_loop *loop = arg;

    (void)pthread_setname_np(pthread_self(), loop->name); /* only for people who look at it */
    hf_urgency_set(loop->urgency);
    hf_loop_run(loop);
    return NULL;
}

int32_t hf_loop_thread_start(hf_loop *loop, hf_urgency urgency, hf_error *error)
{
    loop->urgency = urgency;
    int result = pthread_create(&loop->thread, NULL, loop_thread, loop);

    if (result)
        return hf_error_set_errno(error, HF_EIO, result, "cannot start the thread of loop '%s'", loop->name);
    loop->threaded = 1;
    return 0;
}

void hf_loop_thread_join(hf_loop *loop)
{
    if (!loop->threaded)
        return;
    pthread_join(loop->thread, NULL);
    loop->threaded = 0;
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

static int32_t open_base(hf_loop *loop, hf_error *error)
{
    struct event_config *config = event_config_new();

    if (!config)
        return hf_error_set(error, HF_ENOMEM, "no memory for loop '%s'", loop->name);
    /* One thread per loop: libevent's own locks would only cost. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop->base)
        return hf_error_set(error, HF_EIO, "loop '%s': libevent could not set up epoll", loop->name);
    return 0;
}

static int32_t open_wake(hf_loop *loop, hf_error *error)
{
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "loop '%s': cannot create an eventfd", loop->name);
    loop->wake_event = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    if (!loop->wake_event || event_add(loop->wake_event, NULL) < 0)
        return hf_error_set(error, HF_ENOMEM, "no memory for loop '%s'", loop->name);
    return 0;
}

int32_t hf_loop_create(const char *name, hf_loop **ret_loop, hf_error *error)
{
    hf_loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return hf_error_set(error, HF_ENOMEM, "no memory for loop '%s'", name);
    loop->wake_fd = -1;
    strncpy(loop->name, name, sizeof loop->name - 1);

    int32_t result = open_base(loop, error);
    if (!result)
        result = open_wake(loop, error);
    if (result) {
        hf_loop_destroy(loop);
        return result;
    }
    *ret_loop = loop;
    return 0;
}

void hf_loop_destroy(hf_loop *loop)
{
    if (!loop)
        return;
    while (run_posted(loop))
        ;
    if (loop->wake_event)
        event_free(loop->wake_event);
    if (loop->wake_fd >= 0)
        (void)close(loop->wake_fd); /* an eventfd holds nothing that could be lost */
    if (loop->base)
        event_base_free(loop->base);
    free(loop);
}

/* ---- Timers -------------------------------------------------------------------------------------------------- */

static struct timeval as_timeval(uint64_t us)
{
    return (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
}

static void on_timer(evutil_socket_t fd, short events, void *arg)
{
    hf_timer *timer = arg;
    hf_loop *loop = timer->loop;

    (void)fd;
    (void)events;
    begin_wake(loop);
    if (timer->period_us)
        hf_timer_start(timer, timer->period_us, timer->period_us);
    timer->function(timer->arg); /* may destroy the timer */
    end_wake(loop);
}

int32_t hf_timer_create(hf_loop *loop, hf_timer_function function, void *arg, hf_timer **ret_timer, hf_error *error)
{
    hf_timer *timer = calloc(1, sizeof *timer);

    if (!timer)
        return hf_error_set(error, HF_ENOMEM, "no memory for a timer");
    timer->loop = loop;
    timer->function = function;
    timer->arg = arg;
    timer->event = evtimer_new(loop->base, on_timer, timer);
    if (!timer->event) {
        free(timer);
        return hf_error_set(error, HF_ENOMEM, "no memory for a timer");
    }
    *ret_timer = timer;
    return 0;
}

void hf_timer_start(hf_timer *timer, uint64_t delay_us, uint64_t period_us)
{
    struct timeval delay = as_timeval(delay_us);

    timer->period_us = period_us;
    /* libevent allocates room for a timer's heap slot here; without memory for that nothing in the process can go on
     * correctly, because time-outs would be lost silently. */
    if (evtimer_add(timer->event, &delay) < 0)
        abort();
}

void hf_timer_stop(hf_timer *timer)
{
    timer->period_us = 0;
    evtimer_del(timer->event);
}

void hf_timer_destroy(hf_timer *timer)
{
    if (!timer)
        return;
    event_free(timer->event);
    free(timer);
}

/* ---- Watches ------------------------------------------------------------------------------------------------- */

static void on_ready(evutil_socket_t fd, short events, void *arg)
{
    hf_watch *watch = arg;
    hf_loop *loop = watch->loop;
    uint32_t ready = (events & EV_READ ? HF_WATCH_READ : 0) | (events & EV_WRITE ? HF_WATCH_WRITE : 0);

    (void)fd;
    begin_wake(loop);
    watch->function(watch->arg, watch->fd, ready); /* may destroy the watch */
    end_wake(loop);
}

static short as_libevent(uint32_t events)
{
    return (short)((events & HF_WATCH_READ ? EV_READ : 0) | (events & HF_WATCH_WRITE ? EV_WRITE : 0) | EV_PERSIST);
}

static int32_t arm(hf_watch *watch, hf_error *error)
{
    if (event_add(watch->event, NULL) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot watch descriptor %d", watch->fd);
    return 0;
}

int32_t hf_watch_create(hf_loop *loop, int32_t fd, uint32_t events, hf_watch_function function, void *arg,
                        hf_watch **ret_watch, hf_error *error)
{
    hf_watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return hf_error_set(error, HF_ENOMEM, "no memory to watch a descriptor");
    watch->loop = loop;
    watch->fd = fd;
    watch->function = function;
    watch->arg = arg;
    watch->event = event_new(loop->base, fd, as_libevent(events), on_ready, watch);
    if (!watch->event) {
        free(watch);
        return hf_error_set(error, HF_ENOMEM, "no memory to watch a descriptor");
    }
    int32_t result = arm(watch, error);
    if (result) {
        hf_watch_destroy(watch);
        return result;
    }
    *ret_watch = watch;
    return 0;
}

int32_t hf_watch_change(hf_watch *watch, uint32_t events, hf_error *error)
{
    event_del(watch->event);
    if (event_assign(watch->event, watch->loop->base, watch->fd, as_libevent(events), on_ready, watch) < 0)
        return hf_error_set(error, HF_EINVAL, "cannot watch descriptor %d for events %u", watch->fd, events);
    return events ? arm(watch, error) : 0;
}

void hf_watch_destroy(hf_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->event);
    free(watch);
}
