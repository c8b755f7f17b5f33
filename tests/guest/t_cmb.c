/*
 * A drive whose queue lies in its own memory: BAR2 is a section that the guest writes without exits, and that the device reads
 * through a view of its own. What the guest stored is all there when it rings; and once the drive was pulled out under a guest
 * that writes on, its frames are somebody else's and the writes are nobody's.
 */
#include "tests/guest/pci.h"

#define SLOT       12u
#define REGS       GVA_TMP           /* BAR0 */
#define MEMORY     (GVA_TMP + LARGE) /* BAR2 */
#define STRIP      (GVA_TMP + 16 * LARGE)
#define PAGES      (LAB_CMB_BYTES / PAGE)
#define DATA_START 0x10000u
#define HOLE_PAGE  (LAB_FREE_PAGE + 600u) /* of the lab's BAR2 */
#define HOLE_AT    0x800u
#define D_DWORD    3u
#define D_QWORD    4u
#define D_ALWAYS   0x80000000u
#define RESET      0x8000u /* of the Device Control register, at 8 */

static struct pci_function drive;
static uint64_t selector;
static uint64_t home; /* of BAR2; the same for every drive */

bool neighbour_add(const char *kind, unsigned slot, struct pci_function *f, uint64_t *device)
{
    return expect_status(kind, device_add("neighbour", slot << 8, kind, device), HV_OK) &&
           expect(pci_at(f, slot, 0), "the new device is on the bus");
}

static bool plug_in(void)
{
    if (!neighbour_add("cmb", SLOT, &drive, &selector))
        return false;
    if (home == 0)
        home = drive.bar[2].base;
    bar_set(&drive, 2, home);
    bar_show(&drive, 0, REGS, drive.bar[0].bytes, PAGE, PAT_UC);
    bar_show(&drive, 2, MEMORY, drive.bar[2].bytes, LARGE, PAT_WB);
    return true;
}

static void pull_out(void)
{
    expect_status("removed", device_remove(selector), HV_OK);
}

/* ---- entries ---- */

static uint64_t data_at(unsigned n)
{
    return DATA_START + (n * 65u * LAB_CMB_ENTRY_BYTES) % (LAB_CMB_BYTES - DATA_START);
}

static uint64_t entry_word(unsigned n, unsigned w)
{
    return w == LAB_CMB_DATA_WORD ? data_at(n) : LAB_PATTERN(n + 1, 8 * w);
}

static uint64_t data_word(unsigned n, unsigned w)
{
    return LAB_PATTERN(~n, 8 * w);
}

/* Data, then the entry, in pieces of one width. */
static void put(unsigned n)
{
    const unsigned bytes = 1u << n % 4;
    const uint64_t at = MEMORY + n % LAB_CMB_ENTRIES * LAB_CMB_ENTRY_BYTES;

    for (unsigned w = 0; w < LAB_CMB_ENTRY_BYTES / 8; w++)
        store(MEMORY + data_at(n) + 8 * w, 8, data_word(n, w));
    for (unsigned o = 0; o < LAB_CMB_ENTRY_BYTES; o += bytes)
        store(at + o, bytes, entry_word(n, o / 8) >> 8 * (o % 8));
}

static bool fetched(unsigned n)
{
    for (unsigned w = 0; w < LAB_CMB_ENTRY_BYTES / 8; w++)
        if (!expect_eq("a word of the entry", load(REGS + 8 * w, 8), entry_word(n, w)) ||
            !expect_eq("a word of the data", load(REGS + LAB_CMB_ENTRY_BYTES + 8 * w, 8),
                       data_word(n, w)))
            return false;
    return true;
}

/* Once around the ring, or the start of it. */
static unsigned entries_of(unsigned i)
{
    return i == 0 ? LAB_CMB_ENTRIES + 76u : 100u;
}

static void entries(unsigned i)
{
    const unsigned count = entries_of(i);

    if (!plug_in())
        return;
    leaf_is(home, 1, 4, large_or_small(2));
    for (unsigned n = 0; n < count && !failed(); n++) {
        put(n);
        store(REGS + (i == 0 ? LAB_CMB_DOORBELL : LAB_CMB_TRAPPED), 4, n + 1);
        if (n < 16 || n % 61 == 0 || n + 1 == count)
            fetched(n);
    }
    expect_eq("writes that trapped", device_seen(selector, LAB_SEEN_WRITES), i == 0 ? 0 : count);
    pull_out();
}

static void name_entries(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u entries, each whole when the %s", entries_of(i),
                i == 0 ? "doorbell rings" : "trapped write arrives");
}

/* What a reset leaves: the buffer, its range and the doorbell; the ring begins anew. */
static void reset(unsigned i)
{
    unsigned express;

    (void)i;
    if (!plug_in())
        return;
    express = capability_find(&drive, CAP_EXPRESS);
    put(0);
    store(REGS + LAB_CMB_DOORBELL, 4, 1);
    fetched(0);
    config_set(&drive, express + 8, 2, RESET);
    expect_eq("resets", device_seen(selector, LAB_SEEN_RESETS), 1);
    store(MEMORY, 8, 0);
    expect_eq("after a reset", load(MEMORY, 8), ~0ull);
    expect_eq("leaf", leaf_at(home).present, 0);
    bar_set(&drive, 0, drive.bar[0].base);
    bar_set(&drive, 2, home);
    command_set(&drive, COMMAND_MEMORY, true);
    expect_eq("at the first access", load(MEMORY, 8), entry_word(0, 0));
    put(LAB_CMB_ENTRIES); /* where the first one was, but another */
    store(REGS + LAB_CMB_DOORBELL, 4, 1);
    fetched(LAB_CMB_ENTRIES);
    pull_out();
}

/* ---- the end of a drive ---- */

/* Whoever has the frames now, a section that was made since: nothing of the writes is in them. */
static void writes_are_nobodys(void)
{
    uint32_t section = section_make(LAB_CMB_BYTES, S_COMMIT | S_LARGE);

    for (uint64_t p = 0; p < PAGES; p += 64) {
        store(MEMORY + p * PAGE + 8, 8, ~p);
        if (!expect_eq("behind the drive", load(MEMORY + p * PAGE + 8, 8), ~0ull))
            break;
    }
    for (uint64_t p = 0; p < PAGES && !failed(); p += 64) {
        expect_eq("somebody's frame", section_get(section, p * PAGE + 8), 0);
        expect_eq("the same, from before", section_get(section, p * PAGE), 0);
    }
    handle_drop(section);
}

/* Two drives one after the other, in the same place: each pulled out between two writes. */
static void pulled_out(unsigned i)
{
    struct world before;

    (void)i;
    world_note(&before);
    for (unsigned round = 0; round < 2 && !failed(); round++) {
        if (!plug_in())
            return;
        for (uint64_t p = 0; p < PAGES && !failed(); p += 63)
            expect_eq("at the first access", load(MEMORY + p * PAGE, 8), 0);
        expect(before.totals.value[0] - totals().value[0] >= PAGES, "it has frames");
        put(0);
        store(REGS + LAB_CMB_DOORBELL, 4, 1);
        fetched(0);
        for (uint64_t p = 0; p < PAGES + 512; p++) {
            store(MEMORY + p % PAGES * PAGE, 8, mark_of(round, p));
            if (p == PAGES + 100)
                pull_out();
        }
        expect_eq("leaf", leaf_at(home).present, 0);
        expect_eq("its registers", load(REGS, 8), ~0ull);
        world_same(&before, "when it was pulled out");
    }
    writes_are_nobodys();
    world_same(&before, "after the last one");
}

static uint32_t bell_that_pulls(uint64_t device, unsigned bar, uint64_t offset, uint32_t flags)
{
    uint32_t event;

    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 1), HV_OK);
    event = (uint32_t)lab_result(0);
    expect_status("register",
                  LAB(LAB_CMD_DOORBELL_REGISTER, device, bar, offset, 0, flags | D_ALWAYS, event),
                  HV_OK);
    expect_status("what a signal runs", LAB(LAB_CMD_ON_SIGNAL, LAB_CMD_DEVICE_REMOVE, selector),
                  HV_OK);
    return event;
}

static void expect_ran_once(hv_status_t expected)
{
    expect_status("what a signal ran", LAB(LAB_CMD_ON_SIGNAL, 0), HV_OK);
    expect_eq("runs", lab_result(0), 1);
    expect_status("removed by a signal", (hv_status_t)(uint32_t)lab_result(1), expected);
}

/* One instruction fills a page of the drive, one of the lab with the doorbell that pulls the drive out, and one of the drive. */
static void in_one_instruction(unsigned i)
{
    uint64_t to = STRIP, count = 3 * PAGE / 8, sequence;
    struct totals before = totals(), after;
    uint32_t event;

    (void)i;
    if (!plug_in())
        return;
    event = bell_that_pulls(0, 2, HOLE_PAGE * PAGE + HOLE_AT, D_QWORD);
    map(STRIP, home + 100 * PAGE, PAGE, PAGE, 0);
    map(STRIP + PAGE, lab.base[2] + HOLE_PAGE * PAGE, PAGE, PAGE, 0);
    map(STRIP + 2 * PAGE, home + 101 * PAGE, PAGE, PAGE, 0);
    store(STRIP + 2 * PAGE, 8, 1); /* the translation is there */
    sequence = lab_traps();
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(mark_of(7, 7)) : "memory");
    expect_eq("what is left to do", count, 0);
    expect_eq("where it ended", to, STRIP + 3 * PAGE);
    expect_eq("writes that the lab saw", lab_traps() - sequence, PAGE / 8 - 1);
    expect_ran_once(HV_OK);
    expect_eq("the page in front", load(STRIP, 8), ~0ull);
    expect_eq("the page behind", load(STRIP + 2 * PAGE, 8), ~0ull);
    expect_status(
        "unregister",
        LAB(LAB_CMD_DOORBELL_UNREGISTER, 0, 2, HOLE_PAGE * PAGE + HOLE_AT, 0, D_QWORD | D_ALWAYS),
        HV_OK);
    handle_drop(event);
    unmap(STRIP, 3 * PAGE, PAGE);
    after = totals();
    totals_equal(&before, &after);
}

/* Not by a doorbell of its own: that is an access to it. It goes on working, and takes the doorbell along when it goes. */
static void by_its_own_doorbell(unsigned i)
{
    struct totals before = totals(), after;
    uint32_t event;

    (void)i;
    if (!plug_in())
        return;
    event = bell_that_pulls(selector, 0, LAB_CMB_TRAPPED + 8, D_DWORD);
    store(REGS + LAB_CMB_TRAPPED + 8, 4, 1);
    expect_ran_once(HV_E_DEADLOCK);
    put(0);
    store(REGS + LAB_CMB_DOORBELL, 4, 1);
    fetched(0);
    handle_drop(event);
    pull_out();
    store(REGS + LAB_CMB_TRAPPED + 8, 4, 1);
    after = totals();
    totals_equal(&before, &after);
}

static const struct check list[] = {
    {"cmb", NULL, name_entries, 2, true, entries},
    {"cmb", "a reset leaves the buffer and its doorbell", NULL, 0, true, reset},
    {"cmb", "pulled out between two writes; the next one in its place works at the first access",
     NULL, 0, true, pulled_out},
    {"cmb", "pulled out in the middle of one instruction", NULL, 0, true, in_one_instruction},
    {"cmb", "not pulled out by its own doorbell", NULL, 0, true, by_its_own_doorbell},
};
const struct check_list checks_cmb = {list, COUNT_OF(list)};
