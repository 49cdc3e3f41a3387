/* Shows with real handshakes in memory who may link with whom, and that the authority's files are safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../authority.h"
#include "../context.h"

static char ours[64], theirs[64]; /* directories of two clusters' authorities */
static hf_error error;

static int make_directories(void **state)
{
    const char *const names[] = {"127.0.0.1", "::1", "node1.example.org", NULL};

    (void)state;
    strcpy(ours, "/tmp/holdfast-tls-XXXXXX");
    strcpy(theirs, "/tmp/holdfast-tls-XXXXXX");
    return !mkdtemp(ours) || !mkdtemp(theirs) || hf_authority_create(ours, "demo", 30, &error) ||
           hf_authority_create(theirs, "other", 30, &error) || hf_authority_issue(ours, "n1", names, 30, 0, &error) ||
           hf_authority_issue(ours, "n2", NULL, 30, 0, &error) || hf_authority_issue(theirs, "n2", NULL, 30, 0, &error);
}

static int remove_directories(void **state)
{
    const char *const files[] = {"ca.crt", "ca.key", "n1.crt", "n1.key", "n2.crt", "n2.key", "old.crt", "old.key"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", ours, files[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s/%s", theirs, files[i]);
        unlink(path);
    }
    return rmdir(ours) || rmdir(theirs);
}

struct handshake {
    SSL_CTX *server_context, *client_context;
    SSL *server, *client;
    int server_result, client_result;
};

/* Runs a handshake over memory until neither side can go on. */
static struct handshake shake_hands(const char *server_directory, const char *client_directory, const char *client)
{
    struct handshake h = {.server_result = -1, .client_result = -1};
    BIO *server_bio, *client_bio;
    char byte;

    assert_int_equal(hf_tls_peer_context(server_directory, "n1", HF_TLS_SERVER, &h.server_context, &error), 0);
    assert_int_equal(hf_tls_peer_context(client_directory, client, HF_TLS_CLIENT, &h.client_context, &error), 0);
    h.server = SSL_new(h.server_context);
    h.client = SSL_new(h.client_context);
    assert_int_equal(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0), 1);
    SSL_set_bio(h.server, server_bio, server_bio);
    SSL_set_bio(h.client, client_bio, client_bio);
    SSL_set_accept_state(h.server);
    SSL_set_connect_state(h.client);
    for (int i = 0; i < 10; i++) {
        if (h.client_result != 1)
            h.client_result = SSL_do_handshake(h.client);
        if (h.server_result != 1)
            h.server_result = SSL_do_handshake(h.server);
    }
    /* In TLS 1.3 the client learns of a refusal only when it reads. */
    if (h.client_result == 1 && SSL_read(h.client, &byte, 1) <= 0 && SSL_get_error(h.client, 0) == SSL_ERROR_SSL)
        h.client_result = 0;
    return h;
}

static void hang_up(struct handshake *h)
{
    SSL_free(h->server);
    SSL_free(h->client);
    SSL_CTX_free(h->server_context);
    SSL_CTX_free(h->client_context);
}

static void nodes_of_one_cluster_know_each_other_by_name(void **state)
{
    struct handshake h = shake_hands(ours, ours, "n2");
    char name[64];

    (void)state;
    assert_int_equal(h.server_result, 1);
    assert_int_equal(h.client_result, 1);
    assert_int_equal(hf_tls_peer_name(h.server, name, sizeof name, &error), 0);
    assert_string_equal(name, "n2");
    assert_int_equal(hf_tls_peer_name(h.client, name, sizeof name, &error), 0);
    assert_string_equal(name, "n1");
    assert_string_equal(SSL_get_version(h.client), "TLSv1.3");
    hang_up(&h);
}

/* The client believes in both authorities, so that it is the server who refuses. */
static void a_peer_of_another_cluster_is_refused(void **state)
{
    struct handshake h;
    char mine[128], both[128];

    (void)state;
    h = shake_hands(ours, theirs, "n2"); /* here the client refuses first */
    assert_int_not_equal(h.client_result, 1);
    assert_int_equal(hf_tls_handshake_error(h.client, "n1", &error), HF_EDENIED);
    assert_non_null(strstr(error.message, "n1 belongs to another cluster"));
    assert_int_equal(hf_tls_peer_name(h.server, mine, sizeof mine, &error), HF_EDENIED);
    hang_up(&h);

    snprintf(mine, sizeof mine, "%s/ca.crt", ours);
    snprintf(both, sizeof both, "%s/ca.crt", theirs);
    assert_int_equal(hf_tls_peer_context(ours, "n1", HF_TLS_SERVER, &h.server_context, &error), 0);
    assert_int_equal(hf_tls_peer_context(theirs, "n2", HF_TLS_CLIENT, &h.client_context, &error), 0);
    assert_int_equal(SSL_CTX_load_verify_file(h.client_context, mine), 1);
    h.server = SSL_new(h.server_context);
    h.client = SSL_new(h.client_context);
    BIO *server_bio, *client_bio;
    assert_int_equal(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0), 1);
    SSL_set_bio(h.server, server_bio, server_bio);
    SSL_set_bio(h.client, client_bio, client_bio);
    SSL_set_accept_state(h.server);
    SSL_set_connect_state(h.client);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(h.client);
        h.server_result = SSL_do_handshake(h.server);
    }
    assert_int_not_equal(h.server_result, 1);
    assert_int_equal(hf_tls_handshake_error(h.server, "n2", &error), HF_EDENIED);
    assert_non_null(strstr(error.message, "n2 belongs to another cluster"));
    hang_up(&h);
}

/* Rewrites a certificate's end of validity to an hour ago, signed by the authority again. */
static void expire(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/ca.key", ours);
    FILE *file = fopen(path, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s.crt", ours, name);
    file = fopen(path, "r+");
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    X509_gmtime_adj(X509_getm_notAfter(certificate), -1800);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    rewind(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(ftruncate(fileno(file), ftell(file)), 0);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void an_expired_certificate_is_refused_at_start(void **state)
{
    SSL_CTX *context;

    (void)state;
    assert_int_equal(hf_authority_issue(ours, "old", NULL, 1, 0, &error), 0);
    expire("old");
    assert_int_equal(hf_tls_peer_context(ours, "old", HF_TLS_CLIENT, &context, &error), HF_EDENIED);
    assert_non_null(strstr(error.message, "has expired; issue another with 'holdfast ca issue'"));
}

static void missing_and_mismatched_files_are_refused(void **state)
{
    SSL_CTX *context;
    char from[128], to[128];

    (void)state;
    assert_int_equal(hf_tls_peer_context(ours, "n9", HF_TLS_SERVER, &context, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "n9.crt"));
    assert_int_equal(hf_tls_peer_context("/nonexistent", "n1", HF_TLS_SERVER, &context, &error), HF_EINVAL);
    assert_int_equal(hf_authority_issue(ours, "old", NULL, 1, 1, &error), 0);
    snprintf(from, sizeof from, "%s/n1.key", ours);
    snprintf(to, sizeof to, "%s/old.key", ours);
    unlink(to);
    assert_int_equal(link(from, to), 0);
    assert_int_equal(hf_tls_peer_context(ours, "old", HF_TLS_SERVER, &context, &error), HF_EINVAL);
    assert_non_null(strstr(error.message, "old.key"));
    unlink(to);
}

static void keys_are_private_and_nothing_is_overwritten(void **state)
{
    struct stat status;
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/n1.key", ours);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(hf_authority_create(ours, "demo", 30, &error), HF_EEXIST);
    assert_int_equal(hf_authority_issue(ours, "n1", NULL, 30, 0, &error), HF_EEXIST);
    assert_int_equal(hf_authority_issue(ours, "n1", NULL, 30, 1, &error), 0);
}

static void bad_names_and_times_are_refused(void **state)
{
    const char *const bad[] = {"",
                               "a/b",
                               "../x",
                               "a b",
                               "-x",
                               "a,DNS:evil",
                               "0123456789012345678901234567890123456789012345678901234567890123"};
    const char *const evil[] = {"x,IP:10.0.0.1", NULL};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hf_authority_issue(ours, bad[i], NULL, 30, 0, &error), HF_EINVAL);
    assert_int_equal(hf_authority_issue(ours, "ca", NULL, 30, 1, &error), HF_EINVAL);
    assert_int_equal(hf_authority_issue(ours, "n3", evil, 30, 0, &error), HF_EINVAL);
    assert_int_equal(hf_authority_issue(ours, "n3", NULL, 0, 0, &error), HF_EINVAL);
    assert_int_equal(hf_authority_issue("/nonexistent", "n3", NULL, 1, 0, &error), HF_ENOTFOUND);
    assert_non_null(strstr(error.message, "holdfast ca init"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_of_one_cluster_know_each_other_by_name),
        cmocka_unit_test(a_peer_of_another_cluster_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused_at_start),
        cmocka_unit_test(missing_and_mismatched_files_are_refused),
        cmocka_unit_test(keys_are_private_and_nothing_is_overwritten),
        cmocka_unit_test(bad_names_and_times_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directories, remove_directories);
}
