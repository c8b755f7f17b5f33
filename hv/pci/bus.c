/* Ports 0xCF8 and 0xCFC: configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2). */
#include "hv/pci/bus.h"

#include "hv/pci/config.h"

/* One access to CONFIG_DATA, as the dword and the byte lanes that it touches. */
struct data_access {
    struct hv_device_host *host;
    unsigned slot, function;
    uint32_t offset;
    unsigned lane;
    unsigned byte_enable; /* lanes past the dword's end are cut off */
};

/* False: no function answers, so reads are ones and writes go nowhere. */
static bool decode_access(struct hv_device_host *host, uint16_t port, unsigned bytes,
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
    access->lane = port - PCI_PORT_DATA_OFFSET;
    access->byte_enable = (unsigned)((BIT(bytes) - 1) << access->lane & 0xf);
    return (address & PCI_ADDRESS_ENABLE) && FIELD_GET(PCI_ADDRESS_BUS, address) == 0;
}

static bool is_address_port(uint16_t port, unsigned bytes)
{
    return port == 0 && bytes == sizeof(uint32_t);
}

static uint32_t port_in(void *owner, uint16_t port, unsigned bytes)
{
    struct pci_ports *ports = owner;
    struct data_access access;
    uint64_t value;

    if (ports->host && is_address_port(port, bytes))
        return ports->host->address;
    if (port < PCI_PORT_DATA_OFFSET || !decode_access(ports->host, port, bytes, &access))
        return UINT32_MAX;
    value = pci_config_read(access.host, access.slot, access.function, access.offset);
    value |= BITS(63, 32); /* lanes past the dword read as ones */
    return (uint32_t)(value >> (access.lane * 8));
}

static void port_out(void *owner, uint16_t port, unsigned bytes, uint32_t value)
{
    struct pci_ports *ports = owner;
    struct data_access access;

    if (ports->host && is_address_port(port, bytes)) {
        lock_acquire(&ports->host->lock);
        ports->host->address = value & PCI_ADDRESS_WRITABLE;
        lock_release(&ports->host->lock);
        return;
    }
    if (port < PCI_PORT_DATA_OFFSET || !decode_access(ports->host, port, bytes, &access))
        return;
    pci_config_write(access.host, access.slot, access.function, access.offset,
                     value << (access.lane * 8), access.byte_enable);
}

hv_status_t pci_ports_register(struct pci_ports *ports)
{
    const struct vm_port range = {
        .first = PCI_PORT_ADDRESS,
        .count = PCI_PORT_COUNT,
        .in = port_in,
        .out = port_out,
        .owner = ports,
    };

    return vm_port_register(ports->vm, &range);
}
