#include "http2/http2.h"
#include "proxy/caching.h"
#include "proxy/outflow.h"
#include "proxy/private.h"
#include "stream/stream.h"

#include "tls/stream.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPTS_MAX = 64 /* at a time, so that requests get their turn */ };

uint64_t gateway_worker_now(const struct gateway_worker *worker)
{
    return worker->loops->now_us(worker->loop);
}

/* ---- Deadlines --------------------------------------------------------------------------------------------------- */

static void tick(void *arg)
{
    struct gateway_worker *worker = arg;

    gateway_wheel_turn(&worker->wheel, gateway_worker_now(worker));
    for (struct gateway_view *view = worker->views; view; view = view->next)
        worker->has_room |= view->queued > 0; /* other workers' requests have ended meanwhile, perhaps */
    gateway_worker_settle(worker);
    if (worker->wheel.count == 0) {
        worker->loops->timer_stop(worker->tick);
        worker->is_ticking = 0;
    }
}

void gateway_worker_deadline(struct gateway_worker *worker, struct gateway_deadline *deadline, uint64_t due_us)
{
    if (!worker->is_ticking) {
        gateway_wheel_turn(&worker->wheel, gateway_worker_now(worker)); /* it is empty, and only catches up */
        worker->loops->timer_start(worker->tick, GATEWAY_WHEEL_TICK_US, GATEWAY_WHEEL_TICK_US);
        worker->is_ticking = 1;
    }
    gateway_deadline_set(&worker->wheel, deadline, due_us);
}

const char *gateway_worker_date(struct gateway_worker *worker)
{
    time_t now = (time_t)(worker->node->wall_us(worker->host) / 1000000);
    struct tm tm;

    if ((uint64_t)now != worker->dated_s && gmtime_r(&now, &tm) &&
        strftime(worker->date, sizeof worker->date, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        worker->dated_s = (uint64_t)now;
    return worker->date;
}

/* ---- Memory that is used again ----------------------------------------------------------------------------------- */

struct gateway_block *gateway_worker_block(struct gateway_worker *worker)
{
    struct gateway_block *block = worker->spare_blocks;

    if (block) {
        worker->spare_blocks = block->next;
        worker->spare_block_count--;
    } else {
        block = malloc(sizeof *block);
    }
    if (block)
        block->size = 0;
    return block;
}

void gateway_worker_give_back(struct gateway_worker *worker, struct gateway_block *block)
{
    if (!block)
        return;
    if (worker->spare_block_count >= GATEWAY_SPARE_MAX) {
        free(block);
        return;
    }
    block->next = worker->spare_blocks;
    worker->spare_blocks = block;
    worker->spare_block_count++;
}

/* ---- Plans
 * ----------------------------------------------------------------------------------------------------------- */

struct gateway_generation *gateway_worker_use(struct gateway_worker *worker)
{
    worker->generation->uses++;
    return worker->generation;
}

static void close_idle(struct gateway_view *view)
{
    for (uint32_t i = 0; view->set && i < view->set->count; i++)
        while (view->idle[i])
            gateway_link_destroy(view->idle[i]);
}

static void free_view(struct gateway_view *view)
{
    if (!view)
        return;
    gateway_server_set_release(view->set);
    gateway_upstream_release(view->upstream);
    gateway_usable_done(&view->usable);
    free(view->idle);
    free(view->idle_count);
    free(view);
}

static void leave_view(struct gateway_worker *worker, struct gateway_view *view)
{
    if (--view->generations)
        return;
    for (struct gateway_view **at = &worker->views; *at; at = &(*at)->next)
        if (*at == view) {
            *at = view->next;
            break;
        }
    close_idle(view);
    gateway_http2_close_view(view);
    free_view(view);
}

static void free_generation(struct gateway_worker *worker, struct gateway_generation *generation)
{
    for (struct gateway_generation **at = &worker->generations; *at; at = &(*at)->next)
        if (*at == generation) {
            *at = generation->next;
            break;
        }
    for (uint32_t i = 0; i < generation->plan->upstream_count; i++)
        leave_view(worker, generation->views[i]);
    gateway_plan_release(generation->plan);
    free(generation->views);
    free(generation);
}

void gateway_worker_leave(struct gateway_worker *worker, struct gateway_generation *generation)
{
    generation->uses--;
    worker->has_unused |= generation->uses == 0 && generation != worker->generation;
}

/* ---- The end of a callback
 * -------------------------------------------------------------------------------------------- */

static void settle_clients(struct gateway_worker *worker)
{
    while (worker->due_clients) {
        struct gateway_client *client = worker->due_clients;

        worker->due_clients = client->next_due;
        gateway_client_settle(client);
    }
}

static void serve_queues(struct gateway_worker *worker)
{
    worker->has_room = 0;
    for (struct gateway_view *view = worker->views; view; view = view->next) {
        gateway_view_serve(view);
        gateway_stream_serve(view);
    }
}

static void free_port(struct gateway_port *port)
{
    gateway_udp_destroy(port->udp);
    gateway_meter_release(port->meter);
    free(port->name);
    free(port);
}

static void free_ports(struct gateway_worker *worker)
{
    for (struct gateway_port **at = &worker->ports; *at;) {
        struct gateway_port *port = *at;

        if (port->listener || port->clients || port->streams) {
            at = &port->next;
            continue;
        }
        *at = port->next;
        free_port(port);
    }
}

static void free_dead(struct gateway_worker *worker)
{
    while (worker->dead_exchanges) {
        struct gateway_exchange *exchange = worker->dead_exchanges;

        worker->dead_exchanges = exchange->next;
        gateway_exchange_free(exchange);
    }
    while (worker->dead_links) {
        struct gateway_link *link = worker->dead_links;

        worker->dead_links = link->next;
        gateway_http2_carrier_free(link->carrier);
        hf_buffer_done(&link->partial);
        hf_buffer_done(&link->trailers);
        free(link);
    }
    gateway_http2_free_dead(worker);
    while (worker->dead_clients) {
        struct gateway_client *client = worker->dead_clients;

        worker->dead_clients = client->next;
        worker->has_unused |= client->port->listener == NULL;
        gateway_http2_free(client);
        free(client);
    }
}

static void free_dead_streams(struct gateway_worker *worker)
{
    struct gateway_tcp *streams = worker->dead_tcps;
    struct gateway_flow *flows = worker->dead_flows;

    worker->dead_tcps = NULL;
    worker->dead_flows = NULL;
    gateway_stream_free(streams);
    gateway_flow_free(flows);
}

static void free_unused(struct gateway_worker *worker)
{
    struct gateway_generation *next;

    worker->has_unused = 0;
    for (struct gateway_generation *each = worker->generations; each; each = next) {
        next = each->next;
        if (each != worker->generation && each->uses == 0)
            free_generation(worker, each);
    }
    free_ports(worker);
}

uint32_t gateway_worker_clients(const struct gateway_worker *worker)
{
    uint32_t count = 0;

    for (struct gateway_port *port = worker->ports; port; port = port->next)
        count += port->client_count + port->stream_count;
    return count;
}

static void look_drained(struct gateway_worker *worker)
{
    void (*drained)(void *arg) = worker->drained;

    if (!drained || gateway_worker_clients(worker) > 0)
        return;
    worker->drained = NULL;
    drained(worker->drained_arg);
}

void gateway_worker_settle(struct gateway_worker *worker)
{
    while (worker->due_clients || worker->due_carriers || worker->has_room) {
        if (worker->has_room)
            serve_queues(worker);
        settle_clients(worker);
        gateway_http2_settle_carriers(worker);
    }
    free_dead(worker);
    if (worker->dead_tcps || worker->dead_flows)
        free_dead_streams(worker);
    if (worker->has_unused) {
        free_unused(worker);
        free_dead(worker); /* idle links of what went */
    }
    if (worker->drained)
        look_drained(worker);
}

/* ---- Accepting
 * -------------------------------------------------------------------------------------------------------- */

static void accept_clients(void *arg, int32_t fd, uint32_t events)
{
    struct gateway_port *port = arg;
    struct gateway_worker *worker = port->worker;

    (void)events;
    for (int i = 0; i < ACCEPTS_MAX && port->listener && !worker->is_draining; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int client = accept4(fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client < 0)
            break; /* none is left, or it has gone again; without descriptors the next wake-up tries anew */
        if (port->client_count + port->stream_count >= port->listener->connections_maximum) {
            gateway_count(&port->meter->cells[worker->index].refused, 1);
            (void)close(client);
            continue;
        }
        if (port->listener->protocol == GATEWAY_PROTOCOL_TCP)
            gateway_stream_accept(port, client, &address);
        else
            gateway_client_accept(port, client, &address);
    }
    gateway_worker_settle(worker);
}

static void stop_listening(struct gateway_port *port)
{
    port->worker->loops->watch_destroy(port->watch);
    port->watch = NULL;
    if (port->udp) /* its answers would go out through that socket */
        gateway_udp_end(port->udp);
}

static void drain_clients(struct gateway_port *port)
{
    struct gateway_client *next;

    for (struct gateway_client *client = port->clients; client; client = next) {
        next = client->next;
        gateway_client_drain(client);
    }
}

/* ---- Taking over a plan
 * ------------------------------------------------------------------------------------------------ */

static struct gateway_view *create_view(struct gateway_worker *worker, struct gateway_server_set *set)
{
    struct gateway_view *view = calloc(1, sizeof *view);
    uint32_t count = set->count;

    if (!view)
        return NULL;
    view->worker = worker;
    view->upstream = set->upstream;
    view->set = set;
    gateway_upstream_hold(view->upstream);
    gateway_server_set_hold(view->set);
    int32_t code = gateway_usable_init(&view->usable, set, worker->index);
    view->idle = calloc(count + 1, sizeof *view->idle);
    view->idle_count = calloc(count + 1, sizeof *view->idle_count);
    if (code == HF_OK && view->idle && view->idle_count)
        return view;
    free_view(view);
    return NULL;
}

static struct gateway_port *create_port(struct gateway_worker *worker, const struct gateway_listener *listener,
                                        int32_t fd)
{
    struct gateway_port *port = calloc(1, sizeof *port);

    if (port)
        port->name = strndup((const char *)listener->name.data, listener->name.size);
    if (!port || !port->name) {
        free(port);
        return NULL;
    }
    port->worker = worker;
    port->fd = fd;
    port->meter = listener->meter;
    gateway_meter_hold(port->meter);
    if (listener->protocol != GATEWAY_PROTOCOL_UDP || gateway_udp_create(port, NULL) == HF_OK)
        return port;
    free_port(port);
    return NULL;
}

static int32_t fill_takeover(struct gateway_takeover *takeover, struct gateway_plan *plan, const int32_t *sockets)
{
    struct gateway_generation *generation = calloc(1, sizeof *generation);

    takeover->generation = generation;
    if (!generation)
        return HF_ENOMEM;
    generation->plan = plan;
    gateway_plan_hold(plan);
    generation->views = calloc(plan->upstream_count + 1, sizeof(struct gateway_view *));
    takeover->fresh = calloc(plan->upstream_count + 1, sizeof(struct gateway_view *));
    takeover->ports = calloc(plan->listener_count + 1, sizeof(struct gateway_port *));
    if (!generation->views || !takeover->fresh || !takeover->ports)
        return HF_ENOMEM;
    for (uint32_t i = 0; i < plan->upstream_count; i++)
        if (!(takeover->fresh[i] = create_view(takeover->worker, plan->upstreams[i].set)))
            return HF_ENOMEM;
    for (uint32_t i = 0; i < plan->listener_count; i++)
        if (sockets[i] >= 0 && !(takeover->ports[i] = create_port(takeover->worker, &plan->listeners[i], sockets[i])))
            return HF_ENOMEM;
    return HF_OK;
}

int32_t gateway_takeover_create(struct gateway_worker *worker, struct gateway_plan *plan, const int32_t *sockets,
                                struct gateway_takeover **ret_takeover, hf_error *error)
{
    struct gateway_takeover *takeover = calloc(1, sizeof *takeover);

    if (takeover) {
        takeover->worker = worker;
        if (fill_takeover(takeover, plan, sockets) == HF_OK) {
            *ret_takeover = takeover;
            return HF_OK;
        }
    }
    gateway_takeover_destroy(takeover);
    return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");
}

void gateway_takeover_destroy(struct gateway_takeover *takeover)
{
    struct gateway_generation *generation = takeover ? takeover->generation : NULL;

    if (!takeover)
        return;
    for (uint32_t i = 0; generation && takeover->fresh && i < generation->plan->upstream_count; i++)
        free_view(takeover->fresh[i]);
    for (uint32_t i = 0; generation && takeover->ports && i < generation->plan->listener_count; i++)
        if (takeover->ports[i])
            free_port(takeover->ports[i]); /* the descriptor is the caller's until the worker has it */
    free(takeover->fresh);
    free(takeover->ports);
    if (generation) {
        gateway_plan_release(generation->plan);
        free(generation->views);
        free(generation);
    }
    free(takeover);
}

static struct gateway_view *find_view(const struct gateway_worker *worker, const struct gateway_upstream *upstream)
{
    for (struct gateway_view *view = worker->views; view; view = view->next)
        if (view->upstream == upstream)
            return view;
    return NULL;
}

/* Where the server of an old place is in the new set, which mostly has them in the same order: behind the one before.
 * -1: nowhere, or it gets nothing more. */
static int64_t new_place(const struct gateway_server_set *set, const struct gateway_server *server, uint32_t *hint)
{
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t at = (*hint + i) % set->count;

        if (set->places[at].server != server)
            continue;
        *hint = at + 1;
        return set->places[at].is_draining ? -1 : (int64_t)at;
    }
    return -1;
}

/* Those whose address the server still has. */
static void keep_idle(struct gateway_view *view, uint32_t i, struct gateway_view *fresh, uint32_t k)
{
    const struct gateway_addresses *before = &view->set->places[i].addresses, *now = &fresh->set->places[k].addresses;
    struct gateway_link *next;

    for (struct gateway_link *link = view->idle[i]; link; link = next) {
        int32_t address = gateway_addresses_find(now, before, link->address);

        next = link->next;
        if (address < 0) {
            gateway_link_destroy(link);
            continue;
        }
        link->place = k;
        link->address = (uint32_t)address;
    }
    fresh->idle[k] = view->idle[i];
    fresh->idle_count[k] = view->idle_count[i];
    view->idle[i] = NULL;
    view->idle_count[i] = 0;
}

/* Connections to servers that stay are kept, unless TLS is another; and what the balancer has learned. */
static void follow(struct gateway_view *view, struct gateway_view *fresh)
{
    const struct gateway_server_set *before = view->set, *set = fresh->set;
    uint32_t hint = 0;
    const struct gateway_pools *old = &before->pools[view->worker->index], *new = &set->pools[view->worker->index];

    for (uint32_t i = 0; i < before->count && gateway_tls_client_is_like(before->tls, set->tls); i++) {
        int64_t k = view->idle[i] ? new_place(set, before->places[i].server, &hint) : -1;

        if (k >= 0)
            keep_idle(view, i, fresh, (uint32_t)k);
    }
    close_idle(view);
    gateway_http2_follow(view, set);
    if (before->balancer != set->balancer || !set->balancer->follow)
        return;
    if (old->regular && new->regular)
        set->balancer->follow(new->regular, old->regular);
    if (old->backup && new->backup)
        set->balancer->follow(new->backup, old->backup);
}

/* What was made for the new set takes the place of what the view has; the rest goes with `fresh`. */
static void refresh(struct gateway_view *view, struct gateway_view *fresh)
{
    struct gateway_view old = *view;

    follow(view, fresh);
    view->set = fresh->set;
    view->usable = fresh->usable;
    view->idle = fresh->idle;
    view->idle_count = fresh->idle_count;
    fresh->set = old.set;
    fresh->usable = old.usable;
    fresh->idle = old.idle;
    fresh->idle_count = old.idle_count;
}

static void take_views(struct gateway_worker *worker, struct gateway_takeover *takeover)
{
    struct gateway_generation *generation = takeover->generation;

    for (uint32_t i = 0; i < generation->plan->upstream_count; i++) {
        struct gateway_view *fresh = takeover->fresh[i], *view = find_view(worker, fresh->upstream);

        if (view) {
            if (view->set != fresh->set)
                refresh(view, fresh);
            free_view(fresh);
        } else {
            view = fresh;
            view->next = worker->views;
            worker->views = view;
        }
        takeover->fresh[i] = NULL;
        view->generations++;
        generation->views[i] = view;
    }
}

static const struct gateway_listener *find_listener(const struct gateway_plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->listener_count; i++)
        if (hf_slice_is(plan->listeners[i].name, name))
            return &plan->listeners[i];
    return NULL;
}

/* What is under way lets go of what the plan has replaced. */
static void follow_plan(struct gateway_worker *worker)
{
    for (struct gateway_port *port = worker->ports; port; port = port->next) {
        gateway_stream_follow(port);
        if (port->udp)
            gateway_udp_follow(port->udp);
    }
}

/* A port whose address is another one now is a listener that went, and one that came. */
static void take_ports(struct gateway_worker *worker, struct gateway_takeover *takeover)
{
    const struct gateway_plan *plan = takeover->generation->plan;

    for (struct gateway_port *port = worker->ports; port; port = port->next) {
        const struct gateway_listener *listener = port->listener ? find_listener(plan, port->name) : NULL;
        int is_replaced = listener && takeover->ports[listener - plan->listeners];

        port->listener = is_replaced ? NULL : listener;
        if (!port->listener) {
            stop_listening(port);
            drain_clients(port);
            worker->has_unused = 1;
        }
    }
    for (uint32_t i = 0; i < plan->listener_count; i++) {
        struct gateway_port *port = takeover->ports[i];

        if (!port)
            continue;
        port->listener = &plan->listeners[i];
        port->next = worker->ports;
        worker->ports = port;
        takeover->ports[i] = NULL;
        if (worker->loops->watch_create(worker->loop, port->fd, HF_WATCH_READ,
                                        port->udp ? gateway_udp_receive : accept_clients, port, &port->watch,
                                        NULL) != HF_OK)
            abort(); /* no memory for an event: a listener that nobody hears */
    }
}

static void take_over(hf_task *task)
{
    struct gateway_takeover *takeover = (struct gateway_takeover *)task;
    struct gateway_worker *worker = takeover->worker;
    struct gateway_generation *generation = takeover->generation;

    if (!worker->tick && worker->loops->timer_create(worker->loop, tick, worker, &worker->tick, NULL) != HF_OK)
        abort(); /* no memory at the start: no time-out would ever come */
    take_views(worker, takeover);
    take_ports(worker, takeover);
    generation->next = worker->generations;
    worker->generations = worker->generation = generation;
    follow_plan(worker);
    worker->has_unused = 1;
    takeover->generation = NULL;
    gateway_worker_settle(worker);
    takeover->done(takeover);
}

void gateway_takeover_post(struct gateway_takeover *takeover, void (*done)(struct gateway_takeover *takeover),
                           void *arg)
{
    takeover->done = done;
    takeover->arg = arg;
    takeover->task.run = take_over;
    takeover->worker->loops->post(takeover->worker->loop, &takeover->task);
}

/* ---- Taking over a set of servers -------------------------------------------------------------------------------- */

int32_t gateway_set_takeover_create(struct gateway_worker *worker, struct gateway_server_set *set,
                                    struct gateway_set_takeover **ret_takeover, hf_error *error)
{
    struct gateway_set_takeover *takeover = calloc(1, sizeof *takeover);

    if (takeover)
        takeover->fresh = create_view(worker, set);
    if (!takeover || !takeover->fresh) {
        free(takeover);
        return hf_error_set(error, HF_ENOMEM, "no memory for another set of servers");
    }
    takeover->worker = worker;
    *ret_takeover = takeover;
    return HF_OK;
}

void gateway_set_takeover_destroy(struct gateway_set_takeover *takeover)
{
    if (takeover)
        free_view(takeover->fresh);
    free(takeover);
}

static void take_set(hf_task *task)
{
    struct gateway_set_takeover *takeover = (struct gateway_set_takeover *)task;
    struct gateway_worker *worker = takeover->worker;
    struct gateway_view *view = find_view(worker, takeover->fresh->upstream);

    if (view) {
        refresh(view, takeover->fresh);
        worker->has_room |= view->queued > 0;
    }
    free_view(takeover->fresh);
    takeover->fresh = NULL;
    gateway_worker_settle(worker);
    takeover->done(takeover);
}

void gateway_set_takeover_post(struct gateway_set_takeover *takeover,
                               void (*done)(struct gateway_set_takeover *takeover), void *arg)
{
    takeover->done = done;
    takeover->arg = arg;
    takeover->task.run = take_set;
    takeover->worker->loops->post(takeover->worker->loop, &takeover->task);
}

/* ---- Life
 * --------------------------------------------------------------------------------------------------------------- */

int32_t gateway_worker_create(const hf_host *host, const hf_loop_interface *loops, const hf_node_interface *node,
                              uint32_t index, struct gateway_worker **ret_worker, hf_error *error)
{
    struct gateway_worker *worker = calloc(1, sizeof *worker);

    if (!worker)
        return hf_error_set(error, HF_ENOMEM, "no memory for a worker of the gateway");
    worker->host = host;
    worker->loops = loops;
    worker->node = node;
    worker->index = index;
    worker->loop = loops->worker(host, index);
    node->random(host, worker->random.state, sizeof worker->random.state);
    worker->random.state[0] |= 1; /* not all zero, however small the chance */
    hf_buffer_init(&worker->gather.head, GATEWAY_HEAD_OUT_MAX);
    gateway_wheel_init(&worker->wheel, 0);
    int32_t code = gateway_tls_worker_create(loops, worker->loop, index, &worker->tls, error);
    if (code != HF_OK) {
        gateway_worker_destroy(worker);
        return code;
    }
    *ret_worker = worker;
    return HF_OK;
}

static void free_spare(struct gateway_worker *worker)
{
    while (worker->spare_blocks) {
        struct gateway_block *block = worker->spare_blocks;

        worker->spare_blocks = block->next;
        free(block);
    }
    while (worker->spare_exchanges) {
        struct gateway_exchange *exchange = worker->spare_exchanges;

        worker->spare_exchanges = exchange->next;
        hf_arena_done(&exchange->arena);
        hf_buffer_done(&exchange->out);
        hf_buffer_done(&exchange->body);
        free(exchange);
    }
}

void gateway_worker_destroy(struct gateway_worker *worker)
{
    if (!worker)
        return;
    free_spare(worker);
    gateway_split_release(worker->split.split);
    gateway_tls_worker_destroy(worker->tls);
    gateway_http2_release(worker);
    gateway_outflows_destroy(worker);
    gateway_caching_release(worker);
    gateway_pipes_done(&worker->pipes);
    hf_buffer_done(&worker->gather.head);
    free(worker);
}

void gateway_worker_drain(struct gateway_worker *worker, void (*drained)(void *arg), void *arg)
{
    worker->is_draining = 1;
    worker->drained = drained;
    worker->drained_arg = arg;
    for (struct gateway_port *port = worker->ports; port; port = port->next) {
        stop_listening(port);
        drain_clients(port);
    }
    for (struct gateway_view *view = worker->views; view; view = view->next) {
        close_idle(view);
        gateway_http2_follow(view, NULL);
    }
    gateway_worker_settle(worker);
}

void gateway_worker_close(struct gateway_worker *worker)
{
    gateway_worker_drain(worker, NULL, NULL);
    for (struct gateway_port *port = worker->ports; port; port = port->next) {
        port->listener = NULL;
        while (port->clients)
            gateway_client_destroy(port->clients);
        while (port->streams)
            gateway_stream_destroy(port->streams);
    }
    gateway_refreshes_close(worker);
    worker->generation = NULL;
    worker->has_unused = 1;
    gateway_worker_settle(worker);
    worker->loops->timer_destroy(worker->tick);
    worker->tick = NULL;
    gateway_outflows_stop(worker);
}
