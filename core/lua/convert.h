/* lua/convert.h: values to Lua and back.
 *
 * A table with the keys 1 to n is a list, one with string keys a map, whose members are sorted by name so that the
 * same table always gives the same value; metatables are not looked at. */
#ifndef HOLDFAST_CORE_LUA_CONVERT_H
#define HOLDFAST_CORE_LUA_CONVERT_H

#include <holdfast/host/lua.h>
#include <lua.h>

enum { HF_LUA_DEPTH_MAX = 32, HF_LUA_VALUES_MAX = 100000 };

/* Reads what lies at `index` as `expected` wants it; everything is copied into the arena.  An integer becomes a float
 * where one is expected, a float without fraction an integer; an empty table is a map when a map is expected and a
 * list otherwise, at every level.  nil is taken for a map, as HF_VALUE_NULL: "nothing".
 * Where an object is expected, a map or nil stands in for it, and an empty table within is a list; objects themselves
 * are refused. HF_EINVAL: another type, a cycle, more than 32 levels, mixed keys, text that is not UTF-8, a number that
 * is not finite, a function; HF_ETOOLARGE: more than 100,000 values; HF_ENOMEM.  Raises no Lua error. */
int32_t hf_lua_read_value(lua_State *L, int index, const hf_lua_parameter *expected, hf_arena *arena,
                          hf_value *ret_value, hf_error *error);

/* Pushes a value.  Raises a Lua error when the memory does not suffice, or the value has more than 32 levels or holds
 * an object. */
void hf_lua_push_value(lua_State *L, const hf_value *value);

/* The same without raising: HF_ENOMEM or HF_EINVAL, and then nothing was pushed. */
int32_t hf_lua_push_value_protected(lua_State *L, const hf_value *value, hf_error *error);

#endif
