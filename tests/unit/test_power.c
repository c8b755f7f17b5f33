/* hv/pci/capability.c: power management, and function-level reset. */
#include "tests/unit/cap_kit.h"

#include "hv/pci/capability.h"

#define PMCSR      (AT_POWER + 4)
#define DEVCTL     (AT_EXPRESS + 8)
#define DEVSTA     (AT_EXPRESS + 10)
#define FIRST_WORD 0x2810u /* of Device Control */
#define RESET_WORD 0x8000u
#define MEMORY_ON  (PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER)

static struct probe *const probe = &world.probe[0];

static void set_state(uint32_t state)
{
    config_write(1, PMCSR, 2, state);
}

/* Is BAR2 there, and the page of the range direct? */
static void expect_bar(bool up)
{
    assert_ptr_equal(who_answers(CAP_BAR + 0x100), up ? probe : NULL);
    fake_vm_read(&world.vm, CAP_BAR + 0x10000, 8);
    assert_int_equal(fake_vm_way, up ? FAKE_DIRECT : FAKE_NOBODY);
}

static hv_handle_t add_range(void)
{
    hv_handle_t section = make_section(1, HV_PAGE_READWRITE, 0);

    assert_int_equal(
        hv_mmio_range_create(probe->device, HV_BAR2, 0x10, 1, HV_MMIO_WRITEABLE, section, 0),
        HV_OK);
    return section;
}

static void close_range(hv_handle_t section)
{
    assert_int_equal(hv_mmio_range_destroy(probe->device, HV_BAR2, 0x10), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
}

static void test_d3hot(void **state)
{
    hv_handle_t section;

    (void)state;
    cap_create(probe, OFFER_ALL);
    section = add_range();
    bar_put(CAP_TABLE, 4, 0xfee00000);
    expect_bar(true);
    set_state(3);
    assert_int_equal(config_read(1, PMCSR, 2), 0x000b);
    expect_bar(false);
    assert_int_equal(bar_get(CAP_TABLE, 4), 0xffffffff);
    /* Config space answers and can be written; nothing decodes for that. */
    assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x56781234);
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    config_write(1, PCI_CFG_COMMAND, 2, MEMORY_ON);
    expect_bar(false);
    /* Back: all as before. */
    set_state(0);
    expect_bar(true);
    assert_int_equal(bar_get(CAP_TABLE, 4), 0xfee00000);
    /* Decode off meanwhile stays off. */
    set_state(3);
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    set_state(0);
    expect_bar(false);
    config_write(1, PCI_CFG_COMMAND, 2, MEMORY_ON);
    expect_bar(true);
    close_range(section);
}

/* From each state to each: only D0 and D3hot are there. */
static void test_states(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    for (uint32_t from = 0; from <= 3; from += 3)
        for (uint32_t to = 0; to <= 3; to++)
            for (uint32_t noise = 0; noise <= 0xfffc; noise += 0xfffc) {
                uint32_t now = to == 0 || to == 3 ? to : from;

                set_state(from);
                set_state(to | noise);
                assert_int_equal(config_read(1, PMCSR, 4), 8 | now);
                assert_ptr_equal(who_answers(CAP_BAR + 0x100), now == 0 ? probe : NULL);
            }
    /* The other bytes of the dword leave it alone. */
    set_state(3);
    config_write(1, PMCSR + 1, 1, 0);
    config_write(1, PMCSR + 2, 2, 0);
    assert_int_equal(config_read(1, PMCSR, 4), 0xb);
}

/* A BAR that waits for its place does not get it while its device sleeps. */
static void test_sleeper_gives_way(void **state)
{
    struct probe *other = &world.probe[1];

    (void)state;
    cap_create(probe, OFFER_ALL);
    probe_create(other);
    move_bar(other, HV_BAR2, CAP_BAR);
    config_write(2, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_ptr_equal(who_answers(CAP_BAR + 0x100), probe);
    set_state(3);
    assert_ptr_equal(who_answers(CAP_BAR + 0x100), other);
    set_state(0);
    assert_ptr_equal(who_answers(CAP_BAR + 0x100), other);
    config_write(2, PCI_CFG_COMMAND, 2, 0);
    assert_ptr_equal(who_answers(CAP_BAR + 0x100), probe);
}

static void program_everything(void)
{
    config_write(1, DEVCTL, 2, 0x50ef);
    config_write(1, AT_MSI + 4, 4, 0xfee00000);
    config_write(1, AT_MSI + 12, 2, 0x41);
    config_write(1, AT_MSI + 16, 4, 1);
    config_write(1, AT_MSI + 2, 2, 1);
    assert_int_equal(hv_interrupt_raise(probe->device, 0), HV_OK); /* pending */
    config_write(1, AT_MSIX + 2, 2, 0x8000);
    for (uint32_t vector = 0; vector < CAP_VECTORS; vector++) {
        bar_put(CAP_TABLE + vector * 16, 8, 0xfee00000);
        bar_put(CAP_TABLE + vector * 16 + 8, 8, 0x41);
    }
    bar_put(CAP_TABLE + 12, 4, 1);
    assert_int_equal(hv_interrupt_raise(probe->device, 0), HV_OK); /* pending too */
    assert_int_equal(bar_get(CAP_PENDING, 8), 1);
    assert_int_equal(config_read(1, AT_MSI + 20, 4), 1);
}

/* Each register of the core as it was at first. */
static void expect_first_values(void)
{
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), 0);
    assert_int_equal(config_read(1, PMCSR, 4), 8);
    assert_int_equal(config_read(1, AT_MSI + 2, 2), 0x018a);
    for (uint32_t at = 4; at < 24; at += 4)
        assert_int_equal(config_read(1, AT_MSI + at, 4), 0);
    assert_int_equal(config_read(1, AT_MSIX + 2, 2), CAP_VECTORS - 1);
    assert_int_equal(config_read(1, DEVCTL, 4), FIRST_WORD);
    move_bar(probe, HV_BAR2, CAP_BAR);
    config_write(1, PCI_CFG_COMMAND, 2, MEMORY_ON);
    assert_int_equal(bar_get(CAP_PENDING, 8), 0);
    for (uint32_t at = 0; at < CAP_VECTORS * 16; at += 4)
        assert_int_equal(bar_get(CAP_TABLE + at, 4), at % 16 == 12);
}

/* The device is told when all is off. */
static void see_reset(struct probe *p)
{
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), 0);
    assert_int_equal(config_read(1, AT_MSIX + 2, 2), CAP_VECTORS - 1);
    expect_bar(false);
    assert_int_equal(hv_interrupt_raise(p->device, 0), HV_OK);
}

static void test_reset(void **state)
{
    hv_handle_t section;

    (void)state;
    probe->in_reset = see_reset;
    cap_create(probe, OFFER_ALL);
    section = add_range();
    for (unsigned asleep = 0; asleep < 2; asleep++) {
        program_everything();
        expect_bar(true);
        set_state(asleep ? 3 : 0);
        config_write(1, DEVCTL, 2, RESET_WORD | 0xf);
        assert_int_equal(config_read(1, DEVCTL, 2), FIRST_WORD);
        expect_bar(false);
        expect_first_values();
        expect_bar(true); /* ranges are still there */
        assert_int_equal(probe->resets, asleep + 1);
    }
    expect_messages(0);
    close_range(section);
}

/* No other bit, and no other byte, resets. */
static void test_no_reset(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    for (unsigned bit = 0; bit < 15; bit++)
        config_write(1, DEVCTL, 2, 1u << bit);
    config_write(1, DEVCTL, 1, 0xff);
    config_write(1, DEVSTA, 2, 0xffff);
    config_write(1, DEVSTA, 1, 0xff);
    assert_int_equal(config_read(1, DEVSTA, 2),
                     0); /* nothing was reported, and nothing is under way */
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), MEMORY_ON);
    assert_int_equal(probe->resets, 0);
    config_write(1, DEVCTL + 1, 1, 0x80);
    assert_int_equal(probe->resets, 1);
    assert_int_equal(config_read(1, PCI_CFG_COMMAND, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_d3hot, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_states, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_sleeper_gives_way, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_reset, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_no_reset, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
