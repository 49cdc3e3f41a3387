#include "upstream/choose.h"

#include <string.h>

int32_t gateway_choice_is_keyed(const struct gateway_server_set *set)
{
    return (set->balancer->head.capabilities & HF_BALANCER_KEYED) != 0;
}

static void look(const struct gateway_choice *choice, uint64_t *bits)
{
    struct gateway_server_set *set = choice->set;
    uint64_t away[HF_BALANCER_SERVERS_MAX / 64];
    struct gateway_usable fresh = {.bits = bits, .away = away};

    if (!choice->usable) { /* what the worker keeps is by the places of another set */
        gateway_server_set_look(set, &fresh, choice->now_us);
        return;
    }
    gateway_server_set_look(set, choice->usable, choice->now_us);
    memcpy(bits, choice->usable->bits, (set->count + 63) / 64 * sizeof *bits);
}

static void usable_now(const struct gateway_choice *choice, uint64_t *bits, int32_t *ret_full)
{
    const struct gateway_server_set *set = choice->set;

    *ret_full = 0;
    look(choice, bits);
    for (uint32_t i = 0; i < (set->count + 63) / 64; i++)
        bits[i] &= ~choice->tried[i];
    for (uint32_t i = 0; set->has_maximum && i < set->count; i++)
        if (set->places[i].requests_maximum && bits[i / 64] >> i % 64 & 1 &&
            atomic_load_explicit(&set->places[i].server->in_flight, memory_order_relaxed) >=
                set->places[i].requests_maximum) {
            bits[i / 64] &= ~(UINT64_C(1) << i % 64);
            *ret_full = 1;
        }
}

static void shift(const uint64_t *bits, uint32_t by, uint32_t count, uint64_t *to)
{
    memset(to, 0, (count + 63) / 64 * sizeof *to);
    for (uint32_t i = 0; i < count; i++)
        to[i / 64] |= (bits[(i + by) / 64] >> (i + by) % 64 & 1) << i % 64;
}

static int32_t pick_from(const struct gateway_choice *choice, hf_balancer_pool *pool, const uint64_t *bits,
                         uint32_t first, uint32_t *ret_place)
{
    const struct gateway_server_set *set = choice->set;
    hf_balancer_request request = {.size = sizeof request,
                                   .has_key = choice->has_key,
                                   .key = choice->key,
                                   .now_us = choice->now_us,
                                   .usable = bits,
                                   .in_flight = (const uint32_t *)(const void *)(set->in_flight + first)};

    if (!pool || set->balancer->pick(pool, &request, ret_place) != HF_OK)
        return 0;
    *ret_place += first;
    return 1;
}

int32_t gateway_choose_from(const struct gateway_choice *choice, const uint64_t *bits, uint32_t *ret_place)
{
    const struct gateway_server_set *set = choice->set;
    const struct gateway_pools *pools = &set->pools[choice->worker];
    uint64_t shifted[HF_BALANCER_SERVERS_MAX / 64];

    if (pick_from(choice, pools->regular, bits, 0, ret_place))
        return 1;
    if (!pools->backup)
        return 0;
    shift(bits, set->backup_at, set->count - set->backup_at, shifted);
    return pick_from(choice, pools->backup, shifted, set->backup_at, ret_place);
}

int32_t gateway_choose(const struct gateway_choice *choice, uint32_t *ret_place, int32_t *ret_full)
{
    uint64_t bits[HF_BALANCER_SERVERS_MAX / 64];

    usable_now(choice, bits, ret_full);
    return gateway_choose_from(choice, bits, ret_place);
}

void gateway_choice_learn(const struct gateway_server_set *set, uint32_t worker, uint32_t place, int32_t outcome,
                          uint64_t picked_us, uint64_t now_us)
{
    const struct gateway_pools *pools = &set->pools[worker];
    hf_balancer_result result = {
        .size = sizeof result, .failed = outcome == GATEWAY_FAILED, .latency_us = now_us - picked_us, .now_us = now_us};

    if (!set->balancer->ended || outcome == GATEWAY_ABANDONED)
        return;
    if (place < set->backup_at)
        set->balancer->ended(pools->regular, place, &result);
    else
        set->balancer->ended(pools->backup, place - set->backup_at, &result);
}
