/* lua/budget.h: what a policy may use: instructions, time and memory.  A policy cannot catch an overrun.
 *
 * A state's extra space points to its budget.  One thread at a time. */
#ifndef HOLDFAST_CORE_LUA_BUDGET_H
#define HOLDFAST_CORE_LUA_BUDGET_H

#include <lua.h>
#include <stdint.h>

enum { HF_LUA_WITHIN = 0, HF_LUA_OVER_INSTRUCTIONS = 1, HF_LUA_OVER_TIME = 2, HF_LUA_OVER_MEMORY = 3 };

typedef struct hf_lua_budget {
    uint64_t (*clock_us)(void);
    uint64_t memory_used, memory_maximum; /* bytes of the whole state */
    uint64_t instructions, instructions_left;
    uint32_t little; /* charged, but not yet taken from instructions_left */
    uint64_t time_us, deadline_us;
    int32_t starved; /* memory is refused until the end: collecting garbage again and again took all the time */
    int32_t over;    /* HF_LUA_... */
} hf_lua_budget;

hf_lua_budget *hf_lua_budget_of(lua_State *L);

/* The lua_Alloc of a state whose user data is its budget. */
void *hf_lua_allocate(void *budget, void *block, size_t old_size, size_t size);

/* Begins a piece of work within the budget of one that is under way, if any, which is kept in *ret_outer. */
void hf_lua_budget_begin(lua_State *L, uint64_t instructions, uint64_t time_us, hf_lua_budget *ret_outer);

/* Goes back to *outer; returns how the work ended: HF_LUA_... */
int32_t hf_lua_budget_end(lua_State *L, const hf_lua_budget *outer);

/* Counts what a C function does as so many instructions; raises a Lua error when that, or the time, is too much. */
void hf_lua_charge(lua_State *L, uint64_t instructions);

/* The same for something short that may come often: only when it adds up are the budget and the clock looked at. */
void hf_lua_charge_little(lua_State *L, uint32_t instructions);

/* After a protected call: raises the error again when it was an overrun. */
void hf_lua_budget_check(lua_State *L, int status);

/* One line about HF_LUA_OVER_...; `text` gets it. */
void hf_lua_budget_describe(const hf_lua_budget *budget, int32_t over, char *text, size_t size);

#endif
