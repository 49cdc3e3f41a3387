/* The core's own options: defaults, and what their types cannot say. */
#include "kit.h"

#define NODE "node: { name = \"n1\"; };\n"
#define RUN  "processes: { run: { main: { services = [ \"store\" ]; }; }; };\n"

static void defaults_are_usable(void **state)
{
    hf_config_generation *generation = settings_good(NODE RUN);
    const hf_process_entry *entry = hf_settings_process(generation, "main");

    (void)state;
    assert_string_equal(hf_settings_node(generation)->name, "n1");
    assert_string_equal(hf_settings_node(generation)->state_directory, "/var/lib/holdfast");
    assert_string_equal(hf_settings_cluster(generation)->name, "holdfast");
    assert_non_null(entry);
    assert_string_equal(entry->listen, "127.0.0.1:7400");
    assert_int_equal(entry->worker_threads, 2);
    assert_int_equal(entry->services.count, 1);
    assert_null(hf_settings_process(generation, "other"));
    assert_int_equal(hf_settings_log(generation)->level, HF_LOG_INFO);
    assert_int_equal(hf_settings_processes(generation)->stop_grace_us, 20000000);
    assert_int_equal(hf_settings_tokens(generation)->count, 0);
    assert_int_equal(hf_settings_anonymous_given(generation), 0);
    hf_config_generation_free(generation);
}

static void what_is_wrong_is_said_with_its_line(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {NODE, "test.cfg:1: processes.run has no entry; expected at least one process"},
        {NODE RUN "cluster: { members: { n2: { address = \"a:1\"; }; }; };",
         "test.cfg:3: this node's name is not among cluster.members; expected it there"},
        {NODE RUN "cluster: { members: { n1: { address = \"a:1\"; }; n2: { address = \"a:2\"; }; }; };",
         "test.cfg:2: no process has peers = true; expected exactly one in a cluster"},
        {NODE "processes: { run: { a: { peers = true; };\n b: { listen = \"127.0.0.1:1\"; peers = true; }; }; };",
         "test.cfg:2: several processes have peers = true; expected exactly one"},
        {NODE "processes: { run: { a: { services = [ \"x\", \"y\" ]; };\n"
              "b: { listen = \"unix:/b\"; services = [ \"y\" ]; }; }; };",
         "test.cfg:3: service 'y' runs in process 'a' already; expected it in one only"},
        {NODE "processes: { run: { a: { };\n b: { }; }; };",
         "test.cfg:3: 'processes.run.b.listen' is \"127.0.0.1:7400\", where process 'a' listens already; expected an "
         "address for each"},
        {NODE "processes: { run: { a: {\n listen = \"0.0.0.0:7400\"; }; }; };",
         "test.cfg:3: 'processes.run.a.listen' is \"0.0.0.0:7400\", which others can reach, and there are no tokens; "
         "expected a loopback address, tokens, or http.anonymous"},
        {NODE "processes: { run: { a: {\n listen = \"127.0.0.1:0\"; }; }; };",
         "test.cfg:3: 'processes.run.a.listen' is \"127.0.0.1:0\", expected a port from 1 to 65535"},
        {NODE RUN "tokens: { a: {\n sha256 = \"12\"; role = \"reader\"; }; };",
         "test.cfg:4: 'tokens.a.sha256' is ***, expected the 64 hexadecimal digits of a SHA-256"},
        {NODE RUN "tokens: { a: { sha256 = \"" DIGEST_OF_ALPHA "\"; role = \"reader\"; };\n"
                  "b: { sha256 = \"8ED3F6AD685B959EAD7022518E1AF76CD816F8E8EC7CCDDA1ED4018E8F2223F8\"; role = "
                  "\"admin\"; }; };",
         "test.cfg:4: 'tokens.b.sha256' is the same as that of 'a', expected a token for each"},
        {NODE RUN "tokens: { a: { sha256 = \"" DIGEST_OF_ALPHA "\";\n role = \"admin\";\n tables = [ \"t\" ]; }; };",
         "test.cfg:5: 'tokens.a.tables' cannot confine this role, expected it with a reader or writer only"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_config_generation *generation = settings_parse(cases[i].text);
        if (problems.count != 1)
            fail_msg("case %zu: %u problems, '%s', '%s'", i, problems.count, problems.lines[0], problems.lines[1]);
        assert_string_equal(problems.lines[0], cases[i].problem);
        hf_config_generation_free(generation);
    }
}

static void others_may_reach_with_tokens_or_on_purpose(void **state)
{
    static const char *const texts[] = {
        NODE "processes: { run: { a: { listen = \"0.0.0.0:1\"; }; }; };"
             "tokens: { a: { sha256 = \"" DIGEST_OF_ALPHA "\"; role = \"reader\"; tables = [ \"t\" ]; }; };",
        NODE "processes: { run: { a: { listen = \"[::]:1\"; }; }; }; http: { anonymous = \"reader\"; };",
        NODE "processes: { run: { a: { listen = \"unix:/run/holdfast.sock\"; }; }; };",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        hf_config_generation_free(settings_good(texts[i]));
}

static void loopback_is_recognised(void **state)
{
    static const char *const near[] = {"127.0.0.1:80", "127.1.2.3:80", "localhost:1", "[::1]:80", "unix:/x"};
    static const char *const far[] = {"0.0.0.0:80",     "128.0.0.1:80", "[::]:80",
                                      "example.org:80", "*:80",         "127.0.0.1.example.org:80"};

    (void)state;
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++)
        if (!hf_settings_loopback(near[i]))
            fail_msg("%s", near[i]);
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
        if (hf_settings_loopback(far[i]))
            fail_msg("%s", far[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_usable),
        cmocka_unit_test(what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(others_may_reach_with_tokens_or_on_purpose),
        cmocka_unit_test(loopback_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
