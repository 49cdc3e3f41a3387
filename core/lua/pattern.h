/* lua/pattern.h: find, match, gmatch and gsub of Lua's string library, at a price.
 *
 * A pattern with several repetitions can need time exponential in its length on a short text, and Lua's count hook does
 * not run inside a C function.  So the most that a match could take is charged as instructions before it begins. */
#ifndef HOLDFAST_CORE_LUA_PATTERN_H
#define HOLDFAST_CORE_LUA_PATTERN_H

#include <lua.h>

enum { HF_LUA_SUBJECT_MAX = 65536 }; /* bytes of the text that a pattern is matched against */

/* Guards over the library's functions of these names, which are upvalue 1. */
int hf_lua_guard_find(lua_State *L);
int hf_lua_guard_match(lua_State *L);

#endif
