/* balance.h: which replicas should move, and where to.  Pure; [any]. */
#ifndef STORE_BALANCE_H
#define STORE_BALANCE_H

#include "table/table.h"

enum {
    STORE_MOVE_DRAIN = 1, /* the node is to be emptied, or was removed */
    STORE_MOVE_REPLACE,   /* the replica was lost with its disk */
    STORE_MOVE_ADD,       /* the partition has fewer replicas than declared */
    STORE_MOVE_ZONE,      /* two replicas share a zone without need */
    STORE_MOVE_BALANCE,   /* the node has more replicas than others */
    STORE_MOVE_LEAD       /* nothing moves; another member should lead */
};

struct store_move {
    uint64_t partition;
    int32_t reason;
    uint64_t from; /* replica that goes; 0: none */
    uint32_t to;   /* node that gets one, or leads */
};

const char *store_move_reason(int32_t reason);

/* Nodes that take no new replicas are closed in *ret_nodes, a copy of `nodes`. */
void store_open_nodes(const struct store_routing *routing, const struct store_nodes *nodes,
                      struct store_nodes *ret_nodes);

/* The next moves, the most urgent first, at most one for each partition; for one that is moving, split or merged only
 * away from nodes that take no part any more, which may be where it was moving to; of one table only when `table` is
 * given.  Returns how many there are, up to `capacity`; 0: everything is where it should be, or
 * cannot be moved.  HF_ENOMEM. */
int32_t store_plan_moves(const struct store_routing *routing, const struct store_nodes *nodes, const char *table,
                         struct store_move *moves, uint32_t capacity);

/* The partition as it is after the move, with a new replica of this generation. */
void store_move_apply(const struct store_move *move, uint64_t generation, struct store_partition *partition);

#endif
