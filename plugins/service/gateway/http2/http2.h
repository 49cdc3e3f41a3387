/* http2.h: what the connections of HTTP/1.1 hand over to HTTP/2 (RFC 9113): a client's connection that begins with its
 * preface, and requests to servers that speak it.  Built without nghttp2, none of it happens.  [loop] */
#ifndef GATEWAY_HTTP2_HTTP2_H
#define GATEWAY_HTTP2_HTTP2_H

#include "proxy/private.h"

/* Whether the gateway was built with it. */
int32_t gateway_http2_is_there(void);

/* Whether a connection that begins so speaks it: 1; 0: no; -1: more bytes will tell. */
int32_t gateway_http2_begins(hf_slice bytes);

/* ---- Connections of clients ------------------------------------------------------------------------------------- */

/* The connection speaks it from now on; what its block has is the beginning.  HF_ENOMEM. */
int32_t gateway_http2_accept(struct gateway_client *client);

/* Bytes can be read; what waited has gone; the connection's time has passed. */
void gateway_http2_receive(struct gateway_client *client);
void gateway_http2_writable(struct gateway_client *client);
void gateway_http2_overdue(struct gateway_client *client);

/* It takes no more requests, and ends after those that it has. */
void gateway_http2_drain(struct gateway_client *client);

/* The end of a callback: sends what there is. */
void gateway_http2_settle(struct gateway_client *client);

/* The connection has ended: so do its requests.  And the memory, once no callback runs. */
void gateway_http2_close(struct gateway_client *client);
void gateway_http2_free(struct gateway_client *client);

/* ---- Requests to servers ---------------------------------------------------------------------------------------- */

/* As gateway_link_open, to a server that speaks it: by a connection that is there, or a new one. */
int32_t gateway_http2_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                           hf_error *error);

/* Of a link that is such a connection: it is there, with TLS if that is wanted; something can be done; its time has
 * passed; it has failed, LINK_.... */
void gateway_http2_connected(struct gateway_link *link);
void gateway_http2_carrier_ready(struct gateway_link *link, uint32_t events);
void gateway_http2_carrier_overdue(struct gateway_link *link);
void gateway_http2_carrier_failed(struct gateway_link *link, int32_t why);
void gateway_http2_carrier_free(struct gateway_carrier *carrier); /* accepts NULL */

/* The end of a callback: sends what there is. */
void gateway_http2_settle_carriers(struct gateway_worker *worker);

/* Another set of servers, or none (NULL), comes in place of the view's: connections that are of no more use take no
 * more requests.  And: all end at once. */
void gateway_http2_follow(struct gateway_view *view, const struct gateway_server_set *set);
void gateway_http2_close_view(struct gateway_view *view);

/* ---- The worker ------------------------------------------------------------------------------------------------- */

/* The worker's streams that are gone, once no callback runs. */
void gateway_http2_free_dead(struct gateway_worker *worker);

/* All that the worker has for it, at its end. */
void gateway_http2_release(struct gateway_worker *worker);

#endif
