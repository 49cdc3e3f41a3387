/* caches.h: what operators see of caches, and do with them, over HTTP.  [main] */
#ifndef GATEWAY_SERVICE_CACHES_H
#define GATEWAY_SERVICE_CACHES_H

#include <holdfast/holdfast.h>

struct gateway;

/* Adds the routes; nothing where the host has no HTTP.  Errors as the host's. */
int32_t gateway_caches_open(struct gateway *gateway, hf_error *error);

/* Every 100 ms or so: what they have now, for the metrics. */
void gateway_caches_show(const struct gateway *gateway);

#endif
