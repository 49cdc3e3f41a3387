/* key.h: the key by which keyed balancers choose a server, and releases their users: requests with the same key meet
 * the same one.  Pure. */
#ifndef GATEWAY_KEY_H
#define GATEWAY_KEY_H

#include "route/request.h"

enum {
    GATEWAY_KEY_CLIENT, /* its address */
    GATEWAY_KEY_FIELD,
    GATEWAY_KEY_COOKIE,
    GATEWAY_KEY_PATH,
    GATEWAY_KEY_ARGUMENT, /* of the query */
    GATEWAY_KEY_POLICY,   /* what a policy says; not in the request itself */
    GATEWAY_KEY_BODY      /* a member at the top of the JSON object that is the body: a string, or an integer */
};

struct gateway_key {
    int32_t of;    /* GATEWAY_KEY_... */
    hf_slice name; /* of a field, cookie, argument or member */
};

/* What the key is of, as gateway_key_hash looks at it; no data or no bytes: there is none. */
hf_slice gateway_key_value(const struct gateway_key *key, const struct gateway_request *request, hf_slice body,
                           hf_arena *arena);

/* Hashes what the key is of; 0: the request has none of it, or it is empty.  `body` is of use for GATEWAY_KEY_BODY
 * only: all of it, or what has come of one that is too long to wait for.  What is decoded is put into the arena. */
int32_t gateway_key_hash(const struct gateway_key *key, const struct gateway_request *request, hf_slice body,
                         hf_arena *arena, uint64_t *ret_hash);

/* Reads "client", "path", "field NAME", "cookie NAME", "argument NAME", "body NAME" or "policy"; the name stays in
 * `text`. HF_EINVAL. */
int32_t gateway_key_parse(const char *text, struct gateway_key *ret_key, hf_error *error);

#endif
