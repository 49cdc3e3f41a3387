/* Shows the loop: a signal is raised, a policy decides, an action runs within its brakes, and the audit log has it all,
 * in a chain that shows every change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "pool.h"
#include "signal/audit.h"
#include "signal/signals.h"

#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/json.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fixture {
    char directory[64], reports[80], policies[80];
    const char *files[1];
    hf_loop *loop;
    hf_pool *pool;
    hf_metrics *metrics;
    hf_lua_host *lua;
    hf_signals *signals;
    hf_signals_settings settings;
    int tasks;
};

static const hf_signal_kind low = {sizeof low, HF_SIGNAL_WARNING, "disk.low", "For tests."};

static void write_policy(const struct fixture *fixture, const char *body)
{
    char path[160];

    snprintf(path, sizeof path, "%s/p.lua", fixture->policies);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "return { point = 'remediation.on_signal', decide = function(signal) %s end }", body);
    assert_int_equal(fclose(file), 0);
}

static void create(struct fixture *fixture)
{
    hf_lua_settings lua = {
        .loops = &fixture->loop, .loop_count = 1, .metrics = fixture->metrics, .policies = {1, fixture->files}};
    hf_config_problems *problems = calloc(1, sizeof *problems);

    assert_int_equal(hf_metrics_create(&fixture->metrics, NULL), 0);
    lua.metrics = fixture->metrics;
    assert_int_equal(hf_loop_create("test", &fixture->loop, NULL), 0);
    assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 2, 64, &fixture->pool, NULL), 0);
    lua.pool = fixture->pool;
    assert_int_equal(hf_lua_host_create(&lua, &fixture->lua, NULL), 0);
    fixture->settings.main = fixture->loop;
    fixture->settings.pool = fixture->pool;
    fixture->settings.metrics = fixture->metrics;
    fixture->settings.lua = fixture->lua;
    assert_int_equal(hf_signals_create(&fixture->settings, &fixture->signals, NULL), 0);
    assert_int_equal(hf_signals_declare(fixture->signals, &low, NULL), 0);
    assert_int_equal(hf_signals_declare(fixture->signals, &low, NULL), HF_EEXIST);
    if (hf_lua_load(fixture->lua, problems) != 0)
        fail_msg("%s", problems->lines[0]);
    free(problems);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    hf_log_configure(&(hf_log_settings){.process = "test", .level = HF_LOG_ERROR + 1, .fd = STDERR_FILENO});
    strcpy(fixture->directory, "/tmp/holdfast-signal-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->reports, sizeof fixture->reports, "%s/reports", fixture->directory);
    snprintf(fixture->policies, sizeof fixture->policies, "%s/policies", fixture->directory);
    assert_int_equal(mkdir(fixture->reports, 0700), 0);
    assert_int_equal(mkdir(fixture->policies, 0700), 0);
    fixture->files[0] = fixture->policies;
    fixture->settings = (hf_signals_settings){.directory = fixture->directory,
                                              .reports = fixture->reports,
                                              .action_interval_us = 0,
                                              .actions_per_hour = 3,
                                              .audit_size = 1 << 20};
    *state = fixture;
    return 0;
}

static void destroy(struct fixture *fixture)
{
    if (!fixture->loop)
        return;
    hf_pool_destroy(fixture->pool);
    hf_loop_destroy(fixture->loop);
    hf_metrics_destroy(fixture->metrics); /* in the order of the daemon, where they go with the process */
    hf_signals_destroy(fixture->signals);
    hf_lua_host_destroy(fixture->lua);
    fixture->loop = NULL;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];

    destroy(fixture);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->directory);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static void stop_loop(void *arg)
{
    hf_loop_stop(arg);
}

/* Runs the loop until the audit log has `count` entries of this kind. */
static uint32_t count_entries(struct fixture *fixture, const char *kind)
{
    char path[160], line[65536], wanted[80];
    uint32_t count = 0;

    snprintf(path, sizeof path, "%s/audit.log", fixture->directory);
    snprintf(wanted, sizeof wanted, "\"kind\":\"%s\"", kind);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, wanted) != NULL;
    fclose(file);
    return count;
}

static void run_until(struct fixture *fixture, const char *kind, uint32_t count)
{
    time_t until = time(NULL) + 20;
    hf_timer *timer;

    assert_int_equal(hf_timer_create(fixture->loop, stop_loop, fixture->loop, &timer, NULL), 0);
    while (count_entries(fixture, kind) < count) {
        if (time(NULL) > until)
            fail_msg("waited in vain for %u entries %s", count, kind);
        hf_timer_start(timer, 2000, 0);
        hf_loop_run(fixture->loop);
    }
    hf_timer_destroy(timer);
}

static void make_report(const struct fixture *fixture, const char *name, long seconds)
{
    char path[160];
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};

    snprintf(path, sizeof path, "%s/%s", fixture->reports, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("report", file);
    fclose(file);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int is_there(const struct fixture *fixture, const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", fixture->reports, name);
    return access(path, F_OK) == 0;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void a_signal_becomes_an_action(void **state)
{
    struct fixture *fixture = *state;
    const hf_value_member members[] = {{hf_slice_of("free_percent"), hf_value_integer(7)}};
    hf_value detail = hf_value_map(members, 1);

    write_policy(fixture,
                 "assert(signal.severity == 'warning' and signal.detail.free_percent == 7 and signal.source == 'me')"
                 " return { action = 'disk.trim_reports', arguments = { keep = 2 } }");
    create(fixture);
    make_report(fixture, "a-1.txt", 1);
    make_report(fixture, "a-2.txt", 2);
    make_report(fixture, "a-3.txt", 3);
    make_report(fixture, "a-4.txt", 4);
    make_report(fixture, "other.dat", 1);
    assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.low", "/", &detail), 0);
    assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.none", "/", &detail), HF_ENOTFOUND);
    run_until(fixture, "action.run", 1);
    assert_false(is_there(fixture, "a-1.txt"));
    assert_false(is_there(fixture, "a-2.txt"));
    assert_true(is_there(fixture, "a-3.txt"));
    assert_true(is_there(fixture, "a-4.txt"));
    assert_true(is_there(fixture, "other.dat"));
    assert_int_equal(count_entries(fixture, "signal.raised"), 1);
    assert_int_equal(hf_signals_clear(fixture->signals, "disk.low", "/"), 0);
    run_until(fixture, "signal.cleared", 1);
}

static void plugins_write_to_the_audit_log(void **state)
{
    struct fixture *fixture = *state;
    const hf_value_member members[] = {{hf_slice_of("step"), hf_value_text("bind")}};
    hf_value detail = hf_value_map(members, 1), text = hf_value_text("bind");

    create(fixture);
    assert_int_equal(hf_signals_write_note(fixture->signals, "user 7", "cluster.recover", &detail, NULL), 0);
    assert_int_equal(count_entries(fixture, "cluster.recover"), 1); /* it is there when the call returns */
    assert_int_equal(hf_signals_write_note(fixture->signals, "", "cluster.recover", &detail, NULL), HF_EINVAL);
    assert_int_equal(hf_signals_write_note(fixture->signals, "user 7", "Not a name", &detail, NULL), HF_EINVAL);
    assert_int_equal(hf_signals_write_note(fixture->signals, "user 7", "cluster.recover", &text, NULL), HF_EINVAL);
    assert_int_equal(hf_signals_write_note(fixture->signals, "user 7", "cluster.recover", NULL, NULL), HF_EINVAL);
    assert_int_equal(count_entries(fixture, "cluster.recover"), 1);
}

static void brakes_hold(void **state)
{
    struct fixture *fixture = *state;

    write_policy(fixture, "return { action = 'disk.trim_reports', arguments = { keep = 0 } }");
    create(fixture);
    for (uint32_t i = 0; i < 3; i++) {
        char subject[8];
        snprintf(subject, sizeof subject, "%u", i);
        assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.low", subject, NULL), 0);
        run_until(fixture, "action.run", i + 1);
    }
    assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.low", "x", NULL), 0);
    run_until(fixture, "action.refused", 1);
    assert_int_equal(count_entries(fixture, "action.run"), 3);
}

static void wrong_wishes_are_refused(void **state)
{
    static const char *const bodies[] = {
        "return { action = 'no.such' }",
        "return { action = 'disk.trim_reports' }",
        "return { action = 'disk.trim_reports', arguments = { keep = 'x' } }",
        "return { action = 'disk.trim_reports', arguments = { keep = 1, more = 2 } }",
        "return { { action = 'no.such' } }",
    };
    struct fixture *fixture = *state;

    for (uint32_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        write_policy(fixture, bodies[i]);
        create(fixture);
        assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.low", "/", NULL), 0);
        run_until(fixture, "action.refused", i + 1);
        destroy(fixture);
    }
}

static void dry_runs_run_nothing(void **state)
{
    struct fixture *fixture = *state;

    fixture->settings.dry_run = 1;
    write_policy(fixture, "return { action = 'disk.trim_reports', arguments = { keep = 0 } }");
    create(fixture);
    make_report(fixture, "a.txt", 1);
    assert_int_equal(hf_signals_raise(fixture->signals, "me", "disk.low", "/", NULL), 0);
    run_until(fixture, "action.refused", 1);
    assert_true(is_there(fixture, "a.txt"));
}

static void the_chain_shows_changes(void **state)
{
    struct fixture *fixture = *state;
    char path[160];
    hf_audit *audit;
    int32_t broken = 0;
    hf_buffer list;
    hf_value detail = hf_value_map(NULL, 0);

    snprintf(path, sizeof path, "%s/audit.log", fixture->directory);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(hf_audit_open(fixture->directory, 1 << 20, &audit, &broken, NULL), 0);
        assert_int_equal(broken, 0);
        assert_int_equal(hf_audit_append(audit, "me", "test", &detail, NULL), 0);
        hf_audit_close(audit);
    }
    FILE *file = fopen(path, "a");
    fputs("{\"sequence\":4,\"ti", file); /* torn */
    fclose(file);
    assert_int_equal(hf_audit_open(fixture->directory, 1 << 20, &audit, &broken, NULL), 0);
    assert_int_equal(broken, 0);
    assert_int_equal(hf_audit_append(audit, "me", "test", &detail, NULL), 0);
    hf_buffer_init(&list, 1 << 20);
    assert_int_equal(hf_audit_read(audit, 2, &list, NULL), 0);
    assert_true(hf_json_check((hf_slice){list.data, list.size}, NULL) == 0);
    assert_int_equal(memcmp(list.data, "[{\"sequence\":4,", 15), 0);
    hf_buffer_done(&list);
    hf_audit_close(audit);
    /* One letter in an old line. */
    file = fopen(path, "r+");
    char line[1024];
    assert_non_null(fgets(line, sizeof line, file));
    long at = (long)(strstr(line, "\"me\"") - line) + 1;
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc('w', file);
    fclose(file);
    assert_int_equal(hf_audit_open(fixture->directory, 1 << 20, &audit, &broken, NULL), 0);
    assert_int_equal(broken, 1);
    assert_int_equal(hf_audit_append(audit, "me", "test", &detail, NULL), 0);
    hf_audit_close(audit);
    assert_int_equal(hf_audit_open(fixture->directory, 1 << 20, &audit, &broken, NULL), 0);
    assert_int_equal(broken, 0);
    hf_audit_close(audit);
}

static void full_files_make_room(void **state)
{
    struct fixture *fixture = *state;
    hf_audit *audit;
    int32_t broken = 0;
    hf_value detail = hf_value_map(NULL, 0);

    assert_int_equal(hf_audit_open(fixture->directory, 1000, &audit, &broken, NULL), 0);
    for (int i = 0; i < 30; i++)
        assert_int_equal(hf_audit_append(audit, "me", "test", &detail, NULL), 0);
    hf_audit_close(audit);
    assert_true(count_entries(fixture, "test") < 10);
    assert_int_equal(hf_audit_open(fixture->directory, 1000, &audit, &broken, NULL), 0);
    assert_int_equal(broken, 0);
    hf_audit_close(audit);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(plugins_write_to_the_audit_log), TEST(a_signal_becomes_an_action), TEST(brakes_hold),
        TEST(wrong_wishes_are_refused),       TEST(dry_runs_run_nothing),       TEST(the_chain_shows_changes),
        TEST(full_files_make_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
