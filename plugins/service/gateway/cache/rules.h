/* rules.h: what may be stored of answers, how long it is fresh, and when it may be used (RFC 9111, for a cache that
 * many share; RFC 5861).  Pure: the time is told. */
#ifndef GATEWAY_CACHE_RULES_H
#define GATEWAY_CACHE_RULES_H

#include "cache/control.h"

/* What the configuration says. */
struct gateway_cache_rules {
    uint64_t object_maximum;  /* bytes of a body */
    int64_t default_ttl_s;    /* of answers that say nothing of it; 0: they are not stored */
    int64_t stale_if_error_s; /* of answers that say nothing of it; likewise: */
    int64_t stale_while_revalidate_s;
};

/* What is known of a stored answer. */
struct gateway_freshness {
    int64_t lifetime_s;
    uint64_t initial_age_us; /* when it came */
    int64_t stale_if_error_s, stale_while_revalidate_s;
    int32_t validates;      /* always, before it is used */
    int32_t never_stale;    /* must not be used stale, whatever happens */
    int32_t is_strict;      /* is only used stale where it says itself, or the configuration, how long */
    int32_t for_authorized; /* may be used for requests with Authorization */
};

/* Whether a request looks for stored answers: GET and HEAD without a body, conditions that only a server can judge, a
 * range, or no-store. */
int32_t gateway_cache_looks(const hf_http1_head *request, const struct gateway_cache_control *wishes);

/* Whether its answer, if it is no error, makes stored ones invalid (RFC 9111, 4.4). */
int32_t gateway_cache_invalidates(hf_slice method);

/* Whether an answer may be stored, and what is known of it then.  `now_s`: of the calendar; `delay_us`: since the
 * request went out. */
int32_t gateway_cache_stores(const struct gateway_cache_rules *rules, const hf_http1_head *request,
                             const hf_http1_head *answer, int64_t now_s, uint64_t delay_us,
                             struct gateway_freshness *ret_freshness);

enum {
    GATEWAY_USE_FRESH,
    GATEWAY_USE_WANTED_STALE, /* by the client */
    GATEWAY_USE_REFRESH,      /* stale, while it is fetched anew */
    GATEWAY_USE_NOT           /* before it was validated */
};

/* Whether a stored answer of that age may be used for a request with these wishes. */
int32_t gateway_cache_use(const struct gateway_freshness *freshness, uint64_t age_us, const hf_http1_head *request,
                          const struct gateway_cache_control *wishes);

/* Whether it may be when servers fail. */
int32_t gateway_cache_use_on_error(const struct gateway_freshness *freshness, uint64_t age_us,
                                   const hf_http1_head *request);

/* Statuses that are failures of servers, for stale-if-error. */
int32_t gateway_cache_is_error(uint32_t status);

/* Whether the client has the answer already (If-None-Match, If-Modified-Since; RFC 9110, 13.2.2).  `etag` and
 * `last_modified` are the stored answer's, without data where it has none. */
int32_t gateway_cache_not_modified(const hf_http1_head *request, hf_slice etag, hf_slice last_modified, int64_t now_s);

#endif
