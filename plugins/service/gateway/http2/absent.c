/* In place of the rest where nghttp2 is missing: configurations that want HTTP/2 are refused at check, so that nothing
 * of this is ever called but gateway_http2_is_there. */
#include "http2/http2.h"

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
