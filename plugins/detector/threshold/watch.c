#include "watch.h"

static int32_t judge(const struct threshold_watch *watch, const struct threshold_limits *limits, double free_percent)
{
    if (free_percent < limits->critical)
        return THRESHOLD_CRITICAL;
    if (free_percent < limits->low || (watch->state != THRESHOLD_OK && free_percent < limits->clear))
        return THRESHOLD_LOW;
    return THRESHOLD_OK;
}

int32_t threshold_sample(struct threshold_watch *watch, const struct threshold_limits *limits, double free_percent)
{
    int32_t now = judge(watch, limits, free_percent);

    if (now == watch->state) {
        watch->count = 0;
        return 0;
    }
    watch->count = now == watch->seen ? watch->count + 1 : 1;
    watch->seen = now;
    if (watch->count < limits->samples)
        return 0;
    watch->state = now;
    watch->count = 0;
    return 1;
}
