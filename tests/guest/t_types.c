/*
 * What type an access has: second-level type, IPAT, the guest's PAT and, under NPT, the MTRR of the frame. The tables
 * are the guest's own: EPT's after SDM 3A "Effective Page-Level Memory Types" (MTRR column read as EPT type), NPT's
 * after APM 2 "Combining Memory Types, MTRRs".
 */
#include "tests/guest/guest.h"

enum { UC = PAT_UC, WC = PAT_WC, WT = PAT_WT, WP = PAT_WP, WB = PAT_WB };

#define PAT_TYPES 6u
static const unsigned pat_type[PAT_TYPES] = {PAT_UC, PAT_UCM, PAT_WC, PAT_WT, PAT_WP, PAT_WB};
static const char *const pat_name[PAT_TYPES] = {"UC", "UC-", "WC", "WT", "WP", "WB"};

/* EPT. Row: leaf UC WC WT WP WB. Column: guest UC UC- WC WT WP WB. */
static const uint8_t combined[5][PAT_TYPES] = {
    {UC, UC, WC, UC, UC, UC}, {UC, WC, WC, UC, UC, WC}, {UC, UC, WC, WT, WP, WT},
    {UC, WC, WC, WT, WP, WP}, {UC, UC, WC, WT, WP, WB},
};

/* NPT, first step: rows and columns as above. WCP: write-combining that looks into the caches. */
enum { UCM = PAT_UCM, WCP = 8 };
static const uint8_t npt_pages[5][PAT_TYPES] = {
    {UC, UC, WC, UC, UC, UC},  {UC, WC, WC, UC, UC, WC},  {UC, UC, WCP, WT, UC, WT},
    {UC, UC, WCP, UC, WP, WP}, {UC, UC, WCP, WT, WP, WB},
};

/* Second step. Row: the first one's result; column: MTRR UC WC WT WP WB. Cache-disabled is told as UC. */
static const struct {
    uint8_t result, with[5];
} npt_mtrr[] = {
    {WB, {UC, WC, WT, WP, WB}}, {WT, {UC, UC, WT, UC, WT}}, {WP, {UC, UC, UC, WP, WP}},
    {WC, {WC, WC, WC, WC, WC}}, {UC, {UC, UC, UC, UC, UC}}, {WCP, {WC, WC, WC, WC, WC}},
};

#define AT       (LAB_FREE_PAGE + 512u)
#define GVA      (GVA_TMP)
#define DEFAULTS 0x0007040600070406ull

struct type_report {
    uint64_t mapped, effective, leaf, ipat, index, pat, disabled, level, mtrr, bits;
};

static bool effective(uint64_t gva, struct type_report *r)
{
    if (!expect_status("effective type", LAB(LAB_CMD_EFFECTIVE_TYPE, gva), HV_OK))
        return false;
    r->mapped = lab_result(0);
    r->effective = lab_result(1);
    r->leaf = lab_result(2);
    r->ipat = lab_result(3);
    r->index = lab_result(4);
    r->pat = lab_result(5);
    r->disabled = lab_result(6);
    r->level = lab_result(7);
    r->mtrr = lab_result(8);
    r->bits = lab_result(9);
    return true;
}

static unsigned column_of(unsigned pat)
{
    unsigned c = 0;

    while (c < PAT_TYPES - 1 && pat_type[c] != pat)
        c++;
    return c;
}

static bool on_npt(void)
{
    return (lab.caps & LAB_CAP_NPT) != 0;
}

static unsigned combine_npt(unsigned t, unsigned pat, uint64_t mtrr)
{
    unsigned first = npt_pages[t][column_of(pat)], row = 0, column = 0;

    while (row < COUNT_OF(npt_mtrr) - 1 && npt_mtrr[row].result != first)
        row++;
    while (column < 4 && type_value[column] != mtrr)
        column++;
    return npt_mtrr[row].with[column];
}

/* The sections of these checks are RAM, which every firmware makes write-back. */
static void expect_mtrr(const struct type_report *r)
{
    expect_eq("MTRR type", r->mtrr, on_npt() ? WB : LAB_NO_MTRR);
}

static void expect_effective(uint64_t gva, unsigned t, unsigned ipat, unsigned index, unsigned pat)
{
    struct type_report r;
    unsigned expected;

    if (!effective(gva, &r))
        return;
    expected = on_npt() ? combine_npt(t, pat, r.mtrr)
               : ipat   ? type_value[t]
                        : combined[t][column_of(pat)];
    expect_mtrr(&r);
    expect_eq("mapped", r.mapped, 1);
    expect_eq("leaf type", r.leaf, type_value[t]);
    expect_eq("IPAT", r.ipat, ipat);
    expect_eq("PAT index", r.index, index);
    expect_eq("PWT, PCD and PAT of the guest's entry", r.bits, index);
    expect_eq("PAT type", r.pat, pat);
    expect_eq("CR0.CD in force", r.disabled, 0);
    expect_eq("effective type", r.effective, expected);
}

static bool open_range(unsigned t, unsigned ipat, uint64_t pages)
{
    if (!type_legal(ipat != 0)) {
        skip("this CPU cannot ignore the guest's PAT");
        return false;
    }
    return expect_status(
        "create", range_create(AT, pages, F_TYPE(t) | F_WRITE | (ipat ? F_IPAT : 0u), lab.alt, AT),
        HV_OK);
}

/* Every PAT type over one leaf type: through 4 KiB and 2 MiB guest pages, over 4 KiB and 2 MiB leaves. */
static void table(unsigned i)
{
    unsigned t = i / (2 * PAT_TYPES), ipat = (i / PAT_TYPES) % 2, pat = pat_type[i % PAT_TYPES];
    unsigned index = pat_index_of(pat);

    for (uint64_t pages = 1; pages <= 512 && !failed(); pages += 511) {
        if (!open_range(t, ipat, pages))
            return;
        map(GVA, lab.base[2] + AT * PAGE, PAGE, PAGE, index);
        expect_effective(GVA + 0x123, t, ipat, index, pat);
        unmap(GVA, PAGE, PAGE);
        map(GVA_BAR2_2M + AT * PAGE, lab.base[2] + AT * PAGE, LARGE, LARGE, index);
        expect_effective(GVA_BAR2_2M + AT * PAGE + 0x456, t, ipat, index, pat);
        map(GVA_BAR2_2M + AT * PAGE, lab.base[2] + AT * PAGE, LARGE, LARGE, 0);
        expect_status("destroy", range_destroy(AT), HV_OK);
    }
}

static void name_table(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "leaf %s%s, guest PAT %s", type_name[i / (2 * PAT_TYPES)],
                (i / PAT_TYPES) % 2 ? " IPAT" : "", pat_name[i % PAT_TYPES]);
}

/* The PAT is rewritten under a mapping that stays. */
static void rewritten(unsigned t)
{
    static const uint64_t pats[] = {
        DEFAULTS, 0x0606060606060606ull, 0, 0x0101010101010101ull, 0x0504010706000405ull,
        GUEST_PAT};

    if (!open_range(t, 0, 1))
        return;
    for (unsigned p = 0; p < COUNT_OF(pats) && !failed(); p++) {
        wrmsr(MSR_PAT, pats[p]);
        for (unsigned index = 0; index < 8 && !failed(); index++) {
            map(GVA, lab.base[2] + AT * PAGE, PAGE, PAGE, index);
            expect_effective(GVA, t, 0, index, (pats[p] >> (8 * index)) & 7);
        }
    }
    wrmsr(MSR_PAT, GUEST_PAT);
    unmap(GVA, PAGE, PAGE);
    expect_status("destroy", range_destroy(AT), HV_OK);
}

static void name_rewritten(char *out, unsigned t)
{
    format_text(out, NAME_ROOM, "PAT MSR rewritten under a %s leaf", type_name[t]);
}

/* All 8 indices with 8 different meanings as far as 6 types allow: the PAT bit's place matters. */
static void indices(unsigned i)
{
    uint64_t leaf = i / 8 == 0 ? PAGE : i / 8 == 1 ? LARGE : HUGE;
    unsigned index = i % 8;
    uint64_t gva =
        leaf == HUGE ? GVA_1G + (lab_home[2] & (HUGE - 1)) + AT * PAGE : GVA_BAR2_2M + AT * PAGE;
    uint64_t gpa = lab.base[2] + AT * PAGE;

    if (leaf == HUGE && !have_huge_pages()) {
        skip("no 1 GiB pages in the guest's tables");
        return;
    }
    if (!open_range(4, 0, 512))
        return;
    if (leaf == PAGE)
        map(GVA, gpa, PAGE, PAGE, index);
    else
        map(gva & ~(leaf - 1), gpa & ~(leaf - 1), leaf, leaf, index);
    expect_effective(leaf == PAGE ? GVA : gva, 4, 0, index, (GUEST_PAT >> (8 * index)) & 7);
    if (leaf == PAGE)
        unmap(GVA, PAGE, PAGE);
    else
        map(gva & ~(leaf - 1), gpa & ~(leaf - 1), leaf, leaf, 0);
    expect_status("destroy", range_destroy(AT), HV_OK);
}

static void name_indices(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "PAT index %u in a %s guest page", i % 8,
                i / 8 == 0   ? "4 KiB"
                : i / 8 == 1 ? "2 MiB"
                             : "1 GiB");
}

/*
 * The entry itself, without frame, accessed and dirty: what was asked for and nothing else. NPT's types are indices
 * into the hypervisor's PAT, PA0..7 WB WC UC- UC WB WP UC- WT (docs/hardware.md).
 */
static uint64_t expected_bits(unsigned t, unsigned r, unsigned ipat, uint64_t level)
{
    static const uint8_t npt_index[5] = {3, 1, 7, 5, 0};
    uint64_t index = npt_index[t], write = r & 1u, execute = r >> 1;

    if (!on_npt())
        return 1u | write << 1 | execute << 2 | (uint64_t)type_value[t] << 3 | ipat << 6 |
               (level > 1 ? 0x80u : 0u);
    return 1u | write << 1 | 4u | (index & 3) << 3 | (level > 1 ? 0x80u : 0u) |
           (index >> 2) << (level > 1 ? 12 : 7) | (1 - execute) << 63;
}

static void entries(unsigned i)
{
    unsigned t = i / 8, r = i / 2 % 4, ipat = i % 2;
    uint64_t accessed_dirty = on_npt() ? 0x60 : 0x300;

    if (!type_legal(ipat != 0)) {
        skip("this CPU cannot ignore the guest's PAT");
        return;
    }
    for (uint64_t pages = 1; pages <= 512 && !failed(); pages += 511) {
        if (!expect_status(
                "create",
                range_create(AT, pages, F_TYPE(t) | r | (ipat ? F_IPAT : 0u), lab.alt, AT), HV_OK))
            return;
        expect_status("leaf", LAB(LAB_CMD_LEAF, lab.base[2] + AT * PAGE), HV_OK);
        expect_eq("present", lab_result(0), 1);
        expect_eq("type", lab_result(2), type_value[t]);
        expect_eq("bits of the entry", lab_result(5) & ~accessed_dirty,
                  expected_bits(t, r, ipat, lab_result(4)));
        expect_status("destroy", range_destroy(AT), HV_OK);
    }
}

static void name_entries(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "bits of a leaf %s %s%s", type_name[i / 8], rights_name[i / 2 % 4],
                i % 2 ? " IPAT" : "");
}

/*
 * A window on the I/O APIC's page, which no firmware leaves cacheable; it may be UC or WC. Nothing accesses it.
 */
#define DEVICE_PAGE 0xfec00000u

static void device_frame(unsigned i)
{
    const uint64_t query = 1, read = 4, readwrite = 4, commit = 1, physical = 1;
    unsigned t = i / PAT_TYPES, pat = pat_type[i % PAT_TYPES], index = pat_index_of(pat);
    struct type_report r;
    uint32_t section;

    if (!expect_status("section",
                       LAB(LAB_CMD_SECTION_CREATE, query | read, 0, readwrite, commit, physical,
                           DEVICE_PAGE, PAGE),
                       HV_OK))
        return;
    section = (uint32_t)lab_result(0);
    if (expect_status("create", range_create(AT, 1, F_TYPE(t), section, 0), HV_OK)) {
        map(GVA, lab.base[2] + AT * PAGE, PAGE, PAGE, index);
        if (effective(GVA, &r)) {
            expect_eq("MTRR type", r.mtrr, on_npt() ? UC : LAB_NO_MTRR);
            expect_eq("effective type", r.effective,
                      on_npt() ? combine_npt(t, pat, UC) : combined[t][i % PAT_TYPES]);
        }
        unmap(GVA, PAGE, PAGE);
        expect_status("destroy", range_destroy(AT), HV_OK);
    }
    expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, section), HV_OK);
}

static void name_device(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "leaf %s over a device's frame, guest PAT %s",
                type_name[i / PAT_TYPES], pat_name[i % PAT_TYPES]);
}

static void not_mapped(unsigned i)
{
    struct type_report r;

    (void)i;
    unmap(GVA, PAGE, PAGE);
    if (effective(GVA, &r))
        expect_eq("no guest page", r.mapped, 0);
    map(GVA, lab.base[2] + 2 * PAGE, PAGE, PAGE, 0);
    if (effective(GVA, &r))
        expect_eq("a hole", r.mapped, 0);
    unmap(GVA, PAGE, PAGE);
    if (effective((uint64_t)(uintptr_t)&lab, &r)) {
        expect_eq("guest RAM", r.mapped, 1);
        expect_eq("type of guest RAM", r.effective, WB);
        expect_mtrr(&r);
    }
}

static const struct check list[] = {
    {"types", NULL, name_table, 5u * 2u * PAT_TYPES, true, table},
    {"types", NULL, name_rewritten, 5, true, rewritten},
    {"types", NULL, name_indices, 24, true, indices},
    {"types", NULL, name_entries, 40, true, entries},
    {"types", NULL, name_device, 2u * PAT_TYPES, true, device_frame},
    {"types", "addresses that do not translate, and RAM", NULL, 0, true, not_mapped},
};
const struct check_list checks_types = {list, COUNT_OF(list)};
