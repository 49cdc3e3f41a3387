/* socket.h: one end of a connection on a worker's loop: bytes in and out without waiting.  Whether they are encrypted
 * on the way is the socket's own affair.  [loop] */
#ifndef GATEWAY_SOCKET_H
#define GATEWAY_SOCKET_H

#include <holdfast/host/loop.h>

#include <sys/uio.h>

enum { GATEWAY_AGAIN = -1, GATEWAY_BROKEN = -2 };

struct gateway_tls;
struct gateway_tls_client;
struct gateway_tls_server;
struct gateway_tls_worker;

struct gateway_socket {
    int32_t fd;       /* -1: closed */
    uint32_t events;  /* that its owner wants */
    uint32_t watched; /* those of the watch, which TLS may want besides, or instead */
    hf_watch *watch;
    const hf_loop_interface *loops;
    hf_watch_function ready;
    void *arg;
    struct gateway_tls *tls; /* NULL: it is plain */
};

/* Takes the descriptor, also when it fails (HF_ENOMEM, HF_EIO).  `ready` is called for `events`. */
int32_t gateway_socket_open(struct gateway_socket *socket, const hf_loop_interface *loops, hf_loop *loop, int32_t fd,
                            uint32_t events, hf_watch_function ready, void *arg, hf_error *error);

/* From now on the socket speaks TLS; as long as the handshake takes nothing can be read or written, and `ready` is not
 * called.  Then it is, for what is wanted: to write, also if nothing has come yet; and when the handshake fails, for
 * anything: reading and writing then return GATEWAY_BROKEN.  `first`: what was read of the socket already.  HF_ENOMEM,
 * HF_EIO: the socket is of no use, and still to be closed. */
int32_t gateway_socket_serve_tls(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                                 struct gateway_tls_server *server, hf_slice first, hf_error *error);
int32_t gateway_socket_ask_tls(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                               struct gateway_tls_client *client, uint32_t place, hf_error *error);
int32_t gateway_socket_is_tls(const struct gateway_socket *socket);

/* Whether a TLS handshake, if there is one, has succeeded, and nothing has failed since. */
int32_t gateway_socket_is_open(const struct gateway_socket *socket);

/* What was negotiated, GATEWAY_ALPN_... (tls/server.h), once the handshake is done. */
int32_t gateway_socket_protocol(const struct gateway_socket *socket);

/* What was not sent is lost, and with TLS the other side sees that the connection was cut off: gateway_socket_end goes
 * before where all was said.  Accepts a closed one. */
void gateway_socket_close(struct gateway_socket *socket);

/* What to be called for, HF_WATCH_...; costs nothing when it is as before. */
void gateway_socket_want(struct gateway_socket *socket, uint32_t events);

/* Bytes read; 0: the other side has ended (with TLS: has said so); GATEWAY_AGAIN: none are there; GATEWAY_BROKEN. */
int64_t gateway_socket_read(struct gateway_socket *socket, void *bytes, uint64_t size);

/* Whether bytes can be read though the descriptor may not be ready. */
int32_t gateway_socket_has_more(const struct gateway_socket *socket);

/* Bytes written; GATEWAY_AGAIN: none can be now; GATEWAY_BROKEN.  What was not written comes first the next time. */
int64_t gateway_socket_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count);

/* Says that nothing more comes from here. */
void gateway_socket_end(struct gateway_socket *socket);

/* Watches for what is wanted now; of tls/stream.c. */
void gateway_socket_watch(struct gateway_socket *socket);

#endif
