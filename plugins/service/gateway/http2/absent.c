/* In place of the rest where nghttp2 is missing: configurations that want HTTP/2 are refused at check, so that nothing
 * of this is ever called but gateway_http2_is_there. */
#include "http2/http2.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>

int32_t gateway_http2_is_there(void)
{
    return 0;
}

int32_t gateway_http2_accept(struct gateway_client *client)
{
    (void)client;
    return HF_EUNSUPPORTED;
}

void gateway_http2_receive(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_writable(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_overdue(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_drain(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_settle(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_close(struct gateway_client *client)
{
    (void)client;
    abort();
}

void gateway_http2_free(struct gateway_client *client)
{
    (void)client;
}

void gateway_http2_free_dead(struct gateway_worker *worker)
{
    (void)worker;
}

void gateway_http2_release(struct gateway_worker *worker)
{
    (void)worker;
}

int32_t gateway_http2_open(struct gateway_exchange *exchange, uint32_t place, const struct gateway_breaker_call *call,
                           hf_error *error)
{
    (void)exchange;
    (void)place;
    (void)call;
    return hf_error_set(error, HF_EUNSUPPORTED, "this gateway was built without HTTP/2");
}

void gateway_http2_connected(struct gateway_link *link)
{
    (void)link;
    abort();
}

void gateway_http2_carrier_ready(struct gateway_link *link, uint32_t events)
{
    (void)link;
    (void)events;
    abort();
}

void gateway_http2_carrier_overdue(struct gateway_link *link)
{
    (void)link;
    abort();
}

void gateway_http2_carrier_failed(struct gateway_link *link, int32_t why)
{
    (void)link;
    (void)why;
    abort();
}

void gateway_http2_carrier_free(struct gateway_carrier *carrier)
{
    (void)carrier;
}

void gateway_http2_settle_carriers(struct gateway_worker *worker)
{
    (void)worker;
}

void gateway_http2_follow(struct gateway_view *view, const struct gateway_server_set *set)
{
    (void)view;
    (void)set;
}

void gateway_http2_close_view(struct gateway_view *view)
{
    (void)view;
}
