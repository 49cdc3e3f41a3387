/* Runs the tests of policies; see trial.h.
 *
 * A test gets two functions.  decide(...) asks the policy just as the process would: arguments and result are checked
 * and converted, the budget is that of the point, and a failure is an error.  offer(name, function) stands in for
 * holdfast.NAME until the test ends. */
#include "lua/trial.h"

#include "lua/convert.h"
#include "lua/library.h"
#include "lua/stand_in.h"

#include <holdfast/lib/error.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_INSTRUCTIONS = 20000000, TEST_TIME_US = 5000000, ARENA_MAX = 16 << 20 };

/* ---- decide(...) ---------------------------------------------------------------------------------------------- */

static int32_t decide_within(lua_State *L, const hf_lua_policy *policy, hf_arena *arena, hf_error *error)
{
    hf_lua_state *state = hf_lua_state_of(L);
    const hf_decision_point *point = state->catalog->points[policy->point];
    hf_value arguments[HF_LUA_PARAMETERS_MAX + 1], value = hf_value_null();
    int32_t result = 0, over = 0;

    for (uint32_t i = 0; !result && i < point->parameter_count; i++) {
        arguments[i] = hf_value_null();
        result = hf_lua_read_value(L, (int)i + 1, &point->parameters[i], arena, &arguments[i], error);
        if (!result && point->parameters[i].type == HF_LUA_OBJECT && arguments[i].type == HF_VALUE_MAP)
            result = hf_lua_stand_in(point->parameters[i].name, arena, &arguments[i], error);
    }
    if (!result)
        result = hf_lua_state_decide(state, (uint32_t)policy->point, arguments, arena, &value, &over, error);
    return result ? result : hf_lua_push_value_protected(L, &value, error);
}

/* Upvalue 1: the policy. */
static int trial_decide(lua_State *L)
{
    const hf_lua_policy *policy = lua_touserdata(L, lua_upvalueindex(1));
    const hf_decision_point *point = hf_lua_state_of(L)->catalog->points[policy->point];
    hf_error error = {0};
    hf_arena arena;

    if (lua_gettop(L) > (int)point->parameter_count)
        return luaL_error(L, "decide takes %d arguments, not %d", (int)point->parameter_count, lua_gettop(L));
    lua_settop(L, (int)point->parameter_count);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    hf_arena_init(&arena, ARENA_MAX);
    int32_t result = decide_within(L, policy, &arena, &error);
    hf_arena_done(&arena);
    return result ? luaL_error(L, "%s", error.message) : 1;
}

/* ---- One test ------------------------------------------------------------------------------------------------- */

struct test {
    const hf_lua_policy *policy;
    const char *name;
};

/* Argument: a struct test. */
static int call_test(lua_State *L)
{
    const struct test *test = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, test->policy->tests);
    lua_pushstring(L, test->name);
    lua_rawget(L, -2);
    lua_pushlightuserdata(L, (void *)(uintptr_t)test->policy);
    lua_pushcclosure(L, trial_decide, 1);
    lua_pushcfunction(L, hf_lua_library_offer);
    lua_call(L, 2, 0);
    return 0;
}

static int with_traceback(lua_State *L)
{
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;

    luaL_traceback(L, L, text ? text : "the error is not a text", 1);
    return 1;
}

static int forget(lua_State *L)
{
    hf_lua_library_forget(L);
    return 0;
}

static int32_t run_test(hf_lua_state *state, struct test *test, hf_lua_trial_report report, void *arg)
{
    lua_State *L = state->L;
    hf_lua_budget outer;
    char failure[HF_LUA_TRACEBACK_SIZE] = "";

    if (!lua_checkstack(L, 8))
        return HF_ENOMEM;
    hf_lua_budget_begin(L, TEST_INSTRUCTIONS, TEST_TIME_US, &outer);
    lua_pushcfunction(L, with_traceback);
    lua_pushcfunction(L, call_test);
    lua_pushlightuserdata(L, test);
    int status = lua_pcall(L, 1, 0, -3);
    if (status != LUA_OK) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "it failed";
        snprintf(failure, sizeof failure, "%s", text);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    (void)hf_lua_budget_end(L, &outer); /* the failure's text says it */
    lua_pushcfunction(L, forget);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        return HF_ENOMEM;
    report(arg, test->policy, test->name, status == LUA_OK ? NULL : failure);
    return 0;
}

/* ---- All tests ------------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint32_t count_tests(lua_State *L, int index)
{
    uint32_t count = 0;

    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        count++;
    return count;
}

static int32_t run_sorted(hf_lua_state *state, const hf_lua_policy *policy, const char **names, uint32_t count,
                          hf_lua_trial_report report, void *arg)
{
    int32_t result = 0;

    qsort(names, count, sizeof *names, by_name);
    for (uint32_t i = 0; !result && i < count; i++)
        result = run_test(state, &(struct test){policy, names[i]}, report, arg);
    return result;
}

static char *copy_name(lua_State *L, int index)
{
    return strdup(lua_tostring(L, index)); /* a string already, as loading has checked */
}

/* The names are copied: a test may change its own table. */
static int32_t run_policy(hf_lua_state *state, const hf_lua_policy *policy, hf_lua_trial_report report, void *arg)
{
    lua_State *L = state->L;
    uint32_t count = 0;
    int32_t result = 0;

    if (policy->tests == LUA_NOREF)
        return 0;
    if (!lua_checkstack(L, 8))
        return HF_ENOMEM;
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->tests);
    int index = lua_gettop(L);
    const char **names = calloc(count_tests(L, index) + 1, sizeof *names);
    for (lua_pushnil(L); names && lua_next(L, index); lua_pop(L, 1)) {
        names[count] = copy_name(L, -2);
        if (names[count])
            count++;
        else
            result = HF_ENOMEM;
    }
    lua_settop(L, index - 1);
    if (names && !result)
        result = run_sorted(state, policy, names, count, report, arg);
    for (uint32_t i = 0; i < count; i++)
        free((void *)(uintptr_t)names[i]);
    free(names);
    return names ? result : HF_ENOMEM;
}

int32_t hf_lua_trial_run(hf_lua_state *state, hf_lua_trial_report report, void *arg)
{
    int32_t result = 0;

    for (uint32_t i = 0; !result && i < state->policy_count; i++)
        result = run_policy(state, &state->policies[i], report, arg);
    return result;
}
