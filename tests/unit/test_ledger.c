#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mem/ledger.h"

#define FRAMES   200u
#define MAPPINGS 60u
#define STEPS    20000u
#define BASE     0x123456000ull /* above 4 GiB: nothing may be cut to 32 bits */

struct record {
    struct ledger_mapping mapping;
    uint64_t frame, pages;
    bool live;
};

static struct ledger l;
static struct record records[MAPPINGS];

static int setup(void **state)
{
    (void)state;
    memset(&l, 0, sizeof(l));
    memset(records, 0, sizeof(records));
    return 0;
}

static uint64_t frame_at(uint64_t frame)
{
    return BASE / PAGE_BYTES + frame;
}

static hv_status_t check(uint64_t frame, uint64_t pages, enum memtype memtype)
{
    struct ledger_wish wish = {.memtype = memtype, .fixed = true};
    hv_status_t status = ledger_check(&l, frame_at(frame), pages, &wish);

    assert_true(wish.fixed && wish.memtype == memtype);
    return status;
}

static struct record *record_new(uint64_t frame, uint64_t pages)
{
    struct record *r = records;

    while (r->live)
        r++;
    memset(r, 0xa5, sizeof(*r)); /* it need not be clean */
    r->frame = frame;
    r->pages = pages;
    r->live = true;
    return r;
}

/* With and without the place that a check left, in turns. */
static void add(uint64_t frame, uint64_t pages, enum memtype memtype)
{
    static bool with_place;
    struct ledger_wish wish = {.memtype = memtype, .fixed = true};

    assert_int_equal(ledger_check(&l, frame_at(frame), pages, &wish), HV_OK);
    with_place = !with_place;
    ledger_add(&l, &record_new(frame, pages)->mapping, frame_at(frame), pages, memtype,
               with_place ? &wish.place : NULL);
}

static void drop_record(struct record *r)
{
    ledger_remove(&l, &r->mapping);
    memset(r, 0xa5, sizeof(*r)); /* nothing may look at it any more */
    r->live = false;
}

static struct record *record_of(uint64_t frame, uint64_t pages)
{
    struct record *r = records;

    while (!r->live || r->frame != frame || r->pages != pages)
        r++;
    return r;
}

static void drop(uint64_t frame, uint64_t pages)
{
    drop_record(record_of(frame, pages));
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
}

static void first_mapping_fixes_the_type_and_the_last_forgets_it(void **state)
{
    (void)state;
    assert_int_equal(type(5), -1);
    add(5, 3, MEMTYPE_WC);
    assert_int_equal(type(4), -1);
    assert_int_equal(type(5), MEMTYPE_WC);
    assert_int_equal(type(7), MEMTYPE_WC);
    assert_int_equal(type(8), -1);
    add(5, 3, MEMTYPE_WC);
    assert_int_equal(l.edges.count, 1); /* one island for both */
    drop(5, 3);
    assert_int_equal(type(5), MEMTYPE_WC);
    drop(5, 3);
    assert_int_equal(type(5), -1);
    assert_int_equal(check(5, 3, MEMTYPE_UC), HV_OK);
    assert_empty();
}

/* A wish that is open takes the first type found; another one behind it is a conflict. */
static void open_wishes(void **state)
{
    struct ledger_wish wish = {.memtype = MEMTYPE_UC};

    (void)state;
    add(10, 2, MEMTYPE_WC);
    add(20, 2, MEMTYPE_WT);
    assert_int_equal(ledger_check(&l, frame_at(0), 10, &wish), HV_OK);
    assert_false(wish.fixed);
    assert_int_equal(ledger_check(&l, frame_at(12), 9, &wish), HV_OK);
    assert_true(wish.fixed && wish.memtype == MEMTYPE_WT);
    assert_int_equal(ledger_check(&l, frame_at(11), 1, &wish), HV_E_CACHE_CONFLICT);
    wish.fixed = false;
    assert_int_equal(ledger_check(&l, frame_at(11), 1, &wish), HV_OK);
    assert_true(wish.fixed && wish.memtype == MEMTYPE_WC);
    wish.fixed = false;
    assert_int_equal(ledger_check(&l, frame_at(5), 30, &wish), HV_E_CACHE_CONFLICT);
    drop(10, 2);
    drop(20, 2);
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
    add(20, 5, MEMTYPE_WB);
    assert_int_equal(l.edges.count, 2); /* neighbours are islands still */
    assert_int_equal(check(19, 2, MEMTYPE_WB), HV_E_CACHE_CONFLICT);
    drop(10, 10);
    drop(20, 5);
    assert_empty();
}

/* The header's drawing, and both orders of taking it down. */
static void overlapping_runs(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        add(10, 20, MEMTYPE_WC);
        ledger_draw(&l);
        add(20, 10, MEMTYPE_WC);
        add(15, 10, MEMTYPE_WC);
        add(5, 50, MEMTYPE_WC);
        assert_int_equal(l.edges.count, 7);
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

static int type_of_two(uint64_t f, uint64_t first, uint64_t end)
{
    return (f >= 8 && f < 14) || (f >= first && f < end) ? MEMTYPE_WT : -1;
}

/* Every way in which a second mapping can lie to an island, both orders of removal. */
static void second_mapping_at_an_island(void **state)
{
    (void)state;
    for (uint64_t first = 4; first <= 17; first++) {
        for (uint64_t end = first + 1; end <= 18; end++) {
            for (unsigned order = 0; order < 2; order++) {
                bool overlaps = first < 14 && end > 8, same = first == 8 && end == 14;
                unsigned shared = (first == 8 || first == 14) + (unsigned)(end == 8 || end == 14);

                add(8, 6, MEMTYPE_WT);
                ledger_draw(&l);
                add(first, end - first, MEMTYPE_WT);
                if (same)
                    assert_int_equal(l.edges.count, 1);
                else if (!overlaps)
                    assert_int_equal(l.edges.count, 2);
                else
                    assert_int_equal(l.edges.count, 4 - shared);
                for (uint64_t f = 0; f < 20; f++)
                    assert_int_equal(type(f), type_of_two(f, first, end));
                order ? drop(8, 6) : drop(first, end - first);
                for (uint64_t f = 0; f < 20; f++)
                    assert_int_equal(type(f), (order ? f >= first && f < end : f >= 8 && f < 14)
                                                  ? MEMTYPE_WT
                                                  : -1);
                order ? drop(first, end - first) : drop(8, 6);
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

static void split(struct record *r, uint64_t head)
{
    struct record *tail = record_new(r->frame + head, r->pages - head);

    ledger_split(&l, &r->mapping, frame_at(tail->frame), &tail->mapping);
    r->pages = head;
}

static void split_is_as_if_added_as_two(void **state)
{
    (void)state;
    add(10, 10, MEMTYPE_WC);
    split(record_of(10, 10), 4);
    assert_int_equal(l.mappings, 2);
    drop(10, 4);
    assert_int_equal(type(13), -1);
    assert_int_equal(type(14), MEMTYPE_WC);
    drop(14, 6);
    assert_empty();

    /* At an edge that exists already, of another mapping. */
    add(10, 10, MEMTYPE_WC);
    add(14, 2, MEMTYPE_WC);
    split(record_of(10, 10), 4);
    drop(14, 6);
    assert_int_equal(type(15), MEMTYPE_WC);
    assert_int_equal(type(16), -1);
    drop(14, 2);
    drop(10, 4);
    assert_empty();
}

static void misuse_asserts(void **state)
{
    static struct ledger_mapping never, other;

    (void)state;
    expect_assert_failure(ledger_remove(&l, &never));
    add(10, 10, MEMTYPE_WC);
    ledger_draw(&l);
    expect_assert_failure(ledger_remove(&l, &never));
    expect_assert_failure(ledger_split(&l, &never, frame_at(12), &other));
    expect_assert_failure(ledger_split(&l, &record_of(10, 10)->mapping, frame_at(10), &other));
    expect_assert_failure(ledger_split(&l, &record_of(10, 10)->mapping, frame_at(20), &other));
    expect_assert_failure((void)!check(0, 0, MEMTYPE_WC));
    expect_assert_failure(ledger_add(&l, &other, frame_at(40), 0, MEMTYPE_WC, NULL));
    expect_assert_failure(ledger_add(&l, &other, frame_at(10), 1, MEMTYPE_UC, NULL));
    expect_assert_failure(ledger_add(&l, &other, frame_at(10), 10, MEMTYPE_UC, NULL));
}

/* One type needs no edges; another one draws them, whatever was done in between. */
static void plain_until_asked(void **state)
{
    (void)state;
    add(10, 10, MEMTYPE_WB);
    add(15, 10, MEMTYPE_WB);
    add(40, 4, MEMTYPE_WB);
    split(record_of(10, 10), 6);
    drop(40, 4);
    assert_int_equal(check(0, 100, MEMTYPE_WB), HV_OK);
    assert_true(ledger_is_plain(&l));
    assert_int_equal(check(25, 5, MEMTYPE_UC), HV_OK); /* beside them */
    assert_false(ledger_is_plain(&l));
    assert_int_equal(check(24, 5, MEMTYPE_UC), HV_E_CACHE_CONFLICT);
    add(25, 5, MEMTYPE_UC);
    drop(16, 4);
    assert_int_equal(type(16), MEMTYPE_WB);
    drop(15, 10);
    assert_int_equal(type(16), -1);
    drop(10, 6);
    drop(25, 5);
    assert_empty();
    assert_true(ledger_is_plain(&l));
    add(10, 10, MEMTYPE_UC); /* plain again, of another type */
    assert_true(ledger_is_plain(&l));
    assert_int_equal(type(19), MEMTYPE_UC);
    drop(10, 10);
    assert_empty();
}

/* ---- against a flat model ---- */

static struct {
    int type;
    unsigned refs;
} model[FRAMES];

/* Edges in the ring of `leader`, all of them well. */
static unsigned ring(const struct ledger_edge *leader)
{
    const struct ledger_edge *edge = leader;
    unsigned count = 0;

    assert_true(leader->leads);
    do {
        assert_ptr_equal(edge->next->prev, edge);
        assert_int_equal(edge->node.key, leader->node.key);
        assert_true(edge == leader || !edge->leads);
        count++;
        edge = edge->next;
    } while (edge != leader);
    return count;
}

/* Every edge of every mapping is in a ring, and each edge in the tree says what the model says. */
static void compare_edges(void)
{
    uint64_t edges = 0;

    for (struct tree_node *n = tree_first(&l.edges); n != NULL; n = tree_next(n)) {
        const struct ledger_edge *edge = CONTAINER_OF(n, struct ledger_edge, node);
        uint64_t frame = n->key - BASE / PAGE_BYTES;

        edges += ring(edge);
        if (edge->twin != NULL) {
            const struct tree_node *next = tree_next(n);

            assert_true(edge->refs != 0);
            assert_true(next == NULL || next->key >= edge->twin->node.key);
            assert_int_equal(ring(edge->twin), edge->refs);
            edges += edge->refs;
        }
        assert_int_equal(edge->refs, frame < FRAMES ? model[frame].refs : 0);
    }
    assert_int_equal(edges, 2 * l.mappings);
}

static void compare_free(uint64_t frame, uint64_t pages)
{
    struct ledger_part part = {.first = frame_at(frame)};
    bool seen[FRAMES] = {false};

    while (ledger_next_free(&l, frame_at(frame), pages, &part)) {
        uint64_t first = part.first - BASE / PAGE_BYTES;

        assert_true(part.pages != 0 && first >= frame && first + part.pages <= frame + pages);
        for (uint64_t f = first; f < first + part.pages; f++) {
            assert_false(seen[f]);
            seen[f] = true;
        }
    }
    for (uint64_t f = frame; f < frame + pages; f++)
        assert_int_equal(seen[f], model[f].refs == 0);
}

static void compare_open_wish(uint64_t frame, uint64_t pages)
{
    struct ledger_wish wish = {.memtype = MEMTYPE_UC};
    hv_status_t status = ledger_check(&l, frame_at(frame), pages, &wish);
    int found = -1;
    bool differ = false;

    for (uint64_t f = frame; f < frame + pages; f++) {
        if (model[f].refs == 0)
            continue;
        differ |= found >= 0 && found != model[f].type;
        found = found >= 0 ? found : model[f].type;
    }
    assert_int_equal(status, differ ? HV_E_CACHE_CONFLICT : HV_OK);
    assert_int_equal(wish.fixed, found >= 0);
    assert_true(found < 0 || (int)wish.memtype == found);
}

static unsigned live_records(void)
{
    unsigned live = 0;

    for (unsigned i = 0; i < MAPPINGS; i++)
        live += records[i].live;
    return live;
}

static void compare(void)
{
    assert_int_equal(l.mappings, live_records());
    for (unsigned f = 0; f < FRAMES; f++)
        assert_int_equal(type(f), model[f].refs ? model[f].type : -1);
    compare_edges();
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
    if (rand() % 4 == 0 && live_records() != 0) { /* the run of another mapping */
        unsigned r = (unsigned)rand() % MAPPINGS;

        if (records[r].live) {
            frame = records[r].frame;
            pages = records[r].pages;
        }
    }
    compare_free(frame, pages);
    compare_open_wish(frame, pages);
    if (rand() % 2 && model[frame].refs)
        memtype = (enum memtype)model[frame].type; /* else overlaps would be rare */
    for (uint64_t f = frame; f < frame + pages; f++)
        fits &= model[f].refs == 0 || model[f].type == (int)memtype;
    assert_int_equal(check(frame, pages, memtype), fits ? HV_OK : HV_E_CACHE_CONFLICT);
    if (!fits || live_records() == MAPPINGS)
        return;
    add(frame, pages, memtype);
    for (uint64_t f = frame; f < frame + pages; f++) {
        model[f].type = (int)memtype;
        model[f].refs++;
    }
}

static struct record *random_record(void)
{
    struct record *r;

    do
        r = &records[(unsigned)rand() % MAPPINGS];
    while (!r->live);
    return r;
}

static void random_remove(void)
{
    struct record *r = random_record();

    for (uint64_t f = r->frame; f < r->frame + r->pages; f++)
        model[f].refs--;
    drop_record(r);
}

static void random_split(void)
{
    struct record *r = random_record();

    if (r->pages >= 2 && live_records() != MAPPINGS)
        split(r, 1 + (uint64_t)rand() % (r->pages - 1));
}

static void random_operations_match_the_model(void **state)
{
    (void)state;
    srand(3);
    memset(model, 0, sizeof(model));
    for (unsigned i = 0; i < STEPS; i++) {
        int dice = rand() % 10;

        if (live_records() == 0 || dice < 6)
            random_add();
        else if (dice < 9)
            random_remove();
        else
            random_split();
        compare();
    }
    while (live_records() != 0)
        random_remove();
    assert_empty();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(first_mapping_fixes_the_type_and_the_last_forgets_it, setup),
        cmocka_unit_test_setup(open_wishes, setup),
        cmocka_unit_test_setup(every_type_conflicts_with_every_other, setup),
        cmocka_unit_test_setup(ends_are_exclusive, setup),
        cmocka_unit_test_setup(overlapping_runs, setup),
        cmocka_unit_test_setup(second_mapping_at_an_island, setup),
        cmocka_unit_test_setup(run_at_the_last_frame, setup),
        cmocka_unit_test_setup(split_is_as_if_added_as_two, setup),
        cmocka_unit_test_setup(misuse_asserts, setup),
        cmocka_unit_test_setup(plain_until_asked, setup),
        cmocka_unit_test_setup(random_operations_match_the_model, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
