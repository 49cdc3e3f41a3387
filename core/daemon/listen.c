/* Listening sockets; see listen.h. */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* ---- Places ------------------------------------------------------------------------------------------------------ */

static int socket_type(const hf_listen_place *place)
{
    return place->type == HF_LISTEN_STREAM ? SOCK_STREAM : SOCK_DGRAM;
}

static const struct sockaddr *address_of(const hf_listen_place *place)
{
    return (const struct sockaddr *)&place->address;
}

static const char *path_of(const hf_listen_place *place)
{
    return ((const struct sockaddr_un *)&place->address)->sun_path;
}

static int32_t resolve_path(const char *path, hf_listen_place *ret_place, hf_error *error)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&ret_place->address;

    if (!*path || strlen(path) >= sizeof address->sun_path)
        return hf_error_set(error, HF_EINVAL, "'unix:%s' has no path of 1 to %zu bytes", path,
                            sizeof address->sun_path - 1);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    ret_place->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1); /* as getsockname says */
    return 0;
}

int32_t hf_listen_resolve(int32_t type, const char *address, hf_listen_place *ret_place, hf_error *error)
{
    hf_listen_place place = {.type = type};
    struct addrinfo hints = {.ai_socktype = socket_type(&place), .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[256], port[16];

    *ret_place = place;
    if (strncmp(address, "unix:", 5) == 0)
        return resolve_path(address + 5, ret_place, error);
    int32_t result = hf_url_split_address(address, host, sizeof host, port, sizeof port, error);
    if (result)
        return result;
    int code = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (code)
        return hf_error_set(error, HF_EINVAL, "cannot listen on '%s': %s", address, gai_strerror(code));
    memcpy(&ret_place->address, found->ai_addr, found->ai_addrlen);
    ret_place->size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int32_t hf_listen_place_of(int32_t fd, hf_listen_place *ret_place)
{
    int type = 0;
    socklen_t size = sizeof type;

    *ret_place = (hf_listen_place){.size = sizeof ret_place->address};
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        getsockname(fd, (struct sockaddr *)&ret_place->address, &ret_place->size) != 0)
        return HF_EINVAL;
    ret_place->type = type == SOCK_STREAM ? HF_LISTEN_STREAM : HF_LISTEN_DATAGRAM;
    return 0;
}

int hf_listen_same(const hf_listen_place *a, const hf_listen_place *b)
{
    return a->type == b->type && a->size == b->size && memcmp(&a->address, &b->address, a->size) == 0;
}

static in_port_t port_of(const hf_listen_place *place)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;

    return place->address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port;
}

/* Whether what is for `other` also reaches one who listens on all addresses of `place`. */
static int includes(const hf_listen_place *place, const hf_listen_place *other)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;

    if (place->address.ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
    return v4->sin_addr.s_addr == INADDR_ANY && other->address.ss_family == AF_INET;
}

int hf_listen_overlap(const hf_listen_place *a, const hf_listen_place *b)
{
    if (hf_listen_same(a, b))
        return 1;
    if (a->type != b->type || a->address.ss_family == AF_UNIX || b->address.ss_family == AF_UNIX)
        return 0;
    return port_of(a) == port_of(b) && (includes(a, b) || includes(b, a));
}

/* ---- Who is there already ---------------------------------------------------------------------------------------- */

static int32_t in_use(const char *address, hf_error *error)
{
    return hf_error_set(error, HF_EIO,
                        "cannot listen on '%s': another program is there already; end it, or choose another address",
                        address);
}

static int somebody_answers(const hf_listen_place *place)
{
    int fd = socket(place->address.ss_family, socket_type(place) | SOCK_CLOEXEC, 0);
    int answers = fd >= 0 && connect(fd, address_of(place), place->size) == 0;

    if (fd >= 0)
        close(fd);
    return answers;
}

/* SO_REUSEPORT lets a second daemon of the same user share the port unnoticed: whoever can connect is in use.  Without
 * connections, a bind that is refused says it: datagram sockets leave nothing behind, and connecting one always
 * succeeds. */
static int32_t check_port(const hf_listen_place *place, const char *address, hf_error *error)
{
    int fd = socket(place->address.ss_family, socket_type(place) | SOCK_CLOEXEC, 0);
    int used = fd >= 0 && bind(fd, address_of(place), place->size) != 0 && errno == EADDRINUSE;

    if (fd >= 0)
        close(fd);
    if (used && place->type == HF_LISTEN_STREAM) /* TIME_WAIT of a predecessor also says "in use" */
        used = somebody_answers(place);
    return used ? in_use(address, error) : 0;
}

/* A socket that nobody has open is one of a process that was killed; anything else is not ours to remove. */
static int32_t clear_path(const hf_listen_place *place, const char *address, hf_error *error)
{
    struct stat status;

    if (lstat(path_of(place), &status) != 0)
        return 0; /* what is wrong with the path, bind says */
    if (!S_ISSOCK(status.st_mode))
        return hf_error_set(error, HF_EIO, "cannot listen on '%s': a file is there that is no socket; remove it",
                            address);
    if (somebody_answers(place))
        return in_use(address, error);
    (void)unlink(path_of(place)); /* bind says why not */
    return 0;
}

void hf_listen_remove_name(const hf_listen_place *place)
{
    struct stat status;

    if (place->address.ss_family == AF_UNIX && lstat(path_of(place), &status) == 0 && S_ISSOCK(status.st_mode))
        (void)unlink(path_of(place)); /* the next one to listen there tries it again */
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static int share_port(int fd, const hf_listen_place *place)
{
    int on = 1;

    if (place->address.ss_family == AF_UNIX)
        return 0;
    /* For datagrams SO_REUSEADDR would let anybody take the port. */
    if (place->type == HF_LISTEN_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return -1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

static int32_t open_one(const hf_listen_place *place, const char *address, int32_t *ret_fd, hf_error *error)
{
    int fd = socket(place->address.ss_family, socket_type(place) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && share_port(fd, place) == 0 && bind(fd, address_of(place), place->size) == 0 &&
        (place->type != HF_LISTEN_STREAM || listen(fd, BACKLOG) == 0)) {
        *ret_fd = fd;
        return 0;
    }
    const char *hint = errno == EADDRINUSE ? "; is another program there?" : "";
    hf_error_set_errno(error, HF_EIO, errno, "cannot listen on '%s'%s", address, hint);
    if (fd >= 0)
        close(fd);
    return HF_EIO;
}

static int32_t duplicate(int32_t fd, const char *address, int32_t *ret_fd, hf_error *error)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot listen on '%s'", address);
    *ret_fd = copy;
    return 0;
}

/* ---- What a predecessor has left --------------------------------------------------------------------------------- */

struct candidate {
    int32_t fd;
    uint32_t waiting; /* connections, or bytes of the next datagram */
};

static uint32_t waiting_at(int fd, const hf_listen_place *place)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    int bytes = 0;

    if (place->type == HF_LISTEN_DATAGRAM)
        return ioctl(fd, FIONREAD, &bytes) == 0 ? (uint32_t)bytes : 0;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_unacked : 0; /* its queue's length */
}

static int fuller(const void *a, const void *b)
{
    uint32_t one = ((const struct candidate *)a)->waiting, other = ((const struct candidate *)b)->waiting;

    return (one < other) - (one > other);
}

/* Moves up to `count` sockets at this place out of the pool, those with most in their queues first. */
static int32_t take(const hf_listen_place *place, uint32_t count, hf_listen_pool *pool, int32_t *descriptors,
                    uint32_t *ret_taken, hf_error *error)
{
    struct candidate *found = calloc(pool->count + 1, sizeof *found);
    uint32_t found_count = 0, rest = 0;

    if (!found)
        return hf_error_set(error, HF_ENOMEM, "no memory for listeners");
    for (uint32_t i = 0; i < pool->count; i++) {
        hf_listen_place there;
        int fits = hf_listen_place_of(pool->descriptors[i], &there) == 0 && hf_listen_same(place, &there);
        if (fits)
            found[found_count++] = (struct candidate){pool->descriptors[i], waiting_at(pool->descriptors[i], place)};
        else
            pool->descriptors[rest++] = pool->descriptors[i];
    }
    qsort(found, found_count, sizeof *found, fuller);
    for (uint32_t i = 0; i < found_count; i++)
        if (i < count)
            descriptors[i] = found[i].fd;
        else
            pool->descriptors[rest++] = found[i].fd;
    pool->count = rest;
    *ret_taken = found_count < count ? found_count : count;
    free(found);
    return 0;
}

int32_t hf_listen_at(const hf_listen_place *place, const char *address, uint32_t count, hf_listen_pool *pool,
                     int32_t *ret_descriptors, hf_error *error)
{
    int at_path = place->address.ss_family == AF_UNIX;
    int32_t descriptors[HF_LISTEN_COUNT_MAX];
    uint32_t have = 0, taken = 0;
    int32_t result = 0;

    if (count < 1 || count > HF_LISTEN_COUNT_MAX)
        return hf_error_set(error, HF_EINVAL, "%u sockets at '%s', expected 1 to %d", count, address,
                            HF_LISTEN_COUNT_MAX);
    if (pool)
        result = take(place, count, pool, descriptors, &taken, error);
    have = taken;
    if (!result && !have) /* else it is our own that are there */
        result = at_path ? clear_path(place, address, error) : check_port(place, address, error);
    while (!result && have < count) {
        result = at_path && have ? duplicate(descriptors[0], address, &descriptors[have], error)
                                 : open_one(place, address, &descriptors[have], error);
        have += !result;
    }
    if (!result)
        memcpy(ret_descriptors, descriptors, count * sizeof *descriptors);
    for (uint32_t i = 0; result && i < have; i++)
        if (i < taken)
            pool->descriptors[pool->count++] = descriptors[i]; /* where they came from */
        else
            close(descriptors[i]);
    return result;
}

int32_t hf_listen(int32_t type, const char *address, uint32_t count, hf_listen_pool *pool, int32_t *ret_descriptors,
                  hf_error *error)
{
    hf_listen_place place;
    int32_t result = hf_listen_resolve(type, address, &place, error);

    return result ? result : hf_listen_at(&place, address, count, pool, ret_descriptors, error);
}
