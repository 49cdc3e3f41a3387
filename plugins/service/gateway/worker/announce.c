#include "worker/announce.h"

#include <netinet/in.h>
#include <string.h>

/* IPv4 as it comes over a socket of IPv6. */
static void unmap(struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six->sin6_port};

    if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        return;
    memcpy(&four.sin_addr, &six->sin6_addr.s6_addr[12], sizeof four.sin_addr);
    *address = (struct sockaddr_storage){0};
    memcpy(address, &four, sizeof four);
}

static void copy(const struct sockaddr *from, struct sockaddr_storage *to)
{
    to->ss_family = from->sa_family;
    if (from->sa_family == AF_INET)
        memcpy(to, from, sizeof(struct sockaddr_in));
    else if (from->sa_family == AF_INET6)
        memcpy(to, from, sizeof(struct sockaddr_in6));
}

uint32_t gateway_announce(uint8_t to[GATEWAY_PROXY_WRITE_MAX], int32_t version, int32_t fd,
                          const struct sockaddr *source, const struct sockaddr_storage *destination)
{
    struct gateway_proxy_header header = {0};
    socklen_t size = sizeof header.destination;

    copy(source, &header.source);
    if (destination)
        header.destination = *destination;
    else if (getsockname(fd, (struct sockaddr *)&header.destination, &size) != 0)
        header.is_local = 1;
    unmap(&header.source);
    unmap(&header.destination);
    header.is_local |= (header.source.ss_family != AF_INET && header.source.ss_family != AF_INET6) ||
                       header.destination.ss_family != header.source.ss_family;
    int64_t written = gateway_proxy_write(to, version, &header, NULL);
    return written > 0 ? (uint32_t)written : 0; /* it only fails for what was looked at above */
}
