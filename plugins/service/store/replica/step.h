/* step.h: the next change on the way from the members that a group has to those that it should have.  Pure; [any].
 *
 * One voter comes or goes at a time.  Nothing goes before all that is to come has everything and votes. */
#ifndef STORE_STEP_H
#define STORE_STEP_H

#include "machine.h"

enum {
    STORE_STEP_NONE = 0,     /* there, or something has to be waited for */
    STORE_STEP_CHANGE = 1,   /* propose `members` */
    STORE_STEP_TRANSFER = 2, /* hand leadership to `to`, for this replica has to go or another should lead */
};

struct store_step {
    int32_t type;
    int32_t arrived; /* 1: the members are those that are wanted */
    uint64_t to;
    uint32_t count;
    hf_replication_member members[STORE_MEMBERS_MAX];
};

/* Whether a member has nearly everything and can be reached. */
typedef int (*store_step_ready)(void *arg, uint64_t replica);

void store_step_next(const hf_replication_member *actual, uint32_t actual_count, const hf_replication_member *wanted,
                     uint32_t wanted_count, uint64_t self, store_step_ready ready, void *arg,
                     struct store_step *ret_step);

#endif
