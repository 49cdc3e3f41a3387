/* admission.h: which requests a route lets in: so many a second for each key, so many at a time.  What is counted is
 * shared by all workers, and stays when the configuration changes. */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include "guard/limiter.h"

#include <holdfast/host/metrics.h>

#include <stdatomic.h>

/* Why a request is not let in. */
enum { GATEWAY_OVER_RATE, GATEWAY_OVER_MAXIMUM, GATEWAY_ADMISSION_REASONS };

struct gateway_admission {
    atomic_uint references;
    const hf_metrics_interface *metrics; /* NULL: the host has none */
    hf_metric *refused[GATEWAY_ADMISSION_REASONS];
    char *route; /* its name */
    atomic_uint in_flight;
    struct gateway_limiter *limiter;
};

/* HF_ENOMEM, or as the host's metrics say.  [main] */
int32_t gateway_admission_create(const hf_host *host, const char *route, uint64_t seed,
                                 struct gateway_admission **ret_admission, hf_error *error);
void gateway_admission_hold(struct gateway_admission *admission);
void gateway_admission_release(struct gateway_admission *admission); /* accepts NULL; [any] */

/* One request more, of at most `maximum` (0: any number).  0: there are as many already.  [any] */
int32_t gateway_admission_enter(struct gateway_admission *admission, uint32_t maximum);
void gateway_admission_leave(struct gateway_admission *admission);

void gateway_admission_count(const struct gateway_admission *admission, int32_t reason);

#endif
