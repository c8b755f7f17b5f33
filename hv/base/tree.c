/*
 * A rank-balanced tree (Haeupler, Sen, Tarjan: "Rank-Balanced Trees") with parent pointers, so that every
 * operation is a loop. As shallow as an AVL tree as long as nodes are only added; and a node that comes and
 * goes costs a step or two each time, where an AVL tree may have to repair the whole way up.
 *
 * Every node has a rank, an absent one the rank -1. A child's rank is 1 or 2 below its parent's, and a leaf's
 * is 0. The number of levels is at most twice the logarithm of the count.
 *
 * One primitive moves nodes: a rotation, drawn here to the left (dir 0). The mirror image is the same code
 * with the sides exchanged. The order of the keys, a < x < b < y < c, is the same before and after.
 *
 *          |                        |
 *          x                        y
 *        /   \                    /   \
 *       a     y      rotate      x     c
 *            / \    ------->    / \
 *           b   c              a   b
 */
#include "hv/base/tree.h"

#include "hv/base/assert.h"

static unsigned side_of(const struct tree_node *parent, const struct tree_node *child)
{
    return parent->child[1] == child;
}

/* How far the rank of a child (NULL: none) is below its parent's. */
static int drop_to(const struct tree_node *parent, const struct tree_node *child)
{
    return parent->rank - (child != NULL ? child->rank : -1);
}

static void change_rank(struct tree_node *node, int by)
{
    node->rank = (int8_t)(node->rank + by);
}

static bool is_leaf(const struct tree_node *node)
{
    return node->child[0] == NULL && node->child[1] == NULL;
}

/* Put `to` (may be NULL) in the place that `from` has below its parent. */
static void replace_child(struct tree *tree, struct tree_node *from, struct tree_node *to)
{
    struct tree_node *parent = from->parent;

    if (parent == NULL)
        tree->root = to;
    else
        parent->child[side_of(parent, from)] = to;
    if (to != NULL)
        to->parent = parent;
}

static void adopt(struct tree_node *parent, unsigned side, struct tree_node *child)
{
    parent->child[side] = child;
    if (child != NULL)
        child->parent = parent;
}

/* x sinks to side `dir`, its child on the other side rises. Ranks are the caller's. */
static void rotate(struct tree *tree, struct tree_node *x, unsigned dir)
{
    struct tree_node *y = x->child[!dir];

    replace_child(tree, x, y);
    adopt(x, !dir, y->child[dir]);
    adopt(y, dir, x);
}

/* `node` has the rank of its parent, and no promotion of the parent would help: its sibling is 2 below. */
static void lift(struct tree *tree, struct tree_node *parent, struct tree_node *node)
{
    unsigned side = side_of(parent, node);
    struct tree_node *inner = node->child[!side];

    if (drop_to(node, inner) == 1) { /* a single rotation would only carry it across */
        rotate(tree, node, side);
        change_rank(inner, 1);
        change_rank(node, -1);
    }
    rotate(tree, parent, !side);
    change_rank(parent, -1);
}

/* `node` has grown to the rank of its parent. */
static __attribute__((noinline)) void repair_growth(struct tree *tree, struct tree_node *parent,
                                                    struct tree_node *node)
{
    do {
        if (drop_to(parent, parent->child[!side_of(parent, node)]) != 1) {
            lift(tree, parent, node);
            return;
        }
        change_rank(parent, 1);
        node = parent;
        parent = node->parent;
    } while (parent != NULL && parent->rank == node->rank);
}

/* A new leaf of the tree, in an empty place: below `parent` on `side`, or the root when parent is NULL. */
static inline void link_leaf(struct tree *tree, struct tree_node *parent, unsigned side,
                             struct tree_node *node)
{
    struct tree_node *above;

    *node = (struct tree_node){.parent = parent, .key = node->key};
    tree->count++;
    if (parent == NULL) {
        tree->root = node;
        return;
    }
    parent->child[side] = node;
    if (parent->rank != 0)
        return;
    parent->rank = 1; /* it was a leaf */
    above = parent->parent;
    if (above != NULL && UNLIKELY(above->rank == 1))
        repair_growth(tree, above, parent);
}

void tree_insert(struct tree *tree, struct tree_node *node)
{
    struct tree_node *parent = NULL, *at = tree->root;
    unsigned side = 0;

    while (at != NULL) {
        ASSERT(at->key != node->key);
        parent = at;
        side = node->key > at->key;
        at = at->child[side];
    }
    link_leaf(tree, parent, side, node);
}

void tree_insert_after(struct tree *tree, struct tree_node *prev, struct tree_node *node)
{
    struct tree_node *next = prev != NULL ? prev->child[1] : tree->root;

    /* The empty place is right of prev, or left of the first node that is right of it. */
    ASSERT(prev == NULL || prev->key < node->key);
    if (next == NULL) {
        link_leaf(tree, prev, 1, node);
        return;
    }
    while (next->child[0] != NULL)
        next = next->child[0];
    ASSERT(node->key < next->key);
    link_leaf(tree, next, 0, node);
}

void tree_replace(struct tree *tree, struct tree_node *old, struct tree_node *new)
{
    ASSERT(old->key == new->key);
    *new = *old;
    replace_child(tree, old, new);
    adopt(new, 0, old->child[0]);
    adopt(new, 1, old->child[1]);
    *old = (struct tree_node){.key = old->key};
}

/* Exchange the places of `node`, which has two children, and its successor, which has no smaller child. */
static __attribute__((noinline)) void swap_with_next(struct tree *tree, struct tree_node *node)
{
    struct tree_node *next = node->child[1], *next_parent, *right;
    int8_t rank;

    while (next->child[0] != NULL)
        next = next->child[0];
    next_parent = next->parent;
    right = next->child[1];
    rank = next->rank;
    replace_child(tree, node, next);
    next->rank = node->rank;
    adopt(next, 0, node->child[0]);
    if (next_parent == node) {
        adopt(next, 1, node);
    } else {
        adopt(next, 1, node->child[1]);
        adopt(next_parent, 0, node);
    }
    node->rank = rank;
    node->child[0] = NULL;
    adopt(node, 1, right);
}

/*
 * The child of `parent` on `side` is 3 below it, its sibling 1 below and with a child that is 1 below: rotations
 * end the repair.
 */
static void lower(struct tree *tree, struct tree_node *parent, unsigned side)
{
    struct tree_node *sibling = parent->child[!side];
    struct tree_node *inner = sibling->child[side];

    if (drop_to(sibling, sibling->child[!side]) == 1) {
        rotate(tree, parent, side);
        change_rank(sibling, 1);
        change_rank(parent, is_leaf(parent) ? -2 : -1);
    } else {
        rotate(tree, sibling, !side);
        rotate(tree, parent, side);
        change_rank(inner, 2);
        change_rank(sibling, -1);
        change_rank(parent, -2);
    }
}

/* The child of `parent` on `side` (may be gone altogether) has fallen 3 below it. */
static __attribute__((noinline)) void repair_loss(struct tree *tree, struct tree_node *parent,
                                                  unsigned side)
{
    do {
        struct tree_node *sibling = parent->child[!side];
        struct tree_node *above = parent->parent;

        if (drop_to(parent, sibling) == 1) {
            if (drop_to(sibling, sibling->child[0]) == 1 ||
                drop_to(sibling, sibling->child[1]) == 1) {
                lower(tree, parent, side);
                return;
            }
            change_rank(sibling, -1);
        }
        change_rank(parent, -1);
        if (above == NULL)
            return;
        side = side_of(above, parent);
        parent = above;
    } while (drop_to(parent, parent->child[side]) > 2);
}

void tree_remove(struct tree *tree, struct tree_node *node)
{
    struct tree_node *parent;
    unsigned side;

    ASSERT(tree->count != 0);
    ASSERT(node->parent != NULL ? node->parent->child[side_of(node->parent, node)] == node
                                : tree->root == node);
    if (node->child[0] != NULL && node->child[1] != NULL)
        swap_with_next(tree, node);

    parent = node->parent;
    side = parent != NULL && side_of(parent, node);
    replace_child(tree, node, node->child[node->child[0] == NULL]);
    tree->count--;
    if (parent != NULL && parent->rank == 1 && is_leaf(parent)) {
        struct tree_node *leaf = parent;

        leaf->rank = 0;
        parent = leaf->parent;
        side = parent != NULL && side_of(parent, leaf);
    }
    if (parent != NULL && UNLIKELY(drop_to(parent, parent->child[side]) > 2))
        repair_loss(tree, parent, side);
    *node = (struct tree_node){.key = node->key};
}

struct tree_node *tree_find(const struct tree *tree, uint64_t key)
{
    struct tree_node *at = tree->root;

    while (at != NULL && at->key != key)
        at = at->child[key > at->key];
    return at;
}

struct tree_node *tree_find_le(const struct tree *tree, uint64_t key)
{
    struct tree_node *at = tree->root, *best = NULL;

    while (at != NULL) {
        bool fits = at->key <= key;

        if (fits)
            best = at;
        at = at->child[fits];
    }
    return best;
}

struct tree_node *tree_find_ge(const struct tree *tree, uint64_t key)
{
    struct tree_node *at = tree->root, *best = NULL;

    while (at != NULL) {
        if (at->key == key)
            return at;
        if (at->key > key)
            best = at;
        at = at->child[key > at->key];
    }
    return best;
}

struct tree_node *tree_first(const struct tree *tree)
{
    struct tree_node *at = tree->root;

    while (at != NULL && at->child[0] != NULL)
        at = at->child[0];
    return at;
}

/* The neighbour on `side`: the near end of that subtree, else the first ancestor reached from the other side. */
static struct tree_node *neighbour(const struct tree_node *node, unsigned side)
{
    struct tree_node *at = node->child[side];

    if (at != NULL) {
        while (at->child[!side] != NULL)
            at = at->child[!side];
        return at;
    }
    at = node->parent;
    while (at != NULL && at->child[side] == node) {
        node = at;
        at = at->parent;
    }
    return at;
}

struct tree_node *tree_next(const struct tree_node *node)
{
    return neighbour(node, 1);
}

struct tree_node *tree_prev(const struct tree_node *node)
{
    return neighbour(node, 0);
}
