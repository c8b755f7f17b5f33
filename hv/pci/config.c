/* Configuration space: the dwords that the core owns, and the way to the device for the others. */
#include "hv/pci/config.h"

#include "hv/pci/bus.h"
#include "hv/pci/capability.h"

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
           capability_owns(device, offset) || resize_owns(device, offset);
}

/* A device that the guest may see. */
static bool is_visible(const struct hv_device *device)
{
    return device && device->state >= HV_DEVICE_CONFIGURED && device->state < HV_DEVICE_STOPPING;
}

/* A guest asks function 0 alone whether there are others in its slot. */
static bool has_siblings(const struct hv_device *device)
{
    for (unsigned i = 1; i < PCI_SLOT_FUNCTIONS && device->function == 0; i++)
        if (is_visible(device->host->at[pci_place(device->slot, i)]))
            return true;
    return false;
}

static uint32_t core_read(const struct hv_device *device, uint32_t offset)
{
    const struct hv_pnp_id *id = &device->id;

    if (offset >= PCI_EXT_FIRST)
        return resize_read(device, offset);
    if (capability_owns(device, offset))
        return capability_read(device, offset);
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
        return has_siblings(device) ? (uint32_t)PCI_HEADER_MULTI_FUNCTION : 0; /* type 0 */
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

/*
 * A whole dword, already merged. No bit of the core's is cleared by writing 1, and those that start something read 0. True: the
 * guest has asked for a reset, which the caller does without the lock.
 */
static bool core_write(struct hv_device *device, uint32_t offset, uint32_t value)
{
    bool resets = false;

    if (offset == PCI_CFG_COMMAND)
        device->command = (uint16_t)(value & command_writable(device));
    else if (bar_of(offset) != HV_BAR_COUNT)
        bar_register_write(device, bar_of(offset), value);
    else if (offset >= PCI_EXT_FIRST)
        resize_write(device, offset, value);
    else if (capability_owns(device, offset))
        resets = capability_write(device, offset, value);
    else
        return false;
    bars_update(device->host, device);
    interrupt_update(device);
    return resets;
}

/*
 * The device at a place, kept from being destroyed until device_leave(); NULL when there is none that a
 * guest may see. Caller holds the host's lock.
 */
static struct hv_device *enter_place(struct hv_device_host *host, unsigned slot, unsigned function)
{
    struct hv_device *device = slot < PCI_SLOTS && function < PCI_SLOT_FUNCTIONS
                                   ? host->at[pci_place(slot, function)]
                                   : NULL;

    if (!is_visible(device))
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
    device = enter_place(host, slot, function);
    if (device)
        is_core = is_core_owned(device, offset);
    if (is_core)
        value = core_read(device, offset);
    lock_release(&host->lock);
    if (!device)
        return UINT32_MAX;
    if (!is_core) {
        device_take_turn(device);
        value = device_read(device, offset);
        device_pass_turn(device);
    }
    device_leave(device);
    return value;
}

/* The bits of the bytes that are enabled. */
static uint32_t enabled_bits(unsigned byte_enable)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < sizeof(mask); i++)
        if (byte_enable & BIT(i))
            mask |= 0xffu << (i * 8);
    return mask;
}

/* What a device makes of a write is its own affair, so its status is nobody's. */
static void tell_device(struct hv_device *device, uint32_t offset, uint32_t value,
                        unsigned byte_enable, const uint32_t *merged)
{
    const struct hv_device_ops *ops = device->ops;
    uint32_t mask = enabled_bits(byte_enable);
    hv_status_t told;

    if (ops->version >= 2 && ops->write_config_bytes)
        told = ops->write_config_bytes(device->context, offset, value & mask, (uint8_t)byte_enable);
    else if (merged)
        told = ops->write_config_space(device->context, offset, *merged);
    else
        told = ops->write_config_space(device->context, offset,
                                       (device_read(device, offset) & ~mask) | (value & mask));
    (void)told;
}

void pci_config_write(struct hv_device_host *host, unsigned slot, unsigned function,
                      uint32_t offset, uint32_t value, unsigned byte_enable)
{
    uint32_t mask = enabled_bits(byte_enable);
    struct hv_device *device;
    uint32_t merged = 0;
    bool is_core = false, resets = false;

    if (offset >= PCI_CONFIG_BYTES || !IS_ALIGNED(offset, sizeof(uint32_t)))
        return;
    lock_acquire(&host->lock);
    device = enter_place(host, slot, function);
    if (device)
        is_core = is_core_owned(device, offset);
    if (is_core) {
        merged = (core_read(device, offset) & ~mask) | (value & mask);
        resets = core_write(device, offset, merged);
    }
    lock_release(&host->lock);
    if (!device)
        return;
    if (resets) /* waits for the accesses of others, so without a turn */
        device_reset(device);
    device_take_turn(device);
    tell_device(device, offset, value, byte_enable, is_core ? &merged : NULL);
    device_pass_turn(device);
    device_leave(device);
}
