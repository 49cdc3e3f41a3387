/* lua/library.h: the table `holdfast` that policies use: log, now, and what plugins offer. */
#ifndef HOLDFAST_CORE_LUA_LIBRARY_H
#define HOLDFAST_CORE_LUA_LIBRARY_H

#include <lua.h>

/* Pushes the table.  May raise Lua errors. */
void hf_lua_library_push(lua_State *L);

/* Forgets what a test offered in place of functions, and the lines it has logged.  Allocates nothing when none was. */
void hf_lua_library_forget(lua_State *L);

/* offer(name, function), which tests get: from then on holdfast.NAME calls the function. */
int hf_lua_library_offer(lua_State *L);

#endif
