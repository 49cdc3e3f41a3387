/* follow.h: what goes with the servers of the present configuration: their checks, their names, and what is told of
 * them.  [main] */
#ifndef GATEWAY_FOLLOW_H
#define GATEWAY_FOLLOW_H

#include "upstream/upstream.h"

struct gateway;
struct gateway_plan;

/* Before the first configuration is made ready.  HF_EIO, HF_EINVAL, HF_ENOMEM. */
int32_t gateway_follow_create(struct gateway *gateway, hf_error *error);

/* Accepts what was not created. */
void gateway_follow_destroy(struct gateway *gateway);

/* `set` is now the upstream's in place of `before`; either may be NULL: it is new, or has gone. */
void gateway_follow_set(struct gateway *gateway, struct gateway_server_set *before, struct gateway_server_set *set);

/* All sets of the present configuration have been followed: names that none of them has are asked for no more. */
void gateway_follow_names(struct gateway *gateway);

/* Another configuration is taken: `plan` is the present one now in place of `before`, which may be NULL. */
void gateway_follow_plan(struct gateway *gateway, const struct gateway_plan *before);

/* Every moment: tells what has changed. */
void gateway_follow_moment(struct gateway *gateway, uint64_t now_us);

#endif
