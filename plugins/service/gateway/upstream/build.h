/* build.h: a set of servers from what the configuration says.  [main] */
#ifndef GATEWAY_BUILD_H
#define GATEWAY_BUILD_H

#include "tls/tickets.h"
#include "upstream/upstream.h"

#include <holdfast/host/node.h>

struct gateway_meters;
struct gateway_logs;
struct gateway_names;

struct gateway_build {
    const hf_host *host;
    const hf_node_interface *node;
    struct gateway_bin *bin;
    struct gateway_meters *meters;   /* of a plan */
    struct gateway_logs *logs;       /* likewise */
    struct gateway_tickets *tickets; /* of all listeners */
    uint32_t worker_count;
    struct gateway_names *names; /* that addresses are looked up in */
    uint64_t now_us;
};

/* Makes the set of an upstream from `servers`; NULL: from what the options say of them, or, where they say the same as
 * when the upstream's servers were changed by hand, from those, so that a reload for another reason does not undo that.
 * Servers that the upstream has already, with the same name and address, are those.
 * Names are not waited for: without an address yet, a server is there and gets nothing.  HF_EINVAL, HF_ENOTFOUND
 * (no such balancer), HF_ENOMEM. */
int32_t gateway_server_set_build(const struct gateway_build *build, struct gateway_upstream *upstream,
                                 const struct gateway_upstream_options *options,
                                 const struct gateway_server_list *servers, struct gateway_server_set **ret_set,
                                 hf_error *error);

#endif
