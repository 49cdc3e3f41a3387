/* announce.h: the header of the PROXY protocol by which a server learns whose connection it gets.  [any] */
#ifndef GATEWAY_ANNOUNCE_H
#define GATEWAY_ANNOUNCE_H

#include "wire/proxy_protocol.h"

/* Writes the header of a version for the connection of a client: `source` is its address, `destination` what it has
 * connected to, NULL: as `fd`, its socket, says.  Addresses that are not both of IPv4, or both of IPv6, such as those
 * of sockets in the file system, are said to be unknown.  Returns the header's size. */
uint32_t gateway_announce(uint8_t to[GATEWAY_PROXY_WRITE_MAX], int32_t version, int32_t fd,
                          const struct sockaddr *source, const struct sockaddr_storage *destination);

#endif
