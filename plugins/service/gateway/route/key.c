#include "route/key.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/json.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_SIZE = 128, NUMBER_SIZE = 24 };

/* A number is the text that it would be: 7 and "7" are the same user. */
static hf_slice text_of_number(const hf_value *value, hf_arena *arena)
{
    char *text = value && value->type == HF_VALUE_INTEGER ? hf_arena_alloc(arena, NUMBER_SIZE) : NULL;

    if (!text)
        return (hf_slice){NULL, 0};
    snprintf(text, NUMBER_SIZE, "%lld", (long long)value->as.integer);
    return hf_slice_of(text);
}

static hf_slice member_of(hf_slice body, hf_slice name, hf_arena *arena)
{
    char text[NAME_MAX_SIZE];
    hf_slice string = {NULL, 0};
    hf_value value;

    if (!body.size || name.size >= sizeof text)
        return string;
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    if (hf_json_find_string(body, text, arena, &string) == HF_OK)
        return string;
    if (hf_json_parse(body, arena, &value, NULL) != HF_OK)
        return (hf_slice){NULL, 0};
    return text_of_number(hf_value_get(&value, text), arena);
}

hf_slice gateway_key_value(const struct gateway_key *key, const struct gateway_request *request, hf_slice body,
                           hf_arena *arena)
{
    switch (key->of) {
    case GATEWAY_KEY_CLIENT:
        return request->client;
    case GATEWAY_KEY_FIELD:
        return gateway_request_field(request, key->name);
    case GATEWAY_KEY_COOKIE:
        return gateway_request_cookie(request, key->name);
    case GATEWAY_KEY_PATH:
        return request->path;
    case GATEWAY_KEY_ARGUMENT:
        return gateway_request_argument(request, key->name, arena);
    case GATEWAY_KEY_POLICY:
        return (hf_slice){NULL, 0};
    default:
        return member_of(body, key->name, arena);
    }
}

int32_t gateway_key_hash(const struct gateway_key *key, const struct gateway_request *request, hf_slice body,
                         hf_arena *arena, uint64_t *ret_hash)
{
    hf_slice value = gateway_key_value(key, request, body, arena);

    if (!value.size)
        return 0;
    *ret_hash = hf_hash64(0, value.data, value.size);
    return 1;
}

int32_t gateway_key_parse(const char *text, struct gateway_key *ret_key, hf_error *error)
{
    static const struct {
        const char *word;
        int32_t of;
        int32_t named;
    } kinds[] = {{"client", GATEWAY_KEY_CLIENT, 0}, {"path", GATEWAY_KEY_PATH, 0},
                 {"field", GATEWAY_KEY_FIELD, 1},   {"cookie", GATEWAY_KEY_COOKIE, 1},
                 {"body", GATEWAY_KEY_BODY, 1},     {"argument", GATEWAY_KEY_ARGUMENT, 1},
                 {"policy", GATEWAY_KEY_POLICY, 0}};
    size_t size = strcspn(text, " ");
    const char *name = text + size + strspn(text + size, " ");

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].word) == size && strncmp(kinds[i].word, text, size) == 0 &&
            (name[0] != '\0') == kinds[i].named && !strchr(name, ' ')) {
            *ret_key = (struct gateway_key){.of = kinds[i].of, .name = hf_slice_of(name)};
            return HF_OK;
        }
    return hf_error_set(
        error, HF_EINVAL,
        "'%s' is no key; expected client, path, field NAME, cookie NAME, argument NAME, body NAME or policy", text);
}
