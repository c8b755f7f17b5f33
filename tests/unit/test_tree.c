/* The tree: after every change, order, parents, ranks and count are checked node by node. */
#include "tests/fake/host.h"

#include <stdlib.h>

#include "hv/base/tree.h"

/* Levels of the subtree; every rank must follow the rules, and every key be in its place. */
static int check_node(const struct tree_node *node, const struct tree_node *parent, uint64_t low,
                      uint64_t high, uint64_t *count)
{
    int left, right;

    if (node == NULL)
        return 0;
    assert_ptr_equal(node->parent, parent);
    assert_in_range(node->key, low, high);
    (*count)++;
    left = node->child[0] == NULL ? 0 : check_node(node->child[0], node, low, node->key - 1, count);
    right =
        node->child[1] == NULL ? 0 : check_node(node->child[1], node, node->key + 1, high, count);
    if (left == 0 && right == 0)
        assert_int_equal(node->rank, 0);
    for (unsigned side = 0; side < 2; side++) {
        int drop = node->rank - (node->child[side] == NULL ? -1 : node->child[side]->rank);

        assert_true(drop == 1 || drop == 2);
    }
    return 1 + MAX(left, right);
}

static void check_tree(const struct tree *tree)
{
    uint64_t count = 0;

    check_node(tree->root, NULL, 0, UINT64_MAX, &count);
    assert_int_equal(count, tree->count);
}

/* Walk both ways; `count` keys in ascending order. */
static void check_walk(const struct tree *tree)
{
    const struct tree_node *node = tree_first(tree), *last = NULL;
    uint64_t count = 0;

    for (; node != NULL; last = node, node = tree_next(node)) {
        assert_ptr_equal(tree_prev(node), last);
        assert_true(last == NULL || last->key < node->key);
        count++;
    }
    assert_int_equal(count, tree->count);
}

static void test_empty(void **state)
{
    struct tree tree = {0};

    (void)state;
    assert_null(tree_first(&tree));
    assert_null(tree_find(&tree, 0));
    assert_null(tree_find_le(&tree, UINT64_MAX));
    assert_null(tree_find_ge(&tree, 0));
}

/* The n-th of the orders of `count` things. */
static void permute(unsigned n, unsigned count, unsigned *order)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        unsigned j = n % i, swap = order[i - 1];

        n /= i;
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

/* With and without a search, in turns. */
static void insert(struct tree *tree, struct tree_node *node)
{
    static bool after;

    after = !after;
    if (after)
        tree_insert_after(tree, tree_find_le(tree, node->key), node);
    else
        tree_insert(tree, node);
}

/* Every order of insertion with every order of removal. */
static void test_all_orders(void **state)
{
    enum { COUNT = 6, ORDERS = 720 };
    unsigned in[COUNT], out[COUNT];

    (void)state;
    for (unsigned i = 0; i < ORDERS; i++) {
        permute(i, COUNT, in);
        for (unsigned j = i % 7; j < ORDERS; j += 7) {
            struct tree_node node[COUNT];
            struct tree tree = {0};

            permute(j, COUNT, out);
            for (unsigned k = 0; k < COUNT; k++) {
                node[in[k]] = (struct tree_node){.key = in[k], .rank = 77};
                insert(&tree, &node[in[k]]);
                check_tree(&tree);
            }
            for (unsigned k = 0; k < COUNT; k++) {
                tree_remove(&tree, &node[out[k]]);
                assert_null(tree_find(&tree, out[k]));
                check_tree(&tree);
            }
            assert_null(tree.root);
        }
    }
}

/* Long runs: the removals of one side rotate all the way up. */
static void test_random(void **state)
{
    enum { COUNT = 1024 };
    static struct tree_node node[COUNT];
    static bool present[COUNT];
    struct tree tree = {0};
    uint32_t x = 1;

    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        unsigned i = (x = x * 1664525 + 1013904223) >> 22, low, high;

        if (present[i]) {
            tree_remove(&tree, &node[i]);
        } else {
            node[i].key = (uint64_t)i * 3 + 1;
            insert(&tree, &node[i]);
        }
        present[i] = !present[i];
        if (n % 64 == 0) {
            check_tree(&tree);
            check_walk(&tree);
        }

        /* Finds against a scan, on keys, between them and beside them. */
        i = (x = x * 1664525 + 1013904223) >> 22;
        for (low = i; low > 0 && !present[low]; low--)
            ;
        for (high = i; high < COUNT && !present[high]; high++)
            ;
        assert_ptr_equal(tree_find(&tree, node[i].key), present[i] ? &node[i] : NULL);
        assert_ptr_equal(tree_find_le(&tree, (uint64_t)i * 3 + 2),
                         present[low] ? &node[low] : NULL);
        assert_ptr_equal(tree_find_ge(&tree, (uint64_t)i * 3), high < COUNT ? &node[high] : NULL);
    }
}

/*
 * Ascending and descending runs stay as shallow as in an AVL tree, which has at most 23 levels of 2^16 - 1 keys.
 * Removals may cost some: 2 log2 is the bound.
 */
static void test_runs(void **state)
{
    enum { COUNT = 65535, LEVELS = 23 };
    struct tree_node *node = calloc(COUNT, sizeof(*node));
    uint64_t count;

    (void)state;
    assert_non_null(node);
    for (unsigned down = 0; down < 2; down++) {
        struct tree tree = {0};

        for (unsigned i = 0; i < COUNT; i++) {
            node[i].key = down ? UINT64_MAX - i : i;
            tree_insert(&tree, &node[i]);
        }
        count = 0;
        assert_true(check_node(tree.root, NULL, 0, UINT64_MAX, &count) <= LEVELS);
        check_walk(&tree);
        for (unsigned i = 0; i < COUNT; i += 2)
            tree_remove(&tree, &node[i]);
        check_tree(&tree);
        check_walk(&tree);
    }
    free(node);
}

/* Each node of a tree in turn: root, inner and leaf. */
static void test_replace(void **state)
{
    enum { COUNT = 12 };
    struct tree_node node[COUNT], other[COUNT];
    struct tree tree = {0};

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        node[i].key = i;
        insert(&tree, &node[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        other[i] = (struct tree_node){.key = i, .rank = 77};
        tree_replace(&tree, &node[i], &other[i]);
        assert_ptr_equal(tree_find(&tree, i), &other[i]);
        check_tree(&tree);
        check_walk(&tree);
        expect_assert_failure(tree_remove(&tree, &node[i]));
    }
    other[0].key = 99;
    expect_assert_failure(tree_replace(&tree, &other[1], &other[0]));
}

static void test_extreme_keys(void **state)
{
    struct tree_node zero = {.key = 0}, top = {.key = UINT64_MAX};
    struct tree tree = {0};

    (void)state;
    tree_insert(&tree, &top);
    assert_null(tree_find_le(&tree, UINT64_MAX - 1));
    assert_ptr_equal(tree_find_ge(&tree, 0), &top);
    tree_insert(&tree, &zero);
    assert_ptr_equal(tree_find_le(&tree, UINT64_MAX - 1), &zero);
    assert_ptr_equal(tree_find_ge(&tree, 1), &top);
    assert_ptr_equal(tree_find_le(&tree, UINT64_MAX), &top);
    assert_ptr_equal(tree_find(&tree, 0), &zero);
}

static void test_misuse(void **state)
{
    struct tree_node a = {.key = 5}, same = {.key = 5}, stranger = {.key = 6};
    struct tree tree = {0};

    (void)state;
    expect_assert_failure(tree_remove(&tree, &a));
    tree_insert(&tree, &a);
    expect_assert_failure(tree_insert(&tree, &same));
    expect_assert_failure(tree_insert_after(&tree, &a, &same));
    expect_assert_failure(tree_insert_after(&tree, NULL, &stranger));
    expect_assert_failure(tree_remove(&tree, &stranger));
    tree_remove(&tree, &a);
    expect_assert_failure(tree_remove(&tree, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_all_orders),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_runs),
        cmocka_unit_test(test_misuse),       cmocka_unit_test(test_replace),
        cmocka_unit_test(test_extreme_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
