/* A tree of values; see lib/value.h. */
#include <holdfast/lib/value.h>

#include <string.h>

hf_slice hf_slice_of(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

int32_t hf_slice_equal(hf_slice a, hf_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int32_t hf_slice_is(hf_slice a, const char *text)
{
    return hf_slice_equal(a, hf_slice_of(text));
}

int32_t hf_slice_begins(hf_slice text, hf_slice with)
{
    return text.size >= with.size && (with.size == 0 || memcmp(text.data, with.data, with.size) == 0);
}

hf_value hf_value_null(void)
{
    return (hf_value){.type = HF_VALUE_NULL};
}

hf_value hf_value_boolean(int32_t boolean)
{
    return (hf_value){.type = HF_VALUE_BOOLEAN, .boolean = boolean != 0};
}

hf_value hf_value_integer(int64_t integer)
{
    return (hf_value){.type = HF_VALUE_INTEGER, .as.integer = integer};
}

hf_value hf_value_float(double number)
{
    return (hf_value){.type = HF_VALUE_FLOAT, .as.number = number};
}

hf_value hf_value_string(hf_slice text)
{
    return (hf_value){.type = HF_VALUE_STRING, .count = text.size, .as.text = text.data};
}

hf_value hf_value_text(const char *text)
{
    return hf_value_string(hf_slice_of(text));
}

hf_value hf_value_list(const hf_value *items, uint64_t count)
{
    return (hf_value){.type = HF_VALUE_LIST, .count = count, .as.items = items};
}

hf_value hf_value_map(const hf_value_member *members, uint64_t count)
{
    return (hf_value){.type = HF_VALUE_MAP, .count = count, .as.members = members};
}

hf_value hf_value_object(const struct hf_lua_object *object)
{
    return (hf_value){.type = HF_VALUE_OBJECT, .as.object = object};
}

const hf_value *hf_value_get(const hf_value *map, const char *name)
{
    if (!map || map->type != HF_VALUE_MAP)
        return NULL;

    hf_slice wanted = hf_slice_of(name);

    for (uint64_t i = 0; i < map->count; i++)
        if (hf_slice_equal(map->as.members[i].name, wanted))
            return &map->as.members[i].value;
    return NULL;
}

hf_slice hf_value_get_string(const hf_value *map, const char *name, hf_slice fallback)
{
    const hf_value *value = hf_value_get(map, name);

    return value && value->type == HF_VALUE_STRING ? hf_value_slice(value) : fallback;
}

int64_t hf_value_get_integer(const hf_value *map, const char *name, int64_t fallback)
{
    const hf_value *value = hf_value_get(map, name);

    return value && value->type == HF_VALUE_INTEGER ? value->as.integer : fallback;
}

double hf_value_get_float(const hf_value *map, const char *name, double fallback)
{
    const hf_value *value = hf_value_get(map, name);

    if (value && value->type == HF_VALUE_INTEGER)
        return (double)value->as.integer;
    return value && value->type == HF_VALUE_FLOAT ? value->as.number : fallback;
}

int32_t hf_value_get_boolean(const hf_value *map, const char *name, int32_t fallback)
{
    const hf_value *value = hf_value_get(map, name);

    return value && value->type == HF_VALUE_BOOLEAN ? value->boolean : fallback;
}

hf_slice hf_value_slice(const hf_value *value)
{
    if (!value || value->type != HF_VALUE_STRING)
        return (hf_slice){NULL, 0};
    return (hf_slice){value->as.text, value->count};
}

const char *hf_value_type_name(int32_t type)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a float",
                                        "a string", "a list",    "a map",      "an object"};

    if (type < 0 || type >= (int32_t)(sizeof names / sizeof names[0]))
        return "an unknown type";
    return names[type];
}
