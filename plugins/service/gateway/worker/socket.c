#include "worker/socket.h"

#include "tls/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void fd_ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_socket *socket = arg;

    if (socket->tls)
        gateway_tls_ready(socket, events);
    else
        socket->ready(socket->arg, fd, events);
}

int32_t gateway_socket_open(struct gateway_socket *socket, const hf_loop_interface *loops, hf_loop *loop, int32_t fd,
                            uint32_t events, hf_watch_function ready, void *arg, hf_error *error)
{
    *socket = (struct gateway_socket){
        .fd = fd, .events = events, .watched = events, .loops = loops, .ready = ready, .arg = arg};
    int32_t code = loops->watch_create(loop, fd, events, fd_ready, socket, &socket->watch, error);

    if (code != HF_OK)
        gateway_socket_close(socket);
    return code;
}

void gateway_socket_close(struct gateway_socket *socket)
{
    if (socket->fd < 0)
        return;
    if (socket->tls)
        gateway_tls_close(socket);
    if (socket->watch)
        socket->loops->watch_destroy(socket->watch);
    (void)close(socket->fd); /* what the other side has not got is lost with the connection anyway */
    socket->watch = NULL;
    socket->fd = -1;
}

void gateway_socket_watch(struct gateway_socket *socket)
{
    uint32_t events = socket->tls ? gateway_tls_watched(socket) : socket->events;

    if (socket->watched == events)
        return;
    socket->watched = events;
    if (socket->loops->watch_change(socket->watch, events, NULL) != HF_OK)
        abort(); /* no memory for an event: connections would hang without anybody knowing */
}

void gateway_socket_want(struct gateway_socket *socket, uint32_t events)
{
    if (socket->fd < 0)
        return;
    socket->events = events;
    gateway_socket_watch(socket);
    if (socket->tls && events & HF_WATCH_READ)
        gateway_tls_wanted(socket);
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

int32_t gateway_socket_serve_tls(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                                 struct gateway_tls_server *server, hf_slice first, hf_error *error)
{
    int32_t code = gateway_tls_serve(socket, worker, server, first, error);

    gateway_socket_watch(socket);
    return code;
}

int32_t gateway_socket_ask_tls(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                               struct gateway_tls_client *client, uint32_t place, hf_error *error)
{
    int32_t code = gateway_tls_ask(socket, worker, client, place, error);

    gateway_socket_watch(socket);
    return code;
}

int32_t gateway_socket_is_tls(const struct gateway_socket *socket)
{
    return socket->tls != NULL;
}

int32_t gateway_socket_is_open(const struct gateway_socket *socket)
{
    return !socket->tls || gateway_tls_is_open(socket->tls);
}

int32_t gateway_socket_protocol(const struct gateway_socket *socket)
{
    return socket->tls ? gateway_tls_protocol(socket->tls) : GATEWAY_ALPN_NONE;
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

int64_t gateway_socket_read(struct gateway_socket *socket, void *bytes, uint64_t size)
{
    ssize_t got;

    if (socket->tls)
        return gateway_tls_read(socket, bytes, size);
    do
        got = recv(socket->fd, bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK ? GATEWAY_AGAIN : GATEWAY_BROKEN;
}

int32_t gateway_socket_has_more(const struct gateway_socket *socket)
{
    return socket->tls && gateway_tls_has_more(socket->tls);
}

int64_t gateway_socket_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)count};
    ssize_t sent;

    if (socket->tls)
        return gateway_tls_write(socket, pieces, count);
    do
        sent = count == 1 ? send(socket->fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                          : sendmsg(socket->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EWOULDBLOCK ? GATEWAY_AGAIN : GATEWAY_BROKEN;
}

void gateway_socket_end(struct gateway_socket *socket)
{
    if (socket->tls)
        gateway_tls_end(socket);
    else
        (void)shutdown(socket->fd, SHUT_WR); /* it fails when the other side is gone, which is as good */
}
