/* A connection's bytes: TLS over a non-blocking socket, frames in, frames out.
 *
 * Frames are appended to `out` and leave at the end of the loop's turn, so that all messages of one turn share a TLS
 * record and a system call. */
#include "peer/private.h"

#include "log.h"

#include <errno.h>
#include <holdfast/lib/error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, IN_MAXIMUM = HF_PEER_MESSAGE_MAX + 2 * READ_SIZE, SHRINK_ABOVE = 1 << 20 };

static void drive(peer_link *link);

static void ready(void *arg, int32_t fd, uint32_t events)
{
    peer_link *link = arg;

    (void)fd;
    if (events & HF_WATCH_WRITE)
        link->write_blocked = 0;
    drive(link);
}

static void set_options(int fd)
{
    int on = 1;
    unsigned timeout_ms = SILENCE_US / 1000;

    /* Both only make things quicker: a failure is harmless. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static void insert(peer_lane *lane, peer_link *link)
{
    link->lane = lane;
    link->next = lane->links;
    link->link = &lane->links;
    if (link->next)
        link->next->link = &link->next;
    lane->links = link;
}

static void take_out(peer_link *link)
{
    *link->link = link->next;
    if (link->next)
        link->next->link = link->link;
}

int32_t peer_link_open(peer_lane *lane, int fd, int dialled, uint32_t node, peer_link **ret_link)
{
    hf_peers *peers = lane->peers;
    peer_link *link = calloc(1, sizeof *link);

    if (!link)
        return HF_ENOMEM;
    link->peers = peers;
    link->references = 1;
    link->node = node;
    link->dialled = dialled;
    link->state = dialled ? LINK_CONNECTING : LINK_HANDSHAKE;
    link->fd = fd;
    link->watched = dialled ? HF_WATCH_WRITE : HF_WATCH_READ;
    link->heard_us = link->sent_us = hf_loop_now_us(lane->loop);
    hf_buffer_init(&link->in, IN_MAXIMUM);
    hf_buffer_init(&link->out, peers->settings.queue_limit + HF_FRAME_HEAD_SIZE + HF_PEER_MESSAGE_MAX);
    set_options(fd);
    link->ssl = SSL_new(dialled ? peers->client : peers->server);
    if (!link->ssl || SSL_set_fd(link->ssl, fd) != 1 ||
        hf_watch_create(lane->loop, fd, link->watched, ready, link, &link->watch, NULL) != 0) {
        SSL_free(link->ssl);
        free(link);
        return HF_ENOMEM;
    }
    SSL_set_mode(link->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* One system call brings all records that have come; otherwise each would take two, its head and its body.  The
     * links are few and busy, so they keep their buffers. */
    SSL_set_read_ahead(link->ssl, 1);
    SSL_set_default_read_buffer_len(link->ssl, READ_SIZE);
    if (dialled)
        SSL_set_connect_state(link->ssl);
    else
        SSL_set_accept_state(link->ssl);
    insert(lane, link);
    *ret_link = link;
    return 0;
}

void peer_link_release(peer_link *link)
{
    if (--link->references > 0)
        return;
    hf_buffer_done(&link->in);
    hf_buffer_done(&link->out);
    free(link);
}

void peer_link_close(peer_link *link, const char *why)
{
    int was_up = link->state == LINK_UP;

    if (link->state == LINK_CLOSED)
        return;
    if (was_up && link->run)
        peer_link_unhold(link);
    if (was_up && link->lane->stopping) {
        ERR_clear_error();
        (void)SSL_shutdown(link->ssl); /* one try, so that the other side sees no accident */
        ERR_clear_error();
    }
    if (why && !link->lane->stopping)
        peer_complain_of_link(link, why);
    link->state = LINK_CLOSED;
    peer_link_uncount(link);
    hf_watch_destroy(link->watch);
    SSL_free(link->ssl);
    link->ssl = NULL;
    close(link->fd);
    take_out(link);
    if (link->dialled)
        peer_dial_lost(link->lane, link->node);
    peer_calls_end(link, HF_EIO);
    if (was_up && link->dialled)
        peer_link_lost(link);
    peer_link_release(link);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static void watch(peer_link *link)
{
    uint32_t events = link->state == LINK_CONNECTING ? HF_WATCH_WRITE : HF_WATCH_READ;

    if (link->write_blocked)
        events |= HF_WATCH_WRITE;
    if (events == link->watched)
        return;
    if (hf_watch_change(link->watch, events, NULL) == 0)
        link->watched = events;
    else
        peer_link_close(link, "no memory to watch it");
}

/* Whether the connection came to its end without a word from TLS. */
static int ended(const peer_link *link, int reason)
{
    return SSL_get_verify_result(link->ssl) == X509_V_OK &&
           (reason == SSL_ERROR_SYSCALL || ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

static void close_for_tls(peer_link *link)
{
    hf_error error = {0};

    hf_tls_handshake_error(
        link->ssl, link->node == NO_NODE ? "a stranger" : link->peers->settings.members[link->node].name, &error);
    peer_link_close(link, error.message);
}

/* What a failed TLS call means: 1 wait, 0 the link is closed. */
static int blocked(peer_link *link, int result)
{
    int reason = SSL_get_error(link->ssl, result);

    if (reason == SSL_ERROR_WANT_READ)
        return 1;
    if (reason == SSL_ERROR_WANT_WRITE) {
        link->write_blocked = 1;
        return 1;
    }
    if (reason == SSL_ERROR_ZERO_RETURN)
        peer_link_close(link, "the other side closed it");
    else if (ended(link, reason))
        peer_link_close(link, link->state == LINK_UP ? "the connection broke" : "it ended the connection early");
    else
        close_for_tls(link);
    return 0;
}

static int finish_connect(peer_link *link)
{
    int code = 0;
    socklen_t size = sizeof code;

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0)
        code = errno;
    if (code == EINPROGRESS)
        return 1;
    if (code) {
        peer_link_close(link, strerror(code));
        return 0;
    }
    link->state = LINK_HANDSHAKE;
    return 1;
}

static int handshake(peer_link *link)
{
    ERR_clear_error();
    int result = SSL_do_handshake(link->ssl);

    if (result != 1)
        return blocked(link, result);
    link->state = LINK_HELLO;
    peer_link_begin(link);
    return link->state != LINK_CLOSED;
}

static int take_frames(peer_link *link)
{
    uint64_t at = 0, needed = 0;

    while (link->state != LINK_CLOSED) {
        const char *why = "it sent what is not a frame";
        hf_frame frame;
        int64_t size = hf_frame_read((hf_slice){link->in.data + at, link->in.size - at}, &frame, &needed);

        if (size == 0)
            break;
        if (size < 0 || peer_link_frame(link, &frame, &why) != 0) {
            peer_link_close(link, why);
            return 0;
        }
        at += (uint64_t)size;
        if (link->moving) { /* it goes on on another loop, with the bytes that are left */
            hf_buffer_consume(&link->in, at);
            return 0;
        }
    }
    if (link->state == LINK_CLOSED)
        return 0;
    hf_buffer_consume(&link->in, at);
    if (!link->in.size && link->in.capacity > SHRINK_ABOVE)
        hf_buffer_done(&link->in);
    if (link->in.size && needed > link->in.size && hf_buffer_reserve(&link->in, needed - link->in.size) != 0) {
        peer_link_close(link, "no memory for a large message");
        return 0;
    }
    return 1;
}

/* Reads what there is.  Returns 0 when the link was closed or has moved. */
static int receive(peer_link *link)
{
    for (;;) {
        if (hf_buffer_reserve(&link->in, READ_SIZE) != 0) {
            peer_link_close(link, "no memory for what it sends");
            return 0;
        }
        ERR_clear_error();
        int room = (int)(link->in.capacity - link->in.size);
        int size = SSL_read(link->ssl, link->in.data + link->in.size, room);

        if (size <= 0)
            return blocked(link, size);
        link->in.size += (uint64_t)size;
        if (link->state == LINK_UP) { /* before that, drops of a hello do not gain time */
            link->heard_us = hf_loop_now_us(link->lane->loop);
            if (link->run)
                atomic_store_explicit(&link->peers->holders[link->node].heard_us, link->heard_us, memory_order_relaxed);
        }
        hf_metric_increment(link->peers->received_bytes, (uint64_t)size);
        if (!take_frames(link))
            return 0;
        if (size < room && !SSL_has_pending(link->ssl)) /* the loop tells when there is more */
            return 1;
    }
}

static int transmit(peer_link *link)
{
    uint64_t at = 0;

    if (link->write_blocked)
        return 1;
    while (at < link->out.size) {
        uint64_t left = link->out.size - at;

        ERR_clear_error();
        int size = SSL_write(link->ssl, link->out.data + at, left > INT32_MAX ? INT32_MAX : (int)left);
        if (size <= 0) {
            hf_buffer_consume(&link->out, at);
            return blocked(link, size);
        }
        at += (uint64_t)size;
        hf_metric_increment(link->peers->sent_bytes, (uint64_t)size);
    }
    hf_buffer_consume(&link->out, at);
    if (at)
        link->sent_us = hf_loop_now_us(link->lane->loop);
    if (link->out.capacity > SHRINK_ABOVE)
        hf_buffer_done(&link->out);
    return 1;
}

static void move(peer_link *link);

static void drive(peer_link *link)
{
    link->references++;
    if (link->state == LINK_CONNECTING && (!finish_connect(link) || link->state == LINK_CONNECTING))
        goto out;
    if (link->state == LINK_HANDSHAKE && !handshake(link))
        goto out;
    if (link->state >= LINK_HELLO && !receive(link))
        goto out;
    if (link->state >= LINK_HELLO && link->out.size && !transmit(link))
        goto out;
    watch(link);
out:
    if (link->moving) { /* it is only just open: nobody else looks at it */
        link->references--;
        move(link);
    } else {
        peer_link_release(link);
    }
}

/* ---- Flushing and moving -------------------------------------------------------------------------------------- */

static void flush(hf_task *task)
{
    peer_link *link = (peer_link *)((char *)task - offsetof(peer_link, flush_task));

    link->flush_posted = 0;
    if (link->state != LINK_CLOSED && transmit(link))
        watch(link);
    peer_link_release(link);
}

void peer_link_flush_soon(peer_link *link)
{
    if (link->flush_posted)
        return;
    link->flush_posted = 1;
    link->references++;
    link->flush_task.run = flush;
    hf_loop_post(link->lane->loop, &link->flush_task);
}

/* [the new loop] */
static void arrive(hf_task *task)
{
    peer_link *link = (peer_link *)((char *)task - offsetof(peer_link, move_task));
    peer_lane *lane = link->lane;

    insert(lane, link);
    link->watched = HF_WATCH_READ;
    if (lane->stopping || hf_watch_create(lane->loop, link->fd, HF_WATCH_READ, ready, link, &link->watch, NULL) != 0) {
        peer_link_close(link, "no memory to watch it");
        return;
    }
    link->references++;
    peer_link_welcome(link);
    if (take_frames(link)) /* what came together with the hello */
        drive(link);
    peer_link_release(link);
}

static void move(peer_link *link)
{
    take_out(link);
    hf_watch_destroy(link->watch);
    link->watch = NULL;
    link->lane = link->moving;
    link->moving = NULL;
    link->move_task.run = arrive;
    hf_loop_post(link->lane->loop, &link->move_task);
}
