/* The initial ranges: what lies behind every page, with which rights, type and leaf size. */
#include "tests/guest/guest.h"

#define CODE_MOV_EAX 0xb8u /* mov eax, imm32; ret */
#define CODE_RET     0xc3u
#define EAX_VALUE(n) (0x11223300u + (n))

static bool left_out(const struct initial *r)
{
    if (type_legal(r->ipat != 0))
        return false;
    skip("this CPU cannot ignore the guest's PAT");
    return true;
}

static void leaf_of(unsigned n)
{
    struct initial r = initial_range(n);

    if (left_out(&r))
        return;
    for (uint64_t p = r.page; p < r.page + r.pages && !failed(); p++) {
        struct leaf l = leaf_at(lab.base[2] + p * PAGE);

        expect_eq("present", l.present, 1);
        expect_eq("rights", l.rights, rights_bits(r.rights));
        expect_eq("type", l.type, type_value[r.type]);
        expect_eq("IPAT", l.ipat, r.ipat);
        if (!expect_eq("level", l.level, initial_level(&r, p)))
            fail("at BAR page %lx", p);
    }
}

static void name_leaf(char *out, unsigned n)
{
    char text[NAME_ROOM / 2];

    name_initial(text, n);
    format_text(out, NAME_ROOM, "leaf of the %s", text);
}

static void fill(uint64_t offset, uint64_t bytes, uint64_t seed)
{
    expect_status("fill", LAB(LAB_CMD_SECTION_FILL, lab.main, offset, bytes, seed), HV_OK);
}

/* What the hypervisor wrote, before and after the first touch, without a trap. */
static void read_direct(const struct initial *range, uint64_t seed)
{
    struct initial r = *range;
    struct bar_stats before, after;

    for (uint64_t o = r.page * PAGE; o < (r.page + r.pages) * PAGE && !failed(); o += PAGE) {
        fill(o, 8, seed); /* the words that are looked at */
        fill(o + PAGE - 8, 8, seed);
    }
    before = bar_stats(2);
    for (uint64_t o = r.page * PAGE; o < (r.page + r.pages) * PAGE && !failed(); o += PAGE) {
        expect_eq("first word", load(GVA_BAR2 + o, 8), LAB_PATTERN(seed, o));
        expect_eq("last word", load(GVA_BAR2 + o + PAGE - 8, 8), LAB_PATTERN(seed, o + PAGE - 8));
        section_put(lab.main, o + 64, ~o);
        expect_eq("the hypervisor's write", load(GVA_BAR2 + o + 64, 8), ~o);
    }
    after = bar_stats(2);
    expect_eq("trapped reads", after.reads, before.reads);
    expect_eq("trapped writes", after.writes, before.writes);
}

static void write_direct(const struct initial *r)
{
    uint64_t first = r->page * PAGE, last = (r->page + r->pages) * PAGE - 8;
    uint64_t traps = lab_traps();

    for (uint64_t o = first; o <= last && !failed(); o += PAGE) {
        store(GVA_BAR2 + o, 8, o ^ 0x123456789abcdef0ull);
        store(GVA_BAR2 + o + PAGE - 8, 8, ~o);
        expect_eq("first word", section_get(lab.main, o), o ^ 0x123456789abcdef0ull);
        expect_eq("last word", section_get(lab.main, o + PAGE - 8), ~o);
    }
    store(GVA_BAR2 + first, 1, 0xa5);
    store(GVA_BAR2 + last + 7, 1, 0x5a);
    expect_eq("first byte", section_get(lab.main, first) & 0xff, 0xa5);
    expect_eq("last byte", section_get(lab.main, last) >> 56, 0x5a);
    expect_eq("traps", lab_traps(), traps);
}

static uint64_t checksum(const struct initial *r)
{
    expect_status("checksum",
                  LAB(LAB_CMD_SECTION_CHECKSUM, lab.main, r->page * PAGE, r->pages * PAGE), HV_OK);
    return lab_result(0);
}

static uint64_t range_trapped_writes(const struct initial *r)
{
    expect_status("range statistics", LAB(LAB_CMD_RANGE_STATS, 0, 2, r->page), HV_OK);
    expect_eq("direct pages of the range", lab_result(1), r->pages);
    return lab_result(0);
}

static void write_trapped(const struct initial *r)
{
    uint64_t before = checksum(r);
    uint64_t range_writes = range_trapped_writes(r), writes = 0;
    uint64_t value = 0x8877665544332211ull;

    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        uint64_t places[] = {r->page * PAGE, r->page * PAGE + 0x7f8,
                             (r->page + r->pages) * PAGE - bytes};

        for (unsigned k = 0; k < COUNT_OF(places); k++) {
            uint64_t sequence = lab_traps();
            struct trap_record t;

            store(GVA_BAR2 + places[k], bytes, value);
            expect_eq("traps", lab_traps(), sequence + 1);
            if (!trap_record(sequence, &t))
                return;
            expect_eq("BAR", t.bar, 2);
            expect_eq("offset", t.offset, places[k]);
            expect_eq("width", t.bytes, bytes);
            expect_eq("value", t.value, value & ones(bytes));
            expect_eq("direction", t.write, 1);
            writes++;
        }
    }
    expect_eq("writes counted at the range", range_trapped_writes(r), range_writes + writes);
    expect_eq("checksum", checksum(r), before);
}

static void run_code(const struct initial *r)
{
    uint64_t places[] = {r->page * PAGE, (r->page + r->pages) * PAGE - 8};

    for (unsigned k = 0; k < 2 * COUNT_OF(places); k++) {
        uint64_t o = places[k % 2];
        uint64_t code = CODE_MOV_EAX | (uint64_t)EAX_VALUE(k) << 8 | (uint64_t)CODE_RET << 40;
        uint32_t (*call)(void) = (uint32_t(*)(void))(uintptr_t)(GVA_BAR2 + o);

        section_put(lab.main, o, code);
        (void)cpuid(0, 0); /* serialise: the code was written by somebody else */
        expect_eq("value of the function", call(), EAX_VALUE(k));
    }
}

static void use(unsigned n)
{
    struct initial r = initial_range(n);

    if (left_out(&r))
        return;
    read_direct(&r, 77 + n);
    if (r.rights & 1u)
        write_direct(&r);
    else
        write_trapped(&r);
    if (r.rights & 2u)
        run_code(&r);
}

static void name_use(char *out, unsigned n)
{
    char text[NAME_ROOM / 2];

    name_initial(text, n);
    format_text(out, NAME_ROOM, "contents and rights of the %s", text);
}

static bool in_a_range(uint64_t page)
{
    for (unsigned n = 0; n < INITIAL_COUNT; n++) {
        struct initial r = initial_range(n);

        if (page >= r.page && page < r.page + r.pages && type_legal(r.ipat != 0))
            return true;
    }
    return false;
}

static void holes(unsigned i)
{
    (void)i;
    for (uint64_t p = 0; p < LAB_BAR2_PAGES && !failed(); p++) {
        if (in_a_range(p))
            continue;
        if (!expect_eq("present", leaf_at(lab.base[2] + p * PAGE).present, 0))
            fail("at BAR page %lx", p);
    }
    expect_eq("page before the BAR", leaf_at(lab.base[2] - PAGE).present, 0);
    expect_eq("page after the BAR", leaf_at(lab.base[2] + lab.bytes[2]).present, 0);
    expect_eq("register BAR", leaf_at(lab.base[0]).present, 0);
}

static void hole_values(unsigned i)
{
    (void)i;
    for (uint64_t p = 0; p < LAB_BAR2_PAGES && !failed(); p++) {
        uint64_t o = p * PAGE;

        if (in_a_range(p))
            continue;
        expect_eq("first word", load(GVA_BAR2 + o, 8), hole_value(o, 8));
        expect_eq("last byte", load(GVA_BAR2 + o + PAGE - 1, 1), hole_value(o + PAGE - 1, 1));
    }
}

static void statistics(unsigned i)
{
    struct bar_stats s = bar_stats(2);
    uint64_t ranges = 0, pages = 0;

    (void)i;
    for (unsigned n = 0; n < INITIAL_COUNT; n++) {
        struct initial r = initial_range(n);

        if (type_legal(r.ipat != 0)) {
            ranges++;
            pages += r.pages;
        }
    }
    expect_eq("bytes", s.bytes, lab.bytes[2]);
    expect_eq("base", s.base, lab.base[2]);
    expect_eq("decoded", s.decoded, 1);
    expect_eq("ranges", s.ranges, ranges);
    expect_eq("direct pages", s.direct, pages);
    expect_eq("callback failures", s.failures, 0);
}

static void query(unsigned i)
{
    (void)i;
    for (unsigned n = 0; n < INITIAL_COUNT && !failed(); n++) {
        struct initial r = initial_range(n);
        uint64_t small = 0, large = 0;

        if (!type_legal(r.ipat != 0))
            continue;
        for (uint64_t p = r.page; p < r.page + r.pages; p++)
            if (initial_level(&r, p) == 1)
                small++;
            else
                large++;
        expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, 2, r.page + r.pages - 1), HV_OK);
        expect_eq("first page", lab_result(0), r.page);
        expect_eq("pages", lab_result(1), r.pages);
        expect_eq("section page", lab_result(2), r.page);
        expect_eq("flags", lab_result(3), r.rights | F_TYPE(r.type) | (r.ipat ? F_IPAT : 0u));
        expect_eq("type", lab_result(5), type_value[r.type]);
        expect_eq("live", lab_result(6), 1);
        expect_eq("4 KiB leaves", lab_result(7), small);
        expect_eq("2 MiB leaves", lab_result(8), large / 512);
        expect_eq("1 GiB leaves", lab_result(9), 0);
    }
    expect_status("query of a hole", LAB(LAB_CMD_RANGE_QUERY, 0, 2, 2), HV_E_NOT_MAPPED);
}

static const struct check list[] = {
    {"ranges", "BAR2's statistics", NULL, 0, true, statistics},
    {"ranges", "records of all initial ranges", NULL, 0, true, query},
    {"ranges", "no hole has a leaf", NULL, 0, true, holes},
    {"ranges", "every hole page reads what the device says", NULL, 0, true, hole_values},
    {"ranges", NULL, name_leaf, INITIAL_COUNT, true, leaf_of},
    {"ranges", NULL, name_use, INITIAL_COUNT, true, use},
};
const struct check_list checks_ranges = {list, COUNT_OF(list)};
