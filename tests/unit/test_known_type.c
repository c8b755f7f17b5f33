/*
 * Mistakes that other hypervisors made with memory types, each as a test that would have found it.
 *
 *   seL4 2d0410b1e         only WB was ever set                  every_type_reads_back
 *   XSA-154, sogen #1097,  one page with two cacheabilities      one_frame_one_type
 *   dosemu2 #2815
 *   Xen 30921dc2df,        WC lost on frame buffers              write_combining_on_high_memory_of_devices
 *   4fdd8d7556
 *   Xen b99113b9d5         types merged as numbers               the_full_merge_matrix
 *   Xen 35d1c20b85         old entries kept the old type         a_new_type_reaches_leaves_in_use
 *   Xen 4d66f069d6         UC- in entries; ends                  no_type_that_has_no_name, the_ends_of_a_type
 *   KVM guest PAT          one policy for all                    the_guest_pat_by_range
 *   ACRN 961b5d16f         UC when nothing was said              nothing_is_uncached_by_accident
 */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "hv/mem/view.h"
#include "hv/pci/inspect.h"
#include "tests/fake/window.h"
#include "tests/unit/pci_views.h"

#define RW      HV_MMIO_WRITEABLE
#define REPLACE HV_MMIO_REPLACE
#define WINDOW  HPA(GIB(32ull))
#define VIEW_UC (HV_PAGE_READWRITE | HV_PAGE_NOCACHE)
#define VIEW_WC (HV_PAGE_READWRITE | HV_PAGE_WRITECOMBINE)
#define EPT_AD  0x300ull

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];

static const struct {
    uint32_t flag;
    uint8_t type;
} named[] = {
    {HV_MMIO_MT_UC, MEMTYPE_UC}, {HV_MMIO_MT_WC, MEMTYPE_WC}, {HV_MMIO_MT_WT, MEMTYPE_WT},
    {HV_MMIO_MT_WP, MEMTYPE_WP}, {HV_MMIO_MT_WB, MEMTYPE_WB},
};

static hv_status_t create(uint64_t page, uint64_t pages, uint32_t flags, hv_handle_t section,
                          uint64_t section_page)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, flags, section, section_page);
}

static struct inspect_leaf leaf_at(uint64_t page)
{
    struct inspect_leaf leaf;

    inspect_leaf(probe->device, GPA(bar_base(probe, HV_BAR2) + page * PAGE_BYTES), &leaf);
    return leaf;
}

static hv_status_t view(hv_handle_t section, uint32_t protect, void **base)
{
    uint64_t bytes = 0;

    *base = NULL;
    return hv_section_map_view(section, HV_SPACE_HYPERVISOR, base, 0, 0, NULL, &bytes,
                               HV_VIEW_UNMAP, 0, protect);
}

static void unview(void *base)
{
    assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, base), HV_OK);
}

static int open_with(const struct pt_format *format, void **state)
{
    int result;

    fake_vm_format = format;
    pci_views_open();
    result = world_open(state);
    probe_create(probe);
    decode(probe, true);
    return result;
}

static int open_ept(void **state)
{
    return open_with(&pt_format_ept, state);
}

static int open_npt(void **state)
{
    return open_with(&pt_format_npt, state);
}

static int close_world(void **state)
{
    int result = world_close(state);

    fake_vm_format = &pt_format_ept;
    return result;
}

/* ---- every type ---- */

/* The encodings once more, by the manuals: EPT bits 5:3; NPT through HV_PAT, PWT 3, PCD 4, PAT 7 or 12. */
static uint64_t type_bits(uint8_t type, unsigned level)
{
    static const uint8_t slot[8] = {
        [MEMTYPE_WB] = 0, [MEMTYPE_WC] = 1, [MEMTYPE_UC] = 3, [MEMTYPE_WP] = 5, [MEMTYPE_WT] = 7};

    if (fake_vm_format == &pt_format_ept)
        return (uint64_t)type << 3;
    return (slot[type] & 3ull) << 3 | (slot[type] & 4 ? (level == 1 ? 0x80ull : 0x1000ull) : 0);
}

static uint64_t type_mask(unsigned level)
{
    return fake_vm_format == &pt_format_ept ? 0x38 : level == 1 ? 0x98 : 0x1018;
}

static void every_type_reads_back(void **state)
{
    hv_handle_t section = make_section(1024, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(named); i++) {
        struct hv_mmio_range_info info;

        assert_int_equal(create(511, 513, RW | named[i].flag, section, 511), HV_OK);
        for (unsigned level = 1; level <= 2; level++) {
            struct inspect_leaf leaf = leaf_at(level == 1 ? 511 : 600);

            assert_int_equal(leaf.level, level);
            assert_int_equal(leaf.memtype, named[i].type);
            assert_int_equal(leaf.bits & type_mask(level), type_bits(named[i].type, level));
        }
        assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, 511, &info), HV_OK);
        assert_int_equal(info.memtype, named[i].type);
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 511), HV_OK);
    }
    hv_handle_close(section);
}

/* ---- one frame ---- */

/* Everything that can map the frames of two overlapping windows, against one mapping in force. */
static void expect_all_refused(hv_handle_t window, hv_handle_t other)
{
    struct world_state before = world_state();
    void *base, *io;

    assert_int_equal(create(100, 4, HV_MMIO_MT_UC, window, 4), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(100, 8, HV_MMIO_MT_UC, other, 0), HV_E_CACHE_CONFLICT);
    assert_int_equal(hv_mmio_range_create(second->device, HV_BAR2, 0, 1, HV_MMIO_MT_UC, other, 3),
                     HV_E_CACHE_CONFLICT);
    assert_int_equal(view(window, VIEW_UC, &base), HV_E_CACHE_CONFLICT);
    assert_int_equal(view(other, VIEW_UC, &base), HV_E_CACHE_CONFLICT);
    assert_int_equal(hv_io_space_map(HPA(WINDOW.v + 7 * PAGE_BYTES), 1, VIEW_UC, &io),
                     HV_E_CACHE_CONFLICT);
    assert_int_equal(
        hv_io_space_map(HPA(WINDOW.v + 6 * PAGE_BYTES + 4095), 2, HV_PAGE_READONLY, &io),
        HV_E_CACHE_CONFLICT);
    assert_unchanged(before);
}

/* Pages 4..7 of the window are pages 0..3 of the other one; page 7 is in force as WC, whoever made it so. */
static void one_frame_one_type(void **state)
{
    hv_handle_t window = make_window(WINDOW, 16);
    hv_handle_t other = make_window(HPA(WINDOW.v + 4 * PAGE_BYTES), 16);
    void *base, *again;

    (void)state;
    probe_create(second);
    assert_int_equal(create(0, 1, HV_MMIO_MT_WC, window, 7), HV_OK);
    expect_all_refused(window, other);
    assert_int_equal(create(50, 8, HV_MMIO_MT_DEFAULT, other, 0), HV_OK);
    assert_int_equal(leaf_at(50).memtype, MEMTYPE_WC); /* of what is in force, not of the section */
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 100), HV_OK);

    assert_int_equal(view(other, VIEW_WC, &base), HV_OK);
    expect_all_refused(window, other);
    unview(base);

    assert_int_equal(hv_io_space_map(HPA(WINDOW.v + 7 * PAGE_BYTES + 8), 4, VIEW_WC, &base), HV_OK);
    expect_all_refused(window, other);
    assert_int_equal(hv_io_space_map(HPA(WINDOW.v + 7 * PAGE_BYTES), 4, VIEW_WC, &again), HV_OK);
    assert_int_equal(hv_io_space_unmap(base, 4), HV_OK);
    expect_all_refused(window, other); /* the second one holds it */
    assert_int_equal(hv_io_space_unmap(again, 4), HV_OK);
    assert_int_equal(create(100, 8, HV_MMIO_MT_UC, other, 0), HV_OK);
    hv_handle_close(window);
    hv_handle_close(other);
}

/* ---- WC ---- */

static void write_combining_on_high_memory_of_devices(void **state)
{
    struct hv_section_backing backing = {
        .kind = HV_BACKING_PHYSICAL, .base = WINDOW, .bytes = GIB(1)};
    hv_handle_t frame_buffer, ram;

    (void)state;
    assert_true(WINDOW.v >= GIB(4ull));
    assert_int_equal(hv_section_create(&frame_buffer, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE,
                                       NULL, 0, HV_PAGE_READWRITE,
                                       HV_SEC_COMMIT | HV_SEC_WRITECOMBINE, &backing),
                     HV_OK);
    ram = make_section(512, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES | HV_SEC_WRITECOMBINE);
    /* By the section's default or by name, for device memory and for RAM. */
    assert_int_equal(create(0, 512, RW, frame_buffer, 0), HV_OK);
    assert_int_equal(create(512, 512, RW | HV_MMIO_MT_WC, frame_buffer, 512), HV_OK);
    assert_int_equal(create(1024, 512, RW, ram, 0), HV_OK);
    for (uint64_t page = 0; page < 1536; page += 512) {
        assert_int_equal(leaf_at(page).memtype, MEMTYPE_WC);
        assert_int_equal(leaf_at(page).level, 2);
        assert_false(leaf_at(page).ignore_pat);
    }
    /* A window without that wish has WC for the asking, and cached types never. */
    assert_int_equal(create(1536, 1, HV_MMIO_MT_WB, frame_buffer, 2000), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(1536, 1, HV_MMIO_MT_WT, frame_buffer, 2000), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(1536, 1, HV_MMIO_MT_WP, frame_buffer, 2000), HV_E_CACHE_CONFLICT);
    hv_handle_close(frame_buffer);
    hv_handle_close(ram);
}

/* ---- how types combine ---- */

static void the_full_merge_matrix(void **state)
{
    enum { UC = MEMTYPE_UC, WC = MEMTYPE_WC, WT = MEMTYPE_WT, WP = MEMTYPE_WP, WB = MEMTYPE_WB };
    static const enum memtype types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP,
                                         MEMTYPE_WB};
    static const enum memtype guest[] = {MEMTYPE_UC, MEMTYPE_UC_MINUS, MEMTYPE_WC,
                                         MEMTYPE_WT, MEMTYPE_WB,       MEMTYPE_WP};
    static const uint8_t want[5][6] = {
        {UC, UC, WC, UC, UC, UC}, {UC, WC, WC, UC, WC, UC}, {UC, UC, WC, WT, WT, WP},
        {UC, WC, WC, WT, WP, WP}, {UC, UC, WC, WT, WB, WP},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(types); i++)
        for (unsigned j = 0; j < ARRAY_COUNT(guest); j++) {
            assert_int_equal(memtype_combine_ept(types[i], false, guest[j]), want[i][j]);
            assert_int_equal(memtype_combine_ept(types[i], true, guest[j]), types[i]);
        }
}

/* ---- a new type ---- */

/* Hardware has used the leaf: accessed and dirty. */
static void touch(uint64_t page)
{
    struct pt_leaf leaf;
    uint64_t gpa = bar_base(probe, HV_BAR2) + page * PAGE_BYTES, table = world.vm.tables.root.v;

    assert_true(pt_lookup(&world.vm.tables, gpa, &leaf));
    for (unsigned level = 4;; level--) {
        uint64_t *entry = (uint64_t *)direct(HPA(table)) + (gpa >> (12 + 9 * (level - 1))) % 512;

        if (level == leaf.level) {
            *entry |= world.vm.tables.fmt->ad_mask;
            return;
        }
        table = *entry & PT_ADDR_MASK;
    }
}

static void a_new_type_reaches_leaves_in_use(void **state)
{
    static const uint16_t shape[][2] = {{512, 1024}, {512, 512}, {700, 1}, {600, 600}, {513, 1022}};
    hv_handle_t section = make_section(1024, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES);

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(shape) * ARRAY_COUNT(named); i++) {
        uint64_t from = shape[i / ARRAY_COUNT(named)][0], count = shape[i / ARRAY_COUNT(named)][1];
        uint8_t type = named[i % ARRAY_COUNT(named)].type;
        uint64_t flushes, lines = fake_window.flushed_pages;

        assert_int_equal(create(512, 1024, RW | REPLACE | HV_MMIO_MT_WB, section, 0), HV_OK);
        touch(512);
        touch(700);
        touch(1535);
        flushes = world.vm.stats.flushes;
        /* What the call replaces does not count: the same frames, another type. */
        assert_int_equal(create(from, count, RW | REPLACE | named[i % ARRAY_COUNT(named)].flag,
                                section, from - 512),
                         HV_OK);
        for (uint64_t page = 512; page < 1536; page++)
            assert_int_equal(leaf_at(page).memtype, page - from < count ? type : MEMTYPE_WB);
        if (type != MEMTYPE_WB) {
            assert_int_equal(world.vm.stats.flushes, flushes + 1);
            assert_int_equal(fake_window.flushed_pages - lines, count);
        }
        assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 2048), HV_OK);
    }
    hv_handle_close(section);
}

/* ---- names and ends ---- */

static void no_type_that_has_no_name(void **state)
{
    hv_handle_t section = make_section(4, HV_PAGE_READWRITE, 0);
    struct world_state before = world_state();

    (void)state;
    for (uint32_t flag = HV_MMIO_MT_WB + 0x10; flag <= HV_MMIO_MT_MASK; flag += 0x10) {
        assert_int_equal(create(0, 1, flag, section, 0), HV_E_INVALID_PARAMETER_5);
        assert_unchanged(before);
    }
    /* UC- is no type of a leaf: where the format could say it, nothing asks for it. */
    for (unsigned i = 0; i < ARRAY_COUNT(named); i++)
        assert_int_not_equal(named[i].type, MEMTYPE_UC_MINUS);
    hv_handle_close(section);
}

/* Types of neighbours, to the page: [8, 12) is WC. */
static void expect_ends(hv_handle_t section)
{
    static const struct {
        uint8_t page, count;
        bool is_free;
    } cases[] = {
        {7, 1, true},  {0, 8, true},   {12, 1, true},  {12, 4, true}, {8, 1, false}, {11, 1, false},
        {7, 2, false}, {11, 2, false}, {0, 16, false}, {9, 2, false}, {15, 1, true}, {0, 9, false},
    };

    assert_int_equal(create(100, 4, HV_MMIO_MT_WC, section, 8), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        hv_status_t status = create(200, cases[i].count, HV_MMIO_MT_UC, section, cases[i].page);

        assert_int_equal(status, cases[i].is_free ? HV_OK : HV_E_CACHE_CONFLICT);
        if (status == HV_OK)
            assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 200), HV_OK);
    }
    /* A hole in the range frees exactly its frames. */
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 101, 2), HV_OK);
    assert_int_equal(create(200, 3, HV_MMIO_MT_UC, section, 9), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(200, 3, HV_MMIO_MT_UC, section, 8), HV_E_CACHE_CONFLICT);
    assert_int_equal(create(200, 2, HV_MMIO_MT_UC, section, 9), HV_OK);
    assert_int_equal(leaf_at(100).memtype, MEMTYPE_WC);
    assert_int_equal(leaf_at(103).memtype, MEMTYPE_WC);
    assert_int_equal(leaf_at(200).memtype, MEMTYPE_UC);
    assert_int_equal(hv_mmio_range_unmap(probe->device, HV_BAR2, 0, 2048), HV_OK);
}

static void the_ends_of_a_type(void **state)
{
    hv_handle_t ram = make_section(16, HV_PAGE_READWRITE, 0), window = make_window(WINDOW, 16);

    (void)state;
    expect_ends(ram);
    expect_ends(window);
    hv_handle_close(ram);
    hv_handle_close(window);
}

/* ---- the guest's PAT ---- */

static void the_guest_pat_by_range(void **state)
{
    hv_handle_t section = make_section(16, HV_PAGE_READWRITE, 0);
    struct world_state before;

    (void)state;
    if (!hv_caps.ignore_pat) {
        before = world_state();
        assert_int_equal(create(0, 4, HV_MMIO_IGNORE_GUEST_PAT, section, 0), HV_E_NOT_SUPPORTED);
        assert_unchanged(before);
        hv_handle_close(section);
        return;
    }
    /* Three neighbours; the same frames once more, the other way. */
    assert_int_equal(create(0, 4, RW, section, 0), HV_OK);
    assert_int_equal(create(4, 4, RW | HV_MMIO_IGNORE_GUEST_PAT, section, 4), HV_OK);
    assert_int_equal(create(8, 4, RW, section, 8), HV_OK);
    assert_int_equal(create(100, 12, RW | HV_MMIO_IGNORE_GUEST_PAT, section, 0), HV_OK);
    for (uint64_t page = 0; page < 12; page++) {
        assert_int_equal(leaf_at(page).ignore_pat, page / 4 == 1);
        assert_true(leaf_at(100 + page).ignore_pat);
        assert_int_equal(leaf_at(page).memtype, MEMTYPE_WB);
    }
    /* Changed on entries in use. */
    assert_int_equal(create(2, 4, RW | REPLACE, section, 2), HV_OK);
    for (uint64_t page = 0; page < 8; page++)
        assert_int_equal(leaf_at(page).ignore_pat, page >= 6);
    hv_handle_close(section);
}

/* ---- defaults ---- */

static void nothing_is_uncached_by_accident(void **state)
{
    const struct {
        uint32_t attributes;
        uint8_t type;
    } cases[] = {{0, MEMTYPE_WB},
                 {HV_SEC_CONTIGUOUS, MEMTYPE_WB},
                 {HV_SEC_WRITECOMBINE, MEMTYPE_WC},
                 {HV_SEC_NOCACHE, MEMTYPE_UC}};
    void *base;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        hv_handle_t section = make_section(8, HV_PAGE_READWRITE, cases[i].attributes);
        struct hv_mmio_range_info info;

        assert_int_equal(create(0, 4, RW, section, 0), HV_OK);
        assert_int_equal(leaf_at(0).memtype, cases[i].type);
        assert_int_equal(hv_mmio_range_query(probe->device, HV_BAR2, 0, &info), HV_OK);
        assert_int_equal(info.memtype, cases[i].type);
        /* A view that says nothing gets the same; one that says otherwise is refused and not bent. */
        assert_int_equal(view(section, HV_PAGE_READONLY, &base), HV_OK);
        unview(base);
        assert_int_equal(view(section, cases[i].type == MEMTYPE_UC ? VIEW_WC : VIEW_UC, &base),
                         HV_E_CACHE_CONFLICT);
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0), HV_OK);
        hv_handle_close(section);
    }
}

#define BOTH(name)                                        \
    {#name " (EPT)", name, open_ept, close_world, NULL},  \
    {                                                     \
#name " (NPT)", name, open_npt, close_world, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(every_type_reads_back),
        BOTH(one_frame_one_type),
        BOTH(write_combining_on_high_memory_of_devices),
        cmocka_unit_test(the_full_merge_matrix),
        BOTH(a_new_type_reaches_leaves_in_use),
        BOTH(no_type_that_has_no_name),
        BOTH(the_ends_of_a_type),
        BOTH(the_guest_pat_by_range),
        BOTH(nothing_is_uncached_by_accident),
    };

    return cmocka_run_group_tests_name("known type", tests, NULL, NULL);
}
