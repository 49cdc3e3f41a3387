/* Messages from child to supervisor; see channel.h.  What comes from a child is looked at before anything is done with
 * it: a child may have lost its mind. */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAGIC = 0x48464348, HOLD = 1, FORGET = 2, READY = 3, SEND_TIMEOUT_S = 5 };

struct message {
    uint32_t magic;
    uint32_t what;
    uint32_t count; /* of the sockets that are meant */
    uint32_t reserved;
    uint64_t cookies[HF_CHANNEL_BATCH]; /* FORGET */
};

union control {
    struct cmsghdr alignment;
    char space[CMSG_SPACE(sizeof(int) * HF_CHANNEL_BATCH)];
};

uint64_t hf_channel_cookie(int32_t fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

/* ---- Holding ------------------------------------------------------------------------------------------------- */

static int number_of(int fd, int option)
{
    int number = 0;
    socklen_t size = sizeof number;

    return getsockopt(fd, SOL_SOCKET, option, &number, &size) == 0 ? number : 0;
}

static int is_listener(int fd)
{
    int type = number_of(fd, SO_TYPE);

    return type == SOCK_DGRAM || (type == SOCK_STREAM && number_of(fd, SO_ACCEPTCONN));
}

static uint32_t find(const hf_held *held, uint64_t cookie)
{
    uint32_t i = 0;

    while (i < held->count && held->cookies[i] != cookie)
        i++;
    return i;
}

int32_t hf_held_add(hf_held *held, uint32_t most, int32_t fd)
{
    uint64_t cookie = is_listener(fd) ? hf_channel_cookie(fd) : 0;

    if (cookie && find(held, cookie) == held->count && held->count < most && held->count < HF_HELD_MAX) {
        held->descriptors[held->count] = fd;
        held->cookies[held->count++] = cookie;
        return 0;
    }
    int known = cookie && find(held, cookie) < held->count;
    close(fd);
    return known ? 0 : cookie ? HF_ETOOLARGE : HF_EINVAL;
}

static void drop(hf_held *held, uint64_t cookie)
{
    uint32_t i = find(held, cookie);

    if (i == held->count)
        return;
    close(held->descriptors[i]);
    held->count--;
    memmove(&held->descriptors[i], &held->descriptors[i + 1], (held->count - i) * sizeof held->descriptors[0]);
    memmove(&held->cookies[i], &held->cookies[i + 1], (held->count - i) * sizeof held->cookies[0]);
}

void hf_held_clear(hf_held *held)
{
    for (uint32_t i = 0; i < held->count; i++)
        close(held->descriptors[i]);
    held->count = 0;
}

/* ---- Supervisor ---------------------------------------------------------------------------------------------- */

int32_t hf_channel_create(int32_t *ret_own, int32_t *ret_childs, hf_error *error)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot make a channel to a child");
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        int32_t result = hf_error_set_errno(error, HF_EIO, errno, "cannot make a channel to a child");
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    *ret_own = ends[0];
    *ret_childs = ends[1];
    return 0;
}

static uint32_t descriptors_of(struct msghdr *header, int *descriptors)
{
    struct cmsghdr *first = CMSG_FIRSTHDR(header);

    if (!first || first->cmsg_level != SOL_SOCKET || first->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t size = first->cmsg_len - CMSG_LEN(0);
    memcpy(descriptors, CMSG_DATA(first), size);
    return (uint32_t)(size / sizeof(int));
}

static int is_message(const struct message *message, ssize_t size, uint32_t descriptor_count)
{
    return size == sizeof *message && message->magic == MAGIC && message->count <= HF_CHANNEL_BATCH &&
           (message->what == HOLD || descriptor_count == 0);
}

static int32_t hold(hf_held *held, uint32_t most, const int *descriptors, uint32_t count, uint32_t promised,
                    hf_error *error)
{
    int32_t result = 0;

    for (uint32_t i = 0; i < count; i++) { /* also after a failure: every one is taken */
        int32_t one = hf_held_add(held, most, descriptors[i]);
        result = result ? result : one;
    }
    if (result == HF_EINVAL)
        return hf_error_set(error, HF_EPROTOCOL, "it asks to hold what is no listening socket");
    if (result == HF_ETOOLARGE || count < promised) /* the kernel leaves out what finds no free number */
        return hf_error_set(error, HF_ETOOLARGE,
                            "not all of its sockets are held, at most %u can be; allow more open files "
                            "(LimitNOFILE)",
                            most < HF_HELD_MAX ? most : HF_HELD_MAX);
    return 0;
}

int32_t hf_channel_receive(int32_t own, hf_held *held, uint32_t most, int32_t *ret_ready, hf_error *error)
{
    struct message message = {0};
    union control control;
    struct iovec part = {&message, sizeof message};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int descriptors[HF_CHANNEL_BATCH + 1]; /* the control's space is rounded up */
    ssize_t size = recvmsg(own, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return HF_ENOTFOUND;
    if (size <= 0)
        return HF_ECLOSED;
    uint32_t count = descriptors_of(&header, descriptors);
    if (!is_message(&message, size, count)) {
        for (uint32_t i = 0; i < count; i++)
            close(descriptors[i]);
        return hf_error_set(error, HF_EPROTOCOL, "it sends what is no message of a child's");
    }
    if (message.what == HOLD)
        return hold(held, most, descriptors, count, message.count, error);
    for (uint32_t i = 0; message.what == FORGET && i < message.count; i++)
        drop(held, message.cookies[i]);
    *ret_ready |= message.what == READY;
    return 0;
}

/* ---- Child --------------------------------------------------------------------------------------------------- */

static int32_t read_number(const char *name, long least, long most, long *ret_number, hf_error *error)
{
    const char *text = getenv(name);
    char *end;

    if (!text)
        return HF_ENOTFOUND;
    *ret_number = strtol(text, &end, 10);
    if (*end || end == text || *ret_number < least || *ret_number > most)
        return hf_error_set(error, HF_EINVAL, "%s is '%s', expected a number from %ld to %ld", name, text, least, most);
    return 0;
}

static int32_t take(int fd, hf_error *error)
{
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !hf_channel_cookie(fd))
        return hf_error_set_errno(error, HF_EIO, errno, "descriptor %d, which the supervisor promised, is no socket",
                                  fd);
    return 0;
}

int32_t hf_channel_attach(hf_channel *ret_channel, hf_error *error)
{
    struct timeval patience = {.tv_sec = SEND_TIMEOUT_S};
    long fd, count = 0;

    *ret_channel = (hf_channel){.fd = -1};
    int32_t result = read_number(HF_CHANNEL_ENVIRONMENT, 3, 1 << 20, &fd, error);
    if (result)
        return result;
    result = read_number(HF_HELD_ENVIRONMENT, 0, HF_HELD_MAX, &count, error);
    if (!result)
        result = take((int)fd, error);
    for (long i = 0; i < count && !result; i++) {
        ret_channel->held[i] = (int32_t)(fd + 1 + i);
        result = take(ret_channel->held[i], error);
    }
    if (result)
        return result == HF_ENOTFOUND ? hf_error_set(error, HF_EINVAL, "%s is missing", HF_HELD_ENVIRONMENT) : result;
    (void)setsockopt((int)fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* without it, it takes longer */
    ret_channel->fd = (int32_t)fd;
    ret_channel->held_count = (uint32_t)count;
    return 0;
}

static int32_t send_message(int32_t fd, const struct message *message, const int32_t *descriptors, uint32_t count,
                            hf_error *error)
{
    union control control = {0};
    struct iovec part = {(void *)(uintptr_t)message, sizeof *message};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;

    if (count) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        *CMSG_FIRSTHDR(&header) = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&header)), descriptors, sizeof(int) * count);
    }
    do
        sent = sendmsg(fd, &header, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? hf_error_set_errno(error, HF_EIO, errno, "the supervisor cannot be told") : 0;
}

int32_t hf_channel_hold(const hf_channel *channel, const int32_t *descriptors, uint32_t count, hf_error *error)
{
    int32_t result = 0;

    for (uint32_t i = 0; i < count && channel->fd >= 0 && !result; i += HF_CHANNEL_BATCH) {
        uint32_t some = count - i < HF_CHANNEL_BATCH ? count - i : HF_CHANNEL_BATCH;
        struct message message = {.magic = MAGIC, .what = HOLD, .count = some};
        result = send_message(channel->fd, &message, descriptors + i, some, error);
    }
    return result;
}

int32_t hf_channel_forget(const hf_channel *channel, const int32_t *descriptors, uint32_t count, hf_error *error)
{
    int32_t result = 0;

    for (uint32_t i = 0; i < count && channel->fd >= 0 && !result; i += HF_CHANNEL_BATCH) {
        struct message message = {.magic = MAGIC, .what = FORGET};
        while (message.count < HF_CHANNEL_BATCH && i + message.count < count) {
            message.cookies[message.count] = hf_channel_cookie(descriptors[i + message.count]);
            message.count++;
        }
        result = send_message(channel->fd, &message, NULL, 0, error);
    }
    return result;
}

int32_t hf_channel_ready(const hf_channel *channel, hf_error *error)
{
    struct message message = {.magic = MAGIC, .what = READY};

    return channel->fd < 0 ? 0 : send_message(channel->fd, &message, NULL, 0, error);
}
