/* Shows over real sockets that requests find their routes and answers their clients, whatever the pieces that the
 * bytes come in; that bad input is refused with the right status; that limits hold; and that stopping waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/private.h"
#include "http/router.h"
#include "http/server.h"
#include "loop/loop.h"
#include "telemetry/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <holdfast/lib/buffer.h>
#include <holdfast/lib/http1.h>
#include <holdfast/lib/value.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOPS = 2, BODY_MAXIMUM = 1 << 20, MEMORY_MAXIMUM = 3 << 19 };

struct server {
    hf_http_server *http;
    hf_metrics *metrics;
    hf_loop *loops[LOOPS];
    hf_loop *stopper;
    int fds[LOOPS];
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    hf_http_request *held; /* by the route /hold */
    int closed_streams;
};

/* ---- Handlers ---------------------------------------------------------------------------------------------------- */

static void echo(void *arg, hf_http_request *request)
{
    (void)arg;
    hf_http_respond(request, 200, "application/octet-stream", hf_http_body(request), NULL, 0);
}

static void describe(void *arg, hf_http_request *request)
{
    char text[512];
    hf_slice method = hf_http_method(request), a = hf_http_parameter(request, "a"), b = hf_http_parameter(request, "b"),
             query = hf_http_query(request, "q"), header = hf_http_header(request, "x-test");
    hf_http_field field = {"X-Answer", "yes"};

    (void)arg;
    snprintf(text, sizeof text, "%.*s a=%.*s b=%.*s q=%.*s h=%.*s", (int)method.size, (const char *)method.data,
             (int)a.size, (const char *)a.data, (int)b.size, (const char *)b.data, (int)query.size,
             (const char *)query.data, (int)header.size, (const char *)header.data);
    hf_http_respond(request, 200, "text/plain", hf_slice_of(text), &field, 1);
}

static void hold(void *arg, hf_http_request *request)
{
    struct server *server = arg;

    pthread_mutex_lock(&server->lock);
    server->held = request;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static hf_http_request *take_held(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    while (!server->held)
        pthread_cond_wait(&server->changed, &server->lock);
    hf_http_request *request = server->held;
    server->held = NULL;
    pthread_mutex_unlock(&server->lock);
    return request;
}

struct stream {
    struct server *server;
    hf_http_request *request;
    uint64_t left;
    int closed;
};

static void stream_more(struct stream *stream)
{
    static uint8_t piece[65536];
    uint64_t waiting = 0;

    while (stream->left && waiting <= 1 << 20 && !stream->closed) {
        memset(piece, 'a' + (int)(stream->left % 7), sizeof piece);
        waiting = hf_http_stream_write(stream->request, (hf_slice){piece, sizeof piece});
        stream->left--;
    }
    if (!stream->left && !stream->closed) {
        hf_http_request *request = stream->request;
        free(stream);
        hf_http_stream_end(request);
    }
}

static void stream_event(void *arg, int32_t event)
{
    struct stream *stream = arg;

    if (event == HF_HTTP_STREAM_WRITABLE) {
        stream_more(stream);
        return;
    }
    stream->closed = 1;
    pthread_mutex_lock(&stream->server->lock);
    stream->server->closed_streams++;
    pthread_cond_broadcast(&stream->server->changed);
    pthread_mutex_unlock(&stream->server->lock);
    hf_http_stream_end(stream->request);
    free(stream);
}

static void stream(void *arg, hf_http_request *request)
{
    struct stream *stream = calloc(1, sizeof *stream);
    hf_slice count = hf_http_query(request, "count");

    assert_non_null(stream);
    stream->server = arg;
    stream->request = request;
    stream->left = strtoul((const char *)count.data, NULL, 10);
    hf_http_stream_begin(request, 200, "text/plain", stream_event, stream);
    stream_more(stream);
}

/* ---- Authority: the token "admin" may do everything, "reader" may read ------------------------------------------- */

static int32_t identify(void *arg, hf_slice authorization, hf_http_principal *ret_principal, hf_error *error)
{
    (void)arg;
    if (!authorization.data) {
        *ret_principal = (hf_http_principal){0, HF_HTTP_WRITE, NULL};
        return 0;
    }
    if (hf_slice_is(authorization, "Bearer reader"))
        *ret_principal = (hf_http_principal){1, HF_HTTP_READ, NULL};
    else if (hf_slice_is(authorization, "Bearer admin"))
        *ret_principal = (hf_http_principal){2, HF_HTTP_ADMIN, NULL};
    else {
        error->code = HF_EDENIED;
        snprintf(error->message, sizeof error->message, "unknown token");
        return HF_EDENIED;
    }
    return 0;
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static int open_listener(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void start_server_with(struct server *server, hf_http_settings settings)
{
    static const hf_http_route routes[] = {
        {sizeof(hf_http_route), HF_HTTP_WRITE, "POST", "/echo", BODY_MAXIMUM, "", echo},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/d/{a}", 0, "", describe},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/d/{a}/x/{b}", 0, "", describe},
        {sizeof(hf_http_route), HF_HTTP_WRITE, "PUT", "/d/{a}", 100, "", describe},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "GET", "/d/admin", 0, "", describe},
        {sizeof(hf_http_route), HF_HTTP_ADMIN, "POST", "/admin/echo", BODY_MAXIMUM, "", echo},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/hold", 0, "", hold},
        {sizeof(hf_http_route), HF_HTTP_READ, "GET", "/stream", 0, "", stream},
    };

    memset(server, 0, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    assert_int_equal(hf_metrics_create(&server->metrics, NULL), 0);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(hf_loop_create("worker", &server->loops[i], NULL), 0);
    settings.loops = server->loops;
    settings.metrics = server->metrics;
    assert_int_equal(hf_http_server_create(&settings, &server->http, NULL), 0);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        assert_int_equal(hf_http_server_route(server->http, &routes[i], server, NULL), 0);
    for (uint32_t i = 0; i < LOOPS; i++) {
        server->fds[i] = open_listener(&server->port);
        assert_int_equal(hf_http_server_listen(server->http, i, server->fds[i], NULL), 0);
    }
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(hf_loop_thread_start(server->loops[i], HF_URGENCY_SERVE, NULL), 0);
}

static hf_http_settings usual_settings(void)
{
    return (hf_http_settings){.loop_count = LOOPS,
                              .authority = {identify, NULL, NULL},
                              .head_maximum = 4096,
                              .body_memory_maximum = MEMORY_MAXIMUM,
                              .answer_memory_maximum = 8 << 20,
                              .connections_maximum = 32,
                              .idle_timeout_us = 30000000,
                              .receive_timeout_us = 10000000,
                              .send_timeout_us = 30000000};
}

static void start_server(struct server *server, uint64_t receive_timeout_us)
{
    hf_http_settings settings = usual_settings();

    settings.receive_timeout_us = receive_timeout_us;
    start_server_with(server, settings);
}

static void stopped(void *arg)
{
    hf_loop_stop(arg);
}

struct stop {
    hf_task task;
    struct server *server;
};

static void begin_stop(hf_task *task)
{
    struct server *server = ((struct stop *)task)->server;

    hf_http_server_stop(server->http, 2000000, stopped, server->stopper);
}

static void stop_server(struct server *server)
{
    struct stop stop = {{NULL, begin_stop}, server};

    assert_int_equal(hf_loop_create("main", &server->stopper, NULL), 0);
    hf_loop_post(server->stopper, &stop.task);
    hf_loop_run(server->stopper);
    for (int i = 0; i < LOOPS; i++) {
        hf_loop_stop(server->loops[i]);
        hf_loop_thread_join(server->loops[i]);
    }
    hf_http_server_destroy(server->http);
    for (int i = 0; i < LOOPS; i++) {
        hf_loop_destroy(server->loops[i]);
        close(server->fds[i]);
    }
    hf_loop_destroy(server->stopper);
    hf_metrics_destroy(server->metrics);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
}

/* ---- A client ---------------------------------------------------------------------------------------------------- */

struct client {
    int fd;
    hf_buffer input;
};

struct answer {
    uint32_t status;
    int32_t keep_alive;
    char allow[64];
    char type[64];
    hf_buffer body;
};

/* From 127.0.0.`from`: by its address a client is known. */
static void client_open_from(struct client *client, const struct server *server, uint32_t from)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server->port)};
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + from)};

    hf_buffer_init(&client->input, 64 << 20);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(bind(client->fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0);
}

static void client_open(struct client *client, const struct server *server)
{
    client_open_from(client, server, 1);
}

static void client_close(struct client *client)
{
    close(client->fd);
    hf_buffer_done(&client->input);
}

static void client_send(struct client *client, const void *data, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(client->fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

static void client_text(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

/* Returns 0 at the end of the connection. */
static int client_receive(struct client *client)
{
    struct pollfd wait = {client->fd, POLLIN, 0};

    assert_int_equal(poll(&wait, 1, 20000), 1);
    assert_int_equal(hf_buffer_reserve(&client->input, 65536), 0);
    ssize_t n = recv(client->fd, client->input.data + client->input.size, 65536, 0);
    if (n <= 0)
        return 0;
    client->input.size += (uint64_t)n;
    return 1;
}

static void read_chunked(struct client *client, struct answer *answer)
{
    hf_http1_chunked chunked = {0};

    for (;;) {
        uint64_t taken = 0;
        hf_slice data;
        int32_t result =
            hf_http1_chunked_next(&chunked, (hf_slice){client->input.data, client->input.size}, &taken, &data, NULL);
        assert_true(result >= 0);
        assert_int_equal(hf_buffer_append(&answer->body, data.data, data.size), 0);
        hf_buffer_consume(&client->input, taken);
        if (result == 1)
            return;
        if (!taken)
            assert_int_equal(client_receive(client), 1);
    }
}

static void copy_header(const hf_http1_head *head, const char *name, char *to, size_t capacity)
{
    hf_slice value = hf_http1_header_find(head, name);

    snprintf(to, capacity, "%.*s", (int)value.size, value.data ? (const char *)value.data : "");
}

static void client_read(struct client *client, const char *method, struct answer *answer)
{
    hf_http1_head head;
    int64_t size;

    hf_buffer_init(&answer->body, 64 << 20);
    while ((size = hf_http1_parse_response((hf_slice){client->input.data, client->input.size}, hf_slice_of(method),
                                           &head, NULL)) == 0)
        assert_int_equal(client_receive(client), 1);
    assert_true(size > 0);
    answer->status = head.status;
    answer->keep_alive = head.keep_alive;
    copy_header(&head, "allow", answer->allow, sizeof answer->allow);
    copy_header(&head, "content-type", answer->type, sizeof answer->type);
    hf_buffer_consume(&client->input, (uint64_t)size);
    if (head.body == HF_HTTP1_BODY_CHUNKED)
        read_chunked(client, answer);
    if (head.body == HF_HTTP1_BODY_LENGTH) {
        while (client->input.size < head.content_length)
            assert_int_equal(client_receive(client), 1);
        assert_int_equal(hf_buffer_append(&answer->body, client->input.data, head.content_length), 0);
        hf_buffer_consume(&client->input, head.content_length);
    }
    if (head.body == HF_HTTP1_BODY_UNTIL_CLOSE) {
        while (client_receive(client))
            ;
        assert_int_equal(hf_buffer_append(&answer->body, client->input.data, client->input.size), 0);
    }
    assert_int_equal(hf_buffer_append(&answer->body, "", 1), 0); /* so that tests can look at it as text */
    answer->body.size--;
}

static void expect(struct client *client, uint32_t status, const char *body)
{
    struct answer answer;

    client_read(client, "GET", &answer);
    assert_int_equal(answer.status, status);
    assert_string_equal((const char *)answer.body.data, body);
    hf_buffer_done(&answer.body);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void requests_find_their_routes(void **state)
{
    struct server server;
    struct client client;

    (void)state;
    start_server(&server, 10000000);
    client_open(&client, &server);
    client_text(&client, "GET /d/1%2F2?q=a%20b+c&q=2 HTTP/1.1\r\nHost: x\r\nX-Test: t\r\n\r\n");
    expect(&client, 200, "GET a=1/2 b= q=a b c h=t");
    client_text(&client, "GET /d/%E4%BD%A0/x/two HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(&client, 200, "GET a=\xe4\xbd\xa0 b=two q= h=");
    client_text(&client, "PUT /d/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    expect(&client, 200, "PUT a=1 b= q= h=");
    /* Two at once, the second in pieces. */
    client_text(&client, "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Le");
    expect(&client, 200, "GET a=1 b= q= h=");
    client_text(&client, "ngth: 5\r\n\r\nhe");
    client_text(&client, "lloGET /d/7 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(&client, 200, "hello");
    expect(&client, 200, "GET a=7 b= q= h=");
    /* HEAD has the length and no body. */
    struct answer answer;
    client_text(&client, "HEAD /d/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /d/8 HTTP/1.1\r\nHost: x\r\n\r\n");
    client_read(&client, "HEAD", &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, 0);
    hf_buffer_done(&answer.body);
    expect(&client, 200, "GET a=8 b= q= h=");
    client_close(&client);
    stop_server(&server);
}

static void bodies_of_every_size_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 16383, 16384, 65536, 300000, BODY_MAXIMUM};
    uint8_t *bytes = malloc(BODY_MAXIMUM);
    struct server server;
    struct client client;
    struct answer answer;
    char head[256];

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < BODY_MAXIMUM; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    start_server(&server, 10000000);
    client_open(&client, &server);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        if (i % 2) {
            snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            client_text(&client, head);
            for (size_t at = 0, piece; at < size; at += piece) {
                piece = size - at < 5000 ? size - at : 5000;
                snprintf(head, sizeof head, "%zx\r\n", piece);
                client_text(&client, head);
                client_send(&client, bytes + at, piece);
                client_text(&client, "\r\n");
            }
            client_text(&client, "0\r\n\r\n");
        } else {
            snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
            client_text(&client, head);
            client_send(&client, bytes, size);
        }
        client_read(&client, "POST", &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body.size, size);
        assert_memory_equal(answer.body.data, bytes, size);
        hf_buffer_done(&answer.body);
    }
    client_close(&client);
    stop_server(&server);
    free(bytes);
}

static void wrong_requests_are_refused(void **state)
{
    static const struct {
        const char *request;
        uint32_t status;
        int32_t keep_alive;
        const char *allow;
    } rows[] = {
        {"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", 404, 1, ""},
        {"GET /d/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, 1, ""},
        {"DELETE /d/1 HTTP/1.1\r\nHost: x\r\n\r\n", 405, 1, "GET, PUT"},
        {"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 404, 1, ""},
        {"GET /d/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, 1, ""},
        {"GET /d/%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400, 1, ""},
        {"GET /d/admin HTTP/1.1\r\nHost: x\r\n\r\n", 401, 1, ""},
        {"GET /d/admin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n\r\n", 401, 1, ""},
        {"GET /d/admin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer reader\r\n\r\n", 403, 1, ""},
        {"GET /d/admin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n", 200, 1, ""},
        {"PUT /d/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n", 413, 0, ""},
        {"PUT /d/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"
         "12345678901234567890123456789012345678901234567890"
         "123456789012345678901234567890123456789012345678901\r\n",
         413, 0, ""},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, 0, ""},
        {"GET /d/1 HTTP/1.1\r\n\r\n", 400, 0, ""},
        {"GET /d/1 HTTP/3.0\r\nHost: x\r\n\r\n", 505, 0, ""},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, 0, ""},
        {"\x16\x03\x01\x02\x05\x01\r\n\r\n", 400, 0, ""},
    };
    struct server server;
    struct client client;
    struct answer answer;

    (void)state;
    start_server(&server, 10000000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        client_open(&client, &server);
        client_text(&client, rows[i].request);
        client_read(&client, "GET", &answer);
        if (answer.status != rows[i].status || answer.keep_alive != rows[i].keep_alive)
            fail_msg("row %zu: status %u, keep-alive %d: %s", i, answer.status, answer.keep_alive,
                     (char *)answer.body.data);
        assert_string_equal(answer.allow, rows[i].allow);
        if (answer.status >= 400)
            assert_string_equal(answer.type, "application/problem+json");
        hf_buffer_done(&answer.body);
        if (answer.keep_alive) { /* the connection still works */
            client_text(&client, "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n");
            expect(&client, 200, "GET a=1 b= q= h=");
        } else {
            assert_int_equal(client_receive(&client), 0);
        }
        client_close(&client);
    }
    stop_server(&server);
}

static void limits_hold(void **state)
{
    char *head = malloc(8192);
    struct server server;
    struct client client, other;
    struct answer answer;

    (void)state;
    assert_non_null(head);
    start_server(&server, 10000000);
    client_open(&client, &server);
    snprintf(head, 8192, "GET /d/1 HTTP/1.1\r\nHost: x\r\nX: %05000d\r\n\r\n", 1);
    client_text(&client, head);
    client_read(&client, "GET", &answer);
    assert_int_equal(answer.status, 431);
    hf_buffer_done(&answer.body);
    client_close(&client);
    /* Two bodies of 1 MiB are more than 1.5 MiB: the second is refused while the first is under way. */
    client_open(&client, &server);
    client_open(&other, &server);
    snprintf(head, 8192, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
             BODY_MAXIMUM);
    client_text(&client, head);
    client_read(&client, "POST", &answer);
    assert_int_equal(answer.status, 100);
    hf_buffer_done(&answer.body);
    client_text(&other, head);
    client_read(&other, "POST", &answer);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr((char *)answer.body.data, "\"retry\":\"later\""));
    hf_buffer_done(&answer.body);
    client_close(&other);
    client_close(&client);
    free(head);
    stop_server(&server);
}

static void streams_wait_for_their_readers(void **state)
{
    struct server server;
    struct client client;
    struct answer answer;

    (void)state;
    start_server(&server, 10000000);
    client_open(&client, &server);
    client_text(&client, "GET /stream?count=200 HTTP/1.1\r\nHost: x\r\n\r\nGET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    client_read(&client, "GET", &answer);
    assert_int_equal(answer.body.size, 200 * 65536);
    hf_buffer_done(&answer.body);
    expect(&client, 200, "GET a=1 b= q= h=");
    client_close(&client);
    /* HTTP/1.0 has no chunks: the connection's end is the end. */
    client_open(&client, &server);
    client_text(&client, "GET /stream?count=20 HTTP/1.0\r\n\r\n");
    client_read(&client, "GET", &answer);
    assert_int_equal(answer.body.size, 20 * 65536);
    hf_buffer_done(&answer.body);
    client_close(&client);
    /* A reader that goes away ends its stream. */
    client_open(&client, &server);
    client_text(&client, "GET /stream?count=1000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_receive(&client), 1);
    client_close(&client);
    pthread_mutex_lock(&server.lock);
    while (!server.closed_streams)
        pthread_cond_wait(&server.changed, &server.lock);
    pthread_mutex_unlock(&server.lock);
    stop_server(&server);
}

static void answers_come_from_any_thread(void **state)
{
    struct server server;
    struct client client;

    (void)state;
    start_server(&server, 10000000);
    client_open(&client, &server);
    for (int i = 0; i < 50; i++) {
        client_text(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
        hf_http_respond(take_held(&server), 200, "text/plain", hf_slice_of("held"), NULL, 0);
        expect(&client, 200, "held");
    }
    /* The client is gone before the answer. */
    client_text(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    hf_http_request *request = take_held(&server);
    client_close(&client);
    hf_http_respond(request, 200, "text/plain", hf_slice_of("held"), NULL, 0);
    stop_server(&server);
}

static void *answer_later(void *arg)
{
    struct server *server = arg;
    struct client probe;

    /* The listener is closed while the request waits: then stopping has begun. */
    for (;;) {
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server->port)};
        probe.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct pollfd wait = {probe.fd, POLLIN, 0};
        int refused = connect(probe.fd, (struct sockaddr *)&address, sizeof address) != 0;
        if (!refused) {
            send(probe.fd, "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n", 30, MSG_NOSIGNAL);
            refused = poll(&wait, 1, 100) == 0; /* nobody accepts any more */
        }
        close(probe.fd);
        if (refused)
            break;
    }
    hf_http_respond(take_held(server), 200, "text/plain", hf_slice_of("last"), NULL, 0);
    return NULL;
}

static void stopping_waits_for_requests(void **state)
{
    struct server server;
    struct client client;
    pthread_t thread;

    (void)state;
    start_server(&server, 10000000);
    client_open(&client, &server);
    client_text(&client, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    hf_http_request *request = take_held(&server);
    server.held = request;
    assert_int_equal(pthread_create(&thread, NULL, answer_later, &server), 0);
    stop_server(&server);
    pthread_join(thread, NULL);
    expect(&client, 200, "last");
    client_close(&client);
}

static void slow_heads_are_cut(void **state)
{
    struct server server;
    struct client client;

    (void)state;
    start_server(&server, 100000);
    client_open(&client, &server);
    client_text(&client, "GET /d/1 HTT");
    assert_int_equal(client_receive(&client), 0);
    client_close(&client);
    stop_server(&server);
}

static void routes_are_checked(void **state)
{
    static const struct {
        const char *pattern;
        int32_t result;
    } rows[] = {
        {"/a/{x}/b", 0},           {"/a/{x}/b", HF_EEXIST}, {"a", HF_EINVAL}, {"/a/{}", HF_EINVAL},
        {"/a/{x}/{x}", HF_EINVAL}, {"/a/{x", HF_EINVAL},    {"/a/b", 0},      {"/", 0},
    };
    hf_router router = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hf_http_route route = {sizeof route, HF_HTTP_READ, "GET", rows[i].pattern, 0, "", describe};
        hf_error error = {0};
        if (hf_router_add(&router, &route, NULL, 0, &error) != rows[i].result)
            fail_msg("'%s': %s", rows[i].pattern, error.message);
    }
    hf_router_done(&router);
}

/* ---- Fair shares ------------------------------------------------------------------------------------------------- */

static uint32_t begin_body(struct client *client, const struct server *server, uint32_t from, uint32_t size,
                           struct answer *answer)
{
    char head[200];

    client_open_from(client, server, from);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %u\r\nExpect: 100-continue\r\n\r\n",
             size);
    client_text(client, head);
    client_read(client, "POST", answer);
    return answer->status;
}

static void one_client_leaves_memory_to_others(void **state)
{
    hf_http_settings settings = usual_settings();
    struct client clients[4];
    struct answer answer;
    struct server server;

    (void)state;
    settings.client_share = 50;
    start_server_with(&server, settings);
    assert_int_equal(begin_body(&clients[0], &server, 1, 700000, &answer), 100);
    hf_buffer_done(&answer.body);
    assert_int_equal(begin_body(&clients[1], &server, 1, 200000, &answer), 503);
    assert_non_null(strstr((char *)answer.body.data, "for this client"));
    assert_non_null(strstr((char *)answer.body.data, "\"retry_after_ms\":"));
    hf_buffer_done(&answer.body);
    assert_int_equal(begin_body(&clients[2], &server, 2, 200000, &answer), 100);
    hf_buffer_done(&answer.body);
    assert_int_equal(begin_body(&clients[3], &server, 3, 700000, &answer), 503); /* nobody's share, but no room */
    assert_null(strstr((char *)answer.body.data, "for this client"));
    hf_buffer_done(&answer.body);
    for (int i = 0; i < 4; i++)
        client_close(&clients[i]);
    stop_server(&server);
}

static void one_client_leaves_connections_to_others(void **state)
{
    hf_http_settings settings = usual_settings();
    struct client clients[17];
    struct server server;

    (void)state;
    settings.client_share = 50;
    start_server_with(&server, settings);
    for (int i = 0; i < 16; i++) {
        client_open(&clients[i], &server);
        client_text(&clients[i], "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n");
        expect(&clients[i], 200, "GET a=1 b= q= h=");
    }
    client_open(&clients[16], &server);
    assert_int_equal(client_receive(&clients[16]), 0); /* closed at once */
    client_close(&clients[16]);
    client_open_from(&clients[16], &server, 2);
    client_text(&clients[16], "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(&clients[16], 200, "GET a=1 b= q= h=");
    for (int i = 0; i < 17; i++)
        client_close(&clients[i]);
    stop_server(&server);
}

/* Sends as much as is taken, without reading, until it is disconnected; returns the bytes. */
static uint64_t send_without_reading(struct client *client, const uint8_t *bytes, uint64_t size)
{
    struct pollfd wait = {client->fd, POLLOUT | POLLRDHUP, 0};
    uint64_t total = 0, at = 0;

    for (int i = 0; i < 2000; i++) {
        if (poll(&wait, 1, 10) == 1 && wait.revents & (POLLERR | POLLHUP))
            return total;
        ssize_t n = send(client->fd, bytes + at, size - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            total += (uint64_t)n;
            at = (at + (uint64_t)n) % size;
        }
    }
    fail_msg("it was not disconnected");
    return 0;
}

static uint32_t status_of_echo(struct client *client, const char *path, char *bytes, int size)
{
    int head =
        snprintf(bytes, 200, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nContent-Length: %d\r\n\r\n",
                 path, size);
    struct answer answer;

    memset(bytes + head, 'x', (size_t)size);
    bytes[head + size] = '\0';
    client_text(client, bytes);
    client_read(client, "POST", &answer);
    if (answer.status == 200)
        assert_int_equal(answer.body.size, size);
    hf_buffer_done(&answer.body);
    return (uint32_t)answer.status;
}

static void memory_is_kept_for_administration(void **state)
{
    enum { SIZE = 512 << 10, LITTLE = 100 << 10 };
    char *bytes = malloc(SIZE + 201);
    struct client client;

    (void)state;
    assert_non_null(bytes);
    for (int what = HTTP_REFUSED_BODIES; what < HTTP_REFUSALS; what++) { /* what there is too little memory for */
        hf_http_settings settings = usual_settings();
        struct server server;

        *(what == HTTP_REFUSED_BODIES ? &settings.body_memory_maximum : &settings.answer_memory_maximum) = LITTLE;
        start_server_with(&server, settings);
        client_open(&client, &server);
        assert_int_equal(status_of_echo(&client, "/echo", bytes, SIZE), 503);
        assert_int_equal(status_of_echo(&client, "/admin/echo", bytes, SIZE), 200);
        assert_int_equal(status_of_echo(&client, "/echo", bytes, SIZE), 503);
        assert_int_equal(status_of_echo(&client, "/echo", bytes, 1000), 200);
        client_close(&client);
        stop_server(&server);
    }
    free(bytes);
}

static uint64_t metric_of(struct server *server, const char *series)
{
    char *text = NULL;
    uint64_t size = 0;

    assert_int_equal(hf_metrics_render(server->metrics, &text, &size, NULL), 0);
    const char *found = strstr(text, series);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(series), NULL, 10);
    free(text);
    return value;
}

/* Refusals are small, and not counted one by one: one that never reads them must not get ever more of them. */
static void who_never_reads_gets_few_refusals(void **state)
{
    static const char text[] = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    enum { REPEATED = 1000 };
    uint8_t *bytes = malloc(REPEATED * sizeof text);
    hf_http_settings settings = usual_settings();
    struct client client;
    struct server server;
    struct answer answer;

    (void)state;
    assert_non_null(bytes);
    for (int i = 0; i < REPEATED; i++)
        memcpy(bytes + (size_t)i * (sizeof text - 1), text, sizeof text - 1);
    settings.send_timeout_us = 1000000;
    start_server_with(&server, settings);
    client_open(&client, &server);
    client_text(&client, text);
    client_read(&client, "GET", &answer);
    hf_buffer_done(&answer.body);
    uint64_t each;
    while ((each = metric_of(&server, "\nholdfast_http_sent_bytes_total ")) == 0) /* it is counted when it has gone */
        sched_yield();
    send_without_reading(&client, bytes, REPEATED * (sizeof text - 1));
    uint64_t sent = metric_of(&server, "\nholdfast_http_sent_bytes_total ");
    uint64_t made = each * metric_of(&server, "\nholdfast_http_requests_total{class=\"4xx\"} ");
    assert_in_range(made - sent, 1, (64 << 10) + each);
    client_close(&client);
    stop_server(&server);
    free(bytes);
}

static void who_never_reads_is_disconnected(void **state)
{
    enum { BODY = 512 << 10 };
    static uint8_t bytes[BODY + 100];
    hf_http_settings settings = usual_settings();
    struct client client, other;
    struct server server;

    (void)state;
    int head = snprintf((char *)bytes, 100, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BODY);

    memset(bytes + head, 'x', BODY);
    settings.send_timeout_us = 1000000;
    start_server_with(&server, settings);
    client_open_from(&client, &server, 2);
    client_open(&other, &server);
    /* What the sockets hold of both ways, and what the server takes at most. */
    assert_in_range(send_without_reading(&client, bytes, (uint64_t)head + BODY), 1 << 20, 40 << 20);
    client_text(&other, "GET /d/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(&other, 200, "GET a=1 b= q= h=");
    client_close(&client);
    client_close(&other);
    stop_server(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_find_their_routes),
        cmocka_unit_test(bodies_of_every_size_come_back),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(streams_wait_for_their_readers),
        cmocka_unit_test(answers_come_from_any_thread),
        cmocka_unit_test(stopping_waits_for_requests),
        cmocka_unit_test(slow_heads_are_cut),
        cmocka_unit_test(routes_are_checked),
        cmocka_unit_test(one_client_leaves_memory_to_others),
        cmocka_unit_test(one_client_leaves_connections_to_others),
        cmocka_unit_test(memory_is_kept_for_administration),
        cmocka_unit_test(who_never_reads_is_disconnected),
        cmocka_unit_test(who_never_reads_gets_few_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
