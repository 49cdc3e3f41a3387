/* client_hello.h: the name that a TLS client asks for (SNI, RFC 6066), read from its first message without ending its
 * TLS, so that connections can be passed through by name.  Pure; [any]. */
#ifndef GATEWAY_CLIENT_HELLO_H
#define GATEWAY_CLIENT_HELLO_H

#include <holdfast/holdfast.h>

enum { GATEWAY_HELLO_MAX = 32768 /* bytes of a connection in which its ClientHello must be complete */ };

struct gateway_client_hello {
    char server_name[256]; /* in lower case; "": the client named none */
};

/* Reads the ClientHello at the start of a connection's bytes, which may be divided over several TLS records.  Returns
 * 1; 0 when more bytes are needed; HF_EPROTOCOL: that is no TLS, or malformed; HF_ETOOLARGE: it does not end within
 * GATEWAY_HELLO_MAX; with the reason in `error`. */
int32_t gateway_client_hello_read(hf_slice bytes, struct gateway_client_hello *ret_hello, hf_error *error);

#endif
