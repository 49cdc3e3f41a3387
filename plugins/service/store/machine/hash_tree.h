/* hash_tree.h: a tree of hashes over rows, by which two replicas find out where they differ without sending the rows.
 * Pure; one thread at a time.
 *
 * A row belongs to one of 1024 leaves by the hash of its key.  A leaf's hash is made of its rows in the order in which
 * they were added, which is that of their keys; a node's of its 32 children.  So the trees are the same when the rows
 * are, in whatever pieces they were read, and two that differ find the leaves with three questions of 256 bytes. */
#ifndef STORE_HASH_TREE_H
#define STORE_HASH_TREE_H

#include <holdfast/holdfast.h>

enum {
    STORE_HASH_TREE_FANOUT = 32,
    STORE_HASH_TREE_LEVELS = 3, /* 0: the root; 1: 32 nodes; 2: the leaves */
    STORE_HASH_TREE_LEAVES = STORE_HASH_TREE_FANOUT * STORE_HASH_TREE_FANOUT
};

struct store_hash_tree {
    uint64_t leaves[STORE_HASH_TREE_LEAVES];
};

/* Begins as zeroes. */
void store_hash_tree_add(struct store_hash_tree *tree, hf_slice key, hf_slice value);

/* The hash of a node: `place` counts from 0 within its level. */
uint64_t store_hash_tree_node(const struct store_hash_tree *tree, uint32_t level, uint32_t place);

/* The hashes of the children of a node that is no leaf; child i of the node at `place` is at place * 32 + i of the next
 * level. */
void store_hash_tree_children(const struct store_hash_tree *tree, uint32_t level, uint32_t place,
                              uint64_t ret_hashes[STORE_HASH_TREE_FANOUT]);

/* Whether there is such a node that has children. */
static inline int store_hash_tree_has_children(uint32_t level, uint32_t place)
{
    return (level == 0 && place == 0) || (level == 1 && place < STORE_HASH_TREE_FANOUT);
}

#endif
