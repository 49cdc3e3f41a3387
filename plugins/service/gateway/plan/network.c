#include "plan/network.h"

#include <holdfast/lib/error.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static void map(const void *four, uint8_t bytes[16])
{
    memcpy(bytes, mapped, sizeof mapped);
    memcpy(bytes + sizeof mapped, four, 4);
}

int32_t gateway_network_parse(const char *text, struct gateway_network *ret_network, hf_error *error)
{
    char address[INET6_ADDRSTRLEN + 1] = "";
    size_t size = strcspn(text, "/");
    struct in_addr four;
    uint32_t most = 128;
    char *end = NULL;

    if (size < sizeof address)
        memcpy(address, text, size);
    if (inet_pton(AF_INET, address, &four) == 1) {
        map(&four, ret_network->bytes);
        most = 32;
    } else if (inet_pton(AF_INET6, address, ret_network->bytes) != 1) {
        return hf_error_set(error, HF_EINVAL, "'%s' is no network; expected for example 10.0.0.0/8 or 2001:db8::1",
                            text);
    }
    unsigned long bits = text[size] ? strtoul(text + size + 1, &end, 10) : most;
    if (end && (*end || end == text + size + 1 || bits > most || text[size + 1] < '0' || text[size + 1] > '9'))
        return hf_error_set(error, HF_EINVAL, "'%s' is no network: the number after the slash is from 0 to %u", text,
                            most);
    ret_network->bits = (uint32_t)bits + 128 - most;
    return HF_OK;
}

static int bytes_of(const struct sockaddr *address, uint8_t bytes[16])
{
    if (address->sa_family == AF_INET)
        map(&((const struct sockaddr_in *)address)->sin_addr, bytes);
    else if (address->sa_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    else
        return 0;
    return 1;
}

int32_t gateway_network_has(const struct gateway_network *network, const struct sockaddr *address)
{
    uint32_t whole = network->bits / 8, rest = network->bits % 8;
    uint8_t bytes[16];

    if (!bytes_of(address, bytes) || memcmp(bytes, network->bytes, whole) != 0)
        return 0;
    return rest == 0 || ((bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

uint32_t gateway_address_text(const struct sockaddr *address, char text[GATEWAY_ADDRESS_TEXT])
{
    uint8_t bytes[16];
    const char *written = NULL;

    if (bytes_of(address, bytes))
        written = memcmp(bytes, mapped, sizeof mapped) == 0
                      ? inet_ntop(AF_INET, bytes + sizeof mapped, text, GATEWAY_ADDRESS_TEXT)
                      : inet_ntop(AF_INET6, bytes, text, GATEWAY_ADDRESS_TEXT);
    if (!written)
        strcpy(text, "unix");
    return (uint32_t)strlen(text);
}
