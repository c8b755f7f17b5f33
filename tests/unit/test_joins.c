/*
 * hv/pci/leaves.c, range_create.c: frames that change their type while they stay mapped, joined leaves and what is held
 * for cutting them, pages that get frames, BARs that shrink.
 */
#include "tests/unit/replace_kit.h"

#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "tests/fake/blocks.h"
#include "tests/fake/window.h"

#define WINDOW_BASE HPA(GIB(32ull))

static uint8_t leaf_type(uint64_t page)
{
    struct inspect_leaf leaf;

    inspect_leaf(probe->device, GPA(bar_base(probe, HV_BAR2) + page * PAGE_BYTES), &leaf);
    assert_true(leaf.present);
    return leaf.memtype;
}

/* ---- frames that stay mapped and change their type ---- */

static uint32_t pauses_seen;
static unsigned flushes_seen;

static void see_pause(const struct pt_flush *flush, bool done)
{
    if (done || !flush->needed)
        return;
    flushes_seen++;
    pauses_seen = world.vm.pauses;
}

/* What `call` does while nobody may run, or while all may. */
#define expect_paused(is_paused, call)                   \
    do {                                                 \
        flushes_seen = 0;                                \
        fake_vm_on_flush = see_pause;                    \
        assert_int_equal(call, HV_OK);                   \
        fake_vm_on_flush = NULL;                         \
        assert_int_equal(flushes_seen, 1);               \
        assert_int_equal(pauses_seen, (is_paused) != 0); \
        assert_int_equal(world.vm.pauses, 0);            \
    } while (0)

static void retype(uint64_t page, uint64_t pages, uint64_t section_page, hv_handle_t section)
{
    uint64_t flushed = fake_window.flushed_pages;

    expect_paused(true, create(page, pages, REPLACE | HV_MMIO_MT_UC, section, section_page));
    assert_int_equal(fake_window.flushed_pages - flushed, pages);
    assert_int_equal(query(page).memtype, MEMTYPE_UC);
    assert_int_equal(leaf_type(page), MEMTYPE_UC);
    assert_int_equal(leaf_type(page + pages - 1), MEMTYPE_UC);
    /* The ledger has the new type for these pages, and for no other. */
    assert_int_equal(create(1500, pages, HV_MMIO_MT_WB, section, section_page),
                     HV_E_CACHE_CONFLICT);
    assert_int_equal(create(1500, pages, HV_MMIO_MT_UC, section, section_page), HV_OK);
    assert_int_equal(destroy(1500), HV_OK);
}

static void test_retype_exact(void **state)
{
    (void)state;
    probe_create(probe);
    decode(probe, true);
    /* A range of one page goes a way of its own. */
    for (uint64_t pages = 1; pages <= 8; pages *= 8) {
        hv_handle_t section = make_section(8, ALL_RIGHTS, 0);

        assert_int_equal(create(0, pages, RW, section, 0), HV_OK);
        retype(0, pages, 0, section);
        /* Back to write-back: no line is stale. */
        expect_paused(true, create(0, pages, REPLACE | HV_MMIO_MT_WB, section, 0));
        assert_int_equal(leaf_type(pages - 1), MEMTYPE_WB);
        assert_int_equal(create(100, 1, HV_MMIO_MT_UC, section, 0), HV_E_CACHE_CONFLICT);
        assert_int_equal(destroy(0), HV_OK);
        hv_handle_close(section);
    }
}

/* The window is the only one whose type is not the others': where those are, nothing is forgotten. */
static void test_retype_of_the_first_page(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(4, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 4, RW | HV_MMIO_MT_UC, section, 0), HV_OK);
    expect_paused(true, create(0, 1, REPLACE, section, 0));
    assert_int_equal(leaf_type(0), MEMTYPE_WB);
    assert_int_equal(leaf_type(1), MEMTYPE_UC);
    assert_int_equal(create(10, 1, RW | HV_MMIO_MT_WB, section, 1), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(10, 1, RW, section, 3), HV_OK);
    assert_int_equal(leaf_type(10), MEMTYPE_UC);
    assert_int_equal(create(20, 1, RW, section, 0), HV_OK);
    assert_int_equal(leaf_type(20), MEMTYPE_WB);
    hv_handle_close(section);
}

static void test_retype_inside(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(16, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 16, RW, section, 0), HV_OK);
    retype(5, 3, 5, section);
    assert_int_equal(leaf_type(4), MEMTYPE_WB);
    assert_int_equal(leaf_type(8), MEMTYPE_WB);
    assert_int_equal(query(8).section_page, 8);
    assert_int_equal(create(100, 1, HV_MMIO_MT_UC, section, 4), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(100, 1, HV_MMIO_MT_UC, section, 8), HV_E_CACHE_CONFLICT);
    /* Another window on the survivors' frames: what the call removes is all that does not count. */
    assert_int_equal(create(5, 3, REPLACE | HV_MMIO_MT_WC, section, 4), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(5, 3, REPLACE, section, 5), HV_OK);
    assert_int_equal(destroy(0) | destroy(5) | destroy(8), HV_OK);
    assert_int_equal(create(0, 16, RW, section, 0), HV_OK);
    assert_int_equal(create(5, 3, REPLACE | HV_MMIO_MT_WC, section, 3), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(5, 3, REPLACE | HV_MMIO_MT_WC, section, 7), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(5, 3, REPLACE, section, 8), HV_OK);
    assert_int_equal(query(5).memtype, MEMTYPE_WB);
    hv_handle_close(section);
}

/* The section's default is no answer where a type is in force, and the only one elsewhere. */
static void test_default_of_the_section(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(8, ALL_RIGHTS, HV_SEC_WRITECOMBINE);
    assert_int_equal(create(0, 2, RW | HV_MMIO_MT_WB, section, 0), HV_OK);
    assert_int_equal(create(10, 1, RW, section, 1), HV_OK);
    assert_int_equal(leaf_type(10), MEMTYPE_WB);
    assert_int_equal(create(20, 1, RW, section, 2), HV_OK);
    assert_int_equal(leaf_type(20), MEMTYPE_WC);
    hv_handle_close(section);
}

/* The type goes with the last mapping, also when a range is aimed anew. */
static void test_types_are_forgotten(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(16, ALL_RIGHTS, 0);
    assert_int_equal(create(8, 1, RW | HV_MMIO_MT_UC, section, 8), HV_OK);
    expect_paused(false, create(8, 1, REPLACE | HV_MMIO_MT_WC, section, 9));
    assert_int_equal(create(9, 1, RW | HV_MMIO_MT_WT, section, 8), HV_OK);
    assert_int_equal(create(0, 4, RW | HV_MMIO_MT_UC, section, 0), HV_OK);
    expect_paused(false, create(0, 4, REPLACE | HV_MMIO_MT_WC, section, 4));
    assert_int_equal(leaf_type(3), MEMTYPE_WC);
    assert_int_equal(create(10, 4, RW | HV_MMIO_MT_WT, section, 0), HV_OK);
    assert_int_equal(create(20, 1, RW | HV_MMIO_MT_WB, section, 7), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(20, 1, RW, section, 7), HV_OK);
    assert_int_equal(leaf_type(20), MEMTYPE_WC);
    /* Others map the frames: what would change their type is refused, and changes nothing. */
    struct world_state before = world_state();

    assert_int_equal(create(0, 4, REPLACE | HV_MMIO_MT_UC, section, 4), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(2, 2, REPLACE | HV_MMIO_MT_UC, section, 6), HV_E_CACHE_CONFLICT);
    assert_unchanged(before);
    assert_int_equal(world.vm.pauses, 0);
    hv_handle_close(section);
}

/* ---- joined leaves, and what is held for cutting them ---- */

static uint64_t tables_kept_away; /* by the test, out of the same reservation */

static uint64_t held(void)
{
    uint64_t tables = world.vm.pool.reserved - tables_kept_away;

    assert_int_equal(tables, probe->device->bar[HV_BAR2].held_tables);
    return tables;
}

/* From now on no more than `spare` tables besides those that were reserved before. */
static void only_tables(uint64_t spare)
{
    fake_blocks_exhaust(true);
    assert_true(pt_pool_spare(&world.vm.pool) >= spare);
    tables_kept_away = pt_pool_spare(&world.vm.pool) - spare;
    assert_int_equal(pt_pool_reserve(&world.vm.pool, tables_kept_away), HV_OK);
}

static void all_tables(void)
{
    fake_blocks_exhaust(false);
    pt_pool_unreserve(&world.vm.pool, tables_kept_away);
    tables_kept_away = 0;
}

static hv_handle_t open_with_large_section(void)
{
    probe_create(probe);
    decode(probe, true);
    return make_section(1024, ALL_RIGHTS, HV_SEC_LARGE_PAGES);
}

/* Each order of destroying three ranges in one leaf, without memory for tables. */
static void test_destroy_takes_what_is_held(void **state)
{
    static const uint64_t orders[][3] = {{512, 600, 700}, {512, 700, 600}, {600, 512, 700},
                                         {600, 700, 512}, {700, 512, 600}, {700, 600, 512}};
    hv_handle_t section = open_with_large_section();

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(orders); i++) {
        assert_int_equal(create(512, 88, RW, section, 0), HV_OK);
        assert_int_equal(create(600, 100, RW, section, 88), HV_OK);
        assert_int_equal(held(), 0);
        assert_int_equal(create(700, 324, RW, section, 188), HV_OK);
        expect_leaves(512, 0, 1, 0);
        assert_int_equal(held(), 2);
        only_tables(0);
        for (unsigned j = 0; j < 3; j++) {
            assert_int_equal(destroy(orders[i][j]), HV_OK);
            assert_false(is_direct(orders[i][j]));
            for (unsigned k = j + 1; k < 3; k++)
                assert_true(is_direct(orders[i][k]));
        }
        all_tables();
        assert_int_equal(held(), 0);
        assert_int_equal(world.vm.tables.leaves[1] + world.vm.tables.leaves[2], 0);
    }
    hv_handle_close(section);
}

/* A hole is refilled: the leaf is there again, and the edges that are left hold their tables. */
static void test_refill(void **state)
{
    hv_handle_t section = open_with_large_section();

    (void)state;
    assert_int_equal(create(512, 512, RW, section, 512), HV_OK);
    assert_int_equal(unmap(600, 10), HV_OK);
    expect_leaves(512, 88, 0, 0);
    assert_int_equal(held(), 0);
    assert_int_equal(create(600, 10, RW, section, 600), HV_OK);
    expect_leaves(512, 0, 1, 0);
    expect_leaves(1023, 0, 1, 0);
    assert_int_equal(held(), 2);
    /* Cut, and refilled with what differs. */
    assert_int_equal(create(600, 10, REPLACE, section, 0), HV_OK);
    expect_leaves(512, 88, 0, 0);
    assert_int_equal(held(), 0);
    assert_int_equal(create(600, 10, HV_MMIO_REPLACE, section, 600), HV_OK); /* read only */
    expect_leaves(512, 88, 0, 0);
    assert_int_equal(create(600, 10, REPLACE, section, 600), HV_OK);
    expect_leaves(512, 0, 1, 0);
    assert_int_equal(held(), 2);
    /* With decode off nothing is held; with decode on the leaf and the tables are back. */
    decode(probe, false);
    assert_int_equal(held(), 0);
    decode(probe, true);
    expect_leaves(512, 0, 1, 0);
    assert_int_equal(held(), 2);
    /* One range over all of it: no edge inside. */
    assert_int_equal(create(512, 512, REPLACE, section, 512), HV_OK);
    expect_leaves(512, 0, 1, 0);
    assert_int_equal(held(), 0);
    /* The same pages again, cut into pieces: the leaf stays as it is. */
    assert_int_equal(create(700, 1, REPLACE, section, 700), HV_OK);
    expect_leaves(700, 0, 1, 0);
    assert_int_equal(held(), 2);
    only_tables(0);
    assert_int_equal(destroy(701), HV_OK);
    assert_int_equal(destroy(512), HV_OK);
    assert_true(is_direct(700));
    all_tables();
    hv_handle_close(section);
}

/* A window from the middle of one leaf to the middle of the next cuts both. */
static void test_unmap_cuts_two_leaves(void **state)
{
    hv_handle_t section = open_with_large_section();

    (void)state;
    assert_int_equal(create(512, 1024, RW, section, 0), HV_OK);
    expect_leaves(512, 0, 2, 0);
    only_tables(1);
    assert_int_equal(unmap(600, 512), HV_E_NO_MEMORY);
    expect_leaves(512, 0, 2, 0);
    all_tables();
    only_tables(2);
    assert_int_equal(unmap(600, 512), HV_OK);
    all_tables();
    expect_leaves(512, 88, 0, 0);
    expect_leaves(1112, 424, 0, 0);
    assert_true(is_direct(599) && !is_direct(600) && !is_direct(1111) && is_direct(1112));
    assert_int_equal(unmap(0, BAR2_PAGES), HV_OK);
    /* Only its end lies in a large leaf, then only its first page. */
    for (uint64_t small = 512; small <= 1024; small += 512) {
        assert_int_equal(create(small, 512, RW | HV_MMIO_NO_LARGE, section, 0), HV_OK);
        assert_int_equal(create(1536 - small, 512, RW, section, 512), HV_OK);
        only_tables(1);
        assert_int_equal(unmap(600, 512), HV_OK);
        all_tables();
        assert_true(is_direct(599) && !is_direct(600) && !is_direct(1111) && is_direct(1112));
        assert_int_equal(unmap(0, BAR2_PAGES), HV_OK);
    }
    hv_handle_close(section);
}

static void test_no_join(void **state)
{
    hv_handle_t section = open_with_large_section();

    (void)state;
    /* A range that wants none, first, last, and between. */
    for (uint64_t small = 0; small < 3; small++) {
        for (uint64_t i = 0; i < 3; i++)
            assert_int_equal(create(512 + 128 * i, i == 2 ? 256 : 128,
                                    RW | (i == small ? HV_MMIO_NO_LARGE : 0), section, 128 * i),
                             HV_OK);
        expect_leaves(512, 128, 0, 0);
        assert_int_equal(held(), 0);
        assert_int_equal(unmap(512, 512), HV_OK);
    }
    /* As many edges as a leaf may have, then one more. */
    for (uint64_t edges = 8; edges <= 9; edges++) {
        for (uint64_t i = 0; i < edges; i++)
            assert_int_equal(create(512 + i, 1, RW, section, i), HV_OK);
        assert_int_equal(create(512 + edges, 512 - edges, RW, section, edges), HV_OK);
        assert_int_equal(world.vm.tables.leaves[2], edges == 8);
        assert_int_equal(held(), edges == 8 ? 8 : 0);
        assert_int_equal(unmap(512, 512), HV_OK);
        assert_int_equal(held(), 0);
    }
    /* Enough for the range, and none that could be held: the small leaves stay, and all goes well. */
    assert_int_equal(create(512, 100, RW, section, 0), HV_OK);
    for (uint64_t spare = 0;; spare++) {
        hv_status_t status;

        only_tables(spare);
        status = create(612, 412, RW, section, 100);
        all_tables();
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_NO_MEMORY);
        assert_false(is_direct(612));
    }
    expect_leaves(612, 412, 0, 0);
    assert_int_equal(held(), 0);
    hv_handle_close(section);
}

static void test_huge_join(void **state)
{
    const uint64_t edge = HUGE_PAGES - 5;
    hv_handle_t section;

    (void)state;
    probe_bar64(probe, HV_BAR2, GIB(2ull));
    probe_create(probe);
    decode(probe, true);
    section = make_window(WINDOW_BASE, HUGE_PAGES);
    assert_int_equal(create(0, edge, RW, section, 0), HV_OK);
    assert_int_equal(create(edge, 5, RW, section, edge), HV_OK);
    expect_leaves(0, 0, 0, 1);
    assert_int_equal(held(), 2); /* a table of each level */
    only_tables(0);
    assert_int_equal(destroy(edge), HV_OK);
    all_tables();
    expect_leaves(0, 507, 511, 0);
    assert_int_equal(held(), 0);
    assert_int_equal(create(edge, 5, RW, section, edge), HV_OK);
    assert_int_equal(destroy(0), HV_OK);
    expect_leaves(edge, 5, 0, 0);
    assert_int_equal(held(), 0);
    assert_int_equal(destroy(edge), HV_OK);
    /* An edge between two leaves of 2 MiB takes one table, one inside them two. */
    assert_int_equal(create(512, HUGE_PAGES - 512, RW, section, 512), HV_OK);
    assert_int_equal(create(0, 511, RW, section, 0), HV_OK);
    assert_int_equal(create(511, 1, RW, section, 511), HV_OK);
    expect_leaves(0, 0, 0, 1);
    assert_int_equal(held(), 3);
    only_tables(0);
    assert_int_equal(destroy(512), HV_OK);
    expect_leaves(0, 0, 1, 0);
    assert_int_equal(destroy(511), HV_OK);
    expect_leaves(0, 511, 0, 0);
    all_tables();
    assert_int_equal(held(), 0);
    /* A hole of 2 MiB is refilled by a leaf that fills the table above. */
    assert_int_equal(destroy(0), HV_OK);
    assert_int_equal(create(0, 512, RW, section, 0), HV_OK);
    assert_int_equal(create(512, HUGE_PAGES - 512, RW, section, 512), HV_OK);
    expect_leaves(0, 0, 0, 1);
    assert_int_equal(held(), 1);
    hv_handle_close(section);
}

/* ---- pages that get frames ---- */

static hv_handle_t reserved_section(uint64_t pages)
{
    hv_handle_t handle;

    assert_int_equal(hv_section_create(&handle, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL,
                                       pages * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_RESERVE, NULL),
                     HV_OK);
    return handle;
}

/* Pages [first, end) are direct, those of [page, first) and [end, page + pages) are not. */
static void expect_direct(uint64_t page, uint64_t pages, uint64_t first, uint64_t end)
{
    for (uint64_t at = page; at < page + pages; at++)
        if (is_direct(at) != (at >= first && at < end))
            fail_msg("page %llu", (unsigned long long)at);
}

static void test_holes(void **state)
{
    struct world_state before;
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    move_bar(probe, HV_BAR2, bar_base(probe, HV_BAR2) + MIB(512)); /* not where page 0 would be */
    section = reserved_section(32);
    assert_int_equal(create(100, 32, RW, section, 0), HV_OK);
    expect_direct(98, 36, 0, 0);
    assert_int_equal(hv_section_commit(section, 8, 8), HV_OK);
    expect_direct(98, 36, 108, 116);
    assert_int_equal(query(100).leaves[1], 8);
    assert_int_equal(create(10, 4, RW, section, 14), HV_OK);
    expect_direct(8, 8, 10, 12);
    /* Survivors: each gets its own pages. */
    assert_int_equal(unmap(104, 10), HV_OK);
    expect_direct(98, 36, 114, 116);
    assert_int_equal(hv_section_commit(section, 0, 24), HV_OK);
    expect_direct(98, 12, 100, 104);
    expect_direct(110, 24, 114, 124);
    expect_direct(8, 8, 10, 14);
    fake_vm_write(&world.vm, bar_base(probe, HV_BAR2) + 115 * PAGE_BYTES, 8, 77);
    assert_int_equal(read_page(11), 77); /* both are section page 15 */
    /* Nothing is promised any more, and a failure leaves no trace. */
    assert_int_equal(world.vm.pool.reserved, 0);
    assert_int_equal(create(1000, 32, RW, section, 0), HV_OK);
    before = world_state();
    for (uint64_t spare = 0; spare < 6; spare++) { /* the first mapping can, the second cannot */
        only_tables(spare);
        assert_int_equal(hv_section_commit(section, 20, 12), HV_E_NO_MEMORY);
        all_tables();
        assert_unchanged(before);
    }
    decode(probe, false);
    assert_int_equal(hv_section_commit(section, 24, 1), HV_OK);
    decode(probe, true);
    expect_direct(110, 24, 114, 125);
    hv_handle_close(section);
}

/* A window that begins with pages without frames empties a table which its later pages need. */
static void test_holes_replace_pages(void **state)
{
    hv_handle_t plain, section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    plain = make_section(1024, ALL_RIGHTS, 0);
    section = reserved_section(1024);
    assert_int_equal(hv_section_commit(section, 500, 100), HV_OK);
    assert_int_equal(create(512, 400, RW | HV_MMIO_NO_LARGE, plain, 0), HV_OK);
    assert_int_equal(create(512, 512, REPLACE, section, 100), HV_OK);
    expect_direct(510, 520, 912, 1012);
    assert_int_equal(create(512, 512, REPLACE, plain, 3), HV_OK);
    expect_direct(510, 520, 512, 1024);
    assert_int_equal(world.vm.pool.reserved, 0);
    hv_handle_close(plain);
    hv_handle_close(section);
}

/* ---- a BAR that shrinks and grows ---- */

#define RESIZE_CONTROL (PCI_EXT_FIRST + 8)

/* 2^n MiB, and decode on. */
static void resize(unsigned n)
{
    decode(probe, false);
    fake_vm_write(&world.vm,
                  PCI_ECAM_BASE + (uint64_t)probe->device->slot * 0x8000 + RESIZE_CONTROL, 4,
                  n << 8);
    decode(probe, true);
    assert_int_equal(probe->device->bar[HV_BAR2].bytes, MIB(1) << n);
    assert_true(probe->device->bar[HV_BAR2].live);
}

static void test_shrunk(void **state)
{
    uint64_t done;
    hv_handle_t section, holes;

    (void)state;
    probe_create(probe);
    assert_int_equal(hv_bar_make_resizable(probe->device, HV_BAR2, BIT(1) | BIT(3)), HV_OK);
    decode(probe, true);
    section = make_section(400, ALL_RIGHTS, 0);
    holes = reserved_section(200);
    assert_int_equal(create(200, 400, RW, section, 0), HV_OK);
    assert_int_equal(create(700, 100, RW, holes, 0), HV_OK);
    resize(1); /* 512 pages: right through the first one, before the second */
    assert_int_equal(world.vm.tables.leaves[1], 312);
    expect_direct(198, 320, 200, 512);
    assert_int_equal(hv_section_commit(holes, 0, 50), HV_OK);
    assert_int_equal(world.vm.tables.leaves[1], 312);
    /* Cut inside: what is left behind the window reaches over the end. */
    assert_int_equal(create(300, 10, REPLACE, section, 0), HV_OK);
    assert_int_equal(query(310).page_count, 290);
    assert_int_equal(unmap(500, 12), HV_OK);
    expect_direct(490, 30, 490, 500);
    assert_int_equal(unmap(500, 13), HV_E_OUT_OF_RANGE);
    assert_int_equal(create(500, 13, REPLACE, section, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(query(512).section_page, 312);
    struct hv_mmio_op ops[] = {op_destroy(512), op_create(200, 1, RW, section, 9)};

    assert_int_equal(batch(ops, 2, HV_BATCH_ATOMIC, &done), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(query(512).page_count, 88);
    resize(3);
    expect_direct(490, 22, 490, 500);
    expect_direct(600, 150, 700, 750);
    assert_true(is_direct(300) && is_direct(599) && is_direct(512));
    assert_int_equal(read_page(599), section_word(399, 0));
    assert_int_equal(destroy(700), HV_OK);
    resize(1);
    assert_int_equal(destroy(512), HV_OK);
    hv_handle_close(section);
    hv_handle_close(holes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_retype_exact),
        TEST(test_retype_of_the_first_page),
        TEST(test_retype_inside),
        TEST(test_default_of_the_section),
        TEST(test_types_are_forgotten),
        TEST(test_destroy_takes_what_is_held),
        TEST(test_refill),
        TEST(test_unmap_cuts_two_leaves),
        TEST(test_no_join),
        TEST(test_huge_join),
        TEST(test_holes),
        TEST(test_holes_replace_pages),
        TEST(test_shrunk),
    };

    return cmocka_run_group_tests_name("joins", tests, NULL, NULL);
}
