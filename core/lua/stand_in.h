/* lua/stand_in.h: tables that stand in for objects in the tests of policies. */
#ifndef HOLDFAST_CORE_LUA_STAND_IN_H
#define HOLDFAST_CORE_LUA_STAND_IN_H

#include <holdfast/host/lua.h>

/* Makes of *value, a map, an object called `name` that has its members; those that are maps become objects as well.
 * All lies in the arena.  HF_ENOMEM; *value is then as it was. */
int32_t hf_lua_stand_in(const char *name, hf_arena *arena, hf_value *value, hf_error *error);

#endif
