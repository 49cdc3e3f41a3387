/* What is told of an exchange: gathered on its way, and given out when it is over. */
#include "proxy/private.h"

#include <holdfast/lib/value.h>

#include <string.h>

static struct gateway_cell *cell_of(const struct gateway_exchange *exchange, struct gateway_meter *meter)
{
    return &meter->cells[exchange->worker->index];
}

struct gateway_cell *gateway_upstream_cell(const struct gateway_exchange *exchange, uint32_t upstream)
{
    return cell_of(exchange, exchange->generation->plan->upstreams[upstream].meter);
}

/* ---- The trace --------------------------------------------------------------------------------------------------- */

/* The value of the only field of that name; NULL data: there is none, or more than one. */
static hf_slice only_field(const hf_http1_head *head, const char *name)
{
    hf_slice wanted = hf_slice_of(name), found = {NULL, 0};

    for (uint32_t i = 0; i < head->header_count; i++) {
        if (head->headers[i].name.size != wanted.size || !hf_http1_same(head->headers[i].name, wanted))
            continue;
        if (found.data)
            return (hf_slice){NULL, 0};
        found = head->headers[i].value;
    }
    return found;
}

static int is_sampled(struct gateway_worker *worker, double share)
{
    return (double)(hf_random_next(&worker->random) >> 11) * 0x1p-53 < share; /* 0 to 1, without 1 */
}

void gateway_account_begin(struct gateway_exchange *exchange)
{
    const struct gateway_trace_options *options = &exchange->generation->plan->trace;
    struct gateway_worker *worker = exchange->worker;
    struct gateway_account *account = &exchange->account;

    account->has_begun = 1;
    if (!options->enabled)
        return;
    hf_slice given = options->accepts ? only_field(&exchange->head, "traceparent") : (hf_slice){NULL, 0};
    account->keeps_state = given.data && gateway_trace_read(given, &account->trace);
    if (account->keeps_state)
        gateway_trace_next_span(&account->trace, &worker->random);
    else
        gateway_trace_begin(&account->trace, &worker->random, is_sampled(worker, options->sampled));
}

void gateway_account_answer(const struct gateway_exchange *exchange, uint32_t status, uint8_t text[GATEWAY_TRACE_SIZE],
                            struct gateway_forward *how)
{
    if (status < 200 || !exchange->account.trace.is_present || !exchange->generation->plan->trace.in_answers)
        return;
    gateway_trace_write(&exchange->account.trace, text);
    how->trace = (hf_slice){text, GATEWAY_TRACE_SIZE};
}

/* ---- On the way -------------------------------------------------------------------------------------------------- */

void gateway_account_try(struct gateway_exchange *exchange, const struct gateway_server *server)
{
    struct gateway_account *account = &exchange->account;
    struct gateway_cell *cell = gateway_upstream_cell(exchange, exchange->upstream);

    account->tries++;
    account->upstream = exchange->upstream;
    if (!account->asked_us)
        account->asked_us = gateway_worker_now(exchange->worker);
    gateway_count(&cell->tries, 1);
    if (exchange->tries > 1)
        gateway_count(&cell->retries, 1);
    if (exchange->listener->log)
        (void)hf_arena_copy(&exchange->arena, hf_slice_of(server->name), &account->server); /* or it is not told */
}

static void end_servers(struct gateway_exchange *exchange)
{
    exchange->account.ended_us = gateway_worker_now(exchange->worker);
}

void gateway_account_served(struct gateway_exchange *exchange)
{
    exchange->account.is_whole = 1;
    end_servers(exchange);
}

void gateway_account_failed(struct gateway_exchange *exchange)
{
    end_servers(exchange);
    gateway_count(&gateway_upstream_cell(exchange, exchange->upstream)->failures, 1);
}

void gateway_account_degrade(struct gateway_exchange *exchange, uint32_t upstream, const char *why)
{
    exchange->account.is_degraded = 1;
    if (!exchange->account.why)
        exchange->account.why = why; /* those who degrade say it in constants */
    gateway_count(&gateway_upstream_cell(exchange, upstream)->degraded, 1);
}

void gateway_account_refuse(struct gateway_exchange *exchange, const char *why)
{
    if (!exchange->account.why)
        exchange->account.why = hf_arena_strdup(&exchange->arena, why); /* or it is not told */
    exchange->account.is_degraded = 0;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static int32_t end_of(const struct gateway_exchange *exchange)
{
    const struct gateway_account *account = &exchange->account;

    if (exchange->is_tunnel)
        return GATEWAY_END_TUNNEL;
    if (!account->is_whole || exchange->front->is_broken)
        return GATEWAY_END_BROKEN;
    if (account->is_degraded)
        return GATEWAY_END_DEGRADED;
    return account->why ? GATEWAY_END_REFUSED : GATEWAY_END_ANSWERED;
}

static void fill_numbers(const struct gateway_exchange *exchange, struct gateway_record *record)
{
    const struct gateway_account *account = &exchange->account;
    uint64_t now_us = gateway_worker_now(exchange->worker);

    record->duration_us = now_us - exchange->began_us;
    if (account->asked_us)
        record->upstream_us = (account->ended_us ? account->ended_us : now_us) - account->asked_us;
    record->bytes_received = exchange->head_bytes.size + account->body_received;
    record->body_sent = exchange->bytes_sent;
    record->bytes_sent = account->head_sent + exchange->bytes_sent;
    record->status = exchange->status;
    record->tries = account->tries;
    record->end = end_of(exchange);
    record->trace = account->trace;
}

static void fill_fields(const hf_http1_head *head, struct gateway_record *record)
{
    for (uint32_t i = 0; i < head->header_count; i++) {
        hf_slice name = head->headers[i].name;

        if (name.size == 10 && !record->user_agent.data && hf_http1_same(name, hf_slice_of("user-agent")))
            record->user_agent = head->headers[i].value;
        else if (name.size == 7 && !record->referer.data && hf_http1_same(name, hf_slice_of("referer")))
            record->referer = head->headers[i].value;
    }
}

static hf_slice protocol_of(const struct gateway_exchange *exchange)
{
    if (exchange->front->calls->version)
        return hf_slice_of("HTTP/2.0"); /* as others write it */
    return hf_slice_of(exchange->head.minor ? "HTTP/1.1" : "HTTP/1.0");
}

static void fill_texts(const struct gateway_exchange *exchange, struct gateway_record *record)
{
    const struct gateway_account *account = &exchange->account;
    const struct gateway_peer *peer = exchange->front->peer;

    record->ended_us = exchange->worker->node->wall_us(exchange->worker->host);
    record->client = (hf_slice){(const uint8_t *)peer->text, peer->text_size};
    record->method = exchange->head.method;
    record->target = exchange->head.target;
    if (record->method.size)
        record->protocol = protocol_of(exchange);
    record->line = account->line;
    record->host = exchange->request.host;
    fill_fields(&exchange->head, record);
    record->listener = exchange->listener->name;
    if (exchange->route)
        record->route = exchange->route->name;
    if (exchange->route && exchange->route->kind == GATEWAY_ROUTE_FORWARDS) {
        uint32_t upstream = account->tries ? account->upstream : exchange->route->upstream;
        record->upstream = hf_slice_of(exchange->generation->plan->upstreams[upstream].upstream->name);
    }
    record->server = account->server;
    if (account->why)
        record->why = hf_slice_of(account->why);
}

static void count_request(struct gateway_cell *cell, const struct gateway_record *record)
{
    uint32_t digit = record->status / 100;

    gateway_count(&cell->requests[digit < GATEWAY_STATUS_CLASSES ? digit : 0], 1);
}

static void count_listener(struct gateway_cell *cell, const struct gateway_record *record)
{
    count_request(cell, record);
    gateway_count(&cell->received, record->bytes_received);
    gateway_count(&cell->sent, record->bytes_sent);
}

/* A tunnel lasts as long as somebody wants it to, which says nothing of how fast anything is. */
static void count(const struct gateway_exchange *exchange, const struct gateway_record *record)
{
    const struct gateway_plan *plan = exchange->generation->plan;
    struct gateway_cell *route = cell_of(exchange, exchange->route ? exchange->route->meter : plan->unrouted);
    int is_timed = record->end != GATEWAY_END_TUNNEL && record->end != GATEWAY_END_BROKEN;

    if (exchange->listener)
        count_listener(cell_of(exchange, exchange->listener->meter), record);
    count_request(route, record);
    if (record->status >= 500 || record->end == GATEWAY_END_BROKEN)
        gateway_count(&route->failures, 1);
    if (record->end == GATEWAY_END_DEGRADED)
        gateway_count(&route->degraded, 1);
    if (is_timed)
        gateway_cell_latency(route, record->duration_us);
    if (!record->tries)
        return;
    struct gateway_cell *upstream = gateway_upstream_cell(exchange, exchange->account.upstream);
    count_request(upstream, record);
    if (is_timed)
        gateway_cell_latency(upstream, record->upstream_us);
}

/* There is no listener where its port has lost it to a reload before the request began. */
void gateway_account_close(struct gateway_exchange *exchange)
{
    struct gateway_log *log = exchange->listener ? exchange->listener->log : NULL;
    struct gateway_record record = {0};

    if (exchange->is_internal || (!exchange->account.has_begun && !exchange->account.why))
        return; /* the head of a request that has not come as a whole yet */
    fill_numbers(exchange, &record);
    count(exchange, &record);
    if (!log)
        return;
    fill_texts(exchange, &record);
    gateway_log_add(log, exchange->worker->index, &record, gateway_worker_now(exchange->worker));
}
