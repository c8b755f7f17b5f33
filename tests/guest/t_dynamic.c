/* Ranges made and destroyed by the running guest, in the part of BAR2 that is free. */
#include "tests/guest/guest.h"

#define COMBINATIONS 80u /* (type * 4 + rights) * 2 + IPAT, then 4 KiB and 2 MiB */
#define AT           (LAB_FREE_PAGE + 512u)
#define SOME_PAGES   3u

struct combination {
    unsigned type, rights, ipat, large;
};

static struct combination combination(unsigned i)
{
    return (struct combination){i / 16, (i / 4) % 4, (i / 2) % 2, i % 2};
}

static bool expect_hole(uint64_t page)
{
    uint64_t o = page * PAGE + 0x10;
    uint64_t sequence = lab_traps();

    expect_eq("leaf of a hole", leaf_at(lab.base[2] + page * PAGE).present, 0);
    expect_eq("value of a hole", load(GVA_BAR2 + o, 8), hole_value(o, 8));
    return expect_eq("traps of a hole", lab_traps(), sequence + 1);
}

static void fill_pages(uint32_t section, uint64_t page, uint64_t pages, uint64_t seed)
{
    expect_status("fill", LAB(LAB_CMD_SECTION_FILL, section, page * PAGE, pages * PAGE, seed),
                  HV_OK);
}

/* [page, page + pages) shows `section` from section_page on, by leaves of `level`. */
static void expect_range(uint64_t page, uint64_t pages, const struct combination *c, unsigned level,
                         uint32_t section, uint64_t section_page)
{
    uint64_t seed = page + section_page, sequence;

    if (pages <= 8) {
        fill_pages(section, section_page, pages, seed);
    } else { /* only the ends are looked at */
        fill_pages(section, section_page, 1, seed);
        fill_pages(section, section_page + pages - 1, 1, seed);
    }
    sequence = lab_traps();
    for (uint64_t p = 0; p < pages && !failed(); p += pages > 8 ? pages - 1 : 1) {
        struct leaf l = leaf_at(lab.base[2] + (page + p) * PAGE);
        uint64_t o = (section_page + p) * PAGE + 0x28;

        expect_eq("present", l.present, 1);
        expect_eq("rights", l.rights, rights_bits(c->rights));
        expect_eq("type", l.type, type_value[c->type]);
        expect_eq("IPAT", l.ipat, c->ipat);
        expect_eq("level", l.level, level);
        expect_eq("pattern", load(GVA_BAR2 + (page + p) * PAGE + 0x28, 8), LAB_PATTERN(seed, o));
        if (c->rights & 1u) {
            store(GVA_BAR2 + (page + p) * PAGE + 0x28, 8, ~o);
            expect_eq("written", section_get(section, o), ~o);
        }
    }
    expect_eq("traps", lab_traps(), sequence);
}

static unsigned large_level(const struct combination *c)
{
    if (!(lab.caps & LAB_CAP_LARGE_2M))
        return 1;
    return (c->rights & 2u) && !(lab.caps & LAB_CAP_LARGE_EXEC) ? 1 : 2;
}

static void product(unsigned i)
{
    struct combination c = combination(i);
    uint32_t flags = c.rights | F_TYPE(c.type) | (c.ipat ? F_IPAT : 0u);
    uint64_t pages = c.large ? 512 : SOME_PAGES;
    uint32_t section = c.rights % 2 ? lab.alt : lab.main;
    unsigned level = c.large ? large_level(&c) : 1;

    if (!type_legal(c.ipat != 0)) {
        expect_status("IPAT", range_create(AT, pages, flags, section, AT), HV_E_NOT_SUPPORTED);
        return;
    }
    expect_hole(AT);
    if (!expect_status("create", range_create(AT, pages, flags, section, AT), HV_OK))
        return;
    expect_range(AT, pages, &c, level, section, AT);
    expect_hole(AT - 1);
    expect_hole(AT + pages);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_hole(AT);
    expect_hole(AT + pages - 1);
}

static void name_product(char *out, unsigned i)
{
    struct combination c = combination(i);

    format_text(out, NAME_ROOM, "create, use, destroy: %s %s%s, %s", type_name[c.type],
                rights_name[c.rights], c.ipat ? " IPAT" : "", c.large ? "2 MiB" : "4 KiB");
}

static const struct combination plain = {4, 1, 0, 0};
#define PLAIN (F_TYPE(4) | F_WRITE)

/* Three ranges that fill a 2 MiB area: joined when the last one comes, cut again when one goes. */
static void three(unsigned i)
{
    static const uint64_t first[] = {0, 100, 300, 512};

    (void)i;
    for (unsigned k = 0; k < 3; k++)
        expect_status(
            "create",
            range_create(AT + first[k], first[k + 1] - first[k], PLAIN, lab.main, AT + first[k]),
            HV_OK);
    for (unsigned k = 0; k < 3; k++)
        expect_range(AT + first[k], first[k + 1] - first[k], &plain, large_level(&plain), lab.main,
                     AT + first[k]);
    expect_status("destroy the middle", range_destroy(AT + 100), HV_OK);
    expect_hole(AT + 100);
    expect_hole(AT + 299);
    expect_range(AT, 100, &plain, 1, lab.main, AT);
    expect_range(AT + 300, 212, &plain, 1, lab.main, AT + 300);
    expect_status("destroy the first", range_destroy(AT), HV_OK);
    expect_status("destroy the last", range_destroy(AT + 300), HV_OK);
    expect_hole(AT);
    expect_hole(AT + 511);
}

static void no_large(unsigned i)
{
    (void)i;
    expect_status("create", range_create(AT, 512, PLAIN | F_NO_LARGE, lab.main, AT), HV_OK);
    expect_range(AT, 512, &plain, 1, lab.main, AT);
    expect_status("destroy", range_destroy(AT), HV_OK);
}

/* The BAR page is aligned, the section page is not. */
static void not_congruent(unsigned i)
{
    (void)i;
    expect_status("create", range_create(AT, 512, PLAIN, lab.main, AT + 1), HV_OK);
    expect_range(AT, 512, &plain, 1, lab.main, AT + 1);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_status("create", range_create(AT + 1, 1022, PLAIN, lab.alt, AT + 1), HV_OK);
    expect_eq("4 KiB before the border", leaf_at(lab.base[2] + (AT + 511) * PAGE).level, 1);
    expect_eq("2 MiB or 4 KiB after it", leaf_at(lab.base[2] + (AT + 512) * PAGE).level, 1);
    expect_range(AT + 1, 1022, &plain, 1, lab.alt, AT + 1);
    expect_status("destroy", range_destroy(AT + 1), HV_OK);
    expect_status("create", range_create(AT - 5, 522, PLAIN, lab.alt, AT - 5), HV_OK);
    expect_eq("before", leaf_at(lab.base[2] + (AT - 1) * PAGE).level, 1);
    expect_eq("middle", leaf_at(lab.base[2] + AT * PAGE).level, large_level(&plain));
    expect_eq("after", leaf_at(lab.base[2] + (AT + 512) * PAGE).level, 1);
    expect_status("destroy", range_destroy(AT - 5), HV_OK);
}

/* The same BAR page over other frames: no stale translation and no stale type. */
static void again(unsigned i)
{
    (void)i;
    for (unsigned k = 0; k < 8 && !failed(); k++) {
        uint32_t section = k % 2 ? lab.alt : lab.main;
        struct combination c = {k % 5, 1, 0, 0};

        expect_status("create",
                      range_create(AT, 1, F_TYPE(c.type) | F_WRITE, section, LAB_FREE_PAGE + k),
                      HV_OK);
        expect_range(AT, 1, &c, 1, section, LAB_FREE_PAGE + k);
        expect_status("destroy", range_destroy(AT), HV_OK);
        expect_hole(AT);
    }
}

/* One section page behind three BAR pages. */
static void aliases(unsigned i)
{
    (void)i;
    for (unsigned k = 0; k < 3; k++)
        expect_status("create", range_create(AT + 2 * k, 1, PLAIN, lab.alt, 7), HV_OK);
    for (unsigned k = 0; k < 3; k++) {
        store(GVA_BAR2 + (AT + 2 * k) * PAGE + 0x80, 4, 0xabc0 + k);
        for (unsigned j = 0; j < 3; j++)
            expect_eq("alias", load(GVA_BAR2 + (AT + 2 * j) * PAGE + 0x80, 4), 0xabc0 + k);
    }
    for (unsigned k = 0; k < 3; k++)
        expect_status("destroy", range_destroy(AT + 2 * k), HV_OK);
}

/* DEFAULT: the type in force on the frame, else the section's own. */
static void default_type(unsigned i)
{
    (void)i;
    expect_status("create", range_create(AT, 1, F_WRITE, lab.alt, AT), HV_OK);
    expect_eq("the section's type", leaf_at(lab.base[2] + AT * PAGE).type, type_value[4]);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_status("create WC", range_create(AT, 1, F_TYPE(1), lab.alt, AT), HV_OK);
    expect_status("create", range_create(AT + 1, 1, F_WRITE, lab.alt, AT), HV_OK);
    expect_eq("the type in force", leaf_at(lab.base[2] + (AT + 1) * PAGE).type, type_value[1]);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_eq("stays in force", leaf_at(lab.base[2] + (AT + 1) * PAGE).type, type_value[1]);
    expect_status("destroy", range_destroy(AT + 1), HV_OK);
    expect_status("create", range_create(AT + 1, 1, F_WRITE, lab.alt, AT), HV_OK);
    expect_eq("forgotten with the last", leaf_at(lab.base[2] + (AT + 1) * PAGE).type,
              type_value[4]);
    expect_status("destroy", range_destroy(AT + 1), HV_OK);
}

/* A section of the guest's own, closed right after mapping: the range keeps it alive. */
static void closed_handle(unsigned i)
{
    uint32_t own;
    struct totals before = totals(), after;

    (void)i;
    if (!expect_status("section", LAB(LAB_CMD_SECTION_CREATE, 6, 2 * PAGE, 4, 1, 0, 0, 0), HV_OK))
        return;
    own = (uint32_t)lab_result(0);
    expect_eq("zeroed", section_get(own, PAGE + 8), 0);
    section_put(own, PAGE + 8, 0x5eed);
    expect_status("create", range_create(AT, 2, PLAIN, own, 0), HV_OK);
    expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, own), HV_OK);
    expect_eq("content", load(GVA_BAR2 + (AT + 1) * PAGE + 8, 8), 0x5eed);
    store(GVA_BAR2 + AT * PAGE, 8, 1);
    expect_eq("written", load(GVA_BAR2 + AT * PAGE, 8), 1);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_hole(AT);
    after = totals();
    totals_equal(&before, &after);
}

static void many_pages(unsigned i)
{
    const uint64_t count = 500;

    (void)i;
    for (uint64_t k = 0; k < count && !failed(); k++)
        expect_status(
            "create",
            range_create(AT + 2 * ((k * 7) % count), 1, PLAIN, lab.main, AT + (k * 7) % count),
            HV_OK);
    for (uint64_t k = 0; k < count && !failed(); k++) {
        section_put(lab.main, (AT + k) * PAGE, k ^ 0xbeef);
        expect_eq("content", load(GVA_BAR2 + (AT + 2 * k) * PAGE, 8), k ^ 0xbeef);
    }
    for (uint64_t k = 0; k < count && !failed(); k++)
        expect_status("destroy", range_destroy(AT + 2 * ((k * 11) % count)), HV_OK);
    expect_hole(AT);
    expect_hole(AT + 2 * (count - 1));
}

static const struct check list[] = {
    {"dynamic", NULL, name_product, COMBINATIONS, true, product},
    {"dynamic", "three adjacent ranges fill 2 MiB: one leaf; the middle one destroyed", NULL, 0,
     true, three},
    {"dynamic", "NO_LARGE gives 4 KiB leaves", NULL, 0, true, no_large},
    {"dynamic", "leaf sizes when BAR and section are not congruent", NULL, 0, true, not_congruent},
    {"dynamic", "destroy and create again over other frames and types", NULL, 0, true, again},
    {"dynamic", "one section page behind three BAR pages", NULL, 0, true, aliases},
    {"dynamic", "DEFAULT takes the type in force, else the section's", NULL, 0, true, default_type},
    {"dynamic", "a range outlives the handle of its section", NULL, 0, true, closed_handle},
    {"dynamic", "500 ranges of one page, in mixed order", NULL, 0, true, many_pages},
};
const struct check_list checks_dynamic = {list, COUNT_OF(list)};
