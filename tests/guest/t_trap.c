/* Trapped accesses: widths, alignments, what the device sees; and addresses that belong to nobody. */
#include "tests/guest/guest.h"

#define HOLE_PAGE  2u /* between the first two small slots; the page after it is a hole too */
#define NOTHING_LO 0xd8000000ull
#define NOTHING_HI 0x300000000ull

static uint64_t piece(uint64_t at, uint64_t left)
{
    uint64_t bytes = 8;

    while (bytes > left || at % bytes != 0)
        bytes /= 2;
    return bytes;
}

static void check_pieces(uint64_t offset, unsigned bytes, uint64_t value, bool write,
                         uint64_t sequence)
{
    struct trap_record t;

    for (uint64_t done = 0; done < bytes && !failed();) {
        uint64_t n = piece(offset + done, bytes - done);

        if (!trap_record(sequence++, &t))
            return;
        expect_eq("BAR", t.bar, 2);
        expect_eq("offset", t.offset, offset + done);
        expect_eq("width", t.bytes, n);
        expect_eq("direction", t.write, write);
        expect_eq("value", t.value, (value >> (8 * done)) & ones((unsigned)n));
        done += n;
    }
    expect_eq("traps", lab_traps(), sequence);
}

static void aligned(unsigned i)
{
    unsigned bytes = 1u << (i / 2);
    bool write = i % 2;

    for (uint64_t a = 0; a < 16 && !failed(); a++) {
        uint64_t o = HOLE_PAGE * PAGE + 0x100 + a;
        uint64_t sequence = lab_traps();
        uint64_t value = 0xfedcba9876543210ull + a;

        if (write) {
            store(GVA_BAR2 + o, bytes, value);
        } else {
            value = hole_value(o, bytes);
            expect_eq("value", load(GVA_BAR2 + o, bytes), value);
        }
        check_pieces(o, bytes, value, write, sequence);
    }
}

static void name_aligned(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u-byte %s of a hole at every alignment", 1u << (i / 2),
                i % 2 ? "writes" : "reads");
}

/* 0: 2 MiB, 1: 1 GiB guest pages, over holes and over direct pages of both leaf sizes. */
static void guest_pages(unsigned i)
{
    uint64_t gva = i == 0 ? GVA_BAR2_2M : GVA_1G + (lab_home[2] & (HUGE - 1));
    uint64_t direct[] = {LAB_LARGER_PAGE * PAGE + 0x5008, (LAB_LARGER_PAGE + 1024u) * PAGE,
                         LAB_APART_PAGE * PAGE + 8};

    if (i == 1 && !have_huge_pages()) {
        skip("no 1 GiB pages in the guest's tables");
        return;
    }
    for (uint64_t o = HOLE_PAGE * PAGE; o < (HOLE_PAGE + 2) * PAGE && !failed(); o += 0x3f1) {
        uint64_t sequence = lab_traps(), value = hole_value(o, 4);

        expect_eq("value", load(gva + o, 4), value);
        check_pieces(o, 4, value, false, sequence);
        sequence = lab_traps();
        store(gva + o, 2, o);
        check_pieces(o, 2, o, true, sequence);
    }
    for (unsigned k = 0; k < COUNT_OF(direct); k++) {
        uint64_t sequence = lab_traps();

        store(gva + direct[k], 8, ~direct[k]);
        expect_eq("through the 4 KiB pages", load(GVA_BAR2 + direct[k], 8), ~direct[k]);
        expect_eq("in the section", section_get(lab.main, direct[k]), ~direct[k]);
        expect_eq("traps", lab_traps(), sequence);
    }
}

static void name_guest_pages(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "BAR2 through %s guest pages", i == 0 ? "2 MiB" : "1 GiB");
}

static void scratch(unsigned i)
{
    uint8_t model[LAB_SCRATCH_BYTES];
    unsigned n = 0;

    (void)i;
    for (unsigned o = 0; o < LAB_SCRATCH_BYTES; o++) {
        model[o] = (uint8_t)(o * 3 + 1);
        store(GVA_REGS + LAB_SCRATCH + o, 1, model[o]);
    }
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        for (unsigned o = 0; o + bytes <= LAB_SCRATCH_BYTES && !failed(); o += 5) {
            uint64_t value = 0x0102040810204080ull * ++n, got, expected = 0;

            store(GVA_REGS + LAB_SCRATCH + o, bytes, value);
            for (unsigned k = 0; k < bytes; k++)
                model[o + k] = (uint8_t)(value >> (8 * k));
            got = load(GVA_REGS + LAB_SCRATCH + o, bytes);
            for (unsigned k = 0; k < bytes; k++)
                expected |= (uint64_t)model[o + k] << (8 * k);
            expect_eq("read back", got, expected);
        }
    }
    for (unsigned o = 0; o < LAB_SCRATCH_BYTES && !failed(); o++)
        expect_eq("byte", load(GVA_REGS + LAB_SCRATCH + o, 1), model[o]);
}

static void counters(unsigned i)
{
    struct bar_stats before = bar_stats(2), after;

    (void)i;
    for (unsigned k = 0; k < 10; k++)
        (void)load(GVA_BAR2 + HOLE_PAGE * PAGE + 8 * k, 8);
    for (unsigned k = 0; k < 7; k++)
        store(GVA_BAR2 + HOLE_PAGE * PAGE + 8 * k, 8, k);
    (void)load(GVA_BAR2 + LAB_LAST_PAGE * PAGE, 8);
    after = bar_stats(2);
    expect_eq("trapped reads", after.reads - before.reads, 10);
    expect_eq("trapped writes", after.writes - before.writes, 7);
}

/* Registers of BAR0 that are read-only or unknown: a write changes nothing that can be read. */
static void read_only_registers(unsigned i)
{
    (void)i;
    store(GVA_REGS + LAB_MAGIC, 4, 0);
    expect_eq("magic", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
    store(GVA_REGS + LAB_ARG(3), 8, 0x1122334455667788ull);
    expect_eq("argument", load(GVA_REGS + LAB_ARG(3), 8), 0x1122334455667788ull);
    expect_eq("low half", load(GVA_REGS + LAB_ARG(3), 4), 0x55667788);
    expect_eq("high half", load(GVA_REGS + LAB_ARG(3) + 4, 4), 0x11223344);
}

/* ---- nothing: neither RAM nor device ---- */

static const uint64_t nothing_at[] = {NOTHING_LO, NOTHING_HI, 0xe0001000ull, 0xcfffe000ull};

static void nothing(unsigned i)
{
    uint64_t gpa = nothing_at[i];

    map(GVA_TMP, gpa, 2 * PAGE, PAGE, pat_index_of(PAT_UC));
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        for (uint64_t o = PAGE - 12; o < PAGE + 12 && !failed(); o++) {
            store(GVA_TMP + o, bytes, 0x1234);
            expect_eq("ones", load(GVA_TMP + o, bytes), ones(bytes));
        }
    }
    expect_eq("leaf", leaf_at(gpa).present, 0);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

static void name_nothing(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "nothing at 0x%lx: reads ones, drops writes", nothing_at[i]);
}

static void unclaimed_count(unsigned i)
{
    uint64_t before;

    (void)i;
    map(GVA_TMP, NOTHING_LO, PAGE, PAGE, 0);
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    before = lab_result(4);
    for (unsigned k = 0; k < 5; k++)
        (void)load(GVA_TMP + 8 * k, 8);
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    expect_eq("unclaimed accesses", lab_result(4) - before, 5);
    unmap(GVA_TMP, PAGE, PAGE);
}

static const struct check list[] = {
    {"trap", NULL, name_aligned, 8, true, aligned},
    {"trap", NULL, name_guest_pages, 2, true, guest_pages},
    {"trap", "the scratch area keeps bytes of any width", NULL, 0, true, scratch},
    {"trap", "counters of trapped accesses", NULL, 0, true, counters},
    {"trap", "registers: read-only ones stay, arguments read back", NULL, 0, true,
     read_only_registers},
    {"trap", NULL, name_nothing, COUNT_OF(nothing_at), true, nothing},
    {"trap", "accesses to nothing are counted", NULL, 0, true, unclaimed_count},
};
const struct check_list checks_trap = {list, COUNT_OF(list)};
