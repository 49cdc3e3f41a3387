/* tickets.h: the keys of session tickets, the same for all workers and listeners of a process, so that a client can
 * resume its session wherever its next connection goes.  (A session is only taken by a listener of the same name and
 * with the same demands on clients: OpenSSL compares the context's session id.)  [any] */
#ifndef GATEWAY_TLS_TICKETS_H
#define GATEWAY_TLS_TICKETS_H

#include <holdfast/host/node.h>
#include <openssl/ssl.h>

struct gateway_tickets;

/* With a first key.  HF_ENOMEM. */
int32_t gateway_tickets_create(const hf_host *host, const hf_node_interface *node, struct gateway_tickets **ret_tickets,
                               hf_error *error);
void gateway_tickets_destroy(struct gateway_tickets *tickets); /* accepts NULL */

/* Takes another key when half of `lifetime_us` has passed since the last: keys are kept for more than that time. */
void gateway_tickets_turn(struct gateway_tickets *tickets, uint64_t lifetime_us, uint64_t now_us);

/* For SSL_CTX_set_tlsext_ticket_key_evp_cb, with the tickets in front: 1, 2 (also to be replaced), 0: not ours, -1. */
int gateway_tickets_key(struct gateway_tickets *tickets, unsigned char name[16], unsigned char *vector,
                        EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts);

#endif
