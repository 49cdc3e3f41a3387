/* Objects made of tables, so that a policy meets in its tests what it will meet in the process: members that it can
 * read by name and nothing else. */
#include "lua/stand_in.h"

#include <holdfast/lib/error.h>
#include <stdio.h>
#include <string.h>

struct stand_in {
    hf_lua_object object; /* first; `arg` is not used */
    const hf_value_member *members;
    uint64_t count;
};

static int32_t stand_in_get(const hf_lua_object *object, hf_slice name, hf_arena *arena, hf_value *ret_value,
                            hf_error *error)
{
    const struct stand_in *own = (const struct stand_in *)(const void *)object;

    (void)arena, (void)error;
    for (uint64_t i = 0; i < own->count; i++)
        if (hf_slice_equal(own->members[i].name, name))
            *ret_value = own->members[i].value;
    return 0;
}

/* "request" and "headers": "request.headers". */
static const char *join(const char *name, hf_slice member, hf_arena *arena)
{
    uint64_t size = strlen(name) + 1 + member.size + 1;
    char *text = hf_arena_alloc(arena, size);

    if (text)
        snprintf(text, size, "%s.%.*s", name, (int)member.size, (const char *)member.data);
    return text;
}

/* The depth is bounded: that of a value that came from Lua is. */
static int32_t make(const char *name, hf_arena *arena, hf_value *value)
{
    struct stand_in *own = hf_arena_alloc(arena, sizeof *own);
    hf_value_member *members = hf_arena_alloc(arena, value->count * sizeof *members);

    if (!own || !members)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < value->count; i++) {
        members[i] = value->as.members[i];
        if (members[i].value.type != HF_VALUE_MAP)
            continue;
        const char *path = join(name, members[i].name, arena);
        if (!path || make(path, arena, &members[i].value))
            return HF_ENOMEM;
    }
    *own = (struct stand_in){{sizeof own->object, 0, name, stand_in_get, NULL}, members, value->count};
    *value = hf_value_object(&own->object);
    return 0;
}

int32_t hf_lua_stand_in(const char *name, hf_arena *arena, hf_value *value, hf_error *error)
{
    return make(name, arena, value) ? hf_error_set(error, HF_ENOMEM, "%s: no memory for its value", name) : 0;
}
