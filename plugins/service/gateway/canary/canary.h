/* canary.h: a new release gets a small share of the users, then larger ones, as long as it is not worse than the stable
 * version; when it is, it gets none.
 *
 * Two shares are compared in each step: of requests that failed, and of requests that were slow.  The test is
 * sequential: it may be asked after every request, and the probability that it ever errs is still at most what was
 * allowed (Johari, Koomen, Pekelis, Walsh, "Always Valid
 * Inference: Continuous Monitoring of A/B Tests", Operations Research 70(3), 2022: a mixture sequential probability
 * ratio test, with normal approximation).  Each step counts anew, since the stable version's own rates change with the
 * time of day, and sums over steps of different shares would take that for a difference.
 *
 * The state is the caller's, on one thread or under the caller's lock.  Times are monotonic microseconds and never go
 * back.  Pure. */
#ifndef GATEWAY_CANARY_H
#define GATEWAY_CANARY_H

#include <holdfast/holdfast.h>

enum { GATEWAY_CANARY_STEPS_MAX = 16, GATEWAY_CANARY_WHOLE = 10000 /* all users, in hundredths of a per cent */ };
enum { GATEWAY_STABLE, GATEWAY_CANARY, GATEWAY_VERSIONS };
enum { GATEWAY_CANARY_RUNNING, GATEWAY_CANARY_PROMOTED /* all users have it */, GATEWAY_CANARY_ROLLED_BACK /* none */ };
enum { GATEWAY_MEASURE_FAILED, GATEWAY_MEASURE_SLOW, GATEWAY_MEASURES };

struct gateway_canary_rules {
    /* Shares, growing, 1..GATEWAY_CANARY_WHOLE - 1: with all users there is nothing left to compare with, so that comes
     * after the last step. */
    uint32_t steps[GATEWAY_CANARY_STEPS_MAX];
    uint32_t step_count;       /* >= 1 */
    uint32_t requests_minimum; /* of the release, before a step ends well */
    uint64_t step_us;          /* that a step lasts at least before it ends well */
    /* By how much the release's share of failed, or slow, requests may be higher than the stable version's: 0.005 is
     * half a per cent.  A step ends well once the release is shown to be within it, and badly once it is shown not to
     * be; that takes the longer the smaller it is.  Above 0. */
    double margins[GATEWAY_MEASURES];
    /* Probability that a release within the margins is rolled back, in all steps together, and likewise that one
     * outside is promoted; between 0 and 1. */
    double error;
};

struct gateway_canary_count {
    uint64_t requests;
    uint64_t counts[GATEWAY_MEASURES];
};

struct gateway_canary {
    int32_t state; /* GATEWAY_CANARY_... */
    uint32_t step;
    uint64_t step_began_us;
    uint32_t salt;
    struct gateway_canary_count versions[GATEWAY_VERSIONS]; /* in this step */
};

/* By how much the release's share is higher than the stable version's: as counted, and within which bounds the truth
 * is. */
struct gateway_canary_finding {
    double difference, lowest, highest;
};

/* The first step begins.  `salt` differs from release to release, so that it is not always the same users who try. */
void gateway_canary_init(struct gateway_canary *canary, uint32_t salt, uint64_t now_us);

/* The version that a user gets; `user` is a hash whose bits are spread evenly.  Whoever has the release keeps it while
 * the steps grow. */
int32_t gateway_canary_version(const struct gateway_canary *canary, const struct gateway_canary_rules *rules,
                               uint64_t user);

/* A request of a version has ended.  Requests that began in an earlier step count in this one: they were served by the
 * same version. */
void gateway_canary_request(struct gateway_canary *canary, int32_t version, int32_t failed, int32_t slow);

/* What the counts say of a measure, by now. */
struct gateway_canary_finding gateway_canary_find(const struct gateway_canary *canary,
                                                  const struct gateway_canary_rules *rules, int32_t measure);

/* Goes to the next step, to the end, or back, if it is time.  Returns 1 when `step` or `state` has changed;
 * *ret_measure (may be NULL) is what a release was rolled back for. */
int32_t gateway_canary_advance(struct gateway_canary *canary, const struct gateway_canary_rules *rules, uint64_t now_us,
                               int32_t *ret_measure);

#endif
