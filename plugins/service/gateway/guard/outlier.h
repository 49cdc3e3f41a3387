/* outlier.h: servers that fail more often than the others of their upstream get no requests for a while.  Where all
 * fail alike it is not they, and all stay.
 *
 * The state is the caller's, on one thread or under the caller's lock.  Times are monotonic microseconds and never go
 * back.  Pure. */
#ifndef GATEWAY_OUTLIER_H
#define GATEWAY_OUTLIER_H

#include <holdfast/holdfast.h>

struct gateway_outlier_rules {
    uint32_t requests_minimum; /* of a server since the last judgement; one with fewer is not judged */
    uint32_t margin_percent;   /* by how much more often than the others' its requests must fail, beside chance */
    uint32_t ejected_percent;  /* of the servers, that may be ejected at a time; one always stays */
    uint64_t eject_us;         /* how long the first time; as much longer every time it happens again soon, */
    uint64_t eject_maximum_us; /* up to this */
};

struct gateway_outlier {
    uint32_t requests, failed; /* since the last judgement */
    uint32_t ejections;        /* that happened soon one after the other */
    uint64_t until_us;         /* ejected until then */
};

void gateway_outlier_request(struct gateway_outlier *server, int32_t failed);

int32_t gateway_outlier_is_ejected(const struct gateway_outlier *server, uint64_t now_us);

/* Compares the servers of an upstream with each other, ejects the worst of those that stand out, and begins to count
 * anew; to be called every few seconds.  A server stands out when its share of failures is higher than that of all
 * others together by more than the margin, and by more than three standard deviations, which chance exceeds once in 700
 * times.  Takes as many passes over the servers as it ejects, and two.  Returns how many it has ejected now. */
uint32_t gateway_outlier_judge(struct gateway_outlier *servers, uint32_t count,
                               const struct gateway_outlier_rules *rules, uint64_t now_us);

#endif
