/* Names of sections: one namespace, a handle of its own for each who opens, gone with the last handle. And queries. */
#include "tests/guest/guest.h"

#define AT     (LAB_FREE_PAGE + 512u)
#define NAME   777u
#define OTHER  778u
#define ABSENT 779u

static hv_status_t create(uint64_t access, uint64_t bytes, uint64_t protect, uint64_t attributes,
                          uint64_t name)
{
    return LAB(LAB_CMD_SECTION_CREATE_NAMED, access, bytes, protect, attributes, B_NONE, 0, 0,
               name);
}

static hv_status_t open_name(uint64_t access, uint64_t name)
{
    return LAB(LAB_CMD_SECTION_OPEN, access, name);
}

static uint64_t handles_of(uint32_t handle)
{
    expect_status("query", LAB(LAB_CMD_SECTION_QUERY, handle), HV_OK);
    return lab_result(4);
}

static void opened(unsigned i)
{
    struct world before;
    uint32_t first, second, reader;

    (void)i;
    world_note(&before);
    expect_status("create", create(SA_ALL, 4 * PAGE, PROT_RWX, S_COMMIT, NAME), HV_OK);
    first = (uint32_t)lab_result(0);
    expect_eq("it was not there before", lab_result(1), 0);
    expect_status("open", open_name(SA_ALL, NAME), HV_OK);
    second = (uint32_t)lab_result(0);
    expect(first != second, "an opener gets the creator's handle");
    expect_eq("handles", handles_of(first), 2);
    section_put(first, PAGE, 0x1234);
    expect_eq("through the other handle", section_get(second, PAGE), 0x1234);
    expect_status("open for reading", open_name(SA_READ, NAME), HV_OK);
    reader = (uint32_t)lab_result(0);
    expect_status("writeable range by it", bar_map(2, AT, 1, F_WRITE, reader, 0),
                  HV_E_ACCESS_DENIED);
    expect_status("query by it", LAB(LAB_CMD_SECTION_QUERY, reader), HV_E_ACCESS_DENIED);
    handle_drop(first);
    handle_drop(reader);
    expect_status("open after the creator went", open_name(SA_QUERY, NAME), HV_OK);
    handle_drop((uint32_t)lab_result(0));
    handle_drop(second);
    expect_status("open after all went", open_name(SA_QUERY, NAME), HV_E_NOT_FOUND);
    world_same(&before, "after all handles went");
}

/* A range keeps the object, not its name; the name is free for another. */
static void name_goes_first(unsigned i)
{
    struct world before;
    uint32_t old, fresh;

    (void)i;
    world_note(&before);
    expect_status("create", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT, NAME), HV_OK);
    old = (uint32_t)lab_result(0);
    section_put(old, 0, 0x01d);
    expect_status("map", bar_map(2, AT, 1, F_WRITE, old, 0), HV_OK);
    handle_drop(old);
    expect_status("open", open_name(SA_QUERY, NAME), HV_E_NOT_FOUND);
    expect_status("create", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT, NAME), HV_OK);
    fresh = (uint32_t)lab_result(0);
    expect_eq("the new one", section_get(fresh, 0), 0);
    expect_eq("the old one, mapped", load(GVA_BAR2 + AT * PAGE, 8), 0x01d);
    handle_drop(fresh);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    world_same(&before, "after both went");
}

static void open_if(unsigned i)
{
    struct world before;
    uint32_t first, second;

    (void)i;
    world_note(&before);
    expect_status("create", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT | S_OPEN_IF, NAME), HV_OK);
    first = (uint32_t)lab_result(0);
    expect_eq("it was there", lab_result(1), 0);
    expect_status("once more without", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT, NAME),
                  HV_E_ALREADY_EXISTS);
    expect_status("once more", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT | S_OPEN_IF, NAME), HV_OK);
    second = (uint32_t)lab_result(0);
    expect_eq("it was there", lab_result(1), 1);
    section_put(second, 8, 0x0be);
    expect_eq("one object", section_get(first, 8), 0x0be);
    expect_status("another name", create(SA_ALL, PAGE, PROT_RWX, S_COMMIT, OTHER), HV_OK);
    handle_drop((uint32_t)lab_result(0));
    handle_drop(first);
    handle_drop(second);
    world_same(&before, "after all handles went");
}

static void refused(unsigned i)
{
    struct world before;
    uint32_t plain, event;

    (void)i;
    world_note(&before);
    expect_status("create", create(SA_ALL, PAGE, PROT_R, S_COMMIT, NAME), HV_OK);
    plain = (uint32_t)lab_result(0);
    expect_status("open, no rights", open_name(0, NAME), HV_E_INVALID_PARAMETER_2);
    expect_status("open, unknown rights", open_name(0x40, NAME), HV_E_INVALID_PARAMETER_2);
    expect_status("open, an absent name", open_name(SA_READ, ABSENT), HV_E_NOT_FOUND);
    expect_status("open for writing what is READONLY", open_name(SA_WRITE, NAME),
                  HV_E_ACCESS_DENIED);
    expect_status("open for executing it", open_name(SA_EXECUTE, NAME), HV_E_ACCESS_DENIED);
    expect_status("order: rights before the name", open_name(0, ABSENT), HV_E_INVALID_PARAMETER_2);
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
    event = (uint32_t)lab_result(0);
    expect_status("query of an event", LAB(LAB_CMD_SECTION_QUERY, event), HV_E_OBJECT_TYPE);
    expect_status("query of nothing", LAB(LAB_CMD_SECTION_QUERY, 0x7ffffff1u), HV_E_INVALID_HANDLE);
    handle_drop(event);
    handle_drop(plain);
    world_same(&before, "after all handles went");
}

/* What a query says: size in pages, protection, attributes, default type, users. */
static void query(unsigned i)
{
    static const struct {
        uint64_t bytes, attributes, type;
    } kinds[] = {{5 * PAGE - 1, S_COMMIT, PAT_WB},
                 {PAGE, S_COMMIT | S_NOCACHE, PAT_UC},
                 {LARGE, S_COMMIT | S_COMBINE | S_LARGE, PAT_WC},
                 {1, S_RESERVE, PAT_WB}};

    (void)i;
    for (unsigned k = 0; k < COUNT_OF(kinds) && !failed(); k++) {
        uint32_t h = section_make(kinds[k].bytes, (uint32_t)kinds[k].attributes);

        expect_status("map", bar_map(2, AT, 1, 0, h, 0), HV_OK);
        expect_status("query", LAB(LAB_CMD_SECTION_QUERY, h), HV_OK);
        expect_eq("bytes", lab_result(0), (kinds[k].bytes + PAGE - 1) & ~(PAGE - 1));
        expect_eq("protection", lab_result(1), PROT_RWX);
        expect_eq("attributes", lab_result(2), kinds[k].attributes);
        expect_eq("default type", lab_result(3), kinds[k].type);
        expect_eq("handles", lab_result(4), 1);
        expect_eq("ranges", lab_result(5), 1);
        expect_eq("views", lab_result(6), 0);
        expect_status("destroy", bar_destroy(2, AT), HV_OK);
        handle_drop(h);
    }
}

static const struct check list[] = {
    {"names", "each opener has a handle of its own to one object", NULL, 0, true, opened},
    {"names", "the name goes with the last handle, the object with the last range", NULL, 0, true,
     name_goes_first},
    {"names", "OPEN_IF opens what is there; without it HV_E_ALREADY_EXISTS", NULL, 0, true,
     open_if},
    {"names", "open and query: PARAMETER_2, NOT_FOUND, ACCESS_DENIED, OBJECT_TYPE, INVALID_HANDLE",
     NULL, 0, true, refused},
    {"names", "what a query tells of four kinds of sections", NULL, 0, true, query},
};
const struct check_list checks_names = {list, COUNT_OF(list)};
