/* Shows what a process sees: points and functions are declared, policies decide on each loop, fail, are switched off,
 * and are replaced while loops go on asking. */
#include "fixture.h"

#include "lua/lua_host.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { WORKERS = 2 };

static const hf_lua_parameter signal_parameter[] = {{"signal", "what was noticed", HF_VALUE_MAP, 0}};
static const hf_lua_parameter number_parameter[] = {{"number", "any", HF_VALUE_FLOAT, 0}};

static const hf_decision_point on_signal = {
    .size = sizeof on_signal,
    .parameter_count = 1,
    .name = "remediation.on_signal",
    .doc = "asked for each signal",
    .parameters = signal_parameter,
    .result = {"action", "what to do, or nothing", HF_VALUE_MAP, 0},
    .default_doc = "nothing is done",
};

static const hf_decision_point weight = {
    .size = sizeof weight,
    .parameter_count = 1,
    .name = "test.weight",
    .parameters = number_parameter,
    .result = {"weight", "a number", HF_VALUE_FLOAT, 0},
    .instruction_maximum = 5000,
};

static _Atomic uint64_t time_us;

static uint64_t test_clock(void)
{
    return time_us;
}

struct world {
    char *folder;
    hf_loop *loops[1 + WORKERS];
    hf_pool *pool;
    hf_metrics *metrics;
    hf_lua_host *host;
    hf_decision *on_signal, *weight;
    hf_config_problems problems;
    hf_arena arena;
    hf_error error;
};

static void world_open(struct world *world, int with_pool)
{
    static const char *const names[] = {"main", "worker-0", "worker-1"};

    memset(world, 0, sizeof *world);
    time_us = 1000000;
    world->folder = make_folder();
    for (int i = 0; i < 1 + WORKERS; i++)
        assert_int_equal(hf_loop_create(names[i], &world->loops[i], NULL), 0);
    if (with_pool)
        assert_int_equal(hf_pool_create("pool", HF_URGENCY_BACKGROUND, 1, 16, &world->pool, NULL), 0);
    assert_int_equal(hf_metrics_create(&world->metrics, NULL), 0);
    hf_lua_settings settings = {
        .loops = world->loops,
        .loop_count = 1 + WORKERS,
        .pool = world->pool,
        .metrics = world->metrics,
        .policies = {1, (const char *const *)&world->folder},
        .clock_us = test_clock,
    };
    assert_int_equal(hf_lua_host_create(&settings, &world->host, NULL), 0);
    assert_int_equal(hf_lua_declare(world->host, &on_signal, &world->on_signal, NULL), 0);
    assert_int_equal(hf_lua_declare(world->host, &weight, &world->weight, NULL), 0);
    hf_arena_init(&world->arena, 1 << 20);
}

static void world_close(struct world *world)
{
    hf_pool_destroy(world->pool);
    for (int i = WORKERS; i >= 0; i--)
        hf_loop_destroy(world->loops[i]);
    hf_lua_host_destroy(world->host);
    hf_metrics_destroy(world->metrics);
    hf_arena_done(&world->arena);
    remove_folder(world->folder);
}

static void world_load(struct world *world)
{
    if (hf_lua_load(world->host, &world->problems))
        fail_msg("%s", world->problems.lines[0]);
}

/* ---- Running something on the main loop ----------------------------------------------------------------------- */

struct step {
    hf_task task;
    struct world *world;
    void (*run)(struct world *world);
};

static void step_run(hf_task *task)
{
    struct step *step = (struct step *)(void *)task;

    step->run(step->world);
    hf_loop_stop(step->world->loops[0]);
}

static void on_main_loop(struct world *world, void (*run)(struct world *world))
{
    struct step step = {{NULL, step_run}, world, run};

    hf_loop_post(world->loops[0], &step.task);
    hf_loop_run(world->loops[0]);
}

static int32_t decide_weight(struct world *world, double number, hf_value *ret_result)
{
    hf_value argument = hf_value_float(number);

    return hf_lua_decide(world->weight, &argument, &world->arena, ret_result, &world->error);
}

static int32_t decide_signal(struct world *world, const char *json, hf_value *ret_result)
{
    hf_value argument = from_json(json, &world->arena);

    return hf_lua_decide(world->on_signal, &argument, &world->arena, ret_result, &world->error);
}

static void assert_metric(struct world *world, const char *line)
{
    char *text = NULL, wanted[256];
    uint64_t size;

    assert_int_equal(hf_metrics_render(world->metrics, &text, &size, NULL), 0);
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (!strstr(text, wanted))
        fail_msg("no line '%s' in\n%s", line, text);
    free(text);
}

/* ---- Declaring -------------------------------------------------------------------------------------------------- */

static int32_t twice(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result, hf_error *error)
{
    (void)arena;
    ++*(int *)arg;
    assert_int_equal(arguments[0].type, HF_VALUE_FLOAT);
    if (arguments[0].as.number < 0)
        return hf_error_set(error, HF_EINVAL, "a number below 0");
    *ret_result = hf_value_float(2 * arguments[0].as.number);
    return 0;
}

static int twice_calls;

static const hf_lua_function offered = {.size = sizeof offered,
                                        .parameter_count = 1,
                                        .name = "twice",
                                        .parameters = number_parameter,
                                        .call = twice,
                                        .arg = &twice_calls};

static void wrong_declarations_are_refused(void **state)
{
    static const hf_lua_parameter bad_type[] = {{"x", "", 17, 0}}, no_name[] = {{NULL, "", 0, 0}};
    hf_decision_point points[] = {
        {.size = sizeof points[0], .name = "Upper"},
        {.size = sizeof points[0], .name = ""},
        {.size = sizeof points[0], .name = "a", .parameter_count = 9, .parameters = bad_type},
        {.size = sizeof points[0], .name = "b", .parameter_count = 1, .parameters = bad_type},
        {.size = sizeof points[0], .name = "c", .parameter_count = 1, .parameters = no_name},
        {.size = sizeof points[0], .name = "d", .result.type = 9},
    };
    hf_lua_function taken = offered;
    struct world world;
    hf_decision *decision;

    (void)state;
    world_open(&world, 0);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        assert_int_equal(hf_lua_declare(world.host, &points[i], &decision, NULL), HF_EINVAL);
    assert_int_equal(hf_lua_declare(world.host, &weight, &decision, NULL), HF_EEXIST);
    assert_int_equal(hf_lua_offer(world.host, &offered, NULL), 0);
    assert_int_equal(hf_lua_offer(world.host, &offered, NULL), HF_EEXIST);
    taken.name = "now";
    assert_int_equal(hf_lua_offer(world.host, &taken, NULL), HF_EEXIST);
    taken.name = "not-a-name";
    assert_int_equal(hf_lua_offer(world.host, &taken, NULL), HF_EINVAL);
    taken.name = "nothing";
    taken.call = NULL;
    assert_int_equal(hf_lua_offer(world.host, &taken, NULL), HF_EINVAL);
    world_load(&world);
    assert_int_equal(hf_lua_offer(world.host, &offered, NULL), HF_ESTATE);
    world_close(&world);
}

/* ---- Files that are refused ------------------------------------------------------------------------------------- */

static const struct {
    const char *text, *problem;
} bad_files[] = {
    {"return {", "bad.lua:1: unexpected symbol near <eof>"},
    {"local x = nil\nx.y = 1", "bad.lua:2: attempt to index a nil value (local 'x')"},
    {"", "bad.lua: a policy file returns a table with point, decide and tests; this one returned nothing"},
    {"return 1", "this one returned number"},
    {"return { decide = print }", "bad.lua: 'point' is nil, expected the name of a decision point"},
    {"return { point = 'remediation.on_signl', decide = function() end }",
     "unknown decision point 'remediation.on_signl'; did you mean 'remediation.on_signal'?"},
    {"return { point = 'nothing.like.it', decide = function() end }",
     "unknown decision point 'nothing.like.it'; no loaded plugin"},
    {"return { point = 'test.weight' }", "bad.lua: 'decide' is nil, expected a function"},
    {"return { point = 'test.weight', decide = function() end, test = {} }",
     "unknown key 'test'; did you mean 'tests'?"},
    {"return { point = 'test.weight', decide = function() end, colour = 1 }", "unknown key 'colour'; a policy has"},
    {"return { point = 'test.weight', decide = function() end, 1 }",
     "keys are point, decide and tests; found a number"},
    {"return { point = 'test.weight', decide = function() end, tests = 1 }", "'tests' is a number"},
    {"return { point = 'test.weight', decide = function() end, tests = { x = 1 } }", "expected functions with names"},
    {"return { point = 'test.weight', decide = function() return 1 end,\n tests = { ['is two'] = function(decide)\n"
     "assert(decide(1) == 2, 'not two') end } }",
     "bad.lua:3: not two"},
    {"return { point = 'test.weight', decide = function() return 'x' end,\n tests = { a = function(decide)\n"
     "decide(1) end } }",
     "weight is a string, expected a float"},
    {"return { point = 'test.weight', decide = function() return 1 end,\n tests = { a = function(decide)\n"
     "decide('x') end } }",
     "bad.lua:3: number is a string, expected a float"},
    {"return { point = 'test.weight', decide = function() while true do end end,\n tests = { a = function(decide)\n"
     "decide(1) end } }",
     "bad.lua:1: it ran for more than its 5000 instructions"},
    {"return { point = 'test.weight', decide = function() return 1 end,\n tests = { a = function(decide)\n"
     "while true do end end } }",
     "test 'a' failed: "},
    {"return { point = 'test.weight', decide = function() return 1 end,\n tests = { a = function(decide)\n"
     "decide(1, 2) end } }",
     "decide takes 1 arguments, not 2"},
    {"return { point = 'test.weight', decide = function(n) return holdfast.twice(n) end,\n"
     " tests = { a = function(decide) decide(1) end } }",
     "holdfast.twice is not there in a test"},
    {"return { point = 'test.weight', decide = function(n) return n end,\n"
     " tests = { a = function(decide, offer) offer('thrice', function() end) end } }",
     "there is no function holdfast.thrice"},
    {"return { point = 'test.weight', decide = function(n) return n end,\n"
     " tests = { a = function(decide, offer) error({}) end } }",
     "test 'a' failed: the error is not a text"},
};

static void what_is_wrong_with_a_file_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        struct world world;

        world_open(&world, 0);
        assert_int_equal(hf_lua_offer(world.host, &offered, NULL), 0);
        write_file(world.folder, "bad.lua", bad_files[i].text);
        assert_int_equal(hf_lua_load(world.host, &world.problems), HF_EINVAL);
        assert_int_equal(world.problems.count, 1);
        if (!strstr(world.problems.lines[0], bad_files[i].problem))
            fail_msg("%s\n  gave:     %s\n  expected: %s", bad_files[i].text, world.problems.lines[0],
                     bad_files[i].problem);
        assert_false(hf_lua_has_policy(world.weight));
        world_close(&world);
    }
}

static void all_problems_are_told_at_once(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 0);
    write_file(world.folder, "a.lua", "return { point = 'test.weight', decide = function() end }");
    write_file(world.folder, "b.lua", "return { point = 'test.weight', decide = function() end }");
    write_file(world.folder, "c.lua", "return");
    write_file(world.folder, ".hidden.lua", "not Lua");
    write_file(world.folder, "notes.txt", "not Lua");
    assert_int_equal(hf_lua_load(world.host, &world.problems), HF_EINVAL);
    assert_int_equal(world.problems.count, 2);
    assert_non_null(strstr(world.problems.lines[0], "b.lua: 'test.weight' is decided by"));
    assert_non_null(strstr(world.problems.lines[0], "a.lua already"));
    assert_non_null(strstr(world.problems.lines[1], "c.lua"));
    world_close(&world);
}

static void a_missing_folder_is_a_problem(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 0);
    assert_int_equal(rmdir(world.folder), 0);
    assert_int_equal(hf_lua_load(world.host, &world.problems), HF_EINVAL);
    assert_non_null(strstr(world.problems.lines[0], "No such file or directory"));
    assert_int_equal(mkdir(world.folder, 0700), 0);
    world_close(&world);
}

/* ---- Deciding --------------------------------------------------------------------------------------------------- */

static void check_default(struct world *world)
{
    hf_value result;

    assert_int_equal(decide_weight(world, 1, &result), HF_ENOTFOUND);
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"missing\"} 1");
}

static void without_a_policy_the_default_is_taken(void **state)
{
    struct world world;
    hf_value result;

    (void)state;
    world_open(&world, 0);
    world_load(&world);
    assert_false(hf_lua_has_policy(world.weight));
    on_main_loop(&world, check_default);
    assert_int_equal(decide_weight(&world, 1, &result), HF_ESTATE); /* not on a loop */
    world_close(&world);
}

static void check_policies(struct world *world)
{
    hf_value result;
    char *text;

    assert_int_equal(decide_weight(world, 21, &result), 0);
    assert_int_equal(result.type, HF_VALUE_FLOAT);
    assert_true(result.as.number == 42);
    assert_int_equal(twice_calls, 1);
    assert_int_equal(decide_weight(world, -1, &result), HF_EPOLICY);
    assert_non_null(strstr(world->error.message, "weight.lua:2: holdfast.twice: a number below 0"));
    assert_int_equal(decide_weight(world, 3, &result), HF_EPOLICY); /* a result of a wrong type */
    assert_non_null(strstr(world->error.message, "weight is a string, expected a float"));

    assert_int_equal(decide_signal(world, "{\"name\":\"disk.low\"}", &result), 0);
    text = as_json(&result);
    assert_string_equal(text, "{\"action\":\"trim\",\"arguments\":{}}");
    free(text);
    assert_int_equal(decide_signal(world, "{\"name\":\"other\"}", &result), 0);
    assert_int_equal(result.type, HF_VALUE_NULL);
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"ok\"} 1");
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"error\"} 2");
    assert_metric(world, "holdfast_policy_decisions_total{point=\"remediation.on_signal\",outcome=\"ok\"} 2");
}

static void policies_decide(void **state)
{
    hf_lua_point_info info;
    struct world world;

    (void)state;
    twice_calls = 0;
    world_open(&world, 0);
    assert_int_equal(hf_lua_offer(world.host, &offered, NULL), 0);
    write_file(world.folder, "weight.lua",
               "return { point = 'test.weight', decide = function(n) if n == 3 then return 'x' end\n"
               "return holdfast.twice(n) end,\n"
               "tests = { ['uses twice'] = function(decide, offer) offer('twice', function(n) return n + 1 end)\n"
               "assert(decide(1) == 2.0)\n"
               "local ok, e = pcall(decide, 3) assert(not ok and e:find('expected a float')) end } }");
    write_file(world.folder, "signal.lua",
               "return { point = 'remediation.on_signal', decide = function(s)\n"
               "if s.name == 'disk.low' then return { action = 'trim', arguments = {} } end end }");
    world_load(&world);
    assert_int_equal(twice_calls, 0);
    assert_true(hf_lua_has_policy(world.weight));
    on_main_loop(&world, check_policies);
    assert_true(hf_lua_describe_point(world.host, 1, &info));
    assert_string_equal(info.point->name, "test.weight");
    assert_non_null(strstr(info.policy, "/weight.lua"));
    assert_false(info.switched_off);
    assert_false(hf_lua_describe_point(world.host, 2, &info));
    world_close(&world);
}

static struct world *asking_world;

static int32_t ask_again(void *arg, const hf_value *arguments, hf_arena *arena, hf_value *ret_result, hf_error *error)
{
    (void)arg;
    return hf_lua_decide(asking_world->weight, arguments, arena, ret_result, error);
}

static void check_asking_again(struct world *world)
{
    hf_value result;

    assert_int_equal(decide_weight(world, 1, &result), HF_EPOLICY);
    assert_non_null(strstr(world->error.message, "was asked by a function that a policy called"));
}

static void a_policy_cannot_ask_itself(void **state)
{
    hf_lua_function again = offered;
    struct world world;

    (void)state;
    again.name = "again";
    again.call = ask_again;
    asking_world = &world;
    world_open(&world, 0);
    assert_int_equal(hf_lua_offer(world.host, &again, NULL), 0);
    write_file(world.folder, "a.lua",
               "return { point = 'test.weight', decide = function(n) return holdfast.again(n) end }");
    world_load(&world);
    on_main_loop(&world, check_asking_again);
    world_close(&world);
}

static void check_separate(struct world *world)
{
    hf_value result;

    assert_int_equal(decide_signal(world, "{}", &result), 0);
    assert_int_equal(decide_weight(world, 1, &result), 0);
    assert_true(result.as.number == 0);
}

static void policies_do_not_see_each_other(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 0);
    write_file(world.folder, "a.lua",
               "return { point = 'remediation.on_signal', decide = function(s) shared = 1 _G.other = 2 tostring = nil\n"
               "pcall(function() string.rep = nil end) end }");
    write_file(world.folder, "b.lua",
               "return { point = 'test.weight', decide = function(n) assert(tostring(1) == '1' and string.rep)\n"
               "return (shared or 0) + (other or 0) end }");
    world_load(&world);
    on_main_loop(&world, check_separate);
    world_close(&world);
}

/* ---- Failing ---------------------------------------------------------------------------------------------------- */

static void fail_often(struct world *world)
{
    hf_value result;
    hf_lua_point_info info;
    char lines[8192];

    for (int i = 0; i < HF_LUA_FAILURES_MAX - 1; i++)
        assert_int_equal(decide_weight(world, 0, &result), HF_EPOLICY);
    assert_int_equal(decide_weight(world, 1, &result), 0); /* not in a row any more */
    for (int i = 0; i < HF_LUA_FAILURES_MAX; i++)
        assert_int_equal(decide_weight(world, 0, &result), HF_EPOLICY);
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"error\"} 15");
    assert_metric(world, "holdfast_policy_switched_off{point=\"test.weight\"} 1");
    assert_true(hf_lua_describe_point(world->host, 1, &info));
    assert_true(info.switched_off);
    for (int i = 0; i < 5; i++)
        assert_int_equal(decide_weight(world, 1, &result), HF_EPOLICY);
    assert_non_null(strstr(world->error.message, "is switched off"));
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"off\"} 5");

    time_us += HF_LUA_OFF_US;
    assert_int_equal(decide_weight(world, 0, &result), HF_EPOLICY); /* one failure is enough now */
    assert_int_equal(decide_weight(world, 1, &result), HF_EPOLICY);
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"off\"} 6");
    time_us += HF_LUA_OFF_US;
    assert_int_equal(decide_weight(world, 1, &result), 0);
    assert_metric(world, "holdfast_policy_switched_off{point=\"test.weight\"} 0");
    assert_int_equal(decide_weight(world, 0, &result), HF_EPOLICY);
    assert_int_equal(decide_weight(world, 1, &result), 0);

    uint64_t size = hf_log_recent(lines, sizeof lines - 1);
    lines[size] = '\0';
    assert_non_null(strstr(lines, "bad.lua:2: zero"));
    assert_non_null(strstr(lines, "stack traceback"));
    assert_non_null(strstr(lines, "is switched off for 30 s"));
}

static void a_policy_that_keeps_failing_is_switched_off(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 0);
    write_file(
        world.folder, "bad.lua",
        "return { point = 'test.weight', decide = function(n)\n  if n == 0 then error('zero') end return n end }");
    world_load(&world);
    on_main_loop(&world, fail_often);
    world_close(&world);
}

static void eat_memory(struct world *world)
{
    hf_value result;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(decide_weight(world, 0, &result), HF_EPOLICY); /* keeps what it has, and needs more */
        assert_int_equal(decide_weight(world, 1, &result), 0);          /* a new state: nothing is kept */
        assert_true(result.as.number == 0);
    }
    assert_metric(world, "holdfast_policy_decisions_total{point=\"test.weight\",outcome=\"budget\"} 20");
}

static void a_state_out_of_memory_is_made_anew(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 0);
    write_file(world.folder, "memory.lua",
               "local kept = {}\nreturn { point = 'test.weight', decide = function(n)\n"
               "while n == 0 do kept[#kept + 1] = ('x'):rep(1 << 20) .. #kept end return #kept end }");
    world_load(&world);
    on_main_loop(&world, eat_memory);
    world_close(&world);
}

/* ---- Reloading -------------------------------------------------------------------------------------------------- */

struct outcome {
    struct world *world;
    int32_t result;
    char problem[HF_ERROR_MESSAGE_SIZE];
    uint32_t count;
};

static struct outcome outcome;

static void reloaded(void *arg, int32_t result, const hf_config_problems *problems)
{
    struct outcome *ended = arg;

    ended->result = result;
    ended->count++;
    snprintf(ended->problem, sizeof ended->problem, "%s", problems->count ? problems->lines[0] : "");
    hf_loop_stop(ended->world->loops[0]);
}

/* Reloads and waits for the end; the workers run meanwhile. */
static void reload(struct world *world, const hf_strings *policies)
{
    outcome = (struct outcome){.world = world, .result = 1};
    assert_int_equal(hf_lua_reload(world->host, policies, reloaded, &outcome, NULL), 0);
    assert_int_equal(hf_lua_reload(world->host, policies, reloaded, &outcome, NULL), HF_EBUSY);
    hf_loop_run(world->loops[0]);
    assert_int_equal(outcome.count, 1);
}

static void start_workers(struct world *world)
{
    for (int i = 1; i <= WORKERS; i++)
        assert_int_equal(hf_loop_thread_start(world->loops[i], HF_URGENCY_SERVE, NULL), 0);
}

static void stop_workers(struct world *world)
{
    for (int i = 1; i <= WORKERS; i++)
        hf_loop_stop(world->loops[i]);
    for (int i = 1; i <= WORKERS; i++)
        hf_loop_thread_join(world->loops[i]);
}

static double expected_weight;

static void check_weight(struct world *world)
{
    hf_value result;

    if (decide_weight(world, 1, &result))
        fail_msg("%s", world->error.message);
    assert_true(result.as.number == expected_weight);
}

static void write_weight(struct world *world, int number, int tested)
{
    char text[256];

    snprintf(text, sizeof text,
             "return { point = 'test.weight', decide = function(n) return %d end,\n"
             "tests = { ['as written'] = function(decide) assert(decide(1) == %d) end } }",
             number, tested);
    write_file(world->folder, "weight.lua", text);
}

static void reloads(int with_pool)
{
    struct world world;

    world_open(&world, with_pool);
    write_weight(&world, 1, 1);
    world_load(&world);
    start_workers(&world);
    expected_weight = 1;
    on_main_loop(&world, check_weight);

    write_weight(&world, 2, 3); /* its own test fails: the old one stays */
    reload(&world, NULL);
    assert_int_equal(outcome.result, HF_EINVAL);
    assert_non_null(strstr(outcome.problem, "weight.lua: test 'as written' failed: "));
    assert_non_null(strstr(outcome.problem, "weight.lua:2: assertion failed!"));
    on_main_loop(&world, check_weight);

    write_weight(&world, 2, 2);
    reload(&world, NULL);
    assert_int_equal(outcome.result, 0);
    expected_weight = 2;
    on_main_loop(&world, check_weight);

    remove_file(world.folder, "weight.lua");
    reload(&world, NULL);
    assert_int_equal(outcome.result, 0);
    assert_false(hf_lua_has_policy(world.weight));

    const char *nowhere = "/nonexistent/policies";
    reload(&world, &(hf_strings){1, &nowhere});
    assert_int_equal(outcome.result, HF_EINVAL);
    write_weight(&world, 5, 5);
    reload(&world, NULL); /* the refused folder is forgotten */
    assert_int_equal(outcome.result, 0);
    assert_true(hf_lua_has_policy(world.weight));
    expected_weight = 5;
    on_main_loop(&world, check_weight);
    stop_workers(&world);
    world_close(&world);
}

static void reload_in_the_pool(void **state)
{
    (void)state;
    reloads(1);
}

static void reload_on_the_main_loop(void **state)
{
    (void)state;
    reloads(0);
}

static void a_reload_forgets_failures(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    write_file(
        world.folder, "weight.lua",
        "return { point = 'test.weight', decide = function(n)\n  if n == 0 then error('zero') end return n end }");
    world_load(&world);
    on_main_loop(&world, fail_often);
    for (int i = 0; i < HF_LUA_FAILURES_MAX; i++)
        time_us += 1;
    write_weight(&world, 2, 2);
    start_workers(&world);
    reload(&world, NULL);
    assert_int_equal(outcome.result, 0);
    expected_weight = 2;
    on_main_loop(&world, check_weight);
    stop_workers(&world);
    world_close(&world);
}

/* Asks again and again on a worker's loop, in a task that posts itself. */
struct asker {
    hf_task task;
    struct world *world;
    hf_loop *loop;
    hf_arena arena;
    atomic_bool stop;
    atomic_uint asked;
    double last;
};

static void ask_on(hf_task *task)
{
    struct asker *asker = (struct asker *)(void *)task;
    hf_value argument = hf_value_float(1), result = hf_value_null();

    if (atomic_load(&asker->stop))
        return;
    hf_arena_clear(&asker->arena);
    assert_int_equal(hf_lua_decide(asker->world->weight, &argument, &asker->arena, &result, NULL), 0);
    assert_true(result.as.number >= asker->last); /* no loop ever goes back to an older policy */
    asker->last = result.as.number;
    atomic_fetch_add(&asker->asked, 1);
    hf_loop_post(asker->loop, &asker->task);
}

static void loops_decide_during_reloads(void **state)
{
    struct asker askers[WORKERS];
    struct world world;

    (void)state;
    world_open(&world, 1);
    write_weight(&world, 1, 1);
    world_load(&world);
    for (int i = 0; i < WORKERS; i++) {
        askers[i] = (struct asker){.task.run = ask_on, .world = &world, .loop = world.loops[1 + i]};
        hf_arena_init(&askers[i].arena, 1 << 20);
        hf_loop_post(askers[i].loop, &askers[i].task);
    }
    start_workers(&world);
    for (int i = 2; i <= 20; i++) {
        write_weight(&world, i, i);
        reload(&world, NULL);
        assert_int_equal(outcome.result, 0);
        for (int j = 0; j < WORKERS; j++) {
            unsigned before = atomic_load(&askers[j].asked);
            while (atomic_load(&askers[j].asked) == before) /* each loop asks the new policy at least once */
                sched_yield();
        }
    }
    for (int i = 0; i < WORKERS; i++)
        atomic_store(&askers[i].stop, 1);
    stop_workers(&world);
    world_close(&world); /* runs what the askers have posted last */
    for (int i = 0; i < WORKERS; i++) {
        assert_true(askers[i].last == 20);
        hf_arena_done(&askers[i].arena);
    }
}

static void a_reload_may_be_cut_off_by_the_end(void **state)
{
    (void)state;
    for (int with_pool = 0; with_pool < 2; with_pool++) {
        struct world world;

        world_open(&world, with_pool);
        write_weight(&world, 1, 1);
        world_load(&world);
        outcome = (struct outcome){.world = &world};
        assert_int_equal(hf_lua_reload(world.host, NULL, reloaded, &outcome, NULL), 0);
        world_close(&world);
        assert_int_equal(outcome.count, 0);
    }
}

/* ---- At the desk ------------------------------------------------------------------------------------------------ */

static char *test_file(const char *path, int32_t expected, uint32_t *passed, uint32_t *failed)
{
    const hf_decision_point *points[] = {&on_signal, &weight};
    char *text = NULL;
    size_t size;
    hf_error error = {0};
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    *passed = *failed = 0;
    int32_t result = hf_lua_test_file(path, points, 2, out, passed, failed, &error);
    fclose(out);
    if (result != expected)
        fail_msg("%s: %s", error.message, text);
    return text;
}

static void tests_run_at_the_desk(void **state)
{
    char *folder = make_folder(), path[256], *text;
    uint32_t passed, failed;

    (void)state;
    write_file(folder, "a.lua",
               "return { point = 'test.weight', decide = function(n) return holdfast.load(n) end, tests = {\n"
               "['b: works'] = function(decide, offer) offer('load', function(n) return n * 2 end)\n"
               "assert(decide(2) == 4.0) end,\n"
               "['a: forgets what the other one offered'] = function(decide) assert(not pcall(decide, 1)) end,\n"
               "['c: fails'] = function(decide, offer) offer('load', tostring)\n"
               "decide(2) end } }");
    snprintf(path, sizeof path, "%s/a.lua", folder);
    text = test_file(path, 0, &passed, &failed);
    assert_int_equal(passed, 2);
    assert_int_equal(failed, 1);
    assert_ptr_equal(
        strstr(text, "ok      a: forgets what the other one offered\nok      b: works\nFAILED  c: fails\n"), text);
    assert_non_null(strstr(text, "a.lua:6: policy "));
    assert_non_null(strstr(text, "weight is a string, expected a float"));
    assert_non_null(strstr(text, "a.lua: 2 passed, 1 failed\n"));
    free(text);

    write_file(folder, "a.lua", "return { point = 'x' }");
    text = test_file(path, HF_EINVAL, &passed, &failed);
    assert_non_null(strstr(text, "unknown decision point 'x'"));
    free(text);
    remove_folder(folder);
}

static const char *samples; /* folder of the policies that are shipped */

static void samples_pass(void **state)
{
    char path[512], *text;
    uint32_t passed, failed;

    (void)state;
    snprintf(path, sizeof path, "%s/remediation/disk.lua", samples);
    text = test_file(path, 0, &passed, &failed);
    if (failed || passed != 3)
        fail_msg("%s", text);
    free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_declarations_are_refused),
        cmocka_unit_test(what_is_wrong_with_a_file_is_said),
        cmocka_unit_test(all_problems_are_told_at_once),
        cmocka_unit_test(a_missing_folder_is_a_problem),
        cmocka_unit_test(without_a_policy_the_default_is_taken),
        cmocka_unit_test(policies_decide),
        cmocka_unit_test(a_policy_cannot_ask_itself),
        cmocka_unit_test(policies_do_not_see_each_other),
        cmocka_unit_test(a_policy_that_keeps_failing_is_switched_off),
        cmocka_unit_test(a_state_out_of_memory_is_made_anew),
        cmocka_unit_test(reload_in_the_pool),
        cmocka_unit_test(reload_on_the_main_loop),
        cmocka_unit_test(a_reload_forgets_failures),
        cmocka_unit_test(loops_decide_during_reloads),
        cmocka_unit_test(a_reload_may_be_cut_off_by_the_end),
        cmocka_unit_test(tests_run_at_the_desk),
        cmocka_unit_test(samples_pass),
    };

    samples = argc > 1 ? argv[1] : "lua";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
