/*
 * Shared memory between the guest and the hypervisor's side: one large window, and one that is cut into parts
 * with rights of their own. What the guest stores the other side sees and the other way round, without an exit.
 */
#include "tests/guest/guest.h"

#define WINDOW_PAGES 0x2000u /* 32 MiB */
#define WRITTEN      0x1001u
#define AT           (LAB_FREE_PAGE + 512u)
#define PLAIN        F_WRITE

enum { WINDOW_ID = 1, PARTS_ID = 2 };

/* A BAR that is mapped whole: pattern by the other side, a store, the last page, and nobody is asked. */
static void whole_window(unsigned i)
{
    struct world before;
    struct bar_stats stats, after;
    uint32_t section;

    (void)i;
    world_note(&before);
    initial_put_away();
    section = section_make(WINDOW_PAGES * PAGE, S_COMMIT | S_LARGE);
    marks_put(section, WINDOW_ID, 0, WINDOW_PAGES);
    expect_status("map", bar_map(2, 0, WINDOW_PAGES, PLAIN, section, 0), HV_OK);
    stats = bar_stats(2);
    marks_seen(GVA_BAR2, WINDOW_ID, 0, WINDOW_PAGES);
    store(GVA_BAR2 + WRITTEN * PAGE, 8, 0x1234567887654321ull);
    after = bar_stats(2);
    expect_eq("trapped reads", after.reads, stats.reads);
    expect_eq("trapped writes", after.writes, stats.writes);
    expect_eq("direct pages", after.direct, WINDOW_PAGES);
    range_leaves(2, 0, 0, WINDOW_PAGES / 512, 0);
    expect_eq("the guest's store", section_get(section, WRITTEN * PAGE), 0x1234567887654321ull);
    section_put(section, (WINDOW_PAGES - 1) * PAGE + 8, 0x1a57);
    expect_eq("last page", load(GVA_BAR2 + (WINDOW_PAGES - 1) * PAGE + 8, 8), 0x1a57);
    expect_eq("page after it", load(GVA_BAR2 + WINDOW_PAGES * PAGE, 8),
              hole_value(WINDOW_PAGES * PAGE, 8));
    expect_status("unmap", bar_destroy(2, 0), HV_OK);
    handle_drop(section);
    initial_restore();
    world_same(&before, "after the window went and the initial ranges came back");
}

/* The same section behind two windows of two BARs: what one stores the other reads. */
static void two_windows(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    if (lab.bytes[4] == 0) {
        skip("BAR4 is not configured");
        return;
    }
    world_note(&before);
    section = section_make(4 * LARGE, S_COMMIT | S_LARGE);
    expect_status("map in BAR2", bar_map(2, AT, 4 * 512, PLAIN, section, 0), HV_OK);
    expect_status("map in BAR4", bar_map(4, 512, 4 * 512, PLAIN, section, 0), HV_OK);
    map(GVA_BAR4, lab.base[4] + LARGE, 4 * LARGE, LARGE, 0);
    marks_store(GVA_BAR4, WINDOW_ID, 0, 4 * 512);
    marks_seen(GVA_BAR2 + AT * PAGE, WINDOW_ID, 0, 4 * 512);
    expect_status("one window goes", bar_destroy(4, 512), HV_OK);
    marks_seen(GVA_BAR2 + AT * PAGE, WINDOW_ID, 0, 4 * 512);
    expect_eq("the other traps", load(GVA_BAR4, 8), hole_value(LARGE, 8));
    unmap(GVA_BAR4, 4 * LARGE, LARGE);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after both windows went");
}

/* State table, common part, the peer's output, our own output. */
static const struct part {
    uint64_t page, pages;
    uint32_t flags;
} parts[] = {{0, 1, 0}, {1, 16, F_WRITE}, {17, 16, 0}, {33, 16, F_WRITE}};
#define PART_PAGES 49u

static void write_traps(uint32_t section, uint64_t page)
{
    uint64_t sequence = lab_traps();
    uint64_t before = section_get(section, page * PAGE + 0x20);
    struct trap_record t;

    store(GVA_BAR2 + (AT + page) * PAGE + 0x20, 4, 0xbadbad);
    if (!expect_eq("traps", lab_traps(), sequence + 1) || !trap_record(sequence, &t))
        return;
    expect_eq("BAR", t.bar, 2);
    expect_eq("offset", t.offset, (AT + page) * PAGE + 0x20);
    expect_eq("width", t.bytes, 4);
    expect_eq("value", t.value, 0xbadbad);
    expect_eq("direction", t.write, 1);
    expect_eq("the section's word", section_get(section, page * PAGE + 0x20), before);
}

static void use_parts(uint32_t section)
{
    uint64_t sequence, value;

    for (unsigned k = 0; k < COUNT_OF(parts) && !failed(); k++) {
        const struct part *p = &parts[k];

        range_is(2, AT + p->page, p->pages, p->page, p->flags);
        leaf_is(lab.base[2] + (AT + p->page) * PAGE, p->flags, 4, 1);
        leaf_is(lab.base[2] + (AT + p->page + p->pages - 1) * PAGE, p->flags, 4, 1);
        if (!(p->flags & F_WRITE))
            write_traps(section, p->page);
        sequence = lab_traps();
        marks_seen(GVA_BAR2 + (AT + p->page) * PAGE, PARTS_ID, p->page, p->pages);
        if (p->flags & F_WRITE) {
            store(GVA_BAR2 + (AT + p->page) * PAGE + 0x30, 8, 0xabcd + k);
            expect_eq("the guest's store", section_get(section, p->page * PAGE + 0x30), 0xabcd + k);
        }
        expect_eq("traps", lab_traps(), sequence);
    }
    /* 8 bytes of which one half is writeable and the other is not: reads are direct on both sides. */
    section_put(section, 17 * PAGE - 8, 0x1122334455667788ull);
    section_put(section, 17 * PAGE, 0x99aabbccddeeff00ull);
    sequence = lab_traps();
    value = load(GVA_BAR2 + (AT + 17) * PAGE - 4, 8);
    expect_eq("read across the border", value, 0xddeeff0011223344ull);
    expect_eq("traps of it", lab_traps(), sequence);
}

static void mixed_rights(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = section_make(256 * PAGE, S_COMMIT);
    marks_put(section, PARTS_ID, 0, PART_PAGES);
    for (unsigned k = 0; k < COUNT_OF(parts); k++)
        expect_status(
            "map",
            bar_map(2, AT + parts[k].page, parts[k].pages, parts[k].flags, section, parts[k].page),
            HV_OK);
    use_parts(section);
    expect_eq("page behind the last part", load(GVA_BAR2 + (AT + PART_PAGES) * PAGE, 8),
              hole_value((AT + PART_PAGES) * PAGE, 8));
    for (unsigned k = 0; k < COUNT_OF(parts); k++)
        expect_status("destroy", bar_destroy(2, AT + parts[k].page), HV_OK);
    handle_drop(section);
    world_same(&before, "after all parts went");
}

static const struct check list[] = {
    {"share", "32 MiB in one call: 16 large leaves, both sides see all, nothing traps", NULL, 0,
     true, whole_window},
    {"share", "one section behind two BARs: aliases hold, one goes, the other stays", NULL, 0, true,
     two_windows},
    {"share", "four adjacent parts of one section with rights of their own", NULL, 0, true,
     mixed_rights},
};
const struct check_list checks_share = {list, COUNT_OF(list)};
