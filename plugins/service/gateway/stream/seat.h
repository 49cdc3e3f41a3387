/* seat.h: the server that serves a connection or a flow of datagrams: chosen as for requests, counted at the server as
 * long as it is kept, and reported as well or failed once that is known, which is long before the end.  [loop] */
#ifndef GATEWAY_SEAT_H
#define GATEWAY_SEAT_H

#include "upstream/choose.h"
#include "worker/worker.h"

enum {
    GATEWAY_SEAT_TAKEN,
    GATEWAY_SEAT_FULL, /* servers are well, and have no room */
    GATEWAY_SEAT_NONE  /* there is no server to be had */
};

struct gateway_seat {
    struct gateway_worker *worker;
    struct gateway_generation *generation; /* used while servers are chosen */
    struct gateway_view *view;             /* of it */
    struct gateway_server_set *set;        /* held; NULL: none yet, or let go of since it became old */
    struct gateway_server *server;         /* held, and counted there; NULL: none */
    uint32_t place;                        /* in `set` */
    uint32_t upstream;                     /* of the generation's plan */
    uint32_t tries, tries_maximum, hops;
    int32_t is_counted; /* by the upstream's breaker */
    int32_t is_open;    /* what the server is thought of is not reported yet */
    int32_t has_key;
    struct gateway_breaker_call call, upstream_call;
    uint64_t picked_us, key;
    uint64_t *tried; /* bits by place: */
    uint64_t tried_word;
};

/* Begins to choose in the present plan, for the client with this address. */
void gateway_seat_init(struct gateway_seat *seat, struct gateway_worker *worker, const struct sockaddr_storage *client,
                       uint32_t tries_maximum);

/* It is that client's after all. */
void gateway_seat_rename(struct gateway_seat *seat, const struct sockaddr_storage *client);

/* Takes a server of the upstream; or, when it has none, of the one that is asked in its place. */
int32_t gateway_seat_take(struct gateway_seat *seat, uint32_t upstream);

/* Takes another one of it, after FULL or when one has failed. */
int32_t gateway_seat_take_next(struct gateway_seat *seat);

/* Where the server can be reached. */
const struct gateway_addresses *gateway_seat_addresses(const struct gateway_seat *seat);

/* The server has failed, and is left. */
void gateway_seat_fail(struct gateway_seat *seat);

/* No other server will be chosen: the plan is let go. */
void gateway_seat_settle(struct gateway_seat *seat);

/* The server is well. */
void gateway_seat_prove(struct gateway_seat *seat);

/* After another plan was taken over: an old set is let go, so that plans do not stay as long as connections do. */
void gateway_seat_follow(struct gateway_seat *seat);

/* The end: everything is let go. */
void gateway_seat_done(struct gateway_seat *seat);

#endif
