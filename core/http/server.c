/* The server as a whole: its loops' shares, listeners, start and stop; see server.h. */
#include "http/server.h"

#include "http/private.h"
#include "loop/loop.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SWEEP_US = 500000, ACCEPT_BATCH = 64, RETRY_MINIMUM_MS = 100, RETRY_MAXIMUM_MS = 10000 };

/* Memory beyond the limits of bodies and of answers for the routes that are reserved; one such answer is at most that.
 */
enum { RESERVE = 16 << 20 };

struct http_listener {
    struct http_listener *next;
    http_shard *shard;
    hf_watch *watch;
};

static int32_t add_metric(hf_http_server *server, int32_t type, const char *name, const char *help,
                          const char *const (*labels)[2], hf_metric **ret_metric, hf_error *error)
{
    return hf_metrics_add(server->settings.metrics, type, name, help, labels, labels ? 1 : 0, ret_metric, error);
}

static int32_t add_metrics(hf_http_server *server, hf_error *error)
{
    static const char *const classes[5][1][2] = {
        {{"class", "1xx"}}, {{"class", "2xx"}}, {{"class", "3xx"}}, {{"class", "4xx"}}, {{"class", "5xx"}}};
    int32_t result = 0;

    for (int i = 0; i < 5 && !result; i++)
        result = add_metric(server, HF_METRIC_COUNTER, "holdfast_http_requests_total",
                            "Requests answered, by class of status", classes[i], &server->requests[i], error);
    if (!result)
        result =
            add_metric(server, HF_METRIC_COUNTER, "holdfast_http_request_microseconds_total",
                       "Time from a request's first byte to its answer", NULL, &server->request_microseconds, error);
    if (!result)
        result = add_metric(server, HF_METRIC_COUNTER, "holdfast_http_received_bytes_total", "Bytes received", NULL,
                            &server->received_bytes, error);
    if (!result)
        result = add_metric(server, HF_METRIC_COUNTER, "holdfast_http_sent_bytes_total", "Bytes sent", NULL,
                            &server->sent_bytes, error);
    if (!result)
        result =
            add_metric(server, HF_METRIC_COUNTER, "holdfast_http_refused_connections_total",
                       "Connections closed at once: too many, or no memory", NULL, &server->refused_connections, error);
    if (!result)
        result = add_metric(server, HF_METRIC_GAUGE, "holdfast_http_connections", "Open connections", NULL,
                            &server->connections, error);
    return result;
}

static int32_t add_memory_metrics(hf_http_server *server, hf_error *error)
{
    static const char *const whats[HTTP_REFUSALS][1][2] = {{{"memory", "bodies"}}, {{"memory", "answers"}}};
    int32_t result = 0;

    for (int i = 0; i < HTTP_REFUSALS && !result; i++)
        result =
            add_metric(server, HF_METRIC_COUNTER, "holdfast_http_refused_total",
                       "Requests refused for want of memory, by what it is for", whats[i], &server->refused[i], error);
    if (!result)
        result = add_metric(server, HF_METRIC_GAUGE, "holdfast_http_body_bytes", "Bytes of request bodies under way",
                            NULL, &server->body_bytes, error);
    if (!result)
        result =
            add_metric(server, HF_METRIC_GAUGE, "holdfast_http_answer_bytes",
                       "Bytes of large answers that their clients have not taken", NULL, &server->answer_bytes, error);
    if (!result)
        result = add_metric(server, HF_METRIC_COUNTER, "holdfast_http_stalled_connections_total",
                            "Connections closed because their clients took nothing of their answers", NULL,
                            &server->stalled_connections, error);
    return result;
}

static void set_limits(hf_http_server *server)
{
    const hf_http_settings *settings = &server->settings;
    uint64_t share = settings->client_share ? settings->client_share : 100;

    server->body_limits = (hf_gate_limits){HF_GATE_ITEMS_MAX, settings->body_memory_maximum, share};
    server->answer_limits = (hf_gate_limits){HF_GATE_ITEMS_MAX, settings->answer_memory_maximum, share};
    server->connection_limits = (hf_gate_limits){settings->connections_maximum, HF_GATE_BYTES_MAX, share};
    server->bodies.limits = &server->body_limits;
    server->answers.limits = &server->answer_limits;
    server->connection_gate.limits = &server->connection_limits;
}

int32_t hf_http_server_refuse(hf_http_server *server, int what, int32_t why, uint64_t now_us, hf_error *error)
{
    static const char *const words[HTTP_REFUSALS] = {"request bodies are under way", "answers wait to be taken"};

    hf_metric_increment(server->refused[what], 1);
    hf_error_set(error, HF_EBUSY, "too many %s%s; send this again later", words[what],
                 why != HF_GATE_SHARE          ? ""
                 : what == HTTP_REFUSED_BODIES ? " for this client"
                                               : " by this client");
    error->retry_after_ms = hf_gate_retry_after_ms(what == HTTP_REFUSED_BODIES ? &server->bodies : &server->answers,
                                                   now_us, RETRY_MINIMUM_MS, RETRY_MAXIMUM_MS);
    return HF_EBUSY;
}

int32_t hf_http_server_enter(hf_http_request *request, int what, uint64_t key, uint64_t size, uint64_t now_us)
{
    hf_http_server *server = request->shard->server;
    hf_gate *gate = what == HTTP_REFUSED_BODIES ? &server->bodies : &server->answers;
    int32_t why = hf_gate_enter(gate, server->shares, key, 0, size, now_us);

    if (!why || !request->match.entry->reserved || hf_gate_bytes(gate) + size > gate->limits->bytes + RESERVE)
        return why;
    hf_gate_force(gate, server->shares, key, 0, size, now_us);
    return 0;
}

static void measure(hf_http_server *server, uint64_t now_us)
{
    hf_gate_measure(&server->bodies, now_us);
    hf_gate_measure(&server->answers, now_us);
    hf_metric_set(server->body_bytes, (double)hf_gate_bytes(&server->bodies));
    hf_metric_set(server->answer_bytes, (double)hf_gate_bytes(&server->answers));
}

static void sweep(void *arg)
{
    http_shard *shard = arg;

    if (shard == shard->server->shards)
        measure(shard->server, hf_loop_now_us(shard->loop));
    hf_http_connections_sweep(shard);
}

static int32_t init_shard(hf_http_server *server, uint32_t index, hf_error *error)
{
    http_shard *shard = &server->shards[index];
    uint64_t seed = 0;

    shard->server = server;
    shard->loop = server->settings.loops[index];
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return hf_error_set_errno(error, HF_EIO, errno, "no random number for trace ids");
    hf_random_init(&shard->random, seed);
    int32_t result = hf_timer_create(shard->loop, sweep, shard, &shard->sweep, error);
    if (!result)
        hf_timer_start(shard->sweep, SWEEP_US, SWEEP_US);
    return result;
}

static int32_t make_shares(hf_http_server *server, hf_error *error)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return hf_error_set_errno(error, HF_EIO, errno, "no random number for the shares of clients");
    server->shares = hf_shares_create(seed);
    return server->shares ? 0 : hf_error_set(error, HF_ENOMEM, "no memory for the shares of clients");
}

int32_t hf_http_server_create(const hf_http_settings *settings, hf_http_server **ret_server, hf_error *error)
{
    hf_http_server *server = calloc(1, sizeof *server);

    if (server)
        server->shards = calloc(settings->loop_count, sizeof *server->shards);
    if (!server || !server->shards) {
        free(server);
        return hf_error_set(error, HF_ENOMEM, "no memory for the HTTP server");
    }
    server->settings = *settings;
    set_limits(server);
    int32_t result = add_metrics(server, error);
    if (!result)
        result = add_memory_metrics(server, error);
    if (!result)
        result = make_shares(server, error);
    for (uint32_t i = 0; i < settings->loop_count && !result; i++)
        result = init_shard(server, i, error);
    if (result) {
        hf_http_server_destroy(server);
        return result;
    }
    *ret_server = server;
    return 0;
}

static void close_listeners(http_shard *shard)
{
    while (shard->listeners) {
        struct http_listener *listener = shard->listeners;
        shard->listeners = listener->next;
        hf_watch_destroy(listener->watch);
        free(listener);
    }
}

void hf_http_server_destroy(hf_http_server *server)
{
    if (!server)
        return;
    for (uint32_t i = 0; i < server->settings.loop_count; i++) {
        http_shard *shard = &server->shards[i];
        close_listeners(shard);
        while (shard->connections)
            hf_http_connection_close(shard->connections);
        hf_http_requests_free_spare(shard);
        hf_timer_destroy(shard->sweep);
    }
    hf_router_done(&server->router);
    hf_shares_destroy(server->shares);
    free(server->shards);
    free(server);
}

int32_t hf_http_server_route(hf_http_server *server, const hf_http_route *route, void *arg, hf_error *error)
{
    return hf_router_add(&server->router, route, arg, route->right >= HF_HTTP_ADMIN, error);
}

int32_t hf_http_server_route_reserved(hf_http_server *server, const hf_http_route *route, void *arg, hf_error *error)
{
    return hf_router_add(&server->router, route, arg, 1, error);
}

/* ---- Listening --------------------------------------------------------------------------------------------------- */

/* Whoever has one address of IPv6 has the 2^64 others of its network too.  All of a Unix socket are one. */
static uint64_t number_of(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;

    if (address->ss_family == AF_INET)
        return hf_hash64(4, &four->sin_addr, sizeof four->sin_addr) | 1;
    if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        return hf_hash64(4, six->sin6_addr.s6_addr + 12, 4) | 1;
    return address->ss_family == AF_INET6 ? hf_hash64(6, &six->sin6_addr, 8) | 1 : 1;
}

static void accept_one(http_shard *shard, int fd, const struct sockaddr_storage *address)
{
    hf_http_server *server = shard->server;
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on a Unix socket, which needs it not */
    if (hf_gate_enter(&server->connection_gate, server->shares, ~number_of(address), 1, 0,
                      hf_loop_now_us(shard->loop)) != 0) {
        hf_metric_increment(server->refused_connections, 1);
        close(fd);
        return;
    }
    hf_http_connection_open(shard, fd, number_of(address));
}

static void listener_ready(void *arg, int32_t fd, uint32_t events)
{
    struct http_listener *listener = arg;

    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
        socklen_t size = sizeof address;
        int client = accept4(fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            accept_one(listener->shard, client, &address);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN)
                hf_log(HF_LOG_WARNING, "http", "a connection could not be accepted: %s", strerror(errno));
            return;
        }
    }
}

int32_t hf_http_server_listen(hf_http_server *server, uint32_t loop, int32_t fd, hf_error *error)
{
    http_shard *shard = &server->shards[loop];
    struct http_listener *listener = calloc(1, sizeof *listener);

    if (!listener)
        return hf_error_set(error, HF_ENOMEM, "no memory for a listener");
    listener->shard = shard;
    int32_t result = hf_watch_create(shard->loop, fd, HF_WATCH_READ, listener_ready, listener, &listener->watch, error);
    if (result) {
        free(listener);
        return result;
    }
    listener->next = shard->listeners;
    shard->listeners = listener;
    return 0;
}

/* ---- Stopping ---------------------------------------------------------------------------------------------------- */

static void all_stopped(hf_task *task)
{
    hf_http_server *server = (hf_http_server *)((char *)task - offsetof(hf_http_server, stopped_task));

    server->stopped(server->stopped_arg);
}

static void stop_sweep(void *arg)
{
    http_shard *shard = arg;
    hf_http_server *server = shard->server;

    hf_http_connections_sweep(shard);
    if (shard->connections || !shard->stopping)
        return;
    shard->stopping = 0; /* counted once */
    hf_timer_stop(shard->sweep);
    if (atomic_fetch_sub(&server->shards_left, 1) == 1) {
        server->stopped_task.run = all_stopped;
        hf_loop_post(server->stop_loop, &server->stopped_task);
    }
}

static void stop_shard(hf_task *task)
{
    http_shard *shard = (http_shard *)((char *)task - offsetof(http_shard, stop_task));

    close_listeners(shard);
    shard->stopping = 1;
    hf_timer_destroy(shard->sweep);
    shard->sweep = NULL;
    if (hf_timer_create(shard->loop, stop_sweep, shard, &shard->sweep, NULL) == 0)
        hf_timer_start(shard->sweep, 1000, 20000);
    else
        abort(); /* no memory for a timer while ending: the supervisor must not wait for ever */
}

void hf_http_server_stop(hf_http_server *server, uint64_t grace_us, void (*done)(void *arg), void *arg)
{
    uint64_t deadline = hf_clock_us() + grace_us;

    server->stopped = done;
    server->stopped_arg = arg;
    server->stop_loop = hf_loop_current();
    atomic_store(&server->shards_left, server->settings.loop_count);
    for (uint32_t i = 0; i < server->settings.loop_count; i++) {
        server->shards[i].stop_deadline_us = deadline;
        server->shards[i].stop_task.run = stop_shard;
        hf_loop_post(server->shards[i].loop, &server->shards[i].stop_task);
    }
}
