/* Instructions and time are checked in Lua's count hook, and by C functions that may take long; memory by the
 * allocator; see budget.h.
 *
 * Once over, always over: until the budget ends every instruction raises the error again, so that neither a handler
 * nor the closing of variables can go on working. */
#include "lua/budget.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

enum { HOOK_INTERVAL = 200 }; /* instructions between two looks at the budget: about 2 us */

hf_lua_budget *hf_lua_budget_of(lua_State *L)
{
    return *(hf_lua_budget **)lua_getextraspace(L);
}

/* ---- Memory --------------------------------------------------------------------------------------------------- */

/* Lua answers a refusal with a full collection and asks again.  Near the limit that could happen at every allocation,
 * each time for little gain, so after the deadline nothing more is given. */
static void *refuse(hf_lua_budget *budget)
{
    if (budget->deadline_us && budget->clock_us() > budget->deadline_us)
        budget->starved = 1;
    return NULL;
}

void *hf_lua_allocate(void *arg, void *block, size_t old_size, size_t size)
{
    hf_lua_budget *budget = arg;

    if (!block)
        old_size = 0; /* it is a type then */
    if (size == 0) {
        free(block);
        budget->memory_used -= old_size;
        return NULL;
    }
    if (size > old_size && (budget->starved || size - old_size > budget->memory_maximum ||
                            budget->memory_used > budget->memory_maximum - (size - old_size)))
        return refuse(budget);

    void *moved = realloc(block, size);
    if (!moved)
        return size <= old_size ? block : NULL; /* Lua relies on it that shrinking cannot fail */
    budget->memory_used = budget->memory_used - old_size + size;
    return moved;
}

/* ---- Instructions and time ------------------------------------------------------------------------------------ */

void hf_lua_budget_describe(const hf_lua_budget *budget, int32_t over, char *text, size_t size)
{
    if (over == HF_LUA_OVER_INSTRUCTIONS)
        snprintf(text, size, "it ran for more than its %" PRIu64 " instructions", budget->instructions);
    else if (over == HF_LUA_OVER_TIME)
        snprintf(text, size, "it took longer than its %" PRIu64 " ms", budget->time_us / 1000);
    else
        snprintf(text, size, "it needed more than its %" PRIu64 " bytes of memory", budget->memory_maximum);
}

static void look(hf_lua_budget *budget, uint64_t instructions)
{
    if (budget->over)
        return;
    if (instructions > budget->instructions_left)
        budget->over = HF_LUA_OVER_INSTRUCTIONS;
    else if (budget->clock_us() > budget->deadline_us)
        budget->over = HF_LUA_OVER_TIME;
    else
        budget->instructions_left -= instructions;
}

static void on_count(lua_State *L, lua_Debug *activation)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);
    char text[96];

    look(budget, HOOK_INTERVAL);
    if (!budget->over)
        return;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    hf_lua_budget_describe(budget, budget->over, text, sizeof text);
    lua_getinfo(L, "Sl", activation);
    lua_pushfstring(L, "%s:%d: %s", activation->short_src, activation->currentline, text);
    lua_error(L);
}

static void raise_over(lua_State *L)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);
    char text[96];

    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    hf_lua_budget_describe(budget, budget->over, text, sizeof text);
    luaL_error(L, "%s", text);
}

void hf_lua_charge(lua_State *L, uint64_t instructions)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);

    look(budget, instructions);
    if (budget->over)
        raise_over(L);
}

void hf_lua_charge_little(lua_State *L, uint32_t instructions)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);

    budget->little += instructions;
    if (budget->little < HOOK_INTERVAL)
        return;
    instructions = budget->little;
    budget->little = 0;
    hf_lua_charge(L, instructions);
}

void hf_lua_budget_check(lua_State *L, int status)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);

    if (status == LUA_ERRMEM && !budget->over)
        budget->over = HF_LUA_OVER_MEMORY;
    if (budget->over)
        raise_over(L);
}

void hf_lua_budget_begin(lua_State *L, uint64_t instructions, uint64_t time_us, hf_lua_budget *ret_outer)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);
    uint64_t deadline_us = budget->clock_us() + time_us;

    *ret_outer = *budget;
    if (budget->deadline_us && budget->deadline_us < deadline_us)
        deadline_us = budget->deadline_us;
    budget->instructions = budget->instructions_left = instructions;
    budget->time_us = time_us;
    budget->deadline_us = deadline_us;
    budget->starved = budget->over = 0;
    budget->little = 0;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INTERVAL);
}

int32_t hf_lua_budget_end(lua_State *L, const hf_lua_budget *outer)
{
    hf_lua_budget *budget = hf_lua_budget_of(L);
    int32_t over = budget->over;
    uint64_t memory_used = budget->memory_used;

    *budget = *outer;
    budget->memory_used = memory_used;
    if (budget->deadline_us)
        lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INTERVAL);
    else
        lua_sethook(L, NULL, 0, 0);
    return over;
}
