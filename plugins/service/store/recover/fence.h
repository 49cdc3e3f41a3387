/* fence.h: whom a node keeps out because an operator has called it lost for good, and whether it was called so itself.
 *
 * A node that takes part in a recovery binds itself to the plan, on disk, before anything is done: from then on it
 * listens to no disk that the plan calls dead, and takes part in no other plan that was made before.  A disk that hears
 * of having been called dead never takes part again. */
#ifndef STORE_RECOVER_FENCE_H
#define STORE_RECOVER_FENCE_H

#include "service/identity.h"

struct store_fence {
    pthread_mutex_t lock;
    const struct store_nodes *nodes;
    char directory[4096 + 64];
    uint64_t plan;                   /* the last one that this node is bound to, 0: none */
    uint32_t dead;                   /* bit per node */
    uint64_t disks[STORE_NODES_MAX]; /* the dead ones; 0: not known */
    char lost_to[256];               /* the node that told this one that it is lost; "": it is not */
};

/* Reads the files "recovery" and "lost".  HF_EIO, HF_ECORRUPT.  Blocks. */
int32_t store_fence_open(struct store_fence *fence, const char *directory, const struct store_nodes *nodes,
                         hf_error *error);
void store_fence_close(struct store_fence *fence);

uint64_t store_fence_plan(struct store_fence *fence); /* [any] */

/* Binds this node to a plan that calls `dead` dead, whose disks are known as `disks`.  HF_ECONFLICT: it is bound to
 * another one than `before`, or this one; HF_EIO.  Blocks.  [any] */
int32_t store_fence_promise(struct store_fence *fence, uint64_t before, uint64_t plan, uint32_t dead,
                            const uint64_t disks[STORE_NODES_MAX], hf_error *error);

/* Whether the node has to stay out with that disk; `allowed` is the one that the catalog has taken in for it since, 0:
 * none.  [any] */
int32_t store_fence_keeps_out(struct store_fence *fence, uint32_t node, uint64_t disk, uint64_t allowed);

/* This node was called dead.  HF_EIO.  Blocks.  [any] */
int32_t store_fence_leave(struct store_fence *fence, const char *told_by, hf_error *error);

#endif
