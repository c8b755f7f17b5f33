/*
 * An AVL tree with parent pointers, so that every operation is a loop.
 *
 * `balance` is the height of child[1] minus the height of child[0] and stays within -1..1 between calls.
 * One primitive repairs it: a rotation, drawn here to the left (dir 0). The mirror image is the same code
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

/* What a longer `child` adds to the balance of `parent`. */
static int8_t lean_of(const struct tree_node *parent, const struct tree_node *child)
{
    return parent->child[1] == child ? 1 : -1;
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

/* x sinks to side `dir`, its child on the other side rises and is returned. */
static struct tree_node *rotate(struct tree *tree, struct tree_node *x, unsigned dir)
{
    struct tree_node *y = x->child[!dir];

    replace_child(tree, x, y);
    adopt(x, !dir, y->child[dir]);
    adopt(y, dir, x);

    /*
     * With the heights of a, b and c unchanged, x loses y's level and the deeper of b and c on its far
     * side, and y gains x's level on its near side. Written for the left; the right negates everything.
     */
    if (dir == 0) {
        x->balance = (int8_t)(x->balance - 1 - MAX(y->balance, 0));
        y->balance = (int8_t)(y->balance - 1 + MIN(x->balance, 0));
    } else {
        x->balance = (int8_t)(x->balance + 1 - MIN(y->balance, 0));
        y->balance = (int8_t)(y->balance + 1 + MAX(x->balance, 0));
    }
    return y;
}

/* x leans by two. Returns the new root of its subtree. */
static struct tree_node *rebalance(struct tree *tree, struct tree_node *x)
{
    unsigned heavy = x->balance > 0;
    struct tree_node *y = x->child[heavy];

    /* y leans inwards: the deep subtree is `b`, which a single rotation would only carry across. */
    if (heavy ? y->balance < 0 : y->balance > 0)
        rotate(tree, y, heavy);
    return rotate(tree, x, !heavy);
}

/* A new leaf of the tree, in an empty place: below `parent` on `side`, or the root when parent is NULL. */
static void link_leaf(struct tree *tree, struct tree_node *parent, unsigned side,
                      struct tree_node *node)
{
    *node = (struct tree_node){.parent = parent, .key = node->key};
    tree->count++;
    if (parent == NULL) {
        tree->root = node;
        return;
    }
    parent->child[side] = node;

    /* Upwards as long as subtrees have grown. A rotation gives back the height from before. */
    while (parent->balance == 0) {
        parent->balance = lean_of(parent, node);
        node = parent;
        parent = node->parent;
        if (parent == NULL)
            return;
    }
    if (parent->balance != lean_of(parent, node)) {
        parent->balance = 0;
    } else {
        parent->balance = (int8_t)(2 * parent->balance);
        rebalance(tree, parent);
    }
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
static void swap_with_next(struct tree *tree, struct tree_node *node)
{
    struct tree_node *next = tree_next(node), *next_parent = next->parent, *right = next->child[1];
    int8_t balance = next->balance;

    replace_child(tree, node, next);
    next->balance = node->balance;
    adopt(next, 0, node->child[0]);
    if (next_parent == node) {
        adopt(next, 1, node);
    } else {
        adopt(next, 1, node->child[1]);
        adopt(next_parent, 0, node);
    }
    node->balance = balance;
    node->child[0] = NULL;
    adopt(node, 1, right);
}

void tree_remove(struct tree *tree, struct tree_node *node)
{
    struct tree_node *parent, *above;
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

    /* Upwards as long as subtrees have shrunk. */
    while (parent != NULL) {
        parent->balance = (int8_t)(parent->balance - (side ? 1 : -1));
        if (parent->balance == 1 || parent->balance == -1)
            break; /* was even: the other side keeps the height */
        if (parent->balance != 0) {
            parent = rebalance(tree, parent);
            if (parent->balance != 0)
                break; /* both of its inner subtrees were as deep: no height was lost */
        }
        above = parent->parent;
        side = above != NULL && side_of(above, parent);
        parent = above;
    }
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
