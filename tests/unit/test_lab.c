/* drivers/virtual/lab*.c, through its registers only, as a guest drives it. */
#include "tests/unit/lab_kit.h"

#include <string.h>

#include "hv/pci/config.h"
#include "hv/pci/inspect.h"

#define BAR2_OFFSET 0x18u

static uint64_t callback_failures(void)
{
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR0), HV_OK);
    return result(7);
}

/* ---- registers ---- */

static void test_registers(void **state)
{
    uint64_t failures;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(config_read(LAB_SLOT, PCI_CFG_ID, 4), LAB_DEVICE_ID << 16 | LAB_VENDOR_ID);
    assert_int_equal(config_read(LAB_SLOT, PCI_CFG_CLASS + 1, 2) >> 8, 0);
    assert_int_equal(config_read(LAB_SLOT, PCI_CFG_CLASS + 3, 1), 0xff);
    config_write(LAB_SLOT, BAR2_OFFSET, 4, 0xffffffff);
    assert_int_equal(config_read(LAB_SLOT, BAR2_OFFSET, 4), 0xfc00000c);
    config_write(LAB_SLOT, BAR2_OFFSET, 4, (uint32_t)bar2);
    assert_int_equal(config_read(LAB_SLOT, 0x20, 4), 0);

    assert_int_equal(get(LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    assert_int_equal(get(LAB_MAGIC, 8), LAB_MAGIC_VALUE | (uint64_t)LAB_VERSION_VALUE << 32);
    assert_int_equal(get(LAB_MAGIC + 1, 1), LAB_MAGIC_VALUE >> 8 & 0xff);
    set(LAB_ARG(7), 8, 0x1122334455667788);
    set(LAB_ARG(7) + 2, 2, 0xaaaa);
    assert_int_equal(get(LAB_ARG(7), 8), 0x11223344aaaa7788);
    assert_int_equal(get(LAB_ARG(7) + 4, 4), 0x11223344);
    assert_int_equal(get(LAB_ARG(0), 8), 0);
    set(LAB_ARG(8), 8, 8);
    set(LAB_ARG(11) + 4, 4, 11);
    assert_int_equal(get(LAB_ARG(8), 8), 8);
    assert_int_equal(get(LAB_ARG(11), 8), 11ull << 32);
    assert_int_equal(get(LAB_ARG(11) + 7, 1), 0);
    assert_int_equal(get(LAB_ARG(7), 8), 0x11223344aaaa7788);

    failures = callback_failures();
    assert_int_equal(get(LAB_DIGEST + 8, 4), 0xffffffff);
    assert_int_equal(get(LAB_ARG(11) + 8, 8), ~0ull);
    assert_int_equal(get(0xff8, 8), ~0ull);
    set(LAB_MAGIC, 4, 0);
    set(LAB_RESULT(0), 8, 0);
    set(LAB_COMMAND, 2, LAB_CMD_HASH);
    set(LAB_STATUS, 8, (uint64_t)LAB_CMD_HASH << 32);
    assert_int_equal(callback_failures(), failures + 7);
    assert_int_equal(get(LAB_MAGIC, 4), LAB_MAGIC_VALUE);

    for (uint32_t command = LAB_CMD_DEVICE_SEEN + 1; command < 70; command++)
        assert_int_equal(RUN(command, 0), HV_E_NOT_SUPPORTED);
    assert_int_equal(RUN(0, 0), HV_E_NOT_SUPPORTED);
    assert_int_equal(RUN(0xffffffff, 0), HV_E_NOT_SUPPORTED);
}

static void test_trap_log(void **state)
{
    uint64_t hole = LAB_FREE_PAGE * PAGE_BYTES;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(get(LAB_TRAPS, 8), 0);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 0), HV_E_NOT_FOUND);
    set(LAB_SCRATCH + 0xfe, 2, 0xbeef);
    assert_int_equal(get(LAB_SCRATCH + 0xff, 1), 0xbe);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(fake_vm_read(&world.vm, bar2 + hole + i, 1), LAB_HOLE_BYTE(hole + i));
    fake_vm_write(&world.vm, bar2 + hole + 4, 4, 0x12345678);
    /* A write to a read-only range: small slot 0. */
    fake_vm_write(&world.vm, bar2 + PAGE_BYTES + 8, 8, 99);
    assert_int_equal(get(LAB_TRAPS, 8), 12);

    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 0), HV_OK);
    assert_int_equal(result(0), HV_BAR0);
    assert_int_equal(result(1), LAB_SCRATCH + 0xfe);
    assert_int_equal(result(2), 2);
    assert_int_equal(result(3), 0xbeef);
    assert_int_equal(result(4), 1);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 5), HV_OK);
    assert_int_equal(result(0), HV_BAR2);
    assert_int_equal(result(1), hole + 3);
    assert_int_equal(result(2), 1);
    assert_int_equal(result(3), LAB_HOLE_BYTE(hole + 3));
    assert_int_equal(result(4), 0);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 11), HV_OK);
    assert_int_equal(result(1), PAGE_BYTES + 8);
    assert_int_equal(result(3), 99);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 12), HV_E_NOT_FOUND);
    for (unsigned i = 0; i < LAB_TRAP_LOG; i++)
        set(LAB_SCRATCH, 1, i);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 11), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, 12), HV_OK);
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, ~0ull), HV_E_NOT_FOUND);
}

/* ---- the initial ranges, as lab_regs.h promises them ---- */

/* The entry without its frame, in the format that the VM has. Rights: bit 0 write, bit 1 execute. */
static uint64_t leaf_bits(uint64_t rights, unsigned type, bool ipat, unsigned level)
{
    static const uint8_t ept[] = {0x00, 0x08, 0x20, 0x28, 0x30};
    static const uint16_t npt_small[] = {0x18, 0x08, 0x98, 0x88, 0x00};
    static const uint16_t npt_large[] = {0x98, 0x88, 0x1098, 0x1088, 0x80};

    if (world.vm.tables.fmt == &pt_format_ept)
        return 1 | rights << 1 | ept[type] | (ipat ? 0x40 : 0) | (level > 1 ? 0x80 : 0);
    return 5 | (rights & 1) << 1 | (rights & 2 ? 0 : BIT(63)) |
           (level > 1 ? npt_large[type] : npt_small[type]);
}

static void expect_leaf(uint64_t page, uint64_t rights, unsigned type, bool ipat, unsigned level)
{
    static const uint8_t types[] = {MEMTYPE_UC, MEMTYPE_WC, MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};

    assert_int_equal(RUN(LAB_CMD_LEAF, bar2 + page * PAGE_BYTES), HV_OK);
    if (result(0) != 1)
        fail_msg("page 0x%llx has no leaf", (unsigned long long)page);
    assert_int_equal(result(1), PT_R | rights << 1);
    assert_int_equal(result(2), types[type]);
    assert_int_equal(result(3), ipat);
    assert_int_equal(result(4), level);
    assert_int_equal(result(5), leaf_bits(rights, type, ipat, level));
}

static void test_initial_ranges(void **state)
{
    (void)state;
    lab_up(0, NULL);
    for (unsigned n = 0; n < LAB_SMALL_SLOTS; n++) {
        for (uint64_t i = 0; i < LAB_SMALL_PAGES; i++) {
            expect_leaf(LAB_SMALL_PAGE(n) + i, n / 2 % 4, n / 8, n % 2, 1);
            expect_pattern(LAB_SMALL_PAGE(n) + i);
        }
        expect_hole(LAB_SMALL_PAGE(n) + 2);
        expect_hole(LAB_SMALL_PAGE(n) + 3);
    }
    for (unsigned m = 0; m < LAB_LARGE_SLOTS; m++) {
        expect_leaf(LAB_LARGE_PAGE(m), 1, m / 2, m % 2, 2);
        expect_pattern(LAB_LARGE_PAGE(m) + LAB_LARGE_PAGES - 1);
    }
    expect_leaf(LAB_LARGER_PAGE, 1, 4, false, 2);
    expect_leaf(LAB_LARGER_PAGE + 1023, 1, 4, false, 2);
    expect_leaf(LAB_LARGER_PAGE + 1024, 1, 4, false, 1);
    expect_hole(LAB_LARGER_PAGE + 1025);
    for (unsigned i = 0; i < LAB_APART_PAGES; i++)
        expect_leaf(LAB_APART_PAGE + i, 1, 4, false, 1);
    expect_leaf(LAB_LAST_PAGE, 1, 4, false, 1);
    expect_hole(LAB_LAST_PAGE - 1);
    expect_hole(LAB_FREE_PAGE);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR2), HV_OK);
    assert_int_equal(result(0), LAB_BAR2_PAGES * PAGE_BYTES);
    assert_int_equal(result(1), bar2);
    assert_int_equal(result(2), 1);
    assert_int_equal(result(3), LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 3);
    assert_int_equal(result(4), LAB_SMALL_SLOTS * LAB_SMALL_PAGES +
                                    LAB_LARGE_SLOTS * LAB_LARGE_PAGES + LAB_LARGER_PAGES +
                                    LAB_APART_PAGES + 1);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR1), HV_E_NO_SUCH_BAR);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, 1ull << 32), HV_E_INVALID_PARAMETER_2);
}

static void test_without_ignore_pat(void **state)
{
    (void)state;
    hv_caps.ignore_pat = false;
    lab_up(0, NULL);
    for (unsigned n = 0; n < LAB_SMALL_SLOTS; n += 2) {
        expect_leaf(LAB_SMALL_PAGE(n), n / 2 % 4, n / 8, false, 1);
        expect_hole(LAB_SMALL_PAGE(n + 1));
    }
    assert_int_equal(RUN(LAB_CMD_CAPS, 0), HV_OK);
    assert_int_equal(result(0), LAB_CAP_LARGE_2M | LAB_CAP_LARGE_1G | LAB_CAP_LARGE_EXEC);
    assert_int_equal(result(1), FAKE_VM_PHYSICAL_BITS);
}

/* Each request that has no ignore-PAT is met to the letter: every type has a slot of the host's PAT. */
static void test_nested_format(void **state)
{
    (void)state;
    hv_caps.ignore_pat = false;
    world.vm.tables.fmt = &pt_format_npt;
    lab_up(0, NULL);
    for (unsigned n = 0; n < LAB_SMALL_SLOTS; n += 2) {
        expect_leaf(LAB_SMALL_PAGE(n), n / 2 % 4, n / 8, false, 1);
        expect_hole(LAB_SMALL_PAGE(n + 1));
    }
    for (unsigned m = 0; m < LAB_LARGE_SLOTS; m += 2) {
        expect_leaf(LAB_LARGE_PAGE(m), 1, m / 2, false, 2);
        expect_hole(LAB_LARGE_PAGE(m + 1));
    }
    assert_int_equal(RUN(LAB_CMD_CAPS, 0), HV_OK);
    assert_int_equal(result(0),
                     LAB_CAP_LARGE_2M | LAB_CAP_LARGE_1G | LAB_CAP_LARGE_EXEC | LAB_CAP_NPT);
}

/* ---- range commands ---- */

static void test_range_commands(void **state)
{
    uint64_t main_handle, page = LAB_FREE_PAGE, hash;

    (void)state;
    lab_up(0, NULL);
    main_handle = handle_of(LAB_SECTION_MAIN);
    assert_int_equal(result(1), LAB_BAR2_PAGES);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    hash = result(0);

    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, UNKNOWN, 2, page, 1, RW, main_handle, page),
                     HV_E_INVALID_HANDLE);
    /* Values too wide for their parameters stay illegal. */
    assert_int_equal(
        RUN(LAB_CMD_RANGE_CREATE, SELF, (1ull << 32) + 2, page, 1, RW, main_handle, page),
        HV_E_INVALID_PARAMETER_2);
    assert_int_equal(
        RUN(LAB_CMD_RANGE_CREATE, SELF, 2, page, 1, (1ull << 32) + RW, main_handle, page),
        HV_E_INVALID_PARAMETER_5);
    assert_int_equal(
        RUN(LAB_CMD_RANGE_CREATE, SELF, 2, page, 1, RW, (1ull << 32) + main_handle, page),
        HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 4, 0, 1, RW, main_handle, page),
                     HV_E_NO_SUCH_BAR);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);

    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, page, 3, RW, main_handle, page), HV_OK);
    expect_pattern(page + 2);
    assert_int_equal(RUN(LAB_CMD_RANGE_QUERY, SELF, 2, page + 1), HV_OK);
    assert_int_equal(result(0), page);
    assert_int_equal(result(1), 3);
    assert_int_equal(result(2), page);
    assert_int_equal(result(3), RW);
    assert_int_equal(result(5), MEMTYPE_WB);
    assert_int_equal(result(6), 1);
    assert_int_equal(result(7), 3);
    assert_int_equal(RUN(LAB_CMD_RANGE_QUERY, SELF, 2, page + 3), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_RANGE_STATS, SELF, 2, page + 1), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(result(1), 3);
    assert_int_equal(RUN(LAB_CMD_RANGE_STATS, SELF, 2, page + 3), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, page + 1), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, UNKNOWN, 2, page), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, page), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);
}

/* ---- statistics ---- */

static void test_totals(void **state)
{
    uint64_t before[5], main_handle;

    (void)state;
    lab_up(0, NULL);
    main_handle = handle_of(LAB_SECTION_MAIN);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    for (unsigned i = 0; i < 5; i++)
        before[i] = result(i);
    assert_int_equal(before[3], 2);
    assert_int_equal(before[4], LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 3);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 1, RW, main_handle, 4000),
                     HV_OK);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(1), before[1] + 1);
    assert_int_equal(result(2), before[2] + 1);
    assert_int_equal(result(4), before[4] + 1);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, LAB_FREE_PAGE), HV_OK);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(result(i), before[i]);

    world.vm.stats.exits[HV_EXIT_CPUID] = 3;
    world.vm.stats.exits[HV_EXIT_MEMORY] = 4;
    world.vm.stats.spurious = 5;
    assert_int_equal(RUN(LAB_CMD_VM_STATS, 0), HV_OK);
    assert_int_equal(result(0), 7);
    assert_int_equal(result(3), 5);
    assert_int_equal(result(7), 4);

    fake_vm_report = (struct hv_memtype_report){.mapped = true,
                                                .effective = MEMTYPE_WC,
                                                .leaf_type = MEMTYPE_WB,
                                                .pat_index = 1,
                                                .pat_type = MEMTYPE_WC,
                                                .leaf_level = 2,
                                                .pwt = true,
                                                .mtrr_type = MEMTYPE_WT};
    assert_int_equal(RUN(LAB_CMD_EFFECTIVE_TYPE, 0x1000), HV_OK);
    assert_int_equal(result(0), 1);
    assert_int_equal(result(1), MEMTYPE_WC);
    assert_int_equal(result(2), MEMTYPE_WB);
    assert_int_equal(result(4), 1);
    assert_int_equal(result(5), MEMTYPE_WC);
    assert_int_equal(result(7), 2);
    assert_int_equal(result(8), LAB_NO_MTRR);
    assert_int_equal(result(9), 1);
    fake_vm_report.has_mtrr = true;
    fake_vm_report.pwt = false;
    fake_vm_report.pcd = true;
    assert_int_equal(RUN(LAB_CMD_EFFECTIVE_TYPE, 0x1000), HV_OK);
    assert_int_equal(result(8), MEMTYPE_WT);
    assert_int_equal(result(9), 2);
    fake_vm_report.pat = true;
    assert_int_equal(RUN(LAB_CMD_EFFECTIVE_TYPE, 0x1000), HV_OK);
    assert_int_equal(result(9), 6);
}

/* ---- options, BAR4, benchmarks ---- */

static void test_bar4(void **state)
{
    static const char *const options[] = {"bar4=2048", "window=0x1000000000"};
    uint64_t hash, window;

    (void)state;
    lab_up(2, options);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR4), HV_OK);
    assert_int_equal(result(0), GIB(2ull));
    assert_int_equal(result(3), 0);
    assert_int_equal(fake_vm_read(&world.vm, bar4 + 9, 1), LAB_HOLE_BYTE(9));
    window = handle_of(LAB_SECTION_BAR4);
    assert_int_equal(result(1), GIB(2ull) / PAGE_BYTES);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 4, 0, 512, HV_MMIO_MT_WB, window, 0),
                     HV_E_CACHE_CONFLICT);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 4, 0, HUGE_PAGES, RW, window, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_RANGE_QUERY, SELF, 4, 0), HV_OK);
    assert_int_equal(result(5), MEMTYPE_UC);
    assert_int_equal(result(9), 1);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_GIB_2M, 1), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 4, 0), HV_OK);

    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    hash = result(0);
    uint64_t stores = world.vm.tables.stores;
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_GIB_2M, 1), HV_OK);
    assert_true(world.vm.tables.stores - stores >= 512); /* 2 MiB leaves, not one of 1 GiB */
    for (uint64_t which = LAB_BENCH_MAP_1_PAGE; which <= LAB_BENCH_VIEW_MAP_1_PAGE; which++) {
        if (which == LAB_BENCH_APERTURE_CREATE)
            continue; /* no RAM here */
        if (RUN(LAB_CMD_BENCH, which, 3) != HV_OK)
            fail_msg("benchmark %u", (unsigned)which);
        assert_int_equal(result(0), 0); /* the fake clock ticks once per reading */
    }
    assert_int_equal(RUN(LAB_CMD_BENCH, 0, 3), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_VIEW_MAP_1_PAGE + 1, 3),
                     HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BENCH, 1ull << 32 | 1, 3), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_PAGE, LAB_BENCH_MAX + 1),
                     HV_E_INVALID_PARAMETER_2);
    hv_caps.large_1g = false;
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_GIB_1G, 1), HV_E_NOT_SUPPORTED);
    /* A guest's own range in the way: nothing of the others is left behind, and the guest's stays. */
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 4, 198, 1, RW, window, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_WITH_100_RANGES, 1),
                     HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 4, 198), HV_OK);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE + 126, 1, RW,
                         handle_of(LAB_SECTION_ALT), 0),
                     HV_OK);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_BATCH_64_REPLACE, 1), HV_E_CONFLICTING_ADDRESSES);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, LAB_FREE_PAGE + 126), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_PAGE, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);
}

static void test_options(void **state)
{
    static const char *const bad[][2] = {
        {"window=1000", "window=1000"},
        {"bar4=3", "window=0x1000"},
        {"bar4=1", "window=@"}, /* in front of the letters */
        {"bar4=0", "window=0x1000"},
        {"bar4=", "window=0x1000"},
        {"bar4=1x", "window=0x1000"},
        {"bar4=1", "window=0x"},
        {"bar4=1", "window=g"},
        {"bar4=2097152", "window=1000"},
        {"bar4=1", "window=10000000000000000"},
        {"bar4=1", "other=1"},
        {"bar4=1", "windows=1000"},
        {"bar4=1", "window_bytes=1000"},
        {"window=1000", "window_bytes=0"},
        {"window=1000", "window_bytes="},
        {"bar4=1", ""},
        {"bar4=18446744073709551617", "window=1000"},
    };
    static const char *const misaligned[] = {"bar4=1", "window=0x1000000800"};
    static const char *const upper_case[] = {"window=00ABCDE000", "bar4=1"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
        if (make_lab(2, bad[i]) != HV_E_INVALID_PARAMETER)
            fail_msg("case %u: %s %s", i, bad[i][0], bad[i][1]);
    assert_int_equal(make_lab(2, misaligned), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(make_lab(2, upper_case), HV_OK);
    assert_int_equal(make_lab(0, NULL), HV_E_BUSY);
}

/* A window of a size of its own: without a BAR4, and beside one. */
static void window_of_32_pages(uint32_t count)
{
    static const char *const options[] = {"window=1000000000", "window_bytes=0x20000", "bar4=1"};

    lab_up(count, options);
    (void)handle_of(LAB_SECTION_BAR4);
    assert_int_equal(result(1), 0x20);
}

static void test_window_alone(void **state)
{
    (void)state;
    window_of_32_pages(2);
}

static void test_window_beside_bar4(void **state)
{
    (void)state;
    window_of_32_pages(3);
}

/* BAR4 without a window: no section behind it, the guest makes its own. */
static void test_bar4_alone(void **state)
{
    static const char *const options[] = {"bar4=8192"};
    uint64_t section;

    (void)state;
    lab_up(1, options);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, LAB_SECTION_BAR4), HV_E_NOT_FOUND);
    section = handle_of(LAB_SECTION_MAIN);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 4, 0x1fffff, 1, RW, section, 3), HV_OK);
    assert_int_equal(fake_vm_read(&world.vm, bar4 + GIB(8ull) - PAGE_BYTES, 8),
                     LAB_PATTERN(1, 3 * PAGE_BYTES));
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 4, 0x1fffff), HV_OK);
}

static void test_bar4_resizes(void **state)
{
    static const char *const options[] = {"bar4=8192"};
    uint64_t control = PCI_ECAM_BASE + LAB_SLOT * 0x8000 + PCI_EXT_FIRST + 8;

    (void)state;
    lab_up(1, options);
    /* Sizes 2^20 to 2^33, in the only pair of the capability. */
    assert_int_equal(fake_vm_read(&world.vm, control - 4, 4), 0x3fff0);
    assert_int_equal(fake_vm_read(&world.vm, control, 4), 13 << 8 | 1 << 5 | HV_BAR4);
    config_write(LAB_SLOT, PCI_CFG_COMMAND, 2, 0);
    fake_vm_write(&world.vm, control, 4, 6 << 8);
    config_write(LAB_SLOT, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR4), HV_OK);
    assert_int_equal(result(0), MIB(64));
    assert_int_equal(result(8), GIB(8ull));
    /* A stop and a start leave the choice alone. */
    lab->ops->stop(lab->context);
    lab->state = HV_DEVICE_STOPPED;
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BAR_STATS, HV_BAR4), HV_OK);
    assert_int_equal(result(0), MIB(64));
}

static void test_rom(void **state)
{
    uint64_t rom, alt;

    (void)state;
    lab_up(0, NULL);
    rom = lab->bar[HV_BAR_ROM].base;
    config_write(LAB_SLOT, PCI_CFG_ROM, 4, 0xfffffffe);
    assert_int_equal(config_read(LAB_SLOT, PCI_CFG_ROM, 4), 0u - LAB_ROM_BYTES);
    config_write(LAB_SLOT, PCI_CFG_ROM, 4, (uint32_t)rom | 1);
    assert_int_equal(fake_vm_read(&world.vm, rom + 0x1234, 1), LAB_HOLE_BYTE(0x1234));
    assert_int_equal(RUN(LAB_CMD_TRAP_GET, get(LAB_TRAPS, 8) - 1), HV_OK);
    assert_int_equal(result(0), HV_BAR_ROM);
    assert_int_equal(result(1), 0x1234);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 6, 0, 16, RW, alt, 0),
                     HV_E_INVALID_PARAMETER_5);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 6, 0, 17, 0, alt, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 6, 0, 16, 0, alt, 0), HV_OK);
    assert_int_equal(fake_vm_read(&world.vm, rom + 0xf000, 8), LAB_PATTERN(2, 0xf000));
    config_write(LAB_SLOT, PCI_CFG_ROM, 4, (uint32_t)rom);
    assert_int_equal(fake_vm_read(&world.vm, rom, 8), ~0ull);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 6, 0), HV_OK);
}

static void test_teardown(void **state)
{
    unsigned lines;

    (void)state;
    lab_up(0, NULL);
    /* A guest that took some initial ranges away, and left one of its own. */
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, LAB_SMALL_PAGE(3)), HV_OK);
    assert_int_equal(
        RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 1, RW, handle_of(LAB_SECTION_ALT), 0),
        HV_OK);
    assert_int_equal(
        RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 8192, HV_PAGE_READWRITE, HV_SEC_COMMIT, 0),
        HV_OK);
    lines = fake_log_lines;
    assert_int_equal(hv_device_destroy(lab), HV_OK);
    assert_int_equal(fake_log_lines, lines + 2);
    assert_int_equal(section_live_count(), 0);
    /* And again from the start; the host is running, so this is hot-add. */
    assert_int_equal(make_lab(0, NULL), HV_OK);
    assert_int_equal(lab->range_count, LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_registers),
        TEST(test_trap_log),
        TEST(test_initial_ranges),
        TEST(test_without_ignore_pat),
        TEST(test_nested_format),
        TEST(test_range_commands),
        TEST(test_totals),
        TEST(test_bar4),
        TEST(test_options),
        TEST(test_window_alone),
        TEST(test_window_beside_bar4),
        TEST(test_bar4_alone),
        TEST(test_bar4_resizes),
        TEST(test_rom),
        TEST(test_teardown),
    };

    return cmocka_run_group_tests_name("lab", tests, NULL, NULL);
}
