/* lua/sandbox.h: what a policy finds in its globals, and how far it can go with it; the list is in README.md. */
#ifndef HOLDFAST_CORE_LUA_SANDBOX_H
#define HOLDFAST_CORE_LUA_SANDBOX_H

#include <lua.h>

/* Pushes the table of globals that all policies of a state share and none can change or get hold of.  `library` is at
 * the top of the stack and becomes the global `holdfast`; it is popped.  May raise Lua errors. */
void hf_lua_sandbox_push(lua_State *L);

/* Pushes a fresh environment for one policy file: what it writes stays there, what it reads comes from the globals at
 * `index`.  May raise Lua errors. */
void hf_lua_sandbox_push_environment(lua_State *L, int index);

#endif
