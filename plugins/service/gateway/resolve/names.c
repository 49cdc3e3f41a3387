#include "resolve/names.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/error.h>
#include <holdfast/lib/hash.h>
#include <holdfast/lib/value.h>

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    TICK_US = 50000,  /* while there are names: what is due, and answers that do not come */
    ANSWER_MS = 1000, /* the first time; c-ares waits longer the second */
    TRIES = 3,
    RESOLVERS_SIZE = 4096
};

/* A socket of the resolver's. */
struct wire {
    struct wire *next;
    ares_socket_t fd;
    hf_watch *watch;
};

struct gateway_names {
    const hf_host *host;
    const hf_loop_interface *loops;
    hf_loop *loop;
    void (*changed)(void *arg);
    void *arg;
    ares_channel channel;
    int32_t has_channel;
    struct wire *wires;
    hf_timer *timer;
    int32_t has_news; /* to be told at the end of a callback */
    int32_t is_running;
    uint32_t round, count, asked;
    struct gateway_name *buckets[BUCKETS];
};

static uint64_t now_of(const struct gateway_names *names)
{
    return names->loops->now_us(names->loop);
}

/* ---- The resolver's sockets -------------------------------------------------------------------------------------- */

/* The end of a callback: asks for more, and tells what is new. */
static void tell(struct gateway_names *names)
{
    gateway_names_run(names);
    if (!names->has_news)
        return;
    names->has_news = 0;
    names->changed(names->arg);
}

static void ready(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_names *names = arg;

    ares_process_fd(names->channel, events & HF_WATCH_READ ? fd : ARES_SOCKET_BAD,
                    events & HF_WATCH_WRITE ? fd : ARES_SOCKET_BAD);
    tell(names);
}

static void forget_wire(struct gateway_names *names, ares_socket_t fd)
{
    for (struct wire **at = &names->wires; *at; at = &(*at)->next)
        if ((*at)->fd == fd) {
            struct wire *wire = *at;

            *at = wire->next;
            names->loops->watch_destroy(wire->watch);
            free(wire);
            return;
        }
}

/* Without memory for a watch the question is not heard, and fails by its time-out. */
static void watch_wire(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct gateway_names *names = arg;
    uint32_t events = (readable ? (uint32_t)HF_WATCH_READ : 0) | (writable ? (uint32_t)HF_WATCH_WRITE : 0);
    struct wire *wire = names->wires;

    if (!events) {
        forget_wire(names, fd);
        return;
    }
    while (wire && wire->fd != fd)
        wire = wire->next;
    if (wire) {
        (void)names->loops->watch_change(wire->watch, events, NULL);
        return;
    }
    wire = calloc(1, sizeof *wire);
    if (!wire)
        return;
    wire->fd = fd;
    if (names->loops->watch_create(names->loop, fd, events, ready, names, &wire->watch, NULL) != HF_OK) {
        free(wire);
        return;
    }
    wire->next = names->wires;
    names->wires = wire;
}

static int32_t open_channel(struct gateway_names *names, const hf_strings *resolvers, ares_channel *ret_channel,
                            hf_error *error)
{
    struct ares_options options = {
        .timeout = ANSWER_MS, .tries = TRIES, .sock_state_cb = watch_wire, .sock_state_cb_data = names};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    char text[RESOLVERS_SIZE] = "";
    size_t size = 0;

    for (uint64_t i = 0; i < resolvers->count && size < sizeof text; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%s", i ? "," : "", resolvers->items[i]);
    if (size >= sizeof text)
        return hf_error_set(error, HF_EINVAL, "resolvers: there are too many");
    int failed = ares_init_options(ret_channel, &options, mask);
    if (failed)
        return hf_error_set(error, failed == ARES_ENOMEM ? HF_ENOMEM : HF_EIO, "names cannot be resolved: %s",
                            ares_strerror(failed));
    failed = text[0] ? ares_set_servers_ports_csv(*ret_channel, text) : 0;
    if (failed) {
        ares_destroy(*ret_channel);
        return hf_error_set(error, HF_EINVAL, "resolvers: '%s' cannot be used: %s", text, ares_strerror(failed));
    }
    return HF_OK;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void free_name(struct gateway_name *name)
{
    name->names->count--;
    free(name->host);
    free(name);
}

static void has_changed(struct gateway_name *name)
{
    name->has_changed = 1;
    name->names->has_news = 1;
}

static void say(const struct gateway_name *name, int32_t level, const char *what, const char *why)
{
    char line[512];

    snprintf(line, sizeof line, "the name '%s' %s%s%s", name->host, what, why ? ": " : "", why ? why : "");
    name->names->host->log(name->names->host, level, hf_slice_of(line));
}

static int64_t read_addresses(const struct ares_addrinfo *found, struct gateway_name_addresses *addresses)
{
    int64_t ttl_s = INT32_MAX;

    for (const struct ares_addrinfo_node *node = found->nodes; node; node = node->ai_next) {
        gateway_name_addresses_add(addresses, node->ai_addr);
        ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
    }
    for (const struct ares_addrinfo_cname *cname = found->cnames; cname; cname = cname->next)
        ttl_s = cname->ttl < ttl_s ? cname->ttl : ttl_s;
    return ttl_s;
}

static void failed(struct gateway_name *name, int status)
{
    if (name->failures++ == 0)
        say(name, HF_LOG_WARNING,
            name->addresses.count ? "cannot be resolved, and keeps its last addresses" : "cannot be resolved",
            ares_strerror(status));
    if (!name->is_answered) {
        name->is_answered = 1;
        has_changed(name);
    }
    name->due_us = now_of(name->names) + gateway_name_wait(0, name->failures, name->minimum_us, name->maximum_us);
}

static void answered(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct gateway_name *name = arg;
    struct gateway_names *names = name->names;
    struct gateway_name_addresses addresses = {0};

    (void)timeouts;
    name->is_asked = 0;
    names->asked--;
    int64_t ttl_s = status == ARES_SUCCESS ? read_addresses(found, &addresses) : 0;
    if (found)
        ares_freeaddrinfo(found);
    if (name->is_unused) {
        free_name(name);
    } else if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
        name->due_us = now_of(names); /* by us: another resolver is asked */
    } else if (addresses.count == 0) {
        failed(name, status == ARES_SUCCESS ? ARES_ENODATA : status);
    } else {
        if (name->failures)
            say(name, HF_LOG_INFO, "is resolved again", NULL);
        name->failures = 0;
        name->due_us = now_of(names) + gateway_name_wait(ttl_s, 0, name->minimum_us, name->maximum_us);
        int is_other = !gateway_name_addresses_same(&name->addresses, &addresses);
        name->addresses = addresses;
        if (is_other || !name->is_answered)
            has_changed(name);
        name->is_answered = 1;
    }
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void ask(struct gateway_name *name)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    name->is_asked = 1;
    name->names->asked++;
    ares_getaddrinfo(name->names->channel, name->host, NULL, &hints, answered, name); /* may answer at once */
}

static void ask_due(struct gateway_names *names)
{
    uint64_t now_us = now_of(names);

    for (uint32_t i = 0; i < BUCKETS; i++)
        for (struct gateway_name *name = names->buckets[i]; name && names->asked < GATEWAY_NAMES_ASKED;
             name = name->next)
            if (!name->is_asked && name->due_us <= now_us)
                ask(name);
}

static void tick(void *arg)
{
    struct gateway_names *names = arg;

    ares_process_fd(names->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what comes no more */
    tell(names);
}

void gateway_names_run(struct gateway_names *names)
{
    ask_due(names);
    if (names->count && (!names->is_running || names->has_news)) /* what was answered at once is told soon */
        names->loops->timer_start(names->timer, names->has_news ? 1 : TICK_US, TICK_US);
    else if (!names->count && names->is_running)
        names->loops->timer_stop(names->timer);
    names->is_running = names->count > 0;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

struct gateway_name *gateway_names_find(struct gateway_names *names, const char *host, uint64_t minimum_us,
                                        uint64_t maximum_us)
{
    struct gateway_name **bucket = &names->buckets[hf_hash64(0, host, strlen(host)) % BUCKETS], *name;

    for (name = *bucket; name; name = name->next)
        if (strcmp(name->host, host) == 0 && name->minimum_us == minimum_us && name->maximum_us == maximum_us) {
            name->round = names->round;
            return name;
        }
    name = calloc(1, sizeof *name);
    if (name)
        name->host = strdup(host);
    if (!name || !name->host) {
        free(name);
        return NULL;
    }
    name->names = names;
    name->minimum_us = minimum_us;
    name->maximum_us = maximum_us;
    name->round = names->round;
    name->next = *bucket;
    *bucket = name;
    names->count++;
    return name;
}

static void drop(struct gateway_name **at)
{
    struct gateway_name *name = *at;

    *at = name->next;
    if (name->is_asked)
        name->is_unused = 1; /* freed when the answer comes */
    else
        free_name(name);
}

void gateway_names_sweep(struct gateway_names *names)
{
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (struct gateway_name **at = &names->buckets[i]; *at;)
            if ((*at)->round != names->round)
                drop(at);
            else
                at = &(*at)->next;
    names->round++;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int32_t gateway_names_use(struct gateway_names *names, const hf_strings *resolvers, hf_error *error)
{
    ares_channel channel = NULL;
    int32_t code = open_channel(names, resolvers, &channel, error);

    if (code != HF_OK)
        return code;
    if (names->has_channel)
        ares_destroy(names->channel);
    names->channel = channel;
    names->has_channel = 1;
    return HF_OK;
}

int32_t gateway_names_create(const hf_host *host, const hf_loop_interface *loops, const hf_strings *resolvers,
                             void (*changed)(void *arg), void *arg, struct gateway_names **ret_names, hf_error *error)
{
    struct gateway_names *names = calloc(1, sizeof *names);

    if (!names || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(names);
        return hf_error_set(error, HF_ENOMEM, "no memory for names");
    }
    names->host = host;
    names->loops = loops;
    names->loop = loops->main_loop(host);
    names->changed = changed;
    names->arg = arg;
    int32_t code = loops->timer_create(names->loop, tick, names, &names->timer, error);
    if (code == HF_OK)
        code = gateway_names_use(names, resolvers, error);
    if (code != HF_OK) {
        gateway_names_destroy(names);
        return code;
    }
    *ret_names = names;
    return HF_OK;
}

void gateway_names_destroy(struct gateway_names *names)
{
    if (!names)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (names->buckets[i])
            drop(&names->buckets[i]);
    if (names->has_channel)
        ares_destroy(names->channel); /* answers all that is asked */
    names->loops->timer_destroy(names->timer);
    ares_library_cleanup();
    free(names);
}
