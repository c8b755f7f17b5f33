/* BARs that move and decode that toggles: the ranges follow their BAR, and nothing stays behind. */
#include "tests/guest/guest.h"

#define CFG_BAR(n) (0x10u + 4u * (n))
#define LOW        0xc4000000ull  /* another place below 4 GiB */
#define HIGH       0x800000000ull /* 32 GiB */
#define AT         (LAB_FREE_PAGE + 512u)
#define PLAIN      (F_TYPE(4) | F_WRITE)
#define MARK       (LAB_LARGER_PAGE * PAGE + 0x40) /* a direct word */
#define HOLE       (2 * PAGE + 0x40)

static void map_bar2(uint64_t base)
{
    map(GVA_BAR2, base, lab.bytes[2], PAGE, 0);
}

/* BAR2 is alive at GVA_BAR2: a direct word, a hole, a write that reaches the section. */
static void expect_alive(const char *what)
{
    section_put(lab.main, MARK, 0x600d);
    if (load(GVA_BAR2 + MARK, 8) != 0x600d)
        fail("%s: a direct page is not there", what);
    store(GVA_BAR2 + MARK, 8, 0xfeed);
    if (section_get(lab.main, MARK) != 0xfeed)
        fail("%s: a write did not reach the section", what);
    if (load(GVA_BAR2 + HOLE, 8) != hole_value(HOLE, 8))
        fail("%s: a hole does not answer", what);
}

/* Through GVA_BAR2 nothing answers, and writes are dropped. */
static void expect_dead(const char *what)
{
    if (load(GVA_BAR2 + MARK, 8) != ~0ull || load(GVA_BAR2 + HOLE, 4) != 0xffffffffu)
        fail("%s: the address still answers", what);
    store(GVA_BAR2 + MARK, 8, 0xdead);
    store(GVA_BAR2 + HOLE, 8, 0xdead);
}

static void toggle(unsigned i)
{
    uint64_t sequence = lab_traps();

    (void)i;
    section_put(lab.main, MARK, 77);
    lab_decode(false);
    expect_dead("decode off");
    if (load(GVA_REGS + LAB_MAGIC, 4) != 0xffffffffu)
        fail("BAR0 answers with decode off");
    lab_decode(true);
    expect_eq("dropped write", section_get(lab.main, MARK), 77);
    expect_eq("traps", lab_traps(), sequence);
    expect_alive("decode on again");
    expect_eq("decoded", bar_stats(2).decoded, 1);
}

/* Every initial range has its leaves at `base`; nothing is left at `old`. */
static void all_follow(uint64_t base, uint64_t old)
{
    for (unsigned n = 0; n < INITIAL_COUNT && !failed(); n++) {
        struct initial r = initial_range(n);

        if (!type_legal(r.ipat != 0))
            continue;
        for (uint64_t p = r.page; p < r.page + r.pages && !failed(); p += r.pages > 8 ? 73 : 1) {
            struct leaf l = leaf_at(base + p * PAGE);

            expect_eq("present", l.present, 1);
            expect_eq("rights", l.rights, rights_bits(r.rights));
            expect_eq("type", l.type, type_value[r.type]);
            expect_eq("IPAT", l.ipat, r.ipat);
            expect_eq("level", l.level, initial_level(&r, p));
            expect_eq("left behind", leaf_at(old + p * PAGE).present, 0);
        }
    }
}

static void move(unsigned i)
{
    uint64_t to = i / 2 == 0   ? LOW
                  : i / 2 == 1 ? HIGH
                               : (UINT64_C(1) << lab.phys_bits) - lab.bytes[2];
    bool on = i % 2;

    expect_alive("before");
    lab_decode(on);
    lab_set_bar(2, to);
    lab_decode(true);
    expect_eq("base", bar_stats(2).base, to);
    expect_dead("old address");
    all_follow(to, lab_home[2]);
    map_bar2(to);
    expect_alive("new address");
    lab_home_all();
    expect_alive("home again");
    all_follow(lab_home[2], to);
}

static void name_move(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "move BAR2 %s with decode %s, all ranges follow",
                i / 2 == 0   ? "below 4 GiB"
                : i / 2 == 1 ? "above 4 GiB"
                             : "to the top of the physical addresses",
                i % 2 ? "on" : "off");
}

static void stays_dead(unsigned i)
{
    uint64_t gpa = lab.base[2] + AT * PAGE;

    (void)i;
    expect_status("create", range_create(AT, 1, PLAIN, lab.main, AT), HV_OK);
    expect_status("destroy", range_destroy(AT), HV_OK);
    lab_decode(false);
    lab_decode(true);
    expect_eq("leaf after a toggle", leaf_at(gpa).present, 0);
    expect_eq("value", load(GVA_BAR2 + AT * PAGE, 8), hole_value(AT * PAGE, 8));
    lab_set_bar(2, LOW);
    expect_eq("leaf after a move", leaf_at(LOW + AT * PAGE).present, 0);
    lab_home_all();
    expect_eq("leaf at home", leaf_at(gpa).present, 0);
}

/* BAR2 sits where it cannot be; its records change meanwhile and the changes hold when it is back. */
static void changed_while_away(unsigned i)
{
    (void)i;
    expect_status("create", range_create(AT + 8, 1, PLAIN, lab.main, AT + 8), HV_OK);
    lab_set_bar(2, 0ull - lab.bytes[2]);
    expect_status("create", range_create(AT, 1, PLAIN, lab.main, AT), HV_OK);
    expect_status("destroy", range_destroy(AT + 8), HV_OK);
    expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, 2, AT), HV_OK);
    expect_eq("live", lab_result(6), 0);
    expect_eq("leaves", lab_result(7) + lab_result(8) + lab_result(9), 0);
    lab_home_all();
    section_put(lab.main, AT * PAGE, 0x1234);
    expect_eq("created", load(GVA_BAR2 + AT * PAGE, 8), 0x1234);
    expect_eq("destroyed", load(GVA_BAR2 + (AT + 8) * PAGE, 8), hole_value((AT + 8) * PAGE, 8));
    expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, 2, AT), HV_OK);
    expect_eq("live", lab_result(6), 1);
    expect_status("destroy", range_destroy(AT), HV_OK);
}

/* The two halves of a 64-bit BAR are written one by one with decode on, in either order. */
static void half_written(unsigned i)
{
    bool high_first = i;
    uint64_t to = HIGH + LOW;
    uint64_t between = high_first ? HIGH + lab_home[2] : LOW;

    pci_write(lab.slot, 0, CFG_BAR(high_first ? 3 : 2), 4, (uint32_t)(high_first ? to >> 32 : to));
    expect_dead("old address, half written");
    expect_eq("old leaf", leaf_at(lab_home[2] + MARK).present, 0);
    expect_eq("transient base", bar_stats(2).base, between);
    pci_write(lab.slot, 0, CFG_BAR(high_first ? 2 : 3), 4, (uint32_t)(high_first ? to : to >> 32));
    expect_eq("base", bar_stats(2).base, to);
    all_follow(to, between);
    map_bar2(between);
    expect_dead("transient address");
    map_bar2(to);
    expect_alive("new address");
    lab_home_all();
    expect_alive("home again");
}

static void name_half(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "64-bit BAR written %s half first with decode on",
                i ? "high" : "low");
}

static void size_alive(unsigned i)
{
    unsigned bar = i == 0 ? 2 : 0;

    expect_alive("before");
    store(GVA_REGS + LAB_SCRATCH, 4, 0x5ca1e);
    lab_decode(true);
    pci_write(lab.slot, 0, CFG_BAR(bar), 4, 0xffffffff);
    pci_write(lab.slot, 0, CFG_BAR(bar + 1), 4, 0xffffffff);
    expect_eq("mask", pci_read(lab.slot, 0, CFG_BAR(bar), 4) & ~0xfu,
              (uint32_t)(0 - lab.bytes[bar]));
    if (bar == 2)
        expect_dead("while sizing");
    pci_write(lab.slot, 0, CFG_BAR(bar), 4, (uint32_t)lab_home[bar]);
    pci_write(lab.slot, 0, CFG_BAR(bar + 1), 4, (uint32_t)(lab_home[bar] >> 32));
    expect_eq("scratch", load(GVA_REGS + LAB_SCRATCH, 4), 0x5ca1e);
    expect_alive("after");
}

static void name_size_alive(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "sizing BAR%u with decode on, then restored", i == 0 ? 2u : 0u);
}

static void registers_survive(unsigned i)
{
    (void)i;
    store(GVA_REGS + LAB_SCRATCH + 8, 8, 0x0123456789abcdefull);
    lab_set_bar(0, HIGH);
    expect_eq("old address", load(GVA_REGS + LAB_MAGIC, 4), 0xffffffff);
    lab_map_regs();
    expect_eq("magic", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    expect_eq("scratch", load(GVA_REGS + LAB_SCRATCH + 8, 8), 0x0123456789abcdefull);
    expect_eq("base", bar_stats(0).base, HIGH);
    lab_home_all();
    expect_eq("scratch at home", load(GVA_REGS + LAB_SCRATCH + 8, 8), 0x0123456789abcdefull);
}

/* Addresses that no BAR can have; the register keeps what was written, the BAR is off until it is moved. */
static void bad_address(unsigned i)
{
    uint64_t to = i == 0 ? 0ull - lab.bytes[2] : i == 1 ? 1ull << lab.phys_bits : 1ull << 51;
    struct bar_stats s;

    lab_set_bar(2, to);
    expect_dead("old address");
    s = bar_stats(2);
    expect_eq("base", s.base, to);
    expect_eq("decoded", s.decoded, 0);
    expect_eq("direct pages", s.direct, 0);
    expect_eq("register", pci_read(lab.slot, 0, CFG_BAR(2), 4) & ~0xfu, (uint32_t)to);
    lab_home_all();
    expect_alive("home again");
}

static void name_bad(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "BAR2 %s and back",
                i == 0   ? "at the top of 64 bits"
                : i == 1 ? "right past the physical addresses"
                         : "at 2^51");
}

static void nothing_leaks(unsigned i)
{
    struct totals before = totals(), after;
    uint64_t hash = lab_hash();

    (void)i;
    for (unsigned k = 0; k < 20; k++) {
        lab_set_bar(2, k % 2 ? LOW : HIGH + ((uint64_t)k << 30));
        lab_decode(k % 3 == 0);
        lab_decode(true);
    }
    lab_home_all();
    after = totals();
    totals_equal(&before, &after);
    expect_eq("hash", lab_hash(), hash);
}

static void bar4(unsigned i)
{
    (void)i;
    if (lab.bytes[4] == 0) {
        skip("BAR4 is not configured");
        return;
    }
    map(GVA_BAR4, lab.base[4], PAGE, PAGE, pat_index_of(PAT_UC));
    expect_eq("trapped", load(GVA_BAR4 + 0x10, 8), hole_value(0x10, 8));
    lab_set_bar(4, 2 * HIGH);
    expect_eq("old address", load(GVA_BAR4 + 0x10, 8), ~0ull);
    map(GVA_BAR4, 2 * HIGH, PAGE, PAGE, pat_index_of(PAT_UC));
    expect_eq("new address", load(GVA_BAR4 + 0x10, 8), hole_value(0x10, 8));
    lab_home_all();
    unmap(GVA_BAR4, PAGE, PAGE);
}

static const struct check list[] = {
    {"bars", "decode off and on", NULL, 0, true, toggle},
    {"bars", NULL, name_move, 6, true, move},
    {"bars", "a destroyed range stays dead after toggle and move", NULL, 0, true, stays_dead},
    {"bars", "create and destroy while the BAR is away", NULL, 0, true, changed_while_away},
    {"bars", NULL, name_half, 2, true, half_written},
    {"bars", NULL, name_size_alive, 2, true, size_alive},
    {"bars", "registers survive a move of BAR0", NULL, 0, true, registers_survive},
    {"bars", NULL, name_bad, 3, true, bad_address},
    {"bars", "20 moves and toggles leak nothing", NULL, 0, true, nothing_leaks},
    {"bars", "BAR4 moves", NULL, 0, true, bar4},
};
const struct check_list checks_bars = {list, COUNT_OF(list)};
