/* load.h: a load generator that speaks to a Holdfast node (HTTP/1.1) or an etcd member (gRPC), a request at a time on
 * each of many connections, so that both are measured by the same program. */
#ifndef BENCH_STORE_LOAD_H
#define BENCH_STORE_LOAD_H

#include <stddef.h>
#include <stdint.h>

enum { LOAD_BUFFER = 1 << 16 };

typedef struct load_options {
    const char *table; /* Holdfast only */
    const char *value; /* what is written */
    size_t value_size;
    int reading;
} load_options;

typedef struct load_client {
    int fd;
    uint64_t started_ns; /* of the request under way */
    void *session;       /* the protocol's own */
    const char *host;
    const load_options *options;
    uint8_t output[LOAD_BUFFER];
    size_t output_size;
    uint8_t input[LOAD_BUFFER];
    size_t input_size;
} load_client;

/* What a protocol does with the bytes of one connection.  `send` appends a request for `key` to the output; `receive`
 * looks at the input, takes what it has understood, and returns 1: answered well, 0: more is needed, -1: refused,
 * -2: nothing that can be understood. */
typedef struct load_protocol {
    int (*open)(load_client *client);
    void (*close)(load_client *client);
    int (*send)(load_client *client, const char *key);
    int (*receive)(load_client *client);
} load_protocol;

extern const load_protocol load_http, load_grpc;

#endif
