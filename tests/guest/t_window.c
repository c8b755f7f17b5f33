/*
 * Device memory: I/O space of the hypervisor, windows of it in a BAR, and both on the registers of a real network
 * card, where the machine has one and the configuration names it.
 */
#include "tests/guest/guest.h"

#define AT       (LAB_FREE_PAGE + 512u)
#define NOWHERE  0x2000000000ull /* host-physical: nobody is there */
#define OURS     0x200000ull     /* host-physical: the hypervisor's */
#define TOP      (1ull << 52)    /* what no CPU has */
#define CARD_REG 0x8u            /* STATUS: reading it changes nothing */

enum { UC = 0, WC = 1 }; /* t of the flags, and the architecture's numbers too */

static hv_status_t io_map(uint64_t address, uint64_t bytes, uint64_t protect)
{
    return LAB(LAB_CMD_IO_MAP, address, bytes, protect);
}

static hv_status_t io_unmap(uint64_t index, uint64_t bytes)
{
    return LAB(LAB_CMD_IO_UNMAP, index, bytes, 0);
}

static const struct {
    const char *text;
    uint64_t address, bytes, protect;
    hv_status_t expected;
} rows[] = {
    {"four bytes", NOWHERE + 0xa10, 4, PROT_RW | PROT_NOCACHE, HV_OK},
    {"one byte", NOWHERE + 0xfff, 1, PROT_R, HV_OK},
    {"two bytes over a page border", NOWHERE + 0xfff, 2, PROT_R | PROT_COMBINE, HV_OK},
    {"2 MiB", NOWHERE, 0x200000, PROT_RW, HV_OK},
    {"0 bytes", NOWHERE, 0, PROT_R, HV_E_INVALID_PARAMETER_2},
    {"past the CPU's addresses", TOP, 8, PROT_R, HV_E_INVALID_PARAMETER_1},
    {"wrapping", ~0ull, 2, PROT_R, HV_E_INVALID_PARAMETER_1},
    {"all addresses", 0, ~0ull, PROT_R, HV_E_INVALID_PARAMETER_1},
    {"protection 0", NOWHERE, 8, 0, HV_E_INVALID_PROTECTION},
    {"NOACCESS", NOWHERE, 8, PROT_NONE, HV_E_INVALID_PROTECTION},
    {"two protections", NOWHERE, 8, PROT_R | PROT_RW, HV_E_INVALID_PROTECTION},
    {"WRITECOPY", NOWHERE, 8, 8, HV_E_INVALID_PROTECTION},
    {"both cache modifiers", NOWHERE, 8, PROT_R | PROT_NOCACHE | PROT_COMBINE,
     HV_E_INVALID_PROTECTION},
    {"writable and executable", NOWHERE, 8, PROT_RWX, HV_E_NOT_SUPPORTED},
    {"the hypervisor's RAM", OURS, 8, PROT_R, HV_E_ACCESS_DENIED},
    {"from nowhere into it", 0, OURS + 8, PROT_R, HV_E_ACCESS_DENIED},
    {"order: bytes before address", TOP, 0, 0, HV_E_INVALID_PARAMETER_2},
    {"order: address before protection", TOP, 1, 0, HV_E_INVALID_PARAMETER_1},
    {"order: protection before the owner", OURS, 1, 0, HV_E_INVALID_PROTECTION},
};

static uint64_t type_of(uint64_t protect)
{
    return protect & PROT_COMBINE ? PAT_WC : PAT_UC;
}

static void io_row(unsigned i)
{
    struct world before;
    hv_status_t got;

    world_note(&before);
    got = io_map(rows[i].address, rows[i].bytes, rows[i].protect);
    expect_status("map", got, rows[i].expected);
    if (got == HV_OK) {
        uint64_t index = lab_result(0), kind;

        expect_eq("offset in the page", lab_result(1), rows[i].address % PAGE);
        expect_status("leaf", LAB(LAB_CMD_MAPPING_LEAF, index, rows[i].bytes - 1), HV_OK);
        expect_eq("present", lab_result(0), 1);
        kind = lab_result(2);
        if (rows[i].protect & (PROT_NOCACHE | PROT_COMBINE)) /* else the machine's MTRRs say it */
            expect_eq("type", kind, type_of(rows[i].protect));
        expect_status("unmap, one byte inside", LAB(LAB_CMD_IO_UNMAP, index, rows[i].bytes, PAGE),
                      rows[i].bytes > PAGE ? HV_E_NOT_MAPPED : HV_E_OUT_OF_RANGE);
        expect_status("unmap, a page more", io_unmap(index, rows[i].bytes + PAGE),
                      HV_E_INVALID_PARAMETER_2);
        expect_status("unmap as a view", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_E_NOT_MAPPED);
        expect_status("unmap as an aperture", LAB(LAB_CMD_APERTURE_DESTROY, 0, index, 0),
                      HV_E_NOT_MAPPED);
        expect_status("unmap", io_unmap(index, rows[i].bytes), HV_OK);
        expect_status("unmap again", io_unmap(index, rows[i].bytes), HV_E_NOT_FOUND);
    }
    world_same(&before, "after the row");
}

static void name_io(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "I/O space, %s: %s", rows[i].text, status_name(rows[i].expected));
}

static uint32_t window_section(uint64_t base, uint64_t attributes)
{
    expect_status("window",
                  LAB(LAB_CMD_SECTION_CREATE, SA_READ | SA_WRITE | SA_QUERY, 0, PROT_RW,
                      S_COMMIT | attributes, B_PHYSICAL, base, 4 * PAGE),
                  HV_OK);
    return (uint32_t)lab_result(0);
}

/* Aliases of one type coexist and go one by one; another type is refused, also by ranges and views. */
static void aliases(unsigned i)
{
    struct world before;
    uint64_t first, second;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = window_section(NOWHERE, 0);
    expect_status("map", io_map(NOWHERE + 0xa10, 4, PROT_RW | PROT_NOCACHE), HV_OK);
    first = lab_result(0);
    expect_status("WC", io_map(NOWHERE, PAGE, PROT_RW | PROT_COMBINE), HV_E_CACHE_CONFLICT);
    expect_status("WC, the last page of three",
                  io_map(NOWHERE - 2 * PAGE, 3 * PAGE, PROT_R | PROT_COMBINE), HV_E_CACHE_CONFLICT);
    expect_status("range WC", bar_map(2, AT, 1, F_TYPE(WC), section, 0), HV_E_CACHE_CONFLICT);
    expect_status("range UC", bar_map(2, AT, 1, F_TYPE(UC), section, 0), HV_OK);
    expect_status("NOCACHE", io_map(NOWHERE, PAGE, PROT_R | PROT_NOCACHE), HV_OK);
    second = lab_result(0);
    expect_status("the first goes", io_unmap(first, 4), HV_OK);
    expect_status("leaf of the other", LAB(LAB_CMD_MAPPING_LEAF, second, 0), HV_OK);
    expect_eq("present", lab_result(0), 1);
    expect_status("the other goes", io_unmap(second, PAGE), HV_OK);
    expect_status("WC while the range is there", io_map(NOWHERE, 8, PROT_R | PROT_COMBINE),
                  HV_E_CACHE_CONFLICT);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    expect_status("WC at last", io_map(NOWHERE, 8, PROT_R | PROT_COMBINE), HV_OK);
    first = lab_result(0);
    expect_status("DEFAULT follows", bar_map(2, AT, 1, 0, section, 0), HV_OK);
    leaf_is(lab.base[2] + AT * PAGE, 0, WC, 1);
    expect_status("unmap", io_unmap(first, 8), HV_OK);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after all aliases");
}

/* Write-combining is reached over device memory, at any address of the BAR, and by the guest's PAT over RAM there. */
static void combining_high(unsigned i)
{
    static const uint64_t places[] = {0xc4000000ull, 0x800000000ull};
    uint64_t place = places[i], gva = GVA_TMP;
    struct world before;
    uint32_t section;

    world_note(&before);
    section = window_section(NOWHERE, S_COMBINE);
    expect_status("window", bar_map(2, AT, 4, F_WRITE, section, 0), HV_OK);
    expect_status("memory", bar_map(2, AT + 8, 4, F_WRITE, lab.alt, AT), HV_OK);
    lab_set_bar(2, place);
    leaf_is(place + AT * PAGE, 1, WC, 1);
    leaf_is(place + (AT + 8) * PAGE, 1, 4, 1);
    map(gva, place + AT * PAGE, 4 * PAGE, PAGE, pat_index_of(PAT_WB));
    map(gva + 8 * PAGE, place + (AT + 8) * PAGE, 4 * PAGE, PAGE, pat_index_of(PAT_WC));
    for (unsigned k = 0; k < 12; k += 8) {
        expect_status("effective type", LAB(LAB_CMD_EFFECTIVE_TYPE, gva + k * PAGE), HV_OK);
        expect_eq("effective type", lab_result(1), PAT_WC);
    }
    lab_home_all();
    unmap(gva, 12 * PAGE, PAGE);
    expect_status("unmap", bar_unmap(2, AT, 16), HV_OK);
    handle_drop(section);
    world_same(&before, "after it went");
}

static void name_combining(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "write-combining is reached %s, over a window and over memory",
                i == 0 ? "below 4 GiB" : "at 32 GiB");
}

/* ---- the registers of a network card ---- */

static void card(unsigned i)
{
    struct world before;
    uint64_t seen, index, other;

    (void)i;
    if (lab.bar4 == 0) {
        skip("no window of a device here");
        return;
    }
    world_note(&before);
    expect_status("map", bar_map(2, AT, lab.bar4_pages, F_WRITE, lab.bar4, 0), HV_OK);
    leaf_is(lab.base[2] + AT * PAGE, 1, UC, 1);
    map(GVA_TMP, lab.base[2] + AT * PAGE, lab.bar4_pages * PAGE, PAGE, pat_index_of(PAT_UC));
    seen = load(GVA_TMP + CARD_REG, 4);
    say("# the card's STATUS is 0x%lx\n", seen);
    expect(seen != 0 && seen != 0xffffffffu, "the card answers");
    expect_status("I/O map", io_map(LAB_IO_WINDOW | CARD_REG, 4, PROT_RW | PROT_NOCACHE), HV_OK);
    index = lab_result(0);
    expect_eq("offset in the page", lab_result(1), CARD_REG);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, 0, 4), HV_OK);
    expect_eq("the same register", lab_result(0), seen);
    expect_status("WC", io_map(LAB_IO_WINDOW, PAGE, PROT_RW | PROT_COMBINE), HV_E_CACHE_CONFLICT);
    expect_status("NOCACHE", io_map(LAB_IO_WINDOW, PAGE, PROT_RW | PROT_NOCACHE), HV_OK);
    other = lab_result(0);
    expect_status("the first goes", io_unmap(index, 4), HV_OK);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, other, CARD_REG, 4), HV_OK);
    expect_eq("through the other", lab_result(0), seen);
    expect_status("the other goes", io_unmap(other, PAGE), HV_OK);
    expect_eq("through the range", load(GVA_TMP + CARD_REG, 4), seen);
    unmap(GVA_TMP, lab.bar4_pages * PAGE, PAGE);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    world_same(&before, "after the card");
}

static const struct check list[] = {
    {"window", NULL, name_io, COUNT_OF(rows), true, io_row},
    {"window", "I/O space and ranges: aliases of one type, each goes by itself", NULL, 0, true,
     aliases},
    {"window", NULL, name_combining, 2, true, combining_high},
};
const struct check_list checks_window = {list, COUNT_OF(list)};

static const struct check card_list[] = {
    {"card", "registers of a network card: in a BAR, in I/O space, one type", NULL, 0, true, card},
};
const struct check_list checks_card = {card_list, COUNT_OF(card_list)};
