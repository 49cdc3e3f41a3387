/* private.h: what both sides have in common.  [main] */
#ifndef GATEWAY_TLS_PRIVATE_H
#define GATEWAY_TLS_PRIVATE_H

#include <holdfast/host/metrics.h>
#include <openssl/ssl.h>

/* Handshakes, by how they ended. */
struct gateway_tls_counts {
    const hf_metrics_interface *metrics; /* NULL: the host has none */
    hf_metric *whole, *resumed, *failed;
};

/* Series of the metric `name`, told apart by `label`=`of`.  A host that takes no more of them costs us only these. */
void gateway_tls_counts_add(struct gateway_tls_counts *counts, const hf_host *host, const char *name, const char *help,
                            const char *label, const char *of);
void gateway_tls_counts_remove(struct gateway_tls_counts *counts);
void gateway_tls_count(struct gateway_tls_counts *counts, int32_t has_succeeded, int32_t is_resumed);

void gateway_tls_log(const hf_host *host, int32_t level, const char *format, ...) HF_PRINTF(3, 4);

/* What all contexts have: versions, ciphers, little memory.  HF_EINVAL: unknown ciphers; HF_ENOMEM. */
int32_t gateway_tls_context(const SSL_METHOD *method, int32_t minimum, const char *ciphers, const char *ciphersuites,
                            SSL_CTX **ret_context, hf_error *error);

/* The certificate and key in two files; a certificate that is not valid now is logged for `what`.  HF_EINVAL,
 * HF_ENOMEM. */
int32_t gateway_tls_use(SSL_CTX *context, const hf_host *host, const char *what, const char *certificate,
                        const char *key, hf_error *error);

/* The text, which is the caller's to free; NULL: no memory. */
char *gateway_tls_text(const char *format, ...) HF_PRINTF(1, 2);

#endif
