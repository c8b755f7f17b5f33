/*
 * A BAR whose size the guest chooses, as graphics cards have it: small, large, smaller, large again, with ranges that
 * lie beyond the end now and then. Used by two groups: over a window where nothing is, and over a GiB of memory.
 */
#include "tests/guest/guest.h"

#define MIB            (256 * PAGE)
#define EXT_CAPABILITY 0x100u
#define RESIZE_ID      0x0015u
#define CFG_BAR4       0x20u
#define GVA_ECAM       (GVA_REGS + LARGE)
#define ECAM_BASE      0xfe000000ull
#define SIZE_FIELD     0x3f00u

#define FRONT          0x1000u  /* pages of the first range, at 0 */
#define MIDDLE         0x10000u /* the first page that a BAR of 256 MiB does not have */
#define FAR            0x40000u /* a GiB */
#define ONE            0x50000u /* the page that is replaced */
#define ACROSS         0x3800u  /* a range over the end of 64 MiB */
#define ACROSS_ENDS    0x4000u

/* ---- config space in memory ---- */

static uint64_t config_map(void)
{
    map(GVA_ECAM, ECAM_BASE + ((uint64_t)lab.slot << 15), PAGE, PAGE, pat_index_of(PAT_UC));
    return GVA_ECAM;
}

static unsigned size_number(uint64_t bytes)
{
    unsigned n = 0;

    while ((MIB << n) < bytes)
        n++;
    return n;
}

/* Decode must be off for it to take. BAR4's home is at a multiple of every size. */
static void choose_size(uint64_t bytes)
{
    uint64_t control = config_map() + EXT_CAPABILITY + 8;
    uint64_t value = load(control, 4);

    store(control, 4, (value & ~(uint64_t)SIZE_FIELD) | size_number(bytes) << 8);
}

void lab_resize_bar4(uint64_t bytes)
{
    lab_decode(false);
    choose_size(bytes);
    lab_set_bar(4, lab_home[4]);
    lab_decode(true);
    expect_eq("bytes of the BAR", bar_stats(4).bytes, bytes);
    expect_eq("it is decoded", bar_stats(4).decoded, 1);
}

static bool have_bar4(uint64_t bytes)
{
    if (lab.bytes[4] < bytes)
        skip("BAR4 is not configured");
    return lab.bytes[4] >= bytes;
}

static uint64_t gva(uint64_t page)
{
    return GVA_BAR4 + page * PAGE;
}

static uint64_t gpa(uint64_t page)
{
    return lab.base[4] + page * PAGE;
}

/* ---- the capability ---- */

static void same_space(unsigned i)
{
    uint64_t ecam = config_map();

    (void)i;
    for (unsigned o = 0; o < 0x100; o += 4)
        if (!expect_eq("dword", load(ecam + o, 4), pci_read(lab.slot, 0, o, 4)))
            return;
    expect_eq("byte", load(ecam + 1, 1), LAB_VENDOR_ID >> 8);
    expect_eq("word", load(ecam + 2, 2), LAB_DEVICE_ID);
    store(ecam + 4, 2, 0);
    expect_eq("command written in memory, read at the ports", pci_read(lab.slot, 0, 4, 2) & 2, 0);
    store(ecam + 4, 2, 2);
    expect_eq("decode is on again", load(GVA_REGS + LAB_MAGIC, 4), LAB_MAGIC_VALUE);
}

static void capability(unsigned i)
{
    uint64_t at = config_map() + EXT_CAPABILITY;
    uint64_t control;

    (void)i;
    if (!have_bar4(2 * MIB))
        return;
    control = load(at + 8, 4);
    expect_eq("id, version, next", load(at, 4), 0x10000u | RESIZE_ID);
    expect_eq("sizes, from 1 MiB", load(at + 4, 4), (2 * lab.bytes[4] / MIB - 1) << 4);
    expect_eq("BAR", control & 7, 4);
    expect_eq("BARs that are resizable", (control >> 5) & 7, 1);
    expect_eq("size now", (control >> 8) & 0x3f, size_number(lab.bytes[4]));
}

/* With decode on nothing happens; a size that is not offered is no size; the mask follows. */
static void refused(unsigned i)
{
    (void)i;
    if (!have_bar4(2 * MIB))
        return;
    choose_size(MIB);
    expect_eq("with decode on", bar_stats(4).bytes, lab.bytes[4]);
    lab_decode(false);
    choose_size(2 * lab.bytes[4]);
    choose_size(MIB << 40);
    expect_eq("twice the largest", pci_read(lab.slot, 0, CFG_BAR4, 4) & ~0xfu,
              (uint32_t)lab_home[4]);
    choose_size(MIB);
    pci_write(lab.slot, 0, CFG_BAR4, 4, 0xffffffffu);
    expect_eq("the mask of 1 MiB", pci_read(lab.slot, 0, CFG_BAR4, 4) & ~0xfu, 0xfff00000u);
    lab_resize_bar4(lab.bytes[4]);
}

/* ---- the life of a graphics card's window ---- */

static void create_ranges(uint32_t section)
{
    expect_status("front", bar_map(4, 0, FRONT, F_WRITE, section, 0), HV_OK);
    expect_status("middle", bar_map(4, MIDDLE, FRONT, F_WRITE, section, MIDDLE), HV_OK);
    expect_status("far", bar_map(4, FAR, HUGE / PAGE, F_WRITE, section, 0), HV_OK);
    expect_status("across", bar_map(4, ACROSS, FRONT, F_WRITE, section, ACROSS), HV_OK);
    expect_eq("direct pages", bar_stats(4).direct, 3 * FRONT + HUGE / PAGE);
}

/* What is beyond the end has no leaf and can still go; what is across it is there up to it. */
static void shrunk(void)
{
    struct bar_stats s;

    lab_resize_bar4(64 * MIB);
    s = bar_stats(4);
    expect_eq("ranges", s.ranges, 4);
    expect_eq("direct pages", s.direct, FRONT + ACROSS_ENDS - ACROSS);
    expect_eq("front", leaf_at(gpa(FRONT - 1)).present, 1);
    expect_eq("last page of the BAR", leaf_at(gpa(ACROSS_ENDS - 1)).present, 1);
    expect_eq("behind it", leaf_at(gpa(ACROSS_ENDS)).present, 0);
    expect_eq("middle", leaf_at(gpa(MIDDLE)).present, 0);
    expect_eq("far", leaf_at(gpa(FAR)).present, 0);
    expect_status("query of far", LAB(LAB_CMD_RANGE_QUERY, 0, 4, FAR), HV_OK);
    expect_eq("leaves of far", lab_result(7) + lab_result(8) + lab_result(9), 0);
    expect_status("map beyond the end", bar_map(4, MIDDLE + FRONT, 1, F_WRITE, lab.alt, 0),
                  HV_E_OUT_OF_RANGE);
    expect_status("destroy middle", bar_destroy(4, MIDDLE), HV_OK);
}

static void grown(unsigned level)
{
    lab_resize_bar4(8 * HUGE);
    expect_eq("destroyed while beyond the end", leaf_at(gpa(MIDDLE)).present, 0);
    expect_eq("the rest of across", leaf_at(gpa(ACROSS + FRONT - 1)).present, 1);
    expect_eq("far", leaf_at(gpa(FAR)).level, level);
    expect_eq("direct pages", bar_stats(4).direct, 2 * FRONT + HUGE / PAGE);
}

/* One page of the GiB becomes read-only: only what must be split is; and joined when it is as it was. */
static void split_and_join(uint32_t section, bool memory, unsigned level)
{
    expect_status("one page read-only", bar_map(4, ONE, 1, F_REPLACE, section, ONE - FAR), HV_OK);
    leaf_is(gpa(ONE), 0, memory ? 4 : 0, 1);
    expect_eq("its neighbour", leaf_at(gpa(ONE + 1)).level, 1);
    expect_eq("the next 2 MiB", leaf_at(gpa(ONE + 512)).level, large_or_small(2));
    expect_eq("the first 2 MiB", leaf_at(gpa(FAR)).level, large_or_small(2));
    range_leaves(4, FAR, 0, 128, 0);
    range_leaves(4, ONE + 1, 511, 383, 0);
    expect_status("as it was", bar_map(4, ONE, 1, F_REPLACE | F_WRITE, section, ONE - FAR), HV_OK);
    expect_eq("level of the page", leaf_at(gpa(ONE)).level, level);
    expect_eq("level of the last page", leaf_at(gpa(FAR + HUGE / PAGE - 1)).level, level);
}

/* Marks at the ends and around the page: the same through every window of the section. */
static void content(void)
{
    marks_store(gva(FAR), 7, 0, 4);
    marks_store(gva(ONE - 2), 7, ONE - FAR - 2, 4);
    marks_store(gva(FAR + HUGE / PAGE - 4), 7, HUGE / PAGE - 4, 4);
    marks_seen(gva(0), 7, 0, 4);
}

static void content_again(void)
{
    marks_seen(gva(FAR), 7, 0, 4);
    marks_seen(gva(ONE - 2), 7, ONE - FAR - 2, 4);
    marks_seen(gva(FAR + HUGE / PAGE - 4), 7, HUGE / PAGE - 4, 4);
}

void graphics_card(uint32_t section, bool memory)
{
    unsigned level;

    lab_resize_bar4(256 * MIB);
    expect_status("map behind 256 MiB", bar_map(4, MIDDLE, 1, F_WRITE, section, 0),
                  HV_E_OUT_OF_RANGE);
    lab_resize_bar4(8 * HUGE);
    map(GVA_BAR4, lab.base[4], 2 * HUGE, LARGE, 0);
    create_ranges(section);
    level = (unsigned)leaf_at(gpa(FAR)).level;
    say("# the GiB lies behind leaves of level %u\n", level);
    if (!memory) /* the window is aligned and contiguous: nothing to lose */
        expect_eq("level", level, large_or_small(3));
    if (memory)
        content();
    shrunk();
    grown(level);
    split_and_join(section, memory, level);
    if (memory)
        content_again();
    lab_resize_bar4(64 * MIB);
    expect_status("destroy far while it is beyond the end", bar_destroy(4, FAR), HV_OK);
    lab_resize_bar4(8 * HUGE);
    expect_eq("far stays away", leaf_at(gpa(FAR)).present, 0);
    expect_status("unmap all", bar_unmap(4, 0, 8 * HUGE / PAGE), HV_OK);
    lab_resize_bar4(lab.bytes[4]);
    unmap(GVA_BAR4, 2 * HUGE, LARGE);
}

static void window_card(unsigned i)
{
    struct world before;

    (void)i;
    if (!have_bar4(8 * HUGE))
        return;
    world_note(&before);
    graphics_card(lab.bar4, false);
    world_same(&before, "after all sizes");
}

static const struct check list[] = {
    {"resize", "config space in memory and at the ports is one", NULL, 0, true, same_space},
    {"resize", "the capability of BAR4", NULL, 0, true, capability},
    {"resize", "BAR4 with decode on, and to sizes that it does not have", NULL, 0, true, refused},
    {"resize", "BAR4: 256 MiB, 8 GiB, 64 MiB, 8 GiB; ranges beyond the end sleep", NULL, 0, true,
     window_card},
};
const struct check_list checks_resize = {list, COUNT_OF(list)};
