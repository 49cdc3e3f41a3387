/* The host's own parts, shared by lua_host.c and reload.c. */
#ifndef HOLDFAST_CORE_LUA_HOST_INTERNAL_H
#define HOLDFAST_CORE_LUA_HOST_INTERNAL_H

#include "lua/lua_host.h"
#include "lua/state.h"

enum { OUTCOME_OK, OUTCOME_ERROR, OUTCOME_BUDGET, OUTCOME_MISSING, OUTCOME_OFF, OUTCOME_COUNT };

struct hf_decision {
    hf_lua_host *host;
    hf_decision_point point;
    uint32_t index; /* in the catalog */
    _Atomic int32_t has_policy;
    _Atomic uint32_t failures; /* in a row, on any loop */
    _Atomic uint64_t off_until_us;
    _Atomic uint64_t quiet_until_us; /* no log line about a failure before */
    hf_metric *outcomes[OUTCOME_COUNT];
    hf_metric *off; /* gauge: 1 while switched off */
};

/* A loop's state: touched on that loop only, or by anybody while it does not run. */
struct hf_lua_seat {
    hf_loop *loop;
    hf_lua_state *state;
};

struct hf_lua_host {
    hf_lua_catalog catalog;
    hf_decision *decisions[HF_LUA_POINTS_MAX]; /* owned */
    struct hf_lua_seat seats[HF_LUA_LOOPS_MAX];
    uint32_t seat_count;
    hf_pool *pool;
    hf_metrics *metrics;
    uint64_t (*clock_us)(void);
    char **paths; /* of policies; main loop */
    uint64_t path_count;
    hf_lua_bundle *bundle;                 /* installed; main loop */
    char *policy_paths[HF_LUA_POINTS_MAX]; /* borrowed from the bundle; main loop */
    int32_t loaded, reloading;
};

int32_t hf_lua_copy_paths(const hf_strings *paths, char ***ret_paths);
void hf_lua_free_paths(char **paths, uint64_t count);

#endif
