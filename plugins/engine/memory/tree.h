/* tree.h: an ordered map that is never changed, only replaced.
 *
 * A treap whose nodes are shared between versions and counted.  Every function leaves the trees that it was given as
 * they were and returns a new reference, so a reader keeps its version while writers go on, without a lock. */
#ifndef ENGINE_MEMORY_TREE_H
#define ENGINE_MEMORY_TREE_H

#include <holdfast/holdfast.h>

typedef struct tree_node tree_node;

/* Where nodes come from.  After an allocation failed, `failed` is set and results are incomplete: drop them. */
typedef struct {
    const hf_host *host;
    uint64_t random; /* never 0 */
    int32_t failed;
} tree_context;

typedef struct {
    uint64_t space;
    hf_slice key;
} tree_key;

/* Returns 0 to go on. */
typedef int32_t (*tree_visit)(void *arg, hf_slice key, hf_slice value);

tree_node *tree_ref(tree_node *root);
void tree_unref(const hf_host *host, tree_node *root);

tree_node *tree_put(tree_context *context, tree_node *root, tree_key key, hf_slice value);
/* Without the keys from <= key < to; `to` NULL: to the end of from's space. */
tree_node *tree_remove(tree_context *context, tree_node *root, tree_key from, const tree_key *to);
tree_node *tree_remove_one(tree_context *context, tree_node *root, tree_key key);
/* The records of one space in `root` replaced by those of `records`, which holds only that space. */
tree_node *tree_replace(tree_context *context, tree_node *root, uint64_t space, tree_node *records);

/* 1 and the value, which lives as long as the root, or 0. */
int32_t tree_get(const tree_node *root, tree_key key, hf_slice *ret_value);
/* The first record of the space with a key >= from, or > from when `after`: 1 or 0. */
int32_t tree_next(const tree_node *root, tree_key from, int32_t after, hf_slice *ret_key, hf_slice *ret_value);
/* Visits from <= key < to, `to` NULL as above; what the visitor returned last. */
int32_t tree_scan(const tree_node *root, tree_key from, const tree_key *to, int32_t reverse, tree_visit visit,
                  void *arg);
/* Bytes that the records of a space take. */
uint64_t tree_size(const tree_node *root, uint64_t space);

#endif
