/* Exponential back-off; see backoff.h. */
#include "backoff.h"

uint64_t hf_backoff_next_us(hf_backoff *backoff, uint64_t lived_us)
{
    if (lived_us >= backoff->healthy_us) {
        backoff->early_deaths = 0;
        return 0;
    }

    uint64_t wait_us = backoff->least_us;
    for (uint32_t i = 0; i < backoff->early_deaths && wait_us < backoff->most_us; i++)
        wait_us *= 2;
    backoff->early_deaths++;
    return wait_us < backoff->most_us ? wait_us : backoff->most_us;
}
