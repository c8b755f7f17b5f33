#include "tests/unit/pt_kit.h"

#include <string.h>

struct pt_pool pool;
struct pt_root root;
struct pt_flush flush;

const struct pt_attr rw_wb = {PT_R | PT_W, MEMTYPE_WB, false, 3};
const struct pt_attr ro_wb = {PT_R, MEMTYPE_WB, false, 3};
const struct pt_attr rwx_wb = {PT_R | PT_W | PT_X, MEMTYPE_WB, false, 3};
const struct pt_attr rw_wc = {PT_R | PT_W, MEMTYPE_WC, false, 3};
const struct pt_attr rw_wb_4k = {PT_R | PT_W, MEMTYPE_WB, false, 1};
const struct pt_attr rw_wb_2m = {PT_R | PT_W, MEMTYPE_WB, false, 2};
const struct pt_attr rw_ipat = {PT_R | PT_W, MEMTYPE_WB, true, 3};

static int open_with(const struct pt_format *fmt)
{
    memset(&pool, 0, sizeof(pool));
    memset(&flush, 0, sizeof(flush));
    fake_blocks_fail(0);
    return pt_root_create(&root, fmt, &pool, 3);
}

int pt_kit_ept(void **state)
{
    (void)state;
    return open_with(&pt_format_ept);
}

int pt_kit_npt(void **state)
{
    (void)state;
    return open_with(&pt_format_npt);
}

int pt_kit_stage1(void **state)
{
    (void)state;
    return open_with(&pt_format_stage1);
}

int pt_kit_close(void **state)
{
    (void)state;
    pt_flush_done(&root, &flush);
    watch_stop();
    pt_root_destroy(&root);
    assert_int_equal(pool.used_tables, 0);
    assert_int_equal(pool.reserved, 0);
    pt_pool_drain(&pool);
    assert_int_equal(fake_blocks_live(), 0);
    return 0;
}

void finish_flush(void)
{
    pt_flush_done(&root, &flush);
    watch_flushed();
}

uint64_t dead_tables(void)
{
    uint64_t count = 0;

    for (hpa_t table = flush.dead; table.v != 0; table = HPA(*pt_pool_link(table)))
        count++;
    return count;
}

/* ---- one change ---- */

static uint64_t promised, used_before, taken_before;

static void begin(uint64_t tables)
{
    promised = tables;
    used_before = pool.used_tables;
    taken_before = flush.taken;
    assert_int_equal(pt_pool_reserve(&pool, tables), HV_OK);
}

static uint64_t end(void)
{
    uint64_t taken = pool.used_tables - used_before;

    watch_done(&flush);
    assert_true(taken <= promised);
    assert_int_equal(flush.taken - taken_before, taken);
    pt_pool_unreserve(&pool, promised - taken);
    return taken;
}

static void begin_map(uint64_t addr, uint64_t frame, uint64_t pages, const struct pt_attr *attr)
{
    begin(pt_tables_needed(&root, addr, HPA(frame), pages, attr->max_level));
    watch_map(addr, HPA(frame), pages, attr);
}

static void begin_unmap(uint64_t addr, uint64_t pages)
{
    begin(pt_tables_needed_unmap(&root, addr, pages));
    watch_unmap(addr, pages);
}

uint64_t map(uint64_t addr, uint64_t frame, uint64_t bytes, const struct pt_attr *attr)
{
    uint64_t pages = bytes / PAGE_BYTES;

    begin_map(addr, frame, pages, attr);
    pt_map(&root, addr, HPA(frame), pages, attr, &flush);
    return end();
}

uint64_t unmap(uint64_t addr, uint64_t bytes)
{
    begin_unmap(addr, bytes / PAGE_BYTES);
    pt_unmap(&root, addr, bytes / PAGE_BYTES, &flush);
    return end();
}

uint64_t unmap_keep(uint64_t addr, uint64_t bytes)
{
    begin_unmap(addr, bytes / PAGE_BYTES);
    pt_unmap_keep(&root, addr, bytes / PAGE_BYTES, &flush);
    return end();
}

/* ---- steps ---- */

/* The way to the place costs a store per table that is made, split or emptied. */
#define LEAVES_OF_STEP 512u
#define TABLES_OF_STEP 513u
#define STORES_OF_WAY  4u

struct step {
    uint64_t stores, dead, taken;
};

static struct step step_begin(void)
{
    return (struct step){root.stores, dead_tables(), flush.taken};
}

static void step_end(const struct step *before, uint64_t done, uint64_t left)
{
    assert_true(done >= 1 && done <= left);
    assert_true(root.stores - before->stores <= LEAVES_OF_STEP + STORES_OF_WAY);
    assert_true(flush.taken - before->taken <= PT_LEVELS - 1);
    assert_true(dead_tables() - before->dead <= TABLES_OF_STEP + STORES_OF_WAY);
}

uint64_t map_in_steps(uint64_t addr, uint64_t frame, uint64_t bytes, const struct pt_attr *attr,
                      unsigned *steps)
{
    uint64_t left = bytes / PAGE_BYTES;
    unsigned count = 0;

    begin_map(addr, frame, left, attr);
    for (; left != 0; count++) {
        struct step before = step_begin();
        uint64_t done = pt_map_step(&root, addr, HPA(frame), left, attr, &flush);

        step_end(&before, done, left);
        left -= done;
        addr += done * PAGE_BYTES;
        frame += done * PAGE_BYTES;
        assert_int_equal(watch_walk(&root, addr - PAGE_BYTES) & ~PAGE_MASK, frame - PAGE_BYTES);
    }
    if (steps != NULL)
        *steps = count;
    return end();
}

uint64_t unmap_in_steps(uint64_t addr, uint64_t bytes, unsigned *steps)
{
    uint64_t left = bytes / PAGE_BYTES;
    unsigned count = 0;

    begin_unmap(addr, left);
    for (; left != 0; count++) {
        struct step before = step_begin();
        uint64_t done = pt_unmap_step(&root, addr, left, &flush);

        step_end(&before, done, left);
        left -= done;
        addr += done * PAGE_BYTES;
        assert_int_equal(watch_walk(&root, addr - PAGE_BYTES), 0);
    }
    if (steps != NULL)
        *steps = count;
    return end();
}

/* ---- joins ---- */

void join(uint64_t addr, unsigned level)
{
    uint64_t used = pool.used_tables, dead = dead_tables(), stores = watch_stores();
    uint64_t parts = root.leaves[level - 1], leaves = root.leaves[level];
    uint64_t frame = watch_walk(&root, addr) & ~PAGE_MASK;

    assert_true(pt_joinable(&root, addr, level));
    pt_join(&root, addr, level, &flush);
    watch_done(&flush); /* the same translation as before, page by page */
    assert_true(flush.needed);
    assert_int_equal(watch_stores(), stores + 1);
    assert_int_equal(root.leaves[level - 1], parts - 512);
    assert_int_equal(root.leaves[level], leaves + 1);
    assert_int_equal(pool.used_tables, used); /* until the flush */
    assert_int_equal(dead_tables(), dead + 1);
    assert_int_equal(watch_walk(&root, addr) & ~PAGE_MASK, frame);
    expect_level(addr, level);
    assert_false(pt_joinable(&root, addr, level));
}

/* ---- what is there ---- */

void expect_leaf(uint64_t addr, unsigned level, uint64_t entry)
{
    struct pt_leaf leaf;

    assert_true(pt_lookup(&root, addr, &leaf));
    assert_int_equal(leaf.level, level);
    assert_int_equal(leaf.entry, entry);
}

void expect_level(uint64_t addr, unsigned level)
{
    struct pt_leaf leaf;

    assert_true(pt_lookup(&root, addr, &leaf));
    assert_int_equal(leaf.level, level);
}

void expect_absent(uint64_t addr, unsigned level)
{
    struct pt_leaf leaf;

    assert_false(pt_lookup(&root, addr, &leaf));
    assert_int_equal(leaf.level, level);
    assert_int_equal(leaf.entry, 0);
}

void expect_leaves(uint64_t small, uint64_t large, uint64_t huge)
{
    assert_int_equal(root.leaves[1], small);
    assert_int_equal(root.leaves[2], large);
    assert_int_equal(root.leaves[3], huge);
}
