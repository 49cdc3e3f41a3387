/* A persistent treap; see tree.h. */
#include "tree.h"

#include <stdatomic.h>
#include <string.h>

typedef struct {
    _Atomic uint64_t references;
    uint64_t space, key_size, value_size;
    uint8_t bytes[]; /* key, value */
} record;

struct tree_node {
    _Atomic uint64_t references;
    record *record;
    tree_node *left, *right;
    uint64_t priority;
    uint64_t size; /* bytes of the whole subtree */
};

static void record_unref(const hf_host *host, record *r)
{
    if (r && atomic_fetch_sub(&r->references, 1) == 1)
        host->free(host, r);
}

tree_node *tree_ref(tree_node *root)
{
    if (root)
        atomic_fetch_add(&root->references, 1);
    return root;
}

void tree_unref(const hf_host *host, tree_node *root)
{
    while (root && atomic_fetch_sub(&root->references, 1) == 1) {
        tree_node *right = root->right;

        tree_unref(host, root->left); /* the depth is logarithmic */
        record_unref(host, root->record);
        host->free(host, root);
        root = right;
    }
}

static uint64_t size_of(const tree_node *node)
{
    return node ? node->size : 0;
}

static uint64_t next_random(tree_context *context)
{
    context->random ^= context->random << 13;
    context->random ^= context->random >> 7;
    context->random ^= context->random << 17;
    return context->random;
}

/* Takes `left` and `right`; shares the record. */
static tree_node *node_new(tree_context *context, record *r, uint64_t priority, tree_node *left, tree_node *right)
{
    tree_node *node = r ? context->host->alloc(context->host, sizeof *node) : NULL;

    if (!node) {
        context->failed = 1;
        tree_unref(context->host, left);
        tree_unref(context->host, right);
        return NULL;
    }
    atomic_fetch_add(&r->references, 1);
    node->references = 1;
    node->record = r;
    node->priority = priority;
    node->left = left;
    node->right = right;
    node->size = sizeof *node + sizeof *r + r->key_size + r->value_size + size_of(left) + size_of(right);
    return node;
}

static int compare(tree_key key, const record *r)
{
    uint64_t shorter = key.key.size < r->key_size ? key.key.size : r->key_size;

    if (key.space != r->space)
        return key.space < r->space ? -1 : 1;
    int order = shorter ? memcmp(key.key.data, r->bytes, shorter) : 0;

    return order ? order : (key.key.size > r->key_size) - (key.key.size < r->key_size);
}

/* Divides into keys before `key` and the rest.  With `after`, `key` itself goes to the first part. */
static void split(tree_context *context, const tree_node *root, tree_key key, int after, tree_node **ret_before,
                  tree_node **ret_rest)
{
    tree_node *inner;

    if (!root) {
        *ret_before = *ret_rest = NULL;
        return;
    }
    if (compare(key, root->record) >= (after ? 0 : 1)) {
        split(context, root->right, key, after, &inner, ret_rest);
        *ret_before = node_new(context, root->record, root->priority, tree_ref(root->left), inner);
    } else {
        split(context, root->left, key, after, ret_before, &inner);
        *ret_rest = node_new(context, root->record, root->priority, inner, tree_ref(root->right));
    }
}

/* Joins two trees, every key of `a` before those of `b`; leaves both as they are. */
static tree_node *join(tree_context *context, tree_node *a, tree_node *b)
{
    if (!a || !b)
        return tree_ref(a ? a : b);
    if (a->priority > b->priority)
        return node_new(context, a->record, a->priority, tree_ref(a->left), join(context, a->right, b));
    return node_new(context, b->record, b->priority, join(context, a, b->left), tree_ref(b->right));
}

/* Joins three, and takes them. */
static tree_node *join_taken(tree_context *context, tree_node *a, tree_node *b, tree_node *c)
{
    tree_node *front = join(context, a, b), *all = join(context, front, c);

    tree_unref(context->host, a);
    tree_unref(context->host, b);
    tree_unref(context->host, c);
    tree_unref(context->host, front);
    return all;
}

/* The three parts around from <= key < to. */
static void cut(tree_context *context, const tree_node *root, tree_key from, const tree_key *to, tree_node *parts[3])
{
    tree_node *rest;
    tree_key end = to ? *to : (tree_key){from.space + 1, {NULL, 0}};

    split(context, root, from, 0, &parts[0], &rest);
    if (!to && from.space == UINT64_MAX) { /* nothing comes after the last space */
        parts[1] = rest;
        parts[2] = NULL;
        return;
    }
    split(context, rest, end, 0, &parts[1], &parts[2]);
    tree_unref(context->host, rest);
}

static record *record_new(tree_context *context, tree_key key, hf_slice value)
{
    record *r = context->host->alloc(context->host, sizeof *r + key.key.size + value.size);

    if (!r)
        return NULL;
    r->references = 1;
    r->space = key.space;
    r->key_size = key.key.size;
    r->value_size = value.size;
    if (key.key.size)
        memcpy(r->bytes, key.key.data, key.key.size);
    if (value.size)
        memcpy(r->bytes + key.key.size, value.data, value.size);
    return r;
}

tree_node *tree_put(tree_context *context, tree_node *root, tree_key key, hf_slice value)
{
    record *r = record_new(context, key, value);
    tree_node *node = node_new(context, r, next_random(context), NULL, NULL), *before, *same, *rest, *after;

    record_unref(context->host, r); /* the node holds it */
    split(context, root, key, 0, &before, &rest);
    split(context, rest, key, 1, &same, &after);
    tree_unref(context->host, rest);
    tree_unref(context->host, same);
    return join_taken(context, before, node, after);
}

tree_node *tree_remove_one(tree_context *context, tree_node *root, tree_key key)
{
    tree_node *before, *same, *rest, *after;

    split(context, root, key, 0, &before, &rest);
    split(context, rest, key, 1, &same, &after);
    tree_unref(context->host, rest);
    tree_unref(context->host, same);
    return join_taken(context, before, NULL, after);
}

tree_node *tree_remove(tree_context *context, tree_node *root, tree_key from, const tree_key *to)
{
    tree_node *parts[3];

    cut(context, root, from, to, parts);
    tree_unref(context->host, parts[1]);
    return join_taken(context, parts[0], NULL, parts[2]);
}

tree_node *tree_replace(tree_context *context, tree_node *root, uint64_t space, tree_node *records)
{
    tree_node *parts[3];

    cut(context, root, (tree_key){space, {NULL, 0}}, NULL, parts);
    tree_unref(context->host, parts[1]);
    return join_taken(context, parts[0], tree_ref(records), parts[2]);
}

static void slices(const record *r, hf_slice *ret_key, hf_slice *ret_value)
{
    *ret_key = (hf_slice){r->bytes, r->key_size};
    *ret_value = (hf_slice){r->bytes + r->key_size, r->value_size};
}

int32_t tree_get(const tree_node *root, tree_key key, hf_slice *ret_value)
{
    hf_slice found;

    while (root) {
        int order = compare(key, root->record);

        if (order == 0) {
            slices(root->record, &found, ret_value);
            return 1;
        }
        root = order < 0 ? root->left : root->right;
    }
    return 0;
}

int32_t tree_next(const tree_node *root, tree_key from, int32_t after, hf_slice *ret_key, hf_slice *ret_value)
{
    const record *found = NULL;

    while (root) {
        if (compare(from, root->record) < (after ? 0 : 1)) {
            found = root->record;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    if (!found || found->space != from.space)
        return 0;
    slices(found, ret_key, ret_value);
    return 1;
}

static int before_end(const tree_node *root, tree_key from, const tree_key *to)
{
    return to ? compare(*to, root->record) > 0 : root->record->space <= from.space;
}

int32_t tree_scan(const tree_node *root, tree_key from, const tree_key *to, int32_t reverse, tree_visit visit,
                  void *arg)
{
    hf_slice key, value;
    int32_t r = 0;

    if (!root)
        return 0;
    int begun = compare(from, root->record) <= 0, open = before_end(root, from, to);
    const tree_node *first = reverse ? root->right : root->left, *second = reverse ? root->left : root->right;

    if (reverse ? open : begun)
        r = tree_scan(first, from, to, reverse, visit, arg);
    if (r == 0 && begun && open) {
        slices(root->record, &key, &value);
        r = visit(arg, key, value);
    }
    if (r == 0 && (reverse ? begun : open))
        r = tree_scan(second, from, to, reverse, visit, arg);
    return r;
}

/* Bytes of the keys before (space, ""). */
static uint64_t size_before(const tree_node *root, uint64_t space)
{
    uint64_t size = 0;

    while (root) {
        if (root->record->space < space) {
            size += root->size - size_of(root->right);
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return size;
}

uint64_t tree_size(const tree_node *root, uint64_t space)
{
    uint64_t end = space == UINT64_MAX ? size_of(root) : size_before(root, space + 1);

    return end - size_before(root, space);
}
