/* gzip.h: whether an answer is compressed on its way to the client, and what its head says then.  Pure. */
#ifndef GATEWAY_GZIP_H
#define GATEWAY_GZIP_H

#include "forward/forward.h"

#include <holdfast/lib/arena.h>

/* What a route compresses. */
struct gateway_gzip {
    int32_t level; /* of zlib; 0: nothing */
    uint64_t minimum;
    const hf_slice *types; /* "text/html", or a whole kind of them: "text/" followed by a star */
    uint32_t type_count;
};

enum {
    GATEWAY_GZIP_NONE,   /* it goes as it is */
    GATEWAY_GZIP_VARIES, /* likewise, but it would be compressed for other clients */
    GATEWAY_GZIP_DOES
};

/* An answer as a client gets it: its head with what the route has otherwise. */
struct gateway_gzip_answer {
    const hf_http1_head *head;
    const struct gateway_edit *edits;
    uint32_t edit_count;
};

int32_t gateway_gzip_decide(const struct gateway_gzip *gzip, const hf_http1_head *request,
                            const struct gateway_gzip_answer *answer);

/* Replaces the answer's edits by a list in the arena that has those of the decision, too.  HF_ENOMEM. */
int32_t gateway_gzip_edit(int32_t decision, struct gateway_gzip_answer *answer, hf_arena *arena);

/* Whether it is a type as in gateway_gzip.types. */
int32_t gateway_gzip_is_type(hf_slice type);

#endif
