/* One Lua state: how it is made, how policies are loaded into it, how one is asked; see state.h. */
#include "lua/state.h"

#include "lua/convert.h"
#include "lua/library.h"
#include "lua/sandbox.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/text.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOAD_INSTRUCTIONS = 1000000, LOAD_TIME_US = 1000000 };

hf_lua_state *hf_lua_state_of(lua_State *L)
{
    return (hf_lua_state *)(void *)hf_lua_budget_of(L);
}

/* ---- Errors --------------------------------------------------------------------------------------------------- */

/* Calls nothing of the policy: an error may be a table whose __tostring does not end. */
static int add_traceback(lua_State *L)
{
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;

    if (!text)
        text = lua_pushfstring(L, "the error is a %s, not a text", luaL_typename(L, 1));
    luaL_traceback(L, L, text, 1);
    return 1;
}

/* Keeps what is at the top of the stack after a failure as the state's traceback, and pops it. */
static void keep_traceback(hf_lua_state *state, int status)
{
    const char *text = lua_type(state->L, -1) == LUA_TSTRING ? lua_tostring(state->L, -1) : "no text";

    char what[96] = "";

    if (status == LUA_ERRMEM && !state->budget.over)
        state->budget.over = HF_LUA_OVER_MEMORY;
    if (state->budget.over)
        hf_lua_budget_describe(&state->budget, state->budget.over, what, sizeof what);
    /* What was raised last may be another error, of a variable that was closed. */
    snprintf(state->traceback, sizeof state->traceback, "%s", strstr(text, what) ? text : what);
    lua_pop(state->L, 1);
}

static int first_line(const char *text)
{
    return (int)strcspn(text, "\n");
}

/* ---- Loading -------------------------------------------------------------------------------------------------- */

struct loading {
    hf_lua_state *state;
    hf_lua_policy *policy;
};

static void check_keys(lua_State *L, const hf_lua_source *source, int index)
{
    static const char *const known[] = {"point", "decide", "tests"};

    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;

        if (!key)
            luaL_error(L, "%s: a policy's keys are point, decide and tests; found a %s", source->path,
                       luaL_typename(L, -2));
        if (strcmp(key, known[0]) == 0 || strcmp(key, known[1]) == 0 || strcmp(key, known[2]) == 0)
            continue;
        const char *nearest = hf_text_nearest(key, known, 3);
        if (nearest)
            luaL_error(L, "%s: unknown key '%s'; did you mean '%s'?", source->path, key, nearest);
        luaL_error(L, "%s: unknown key '%s'; a policy has point, decide and tests", source->path, key);
    }
}

static int32_t find_point(lua_State *L, const hf_lua_state *state, const hf_lua_source *source, int index)
{
    const char *names[HF_LUA_POINTS_MAX];

    if (lua_getfield(L, index, "point") != LUA_TSTRING)
        luaL_error(L, "%s: 'point' is %s, expected the name of a decision point", source->path, luaL_typename(L, -1));

    const char *name = lua_tostring(L, -1);
    int32_t point = hf_lua_catalog_point(state->catalog, name);
    if (point >= 0)
        return point;
    for (uint32_t i = 0; i < state->catalog->point_count; i++)
        names[i] = state->catalog->points[i]->name;
    const char *nearest = hf_text_nearest(name, names, state->catalog->point_count);
    if (nearest)
        luaL_error(L, "%s: unknown decision point '%s'; did you mean '%s'?", source->path, name, nearest);
    return luaL_error(L, "%s: unknown decision point '%s'; no loaded plugin declares one like it", source->path, name);
}

static void check_tests(lua_State *L, const hf_lua_source *source)
{
    int tests = lua_gettop(L);

    if (!lua_istable(L, tests))
        luaL_error(L, "%s: 'tests' is a %s, expected a table of functions", source->path, luaL_typename(L, tests));
    for (lua_pushnil(L); lua_next(L, tests); lua_pop(L, 1))
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1))
            luaL_error(L, "%s: 'tests' holds a %s under a %s, expected functions with names", source->path,
                       luaL_typename(L, -1), luaL_typename(L, -2));
}

static int compile(lua_State *L, const hf_lua_source *source)
{
    lua_pushfstring(L, "@%s", source->path);
    if (luaL_loadbufferx(L, source->text, source->size, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, hf_lua_state_of(L)->globals);
    hf_lua_sandbox_push_environment(L, -1);
    lua_setupvalue(L, -3, 1); /* a chunk's first upvalue is _ENV */
    lua_pop(L, 1);
    return 0;
}

/* Argument: a struct loading. */
static int load_policy(lua_State *L)
{
    const struct loading *loading = lua_touserdata(L, 1);
    const hf_lua_source *source = loading->policy->source;

    compile(L, source);
    lua_call(L, 0, 1);

    int index = lua_gettop(L);
    if (!lua_istable(L, index))
        return luaL_error(L, "%s: a policy file returns a table with point, decide and tests; this one returned %s",
                          source->path, lua_isnil(L, index) ? "nothing" : luaL_typename(L, index));
    lua_pushnil(L); /* what follows looks at the table itself */
    lua_setmetatable(L, index);
    check_keys(L, source, index);
    loading->policy->point = find_point(L, loading->state, source, index);
    if (lua_getfield(L, index, "tests") != LUA_TNIL) {
        check_tests(L, source);
        loading->policy->tests = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    if (lua_getfield(L, index, "decide") != LUA_TFUNCTION)
        return luaL_error(L, "%s: 'decide' is %s, expected a function", source->path, luaL_typename(L, -1));
    loading->policy->decide = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void load_source(hf_lua_state *state, const hf_lua_source *source, hf_config_problems *problems)
{
    hf_lua_policy *policy = &state->policies[state->policy_count];
    struct loading loading = {state, policy};
    hf_lua_budget outer;

    *policy = (hf_lua_policy){.source = source, .decide = LUA_NOREF, .tests = LUA_NOREF};
    hf_lua_budget_begin(state->L, LOAD_INSTRUCTIONS, LOAD_TIME_US, &outer);
    lua_pushcfunction(state->L, load_policy);
    lua_pushlightuserdata(state->L, &loading);
    int status = lua_pcall(state->L, 1, 0, 0);
    if (status != LUA_OK)
        keep_traceback(state, status);
    (void)hf_lua_budget_end(state->L, &outer); /* keep_traceback has described it */
    if (status != LUA_OK) {
        int named = strncmp(state->traceback, source->path, strlen(source->path)) == 0; /* Lua cuts long paths */
        hf_config_problems_add(problems, "%s%s%s", named ? "" : source->path, named ? "" : ": ", state->traceback);
        return;
    }
    int32_t *slot = &state->policy_of_point[policy->point];
    if (*slot >= 0) {
        hf_config_problems_add(problems, "%s: '%s' is decided by %s already; a point has one policy", source->path,
                               state->catalog->points[policy->point]->name, state->policies[*slot].source->path);
        return;
    }
    *slot = (int32_t)state->policy_count++;
}

/* ---- Life ----------------------------------------------------------------------------------------------------- */

static int set_up(lua_State *L)
{
    hf_lua_library_push(L);
    hf_lua_sandbox_push(L);
    hf_lua_state_of(L)->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    hf_lua_objects_set_up(L);
    return 0;
}

static int32_t open_state(hf_lua_state *state)
{
    state->L = lua_newstate(hf_lua_allocate, &state->budget);
    if (!state->L)
        return HF_ENOMEM;
    *(hf_lua_budget **)lua_getextraspace(state->L) = &state->budget;
    lua_pushcfunction(state->L, set_up);
    return lua_pcall(state->L, 0, 0, 0) == LUA_OK ? 0 : HF_ENOMEM; /* it does nothing else that can fail */
}

int32_t hf_lua_state_create(const hf_lua_catalog *catalog, hf_lua_bundle *bundle, int32_t purpose,
                            uint64_t (*clock_us)(void), hf_lua_state **ret_state, hf_config_problems *problems)
{
    hf_lua_state *state = calloc(1, sizeof *state);
    uint32_t before = problems->count + problems->dropped;

    if (!state)
        return HF_ENOMEM;
    state->catalog = catalog;
    state->bundle = hf_lua_bundle_ref(bundle);
    state->purpose = purpose;
    state->budget.clock_us = clock_us;
    state->budget.memory_maximum = hf_lua_catalog_memory(catalog);
    memset(state->policy_of_point, -1, sizeof state->policy_of_point);

    int32_t result = open_state(state);
    for (uint32_t i = 0; !result && i < bundle->count; i++)
        load_source(state, &bundle->sources[i], problems);
    if (!result && problems->count + problems->dropped > before)
        result = HF_EINVAL;
    if (result) {
        hf_lua_state_destroy(state);
        return result;
    }
    *ret_state = state;
    return 0;
}

void hf_lua_state_destroy(hf_lua_state *state)
{
    if (!state)
        return;
    if (state->L)
        lua_close(state->L);
    hf_lua_bundle_unref(state->bundle);
    free(state);
}

/* ---- Deciding ------------------------------------------------------------------------------------------------- */

struct decision {
    const hf_decision_point *point;
    const hf_lua_policy *policy;
    const hf_value *arguments;
    hf_arena *arena;
    hf_value *ret_result;
    hf_error *error;
    int32_t result;
};

/* Argument: a struct decision.  The arena is the caller's, so an error may be raised at any time. */
static int ask(lua_State *L)
{
    struct decision *decision = lua_touserdata(L, 1);
    const hf_decision_point *point = decision->point;

    lua_rawgeti(L, LUA_REGISTRYINDEX, decision->policy->decide);
    for (uint32_t i = 0; i < point->parameter_count; i++)
        hf_lua_object_push(L, &decision->arguments[i]);
    lua_call(L, (int)point->parameter_count, 1);
    decision->result = hf_lua_read_value(L, -1, &point->result, decision->arena, decision->ret_result, decision->error);
    return 0;
}

static int32_t run_decision(hf_lua_state *state, struct decision *decision, int32_t *ret_over)
{
    lua_State *L = state->L;
    hf_lua_budget outer;
    /* A test must not fail because the machine is busy; the instructions are the same on any machine. */
    uint64_t time_us = HF_LUA_TIME_MAX_US * (state->purpose == HF_LUA_FOR_TESTS ? 20 : 1);

    hf_lua_budget_begin(L, decision->point->instruction_maximum, time_us, &outer);
    hf_lua_objects_begin(L, decision->arena);
    lua_pushcfunction(L, add_traceback);
    lua_pushcfunction(L, ask);
    lua_pushlightuserdata(L, decision);
    int status = lua_pcall(L, 1, 0, -3);
    if (status != LUA_OK)
        keep_traceback(state, status);
    lua_pop(L, 1);
    hf_lua_objects_end(L);
    *ret_over = hf_lua_budget_end(L, &outer);
    if (*ret_over == HF_LUA_OVER_MEMORY)
        state->out_of_memory = 1;
    return status;
}

/* The policy gave an answer, but a wrong one. */
static int32_t refuse_result(hf_lua_state *state, const struct decision *decision, const char *message)
{
    snprintf(state->traceback, sizeof state->traceback, "%s", message);
    return hf_error_set(decision->error, HF_EPOLICY, "policy %s for '%s': %s", decision->policy->source->path,
                        decision->point->name, message);
}

int32_t hf_lua_state_decide(hf_lua_state *state, uint32_t point, const hf_value *arguments, hf_arena *arena,
                            hf_value *ret_result, int32_t *ret_over, hf_error *error)
{
    int32_t index = state->policy_of_point[point];
    hf_error details; /* set by what fails */
    hf_value value = hf_value_null();
    struct decision decision = {.point = state->catalog->points[point],
                                .arguments = arguments,
                                .arena = arena,
                                .ret_result = &value,
                                .error = &details};

    *ret_over = HF_LUA_WITHIN;
    if (index < 0)
        return hf_error_set(error, HF_ENOTFOUND, "no policy decides '%s'", decision.point->name);
    decision.policy = &state->policies[index];
    if (!lua_checkstack(state->L, 8))
        return hf_error_set(error, HF_ENOMEM, "no memory to ask the policy for '%s'", decision.point->name);
    state->lines = 0;
    if (run_decision(state, &decision, ret_over) != LUA_OK)
        return hf_error_set(error, HF_EPOLICY, "policy %s for '%s': %.*s", decision.policy->source->path,
                            decision.point->name, first_line(state->traceback), state->traceback);
    if (decision.result == HF_ENOMEM)
        return hf_error_set(error, HF_ENOMEM, "'%s': %s", decision.point->name, details.message);
    if (decision.result) {
        decision.error = error;
        return refuse_result(state, &decision, details.message);
    }
    *ret_result = value;
    return 0;
}
