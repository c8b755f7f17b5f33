/* Sections whose frames come later: pages without a frame trap, hv_section_commit() makes them direct. */
#include "tests/guest/guest.h"

#define AT    (LAB_FREE_PAGE + 512u)
#define PAGES 1024u
#define PLAIN F_WRITE

static uint64_t gva(uint64_t page)
{
    return GVA_BAR2 + (AT + page) * PAGE;
}

static hv_status_t commit(uint32_t section, uint64_t page, uint64_t count)
{
    return LAB(LAB_CMD_SECTION_COMMIT, section, page, count);
}

static uint64_t committed(uint32_t section)
{
    expect_status("query", LAB(LAB_CMD_SECTION_QUERY, section), HV_OK);
    return lab_result(7);
}

/* Pages [first, first + pages) of the range are direct and hold zeros, the next ones on both sides trap. */
static void expect_island(uint64_t first, uint64_t pages)
{
    uint64_t sequence = lab_traps();

    for (uint64_t p = first; p < first + pages && !failed(); p++) {
        expect_eq("first word", load(gva(p), 8), 0);
        expect_eq("last word", load(gva(p) + PAGE - 8, 8), 0);
        store(gva(p), 8, mark_of(9, p));
    }
    expect_eq("traps", lab_traps(), sequence);
    page_traps(2, gva(first - 1), AT + first - 1);
    page_traps(2, gva(first + pages), AT + first + pages);
}

static void islands(unsigned i)
{
    struct world before;
    struct totals reserved, with;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = section_make(PAGES * PAGE, S_RESERVE);
    reserved = totals();
    expect_eq("frames that it takes", before.totals.value[0] - reserved.value[0] < 16, 1);
    expect_eq("committed", committed(section), 0);
    expect_status("map", bar_map(2, AT, PAGES, PLAIN, section, 0), HV_OK);
    page_traps(2, gva(0), AT);
    page_traps(2, gva(PAGES - 1), AT + PAGES - 1);
    expect_eq("direct pages of an empty range", leaf_at(lab.base[2] + AT * PAGE).present, 0);
    reserved = totals();
    expect_status("commit", commit(section, 100, 60), HV_OK);
    with = totals();
    expect_eq("frames that the commit takes", reserved.value[0] - with.value[0] >= 60, 1);
    expect_eq("committed", committed(section), 60);
    expect_island(100, 60);
    expect_status("commit of other pages", commit(section, 700, 1), HV_OK);
    expect_island(700, 1);
    expect_status("commit over both", commit(section, 50, 800), HV_OK);
    expect_eq("committed", committed(section), 800);
    marks_seen(gva(100), 9, 100, 60);
    marks_seen(gva(700), 9, 700, 1);
    expect_eq("a page between", load(gva(300), 8), 0);
    expect_status("commit of the rest", commit(section, 0, PAGES), HV_OK);
    expect_eq("committed", committed(section), PAGES);
    marks_seen(gva(100), 9, 100, 60);
    expect_eq("first page", load(gva(0), 8), 0);
    expect_eq("last page", load(gva(PAGES - 1), 8), 0);
    expect_status("once more", commit(section, 0, PAGES), HV_OK);
    marks_seen(gva(100), 9, 100, 60);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after the section went");
}

/* Committed while no range, or one that is not live, shows it; and behind two ranges at once. */
static void who_sees_it(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = section_make(64 * PAGE, S_RESERVE);
    expect_status("map", bar_map(2, AT, 32, PLAIN, section, 0), HV_OK);
    expect_status("map again, read-only", bar_map(2, AT + 64, 32, 0, section, 0), HV_OK);
    expect_status("commit", commit(section, 4, 4), HV_OK);
    store(gva(5), 8, 0x5e1f);
    expect_eq("through the other range", load(gva(64 + 5), 8), 0x5e1f);
    page_traps(2, gva(64 + 8), AT + 64 + 8);
    lab_set_bar(2, 0ull - lab.bytes[2]); /* where no BAR can be; BAR0 stays */
    expect_status("commit while the BAR is away", commit(section, 20, 1), HV_OK);
    lab_home_all();
    expect_eq("direct when it is back", load(gva(20), 8), 0);
    expect_eq("leaf", leaf_at(lab.base[2] + (AT + 20) * PAGE).present, 1);
    page_traps(2, gva(21), AT + 21);
    expect_status("commit where no range is", commit(section, 40, 24), HV_OK);
    expect_status("map it", bar_map(2, AT + 128, 64, PLAIN, section, 0), HV_OK);
    expect_eq("direct", load(gva(128 + 40), 8), 0);
    expect_eq("direct too", load(gva(128 + 5), 8), 0x5e1f);
    page_traps(2, gva(128 + 39), AT + 128 + 39);
    expect_status("unmap all", bar_unmap(2, AT, 512), HV_OK);
    handle_drop(section);
    world_same(&before, "after the section went");
}

/* A hole is cut into, and a range laid over, pages without frames. */
static void cut(unsigned i)
{
    struct world before;
    uint32_t section, other;

    (void)i;
    world_note(&before);
    section = section_make(64 * PAGE, S_RESERVE);
    other = section_make(64 * PAGE, S_COMMIT);
    expect_status("map", bar_map(2, AT, 64, PLAIN, section, 0), HV_OK);
    expect_status("hole", bar_unmap(2, AT + 10, 10), HV_OK);
    expect_status("replace", bar_map(2, AT + 30, 10, PLAIN | F_REPLACE, other, 0), HV_OK);
    store(gva(35), 8, 0x0dd);
    expect_status("commit", commit(section, 0, 64), HV_OK);
    expect_eq("before the hole", load(gva(9), 8), 0);
    page_traps(2, gva(10), AT + 10);
    page_traps(2, gva(19), AT + 19);
    expect_eq("behind it", load(gva(20), 8), 0);
    expect_eq("what was laid over", load(gva(35), 8), 0x0dd);
    expect_eq("behind that", load(gva(40), 8), 0);
    store(gva(63), 8, 0xe4d);
    expect_eq("the section's last page", section_get(section, 63 * PAGE), 0xe4d);
    expect_status("unmap all", bar_unmap(2, AT, 64), HV_OK);
    handle_drop(section);
    handle_drop(other);
    world_same(&before, "after the sections went");
}

/* Of LARGE_PAGES a commit gives whole aligned 2 MiB, and that is what the leaves are. */
static void large(unsigned i)
{
    struct world before;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = section_make(2 * LARGE, S_RESERVE | S_LARGE);
    expect_status("map", bar_map(2, AT, 1024, PLAIN, section, 0), HV_OK);
    expect_status("one page", commit(section, 0, 1), HV_E_MAPPED_ALIGNMENT);
    expect_status("512 pages from page 1", commit(section, 1, 512), HV_E_MAPPED_ALIGNMENT);
    expect_status("the upper half", commit(section, 512, 512), HV_OK);
    range_leaves(2, AT, 0, 1, 0);
    expect_island(512, 512);
    expect_status("the lower half", commit(section, 0, 512), HV_OK);
    range_leaves(2, AT, 0, 2, 0);
    marks_seen(gva(512), 9, 512, 512);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after the section went");
}

static const struct {
    const char *text;
    uint64_t page, count;
    hv_status_t expected;
} rows[] = {
    {"count 0", 0, 0, HV_E_INVALID_PARAMETER_3},
    {"count 0 past the end", 99, 0, HV_E_INVALID_PARAMETER_3},
    {"first page behind the end", 64, 1, HV_E_INVALID_VIEW_SIZE},
    {"one page too many", 63, 2, HV_E_INVALID_VIEW_SIZE},
    {"page and count wrap", ~0ull, 2, HV_E_INVALID_VIEW_SIZE},
    {"the last page", 63, 1, HV_OK},
};

static void statuses(unsigned i)
{
    uint32_t section = section_make(64 * PAGE, S_RESERVE);
    uint64_t hash = lab_hash();

    expect_status("commit", commit(section, rows[i].page, rows[i].count), rows[i].expected);
    expect_eq("committed", committed(section), rows[i].expected == HV_OK);
    expect_eq("hash", lab_hash(), hash);
    handle_drop(section);
}

static void name_status(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "commit, %s: %s", rows[i].text, status_name(rows[i].expected));
}

static uint32_t reserve(uint64_t access, uint64_t bytes)
{
    expect_status("section",
                  LAB(LAB_CMD_SECTION_CREATE, access, bytes, PROT_RW, S_RESERVE, 0, 0, 0), HV_OK);
    return (uint32_t)lab_result(0);
}

static void handles(unsigned i)
{
    uint32_t no_write = reserve(SA_READ | SA_QUERY, PAGE), event, huge;
    struct totals before, after;

    (void)i;
    expect_status("unknown handle", commit(0x7ffffff1u, 0, 1), HV_E_INVALID_HANDLE);
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
    event = (uint32_t)lab_result(0);
    expect_status("handle of an event", commit(event, 0, 0), HV_E_OBJECT_TYPE);
    expect_status("without MAP_WRITE", commit(no_write, 0, 0), HV_E_ACCESS_DENIED);
    huge = reserve(SA_ALL, 1ull << 40);
    before = totals();
    expect_status("a TiB", commit(huge, 0, 1ull << 28), HV_E_COMMITMENT_LIMIT);
    after = totals();
    totals_equal(&before, &after);
    expect_status("its last page", commit(huge, (1ull << 28) - 1, 1), HV_OK);
    expect_status("COMMIT section", commit(lab.alt, 0, 1), HV_OK);
    handle_drop(no_write);
    handle_drop(event);
    handle_drop(huge);
}

static const struct check list[] = {
    {"reserve", "pages without a frame trap, a commit makes them direct and zero", NULL, 0, true,
     islands},
    {"reserve", "a commit reaches all ranges, live or not, and those to come", NULL, 0, true,
     who_sees_it},
    {"reserve", "a commit respects holes and what was laid over", NULL, 0, true, cut},
    {"reserve", "LARGE_PAGES: commits of whole 2 MiB, in leaves of 2 MiB", NULL, 0, true, large},
    {"reserve", NULL, name_status, COUNT_OF(rows), true, statuses},
    {"reserve",
     "commit, handles and frames: INVALID_HANDLE, OBJECT_TYPE, ACCESS_DENIED, "
     "COMMITMENT_LIMIT",
     NULL, 0, true, handles},
};
const struct check_list checks_reserve = {list, COUNT_OF(list)};
