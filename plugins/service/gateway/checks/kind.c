#include "checks/kind.h"

#include <holdfast/lib/http1.h>
#include <holdfast/lib/value.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gateway_check_ill(struct gateway_check_verdict *verdict, const char *format, ...)
{
    va_list arguments;

    verdict->state = GATEWAY_CHECK_ILL;
    va_start(arguments, format);
    vsnprintf(verdict->why, sizeof verdict->why, format, arguments);
    va_end(arguments);
    for (char *at = verdict->why; *at; at++)
        if ((uint8_t)*at < 0x20 || (uint8_t)*at >= 0x7f) /* some of it may be the server's own words */
            *at = '?';
}

static void well(struct gateway_check_verdict *verdict)
{
    verdict->state = GATEWAY_CHECK_WELL;
    verdict->why[0] = '\0';
}

/* ---- tcp: it takes the connection -------------------------------------------------------------------------------- */

static void connected_look(const struct gateway_check_options *check, hf_slice bytes, int32_t ended,
                           struct gateway_check_verdict *verdict)
{
    (void)check;
    (void)bytes;
    (void)ended;
    well(verdict);
}

/* ---- http: its answer has the right status, and a text ----------------------------------------------------------- */

static int32_t http_begin(const struct gateway_check_options *check, const char *address, hf_buffer *out)
{
    const char *host = check->host[0] ? check->host : strncmp(address, "unix:", 5) == 0 ? "localhost" : address;

    return hf_buffer_append_format(out,
                                   "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast-check\r\nAccept: */*\r\n"
                                   "Connection: close\r\n\r\n",
                                   check->path, host);
}

/* The final head: its size; 0: it is not all there; negative: it is no HTTP. */
static int64_t read_head(hf_slice bytes, hf_http1_head *head)
{
    uint64_t skipped = 0;

    for (;;) {
        hf_slice rest = {bytes.data + skipped, bytes.size - skipped};
        int64_t size = hf_http1_parse_response(rest, hf_slice_of("GET"), head, NULL);

        if (size <= 0)
            return size;
        if (head->status >= 200 || head->status == 101)
            return (int64_t)skipped + size;
        skipped += (uint64_t)size;
    }
}

/* Takes the frames of chunks away: the size of the content; *ret_ended: that was all of it.  -1: it is malformed. */
static int64_t join_chunks(hf_slice bytes, uint8_t *content, uint64_t capacity, int *ret_ended)
{
    hf_http1_chunked chunked = {0};
    uint64_t size = 0;

    for (;;) {
        uint64_t taken = 0;
        hf_slice data = {NULL, 0};
        int32_t result = hf_http1_chunked_next(&chunked, bytes, &taken, &data, NULL);

        if (result < 0)
            return -1;
        uint64_t part = data.size < capacity - size ? data.size : capacity - size;
        if (part)
            memcpy(content + size, data.data, part);
        size += part;
        bytes = (hf_slice){bytes.data + taken, bytes.size - taken};
        *ret_ended = result == 1;
        if (result == 1 || bytes.size == 0)
            return (int64_t)size;
    }
}

static void look_for_text(const struct gateway_check_options *check, const hf_http1_head *head, hf_slice body,
                          int32_t ended, struct gateway_check_verdict *verdict)
{
    uint8_t content[GATEWAY_CHECK_BODY_MAX];
    int whole = ended || head->body == HF_HTTP1_BODY_NONE;

    if (head->body == HF_HTTP1_BODY_CHUNKED) {
        int chunks_ended = 0;
        int64_t size = join_chunks(body, content, sizeof content, &chunks_ended);

        if (size < 0) {
            gateway_check_ill(verdict, "its answer is no HTTP");
            return;
        }
        whole |= chunks_ended;
        body = (hf_slice){content, (uint64_t)size};
    } else if (head->body == HF_HTTP1_BODY_LENGTH && body.size >= head->content_length) {
        whole = 1;
        body.size = head->content_length;
    }
    if (body.size >= GATEWAY_CHECK_BODY_MAX) {
        body.size = GATEWAY_CHECK_BODY_MAX;
        whole = 1;
    }
    if (body.size && memmem(body.data, body.size, check->body, strlen(check->body)))
        well(verdict);
    else if (whole)
        gateway_check_ill(verdict, "its answer lacks the text");
}

static void http_look(const struct gateway_check_options *check, hf_slice bytes, int32_t ended,
                      struct gateway_check_verdict *verdict)
{
    hf_http1_head head;
    int64_t size = bytes.size ? read_head(bytes, &head) : 0;

    if (size < 0) {
        gateway_check_ill(verdict, "its answer is no HTTP");
    } else if (size == 0) {
        if (bytes.size >= GATEWAY_CHECK_HEAD_MAX)
            gateway_check_ill(verdict, "the head of its answer is too long");
        else if (ended)
            gateway_check_ill(verdict, "it closed the connection without an answer");
    } else if (head.status < (uint64_t)check->status_least || head.status > (uint64_t)check->status_most) {
        gateway_check_ill(verdict, "status %u", (unsigned)head.status);
    } else if (!check->body[0]) {
        well(verdict);
    } else {
        look_for_text(check, &head, (hf_slice){bytes.data + size, bytes.size - (uint64_t)size}, ended, verdict);
    }
}

/* ---- redis_master: it says that it is the master ----------------------------------------------------------------- */

static int32_t redis_begin(const struct gateway_check_options *check, const char *address, hf_buffer *out)
{
    static const char command[] = "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";

    (void)check;
    (void)address;
    return hf_buffer_append(out, command, sizeof command - 1);
}

/* The role in the lines of INFO. */
static void read_role(hf_slice text, struct gateway_check_verdict *verdict)
{
    const uint8_t *role = text.size ? memmem(text.data, text.size, "role:", 5) : NULL;

    if (!role || (role != text.data && role[-1] != '\n')) {
        gateway_check_ill(verdict, "it does not say its role");
        return;
    }
    hf_slice word = {role + 5, text.size - (uint64_t)(role + 5 - text.data)};
    const uint8_t *end = memchr(word.data, '\r', word.size);
    word.size = end ? (uint64_t)(end - word.data) : word.size;
    if (hf_slice_is(word, "master"))
        well(verdict);
    else
        gateway_check_ill(verdict, "its role is %.*s", (int)(word.size < 32 ? word.size : 32), (const char *)word.data);
}

/* A bulk string, "$SIZE\r\nBYTES\r\n", or an error, "-WORD and more\r\n". */
static void redis_look(const struct gateway_check_options *check, hf_slice bytes, int32_t ended,
                       struct gateway_check_verdict *verdict)
{
    const uint8_t *end = bytes.size ? memmem(bytes.data, bytes.size, "\r\n", 2) : NULL;
    uint64_t line = end ? (uint64_t)(end - bytes.data) : 0, size = 0;

    (void)check;
    if (!end) {
        if (ended)
            gateway_check_ill(verdict, "it closed the connection without an answer");
        else if (bytes.size > 512)
            gateway_check_ill(verdict, "its answer is no RESP");
        return;
    }
    if (bytes.data[0] == '-') {
        gateway_check_ill(verdict, "it says: %.*s", (int)(line - 1 < 48 ? line - 1 : 48), (const char *)bytes.data + 1);
        return;
    }
    for (uint64_t i = 1; i < line && size <= GATEWAY_CHECK_BODY_MAX; i++) {
        if (bytes.data[i] < '0' || bytes.data[i] > '9')
            size = GATEWAY_CHECK_BODY_MAX;
        size = size * 10 + (uint64_t)(bytes.data[i] - '0');
    }
    if (bytes.data[0] != '$' || line < 2 || size > GATEWAY_CHECK_BODY_MAX)
        gateway_check_ill(verdict, "its answer is no RESP");
    else if (bytes.size - line - 2 >= size)
        read_role((hf_slice){end + 2, size}, verdict);
    else if (ended)
        gateway_check_ill(verdict, "its answer broke off");
}

const struct gateway_check_kind *gateway_check_kind(int32_t type)
{
    static const struct gateway_check_kind kinds[] = {
        [GATEWAY_CHECK_TCP] = {NULL, connected_look},
        [GATEWAY_CHECK_TLS] = {NULL, connected_look},
        [GATEWAY_CHECK_HTTP] = {http_begin, http_look},
        [GATEWAY_CHECK_REDIS_MASTER] = {redis_begin, redis_look},
    };

    return &kinds[type];
}
