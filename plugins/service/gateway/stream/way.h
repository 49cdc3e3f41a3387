/* way.h: bytes from one socket to another, in one direction of a connection that is passed on as it is.
 *
 * Little goes through memory, which is cheapest for messages; what comes in bulk goes through a pipe, by which the
 * kernel only hands pages on (splice).  A way reads only while nothing waits that the other side has not taken, so it
 * holds at most GATEWAY_WAY_PIPE_SIZE bytes, and GATEWAY_WAY_SLOW_SIZE where the other side is slow.  Both sockets are
 * non-blocking streams. One thread at a time. */
#ifndef GATEWAY_WAY_H
#define GATEWAY_WAY_H

#include <holdfast/lib/buffer.h>

enum {
    /* Measured on loopback, CPU per byte beside copying: 0.57 with 1 MiB, 0.64 with 256 KiB, 0.9 with 64 KiB: what
     * costs is waking the two ends, so it is done seldom. */
    GATEWAY_WAY_PIPE_SIZE = 1 << 20,    /* asked for; what the system allows is used */
    GATEWAY_WAY_PIPE_LEAST = 256 << 10, /* a smaller one is not worth it */
    GATEWAY_WAY_SLOW_SIZE = 256 << 10,
    GATEWAY_WAY_PIPES_MAX = 512,  /* of a worker; ways without one go through memory */
    GATEWAY_WAY_SPARE_MAX = 16,   /* empty ones that are kept for later */
    GATEWAY_WAY_LARGE = 16 << 10, /* two reads in a row of so much, or one of all that can be read at once: it
                                     comes in bulk */
    GATEWAY_WAY_SMALL = 4 << 10,  /* and GATEWAY_WAY_SMALL_COUNT of less: it does not any more */
    GATEWAY_WAY_SMALL_COUNT = 8,
    GATEWAY_WAY_TURN = 1 << 20 /* bytes at a time, so that others get their turn */
};

struct gateway_pipe {
    struct gateway_pipe *next; /* spare ones */
    int32_t out, in;           /* descriptors: to read from, to write to */
    uint32_t size;             /* bytes that it takes */
};

/* The pipes of a worker.  All bytes zero: none. */
struct gateway_pipes {
    struct gateway_pipe *spare;
    uint32_t spare_count, count; /* count: all there are */
};

struct gateway_way {
    struct gateway_pipe *pipe; /* NULL: none, and nothing waits in one */
    uint32_t in_pipe;          /* bytes */
    hf_buffer waiting;         /* before those of the pipe */
    uint64_t moved;            /* bytes, taken by the other side */
    uint8_t large, small;      /* reads in a row */
    int8_t splices, is_unfit;  /* is_unfit: one of the sockets cannot be spliced */
    int8_t is_slow;            /* the other side has not taken all of what was last read */
    int8_t has_ended;          /* nothing more comes */
    int8_t is_passed_on;       /* and the other side was told */
};

enum {
    GATEWAY_WAY_GOES_ON,
    GATEWAY_WAY_BROKEN /* one of the sockets is; nothing can be moved any more */
};

void gateway_way_init(struct gateway_way *way);
void gateway_way_done(struct gateway_way *way, struct gateway_pipes *pipes);

/* Bytes that the other side has not taken yet: while there are any, wait until it takes more. */
int32_t gateway_way_waits(const struct gateway_way *way);

/* Reads from one socket and writes to the other what is there, if nothing waits.  `scratch` is memory of the caller's.
 */
int32_t gateway_way_move(struct gateway_way *way, int32_t from, int32_t to, struct gateway_pipes *pipes,
                         hf_buffer scratch);

/* Writes what waits; then tells the other side of the end, if that has come. */
int32_t gateway_way_flush(struct gateway_way *way, int32_t to, struct gateway_pipes *pipes);

/* Closes the spare ones. */
void gateway_pipes_done(struct gateway_pipes *pipes);

#endif
