/* Statuses of hv_section_create() and of handles, through the lab. */
#include "tests/guest/guest.h"

enum { QUERY = 1, WRITE = 2, READ = 4, EXECUTE = 8 };
enum {
    NOACCESS = 1,
    READONLY = 2,
    READWRITE = 4,
    WRITECOPY = 8,
    EXECUTE_ONLY = 0x10,
    EXEC_READ = 0x20,
    EXEC_READWRITE = 0x40,
    EXEC_WRITECOPY = 0x80,
    P_NOCACHE = 0x200,
    P_COMBINE = 0x400
};
enum {
    COMMIT = 1,
    RESERVE = 2,
    NOCACHE = 0x10,
    COMBINE = 0x20,
    LARGE_PAGES = 0x40,
    CONTIGUOUS = 0x80,
    OPEN_IF = 0x100
};
enum { NO_BACKING = 0, PHYSICAL = 1, MODULE = 2 };

#define TOP 0x4000000000000ull /* 2^50: past what a CPU of ours has */

struct row {
    const char *text;
    uint64_t access, bytes, protect, attributes, kind, base, length;
    hv_status_t expected;
};

static const struct row rows[] = {
    {"READONLY", READ, PAGE, READONLY, COMMIT, 0, 0, 0, HV_OK},
    {"READWRITE", READ | WRITE, PAGE, READWRITE, COMMIT, 0, 0, 0, HV_OK},
    {"EXECUTE_READ", READ | EXECUTE, PAGE, EXEC_READ, COMMIT, 0, 0, 0, HV_OK},
    {"EXECUTE_READWRITE", 15, PAGE, EXEC_READWRITE, COMMIT, 0, 0, 0, HV_OK},
    {"one byte is one page", READ, 1, READWRITE, COMMIT, 0, 0, 0, HV_OK},
    {"NOCACHE", READ, PAGE, READWRITE, COMMIT | NOCACHE, 0, 0, 0, HV_OK},
    {"WRITECOMBINE", READ, PAGE, READWRITE, COMMIT | COMBINE, 0, 0, 0, HV_OK},
    {"CONTIGUOUS", READ, 8 * PAGE, READWRITE, COMMIT | CONTIGUOUS, 0, 0, 0, HV_OK},
    {"LARGE_PAGES", READ, LARGE, READWRITE, COMMIT | LARGE_PAGES, 0, 0, 0, HV_OK},
    {"access 0", 0, PAGE, READWRITE, COMMIT, 0, 0, 0, HV_E_INVALID_PARAMETER_2},
    {"unknown access", READ | 0x20, PAGE, READWRITE, COMMIT, 0, 0, 0, HV_E_INVALID_PARAMETER_2},
    {"size 0", READ, 0, READWRITE, COMMIT, 0, 0, 0, HV_E_INVALID_PARAMETER_4},
    {"LARGE_PAGES and 1 MiB", READ, LARGE / 2, READWRITE, COMMIT | LARGE_PAGES, 0, 0, 0,
     HV_E_INVALID_PARAMETER_4},
    {"neither COMMIT nor RESERVE", READ, PAGE, READWRITE, 0, 0, 0, 0, HV_E_INVALID_PARAMETER_6},
    {"COMMIT and RESERVE", READ, PAGE, READWRITE, COMMIT | RESERVE, 0, 0, 0,
     HV_E_INVALID_PARAMETER_6},
    {"unknown attribute", READ, PAGE, READWRITE, COMMIT | 0x1000, 0, 0, 0,
     HV_E_INVALID_PARAMETER_6},
    {"protection 0", READ, PAGE, 0, COMMIT, 0, 0, 0, HV_E_INVALID_PROTECTION},
    {"NOACCESS", READ, PAGE, NOACCESS, COMMIT, 0, 0, 0, HV_E_INVALID_PROTECTION},
    {"two protections", READ, PAGE, READONLY | READWRITE, COMMIT, 0, 0, 0, HV_E_INVALID_PROTECTION},
    {"both cache modifiers", READ, PAGE, READWRITE, COMMIT | NOCACHE | COMBINE, 0, 0, 0,
     HV_E_INVALID_PROTECTION},
    {"WRITECOPY", READ, PAGE, WRITECOPY, COMMIT, 0, 0, 0, HV_E_NOT_SUPPORTED},
    {"EXECUTE_WRITECOPY", READ, PAGE, EXEC_WRITECOPY, COMMIT, 0, 0, 0, HV_E_NOT_SUPPORTED},
    {"RESERVE", READ, PAGE, READWRITE, RESERVE, 0, 0, 0, HV_OK},
    {"RESERVE over a window", READ, PAGE, READWRITE, RESERVE, PHYSICAL, 0xd0000000ull, PAGE,
     HV_E_INVALID_PARAMETER_6},
    {"OPEN_IF without a name", READ, PAGE, READWRITE, COMMIT | OPEN_IF, 0, 0, 0, HV_OK},
    {"more than there is, later", READ, 1ull << 44, READWRITE, RESERVE, 0, 0, 0, HV_OK},
    {"more than 2^46", READ, (1ull << 46) + 1, READWRITE, COMMIT, 0, 0, 0, HV_E_SECTION_TOO_BIG},
    {"size all ones", READ, ~0ull, READWRITE, COMMIT, 0, 0, 0, HV_E_SECTION_TOO_BIG},
    {"more than there is", READ, 1ull << 44, READWRITE, COMMIT, 0, 0, 0, HV_E_COMMITMENT_LIMIT},
    {"unknown backing", READ, PAGE, READWRITE, COMMIT, 9, 0, PAGE, HV_E_INVALID_PARAMETER_7},
    {"window not aligned", READ, PAGE, READWRITE, COMMIT, PHYSICAL, 0xd0000800ull, PAGE,
     HV_E_MAPPED_ALIGNMENT},
    {"window over the hypervisor's RAM", READ, PAGE, READWRITE, COMMIT, PHYSICAL, 0x200000, PAGE,
     HV_E_ACCESS_DENIED},
    {"window past the CPU's addresses", READ, PAGE, READWRITE, COMMIT, PHYSICAL, TOP, PAGE,
     HV_E_ACCESS_DENIED},
    {"window that wraps", READ, PAGE, READWRITE, COMMIT, PHYSICAL, 0ull - PAGE, 2 * PAGE,
     HV_E_ACCESS_DENIED},
    {"no such module", READ, PAGE, READWRITE, COMMIT, MODULE, 0, 99, HV_E_NOT_FOUND},
    {"order: access before size", 0, 0, 0, 0, 9, 0, 0, HV_E_INVALID_PARAMETER_2},
    {"order: size before attributes", READ, 0, 0, 0, 0, 0, 0, HV_E_INVALID_PARAMETER_4},
    {"order: attributes before protection", READ, PAGE, 0, 0, 9, 0, 0, HV_E_INVALID_PARAMETER_6},
    {"order: protection before too big", READ, ~0ull, 0, COMMIT, 9, 0, 0, HV_E_INVALID_PROTECTION},
    {"order: too big before backing", READ, ~0ull, READWRITE, COMMIT, 9, 0, 0,
     HV_E_SECTION_TOO_BIG},
};

static void create(unsigned i)
{
    const struct row *r = &rows[i];
    struct totals before = totals(), after;
    uint64_t hash = lab_hash();
    hv_status_t got = LAB(LAB_CMD_SECTION_CREATE, r->access, r->bytes, r->protect, r->attributes,
                          r->kind, r->base, r->length);

    expect_status("section", got, r->expected);
    if (got == HV_OK)
        expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, lab_result(0)), HV_OK);
    after = totals();
    totals_equal(&before, &after);
    expect_eq("hash", lab_hash(), hash);
}

static void name_create(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "create, %s: %s", rows[i].text, status_name(rows[i].expected));
}

static void handles(unsigned i)
{
    uint32_t event;

    (void)i;
    expect_status("close of an unknown handle", LAB(LAB_CMD_HANDLE_CLOSE, 0x7ffffff1u),
                  HV_E_INVALID_HANDLE);
    expect_status("close of 0", LAB(LAB_CMD_HANDLE_CLOSE, 0), HV_E_INVALID_HANDLE);
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
    event = (uint32_t)lab_result(0);
    expect(event != 0, "handle 0");
    expect_status("bytes of an event", LAB(LAB_CMD_SECTION_READ, event, 0), HV_E_OBJECT_TYPE);
    expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, event), HV_OK);
    expect_status("second close", LAB(LAB_CMD_HANDLE_CLOSE, event), HV_E_INVALID_HANDLE);
}

/* A closed handle's number does not come alive with the next object. */
static void stale_handle(unsigned i)
{
    uint32_t first, second;

    (void)i;
    expect_status("section", LAB(LAB_CMD_SECTION_CREATE, 6, PAGE, READWRITE, COMMIT, 0, 0, 0),
                  HV_OK);
    first = (uint32_t)lab_result(0);
    expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, first), HV_OK);
    expect_status("section", LAB(LAB_CMD_SECTION_CREATE, 6, PAGE, READWRITE, COMMIT, 0, 0, 0),
                  HV_OK);
    second = (uint32_t)lab_result(0);
    expect(first != second, "a closed handle was handed out again at once");
    expect_status("the old number", LAB(LAB_CMD_SECTION_READ, first, 0), HV_E_INVALID_HANDLE);
    expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, second), HV_OK);
}

/* Frames that held a secret are zero when another section gets them. */
static void zeroed(unsigned i)
{
    (void)i;
    for (unsigned round = 0; round < 4 && !failed(); round++) {
        uint32_t h;

        expect_status("section",
                      LAB(LAB_CMD_SECTION_CREATE, 6, 64 * PAGE, READWRITE, COMMIT, 0, 0, 0), HV_OK);
        h = (uint32_t)lab_result(0);
        for (uint64_t o = 0; o < 64 * PAGE && !failed(); o += PAGE / 2)
            expect_eq("word of a new section", section_get(h, o), 0);
        expect_status("fill", LAB(LAB_CMD_SECTION_FILL, h, 0, 64 * PAGE, 13), HV_OK);
        expect_status("close", LAB(LAB_CMD_HANDLE_CLOSE, h), HV_OK);
    }
}

static const struct check list[] = {
    {"section", NULL, name_create, COUNT_OF(rows), true, create},
    {"section", "handles: unknown, event, closed twice", NULL, 0, true, handles},
    {"section", "a closed handle stays dead", NULL, 0, true, stale_handle},
    {"section", "frames come zeroed", NULL, 0, true, zeroed},
};
const struct check_list checks_section = {list, COUNT_OF(list)};
