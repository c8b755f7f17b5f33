/* Long changes in steps, long chains of dead tables, and the edges of the input space. */
#include "tests/unit/pt_kit.h"

#include <string.h>

#include "hv/base/direct.h"

#define AT    GIB(6)
#define FRAME GIB(10)

/* Leaves of 4 KiB over [addr, addr + bytes), outside of any model. */
static void map_unwatched(uint64_t addr, uint64_t bytes, const struct pt_attr *attr)
{
    uint64_t pages = bytes / PAGE_BYTES;
    uint64_t need = pt_tables_needed(&root, addr, HPA(addr), pages, attr->max_level);
    uint64_t taken = flush.taken;

    watch_stop();
    assert_int_equal(pt_pool_reserve(&pool, need), HV_OK);
    pt_map(&root, addr, HPA(addr), pages, attr, &flush);
    pt_pool_unreserve(&pool, need - (flush.taken - taken));
}

/* ---- map ---- */

static void map_steps_end_with_each_table(void **state)
{
    unsigned steps;

    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 2048);
    map_in_steps(AT + KIB(4), FRAME + KIB(4), MIB(6) - KIB(8), &rw_wb_4k, &steps);
    assert_int_equal(steps, 3);
    expect_leaves(3 * 512 - 2, 0, 0);
    expect_absent(AT, 1);
    expect_absent(AT + MIB(6) - KIB(4), 1);
    map_in_steps(AT, FRAME, MIB(6), &rw_wb, &steps); /* three large leaves are one step */
    assert_int_equal(steps, 1);
    expect_leaves(0, 3, 0);
    map_in_steps(AT + MIB(1), FRAME + MIB(1), MIB(6), &rw_wb,
                 &steps); /* the same and something new */
    assert_int_equal(steps, 3);
    expect_leaves(256, 3, 0);
    map_in_steps(AT + MIB(7), FRAME + MIB(8), KIB(4), &rw_wb, &steps);
    assert_int_equal(steps, 1);
    map_in_steps(AT, FRAME + MIB(8), MIB(2) + KIB(4), &rw_wb, &steps); /* a page is left */
    assert_int_equal(steps, 2);
    map_in_steps(AT, FRAME, MIB(2) + KIB(4), &rw_wb, &steps);
    map_in_steps(AT + MIB(7), FRAME + MIB(8), KIB(4), &ro_wb, &steps);
    assert_int_equal(steps, 1);
    expect_leaves(512 + 257, 2, 0);
}

/* 512 leaves of 1 GiB over all that may be there: one step takes out one subtree at most. */
static void map_steps_over_subtrees(void **state)
{
    const uint64_t base = GIB(512);
    unsigned steps;

    (void)state;
    map_unwatched(base + GIB(7), GIB(1), &rw_wb_4k);
    map_unwatched(base + GIB(8), GIB(1), &rw_wb_4k);
    map_unwatched(base + GIB(400), MIB(4), &rw_wb_4k);
    map_unwatched(base + GIB(511), GIB(1), &rw_wb_2m);
    watch_start(&root, base, GIB(1), 512);
    map_in_steps(base, 0, GIB(512), &rwx_wb, &steps);
    assert_int_equal(steps, 4);
    expect_leaves(0, 0, 512);
    finish_flush();
    assert_int_equal(pool.used_tables, 2);
}

/* Between steps the lock is free, and others change what lies beside. */
static void others_may_come_between_steps(void **state)
{
    uint64_t addr = AT + MIB(2) - KIB(16), end = AT + MIB(6) + KIB(16);
    uint64_t frame = FRAME + MIB(2) - KIB(16), need;
    struct pt_flush theirs = {0};

    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 2048);
    need = pt_tables_needed(&root, addr, HPA(frame), (end - addr) / PAGE_BYTES, 1);
    assert_int_equal(pt_pool_reserve(&pool, need + 3), HV_OK);
    watch_map(addr, HPA(frame), (end - addr) / PAGE_BYTES, &rw_wb_4k);
    while (addr != end) {
        uint64_t pages =
            pt_map_step(&root, addr, HPA(frame), (end - addr) / PAGE_BYTES, &rw_wb_4k, &flush);

        addr += pages * PAGE_BYTES;
        frame += pages * PAGE_BYTES;
        watch_map(AT, HPA(GIB(20)), 1, &rw_wc);
        pt_map(&root, AT, HPA(GIB(20)), 1, &rw_wc, &theirs);
        if (addr != end) {
            watch_unmap(AT, 1);
            pt_unmap(&root, AT, 1, &theirs);
        }
    }
    assert_true(flush.taken <= need);
    theirs.needed |= flush.needed;
    watch_done(&theirs);
    pt_pool_unreserve(&pool, pool.reserved);
    pt_flush_done(&root, &theirs);
    watch_flushed();
    expect_leaves(4 + 1024 + 4 + 1, 0, 0);
}

/* ---- unmap ---- */

static void unmap_steps_end_with_each_table(void **state)
{
    unsigned steps;

    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 2048);
    map(AT, FRAME, MIB(8), &rw_wb_4k);
    assert_int_equal(unmap_in_steps(AT + KIB(4), MIB(8) - KIB(8), &steps), 0);
    assert_int_equal(steps, 3); /* an end, two tables in one, the other end */
    expect_leaves(2, 0, 0);
    finish_flush();
    assert_int_equal(pool.used_tables, 3 + 2);
    unmap_in_steps(AT, MIB(8), &steps);
    expect_absent(AT, 4);
    finish_flush();
    map(AT, FRAME, MIB(8), &rw_wb);
    assert_int_equal(unmap_in_steps(AT + MIB(1), MIB(6), &steps), 2);
    assert_int_equal(steps, 3);
    unmap_in_steps(AT + MIB(1), KIB(4), &steps); /* nothing is there */
    unmap_in_steps(AT, KIB(4), &steps);
    assert_int_equal(steps, 1);
    expect_leaves(511, 0, 0);
    map(AT, FRAME, MIB(8), &rw_wb);
    unmap_in_steps(AT, MIB(8), &steps);
    assert_int_equal(steps, 1);
    expect_leaves(0, 0, 0);
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

/* 512 GiB are never taken out by one store: what hangs below may be a quarter of a million tables. */
static void unmap_steps_of_a_large_subtree(void **state)
{
    const uint64_t base = GIB(1024);
    unsigned steps;

    (void)state;
    map_unwatched(base, GIB(2), &rw_wb_4k);
    map_unwatched(base + GIB(3), GIB(2), &rw_wb_2m);
    map_unwatched(base + GIB(5), GIB(500), &rw_wb);
    map_unwatched(base + GIB(512) + KIB(4), KIB(4), &rw_wb);
    assert_int_equal(pool.used_tables, 1 + 2 + 2 * 513 + 2 + 2);
    watch_start(&root, base, GIB(1), 1024);
    unmap_in_steps(base, GIB(1024), &steps);
    assert_in_range(steps, 5, 8);
    expect_leaves(0, 0, 0);
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

static void steps_over_nothing(void **state)
{
    unsigned steps;

    (void)state;
    watch_start(&root, 0, GIB(128), 2048);
    unmap_in_steps(0, BIT(48), &steps);
    assert_in_range(steps, 1, 512);
    assert_int_equal(root.stores, 0);
    assert_false(flush.needed);
}

static void a_border_takes_the_tables_it_is_said_to(void **state)
{
    const uint64_t high = root.fmt->exec == 0 ? 0xffffull << 48 : 0, at = BIT(48) - GIB(3);

    (void)state;
    watch_start(&root, at, PAGE_BYTES, 2048);
    assert_int_equal(pt_tables_cut(&root, high | at), 0); /* nothing there */
    map(at + MIB(2), FRAME + MIB(2), MIB(2), &rw_wb);
    assert_int_equal(pt_tables_cut(&root, high | (at + MIB(2))), 0);
    assert_int_equal(pt_tables_cut(&root, high | (at + MIB(4))), 0);
    assert_int_equal(pt_tables_cut(&root, high | (at + MIB(3))), 1);
    assert_int_equal(map(at + MIB(3), GIB(20), KIB(4), &rw_wb), 1);
    assert_int_equal(pt_tables_cut(&root, at + MIB(3)),
                     0); /* 4 KiB leaves have borders everywhere */
    map_unwatched(at + GIB(1), GIB(1), &rw_wb);
    assert_int_equal(pt_tables_cut(&root, at + GIB(1)), 0);
    assert_int_equal(pt_tables_cut(&root, at + GIB(1) + MIB(2)), 1);
    assert_int_equal(pt_tables_cut(&root, at + GIB(1) + KIB(4)), 2);
    assert_int_equal(pt_tables_cut(&root, BIT(48)), 0); /* the end of the address space */
}

static void kept_says_that_a_larger_leaf_stays(void **state)
{
    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 2048);
    map(AT, FRAME, MIB(2), &rw_wb);
    map(AT, FRAME, MIB(2), &rw_wb); /* the leaf itself */
    map(AT + MIB(2), FRAME + MIB(2), KIB(8), &rw_wb);
    map(AT + MIB(2), FRAME + MIB(2), KIB(4), &rw_wb);
    unmap(AT + MIB(2), KIB(8));
    assert_false(flush.kept);
    map(AT + MIB(1), FRAME + MIB(1), MIB(1) + KIB(8), &rw_wb);
    assert_true(flush.kept);
    flush.kept = false;
    map_in_steps(AT + KIB(4), FRAME + KIB(4), KIB(4), &rw_wb, NULL);
    assert_true(flush.kept);
    flush.kept = false;
    map(AT + KIB(4), FRAME + KIB(4), KIB(4), &rw_wb_4k); /* wants a leaf of its own */
    map(AT + KIB(8), FRAME + KIB(8), KIB(4), &rw_wc);
    assert_false(flush.kept);
}

/* ---- the edges ---- */

static void steps_at_the_end_of_address_space(void **state)
{
    const uint64_t top = BIT(48);
    unsigned steps;

    (void)state;
    watch_start(&root, top - MIB(4), PAGE_BYTES, 1024);
    map_in_steps(top - KIB(4), GIB(5), KIB(4), &rw_wb, &steps);
    assert_int_equal(steps, 1);
    unmap_in_steps(top - KIB(4), KIB(4), &steps);
    assert_int_equal(steps, 1);
    expect_absent(top - 1, 4);
    map_in_steps(top - MIB(2) - KIB(4), GIB(5) - KIB(4), MIB(2) + KIB(4), &rw_wb, &steps);
    assert_int_equal(steps, 2);
    expect_leaves(1, 1, 0);
    expect_level(top - 1, 2);
    unmap_in_steps(top - KIB(4), KIB(4), &steps);
    expect_absent(top - 1, 1);
    unmap_in_steps(top - MIB(4), MIB(4), NULL);
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
    /* The last frame that an entry can name. */
    map(top - KIB(4), BIT(52) - KIB(4), KIB(4), &rw_wb);
    map(top - MIB(4), BIT(52) - MIB(2), MIB(2), &rw_wb);
    expect_leaves(1, 1, 0);
    assert_int_equal(watch_walk(&root, top - KIB(4)) & ~PAGE_MASK, BIT(52) - KIB(4));
}

static void canonical_addresses_in_steps(void **state)
{
    const uint64_t high = 0xffffull << 48, at = BIT(48) - MIB(4);
    uint64_t left = MIB(4) / PAGE_BYTES;

    (void)state;
    watch_start(&root, at, PAGE_BYTES, 1024);
    watch_map(at, HPA(FRAME), left, &rw_wb_4k);
    assert_int_equal(pt_tables_needed(&root, high | at, HPA(FRAME), left, 1), 4);
    assert_int_equal(pt_pool_reserve(&pool, 4), HV_OK);
    assert_int_equal(pt_map_step(&root, high | at, HPA(FRAME), left, &rw_wb_4k, &flush), 512);
    assert_int_equal(
        pt_map_step(&root, high | (at + MIB(2)), HPA(FRAME + MIB(2)), 512, &rw_wb_4k, &flush), 512);
    watch_done(&flush);
    watch_unmap(at, left);
    assert_int_equal(pt_unmap_step(&root, high | at, left, &flush), left);
    watch_done(&flush);
}

static void misuse_is_asserted(void **state)
{
    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 12), HV_OK); /* so that no other assertion answers */
    expect_assert_failure((void)pt_map_step(&root, 0, HPA(0), 0, &rw_wb, &flush));
    expect_assert_failure((void)pt_map_step(&root, BIT(48) - KIB(4), HPA(0), 2, &rw_wb, &flush));
    expect_assert_failure((void)pt_map_step(&root, 1, HPA(0), 1, &rw_wb, &flush));
    expect_assert_failure((void)pt_unmap_step(&root, 0, 0, &flush));
    expect_assert_failure((void)pt_unmap_step(&root, BIT(48) - KIB(4), 2, &flush));
    expect_assert_failure(pt_unmap_keep(&root, BIT(48) - KIB(4), 2, &flush));
    expect_assert_failure(pt_unmap_keep(&root, 0x800, 1, &flush));
    assert_int_equal(root.stores, 0);
    pt_pool_unreserve(&pool, 12);
}

/* ---- kept tables ---- */

/* The run was mapped, with or without neighbours, and goes; nothing is reserved when it comes back. */
static void away_and_back(uint64_t addr, uint64_t bytes, const struct pt_attr *attr)
{
    uint64_t used;

    unmap_keep(addr, bytes);
    finish_flush();
    used = pool.used_tables;
    watch_map(addr, HPA(addr), bytes / PAGE_BYTES, attr);
    pt_map(&root, addr, HPA(addr), bytes / PAGE_BYTES, attr, &flush);
    watch_done(&flush);
    assert_int_equal(pool.used_tables, used);
    unmap(AT, MIB(8)); /* the plain one takes all tables out */
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

/* Whatever was unmapped so can be mapped again in the same run without a table, at every level. */
static void kept_tables_serve_the_same_run(void **state)
{
    static const uint64_t starts[] = {0, KIB(4), MIB(2), MIB(2) - KIB(4)};
    static const uint64_t lengths[] = {KIB(4), KIB(8), MIB(2), MIB(2) + KIB(4), MIB(4)};

    (void)state;
    watch_start(&root, AT, PAGE_BYTES, 2048);
    for (unsigned i = 0; i < ARRAY_COUNT(starts) * ARRAY_COUNT(lengths); i++) {
        uint64_t addr = AT + starts[i % 4], bytes = lengths[i / 4];

        map(AT, AT, MIB(8), &rw_wb);
        away_and_back(addr, bytes, &rw_wb);
        map(addr, addr, bytes, &rw_wb);
        away_and_back(addr, bytes, &rw_wb);
        map(addr, addr, bytes, &rw_wb_4k);
        away_and_back(addr, bytes, &rw_wb_4k);
    }
}

/* ---- dead tables ---- */

static void kill_tables(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        map_unwatched(AT + i * MIB(2), KIB(8), &ro_wb);
        map_unwatched(AT + i * MIB(2), MIB(2), &rw_wb);
    }
    assert_int_equal(dead_tables(), count);
}

static void dead_tables_go_back_in_steps(void **state)
{
    uint64_t used;
    unsigned steps = 0;

    (void)state;
    kill_tables(100);
    used = pool.used_tables;
    pt_flush_clean(&flush);
    assert_int_equal(dead_tables(), 100);
    assert_int_equal(pool.used_tables, used);
    while (pt_flush_done_step(&root, &flush, 7)) {
        steps++;
        assert_int_equal(pool.used_tables, used - 7 * steps);
        assert_int_equal(dead_tables(), 100 - 7 * steps);
        assert_true(flush.needed);
    }
    assert_int_equal(steps, 14);
    assert_false(flush.needed);
    assert_int_equal(flush.dead.v, 0);
    assert_int_equal(pool.used_tables, used - 100);
    assert_true(pool.unused_blocks <= 1);
    assert_false(pt_flush_done_step(&root, &flush, 7)); /* nothing to do */
    kill_tables(14);
    assert_true(pt_flush_done_step(&root, &flush, 7));
    assert_true(pt_flush_done_step(&root, &flush, 0));
    assert_false(pt_flush_done_step(&root, &flush, 7)); /* exactly all */
    kill_tables(3);
    assert_true(pt_flush_done_step(&root, &flush, 1));
    pt_flush_done(&root, &flush);
    assert_int_equal(pool.used_tables, used - 100);
}

static bool is_zero(hpa_t table)
{
    static const uint64_t zero[512];

    return memcmp(direct(table), zero, PAGE_BYTES) == 0;
}

/* Cleaning is for after the flush: until then, and without it, a dead table says what it said. */
static void table_freed_before_flush_is_poisoned(void **state)
{
    hpa_t tables[8];
    unsigned count = 0;

    (void)state;
    kill_tables(8);
    for (hpa_t table = flush.dead; table.v != 0; table = HPA(*pt_pool_link(table))) {
        assert_false(is_zero(table));
        assert_true(fake_blocks_owns(table));
        tables[count++] = table;
    }
    assert_int_equal(count, 8);
    /* Whoever takes tables now gets others. */
    for (unsigned i = 0; i < 64; i++) {
        hpa_t taken;

        assert_int_equal(pt_pool_reserve(&pool, 1), HV_OK);
        taken = pt_pool_take(&pool);
        for (unsigned j = 0; j < count; j++)
            assert_true(taken.v != tables[j].v);
        map_unwatched(GIB(512), KIB(4), &rw_wb);
        *pt_pool_link(taken) = flush.dead.v;
        flush.dead = taken;
    }
    for (unsigned j = 0; j < count; j++)
        assert_false(is_zero(tables[j]));
    pt_flush_clean(&flush);
    for (unsigned j = 0; j < count; j++) {
        assert_true(is_zero(tables[j]));
        assert_int_equal(*pt_pool_live(tables[j]), 0);
    }
    pt_flush_clean(&flush); /* again: nothing is left to do */
    pt_flush_done(&root, &flush);
    pt_root_destroy(&root);
    pt_pool_drain(&pool);
    for (unsigned j = 0; j < count; j++) /* given back to the machine: touching them would fault */
        assert_false(fake_blocks_owns(tables[j]));
    assert_int_equal(pt_root_create(&root, &pt_format_ept, &pool, 3), HV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PT_CASES(map_steps_end_with_each_table),
        PT_CASES(map_steps_over_subtrees),
        PT_CASE(others_may_come_between_steps),
        PT_CASES(unmap_steps_end_with_each_table),
        PT_CASES(unmap_steps_of_a_large_subtree),
        PT_CASE(steps_over_nothing),
        PT_CASES(a_border_takes_the_tables_it_is_said_to),
        PT_CASES(kept_says_that_a_larger_leaf_stays),
        PT_CASES(steps_at_the_end_of_address_space),
        PT_CASES(canonical_addresses_in_steps),
        PT_CASE(misuse_is_asserted),
        PT_CASES(kept_tables_serve_the_same_run),
        PT_CASE(dead_tables_go_back_in_steps),
        PT_CASE(table_freed_before_flush_is_poisoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
