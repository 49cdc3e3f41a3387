/* TLS contexts for links between nodes; see context.h. */
#include "context.h"

#include "tls_error.h"

#include <holdfast/lib/error.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

enum { PATH_SIZE = 4096 };

static int32_t check_validity(SSL_CTX *context, const char *path, hf_error *error)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context);

    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return hf_error_set(error, HF_EDENIED, "certificate '%s' has expired; issue another with 'holdfast ca issue'",
                            path);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return hf_error_set(error, HF_EDENIED, "certificate '%s' is not valid yet; check this machine's clock", path);
    return 0;
}

static int32_t load_files(SSL_CTX *context, const char *directory, const char *node, hf_error *error)
{
    char authority[PATH_SIZE], certificate[PATH_SIZE], key[PATH_SIZE];

    int size = snprintf(authority, sizeof authority, "%s/ca.crt", directory);
    int other = snprintf(certificate, sizeof certificate, "%s/%s.crt", directory, node);
    snprintf(key, sizeof key, "%s/%s.key", directory, node);
    if (size < 0 || size >= PATH_SIZE || other < 0 || other >= PATH_SIZE)
        return hf_error_set(error, HF_EINVAL, "the directory's name is too long: '%s'", directory);
    if (SSL_CTX_load_verify_file(context, authority) != 1)
        return hf_tls_error(error, HF_EINVAL, "cannot use '%s' as the cluster's authority", authority);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return hf_tls_error(error, HF_EINVAL, "cannot use the certificate '%s'", certificate);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return hf_tls_error(error, HF_EINVAL, "cannot use the key '%s' with '%s'", key, certificate);
    return check_validity(context, certificate, error);
}

enum { READ_AHEAD = 64 << 10 };

/* OpenSSL's own in another order: a new replica takes hundreds of megabytes a second, and AES with a key of 128 bits,
 * which RFC 8446 makes the one that every implementation has, costs an eighth less than with 256. */
#define CIPHER_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

int32_t hf_tls_peer_context(const char *directory, const char *node, int32_t side, SSL_CTX **ret_context,
                            hf_error *error)
{
    SSL_CTX *context = SSL_CTX_new(side == HF_TLS_SERVER ? TLS_server_method() : TLS_client_method());

    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, CIPHER_SUITES) != 1) {
        SSL_CTX_free(context);
        return hf_tls_error(error, HF_ENOMEM, "cannot set up TLS");
    }
    /* A link lives for days: resumption would save nothing, and early data could be replayed. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Otherwise each record takes two reads, of its five bytes of header and of the rest. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    int32_t result = load_files(context, directory, node, error);
    if (result) {
        SSL_CTX_free(context);
        return result;
    }
    *ret_context = context;
    return 0;
}

int32_t hf_tls_peer_name(const SSL *connection, char *name, uint64_t capacity, hf_error *error)
{
    X509 *certificate = SSL_get0_peer_certificate(connection);

    if (!certificate || SSL_get_verify_result(connection) != X509_V_OK ||
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, (int)capacity) <= 0)
        return hf_error_set(error, HF_EDENIED, "the peer has no certificate of this cluster's authority");
    return 0;
}

/* What the other side's alert says of our certificate, or NULL.  In TLS 1.3 it may come after our own handshake. */
static const char *alert_meaning(int reason)
{
    switch (reason) {
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "it has expired, or one of the clocks is wrong; issue another with 'holdfast ca issue'";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "it is of another authority; all nodes need certificates that come from the same 'holdfast ca init'";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "there is none";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return "see its log; the clocks may differ";
    default:
        return NULL;
    }
}

static int32_t failure_without_verdict(const char *peer, hf_error *error)
{
    unsigned long code = ERR_peek_error();
    const char *meaning = ERR_GET_LIB(code) == ERR_LIB_SSL ? alert_meaning(ERR_GET_REASON(code)) : NULL;

    if (!meaning)
        return hf_tls_error(error, HF_EDENIED, "TLS with %s failed", peer);
    ERR_clear_error();
    return hf_error_set(error, HF_EDENIED, "%s refuses this node's certificate: %s", peer, meaning);
}

int32_t hf_tls_handshake_error(const SSL *connection, const char *peer, hf_error *error)
{
    long verdict = SSL_get_verify_result(connection);

    switch (verdict) {
    case X509_V_OK:
        return failure_without_verdict(peer, error);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return hf_tls_error(error, HF_EDENIED,
                            "the certificate of %s is not valid yet; check the clocks of both machines", peer);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return hf_tls_error(error, HF_EDENIED,
                            "the certificate of %s has expired; issue another with 'holdfast ca issue'", peer);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return hf_tls_error(error, HF_EDENIED, "%s belongs to another cluster: its certificate is of another authority",
                            peer);
    default:
        return hf_tls_error(error, HF_EDENIED, "the certificate of %s is refused (%s)", peer,
                            X509_verify_cert_error_string(verdict));
    }
}
