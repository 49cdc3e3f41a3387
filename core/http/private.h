/* http/private.h: between the files of the server. */
#ifndef HOLDFAST_CORE_HTTP_PRIVATE_H
#define HOLDFAST_CORE_HTTP_PRIVATE_H

#include "http/router.h"
#include "http/server.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/gate.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/http1.h>
#include <stdatomic.h>

/* Output beyond which a stream's writer is told to wait, and below which it is told to go on. */
enum { HF_HTTP_STREAM_HIGH = 1 << 20, HF_HTTP_STREAM_LOW = 1 << 18 };

/* An answer that counts in the server's memory for answers, and may be refused for want of it. */
enum { HF_HTTP_ANSWER_LARGE = 64 * 1024 };

/* Why requests are refused for want of memory. */
enum { HTTP_REFUSED_BODIES = 0, HTTP_REFUSED_ANSWERS, HTTP_REFUSALS };

typedef struct http_connection http_connection;

/* What one loop has of the server. */
typedef struct http_shard {
    hf_http_server *server;
    hf_loop *loop;
    http_connection *connections; /* doubly linked */
    hf_timer *sweep;              /* closes what is too slow */
    hf_random random;             /* for trace ids */
    hf_http_request *spare;       /* requests that are done, with their buffers, for the next ones */
    uint32_t spare_count;
    struct http_listener *listeners;
    int stopping;
    hf_task stop_task;
    uint64_t stop_deadline_us;
} http_shard;

struct hf_http_server {
    hf_http_settings settings;
    hf_router router;
    http_shard *shards;
    hf_shares *shares; /* of clients and, for answers and connections, of addresses */
    hf_gate_limits body_limits, answer_limits, connection_limits;
    hf_gate bodies;          /* bytes of request bodies */
    hf_gate answers;         /* bytes of answers that their clients have not taken */
    hf_gate connection_gate; /* open connections */
    hf_metric *refused[HTTP_REFUSALS];
    hf_metric *body_bytes, *answer_bytes;
    hf_metric *stalled_connections;
    hf_metric *requests[5]; /* by class of status: 1xx ... 5xx */
    hf_metric *request_microseconds;
    hf_metric *received_bytes;
    hf_metric *sent_bytes;
    hf_metric *refused_connections;
    hf_metric *connections;
    _Atomic uint32_t shards_left; /* while stopping */
    hf_loop *stop_loop;
    hf_task stopped_task;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

enum { HTTP_PENDING = 0, HTTP_STREAMING = 1 };

struct hf_http_request {
    hf_task task; /* carries the answer to the loop */
    hf_http_request *next_spare;
    http_shard *shard;
    http_connection *connection; /* NULL: the client is gone.  The loop's thread only */
    hf_buffer input;             /* head and, unless chunked, body */
    hf_buffer chunks;            /* a chunked body, decoded */
    uint64_t memory;             /* counted in the server's gate of bodies */
    uint64_t answer_memory;      /* of its answer, counted in the server's gate of answers */
    uint64_t refused_answer;     /* bytes of the answer for which there was no memory */
    uint64_t address;            /* of its connection */
    hf_http1_head head;          /* slices into input */
    hf_slice body;
    hf_slice query_text;
    hf_router_match match; /* values decoded */
    hf_arena arena;
    hf_http_principal principal;
    uint64_t client; /* whose requests count together */
    uint8_t trace[16];
    uint64_t start_us;
    int keep_alive;
    int head_only; /* HEAD */
    int state;
    int failed;        /* no memory: an incomplete answer must not be taken for a whole one */
    uintptr_t head_at; /* where the input began when the head was read */
    uint32_t status;
    hf_buffer answer; /* bytes on their way to the connection */
    hf_http_stream_event event;
    void *event_arg;
    int writing; /* inside a call of the stream's writer: it gets no event now */
    int closing; /* the event is on its way */
    int ended;   /* and the writer has ended before it came */
};

/* server.c */
/* The error of a request that a gate refused, for HF_GATE_...; HF_EBUSY. */
int32_t hf_http_server_refuse(hf_http_server *server, int what, int32_t why, uint64_t now_us, hf_error *error);

/* Counts `size` bytes in the gate of HTTP_REFUSED_...: 0, or why not (HF_GATE_...).  A reserved route has more room.
 * [any] */
int32_t hf_http_server_enter(hf_http_request *request, int what, uint64_t key, uint64_t size, uint64_t now_us);

/* connection.c */
/* `address`: a number for where it comes from, never 0. */
void hf_http_connection_open(http_shard *shard, int fd, uint64_t address);
uint64_t hf_http_connection_address(const http_connection *connection);
void hf_http_connection_close(http_connection *connection);
/* Puts the request's answer out and goes on with the connection; frees the request.  [the request's loop] */
void hf_http_connection_answer(hf_http_request *request);
/* Bytes that the client has not got. */
uint64_t hf_http_connection_waiting(const http_connection *connection);
/* Puts a stream's bytes out; returns what waits. */
uint64_t hf_http_connection_stream(hf_http_request *request, int ended);
/* Closes what has passed its deadline.  [loop] */
void hf_http_connections_sweep(http_shard *shard);
int hf_http_connection_idle(const http_connection *connection);
http_connection *hf_http_connection_next(http_connection *connection);

/* request.c */
hf_http_request *hf_http_request_create(http_shard *shard);
void hf_http_request_free(hf_http_request *request);
void hf_http_requests_free_spare(http_shard *shard);
/* Tells a stream's writer that its client is gone, now or after the call that it is in. */
void hf_http_request_closed(hf_http_request *request);
/* Finds the route and who asks once the head is there: 0, or the status of the answer that refuses it. */
uint32_t hf_http_request_admit(hf_http_request *request, hf_error *error, const char **ret_problem, char *allow,
                               uint64_t allow_capacity);
void hf_http_request_refuse(hf_http_request *request, uint32_t status, const char *problem, const hf_error *error,
                            const char *allow);

#endif
