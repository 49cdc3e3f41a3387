/* http/router.h: which handler a path belongs to.  Built by one thread, then read by any. */
#ifndef HOLDFAST_CORE_HTTP_ROUTER_H
#define HOLDFAST_CORE_HTTP_ROUTER_H

#include <holdfast/host/http.h>

enum { HF_ROUTER_PARAMETERS_MAX = 4, HF_ROUTER_SEGMENTS_MAX = 12, HF_ROUTER_ROUTES_MAX = 256 };

typedef struct hf_router_entry {
    hf_http_route route;
    void *arg;
    int reserved; /* memory is kept for it: it is how operators find out what is wrong, and put it right */
    uint32_t segment_count;
    uint32_t literal_count;
    hf_slice segments[HF_ROUTER_SEGMENTS_MAX]; /* "{name}" with its braces */
} hf_router_entry;

typedef struct hf_router {
    hf_router_entry *entries; /* most literal first, so that "/a/b" wins over "/a/{x}" */
    uint32_t count;
} hf_router;

typedef struct hf_router_match {
    const hf_router_entry *entry;
    uint32_t parameter_count;
    hf_slice names[HF_ROUTER_PARAMETERS_MAX];
    hf_slice values[HF_ROUTER_PARAMETERS_MAX]; /* still percent-encoded */
} hf_router_match;

/* HF_EINVAL: a bad pattern; HF_EEXIST: the same method and pattern; HF_ETOOLARGE; HF_ENOMEM. */
int32_t hf_router_add(hf_router *router, const hf_http_route *route, void *arg, int reserved, hf_error *error);

/* Finds the route of a path without query.  HF_ENOTFOUND: no such path; HF_EUNSUPPORTED: the path is there, but not
 * with this method: `allow` then lists the methods, with commas. */
int32_t hf_router_find(const hf_router *router, hf_slice method, hf_slice path, hf_router_match *ret_match, char *allow,
                       uint64_t allow_capacity);

void hf_router_done(hf_router *router);

#endif
