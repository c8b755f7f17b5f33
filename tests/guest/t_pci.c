/* Configuration space through ports 0xCF8 and 0xCFC. PCI Local Bus 3.0 "Configuration Mechanism #1". */
#include "tests/guest/guest.h"

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA    0xcfcu
#define ENABLE         0x80000000u
#define CFG_COMMAND    0x04u
#define CFG_CLASS      0x08u
#define CFG_HEADER     0x0eu
#define CFG_BAR(n)     (0x10u + 4u * (n))
#define CLASS_BRIDGE   0x0600u
#define BAR_64         0x4u
#define BAR_PREFETCH   0x8u

static void host_bridge(unsigned i)
{
    (void)i;
    if (!lab.present && pci_read(0, 0, 0, 4) == 0xffffffffu) {
        skip("no PCI bus");
        return;
    }
    expect_eq("class of 0:0.0", pci_read(0, 0, CFG_CLASS, 4) >> 16, CLASS_BRIDGE);
    expect_eq("header type", pci_read(0, 0, CFG_HEADER, 1) & 0x7f, 0);
}

static void lab_identity(unsigned i)
{
    (void)i;
    expect_eq("vendor", pci_read(lab.slot, 0, 0, 2), LAB_VENDOR_ID);
    expect_eq("device", pci_read(lab.slot, 0, 2, 2), LAB_DEVICE_ID);
    expect_eq("class", pci_read(lab.slot, 0, CFG_CLASS, 4) >> 8, 0xff0000);
    expect_eq("header type", pci_read(lab.slot, 0, CFG_HEADER, 1), 0);
    expect_eq("magic", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
}

static void absent(unsigned i)
{
    unsigned slot = 0;

    (void)i;
    while (slot < 32 && pci_read(slot, 0, 0, 4) != 0xffffffffu)
        slot++;
    for (unsigned o = 0; o < 256; o += 4) {
        expect_eq("dword", pci_read(slot, 0, o, 4), 0xffffffff);
        expect_eq("word", pci_read(slot, 0, o + 2, 2), 0xffff);
        expect_eq("byte", pci_read(slot, 0, o + 3, 1), 0xff);
    }
    pci_write(slot, 0, CFG_COMMAND, 2, 2);
    expect_eq("after a write", pci_read(slot, 0, CFG_COMMAND, 2), 0xffff);
}

static void absent_functions(unsigned i)
{
    (void)i;
    for (unsigned f = 1; f < 8; f++)
        expect_eq("function of the lab's slot", pci_read(lab.slot, f, 0, 4), 0xffffffff);
}

static void absent_bus(unsigned i)
{
    (void)i;
    for (unsigned bus = 1; bus < 256; bus++) {
        outl(CONFIG_ADDRESS, ENABLE | (bus << 16));
        expect_eq("bus", inl(CONFIG_DATA), 0xffffffff);
    }
}

static void address_register(unsigned i)
{
    static const uint32_t values[] = {ENABLE, ENABLE | 0x00fffffcu, 0x00001234u, ENABLE | 0x5548u};

    (void)i;
    for (unsigned v = 0; v < COUNT_OF(values); v++) {
        outl(CONFIG_ADDRESS, values[v]);
        expect_eq("address read back", inl(CONFIG_ADDRESS), values[v]);
    }
}

static void address_narrow(unsigned i)
{
    uint32_t v = ENABLE | 0x800u;

    (void)i;
    outl(CONFIG_ADDRESS, v);
    outb(CONFIG_ADDRESS, 0x54);
    expect_eq("after a byte write to 0xCF8", inl(CONFIG_ADDRESS), v);
    outw(CONFIG_ADDRESS, 0x0054);
    expect_eq("after a word write to 0xCF8", inl(CONFIG_ADDRESS), v);
    (void)inb(CONFIG_ADDRESS);
    (void)inw(CONFIG_ADDRESS);
    expect_eq("after narrow reads", inl(CONFIG_ADDRESS), v);
}

static void not_enabled(unsigned i)
{
    (void)i;
    outl(CONFIG_ADDRESS, 0);
    expect_eq("data without the enable bit", inl(CONFIG_DATA), 0xffffffff);
    expect_eq("byte", inb(CONFIG_DATA + 1), 0xff);
    expect_eq("word", inw(CONFIG_DATA + 2), 0xffff);
}

static void narrow_reads(unsigned i)
{
    unsigned slot = lab.present ? lab.slot : 0;

    (void)i;
    for (unsigned o = 0; o < 256; o++) {
        uint32_t whole = pci_read(slot, 0, o & ~3u, 4);

        if (!expect_eq("byte", pci_read(slot, 0, o, 1), (whole >> (8 * (o & 3))) & 0xff))
            fail("at offset %u", o);
        if (!(o & 1))
            expect_eq("word", pci_read(slot, 0, o, 2), (whole >> (8 * (o & 3))) & 0xffff);
    }
}

/* Bytes and words of a BAR register and of COMMAND are merged into the dword. */
static void narrow_writes(unsigned i)
{
    uint32_t low;

    (void)i;
    lab_decode(false);
    low = pci_read(lab.slot, 0, CFG_BAR(2), 4);
    pci_write(lab.slot, 0, CFG_BAR(2) + 3, 1, 0xc4);
    expect_eq("byte write", pci_read(lab.slot, 0, CFG_BAR(2), 4),
              (low & 0x00ffffffu) | 0xc4000000u);
    pci_write(lab.slot, 0, CFG_BAR(2) + 2, 2, 0xc800);
    expect_eq("word write", pci_read(lab.slot, 0, CFG_BAR(2), 4), (low & 0xffffu) | 0xc8000000u);
    pci_write(lab.slot, 0, CFG_BAR(3) + 1, 1, 0x01);
    expect_eq("byte of the upper half", pci_read(lab.slot, 0, CFG_BAR(3), 4), 0x100);
    pci_write(lab.slot, 0, CFG_BAR(2), 1, 0xff);
    expect_eq("type bits stay", pci_read(lab.slot, 0, CFG_BAR(2), 4),
              (low & 0xffffu) | 0xc8000000u);
    lab_home_all();
    pci_write(lab.slot, 0, CFG_COMMAND, 1, 0);
    expect_eq("memory enable off by a byte", pci_read(lab.slot, 0, CFG_COMMAND, 2) & 2, 0);
    pci_write(lab.slot, 0, CFG_COMMAND + 1, 1, 0);
    pci_write(lab.slot, 0, CFG_COMMAND, 1, 2);
    expect_eq("memory enable on by a byte", pci_read(lab.slot, 0, CFG_COMMAND, 2) & 2, 2);
    pci_write(lab.slot, 0, CFG_COMMAND + 1, 1, 0);
    expect_eq("a write of the other byte", pci_read(lab.slot, 0, CFG_COMMAND, 2) & 2, 2);
}

static void read_only(unsigned i)
{
    static const unsigned offsets[] = {0x00, 0x08, 0x0c};

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(offsets); k++) {
        uint32_t before = pci_read(lab.slot, 0, offsets[k], 4);

        if (k == 2)
            before &= 0x00ff0000u; /* header type; line size and latency may be writable */
        pci_write(lab.slot, 0, offsets[k], 4, ~before);
        expect_eq("read-only register",
                  pci_read(lab.slot, 0, offsets[k], 4) & (k == 2 ? 0x00ff0000u : ~0u), before);
        pci_write(lab.slot, 0, offsets[k], 4, 0);
    }
}

static void bar_kind(unsigned bar)
{
    uint32_t expected = bar == 0 ? BAR_64 : BAR_64 | BAR_PREFETCH;

    bar *= 2;
    if (lab.bytes[bar] == 0) {
        expect(bar == 4, "BAR absent");
        expect_eq("absent BAR", pci_read(lab.slot, 0, CFG_BAR(bar), 4), 0);
        return;
    }
    expect_eq("type bits", pci_read(lab.slot, 0, CFG_BAR(bar), 4) & 0xf, expected);
    if (bar == 0)
        expect_eq("bytes", lab.bytes[bar], PAGE);
    if (bar == 2)
        expect_eq("bytes", lab.bytes[bar], LAB_BAR2_PAGES * PAGE);
}

static void name_kind(char *out, unsigned bar)
{
    format_text(out, NAME_ROOM, "BAR%u is a 64-bit memory BAR of the right kind and size", 2 * bar);
}

/* All ones into both halves, decode off or on; afterwards the BAR is as it was. */
static void sizing(unsigned i)
{
    unsigned bar = 2 * (i / 2);
    bool on = i % 2;
    uint64_t got;

    lab_decode(on);
    if (lab.bytes[bar] == 0) { /* BAR4 when it is not configured */
        pci_write(lab.slot, 0, CFG_BAR(bar), 4, 0xffffffff);
        expect_eq("absent BAR", pci_read(lab.slot, 0, CFG_BAR(bar), 4), 0);
        lab_home_all();
        return;
    }
    pci_write(lab.slot, 0, CFG_BAR(bar), 4, 0xffffffff);
    got = pci_read(lab.slot, 0, CFG_BAR(bar), 4) & ~0xfu;
    expect_eq("low mask", got, (uint32_t)(0 - lab.bytes[bar]));
    pci_write(lab.slot, 0, CFG_BAR(bar + 1), 4, 0xffffffff);
    got |= (uint64_t)pci_read(lab.slot, 0, CFG_BAR(bar + 1), 4) << 32;
    expect_eq("mask", got, 0 - lab.bytes[bar]);
    lab_home_all();
    expect_eq("base after sizing",
              (pci_read(lab.slot, 0, CFG_BAR(bar), 4) & ~0xfu) |
                  (uint64_t)pci_read(lab.slot, 0, CFG_BAR(bar + 1), 4) << 32,
              lab_home[bar]);
    expect_eq("magic after sizing", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    expect_eq("hole after sizing", load(GVA_BAR2 + 2 * PAGE, 8), hole_value(2 * PAGE, 8));
}

static void name_sizing(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "sizing of BAR%u with decode %s", 2 * (i / 2),
                i % 2 ? "on" : "off");
}

static void rom_bar(unsigned i)
{
    (void)i;
    pci_write(lab.slot, 0, 0x30, 4, 0xfffff800u);
    expect_eq("ROM BAR", pci_read(lab.slot, 0, 0x30, 4), 0u - LAB_ROM_BYTES);
    pci_write(lab.slot, 0, 0x30, 4, 0);
    expect_eq("ROM BAR", pci_read(lab.slot, 0, 0x30, 4), 0);
}

#define ECAM        0xfe000000u
#define ECAM_SLOT   0x8000u
#define CONFIG_ROOM 0x1000u

/* Config space in memory: what the ports show, and more of it behind. */
static void config_window(unsigned i)
{
    (void)i;
    map(GVA_TMP, ECAM + lab.slot * ECAM_SLOT, PAGE, PAGE, pat_index_of(PAT_UC));
    for (unsigned offset = 0; offset < 0x100; offset += 4)
        expect_eq("dword", load(GVA_TMP + offset, 4), pci_read(lab.slot, 0, offset, 4));
    expect_eq("byte", load(GVA_TMP + 3, 1), LAB_DEVICE_ID >> 8);
    expect_eq("word", load(GVA_TMP + 2, 2), LAB_DEVICE_ID);
    expect_eq("eight bytes", load(GVA_TMP, 8) & 0xffffffff,
              (uint64_t)LAB_DEVICE_ID << 16 | LAB_VENDOR_ID);
    expect_eq("across dwords", load(GVA_TMP + 3, 2),
              load(GVA_TMP + 4, 1) << 8 | LAB_DEVICE_ID >> 8);
    expect_eq("extended capability", load(GVA_TMP + 0x100, 4), lab.bytes[4] ? 0x00010015 : 0);
    expect_eq("last dword", load(GVA_TMP + CONFIG_ROOM - 4, 4), 0);
    store(GVA_TMP + 0x31, 1, 0xff);
    expect_eq("narrow write", pci_read(lab.slot, 0, 0x30, 4), 0);
    store(GVA_TMP + 0x32, 1, 0xfe);
    expect_eq("narrow write", pci_read(lab.slot, 0, 0x30, 4), 0xfe0000);
    store(GVA_TMP + 0x30, 4, 0);
    unmap(GVA_TMP, PAGE, PAGE);
}

static const struct check list[] = {
    {"pci", "host bridge at 0:0.0", NULL, 0, false, host_bridge},
    {"pci", "lab device: identity, class, header type, magic", NULL, 0, true, lab_identity},
    {"pci", "an absent slot reads ones and drops writes", NULL, 0, false, absent},
    {"pci", "absent functions of the lab's slot read ones", NULL, 0, true, absent_functions},
    {"pci", "absent buses read ones", NULL, 0, true, absent_bus},
    {"pci", "the address register reads back", NULL, 0, false, address_register},
    {"pci", "byte and word accesses leave the address register alone", NULL, 0, false,
     address_narrow},
    {"pci", "without the enable bit the data port reads ones", NULL, 0, false, not_enabled},
    {"pci", "narrow reads are parts of the dword", NULL, 0, false, narrow_reads},
    {"pci", "narrow writes are merged into the dword", NULL, 0, true, narrow_writes},
    {"pci", "read-only registers stay", NULL, 0, true, read_only},
    {"pci", NULL, name_kind, 3, true, bar_kind},
    {"pci", NULL, name_sizing, 6, true, sizing},
    {"pci", "sizing of the ROM BAR", NULL, 0, true, rom_bar},
    {"pci", "config space in memory is that of the ports", NULL, 0, true, config_window},
};
const struct check_list checks_pci = {list, COUNT_OF(list)};
