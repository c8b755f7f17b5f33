/* hv/pci/bus.c, config.c, bar.c: config space, sizing, decode, moves, overlaps. */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "hv/pci/range.h"
#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"

#define RW         HV_MMIO_WRITEABLE
#define MEM32      0xc0000000ull
#define MEM64      0x400000000ull
#define PHYS_LIMIT (1ull << FAKE_VM_PHYSICAL_BITS)
#define OWN_DWORD  0x40u

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];
static struct probe *const third = &world.probe[2];

static uint32_t bar_dword(enum hv_bar bar)
{
    return config_read(probe->device->slot, PCI_CFG_BAR0 + 4 * (uint32_t)bar, 4);
}

static void set_bar_dword(enum hv_bar bar, uint32_t value)
{
    config_write(probe->device->slot, PCI_CFG_BAR0 + 4 * (uint32_t)bar, 4, value);
}

/* ---- ports ---- */

static void test_address_port(void **state)
{
    (void)state;
    fake_vm_out(&world.vm, 0xcf8, 4, 0xffffffff);
    assert_int_equal(fake_vm_in(&world.vm, 0xcf8, 4), 0x80fffffc);
    /* Narrow accesses are not CONFIG_ADDRESS. */
    fake_vm_out(&world.vm, 0xcf8, 1, 0);
    fake_vm_out(&world.vm, 0xcf8, 2, 0);
    fake_vm_out(&world.vm, 0xcfb, 1, 0);
    fake_vm_out(&world.vm, 0xcf9, 1, 6);
    assert_int_equal(fake_vm_in(&world.vm, 0xcf8, 4), 0x80fffffc);
    assert_int_equal(fake_vm_in(&world.vm, 0xcf8, 1), 0xff);
    assert_int_equal(fake_vm_in(&world.vm, 0xcfa, 2), 0xffff);
}

static void test_absent_functions(void **state)
{
    static const uint32_t absent[] = {
        0x00000000, /* not enabled */
        0x80010000, /* bus 1 */
        0x80000100, /* function 1 of the bridge */
        0x80000900, /* function 1 of slot 1 */
        0x80001000, /* slot 2 */
        0x8000f800, /* slot 31 */
    };

    (void)state;
    probe_create(probe);
    for (unsigned i = 0; i < ARRAY_COUNT(absent); i++) {
        fake_vm_out(&world.vm, 0xcf8, 4, absent[i]);
        fake_vm_out(&world.vm, 0xcfc, 4, 0);
        assert_int_equal(fake_vm_in(&world.vm, 0xcfc, 4), 0xffffffff);
    }
    assert_int_equal(config_read(0, PCI_CFG_ID, 4), 0x00011d1d);
    assert_int_equal(config_read(0, PCI_CFG_CLASS, 4), 0x06000000);
    config_write(0, PCI_CFG_COMMAND, 4, 0xffffffff);
    config_write(0, PCI_CFG_BAR0, 4, 0xffffffff);
    assert_int_equal(config_read(0, PCI_CFG_COMMAND, 4), 0);
    assert_int_equal(config_read(0, PCI_CFG_BAR0, 4), 0);
    assert_int_equal(pci_config_read(world.host, 1, 0, 0x1000), 0xffffffff);
    assert_int_equal(pci_config_read(world.host, 1, 0, 2), 0xffffffff);
    assert_int_equal(pci_config_read(world.host, 99, 0, 0), 0xffffffff);
}

static void test_identity(void **state)
{
    (void)state;
    probe->caps_pointer = 0x40;
    probe_create(probe);
    probe_create(second);
    assert_int_equal(probe->device->slot, 1);
    assert_int_equal(second->device->slot, 2);
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
    assert_int_equal(config_read(1, PCI_CFG_CLASS, 4), 0x0502019a);
    assert_int_equal(config_read(1, PCI_CFG_HEADER_TYPE, 4), 0);
    assert_int_equal(config_read(1, PCI_CFG_SUBSYSTEM, 4), 0xef01abcd);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND + 2, 2), PCI_STATUS_CAPABILITIES);
    assert_int_equal(config_read(2, PCI_CFG_COMMAND + 2, 2), 0);
    /* Every width and lane. */
    assert_int_equal(config_read(1, 1, 1), 0x12);
    assert_int_equal(config_read(1, 2, 2), 0x5678);
    assert_int_equal(config_read(1, 3, 1), 0x56);
    assert_int_equal(config_read(1, 1, 2), 0x7812);
    assert_int_equal(config_read(1, 3, 2), 0xff56);
    assert_int_equal(config_read(1, 2, 4), 0xffff5678);
    for (uint32_t offset = 0; offset < PCI_CFG_COMMAND; offset++)
        config_write(1, offset, 1, 0);
    config_write(1, PCI_CFG_SUBSYSTEM, 4, 0);
    config_write(1, PCI_CFG_CLASS, 4, 0);
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
    assert_int_equal(config_read(1, PCI_CFG_SUBSYSTEM, 4), 0xef01abcd);
    assert_int_equal(config_read(1, PCI_CFG_CLASS, 4), 0x0502019a);
}

static void test_command(void **state)
{
    (void)state;
    probe_create(probe);
    config_write(1, PCI_CFG_COMMAND, 4, 0xffffffff);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 4), 0x0406);
    /* A narrow write to the upper byte leaves memory decode on. */
    config_write(1, PCI_CFG_COMMAND + 1, 1, 0);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 4), 0x0006);
    config_write(1, PCI_CFG_COMMAND + 2, 2, 0xffff);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 4), 0x0006);
    config_write(1, PCI_CFG_COMMAND, 1, 0);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 4), 0);
    second->probed[HV_BAR1] = 0xffffffe1;
    probe_create(second);
    config_write(2, PCI_CFG_COMMAND, 2, 0xffff);
    assert_int_equal(config_read(2, PCI_CFG_COMMAND, 2), 0x0407);
}

static void test_device_dwords(void **state)
{
    unsigned reads;

    (void)state;
    probe_create(probe);
    reads = probe->config_reads;
    config_write(1, OWN_DWORD, 4, 0x11223344);
    assert_int_equal(config_read(1, OWN_DWORD, 4), 0x11223344);
    config_write(1, OWN_DWORD + 1, 1, 0xaa);
    assert_int_equal(probe->config_value, 0x1122aa44);
    config_write(1, OWN_DWORD + 2, 2, 0xbbcc);
    assert_int_equal(probe->config_word, 0xbbccaa44);
    config_write(1, OWN_DWORD + 3, 2, 0xeeff); /* one lane past the dword: cut */
    assert_int_equal(probe->config_word, 0xffccaa44);
    assert_true(probe->config_reads > reads);
    /* Told of the core's own dwords too, and never asked for them. */
    reads = probe->config_reads;
    decode(probe, true);
    assert_int_equal(probe->config_offset, PCI_CFG_COMMAND);
    assert_int_equal(probe->config_value, PCI_COMMAND_MEMORY);
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
    assert_int_equal(probe->config_reads, reads);
}

/* ---- sizing ---- */

static void test_initial_addresses(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 256);
    probe_bar32(probe, HV_BAR1, (uint32_t)MIB(1));
    probe_bar64(probe, HV_BAR2, MIB(8));
    probe_bar64(probe, HV_BAR4, GIB(64ull));
    probe->probed[HV_BAR_ROM] = 0u - 0x10000u;
    probe_create(probe);
    probe_create(second);
    assert_int_equal(bar_base(probe, HV_BAR0), MEM32);
    assert_int_equal(bar_base(probe, HV_BAR1), MEM32 + MIB(1));
    assert_int_equal(bar_base(probe, HV_BAR2), MEM64);
    assert_int_equal(bar_base(probe, HV_BAR4), GIB(64ull));
    assert_int_equal(bar_base(probe, HV_BAR_ROM), MEM32 + 0x10000);
    assert_int_equal(bar_base(second, HV_BAR0), MEM32 + 0x100); /* in the gap */
    assert_int_equal(bar_base(second, HV_BAR2), MEM64 + MIB(8));
    assert_int_equal(config_read(1, PCI_CFG_ROM, 4), (uint32_t)(MEM32 + 0x10000));
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS); /* decode is off */
}

static void test_sizing(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 16);
    probe->probed[HV_BAR1] = 0xffffffe1; /* 32 ports */
    probe->probed[HV_BAR2] = 0xfff00004; /* 64-bit, not prefetchable */
    probe->probed[HV_BAR3] = 0xffffffff;
    probe_bar64(probe, HV_BAR4, GIB(8ull));
    probe->probed[HV_BAR_ROM] = 0xfffff801; /* the smallest; the enable bit reads back */
    probe_create(probe);
    for (unsigned on = 0; on < 2; on++) {
        uint64_t bases[HV_BAR_COUNT];

        decode(probe, on);
        for (unsigned i = 0; i < HV_BAR_COUNT; i++)
            bases[i] = bar_base(probe, (enum hv_bar)i);
        for (unsigned i = 0; i <= HV_BAR5; i++)
            set_bar_dword((enum hv_bar)i, 0xffffffff);
        assert_int_equal(bar_dword(HV_BAR0), 0xfffffff0);
        assert_int_equal(bar_dword(HV_BAR1), 0xffffffe1);
        assert_int_equal(bar_dword(HV_BAR2), 0xfff00004);
        assert_int_equal(bar_dword(HV_BAR3), 0xffffffff);
        assert_int_equal(bar_dword(HV_BAR4), 0x0000000c);
        assert_int_equal(bar_dword(HV_BAR5), 0xfffffffe);
        config_write(1, PCI_CFG_ROM, 4, 0xfffffffe);
        assert_int_equal(config_read(1, PCI_CFG_ROM, 4), 0xfffff800);
        config_write(1, PCI_CFG_ROM, 4, 0xffffffff);
        assert_int_equal(config_read(1, PCI_CFG_ROM, 4), 0xfffff801);
        config_write(1, PCI_CFG_ROM, 4, (uint32_t)bases[HV_BAR_ROM]);
        for (unsigned i = 0; i <= HV_BAR5; i++)
            if (i != HV_BAR3 && i != HV_BAR5)
                move_bar(probe, (enum hv_bar)i, bases[i]);
        for (unsigned i = 0; i < HV_BAR_COUNT; i++)
            assert_int_equal(bar_base(probe, (enum hv_bar)i), bases[i]);
        assert_int_equal(world.vm.regions.count, WORLD_REGIONS + (on ? 3 : 0));
    }
    /* Narrow writes merge with what the register holds. */
    decode(probe, false);
    set_bar_dword(HV_BAR2, 0);
    config_write(1, PCI_CFG_BAR0 + 8 + 3, 1, 0xd2);
    config_write(1, PCI_CFG_BAR0 + 8 + 2, 1, 0x34);
    assert_int_equal(bar_dword(HV_BAR2), 0xd2300004);
}

static void test_no_bars(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, 16);
    probe_create(probe);
    for (unsigned i = 1; i <= HV_BAR5; i++) {
        set_bar_dword((enum hv_bar)i, 0xffffffff);
        assert_int_equal(bar_dword((enum hv_bar)i), 0);
    }
    config_write(1, PCI_CFG_ROM, 4, 0xffffffff);
    assert_int_equal(config_read(1, PCI_CFG_ROM, 4), 0);
}

static void test_malformed_bars(void **state)
{
    static const uint32_t malformed[][HV_BAR_COUNT] = {
        {0xfffffff8 | 2},                           /* reserved type */
        {0xffffff5f & ~0xfu},                       /* hole in the mask */
        {0x0ffffff0},                               /* top missing */
        {0xffffffe4, 0},                            /* torn pair */
        {0xffffffe4, 0x7fffffff},                   /* torn pair */
        {0, 0, 0, 0, 0, 0xffffffe4},                /* no room for the upper half */
        {0xffffffff},                               /* 2 ports, or a reserved bit */
        {0xfffffff3},                               /* the reserved bit of I/O */
        {0xfffffe01},                               /* 512 ports */
        {0xff00ffe1},                               /* hole in the mask of ports */
        {0x00000001},                               /* no mask at all */
        {0, 0, 0, 0, 0, 0, 0xfffffc00},             /* ROM of 1 KiB */
        {0xfffff000, 0, 0xfffff004, 0xffffffff, 6}, /* the first ones are fine */
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(malformed); i++) {
        memcpy(probe->probed, malformed[i], sizeof(probe->probed));
        if (probe_try_create(probe) != HV_E_INVALID_PARAMETER)
            fail_msg("case %u was not refused", i);
        assert_null(probe->device);
        assert_int_equal(probe->torn_down, i + 1);
        assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0xffffffff);
    }
    /* Ports have 16 bits: the upper half of an I/O mask may be missing. */
    memset(probe->probed, 0, sizeof(probe->probed));
    probe->probed[HV_BAR0] = 0x0000ffe1;
    assert_int_equal(probe_try_create(probe), HV_OK);
    assert_int_equal(probe->device->bar[HV_BAR0].bytes, 32);
}

/* ---- decode and moves ---- */

#define FAILURE_LINES 16u /* of one host */

static void expect_last_line(const char *line)
{
    assert_string_equal(fake_log_last, line);
}

static void test_small_bar(void **state)
{
    unsigned lines;

    (void)state;
    probe_create(probe);
    decode(probe, true);
    probe->read_fill = 0x77;
    assert_int_equal(fake_vm_read(&world.vm, MEM32 + 0xf8, 8), 0x7777777777777777ull);
    assert_int_equal(probe->last_offset, 0xf8);
    assert_ptr_equal(who_answers(MEM32 + 0x100), NULL);
    probe->access = HV_E_NOT_SUPPORTED;
    lines = fake_log_lines;
    assert_int_equal(fake_vm_read(&world.vm, MEM32, 2), 0xffff);
    assert_int_equal(fake_log_lines, lines + 1);
    expect_last_line(
        "pci: device 00:01.0 BAR0 read of 2 bytes at 0x0 failed: HV_E_NOT_SUPPORTED\n");
    fake_vm_write(&world.vm, MEM32 + 0x10, 1, 5);
    expect_last_line(
        "pci: device 00:01.0 BAR0 write of 1 bytes at 0x10 failed: HV_E_NOT_SUPPORTED\n");
    for (unsigned i = 0; i < FAILURE_LINES; i++)
        fake_vm_write(&world.vm, MEM32, 1, 5);
    assert_int_equal(fake_log_lines, lines + FAILURE_LINES);
    assert_int_equal(probe->last_value, 5);
    assert_int_equal(probe->device->bar[HV_BAR0].trapped_reads, 2);
    assert_int_equal(probe->device->bar[HV_BAR0].trapped_writes, 1 + FAILURE_LINES);
    assert_int_equal(probe->device->bar[HV_BAR0].callback_failures, 2 + FAILURE_LINES);
}

static void test_moves(void **state)
{
    hv_handle_t section;
    uint64_t leaves;

    (void)state;
    probe_create(probe);
    section = make_section(1024, HV_PAGE_READWRITE, HV_SEC_LARGE_PAGES);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 0, 1024, RW, section, 0), HV_OK);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 2047, 1, RW, section, 7), HV_OK);
    decode(probe, true);
    leaves = pt_hash(&world.vm.tables);
    for (unsigned with_decode = 0; with_decode < 2; with_decode++) {
        uint64_t to = MEM64 + MIB(64) * (with_decode + 1);

        if (!with_decode)
            decode(probe, false);
        move_bar(probe, HV_BAR2, to);
        if (!with_decode)
            decode(probe, true);
        assert_int_equal(fake_vm_read(&world.vm, MEM64, 8), ~0ull);
        assert_int_equal(fake_vm_way, FAKE_NOBODY);
        assert_int_equal(fake_vm_read(&world.vm, to + 5 * PAGE_BYTES, 8), section_word(5, 0));
        assert_int_equal(fake_vm_read(&world.vm, to + MIB(8) - 8, 8), section_word(7, 4088));
        assert_int_equal(world.vm.tables.leaves[1], 1);
        assert_int_equal(world.vm.tables.leaves[2], 2);
    }
    /* Writing the base that it has changes nothing. */
    uint64_t flushes = world.vm.stats.flushes;
    move_bar(probe, HV_BAR2, MEM64 + MIB(128));
    assert_int_equal(world.vm.stats.flushes, flushes);
    move_bar(probe, HV_BAR2, MEM64);
    assert_int_equal(pt_hash(&world.vm.tables), leaves);
    hv_handle_close(section);
}

static void test_half_written(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    section = make_section(8, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 0, 8, RW, section, 0), HV_OK);
    decode(probe, true);
    /* From 4_00000000 to 5_12000000 with decode on, low dword first: 4_12000000 is a base for a moment. */
    set_bar_dword(HV_BAR2, 0x12000000);
    assert_int_equal(fake_vm_read(&world.vm, 0x412000000, 8), section_word(0, 0));
    set_bar_dword(HV_BAR3, 5);
    assert_int_equal(fake_vm_read(&world.vm, 0x512000000, 8), section_word(0, 0));
    assert_int_equal(fake_vm_read(&world.vm, 0x412000000, 8), ~0ull);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS + 2);
    assert_int_equal(world.vm.tables.leaves[1], 8);
    /* The sizing probe with decode on: nothing stays behind at any base on the way. */
    set_bar_dword(HV_BAR2, 0xffffffff);
    set_bar_dword(HV_BAR3, 0xffffffff);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS + 1);
    set_bar_dword(HV_BAR2, 0x12000000);
    set_bar_dword(HV_BAR3, 5);
    assert_int_equal(world.vm.tables.leaves[1], 8);
    assert_int_equal(fake_vm_read(&world.vm, 0x512000000, 8), section_word(0, 0));
    hv_handle_close(section);
}

static void test_unusable_bases(void **state)
{
    static const struct {
        uint64_t base;
        bool usable;
    } cases[] = {
        {0, false},                          /* guest RAM */
        {FAKE_VM_LOW_BYTES - MIB(8), false}, /* its last part */
        {FAKE_VM_LOW_BYTES, true},           /* just above */
        {FAKE_VM_HIGH_START - MIB(8), true}, /* just below */
        {FAKE_VM_HIGH_START, false},
        {FAKE_VM_HIGH_START + FAKE_VM_HIGH_BYTES, true},
        {PHYS_LIMIT - MIB(8), true},
        {PHYS_LIMIT, false},
        {0xffffffffff800000ull, false}, /* ends at 2^64 */
    };
    hv_handle_t section;

    (void)state;
    probe_create(probe);
    section = make_section(1, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 2047, 1, RW, section, 0), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(cases) * 2; i++) {
        uint64_t base = cases[i / 2].base;
        struct hv_bar_stats stats;

        decode(probe, i % 2);
        move_bar(probe, HV_BAR2, base);
        decode(probe, true);
        assert_int_equal(inspect_bar(probe->device, HV_BAR2, &stats), HV_OK);
        assert_int_equal(stats.base, base);
        if (stats.decoded != cases[i / 2].usable)
            fail_msg("base 0x%llx", (unsigned long long)base);
        assert_int_equal(world.vm.tables.leaves[1], cases[i / 2].usable);
        assert_int_equal(stats.direct_pages, cases[i / 2].usable);
        if (stats.decoded)
            assert_int_equal(fake_vm_read(&world.vm, base + MIB(8) - 8, 8), section_word(0, 4088));
        decode(probe, false);
        assert_int_equal(world.vm.tables.leaves[1], 0);
    }
    hv_handle_close(section);
}

static void test_overlaps(void **state)
{
    (void)state;
    probe_create(probe);
    probe_create(second);
    probe_create(third);
    move_bar(second, HV_BAR2, MEM64);
    move_bar(third, HV_BAR2, MEM64);
    /* First decoded wins, whatever the slot. */
    decode(second, true);
    decode(probe, true);
    decode(third, true);
    assert_ptr_equal(who_answers(MEM64), second);
    /* The others come in by themselves, oldest first. */
    decode(second, false);
    assert_ptr_equal(who_answers(MEM64), probe);
    decode(second, true);
    assert_ptr_equal(who_answers(MEM64), probe);
    move_bar(probe, HV_BAR2, MEM64 + MIB(512));
    assert_ptr_equal(who_answers(MEM64), third);
    assert_ptr_equal(who_answers(MEM64 + MIB(512)), probe);
    /* One that waits may give up, or go elsewhere. */
    move_bar(second, HV_BAR2, MEM64 + MIB(256));
    assert_ptr_equal(who_answers(MEM64 + MIB(256)), second);
    move_bar(second, HV_BAR2, MEM64);
    assert_ptr_equal(who_answers(MEM64 + MIB(256)), NULL);
    decode(second, false);
    decode(third, false);
    assert_ptr_equal(who_answers(MEM64), NULL);
    /* A waiting device, and one that others wait for, may be destroyed. */
    move_bar(third, HV_BAR2, MEM64);
    decode(third, true);
    decode(second, true);
    assert_int_equal(hv_device_destroy(third->device), HV_OK);
    assert_ptr_equal(who_answers(MEM64), second);
    move_bar(probe, HV_BAR2, MEM64);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_ptr_equal(who_answers(MEM64), second);
}

static void test_partial_overlap(void **state)
{
    hv_handle_t section;

    (void)state;
    probe_bar64(second, HV_BAR0, MIB(32));
    probe_create(probe);
    probe_create(second);
    section = make_section(1, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_mmio_range_create(second->device, HV_BAR0, 0, 1, RW, section, 0), HV_OK);
    move_bar(probe, HV_BAR2, MEM64 + MIB(24));
    move_bar(second, HV_BAR0, MEM64);
    decode(probe, true);
    decode(second, true);
    assert_int_equal(fake_vm_read(&world.vm, MEM64, 8), ~0ull);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    decode(probe, false);
    assert_int_equal(fake_vm_read(&world.vm, MEM64, 8), section_word(0, 0));
    hv_handle_close(section);
}

static void test_rom(void **state)
{
    hv_handle_t section;

    (void)state;
    probe->probed[HV_BAR_ROM] = 0u - 0x10000u;
    probe_create(probe);
    section = make_section(16, HV_PAGE_EXECUTE_READWRITE, 0);
    assert_int_equal(
        hv_mmio_range_create(probe->device, HV_BAR_ROM, 0, 16, HV_MMIO_EXECUTABLE, section, 0),
        HV_OK);
    decode(probe, true);
    assert_int_equal(fake_vm_read(&world.vm, MEM32, 8), ~0ull);
    move_bar(probe, HV_BAR_ROM, MEM32 | PCI_ROM_ENABLE);
    assert_int_equal(fake_vm_read(&world.vm, MEM32 + 15 * PAGE_BYTES, 8), section_word(15, 0));
    fake_vm_write(&world.vm, MEM32 + 15 * PAGE_BYTES, 8, 1);
    assert_int_equal(probe->writes, 1);
    assert_int_equal(probe->last_bar, HV_BAR_ROM);
    assert_int_equal(fake_vm_read(&world.vm, MEM32 + 15 * PAGE_BYTES, 8), section_word(15, 0));
    decode(probe, false);
    assert_int_equal(fake_vm_read(&world.vm, MEM32, 8), ~0ull);
    decode(probe, true);
    move_bar(probe, HV_BAR_ROM, MEM32);
    assert_int_equal(fake_vm_read(&world.vm, MEM32, 8), ~0ull);
    hv_handle_close(section);
}

static void test_activation_without_tables(void **state)
{
    hv_handle_t section;
    unsigned lines;

    (void)state;
    probe_create(probe);
    probe_create(second);
    section = make_section(4, HV_PAGE_READWRITE, 0);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 0, 1, RW, section, 0), HV_OK);
    assert_int_equal(hv_mmio_range_create(probe->device, HV_BAR2, 700, 2, RW, section, 1), HV_OK);
    assert_int_equal(pt_pool_reserve(&world.vm.pool, world.vm.pool.free_tables), HV_OK);
    fake_blocks_exhaust(true);
    lines = fake_log_lines;
    decode(probe, true);
    /* BAR2 is out as a whole and says so; BAR0 and other devices work. */
    assert_int_equal(fake_log_lines, lines + 1);
    assert_false(probe->device->bar[HV_BAR2].live);
    assert_int_equal(world.vm.tables.leaves[1], 0);
    assert_ptr_equal(who_answers(MEM64), NULL);
    assert_ptr_equal(who_answers(MEM32), probe);
    decode(second, true);
    assert_ptr_equal(who_answers(MEM64 + MIB(8)), second);
    fake_blocks_exhaust(false);
    pt_pool_unreserve(&world.vm.pool, world.vm.pool.reserved);
    /* The next change of decode anywhere tries again. */
    decode(second, false);
    assert_int_equal(fake_vm_read(&world.vm, MEM64, 8), section_word(0, 0));
    assert_int_equal(world.vm.pool.reserved, 0);
    hv_handle_close(section);
}

static void test_full_region_map(void **state)
{
    static const struct mmio_handler nobody;

    (void)state;
    probe_create(probe);
    for (unsigned i = 0; i < MMIO_MAX_REGIONS - WORLD_REGIONS - 1; i++)
        assert_int_equal(mmio_region_add(&world.vm.regions, GPA(GIB(100ull) + i * 16), 16, &nobody),
                         HV_OK);
    decode(probe, true);
    assert_true(probe->device->bar[HV_BAR0].live);
    assert_false(probe->device->bar[HV_BAR2].live);
    decode(probe, false);
    for (unsigned i = 0; i < MMIO_MAX_REGIONS - WORLD_REGIONS - 1; i++)
        assert_int_equal(mmio_region_remove(&world.vm.regions, GPA(GIB(100ull) + i * 16)), HV_OK);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_address_port),
        TEST(test_absent_functions),
        TEST(test_identity),
        TEST(test_command),
        TEST(test_device_dwords),
        TEST(test_initial_addresses),
        TEST(test_sizing),
        TEST(test_no_bars),
        TEST(test_malformed_bars),
        TEST(test_small_bar),
        TEST(test_moves),
        TEST(test_half_written),
        TEST(test_unusable_bases),
        TEST(test_overlaps),
        TEST(test_partial_overlap),
        TEST(test_rom),
        TEST(test_activation_without_tables),
        TEST(test_full_region_map),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
