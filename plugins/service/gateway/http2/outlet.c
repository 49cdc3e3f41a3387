/* Bodies on their way out of a session, and all else that it sends. */
#include "http2/private.h"

#include <holdfast/lib/error.h>

#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 9, TEXT_ROOM = GATEWAY_HTTP2_FRAME_MAX + 2 * HEAD_SIZE, PIECES_ROOM = 4 };

struct gateway_http2_scratch *gateway_http2_scratch(struct gateway_worker *worker)
{
    if (!worker->http2)
        worker->http2 = calloc(1, sizeof *worker->http2);
    return worker->http2;
}

/* ---- What goes out with the next write -------------------------------------------------------------------------- */

static void put_piece(struct gateway_http2_scratch *scratch, const void *bytes, uint64_t size)
{
    scratch->pieces[scratch->piece_count++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

/* Text stands together, and is one piece as long as no other comes between. */
static void put_text(struct gateway_http2_scratch *scratch, const uint8_t *bytes, uint64_t size)
{
    uint8_t *at = scratch->text + scratch->text_size;
    struct iovec *last = scratch->piece_count ? &scratch->pieces[scratch->piece_count - 1] : NULL;

    memcpy(at, bytes, size);
    scratch->text_size += (uint32_t)size;
    if (last && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += size;
    else
        put_piece(scratch, at, size);
}

static int has_room(const struct gateway_http2_scratch *scratch)
{
    return scratch->text_size + TEXT_ROOM <= sizeof scratch->text &&
           scratch->piece_count + PIECES_ROOM <= GATEWAY_HTTP2_PIECES_MAX;
}

/* ---- Bodies ----------------------------------------------------------------------------------------------------- */

static uint64_t waiting_left(const struct gateway_outlet *outlet)
{
    return outlet->waiting->size - outlet->waiting_taken;
}

static uint64_t pieces_left(const struct gateway_outlet *outlet)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < outlet->piece_count; i++)
        size += outlet->pieces[i].iov_len;
    return size - (outlet->piece_count ? outlet->piece_taken : 0);
}

/* The bytes are not moved for every frame. */
static void take_waiting(struct gateway_outlet *outlet, struct gateway_http2_scratch *scratch, uint64_t size)
{
    put_text(scratch, outlet->waiting->data + outlet->waiting_taken, size);
    outlet->waiting_taken += size;
    if (outlet->waiting_taken * 2 < outlet->waiting->size)
        return;
    hf_buffer_consume(outlet->waiting, outlet->waiting_taken);
    outlet->waiting_taken = 0;
}

static void take_pieces(struct gateway_outlet *outlet, struct gateway_http2_scratch *scratch, uint64_t size)
{
    while (size) {
        const struct iovec *piece = outlet->pieces;
        uint64_t left = piece->iov_len - outlet->piece_taken, part = left < size ? left : size;

        if (part)
            put_piece(scratch, (const uint8_t *)piece->iov_base + outlet->piece_taken, part);
        size -= part;
        outlet->piece_taken += part;
        if (part == left) {
            outlet->pieces++;
            outlet->piece_count--;
            outlet->piece_taken = 0;
        }
    }
}

static void submit_trailers(nghttp2_session *session, int32_t stream, const struct gateway_outlet *outlet)
{
    nghttp2_nv fields[HF_HTTP1_HEADERS_MAX];
    uint32_t count = gateway_http2_trailers((hf_slice){outlet->trailers.data, outlet->trailers.size}, fields);

    if (nghttp2_submit_trailer(session, stream, fields, count) != 0)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR);
}

ssize_t gateway_outlet_read(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t size, uint32_t *flags,
                            nghttp2_data_source *source, void *arg)
{
    struct gateway_outlet *outlet = source->ptr;
    uint64_t there = waiting_left(outlet) + pieces_left(outlet);

    (void)bytes;
    (void)arg;
    if (there == 0 && !outlet->ended)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (there > size)
        return (ssize_t)size;
    if (outlet->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (outlet->trailers.size) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(session, stream, outlet);
        }
    }
    return (ssize_t)there;
}

int32_t gateway_outlet_send(struct gateway_http2_scratch *scratch, const uint8_t *head, uint64_t size,
                            struct gateway_outlet *outlet)
{
    uint64_t left = waiting_left(outlet), from_waiting = left < size ? left : size;

    if (scratch->text_size + HEAD_SIZE + from_waiting > sizeof scratch->text ||
        scratch->piece_count + 2 + (size > from_waiting ? outlet->piece_count : 0) > GATEWAY_HTTP2_PIECES_MAX) {
        scratch->is_full = 1;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    put_text(scratch, head, HEAD_SIZE);
    if (from_waiting)
        take_waiting(outlet, scratch, from_waiting);
    if (size > from_waiting)
        take_pieces(outlet, scratch, size - from_waiting);
    if (from_waiting && outlet->taken)
        outlet->taken(outlet);
    return 0;
}

int32_t gateway_outlet_keep(struct gateway_outlet *outlet)
{
    int32_t code = HF_OK;

    for (; outlet->piece_count && code == HF_OK; outlet->piece_count--, outlet->pieces++) {
        code = hf_buffer_append(outlet->waiting, (const uint8_t *)outlet->pieces->iov_base + outlet->piece_taken,
                                outlet->pieces->iov_len - outlet->piece_taken);
        outlet->piece_taken = 0;
    }
    outlet->piece_count = 0;
    outlet->piece_taken = 0;
    return code;
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

/* Fills the scratch.  < 0: the session cannot go on. */
static ssize_t gather(nghttp2_session *session, struct gateway_http2_scratch *scratch)
{
    ssize_t size = 0;

    scratch->is_full = 0;
    scratch->text_size = scratch->piece_count = 0;
    do {
        const uint8_t *bytes;

        size = nghttp2_session_mem_send(session, &bytes);
        if (size > 0)
            put_text(scratch, bytes, (uint64_t)size);
        scratch->is_full |= !has_room(scratch);
    } while (size > 0 && !scratch->is_full);
    return size;
}

static int32_t keep(const struct gateway_http2_scratch *scratch, uint64_t sent, hf_buffer *waiting)
{
    int32_t code = HF_OK;

    for (uint32_t i = 0; i < scratch->piece_count && code == HF_OK; i++) {
        const struct iovec *piece = &scratch->pieces[i];
        uint64_t part = sent < piece->iov_len ? sent : piece->iov_len;

        sent -= part;
        code = hf_buffer_append(waiting, (const uint8_t *)piece->iov_base + part, piece->iov_len - part);
    }
    return code;
}

int32_t gateway_http2_send(nghttp2_session *session, struct gateway_http2_scratch *scratch,
                           struct gateway_socket *socket, hf_buffer *waiting)
{
    int32_t code = HF_OK;

    while (waiting->size == 0 && code == HF_OK) {
        if (gather(session, scratch) < 0)
            return HF_ENOMEM;
        if (scratch->piece_count == 0)
            return HF_OK;
        int64_t sent = gateway_socket_write(socket, scratch->pieces, (int32_t)scratch->piece_count);
        if (sent == GATEWAY_BROKEN)
            return HF_EIO;
        code = keep(scratch, sent > 0 ? (uint64_t)sent : 0, waiting);
        if (!scratch->is_full)
            break;
    }
    return code;
}
