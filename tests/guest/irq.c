/* Interrupts: entries, counters, a log, and the local APIC's registers in both of its modes. */
#include "tests/guest/guest.h"

#define MSI_BASE        0xfee00000ull
#define FIRST_NORMAL    16u /* an APIC delivers these */
#define TIMEOUT_COUNT   50000u
#define DIVIDE_BY_1     0xbu
#define PIC_MASTER_MASK 0x21u
#define PIC_SLAVE_MASK  0xa1u
#define CPUID_APIC      9u
#define CPUID_X2APIC    21u
#define EOI_AT_MOST     32u /* more than priority classes */

extern const uint64_t irq_vectors[256];
void irq_handle(struct trap_frame *frame);

struct irq_event irq_log[IRQ_LOG];
volatile uint32_t irq_total;
volatile bool irq_eoi_deferred;
static volatile uint32_t counts[256];
static struct {
    irq_handler *handler;
    void *arg;
} handlers[256];
static bool x2, used;

void irq_handle(struct trap_frame *frame)
{
    unsigned vector = (unsigned)frame->vector;

    if (irq_total < IRQ_LOG)
        irq_log[irq_total] = (struct irq_event){vector, frame->rip, rdtsc()};
    irq_total = irq_total + 1;
    counts[vector] = counts[vector] + 1;
    frame->gpr[4] = frame->rsp;
    if (frame->rip == irq_halt_at && quirk_shadow)
        frame->rip++; /* nobody would wake that HLT */
    else if (frame->rip == irq_halt_at && vector != VEC_NMI)
        fail("an interrupt between STI and HLT");
    if (handlers[vector].handler != NULL)
        handlers[vector].handler(frame, handlers[vector].arg);
    if (vector < FIRST_NORMAL || irq_eoi_deferred)
        return;
    /* a spurious interrupt is not in service; an IPI may have its vector and is */
    if (vector != IRQ_SPURIOUS || apic_bit(APIC_ISR, vector))
        apic_eoi();
}

void irq_on(unsigned vector, irq_handler *handler, void *arg)
{
    handlers[vector].handler = handler;
    handlers[vector].arg = arg;
    if (handler == NULL && vector < 32)
        trap_gate_default(vector);
    else
        trap_gate(vector, irq_vectors[vector], 0);
}

void irq_gate_stack(unsigned vector, unsigned stack_number)
{
    trap_gate(vector, irq_vectors[vector], stack_number);
}

void irq_low_vectors(bool interrupts)
{
    for (unsigned v = FIRST_NORMAL; v < 32; v++)
        if (interrupts)
            trap_gate(v, irq_vectors[v], 0);
        else
            trap_gate_default(v);
}

uint32_t irq_count(unsigned vector)
{
    return counts[vector];
}

void irq_forget(void)
{
    for (unsigned v = 0; v < COUNT_OF(counts); v++)
        counts[v] = 0;
    irq_total = 0;
}

void irq_window(void)
{
    __asm__ volatile("sti\n\tnop\n\tnop\n\tnop\n\tcli" ::: "memory");
}

/* The vector's own interrupt may have come at any instruction: looked at with IF=0, then STI and HLT as one. */
bool irq_wait_count(unsigned vector, uint32_t count, uint64_t ticks)
{
    uint64_t start = rdtsc();
    bool borrowed;

    irq_disable();
    borrowed = (apic_read(APIC_TIMER) & LVT_MASKED) != 0;
    if (borrowed) {
        apic_write(APIC_TIMER, IRQ_TIMEOUT);
        apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    }
    while (counts[vector] < count && rdtsc() - start < ticks) {
        if (borrowed) {
            apic_write(APIC_INITIAL, TIMEOUT_COUNT);
            irq_halt();
        } else {
            irq_window();
        }
    }
    if (borrowed) {
        apic_write(APIC_INITIAL, 0);
        apic_write(APIC_TIMER, IRQ_TIMEOUT | LVT_MASKED);
        irq_window(); /* it may be pending */
    }
    return counts[vector] >= count;
}

bool irq_wait(unsigned vector, uint64_t ticks)
{
    return irq_wait_count(vector, counts[vector] + 1, ticks);
}

static uint64_t loop_ticks(void)
{
    uint64_t start = rdtsc();

    for (unsigned n = 0; n < 2000; n++)
        __asm__ volatile("nop");
    return rdtsc() - start;
}

bool time_is_steady(void)
{
    uint64_t first = loop_ticks();

    for (unsigned n = 0; n < 8; n++)
        if (loop_ticks() != first)
            return false;
    return true;
}

/* ---- the local APIC ---- */

bool apic_have_x2(void)
{
    return cpuid(1, 0).c >> CPUID_X2APIC & 1;
}

uint32_t apic_read(unsigned reg)
{
    return x2 ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : (uint32_t)load(GVA_APIC + reg, 4);
}

void apic_write(unsigned reg, uint32_t v)
{
    if (x2)
        wrmsr(MSR_X2APIC + reg / 16, v);
    else
        store(GVA_APIC + reg, 4, v);
}

void apic_x2(bool on)
{
    uint64_t base = APIC_HOME | (rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP);

    if (on == x2)
        return;
    if (!on)
        wrmsr(MSR_APIC_BASE, base);
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
    if (on)
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE | APIC_BASE_X2);
    x2 = on;
    apic_write(APIC_SVR, SVR_ENABLE | IRQ_SPURIOUS);
}

uint32_t apic_id(void)
{
    return x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

void apic_icr(uint32_t low, uint32_t destination)
{
    if (x2) {
        wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)destination << 32 | low);
        return;
    }
    apic_write(APIC_ICR_HIGH, destination << 24);
    apic_write(APIC_ICR, low);
}

void apic_self_ipi(unsigned vector)
{
    apic_icr(ICR_SELF | ICR_ASSERT | vector, 0);
}

bool apic_bit(unsigned reg, unsigned vector)
{
    return apic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}

uint64_t msi_address(uint32_t id)
{
    return MSI_BASE | (uint64_t)id << 12;
}

uint32_t msi_data(unsigned vector)
{
    return vector;
}

static void apic_clean(void)
{
    static const uint16_t lvt[] = {APIC_TIMER, APIC_THERMAL, APIC_PMC,
                                   APIC_LINT0, APIC_LINT1,   APIC_ERROR};
    uint64_t base = APIC_HOME | (rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP);

    if (apic_have_x2() && (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2))
        wrmsr(MSR_APIC_BASE, base);
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
    x2 = false;
    for (unsigned k = 0; k < COUNT_OF(lvt); k++)
        apic_write(lvt[k], LVT_MASKED);
    apic_write(APIC_INITIAL, 0);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_SVR, SVR_ENABLE | IRQ_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_DFR, ~0u);
    apic_write(APIC_LDR, 0);
    for (unsigned k = 0; k < EOI_AT_MOST; k++)
        apic_eoi();
    irq_window();
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
}

static void clean(void)
{
    irq_disable();
    for (unsigned v = 0; v < COUNT_OF(handlers); v++)
        irq_on(v, NULL, NULL);
    irq_low_vectors(true);
    irq_eoi_deferred = false;
    irq_unblock_nmi();
    apic_clean();
    irq_low_vectors(false);
    irq_forget();
}

bool irq_ready(void)
{
    irq_disable();
    if (!(cpuid(1, 0).d >> CPUID_APIC & 1)) {
        skip("no local APIC");
        return false;
    }
    if (!on_barvisor()) { /* the firmware may have left the old controllers on */
        outb(PIC_MASTER_MASK, 0xff);
        outb(PIC_SLAVE_MASK, 0xff);
    }
    map(GVA_APIC, APIC_HOME, PAGE, PAGE, pat_index_of(PAT_UC));
    clean();
    used = true;
    return true;
}

void irq_done(void)
{
    if (used)
        clean();
    used = false;
}
