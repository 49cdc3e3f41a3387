/* lua/state.h: one Lua state with every policy loaded, for one thread at a time. */
#ifndef HOLDFAST_CORE_LUA_STATE_H
#define HOLDFAST_CORE_LUA_STATE_H

#include "lua/budget.h"
#include "lua/bundle.h"
#include "lua/catalog.h"
#include "lua/object.h"

enum { HF_LUA_TIME_MAX_US = 50000 };   /* of one decision */
enum { HF_LUA_TRACEBACK_SIZE = 2048 }; /* bytes kept of an error's text */
enum { HF_LUA_FOR_DECISIONS = 0, HF_LUA_FOR_TESTS = 1 };

typedef struct hf_lua_policy {
    const hf_lua_source *source;
    int32_t point; /* index in the catalog */
    int decide;    /* reference in the registry */
    int tests;     /* likewise, or LUA_NOREF */
} hf_lua_policy;

typedef struct hf_lua_state {
    hf_lua_budget budget; /* first: the state's extra space points here */
    lua_State *L;
    const hf_lua_catalog *catalog; /* borrowed */
    hf_lua_bundle *bundle;
    int32_t purpose;       /* HF_LUA_FOR_... */
    int32_t busy;          /* a decision is under way */
    int32_t out_of_memory; /* the state holds too much: make a new one */
    uint32_t lines;        /* logged in this decision */
    hf_lua_objects objects;
    int globals; /* reference */
    uint32_t policy_count;
    hf_lua_policy policies[HF_LUA_FILES_MAX];
    int32_t policy_of_point[HF_LUA_POINTS_MAX]; /* index, or -1 */
    char traceback[HF_LUA_TRACEBACK_SIZE];      /* of the last failure */
} hf_lua_state;

hf_lua_state *hf_lua_state_of(lua_State *L);

/* Makes a state and loads every file of the bundle.  HF_EINVAL: some files are refused; each has a line in `problems`.
 * HF_ENOMEM. */
int32_t hf_lua_state_create(const hf_lua_catalog *catalog, hf_lua_bundle *bundle, int32_t purpose,
                            uint64_t (*clock_us)(void), hf_lua_state **ret_state, hf_config_problems *problems);

void hf_lua_state_destroy(hf_lua_state *state); /* accepts NULL */

/* Asks the policy of a point.  HF_ENOTFOUND: there is none; HF_EPOLICY: it failed: `error` has the first line and
 * state->traceback all, and *ret_over what it overran; HF_ENOMEM: the arena is full. */
int32_t hf_lua_state_decide(hf_lua_state *state, uint32_t point, const hf_value *arguments, hf_arena *arena,
                            hf_value *ret_result, int32_t *ret_over, hf_error *error);

#endif
