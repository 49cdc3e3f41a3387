/* config/tree.h: a configuration document as an immutable tree, whatever files it came from.
 *
 * A tree owns all its nodes and strings; they are valid until hf_config_tree_free.  Reading is [main], or any thread
 * that owns the call; a finished tree may be read by any number of threads. */
#ifndef HOLDFAST_CONFIG_TREE_H
#define HOLDFAST_CONFIG_TREE_H

#include <holdfast/holdfast.h>

enum {
    HF_CONFIG_NODE_GROUP = 1,
    HF_CONFIG_NODE_LIST = 2,
    HF_CONFIG_NODE_ARRAY = 3,
    HF_CONFIG_NODE_STRING = 4,
    HF_CONFIG_NODE_INTEGER = 5,
    HF_CONFIG_NODE_FLOAT = 6,
    HF_CONFIG_NODE_BOOLEAN = 7
};

enum { HF_CONFIG_DEPTH_MAX = 32 }; /* groups and lists within each other */

typedef struct hf_config_node {
    const char *name; /* NULL for the root and for elements of lists and arrays */
    const char *file;
    uint32_t line; /* from 1 */
    int32_t type;
    int64_t integer;    /* also booleans, 0 or 1 */
    double number;      /* floats */
    const char *string; /* UTF-8 */
    uint64_t child_count;
    struct hf_config_node *first; /* children, in the order of the files */
    struct hf_config_node *last;
    struct hf_config_node *next;
} hf_config_node;

typedef struct hf_config_tree hf_config_tree;

/* Reads the file `path` and everything it includes.
 *
 * `include = [ "conf.d/" "*.cfg" ];` at the top of a document names files by glob patterns, relative to the document;
 * the matches are read in sorted order and merged: groups merge, any other name given twice is refused.  A pattern
 * without matches is not an error; a plain name of a missing file is.  libconfig's @include works too, relative to
 * the document, up to its own and our limits.
 *
 * Returns 0, or HF_ENOTFOUND, HF_EIO, HF_ETOOLARGE, HF_EINVAL, HF_EEXIST (given twice), HF_ENOMEM with the message
 * "FILE:LINE: what; expected ...".  `*ret_tree` is owned and untouched on failure. */
int32_t hf_config_tree_load(const char *path, hf_config_tree **ret_tree, hf_error *error);

/* The same from `size` bytes of memory, which are borrowed for the call.  `name` stands for the file in messages;
 * inclusion is refused with HF_EUNSUPPORTED. */
int32_t hf_config_tree_parse(const char *name, const char *text, uint64_t size, hf_config_tree **ret_tree,
                             hf_error *error);

/* Accepts NULL. */
void hf_config_tree_free(hf_config_tree *tree);

/* The group of everything; never NULL. */
const hf_config_node *hf_config_tree_root(const hf_config_tree *tree);

/* The node at "engine.rocksdb.cache_size", or NULL. */
const hf_config_node *hf_config_tree_find(const hf_config_tree *tree, const char *path);

/* The same, or the nearest group around it that is there; the root at last, never NULL. */
const hf_config_node *hf_config_tree_nearest(const hf_config_tree *tree, const char *path);

/* The child called `name` of a group, or NULL. */
const hf_config_node *hf_config_node_child(const hf_config_node *group, const char *name);

/* "a group", "an integer", ... static. */
const char *hf_config_node_type_name(int32_t type);

#endif
