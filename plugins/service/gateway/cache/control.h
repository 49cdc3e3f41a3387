/* control.h: what Cache-Control says, in requests and in answers (RFC 9111, 5.2; RFC 5861).  Pure. */
#ifndef GATEWAY_CACHE_CONTROL_H
#define GATEWAY_CACHE_CONTROL_H

#include <holdfast/lib/http1.h>

/* Bits. */
enum {
    GATEWAY_NO_STORE = 1,
    GATEWAY_NO_CACHE = 2,
    GATEWAY_PRIVATE = 4,
    GATEWAY_PUBLIC = 8,
    GATEWAY_MUST_REVALIDATE = 16,
    GATEWAY_PROXY_REVALIDATE = 32,
    GATEWAY_ONLY_IF_CACHED = 64,
    GATEWAY_ANY_STALE = 128 /* max-stale without a number */
};

/* A bit together with a list of fields ("private=\"x-a\"") counts as the bit alone, which is stricter. */
struct gateway_cache_control {
    uint32_t said;             /* bits */
    int64_t max_age, s_maxage; /* seconds; -1: not said; likewise: */
    int64_t stale_while_revalidate, stale_if_error;
    int64_t min_fresh, max_stale;
};

void gateway_cache_control_init(struct gateway_cache_control *control);

/* The value of one of the fields.  Where something is said twice the stricter counts; a number that is none is 0. */
void gateway_cache_control_add(struct gateway_cache_control *control, hf_slice value);

/* All of a head's; `Pragma: no-cache` counts in a request that has no Cache-Control. */
void gateway_cache_control_read(struct gateway_cache_control *control, const hf_http1_head *head);

/* The seconds that a number says, at most 2^31; -1: it is none. */
int64_t gateway_cache_seconds(hf_slice text);

#endif
