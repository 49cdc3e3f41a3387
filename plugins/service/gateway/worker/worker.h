/* worker.h: what one worker loop has of the gateway: its listening sockets and connections, its view of each upstream,
 * and memory that is used again.  Nothing here is shared with other threads.  [loop] */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include "plan/plan.h"
#include "release/split.h"
#include "stream/way.h"
#include "worker/socket.h"
#include "worker/wheel.h"

#include <holdfast/host/loop.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/hash.h>

enum {
    GATEWAY_BLOCK_SIZE = 20 << 10,    /* a head of the longest kind, and some of what follows */
    GATEWAY_SCRATCH_SIZE = 128 << 10, /* read at a time: an answer of 64 KiB with its head comes in one piece */
    GATEWAY_PIECES_MAX = 64,
    GATEWAY_SPARE_MAX = 1024 /* objects of a kind that are kept for later */
};

struct gateway_caching;
struct gateway_carrier;
struct gateway_client;
struct gateway_policies;
struct gateway_exchange;
struct gateway_flow;
struct gateway_http2_scratch;
struct gateway_link;
struct gateway_outflows;
struct gateway_refresh;
struct gateway_stream;
struct gateway_tcp;
struct gateway_udp;

/* Bytes as they were read. */
struct gateway_block {
    struct gateway_block *next; /* free list */
    uint32_t size;
    uint8_t bytes[GATEWAY_BLOCK_SIZE];
};

/* What goes to a client with the next write: heads, frames of chunks, and pieces of what was just read. */
struct gateway_gather {
    hf_buffer head;
    uint32_t count;
    uint32_t text_size;
    struct iovec pieces[GATEWAY_PIECES_MAX + 2];
    char text[GATEWAY_PIECES_MAX * 20];
};

/* A listening socket, and the connections that came over it. */
struct gateway_port {
    struct gateway_port *next;
    struct gateway_worker *worker; /* freed when the last of them ends, if the listener is gone by then */
    int32_t fd;                    /* not closed here: whoever opened it for all workers does */
    hf_watch *watch;
    char *name;                              /* of the listener */
    struct gateway_meter *meter;             /* of the listener; held */
    const struct gateway_listener *listener; /* of the present plan; NULL: it has none of that name any more */
    struct gateway_client *clients;
    uint32_t client_count;
    struct gateway_tcp *streams; /* of protocol tcp */
    uint32_t stream_count;
    struct gateway_udp *udp; /* flows of protocol udp; NULL: another */
};

/* What a worker knows of an upstream's servers, for as long as the set is the newest. */
struct gateway_view {
    struct gateway_view *next;
    struct gateway_worker *worker;
    struct gateway_upstream *upstream; /* held */
    uint32_t generations;              /* that have it */
    struct gateway_server_set *set;    /* held */
    struct gateway_usable usable;
    struct gateway_link **idle; /* by place, the last used first */
    uint32_t *idle_count;
    struct gateway_carrier *carriers; /* connections of HTTP/2 */
    struct gateway_exchange *queue, *queue_end;
    struct gateway_tcp *streams, *streams_end; /* that wait, too */
    uint32_t queued;                           /* all */
    uint64_t probed_us; /* when a server that is away was last asked for a request that is held */
};

/* A plan as long as the worker uses it: the present one, or one with which requests have begun. */
struct gateway_generation {
    struct gateway_generation *next;
    struct gateway_plan *plan;   /* held */
    struct gateway_view **views; /* by upstream of the plan */
    uint32_t uses;               /* requests */
};

struct gateway_worker {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_node_interface *node;
    struct gateway_policies *policies; /* of the process; NULL: none */
    struct gateway_split_seat split;
    hf_loop *loop;
    uint32_t index;
    struct gateway_generation *generation; /* the present one; NULL: none yet */
    struct gateway_generation *generations;
    struct gateway_view *views; /* of all generations */
    struct gateway_port *ports;
    struct gateway_wheel wheel;
    hf_timer *tick;
    int32_t is_ticking;
    int32_t is_draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct gateway_block *spare_blocks;
    struct gateway_exchange *spare_exchanges;
    uint32_t spare_block_count, spare_exchange_count;
    /* What the present callback has done with; and clients to which nothing can be sent any more, or whose next request
     * has come already. */
    struct gateway_client *dead_clients, *due_clients;
    int32_t has_unused; /* a generation or a port without anybody who uses it */
    int32_t has_room;   /* for some request that waits in a queue, perhaps */
    struct gateway_exchange *dead_exchanges;
    struct gateway_link *dead_links;
    struct gateway_carrier *due_carriers;                /* of HTTP/2, for which something is to be sent */
    struct gateway_stream *dead_streams, *spare_streams; /* of HTTP/2 */
    uint32_t spare_stream_count;
    struct gateway_http2_scratch *http2; /* NULL: nobody has spoken it yet */
    struct gateway_tcp *dead_tcps;
    struct gateway_flow *dead_flows;
    struct gateway_pipes pipes;
    struct gateway_gather gather;
    struct gateway_tls_worker *tls;
    struct gateway_outflows *outflows; /* NULL: no answer has needed it yet */
    struct gateway_caching *left_cachings;
    struct gateway_refresh *refreshes;
    uint32_t refresh_count;
    hf_http1_head answer; /* the head that was just read */
    char date[32];        /* of `dated_s` */
    uint64_t dated_s;
    hf_random random;     /* for what need not be secret */
    uint64_t last_client; /* its id */
    uint8_t scratch[GATEWAY_SCRATCH_SIZE];
};

/* What another plan needs of a worker, made beforehand so that taking it over cannot fail.  [main] */
struct gateway_takeover {
    hf_task task; /* first */
    struct gateway_worker *worker;
    struct gateway_generation *generation;
    struct gateway_view *
        *fresh; /* by upstream: a view with room for its set; the worker's own takes over what is in it */
    struct gateway_port **ports; /* by listener: a new one, with its socket; NULL: there is one of that name */
    void (*done)(struct gateway_takeover *takeover);
    void *arg;
};

/* A worker without a plan.  [main] */
int32_t gateway_worker_create(const hf_host *host, const hf_loop_interface *loops, const hf_node_interface *node,
                              uint32_t index, struct gateway_worker **ret_worker, hf_error *error);

/* Once its loop runs no more.  Accepts NULL.  [main] */
void gateway_worker_destroy(struct gateway_worker *worker);

/* `sockets`: by listener, the descriptor for a new port, -1 where the worker has one.  HF_ENOMEM.  [main] */
int32_t gateway_takeover_create(struct gateway_worker *worker, struct gateway_plan *plan, const int32_t *sockets,
                                struct gateway_takeover **ret_takeover, hf_error *error);

/* Of one that was not posted: what it was made for is closed.  Accepts NULL.  [main] */
void gateway_takeover_destroy(struct gateway_takeover *takeover);

/* The worker takes the plan over; `done` is called on its loop, after which the takeover is the caller's to free.  */
void gateway_takeover_post(struct gateway_takeover *takeover, void (*done)(struct gateway_takeover *takeover),
                           void *arg);

/* What another set of one upstream needs of a worker, made beforehand likewise.  [main] */
struct gateway_set_takeover {
    hf_task task; /* first */
    struct gateway_worker *worker;
    struct gateway_view *fresh;
    void (*done)(struct gateway_set_takeover *takeover);
    void *arg;
};

/* HF_ENOMEM.  [main] */
int32_t gateway_set_takeover_create(struct gateway_worker *worker, struct gateway_server_set *set,
                                    struct gateway_set_takeover **ret_takeover, hf_error *error);

/* Accepts NULL.  [main] */
void gateway_set_takeover_destroy(struct gateway_set_takeover *takeover);

/* As gateway_takeover_post.  A worker that has left the upstream meanwhile does nothing. */
void gateway_set_takeover_post(struct gateway_set_takeover *takeover,
                               void (*done)(struct gateway_set_takeover *takeover), void *arg);

/* ---- On the worker's loop
 * -------------------------------------------------------------------------------------------- */

/* Takes no more connections, and ends those there are: after the request that is under way, or the next one if that
 * comes soon, since a client may have sent it already.  Calls drained(arg) once none is left. */
void gateway_worker_drain(struct gateway_worker *worker, void (*drained)(void *arg), void *arg);

/* Closes everything at once; the last thing of all. */
void gateway_worker_close(struct gateway_worker *worker);

/* Connections there are, of clients of all protocols. */
uint32_t gateway_worker_clients(const struct gateway_worker *worker);

/* Memory for a head; NULL: none. */
struct gateway_block *gateway_worker_block(struct gateway_worker *worker);
void gateway_worker_give_back(struct gateway_worker *worker, struct gateway_block *block); /* accepts NULL */

/* The end of every callback: frees what is done with. */
void gateway_worker_settle(struct gateway_worker *worker);

uint64_t gateway_worker_now(const struct gateway_worker *worker);

/* Sets a deadline, and lets the wheel turn. */
void gateway_worker_deadline(struct gateway_worker *worker, struct gateway_deadline *deadline, uint64_t due_us);

/* A request uses the present plan; and does not any more. */
struct gateway_generation *gateway_worker_use(struct gateway_worker *worker);
void gateway_worker_leave(struct gateway_worker *worker, struct gateway_generation *generation);

/* "Sun, 06 Nov 1994 08:49:37 GMT". */
const char *gateway_worker_date(struct gateway_worker *worker);

#endif
