/*
 * What type an access has: second-level type, IPAT and the guest's PAT. The table is the guest's own, after
 * SDM 3A "Effective Page-Level Memory Types" (MTRR column read as EPT type).
 */
#include "tests/guest/guest.h"

enum { UC = PAT_UC, WC = PAT_WC, WT = PAT_WT, WP = PAT_WP, WB = PAT_WB };

#define PAT_TYPES 6u
static const unsigned pat_type[PAT_TYPES] = {PAT_UC, PAT_UCM, PAT_WC, PAT_WT, PAT_WP, PAT_WB};
static const char *const pat_name[PAT_TYPES] = {"UC", "UC-", "WC", "WT", "WP", "WB"};

/* Row: leaf UC WC WT WP WB. Column: guest UC UC- WC WT WP WB. */
static const uint8_t combined[5][PAT_TYPES] = {
    {UC, UC, WC, UC, UC, UC}, {UC, WC, WC, UC, UC, WC}, {UC, UC, WC, WT, WP, WT},
    {UC, WC, WC, WT, WP, WP}, {UC, UC, WC, WT, WP, WB},
};

#define AT       (LAB_FREE_PAGE + 512u)
#define GVA      (GVA_TMP)
#define DEFAULTS 0x0007040600070406ull

struct type_report {
    uint64_t mapped, effective, leaf, ipat, index, pat, level;
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
    r->level = lab_result(7);
    return true;
}

static unsigned column_of(unsigned pat)
{
    unsigned c = 0;

    while (c < PAT_TYPES - 1 && pat_type[c] != pat)
        c++;
    return c;
}

static void expect_effective(uint64_t gva, unsigned t, unsigned ipat, unsigned index, unsigned pat)
{
    struct type_report r;
    unsigned expected = ipat ? type_value[t] : combined[t][column_of(pat)];

    if (!effective(gva, &r))
        return;
    expect_eq("mapped", r.mapped, 1);
    expect_eq("leaf type", r.leaf, type_value[t]);
    expect_eq("IPAT", r.ipat, ipat);
    expect_eq("PAT index", r.index, index);
    expect_eq("PAT type", r.pat, pat);
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
    }
}

static const struct check list[] = {
    {"types", NULL, name_table, 5u * 2u * PAT_TYPES, true, table},
    {"types", NULL, name_rewritten, 5, true, rewritten},
    {"types", NULL, name_indices, 24, true, indices},
    {"types", "addresses that do not translate, and RAM", NULL, 0, true, not_mapped},
};
const struct check_list checks_types = {list, COUNT_OF(list)};
