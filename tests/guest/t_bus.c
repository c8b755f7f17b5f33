/* Functions, BARs of each kind, byte enables, and devices that come and go while the guest runs. */
#include "tests/guest/guest.h"

#define CFG_COMMAND  0x04u
#define CFG_HEADER   0x0eu
#define CFG_BAR(n)   (0x10u + 4u * (n))
#define CFG_SUB      0x2eu
#define CFG_ROM      0x30u
#define CFG_LIST     0x34u
#define CMD_IO       0x1u
#define CMD_MEMORY   0x2u
#define MULTI        0x80u
#define CAP_EXPRESS  0x10u
#define DEVICE_RESET 0x8000u /* of the Device Control register, at 8 */
#define ECAM         0xfe000000ull
#define SLOT         9u
#define AT(slot, fn) ((slot) << 8 | (fn))
#define IDENTITY     (LAB_NEIGHBOUR_ID << 16 | LAB_VENDOR_ID)

/* ---- the kit of these checks ---- */

static uint64_t bar64(unsigned slot, unsigned bar)
{
    return (pci_read(slot, 0, CFG_BAR(bar), 4) & ~0xfull) |
           (uint64_t)pci_read(slot, 0, CFG_BAR(bar + 1), 4) << 32;
}

static void set_bar64(unsigned slot, unsigned bar, uint64_t base)
{
    pci_write(slot, 0, CFG_BAR(bar), 4, (uint32_t)base);
    pci_write(slot, 0, CFG_BAR(bar + 1), 4, (uint32_t)(base >> 32));
}

static void command(unsigned slot, uint32_t bits)
{
    pci_write(slot, 0, CFG_COMMAND, 2, bits);
}

static uint64_t add(unsigned slot, unsigned function, const char *kind)
{
    uint64_t device;

    expect_status(kind, device_add("neighbour", AT(slot, function), kind, &device), HV_OK);
    return device;
}

static void drop(uint64_t device)
{
    expect_status("removed", device_remove(device), HV_OK);
}

/* A page at a guest-physical address, uncached. */
static uint64_t at(uint64_t gpa)
{
    map(GVA_TMP, gpa & ~(PAGE - 1), PAGE, PAGE, pat_index_of(PAT_UC));
    return GVA_TMP + (gpa & (PAGE - 1));
}

static uint64_t ecam(unsigned slot, unsigned function, unsigned offset)
{
    return at(ECAM + (slot << 15) + (function << 12) + offset);
}

static uint32_t in(uint32_t port, unsigned bytes)
{
    return bytes == 1   ? inb((uint16_t)port)
           : bytes == 2 ? inw((uint16_t)port)
                        : inl((uint16_t)port);
}

static void out(uint32_t port, unsigned bytes, uint32_t value)
{
    if (bytes == 1)
        outb((uint16_t)port, (uint8_t)value);
    else if (bytes == 2)
        outw((uint16_t)port, (uint16_t)value);
    else
        outl((uint16_t)port, value);
}

static void expect_saw(uint64_t device, unsigned bar, uint64_t offset, unsigned bytes)
{
    expect_eq("BAR", device_seen(device, LAB_SEEN_BAR), bar);
    expect_eq("offset", device_seen(device, LAB_SEEN_OFFSET), offset);
    expect_eq("length", device_seen(device, LAB_SEEN_LENGTH), bytes);
}

/* ---- functions ---- */

static void functions(unsigned i)
{
    uint64_t first = add(SLOT, 0, "plain"), last, other;

    (void)i;
    expect_eq("alone", pci_read(SLOT, 0, CFG_HEADER, 1), 0);
    last = add(SLOT, 7, "io");
    expect_eq("multi-function", pci_read(SLOT, 0, CFG_HEADER, 1), MULTI);
    expect_eq("in function 7", pci_read(SLOT, 7, CFG_HEADER, 1), 0);
    for (unsigned function = 0; function < 8; function++) {
        uint32_t id = function % 7 == 0 ? IDENTITY : ~0u;

        expect_eq("by ports", pci_read(SLOT, function, 0, 4), id);
        expect_eq("by ECAM", load(ecam(SLOT, function, 0), 4), id);
    }
    expect_eq("kind of 0", pci_read(SLOT, 0, CFG_SUB, 2), LAB_KIND_PLAIN);
    expect_eq("kind of 7", pci_read(SLOT, 7, CFG_SUB, 2), LAB_KIND_IO);
    pci_write(SLOT, 7, CFG_COMMAND, 2, 4);
    expect_eq("COMMAND of 0", pci_read(SLOT, 0, CFG_COMMAND, 2), 0);
    expect_status("taken", device_add("neighbour", AT(SLOT, 7), "", &other), HV_E_ALREADY_EXISTS);
    drop(last);
    expect_eq("alone again", pci_read(SLOT, 0, CFG_HEADER, 1), 0);
    expect_eq("gone", pci_read(SLOT, 7, 0, 4), ~0u);
    drop(first);
}

static void statuses(unsigned i)
{
    uint64_t device;

    (void)i;
    expect_status("no such model", device_add("nothing", LAB_PLACE_ANY, "", &device),
                  HV_E_INVALID_PARAMETER_2);
    expect_status("slot 0", device_add("neighbour", AT(0u, 0u), "", &device),
                  HV_E_INVALID_PARAMETER_4);
    expect_status("slot 32", device_add("neighbour", AT(32u, 0u), "", &device),
                  HV_E_INVALID_PARAMETER_4);
    expect_status("function 8", device_add("neighbour", AT(SLOT, 8u), "", &device),
                  HV_E_INVALID_PARAMETER_4);
    expect_status("its option", device_add("neighbour", LAB_PLACE_ANY, "colour", &device),
                  HV_E_INVALID_PARAMETER);
    expect_status("a second lab", device_add("lab", LAB_PLACE_ANY, "", &device), HV_E_BUSY);
    expect_status("the lab, by itself", device_remove(0), HV_E_DEADLOCK);
    expect_status("nobody", device_remove(1), HV_E_INVALID_HANDLE);
    expect_status("interrupt of nobody", LAB(LAB_CMD_RAISE, 1, 0), HV_E_INVALID_HANDLE);
    expect_status("message to nowhere", LAB(LAB_CMD_MSI, 0, 0xfed00000, 0x40),
                  HV_E_INVALID_PARAMETER_2);
}

/* ---- I/O BARs ---- */

static const unsigned io_bytes[3] = {4, 8, 256};

static void io_widths(unsigned i)
{
    uint64_t device = add(SLOT, 0, "io");

    (void)i;
    for (unsigned bar = 0; bar < 3; bar++) {
        uint32_t base = pci_read(SLOT, 0, CFG_BAR(bar), 4);

        expect_eq("I/O", base & 3, 1);
        base &= ~3u;
        expect_eq("aligned", base & (io_bytes[bar] - 1), 0);
        expect(base >= 0xc000 && base <= 0xffff, "it has a place");
        command(SLOT, CMD_MEMORY);
        expect_eq("not enabled", in(base, 4), ~0u);
        command(SLOT, CMD_IO);
        for (unsigned bytes = 1; bytes <= 4; bytes *= 2)
            for (unsigned o = 0; o + bytes <= io_bytes[bar]; o += bytes) {
                uint32_t value = (0x89abcdefu + 0x01010101u * o) & (uint32_t)ones(bytes);

                out(base + o, bytes, value);
                if (!expect_eq("value seen", device_seen(device, LAB_SEEN_VALUE), value) ||
                    !expect_eq("read back", in(base + o, bytes), value))
                    fail("BAR%u offset %u, %u bytes", bar, o, bytes);
            }
        expect_saw(device, bar, io_bytes[bar] - 4, 4);
        (void)inb((uint16_t)(base + 1));
        expect_saw(device, bar, 1, 1);
        command(SLOT, 0);
        expect_eq("off", in(base, 1), 0xff);
    }
    drop(device);
}

/* What reaches past the end of a BAR is ones there. */
static void io_past_end(unsigned i)
{
    uint64_t device = add(SLOT, 0, "io");
    const uint32_t base = 0x2000;

    (void)i;
    pci_write(SLOT, 0, CFG_BAR(0), 4, base);
    command(SLOT, CMD_IO);
    out(base, 4, 0x44332211);
    expect_eq("at 3, 4 bytes", in(base + 3, 4), 0xffffff44);
    expect_eq("at 3, 2 bytes", in(base + 3, 2), 0xff44);
    expect_eq("at 2, 4 bytes", in(base + 2, 4), 0xffff4433);
    expect_eq("at 1, 4 bytes", in(base + 1, 4), 0xff443322);
    expect_eq("at 1, 2 bytes", in(base + 1, 2), 0x3322);
    out(base + 3, 4, 0x998877aa);
    expect_eq("the byte inside", in(base, 4), 0xaa332211);
    expect_saw(device, 0, 0, 4);
    drop(device);
}

static void io_moves(unsigned i)
{
    uint64_t device = add(SLOT, 0, "io"), other = add(SLOT + 1, 0, "io");

    (void)i;
    command(SLOT, CMD_IO);
    for (uint32_t base = 0x1000; base < 0x10000; base += 0x1500) {
        pci_write(SLOT, 0, CFG_BAR(2), 4, base | 0xfc);
        expect_eq("register", pci_read(SLOT, 0, CFG_BAR(2), 4), base | 1);
        out(base + 255, 1, base >> 8);
        expect_eq("last byte", in(base + 255, 1), base >> 8);
        expect_eq("behind", in(base + 256, 1), 0xff);
    }
    /* The first at an address keeps it; the other comes when it goes. */
    pci_write(SLOT, 0, CFG_BAR(2), 4, 0x3000);
    out(0x3000, 4, 0x11111111);
    command(SLOT + 1, CMD_IO);
    pci_write(SLOT + 1, 0, CFG_BAR(2), 4, 0x3000);
    expect_eq("the first's", in(0x3000, 4), 0x11111111);
    pci_write(SLOT, 0, CFG_BAR(2), 4, 0x5000);
    expect_eq("the second's", in(0x3000, 4), 0);
    expect_eq("the first's, moved", in(0x5000, 4), 0x11111111);
    /* Nothing takes the ports of config space. */
    pci_write(SLOT, 0, CFG_BAR(2), 4, 0x0c00);
    expect_eq("config space", pci_read(SLOT, 0, 0, 4), IDENTITY);
    expect_eq("nobody", in(0x0c00, 4), ~0u);
    drop(other);
    drop(device);
    expect_eq("gone", in(0x3000, 1), 0xff);
}

/* ---- memory BARs ---- */

static void small_bar(unsigned i)
{
    uint64_t device = add(SLOT, 0, "io"), base, gva;

    (void)i;
    base = pci_read(SLOT, 0, CFG_BAR(3), 4);
    expect_eq("aligned", base & 0xf, 0);
    pci_write(SLOT, 0, CFG_BAR(3), 4, 0xd70000ff);
    command(SLOT, CMD_MEMORY);
    gva = at(0xd70000f0);
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
        for (unsigned o = 0; o < 16; o += bytes) {
            uint64_t value = (0x0123456789abcdefull + o) & ones(bytes);

            store(gva + o, bytes, value);
            if (!expect_eq("read back", load(gva + o, bytes), value))
                fail("offset %u, %u bytes", o, bytes);
        }
    expect_saw(device, 3, 8, 8);
    expect_eq("in front", load(gva - 8, 8), ~0ull);
    expect_eq("behind", load(gva + 16, 8), ~0ull);
    drop(device);
}

static void rom(unsigned i)
{
    uint64_t device = add(SLOT, 0, "io"), gva;
    uint32_t base = pci_read(SLOT, 0, CFG_ROM, 4);

    (void)i;
    expect_eq("aligned, off", base & 0x7ff, 0);
    pci_write(SLOT, 0, CFG_ROM, 4, 0xfffffffe);
    expect_eq("sizing", pci_read(SLOT, 0, CFG_ROM, 4), 0xfffff800);
    base = 0xd7010000;
    pci_write(SLOT, 0, CFG_ROM, 4, base);
    gva = at(base);
    command(SLOT, CMD_MEMORY);
    expect_eq("off", load(gva, 4), 0xffffffff);
    pci_write(SLOT, 0, CFG_ROM, 4, base | 1);
    expect_eq("on", load(gva, 4), 0);
    expect_saw(device, 6, 0, 4);
    expect_eq("behind", load(gva + 0x800, 4), 0xffffffff);
    drop(device);
}

static void huge_bar(unsigned i)
{
    const uint64_t bytes = 64 * HUGE;
    uint64_t device = add(SLOT, 0, "huge"), base = bar64(SLOT, 0), moved = 2 * bytes;

    (void)i;
    if (lab.phys_bits < 39) {
        drop(device);
        skip("this CPU has no address for it");
        return;
    }
    expect(base != 0, "it has a place");
    expect_eq("aligned", base & (bytes - 1), 0);
    command(SLOT, CMD_MEMORY);
    for (unsigned k = 0; k < 2; k++) {
        expect_eq("first", load(at(base + 0x18), 8), 0x18);
        expect_eq("middle", load(at(base + 33 * HUGE + 8), 8), 33 * HUGE + 8);
        expect_eq("last", load(at(base + bytes - 8), 8), bytes - 8);
        expect_eq("in front", load(at(base - 8), 8), ~0ull);
        moved = base == bytes ? 3 * bytes : bytes;
        if (lab.phys_bits < 40) /* the lab's BARs are in the upper half */
            break;
        set_bar64(SLOT, 0, moved);
        expect_eq("where it was", load(at(base + 0x18), 8), ~0ull);
        base = moved;
    }
    drop(device);
}

static const struct {
    const char *kind;
    uint32_t mask[7];
} sizes[] = {
    {"plain", {0xfffff000, 0xfffff000, 0xfffff000, 0xfffff000, 0xfffff000, 0xfffff000, 0}},
    {"nvme", {0xffff0004, 0xffffffff, 0xff00000c, 0xffffffff, 0xffffc004, 0xffffffff, 0}},
    {"io", {0xfffffffd, 0xfffffff9, 0xffffff01, 0xfffffff0, 0, 0, 0xfffff800}},
    {"huge", {0x0000000c, 0xfffffff0, 0, 0, 0, 0, 0}},
    {"w1c", {0xfffff000, 0, 0, 0, 0, 0, 0}},
};

static void name_sizing(char *out_name, unsigned i)
{
    format_text(out_name, NAME_ROOM, "sizing the BARs of \"%s\"", sizes[i].kind);
}

static void sizing(unsigned i)
{
    uint64_t device = add(SLOT, 0, sizes[i].kind);

    for (uint32_t decoded = 0; decoded < 4; decoded++) {
        command(SLOT, decoded);
        for (unsigned bar = 0; bar < 7; bar++) {
            unsigned offset = bar < 6 ? CFG_BAR(bar) : CFG_ROM;
            uint32_t old = pci_read(SLOT, 0, offset, 4);

            pci_write(SLOT, 0, offset, 4, bar < 6 ? 0xffffffff : 0xfffffffe);
            if (!expect_eq("mask", pci_read(SLOT, 0, offset, 4), sizes[i].mask[bar]))
                fail("BAR%u", bar);
            pci_write(SLOT, 0, offset, 4, old);
            expect_eq("put back", pci_read(SLOT, 0, offset, 4), old);
        }
    }
    drop(device);
}

#define FAR (224 * HUGE) /* where no BAR is put at first */

static void half_written(unsigned i)
{
    uint64_t device = add(SLOT, 0, "nvme"), base;

    (void)i;
    set_bar64(SLOT, 2, FAR);
    command(SLOT, CMD_MEMORY);
    expect_eq("at home", load(at(FAR + 0x100), 8), 0x100);
    pci_write(SLOT, 0, CFG_BAR(2), 4, 0x5000000);
    base = FAR + 0x5000000;
    expect_eq("half way", load(at(base + 0x100), 8), 0x100);
    expect_eq("not there", load(at(FAR + 0x100), 8), ~0ull);
    pci_write(SLOT, 0, CFG_BAR(3), 4, (uint32_t)(FAR >> 32) + 1);
    expect_eq("4 GiB up", load(at((FAR + 4 * HUGE) + 0x5000000 + 0x100), 8), 0x100);
    expect_eq("not half way", load(at(base + 0x100), 8), ~0ull);
    /* The upper half alone at 0: in RAM or in the hole, and nothing breaks. */
    pci_write(SLOT, 0, CFG_BAR(3), 4, 0);
    expect_eq("nowhere", load(at((FAR + 4 * HUGE) + 0x5000000 + 0x100), 8), ~0ull);
    set_bar64(SLOT, 2, FAR);
    expect_eq("back", load(at(FAR + 0x100), 8), 0x100);
    drop(device);
}

/* ---- config space ---- */

static void expect_config(uint64_t device, uint32_t offset, unsigned enable, uint32_t value)
{
    expect_eq("byte enables", device_seen(device, LAB_SEEN_CONFIG_OFFSET),
              offset | (uint64_t)enable << 32);
    expect_eq("value", device_seen(device, LAB_SEEN_CONFIG_VALUE), value);
}

static void byte_enables(unsigned i)
{
    uint64_t device = add(SLOT, 0, "w1c");
    const uint32_t reg = LAB_W1C_REGISTER;

    (void)i;
    expect_eq("at first", pci_read(SLOT, 0, reg, 4), 0xffffffff);
    pci_write(SLOT, 0, reg + 1, 1, 0x0f);
    expect_config(device, reg, 2, 0x0f00);
    expect_eq("its own bits", pci_read(SLOT, 0, reg, 4), 0xfffff0ff);
    pci_write(SLOT, 0, reg + 2, 2, 0x8001);
    expect_config(device, reg, 0xc, 0x80010000);
    expect_eq("its own bits", pci_read(SLOT, 0, reg, 4), 0x7ffef0ff);
    store(ecam(SLOT, 0, reg), 1, 0x81);
    expect_config(device, reg, 1, 0x81);
    expect_eq("by ECAM", load(ecam(SLOT, 0, reg), 4), 0x7ffef07e);
    store(ecam(SLOT, 0, reg), 8, 0x5566778800000000ull);
    expect_config(device, LAB_W1C_PLAIN, 0xf, 0x55667788);
    expect_eq("nothing cleared", pci_read(SLOT, 0, reg, 4), 0x7ffef07e);
    pci_write(SLOT, 0, LAB_W1C_PLAIN + 3, 1, 0x11);
    expect_eq("kept", pci_read(SLOT, 0, LAB_W1C_PLAIN, 4), 0x11667788);
    /* It is told of the core's own dwords, too. */
    pci_write(SLOT, 0, CFG_COMMAND, 1, CMD_MEMORY);
    expect_config(device, CFG_COMMAND, 1, CMD_MEMORY);
    pci_write(SLOT, 0, CFG_BAR(0) + 2, 2, 0xd700);
    expect_config(device, CFG_BAR(0), 0xc, 0xd7000000);
    expect_eq("by then it has moved",
              load(at(0xd7000000 | (pci_read(SLOT, 0, CFG_BAR(0), 4) & 0xf000)), 4), 0);
    drop(device);
}

static unsigned find_capability(unsigned slot, unsigned id)
{
    unsigned offset = pci_read(slot, 0, CFG_LIST, 1);

    for (unsigned k = 0; k < 48 && offset != 0; k++) {
        if (pci_read(slot, 0, offset, 1) == id)
            return offset;
        offset = pci_read(slot, 0, offset + 1, 1);
    }
    return 0;
}

static void reset(unsigned i)
{
    uint64_t device = add(SLOT, 0, "w1c");
    uint32_t base = pci_read(SLOT, 0, CFG_BAR(0), 4);
    unsigned express = find_capability(SLOT, CAP_EXPRESS);

    (void)i;
    expect(express != 0, "PCI Express capability");
    pci_write(SLOT, 0, LAB_W1C_REGISTER, 4, 0xffff);
    command(SLOT, CMD_MEMORY | 4);
    expect_eq("decoded", load(at(base + 8), 8), 8);
    pci_write(SLOT, 0, express + 8, 2, DEVICE_RESET);
    expect_eq("resets", device_seen(device, LAB_SEEN_RESETS), 1);
    expect_eq("COMMAND", pci_read(SLOT, 0, CFG_COMMAND, 2), 0);
    expect_eq("BAR0", pci_read(SLOT, 0, CFG_BAR(0), 4), 0);
    expect_eq("its register", pci_read(SLOT, 0, LAB_W1C_REGISTER, 4), 0xffffffff);
    expect_eq("not decoded", load(at(base + 8), 8), ~0ull);
    expect_eq("nor at 0", load(at(8), 8) == 8, 0);
    pci_write(SLOT, 0, CFG_BAR(0), 4, base);
    command(SLOT, CMD_MEMORY);
    expect_eq("saved state put back", load(at(base + 8), 8), 8);
    drop(device);
}

/* ---- devices that come and go ---- */

#define MARK 0x6b1d5a7e00c0ffeeull

static void come_and_go(unsigned i)
{
    struct totals before = totals(), after;
    uint64_t device, base = 0;

    (void)i;
    section_put(lab.main, LAB_FREE_PAGE * PAGE, MARK);
    for (unsigned round = 0; round < 4; round++) {
        device = add(SLOT, 0, "nvme");
        expect_eq("off at first", pci_read(SLOT, 0, CFG_COMMAND, 2), 0);
        expect(round == 0 || bar64(SLOT, 2) == base, "the same place");
        base = bar64(SLOT, 2);
        command(SLOT, CMD_MEMORY);
        expect_eq("trapped, at first access", load(at(base + 0x5010), 8), 0x5010);
        expect_status("range",
                      LAB(LAB_CMD_RANGE_CREATE, device, 2, 5, 1, F_WRITE | F_TYPE(4), lab.main,
                          LAB_FREE_PAGE),
                      HV_OK);
        expect_eq("direct", load(at(base + 0x5000), 8), MARK);
        expect(leaf_at(base + 0x5000).present, "a leaf");
        drop(device);
        expect_eq("its ID", pci_read(SLOT, 0, 0, 4), ~0u);
        expect_eq("its memory", load(at(base + 0x5000), 8), ~0ull);
        expect(!leaf_at(base + 0x5000).present, "no leaf");
        expect_status("no device", device_remove(device), HV_E_INVALID_HANDLE);
    }
    after = totals();
    totals_equal(&before, &after);
}

/* Every slot full; all BARs where nothing else is; all gone again. */
static void full_bus(unsigned i)
{
    static uint64_t device[32];
    unsigned count = 0;
    uint64_t extra;
    hv_status_t status = HV_OK;

    (void)i;
    while (count < 32 && status == HV_OK) {
        status = device_add("neighbour", LAB_PLACE_ANY, "", &device[count]);
        count += status == HV_OK;
    }
    expect_status("one too many", status, HV_E_QUOTA);
    expect_status("a function has a place", device_add("neighbour", AT(31u, 1u), "", &extra),
                  HV_OK);
    for (unsigned slot = 1; slot < 32; slot++) {
        uint32_t base = pci_read(slot, 0, CFG_BAR(0), 4);

        if (pci_read(slot, 0, 0, 4) != IDENTITY)
            continue;
        expect(base >= 0xc0000000u && base < ECAM, "it has a place");
        command(slot, CMD_MEMORY);
        if (!expect_eq("it answers", load(at(base + 0x20), 4), 0x20))
            fail("slot %u at %x", slot, base);
    }
    drop(extra);
    while (count-- > 0)
        drop(device[count]);
}

static const struct check list[] = {
    {"bus", "functions, and the bit that tells of them", NULL, 0, true, functions},
    {"bus", "devices that cannot be made or removed", NULL, 0, true, statuses},
    {"bus", "I/O BARs of 4, 8 and 256 ports by bytes, words and dwords", NULL, 0, true, io_widths},
    {"bus", "an access past the end of an I/O BAR", NULL, 0, true, io_past_end},
    {"bus", "I/O BARs move and collide", NULL, 0, true, io_moves},
    {"bus", "a memory BAR of 16 bytes", NULL, 0, true, small_bar},
    {"bus", "a ROM of 2 KiB", NULL, 0, true, rom},
    {"bus", "a BAR of 64 GiB", NULL, 0, true, huge_bar},
    {"bus", NULL, name_sizing, COUNT_OF(sizes), true, sizing},
    {"bus", "a half-written 64-bit BAR", NULL, 0, true, half_written},
    {"bus", "byte enables by ports and ECAM", NULL, 0, true, byte_enables},
    {"bus", "function-level reset", NULL, 0, true, reset},
    {"bus", "a device comes and goes", NULL, 0, true, come_and_go},
    {"bus", "every slot full", NULL, 0, true, full_bus},
};
const struct check_list checks_bus = {list, COUNT_OF(list)};
