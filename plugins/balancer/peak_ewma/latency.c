#include "latency.h"

#include <math.h>

/* What is longer tells no more; and what is shorter would make loads count for nothing, as they are multiplied. */
enum { LONGEST_US = 60 * 1000000, SHORTEST_US = 1 };

/* The part of an average that is left after the time since it was heard. */
static double part_left(const struct latency *latency, const struct latency_rules *rules, uint64_t now_us)
{
    return now_us > latency->heard_us ? exp(-(double)(now_us - latency->heard_us) / rules->decay_us) : 1;
}

static double clamp(uint64_t latency_us)
{
    if (latency_us > LONGEST_US)
        return LONGEST_US;
    return latency_us < SHORTEST_US ? SHORTEST_US : (double)latency_us;
}

void latency_heard(struct latency *latency, const struct latency_rules *rules, uint64_t latency_us, int32_t failed,
                   uint64_t now_us)
{
    double waited = clamp(latency_us), cost = failed ? fmax(waited, rules->failure_us) : waited;
    double left = latency->heard ? part_left(latency, rules, now_us) : 0;

    latency->peak_us = fmax(waited, cost + (latency->peak_us - cost) * left);
    latency->heard_us = now_us > latency->heard_us ? now_us : latency->heard_us;
    latency->heard = 1;
}

double latency_expected(const struct latency *latency, const struct latency_rules *rules, double typical_us,
                        uint64_t now_us)
{
    if (!latency->heard)
        return fmax(typical_us, SHORTEST_US);
    return fmax(latency->peak_us * part_left(latency, rules, now_us), fmin(latency->peak_us, typical_us / 2));
}
