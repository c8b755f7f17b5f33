/* Configuration space: the dwords that the core owns, and the way to the device for the others. */
#include "hv/pci/config.h"

#include "hv/pci/bus.h"

/* The host bridge is there so that guests find a bus; nothing in it can be written. */
#define BRIDGE_VENDOR 0x1d1du
#define BRIDGE_DEVICE 0x0001u

static uint32_t bridge_read(uint32_t offset)
{
    switch (offset) {
    case PCI_CFG_ID:
        return (uint32_t)(FIELD_PREP(PCI_ID_VENDOR, BRIDGE_VENDOR) |
                          FIELD_PREP(PCI_ID_DEVICE, BRIDGE_DEVICE));
    case PCI_CFG_CLASS:
        return (uint32_t)FIELD_PREP(PCI_CLASS_BASE, PCI_CLASS_BRIDGE);
    default:
        return 0;
    }
}

/* The BAR that a config dword stands for, or HV_BAR_COUNT. */
static enum hv_bar bar_of(uint32_t offset)
{
    if (offset >= PCI_CFG_BAR0 && offset <= PCI_CFG_BAR5)
        return (enum hv_bar)((offset - PCI_CFG_BAR0) / sizeof(uint32_t));
    return offset == PCI_CFG_ROM ? HV_BAR_ROM : HV_BAR_COUNT;
}

static bool is_core_owned(const struct hv_device *device, uint32_t offset)
{
    return offset <= PCI_CFG_BAR5 || offset == PCI_CFG_SUBSYSTEM || offset == PCI_CFG_ROM ||
           resize_owns(device, offset);
}

static uint32_t core_read(const struct hv_device *device, uint32_t offset)
{
    const struct hv_pnp_id *id = &device->id;

    if (offset >= PCI_EXT_FIRST)
        return resize_read(device, offset);
    switch (offset) {
    case PCI_CFG_ID:
        return (uint32_t)(FIELD_PREP(PCI_ID_VENDOR, id->vendor) |
                          FIELD_PREP(PCI_ID_DEVICE, id->device));
    case PCI_CFG_COMMAND:
        return (uint32_t)(FIELD_PREP(PCI_COMMAND_MASK, device->command) |
                          FIELD_PREP(PCI_STATUS_MASK, device->status));
    case PCI_CFG_CLASS:
        return (uint32_t)(FIELD_PREP(PCI_CLASS_REVISION, id->revision) |
                          FIELD_PREP(PCI_CLASS_PROG_IF, id->prog_if) |
                          FIELD_PREP(PCI_CLASS_SUB, id->subclass) |
                          FIELD_PREP(PCI_CLASS_BASE, id->base_class));
    case PCI_CFG_HEADER_TYPE:
        return 0; /* type 0, one function */
    case PCI_CFG_SUBSYSTEM:
        return (uint32_t)(FIELD_PREP(PCI_ID_VENDOR, id->subsystem_vendor) |
                          FIELD_PREP(PCI_ID_DEVICE, id->subsystem));
    default:
        return bar_register_read(device, bar_of(offset));
    }
}

static uint16_t command_writable(const struct hv_device *device)
{
    uint16_t mask = PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER | PCI_COMMAND_INTX_DISABLE;

    for (unsigned i = 0; i <= HV_BAR5; i++)
        if (device->bar[i].io)
            mask |= PCI_COMMAND_IO;
    return mask;
}

/* A whole dword, already merged. STATUS has no bit that a guest could clear. */
static void core_write(struct hv_device *device, uint32_t offset, uint32_t value)
{
    if (offset == PCI_CFG_COMMAND)
        device->command = (uint16_t)(value & command_writable(device));
    else if (bar_of(offset) != HV_BAR_COUNT)
        bar_register_write(device, bar_of(offset), value);
    else if (offset >= PCI_EXT_FIRST)
        resize_write(device, offset, value);
    else
        return;
    bars_update(device->host, device);
}

/*
 * The device behind a slot, kept from being destroyed until device_leave(); NULL when there is none that a
 * guest may see. Caller holds the host's lock.
 */
static struct hv_device *enter_slot(struct hv_device_host *host, unsigned slot, unsigned function)
{
    struct hv_device *device = slot < PCI_SLOTS && function == 0 ? host->slot[slot] : NULL;

    if (!device || device->state < HV_DEVICE_CONFIGURED || device->state >= HV_DEVICE_STOPPING)
        return NULL;
    device_enter(device);
    return device;
}

static uint32_t device_read(struct hv_device *device, uint32_t offset)
{
    uint32_t value = UINT32_MAX;

    if (device->ops->read_config_space(device->context, offset, &value) != HV_OK)
        return UINT32_MAX;
    return value;
}

uint32_t pci_config_read(struct hv_device_host *host, unsigned slot, unsigned function,
                         uint32_t offset)
{
    struct hv_device *device;
    uint32_t value = UINT32_MAX;
    bool is_core = false;

    if (offset >= PCI_CONFIG_BYTES || !IS_ALIGNED(offset, sizeof(uint32_t)))
        return UINT32_MAX;
    if (slot == PCI_HOST_BRIDGE)
        return function == 0 ? bridge_read(offset) : UINT32_MAX;
    lock_acquire(&host->lock);
    device = enter_slot(host, slot, function);
    if (device)
        is_core = is_core_owned(device, offset);
    if (is_core)
        value = core_read(device, offset);
    lock_release(&host->lock);
    if (!device)
        return UINT32_MAX;
    if (!is_core)
        value = device_read(device, offset);
    device_leave(device);
    return value;
}

/* The bytes of `value` that are enabled, the others from `old`. */
static uint32_t merge(uint32_t old, uint32_t value, unsigned byte_enable)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < sizeof(mask); i++)
        if (byte_enable & BIT(i))
            mask |= 0xffu << (i * 8);
    return (old & ~mask) | (value & mask);
}

void pci_config_write(struct hv_device_host *host, unsigned slot, unsigned function,
                      uint32_t offset, uint32_t value, unsigned byte_enable)
{
    struct hv_device *device;
    bool is_core = false;
    hv_status_t told;

    if (offset >= PCI_CONFIG_BYTES || !IS_ALIGNED(offset, sizeof(uint32_t)))
        return;
    lock_acquire(&host->lock);
    device = enter_slot(host, slot, function);
    if (device)
        is_core = is_core_owned(device, offset);
    if (is_core) {
        value = merge(core_read(device, offset), value, byte_enable);
        core_write(device, offset, value);
    }
    lock_release(&host->lock);
    if (!device)
        return;
    if (!is_core)
        value = merge(device_read(device, offset), value, byte_enable);
    told = device->ops->write_config_space(device->context, offset, value);
    (void)told; /* what a device makes of a write is its own affair */
    device_leave(device);
}
