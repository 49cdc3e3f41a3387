/* Speaks to a node by hand; see stranger.h. */
#include "stranger.h"

#include <arpa/inet.h>
#include <holdfast/lib/hash.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CAPACITY = 1 << 20 };

int stranger_dial(const kit_node *node)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(node->port)};
    const struct timeval patience = {30, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void stranger_expect_end_plain(int fd)
{
    char bytes[1024];
    ssize_t got;

    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0)
        ;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        fail_msg("the node did not hang up");
}

static SSL *make_tls(const SSL_METHOD *method, const char *directory, const char *name, int fd)
{
    SSL_CTX *context = SSL_CTX_new(method);
    char path[200];

    assert_non_null(context);
    if (name) {
        snprintf(path, sizeof path, "%s/%s.crt", directory, name);
        assert_int_equal(SSL_CTX_use_certificate_chain_file(context, path), 1);
        snprintf(path, sizeof path, "%s/%s.key", directory, name);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM), 1);
    }
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context); /* lives on in ssl */
    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    return ssl;
}

SSL *stranger_dial_tls(const kit_node *node, const char *directory, const char *name)
{
    SSL *ssl = make_tls(TLS_client_method(), directory, name, stranger_dial(node));

    (void)SSL_connect(ssl);
    return ssl;
}

SSL *stranger_accept(const kit_node *node, const char *name)
{
    const struct timeval patience = {30, 0};
    struct pollfd wait = {node->listener, POLLIN, 0};

    for (;;) { /* a connection that waited here for too long has been given up by its dialler */
        assert_int_equal(poll(&wait, 1, 30000), 1);
        int fd = accept(node->listener, NULL, NULL);
        assert_true(fd >= 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
        SSL *ssl = make_tls(TLS_server_method(), kit_directory, name, fd);
        if (SSL_accept(ssl) == 1)
            return ssl;
        stranger_hang_up(ssl);
    }
}

void stranger_hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    close(fd);
}

void stranger_expect_end(SSL *ssl)
{
    char bytes[1024];
    int got;

    while ((got = SSL_read(ssl, bytes, sizeof bytes)) > 0)
        ;
    if (SSL_get_error(ssl, got) == SSL_ERROR_WANT_READ)
        fail_msg("the node did not hang up");
}

hf_slice stranger_text(const char *text)
{
    return (hf_slice){(const uint8_t *)text, strlen(text)};
}

hf_hello stranger_good_hello(void)
{
    hf_hello hello = {.protocol = HF_PEER_PROTOCOL,
                      .lane = 1,
                      .cluster = stranger_text("test"),
                      .from = stranger_text("n2"),
                      .to = stranger_text("n1"),
                      .channel_count = 2,
                      .channels = {stranger_text("unknown"), stranger_text("test")}};

    for (int i = 0; i < KIT_NODES; i++)
        hello.members = hf_hash64(hello.members, kit_nodes[i].name, strlen(kit_nodes[i].name) + 1);
    return hello;
}

void stranger_add_frame(hf_buffer *bytes, int32_t type, uint32_t channel, uint64_t id, const char *payload)
{
    const hf_frame frame = {.type = type, .channel = channel, .id = id};
    const hf_slice piece = stranger_text(payload);

    bytes->maximum = CAPACITY;
    assert_int_equal(hf_frame_append(bytes, &frame, &piece, 1), 0);
}

void stranger_add_hello(hf_buffer *bytes, const hf_hello *hello)
{
    const hf_frame frame = {.type = HF_FRAME_HELLO};
    hf_buffer text;

    bytes->maximum = CAPACITY;
    hf_buffer_init(&text, CAPACITY);
    assert_int_equal(hf_hello_append(&text, hello), 0);
    assert_int_equal(hf_frame_append(bytes, &frame, &(hf_slice){text.data, text.size}, 1), 0);
    hf_buffer_done(&text);
}

void stranger_say(SSL *ssl, const hf_buffer *bytes)
{
    assert_int_equal(SSL_write(ssl, bytes->data, (int)bytes->size), (int)bytes->size);
}

hf_frame stranger_read(SSL *ssl, hf_buffer *buffer)
{
    hf_frame frame = {0};
    uint64_t needed = HF_FRAME_HEAD_SIZE;

    buffer->maximum = CAPACITY;
    hf_buffer_clear(buffer);
    while (hf_frame_read((hf_slice){buffer->data, buffer->size}, &frame, &needed) == 0) {
        assert_int_equal(hf_buffer_reserve(buffer, needed - buffer->size), 0);
        int size = SSL_read(ssl, buffer->data + buffer->size, (int)(needed - buffer->size));
        assert_true(size > 0);
        buffer->size += (uint64_t)size;
    }
    return frame;
}

SSL *stranger_greet(const kit_node *node)
{
    const hf_hello hello = stranger_good_hello();
    hf_buffer bytes = {0}, answer = {0};
    SSL *ssl = stranger_dial_tls(node, kit_directory, "n2");

    stranger_add_hello(&bytes, &hello);
    stranger_say(ssl, &bytes);
    assert_int_equal(stranger_read(ssl, &answer).type, HF_FRAME_WELCOME);
    hf_buffer_done(&bytes);
    hf_buffer_done(&answer);
    return ssl;
}
