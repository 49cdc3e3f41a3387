/* lua/catalog.h: what plugins have declared: decision points, and functions that policies may call.  It does not change
 * once loops run, and is then read by any thread. */
#ifndef HOLDFAST_CORE_LUA_CATALOG_H
#define HOLDFAST_CORE_LUA_CATALOG_H

#include <holdfast/host/lua.h>

enum { HF_LUA_PARAMETERS_MAX = 8, HF_LUA_POINTS_MAX = 256, HF_LUA_FUNCTIONS_MAX = 256, HF_LUA_MEMBERS_MAX = 256 };
enum { HF_LUA_INSTRUCTIONS_DEFAULT = 100000, HF_LUA_MEMORY_DEFAULT = 8 << 20 };

typedef struct hf_lua_catalog {
    const hf_decision_point *points[HF_LUA_POINTS_MAX]; /* borrowed, of full size, limits filled in */
    uint32_t point_count;
    const hf_lua_function *functions[HF_LUA_FUNCTIONS_MAX]; /* likewise */
    uint32_t function_count;
    int32_t open; /* functions that are not in the catalog may be stood in for by tests: plugins are not loaded */
} hf_lua_catalog;

/* Checks a declaration against the rules of names and sizes, and fills the limits in.  HF_EINVAL, HF_EEXIST,
 * HF_ETOOLARGE. */
int32_t hf_lua_catalog_add_point(hf_lua_catalog *catalog, hf_decision_point *point, hf_error *error);
int32_t hf_lua_catalog_add_function(hf_lua_catalog *catalog, hf_lua_function *function, hf_error *error);

/* The index of a point or function, or -1. */
int32_t hf_lua_catalog_point(const hf_lua_catalog *catalog, const char *name);
int32_t hf_lua_catalog_function(const hf_lua_catalog *catalog, const char *name);

/* The largest memory limit of all points. */
uint64_t hf_lua_catalog_memory(const hf_lua_catalog *catalog);

#endif
