/* What contexts of both sides have in common. */
#include "tls/files.h"
#include "tls/options.h"
#include "tls/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counting and logging ---------------------------------------------------------------------------------------- */

static hf_metric *add(const struct gateway_tls_counts *counts, const hf_host *host, const char *name, const char *help,
                      const char *label, const char *of, const char *outcome)
{
    const char *const labels[][2] = {{label, of}, {"outcome", outcome}};
    hf_metric *metric = NULL;

    return counts->metrics->add(host, HF_METRIC_COUNTER, name, help, labels, 2, &metric, NULL) == HF_OK ? metric : NULL;
}

void gateway_tls_counts_add(struct gateway_tls_counts *counts, const hf_host *host, const char *name, const char *help,
                            const char *label, const char *of)
{
    counts->metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    if (!counts->metrics)
        return;
    counts->whole = add(counts, host, name, help, label, of, "full");
    counts->resumed = add(counts, host, name, help, label, of, "resumed");
    counts->failed = add(counts, host, name, help, label, of, "failed");
}

void gateway_tls_counts_remove(struct gateway_tls_counts *counts)
{
    if (!counts->metrics)
        return;
    counts->metrics->remove(counts->whole);
    counts->metrics->remove(counts->resumed);
    counts->metrics->remove(counts->failed);
}

void gateway_tls_count(struct gateway_tls_counts *counts, int32_t has_succeeded, int32_t is_resumed)
{
    hf_metric *metric = !has_succeeded ? counts->failed : is_resumed ? counts->resumed : counts->whole;

    if (metric)
        counts->metrics->increment(metric, 1);
}

void gateway_tls_log(const hf_host *host, int32_t level, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_SIZE + 256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    host->log(host, level, hf_slice_of(text));
}

char *gateway_tls_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return text;
}

/* ---- Contexts ---------------------------------------------------------------------------------------------------- */

int32_t gateway_tls_context(const SSL_METHOD *method, int32_t minimum, const char *ciphers, const char *ciphersuites,
                            SSL_CTX **ret_context, hf_error *error)
{
    int version = minimum == GATEWAY_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context || SSL_CTX_set_min_proto_version(context, version) != 1) {
        SSL_CTX_free(context);
        return gateway_tls_error(error, HF_ENOMEM, "cannot set up TLS");
    }
    if (SSL_CTX_set_cipher_list(context, ciphers) != 1 || SSL_CTX_set_ciphersuites(context, ciphersuites) != 1) {
        SSL_CTX_free(context);
        return gateway_tls_error(error, HF_EINVAL, "'%s' with '%s' are no ciphers", ciphers, ciphersuites);
    }
    /* A connection without a request keeps no buffers; and renegotiation would let a client have keys made for nothing.
     */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    *ret_context = context;
    return HF_OK;
}

int32_t gateway_tls_use(SSL_CTX *context, const hf_host *host, const char *what, const char *certificate,
                        const char *key, hf_error *error)
{
    struct gateway_tls_pair pair = {0};
    int32_t code = gateway_tls_read_pair(certificate, key, &pair, error);

    if (code != HF_OK)
        return code;
    const char *wrong = gateway_tls_validity(pair.certificate);
    if (wrong)
        gateway_tls_log(host, HF_LOG_WARNING,
                        "%s: the certificate in '%s' %s; those who look at it will refuse it, so renew it, or correct "
                        "the clock",
                        what, certificate, wrong);
    if (SSL_CTX_use_cert_and_key(context, pair.certificate, pair.key, pair.chain, 1) != 1)
        code = gateway_tls_error(error, HF_EINVAL, "the certificate in '%s' cannot be used", certificate);
    gateway_tls_free_pair(&pair);
    return code;
}
