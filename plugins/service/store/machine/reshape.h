/* reshape.h: the steps by which a partition is split in two, or two neighbours become one, and their bytes.  Pure;
 * [any].
 *
 * A step is a command that is alone in its entry, so that every replica takes it at the same place of the log.
 *
 *   SPLIT_BEGIN  to the partition: from now on every replica copies, beside its other work, the records whose hash is
 *                `from` or higher into the space of the partition `other`, and nothing is forgotten meanwhile.
 *   SPLIT_END    to the partition: the copy is made complete, `other` begins with it as of this place of the log (at
 *                index 1 of a log of its own, with the same replicas), and those records are no longer this
 *                partition's.
 *   TRIMMED      to the partition: the records that were given away have been removed, as of the epoch `index`.
 *   CLOSE        to the upper neighbour of a merge: it takes no more requests for records; its change feed stays.
 *   ABSORB       to the lower one: every replica takes the records of the closed partition `other` from the space on
 *                its own node, where that partition has applied at least `index`.
 *
 * All may be repeated: what has been done already answers as at the first time. Outcomes: HF_ECONFLICT: not in the
 * state for it, another partition is being split off; HF_EBUSY (SPLIT_END, CLOSE): transactions are under way, try
 * again. */
#ifndef STORE_RESHAPE_H
#define STORE_RESHAPE_H

#include <holdfast/lib/buffer.h>

enum {
    STORE_RESHAPE_SPLIT_BEGIN = 1,
    STORE_RESHAPE_SPLIT_END = 2,
    STORE_RESHAPE_TRIMMED = 3,
    STORE_RESHAPE_CLOSE = 4,
    STORE_RESHAPE_ABSORB = 5
};

enum { STORE_RESHAPE_SIZE = 1 + 1 + 8 + 8 + 8 };

struct store_reshape {
    int32_t step;   /* STORE_RESHAPE_... */
    uint64_t other; /* partition; 0 with TRIMMED */
    uint64_t from;  /* SPLIT_BEGIN: the first hash of the other; ABSORB: the last hash that it had */
    uint64_t index; /* ABSORB; TRIMMED: of another epoch, it is passed over */
};

/* 1 when the bytes of a command are those of a step. */
int store_is_reshape(hf_slice bytes);

void store_reshape_encode(uint8_t to[STORE_RESHAPE_SIZE], const struct store_reshape *reshape);
/* HF_ECORRUPT. */
int32_t store_reshape_decode(hf_slice bytes, struct store_reshape *ret_reshape, hf_error *error);

#endif
