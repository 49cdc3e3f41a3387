#include "lua/pattern.h"

#include "lua/budget.h"

#include <lauxlib.h>
#include <string.h>

enum { STEPS_PER_INSTRUCTION = 8, CALL_COST = 100 };

/* Steps that matching can take at most: from each of the text's places every open repetition and %b can stop at each
 * place behind it, and an optional item can be there or not. */
static double worst_case(const char *pattern, size_t pattern_size, size_t text_size)
{
    double places = (double)text_size + 1, cost = places * ((double)pattern_size + 1);

    for (size_t i = 0; i < pattern_size; i++) {
        if (pattern[i] == '%' && i + 1 < pattern_size) {
            if (pattern[++i] == 'b')
                cost *= places;
        } else if (strchr("*+-", pattern[i]) && pattern[i]) {
            cost *= places;
        } else if (pattern[i] == '?') {
            cost *= 2;
        }
    }
    return cost;
}

static int call_charged(lua_State *L, int plain)
{
    size_t text_size, pattern_size;
    const char *pattern;
    double cost;

    luaL_checklstring(L, 1, &text_size);
    pattern = luaL_checklstring(L, 2, &pattern_size);
    if (text_size > HF_LUA_SUBJECT_MAX)
        return luaL_error(L, "the text has %d bytes, at most %d are allowed", (int)text_size, HF_LUA_SUBJECT_MAX);
    cost = plain ? (double)text_size : worst_case(pattern, pattern_size, text_size);
    cost = CALL_COST + cost / STEPS_PER_INSTRUCTION;
    hf_lua_charge(L, cost < 1e15 ? (uint64_t)cost : (uint64_t)1e15);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

int hf_lua_guard_find(lua_State *L)
{
    return call_charged(L, lua_toboolean(L, 4));
}

int hf_lua_guard_match(lua_State *L)
{
    return call_charged(L, 0);
}
