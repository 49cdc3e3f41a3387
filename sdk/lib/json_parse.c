/* JSON to values; see lib/json.h.
 *
 * One pass, one call per level.  The items of the lists and the members of the objects that are still open lie on one
 * stack, the innermost on top; when one closes, its items are copied to the arena and the stack is cut.  Checking is
 * the same walk without an arena: nothing is decoded, stacked or copied, so the two cannot disagree. */
#include <holdfast/lib/json.h>

#include <stdlib.h>
#include <string.h>

#include <holdfast/lib/error.h>

#include "json_scan.h"

enum {
    ITEMS_FIRST = 32,  /* on the C stack; enough for most documents */
    PAIRWISE_MAX = 16, /* objects up to this size are searched for duplicate names pair by pair */
    NAME_SHOWN_MAX = 60
};

typedef struct item {
    hf_value_member member; /* a list's item has no name */
    const uint8_t *at;      /* where the name stands in the text */
} item;

typedef struct parser {
    hf_json_scanner scanner;
    hf_arena *arena; /* NULL: check only */
    uint32_t depth;
    uint64_t count;
    uint64_t capacity;
    item *items;
    item first[ITEMS_FIRST];
} parser;

static int32_t parse_value(parser *p, hf_value *ret_value);

static void parser_init(parser *p, hf_slice text, hf_arena *arena, hf_error *error)
{
    const uint8_t *begin = text.size ? text.data : (const uint8_t *)"";

    p->scanner = (hf_json_scanner){.begin = begin, .at = begin, .end = begin + text.size, .error = error};
    p->arena = arena;
    p->depth = 0;
    p->count = 0;
    p->capacity = ITEMS_FIRST;
    p->items = p->first;
}

static void parser_done(parser *p)
{
    if (p->items != p->first)
        free(p->items);
}

static int32_t arena_full(parser *p)
{
    return hf_error_set(p->scanner.error, HF_ENOMEM,
                        "byte %llu: no memory for the values; expected them to fit the arena's %llu bytes",
                        (unsigned long long)(p->scanner.at - p->scanner.begin), (unsigned long long)p->arena->maximum);
}

/* ---- The stack ----------------------------------------------------------------------------------------------- */

static int32_t grow(parser *p)
{
    /* Everything stacked is yet to be copied to the arena, whose maximum is therefore the stack's limit too. */
    if (p->capacity > p->arena->maximum / sizeof(hf_value))
        return arena_full(p);

    item *items = malloc(p->capacity * 2 * sizeof *items);

    if (!items)
        return arena_full(p);
    memcpy(items, p->items, p->count * sizeof *items);
    parser_done(p);
    p->items = items;
    p->capacity *= 2;
    return HF_OK;
}

static int32_t push(parser *p, const item *new_item)
{
    int32_t r = HF_OK;

    if (!p->arena)
        return HF_OK;
    if (p->count == p->capacity)
        r = grow(p);
    if (r >= 0)
        p->items[p->count++] = *new_item;
    return r;
}

static int32_t close_list(parser *p, uint64_t base, hf_value *ret_value)
{
    uint64_t count = p->count - base;
    hf_value *items = count ? hf_arena_alloc(p->arena, count * sizeof *items) : NULL;

    if (count && !items)
        return arena_full(p);
    for (uint64_t i = 0; i < count; i++)
        items[i] = p->items[base + i].member.value;
    p->count = base;
    *ret_value = hf_value_list(items, count);
    return HF_OK;
}

static int32_t close_object(parser *p, uint64_t base, hf_value *ret_value)
{
    uint64_t count = p->count - base;
    hf_value_member *members = count ? hf_arena_alloc(p->arena, count * sizeof *members) : NULL;

    if (count && !members)
        return arena_full(p);
    for (uint64_t i = 0; i < count; i++)
        members[i] = p->items[base + i].member;
    p->count = base;
    *ret_value = hf_value_map(members, count);
    return HF_OK;
}

/* ---- Duplicate names ----------------------------------------------------------------------------------------- */

static int compare_names(hf_slice a, hf_slice b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size ? memcmp(a.data, b.data, a.size) : 0;
}

static int compare_items(const void *left, const void *right)
{
    const item *a = *(const item *const *)left, *b = *(const item *const *)right;
    int order = compare_names(a->member.name, b->member.name);

    return order ? order : a->at < b->at ? -1 : 1;
}

static int32_t duplicate(parser *p, const item *second)
{
    hf_slice name = second->member.name;
    int shown = (int)(name.size < NAME_SHOWN_MAX ? name.size : NAME_SHOWN_MAX);

    /* The byte after a string in the arena may be read; cut before a whole character. */
    while ((name.data[shown] & 0xc0) == 0x80)
        shown--;
    return hf_error_set(p->scanner.error, HF_EINVAL,
                        "byte %llu: a second member is called \"%.*s\"; expected each name once in an object",
                        (unsigned long long)(second->at - p->scanner.begin), shown, (const char *)name.data);
}

/* Sorting keeps a hostile object of n names at O(n log n). */
static int32_t check_names_sorted(parser *p, const item *items, uint64_t count)
{
    const item **sorted = malloc(count * sizeof *sorted), *found = NULL;

    if (!sorted)
        return arena_full(p);
    for (uint64_t i = 0; i < count; i++)
        sorted[i] = &items[i];
    qsort(sorted, count, sizeof *sorted, compare_items);
    for (uint64_t i = 1; i < count; i++)
        if (compare_names(sorted[i - 1]->member.name, sorted[i]->member.name) == 0 &&
            (!found || sorted[i]->at < found->at))
            found = sorted[i];
    free(sorted);
    return found ? duplicate(p, found) : HF_OK;
}

static int32_t check_names(parser *p, uint64_t base)
{
    const item *items = p->items + base;
    uint64_t count = p->count - base;

    if (count > PAIRWISE_MAX)
        return check_names_sorted(p, items, count);
    for (uint64_t i = 1; i < count; i++)
        for (uint64_t j = 0; j < i; j++)
            if (hf_slice_equal(items[i].member.name, items[j].member.name))
                return duplicate(p, &items[i]);
    return HF_OK;
}

/* ---- The walk ------------------------------------------------------------------------------------------------ */

static int32_t decode(parser *p, const hf_json_token *token, hf_slice *ret_text)
{
    /* A decoded string is never longer than its source; the zero byte after it helps whoever hands it on to C. */
    uint8_t *text = hf_arena_alloc(p->arena, token->raw.size + 1);

    if (!text)
        return arena_full(p);
    *ret_text = (hf_slice){text, hf_json_token_decode(token, text)};
    return HF_OK;
}

static int32_t parse_string(parser *p, hf_slice *ret_text)
{
    hf_json_token token = {0};
    int32_t r = hf_json_scan_string(&p->scanner, &token);

    if (r < 0 || !p->arena)
        return r;
    return decode(p, &token, ret_text);
}

/* Moves past the bracket that opens a list or an object. */
static int32_t enter(parser *p)
{
    _Static_assert(HF_JSON_DEPTH_MAX == 64, "the message names the limit");
    if (p->depth == HF_JSON_DEPTH_MAX)
        return hf_json_malformed(&p->scanner, p->scanner.at, "the values are nested too deeply", "at most 64 levels");
    p->depth++;
    p->scanner.at++;
    hf_json_scan_space(&p->scanner);
    return HF_OK;
}

/* Moves past the bracket that closes one, if it is next. */
static int32_t leave(parser *p, uint8_t bracket)
{
    hf_json_scan_space(&p->scanner);
    if (!hf_json_scan_is(&p->scanner, bracket))
        return 0;
    p->scanner.at++;
    p->depth--;
    return 1;
}

static int32_t next_item(parser *p, const char *expected)
{
    if (!hf_json_scan_is(&p->scanner, ','))
        return hf_json_unexpected(&p->scanner, p->scanner.at, expected);
    p->scanner.at++;
    hf_json_scan_space(&p->scanner);
    return HF_OK;
}

static int32_t parse_list(parser *p, hf_value *ret_value)
{
    uint64_t base = p->count;
    int32_t r = enter(p), closed = r >= 0 && leave(p, ']');

    while (r >= 0 && !closed) {
        item i = {0};

        r = parse_value(p, &i.member.value);
        if (r >= 0)
            r = push(p, &i);
        closed = r >= 0 && leave(p, ']');
        if (r >= 0 && !closed)
            r = next_item(p, "',' or ']'");
    }
    return r < 0 || !p->arena ? r : close_list(p, base, ret_value);
}

/* Moves past the colon, to the value. */
static int32_t scan_colon(hf_json_scanner *scanner)
{
    hf_json_scan_space(scanner);
    if (!hf_json_scan_is(scanner, ':'))
        return hf_json_unexpected(scanner, scanner->at, "':' after the name");
    scanner->at++;
    hf_json_scan_space(scanner);
    return HF_OK;
}

static int32_t parse_member(parser *p)
{
    item i = {.at = p->scanner.at};
    int32_t r;

    if (!hf_json_scan_is(&p->scanner, '"'))
        return hf_json_unexpected(&p->scanner, p->scanner.at, "a name in double quotes");
    r = parse_string(p, &i.member.name);
    if (r >= 0)
        r = scan_colon(&p->scanner);
    if (r >= 0)
        r = parse_value(p, &i.member.value);
    return r < 0 ? r : push(p, &i);
}

static int32_t parse_object(parser *p, hf_value *ret_value)
{
    uint64_t base = p->count;
    int32_t r = enter(p), closed = r >= 0 && leave(p, '}');

    while (r >= 0 && !closed) {
        r = parse_member(p);
        closed = r >= 0 && leave(p, '}');
        if (r >= 0 && !closed)
            r = next_item(p, "',' or '}'");
    }
    if (r < 0 || !p->arena)
        return r;
    r = check_names(p, base);
    return r < 0 ? r : close_object(p, base, ret_value);
}

static int32_t parse_value(parser *p, hf_value *ret_value)
{
    hf_slice text = {NULL, 0};

    if (p->scanner.at == p->scanner.end)
        return hf_json_unexpected(&p->scanner, p->scanner.at, "a value");

    uint8_t byte = *p->scanner.at;

    if (byte == '"') {
        int32_t r = parse_string(p, &text);

        *ret_value = hf_value_string(text);
        return r;
    }
    if (byte == '{')
        return parse_object(p, ret_value);
    if (byte == '[')
        return parse_list(p, ret_value);
    if (byte == '-' || (byte >= '0' && byte <= '9'))
        return hf_json_scan_number(&p->scanner, ret_value);
    return hf_json_scan_literal(&p->scanner, ret_value);
}

static int32_t expect_end(parser *p)
{
    hf_json_scan_space(&p->scanner);
    if (p->scanner.at < p->scanner.end)
        return hf_json_unexpected(&p->scanner, p->scanner.at, "nothing after the value");
    return HF_OK;
}

static int32_t parse_document(hf_slice text, hf_arena *arena, hf_value *ret_value, hf_error *error)
{
    parser p;
    int32_t r;

    parser_init(&p, text, arena, error);
    hf_json_scan_space(&p.scanner);
    r = parse_value(&p, ret_value);
    if (r >= 0)
        r = expect_end(&p);
    parser_done(&p);
    return r;
}

int32_t hf_json_parse(hf_slice text, hf_arena *arena, hf_value *ret_value, hf_error *error)
{
    hf_value value = hf_value_null();
    int32_t r = parse_document(text, arena, &value, error);

    if (r >= 0)
        *ret_value = value;
    return r;
}

int32_t hf_json_check(hf_slice text, hf_error *error)
{
    hf_value value = hf_value_null();

    return parse_document(text, NULL, &value, error);
}

/* ---- Finding one member -------------------------------------------------------------------------------------- */

static int32_t decode_found(parser *p, hf_arena *arena, hf_slice *ret_string)
{
    hf_json_token token = {0};
    int32_t r;

    if (!hf_json_scan_is(&p->scanner, '"')) {
        hf_value ignored = hf_value_null();

        r = parse_value(p, &ignored);
        return r < 0 ? r : HF_ENOTFOUND;
    }
    r = hf_json_scan_string(&p->scanner, &token);
    if (r < 0)
        return r;
    p->arena = arena;
    return decode(p, &token, ret_string);
}

/* Reads a member; HF_OK when it is the one wanted, 1 when the search goes on. */
static int32_t find_in_member(parser *p, hf_slice name, hf_arena *arena, hf_slice *ret_string)
{
    hf_json_token token = {0};
    hf_value ignored = hf_value_null();
    int32_t r;

    if (!hf_json_scan_is(&p->scanner, '"'))
        return HF_EINVAL;
    r = hf_json_scan_string(&p->scanner, &token);
    if (r >= 0)
        r = scan_colon(&p->scanner);
    if (r < 0)
        return r;
    if (hf_json_token_is(&token, name))
        return decode_found(p, arena, ret_string);
    r = parse_value(p, &ignored);
    return r < 0 ? r : 1;
}

int32_t hf_json_find_string(hf_slice text, const char *name, hf_arena *arena, hf_slice *ret_string)
{
    hf_slice wanted = hf_slice_of(name);
    parser p;
    int32_t r, closed;

    parser_init(&p, text, NULL, NULL);
    hf_json_scan_space(&p.scanner);
    if (!hf_json_scan_is(&p.scanner, '{')) {
        r = hf_json_check(text, NULL);
        return r < 0 ? r : HF_ENOTFOUND;
    }
    r = enter(&p);
    closed = leave(&p, '}');
    while (r >= 0 && !closed) {
        r = find_in_member(&p, wanted, arena, ret_string);
        if (r <= 0)
            return r;
        closed = leave(&p, '}');
        if (!closed)
            r = next_item(&p, "',' or '}'");
    }
    if (r >= 0)
        r = expect_end(&p);
    return r < 0 ? r : HF_ENOTFOUND;
}
