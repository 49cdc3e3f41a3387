/* private.h: the gateway of a process; [main] unless it says otherwise. */
#ifndef GATEWAY_SERVICE_PRIVATE_H
#define GATEWAY_SERVICE_PRIVATE_H

#include "checks/checker.h"
#include "checks/notices.h"
#include "policy/policy.h"
#include "release/desk.h"
#include "resolve/names.h"
#include "service/listeners.h"
#include "service/metrics.h"
#include "worker/worker.h"

struct gateway;

/* From one configuration to the next. */
struct gateway_step {
    struct gateway *gateway;
    struct gateway_plan *plan; /* the next; once it is taken, the one before */
    struct gateway_listeners listeners, before;
    struct gateway_takeover **takeovers; /* by worker */
    uint32_t worker_count;
    atomic_uint workers_left;
    hf_task done_task;
};

struct gateway_drain {
    hf_task task; /* first */
    struct gateway *gateway;
    struct gateway_worker *worker;
};

struct gateway {
    const struct gateway_options *options, *next_options; /* the present ones; those prepared */
    const hf_host *host;
    const hf_loop_interface *loops;
    const hf_node_interface *node;
    struct gateway_policies policies;
    struct gateway_desk desk;
    uint32_t worker_count;
    struct gateway_worker **workers;
    struct gateway_plan *first_plan; /* until the start */
    struct gateway_plan *plan;       /* the present one */
    uint32_t next_upstream_id;
    struct gateway_bin bin;
    struct gateway_tickets *tickets;
    struct gateway_meters meters;
    struct gateway_logs logs;
    struct gateway_metrics *metrics;
    struct gateway_admin *admin;
    hf_timer *timer; /* empties it, and compares servers */
    struct gateway_listeners listeners;
    struct gateway_step *prepared;
    uint32_t steps_left; /* that some worker has not taken yet; changes of servers are steps, too */

    struct gateway_notices notices;
    struct gateway_checker *checker;
    struct gateway_names *names;
    int32_t has_news; /* of names, that could not be told yet; */
    uint64_t news_us; /* when to try */

    struct gateway_drain *drains; /* by worker */
    atomic_uint undrained;        /* workers */
    hf_task drained_task;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* What the present configuration says of an upstream of the present plan. */
const struct gateway_upstream_options *gateway_upstream_options_of(const struct gateway *gateway, const char *name);

/* What sets of servers are made with, now. */
struct gateway_build gateway_build_with(struct gateway *gateway);

#endif
