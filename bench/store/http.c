/* Holdfast's interface: PUT and GET of records over HTTP/1.1. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_session(load_client *client)
{
    (void)client;
    return 0;
}

static void close_session(load_client *client)
{
    (void)client;
}

static int send_request(load_client *client, const char *key)
{
    const load_options *options = client->options;
    char *to = (char *)client->output + client->output_size;
    size_t left = LOAD_BUFFER - client->output_size;
    int size;

    if (options->reading)
        size = snprintf(to, left, "GET /v1/tables/%s/records/%s HTTP/1.1\r\nHost: %s\r\n\r\n", options->table, key,
                        client->host);
    else
        size =
            snprintf(to, left,
                     "PUT /v1/tables/%s/records/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\n"
                     "Content-Length: %zu\r\n\r\n%.*s",
                     options->table, key, client->host, options->value_size, (int)options->value_size, options->value);
    if (size < 0 || (size_t)size >= left)
        return -1;
    client->output_size += (size_t)size;
    return 0;
}

static int receive(load_client *client)
{
    uint8_t *input = client->input, *end = memmem(input, client->input_size, "\r\n\r\n", 4);
    const char *length;
    size_t total;
    int status;

    if (!end)
        return 0;
    *end = '\0';
    length = strcasestr((char *)input, "\r\nContent-Length: ");
    *end = '\r';
    if (!length || client->input_size < 12 || memcmp(input, "HTTP/1.1 ", 9) != 0)
        return -2;
    total = (size_t)(end + 4 - input) + strtoul(length + 18, NULL, 10);
    if (client->input_size < total)
        return 0;
    status = atoi((char *)input + 9);
    client->input_size -= total;
    memmove(input, input + total, client->input_size);
    return status == 200 ? 1 : -1;
}

const load_protocol load_http = {open_session, close_session, send_request, receive};
