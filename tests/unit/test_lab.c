/* drivers/virtual/lab*.c, through its registers only, as a guest drives it. */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "drivers/virtual/lab.h"
#include "hv/pci/config.h"
#include "hv/pci/inspect.h"

#define RW          HV_MMIO_WRITEABLE
#define WINDOW      0x1000000000ull /* 64 GiB */
#define LAB_SLOT    1u
#define NO_HANDLE   0x7fffffffull
#define SELF        0ull
#define UNKNOWN     1ull
#define BAR2_OFFSET 0x18u

static struct hv_device *lab;
static uint64_t bar0, bar2, bar4;

static hv_status_t make_lab(uint32_t count, const char *const *options)
{
    return lab_create(world.host, count, options, &lab);
}

static void lab_up(uint32_t count, const char *const *options)
{
    assert_int_equal(make_lab(count, options), HV_OK);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    bar0 = lab->bar[HV_BAR0].base;
    bar2 = lab->bar[HV_BAR2].base;
    bar4 = lab->bar[HV_BAR4].base;
    config_write(LAB_SLOT, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    world.probe[0].device = lab; /* for world_state() */
}

static uint64_t get(uint64_t offset, unsigned bytes)
{
    return fake_vm_read(&world.vm, bar0 + offset, bytes);
}

static void set(uint64_t offset, unsigned bytes, uint64_t value)
{
    fake_vm_write(&world.vm, bar0 + offset, bytes, value);
}

static uint64_t result(unsigned i)
{
    return get(LAB_RESULT(i), 8);
}

static hv_status_t run(uint32_t command, const uint64_t *args, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        set(LAB_ARG(i), 8, args[i]);
    set(LAB_COMMAND, 4, command);
    return (hv_status_t)get(LAB_STATUS, 4);
}

#define RUN(command, ...)                         \
    run(command, (const uint64_t[]){__VA_ARGS__}, \
        (unsigned)(sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)))

static uint64_t handle_of(unsigned index)
{
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, index), HV_OK);
    return result(0);
}

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
    assert_int_equal(get(0xa8 + 8, 4), 0xffffffff);
    assert_int_equal(get(LAB_ARG(11) + 8, 8), ~0ull);
    assert_int_equal(get(0xff8, 8), ~0ull);
    set(LAB_MAGIC, 4, 0);
    set(LAB_RESULT(0), 8, 0);
    set(LAB_COMMAND, 2, LAB_CMD_HASH);
    set(LAB_STATUS, 8, (uint64_t)LAB_CMD_HASH << 32);
    assert_int_equal(callback_failures(), failures + 7);
    assert_int_equal(get(LAB_MAGIC, 4), LAB_MAGIC_VALUE);

    for (uint32_t command = LAB_CMD_RESUME + 1; command < 70; command++)
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

static void expect_hole(uint64_t page)
{
    assert_int_equal(RUN(LAB_CMD_LEAF, bar2 + page * PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), 0);
}

static void expect_pattern(uint64_t page)
{
    const uint64_t offsets[] = {0, 56, PAGE_BYTES - 64, PAGE_BYTES - 8};

    for (unsigned i = 0; i < ARRAY_COUNT(offsets); i++) {
        uint64_t offset = page * PAGE_BYTES + offsets[i];

        assert_int_equal(fake_vm_read(&world.vm, bar2 + offset, 8), LAB_PATTERN(1, offset));
        assert_int_equal(fake_vm_way, FAKE_DIRECT);
    }
    assert_int_equal(fake_vm_read(&world.vm, bar2 + page * PAGE_BYTES + 64, 8), 0);
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

static uint64_t word_at(uint64_t page)
{
    return fake_vm_read(&world.vm, bar2 + page * PAGE_BYTES, 8);
}

static void test_unmap(void **state)
{
    uint64_t alt, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, page, 8, RW, alt, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, UNKNOWN, 2, page, 1), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 7, page, 1), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 0), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page + 2, 3), HV_OK);
    for (uint64_t i = 0; i < 8; i++) {
        if (i >= 2 && i < 5)
            expect_hole(page + i);
        else
            assert_int_equal(word_at(page + i), LAB_PATTERN(2, i * PAGE_BYTES));
    }
    assert_int_equal(RUN(LAB_CMD_RANGE_QUERY, SELF, 2, page + 7), HV_OK);
    assert_int_equal(result(0), page + 5);
    assert_int_equal(RUN(LAB_CMD_RANGE_STATS, SELF, 2, page + 7), HV_OK);
    assert_int_equal(result(1), 3);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 100), HV_OK);
}

/* ---- batches and pauses ---- */

enum { CREATE = HV_MMIO_OP_CREATE, UNMAP = HV_MMIO_OP_UNMAP, DESTROY = HV_MMIO_OP_DESTROY };

static void test_batch(void **state)
{
    uint64_t alt, hash, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 0), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_BATCH, UNKNOWN, 0, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(result(0), LAB_NONE_DONE);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 2), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 0, 1ull << 32), HV_E_INVALID_PARAMETER_4);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, LAB_BATCH_OPS + 1, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(result(0), LAB_NONE_DONE);

    /* Every place of the table, each a page further in the BAR and three in the section. */
    assert_int_equal(
        RUN(LAB_CMD_BATCH_FILL, 0, LAB_BATCH_OPS, CREATE, 2, page, 2, 1, RW, alt, 5, 3), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, LAB_BATCH_OPS, 0), HV_OK);
    assert_int_equal(result(0), LAB_BATCH_OPS);
    for (uint64_t i = 0; i < LAB_BATCH_OPS; i++) {
        assert_int_equal(word_at(page + 2 * i), LAB_PATTERN(2, (5 + 3 * i) * PAGE_BYTES));
        expect_hole(page + 2 * i + 1);
    }
    assert_int_equal(RUN(LAB_CMD_BATCH_FILL, 1, LAB_BATCH_OPS, CREATE, 2, 0, 0, 1, RW, alt, 0, 0),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_BATCH_FILL, ~0ull, 2, CREATE, 2, 0, 0, 1, RW, alt, 0, 0),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, LAB_BATCH_OPS, CREATE, 2, 0, 1, RW, alt, 0),
                     HV_E_OUT_OF_RANGE);

    /* The third op fails: two stay, or with the atomic flag none. */
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, UNMAP, 2, page, 3, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 1, CREATE, 2, page, 2, RW, alt, 9), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 2, DESTROY, 2, page + 1, 0, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    hash = result(0);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 3, HV_BATCH_ATOMIC), HV_E_NOT_MAPPED);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 3, 0), HV_E_NOT_MAPPED);
    assert_int_equal(result(0), 2);
    assert_int_equal(word_at(page + 1), LAB_PATTERN(2, 10 * PAGE_BYTES));
    /* What does not fit in 32 bits is not cut to something legal. */
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, (1ull << 32) + UNMAP, 2, page, 1, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 1, 0), HV_E_INVALID_PARAMETER);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, UNMAP, (1ull << 32) + 2, page, 1, 0, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_BATCH, SELF, 1, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_RANGE_UNMAP, SELF, 2, page, 2 * LAB_BATCH_OPS), HV_OK);
}

static void test_pause(void **state)
{
    uint64_t alt, page = LAB_FREE_PAGE;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_RESUME, 0), HV_E_INVALID_STATE);
    assert_int_equal(RUN(LAB_CMD_PAUSE, 3, 0, 0, 0), HV_OK);
    assert_int_equal(result(0), LAB_NONE_DONE);
    assert_int_equal(result(1), 3);
    assert_int_equal(result(2), 3);
    assert_int_equal(world.vm.pauses, 0);
    assert_int_equal(RUN(LAB_CMD_PAUSE, LAB_PAUSE_DEPTH + 1, 0, 0, 0), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BATCH_OP, 0, CREATE, 2, page, 1, RW, alt, 7), HV_OK);
    for (uint64_t flags = 0; flags <= HV_BATCH_ATOMIC; flags++) {
        assert_int_equal(RUN(LAB_CMD_PAUSE, 2, 1000, 1, flags), HV_OK);
        assert_int_equal(result(0), 1);
        assert_int_equal(result(1), 2);
        assert_int_equal(word_at(page), LAB_PATTERN(2, 7 * PAGE_BYTES));
        /* The same again fails; the pauses end all the same. */
        assert_int_equal(RUN(LAB_CMD_PAUSE, 2, 0, 1, flags), HV_E_CONFLICTING_ADDRESSES);
        assert_int_equal(result(0), 0);
        assert_int_equal(result(2), 2);
        assert_int_equal(world.vm.pauses, 0);
        assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, page), HV_OK);
    }
    assert_int_equal(RUN(LAB_CMD_PAUSE, 1, 0, LAB_BATCH_OPS + 1, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(world.vm.pauses, 0);
    assert_int_equal(RUN(LAB_CMD_PAUSE, LAB_PAUSE_FOR_GOOD, 0, 0, 0), HV_OK);
    assert_int_equal(world.vm.pauses, 1);
    assert_int_equal(RUN(LAB_CMD_RESUME, 0), HV_OK);
}

/* ---- section commands ---- */

static void test_section_commands(void **state)
{
    uint64_t alt, event, made, end = LAB_BAR2_PAGES * PAGE_BYTES;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, LAB_SECTION_BAR4), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, 3), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, PAGE_BYTES));
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, alt, 128, 0x55), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 128), HV_OK);
    assert_int_equal(result(0), 0x55);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, PAGE_BYTES - 16, 4096 + 32, 7), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 2 * PAGE_BYTES + 8), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(7, 2 * PAGE_BYTES + 8));
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, PAGE_BYTES - 24), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, PAGE_BYTES - 24));
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, alt, 0, 0), HV_OK);
    assert_int_equal(result(0), 0xcbf29ce484222325ull);

    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 4), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, end), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, alt, ~7ull, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, end - 8, 16, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, alt, 8, ~7ull, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, alt, 0, 12), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, NO_HANDLE, 0), HV_E_INVALID_HANDLE);

    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_OK);
    event = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, event, 0), HV_E_OBJECT_TYPE);
    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 1, 0, event, 0),
                     HV_E_OBJECT_TYPE);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, event), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, event), HV_E_INVALID_HANDLE);

    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 8192, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0),
                     HV_OK);
    made = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, made, 0, 1), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, made, 8184), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, 0, 8192, HV_PAGE_READWRITE, HV_SEC_COMMIT, 0),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 0, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 9, 0, 0),
                     HV_E_INVALID_PARAMETER_7);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 0, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, HV_BACKING_PHYSICAL, WINDOW, PAGE_BYTES),
                     HV_OK);
    /* A closed handle of the lab's own: its ranges live on. */
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, handle_of(LAB_SECTION_MAIN)), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_GET, LAB_SECTION_MAIN), HV_E_NOT_FOUND);
    expect_pattern(LAB_LAST_PAGE);
}

#define ALL_RIGHTS \
    (HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE)

static void test_named_sections(void **state)
{
    uint64_t first, second;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, 7), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, 3 * PAGE_BYTES,
                         HV_PAGE_EXECUTE_READWRITE, HV_SEC_COMMIT, 0, 0, 0, 7),
                     HV_OK);
    first = result(0);
    assert_int_equal(result(1), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0, 7),
                     HV_E_ALREADY_EXISTS);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT | HV_SEC_OPEN_IF, 0, 0, 0, 7),
                     HV_OK);
    assert_int_equal(result(1), 1);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, result(0)), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, HV_SECTION_QUERY | HV_SECTION_MAP_READ, 7), HV_OK);
    second = result(0);
    assert_true(second != first);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, first, 8, 0x77), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, second, 8), HV_OK);
    assert_int_equal(result(0), 0x77);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, second, 8, 0x77), HV_E_ACCESS_DENIED);

    assert_int_equal(RUN(LAB_CMD_RANGE_CREATE, SELF, 2, LAB_FREE_PAGE, 2, RW, first, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, second), HV_OK);
    assert_int_equal(result(0), 3 * PAGE_BYTES);
    assert_int_equal(result(1), HV_PAGE_EXECUTE_READWRITE);
    assert_int_equal(result(2), HV_SEC_COMMIT);
    assert_int_equal(result(3), MEMTYPE_WB);
    assert_int_equal(result(4), 2);
    assert_int_equal(result(5), 1);
    assert_int_equal(result(6), 0);
    assert_int_equal(result(7), 3);
    assert_int_equal(result(8), 1);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, first), HV_OK);
    assert_int_equal(result(8), 0);
    assert_int_equal(RUN(LAB_CMD_RANGE_DESTROY, SELF, 2, LAB_FREE_PAGE), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, first), HV_OK);
    assert_int_equal(RUN(LAB_CMD_HANDLE_CLOSE, second), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, 7), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, first), HV_E_INVALID_HANDLE);
    /* A number too wide is no name, and not the name of its low bits. */
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, ALL_RIGHTS, (1ull << 32) + 7),
                     HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, ALL_RIGHTS, PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_COMMIT, 0, 0, 0, 1ull << 32),
                     HV_E_INVALID_PARAMETER_3);
    /* The largest number of 32 bits is one; without the right to query nothing is told. */
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(RUN(LAB_CMD_SECTION_CREATE_NAMED, HV_SECTION_MAP_READ, PAGE_BYTES,
                             HV_PAGE_READWRITE, HV_SEC_COMMIT | HV_SEC_OPEN_IF, 0, 0, 0,
                             UINT32_MAX),
                         HV_OK);
        assert_int_equal(result(1), 0);
    }
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, result(0)), HV_E_ACCESS_DENIED);
}

static void test_commit(void **state)
{
    uint64_t section;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, ALL_RIGHTS, 8 * PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_RESERVE, 0),
                     HV_OK);
    section = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, section, 2 * PAGE_BYTES), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_WRITE, section, 2 * PAGE_BYTES, 1), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 2, 3), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, section, 2 * PAGE_BYTES), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_SECTION_FILL, section, 4 * PAGE_BYTES, 2 * PAGE_BYTES, 1),
                     HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, section, PAGE_BYTES, 2 * PAGE_BYTES),
                     HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_SECTION_QUERY, section), HV_OK);
    assert_int_equal(result(7), 3);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 6, 3), HV_E_INVALID_VIEW_SIZE);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, section, 6, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, (1ull << 32) + section, 0, 1),
                     HV_E_INVALID_HANDLE);
}

static void test_handles_run_out(void **state)
{
    (void)state;
    lab_up(0, NULL);
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_EVENT_CREATE, 0), HV_E_QUOTA);
    assert_int_equal(RUN(LAB_CMD_SECTION_OPEN, HV_SECTION_MAP_READ, 0), HV_E_QUOTA);
    assert_int_equal(
        RUN(LAB_CMD_SECTION_CREATE, HV_SECTION_MAP_READ, 8192, HV_PAGE_READWRITE, HV_SEC_COMMIT, 0),
        HV_E_QUOTA);
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
    for (uint64_t which = LAB_BENCH_MAP_1_PAGE; which <= LAB_BENCH_UNMAP_1_GIB_2M; which++) {
        assert_int_equal(RUN(LAB_CMD_BENCH, which, 3), HV_OK);
        assert_int_equal(result(0), 0); /* the fake clock ticks once per reading */
    }
    assert_int_equal(RUN(LAB_CMD_BENCH, 5, 3), HV_E_INVALID_PARAMETER_1);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_MAP_1_PAGE, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_HASH, 0), HV_OK);
    assert_int_equal(result(0), hash);
}

static void test_options(void **state)
{
    static const char *const bad[][2] = {
        {"window=1000", "window=1000"},
        {"bar4=3", "window=0x1000"},
        {"bar4=0", "window=0x1000"},
        {"bar4=", "window=0x1000"},
        {"bar4=1x", "window=0x1000"},
        {"bar4=1", "window=0x"},
        {"bar4=1", "window=g"},
        {"bar4=2097152", "window=1000"},
        {"bar4=1", "window=10000000000000000"},
        {"bar4=1", "other=1"},
        {"bar4=1", "windows=1000"},
        {"bar4=1", ""},
        {"bar4=18446744073709551617", "window=1000"},
        {"bar4=1", "window_bytes=1000"},
        {"window=1000", "window_bytes=0"},
        {"window=1000", "window_bytes="},
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
        TEST(test_unmap),
        TEST(test_batch),
        TEST(test_pause),
        TEST(test_section_commands),
        TEST(test_handles_run_out),
        TEST(test_named_sections),
        TEST(test_commit),
        TEST(test_totals),
        TEST(test_bar4),
        TEST(test_options),
        TEST(test_teardown),
        TEST(test_bar4_alone),
        TEST(test_window_alone),
        TEST(test_window_beside_bar4),
        TEST(test_bar4_resizes),
        TEST(test_rom),
    };

    return cmocka_run_group_tests_name("lab", tests, NULL, NULL);
}
