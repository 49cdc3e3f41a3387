/* server.h: TLS of a listener: its certificates, and which of them a client gets.  The plan has it; workers begin
 * connections with it, all with the same contexts: OpenSSL locks nothing of them in a handshake, since sessions are in
 * tickets and not in a cache.  Changed files are read again while it is used. */
#ifndef GATEWAY_TLS_SERVER_H
#define GATEWAY_TLS_SERVER_H

#include "tls/options.h"
#include "tls/tickets.h"

#include <holdfast/host/metrics.h>

/* What is negotiated by ALPN. */
enum { GATEWAY_ALPN_NONE, GATEWAY_ALPN_HTTP1, GATEWAY_ALPN_H2 };

enum { GATEWAY_TLS_LOOK_US = 2000000 /* between two looks at the files */ };

struct gateway_tls_server;

/* The certificates that a connection began with; it holds them, and the server. */
struct gateway_tls_set;

/* The listener `name`.  `offers_h2`: clients may speak HTTP/2, too.  Certificates that are not valid now are logged.
 * `tickets` must live as long as it.  HF_EINVAL: a file that is missing or wrong, with its name; HF_ENOMEM.  [main] */
int32_t gateway_tls_server_create(const hf_host *host, struct gateway_tickets *tickets, const char *name,
                                  const struct gateway_tls_server_options *options, int32_t offers_h2,
                                  struct gateway_tls_server **ret_server, hf_error *error);

/* [any]; release accepts NULL. */
void gateway_tls_server_hold(struct gateway_tls_server *server);
void gateway_tls_server_release(struct gateway_tls_server *server);

/* Reads the files again when they have changed, if it is time to look; what cannot be used is logged, and the
 * connections to come get what there was.  [main] */
void gateway_tls_server_look(struct gateway_tls_server *server, uint64_t now_us);

uint64_t gateway_tls_server_lifetime(const struct gateway_tls_server *server);

/* A connection of a client.  NULL: no memory.  [any] */
SSL *gateway_tls_server_begin(struct gateway_tls_server *server, struct gateway_tls_set **ret_set);
void gateway_tls_set_release(struct gateway_tls_set *set);

/* How its handshake ended.  [any] */
void gateway_tls_server_count(struct gateway_tls_server *server, int32_t has_succeeded, int32_t is_resumed);

#endif
