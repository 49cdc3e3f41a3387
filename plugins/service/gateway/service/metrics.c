#include "service/metrics.h"

#include "service/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PUBLISH_US = 200000,
    KEEP_US = 1000000, /* between two of what is kept for rates */
    KEPT = 11,
    SERVER_ROWS = 8,
    NAMES_IN_REASON = 3
};

/* ---- What is published ------------------------------------------------------------------------------------------- */

#define NOTHING   SIZE_MAX
#define OF(field) offsetof(struct gateway_sums, field)

/* A series of a meter: a sum, or the difference of two, which is a gauge. */
struct row {
    int32_t kind; /* GATEWAY_METER_... */
    const char *name, *help;
    size_t plus, minus; /* offsets of sums */
    const char *status; /* a label; such a series is only added once it is not 0 */
};

#define BY_STATUS(kind, name, help)                                                                                    \
    {kind, name, help, OF(requests[0]), NOTHING, "none"}, {kind, name, help, OF(requests[1]), NOTHING, "1xx"},         \
        {kind, name, help, OF(requests[2]), NOTHING, "2xx"}, {kind, name, help, OF(requests[3]), NOTHING, "3xx"},      \
        {kind, name, help, OF(requests[4]), NOTHING, "4xx"},                                                           \
    {                                                                                                                  \
        kind, name, help, OF(requests[5]), NOTHING, "5xx"                                                              \
    }

#define LISTENER(name, help, plus, minus)                                                                              \
    {                                                                                                                  \
        GATEWAY_METER_LISTENER, "holdfast_gateway_" name, help, plus, minus, NULL                                      \
    }
#define UPSTREAM(name, help, plus, minus)                                                                              \
    {                                                                                                                  \
        GATEWAY_METER_UPSTREAM, "holdfast_gateway_upstream_" name, help, plus, minus, NULL                             \
    }

static const struct row rows[] = {
    BY_STATUS(GATEWAY_METER_LISTENER, "holdfast_gateway_requests_total", "Requests that have ended."),
    LISTENER("connections_total", "Connections of clients that were taken.", OF(accepted), NOTHING),
    LISTENER("connections_refused_total", "Connections that were closed because there were connections_maximum.",
             OF(refused), NOTHING),
    LISTENER("connections_open", "Connections of clients that are open.", OF(accepted), OF(closed)),
    LISTENER("received_bytes_total", "Bytes of requests.", OF(received), NOTHING),
    LISTENER("sent_bytes_total", "Bytes of answers.", OF(sent), NOTHING),
    LISTENER("datagrams_received_total", "Datagrams of clients that servers got.", OF(datagrams_received), NOTHING),
    LISTENER("datagrams_sent_total", "Datagrams of servers that clients got.", OF(datagrams_sent), NOTHING),
    LISTENER("datagrams_lost_total", "Datagrams that were thrown away, since nobody could take them.",
             OF(datagrams_lost), NOTHING),
    BY_STATUS(GATEWAY_METER_ROUTE, "holdfast_gateway_route_requests_total",
              "Requests that have ended; those that no route matched have the route '-'."),
    {GATEWAY_METER_ROUTE, "holdfast_gateway_route_degraded_total",
     "Answers in place of those of an upstream that could not be asked.", OF(degraded), NOTHING, NULL},
    BY_STATUS(GATEWAY_METER_UPSTREAM, "holdfast_gateway_upstream_requests_total",
              "Requests that have ended and for which a server was asked."),
    UPSTREAM("tries_total", "Requests to servers, all tries.", OF(tries), NOTHING),
    UPSTREAM("retries_total", "Tries that were not the first of a request.", OF(retries), NOTHING),
    UPSTREAM("failures_total", "Requests that no server could answer.", OF(failures), NOTHING),
    UPSTREAM("degraded_total", "Requests for which something else was answered, or refused.", OF(degraded), NOTHING),
    UPSTREAM("queue_length", "Requests that wait for room at the servers.", OF(queued), OF(dequeued)),
};

enum { ROW_COUNT = sizeof rows / sizeof *rows };
_Static_assert(ROW_COUNT <= 64, "a bit for each");

static const char *const labels[] = {
    [GATEWAY_METER_LISTENER] = "listener", [GATEWAY_METER_ROUTE] = "route", [GATEWAY_METER_UPSTREAM] = "upstream"};
static const char *const histograms[] = {[GATEWAY_METER_ROUTE] = "holdfast_gateway_route_duration_seconds",
                                         [GATEWAY_METER_UPSTREAM] = "holdfast_gateway_upstream_duration_seconds"};
static const char *const histogram_helps[] = {
    [GATEWAY_METER_ROUTE] = "From the head of a request to the end of its answer.",
    [GATEWAY_METER_UPSTREAM] = "From the first server that was asked to the end of the answer."};

static const struct {
    int32_t type;
    const char *name, *help;
} server_rows[SERVER_ROWS] = {
    {HF_METRIC_COUNTER, "holdfast_gateway_server_requests_total", "Requests to the server."},
    {HF_METRIC_COUNTER, "holdfast_gateway_server_failures_total", "Requests that failed, or were answered with 5xx."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_in_flight", "Requests that are under way."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_connections_open", "Connections to the server."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_connections_idle", "Those of them without a request."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_up", "1: it gets requests."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_state",
     "0: up, 1: draining, 2: failing (max_fails), 3: down (checks), 4: ejected, 5: its breaker is open."},
    {HF_METRIC_GAUGE, "holdfast_gateway_server_weight", "Its weight, as it was set."},
};

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

/* Of a meter: its user. */
struct metered {
    struct gateway_meter *meter;
    struct gateway_sums published;
    uint64_t tried; /* bits by row: it was added, or cannot be */
    hf_metric *series[ROW_COUNT];
    hf_metric *histogram, *breaker;
    uint32_t kept; /* how many times something was kept */
    uint64_t kept_us[KEPT];
    struct gateway_sums sums[KEPT];
};

struct server_sums {
    uint64_t at_us, requests, failures, timed, timed_us;
};

/* Of a server: its user. */
struct served {
    struct served *next;
    struct gateway_server *server; /* held */
    uint64_t round;                /* in which it was seen last */
    int32_t state;
    uint64_t since_us;
    uint64_t requests, failures; /* published */
    hf_metric *series[SERVER_ROWS];
    uint32_t kept;
    struct server_sums sums[KEPT];
};

/* Of an access log: its user. */
struct logged {
    struct gateway_log_status published;
    hf_metric *lines, *dropped, *bytes;
};

struct gateway_metrics {
    struct gateway *gateway;
    const hf_metrics_interface *interface; /* NULL: there is none */
    uint64_t published_us, kept_us, round;
    struct served *servers;
    int is_full; /* it was said that not all series can be shown */

    pthread_mutex_t lock; /* protects the health */
    hf_health health;
};

static void say(const struct gateway_metrics *metrics, const char *text)
{
    metrics->gateway->host->log(metrics->gateway->host, HF_LOG_WARNING, hf_slice_of(text));
}

/* NULL: it cannot be shown. */
static hf_metric *keep_or_say(struct gateway_metrics *metrics, int32_t code, hf_metric *metric, const hf_error *error)
{
    if (code == HF_OK)
        return metric;
    if (!metrics->is_full)
        say(metrics, error->message);
    metrics->is_full = 1;
    return NULL;
}

static hf_metric *add(struct gateway_metrics *metrics, int32_t type, const char *name, const char *help,
                      const char *const (*pairs)[2], uint64_t count)
{
    hf_metric *metric = NULL;
    hf_error error = {0};

    if (!metrics->interface)
        return NULL;
    int32_t code = metrics->interface->add(metrics->gateway->host, type, name, help, pairs, count, &metric, &error);
    return keep_or_say(metrics, code, metric, &error);
}

static void remove_series(const struct gateway_metrics *metrics, hf_metric *metric)
{
    if (metric)
        metrics->interface->remove(metric);
}

/* ---- Meters ------------------------------------------------------------------------------------------------------ */

static uint64_t number_at(const struct gateway_sums *sums, size_t offset)
{
    uint64_t number;

    memcpy(&number, (const char *)sums + offset, sizeof number);
    return number;
}

static hf_metric *add_row(struct gateway_metrics *metrics, const struct gateway_meter *meter, const struct row *row)
{
    const char *const pairs[][2] = {{labels[meter->kind], meter->name}, {"status", row->status}};

    return add(metrics, row->minus == NOTHING ? HF_METRIC_COUNTER : HF_METRIC_GAUGE, row->name, row->help, pairs,
               row->status ? 2 : 1);
}

static void add_histogram(struct gateway_metrics *metrics, struct metered *metered)
{
    const struct gateway_meter *meter = metered->meter;
    const char *const pairs[][2] = {{labels[meter->kind], meter->name}};
    double bounds[GATEWAY_LATENCY_BOUNDS];
    hf_error error = {0};

    if (!metrics->interface || meter->kind == GATEWAY_METER_LISTENER)
        return;
    for (int i = 0; i < GATEWAY_LATENCY_BOUNDS; i++)
        bounds[i] = (double)gateway_latency_bounds[i] / 1e6;
    int32_t code =
        metrics->interface->add_histogram(metrics->gateway->host, histograms[meter->kind], histogram_helps[meter->kind],
                                          pairs, 1, bounds, GATEWAY_LATENCY_BOUNDS, &metered->histogram, &error);
    metered->histogram = keep_or_say(metrics, code, metered->histogram, &error);
}

static struct metered *meter_user(struct gateway_metrics *metrics, struct gateway_meter *meter)
{
    struct metered *metered = meter->user;

    if (metered)
        return metered;
    metered = calloc(1, sizeof *metered);
    if (!metered)
        return NULL; /* the next time, when there may be memory */
    metered->meter = meter;
    meter->user = metered;
    add_histogram(metrics, metered);
    return metered;
}

static void publish_row(struct gateway_metrics *metrics, struct metered *metered, uint32_t index,
                        const struct gateway_sums *sums)
{
    const struct row *row = &rows[index];
    uint64_t plus = number_at(sums, row->plus), before = number_at(&metered->published, row->plus);
    uint64_t bit = UINT64_C(1) << index;

    if (row->kind != metered->meter->kind || (row->status && !plus))
        return;
    if (!(metered->tried & bit)) {
        metered->tried |= bit;
        metered->series[index] = add_row(metrics, metered->meter, row);
    }
    if (!metered->series[index])
        return;
    if (row->minus != NOTHING)
        metrics->interface->set(metered->series[index], (double)(plus - number_at(sums, row->minus)));
    else if (plus != before)
        metrics->interface->increment(metered->series[index], plus - before);
}

static void publish_histogram(struct gateway_metrics *metrics, struct metered *metered, const struct gateway_sums *sums)
{
    uint64_t counts[GATEWAY_LATENCY_BOUNDS + 1], all = 0;

    for (int i = 0; i <= GATEWAY_LATENCY_BOUNDS; i++)
        all += counts[i] = sums->latency[i] - metered->published.latency[i];
    if (metered->histogram && all)
        (void)metrics->interface->observe_counted(metered->histogram, counts, GATEWAY_LATENCY_BOUNDS + 1,
                                                  (double)(sums->latency_us - metered->published.latency_us) / 1e6);
}

static void publish_meter(struct gateway_metrics *metrics, struct metered *metered)
{
    struct gateway_sums sums;

    gateway_meter_sum(metered->meter, &sums);
    for (uint32_t i = 0; i < ROW_COUNT; i++)
        publish_row(metrics, metered, i, &sums);
    publish_histogram(metrics, metered, &sums);
    metered->published = sums;
}

static void keep_sums(struct metered *metered, uint64_t now_us)
{
    uint32_t at = metered->kept++ % KEPT;

    metered->kept_us[at] = now_us;
    metered->sums[at] = metered->published;
}

static void forget_meter(struct gateway_metrics *metrics, struct gateway_meter *meter)
{
    struct metered *metered = meter->user;

    meter->user = NULL;
    if (!metered)
        return;
    for (uint32_t i = 0; i < ROW_COUNT; i++)
        remove_series(metrics, metered->series[i]);
    remove_series(metrics, metered->histogram);
    remove_series(metrics, metered->breaker);
    free(metered);
}

static void tend_meters(struct gateway_metrics *metrics, int keeps, uint64_t now_us)
{
    struct gateway_meters *meters = &metrics->gateway->meters;

    for (struct gateway_meter *meter = meters->first; meter; meter = meter->next) {
        struct metered *metered = meter_user(metrics, meter);

        if (metered)
            publish_meter(metrics, metered);
        if (metered && keeps)
            keep_sums(metered, now_us);
        if (gateway_meter_is_unused(meter))
            forget_meter(metrics, meter);
    }
    gateway_meters_sweep(meters);
}

void gateway_metrics_rates(const struct gateway_metrics *metrics, const struct gateway_meter *meter,
                           const struct gateway_sums *now, struct gateway_rates *ret_rates)
{
    const hf_loop_interface *loops = metrics->gateway->loops;
    const struct metered *metered = meter->user;

    memset(ret_rates, 0, sizeof *ret_rates);
    if (!metered || !metered->kept)
        return;
    uint32_t at = metered->kept < KEPT ? 0 : metered->kept % KEPT; /* the oldest */
    const struct gateway_sums *then = &metered->sums[at];
    double seconds = (double)(loops->now_us(loops->main_loop(metrics->gateway->host)) - metered->kept_us[at]) / 1e6;
    uint64_t timed = 0;
    if (seconds <= 0)
        return;
    for (int i = 0; i <= GATEWAY_LATENCY_BOUNDS; i++)
        timed += now->latency[i] - then->latency[i];
    *ret_rates = (struct gateway_rates){
        .seconds = seconds,
        .requests_per_s = (double)(gateway_sums_requests(now) - gateway_sums_requests(then)) / seconds,
        .failures_per_s = (double)(now->failures - then->failures) / seconds,
        .received_per_s = (double)(now->received - then->received) / seconds,
        .sent_per_s = (double)(now->sent - then->sent) / seconds,
        .mean_us = timed ? (now->latency_us - then->latency_us) / timed : 0,
        .p50_us = gateway_sums_quantile(now, then, 0.5),
        .p99_us = gateway_sums_quantile(now, then, 0.99)};
}

/* ---- Servers ----------------------------------------------------------------------------------------------------- */

const char *gateway_server_state_name(int32_t state)
{
    static const char *const names[GATEWAY_SERVER_STATES] = {
        [GATEWAY_SERVER_UP] = "up",     [GATEWAY_SERVER_DRAINING] = "draining", [GATEWAY_SERVER_FAILING] = "failing",
        [GATEWAY_SERVER_DOWN] = "down", [GATEWAY_SERVER_EJECTED] = "ejected",   [GATEWAY_SERVER_BREAKER] = "breaker"};

    return names[state];
}

static int32_t state_of(const struct gateway_server_set *set, uint32_t index, uint64_t now_us)
{
    const struct gateway_place *place = &set->places[index];
    const struct gateway_server *server = place->server;
    int32_t state = GATEWAY_SERVER_UP;

    pthread_mutex_lock(&set->upstream->lock);
    if (place->is_draining || server->health.is_draining)
        state = GATEWAY_SERVER_DRAINING;
    else if (set->has_check && server->health.is_down)
        state = GATEWAY_SERVER_DOWN;
    else if (!gateway_health_is_usable(&server->health, &place->health, now_us))
        state = GATEWAY_SERVER_FAILING;
    else if (set->has_outlier && gateway_outlier_is_ejected(&server->outlier, now_us))
        state = GATEWAY_SERVER_EJECTED;
    else if (set->has_server_breaker && server->breaker.state != GATEWAY_BREAKER_CLOSED)
        state = GATEWAY_SERVER_BREAKER;
    pthread_mutex_unlock(&set->upstream->lock);
    return state;
}

int32_t gateway_metrics_breaker(const struct gateway_server_set *set, uint64_t now_us)
{
    int32_t state = -1;

    if (!set->has_breaker)
        return state;
    pthread_mutex_lock(&set->upstream->lock);
    state = set->upstream->breaker.state;
    if (state == GATEWAY_BREAKER_OPEN && gateway_breaker_wait(&set->upstream->breaker, now_us) == 0)
        state = GATEWAY_BREAKER_HALF_OPEN; /* it becomes that with the next request */
    pthread_mutex_unlock(&set->upstream->lock);
    return state;
}

static struct server_sums read_server(const struct gateway_server *server, uint64_t now_us)
{
    return (struct server_sums){.at_us = now_us,
                                .requests = atomic_load_explicit(&server->requests, memory_order_relaxed),
                                .failures = atomic_load_explicit(&server->failures, memory_order_relaxed),
                                .timed = atomic_load_explicit(&server->timed, memory_order_relaxed),
                                .timed_us = atomic_load_explicit(&server->timed_us, memory_order_relaxed)};
}

/* Connections that are busy are those with a request, each with one. */
static void read_connections(const struct gateway_server *server, struct gateway_server_status *status)
{
    status->in_flight = atomic_load_explicit(&server->in_flight, memory_order_relaxed);
    status->connections = atomic_load_explicit(&server->connections, memory_order_relaxed);
    status->idle = status->connections > status->in_flight ? status->connections - status->in_flight : 0;
}

static struct served *create_served(struct gateway_metrics *metrics, struct gateway_server *server)
{
    const char *const pairs[][2] = {{"upstream", server->upstream->name}, {"server", server->name}};
    struct served *served = calloc(1, sizeof *served);

    if (!served)
        return NULL; /* the next time, when there may be memory */
    served->server = server;
    served->state = -1;
    gateway_server_hold(server);
    server->user = served;
    for (int i = 0; i < SERVER_ROWS; i++)
        served->series[i] = add(metrics, server_rows[i].type, server_rows[i].name, server_rows[i].help, pairs, 2);
    served->next = metrics->servers;
    metrics->servers = served;
    return served;
}

static void publish_server(struct gateway_metrics *metrics, struct served *served,
                           const struct gateway_server_status *status, uint32_t weight)
{
    const double values[SERVER_ROWS] = {[2] = status->in_flight, [3] = status->connections,
                                        [4] = status->idle,      [5] = status->state == GATEWAY_SERVER_UP,
                                        [6] = status->state,     [7] = weight};

    if (served->series[0])
        metrics->interface->increment(served->series[0], status->requests - served->requests);
    if (served->series[1])
        metrics->interface->increment(served->series[1], status->failures - served->failures);
    served->requests = status->requests;
    served->failures = status->failures;
    for (int i = 2; i < SERVER_ROWS; i++)
        if (served->series[i])
            metrics->interface->set(served->series[i], values[i]);
}

void gateway_metrics_server(struct gateway_metrics *metrics, const struct gateway_server_set *set, uint32_t place,
                            struct gateway_server_status *ret_status)
{
    const struct gateway *gateway = metrics->gateway;
    const struct gateway_server *server = set->places[place].server;
    const struct served *served = server->user;
    uint64_t now_us = gateway->loops->now_us(gateway->loops->main_loop(gateway->host));
    struct server_sums now = read_server(server, now_us);
    struct gateway_rates *rates = &ret_status->rates;

    memset(ret_status, 0, sizeof *ret_status);
    ret_status->state = state_of(set, place, now_us);
    ret_status->requests = now.requests;
    ret_status->failures = now.failures;
    read_connections(server, ret_status);
    ret_status->since_us =
        served && served->state == ret_status->state ? served->since_us : gateway->node->wall_us(gateway->host);
    if (!served || !served->kept)
        return;
    const struct server_sums *then = &served->sums[served->kept < KEPT ? 0 : served->kept % KEPT];
    rates->seconds = (double)(now_us - then->at_us) / 1e6;
    if (rates->seconds <= 0)
        return;
    rates->requests_per_s = (double)(now.requests - then->requests) / rates->seconds;
    rates->failures_per_s = (double)(now.failures - then->failures) / rates->seconds;
    rates->mean_us = now.timed > then->timed ? (now.timed_us - then->timed_us) / (now.timed - then->timed) : 0;
}

/* Returns its state. */
static int32_t tend_server(struct gateway_metrics *metrics, const struct gateway_server_set *set, uint32_t place,
                           int keeps, uint64_t now_us)
{
    struct gateway_server *server = set->places[place].server;
    struct served *served = server->user ? server->user : create_served(metrics, server);
    struct gateway_server_status status;

    gateway_metrics_server(metrics, set, place, &status);
    if (!served)
        return status.state;
    if (served->state != status.state) {
        served->state = status.state;
        served->since_us = metrics->gateway->node->wall_us(metrics->gateway->host);
    }
    served->round = metrics->round;
    publish_server(metrics, served, &status, set->places[place].weight);
    if (keeps)
        served->sums[served->kept++ % KEPT] = read_server(server, now_us);
    return status.state;
}

static void forget_server(struct gateway_metrics *metrics, struct served *served)
{
    for (int i = 0; i < SERVER_ROWS; i++)
        remove_series(metrics, served->series[i]);
    served->server->user = NULL;
    gateway_server_release(served->server);
    free(served);
}

/* Those that no present set has. */
static void sweep_servers(struct gateway_metrics *metrics)
{
    for (struct served **at = &metrics->servers; *at;) {
        struct served *served = *at;

        if (served->round == metrics->round) {
            at = &served->next;
            continue;
        }
        *at = served->next;
        forget_server(metrics, served);
    }
}

/* ---- Upstreams and health ---------------------------------------------------------------------------------------- */

static void publish_breaker(struct gateway_metrics *metrics, const struct gateway_plan_upstream *upstream,
                            uint64_t now_us)
{
    const char *const pairs[][2] = {{"upstream", upstream->upstream->name}};
    struct metered *metered = upstream->meter->user;
    int32_t state = gateway_metrics_breaker(upstream->upstream->set, now_us);

    if (!metered)
        return;
    if (state < 0 && metered->breaker) {
        remove_series(metrics, metered->breaker);
        metered->breaker = NULL;
    } else if (state >= 0 && !metered->breaker) {
        metered->breaker = add(metrics, HF_METRIC_GAUGE, "holdfast_gateway_upstream_breaker_state",
                               "0: closed, 1: open, 2: half open.", pairs, 1);
    }
    if (state >= 0 && metered->breaker)
        metrics->interface->set(metered->breaker, state);
}

/* What is said of the gateway when all was looked at. */
struct finding {
    uint32_t dead;   /* upstreams without a server */
    char names[160]; /* of some of them */
    char log[64];    /* what is wrong with an access log */
};

static void note_dead(struct finding *finding, const char *name)
{
    size_t size = strlen(finding->names);

    if (finding->dead++ < NAMES_IN_REASON)
        snprintf(finding->names + size, sizeof finding->names - size, "%s'%.40s'", size ? ", " : "", name);
}

static void tend_upstream(struct gateway_metrics *metrics, const struct gateway_plan_upstream *upstream, int keeps,
                          uint64_t now_us, struct finding *finding)
{
    const struct gateway_server_set *set = upstream->upstream->set;
    uint32_t up = 0;

    for (uint32_t i = 0; i < set->count; i++)
        up += tend_server(metrics, set, i, keeps, now_us) == GATEWAY_SERVER_UP;
    if (!up)
        note_dead(finding, upstream->upstream->name);
    publish_breaker(metrics, upstream, now_us);
}

static void set_health(struct gateway_metrics *metrics, const struct finding *finding)
{
    hf_health health = {.state = finding->dead || finding->log[0] ? HF_HEALTH_DEGRADED : HF_HEALTH_OK};

    if (finding->dead)
        snprintf(health.reason, sizeof health.reason, "no server can be used of %s%s; see 'holdfast upstream list'",
                 finding->names, finding->dead > NAMES_IN_REASON ? " and others" : "");
    else if (finding->log[0])
        snprintf(health.reason, sizeof health.reason, "the access log cannot be written: %s", finding->log);
    pthread_mutex_lock(&metrics->lock);
    metrics->health = health;
    pthread_mutex_unlock(&metrics->lock);
}

void gateway_metrics_health(struct gateway_metrics *metrics, hf_health *ret_health)
{
    pthread_mutex_lock(&metrics->lock);
    *ret_health = metrics->health;
    pthread_mutex_unlock(&metrics->lock);
}

/* ---- Access logs ------------------------------------------------------------------------------------------------- */

static void forget_log(struct gateway_metrics *metrics, struct gateway_log *log)
{
    struct logged *logged = *gateway_log_user(log);

    *gateway_log_user(log) = NULL;
    if (!logged)
        return;
    remove_series(metrics, logged->lines);
    remove_series(metrics, logged->dropped);
    remove_series(metrics, logged->bytes);
    free(logged);
}

static struct logged *log_user(struct gateway_metrics *metrics, struct gateway_log *log)
{
    const char *const pairs[][2] = {{"path", gateway_log_get_rules(log)->path}};
    struct logged *logged = *gateway_log_user(log);

    if (logged || !metrics->interface)
        return logged;
    logged = calloc(1, sizeof *logged);
    if (!logged)
        return NULL;
    logged->lines = add(metrics, HF_METRIC_COUNTER, "holdfast_gateway_access_log_lines_total",
                        "Lines of access logs, those included that were dropped later.", pairs, 1);
    logged->dropped = add(metrics, HF_METRIC_COUNTER, "holdfast_gateway_access_log_dropped_total",
                          "Lines that were dropped, because the disk was too slow or full.", pairs, 1);
    logged->bytes = add(metrics, HF_METRIC_COUNTER, "holdfast_gateway_access_log_written_bytes_total",
                        "Bytes that were written to access logs.", pairs, 1);
    *gateway_log_user(log) = logged;
    return logged;
}

static void advance(struct gateway_metrics *metrics, hf_metric *metric, uint64_t from, uint64_t to)
{
    if (metric && to > from)
        metrics->interface->increment(metric, to - from);
}

static void tend_log(struct gateway_metrics *metrics, struct gateway_log *log, struct finding *finding)
{
    struct logged *logged;
    struct gateway_log_status status;
    char reason[128];

    if (!gateway_log_is_needed(log)) {
        forget_log(metrics, log);
        return;
    }
    gateway_log_get_status(log, &status);
    if (status.failed_errno)
        snprintf(finding->log, sizeof finding->log, "%s", strerror_r(status.failed_errno, reason, sizeof reason));
    logged = log_user(metrics, log);
    if (!logged)
        return;
    advance(metrics, logged->lines, logged->published.lines, status.lines);
    advance(metrics, logged->dropped, logged->published.dropped, status.dropped);
    advance(metrics, logged->bytes, logged->published.written_bytes, status.written_bytes);
    logged->published = status;
}

/* ---- All --------------------------------------------------------------------------------------------------------- */

void gateway_metrics_tend(struct gateway_metrics *metrics, uint64_t now_us)
{
    struct gateway *gateway = metrics->gateway;
    struct finding finding = {0};
    int keeps = now_us - metrics->kept_us >= KEEP_US;

    if (now_us - metrics->published_us < PUBLISH_US)
        return;
    metrics->published_us = now_us;
    if (keeps)
        metrics->kept_us = now_us;
    metrics->round++;
    tend_meters(metrics, keeps, now_us);
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        tend_upstream(metrics, &gateway->plan->upstreams[i], keeps, now_us, &finding);
    sweep_servers(metrics);
    for (struct gateway_log *log = NULL; (log = gateway_log_next(&gateway->logs, log));)
        tend_log(metrics, log, &finding);
    set_health(metrics, &finding);
}

int32_t gateway_metrics_create(struct gateway *gateway, struct gateway_metrics **ret_metrics, hf_error *error)
{
    struct gateway_metrics *metrics = calloc(1, sizeof *metrics);
    const hf_head *head = gateway->host->query(gateway->host, HF_METRICS_INTERFACE);

    if (!metrics)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's metrics");
    metrics->gateway = gateway;
    if (head && head->size >= sizeof *metrics->interface)
        metrics->interface = (const hf_metrics_interface *)(const void *)head;
    pthread_mutex_init(&metrics->lock, NULL);
    *ret_metrics = metrics;
    return HF_OK;
}

void gateway_metrics_destroy(struct gateway_metrics *metrics)
{
    if (!metrics)
        return;
    for (struct gateway_meter *meter = metrics->gateway->meters.first; meter; meter = meter->next)
        forget_meter(metrics, meter);
    metrics->round++;
    sweep_servers(metrics);
    for (struct gateway_log *log = NULL; (log = gateway_log_next(&metrics->gateway->logs, log));)
        forget_log(metrics, log);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}
