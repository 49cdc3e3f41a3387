/* stranger.h: speaks to a node by hand, over a blocking connection. */
#ifndef HOLDFAST_CORE_PEER_TESTS_STRANGER_H
#define HOLDFAST_CORE_PEER_TESTS_STRANGER_H

#include "kit.h"

#include "peer/frame.h"

#include <openssl/ssl.h>

/* A TCP connection; reading gives up after half a minute. */
int stranger_dial(const kit_node *node);

/* Reads until the node hangs up; fails the test when it does not. */
void stranger_expect_end_plain(int fd);

/* A TLS client with DIRECTORY/NAME.crt, or without a certificate (NULL), after as much of the handshake as comes about:
 * in TLS 1.3 a client learns of its refusal only when it reads. */
SSL *stranger_dial_tls(const kit_node *node, const char *directory, const char *name);
void stranger_hang_up(SSL *ssl);

/* The next connection to a node that does not run, as a server with NAME's certificate of the cluster. */
SSL *stranger_accept(const kit_node *node, const char *name);

/* Reads until the node hangs up. */
void stranger_expect_end(SSL *ssl);

/* The hello with which n2 would begin its link to n1; its channels are "unknown" and "test". */
hf_hello stranger_good_hello(void);
hf_slice stranger_text(const char *text);

/* Puts frames behind each other into `bytes`. */
void stranger_add_hello(hf_buffer *bytes, const hf_hello *hello);
void stranger_add_frame(hf_buffer *bytes, int32_t type, uint32_t channel, uint64_t id, const char *payload);
/* Writes them. */
void stranger_say(SSL *ssl, const hf_buffer *bytes);

/* Reads one frame, whose payload lies in `buffer`. */
hf_frame stranger_read(SSL *ssl, hf_buffer *buffer);

/* A link of n2 to n1 that has been welcomed. */
SSL *stranger_greet(const kit_node *node);

#endif
