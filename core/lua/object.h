/* lua/object.h: arguments whose members are fetched when a policy reads them; see hf_lua_object.
 *
 * A policy holds a light userdata: the number of the decision and a place among the objects of that decision.  It is
 * no address, allocates nothing, and means nothing in any other decision. */
#ifndef HOLDFAST_CORE_LUA_OBJECT_H
#define HOLDFAST_CORE_LUA_OBJECT_H

#include <holdfast/host/lua.h>
#include <lua.h>

enum { HF_LUA_OBJECTS_MAX = 256 };

/* The objects of the decision that is under way; one for each state. */
typedef struct hf_lua_objects {
    uint64_t decision; /* counts decisions, and their ends: no handle outlives its own */
    hf_arena *arena;   /* of this decision; borrowed */
    uint32_t count;
    const hf_lua_object *items[HF_LUA_OBJECTS_MAX]; /* borrowed until the decision ends */
} hf_lua_objects;

/* Gives handles their behaviour.  May raise for want of memory. */
void hf_lua_objects_set_up(lua_State *L);

/* What was handed out before is no longer valid; objects may be used until the end.  `arena` gets what they make. */
void hf_lua_objects_begin(lua_State *L, hf_arena *arena);
void hf_lua_objects_end(lua_State *L);

/* Pushes an argument or a member: an object, or what hf_lua_push_value pushes.  Raises as that does, and when there
 * are too many objects. */
void hf_lua_object_push(lua_State *L, const hf_value *value);

#endif
