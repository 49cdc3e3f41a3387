/* listeners.h: the sockets on which clients are awaited, one per worker and listener.  [main] */
#ifndef GATEWAY_LISTENERS_H
#define GATEWAY_LISTENERS_H

#include "plan/plan.h"

#include <holdfast/host/listen.h>

struct gateway_socket_group {
    char *name;           /* of the listener */
    char *address;        /* what it listens at */
    int32_t type;         /* HF_LISTEN_... */
    int32_t *descriptors; /* by worker */
    int32_t is_shared;    /* with other listeners that stay: not to be closed with these */
};

struct gateway_listeners {
    const hf_host *host;
    const hf_listen_interface *listen;
    uint32_t worker_count;
    struct gateway_socket_group *groups;
    uint32_t count;
};

/* Sets the groups for a plan: those that `before` has of the same address, and new ones.  HF_EIO (port in
 * use), HF_EINVAL, HF_ENOMEM: what was opened is closed again. */
int32_t gateway_listeners_open(const struct gateway_listeners *before, const struct gateway_plan *plan,
                               struct gateway_listeners *ret_after, hf_error *error);

/* The descriptor that a worker gets for a listener of the plan; -1: it has it from `before` (may be NULL) already. */
int32_t gateway_listeners_new(const struct gateway_listeners *before, const struct gateway_listeners *after,
                              uint32_t listener, uint32_t worker);

/* Marks what `stays` has, too: gateway_listeners_drop does not close it. */
void gateway_listeners_share(struct gateway_listeners *gone, const struct gateway_listeners *stays);

/* Closes what is not marked, for good, and forgets all of it. */
void gateway_listeners_drop(struct gateway_listeners *gone);

/* Forgets the groups; the sockets stay open until the process ends, so that its successor gets what waits in them. */
void gateway_listeners_forget(struct gateway_listeners *listeners);

#endif
