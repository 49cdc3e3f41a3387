/* Shows that tasks keep their order and cross threads, timers and watches fire as asked, and the pool is bounded and
 * loses no job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../loop.h"
#include "../pool.h"

enum { PRODUCERS = 4, TASKS = 2000 };

struct counted {
    hf_task task;
    uint32_t producer, number;
    uint32_t *expected;  /* next number of each producer */
    uint32_t *remaining; /* of all producers */
    hf_loop *loop;
};

static void check_order(hf_task *task)
{
    struct counted *counted = (struct counted *)(void *)task;

    assert_ptr_equal(hf_loop_current(), counted->loop);
    assert_int_equal(counted->number, counted->expected[counted->producer]++);
    if (--*counted->remaining == 0)
        hf_loop_stop(counted->loop);
}

static void *produce(void *arg)
{
    struct counted *tasks = arg;

    for (int i = 0; i < TASKS; i++)
        hf_loop_post(tasks[i].loop, &tasks[i].task);
    return NULL;
}

static void tasks_of_each_thread_keep_their_order(void **state)
{
    struct counted *tasks = calloc(PRODUCERS * TASKS, sizeof *tasks);
    uint32_t expected[PRODUCERS] = {0}, remaining = PRODUCERS * TASKS;
    pthread_t threads[PRODUCERS];
    hf_loop *loop;

    (void)state;
    assert_non_null(tasks);
    assert_int_equal(hf_loop_create("test", &loop, NULL), 0);
    for (uint32_t i = 0; i < PRODUCERS * TASKS; i++)
        tasks[i] = (struct counted){{NULL, check_order}, i / TASKS, i % TASKS, expected, &remaining, loop};
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, tasks + i * TASKS), 0);
    hf_loop_run(loop);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(remaining, 0);
    hf_loop_destroy(loop);
    free(tasks);
}

struct ticking {
    hf_loop *loop;
    hf_timer *timer;
    int fired;
};

static void tick(void *arg)
{
    struct ticking *ticking = arg;

    if (++ticking->fired == 3) {
        hf_timer_destroy(ticking->timer); /* allowed from its own function */
        hf_loop_stop(ticking->loop);
    }
}

static void a_timer_repeats_until_destroyed(void **state)
{
    struct ticking ticking = {0};
    uint64_t before_us = hf_clock_us();

    (void)state;
    assert_int_equal(hf_loop_create("test", &ticking.loop, NULL), 0);
    assert_int_equal(hf_timer_create(ticking.loop, tick, &ticking, &ticking.timer, NULL), 0);
    hf_timer_start(ticking.timer, 1000, 2000);
    hf_loop_run(ticking.loop);
    assert_int_equal(ticking.fired, 3);
    assert_true(hf_clock_us() - before_us >= 5000);
    hf_loop_destroy(ticking.loop);
}

static void stop_now(void *arg)
{
    hf_loop_stop(arg);
}

static void a_stopped_timer_does_not_fire(void **state)
{
    struct ticking ticking = {0};
    hf_timer *end;

    (void)state;
    assert_int_equal(hf_loop_create("test", &ticking.loop, NULL), 0);
    assert_int_equal(hf_timer_create(ticking.loop, tick, &ticking, &ticking.timer, NULL), 0);
    assert_int_equal(hf_timer_create(ticking.loop, stop_now, ticking.loop, &end, NULL), 0);
    hf_timer_start(ticking.timer, 1000, 0);
    hf_timer_stop(ticking.timer);
    hf_timer_start(end, 5000, 0);
    hf_loop_run(ticking.loop);
    assert_int_equal(ticking.fired, 0);
    hf_timer_destroy(ticking.timer);
    hf_timer_destroy(end);
    hf_timer_destroy(NULL);
    hf_loop_destroy(ticking.loop);
}

struct watching {
    hf_loop *loop;
    hf_watch *watch;
    uint32_t seen;
};

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct watching *watching = arg;
    char byte;

    watching->seen |= events;
    if (events & HF_WATCH_WRITE) {
        assert_int_equal(write(fd, "x", 1), 1);
        assert_int_equal(hf_watch_change(watching->watch, 0, NULL), 0);
    }
    if (events & HF_WATCH_READ) {
        assert_int_equal(read(fd, &byte, 1), 1);
        hf_loop_stop(watching->loop);
    }
}

static void watches_tell_readable_and_writable(void **state)
{
    struct watching reader = {0}, writer = {0};
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(hf_loop_create("test", &reader.loop, NULL), 0);
    writer.loop = reader.loop;
    assert_int_equal(hf_watch_create(reader.loop, ends[0], HF_WATCH_READ, ready, &reader, &reader.watch, NULL), 0);
    assert_int_equal(hf_watch_create(writer.loop, ends[1], HF_WATCH_WRITE, ready, &writer, &writer.watch, NULL), 0);
    hf_loop_run(reader.loop);
    assert_int_equal(reader.seen, HF_WATCH_READ);
    assert_int_equal(writer.seen, HF_WATCH_WRITE);
    hf_watch_destroy(reader.watch);
    hf_watch_destroy(writer.watch);
    hf_watch_destroy(NULL);
    close(ends[0]);
    close(ends[1]);
    hf_loop_destroy(reader.loop);
}

static void watching_a_closed_descriptor_is_an_error(void **state)
{
    hf_error error;
    hf_watch *watch;
    hf_loop *loop;

    (void)state;
    assert_int_equal(hf_loop_create("test", &loop, NULL), 0);
    assert_int_equal(hf_watch_create(loop, 1 << 20, HF_WATCH_READ, ready, NULL, &watch, &error), HF_EIO);
    assert_non_null(strstr(error.message, "descriptor 1048576"));
    hf_loop_destroy(loop);
}

struct stalling {
    hf_task task;
    hf_loop *loop;
};

static void stall(hf_task *task)
{
    struct stalling *stalling = (struct stalling *)(void *)task;
    uint64_t until_us = hf_clock_us() + 3000;

    while (hf_clock_us() < until_us) /* a stall is the thing under test */
        ;
    hf_loop_stop(stalling->loop);
}

static void the_longest_stall_is_measured(void **state)
{
    struct stalling stalling = {.task.run = stall};

    (void)state;
    assert_int_equal(hf_loop_create("test", &stalling.loop, NULL), 0);
    hf_loop_post(stalling.loop, &stalling.task);
    hf_loop_run(stalling.loop);
    assert_true(hf_loop_take_longest_stall_us(stalling.loop) >= 3000);
    assert_int_equal(hf_loop_take_longest_stall_us(stalling.loop), 0);
    hf_loop_destroy(stalling.loop);
}

/* ---- The pool ------------------------------------------------------------------------------------------------ */

struct working {
    hf_job job;
    pthread_mutex_t *gate; /* held by the test while the job shall wait */
    pthread_t worked_on;
    int *remaining;
};

static void work(hf_job *job)
{
    struct working *working = (struct working *)(void *)job;

    pthread_mutex_lock(working->gate);
    pthread_mutex_unlock(working->gate);
    working->worked_on = pthread_self();
}

static void done(hf_job *job)
{
    struct working *working = (struct working *)(void *)job;

    assert_ptr_equal(hf_loop_current(), job->loop);
    assert_false(pthread_equal(working->worked_on, pthread_self()));
    if (--*working->remaining == 0)
        hf_loop_stop(job->loop);
}

static void the_pool_is_bounded_and_loses_nothing(void **state)
{
    enum { LIMIT = 4, MOST = LIMIT + 2 };
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct working jobs[MOST];
    hf_error error;
    hf_loop *loop;
    hf_pool *pool;
    int accepted = 0, result = 0;

    (void)state;
    assert_int_equal(hf_loop_create("test", &loop, NULL), 0);
    assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 1, LIMIT, &pool, NULL), 0);
    pthread_mutex_lock(&gate);
    for (; accepted < MOST; accepted++) {
        jobs[accepted] =
            (struct working){.job = {.loop = loop, .work = work, .done = done}, .gate = &gate, .remaining = &accepted};
        result = hf_pool_submit(pool, &jobs[accepted].job, &error);
        if (result)
            break;
    }
    /* One job may have been taken by the thread before the queue was full. */
    assert_int_equal(result, HF_EBUSY);
    assert_int_equal(error.retry, HF_RETRY_LATER);
    assert_true(accepted == LIMIT || accepted == LIMIT + 1);
    pthread_mutex_unlock(&gate);
    hf_loop_run(loop);
    assert_int_equal(accepted, 0);
    hf_pool_destroy(pool);
    hf_pool_destroy(NULL);
    hf_loop_destroy(loop);
}

static void a_pool_without_threads_is_refused(void **state)
{
    hf_error error;
    hf_pool *pool;

    (void)state;
    assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 0, 1, &pool, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "expected 1 to 256"));
}

struct niceness {
    hf_job job;
    int *remaining;
    int value;
};

static void note_niceness(hf_job *job)
{
    ((struct niceness *)(void *)job)->value = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
}

static void niceness_noted(hf_job *job)
{
    if (--*((struct niceness *)(void *)job)->remaining == 0)
        hf_loop_stop(job->loop);
}

/* Whoever runs the test may be nice already, but not nicer than bulk work. */
static void the_pools_give_way_as_told(void **state)
{
    int own = getpriority(PRIO_PROCESS, 0), remaining = 2;
    struct niceness jobs[2];
    hf_pool *background, *bulk;
    hf_loop *loop;

    (void)state;
    assert_int_equal(hf_loop_create("test", &loop, NULL), 0);
    assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 1, 4, &background, NULL), 0);
    assert_int_equal(hf_pool_create("bulk pool", HF_URGENCY_BULK, 1, 4, &bulk, NULL), 0);
    for (int i = 0; i < 2; i++) {
        jobs[i] = (struct niceness){.job = {.loop = loop, .work = note_niceness, .done = niceness_noted},
                                    .remaining = &remaining};
        assert_int_equal(hf_pool_submit(i ? bulk : background, &jobs[i].job, NULL), 0);
    }
    hf_loop_run(loop);
    assert_true(jobs[0].value >= own);
    assert_true(jobs[1].value > jobs[0].value);
    hf_pool_destroy(background);
    hf_pool_destroy(bulk);
    hf_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_each_thread_keep_their_order),
        cmocka_unit_test(a_timer_repeats_until_destroyed),
        cmocka_unit_test(a_stopped_timer_does_not_fire),
        cmocka_unit_test(watches_tell_readable_and_writable),
        cmocka_unit_test(watching_a_closed_descriptor_is_an_error),
        cmocka_unit_test(the_longest_stall_is_measured),
        cmocka_unit_test(the_pool_is_bounded_and_loses_nothing),
        cmocka_unit_test(a_pool_without_threads_is_refused),
        cmocka_unit_test(the_pools_give_way_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
