/* hf.listen/1: real sockets, each group at a free port of this machine alone or at a path in the check's folder,
 * whatever the address says: checks that run at once, and instances that stand for two processes, are not in each
 * other's way.  Which address is right and who listens there already is judged by the host's own code
 * (daemon/listen.c).
 */
#include "host_private.h"
#include "report.h"

#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

struct kit_listener {
    struct kit_listener *next;
    int32_t type;
    char *address;          /* as the plugin wrote it */
    hf_listen_place wanted; /* where that is */
    hf_listen_place place;  /* where the sockets are */
    uint32_t count;
    int32_t descriptors[HF_LISTEN_COUNT_MAX];
    ino_t sockets[HF_LISTEN_COUNT_MAX]; /* which tell them from others that have got their numbers */
};

/* ---- Places ------------------------------------------------------------------------------------------------------ */

static int32_t is_path(const hf_listen_place *place)
{
    return place->address.ss_family == AF_UNIX;
}

static hf_listen_place path_place(int32_t type)
{
    static uint32_t counter;
    hf_listen_place place = {.type = type};
    struct sockaddr_un *address = (struct sockaddr_un *)&place.address;

    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s/listen-%u", kit_report ? kit_report->directory : ".",
             counter++);
    place.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address->sun_path) + 1);
    return place;
}

static hf_listen_place loopback(int32_t type, int32_t family)
{
    hf_listen_place place = {.type = type};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&place.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&place.address;

    place.address.ss_family = (sa_family_t)family;
    place.size = family == AF_INET ? sizeof *v4 : sizeof *v6;
    if (family == AF_INET)
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        v6->sin6_addr = in6addr_loopback;
    return place;
}

static int socket_at(const hf_listen_place *place)
{
    int type = place->type == HF_LISTEN_STREAM ? SOCK_STREAM : SOCK_DGRAM;

    return socket(place->address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* The first socket of a group, at a port that nobody has: it is shared only once it is bound, or the system could give
 * one of another check. */
static int32_t open_first(hf_listen_place *place, int32_t *ret_fd, hf_error *error)
{
    int fd = socket_at(place), on = 1;

    place->size = sizeof place->address;
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&place->address, place->size) == 0 &&
        getsockname(fd, (struct sockaddr *)&place->address, &place->size) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        (place->type != HF_LISTEN_STREAM || listen(fd, BACKLOG) == 0)) {
        *ret_fd = fd;
        return HF_OK;
    }
    hf_error_set_errno(error, HF_EIO, errno, "the kit cannot listen on this machine");
    if (fd >= 0)
        close(fd);
    return HF_EIO;
}

/* The first socket, and the others next to it as the host opens them. */
static int32_t open_group(struct kit_listener *listener, hf_error *error)
{
    hf_listen_pool first = {listener->descriptors, 1};
    int32_t found[HF_LISTEN_COUNT_MAX];

    if (is_path(&listener->wanted)) {
        listener->place = path_place(listener->type);
        return hf_listen_at(&listener->place, listener->address, listener->count, NULL, listener->descriptors, error);
    }
    listener->place = loopback(listener->type, listener->wanted.address.ss_family);
    int32_t result = open_first(&listener->place, listener->descriptors, error);
    if (result && listener->wanted.address.ss_family == AF_INET6) { /* a machine without IPv6 */
        listener->place = loopback(listener->type, AF_INET);
        result = open_first(&listener->place, listener->descriptors, error);
    }
    if (result)
        return result;
    result = hf_listen_at(&listener->place, listener->address, listener->count, &first, found, error);
    if (result)
        close(listener->descriptors[0]);
    else
        memcpy(listener->descriptors, found, listener->count * sizeof *found);
    return result;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static void check_call(const hf_kit_host *kit, const char *what, int32_t type, const char *address, uint32_t count,
                       const int32_t *descriptors)
{
    if (!kit_on_thread(kit) || (kit->running != &kit->loops[0] && !kit->ended))
        hf_kit_fail("hf.listen/1 %s was called on another thread than the main one", what);
    if (!address || !descriptors)
        hf_kit_fail("hf.listen/1 %s was called without an address or without descriptors", what);
    if (type != HF_LISTEN_STREAM && type != HF_LISTEN_DATAGRAM)
        hf_kit_fail("hf.listen/1 %s of '%s': the type %d is none of HF_LISTEN_...", what, address, type);
    if (count < 1 || count > HF_LISTEN_COUNT_MAX)
        hf_kit_fail("hf.listen/1 %s of '%s': there are %u descriptors, expected 1 to %d", what, address, count,
                    HF_LISTEN_COUNT_MAX);
}

/* As the host judges (daemon/sockets.c). */
static int32_t check_place(const hf_kit_host *kit, const hf_listen_place *place, const char *address, hf_error *error)
{
    const struct sockaddr_in *inet = (const struct sockaddr_in *)&place->address; /* the port is where it is in v6 */

    if (!is_path(place) && inet->sin_port == 0)
        return hf_error_set(error, HF_EINVAL, "cannot listen on '%s': expected a port from 1 to 65535", address);
    for (const struct kit_listener *one = kit->listeners; one; one = one->next)
        if (hf_listen_overlap(&one->wanted, place))
            return hf_error_set(error, HF_EINVAL,
                                "cannot listen on '%s': this process listens there already; take one of the two "
                                "listeners out",
                                address);
    return HF_OK;
}

static void forget(struct kit_listener *listener)
{
    free(listener->address);
    free(listener);
}

static ino_t socket_of(int32_t fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

static int32_t open_sockets(const hf_host *host, int32_t type, const char *address, uint32_t count,
                            int32_t *ret_descriptors, hf_error *error)
{
    hf_kit_host *kit = kit_of(host);
    hf_listen_place place;

    check_call(kit, "open", type, address, count, ret_descriptors);
    int32_t result = hf_listen_resolve(type, address, &place, error);
    if (!result)
        result = check_place(kit, &place, address, error);
    if (!result && kit->listen_fails_at && --kit->listen_fails_at == 0) {
        kit->listen_failed = 1;
        result = hf_error_set(error, HF_EIO, "cannot listen on '%s': the kit refuses it", address);
    }
    if (result)
        return result;
    struct kit_listener *listener = kit_allocate(sizeof *listener);
    *listener = (struct kit_listener){.type = type, .address = strdup(address), .wanted = place, .count = count};
    if (!listener->address)
        hf_kit_fail("the kit itself is out of memory");
    result = open_group(listener, error);
    if (result) {
        forget(listener);
        return result;
    }
    for (uint32_t i = 0; i < count; i++)
        listener->sockets[i] = socket_of(listener->descriptors[i]);
    listener->next = kit->listeners;
    kit->listeners = listener;
    memcpy(ret_descriptors, listener->descriptors, count * sizeof *ret_descriptors);
    return HF_OK;
}

/* Those that were given, each of them, and none that was closed meanwhile. */
static void check_descriptors(const struct kit_listener *listener, const int32_t *descriptors)
{
    for (uint32_t i = 0; i < listener->count; i++) {
        uint32_t k = 0;
        while (k < listener->count && descriptors[k] != listener->descriptors[i])
            k++;
        if (k == listener->count)
            hf_kit_fail("hf.listen/1 close of '%s': the descriptor %d, which open gave, is not among them",
                        listener->address, listener->descriptors[i]);
        if (socket_of(descriptors[k]) != listener->sockets[i])
            hf_kit_fail("hf.listen/1 close of '%s': the descriptor %d was closed before", listener->address,
                        descriptors[k]);
    }
}

static void check_watches(const hf_kit_host *kit, const struct kit_listener *listener)
{
    for (uint32_t l = 0; l <= KIT_WORKERS; l++)
        for (uint32_t i = 0; i < listener->count; i++)
            if (kit_is_watched(&kit->loops[l], listener->descriptors[i]))
                hf_kit_fail("hf.listen/1 close of '%s': the descriptor %d still has a watch; destroy it first",
                            listener->address, listener->descriptors[i]);
}

static void close_sockets(const hf_host *host, int32_t type, const char *address, const int32_t *descriptors,
                          uint32_t count)
{
    hf_kit_host *kit = kit_of(host);
    struct kit_listener **at = &kit->listeners;

    check_call(kit, "close", type, address, count, descriptors);
    while (*at && ((*at)->type != type || strcmp((*at)->address, address) != 0))
        at = &(*at)->next;
    struct kit_listener *listener = *at;
    if (!listener)
        hf_kit_fail("hf.listen/1 close of '%s', which is not open, or was closed before", address);
    if (listener->count != count)
        hf_kit_fail("hf.listen/1 close of '%s' with %u descriptors; open gave %u", address, count, listener->count);
    check_descriptors(listener, descriptors);
    check_watches(kit, listener);
    *at = listener->next;
    for (uint32_t i = 0; i < count; i++)
        close(listener->descriptors[i]);
    hf_listen_remove_name(&listener->place);
    forget(listener);
}

const hf_listen_interface kit_listen_interface = {
    .head = HF_HEAD(hf_listen_interface),
    .open = open_sockets,
    .close = close_sockets,
};

/* ---- The check's side -------------------------------------------------------------------------------------------- */

void hf_kit_host_fail_listen(hf_kit_host *host, uint32_t number)
{
    host->listen_fails_at = number;
    host->listen_failed = 0;
}

int32_t hf_kit_host_listen_failed(const hf_kit_host *host)
{
    return host->listen_failed;
}

static const struct kit_listener *listener_at(const hf_kit_host *host, uint32_t index)
{
    const struct kit_listener *listener = host->listeners;

    while (listener && index-- > 0)
        listener = listener->next;
    return listener;
}

int32_t hf_kit_host_listener(const hf_kit_host *host, uint32_t index, hf_kit_listener *ret_listener)
{
    const struct kit_listener *listener = listener_at(host, index);

    if (!listener)
        return 0;
    *ret_listener = (hf_kit_listener){listener->type, listener->address, listener->count};
    return 1;
}

int32_t hf_kit_host_connect(const hf_kit_host *host, uint32_t index)
{
    const struct kit_listener *listener = listener_at(host, index);
    int fd = listener ? socket_at(&listener->place) : -1;

    if (fd < 0)
        hf_kit_fail("the kit has no socket to connect to what the plugin listens at");
    if (connect(fd, (const struct sockaddr *)&listener->place.address, listener->place.size) == 0 ||
        errno == EINPROGRESS)
        return fd;
    close(fd); /* refused, or its queue is full */
    return -1;
}

void kit_listeners_look(const hf_kit_host *host)
{
    for (const struct kit_listener *one = host->listeners; one; one = one->next)
        for (uint32_t i = 0; i < one->count; i++)
            if (socket_of(one->descriptors[i]) != one->sockets[i])
                hf_kit_fail("a socket at '%s' was closed with close() while the process goes on: the supervisor still "
                            "has it, and clients wait there for ever; use hf.listen/1 close",
                            one->address);
}

/* The process ends: its sockets are closed, unless the plugin did that itself. */
void kit_listeners_destroy(hf_kit_host *host)
{
    while (host->listeners) {
        struct kit_listener *listener = host->listeners;
        host->listeners = listener->next;
        for (uint32_t i = 0; i < listener->count; i++)
            if (socket_of(listener->descriptors[i]) == listener->sockets[i])
                close(listener->descriptors[i]);
        hf_listen_remove_name(&listener->place);
        forget(listener);
    }
}
