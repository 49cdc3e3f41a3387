/* Holdfast's interface: PUT and GET of records over HTTP/1.1. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request but for its key, which is made once: all that a request costs here is to copy it. */
typedef struct http_session {
    char head[512], tail[LOAD_BUFFER];
    size_t head_size, tail_size;
} http_session;

static int open_session(load_client *client)
{
    const load_options *options = client->options;
    http_session *session = calloc(1, sizeof *session);
    int head, tail;

    if (!session)
        return -1;
    head = snprintf(session->head, sizeof session->head, "%s /v1/tables/%s/records/", options->reading ? "GET" : "PUT",
                    options->table);
    if (options->reading)
        tail = snprintf(session->tail, sizeof session->tail, " HTTP/1.1\r\nHost: %s\r\n\r\n", client->host);
    else
        tail = snprintf(session->tail, sizeof session->tail,
                        " HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n"
                        "%.*s",
                        client->host, options->value_size, (int)options->value_size, options->value);
    client->session = session;
    if (head < 0 || (size_t)head >= sizeof session->head || tail < 0 || (size_t)tail >= sizeof session->tail)
        return -1;
    session->head_size = (size_t)head;
    session->tail_size = (size_t)tail;
    return 0;
}

static void close_session(load_client *client)
{
    free(client->session);
}

static uint8_t *append(uint8_t *to, const char *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static int send_request(load_client *client, const char *key)
{
    const http_session *session = client->session;
    size_t key_size = strlen(key), size = session->head_size + key_size + session->tail_size;
    uint8_t *to = client->output + client->output_size;

    if (size > LOAD_BUFFER - client->output_size)
        return -1;
    to = append(to, session->head, session->head_size);
    to = append(to, key, key_size);
    append(to, session->tail, session->tail_size);
    client->output_size += size;
    return 0;
}

/* The number after Content-Length in the head of an answer; -1: it is not there. */
static long read_length(const uint8_t *head, size_t size)
{
    static const char name[] = "\r\nContent-Length: ";
    const uint8_t *at = memmem(head, size, name, sizeof name - 1);

    return at ? strtol((const char *)at + sizeof name - 1, NULL, 10) : -1; /* the head ends with a line end */
}

static int receive(load_client *client)
{
    uint8_t *input = client->input, *end = memmem(input, client->input_size, "\r\n\r\n", 4);
    size_t total;
    long length;
    int good;

    if (!end)
        return 0;
    length = read_length(input, (size_t)(end + 2 - input));
    if (length < 0 || client->input_size < 12 || memcmp(input, "HTTP/1.1 ", 9) != 0)
        return -2;
    total = (size_t)(end + 4 - input) + (size_t)length;
    if (client->input_size < total)
        return 0;
    good = memcmp(input + 9, "200", 3) == 0;
    client->input_size -= total;
    memmove(input, input + total, client->input_size);
    return good ? 1 : -1;
}

const load_protocol load_http = {open_session, close_session, send_request, receive};
