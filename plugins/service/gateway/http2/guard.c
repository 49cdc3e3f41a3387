#include "http2/guard.h"

#include <stddef.h>

/* RFC 9113, 6. */
enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4, HEAD_SIZE = 9 };
enum { PROTOCOL_ERROR = 1, ENHANCE_YOUR_CALM = 11 };
enum { UPDATES_FREE = 1000, UPDATES_FOR_DATA = 10, UPDATES_FOR_STREAM = 4 };

static const struct gateway_bucket_rules reset_rules = {.rate = GATEWAY_HTTP2_RESETS_RATE,
                                                        .burst = GATEWAY_HTTP2_RESETS_BURST};
static const struct gateway_bucket_rules control_rules = {.rate = GATEWAY_HTTP2_CONTROLS_RATE,
                                                          .burst = GATEWAY_HTTP2_CONTROLS_BURST};

void gateway_http2_guard_init(struct gateway_http2_guard *guard, uint64_t preface, uint32_t head_maximum,
                              uint64_t now_us)
{
    *guard = (struct gateway_http2_guard){
        .left = preface, .head_maximum = head_maximum, .code = ENHANCE_YOUR_CALM, .updates_allowed = UPDATES_FREE};
    gateway_bucket_init(&guard->resets, &reset_rules, now_us);
    gateway_bucket_init(&guard->controls, &control_rules, now_us);
}

const char *gateway_http2_guard_reset(struct gateway_http2_guard *guard, uint64_t now_us)
{
    return gateway_bucket_take(&guard->resets, &reset_rules, 1, now_us) == 0 ? NULL : "streams are reset too often";
}

static const char *take_control(struct gateway_http2_guard *guard, uint64_t now_us)
{
    return gateway_bucket_take(&guard->controls, &control_rules, 1, now_us) == 0 ? NULL
                                                                                 : "too many frames without content";
}

/* nghttp2 takes what comes on a stream that was left out for something late on one that has ended. */
static int is_skipped(struct gateway_http2_guard *guard)
{
    const uint8_t *id = guard->head + 5;
    uint32_t stream = ((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) & 0x7fffffff;

    if (stream <= guard->last_stream)
        return stream > guard->skipped_at && stream < guard->began_at;
    if (stream > guard->last_stream + 2) {
        guard->skipped_at = guard->last_stream;
        guard->began_at = stream;
    }
    guard->last_stream = stream;
    return 0;
}

static const char *begin_block(struct gateway_http2_guard *guard, uint32_t size, uint8_t flags)
{
    if (is_skipped(guard)) {
        guard->code = PROTOCOL_ERROR;
        return "a stream begins after one with a higher number";
    }
    guard->block_size = size;
    guard->continuations = 0;
    guard->in_block = !(flags & END_HEADERS);
    guard->updates_allowed += UPDATES_FOR_STREAM;
    gateway_bucket_add(&guard->controls, &control_rules, 1);
    return size > guard->head_maximum ? "the head of a request is too large" : NULL;
}

static const char *continue_block(struct gateway_http2_guard *guard, uint32_t size, uint8_t flags)
{
    guard->block_size += size;
    guard->in_block = !(flags & END_HEADERS);
    if (guard->block_size > guard->head_maximum)
        return "the head of a request is too large";
    return ++guard->continuations > GATEWAY_HTTP2_CONTINUATIONS_MAX ? "the head of a request has too many parts" : NULL;
}

static const char *judge(struct gateway_http2_guard *guard, uint64_t now_us)
{
    uint32_t size = (uint32_t)guard->head[0] << 16 | (uint32_t)guard->head[1] << 8 | guard->head[2];
    uint8_t type = guard->head[3], flags = guard->head[4];

    guard->left = size;
    switch (type) {
    case DATA:
        if (size == 0 && !(flags & END_STREAM))
            return take_control(guard, now_us);
        gateway_bucket_add(&guard->controls, &control_rules, 1);
        return NULL;
    case HEADERS:
        return begin_block(guard, size, flags);
    case CONTINUATION:
        return continue_block(guard, size, flags);
    case RST_STREAM:
        return gateway_http2_guard_reset(guard, now_us);
    case WINDOW_UPDATE:
        return ++guard->updates > guard->updates_allowed ? "too many updates of windows" : NULL;
    default:
        return take_control(guard, now_us);
    }
}

const char *gateway_http2_guard_look(struct gateway_http2_guard *guard, hf_slice bytes, uint64_t now_us)
{
    uint64_t at = 0;

    while (at < bytes.size) {
        if (guard->left) {
            uint64_t size = guard->left < bytes.size - at ? guard->left : bytes.size - at;

            guard->left -= size;
            at += size;
            continue;
        }
        guard->head[guard->have++] = bytes.data[at++];
        if (guard->have < HEAD_SIZE)
            continue;
        guard->have = 0;
        const char *why = judge(guard, now_us);
        if (why)
            return why;
    }
    return NULL;
}

void gateway_http2_guard_sent(struct gateway_http2_guard *guard)
{
    guard->updates_allowed += UPDATES_FOR_DATA;
    gateway_bucket_add(&guard->controls, &control_rules, 1);
}
