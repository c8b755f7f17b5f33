#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/ledger.h"

#define FRAMES   200u
#define MAPPINGS 60u
#define STEPS    20000u
#define BASE     0x123456000ull /* above 4 GiB: nothing may be cut to 32 bits */

static struct ledger l;
static unsigned nodes; /* handed to the ledger or held as spares: the leak count */

static int setup(void **state)
{
    (void)state;
    memset(&l, 0, sizeof(l));
    nodes = 0;
    return 0;
}

static hpa_t frame_at(uint64_t frame)
{
    return HPA(BASE + frame * PAGE_BYTES);
}

static struct ledger_edge *node_new(void)
{
    struct ledger_edge *edge = malloc(sizeof(*edge));

    memset(edge, 0xa5, sizeof(*edge)); /* a spare need not be clean */
    nodes++;
    return edge;
}

static void node_drop(struct ledger_edge *edge)
{
    nodes -= edge != NULL;
    free(edge);
}

/* Returns how many of the two nodes were taken. */
static unsigned add(uint64_t frame, uint64_t pages, enum memtype memtype)
{
    struct ledger_edge *spare[2] = {node_new(), node_new()};
    unsigned taken;

    ledger_add(&l, frame_at(frame), pages, memtype, spare);
    taken = (unsigned)(spare[0] == NULL) + (unsigned)(spare[1] == NULL);
    node_drop(spare[0]);
    node_drop(spare[1]);
    return taken;
}

static unsigned drop(uint64_t frame, uint64_t pages)
{
    struct ledger_edge *freed[2];
    unsigned count;

    ledger_remove(&l, frame_at(frame), pages, freed);
    count = (unsigned)(freed[0] != NULL) + (unsigned)(freed[1] != NULL);
    node_drop(freed[0]);
    node_drop(freed[1]);
    return count;
}

static hv_status_t check(uint64_t frame, uint64_t pages, enum memtype memtype)
{
    return ledger_check(&l, frame_at(frame), pages, memtype);
}

/* The type in force, or -1. */
static int type(uint64_t frame)
{
    enum memtype memtype;

    return ledger_type(&l, frame_at(frame), &memtype) ? (int)memtype : -1;
}

static void assert_empty(void)
{
    assert_null(l.edges.root);
    assert_int_equal(l.edges.count, 0);
    assert_int_equal(l.mappings, 0);
    assert_int_equal(nodes, 0);
}

static void first_mapping_fixes_the_type_and_the_last_forgets_it(void **state)
{
    (void)state;
    assert_int_equal(type(5), -1);
    assert_int_equal(add(5, 3, MEMTYPE_WC), 2);
    assert_int_equal(type(4), -1);
    assert_int_equal(type(5), MEMTYPE_WC);
    assert_int_equal(type(7), MEMTYPE_WC);
    assert_int_equal(type(8), -1);
    assert_int_equal(add(5, 3, MEMTYPE_WC), 0);
    assert_int_equal(drop(5, 3), 0);
    assert_int_equal(type(5), MEMTYPE_WC);
    assert_int_equal(drop(5, 3), 2);
    assert_int_equal(type(5), -1);
    assert_int_equal(check(5, 3, MEMTYPE_UC), HV_OK);
    assert_empty();
}

static void every_type_conflicts_with_every_other(void **state)
{
    static const enum memtype types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP,
                                         MEMTYPE_WB};

    (void)state;
    for (unsigned a = 0; a < ARRAY_COUNT(types); a++) {
        add(10, 1, types[a]);
        assert_int_equal(type(10), types[a]);
        for (unsigned b = 0; b < ARRAY_COUNT(types); b++)
            assert_int_equal(check(10, 1, types[b]), a == b ? HV_OK : HV_E_CACHE_CONFLICT);
        drop(10, 1);
    }
    assert_empty();
}

static void ends_are_exclusive(void **state)
{
    (void)state;
    add(10, 10, MEMTYPE_UC);
    assert_int_equal(check(0, 10, MEMTYPE_WB), HV_OK);
    assert_int_equal(check(0, 11, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    assert_int_equal(check(19, 1, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    assert_int_equal(check(20, 1, MEMTYPE_WB), HV_OK);
    assert_int_equal(check(0, 100, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    assert_int_equal(check(0, 100, MEMTYPE_UC), HV_OK);
    assert_int_equal(add(20, 5, MEMTYPE_WB), 1); /* neighbours share an edge */
    assert_int_equal(check(19, 2, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    assert_int_equal(drop(10, 10), 1);
    assert_int_equal(drop(20, 5), 2);
    assert_empty();
}

/* The header's drawing, and both orders of taking it down. */
static void overlapping_runs(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        assert_int_equal(add(10, 20, MEMTYPE_WC), 2);
        assert_int_equal(add(20, 10, MEMTYPE_WC), 1);
        assert_int_equal(add(15, 10, MEMTYPE_WC), 2);
        assert_int_equal(add(5, 50, MEMTYPE_WC), 2);
        assert_int_equal(nodes, 7);
        drop(order ? 5 : 10, order ? 50 : 20);
        assert_int_equal(type(12), order ? MEMTYPE_WC : MEMTYPE_WC);
        assert_int_equal(type(54), order ? -1 : MEMTYPE_WC);
        drop(order ? 10 : 5, order ? 20 : 50);
        assert_int_equal(type(12), -1);
        assert_int_equal(type(15), MEMTYPE_WC);
        drop(15, 10);
        assert_int_equal(type(15), -1);
        assert_int_equal(type(20), MEMTYPE_WC);
        drop(20, 10);
        assert_empty();
    }
}

/* Every way in which a second mapping can lie to an island, both orders of removal, nodes counted. */
static void second_mapping_at_an_island(void **state)
{
    (void)state;
    for (uint64_t first = 4; first <= 17; first++) {
        for (uint64_t end = first + 1; end <= 18; end++) {
            for (unsigned order = 0; order < 2; order++) {
                unsigned shared = (first == 8 || first == 14) + (unsigned)(end == 8 || end == 14);

                assert_int_equal(add(8, 6, MEMTYPE_WT), 2);
                assert_int_equal(add(first, end - first, MEMTYPE_WT), 2 - shared);
                assert_int_equal(nodes, 4 - shared);
                for (uint64_t f = 0; f < 20; f++)
                    assert_int_equal(
                        type(f), (f >= 8 && f < 14) || (f >= first && f < end) ? MEMTYPE_WT : -1);
                assert_int_equal(order ? drop(8, 6) : drop(first, end - first), 2 - shared);
                for (uint64_t f = 0; f < 20; f++)
                    assert_int_equal(type(f), (order ? f >= first && f < end : f >= 8 && f < 14)
                                                  ? MEMTYPE_WT
                                                  : -1);
                assert_int_equal(order ? drop(first, end - first) : drop(8, 6), 2);
                assert_empty();
            }
        }
    }
}

static void run_at_the_last_frame(void **state)
{
    uint64_t last = ((1ull << 52) - BASE) / PAGE_BYTES - 1;

    (void)state;
    add(last, 1, MEMTYPE_UC);
    assert_int_equal(check(last - 1, 2, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    assert_int_equal(check(last - 1, 1, MEMTYPE_WB), HV_OK);
    drop(last, 1);
    assert_empty();
}

static void split_is_as_if_added_as_two(void **state)
{
    struct ledger_edge *spare[1] = {node_new()};

    (void)state;
    add(10, 10, MEMTYPE_WC);
    ledger_split(&l, frame_at(14).v / PAGE_BYTES, spare);
    assert_null(spare[0]);
    assert_int_equal(l.mappings, 2);
    assert_int_equal(drop(10, 4), 1);
    assert_int_equal(type(13), -1);
    assert_int_equal(type(14), MEMTYPE_WC);
    assert_int_equal(drop(14, 6), 2);
    assert_empty();

    /* At an edge that exists already, of another mapping. */
    add(10, 10, MEMTYPE_WC);
    add(14, 2, MEMTYPE_WC);
    spare[0] = node_new();
    ledger_split(&l, frame_at(14).v / PAGE_BYTES, spare);
    assert_non_null(spare[0]);
    node_drop(spare[0]);
    drop(14, 6);
    assert_int_equal(type(15), MEMTYPE_WC);
    assert_int_equal(type(16), -1);
    drop(14, 2);
    drop(10, 4);
    assert_empty();
}

static void misuse_asserts(void **state)
{
    struct ledger_edge *freed[2];
    struct ledger_edge *spare[2] = {node_new(), node_new()};
    struct ledger_edge *none[2] = {NULL, NULL};

    (void)state;
    add(10, 10, MEMTYPE_WC);
    expect_assert_failure(ledger_remove(&l, frame_at(11), 9, freed));
    expect_assert_failure(ledger_remove(&l, frame_at(30), 1, freed));
    expect_assert_failure(ledger_split(&l, frame_at(40).v / PAGE_BYTES, spare));
    expect_assert_failure((void)!check(0, 0, MEMTYPE_WC));
    expect_assert_failure(ledger_add(&l, frame_at(40), 1, MEMTYPE_WC, none));
    expect_assert_failure(ledger_add(&l, frame_at(10), 1, MEMTYPE_UC, spare));
    free(spare[0]);
    free(spare[1]);
    for (struct tree_node *n = tree_first(&l.edges); n != NULL; n = tree_first(&l.edges)) {
        tree_remove(&l.edges, n);
        free(CONTAINER_OF(n, struct ledger_edge, node)->twin);
        free(CONTAINER_OF(n, struct ledger_edge, node));
    }
}

/* ---- against a flat model ---- */

static struct {
    uint64_t frame, pages;
} mapping[MAPPINGS];
static unsigned mappings;
static struct {
    int type;
    unsigned refs;
} model[FRAMES];

static void compare(void)
{
    uint64_t edges = 0;

    assert_int_equal(l.mappings, mappings);
    for (unsigned f = 0; f < FRAMES; f++)
        assert_int_equal(type(f), model[f].refs ? model[f].type : -1);
    for (unsigned f = 0; f <= FRAMES; f++) {
        bool edge = false;

        for (unsigned m = 0; m < mappings; m++)
            edge |= mapping[m].frame == f || mapping[m].frame + mapping[m].pages == f;
        edges += edge;
    }
    assert_int_equal(nodes, edges);
}

static void random_add(void)
{
    static const enum memtype types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP,
                                         MEMTYPE_WB};
    uint64_t frame = (uint64_t)rand() % FRAMES;
    uint64_t pages = 1 + (uint64_t)rand() % (rand() % 4 ? 6 : 80);
    enum memtype memtype = types[rand() % 5];
    bool fits = true;

    pages = MIN(pages, FRAMES - frame);
    if (rand() % 2 && model[frame].refs)
        memtype = (enum memtype)model[frame].type; /* else overlaps would be rare */
    for (uint64_t f = frame; f < frame + pages; f++)
        fits &= model[f].refs == 0 || model[f].type == (int)memtype;
    assert_int_equal(check(frame, pages, memtype), fits ? HV_OK : HV_E_CACHE_CONFLICT);
    if (!fits || mappings == MAPPINGS)
        return;
    add(frame, pages, memtype);
    for (uint64_t f = frame; f < frame + pages; f++) {
        model[f].type = (int)memtype;
        model[f].refs++;
    }
    mapping[mappings].frame = frame;
    mapping[mappings++].pages = pages;
}

static void random_remove(void)
{
    unsigned m = (unsigned)rand() % mappings;

    drop(mapping[m].frame, mapping[m].pages);
    for (uint64_t f = mapping[m].frame; f < mapping[m].frame + mapping[m].pages; f++)
        model[f].refs--;
    mapping[m] = mapping[--mappings];
}

static void random_split(void)
{
    unsigned m = (unsigned)rand() % mappings;
    struct ledger_edge *spare[1];
    uint64_t head;

    if (mapping[m].pages < 2 || mappings == MAPPINGS)
        return;
    head = 1 + (uint64_t)rand() % (mapping[m].pages - 1);
    spare[0] = node_new();
    ledger_split(&l, frame_at(mapping[m].frame + head).v / PAGE_BYTES, spare);
    node_drop(spare[0]);
    mapping[mappings].frame = mapping[m].frame + head;
    mapping[mappings++].pages = mapping[m].pages - head;
    mapping[m].pages = head;
}

static void random_operations_match_the_model(void **state)
{
    (void)state;
    srand(3);
    mappings = 0;
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < STEPS; i++) {
        int dice = rand() % 10;

        if (mappings == 0 || dice < 6)
            random_add();
        else if (dice < 9)
            random_remove();
        else
            random_split();
        compare();
    }
    while (mappings != 0)
        random_remove();
    assert_empty();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(first_mapping_fixes_the_type_and_the_last_forgets_it, setup),
        cmocka_unit_test_setup(every_type_conflicts_with_every_other, setup),
        cmocka_unit_test_setup(ends_are_exclusive, setup),
        cmocka_unit_test_setup(overlapping_runs, setup),
        cmocka_unit_test_setup(second_mapping_at_an_island, setup),
        cmocka_unit_test_setup(run_at_the_last_frame, setup),
        cmocka_unit_test_setup(split_is_as_if_added_as_two, setup),
        cmocka_unit_test_setup(misuse_asserts, setup),
        cmocka_unit_test_setup(random_operations_match_the_model, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
