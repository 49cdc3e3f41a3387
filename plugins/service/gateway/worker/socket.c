#include "worker/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int32_t gateway_socket_open(struct gateway_socket *socket, const hf_loop_interface *loops, hf_loop *loop, int32_t fd,
                            uint32_t events, hf_watch_function ready, void *arg, hf_error *error)
{
    *socket = (struct gateway_socket){.fd = fd, .events = events, .loops = loops};
    int32_t code = loops->watch_create(loop, fd, events, ready, arg, &socket->watch, error);

    if (code != HF_OK)
        gateway_socket_close(socket);
    return code;
}

void gateway_socket_close(struct gateway_socket *socket)
{
    if (socket->fd < 0)
        return;
    if (socket->watch)
        socket->loops->watch_destroy(socket->watch);
    (void)close(socket->fd); /* what the other side has not got is lost with the connection anyway */
    socket->watch = NULL;
    socket->fd = -1;
}

void gateway_socket_want(struct gateway_socket *socket, uint32_t events)
{
    if (socket->events == events || socket->fd < 0)
        return;
    socket->events = events;
    if (socket->loops->watch_change(socket->watch, events, NULL) != HF_OK)
        abort(); /* no memory for an event: connections would hang without anybody knowing */
}

int64_t gateway_socket_read(struct gateway_socket *socket, void *bytes, uint64_t size)
{
    ssize_t got;

    do
        got = recv(socket->fd, bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EWOULDBLOCK ? GATEWAY_AGAIN : GATEWAY_BROKEN;
}

int32_t gateway_socket_has_more(const struct gateway_socket *socket)
{
    (void)socket;
    return 0;
}

int64_t gateway_socket_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)count};
    ssize_t sent;

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
    (void)shutdown(socket->fd, SHUT_WR); /* it fails when the other side is gone, which is as good */
}
