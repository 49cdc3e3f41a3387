/* lua/lua_host.h: the Lua host of a process: decision points that plugins declare, policies that sites write for them,
 * one Lua state per loop; see <holdfast/host/lua.h> for the words, and README.md for what a policy may do. */
#ifndef HOLDFAST_CORE_LUA_LUA_HOST_H
#define HOLDFAST_CORE_LUA_LUA_HOST_H

#include "config/problems.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "telemetry/metrics.h"

#include <holdfast/host/lua.h>
#include <stdio.h>

enum { HF_LUA_FAILURES_MAX = 8, HF_LUA_OFF_US = 30000000, HF_LUA_LOOPS_MAX = 256 };

typedef struct hf_lua_host hf_lua_host;

typedef struct hf_lua_settings {
    hf_loop *const *loops; /* each gets a state; the first one is the main loop.  The array is copied */
    uint32_t loop_count;   /* 1 to 256 */
    hf_pool *pool;         /* where a reload is prepared; NULL: on the main loop */
    hf_metrics *metrics;
    hf_strings policies;        /* folders, or single files; copied */
    uint64_t (*clock_us)(void); /* NULL: hf_clock_us */
} hf_lua_settings;

/* HF_EINVAL, HF_ENOMEM.  [main] */
int32_t hf_lua_host_create(const hf_lua_settings *settings, hf_lua_host **ret_host, hf_error *error);

/* Frees the host.  The pool and the loops, the main loop last, have been destroyed before: they may have held a
 * reload's tasks.  Accepts
 * NULL. */
void hf_lua_host_destroy(hf_lua_host *host);

/* As hf_lua_interface.  What point and function refer to is static; they themselves are copied. */
int32_t hf_lua_declare(hf_lua_host *host, const hf_decision_point *point, hf_decision **ret_decision, hf_error *error);
int32_t hf_lua_offer(hf_lua_host *host, const hf_lua_function *function, hf_error *error);
int32_t hf_lua_decide(hf_decision *decision, const hf_value *arguments, hf_arena *arena, hf_value *ret_result,
                      hf_error *error);
int32_t hf_lua_has_policy(const hf_decision *decision);

/* Reads all policies, runs their tests, and installs them.  HF_EINVAL: something is refused; each problem has a line,
 * and no policy is installed.  HF_ENOMEM.  [main], once, after everything was declared and before the loops run */
int32_t hf_lua_load(hf_lua_host *host, hf_config_problems *problems);

/* Told on the main loop how a reload ended: 0, and every loop uses the new policies; or HF_EINVAL, HF_ENOMEM, and the
 * old ones stay.  `problems` is valid during the call. */
typedef void (*hf_lua_reloaded)(void *arg, int32_t result, const hf_config_problems *problems);

/* Reads the policies again, from other folders when `policies` is not NULL, which also the next reload uses if this
 * one succeeds.  HF_EBUSY: a reload is under way already, or the pool's queue is full; HF_ENOMEM: `done` is then not
 * called.  When the loops end before the reload does, `done` is not called either.  [main loop] */
int32_t hf_lua_reload(hf_lua_host *host, const hf_strings *policies, hf_lua_reloaded done, void *arg, hf_error *error);

typedef struct hf_lua_point_info {
    const hf_decision_point *point;
    const char *policy;   /* path of the file; NULL: none.  Until the next reload */
    int32_t switched_off; /* after failures; for up to 30 s */
} hf_lua_point_info;

/* For people who ask: index counts from 0; returns 0 after the last point.  [main loop] */
int32_t hf_lua_describe_point(const hf_lua_host *host, uint32_t index, hf_lua_point_info *ret_info);

/* What `holdfast policy test` runs: loads one file and runs its tests, with a line for each to `out` and one that sums
 * up.  `points` are what plugins declare; functions that plugins offer must be stood in for by the tests.  HF_EINVAL:
 * the file is refused; `error` has the first reason, and `out` all.  A test that fails is no error.  HF_ENOMEM. */
int32_t hf_lua_test_file(const char *path, const hf_decision_point *const *points, uint32_t point_count, FILE *out,
                         uint32_t *ret_passed, uint32_t *ret_failed, hf_error *error);

#endif
