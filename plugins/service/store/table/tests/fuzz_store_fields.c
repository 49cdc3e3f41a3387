/* Any bytes as a value: what is said of its fields is what a plain look at the tree of values says. */
#include "table/fields.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char declaration[] =
    "{\"fields\":{\"customer\":{\"type\":\"string\",\"required\":true,\"min_length\":1,\"max_length\":3},"
    "\"priority\":{\"type\":\"integer\",\"min\":1,\"max\":5.5},\"score\":{\"type\":\"number\",\"min\":-1.5},"
    "\"open\":{\"type\":\"boolean\"},\"tags\":{\"type\":\"array\"},\"place\":{\"type\":\"object\"},"
    "\"extra\":{},\"channel\":{\"type\":\"string\",\"one_of\":[\"chat\",\"mail\"]}},\"other_fields\":false}";

static void check(int holds)
{
    if (!holds)
        abort();
}

static int number_is_good(const struct store_field *field, const hf_value *value)
{
    long double number = value->type == HF_VALUE_INTEGER ? (long double)value->as.integer : value->as.number;

    return (value->type == HF_VALUE_INTEGER || (value->type == HF_VALUE_FLOAT && field->type == STORE_FIELD_NUMBER)) &&
           (number >= (long double)field->minimum || !store_field_has_minimum(field)) &&
           (number <= (long double)field->maximum || !store_field_has_maximum(field));
}

static int string_is_good(const struct store_field *field, const hf_value *value)
{
    int64_t length = 0, found = field->one_of.count == 0;

    if (value->type != HF_VALUE_STRING)
        return 0;
    for (uint64_t i = 0; i < value->count; i++)
        length += (value->as.text[i] & 0xc0) != 0x80;
    for (uint64_t i = 0; i < field->one_of.count; i++)
        found |= hf_slice_is(hf_value_slice(value), field->one_of.items[i]);
    return found && length >= field->minimum_length && (!field->maximum_length || length <= field->maximum_length);
}

static int is_good(const struct store_field *field, const hf_value *value)
{
    switch (field->type) {
    case STORE_FIELD_STRING:
        return string_is_good(field, value);
    case STORE_FIELD_INTEGER:
    case STORE_FIELD_NUMBER:
        return number_is_good(field, value);
    case STORE_FIELD_BOOLEAN:
        return value->type == HF_VALUE_BOOLEAN;
    case STORE_FIELD_OBJECT:
        return value->type == HF_VALUE_MAP;
    case STORE_FIELD_ARRAY:
        return value->type == HF_VALUE_LIST;
    default:
        return 1;
    }
}

static int all_good(const struct store_fields *fields, const hf_value *root)
{
    uint64_t known = 0;

    if (root->type != HF_VALUE_MAP)
        return 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        const hf_value *value = hf_value_get(root, fields->items[i].name);

        if (value ? !is_good(&fields->items[i], value) : fields->items[i].required)
            return 0;
        known += value != NULL;
    }
    return known + (hf_value_get(root, "region") != NULL) == root->count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    hf_slice json = {bytes, size}, field = {NULL, 0};
    struct store_fields fields;
    hf_value root = hf_value_null(), tree = hf_value_null();
    hf_error error = {0};
    hf_arena arena;

    if (hf_json_check(json, NULL) < 0)
        return 0;
    hf_arena_init(&arena, UINT64_MAX);
    check(hf_json_parse(hf_slice_of(declaration), &arena, &root, NULL) == 0);
    check(store_fields_parse(&root, &arena, &fields, NULL) == 0);
    check(store_fields_check(&fields, "region", NULL) == 0);
    int32_t r = store_fields_check_value(&fields, "region", json, &arena, &field, &error);

    check(r == 0 || (r == HF_EINVAL && error.message[0]));
    if (hf_json_parse(json, &arena, &tree, NULL) == 0) /* no name is there twice */
        check((r == 0) == all_good(&fields, &tree));
    hf_arena_done(&arena);
    return 0;
}
