/* watch.h: when free space is low, and when it is so no more.  Pure; one thread. */
#ifndef THRESHOLD_WATCH_H
#define THRESHOLD_WATCH_H

#include <stdint.h>

enum { THRESHOLD_OK = 0, THRESHOLD_LOW = 1, THRESHOLD_CRITICAL = 2 };

struct threshold_limits {
    double low, critical, clear; /* percent free */
    uint32_t samples;            /* in a row, before anything changes */
};

struct threshold_watch {
    int32_t state; /* THRESHOLD_... */
    int32_t seen;  /* what the last samples said */
    uint32_t count;
};

/* Takes a sample; returns 1 when the state has changed.  Below `critical` it is critical, below `low` low; it is over
 * only above `clear`, so that a value at the border does not flap. */
int32_t threshold_sample(struct threshold_watch *watch, const struct threshold_limits *limits, double free_percent);

#endif
