#include "tls/stream.h"

#include "tls/files.h"
#include "worker/socket.h"

#include <holdfast/lib/buffer.h>
#include <holdfast/lib/error.h>

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    RECORD = SSL3_RT_MAX_PLAIN_LENGTH,
    RECORD_ROOM = RECORD + 512, /* with its header and padding, and what OpenSSL may put before it */
    IN_SIZE = 66 << 10,         /* of four whole records */
    OUT_SIZE = 5 * RECORD_ROOM,
    READ_EXTRA = 512, /* more than is asked for: records are longer than what is in them */
    KEPT_MAX = IN_SIZE,
    UNSENT_MAX = OUT_SIZE + (256 << 10) /* a flight of a handshake with long chains, besides */
};

enum { HANDSHAKE, OPEN, BROKEN };

struct gateway_tls {
    SSL *ssl;
    struct gateway_tls_worker *worker;
    struct gateway_socket *socket;
    struct gateway_tls *next, *previous; /* those whose owners are to be called */
    struct gateway_tls_server *server;   /* held; NULL: it is a server that we ask */
    struct gateway_tls_set *set;
    struct gateway_tls_client *client; /* held */
    uint32_t place;
    uint8_t state;
    uint8_t is_waiting; /* in the worker's list */
    uint8_t has_ended;  /* the other side has said so */
    uint8_t is_cut;     /* it has closed the connection without that */
    uint8_t ends;       /* nothing more goes out behind `unsent` */
    uint8_t holds;      /* `unsent` is a handshake's last flight, which goes out with what follows */
    uint8_t owes;       /* the last byte of what `unsent` carries was not reported as written yet */
    hf_buffer kept;     /* came, but there was no room for it */
    hf_buffer unsent;   /* records that the other side has not taken yet */
};

struct gateway_tls_worker {
    const hf_loop_interface *loops;
    hf_loop *loop;
    uint32_t index;
    BIO_METHOD *method;
    hf_timer *timer; /* calls the owners of `waiting` */
    struct gateway_tls *waiting, *waiting_end;
    /* Of the connection that is at work: what OpenSSL reads, and what it has written. */
    const uint8_t *input;
    uint64_t input_size;
    uint64_t out_size;
    uint8_t *in, *out, *record; /* NULL: there was no TLS yet */
};

/* ---- What OpenSSL reads and writes ------------------------------------------------------------------------------- */

static int read_input(BIO *bio, char *bytes, int size)
{
    struct gateway_tls_worker *worker = BIO_get_data(bio);
    uint64_t part = worker->input_size < (uint64_t)size ? worker->input_size : (uint64_t)size;

    BIO_clear_retry_flags(bio);
    if (part == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(bytes, worker->input, part);
    worker->input += part;
    worker->input_size -= part;
    return (int)part;
}

static int write_output(BIO *bio, const char *bytes, int size)
{
    struct gateway_tls_worker *worker = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if ((uint64_t)size > OUT_SIZE - worker->out_size)
        return -1; /* a handshake of absurd length; others are sent before there is no room */
    memcpy(worker->out + worker->out_size, bytes, (size_t)size);
    worker->out_size += (uint64_t)size;
    return size;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* what is written is sent when OpenSSL is done */
}

static int create_bio(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

static void call_waiting(void *arg);

int32_t gateway_tls_worker_create(const hf_loop_interface *loops, hf_loop *loop, uint32_t index,
                                  struct gateway_tls_worker **ret_worker, hf_error *error)
{
    struct gateway_tls_worker *worker = calloc(1, sizeof *worker);

    if (worker)
        worker->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "gateway");
    if (!worker || !worker->method) {
        free(worker);
        return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    }
    worker->loops = loops;
    worker->loop = loop;
    worker->index = index;
    BIO_meth_set_read(worker->method, read_input);
    BIO_meth_set_write(worker->method, write_output);
    BIO_meth_set_ctrl(worker->method, control);
    BIO_meth_set_create(worker->method, create_bio);
    *ret_worker = worker;
    return HF_OK;
}

void gateway_tls_worker_destroy(struct gateway_tls_worker *worker)
{
    if (!worker)
        return;
    worker->loops->timer_destroy(worker->timer);
    BIO_meth_free(worker->method);
    free(worker->in);
    free(worker->out);
    free(worker->record);
    free(worker);
}

/* What only workers with TLS need. */
static int32_t make_ready(struct gateway_tls_worker *worker, hf_error *error)
{
    if (!worker->in)
        worker->in = malloc(IN_SIZE);
    if (!worker->out)
        worker->out = malloc(OUT_SIZE);
    if (!worker->record)
        worker->record = malloc(RECORD);
    if (!worker->in || !worker->out || !worker->record)
        return hf_error_set(error, HF_ENOMEM, "no memory for TLS");
    return worker->timer ? HF_OK
                         : worker->loops->timer_create(worker->loop, call_waiting, worker, &worker->timer, error);
}

/* ---- Owners that are to be called -------------------------------------------------------------------------------- */

static void leave_waiting(struct gateway_tls *tls)
{
    if (!tls->is_waiting)
        return;
    tls->is_waiting = 0;
    if (tls->previous)
        tls->previous->next = tls->next;
    else
        tls->worker->waiting = tls->next;
    if (tls->next)
        tls->next->previous = tls->previous;
    else
        tls->worker->waiting_end = tls->previous;
    tls->next = tls->previous = NULL;
}

static void wait_for_turn(struct gateway_tls *tls)
{
    struct gateway_tls_worker *worker = tls->worker;

    if (tls->is_waiting)
        return;
    tls->is_waiting = 1;
    tls->previous = worker->waiting_end;
    worker->waiting_end = tls;
    if (tls->previous) {
        tls->previous->next = tls;
        return;
    }
    worker->waiting = tls;
    worker->loops->timer_start(worker->timer, 0, 0);
}

/* One at a time: an owner may close any of the others. */
static void call_waiting(void *arg)
{
    struct gateway_tls_worker *worker = arg;
    struct gateway_tls *tls = worker->waiting;

    if (!tls)
        return;
    leave_waiting(tls);
    if (worker->waiting)
        worker->loops->timer_start(worker->timer, 0, 0);
    gateway_tls_ready(tls->socket, HF_WATCH_READ);
}

void gateway_tls_wanted(struct gateway_socket *socket)
{
    if (gateway_tls_has_more(socket->tls))
        wait_for_turn(socket->tls);
}

/* ---- From and to the descriptor ---------------------------------------------------------------------------------- */

static void break_off(struct gateway_tls *tls)
{
    tls->state = BROKEN;
    tls->holds = 0;
    hf_buffer_done(&tls->kept);
    hf_buffer_done(&tls->unsent);
}

/* What was kept is read first. */
static void begin_input(struct gateway_tls *tls)
{
    tls->worker->input = tls->kept.data;
    tls->worker->input_size = tls->kept.size;
    tls->worker->out_size = 0;
    ERR_clear_error(); /* what others have left of their mistakes would be taken for ours */
}

/* What was not read is kept. */
static void end_input(struct gateway_tls *tls)
{
    struct gateway_tls_worker *worker = tls->worker;
    int was_kept =
        tls->kept.size && worker->input >= tls->kept.data && worker->input <= tls->kept.data + tls->kept.size;

    if (tls->state == BROKEN)
        return;
    if (was_kept)
        hf_buffer_consume(&tls->kept, tls->kept.size - worker->input_size);
    else if (worker->input_size && hf_buffer_append(&tls->kept, worker->input, worker->input_size) != HF_OK)
        break_off(tls);
    if (tls->kept.size == 0)
        hf_buffer_done(&tls->kept);
}

/* The next bytes from the descriptor, about `most`, once all that were there are read.  1: some; 0: none now. */
static int receive(struct gateway_tls *tls, uint64_t most)
{
    struct gateway_tls_worker *worker = tls->worker;
    ssize_t got;

    hf_buffer_clear(&tls->kept);
    do
        got = recv(tls->socket->fd, worker->in, most + READ_EXTRA < IN_SIZE ? most + READ_EXTRA : IN_SIZE, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        worker->input = worker->in;
        worker->input_size = (uint64_t)got;
        return 1;
    }
    if (got == 0)
        tls->is_cut = 1;
    else if (errno != EAGAIN && errno != EWOULDBLOCK)
        break_off(tls);
    return 0;
}

/* Bytes sent; < 0: nothing can be any more. */
static int64_t send_bytes(const struct gateway_tls *tls, const uint8_t *bytes, uint64_t size)
{
    ssize_t sent;

    do
        sent = send(tls->socket->fd, bytes, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return sent;
}

static void send_unsent(struct gateway_tls *tls)
{
    int64_t sent = tls->unsent.size ? send_bytes(tls, tls->unsent.data, tls->unsent.size) : 0;

    tls->holds = 0;
    if (sent < 0) {
        break_off(tls);
        return;
    }
    hf_buffer_consume(&tls->unsent, (uint64_t)sent);
    if (tls->unsent.size)
        return;
    hf_buffer_done(&tls->unsent);
    if (tls->ends)
        (void)shutdown(tls->socket->fd, SHUT_WR); /* it fails when the other side is gone, which is as good */
}

/* Sends what OpenSSL has written, behind what waits. */
static void send_output(struct gateway_tls *tls)
{
    struct gateway_tls_worker *worker = tls->worker;
    int64_t sent = 0;

    if (tls->state == BROKEN || worker->out_size == 0)
        return;
    if (tls->unsent.size == 0 && !tls->holds)
        sent = send_bytes(tls, worker->out, worker->out_size);
    if (sent < 0 || hf_buffer_append(&tls->unsent, worker->out + sent, worker->out_size - (uint64_t)sent) != HF_OK)
        break_off(tls);
    worker->out_size = 0;
}

/* ---- Handshakes -------------------------------------------------------------------------------------------------- */

static void count(struct gateway_tls *tls, int32_t has_succeeded)
{
    if (tls->server)
        gateway_tls_server_count(tls->server, has_succeeded, SSL_session_reused(tls->ssl));
    else
        gateway_tls_client_count(tls->client, tls->place, tls->ssl, has_succeeded,
                                 tls->worker->loops->now_us(tls->worker->loop));
}

/* The last flight of a handshake can go out with what follows, where that comes at once: a client's request, or the
 * answer to a request that came with the end of the handshake. */
static void finish_handshake(struct gateway_tls *tls)
{
    tls->state = OPEN;
    count(tls, 1);
    tls->holds = !tls->server || tls->worker->input_size > 0;
}

/* It failed: the alert that says why goes out, if it can at once. */
static void fail_handshake(struct gateway_tls *tls)
{
    count(tls, 0);
    if (tls->worker->out_size && tls->unsent.size == 0)
        (void)send_bytes(tls, tls->worker->out, tls->worker->out_size);
    tls->worker->out_size = 0;
    break_off(tls);
    ERR_clear_error();
}

static void shake_hands(struct gateway_tls *tls, int reads)
{
    int result;

    begin_input(tls);
    for (;;) {
        result = SSL_do_handshake(tls->ssl);
        if (result == 1 || SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ)
            break;
        if (!reads)
            break;
        reads = 0;
        if (!receive(tls, IN_SIZE))
            break;
    }
    if (result == 1)
        finish_handshake(tls);
    else if (tls->state == BROKEN || tls->is_cut || SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ)
        fail_handshake(tls);
    end_input(tls);
    send_output(tls);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static struct gateway_tls *create(struct gateway_socket *socket, struct gateway_tls_worker *worker, SSL *ssl)
{
    struct gateway_tls *tls = calloc(1, sizeof *tls);
    BIO *bio = BIO_new(worker->method);

    if (!tls || !bio || !ssl) {
        free(tls);
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, worker);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, tls);
    tls->ssl = ssl;
    tls->worker = worker;
    tls->socket = socket;
    hf_buffer_init(&tls->kept, KEPT_MAX);
    hf_buffer_init(&tls->unsent, UNSENT_MAX);
    return tls;
}

int32_t gateway_tls_serve(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                          struct gateway_tls_server *server, hf_slice first, hf_error *error)
{
    struct gateway_tls_set *set = NULL;
    int32_t code = make_ready(worker, error);

    if (code != HF_OK)
        return code;
    SSL *ssl = gateway_tls_server_begin(server, &set);
    struct gateway_tls *tls = create(socket, worker, ssl);
    if (!tls || hf_buffer_append(&tls->kept, first.data, first.size) != HF_OK) {
        if (tls)
            SSL_free(ssl);
        free(tls);
        gateway_tls_set_release(set);
        return hf_error_set(error, HF_ENOMEM, "no memory for a TLS connection");
    }
    SSL_set_accept_state(ssl);
    tls->server = server;
    gateway_tls_server_hold(server);
    tls->set = set;
    socket->tls = tls;
    if (first.size)
        wait_for_turn(tls);
    return HF_OK;
}

int32_t gateway_tls_ask(struct gateway_socket *socket, struct gateway_tls_worker *worker,
                        struct gateway_tls_client *client, uint32_t place, hf_error *error)
{
    int32_t code = make_ready(worker, error);

    if (code != HF_OK)
        return code;
    struct gateway_tls *tls = create(socket, worker, gateway_tls_client_begin(client, worker->index, place));
    if (!tls)
        return hf_error_set(error, HF_ENOMEM, "no memory for a TLS connection");
    SSL_set_connect_state(tls->ssl);
    tls->client = client;
    gateway_tls_client_hold(client);
    tls->place = place;
    socket->tls = tls;
    shake_hands(tls, 0);
    return tls->state == BROKEN ? hf_error_set(error, HF_EIO, "the TLS connection could not begin") : HF_OK;
}

int gateway_tls_session_new(SSL *ssl, SSL_SESSION *session)
{
    const struct gateway_tls *tls = SSL_get_app_data(ssl);

    gateway_tls_client_keep(tls->client, tls->worker->index, tls->place, session);
    return 1; /* it is ours now */
}

void gateway_tls_close(struct gateway_socket *socket)
{
    struct gateway_tls *tls = socket->tls;

    if (tls->state == HANDSHAKE)
        count(tls, 0);
    leave_waiting(tls);
    /* Otherwise OpenSSL would take the session for a broken one, and not resume it. */
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    gateway_tls_set_release(tls->set);
    gateway_tls_server_release(tls->server);
    gateway_tls_client_release(tls->client);
    hf_buffer_done(&tls->kept);
    hf_buffer_done(&tls->unsent);
    free(tls);
    socket->tls = NULL;
}

/* ---- Ready ------------------------------------------------------------------------------------------------------- */

uint32_t gateway_tls_watched(const struct gateway_socket *socket)
{
    const struct gateway_tls *tls = socket->tls;
    uint32_t own = tls->unsent.size && !tls->holds ? (uint32_t)HF_WATCH_WRITE : 0u;

    return (tls->state == HANDSHAKE ? (uint32_t)HF_WATCH_READ : socket->events) | own;
}

void gateway_tls_ready(struct gateway_socket *socket, uint32_t events)
{
    struct gateway_tls *tls = socket->tls;

    if (events & HF_WATCH_WRITE && tls->state != BROKEN)
        send_unsent(tls);
    if (tls->state == HANDSHAKE && events & HF_WATCH_READ) {
        shake_hands(tls, 1);
        if (tls->state != HANDSHAKE) /* the owner learns of it by what it waits for */
            events = HF_WATCH_WRITE | (gateway_tls_has_more(tls) ? (uint32_t)HF_WATCH_READ : 0u);
    }
    gateway_socket_watch(socket);
    if (tls->state == HANDSHAKE)
        return;
    if (tls->state == BROKEN)
        events = HF_WATCH_READ | HF_WATCH_WRITE;
    if (events & socket->events)
        socket->ready(socket->arg, socket->fd, events & socket->events);
}

int32_t gateway_tls_has_more(const struct gateway_tls *tls)
{
    if (tls->state == HANDSHAKE)
        return 0;
    return tls->state == BROKEN || tls->has_ended || tls->is_cut || tls->kept.size || SSL_pending(tls->ssl) > 0;
}

int32_t gateway_tls_is_open(const struct gateway_tls *tls)
{
    return tls->state == OPEN;
}

int32_t gateway_tls_protocol(const struct gateway_tls *tls)
{
    const unsigned char *name = NULL;
    unsigned size = 0;

    SSL_get0_alpn_selected(tls->ssl, &name, &size);
    return size == 0 ? GATEWAY_ALPN_NONE : size == 2 ? GATEWAY_ALPN_H2 : GATEWAY_ALPN_HTTP1;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Reads what there is, and receives once at most.  Bytes. */
static uint64_t read_records(struct gateway_tls *tls, uint8_t *bytes, uint64_t size)
{
    uint64_t all = 0;
    int received = 0, may_end = 0;

    while (all < size && !tls->has_ended && !may_end) {
        size_t got = 0;
        int result = SSL_read_ex(tls->ssl, bytes + all, size - all, &got);

        if (result == 1) {
            all += got;
            may_end = tls->worker->input_size == 0 && !SSL_has_pending(tls->ssl);
            continue;
        }
        switch (SSL_get_error(tls->ssl, result)) {
        case SSL_ERROR_WANT_READ:
            may_end = all > 0 || received || !receive(tls, size);
            received = 1;
            break;
        case SSL_ERROR_ZERO_RETURN:
            tls->has_ended = 1;
            break;
        default:
            send_output(tls); /* the alert that says why */
            break_off(tls);
            ERR_clear_error();
            may_end = 1;
        }
    }
    return all;
}

/* What the end of what came means. */
static int64_t ended(struct gateway_tls *tls)
{
    if (tls->state == BROKEN)
        return GATEWAY_BROKEN;
    if (tls->has_ended)
        return 0;
    if (!tls->is_cut)
        return GATEWAY_AGAIN;
    return tls->client && gateway_tls_client_allows_truncation(tls->client) ? 0 : GATEWAY_BROKEN;
}

int64_t gateway_tls_read(struct gateway_socket *socket, void *bytes, uint64_t size)
{
    struct gateway_tls *tls = socket->tls;

    if (tls->state == HANDSHAKE)
        return GATEWAY_AGAIN;
    if (tls->state == BROKEN || tls->has_ended)
        return ended(tls);
    begin_input(tls);
    uint64_t got = read_records(tls, bytes, size);
    end_input(tls);
    send_output(tls);
    if (got == 0 && tls->holds) /* no answer comes soon that it could go with */
        send_unsent(tls);
    gateway_socket_watch(socket);
    return got ? (int64_t)got : ended(tls);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* Where in the pieces the next record begins. */
struct place {
    const struct iovec *pieces;
    int32_t count;
    uint64_t at; /* in the first */
};

static void skip(struct place *place, uint64_t size)
{
    while (place->count > 0 && place->pieces->iov_len - place->at <= size) {
        size -= place->pieces->iov_len - place->at;
        place->at = 0;
        place->pieces++;
        place->count--;
    }
    place->at += place->count > 0 ? size : 0;
}

/* The next record's bytes: where they are, when one piece has them all, else together. */
static hf_slice take_record(struct gateway_tls_worker *worker, struct place *place)
{
    uint64_t size = 0;
    const struct iovec *piece = place->pieces;
    uint64_t left = piece->iov_len - place->at;
    const uint8_t *bytes = (const uint8_t *)piece->iov_base + place->at;

    if (left >= RECORD || place->count == 1) {
        size = left < RECORD ? left : RECORD;
        skip(place, size);
        return (hf_slice){bytes, size};
    }
    while (place->count > 0 && size < RECORD) {
        left = place->pieces->iov_len - place->at;
        uint64_t part = left < RECORD - size ? left : RECORD - size;
        memcpy(worker->record + size, (const uint8_t *)place->pieces->iov_base + place->at, part);
        size += part;
        skip(place, part);
    }
    return (hf_slice){worker->record, size};
}

/* What is held goes first, with what follows; 0: something else still waits. */
static int begin_output(struct gateway_tls *tls)
{
    struct gateway_tls_worker *worker = tls->worker;

    worker->out_size = 0;
    ERR_clear_error();
    if (tls->holds && tls->unsent.size <= RECORD) {
        tls->holds = 0;
        if (tls->unsent.size)
            memcpy(worker->out, tls->unsent.data, tls->unsent.size);
        worker->out_size = tls->unsent.size;
        hf_buffer_done(&tls->unsent);
        return 1;
    }
    send_unsent(tls);
    return tls->unsent.size == 0 && tls->state == OPEN;
}

/* Encrypts and sends until all is sent or the other side takes no more: bytes that were encrypted. */
static uint64_t write_records(struct gateway_tls *tls, struct place *place)
{
    struct gateway_tls_worker *worker = tls->worker;
    uint64_t all = 0;

    while (place->count > 0 && tls->unsent.size == 0) {
        hf_slice record = take_record(worker, place);

        if (record.size && SSL_write(tls->ssl, record.data, (int)record.size) != (int)record.size) {
            break_off(tls);
            ERR_clear_error();
            return 0;
        }
        all += record.size;
        if (place->count == 0 || worker->out_size + RECORD_ROOM > OUT_SIZE)
            send_output(tls);
        if (tls->state == BROKEN)
            return 0;
    }
    send_output(tls); /* what was held, if there was nothing else */
    return all;
}

/* Records that wait were made of bytes that are gone; the last of these is reported as written only when all of them
 * have left.  So the owner, who keeps what was not written and writes it again first, waits as it would for a plain
 * socket, and nothing is there twice. */
int64_t gateway_tls_write(struct gateway_socket *socket, const struct iovec *pieces, int32_t count)
{
    struct gateway_tls *tls = socket->tls;
    struct place place = {pieces, count, 0};

    if (tls->state != OPEN || tls->ends)
        return tls->state == HANDSHAKE ? GATEWAY_AGAIN : GATEWAY_BROKEN;
    if (!begin_output(tls)) {
        gateway_socket_watch(socket);
        return tls->state == OPEN ? GATEWAY_AGAIN : GATEWAY_BROKEN;
    }
    uint64_t written = tls->owes;
    tls->owes = 0;
    skip(&place, written);
    written += write_records(tls, &place);
    if (tls->state == BROKEN)
        return GATEWAY_BROKEN;
    if (tls->unsent.size && written) {
        tls->owes = 1;
        written--;
    }
    gateway_socket_watch(socket);
    return written ? (int64_t)written : GATEWAY_AGAIN;
}

void gateway_tls_end(struct gateway_socket *socket)
{
    struct gateway_tls *tls = socket->tls;

    if (tls->ends)
        return;
    if (tls->state == OPEN)
        (void)begin_output(tls); /* what waits still goes before it */
    if (tls->state == OPEN) {
        (void)SSL_shutdown(tls->ssl); /* it only writes; the other side's is not waited for */
        ERR_clear_error();
        send_output(tls);
    }
    tls->ends = 1;
    if (tls->unsent.size == 0)
        (void)shutdown(socket->fd, SHUT_WR); /* it fails when the other side is gone, which is as good */
    gateway_socket_watch(socket);
}
