/*
 * A device with queues, as virtio has them: one 2-byte register to which the guest writes the number of a queue, a doorbell
 * for each, and beside it a page of memory that both share. On the lab, which registers inside its own write callback, and
 * on a neighbour with the register at offset 38h, for which another device does.
 */
#include "tests/guest/pci.h"

#define SLOT      12u
#define QUEUES    16u
#define NOTIFY    0x38u
#define STATUS    0x14u
#define DRIVER_OK 0x0fu
#define D_BYTE    1u
#define D_WORD    2u
#define RINGS     10000u
#define NOBODYS   99u
#define AREA_PAGE (LAB_FREE_PAGE + 512u) /* of the lab's BAR2 */
#define REGS      GVA_TMP
#define AREA      (GVA_TMP + LARGE)

static struct {
    struct totals before;
    struct pci_function f; /* with the neighbour */
    uint64_t device;       /* selector; 0: the lab */
    uint64_t notify, gva;  /* offset in BAR0 of the register, and where it is */
    unsigned area_bar;
    uint64_t area_page, area_gva;
    uint32_t section, event[QUEUES];
} v;

static uint64_t accesses(void)
{
    return v.device == 0
               ? lab_traps()
               : device_seen(v.device, LAB_SEEN_WRITES) + device_seen(v.device, LAB_SEEN_READS);
}

static uint64_t taken(unsigned q)
{
    expect_status("take", LAB(LAB_CMD_EVENT_TAKE, v.event[q]), HV_OK);
    return lab_result(0);
}

static hv_status_t bell(unsigned q)
{
    return LAB(LAB_CMD_DOORBELL_REGISTER, v.device, 0, v.notify, q, D_WORD, v.event[q]);
}

static void bells_off(void)
{
    for (unsigned q = 0; q < QUEUES; q++)
        expect_status("unregister",
                      LAB(LAB_CMD_DOORBELL_UNREGISTER, v.device, 0, v.notify, q, D_WORD), HV_OK);
}

static bool open(bool neighbour)
{
    v.before = totals();
    v.device = 0;
    v.notify = LAB_DOORBELL;
    v.gva = GVA_REGS + LAB_DOORBELL;
    v.area_bar = 2;
    v.area_page = AREA_PAGE;
    v.area_gva = GVA_BAR2 + AREA_PAGE * PAGE;
    if (neighbour) {
        if (!neighbour_add("nvme", SLOT, &v.f, &v.device))
            return false;
        bar_show(&v.f, 0, REGS, PAGE, PAGE, PAT_UC);
        bar_show(&v.f, 4, AREA, PAGE, PAGE, PAT_WB);
        v.notify = NOTIFY;
        v.gva = REGS + NOTIFY;
        v.area_bar = 4;
        v.area_page = 0;
        v.area_gva = AREA;
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
        v.event[q] = (uint32_t)lab_result(0);
    }
    v.section = section_make(PAGE, S_COMMIT);
    expect_status(
        "the area",
        LAB(LAB_CMD_RANGE_CREATE, v.device, v.area_bar, v.area_page, 1, F_WRITE, v.section, 0),
        HV_OK);
    return true;
}

static void close(void)
{
    struct totals after;

    for (unsigned q = 0; q < QUEUES; q++)
        handle_drop(v.event[q]);
    handle_drop(v.section);
    expect_status("the area", LAB(LAB_CMD_RANGE_UNMAP, v.device, v.area_bar, v.area_page, 1),
                  HV_OK);
    if (v.device != 0)
        expect_status("removed", device_remove(v.device), HV_OK);
    after = totals();
    totals_equal(&v.before, &after);
}

/* The device saw one write, this one. */
static void expect_callback(uint64_t offset, unsigned bytes, uint64_t value)
{
    struct trap_record t = {0, 0, 0, 0, 0};

    if (v.device == 0) {
        trap_record(lab_traps() - 1, &t);
    } else {
        t.bar = device_seen(v.device, LAB_SEEN_BAR);
        t.offset = device_seen(v.device, LAB_SEEN_OFFSET);
        t.bytes = device_seen(v.device, LAB_SEEN_LENGTH);
        t.value = device_seen(v.device, LAB_SEEN_VALUE);
    }
    expect_eq("BAR", t.bar, 0);
    expect_eq("offset", t.offset, offset);
    expect_eq("width", t.bytes, bytes);
    expect_eq("value", t.value, value);
}

/* One write: event q gets a signal and the device sees nothing; NOBODYS: the device sees it. See nothing_left(). */
static void writes(unsigned further, unsigned bytes, uint64_t value, unsigned q)
{
    uint64_t sequence = accesses();

    store(v.gva + further, bytes, value);
    expect_eq("accesses that the device saw", accesses() - sequence, q == NOBODYS);
    if (q == NOBODYS)
        expect_callback(v.notify + further, bytes, value);
    if (q != NOBODYS)
        expect_eq("its event", taken(q), 1);
}

/* What went to another event than it should is still there. */
static void nothing_left(void)
{
    for (unsigned q = 0; q < QUEUES; q++)
        expect_eq("signals of nobody's", taken(q), 0);
}

/* Descriptors are in the area when the queue is rung, and the area never traps. */
static void area(void)
{
    uint64_t sequence = accesses();

    for (unsigned q = 0; q < QUEUES && !failed(); q++) {
        store(v.area_gva + 8 * q, 8, mark_of(3, q));
        store(v.gva, 2, q);
        expect_eq("signal", taken(q), 1);
        expect_eq("in the section", section_get(v.section, 8 * q), mark_of(3, q));
        section_put(v.section, 8 * q, ~mark_of(3, q));
        expect_eq("from the section", load(v.area_gva + 8 * q, 8), ~mark_of(3, q));
    }
    expect_eq("accesses that the device saw", accesses() - sequence, 0);
    expect_status("a doorbell in the area",
                  LAB(LAB_CMD_DOORBELL_REGISTER, v.device, v.area_bar, v.area_page * PAGE + NOTIFY,
                      0, D_WORD, v.event[0]),
                  HV_E_CONFLICTING_ADDRESSES);
    expect_status("an area over the doorbells",
                  LAB(LAB_CMD_RANGE_CREATE, v.device, 0, 0, 1, F_WRITE | F_REPLACE, v.section, 0),
                  HV_E_CONFLICTING_ADDRESSES);
}

static void queues(unsigned i)
{
    uint64_t sequence;

    if (!open(i == 1))
        return;
    for (unsigned q = 0; q < QUEUES; q++)
        expect_status("register", bell(q), HV_OK);
    for (unsigned q = 0; q < QUEUES && !failed(); q++)
        writes(0, 2, q, q);
    nothing_left();
    writes(0, 2, 5, 5);
    writes(0, 2, 99, NOBODYS);
    writes(0, 2, 0x10f, NOBODYS);
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
        writes(0, bytes, 5, bytes == 2 ? 5 : NOBODYS);
    writes(2, 2, 5, NOBODYS);
    sequence = accesses();
    expect_eq("a read", load(v.gva, 2), i == 0 ? 5 : NOTIFY);
    expect_eq("reads that the device saw", accesses() - sequence, 1);
    nothing_left();
    area();
    writes(0, 2, 5, 5); /* a refused range changes nothing */
    bells_off();
    writes(0, 2, 5, NOBODYS);
    nothing_left();
    close();
}

static void name_queues(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u queues beside a mapped page, %s", QUEUES,
                i == 0 ? "on the lab" : "on a neighbour at offset 38h");
}

/* ---- the write that says that the driver is ready ---- */

static hv_status_t ready(unsigned q)
{
    expect_status("what a signal runs",
                  LAB(LAB_CMD_ON_SIGNAL, LAB_CMD_DOORBELL_REGISTER, v.device, 0, v.notify, q,
                      D_WORD, v.event[q]),
                  HV_OK);
    store(REGS + STATUS, 1, DRIVER_OK);
    expect_status("what a signal ran", LAB(LAB_CMD_ON_SIGNAL, 0), HV_OK);
    expect_eq("runs", lab_result(0), 1);
    return (hv_status_t)(uint32_t)lab_result(1);
}

/* Inside the exit of that write the doorbells come; a reset takes them away; and once more. */
static void driver_ok(unsigned i)
{
    uint64_t sequence;
    uint32_t event;

    (void)i;
    if (!open(true))
        return;
    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 1), HV_OK);
    event = (uint32_t)lab_result(0);
    expect_status("status register",
                  LAB(LAB_CMD_DOORBELL_REGISTER, v.device, 0, STATUS, DRIVER_OK, D_BYTE, event),
                  HV_OK);
    for (unsigned round = 0; round < 2 && !failed(); round++) {
        for (unsigned q = 0; q < QUEUES && !failed(); q++) {
            writes(0, 2, q, NOBODYS);
            expect_status("register", ready(q), HV_OK);
            writes(0, 2, q, q);
        }
        expect_status("ready again", ready(3), HV_E_ALREADY_EXISTS);
        sequence = accesses();
        store(REGS + STATUS, 1, 0);
        expect_eq("a reset that the device saw", accesses() - sequence, 1);
        bells_off();
        nothing_left();
    }
    handle_drop(event); /* the doorbell keeps it, and goes with the device */
    close();
}

/* ---- many ---- */

static void many(unsigned i)
{
    uint32_t seed = 0x2545f491u, last = 0;
    uint64_t count[QUEUES] = {0}, sequence;

    if (!open(i == 1))
        return;
    for (unsigned q = 0; q < QUEUES; q++)
        expect_status("register", bell(q), HV_OK);
    sequence = accesses();
    for (unsigned n = 0; n < RINGS; n++) {
        last = random_next(&seed) % QUEUES;
        store(v.gva, 2, last);
        count[last]++;
    }
    expect_eq("accesses that the device saw", accesses() - sequence, 0);
    expect(count[last] != 0, "the last one");
    for (unsigned q = 0; q < QUEUES; q++)
        expect_eq("signals", taken(q), count[q]);
    writes(0, 2, last, last);
    nothing_left();
    bells_off();
    close();
}

static void name_many(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u rings of %u queues in any order, %s: none is lost", RINGS,
                QUEUES, i == 0 ? "on the lab" : "on a neighbour");
}

static const struct check list[] = {
    {"virtio", NULL, name_queues, 2, true, queues},
    {"virtio", "doorbells that come inside the write that says \"ready\"", NULL, 0, true,
     driver_ok},
    {"virtio", NULL, name_many, 2, true, many},
};
const struct check_list checks_virtio = {list, COUNT_OF(list)};
