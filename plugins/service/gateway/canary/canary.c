#include "canary/canary.h"

#include <holdfast/lib/hash.h>

#include <math.h>
#include <string.h>

/* The differences that are expected, as the standard deviation of the mixture: one of ten per cent is found soonest,
 * after some tens of requests; small ones take a quarter more of them than if they alone were looked for. */
static const double mixture_deviation = 0.1;

static void begin_step(struct gateway_canary *canary, uint32_t step, uint64_t now_us)
{
    canary->step = step;
    canary->step_began_us = now_us;
    memset(canary->versions, 0, sizeof canary->versions);
}

void gateway_canary_init(struct gateway_canary *canary, uint32_t salt, uint64_t now_us)
{
    *canary = (struct gateway_canary){.state = GATEWAY_CANARY_RUNNING, .salt = salt};
    begin_step(canary, 0, now_us);
}

int32_t gateway_canary_version(const struct gateway_canary *canary, const struct gateway_canary_rules *rules,
                               uint64_t user)
{
    if (canary->state != GATEWAY_CANARY_RUNNING)
        return canary->state == GATEWAY_CANARY_PROMOTED ? GATEWAY_CANARY : GATEWAY_STABLE;
    uint64_t place = hf_hash64(canary->salt, &user, sizeof user) % GATEWAY_CANARY_WHOLE;

    return place < rules->steps[canary->step] ? GATEWAY_CANARY : GATEWAY_STABLE;
}

void gateway_canary_request(struct gateway_canary *canary, int32_t version, int32_t failed, int32_t slow)
{
    struct gateway_canary_count *count = &canary->versions[version];

    count->requests++;
    count->counts[GATEWAY_MEASURE_FAILED] += failed != 0;
    count->counts[GATEWAY_MEASURE_SLOW] += slow != 0;
}

/* Of a share that was counted; one success and one failure more keep it from being 0 while little is known. */
static double variance(const struct gateway_canary_count *count, int32_t measure)
{
    double n = (double)count->requests + 2, share = ((double)count->counts[measure] + 1) / n;

    return share * (1 - share) / n;
}

static double share(const struct gateway_canary_count *count, int32_t measure)
{
    return (double)count->counts[measure] / (double)count->requests;
}

/* With the information I = 1 / variance of the difference, and the mixture's own precision K, the truth is within
 * sqrt((I + K) / I^2 * ln((I + K) / (K error^2))) of what was counted, at all times, but for that error. */
struct gateway_canary_finding gateway_canary_find(const struct gateway_canary *canary,
                                                  const struct gateway_canary_rules *rules, int32_t measure)
{
    const struct gateway_canary_count *stable = &canary->versions[GATEWAY_STABLE];
    const struct gateway_canary_count *release = &canary->versions[GATEWAY_CANARY];

    if (!stable->requests || !release->requests)
        return (struct gateway_canary_finding){0, -1, 1};
    double error = rules->error / rules->step_count / GATEWAY_MEASURES;
    double information = 1 / (variance(stable, measure) + variance(release, measure));
    double precision = 1 / (mixture_deviation * mixture_deviation), sum = information + precision;
    double bound = sqrt(sum * log(sum / (precision * error * error))) / information;
    double difference = share(release, measure) - share(stable, measure);

    return (struct gateway_canary_finding){difference, difference - bound, difference + bound};
}

static int32_t is_long_enough(const struct gateway_canary *canary, const struct gateway_canary_rules *rules,
                              uint64_t now_us)
{
    return canary->versions[GATEWAY_CANARY].requests >= rules->requests_minimum &&
           now_us - canary->step_began_us >= rules->step_us;
}

int32_t gateway_canary_advance(struct gateway_canary *canary, const struct gateway_canary_rules *rules, uint64_t now_us,
                               int32_t *ret_measure)
{
    int32_t is_good = is_long_enough(canary, rules, now_us);

    if (canary->state != GATEWAY_CANARY_RUNNING)
        return 0;
    for (int32_t measure = 0; measure < GATEWAY_MEASURES; measure++) {
        struct gateway_canary_finding finding = gateway_canary_find(canary, rules, measure);

        if (finding.lowest > rules->margins[measure]) {
            canary->state = GATEWAY_CANARY_ROLLED_BACK;
            if (ret_measure)
                *ret_measure = measure;
            return 1;
        }
        is_good &= finding.highest < rules->margins[measure];
    }
    if (!is_good)
        return 0;
    if (canary->step + 1 < rules->step_count)
        begin_step(canary, canary->step + 1, now_us);
    else
        canary->state = GATEWAY_CANARY_PROMOTED;
    return 1;
}
