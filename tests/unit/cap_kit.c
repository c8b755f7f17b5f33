#include "tests/unit/cap_kit.h"

#include "hv/pci/config.h"

static unsigned offered;

static void offer(struct probe *probe)
{
    if (offered & OFFER_POWER)
        assert_int_equal(hv_power_offer(probe->device), HV_OK);
    if (offered & OFFER_MSI)
        assert_int_equal(hv_msi_offer(probe->device, 32), HV_OK);
    if (offered & OFFER_MSIX)
        assert_int_equal(hv_msix_offer(probe->device, HV_BAR2, CAP_TABLE, CAP_PENDING, CAP_VECTORS),
                         HV_OK);
    if (offered & OFFER_EXPRESS)
        assert_int_equal(hv_express_offer(probe->device), HV_OK);
}

void cap_create(struct probe *probe, unsigned offers)
{
    offered = offers;
    probe->in_start = offer;
    probe_create(probe);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    move_bar(probe, HV_BAR2, CAP_BAR);
    config_write(1, PCI_CFG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    fake_apic_count = 0;
    fake_apic_on_message = NULL;
}

void cap_stop(struct probe *probe)
{
    probe->device->state = HV_DEVICE_STOPPED;
    config_write(1, PCI_CFG_COMMAND, 2, 0);
}

void cap_destroy(struct probe *probe)
{
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
}

uint64_t bar_get(uint64_t offset, unsigned bytes)
{
    return fake_vm_read(&world.vm, CAP_BAR + offset, bytes);
}

void bar_put(uint64_t offset, unsigned bytes, uint64_t value)
{
    fake_vm_write(&world.vm, CAP_BAR + offset, bytes, value);
}

void expect_messages(unsigned count)
{
    assert_int_equal(fake_apic_count, count);
    fake_apic_count = 0;
}
