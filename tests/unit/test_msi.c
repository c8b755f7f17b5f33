/* hv/pci/msi.c: interrupts by MSI, the rules that hold for both kinds, and messages without a capability. */
#include "tests/unit/cap_kit.h"

#include "hv/pci/capability.h"

#define CONTROL (AT_MSI + 2)
#define MASKS   (AT_MSI + 16)
#define PENDING (AT_MSI + 20)
#define ADDRESS 0xfee01000u
#define DATA    0x4041u

static struct probe *const probe = &world.probe[0];

/* Enabled, with 2^granted vectors. */
static void enable(unsigned granted)
{
    config_write(1, AT_MSI + 4, 4, ADDRESS);
    config_write(1, AT_MSI + 8, 4, 0);
    config_write(1, AT_MSI + 12, 2, DATA);
    config_write(1, CONTROL, 2, 1u | granted << 4);
}

static uint32_t pending(void)
{
    return config_read(1, PENDING, 4);
}

/* Raise it; did `data` come? -1: nothing came. */
static void raise_and_expect(uint32_t vector, int64_t data)
{
    assert_int_equal(hv_interrupt_raise(probe->device, vector), HV_OK);
    if (data >= 0) {
        assert_int_equal(fake_apic_message[0].address, ADDRESS);
        assert_int_equal(fake_apic_message[0].data, data);
    }
    expect_messages(data >= 0);
}

/* All sizes that can be offered, all that a guest can grant, reserved ones too. */
static void test_vectors(void **state)
{
    (void)state;
    for (unsigned offered = 0; offered <= 5; offered++) {
        cap_create(probe, 0);
        cap_stop(probe);
        assert_int_equal(hv_msi_offer(probe->device, 1u << offered), HV_OK);
        config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_BUS_MASTER);
        for (unsigned granted = 0; granted <= 7; granted++) {
            const uint32_t have = 1u << (granted < offered ? granted : offered);

            config_write(1, 0x44, 4, ADDRESS);
            config_write(1, 0x4c, 2, DATA);
            config_write(1, 0x42, 2, 1u | granted << 4);
            for (uint32_t v = 0; v < 1u << offered; v++)
                raise_and_expect(v, (DATA & ~(have - 1)) | (v & (have - 1)));
            assert_int_equal(hv_interrupt_raise(probe->device, 1u << offered),
                             HV_E_INVALID_PARAMETER_2);
            assert_int_equal(hv_interrupt_raise(probe->device, UINT32_MAX),
                             HV_E_INVALID_PARAMETER_2);
        }
        /* As many mask bits as vectors. */
        config_write(1, 0x50, 4, UINT32_MAX);
        assert_int_equal(config_read(1, 0x50, 4), (uint32_t)((1ull << (1u << offered)) - 1));
        cap_destroy(probe);
    }
}

static void test_offer_checks(void **state)
{
    (void)state;
    cap_create(probe, 0);
    cap_stop(probe);
    for (uint32_t vectors = 0; vectors <= 70; vectors++)
        if (vectors == 0 || vectors > 32 || (vectors & (vectors - 1)))
            assert_int_equal(hv_msi_offer(probe->device, vectors), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_msi_offer(probe->device, UINT32_MAX), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(config_read(1, 6, 2), 0);
}

static void test_masked_is_pending(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    enable(5);
    config_write(1, MASKS, 4, 0x80000102);
    raise_and_expect(0, 0x4040);
    raise_and_expect(1, -1);
    raise_and_expect(8, -1);
    raise_and_expect(8, -1);
    raise_and_expect(31, -1);
    assert_int_equal(pending(), 0x80000102);
    /* Pending bits are the core's alone. */
    config_write(1, PENDING, 4, UINT32_MAX);
    assert_int_equal(pending(), 0x80000102);
    config_write(1, PENDING, 4, 0);
    assert_int_equal(pending(), 0x80000102);
    /* A narrow write unmasks as well, only what it unmasks, and each comes once. */
    config_write(1, MASKS + 1, 1, 0);
    assert_int_equal(fake_apic_message[0].data, 0x4048);
    expect_messages(1);
    assert_int_equal(pending(), 0x80000002);
    config_write(1, MASKS, 4, 0);
    assert_int_equal(fake_apic_message[0].data, 0x4041);
    assert_int_equal(fake_apic_message[1].data, 0x405f);
    expect_messages(2);
    assert_int_equal(pending(), 0);
    config_write(1, MASKS, 4, 0);
    expect_messages(0);
}

/* What is pending when the guest grants fewer vectors comes as one that it has. */
static void test_pending_and_fewer_granted(void **state)
{
    (void)state;
    cap_create(probe, OFFER_MSI);
    config_write(1, 0x44, 4, ADDRESS);
    config_write(1, 0x4c, 2, DATA);
    config_write(1, 0x42, 2, 1u | 5u << 4);
    config_write(1, 0x50, 4, 1u << 6);
    raise_and_expect(6, -1);
    config_write(1, 0x42, 2, 1u | 2u << 4);
    config_write(1, 0x50, 4, 0);
    assert_int_equal(fake_apic_message[0].data, 0x4042);
    expect_messages(1);
}

/* Disabled, no bus master, D3hot: nothing comes, then or later, and it is counted. */
static void test_nothing_comes(void **state)
{
    const struct capabilities *caps;

    (void)state;
    cap_create(probe, OFFER_ALL);
    caps = probe->device->capabilities;
    raise_and_expect(0, -1);
    raise_and_expect(12345, -1); /* nothing is enabled, so no vector is too large */
    enable(5);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY);
    raise_and_expect(0, -1);
    config_write(1, MASKS, 4, 1);
    raise_and_expect(0, -1);
    assert_int_equal(pending(), 0);
    config_write(1, MASKS, 4, 0);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    config_write(1, AT_POWER + 4, 2, 3);
    raise_and_expect(0, -1);
    config_write(1, AT_POWER + 4, 2, 0);
    expect_messages(0);
    assert_int_equal(caps->dropped, 5);
    assert_int_equal(caps->sent, 0);
    raise_and_expect(0, 0x4040);
    assert_int_equal(caps->sent, 1);
    pci_print_stats(world.host);
    assert_string_equal(fake_log_last, "pci: 00:01.0 1 interrupts sent, 5 dropped\n");
}

/* Pending already, when something else is in the way: it stays pending until that has gone. */
static void test_pending_behind_another_bar(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    enable(5);
    config_write(1, MASKS, 4, 1);
    raise_and_expect(0, -1);
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    config_write(1, MASKS, 4, 0);
    expect_messages(0);
    assert_int_equal(pending(), 1);
    config_write(1, AT_POWER + 4, 2, 3);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_BUS_MASTER);
    expect_messages(0);
    assert_int_equal(pending(), 1);
    config_write(1, AT_POWER + 4, 2, 0);
    expect_messages(1);
    assert_int_equal(pending(), 0);
}

/* The guest turns MSI off: what was pending goes with it. */
static void test_disable_forgets(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    enable(5);
    config_write(1, MASKS, 4, 1);
    raise_and_expect(0, -1);
    config_write(1, CONTROL, 2, 0);
    assert_int_equal(pending(), 0);
    config_write(1, MASKS, 4, 0);
    enable(5);
    expect_messages(0);
}

/* What the guest programs may be no message at all: dropped, counted, and no error of the device. */
static void test_nonsense_message(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    enable(0);
    config_write(1, AT_MSI + 8, 4, 1); /* above 4 GiB */
    raise_and_expect(0, -1);
    config_write(1, AT_MSI + 8, 4, 0);
    config_write(1, AT_MSI + 12, 2, 0x0341); /* a reserved delivery mode */
    raise_and_expect(0, -1);
    assert_int_equal(probe->device->capabilities->dropped, 2);
    /* Address bits 1:0 cannot be written. */
    config_write(1, AT_MSI + 12, 2, DATA);
    config_write(1, AT_MSI + 4, 4, ADDRESS | 3);
    raise_and_expect(0, DATA);
}

static void test_status(void **state)
{
    struct hv_device *device;

    (void)state;
    cap_create(probe, OFFER_POWER | OFFER_EXPRESS);
    assert_int_equal(hv_interrupt_raise(probe->device, 0), HV_E_NOT_SUPPORTED);
    assert_int_equal(hv_interrupt_raise(NULL, 0), HV_E_INVALID_HANDLE);
    cap_destroy(probe);
    cap_create(probe, 0);
    device = probe->device;
    assert_int_equal(hv_interrupt_raise(device, 0), HV_E_NOT_SUPPORTED);
    cap_destroy(probe);
    assert_int_equal(hv_interrupt_raise(device, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_guest_msi_deliver(device, ADDRESS, DATA), HV_E_INVALID_HANDLE);
    expect_messages(0);
}

static void deliver_early(struct probe *p)
{
    assert_int_equal(hv_guest_msi_deliver(p->device, ADDRESS, DATA), HV_E_INVALID_STATE);
    assert_int_equal(hv_interrupt_raise(p->device, 0), HV_E_INVALID_STATE);
}

static void deliver_late(struct probe *p)
{
    assert_int_equal(hv_guest_msi_deliver(p->device, ADDRESS, DATA), HV_OK);
}

static void test_message_without_capability(void **state)
{
    (void)state;
    probe->in_initialize = probe->in_teardown = deliver_early;
    probe->in_stop = deliver_late;
    cap_create(probe, 0);
    config_write(1, PCI_CFG_COMMAND, 2, 0);
    assert_int_equal(hv_guest_msi_deliver(probe->device, ADDRESS, DATA), HV_OK);
    assert_int_equal(fake_apic_message[0].address, ADDRESS);
    assert_int_equal(fake_apic_message[0].data, DATA);
    expect_messages(1);
    assert_int_equal(hv_guest_msi_deliver(probe->device, ADDRESS - 0x2000, DATA),
                     HV_E_INVALID_PARAMETER_2);
    assert_int_equal(hv_guest_msi_deliver(probe->device, ADDRESS, 0x341), HV_E_INVALID_PARAMETER_3);
    cap_destroy(probe);
    expect_messages(1);
}

/* From within a callback for an access, where devices do it. */
static void raise_inside(struct probe *p)
{
    assert_int_equal(hv_interrupt_raise(p->device, 3), HV_OK);
}

static void test_from_a_callback(void **state)
{
    (void)state;
    cap_create(probe, OFFER_ALL);
    enable(5);
    probe->in_write = raise_inside;
    bar_put(0x100, 4, 1);
    assert_int_equal(fake_apic_message[0].data, 0x4043);
    expect_messages(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vectors, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_offer_checks, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_masked_is_pending, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_pending_and_fewer_granted, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_nothing_comes, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_pending_behind_another_bar, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_disable_forgets, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_nonsense_message, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_status, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_message_without_capability, world_open, world_close),
        cmocka_unit_test_setup_teardown(test_from_a_callback, world_open, world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
