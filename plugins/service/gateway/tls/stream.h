/* stream.h: TLS on a socket of a worker (worker/socket.h), which is the only one that calls this.  [loop]
 *
 * Bytes go through two buffers of the worker: one read takes many records, and what one write makes of heads and pieces
 * leaves as records of up to 16 KiB with one system call.  A connection itself only keeps what it must: records that it
 * has no room for, and those that the other side does not take.  OpenSSL's own buffers are there while there is a part
 * of a record in them. */
#ifndef GATEWAY_TLS_STREAM_H
#define GATEWAY_TLS_STREAM_H

#include "tls/client.h"
#include "tls/server.h"

#include <holdfast/host/loop.h>

#include <sys/uio.h>

struct gateway_socket;
struct gateway_tls;
struct gateway_tls_worker; /* what the connections of a worker share */

/* HF_ENOMEM.  [main] */
int32_t gateway_tls_worker_create(const hf_loop_interface *loops, hf_loop *loop, uint32_t index,
                                  struct gateway_tls_worker **ret_worker, hf_error *error);

/* All its connections are closed.  [main], once the loop runs no more.  Accepts NULL. */
void gateway_tls_worker_destroy(struct gateway_tls_worker *worker);

/* Both begin on a socket that is open; `first` is what was read of it already.  HF_ENOMEM, HF_EIO: the socket is as it
 * was, and of no use. */
int32_t gateway_tls_serve(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                          struct gateway_tls_server *server, hf_slice first, hf_error *error);
int32_t gateway_tls_ask(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                        struct gateway_tls_client *client, uint32_t place, hf_error *error);

/* The descriptor is ready. */
void gateway_tls_ready(struct gateway_socket *socket, uint32_t events);

/* What the descriptor must be watched for, beside what the socket's owner wants. */
uint32_t gateway_tls_watched(const struct gateway_socket *socket);

/* The owner wants to read: if there is something already it is called, in its turn. */
void gateway_tls_wanted(struct gateway_socket *socket);

/* As those of worker/socket.h. */
int64_t gateway_tls_read(struct gateway_socket *socket, void *bytes, uint64_t size);
int32_t gateway_tls_has_more(const struct gateway_tls *tls);
int64_t gateway_tls_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count);
void gateway_tls_end(struct gateway_socket *socket);
void gateway_tls_close(struct gateway_socket *socket);
int32_t gateway_tls_protocol(const struct gateway_tls *tls);
int32_t gateway_tls_is_open(const struct gateway_tls *tls);

#endif
