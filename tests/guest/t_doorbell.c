/*
 * Doorbells: writes that signal an event and reach no callback. Who gets a write shows in two places: the event's count, and
 * the device's log of trapped accesses.
 */
#include "tests/guest/guest.h"

#define D_ANY    0u
#define D_BYTE   1u
#define D_WORD   2u
#define D_DWORD  3u
#define D_QWORD  4u
#define D_ALWAYS 0x80000000u
#define QUEUES   16u
#define HOLE     (2 * PAGE + 0x38) /* in BAR2: a register that traps */
#define AT       (LAB_FREE_PAGE + 512u)
#define LOW      0xc4000000ull
#define NOBODYS  77u
#define RINGS    5000u

static struct {
    struct world before;
    uint32_t event[QUEUES];
} arena;

static uint32_t event_make(unsigned kind, bool with_callback)
{
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, kind, with_callback), HV_OK);
    return (uint32_t)lab_result(0);
}

static uint64_t taken(uint32_t event)
{
    expect_status("take", LAB(LAB_CMD_EVENT_TAKE, event), HV_OK);
    return lab_result(0);
}

static hv_status_t bell(unsigned bar, uint64_t offset, uint64_t value, uint64_t flags,
                        uint32_t event)
{
    return LAB(LAB_CMD_DOORBELL_REGISTER, 0, bar, offset, value, flags, event);
}

static hv_status_t bell_off(unsigned bar, uint64_t offset, uint64_t value, uint64_t flags)
{
    return LAB(LAB_CMD_DOORBELL_UNREGISTER, 0, bar, offset, value, flags);
}

static void open_arena(void)
{
    world_note(&arena.before);
    for (unsigned i = 0; i < QUEUES; i++)
        arena.event[i] = event_make(0, false);
}

static void close_arena(void)
{
    for (unsigned i = 0; i < QUEUES; i++)
        handle_drop(arena.event[i]);
    world_same(&arena.before, "after doorbells and events went");
}

static uint64_t gva_of(unsigned bar, uint64_t offset)
{
    return (bar == 0 ? GVA_REGS : GVA_BAR2) + offset;
}

/* The write gives one signal to event n and no other, and the device sees nothing; NOBODYS: the device sees it. */
static void rings(unsigned bar, uint64_t offset, unsigned bytes, uint64_t value, unsigned n)
{
    uint64_t sequence = lab_traps();
    struct trap_record t;

    store(gva_of(bar, offset), bytes, value);
    expect_eq("accesses that the device saw", lab_traps() - sequence, n == NOBODYS);
    if (n == NOBODYS && trap_record(sequence, &t)) {
        expect_eq("BAR", t.bar, bar);
        expect_eq("offset", t.offset, offset);
        expect_eq("width", t.bytes, bytes);
        expect_eq("value", t.value, value & ones(bytes));
        expect_eq("direction", t.write, 1);
    }
    for (unsigned i = 0; i < QUEUES && !failed(); i++)
        expect_eq(i == n ? "its event" : "another event", taken(arena.event[i]), i == n);
}

/* ---- what rings ---- */

/* One register for all queues, the value says which: in the register page and in a hole of BAR2. */
static void queues(unsigned i)
{
    unsigned bar = i == 0 ? 0 : 2;
    uint64_t at = i == 0 ? LAB_DOORBELL : HOLE, sequence;

    open_arena();
    for (unsigned q = 0; q < QUEUES; q++)
        expect_status("register", bell(bar, at, q, D_WORD, arena.event[q]), HV_OK);
    for (unsigned q = 0; q < QUEUES && !failed(); q++)
        rings(bar, at, 2, q, q);
    rings(bar, at, 2, 99, NOBODYS);
    rings(bar, at, 2, QUEUES, NOBODYS);
    rings(bar, at, 2, 0x105, NOBODYS);
    rings(bar, at, 4, 5, NOBODYS);
    rings(bar, at, 8, 5, NOBODYS);
    rings(bar, at, 1, 5, NOBODYS);
    rings(bar, at + 2, 2, 5, NOBODYS);
    sequence = lab_traps();
    expect_eq("read", load(gva_of(bar, at), 2), bar == 0 ? 5 : hole_value(at, 2));
    expect_eq("reads that the device saw", lab_traps() - sequence, 1);
    for (unsigned q = 0; q < QUEUES; q++)
        expect_status("unregister", bell_off(bar, at, q, D_WORD), HV_OK);
    rings(bar, at, 2, 5, NOBODYS);
    close_arena();
}

static void name_queues(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "16 queues at one 2-byte register of BAR%u: each its own event",
                2 * i);
}

/* By length of the write, 1 2 4 8: does the value 5 ring, does 6? */
static const struct match {
    const char *text;
    uint64_t value;
    uint32_t flags;
    const char *five, *six;
} matches[] = {
    {"a byte", 5, D_BYTE, "y---", "----"},
    {"2 bytes", 5, D_WORD, "-y--", "----"},
    {"4 bytes", 5, D_DWORD, "--y-", "----"},
    {"8 bytes", 5, D_QWORD, "---y", "----"},
    {"any length", 5, D_ANY, "yyyy", "----"},
    {"any length, a value of 8 bytes whose first is 5", 0x1100000005ull, D_ANY, "yyy-", "----"},
    {"a byte of any value", 0, D_BYTE | D_ALWAYS, "y---", "y---"},
    {"4 bytes of any value", 5, D_DWORD | D_ALWAYS, "--y-", "--y-"},
    {"8 bytes of any value", 0, D_QWORD | D_ALWAYS, "---y", "---y"},
    {"any length, any value", 0, D_ANY | D_ALWAYS, "yyyy", "yyyy"},
};

static void match(unsigned i)
{
    const struct match *m = &matches[i];

    open_arena();
    expect_status("register", bell(2, HOLE, m->value, m->flags, arena.event[3]), HV_OK);
    for (unsigned n = 0; n < 4 && !failed(); n++) {
        rings(2, HOLE, 1u << n, 5, m->five[n] == 'y' ? 3 : NOBODYS);
        rings(2, HOLE, 1u << n, 6, m->six[n] == 'y' ? 3 : NOBODYS);
        rings(2, HOLE + (1u << n), 1u << n, 5, NOBODYS);
        rings(2, HOLE - (1u << n), 1u << n, 5, NOBODYS);
    }
    expect_status("unregister", bell_off(2, HOLE, m->value, m->flags), HV_OK);
    close_arena();
}

static void name_match(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "a doorbell for %s: other writes reach the device",
                matches[i].text);
}

/* Every piece of a misaligned write has a doorbell of its very length and value; the device gets them all the same. */
static void pieces(unsigned i)
{
    const uint64_t at = i == 0 ? HOLE + 1 : 3 * PAGE - 2; /* the latter crosses a page */
    const unsigned bytes = i == 0 ? 8 : 4;
    uint64_t sequence, done = 0, count = 0;

    open_arena();
    for (uint64_t o = at; o < at + bytes; o++)
        expect_status("register", bell(2, o, 0, D_ANY | D_ALWAYS, arena.event[0]), HV_OK);
    sequence = lab_traps();
    store(GVA_BAR2 + at, bytes, 0x8877665544332211ull);
    for (struct trap_record t; done < bytes && trap_record(sequence + count, &t); count++) {
        expect_eq("offset", t.offset, at + done);
        done += t.bytes;
    }
    expect_eq("pieces", lab_traps() - sequence, count);
    expect_eq("signals", taken(arena.event[0]), 0);
    rings(2, at + (i == 0), 1, 7, 0); /* they do ring */
    for (uint64_t o = at; o < at + bytes; o++)
        expect_status("unregister", bell_off(2, o, 0, D_ANY | D_ALWAYS), HV_OK);
    close_arena();
}

static void name_pieces(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "a misaligned write%s rings for none of its pieces",
                i == 0 ? "" : " across a page");
}

static void many_rings(unsigned i)
{
    uint32_t event = event_make(i, false);
    uint64_t count, sequence = lab_traps();

    expect_status("register", bell(2, HOLE, 0, D_DWORD | D_ALWAYS, event), HV_OK);
    for (unsigned n = 0; n < RINGS; n++)
        store(GVA_BAR2 + HOLE, 4, n);
    expect_eq("accesses that the device saw", lab_traps() - sequence, 0);
    count = taken(event);
    expect_eq("signals", count, RINGS);
    expect_eq("what is left", taken(event), i == 0 ? 0 : RINGS - 1);
    expect_status("unregister", bell_off(2, HOLE, 0, D_DWORD | D_ALWAYS), HV_OK);
    handle_drop(event);
}

static void name_many(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u rings, %s event: none is lost", RINGS,
                i == 0 ? "auto-reset" : "counting");
}

/* ---- the BAR ---- */

static void follows(unsigned i)
{
    uint64_t sequence;

    (void)i;
    open_arena();
    expect_status("register", bell(2, HOLE, 5, D_WORD, arena.event[5]), HV_OK);
    lab_set_bar(2, LOW);
    store(GVA_BAR2 + HOLE, 2, 5);
    expect_eq("rung at the old address", taken(arena.event[5]), 0);
    map(GVA_BAR2, LOW, lab.bytes[2], PAGE, 0);
    rings(2, HOLE, 2, 5, 5);
    lab_decode(false);
    store(GVA_BAR2 + HOLE, 2, 5);
    lab_decode(true);
    expect_eq("rung with decode off", taken(arena.event[5]), 0);
    sequence = lab_traps();
    rings(2, HOLE, 2, 5, 5);
    /* Half an address at a time: the first write puts it where it is for a moment. */
    pci_write(lab.slot, 0, 0x10 + 4 * 3, 4, (uint32_t)(lab_home[4] >> 32) + 1);
    store(GVA_BAR2 + HOLE, 2, 5);
    expect_eq("rung at half an address", taken(arena.event[5]), 0);
    lab_home_all();
    expect_eq("accesses that the device saw", lab_traps() - sequence, 0);
    rings(2, HOLE, 2, 5, 5);
    expect_status("unregister", bell_off(2, HOLE, 5, D_WORD), HV_OK);
    close_arena();
}

/* A range that is read-only leaves writes to the device, so they can ring; one that is writeable does not. */
static void beside_ranges(unsigned i)
{
    const uint64_t at = AT * PAGE + 0x80;

    (void)i;
    open_arena();
    expect_status("map", bar_map(2, AT, 4, 0, lab.main, AT), HV_OK);
    expect_status("register", bell(2, at, 5, D_WORD, arena.event[5]), HV_OK);
    section_put(lab.main, at, 0x600d);
    expect_eq("a read", load(GVA_BAR2 + at, 8), 0x600d);
    rings(2, at, 2, 5, 5);
    rings(2, at, 2, 6, NOBODYS);
    expect_eq("the section", section_get(lab.main, at), 0x600d);
    expect_status("made writeable", bar_map(2, AT, 1, F_WRITE | F_REPLACE, lab.main, AT),
                  HV_E_CONFLICTING_ADDRESSES);
    batch_set(0, OP_UNMAP, 2, AT, 4, 0, 0, 0);
    batch_set(1, OP_CREATE, 2, AT, 1, F_WRITE, lab.main, AT);
    expect_status("in a batch", batch_run(2, BATCH_ATOMIC), HV_E_CONFLICTING_ADDRESSES);
    rings(2, at, 2, 5, 5);
    expect_status("the next page", bar_map(2, AT + 1, 3, F_WRITE | F_REPLACE, lab.main, AT + 1),
                  HV_OK);
    expect_status("its doorbell", bell(2, at + PAGE, 5, D_WORD, arena.event[6]),
                  HV_E_CONFLICTING_ADDRESSES);
    expect_status("unregister", bell_off(2, at, 5, D_WORD), HV_OK);
    expect_status("writeable at last", bar_map(2, AT, 1, F_WRITE | F_REPLACE, lab.main, AT), HV_OK);
    store(GVA_BAR2 + at, 2, 5);
    expect_eq("the section", section_get(lab.main, at), 5);
    section_put(lab.main, at, 0);
    expect_status("unmap", bar_unmap(2, AT, 4), HV_OK);
    close_arena();
}

/* ---- callbacks of the device and of events ---- */

static void on_signal(uint32_t command, const uint64_t args[5])
{
    expect_status("what a signal runs",
                  LAB(LAB_CMD_ON_SIGNAL, command, args[0], args[1], args[2], args[3], args[4]),
                  HV_OK);
}

/* Runs so far; what the last one gave goes to *status and *result. */
static uint64_t signal_runs(hv_status_t *status, uint64_t *result)
{
    uint64_t runs;

    expect_status("what a signal ran", LAB(LAB_CMD_ON_SIGNAL, 0), HV_OK);
    runs = lab_result(0);
    *status = (hv_status_t)(uint32_t)lab_result(1);
    *result = lab_result(2);
    return runs;
}

static uint64_t fnv(uint64_t seed, uint64_t words)
{
    uint64_t hash = 0xcbf29ce484222325ull;

    for (uint64_t w = 0; w < words; w++)
        for (unsigned b = 0; b < 8; b++)
            hash = (hash ^ ((seed * (w + 1)) >> (8 * b) & 0xff)) * 0x100000001b3ull;
    return hash;
}

/* 64 bytes into a page of the BAR that is memory, then the doorbell: inside the exit the device has them all. */
static void order(unsigned i)
{
    uint32_t event = event_make(1, true);
    uint64_t seed = 0x0123456789abcdefull, result;
    hv_status_t status;

    (void)i;
    expect_status("map", bar_map(2, AT, 1, F_WRITE, lab.main, AT), HV_OK);
    expect_status("register", bell(2, HOLE, 1, D_DWORD, event), HV_OK);
    for (unsigned n = 0; n < 50 && !failed(); n++, seed += 0x1111) {
        on_signal(LAB_CMD_SECTION_CHECKSUM, (const uint64_t[5]){lab.main, AT * PAGE, 64, 0, 0});
        for (unsigned w = 0; w < 8; w++)
            store(GVA_BAR2 + AT * PAGE + 8 * w, 8, seed * (w + 1));
        store(GVA_BAR2 + HOLE, 4, 1);
        expect_eq("runs", signal_runs(&status, &result), 1);
        expect_status("checksum", status, HV_OK);
        expect_eq("the device's checksum", result, fnv(seed, 8));
    }
    expect_eq("signals", taken(event), 50);
    expect_status("unregister", bell_off(2, HOLE, 1, D_DWORD), HV_OK);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(event);
}

/* What the event's callback does to its own doorbell, and to others. */
static const struct inside {
    const char *text;
    uint32_t command;
    uint64_t args[5];
    bool again; /* the same write rings once more */
} insides[] = {
    {"ends its own doorbell", LAB_CMD_DOORBELL_UNREGISTER, {0, 2, HOLE, 5, D_WORD}, false},
    {"destroys a range of the page after it", LAB_CMD_RANGE_DESTROY, {0, 2, AT, 0, 0}, true},
    {"takes the BAR's other ranges away", LAB_CMD_RANGE_UNMAP, {0, 2, AT, 64, 0}, true},
    {"closes its event's handle", LAB_CMD_HANDLE_CLOSE, {0, 0, 0, 0, 0}, true},
    {"signals itself", LAB_CMD_EVENT_SIGNAL, {0, 0, 0, 0, 0}, true},
};

static void inside(unsigned i)
{
    const struct inside *in = &insides[i];
    uint32_t event;
    uint64_t args[5], sequence, result;
    hv_status_t status;

    open_arena();
    event = event_make(0, true);
    for (unsigned n = 0; n < 5; n++)
        args[n] = in->args[n];
    if (in->command == LAB_CMD_HANDLE_CLOSE || in->command == LAB_CMD_EVENT_SIGNAL)
        args[0] = event;
    expect_status("map", bar_map(2, AT, 1, F_WRITE, lab.main, AT), HV_OK);
    expect_status("register", bell(2, HOLE, 5, D_WORD, event), HV_OK);
    on_signal(in->command, args);
    sequence = lab_traps();
    store(GVA_BAR2 + HOLE, 2, 5);
    expect_eq("runs", signal_runs(&status, &result), in->command == LAB_CMD_EVENT_SIGNAL ? 2 : 1);
    expect_status("command", status, HV_OK);
    store(GVA_BAR2 + HOLE, 2, 5);
    expect_eq("accesses that the device saw", lab_traps() - sequence, in->again ? 0 : 1);
    expect_status("unregister", bell_off(2, HOLE, 5, D_WORD), in->again ? HV_OK : HV_E_NOT_FOUND);
    expect_status("unmap", bar_unmap(2, AT, 1), HV_OK);
    if (in->command != LAB_CMD_HANDLE_CLOSE)
        handle_drop(event);
    close_arena();
}

static void name_inside(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "an event's callback %s", insides[i].text);
}

/* As a driver does: the write that says "ready" registers, all inside the device's write callback. */
static void inside_the_write(unsigned i)
{
    (void)i;
    open_arena();
    for (unsigned n = 0; n < 50 && !failed(); n++) {
        rings(0, LAB_DOORBELL, 2, 3, NOBODYS);
        expect_status("ready", bell(0, LAB_DOORBELL, 3, D_WORD, arena.event[3]), HV_OK);
        rings(0, LAB_DOORBELL, 2, 3, 3);
        expect_status("reset", bell_off(0, LAB_DOORBELL, 3, D_WORD), HV_OK);
    }
    close_arena();
}

/* The event is the doorbell's as long as it is there. */
static void closed_handle(unsigned i)
{
    uint64_t sequence;
    uint32_t event;

    (void)i;
    open_arena();
    event = event_make(0, false);
    expect_status("register", bell(2, HOLE, 5, D_WORD, event), HV_OK);
    handle_drop(event);
    sequence = lab_traps();
    store(GVA_BAR2 + HOLE, 2, 5);
    expect_eq("accesses that the device saw", lab_traps() - sequence, 0);
    expect_status("unregister", bell_off(2, HOLE, 5, D_WORD), HV_OK);
    close_arena();
}

/* ---- statuses ---- */

enum target { EVENT, SECTION, CLOSED };

static const struct status_row {
    const char *text;
    uint64_t device, bar, offset, value, flags;
    enum target target;
    hv_status_t expected;
} rows[] = {
    {"unknown device", 1, 7, ~0ull, ~0ull, 5, CLOSED, HV_E_INVALID_HANDLE},
    {"bar 7", 0, 7, ~0ull, ~0ull, 5, CLOSED, HV_E_INVALID_PARAMETER_2},
    {"upper half", 0, 3, ~0ull, ~0ull, 5, CLOSED, HV_E_NO_SUCH_BAR},
    {"length 5", 0, 2, ~0ull, ~0ull, 5, CLOSED, HV_E_INVALID_PARAMETER_5},
    {"length 7", 0, 2, HOLE, 0, 7, EVENT, HV_E_INVALID_PARAMETER_5},
    {"flag 8", 0, 2, HOLE, 0, 8 | D_WORD, EVENT, HV_E_INVALID_PARAMETER_5},
    {"flag bit 32", 0, 2, HOLE, 0, 1ull << 32 | D_WORD, EVENT, HV_E_INVALID_PARAMETER_5},
    {"behind the BAR", 0, 2, LAB_BAR2_PAGES *PAGE, ~0ull, D_ANY, CLOSED, HV_E_OUT_OF_RANGE},
    {"half behind it", 0, 2, LAB_BAR2_PAGES *PAGE - 1, ~0ull, D_WORD, CLOSED, HV_E_OUT_OF_RANGE},
    {"offset all ones", 0, 2, ~0ull, 0, D_WORD, CLOSED, HV_E_OUT_OF_RANGE},
    {"not aligned", 0, 2, HOLE + 1, ~0ull, D_WORD, CLOSED, HV_E_MAPPED_ALIGNMENT},
    {"not aligned, 8 bytes", 0, 2, HOLE + 4, 0, D_QWORD, EVENT, HV_E_MAPPED_ALIGNMENT},
    {"value wider than a byte", 0, 2, HOLE, 0x100, D_BYTE, CLOSED, HV_E_INVALID_PARAMETER_4},
    {"value wider than 4 bytes", 0, 2, HOLE, 1ull << 32, D_DWORD, EVENT, HV_E_INVALID_PARAMETER_4},
    {"wide value, any value", 0, 2, HOLE, 0x100, D_BYTE | D_ALWAYS, EVENT,
     HV_E_INVALID_PARAMETER_4},
    {"closed handle", 0, 2, HOLE, 5, D_WORD, CLOSED, HV_E_INVALID_HANDLE},
    {"handle of a section", 0, 2, HOLE, 5, D_WORD, SECTION, HV_E_OBJECT_TYPE},
    {"the same again", 0, 2, HOLE, 5, D_WORD, EVENT, HV_E_ALREADY_EXISTS},
    {"the same offset, any value", 0, 2, HOLE, 7, D_WORD | D_ALWAYS, EVENT, HV_E_ALREADY_EXISTS},
    {"the same offset, any length", 0, 2, HOLE, 7, D_ANY, EVENT, HV_E_ALREADY_EXISTS},
    {"a writeable page", 0, 2, LAB_LAST_PAGE *PAGE, 5, D_WORD, EVENT, HV_E_CONFLICTING_ADDRESSES},
    {"the same offset, another length", 0, 2, HOLE, 5, D_DWORD, EVENT, HV_OK},
    {"the same offset, another value", 0, 2, HOLE, 6, D_WORD, EVENT, HV_OK},
    {"an odd offset, any length", 0, 2, HOLE + 1, ~0ull, D_ANY, EVENT, HV_OK},
};

/* Each beside one that is there: it goes on ringing, and a failed one leaves the write to the device. */
static void status(unsigned i)
{
    const struct status_row *row = &rows[i];
    uint32_t handle;

    open_arena();
    expect_status("first", bell(2, HOLE, 5, D_WORD, arena.event[0]), HV_OK);
    handle = row->target == EVENT     ? arena.event[1]
             : row->target == SECTION ? lab.main
                                      : 0x7ffffff1u;
    expect_status("register",
                  LAB(LAB_CMD_DOORBELL_REGISTER, row->device, row->bar, row->offset, row->value,
                      row->flags, handle),
                  row->expected);
    rings(2, HOLE, 2, 5, 0);
    if (row->expected == HV_OK)
        expect_status("unregister", bell_off(2, row->offset, row->value, row->flags), HV_OK);
    rings(2, HOLE, 2, 6, NOBODYS);
    expect_status("unregister the first", bell_off(2, HOLE, 5, D_WORD), HV_OK);
    expect_status("and again", bell_off(2, HOLE, 5, D_WORD), HV_E_NOT_FOUND);
    close_arena();
}

static void name_status(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "register, %s: %s", rows[i].text, status_name(rows[i].expected));
}

static void quota(unsigned i)
{
    (void)i;
    open_arena();
    for (unsigned n = 0; n < 64; n++)
        expect_status("register", bell(2, HOLE, n, D_WORD, arena.event[n % QUEUES]), HV_OK);
    expect_status("the 65th", bell(0, LAB_DOORBELL, 0, D_WORD, arena.event[0]), HV_E_QUOTA);
    rings(2, HOLE, 2, 63, 15);
    rings(2, HOLE, 2, 0, 0);
    for (unsigned n = 0; n < 64; n++)
        expect_status("unregister", bell_off(2, HOLE, 63 - n, D_WORD), HV_OK);
    close_arena();
}

static void not_exactly(unsigned i)
{
    (void)i;
    open_arena();
    expect_status("register", bell(2, HOLE, 5, D_WORD | D_ALWAYS, arena.event[0]), HV_OK);
    expect_status("unknown device", LAB(LAB_CMD_DOORBELL_UNREGISTER, 1, 2, HOLE, 5, D_WORD),
                  HV_E_INVALID_HANDLE);
    expect_status("bar 7", bell_off(7, HOLE, 5, D_WORD), HV_E_INVALID_PARAMETER_2);
    expect_status("upper half", bell_off(3, HOLE, 5, D_WORD), HV_E_NO_SUCH_BAR);
    expect_status("another BAR", bell_off(0, HOLE, 5, D_WORD | D_ALWAYS), HV_E_NOT_FOUND);
    expect_status("another offset", bell_off(2, HOLE + 2, 5, D_WORD | D_ALWAYS), HV_E_NOT_FOUND);
    expect_status("another value", bell_off(2, HOLE, 6, D_WORD | D_ALWAYS), HV_E_NOT_FOUND);
    expect_status("without ANY_VALUE", bell_off(2, HOLE, 5, D_WORD), HV_E_NOT_FOUND);
    expect_status("another length", bell_off(2, HOLE, 5, D_DWORD | D_ALWAYS), HV_E_NOT_FOUND);
    rings(2, HOLE, 2, 77, 0);
    expect_status("exactly", bell_off(2, HOLE, 5, D_WORD | D_ALWAYS), HV_OK);
    expect_status("access length while the device runs", LAB(LAB_CMD_ACCESS_BYTES, 0, 2, 16),
                  HV_E_INVALID_STATE);
    close_arena();
}

static const struct check list[] = {
    {"doorbell", NULL, name_queues, 2, true, queues},
    {"doorbell", NULL, name_match, COUNT_OF(matches), true, match},
    {"doorbell", NULL, name_pieces, 2, true, pieces},
    {"doorbell", NULL, name_many, 2, true, many_rings},
    {"doorbell", "follows its BAR, half an address and decode off included", NULL, 0, true,
     follows},
    {"doorbell", "on a page of a read-only range; none on a writeable one", NULL, 0, true,
     beside_ranges},
    {"doorbell", "64 bytes in a direct page, then the doorbell: the device has them", NULL, 0, true,
     order},
    {"doorbell", NULL, name_inside, COUNT_OF(insides), true, inside},
    {"doorbell", "registered and ended inside the device's write callback", NULL, 0, true,
     inside_the_write},
    {"doorbell", "the event outlives its handle", NULL, 0, true, closed_handle},
    {"doorbell", NULL, name_status, COUNT_OF(rows), true, status},
    {"doorbell", "64 of one device, and no more", NULL, 0, true, quota},
    {"doorbell", "unregister wants all four as they were", NULL, 0, true, not_exactly},
};
const struct check_list checks_doorbell = {list, COUNT_OF(list)};
