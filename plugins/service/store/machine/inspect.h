/* inspect.h: reads everything that a partition's space holds, checks it and hashes it.
 *
 * It reads a view that was taken between two applies, a piece at a time, so that it can be slow on purpose.  The rows
 * of the space are the same on every replica at the same applied position, and so is the tree. */
#ifndef STORE_INSPECT_H
#define STORE_INSPECT_H

#include "hash_tree.h"
#include "machine.h"

struct store_inspection {
    const hf_engine *engine;
    hf_engine_export *view; /* owned */
    struct store_machine_state state;
    struct store_hash_tree tree;
    uint64_t rows, bytes;
    uint64_t damaged; /* rows that are not what was written */
    hf_error first;   /* what is wrong with the first of them */
};

/* Takes the view.  Call between applies.  HF_EUNSUPPORTED: the engine cannot; HF_EBUSY, HF_EIO, HF_ECORRUPT, HF_ENOMEM.
 * [pool] */
int32_t store_inspection_begin(struct store_machine *machine, struct store_inspection **ret_inspection,
                               hf_error *error);

/* Reads about `bytes` bytes more; *ret_more 0: everything has been read.  Damaged rows are counted and are no error;
 * HF_ECORRUPT: the engine's own files are damaged.  HF_EIO, HF_ENOMEM.  [pool] */
int32_t store_inspection_go_on(struct store_inspection *inspection, uint64_t bytes, int32_t *ret_more, hf_error *error);

/* Gives the view back; counts and tree stay.  [pool] */
void store_inspection_close(struct store_inspection *inspection);
void store_inspection_free(struct store_inspection *inspection); /* accepts NULL */

#endif
