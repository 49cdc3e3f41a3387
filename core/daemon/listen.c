/* Listening sockets; see listen.h. */
#include "daemon/listen.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/url.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int32_t listen_unix(const char *path, uint32_t count, int32_t *ret_descriptors, hf_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return hf_error_set(error, HF_EINVAL, "the socket's path is too long: '%s'", path);
    strcpy(address.sun_path, path);
    unlink(path); /* left by a process that was killed */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0) {
        hf_error_set_errno(error, HF_EIO, errno, "cannot listen on 'unix:%s'", path);
        if (fd >= 0)
            close(fd);
        return HF_EIO;
    }
    ret_descriptors[0] = fd;
    for (uint32_t i = 1; i < count; i++) {
        ret_descriptors[i] = dup(fd);
        if (ret_descriptors[i] < 0)
            return hf_error_set_errno(error, HF_EIO, errno, "cannot listen on 'unix:%s'", path);
    }
    return 0;
}

static int32_t listen_at(const struct addrinfo *at, const char *address, int32_t *ret_fd, hf_error *error)
{
    int on = 1;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 && bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    hf_error_set_errno(error, HF_EIO, errno, "cannot listen on '%s'; is another program there?", address);
    if (fd >= 0)
        close(fd);
    return HF_EIO;
}

/* SO_REUSEPORT lets a second daemon of the same user share the port unnoticed: whoever can connect is in use. */
static int32_t check_unused(const struct addrinfo *at, const char *address, hf_error *error)
{
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    int used = fd >= 0 && bind(fd, at->ai_addr, at->ai_addrlen) != 0 && errno == EADDRINUSE;

    if (used) { /* TIME_WAIT of a predecessor also says "in use": only an answer counts */
        int again = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        used = again >= 0 && connect(again, at->ai_addr, at->ai_addrlen) == 0;
        if (again >= 0)
            close(again);
    }
    if (fd >= 0)
        close(fd);
    return used ? hf_error_set(error, HF_EIO, "cannot listen on '%s': another program is there already", address) : 0;
}

int32_t hf_listen(const char *address, uint32_t count, int32_t *ret_descriptors, hf_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[256], port[16];

    if (strncmp(address, "unix:", 5) == 0)
        return listen_unix(address + 5, count, ret_descriptors, error);
    int32_t result = hf_url_split_address(address, host, sizeof host, port, sizeof port, error);
    if (result)
        return result;
    int code = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (code)
        return hf_error_set(error, HF_EINVAL, "cannot listen on '%s': %s", address, gai_strerror(code));
    result = check_unused(found, address, error);
    for (uint32_t i = 0; i < count && !result; i++) {
        result = listen_at(found, address, &ret_descriptors[i], error);
        for (uint32_t k = 0; result && k < i; k++)
            close(ret_descriptors[k]);
    }
    freeaddrinfo(found);
    return result;
}
