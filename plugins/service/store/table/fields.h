/* fields.h: what a table declares about the members of its JSON values, and whether a value is so.  Pure; [any]. */
#ifndef STORE_FIELDS_H
#define STORE_FIELDS_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/json.h>

enum {
    STORE_FIELD_ANY = 0, /* also null, which no other type takes */
    STORE_FIELD_STRING,
    STORE_FIELD_INTEGER, /* without fraction and exponent, within 64 bits */
    STORE_FIELD_NUMBER,
    STORE_FIELD_BOOLEAN,
    STORE_FIELD_OBJECT,
    STORE_FIELD_ARRAY,
    STORE_FIELD_TYPES
};

enum {
    STORE_FIELDS_MAX = 64,
    STORE_FIELD_ONE_OF_MAX = 64,       /* values of each */
    STORE_FIELD_LENGTH_MAX = 16 << 20, /* a value's own limit */
    STORE_FIELD_EXACT_BITS = 53        /* a limit that is an integer has no more */
};

/* Limits of a number are below it and above its negative; these say that there is none. */
#define STORE_FIELD_UNLIMITED 1e300

/* One of the top members of a value.  Also the configuration's form of it, so the name comes first. */
struct store_field {
    const char *name;
    int32_t type; /* STORE_FIELD_... */
    int32_t required;
    double minimum, maximum;                /* of an integer or a number */
    int64_t minimum_length, maximum_length; /* of a string, in code points; maximum 0: unlimited */
    hf_strings one_of;                      /* of a string; none: any */
};

static inline int store_field_has_minimum(const struct store_field *field)
{
    return field->minimum > -STORE_FIELD_UNLIMITED;
}
static inline int store_field_has_maximum(const struct store_field *field)
{
    return field->maximum < STORE_FIELD_UNLIMITED;
}

struct store_fields {
    uint32_t count; /* 0: values are not looked at */
    int32_t others_refused;
    const struct store_field *items;
};

/* "any", "string", ...; by type, with NULL at the end. */
extern const char *const store_field_types[STORE_FIELD_TYPES + 1];

/* HF_EINVAL with what is wrong.  `partition_by` must be a string where it is declared; "": none. */
int32_t store_fields_check(const struct store_fields *fields, const char *partition_by, hf_error *error);

/* Reads the members "fields" and "other_fields" of a declaration, and sorts by name; everything lies in the arena.
 * HF_EINVAL, HF_ENOMEM.  To be checked. */
int32_t store_fields_parse(const hf_value *declaration, hf_arena *arena, struct store_fields *ret_fields,
                           hf_error *error);

/* Writes these members, as far as they say something. */
void store_fields_write(hf_json_writer *writer, const struct store_fields *fields);

/* 1 when both declare the same, in whichever order.  Both have been checked. */
int32_t store_fields_same(const struct store_fields *a, const struct store_fields *b);

/* A copy with everything in the arena.  HF_ENOMEM. */
int32_t store_fields_copy(const struct store_fields *from, hf_arena *arena, struct store_fields *ret_fields);

/* Checks a value, which is valid JSON (hf_json_check), against fields that were parsed.  Its size alone bounds the
 * time; texts with escapes are decoded into the arena.  `partition_by` may be there undeclared.  HF_EINVAL: *ret_field
 * is the member, without data when the value is no object, and the error says what was expected and what came;
 * HF_ENOMEM. */
int32_t store_fields_check_value(const struct store_fields *fields, const char *partition_by, hf_slice json,
                                 hf_arena *arena, hf_slice *ret_field, hf_error *error);

/* "a string of at most 64 characters" */
enum { STORE_FIELD_TEXT_SIZE = 160 };
void store_field_describe(const struct store_field *field, char text[STORE_FIELD_TEXT_SIZE]);

#endif
