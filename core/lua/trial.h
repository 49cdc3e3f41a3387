/* lua/trial.h: runs the tests that policies bring with them. */
#ifndef HOLDFAST_CORE_LUA_TRIAL_H
#define HOLDFAST_CORE_LUA_TRIAL_H

#include "lua/state.h"

/* Called for each test; `failure` is NULL when it passed, else "file:line: message" and a traceback. */
typedef void (*hf_lua_trial_report)(void *arg, const hf_lua_policy *policy, const char *test, const char *failure);

/* Runs all tests of all policies in `state`, which was made for tests, in the order of files and names.  HF_ENOMEM. */
int32_t hf_lua_trial_run(hf_lua_state *state, hf_lua_trial_report report, void *arg);

#endif
