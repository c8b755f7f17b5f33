/*
 * Random maps, unmaps and joins against a flat model, every intermediate state watched.
 *
 * PT_RANDOM_OPS=n     that many operations in all, instead of some ten thousand
 * PT_RANDOM_SEED=n    other ones; a failure says which seed it was
 */
#include "tests/fake/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

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
    bool keep; /* unmap keeps tables */
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

/* ---- the seed ---- */

static uint64_t seed = 1;
static uint64_t ops_wanted; /* 0: each plan's own number */
static bool finished;

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static int setup(void **state)
{
    (void)state;
    seed = number_of("PT_RANDOM_SEED", 1);
    ops_wanted = number_of("PT_RANDOM_OPS", 0);
    watch_seed(seed);
    finished = false;
    return 0;
}

static void tell_seed(void)
{
    if (!finished)
        fprintf(stderr, "again: PT_RANDOM_SEED=%llu PT_RANDOM_OPS=%llu\n", (unsigned long long)seed,
                (unsigned long long)ops_wanted);
}

static int teardown(void **state)
{
    (void)state;
    tell_seed();
    watch_stop();
    return 0;
}

/* A failed ASSERT aborts the program. */
static void on_abort(int signal)
{
    (void)signal;
    tell_seed();
}

/* ---- one operation ---- */

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

static void do_map(struct pt_root *root, uint64_t addr, const struct op *op, struct pt_flush *flush)
{
    hpa_t frame = op->frame;
    uint64_t left = op->pages, done;

    if (watch_random() % 2 == 0) {
        pt_map(root, addr, frame, left, &op->attr, flush);
        return;
    }
    for (; left != 0; left -= done) {
        uint64_t stores = root->stores;

        done = pt_map_step(root, addr, frame, left, &op->attr, flush);
        assert_true(done >= 1 && done <= left && root->stores - stores <= 512 + PT_LEVELS - 1);
        addr += done * PAGE_BYTES;
        frame.v += done * PAGE_BYTES;
    }
}

static void do_unmap(struct pt_root *root, uint64_t addr, uint64_t left, bool keep,
                     struct pt_flush *flush)
{
    uint64_t done;

    if (keep) {
        pt_unmap_keep(root, addr, left, flush);
    } else if (watch_random() % 2 == 0) {
        pt_unmap(root, addr, left, flush);
    } else {
        for (; left != 0; left -= done, addr += done * PAGE_BYTES) {
            uint64_t stores = root->stores;

            done = pt_unmap_step(root, addr, left, flush);
            assert_true(done >= 1 && done <= left && root->stores - stores <= 512 + PT_LEVELS);
        }
    }
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
        do_map(root, addr, op, flush);
    } else {
        watch_unmap(op->addr, op->pages);
        do_unmap(root, addr, op->pages, plan->keep, flush);
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

/* ---- joins ---- */

/* By the walk alone: 512 leaves of the level below, contiguous and alike, from a frame where a large one may start. */
static bool could_be_one(const struct pt_root *root, uint64_t addr, unsigned level)
{
    uint64_t base = ALIGN_DOWN(addr, pt_span(level)), key = watch_walk(root, base);

    if (key == 0 || level > root->max_level || ((key & ~PAGE_MASK) & (pt_span(level) - 1)) != 0)
        return false;
    for (uint64_t at = 0; at < pt_span(level); at += pt_span(level - 1)) {
        struct pt_leaf leaf;

        if (watch_walk(root, base + at) != key + at)
            return false;
        if (!pt_lookup(root, base + at, &leaf) || leaf.level != level - 1)
            return false;
    }
    return true;
}

/* Around both ends of an operation: [level][0] where it starts, [level][1] where it ends. */
struct ends {
    bool joinable[PT_LEVELS][2];
};

static uint64_t end_of(const struct op *op, unsigned end)
{
    return end == 0 ? op->addr : op->addr + (op->pages - 1) * PAGE_BYTES;
}

static struct ends look_at_ends(const struct pt_root *root, const struct plan *plan,
                                const struct op *op)
{
    struct ends ends;

    for (unsigned level = 2; level < PT_LEVELS; level++) {
        for (unsigned i = 0; i < 2; i++)
            ends.joinable[level][i] = pt_joinable(root, end_of(op, i) | plan->canon, level);
    }
    return ends;
}

/*
 * Is it joinable where the operation ended, is that the truth, and was it said? `filled` may be set where nothing is
 * joinable, but must be where something became so by an operation on a part.
 */
static bool try_join(struct pt_root *root, const struct plan *plan, const struct op *op,
                     const struct ends *before, unsigned level, unsigned end,
                     struct pt_flush *flush)
{
    uint64_t addr = end_of(op, end), base = ALIGN_DOWN(addr, pt_span(level));
    bool part = base < op->addr || base + pt_span(level) > op->addr + op->pages * PAGE_BYTES;
    bool joinable = pt_joinable(root, addr | plan->canon, level);

    assert_int_equal(joinable, could_be_one(root, addr, level));
    if (!joinable)
        return false;
    assert_true(flush->filled || !part || before->joinable[level][end]);
    if (watch_random() % 4 == 0)
        return false;
    pt_join(root, addr | plan->canon, level, flush);
    watch_done(flush);
    assert_false(pt_joinable(root, addr | plan->canon, level));
    flush->filled = true; /* this may have made the table above joinable */
    return true;
}

static unsigned try_joins(struct pt_root *root, const struct plan *plan, const struct op *op,
                          const struct ends *before, struct pt_flush *flush)
{
    unsigned joins = 0;

    for (unsigned level = 2; level < PT_LEVELS; level++)
        joins += try_join(root, plan, op, before, level, 0, flush) +
                 (unsigned)try_join(root, plan, op, before, level, 1, flush);
    return joins;
}

/* ---- many of them ---- */

static void flush_now(struct pt_root *root, struct pt_flush *flush)
{
    switch (watch_random() % 3) {
    case 0:
        pt_flush_done(root, flush);
        break;
    case 1:
        pt_flush_clean(flush);
        while (pt_flush_done_step(root, flush, 3))
            ;
        break;
    default:
        while (pt_flush_done_step(root, flush, 1 + watch_random() % 8))
            ;
    }
    assert_false(flush->needed);
    watch_flushed();
}

/* Everything is unmapped again: not a table is missing. */
static void end_plan(struct pt_root *root, const struct plan *plan, struct pt_flush *flush)
{
    const uint64_t pages = WATCH_UNITS * plan->unit / PAGE_BYTES;
    struct pt_pool *pool = root->pool;

    watch_hardware(0);
    watch_unmap(plan->base, pages);
    pt_unmap(root, plan->base | plan->canon, pages, flush);
    watch_done(flush);
    flush_now(root, flush);
    for (unsigned level = 1; level < PT_LEVELS; level++)
        assert_int_equal(root->leaves[level], 0);
    assert_int_equal(pool->used_tables, 1);
    watch_stop();
    pt_root_destroy(root);
    assert_int_equal(pool->used_tables, 0);
    assert_true(pool->blocks <= 1);
    pt_pool_drain(pool);
    assert_int_equal(pool->blocks, 0);
    assert_int_equal(pool->free_tables, 0);
    assert_int_equal(fake_blocks_live(), 0);
}

static unsigned run_plan(const struct plan *plan, uint64_t ops)
{
    struct pt_pool pool = {0};
    struct pt_root root;
    struct pt_flush flush = {0};
    unsigned joins = 0;

    assert_int_equal(pt_root_create(&root, plan->fmt, &pool, plan->max_level), HV_OK);
    watch_start(&root, plan->base, plan->unit, WATCH_UNITS);
    for (uint64_t i = 0; i < ops; i++) {
        struct op op = random_op(plan);
        struct ends before = look_at_ends(&root, plan, &op);

        watch_hardware(i % 16 == 0 ? 20 : 0);
        flush.filled = false;
        run_op(&root, plan, &op, &flush);
        check_lookup(&root, plan);
        if (flush.filled || i % 8 == 0)
            joins += try_joins(&root, plan, &op, &before, &flush);
        if (watch_random() % 3 != 0)
            flush_now(&root, &flush);
    }
    end_plan(&root, plan, &flush);
    return joins;
}

static void random_ops_match_the_model(void **state)
{
    const uint64_t each = ops_wanted / ARRAY_COUNT(plans);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(plans); i++) {
        unsigned joins = run_plan(&plans[i], each != 0 ? each : plans[i].ops);

        assert_true(joins > 0 || each != 0);
    }
    finished = true;
}

/* ---- without a watch, as fast as they go ---- */

#define LEAK_BASE  (GIB(512) - MIB(8))
#define LEAK_PAGES 4096u

static void change_at_random(struct pt_root *root, struct pt_flush *flush)
{
    uint64_t r = watch_random(), page = (r >> 8) % LEAK_PAGES;
    uint64_t pages = (r >> 32) % 8 == 0 ? 1 + (r >> 40) % 1024 : 1 + (r >> 40) % 4;
    uint64_t addr = LEAK_BASE + page * PAGE_BYTES;
    hpa_t frame = HPA(GIB(8) + page * PAGE_BYTES);
    struct pt_attr attr = {rights[1 + r % 2 * 2], MEMTYPE_WB, false, 3};
    struct pt_pool *pool = root->pool;

    pages = MIN(pages, LEAK_PAGES - page);
    if (r % 5 < 3) {
        assert_int_equal(pt_pool_reserve(pool, pt_tables_needed(root, addr, frame, pages, 3)),
                         HV_OK);
        pt_map(root, addr, frame, pages, &attr, flush);
    } else {
        assert_int_equal(pt_pool_reserve(pool, pt_tables_needed_unmap(root, addr, pages)), HV_OK);
        pt_unmap(root, addr, pages, flush);
    }
    pt_pool_unreserve(pool, pool->reserved);
    if (flush->filled && pt_joinable(root, addr, 2))
        pt_join(root, addr, 2, flush);
    flush->filled = false;
    if (r % 3 != 0)
        pt_flush_done(root, flush);
}

static void no_leak_over_a_million_operations(void **state)
{
    const uint64_t ops = MAX(ops_wanted, 1000000u);
    struct pt_pool pool = {0};
    struct pt_root root;
    struct pt_flush flush = {0};
    uint64_t most = 0;

    (void)state;
    assert_int_equal(pt_root_create(&root, &pt_format_ept, &pool, 3), HV_OK);
    for (uint64_t i = 0; i < ops; i++) {
        change_at_random(&root, &flush);
        most = MAX(most, pool.blocks);
        if (i % 100000 != 0)
            continue;
        pt_unmap(&root, LEAK_BASE, LEAK_PAGES, &flush);
        pt_flush_done(&root, &flush);
        assert_int_equal(pool.used_tables, 1);
        assert_int_equal(root.leaves[1] + root.leaves[2] + root.leaves[3], 0);
        assert_true(pool.blocks <= 2 && fake_blocks_live() == pool.blocks);
    }
    assert_true(most < 16);
    pt_flush_done(&root, &flush);
    pt_root_destroy(&root);
    assert_int_equal(pool.used_tables, 0);
    pt_pool_drain(&pool);
    assert_int_equal(fake_blocks_live(), 0);
    finished = true;
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
    finished = true;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(random_ops_match_the_model),
        CASE(no_leak_over_a_million_operations),
        CASE(nested_entries),
    };

    signal(SIGABRT, on_abort);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
