#include "tls/client.h"

#include "tls/files.h"
#include "tls/private.h"
#include "tls/server.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256, LOG_US = 1000000 /* between two failures that are logged */ };

struct gateway_tls_client {
    atomic_uint references;
    const hf_host *host;
    char *what; /* for the log */
    char *ca, *certificate, *key, *ciphers, *ciphersuites, *server_name;
    int32_t verify, minimum, truncation, wants_h2;
    char **names; /* by place */
    uint32_t count, worker_count;
    SSL_SESSION **sessions; /* by worker and place; each worker has its own */
    struct gateway_tls_counts counts;
    struct gateway_tls_files files;
    uint64_t looked_us;
    _Atomic uint64_t logged_us;
    pthread_mutex_t lock; /* of `context`, as long as it is taken or replaced */
    SSL_CTX *context;
};

/* ---- Contexts ---------------------------------------------------------------------------------------------------- */

static int32_t set_authorities(const struct gateway_tls_client *client, SSL_CTX *context, hf_error *error)
{
    SSL_CTX_set_verify(context, client->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!client->verify)
        return HF_OK;
    if (client->ca[0] && SSL_CTX_load_verify_file(context, client->ca) != 1)
        return gateway_tls_error(error, HF_EINVAL, "'%s' has no authorities that can be used", client->ca);
    if (!client->ca[0] && SSL_CTX_set_default_verify_paths(context) != 1)
        return gateway_tls_error(error, HF_ENOMEM, "the system's authorities cannot be used");
    return HF_OK;
}

static int32_t make_context(const struct gateway_tls_client *client, SSL_CTX **ret_context, hf_error *error)
{
    static const unsigned char http1[] = "\x08http/1.1", http2[] = "\x02h2";
    const unsigned char *protocols = client->wants_h2 ? http2 : http1;
    unsigned size = (unsigned)(client->wants_h2 ? sizeof http2 : sizeof http1) - 1;
    SSL_CTX *context = NULL;
    int32_t code = gateway_tls_context(TLS_client_method(), client->minimum, client->ciphers, client->ciphersuites,
                                       &context, error);

    if (code != HF_OK)
        return code;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, gateway_tls_session_new);
    if (SSL_CTX_set_alpn_protos(context, protocols, size) != 0)
        code = gateway_tls_error(error, HF_ENOMEM, "no memory for TLS");
    if (code == HF_OK)
        code = set_authorities(client, context, error);
    if (code == HF_OK && client->certificate[0])
        code = gateway_tls_use(context, client->host, client->what, client->certificate, client->key, error);
    if (code != HF_OK) {
        SSL_CTX_free(context);
        return code;
    }
    *ret_context = context;
    return HF_OK;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int32_t gateway_tls_client_name(const char *address, char *name, uint64_t size)
{
    char port[16];

    return strncmp(address, "unix:", 5) != 0 &&
           hf_url_split_address(address, name, size, port, sizeof port, NULL) == HF_OK && name[0];
}

static int32_t copy_names(struct gateway_tls_client *client, const char *server_name, const char *const *addresses,
                          uint32_t count, hf_error *error)
{
    client->names = calloc(count + 1, sizeof(char *));
    for (uint32_t i = 0; client->names && i < count; i++) {
        char name[NAME_SIZE] = "";
        if (!server_name[0] && !gateway_tls_client_name(addresses[i], name, sizeof name) && client->verify)
            return hf_error_set(error, HF_EINVAL,
                                "the server at '%s' has no name that its certificate could have; "
                                "expected server_name",
                                addresses[i]);
        client->names[i] = strdup(server_name[0] ? server_name : name);
        if (!client->names[i])
            return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
        client->count++;
    }
    return client->names ? HF_OK : hf_error_set(error, HF_ENOMEM, "no memory for TLS");
}

static int32_t copy_options(struct gateway_tls_client *client, const char *name,
                            const struct gateway_tls_client_options *options, hf_error *error)
{
    client->verify = options->verify;
    client->minimum = options->minimum;
    client->truncation = options->truncation;
    client->what = gateway_tls_text("upstream '%s'", name);
    client->ca = strdup(options->ca);
    client->server_name = strdup(options->server_name);
    client->certificate = strdup(options->certificate);
    client->key = strdup(options->key);
    client->ciphers = strdup(options->ciphers);
    client->ciphersuites = strdup(options->ciphersuites);
    return client->what && client->ca && client->certificate && client->key && client->ciphers &&
                   client->ciphersuites && client->server_name &&
                   gateway_tls_files_add(&client->files, client->ca) == HF_OK &&
                   gateway_tls_files_add(&client->files, client->certificate) == HF_OK &&
                   gateway_tls_files_add(&client->files, client->key) == HF_OK
               ? HF_OK
               : hf_error_set(error, HF_ENOMEM, "no memory for TLS");
}

static int32_t take_context(struct gateway_tls_client *client, const struct gateway_tls_client *before, hf_error *error)
{
    if (before && gateway_tls_client_is_like(before, client)) {
        SSL_CTX_up_ref(before->context);
        client->context = before->context;
        gateway_tls_files_follow(&client->files, &before->files);
        return HF_OK;
    }
    (void)gateway_tls_files_changed(&client->files); /* before they are read: what changes meanwhile is seen later */
    return make_context(client, &client->context, error);
}

int32_t gateway_tls_client_create(const hf_host *host, const char *name,
                                  const struct gateway_tls_client_options *options, int32_t wants_h2,
                                  uint32_t worker_count, const char *const *addresses, uint32_t count,
                                  const struct gateway_tls_client *before, struct gateway_tls_client **ret_client,
                                  hf_error *error)
{
    struct gateway_tls_client *client = calloc(1, sizeof *client);

    if (!client || pthread_mutex_init(&client->lock, NULL) != 0) {
        free(client);
        return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    }
    atomic_init(&client->references, 1);
    client->host = host;
    client->worker_count = worker_count;
    client->wants_h2 = wants_h2;
    gateway_tls_counts_add(&client->counts, host, "holdfast_gateway_upstream_tls_handshakes_total",
                           "TLS handshakes with servers of an upstream, by how they ended.", "upstream", name);
    int32_t code = copy_options(client, name, options, error);
    if (code == HF_OK)
        code = copy_names(client, options->server_name, addresses, count, error);
    if (code == HF_OK && !(client->sessions = calloc((size_t)worker_count * count + 1, sizeof(SSL_SESSION *))))
        code = hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    if (code == HF_OK)
        code = take_context(client, before, error);
    if (code != HF_OK) {
        gateway_tls_client_release(client);
        return code;
    }
    *ret_client = client;
    return HF_OK;
}

void gateway_tls_client_hold(struct gateway_tls_client *client)
{
    atomic_fetch_add_explicit(&client->references, 1, memory_order_relaxed);
}

void gateway_tls_client_release(struct gateway_tls_client *client)
{
    if (!client || atomic_fetch_sub_explicit(&client->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint64_t i = 0; client->sessions && i < (uint64_t)client->worker_count * client->count; i++)
        SSL_SESSION_free(client->sessions[i]);
    for (uint32_t i = 0; i < client->count; i++)
        free(client->names[i]);
    SSL_CTX_free(client->context);
    gateway_tls_counts_remove(&client->counts);
    gateway_tls_files_done(&client->files);
    free(client->sessions);
    free(client->names);
    free(client->what);
    free(client->ca);
    free(client->server_name);
    free(client->certificate);
    free(client->key);
    free(client->ciphers);
    free(client->ciphersuites);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void gateway_tls_client_look(struct gateway_tls_client *client, uint64_t now_us)
{
    SSL_CTX *context = NULL;
    hf_error error;

    if (now_us - client->looked_us < GATEWAY_TLS_LOOK_US)
        return;
    client->looked_us = now_us;
    if (!gateway_tls_files_changed(&client->files))
        return;
    if (make_context(client, &context, &error) != HF_OK) {
        gateway_tls_log(client->host, HF_LOG_WARNING,
                        "%s: changed files of TLS cannot be used, the ones before stay until they change again: %s",
                        client->what, error.message);
        return;
    }
    pthread_mutex_lock(&client->lock);
    SSL_CTX *before = client->context;
    client->context = context;
    pthread_mutex_unlock(&client->lock);
    SSL_CTX_free(before);
    gateway_tls_log(client->host, HF_LOG_INFO, "%s: the files of TLS have changed, and are used from now on",
                    client->what);
}

/* ---- Connections ------------------------------------------------------------------------------------------------- */

static SSL_SESSION **session_of(struct gateway_tls_client *client, uint32_t worker, uint32_t place)
{
    return &client->sessions[(uint64_t)worker * client->count + place];
}

static int is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* What the server is asked for, and what its certificate must have. */
static int set_name(const struct gateway_tls_client *client, SSL *ssl, const char *name)
{
    if (!name[0])
        return 1;
    if (is_address(name))
        return !client->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && (!client->verify || SSL_set1_host(ssl, name) == 1);
}

SSL *gateway_tls_client_begin(struct gateway_tls_client *client, uint32_t worker, uint32_t place)
{
    SSL_SESSION *session = *session_of(client, worker, place);

    pthread_mutex_lock(&client->lock);
    SSL_CTX *context = client->context;
    SSL_CTX_up_ref(context);
    pthread_mutex_unlock(&client->lock);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    if (!ssl || !set_name(client, ssl, client->names[place])) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    if (session && SSL_SESSION_is_resumable(session))
        (void)SSL_set_session(ssl, session); /* a whole handshake otherwise */
    return ssl;
}

void gateway_tls_client_keep(struct gateway_tls_client *client, uint32_t worker, uint32_t place, SSL_SESSION *session)
{
    SSL_SESSION **kept = session_of(client, worker, place);

    SSL_SESSION_free(*kept);
    *kept = session;
}

static void log_failure(struct gateway_tls_client *client, uint32_t place, const SSL *ssl)
{
    long verdict = SSL_get_verify_result(ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    if (client->verify && verdict != X509_V_OK)
        gateway_tls_log(client->host, HF_LOG_WARNING, "%s: the certificate of the server '%s' is refused: %s",
                        client->what, client->names[place], X509_verify_cert_error_string(verdict));
    else
        gateway_tls_log(client->host, HF_LOG_WARNING, "%s: no TLS with the server '%s': %s", client->what,
                        client->names[place], reason ? reason : "it closed the connection, or took too long");
}

void gateway_tls_client_count(struct gateway_tls_client *client, uint32_t place, const SSL *ssl, int32_t has_succeeded,
                              uint64_t now_us)
{
    uint64_t logged_us = atomic_load_explicit(&client->logged_us, memory_order_relaxed);

    gateway_tls_count(&client->counts, has_succeeded, SSL_session_reused(ssl));
    if (!has_succeeded && (logged_us == 0 || now_us - logged_us >= LOG_US) &&
        atomic_compare_exchange_strong_explicit(&client->logged_us, &logged_us, now_us, memory_order_relaxed,
                                                memory_order_relaxed))
        log_failure(client, place, ssl);
}

int32_t gateway_tls_client_is_like(const struct gateway_tls_client *a, const struct gateway_tls_client *b)
{
    if (a == b || !a || !b)
        return a == b;
    return a->wants_h2 == b->wants_h2 && a->verify == b->verify && a->minimum == b->minimum &&
           a->truncation == b->truncation && strcmp(a->ca, b->ca) == 0 && strcmp(a->server_name, b->server_name) == 0 &&
           strcmp(a->certificate, b->certificate) == 0 && strcmp(a->key, b->key) == 0 &&
           strcmp(a->ciphers, b->ciphers) == 0 && strcmp(a->ciphersuites, b->ciphersuites) == 0;
}

int32_t gateway_tls_client_allows_truncation(const struct gateway_tls_client *client)
{
    return client->truncation;
}
