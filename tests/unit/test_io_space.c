#include "tests/unit/view_kit.h"

#include "hv/base/lock.h"
#include "hv/x86/mtrr.h"
#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"
#include "tests/fake/space.h"
#include "tests/fake/window.h"

#define RW HV_PAGE_READWRITE
#define UC HV_PAGE_NOCACHE
#define WC HV_PAGE_WRITECOMBINE

static hv_status_t io_try(uint64_t phys, uint64_t bytes, uint32_t protect, uint64_t *address)
{
    void *va = (void *)5;
    hv_status_t status = hv_io_space_map(HPA(phys), bytes, protect, &va);

    if (status != HV_OK)
        assert_int_equal((uintptr_t)va, 5);
    *address = (uint64_t)(uintptr_t)va;
    return status;
}

static uint64_t io(uint64_t phys, uint64_t bytes, uint32_t protect)
{
    uint64_t address;
    hv_status_t status = io_try(phys, bytes, protect, &address);

    if (status != HV_OK)
        print_error("%s\n", hv_status_name(status));
    assert_int_equal(status, HV_OK);
    return address;
}

static hv_status_t io_unmap_try(uint64_t address, uint64_t bytes)
{
    return hv_io_space_unmap((void *)(uintptr_t)address, bytes);
}

static void io_unmap(uint64_t address, uint64_t bytes)
{
    assert_int_equal(io_unmap_try(address, bytes), HV_OK);
}

/* ---- the checks ---- */

struct bad_io {
    hv_status_t want;
    uint64_t phys, bytes;
    uint32_t protect;
};

static void map_checks_in_order(void **state)
{
    const uint64_t last = CPU_LIMIT - PAGE_BYTES;
    const uint32_t both = RW | UC | WC;
    const struct bad_io bad[] = {
        {HV_E_INVALID_PARAMETER_2, DEVICE, 0, RW},
        {HV_E_INVALID_PARAMETER_1, CPU_LIMIT, 1, RW},
        {HV_E_INVALID_PARAMETER_1, last + 1, PAGE_BYTES, RW},
        {HV_E_INVALID_PARAMETER_1, DEVICE, ~0ull, RW},
        {HV_E_INVALID_PARAMETER_1, ~0ull, 2, RW},
        {HV_E_INVALID_PARAMETER_1, 1, ~0ull, RW},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, 0},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, UC},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, HV_PAGE_NOACCESS},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, HV_PAGE_WRITECOPY},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, HV_PAGE_EXECUTE_WRITECOPY},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, RW | HV_PAGE_READONLY},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, RW | 0x800},
        {HV_E_INVALID_PROTECTION, DEVICE, 1, both},
        {HV_E_NOT_SUPPORTED, DEVICE, 1, HV_PAGE_EXECUTE_READWRITE},
        {HV_E_ACCESS_DENIED, RAM_BASE, 1, RW},
        {HV_E_ACCESS_DENIED, RAM_BASE - 1, 2, RW},
        {HV_E_ACCESS_DENIED, RAM_BASE + RAM_PAGES * PAGE_BYTES - 1, 1, RW},
        {HV_E_ACCESS_DENIED, MODULE_BASE + MODULE_BYTES, 1, RW},
        {HV_E_ACCESS_DENIED, DEVICE + MIB(64), 1, RW},
        {HV_E_CACHE_CONFLICT, DEVICE, 1, RW | WC},
        {HV_E_CACHE_CONFLICT, DEVICE - 1, 2, RW | WC},
        /* Each line is the one before with one fault repaired. */
        {HV_E_INVALID_PARAMETER_2, ~0ull, 0, both},
        {HV_E_INVALID_PARAMETER_1, ~0ull, 2, both},
        {HV_E_INVALID_PROTECTION, RAM_BASE, 2, both},
        {HV_E_NOT_SUPPORTED, RAM_BASE, 2, HV_PAGE_EXECUTE_READWRITE},
        {HV_E_ACCESS_DENIED, RAM_BASE, GIB(2), RW | WC}, /* reaches to DEVICE, too */
        {HV_E_CACHE_CONFLICT, DEVICE, 2, RW | WC},
    };
    uint64_t there = io(DEVICE, 1, RW | UC), address;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        struct view_state before = view_state();
        hv_status_t got = io_try(bad[i].phys, bad[i].bytes, bad[i].protect, &address);

        if (got != bad[i].want)
            print_error("line %u: %s\n", i, hv_status_name(got));
        assert_int_equal(got, bad[i].want);
        assert_same(before);
    }
    assert_int_equal(hv_io_space_map(HPA(DEVICE), 1, RW | WC, NULL), HV_E_CACHE_CONFLICT);
    assert_int_equal(hv_io_space_map(HPA(DEVICE), 1, RW | UC, NULL), HV_E_INVALID_PARAMETER_4);
    address = io(last + 1, PAGE_BYTES - 1, RW);
    io_unmap(address, 1);
    io_unmap(there, 1);
}

/* ---- what is mapped ---- */

static void offset_and_pages_are_those_of_the_bytes(void **state)
{
    const struct {
        uint64_t phys, bytes, pages;
    } cases[] = {
        {DEVICE, 1, 1},
        {DEVICE, PAGE_BYTES, 1},
        {DEVICE, PAGE_BYTES + 1, 2},
        {DEVICE + 0xa10, 4, 1},
        {DEVICE + 0xffd, 4, 2},
        {DEVICE + 0xfff, 1, 1},
        {DEVICE + 0xfff, PAGE_BYTES + 1, 2},
        {DEVICE + 0xfff, PAGE_BYTES + 2, 3},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t va = io(cases[i].phys, cases[i].bytes, RW);
        uint64_t base = ALIGN_DOWN(va, PAGE_BYTES);

        assert_int_equal(va % PAGE_BYTES, cases[i].phys % PAGE_BYTES);
        for (uint64_t page = 0; page < cases[i].pages; page++)
            assert_int_equal(leaf_at(base + page * PAGE_BYTES).frame.v,
                             ALIGN_DOWN(cases[i].phys, PAGE_BYTES) + page * PAGE_BYTES);
        assert_false(is_mapped(base + cases[i].pages * PAGE_BYTES));
        assert_true(fake_space_touch(va));
        io_unmap(va, cases[i].bytes);
        assert_false(fake_space_touch(va));
    }
}

static void rights_follow_the_protection(void **state)
{
    const struct {
        uint32_t protect;
        uint8_t rights;
        enum memtype memtype;
    } cases[] = {
        {HV_PAGE_READONLY, PT_R, MEMTYPE_UC},
        {HV_PAGE_READWRITE, PT_R | PT_W, MEMTYPE_UC},
        {HV_PAGE_EXECUTE, PT_R | PT_X, MEMTYPE_UC},
        {HV_PAGE_EXECUTE_READ, PT_R | PT_X, MEMTYPE_UC},
        {HV_PAGE_READONLY | UC, PT_R, MEMTYPE_UC},
        {HV_PAGE_READWRITE | WC, PT_R | PT_W, MEMTYPE_WC},
        {HV_PAGE_EXECUTE_READ | WC, PT_R | PT_X, MEMTYPE_WC},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t va = io(DEVICE, 8, cases[i].protect);
        struct pt_leaf leaf = leaf_at(va);

        assert_int_equal(leaf.attr.rights, cases[i].rights);
        assert_int_equal(leaf.attr.memtype, cases[i].memtype);
        io_unmap(va, 8);
    }
}

static void large_runs_get_large_leaves(void **state)
{
    uint64_t va = io(DEVICE, MIB(16), RW | WC);

    (void)state;
    assert_int_equal(hv_space.root.leaves[2], 8);
    assert_int_equal(hv_space.root.leaves[1], 0);
    io_unmap(va, MIB(16));
}

static void registers_are_for_io_space_alone(void **state)
{
    hv_handle_t h;
    uint64_t va = io(REGISTERS + 0x20, 4, RW | UC);

    (void)state;
    assert_int_equal(create_backed(&h, 0, 0, physical(REGISTERS, PAGE_BYTES)), HV_E_ACCESS_DENIED);
    io_unmap(va, 4);
}

/* ---- types ---- */

static void without_a_modifier_the_mtrrs_decide(void **state)
{
    const struct {
        uint64_t phys, bytes;
        enum memtype want;
    } cases[] = {
        {FIRMWARE, 1, MEMTYPE_WB},
        {FIRMWARE, FIRMWARE_BYTES, MEMTYPE_WB},
        {FIRMWARE - 1, 1, MEMTYPE_UC},
        {FIRMWARE - 1, 2, MEMTYPE_UC},
        {FIRMWARE + FIRMWARE_BYTES - 1, 1, MEMTYPE_WB},
        {FIRMWARE + FIRMWARE_BYTES - 1, 2, MEMTYPE_UC},
        {FIRMWARE + MIB(1), FIRMWARE_BYTES, MEMTYPE_UC},
        {0x9fc00, 0x400, MEMTYPE_WB},
        {DEVICE, 1, MEMTYPE_UC},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t va = io(cases[i].phys, cases[i].bytes, HV_PAGE_READONLY);

        assert_int_equal(leaf_at(va).attr.memtype, cases[i].want);
        io_unmap(va, cases[i].bytes);
    }
}

static void same_types_coexist_and_others_conflict(void **state)
{
    uint64_t one = io(DEVICE + 0xa10, 4, RW | UC), two, other;

    (void)state;
    assert_int_equal(io_try(DEVICE, 4, RW | WC, &other), HV_E_CACHE_CONFLICT);
    two = io(DEVICE + 0x10, 4, HV_PAGE_READONLY | UC);
    assert_int_not_equal(ALIGN_DOWN(one, PAGE_BYTES), ALIGN_DOWN(two, PAGE_BYTES));
    io_unmap(one, 4);
    assert_true(is_mapped(two));
    assert_int_equal(io_try(DEVICE, 4, RW | WC, &other), HV_E_CACHE_CONFLICT);
    io_unmap(two, 4);
    other = io(DEVICE, 4, RW | WC); /* forgotten with the last */
    assert_int_equal(io_try(DEVICE, 4, RW, &one), HV_E_CACHE_CONFLICT); /* by itself: UC */
    io_unmap(other, 4);
}

static void sections_over_the_same_frames_share_the_type(void **state)
{
    hv_handle_t section;
    struct map_call view, wc;
    uint64_t va, other;

    (void)state;
    assert_int_equal(create_backed(&section, 0, 0, physical(DEVICE, MIB(1))), HV_OK);
    view = wc = whole(section);
    wc.protect |= WC;
    va = io(DEVICE + PAGE_BYTES, 4, RW | WC);
    assert_int_equal(map_try(&view), HV_OK); /* an open wish: the type in force */
    assert_int_equal(leaf_at(view.base).attr.memtype, MEMTYPE_WC);
    io_unmap(va, 4);
    assert_int_equal(io_try(DEVICE, 4, RW, &other), HV_E_CACHE_CONFLICT);
    unmap_ok(view.base);
    va = io(DEVICE + PAGE_BYTES, 4, RW);
    assert_int_equal(map_try(&wc), HV_E_CACHE_CONFLICT);
    io_unmap(va, 4);
    close_handle(section);
}

static void lines_of_ram_are_dropped_before_it_becomes_uncached(void **state)
{
    uint64_t before = fake_window.flushed_pages;
    uint64_t wb = io(FIRMWARE, MIB(1), RW), uc, wide;

    (void)state;
    assert_int_equal(fake_window.flushed_pages, before);
    io_unmap(wb, MIB(1));
    uc = io(FIRMWARE + MIB(1), 3 * PAGE_BYTES, RW | UC);
    assert_int_equal(fake_window.flushed_pages, before + 3);
    assert_true(fake_window_is_flushed(HPA(FIRMWARE + MIB(1))));
    assert_false(fake_window_is_flushed(HPA(FIRMWARE)));
    wide = io(FIRMWARE + MIB(1) - PAGE_BYTES, 5 * PAGE_BYTES, RW | UC); /* its two ends */
    assert_int_equal(fake_window.flushed_pages, before + 5);
    io_unmap(uc, 3 * PAGE_BYTES);
    io_unmap(wide, 5 * PAGE_BYTES);
    uc = io(DEVICE, MIB(1), RW | WC); /* has no lines */
    assert_int_equal(fake_window.flushed_pages, before + 5);
    io_unmap(uc, MIB(1));
}

/* ---- unmap ---- */

static void unmap_wants_the_address_and_the_pages(void **state)
{
    uint64_t va = io(DEVICE + 0xa10, 2 * PAGE_BYTES, RW); /* three pages */
    uint64_t base = ALIGN_DOWN(va, PAGE_BYTES);
    hv_handle_t section = make(MIB(1), 0);
    struct map_call view = whole(section);
    void *ram;

    (void)state;
    map_ok(&view);
    assert_int_equal(view_map_ram(HPA(RAM_BASE), 1, false, &ram), HV_OK);
    assert_int_equal(io_unmap_try(base, 2 * PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try(va + 1, 2 * PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try(base + PAGE_BYTES, PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try(0, 1), HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try(view.base, MIB(1)), HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try((uintptr_t)ram, PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, (void *)(uintptr_t)va),
                     HV_E_NOT_MAPPED);
    assert_int_equal(io_unmap_try(va, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(io_unmap_try(va, PAGE_BYTES), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(io_unmap_try(va, 3 * PAGE_BYTES), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(io_unmap_try(va, ~0ull), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(io_unmap_try(va, ~0ull - 0xa0f), HV_E_INVALID_PARAMETER_2); /* would wrap */
    assert_true(is_mapped(va));
    io_unmap(va, 2 * PAGE_BYTES - 0xa10 + PAGE_BYTES); /* other bytes, as many pages */
    assert_int_equal(io_unmap_try(va, 2 * PAGE_BYTES), HV_E_NOT_MAPPED);
    unmap_ok(view.base);
    assert_int_equal(view_unmap_ram(ram), HV_OK);
    close_handle(section);
}

/* ---- guest RAM ---- */

static void ram_is_mapped_write_back_and_exactly(void **state)
{
    void *rw, *ro;

    (void)state;
    assert_int_equal(view_map_ram(HPA(RAM_BASE + MIB(2)), 3, false, &rw), HV_OK);
    assert_int_equal(view_map_ram(HPA(RAM_BASE + MIB(2)), 512, true, &ro), HV_OK);
    assert_int_equal(leaf_at((uintptr_t)rw).attr.memtype, MEMTYPE_WB);
    assert_int_equal(leaf_at((uintptr_t)rw).attr.rights, PT_R | PT_W);
    assert_int_equal(leaf_at((uintptr_t)ro).attr.rights, PT_R);
    assert_int_equal(leaf_at((uintptr_t)ro).level, 2);
    assert_int_equal(leaf_at((uintptr_t)ro + PAGE_BYTES).frame.v, RAM_BASE + MIB(2) + PAGE_BYTES);
    assert_int_equal(view_unmap_ram((char *)rw + PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(view_unmap_ram((char *)rw + 1), HV_E_NOT_MAPPED);
    assert_int_equal(view_unmap_ram(NULL), HV_E_NOT_MAPPED);
    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, rw), HV_E_NOT_MAPPED);
    assert_int_equal(view_unmap_ram(rw), HV_OK);
    assert_int_equal(view_unmap_ram(rw), HV_E_NOT_MAPPED);
    assert_true(is_mapped((uintptr_t)ro));
    assert_int_equal(view_unmap_ram(ro), HV_OK);
}

/* ---- failure ---- */

static hv_status_t try_io(bool unmap)
{
    static uint64_t address;

    if (unmap)
        return io_unmap_try(address, MIB(32));
    return io_try(DEVICE + PAGE_BYTES, MIB(32), RW | WC, &address); /* 4 KiB leaves */
}

static hv_status_t try_ram(bool unmap)
{
    static void *va;

    if (unmap)
        return view_unmap_ram(va);
    return view_map_ram(HPA(RAM_BASE + PAGE_BYTES), MIB(32) / PAGE_BYTES, true, &va);
}

static void fail_each(void (*make_fail)(unsigned nth), hv_status_t (*try)(bool unmap))
{
    hv_status_t status = HV_E_NO_MEMORY;
    unsigned nth;

    for (nth = 1; status != HV_OK; nth++) {
        struct view_state before = view_state();

        make_fail(nth);
        status = try(false);
        make_fail(0);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_NO_MEMORY);
        view_trim();
        assert_same(before);
    }
    assert_true(nth > 1);
    assert_int_equal(try(true), HV_OK);
    view_trim();
}

static void a_failing_allocation_changes_nothing(void **state)
{
    (void)state;
    fail_each(fake_slab_fail, try_io);
    fail_each(fake_blocks_fail, try_io);
    fail_each(fake_slab_fail, try_ram);
    fail_each(fake_blocks_fail, try_ram);
}

static void more_than_the_area_is_no_memory(void **state)
{
    uint64_t address;

    (void)state;
    section_set_physical_limit(1ull << 52);
    assert_int_equal(io_try(1ull << 45, VIEW_BYTES + 1, RW | UC, &address), HV_E_NO_MEMORY);
    section_set_physical_limit(CPU_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(map_checks_in_order),
        VIEW_TEST(offset_and_pages_are_those_of_the_bytes),
        VIEW_TEST(rights_follow_the_protection),
        VIEW_TEST(large_runs_get_large_leaves),
        VIEW_TEST(registers_are_for_io_space_alone),
        VIEW_TEST(without_a_modifier_the_mtrrs_decide),
        VIEW_TEST(same_types_coexist_and_others_conflict),
        VIEW_TEST(sections_over_the_same_frames_share_the_type),
        VIEW_TEST(lines_of_ram_are_dropped_before_it_becomes_uncached),
        VIEW_TEST(unmap_wants_the_address_and_the_pages),
        VIEW_TEST(ram_is_mapped_write_back_and_exactly),
        VIEW_TEST(a_failing_allocation_changes_nothing),
        VIEW_TEST(more_than_the_area_is_no_memory),
    };

    return cmocka_run_group_tests(tests, view_kit_group, NULL);
}
