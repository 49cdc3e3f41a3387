/* forward.h: the head of a message as it goes on to the other side: without what concerns only the connection that it
 * came over (RFC 9110, 7.6.1), with what the other side should know of the client, and framed anew, so that both sides
 * see the same message whatever was written.
 *
 * The heads were read by lib/http1.h, which refuses what is ambiguous.  Fields that go on as they are go on byte by
 * byte, in their order.  Pure. */
#ifndef GATEWAY_FORWARD_H
#define GATEWAY_FORWARD_H

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/http1.h>

/* What a route does to fields of that name, all of them: they go, and this one comes in their place.  Of a name that
 * gateway_forward_may_edit allows. */
struct gateway_edit {
    hf_slice name;
    hf_slice value; /* NULL data: none comes */
};

struct gateway_forward {
    const struct gateway_edit *edits;
    uint32_t edit_count;
    /* The trace context: traceparent of a request, in place of the client's, whose tracestate goes on if `keeps_state`;
     * traceresponse of a response.  NULL data: what there is goes on as it is. */
    hf_slice trace;
    int32_t keeps_state;

    /* ---- Of requests ---- */
    hf_slice client;  /* its address: "192.0.2.1", "2001:db8::1" */
    int32_t is_tls;   /* the client's connection */
    int32_t is_proxy; /* the client is a proxy of ours: what it says of its own client goes on before what we say */
    int32_t upgrades; /* the client may ask for another protocol on this connection (but not HTTP/2, whose requests
                         nobody here would see) */
    hf_slice host;    /* in place of the client's; NULL data: that */
    hf_slice target;  /* likewise: "/path?query" */

    /* ---- Of responses ---- */
    hf_slice method;    /* of the request */
    int32_t minor;      /* of the client's version: HTTP/1.0 or HTTP/1.1 */
    int32_t keep_alive; /* the connection to the client may carry another message after this */
    int32_t is_encoded; /* here: how long the body gets is not known, and not what the head says */
};

/* Appends the head of a request to `to`.  `bytes` is the head as it was received, to which `head` points.  The body's
 * framing is that of `head`; "Expect: 100-continue" does not go on, since it is answered here.  HF_EINVAL (answer 400):
 * a target that is no path or has a fragment, a host that is none, or too many options of the connection; HF_ETOOLARGE
 * (431), HF_ENOMEM; `to` is then as it was. */
int32_t gateway_forward_request(const struct gateway_forward *how, hf_slice bytes, const hf_http1_head *head,
                                hf_buffer *to, hf_error *error);

/* Whether it is a request that gateway_forward_request would send on, for those that are answered without a server. */
int32_t gateway_forward_look(const hf_http1_head *head, hf_error *error);

/* The same for a response.  *ret_body, HF_HTTP1_BODY_...: how the body goes to the client; a body that ends with the
 * server's connection is sent in chunks to clients that know them, and so that the client sees whether it was whole.
 * After HF_HTTP1_BODY_UNTIL_CLOSE the connection closes whatever `keep_alive` says.  HF_EINVAL and HF_ETOOLARGE (502),
 * HF_ENOMEM. */
int32_t gateway_forward_response(const struct gateway_forward *how, hf_slice bytes, const hf_http1_head *head,
                                 hf_buffer *to, int32_t *ret_body, hf_error *error);

/* The fields of a response as they go on, with those of the route, for a client whose protocol frames messages itself;
 * none about framing is among them.  They point into the head and into `how`.  *ret_body as above, *ret_length: the
 * Content-Length to be told is that of the head.  HF_EINVAL (502), HF_ETOOLARGE: more than `maximum`. */
int32_t gateway_forward_fields(const struct gateway_forward *how, const hf_http1_head *head, hf_http1_header *fields,
                               uint32_t maximum, uint32_t *ret_count, int32_t *ret_body, int32_t *ret_length,
                               hf_error *error);

/* Takes out of lines of trailers, as hf_http1_chunked_next gives them, what may not go on: fields that concern only the
 * connection, that a route edits, or that decide what becomes of a message and come too late for that (RFC 9110,
 * 6.5.1).  HF_EINVAL, HF_ETOOLARGE: as hf_http1_parse_trailers. */
int32_t gateway_forward_trailers(const struct gateway_edit *edits, uint32_t edit_count, hf_buffer *lines,
                                 hf_error *error);

/* Whether a route may edit fields of that name: not those which say where a message ends or what becomes of the
 * connection, nor the host, which has a member of its own. */
int32_t gateway_forward_may_edit(hf_slice name);

#endif
