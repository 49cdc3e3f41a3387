/* socket.h: one end of a connection on a worker's loop: bytes in and out without waiting.  Whether they are encrypted
 * on the way is the socket's own affair.  [loop] */
#ifndef GATEWAY_SOCKET_H
#define GATEWAY_SOCKET_H

#include <holdfast/host/loop.h>

#include <sys/uio.h>

enum { GATEWAY_AGAIN = -1, GATEWAY_BROKEN = -2 };

struct gateway_socket {
    int32_t fd; /* -1: closed */
    uint32_t events;
    hf_watch *watch;
    const hf_loop_interface *loops;
};

/* Takes the descriptor, also when it fails (HF_ENOMEM, HF_EIO).  `ready` is called for `events`. */
int32_t gateway_socket_open(struct gateway_socket *socket, const hf_loop_interface *loops, hf_loop *loop, int32_t fd,
                            uint32_t events, hf_watch_function ready, void *arg, hf_error *error);

/* Accepts a closed one. */
void gateway_socket_close(struct gateway_socket *socket);

/* What to be called for, HF_WATCH_...; costs nothing when it is as before. */
void gateway_socket_want(struct gateway_socket *socket, uint32_t events);

/* Bytes read; 0: the other side has ended; GATEWAY_AGAIN: none are there; GATEWAY_BROKEN. */
int64_t gateway_socket_read(struct gateway_socket *socket, void *bytes, uint64_t size);

/* Whether bytes can be read though the descriptor may not be ready. */
int32_t gateway_socket_has_more(const struct gateway_socket *socket);

/* Bytes written; GATEWAY_AGAIN: none can be now; GATEWAY_BROKEN. */
int64_t gateway_socket_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count);

/* Says that nothing more comes from here. */
void gateway_socket_end(struct gateway_socket *socket);

#endif
