#include "tests/guest/guest.h"

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA    0xcfcu
#define CONFIG_ENABLE  0x80000000u

static uint16_t select(unsigned slot, unsigned function, unsigned offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | (slot << 11) | (function << 8) | (offset & 0xfcu));
    return (uint16_t)(CONFIG_DATA + (offset & 3u));
}

uint32_t pci_read(unsigned slot, unsigned function, unsigned offset, unsigned bytes)
{
    uint16_t port = select(slot, function, offset);

    return bytes == 1 ? inb(port) : bytes == 2 ? inw(port) : inl(port);
}

void pci_write(unsigned slot, unsigned function, unsigned offset, unsigned bytes, uint32_t value)
{
    uint16_t port = select(slot, function, offset);

    if (bytes == 1)
        outb(port, (uint8_t)value);
    else if (bytes == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
}
