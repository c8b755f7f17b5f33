/*
 * Owns:     an intrusive balanced tree ordered by a uint64_t key.
 * Promises: insert, remove and search in O(log n), no allocation; keys are unique.
 * Needs:    the caller's node memory and lock.
 * Never:    key changes while a node is in a tree, unless the order of the nodes stays the same.
 */
#ifndef HV_BASE_TREE_H
#define HV_BASE_TREE_H

#include "hv/base/types.h"

struct tree_node {
    struct tree_node *child[2]; /* [0] smaller keys, [1] larger keys */
    struct tree_node *parent;
    uint64_t key;
    int8_t rank; /* see tree.c */
};

struct tree {
    struct tree_node *root;
    uint64_t count;
};

/* The key must not be in the tree. */
void tree_insert(struct tree *tree, struct tree_node *node);

/*
 * Likewise without a search: `prev` is the node with the largest smaller key, or NULL when there is none (what
 * tree_find_le() has said).
 */
void tree_insert_after(struct tree *tree, struct tree_node *prev, struct tree_node *node);

/* `new`, of the same key, takes the place of `old`, which is out of the tree then. */
void tree_replace(struct tree *tree, struct tree_node *old, struct tree_node *new);

void tree_remove(struct tree *tree, struct tree_node *node);

struct tree_node *tree_find(const struct tree *tree, uint64_t key);    /* exactly key */
struct tree_node *tree_find_le(const struct tree *tree, uint64_t key); /* largest <= key */
struct tree_node *tree_find_ge(const struct tree *tree, uint64_t key); /* smallest >= key */
struct tree_node *tree_first(const struct tree *tree);
struct tree_node *tree_next(const struct tree_node *node);
struct tree_node *tree_prev(const struct tree_node *node);

#endif
