#include "service/servers.h"

#include "service/follow.h"
#include "service/private.h"

#include <holdfast/lib/error.h>
#include <holdfast/lib/value.h>

#include <stdlib.h>
#include <string.h>

/* One change on its way to all workers. */
struct change {
    struct gateway *gateway;
    struct gateway_set_takeover **takeovers; /* by worker */
    uint32_t worker_count;
    atomic_uint workers_left;
    hf_task done_task;
};

static void drop(struct change *change)
{
    for (uint32_t i = 0; change->takeovers && i < change->worker_count; i++)
        gateway_set_takeover_destroy(change->takeovers[i]);
    free(change->takeovers);
    free(change);
}

/* ---- Taking it over ---------------------------------------------------------------------------------------------- */

static void change_done(hf_task *task)
{
    struct change *change = (struct change *)((char *)task - offsetof(struct change, done_task));

    change->gateway->steps_left--;
    drop(change);
}

static void worker_done(struct gateway_set_takeover *takeover)
{
    struct change *change = takeover->arg;
    struct gateway *gateway = change->gateway;

    if (atomic_fetch_sub_explicit(&change->workers_left, 1, memory_order_acq_rel) == 1)
        gateway->loops->post(gateway->loops->main_loop(gateway->host), &change->done_task);
}

static int32_t prepare(struct gateway *gateway, struct gateway_server_set *set, struct change **ret_change,
                       hf_error *error)
{
    struct change *change = calloc(1, sizeof *change);
    int32_t code = HF_OK;

    if (change)
        change->takeovers = calloc(gateway->worker_count, sizeof(struct gateway_set_takeover *));
    if (!change || !change->takeovers) {
        free(change);
        return hf_error_set(error, HF_ENOMEM, "no memory for another set of servers");
    }
    change->gateway = gateway;
    change->worker_count = gateway->worker_count;
    for (uint32_t i = 0; i < gateway->worker_count && code == HF_OK; i++)
        code = gateway_set_takeover_create(gateway->workers[i], set, &change->takeovers[i], error);
    if (code == HF_OK)
        *ret_change = change;
    else
        drop(change);
    return code;
}

/* Workers read nothing of a plan's set, so that this one member of it may change. */
static void post(struct change *change, struct gateway_plan_upstream *upstream, struct gateway_server_set *set)
{
    struct gateway *gateway = change->gateway;
    struct gateway_server_set *before = upstream->set;

    upstream->set = set;
    gateway_server_set_publish(set);
    atomic_init(&change->workers_left, gateway->worker_count);
    change->done_task.run = change_done;
    gateway->steps_left++;
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        gateway_set_takeover_post(change->takeovers[i], worker_done, change);
    gateway_follow_set(gateway, before, set);
    gateway_server_set_release(before);
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

static struct gateway_plan_upstream *find(struct gateway *gateway, const char *name)
{
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++)
        if (strcmp(gateway->plan->upstreams[i].upstream->name, name) == 0)
            return &gateway->plan->upstreams[i];
    return NULL;
}

const struct gateway_upstream_options *gateway_upstream_options_of(const struct gateway *gateway, const char *name)
{
    const struct gateway_upstream_options *upstreams = gateway->options->upstreams.items;

    for (uint64_t i = 0; i < gateway->options->upstreams.count; i++)
        if (strcmp(upstreams[i].name, name) == 0)
            return &upstreams[i];
    return NULL;
}

static int32_t take(struct gateway *gateway, struct gateway_plan_upstream *upstream,
                    const struct gateway_server_list *servers, hf_error *error)
{
    struct gateway_build build = gateway_build_with(gateway);
    struct gateway_server_set *set = NULL;
    struct change *change = NULL;
    int32_t code =
        gateway_server_set_build(&build, upstream->upstream,
                                 gateway_upstream_options_of(gateway, upstream->upstream->name), servers, &set, error);

    if (code != HF_OK)
        return code;
    code = prepare(gateway, set, &change, error);
    if (code == HF_OK)
        post(change, upstream, set);
    else
        gateway_server_set_release(set);
    return code;
}

static int32_t can_change(struct gateway *gateway, const struct gateway_plan_upstream *upstream, const char *name,
                          hf_error *error)
{
    if (!gateway->plan)
        return hf_error_set(error, HF_ESTATE, "the gateway has not begun yet");
    if (!upstream)
        return hf_error_set(error, HF_ENOTFOUND, "there is no upstream '%s'", name);
    if (gateway->prepared)
        return hf_error_set(error, HF_EBUSY, "the configuration is being changed; try again");
    return HF_OK;
}

int32_t gateway_servers_change(struct gateway *gateway, const char *name, gateway_servers_edit edit, void *arg,
                               hf_error *error)
{
    struct gateway_plan_upstream *upstream = find(gateway, name);
    struct gateway_server_list servers = {0};
    int32_t code = can_change(gateway, upstream, name, error);

    if (code == HF_OK)
        code = gateway_server_list_copy(&servers, &upstream->set->servers, error);
    if (code == HF_OK)
        code = edit(arg, &servers, error);
    if (code == HF_OK && servers.count == 0)
        code = hf_error_set(error, HF_EINVAL, "the upstream '%s' would have no server; drain it instead", name);
    servers.is_changed = 1;
    if (code == HF_OK)
        code = take(gateway, upstream, &servers, error);
    if (code == HF_OK)
        gateway_follow_names(gateway);
    gateway_server_list_done(&servers);
    return code;
}

int32_t gateway_servers_renew(struct gateway *gateway, struct gateway_upstream *changed, hf_error *error)
{
    struct gateway_plan_upstream *upstream = find(gateway, changed->name);
    int32_t code = can_change(gateway, upstream, changed->name, error);

    return code == HF_OK ? take(gateway, upstream, &upstream->set->servers, error) : code;
}
