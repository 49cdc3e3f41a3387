/* host/http.h: serving HTTP: host->query(host, "hf.http/1").
 *
 * The process has one HTTP server; plugins add routes to it before the loops run.  A request arrives on one of the
 * worker loops and its handler runs there; it must be answered exactly once, then or later, from any thread.  A client
 * that goes away changes nothing for the handler: its answer is dropped.
 *
 * Changes
 *   1.0  first version
 */
#ifndef HOLDFAST_HOST_HTTP_H
#define HOLDFAST_HOST_HTTP_H

#include <holdfast/host/loop.h>
#include <holdfast/lib/arena.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_HTTP_INTERFACE "hf.http/1"

typedef struct hf_http_request hf_http_request;

/* What a route asks of the one who calls it; each includes those before it. */
enum {
    HF_HTTP_PUBLIC = 0, /* everybody */
    HF_HTTP_READ = 1,
    HF_HTTP_WRITE = 2,
    HF_HTTP_ADMIN = 3
};

typedef struct hf_http_route {
    uint32_t size;         /* sizeof(hf_http_route) */
    int32_t right;         /* HF_HTTP_... */
    const char *method;    /* "GET"; HEAD is served by GET's route */
    const char *pattern;   /* "/v1/tables/{table}/records/{key}": {name} is one non-empty segment */
    uint64_t body_maximum; /* bytes; 0: a body is refused */
    const char *doc;       /* one sentence */
    void (*handle)(void *arg, hf_http_request *request);
} hf_http_route;

typedef struct hf_http_field {
    const char *name;
    const char *value; /* without control characters */
} hf_http_field;

enum { HF_HTTP_STREAM_WRITABLE = 1, HF_HTTP_STREAM_CLOSED = 2 };

/* An event of a stream: more can be written without waiting, or the client is gone (the last event; stream_end is
 * still to be called).  On the request's loop, never inside a call of stream_begin or stream_write. */
typedef void (*hf_http_stream_event)(void *arg, int32_t event);

typedef struct hf_http_interface {
    hf_head head;

    /* Adds a route; the strings are static.  HF_EEXIST, HF_EINVAL, HF_ENOMEM.  [main], before the loops run */
    int32_t (*route)(const hf_host *host, const hf_http_route *route, void *arg, hf_error *error);

    /* ---- The request; slices are valid until it is answered.  [any, one thread at a time] ---- */

    hf_slice (*method)(const hf_http_request *request);
    /* A {name} of the route's pattern, decoded. */
    hf_slice (*parameter)(const hf_http_request *request, const char *name);
    /* The first such member of the query, decoded; NULL data: there is none. */
    hf_slice (*query)(const hf_http_request *request, const char *name);
    /* The first such field of the head; NULL data: there is none. */
    hf_slice (*header)(const hf_http_request *request, const char *name);
    hf_slice (*body)(const hf_http_request *request);
    /* Memory that lives until the request is answered. */
    hf_arena *(*arena)(hf_http_request *request);
    /* The loop that the request arrived on. */
    hf_loop *(*loop)(const hf_http_request *request);
    /* 16 bytes, never all zero. */
    const uint8_t *(*trace)(const hf_http_request *request);
    /* A number for who asks, the same for the same token; 0: anonymous. */
    uint64_t (*user)(const hf_http_request *request);
    /* Whether who asks has `right` (HF_HTTP_...) on the table. */
    int32_t (*allowed)(const hf_http_request *request, int32_t right, hf_slice table);

    /* ---- The answer; exactly one of these.  [any] ---- */

    /* `fields` (may be NULL) in addition to those of every answer; `type` NULL: no body.  All is copied. */
    void (*respond)(hf_http_request *request, uint32_t status, const char *type, hf_slice body,
                    const hf_http_field *fields, uint32_t field_count);

    /* A problem document; `problem` is the last part of its type ("conflict"); retry advice and detail come from
     * `error`.  `members` (may be NULL): further members, as JSON text without the braces. */
    void (*problem)(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                    const char *members);

    /* Begins an answer of unknown length.  After it, only the calls below.  [the request's loop] */
    void (*stream_begin)(hf_http_request *request, uint32_t status, const char *type, hf_http_stream_event event,
                         void *arg);
    /* Adds bytes; returns how many bytes wait here for the client now.  Past 1 MiB wait for HF_HTTP_STREAM_WRITABLE.
     * UINT64_MAX: the client is gone; HF_HTTP_STREAM_CLOSED follows.  With no bytes it returns how many the client has
     * not got, what is on the way to it included: less than before shows that it takes some. */
    uint64_t (*stream_write)(hf_http_request *request, hf_slice bytes);
    void (*stream_end)(hf_http_request *request);

    /* A number for whose requests count together where they are limited: the same for the same token, or else for the
     * same address; never 0.  [any, one thread at a time] */
    uint64_t (*client)(const hf_http_request *request);
} hf_http_interface;

#ifdef __cplusplus
}
#endif
#endif
