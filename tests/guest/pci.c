/* Configuration space through ports 0xCF8 and 0xCFC, and what can be done with it. PCI Local Bus 3.0 chapter 6. */
#include "tests/guest/pci.h"

#define CONFIG_ADDRESS       0xcf8u
#define CONFIG_DATA          0xcfcu
#define CONFIG_ENABLE        0x80000000u
#define SLOTS                32u
#define FUNCTIONS            8u
#define STATUS_LIST          0x10u
#define BAR_IO               0x1u
#define BAR_WIDE             0x4u
#define BAR_PREFETCHABLE     0x8u
#define BAR_FLAGS            0xfull
#define BAR_IO_FLAGS         0x3u
#define MULTIFUNCTION        0x80u
#define CAPABILITIES_AT_MOST 48u
#define ELSEWHERE            0x2000000000ull
#define NEAR                 0x8000000ull /* no BAR of the machines that this runs on is larger */

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

uint32_t config_get(const struct pci_function *f, unsigned offset, unsigned bytes)
{
    return pci_read(f->slot, f->number, offset, bytes);
}

void config_set(const struct pci_function *f, unsigned offset, unsigned bytes, uint32_t value)
{
    pci_write(f->slot, f->number, offset, bytes, value);
}

void command_set(const struct pci_function *f, uint32_t bits, bool on)
{
    uint32_t command = config_get(f, CFG_COMMAND, 2);

    config_set(f, CFG_COMMAND, 2, on ? command | bits : command & ~bits);
}

/* A 64-bit BAR's upper half, when it has one, is part of what is read. */
static uint64_t bar_raw(const struct pci_function *f, unsigned bar, bool wide)
{
    uint64_t low = config_get(f, CFG_BAR(bar), 4);

    return wide ? low | (uint64_t)config_get(f, CFG_BAR(bar + 1), 4) << 32 : low;
}

static void bar_raw_set(const struct pci_function *f, unsigned bar, bool wide, uint64_t value)
{
    config_set(f, CFG_BAR(bar), 4, (uint32_t)value);
    if (wide)
        config_set(f, CFG_BAR(bar + 1), 4, (uint32_t)(value >> 32));
}

static struct pci_bar bar_probe(const struct pci_function *f, unsigned bar)
{
    uint32_t low = config_get(f, CFG_BAR(bar), 4);
    bool io = low & BAR_IO;
    struct pci_bar b = {0, 0, io, !io && (low & BAR_WIDE), !io && (low & BAR_PREFETCHABLE)};
    uint64_t was = bar_raw(f, bar, b.wide), mask;

    bar_raw_set(f, bar, b.wide, ~0ull);
    mask = bar_raw(f, bar, b.wide);
    bar_raw_set(f, bar, b.wide, was);
    if (mask == 0)
        return b;
    if (io) {
        b.base = was & 0xfffcu;
        b.bytes = (0 - (mask & ~(uint64_t)BAR_IO_FLAGS)) & 0xffffu;
        return b;
    }
    if (!b.wide)
        mask |= 0xffffffff00000000ull;
    b.base = was & ~BAR_FLAGS;
    b.bytes = 0 - (mask & ~BAR_FLAGS);
    return b;
}

static void probe(struct pci_function *f)
{
    uint32_t command = config_get(f, CFG_COMMAND, 2);

    config_set(f, CFG_COMMAND, 2, command & ~3u);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        f->bar[bar] = bar_probe(f, bar);
        if (f->bar[bar].wide && bar + 1 < PCI_BARS)
            f->bar[++bar] = (struct pci_bar){0, 0, false, false, false};
    }
    config_set(f, CFG_COMMAND, 2, command);
}

/*
 * The lab's BAR4 was put where the guest wants it, whoever is there. A 64-bit BAR that it covers goes elsewhere, and stays
 * there.
 */
static void clear_of_lab(struct pci_function *f)
{
    static uint64_t next = ELSEWHERE;

    if (!lab.present || (f->slot == lab.slot && f->number == 0))
        return;
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        uint64_t base = f->bar[bar].base, bytes = f->bar[bar].bytes;

        if (bytes == 0 || base >= lab.base[4] + lab.bytes[4] || base + bytes <= lab.base[4])
            continue;
        next = (next + bytes - 1) & ~(bytes - 1);
        bar_set(f, bar, next);
        next += bytes;
    }
}

bool pci_at(struct pci_function *f, unsigned slot, unsigned number)
{
    f->slot = slot;
    f->number = number;
    f->present = pci_read(slot, number, 0, 2) != 0xffffu;
    if (f->present) {
        probe(f);
        clear_of_lab(f);
    }
    return f->present;
}

bool pci_find(struct pci_function *f, unsigned vendor, unsigned device, unsigned nth)
{
    for (unsigned slot = 0; slot < SLOTS; slot++)
        for (unsigned number = 0; number < FUNCTIONS; number++)
            if (pci_read(slot, number, 0, 4) == (device << 16 | vendor) && nth-- == 0)
                return pci_at(f, slot, number);
    f->present = false;
    return false;
}

void bar_set(struct pci_function *f, unsigned bar, uint64_t base)
{
    bar_raw_set(f, bar, f->bar[bar].wide, base);
    f->bar[bar].base = base;
}

void bar_show(const struct pci_function *f, unsigned bar, uint64_t gva, uint64_t bytes,
              uint64_t leaf, unsigned type)
{
    command_set(f, COMMAND_MEMORY, true);
    map(gva, f->bar[bar].base & ~(leaf - 1), bytes, leaf, pat_index_of(type));
}

unsigned capability_find(const struct pci_function *f, unsigned id)
{
    unsigned at;

    if (!(config_get(f, CFG_STATUS, 2) & STATUS_LIST))
        return 0;
    at = config_get(f, CFG_CAPABILITIES, 1) & ~3u;
    for (unsigned n = 0; at != 0 && n < CAPABILITIES_AT_MOST; n++) {
        if (config_get(f, at, 1) == id)
            return at;
        at = config_get(f, at + 1, 1) & ~3u;
    }
    return 0;
}

bool msi_on(const struct pci_function *f, unsigned vector)
{
    unsigned at = capability_find(f, CAP_MSI);
    uint64_t to = msi_address(apic_id());
    bool wide;

    if (!expect(at != 0, "there is no MSI capability"))
        return false;
    wide = config_get(f, at + MSI_CONTROL, 2) & MSI_WIDE;
    config_set(f, at + MSI_ADDRESS, 4, (uint32_t)to);
    if (wide)
        config_set(f, at + MSI_ADDRESS + 4, 4, (uint32_t)(to >> 32));
    config_set(f, at + MSI_ADDRESS + (wide ? 8u : 4u), 2, msi_data(vector));
    config_set(f, at + MSI_CONTROL, 2, MSI_ENABLE);
    return true;
}

void msi_off(const struct pci_function *f)
{
    unsigned at = capability_find(f, CAP_MSI);

    if (at != 0)
        config_set(f, at + MSI_CONTROL, 2, 0);
}

static bool near_a_bar(uint64_t from, uint64_t bytes)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (pci_read(slot, 0, 0, 2) == 0xffffu)
            continue;
        for (unsigned number = 0; number < FUNCTIONS; number++) {
            if (pci_read(slot, number, 0, 2) == 0xffffu ||
                (pci_read(slot, number, CFG_HEADER_TYPE, 1) & ~MULTIFUNCTION) != 0)
                continue;
            for (unsigned bar = 0; bar < PCI_BARS; bar++) {
                uint64_t base = pci_read(slot, number, CFG_BAR(bar), 4) & ~BAR_FLAGS;

                if (base + NEAR > from && base < from + bytes)
                    return true;
            }
        }
    }
    return false;
}

uint64_t free_address(uint64_t bytes)
{
    for (uint64_t at = 0xf0000000ull; at > 0xc0000000ull; at -= bytes)
        if (!near_a_bar(at, bytes))
            return at;
    fail("no free address for %lx bytes", bytes);
    return 0;
}

/* A host bridge answers with ones (PCI 3.0 "Master-Abort"). QEMU without KVM has no bridge there, and gives 0. */
bool expect_nobody(const char *what, uint64_t gva, unsigned bytes)
{
    uint64_t v = load(gva, bytes);

    return (v == 0 && !on_barvisor()) || expect_eq(what, v, ones(bytes));
}
