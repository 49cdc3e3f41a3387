/* latency.h: what is known of a server's latency, and what it is taken for after a silence.  Pure; one thread. */
#ifndef PEAK_EWMA_LATENCY_H
#define PEAK_EWMA_LATENCY_H

#include <stdint.h>

/* Zeroes: nothing was heard. */
struct latency {
    double peak_us; /* when it was heard last */
    uint64_t heard_us;
    int32_t heard;
};

struct latency_rules {
    double decay_us; /* in which a peak falls to 1/e */
    double failure_us;
};

/* An answer.  One above the average is taken at once, one below it pulls the average down by how much time has passed.
 *
 * A failure is taken for an answer of failure_us, but as a plain average takes it: a server of which a part f of the
 * requests fail comes to its latency and f times failure_us, so that a rare failure costs a server little, a server
 * that refuses quickly attracts nobody, and a failure after a long wait counts as the wait that it was. */
void latency_heard(struct latency *latency, const struct latency_rules *rules, uint64_t latency_us, int32_t failed,
                   uint64_t now_us);

/* What a request is expected to take now.  Without news a peak is forgotten as fast as good news would make it, so that
 * a server that was slow is tried again; but only down to half of `typical_us`, what servers of this pool are usually
 * taken for: else the longest silent server, perhaps one that hangs or was away, would look best by far and be
 * flooded.  Of one that was never heard that is all that is known. */
double latency_expected(const struct latency *latency, const struct latency_rules *rules, double typical_us,
                        uint64_t now_us);

#endif
