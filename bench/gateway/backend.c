/* The server behind the gateways that are compared: as little work for an answer as there can be, so that it is not
 * what is measured.  One thread, epoll, answers that are ready beforehand.
 *
 *   gateway_backend HTTP-PORT [UDP-PORT]
 *
 * HTTP: GET requests without a body; /64k and /1m are answered with so many bytes, all else with 128.  A connection
 * that sends anything else is closed.  UDP: each datagram goes back. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 64, REQUESTS_MAX = 8192, DATAGRAM_MAX = 2048, DATAGRAMS_AT_ONCE = 32 };

enum { LISTENER, DATAGRAMS, CONNECTION };

struct answer {
    char *bytes;
    size_t size;
};

struct peer {
    int fd, kind;
    uint32_t events;
    size_t held; /* bytes of requests that are not complete */
    const struct answer *answer;
    size_t sent; /* of the answer */
    char requests[REQUESTS_MAX];
};

static struct answer small_answer, middle_answer, large_answer;

static void fail(const char *what)
{
    fprintf(stderr, "gateway_backend: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        fail("no memory");
    return memory;
}

static void prepare(struct answer *answer, size_t body)
{
    char head[160];
    int size =
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);

    answer->size = (size_t)size + body;
    answer->bytes = allocate(answer->size);
    memcpy(answer->bytes, head, (size_t)size);
    memset(answer->bytes + size, 'x', body);
}

static void watch(int epoll, struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};

    if (peer->events == events)
        return;
    if (epoll_ctl(epoll, peer->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, peer->fd, &event) != 0)
        fail("cannot watch a connection");
    peer->events = events;
}

static void forget(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

static void open_port(int epoll, int type, int kind, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *peer = allocate(sizeof *peer);
    int on = 1;

    peer->kind = kind;
    peer->fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(peer->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        (type == SOCK_STREAM && listen(peer->fd, 4096) != 0))
        fail("cannot open the port");
    watch(epoll, peer, EPOLLIN);
}

static void accept_all(int epoll, int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = allocate(sizeof *peer);

        peer->fd = fd;
        peer->kind = CONNECTION;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, peer, EPOLLIN);
    }
}

static void echo_datagrams(int fd)
{
    static char bytes[DATAGRAMS_AT_ONCE][DATAGRAM_MAX];
    struct sockaddr_storage addresses[DATAGRAMS_AT_ONCE];
    struct iovec pieces[DATAGRAMS_AT_ONCE];
    struct mmsghdr messages[DATAGRAMS_AT_ONCE] = {0};

    for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
        pieces[i] = (struct iovec){bytes[i], sizeof bytes[i]};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &addresses[i], .msg_namelen = sizeof addresses[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(fd, messages, DATAGRAMS_AT_ONCE, 0, NULL);

    for (int i = 0; i < count; i++)
        pieces[i].iov_len = messages[i].msg_len;
    for (int i = 0; i < count;) {
        int sent = sendmmsg(fd, messages + i, (unsigned)(count - i), 0);

        i += sent > 0 ? sent : 1; /* a peer that is gone: the one that could not be sent is lost */
    }
}

/* 0: the connection is done with. */
static int send_answer(int epoll, struct peer *peer)
{
    while (peer->answer) {
        ssize_t sent = send(peer->fd, peer->answer->bytes + peer->sent, peer->answer->size - peer->sent, MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN) {
            watch(epoll, peer, EPOLLOUT);
            return 1;
        }
        if (sent <= 0)
            return 0;
        peer->sent += (size_t)sent;
        if (peer->sent == peer->answer->size)
            peer->answer = NULL;
    }
    watch(epoll, peer, EPOLLIN);
    return 1;
}

static const struct answer *answer_for(const char *request)
{
    if (strncmp(request, "GET /64k", 8) == 0)
        return &middle_answer;
    return strncmp(request, "GET /1m", 7) == 0 ? &large_answer : &small_answer;
}

/* Answers the requests that are there one after the other; 0: the connection is done with. */
static int serve(int epoll, struct peer *peer)
{
    while (!peer->answer) {
        char *end = memmem(peer->requests, peer->held, "\r\n\r\n", 4);

        if (!end)
            return peer->held < sizeof peer->requests;
        if (memcmp(peer->requests, "GET /", 5) != 0)
            return 0;
        peer->answer = answer_for(peer->requests);
        peer->sent = 0;
        peer->held -= (size_t)(end + 4 - peer->requests);
        memmove(peer->requests, end + 4, peer->held);
        if (!send_answer(epoll, peer))
            return 0;
    }
    return 1;
}

static void move(int epoll, struct peer *peer, uint32_t events)
{
    int goes_on = 1;

    if (events & EPOLLOUT)
        goes_on = send_answer(epoll, peer) && serve(epoll, peer);
    if (goes_on && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !peer->answer) {
        ssize_t got = recv(peer->fd, peer->requests + peer->held, sizeof peer->requests - peer->held, 0);

        if (got > 0) {
            peer->held += (size_t)got;
            goes_on = serve(epoll, peer);
        } else {
            goes_on = got < 0 && errno == EAGAIN;
        }
    }
    if (!goes_on)
        forget(peer);
}

int main(int count, char **arguments)
{
    struct epoll_event events[EVENTS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (count < 2 || epoll < 0) {
        fprintf(stderr, "gateway_backend HTTP-PORT [UDP-PORT]\n");
        return 2;
    }
    prepare(&small_answer, 128);
    prepare(&middle_answer, 64 << 10);
    prepare(&large_answer, 1 << 20);
    open_port(epoll, SOCK_STREAM, LISTENER, (uint16_t)atoi(arguments[1]));
    if (count > 2)
        open_port(epoll, SOCK_DGRAM, DATAGRAMS, (uint16_t)atoi(arguments[2]));
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);

        for (int i = 0; i < ready; i++) {
            struct peer *peer = events[i].data.ptr;

            if (peer->kind == LISTENER)
                accept_all(epoll, peer->fd);
            else if (peer->kind == DATAGRAMS)
                echo_datagrams(peer->fd);
            else
                move(epoll, peer, events[i].events);
        }
    }
}
