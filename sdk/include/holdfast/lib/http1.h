/* lib/http1.h: HTTP/1.1 messages as bytes (RFC 9112), for servers and clients.
 *
 * The parser keeps no memory of its own and copies nothing: it looks at the bytes received so far, from the start of
 * the message, and says whether the head is complete.  Slices point into those bytes.  Strict where leniency has let
 * requests be smuggled: Content-Length together with Transfer-Encoding, repeated differing lengths, bare CR or LF
 * inside the head, white space before a colon, folded lines, and a transfer coding other than "chunked" are refused.
 * Pure; [any]. */
#ifndef HOLDFAST_LIB_HTTP1_H
#define HOLDFAST_LIB_HTTP1_H

#include <holdfast/holdfast.h>
#include <holdfast/lib/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HF_HTTP1_HEADERS_MAX = 64 };

typedef struct hf_http1_header {
    hf_slice name;  /* as received */
    hf_slice value; /* without white space around it */
} hf_http1_header;

enum { HF_HTTP1_BODY_NONE = 0, HF_HTTP1_BODY_LENGTH = 1, HF_HTTP1_BODY_CHUNKED = 2, HF_HTTP1_BODY_UNTIL_CLOSE = 3 };

typedef struct hf_http1_head {
    hf_slice method; /* requests */
    hf_slice target; /* requests: "/path?query", "*", or an absolute URI */
    uint32_t status; /* responses: 100..599 */
    int32_t minor;   /* of the version: HTTP/1.0 or HTTP/1.1 */
    hf_slice reason; /* responses */
    uint32_t header_count;
    int32_t body;            /* HF_HTTP1_BODY_... */
    uint64_t content_length; /* with HF_HTTP1_BODY_LENGTH */
    int32_t keep_alive;      /* 1: the connection may carry another message after this */
    int32_t expect_continue; /* requests: 1: "Expect: 100-continue" */
    hf_http1_header headers[HF_HTTP1_HEADERS_MAX];
} hf_http1_head;

/* Reads a request's head from the start of `bytes`.  Returns the size of the head in bytes, the empty line included;
 * 0 when more bytes are needed; HF_EINVAL (answer 400), HF_ETOOLARGE (more than HF_HTTP1_HEADERS_MAX fields: 431),
 * HF_EVERSION (not HTTP/1.0 or 1.1: 505), HF_EUNSUPPORTED (a transfer coding: 501) with the reason in `error`.  Empty
 * lines before the request line are skipped and counted.  The caller limits the size of the head. */
int64_t hf_http1_parse_request(hf_slice bytes, hf_http1_head *ret_head, hf_error *error);

/* The same for a response; `request_method` decides whether a body follows. */
int64_t hf_http1_parse_response(hf_slice bytes, hf_slice request_method, hf_http1_head *ret_head, hf_error *error);

/* The value of the first field of that name (case does not matter), or a slice with NULL data. */
hf_slice hf_http1_header_find(const hf_http1_head *head, const char *name);

/* Whether two names, of fields or of what their values list, are the same: case does not matter. */
int32_t hf_http1_same(hf_slice a, hf_slice b);

/* Takes the first element off the front of a list with commas ("keep-alive, Upgrade"), without the white space around
 * it.  0: there is none left. */
int32_t hf_http1_list_next(hf_slice *list, hf_slice *ret_element);

/* Whether such a list has the element. */
int32_t hf_http1_list_has(hf_slice list, const char *element);

/* State of reading a chunked body; zero to begin. */
typedef struct hf_http1_chunked {
    uint64_t left; /* bytes of the present chunk still to come */
    int32_t state; /* the parser's own */
    uint32_t line; /* bytes of the present line so far */
    /* Where the lines of the trailers go, each with its CR LF and without the empty one; NULL: they are passed over. */
    hf_buffer *trailers;
} hf_http1_chunked;

/* Takes the next bytes of a chunked body.  Sets *ret_taken to how many bytes were used, and *ret_data to a piece of
 * content within them (maybe empty).  Returns 0: call again with the bytes after those taken (or with more bytes when
 * nothing is left); 1: the body and its trailers ended; HF_EINVAL: malformed, or trailers of more than 16 KiB; with
 * `trailers`, as hf_buffer_append. */
int32_t hf_http1_chunked_next(hf_http1_chunked *chunked, hf_slice bytes, uint64_t *ret_taken, hf_slice *ret_data,
                              hf_error *error);

/* Reads lines of trailers into the fields of a head, of which nothing else is set.  HF_EINVAL: a line that is no field,
 * or a field that says where a message ends or goes to (Content-Length, Transfer-Encoding, Host; RFC 9110, 6.5.1);
 * HF_ETOOLARGE: more than HF_HTTP1_HEADERS_MAX fields. */
int32_t hf_http1_parse_trailers(hf_slice lines, hf_http1_head *ret_head, hf_error *error);

/* The standard reason phrase ("Not Found"), or "Unknown"; static. */
const char *hf_http1_reason(uint32_t status);

#ifdef __cplusplus
}
#endif
#endif
