/* check.h: looks through everything that a replica has, slowly and beside its work. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "inspect.h"

#include <holdfast/holdfast.h>

struct store_replica;

/* What was found. */
struct store_findings {
    int32_t code; /* 0: everything was read; HF_ECORRUPT: something is damaged; HF_EEXIST: more than `index` was applied
                     already; HF_ETIMEOUT: `index` was not reached in time; HF_ECLOSED: the replica ends;
                     HF_EUNSUPPORTED, HF_EBUSY, HF_EIO, HF_ENOMEM */
    int32_t engine; /* with HF_ECORRUPT, 1: the engine's files; 0: `damaged` rows */
    uint64_t index; /* applied when the view was taken */
    uint64_t rows, bytes, damaged;
    hf_error error;
    const struct store_hash_tree *tree; /* with code 0: of all rows; lives as long as the call */
};

/* [loop] */
typedef void (*store_check_done)(void *arg, struct store_replica *replica, const struct store_findings *findings);

/* Looks through the replica as of the moment when it has applied exactly `index`; 0: as of now.  done(arg) is called
 * once, never before this returned; it may be NULL.  HF_EBUSY: it is being looked through; HF_ECLOSED, HF_ENOMEM.
 * [loop] */
int32_t store_replica_check(struct store_replica *replica, uint64_t index, store_check_done done, void *arg,
                            hf_error *error);

/* The replica differs from what the majority of its group has, in so many leaves of its tree: it is repaired.  [loop]
 */
void store_replica_differs(struct store_replica *replica, uint64_t leaves);

/* The index of the last entry of its log, committed or not.  [loop] */
uint64_t store_replica_last_index(struct store_replica *replica);

#endif
