#include "plan/admission.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

static int32_t add_metrics(const hf_host *host, struct gateway_admission *admission, hf_error *error)
{
    static const char *const reasons[] = {[GATEWAY_OVER_RATE] = "rate", [GATEWAY_OVER_MAXIMUM] = "requests_maximum"};
    int32_t code = HF_OK;

    admission->metrics = (const hf_metrics_interface *)host->query(host, HF_METRICS_INTERFACE);
    for (int32_t i = 0; admission->metrics && i < GATEWAY_ADMISSION_REASONS && code == HF_OK; i++) {
        const char *labels[2][2] = {{"route", admission->route}, {"reason", reasons[i]}};

        code = admission->metrics->add(host, HF_METRIC_COUNTER, "holdfast_gateway_limited_total",
                                       "Requests that a route's limits have refused.", (const char *const(*)[2])labels,
                                       2, &admission->refused[i], error);
    }
    return code;
}

int32_t gateway_admission_create(const hf_host *host, const char *route, uint64_t seed,
                                 struct gateway_admission **ret_admission, hf_error *error)
{
    struct gateway_admission *admission = calloc(1, sizeof *admission);

    if (!admission)
        return hf_error_set(error, HF_ENOMEM, "no memory for the limits of a route");
    atomic_init(&admission->references, 1);
    admission->route = strdup(route);
    admission->limiter = gateway_limiter_create(seed);
    int32_t code = admission->route && admission->limiter
                       ? add_metrics(host, admission, error)
                       : hf_error_set(error, HF_ENOMEM, "no memory for the limits of a route");
    if (code != HF_OK) {
        gateway_admission_release(admission);
        return code;
    }
    *ret_admission = admission;
    return HF_OK;
}

void gateway_admission_hold(struct gateway_admission *admission)
{
    atomic_fetch_add_explicit(&admission->references, 1, memory_order_relaxed);
}

void gateway_admission_release(struct gateway_admission *admission)
{
    if (!admission || atomic_fetch_sub_explicit(&admission->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int32_t i = 0; admission->metrics && i < GATEWAY_ADMISSION_REASONS; i++)
        admission->metrics->remove(admission->refused[i]);
    gateway_limiter_destroy(admission->limiter);
    free(admission->route);
    free(admission);
}

int32_t gateway_admission_enter(struct gateway_admission *admission, uint32_t maximum)
{
    unsigned before = atomic_fetch_add_explicit(&admission->in_flight, 1, memory_order_relaxed);

    if (maximum == 0 || before < maximum)
        return 1;
    gateway_admission_leave(admission);
    return 0;
}

void gateway_admission_leave(struct gateway_admission *admission)
{
    atomic_fetch_sub_explicit(&admission->in_flight, 1, memory_order_relaxed);
}

void gateway_admission_count(const struct gateway_admission *admission, int32_t reason)
{
    if (admission->metrics)
        admission->metrics->increment(admission->refused[reason], 1);
}
