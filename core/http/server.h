/* http/server.h: the process's HTTP/1.1 server; see <holdfast/host/http.h> for what a route is.
 *
 * One server per process, over all worker loops.  A connection belongs to the loop that accepted it; a request may be
 * answered from any thread. */
#ifndef HOLDFAST_CORE_HTTP_SERVER_H
#define HOLDFAST_CORE_HTTP_SERVER_H

#include <holdfast/host/http.h>
#include <holdfast/host/metrics.h>

typedef struct hf_http_server hf_http_server;
typedef struct hf_metrics hf_metrics;

/* Who asks, as the authorisation has found. */
typedef struct hf_http_principal {
    uint64_t user;     /* 0: anonymous */
    int32_t right;     /* the most that it may do anywhere: HF_HTTP_... */
    const void *grant; /* the authorisation's own */
} hf_http_principal;

/* How requests are authorised.  Both [any]. */
typedef struct hf_http_authority {
    /* Finds who asks.  `authorization` is the header's value, NULL data when there is none.  HF_EDENIED: the token is
     * wrong. */
    int32_t (*identify)(void *arg, hf_slice authorization, hf_http_principal *ret_principal, hf_error *error);
    /* Whether the principal has `right` on `table`. */
    int32_t (*allowed)(void *arg, const hf_http_principal *principal, int32_t right, hf_slice table);
    void *arg;
} hf_http_authority;

typedef struct hf_http_settings {
    hf_loop *const *loops; /* borrowed */
    uint32_t loop_count;
    hf_metrics *metrics;
    hf_http_authority authority;    /* NULL functions: everybody may do everything */
    uint64_t head_maximum;          /* bytes of a request's head */
    uint64_t body_memory_maximum;   /* bytes of all requests under way; beyond it: 503 */
    uint64_t answer_memory_maximum; /* bytes of large answers that were not taken yet; beyond it: 503 */
    uint64_t client_share;          /* percent of each of these, and of connections, that one client may have; 0: all */
    uint32_t connections_maximum;
    uint64_t idle_timeout_us;    /* between requests */
    uint64_t receive_timeout_us; /* for a head or the next piece of a body */
    uint64_t send_timeout_us;    /* without progress */
} hf_http_settings;

int32_t hf_http_server_create(const hf_http_settings *settings, hf_http_server **ret_server, hf_error *error);

/* The loops no longer run, and every request was answered.  Accepts NULL. */
void hf_http_server_destroy(hf_http_server *server);

/* A route for administration (HF_HTTP_ADMIN) is answered also while memory for bodies or answers is used up. */
int32_t hf_http_server_route(hf_http_server *server, const hf_http_route *route, void *arg, hf_error *error);

/* The same, and so is this route, whoever may call it: what tells how the process is. */
int32_t hf_http_server_route_reserved(hf_http_server *server, const hf_http_route *route, void *arg, hf_error *error);

/* Accepts connections from a listening socket on one loop; the descriptor stays the caller's.  On that loop's thread,
 * or [main] before the loops run. */
int32_t hf_http_server_listen(hf_http_server *server, uint32_t loop, int32_t fd, hf_error *error);

/* Ends accepting, lets requests under way finish for at most `grace_us`, closes everything and calls done(arg) on the
 * loop of the caller.  [main] */
void hf_http_server_stop(hf_http_server *server, uint64_t grace_us, void (*done)(void *arg), void *arg);

/* What hf_http_interface offers. */
hf_slice hf_http_method(const hf_http_request *request);
hf_slice hf_http_parameter(const hf_http_request *request, const char *name);
hf_slice hf_http_query(const hf_http_request *request, const char *name);
hf_slice hf_http_header(const hf_http_request *request, const char *name);
hf_slice hf_http_body(const hf_http_request *request);
hf_arena *hf_http_arena(hf_http_request *request);
hf_loop *hf_http_loop(const hf_http_request *request);
const uint8_t *hf_http_trace(const hf_http_request *request);
uint64_t hf_http_user(const hf_http_request *request);
int32_t hf_http_allowed(const hf_http_request *request, int32_t right, hf_slice table);
void hf_http_respond(hf_http_request *request, uint32_t status, const char *type, hf_slice body,
                     const hf_http_field *fields, uint32_t field_count);
void hf_http_problem(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                     const char *members);
void hf_http_stream_begin(hf_http_request *request, uint32_t status, const char *type, hf_http_stream_event event,
                          void *arg);
uint64_t hf_http_stream_write(hf_http_request *request, hf_slice bytes);
void hf_http_stream_end(hf_http_request *request);
uint64_t hf_http_client(const hf_http_request *request);

#endif
