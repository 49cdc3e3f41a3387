/* http.h: the store's routes (docs/http.md). */
#ifndef STORE_HTTP_H
#define STORE_HTTP_H

#include "service/call.h"

struct store_http;

struct store_http_options {
    uint64_t write_timeout_us; /* how long a request may wait for a leader and its majority */
    uint64_t read_timeout_us;
    uint64_t body_maximum;       /* of a batch */
    uint64_t changes_timeout_us; /* how long a reader of changes may take nothing */
};

/* Adds the routes.  The service outlives it.  [main], before the loops run */
int32_t store_http_create(struct store_service *service, const struct store_http_options *options,
                          struct store_http **ret_http, hf_error *error);

/* Ends the streams of changes; other requests end by themselves.  [main] */
void store_http_drain(struct store_http *http);
/* The loops no longer run.  Accepts NULL. */
void store_http_destroy(struct store_http *http);

#endif
