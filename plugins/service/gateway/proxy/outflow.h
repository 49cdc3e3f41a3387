/* outflow.h: what is done to an answer on its way to the client: it is compressed, or comes from the cache.  An
 * exchange without an outflow gives what comes to its front as it is.
 *
 * Compressing takes time.  Of what comes, little is compressed at once; the rest is kept, and goes on in turns of a
 * timer, one after the other for all answers of the worker, so that no request waits for another's body.  [loop] */
#ifndef GATEWAY_OUTFLOW_H
#define GATEWAY_OUTFLOW_H

#include "cache/stored.h"
#include "proxy/private.h"

/* The answer's head, as gateway_front_calls.head: whether an outflow begins with it is found here. */
int32_t gateway_outflow_head(struct gateway_exchange *exchange, const hf_http1_head *head, hf_slice bytes,
                             hf_error *error);

/* Of an exchange that has one: a piece of the body; what came can be sent; it is complete, with lines of trailers. */
void gateway_outflow_body(struct gateway_exchange *exchange, hf_slice piece);
void gateway_outflow_flush(struct gateway_exchange *exchange);
void gateway_outflow_end(struct gateway_exchange *exchange, hf_slice trailers);

/* The whole body is one that is stored, and that somebody holds until the exchange is freed; it goes as the client
 * takes it.  The head has gone; whether there is an outflow already or not. */
void gateway_outflow_feed(struct gateway_exchange *exchange, const struct gateway_body *body);

/* The client takes more. */
void gateway_outflow_writable(struct gateway_exchange *exchange);

/* The exchange is over; and is freed. */
void gateway_outflow_stop(struct gateway_exchange *exchange);
void gateway_outflow_free(struct gateway_exchange *exchange);

/* Of the worker: no more turns; all of it. */
void gateway_outflows_stop(struct gateway_worker *worker);
void gateway_outflows_destroy(struct gateway_worker *worker);

#endif
