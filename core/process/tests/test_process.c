/* Shows a process at work as a plugin sees it: through its host, tasks reach every worker and the pool, log lines carry
 * its name, its memory is counted, and an interface that is not there is NULL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../process.h"
#include "log.h"

enum { WORKERS = 3 };

struct fixture {
    hf_process *process;
    const hf_host *host;
    const hf_loop_interface *loops;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    const hf_process_settings settings = {WORKERS, 2, 16};

    *state = &fixture;
    if (hf_process_create(&settings, &fixture.process, NULL) ||
        hf_process_host_create(fixture.process, "org.example.test", &fixture.host, NULL))
        return -1;
    fixture.loops = (const hf_loop_interface *)fixture.host->query(fixture.host, HF_LOOP_INTERFACE);
    return fixture.loops ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    uint64_t left = hf_process_host_free(fixture->host);
    hf_process_destroy(fixture->process);
    return left != 0;
}

/* A task that visits every worker, has some work done by the pool, and comes home to the main loop. */
struct journey {
    hf_job job; /* its task serves for the visits */
    struct fixture *fixture;
    uint32_t visited;
    int worked;
};

static struct journey *journey_of(hf_task *task)
{
    return (struct journey *)(void *)((char *)task - offsetof(struct journey, job) - offsetof(hf_job, task));
}

static void work(hf_job *job)
{
    struct journey *journey = (struct journey *)(void *)job;

    journey->worked = journey->fixture->loops->current(journey->fixture->host) == NULL; /* no loop runs here */
}

static void done(hf_job *job)
{
    struct journey *journey = (struct journey *)(void *)job;

    hf_process_stop(journey->fixture->process);
}

static void visit(hf_task *task)
{
    struct journey *journey = journey_of(task);
    const hf_host *host = journey->fixture->host;
    const hf_loop_interface *loops = journey->fixture->loops;

    assert_ptr_equal(loops->current(host), loops->worker(host, journey->visited));
    if (++journey->visited < loops->worker_count(host)) {
        loops->post(loops->worker(host, journey->visited), task);
        return;
    }
    journey->job.loop = loops->main_loop(host);
    journey->job.work = work;
    journey->job.done = done;
    assert_int_equal(loops->submit(host, &journey->job, NULL), 0);
}

static void a_plugin_reaches_every_loop_and_the_pool(void **state)
{
    struct fixture *fixture = *state;
    struct journey journey = {.fixture = fixture};

    journey.job.task.run = visit;
    fixture->loops->post(fixture->loops->worker(fixture->host, 0), &journey.job.task);
    assert_int_equal(hf_process_run(fixture->process, NULL), 0);
    assert_int_equal(journey.visited, WORKERS);
    assert_true(journey.worked);
    assert_null(fixture->loops->worker(fixture->host, WORKERS));
}

static void memory_is_zeroed_aligned_and_counted(void **state)
{
    struct fixture *fixture = *state;
    const hf_host *host = fixture->host;

    uint8_t *first = host->alloc(host, 100), *second = host->alloc(host, 0);
    assert_non_null(first);
    assert_non_null(second);
    for (int i = 0; i < 100; i++)
        assert_int_equal(first[i], 0);
    assert_int_equal((uintptr_t)first % _Alignof(max_align_t), 0);
    assert_int_equal(hf_process_host_memory(host), 100);
    host->free(host, first);
    host->free(host, second);
    host->free(host, NULL);
    assert_int_equal(hf_process_host_memory(host), 0);
    assert_null(host->alloc(host, UINT64_MAX));
}

static void log_lines_carry_the_plugins_name(void **state)
{
    struct fixture *fixture = *state;
    char line[512] = "";
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    hf_log_configure(&(hf_log_settings){.process = "store", .level = HF_LOG_INFO, .fd = ends[1]});
    fixture->host->log(fixture->host, HF_LOG_WARNING, (hf_slice){(const uint8_t *)"careful", 7});
    assert_true(read(ends[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "warning store org.example.test: careful\n"));
    close(ends[0]);
    close(ends[1]);
}

static void an_unknown_interface_is_null(void **state)
{
    struct fixture *fixture = *state;

    assert_null(fixture->host->query(fixture->host, "hf.loop/2"));
    assert_null(fixture->host->query(fixture->host, ""));
}

static void impossible_settings_are_refused(void **state)
{
    const hf_process_settings none = {0, 1, 1}, many = {HF_WORKERS_MAX + 1, 1, 1}, no_pool = {1, 0, 1};
    hf_process *process;
    hf_error error;

    (void)state;
    assert_int_equal(hf_process_create(&none, &process, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "expected 1 to 256"));
    assert_int_equal(hf_process_create(&many, &process, &error), HF_EINVAL);
    assert_int_equal(hf_process_create(&no_pool, &process, &error), HF_EINVAL);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_plugin_reaches_every_loop_and_the_pool), WITH_FIXTURE(memory_is_zeroed_aligned_and_counted),
        WITH_FIXTURE(log_lines_carry_the_plugins_name),         WITH_FIXTURE(an_unknown_interface_is_null),
        cmocka_unit_test(impossible_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
