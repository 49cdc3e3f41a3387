/* compare_message.h: what nodes say to each other to compare their replicas of a partition; see compare.c.  Big endian:
 * version 1, kind 1, partition 8, session 8, and an argument 8.  Pure; [any]. */
#ifndef STORE_COMPARE_MESSAGE_H
#define STORE_COMPARE_MESSAGE_H

#include "hash_tree.h"

enum {
    STORE_COMPARE_BEGIN = 1, /* take a view when exactly `argument` is applied, and make a tree of it */
    STORE_COMPARE_ASK = 2,   /* the hashes of a node's children; argument: level << 32 | place.  HF_EBUSY: not ready */
    STORE_COMPARE_DIFFERS = 3, /* this one is wrong, in `argument` leaves: it has to be repaired */
    STORE_COMPARE_FORGET = 4   /* the tree is not needed any more */
};

enum { STORE_COMPARE_SIZE = 1 + 1 + 8 + 8 + 8, STORE_COMPARE_HASHES_SIZE = STORE_HASH_TREE_FANOUT * 8 };

struct store_compare_request {
    int32_t kind;
    uint64_t partition;
    uint64_t session; /* of the asking node's choice, not 0 */
    uint64_t argument;
};

void store_compare_write(uint8_t to[STORE_COMPARE_SIZE], const struct store_compare_request *request);
/* HF_EPROTOCOL; also for a node that has no children. */
int32_t store_compare_read(hf_slice bytes, struct store_compare_request *ret_request);

/* The answer to ASK. */
void store_compare_write_hashes(uint8_t to[STORE_COMPARE_HASHES_SIZE], const uint64_t hashes[STORE_HASH_TREE_FANOUT]);
int32_t store_compare_read_hashes(hf_slice bytes, uint64_t ret_hashes[STORE_HASH_TREE_FANOUT]);

static inline uint64_t store_compare_node(uint32_t level, uint32_t place)
{
    return (uint64_t)level << 32 | place;
}

#endif
