/* Shows that each check can fail: plugins that are bad in one way, and what the program says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { OUTPUT_SIZE = 65536 };

#define LISTENERS "--set listeners.x.address=127.0.0.1:80 --set listeners.y.address=unix:/x "

static const char *program, *folder;
static char output[OUTPUT_SIZE];

static int run(const char *options, const char *plugin)
{
    char command[8192];

    snprintf(command, sizeof command, "'%s' %s '%s/%s.so' 2>&1", program, options, folder, plugin);
    FILE *pipe_ = popen(command, "r");
    assert_non_null(pipe_);
    size_t size = fread(output, 1, sizeof output - 1, pipe_);
    output[size] = '\0';
    int status = pclose(pipe_);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const struct {
    const char *plugin;
    const char *options;
    const char *said; /* also says which check it is */
} bad[] = {
    {"service_load", "--only load", "during: load"},
    {"service_symbol", "--only symbols", "exports 2 symbols, such as 'second_symbol'"},
    {"service_leak", "--only life", "1 blocks (100 bytes) of host->alloc were left after destroy"},
    {"service_leak_malloc", "--only leaks", "of malloc or more behind"},
    {"service_size", "--only entry", "provides[0] has"},
    {"service_ignores_withheld", "--only withheld_interfaces", "during: start without hf.loop/1"},
    {"service_drain", "--only life --limit 2", "did not end within 2 s, during: drain"},
    {"service_drain", "--only life", "drain was given 5 s and did not call done"},
    {"service_manifest", "--only manifest", "the note and the entry's tables differ"},
    {"service_option", "--only options", "rounds: its default is '12', expected an integer from 1 to 9"},
    {"service_option_value", "--only option_values", "create with greeting"},
    {"service_check", "--only option_values", "check told a problem at 'greeting' without a sentence"},
    {"service_reads_behind", "--only older_host", "create with the host's tables cut"},
    {"service_calls_behind", "--only newer_host", "create with the host's tables cut"},
    {"service_ignores_no_memory", "--only out_of_memory", "create without its 2-th block"},
    {"service_silent", "--only withheld_interfaces", "without saying why"},
    {"service_shared", "--only two_instances", "the same instance twice"},
    {"service_thread", "--only end", "1 threads of its own are left"},
    {"service_wrong_thread", "--only life", "timer_start was called on another thread"},
    {"service_timer_left", "--only life", "1 timers and 0 watches were left"},
    {"service_health", "--only life", "health says 2 and no reason"},
    {"service_two_answers", "--only routes", "GET /hello/{name} was answered twice"},
    {"service_reload", "--only reload", "running after a reload"},
    {"service_metric", "--only life", "the metric 'sample_seconds' is no counter and was incremented"},
    {"service_result", "--only life", "the result of 'sample.route' has a wrong type"},
    {"listener_open_count", LISTENERS "--only life", "there are 0 descriptors, expected 1 to 256"},
    {"listener_thread", LISTENERS "--only life", "hf.listen/1 open was called on another thread than the main one"},
    {"listener_silent", LISTENERS "--only refused_listeners", "start refused"},
    {"listener_trusting", LISTENERS "--only clients", "during: clients that come"},
    {"listener_patient", LISTENERS "--only clients", "and did not call done within"},
    {"listener_clients_left", LISTENERS "--only stop_with_clients", "watches were left"},
    {"listener_keeps", LISTENERS "--only refused_listeners", "after a reload that was refused"},
    {"listener_descriptors", LISTENERS "--only reload", "which open gave, is not among them"},
    {"listener_count", LISTENERS "--only reload", "with 1 descriptors; open gave 2"},
    {"listener_closed_before", LISTENERS "--only reload", "was closed before"},
    {"listener_closed_twice", LISTENERS "--only reload", "which is not open, or was closed before"},
    {"listener_watched", LISTENERS "--only reload", "still has a watch"},
    {"listener_by_hand", LISTENERS "--only reload", "was closed with close() while the process goes on"},
    {"listener_unchecked", LISTENERS "--only reload_out_of_memory", "config_prepare without its 1-th block of the C"},
    {"listener_forgets", "--only out_of_memory", "create without its 2-th block of the C library's memory leaves"},
    {"detector_samples", "--only odd_samples", "it raised a signal while"},
    {"detector_flaps", "--only raises_and_clears", "times and cleared"},
    {"detector_grows", "--only bounded_memory", "with nothing new to see"},
    {"detector_clock", "--only deterministic", "it saw the same twice"},
    {"detector_undeclared", "--only declares", "declared no signal"},
    {"detector_undeclared", "--only raises_and_clears", "was not declared"},
    {"balancer_usable", "--only usable", "while no server was usable"},
    {"balancer_spread", "--only spread", "times what its weight stands for"},
    {"balancer_weights", "--only weights", "times its share"},
    {"balancer_seed", "--only same_again", "the same seed had another answer"},
    {"balancer_order", "--only order", "when the list was turned round"},
    {"balancer_away", "--only away", "they would be overrun"},
    {"balancer_disruption", "--only disruption", "keys moved between old servers"},
    {"balancer_bounds", "--only bounds", "requests under way"},
};

static void bad_plugins_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = run(bad[i].options, bad[i].plugin);
        if (status != 1 || !strstr(output, bad[i].said) || !strstr(output, "1 failed"))
            fail_msg("%s with %s: status %d, expected 1 and '%s':\n%s", bad[i].plugin, bad[i].options, status,
                     bad[i].said, output);
    }
}

static void good_plugins_pass(void **state)
{
    static const char *const good[] = {"service_good", "detector_good", "balancer_good"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        int status = run("", good[i]);
        if (status != 0 || !strstr(output, " 0 failed"))
            fail_msg("status %d:\n%s", status, output);
    }
}

static void groups_are_set_by_name(void **state)
{
    (void)state;
    if (run(LISTENERS, "listener_good") != 0)
        fail_msg("%s", output);
    assert_non_null(strstr(output, "clients                         ok"));
    assert_non_null(strstr(output, "refused_listeners               ok"));
    assert_int_equal(run("--only clients", "listener_good"), 0);
    assert_non_null(strstr(output, "it listens nowhere"));
    assert_int_equal(run("--only life --set listeners.x.nothing=1", "listener_good"), 1);
    assert_non_null(strstr(output, "has no such option"));
    assert_int_equal(run("--only life --set listeners.x.address=127.0.0.1:0", "listener_good"), 1);
    assert_non_null(strstr(output, "127.0.0.1:0"));
    assert_int_equal(run(LISTENERS "--only life --set listeners.z.address=0.0.0.0:80", "listener_good"), 1);
    assert_non_null(strstr(output, "this process listens there already"));
}

static void a_chosen_capability_is_made(void **state)
{
    char options[4200];

    (void)state;
    snprintf(options, sizeof options, "--set balancer=sample --with '%s/balancer_good.so'", folder);
    if (run(options, "service_good") != 0)
        fail_msg("%s", output);
    assert_non_null(strstr(output, " 0 failed"));
    assert_int_equal(run("--set balancer=sample --only life", "service_good"), 1);
    assert_non_null(strstr(output, "no plugin provides balancer/sample; name one with --with"));
}

static void the_report_is_json(void **state)
{
    (void)state;
    assert_int_equal(run("--json --only symbols", "service_symbol"), 1);
    assert_non_null(
        strstr(output, "\"id\":\"org.example.service.sample\",\"version\":\"1.0.0\",\"ok\":1,\"failed\":1,"));
    assert_non_null(
        strstr(output, "{\"capability\":null,\"check\":\"symbols\",\"result\":\"failed\",\"why\":\"it exports"));
    assert_int_equal(run("--json --only declares", "detector_good"), 0);
    assert_non_null(strstr(output, "{\"capability\":\"detector/sample\",\"check\":\"declares\",\"result\":\"ok\","
                                   "\"why\":null}]}"));
}

static void what_cannot_be_checked_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(run("", "missing"), 2);
    assert_int_equal(run("--what", "service_good"), 2);
    assert_int_equal(run("--set x", "service_good"), 2);
    assert_int_equal(run("--only nothing", "service_good"), 2);
    assert_non_null(strstr(output, "there is no check 'nothing'"));
    assert_int_equal(run("--set rounds=12 --only life", "service_good"), 1);
    assert_non_null(strstr(output, "expected an integer from 1 to 9"));
    assert_int_equal(run("--set rounds=9 --only life", "service_good"), 0);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_plugins_are_found),  cmocka_unit_test(good_plugins_pass),
        cmocka_unit_test(groups_are_set_by_name), cmocka_unit_test(a_chosen_capability_is_made),
        cmocka_unit_test(the_report_is_json),     cmocka_unit_test(what_cannot_be_checked_is_told_apart),
    };
    if (count < 3) {
        fprintf(stderr, "usage: kit_check PROGRAM FOLDER\n");
        return 2;
    }
    program = arguments[1];
    folder = arguments[2];
    setenv("HOLDFAST_TEST_MANIFEST", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
