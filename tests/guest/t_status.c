/* Every status of create and destroy that can be reached, by value; a call that fails changes nothing. */
#include "tests/guest/guest.h"

#define SELF        0u
#define STRANGER    1u
#define AT          (LAB_FREE_PAGE + 512u)
#define PLAIN       (F_TYPE(4) | F_WRITE)
#define END         LAB_BAR2_PAGES
#define HIGH        (1ull << 63)
#define WINDOW_BASE 0xd0000000ull /* host-physical, and never touched: these calls must fail */

/* Handles that a row can name; made before the row runs. */
enum which {
    MAIN,
    ALT,
    EVENT,
    CLOSED,
    UNKNOWN,
    ZERO_HANDLE,
    NO_READ,
    NO_WRITE,
    NO_EXEC,
    RO_SECTION,
    RW_SECTION,
    SMALL,
    WINDOW
};

struct create_row {
    const char *text;
    uint64_t device, bar, page, pages, flags;
    enum which section;
    uint64_t section_page;
    hv_status_t expected;
};

static const struct create_row creates[] = {
    {"unknown device", STRANGER, 2, AT, 1, PLAIN, MAIN, AT, HV_E_INVALID_HANDLE},
    {"bar 7", SELF, 7, AT, 1, PLAIN, MAIN, AT, HV_E_INVALID_PARAMETER_2},
    {"bar far too large", SELF, HIGH, AT, 1, PLAIN, MAIN, AT, HV_E_INVALID_PARAMETER_2},
    {"upper half of BAR0", SELF, 1, 0, 1, PLAIN, MAIN, AT, HV_E_NO_SUCH_BAR},
    {"upper half of BAR2", SELF, 3, 0, 1, PLAIN, MAIN, AT, HV_E_NO_SUCH_BAR},
    {"BAR5", SELF, 5, 0, 1, PLAIN, MAIN, AT, HV_E_NO_SUCH_BAR},
    {"writeable in the ROM BAR", SELF, 6, 0, 1, PLAIN, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"first page behind the ROM BAR", SELF, 6, 16, 1, F_TYPE(4), MAIN, AT, HV_E_OUT_OF_RANGE},
    {"page_count 0", SELF, 2, AT, 0, PLAIN, MAIN, AT, HV_E_INVALID_PARAMETER_4},
    {"unknown flag 0x4", SELF, 2, AT, 1, PLAIN | 0x4, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"unknown flag 0x8", SELF, 2, AT, 1, PLAIN | 0x8, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"unknown flag 0x1000", SELF, 2, AT, 1, PLAIN | 0x1000, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"unknown flag 0x80000000", SELF, 2, AT, 1, PLAIN | 0x80000000u, MAIN, AT,
     HV_E_INVALID_PARAMETER_5},
    {"type 6", SELF, 2, AT, 1, 0x60, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"type 15", SELF, 2, AT, 1, 0xf0, MAIN, AT, HV_E_INVALID_PARAMETER_5},
    {"REPLACE where nothing is", SELF, 2, AT, 1, PLAIN | F_REPLACE, MAIN, AT, HV_OK},
    {"TRACK_DIRTY", SELF, 2, AT, 1, PLAIN | F_DIRTY, MAIN, AT, HV_E_NOT_SUPPORTED},
    {"first page behind the BAR", SELF, 2, END, 1, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"one page too long", SELF, 2, END - 1, 2, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"page_count of the BAR plus 1", SELF, 2, 0, END + 1, PLAIN, MAIN, 0, HV_E_OUT_OF_RANGE},
    {"page and count wrap to 0", SELF, 2, ~0ull, 1, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"page and count wrap into the BAR", SELF, 2, ~0ull, 2, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"page_count all ones", SELF, 2, AT, ~0ull, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"page whose byte offset wraps", SELF, 2, 1ull << 52, 1, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"second page of BAR0", SELF, 0, 1, 1, PLAIN, MAIN, AT, HV_E_OUT_OF_RANGE},
    {"unknown handle", SELF, 2, AT, 1, PLAIN, UNKNOWN, AT, HV_E_INVALID_HANDLE},
    {"handle 0", SELF, 2, AT, 1, PLAIN, ZERO_HANDLE, AT, HV_E_INVALID_HANDLE},
    {"closed handle", SELF, 2, AT, 1, PLAIN, CLOSED, 0, HV_E_INVALID_HANDLE},
    {"handle of an event", SELF, 2, AT, 1, PLAIN, EVENT, 0, HV_E_OBJECT_TYPE},
    {"handle without MAP_READ", SELF, 2, AT, 1, 0, NO_READ, 0, HV_E_ACCESS_DENIED},
    {"handle without MAP_WRITE", SELF, 2, AT, 1, F_WRITE, NO_WRITE, 0, HV_E_ACCESS_DENIED},
    {"handle without MAP_EXECUTE", SELF, 2, AT, 1, F_EXEC, NO_EXEC, 0, HV_E_ACCESS_DENIED},
    {"write on a READONLY section", SELF, 2, AT, 1, F_WRITE, RO_SECTION, 0,
     HV_E_SECTION_PROTECTION},
    {"execute on a READWRITE section", SELF, 2, AT, 1, F_EXEC, RW_SECTION, 0,
     HV_E_SECTION_PROTECTION},
    {"section_page at the end", SELF, 2, AT, 1, F_WRITE, SMALL, 2, HV_E_INVALID_VIEW_SIZE},
    {"one page past the section", SELF, 2, AT, 2, F_WRITE, SMALL, 1, HV_E_INVALID_VIEW_SIZE},
    {"section_page and count wrap to 0", SELF, 2, AT, 1, F_WRITE, SMALL, ~0ull,
     HV_E_INVALID_VIEW_SIZE},
    {"section_page and count wrap into it", SELF, 2, AT, 2, F_WRITE, SMALL, ~0ull,
     HV_E_INVALID_VIEW_SIZE},
    {"section_page whose byte offset wraps", SELF, 2, AT, 1, F_WRITE, SMALL, 1ull << 52,
     HV_E_INVALID_VIEW_SIZE},
    {"UC on a frame in force as WB", SELF, 2, AT, 1, F_TYPE(0), MAIN, LAB_LARGER_PAGE,
     HV_E_CACHE_CONFLICT},
    {"WC on a frame in force as WB", SELF, 2, AT, 1, F_TYPE(1), MAIN, LAB_LARGER_PAGE + 700,
     HV_E_CACHE_CONFLICT},
    {"WB on a frame in force as UC", SELF, 2, AT, 1, F_TYPE(4), MAIN, 0, HV_E_CACHE_CONFLICT},
    {"WT, conflict in the last page only", SELF, 2, AT, 2, F_TYPE(2), MAIN, LAB_LARGER_PAGE - 1,
     HV_E_CACHE_CONFLICT},
    {"WB on a physical window", SELF, 2, AT, 1, F_TYPE(4), WINDOW, 0, HV_E_CACHE_CONFLICT},
    {"WT on a physical window", SELF, 2, AT, 1, F_TYPE(2), WINDOW, 0, HV_E_CACHE_CONFLICT},
    {"WP on a physical window", SELF, 2, AT, 1, F_TYPE(3), WINDOW, 0, HV_E_CACHE_CONFLICT},
    {"overlap, the same page", SELF, 2, 0, 1, F_TYPE(4), ALT, 0, HV_E_CONFLICTING_ADDRESSES},
    {"overlap, last page of a range", SELF, 2, 1, 1, F_TYPE(4), ALT, 0, HV_E_CONFLICTING_ADDRESSES},
    {"overlap, reaches into a range", SELF, 2, 6, 3, F_TYPE(4), ALT, 6, HV_E_CONFLICTING_ADDRESSES},
    {"overlap, inside a large range", SELF, 2, LAB_LARGER_PAGE + 600, 1, F_TYPE(4), ALT, 0,
     HV_E_CONFLICTING_ADDRESSES},
    {"overlap, covers a range", SELF, 2, LAB_APART_PAGE - 2, 7, F_TYPE(4), ALT, 0,
     HV_E_CONFLICTING_ADDRESSES},
    {"overlap, the whole BAR", SELF, 2, 0, END, F_TYPE(4), ALT, 0, HV_E_CONFLICTING_ADDRESSES},
    /* two errors at once: the earlier check decides */
    {"order: device before bar", STRANGER, 7, AT, 0, 0x4, UNKNOWN, 0, HV_E_INVALID_HANDLE},
    {"order: bar before page_count", SELF, 7, AT, 0, 0x4, UNKNOWN, 0, HV_E_INVALID_PARAMETER_2},
    {"order: absent bar before page_count", SELF, 5, AT, 0, 0x4, UNKNOWN, 0, HV_E_NO_SUCH_BAR},
    {"order: page_count before flags", SELF, 2, AT, 0, 0x4, UNKNOWN, 0, HV_E_INVALID_PARAMETER_4},
    {"order: unknown flag before REPLACE", SELF, 2, AT, 1, F_REPLACE | 0x4, MAIN, AT,
     HV_E_INVALID_PARAMETER_5},
    {"order: bad type before TRACK_DIRTY", SELF, 2, AT, 1, F_DIRTY | 0x70, MAIN, AT,
     HV_E_INVALID_PARAMETER_5},
    {"order: TRACK_DIRTY before the BAR's end", SELF, 2, END, 1, F_DIRTY, UNKNOWN, 0,
     HV_E_NOT_SUPPORTED},
    {"order: the BAR's end before the handle", SELF, 2, END, 1, PLAIN, UNKNOWN, 0,
     HV_E_OUT_OF_RANGE},
    {"order: rights before protection", SELF, 2, AT, 1, F_EXEC, NO_EXEC, 99, HV_E_ACCESS_DENIED},
    {"order: protection before the section's end", SELF, 2, AT, 1, F_WRITE, RO_SECTION, 99,
     HV_E_SECTION_PROTECTION},
    {"order: the section's end before the type", SELF, 2, AT, 2, F_TYPE(0), MAIN, END - 1,
     HV_E_INVALID_VIEW_SIZE},
    {"order: the type before overlap", SELF, 2, 0, 1, F_TYPE(0), MAIN, LAB_LARGER_PAGE,
     HV_E_CACHE_CONFLICT},
};

struct destroy_row {
    const char *text;
    uint64_t device, bar, page;
    hv_status_t expected;
};

static const struct destroy_row destroys[] = {
    {"unknown device", STRANGER, 2, 0, HV_E_INVALID_HANDLE},
    {"bar 7", SELF, 7, 0, HV_E_INVALID_PARAMETER_2},
    {"upper half", SELF, 3, 0, HV_E_NO_SUCH_BAR},
    {"BAR5", SELF, 5, 0, HV_E_NO_SUCH_BAR},
    {"nothing in the ROM BAR", SELF, 6, 0, HV_E_NOT_MAPPED},
    {"inside a small range", SELF, 2, 1, HV_E_NOT_MAPPED},
    {"inside a large range", SELF, 2, LAB_LARGER_PAGE + 512, HV_E_NOT_MAPPED},
    {"a page that never was mapped", SELF, 2, AT, HV_E_NOT_MAPPED},
    {"a page behind the BAR", SELF, 2, END, HV_E_NOT_MAPPED},
    {"page all ones", SELF, 2, ~0ull, HV_E_NOT_MAPPED},
    {"order: device before bar", STRANGER, 7, 0, HV_E_INVALID_HANDLE},
};

static const struct unmap_row {
    const char *text;
    uint64_t device, bar, page, pages;
    hv_status_t expected;
} unmaps[] = {
    {"unknown device", STRANGER, 2, AT, 1, HV_E_INVALID_HANDLE},
    {"bar 7", SELF, 7, AT, 1, HV_E_INVALID_PARAMETER_2},
    {"upper half", SELF, 3, 0, 1, HV_E_NO_SUCH_BAR},
    {"page_count 0", SELF, 2, AT, 0, HV_E_INVALID_PARAMETER_4},
    {"page_count 0 behind the BAR", SELF, 2, END, 0, HV_E_INVALID_PARAMETER_4},
    {"first page behind the BAR", SELF, 2, END, 1, HV_E_OUT_OF_RANGE},
    {"one page too long", SELF, 2, END - 1, 2, HV_E_OUT_OF_RANGE},
    {"page and count wrap into the BAR", SELF, 2, ~0ull, 2, HV_E_OUT_OF_RANGE},
    {"nothing there", SELF, 2, AT, 512, HV_OK},
    {"nothing in a register BAR", SELF, 0, 0, 1, HV_OK},
    {"order: device before bar", STRANGER, 7, AT, 0, HV_E_INVALID_HANDLE},
    {"order: bar before page_count", SELF, 7, AT, 0, HV_E_INVALID_PARAMETER_2},
};

/* access, bytes, protect: READONLY 2, READWRITE 4, EXECUTE_READWRITE 0x40; COMMIT 1 */
static uint32_t make_section(uint64_t access, uint64_t protect)
{
    if (!expect_status("section for the row",
                       LAB(LAB_CMD_SECTION_CREATE, access, 2 * PAGE, protect, 1, 0, 0, 0), HV_OK))
        return 0;
    return (uint32_t)lab_result(0);
}

/* Opens the handle; *own tells whether it must be closed again. */
static uint32_t open_handle(enum which w, bool *own)
{
    uint32_t h;

    *own = true;
    switch (w) {
    case NO_READ:
        return make_section(2, 4);
    case NO_WRITE:
        return make_section(4 | 8, 0x40);
    case NO_EXEC:
        return make_section(4 | 2, 0x40);
    case RO_SECTION:
        return make_section(4 | 2 | 8, 2);
    case RW_SECTION:
    case SMALL:
        return make_section(4 | 2 | 8, 4);
    case EVENT:
        expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
        return (uint32_t)lab_result(0);
    case CLOSED:
        h = make_section(4 | 2, 4);
        expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, h), HV_OK);
        *own = false;
        return h;
    case WINDOW:
        if (LAB(LAB_CMD_SECTION_CREATE, 4 | 2, 0, 4, 1, 1, WINDOW_BASE, 2 * PAGE) != HV_OK) {
            skip("no window of device memory here");
            return 0;
        }
        return (uint32_t)lab_result(0);
    case MAIN:
    case ALT:
    case UNKNOWN:
    case ZERO_HANDLE:
        break;
    }
    *own = false;
    return w == MAIN ? lab.main : w == ALT ? lab.alt : w == UNKNOWN ? 0x7ffffff1u : 0;
}

static void create_row(unsigned i)
{
    const struct create_row *r = &creates[i];
    bool own;
    uint32_t handle = open_handle(r->section, &own);
    uint64_t hash = lab_hash();
    hv_status_t got;

    if (r->section == WINDOW && handle == 0)
        return;
    got = LAB(LAB_CMD_RANGE_CREATE, r->device, r->bar, r->page, r->pages, r->flags, handle,
              r->section_page);
    expect_status("create", got, r->expected);
    if (got == HV_OK)
        (void)LAB(LAB_CMD_RANGE_DESTROY, r->device, r->bar, r->page);
    expect_eq("hash", lab_hash(), hash);
    if (own)
        expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, handle), HV_OK);
}

static void name_create(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "create, %s: %s", creates[i].text,
                status_name(creates[i].expected));
}

static void destroy_row(unsigned i)
{
    const struct destroy_row *r = &destroys[i];
    uint64_t hash = lab_hash();

    expect_status("destroy", LAB(LAB_CMD_RANGE_DESTROY, r->device, r->bar, r->page), r->expected);
    expect_eq("hash", lab_hash(), hash);
}

static void name_destroy(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "destroy, %s: %s", destroys[i].text,
                status_name(destroys[i].expected));
}

static void unmap_row(unsigned i)
{
    const struct unmap_row *r = &unmaps[i];
    uint64_t hash = lab_hash();

    expect_status("unmap", LAB(LAB_CMD_RANGE_UNMAP, r->device, r->bar, r->page, r->pages),
                  r->expected);
    expect_eq("hash", lab_hash(), hash);
}

static void name_unmap(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "unmap, %s: %s", unmaps[i].text, status_name(unmaps[i].expected));
}

static void second_destroy(unsigned i)
{
    uint64_t hash = lab_hash();

    (void)i;
    expect_status("create", range_create(AT, 4, PLAIN, lab.main, AT), HV_OK);
    expect(lab_hash() != hash, "a new range does not change the hash");
    expect_status("interior", range_destroy(AT + 1), HV_E_NOT_MAPPED);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_status("second destroy", range_destroy(AT), HV_E_NOT_MAPPED);
    expect_eq("hash", lab_hash(), hash);
}

static void queries(unsigned i)
{
    (void)i;
    expect_status("unknown device", LAB(LAB_CMD_RANGE_QUERY, STRANGER, 2, LAB_LARGER_PAGE),
                  HV_E_INVALID_HANDLE);
    expect_status("bar 7", LAB(LAB_CMD_RANGE_QUERY, SELF, 7, 0), HV_E_INVALID_PARAMETER_2);
    expect_status("upper half", LAB(LAB_CMD_RANGE_QUERY, SELF, 3, 0), HV_E_NO_SUCH_BAR);
    expect_status("a hole", LAB(LAB_CMD_RANGE_QUERY, SELF, 2, AT), HV_E_NOT_MAPPED);
    expect_status("behind the BAR", LAB(LAB_CMD_RANGE_QUERY, SELF, 2, END), HV_E_NOT_MAPPED);
    expect_status("inside a range", LAB(LAB_CMD_RANGE_QUERY, SELF, 2, LAB_LARGER_PAGE + 9), HV_OK);
}

/* Between two ranges that differ only in the frame behind them the hash must differ. */
static void hash_sees(unsigned i)
{
    uint64_t seen[4];
    static const uint32_t flags[4] = {PLAIN, PLAIN, F_TYPE(4), F_TYPE(1)};

    (void)i;
    for (unsigned k = 0; k < 4; k++) {
        expect_status("create", range_create(AT, 1, flags[k], lab.main, AT + (k == 1)), HV_OK);
        seen[k] = lab_hash();
        expect_status("destroy", range_destroy(AT), HV_OK);
        for (unsigned j = 0; j < k; j++)
            expect(seen[j] != seen[k], "two different states have one hash");
    }
}

/* A frame keeps its type until its last range is gone. */
static void type_in_force(unsigned i)
{
    (void)i;
    expect_status("create WC", range_create(AT, 2, F_TYPE(1), lab.alt, AT), HV_OK);
    expect_status("create WC again", range_create(AT + 8, 1, F_TYPE(1), lab.alt, AT + 1), HV_OK);
    expect_status("UC", range_create(AT + 16, 1, F_TYPE(0), lab.alt, AT + 1), HV_E_CACHE_CONFLICT);
    expect_status("destroy", range_destroy(AT), HV_OK);
    expect_status("UC on the page that is free", range_create(AT + 16, 1, F_TYPE(0), lab.alt, AT),
                  HV_OK);
    expect_status("UC on the other", range_create(AT + 17, 1, F_TYPE(0), lab.alt, AT + 1),
                  HV_E_CACHE_CONFLICT);
    expect_status("destroy", range_destroy(AT + 8), HV_OK);
    expect_status("UC at last", range_create(AT + 17, 1, F_TYPE(0), lab.alt, AT + 1), HV_OK);
    expect_status("destroy", range_destroy(AT + 16), HV_OK);
    expect_status("destroy", range_destroy(AT + 17), HV_OK);
}

static const struct check list[] = {
    {"status", NULL, name_create, COUNT_OF(creates), true, create_row},
    {"status", NULL, name_destroy, COUNT_OF(destroys), true, destroy_row},
    {"status", NULL, name_unmap, COUNT_OF(unmaps), true, unmap_row},
    {"status", "destroy, interior and second: HV_E_NOT_MAPPED", NULL, 0, true, second_destroy},
    {"status", "query: HV_E_INVALID_HANDLE, _2, NO_SUCH_BAR, NOT_MAPPED", NULL, 0, true, queries},
    {"status", "the hash tells frames, rights and types apart", NULL, 0, true, hash_sees},
    {"status", "a type is in force until the last range is gone", NULL, 0, true, type_in_force},
};
const struct check_list checks_status = {list, COUNT_OF(list)};
