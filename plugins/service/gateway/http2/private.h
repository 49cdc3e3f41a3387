/* private.h: HTTP/2 by nghttp2.
 *
 * A session is fed with what comes (nghttp2_session_mem_recv), which calls back for each head, piece of a body and
 * stream that ends; what is to be said is submitted to it at any time, and it is asked for bytes to send when a
 * callback of the loop ends (gateway_worker_settle), or at once for large pieces of a body, which then go out from
 * where they were read.  While it is being fed it is never asked for bytes, and it is never freed while a callback
 * runs. */
#ifndef GATEWAY_HTTP2_PRIVATE_H
#define GATEWAY_HTTP2_PRIVATE_H

#include "http2/guard.h"
#include "http2/http2.h"

#include <nghttp2/nghttp2.h>

enum {
    GATEWAY_HTTP2_FRAME_MAX = 16384,
    GATEWAY_HTTP2_STREAM_WINDOW = 128 << 10, /* bytes of a body that may come before the other side takes some */
    GATEWAY_HTTP2_WINDOW = 1 << 20,          /* of all of a connection's */
    GATEWAY_HTTP2_TEXT_SIZE = 64 << 10,
    GATEWAY_HTTP2_PIECES_MAX = 64,
    GATEWAY_HTTP2_DIRECT = 4 << 10, /* bytes of a body from which on it is worth a write of its own */
    GATEWAY_HTTP2_TABLE_SIZE = 4096,
    GATEWAY_HTTP2_FIELDS_MAX = HF_HTTP1_HEADERS_MAX + 72 /* of a head that goes on, with what routes add */
};

/* ---- Bodies that go out (outlet.c) ------------------------------------------------------------------------------ */

/* The body of a stream on its way out: what waits, then pieces that lie where they were read. */
struct gateway_outlet {
    hf_buffer *waiting;     /* of the front or the link */
    uint64_t waiting_taken; /* bytes of it that have gone */
    const struct iovec *pieces;
    uint32_t piece_count;
    uint64_t piece_taken; /* bytes of the first one */
    hf_buffer trailers;
    int32_t ended;                                /* nothing comes after that but the trailers */
    void (*taken)(struct gateway_outlet *outlet); /* less waits now */
};

/* What goes out with the next write of whichever connection is sending.  One for each worker. */
struct gateway_http2_scratch {
    int32_t is_full; /* it must be written before more can come */
    uint32_t piece_count;
    uint32_t text_size;
    struct iovec pieces[GATEWAY_HTTP2_PIECES_MAX];
    uint8_t text[GATEWAY_HTTP2_TEXT_SIZE];
};

/* NULL: no memory. */
struct gateway_http2_scratch *gateway_http2_scratch(struct gateway_worker *worker);

/* The functions of a session's callbacks, by which bodies leave it. */
ssize_t gateway_outlet_read(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *arg);
int32_t gateway_outlet_send(struct gateway_http2_scratch *scratch, const uint8_t *head, uint64_t size,
                            struct gateway_outlet *outlet);

/* Keeps what the pieces still have. */
int32_t gateway_outlet_keep(struct gateway_outlet *outlet);

/* Sends what the session has, until the socket takes no more; the rest of that goes to `waiting`.  HF_EIO: the
 * connection is broken; HF_ENOMEM. */
int32_t gateway_http2_send(nghttp2_session *session, struct gateway_http2_scratch *scratch,
                           struct gateway_socket *socket, hf_buffer *waiting);

/* ---- Heads (fields.c) ------------------------------------------------------------------------------------------- */

/* A head that comes, on its way to the form of HTTP/1.1. */
struct gateway_http2_head {
    nghttp2_rcbuf *method, *scheme, *authority, *path, *status; /* NULL: none */
    hf_buffer cookies;                                          /* which may come in parts (RFC 9113, 8.2.3) */
    int32_t has_begun;                                          /* the first line is written */
    int32_t has_length;                                         /* a Content-Length has come */
    int32_t is_too_large;
    int32_t is_wrong; /* it cannot be written as HTTP/1.1 without saying something else */
};

/* Forgets it. */
void gateway_http2_head_done(struct gateway_http2_head *head);

/* Adds a field to the text.  HF_ENOMEM; what else is wrong shows in the head. */
int32_t gateway_http2_head_add(struct gateway_http2_head *head, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                               uint64_t maximum, hf_buffer *text);

/* Writes the first line, unless it is written.  HF_ENOMEM. */
int32_t gateway_http2_head_begin(struct gateway_http2_head *head, hf_buffer *text);

/* Whether it is that of an answer that never has a body (RFC 9110, 6.4.1). */
int32_t gateway_http2_head_is_silent(const struct gateway_http2_head *head);

/* The head is complete; a body follows or not.  HF_ENOMEM. */
int32_t gateway_http2_head_end(struct gateway_http2_head *head, int32_t has_body, uint64_t maximum, hf_buffer *text);

/* A line of trailers.  HF_ETOOLARGE, HF_ENOMEM. */
int32_t gateway_http2_trailer_add(nghttp2_rcbuf *name, nghttp2_rcbuf *value, hf_buffer *lines);

/* The fields of an answer; *ret_body as gateway_forward_response.  How many, or HF_EINVAL, HF_ETOOLARGE, HF_ENOMEM.
 * They point into the head, into `how` and into `text`, which has room for 32 bytes. */
int64_t gateway_http2_response(const struct gateway_forward *how, const hf_http1_head *head, char *text,
                               nghttp2_nv *fields, int32_t *ret_body, hf_error *error);

/* The fields of a request from its head as gateway_forward_request writes it; 0: no memory.  They point into it. */
uint32_t gateway_http2_request(hf_slice head, int32_t is_tls, hf_arena *arena, nghttp2_nv **ret_fields);

/* The fields of lines of trailers: how many. */
uint32_t gateway_http2_trailers(hf_slice lines, nghttp2_nv *fields);

#endif
