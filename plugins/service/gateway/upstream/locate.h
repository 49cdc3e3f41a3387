/* locate.h: where the servers of a configured address are.  [main] */
#ifndef GATEWAY_LOCATE_H
#define GATEWAY_LOCATE_H

#include "resolve/names.h"
#include "upstream/build.h"

struct gateway_location {
    struct gateway_addresses fixed;  /* of a socket's path, or a number */
    const struct gateway_name *name; /* NULL: it is fixed */
    uint16_t port;
};

/* Never waits: a name may have no address yet.  HF_EINVAL, HF_ENOMEM. */
int32_t gateway_locate(const struct gateway_build *build, const struct gateway_upstream_options *upstream,
                       const char *address, struct gateway_location *ret_location, hf_error *error);

/* The addresses of one server: GATEWAY_ADDRESSES_MAX of the name's at most. */
void gateway_location_all(const struct gateway_location *location, struct gateway_addresses *ret_addresses);

enum { GATEWAY_LOCATION_TEXT = 64 };

/* One address of the name as that of a server: "10.0.0.7" and "10.0.0.7:80", or "fd00::7" and "[fd00::7]:80". */
void gateway_location_one(const struct gateway_location *location, uint32_t i, struct gateway_addresses *ret_addresses,
                          char name[GATEWAY_LOCATION_TEXT], char address[GATEWAY_LOCATION_TEXT]);

#endif
