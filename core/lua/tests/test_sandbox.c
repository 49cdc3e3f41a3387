/* Tries to get out of the sandbox, past the budgets, and at other policies: each attempt must fail, and the policy must
 * still be there afterwards. */
#include "fixture.h"

#include "lua/state.h"

static const hf_lua_parameter parameters[] = {{"value", "anything", HF_LUA_ANY, 0}};

/* Stands still, so that a slow machine changes no outcome. */
static uint64_t still_clock(void)
{
    return 1;
}

struct sandbox {
    hf_lua_catalog catalog;
    hf_decision_point point;
    hf_config_problems problems;
    hf_lua_state *state;
    hf_arena arena;
    int32_t over;
    hf_error error;
};

static void sandbox_open(struct sandbox *sandbox, const char *text)
{
    char *folder = make_folder();
    hf_lua_bundle *bundle = NULL;
    const char *path = folder;

    memset(sandbox, 0, sizeof *sandbox);
    sandbox->point = (hf_decision_point){.size = sizeof sandbox->point,
                                         .name = "test.any",
                                         .parameters = parameters,
                                         .parameter_count = 1,
                                         .result.type = HF_LUA_ANY};
    assert_int_equal(hf_lua_catalog_add_point(&sandbox->catalog, &sandbox->point, NULL), 0);
    write_file(folder, "attempt.lua", text);
    assert_int_equal(hf_lua_bundle_read(&(hf_strings){1, &path}, &bundle, &sandbox->problems), 0);
    remove_folder(folder);
    (void)hf_lua_state_create(&sandbox->catalog, bundle, HF_LUA_FOR_DECISIONS, still_clock, &sandbox->state,
                              &sandbox->problems);
    hf_lua_bundle_unref(bundle);
    hf_arena_init(&sandbox->arena, 1 << 20);
}

/* `body` is what decide(value) does. */
static void sandbox_open_body(struct sandbox *sandbox, const char *body)
{
    char *text = NULL;

    assert_true(asprintf(&text, "return { point = 'test.any', decide = function(value) %s end }", body) > 0);
    sandbox_open(sandbox, text);
    if (!sandbox->state)
        fail_msg("%s: %s", body, sandbox->problems.lines[0]);
    free(text);
}

static void sandbox_close(struct sandbox *sandbox)
{
    hf_lua_state_destroy(sandbox->state);
    hf_arena_done(&sandbox->arena);
}

static int32_t sandbox_decide(struct sandbox *sandbox, hf_value *ret_result)
{
    hf_value argument = hf_value_integer(1);

    return hf_lua_state_decide(sandbox->state, 0, &argument, &sandbox->arena, ret_result, &sandbox->over,
                               &sandbox->error);
}

/* ---- Escapes: an error with this text --------------------------------------------------------------------------- */

static const struct {
    const char *body, *expected;
} refused[] = {
    {"return string.dump(function() end)", "nil value (field 'dump')"},
    {"return load('return 1')", "nil value (global 'load')"},
    {"return load('\\27Lua')", "nil value (global 'load')"},
    {"return loadstring('x = 1')", "nil value (global 'loadstring')"},
    {"return dofile('/etc/passwd')", "nil value (global 'dofile')"},
    {"return loadfile('/etc/passwd')", "nil value (global 'loadfile')"},
    {"return require('os')", "nil value (global 'require')"},
    {"return package.loadlib('libc.so.6', '*')", "nil value (global 'package')"},
    {"return io.open('/etc/passwd')", "nil value (global 'io')"},
    {"return debug.getregistry()", "nil value (global 'debug')"},
    {"return debug.sethook()", "nil value (global 'debug')"},
    {"return os.execute('true')", "nil value (field 'execute')"},
    {"return os.exit(1)", "nil value (field 'exit')"},
    {"return os.getenv('HOME')", "nil value (field 'getenv')"},
    {"return os.remove('/tmp/x')", "nil value (field 'remove')"},
    {"return os.rename('/tmp/x', '/tmp/y')", "nil value (field 'rename')"},
    {"return os.tmpname()", "nil value (field 'tmpname')"},
    {"return os.setlocale('C')", "nil value (field 'setlocale')"},
    {"return print('x')", "nil value (global 'print')"},
    {"return warn('@on')", "nil value (global 'warn')"},
    {"return coroutine.create(function() end)", "nil value (global 'coroutine')"},
    {"return coroutine.wrap(function() while true do end end)()", "nil value (global 'coroutine')"},
    {"return string.pack('i16', 1)", "nil value (field 'pack')"},
    {"return ('x'):dump()", "nil value (method 'dump')"},
    {"return math.randomseed(1)", "nil value (field 'randomseed')"},
    {"collectgarbage('stop')", "collectgarbage('stop') is not available"},
    {"collectgarbage('generational')", "is not available"},
    {"collectgarbage('incremental', 1000, 1)", "is not available"},
    {"collectgarbage()", "is not available"},
    {"collectgarbage('step', 1 << 30)", "is not available"},
    {"getmetatable('').__index = {}", "index a boolean value"},
    {"getmetatable('').__index.rep = nil", "index a boolean value"},
    {"setmetatable(string, {})", "cannot be changed"},
    {"setmetatable(_G, {})", "cannot be changed"},
    {"setmetatable(_ENV, { __index = function() end })", "cannot be changed"},
    {"string.rep = function() end", "cannot be changed"},
    {"table.insert(table, 1)", "cannot be changed"},
    {"table.move({ 1 }, 1, 1, 1, string)", "cannot be changed"},
    {"rawset(string, 'rep', 1)", "cannot be changed"},
    {"rawset(math, 'pi', 3)", "cannot be changed"},
    {"rawset(_G, 'x', 3)", "cannot be changed"},
    {"holdfast.log = print or 1", "cannot be changed"},
    {"rawset(holdfast, 'log', 1)", "cannot be changed"},
    {"setmetatable({}, { __gc = function() while true do end end })", "finalizers (__gc)"},
    {"setmetatable({}, { __gc = true })", "finalizers (__gc)"},
    {"table.insert(setmetatable({}, { __len = function() return 1 << 53 end }), 1, 'x')", "__len cannot be used"},
    {"table.remove(setmetatable({}, { __len = function() return 1 << 53 end }), 1)", "__len cannot be used"},
    {"table.concat(setmetatable({}, { __len = function() return 1 << 53 end }))", "__len cannot be used"},
    {"table.sort(setmetatable({}, { __len = function() return 1 << 30 end }))", "__len cannot be used"},
    {"table.move({}, 1, 1 << 53, 2)", "more than 1048576 elements"},
    {"table.move({}, math.mininteger, -1, 2)", "more than 1048576 elements"},
    {"table.unpack({}, 1, 1 << 40)", "too many results"},
    {"return table.unpack({}, 1, 900000)", "too many results"},
    {"string.find(('a'):rep(65537), 'b')", "at most 65536 are allowed"},
    {"string.rep('x', 1 << 62)", "resulting string too large"},
    {"error(setmetatable({}, { __tostring = function() while true do end end }))", "the error is a table"},
    {"local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) return t[1]", "C stack overflow"},
    {"return pcall(error)() ", "call a boolean value"},
    {"return function() end", "a function cannot be passed on"},
    {"return { io = string.rep }", "result.io: a function cannot be passed on"},
};

static void attempts_to_escape_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct sandbox sandbox;
        hf_value result;

        sandbox_open_body(&sandbox, refused[i].body);
        if (sandbox_decide(&sandbox, &result) != HF_EPOLICY)
            fail_msg("this worked: %s", refused[i].body);
        if (!strstr(sandbox.error.message, refused[i].expected))
            fail_msg("%s\n  gave:     %s\n  expected: %s", refused[i].body, sandbox.error.message, refused[i].expected);
        assert_int_equal(sandbox.over, HF_LUA_WITHIN);
        sandbox_close(&sandbox);
    }
}

/* ---- Overruns: caught, and not by the policy --------------------------------------------------------------------- */

static const struct {
    const char *body;
    int32_t over; /* HF_LUA_..., or -1: any of them */
} overruns[] = {
    {"while true do end", HF_LUA_OVER_INSTRUCTIONS},
    {"::again:: goto again", HF_LUA_OVER_INSTRUCTIONS},
    {"for i = 1, math.huge do end", HF_LUA_OVER_INSTRUCTIONS},
    {"repeat until false", HF_LUA_OVER_INSTRUCTIONS},
    {"local function f() return f() end f()", HF_LUA_OVER_INSTRUCTIONS},
    {"while true do pcall(function() while true do end end) end", HF_LUA_OVER_INSTRUCTIONS},
    {"while true do pcall(error) end", HF_LUA_OVER_INSTRUCTIONS},
    {"pcall(function() while true do end end) return 'escaped'", HF_LUA_OVER_INSTRUCTIONS},
    {"pcall(pcall, pcall, function() while true do end end) return 'escaped'", HF_LUA_OVER_INSTRUCTIONS},
    {"xpcall(function() while true do end end, function() while true do end end) return 1", HF_LUA_OVER_INSTRUCTIONS},
    {"xpcall(error, function() while true do end end) return 'escaped'", HF_LUA_OVER_INSTRUCTIONS},
    {"local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end", -1},
    {"local function f() local x <close> = setmetatable({}, { __close = function() while true do end end }) "
     "return f() + 1 end f()",
     -1},
    {"local function f() return 1 + f() end return f()", HF_LUA_OVER_INSTRUCTIONS},
    {"local t = setmetatable({}, { __tostring = function() while true do end end }) return tostring(t)",
     HF_LUA_OVER_INSTRUCTIONS},
    {"local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, "
     "getmetatable(t))",
     HF_LUA_OVER_INSTRUCTIONS},
    {"table.sort({ 3, 2, 1 }, function() while true do end end)", HF_LUA_OVER_INSTRUCTIONS},
    {"('x'):gsub('x', function() while true do end end)", HF_LUA_OVER_INSTRUCTIONS},
    {"pcall(string.gsub, 'x', 'x', function() while true do end end) return 'escaped'", HF_LUA_OVER_INSTRUCTIONS},
    {"('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30))", HF_LUA_OVER_INSTRUCTIONS},
    {"('a'):rep(60000):find(('.-'):rep(20) .. 'b')", HF_LUA_OVER_INSTRUCTIONS},
    {"('a'):rep(60000):match('(.*)(.*)(.*)(.*)b')", HF_LUA_OVER_INSTRUCTIONS},
    {"for _ in ('a'):rep(60000):gmatch('.-.-.-.-b') do end", HF_LUA_OVER_INSTRUCTIONS},
    {"('a'):rep(60000):gsub('.-.-.-.-b', '')", HF_LUA_OVER_INSTRUCTIONS},
    {"('('):rep(60000):find('%b()')", HF_LUA_OVER_INSTRUCTIONS},
    {"pcall(string.find, ('a'):rep(60000), ('.-'):rep(20) .. 'b') return 'escaped'", HF_LUA_OVER_INSTRUCTIONS},
    {"('x'):find('[' .. ('a'):rep(8000000) .. ']')", -1},
    {"string.rep('x', 1 << 30)", HF_LUA_OVER_MEMORY},
    {"pcall(string.rep, 'x', 1 << 30) return 'escaped'", HF_LUA_OVER_MEMORY},
    {"local s = 'x' while true do s = s .. s end", HF_LUA_OVER_MEMORY},
    {"while true do pcall(string.rep, 'x', 1 << 40) end", HF_LUA_OVER_INSTRUCTIONS},
    {"local t = {} for i = 1, 1 << 20 do t[i] = ('x'):rep(1000000) end", HF_LUA_OVER_MEMORY},
    {"local t = {} for i = 1, 30 do t[i] = ('x'):rep(1 << 18) end return table.concat(t)", HF_LUA_OVER_MEMORY},
    {"kept = kept or {} for i = 1, 1 << 20 do kept[i] = ('x'):rep(1000000) .. i end", HF_LUA_OVER_MEMORY},
    {"return string.format('%s', setmetatable({}, { __tostring = function() while true do end end }))",
     HF_LUA_OVER_INSTRUCTIONS},
};

static void overruns_are_caught(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof overruns / sizeof overruns[0]; i++) {
        struct sandbox sandbox;
        hf_value result;

        sandbox_open_body(&sandbox, overruns[i].body);
        if (sandbox_decide(&sandbox, &result) != HF_EPOLICY)
            fail_msg("this worked: %s", overruns[i].body);
        if (overruns[i].over >= 0 ? sandbox.over != overruns[i].over : sandbox.over == HF_LUA_WITHIN)
            fail_msg("%s: overran %d, expected %d: %s", overruns[i].body, sandbox.over, overruns[i].over,
                     sandbox.error.message);
        assert_int_equal(sandbox.state->out_of_memory, sandbox.over == HF_LUA_OVER_MEMORY);
        sandbox_close(&sandbox);
    }
}

static void an_overrun_at_the_top_of_a_file_is_a_problem(void **state)
{
    struct sandbox sandbox;

    (void)state;
    sandbox_open(&sandbox, "while true do end");
    assert_null(sandbox.state);
    assert_int_equal(sandbox.problems.count, 1);
    assert_non_null(strstr(sandbox.problems.lines[0], "attempt.lua:1: it ran for more than its 1000000 instructions"));
    sandbox_close(&sandbox);
}

static void bytecode_is_refused(void **state)
{
    struct sandbox sandbox;

    (void)state;
    sandbox_open(&sandbox, "\033LuaT");
    assert_null(sandbox.state);
    assert_non_null(strstr(sandbox.problems.lines[0], "attempt to load a binary chunk"));
    sandbox_close(&sandbox);
}

/* ---- What works -------------------------------------------------------------------------------------------------- */

static const char *const harmless[] = {
    "return string.rep('', 1 << 60) == ''",
    "return string.rep('ab', 2, '-') == 'ab-ab'",
    "return pcall(error, 'x') == false",
    "local ok, e = pcall(error, { 1 }) return not ok and e[1] == 1",
    "return select(2, xpcall(function(a) return a + 1 end, error, 1)) == 2",
    "return select(2, xpcall(error, function(e) return e .. '!' end, 'x')) == 'x!'",
    "return select('#', xpcall(error, function() return 1, 2 end)) == 2",
    "return not pcall(xpcall, 1, 2)",
    "return getmetatable('') == false and getmetatable(string) == false and getmetatable(_G) == false",
    "return ('x'):upper() == 'X' and ('%d'):format(3) == '3'",
    "x = 1 return x == 1 and _G.x == 1 and _ENV.x == 1 and rawget(_G, 'x') == 1",
    "local t = setmetatable({}, { __index = { a = 1 } }) return t.a == 1 and getmetatable(t).__index.a == 1",
    "return next(string) == nil and rawget(string, 'rep') == nil",
    "return collectgarbage('count') > 0",
    "return type(os.time()) == 'number' and type(os.date()) == 'string' and os.clock() >= 0",
    "return holdfast.now() > 1600000000 and holdfast.log('debug', 'text') == nil",
    "return table.concat({ 1, 2 }, ',') == '1,2' and #table.pack(1, 2) == 2",
    "return select('#', table.unpack({ 1, 2 })) == 2",
    "local t = { 3, 1, 2 } table.sort(t) table.insert(t, 4) return table.remove(t, 1) == 1 and #t == 3",
    "return utf8.len('ä') == 1 and math.floor(1.5) == 1 and math.type(1) == 'integer'",
    "local n = 0 for _, c in utf8.codes('aä') do n = n + c end return n == 97 + 228",
    "return ('a,b'):gsub(',', '.') == 'a.b' and ('k=v'):match('(%w+)=(%w+)') == 'k'",
    "return value == 1 and tostring(1) == '1' and tonumber('10', 2) == 2",
};

static void what_policies_need_works(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        struct sandbox sandbox;
        hf_value result;

        sandbox_open_body(&sandbox, harmless[i]);
        if (sandbox_decide(&sandbox, &result) != 0)
            fail_msg("%s: %s", harmless[i], sandbox.error.message);
        if (result.type != HF_VALUE_BOOLEAN || !result.boolean)
            fail_msg("this was not true: %s", harmless[i]);
        sandbox_close(&sandbox);
    }
}

static void a_state_goes_on_after_an_overrun(void **state)
{
    struct sandbox sandbox;
    hf_value result;

    (void)state;
    sandbox_open_body(&sandbox, "count = (count or 0) + 1 while count % 2 == 1 do end return count");
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(sandbox_decide(&sandbox, &result), i % 2 ? HF_EPOLICY : 0);
        assert_int_equal(sandbox.over, i % 2 ? HF_LUA_OVER_INSTRUCTIONS : HF_LUA_WITHIN);
    }
    assert_int_equal(result.as.integer, 10);
    sandbox_close(&sandbox);
}

static void garbage_is_no_overrun(void **state)
{
    struct sandbox sandbox;
    hf_value result;

    (void)state;
    sandbox_open_body(&sandbox, "for i = 1, 30 do local s = ('x'):rep(1 << 20) .. i end return true");
    for (int i = 0; i < 2; i++) /* 120 MiB through 8 MiB */
        if (sandbox_decide(&sandbox, &result))
            fail_msg("%s", sandbox.error.message);
    assert_true(sandbox.state->budget.memory_used <= sandbox.state->budget.memory_maximum);
    sandbox_close(&sandbox);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static uint64_t slow_clock_us;

static uint64_t slow_clock(void)
{
    return slow_clock_us += 20000;
}

static void a_decision_that_takes_long_is_caught(void **state)
{
    struct sandbox sandbox;
    hf_value result;

    (void)state;
    sandbox_open_body(&sandbox, "for i = 1, 2000 do end return 'escaped'");
    sandbox.state->budget.clock_us = slow_clock;
    assert_int_equal(sandbox_decide(&sandbox, &result), HF_EPOLICY);
    assert_int_equal(sandbox.over, HF_LUA_OVER_TIME);
    assert_non_null(strstr(sandbox.error.message, "longer than its 50 ms"));
    sandbox_close(&sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attempts_to_escape_fail),
        cmocka_unit_test(overruns_are_caught),
        cmocka_unit_test(an_overrun_at_the_top_of_a_file_is_a_problem),
        cmocka_unit_test(bytecode_is_refused),
        cmocka_unit_test(what_policies_need_works),
        cmocka_unit_test(a_state_goes_on_after_an_overrun),
        cmocka_unit_test(garbage_is_no_overrun),
        cmocka_unit_test(a_decision_that_takes_long_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
