/* A listener of service/probe; see listener.h.  All is on the main loop. */
#include "listener.h"

#include <holdfast/host/loop.h>
#include <holdfast/lib/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT_MAX = 16 };

struct listener {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_listen_interface *sockets;
    int32_t type;
    char address[200];
    uint32_t count;
    int32_t descriptors[COUNT_MAX];
    hf_watch *watches[COUNT_MAX];
};

static void answer_connection(int32_t fd)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (connection < 0)
        return; /* another socket's watch was quicker, at a path */
    ssize_t written = write(connection, text, (size_t)size);
    if (written != size)
        perror("probe");
    close(connection);
}

static void answer_datagram(int32_t fd)
{
    struct sockaddr_storage from;
    socklen_t from_size = sizeof from;
    char text[32];
    int size = snprintf(text, sizeof text, "%d\n", (int)getpid());

    if (recvfrom(fd, text + size, sizeof text - (size_t)size, 0, (struct sockaddr *)&from, &from_size) >= 0 &&
        sendto(fd, text, (size_t)size, 0, (struct sockaddr *)&from, from_size) != size)
        perror("probe");
}

static void readable(void *arg, int32_t fd, uint32_t events)
{
    const listener *self = arg;

    (void)events;
    if (self->type == HF_LISTEN_STREAM)
        answer_connection(fd);
    else
        answer_datagram(fd);
}

int32_t listener_open(const hf_host *host, int32_t type, const char *address, listener **ret_listener, hf_error *error)
{
    const hf_loop_interface *loops = (const hf_loop_interface *)host->query(host, HF_LOOP_INTERFACE);
    const hf_listen_interface *sockets = (const hf_listen_interface *)host->query(host, HF_LISTEN_INTERFACE);

    if (!sockets)
        return hf_error_set(error, HF_EUNSUPPORTED, "this host has no sockets");
    listener *self = host->alloc(host, sizeof *self);
    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory");
    self->host = host;
    self->loops = loops;
    self->sockets = sockets;
    self->type = type;
    snprintf(self->address, sizeof self->address, "%s", address);
    uint32_t count = loops->worker_count(host);
    int32_t result = sockets->open(host, type, address, count, self->descriptors, error);
    if (!result)
        self->count = count;
    for (uint32_t i = 0; i < self->count && !result; i++)
        result = loops->watch_create(loops->main_loop(host), self->descriptors[i], HF_WATCH_READ, readable, self,
                                     &self->watches[i], error);
    if (result) {
        listener_close(self, 0);
        return result;
    }
    *ret_listener = self;
    return 0;
}

void listener_close(listener *self, int32_t forget)
{
    if (!self)
        return;
    for (uint32_t i = 0; i < self->count; i++)
        self->loops->watch_destroy(self->watches[i]);
    if (forget)
        self->sockets->close(self->host, self->type, self->address, self->descriptors, self->count);
    for (uint32_t i = 0; i < self->count && !forget; i++)
        close(self->descriptors[i]);
    self->host->free(self->host, self);
}
