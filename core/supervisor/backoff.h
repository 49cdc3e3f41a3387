/* backoff.h: how long to wait before a process that ended is started again.  Pure: time comes in as an argument. */
#ifndef HOLDFAST_CORE_SUPERVISOR_BACKOFF_H
#define HOLDFAST_CORE_SUPERVISOR_BACKOFF_H

#include <stdint.h>

typedef struct hf_backoff {
    uint64_t least_us; /* the wait after a first death that came early */
    uint64_t most_us;
    uint64_t healthy_us;   /* who ran this long has recovered: the next death counts as the first */
    uint32_t early_deaths; /* in a row; starts at 0 */
} hf_backoff;

/* Notes a death after `lived_us` and returns the wait: none after a healthy life, then doubling from least to most. */
uint64_t hf_backoff_next_us(hf_backoff *backoff, uint64_t lived_us);

#endif
