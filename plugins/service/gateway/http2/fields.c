/* Heads between HTTP/2 and the form of HTTP/1.1, in which all that judges requests reads them. */
#include "http2/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

static hf_slice slice_of(nghttp2_rcbuf *bytes)
{
    nghttp2_vec vec = bytes ? nghttp2_rcbuf_get_buf(bytes) : (nghttp2_vec){NULL, 0};

    return (hf_slice){vec.base, vec.len};
}

static void put(hf_buffer *to, hf_slice bytes, int32_t *code)
{
    if (*code == HF_OK)
        *code = hf_buffer_append(to, bytes.data, bytes.size);
}

static void put_text(hf_buffer *to, const char *text, int32_t *code)
{
    put(to, hf_slice_of(text), code);
}

/* ---- Heads that come -------------------------------------------------------------------------------------------- */

void gateway_http2_head_done(struct gateway_http2_head *head)
{
    nghttp2_rcbuf *const kept[] = {head->method, head->scheme, head->authority, head->path, head->status};

    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i])
            nghttp2_rcbuf_decref(kept[i]);
    hf_buffer_done(&head->cookies);
    *head = (struct gateway_http2_head){0};
}

/* Nothing that ends a line, or a part of the first one. */
static int is_one_word(hf_slice bytes)
{
    for (uint64_t i = 0; i < bytes.size; i++)
        if (bytes.data[i] <= ' ' || bytes.data[i] == 0x7f)
            return 0;
    return 1;
}

static int is_one_line(hf_slice bytes)
{
    for (uint64_t i = 0; i < bytes.size; i++)
        if ((bytes.data[i] < ' ' && bytes.data[i] != '\t') || bytes.data[i] == 0x7f)
            return 0;
    return 1;
}

static void put_request_line(struct gateway_http2_head *head, hf_buffer *text, int32_t *code)
{
    hf_slice method = slice_of(head->method), authority = slice_of(head->authority);
    hf_slice path = head->path ? slice_of(head->path) : authority; /* of CONNECT */

    head->is_wrong |= !is_one_word(method) || !is_one_word(authority) || !is_one_word(path) ||
                      (head->path && (path.size == 0 || (path.data[0] != '/' && !hf_slice_is(path, "*"))));
    put(text, method, code);
    put_text(text, " ", code);
    put(text, path, code);
    put_text(text, " HTTP/1.1\r\n", code);
    if (authority.size) {
        put_text(text, "Host: ", code);
        put(text, authority, code);
        put_text(text, "\r\n", code);
    }
}

/* 0: it is none. */
static uint32_t status_of(const struct gateway_http2_head *head)
{
    hf_slice text = slice_of(head->status);
    uint32_t status = 0;

    for (uint64_t i = 0; i < text.size; i++) {
        if (text.size != 3 || text.data[i] < '0' || text.data[i] > '9')
            return 0;
        status = status * 10 + (text.data[i] - '0');
    }
    return status;
}

static void put_status_line(struct gateway_http2_head *head, hf_buffer *text, int32_t *code)
{
    uint32_t status = status_of(head);

    head->is_wrong |= status == 0;
    put_text(text, "HTTP/1.1 ", code);
    put(text, slice_of(head->status), code);
    put_text(text, " ", code);
    put_text(text, hf_http1_reason(status), code); /* HTTP/2 has none */
    put_text(text, "\r\n", code);
}

int32_t gateway_http2_head_begin(struct gateway_http2_head *head, hf_buffer *text)
{
    int32_t code = HF_OK;

    if (head->has_begun)
        return HF_OK;
    head->has_begun = 1;
    if (head->status)
        put_status_line(head, text, &code);
    else
        put_request_line(head, text, &code);
    return code;
}

int32_t gateway_http2_head_is_silent(const struct gateway_http2_head *head)
{
    uint32_t status = status_of(head);

    return status < 200 || status == 204 || status == 304;
}

static int keep_pseudo(struct gateway_http2_head *head, hf_slice name, nghttp2_rcbuf *value)
{
    const struct {
        const char *name;
        nghttp2_rcbuf **to;
    } known[] = {{":method", &head->method},
                 {":scheme", &head->scheme},
                 {":authority", &head->authority},
                 {":path", &head->path},
                 {":status", &head->status}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (hf_slice_is(name, known[i].name) && !*known[i].to) {
            nghttp2_rcbuf_incref(value);
            *known[i].to = value;
            return 1;
        }
    return 0;
}

static int32_t add_cookie(struct gateway_http2_head *head, hf_slice value)
{
    int32_t code = HF_OK;

    if (!head->cookies.maximum)
        hf_buffer_init(&head->cookies, UINT64_MAX); /* bounded with the whole head */
    if (head->cookies.size)
        put_text(&head->cookies, "; ", &code);
    put(&head->cookies, value, &code);
    return code;
}

static int32_t put_field(hf_buffer *text, hf_slice name, hf_slice value)
{
    int32_t code = HF_OK;

    put(text, name, &code);
    put_text(text, ": ", &code);
    put(text, value, &code);
    put_text(text, "\r\n", &code);
    return code;
}

int32_t gateway_http2_head_add(struct gateway_http2_head *head, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                               uint64_t maximum, hf_buffer *text)
{
    hf_slice field = slice_of(name), content = slice_of(value);
    int32_t code = HF_OK;

    if (head->is_too_large)
        return HF_OK;
    if (text->size + head->cookies.size + field.size + content.size > maximum) {
        head->is_too_large = 1;
        return HF_OK;
    }
    if (field.size && field.data[0] == ':') {
        head->is_wrong |= !keep_pseudo(head, field, value);
        return HF_OK;
    }
    code = gateway_http2_head_begin(head, text);
    head->is_wrong |= !is_one_line(content);
    head->has_length |= hf_slice_is(field, "content-length");
    if (code != HF_OK)
        return code;
    if (hf_slice_is(field, "cookie") && !head->status)
        return add_cookie(head, content);
    if (hf_slice_is(field, "host") && slice_of(head->authority).size) { /* the same said twice, or a trick */
        head->is_wrong |= !hf_http1_same(content, slice_of(head->authority));
        return HF_OK;
    }
    return put_field(text, field, content);
}

int32_t gateway_http2_head_end(struct gateway_http2_head *head, int32_t has_body, uint64_t maximum, hf_buffer *text)
{
    int32_t code = gateway_http2_head_begin(head, text);

    if (code == HF_OK && head->cookies.size)
        code = put_field(text, hf_slice_of("cookie"), (hf_slice){head->cookies.data, head->cookies.size});
    if (has_body && !head->has_length)
        put_text(text, "transfer-encoding: chunked\r\n", &code);
    put_text(text, "\r\n", &code);
    head->is_too_large |= text->size > maximum;
    return code;
}

int32_t gateway_http2_trailer_add(nghttp2_rcbuf *name, nghttp2_rcbuf *value, hf_buffer *lines)
{
    hf_slice field = slice_of(name), content = slice_of(value);

    return is_one_line(content) ? put_field(lines, field, content) : HF_EINVAL;
}

/* ---- Heads that go ---------------------------------------------------------------------------------------------- */

static nghttp2_nv field_of(hf_slice name, hf_slice value)
{
    /* Names come out in small letters: nghttp2 copies them so. */
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.data,
                        .namelen = (size_t)name.size,
                        .value = (uint8_t *)(uintptr_t)value.data,
                        .valuelen = (size_t)value.size};
}

int64_t gateway_http2_response(const struct gateway_forward *how, const hf_http1_head *head, char *text,
                               nghttp2_nv *fields, int32_t *ret_body, hf_error *error)
{
    hf_http1_header passing[GATEWAY_HTTP2_FIELDS_MAX - 2];
    uint32_t count = 0;
    int32_t tells_length = 0;
    int32_t code = gateway_forward_fields(how, head, passing, GATEWAY_HTTP2_FIELDS_MAX - 2, &count, ret_body,
                                          &tells_length, error);
    char *length = text + 4;

    if (code != HF_OK)
        return code;
    snprintf(text, 4, "%03u", head->status % 1000);
    fields[0] = field_of(hf_slice_of(":status"), (hf_slice){(const uint8_t *)text, 3});
    for (uint32_t i = 0; i < count; i++)
        fields[i + 1] = field_of(passing[i].name, passing[i].value);
    if (!tells_length)
        return count + 1;
    snprintf(length, 24, "%llu", (unsigned long long)head->content_length);
    fields[count + 1] = field_of(hf_slice_of("content-length"), hf_slice_of(length));
    return count + 2;
}

/* Takes a line off the front of a head of our own, without its end. */
static hf_slice take_line(hf_slice *head)
{
    const uint8_t *end = memchr(head->data, '\r', head->size);
    hf_slice line = {head->data, end ? (uint64_t)(end - head->data) : head->size};
    uint64_t taken = line.size + 2 < head->size ? line.size + 2 : head->size;

    *head = (hf_slice){head->data + taken, head->size - taken};
    return line;
}

/* What is said otherwise in HTTP/2, or concerns the connection. */
static int is_of_http1(hf_slice name)
{
    static const char *const names[] = {"host", "connection", "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (hf_http1_same(name, hf_slice_of(names[i])))
            return 1;
    return 0;
}

static uint32_t count_lines(hf_slice head)
{
    uint32_t count = 0;

    for (uint64_t i = 0; i < head.size; i++)
        count += head.data[i] == '\n';
    return count;
}

uint32_t gateway_http2_request(hf_slice head, int32_t is_tls, hf_arena *arena, nghttp2_nv **ret_fields)
{
    nghttp2_nv *fields = hf_arena_alloc(arena, (count_lines(head) + 4) * sizeof *fields);
    hf_slice line = take_line(&head), host = {NULL, 0};
    const uint8_t *space = memchr(line.data, ' ', line.size);
    uint32_t count = 4;

    if (!fields || !space)
        return 0;
    hf_slice method = {line.data, (uint64_t)(space - line.data)};
    hf_slice target = {space + 1, line.size - method.size - sizeof " HTTP/1.1"};
    for (line = take_line(&head); line.size; line = take_line(&head)) {
        const uint8_t *colon = memchr(line.data, ':', line.size);
        hf_slice name = {line.data, colon ? (uint64_t)(colon - line.data) : line.size};
        uint64_t skipped = name.size < line.size ? name.size + 1 : name.size;

        while (skipped < line.size && (line.data[skipped] == ' ' || line.data[skipped] == '\t'))
            skipped++;
        hf_slice value = {line.data + skipped, line.size - skipped};
        if (hf_http1_same(name, hf_slice_of("host")))
            host = value;
        if (!is_of_http1(name))
            fields[count++] = field_of(name, value);
    }
    fields[0] = field_of(hf_slice_of(":method"), method);
    fields[1] = field_of(hf_slice_of(":scheme"), hf_slice_of(is_tls ? "https" : "http"));
    fields[2] = field_of(hf_slice_of(":path"), target);
    fields[3] = field_of(hf_slice_of(":authority"), host);
    if (host.size == 0) /* of an old client */
        memmove(&fields[3], &fields[4], (count-- - 4) * sizeof *fields);
    *ret_fields = fields;
    return count;
}

uint32_t gateway_http2_trailers(hf_slice lines, nghttp2_nv *fields)
{
    hf_http1_head head;

    if (hf_http1_parse_trailers(lines, &head, NULL) != HF_OK)
        return 0; /* it is what gateway_forward_trailers has left, and so right */
    for (uint32_t i = 0; i < head.header_count; i++)
        fields[i] = field_of(head.headers[i].name, head.headers[i].value);
    return head.header_count;
}
