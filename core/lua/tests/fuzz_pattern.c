/* Feeds the counted pattern matching subjects and patterns: nothing may be read out of bounds, and the budget must end
 * every match.  The input is the pattern, a newline, and the subject. */
#include "lua/budget.h"
#include "lua/pattern.h"

#include <lauxlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t still_clock(void)
{
    return 1;
}

static const lua_CFunction functions[] = {hf_lua_string_find, hf_lua_string_match, hf_lua_string_gsub};

static int match_all(lua_State *L)
{
    lua_pushcfunction(L, hf_lua_string_gmatch);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    do {
        lua_settop(L, 3);
        lua_pushvalue(L, 3);
        lua_call(L, 0, 1);
    } while (!lua_isnil(L, -1));
    return 0;
}

static void try_one(lua_State *L, lua_CFunction function, const char *pattern, size_t pattern_size, const char *subject,
                    size_t subject_size)
{
    hf_lua_budget outer;

    hf_lua_budget_begin(L, 20000, 1000, &outer);
    lua_pushcfunction(L, function);
    lua_pushlstring(L, subject, subject_size);
    lua_pushlstring(L, pattern, pattern_size);
    lua_pushliteral(L, "<%0>");
    (void)lua_pcall(L, function == hf_lua_string_gsub ? 3 : 2, LUA_MULTRET, 0); /* errors are expected */
    (void)hf_lua_budget_end(L, &outer);
    lua_settop(L, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_lua_budget budget = {.clock_us = still_clock, .memory_maximum = 1 << 20};
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    lua_State *L = end ? lua_newstate(hf_lua_allocate, &budget) : NULL;

    if (!L)
        return 0;
    *(hf_lua_budget **)lua_getextraspace(L) = &budget;

    const char *pattern = (const char *)data, *subject = (const char *)end + 1;
    size_t pattern_size = (size_t)(end - data), subject_size = size - pattern_size - 1;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        try_one(L, functions[i], pattern, pattern_size, subject, subject_size);
    try_one(L, match_all, pattern, pattern_size, subject, subject_size);
    lua_close(L);
    return 0;
}
