/* The words and the counting of failed requests are those that nginx's users know. */
#include "guard/server_health.h"

#include <string.h>

void gateway_health_init(struct gateway_health *health, int32_t is_unknown)
{
    memset(health, 0, sizeof *health);
    health->is_down = is_unknown;
}

static int is_away(const struct gateway_health *health, const struct gateway_health_rules *rules)
{
    return rules->fails_maximum && health->fails >= rules->fails_maximum;
}

int32_t gateway_health_is_usable(const struct gateway_health *health, const struct gateway_health_rules *rules,
                                 uint64_t now_us)
{
    if (health->is_down || health->is_draining)
        return 0;
    return !is_away(health, rules) || now_us - health->counted_us >= rules->fail_timeout_us;
}

void gateway_health_picked(struct gateway_health *health, const struct gateway_health_rules *rules, uint64_t now_us)
{
    if (now_us - health->counted_us >= rules->fail_timeout_us)
        health->counted_us = now_us; /* of one that is away, the next is not picked before this time is over, too */
}

void gateway_health_probed(struct gateway_health *health, uint64_t now_us)
{
    health->counted_us = now_us;
}

static void come_back(struct gateway_health *health, uint64_t now_us)
{
    health->fails = 0;
    health->back_us = now_us;
}

int32_t gateway_health_request(struct gateway_health *health, const struct gateway_health_rules *rules,
                               int32_t succeeded, uint64_t now_us)
{
    int was_away = is_away(health, rules);

    if (!succeeded) {
        health->fails++;
        health->failed_us = health->counted_us = now_us;
        return is_away(health, rules) != was_away;
    }
    /* What was sent before the failures says nothing about the time after them. */
    if (health->fails == 0 || health->failed_us >= health->counted_us)
        return 0;
    if (was_away)
        come_back(health, now_us);
    health->fails = 0;
    return was_away;
}

int32_t gateway_health_check(struct gateway_health *health, const struct gateway_health_rules *rules, int32_t succeeded,
                             uint64_t now_us)
{
    if ((succeeded != 0) == (health->is_down == 0)) { /* as was thought */
        health->streak = 0;
        return 0;
    }
    health->streak++;
    if (health->streak < (succeeded ? rules->rise : rules->fall))
        return 0;
    health->streak = 0;
    health->is_down = !succeeded;
    if (succeeded)
        come_back(health, now_us);
    return 1;
}

uint32_t gateway_health_weight(const struct gateway_health *health, const struct gateway_health_rules *rules,
                               uint32_t weight, uint64_t now_us)
{
    uint64_t back_us = now_us - health->back_us;

    if (!health->back_us || back_us >= rules->slow_start_us)
        return weight;
    uint32_t part = (uint32_t)(weight * back_us / rules->slow_start_us);

    return part > 0 ? part : 1;
}
