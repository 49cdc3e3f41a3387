/* Datagrams: a client that sends some has a flow, which is a socket connected to the server that it was given; what
 * comes from there goes back to the client from the listener's socket.  Datagrams may be lost anywhere on their way, so
 * what cannot be sent at once is. */
#include "stream/seat.h"
#include "stream/stream.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH_SIZE = 32,
    BATCHES_MAX = 4, /* at a time, so that others get their turn */
    DATAGRAM_SIZE = 64 << 10,
    CONTROL_SIZE = CMSG_SPACE(sizeof(struct in6_pktinfo)),
    BUCKETS_FIRST = 256
};

/* Who sends to where: a client's address and port, and which address of ours it sends to, where there are several. */
struct end {
    uint8_t client[16], own[16];
    uint32_t scope;
    uint16_t port;
    uint16_t reserved; /* 0: ends are compared byte by byte */
};

struct batch {
    struct mmsghdr heads[BATCH_SIZE];
    struct iovec pieces[BATCH_SIZE];
    struct sockaddr_storage names[BATCH_SIZE];
    _Alignas(struct cmsghdr) uint8_t controls[BATCH_SIZE][CONTROL_SIZE];
    uint8_t bytes[BATCH_SIZE][DATAGRAM_SIZE];
};

struct gateway_flow {
    struct gateway_flow *next; /* in its bucket, or the list of the dead */
    struct gateway_udp *udp;
    struct end end;
    struct sockaddr_storage client;
    socklen_t client_size;
    uint32_t own_size; /* of `own`: what the client sends to, as control data; 0: there is only one address */
    _Alignas(struct cmsghdr) uint8_t own[CONTROL_SIZE];
    struct gateway_socket socket; /* closed: it has no server */
    struct gateway_seat seat;
    struct gateway_deadline deadline;
    uint64_t timeout_us;
    int32_t has_answered;
    int32_t is_dead;
};

struct gateway_udp {
    struct gateway_port *port;
    struct gateway_flow **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t count;
    int32_t has_own; /* datagrams say which address of ours they were sent to */
    struct batch batch;
};

static void answer_ready(void *arg, int32_t fd, uint32_t events);
static void overdue(struct gateway_deadline *deadline);

static struct gateway_cell *cell_of(const struct gateway_udp *udp)
{
    return &udp->port->meter->cells[udp->port->worker->index];
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

/* A socket that takes datagrams for any address must answer from the one that was asked. */
static int32_t tell_own_address(struct gateway_udp *udp, hf_error *error)
{
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof at;
    int fd = udp->port->fd, on = 1, result = 0;

    if (getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot find out what a listener is bound to");
    if (at.ss_family == AF_INET && ((struct sockaddr_in *)&at)->sin_addr.s_addr == htonl(INADDR_ANY)) {
        udp->has_own = 1;
        result = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    } else if (at.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&at)->sin6_addr)) {
        udp->has_own = 1;
        result = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    }
    return result == 0 ? HF_OK : hf_error_set_errno(error, HF_EIO, errno, "cannot ask for the addresses of datagrams");
}

int32_t gateway_udp_create(struct gateway_port *port, hf_error *error)
{
    struct gateway_udp *udp = calloc(1, sizeof *udp); /* the system gives the bytes of the batch when they are used */

    port->udp = udp;
    if (!udp)
        return hf_error_set(error, HF_ENOMEM, "no memory for datagrams");
    udp->port = port;
    udp->bucket_count = BUCKETS_FIRST;
    udp->buckets = calloc(BUCKETS_FIRST, sizeof(struct gateway_flow *));
    if (!udp->buckets)
        return hf_error_set(error, HF_ENOMEM, "no memory for datagrams");
    return tell_own_address(udp, error);
}

void gateway_udp_destroy(struct gateway_udp *udp)
{
    if (!udp)
        return;
    free(udp->buckets);
    free(udp);
}

static struct gateway_flow **bucket_of(const struct gateway_udp *udp, const struct end *end)
{
    return &udp->buckets[hf_hash64(0, end, sizeof *end) & (udp->bucket_count - 1)];
}

/* Without memory the chains only get longer. */
static void grow(struct gateway_udp *udp)
{
    struct gateway_flow **old = udp->buckets;
    uint32_t old_count = udp->bucket_count;
    struct gateway_flow **buckets = calloc((uint64_t)old_count * 2, sizeof(struct gateway_flow *));

    if (!buckets)
        return;
    udp->buckets = buckets;
    udp->bucket_count = old_count * 2;
    for (uint32_t i = 0; i < old_count; i++)
        while (old[i]) {
            struct gateway_flow *flow = old[i], **to = bucket_of(udp, &flow->end);

            old[i] = flow->next;
            flow->next = *to;
            *to = flow;
        }
    free(old);
}

static void expect(struct gateway_flow *flow)
{
    struct gateway_worker *worker = flow->udp->port->worker;

    gateway_worker_deadline(worker, &flow->deadline, gateway_worker_now(worker) + flow->timeout_us);
}

static void destroy(struct gateway_flow *flow)
{
    struct gateway_udp *udp = flow->udp;
    struct gateway_worker *worker = udp->port->worker;

    if (flow->is_dead)
        return;
    flow->is_dead = 1;
    for (struct gateway_flow **at = bucket_of(udp, &flow->end); *at; at = &(*at)->next)
        if (*at == flow) {
            *at = flow->next;
            break;
        }
    udp->count--;
    gateway_count(&cell_of(udp)->closed, 1);
    gateway_deadline_clear(&worker->wheel, &flow->deadline);
    gateway_socket_close(&flow->socket);
    gateway_seat_done(&flow->seat);
    flow->next = worker->dead_flows;
    worker->dead_flows = flow;
}

void gateway_flow_free(struct gateway_flow *dead)
{
    while (dead) {
        struct gateway_flow *next = dead->next;

        free(dead);
        dead = next;
    }
}

void gateway_udp_end(struct gateway_udp *udp)
{
    for (uint32_t i = 0; i < udp->bucket_count; i++)
        while (udp->buckets[i])
            destroy(udp->buckets[i]);
}

void gateway_udp_follow(struct gateway_udp *udp)
{
    for (uint32_t i = 0; i < udp->bucket_count; i++)
        for (struct gateway_flow *flow = udp->buckets[i]; flow; flow = flow->next)
            gateway_seat_follow(&flow->seat);
}

static void overdue(struct gateway_deadline *deadline)
{
    destroy((struct gateway_flow *)((char *)deadline - offsetof(struct gateway_flow, deadline)));
}

/* ---- Servers --------------------------------------------------------------------------------------------------- */

static int32_t connect_to(struct gateway_flow *flow, const struct gateway_addresses *addresses, uint32_t index)
{
    struct gateway_worker *worker = flow->udp->port->worker;
    const struct sockaddr *at = (const struct sockaddr *)&addresses->items[index];
    int fd = socket(at->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return HF_EIO;
    if (connect(fd, at, addresses->sizes[index]) != 0) {
        close(fd);
        return HF_EIO;
    }
    return gateway_socket_open(&flow->socket, worker->loops, worker->loop, fd, HF_WATCH_READ, answer_ready, flow, NULL);
}

static int32_t connect_any(struct gateway_flow *flow)
{
    const struct gateway_addresses *addresses = gateway_seat_addresses(&flow->seat);
    int32_t code = HF_EIO;

    for (uint32_t i = 0; i < addresses->count && code != HF_OK; i++)
        code = connect_to(flow, addresses, i);
    return code;
}

/* 0: no server is to be had. */
static int take_server(struct gateway_flow *flow)
{
    const struct gateway_listener *listener = flow->udp->port->listener;

    gateway_seat_init(&flow->seat, flow->udp->port->worker, &flow->client, listener->tries);
    int32_t taken = gateway_seat_take(&flow->seat, listener->upstream);
    while (taken == GATEWAY_SEAT_TAKEN && connect_any(flow) != HF_OK) {
        gateway_seat_fail(&flow->seat);
        taken = gateway_seat_take_next(&flow->seat);
    }
    if (taken != GATEWAY_SEAT_TAKEN) {
        gateway_seat_done(&flow->seat);
        return 0;
    }
    gateway_seat_settle(&flow->seat);
    flow->has_answered = 0;
    return 1;
}

/* Nobody listens there, or the way is cut off: the next datagram finds another server. */
static void lose_server(struct gateway_flow *flow)
{
    gateway_socket_close(&flow->socket);
    gateway_seat_fail(&flow->seat);
    gateway_seat_done(&flow->seat);
}

static int is_refusal(int error)
{
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN;
}

/* ---- Flows ----------------------------------------------------------------------------------------------------- */

static void set_address(const struct sockaddr_storage *address, struct end *end)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;

    if (address->ss_family == AF_INET6) {
        memcpy(end->client, &six->sin6_addr, sizeof six->sin6_addr);
        end->scope = six->sin6_scope_id;
        end->port = six->sin6_port;
    } else {
        memcpy(end->client, &four->sin_addr, sizeof four->sin_addr);
        end->port = four->sin_port;
    }
}

/* The control data with which answers go out from the address that was asked. */
static uint32_t make_own(struct msghdr *message, uint8_t to[CONTROL_SIZE], struct end *end)
{
    struct cmsghdr *from = CMSG_FIRSTHDR(message), *head = (struct cmsghdr *)(void *)to;

    memset(to, 0, CONTROL_SIZE);
    if (from && from->cmsg_level == IPPROTO_IP && from->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo got, own = {0};

        memcpy(&got, CMSG_DATA(from), sizeof got);
        own.ipi_spec_dst = got.ipi_addr;
        *head = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof own)};
        memcpy(CMSG_DATA(head), &own, sizeof own);
        memcpy(end->own, &got.ipi_addr, sizeof got.ipi_addr);
        return CMSG_SPACE(sizeof own);
    }
    if (from && from->cmsg_level == IPPROTO_IPV6 && from->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo own;

        memcpy(&own, CMSG_DATA(from), sizeof own);
        if (!IN6_IS_ADDR_LINKLOCAL(&own.ipi6_addr))
            own.ipi6_ifindex = 0; /* the way back may be another one */
        *head =
            (struct cmsghdr){.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof own)};
        memcpy(CMSG_DATA(head), &own, sizeof own);
        memcpy(end->own, &own.ipi6_addr, sizeof own.ipi6_addr);
        return CMSG_SPACE(sizeof own);
    }
    return 0;
}

static struct gateway_flow *create(struct gateway_udp *udp, const struct end *end, const struct msghdr *message)
{
    struct gateway_port *port = udp->port;
    struct gateway_flow *flow = NULL;

    if (udp->count >= port->listener->flows_maximum) {
        gateway_count(&cell_of(udp)->refused, 1);
        return NULL;
    }
    flow = calloc(1, sizeof *flow);
    if (!flow)
        return NULL;
    flow->udp = udp;
    flow->end = *end;
    flow->client_size = message->msg_namelen;
    memcpy(&flow->client, message->msg_name, message->msg_namelen);
    flow->socket.fd = -1;
    flow->timeout_us = port->listener->flow_timeout_us;
    flow->deadline.passed = overdue;
    if (udp->count >= udp->bucket_count)
        grow(udp);
    struct gateway_flow **bucket = bucket_of(udp, end);
    flow->next = *bucket;
    *bucket = flow;
    udp->count++;
    gateway_count(&cell_of(udp)->accepted, 1);
    return flow;
}

/* The flow of a datagram, with a server; NULL: there is none. */
static struct gateway_flow *find(struct gateway_udp *udp, struct msghdr *message)
{
    _Alignas(struct cmsghdr) uint8_t own[CONTROL_SIZE];
    uint32_t own_size = 0;
    struct gateway_flow *flow;
    struct end end = {0};

    set_address(message->msg_name, &end);
    if (udp->has_own)
        own_size = make_own(message, own, &end);
    for (flow = *bucket_of(udp, &end); flow; flow = flow->next)
        if (memcmp(&flow->end, &end, sizeof end) == 0)
            break;
    if (!flow) {
        flow = create(udp, &end, message);
        if (!flow)
            return NULL;
        flow->own_size = own_size;
        if (own_size)
            memcpy(flow->own, own, own_size);
    }
    if (flow->socket.fd >= 0 || take_server(flow))
        return flow;
    destroy(flow);
    return NULL;
}

/* ---- From clients ---------------------------------------------------------------------------------------------- */

static void prepare(struct batch *batch, int with_control)
{
    for (uint32_t i = 0; i < BATCH_SIZE; i++) {
        batch->pieces[i] = (struct iovec){batch->bytes[i], DATAGRAM_SIZE};
        batch->heads[i].msg_hdr = (struct msghdr){.msg_name = &batch->names[i],
                                                  .msg_namelen = sizeof batch->names[i],
                                                  .msg_iov = &batch->pieces[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = with_control ? batch->controls[i] : NULL,
                                                  .msg_controllen = with_control ? CONTROL_SIZE : 0};
    }
}

static int receive_batch(int32_t fd, struct batch *batch, int with_control)
{
    int got;

    prepare(batch, with_control);
    do
        got = recvmmsg(fd, batch->heads, BATCH_SIZE, MSG_DONTWAIT, NULL);
    while (got < 0 && errno == EINTR);
    for (int i = 0; i < got; i++)
        batch->pieces[i].iov_len = batch->heads[i].msg_len;
    return got;
}

/* How many of these datagrams were sent, which begin at `first`. */
static int send_batch(int32_t fd, struct batch *batch, uint32_t first, uint32_t size)
{
    int sent;

    do
        sent = sendmmsg(fd, &batch->heads[first], size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/* 0: the flow has no server any more. */
static int find_other(struct gateway_flow *flow)
{
    lose_server(flow);
    return take_server(flow);
}

/* `size` datagrams from `first` on, all of this flow's. */
static void send_up(struct gateway_flow *flow, struct batch *batch, uint32_t first, uint32_t size)
{
    uint32_t tries = flow->udp->port->listener->tries;

    for (uint32_t i = first; i < first + size; i++)
        batch->heads[i].msg_hdr =
            (struct msghdr){.msg_iov = &batch->pieces[i], .msg_iovlen = 1}; /* the socket is connected */
    while (size > 0) {
        int sent = send_batch(flow->socket.fd, batch, first, size);

        if (sent < 0 && is_refusal(errno) && --tries > 0 && find_other(flow))
            continue; /* an earlier one was refused, and this one not sent */
        if (sent > 0)
            gateway_count(&cell_of(flow->udp)->datagrams_received, (uint64_t)sent);
        else
            gateway_count(&cell_of(flow->udp)->datagrams_lost, 1);
        first += sent > 0 ? (uint32_t)sent : 1;
        size -= sent > 0 ? (uint32_t)sent : 1;
        if (flow->socket.fd < 0) {
            gateway_count(&cell_of(flow->udp)->datagrams_lost, size);
            destroy(flow);
            return;
        }
    }
    expect(flow);
}

/* Datagrams that come from one client one after the other go on together. */
static void divide(struct gateway_udp *udp, uint32_t size)
{
    struct batch *batch = &udp->batch;
    struct gateway_flow *flow = NULL;
    uint32_t first = 0;

    for (uint32_t i = 0; i < size; i++) {
        struct gateway_flow *next = find(udp, &batch->heads[i].msg_hdr);

        if (flow && next != flow && !flow->is_dead)
            send_up(flow, batch, first, i - first);
        if (next != flow)
            first = i;
        flow = next;
        if (!next) {
            first = i + 1;
            gateway_count(&cell_of(udp)->datagrams_lost, 1);
        }
    }
    if (flow && !flow->is_dead)
        send_up(flow, batch, first, size - first);
}

void gateway_udp_receive(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_port *port = arg;
    struct gateway_worker *worker = port->worker;
    int got = BATCH_SIZE;

    (void)events;
    for (int i = 0; i < BATCHES_MAX && got == BATCH_SIZE; i++) {
        got = receive_batch(fd, &port->udp->batch, port->udp->has_own);
        if (got > 0)
            divide(port->udp, (uint32_t)got);
    }
    gateway_worker_settle(worker);
}

/* ---- From servers ---------------------------------------------------------------------------------------------- */

static void send_down(struct gateway_flow *flow, uint32_t size)
{
    struct gateway_udp *udp = flow->udp;
    struct batch *batch = &udp->batch;

    for (uint32_t i = 0; i < size; i++)
        batch->heads[i].msg_hdr = (struct msghdr){.msg_name = &flow->client,
                                                  .msg_namelen = flow->client_size,
                                                  .msg_iov = &batch->pieces[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = flow->own_size ? flow->own : NULL,
                                                  .msg_controllen = flow->own_size};
    for (uint32_t first = 0; first < size;) {
        int sent = send_batch(udp->port->fd, batch, first, size - first);

        if (sent > 0)
            gateway_count(&cell_of(udp)->datagrams_sent, (uint64_t)sent);
        else
            gateway_count(&cell_of(udp)->datagrams_lost, 1);
        first += sent > 0 ? (uint32_t)sent : 1;
    }
}

static void answer_ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_flow *flow = arg;
    struct gateway_worker *worker = flow->udp->port->worker;
    int got = receive_batch(fd, &flow->udp->batch, 0);

    (void)events;
    if (got > 0) {
        if (!flow->has_answered)
            gateway_seat_prove(&flow->seat);
        flow->has_answered = 1;
        send_down(flow, (uint32_t)got);
        expect(flow);
    } else if (got < 0 && is_refusal(errno)) {
        lose_server(flow);
    }
    gateway_worker_settle(worker);
}
