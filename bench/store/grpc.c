/* etcd's interface: KV.Put and KV.Range (linearizable) over gRPC, with nghttp2. */
#include "load.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 65536 };

typedef struct grpc_session {
    nghttp2_session *http2;
    uint8_t message[MESSAGE_SIZE];
    size_t size, sent;
    int done, good;
} grpc_session;

static int on_header(nghttp2_session *http2, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *arg)
{
    grpc_session *session = arg;

    (void)http2, (void)frame, (void)flags;
    if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0)
        session->good = value_size == 1 && value[0] == '0';
    return 0;
}

static int on_close(nghttp2_session *http2, int32_t stream, uint32_t code, void *arg)
{
    grpc_session *session = arg;

    (void)http2, (void)stream;
    session->done = 1;
    session->good = session->good && code == 0;
    return 0;
}

static int open_session(load_client *client)
{
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
    grpc_session *session = calloc(1, sizeof *session);
    nghttp2_session_callbacks *callbacks;

    if (!session || nghttp2_session_callbacks_new(&callbacks) != 0)
        return -1;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    client->session = session;
    if (nghttp2_session_client_new(&session->http2, callbacks, session) != 0)
        return -1;
    nghttp2_session_callbacks_del(callbacks);
    return nghttp2_submit_settings(session->http2, NGHTTP2_FLAG_NONE, settings, 1);
}

static void close_session(load_client *client)
{
    grpc_session *session = client->session;

    if (session)
        nghttp2_session_del(session->http2);
    free(session);
}

/* A length-delimited field of a protocol buffer. */
static void put_field(grpc_session *session, uint8_t number, const void *data, size_t size)
{
    size_t left = size;

    session->message[session->size++] = (uint8_t)(number << 3 | 2);
    for (; left >= 0x80; left >>= 7)
        session->message[session->size++] = (uint8_t)(left | 0x80);
    session->message[session->size++] = (uint8_t)left;
    memcpy(session->message + session->size, data, size);
    session->size += size;
}

static ssize_t read_message(nghttp2_session *http2, int32_t stream, uint8_t *buffer, size_t capacity, uint32_t *flags,
                            nghttp2_data_source *source, void *arg)
{
    grpc_session *session = arg;
    size_t left = session->size - session->sent, size = left < capacity ? left : capacity;

    (void)http2, (void)stream, (void)source;
    memcpy(buffer, session->message + session->sent, size);
    session->sent += size;
    if (session->sent == session->size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int flush(load_client *client)
{
    grpc_session *session = client->session;
    const uint8_t *data;
    ssize_t size;

    while ((size = nghttp2_session_mem_send(session->http2, &data)) > 0) {
        if (client->output_size + (size_t)size > LOAD_BUFFER)
            return -1;
        memcpy(client->output + client->output_size, data, (size_t)size);
        client->output_size += (size_t)size;
    }
    return size < 0 ? -1 : 0;
}

#define FIELD(name, value)                                                                                             \
    {                                                                                                                  \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, strlen(value), 0                \
    }

static int send_request(load_client *client, const char *key)
{
    grpc_session *session = client->session;
    const load_options *options = client->options;
    nghttp2_nv fields[] = {
        FIELD(":method", "POST"),
        FIELD(":scheme", "http"),
        FIELD(":path", options->reading ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put"),
        FIELD(":authority", client->host),
        FIELD("content-type", "application/grpc"),
        FIELD("te", "trailers"),
    };
    nghttp2_data_provider provider = {.read_callback = read_message};

    session->size = 5;
    session->sent = 0;
    session->done = session->good = 0;
    put_field(session, 1, key, strlen(key));
    if (!options->reading)
        put_field(session, 2, options->value, options->value_size);
    uint32_t size = (uint32_t)session->size - 5;
    memcpy(session->message,
           (uint8_t[]){0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size}, 5);
    if (nghttp2_submit_request(session->http2, NULL, fields, sizeof fields / sizeof fields[0], &provider, NULL) < 0)
        return -1;
    return flush(client);
}

static int receive(load_client *client)
{
    grpc_session *session = client->session;
    ssize_t taken = nghttp2_session_mem_recv(session->http2, client->input, client->input_size);

    client->input_size = 0;
    if (taken < 0 || flush(client) != 0)
        return -2;
    if (!session->done)
        return 0;
    session->done = 0;
    return session->good ? 1 : -1;
}

const load_protocol load_grpc = {open_session, close_session, send_request, receive};
