/* Opening and inheriting listening sockets; see inherit.h. */
#include "daemon/inherit.h"

#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3 };

/* A node that is alone has no peer links. */
static const char *peer_address(const hf_config_generation *generation, const hf_process_entry *entry)
{
    const hf_groups *members = &hf_settings_cluster(generation)->members;
    const hf_member_settings *items = members->items;
    const char *name = hf_settings_node(generation)->name;

    if (!entry->peers || members->count < 2)
        return NULL;
    for (uint64_t i = 0; i < members->count; i++)
        if (strcmp(items[i].name, name) == 0)
            return items[i].address;
    return NULL;
}

int32_t hf_listeners_open(const hf_config_generation *generation, const hf_process_entry *entry, hf_listen_pool *pool,
                          hf_listeners *ret_listeners, hf_error *error)
{
    const char *peers = peer_address(generation, entry);
    uint32_t count = (uint32_t)entry->worker_threads;
    hf_listeners listeners = {.peers = -1};

    int32_t result = hf_listen(HF_LISTEN_STREAM, entry->listen, count, pool, listeners.http, error);
    if (result)
        return result;
    listeners.http_count = count;
    if (peers)
        result = hf_listen(HF_LISTEN_STREAM, peers, 1, pool, &listeners.peers, error);
    if (result) {
        listeners.peers = -1;
        hf_listeners_close(&listeners);
        return result;
    }
    *ret_listeners = listeners;
    return 0;
}

uint32_t hf_listeners_list(const hf_listeners *listeners, int32_t descriptors[HF_LISTENERS_MAX])
{
    uint32_t count = listeners->http_count;

    memcpy(descriptors, listeners->http, count * sizeof *descriptors);
    if (listeners->peers >= 0)
        descriptors[count++] = listeners->peers;
    return count;
}

void hf_listeners_close(hf_listeners *listeners)
{
    for (uint32_t i = 0; i < listeners->http_count; i++)
        close(listeners->http[i]);
    if (listeners->peers >= 0)
        close(listeners->peers);
    *listeners = (hf_listeners){.peers = -1};
}

/* ---- Inheriting -------------------------------------------------------------------------------------------------- */

static int same_address(int a, int b)
{
    hf_listen_place one, other;

    return hf_listen_place_of(a, &one) == 0 && hf_listen_place_of(b, &other) == 0 && hf_listen_same(&one, &other);
}

void hf_listeners_of(const int32_t *descriptors, uint32_t count, hf_listeners *ret_listeners)
{
    *ret_listeners = (hf_listeners){.peers = -1};
    /* The peers' comes last, and is the only one at an address of its own. */
    if (count > 1 && !same_address(descriptors[0], descriptors[count - 1]))
        ret_listeners->peers = descriptors[--count];
    memcpy(ret_listeners->http, descriptors, count * sizeof *descriptors);
    ret_listeners->http_count = count;
}

static int32_t check_listening(uint32_t count, hf_error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        int fd = FIRST + (int)i, listening = 0;
        socklen_t size = sizeof listening;

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening)
            return hf_error_set(error, HF_EINVAL, "%s promises %u listening sockets, but descriptor %d is none",
                                HF_LISTENERS_ENVIRONMENT, count, fd);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return hf_error_set_errno(error, HF_EIO, errno, "cannot keep descriptor %d to this process", fd);
    }
    return 0;
}

static int32_t inherit(const char *text, hf_listeners *ret_listeners, hf_error *error)
{
    int32_t descriptors[HF_LISTENERS_MAX];
    char *end;
    unsigned long count = strtoul(text, &end, 10);

    if (*end || end == text || count < 1 || count > HF_LISTENERS_MAX)
        return hf_error_set(error, HF_EINVAL, "%s is '%s', expected a number from 1 to %d", HF_LISTENERS_ENVIRONMENT,
                            text, HF_LISTENERS_MAX);
    int32_t result = check_listening((uint32_t)count, error);
    if (result)
        return result;
    for (unsigned long i = 0; i < count; i++)
        descriptors[i] = FIRST + (int)i;
    hf_listeners_of(descriptors, (uint32_t)count, ret_listeners);
    return 0;
}

int32_t hf_listeners_take(const hf_config_generation *generation, const hf_process_entry *entry,
                          hf_listeners *ret_listeners, hf_error *error)
{
    const char *text = getenv(HF_LISTENERS_ENVIRONMENT);

    if (!text)
        return hf_listeners_open(generation, entry, NULL, ret_listeners, error);
    int32_t result = inherit(text, ret_listeners, error);
    if (!result && ret_listeners->peers < 0 && peer_address(generation, entry)) {
        hf_listeners_close(ret_listeners);
        return hf_error_set(error, HF_EINVAL,
                            "the configuration has peer links, but holdfastd was started without "
                            "them; restart it");
    }
    return result;
}
