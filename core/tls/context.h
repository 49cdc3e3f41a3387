/* context.h: TLS contexts for links between nodes: mutual TLS 1.3 within one cluster. */
#ifndef HOLDFAST_CORE_TLS_CONTEXT_H
#define HOLDFAST_CORE_TLS_CONTEXT_H

#include <holdfast/holdfast.h>
#include <openssl/ssl.h>

enum { HF_TLS_SERVER = 1, HF_TLS_CLIENT = 2 };

/* Makes a context that presents DIRECTORY/NODE.crt and accepts only peers with a certificate of DIRECTORY/ca.crt.
 * Missing, damaged, expired or mismatched files are errors here and not at the first connection.  The caller frees it
 * with SSL_CTX_free.  Blocks on the disk. */
int32_t hf_tls_peer_context(const char *directory, const char *node, int32_t side, SSL_CTX **ret_context,
                            hf_error *error);

/* The peer's node name, from the verified certificate of a finished handshake.  HF_EDENIED: no certificate. */
int32_t hf_tls_peer_name(const SSL *connection, char *name, uint64_t capacity, hf_error *error);

/* Why the handshake failed, in a sentence for an operator ("the peer's certificate has expired ..."). */
int32_t hf_tls_handshake_error(const SSL *connection, const char *peer, hf_error *error);

#endif
