/* Requests that wait for room at the servers of an upstream, first come, first served. */
#include "proxy/private.h"

void gateway_view_enqueue(struct gateway_view *view, struct gateway_exchange *exchange)
{
    gateway_count(&gateway_upstream_cell(exchange, exchange->upstream)->queued, 1);
    exchange->is_queued = 1;
    exchange->next = NULL;
    exchange->previous = view->queue_end;
    if (view->queue_end)
        view->queue_end->next = exchange;
    else
        view->queue = exchange;
    view->queue_end = exchange;
    view->queued++;
}

void gateway_view_dequeue(struct gateway_view *view, struct gateway_exchange *exchange)
{
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        view->queue = exchange->next;
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    else
        view->queue_end = exchange->previous;
    exchange->next = exchange->previous = NULL;
    gateway_count(&gateway_upstream_cell(exchange, exchange->upstream)->dequeued, 1);
    exchange->is_queued = 0;
    view->queued--;
}

void gateway_view_serve(struct gateway_view *view)
{
    while (view->queue && gateway_exchange_try_queued(view->queue))
        ;
}
