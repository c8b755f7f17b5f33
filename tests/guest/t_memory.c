/* Guest memory as devices reach it: copies and apertures, respecting where RAM is and where it is not. */
#include "tests/guest/guest.h"

#define OFFSET 0x123u /* of an aperture in its first page */
#define QUOTA  1024u

static uint8_t buffer[4 * 4096] __attribute__((aligned(4096)));

/* Ends of the RAM below 4 GiB and above it; 0: there is none above. */
static uint64_t low_end, high_end;

static bool find_ram(void)
{
    ram_ends(&low_end, &high_end);
    return expect(low_end != 0, "there is RAM below 4 GiB");
}

static uint64_t here(uint64_t offset)
{
    return (uint64_t)(uintptr_t)buffer + offset;
}

static hv_status_t guest_read(uint64_t gpa, uint64_t bytes)
{
    return LAB(LAB_CMD_GUEST_READ, 0, gpa, bytes);
}

static hv_status_t guest_write(uint64_t gpa, uint64_t bytes, uint64_t value)
{
    return LAB(LAB_CMD_GUEST_WRITE, 0, gpa, bytes, value);
}

/* What GUEST_READ tells of all bytes: FNV-1a, 64 bits. */
static uint64_t checksum(const uint8_t *at, uint64_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325ull;

    for (uint64_t k = 0; k < bytes; k++)
        hash = (hash ^ at[k]) * 0x100000001b3ull;
    return hash;
}

/* Every width at every offset in a word, and more than a page. */
static void copies(unsigned i)
{
    uint64_t value = 0x8877665544332211ull;

    (void)i;
    for (unsigned k = 0; k < sizeof(buffer); k++)
        buffer[k] = (uint8_t)(k * 7 + (k >> 8));
    for (uint64_t bytes = 1; bytes <= 8 && !failed(); bytes++)
        for (uint64_t o = 0; o < 9 && !failed(); o++) {
            expect_status("read", guest_read(here(PAGE - 8 + o), bytes), HV_OK);
            expect_eq("bytes read", lab_result(0),
                      load(here(PAGE - 8 + o), 8) & ones((unsigned)bytes));
        }
    expect_status("read of 8 KiB", guest_read(here(OFFSET), LAB_BUFFER_BYTES), HV_OK);
    expect_eq("their checksum", lab_result(1), checksum(buffer + OFFSET, LAB_BUFFER_BYTES));
    for (unsigned bytes = 1; bytes <= 8 && !failed(); bytes *= 2) {
        memset(buffer, 0xee, 64);
        expect_status("write", guest_write(here(16 + bytes), bytes, value), HV_OK);
        expect_eq("bytes written", load(here(16 + bytes), bytes), value & ones(bytes));
        expect_eq("the byte before", buffer[15 + bytes], 0xee);
        expect_eq("the byte behind", buffer[16 + 2 * bytes], 0xee);
    }
    expect_status("write of 8 KiB", guest_write(here(OFFSET + 5), LAB_BUFFER_BYTES, 77), HV_OK);
    for (uint64_t o = 0; o < LAB_BUFFER_BYTES && !failed(); o += 8)
        expect_eq("word written", load(here(OFFSET + 5 + o), 8), LAB_PATTERN(77, o));
}

static const struct {
    const char *text;
    enum { LOW_END, HIGH_START, HIGH_END, BAR, ZERO } place;
    int64_t offset;
    uint64_t bytes;
    hv_status_t expected;
} rows[] = {
    {"the last bytes of low RAM", LOW_END, -64, 64, HV_OK},
    {"one byte past low RAM", LOW_END, -64, 65, HV_E_GUEST_FAULT},
    {"the first byte of the hole", LOW_END, 0, 1, HV_E_GUEST_FAULT},
    {"8 KiB that reach into the hole", LOW_END, -4096, 8192, HV_E_GUEST_FAULT},
    {"the last byte of the hole", HIGH_START, -1, 1, HV_E_GUEST_FAULT},
    {"out of the hole into RAM", HIGH_START, -8, 16, HV_E_GUEST_FAULT},
    {"the first bytes at 4 GiB", HIGH_START, 0, 64, HV_OK},
    {"the last bytes of high RAM", HIGH_END, -64, 64, HV_OK},
    {"one byte past high RAM", HIGH_END, -64, 65, HV_E_GUEST_FAULT},
    {"a BAR page that is mapped", BAR, LAB_LARGER_PAGE * 4096, 8, HV_E_GUEST_FAULT},
    {"a register BAR", BAR, 0, 8, HV_E_GUEST_FAULT},
    {"0 bytes of RAM", ZERO, 0, 0, HV_OK},
    {"0 bytes of the hole", LOW_END, 0, 0, HV_OK},
    {"all addresses, wrapping", ZERO, -8, 16, HV_E_INVALID_PARAMETER_2},
    {"the last byte of all addresses", ZERO, -1, 1, HV_E_INVALID_PARAMETER_2},
};

static uint64_t address_of(unsigned i)
{
    uint64_t base = rows[i].place == LOW_END      ? low_end
                    : rows[i].place == HIGH_START ? FOUR_GIB
                    : rows[i].place == HIGH_END   ? high_end
                    : rows[i].place == BAR        ? lab.base[rows[i].offset == 0 ? 0 : 2]
                                                  : 0;

    return base + (uint64_t)rows[i].offset;
}

/* A failing write has copied nothing: the RAM before the border is as it was. */
static void border(unsigned i)
{
    uint64_t gpa, was = 0, gva = GVA_TMP;
    bool high = rows[i].place == HIGH_START || rows[i].place == HIGH_END, some;

    if (!find_ram())
        return;
    if (high && high_end == 0) {
        skip("no RAM above 4 GiB");
        return;
    }
    gpa = address_of(i);
    some = rows[i].place == LOW_END || rows[i].place == HIGH_END;
    if (some) {
        map(gva, (gpa - 8) & ~(PAGE - 1), 2 * PAGE, PAGE, 0);
        gva += (gpa - 8) % PAGE;
        was = load(gva + (rows[i].offset < 0 ? 8 : 0), 8);
    }
    expect_status("read", guest_read(gpa, rows[i].bytes), rows[i].expected);
    if (rows[i].expected == HV_OK && rows[i].bytes != 0 && some)
        expect_eq("bytes read", lab_result(0), was);
    expect_status("write", guest_write(gpa, rows[i].bytes, 0x11), rows[i].expected);
    if (some && rows[i].offset < 0)
        expect_eq("RAM afterwards", load(gva + 8, 8),
                  rows[i].expected == HV_OK ? LAB_PATTERN(0x11, 0) : was);
    if (some && rows[i].offset < 0)
        store(gva + 8, 8, was);
    if (some)
        unmap(GVA_TMP, 2 * PAGE, PAGE);
}

static void name_border(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s: %s", rows[i].text, status_name(rows[i].expected));
}

static void stranger(unsigned i)
{
    (void)i;
    expect_status("read", LAB(LAB_CMD_GUEST_READ, 1, here(0), 8), HV_E_INVALID_HANDLE);
    expect_status("write", LAB(LAB_CMD_GUEST_WRITE, 1, here(0), 8, 0), HV_E_INVALID_HANDLE);
    expect_status("aperture", LAB(LAB_CMD_APERTURE_CREATE, 1, here(0), 8, 0), HV_E_INVALID_HANDLE);
}

/* ---- apertures ---- */

static hv_status_t aperture(uint64_t gpa, uint64_t bytes, bool write_protected)
{
    return LAB(LAB_CMD_APERTURE_CREATE, 0, gpa, bytes, write_protected);
}

static void three_pages(unsigned i)
{
    uint64_t index, bytes = 2 * PAGE + 0x200;
    struct world before;

    (void)i;
    world_note(&before);
    memset(buffer, 0, sizeof(buffer));
    expect_status("create", aperture(here(OFFSET), bytes, false), HV_OK);
    index = lab_result(0);
    expect_eq("offset in the page", lab_result(1), OFFSET);
    for (uint64_t o = 5; o < bytes - 8 && !failed(); o += 0x408) { /* OFFSET + 5 is 8-aligned */
        store(here(OFFSET + o), 8, ~o);
        expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, o, 8), HV_OK);
        expect_eq("the guest's store", lab_result(0), ~o);
        expect_status("write", LAB(LAB_CMD_MAPPING_WRITE, index, o, 8, o * 3), HV_OK);
        expect_eq("the device's store", load(here(OFFSET + o), 8), o * 3);
    }
    expect_status("destroy, another address", LAB(LAB_CMD_APERTURE_DESTROY, 0, index, 1),
                  HV_E_NOT_MAPPED);
    expect_status("destroy, another device", LAB(LAB_CMD_APERTURE_DESTROY, 1, index, 0),
                  HV_E_INVALID_HANDLE);
    expect_status("destroyed as a view", LAB(LAB_CMD_VIEW_UNMAP, index, 0), HV_E_NOT_MAPPED);
    expect_status("destroyed as I/O space", LAB(LAB_CMD_IO_UNMAP, index, bytes, 0),
                  HV_E_NOT_MAPPED);
    expect_status("still there", LAB(LAB_CMD_MAPPING_READ, index, 5, 8), HV_OK);
    expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, index, 0), HV_OK);
    world_same(&before, "after the aperture went");
}

static void protected_and_overlapping(unsigned i)
{
    uint64_t plain, locked;

    (void)i;
    expect_status("create", aperture(here(8), 64, false), HV_OK);
    plain = lab_result(0);
    expect_status("create over it", aperture(here(8), 64, true), HV_OK);
    locked = lab_result(0);
    expect_status("write", LAB(LAB_CMD_MAPPING_WRITE, plain, 0, 8, 0x1dea), HV_OK);
    expect_status("read", LAB(LAB_CMD_MAPPING_READ, locked, 0, 8), HV_OK);
    expect_eq("through the other", lab_result(0), 0x1dea);
    expect_status("write where it is protected", LAB(LAB_CMD_MAPPING_WRITE, locked, 0, 8, 1),
                  HV_E_ACCESS_DENIED);
    expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, plain, 0), HV_OK);
    expect_status("the other stays", LAB(LAB_CMD_MAPPING_READ, locked, 0, 8), HV_OK);
    expect_eq("its content", lab_result(0), 0x1dea);
    expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, locked, 0), HV_OK);
}

static void aperture_borders(unsigned i)
{
    struct world before;

    (void)i;
    if (!find_ram())
        return;
    world_note(&before);
    expect_status("0 bytes", aperture(here(0), 0, false), HV_E_INVALID_PARAMETER_3);
    expect_status("into the hole", aperture(low_end - PAGE, PAGE + 1, false), HV_E_GUEST_FAULT);
    expect_status("in the hole", aperture(low_end, 1, false), HV_E_GUEST_FAULT);
    expect_status("over the hole to 4 GiB", aperture(low_end - 1, FOUR_GIB - low_end + 2, false),
                  HV_E_GUEST_FAULT);
    expect_status("a BAR", aperture(lab.base[2] + LAB_LARGER_PAGE * PAGE, PAGE, false),
                  HV_E_GUEST_FAULT);
    expect_status("wrapping", aperture(~0ull, 2, false), HV_E_INVALID_PARAMETER_2);
    world_same(&before, "after calls that failed");
    expect_status("the last page of low RAM", aperture(low_end - PAGE, PAGE, false), HV_OK);
    expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, lab_result(0), 0), HV_OK);
    world_same(&before, "after the last page");
}

/* As many as a device may have; then the oldest goes and the next call succeeds. */
static void quota(unsigned i)
{
    struct world before;
    uint64_t first = 0;

    (void)i;
    world_note(&before);
    for (unsigned k = 0; k < QUOTA && !failed(); k++) {
        expect_status("create", aperture(here(k % 4 * PAGE), 16, false), HV_OK);
        if (k == 0)
            first = lab_result(0);
    }
    expect_status("one more", aperture(here(0), 16, false), HV_E_QUOTA);
    expect_status("the oldest goes", LAB(LAB_CMD_APERTURE_DESTROY, 0, first, 0), HV_OK);
    expect_status("again", aperture(here(0), 16, false), HV_OK);
    for (uint64_t k = 0; k < LAB_MAPPINGS; k++)
        (void)LAB(LAB_CMD_APERTURE_DESTROY, 0, k, 0);
    world_same(&before, "after all of them went");
}

static const struct check list[] = {
    {"memory", "copies of 1 to 8 bytes and of 8 KiB, aligned and not", NULL, 0, true, copies},
    {"memory", NULL, name_border, COUNT_OF(rows), true, border},
    {"memory", "an unknown device: HV_E_INVALID_HANDLE", NULL, 0, true, stranger},
    {"memory", "an aperture over three pages is coherent, and only its owner's call ends it", NULL,
     0, true, three_pages},
    {"memory", "apertures that overlap, one of them write-protected", NULL, 0, true,
     protected_and_overlapping},
    {"memory", "apertures at the borders of RAM", NULL, 0, true, aperture_borders},
    {"memory", "1,024 apertures, then HV_E_QUOTA, then one for one", NULL, 0, true, quota},
};
const struct check_list checks_memory = {list, COUNT_OF(list)};
