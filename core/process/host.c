/* The host as a plugin sees it: log lines under its name, memory that is accounted to it, and the interfaces that it
 * can ask for by name. */
#include "host.h"

#include "folder.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <holdfast/host/http.h>
#include <holdfast/host/listen.h>
#include <holdfast/host/metrics.h>
#include <holdfast/host/node.h>
#include <holdfast/lib/error.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct plugin_host {
    hf_host host; /* first: a plugin's hf_host pointer is one of this */
    hf_process *process;
    char *name;
    char *state_directory; /* made when first asked for */
    _Atomic uint64_t memory;
};

/* In front of each of a plugin's blocks; its size keeps them aligned for every type. */
struct block {
    _Alignas(max_align_t) uint64_t size;
};

static struct plugin_host *of(const hf_host *host)
{
    return (struct plugin_host *)(uintptr_t)host;
}

/* ---- The root ------------------------------------------------------------------------------------------------ */

static void host_log(const hf_host *host, int32_t level, hf_slice message)
{
    hf_log_write(level, of(host)->name, message, NULL, 0);
}

static void *host_alloc(const hf_host *host, uint64_t size)
{
    uint64_t whole;

    if (__builtin_add_overflow(size, sizeof(struct block), &whole))
        return NULL;
    struct block *block = calloc(1, whole);
    if (!block)
        return NULL;
    block->size = size;
    atomic_fetch_add_explicit(&of(host)->memory, size, memory_order_relaxed);
    return block + 1;
}

static void host_free(const hf_host *host, void *memory)
{
    if (!memory)
        return;
    struct block *block = (struct block *)memory - 1;
    atomic_fetch_sub_explicit(&of(host)->memory, block->size, memory_order_relaxed);
    free(block);
}

/* ---- hf.loop/1 ----------------------------------------------------------------------------------------------- */

static hf_loop *loop_main(const hf_host *host)
{
    return hf_process_main_loop(of(host)->process);
}

static uint32_t loop_worker_count(const hf_host *host)
{
    return hf_process_worker_count(of(host)->process);
}

static hf_loop *loop_worker(const hf_host *host, uint32_t index)
{
    return hf_process_worker(of(host)->process, index);
}

static hf_loop *loop_current(const hf_host *host)
{
    (void)host;
    return hf_loop_current();
}

static int32_t loop_submit(const hf_host *host, hf_job *job, hf_error *error)
{
    return hf_pool_submit(hf_process_pool(of(host)->process), job, error);
}

static int32_t loop_submit_bulk(const hf_host *host, hf_job *job, hf_error *error)
{
    return hf_pool_submit(hf_process_bulk_pool(of(host)->process), job, error);
}

static const hf_loop_interface loop_interface = {
    .head = HF_HEAD(hf_loop_interface),
    .main_loop = loop_main,
    .worker_count = loop_worker_count,
    .worker = loop_worker,
    .current = loop_current,
    .post = hf_loop_post,
    .submit = loop_submit,
    .now_us = hf_loop_now_us,
    .timer_create = hf_timer_create,
    .timer_start = hf_timer_start,
    .timer_stop = hf_timer_stop,
    .timer_destroy = hf_timer_destroy,
    .watch_create = hf_watch_create,
    .watch_change = hf_watch_change,
    .watch_destroy = hf_watch_destroy,
    .submit_bulk = loop_submit_bulk,
};

/* ---- hf.metrics/1 -------------------------------------------------------------------------------------------- */

static int32_t metrics_add(const hf_host *host, int32_t type, const char *name, const char *help,
                           const char *const (*labels)[2], uint64_t label_count, hf_metric **ret_metric,
                           hf_error *error)
{
    return hf_metrics_add(hf_process_metrics(of(host)->process), type, name, help, labels, label_count, ret_metric,
                          error);
}

static int32_t metrics_add_histogram(const hf_host *host, const char *name, const char *help,
                                     const char *const (*labels)[2], uint64_t label_count, const double *bounds,
                                     uint64_t bound_count, hf_metric **ret_metric, hf_error *error)
{
    return hf_metrics_add_histogram(hf_process_metrics(of(host)->process), name, help, labels, label_count, bounds,
                                    bound_count, ret_metric, error);
}

static const hf_metrics_interface metrics_interface = {
    .head = HF_HEAD(hf_metrics_interface),
    .add = metrics_add,
    .increment = hf_metric_increment,
    .set = hf_metric_set,
    .add_histogram = metrics_add_histogram,
    .observe = hf_metric_observe,
    .remove = hf_metric_remove,
    .observe_counted = hf_metric_observe_counted,
};

/* ---- hf.http/1 ----------------------------------------------------------------------------------------------- */

static int32_t http_route(const hf_host *host, const hf_http_route *route, void *arg, hf_error *error)
{
    hf_http_server *server = hf_process_offered(of(host)->process)->http;

    if (!server)
        return hf_error_set(error, HF_EUNSUPPORTED, "this process has no HTTP server");
    return hf_http_server_route(server, route, arg, error);
}

static const hf_http_interface http_interface = {
    .head = HF_HEAD(hf_http_interface),
    .route = http_route,
    .method = hf_http_method,
    .parameter = hf_http_parameter,
    .query = hf_http_query,
    .header = hf_http_header,
    .body = hf_http_body,
    .arena = hf_http_arena,
    .loop = hf_http_loop,
    .trace = hf_http_trace,
    .user = hf_http_user,
    .allowed = hf_http_allowed,
    .respond = hf_http_respond,
    .problem = hf_http_problem,
    .stream_begin = hf_http_stream_begin,
    .stream_write = hf_http_stream_write,
    .stream_end = hf_http_stream_end,
    .client = hf_http_client,
};

/* ---- hf.peer/1 ----------------------------------------------------------------------------------------------- */

static hf_peers *peers_of(const hf_host *host)
{
    return hf_process_offered(of(host)->process)->peers;
}

static uint32_t peer_node_count(const hf_host *host)
{
    return hf_peers_node_count(peers_of(host));
}

static uint32_t peer_self(const hf_host *host)
{
    return hf_peers_self(peers_of(host));
}

static const char *peer_node_zone(const hf_host *host, uint32_t node)
{
    return hf_peers_node_zone(peers_of(host), node);
}

static const char *peer_node_name(const hf_host *host, uint32_t node)
{
    return hf_peers_node_name(peers_of(host), node);
}

static int32_t peer_channel(const hf_host *host, const char *name, const hf_peer_handlers *handlers, void *arg,
                            hf_peer_channel **ret_channel, hf_error *error)
{
    return hf_peers_channel(peers_of(host), name, handlers, arg, ret_channel, error);
}

static const hf_peer_interface peer_interface = {
    .head = HF_HEAD(hf_peer_interface),
    .node_count = peer_node_count,
    .self = peer_self,
    .node_name = peer_node_name,
    .node_zone = peer_node_zone,
    .channel = peer_channel,
    .send = hf_peers_send,
    .call = hf_peers_call,
    .call_bulk = hf_peers_call_bulk,
    .respond = hf_peers_respond,
    .is_up = hf_peers_is_up,
};

/* ---- hf.lua/1 ------------------------------------------------------------------------------------------------ */

static int32_t lua_declare(const hf_host *host, const hf_decision_point *point, hf_decision **ret_decision,
                           hf_error *error)
{
    return hf_lua_declare(hf_process_offered(of(host)->process)->lua, point, ret_decision, error);
}

static int32_t lua_offer(const hf_host *host, const hf_lua_function *function, hf_error *error)
{
    return hf_lua_offer(hf_process_offered(of(host)->process)->lua, function, error);
}

static const hf_lua_interface lua_interface = {
    .head = HF_HEAD(hf_lua_interface),
    .declare = lua_declare,
    .offer = lua_offer,
    .decide = hf_lua_decide,
    .has_policy = hf_lua_has_policy,
};

/* ---- hf.signal/1 --------------------------------------------------------------------------------------------- */

static hf_signals *signals_of(const hf_host *host)
{
    return hf_process_offered(of(host)->process)->signals;
}

static int32_t signal_declare(const hf_host *host, const hf_signal_kind *kind, hf_error *error)
{
    return hf_signals_declare(signals_of(host), kind, error);
}

static int32_t signal_offer(const hf_host *host, const hf_action *action, hf_error *error)
{
    return hf_signals_offer(signals_of(host), action, error);
}

static int32_t signal_raise(const hf_host *host, const char *name, const char *subject, const hf_value *detail)
{
    return hf_signals_raise(signals_of(host), of(host)->name, name, subject, detail);
}

static int32_t signal_clear(const hf_host *host, const char *name, const char *subject)
{
    return hf_signals_clear(signals_of(host), name, subject);
}

static int32_t signal_note(const hf_host *host, const char *actor, const char *kind, const hf_value *detail,
                           hf_error *error)
{
    return hf_signals_write_note(signals_of(host), actor, kind, detail, error);
}

static const hf_signal_interface signal_interface = {
    .head = HF_HEAD(hf_signal_interface),
    .declare = signal_declare,
    .offer = signal_offer,
    .raise = signal_raise,
    .clear = signal_clear,
    .note = signal_note,
};

/* ---- hf.listen/1 --------------------------------------------------------------------------------------------- */

static const hf_process_listen *listen_of(const hf_host *host)
{
    return &hf_process_offered(of(host)->process)->listen;
}

static int32_t listen_open(const hf_host *host, int32_t type, const char *address, uint32_t count,
                           int32_t *ret_descriptors, hf_error *error)
{
    return listen_of(host)->open(listen_of(host)->arg, type, address, count, ret_descriptors, error);
}

static void listen_close(const hf_host *host, int32_t type, const char *address, const int32_t *descriptors,
                         uint32_t count)
{
    listen_of(host)->close(listen_of(host)->arg, type, address, descriptors, count);
}

static const hf_listen_interface listen_interface = {
    .head = HF_HEAD(hf_listen_interface),
    .open = listen_open,
    .close = listen_close,
};

/* ---- hf.node/1 ----------------------------------------------------------------------------------------------- */

static const char *node_name(const hf_host *host)
{
    return hf_process_offered(of(host)->process)->node_name;
}

static const char *node_cluster_name(const hf_host *host)
{
    return hf_process_offered(of(host)->process)->cluster_name;
}

/* "STATE/engine-rocksdb" for the instance "engine/rocksdb". */
static const char *node_state_directory(const hf_host *host, hf_error *error)
{
    struct plugin_host *own = of(host);
    const char *parent = hf_process_offered(own->process)->state_directory;

    if (own->state_directory)
        return own->state_directory;
    char *path = NULL;
    if (!parent || asprintf(&path, "%s/%s", parent, own->name) < 0) {
        hf_error_set(error, HF_EUNSUPPORTED, "this process has no state directory");
        return NULL;
    }
    for (char *slash = path + strlen(parent) + 1; (slash = strchr(slash, '/'));)
        *slash = '-';
    if (hf_folder_make(path, 0700, error) != HF_OK) {
        free(path);
        return NULL;
    }
    own->state_directory = path;
    return path;
}

static uint64_t node_wall_us(const hf_host *host)
{
    struct timespec now;

    (void)host;
    clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t node_configuration_version(const hf_host *host)
{
    const hf_process_parts *parts = hf_process_offered(of(host)->process);

    return parts->configuration_version ? parts->configuration_version(parts->arg) : 0;
}

static void node_random(const hf_host *host, void *bytes, uint64_t size)
{
    uint8_t *at = bytes;

    (void)host;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno != EINTR)
            abort(); /* a kernel without random numbers: nothing that follows could be trusted */
        if (got > 0) {
            at += got;
            size -= (uint64_t)got;
        }
    }
}

static int32_t node_capability(const hf_host *host, const char *kind, const char *name, const hf_head **ret_interface,
                               void **ret_self, hf_error *error)
{
    const hf_process_parts *parts = hf_process_offered(of(host)->process);

    if (!parts->capability)
        return hf_error_set(error, HF_EUNSUPPORTED, "this process has no capabilities");
    return parts->capability(parts->arg, kind, name, ret_interface, ret_self, error);
}

static int32_t node_capability_chosen(const hf_host *host, const char *kind, const hf_capability_choice *choice,
                                      const hf_head **ret_interface, void **ret_self, hf_error *error)
{
    const hf_process_parts *parts = hf_process_offered(of(host)->process);

    if (!parts->capability_chosen)
        return hf_error_set(error, HF_EUNSUPPORTED, "this process has no capabilities");
    return parts->capability_chosen(parts->arg, kind, choice, ret_interface, ret_self, error);
}

static const hf_node_interface node_interface = {
    .head = HF_HEAD(hf_node_interface),
    .node_name = node_name,
    .cluster_name = node_cluster_name,
    .state_directory = node_state_directory,
    .wall_us = node_wall_us,
    .configuration_version = node_configuration_version,
    .random = node_random,
    .capability = node_capability,
    .capability_chosen = node_capability_chosen,
};

/* ---- Query --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const hf_head *head;
} interfaces[] = {
    {HF_LOOP_INTERFACE, &loop_interface.head},     {HF_METRICS_INTERFACE, &metrics_interface.head},
    {HF_HTTP_INTERFACE, &http_interface.head},     {HF_NODE_INTERFACE, &node_interface.head},
    {HF_PEER_INTERFACE, &peer_interface.head},     {HF_LUA_INTERFACE, &lua_interface.head},
    {HF_SIGNAL_INTERFACE, &signal_interface.head}, {HF_LISTEN_INTERFACE, &listen_interface.head},
};

/* What the process does not have is not offered. */
static int is_offered(const hf_host *host, const hf_head *head)
{
    if (head == &peer_interface.head)
        return peers_of(host) != NULL;
    if (head == &signal_interface.head)
        return signals_of(host) != NULL;
    if (head == &listen_interface.head)
        return listen_of(host)->open != NULL;
    return head != &lua_interface.head || hf_process_offered(of(host)->process)->lua;
}

static const hf_head *host_query(const hf_host *host, const char *name)
{
    for (size_t i = 0; i < sizeof interfaces / sizeof interfaces[0]; i++)
        if (strcmp(interfaces[i].name, name) == 0)
            return is_offered(host, interfaces[i].head) ? interfaces[i].head : NULL;
    return NULL;
}

/* ---- Life ---------------------------------------------------------------------------------------------------- */

int32_t hf_process_host_create(hf_process *process, const char *name, const hf_host **ret_host, hf_error *error)
{
    struct plugin_host *host = calloc(1, sizeof *host);

    if (host)
        host->name = strdup(name);
    if (!host || !host->name) {
        free(host);
        return hf_error_set(error, HF_ENOMEM, "no memory for the host of '%s'", name);
    }
    host->process = process;
    host->host = (hf_host){HF_HEAD(hf_host), host_log, host_alloc, host_free, host_query};
    *ret_host = &host->host;
    return 0;
}

uint64_t hf_process_host_memory(const hf_host *host)
{
    return atomic_load_explicit(&of(host)->memory, memory_order_relaxed);
}

uint64_t hf_process_host_free(const hf_host *host)
{
    if (!host)
        return 0;
    uint64_t left = hf_process_host_memory(host);
    free(of(host)->state_directory);
    free(of(host)->name);
    free(of(host));
    return left;
}
