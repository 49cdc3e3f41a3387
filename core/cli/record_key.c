/* Keys of loaded lines; see record_key.h. */
#include "cli/record_key.h"

#include "cli/cli.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DOCUMENT_MAXIMUM = 1 << 30 };

int32_t cli_key_rule_parse(const char *text, cli_key_rule *ret_rule, hf_error *error)
{
    *ret_rule = (cli_key_rule){.count = 0};
    for (const char *at = text; at;) {
        size_t size = strcspn(at, ",");

        if (size == 0 || size >= CLI_KEY_FIELD_SIZE || ret_rule->count == CLI_KEY_PARTS_MAX)
            return hf_error_set(error, HF_EINVAL,
                                "'%.200s' does not name fields; expected FIELD[,FIELD...], at most %d, each of 1 to %d "
                                "bytes",
                                text, CLI_KEY_PARTS_MAX, CLI_KEY_FIELD_SIZE - 1);
        memcpy(ret_rule->fields[ret_rule->count++], at, size);
        at = at[size] ? at + size + 1 : NULL;
    }
    return 0;
}

static int32_t append_field(const hf_value *document, const char *field, hf_buffer *key, hf_error *error)
{
    const hf_value *value = hf_value_get(document, field);

    if (value && value->type == HF_VALUE_STRING && value->count > 0)
        return hf_buffer_append(key, value->as.text, value->count);
    if (value && value->type == HF_VALUE_INTEGER && value->as.integer >= 0)
        return hf_buffer_append_format(key, "%06" PRId64, value->as.integer);
    if (!value)
        return hf_error_set(error, HF_EINVAL, "'%s' is missing, which the key needs", field);
    return hf_error_set(error, HF_EINVAL,
                        "'%s' is %s; the key needs a text that is not empty, or a whole number from 0", field,
                        value->type == HF_VALUE_STRING ? "empty" : hf_value_type_name(value->type));
}

static int32_t append_fields(const cli_key_rule *rule, hf_slice line, hf_buffer *key, hf_error *error)
{
    hf_arena arena;
    hf_value document = hf_value_null();
    int32_t result;

    hf_arena_init(&arena, DOCUMENT_MAXIMUM);
    result = hf_json_parse(line, &arena, &document, error);
    for (uint32_t i = 0; i < rule->count && result == 0; i++) {
        if (i)
            result = hf_buffer_append(key, "/", 1);
        if (result == 0)
            result = append_field(&document, rule->fields[i], key, error);
    }
    hf_arena_done(&arena);
    return result;
}

int32_t cli_key_make(const cli_key_rule *rule, hf_slice line, uint64_t number, hf_buffer *key, hf_error *error)
{
    int32_t result;

    hf_buffer_clear(key);
    if (rule->count)
        result = append_fields(rule, line, key, error);
    else if ((result = hf_json_check(line, error)) == 0)
        result = hf_buffer_append_format(key, "%s%09" PRIu64, rule->line_prefix, number);
    if (result == HF_ETOOLARGE || (result == 0 && key->size > CLI_KEY_MAX))
        return hf_error_set(error, HF_ETOOLARGE, "the key is too long; expected at most %d bytes", CLI_KEY_MAX);
    return result == HF_ENOMEM ? hf_error_set(error, result, "no memory for the key") : result;
}

void cli_idempotency_key(const char *file, uint64_t number, hf_slice key, hf_slice line,
                         char text[CLI_IDEMPOTENCY_SIZE])
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    uint64_t place = hf_hash64(number, name, strlen(name));

    snprintf(text, CLI_IDEMPOTENCY_SIZE, "load-%016" PRIx64 "%016" PRIx64, hf_hash64(place, key.data, key.size),
             hf_hash64(place + 1, line.data, line.size));
}
