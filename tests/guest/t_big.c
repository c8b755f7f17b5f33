/* What needs gigabytes of memory: a boot of its own (test=big), so that the ordinary one stays cheap. */
#include "tests/guest/guest.h"

#define IMAGE_BYTES 1500000000ull
#define IMAGE_PAGES 366211u /* of which the last holds 3840 bytes of the image */
#define TAIL_BYTES  3840u
#define BAR_PAGES   (2 * HUGE / PAGE)
#define SEED        5u

static uint64_t gva(uint64_t page)
{
    return GVA_BAR4 + page * PAGE;
}

static bool have_bar4(void)
{
    if (lab.bytes[4] < 8 * HUGE)
        fail("this run needs a BAR4 of 8 GiB or more");
    return !failed();
}

static void card(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    if (!have_bar4())
        return;
    world_note(&before);
    section = section_make(HUGE, S_COMMIT | S_LARGE | S_CONTIGUOUS);
    if (section != 0)
        graphics_card(section, true);
    handle_drop(section);
    world_same(&before, "after all sizes");
}

/* ---- a persistent-memory image with a tail that nothing backs ---- */

static void fill_image(uint32_t section)
{
    expect_status("start", LAB(LAB_CMD_SECTION_FILL, section, 0, PAGE, SEED), HV_OK);
    expect_status("end",
                  LAB(LAB_CMD_SECTION_FILL, section, (IMAGE_PAGES - 1) * PAGE, TAIL_BYTES, SEED),
                  HV_OK);
}

/* The image as the guest sees it from BAR page `page` on: its ends, the zeros behind it, the trap behind those. */
static void see_image(uint64_t page)
{
    uint64_t sequence = lab_traps(), tail = (IMAGE_PAGES - 1) * PAGE;

    for (uint64_t o = 0; o < PAGE && !failed(); o += 8)
        expect_eq("first page", load(gva(page) + o, 8), LAB_PATTERN(SEED, o));
    for (uint64_t o = 0; o < TAIL_BYTES && !failed(); o += 8)
        expect_eq("last page", load(gva(page) + tail + o, 8), LAB_PATTERN(SEED, tail + o));
    for (uint64_t o = TAIL_BYTES; o < PAGE && !failed(); o += 8)
        expect_eq("behind the image", load(gva(page) + tail + o, 8), 0);
    expect_eq("traps", lab_traps(), sequence);
    page_traps(4, gva(page + IMAGE_PAGES), page + IMAGE_PAGES);
}

static void too_far(uint32_t section)
{
    uint64_t hash = lab_hash();

    expect_status("one page more", bar_map(4, 0, IMAGE_PAGES + 1, 0, section, 0),
                  HV_E_INVALID_VIEW_SIZE);
    expect_status("past the BAR",
                  bar_map(4, BAR_PAGES - IMAGE_PAGES + 1, IMAGE_PAGES, 0, section, 0),
                  HV_E_OUT_OF_RANGE);
    expect_status("both", bar_map(4, BAR_PAGES, IMAGE_PAGES + 1, 0, section, 0), HV_E_OUT_OF_RANGE);
    expect_eq("hash", lab_hash(), hash);
}

static void write_image(uint32_t section, uint64_t page, bool writeable)
{
    uint64_t sequence = lab_traps(), at = (IMAGE_PAGES - 1) * PAGE + PAGE - 8;

    store(gva(page) + at, 8, 0x5709e);
    expect_eq("trapped stores", lab_traps() - sequence, writeable ? 0 : 1);
    expect_eq("the image's last word", section_get(section, at), writeable ? 0x5709e : 0);
    section_put(section, at, 0);
}

static uint64_t pages_of_leaves(uint64_t page)
{
    expect_status("query", LAB(LAB_CMD_RANGE_QUERY, 0, 4, page), HV_OK);
    say("# leaves: %lu of 4 KiB, %lu of 2 MiB, %lu of 1 GiB\n", lab_result(7), lab_result(8),
        lab_result(9));
    return lab_result(7) + 512 * lab_result(8) + 512 * 512 * lab_result(9);
}

static void image(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    if (!have_bar4())
        return;
    world_note(&before);
    section = section_make(IMAGE_BYTES, S_COMMIT);
    fill_image(section);
    lab_resize_bar4(BAR_PAGES * PAGE);
    map(GVA_BAR4, lab.base[4], 2 * BAR_PAGES * PAGE, LARGE, 0);
    too_far(section);
    for (unsigned writeable = 0; writeable < 2 && !failed(); writeable++) {
        expect_status("map", bar_map(4, 0, IMAGE_PAGES, writeable ? F_WRITE : 0, section, 0),
                      HV_OK);
        expect_eq("pages of its leaves", pages_of_leaves(0), IMAGE_PAGES);
        see_image(0);
        write_image(section, 0, writeable);
        expect_status("destroy", bar_destroy(4, 0), HV_OK);
    }
    lab_resize_bar4(2 * BAR_PAGES * PAGE);
    expect_status("read-only", bar_map(4, 0, IMAGE_PAGES, 0, section, 0), HV_OK);
    expect_status("writeable", bar_map(4, BAR_PAGES, IMAGE_PAGES, F_WRITE, section, 0), HV_OK);
    see_image(0);
    see_image(BAR_PAGES);
    write_image(section, BAR_PAGES, true);
    write_image(section, 0, false);
    expect_status("unmap both", bar_unmap(4, 0, 2 * BAR_PAGES), HV_OK);
    lab_resize_bar4(lab.bytes[4]);
    unmap(GVA_BAR4, 2 * BAR_PAGES * PAGE, LARGE);
    handle_drop(section);
    world_same(&before, "after the image went");
}

/* A BAR of many GiB by leaves of 4 KiB: tables for the leaves and few more, and all of them come back. */
static void small_leaves(unsigned i)
{
    struct world before;
    struct totals with;
    uint64_t pages = lab.bytes[4] / PAGE, tables = pages / 512;

    (void)i;
    if (!have_bar4())
        return;
    world_note(&before);
    expect_status("map", bar_map(4, 0, pages, F_WRITE | F_NO_LARGE, lab.bar4, 0), HV_OK);
    with = totals();
    expect_eq("tables, not counting the upper levels",
              (with.value[1] - before.totals.value[1]) & ~63ull, tables);
    expect_eq("direct pages", bar_stats(4).direct, pages);
    leaf_is(lab.base[4], 1, 0, 1);
    leaf_is(lab.base[4] + lab.bytes[4] - PAGE, 1, 0, 1);
    expect_status("destroy", bar_destroy(4, 0), HV_OK);
    world_same(&before, "after it went");
}

static const struct check list[] = {
    {"big", "BAR4 over a GiB of memory: 256 MiB, 8 GiB, 64 MiB, 8 GiB", NULL, 0, true, card},
    {"big", "1,500,000,000 bytes, read-only and writeable, with a tail that traps", NULL, 0, true,
     image},
    {"big", "the largest BAR4 by 4 KiB leaves: bounded tables, all given back", NULL, 0, true,
     small_leaves},
};
const struct check_list checks_big = {list, COUNT_OF(list)};
