/* Views of sections and I/O space in the hypervisor's own addresses: every status, sharing with ranges, types. */
#include "tests/guest/guest.h"

#define AT    (LAB_FREE_PAGE + 512u)
#define PLAIN F_WRITE
#define G     0x10000ull /* the granularity of views */

enum { ANYWHERE = 0, SHARE = 1, UNMAP = 2 };
enum {
    V_COMMIT = 0x1000,
    V_RESERVE = 0x2000,
    V_TOP_DOWN = 0x100000,
    V_PAGE = 1,
    V_LARGE = 0x20000000
};

/* Handles that a row names. */
enum which { MAIN, PART, NO_READ, NO_WRITE, NO_EXEC, READ_ONLY, LATER, EVENT, UNKNOWN };

struct view_row {
    const char *text;
    enum which section;
    uint64_t space, base, zero_bits, commit, offset, bytes, inherit, kind, protect;
    hv_status_t expected;
};

#define ROW(text, section, space, base, zero, commit, offset, bytes, inherit, kind, protect, want) \
    {                                                                                              \
        text, section, space, base, zero, commit, offset, bytes, inherit, kind, protect, want      \
    }

static const struct view_row rows[] = {
    ROW("all of it", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RW, HV_OK),
    ROW("a part", PART, 0, 0, 0, 0, G, 3 * PAGE, UNMAP, 0, PROT_R, HV_OK),
    ROW("one byte is one page", PART, 0, 0, 0, 0, 0, 1, SHARE, 0, PROT_R, HV_OK),
    ROW("the last page, by pages", PART, 0, 0, 0, 0, 31 * PAGE, 0, SHARE, V_PAGE, PROT_RW, HV_OK),
    ROW("from the top", PART, 0, 0, 0, 0, 0, 0, SHARE, V_TOP_DOWN, PROT_RW, HV_OK),
    ROW("below 4 GiB", PART, 0, 0, 1, 0, 0, 0, SHARE, 0, PROT_RW, HV_OK),
    ROW("executable", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RX, HV_OK),
    ROW("no access", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_NONE, HV_OK),
    ROW("an explicit base", PART, 0, G, 0, 0, 0, 0, SHARE, 0, PROT_RW, HV_OK),
    ROW("unknown handle", UNKNOWN, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_R, HV_E_INVALID_HANDLE),
    ROW("unknown space", PART, 77, 0, 0, 0, 0, 0, SHARE, 0, PROT_R, HV_E_INVALID_HANDLE),
    ROW("handle of an event", EVENT, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_R, HV_E_OBJECT_TYPE),
    ROW("zero_bits 21", PART, 0, 0, 21, 0, 0, 0, SHARE, 0, PROT_R, HV_E_INVALID_PARAMETER_4),
    ROW("zero_bits against the base", PART, 0, 1ull << 40, 4, 0, 0, 0, SHARE, 0, PROT_R,
        HV_E_INVALID_PARAMETER_4),
    ROW("inherit 0", PART, 0, 0, 0, 0, 0, 0, 0, 0, PROT_R, HV_E_INVALID_PARAMETER_8),
    ROW("inherit 3", PART, 0, 0, 0, 0, 0, 0, 3, 0, PROT_R, HV_E_INVALID_PARAMETER_8),
    ROW("allocation COMMIT", PART, 0, 0, 0, 0, 0, 0, SHARE, V_COMMIT, PROT_R,
        HV_E_INVALID_PARAMETER_9),
    ROW("allocation RESERVE", PART, 0, 0, 0, 0, 0, 0, SHARE, V_RESERVE, PROT_R,
        HV_E_INVALID_PARAMETER_9),
    ROW("allocation unknown", PART, 0, 0, 0, 0, 0, 0, SHARE, 0x40, PROT_R,
        HV_E_INVALID_PARAMETER_9),
    ROW("protection 0", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, 0, HV_E_INVALID_PROTECTION),
    ROW("two protections", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_R | PROT_RW,
        HV_E_INVALID_PROTECTION),
    ROW("both cache modifiers", PART, 0, 0, 0, 0, 0, 0, SHARE, 0,
        PROT_R | PROT_NOCACHE | PROT_COMBINE, HV_E_INVALID_PROTECTION),
    ROW("WRITECOPY", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, 8, HV_E_NOT_SUPPORTED),
    ROW("writable and executable", PART, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RWX, HV_E_NOT_SUPPORTED),
    ROW("write on a READONLY section", READ_ONLY, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RW,
        HV_E_SECTION_PROTECTION),
    ROW("execute on a READONLY section", READ_ONLY, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RX,
        HV_E_SECTION_PROTECTION),
    ROW("handle without MAP_READ", NO_READ, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_R, HV_E_ACCESS_DENIED),
    ROW("handle without MAP_WRITE", NO_WRITE, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RW,
        HV_E_ACCESS_DENIED),
    ROW("handle without MAP_EXECUTE", NO_EXEC, 0, 0, 0, 0, 0, 0, SHARE, 0, PROT_RX,
        HV_E_ACCESS_DENIED),
    ROW("more than there are addresses", PART, 0, 0, 0, 0, 0, ~0ull << 1, SHARE, 0, PROT_R,
        HV_E_INVALID_PARAMETER_3),
    ROW("base off the granularity", PART, 0, G + PAGE, 0, 0, 0, 0, SHARE, 0, PROT_R,
        HV_E_MAPPED_ALIGNMENT),
    ROW("offset off the granularity", PART, 0, 0, 0, 0, PAGE, 0, SHARE, 0, PROT_R,
        HV_E_MAPPED_ALIGNMENT),
    ROW("offset off a page", PART, 0, 0, 0, 0, 1, 0, SHARE, V_PAGE, PROT_R, HV_E_MAPPED_ALIGNMENT),
    ROW("offset at the end", PART, 0, 0, 0, 0, 2 * G, 0, SHARE, 0, PROT_R,
        HV_E_INVALID_PARAMETER_6),
    ROW("one page too long", PART, 0, 0, 0, 0, G, G + 1, SHARE, 0, PROT_R, HV_E_INVALID_VIEW_SIZE),
    ROW("commit_size above the view", LATER, 0, 0, 0, 2 * PAGE, 0, PAGE, SHARE, 0, PROT_RW,
        HV_E_INVALID_PARAMETER_5),
    ROW("explicit base outside the areas", PART, 0, 1ull << 44, 0, 0, 0, 0, SHARE, 0, PROT_R,
        HV_E_CONFLICTING_ADDRESSES),
    ROW("order: zero_bits before inherit", PART, 0, 0, 21, 0, 0, 0, 9, 0x40, 0,
        HV_E_INVALID_PARAMETER_4),
    ROW("order: inherit before allocation", PART, 0, 0, 0, 0, 0, 0, 9, 0x40, 0,
        HV_E_INVALID_PARAMETER_8),
    ROW("order: allocation before protection", PART, 0, 0, 0, 0, 1, 0, SHARE, 0x40, 0,
        HV_E_INVALID_PARAMETER_9),
    ROW("order: protection before alignment", PART, 0, G + 1, 0, 0, 1, 0, SHARE, 0, 0,
        HV_E_INVALID_PROTECTION),
    ROW("order: alignment before the section's end", PART, 0, 0, 0, 0, 2 * G + 1, 0, SHARE, 0,
        PROT_R, HV_E_MAPPED_ALIGNMENT),
};

static uint32_t make(uint64_t access, uint64_t protect, uint64_t attributes)
{
    expect_status("section",
                  LAB(LAB_CMD_SECTION_CREATE, access, 32 * PAGE, protect, attributes, 0, 0, 0),
                  HV_OK);
    return (uint32_t)lab_result(0);
}

static uint32_t open_handle(enum which w)
{
    switch (w) {
    case PART:
        return make(SA_ALL, PROT_RWX, S_COMMIT);
    case NO_READ:
        return make(SA_WRITE | SA_EXECUTE, PROT_RWX, S_COMMIT);
    case NO_WRITE:
        return make(SA_READ | SA_EXECUTE, PROT_RWX, S_COMMIT);
    case NO_EXEC:
        return make(SA_READ | SA_WRITE, PROT_RWX, S_COMMIT);
    case READ_ONLY:
        return make(SA_ALL, PROT_R, S_COMMIT);
    case LATER:
        return make(SA_ALL, PROT_RWX, S_RESERVE);
    case EVENT:
        expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
        return (uint32_t)lab_result(0);
    case MAIN:
    case UNKNOWN:
        break;
    }
    return 0x7ffffff1u;
}

static hv_status_t view(uint32_t section, uint64_t offset, uint64_t bytes, uint64_t kind,
                        uint64_t protect)
{
    return LAB(LAB_CMD_VIEW_MAP, section, 0, ANYWHERE, 0, 0, offset, bytes, SHARE, kind, protect);
}

static void expect_view(const struct view_row *r, uint64_t index, uint64_t address)
{
    uint64_t bytes = r->bytes ? (r->bytes + PAGE - 1) & ~(PAGE - 1) : 32 * PAGE - r->offset;

    expect_eq("offset", lab_result(2), r->offset);
    expect_eq("bytes", lab_result(3), bytes);
    expect_eq("granularity of the address", address % (r->kind & V_PAGE ? PAGE : G), 0);
    if (r->zero_bits)
        expect_eq("top bits of the address", address >> (32 - r->zero_bits), 0);
    expect_status("leaf", LAB(LAB_CMD_MAPPING_LEAF, index, 0), HV_OK);
    expect_eq("present", lab_result(0), r->protect != PROT_NONE);
    if (r->protect != PROT_NONE) {
        expect_eq("rights", lab_result(1),
                  r->protect == PROT_RW   ? 3
                  : r->protect == PROT_RX ? 5
                                          : 1);
        expect_eq("type", lab_result(2), PAT_WB);
    }
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, 0, 8),
                  r->protect == PROT_NONE ? HV_E_ACCESS_DENIED : HV_OK);
    expect_status("write", LAB(LAB_CMD_MAPPING_WRITE, index, 8, 8, 5),
                  r->protect == PROT_RW ? HV_OK : HV_E_ACCESS_DENIED);
    /* any address inside will do, and the whole view goes */
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, index, bytes - 1), HV_OK);
    expect_status("unmap again", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_E_NOT_FOUND);
}

static void map_row(unsigned i)
{
    const struct view_row *r = &rows[i];
    struct world before;
    uint32_t section;
    hv_status_t got;

    world_note(&before);
    section = open_handle(r->section);
    got = LAB(LAB_CMD_VIEW_MAP, section, r->space, r->base, r->zero_bits, r->commit, r->offset,
              r->bytes, r->inherit, r->kind, r->protect);
    expect_status("map", got, r->expected);
    if (got == HV_OK)
        expect_view(r, lab_result(0), lab_result(1));
    if (r->section != UNKNOWN)
        handle_drop(section);
    world_same(&before, "after the row");
}

static void name_row(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "map, %s: %s", rows[i].text, status_name(rows[i].expected));
}

/* One section behind a range and two views: one content; it lives until the last of them goes. */
static void shared(unsigned i)
{
    uint64_t first, second;
    struct world before;
    uint32_t section;

    (void)i;
    world_note(&before);
    section = make(SA_ALL, PROT_RWX, S_COMMIT);
    expect_status("range", bar_map(2, AT, 32, PLAIN, section, 0), HV_OK);
    expect_status("view", view(section, 0, 0, 0, PROT_RW), HV_OK);
    first = lab_result(0);
    expect_status("view", view(section, G, 0, 0, PROT_R), HV_OK);
    second = lab_result(0);
    store(GVA_BAR2 + (AT + 17) * PAGE, 8, 0x9e57);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, first, 17 * PAGE, 8), HV_OK);
    expect_eq("the guest's store", lab_result(0), 0x9e57);
    expect_status("write", LAB(LAB_CMD_MAPPING_WRITE, first, 17 * PAGE + 8, 4, 0xde71ce), HV_OK);
    expect_eq("the device's store", load(GVA_BAR2 + (AT + 17) * PAGE + 8, 4), 0xde71ce);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, second, PAGE + 8, 4), HV_OK);
    expect_eq("through the other view", lab_result(0), 0xde71ce);
    expect_status("query", LAB(LAB_CMD_SECTION_QUERY, section), HV_OK);
    expect_eq("ranges", lab_result(5), 1);
    expect_eq("views", lab_result(6), 2);
    handle_drop(section);
    expect_status("destroy the range", bar_destroy(2, AT), HV_OK);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, first, 0), HV_OK);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, second, PAGE, 8), HV_OK);
    expect_eq("what the last one shows", lab_result(0), 0x9e57);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, second, 0), HV_OK);
    world_same(&before, "after the last view");
}

/* The type of a frame is one for ranges and views together. */
static void types(unsigned i)
{
    struct world before;
    uint32_t section;
    uint64_t index;

    (void)i;
    world_note(&before);
    section = make(SA_ALL, PROT_RWX, S_COMMIT);
    expect_status("range WC", bar_map(2, AT, 1, F_TYPE(1), section, 3), HV_OK);
    expect_status("view NOCACHE", view(section, 0, 0, 0, PROT_RW | PROT_NOCACHE),
                  HV_E_CACHE_CONFLICT);
    expect_status("view of other pages", view(section, 4 * PAGE, 0, V_PAGE, PROT_RW | PROT_NOCACHE),
                  HV_OK);
    index = lab_result(0);
    expect_status("leaf", LAB(LAB_CMD_MAPPING_LEAF, index, 0), HV_OK);
    expect_eq("type", lab_result(2), PAT_UC);
    expect_status("range WB over the view's pages", bar_map(2, AT + 1, 1, F_TYPE(4), section, 4),
                  HV_E_CACHE_CONFLICT);
    expect_status("range DEFAULT", bar_map(2, AT + 1, 1, 0, section, 4), HV_OK);
    leaf_is(lab.base[2] + (AT + 1) * PAGE, 0, 0, 1);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_OK);
    expect_status("still in force", bar_map(2, AT + 2, 1, F_TYPE(4), section, 4),
                  HV_E_CACHE_CONFLICT);
    expect_status("unmap ranges", bar_unmap(2, AT, 3), HV_OK);
    expect_status("forgotten with the last", view(section, 0, 0, 0, PROT_R), HV_OK);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, lab_result(0), 0), HV_OK);
    handle_drop(section);
    world_same(&before, "after all types");
}

/* Pages of a reserved section: no view shows them before they are committed, all do afterwards. */
static void commit_seen(unsigned i)
{
    struct world before;
    uint32_t section;
    uint64_t index;

    (void)i;
    world_note(&before);
    section = make(SA_ALL, PROT_RWX, S_RESERVE);
    expect_status("range", bar_map(2, AT, 32, PLAIN, section, 0), HV_OK);
    expect_status("view that commits two pages",
                  LAB(LAB_CMD_VIEW_MAP, section, 0, 0, 0, PAGE + 1, 0, 0, SHARE, 0, PROT_RW),
                  HV_OK);
    index = lab_result(0);
    store(GVA_BAR2 + (AT + 1) * PAGE, 8, 0x70);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, PAGE, 8), HV_OK);
    expect_eq("a page that it committed", lab_result(0), 0x70);
    page_traps(2, GVA_BAR2 + (AT + 2) * PAGE, AT + 2);
    expect_status("a page without a frame", LAB(LAB_CMD_MAPPING_READ, index, 9 * PAGE, 8),
                  HV_E_ACCESS_DENIED);
    expect_status("commit", LAB(LAB_CMD_SECTION_COMMIT, section, 9, 1), HV_OK);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, 9 * PAGE, 8), HV_OK);
    expect_eq("zero", lab_result(0), 0);
    expect_status("unmap", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_OK);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(section);
    world_same(&before, "after the view");
}

static const struct check list[] = {
    {"view", NULL, name_row, COUNT_OF(rows), true, map_row},
    {"view", "a range and two views share content; the last of them ends the section", NULL, 0,
     true, shared},
    {"view", "ranges and views have one type per frame", NULL, 0, true, types},
    {"view", "a commit reaches views, and a view can commit", NULL, 0, true, commit_seen},
};
const struct check_list checks_view = {list, COUNT_OF(list)};
