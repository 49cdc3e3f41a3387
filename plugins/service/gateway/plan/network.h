/* network.h: addresses of clients: as text, and whether they lie in a network.  Pure. */
#ifndef GATEWAY_NETWORK_H
#define GATEWAY_NETWORK_H

#include <holdfast/holdfast.h>

#include <netinet/in.h>
#include <sys/socket.h>

enum { GATEWAY_ADDRESS_TEXT = 64 };

/* A client's address: of others than IPv4 and IPv6 only the family. */
union gateway_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct gateway_network {
    uint8_t bytes[16]; /* IPv4 as IPv4-mapped IPv6 */
    uint32_t bits;     /* 0..128 of them */
};

/* Reads "10.0.0.0/8", "2001:db8::/32" or a single address.  HF_EINVAL. */
int32_t gateway_network_parse(const char *text, struct gateway_network *ret_network, hf_error *error);

/* 1: the address lies in the network.  Others than IPv4 and IPv6 lie in none. */
int32_t gateway_network_has(const struct gateway_network *network, const struct sockaddr *address);

/* Writes the address without its port: "192.0.2.1", "2001:db8::1"; "unix" for a socket in the file system; IPv4-mapped
 * IPv6 as IPv4.  Returns how many bytes, without the zero behind them. */
uint32_t gateway_address_text(const struct sockaddr *address, char text[GATEWAY_ADDRESS_TEXT]);

#endif
