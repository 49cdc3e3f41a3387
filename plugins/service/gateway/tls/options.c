#include "tls/options.h"

#define SECONDS(n) (INT64_C(1000000) * (n))

/* What gives forward secrecy and authenticates what it encrypts; AES with a key of 128 bits first, which costs least
 * where the processor has instructions for it.  Clients without them put ChaCha20 first, and get it. */
#define CIPHERS                                                                                                        \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                         \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static const char *const versions[] = {[GATEWAY_TLS_1_2] = "1.2", [GATEWAY_TLS_1_3] = "1.3", NULL};
static const char *const unknown_names[] = {
    [GATEWAY_TLS_UNKNOWN_FIRST] = "first", [GATEWAY_TLS_UNKNOWN_REFUSED] = "refuse", NULL};
static const char *const verifications[] = {[GATEWAY_TLS_VERIFY_NONE] = "none",
                                            [GATEWAY_TLS_VERIFY_OPTIONAL] = "optional",
                                            [GATEWAY_TLS_VERIFY_REQUIRED] = "required",
                                            NULL};

static const hf_option certificate_options[] = {
    HF_CONFIG_PATH("certificate", struct gateway_tls_certificate_options, certificate,
                   .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                   .doc = "A file with the certificate, and behind it those of the authorities between it and one that "
                          "clients know (PEM)."),
    HF_CONFIG_PATH("key", struct gateway_tls_certificate_options, key,
                   .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                   .doc = "A file with its private key (PEM, without a pass phrase)."),
};
static const hf_option_table certificate_table = HF_TABLE(certificate_options);

static const hf_option server_options[] = {
    HF_CONFIG_GROUPS(
        "certificates", struct gateway_tls_server_options, certificates, struct gateway_tls_certificate_options,
        .members = &certificate_table, .flags = HF_OPTION_RELOADABLE,
        .doc = "What the listener shows, by the name that a client asks for; clients that ask for none get "
               "the first. Without any the listener does not speak TLS."),
    HF_CONFIG_CHOICE("minimum", struct gateway_tls_server_options, minimum, .choices = versions, .default_text = "1.2",
                     .flags = HF_OPTION_RELOADABLE, .doc = "The oldest version of TLS that clients may speak."),
    HF_CONFIG_STRING("ciphers", struct gateway_tls_server_options, ciphers, .default_text = CIPHERS,
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "What encrypts with TLS 1.2, in OpenSSL's words, the best first."),
    HF_CONFIG_STRING("ciphersuites", struct gateway_tls_server_options, ciphersuites, .default_text = CIPHERSUITES,
                     .flags = HF_OPTION_RELOADABLE, .doc = "The same with TLS 1.3."),
    HF_CONFIG_CHOICE("unknown_names", struct gateway_tls_server_options, unknown_names, .choices = unknown_names,
                     .default_text = "first", .flags = HF_OPTION_RELOADABLE,
                     .doc = "What clients get that ask for a name which no certificate has: the first certificate, or "
                            "no connection."),
    HF_CONFIG_CHOICE("client_verify", struct gateway_tls_server_options, client_verify, .choices = verifications,
                     .default_text = "none", .flags = HF_OPTION_RELOADABLE,
                     .doc = "Whether clients are asked for a certificate, and must have one. One that is shown and not "
                            "valid ends the connection in either case."),
    HF_CONFIG_PATH("client_ca", struct gateway_tls_server_options, client_ca, .default_text = "",
                   .flags = HF_OPTION_RELOADABLE,
                   .doc = "A file with the authorities whose certificates clients may have (PEM)."),
    HF_CONFIG_INTEGER("tickets", struct gateway_tls_server_options, tickets, .default_text = "2", .minimum = 0,
                      .maximum = 8, .flags = HF_OPTION_RELOADABLE,
                      .doc = "Tickets that a client gets after a whole handshake of TLS 1.3, each to shorten another "
                             "one; 0: none, and none with TLS 1.2 either."),
    HF_CONFIG_DURATION("session_lifetime", struct gateway_tls_server_options, session_lifetime_us, .default_text = "2h",
                       .minimum = SECONDS(1), .maximum = SECONDS(7 * 86400), .flags = HF_OPTION_RELOADABLE,
                       .doc = "How long a ticket can be used. The keys that tickets are encrypted with change twice in "
                              "that time."),
};
const hf_option_table gateway_tls_server_table = HF_TABLE(server_options);

static const hf_option client_options[] = {
    HF_CONFIG_BOOLEAN("enabled", struct gateway_tls_client_options, enabled, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE, .doc = "Whether the servers are spoken to with TLS."),
    HF_CONFIG_BOOLEAN("verify", struct gateway_tls_client_options, verify, .default_text = "true",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether a server's certificate must be of an authority that is known, and have the "
                             "server's name. Without this anybody on the way can be the server."),
    HF_CONFIG_PATH("ca", struct gateway_tls_client_options, ca, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                   .doc = "A file with the authorities that are known (PEM); empty: those of the system."),
    HF_CONFIG_STRING("server_name", struct gateway_tls_client_options, server_name, .default_text = "",
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "Name that the servers are asked for (SNI), and that their certificates must have; empty: "
                            "the host of each server's address, which may be an IP address."),
    HF_CONFIG_PATH("certificate", struct gateway_tls_client_options, certificate, .default_text = "",
                   .flags = HF_OPTION_RELOADABLE,
                   .doc = "A file with the certificate that servers which ask for one get (PEM, with those of the "
                          "authorities behind it); empty: none."),
    HF_CONFIG_PATH("key", struct gateway_tls_client_options, key, .default_text = "", .flags = HF_OPTION_RELOADABLE,
                   .doc = "A file with its private key (PEM, without a pass phrase)."),
    HF_CONFIG_CHOICE("minimum", struct gateway_tls_client_options, minimum, .choices = versions, .default_text = "1.2",
                     .flags = HF_OPTION_RELOADABLE, .doc = "The oldest version of TLS that servers may speak."),
    HF_CONFIG_STRING("ciphers", struct gateway_tls_client_options, ciphers, .default_text = CIPHERS,
                     .flags = HF_OPTION_RELOADABLE,
                     .doc = "What encrypts with TLS 1.2, in OpenSSL's words, the best first."),
    HF_CONFIG_STRING("ciphersuites", struct gateway_tls_client_options, ciphersuites, .default_text = CIPHERSUITES,
                     .flags = HF_OPTION_RELOADABLE, .doc = "The same with TLS 1.3."),
    HF_CONFIG_BOOLEAN("truncation", struct gateway_tls_client_options, truncation, .default_text = "false",
                      .flags = HF_OPTION_RELOADABLE,
                      .doc = "Whether an answer without a length is whole when the server closes the connection "
                             "without saying so in TLS, as some do. Anybody on the way can then cut it short."),
};
const hf_option_table gateway_tls_client_table = HF_TABLE(client_options);
