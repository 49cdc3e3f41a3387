/* lib/value.h: a tree of values, which is what JSON, Lua policies, signals and actions have in common.
 *
 * Values are immutable once built and own nothing: strings, items and members lie in an arena, or are static, or are
 * borrowed from the text they were parsed from.  Pure; [any]. */
#ifndef HOLDFAST_LIB_VALUE_H
#define HOLDFAST_LIB_VALUE_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HF_VALUE_NULL = 0,
    HF_VALUE_BOOLEAN = 1,
    HF_VALUE_INTEGER = 2,
    HF_VALUE_FLOAT = 3,
    HF_VALUE_STRING = 4, /* UTF-8 */
    HF_VALUE_LIST = 5,
    HF_VALUE_MAP = 6,   /* members keep their order; names are unique */
    HF_VALUE_OBJECT = 7 /* no data: something that is asked for its members, see host/lua.h; JSON refuses it */
};

struct hf_lua_object;

typedef struct hf_value hf_value;
typedef struct hf_value_member hf_value_member;

struct hf_value {
    int32_t type; /* HF_VALUE_... */
    int32_t boolean;
    uint64_t count; /* of items or members */
    union {
        int64_t integer;
        double number;
        const uint8_t *text;            /* string; `count` bytes */
        const hf_value *items;          /* list */
        const hf_value_member *members; /* map */
        const struct hf_lua_object *object;
    } as;
};

struct hf_value_member {
    hf_slice name;
    hf_value value;
};

/* A slice of a string constant or any zero-terminated text, which must outlive it. */
hf_slice hf_slice_of(const char *text);

/* 1 when the bytes are the same. */
int32_t hf_slice_equal(hf_slice a, hf_slice b);
int32_t hf_slice_is(hf_slice a, const char *text);

/* 1 when `text` begins with the bytes of `with`; all begins with what is empty. */
int32_t hf_slice_begins(hf_slice text, hf_slice with);

hf_value hf_value_null(void);
hf_value hf_value_boolean(int32_t boolean);
hf_value hf_value_integer(int64_t integer);
hf_value hf_value_float(double number);
hf_value hf_value_string(hf_slice text); /* borrowed */
hf_value hf_value_text(const char *text);
hf_value hf_value_list(const hf_value *items, uint64_t count);         /* borrowed */
hf_value hf_value_map(const hf_value_member *members, uint64_t count); /* borrowed */

hf_value hf_value_object(const struct hf_lua_object *object); /* borrowed */

/* The member called `name`, or NULL when there is none or `map` is NULL or not a map. */
const hf_value *hf_value_get(const hf_value *map, const char *name);

/* The member as the type asked for, or the fallback when it is missing or of another type.  An integer is accepted
 * where a float is asked for. */
hf_slice hf_value_get_string(const hf_value *map, const char *name, hf_slice fallback);
int64_t hf_value_get_integer(const hf_value *map, const char *name, int64_t fallback);
double hf_value_get_float(const hf_value *map, const char *name, double fallback);
int32_t hf_value_get_boolean(const hf_value *map, const char *name, int32_t fallback);

/* The string's bytes; an empty slice when `value` is NULL or not a string. */
hf_slice hf_value_slice(const hf_value *value);

/* "null", "a boolean", "an integer", ...: for messages; static. */
const char *hf_value_type_name(int32_t type);

#ifdef __cplusplus
}
#endif
#endif
