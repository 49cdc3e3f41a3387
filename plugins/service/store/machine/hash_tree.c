#include "hash_tree.h"

#include "bytes.h"

#include <holdfast/lib/hash.h>

enum { KEY_SEED = 0x6b65, NODE_SEED = 0x6e6f };

/* The sizes go into the hashes, so that bytes that move from the key to the value are noticed. */
void store_hash_tree_add(struct store_hash_tree *tree, hf_slice key, hf_slice value)
{
    uint64_t hash = hf_hash64(KEY_SEED + key.size, key.data, key.size);
    uint64_t *leaf = &tree->leaves[hash % STORE_HASH_TREE_LEAVES];

    *leaf = hf_hash64(*leaf ^ hash, value.data, value.size);
}

static uint64_t hash_of_nodes(const uint64_t *hashes)
{
    uint8_t bytes[STORE_HASH_TREE_FANOUT * 8];

    for (int i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        store_write_be(bytes + 8 * i, hashes[i], 8);
    return hf_hash64(NODE_SEED, bytes, sizeof bytes);
}

void store_hash_tree_children(const struct store_hash_tree *tree, uint32_t level, uint32_t place,
                              uint64_t ret_hashes[STORE_HASH_TREE_FANOUT])
{
    for (uint32_t i = 0; i < STORE_HASH_TREE_FANOUT; i++)
        ret_hashes[i] = store_hash_tree_node(tree, level + 1, place * STORE_HASH_TREE_FANOUT + i);
}

uint64_t store_hash_tree_node(const struct store_hash_tree *tree, uint32_t level, uint32_t place)
{
    uint64_t hashes[STORE_HASH_TREE_FANOUT];

    if (level == STORE_HASH_TREE_LEVELS - 1)
        return tree->leaves[place];
    store_hash_tree_children(tree, level, place, hashes);
    return hash_of_nodes(hashes);
}
