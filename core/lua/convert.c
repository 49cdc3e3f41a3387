/* Values to Lua and back; see convert.h.
 *
 * Reading uses only calls of Lua's interface that raise no errors: raw access, no metamethods, no conversion of
 * numbers to text.  So a caller may hold memory across it. */
#include "lua/convert.h"

#include "lua/budget.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/utf8.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 160 };

/* Which way a value lies below the one that holds it. */
struct step {
    const char *name; /* of a map's member, or NULL */
    uint64_t index;   /* in a list, counted from 1 */
};

struct reader {
    lua_State *L;
    hf_arena *arena;
    hf_error *error;
    const void *open[HF_LUA_DEPTH_MAX]; /* tables that contain the present one */
    uint32_t depth;
    uint32_t count;
    uint32_t empty_maps; /* down to this level an empty table is a map */
    const char *root;    /* "result" */
    uint32_t step_count; /* stays where it is when something is refused there */
    struct step steps[HF_LUA_DEPTH_MAX];
};

static int32_t read_any(struct reader *reader, int index, hf_value *ret_value);

/* "result.arguments.keep": only when something is wrong, because writing it takes longer than reading a value. */
static const char *path_of(const struct reader *reader, char *path)
{
    size_t used = (size_t)snprintf(path, PATH_SIZE, "%s", reader->root);

    for (uint32_t i = 0; i < reader->step_count && used < PATH_SIZE; i++) {
        const struct step *step = &reader->steps[i];
        if (step->name)
            used += (size_t)snprintf(path + used, PATH_SIZE - used, ".%s", step->name);
        else
            used += (size_t)snprintf(path + used, PATH_SIZE - used, "[%" PRIu64 "]", step->index);
    }
    return path;
}

static int32_t refuse(const struct reader *reader, int32_t code, const char *what)
{
    char path[PATH_SIZE];

    return hf_error_set(reader->error, code, "%s: %s", path_of(reader, path), what);
}

static int32_t no_memory(const struct reader *reader)
{
    return refuse(reader, HF_ENOMEM, "no memory for its value");
}

/* ---- From Lua ------------------------------------------------------------------------------------------------- */

static int32_t read_text(const struct reader *reader, int index, hf_slice *ret_text)
{
    size_t size;
    const char *text = lua_tolstring(reader->L, index, &size); /* a string already: nothing is converted */
    hf_slice slice = {(const uint8_t *)text, size};

    if (!hf_utf8_valid(slice, NULL))
        return refuse(reader, HF_EINVAL, "it holds text that is not UTF-8");
    return hf_arena_copy(reader->arena, slice, ret_text) ? no_memory(reader) : 0;
}

static int32_t read_string(const struct reader *reader, int index, hf_value *ret_value)
{
    hf_slice text = {0};
    int32_t result = read_text(reader, index, &text);

    if (!result)
        *ret_value = hf_value_string(text);
    return result;
}

static int32_t read_number(const struct reader *reader, int index, hf_value *ret_value)
{
    if (lua_isinteger(reader->L, index)) {
        *ret_value = hf_value_integer(lua_tointeger(reader->L, index));
        return 0;
    }
    double number = lua_tonumber(reader->L, index);
    if (!isfinite(number))
        return refuse(reader, HF_EINVAL, "a number that is not finite cannot be passed on");
    *ret_value = hf_value_float(number);
    return 0;
}

static int32_t count_keys(struct reader *reader, int index, uint64_t *ret_texts, uint64_t *ret_integers)
{
    lua_State *L = reader->L;

    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            ++*ret_texts;
        } else if (lua_isinteger(L, -2)) {
            ++*ret_integers;
        } else {
            lua_pop(L, 2);
            return refuse(reader, HF_EINVAL, "a table's keys are strings, or 1 to n");
        }
    }
    if (*ret_texts && *ret_integers)
        return refuse(reader, HF_EINVAL, "a table with both names and numbers as keys is neither a map nor a list");
    return 0;
}

static int32_t read_list(struct reader *reader, int index, uint64_t count, hf_value *ret_value)
{
    lua_State *L = reader->L;
    hf_value *items = hf_arena_alloc(reader->arena, count * sizeof *items);

    if (!items)
        return no_memory(reader);
    struct step *step = &reader->steps[reader->step_count++]; /* there is one for each level that was entered */
    for (uint64_t i = 0; i < count; i++) {
        *step = (struct step){NULL, i + 1};
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TNIL) {
            lua_pop(L, 1);
            return refuse(reader, HF_EINVAL, "it is missing: a list's keys are 1 to n without a gap");
        }
        int32_t result = read_any(reader, lua_gettop(L), &items[i]);
        lua_pop(L, 1);
        if (result)
            return result;
    }
    reader->step_count--;
    *ret_value = hf_value_list(items, count);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    hf_slice left = ((const hf_value_member *)a)->name, right = ((const hf_value_member *)b)->name;
    int order = memcmp(left.data, right.data, left.size < right.size ? left.size : right.size);

    return order ? order : (left.size > right.size) - (left.size < right.size);
}

static int32_t read_map(struct reader *reader, int index, uint64_t count, hf_value *ret_value)
{
    lua_State *L = reader->L;
    hf_value_member *members = hf_arena_alloc(reader->arena, count * sizeof *members);
    uint64_t i = 0;

    if (!members)
        return no_memory(reader);
    struct step *step = &reader->steps[reader->step_count++];
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1), i++) {
        *step = (struct step){"?", 0};
        int32_t result = read_text(reader, lua_gettop(L) - 1, &members[i].name);
        if (!result) {
            *step = (struct step){(const char *)members[i].name.data, 0};
            result = read_any(reader, lua_gettop(L), &members[i].value);
        }
        if (result) {
            lua_pop(L, 2);
            return result;
        }
    }
    reader->step_count--;
    qsort(members, count, sizeof *members, by_name);
    *ret_value = hf_value_map(members, count);
    return 0;
}

static int32_t enter(struct reader *reader, int index)
{
    const void *table = lua_topointer(reader->L, index);

    if (reader->depth == HF_LUA_DEPTH_MAX)
        return refuse(reader, HF_EINVAL, "it has more than 32 levels");
    for (uint32_t i = 0; i < reader->depth; i++)
        if (reader->open[i] == table)
            return refuse(reader, HF_EINVAL, "the table contains itself");
    if (!lua_checkstack(reader->L, 4))
        return no_memory(reader);
    reader->open[reader->depth++] = table;
    return 0;
}

static int32_t read_table(struct reader *reader, int index, hf_value *ret_value)
{
    uint64_t texts = 0, integers = 0;
    int32_t result = enter(reader, index);

    if (result)
        return result;
    result = count_keys(reader, index, &texts, &integers);
    if (!result && texts + integers > HF_LUA_VALUES_MAX)
        result = refuse(reader, HF_ETOOLARGE, "it has more than 100,000 values");
    if (!result)
        result = texts || (!integers && reader->depth <= reader->empty_maps)
                     ? read_map(reader, index, texts, ret_value)
                     : read_list(reader, index, integers, ret_value);
    reader->depth--;
    return result;
}

static int32_t read_any(struct reader *reader, int index, hf_value *ret_value)
{
    char path[PATH_SIZE];

    /* Tables may be shared, so that few of them can stand for more values than there is memory. */
    if (++reader->count > HF_LUA_VALUES_MAX)
        return refuse(reader, HF_ETOOLARGE, "it has more than 100,000 values");
    switch (lua_type(reader->L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        *ret_value = hf_value_null();
        return 0;
    case LUA_TBOOLEAN:
        *ret_value = hf_value_boolean(lua_toboolean(reader->L, index));
        return 0;
    case LUA_TNUMBER:
        return read_number(reader, index, ret_value);
    case LUA_TSTRING:
        return read_string(reader, index, ret_value);
    case LUA_TTABLE:
        return read_table(reader, index, ret_value);
    case LUA_TLIGHTUSERDATA:
        return refuse(reader, HF_EINVAL, "an object cannot be passed on, only members that were read from it");
    default:
        return hf_error_set(reader->error, HF_EINVAL, "%s: a %s cannot be passed on", path_of(reader, path),
                            lua_typename(reader->L, lua_type(reader->L, index)));
    }
}

/* Numbers take the expected form where nothing is lost. */
static void adapt_number(int32_t expected, hf_value *value)
{
    if (expected == HF_VALUE_FLOAT && value->type == HF_VALUE_INTEGER)
        *value = hf_value_float((double)value->as.integer);
    else if (expected == HF_VALUE_INTEGER && value->type == HF_VALUE_FLOAT && value->as.number >= -0x1p63 &&
             value->as.number < 0x1p63 && value->as.number == floor(value->as.number))
        *value = hf_value_integer((int64_t)value->as.number);
}

/* A map may always be missing, and what is empty is one where one is expected.  Maps stand in for objects. */
static int fits(int32_t expected, const hf_value *value)
{
    if (expected == HF_LUA_ANY || value->type == expected)
        return 1;
    if (expected != HF_VALUE_MAP && expected != HF_LUA_OBJECT)
        return 0;
    return value->type == HF_VALUE_NULL || value->type == HF_VALUE_MAP;
}

int32_t hf_lua_read_value(lua_State *L, int index, const hf_lua_parameter *expected, hf_arena *arena,
                          hf_value *ret_value, hf_error *error)
{
    struct reader reader; /* most of it is written before it is read, and it is large */
    hf_value value = hf_value_null();

    reader.L = L;
    reader.arena = arena;
    reader.error = error;
    reader.depth = reader.count = reader.empty_maps = reader.step_count = 0;
    reader.root = expected->name ? expected->name : "result";

    if (expected->type == HF_VALUE_MAP)
        reader.empty_maps = HF_LUA_DEPTH_MAX;
    else if (expected->type == HF_LUA_OBJECT)
        reader.empty_maps = 1; /* further down a list that is empty is more useful than an object that has nothing */
    if (!lua_checkstack(L, 4))
        return no_memory(&reader);
    int32_t result = read_any(&reader, lua_absindex(L, index), &value);
    if (result)
        return result;
    adapt_number(expected->type, &value);
    if (!fits(expected->type, &value))
        return hf_error_set(error, HF_EINVAL, "%s is %s, expected %s", reader.root, hf_value_type_name(value.type),
                            hf_value_type_name(expected->type));
    *ret_value = value;
    return 0;
}

/* ---- To Lua --------------------------------------------------------------------------------------------------- */

static void push_at(lua_State *L, const hf_value *value, uint32_t depth);

static int room(uint64_t count)
{
    return count > HF_LUA_VALUES_MAX ? HF_LUA_VALUES_MAX : (int)count; /* a hint only: the table grows by itself */
}

static void push_list(lua_State *L, const hf_value *value, uint32_t depth)
{
    lua_createtable(L, room(value->count), 0);
    for (uint64_t i = 0; i < value->count; i++) {
        push_at(L, &value->as.items[i], depth);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_map(lua_State *L, const hf_value *value, uint32_t depth)
{
    lua_createtable(L, 0, room(value->count));
    for (uint64_t i = 0; i < value->count; i++) {
        const hf_value_member *member = &value->as.members[i];

        lua_pushlstring(L, (const char *)member->name.data, member->name.size);
        push_at(L, &member->value, depth);
        lua_rawset(L, -3);
    }
}

static void push_at(lua_State *L, const hf_value *value, uint32_t depth)
{
    luaL_checkstack(L, 4, "a value is too deep");
    switch (value->type) {
    case HF_VALUE_BOOLEAN:
        lua_pushboolean(L, value->boolean);
        break;
    case HF_VALUE_INTEGER:
        lua_pushinteger(L, value->as.integer);
        break;
    case HF_VALUE_FLOAT:
        lua_pushnumber(L, value->as.number);
        break;
    case HF_VALUE_STRING:
        lua_pushlstring(L, (const char *)value->as.text, value->count);
        break;
    case HF_VALUE_LIST:
    case HF_VALUE_MAP:
        if (depth == HF_LUA_DEPTH_MAX)
            luaL_error(L, "a value has more than 32 levels");
        (value->type == HF_VALUE_LIST ? push_list : push_map)(L, value, depth + 1);
        break;
    case HF_VALUE_OBJECT:
        luaL_error(L, "an object cannot be passed on within another value or by a function");
        break;
    default:
        lua_pushnil(L);
    }
}

void hf_lua_push_value(lua_State *L, const hf_value *value)
{
    push_at(L, value, 0);
}

static int push_in_call(lua_State *L)
{
    hf_lua_push_value(L, lua_touserdata(L, 1));
    return 1;
}

int32_t hf_lua_push_value_protected(lua_State *L, const hf_value *value, hf_error *error)
{
    if (!lua_checkstack(L, 4))
        return hf_error_set(error, HF_ENOMEM, "the value does not fit into the policy's memory");
    lua_pushcfunction(L, push_in_call);
    lua_pushlightuserdata(L, (void *)(uintptr_t)value);

    int status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_OK)
        return 0;
    if (status == LUA_ERRRUN)
        hf_error_set(error, HF_EINVAL, "%s", lua_tostring(L, -1)); /* a text, which push_at made */
    lua_pop(L, 1);
    if (status == LUA_ERRRUN)
        return HF_EINVAL;
    hf_lua_budget_of(L)->over = HF_LUA_OVER_MEMORY;
    return hf_error_set(error, HF_ENOMEM, "the value does not fit into the policy's memory");
}
