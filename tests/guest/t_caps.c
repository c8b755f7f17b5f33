/*
 * Capabilities of devices and their interrupts, as a driver finds them: by the list in config space. The drive is a neighbour
 * with an MSI-X table in the middle of its registers, as NVMe drives have it, and with everything else of them mapped; the
 * lab has MSI; a third device can sleep.
 */
#include "tests/guest/guest.h"

#define CAP_POWER      0x01u
#define CAP_MSI        0x05u
#define CAP_EXPRESS    0x10u
#define CAP_MSIX       0x11u
#define CFG_COMMAND    0x04u
#define CFG_STATUS     0x06u
#define CFG_BAR0       0x10u
#define CFG_POINTER    0x34u
#define COMMAND_MEMORY 0x2u
#define COMMAND_MASTER 0x4u
#define STATUS_LIST    0x10u
#define MSIX_ENABLE    0x8000u
#define MSIX_MASK      0x4000u
#define RESET_OFFERED  0x10000000u
#define RESET          0x8000u

#define SLOT           20u
#define DRIVE_PAGES    16u
#define DRIVE_HOME     0xe4000000ull
#define DRIVE_AWAY     0xe5230000ull
#define TABLE_PAGE     (LAB_NVME_TABLE / PAGE)
#define PENDING_PAGE   (LAB_NVME_PENDING / PAGE)
#define TABLE_END      (LAB_NVME_TABLE + LAB_NVME_VECTORS * 16u)
#define PENDING_END    (LAB_NVME_PENDING + 24u) /* three words for 129 bits */
#define ENTRY(v)       (GVA_TMP + LAB_NVME_TABLE + 16u * (v))
#define PENDING(word)  (GVA_TMP + LAB_NVME_PENDING + 8u * (word))
#define VECTOR(v)      (0x40u + (v) % 0x80u)
#define ENOUGH         1000000000ull /* ticks: an interrupt that comes has come */

/* ---- a device of the lab's bus ---- */

static uint64_t selector; /* of the neighbour */

static uint64_t word_of(const char *text, unsigned from)
{
    uint64_t word = 0;

    for (unsigned i = 0; text[i] != '\0'; i++)
        if (i >= from && i < from + 8)
            word |= (uint64_t)(uint8_t)text[i] << (8 * (i - from));
    return word;
}

static void add(const char *kind)
{
    static const char model[] = "neighbour";

    expect_status("added",
                  LAB(LAB_CMD_DEVICE_ADD, word_of(model, 0), word_of(model, 8), SLOT << 8,
                      word_of(kind, 0), word_of(kind, 8)),
                  HV_OK);
    selector = lab_result(0);
}

static void remove_it(void)
{
    expect_status("removed", LAB(LAB_CMD_DEVICE_REMOVE, selector), HV_OK);
}

static uint64_t seen(unsigned what)
{
    expect_status("what it saw", LAB(LAB_CMD_DEVICE_SEEN, selector), HV_OK);
    return lab_result(what);
}

static bool raise(uint64_t of, unsigned vector)
{
    return expect_status("raise", LAB(LAB_CMD_RAISE, of, vector), HV_OK);
}

static void put(unsigned offset, unsigned bytes, uint32_t value)
{
    pci_write(SLOT, 0, offset, bytes, value);
}

static uint32_t get(unsigned offset, unsigned bytes)
{
    return pci_read(SLOT, 0, offset, bytes);
}

/* Where the guest has BAR0, behind GVA_TMP. */
static void set_bar0(uint64_t base)
{
    put(CFG_BAR0, 4, (uint32_t)base);
    put(CFG_BAR0 + 4, 4, (uint32_t)(base >> 32));
    map(GVA_TMP, base, DRIVE_PAGES * PAGE, PAGE, pat_index_of(PAT_UC));
}

/* ---- the list ---- */

/* The offset of a capability, or 0. Any list ends within 48 steps. */
static unsigned find(unsigned slot, unsigned id)
{
    unsigned at = pci_read(slot, 0, CFG_POINTER, 1) & 0xfcu;

    if (!(pci_read(slot, 0, CFG_STATUS, 2) & STATUS_LIST))
        return 0;
    for (unsigned steps = 0; at != 0 && steps < 48; steps++) {
        if (at < 0x40 || pci_read(slot, 0, at, 1) == id)
            return at < 0x40 ? 0 : at;
        at = pci_read(slot, 0, at + 1, 1) & 0xfcu;
    }
    return 0;
}

static unsigned bytes_of(unsigned id)
{
    return id == CAP_MSI ? 24 : id == CAP_MSIX ? 12 : id == CAP_EXPRESS ? 60 : 8;
}

/* Each list: it ends, nothing in it overlaps, and every capability is one that is known. */
static void walk(unsigned slot, unsigned count)
{
    uint64_t used[4] = {0, 0, 0, 0};
    unsigned at = pci_read(slot, 0, CFG_POINTER, 1), n = 0;

    expect(pci_read(slot, 0, CFG_STATUS, 2) & STATUS_LIST, "STATUS says that there is a list");
    for (; at != 0 && n < 48; n++) {
        unsigned id = pci_read(slot, 0, at, 1);

        expect(at >= 0x40 && at % 4 == 0, "where it is");
        expect(id == CAP_POWER || id == CAP_MSI || id == CAP_EXPRESS || id == CAP_MSIX, "known");
        for (unsigned o = at; o < at + bytes_of(id) && o < 0x100; o += 4) {
            expect(!(used[o / 64] >> o % 64 & 1), "no overlap");
            used[o / 64] |= 1ull << o % 64;
        }
        at = pci_read(slot, 0, at + 1, 1);
    }
    expect_eq("capabilities", n, count);
}

static void lists(unsigned i)
{
    (void)i;
    walk(lab.slot, 2);
    add("nvme");
    walk(SLOT, 2);
    remove_it();
    add("w1c");
    walk(SLOT, 2);
    remove_it();
    add("plain");
    expect_eq("no list", get(CFG_STATUS, 2) & STATUS_LIST, 0);
    expect_eq("no pointer", get(CFG_POINTER, 1), 0);
    remove_it();
}

static void express(unsigned i)
{
    unsigned at;

    (void)i;
    add("nvme");
    at = find(SLOT, CAP_EXPRESS);
    expect_eq("version 2, an integrated endpoint", get(at + 2, 2), 0x92);
    expect(get(at + 4, 4) & RESET_OFFERED, "a reset is offered");
    expect_eq("payload", get(at + 4, 4) & 7, 0);
    expect_eq("reading the control gives no reset", get(at + 8, 2) & RESET, 0);
    put(at + 8, 2, 0x50af);
    expect_eq("what is written is kept, but for the payload", get(at + 8, 2), 0x500f);
    expect_eq("no error, nothing under way", get(at + 10, 2), 0);
    remove_it();
}

/* ---- the drive: scenario "MSI-X inside a mapped BAR" ---- */

static const struct {
    uint8_t first, pages;
} drive_ranges[] = {{0, 5}, {6, 7}, {14, 2}};

static hv_status_t drive_map(uint64_t page, uint64_t pages, uint32_t flags, uint32_t section)
{
    return LAB(LAB_CMD_RANGE_CREATE, selector, 0, page, pages, flags, section, page);
}

static bool is_hole(uint64_t page)
{
    return page == TABLE_PAGE || page == PENDING_PAGE;
}

static void drive_program(unsigned vector, bool masked)
{
    store(ENTRY(vector), 8, msi_address(apic_id()));
    store(ENTRY(vector) + 8, 4, msi_data(VECTOR(vector)));
    store(ENTRY(vector) + 12, 4, masked);
}

static void drive_control(unsigned control)
{
    put(find(SLOT, CAP_MSIX) + 2, 2, control);
}

/* Plugged in, its registers mapped but for the two pages, MSI-X on. */
static uint32_t drive_open(void)
{
    uint32_t section = section_make(DRIVE_PAGES * PAGE, S_COMMIT);

    marks_put(section, 0xd, 0, DRIVE_PAGES);
    add("nvme");
    set_bar0(DRIVE_HOME);
    put(CFG_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    for (unsigned i = 0; i < COUNT_OF(drive_ranges); i++)
        expect_status("mapped",
                      drive_map(drive_ranges[i].first, drive_ranges[i].pages, F_WRITE, section),
                      HV_OK);
    drive_control(MSIX_ENABLE);
    return section;
}

static void drive_close(uint32_t section)
{
    put(CFG_COMMAND, 2, 0);
    expect_status("unmapped", LAB(LAB_CMD_RANGE_UNMAP, selector, 0, 0, DRIVE_PAGES), HV_OK);
    remove_it();
    handle_drop(section);
}

/* All pages but two are direct, there and nowhere else. */
static void drive_pages(uint64_t base)
{
    for (uint64_t page = 0; page < DRIVE_PAGES; page++) {
        expect_eq("direct", leaf_at(base + page * PAGE).present, !is_hole(page));
        if (!is_hole(page))
            expect(marks_seen(GVA_TMP + page * PAGE, 0xd, page, 1), "its page");
    }
}

/* Each is raised with interrupts off, then they come in the guest's ISR. */
static void drive_raise(unsigned vector)
{
    uint32_t before = irq_count(VECTOR(vector));

    raise(selector, vector);
    expect(irq_wait_count(VECTOR(vector), before + 1, ENOUGH), "the interrupt comes");
    expect_eq("once", irq_count(VECTOR(vector)), before + 1);
}

/* Registers in the pages of the table and of the pending bits: the device sees them; it sees nothing of the core's. */
static void drive_registers(void)
{
    static const uint32_t at[] = {
        TABLE_PAGE * PAGE,   LAB_NVME_TABLE - 4,   TABLE_END,   TABLE_PAGE * PAGE + 0xffc,
        PENDING_PAGE * PAGE, LAB_NVME_PENDING - 4, PENDING_END, PENDING_PAGE * PAGE + 0xffc};

    for (unsigned i = 0; i < COUNT_OF(at); i++) {
        uint64_t reads = seen(LAB_SEEN_READS), writes = seen(LAB_SEEN_WRITES);

        expect_eq("a register", load(GVA_TMP + at[i], 4), at[i]);
        expect_eq("seen", seen(LAB_SEEN_READS), reads + 1);
        expect_eq("where", seen(LAB_SEEN_OFFSET), at[i]);
        store(GVA_TMP + at[i], 4, 0x1000 + i);
        expect_eq("written", seen(LAB_SEEN_WRITES), writes + 1);
        expect_eq("what", seen(LAB_SEEN_VALUE), 0x1000 + i);
    }
}

static void drive_table(void)
{
    uint64_t reads = seen(LAB_SEEN_READS), writes = seen(LAB_SEEN_WRITES);

    for (unsigned v = 0; v < LAB_NVME_VECTORS; v++) {
        expect_eq("masked at first", load(ENTRY(v) + 12, 4), 1);
        drive_program(v, false);
        expect_eq("address", load(ENTRY(v), 8), msi_address(apic_id()));
        expect_eq("data, not masked", load(ENTRY(v) + 8, 8), msi_data(VECTOR(v)));
        store(ENTRY(v) + 8, 1, 0xff);
        store(ENTRY(v) + 10, 2, 0xffff);
        expect_eq("a narrow write is ignored", load(ENTRY(v) + 8, 4), msi_data(VECTOR(v)));
        expect_eq("a narrow read is answered", load(ENTRY(v) + 8, 1), VECTOR(v));
    }
    for (unsigned word = 0; word < 3; word++) {
        store(PENDING(word), 8, ~0ull);
        expect_eq("pending bits are read only", load(PENDING(word), 8), 0);
    }
    expect_eq("the device saw no read", seen(LAB_SEEN_READS), reads);
    expect_eq("nor a write", seen(LAB_SEEN_WRITES), writes);
}

static void drive(unsigned i)
{
    struct world before;
    uint32_t section;
    unsigned at;

    (void)i;
    if (!irq_ready())
        return;
    world_note(&before);
    section = drive_open();
    at = find(SLOT, CAP_MSIX);
    expect_eq("vectors - 1", get(at + 2, 2), MSIX_ENABLE | (LAB_NVME_VECTORS - 1));
    expect_eq("table in BAR0", get(at + 4, 4), LAB_NVME_TABLE);
    expect_eq("pending bits in BAR0", get(at + 8, 4), LAB_NVME_PENDING);
    drive_pages(DRIVE_HOME);
    drive_table();
    drive_registers();
    for (unsigned v = 0; v < LAB_NVME_VECTORS; v++)
        drive_raise(v);
    expect_status("no such vector", LAB(LAB_CMD_RAISE, selector, LAB_NVME_VECTORS),
                  HV_E_INVALID_PARAMETER_2);
    /* Somewhere else, with decode on. */
    set_bar0(DRIVE_AWAY);
    drive_pages(DRIVE_AWAY);
    for (uint64_t page = 0; page < DRIVE_PAGES; page++)
        expect_eq("gone from there", leaf_at(DRIVE_HOME + page * PAGE).present, 0);
    expect_eq("the entry", load(ENTRY(3) + 8, 8), msi_data(VECTOR(3)));
    drive_raise(3);
    drive_registers();
    drive_close(section);
    world_same(&before, "when the drive is gone");
}

/* No range over the two pages, whatever it replaces and however it is made. */
static void drive_holes(unsigned i)
{
    uint32_t section = drive_open();

    (void)i;
    for (unsigned first = 0; first < DRIVE_PAGES; first++)
        for (unsigned pages = 1; first + pages <= DRIVE_PAGES; pages++) {
            bool over = (first <= TABLE_PAGE && first + pages > TABLE_PAGE) ||
                        (first <= PENDING_PAGE && first + pages > PENDING_PAGE);

            if (over &&
                !expect_status("over a hole", drive_map(first, pages, F_WRITE | F_REPLACE, section),
                               HV_E_CONFLICTING_ADDRESSES))
                return;
        }
    batch_set(0, OP_CREATE, 0, TABLE_PAGE, 1, F_REPLACE, section, 0);
    expect_status("in a batch", LAB(LAB_CMD_BATCH, selector, 1, BATCH_ATOMIC),
                  HV_E_CONFLICTING_ADDRESSES);
    expect_status("one replaced beside them",
                  drive_map(TABLE_PAGE + 1, 1, F_WRITE | F_REPLACE, section), HV_OK);
    drive_pages(DRIVE_HOME);
    drive_close(section);
}

static void drive_masks(unsigned i)
{
    static const unsigned vectors[] = {0, 3, 63, 64, 128};
    uint32_t section;

    (void)i;
    if (!irq_ready())
        return;
    section = drive_open();
    for (unsigned k = 0; k < COUNT_OF(vectors); k++) {
        unsigned v = vectors[k];

        /* by its own mask */
        drive_program(v, true);
        raise(selector, v);
        irq_window();
        expect_eq("masked", irq_count(VECTOR(v)), 0);
        expect_eq("pending", load(PENDING(v / 64), 8), 1ull << v % 64);
        store(ENTRY(v) + 12, 4, 0);
        expect(irq_wait_count(VECTOR(v), 1, ENOUGH), "it comes when unmasked");
        expect_eq("no longer pending", load(PENDING(v / 64), 8), 0);
        /* by the mask of all */
        drive_control(MSIX_ENABLE | MSIX_MASK);
        raise(selector, v);
        irq_window();
        expect_eq("all are masked", irq_count(VECTOR(v)), 1);
        expect_eq("pending again", load(PENDING(v / 64), 8), 1ull << v % 64);
        drive_control(MSIX_ENABLE);
        expect(irq_wait_count(VECTOR(v), 2, ENOUGH), "it comes when all are unmasked");
        /* not at all */
        put(CFG_COMMAND, 2, COMMAND_MEMORY);
        raise(selector, v);
        put(CFG_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
        drive_control(0);
        raise(selector, v);
        drive_control(MSIX_ENABLE);
        irq_window();
        expect_eq("no bus master, or not enabled: never", irq_count(VECTOR(v)), 2);
        irq_forget();
    }
    drive_close(section);
}

/* ---- MSI: the lab's ---- */

static void msi(unsigned i)
{
    const unsigned base = 0x60;
    unsigned at, granted;
    uint32_t command = pci_read(lab.slot, 0, CFG_COMMAND, 2);

    (void)i;
    if (!irq_ready())
        return;
    at = find(lab.slot, CAP_MSI);
    if (!expect(at != 0, "the lab has it"))
        return;
    expect_eq("16 vectors, 64 bits, masks", pci_read(lab.slot, 0, at + 2, 2), 0x0188);
    pci_write(lab.slot, 0, CFG_COMMAND, 2, command | COMMAND_MASTER);
    pci_write(lab.slot, 0, at + 4, 4, (uint32_t)msi_address(apic_id()));
    pci_write(lab.slot, 0, at + 8, 4, 0);
    pci_write(lab.slot, 0, at + 12, 2, msi_data(base));
    for (granted = 0; granted <= 4; granted++) {
        irq_forget();
        pci_write(lab.slot, 0, at + 2, 2, 1u | granted << 4);
        for (unsigned v = 0; v < 16; v++) {
            unsigned comes = base + v % (1u << granted);
            uint32_t before = irq_count(comes);

            raise(0, v);
            expect(irq_wait_count(comes, before + 1, ENOUGH), "it comes");
        }
        expect_eq("16 in all", irq_total - irq_count(IRQ_TIMEOUT), 16);
    }
    irq_forget();
    pci_write(lab.slot, 0, at + 16, 4, 0x8001);
    raise(0, 0);
    raise(0, 15);
    raise(0, 15);
    irq_window();
    expect_eq("masked", irq_count(base) + irq_count(base + 15), 0);
    expect_eq("pending", pci_read(lab.slot, 0, at + 20, 4), 0x8001);
    pci_write(lab.slot, 0, at + 17, 1, 0);
    expect(irq_wait_count(base + 15, 1, ENOUGH), "one comes");
    expect_eq("pending is the other", pci_read(lab.slot, 0, at + 20, 4), 1);
    pci_write(lab.slot, 0, at + 16, 4, 0);
    expect(irq_wait_count(base, 1, ENOUGH), "the other");
    irq_window();
    expect_eq("each once", irq_count(base) + irq_count(base + 15), 2);
    pci_write(lab.slot, 0, at + 2, 2, 0);
    pci_write(lab.slot, 0, CFG_COMMAND, 2, command);
}

/* A message without a capability; and what is no message. */
static void message(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    expect_status("a message", LAB(LAB_CMD_MSI, 0, msi_address(apic_id()), msi_data(0x77)), HV_OK);
    expect(irq_wait_count(0x77, 1, ENOUGH), "it comes");
    expect_status("to nobody", LAB(LAB_CMD_MSI, 0, msi_address(apic_id() ^ 1), msi_data(0x77)),
                  HV_OK);
    expect_status("no address of interrupts", LAB(LAB_CMD_MSI, 0, 0xfed00000, 0x77),
                  HV_E_INVALID_PARAMETER_2);
    expect_status("above 4 GiB", LAB(LAB_CMD_MSI, 0, 0x1fee00000, 0x77), HV_E_INVALID_PARAMETER_2);
    expect_status("a reserved mode", LAB(LAB_CMD_MSI, 0, msi_address(apic_id()), 0x377),
                  HV_E_INVALID_PARAMETER_3);
    expect_status("an unknown device", LAB(LAB_CMD_MSI, 1, msi_address(apic_id()), 0x77),
                  HV_E_INVALID_HANDLE);
    irq_window();
    expect_eq("no other came", irq_count(0x77), 1);
}

/* ---- sleep and reset ---- */

static void sleep(unsigned i)
{
    unsigned at;

    (void)i;
    add("w1c");
    at = find(SLOT, CAP_POWER);
    put(CFG_BAR0, 4, (uint32_t)DRIVE_HOME);
    map(GVA_TMP, DRIVE_HOME, PAGE, PAGE, pat_index_of(PAT_UC));
    put(CFG_COMMAND, 2, COMMAND_MEMORY);
    expect_eq("it answers", load(GVA_TMP + 0x20, 4), 0x20);
    expect_eq("awake, and nothing is lost in sleep", get(at + 4, 2), 8);
    put(at + 4, 2, 3);
    expect_eq("D3hot", get(at + 4, 2), 0xb);
    expect_eq("nobody", load(GVA_TMP + 0x20, 4), 0xffffffff);
    expect_eq("config space answers", get(0, 2), LAB_VENDOR_ID);
    put(CFG_COMMAND, 2, 0);
    put(CFG_COMMAND, 2, COMMAND_MEMORY);
    expect_eq("nobody for all that", load(GVA_TMP + 0x20, 4), 0xffffffff);
    put(at + 4, 2, 1);
    expect_eq("there is no D1", get(at + 4, 2), 0xb);
    put(at + 4, 2, 0);
    expect_eq("it answers again", load(GVA_TMP + 0x20, 4), 0x20);
    remove_it();
}

static void reset(unsigned i)
{
    uint32_t section;
    unsigned at;

    (void)i;
    if (!irq_ready())
        return;
    section = drive_open();
    drive_program(3, true);
    raise(selector, 3);
    expect_eq("pending", load(PENDING(0), 8), 8);
    at = find(SLOT, CAP_EXPRESS);
    put(at + 8, 2, get(at + 8, 2) | RESET);
    expect_eq("the device is told", seen(LAB_SEEN_RESETS), 1);
    expect_eq("decode and bus mastering are off", get(CFG_COMMAND, 2), 0);
    expect_eq("MSI-X is off", get(find(SLOT, CAP_MSIX) + 2, 2), LAB_NVME_VECTORS - 1);
    expect_eq("reads 0", get(at + 8, 2) & RESET, 0);
    expect_eq("nobody at its place", leaf_at(DRIVE_HOME).present, 0);
    set_bar0(DRIVE_AWAY);
    put(CFG_COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
    drive_pages(DRIVE_AWAY); /* ranges are as they were */
    expect_eq("the table is as at first", load(ENTRY(3), 8), 0);
    expect_eq("masked", load(ENTRY(3) + 8, 8), 1ull << 32);
    expect_eq("nothing is pending", load(PENDING(0), 8), 0);
    drive_control(MSIX_ENABLE);
    drive_program(3, false);
    irq_window();
    expect_eq("nothing came", irq_count(VECTOR(3)), 0);
    drive_raise(3);
    drive_close(section);
}

static const struct check list[] = {
    {"caps", "lists that end, without overlap", NULL, 0, true, lists},
    {"caps", "PCI Express", NULL, 0, true, express},
    {"caps", "a drive: MSI-X inside a mapped BAR, which moves", NULL, 0, true, drive},
    {"caps", "a drive: no range over its table and pending bits", NULL, 0, true, drive_holes},
    {"caps", "a drive: masks of vectors and of all, pending bits", NULL, 0, true, drive_masks},
    {"caps", "MSI: granted vectors, masks, pending bits", NULL, 0, true, msi},
    {"caps", "messages without a capability", NULL, 0, true, message},
    {"caps", "D3hot and back", NULL, 0, true, sleep},
    {"caps", "function-level reset", NULL, 0, true, reset},
};
const struct check_list checks_caps = {list, COUNT_OF(list)};
