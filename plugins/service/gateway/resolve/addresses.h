/* addresses.h: the addresses of a name, and when it is asked again.  Pure. */
#ifndef GATEWAY_RESOLVE_ADDRESSES_H
#define GATEWAY_RESOLVE_ADDRESSES_H

#include <holdfast/holdfast.h>

#include <sys/socket.h>

enum { GATEWAY_NAME_ADDRESSES_MAX = 256 /* of a name; more are left out */ };

struct gateway_name_address {
    int32_t family; /* AF_INET, AF_INET6 */
    uint8_t bytes[16];
};

/* In an order of their own, each once, so that the same addresses are found to be the same however a server turns them
 * round; those of IPv4 first. */
struct gateway_name_addresses {
    uint32_t count;
    struct gateway_name_address items[GATEWAY_NAME_ADDRESSES_MAX];
};

/* Adds an address where it belongs.  Other families are left out. */
void gateway_name_addresses_add(struct gateway_name_addresses *addresses, const struct sockaddr *address);

int32_t gateway_name_addresses_same(const struct gateway_name_addresses *a, const struct gateway_name_addresses *b);

/* One with a port, as connect wants it: its size. */
socklen_t gateway_name_address_write(const struct gateway_name_address *address, uint16_t port,
                                     struct sockaddr_storage *ret_address);

/* How long, in microseconds, until a name is asked again: its time to live (seconds, negative: 0) within the bounds;
 * or, after so many failures in a row, the lower bound doubled with each, up to the upper one. */
uint64_t gateway_name_wait(int64_t ttl_s, uint32_t failures, uint64_t minimum_us, uint64_t maximum_us);

#endif
