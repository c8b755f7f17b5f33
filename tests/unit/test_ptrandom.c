/* Random maps and unmaps against a flat model, every intermediate state watched. */
#include "tests/fake/host.h"

#include "ept/ept.h"
#include "hv/base/direct.h"
#include "tests/fake/blocks.h"
#include "tests/fake/ptwatch.h"

struct plan {
    const struct pt_format *fmt;
    uint64_t base;
    uint64_t unit;  /* bytes: PAGE_BYTES or 2 MiB */
    uint64_t canon; /* or-ed into every address that ept sees */
    unsigned ops;
    unsigned max_level;
    bool keep_empty;
};

#define TOP BIT(48)

static const struct plan plans[] = {
    {&pt_format_ept, GIB(512) - MIB(4), PAGE_BYTES, 0, 8000, 3, false},
    {&pt_format_ept, TOP - MIB(8), PAGE_BYTES, 0, 4000, 2, false},
    {&pt_format_ept, GIB(510), MIB(2), 0, 6000, 3, false},
    {&pt_format_ept, GIB(4) - MIB(4), PAGE_BYTES, 0, 2000, 3, true},
    {&pt_format_stage1, GIB(512) - MIB(4), PAGE_BYTES, 0, 8000, 3, false},
    {&pt_format_stage1, TOP - MIB(8), PAGE_BYTES, 0xffffull << 48, 4000, 2, false},
    {&pt_format_stage1, TOP - GIB(4), MIB(2), 0xffffull << 48, 6000, 3, false},
    {&pt_format_stage1, GIB(4) - MIB(4), PAGE_BYTES, 0, 2000, 3, true},
    {&pt_format_npt, GIB(512) - MIB(4), PAGE_BYTES, 0, 8000, 3, false},
    {&pt_format_npt, TOP - MIB(8), PAGE_BYTES, 0, 4000, 2, false},
    {&pt_format_npt, GIB(510), MIB(2), 0, 6000, 3, false},
    {&pt_format_npt, GIB(4) - MIB(4), PAGE_BYTES, 0, 2000, 3, true},
};

struct op {
    bool map;
    uint64_t addr, pages;
    hpa_t frame;
    struct pt_attr attr;
};

static const uint8_t types[] = {MEMTYPE_WB, MEMTYPE_WB, MEMTYPE_UC,
                                MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP};
static const uint8_t rights[] = {PT_R, PT_R | PT_W, PT_R | PT_W, PT_R | PT_X, PT_R | PT_W | PT_X};

static uint64_t random_units(const struct plan *plan, const struct op *op)
{
    uint64_t small = 1 + watch_random() % 4;

    if (plan->unit > PAGE_BYTES && op->map && op->attr.max_level == 1)
        return small; /* 512 stores each */
    switch (watch_random() % 4) {
    case 0:
    case 1:
        return small;
    case 2:
        return 1 + watch_random() % 64;
    default:
        return 512 * (1 + watch_random() % 3);
    }
}

static struct op random_op(const struct plan *plan)
{
    struct op op = {.map = watch_random() % 5 < 3};
    uint64_t unit, count;

    op.attr = (struct pt_attr){
        .rights = rights[watch_random() % sizeof(rights)],
        .memtype = types[watch_random() % sizeof(types)],
        .ignore_pat = plan->fmt->ignore_pat != 0 && watch_random() % 4 == 0,
        .max_level = (uint8_t)(1 + watch_random() % 3),
    };
    count = random_units(plan, &op);
    unit = watch_random() % WATCH_UNITS;
    if (watch_random() % 3 == 0)
        unit &= ~511ull;
    count = MIN(count, WATCH_UNITS - unit);
    op.addr = plan->base + unit * plan->unit;
    op.pages = count * plan->unit / PAGE_BYTES;
    /* Mostly one of a few linear maps, so that what is mapped again is often the same. */
    op.frame.v = (op.addr - plan->base) + GIB(8 + 8 * (watch_random() % 2)) + plan->base % GIB(1);
    if (watch_random() % 4 == 0)
        op.frame.v += plan->unit * (watch_random() % 64);
    return op;
}

/* The reservation fails: nothing at all has changed. */
static void refuse(struct pt_root *root, uint64_t need)
{
    struct pt_pool before = *root->pool;
    uint64_t hash = pt_hash(root);

    fake_blocks_exhaust(true);
    if (pt_pool_reserve(root->pool, need) == HV_OK)
        pt_pool_unreserve(root->pool, need);
    fake_blocks_exhaust(false);
    assert_int_equal(hash, pt_hash(root));
    assert_int_equal(before.used_tables, root->pool->used_tables);
    assert_int_equal(before.reserved, root->pool->reserved);
    assert_int_equal(before.blocks, root->pool->blocks);
    assert_int_equal(before.free_tables, root->pool->free_tables);
}

static void run_op(struct pt_root *root, const struct plan *plan, const struct op *op,
                   struct pt_flush *flush)
{
    struct pt_pool *pool = root->pool;
    uint64_t addr = op->addr | plan->canon;
    uint64_t need = op->map ? pt_tables_needed(root, addr, op->frame, op->pages, op->attr.max_level)
                            : pt_tables_needed_unmap(root, addr, op->pages);
    uint64_t used = pool->used_tables;
    uint64_t taken = flush->taken;

    if (watch_random() % 16 == 0)
        refuse(root, need);
    assert_int_equal(pt_pool_reserve(pool, need), HV_OK);
    if (op->map) {
        watch_map(op->addr, op->frame, op->pages, &op->attr);
        pt_map(root, addr, op->frame, op->pages, &op->attr, flush);
    } else {
        watch_unmap(op->addr, op->pages);
        (plan->keep_empty ? pt_unmap_keep : pt_unmap)(root, addr, op->pages, flush);
    }
    watch_done(flush);
    assert_true(pool->used_tables - used <= need);
    assert_int_equal(flush->taken - taken, pool->used_tables - used);
    assert_int_equal(pool->reserved, need - (pool->used_tables - used));
    pt_pool_unreserve(pool, pool->reserved);
}

static void check_lookup(const struct pt_root *root, const struct plan *plan)
{
    uint64_t addr = plan->base + watch_random() % (WATCH_UNITS * plan->unit);
    uint64_t key = watch_walk(root, addr);
    struct pt_leaf leaf;

    assert_int_equal(pt_lookup(root, addr | plan->canon, &leaf), key != 0);
    if (key == 0)
        return;
    assert_int_equal(leaf.frame.v, key & ~PAGE_MASK);
    assert_int_equal(leaf.attr.rights, key & 7);
    assert_int_equal(leaf.attr.memtype, (key >> 3) & 7);
    assert_int_equal(leaf.attr.ignore_pat, (key >> 6) & 1);
    assert_int_equal(leaf.attr.max_level, leaf.level);
}

static void flush_now(struct pt_root *root, struct pt_flush *flush)
{
    pt_flush_done(root, flush);
    assert_false(flush->needed);
    watch_flushed();
}

static void run_plan(const struct plan *plan)
{
    struct pt_pool pool = {0};
    struct pt_root root;
    struct pt_flush flush = {0};

    assert_int_equal(pt_root_create(&root, plan->fmt, &pool, plan->max_level), HV_OK);
    watch_start(&root, plan->base, plan->unit, WATCH_UNITS);
    for (unsigned i = 0; i < plan->ops; i++) {
        struct op op = random_op(plan);

        watch_hardware(i % 16 == 0 ? 20 : 0);
        run_op(&root, plan, &op, &flush);
        check_lookup(&root, plan);
        if (watch_random() % 3 != 0)
            flush_now(&root, &flush);
    }
    watch_hardware(0);
    watch_unmap(plan->base, WATCH_UNITS * plan->unit / PAGE_BYTES);
    pt_unmap(&root, plan->base | plan->canon, WATCH_UNITS * plan->unit / PAGE_BYTES, &flush);
    watch_done(&flush);
    flush_now(&root, &flush);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        assert_int_equal(root.leaves[level], 0);
    if (!plan->keep_empty)
        assert_int_equal(pool.used_tables, 1);
    watch_stop();
    pt_root_destroy(&root);
    assert_int_equal(pool.used_tables, 0);
    assert_true(pool.blocks <= 1);
    pt_pool_drain(&pool);
    assert_int_equal(pool.blocks, 0);
    assert_int_equal(pool.free_tables, 0);
    assert_int_equal(fake_blocks_live(), 0);
}

static void random_ops_match_the_model(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(plans); i++)
        run_plan(&plans[i]);
}

static void expect_leaf(const struct pt_root *root, uint64_t addr, unsigned level, uint64_t entry)
{
    struct pt_leaf leaf;

    assert_true(pt_lookup(root, addr, &leaf));
    assert_int_equal(leaf.level, level);
    assert_int_equal(leaf.entry, entry);
}

/* NPT's entries as numbers, through a split. */
static void nested_entries(void **state)
{
    static const struct pt_attr rwx = {PT_R | PT_W | PT_X, MEMTYPE_WB, false, 3};
    static const struct pt_attr rw_wt = {PT_R | PT_W, MEMTYPE_WT, false, 3};

    struct pt_pool pool = {0};
    struct pt_root root;
    struct pt_flush flush = {0};

    (void)state;
    assert_int_equal(pt_root_create(&root, &pt_format_npt, &pool, 3), HV_OK);
    assert_int_equal(pt_pool_reserve(&pool, 16), HV_OK);
    pt_map(&root, GIB(4), HPA(GIB(6)), LARGE_PAGES, &rw_wt, &flush);
    expect_leaf(&root, GIB(4), 2, BIT(63) | GIB(6) | 0x109f);
    pt_map(&root, GIB(4) + KIB(4), HPA(GIB(7)), 1, &rwx, &flush);
    expect_leaf(&root, GIB(4), 1, BIT(63) | GIB(6) | 0x9f);
    expect_leaf(&root, GIB(4) + KIB(4), 1, GIB(7) | 7);
    assert_int_equal(*(uint64_t *)direct(root.root) & 0xfff, 7);
    pt_unmap(&root, GIB(4), LARGE_PAGES, &flush);
    assert_true(pt_hash(&root) == 0xcbf29ce484222325ull); /* of nothing */
    pt_pool_unreserve(&pool, pool.reserved);
    pt_flush_done(&root, &flush);
    pt_root_destroy(&root);
    pt_pool_drain(&pool);
    assert_int_equal(fake_blocks_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_ops_match_the_model),
                                       cmocka_unit_test(nested_entries)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
