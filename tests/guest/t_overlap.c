/* A BAR over guest RAM (RAM wins) and two BARs at one address (the first decoded wins). */
#include "tests/guest/guest.h"

#define LOW  0xc4000000ull
#define MARK (LAB_LARGER_PAGE * PAGE + 0x40)

static volatile uint64_t witness[512] __attribute__((aligned(4096)));

static void expect_bar2(const char *what)
{
    section_put(lab.main, MARK, 0xa11fe);
    if (load(GVA_BAR2 + MARK, 8) != 0xa11fe)
        fail("%s: BAR2 is not alive", what);
}

static void over_ram(unsigned i)
{
    struct bar_stats s;

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(witness); k++)
        witness[k] = k * 3;
    lab_set_bar(2, 0); /* the guest's own RAM, this code included */
    for (unsigned k = 0; k < COUNT_OF(witness); k++)
        expect_eq("RAM under the BAR", witness[k], k * 3);
    witness[7] = 4711;
    s = bar_stats(2);
    expect_eq("base", s.base, 0);
    expect_eq("decoded", s.decoded, 0);
    expect_eq("direct pages", s.direct, 0);
    expect_eq("old address", load(GVA_BAR2 + MARK, 8), ~0ull);
    lab_home_all();
    expect_eq("RAM afterwards", witness[7], 4711);
    expect_bar2("home again");
}

/* The first page of RAM at or above 4 GiB, 0: none. */
static uint64_t high_ram(uint64_t *bytes)
{
    const struct memory_entry *e;

    for (unsigned k = 0; (e = memory_entry(k)) != NULL; k++)
        if (e->type == MEMORY_RAM && e->base >= FOUR_GIB) {
            *bytes = e->bytes;
            return e->base;
        }
    return 0;
}

/* RAM above 4 GiB: there to its last byte, and it wins over a BAR too. */
static void over_high_ram(unsigned i)
{
    uint64_t bytes = 0, base = high_ram(&bytes);

    (void)i;
    if (base == 0) {
        skip("no RAM above 4 GiB");
        return;
    }
    map(GVA_TMP, base, PAGE, PAGE, 0);
    map(GVA_TMP + PAGE, base + bytes - PAGE, 2 * PAGE, PAGE, 0);
    store(GVA_TMP, 8, 0x1111);
    store(GVA_TMP + 2 * PAGE - 8, 8, 0x2222);
    expect_eq("first word", load(GVA_TMP, 8), 0x1111);
    expect_eq("last word", load(GVA_TMP + 2 * PAGE - 8, 8), 0x2222);
    if (lab.present) {
        expect_eq("past the end", load(GVA_TMP + 2 * PAGE, 8), ~0ull);
        lab_set_bar(2, base & ~(lab.bytes[2] - 1));
        expect_eq("decoded", bar_stats(2).decoded, 0);
        expect_eq("first word under the BAR", load(GVA_TMP, 8), 0x1111);
        lab_home_all();
        expect_bar2("home again");
    }
    expect_eq("first word afterwards", load(GVA_TMP, 8), 0x1111);
    unmap(GVA_TMP, 3 * PAGE, PAGE);
}

/* Does something else begin where a piece of RAM ends? */
static bool is_followed(const struct start_info *info, uint64_t end)
{
    const struct memory_entry *e = (const struct memory_entry *)(uintptr_t)info->memory_map;

    for (unsigned k = 0; k < info->memory_entries; k++)
        if (e[k].base == end)
            return true;
    return false;
}

/* BAR0 on both sides of the end of each piece of RAM: RAM wins to its last page, and not a byte further. */
static void at_ram_end(unsigned i)
{
    const struct start_info *info = (const struct start_info *)(uintptr_t)entry_state[0];
    const struct memory_entry *e = (const struct memory_entry *)(uintptr_t)info->memory_map;
    unsigned pieces = 0;

    (void)i;
    for (unsigned k = 0; info->version >= 1 && k < info->memory_entries && !failed(); k++) {
        uint64_t end = e[k].base + e[k].bytes, last = end - lab.bytes[0], was;

        if (e[k].type != MEMORY_RAM || end % lab.bytes[0] != 0 || e[k].bytes < lab.bytes[0] ||
            is_followed(info, end))
            continue;
        pieces++;
        map(GVA_TMP, last, lab.bytes[0], PAGE, 0);
        was = load(GVA_TMP, 8); /* whatever the loader put there */
        lab_set_bar(0, last);
        store(GVA_TMP, 8, ~was);
        expect_eq("RAM under BAR0", load(GVA_TMP, 8), ~was);
        store(GVA_TMP, 8, was);
        expect_eq("BAR0's old address", load(GVA_REGS + LAB_MAGIC, 4), 0xffffffff);
        lab_set_bar(0, end);
        lab_map_regs();
        expect_eq("BAR0 right behind RAM", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
        lab_home_all();
        unmap(GVA_TMP, lab.bytes[0], PAGE);
    }
    expect(pieces != 0, "RAM ends somewhere");
}

static void over_ram_toggled(unsigned i)
{
    (void)i;
    lab_set_bar(2, 0);
    lab_decode(false);
    lab_decode(true);
    witness[9] = 0x9999;
    expect_eq("RAM", witness[9], 0x9999);
    expect_eq("decoded", bar_stats(2).decoded, 0);
    lab_home_all();
    expect_bar2("home again");
}

/* BAR0 moves onto a hole of BAR2: BAR2 was first. When BAR2 leaves, BAR0 comes alive by itself. */
static void second_waits(unsigned i)
{
    uint64_t spot = lab_home[2] + 2 * PAGE;
    uint32_t seen;

    (void)i;
    store(GVA_REGS + LAB_SCRATCH, 4, 0x77);
    lab_set_bar(0, spot);
    lab_map_regs();
    seen = (uint32_t)load(GVA_REGS + LAB_MAGIC, 4);
    lab_set_bar(2, LOW);
    expect_eq("who answered while both were there", seen, hole_value(2 * PAGE, 4));
    expect_eq("BAR0 alone", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    expect_eq("its registers", load(GVA_REGS + LAB_SCRATCH, 4), 0x77);
    map(GVA_BAR2, LOW, lab.bytes[2], PAGE, 0);
    expect_bar2("at its new address");
    lab_home_all();
    expect_bar2("home again");
}

/* BAR2 moves over BAR0: BAR0 was first, BAR2 waits as a whole. */
static void first_stays(unsigned i)
{
    uint64_t over = lab_home[0] & ~(lab.bytes[2] - 1);

    (void)i;
    lab_set_bar(2, over);
    expect_eq("BAR0 stays", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    expect_eq("BAR2 decoded", bar_stats(2).decoded, 0);
    expect_eq("no leaf", leaf_at(over + MARK).present, 0);
    map(GVA_BAR2, over, lab.bytes[2], PAGE, 0);
    expect_eq("BAR2 does not answer", load(GVA_BAR2 + MARK, 8), ~0ull);
    lab_set_bar(0, LOW);
    lab_map_regs();
    expect_eq("BAR2 decoded when BAR0 has left", bar_stats(2).decoded, 1);
    expect_bar2("revived");
    lab_home_all();
    expect_bar2("home again");
}

/* Decode off and on with both at one address: still exactly one answers, and both come back. */
static void toggled(unsigned i)
{
    (void)i;
    lab_set_bar(2, lab_home[0] & ~(lab.bytes[2] - 1));
    lab_decode(false);
    lab_decode(true);
    lab_home_all();
    expect_eq("BAR0", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    expect_bar2("home again");
}

static const struct check list[] = {
    {"overlap", "BAR2 over guest RAM: RAM wins, and back", NULL, 0, true, over_ram},
    {"overlap", "BAR2 over guest RAM with decode toggled", NULL, 0, true, over_ram_toggled},
    {"overlap", "RAM above 4 GiB, alone and under BAR2", NULL, 0, false, over_high_ram},
    {"overlap", "BAR0 over the last page of RAM, and right behind it", NULL, 0, true, at_ram_end},
    {"overlap", "BAR0 onto BAR2: the first wins, the other revives", NULL, 0, true, second_waits},
    {"overlap", "BAR2 onto BAR0: the first wins, the other revives", NULL, 0, true, first_stays},
    {"overlap", "two BARs at one address and decode toggled", NULL, 0, true, toggled},
};
const struct check_list checks_overlap = {list, COUNT_OF(list)};
