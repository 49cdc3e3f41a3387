/* stored.h: answers that are kept.  One never changes once it is made, is shared by all threads, and lives as long as
 * somebody holds it; its body is shared by those that follow it after a 304. */
#ifndef GATEWAY_STORED_H
#define GATEWAY_STORED_H

#include "cache/rules.h"

#include <stdatomic.h>

enum { GATEWAY_CHUNK_SIZE = 64 << 10, GATEWAY_CHUNK_LEAST = 2 << 10 };

struct gateway_chunk {
    struct gateway_chunk *next;
    uint64_t size, capacity;
    uint8_t bytes[];
};

struct gateway_body {
    atomic_uint references;
    struct gateway_chunk *first, *last;
    uint64_t size;
    uint64_t memory; /* bytes that it takes */
};

/* HF_ENOMEM: NULL. */
struct gateway_body *gateway_body_create(void);

/* Before anybody else sees it.  `expected`: bytes that are still to come, with these; UINT64_MAX: nobody knows.
 * HF_ENOMEM. */
int32_t gateway_body_append(struct gateway_body *body, hf_slice bytes, uint64_t expected);
void gateway_body_hold(struct gateway_body *body);
void gateway_body_release(struct gateway_body *body); /* accepts NULL */

/* What an answer is stored under: the URL, and what else makes it another one. */
struct gateway_cache_key {
    hf_slice url;   /* "https://a.example/path?query" */
    hf_slice extra; /* bytes */
    uint64_t hash;  /* of the URL */
};

struct gateway_stored {
    atomic_uint references;

    /* The table's, under its lock. */
    struct gateway_stored *next;          /* with the same hash */
    struct gateway_stored *newer, *older; /* by use */
    int32_t is_in_table;

    struct gateway_cache_key key;
    /* The fields of the request that the answer varies by: names, and the values that it had, one behind the other. */
    uint32_t vary_count;
    hf_slice *vary_names, *vary_values;
    struct gateway_freshness freshness;
    uint64_t stored_us;                  /* of the loops */
    _Atomic uint64_t refreshed_until_us; /* somebody fetches it anew */
    int32_t passes;                      /* not an answer: what is asked for can mostly not be stored */
    uint32_t status;
    hf_slice reason;
    hf_slice head_bytes;
    hf_http1_header *headers; /* in head_bytes */
    uint32_t header_count;
    hf_slice etag, last_modified; /* likewise; NULL data: none */
    struct gateway_body *body;    /* held; NULL: none */
    uint64_t memory;              /* bytes, the body's included */
};

/* Makes one of an answer's head; the body is held.  `request` is that which was answered.  Fields that concern only the
 * connection and Age are left out, the length is that of the body.  NULL: no memory. */
struct gateway_stored *gateway_stored_create(const struct gateway_cache_key *key, const hf_http1_head *request,
                                             const hf_http1_head *answer, const struct gateway_freshness *freshness,
                                             struct gateway_body *body, uint64_t now_us);

/* One that follows `before`, which a server has said to be still right: with the fields of its 304 in place of those of
 * the same name (RFC 9111, 3.2).  NULL: no memory. */
struct gateway_stored *gateway_stored_freshen(const struct gateway_stored *before, const hf_http1_head *request,
                                              const hf_http1_head *answer, const struct gateway_freshness *freshness,
                                              uint64_t now_us);

/* Says that requests with this key need not wait for each other.  NULL: no memory. */
struct gateway_stored *gateway_stored_pass(const struct gateway_cache_key *key, uint64_t now_us, uint64_t until_us);

void gateway_stored_hold(struct gateway_stored *stored);
void gateway_stored_release(struct gateway_stored *stored); /* accepts NULL */

/* Whether it answers a request with this key and these fields. */
int32_t gateway_stored_matches(const struct gateway_stored *stored, const struct gateway_cache_key *key,
                               const hf_http1_head *request);

uint64_t gateway_stored_age(const struct gateway_stored *stored, uint64_t now_us);

/* Its head as the parser would give it. */
void gateway_stored_head(const struct gateway_stored *stored, int32_t is_head, hf_http1_head *ret_head);

/* The head that a 304 to a request with this answer would lead to: what gateway_cache_stores is to be asked about.
 * `fields` has room for HF_HTTP1_HEADERS_MAX. */
void gateway_stored_merge(const struct gateway_stored *before, const hf_http1_head *answer, hf_http1_head *ret_head);

#endif
