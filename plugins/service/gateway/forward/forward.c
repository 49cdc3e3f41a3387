#include "forward/forward.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <string.h>

enum {
    CONNECTION_OPTIONS_MAX = 32,
    ROOM = 1024 /* bytes, taken at a time beside what is needed just then */
};

/* What becomes of a field. */
enum {
    PASSES,     /* as it is */
    CONNECTION, /* names others that concern the connection only */
    FRAMING,    /* is written anew */
    OF_THE_HOP, /* concerns the connection only */
    UPGRADE,
    /* In requests only: */
    TE,
    EXPECT,
    HOST,
    FORWARDED, /* what a proxy says of its client */
    FORWARDED_FOR,
    FORWARDED_PROTO,
    FORWARDED_HOST,
    TRACE_PARENT,
    TRACE_STATE,
    TRACE_RESPONSE
};

#define KNOWN(name, fate)                                                                                              \
    {                                                                                                                  \
        (name), sizeof(name) - 1, (fate)                                                                               \
    }

static const struct {
    const char *name;
    uint32_t size;
    int32_t fate;
} known[] = {
    /* by size */
    KNOWN("te", TE),
    KNOWN("host", HOST),
    KNOWN("expect", EXPECT),
    KNOWN("upgrade", UPGRADE),
    KNOWN("forwarded", FORWARDED),
    KNOWN("tracestate", TRACE_STATE),
    KNOWN("keep-alive", OF_THE_HOP),
    KNOWN("connection", CONNECTION),
    KNOWN("traceparent", TRACE_PARENT),
    KNOWN("traceresponse", TRACE_RESPONSE),
    KNOWN("content-length", FRAMING),
    KNOWN("http2-settings", OF_THE_HOP),
    KNOWN("x-forwarded-for", FORWARDED_FOR),
    KNOWN("proxy-connection", OF_THE_HOP),
    KNOWN("x-forwarded-host", FORWARDED_HOST),
    KNOWN("transfer-encoding", FRAMING),
    KNOWN("x-forwarded-proto", FORWARDED_PROTO),
};

/* Inline, so that the size of a constant is one. */
static inline hf_slice slice_of(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

static inline int is(hf_slice name, const char *text)
{
    return hf_http1_same(name, slice_of(text));
}

/* ---- The fields of a head -------------------------------------------------------------------------------------- */

/* One head on its way. */
struct passage {
    const struct gateway_forward *how;
    const hf_http1_head *head;
    hf_slice bytes;
    hf_buffer *to;
    uint8_t *at, *end; /* of the room in `to` */
    int32_t code;      /* of the first append that failed */
    uint32_t fates;    /* bits of those that some field has */
    uint8_t fate[HF_HTTP1_HEADERS_MAX];
};

/* Room for so many bytes more, and some; 0: there is none. */
static int make_room(struct passage *passage, uint64_t size)
{
    hf_buffer *to = passage->to;

    if (passage->code != HF_OK)
        return 0;
    if (passage->at)
        to->size = (uint64_t)(passage->at - to->data);
    passage->code = hf_buffer_reserve(to, size + ROOM <= to->maximum - to->size ? size + ROOM : size);
    if (passage->code != HF_OK)
        return 0;
    passage->at = to->data + to->size;
    passage->end = to->data + to->capacity;
    return 1;
}

static inline void put(struct passage *passage, hf_slice bytes)
{
    if ((uint64_t)(passage->end - passage->at) < bytes.size && !make_room(passage, bytes.size))
        return;
    if (bytes.size)
        memcpy(passage->at, bytes.data, bytes.size);
    passage->at += bytes.size;
}

static inline void put_text(struct passage *passage, const char *text)
{
    put(passage, slice_of(text));
}

static inline void put_field(struct passage *passage, const char *name, hf_slice value)
{
    put_text(passage, name);
    put_text(passage, ": ");
    put(passage, value);
    put_text(passage, "\r\n");
}

static void put_number(struct passage *passage, uint64_t number)
{
    uint8_t digits[20];
    uint32_t count = 0;

    do
        digits[sizeof digits - ++count] = (uint8_t)('0' + number % 10);
    while (number /= 10);
    put(passage, (hf_slice){digits + sizeof digits - count, count});
}

static void put_length(struct passage *passage, uint64_t length)
{
    put_text(passage, "Content-Length: ");
    put_number(passage, length);
    put_text(passage, "\r\n");
}

static int has(const struct passage *passage, int32_t fate)
{
    return passage->fates >> fate & 1;
}

/* The first field with that fate; NULL data: there is none. */
static hf_slice value_of(const struct passage *passage, int32_t fate)
{
    for (uint32_t i = 0; has(passage, fate) && i < passage->head->header_count; i++)
        if (passage->fate[i] == fate)
            return passage->head->headers[i].value;
    return (hf_slice){NULL, 0};
}

/* Whether a list in fields with that fate has the element. */
static int any_list_has(const struct passage *passage, int32_t fate, const char *element)
{
    for (uint32_t i = 0; has(passage, fate) && i < passage->head->header_count; i++)
        if (passage->fate[i] == fate && hf_http1_list_has(passage->head->headers[i].value, element))
            return 1;
    return 0;
}

static int32_t fate_of_name(hf_slice name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known && known[i].size <= name.size; i++)
        if (known[i].size == name.size && hf_http1_same(name, (hf_slice){(const uint8_t *)known[i].name, name.size}))
            return known[i].fate;
    return PASSES;
}

static int is_edited(const struct gateway_forward *how, hf_slice name)
{
    for (uint32_t i = 0; i < how->edit_count; i++)
        if (hf_http1_same(how->edits[i].name, name))
            return 1;
    return 0;
}

static void strike(struct passage *passage, hf_slice name)
{
    for (uint32_t i = 0; i < passage->head->header_count; i++)
        if (passage->fate[i] == PASSES && hf_http1_same(passage->head->headers[i].name, name))
            passage->fate[i] = OF_THE_HOP;
}

/* Strikes the fields that a Connection field names.  Their number is bounded, since each is looked for among all. */
static int32_t strike_named(struct passage *passage, hf_slice names, uint32_t *count, hf_error *error)
{
    hf_slice name;

    while (hf_http1_list_next(&names, &name)) {
        if (++*count > CONNECTION_OPTIONS_MAX)
            return hf_error_set(error, HF_EINVAL, "more than %d options of the connection", CONNECTION_OPTIONS_MAX);
        if (!is(name, "close") && !is(name, "keep-alive"))
            strike(passage, name);
    }
    return HF_OK;
}

/* Whether fields with that fate are like others in this message. */
static int is_like_others(const struct passage *passage, int32_t fate, int is_request)
{
    if (!is_request)
        return fate > UPGRADE && (fate != TRACE_RESPONSE || !passage->how->trace.data);
    return fate == TRACE_RESPONSE || (fate == TRACE_PARENT && !passage->how->trace.data) ||
           (fate == TRACE_STATE && (!passage->how->trace.data || passage->how->keeps_state));
}

/* Whether it would be one of the known names if it were written with "-" in place of "_": servers that make variables
 * of fields take it for that one. */
static int is_lookalike(hf_slice name)
{
    char text[24]; /* the known ones are shorter */

    if (name.size >= sizeof text || !memchr(name.data, '_', name.size))
        return 0;
    for (uint64_t i = 0; i < name.size; i++)
        text[i] = name.data[i] == '_' ? '-' : (char)name.data[i];
    return fate_of_name((hf_slice){(const uint8_t *)text, name.size}) != PASSES;
}

static int32_t begin(struct passage *passage, int is_request, hf_error *error)
{
    const hf_http1_head *head = passage->head;
    uint32_t count = 0;
    int32_t code = HF_OK;

    for (uint32_t i = 0; i < head->header_count; i++) {
        int32_t fate = fate_of_name(head->headers[i].name);

        if (fate == PASSES && is_request && is_lookalike(head->headers[i].name))
            fate = OF_THE_HOP;
        passage->fate[i] = (uint8_t)(is_like_others(passage, fate, is_request) ? PASSES : fate);
        passage->fates |= 1u << passage->fate[i];
    }
    for (uint32_t i = 0; i < passage->how->edit_count; i++)
        strike(passage, passage->how->edits[i].name);
    for (uint32_t i = 0; code == HF_OK && i < head->header_count; i++)
        if (passage->fate[i] == CONNECTION)
            code = strike_named(passage, head->headers[i].value, &count, error);
    return code;
}

/* Fields that pass, in as few pieces as they are apart. */
static void put_passing(struct passage *passage)
{
    const hf_http1_head *head = passage->head;
    const uint8_t *from = NULL, *end = passage->bytes.data + passage->bytes.size - 2;

    for (uint32_t i = 0; i < head->header_count; i++) {
        if (passage->fate[i] == PASSES && !from)
            from = head->headers[i].name.data;
        if (passage->fate[i] != PASSES && from) {
            put(passage, (hf_slice){from, (uint64_t)(head->headers[i].name.data - from)});
            from = NULL;
        }
    }
    if (from)
        put(passage, (hf_slice){from, (uint64_t)(end - from)});
}

static void put_edits(struct passage *passage)
{
    for (uint32_t i = 0; i < passage->how->edit_count; i++) {
        const struct gateway_edit *edit = &passage->how->edits[i];

        if (!edit->value.data)
            continue;
        put(passage, edit->name);
        put_text(passage, ": ");
        put(passage, edit->value);
        put_text(passage, "\r\n");
    }
}

/* Unless a route has it otherwise. */
static void put_trace(struct passage *passage, const char *name)
{
    if (passage->how->trace.data && !is_edited(passage->how, hf_slice_of(name)))
        put_field(passage, name, passage->how->trace);
}

static int32_t finish(struct passage *passage, uint64_t size_before, hf_error *error)
{
    put_text(passage, "\r\n");
    if (passage->code == HF_OK) {
        passage->to->size = (uint64_t)(passage->at - passage->to->data);
        return HF_OK;
    }
    passage->to->size = size_before;
    return hf_error_set(error, passage->code,
                        passage->code == HF_ETOOLARGE ? "the head and what is added to it take more than %llu bytes"
                                                      : "no memory for a head of up to %llu bytes",
                        (unsigned long long)passage->to->maximum);
}

/* ---- Requests -------------------------------------------------------------------------------------------------- */

/* RFC 3986, 3.2.2 and 3.2.3, without the comma: a list is no host. */
static int is_host(hf_slice host)
{
    for (uint64_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr("-._~!$&'()*+;=:[]%", c)))
            return 0;
    }
    return 1;
}

/* A client may write the whole URI (RFC 9112, 3.2.2), whose authority is the host then; 0: it is no such URI. */
static int read_uri(hf_slice uri, hf_slice *ret_target, hf_slice *ret_host)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (int i = 0; i < 2; i++) {
        uint64_t size = strlen(schemes[i]), end = size;

        if (uri.size <= size || !is((hf_slice){uri.data, size}, schemes[i]))
            continue;
        while (end < uri.size && uri.data[end] != '/' && uri.data[end] != '?')
            end++;
        *ret_host = (hf_slice){uri.data + size, end - size};
        *ret_target = (hf_slice){uri.data + end, uri.size - end};
        return ret_host->size > 0;
    }
    return 0;
}

static int32_t read_target(const struct passage *passage, hf_slice *ret_target, hf_slice *ret_host, hf_error *error)
{
    hf_slice target = passage->head->target;

    *ret_host = value_of(passage, HOST);
    *ret_target = target;
    if (memchr(target.data, '#', target.size)) /* where the path ends is then a matter of opinion */
        return hf_error_set(error, HF_EINVAL, "the target of the request has a fragment ('#')");
    if (target.data[0] != '/' && !(hf_slice_is(target, "*") && hf_slice_is(passage->head->method, "OPTIONS")) &&
        !read_uri(target, ret_target, ret_host))
        return hf_error_set(error, HF_EINVAL, "the target of the request is neither a path nor an http URI");
    if (!is_host(*ret_host))
        return hf_error_set(error, HF_EINVAL, "the host of the request has characters that no host has");
    return HF_OK;
}

static void put_request_line(struct passage *passage, hf_slice target)
{
    put(passage, passage->head->method);
    put_text(passage, " ");
    if (!target.size)
        put_text(passage, hf_slice_is(passage->head->method, "OPTIONS") ? "*" : "/");
    else if (target.data[0] == '?')
        put_text(passage, "/");
    put(passage, target);
    put_text(passage, " HTTP/1.1\r\n");
}

static int may_upgrade(const struct passage *passage)
{
    return passage->how->upgrades && has(passage, UPGRADE) && any_list_has(passage, CONNECTION, "upgrade") &&
           !any_list_has(passage, UPGRADE, "h2c");
}

static void put_connection(struct passage *passage)
{
    int trailers = any_list_has(passage, TE, "trailers");

    if (may_upgrade(passage)) {
        put_text(passage, "Connection: upgrade\r\n");
        put_field(passage, "Upgrade", value_of(passage, UPGRADE));
    } else if (trailers) {
        put_text(passage, "Connection: TE\r\nTE: trailers\r\n");
    }
}

/* Begins a field with all that the client's has; our own value and the end of the line are to come.  0: a route has it
 * otherwise, nothing is to come. */
static int begin_appended(struct passage *passage, const char *name, int32_t fate)
{
    if (is_edited(passage->how, slice_of(name)))
        return 0;
    put_text(passage, name);
    put_text(passage, ": ");
    for (uint32_t i = 0; passage->how->is_proxy && has(passage, fate) && i < passage->head->header_count; i++)
        if (passage->fate[i] == fate && passage->head->headers[i].value.size) {
            put(passage, passage->head->headers[i].value);
            put_text(passage, ", ");
        }
    return 1;
}

/* What the proxy before us says, or else what we see. */
static void put_kept(struct passage *passage, const char *name, int32_t fate, hf_slice own)
{
    hf_slice said = value_of(passage, fate);

    if (!is_edited(passage->how, slice_of(name)))
        put_field(passage, name, passage->how->is_proxy && said.size ? said : own);
}

/* RFC 7239; IPv6 addresses and hosts with a port are no tokens, and so in quotes, which neither has itself. */
static void put_forwarded(struct passage *passage, hf_slice host)
{
    hf_slice client = passage->how->client;
    int is_ipv6 = client.size && memchr(client.data, ':', client.size) != NULL;

    if (!begin_appended(passage, "Forwarded", FORWARDED))
        return;
    put_text(passage, is_ipv6 ? "for=\"[" : "for=");
    put(passage, client);
    put_text(passage, is_ipv6 ? "]\"" : "");
    put_text(passage, passage->how->is_tls ? ";proto=https" : ";proto=http");
    if (host.size) {
        put_text(passage, ";host=\"");
        put(passage, host);
        put_text(passage, "\"");
    }
    put_text(passage, "\r\n");
}

static void put_client(struct passage *passage, hf_slice host)
{
    if (begin_appended(passage, "X-Forwarded-For", FORWARDED_FOR)) {
        put(passage, passage->how->client);
        put_text(passage, "\r\n");
    }
    put_kept(passage, "X-Forwarded-Proto", FORWARDED_PROTO, slice_of(passage->how->is_tls ? "https" : "http"));
    if (host.size)
        put_kept(passage, "X-Forwarded-Host", FORWARDED_HOST, host);
    put_forwarded(passage, host);
}

int32_t gateway_forward_request(const struct gateway_forward *how, hf_slice bytes, const hf_http1_head *head,
                                hf_buffer *to, hf_error *error)
{
    struct passage passage = {.how = how, .head = head, .bytes = bytes, .to = to};
    hf_slice target, host;
    uint64_t before = to->size;

    int32_t code = begin(&passage, 1, error);

    if (code == HF_OK)
        code = read_target(&passage, &target, &host, error);
    if (code != HF_OK)
        return code;
    put_request_line(&passage, how->target.data ? how->target : target);
    put_field(&passage, "Host", how->host.data ? how->host : host);
    put_passing(&passage);
    put_client(&passage, host);
    put_trace(&passage, "traceparent");
    put_edits(&passage);
    put_connection(&passage);
    if (head->body == HF_HTTP1_BODY_CHUNKED)
        put_text(&passage, "Transfer-Encoding: chunked\r\n");
    else if (hf_http1_header_find(head, "content-length").data)
        put_length(&passage, head->content_length);
    return finish(&passage, before, error);
}

int32_t gateway_forward_look(const hf_http1_head *head, hf_error *error)
{
    static const struct gateway_forward nothing;
    struct passage passage = {.how = &nothing, .head = head};
    hf_slice target, host;
    int32_t code = begin(&passage, 1, error);

    return code == HF_OK ? read_target(&passage, &target, &host, error) : code;
}

/* ---- Responses ------------------------------------------------------------------------------------------------- */

static int32_t body_for(const struct gateway_forward *how, const hf_http1_head *head)
{
    int32_t is_unbounded = head->body == HF_HTTP1_BODY_CHUNKED || head->body == HF_HTTP1_BODY_UNTIL_CLOSE;

    if (!is_unbounded && (!how->is_encoded || head->body == HF_HTTP1_BODY_NONE))
        return head->body;
    return how->minor == 0 ? HF_HTTP1_BODY_UNTIL_CLOSE : HF_HTTP1_BODY_CHUNKED;
}

/* The length of a body that is there, or would be for another method, or would have been without a condition. */
static int tells_length(const struct gateway_forward *how, const hf_http1_head *head)
{
    if (how->is_encoded || head->status < 200 || head->status == 204)
        return 0;
    return (head->body == HF_HTTP1_BODY_LENGTH || head->body == HF_HTTP1_BODY_NONE) &&
           hf_http1_header_find(head, "content-length").data != NULL;
}

static void put_connection_to_client(struct passage *passage, int32_t body)
{
    const struct gateway_forward *how = passage->how;
    uint32_t status = passage->head->status;
    int upgrade = has(passage, UPGRADE) && (status == 101 || status == 426);
    int close = status >= 200 && (!how->keep_alive || body == HF_HTTP1_BODY_UNTIL_CLOSE);

    if (upgrade)
        put_field(passage, "Upgrade", value_of(passage, UPGRADE));
    if (upgrade)
        put_text(passage, close ? "Connection: upgrade, close\r\n" : "Connection: upgrade\r\n");
    else if (close)
        put_text(passage, "Connection: close\r\n");
    else if (status >= 200 && how->minor == 0)
        put_text(passage, "Connection: keep-alive\r\n");
}

int32_t gateway_forward_response(const struct gateway_forward *how, hf_slice bytes, const hf_http1_head *head,
                                 hf_buffer *to, int32_t *ret_body, hf_error *error)
{
    struct passage passage = {.how = how, .head = head, .bytes = bytes, .to = to};
    uint64_t before = to->size;
    int32_t code = begin(&passage, 0, error);

    if (code != HF_OK)
        return code;
    put_text(&passage, "HTTP/1.1 ");
    put_number(&passage, head->status);
    put_text(&passage, " ");
    put(&passage, head->reason);
    put_text(&passage, "\r\n");
    put_passing(&passage);
    put_trace(&passage, "traceresponse");
    put_edits(&passage);
    *ret_body = body_for(how, head);
    put_connection_to_client(&passage, *ret_body);
    if (*ret_body == HF_HTTP1_BODY_CHUNKED)
        put_text(&passage, "Transfer-Encoding: chunked\r\n");
    else if (tells_length(how, head))
        put_length(&passage, head->content_length);
    return finish(&passage, before, error);
}

static int add_field(hf_http1_header *fields, uint32_t maximum, uint32_t *count, hf_slice name, hf_slice value)
{
    if (*count == maximum)
        return 0;
    fields[(*count)++] = (hf_http1_header){.name = name, .value = value};
    return 1;
}

int32_t gateway_forward_fields(const struct gateway_forward *how, const hf_http1_head *head, hf_http1_header *fields,
                               uint32_t maximum, uint32_t *ret_count, int32_t *ret_body, int32_t *ret_length,
                               hf_error *error)
{
    struct passage passage = {.how = how, .head = head};
    uint32_t count = 0;
    int has_room = 1;
    int32_t code = begin(&passage, 0, error);

    for (uint32_t i = 0; code == HF_OK && has_room && i < head->header_count; i++)
        if (passage.fate[i] == PASSES)
            has_room = add_field(fields, maximum, &count, head->headers[i].name, head->headers[i].value);
    if (code == HF_OK && has_room && how->trace.data && !is_edited(how, hf_slice_of("traceresponse")))
        has_room = add_field(fields, maximum, &count, hf_slice_of("traceresponse"), how->trace);
    for (uint32_t i = 0; code == HF_OK && has_room && i < how->edit_count; i++)
        if (how->edits[i].value.data)
            has_room = add_field(fields, maximum, &count, how->edits[i].name, how->edits[i].value);
    if (!has_room)
        return hf_error_set(error, HF_ETOOLARGE, "more than %u header fields", maximum);
    *ret_count = count;
    *ret_body = body_for(how, head);
    *ret_length = tells_length(how, head);
    return code;
}

/* ---- Trailers -------------------------------------------------------------------------------------------------- */

static int may_be_trailer(hf_slice name)
{
    static const char *const too_late[] = {
        "authorization", "cache-control",   "content-encoding",    "content-range",
        "content-type",  "cookie",          "max-forwards",        "pragma",
        "range",         "set-cookie",      "proxy-authorization", "proxy-authenticate",
        "trailer",       "www-authenticate"};

    for (size_t i = 0; i < sizeof too_late / sizeof *too_late; i++)
        if (is(name, too_late[i]))
            return 0;
    return fate_of_name(name) == PASSES;
}

int32_t gateway_forward_trailers(const struct gateway_edit *edits, uint32_t edit_count, hf_buffer *lines,
                                 hf_error *error)
{
    struct gateway_forward how = {.edits = edits, .edit_count = edit_count};
    hf_http1_head head;
    uint64_t to = 0;
    int32_t code = hf_http1_parse_trailers((hf_slice){lines->data, lines->size}, &head, error);

    for (uint32_t i = 0; code == HF_OK && i < head.header_count; i++) {
        const uint8_t *from = head.headers[i].name.data;
        const uint8_t *end = i + 1 < head.header_count ? head.headers[i + 1].name.data : lines->data + lines->size;

        if (!may_be_trailer(head.headers[i].name) || is_edited(&how, head.headers[i].name))
            continue;
        memmove(lines->data + to, from, (size_t)(end - from));
        to += (uint64_t)(end - from);
    }
    if (code == HF_OK)
        lines->size = to;
    return code;
}

int32_t gateway_forward_may_edit(hf_slice name)
{
    int32_t fate = fate_of_name(name);

    return fate == PASSES || fate >= FORWARDED;
}
