/* fakes.h: a request, the host that it came from, and the service below the routes, for tests without a cluster.
 *
 * The service knows the tables "items" (JSON, by region: eu, us; two hash ranges), "blobs" (bytes) and
 * "checked" (as items, with fields: a required region, an integer n from 0, no others; expires after a minute).  It
 * carries nothing out: it notes each call and answers it with what the test has said. */
#ifndef STORE_HTTP_FAKES_H
#define STORE_HTTP_FAKES_H

#include "http/private.h"

#include <holdfast/lib/value.h>

enum { FAKE_FIELDS_MAX = 8, FAKE_CALLS_MAX = 64, FAKE_PART = 100, FAKE_CLIENT = 77 };

/* A request, to be filled in, and its answer. */
struct hf_http_request {
    const char *table, *key;
    const char *fields[FAKE_FIELDS_MAX][2];    /* of the head */
    const char *arguments[FAKE_FIELDS_MAX][2]; /* of the query */
    hf_slice body;
    hf_arena arena;
    uint32_t answers; /* how often it was answered */
    uint32_t status;
    char problem[64];
    hf_error error;
    char members[512]; /* further ones of the problem */
    hf_buffer answer;
};

/* What the service was asked to do. */
struct fake_call {
    int32_t type; /* STORE_OP_...; FAKE_PART: a transaction's */
    uint64_t partition, client;
    hf_buffer command;
};

struct fake {
    struct store_http *http;
    int32_t code; /* the answer to every call */
    uint64_t version;
    uint32_t call_count, created_count;
    uint32_t dead; /* of the last plan of a recovery */
    struct fake_call calls[FAKE_CALLS_MAX];
};

extern struct fake fake;

void fake_open(void);
void fake_close(void);
/* Calls the route's handler and the service until the request is answered; the answer stays until the next call. */
void fake_request(struct hf_http_request *request, void (*handle)(void *arg, hf_http_request *request));
void fake_request_done(struct hf_http_request *request);
/* The command of the n-th call: its operations lie in `operations`. */
void fake_command(uint32_t n, struct store_operation *operations, uint64_t capacity, struct store_command *ret_command);

#endif
