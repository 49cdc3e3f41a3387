/* policy.h: what policies in Lua decide about requests: the decision points, what a policy is shown, and what its
 * answer means.  Without a policy, or when one fails or answers with what cannot be done, what the configuration says
 * stays. */
#ifndef GATEWAY_POLICY_H
#define GATEWAY_POLICY_H

#include "plan/plan.h"

#include <holdfast/host/lua.h>
#include <holdfast/host/metrics.h>

enum { GATEWAY_POINT_ROUTE, GATEWAY_POINT_BALANCE_KEY, GATEWAY_POINT_RESPONSE, GATEWAY_POINT_ERROR, GATEWAY_POINTS };

struct gateway_exchange;

/* Of a process; all workers read it. */
struct gateway_policies {
    const hf_host *host;
    const hf_lua_interface *lua;         /* NULL: the host has none, and nobody is asked */
    const hf_metrics_interface *metrics; /* NULL likewise */
    hf_decision *points[GATEWAY_POINTS];
    hf_metric *ignored[GATEWAY_POINTS];
    _Atomic uint64_t quiet_until_us; /* nothing is logged before */
};

/* Declares the points.  Errors as the host's.  [main], before the loops run */
int32_t gateway_policies_declare(const hf_host *host, struct gateway_policies *ret_policies, hf_error *error);

/* ---- What a policy wants ----------------------------------------------------------------------------------------- */

enum {
    GATEWAY_WISH_NONE,    /* what the configuration says; perhaps with other fields */
    GATEWAY_WISH_FORWARD, /* to `upstream` */
    GATEWAY_WISH_ROUTE,
    GATEWAY_WISH_ANSWER,
    GATEWAY_WISH_RETRY /* another server */
};

struct gateway_wish {
    int32_t what;             /* GATEWAY_WISH_... */
    uint32_t upstream, route; /* of the plan */
    uint32_t status;          /* of the answer; 0: that of the server */
    hf_slice body, type, location;
    const hf_value *request_fields, *response_fields; /* maps, checked; NULL: none */
};

/* Reads what a policy for a point has returned; slices are those of `result`.  HF_EINVAL: it cannot be done, with the
 * reason. */
int32_t gateway_wish_read(int32_t point, const hf_value *result, const struct gateway_plan *plan,
                          struct gateway_wish *ret_wish, hf_error *error);

/* Adds to the edits those which a map of names and values stands for, in place of earlier ones of the same name; text
 * or a number sets the field, false or "" takes it out.  *edits and *count are replaced by a list in the arena.
 * HF_EINVAL: a name or a value that no field has, or that a route may not edit; HF_ENOMEM. */
int32_t gateway_wish_edit(const hf_value *fields, hf_arena *arena, const struct gateway_edit **edits, uint32_t *count,
                          hf_error *error);

/* ---- Asking; each on the worker's loop --------------------------------------------------------------------------- */

/* Whether the policies are asked about requests of this route at all is the caller's to know. */
void gateway_policy_route(struct gateway_exchange *exchange, struct gateway_wish *ret_wish);
void gateway_policy_response(struct gateway_exchange *exchange, const hf_http1_head *head,
                             struct gateway_wish *ret_wish);
void gateway_policy_error(struct gateway_exchange *exchange, uint32_t upstream, uint32_t status, const char *why,
                          struct gateway_wish *ret_wish);

/* The key that the policy gives the request, hashed; 0: it gives none. */
int32_t gateway_policy_key(struct gateway_exchange *exchange, uint64_t *ret_key);

/* ---- What a policy is shown -------------------------------------------------------------------------------------- */

/* Objects of one request, in its arena. */
struct gateway_shown {
    struct gateway_exchange *exchange;
    hf_lua_object request, headers, cookies, arguments;
};

struct gateway_shown_response {
    struct gateway_exchange *exchange;
    const hf_http1_head *head;
    hf_lua_object response, headers;
};

struct gateway_shown_error {
    struct gateway_exchange *exchange;
    uint32_t upstream, status;
    const char *why;
    hf_lua_object error;
};

/* The same ones each time for an exchange; NULL: no memory. */
struct gateway_shown *gateway_show_request(struct gateway_exchange *exchange);
void gateway_show_response(struct gateway_shown_response *shown);
void gateway_show_error(struct gateway_shown_error *shown);

enum { GATEWAY_SHOWN_MEMBERS = 26 };
extern const hf_lua_parameter gateway_shown_members[GATEWAY_SHOWN_MEMBERS];

#endif
