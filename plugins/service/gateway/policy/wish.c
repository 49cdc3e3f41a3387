/* What a policy wants, read from the table that it has returned. */
#include "policy/policy.h"

#include <holdfast/lib/error.h>

#include <stdio.h>
#include <string.h>

enum { FIELDS_MAX = 32, FIELD_SIZE_MAX = 8192 };

/* Bits: what a wish may name. */
enum {
    UPSTREAM = 1,
    ROUTE = 2,
    STATUS = 4,
    BODY = 8,
    TYPE = 16,
    REDIRECT = 32,
    REQUEST_FIELDS = 64,
    RESPONSE_FIELDS = 128,
    FIELDS = 256,
    RETRY = 512
};

static const uint32_t allowed[GATEWAY_POINTS] = {
    [GATEWAY_POINT_ROUTE] = UPSTREAM | ROUTE | STATUS | BODY | TYPE | REDIRECT | REQUEST_FIELDS | RESPONSE_FIELDS,
    [GATEWAY_POINT_RESPONSE] = STATUS | BODY | TYPE | FIELDS | RETRY,
    [GATEWAY_POINT_ERROR] = UPSTREAM | STATUS | BODY | TYPE | FIELDS,
};

static const struct {
    const char *name;
    uint32_t bit;
    int32_t type;
} words[] = {{"upstream", UPSTREAM, HF_VALUE_STRING},
             {"route", ROUTE, HF_VALUE_STRING},
             {"status", STATUS, HF_VALUE_INTEGER},
             {"body", BODY, HF_VALUE_STRING},
             {"type", TYPE, HF_VALUE_STRING},
             {"redirect", REDIRECT, HF_VALUE_STRING},
             {"request_fields", REQUEST_FIELDS, HF_VALUE_MAP},
             {"response_fields", RESPONSE_FIELDS, HF_VALUE_MAP},
             {"fields", FIELDS, HF_VALUE_MAP},
             {"retry", RETRY, HF_VALUE_BOOLEAN}};

enum { WORDS = sizeof words / sizeof *words };

static int32_t refuse_name(hf_slice name, hf_error *error)
{
    return hf_error_set(error, HF_EINVAL, "'%.*s' means nothing in this answer", (int)(name.size < 64 ? name.size : 64),
                        (const char *)name.data);
}

static int32_t find_word(uint32_t mask, hf_slice name, uint32_t *ret_word, hf_error *error)
{
    for (uint32_t i = 0; i < WORDS; i++)
        if (words[i].bit & mask && hf_slice_is(name, words[i].name)) {
            *ret_word = i;
            return HF_OK;
        }
    return refuse_name(name, error);
}

/* Values by word; NULL: not there. */
static int32_t sort_members(int32_t point, const hf_value *result, const hf_value **values, uint32_t *ret_given,
                            hf_error *error)
{
    for (uint64_t i = 0; i < result->count; i++) {
        const hf_value_member *member = &result->as.members[i];
        uint32_t word = 0;
        int32_t code = find_word(allowed[point], member->name, &word, error);

        if (code != HF_OK)
            return code;
        /* an empty table is a list as well as a map */
        if (member->value.type != words[word].type &&
            !(words[word].type == HF_VALUE_MAP && member->value.type == HF_VALUE_LIST && member->value.count == 0))
            return hf_error_set(error, HF_EINVAL, "'%s' is %s; expected %s", words[word].name,
                                hf_value_type_name(member->value.type), hf_value_type_name(words[word].type));
        values[word] = &member->value;
        *ret_given |= words[word].bit;
    }
    return HF_OK;
}

static const hf_value *value_of(const hf_value *const *values, uint32_t bit)
{
    for (uint32_t i = 0; i < WORDS; i++)
        if (words[i].bit == bit)
            return values[i];
    return NULL;
}

static hf_slice text_of(const hf_value *const *values, uint32_t bit)
{
    return hf_value_slice(value_of(values, bit));
}

/* Nothing that would end a line of a head. */
static int is_plain(hf_slice text)
{
    for (uint64_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return 0;
    return 1;
}

static int32_t find_upstream(const struct gateway_plan *plan, hf_slice name, struct gateway_wish *wish, hf_error *error)
{
    wish->what = GATEWAY_WISH_FORWARD;
    for (wish->upstream = 0; wish->upstream < plan->upstream_count; wish->upstream++)
        if (hf_slice_is(name, plan->upstreams[wish->upstream].upstream->name))
            return HF_OK;
    return hf_error_set(error, HF_EINVAL, "there is no upstream '%.*s'", (int)(name.size < 64 ? name.size : 64),
                        (const char *)name.data);
}

static int32_t find_route(const struct gateway_plan *plan, hf_slice name, struct gateway_wish *wish, hf_error *error)
{
    wish->what = GATEWAY_WISH_ROUTE;
    for (wish->route = 0; wish->route < plan->route_count; wish->route++)
        if (hf_slice_equal(name, plan->routes[wish->route].name))
            return HF_OK;
    return hf_error_set(error, HF_EINVAL, "there is no route '%.*s'", (int)(name.size < 64 ? name.size : 64),
                        (const char *)name.data);
}

static int32_t read_answer(const hf_value *const *values, uint32_t given, struct gateway_wish *wish, hf_error *error)
{
    const hf_value *status = value_of(values, STATUS);

    wish->what = GATEWAY_WISH_ANSWER;
    wish->body = text_of(values, BODY);
    wish->type = given & TYPE ? text_of(values, TYPE) : hf_slice_of("text/plain; charset=utf-8");
    wish->location = text_of(values, REDIRECT);
    if (wish->body.size == 0 && !(given & TYPE))
        wish->type = (hf_slice){NULL, 0};
    if (!is_plain(wish->type) || !is_plain(wish->location) || wish->type.size > FIELD_SIZE_MAX ||
        wish->location.size > FIELD_SIZE_MAX)
        return hf_error_set(error, HF_EINVAL, "'type' or 'redirect' has a control character, or is too long");
    int64_t number = status ? status->as.integer : 0, least = given & REDIRECT ? 301 : 200;
    if (status && (number < least || number > (given & REDIRECT ? 308 : 599)))
        return hf_error_set(error, HF_EINVAL, "the status %lld is none of an answer like this", (long long)number);
    wish->status = status ? (uint32_t)number : given & REDIRECT ? 302 : 0;
    return HF_OK;
}

/* One thing at a time: an upstream, a route, an answer, a redirect, another try. */
static int32_t check_single(uint32_t given, hf_error *error)
{
    uint32_t answers = (given & (STATUS | BODY | TYPE)) != 0 && !(given & REDIRECT);
    uint32_t wishes = !!(given & UPSTREAM) + !!(given & ROUTE) + !!(given & REDIRECT) + !!(given & RETRY) + answers;

    if (wishes > 1 || (given & REDIRECT && given & (BODY | TYPE)))
        return hf_error_set(error, HF_EINVAL,
                            "it wants more than one of upstream, route, redirect, retry, and an answer of its own");
    return HF_OK;
}

int32_t gateway_wish_read(int32_t point, const hf_value *result, const struct gateway_plan *plan,
                          struct gateway_wish *ret_wish, hf_error *error)
{
    const hf_value *values[WORDS] = {NULL};
    uint32_t given = 0;
    int32_t code = sort_members(point, result, values, &given, error);

    *ret_wish = (struct gateway_wish){.what = GATEWAY_WISH_NONE};
    if (code == HF_OK)
        code = check_single(given, error);
    if (code != HF_OK)
        return code;
    ret_wish->request_fields = value_of(values, REQUEST_FIELDS);
    ret_wish->response_fields = value_of(values, given & FIELDS ? FIELDS : RESPONSE_FIELDS);
    if (given & UPSTREAM)
        return find_upstream(plan, text_of(values, UPSTREAM), ret_wish, error);
    if (given & ROUTE)
        return find_route(plan, text_of(values, ROUTE), ret_wish, error);
    if (given & RETRY && value_of(values, RETRY)->boolean)
        ret_wish->what = GATEWAY_WISH_RETRY;
    if (given & (STATUS | BODY | TYPE | REDIRECT))
        return read_answer(values, given, ret_wish, error);
    return HF_OK;
}

/* ---- Fields ------------------------------------------------------------------------------------------------------ */

/* "Name: value", as in the configuration; NULL: no memory, or no field. */
static char *line_of(const hf_value_member *member, hf_arena *arena)
{
    const hf_value *value = &member->value;
    char number[32] = "";
    hf_slice text = {(const uint8_t *)number, 0};

    if (value->type == HF_VALUE_STRING)
        text = hf_value_slice(value);
    else if (value->type == HF_VALUE_INTEGER)
        text.size = (uint64_t)snprintf(number, sizeof number, "%lld", (long long)value->as.integer);
    else if (value->type == HF_VALUE_FLOAT)
        text.size = (uint64_t)snprintf(number, sizeof number, "%.14g", value->as.number);
    else if (value->type != HF_VALUE_BOOLEAN || value->boolean)
        return NULL;
    if (member->name.size + text.size > FIELD_SIZE_MAX || !is_plain(member->name) || !is_plain(text))
        return NULL;
    char *line = hf_arena_alloc(arena, member->name.size + text.size + 3);
    if (!line)
        return NULL;
    memcpy(line, member->name.data, member->name.size);
    memcpy(line + member->name.size, ": ", 2);
    memcpy(line + member->name.size + 2, text.data, text.size);
    return line;
}

static int32_t add(const hf_value_member *member, hf_arena *arena, struct gateway_edit *edits, uint32_t *count,
                   hf_error *error)
{
    const char *line = line_of(member, arena);
    struct gateway_edit edit;

    if (!line)
        return hf_error_set(error, HF_EINVAL,
                            "'%.*s' is set to what no field can have; expected text, a number or false",
                            (int)(member->name.size < 64 ? member->name.size : 64), (const char *)member->name.data);
    int32_t code = gateway_edit_parse(line, &edit, error);
    if (code != HF_OK)
        return code;
    for (uint32_t i = 0; i < *count; i++)
        if (hf_http1_same(edits[i].name, edit.name)) {
            edits[i] = edit;
            return HF_OK;
        }
    edits[(*count)++] = edit;
    return HF_OK;
}

int32_t gateway_wish_edit(const hf_value *fields, hf_arena *arena, const struct gateway_edit **edits, uint32_t *count,
                          hf_error *error)
{
    uint64_t more = fields ? fields->count : 0;
    uint32_t all = *count;
    int32_t code = HF_OK;

    if (more == 0)
        return HF_OK;
    if (more > FIELDS_MAX)
        return hf_error_set(error, HF_EINVAL, "it sets %llu fields; expected at most %d", (unsigned long long)more,
                            FIELDS_MAX);
    struct gateway_edit *list = hf_arena_alloc(arena, (*count + more) * sizeof *list);
    if (!list)
        return hf_error_set(error, HF_ENOMEM, "no memory for the fields");
    if (*count)
        memcpy(list, *edits, *count * sizeof *list);
    for (uint64_t i = 0; i < more && code == HF_OK; i++)
        code = add(&fields->as.members[i], arena, list, &all, error);
    if (code != HF_OK)
        return code;
    *edits = list;
    *count = all;
    return HF_OK;
}
