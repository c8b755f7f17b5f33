#include "tests/guest/guest.h"

#define CFG_COMMAND    0x04u
#define CFG_BAR(n)     (0x10u + 4u * (n))
#define COMMAND_MEMORY 0x2u
#define COMMAND_MASTER 0x4u
#define BAR_FLAGS      0xfull

struct lab lab;
const uint64_t lab_home[6] = {0xe0000000ull, 0, 0xd0000000ull, 0, 0x400000000ull, 0};
const char *const type_name[5] = {"UC", "WC", "WT", "WP", "WB"};
const unsigned type_value[5] = {0, 1, 4, 5, 6};
const char *const rights_name[4] = {"R", "RW", "RX", "RWX"};

unsigned rights_bits(unsigned r)
{
    return 1u | ((r & 1u) ? 2u : 0u) | ((r & 2u) ? 4u : 0u);
}

bool type_legal(bool ipat)
{
    return !ipat || (lab.caps & LAB_CAP_IGNORE_PAT);
}

bool lab_find(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (pci_read(slot, 0, 0, 4) == ((LAB_DEVICE_ID << 16) | LAB_VENDOR_ID)) {
            lab.present = true;
            lab.slot = slot;
            return true;
        }
    }
    return false;
}

void lab_decode(bool on)
{
    uint32_t command = pci_read(lab.slot, 0, CFG_COMMAND, 2);

    command = on ? command | COMMAND_MEMORY | COMMAND_MASTER : command & ~COMMAND_MEMORY;
    pci_write(lab.slot, 0, CFG_COMMAND, 2, command);
}

void lab_set_bar(unsigned bar, uint64_t base)
{
    pci_write(lab.slot, 0, CFG_BAR(bar), 4, (uint32_t)base);
    pci_write(lab.slot, 0, CFG_BAR(bar + 1), 4, (uint32_t)(base >> 32));
    lab.base[bar] = base;
}

void lab_map_regs(void)
{
    map(GVA_REGS, lab.base[0], PAGE, PAGE, pat_index_of(PAT_UC));
}

void lab_home_all(void)
{
    lab_decode(false);
    for (unsigned bar = 0; bar < 6; bar += 2)
        if (lab.bytes[bar] != 0)
            lab_set_bar(bar, lab_home[bar]);
    lab_decode(true);
    lab_map_regs();
    map(GVA_BAR2, lab.base[2], lab.bytes[2] + 2 * PAGE, PAGE, 0);
}

static void size_bars(void)
{
    for (unsigned bar = 0; bar < 6; bar += 2) {
        uint64_t mask;

        lab_set_bar(bar, ~0ull);
        mask = pci_read(lab.slot, 0, CFG_BAR(bar), 4);
        mask |= (uint64_t)pci_read(lab.slot, 0, CFG_BAR(bar + 1), 4) << 32;
        mask &= ~BAR_FLAGS;
        lab.bytes[bar] = mask == 0 ? 0 : 0 - mask;
    }
}

void lab_init(void)
{
    lab_decode(false);
    size_bars();
    lab_home_all();
    map(GVA_BAR2_2M, lab_home[2], lab.bytes[2], LARGE, 0);
    if (have_huge_pages())
        map(GVA_1G, lab_home[2] & ~(HUGE - 1), HUGE, HUGE, 0);
    if (LAB0(LAB_CMD_CAPS) == HV_OK) {
        lab.caps = lab_result(0);
        lab.phys_bits = lab_result(1);
    }
    if (LAB(LAB_CMD_SECTION_GET, LAB_SECTION_MAIN) == HV_OK) {
        lab.main = (uint32_t)lab_result(0);
        lab.main_pages = lab_result(1);
    }
    if (LAB(LAB_CMD_SECTION_GET, LAB_SECTION_ALT) == HV_OK) {
        lab.alt = (uint32_t)lab_result(0);
        lab.alt_pages = lab_result(1);
    }
    if (LAB(LAB_CMD_SECTION_GET, LAB_SECTION_BAR4) == HV_OK) {
        lab.bar4 = (uint32_t)lab_result(0);
        lab.bar4_pages = lab_result(1);
    }
}

hv_status_t lab_call(uint32_t command, const uint64_t *args, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        store(GVA_REGS + LAB_ARG(i), 8, args[i]);
    store(GVA_REGS + LAB_COMMAND, 4, command);
    return (hv_status_t)(uint32_t)load(GVA_REGS + LAB_STATUS, 4);
}

uint64_t lab_result(unsigned i)
{
    return load(GVA_REGS + LAB_RESULT(i), 8);
}

hv_status_t range_create(uint64_t page, uint64_t pages, uint32_t flags, uint32_t section,
                         uint64_t section_page)
{
    return LAB(LAB_CMD_RANGE_CREATE, 0, 2, page, pages, flags, section, section_page);
}

hv_status_t range_destroy(uint64_t page)
{
    return LAB(LAB_CMD_RANGE_DESTROY, 0, 2, page);
}

uint64_t section_get(uint32_t handle, uint64_t offset)
{
    expect_status("section read", LAB(LAB_CMD_SECTION_READ, handle, offset), HV_OK);
    return lab_result(0);
}

void section_put(uint32_t handle, uint64_t offset, uint64_t value)
{
    expect_status("section write", LAB(LAB_CMD_SECTION_WRITE, handle, offset, value), HV_OK);
}

uint64_t lab_hash(void)
{
    expect_status("hash", LAB0(LAB_CMD_HASH), HV_OK);
    return lab_result(0);
}

uint64_t lab_traps(void)
{
    return load(GVA_REGS + LAB_TRAPS, 8);
}

uint64_t hole_value(uint64_t offset, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)LAB_HOLE_BYTE(offset + i) << (8 * i);
    return v;
}

struct bar_stats bar_stats(unsigned bar)
{
    struct bar_stats s;

    expect_status("bar stats", LAB(LAB_CMD_BAR_STATS, bar), HV_OK);
    s.bytes = lab_result(0);
    s.base = lab_result(1);
    s.decoded = lab_result(2);
    s.ranges = lab_result(3);
    s.direct = lab_result(4);
    s.reads = lab_result(5);
    s.writes = lab_result(6);
    s.failures = lab_result(7);
    return s;
}

struct totals totals(void)
{
    struct totals t;

    expect_status("totals", LAB0(LAB_CMD_TOTALS), HV_OK);
    for (unsigned i = 0; i < COUNT_OF(t.value); i++)
        t.value[i] = lab_result(i);
    return t;
}

bool totals_equal(const struct totals *a, const struct totals *b)
{
    static const char *const what[] = {"free frames",
                                       "table pages",
                                       "ledger mappings",
                                       "sections",
                                       "ranges",
                                       "views, I/O mappings and apertures",
                                       "the lab's apertures",
                                       "the lab's doorbells",
                                       "events"};

    for (unsigned i = 0; i < COUNT_OF(a->value); i++)
        if (!expect_eq(what[i], b->value[i], a->value[i]))
            return false;
    return true;
}

struct leaf leaf_at(uint64_t gpa)
{
    struct leaf l = {0, 0, 0, 0, 0};

    expect_status("leaf", LAB(LAB_CMD_LEAF, gpa), HV_OK);
    l.present = lab_result(0);
    if (l.present) {
        l.rights = lab_result(1);
        l.type = lab_result(2);
        l.ipat = lab_result(3);
        l.level = lab_result(4);
    }
    return l;
}

bool trap_record(uint64_t sequence, struct trap_record *r)
{
    if (!expect_status("trap log", LAB(LAB_CMD_TRAP_GET, sequence), HV_OK))
        return false;
    r->bar = lab_result(0);
    r->offset = lab_result(1);
    r->bytes = lab_result(2);
    r->value = lab_result(3);
    r->write = lab_result(4);
    return true;
}

struct initial initial_range(unsigned n)
{
    struct initial r = {LAB_LAST_PAGE, 1, 4, 1, 0};

    if (n < LAB_SMALL_SLOTS) {
        r = (struct initial){LAB_SMALL_PAGE(n), LAB_SMALL_PAGES, n / 8, (n / 2) % 4, n % 2};
    } else if (n < LAB_SMALL_SLOTS + LAB_LARGE_SLOTS) {
        unsigned m = n - LAB_SMALL_SLOTS;
        r = (struct initial){LAB_LARGE_PAGE(m), LAB_LARGE_PAGES, m / 2, 1, m % 2};
    } else if (n == LAB_SMALL_SLOTS + LAB_LARGE_SLOTS) {
        r = (struct initial){LAB_LARGER_PAGE, LAB_LARGER_PAGES, 4, 1, 0};
    } else if (n == LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 1) {
        r = (struct initial){LAB_APART_PAGE, LAB_APART_PAGES, 4, 1, 0};
    }
    return r;
}

unsigned initial_level(const struct initial *range, uint64_t page)
{
    uint64_t first = page & ~511ull;

    if (!(lab.caps & LAB_CAP_LARGE_2M))
        return 1;
    return first >= range->page && first + 512 <= range->page + range->pages ? 2 : 1;
}

void name_initial(char *out, unsigned n)
{
    struct initial r = initial_range(n);

    format_text(out, NAME_ROOM, "range at page %lu, %lu pages, %s %s%s", r.page, r.pages,
                type_name[r.type], rights_name[r.rights], r.ipat ? " IPAT" : "");
}

static uint64_t pack(const char *text, unsigned word)
{
    uint64_t packed = 0;
    unsigned n = 0;

    while (text[n] != '\0')
        n++;
    for (unsigned k = 0; k < 8; k++)
        if (8 * word + k < n)
            packed |= (uint64_t)(uint8_t)text[8 * word + k] << 8 * k;
    return packed;
}

hv_status_t device_add(const char *model, uint64_t place, const char *option, uint64_t *device)
{
    hv_status_t status = LAB(LAB_CMD_DEVICE_ADD, pack(model, 0), pack(model, 1), place,
                             pack(option, 0), pack(option, 1));

    *device = status == HV_OK ? lab_result(0) : ~0ull;
    return status;
}

hv_status_t device_remove(uint64_t device)
{
    return LAB(LAB_CMD_DEVICE_REMOVE, device);
}

uint64_t device_seen(uint64_t device, unsigned what)
{
    expect_status("what it saw", LAB(LAB_CMD_DEVICE_SEEN, device), HV_OK);
    return lab_result(what);
}
