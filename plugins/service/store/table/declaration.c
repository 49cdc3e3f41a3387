/* What a user declares: its limits, and its JSON; see table.h. */
#include "table/internal.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/utf8.h>

#include <stdlib.h>
#include <string.h>

enum { SECOND_US = 1000000, VALUE_SLOTS = 4096 /* more than twice STORE_TABLE_VALUES_MAX, a power of two */ };

static const char *const format_names[] = {[STORE_FORMAT_JSON] = "json", [STORE_FORMAT_BYTES] = "bytes"};

/* The numbers of a declaration: name in JSON, and limits. */
struct number {
    const char *name;
    const char *unit; /* with a leading blank */
    uint64_t minimum, maximum, fallback;
};

static const struct number hash_ranges = {"hash_ranges", "", 1, STORE_TABLE_HASH_RANGES_MAX, 1};
static const struct number replicas = {"replicas", "", 1, STORE_NODES_MAX, 3};
static const struct number value_maximum = {"value_maximum", " bytes", STORE_TABLE_VALUE_MAXIMUM_MIN,
                                            STORE_TABLE_VALUE_MAXIMUM_MAX, 1 << 20};
static const struct number keep_changes = {"keep_changes", " seconds", 1, STORE_TABLE_KEEP_SECONDS_MAX, 7 * 86400};
static const struct number keep_repeats = {"keep_idempotency_keys", " seconds", 1, STORE_TABLE_KEEP_SECONDS_MAX, 86400};
static const struct number expire_after = {"expire_after", " seconds", 0, STORE_TABLE_KEEP_SECONDS_MAX, 0};

/* ---- What the files of this folder share ------------------------------------------------------------------------- */

int store_compare_text(hf_slice slice, const char *text)
{
    uint64_t size = strlen(text);
    int order = slice.size && size ? memcmp(slice.data, text, slice.size < size ? slice.size : size) : 0;

    return order ? order : (slice.size > size) - (slice.size < size);
}

static int compare_values(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void store_sort_values(const char **values, uint32_t count)
{
    if (count > 1)
        qsort(values, count, sizeof *values, compare_values);
}

const char *store_copy_text(hf_arena *arena, hf_slice text)
{
    hf_slice copy = {NULL, 0};

    return hf_arena_copy(arena, text, &copy) < 0 ? NULL : (const char *)copy.data;
}

static int32_t wrong_type(const char *what, const hf_value *value, const char *expected, hf_error *error)
{
    return hf_error_set(error, HF_EINVAL, "%s is %s; expected %s", what, hf_value_type_name(value->type), expected);
}

static int32_t no_memory(hf_error *error)
{
    return hf_error_set(error, HF_ENOMEM, "there is no memory for a table's declaration; free some and try again");
}

int32_t store_check_text(const char *what, hf_slice text, hf_error *error)
{
    int good = text.size >= 1 && text.size <= STORE_TABLE_TEXT_MAX && hf_utf8_valid(text, NULL);

    for (uint64_t i = 0; i < text.size && good; i++)
        good = text.data[i] >= 0x20 && text.data[i] != 0x7f;
    if (good)
        return 0;
    return hf_error_set(error, HF_EINVAL,
                        "%s has %llu bytes or holds what it must not; expected 1 to %d bytes of UTF-8 without control "
                        "characters",
                        what, (unsigned long long)text.size, STORE_TABLE_TEXT_MAX);
}

/* Before the bytes become a text that ends at a zero byte. */
int32_t store_read_text(const char *what, const hf_value *value, hf_arena *arena, const char **ret_text,
                        hf_error *error)
{
    if (value->type != HF_VALUE_STRING)
        return wrong_type(what, value, "a string", error);
    int32_t r = store_check_text(what, hf_value_slice(value), error);

    if (r < 0)
        return r;
    *ret_text = store_copy_text(arena, hf_value_slice(value));
    return *ret_text ? 0 : no_memory(error);
}

/* ---- A set of values --------------------------------------------------------------------------------------------- */

struct value_set {
    const char *const *values;
    uint16_t slots[VALUE_SLOTS]; /* place of a value, from 1 */
};

/* The slot where the value is, or else the free one where it would be. */
static uint16_t *value_slot(struct value_set *set, const char *value)
{
    uint64_t slot = hf_hash64(0, value, strlen(value)) % VALUE_SLOTS;

    while (set->slots[slot] && strcmp(set->values[set->slots[slot] - 1], value) != 0)
        slot = (slot + 1) % VALUE_SLOTS;
    return &set->slots[slot];
}

/* Returns the first value that occurs twice, or NULL. */
static const char *value_set_init(struct value_set *set, const char *const *values, uint32_t count)
{
    *set = (struct value_set){.values = values};
    for (uint32_t i = 0; i < count; i++) {
        uint16_t *slot = value_slot(set, values[i]);

        if (*slot)
            return values[i];
        *slot = (uint16_t)(i + 1);
    }
    return NULL;
}

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int32_t check_name(const char *name, hf_error *error)
{
    size_t size = strnlen(name, STORE_TABLE_NAME_MAX + 1);
    int good = size <= STORE_TABLE_NAME_MAX && name[0] >= 'a' && name[0] <= 'z';

    for (size_t i = 1; i < size && good; i++)
        good = is_letter(name[i]) || (name[i] >= '0' && name[i] <= '9') || name[i] == '_' || name[i] == '-';
    if (good)
        return 0;
    return hf_error_set(error, HF_EINVAL,
                        "the table's name '%.*s' is not valid; expected a lower-case letter, then up to %d letters, "
                        "digits, '_' and '-'",
                        STORE_TABLE_NAME_MAX + 1, name, STORE_TABLE_NAME_MAX - 1);
}

static int32_t check_number(const struct number *number, uint64_t value, hf_error *error)
{
    if (value >= number->minimum && value <= number->maximum)
        return 0;
    return hf_error_set(error, HF_EINVAL, "%s is %llu; expected %llu to %llu%s", number->name,
                        (unsigned long long)value, (unsigned long long)number->minimum,
                        (unsigned long long)number->maximum, number->unit);
}

static int32_t check_time(const struct number *number, uint64_t time_us, hf_error *error)
{
    if (time_us % SECOND_US == 0)
        return check_number(number, time_us / SECOND_US, error);
    return hf_error_set(error, HF_EINVAL, "%s is %llu us; expected whole seconds", number->name,
                        (unsigned long long)time_us);
}

static int32_t check_values(const struct store_declaration *d, hf_error *error)
{
    struct value_set set;

    if (d->value_count == 0 || d->value_count > STORE_TABLE_VALUES_MAX)
        return hf_error_set(error, HF_EINVAL,
                            "partition_by '%s' has %u values in partitions; expected 1 to %d, every value that the "
                            "field may have",
                            d->partition_by, (unsigned)d->value_count, STORE_TABLE_VALUES_MAX);
    for (uint32_t i = 0; i < d->value_count; i++) {
        int32_t r = store_check_text("a value in partitions", hf_slice_of(d->values[i]), error);

        if (r < 0)
            return r;
    }
    const char *twice = value_set_init(&set, d->values, d->value_count);

    if (!twice)
        return 0;
    return hf_error_set(error, HF_EINVAL, "partitions has the value '%s' twice; expected every value once", twice);
}

static int32_t check_division(const struct store_declaration *d, hf_error *error)
{
    if (d->partition_by[0] == '\0') {
        if (d->value_count == 0)
            return 0;
        return hf_error_set(error, HF_EINVAL,
                            "partitions has %u values and there is no partition_by; expected the name of the field "
                            "that has these values",
                            (unsigned)d->value_count);
    }
    if (d->format != STORE_FORMAT_JSON)
        return hf_error_set(error, HF_EINVAL,
                            "partition_by '%s' needs values with fields; expected format \"json\", or no partition_by",
                            d->partition_by);
    int32_t r = store_check_text("partition_by", hf_slice_of(d->partition_by), error);

    return r < 0 ? r : check_values(d, error);
}

static int32_t check_partition_count(const struct store_declaration *d, hf_error *error)
{
    uint64_t count = (uint64_t)(d->value_count ? d->value_count : 1) * d->hash_ranges;

    if (count <= STORE_TABLE_PARTITIONS_MAX)
        return 0;
    return hf_error_set(error, HF_EINVAL,
                        "%u values times %u hash ranges are %llu partitions; expected at most %d: declare fewer of "
                        "either",
                        (unsigned)d->value_count, (unsigned)d->hash_ranges, (unsigned long long)count,
                        STORE_TABLE_PARTITIONS_MAX);
}

int32_t store_declaration_check(const struct store_declaration *d, hf_error *error)
{
    int32_t r = check_name(d->name, error);

    if (r == 0 && d->format != STORE_FORMAT_JSON && d->format != STORE_FORMAT_BYTES)
        r = hf_error_set(error, HF_EINVAL, "format is number %d; expected \"json\" or \"bytes\"", (int)d->format);
    if (r == 0)
        r = check_division(d, error);
    if (r == 0)
        r = check_number(&hash_ranges, d->hash_ranges, error);
    if (r == 0)
        r = check_number(&replicas, d->replicas, error);
    if (r == 0)
        r = check_number(&value_maximum, d->value_maximum, error);
    if (r == 0)
        r = check_time(&keep_changes, d->keep_changes_us, error);
    if (r == 0)
        r = check_time(&keep_repeats, d->keep_repeats_us, error);
    if (r == 0)
        r = check_time(&expire_after, d->expire_after_us, error);
    if (r == 0 && d->fields.count > 0 && d->format != STORE_FORMAT_JSON)
        r = hf_error_set(error, HF_EINVAL, "fields needs values with fields; expected format \"json\", or no fields");
    if (r == 0)
        r = store_fields_check(&d->fields, d->partition_by, error);
    return r < 0 ? r : check_partition_count(d, error);
}

int32_t store_declaration_same(const struct store_declaration *a, const struct store_declaration *b)
{
    struct value_set set;

    if (strcmp(a->name, b->name) != 0 || strcmp(a->partition_by, b->partition_by) != 0 ||
        a->value_count != b->value_count || a->hash_ranges != b->hash_ranges || a->replicas != b->replicas ||
        a->format != b->format || a->value_maximum != b->value_maximum || a->keep_changes_us != b->keep_changes_us ||
        a->keep_repeats_us != b->keep_repeats_us || a->expire_after_us != b->expire_after_us ||
        !store_fields_same(&a->fields, &b->fields))
        return 0;
    value_set_init(&set, a->values, a->value_count);
    for (uint32_t i = 0; i < b->value_count; i++)
        if (!*value_slot(&set, b->values[i]))
            return 0;
    return 1;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int32_t refuse_unknown(const hf_value *body, hf_error *error)
{
    static const char *const known[] = {"partition_by", "partitions",    "hash_ranges",  "replicas",
                                        "format",       "value_maximum", "keep_changes", "keep_idempotency_keys",
                                        "expire_after", "fields",        "other_fields"};
    enum { KNOWN = sizeof known / sizeof known[0] };

    for (uint64_t i = 0; i < body->count; i++) {
        hf_slice name = body->as.members[i].name;
        int k = 0;

        while (k < KNOWN && !hf_slice_is(name, known[k]))
            k++;
        if (k == KNOWN)
            return hf_error_set(error, HF_EINVAL,
                                "the member '%.*s' is unknown; expected partition_by, partitions, hash_ranges, "
                                "replicas, format, value_maximum, keep_changes, keep_idempotency_keys, expire_after, "
                                "fields or other_fields",
                                (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
    }
    return 0;
}

static int32_t read_number(const hf_value *body, const struct number *number, uint64_t *ret_value, hf_error *error)
{
    const hf_value *value = hf_value_get(body, number->name);

    *ret_value = number->fallback;
    if (!value)
        return 0;
    if (value->type != HF_VALUE_INTEGER)
        return wrong_type(number->name, value, "an integer", error);
    if (value->as.integer < 0)
        return hf_error_set(error, HF_EINVAL, "%s is %lld; expected %llu to %llu%s", number->name,
                            (long long)value->as.integer, (unsigned long long)number->minimum,
                            (unsigned long long)number->maximum, number->unit);
    *ret_value = (uint64_t)value->as.integer;
    return check_number(number, *ret_value, error);
}

static int32_t read_numbers(const hf_value *body, struct store_declaration *d, hf_error *error)
{
    uint64_t ranges = 0, copies = 0, changes = 0, repeats = 0, lifetime = 0;
    int32_t r = read_number(body, &hash_ranges, &ranges, error);

    if (r == 0)
        r = read_number(body, &replicas, &copies, error);
    if (r == 0)
        r = read_number(body, &value_maximum, &d->value_maximum, error);
    if (r == 0)
        r = read_number(body, &keep_changes, &changes, error);
    if (r == 0)
        r = read_number(body, &keep_repeats, &repeats, error);
    if (r == 0)
        r = read_number(body, &expire_after, &lifetime, error);
    if (r < 0)
        return r;
    d->hash_ranges = (uint32_t)ranges;
    d->replicas = (uint32_t)copies;
    d->keep_changes_us = changes * SECOND_US;
    d->keep_repeats_us = repeats * SECOND_US;
    d->expire_after_us = lifetime * SECOND_US;
    return 0;
}

static int32_t read_values(const hf_value *body, hf_arena *arena, struct store_declaration *d, hf_error *error)
{
    const hf_value *list = hf_value_get(body, "partitions");

    if (!list)
        return 0;
    if (list->type != HF_VALUE_LIST)
        return wrong_type("partitions", list, "a list of strings", error);
    if (list->count > STORE_TABLE_VALUES_MAX)
        return hf_error_set(error, HF_EINVAL, "partitions has %llu values; expected at most %d",
                            (unsigned long long)list->count, STORE_TABLE_VALUES_MAX);
    const char **values = hf_arena_alloc(arena, list->count * sizeof *values);

    if (!values)
        return no_memory(error);
    for (uint64_t i = 0; i < list->count; i++) {
        int32_t r = store_read_text("a value in partitions", &list->as.items[i], arena, &values[i], error);

        if (r < 0)
            return r;
    }
    d->values = values;
    d->value_count = (uint32_t)list->count;
    return 0;
}

static int32_t read_format(const hf_value *body, struct store_declaration *d, hf_error *error)
{
    const hf_value *format = hf_value_get(body, "format");

    d->format = STORE_FORMAT_JSON;
    if (!format)
        return 0;
    if (format->type != HF_VALUE_STRING)
        return wrong_type("format", format, "\"json\" or \"bytes\"", error);
    for (int32_t i = STORE_FORMAT_JSON; i <= STORE_FORMAT_BYTES; i++)
        if (hf_slice_is(hf_value_slice(format), format_names[i])) {
            d->format = i;
            return 0;
        }
    hf_slice text = hf_value_slice(format);

    return hf_error_set(error, HF_EINVAL, "format is '%.*s'; expected \"json\" or \"bytes\"",
                        (int)(text.size < 64 ? text.size : 64), (const char *)text.data);
}

static int32_t read_members(const hf_value *body, hf_arena *arena, struct store_declaration *d, hf_error *error)
{
    const hf_value *partition_by = hf_value_get(body, "partition_by");
    int32_t r = partition_by ? store_read_text("partition_by", partition_by, arena, &d->partition_by, error) : 0;

    if (r == 0)
        r = read_values(body, arena, d, error);
    if (r == 0)
        r = read_format(body, d, error);
    if (r == 0)
        r = store_fields_parse(body, arena, &d->fields, error);
    return r < 0 ? r : read_numbers(body, d, error);
}

int32_t store_declaration_parse(const char *name, const hf_value *body, hf_arena *arena,
                                struct store_declaration *ret_declaration, hf_error *error)
{
    struct store_declaration d = {.partition_by = ""};

    if (body->type != HF_VALUE_MAP)
        return wrong_type("the declaration", body, "an object", error);
    int32_t r = check_name(name, error);

    if (r == 0)
        r = refuse_unknown(body, error);
    if (r == 0)
        r = read_members(body, arena, &d, error);
    if (r < 0)
        return r;
    d.name = hf_arena_strdup(arena, name);
    if (!d.name)
        return no_memory(error);
    r = store_declaration_check(&d, error);
    if (r == 0)
        *ret_declaration = d;
    return r;
}

/* ---- Writing and copying ----------------------------------------------------------------------------------------- */

void store_declaration_write(hf_json_writer *writer, const struct store_declaration *d)
{
    if (d->partition_by[0]) {
        hf_json_member_text(writer, "partition_by", d->partition_by);
        hf_json_name(writer, "partitions");
        hf_json_begin_list(writer);
        for (uint32_t i = 0; i < d->value_count; i++)
            hf_json_text(writer, d->values[i]);
        hf_json_end_list(writer);
    }
    hf_json_member_unsigned(writer, hash_ranges.name, d->hash_ranges);
    hf_json_member_unsigned(writer, replicas.name, d->replicas);
    hf_json_member_text(writer, "format", format_names[d->format == STORE_FORMAT_BYTES]);
    hf_json_member_unsigned(writer, value_maximum.name, d->value_maximum);
    hf_json_member_unsigned(writer, keep_changes.name, d->keep_changes_us / SECOND_US);
    hf_json_member_unsigned(writer, keep_repeats.name, d->keep_repeats_us / SECOND_US);
    if (d->expire_after_us) {
        hf_json_member_unsigned(writer, expire_after.name, d->expire_after_us / SECOND_US);
    }
    store_fields_write(writer, &d->fields);
}

int32_t store_declaration_copy(const struct store_declaration *from, hf_arena *arena,
                               struct store_declaration *ret_declaration, hf_error *error)
{
    struct store_declaration d = *from;
    const char **values = hf_arena_alloc(arena, from->value_count * sizeof *values);

    d.name = hf_arena_strdup(arena, from->name);
    d.partition_by = hf_arena_strdup(arena, from->partition_by);
    if (!values || !d.name || !d.partition_by || store_fields_copy(&from->fields, arena, &d.fields) < 0)
        return no_memory(error);
    for (uint32_t i = 0; i < from->value_count; i++) {
        values[i] = hf_arena_strdup(arena, from->values[i]);
        if (!values[i])
            return no_memory(error);
    }
    d.values = values;
    *ret_declaration = d;
    return 0;
}
