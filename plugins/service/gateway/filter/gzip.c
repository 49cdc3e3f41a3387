#include "filter/gzip.h"

#include "filter/accept.h"

#include <holdfast/lib/value.h>

#include <string.h>

enum { OWN_EDITS_MAX = 8 };

/* ---- Fields of the answer as the client gets it ------------------------------------------------------------------ */

static int is_edited(const struct gateway_gzip_answer *answer, hf_slice name)
{
    for (uint32_t i = 0; i < answer->edit_count; i++)
        if (hf_http1_same(answer->edits[i].name, name))
            return 1;
    return 0;
}

/* The next value of a field; 0: there is no more.  `at` begins with 0. */
static int next_value(const struct gateway_gzip_answer *answer, const char *name, uint32_t *at, hf_slice *ret_value)
{
    hf_slice wanted = hf_slice_of(name);

    if (is_edited(answer, wanted)) {
        while (*at < answer->edit_count) {
            const struct gateway_edit *edit = &answer->edits[(*at)++];

            *ret_value = edit->value;
            if (edit->value.data && hf_http1_same(edit->name, wanted))
                return 1;
        }
        return 0;
    }
    while (*at < answer->head->header_count) {
        const hf_http1_header *header = &answer->head->headers[(*at)++];

        *ret_value = header->value;
        if (hf_http1_same(header->name, wanted))
            return 1;
    }
    return 0;
}

static int has_field(const struct gateway_gzip_answer *answer, const char *name)
{
    uint32_t at = 0;
    hf_slice value;

    return next_value(answer, name, &at, &value);
}

static int lists(const struct gateway_gzip_answer *answer, const char *name, const char *element)
{
    uint32_t at = 0;
    hf_slice value;

    while (next_value(answer, name, &at, &value))
        if (hf_http1_list_has(value, element))
            return 1;
    return 0;
}

/* ---- Whether ----------------------------------------------------------------------------------------------------- */

static hf_slice media_type(hf_slice value)
{
    uint64_t size = 0;

    while (size < value.size && value.data[size] != ';' && value.data[size] != ' ' && value.data[size] != '\t')
        size++;
    return (hf_slice){value.data, size};
}

static int is_of(hf_slice type, hf_slice wanted)
{
    uint64_t before = wanted.size - 1; /* the star */

    if (wanted.data[before] != '*')
        return hf_http1_same(type, wanted);
    return type.size > before && hf_http1_same((hf_slice){type.data, before}, (hf_slice){wanted.data, before});
}

static int has_type(const struct gateway_gzip *gzip, const struct gateway_gzip_answer *answer)
{
    uint32_t at = 0;
    hf_slice value;

    if (!next_value(answer, "content-type", &at, &value))
        return 0;
    for (uint32_t i = 0; i < gzip->type_count; i++)
        if (is_of(media_type(value), gzip->types[i]))
            return 1;
    return 0;
}

/* An answer to HEAD says what the one to GET would say. */
static int is_long_enough(const struct gateway_gzip *gzip, const hf_http1_head *head)
{
    int tells = head->body == HF_HTTP1_BODY_LENGTH ||
                (head->body == HF_HTTP1_BODY_NONE && hf_http1_header_find(head, "content-length").data);

    return !tells || head->content_length >= gzip->minimum;
}

static int has_content(const hf_http1_head *request, const hf_http1_head *head)
{
    return head->status >= 200 && head->status < 300 && head->status != 204 && head->status != 205 &&
           head->status != 206 && (head->body != HF_HTTP1_BODY_NONE || hf_slice_is(request->method, "HEAD"));
}

static int takes_gzip(const hf_http1_head *request)
{
    struct gateway_accept accept;

    gateway_accept_init(&accept);
    for (uint32_t i = 0; i < request->header_count; i++)
        if (hf_http1_same(request->headers[i].name, hf_slice_of("accept-encoding")))
            gateway_accept_add(&accept, request->headers[i].value);
    return gateway_accept_has_gzip(&accept);
}

int32_t gateway_gzip_decide(const struct gateway_gzip *gzip, const hf_http1_head *request,
                            const struct gateway_gzip_answer *answer)
{
    if (!gzip->level || !has_content(request, answer->head) || !is_long_enough(gzip, answer->head) ||
        !has_type(gzip, answer) || has_field(answer, "content-encoding") || has_field(answer, "content-range") ||
        lists(answer, "cache-control", "no-transform"))
        return GATEWAY_GZIP_NONE;
    return takes_gzip(request) ? GATEWAY_GZIP_DOES : GATEWAY_GZIP_VARIES;
}

/* ---- What its head says then ------------------------------------------------------------------------------------- */

/* All that the answer varies by, and the encoding.  NULL data: no memory. */
static hf_slice make_vary(const struct gateway_gzip_answer *answer, hf_arena *arena)
{
    static const char own[] = "Accept-Encoding";
    uint64_t size = sizeof own;
    uint32_t at = 0;
    hf_slice value;

    while (next_value(answer, "vary", &at, &value))
        size += value.size + 2;
    uint8_t *text = hf_arena_alloc(arena, size), *to = text;
    if (!text)
        return (hf_slice){NULL, 0};
    for (at = 0; next_value(answer, "vary", &at, &value);) {
        if (value.size == 0)
            continue;
        memcpy(to, value.data, value.size);
        memcpy(to + value.size, ", ", 2);
        to += value.size + 2;
    }
    memcpy(to, own, sizeof own - 1);
    return (hf_slice){text, (uint64_t)(to - text) + sizeof own - 1};
}

/* The bytes are others than those of the server: the answer is only equal in meaning.  NULL data: no memory. */
static hf_slice make_weak(hf_slice tag, hf_arena *arena)
{
    uint8_t *text = hf_arena_alloc(arena, tag.size + 2);

    if (!text)
        return (hf_slice){NULL, 0};
    memcpy(text, "W/", 2);
    memcpy(text + 2, tag.data, tag.size);
    return (hf_slice){text, tag.size + 2};
}

/* Sets the field; in place of an edit of that name. */
static void put(struct gateway_edit *edits, uint32_t *count, const char *name, hf_slice value)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *count; i++)
        if (!hf_http1_same(edits[i].name, hf_slice_of(name)))
            edits[kept++] = edits[i];
    edits[kept] = (struct gateway_edit){.name = hf_slice_of(name), .value = value};
    *count = kept + 1;
}

static int32_t put_vary(const struct gateway_gzip_answer *answer, hf_arena *arena, struct gateway_edit *edits,
                        uint32_t *count)
{
    hf_slice vary = {NULL, 0};

    if (lists(answer, "vary", "accept-encoding") || lists(answer, "vary", "*"))
        return HF_OK;
    vary = make_vary(answer, arena);
    if (!vary.data)
        return HF_ENOMEM;
    put(edits, count, "Vary", vary);
    return HF_OK;
}

static int32_t put_encoded(const struct gateway_gzip_answer *answer, hf_arena *arena, struct gateway_edit *edits,
                           uint32_t *count)
{
    /* Of the bytes as the server has sent them. */
    static const char *const untrue[] = {"Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"};
    uint32_t at = 0;
    hf_slice tag;

    put(edits, count, "Content-Encoding", hf_slice_of("gzip"));
    for (size_t i = 0; i < sizeof untrue / sizeof *untrue; i++)
        if (has_field(answer, untrue[i]))
            put(edits, count, untrue[i], (hf_slice){NULL, 0});
    if (!next_value(answer, "etag", &at, &tag) || hf_slice_begins(tag, hf_slice_of("W/")))
        return HF_OK;
    tag = make_weak(tag, arena);
    if (!tag.data)
        return HF_ENOMEM;
    put(edits, count, "ETag", tag);
    return HF_OK;
}

int32_t gateway_gzip_edit(int32_t decision, struct gateway_gzip_answer *answer, hf_arena *arena)
{
    struct gateway_edit *edits;
    uint32_t count = answer->edit_count;

    if (decision == GATEWAY_GZIP_NONE)
        return HF_OK;
    edits = hf_arena_alloc(arena, (count + OWN_EDITS_MAX) * sizeof *edits);
    if (!edits)
        return HF_ENOMEM;
    if (count)
        memcpy(edits, answer->edits, count * sizeof *edits);
    int32_t code = put_vary(answer, arena, edits, &count);
    if (code == HF_OK && decision == GATEWAY_GZIP_DOES)
        code = put_encoded(answer, arena, edits, &count);
    if (code != HF_OK)
        return code;
    answer->edits = edits;
    answer->edit_count = count;
    return HF_OK;
}

static int is_name(hf_slice name)
{
    for (uint64_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr("!#$&-^_.+", c)))
            return 0;
    }
    return name.size > 0;
}

int32_t gateway_gzip_is_type(hf_slice type)
{
    const uint8_t *slash = type.size ? memchr(type.data, '/', type.size) : NULL;

    if (!slash)
        return 0;
    hf_slice kind = {type.data, (uint64_t)(slash - type.data)}, rest = {slash + 1, type.size - kind.size - 1};
    return is_name(kind) && (hf_slice_is(rest, "*") || is_name(rest));
}
