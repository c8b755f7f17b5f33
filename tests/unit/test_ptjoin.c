/* A table of leaves becomes one larger leaf again. Every store is watched (tests/fake/ptwatch.h). */
#include "tests/unit/pt_kit.h"

#include <string.h>

#include "hv/base/direct.h"

#define AT    GIB(6)
#define FRAME GIB(10)
#define PAGES 512u

static const uint64_t places[] = {0, KIB(4), MIB(1), MIB(2) - KIB(4)};

/* One 2 MiB leaf from AT; the next one belongs to the model too. */
static void map_large(void)
{
    watch_start(&root, AT, PAGE_BYTES, 2 * PAGES);
    map(AT, FRAME, MIB(2), &rw_wb);
    expect_leaves(0, 1, 0);
}

static bool joinable(uint64_t addr)
{
    return pt_joinable(&root, addr, 2);
}

/* ---- after each kind of change ---- */

static void join_after_a_hole_is_filled(void **state)
{
    uint64_t used;

    (void)state;
    map_large();
    used = pool.used_tables;
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
        unmap(AT + places[i], KIB(4));
        assert_false(flush.filled);
        assert_false(joinable(AT + places[i]));
        map(AT + places[i], FRAME + places[i], KIB(4), &rw_wb);
        assert_true(flush.filled);
        expect_leaves(512, 0, 0);
        join(AT + places[i], 2);
        finish_flush();
        assert_int_equal(pool.used_tables, used);
        flush.filled = false;
    }
    unmap(AT + MIB(1), MIB(1)); /* a hole of many pages */
    map(AT + MIB(1), FRAME + MIB(1), MIB(1), &rw_wb);
    assert_true(flush.filled);
    join(AT, 2);
}

static void change_and_restore(const struct pt_attr *attr, uint64_t move)
{
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
        uint64_t addr = AT + places[i], frame = FRAME + places[i];

        map(addr, frame + move, KIB(4), attr);
        expect_leaves(512, 0, 0);
        assert_false(joinable(addr));
        assert_false(joinable(AT));
        assert_false(joinable(AT + MIB(2) - 1));
        flush.filled = false;
        map(addr, frame, KIB(4), &rw_wb);
        assert_true(flush.filled);
        join(addr, 2);
        if (i % 2 == 0) /* or the dead tables wait */
            finish_flush();
    }
}

static void join_after_rights_type_or_frame_are_restored(void **state)
{
    (void)state;
    map_large();
    change_and_restore(&ro_wb, 0);
    change_and_restore(&rwx_wb, 0);
    change_and_restore(&rw_wc, 0);
    change_and_restore(&rw_wb, GIB(1));
    if (root.fmt->ignore_pat != 0)
        change_and_restore(&rw_ipat, 0);
}

static void no_join_when_one_entry_differs(void **state)
{
    const struct pt_attr *kinds[] = {&ro_wb, &rw_wc, &rw_wb, &rwx_wb};

    (void)state;
    watch_start(&root, AT, PAGE_BYTES, PAGES);
    map(AT, FRAME, MIB(2), &rw_wb_4k);
    assert_true(joinable(AT));
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t inside = i * PAGE_BYTES, move = i % 4 == 2 ? MIB(2) : 0;

        map(AT + inside, FRAME + inside + move, KIB(4), kinds[i % 4]);
        for (unsigned asked = 0; asked < PAGES; asked += 73)
            assert_false(joinable(AT + asked * PAGE_BYTES));
        assert_false(joinable(AT + inside));
        assert_false(joinable(AT + (inside ^ PAGE_BYTES)));
        map(AT + inside, FRAME + inside, KIB(4), &rw_wb);
        assert_true(joinable(AT + inside));
    }
    assert_int_equal(root.leaves[1], PAGES);
}

static void no_join_of_what_is_no_full_table(void **state)
{
    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 4 * PAGES);
    assert_false(joinable(AT)); /* nothing on the way */
    map(AT, FRAME, MIB(2), &rw_wb);
    assert_false(joinable(AT));          /* a large leaf already */
    assert_false(joinable(AT + MIB(2))); /* nothing, beside it */
    map(AT + MIB(2), FRAME + MIB(2), MIB(2) - KIB(4), &rw_wb);
    assert_false(joinable(AT + MIB(2)));
    assert_false(joinable(AT + MIB(4) - KIB(4)));
    assert_false(pt_joinable(&root, AT, 3));
    assert_false(pt_joinable(&root, AT + MIB(2), 3));
    assert_false(pt_joinable(&root, GIB(512), 3));
    /* Contiguous, but the frames do not start where a large leaf may. */
    map(AT + MIB(4), FRAME + KIB(4), MIB(2), &rw_wb);
    assert_false(joinable(AT + MIB(4)));
    map(AT + MIB(4), FRAME + MIB(1), MIB(2), &rw_wb);
    assert_false(joinable(AT + MIB(4) + MIB(1)));
    /* The frames of two halves, the wrong way round. */
    map(AT + MIB(6), FRAME + MIB(1), MIB(1), &rw_wb);
    map(AT + MIB(7), FRAME, MIB(1), &rw_wb);
    assert_false(joinable(AT + MIB(6)));
    assert_false(joinable(AT + MIB(7)));
    /* Frame 0 below its place. */
    map(AT + MIB(6), 0, MIB(1), &rw_wb);
    map(AT + MIB(7), 0, MIB(1), &rw_wb);
    assert_false(joinable(AT + MIB(7)));
    assert_true(joinable(AT + MIB(7)) == joinable(AT + MIB(6)));
}

/* ---- what the leaf says ---- */

/* The entry after a join, and that of a large leaf that was mapped as one. */
static void compare_entries(const struct pt_attr *attr, unsigned level)
{
    struct pt_attr parts = *attr;
    struct pt_leaf joined, mapped;
    uint64_t bytes = pt_span(level);

    parts.max_level = (uint8_t)(level - 1);
    map(GIB(1), GIB(3), bytes, &parts);
    join(GIB(1) + bytes - 1, level);
    assert_true(pt_lookup(&root, GIB(1), &joined));
    unmap(GIB(1), bytes);
    finish_flush();
    map(GIB(1), GIB(3), bytes, attr);
    assert_true(pt_lookup(&root, GIB(1), &mapped));
    assert_int_equal(mapped.level, level);
    assert_int_equal(joined.level, level);
    assert_int_equal(joined.entry, mapped.entry);
    unmap(GIB(1), bytes);
    finish_flush();
}

static void a_join_says_what_a_large_leaf_says(void **state)
{
    static const uint8_t types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};
    static const uint8_t rights[] = {PT_R, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X};

    (void)state;
    for (unsigned level = 2; level <= 3; level++) {
        watch_start(&root, GIB(1), pt_span(level - 1), PAGES);
        for (unsigned i = 0; i < ARRAY_COUNT(types) * ARRAY_COUNT(rights); i++) {
            struct pt_attr attr = {rights[i % 4], types[i / 4], false, 3};

            compare_entries(&attr, level);
            attr.ignore_pat = root.fmt->ignore_pat != 0;
            compare_entries(&attr, level);
        }
    }
}

static void accessed_and_dirty_bits_are_kept(void **state)
{
    struct pt_leaf leaf;
    uint64_t clean;

    (void)state;
    map_large();
    assert_true(pt_lookup(&root, AT, &leaf));
    clean = leaf.entry;
    unmap(AT + KIB(4), KIB(4));
    map(AT + KIB(4), FRAME + KIB(4), KIB(4), &rw_wb);
    join(AT, 2);
    expect_leaf(AT, 2, clean);
    finish_flush();
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++) {
        map(AT, FRAME, MIB(2), &rw_wb_4k);
        finish_flush();
        watch_dirty(AT + places[i]);
        assert_true(joinable(AT)); /* they do not tell pages apart */
        assert_true(joinable(AT + places[i]));
        join(AT, 2);
        expect_leaf(AT, 2, clean | root.fmt->ad_mask);
        finish_flush();
        unmap(AT, MIB(2));
        finish_flush();
    }
    /* Each bit by itself: the parts have some, the leaf all. */
    map(AT, FRAME, MIB(2), &rw_wb_4k);
    watch_hardware(2);
    watch_hardware(0);
    join(AT, 2);
    expect_leaf(AT, 2, clean | root.fmt->ad_mask);
}

/* ---- 1 GiB ---- */

static void join_512_large_leaves(void **state)
{
    (void)state;
    watch_start(&root, AT, MIB(2), 1024);
    map(AT, FRAME, GIB(1), &rw_wb_2m);
    assert_false(flush.filled); /* by one change alone */
    map(AT + GIB(1), FRAME + GIB(1), GIB(1), &rw_wb);
    expect_leaves(0, 512, 1);
    join(AT + MIB(640), 3);
    expect_leaves(0, 0, 2);
    finish_flush();
    unmap(AT + GIB(1) - MIB(2), MIB(2));
    assert_false(pt_joinable(&root, AT, 3));
    map(AT + GIB(1) - MIB(2), FRAME + GIB(1) - MIB(2), MIB(2), &ro_wb);
    assert_false(pt_joinable(&root, AT, 3));
    assert_false(pt_joinable(&root, AT + GIB(1) - 1, 3));
    flush.filled = false;
    map(AT + GIB(1) - MIB(2), FRAME + GIB(1) - MIB(2), MIB(2), &rw_wb);
    assert_true(flush.filled);
    join(AT, 3);
    finish_flush();
    expect_leaves(0, 0, 2);
    assert_int_equal(pool.used_tables, 2);
}

/* A page of a 1 GiB leaf goes and comes back: two splits, two joins. */
static void join_from_pages_to_1_gib(void **state)
{
    const uint64_t hole = AT + MIB(514);

    (void)state;
    watch_start(&root, hole, PAGE_BYTES, 4 * PAGES);
    watch_map(hole, HPA(FRAME + MIB(514)), 4 * PAGES, &rw_wb);
    assert_int_equal(pt_pool_reserve(&pool, 1), HV_OK);
    pt_map(&root, AT, HPA(FRAME), HUGE_PAGES, &rw_wb, &flush);
    watch_done(&flush);
    assert_int_equal(unmap(hole, KIB(4)), 2);
    expect_leaves(511, 511, 0);
    map(hole, FRAME + MIB(514), KIB(4), &rw_wb);
    assert_true(flush.filled);
    assert_false(pt_joinable(&root, hole, 3)); /* below it there is a table still */
    assert_false(pt_joinable(&root, hole + MIB(2), 3));
    assert_false(pt_joinable(&root, hole - MIB(2), 3));
    join(hole, 2);
    expect_leaves(0, 512, 0);
    join(hole, 3);
    expect_leaves(0, 0, 1);
    assert_int_equal(dead_tables(), 2);
    finish_flush();
    assert_int_equal(pool.used_tables, 2);
}

static void no_join_beyond_max_level(void **state)
{
    (void)state;
    watch_start(&root, AT, MIB(2), 1024);
    map(AT, FRAME, GIB(1), &rw_wb_2m);
    map(AT + GIB(1), FRAME + GIB(1), MIB(2), &rw_wb_4k);
    assert_true(pt_joinable(&root, AT, 3));
    assert_true(joinable(AT + GIB(1)));
    root.max_level = 2;
    assert_false(pt_joinable(&root, AT, 3));
    assert_true(joinable(AT + GIB(1)));
    expect_assert_failure(pt_join(&root, AT, 3, &flush));
    root.max_level = 1;
    assert_false(joinable(AT + GIB(1)));
}

/* ---- others at work ---- */

/* The table that a join takes out stays as it is, and out of use, until every CPU has acknowledged. */
static void joined_table_waits_for_the_flush(void **state)
{
    uint64_t copy[PAGES];
    hpa_t dead;

    (void)state;
    map_large();
    unmap(AT, KIB(4));
    map(AT, FRAME, KIB(4), &rw_wb);
    finish_flush();
    join(AT, 2);
    dead = flush.dead;
    memcpy(copy, direct(dead), PAGE_BYTES);
    assert_int_equal(copy[7] & PT_ADDR_MASK, FRAME + 7 * PAGE_BYTES);
    for (unsigned i = 0; i < 20; i++) { /* more than a block of tables is in use after this */
        map(AT, FRAME, KIB(4), &ro_wb);
        map(AT, FRAME, KIB(4), &rw_wb);
        join(AT, 2);
        assert_memory_equal(direct(dead), copy, PAGE_BYTES);
    }
    assert_int_equal(dead_tables(), 21);
    finish_flush();
    assert_int_equal(pool.used_tables, 3);
}

/* Two halves of one table with two owners; now and then the flush of one change is still due in the next. */
static void merge_against_split_of_other_half(void **state)
{
    unsigned joins = 0;

    (void)state;
    map_large();
    for (unsigned i = 0; i < 400; i++) {
        uint64_t half = i % 2 * MIB(1);
        uint64_t inside = half + watch_random() % 256 * PAGE_BYTES;
        uint64_t wish = KIB(4) * (1 + watch_random() % 8);
        uint64_t bytes = MIN(wish, half + MIB(1) - inside);

        flush.filled = false;
        switch (watch_random() % 5) {
        case 0:
            unmap(AT + inside, bytes);
            break;
        case 1:
            map(AT + inside, FRAME + inside, bytes, &ro_wb);
            break;
        default: /* all of the half as it was */
            map(AT + half, FRAME + half, MIB(1), &rw_wb);
        }
        if (flush.filled && joinable(AT + inside)) {
            join(AT + inside, 2);
            joins++;
        }
        if (watch_random() % 4 == 0)
            finish_flush();
    }
    assert_true(joins > 20);
    map(AT, FRAME, MIB(2), &rw_wb);
    expect_level(AT, 2);
    finish_flush();
    assert_int_equal(pool.used_tables, 3);
}

static void join_at_the_end_of_address_space(void **state)
{
    const uint64_t at = BIT(48) - MIB(2), canonical = root.fmt->exec == 0 ? 0xffffull << 48 : 0;

    (void)state;
    watch_start(&root, at - MIB(2), PAGE_BYTES, 2 * PAGES);
    map(at, FRAME, MIB(2) - KIB(4), &rw_wb);
    map(BIT(48) - KIB(4), FRAME + MIB(2) - KIB(4), KIB(4), &rw_wb);
    assert_true(flush.filled);
    assert_true(joinable(canonical | at));
    join(canonical | (BIT(48) - KIB(4)), 2);
    expect_leaves(0, 1, 0);
}

/* ---- when to ask ---- */

static void filled_when_a_part_fills_a_table(void **state)
{
    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 4 * PAGES);
    map(AT, FRAME, MIB(6), &rw_wb_4k); /* whole tables */
    map(AT, FRAME, MIB(2), &rw_wb_4k);
    unmap(AT + MIB(1), MIB(1));
    unmap(AT + MIB(1) - KIB(4), KIB(4));
    map(AT + MIB(1), FRAME + MIB(1), MIB(1), &rw_wb_4k);
    assert_false(flush.filled); /* 511 */
    map(AT + MIB(1) - KIB(4), FRAME + MIB(1) - KIB(4), KIB(4), &rw_wb_4k);
    assert_true(flush.filled);
    flush.filled = false;
    unmap(AT + MIB(2), KIB(4));
    map(AT + MIB(1), FRAME + MIB(1), MIB(2), &rw_wb_4k); /* the ends of two tables */
    assert_true(flush.filled);
    flush.filled = false;
    map(AT + MIB(6), FRAME + MIB(6), MIB(1), &rw_wb_4k);
    assert_false(flush.filled);
    finish_flush();
    /* A large leaf as the last part of 1 GiB. */
    watch_start(&root, GIB(20), MIB(2), 1024);
    map(GIB(20), GIB(20), GIB(1) - MIB(2), &rw_wb);
    assert_false(flush.filled);
    map(GIB(21) - MIB(2), GIB(21) - MIB(2), MIB(2), &rw_wb);
    assert_true(flush.filled);
    finish_flush();
    assert_true(flush.filled);
    flush.filled = false;
    root.max_level = 2; /* there is nothing to join these into */
    map(GIB(21), GIB(21), GIB(1) - MIB(2), &rw_wb);
    map(GIB(22) - MIB(2), GIB(22) - MIB(2), MIB(2), &rw_wb);
    assert_false(flush.filled);
}

static void misuse_is_asserted(void **state)
{
    (void)state;
    map_large();
    expect_assert_failure(pt_joinable(&root, AT, 1));
    expect_assert_failure(pt_joinable(&root, AT, 4));
    expect_assert_failure(pt_join(&root, AT, 2, &flush)); /* a leaf already */
    expect_assert_failure(pt_join(&root, AT + MIB(2), 2, &flush));
    unmap(AT, KIB(4));
    expect_assert_failure(pt_join(&root, AT, 2, &flush)); /* a hole */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PT_CASES(join_after_a_hole_is_filled),
        PT_CASES(join_after_rights_type_or_frame_are_restored),
        PT_CASES(no_join_when_one_entry_differs),
        PT_CASES(no_join_of_what_is_no_full_table),
        PT_CASES(a_join_says_what_a_large_leaf_says),
        PT_CASES(accessed_and_dirty_bits_are_kept),
        PT_CASES(join_512_large_leaves),
        PT_CASES(join_from_pages_to_1_gib),
        PT_CASES(no_join_beyond_max_level),
        PT_CASES(joined_table_waits_for_the_flush),
        PT_CASES(merge_against_split_of_other_half),
        PT_CASES(join_at_the_end_of_address_space),
        PT_CASES(filled_when_a_part_fills_a_table),
        PT_CASE(misuse_is_asserted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
