/* client.h: TLS to the servers of an upstream.  A set of servers has it; each worker keeps the last session of each
 * server, which the next connection resumes.  Changed files are read again while it is used. */
#ifndef GATEWAY_TLS_CLIENT_H
#define GATEWAY_TLS_CLIENT_H

#include "tls/options.h"

#include <openssl/ssl.h>

struct gateway_tls_client;

/* For the upstream `name`, whose servers have these addresses ("host:port"), in the order of their places.  `before`
 * (may be NULL) is that of the set of servers before: with the same options its certificates are taken over, so that
 * servers can come and go whatever has become of the files.  HF_EINVAL: a file that is missing or wrong, with its name,
 * or a server without a name; HF_ENOMEM.  `wants_h2`: HTTP/2 is what is asked for by ALPN, in place of HTTP/1.1.
 * [main] */
int32_t gateway_tls_client_create(const hf_host *host, const char *name,
                                  const struct gateway_tls_client_options *options, int32_t wants_h2,
                                  uint32_t worker_count, const char *const *addresses, uint32_t count,
                                  const struct gateway_tls_client *before, struct gateway_tls_client **ret_client,
                                  hf_error *error);

/* [any]; release accepts NULL. */
void gateway_tls_client_hold(struct gateway_tls_client *client);
void gateway_tls_client_release(struct gateway_tls_client *client);

/* Reads the files again when they have changed, if it is time to look.  [main] */
void gateway_tls_client_look(struct gateway_tls_client *client, uint64_t now_us);

/* A connection to the server at `place`, which resumes the last session.  NULL: no memory.  The worker's. */
SSL *gateway_tls_client_begin(struct gateway_tls_client *client, uint32_t worker, uint32_t place);

/* A session that may be resumed; takes it.  The worker's. */
void gateway_tls_client_keep(struct gateway_tls_client *client, uint32_t worker, uint32_t place, SSL_SESSION *session);

/* How a handshake ended; a failure is logged, at most one in a while.  The worker's. */
void gateway_tls_client_count(struct gateway_tls_client *client, uint32_t place, const SSL *ssl, int32_t has_succeeded,
                              uint64_t now_us);

/* Whether a connection of one may be used for the other; each may be NULL: no TLS. */
int32_t gateway_tls_client_is_like(const struct gateway_tls_client *a, const struct gateway_tls_client *b);

/* Whether what ends without close_notify is whole. */
int32_t gateway_tls_client_allows_truncation(const struct gateway_tls_client *client);

/* The name that is asked for, or 0: the address cannot be one ("unix:/path").  `name` has `size` bytes. */
int32_t gateway_tls_client_name(const char *address, char *name, uint64_t size);

/* What OpenSSL calls with a session; gateway_tls_session_new of stream.c. */
int gateway_tls_session_new(SSL *ssl, SSL_SESSION *session);

#endif
