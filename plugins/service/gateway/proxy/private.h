/* private.h: requests on their way through a worker.
 *
 * A front, which is a client's connection (client.c), reads a request and begins an exchange (exchange.c), which
 * chooses a route and a server and takes a link (link.c), a connection to that server.  What comes on one side goes out
 * on the other at once, from where it was read; what the other side does not take yet is copied, and while more than a
 * little waits, nothing more is read.
 *
 * Nothing is freed while a callback of the loop runs.  What is done with is taken out of everything at once, and freed
 * by gateway_worker_settle at the callback's end, so that whoever is in the middle of something only has to look
 * whether it still has an exchange. */
#ifndef GATEWAY_PROXY_PRIVATE_H
#define GATEWAY_PROXY_PRIVATE_H

#include "policy/policy.h"
#include "record/record.h"
#include "upstream/choose.h"
#include "worker/worker.h"

enum {
    GATEWAY_WAITING_MAX = 64 << 10,  /* bytes that wait for a side, at which the other is read no more */
    GATEWAY_REPLAY_MAX = 64 << 10,   /* of a body, kept so that another server can be asked */
    GATEWAY_ARENA_MAX = 4 << 20,     /* of a request */
    GATEWAY_HEAD_OUT_MAX = 64 << 10, /* of a head that goes on */
    GATEWAY_ANSWER_HEAD_MAX = 32 << 10
};

/* ---- Fronts ------------------------------------------------------------------------------------------------------ */

/* Who sends requests: as the socket says it, or the header of a PROXY protocol. */
struct gateway_peer {
    union gateway_address address;
    struct sockaddr_storage *destination; /* that a proxy has told; owned by the connection; NULL: that of the socket */
    int32_t fd;                           /* the socket */
    int32_t owns_links;                   /* some server's connections are kept for it alone */
    int32_t is_gone;
    uint64_t id; /* of all connections of the worker, from 1 on */
    uint32_t text_size;
    char text[GATEWAY_ADDRESS_TEXT]; /* of the address */
    int32_t is_tls;                  /* its connection to us */
};

struct gateway_front;

/* What an exchange wants of the side of its client. */
struct gateway_front_calls {
    const char *version; /* of HTTP: "2"; NULL: that of the request's head */

    /* The answer's head, without sending it yet; `bytes` is what `head` was read from.  HF_EINVAL, HF_ETOOLARGE,
     * HF_ENOMEM: it cannot be sent, nothing was done. */
    int32_t (*head)(struct gateway_front *front, const hf_http1_head *head, hf_slice bytes, hf_error *error);

    /* A piece of its body, valid until the next flush. */
    void (*body)(struct gateway_front *front, hf_slice piece);

    /* Sends what was gathered. */
    void (*flush)(struct gateway_front *front);

    /* The answer is complete, with lines of trailers (none: empty): sends what was gathered, and goes on to the next
     * request. */
    void (*end)(struct gateway_front *front, hf_slice trailers);

    /* The rest of the request is not read for a while; and is. */
    void (*pause)(struct gateway_front *front);
    void (*resume)(struct gateway_front *front);

    /* From now on bytes go both ways, whatever they are.  Only after a request that asked for an upgrade. */
    void (*tunnel)(struct gateway_front *front);

    /* Something has moved in a tunnel. */
    void (*touch)(struct gateway_front *front);

    /* The request and its answer end at once, so that nobody takes them for whole ones. */
    void (*destroy)(struct gateway_front *front);
};

/* The side of the client: first member of whatever it is. */
struct gateway_front {
    const struct gateway_front_calls *calls;
    struct gateway_peer *peer;
    hf_buffer waiting; /* bytes that the client has not taken yet */
    int32_t is_broken; /* nothing can be sent any more */
};

/* ---- Clients --------------------------------------------------------------------------------------------------- */

enum {
    CLIENT_PROXY_HEADER, /* a header of the PROXY protocol is to come */
    CLIENT_HEAD,         /* the head of a request is to come, or has begun */
    CLIENT_BODY,         /* of a request whose exchange is under way */
    CLIENT_WAITS,        /* the request is complete, the answer is not */
    CLIENT_TUNNEL,       /* another protocol, both ways */
    CLIENT_HTTP2,        /* all is its affair */
    CLIENT_LINGERS       /* all is said; what the client still sends is thrown away */
};

struct gateway_client {
    struct gateway_front front;             /* first */
    struct gateway_client *next, *previous; /* in the port's list, or that of the dead */
    struct gateway_client *next_due;
    int32_t is_taking; /* bytes of a body are being passed on */
    int32_t is_over;   /* and the answer was complete meanwhile */
    int32_t is_due;    /* something is to be done with it when the callback ends */
    struct gateway_worker *worker;
    struct gateway_port *port;
    struct gateway_socket socket;
    struct gateway_deadline deadline;
    struct gateway_block *block; /* what was read of heads, and what stands behind them; NULL: nothing */
    uint32_t taken;              /* bytes of it that are done with */
    int32_t state;               /* CLIENT_... */
    struct gateway_exchange *exchange;
    hf_http1_chunked chunked;
    uint64_t body_left; /* of a body with a length */
    uint64_t body_size; /* so far */
    uint64_t lingered;  /* bytes thrown away */
    int32_t is_paused;  /* its body is not read until the server has taken what waits */
    int32_t has_ended;  /* it sends no more */
    int32_t closes;     /* after the answer */
    int32_t is_dead;
    int32_t is_http1;            /* it has begun like that */
    int32_t body_out;            /* HF_HTTP1_BODY_...: how the answer's body goes out */
    struct gateway_http2 *http2; /* NULL: it does not speak it */
    struct gateway_peer peer;
};

void gateway_client_accept(struct gateway_port *port, int32_t fd, const struct sockaddr_storage *address);

/* The connection ends at once, and the exchange that is under way for it. */
void gateway_client_destroy(struct gateway_client *client);

/* What is to be done when the callback ends: it is freed if nothing can be sent to it any more, or the request that is
 * in its block already begins. */
void gateway_client_settle(struct gateway_client *client);

/* For HTTP/2, which has the connection then: to be called when the callback ends; that nothing can be sent any more; to
 * be called for what is to be written; a deadline; that all is said. */
void gateway_client_make_due(struct gateway_client *client);
void gateway_client_break_off(struct gateway_client *client);
void gateway_client_want(struct gateway_client *client);
void gateway_client_expect(struct gateway_client *client, uint64_t within_us);
void gateway_client_linger(struct gateway_client *client);

/* The worker drains: a connection without a request ends, others after theirs. */
void gateway_client_drain(struct gateway_client *client);

/* ---- What is told of exchanges (record.c) ------------------------------------------------------------------------ */

/* Of one exchange, as it is gathered. */
struct gateway_account {
    struct gateway_trace trace;
    int32_t keeps_state; /* the client's trace goes on, and its tracestate with it */
    int32_t has_begun;   /* its head was read */
    int32_t is_whole;    /* all of the answer was there */
    int32_t is_degraded;
    const char *why;                   /* of what was refused, degraded, or broke off; in the arena or static */
    hf_slice line;                     /* of a request that could not be read */
    uint64_t head_sent, body_received; /* bytes */
    uint64_t asked_us, ended_us;       /* the first server; the servers' part of it; 0: not yet */
    uint32_t tries;                    /* of all upstreams */
    uint32_t upstream;                 /* of the last try */
    hf_slice server;                   /* the last; in the arena, where somebody will want to know */
};

/* Which trace the request belongs to. */
void gateway_account_begin(struct gateway_exchange *exchange);

/* Whether an answer's head tells the client of it; the text is borrowed by `how`. */
void gateway_account_answer(const struct gateway_exchange *exchange, uint32_t status, uint8_t text[GATEWAY_TRACE_SIZE],
                            struct gateway_forward *how);

/* A server is asked.  It may be gone when the exchange is over. */
void gateway_account_try(struct gateway_exchange *exchange, const struct gateway_server *server);

/* The servers' part has ended: well, or no server of the upstream could answer. */
void gateway_account_served(struct gateway_exchange *exchange);
void gateway_account_failed(struct gateway_exchange *exchange);

/* Something else is answered in place of the upstream's servers. */
void gateway_account_degrade(struct gateway_exchange *exchange, uint32_t upstream, const char *why);

/* `why` is copied. */
void gateway_account_refuse(struct gateway_exchange *exchange, const char *why);

/* It is over: what was counted is added up, and its record given to those who want it. */
void gateway_account_close(struct gateway_exchange *exchange);

/* The worker's cell of the meter of an upstream of the plan. */
struct gateway_cell *gateway_upstream_cell(const struct gateway_exchange *exchange, uint32_t upstream);

/* ---- Exchanges ------------------------------------------------------------------------------------------------- */

/* The version of a release that a request has got. */
struct gateway_split_share {
    uint32_t release; /* its id; 0: none, or it counts no more */
    uint32_t slot;
    int32_t version;
    int32_t has_failed;
    uint64_t slow_us;
    uint64_t began_us, head_us; /* asked; answered, with a head (0: not yet) */
};

struct gateway_caching;
struct gateway_outflow;

struct gateway_exchange {
    struct gateway_exchange *next, *previous; /* free list, or the queue of a view */
    struct gateway_worker *worker;
    struct gateway_front *front;
    struct gateway_generation *generation;
    const struct gateway_listener *listener;
    const struct gateway_route *route; /* NULL: none yet */
    hf_arena arena;
    hf_slice head_bytes;
    hf_http1_head head;
    struct gateway_request request;
    hf_buffer out;                    /* the head as it goes on */
    hf_buffer body;                   /* what has come of the body, while it is all kept */
    hf_buffer trailers;               /* of the request, as lines: the front puts them there */
    struct gateway_deadline deadline; /* of the head of the answer, or of waiting in the queue */
    uint64_t began_us, due_us;
    int32_t request_ended;
    int32_t body_kept; /* `body` has all that has come */
    int32_t answered;  /* the head of an answer has gone to the client */
    int32_t is_queued;
    int32_t is_held;        /* for want of a server that can be reached */
    uint32_t holds;         /* how often it was */
    uint64_t held_until_us; /* 0: it was not */
    uint64_t again_us;      /* not to be tried sooner, while it is held */
    int32_t is_counted;     /* by the upstream's breaker */
    int32_t waits_for_body; /* its key is in it */
    int32_t is_tunnel;
    int32_t is_stuck; /* the server takes nothing of the body, which has a deadline */
    int32_t is_dead;
    int32_t is_encoded;              /* the answer, here; see gateway_forward */
    int32_t is_internal;             /* no client waits for its answer */
    struct gateway_caching *caching; /* NULL: it has nothing to do with a cache */
    struct gateway_outflow *outflow; /* on the answer's way to the client; NULL: nothing is done to it */
    uint32_t status;                 /* of the answer; 0: none */
    uint64_t bytes_sent;             /* of bodies to the client */
    uint64_t key;
    int32_t has_key;
    struct gateway_account account;

    /* What the route says, or a policy in its place. */
    const struct gateway_edit *request_edits, *response_edits;
    uint32_t request_edit_count, response_edit_count;
    uint64_t body_maximum;
    struct gateway_split_share split;
    struct gateway_shown *shown;         /* to policies; in the arena; NULL: nothing yet */
    struct gateway_admission *admission; /* that counts it; NULL: none */
    uint32_t retry_after_s;              /* of an answer that refuses it; 0: as the status has it */
    int32_t is_rerouted;                 /* by a policy: the path may not be the route's */
    int32_t may_be_done; /* some server may have done what was asked, and must not be the first of two */

    /* The server that is asked. */
    uint32_t upstream;    /* of the plan; before, the one to ask, or GATEWAY_NO_UPSTREAM */
    uint32_t last_status; /* of the last server that failed; 0: none */
    int32_t was_answered; /* by a server, with a status after which another one is asked */
    struct gateway_view *view;
    struct gateway_server_set *set; /* held */
    struct gateway_breaker_call upstream_call;
    uint64_t *tried; /* bits by place; in the arena */
    uint32_t tries;
    uint32_t degraded_hops;
    struct gateway_link *link;
};

/* For a request whose head is to be read; NULL: no memory. */
struct gateway_exchange *gateway_exchange_create(struct gateway_worker *worker, struct gateway_front *front,
                                                 const struct gateway_listener *listener);

/* Its head has been read. */
void gateway_exchange_start(struct gateway_exchange *exchange);

/* From the client: a piece of the body; the end of it, its trailers being in the exchange's; that it takes more. */
void gateway_exchange_body(struct gateway_exchange *exchange, hf_slice piece);
void gateway_exchange_body_ended(struct gateway_exchange *exchange);
void gateway_exchange_client_writable(struct gateway_exchange *exchange);

/* It is over: what is still under way for it ends. */
void gateway_exchange_over(struct gateway_exchange *exchange);

/* After the callback in which it was over. */
void gateway_exchange_free(struct gateway_exchange *exchange);

/* A server may have room for what has waited.  0: it has none. */
int32_t gateway_exchange_try_queued(struct gateway_exchange *exchange);

/* Asks servers of the upstream, with the edits that the exchange has now: of a request that a cache has kept until now.
 */
void gateway_exchange_forward(struct gateway_exchange *exchange, uint32_t upstream);

/* Whether another upstream may be asked in the place of one whose servers cannot answer. */
int32_t gateway_exchange_can_degrade(const struct gateway_exchange *exchange);

/* Whether the route lets it in; 0: it was refused, with an answer (admit.c).  What was let in leaves once. */
int32_t gateway_exchange_admit(struct gateway_exchange *exchange);
void gateway_exchange_leave_admission(struct gateway_exchange *exchange);

/* Answers with a problem document that says why, without a server.  Where an answer has begun already, it breaks off.
 */
void gateway_exchange_refuse(struct gateway_exchange *exchange, uint32_t status, const char *why);

/* From the link: it is connected; it takes more. */
void gateway_exchange_link_ready(struct gateway_exchange *exchange);
void gateway_exchange_link_writable(struct gateway_exchange *exchange);

/* From the link: the head of an answer; a piece of its body; that what has come can be sent; that it is complete, its
 * trailers being in the link's.  The
 * exchange may have left the link after each. */
void gateway_exchange_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes);
void gateway_exchange_answer_body(struct gateway_exchange *exchange, hf_slice piece);
void gateway_exchange_answer_flush(struct gateway_exchange *exchange);
void gateway_exchange_answered(struct gateway_exchange *exchange);

/* Why a link failed. */
enum { LINK_ERROR, LINK_TIMEOUT, LINK_INVALID };
void gateway_exchange_link_failed(struct gateway_exchange *exchange, int32_t why);

/* ---- Holding (hold.c) -------------------------------------------------------------------------------------------- */

/* Whether the request may wait until a server can be reached, rather than be refused: none of them has begun to answer,
 * all of it is kept, and the time for that is not over. */
int32_t gateway_hold_may(const struct gateway_exchange *exchange);

/* Lets it wait in the queue of the view.  0: that is full. */
int32_t gateway_hold(struct gateway_exchange *exchange);

/* It may be asked for now: 0: it is too soon after the last try. */
int32_t gateway_hold_is_due(const struct gateway_exchange *exchange);

/* Every so often one of those that are held may try a server that gets nothing because requests to it have failed:
 * otherwise all would wait for fail_timeout, though it has come back.  Fills `bits` with such servers.  0: not now. */
int32_t gateway_hold_probes(struct gateway_exchange *exchange, uint64_t *bits);

/* One of them was picked: when it answers, it is back. */
void gateway_hold_probed(struct gateway_exchange *exchange, uint32_t place);

/* ---- Own answers (answer.c) -------------------------------------------------------------------------------------- */

/* `body` is valid during the call; an empty type or location: no such field. */
void gateway_answer(struct gateway_exchange *exchange, uint32_t status, hf_slice type, hf_slice body,
                    hf_slice location);
void gateway_answer_problem(struct gateway_exchange *exchange, uint32_t status, const char *why);

/* What the exchange's route answers itself. */
void gateway_answer_route(struct gateway_exchange *exchange);

/* ---- Queues (view.c) --------------------------------------------------------------------------------------------- */

/* Lets what waits go on while there is room. */
void gateway_view_serve(struct gateway_view *view);

/* At the end of a view's queue, and out of it. */
void gateway_view_enqueue(struct gateway_view *view, struct gateway_exchange *exchange);
void gateway_view_dequeue(struct gateway_view *view, struct gateway_exchange *exchange);

/* ---- Links ------------------------------------------------------------------------------------------------------- */

enum {
    LINK_CONNECTING,
    LINK_IDLE,
    LINK_HEAD, /* the head of an answer is to come */
    LINK_BODY,
    LINK_TUNNEL
};

struct gateway_link;

/* What an exchange wants of the side of its server; how depends on what the server speaks. */
struct gateway_link_calls {
    /* Begins the request: its head, and what has come of its body.  That a server takes no more is found when its
     * answer is read: it may have answered. */
    void (*begin)(struct gateway_link *link, hf_slice head, hf_slice body);

    /* More of the body; its end, with lines of trailers. */
    void (*body)(struct gateway_link *link, hf_slice piece);
    void (*end)(struct gateway_link *link, hf_slice trailers);

    /* The answer is not read for a while; and is. */
    void (*pause)(struct gateway_link *link);
    void (*resume)(struct gateway_link *link);

    /* From now on bytes go both ways. */
    void (*tunnel)(struct gateway_link *link);

    /* The exchange has no more use for it; `whole`: its request has been sent in full. */
    void (*left)(struct gateway_link *link, struct gateway_view *view, int32_t whole);
};

struct gateway_link {
    const struct gateway_link_calls *calls;
    struct gateway_link *next, *previous; /* idle links of a place, or the dead ones */
    struct gateway_worker *worker;
    struct gateway_view *view;      /* while idle */
    struct gateway_server_set *set; /* held while it is used; */
    struct gateway_server *server;  /* held always */
    uint32_t place;                 /* in `set`, or in the view's while idle */
    struct gateway_socket socket;
    struct gateway_deadline deadline;
    struct gateway_exchange *exchange;
    struct gateway_breaker_call call;
    hf_buffer waiting;  /* bytes that the server has not taken yet */
    hf_buffer partial;  /* a head that is not complete */
    hf_buffer trailers; /* of the answer, as lines */
    hf_http1_chunked chunked;
    uint64_t body_left;
    uint64_t picked_us;
    uint64_t owner;        /* the client whose requests alone it may carry, since the server was told; 0: any */
    int32_t body;          /* HF_HTTP1_BODY_... of the answer */
    int32_t body_out;      /* of the request */
    int32_t is_connection; /* it was made as one, and counts for its server */
    struct gateway_carrier *carrier; /* of HTTP/2, which has the connection then; NULL: it carries one request */
    int32_t state;
    int32_t is_reused;
    int32_t keeps; /* the connection may carry another request */
    int32_t is_paused;
    int32_t is_broken;   /* nothing can be sent any more */
    int32_t is_complete; /* the answer */
    int32_t is_dead;
    int32_t has_sent;     /* something of the request */
    int32_t has_answered; /* something has come */
    uint32_t address;     /* which of the place's */
};

/* Takes an idle link to the server at a place of the exchange's set, or begins one; gateway_exchange_link_ready is
 * called once it is there, perhaps before this returns.  `call` is what the server's breaker said.  HF_EIO, HF_ENOMEM:
 * it could not even begin. */
int32_t gateway_link_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                          hf_error *error);

/* What becomes of the answer must be known by then; 0: no limit. */
void gateway_link_expect(struct gateway_link *link, uint64_t due_us);

/* The exchange has no more use for it: it is kept for another if its answer is complete, else closed.  `outcome` is
 * what the server is to be thought of, GATEWAY_.... */
void gateway_link_leave(struct gateway_link *link, int32_t outcome);

/* Those that are kept for a client that goes. */
/* For HTTP/2, where a link may be a connection for many, or one of those: begins one in memory of the caller's, which
 * is all zero, or makes one; connects it, HF_EIO; sets what to be called for; closes it at once, and frees it when the
 * callback ends. */
void gateway_link_init(struct gateway_link *link, struct gateway_exchange *exchange, uint32_t place);
struct gateway_link *gateway_link_create(struct gateway_exchange *exchange, uint32_t place);
int32_t gateway_link_connect(struct gateway_link *link, hf_error *error);
void gateway_link_want(struct gateway_link *link);
void gateway_link_bury(struct gateway_link *link);

/* Those that are kept for a client that goes. */
void gateway_links_disown(struct gateway_worker *worker, uint64_t owner);

/* Of an idle one. */
void gateway_link_destroy(struct gateway_link *link);

#endif
