/* guard.h: HTTP/2 frames that cost us more than whoever sends them, counted before anything else looks at them
 * (CVE-2019-9511 and following, CVE-2023-44487, CVE-2024-27316): streams that are opened only to be reset, heads that
 * never end, and frames that say nothing, such as PING, SETTINGS, PRIORITY and empty DATA, without end.
 *
 * It follows the borders of frames itself, so that nothing depends on what a library bounds in which version.
 * One thread at a time.  Pure. */
#ifndef GATEWAY_HTTP2_GUARD_H
#define GATEWAY_HTTP2_GUARD_H

#include "guard/token_bucket.h"

enum {
    GATEWAY_HTTP2_PREFACE_SIZE = 24,
    GATEWAY_HTTP2_CONTINUATIONS_MAX = 32, /* of one head */
    GATEWAY_HTTP2_RESETS_BURST = 200,     /* streams that may be reset at once, */
    GATEWAY_HTTP2_RESETS_RATE = 50,       /* and a second */
    GATEWAY_HTTP2_CONTROLS_BURST = 1000,  /* frames that say nothing; each with content allows one more */
    GATEWAY_HTTP2_CONTROLS_RATE = 100
};

struct gateway_http2_guard {
    uint8_t head[9]; /* of the frame that has begun */
    uint32_t have;   /* bytes of it */
    uint64_t left;   /* bytes of what follows it, or of the preface */
    uint32_t head_maximum;
    uint32_t block_size; /* of the head of a request that has begun, as it is encoded */
    uint32_t continuations;
    int32_t in_block;              /* it has not ended */
    uint32_t last_stream;          /* the highest that has begun */
    uint32_t skipped_at, began_at; /* the last gap before one: streams in it can never begin (RFC 9113, 5.1.1) */
    uint32_t code;                 /* of the error, when the connection is to end (RFC 9113, 7) */
    struct gateway_bucket resets, controls;
    uint64_t updates, updates_allowed; /* frames WINDOW_UPDATE */
};

/* `preface`: bytes that come before the first frame.  `head_maximum`: bytes of a head as it is encoded. */
void gateway_http2_guard_init(struct gateway_http2_guard *guard, uint64_t preface, uint32_t head_maximum,
                              uint64_t now_us);

/* The next bytes that have come; NULL, or why the connection is to end, and with which `code`. */
const char *gateway_http2_guard_look(struct gateway_http2_guard *guard, hf_slice bytes, uint64_t now_us);

/* A frame DATA went out: the other side may give way for it. */
void gateway_http2_guard_sent(struct gateway_http2_guard *guard);

/* We have reset a stream for what the other side did.  NULL, or why the connection is to end. */
const char *gateway_http2_guard_reset(struct gateway_http2_guard *guard, uint64_t now_us);

#endif
