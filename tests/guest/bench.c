/* Measurements in ticks of RDTSC: an empty pair is subtracted, the 16th repetition counts. */
#include "tests/guest/guest.h"

#define REPEAT       16u
#define DIRECT_READS 1000u

/* What the guest times itself, then what the lab times, in the order of LAB_BENCH_*. */
#define IN_GUEST 17u
#define NAMES    (IN_GUEST + LAB_BENCH_VIEW_MAP_1_PAGE)
static uint64_t measured[NAMES];

/*
 * The ticks from one RDTSC to the next with `insn` between. `setup` runs inside too: the empty pair has it
 * as well, so only the instruction is left when that is subtracted. `at` is in RDI.
 */
#define PAIR(ticks, setup, insn, at)                                                           \
    __asm__ volatile("rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tmov %%rax, %%r8\n\t" setup \
                     "\n\t" insn                                                               \
                     "\n\trdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tsub %%r8, %%rax"       \
                     : "=a"(ticks)                                                             \
                     : "D"(at)                                                                 \
                     : "rbx", "rcx", "rdx", "r8", "memory")

#define TIMED(ticks, setup, insn, at)              \
    do {                                           \
        for (unsigned r_ = 0; r_ < REPEAT; r_++) { \
            uint64_t with_, without_;              \
            PAIR(without_, setup, "", at);         \
            PAIR(with_, setup, insn, at);          \
            (ticks) = with_ - without_;            \
        }                                          \
    } while (0)

/* A measurement that is one instruction and nothing else. */
#define TIMED_ALONE(name, setup, insn, at) \
    static uint64_t name(void)             \
    {                                      \
        uint64_t ticks = 0;                \
                                           \
        TIMED(ticks, setup, insn, at);     \
        return ticks;                      \
    }

TIMED_ALONE(cpuid_exit, "mov $1, %%eax\n\txor %%ecx, %%ecx", "cpuid", 0ul)

TIMED_ALONE(mmio_read_4, "", "mov (%%rdi), %%ecx", GVA_REGS + LAB_ARG(7))

TIMED_ALONE(mmio_write_4, "mov $7, %%ecx", "mov %%ecx, (%%rdi)", GVA_REGS + LAB_ARG(7))

/* The last of the bus's devices, read right after the lab: whoever keeps one look-up in mind has to look again. */
static uint64_t mmio_read_4_64_regions(void)
{
    const uint32_t memory_decode = 2;
    uint64_t ticks = 0, last = 0;

    expect_status("neighbours", LAB(LAB_CMD_NEIGHBOURS, LAB_NEIGHBOURS), HV_OK);
    for (unsigned slot = 0; slot < 32; slot++)
        if (pci_read(slot, 0, 0, 4) == ((LAB_NEIGHBOUR_ID << 16) | LAB_VENDOR_ID)) {
            pci_write(slot, 0, 4, 2, memory_decode);
            last = pci_read(slot, 0, 0x10 + 4 * 5, 4) & ~0xfull;
        }
    map(GVA_TMP, last, PAGE, PAGE, 0);
    map(GVA_TMP + PAGE, lab_home[0], PAGE, PAGE, 0);
    expect_eq("the last neighbour's register", load(GVA_TMP + 0x10, 4), 0x10);
    TIMED(ticks, "mov 0x1000(%%rdi), %%ecx", "mov 0x10(%%rdi), %%ecx", GVA_TMP);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
    expect_status("no neighbours", LAB(LAB_CMD_NEIGHBOURS, 0), HV_OK);
    return ticks;
}

/* Of the only interrupt in service, in the page; nothing waits. */
static uint64_t end_of_interrupt(void)
{
    const unsigned vector = 0x61;
    uint64_t with = 0, without = 0;

    if (!irq_ready())
        return 0;
    irq_eoi_deferred = true;
    for (unsigned r = 0; r < REPEAT; r++) {
        apic_self_ipi(vector);
        irq_window();
        PAIR(without, "xor %%ecx, %%ecx", "", GVA_APIC + APIC_EOI);
        PAIR(with, "xor %%ecx, %%ecx", "mov %%ecx, (%%rdi)", GVA_APIC + APIC_EOI);
    }
    irq_eoi_deferred = false;
    expect_eq("interrupts", irq_count(vector), REPEAT);
    return with - without;
}

/* The lab's vendor and device ID; the address is there already. */
static uint64_t config_read(void)
{
    uint64_t ticks = 0;

    (void)pci_read(lab.slot, 0, 0, 4);
    TIMED(ticks, "mov $0xcfc, %%edx", "inl %%dx, %%eax", 0ul);
    return ticks;
}

/*
 * From the RDTSC in front of the store that lets the device send a message to that which the vector's handler begins
 * with: irq_stamp() keeps the first, the handler the second. Nothing is subtracted.
 */
static uint64_t msi_deliver_to_isr(void)
{
    const unsigned vector = 0x62;
    uint64_t ticks = 0;

    if (!irq_ready())
        return 0;
    trap_gate(vector, irq_stamp_entry, 0);
    for (unsigned r = 0; r < REPEAT; r++) {
        store(GVA_REGS + LAB_ARG(0), 8, 0);
        store(GVA_REGS + LAB_ARG(1), 8, msi_address(apic_id()));
        store(GVA_REGS + LAB_ARG(2), 8, msi_data(vector));
        ticks = irq_stamp(GVA_REGS + LAB_COMMAND, LAB_CMD_MSI);
        expect(apic_bit(APIC_ISR, vector), "it was that interrupt");
        apic_eoi();
    }
    irq_on(vector, NULL, NULL);
    return ticks;
}

/* The write of the lower half of its base; the upper one stays, decode stays on. */
static uint64_t bar_move_16_ranges(void)
{
    const uint64_t away = 0xd8000000ull;
    const unsigned ranges = 16, config_low = 0x10 + 4 * 2;
    uint64_t with = 0, without = 0;

    initial_put_away();
    for (unsigned k = 0; k < ranges; k++)
        expect_status("range", range_create(5 * k, 2, F_TYPE(4) | F_WRITE, lab.main, 5 * k), HV_OK);
    for (unsigned r = 0; r < REPEAT; r++) {
        (void)pci_read(lab.slot, 0, config_low, 4);
        PAIR(without, "mov %%edi, %%eax\n\tmov $0xcfc, %%edx", "", away);
        PAIR(with, "mov %%edi, %%eax\n\tmov $0xcfc, %%edx", "outl %%eax, %%dx", away);
        expect_eq("there", leaf_at(away).present, 1);
        pci_write(lab.slot, 0, config_low, 4, (uint32_t)lab_home[2]);
        expect_eq("back", leaf_at(lab_home[2]).present, 1);
    }
    for (unsigned k = 0; k < ranges; k++)
        expect_status("destroy", range_destroy(5 * k), HV_OK);
    initial_restore();
    return with - without;
}

/* A counting event, one value of several, as a notify register of many queues has it. */
static uint64_t doorbell_write(void)
{
    const uint64_t queues = 4, dword = 3;
    uint64_t ticks = 0, signals;
    uint32_t event;

    expect_status("event", LAB(LAB_CMD_EVENT_CREATE, 0, 0), HV_OK);
    event = (uint32_t)lab_result(0);
    for (uint64_t queue = 5; queue < 5 + queues; queue++)
        expect_status("doorbell",
                      LAB(LAB_CMD_DOORBELL_REGISTER, 0, 0, LAB_DOORBELL, queue, dword, event),
                      HV_OK);
    TIMED(ticks, "mov $7, %%ecx", "mov %%ecx, (%%rdi)", GVA_REGS + LAB_DOORBELL);
    expect_status("take", LAB(LAB_CMD_EVENT_TAKE, event), HV_OK);
    signals = lab_result(0);
    expect(signals == 1 || signals == REPEAT, "the event was signalled");
    for (uint64_t queue = 5; queue < 5 + queues; queue++)
        expect_status("no doorbell",
                      LAB(LAB_CMD_DOORBELL_UNREGISTER, 0, 0, LAB_DOORBELL, queue, dword), HV_OK);
    handle_drop(event);
    return ticks;
}

TIMED_ALONE(mmio_read_1, "", "mov (%%rdi), %%cl", GVA_REGS + LAB_ARG(7))

TIMED_ALONE(mmio_read_8, "", "mov (%%rdi), %%rcx", GVA_REGS + LAB_ARG(7))

TIMED_ALONE(mmio_write_8_imm, "", "movq $7, (%%rdi)", GVA_REGS + LAB_ARG(7))

TIMED_ALONE(mmio_rmw_lock_or, "mov $8, %%ecx", "lock or %%ecx, (%%rdi)", GVA_REGS + LAB_ARG(7))

/* From the whole scratch area to RAM. */
static uint64_t mmio_rep_movsd_per_element(void)
{
    static uint32_t ram[LAB_SCRATCH_BYTES / sizeof(uint32_t)];
    uint64_t ticks = 0;

    for (unsigned r = 0; r < REPEAT; r++) {
        uint64_t count = COUNT_OF(ram), from = GVA_REGS + LAB_SCRATCH;
        uint64_t to = (uint64_t)(uintptr_t)ram, a = rdtsc(), b = rdtsc(), c;

        __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
        c = rdtsc();
        ticks = (c - b) - (b - a);
    }
    return ticks / COUNT_OF(ram);
}

static uint64_t mmio_sse_store_16(void)
{
    uint64_t ticks = 0;

    vectors_on();
    TIMED(ticks, "", "movaps %%xmm0, (%%rdi)", GVA_REGS + LAB_ARG(6));
    vectors_off();
    return ticks;
}

TIMED_ALONE(direct_read, "", "mov (%%rdi), %%ecx", GVA_BAR2 + LAB_LARGER_PAGE * PAGE)

static uint64_t exits_now(void)
{
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    return lab_result(0);
}

/* Exits of 1000 direct reads, those of the query itself taken away. */
static uint64_t direct_read_exits(void)
{
    uint64_t a = exits_now(), b = exits_now(), c;

    for (unsigned k = 0; k < DIRECT_READS; k++)
        (void)load(GVA_BAR2 + LAB_LARGER_PAGE * PAGE + 8 * k, 8);
    c = exits_now();
    return (c - b) - (b - a);
}

static uint64_t through_lab(unsigned which)
{
    bool with_window = which >= LAB_BENCH_MAP_1_GIB_2M && which <= LAB_BENCH_MAP_1_GIB_1G;
    bool with_bar4 = with_window || (which >= LAB_BENCH_MAP_WITH_100_RANGES &&
                                     which <= LAB_BENCH_TOGGLE_1000_RANGES);

    if (with_bar4 && lab.bytes[4] < HUGE) {
        skip("BAR4 is smaller than 1 GiB");
        return 0;
    }
    if (with_window && lab.bar4 == 0) {
        skip("no window behind BAR4");
        return 0;
    }
    if (which == LAB_BENCH_MAP_1_GIB_1G && !(lab.caps & LAB_CAP_LARGE_1G)) {
        skip("no 1 GiB leaves");
        return 0;
    }
    expect_status("bench", LAB(LAB_CMD_BENCH, which, REPEAT), HV_OK);
    return lab_result(0);
}

static const char *const names[NAMES] = {
    "cpuid_exit",
    "mmio_read_4",
    "mmio_write_4",
    "mmio_read_4_64_regions",
    "doorbell_write",
    "mmio_read_1",
    "mmio_read_8",
    "mmio_write_8_imm",
    "mmio_rmw_lock_or",
    "mmio_rep_movsd_per_element",
    "mmio_sse_store_16",
    "apic_eoi",
    "config_read",
    "msi_deliver_to_isr",
    "bar_move_16_ranges",
    "direct_read",
    "direct_read_exits",
    "map_1_page",
    "unmap_1_page",
    "map_1_gib_2m_leaves",
    "unmap_1_gib_2m_leaves",
    "map_1_gib_1g_leaf",
    "map_512_pages_4k_leaves",
    "replace_1_page",
    "unmap_middle_of_2m",
    "batch_64_replace",
    "map_with_100_ranges",
    "unmap_with_100_ranges",
    "map_with_10000_ranges",
    "unmap_with_10000_ranges",
    "toggle_decode_1000_ranges",
    "aperture_create",
    "view_map_1_page",
};

static uint64_t (*const in_guest[IN_GUEST])(void) = {cpuid_exit,         mmio_read_4,
                                                     mmio_write_4,       mmio_read_4_64_regions,
                                                     doorbell_write,     mmio_read_1,
                                                     mmio_read_8,        mmio_write_8_imm,
                                                     mmio_rmw_lock_or,   mmio_rep_movsd_per_element,
                                                     mmio_sse_store_16,  end_of_interrupt,
                                                     config_read,        msi_deliver_to_isr,
                                                     bar_move_16_ranges, direct_read,
                                                     direct_read_exits};

static void run(unsigned i)
{
    measured[i] = i < IN_GUEST ? in_guest[i]() : through_lab(i - IN_GUEST + LAB_BENCH_MAP_1_PAGE);
    if (i == IN_GUEST - 1)
        expect_eq("exits", measured[i], 0);
    say("# bench %s %lu\n", names[i], measured[i]);
}

static void name_bench(char *out, unsigned i)
{
    /* asked for once more after the run */
    format_text(out, NAME_ROOM, "%s %lu", names[i], measured[i]);
}

static const struct check list[] = {{"bench", NULL, name_bench, NAMES, true, run}};
const struct check_list checks_bench = {list, COUNT_OF(list)};
