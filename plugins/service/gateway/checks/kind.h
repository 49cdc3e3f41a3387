/* kind.h: how a server is asked whether it is well, and what its answer says.  Pure.
 *
 * Another kind is another row in kind.c, and a word of the option `type`: what it sends once it is connected, and what
 * it makes of the bytes that come. */
#ifndef GATEWAY_CHECK_KIND_H
#define GATEWAY_CHECK_KIND_H

#include "options/options.h"

#include <holdfast/lib/buffer.h>

enum {
    GATEWAY_CHECK_HEAD_MAX = 16 << 10,                                                /* of an answer */
    GATEWAY_CHECK_BODY_MAX = 16 << 10,                                                /* that is looked at */
    GATEWAY_CHECK_BYTES_MAX = GATEWAY_CHECK_HEAD_MAX + GATEWAY_CHECK_BODY_MAX + 16384 /* read at most: chunks, too */
};

enum { GATEWAY_CHECK_OPEN, GATEWAY_CHECK_WELL, GATEWAY_CHECK_ILL };

struct gateway_check_verdict {
    int32_t state; /* GATEWAY_CHECK_OPEN: more bytes are needed */
    char why[64];  /* "status 503"; "": it is well */
};

struct gateway_check_kind {
    /* Appends what is sent as soon as there is a connection.  `address` is the server's, as configured.  Errors as
     * hf_buffer_append.  NULL: nothing is sent. */
    int32_t (*begin)(const struct gateway_check_options *check, const char *address, hf_buffer *out);

    /* Looks at all that has come so far, at first with nothing; `ended`: nothing more comes. */
    void (*look)(const struct gateway_check_options *check, hf_slice bytes, int32_t ended,
                 struct gateway_check_verdict *verdict);
};

/* Of a type other than GATEWAY_CHECK_NONE. */
const struct gateway_check_kind *gateway_check_kind(int32_t type);

/* Sets a verdict that the server is not well, and why. */
void gateway_check_ill(struct gateway_check_verdict *verdict, const char *format, ...) HF_PRINTF(2, 3);

#endif
