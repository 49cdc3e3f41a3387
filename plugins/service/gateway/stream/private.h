/* private.h: connections and flows of datagrams that a worker passes on without looking into them.
 *
 * A stream (tcp.c) is a client's connection: what must be known of it is read (the PROXY protocol, the name that its
 * TLS asks for), a server is taken (seat.c) and connected to, and from then on bytes go both ways (way.c).  Flows
 * (udp.c) are the same for datagrams.
 *
 * As in proxy/private.h, nothing is freed while a callback of the loop runs. */
#ifndef GATEWAY_STREAM_PRIVATE_H
#define GATEWAY_STREAM_PRIVATE_H

#include "stream/seat.h"
#include "stream/stream.h"
#include "stream/way.h"
#include "worker/worker.h"

enum {
    STREAM_HEAD,  /* what is to be known of it is to come */
    STREAM_WAITS, /* in a queue */
    STREAM_CONNECTING,
    STREAM_OPEN
};

struct gateway_tcp {
    struct gateway_tcp *next, *previous;               /* in the port's list, or that of the dead */
    struct gateway_tcp *next_queued, *previous_queued; /* in that of a view */
    struct gateway_worker *worker;
    struct gateway_port *port;
    const struct gateway_listener *listener; /* of the seat's plan, while that has one */
    struct gateway_socket client, server;
    struct gateway_way up, down; /* to the server, and from it */
    struct gateway_seat seat;
    struct gateway_deadline deadline;
    uint64_t idle_timeout_us;
    int32_t state;             /* STREAM_... */
    int32_t is_header_to_come; /* of the PROXY protocol */
    int32_t is_dead;
    uint32_t address_index;               /* of the server's addresses, while it is connected to */
    struct sockaddr_storage address;      /* of the client */
    struct sockaddr_storage *destination; /* that a proxy has told; owned; NULL: that of the socket */
};

#endif
