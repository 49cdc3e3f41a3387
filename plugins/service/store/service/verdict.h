/* verdict.h: who is wrong when replicas differ.  Pure; [any]. */
#ifndef STORE_VERDICT_H
#define STORE_VERDICT_H

#include "hash_tree.h"

enum {
    STORE_VERDICT_UNKNOWN = 0, /* it did not answer, or no majority says what is right */
    STORE_VERDICT_RIGHT = 1,
    STORE_VERDICT_WRONG = 2
};

/* A replica's tree at the agreed position. */
struct store_compared_side {
    int32_t answered;
    int32_t verdict;                         /* set by store_compare_judge */
    uint64_t hashes[STORE_HASH_TREE_FANOUT]; /* of the root's children */
};

/* Right is what more than half of the group's `voters` have; `sides` are those of them that could be asked.  Returns 1
 * when some that answered differ. */
int32_t store_compare_judge(struct store_compared_side *sides, uint32_t count, uint32_t voters);

#endif
