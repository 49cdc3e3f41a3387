/* servers.h: the servers of one upstream change while everything else stays: by hand, or because a name has other
 * addresses now.  [main]
 *
 * Such a change is a set of servers of its own, which workers take over like that of another configuration: requests
 * that are under way end with the server that they have, connections to servers that stay are kept, and requests that
 * wait look among the new ones.
 *
 * What was changed by hand stays over a reload as long as the configuration says the same of the upstream's servers as
 * it did before; when that is another, the configuration is right, and what was changed by hand is gone.  It is gone,
 * too, when the process ends. */
#ifndef GATEWAY_SERVERS_H
#define GATEWAY_SERVERS_H

#include "upstream/list.h"

struct gateway;
struct gateway_upstream;

/* Changes a copy of the list.  What it returns, other than HF_OK, is the result of the whole; then nothing is changed.
 */
typedef int32_t (*gateway_servers_edit)(void *arg, struct gateway_server_list *servers, hf_error *error);

/* Lets `edit` change the servers of an upstream (see gateway_server_list_add, _remove, _find).  From the return on the
 * change counts, though workers may take a moment more to see it.  HF_ENOTFOUND: there is no such upstream; HF_EINVAL:
 * no server would be left; HF_EBUSY: a configuration is being changed just now, try again; HF_ESTATE: the gateway has
 * not begun; HF_ENOMEM, or what `edit` or the balancer says. */
int32_t gateway_servers_change(struct gateway *gateway, const char *upstream, gateway_servers_edit edit, void *arg,
                               hf_error *error);

/* The same servers, looked up anew: names may have other addresses.  Errors as above. */
int32_t gateway_servers_renew(struct gateway *gateway, struct gateway_upstream *upstream, hf_error *error);

#endif
