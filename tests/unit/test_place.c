/* hv/pci/place.c: where BARs are put at power-on. */
#include "tests/unit/pci_world.h"

#include "hv/pci/config.h"

#define MEM32 0xc0000000ull
#define MEM64 0x400000000ull

static struct probe *const probe = &world.probe[0];
static struct probe *const second = &world.probe[1];
static struct probe *const third = &world.probe[2];

static void test_windows(void **state)
{
    struct pci_window io = pci_window(&world.vm, PCI_SPACE_IO);
    struct pci_window low = pci_window(&world.vm, PCI_SPACE_MEM32);
    struct pci_window high = pci_window(&world.vm, PCI_SPACE_MEM64);

    (void)state;
    assert_int_equal(io.start, 0xc000);
    assert_int_equal(io.end, 0x10000);
    assert_int_equal(low.start, MEM32);
    assert_int_equal(low.end, PCI_ECAM_BASE);
    assert_int_equal(high.start, MEM64);
    assert_int_equal(high.end, 1ull << FAKE_VM_PHYSICAL_BITS);
    hv_caps.physical_bits = 52; /* more than the tables have */
    assert_int_equal(pci_window(&world.vm, PCI_SPACE_MEM64).end, BIT(PT_INPUT_BITS));
    world.vm.ram[1].bytes = GIB(20ull) + 1;
    assert_int_equal(pci_window(&world.vm, PCI_SPACE_MEM64).start, GIB(25ull));
    probe_bar64(probe, HV_BAR0, MIB(2));
    probe_create(probe);
    assert_int_equal(bar_base(probe, HV_BAR0), GIB(25ull));
}

/* The first gap that is large enough, aligned. */
static void test_first_fit(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, (uint32_t)MIB(4));
    probe->probed[HV_BAR1] = 0xffffff01;
    probe_bar32(second, HV_BAR0, 16);
    second->probed[HV_BAR1] = 0xfffffffd;
    probe_create(probe);
    probe_create(second);
    assert_int_equal(bar_base(second, HV_BAR0), MEM32 + MIB(4));
    assert_int_equal(bar_base(second, HV_BAR1), 0xc100);
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    /* 8 MiB do not fit into the 4 that are free again; 1 MiB does. */
    probe_bar32(third, HV_BAR0, (uint32_t)MIB(8));
    probe_bar32(third, HV_BAR2, (uint32_t)MIB(1));
    probe_bar32(third, HV_BAR3, 16);
    probe_create(third);
    assert_int_equal(bar_base(third, HV_BAR0), MEM32 + MIB(8));
    assert_int_equal(bar_base(third, HV_BAR2), MEM32);
    assert_int_equal(bar_base(third, HV_BAR3), MEM32 + MIB(1));
    probe->probed[HV_BAR0] = 0;
    probe_create(probe);
    assert_int_equal(bar_base(probe, HV_BAR1), 0xc000);
}

/* Where the guest has put a BAR nothing else is put, be it decoded or not; port and memory numbers are not the same. */
static void test_programmed_ones(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0, (uint32_t)MIB(1));
    probe->probed[HV_BAR1] = 0xffffff01;
    probe_create(probe);
    move_bar(probe, HV_BAR0, MEM32 + MIB(3));
    move_bar(probe, HV_BAR1, 0xc100);
    probe_bar32(second, HV_BAR0, (uint32_t)MIB(2));
    probe_bar32(second, HV_BAR1, (uint32_t)MIB(2));
    probe->probed[HV_BAR2] = 0;
    second->probed[HV_BAR2] = 0xffffff01;
    second->probed[HV_BAR3] = 0xffffff01;
    probe_create(second);
    assert_int_equal(bar_base(second, HV_BAR0), MEM32);
    assert_int_equal(bar_base(second, HV_BAR1), MEM32 + MIB(4));
    assert_int_equal(bar_base(second, HV_BAR2), 0xc000);
    assert_int_equal(bar_base(second, HV_BAR3), 0xc200);
}

static void test_no_place(void **state)
{
    (void)state;
    probe_bar32(probe, HV_BAR0,
                0x40000000); /* 1 GiB: nearly all of the window, but for config space */
    probe_bar32(probe, HV_BAR1, 0x20000000);
    probe_bar32(probe, HV_BAR2, 0x10000000);
    probe_bar64(probe, HV_BAR4, GIB(512ull)); /* all that this CPU can name */
    probe_create(probe);
    assert_int_equal(bar_base(probe, HV_BAR0), 0);
    assert_int_equal(bar_base(probe, HV_BAR1), MEM32);
    assert_int_equal(bar_base(probe, HV_BAR2), MEM32 + 0x20000000);
    assert_int_equal(bar_base(probe, HV_BAR4), 0);
    assert_string_equal(fake_log_last, "pci: 00:01.0 BAR4: no place for 0x8000000000 bytes\n");
    decode(probe, true); /* RAM is there */
    assert_null(who_answers(0));
    assert_ptr_equal(who_answers(MEM32), probe);
}

/* The last place of a window, to its end. */
static void test_last_place(void **state)
{
    (void)state;
    hv_caps.physical_bits = 36;
    for (unsigned i = 0; i < 3; i++) {
        probe_bar64(&world.probe[i], HV_BAR0, GIB(16ull));
        probe_create(&world.probe[i]);
        assert_int_equal(bar_base(&world.probe[i], HV_BAR0), GIB(16ull) * (i + 1));
    }
    decode(third, true);
    assert_ptr_equal(who_answers(GIB(64ull) - 4), third);
    probe_bar64(second, HV_BAR0, GIB(32ull));
    assert_int_equal(hv_device_destroy(second->device), HV_OK);
    probe_create(second);
    assert_int_equal(bar_base(second, HV_BAR0), 0);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(test_windows),  TEST(test_first_fit),  TEST(test_programmed_ones),
        TEST(test_no_place), TEST(test_last_place),
    };

    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
