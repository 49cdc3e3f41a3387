#include "service/follow.h"

#include "service/private.h"
#include "service/servers.h"
#include "upstream/locate.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

/* ---- Names that have other addresses ----------------------------------------------------------------------------- */

/* The names of an upstream's servers, which counts as looking for them.  Returns how many have changed; `told`: now
 * they have not. */
static uint32_t look_for_names(struct gateway *gateway, const struct gateway_upstream_options *options,
                               const struct gateway_server_list *servers, int told)
{
    struct gateway_build build = gateway_build_with(gateway);
    struct gateway_location location;
    uint32_t changed = 0;

    for (uint32_t i = 0; i < servers->count; i++) {
        if (gateway_locate(&build, options, servers->items[i].address, &location, NULL) != HF_OK || !location.name)
            continue;
        struct gateway_name *name = (struct gateway_name *)(uintptr_t)location.name;
        changed += name->has_changed != 0;
        if (told)
            name->has_changed = 0;
    }
    return changed;
}

/* Two upstreams may have a name in common, so it counts as told only when all have been looked at. */
static void names_changed(void *arg)
{
    struct gateway *gateway = arg;
    struct gateway_plan *plan = gateway->plan;
    hf_error error = {0};

    if (!plan)
        return;
    if (gateway->prepared) { /* its sets have what was known before; once it is taken, or not, this is looked at */
        gateway->has_news = 1;
        return;
    }
    gateway->has_news = 0;
    for (uint32_t i = 0; i < plan->upstream_count; i++) {
        struct gateway_upstream *upstream = plan->upstreams[i].upstream;
        const struct gateway_upstream_options *options = gateway_upstream_options_of(gateway, upstream->name);

        if (look_for_names(gateway, options, &upstream->set->servers, 0) == 0)
            continue;
        if (gateway_servers_renew(gateway, upstream, &error) == HF_OK)
            continue;
        gateway->host->log(gateway->host, HF_LOG_ERROR, hf_slice_of(error.message));
        gateway->has_news = 1; /* again in a while, when there may be memory */
    }
    for (uint32_t i = 0; i < plan->upstream_count && !gateway->has_news; i++) {
        struct gateway_upstream *upstream = plan->upstreams[i].upstream;

        (void)look_for_names(gateway, gateway_upstream_options_of(gateway, upstream->name), &upstream->set->servers, 1);
    }
    gateway_follow_names(gateway);
}

void gateway_follow_names(struct gateway *gateway)
{
    const struct gateway_plan *plan = gateway->plan;

    for (uint32_t i = 0; i < plan->upstream_count; i++) {
        struct gateway_upstream *upstream = plan->upstreams[i].upstream;

        (void)look_for_names(gateway, gateway_upstream_options_of(gateway, upstream->name), &upstream->set->servers, 0);
    }
    if (!gateway->prepared) /* whose names would be gone */
        gateway_names_sweep(gateway->names);
    gateway_names_run(gateway->names);
}

/* ---- Sets -------------------------------------------------------------------------------------------------------- */

/* Servers that have moved: another begins anew. */
static void look_for_moves(const struct gateway_server_set *before, const struct gateway_server_set *set)
{
    uint32_t hint = 0;

    for (uint32_t i = 0; i < before->count; i++)
        for (uint32_t k = 0; k < set->count; k++) {
            uint32_t at = (hint + k) % set->count;

            if (set->places[at].server != before->places[i].server)
                continue;
            hint = at + 1;
            if (!gateway_addresses_meet(&before->places[i].addresses, &set->places[at].addresses))
                gateway_server_moved(set->places[at].server);
            break;
        }
}

void gateway_follow_set(struct gateway *gateway, struct gateway_server_set *before, struct gateway_server_set *set)
{
    if (before && set)
        look_for_moves(before, set);
    gateway_notices_follow(&gateway->notices, before, set);
    gateway_checker_follow(gateway->checker, set ? set->upstream : before->upstream, set);
}

static struct gateway_server_set *set_in(const struct gateway_plan *plan, const struct gateway_upstream *upstream)
{
    for (uint32_t i = 0; plan && i < plan->upstream_count; i++)
        if (plan->upstreams[i].upstream == upstream)
            return plan->upstreams[i].set;
    return NULL;
}

void gateway_follow_plan(struct gateway *gateway, const struct gateway_plan *before)
{
    const struct gateway_plan *plan = gateway->plan;

    for (uint32_t i = 0; before && i < before->upstream_count; i++)
        if (!set_in(plan, before->upstreams[i].upstream))
            gateway_follow_set(gateway, before->upstreams[i].set, NULL);
    for (uint32_t i = 0; i < plan->upstream_count; i++)
        gateway_follow_set(gateway, set_in(before, plan->upstreams[i].upstream), plan->upstreams[i].set);
    if (before && gateway_names_use(gateway->names, &gateway->options->resolvers, NULL) != HF_OK)
        gateway->host->log(gateway->host, HF_LOG_WARNING,
                           hf_slice_of("the resolvers' configuration cannot be read: those of before are asked"));
    gateway_follow_names(gateway);
}

void gateway_follow_moment(struct gateway *gateway, uint64_t now_us)
{
    for (uint32_t i = 0; gateway->plan && i < gateway->plan->upstream_count; i++) {
        struct gateway_server_set *set = gateway->plan->upstreams[i].set;

        gateway_server_set_recount(set);
        gateway_notices_look(&gateway->notices, set, now_us);
    }
    if (gateway->has_news && now_us >= gateway->news_us) {
        gateway->news_us = now_us + 1000000;
        names_changed(gateway);
    }
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int32_t gateway_follow_create(struct gateway *gateway, hf_error *error)
{
    int32_t code = gateway_notices_init(&gateway->notices, gateway->host, error);

    if (code == HF_OK)
        code = gateway_checker_create(gateway->host, gateway->loops, gateway->node, &gateway->checker, error);
    if (code == HF_OK)
        code = gateway_names_create(gateway->host, gateway->loops, &gateway->options->resolvers, names_changed, gateway,
                                    &gateway->names, error);
    return code;
}

void gateway_follow_destroy(struct gateway *gateway)
{
    gateway_checker_destroy(gateway->checker);
    gateway_names_destroy(gateway->names);
    gateway->checker = NULL;
    gateway->names = NULL;
}
