/* The table `holdfast`; see library.h.
 *
 * While a function of a plugin runs, and while its arguments and result lie in an arena, no Lua error is raised: it
 * would jump over them.  In a state for tests nothing of a plugin is called; tests offer what stands in for it. */
#include "lua/library.h"

#include "lua/convert.h"
#include "lua/state.h"
#include "telemetry/log.h"

#include <holdfast/lib/error.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CALL_COST = 100, ARENA_MAX = 1 << 20, LINES_MAX = 16, LINE_SIZE_MAX = 1024 };

static const char stand_ins; /* its address is the key of the table of functions that the present test offers */

static int is_open(const hf_lua_state *state)
{
    return state->purpose == HF_LUA_FOR_TESTS;
}

/* ---- Standing in ---------------------------------------------------------------------------------------------- */

/* Pushes what the present test offers as holdfast.NAME; returns 0 and pushes nothing when there is none. */
static int push_stand_in(lua_State *L, const char *name)
{
    if (!is_open(hf_lua_state_of(L)))
        return 0;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &stand_ins) == LUA_TTABLE) {
        lua_pushstring(L, name);
        if (lua_rawget(L, -2) == LUA_TFUNCTION) {
            lua_remove(L, -2);
            return 1;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return 0;
}

/* Calls the function at the top of the stack with all arguments below it. */
static int call_stand_in(lua_State *L)
{
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

int hf_lua_library_offer(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const hf_lua_catalog *catalog = hf_lua_state_of(L)->catalog;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!catalog->open && hf_lua_catalog_function(catalog, name) < 0 && strcmp(name, "now") != 0 &&
        strcmp(name, "log") != 0)
        return luaL_error(L, "there is no function holdfast.%s", name);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &stand_ins) != LUA_TTABLE) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &stand_ins);
    }
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, name);
    return 0;
}

void hf_lua_library_forget(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &stand_ins) != LUA_TNIL) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &stand_ins);
    }
    lua_pop(L, 1);
}

/* ---- What core offers ----------------------------------------------------------------------------------------- */

static int library_log(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
    hf_lua_state *state = hf_lua_state_of(L);

    if (push_stand_in(L, "log"))
        return call_stand_in(L);

    int level = luaL_checkoption(L, 1, NULL, levels);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);

    hf_lua_charge(L, CALL_COST);
    if (state->lines++ >= LINES_MAX || is_open(state))
        return 0;
    hf_slice message = {(const uint8_t *)text, size < LINE_SIZE_MAX ? size : LINE_SIZE_MAX};
    hf_log_write(HF_LOG_DEBUG + level, "policy", message, NULL, 0);
    return 0;
}

static int library_now(lua_State *L)
{
    struct timespec now;

    if (push_stand_in(L, "now"))
        return call_stand_in(L);
    clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
    return 1;
}

/* ---- What plugins offer --------------------------------------------------------------------------------------- */

static int32_t call_plugin(lua_State *L, const hf_lua_function *function, hf_arena *arena, hf_error *error)
{
    hf_value arguments[HF_LUA_PARAMETERS_MAX + 1], value = hf_value_null();
    int32_t result = 0;

    for (uint32_t i = 0; !result && i < function->parameter_count; i++) {
        arguments[i] = hf_value_null();
        result = hf_lua_read_value(L, (int)i + 1, &function->parameters[i], arena, &arguments[i], error);
    }
    if (!result)
        result = function->call(function->arg, arguments, arena, &value, error);
    if (!result)
        result = hf_lua_push_value_protected(L, &value, error);
    return result;
}

static int library_call(lua_State *L)
{
    const hf_lua_state *state = hf_lua_state_of(L);
    const hf_lua_function *function = state->catalog->functions[lua_tointeger(L, lua_upvalueindex(1))];
    hf_error error = {0};
    hf_arena arena;

    if (lua_gettop(L) > (int)function->parameter_count)
        return luaL_error(L, "holdfast.%s takes %d arguments, not %d", function->name, (int)function->parameter_count,
                          lua_gettop(L));
    if (push_stand_in(L, function->name))
        return call_stand_in(L);
    if (is_open(state))
        return luaL_error(L, "holdfast.%s is not there in a test: offer(\"%s\", function ... end) stands in for it",
                          function->name, function->name);
    hf_lua_charge(L, CALL_COST);
    lua_settop(L, (int)function->parameter_count);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    hf_arena_init(&arena, ARENA_MAX);
    int32_t result = call_plugin(L, function, &arena, &error);
    hf_arena_done(&arena);
    return result ? luaL_error(L, "holdfast.%s: %s", function->name, error.message) : 1;
}

/* ---- The table ------------------------------------------------------------------------------------------------ */

/* Where plugins are not loaded, every name is one that a test may offer.  Arguments: the table, the name. */
static int library_unknown(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);

    if (push_stand_in(L, name))
        return 1;
    return luaL_error(L, "holdfast.%s is not there in a test: offer(\"%s\", function ... end) stands in for it", name,
                      name);
}

void hf_lua_library_push(lua_State *L)
{
    const hf_lua_catalog *catalog = hf_lua_state_of(L)->catalog;

    lua_newtable(L);
    lua_pushcfunction(L, library_log);
    lua_setfield(L, -2, "log");
    lua_pushcfunction(L, library_now);
    lua_setfield(L, -2, "now");
    for (uint32_t i = 0; i < catalog->function_count; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, library_call, 1);
        lua_setfield(L, -2, catalog->functions[i]->name);
    }
    if (catalog->open) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, library_unknown);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
    }
}
