/* Declared fields: their limits, and their JSON; see fields.h. */
#include "table/fields.h"

#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const store_field_types[STORE_FIELD_TYPES + 1] = {"any",     "string", "integer", "number",
                                                              "boolean", "object", "array",   NULL};

static const double exact = (double)(INT64_C(1) << STORE_FIELD_EXACT_BITS);

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static int is_number(const struct store_field *field)
{
    return field->type == STORE_FIELD_INTEGER || field->type == STORE_FIELD_NUMBER;
}

static int32_t check_limits(const struct store_field *field, hf_error *error)
{
    if (!(field->minimum <= field->maximum))
        return hf_error_set(error, HF_EINVAL, "the field '%s' has min %g and max %g; expected min to be no greater",
                            field->name, field->minimum, field->maximum);
    if (field->minimum_length < 0 || field->minimum_length > STORE_FIELD_LENGTH_MAX || field->maximum_length < 0 ||
        field->maximum_length > STORE_FIELD_LENGTH_MAX ||
        (field->maximum_length && field->minimum_length > field->maximum_length))
        return hf_error_set(error, HF_EINVAL,
                            "the field '%s' has min_length %lld and max_length %lld; expected up to %d, and min_length "
                            "to be no greater",
                            field->name, (long long)field->minimum_length, (long long)field->maximum_length,
                            STORE_FIELD_LENGTH_MAX);
    if (!is_number(field) && (store_field_has_minimum(field) || store_field_has_maximum(field)))
        return hf_error_set(error, HF_EINVAL,
                            "the field '%s' has min or max and the type %s; expected integer or number", field->name,
                            store_field_types[field->type]);
    if (field->type != STORE_FIELD_STRING && (field->minimum_length || field->maximum_length || field->one_of.count))
        return hf_error_set(error, HF_EINVAL,
                            "the field '%s' has min_length, max_length or one_of and the type %s; expected string",
                            field->name, store_field_types[field->type]);
    return 0;
}

static int has_text(const hf_strings *texts, const char *text)
{
    for (uint64_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i], text) == 0)
            return 1;
    return 0;
}

static int32_t check_one_of(const struct store_field *field, hf_error *error)
{
    if (field->one_of.count > STORE_FIELD_ONE_OF_MAX)
        return hf_error_set(error, HF_EINVAL, "one_of of the field '%s' has %llu values; expected at most %d",
                            field->name, (unsigned long long)field->one_of.count, STORE_FIELD_ONE_OF_MAX);
    for (uint64_t i = 0; i < field->one_of.count; i++) {
        hf_strings before = {i, field->one_of.items};
        int32_t r = store_check_text("a value in one_of", hf_slice_of(field->one_of.items[i]), error);

        if (r < 0)
            return r;
        if (has_text(&before, field->one_of.items[i]))
            return hf_error_set(error, HF_EINVAL, "one_of of the field '%s' has '%s' twice; expected every value once",
                                field->name, field->one_of.items[i]);
    }
    return 0;
}

static const struct store_field *find_field(const struct store_fields *fields, const char *name)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (strcmp(fields->items[i].name, name) == 0)
            return &fields->items[i];
    return NULL;
}

static int32_t check_field(const struct store_fields *fields, uint32_t place, const char *partition_by, hf_error *error)
{
    const struct store_field *field = &fields->items[place];
    struct store_fields before = {.count = place, .items = fields->items};
    int32_t r = store_check_text("a field's name", hf_slice_of(field->name), error);

    if (r == 0 && (field->type < 0 || field->type >= STORE_FIELD_TYPES))
        r = hf_error_set(error, HF_EINVAL, "the field '%s' has type number %d; expected below %d", field->name,
                         (int)field->type, STORE_FIELD_TYPES);
    if (r == 0 && find_field(&before, field->name))
        r = hf_error_set(error, HF_EINVAL, "the field '%s' is declared twice; expected every field once", field->name);
    if (r == 0 && strcmp(field->name, partition_by) == 0 && field->type != STORE_FIELD_STRING)
        r = hf_error_set(error, HF_EINVAL, "the field '%s' is partition_by and has the type %s; expected string",
                         field->name, store_field_types[field->type]);
    if (r == 0)
        r = check_limits(field, error);
    return r < 0 ? r : check_one_of(field, error);
}

int32_t store_fields_check(const struct store_fields *fields, const char *partition_by, hf_error *error)
{
    if (fields->count > STORE_FIELDS_MAX)
        return hf_error_set(error, HF_EINVAL, "fields declares %u fields; expected at most %d", (unsigned)fields->count,
                            STORE_FIELDS_MAX);
    if (fields->count == 0 && fields->others_refused)
        return hf_error_set(error, HF_EINVAL, "other_fields is false and there are no fields; declare some");
    for (uint32_t i = 0; i < fields->count; i++) {
        int32_t r = check_field(fields, i, partition_by, error);

        if (r < 0)
            return r;
    }
    return 0;
}

static int same_texts(const hf_strings *a, const hf_strings *b)
{
    int same = a->count == b->count;

    for (uint64_t i = 0; i < a->count && same; i++)
        same = has_text(b, a->items[i]);
    return same;
}

int32_t store_fields_same(const struct store_fields *a, const struct store_fields *b)
{
    if (a->count != b->count || !a->others_refused != !b->others_refused)
        return 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct store_field *x = &a->items[i], *y = find_field(b, x->name);

        if (!y || x->type != y->type || !x->required != !y->required || x->minimum != y->minimum ||
            x->maximum != y->maximum || x->minimum_length != y->minimum_length ||
            x->maximum_length != y->maximum_length || !same_texts(&x->one_of, &y->one_of))
            return 0;
    }
    return 1;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int32_t wrong_member(const struct store_field *field, const char *member, const hf_value *value,
                            const char *expected, hf_error *error)
{
    return hf_error_set(error, HF_EINVAL, "%s of the field '%s' is %s; expected %s", member, field->name,
                        hf_value_type_name(value->type), expected);
}

static int32_t no_memory(hf_error *error)
{
    return hf_error_set(error, HF_ENOMEM, "there is no memory for a table's fields; free some and try again");
}

static int32_t read_type(const hf_value *value, struct store_field *field, hf_error *error)
{
    hf_slice text = hf_value_slice(value);

    if (value->type != HF_VALUE_STRING)
        return wrong_member(field, "type", value, "a string", error);
    for (field->type = 0; field->type < STORE_FIELD_TYPES; field->type++)
        if (hf_slice_is(text, store_field_types[field->type]))
            return 0;
    return hf_error_set(error, HF_EINVAL,
                        "type of the field '%s' is '%.*s'; expected any, string, integer, number, boolean, object or "
                        "array",
                        field->name, (int)(text.size < 64 ? text.size : 64), (const char *)text.data);
}

static int32_t read_limit(const hf_value *value, const char *member, const struct store_field *field, double *ret_limit,
                          hf_error *error)
{
    if (value->type != HF_VALUE_INTEGER && value->type != HF_VALUE_FLOAT)
        return wrong_member(field, member, value, "a number", error);
    int whole = value->type == HF_VALUE_INTEGER;
    const int64_t most = INT64_C(1) << STORE_FIELD_EXACT_BITS;

    *ret_limit = whole ? (double)value->as.integer : value->as.number;
    if (whole ? value->as.integer >= -most && value->as.integer <= most : fabs(*ret_limit) < STORE_FIELD_UNLIMITED)
        return 0;
    return hf_error_set(error, HF_EINVAL,
                        "%s of the field '%s' is %g; expected an integer of at most 2^%d or a smaller "
                        "number than 1e300",
                        member, field->name, *ret_limit, STORE_FIELD_EXACT_BITS);
}

static int32_t read_length(const hf_value *value, const char *member, const struct store_field *field, int64_t least,
                           int64_t *ret_length, hf_error *error)
{
    if (value->type != HF_VALUE_INTEGER)
        return wrong_member(field, member, value, "an integer", error);
    *ret_length = value->as.integer;
    if (*ret_length >= least && *ret_length <= STORE_FIELD_LENGTH_MAX)
        return 0;
    return hf_error_set(error, HF_EINVAL, "%s of the field '%s' is %lld; expected %lld to %d", member, field->name,
                        (long long)*ret_length, (long long)least, STORE_FIELD_LENGTH_MAX);
}

static int32_t read_one_of(const hf_value *list, hf_arena *arena, struct store_field *field, hf_error *error)
{
    if (list->type != HF_VALUE_LIST || list->count == 0 || list->count > STORE_FIELD_ONE_OF_MAX)
        return hf_error_set(error, HF_EINVAL, "one_of of the field '%s' is not a list of 1 to %d strings", field->name,
                            STORE_FIELD_ONE_OF_MAX);
    const char **items = hf_arena_alloc(arena, list->count * sizeof *items);

    if (!items)
        return no_memory(error);
    for (uint64_t i = 0; i < list->count; i++) {
        int32_t r = store_read_text("a value in one_of", &list->as.items[i], arena, &items[i], error);

        if (r < 0)
            return r;
    }
    field->one_of = (hf_strings){list->count, items};
    return 0;
}

static int32_t read_member(hf_slice name, const hf_value *value, hf_arena *arena, struct store_field *field,
                           hf_error *error)
{
    if (hf_slice_is(name, "type"))
        return read_type(value, field, error);
    if (hf_slice_is(name, "required")) {
        field->required = value->boolean;
        return value->type == HF_VALUE_BOOLEAN ? 0 : wrong_member(field, "required", value, "a boolean", error);
    }
    if (hf_slice_is(name, "min"))
        return read_limit(value, "min", field, &field->minimum, error);
    if (hf_slice_is(name, "max"))
        return read_limit(value, "max", field, &field->maximum, error);
    if (hf_slice_is(name, "min_length"))
        return read_length(value, "min_length", field, 0, &field->minimum_length, error);
    if (hf_slice_is(name, "max_length"))
        return read_length(value, "max_length", field, 1, &field->maximum_length, error);
    if (hf_slice_is(name, "one_of"))
        return read_one_of(value, arena, field, error);
    return hf_error_set(
        error, HF_EINVAL,
        "the member '%.*s' of the field '%s' is unknown; expected type, required, min, max, min_length, "
        "max_length or one_of",
        (int)(name.size < 64 ? name.size : 64), (const char *)name.data, field->name);
}

static int32_t read_field(const hf_value_member *member, hf_arena *arena, struct store_field *field, hf_error *error)
{
    hf_value name = hf_value_string(member->name);

    *field = (struct store_field){.minimum = -STORE_FIELD_UNLIMITED, .maximum = STORE_FIELD_UNLIMITED};
    int32_t r = store_read_text("a field's name", &name, arena, &field->name, error);

    if (r < 0)
        return r;
    if (member->value.type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL, "the field '%s' is declared by %s; expected an object", field->name,
                            hf_value_type_name(member->value.type));
    for (uint64_t i = 0; i < member->value.count && r == 0; i++) {
        const hf_value_member *part = &member->value.as.members[i];

        r = read_member(part->name, &part->value, arena, field, error);
    }
    return r;
}

static int compare_fields(const void *a, const void *b)
{
    return strcmp(((const struct store_field *)a)->name, ((const struct store_field *)b)->name);
}

static int32_t read_fields(const hf_value *map, hf_arena *arena, struct store_fields *fields, hf_error *error)
{
    if (map->type != HF_VALUE_MAP)
        return hf_error_set(error, HF_EINVAL, "fields is %s; expected an object", hf_value_type_name(map->type));
    if (map->count > STORE_FIELDS_MAX)
        return hf_error_set(error, HF_EINVAL, "fields declares %llu fields; expected at most %d",
                            (unsigned long long)map->count, STORE_FIELDS_MAX);
    struct store_field *items = hf_arena_alloc(arena, map->count * sizeof *items);

    if (!items)
        return no_memory(error);
    for (uint64_t i = 0; i < map->count; i++) {
        int32_t r = read_field(&map->as.members[i], arena, &items[i], error);

        if (r < 0)
            return r;
    }
    if (map->count > 1)
        qsort(items, map->count, sizeof *items, compare_fields);
    fields->items = items;
    fields->count = (uint32_t)map->count;
    return 0;
}

int32_t store_fields_parse(const hf_value *declaration, hf_arena *arena, struct store_fields *ret_fields,
                           hf_error *error)
{
    const hf_value *map = hf_value_get(declaration, "fields"), *others = hf_value_get(declaration, "other_fields");

    *ret_fields = (struct store_fields){0};
    if (others && others->type != HF_VALUE_BOOLEAN)
        return hf_error_set(error, HF_EINVAL, "other_fields is %s; expected a boolean",
                            hf_value_type_name(others->type));
    ret_fields->others_refused = others && !others->boolean;
    return map ? read_fields(map, arena, ret_fields, error) : 0;
}

/* ---- Writing and copying ----------------------------------------------------------------------------------------- */

static void write_limit(hf_json_writer *writer, const char *name, double limit)
{
    hf_json_name(writer, name);
    if (limit == floor(limit) && fabs(limit) <= exact)
        hf_json_integer(writer, (int64_t)limit);
    else
        hf_json_float(writer, limit);
}

static void write_length(hf_json_writer *writer, const char *name, int64_t length)
{
    if (length == 0)
        return;
    hf_json_member_integer(writer, name, length);
}

static void write_field(hf_json_writer *writer, const struct store_field *field)
{
    hf_json_name(writer, field->name);
    hf_json_begin_object(writer);
    hf_json_member_text(writer, "type", store_field_types[field->type]);
    if (field->required) {
        hf_json_member_boolean(writer, "required", 1);
    }
    if (store_field_has_minimum(field))
        write_limit(writer, "min", field->minimum);
    if (store_field_has_maximum(field))
        write_limit(writer, "max", field->maximum);
    write_length(writer, "min_length", field->minimum_length);
    write_length(writer, "max_length", field->maximum_length);
    if (field->one_of.count) {
        hf_json_name(writer, "one_of");
        hf_json_begin_list(writer);
        for (uint64_t i = 0; i < field->one_of.count; i++)
            hf_json_text(writer, field->one_of.items[i]);
        hf_json_end_list(writer);
    }
    hf_json_end_object(writer);
}

void store_fields_write(hf_json_writer *writer, const struct store_fields *fields)
{
    if (fields->count == 0)
        return;
    hf_json_name(writer, "fields");
    hf_json_begin_object(writer);
    for (uint32_t i = 0; i < fields->count; i++)
        write_field(writer, &fields->items[i]);
    hf_json_end_object(writer);
    if (!fields->others_refused)
        return;
    hf_json_member_boolean(writer, "other_fields", 0);
}

static int32_t copy_field(struct store_field *field, hf_arena *arena)
{
    const char **one_of = hf_arena_alloc(arena, field->one_of.count * sizeof *one_of);

    field->name = hf_arena_strdup(arena, field->name);
    if (!one_of || !field->name)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < field->one_of.count; i++)
        if (!(one_of[i] = hf_arena_strdup(arena, field->one_of.items[i])))
            return HF_ENOMEM;
    field->one_of.items = one_of;
    return 0;
}

int32_t store_fields_copy(const struct store_fields *from, hf_arena *arena, struct store_fields *ret_fields)
{
    struct store_field *items = hf_arena_alloc(arena, from->count * sizeof *items);

    if (!items)
        return HF_ENOMEM;
    for (uint32_t i = 0; i < from->count; i++) {
        items[i] = from->items[i];
        if (copy_field(&items[i], arena) < 0)
            return HF_ENOMEM;
    }
    *ret_fields = (struct store_fields){from->count, from->others_refused, items};
    return 0;
}
