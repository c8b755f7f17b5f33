/*
 * A frame buffer: the guest maps it write-combining, the device reads what was drawn, the BAR moves with decode off,
 * and a second window shows the same picture.
 */
#include "tests/guest/guest.h"

#define AT      0x3000u /* BAR2 page of the frame buffer: on 2 MiB, in the part that is free */
#define PAGES   2048u   /* 8 MiB */
#define MOVED   0xc8000000ull
#define LIFE    0x5eedu
#define WC_TYPE 1u

/* As many words of each page as tell a page and a line from all others. */
static uint64_t pixel(uint64_t page, uint64_t word)
{
    return (page * 0x9e3779b97f4a7c15ull) ^ (word << 32) ^ LIFE;
}

static void draw(uint64_t gva)
{
    for (uint64_t p = 0; p < PAGES; p++)
        for (uint64_t w = 0; w < 512; w += 73)
            store(gva + p * PAGE + w * 8, 8, pixel(p, w));
}

static void see_picture(uint64_t gva, const char *where)
{
    for (uint64_t p = 0; p < PAGES; p++)
        for (uint64_t w = 0; w < 512; w += 73)
            if (load(gva + p * PAGE + w * 8, 8) != pixel(p, w)) {
                fail("%s: page %lx, word %lu", where, p, w);
                return;
            }
}

/* Through a view of the hypervisor's own, of the type that is in force. */
static void device_sees(uint32_t section, uint32_t protect, const char *what)
{
    uint64_t index;

    if (!expect_status(
            what, LAB(LAB_CMD_VIEW_MAP, section, 0, 0, 0, 0, 0, 0, 1, 0, PROT_R | protect), HV_OK))
        return;
    index = lab_result(0);
    expect_eq("bytes of the view", lab_result(3), PAGES * PAGE);
    for (uint64_t p = 0; p < PAGES && !failed(); p += 31) {
        expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, p * PAGE + 73 * 8, 8), HV_OK);
        expect_eq("pixel in the view", lab_result(0), pixel(p, 73));
    }
    expect_status("unmap the view", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_OK);
}

static uint64_t effective_type(uint64_t gva)
{
    expect_status("effective type", LAB(LAB_CMD_EFFECTIVE_TYPE, gva), HV_OK);
    return lab_result(1);
}

static void nothing_at(uint64_t base)
{
    for (uint64_t p = 0; p < PAGES && !failed(); p += 97)
        expect_eq("leaf left behind", leaf_at(base + (AT + p) * PAGE).present, 0);
    map(GVA_TMP, base + AT * PAGE, PAGE, PAGE, 0);
    expect_eq("old address", load(GVA_TMP, 8), ~0ull);
    unmap(GVA_TMP, PAGE, PAGE);
}

/* i = 0: the section is write-back and the guest's PAT makes it WC; 1: the section itself is WC. */
static void picture(unsigned i)
{
    uint64_t gva = GVA_BAR2_2M + AT * PAGE, old = lab_home[2];
    struct world before;
    uint32_t section;

    world_note(&before);
    section = section_make(PAGES * PAGE, S_COMMIT | S_LARGE | (i == 1 ? S_COMBINE : 0u));
    expect_status("map", bar_map(2, AT, PAGES, F_WRITE, section, 0), HV_OK);
    range_leaves(2, AT, 0, PAGES / 512, 0);
    map(gva, old + AT * PAGE, PAGES * PAGE, LARGE, i == 0 ? pat_index_of(PAT_WC) : 0);
    expect_eq("effective type", effective_type(gva), PAT_WC);
    draw(gva);
    see_picture(gva, "at home");
    device_sees(section, i == 1 ? PROT_COMBINE : 0, "view");
    lab_decode(false);
    expect_eq("with decode off", load(gva, 8), ~0ull);
    store(gva, 8, 0);
    lab_set_bar(2, MOVED);
    lab_decode(true);
    nothing_at(old);
    map(gva, MOVED + AT * PAGE, PAGES * PAGE, LARGE, i == 0 ? pat_index_of(PAT_WC) : 0);
    see_picture(gva, "moved");
    expect_eq("effective type, moved", effective_type(gva), PAT_WC);
    range_leaves(2, AT, 0, PAGES / 512, 0);
    lab_home_all();
    nothing_at(MOVED);
    map(gva, old + AT * PAGE, PAGES * PAGE, LARGE, 0);
    see_picture(gva, "home again");
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after the picture went");
}

static void name_picture(char *out, unsigned i)
{
    format_text(out, NAME_ROOM,
                "8 MiB, write-combining by %s: drawn, moved with decode off, the same",
                i == 0 ? "the guest's PAT" : "the section");
}

/* The second window may be anywhere, the type is one: WC in force, DEFAULT follows, another type is refused. */
static void second_window(unsigned i)
{
    uint64_t gva = GVA_BAR2_2M + AT * PAGE;
    struct world before;
    uint32_t section;

    (void)i;
    if (lab.bytes[4] == 0) {
        skip("BAR4 is not configured");
        return;
    }
    world_note(&before);
    section = section_make(PAGES * PAGE, S_COMMIT | S_LARGE);
    expect_status("map", bar_map(2, AT, PAGES, F_WRITE | F_TYPE(WC_TYPE), section, 0), HV_OK);
    expect_status("the other as WB", bar_map(4, 0, PAGES, F_TYPE(4), section, 0),
                  HV_E_CACHE_CONFLICT);
    expect_status("the other", bar_map(4, 0, PAGES, 0, section, 0), HV_OK);
    leaf_is(lab.base[4], 0, WC_TYPE, large_or_small(2));
    map(GVA_BAR4, lab.base[4], PAGES * PAGE, LARGE, 0);
    draw(gva);
    see_picture(GVA_BAR4, "second window");
    lab_decode(false);
    lab_set_bar(4, 2 * lab_home[4]);
    lab_decode(true);
    map(GVA_BAR4, lab.base[4], PAGES * PAGE, LARGE, 0);
    see_picture(GVA_BAR4, "second window, moved");
    see_picture(gva, "first window");
    lab_home_all();
    expect_status("first goes", bar_destroy(2, AT), HV_OK);
    map(GVA_BAR4, lab.base[4], PAGES * PAGE, LARGE, 0);
    see_picture(GVA_BAR4, "what is left");
    expect_status("second goes", bar_destroy(4, 0), HV_OK);
    unmap(GVA_BAR4, PAGES * PAGE, LARGE);
    handle_drop(section);
    world_same(&before, "after the picture went");
}

static const struct check list[] = {
    {"display", NULL, name_picture, 2, true, picture},
    {"display", "a second window in another BAR, moved: one picture, one type", NULL, 0, true,
     second_window},
};
const struct check_list checks_display = {list, COUNT_OF(list)};
