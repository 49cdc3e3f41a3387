#include "upstream/locate.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static int32_t locate_unix(const char *path, struct gateway_addresses *addresses, hf_error *error)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&addresses->items[0];

    if (strlen(path) >= sizeof address->sun_path)
        return hf_error_set(error, HF_EINVAL, "the socket's path is too long: '%s'", path);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    addresses->sizes[0] = sizeof *address;
    addresses->count = 1;
    return HF_OK;
}

/* 0: it is no number, but a name. */
static int locate_number(const char *host, const char *port, struct gateway_addresses *addresses)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found = NULL;

    if (getaddrinfo(host, port, &hints, &found) != 0) /* asks nobody, with these flags */
        return 0;
    memcpy(&addresses->items[0], found->ai_addr, found->ai_addrlen);
    addresses->sizes[0] = found->ai_addrlen;
    addresses->count = 1;
    freeaddrinfo(found);
    return 1;
}

int32_t gateway_locate(const struct gateway_build *build, const struct gateway_upstream_options *upstream,
                       const char *address, struct gateway_location *location, hf_error *error)
{
    char host[256], port[16];

    memset(location, 0, sizeof *location);
    if (strncmp(address, "unix:", 5) == 0)
        return locate_unix(address + 5, &location->fixed, error);
    int32_t code = hf_url_split_address(address, host, sizeof host, port, sizeof port, error);
    if (code != HF_OK)
        return code;
    if (locate_number(host, port, &location->fixed))
        return HF_OK;
    location->port = (uint16_t)strtoul(port, NULL, 10);
    location->name = gateway_names_find(build->names, host, upstream->resolve_minimum_us, upstream->resolve_maximum_us);
    return location->name ? HF_OK : hf_error_set(error, HF_ENOMEM, "no memory for the name '%s'", host);
}

void gateway_location_all(const struct gateway_location *location, struct gateway_addresses *addresses)
{
    const struct gateway_name *name = location->name;

    *addresses = location->fixed;
    for (uint32_t i = 0; name && i < name->addresses.count && i < GATEWAY_ADDRESSES_MAX; i++)
        addresses->sizes[addresses->count++] =
            gateway_name_address_write(&name->addresses.items[i], location->port, &addresses->items[i]);
}

void gateway_location_one(const struct gateway_location *location, uint32_t i, struct gateway_addresses *addresses,
                          char name[GATEWAY_LOCATION_TEXT], char address[GATEWAY_LOCATION_TEXT])
{
    const struct gateway_name_address *item = &location->name->addresses.items[i];
    char text[INET6_ADDRSTRLEN] = "";

    memset(addresses, 0, sizeof *addresses);
    addresses->sizes[0] = gateway_name_address_write(item, location->port, &addresses->items[0]);
    addresses->count = 1;
    (void)inet_ntop(item->family, item->bytes, text, sizeof text); /* it fits */
    snprintf(name, GATEWAY_LOCATION_TEXT, "%s", text);
    snprintf(address, GATEWAY_LOCATION_TEXT, item->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
             (unsigned)location->port);
}
