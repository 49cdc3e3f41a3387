/* Life of the gateway: its workers, its configuration, and how one configuration follows another. */
#include "service/service.h"

#include "admin/admin.h"
#include "service/caches.h"
#include "service/follow.h"
#include "service/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { MOMENT_US = 100000 };

/* ---- Making a plan ready ----------------------------------------------------------------------------------------- */

static void drop_step(struct gateway_step *step)
{
    for (uint32_t i = 0; step->takeovers && i < step->worker_count; i++)
        gateway_takeover_destroy(step->takeovers[i]);
    free(step->takeovers);
    gateway_plan_release(step->plan);
    free(step);
}

static int32_t make_takeovers(struct gateway *gateway, struct gateway_step *step, hf_error *error)
{
    uint32_t count = step->plan->listener_count;
    int32_t *sockets = calloc(count + 1, sizeof *sockets), code = HF_OK;

    step->takeovers = calloc(gateway->worker_count, sizeof(struct gateway_takeover *));
    if (!sockets || !step->takeovers)
        code = hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");
    for (uint32_t i = 0; i < gateway->worker_count && code == HF_OK; i++) {
        for (uint32_t k = 0; k < count; k++)
            sockets[k] = gateway_listeners_new(&gateway->listeners, &step->listeners, k, i);
        code = gateway_takeover_create(gateway->workers[i], step->plan, sockets, &step->takeovers[i], error);
    }
    free(sockets);
    return code;
}

/* Of a step that is not taken. */
static void drop_listeners(struct gateway_step *step)
{
    gateway_listeners_share(&step->listeners, &step->gateway->listeners);
    gateway_listeners_drop(&step->listeners);
}

/* Everything that can fail, so that the rest cannot. */
static int32_t make_step(struct gateway *gateway, struct gateway_plan *plan, struct gateway_step **ret_step,
                         hf_error *error)
{
    struct gateway_step *step = calloc(1, sizeof *step);

    if (!step) {
        gateway_plan_release(plan);
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway's configuration");
    }
    step->gateway = gateway;
    step->plan = plan;
    step->worker_count = gateway->worker_count;
    int32_t code = gateway_listeners_open(&gateway->listeners, plan, &step->listeners, error);
    if (code == HF_OK) {
        code = make_takeovers(gateway, step, error);
        if (code != HF_OK)
            drop_listeners(step);
    }
    if (code != HF_OK) {
        drop_step(step);
        return code;
    }
    *ret_step = step;
    return HF_OK;
}

struct gateway_build gateway_build_with(struct gateway *gateway)
{
    return (struct gateway_build){.host = gateway->host,
                                  .node = gateway->node,
                                  .bin = &gateway->bin,
                                  .tickets = gateway->tickets,
                                  .meters = &gateway->meters,
                                  .logs = &gateway->logs,
                                  .worker_count = gateway->worker_count,
                                  .names = gateway->names,
                                  .now_us = gateway->loops->now_us(gateway->loops->main_loop(gateway->host))};
}

static int32_t make_plan(struct gateway *gateway, const struct gateway_options *options, struct gateway_plan **ret_plan,
                         hf_error *error)
{
    struct gateway_build build = gateway_build_with(gateway);

    return gateway_plan_create(&build, options, gateway->plan, &gateway->next_upstream_id, ret_plan, error);
}

/* ---- Taking a plan over ------------------------------------------------------------------------------------------ */

/* All workers have it: what only the one before had can go. */
static void step_done(hf_task *task)
{
    struct gateway_step *step = (struct gateway_step *)((char *)task - offsetof(struct gateway_step, done_task));

    gateway_listeners_drop(&step->before);
    step->gateway->steps_left--;
    drop_step(step);
}

static void worker_done(struct gateway_takeover *takeover)
{
    struct gateway_step *step = takeover->arg;
    struct gateway *gateway = step->gateway;

    if (atomic_fetch_sub_explicit(&step->workers_left, 1, memory_order_acq_rel) == 1)
        gateway->loops->post(gateway->loops->main_loop(gateway->host), &step->done_task);
}

static void take_step(struct gateway *gateway, struct gateway_step *step)
{
    struct gateway_plan *plan = step->plan;

    step->before = gateway->listeners;
    gateway->listeners = step->listeners;
    gateway_listeners_share(&step->before, &gateway->listeners);
    step->plan = gateway->plan; /* the one before, released when this is done */
    gateway->plan = plan;
    for (uint32_t i = 0; i < plan->upstream_count; i++)
        gateway_server_set_publish(plan->upstreams[i].set);
    gateway_follow_plan(gateway, step->plan);
    atomic_init(&step->workers_left, gateway->worker_count);
    step->done_task.run = step_done;
    gateway->steps_left++;
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        gateway_takeover_post(step->takeovers[i], worker_done, step);
    gateway_desk_plan(&gateway->desk, plan);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int32_t query(const hf_host *host, const char *name, const void **ret_table, hf_error *error)
{
    *ret_table = host->query(host, name);
    return *ret_table
               ? HF_OK
               : hf_error_set(error, HF_EUNSUPPORTED, "the host does not offer %s, which the gateway needs", name);
}

static int32_t query_host(struct gateway *gateway, hf_error *error)
{
    const void *loops = NULL, *node = NULL, *listen = NULL;
    int32_t code = query(gateway->host, HF_LOOP_INTERFACE, &loops, error);

    if (code == HF_OK)
        code = query(gateway->host, HF_NODE_INTERFACE, &node, error);
    if (code == HF_OK)
        code = query(gateway->host, HF_LISTEN_INTERFACE, &listen, error);
    gateway->loops = loops;
    gateway->node = node;
    gateway->listeners.host = gateway->host;
    gateway->listeners.listen = listen;
    return code;
}

static int32_t create_workers(struct gateway *gateway, hf_error *error)
{
    int32_t code = HF_OK;

    gateway->worker_count = gateway->loops->worker_count(gateway->host);
    gateway->listeners.worker_count = gateway->worker_count;
    gateway->meters.worker_count = gateway->worker_count;
    gateway_logs_init(&gateway->logs, gateway->host, gateway->loops, gateway->worker_count);
    gateway->workers = calloc(gateway->worker_count, sizeof(struct gateway_worker *));
    gateway->drains = calloc(gateway->worker_count, sizeof *gateway->drains);
    if (!gateway->workers || !gateway->drains)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway");
    for (uint32_t i = 0; i < gateway->worker_count && code == HF_OK; i++)
        code = gateway_worker_create(gateway->host, gateway->loops, gateway->node, i, &gateway->workers[i], error);
    for (uint32_t i = 0; i < gateway->worker_count && code == HF_OK; i++)
        gateway->workers[i]->policies = &gateway->policies;
    return code;
}

int32_t gateway_service_create(const hf_host *host, const void *configuration, void **ret_self, hf_error *error)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);

    if (!gateway)
        return hf_error_set(error, HF_ENOMEM, "no memory for the gateway");
    gateway->host = host;
    gateway->options = configuration;
    int32_t code = query_host(gateway, error);
    if (code == HF_OK)
        code = gateway_policies_declare(host, &gateway->policies, error);
    if (code == HF_OK)
        code = gateway_tickets_create(host, gateway->node, &gateway->tickets, error);
    if (code == HF_OK)
        code = gateway_follow_create(gateway, error);
    if (code == HF_OK)
        code = create_workers(gateway, error);
    if (code == HF_OK)
        code = gateway_metrics_create(gateway, &gateway->metrics, error);
    if (code == HF_OK)
        code = gateway_admin_create(gateway, &gateway->admin, error);
    if (code == HF_OK)
        code = gateway_desk_open(&gateway->desk, host, gateway->workers, gateway->worker_count, error);
    if (code == HF_OK)
        code = gateway_caches_open(gateway, error);
    if (code == HF_OK)
        code = make_plan(gateway, configuration, &gateway->first_plan, error);
    if (code != HF_OK) {
        gateway_service_destroy(gateway);
        return code;
    }
    *ret_self = gateway;
    return HF_OK;
}

void gateway_service_destroy(void *self)
{
    struct gateway *gateway = self;

    if (!gateway)
        return;
    gateway_desk_close(&gateway->desk);
    for (uint32_t i = 0; gateway->workers && i < gateway->worker_count; i++)
        gateway_worker_destroy(gateway->workers[i]);
    free(gateway->workers);
    free(gateway->drains);
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        gateway->plan->upstreams[i].upstream->set = NULL;
    gateway_plan_release(gateway->plan);
    gateway_plan_release(gateway->first_plan);
    gateway_follow_destroy(gateway);
    gateway_bin_empty(&gateway->bin);
    gateway_listeners_forget(&gateway->listeners);
    gateway_admin_destroy(gateway->admin);
    gateway_metrics_destroy(gateway->metrics);
    gateway_logs_close(&gateway->logs);
    gateway_bin_empty(&gateway->bin);
    gateway_meters_destroy(&gateway->meters);
    gateway_tickets_destroy(gateway->tickets);
    free(gateway);
}

/* Compares the servers of an upstream whose time has come. */
static void judge(struct gateway_upstream *upstream, uint64_t now_us)
{
    const struct gateway_server_set *set = upstream->set;

    if (set->has_outlier && now_us - upstream->judged_us >= set->outlier_interval_us) {
        upstream->judged_us = now_us;
        gateway_server_set_judge(upstream->set, now_us);
    }
}

/* Looks whether certificates have changed, and whether it is time for other keys of tickets. */
static void look_after_tls(struct gateway *gateway, uint64_t now_us)
{
    const struct gateway_plan *plan = gateway->plan;
    uint64_t lifetime_us = 0;

    for (uint32_t i = 0; i < plan->listener_count; i++) {
        struct gateway_tls_server *tls = plan->listeners[i].tls;
        if (!tls)
            continue;
        gateway_tls_server_look(tls, now_us);
        if (gateway_tls_server_lifetime(tls) > lifetime_us)
            lifetime_us = gateway_tls_server_lifetime(tls);
    }
    for (uint32_t i = 0; i < plan->upstream_count; i++)
        if (plan->upstreams[i].set->tls)
            gateway_tls_client_look(plan->upstreams[i].set->tls, now_us);
    if (lifetime_us)
        gateway_tickets_turn(gateway->tickets, lifetime_us, now_us);
}

static void every_moment(void *arg)
{
    struct gateway *gateway = arg;
    uint64_t now_us = gateway->loops->now_us(gateway->loops->main_loop(gateway->host));

    gateway_bin_empty(&gateway->bin);
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        judge(gateway->plan->upstreams[i].upstream, now_us);
    gateway_desk_tick(&gateway->desk);
    gateway_caches_show(gateway);
    if (gateway->plan)
        look_after_tls(gateway, now_us);
    gateway_follow_moment(gateway, now_us);
    gateway_logs_tend(&gateway->logs, now_us);
    gateway_metrics_tend(gateway->metrics, now_us);
}

int32_t gateway_service_start(void *self, hf_error *error)
{
    struct gateway *gateway = self;
    struct gateway_step *step = NULL;
    struct gateway_plan *plan = gateway->first_plan;

    gateway->first_plan = NULL;
    int32_t code = make_step(gateway, plan, &step, error);
    if (code == HF_OK)
        code = gateway->loops->timer_create(gateway->loops->main_loop(gateway->host), every_moment, gateway,
                                            &gateway->timer, error);
    if (code != HF_OK)
        return code; /* the process ends */
    gateway->loops->timer_start(gateway->timer, MOMENT_US, MOMENT_US);
    take_step(gateway, step);
    return HF_OK;
}

void gateway_service_health(void *self, hf_health *ret_health)
{
    const struct gateway *gateway = self;

    gateway_metrics_health(gateway->metrics, ret_health);
}

int32_t gateway_service_config_prepare(void *self, const void *configuration, hf_error *error)
{
    struct gateway *gateway = self;
    struct gateway_plan *plan = NULL;
    int32_t code = make_plan(gateway, configuration, &plan, error);

    gateway->next_options = configuration;
    return code == HF_OK ? make_step(gateway, plan, &gateway->prepared, error) : code;
}

void gateway_service_config_commit(void *self)
{
    struct gateway *gateway = self;
    struct gateway_step *step = gateway->prepared;

    gateway->prepared = NULL;
    gateway->options = gateway->next_options;
    gateway_logs_reopen(&gateway->logs); /* whoever rotates them may ask for a reload */
    take_step(gateway, step);
}

void gateway_service_config_abort(void *self)
{
    struct gateway *gateway = self;

    drop_listeners(gateway->prepared);
    drop_step(gateway->prepared);
    gateway->prepared = NULL;
}

/* ---- The end
 * --------------------------------------------------------------------------------------------------------- */

static void all_drained(hf_task *task)
{
    struct gateway *gateway = (struct gateway *)((char *)task - offsetof(struct gateway, drained_task));

    gateway_desk_flush(&gateway->desk, gateway->drained, gateway->drained_arg);
}

static void worker_drained(void *arg)
{
    struct gateway *gateway = arg;

    if (atomic_fetch_sub_explicit(&gateway->undrained, 1, memory_order_acq_rel) == 1)
        gateway->loops->post(gateway->loops->main_loop(gateway->host), &gateway->drained_task);
}

static void drain_worker(hf_task *task)
{
    struct gateway_drain *drain = (struct gateway_drain *)task;

    gateway_worker_drain(drain->worker, worker_drained, drain->gateway);
}

void gateway_service_drain(void *self, uint64_t deadline_us, void (*done)(void *arg), void *arg)
{
    struct gateway *gateway = self;

    (void)deadline_us; /* the host stops what takes longer */
    gateway->drained = done;
    gateway->drained_arg = arg;
    gateway->drained_task.run = all_drained;
    atomic_init(&gateway->undrained, gateway->worker_count);
    for (uint32_t i = 0; i < gateway->worker_count; i++) {
        gateway->drains[i] =
            (struct gateway_drain){.task.run = drain_worker, .gateway = gateway, .worker = gateway->workers[i]};
        gateway->loops->post(gateway->workers[i]->loop, &gateway->drains[i].task);
    }
}

void gateway_service_stop(void *self)
{
    struct gateway *gateway = self;

    gateway->loops->timer_destroy(gateway->timer);
    gateway->timer = NULL;
    gateway_follow_destroy(gateway);
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        gateway_worker_close(gateway->workers[i]);
}
