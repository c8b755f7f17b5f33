/*
 * The two ways to config space: ports 0xCF8 and 0xCFC (PCI Local Bus 3.0, 3.2.2.3.2, "Configuration Mechanism #1")
 * and a window in memory (PCI Express Base 7.2.2, "Enhanced Configuration Access Mechanism").
 */
#include "hv/pci/bus.h"

#include "hv/pci/config.h"

/* ---- the ports ---- */

/* One access to CONFIG_DATA, as the dword and the byte lanes that it touches. */
struct data_access {
    struct hv_device_host *host;
    unsigned slot, function;
    uint32_t offset;
    unsigned lane;
    unsigned byte_enable; /* lanes past the dword's end are cut off */
};

/* False: no function answers, so reads are ones and writes go nowhere. */
static bool decode_access(struct hv_device_host *host, uint16_t lane, unsigned bytes,
                          struct data_access *access)
{
    uint32_t address;

    if (!host)
        return false;
    lock_acquire(&host->lock);
    address = host->address;
    lock_release(&host->lock);
    access->host = host;
    access->slot = (unsigned)FIELD_GET(PCI_ADDRESS_SLOT, address);
    access->function = (unsigned)FIELD_GET(PCI_ADDRESS_FUNCTION, address);
    access->offset = address & PCI_ADDRESS_REGISTER;
    access->lane = lane;
    access->byte_enable = (unsigned)((BIT(bytes) - 1) << access->lane & PCI_ALL_BYTES);
    return (address & PCI_ADDRESS_ENABLE) && FIELD_GET(PCI_ADDRESS_BUS, address) == 0;
}

static uint32_t address_in(void *owner, uint16_t offset, unsigned bytes)
{
    const struct pci_ports *ports = owner;

    (void)offset;
    return ports->host && bytes == sizeof(uint32_t) ? ports->host->address : UINT32_MAX;
}

static void address_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    struct pci_ports *ports = owner;

    (void)offset;
    if (!ports->host || bytes != sizeof(uint32_t))
        return;
    lock_acquire(&ports->host->lock);
    ports->host->address = value & PCI_ADDRESS_WRITABLE;
    lock_release(&ports->host->lock);
}

static uint32_t data_in(void *owner, uint16_t lane, unsigned bytes)
{
    const struct pci_ports *ports = owner;
    struct data_access access;
    uint64_t value;

    if (!decode_access(ports->host, lane, bytes, &access))
        return UINT32_MAX;
    value = pci_config_read(access.host, access.slot, access.function, access.offset);
    value |= BITS(63, 32); /* lanes past the dword read as ones */
    return (uint32_t)(value >> (access.lane * 8));
}

static void data_out(void *owner, uint16_t lane, unsigned bytes, uint32_t value)
{
    struct pci_ports *ports = owner;
    struct data_access access;

    if (!decode_access(ports->host, lane, bytes, &access))
        return;
    pci_config_write(access.host, access.slot, access.function, access.offset,
                     value << (access.lane * 8), access.byte_enable);
}

/* CONFIG_ADDRESS is answered whole or not at all, so that the port behind its first one is free for the reset register. */
hv_status_t pci_ports_register(struct pci_ports *ports)
{
    const struct vm_port address = {PCI_PORT_ADDRESS, 1, address_in, address_out, ports};
    const struct vm_port data = {PCI_PORT_DATA, PCI_PORT_DATA_COUNT, data_in, data_out, ports};
    hv_status_t status = vm_port_register(ports->vm, &address);

    if (status != HV_OK)
        return status;
    status = vm_port_register(ports->vm, &data);
    if (status != HV_OK)
        vm_port_unregister(ports->vm, PCI_PORT_ADDRESS);
    return status;
}

/* ---- the window ---- */

static unsigned ecam_slot(uint64_t offset)
{
    return (unsigned)FIELD_GET(PCI_ECAM_SLOT, offset);
}

static unsigned ecam_function(uint64_t offset)
{
    return (unsigned)FIELD_GET(PCI_ECAM_FUNCTION, offset);
}

static uint64_t ecam_read_dword(struct hv_device_host *host, uint64_t offset)
{
    return pci_config_read(host, ecam_slot(offset), ecam_function(offset),
                           (uint32_t)(offset & PCI_ECAM_REGISTER));
}

static uint64_t ecam_read(void *owner, uint64_t offset, unsigned bytes)
{
    const struct pci_ports *ports = owner;
    uint64_t value;

    if (!ports->host)
        return ~0ull;
    value = ecam_read_dword(ports->host, offset);
    if (bytes == sizeof(uint64_t))
        value |= ecam_read_dword(ports->host, offset + sizeof(uint32_t)) << 32;
    return value >> ((offset & PCI_ECAM_LANE) * 8);
}

static void ecam_write_dword(struct hv_device_host *host, uint64_t offset, uint32_t value,
                             unsigned byte_enable)
{
    pci_config_write(host, ecam_slot(offset), ecam_function(offset),
                     (uint32_t)(offset & PCI_ECAM_REGISTER), value, byte_enable);
}

static void ecam_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    const struct pci_ports *ports = owner;
    unsigned lane = (unsigned)(offset & PCI_ECAM_LANE);
    unsigned dword_bytes = MIN(bytes, (unsigned)sizeof(uint32_t));

    if (!ports->host)
        return;
    ecam_write_dword(ports->host, offset, (uint32_t)(value << (lane * 8)),
                     (unsigned)(BIT(dword_bytes) - 1) << lane);
    if (bytes == sizeof(uint64_t))
        ecam_write_dword(ports->host, offset + sizeof(uint32_t), (uint32_t)(value >> 32),
                         PCI_ALL_BYTES);
}

hv_status_t pci_ecam_open(struct pci_ports *ports)
{
    const struct mmio_handler handler = {
        .read = ecam_read, .write = ecam_write, .write_whole = ecam_write, .owner = ports};
    struct vm *vm = ports->vm;
    hv_status_t status;

    lock_acquire(&vm->tables_lock);
    status = mmio_region_add(&vm->regions, GPA(PCI_ECAM_BASE), PCI_ECAM_BYTES, &handler);
    lock_release(&vm->tables_lock);
    return status;
}

void pci_ecam_close(struct pci_ports *ports)
{
    struct vm *vm = ports->vm;
    hv_status_t status;

    lock_acquire(&vm->tables_lock);
    status = mmio_region_remove(&vm->regions, GPA(PCI_ECAM_BASE));
    lock_release(&vm->tables_lock);
    ASSERT(status == HV_OK);
}
