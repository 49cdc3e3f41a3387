/* server_names.h: which upstream a connection goes to by the name that its TLS client asks for.  Pure. */
#ifndef GATEWAY_SERVER_NAMES_H
#define GATEWAY_SERVER_NAMES_H

#include <holdfast/holdfast.h>

struct gateway_server_name {
    const hf_slice *hosts; /* "a.example", "*.a.example" for all names below it, whatever their case */
    uint32_t host_count;
    uint32_t upstream; /* of the plan */
};

/* The place of the first that has the host, or -1. */
int32_t gateway_server_names_find(const struct gateway_server_name *names, uint32_t count, hf_slice host);

#endif
