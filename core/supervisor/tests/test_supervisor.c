/* Shows with real processes that deaths are recorded with their cause, that children come back with growing waits,
 * that listeners survive a restart, and that stopping ends even those who refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../backoff.h"
#include "../supervisor.h"
#include "log.h"
#include "loop.h"

static const char *program; /* tests/supervised.c */

struct fixture {
    hf_loop *loop;
    hf_supervisor *supervisor;
    char directory[64];
    uint32_t deaths, deaths_awaited;
    hf_child_status last;
};

static void died(void *arg, const hf_child_status *status)
{
    struct fixture *fixture = arg;

    fixture->last = *status;
    if (++fixture->deaths == fixture->deaths_awaited)
        hf_loop_stop(fixture->loop);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    *state = fixture;
    strcpy(fixture->directory, "/tmp/holdfast-supervisor-XXXXXX");
    if (!fixture || !mkdtemp(fixture->directory) || hf_loop_create("main", &fixture->loop, NULL))
        return -1;
    hf_log_set_level(HF_LOG_ERROR + 1); /* the deaths here are wanted */
    hf_supervisor_settings settings = {.loop = fixture->loop,
                                       .report_directory = fixture->directory,
                                       .restart_least_us = 1000,
                                       .restart_most_us = 4000,
                                       .healthy_us = 60000000,
                                       .stop_grace_us = 100000,
                                       .died = died,
                                       .arg = fixture};
    return hf_supervisor_create(&settings, &fixture->supervisor, NULL);
}

static void stopped(void *arg)
{
    hf_loop_stop(arg);
}

static void remove_directory(const char *directory)
{
    DIR *open = opendir(directory);
    struct dirent *entry;

    while (open && (entry = readdir(open)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(open), entry->d_name, 0);
    closedir(open);
    rmdir(directory);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    hf_supervisor_stop(fixture->supervisor, stopped, fixture->loop);
    hf_loop_run(fixture->loop);
    hf_supervisor_destroy(fixture->supervisor);
    hf_loop_destroy(fixture->loop);
    remove_directory(fixture->directory);
    free(fixture);
    return 0;
}

static void add(struct fixture *fixture, const char *name, const char *what)
{
    const char *argv[] = {program, what, NULL};

    assert_int_equal(hf_supervisor_add(fixture->supervisor, name, argv, NULL, 0, NULL), 0);
}

static void run_until_deaths(struct fixture *fixture, uint32_t count)
{
    fixture->deaths_awaited = count;
    hf_loop_run(fixture->loop);
}

static const char *read_report(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void a_crash_leaves_backtrace_and_last_log_lines(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, "store", "abort");
    run_until_deaths(fixture, 1);
    assert_string_equal(fixture->last.name, "store");
    assert_non_null(strstr(fixture->last.last_cause, "killed by signal 6 (Aborted)"));
    const char *report = read_report(fixture->last.last_report);
    assert_non_null(strstr(report, "process: store\n"));
    assert_non_null(strstr(report, "cause: killed by signal 6 (Aborted)"));
    assert_null(strstr(report, "(none: the process"));
    assert_non_null(strstr(report, "supervised")); /* a frame of the program */
    assert_non_null(strstr(report, "child: about to abort"));
}

static void a_kill_leaves_the_last_log_lines(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, "store", "kill");
    run_until_deaths(fixture, 1);
    const char *report = read_report(fixture->last.last_report);
    assert_non_null(strstr(report, "cause: killed by signal 9 (Killed)\n"));
    assert_non_null(strstr(report, "child: about to kill"));
    assert_non_null(strstr(report, "backtrace:\n(none"));
}

static void who_dies_early_waits_longer_each_time(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t waits_us[] = {1000, 2000, 4000, 4000};

    add(fixture, "edge", "exit");
    for (uint32_t i = 0; i < 4; i++) {
        run_until_deaths(fixture, i + 1);
        assert_string_equal(fixture->last.last_cause, "exited with code 7");
        assert_int_equal(fixture->last.state, HF_CHILD_WAITING);
        assert_int_equal(fixture->last.restart_wait_us, waits_us[i]);
        assert_int_equal(fixture->last.deaths, i + 1);
    }
}

static void only_the_newest_reports_are_kept(void **state)
{
    struct fixture *fixture = *state;
    int files = 0, newest = 0;
    struct dirent *entry;

    add(fixture, "edge", "exit");
    run_until_deaths(fixture, 22);
    DIR *directory = opendir(fixture->directory);
    while ((entry = readdir(directory))) {
        files += entry->d_name[0] != '.';
        newest |= strstr(fixture->last.last_report, entry->d_name) != NULL && entry->d_name[0] != '.';
    }
    closedir(directory);
    assert_int_equal(files, 20);
    assert_true(newest);
}

static int listen_anywhere(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)address, size), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

static void listeners_are_handed_over_and_survive_restarts(void **state)
{
    struct fixture *fixture = *state;
    const char *argv[] = {program, "answer", NULL};
    struct sockaddr_in address;
    int32_t listener = listen_anywhere(&address);
    int clients[3];
    char byte;

    /* All three connect before anybody serves; each process serves one and ends. */
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    assert_int_equal(hf_supervisor_add(fixture->supervisor, "edge", argv, &listener, 1, NULL), 0);
    run_until_deaths(fixture, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read(clients[i], &byte, 1), 1);
        assert_int_equal(byte, '1');
        close(clients[i]);
    }
    close(listener);
}

static void stop_ends_who_ignores_the_request(void **state)
{
    struct fixture *fixture = *state;
    hf_child_status status;

    add(fixture, "calm", "wait");
    add(fixture, "stubborn", "stubborn");
    hf_supervisor_stop(fixture->supervisor, stopped, fixture->loop);
    hf_loop_run(fixture->loop);
    for (uint32_t i = 0; i < hf_supervisor_count(fixture->supervisor); i++) {
        hf_supervisor_status(fixture->supervisor, i, &status);
        assert_int_equal(status.state, HF_CHILD_STOPPED);
        assert_int_equal(status.deaths, 0);
    }
}

static void look_for_another_pid(void *arg)
{
    struct fixture *fixture = arg;
    hf_child_status now;

    hf_supervisor_status(fixture->supervisor, 0, &now);
    if (now.state == HF_CHILD_RUNNING && now.pid != fixture->last.pid)
        hf_loop_stop(fixture->loop);
}

static void a_restart_that_was_asked_for_is_no_death(void **state)
{
    struct fixture *fixture = *state;
    hf_timer *timer;

    add(fixture, "calm", "wait");
    hf_supervisor_status(fixture->supervisor, 0, &fixture->last);
    assert_int_equal(hf_supervisor_restart(fixture->supervisor, "calm", NULL), 0);
    assert_int_equal(hf_timer_create(fixture->loop, look_for_another_pid, fixture, &timer, NULL), 0);
    hf_timer_start(timer, 1000, 1000);
    hf_loop_run(fixture->loop);
    hf_timer_destroy(timer);
    assert_int_equal(fixture->deaths, 0);
}

static void what_cannot_be_started_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *argv[] = {"/nonexistent/program", NULL}, *good[] = {program, "wait", NULL};
    hf_error error;

    assert_int_equal(hf_supervisor_add(fixture->supervisor, "a", argv, NULL, 0, &error), HF_EIO);
    assert_string_equal(error.message, "cannot start '/nonexistent/program': No such file or directory");
    assert_int_equal(hf_supervisor_count(fixture->supervisor), 0);
    add(fixture, "a", "wait");
    assert_int_equal(hf_supervisor_add(fixture->supervisor, "a", good, NULL, 0, &error), HF_EEXIST);
    assert_int_equal(hf_supervisor_restart(fixture->supervisor, "b", &error), HF_ENOTFOUND);
}

static void held_sockets_are_the_successors(void **state)
{
    struct fixture *fixture = *state;
    /* The first one has none, each has one more, and the one that has three lets two of them go. */
    const char *const causes[] = {"exited with code 20", "exited with code 21", "exited with code 22",
                                  "exited with code 23", "exited with code 21"};

    add(fixture, "edge", "hold");
    for (uint32_t i = 0; i < 5; i++) {
        run_until_deaths(fixture, i + 1);
        assert_string_equal(fixture->last.last_cause, causes[i]);
    }
}

static void a_child_that_babbles_is_not_listened_to(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, "mad", "babble");
    add(fixture, "edge", "exit");
    run_until_deaths(fixture, 2);
    assert_string_equal(fixture->last.name, "edge");
}

static void nothing_to_renew(void *arg, int good)
{
    *(int *)arg = good ? 1 : -1;
}

static void renewing_waits_until_all_are_ready(void **state)
{
    struct fixture *fixture = *state;
    int renewed = 0;

    add(fixture, "calm", "ready");
    hf_supervisor_renew(fixture->supervisor, nothing_to_renew, &renewed);
    assert_int_equal(renewed, 0); /* it has not said so yet */
    add(fixture, "edge", "exit"); /* which never does */
    run_until_deaths(fixture, 1);
    assert_int_equal(renewed, -1);
}

static void what_makes_no_sense_is_not_adopted(void **state)
{
    struct fixture *fixture = *state;
    const hf_value_member members[] = {{hf_slice_of("name"), hf_value_integer(3)},
                                       {hf_slice_of("listeners"), hf_value_text("x")}};
    const hf_value map = hf_value_map(members, 2), null = hf_value_null();
    int32_t descriptors[4];

    assert_int_equal(hf_supervisor_adopt(fixture->supervisor, &map, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_int_equal(hf_supervisor_adopt(fixture->supervisor, &null, NULL, NULL, 0, NULL), HF_EINVAL);
    assert_int_equal(hf_supervisor_saved_listeners(&map, descriptors, 4), 0);
    assert_int_equal(hf_supervisor_count(fixture->supervisor), 0);
}

static void a_healthy_life_resets_the_wait(void **state)
{
    hf_backoff backoff = {.least_us = 100, .most_us = 1000, .healthy_us = 5000};

    (void)state;
    assert_int_equal(hf_backoff_next_us(&backoff, 0), 100);
    assert_int_equal(hf_backoff_next_us(&backoff, 4999), 200);
    assert_int_equal(hf_backoff_next_us(&backoff, 5000), 0);
    assert_int_equal(hf_backoff_next_us(&backoff, 0), 100);
    for (int i = 0; i < 100; i++)
        hf_backoff_next_us(&backoff, 0);
    assert_int_equal(hf_backoff_next_us(&backoff, 0), 1000);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(a_crash_leaves_backtrace_and_last_log_lines),
        WITH_FIXTURE(a_kill_leaves_the_last_log_lines),
        WITH_FIXTURE(who_dies_early_waits_longer_each_time),
        WITH_FIXTURE(only_the_newest_reports_are_kept),
        WITH_FIXTURE(listeners_are_handed_over_and_survive_restarts),
        WITH_FIXTURE(stop_ends_who_ignores_the_request),
        WITH_FIXTURE(a_restart_that_was_asked_for_is_no_death),
        WITH_FIXTURE(what_cannot_be_started_is_refused),
        WITH_FIXTURE(held_sockets_are_the_successors),
        WITH_FIXTURE(a_child_that_babbles_is_not_listened_to),
        WITH_FIXTURE(renewing_waits_until_all_are_ready),
        WITH_FIXTURE(what_makes_no_sense_is_not_adopted),
        cmocka_unit_test(a_healthy_life_resets_the_wait),
    };
    if (count < 2) {
        fprintf(stderr, "usage: core_supervisor SUPERVISED-PROGRAM\n");
        return 2;
    }
    program = arguments[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
