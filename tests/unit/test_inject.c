/*
 * Every allocation of every operation fails once: the first, the second, ... until none is left. The call must answer as
 * documented, nothing may have changed, and the same call must then go well.
 *
 *      scenario:   set-up --> [ operation, n-th allocation fails ] --> compare all --> [ operation ] --> compare all
 */
#include "tests/unit/duel.h"

#include <stdio.h>
#include <stdlib.h>

#include "hv/mem/frames.h"
#include "hv/mem/space_root.h"
#include "hv/pci/inspect.h"
#include "tests/fake/slab.h"
#include "tests/unit/fault_kit.h"
#include "tests/unit/pci_world.h"

#define RW         HV_MMIO_WRITEABLE
#define REPLACE    HV_MMIO_REPLACE
#define BAR2_PAGES 2048u

/* Frames are commitment; everything else is memory. */
static bool allows(hv_status_t status)
{
    return status == (fault.is_frame ? HV_E_COMMITMENT_LIMIT : HV_E_NO_MEMORY);
}

static const struct duel_faults faults = {fault_arm, fault_disarm, allows};

/* ---- what must not change ---- */

struct snapshot {
    uint64_t hash, stores, flushes, tables, reserved;
    uint64_t space_hash, space_tables, space_reserved;
    uint64_t records, sections, frames, blocks, types, views;
};

static uint64_t hash_types(void)
{
    uint64_t hash = 1;

    for (unsigned i = 0; i < MODEL_OBJECTS; i++)
        for (uint32_t unit = 0; duel.model.object[i].live && unit < duel.model.object[i].units;
             unit++) {
            enum memtype memtype = MEMTYPE_UC;
            bool fixed = duel_type(i, unit, &memtype);

            hash = hash * 0x100000001b3ull + (fixed ? 1u + (unsigned)memtype : 0u);
        }
    return hash;
}

static struct snapshot snapshot(void)
{
    return (struct snapshot){
        .hash = inspect_hash(world.probe[0].device),
        .stores = world.vm.tables.stores,
        .flushes = world.vm.stats.flushes,
        .tables = world.vm.pool.used_tables,
        .reserved = world.vm.pool.reserved,
        .space_hash = pt_hash(&hv_space.root),
        .space_tables = hv_space.pool.used_tables,
        .space_reserved = hv_space.pool.reserved,
        .records = fake_slab_live(),
        .sections = section_live_count(),
        .frames = hv_frames.free_pages,
        .types = hash_types(),
        .views = view_live_count(),
    };
}

/* ---- scenarios ---- */

struct scenario {
    void (*set_up)(void);
    struct duel_op op;
    const struct pt_format *format;
    unsigned fewest; /* allocations that can fail, or the scenario tests nothing */
    unsigned shift;  /* 9: a world of 2 MiB units */
};

static bool is_config(const struct duel_op *op)
{
    return op->kind == DUEL_COMMAND || op->kind == DUEL_MOVE;
}

/* A BAR that found no memory waits; any write to a register has it try again. */
static void try_again(const struct duel_op *op)
{
    struct duel_op again = duel_decode_bars(op->device, true);

    duel_do(is_config(op) ? again : *op);
}

/* True when the n-th allocation failed. */
static bool run_once(const struct scenario *s, unsigned nth)
{
    struct duel_config config = {.name = "inject",
                                 .format = s->format ? s->format : &pt_format_ept,
                                 .watch = true,
                                 .types_every = 1};
    struct snapshot before, after;
    struct duel_op op = s->op;

    config.large_executable = true;
    config.shift = s->shift;
    duel_open(&config);
    s->set_up();
    fault.nth = nth;
    fault.asked = 0;
    fault.fired = false;
    before = snapshot();
    duel_faults = &faults;
    duel_step(&op);
    duel_faults = NULL;
    if (fault.fired && duel.gave_up) {
        after = snapshot();
        if (!is_config(&op) && !(op.kind == DUEL_BATCH && !(op.flags & HV_BATCH_ATOMIC)))
            assert_memory_equal(&after, &before, sizeof(after));
        if (op.kind != DUEL_BATCH || (op.flags & HV_BATCH_ATOMIC))
            try_again(&op);
    } else if (!is_config(&op)) {
        assert_int_equal(duel.calls_failed, 0);
    }
    duel_close();
    return fault.fired;
}

static unsigned run(struct scenario s)
{
    unsigned nth = 1;

    while (run_once(&s, nth))
        nth++;
    if (nth - 1 < s.fewest)
        fail_msg("only %u allocations, not %u", nth - 1, s.fewest);
    return nth - 1;
}

/* Likewise in both formats. */
static void run_both(struct scenario s)
{
    unsigned count;

    s.format = &pt_format_ept;
    count = run(s);
    s.format = &pt_format_npt;
    assert_int_equal(run(s), count);
}

/* ---- stages ---- */

static void stage_sections(void)
{
    duel_do(duel_section(DUEL_LARGE, 0));
    duel_do(duel_section(DUEL_RUNS, 1));
    duel_do(duel_section(DUEL_WINDOW, 2));
    duel_do(duel_section(DUEL_PLAIN, 3));
}

static void stage_live(void)
{
    stage_sections();
    duel_do(duel_decode_bars(0, true));
    duel_do(duel_decode_bars(1, true));
}

/* Three ranges with gaps, and one of large leaves. */
static void stage_ranges(void)
{
    stage_live();
    duel_do(duel_create(0, HV_BAR2, 16, 32, RW, 0, 0));
    duel_do(duel_create(0, HV_BAR2, 64, 32, RW, 1, 100));
    duel_do(duel_create(0, HV_BAR2, 128, 64, 0, 2, 7));
    duel_do(duel_create(0, HV_BAR2, 512, 1024, RW, 0, 0));
}

/* A hole in a large leaf is filled again: one leaf over three ranges. */
static void stage_joined(void)
{
    stage_live();
    duel_do(duel_create(0, HV_BAR2, 512, 512, RW, 0, 0));
    duel_do(duel_unmap(0, HV_BAR2, 600, 100));
    duel_do(duel_create(0, HV_BAR2, 600, 100, RW, 0, 88));
}

static void stage_reserved(void)
{
    stage_live();
    duel_do(duel_section(DUEL_RESERVE, 4));
    duel_do(duel_commit(4, 100, 50));
    duel_do(duel_create(0, HV_BAR2, 0, 1100, RW, 4, 0));
    duel_do(duel_create(1, HV_BAR2, 7, 600, 0, 4, 300));
    duel_do(duel_create(0, HV_BAR4, 0, 16, 0, 4, 140));
    duel_do(duel_view(4, 0, 0, 1100, HV_PAGE_READWRITE));
}

/* Ranges while nothing is decoded. */
static void stage_dormant(void)
{
    stage_sections();
    duel_do(duel_create(0, HV_BAR2, 16, 32, RW, 0, 0));
    duel_do(duel_create(0, HV_BAR2, 700, 300, RW, 1, 0));
    duel_do(duel_create(0, HV_BAR2, 1024, 512, RW, 0, 512));
}

static void stage_dormant_live(void)
{
    stage_dormant();
    duel_do(duel_decode_bars(0, true));
}

/* ---- ranges ---- */

static void test_create(void **state)
{
    (void)state;
    run_both((struct scenario){stage_live, duel_create(0, HV_BAR2, 5, 3, RW, 0, 5), .fewest = 2});
    run((struct scenario){stage_live, duel_create(0, HV_BAR2, 500, 300, RW, 1, 0), .fewest = 2});
    run((struct scenario){stage_live, duel_create(0, HV_BAR2, 0, 2048, RW, 2, 0), .fewest = 2});
    run((struct scenario){stage_live, duel_create(0, HV_BAR2, 0, 1024, RW | HV_MMIO_NO_LARGE, 3, 0),
                          .fewest = 2});
    run((struct scenario){stage_live, duel_create(0, HV_BAR2, 3, 60, HV_MMIO_MT_UC, 3, 0),
                          .fewest = 2});
    run((struct scenario){stage_sections, duel_create(0, HV_BAR2, 5, 3, RW, 0, 5), .fewest = 1});
}

/* Every way in which the new range [from, from + count) can lie over old ones. */
static void test_replace(void **state)
{
    static const uint16_t shape[][2] = {
        {16, 32},   /* exactly one */
        {10, 20},   /* its head */
        {30, 40},   /* one's tail and another's head */
        {20, 8},    /* its middle: two survivors */
        {8, 300},   /* all of three, and the gaps */
        {40, 100},  /* tail, whole, head */
        {50, 10},   /* a gap */
        {600, 100}, /* the middle of large leaves */
        {512, 512}, /* one of two large leaves */
        {700, 700}, /* parts of two */
        {0, 1024},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(shape); i++) {
        struct duel_op op =
            duel_create(0, HV_BAR2, shape[i][0], shape[i][1], RW | REPLACE, 3, shape[i][0] % 512);

        run_both((struct scenario){stage_ranges, op, .fewest = 0});
        /* The very frames that were there, with another type. */
        op = duel_create(0, HV_BAR2, shape[i][0], MIN(shape[i][1], 512), REPLACE | HV_MMIO_MT_WB, 3,
                         shape[i][0] % 512);
        run((struct scenario){stage_ranges, op, .fewest = 0});
    }
    run((struct scenario){stage_joined, duel_create(0, HV_BAR2, 650, 10, REPLACE, 3, 0),
                          .fewest = 3});
    run((struct scenario){stage_joined,
                          duel_create(0, HV_BAR2, 512, 512, REPLACE | HV_MMIO_MT_UC, 0, 0),
                          .fewest = 1});
    run((struct scenario){stage_dormant, duel_create(0, HV_BAR2, 20, 8, REPLACE, 3, 0),
                          .fewest = 3});
}

static void test_unmap(void **state)
{
    static const uint16_t shape[][2] = {{20, 8}, {600, 100}, {700, 700}, {520, 1}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(shape); i++)
        run_both((struct scenario){stage_ranges, duel_unmap(0, HV_BAR2, shape[i][0], shape[i][1]),
                                   .fewest = 1});
    /* Nothing is split: nothing is needed. */
    assert_int_equal(
        run((struct scenario){stage_ranges, duel_unmap(0, HV_BAR2, 0, 512), .fewest = 0}), 0);
    assert_int_equal(
        run((struct scenario){stage_ranges, duel_unmap(0, HV_BAR2, 0, 2048), .fewest = 0}), 0);
    run((struct scenario){stage_joined, duel_unmap(0, HV_BAR2, 630, 10), .fewest = 2});
    run((struct scenario){stage_dormant, duel_unmap(0, HV_BAR2, 800, 10), .fewest = 1});
}

/* Needs nothing at all, whatever leaves are cut. */
static void test_destroy(void **state)
{
    static const uint16_t keys[] = {512, 600, 700};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(keys); i++)
        assert_int_equal(
            run((struct scenario){stage_joined, duel_destroy(0, HV_BAR2, keys[i]), .fewest = 0}),
            0);
    assert_int_equal(
        run((struct scenario){stage_ranges, duel_destroy(0, HV_BAR2, 64), .fewest = 0}), 0);
    assert_int_equal(
        run((struct scenario){stage_dormant, duel_destroy(0, HV_BAR2, 700), .fewest = 0}), 0);
}

static struct duel_op batch_of(uint32_t flags, const struct duel_op *ops, unsigned count)
{
    struct duel_op batch = duel_batch(flags);

    for (unsigned i = 0; i < count; i++)
        duel_batch_add(&batch, &ops[i]);
    return batch;
}

static void test_batch(void **state)
{
    const struct duel_op mixed[] = {
        duel_create(0, HV_BAR2, 5, 3, RW, 3, 5),
        duel_unmap(0, HV_BAR2, 20, 8),
        duel_create(0, HV_BAR2, 600, 100, RW | REPLACE, 3, 600),
        duel_destroy(0, HV_BAR2, 64),
        duel_create(0, HV_BAR4, 0, 64, RW, 1, 0),
        duel_create(0, HV_BAR2, 22, 1, RW | REPLACE, 3, 9),
    };
    const struct duel_op over_and_over[] = {
        duel_create(0, HV_BAR2, 0, 1024, RW | REPLACE, 3, 0),
        duel_create(0, HV_BAR2, 100, 500, REPLACE, 0, 100),
        duel_unmap(0, HV_BAR2, 90, 500),
        duel_create(0, HV_BAR2, 300, 20, RW, 3, 300),
    };

    (void)state;
    for (uint32_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        run_both((struct scenario){stage_ranges, batch_of(flags, mixed, ARRAY_COUNT(mixed)),
                                   .fewest = 6});
        run((struct scenario){
            stage_ranges, batch_of(flags, over_and_over, ARRAY_COUNT(over_and_over)), .fewest = 6});
        run((struct scenario){stage_dormant,
                              batch_of(flags, over_and_over, ARRAY_COUNT(over_and_over)),
                              .fewest = 4});
    }
}

/* Leaves of 1 GiB, and what is left of them. */
static void stage_huge(void)
{
    duel_do(duel_section(0, 0)); /* 4 GiB of device memory */
    duel_do(duel_decode_bars(0, true));
    duel_do(duel_create(0, HV_BAR2, 0, 2 * HUGE_PAGES, RW, 0, 0));
}

static void stage_huge_joined(void)
{
    stage_huge();
    duel_do(duel_unmap(0, HV_BAR2, 1024, 512));
    duel_do(duel_create(0, HV_BAR2, 1024, 512, RW, 0, 1024));
}

static void test_huge(void **state)
{
    const struct duel_op ops[] = {
        duel_unmap(0, HV_BAR2, 512, 512),
        duel_unmap(0, HV_BAR2, HUGE_PAGES - 512, 1024),
        duel_create(0, HV_BAR2, 2048, 512, REPLACE, 0, 4096),
        duel_create(0, HV_BAR2, HUGE_PAGES - 512, 1024, REPLACE | HV_MMIO_NO_LARGE, 0, 0),
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(ops); i++) {
        run((struct scenario){stage_huge, ops[i], .fewest = 2, .shift = 9});
        run((struct scenario){stage_huge_joined, ops[i], .fewest = 2, .shift = 9});
    }
    assert_int_equal(run((struct scenario){stage_huge_joined, duel_destroy(0, HV_BAR2, 1024),
                                           .fewest = 0, .shift = 9}),
                     0);
}

/* ---- BARs ---- */

static void test_bar_enable(void **state)
{
    (void)state;
    run_both((struct scenario){stage_dormant, duel_decode_bars(0, true), .fewest = 1});
}

static void test_bar_move(void **state)
{
    (void)state;
    run_both((struct scenario){stage_dormant_live, duel_move(0, HV_BAR2, GIB(64ull)), .fewest = 1});
}

/* ---- sections ---- */

static void stage_nothing(void)
{
}

static void test_section_create(void **state)
{
    (void)state;
    for (unsigned t = DUEL_LARGE; t <= DUEL_RESERVE_FEW; t++)
        run((struct scenario){stage_nothing, duel_section(t, 0), .fewest = 1});
}

static void test_section_open(void **state)
{
    struct duel_op op = {.kind = DUEL_OPEN, .object = 0, .handle = 9, .access = 4};

    (void)state;
    run((struct scenario){stage_sections, op, .fewest = 0}); /* a page of handles is there */
}

static void test_commit(void **state)
{
    (void)state;
    run_both((struct scenario){stage_reserved, duel_commit(4, 0, 1100), .fewest = 6});
    run((struct scenario){stage_reserved, duel_commit(4, 310, 3), .fewest = 5});
    run((struct scenario){stage_reserved, duel_commit(4, 90, 70), .fewest = 5});
}

/* ---- views ---- */

static void test_view(void **state)
{
    struct duel_op op = duel_view(3, 1, 0, 1024, HV_PAGE_READWRITE);

    (void)state;
    run((struct scenario){stage_sections, op, .fewest = 2});
    op = duel_view(1, 1, 10, 250, HV_PAGE_READONLY | HV_PAGE_NOCACHE);
    run((struct scenario){stage_sections, op, .fewest = 2});
    op = duel_view(4, 1, 0, 1100, HV_PAGE_READONLY);
    run((struct scenario){stage_reserved, op, .fewest = 2});
    op.bytes = 600 * PAGE_BYTES; /* to be committed by the call */
    run((struct scenario){stage_reserved, op, .fewest = 6});
}

static void test_io_space(void **state)
{
    (void)state;
    run((struct scenario){stage_sections, duel_io(1, 3, 600, HV_PAGE_READWRITE | HV_PAGE_NOCACHE),
                          .fewest = 2});
}

/* ---- apertures: no model, so in a loop of their own ---- */

#define GUEST_RAM MIB(420) /* fake memory that is neither the frame allocator's nor a module's */

static void test_aperture(void **state)
{
    static const struct duel_config config = {.name = "aperture", .format = &pt_format_ept};
    struct hv_device *device;
    void *va;

    (void)state;
    duel_open(&config);
    device = world.probe[0].device;
    world.vm.ram[0].host = direct(HPA(GUEST_RAM));
    for (fault.nth = 1;; fault.nth++) {
        struct snapshot before = snapshot(), after;
        hv_status_t status;

        va = device;
        fault.asked = 0;
        fault.fired = false;
        fault_arm();
        status = hv_guest_aperture_create(device, GPA(0x123456), MIB(3), fault.nth & 1, &va);
        fault_disarm();
        if (status == HV_OK)
            break;
        assert_true(fault.fired);
        assert_int_equal(status, HV_E_NO_MEMORY);
        assert_ptr_equal(va, device);
        after = snapshot();
        assert_memory_equal(&after, &before, sizeof(after));
    }
    assert_false(fault.fired);
    assert_true(fault.nth > 2);
    assert_int_equal((uintptr_t)va % PAGE_BYTES, 0x456);
    assert_int_equal(hv_guest_aperture_destroy(device, va), HV_OK);
    duel_close();
}

static int on_end(void **state)
{
    (void)state;
    duel_faults = NULL;
    duel_print();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, on_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),   TEST(test_replace),        TEST(test_unmap),
        TEST(test_destroy),  TEST(test_batch),          TEST(test_bar_enable),
        TEST(test_bar_move), TEST(test_section_create), TEST(test_section_open),
        TEST(test_commit),   TEST(test_view),           TEST(test_io_space),
        TEST(test_huge),     TEST(test_aperture),
    };

    cmocka_set_test_filter(getenv("MODEL_TEST"));
    return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}
