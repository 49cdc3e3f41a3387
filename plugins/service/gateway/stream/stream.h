/* stream.h: what a worker does with listeners whose bytes or datagrams go on as they are.  [loop] */
#ifndef GATEWAY_STREAM_H
#define GATEWAY_STREAM_H

#include "worker/worker.h"

/* A connection has come over the port; takes the descriptor. */
void gateway_stream_accept(struct gateway_port *port, int32_t fd, const struct sockaddr_storage *address);

/* Ends it at once, by a reset: nobody is to take what has come for all there was. */
void gateway_stream_destroy(struct gateway_tcp *stream);

/* After another plan was taken over: the port's streams let go of the one before. */
void gateway_stream_follow(struct gateway_port *port);

/* Lets streams that wait for the view's servers go on while there is room. */
void gateway_stream_serve(struct gateway_view *view);

/* After the callback in which they ended: all of a list. */
void gateway_stream_free(struct gateway_tcp *dead);

/* The flows of a port for datagrams, whose socket it is set up for; HF_ENOMEM, HF_EIO.  [main] */
int32_t gateway_udp_create(struct gateway_port *port, hf_error *error);
void gateway_udp_destroy(struct gateway_udp *udp); /* without flows; accepts NULL */

/* As hf_watch_function, with the port: datagrams have come. */
void gateway_udp_receive(void *port, int32_t fd, uint32_t events);

/* Ends all flows at once; or, after another plan was taken over, lets them follow it. */
void gateway_udp_end(struct gateway_udp *udp);
void gateway_udp_follow(struct gateway_udp *udp);

void gateway_flow_free(struct gateway_flow *dead);

#endif
