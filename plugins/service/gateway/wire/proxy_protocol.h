/* proxy_protocol.h: the PROXY protocol, versions 1 and 2, by which a proxy in front says whose connection it passes on
 * (The PROXY protocol, Willy Tarreau, 2020/03/05).  Strict, since a header that two readers understand in two ways lets
 * a client forge its address.  Pure; [any]. */
#ifndef GATEWAY_PROXY_PROTOCOL_H
#define GATEWAY_PROXY_PROTOCOL_H

#include <holdfast/holdfast.h>

#include <sys/socket.h>

enum {
    GATEWAY_PROXY_READ_MAX = 16 + 65535,                 /* the longest header that may come */
    GATEWAY_PROXY_WRITE_MAX = 16 + 36 + 3 + 255 + 3 + 4, /* and that is written */
    GATEWAY_PROXY_AUTHORITY_MAX = 255
};

struct gateway_proxy_header {
    /* 1: it says nothing of a client (v2 LOCAL, v1 UNKNOWN, other families): the connection's own addresses count. */
    int32_t is_local;
    struct sockaddr_storage source, destination; /* of the client's connection, IPv4 or IPv6, unless is_local */
    hf_slice authority;                          /* v2: the name that the client asked for (SNI); empty: not said */
};

/* Reads the header at the start of a connection's bytes.  Returns its size; 0 when more bytes are needed;
 * HF_EPROTOCOL when there is no such header, or it is malformed or damaged, with the reason in `error`.  `authority`
 * points into the bytes. */
int64_t gateway_proxy_read(hf_slice bytes, struct gateway_proxy_header *ret_header, hf_error *error);

/* Writes a header of version 1 or 2, that of version 2 with a checksum and the authority, of which version 1 knows
 * nothing.  Returns its size, or HF_EINVAL: a version, addresses of two families, or an authority over
 * GATEWAY_PROXY_AUTHORITY_MAX bytes. */
int64_t gateway_proxy_write(uint8_t to[GATEWAY_PROXY_WRITE_MAX], int32_t version,
                            const struct gateway_proxy_header *header, hf_error *error);

#endif
