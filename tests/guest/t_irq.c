/*
 * Interrupts against everything else that happens to a guest: accesses that exit, faults of the guest's own, single
 * steps, shadows, HLT. What needs a page that traps takes the lab's; without the lab the local APIC's page or
 * RAM stands
 * in for it, so that all of it runs on QEMU's own hardware as well.
 */
#include "tests/guest/guest.h"

#define VECTOR      0x90u
#define OTHER       0x55u
#define HOLE_PAGE   2u
#define ELEMENTS    512u
#define GIVE_UP     4000000000ull
#define ROUNDS      1500u
#define TICKS       400u /* interrupts of a timer in a loop of accesses */
#define STACK       2u   /* the number of the task's stack that checks may have */
#define FLAG_IF     0x200ull
#define USER_CS     0x33u
#define ICR_SELF_TO (ICR_SELF | ICR_ASSERT)

extern const uint8_t code_cpuid[];

/* A register that can be read and written any time, behind an exit if there is anything to exit to. */
static uint64_t harmless(void)
{
    return lab.present ? GVA_REGS + LAB_SCRATCH : GVA_APIC + APIC_LDR;
}

static void timer(uint32_t mode, uint32_t count)
{
    apic_write(APIC_TIMER, mode | VECTOR);
    apic_write(APIC_INITIAL, count);
}

static void timer_off(void)
{
    apic_write(APIC_TIMER, LVT_MASKED | VECTOR);
    apic_write(APIC_INITIAL, 0);
    irq_window();
}

/* ---- faults in the middle ---- */

static void mend(struct trap_frame *frame, void *arg)
{
    const uint64_t *want = arg;
    uint64_t cr2;

    (void)frame;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    expect_eq("CR2", cr2 & ~(PAGE - 1), want[0]);
    map(want[0], want[1], PAGE, PAGE, 0);
}

/*
 * The stack that a gate names is not there. The interrupt has been taken out of IRR, the CPU meets #PF while it
 * delivers it, and
 * that is what it delivers: the interrupt stays in service and its handler does not run (SDM 3A "Interrupt and
 * Exception Handling": only
 * instructions start again). With the page mended the next one comes.
 */
static void stack_fault(unsigned i)
{
    static uint8_t ram[4096] __attribute__((aligned(4096)));
    uint64_t page[2] = {GVA_TMP, (uint64_t)(uintptr_t)ram};

    (void)i;
    if (!irq_ready())
        return;
    unmap(GVA_TMP, PAGE, PAGE);
    trap_stack(STACK, GVA_TMP + PAGE);
    irq_gate_stack(VECTOR, STACK);
    irq_on(VEC_PF, mend, page);
    apic_self_ipi(VECTOR);
    irq_window();
    expect_eq("page faults", irq_count(VEC_PF), 1);
    expect_eq("handlers", irq_count(VECTOR), 0);
    expect(apic_bit(APIC_ISR, VECTOR) && !apic_bit(APIC_IRR, VECTOR), "in service");
    apic_eoi();
    apic_self_ipi(VECTOR);
    irq_window();
    expect_eq("page faults", irq_count(VEC_PF), 1);
    expect_eq("handlers", irq_count(VECTOR), 1);
    irq_on(VEC_PF, NULL, NULL);
    unmap(GVA_TMP, PAGE, PAGE);
}

/*
 * STI, then a store whose second page is missing, while an interrupt is pending: #PF at the store, the interrupt in
 * front of it when the handler is done (an exception ends the shadow), then the whole store, once.
 */
static void fault_first(unsigned i)
{
    static uint8_t ram[2 * 4096] __attribute__((aligned(4096)));
    const struct irq_place_code *p = &irq_places[AT_STI_STORE];
    uint64_t gpa = lab.present ? lab.base[2] + HOLE_PAGE * PAGE : (uint64_t)(uintptr_t)ram;
    uint64_t page[2] = {GVA_TMP + PAGE, gpa + PAGE}, sequence = 0;

    (void)i;
    if (!irq_ready())
        return;
    map(GVA_TMP, gpa, PAGE, PAGE, 0);
    unmap(GVA_TMP + PAGE, PAGE, PAGE);
    irq_on(VEC_PF, mend, page);
    apic_self_ipi(VECTOR);
    if (lab.present)
        sequence = lab_traps();
    p->run(GVA_TMP + PAGE - 2, 0x44332211);
    expect_eq("events", irq_total, 2);
    expect_eq("first", irq_log[0].vector, VEC_PF);
    expect_eq("at the store", irq_log[0].rip, p->at - 2);
    expect_eq("then", irq_log[1].vector, VECTOR);
    expect_eq("in front of it", irq_log[1].rip, p->at - 2);
    if (lab.present)
        expect_eq("pieces of the store", lab_traps() - sequence, 2);
    else
        expect_eq("stored", load(GVA_TMP + PAGE - 2, 4), 0x44332211);
    irq_on(VEC_PF, NULL, NULL);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

/* ---- single steps ---- */

static void second_ends(struct trap_frame *frame, void *arg)
{
    (void)arg;
    __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
    if (irq_count(VEC_DB) == 2)
        frame->rflags &= ~FLAG_TF;
}

/*
 * 0: STI with one pending, 1: a store that sends one. The trap goes before the interrupt, which then comes at the same
 * boundary. QEMU's CPU holds the trap of STI back for one instruction, as MOV SS does.
 */
static void step(unsigned i)
{
    const uint64_t *at = &irq_step_at[i == 0 ? 0 : 2];
    uint64_t first;

    if (!irq_ready())
        return;
    irq_on(VEC_DB, second_ends, NULL);
    if (i == 0) {
        apic_self_ipi(VECTOR);
        irq_step_sti(0, 0);
    } else {
        irq_step_store(GVA_APIC + APIC_ICR, ICR_SELF_TO | VECTOR);
    }
    irq_window();
    irq_on(VEC_DB, NULL, NULL);
    expect_eq("events", irq_total, 3);
    expect_eq("first", irq_log[0].vector, VEC_DB);
    first = i == 0 && irq_log[0].rip == at[1] ? at[1] : at[0];
    expect_eq("behind the instruction", irq_log[0].rip, first);
    expect_eq("second", irq_log[1].vector, VECTOR);
    expect_eq("at the same place", irq_log[1].rip, first);
    expect_eq("third", irq_log[2].vector, VEC_DB);
    expect_eq("one instruction further", irq_log[2].rip, first + (at[1] - at[0]));
}

static void name_step(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "single step over %s, then the interrupt",
                i == 0 ? "STI" : "the store that sends it");
}

/* ---- accesses that exit ---- */

struct copy {
    uint64_t last;
    unsigned inside;
    bool backwards;
};

static void note_rep(struct trap_frame *frame, void *arg)
{
    struct copy *c = arg;

    if (frame->rip != irq_rep_at)
        return;
    c->inside++;
    c->backwards = c->backwards || frame->gpr[1] > c->last;
    c->last = frame->gpr[1];
}

/* 0: from the page that traps, 1: to it. Each element once, whatever comes in between. */
static void repeated(unsigned i)
{
    static uint32_t ram[2][ELEMENTS];
    uint64_t trapped = GVA_BAR2 + HOLE_PAGE * PAGE, offset = HOLE_PAGE * PAGE, digest = 0;
    uint64_t from = (uint64_t)(uintptr_t)ram[0], to = (uint64_t)(uintptr_t)ram[1];
    struct copy c = {ELEMENTS, 0, false};

    if (!irq_ready())
        return;
    for (unsigned k = 0; k < ELEMENTS; k++) {
        ram[0][k] = k * 0x01010101u;
        if (lab.present && i == 0)
            ram[0][k] = (uint32_t)hole_value(offset + 4 * k, 4);
        digest = digest_pieces(digest, offset + 4 * k, 4, (const uint8_t *)&ram[0][k], i == 1);
        ram[1][k] = 0;
    }
    if (lab.present && i == 0)
        from = trapped;
    if (lab.present && i == 1)
        to = trapped;
    irq_on(VECTOR, note_rep, &c);
    if (lab.present)
        digest_start();
    timer(LVT_PERIODIC, 9000);
    irq_rep_movsd(to, from, ELEMENTS);
    timer_off();
    if (lab.present) {
        expect_eq("digest of the accesses", digest_now(), digest);
        /* 256 elements to an exit: elsewhere the machine's timer may be late for the few borders that there are */
        expect(c.inside > 0 || !time_is_steady(), "interrupts between the elements");
    }
    expect(!c.backwards, "RCX goes down");
    for (unsigned k = 0; k < ELEMENTS && to != trapped && !failed(); k++)
        expect_eq("element", ram[1][k], ram[0][k]);
}

static void name_repeated(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "interrupts while REP MOVSD %s a trapped page",
                i == 0 ? "reads" : "writes");
}

/*
 * A periodic timer in a loop of accesses that exit. Each period gives one interrupt; more than there were periods
 * never come. None is lost where nothing else delays this machine.
 */
static void timer_storm(unsigned i)
{
    const uint32_t count = 40000;
    uint64_t at = harmless(), start, period, took = 0;

    (void)i;
    if (!irq_ready())
        return;
    timer(LVT_MASKED, ~0u);
    start = rdtsc();
    while ((took = rdtsc() - start) < 4000000)
        ;
    period = took * count / (~0u - apic_read(APIC_CURRENT));
    irq_forget();
    start = rdtsc();
    timer(LVT_PERIODIC, count);
    irq_enable();
    while (irq_count(VECTOR) < TICKS && rdtsc() - start < GIVE_UP) {
        store(at, 4, load(at, 4));
        (void)cpuid(0, 0);
    }
    irq_disable();
    took = rdtsc() - start;
    timer_off();
    expect(irq_count(VECTOR) <= took * 101 / 100 / period + 2, "more than periods");
    if (time_is_steady() && irq_count(VECTOR) + 3 < took / period)
        fail("%lx interrupts in %lx periods", (uint64_t)irq_count(VECTOR), took / period);
}

/*
 * One IPI to oneself, or message of a device, at a random point among accesses that exit, with IF=1: there is
 * one more each time.
 */
static void random_points(unsigned i)
{
    uint32_t seed = 4711 + i, sent = 0, of[8] = {0};
    uint64_t at = harmless(), value;

    if (!irq_ready())
        return;
    irq_enable();
    for (unsigned n = 0; n < ROUNDS && !failed(); n++) {
        unsigned which = random_next(&seed) >> 8 & 7;

        switch (random_next(&seed) >> 8 & 7) {
        case 0:
            value = load(at, 4);
            store(at, 4, ~value);
            break;
        case 1:
            (void)cpuid(1, 0);
            break;
        case 2:
            (void)inb(0x80);
            break;
        case 3:
            irq_disable();
            (void)load(at, 2);
            irq_enable();
            break;
        case 4:
            (void)rdmsr(MSR_APIC_BASE);
            break;
        case 5:
            (void)try_write_cr8(random_next(&seed) >> 8 & 3);
            break;
        case 6:
            of[which]++;
            sent++;
            irq_disable();
            apic_self_ipi(0x40 + 16 * which);
            (void)load(at, 4);
            irq_enable();
            (void)load(at, 1);
            break;
        default:
            of[which]++;
            sent++;
            if (lab.present && (n & 1)) /* a device's message instead */
                expect_status(
                    "message",
                    LAB(LAB_CMD_MSI, 0, msi_address(apic_id()), msi_data(0x40 + 16 * which)),
                    HV_OK);
            else
                apic_self_ipi(0x40 + 16 * which);
            break;
        }
        __asm__ volatile("nop");
        if (irq_total != sent)
            expect_eq("interrupts", irq_total, sent);
    }
    irq_disable();
    for (unsigned k = 0; k < 8; k++)
        expect_eq("of one vector", irq_count(0x40 + 16 * k), of[k]);
    (void)try_write_cr8(0);
}

static void name_random_points(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "IPIs and MSIs at random points among exits, %u", i);
}

/* Loads and stores in shadows, of pages that trap: the interrupt comes behind the access. */
static void access_boundary(unsigned i)
{
    const struct irq_place_code *p = &irq_places[i % 2 == 0 ? AT_STI_LOAD : AT_STI_STORE];
    uint64_t at = i < 2 ? GVA_REGS + LAB_SCRATCH : GVA_BAR2 + HOLE_PAGE * PAGE, before;

    if (!irq_ready())
        return;
    before = lab_traps();
    apic_self_ipi(VECTOR);
    p->run(at, 5);
    expect_eq("interrupts", irq_total, 1);
    expect_eq("taken in front of", irq_log[0].rip, p->at);
    expect_eq("accesses", lab_traps() - before, 1);
}

static void name_access_boundary(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "a %s in the shadow of STI, of %s", i % 2 ? "store" : "load",
                i < 2 ? "a register" : "a hole");
}

/* The timer at whatever instruction of a loop whose accesses exit, some in shadows. */
static void sweep(unsigned i)
{
    uint64_t at = harmless();

    (void)i;
    if (!irq_ready())
        return;
    for (unsigned n = 0; n < 48 && !failed(); n++) {
        uint64_t start = rdtsc();

        irq_forget();
        timer(0, 3000 + 37 * n);
        while (irq_count(VECTOR) == 0 && rdtsc() - start < GIVE_UP)
            irq_sweep_access(8, at);
        expect_eq("count", irq_count(VECTOR), 1);
        for (unsigned k = 0; k < COUNT_OF(irq_sweep_access_at); k++)
            expect(irq_log[0].rip != irq_sweep_access_at[k] || quirk_shadow, "taken in the shadow");
    }
}

/* The timer's time comes in front of STI, between STI and HLT, or behind: HLT always ends. */
static void halt_race(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    for (unsigned n = 1; n <= 200 && !failed(); n++) {
        timer(0, n < 100 ? n : n * 16);
        irq_halt();
        expect_eq("interrupts", irq_count(VECTOR), n);
    }
    expect_eq("nothing else", irq_total, 200);
}

/* ---- NMI ---- */

static unsigned depth, deepest;

/* Exits inside the handler do not let the next NMI in. */
static void nmi_with_exits(struct trap_frame *frame, void *arg)
{
    (void)frame;
    (void)arg;
    if (++depth > deepest)
        deepest = depth;
    if (irq_count(VEC_NMI) % 2 == 1)
        apic_icr(ICR_SELF_TO | ICR_NMI, 0);
    for (unsigned k = 0; k < 3; k++) {
        store(harmless(), 4, load(harmless(), 4));
        (void)cpuid(0, 0);
    }
    depth--;
}

static void nmi_in_loops(unsigned i)
{
    uint32_t nmis = 0, others = 0;

    (void)i;
    if (!irq_ready())
        return;
    depth = deepest = 0;
    irq_on(VEC_NMI, nmi_with_exits, NULL);
    irq_enable();
    for (unsigned n = 0; n < 100 && !failed(); n++) {
        (void)load(harmless(), 4);
        if (n % 3 == 0) {
            irq_disable();
            apic_self_ipi(OTHER);
        }
        apic_icr(ICR_SELF_TO | ICR_NMI, 0);
        (void)load(harmless(), 4);
        irq_enable();
        nmis += 2; /* each pair: the second from inside */
        others += n % 3 == 0;
        __asm__ volatile("nop");
        expect_eq("NMIs", irq_count(VEC_NMI), nmis);
        expect_eq("interrupts", irq_count(OTHER), others);
    }
    irq_disable();
    expect_eq("deepest", deepest, 1);
    irq_on(VEC_NMI, NULL, NULL);
}

/* ---- where delivery itself looks ---- */

/* IDT and stack in pages of a BAR that are direct: delivery finds them as it finds RAM. */
static void tables_in_bar(unsigned i)
{
    uint64_t idt = GVA_TMP, stack = GVA_TMP + PAGE, traps;

    (void)i;
    if (!irq_ready())
        return;
    for (uint64_t k = 0; k < 2; k++) {
        expect_status(
            "range",
            range_create(LAB_FREE_PAGE + k, 1, F_TYPE(4) | F_WRITE, lab.main, LAB_FREE_PAGE + k),
            HV_OK);
        map(GVA_TMP + k * PAGE, lab.base[2] + (LAB_FREE_PAGE + k) * PAGE, PAGE, PAGE, 0);
    }
    irq_gate_stack(VECTOR, STACK);
    trap_stack(STACK, stack + PAGE);
    if (!failed()) {
        memcpy((void *)(uintptr_t)idt, (const void *)(uintptr_t)traps_idt(), PAGE);
        traps = lab_traps();
        traps_idt_load(idt);
        for (unsigned n = 1; n <= 20; n++) {
            apic_self_ipi(VECTOR);
            irq_window();
            expect_eq("interrupts", irq_total, n);
        }
        traps_idt_load(traps_idt());
        expect_eq("traps", lab_traps(), traps);
    }
    for (uint64_t k = 0; k < 2; k++)
        expect_status("range", range_destroy(LAB_FREE_PAGE + k), HV_OK);
    unmap(GVA_TMP, 2 * PAGE, PAGE);
}

struct from {
    uint64_t cs, rip;
};

static void note_from(struct trap_frame *frame, void *arg)
{
    struct from *f = arg;

    f->cs = frame->cs;
    f->rip = frame->rip;
}

/* In front of the first instruction of code of every kind. */
static void kinds(unsigned i)
{
    static const uint8_t selectors[] = {[KERNEL64] = 0x08,
                                        [KERNEL32] = 0x18,
                                        [KERNEL16] = 8 * GDT_FREE,
                                        [USER64] = USER_CS,
                                        [USER32] = 0x23};
    struct cpu_state state = {.rflags = FLAG_IF | 2};
    static uint8_t stack[256] __attribute__((aligned(16)));
    struct from f = {0, 0};

    if (!irq_ready())
        return;
    segments_16(0, 0xffff);
    state.gpr[4] = (uint64_t)(uintptr_t)(stack + sizeof(stack));
    irq_on(VECTOR, note_from, &f);
    irq_gate_stack(VECTOR, 1); /* RSP of the code may be anything */
    apic_self_ipi(VECTOR);
    expect_eq("vector", (uint64_t)(int64_t)code_try(&state, (enum code_kind)i, code_cpuid), ~0ull);
    expect_eq("interrupts", irq_total, 1);
    expect_eq("CS", f.cs, selectors[i]);
    irq_disable();
}

static void name_kinds(char *out, unsigned i)
{
    static const char *const names[] = {"64-bit", "32-bit", "16-bit", "64-bit user", "32-bit user"};

    format_text(out, NAME_ROOM, "an interrupt in %s code", names[i]);
}

static const struct check list[] = {
    {"irq", "#PF while an interrupt is delivered", NULL, 0, false, stack_fault},
    {"irq", "#PF goes before the interrupt, and ends the shadow", NULL, 0, false, fault_first},
    {"irq", NULL, name_step, 2, false, step},
    {"irq", NULL, name_repeated, 2, false, repeated},
    {"irq", "a periodic timer in a loop of accesses", NULL, 0, false, timer_storm},
    {"irq", NULL, name_random_points, 3, false, random_points},
    {"irq", NULL, name_access_boundary, 4, true, access_boundary},
    {"irq", "the timer at any instruction, accesses in shadows", NULL, 0, false, sweep},
    {"irq", "the timer against STI; HLT", NULL, 0, false, halt_race},
    {"irq", "NMIs among accesses, and exits in their handler", NULL, 0, false, nmi_in_loops},
    {"irq", "IDT and stack in a BAR", NULL, 0, true, tables_in_bar},
    {"irq", NULL, name_kinds, 5, false, kinds},
};
const struct check_list checks_irq = {list, COUNT_OF(list)};
