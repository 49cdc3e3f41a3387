#include "service/listeners.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

enum { UNSENT_MAX = 256 << 10 /* bytes of a connection in the kernel that were not sent yet */ };

/* The group with the same sockets, whatever its listener is called, or NULL. */
static const struct gateway_socket_group *find(const struct gateway_listeners *listeners,
                                               const struct gateway_socket_group *as)
{
    for (uint32_t i = 0; listeners && i < listeners->count; i++)
        if (listeners->groups[i].type == as->type && strcmp(listeners->groups[i].address, as->address) == 0)
            return &listeners->groups[i];
    return NULL;
}

static void free_group(struct gateway_socket_group *group)
{
    free(group->name);
    free(group->address);
    free(group->descriptors);
}

/* Connections of the listener have it, too: what a client does not take waits here, where it is bounded and has a
 * time-out, rather than by megabytes in the kernel; and a slow reader is seen to read each time some of it goes.  It is
 * only more memory where it is not known. */
static void bound_unsent(const struct gateway_socket_group *group, uint32_t count)
{
    int bytes = UNSENT_MAX;

    for (uint32_t i = 0; i < count; i++)
        (void)setsockopt(group->descriptors[i], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

static int32_t open_group(const struct gateway_listeners *before, const struct gateway_listener *listener,
                          struct gateway_listeners *after, hf_error *error)
{
    struct gateway_socket_group *group = &after->groups[after->count];

    group->name = strndup((const char *)listener->name.data, listener->name.size);
    group->address = strdup(listener->address);
    group->type = listener->protocol == GATEWAY_PROTOCOL_UDP ? HF_LISTEN_DATAGRAM : HF_LISTEN_STREAM;
    group->descriptors = calloc(after->worker_count, sizeof *group->descriptors);
    if (!group->name || !group->address || !group->descriptors) {
        free_group(group);
        return hf_error_set(error, HF_ENOMEM, "no memory for a listener");
    }
    const struct gateway_socket_group *old = find(before, group);
    int32_t code = HF_OK;
    if (old)
        memcpy(group->descriptors, old->descriptors, after->worker_count * sizeof *group->descriptors);
    else
        code = after->listen->open(after->host, group->type, group->address, after->worker_count, group->descriptors,
                                   error);
    if (code == HF_OK && listener->protocol == GATEWAY_PROTOCOL_HTTP)
        bound_unsent(group, after->worker_count);
    if (code != HF_OK) {
        hf_error_prefix(error, "listener '%s'", group->name);
        free_group(group);
        return code;
    }
    after->count++;
    return HF_OK;
}

int32_t gateway_listeners_open(const struct gateway_listeners *before, const struct gateway_plan *plan,
                               struct gateway_listeners *ret_after, hf_error *error)
{
    struct gateway_listeners after = {
        .host = before->host, .listen = before->listen, .worker_count = before->worker_count};
    int32_t code = HF_OK;

    after.groups = calloc(plan->listener_count + 1, sizeof *after.groups);
    if (!after.groups)
        return hf_error_set(error, HF_ENOMEM, "no memory for the listeners");
    for (uint32_t i = 0; i < plan->listener_count && code == HF_OK; i++)
        code = open_group(before, &plan->listeners[i], &after, error);
    if (code != HF_OK) {
        gateway_listeners_share(&after, before);
        gateway_listeners_drop(&after);
        return code;
    }
    *ret_after = after;
    return HF_OK;
}

int32_t gateway_listeners_new(const struct gateway_listeners *before, const struct gateway_listeners *after,
                              uint32_t listener, uint32_t worker)
{
    const struct gateway_socket_group *group = &after->groups[listener], *old = find(before, group);

    return old && strcmp(old->name, group->name) == 0 ? -1 : group->descriptors[worker];
}

void gateway_listeners_share(struct gateway_listeners *gone, const struct gateway_listeners *stays)
{
    for (uint32_t i = 0; i < gone->count; i++)
        gone->groups[i].is_shared = find(stays, &gone->groups[i]) != NULL;
}

void gateway_listeners_drop(struct gateway_listeners *gone)
{
    for (uint32_t i = 0; i < gone->count; i++) {
        struct gateway_socket_group *group = &gone->groups[i];

        if (!group->is_shared)
            gone->listen->close(gone->host, group->type, group->address, group->descriptors, gone->worker_count);
    }
    gateway_listeners_forget(gone);
}

void gateway_listeners_forget(struct gateway_listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->count; i++)
        free_group(&listeners->groups[i]);
    free(listeners->groups);
    listeners->groups = NULL;
    listeners->count = 0;
}
