#include "tls/server.h"

#include "tls/files.h"
#include "tls/private.h"

#include <holdfast/lib/error.h>

#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct name {
    char *text; /* "a.example", "*.a.example" */
    SSL_CTX *context;
};

struct gateway_tls_set {
    atomic_uint references;
    struct gateway_tls_server *server; /* held by whoever has the set */
    SSL_CTX **contexts;                /* by certificate; some share one */
    uint32_t context_count;
    struct name *names; /* in order */
    uint32_t name_count;
};

struct certificate {
    char *name, *certificate, *key;
};

struct gateway_tls_server {
    atomic_uint references;
    const hf_host *host;
    struct gateway_tickets *tickets;
    char *name; /* of the listener */
    char *what; /* for the log */
    struct certificate *certificates;
    uint32_t certificate_count;
    char *ciphers, *ciphersuites, *client_ca;
    int32_t minimum, unknown_names, client_verify, tickets_wanted, offers_h2;
    uint64_t lifetime_us;
    struct gateway_tls_counts counts;
    struct gateway_tls_files files;
    uint64_t looked_us;
    pthread_mutex_t lock; /* of `set`, as long as it is taken or replaced */
    struct gateway_tls_set *set;
};

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static SSL_CTX *find_exact(const struct gateway_tls_set *set, const char *text)
{
    struct name wanted = {.text = (char *)(uintptr_t)text};
    const struct name *found =
        set->name_count ? bsearch(&wanted, set->names, set->name_count, sizeof *set->names, compare_names) : NULL;

    return found ? found->context : NULL;
}

/* The certificate with that name, or with a wildcard in place of its first label. */
static SSL_CTX *find_name(const struct gateway_tls_set *set, const char *asked)
{
    char text[TLSEXT_MAXLEN_host_name + 2];
    size_t size = strlen(asked);

    if (size == 0 || size > TLSEXT_MAXLEN_host_name)
        return NULL;
    for (size_t i = 0; i <= size; i++)
        text[i] = (char)(asked[i] >= 'A' && asked[i] <= 'Z' ? asked[i] | 0x20 : asked[i]);
    if (text[size - 1] == '.')
        text[--size] = '\0';
    SSL_CTX *found = find_exact(set, text);
    char *rest = strchr(text, '.');
    if (found || !rest || rest == text)
        return found;
    rest[-1] = '*';
    return find_exact(set, rest - 1);
}

static int choose(SSL *ssl, int *alert, void *arg)
{
    const struct gateway_tls_set *set = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *context = asked ? find_name(set, asked) : set->contexts[0];

    if (!context && set->server->unknown_names == GATEWAY_TLS_UNKNOWN_REFUSED) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (context && context != set->contexts[0])
        (void)SSL_set_SSL_CTX(ssl, context); /* without memory the client gets the first, and may refuse it */
    return SSL_TLSEXT_ERR_OK;
}

/* ---- What is negotiated ------------------------------------------------------------------------------------------ */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in,
                           unsigned in_size, void *arg)
{
    static const unsigned char offers[] = "\x02h2\x08http/1.1\x08http/1.0";
    const struct gateway_tls_set *set = arg;
    const unsigned char *ours = set->server->offers_h2 ? offers : offers + 3;
    unsigned ours_size = (unsigned)sizeof offers - 1 - (set->server->offers_h2 ? 0 : 3);

    (void)ssl;
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, size, ours, ours_size, in, in_size) ==
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301, 3.2 */
}

static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *vector, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                      int encrypts)
{
    struct gateway_tls_set *set = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    return gateway_tickets_key(set->server->tickets, name, vector, cipher, mac, encrypts);
}

/* ---- Contexts ---------------------------------------------------------------------------------------------------- */

/* Sessions are only for connections of which the same was demanded: the listener's name, and whom it trusts. */
static int32_t set_session_id(const struct gateway_tls_server *server, SSL_CTX *context, hf_error *error)
{
    unsigned char id[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
    int works = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(digest, server->name, strlen(server->name) + 1) &&
                EVP_DigestUpdate(digest, &server->client_verify, sizeof server->client_verify);

    for (int i = 0; works && i < sk_X509_OBJECT_num(objects); i++) {
        const X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        unsigned char of[EVP_MAX_MD_SIZE];
        unsigned of_size = 0;
        if (authority)
            works = X509_digest(authority, EVP_sha256(), of, &of_size) && EVP_DigestUpdate(digest, of, of_size);
    }
    works = works && EVP_DigestFinal_ex(digest, id, &size) && SSL_CTX_set_session_id_context(context, id, size);
    EVP_MD_CTX_free(digest);
    return works ? HF_OK : gateway_tls_error(error, HF_ENOMEM, "no memory for TLS");
}

static int32_t set_clients(const struct gateway_tls_server *server, SSL_CTX *context, hf_error *error)
{
    int mode = server->client_verify == GATEWAY_TLS_VERIFY_NONE ? SSL_VERIFY_NONE
               : server->client_verify == GATEWAY_TLS_VERIFY_OPTIONAL
                   ? SSL_VERIFY_PEER
                   : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

    SSL_CTX_set_verify(context, mode, NULL);
    if (!server->client_ca[0])
        return HF_OK;
    STACK_OF(X509_NAME) *authorities = SSL_load_client_CA_file(server->client_ca);
    if (!authorities || SSL_CTX_load_verify_file(context, server->client_ca) != 1) {
        sk_X509_NAME_pop_free(authorities, X509_NAME_free);
        return gateway_tls_error(error, HF_EINVAL, "'%s' has no authorities that can be used", server->client_ca);
    }
    SSL_CTX_set_client_CA_list(context, authorities);
    return HF_OK;
}

static int32_t set_sessions(struct gateway_tls_set *set, SSL_CTX *context, hf_error *error)
{
    const struct gateway_tls_server *server = set->server;

    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, (long)(server->lifetime_us / 1000000));
    if (server->tickets_wanted == 0)
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    if (SSL_CTX_set_num_tickets(context, (size_t)server->tickets_wanted) != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key) != 1)
        return gateway_tls_error(error, HF_ENOMEM, "cannot set up TLS tickets");
    return set_session_id(server, context, error);
}

static int32_t make_context(struct gateway_tls_set *set, SSL_CTX **ret_context, hf_error *error)
{
    const struct gateway_tls_server *server = set->server;
    int32_t code = gateway_tls_context(TLS_server_method(), server->minimum, server->ciphers, server->ciphersuites,
                                       ret_context, error);

    if (code != HF_OK)
        return code;
    SSL_CTX_set_app_data(*ret_context, set);
    SSL_CTX_set_tlsext_servername_callback(*ret_context, choose);
    SSL_CTX_set_tlsext_servername_arg(*ret_context, set);
    SSL_CTX_set_alpn_select_cb(*ret_context, choose_protocol, set);
    code = set_clients(server, *ret_context, error);
    return code == HF_OK ? set_sessions(set, *ret_context, error) : code;
}

/* ---- Sets -------------------------------------------------------------------------------------------------------- */

void gateway_tls_set_release(struct gateway_tls_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < set->context_count; i++)
        SSL_CTX_free(set->contexts[i]);
    for (uint32_t i = 0; i < set->name_count; i++)
        free(set->names[i].text);
    free(set->contexts);
    free(set->names);
    free(set);
}

/* Names that an earlier certificate has stay with that. */
static int32_t add_names(struct gateway_tls_set *set, const X509 *certificate, SSL_CTX *context)
{
    char **names = NULL;
    uint32_t count = 0;

    if (gateway_tls_names(certificate, &names, &count) != HF_OK)
        return HF_ENOMEM;
    struct name *grown = reallocarray(set->names, set->name_count + count + 1, sizeof *grown);
    if (!grown) {
        gateway_tls_free_names(names, count);
        return HF_ENOMEM;
    }
    set->names = grown;
    uint32_t before = set->name_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        while (at < before && strcmp(grown[at].text, names[i]) != 0)
            at++;
        if (at < before)
            free(names[i]);
        else
            grown[set->name_count++] = (struct name){names[i], context};
    }
    free(names);
    return HF_OK;
}

/* Whether a context is for exactly these names, none of them twice. */
static int has_just(const struct gateway_tls_set *set, const SSL_CTX *context, char **names, uint32_t count)
{
    uint32_t theirs = 0, same = 0;

    for (uint32_t i = 0; i < set->name_count; i++) {
        if (set->names[i].context != context)
            continue;
        theirs++;
        for (uint32_t k = 0; k < count; k++)
            same += strcmp(set->names[i].text, names[k]) == 0;
    }
    return theirs == count && same == count;
}

/* A context that is for the certificate's names already, with a key of another kind: clients choose between the two. */
static SSL_CTX *find_other_kind(const struct gateway_tls_set *set, const char *path)
{
    struct gateway_tls_pair pair = {0};
    SSL_CTX *found = NULL;
    char **names = NULL;
    uint32_t count = 0;

    if (gateway_tls_read_certificate(path, &pair, NULL) == HF_OK)
        (void)gateway_tls_names(pair.certificate, &names, &count); /* without memory it is read again, and told */
    for (uint32_t i = 0; count > 0 && i < set->name_count && !found; i++)
        if (strcmp(set->names[i].text, names[0]) == 0)
            found = set->names[i].context;
    if (found && (!has_just(set, found, names, count) || EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(found)) ==
                                                             EVP_PKEY_get_base_id(X509_get0_pubkey(pair.certificate))))
        found = NULL;
    gateway_tls_free_names(names, count);
    gateway_tls_free_pair(&pair);
    return found;
}

static int32_t add_certificate(struct gateway_tls_set *set, uint32_t index, hf_error *error)
{
    const struct gateway_tls_server *server = set->server;
    const struct certificate *certificate = &server->certificates[index];
    SSL_CTX *other = find_other_kind(set, certificate->certificate), *context = NULL;
    int32_t code = HF_OK;

    if (other)
        return gateway_tls_use(other, server->host, server->what, certificate->certificate, certificate->key, error);
    code = make_context(set, &context, error);
    if (context)
        set->contexts[set->context_count++] = context;
    if (code == HF_OK)
        code = gateway_tls_use(context, server->host, server->what, certificate->certificate, certificate->key, error);
    if (code != HF_OK)
        return code;
    return add_names(set, SSL_CTX_get0_certificate(context), context) == HF_OK
               ? HF_OK
               : hf_error_set(error, HF_ENOMEM, "no memory for the names of '%s'", certificate->certificate);
}

static int32_t make_set(struct gateway_tls_server *server, struct gateway_tls_set **ret_set, hf_error *error)
{
    struct gateway_tls_set *set = calloc(1, sizeof *set);
    int32_t code = HF_OK;

    if (set)
        set->contexts = calloc(server->certificate_count + 1, sizeof(SSL_CTX *));
    if (!set || !set->contexts) {
        free(set);
        return hf_error_set(error, HF_ENOMEM, "no memory for certificates");
    }
    atomic_init(&set->references, 1);
    set->server = server;
    for (uint32_t i = 0; i < server->certificate_count && code == HF_OK; i++) {
        code = add_certificate(set, i, error);
        if (code != HF_OK)
            hf_error_prefix(error, "certificate '%s'", server->certificates[i].name);
    }
    if (code != HF_OK) {
        gateway_tls_set_release(set);
        return code;
    }
    if (set->name_count)
        qsort(set->names, set->name_count, sizeof *set->names, compare_names);
    *ret_set = set;
    return HF_OK;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t copy_certificates(struct gateway_tls_server *server, const struct gateway_tls_server_options *options)
{
    const struct gateway_tls_certificate_options *items = options->certificates.items;

    server->certificates = calloc(options->certificates.count + 1, sizeof *server->certificates);
    if (!server->certificates)
        return HF_ENOMEM;
    for (uint64_t i = 0; i < options->certificates.count; i++) {
        struct certificate *certificate = &server->certificates[server->certificate_count++];
        *certificate = (struct certificate){
            .name = strdup(items[i].name), .certificate = strdup(items[i].certificate), .key = strdup(items[i].key)};
        if (!certificate->name || !certificate->certificate || !certificate->key ||
            gateway_tls_files_add(&server->files, certificate->certificate) != HF_OK ||
            gateway_tls_files_add(&server->files, certificate->key) != HF_OK)
            return HF_ENOMEM;
    }
    return HF_OK;
}

static int32_t copy_options(struct gateway_tls_server *server, const char *name,
                            const struct gateway_tls_server_options *options)
{
    server->minimum = options->minimum;
    server->unknown_names = options->unknown_names;
    server->client_verify = options->client_verify;
    server->tickets_wanted = (int32_t)options->tickets;
    server->lifetime_us = options->session_lifetime_us;
    server->name = strdup(name);
    server->what = gateway_tls_text("listener '%s'", name);
    server->ciphers = strdup(options->ciphers);
    server->ciphersuites = strdup(options->ciphersuites);
    server->client_ca = strdup(options->client_ca);
    if (!server->name || !server->what || !server->ciphers || !server->ciphersuites || !server->client_ca ||
        gateway_tls_files_add(&server->files, server->client_ca) != HF_OK)
        return HF_ENOMEM;
    return copy_certificates(server, options);
}

int32_t gateway_tls_server_create(const hf_host *host, struct gateway_tickets *tickets, const char *name,
                                  const struct gateway_tls_server_options *options, int32_t offers_h2,
                                  struct gateway_tls_server **ret_server, hf_error *error)
{
    struct gateway_tls_server *server = calloc(1, sizeof *server);

    if (!server || pthread_mutex_init(&server->lock, NULL) != 0) {
        free(server);
        return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    }
    atomic_init(&server->references, 1);
    server->host = host;
    server->tickets = tickets;
    server->offers_h2 = offers_h2;
    int32_t code = copy_options(server, name, options);
    if (code != HF_OK)
        hf_error_set(error, code, "no memory for TLS");
    gateway_tls_counts_add(&server->counts, host, "holdfast_gateway_tls_handshakes_total",
                           "TLS handshakes with clients of the gateway, by how they ended.", "listener", name);
    (void)gateway_tls_files_changed(&server->files); /* before they are read: what changes meanwhile is seen later */
    if (code == HF_OK)
        code = make_set(server, &server->set, error);
    if (code != HF_OK) {
        gateway_tls_server_release(server);
        return code;
    }
    *ret_server = server;
    return HF_OK;
}

void gateway_tls_server_hold(struct gateway_tls_server *server)
{
    atomic_fetch_add_explicit(&server->references, 1, memory_order_relaxed);
}

void gateway_tls_server_release(struct gateway_tls_server *server)
{
    if (!server || atomic_fetch_sub_explicit(&server->references, 1, memory_order_acq_rel) != 1)
        return;
    gateway_tls_set_release(server->set);
    gateway_tls_counts_remove(&server->counts);
    gateway_tls_files_done(&server->files);
    for (uint32_t i = 0; server->certificates && i < server->certificate_count; i++) {
        free(server->certificates[i].name);
        free(server->certificates[i].certificate);
        free(server->certificates[i].key);
    }
    free(server->certificates);
    free(server->name);
    free(server->what);
    free(server->ciphers);
    free(server->ciphersuites);
    free(server->client_ca);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void gateway_tls_server_look(struct gateway_tls_server *server, uint64_t now_us)
{
    struct gateway_tls_set *set = NULL;
    hf_error error;

    if (now_us - server->looked_us < GATEWAY_TLS_LOOK_US)
        return;
    server->looked_us = now_us;
    if (!gateway_tls_files_changed(&server->files))
        return;
    if (make_set(server, &set, &error) != HF_OK) {
        gateway_tls_log(server->host, HF_LOG_WARNING,
                        "%s: changed files of TLS cannot be used, the ones before stay until they change again: %s",
                        server->what, error.message);
        return;
    }
    pthread_mutex_lock(&server->lock);
    struct gateway_tls_set *before = server->set;
    server->set = set;
    pthread_mutex_unlock(&server->lock);
    gateway_tls_set_release(before);
    gateway_tls_log(server->host, HF_LOG_INFO, "%s: the files of TLS have changed, and are used from now on",
                    server->what);
}

uint64_t gateway_tls_server_lifetime(const struct gateway_tls_server *server)
{
    return server->lifetime_us;
}

/* ---- Connections ------------------------------------------------------------------------------------------------- */

SSL *gateway_tls_server_begin(struct gateway_tls_server *server, struct gateway_tls_set **ret_set)
{
    pthread_mutex_lock(&server->lock);
    struct gateway_tls_set *set = server->set;
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&server->lock);
    SSL *ssl = SSL_new(set->contexts[0]);
    if (!ssl) {
        gateway_tls_set_release(set);
        return NULL;
    }
    *ret_set = set;
    return ssl;
}

void gateway_tls_server_count(struct gateway_tls_server *server, int32_t has_succeeded, int32_t is_resumed)
{
    gateway_tls_count(&server->counts, has_succeeded, is_resumed);
}
