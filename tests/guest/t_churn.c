/*
 * A window of slots over many sections, mapped and unmapped at random as a guest's file system does, against a model
 * that knows for every page which section page lies behind it and with which rights.
 */
#include "tests/guest/guest.h"

#define OPERATIONS  20000u
#define SEED        0x2545f491u
#define SLOT_PAGES  512u
#define MAX_SLOTS   4096u
#define HOT_SLOTS   64u
#define TAIL_PAGES  37u
#define ARRAY       10u
#define SECTIONS    23u
#define LOOK_EVERY  5000u
#define NO_PAGE     (~0ull)
#define SMALL_PAGES 256u /* of a section of 1 MiB */

/* A page of the model: 0 is a hole. */
#define M_LIVE    0x80000000u
#define M_WRITE   0x40000000u
#define M_FIRST   0x20000000u /* a range starts here */
#define M_SECTION 24u         /* five bits from here: which one */
#define M_PAGE    0x00ffffffu

static uint32_t model[MAX_SLOTS * SLOT_PAGES];
static uint64_t pages; /* of the BAR, as far as the model goes */

static struct {
    uint32_t handle;
    uint64_t pages;
} section[SECTIONS];

static uint32_t state; /* of the generator */
static uint64_t counts[7], refused;

static uint32_t below(uint32_t limit)
{
    return random_next(&state) % limit;
}

static uint64_t gva(uint64_t page)
{
    return GVA_BAR4 + page * PAGE;
}

/* 8 of 1 MiB, 8 of 2, 4 of 4, 2 of 8 and one of 16, every other one of 2 MiB pieces. */
static uint64_t pages_of(unsigned n)
{
    return n < 8 ? SMALL_PAGES : n < 16 ? 512 : n < 20 ? 1024 : n < 22 ? 2048 : 4096;
}

static bool open_sections(void)
{
    for (unsigned n = 0; n < SECTIONS && !failed(); n++) {
        section[n].pages = pages_of(n);
        section[n].handle =
            section_make(section[n].pages * PAGE, S_COMMIT | (n >= 8 && n % 2 ? S_LARGE : 0u));
        expect_status("map for the marks",
                      bar_map(4, 0, section[n].pages, F_WRITE, section[n].handle, 0), HV_OK);
        if (!failed())
            marks_store(gva(0), n, 0, section[n].pages);
        expect_status("destroy", bar_destroy(4, 0), HV_OK);
    }
    return !failed();
}

/* ---- the model ---- */

static void model_unmap(uint64_t page, uint64_t count)
{
    uint64_t end = page + count;

    if (end < pages && (model[end] & M_LIVE))
        model[end] |= M_FIRST; /* what is left behind the hole is a range of its own */
    memset(&model[page], 0, count * sizeof(model[0]));
}

static void model_map(uint64_t page, uint64_t count, unsigned n, uint64_t at, bool write)
{
    model_unmap(page, count);
    for (uint64_t k = 0; k < count; k++)
        model[page + k] = M_LIVE | (write ? M_WRITE : 0u) | (k == 0 ? M_FIRST : 0u) |
                          (uint32_t)n << M_SECTION | (uint32_t)(at + k);
}

static bool any_live(uint64_t page, uint64_t count)
{
    for (uint64_t k = 0; k < count; k++)
        if (model[page + k] & M_LIVE)
            return true;
    return false;
}

/* ---- comparing ---- */

static bool see_page(uint64_t page)
{
    uint32_t m = model[page];
    uint64_t wanted = mark_of((m >> M_SECTION) & 31u, m & M_PAGE);

    if (!(m & M_LIVE))
        wanted = hole_value(page * PAGE, 8);
    if (load(gva(page), 8) == wanted)
        return true;
    return expect_eq("a page's first word", load(gva(page), 8), wanted);
}

/* A store reaches the section, or it traps and does not. */
static void try_store(uint64_t page)
{
    uint64_t sequence = lab_traps();
    uint64_t was = load(gva(page) + 64, 8), value = sequence ^ page << 20 ^ 0x77;

    store(gva(page) + 64, 8, value);
    expect_eq("value after the store", load(gva(page) + 64, 8),
              model[page] & M_WRITE ? value : was);
    expect_eq("traps", lab_traps() - sequence, model[page] & M_WRITE ? 0 : 1);
}

/* Every mapped page of [page, +count); of holes, which cost an exit each, the ends and one inside. */
static void compare(uint64_t page, uint64_t count)
{
    uint64_t live = NO_PAGE;

    for (uint64_t p = page; p < page + count; p++) {
        if (!(model[p] & M_LIVE))
            continue;
        if (!see_page(p))
            return;
        live = p;
    }
    see_page(page);
    see_page(page + count - 1);
    see_page(page + below((uint32_t)count));
    if (live != NO_PAGE && below(4) == 0)
        try_store(live);
}

/* The neighbours on both sides of what an operation touched, which must be as they were. */
static void compare_around(uint64_t page, uint64_t count)
{
    compare(page, count);
    if (page > 0)
        see_page(page - 1);
    if (page + count < pages)
        see_page(page + count);
}

static void compare_counts(void)
{
    struct bar_stats s = bar_stats(4);
    uint64_t live = 0, first = 0;

    for (uint64_t p = 0; p < pages; p++) {
        live += model[p] >> 31;
        first += (model[p] & M_FIRST) != 0;
    }
    expect_eq("direct pages", s.direct, live);
    expect_eq("ranges", s.ranges, first);
}

static void compare_all(void)
{
    for (uint64_t p = 0; p < pages && !failed(); p++)
        if ((model[p] & M_LIVE) && !see_page(p))
            return;
    compare_counts();
}

/* ---- operations ---- */

static uint64_t any_slot(void)
{
    uint32_t slots = (uint32_t)(pages / SLOT_PAGES);

    return (uint64_t)below(below(2) ? HOT_SLOTS : slots) * SLOT_PAGES;
}

/* Where in a section: mostly at a multiple of a slot, as a file system asks. */
static uint64_t any_place(unsigned n, uint64_t count)
{
    uint32_t last = (uint32_t)(section[n].pages - count);
    uint32_t at = below(last + 1);

    return below(4) ? at - at % SLOT_PAGES : at;
}

static void do_map(uint64_t page, uint64_t count, bool replace)
{
    unsigned n = below(SECTIONS);
    bool write = below(10) >= 3, in_the_way;
    uint64_t at;

    if (count > section[n].pages)
        count = section[n].pages;
    at = any_place(n, count);
    in_the_way = !replace && any_live(page, count);
    expect_status("map",
                  bar_map(4, page, count, (write ? F_WRITE : 0u) | (replace ? F_REPLACE : 0u),
                          section[n].handle, at),
                  in_the_way ? HV_E_CONFLICTING_ADDRESSES : HV_OK);
    refused += in_the_way;
    if (!in_the_way)
        model_map(page, count, n, at, write);
    compare_around(page, count);
}

static void do_unmap(uint64_t page, uint64_t count)
{
    expect_status("unmap", bar_unmap(4, page, count), HV_OK);
    model_unmap(page, count);
    compare_around(page, count);
}

static void do_unmap_array(void)
{
    uint64_t slot[ARRAY];

    for (unsigned k = 0; k < ARRAY; k++) {
        slot[k] = any_slot();
        batch_set(k, OP_UNMAP, 4, slot[k], SLOT_PAGES, 0, 0, 0);
    }
    expect_status("batch", batch_run(ARRAY, 0), HV_OK);
    expect_eq("done", lab_result(0), ARRAY);
    for (unsigned k = 0; k < ARRAY; k++)
        model_unmap(slot[k], SLOT_PAGES);
    for (unsigned k = 0; k < ARRAY; k++)
        see_page(slot[k] + below(SLOT_PAGES));
}

static void one_operation(void)
{
    uint32_t kind = below(100);
    uint64_t slot = any_slot();

    if (kind < 40) {
        counts[0]++;
        do_map(slot, SLOT_PAGES, false);
    } else if (kind < 60) {
        counts[1]++;
        do_unmap(slot, SLOT_PAGES);
    } else if (kind < 65) {
        counts[2]++;
        do_unmap_array();
    } else if (kind < 82) {
        counts[3]++;
        do_map(slot, SLOT_PAGES, true);
    } else if (kind < 90) {
        counts[4]++;
        do_map(slot + below(SLOT_PAGES - TAIL_PAGES), TAIL_PAGES, below(2));
    } else if (slot + 2 * SLOT_PAGES <= pages) {
        counts[5]++;
        do_unmap(slot + SLOT_PAGES / 2, SLOT_PAGES);
    }
}

static void close_all(void)
{
    expect_status("unmap all", bar_unmap(4, 0, pages), HV_OK);
    memset(model, 0, sizeof(model));
    for (unsigned n = 0; n < SECTIONS; n++) {
        if (section[n].handle != 0)
            (void)LAB(LAB_CMD_HANDLE_CLOSE, section[n].handle);
        section[n].handle = 0;
    }
    unmap(GVA_BAR4, pages * PAGE, LARGE);
}

static void churn(unsigned i)
{
    struct world before;

    (void)i;
    if (lab.bytes[4] < 2 * HOT_SLOTS * LARGE) {
        skip("BAR4 is not configured");
        return;
    }
    world_note(&before);
    state = SEED;
    pages = lab.bytes[4] / PAGE;
    if (pages > COUNT_OF(model))
        pages = COUNT_OF(model);
    map(GVA_BAR4, lab.base[4], pages * PAGE, LARGE, 0);
    if (open_sections()) {
        for (unsigned k = 1; k <= OPERATIONS && !failed(); k++) {
            one_operation();
            if (k % LOOK_EVERY == 0) {
                lab_decode(false); /* all leaves go, and come as the records say */
                lab_decode(true);
                compare_all();
            }
            if (failed())
                say("# operation %u of seed %lx\n", k, (uint64_t)SEED);
        }
        say("# %lu maps (%lu refused), %lu unmaps, %lu arrays, %lu replaced, %lu tails, %lu "
            "across\n",
            counts[0], refused, counts[1], counts[2], counts[3], counts[4], counts[5]);
    }
    close_all();
    world_same(&before, "after the churn");
}

static const struct check list[] = {
    {"churn", "20,000 random operations on 512-page slots, page by page against a model", NULL, 0,
     true, churn},
};
const struct check_list checks_churn = {list, COUNT_OF(list)};
