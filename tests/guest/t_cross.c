/*
 * Accesses across a page border, with each kind of page on either side. The pieces of an access are
 * naturally aligned, ascending, at most 8 bytes: each goes where its own page says.
 */
#include "tests/guest/guest.h"

enum kind { HOLE, WRITEABLE, READ_ONLY, NOTHING };

#define FIRST (LAB_FREE_PAGE + 512u)

/* Pages of the arena; a range lies behind those that are not holes, over alternating sections. */
static const uint8_t arena[] = {HOLE,      WRITEABLE, HOLE,      READ_ONLY, WRITEABLE,
                                WRITEABLE, READ_ONLY, READ_ONLY, HOLE,      HOLE};
#define ARENA_PAGES COUNT_OF(arena)
#define BORDERS     (ARENA_PAGES - 1u)
static const char *const kind_name[] = {"hole", "writeable", "read-only", "nothing"};

struct border {
    enum kind kind[2];
    uint32_t section[2];
    uint64_t section_at[2]; /* byte offset of the page in its section */
    uint64_t offset;        /* of the second page in the BAR */
    uint64_t gva;           /* of the second page */
};

static uint64_t piece(uint64_t at, uint64_t left)
{
    uint64_t bytes = 8;

    while (bytes > left || at % bytes != 0)
        bytes /= 2;
    return bytes;
}

/* What the byte at border offset d (negative: in the first page) holds. */
static uint8_t byte_now(const struct border *b, int64_t d)
{
    unsigned side = d >= 0;
    uint64_t in_page = side ? (uint64_t)d : PAGE - (uint64_t)-d;
    uint64_t at;

    switch (b->kind[side]) {
    case HOLE:
        return LAB_HOLE_BYTE(b->offset + (uint64_t)d);
    case NOTHING:
        return 0xff;
    case WRITEABLE:
    case READ_ONLY:
        break;
    }
    at = b->section_at[side] + in_page;
    return (uint8_t)(section_get(b->section[side], at & ~7ull) >> (8 * (at & 7)));
}

/* Compare the log with the pieces that had to trap. */
static void check_log(const struct border *b, int64_t d, unsigned bytes, uint64_t value, bool write,
                      uint64_t sequence)
{
    uint64_t done = 0, n;

    while (done < bytes && !failed()) {
        uint64_t at = b->offset + (uint64_t)d + done;
        enum kind kind = b->kind[d + (int64_t)done >= 0];
        struct trap_record t;

        n = piece(at, bytes - done);
        if (kind == HOLE || (kind == READ_ONLY && write)) {
            if (!trap_record(sequence++, &t))
                return;
            expect_eq("piece's BAR", t.bar, 2);
            expect_eq("piece's offset", t.offset, at);
            expect_eq("piece's width", t.bytes, n);
            expect_eq("piece's direction", t.write, write);
            expect_eq("piece's value", t.value, (value >> (8 * done)) & ones((unsigned)n));
        }
        done += n;
    }
    expect_eq("traps", lab_traps(), sequence);
}

static void one_read(const struct border *b, int64_t d, unsigned bytes)
{
    uint64_t sequence = lab_traps();
    uint64_t got = load(b->gva + (uint64_t)d, bytes);
    uint64_t value = 0;

    for (unsigned k = 0; k < bytes; k++)
        value |= (uint64_t)byte_now(b, d + (int64_t)k) << (8 * k);
    if (expect_eq("value", got, value))
        check_log(b, d, bytes, value, false, sequence);
}

static void one_write(const struct border *b, int64_t d, unsigned bytes)
{
    uint64_t value = 0xf1e2d3c4b5a69788ull ^ ((uint64_t)d * 0x0101010101010101ull);
    uint64_t sequence = lab_traps();
    uint8_t before[32];

    for (int64_t k = 0; k < 32; k++)
        before[k] = byte_now(b, k - 16);
    store(b->gva + (uint64_t)d, bytes, value);
    check_log(b, d, bytes, value, true, sequence);
    for (int64_t k = 0; k < 32 && !failed(); k++) {
        int64_t at = k - 16;
        uint8_t expected = before[k];

        if (at >= d && at < d + (int64_t)bytes && b->kind[at >= 0] == WRITEABLE)
            expected = (uint8_t)(value >> (8 * (at - d)));
        expect_eq("byte after the write", byte_now(b, at), expected);
    }
}

/* Every width and every offset at which the access has bytes on both sides. */
static void cross(const struct border *b, bool write)
{
    for (unsigned bytes = 2; bytes <= 8; bytes *= 2) {
        for (int64_t d = 1 - (int64_t)bytes; d < 0 && !failed(); d++) {
            if (write)
                one_write(b, d, bytes);
            else
                one_read(b, d, bytes);
            if (failed())
                fail("at border offset %lx", (uint64_t)d);
        }
    }
}

static uint32_t arena_section(unsigned page)
{
    return page % 2 ? lab.main : lab.alt;
}

static void arena_open(void)
{
    for (unsigned p = 0; p < ARENA_PAGES; p++) {
        uint32_t s = arena_section(p);

        expect_status("fill", LAB(LAB_CMD_SECTION_FILL, s, (FIRST + p) * PAGE, PAGE, 900 + p),
                      HV_OK);
        if (arena[p] != HOLE)
            expect_status(
                "create",
                range_create(FIRST + p, 1, F_TYPE(4) | (arena[p] == WRITEABLE), s, FIRST + p),
                HV_OK);
    }
}

static void arena_close(void)
{
    for (unsigned p = 0; p < ARENA_PAGES; p++)
        if (arena[p] != HOLE)
            expect_status("destroy", range_destroy(FIRST + p), HV_OK);
}

static void border_run(unsigned i)
{
    unsigned p = i / 2;
    struct border b = {
        {arena[p], arena[p + 1]},
        {arena_section(p), arena_section(p + 1)},
        {(FIRST + p) * PAGE, (FIRST + p + 1) * PAGE},
        (FIRST + p + 1) * PAGE,
        GVA_BAR2 + (FIRST + p + 1) * PAGE,
    };

    arena_open();
    cross(&b, i % 2);
    arena_close();
}

static void name_border(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s across %s | %s", i % 2 ? "writes" : "reads",
                kind_name[arena[i / 2]], kind_name[arena[i / 2 + 1]]);
}

/* The BAR's last page, a range or (range destroyed) a hole, and nothing behind it. */
static void end_run(unsigned i)
{
    bool hole = i / 2;
    uint64_t end = LAB_BAR2_PAGES * PAGE;
    struct border b = {{hole ? HOLE : WRITEABLE, NOTHING},
                       {lab.main, 0},
                       {LAB_LAST_PAGE * PAGE, 0},
                       end,
                       GVA_BAR2 + end};

    if (hole)
        expect_status("destroy", range_destroy(LAB_LAST_PAGE), HV_OK);
    cross(&b, i % 2);
    if (hole)
        expect_status("create",
                      range_create(LAB_LAST_PAGE, 1, F_TYPE(4) | F_WRITE, lab.main, LAB_LAST_PAGE),
                      HV_OK);
}

static void name_end(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s across the BAR's end: %s | nothing", i % 2 ? "writes" : "reads",
                kind_name[i / 2 ? HOLE : WRITEABLE]);
}

/* Nothing, then the BAR's first page, which is read-only. */
static void start_run(unsigned i)
{
    struct border b = {
        {NOTHING, READ_ONLY}, {0, lab.main}, {0, 0}, 0, GVA_TMP + PAGE,
    };

    map(GVA_TMP, lab.base[2] - PAGE, 2 * PAGE, PAGE, 0);
    cross(&b, i % 2);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

static void name_start(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s across the BAR's start: nothing | read-only",
                i % 2 ? "writes" : "reads");
}

/* Guest pages that are neighbours in the guest's tables only. */
static void scattered(unsigned i)
{
    uint64_t offsets[] = {2, 10, 3 * 4 + 2};

    (void)i;
    for (unsigned a = 0; a < COUNT_OF(offsets); a++) {
        for (unsigned c = 0; c < COUNT_OF(offsets); c++) {
            uint64_t first = offsets[a] * PAGE, second = offsets[c] * PAGE;
            uint64_t sequence = lab_traps(), got, value;

            map(GVA_TMP, lab.base[2] + first, PAGE, PAGE, 0);
            map(GVA_TMP + PAGE, lab.base[2] + second, PAGE, PAGE, 0);
            got = load(GVA_TMP + PAGE - 4, 8);
            value = hole_value(first + PAGE - 4, 4) | hole_value(second, 4) << 32;
            expect_eq("value", got, value);
            expect_eq("traps", lab_traps(), sequence + 2);
        }
    }
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

/*
 * The guest's tables refuse the second page of an access whose first page traps: #PF, and nothing happened.
 * The CPU finds the trap first, so the hypervisor has to give the fault.
 */
static void split_store(void *arg)
{
    (void)arg;
    store(GVA_TMP + PAGE - 4, 8, 0);
}

static void split_load(void *arg)
{
    (void)arg;
    (void)load(GVA_TMP + PAGE - 4, 8);
}

static void expect_fault(void (*access)(void *), uint64_t error)
{
    uint64_t sequence = lab_traps();

    expect_eq("vector", (uint64_t)(int64_t)trap_try(access, NULL), VEC_PF);
    expect_eq("fault address", trap_cr2, GVA_TMP + PAGE);
    expect_eq("error code", trap_last.error, error);
    expect_eq("traps", lab_traps(), sequence);
}

static void half_mapped(unsigned i)
{
    (void)i;
    map(GVA_TMP, lab.base[2] + 2 * PAGE, PAGE, PAGE, 0);
    unmap(GVA_TMP + PAGE, PAGE, PAGE);
    expect_fault(split_store, 2);
    expect_fault(split_load, 0);
    map(GVA_TMP + PAGE, lab.base[2] + 3 * PAGE, PAGE, PAGE, 0);
    *entry_of(GVA_TMP + PAGE, 1) &= ~2ull; /* present, not writable */
    invlpg(GVA_TMP + PAGE);
    expect_fault(split_store, 3);
    expect_eq("a read is allowed", load(GVA_TMP + PAGE - 4, 8), hole_value(3 * PAGE - 4, 8));
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

static const struct check list[] = {
    {"cross", NULL, name_border, 2 * BORDERS, true, border_run},
    {"cross", NULL, name_end, 4, true, end_run},
    {"cross", NULL, name_start, 2, true, start_run},
    {"cross", "an access across two guest pages that are not neighbours", NULL, 0, true, scattered},
    {"cross", "second page refused by the guest's tables: #PF and no side effect", NULL, 0, true,
     half_mapped},
};
const struct check_list checks_cross = {list, COUNT_OF(list)};
