/* The walk, case by case. Every store of every case is watched (tests/fake/ptwatch.h). */
#include "tests/unit/pt_kit.h"

#include <string.h>

static void one_page(void **state)
{
    const uint64_t addr = 0x123456789000;

    (void)state;
    watch_start(&root, addr - 64 * PAGE_BYTES, PAGE_BYTES, 128);
    assert_int_equal(map(addr, 0x87654321000, PAGE_BYTES, &rw_wc), 3);
    assert_int_equal(watch_stores(), 4);
    assert_int_equal(root.stores, 4);
    assert_false(flush.needed);
    expect_leaf(addr + 0xabc, 1, 0x8765432100b);
    expect_absent(addr + PAGE_BYTES, 1);
    expect_absent(0, 4);
    expect_leaves(1, 0, 0);
    unmap(addr, PAGE_BYTES);
    assert_true(flush.needed);
    expect_absent(addr, 4);
    assert_int_equal(pool.used_tables, 4); /* dead tables wait for the flush */
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
    expect_leaves(0, 0, 0);
}

static void map_above_4g_then_split(void **state)
{
    const uint64_t addr = GIB(6), frame = GIB(10);

    (void)state;
    watch_start(&root, addr, PAGE_BYTES, 1024);
    map(addr, frame, MIB(4), &rw_wb);
    expect_leaves(0, 2, 0);
    expect_leaf(addr, 2, frame | 0xb3);
    assert_int_equal(unmap(addr + KIB(4), KIB(4)), 1);
    expect_absent(addr + KIB(4), 1);
    expect_leaf(addr + KIB(8), 1, (frame + KIB(8)) | 0x33);
    expect_leaf(addr + MIB(2), 2, (frame + MIB(2)) | 0xb3);
    expect_leaves(511, 1, 0);
}

static void end_of_address_space(void **state)
{
    const uint64_t top = BIT(48), start = top - MIB(2) - KIB(4);

    (void)state;
    watch_start(&root, top - MIB(4), PAGE_BYTES, 1024);
    map(start, GIB(5) - KIB(4), top - start, &rw_wb);
    expect_leaf(start, 1, (GIB(5) - KIB(4)) | 0x33);
    expect_leaf(top - 1, 2, GIB(5) | 0xb3);
    expect_leaves(1, 1, 0);
    unmap(top - KIB(4), KIB(4));
    expect_absent(top - 1, 1);
    unmap(top - MIB(4), MIB(4));
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

static void the_whole_space(void **state)
{
    (void)state;
    watch_start(&root, 0, GIB(128), 2048);
    map(0, 0, BIT(48), &rw_wb);
    expect_leaves(0, 0, 512 * 512);
    unmap(0, BIT(48));
    assert_int_equal(root.leaves[3], 0);
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

static void huge_leaves(void **state)
{
    const uint64_t addr = GIB(511), frame = GIB(100);

    (void)state;
    watch_start(&root, addr, MIB(2), 2048);
    assert_int_equal(map(addr, frame, GIB(3), &rw_wb), 2);
    expect_leaves(0, 0, 3);
    expect_leaf(addr + GIB(1), 3, (frame + GIB(1)) | 0xb3);
    /* The middle of the second one. */
    assert_int_equal(map(addr + GIB(1) + MIB(512), GIB(200), MIB(2), &rw_wc), 1);
    assert_true(flush.needed);
    expect_leaf(addr + GIB(1) + MIB(512), 2, GIB(200) | 0x8b);
    expect_leaves(0, 512, 2);
    finish_flush();
    /* One page inside that. */
    watch_start(&root, addr + GIB(1) + MIB(512) - MIB(2), PAGE_BYTES, 2048);
    assert_int_equal(map(addr + GIB(1) + MIB(513), GIB(300), KIB(4), &ro_wb), 1);
    expect_leaves(512, 511, 2);
    finish_flush();
    /* A huge leaf over all of it: one store, and the two tables are dead. */
    watch_start(&root, addr, GIB(1), 3);
    watch_map(addr + GIB(1), HPA(frame), HUGE_PAGES, &rw_wb);
    pt_map(&root, addr + GIB(1), HPA(frame), HUGE_PAGES, &rw_wb, &flush);
    watch_done(&flush);
    assert_int_equal(watch_stores(), 1);
    expect_leaves(0, 0, 3);
    assert_true(flush.needed);
    assert_int_equal(pool.used_tables, 3 + 2);
    finish_flush();
    assert_int_equal(pool.used_tables, 3);
}

static void levels_are_limited_by_everything(void **state)
{
    const uint64_t addr = GIB(2);

    (void)state;
    watch_start(&root, addr, PAGE_BYTES, 2048);
    map(addr, GIB(4), MIB(2), &rw_wb_4k);
    expect_leaves(512, 0, 0);
    map(addr + MIB(2), GIB(4) + KIB(4), MIB(2), &rw_wb); /* frame */
    expect_leaves(1024, 0, 0);
    map(addr + MIB(4), GIB(5), MIB(2) - KIB(4), &rw_wb); /* length */
    expect_leaves(1535, 0, 0);
    map(addr + MIB(6), GIB(6), MIB(2), &rw_wb_2m);
    expect_leaves(1535, 1, 0);
    watch_start(&root, GIB(512), MIB(2), 1024);
    root.max_level = 2; /* the CPU */
    map(GIB(512), GIB(512), GIB(1), &rw_wb);
    expect_leaves(1535, 513, 0);
    map(GIB(513), GIB(513), MIB(4), &rw_wb_4k);
    expect_leaves(1535 + 1024, 513, 0);
}

static void replace_in_the_middle_of_2_mib(void **state)
{
    const uint64_t addr = GIB(1);

    (void)state;
    watch_start(&root, addr, PAGE_BYTES, 1024);
    map(addr, GIB(8), MIB(2), &rw_wb);
    assert_int_equal(map(addr + MIB(1), GIB(9), KIB(64), &rw_wc), 1);
    assert_true(flush.needed);
    expect_leaf(addr, 1, GIB(8) | 0x33);
    expect_leaf(addr + MIB(1), 1, GIB(9) | 0x0b);
    expect_leaf(addr + MIB(1) + KIB(64), 1, (GIB(8) + MIB(1) + KIB(64)) | 0x33);
    finish_flush();
    /* Back to one leaf: the table dies. */
    map(addr, GIB(8), MIB(2), &rw_wb);
    expect_leaves(0, 1, 0);
    assert_int_equal(pool.used_tables, 4);
    finish_flush();
    assert_int_equal(pool.used_tables, 3);
}

static void identical_stores_nothing(void **state)
{
    const uint64_t addr = GIB(1);
    uint64_t stores;

    (void)state;
    watch_start(&root, addr, PAGE_BYTES, 2048);
    map(addr, GIB(8), MIB(4) + KIB(16), &rw_wb);
    watch_hardware(1);
    watch_hardware(0);
    stores = watch_stores();
    assert_int_equal(map(addr, GIB(8), MIB(4) + KIB(16), &rw_wb), 0);
    assert_int_equal(map(addr + KIB(64), GIB(8) + KIB(64), MIB(2), &rw_wb),
                     0); /* inside larger leaves */
    assert_int_equal(watch_stores(), stores);
    assert_false(flush.needed);
    /* Smaller leaves were asked for: not the same. */
    assert_int_equal(map(addr + KIB(64), GIB(8) + KIB(64), KIB(4), &rw_wb_4k), 1);
    expect_leaves(512 + 4, 1, 0);
    assert_true(flush.needed);
}

/* ---- flush duties ---- */

static bool remap_needs_flush(const struct pt_attr *from, const struct pt_attr *to, uint64_t move)
{
    bool needed;

    map(GIB(1), GIB(8), MIB(2) + KIB(4), from);
    finish_flush();
    map(GIB(1), GIB(8) + move, MIB(2) + KIB(4), to);
    needed = flush.needed;
    finish_flush();
    return needed;
}

static void lost_right_or_unmap_asks_for_flush(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 1024);
    assert_false(remap_needs_flush(&rw_wb, &rw_wb, 0));
    assert_false(remap_needs_flush(&ro_wb, &rw_wb, 0));  /* gains write */
    assert_false(remap_needs_flush(&ro_wb, &rwx_wb, 0)); /* gains write and execute */
    assert_true(remap_needs_flush(&rw_wb, &ro_wb, 0));   /* loses write */
    assert_true(remap_needs_flush(&rwx_wb, &rw_wb, 0));  /* loses execute */
    assert_true(remap_needs_flush(&rw_wb, &rw_wc, 0));   /* type */
    assert_true(remap_needs_flush(&rw_wb, &rw_ipat, 0)); /* IPAT */
    assert_true(remap_needs_flush(&rw_ipat, &rw_wb, 0));
    assert_true(remap_needs_flush(&rw_wb, &rw_wb, MIB(2))); /* frame */
    assert_true(remap_needs_flush(&rw_wb, &rw_wb_4k, 0));   /* page size */
    unmap(GIB(1), KIB(4));
    assert_true(flush.needed);
    finish_flush();
    map(GIB(1), GIB(9), KIB(4), &rw_wb); /* not present -> present */
    assert_false(flush.needed);
    unmap(GIB(1) + MIB(2) + KIB(4), KIB(8)); /* nothing there */
    assert_false(flush.needed);
}

/* No promise that the fault drops the stale entry. */
static void stage1_and_npt_flush_added_rights_too(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 1024);
    assert_false(remap_needs_flush(&rw_wb, &rw_wb, 0));
    assert_true(remap_needs_flush(&ro_wb, &rw_wb, 0));
    assert_true(remap_needs_flush(&rw_wb, &rwx_wb, 0));
}

static void accessed_and_dirty_survive_added_rights(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 16);
    map(GIB(1), GIB(8), KIB(4), &ro_wb);
    watch_dirty(GIB(1));
    map(GIB(1), GIB(8), KIB(4), &rw_wb);
    expect_leaf(GIB(1), 1, GIB(8) | 0x333);
    assert_false(flush.needed);
    map(GIB(1), GIB(9), KIB(4), &rw_wb); /* another frame is clean */
    expect_leaf(GIB(1), 1, GIB(9) | 0x33);
    finish_flush();
}

static void a_lost_dirty_bit_asks_for_a_flush(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 16);
    map(GIB(1), GIB(8), KIB(4), &ro_wb);
    watch_hardware(1); /* sets some now at most, and the rest within the store */
    map(GIB(1), GIB(8), KIB(4), &rw_wb);
    watch_hardware(0);
    finish_flush();
    watch_start(&root, MIB(2), PAGE_BYTES, 512);
    map(MIB(2), GIB(8), MIB(2), &rw_wb);
    watch_dirty(MIB(2));
    unmap(MIB(2), KIB(4)); /* a split hands the bits down */
    expect_leaf(MIB(2) + KIB(4), 1, (GIB(8) + KIB(4)) | 0x333);
}

/* A change of a live page is one store, whatever changes; there is no moment in which it is gone. */
static void one_store_per_live_entry(void **state)
{
    const struct pt_attr *kinds[] = {&ro_wb, &rwx_wb, &rw_wc, &rw_wb};

    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 1024);
    map(GIB(1), GIB(8), MIB(2), &rw_wb_4k);
    map(GIB(1) + MIB(2), GIB(8) + MIB(2), MIB(2), &rw_wb);
    for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++) {
        uint64_t stores = watch_stores();

        map(GIB(1) + KIB(4), GIB(8) + i * MIB(8), KIB(4), kinds[i]);
        assert_int_equal(watch_stores(), stores + 1);
        map(GIB(1) + MIB(2), GIB(16) + i * MIB(8), MIB(2), kinds[i]);
        assert_int_equal(watch_stores(), stores + 2);
        map(GIB(1), GIB(32) + i * MIB(8) + KIB(4), MIB(2), kinds[i]);
        assert_int_equal(watch_stores(), stores + 2 + 512);
    }
    expect_leaves(512, 1, 0);
}

/* ---- emptied tables ---- */

static void a_whole_region_goes_in_one_store(void **state)
{
    uint64_t stores;

    (void)state;
    watch_start(&root, GIB(3), MIB(2), 1024);
    map(GIB(3), GIB(8), MIB(64), &rw_wb_4k);
    map(GIB(3) + MIB(64), GIB(20), MIB(64), &rw_wb);
    stores = watch_stores();
    unmap(GIB(3), GIB(1));
    assert_int_equal(watch_stores(), stores + 2); /* the region, then the emptied table above it */
    assert_int_equal(pool.used_tables, 1 + 2 + 32);
    expect_leaves(0, 0, 0);
    finish_flush(); /* zeroes them: watch_flushed() looks */
    assert_int_equal(pool.used_tables, 1);
}

static void reuse_waits_for_the_flush(void **state)
{
    (void)state;
    watch_start(&root, GIB(3), PAGE_BYTES, 1024);
    for (unsigned i = 0; i < 8; i++) { /* ptwatch fails when a dead table comes back */
        map(GIB(3), GIB(8), KIB(8), &rw_wb);
        unmap(GIB(3), KIB(8));
    }
    assert_int_equal(pool.used_tables, 1 + 8 * 3);
    finish_flush();
    assert_int_equal(pool.used_tables, 1);
}

static void kept_tables(void **state)
{
    const uint64_t addr = GIB(8) - MIB(4);

    (void)state;
    watch_start(&root, addr, PAGE_BYTES, 2048);
    map(addr, addr, MIB(8), &rw_wb);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t used;

        unmap_keep(addr + KIB(40), MIB(3));
        finish_flush();
        used = pool.used_tables;
        fake_blocks_exhaust(true);
        watch_map(addr + KIB(40), HPA(addr + KIB(40)), MIB(3) / PAGE_BYTES, &rw_wb);
        pt_map(&root, addr + KIB(40), HPA(addr + KIB(40)), MIB(3) / PAGE_BYTES, &rw_wb, &flush);
        watch_done(&flush);
        fake_blocks_exhaust(false);
        assert_true(pool.used_tables == used);
        finish_flush();
    }
    unmap_keep(addr, MIB(8));
    finish_flush();
    expect_leaves(0, 0, 0);
    expect_absent(addr + KIB(40), 1);
    /* A leaf, and behind it a table that has to stay. */
    map(addr, addr, MIB(8), &rw_wb);
    finish_flush();
    unmap_keep(addr + MIB(2), KIB(4));
    unmap_keep(addr, MIB(4));
    finish_flush();
    expect_absent(addr, 2);
    expect_absent(addr + MIB(2), 1);
}

/* ---- reservation ---- */

static uint64_t needs(uint64_t addr, uint64_t frame, uint64_t bytes, unsigned max_level)
{
    return pt_tables_needed(&root, addr, HPA(frame), bytes / PAGE_BYTES, max_level);
}

static void tables_needed(void **state)
{
    (void)state;
    assert_int_equal(needs(0, 0, 0, 3), 0);
    assert_int_equal(needs(GIB(1), GIB(1), KIB(4), 3), 3);
    assert_int_equal(needs(GIB(1), GIB(1), MIB(2), 3), 2);
    assert_int_equal(needs(GIB(1), GIB(1), MIB(2), 1), 3);
    assert_int_equal(needs(GIB(1), GIB(1), GIB(1), 3), 1);
    assert_int_equal(needs(GIB(1), GIB(1), GIB(1), 2), 2);
    assert_int_equal(needs(GIB(1), GIB(1), GIB(1), 1), 2 + 512);
    assert_int_equal(needs(GIB(1), GIB(1) + KIB(4), GIB(1), 3), 2 + 512); /* frame alignment */
    assert_int_equal(needs(GIB(1), GIB(1) + MIB(2), GIB(1), 3), 2);
    assert_int_equal(needs(GIB(1) + KIB(4), KIB(4), GIB(1), 3), 1 + 2 + 2);
    assert_int_equal(needs(GIB(512) - KIB(4), GIB(512) - KIB(4), KIB(8), 3), 6);
    assert_int_equal(needs(0, 0, BIT(48), 3), 512);
    assert_int_equal(needs(BIT(48) - KIB(4), KIB(4), KIB(4), 3), 3);
    assert_int_equal(needs(0xffffull << 48 | GIB(1), GIB(1), KIB(4), 3), 3);
    assert_int_equal(pt_tables_needed_unmap(&root, GIB(1), HUGE_PAGES), 0);
    assert_int_equal(pt_tables_needed_unmap(&root, GIB(1) + KIB(4), 1), 2);
    assert_int_equal(pt_tables_needed_unmap(&root, GIB(1) + KIB(4), HUGE_PAGES), 4);
    assert_int_equal(pt_tables_needed_unmap(&root, GIB(1) + MIB(2), LARGE_PAGES), 1);
    assert_int_equal(pt_tables_needed_unmap(&root, 0, 0), 0);
    root.max_level = 2;
    assert_int_equal(needs(GIB(1), GIB(1), GIB(1), 3), 2);
    assert_int_equal(pt_tables_needed_unmap(&root, GIB(1) + KIB(4), HUGE_PAGES), 2);
}

static void every_reservation_can_fail(void **state)
{
    uint64_t need = needs(GIB(1), GIB(1), MIB(256), 1);
    struct pt_root other;
    struct pt_pool before, empty = {0};
    uint64_t hash;
    unsigned nth;

    (void)state;
    watch_start(&root, GIB(1) - MIB(4), PAGE_BYTES, 2048);
    map(GIB(1) - MIB(3), GIB(7), MIB(4), &rw_wb);
    hash = pt_hash(&root);
    before = pool;
    for (nth = 1; nth < 100; nth++) {
        hv_status_t status;

        fake_blocks_fail(nth);
        status = pt_pool_reserve(&pool, need);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_NO_MEMORY);
        assert_int_equal(hash, pt_hash(&root));
        assert_int_equal(before.blocks, pool.blocks);
        assert_int_equal(before.free_tables, pool.free_tables);
        assert_int_equal(before.reserved, pool.reserved);
    }
    fake_blocks_fail(0);
    assert_int_equal(nth, 1 + (need - before.free_tables + 14) / 15);
    pt_pool_unreserve(&pool, need);
    fake_blocks_exhaust(true);
    assert_int_equal(pt_root_create(&other, &pt_format_ept, &empty, 3), HV_E_NO_MEMORY);
    assert_int_equal(empty.blocks, 0);
    fake_blocks_exhaust(false);
}

/* ---- misuse ---- */

static void outside_is_asserted(void **state)
{
    (void)state;
    assert_int_equal(pt_pool_reserve(&pool, 12), HV_OK); /* so that no other assertion answers */
    expect_assert_failure(pt_map(&root, BIT(48) - KIB(4), HPA(0), 2, &rw_wb, &flush));
    expect_assert_failure(pt_map(&root, 0, HPA(0), ~0ull, &rw_wb, &flush));
    expect_assert_failure(pt_map(&root, 1, HPA(0), 1, &rw_wb, &flush));
    expect_assert_failure(pt_map(&root, 0, HPA(0x800), 1, &rw_wb, &flush));
    expect_assert_failure(pt_map(&root, 0, HPA(BIT(52) - KIB(4)), 2, &rw_wb, &flush));
    expect_assert_failure(pt_unmap(&root, BIT(48) - KIB(4), 2, &flush));
    expect_assert_failure(pt_unmap(&root, 0, ~0ull / PAGE_BYTES + 1, &flush));
    pt_pool_unreserve(&pool, 12);
    assert_int_equal(root.stores, 0);
    pt_map(&root, 0, HPA(0), 0, &rw_wb, &flush);
    pt_unmap(&root, 0, 0, &flush);
    pt_unmap(&root, 0, BIT(36), &flush);
    assert_false(flush.needed);
}

/* ---- reports ---- */

static void hash_follows_the_translation(void **state)
{
    uint64_t empty, one, hash;

    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 2048);
    empty = pt_hash(&root);
    assert_int_equal(empty, 0xcbf29ce484222325ull);
    map(GIB(1), GIB(2), KIB(4), &rw_wb);
    one = pt_hash(&root);
    assert_int_not_equal(one, empty);
    unmap(GIB(1), KIB(4));
    map(GIB(1) + KIB(8), GIB(2), KIB(4), &rw_wb); /* the same leaf elsewhere */
    assert_int_not_equal(one, pt_hash(&root));
    unmap(GIB(1) + KIB(8), KIB(4));
    map(GIB(1), GIB(2), KIB(4), &rw_wb);
    assert_int_equal(one, pt_hash(&root));
    map(GIB(1) + KIB(4), GIB(2), KIB(4), &rw_wb);
    hash = pt_hash(&root);
    watch_hardware(1);
    watch_hardware(0);
    assert_int_equal(pt_hash(&root), hash);
    map(GIB(1), GIB(2), KIB(4), &ro_wb);
    assert_int_not_equal(pt_hash(&root), hash);
    map(GIB(1), GIB(2), KIB(4), &rw_wb);
    assert_int_equal(pt_hash(&root), hash);
    unmap(GIB(1) + KIB(4), KIB(4));
    assert_int_equal(pt_hash(&root), one);
    unmap(GIB(1), MIB(8));
    assert_int_equal(pt_hash(&root), empty);
}

static const struct pt_attr rwx_ipat = {PT_R | PT_W | PT_X, MEMTYPE_WB, true, 3};
static const struct pt_attr x_uc = {PT_X, MEMTYPE_UC, false, 3};

static void walks_are_printed(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 2048);
    map(GIB(1), GIB(2), MIB(2), &rw_wc);
    fake_log_lines = 0;
    pt_dump_walk(&root, GIB(1) + 0x1234, "ept");
    assert_int_equal(fake_log_lines, 5);
    assert_non_null(strstr(fake_log_last, "frame 80001000 rw- WC\n"));
    pt_dump_walk(&root, GIB(512), "ept");
    assert_int_equal(fake_log_lines, 7);
    assert_non_null(strstr(fake_log_last, "level 4"));
    assert_non_null(strstr(fake_log_last, " 0000000000000000 empty\n"));
    map(GIB(1) + MIB(2), GIB(2), KIB(4), &rwx_ipat);
    pt_dump_walk(&root, GIB(1) + MIB(2), "ept");
    assert_non_null(strstr(fake_log_last, "frame 80000000 rwx WB ipat\n"));
    map(GIB(1) + MIB(2), GIB(2), KIB(4), &x_uc);
    pt_dump_walk(&root, GIB(1) + MIB(2), "ept");
    assert_non_null(strstr(fake_log_last, "frame 80000000 --x UC\n"));
}

static void rights_are_asked(void **state)
{
    (void)state;
    watch_start(&root, GIB(1), PAGE_BYTES, 2048);
    map(GIB(1), GIB(2), MIB(2), &rw_wb);
    map(GIB(1) + MIB(2), GIB(2), KIB(4), &ro_wb);
    assert_true(pt_allows(&root, GIB(1) + 0x1234, PT_R | PT_W));
    assert_true(pt_allows(&root, GIB(1), PT_W));
    assert_true(pt_allows(&root, GIB(1), 0));
    assert_false(pt_allows(&root, GIB(1), PT_X));
    assert_false(pt_allows(&root, GIB(1), PT_R | PT_X));
    assert_true(pt_allows(&root, GIB(1) + MIB(2), PT_R));
    assert_false(pt_allows(&root, GIB(1) + MIB(2), PT_R | PT_W));
    assert_false(pt_allows(&root, GIB(1) + MIB(2) + KIB(4), PT_R)); /* nothing there */
    assert_false(pt_allows(&root, GIB(513), 0));
}

static void levels_of_a_root_are_clipped(void **state)
{
    static const uint8_t asked[] = {0, 1, 2, 3, 4, 255}, got[] = {1, 1, 2, 3, 3, 3};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(asked); i++) {
        struct pt_root other;

        assert_int_equal(pt_root_create(&other, &pt_format_npt, &pool, asked[i]), HV_OK);
        assert_int_equal(other.max_level, got[i]);
        pt_root_destroy(&other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PT_CASE(one_page),
        PT_CASE(map_above_4g_then_split),
        PT_CASE(end_of_address_space),
        PT_CASE(the_whole_space),
        PT_CASE(huge_leaves),
        PT_CASE(levels_are_limited_by_everything),
        PT_CASE(replace_in_the_middle_of_2_mib),
        PT_CASE(identical_stores_nothing),
        PT_CASE(lost_right_or_unmap_asks_for_flush),
        cmocka_unit_test_setup_teardown(stage1_and_npt_flush_added_rights_too, pt_kit_stage1,
                                        pt_kit_close),
        cmocka_unit_test_setup_teardown(stage1_and_npt_flush_added_rights_too, pt_kit_npt,
                                        pt_kit_close),
        PT_CASE(accessed_and_dirty_survive_added_rights),
        PT_CASE(a_lost_dirty_bit_asks_for_a_flush),
        PT_CASE(one_store_per_live_entry),
        PT_CASE(a_whole_region_goes_in_one_store),
        PT_CASE(reuse_waits_for_the_flush),
        PT_CASE(kept_tables),
        PT_CASE(tables_needed),
        PT_CASE(every_reservation_can_fail),
        PT_CASE(outside_is_asserted),
        PT_CASE(hash_follows_the_translation),
        PT_CASE(walks_are_printed),
        PT_CASE(rights_are_asked),
        PT_CASE(levels_of_a_root_are_clipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
