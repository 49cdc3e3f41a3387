/* caching_private.h: what caching.c and refresh.c share. */
#ifndef GATEWAY_CACHING_PRIVATE_H
#define GATEWAY_CACHING_PRIVATE_H

#include "proxy/caching.h"

struct gateway_refresh;

struct gateway_caching {
    struct gateway_cache_waiter waiter; /* first */
    hf_task task;                       /* it is woken */
    struct gateway_caching *next;       /* of those without an exchange whose task is on its way */
    struct gateway_worker *worker;
    struct gateway_exchange *exchange; /* NULL: gone */
    const struct gateway_plan_cache *of;
    struct gateway_cache *cache; /* held */
    struct gateway_cache_key key;
    struct gateway_cache_control wishes;
    uint32_t upstream;
    int32_t invalidates; /* the request does nothing else here */
    int32_t is_waiting;  /* for a flight; or its task is on its way */
    int32_t is_conditional;
    int32_t is_validated;
    int32_t was_counted;
    uint64_t began_us;
    struct gateway_deadline patience;
    uint64_t patient_until_us;            /* 0: it has not waited yet */
    struct gateway_stored *stored;        /* held; what was found, or is given */
    struct gateway_flight *flight;        /* that it leads */
    const struct gateway_edit *own_edits; /* of the request, without ours */
    uint32_t own_edit_count;
    hf_slice answer_bytes; /* the head of what is being stored */
    struct gateway_freshness freshness;
    struct gateway_body *filling;
    uint64_t reserved, expected;
    struct gateway_refresh *refresh; /* owned; that this exchange is of */
};

/* All bytes zero but what it is for; NULL: no memory. */
struct gateway_caching *gateway_caching_create(struct gateway_exchange *exchange, uint32_t upstream);

/* The server is asked with the conditions that what is stored has, and none of the client's. */
int32_t gateway_caching_condition(struct gateway_caching *caching);

/* Fetches what is stored anew, for nobody, unless somebody does already. */
void gateway_refresh_begin(struct gateway_caching *caching);
void gateway_refresh_free(struct gateway_refresh *refresh);

#endif
