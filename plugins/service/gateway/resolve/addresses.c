#include "resolve/addresses.h"

#include <netinet/in.h>
#include <string.h>

static int read_address(const struct sockaddr *from, struct gateway_name_address *to)
{
    memset(to, 0, sizeof *to);
    to->family = from->sa_family;
    if (from->sa_family == AF_INET)
        memcpy(to->bytes, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    else if (from->sa_family == AF_INET6)
        memcpy(to->bytes, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    else
        return 0;
    return 1;
}

static int compare(const struct gateway_name_address *a, const struct gateway_name_address *b)
{
    if (a->family != b->family)
        return a->family == AF_INET ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

void gateway_name_addresses_add(struct gateway_name_addresses *addresses, const struct sockaddr *from)
{
    struct gateway_name_address address;
    uint32_t at = 0;

    if (!read_address(from, &address))
        return;
    while (at < addresses->count && compare(&addresses->items[at], &address) < 0)
        at++;
    if (at == GATEWAY_NAME_ADDRESSES_MAX || (at < addresses->count && compare(&addresses->items[at], &address) == 0))
        return;
    if (addresses->count == GATEWAY_NAME_ADDRESSES_MAX) /* which ones are left out does not depend on their order */
        addresses->count--;
    memmove(&addresses->items[at + 1], &addresses->items[at], (addresses->count - at) * sizeof address);
    addresses->items[at] = address;
    addresses->count++;
}

int32_t gateway_name_addresses_same(const struct gateway_name_addresses *a, const struct gateway_name_addresses *b)
{
    if (a->count != b->count)
        return 0;
    for (uint32_t i = 0; i < a->count; i++)
        if (compare(&a->items[i], &b->items[i]) != 0)
            return 0;
    return 1;
}

socklen_t gateway_name_address_write(const struct gateway_name_address *address, uint16_t port,
                                     struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret_address;

    memset(ret_address, 0, sizeof *ret_address);
    if (address->family == AF_INET) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        memcpy(&four->sin_addr, address->bytes, 4);
        return sizeof *four;
    }
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    memcpy(&six->sin6_addr, address->bytes, 16);
    return sizeof *six;
}

uint64_t gateway_name_wait(int64_t ttl_s, uint32_t failures, uint64_t minimum_us, uint64_t maximum_us)
{
    uint64_t wait_us = failures ? minimum_us : ttl_s < 0 ? 0 : (uint64_t)ttl_s * 1000000;

    for (uint32_t i = 1; i < failures && wait_us < maximum_us; i++)
        wait_us *= 2;
    if (wait_us < minimum_us)
        wait_us = minimum_us;
    return wait_us < maximum_us ? wait_us : maximum_us;
}
