#include "hv/vm/host_irq.h"

#include "hv/mem/window.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define PIC_MASTER_DATA 0x21u
#define PIC_SLAVE_DATA  0xa1u
#define PIC_MASK_ALL    0xffu

/* Local APIC registers (SDM 3A "Local APIC Register Address Map"); x2APIC MSR = 0x800 + offset / 16. */
#define APIC_EOI         0x0b0u
#define APIC_LVT_TIMER   0x320u
#define APIC_LVT_LINT0   0x350u
#define APIC_LVT_LINT1   0x360u
#define APIC_LVT_ERROR   0x370u
#define APIC_LVT_MASKED  0x10000u
#define X2APIC_MSR(reg)  (0x800u + (reg) / 16)

static uint64_t apic_base(void)
{
    return rdmsr(IA32_APIC_BASE);
}

static void apic_write(uint32_t reg, uint32_t value)
{
    uint64_t base = apic_base();

    if (!(base & APIC_BASE_ENABLE))
        return;
    if (base & APIC_BASE_X2APIC)
        wrmsr(X2APIC_MSR(reg), value);
    else
        window_write(HPA((base & BITS(51, 12)) + reg), MEMTYPE_UC, &value, sizeof(value));
}

void host_interrupts_quiesce(void)
{
    static const uint32_t sources[] = {APIC_LVT_TIMER, APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR};

    out8(PIC_MASTER_DATA, PIC_MASK_ALL);
    out8(PIC_SLAVE_DATA, PIC_MASK_ALL);
    for (unsigned i = 0; i < ARRAY_COUNT(sources); i++)
        apic_write(sources[i], APIC_LVT_MASKED);
}

void host_interrupt_end(void)
{
    apic_write(APIC_EOI, 0);
}
