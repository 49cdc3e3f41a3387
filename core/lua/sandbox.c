/* The sandbox; see sandbox.h.
 *
 * Only what is listed here exists for a policy.  A library is seen through an empty table whose metatable leads to it
 * and is itself hidden, so that nothing in it can be replaced, by rawset neither.  Functions of C that can be made to
 * work for long are charged to the budget at each call, because Lua's count hook does not run inside them. */
#include "lua/sandbox.h"

#include "lua/budget.h"
#include "lua/pattern.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

enum { CALL_COST = 5, MOVE_MAX = 1 << 20 };

/* ---- Replacements of basic functions -------------------------------------------------------------------------- */

static int safe_pcall(lua_State *L)
{
    luaL_checkany(L, 1);

    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);

    hf_lua_budget_check(L, status);
    luaL_checkstack(L, 1, "too many results");
    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* The handler runs after the stack has been unwound: during an error that a hook raised, hooks do not run, and it
 * could go on for ever.  Without the debug library it could not have seen more anyway. */
static int safe_xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_insert(L, 1);
    lua_remove(L, 3); /* handler, function, arguments... */

    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);

    hf_lua_budget_check(L, status);
    luaL_checkstack(L, 1, "too many results");
    if (status != LUA_OK) {
        lua_call(L, 1, 1); /* the handler is below the error */
        lua_pushboolean(L, 0);
        lua_insert(L, 1);
        return 2;
    }
    lua_pushboolean(L, 1);
    lua_replace(L, 1);
    return lua_gettop(L);
}

static void refuse_protected(lua_State *L)
{
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        luaL_error(L, "this table cannot be changed");
}

/* Lua runs finalizers with the hook off, so that one could go on for ever: there are none. */
static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    refuse_protected(L);
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            luaL_error(L, "finalizers (__gc) are not available to policies");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int safe_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 3);
    refuse_protected(L);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int safe_collectgarbage(lua_State *L)
{
    const char *what = luaL_optstring(L, 1, "collect");

    if (strcmp(what, "count") != 0)
        return luaL_error(L, "collectgarbage('%s') is not available to policies, only 'count'", what);
    lua_pushnumber(L, (lua_Number)hf_lua_budget_of(L)->memory_used / 1024);
    return 1;
}

/* ---- Guards --------------------------------------------------------------------------------------------------- */

/* Upvalue 1 is a C function without upvalues; it runs in this one's place. */
static int charged(lua_State *L)
{
    lua_CFunction function = lua_tocfunction(L, lua_upvalueindex(1));

    hf_lua_charge(L, CALL_COST);
    return function(L);
}

/* A length that is made up would let these functions go over numbers that no table has. */
static int charged_table(lua_State *L)
{
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
        return luaL_error(L, "a table with the metamethod __len cannot be used here");
    return charged(L);
}

static int charged_move(lua_State *L)
{
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);

    if (last >= first && (lua_Unsigned)last - (lua_Unsigned)first >= MOVE_MAX)
        return luaL_error(L, "table.move: more than %d elements", MOVE_MAX);
    return charged_table(L);
}

static int charged_rep(lua_State *L)
{
    /* Lua's own would count to n doing nothing. */
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) == 0 &&
        (lua_isnoneornil(L, 3) || (lua_type(L, 3) == LUA_TSTRING && lua_rawlen(L, 3) == 0))) {
        luaL_checkinteger(L, 2);
        lua_pushliteral(L, "");
        return 1;
    }
    return charged(L);
}

/* ---- The libraries -------------------------------------------------------------------------------------------- */

struct entry {
    const char *name;
    lua_CFunction guard;       /* a closure over the library's function, or NULL: the function itself */
    lua_CFunction replacement; /* instead of the library's, or NULL */
};

static const struct entry base_entries[] = {
    {"assert", NULL, NULL},      {"collectgarbage", NULL, safe_collectgarbage},
    {"error", NULL, NULL},       {"getmetatable", NULL, NULL},
    {"ipairs", NULL, NULL},      {"next", NULL, NULL},
    {"pairs", NULL, NULL},       {"pcall", NULL, safe_pcall},
    {"rawequal", NULL, NULL},    {"rawget", NULL, NULL},
    {"rawlen", NULL, NULL},      {"rawset", NULL, safe_rawset},
    {"select", NULL, NULL},      {"setmetatable", NULL, safe_setmetatable},
    {"tonumber", charged, NULL}, {"tostring", charged, NULL},
    {"type", NULL, NULL},        {"xpcall", NULL, safe_xpcall},
    {"_VERSION", NULL, NULL},    {NULL, NULL, NULL},
};

static const struct entry string_entries[] = {
    {"byte", charged, NULL},
    {"char", charged, NULL},
    {"find", hf_lua_guard_find, NULL},
    {"format", charged, NULL},
    {"gmatch", hf_lua_guard_match, NULL},
    {"gsub", hf_lua_guard_match, NULL},
    {"len", NULL, NULL},
    {"lower", charged, NULL},
    {"match", hf_lua_guard_match, NULL},
    {"rep", charged_rep, NULL},
    {"reverse", charged, NULL},
    {"sub", charged, NULL},
    {"upper", charged, NULL},
    {NULL, NULL, NULL},
};

static const struct entry table_entries[] = {
    {"concat", charged_table, NULL}, {"insert", charged_table, NULL},
    {"move", charged_move, NULL},    {"pack", charged, NULL},
    {"remove", charged_table, NULL}, {"sort", charged_table, NULL},
    {"unpack", charged_table, NULL}, {NULL, NULL, NULL},
};

static const struct entry math_entries[] = {
    {"abs", NULL, NULL},   {"acos", NULL, NULL},       {"asin", NULL, NULL}, {"atan", NULL, NULL},
    {"ceil", NULL, NULL},  {"cos", NULL, NULL},        {"deg", NULL, NULL},  {"exp", NULL, NULL},
    {"floor", NULL, NULL}, {"fmod", NULL, NULL},       {"huge", NULL, NULL}, {"log", NULL, NULL},
    {"max", NULL, NULL},   {"maxinteger", NULL, NULL}, {"min", NULL, NULL},  {"mininteger", NULL, NULL},
    {"modf", NULL, NULL},  {"pi", NULL, NULL},         {"rad", NULL, NULL},  {"random", NULL, NULL},
    {"sin", NULL, NULL},   {"sqrt", NULL, NULL},       {"tan", NULL, NULL},  {"tointeger", NULL, NULL},
    {"type", NULL, NULL},  {"ult", NULL, NULL},        {NULL, NULL, NULL},
};

static const struct entry utf8_entries[] = {
    {"char", charged, NULL}, {"charpattern", NULL, NULL}, {"codepoint", charged, NULL}, {"codes", charged, NULL},
    {"len", charged, NULL},  {"offset", charged, NULL},   {NULL, NULL, NULL},
};

static const struct entry os_entries[] = {
    {"clock", NULL, NULL},   {"date", charged, NULL}, {"difftime", NULL, NULL},
    {"time", charged, NULL}, {NULL, NULL, NULL},
};

/* Copies the listed functions from the library at the top of the stack, which is popped, to the table at `target`. */
static void take(lua_State *L, const struct entry *entries, int target)
{
    for (; entries->name; entries++) {
        if (entries->replacement) {
            lua_pushcfunction(L, entries->replacement);
        } else {
            lua_getfield(L, -1, entries->name);
            if (entries->guard)
                lua_pushcclosure(L, entries->guard, 1);
        }
        lua_setfield(L, target, entries->name);
    }
    lua_pop(L, 1);
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "this table cannot be changed");
}

/* Replaces the table at the top of the stack by an empty one that leads to it and cannot be changed. */
static void protect(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static void add_library(lua_State *L, const char *name, lua_CFunction open, const struct entry *entries, int globals)
{
    lua_newtable(L);
    int library = lua_gettop(L);
    luaL_requiref(L, name, open, 0);
    take(L, entries, library);
    protect(L);
    lua_setfield(L, globals, name);
}

/* Methods of strings come from the same selection as the library. */
static void protect_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_newtable(L);
    int methods = lua_gettop(L);
    lua_getfield(L, methods - 1, "__index");
    take(L, string_entries, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void hf_lua_sandbox_push(lua_State *L)
{
    int library = lua_gettop(L);

    lua_newtable(L);
    int globals = lua_gettop(L);
    luaL_requiref(L, "_G", luaopen_base, 0);
    take(L, base_entries, globals);
    add_library(L, "string", luaopen_string, string_entries, globals);
    add_library(L, "table", luaopen_table, table_entries, globals);
    add_library(L, "math", luaopen_math, math_entries, globals);
    add_library(L, "utf8", luaopen_utf8, utf8_entries, globals);
    add_library(L, "os", luaopen_os, os_entries, globals);
    protect_strings(L);
    lua_pushvalue(L, library);
    protect(L);
    lua_setfield(L, globals, "holdfast");
    lua_remove(L, library);
}

void hf_lua_sandbox_push_environment(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "_G");
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, index);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}
