/* Whether a value is as the table's fields declare; see fields.h.
 *
 * Only the value's own members are looked at, one after the other, without building a tree: nested values are skipped.
 * The text is known to be valid JSON, so what is read here is not checked again; nothing is read behind its end. */
#include "table/fields.h"

#include "table/internal.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 60 /* bytes of a value in a message */ };

/* ---- Going through an object ------------------------------------------------------------------------------------- */

static int is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(hf_slice *rest, uint64_t size)
{
    size = size < rest->size ? size : rest->size;
    rest->data += size;
    rest->size -= size;
}

static void skip_space(hf_slice *rest)
{
    while (rest->size && is_space(rest->data[0]))
        skip(rest, 1);
}

/* Takes a string with its quotes. */
static hf_slice take_string(hf_slice *rest)
{
    hf_slice string = {rest->data, 0};

    skip(rest, 1);
    while (rest->size && rest->data[0] != '"')
        skip(rest, rest->data[0] == '\\' ? 2 : 1);
    skip(rest, 1);
    string.size = (uint64_t)(rest->data - string.data);
    return string;
}

static int ends_scalar(uint8_t c)
{
    return c == ',' || c == '}' || c == ']' || is_space(c);
}

static hf_slice take_value(hf_slice *rest)
{
    hf_slice value = {rest->data, 0};
    uint64_t depth = 0;

    do {
        uint8_t c = rest->size ? rest->data[0] : 0;

        if (c == '"') {
            take_string(rest);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        skip(rest, 1);
        while (depth == 0 && c != '}' && c != ']' && rest->size && !ends_scalar(rest->data[0]))
            skip(rest, 1);
    } while (depth > 0 && rest->size);
    value.size = (uint64_t)(rest->data - value.data);
    return value;
}

/* The next member, its name with the quotes; 0 at the end. */
static int take_member(hf_slice *rest, hf_slice *ret_name, hf_slice *ret_value)
{
    skip_space(rest);
    if (rest->size == 0 || rest->data[0] == '}')
        return 0;
    skip(rest, 1); /* the brace, or a comma */
    skip_space(rest);
    if (rest->size == 0 || rest->data[0] != '"')
        return 0;
    *ret_name = take_string(rest);
    skip_space(rest);
    skip(rest, 1); /* the colon */
    skip_space(rest);
    *ret_value = take_value(rest);
    return 1;
}

/* ---- What was expected ------------------------------------------------------------------------------------------- */

static void describe_string(const struct store_field *field, char text[STORE_FIELD_TEXT_SIZE])
{
    long long least = field->minimum_length, most = field->maximum_length;
    size_t size;

    if (field->one_of.count) {
        size = (size_t)snprintf(text, STORE_FIELD_TEXT_SIZE, "one of");
        for (uint64_t i = 0; i < field->one_of.count && size < STORE_FIELD_TEXT_SIZE; i++)
            size += (size_t)snprintf(text + size, STORE_FIELD_TEXT_SIZE - size, "%s '%s'", i ? "," : "",
                                     field->one_of.items[i]);
    } else if (least && most) {
        snprintf(text, STORE_FIELD_TEXT_SIZE, "a string of %lld to %lld characters", least, most);
    } else if (least || most) {
        snprintf(text, STORE_FIELD_TEXT_SIZE, "a string of at %s %lld characters", least ? "least" : "most",
                 least ? least : most);
    } else {
        snprintf(text, STORE_FIELD_TEXT_SIZE, "a string");
    }
}

static void describe_number(const struct store_field *field, char text[STORE_FIELD_TEXT_SIZE])
{
    const char *what = field->type == STORE_FIELD_INTEGER ? "an integer" : "a number";
    int low = store_field_has_minimum(field), high = store_field_has_maximum(field);

    if (low && high)
        snprintf(text, STORE_FIELD_TEXT_SIZE, "%s from %.17g to %.17g", what, field->minimum, field->maximum);
    else if (low || high)
        snprintf(text, STORE_FIELD_TEXT_SIZE, "%s of at %s %.17g", what, low ? "least" : "most",
                 low ? field->minimum : field->maximum);
    else
        snprintf(text, STORE_FIELD_TEXT_SIZE, "%s", what);
}

void store_field_describe(const struct store_field *field, char text[STORE_FIELD_TEXT_SIZE])
{
    static const char *const others[STORE_FIELD_TYPES] = {[STORE_FIELD_ANY] = "any value",
                                                          [STORE_FIELD_BOOLEAN] = "a boolean",
                                                          [STORE_FIELD_OBJECT] = "an object",
                                                          [STORE_FIELD_ARRAY] = "an array"};

    if (field->type == STORE_FIELD_STRING)
        describe_string(field, text);
    else if (others[field->type])
        snprintf(text, STORE_FIELD_TEXT_SIZE, "%s", others[field->type]);
    else
        describe_number(field, text);
}

/* ---- One member -------------------------------------------------------------------------------------------------- */

struct checking {
    const struct store_fields *fields;
    const char *partition_by;
    hf_arena *arena;
    uint64_t seen; /* a bit for each field */
    hf_slice name; /* of the member */
    hf_error *error;
};

static int shown(hf_slice text)
{
    uint64_t size = text.size < SHOWN_MAX ? text.size : SHOWN_MAX;

    while (size && size < text.size && (text.data[size] & 0xc0) == 0x80) /* whole characters */
        size--;
    return (int)size;
}

static int32_t refuse(const struct checking *checking, const struct store_field *field, const char *came)
{
    char expected[STORE_FIELD_TEXT_SIZE];

    store_field_describe(field, expected);
    return hf_error_set(checking->error, HF_EINVAL, "the field '%.*s' is %s; expected %s", shown(checking->name),
                        (const char *)checking->name.data, came, expected);
}

/* How a number stands to a limit: below 0, 0 or above 0.  Integers are compared without rounding. */
static int compare_number(const hf_value *number, double limit)
{
    if (number->type == HF_VALUE_FLOAT)
        return (number->as.number > limit) - (number->as.number < limit);
    if (limit >= 9223372036854775808.0)
        return -1;
    if (limit < -9223372036854775808.0)
        return 1;
    int64_t whole = (int64_t)limit, integer = number->as.integer;

    if (integer != whole)
        return integer < whole ? -1 : 1;
    return ((double)whole > limit) - ((double)whole < limit);
}

static int32_t check_number(const struct checking *checking, const struct store_field *field, hf_slice text)
{
    hf_value number = hf_value_null();
    char came[SHOWN_MAX + 1];
    int32_t r = hf_json_parse(text, checking->arena, &number, checking->error);

    if (r < 0)
        return r;
    if ((number.type == HF_VALUE_INTEGER || field->type == STORE_FIELD_NUMBER) &&
        (!store_field_has_minimum(field) || compare_number(&number, field->minimum) >= 0) &&
        (!store_field_has_maximum(field) || compare_number(&number, field->maximum) <= 0))
        return 0;
    snprintf(came, sizeof came, "%.*s", shown(text), (const char *)text.data);
    return refuse(checking, field, came);
}

/* A string without its quotes and escapes. */
static int32_t decode(const struct checking *checking, hf_slice string, hf_slice *ret_text)
{
    hf_value value = hf_value_null();

    if (!memchr(string.data, '\\', string.size)) {
        *ret_text = (hf_slice){string.data + 1, string.size - 2};
        return 0;
    }
    int32_t r = hf_json_parse(string, checking->arena, &value, checking->error);

    *ret_text = hf_value_slice(&value);
    return r;
}

static int64_t count_characters(hf_slice text)
{
    int64_t count = 0;

    for (uint64_t i = 0; i < text.size; i++)
        count += (text.data[i] & 0xc0) != 0x80;
    return count;
}

static int is_one_of(const hf_strings *texts, hf_slice text)
{
    for (uint64_t i = 0; i < texts->count; i++)
        if (hf_slice_is(text, texts->items[i]))
            return 1;
    return texts->count == 0;
}

static int32_t check_string(const struct checking *checking, const struct store_field *field, hf_slice string)
{
    char came[SHOWN_MAX + 48];
    hf_slice text = {NULL, 0};
    int32_t r = decode(checking, string, &text);

    if (r < 0)
        return r;
    int64_t length = count_characters(text);

    if (length < field->minimum_length || (field->maximum_length && length > field->maximum_length)) {
        snprintf(came, sizeof came, "a string of %lld characters", (long long)length);
        return refuse(checking, field, came);
    }
    if (is_one_of(&field->one_of, text))
        return 0;
    snprintf(came, sizeof came, "'%.*s'", shown(text), (const char *)text.data);
    return refuse(checking, field, came);
}

static int32_t type_of(uint8_t first)
{
    switch (first) {
    case '"':
        return STORE_FIELD_STRING;
    case '{':
        return STORE_FIELD_OBJECT;
    case '[':
        return STORE_FIELD_ARRAY;
    case 't':
    case 'f':
        return STORE_FIELD_BOOLEAN;
    case 'n':
        return STORE_FIELD_ANY;
    default:
        return STORE_FIELD_NUMBER;
    }
}

static int32_t check_field(const struct checking *checking, const struct store_field *field, hf_slice value)
{
    static const char *const came[STORE_FIELD_TYPES] = {"null",      "a string",  "a number", "a number",
                                                        "a boolean", "an object", "an array"};
    int32_t type = type_of(value.size ? value.data[0] : 'n');
    int32_t wanted = field->type == STORE_FIELD_INTEGER ? STORE_FIELD_NUMBER : field->type;

    if (wanted == STORE_FIELD_ANY)
        return 0;
    if (type != wanted)
        return refuse(checking, field, came[type]);
    if (type == STORE_FIELD_NUMBER)
        return check_number(checking, field, value);
    return type == STORE_FIELD_STRING ? check_string(checking, field, value) : 0;
}

/* ---- All members ------------------------------------------------------------------------------------------------- */

/* The declared field, by the order of the names; NULL: there is none. */
static const struct store_field *find_field(const struct store_fields *fields, hf_slice name)
{
    uint32_t low = 0, high = fields->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = store_compare_text(name, fields->items[middle].name);

        if (order == 0)
            return &fields->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int32_t check_member(struct checking *checking, hf_slice value)
{
    const struct store_fields *fields = checking->fields;
    const struct store_field *field = find_field(fields, checking->name);
    uint64_t bit = field ? UINT64_C(1) << (field - fields->items) : 0;
    const char *name = (const char *)checking->name.data;

    if (!field && fields->others_refused && !hf_slice_is(checking->name, checking->partition_by))
        return hf_error_set(checking->error, HF_EINVAL,
                            "the field '%.*s' is not declared, and the table takes no others; expected one of its %u "
                            "fields",
                            shown(checking->name), name, (unsigned)fields->count);
    if (!field)
        return 0;
    if (checking->seen & bit) /* readers differ in which of both they take */
        return hf_error_set(checking->error, HF_EINVAL, "the field '%.*s' is there twice; expected every field once",
                            shown(checking->name), name);
    checking->seen |= bit;
    return check_field(checking, field, value);
}

static int32_t check_required(struct checking *checking)
{
    for (uint32_t i = 0; i < checking->fields->count; i++) {
        const struct store_field *field = &checking->fields->items[i];

        if (!field->required || checking->seen >> i & 1)
            continue;
        checking->name = hf_slice_of(field->name);
        return refuse(checking, field, "missing");
    }
    return 0;
}

int32_t store_fields_check_value(const struct store_fields *fields, const char *partition_by, hf_slice json,
                                 hf_arena *arena, hf_slice *ret_field, hf_error *error)
{
    struct checking checking = {.fields = fields, .partition_by = partition_by, .arena = arena, .error = error};
    hf_slice name = {NULL, 0}, value = {NULL, 0};
    int32_t r = 0;

    *ret_field = name;
    if (fields->count == 0)
        return 0;
    skip_space(&json);
    if (json.size == 0 || json.data[0] != '{')
        return hf_error_set(error, HF_EINVAL, "the value is not an object; expected one with the table's fields");
    while (r == 0 && take_member(&json, &name, &value)) {
        r = decode(&checking, name, &checking.name);
        if (r == 0)
            r = check_member(&checking, value);
    }
    if (r == 0)
        r = check_required(&checking);
    *ret_field = checking.name;
    return r;
}
