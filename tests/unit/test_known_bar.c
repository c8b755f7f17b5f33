/*
 * Mistakes that other hypervisors made with BARs, each as a test that would have found it.
 *
 *   Cloud Hypervisor #7938   a failed move left the register changed   a_bad_address_leaves_no_trace,
 *                                                                      a_move_without_memory_leaves_no_trace
 *   Firecracker #6091        a 64-bit BAR is two writes                half_written_bar, doorbells_follow
 *   OpenVMM #3384            rewritten while decode is on: ignored     written_with_decode_on
 *   Xen 7abd7bc162           the decode bit stuck on                   decode_does_not_stick
 *   Xen 7c24d58a6e           MSI-X table page mapped over              test_known_msix
 *   ACRN 7da53ce13           I/O BAR mask wrong                        sizing_of_each_kind
 *   ACRN c9c0d2167           remap cleared device state                registers_survive_a_move
 *   OpenVMM                  destroyed mapping came back               a_destroyed_mapping_stays_away
 */
#include "tests/unit/pci_world.h"

#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "tests/fake/blocks.h"
#include "tests/unit/bell_kit.h"

#define PLACE      GIB(32ull)
#define OTHER      GIB(48ull)
#define COMMAND_MM PCI_COMMAND_MEMORY

static struct probe *const second = &world.probe[1];

static hv_status_t map(uint64_t page, uint64_t pages, hv_handle_t section)
{
    return hv_mmio_range_create(probe->device, HV_BAR2, page, pages, RW, section, 0);
}

static uint64_t bar2_register(void)
{
    return config_read(1, PCI_CFG_BAR0 + 8, 4) | (uint64_t)config_read(1, PCI_CFG_BAR0 + 12, 4)
                                                     << 32;
}

static bool is_direct(uint64_t gpa)
{
    fake_vm_read(&world.vm, gpa, 8);
    return fake_vm_way == FAKE_DIRECT;
}

/* A device with BAR2 of 8 MiB at PLACE, decoded, its page 5 out of a section. */
static hv_handle_t up(void)
{
    hv_handle_t section = make_section(4, HV_PAGE_READWRITE, 0);

    bars_up();
    move_bar(probe, HV_BAR2, PLACE);
    assert_int_equal(map(5, 1, section), HV_OK);
    assert_true(is_direct(PLACE + 5 * PAGE_BYTES));
    return section;
}

/*
 * The register keeps what the guest wrote, and the BAR is nowhere: not where it was and not where it cannot be. Moved back, all
 * is as it was.
 */
static void a_bad_address_leaves_no_trace(void **state)
{
    static const uint64_t bad[] = {
        0,                             /* RAM */
        MIB(8),                        /* RAM */
        FAKE_VM_HIGH_START + MIB(8),   /* RAM */
        1ull << FAKE_VM_PHYSICAL_BITS, /* no such address */
        0 - MIB(8),                    /* the end of them all */
        PCI_ECAM_BASE & ~(MIB(8) - 1), /* config space */
        OTHER,                         /* another device */
    };
    struct world_state before, now;
    hv_handle_t section;

    (void)state;
    section = up();
    probe_create(second);
    move_bar(second, HV_BAR2, OTHER);
    decode(second, true);
    before = world_state();
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        move_bar(probe, HV_BAR2, bad[i]);
        assert_int_equal(bar2_register() & ~0xfull, bad[i]);
        assert_false(probe->device->bar[HV_BAR2].live);
        assert_null(who_answers(PLACE));
        assert_false(is_direct(PLACE + 5 * PAGE_BYTES));
        assert_false(is_direct(bad[i] + 5 * PAGE_BYTES));
        assert_ptr_equal(who_answers(OTHER), second);
        assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
        assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), COMMAND_MM);
        move_bar(probe, HV_BAR2, PLACE);
        assert_true(is_direct(PLACE + 5 * PAGE_BYTES));
        now = world_state();
        assert_int_equal(now.hash, before.hash);
        assert_int_equal(now.tables, before.tables);
        assert_int_equal(now.mappings, before.mappings);
        assert_int_equal(now.records, before.records);
    }
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* There is no memory for tables at the new place: the move is not half done, and comes when it can. */
static void a_move_without_memory_leaves_no_trace(void **state)
{
    struct world_state before, now;
    hv_handle_t section;

    (void)state;
    section = up();
    before = world_state();
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    move_bar(probe, HV_BAR2, OTHER);
    assert_int_equal(pt_pool_reserve(&world.vm.pool, world.vm.pool.free_tables), HV_OK);
    fake_blocks_exhaust(true);
    config_write(1, PCI_CFG_COMMAND, 2, COMMAND_MM);
    assert_false(probe->device->bar[HV_BAR2].live);
    assert_int_equal(bar2_register() & ~0xfull, OTHER);
    assert_null(who_answers(OTHER));
    assert_null(who_answers(PLACE));
    fake_blocks_exhaust(false);
    pt_pool_unreserve(&world.vm.pool, world.vm.pool.reserved);
    move_bar(probe, HV_BAR2, PLACE);
    assert_true(is_direct(PLACE + 5 * PAGE_BYTES));
    now = world_state();
    assert_int_equal(now.hash, before.hash);
    assert_int_equal(now.tables, before.tables);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* Between the two writes the BAR is where both halves say, which is a place like any other. */
static void half_written_bar(void **state)
{
    const uint64_t between = GIB(32ull) | MIB(16);
    hv_handle_t section;

    (void)state;
    section = up();
    config_write(1, PCI_CFG_BAR0 + 8, 4, (uint32_t)MIB(16));
    assert_ptr_equal(who_answers(between), probe);
    assert_true(is_direct(between + 5 * PAGE_BYTES));
    assert_null(who_answers(PLACE));
    config_write(1, PCI_CFG_BAR0 + 12, 4, 12);
    assert_null(who_answers(between));
    assert_true(is_direct(GIB(48ull) + MIB(16) + 5 * PAGE_BYTES));
    /* Sizing with decode on: nowhere, and back. */
    config_write(1, PCI_CFG_BAR0 + 8, 4, UINT32_MAX);
    config_write(1, PCI_CFG_BAR0 + 12, 4, UINT32_MAX);
    assert_int_equal(bar2_register(), ~(MIB(8) - 1) | 0xc);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS + 1); /* BAR0 alone */
    config_write(1, PCI_CFG_BAR0 + 8, 4, 0);
    config_write(1, PCI_CFG_BAR0 + 12, 4, 8);
    assert_true(is_direct(PLACE + 5 * PAGE_BYTES));
    assert_int_equal(hv_handle_close(section), HV_OK);
}

static void doorbells_follow(void **state)
{
    const uint64_t bell = 0x9038;
    hv_handle_t section;
    uint64_t at[] = {PLACE, PLACE + MIB(16), OTHER + MIB(16)};

    (void)state;
    make_events();
    section = up();
    assert_int_equal(bell_add(HV_BAR2, bell, 7, DWORD, event[0]), HV_OK);
    for (unsigned i = 0; i < ARRAY_COUNT(at); i++) {
        if (i == 1)
            config_write(1, PCI_CFG_BAR0 + 8, 4, (uint32_t)MIB(16));
        if (i == 2)
            config_write(1, PCI_CFG_BAR0 + 12, 4, (uint32_t)(OTHER >> 32));
        for (unsigned place = 0; place < ARRAY_COUNT(at); place++) {
            fake_vm_write(&world.vm, at[place] + bell, 4, 7);
            assert_int_equal(taken(event[0]), place == i);
        }
    }
    assert_int_equal(probe->writes, 0);
    close_events();
    assert_int_equal(hv_handle_close(section), HV_OK);
}

static void written_with_decode_on(void **state)
{
    hv_handle_t section;

    (void)state;
    section = up();
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t to = (i % 2 ? PLACE : OTHER) + i * MIB(8);

        move_bar(probe, HV_BAR2, to);
        assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), COMMAND_MM);
        assert_ptr_equal(who_answers(to), probe);
        assert_true(is_direct(to + 5 * PAGE_BYTES));
        assert_int_equal(world.vm.regions.count, WORLD_REGIONS + 2);
    }
    move_bar(probe, HV_BAR0, 0xd0000000);
    assert_ptr_equal(who_answers(0xd0000000), probe);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

/* Off means off for each kind of BAR, however often, and whatever the other bits are. */
static void decode_does_not_stick(void **state)
{
    (void)state;
    probe_bar64(probe, HV_BAR2, MIB(8));
    probe->probed[HV_BAR0] = 0xfffffff9; /* 8 ports */
    probe->probed[HV_BAR_ROM] = 0xfffff800;
    probe->read_fill = 0x44;
    bars_up();
    config_write(1, PCI_CFG_ROM, 4, 0xd0000001);
    for (unsigned command = 0; command < 16; command++) {
        bool has_memory = (command & PCI_COMMAND_MEMORY) != 0;

        config_write(1, PCI_CFG_COMMAND, 2, command);
        assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), command & 7);
        assert_ptr_equal(who_answers(bar_base(probe, HV_BAR2)), has_memory ? probe : NULL);
        assert_ptr_equal(who_answers(0xd0000000), has_memory ? probe : NULL);
        assert_int_equal(fake_vm_in(&world.vm, (uint16_t)bar_base(probe, HV_BAR0), 1),
                         command & PCI_COMMAND_IO ? 0x44 : 0xff);
    }
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    config_write(1, PCI_CFG_ROM, 4, 0xd0000000); /* the ROM's own bit */
    assert_null(who_answers(0xd0000000));
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    assert_int_equal(world.vm.regions.count, WORLD_REGIONS);
}

/* All ones, read back: size bits, type bits, nothing else; and the register is what it was when it is put back. */
static void sizing_of_each_kind(void **state)
{
    static const struct {
        uint32_t probed[2];
        enum hv_bar bar;
    } kinds[] = {
        {{0xfffffff0}, HV_BAR0},             /* 16 bytes of memory */
        {{0x80000008}, HV_BAR0},             /* 2 GiB, prefetchable */
        {{0xfffffffd}, HV_BAR0},             /* 4 ports */
        {{0xffffff01}, HV_BAR0},             /* 256 ports */
        {{0x0000ffe1}, HV_BAR0},             /* 32 ports, 16 bits */
        {{0xfffffff4, 0xffffffff}, HV_BAR0}, /* 16 bytes, 64-bit */
        {{0x0000000c, 0xfffffff0}, HV_BAR0}, /* 64 GiB */
        {{0x00000004, 0xffff8000}, HV_BAR4}, /* 128 TiB, more than there is */
        {{0xfffff800}, HV_BAR_ROM},
        {{0xff000000}, HV_BAR_ROM},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++) {
        bool is_rom = kinds[i].bar == HV_BAR_ROM, is_pair = kinds[i].probed[1] != 0;
        uint32_t offset = is_rom ? PCI_CFG_ROM : PCI_CFG_BAR0 + 4 * (uint32_t)kinds[i].bar;
        uint32_t old[2];

        *probe = (struct probe){0};
        probe->probed[kinds[i].bar] = kinds[i].probed[0];
        if (is_pair)
            probe->probed[kinds[i].bar + 1] = kinds[i].probed[1];
        probe_create(probe);
        for (uint32_t command = 0; command < 4; command++) {
            config_write(1, PCI_CFG_COMMAND, 2, command);
            for (unsigned half = 0; half <= is_pair; half++) {
                old[half] = config_read(1, offset + 4 * half, 4);
                config_write(1, offset + 4 * half, 4, is_rom ? 0xfffffffe : UINT32_MAX);
            }
            for (unsigned half = 0; half <= is_pair; half++)
                assert_int_equal(config_read(1, offset + 4 * half, 4), kinds[i].probed[half]);
            for (unsigned half = 0; half <= is_pair; half++) {
                config_write(1, offset + 4 * half, 4, old[half]);
                assert_int_equal(config_read(1, offset + 4 * half, 4), old[half]);
            }
        }
        assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    }
}

/* A move is the bus's affair: the device hears of the writes to its registers and of nothing else. */
static void registers_survive_a_move(void **state)
{
    hv_handle_t section;
    uint64_t word = 0;

    (void)state;
    section = up();
    config_write(1, 0x40, 4, 0x12345678);
    fake_vm_write(&world.vm, PLACE + 5 * PAGE_BYTES + 64, 8, 0xabcdef);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    move_bar(probe, HV_BAR2, OTHER);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_BUS_MASTER);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_BUS_MASTER | PCI_COMMAND_MEMORY);
    word = fake_vm_read(&world.vm, OTHER + 5 * PAGE_BYTES + 64, 8);
    assert_int_equal(word, 0xabcdef);
    assert_int_equal(config_read(1, 0x40, 4), 0x12345678);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2),
                     PCI_COMMAND_BUS_MASTER | PCI_COMMAND_MEMORY);
    assert_int_equal(probe->initialized + probe->configured + probe->started, 3);
    assert_int_equal(probe->stopped + probe->torn_down + probe->resets, 0);
    assert_int_equal(probe->writes, 0);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

static void a_destroyed_mapping_stays_away(void **state)
{
    hv_handle_t section;

    (void)state;
    section = up();
    for (unsigned decoded = 0; decoded < 2; decoded++) {
        decode(probe, decoded);
        assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 5), HV_OK);
        for (unsigned toggle = 0; toggle < 3; toggle++) {
            decode(probe, false);
            assert_null(who_answers(PLACE + 5 * PAGE_BYTES));
            decode(probe, true);
            assert_ptr_equal(who_answers(PLACE + 5 * PAGE_BYTES), probe);
            assert_int_equal(fake_vm_way, FAKE_TRAPPED);
        }
        move_bar(probe, HV_BAR2, OTHER);
        assert_ptr_equal(who_answers(OTHER + 5 * PAGE_BYTES), probe);
        move_bar(probe, HV_BAR2, PLACE);
        assert_int_equal(map(5, 1, section), HV_OK);
    }
    assert_int_equal(hv_handle_close(section), HV_OK);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(a_bad_address_leaves_no_trace),
        TEST(a_move_without_memory_leaves_no_trace),
        TEST(half_written_bar),
        TEST(doorbells_follow),
        TEST(written_with_decode_on),
        TEST(decode_does_not_stick),
        TEST(sizing_of_each_kind),
        TEST(registers_survive_a_move),
        TEST(a_destroyed_mapping_stays_away),
    };

    return cmocka_run_group_tests_name("known mistakes with BARs", tests, NULL, NULL);
}
