/* peer/frame.h: what goes over a link, as bytes.  Pure; [any]. */
#ifndef HOLDFAST_CORE_PEER_FRAME_H
#define HOLDFAST_CORE_PEER_FRAME_H

#include "peer/peer.h"

#include <holdfast/lib/buffer.h>

enum { HF_FRAME_HEAD_SIZE = 16, HF_FRAME_HELLO_MAX = 4096, HF_PEER_PROTOCOL = 1 };

enum {
    HF_FRAME_HELLO = 1,   /* the dialler's first frame */
    HF_FRAME_WELCOME = 2, /* the answer: frames may follow */
    HF_FRAME_REFUSED = 3, /* or: a sentence that says why not */
    HF_FRAME_MESSAGE = 4,
    HF_FRAME_REQUEST = 5,
    HF_FRAME_RESPONSE = 6,
    HF_FRAME_PING = 7
};

typedef struct hf_frame {
    int32_t type;     /* HF_FRAME_... */
    uint32_t channel; /* the sender's number for it */
    int32_t code;     /* of a response */
    uint64_t id;      /* of a request and its response */
    hf_slice payload;
} hf_frame;

/* Appends a frame whose payload is made of pieces.  HF_ETOOLARGE: over HF_PEER_MESSAGE_MAX or the buffer's maximum;
 * HF_ENOMEM. */
int32_t hf_frame_append(hf_buffer *buffer, const hf_frame *frame, const hf_slice *pieces, uint32_t count);

/* Reads the frame at the start of `bytes`: returns its size, 0 when more bytes are needed (*ret_needed in all, when
 * that is known), or HF_EPROTOCOL.  The payload points into `bytes`. */
int64_t hf_frame_read(hf_slice bytes, hf_frame *ret_frame, uint64_t *ret_needed);

/* The dialler's first words. */
typedef struct hf_hello {
    uint32_t protocol;
    uint32_t lane;
    uint64_t members; /* hash of the list of members' names */
    uint64_t run;     /* a number of the dialler's process; 0: it did not say */
    hf_slice cluster;
    hf_slice from; /* node names */
    hf_slice to;
    uint32_t channel_count;
    hf_slice channels[HF_PEER_CHANNELS_MAX]; /* the name of number 0, 1, ... */
} hf_hello;

/* Lines of text, "protocol 1\n" and so on.  HF_ENOMEM. */
int32_t hf_hello_append(hf_buffer *buffer, const hf_hello *hello);
/* Slices point into `bytes`.  HF_EPROTOCOL; `protocol` is set whenever it can be read. */
int32_t hf_hello_read(hf_slice bytes, hf_hello *ret_hello);

#endif
