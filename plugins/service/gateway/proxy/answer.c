/* What the gateway answers itself.  It is written as a server would write it, and goes to the client the same way, so
 * that edits, framing and the end of connections are done in one place. */
#include "proxy/outflow.h"
#include "proxy/private.h"

#include <holdfast/lib/value.h>

#include <stdio.h>
#include <string.h>

static int write_head(struct gateway_exchange *exchange, hf_buffer *text, uint32_t status, hf_slice type, uint64_t size,
                      hf_slice location)
{
    int32_t code = hf_buffer_append_format(text, "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Length: %llu\r\n", status,
                                           hf_http1_reason(status), gateway_worker_date(exchange->worker),
                                           (unsigned long long)size);

    if (code == HF_OK && type.size)
        code = hf_buffer_append_format(text, "Content-Type: %.*s\r\n", (int)type.size, (const char *)type.data);
    if (code == HF_OK && location.size)
        code = hf_buffer_append_format(text, "Location: %.*s\r\n", (int)location.size, (const char *)location.data);
    if (code == HF_OK && (status == 503 || exchange->retry_after_s))
        code =
            hf_buffer_append_format(text, "Retry-After: %u\r\n", exchange->retry_after_s ? exchange->retry_after_s : 1);
    return code == HF_OK && hf_buffer_append(text, "\r\n", 2) == HF_OK;
}

static void send_answer(struct gateway_exchange *exchange, hf_slice bytes, hf_slice body)
{
    struct gateway_front *front = exchange->front;
    hf_http1_head *head = &exchange->worker->answer;

    if (hf_http1_parse_response(bytes, exchange->head.method, head, NULL) <= 0 ||
        gateway_outflow_head(exchange, head, bytes, NULL) != HF_OK) {
        front->calls->destroy(front);
        return;
    }
    exchange->answered = 1;
    exchange->status = head->status;
    if (head->body != HF_HTTP1_BODY_NONE && body.size)
        gateway_exchange_answer_body(exchange, body);
    exchange->account.is_whole = 1;
    if (exchange->outflow)
        gateway_outflow_end(exchange, (hf_slice){NULL, 0});
    else
        front->calls->end(front, (hf_slice){NULL, 0});
}

void gateway_answer(struct gateway_exchange *exchange, uint32_t status, hf_slice type, hf_slice body, hf_slice location)
{
    hf_buffer text;

    hf_buffer_init(&text, GATEWAY_HEAD_OUT_MAX);
    if (write_head(exchange, &text, status, type, body.size, location))
        send_answer(exchange, (hf_slice){text.data, text.size}, body);
    else
        exchange->front->calls->destroy(exchange->front);
    hf_buffer_done(&text);
}

/* RFC 9457.  The words are ours or the parsers', which quote nothing of what they refuse but plain characters. */
void gateway_answer_problem(struct gateway_exchange *exchange, uint32_t status, const char *why)
{
    char body[HF_ERROR_MESSAGE_SIZE + 128], quoted[HF_ERROR_MESSAGE_SIZE];
    size_t at = 0;

    for (; *why && at + 2 < sizeof quoted; why++) {
        if (*why == '"' || *why == '\\')
            quoted[at++] = '\\';
        quoted[at++] = (uint8_t)*why < 0x20 ? ' ' : *why;
    }
    quoted[at] = '\0';
    snprintf(body, sizeof body, "{\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\"}\n", hf_http1_reason(status), status,
             quoted);
    gateway_answer(exchange, status, hf_slice_of("application/problem+json"), hf_slice_of(body), (hf_slice){NULL, 0});
}

/* ---- Redirects --------------------------------------------------------------------------------------------------- */

/* What of the path follows the route's, still encoded; all of it where the route does not have a prefix. */
static hf_slice path_left(const struct gateway_exchange *exchange)
{
    hf_slice target = exchange->head.target, prefix = exchange->route->path;
    const uint8_t *question = memchr(target.data, '?', target.size);
    hf_slice path = {target.data, question ? (uint64_t)(question - target.data) : target.size};

    if (exchange->route->path_match != GATEWAY_PATH_PREFIX || !hf_slice_begins(path, prefix))
        return path;
    uint64_t skipped = prefix.size && prefix.data[prefix.size - 1] == '/' ? prefix.size - 1 : prefix.size;
    return (hf_slice){path.data + skipped, path.size - skipped};
}

static int append_part(const struct gateway_exchange *exchange, hf_slice template, uint64_t *at, hf_buffer *to)
{
    const struct {
        const char *name;
        hf_slice value;
    } parts[] = {
        {"$host", exchange->request.host}, {"$path", path_left(exchange)}, {"$query", exchange->request.query}};
    hf_slice rest = {template.data + *at, template.size - *at};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (hf_slice_begins(rest, hf_slice_of(parts[i].name))) {
            *at += strlen(parts[i].name);
            return hf_buffer_append(to, parts[i].value.data, parts[i].value.size) == HF_OK;
        }
    return hf_buffer_append(to, template.data + (*at)++, 1) == HF_OK;
}

static void redirect(struct gateway_exchange *exchange)
{
    hf_slice template = exchange->route->redirect, none = {NULL, 0};
    hf_buffer location;
    int whole = 1;

    hf_buffer_init(&location, GATEWAY_HEAD_OUT_MAX / 2);
    for (uint64_t at = 0; at < template.size && whole;)
        whole = append_part(exchange, template, &at, &location);
    if (whole)
        gateway_answer(exchange, exchange->route->status, none, none, (hf_slice){location.data, location.size});
    else
        gateway_exchange_refuse(exchange, 503, "no memory for the answer; try again later");
    hf_buffer_done(&location);
}

void gateway_answer_route(struct gateway_exchange *exchange)
{
    const struct gateway_route *route = exchange->route;

    if (route->kind == GATEWAY_ROUTE_REDIRECTS)
        redirect(exchange);
    else
        gateway_answer(exchange, route->status, route->body.size ? route->type : (hf_slice){NULL, 0}, route->body,
                       (hf_slice){NULL, 0});
}
