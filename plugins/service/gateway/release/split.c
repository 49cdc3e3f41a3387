#include "release/split.h"

#include "proxy/private.h"

#include <stdlib.h>
#include <string.h>

void gateway_split_hold(struct gateway_split *split)
{
    atomic_fetch_add_explicit(&split->references, 1, memory_order_relaxed);
}

void gateway_split_release(struct gateway_split *split)
{
    if (!split || atomic_fetch_sub_explicit(&split->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < split->count; i++) {
        gateway_upstream_release(split->items[i].stable);
        gateway_upstream_release(split->items[i].canary);
    }
    free(split);
}

struct gateway_split *gateway_split_exchange(struct gateway_split_seat *seat, struct gateway_split *next,
                                             struct gateway_split_counts *ret_counts)
{
    struct gateway_split *before = seat->split;

    memcpy(ret_counts, seat->counts, sizeof seat->counts);
    memset(seat->counts, 0, sizeof seat->counts);
    for (uint32_t i = 0; next && i < next->count; i++)
        seat->counts[next->items[i].slot].id = next->items[i].id;
    seat->split = next;
    return before;
}

static const struct gateway_split_item *find(const struct gateway_split_seat *seat,
                                             const struct gateway_upstream *upstream)
{
    const struct gateway_split *split = seat->split;

    for (uint32_t i = 0; split && i < split->count; i++)
        if (split->items[i].stable == upstream)
            return &split->items[i];
    return NULL;
}

const struct gateway_key *gateway_split_key(const struct gateway_split_seat *seat,
                                            const struct gateway_upstream *upstream)
{
    const struct gateway_split_item *item = find(seat, upstream);

    return item ? &item->key : NULL;
}

/* Where a plan has the upstream; a request that began before a reload may not know it. */
static uint32_t place_of(const struct gateway_plan *plan, const struct gateway_upstream *upstream)
{
    for (uint32_t i = 0; i < plan->upstream_count; i++)
        if (plan->upstreams[i].upstream == upstream)
            return i;
    return GATEWAY_NO_UPSTREAM;
}

/* Who has no key is known by the address. */
static uint64_t user_of(struct gateway_exchange *exchange, const struct gateway_key *key)
{
    static const struct gateway_key client = {.of = GATEWAY_KEY_CLIENT};
    hf_slice none = {NULL, 0};
    uint64_t user = 0;

    if (!gateway_key_hash(key, &exchange->request, none, &exchange->arena, &user))
        (void)gateway_key_hash(&client, &exchange->request, none, &exchange->arena, &user);
    return user;
}

uint32_t gateway_split_choose(struct gateway_exchange *exchange, uint32_t upstream)
{
    const struct gateway_plan *plan = exchange->generation->plan;
    const struct gateway_split_seat *seat = &exchange->worker->split;
    const struct gateway_split_item *item = seat->split ? find(seat, plan->upstreams[upstream].upstream) : NULL;

    if (!item)
        return upstream;
    uint32_t canary = place_of(plan, item->canary);
    if (canary == GATEWAY_NO_UPSTREAM)
        return upstream;
    int32_t version = gateway_canary_version(&item->test, &item->rules, user_of(exchange, &item->key));
    exchange->split = (struct gateway_split_share){.release = item->test.state == GATEWAY_CANARY_RUNNING ? item->id : 0,
                                                   .slot = item->slot,
                                                   .version = version,
                                                   .slow_us = item->slow_us,
                                                   .began_us = gateway_worker_now(exchange->worker)};
    return version == GATEWAY_CANARY ? canary : upstream;
}

/* A try that failed counts, even if another server has helped.  Of a request that the client has given up nothing is
 * known but how long it took until then. */
void gateway_split_count(struct gateway_exchange *exchange)
{
    const struct gateway_split_share *share = &exchange->split;
    struct gateway_split_counts *counts = &exchange->worker->split.counts[share->slot];

    if (!share->release || counts->id != share->release)
        return;
    uint64_t until_us = share->head_us ? share->head_us : gateway_worker_now(exchange->worker);
    int failed = share->has_failed || exchange->last_status || exchange->status >= 500;
    int slow = share->slow_us && until_us - share->began_us > share->slow_us;
    struct gateway_canary_count *count = &counts->versions[share->version];

    if (exchange->status == 0 && !failed && !slow)
        return;
    count->requests++;
    count->counts[GATEWAY_MEASURE_FAILED] += (uint64_t)failed;
    count->counts[GATEWAY_MEASURE_SLOW] += (uint64_t)slow;
}
