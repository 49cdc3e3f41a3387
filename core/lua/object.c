/* Objects; see object.h.
 *
 * All light userdata of a state have one metatable.  Policies get no others, and cannot make any. */
#include "lua/object.h"

#include "lua/convert.h"
#include "lua/state.h"

#include <lauxlib.h>

enum { GET_COST = 10, PLACE_BITS = 8 }; /* a member takes about as long as ten instructions */

_Static_assert(HF_LUA_OBJECTS_MAX == 1 << PLACE_BITS, "a handle has room for every place");
_Static_assert(sizeof(uintptr_t) == 8, "the number of a decision must not come again");

static hf_lua_objects *objects_of(lua_State *L)
{
    return &hf_lua_state_of(L)->objects;
}

/* ---- Handles -------------------------------------------------------------------------------------------------- */

static uint32_t place_of(lua_State *L, hf_lua_objects *objects, const hf_lua_object *object)
{
    for (uint32_t i = 0; i < objects->count; i++)
        if (objects->items[i] == object)
            return i;
    if (objects->count == HF_LUA_OBJECTS_MAX)
        luaL_error(L, "a decision can use %d objects, '%s' is one more", HF_LUA_OBJECTS_MAX, object->name);
    objects->items[objects->count] = object;
    return objects->count++;
}

void hf_lua_object_push(lua_State *L, const hf_value *value)
{
    if (value->type == HF_VALUE_STRING) { /* what most members are */
        lua_pushlstring(L, (const char *)value->as.text, value->count);
    } else if (value->type == HF_VALUE_OBJECT) {
        hf_lua_objects *objects = objects_of(L);
        uint32_t place = place_of(L, objects, value->as.object);
        lua_pushlightuserdata(L, (void *)(uintptr_t)(objects->decision << PLACE_BITS | place));
    } else {
        hf_lua_push_value(L, value);
    }
}

/* The object of the handle at `index`, or NULL when it is of another decision. */
static const hf_lua_object *find(lua_State *L, int index)
{
    const hf_lua_objects *objects = objects_of(L);
    uintptr_t handle = (uintptr_t)lua_touserdata(L, index);
    uint32_t place = handle & (HF_LUA_OBJECTS_MAX - 1);

    return handle >> PLACE_BITS == objects->decision && place < objects->count ? objects->items[place] : NULL;
}

static const hf_lua_object *check(lua_State *L)
{
    const hf_lua_object *object = find(L, 1);

    if (!object)
        luaL_error(L, "this object belongs to an earlier decision: keep the values that were read from it instead");
    return object;
}

/* ---- What handles do ------------------------------------------------------------------------------------------ */

static int object_index(lua_State *L)
{
    const hf_lua_object *object = check(L);
    hf_value value = hf_value_null();
    hf_error error;
    size_t size;

    hf_lua_charge_little(L, GET_COST);
    if (lua_type(L, 2) != LUA_TSTRING) { /* as a table in a test would answer */
        lua_pushnil(L);
        return 1;
    }
    const char *name = lua_tolstring(L, 2, &size);
    error.message[0] = '\0';
    if (object->get(object, (hf_slice){(const uint8_t *)name, size}, objects_of(L)->arena, &value, &error))
        return luaL_error(L, "%s.%s: %s", object->name, name, error.message);
    hf_lua_object_push(L, &value);
    return 1;
}

static int object_assign(lua_State *L)
{
    const hf_lua_object *object = check(L);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";

    return luaL_error(L, "%s.%s cannot be assigned: what a policy is asked about can only be read", object->name, name);
}

static int object_pairs(lua_State *L)
{
    return luaL_error(L, "the members of %s cannot be listed: read them by name", check(L)->name);
}

static int object_text(lua_State *L)
{
    const hf_lua_object *object = find(L, 1);

    lua_pushfstring(L, "object: %s", object ? object->name : "of an earlier decision");
    return 1;
}

/* ---- A decision's objects ------------------------------------------------------------------------------------- */

void hf_lua_objects_set_up(lua_State *L)
{
    static const luaL_Reg behaviour[] = {{"__index", object_index},
                                         {"__newindex", object_assign},
                                         {"__pairs", object_pairs},
                                         {"__tostring", object_text},
                                         {NULL, NULL}};

    lua_pushlightuserdata(L, NULL);
    lua_createtable(L, 0, 6);
    luaL_setfuncs(L, behaviour, 0);
    lua_pushliteral(L, "object");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

void hf_lua_objects_begin(lua_State *L, hf_arena *arena)
{
    hf_lua_objects *objects = objects_of(L);

    objects->decision++;
    objects->count = 0;
    objects->arena = arena;
}

void hf_lua_objects_end(lua_State *L)
{
    hf_lua_objects_begin(L, NULL);
}
