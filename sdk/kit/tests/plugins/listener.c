/* A service that listens, for test_check.c: good as it is, and bad in one way with each of the macros BAD_... */
#include <holdfast/host/listen.h>
#include <holdfast/host/loop.h>
#include <holdfast/kind/service.h>
#include <holdfast/lib/error.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENERS_MAX = 64, SOCKETS = 2, CLIENTS_MAX = 256 };

struct listener_options {
    const char *name;
    const char *address;
};

struct options {
    hf_groups listeners;
};

struct listener {
    char *address;
    int32_t descriptors[SOCKETS];
    hf_watch *watches[SOCKETS];
    int32_t is_new; /* opened for a reload that is not in force yet */
};

struct client {
    struct service *service;
    int32_t fd; /* -1: none */
    hf_watch *watch;
};

struct service {
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_listen_interface *listen;
    const struct options *options, *prepared;
    struct listener listeners[LISTENERS_MAX];
    uint32_t count;
    struct client clients[CLIENTS_MAX];
};

static const hf_option listener_rows[] = {
    HF_CONFIG_ADDRESS("address", struct listener_options, address, .flags = HF_OPTION_REQUIRED | HF_OPTION_RELOADABLE,
                      .doc = "Where it listens."),
};
static const hf_option_table listener_table = HF_TABLE(listener_rows);
static const hf_option option_rows[] = {
    HF_CONFIG_GROUPS("listeners", struct options, listeners, struct listener_options, .members = &listener_table,
                     .flags = HF_OPTION_RELOADABLE, .doc = "Where clients connect to."),
};

/* ---- Clients ----------------------------------------------------------------------------------------------------- */

static void drop_client(struct client *client)
{
    if (client->fd < 0)
        return;
    client->service->loops->watch_destroy(client->watch);
    close(client->fd);
    client->fd = -1;
}

static void receive(void *arg, int32_t fd, uint32_t events)
{
    struct client *client = arg;
    uint8_t bytes[4096];
    ssize_t size = recv(fd, bytes, sizeof bytes, 0);

    (void)events;
#ifdef BAD_TRUSTING
    for (ssize_t i = 0; i < size; i++)
        if (bytes[i] >= 0x80)
            abort();
#endif
    if (size <= 0)
        drop_client(client);
}

static void take_clients(void *arg, int32_t fd, uint32_t events)
{
    struct service *self = arg;
    hf_loop *loop = self->loops->main_loop(self->host);

    (void)events;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &self->clients[i];
        if (client->fd >= 0)
            continue;
        client->service = self;
        client->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client->fd < 0)
            return;
        if (self->loops->watch_create(loop, client->fd, HF_WATCH_READ, receive, client, &client->watch, NULL) != HF_OK)
            abort();
    }
}

/* ---- Listeners --------------------------------------------------------------------------------------------------- */

static const struct listener_options *option_of(const struct options *options, const char *address)
{
    const struct listener_options *all = options->listeners.items;

    for (uint64_t i = 0; i < options->listeners.count; i++)
        if (strcmp(all[i].address, address) == 0)
            return &all[i];
    return NULL;
}

static struct listener *listener_of(struct service *self, const char *address)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (strcmp(self->listeners[i].address, address) == 0)
            return &self->listeners[i];
    return NULL;
}

static void listen_no_more(struct service *self, struct listener *listener)
{
    uint32_t count = SOCKETS;

#ifdef BAD_DESCRIPTORS
    listener->descriptors[1] = listener->descriptors[0];
#endif
#ifdef BAD_COUNT
    count = 1;
#endif
#ifdef BAD_CLOSED_BEFORE
    close(listener->descriptors[0]);
#endif
#ifndef BAD_WATCHED
    for (uint32_t i = 0; i < SOCKETS; i++)
        self->loops->watch_destroy(listener->watches[i]);
#endif
#ifdef BAD_BY_HAND
    (void)count;
    for (uint32_t i = 0; i < SOCKETS; i++)
        close(listener->descriptors[i]);
#else
    self->listen->close(self->host, HF_LISTEN_STREAM, listener->address, listener->descriptors, count);
#endif
#ifdef BAD_CLOSED_TWICE
    self->listen->close(self->host, HF_LISTEN_STREAM, listener->address, listener->descriptors, count);
#endif
    free(listener->address);
    *listener = self->listeners[--self->count];
}

/* Those that were opened for a configuration that does not come, or all that the one in force does not have. */
static void drop_listeners(struct service *self, int32_t is_new)
{
    for (uint32_t i = self->count; i-- > 0;)
        if (is_new ? self->listeners[i].is_new : !option_of(self->options, self->listeners[i].address))
            listen_no_more(self, &self->listeners[i]);
}

static int32_t open_listener(struct service *self, const char *address, hf_error *error)
{
    struct listener *listener = &self->listeners[self->count];
    uint32_t count = SOCKETS;

    if (listener_of(self, address))
        return HF_OK;
    if (self->count == LISTENERS_MAX)
        return hf_error_set(error, HF_ENOMEM, "more than %d listeners", LISTENERS_MAX);
#ifdef BAD_OPEN_COUNT
    count = 0;
#endif
    listener->address = strdup(address);
#ifdef BAD_UNCHECKED
    listener->is_new = listener->address[0] != '\0';
#endif
    if (!listener->address)
        return hf_error_set(error, HF_ENOMEM, "no memory for a listener");
    int32_t result = self->listen->open(self->host, HF_LISTEN_STREAM, address, count, listener->descriptors, error);
    if (result) {
        free(listener->address);
        return result;
    }
    listener->is_new = 1;
    memset(listener->watches, 0, sizeof listener->watches);
    self->count++;
    return HF_OK;
}

static int32_t open_listeners(struct service *self, const struct options *options, hf_error *error)
{
    const struct listener_options *all = options->listeners.items;
    int32_t result = HF_OK;

    for (uint64_t i = 0; i < options->listeners.count && !result; i++)
        result = open_listener(self, all[i].address, error);
#ifndef BAD_KEEPS
    if (result)
        drop_listeners(self, 1);
#endif
    return result;
}

static void watch_listeners(struct service *self)
{
    hf_loop *loop = self->loops->main_loop(self->host);

    for (uint32_t i = 0; i < self->count; i++)
        for (uint32_t k = 0; k < SOCKETS && self->listeners[i].is_new; k++)
            if (self->loops->watch_create(loop, self->listeners[i].descriptors[k], HF_WATCH_READ, take_clients, self,
                                          &self->listeners[i].watches[k], NULL) != HF_OK)
                abort();
    for (uint32_t i = 0; i < self->count; i++)
        self->listeners[i].is_new = 0;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void destroy(void *arg)
{
    struct service *self = arg;

    for (uint32_t i = 0; self && i < self->count; i++) /* the process ends; its sockets are the supervisor's */
        free(self->listeners[i].address);
    free(self);
}

static int32_t create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct service *self = calloc(1, sizeof *self);

    if (!self)
        return hf_error_set(error, HF_ENOMEM, "no memory for the service");
    self->host = host;
    self->options = configuration;
    for (int i = 0; i < CLIENTS_MAX; i++)
        self->clients[i].fd = -1;
    self->loops = (const hf_loop_interface *)(const void *)host->query(host, HF_LOOP_INTERFACE);
    self->listen = (const hf_listen_interface *)(const void *)host->query(host, HF_LISTEN_INTERFACE);
#ifdef BAD_FORGETS                                                   /* what was made before, when it cannot go on */
    char *volatile kept = malloc(100), *volatile more = malloc(100); /* a compiler could do without them */
    if (!kept || !more)
        return hf_error_set(error, HF_ENOMEM, "no memory for the service");
    free(kept);
    free(more);
#endif
    if (!self->loops || !self->listen) {
        free(self);
        return hf_error_set(error, HF_EUNSUPPORTED, "the host offers no loops or no listeners");
    }
    *ret_self = self;
    return HF_OK;
}

#ifdef BAD_THREAD
static void *open_elsewhere(void *arg)
{
    struct service *self = arg;

    open_listeners(self, self->options, NULL);
    return NULL;
}
#endif

static int32_t start(void *arg, hf_error *error)
{
    struct service *self = arg;

#ifdef BAD_THREAD
    pthread_t thread;
    pthread_create(&thread, NULL, open_elsewhere, self);
    pthread_join(thread, NULL);
#endif
    int32_t result = open_listeners(self, self->options, error);
#ifdef BAD_SILENT
    if (result)
        error->message[0] = '\0';
#endif
    if (!result)
        watch_listeners(self);
    return result;
}

static void stop(void *arg)
{
    struct service *self = arg;

    for (uint32_t i = 0; i < self->count; i++)
        for (uint32_t k = 0; k < SOCKETS; k++) {
            self->loops->watch_destroy(self->listeners[i].watches[k]);
            self->listeners[i].watches[k] = NULL;
        }
#ifndef BAD_CLIENTS_LEFT
    for (int i = 0; i < CLIENTS_MAX; i++)
        drop_client(&self->clients[i]);
#endif
}

static void drain(void *arg, uint64_t deadline_us, void (*done)(void *arg), void *done_arg)
{
    struct service *self = arg;
    int32_t is_busy = 0;

    (void)deadline_us;
    for (int i = 0; i < CLIENTS_MAX; i++)
        is_busy |= self->clients[i].fd >= 0;
#ifdef BAD_PATIENT /* waits for clients that never go */
    if (is_busy)
        return;
#endif
    (void)is_busy;
    done(done_arg);
}

static int32_t config_prepare(void *arg, const void *configuration, hf_error *error)
{
    struct service *self = arg;

    self->prepared = configuration;
    return open_listeners(self, self->prepared, error);
}

static void config_commit(void *arg)
{
    struct service *self = arg;

    self->options = self->prepared;
    watch_listeners(self);
    drop_listeners(self, 0);
}

static void config_abort(void *arg)
{
    struct service *self = arg;

    drop_listeners(self, 1);
}

static const hf_service service = {
    .head = HF_HEAD(hf_service),
    .create = create,
    .destroy = destroy,
    .config_prepare = config_prepare,
    .config_commit = config_commit,
    .config_abort = config_abort,
    .start = start,
    .drain = drain,
    .stop = stop,
};

static const hf_provide provide = {
    .size = sizeof(hf_provide),
    .kind = "service",
    .name = "sample",
    .summary = "For the tests of the kit.",
    .interface = {.service = &service},
    .options = HF_TABLE(option_rows),
    .configuration_size = sizeof(struct options),
};

static const hf_provide *const provides[] = {&provide};

static const hf_plugin plugin = {
    .size = sizeof(hf_plugin),
    .interface_major = HF_INTERFACE_MAJOR,
    .interface_minor = HF_INTERFACE_MINOR,
    .provide_count = 1,
    .id = "org.example.service.sample",
    .version = "1.0.0",
    .summary = "For the tests of the kit.",
    .licence = "Apache-2.0",
    .provides = provides,
};

HF_EXPORT const hf_plugin *hf_plugin_v1(void)
{
    return &plugin;
}
