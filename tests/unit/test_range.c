/* hv/pci/range.c: every status, what a failure leaves alone, and what a guest sees behind a BAR. */
#include "tests/unit/pci_world.h"

#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"
#include "hv/pci/inspect.h"
#include "hv/pci/range.h"
#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"
#include "tests/fake/window.h"

#define RW           HV_MMIO_WRITEABLE
#define ALL_RIGHTS   HV_PAGE_EXECUTE_READWRITE
#define BAR2_PAGES   (MIB(8) / PAGE_BYTES)
#define WINDOW_BASE  HPA(GIB(32ull))
#define ROM_BYTES    KIB(64)
#define NOT_A_DEVICE ((struct hv_device *)(uintptr_t)0x1000)

static struct probe *const probe = &world.probe[0];

static hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                          uint64_t section_page)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, flags, section, section_page);
}

static hv_status_t destroy(uint64_t page)
{
    return hv_mmio_range_destroy(probe->device, HV_BAR2, page);
}

static uint64_t gpa_of(uint64_t page, uint64_t offset)
{
    return bar_base(probe, HV_BAR2) + page * PAGE_BYTES + offset;
}

static bool is_direct(uint64_t page)
{
    fake_vm_read(&world.vm, gpa_of(page, 0), 8);
    return fake_vm_way == FAKE_DIRECT;
}

static struct hv_mmio_range_info query(uint64_t page)
{
    struct hv_mmio_range_info info;

    assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, page, &info), HV_OK);
    return info;
}

/* ---- statuses, in the order of the checks ---- */

static void check_statuses(hv_handle_t section, hv_handle_t other)
{
    hv_handle_t event, readable, closed;
    struct world_state before;

    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &event), HV_OK);
    assert_int_equal(hv_section_create(&readable, HV_SECTION_MAP_READ, NULL, PAGE_BYTES,
                                       HV_PAGE_READONLY, HV_SEC_COMMIT, NULL),
                     HV_OK);
    assert_int_equal(hv_section_create(&closed, HV_SECTION_MAP_READ, NULL, PAGE_BYTES,
                                       HV_PAGE_READONLY, HV_SEC_COMMIT, NULL),
                     HV_OK);
    assert_int_equal(hv_handle_close(closed), HV_OK);
    before = world_state();

    struct {
        hv_status_t status;
        struct hv_device *device;
        enum hv_bar bar;
        uint64_t page, pages;
        uint32_t flags;
        hv_handle_t section;
        uint64_t section_page;
    } const cases[] = {
        /* Each case is wrong in its own check and in later ones, so the order shows too. */
        {HV_E_INVALID_HANDLE, NULL, HV_BAR_COUNT, 0, 0, ~0u, 0, 0},
        {HV_E_INVALID_HANDLE, NOT_A_DEVICE, HV_BAR_COUNT, 0, 0, ~0u, 0, 0},
        {HV_E_INVALID_PARAMETER_2, probe->device, HV_BAR_COUNT, 0, 0, ~0u, 0, 0},
        {HV_E_INVALID_PARAMETER_2, probe->device, (enum hv_bar)0x7fffffff, 0, 1, 0, section, 0},
        {HV_E_NO_SUCH_BAR, probe->device, HV_BAR1, 0, 0, ~0u, 0, 0},
        {HV_E_NO_SUCH_BAR, probe->device, HV_BAR3, 0, 0, ~0u, 0, 0}, /* upper half */
        {HV_E_NO_SUCH_BAR, probe->device, HV_BAR5, 0, 0, ~0u, 0, 0}, /* I/O */
        {HV_E_INVALID_PARAMETER_4, probe->device, HV_BAR2, 0, 0, ~0u, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR2, BAR2_PAGES, 1, 0x4, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR2, BAR2_PAGES, 1, 0x80000000u, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR2, BAR2_PAGES, 1, 0x60, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR2, BAR2_PAGES, 1, 0xf0, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR_ROM, 99, 1, RW, 0, 0},
        {HV_E_INVALID_PARAMETER_5, probe->device, HV_BAR_ROM, 99, 1, RW | HV_MMIO_REPLACE, 0, 0},
        {HV_E_NOT_SUPPORTED, probe->device, HV_BAR2, BAR2_PAGES, 1, HV_MMIO_TRACK_DIRTY, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, BAR2_PAGES, 1, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, 0, BAR2_PAGES + 1, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, 1, ~0ull, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, ~0ull, 1, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, ~0ull, 2, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR2, 1ull << 52, 1, RW, 0, 0},
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR0, 0, 1, RW, 0, 0}, /* 256 bytes */
        {HV_E_OUT_OF_RANGE, probe->device, HV_BAR_ROM, 16, 1, 0, 0, 0},
        {HV_E_INVALID_HANDLE, probe->device, HV_BAR2, 0, 1, RW, 0, 99},
        {HV_E_INVALID_HANDLE, probe->device, HV_BAR2, 0, 1, RW, closed, 99},
        {HV_E_OBJECT_TYPE, probe->device, HV_BAR2, 0, 1, RW, event, 99},
        {HV_E_ACCESS_DENIED, probe->device, HV_BAR2, 0, 1, RW, readable, 99},
        {HV_E_ACCESS_DENIED, probe->device, HV_BAR2, 0, 1, HV_MMIO_EXECUTABLE, readable, 99},
        {HV_E_INVALID_VIEW_SIZE, probe->device, HV_BAR2, 0, 1, HV_MMIO_MT_UC, section, 16},
        {HV_E_INVALID_VIEW_SIZE, probe->device, HV_BAR2, 0, 17, RW, section, 0},
        {HV_E_INVALID_VIEW_SIZE, probe->device, HV_BAR2, 0, 2, RW, section, ~0ull},
        {HV_E_INVALID_VIEW_SIZE, probe->device, HV_BAR2, 0, 2, RW, section, 15},
        /* Section page 0 is in force as WB, behind BAR page 4. */
        {HV_E_CACHE_CONFLICT, probe->device, HV_BAR2, 4, 1, HV_MMIO_MT_UC, section, 0},
        {HV_E_CACHE_CONFLICT, probe->device, HV_BAR2, 4, 2, HV_MMIO_MT_WT, section, 0},
        {HV_E_CONFLICTING_ADDRESSES, probe->device, HV_BAR2, 4, 1, RW, section, 0},
        {HV_E_CONFLICTING_ADDRESSES, probe->device, HV_BAR2, 3, 2, RW, other, 0},
        {HV_E_CONFLICTING_ADDRESSES, probe->device, HV_BAR2, 5, 2, RW, other, 0},
        {HV_E_CONFLICTING_ADDRESSES, probe->device, HV_BAR2, 3, 5, RW, other, 0},
    };
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        hv_status_t status =
            hv_mmio_range_create(cases[i].device, cases[i].bar, cases[i].page, cases[i].pages,
                                 cases[i].flags, cases[i].section, cases[i].section_page);

        if (status != cases[i].status)
            fail_msg("case %u: %s, not %s", i, hv_status_name(status),
                     hv_status_name(cases[i].status));
        assert_unchanged(before);
    }
    hv_handle_close(event);
    hv_handle_close(readable);
}

static void test_statuses(void **state)
{
    hv_handle_t section, other;

    (void)state;
    probe_bar32(probe, HV_BAR0, 256);
    probe_bar64(probe, HV_BAR2, MIB(8));
    probe->probed[HV_BAR5] = 0xffffffe1;
    probe->probed[HV_BAR_ROM] = 0u - (uint32_t)ROM_BYTES;
    probe_create(probe);
    section = make_section(16, ALL_RIGHTS, 0);
    other = make_section(16, ALL_RIGHTS, 0);
    assert_int_equal(create(4, 2, RW, section, 0), HV_OK);

    check_statuses(section, other);
    decode(probe, true);
    check_statuses(section, other);
    assert_true(is_direct(4) && is_direct(5) && !is_direct(3) && !is_direct(6));

    hv_handle_close(section);
    hv_handle_close(other);
}

static void test_section_protection(void **state)
{
    hv_handle_t section;
    struct world_state before;

    (void)state;
    probe_create(probe);
    section = make_section(4, HV_PAGE_READWRITE, 0);
    before = world_state();
    assert_int_equal(create(0, 1, HV_MMIO_EXECUTABLE, section, 0), HV_E_SECTION_PROTECTION);
    assert_unchanged(before);
    assert_int_equal(create(0, 1, RW, section, 0), HV_OK);
    hv_handle_close(section);
}

static void test_destroy_statuses(void **state)
{
    hv_handle_t section;
    struct world_state before;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(4, ALL_RIGHTS, 0);
    assert_int_equal(create(4, 4, RW, section, 0), HV_OK);
    before = world_state();
    assert_int_equal(hv_mmio_range_destroy(NULL, HV_BAR2, 4), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_destroy(NOT_A_DEVICE, HV_BAR2, 4), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR_COUNT, 4),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR1, 4), HV_E_NO_SUCH_BAR);
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR3, 4), HV_E_NO_SUCH_BAR);
    assert_int_equal(destroy(3), HV_E_NOT_MAPPED);
    assert_int_equal(destroy(5), HV_E_NOT_MAPPED);
    assert_int_equal(destroy(8), HV_E_NOT_MAPPED);
    assert_int_equal(destroy(~0ull), HV_E_NOT_MAPPED);
    assert_unchanged(before);
    assert_int_equal(destroy(4), HV_OK);
    assert_int_equal(destroy(4), HV_E_NOT_MAPPED);
    assert_false(is_direct(4));
    hv_handle_close(section);
}

/* ---- failure at each step of the reservation ---- */

static void test_allocation_failures(void **state)
{
    hv_handle_t section;
    unsigned failures = 0;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(4, ALL_RIGHTS, 0);
    for (unsigned nth = 1;; nth++) {
        struct world_state before = world_state();
        hv_status_t status;

        fake_slab_fail(nth);
        status = create(0, 4, RW, section, 0);
        fake_slab_fail(0);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_NO_MEMORY);
        assert_unchanged(before);
        assert_false(is_direct(0));
        failures++;
    }
    assert_int_equal(failures, 1);
    assert_int_equal(destroy(0), HV_OK);
    hv_handle_close(section);
}

static void test_no_tables(void **state)
{
    hv_handle_t section;
    struct world_state before;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(4, ALL_RIGHTS, 0);
    /* Leave the pool without a free table. */
    assert_int_equal(pt_pool_reserve(&world.vm.pool, world.vm.pool.free_tables), HV_OK);
    before = world_state();
    fake_blocks_exhaust(true);
    assert_int_equal(create(0, 4, RW, section, 0), HV_E_NO_MEMORY);
    assert_unchanged(before);
    fake_blocks_exhaust(false);
    pt_pool_unreserve(&world.vm.pool, world.vm.pool.reserved);
    assert_int_equal(create(0, 4, RW, section, 0), HV_OK);
    assert_true(is_direct(0));
    hv_handle_close(section);
}

static void test_calls_without_a_place_for_the_answer(void **state)
{
    struct hv_mmio_range_info info;
    struct hv_mmio_op op = {.kind = HV_MMIO_OP_UNMAP, .bar = HV_BAR2, .page_count = 1};
    uint64_t done = 99;

    (void)state;
    probe_create(probe);
    assert_int_equal(hv_mmio_range_query(NOT_A_DEVICE, HV_BAR2, 0, NULL), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR_COUNT, 0, NULL),
                     HV_E_INVALID_PARAMETER_4);
    assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR_COUNT, 0, &info),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_mmio_range_batch(probe->device, NULL, 1, ~0u, NULL),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_mmio_range_batch(probe->device, NULL, 0, ~0u, NULL),
                     HV_E_INVALID_PARAMETER_4);
    assert_int_equal(hv_mmio_range_batch(probe->device, NULL, 0, 0, NULL),
                     HV_E_INVALID_PARAMETER_5);
    /* No more pauses to be had: nothing is done. */
    world.vm.pauses = VM_MAX_PAUSES;
    assert_int_equal(hv_mmio_range_batch(probe->device, &op, 1, HV_BATCH_ATOMIC, &done),
                     HV_E_QUOTA);
    world.vm.pauses = 0;
}

static void test_quota(void **state)
{
    hv_handle_t section;
    struct world_state before;

    (void)state;
    probe_create(probe);
    section = make_section(4, ALL_RIGHTS, 0);
    probe->device->range_count += PCI_RANGES_PER_DEV;
    before = world_state();
    assert_int_equal(create(0, 1, RW, section, 0), HV_E_QUOTA);
    assert_unchanged(before);
    probe->device->range_count -= PCI_RANGES_PER_DEV;
    hv_handle_close(section);
}

/* ---- memory types ---- */

static void test_types_and_flags(void **state)
{
    static const struct {
        uint32_t flag;
        uint8_t memtype;
    } types[] = {
        {HV_MMIO_MT_DEFAULT, MEMTYPE_WB}, {HV_MMIO_MT_UC, MEMTYPE_UC}, {HV_MMIO_MT_WC, MEMTYPE_WC},
        {HV_MMIO_MT_WT, MEMTYPE_WT},      {HV_MMIO_MT_WP, MEMTYPE_WP}, {HV_MMIO_MT_WB, MEMTYPE_WB},
    };
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(1, ALL_RIGHTS, 0);
    for (unsigned i = 0; i < ARRAY_COUNT(types) * 16; i++) {
        uint32_t rights = i % 4, ipat = i / 4 % 2 ? HV_MMIO_IGNORE_GUEST_PAT : 0;
        uint32_t flags = types[i / 16].flag | rights | ipat | (i / 8 % 2 ? HV_MMIO_NO_LARGE : 0);
        uint64_t flushed = fake_window.flushed_pages;
        struct inspect_leaf leaf;

        assert_int_equal(create(7, 1, flags, section, 0), HV_OK);
        /* Lines from write-back days are flushed before the frame is used otherwise. */
        assert_int_equal(fake_window.flushed_pages - flushed, types[i / 16].memtype != MEMTYPE_WB);
        inspect_leaf(probe->device, GPA(gpa_of(7, 0)), &leaf);
        assert_true(leaf.present);
        assert_int_equal(leaf.memtype, types[i / 16].memtype);
        assert_int_equal(leaf.rights, PT_R | (rights & 1 ? PT_W : 0) | (rights & 2 ? PT_X : 0));
        assert_int_equal(leaf.ignore_pat, ipat != 0);
        assert_int_equal(leaf.level, 1);
        assert_int_equal(query(7).memtype, types[i / 16].memtype);
        assert_int_equal(query(7).flags, flags);
        assert_int_equal(destroy(7), HV_OK);
    }
    hv_caps.ignore_pat = false;
    assert_int_equal(create(7, 1, HV_MMIO_IGNORE_GUEST_PAT, section, 0), HV_E_NOT_SUPPORTED);
    hv_handle_close(section);
}

static void test_one_type_per_frame(void **state)
{
    hv_handle_t section;
    struct world_state before;

    (void)state;
    probe_create(probe);
    section = make_section(8, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 4, HV_MMIO_MT_WC, section, 0), HV_OK);
    /* DEFAULT takes the type in force, also from a range that is not live. */
    assert_int_equal(create(10, 2, HV_MMIO_MT_DEFAULT, section, 1), HV_OK);
    assert_int_equal(query(10).memtype, MEMTYPE_WC);
    before = world_state();
    assert_int_equal(create(20, 4, HV_MMIO_MT_WB, section, 3), HV_E_CACHE_CONFLICT);
    assert_unchanged(before);
    assert_int_equal(create(20, 4, HV_MMIO_MT_WB, section, 4), HV_OK);
    /* Frames in force with different types: DEFAULT has no answer. */
    before = world_state();
    assert_int_equal(create(30, 8, HV_MMIO_MT_DEFAULT, section, 0), HV_E_CACHE_CONFLICT);
    assert_unchanged(before);
    /* Forgotten with the last mapping only. */
    assert_int_equal(destroy(0), HV_OK);
    assert_int_equal(create(0, 2, HV_MMIO_MT_UC, section, 1), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(0, 1, HV_MMIO_MT_UC, section, 0), HV_OK);
    assert_int_equal(destroy(10), HV_OK);
    assert_int_equal(create(40, 3, HV_MMIO_MT_UC, section, 1), HV_OK);
    hv_handle_close(section);
}

static void test_default_takes_a_type_from_any_frame(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    section = make_section(8, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 1, HV_MMIO_MT_UC, section, 5), HV_OK);
    /* Not the first frame, nor the last. */
    assert_int_equal(create(10, 7, HV_MMIO_MT_DEFAULT, section, 1), HV_OK);
    assert_int_equal(query(10).memtype, MEMTYPE_UC);
    assert_int_equal(create(20, 1, HV_MMIO_MT_DEFAULT, section, 0), HV_OK);
    assert_int_equal(query(20).memtype, MEMTYPE_WB);
    hv_handle_close(section);
}

/* A write-back window on a frame that is in force with another type would give it two types. */
static void test_only_frames_without_a_type_are_flushed(void **state)
{
    hv_handle_t section;
    uint64_t flushed;

    (void)state;
    probe_create(probe);
    section = make_section(8, ALL_RIGHTS, 0);
    flushed = fake_window.flushed_pages;
    assert_int_equal(create(0, 2, HV_MMIO_MT_UC, section, 2), HV_OK);
    assert_int_equal(fake_window.flushed_pages - flushed, 2);
    assert_int_equal(create(10, 2, HV_MMIO_MT_UC, section, 2), HV_OK);
    assert_int_equal(fake_window.flushed_pages - flushed, 2);
    assert_int_equal(create(20, 8, HV_MMIO_MT_DEFAULT, section, 0), HV_OK);
    assert_int_equal(fake_window.flushed_pages - flushed, 8);
    /* With the last mapping the type is forgotten, and lines may come back. */
    assert_int_equal(destroy(20), HV_OK);
    assert_int_equal(create(20, 8, HV_MMIO_MT_DEFAULT, section, 0), HV_OK);
    assert_int_equal(fake_window.flushed_pages - flushed, 14);
    hv_handle_close(section);
}

static void test_physical_window(void **state)
{
    static const uint32_t cached[] = {HV_MMIO_MT_WB, HV_MMIO_MT_WT, HV_MMIO_MT_WP};
    hv_handle_t section;
    struct world_state before;
    uint64_t flushed = fake_window.flushed_pages;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_window(WINDOW_BASE, 512);
    before = world_state();
    for (unsigned i = 0; i < ARRAY_COUNT(cached); i++) {
        assert_int_equal(create(0, 512, cached[i], section, 0), HV_E_CACHE_CONFLICT);
        assert_unchanged(before);
    }
    assert_int_equal(create(0, 512, RW, section, 0), HV_OK);
    assert_int_equal(query(0).memtype, MEMTYPE_UC);
    assert_int_equal(query(0).leaves[2], 1);
    assert_int_equal(destroy(0), HV_OK);
    assert_int_equal(create(0, 512, RW | HV_MMIO_MT_WC, section, 0), HV_OK);
    assert_int_equal(query(0).memtype, MEMTYPE_WC);
    assert_int_equal(fake_window.flushed_pages, flushed); /* no cache holds lines of a device */
    hv_handle_close(section);
}

/* ---- leaves ---- */

static void expect_leaves(uint64_t page, uint64_t small, uint64_t large, uint64_t huge)
{
    struct hv_mmio_range_info info = query(page);

    assert_int_equal(info.leaves[1], small);
    assert_int_equal(info.leaves[2], large);
    assert_int_equal(info.leaves[3], huge);
}

static void test_leaf_sizes(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(1024, ALL_RIGHTS, HV_SEC_LARGE_PAGES);

    assert_int_equal(create(512, 512, RW, section, 0), HV_OK);
    expect_leaves(512, 0, 1, 0);
    assert_int_equal(destroy(512), HV_OK);
    /* The same area by three adjacent ranges: they share a leaf from when it is full until one of them goes. */
    assert_int_equal(create(512, 100, RW, section, 0), HV_OK);
    assert_int_equal(create(612, 300, RW, section, 100), HV_OK);
    assert_int_equal(create(912, 112, RW, section, 400), HV_OK);
    expect_leaves(512, 0, 1, 0);
    expect_leaves(612, 0, 1, 0);
    expect_leaves(1023, 0, 1, 0);
    assert_int_equal(destroy(612), HV_OK);
    expect_leaves(512, 100, 0, 0);
    expect_leaves(1023, 112, 0, 0);
    assert_true(is_direct(611) && !is_direct(612) && !is_direct(911) && is_direct(912));
    assert_int_equal(destroy(512), HV_OK);
    assert_int_equal(destroy(912), HV_OK);
    /* Address and frame out of step. */
    assert_int_equal(create(512, 512, RW, section, 1), HV_OK);
    expect_leaves(512, 512, 0, 0);
    assert_int_equal(destroy(512), HV_OK);
    /* One page more at each end than a large leaf. */
    assert_int_equal(create(511, 514, RW, section, 511), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(create(511, 513, RW, section, 511), HV_OK);
    expect_leaves(511, 1, 1, 0);
    assert_int_equal(destroy(511), HV_OK);
    assert_int_equal(create(512, 512, RW | HV_MMIO_NO_LARGE, section, 0), HV_OK);
    expect_leaves(512, 512, 0, 0);
    assert_int_equal(destroy(512), HV_OK);
    assert_int_equal(create(512, 512, HV_MMIO_EXECUTABLE, section, 0), HV_OK);
    expect_leaves(512, 0, 1, 0);
    assert_int_equal(destroy(512), HV_OK);
    hv_caps.large_executable = false;
    assert_int_equal(create(512, 512, HV_MMIO_EXECUTABLE, section, 0), HV_OK);
    expect_leaves(512, 512, 0, 0);
    assert_int_equal(destroy(512), HV_OK);
    hv_caps.large_2m = false;
    assert_int_equal(create(512, 512, RW, section, 0), HV_OK);
    expect_leaves(512, 512, 0, 0);
    hv_handle_close(section);
}

static void test_huge_leaves(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_bar64(probe, HV_BAR2, GIB(4ull));
    probe_create(probe);
    decode(probe, true);
    section = make_window(WINDOW_BASE, 3 * HUGE_PAGES);
    assert_int_equal(create(HUGE_PAGES, HUGE_PAGES + 513, RW, section, 0), HV_OK);
    expect_leaves(HUGE_PAGES, 1, 1, 1);
    assert_int_equal(destroy(HUGE_PAGES), HV_OK);
    hv_caps.large_1g = false;
    assert_int_equal(create(HUGE_PAGES, HUGE_PAGES, RW, section, 0), HV_OK);
    expect_leaves(HUGE_PAGES, 0, 512, 0);
    hv_handle_close(section);
}

/* Leave free only `count` runs of `run` frames, with a used one after each. Returns what was taken. */
static hpa_t fragment(uint64_t run, unsigned count, uint64_t *hoarded)
{
    hpa_t hoard;

    *hoarded = hv_frames.free_pages;
    assert_int_equal(frames_alloc(&hv_frames, *hoarded, 1, &hoard), HV_OK);
    for (unsigned i = 0; i < count; i++)
        frames_free(&hv_frames, HPA(hoard.v + i * (run + 1) * PAGE_BYTES), run);
    return hoard;
}

/* A frame of another type is found wherever it lies: in the first run, the last, or between. */
static void expect_conflicts(uint64_t pages, hv_handle_t section)
{
    for (uint64_t page = 0; page < pages; page++) {
        struct world_state before;

        assert_int_equal(create(100, 1, HV_MMIO_MT_WC, section, page), HV_OK);
        before = world_state();
        assert_int_equal(create(5, pages, RW | HV_MMIO_MT_WB, section, 0), HV_E_CACHE_CONFLICT);
        assert_unchanged(before);
        assert_int_equal(destroy(100), HV_OK);
    }
}

static void test_many_runs(void **state)
{
    enum { RUN = 3, RUNS = 8 };
    hv_handle_t section;
    uint64_t hoarded;
    hpa_t hoard;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    hoard = fragment(RUN, RUNS, &hoarded);
    section = make_section(RUN * RUNS, ALL_RIGHTS, 0);
    /* The last run is mapped already: it has neighbours in the ledger that the first run has not. */
    assert_int_equal(create(100, RUN, RW, section, RUN * (RUNS - 1)), HV_OK);
    for (unsigned nth = 1;; nth++) {
        struct world_state before = world_state();
        hv_status_t status;

        fake_slab_fail(nth);
        status = create(5, RUN * RUNS, RW, section, 0);
        fake_slab_fail(0);
        if (status == HV_OK) {
            assert_int_equal(nth, 2); /* one record, whatever the runs */
            break;
        }
        assert_int_equal(status, HV_E_NO_MEMORY);
        assert_unchanged(before);
    }
    assert_int_equal(mapping_live_count(), 2);
    for (uint64_t page = 0; page < RUN * RUNS; page++) {
        assert_int_equal(fake_vm_read(&world.vm, gpa_of(5 + page, 0), 8), section_word(page, 0));
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
    }
    decode(probe, false);
    decode(probe, true);
    assert_true(is_direct(5 + RUN * RUNS - 1));
    assert_int_equal(destroy(5), HV_OK);
    assert_int_equal(destroy(100), HV_OK);
    assert_int_equal(mapping_live_count(), 0);
    expect_conflicts(RUN * RUNS, section);
    hv_handle_close(section);
    section_trim();
    for (unsigned i = 0; i < RUNS; i++)
        frames_free(&hv_frames, HPA(hoard.v + (i * (RUN + 1) + RUN) * PAGE_BYTES), 1);
    frames_free(&hv_frames, HPA(hoard.v + RUNS * (RUN + 1) * PAGE_BYTES),
                hoarded - RUNS * (RUN + 1));
}

/* ---- what a guest sees ---- */

static void test_direct_and_trapped(void **state)
{
    uint64_t last = PAGE_BYTES - 8;
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    section = make_section(8, ALL_RIGHTS, 0);
    assert_int_equal(create(1, 2, RW, section, 4), HV_OK);
    assert_int_equal(create(3, 1, HV_MMIO_READ_ONLY, section, 6), HV_OK);
    assert_int_equal(create(BAR2_PAGES - 1, 1, RW, section, 7), HV_OK);
    hv_handle_close(section); /* the ranges keep it */
    assert_int_equal(section_live_count(), 1);
    assert_false(query(1).live);
    assert_int_equal(query(1).leaves[1], 0);
    decode(probe, true);
    assert_true(query(1).live);

    probe->read_fill = 0x5a;
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(0, last), 8), 0x5a5a5a5a5a5a5a5aull);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(1, 0), 8), section_word(4, 0));
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(2, last), 8), section_word(5, last));
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(BAR2_PAGES - 1, last), 8),
                     section_word(7, last));
    assert_int_equal(probe->reads, 1);
    assert_int_equal(probe->last_offset, last);

    fake_vm_write(&world.vm, gpa_of(1, 0), 8, 77);
    assert_int_equal(probe->writes, 0);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(1, 0), 8), 77);
    /* A write to the read-only range reaches the device, and the section stays as it was. */
    fake_vm_write(&world.vm, gpa_of(3, 16), 4, 0x11223344);
    assert_int_equal(probe->writes, 1);
    assert_int_equal(probe->last_offset, 3 * PAGE_BYTES + 16);
    assert_int_equal(probe->last_length, 4);
    assert_int_equal(probe->last_value, 0x11223344);
    assert_int_equal(query(3).trapped_writes, 1);
    assert_int_equal(query(1).trapped_writes, 0);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(3, 16), 8), 0);
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
}

static void test_aliases(void **state)
{
    struct probe *second = &world.probe[1];
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    probe_create(second);
    decode(probe, true);
    decode(second, true);
    section = make_section(4, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 4, RW, section, 0), HV_OK);
    assert_int_equal(create(8, 4, RW, section, 0), HV_OK);
    assert_int_equal(hv_mmio_range_create(second->device, HV_BAR2, 1, 2, RW, section, 2), HV_OK);
    fake_vm_write(&world.vm, gpa_of(2, 8), 8, 0xabcdef);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(10, 8), 8), 0xabcdef);
    assert_int_equal(fake_vm_read(&world.vm, bar_base(second, HV_BAR2) + PAGE_BYTES + 8, 8),
                     0xabcdef);
    assert_int_equal(destroy(0), HV_OK);
    assert_int_equal(fake_vm_read(&world.vm, gpa_of(10, 8), 8), 0xabcdef);
    hv_handle_close(section);
}

static void test_decode_toggles(void **state)
{
    hv_handle_t section;
    uint64_t hash;

    (void)state;
    probe_create(probe);
    section = make_section(1024, ALL_RIGHTS, HV_SEC_LARGE_PAGES);
    assert_int_equal(create(0, 1, RW, section, 0), HV_OK);
    assert_int_equal(create(512, 512, RW, section, 512), HV_OK);
    decode(probe, true);
    hash = inspect_hash(probe->device);
    expect_leaves(512, 0, 1, 0);
    for (unsigned i = 0; i < 3; i++) {
        decode(probe, false);
        assert_int_equal(fake_vm_read(&world.vm, gpa_of(0, 0), 8), ~0ull);
        assert_int_equal(fake_vm_way, FAKE_NOBODY);
        assert_int_equal(world.vm.tables.leaves[1] + world.vm.tables.leaves[2], 0);
        expect_leaves(512, 0, 0, 0);
        decode(probe, true);
        assert_int_equal(inspect_hash(probe->device), hash);
        assert_true(is_direct(0));
    }
    /* A destroyed range stays dead, whenever it was destroyed. */
    decode(probe, false);
    assert_int_equal(destroy(0), HV_OK);
    decode(probe, true);
    assert_false(is_direct(0));
    assert_int_equal(destroy(512), HV_OK);
    decode(probe, false);
    decode(probe, true);
    assert_false(is_direct(512));
    hv_handle_close(section);
}

static void test_flushes(void **state)
{
    hv_handle_t section;
    uint64_t flushes;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(1, ALL_RIGHTS, 0);
    flushes = world.vm.stats.flushes;
    assert_int_equal(create(0, 1, RW, section, 0), HV_OK);
    assert_int_equal(world.vm.stats.flushes, flushes); /* nothing was present before */
    assert_int_equal(destroy(0), HV_OK);
    assert_int_equal(world.vm.stats.flushes, flushes + 1);
    hv_handle_close(section);
}

static void create_in_write(struct probe *self)
{
    hv_handle_t section = make_section(1, ALL_RIGHTS, 0);

    assert_int_equal(hv_mmio_range_create(self->device, HV_BAR2, 0, 1, RW, section, 0), HV_OK);
    assert_int_equal(hv_device_destroy(self->device), HV_E_DEADLOCK);
    hv_handle_close(section);
}

static void test_from_a_callback(void **state)
{
    (void)state;
    probe_create(probe);
    decode(probe, true);
    probe->in_write = create_in_write;
    fake_vm_write(&world.vm, gpa_of(0, 0), 1, 1);
    assert_int_equal(probe->writes, 1);
    assert_true(is_direct(0));
}

static hv_handle_t teardown_section;

static void use_in_teardown(struct probe *self)
{
    struct hv_mmio_op ops[] = {
        {.kind = HV_MMIO_OP_DESTROY, .bar = HV_BAR2, .bar_page = 0},
        {.kind = HV_MMIO_OP_CREATE,
         .bar = HV_BAR2,
         .bar_page = 9,
         .page_count = 1,
         .flags = RW,
         .section = teardown_section},
    };
    uint64_t done;

    assert_int_equal(hv_mmio_range_create(self->device, HV_BAR2, 9, 1, RW, teardown_section, 0),
                     HV_E_INVALID_STATE);
    /* A batch may take away, and not add. */
    assert_int_equal(hv_mmio_range_batch(self->device, ops, ARRAY_COUNT(ops), 0, &done),
                     HV_E_INVALID_STATE);
    assert_int_equal(done, 1);
}

static void test_teardown_with_leftovers(void **state)
{
    struct hv_device *device;
    uint64_t base;
    unsigned lines;

    (void)state;
    device = probe_create(probe);
    decode(probe, true);
    base = bar_base(probe, HV_BAR2);
    teardown_section = make_section(3, ALL_RIGHTS, 0);
    for (uint64_t page = 0; page < 3; page++)
        assert_int_equal(create(page, 1, RW, teardown_section, page), HV_OK);
    probe->in_teardown = use_in_teardown;
    lines = fake_log_lines;
    assert_int_equal(hv_device_destroy(device), HV_OK);
    assert_int_equal(fake_log_lines - lines, 3); /* two leaks and their sum */
    assert_int_equal(probe->torn_down, 1);
    assert_int_equal(mapping_live_count(), 0);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    assert_int_equal(hv_device_destroy(device), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_mmio_range_create(device, HV_BAR2, 0, 1, RW, teardown_section, 0),
                     HV_E_INVALID_HANDLE);
    hv_handle_close(teardown_section);
    assert_int_equal(fake_vm_read(&world.vm, base, 4), 0xffffffff);
    assert_int_equal(fake_vm_way, FAKE_NOBODY);
}

/* A new device at the address of one that left ranges behind works at the first access. */
static void test_successor(void **state)
{
    hv_handle_t section;
    uint64_t base;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    section = make_section(1, ALL_RIGHTS, 0);
    assert_int_equal(create(0, 1, RW, section, 0), HV_OK);
    base = bar_base(probe, HV_BAR2);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    probe_create(probe);
    move_bar(probe, HV_BAR2, base);
    decode(probe, true);
    probe->read_fill = 0x33;
    assert_int_equal(fake_vm_read(&world.vm, base, 4), 0x33333333);
    assert_int_equal(create(0, 1, RW, section, 0), HV_OK);
    assert_int_equal(fake_vm_read(&world.vm, base, 8), section_word(0, 0));
    hv_handle_close(section);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_statuses),
        TEST(test_section_protection),
        TEST(test_destroy_statuses),
        TEST(test_allocation_failures),
        TEST(test_no_tables),
        TEST(test_calls_without_a_place_for_the_answer),
        TEST(test_quota),
        TEST(test_types_and_flags),
        TEST(test_one_type_per_frame),
        TEST(test_default_takes_a_type_from_any_frame),
        TEST(test_only_frames_without_a_type_are_flushed),
        TEST(test_physical_window),
        TEST(test_leaf_sizes),
        TEST(test_huge_leaves),
        TEST(test_many_runs),
        TEST(test_direct_and_trapped),
        TEST(test_aliases),
        TEST(test_decode_toggles),
        TEST(test_flushes),
        TEST(test_from_a_callback),
        TEST(test_teardown_with_leftovers),
        TEST(test_successor),
    };

    return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
