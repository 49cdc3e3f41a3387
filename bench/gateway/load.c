/* What wrk and h2load do not ask: one thread, epoll, as many clients at a time as are wanted, each with one request
 * under way.
 *
 *   gateway_load tls PORT CLIENTS SECONDS     a TLS 1.3 connection for every request, without resumption
 *   gateway_load udp PORT CLIENTS SECONDS     a flow for each client, 64 bytes there and back
 *   gateway_load paced PORT CLIENTS RATE      so many requests a second over connections that are kept, until its
 *                                             standard input ends
 *   gateway_load idle PORT CLIENTS plain|tls  connections that have had one request; says "ready", and keeps them until
 *                                             its standard input ends
 *
 * The first three print: requests, requests a second, the median and the 99th percentile in microseconds, errors. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    ANSWER_MAX = 8192,
    LATENCY_MAX_US = 1000000,
    LOST_US = 500000,
    LAST_US = 10000000,
    DATAGRAM = 64
};
enum { OPENING_AT_ONCE = 64 /* of idle connections: no more than a listening socket's queue holds */ };

enum { CONNECTS, HANDSHAKES, RECEIVES, RESTS };

static const char request[] = "GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n";

struct client {
    int fd, state;
    SSL *tls;
    uint64_t began_us;
    uint32_t held;
    char answer[ANSWER_MAX];
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static int epoll;
static SSL_CTX *context; /* NULL: without TLS */
static uint32_t latencies[LATENCY_MAX_US + 1];
static uint64_t answers, errors, end_us;

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void fail(const char *what)
{
    fprintf(stderr, "gateway_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void count_answer(const struct client *client)
{
    uint64_t took = now_us() - client->began_us;

    latencies[took < LATENCY_MAX_US ? took : LATENCY_MAX_US]++;
    answers++;
}

static uint32_t percentile(double part)
{
    uint64_t seen = 0;
    uint32_t at = 0;

    while (at < LATENCY_MAX_US && (double)(seen += latencies[at]) < part * (double)answers)
        at++;
    return at;
}

static void report(double seconds)
{
    printf("%llu %.0f %u %u %llu\n", (unsigned long long)answers, (double)answers / seconds, percentile(0.5),
           percentile(0.99), (unsigned long long)errors);
}

static void watch(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    if (epoll_ctl(epoll, operation, client->fd, &event) != 0)
        fail("cannot watch a socket");
}

/* ---- HTTP, in TLS or not ----------------------------------------------------------------------------------------- */

static void open_connection(struct client *client)
{
    int on = 1;

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail("no socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    client->state = CONNECTS;
    client->held = 0;
    client->began_us = now_us();
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail("no connection");
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

static void close_connection(struct client *client)
{
    if (client->tls) {
        SSL_shutdown(client->tls);
        SSL_free(client->tls);
        client->tls = NULL;
    }
    close(client->fd);
}

/* Whether a read or write of TLS only has to wait. */
static int waits(const struct client *client, int result)
{
    int error = SSL_get_error(client->tls, result);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static int send_request(struct client *client)
{
    int size = (int)sizeof request - 1;

    client->state = RECEIVES;
    if (client->tls)
        return SSL_write(client->tls, request, size) == size;
    return send(client->fd, request, (size_t)size, MSG_NOSIGNAL) == size;
}

/* Goes on with what there is to do before the request; 0: it failed. */
static int begin(struct client *client)
{
    if (client->state == CONNECTS) {
        int failed = 0;
        socklen_t size = sizeof failed;

        if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed)
            return 0;
        watch(client, EPOLL_CTL_MOD, EPOLLIN);
        if (!context)
            return send_request(client);
        client->tls = SSL_new(context);
        if (!client->tls || SSL_set_fd(client->tls, client->fd) != 1)
            fail("no memory for TLS");
        client->state = HANDSHAKES;
    }
    int result = SSL_connect(client->tls);

    return result == 1 ? send_request(client) : waits(client, result);
}

/* 1: the answer is whole; 0: it is not yet; -1: it will not be. */
static int receive(struct client *client)
{
    int room = (int)(sizeof client->answer - 1 - client->held);
    int got = client->tls ? SSL_read(client->tls, client->answer + client->held, room)
                          : (int)recv(client->fd, client->answer + client->held, (size_t)room, 0);

    if (got <= 0)
        return got < 0 && (client->tls ? waits(client, got) : errno == EAGAIN) ? 0 : -1;
    client->held += (uint32_t)got;
    client->answer[client->held] = '\0';
    const char *body = strstr(client->answer, "\r\n\r\n"), *length = strcasestr(client->answer, "\r\ncontent-length:");

    if (!body)
        return room > got ? 0 : -1;
    if (!length || strncmp(client->answer, "HTTP/1.1 200 ", 13) != 0)
        return -1;
    return client->held >= (uint64_t)(body + 4 - client->answer) + strtoul(length + 17, NULL, 10);
}

/* Whether an idle connection is there still: TLS may send tickets on it, but nobody should end it. */
static int is_open(struct client *client)
{
    client->held = 0;
    return receive(client) == 0;
}

/* 1: the answer is there; 0: there is more to come; -1: it failed. */
static int move(struct client *client)
{
    if (client->state == CONNECTS || client->state == HANDSHAKES)
        if (!begin(client))
            return -1;
    return client->state == RECEIVES ? receive(client) : 0;
}

static void ask_over_new_connections(struct client *clients, int count)
{
    struct epoll_event events[EVENTS_MAX];

    for (int i = 0; i < count; i++)
        open_connection(&clients[i]);
    while (now_us() < end_us) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, 100);

        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            int result = move(client);

            if (result == 0)
                continue;
            if (result > 0)
                count_answer(client);
            else
                errors++;
            close_connection(client);
            open_connection(client);
        }
    }
}

static void hold_connections(struct client *clients, int count)
{
    struct epoll_event events[EVENTS_MAX];
    int opened = 0, rest = 0;
    char byte;

    while (rest < count) {
        while (opened < count && opened - rest < OPENING_AT_ONCE)
            open_connection(&clients[opened++]);
        int ready = epoll_wait(epoll, events, EVENTS_MAX, 10000);

        if (ready <= 0)
            fail("connections are not answered");
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            int result = move(client);

            if (result < 0 || (client->state == RESTS && !is_open(client)))
                fail("a connection was closed");
            if (result > 0) {
                client->state = RESTS;
                rest++;
            }
        }
    }
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (int i = 0; i < count; i++)
        if (!is_open(&clients[i]))
            fail("a connection was closed meanwhile");
}

/* ---- At a rate --------------------------------------------------------------------------------------------------- */

static void finish_connecting(struct client *client)
{
    int failed = 0;
    socklen_t size = sizeof failed;

    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed) {
        fprintf(stderr, "gateway_load: no connection: %s\n", strerror(failed));
        errors++;
        close_connection(client);
        open_connection(client);
        return;
    }
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    client->state = RESTS;
}

/* A request counts from when it was due: a gateway that stands still is not asked less for that. */
static void ask(struct client *client, uint64_t due_us)
{
    client->held = 0;
    client->began_us = due_us;
    if (!send_request(client)) {
        fprintf(stderr, "gateway_load: a request could not be sent\n");
        errors++;
    }
}

/* An answer, or the end of a connection: of one that rests it may come at any time. */
static void take_answer(struct client *client)
{
    int had_request = client->state == RECEIVES, result = had_request ? receive(client) : -1;

    if (result == 0)
        return;
    if (result > 0)
        count_answer(client);
    else if (had_request) {
        client->answer[client->held] = '\0';
        fprintf(stderr, "gateway_load: a request was not answered: '%.60s'\n", client->answer);
        errors++;
    }
    client->state = RESTS;
    if (result > 0 && !strcasestr(client->answer, "\r\nconnection: close"))
        return;
    close_connection(client);
    open_connection(client);
}

static void look_at(struct client *client)
{
    if (client->state == CONNECTS)
        finish_connecting(client);
    else
        take_answer(client);
}

static struct client *find_rested(struct client *clients, int count, int *next)
{
    for (int i = 0; i < count; i++, ++*next)
        if (clients[*next % count].state == RESTS)
            return &clients[(*next)++ % count];
    return NULL;
}

static int any_waits(const struct client *clients, int count)
{
    for (int i = 0; i < count; i++)
        if (clients[i].state == RECEIVES)
            return 1;
    return 0;
}

static void watch_input(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        fail("cannot watch the standard input");
}

/* Returns for how many seconds it asked. */
static double ask_at_a_rate(struct client *clients, int count, double rate)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t began_us = now_us(), asked = 0, ended_us = 0;
    struct client *client;
    int next = 0;

    watch_input();
    for (int i = 0; i < count; i++)
        open_connection(&clients[i]);
    while (!ended_us || (any_waits(clients, count) && now_us() < ended_us + LAST_US)) {
        uint64_t due_us = began_us + (uint64_t)((double)asked / rate * 1e6);

        while (!ended_us && due_us <= now_us() && (client = find_rested(clients, count, &next))) {
            ask(client, due_us);
            due_us = began_us + (uint64_t)((double)++asked / rate * 1e6);
        }
        int ready = epoll_wait(epoll, events, EVENTS_MAX, 1);
        for (int i = 0; i < ready; i++)
            if (!events[i].data.ptr)
                ended_us = ended_us ? ended_us : now_us();
            else
                look_at(events[i].data.ptr);
        if (ended_us)
            (void)epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    }
    errors += (uint64_t)any_waits(clients, count);
    return (double)(ended_us - began_us) / 1e6;
}

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

static void send_datagram(struct client *client)
{
    char bytes[DATAGRAM] = {0};

    client->began_us = now_us();
    memcpy(bytes, &client->began_us, sizeof client->began_us); /* so that a late answer is not taken for this one's */
    if (send(client->fd, bytes, sizeof bytes, 0) != sizeof bytes)
        errors++;
}

static void receive_datagram(struct client *client)
{
    char bytes[DATAGRAM + 1];
    ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got != DATAGRAM) {
        errors++;
    } else if (memcmp(bytes, &client->began_us, sizeof client->began_us) == 0) {
        count_answer(client);
        send_datagram(client);
    }
}

static void open_flow(struct client *client)
{
    client->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("no socket");
    watch(client, EPOLL_CTL_ADD, EPOLLIN);
    send_datagram(client);
}

/* Datagrams that were lost are sent again, and are errors. */
static void look_for_lost(struct client *clients, int count)
{
    uint64_t now = now_us();

    for (int i = 0; i < count; i++)
        if (now - clients[i].began_us > LOST_US) {
            errors++;
            send_datagram(&clients[i]);
        }
}

static void ask_by_datagrams(struct client *clients, int count)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t looked_us = now_us();

    for (int i = 0; i < count; i++)
        open_flow(&clients[i]);
    while (now_us() < end_us) {
        int ready = epoll_wait(epoll, events, EVENTS_MAX, 100);

        for (int i = 0; i < ready; i++)
            receive_datagram(events[i].data.ptr);
        if (now_us() - looked_us > LOST_US / 5) {
            looked_us = now_us();
            look_for_lost(clients, count);
        }
    }
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static void make_context(void)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1)
        fail("no TLS");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* it is the gateways' time that is measured */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 5) {
        fprintf(stderr, "gateway_load tls|udp PORT CLIENTS SECONDS, gateway_load paced PORT CLIENTS RATE, or "
                        "gateway_load idle PORT CLIENTS plain|tls\n");
        return 2;
    }
    int count = atoi(arguments[3]), is_idle = strcmp(arguments[1], "idle") == 0;
    double seconds = atof(arguments[4]);
    struct client *clients = calloc((size_t)count, sizeof *clients);

    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || epoll < 0)
        fail("no memory");
    address.sin_port = htons((uint16_t)atoi(arguments[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    end_us = now_us() + (uint64_t)(seconds * 1e6);
    if (strcmp(arguments[1], "tls") == 0 || strcmp(arguments[4], "tls") == 0)
        make_context();
    if (is_idle) {
        hold_connections(clients, count);
        return 0;
    }
    if (strcmp(arguments[1], "paced") == 0)
        seconds = ask_at_a_rate(clients, count, seconds);
    else if (strcmp(arguments[1], "udp") == 0)
        ask_by_datagrams(clients, count);
    else
        ask_over_new_connections(clients, count);
    report(seconds);
    return answers == 0;
}
