/* lua/pattern.h: find, match, gmatch and gsub of Lua's string library, whose work is counted.
 *
 * A pattern with several repetitions can need time exponential in its length on a short text, and Lua's count hook
 * does not run inside a C function.  Here every eight steps of the matcher count as one instruction. */
#ifndef HOLDFAST_CORE_LUA_PATTERN_H
#define HOLDFAST_CORE_LUA_PATTERN_H

#include <lua.h>

enum { HF_LUA_SUBJECT_MAX = 65536 }; /* bytes of the text that a pattern is matched against */

int hf_lua_string_find(lua_State *L);
int hf_lua_string_match(lua_State *L);
int hf_lua_string_gmatch(lua_State *L);
int hf_lua_string_gsub(lua_State *L);

#endif
