#include "tls/check.h"

#include "options/options.h"
#include "tls/client.h"
#include "tls/files.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 512 };

struct check {
    const hf_config_report *report;
    const char *path;
};

static void problem(const struct check *check, const char *option, const char *format, ...) HF_PRINTF(3, 4);

static void problem(const struct check *check, const char *option, const char *format, ...)
{
    char path[PATH_SIZE], message[HF_ERROR_MESSAGE_SIZE];
    va_list arguments;

    snprintf(path, sizeof path, "%s.tls.%s", check->path, option);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    check->report->problem(check->report, path, message);
}

/* `at`: the group of both, ending with a dot; or "". */
static void check_pair(const struct check *check, const char *at, const char *certificate, const char *key)
{
    char option[PATH_SIZE];
    struct gateway_tls_pair pair = {0};
    hf_error error;

    if (gateway_tls_read_certificate(certificate, &pair, &error) != HF_OK) {
        snprintf(option, sizeof option, "%scertificate", at);
        problem(check, option, "certificate: %s", error.message);
    }
    if (gateway_tls_read_key(key, &pair, &error) != HF_OK) {
        snprintf(option, sizeof option, "%skey", at);
        problem(check, option, "key: %s", error.message);
    }
    gateway_tls_free_pair(&pair);
}

static void check_authorities(const struct check *check, const char *option, const char *path)
{
    struct gateway_tls_pair pair = {0};
    hf_error error;

    if (gateway_tls_read_certificate(path, &pair, &error) != HF_OK)
        problem(check, option, "%s: %s", option, error.message);
    gateway_tls_free_pair(&pair);
}

static void check_ciphers(const struct check *check, const char *ciphers, const char *ciphersuites)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());

    if (context && SSL_CTX_set_cipher_list(context, ciphers) != 1)
        problem(check, "ciphers", "ciphers: '%s' has none that is known; expected those of 'openssl ciphers -tls1_2'",
                ciphers);
    if (context && SSL_CTX_set_ciphersuites(context, ciphersuites) != 1)
        problem(check, "ciphersuites",
                "ciphersuites: '%s' are not known; expected those of 'openssl ciphers -s -tls1_3'", ciphersuites);
    SSL_CTX_free(context);
    ERR_clear_error();
}

void gateway_tls_check_server(const struct gateway_tls_server_options *options, const hf_config_report *report,
                              const char *path)
{
    const struct gateway_tls_certificate_options *certificates = options->certificates.items;
    struct check check = {report, path};
    char at[PATH_SIZE];

    for (uint64_t i = 0; i < options->certificates.count; i++) {
        snprintf(at, sizeof at, "certificates.%s.", certificates[i].name);
        check_pair(&check, at, certificates[i].certificate, certificates[i].key);
    }
    if (options->client_ca[0])
        check_authorities(&check, "client_ca", options->client_ca);
    if (options->client_verify != GATEWAY_TLS_VERIFY_NONE && !options->client_ca[0])
        problem(&check, "client_verify", "client_verify: nobody's certificate could be verified; expected client_ca");
    if (options->client_verify != GATEWAY_TLS_VERIFY_NONE && options->certificates.count == 0)
        problem(&check, "client_verify", "client_verify: the listener does not speak TLS; expected certificates");
    check_ciphers(&check, options->ciphers, options->ciphersuites);
}

static void check_names(const struct check *check, const struct gateway_tls_client_options *options,
                        const hf_groups *servers)
{
    const struct gateway_server_options *items = servers->items;
    char name[PATH_SIZE];

    for (uint64_t i = 0; options->enabled && options->verify && !options->server_name[0] && i < servers->count; i++)
        if (!gateway_tls_client_name(items[i].address, name, sizeof name))
            problem(check, "server_name",
                    "server_name: the server at '%s' has no name that its certificate could have; expected one here",
                    items[i].address);
}

void gateway_tls_check_client(const struct gateway_tls_client_options *options, const hf_groups *servers,
                              const hf_config_report *report, const char *path)
{
    struct check check = {report, path};

    if (!options->certificate[0] != !options->key[0])
        problem(&check, options->key[0] ? "key" : "certificate",
                "certificate and key: there is one of them; expected both, or none");
    else if (options->certificate[0])
        check_pair(&check, "", options->certificate, options->key);
    check_names(&check, options, servers);
    if (options->ca[0])
        check_authorities(&check, "ca", options->ca);
    check_ciphers(&check, options->ciphers, options->ciphersuites);
}
