/* caching.h: requests of routes that have a cache: whether a stored answer is given, who fetches and who waits, what is
 * stored of what comes, and what is given when servers fail.  An exchange without `caching` has nothing to do with it.
 * [loop] */
#ifndef GATEWAY_CACHING_H
#define GATEWAY_CACHING_H

#include "proxy/private.h"

/* A request of a route with a cache, for whose answer this upstream would be asked.  1: it was answered, or waits; else
 * it goes on, perhaps with other edits. */
int32_t gateway_caching_begin(struct gateway_exchange *exchange, uint32_t upstream);

/* ---- Of an exchange that has `caching` --------------------------------------------------------------------------- */

/* What becomes of a final answer of a server. */
enum {
    GATEWAY_CACHING_PASSES,    /* it goes to the client, and perhaps into the cache, too */
    GATEWAY_CACHING_VALIDATES, /* what is stored is still right, and is given once the answer is complete */
    GATEWAY_CACHING_REPLACES   /* what is stored is given in its place: gateway_caching_stale */
};
int32_t gateway_caching_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes);

/* A piece of a body; it is complete.  1: the client was answered here. */
void gateway_caching_body(struct gateway_exchange *exchange, hf_slice piece);
int32_t gateway_caching_answered(struct gateway_exchange *exchange);

/* No server answers as it should.  1: what is stored was given in place of an error. */
int32_t gateway_caching_stale(struct gateway_exchange *exchange);

/* Another upstream is asked: its answers are not those of the cache, and know nothing of what is stored. */
void gateway_caching_give_up(struct gateway_exchange *exchange);

/* The exchange is over; and is freed. */
void gateway_caching_over(struct gateway_exchange *exchange);
void gateway_caching_free(struct gateway_exchange *exchange);

/* ---- Of the worker ----------------------------------------------------------------------------------------------- */

/* Ends what fetches for nobody; frees what is left. */
void gateway_refreshes_close(struct gateway_worker *worker);
void gateway_caching_release(struct gateway_worker *worker);

#endif
