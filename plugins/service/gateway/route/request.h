/* request.h: what routes and keys look at in a request: where it goes to, decoded as the server will decode it, and the
 * parts that have names.  Pure. */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include <holdfast/lib/arena.h>
#include <holdfast/lib/http1.h>

/* All of it borrowed from the head, or in the arena. */
struct gateway_request {
    const hf_http1_head *head;
    hf_slice client; /* its address: "192.0.2.1", "2001:db8::1" */
    hf_slice host;   /* without a port; empty: none was given */
    hf_slice path;   /* decoded, without "." and ".." and empty segments; "*" stays */
    hf_slice query;  /* still encoded; NULL data: none */
};

/* Reads the head.  Two ways to write a path are one path here, or else "/open/../closed" would be let through as
 * "/open".  HF_EINVAL (answer 400): it leads above the root, has a zero byte, is not encoded properly, or is none.
 * HF_ENOMEM. */
int32_t gateway_request_read(const hf_http1_head *head, hf_slice client, hf_arena *arena,
                             struct gateway_request *ret_request, hf_error *error);

/* The first cookie of that name (RFC 6265, 5.4); NULL data: there is none. */
hf_slice gateway_request_cookie(const struct gateway_request *request, hf_slice name);

/* The first argument of that name in the query, decoded into the arena; NULL data: there is none, or no memory.  One
 * without "=" is empty. */
hf_slice gateway_request_argument(const struct gateway_request *request, hf_slice name, hf_arena *arena);

/* The first field of that name; NULL data: there is none. */
hf_slice gateway_request_field(const struct gateway_request *request, hf_slice name);

#endif
