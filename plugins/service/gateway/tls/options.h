/* options.h: what the configuration says of TLS, on both sides; see options.c for what each option means. */
#ifndef GATEWAY_TLS_OPTIONS_H
#define GATEWAY_TLS_OPTIONS_H

#include <holdfast/holdfast.h>

enum { GATEWAY_TLS_1_2, GATEWAY_TLS_1_3 };
enum { GATEWAY_TLS_UNKNOWN_FIRST, GATEWAY_TLS_UNKNOWN_REFUSED };
enum { GATEWAY_TLS_VERIFY_NONE, GATEWAY_TLS_VERIFY_OPTIONAL, GATEWAY_TLS_VERIFY_REQUIRED };

struct gateway_tls_certificate_options {
    const char *name;
    const char *certificate;
    const char *key;
};

/* Of a listener. */
struct gateway_tls_server_options {
    hf_groups certificates; /* gateway_tls_certificate_options; none: no TLS */
    int32_t minimum;        /* GATEWAY_TLS_1_... */
    const char *ciphers;
    const char *ciphersuites;
    int32_t unknown_names; /* GATEWAY_TLS_UNKNOWN_... */
    int32_t client_verify; /* GATEWAY_TLS_VERIFY_... */
    const char *client_ca; /* "": none */
    int64_t tickets;
    uint64_t session_lifetime_us;
};

/* Of an upstream. */
struct gateway_tls_client_options {
    int32_t enabled;
    int32_t verify;
    const char *ca;          /* "": the system's */
    const char *server_name; /* "": from each server's address */
    const char *certificate; /* "": none */
    const char *key;
    int32_t minimum; /* GATEWAY_TLS_1_... */
    const char *ciphers;
    const char *ciphersuites;
    int32_t truncation;
};

extern const hf_option_table gateway_tls_server_table, gateway_tls_client_table;

#endif
