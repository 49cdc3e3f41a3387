/* match.h: which route a request takes: the first whose rule it matches.  Pure. */
#ifndef GATEWAY_MATCH_H
#define GATEWAY_MATCH_H

#include "route/request.h"

enum { GATEWAY_PATH_PREFIX /* of whole segments: "/a" has "/a" and "/a/b", not "/ab" */, GATEWAY_PATH_EXACT };
enum { GATEWAY_OF_FIELD, GATEWAY_OF_COOKIE, GATEWAY_OF_ARGUMENT };
enum { GATEWAY_IS_PRESENT, GATEWAY_IS_ABSENT, GATEWAY_IS_EQUAL, GATEWAY_BEGINS };

struct gateway_condition {
    int32_t of; /* GATEWAY_OF_... */
    int32_t test;
    hf_slice name;
    hf_slice value; /* of GATEWAY_IS_EQUAL and GATEWAY_BEGINS */
};

/* All that is given must hold. */
struct gateway_rule {
    const hf_slice *hosts; /* "a.example", "*.a.example" for all names below it, whatever their case; none: any host */
    uint32_t host_count;
    const hf_slice *methods; /* none: any */
    uint32_t method_count;
    hf_slice path; /* decoded and without "." and ".."; empty: any */
    int32_t path_test;
    const struct gateway_condition *conditions;
    uint32_t condition_count;
};

/* Whether a host has the name, or lies below "*.a.example". */
int32_t gateway_host_matches(hf_slice pattern, hf_slice host);

/* What conditions decode is put into the arena. */
int32_t gateway_rule_matches(const struct gateway_rule *rule, const struct gateway_request *request, hf_arena *arena);

/* The place of the first rule that matches, or -1. */
int32_t gateway_match(const struct gateway_rule *rules, uint32_t count, const struct gateway_request *request,
                      hf_arena *arena);

#endif
