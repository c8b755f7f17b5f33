#include "hv/vm/host_irq.h"

#include "hv/mem/window.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define PIC_MASTER_DATA 0x21u
#define PIC_SLAVE_DATA  0xa1u
#define PIC_MASK_ALL    0xffu

/* Local APIC registers (SDM 3A "Local APIC Register Address Map"); x2APIC MSR = 0x800 + offset / 16. */
#define APIC_VERSION         0x030u
#define APIC_TPR             0x080u
#define APIC_EOI             0x0b0u
#define APIC_SVR             0x0f0u
#define APIC_LVT_CMCI        0x2f0u
#define APIC_ICR_LOW         0x300u
#define APIC_LVT_THERMAL     0x330u
#define APIC_LVT_PMC         0x340u
#define APIC_LVT_LINT0       0x350u
#define APIC_LVT_LINT1       0x360u
#define APIC_LVT_ERROR       0x370u
#define X2APIC_MSR(reg)      (0x800u + (reg) / 16)

#define APIC_VERSION_MAX_LVT BITS(23, 16)
#define APIC_LVT_MASKED      0x10000u
#define APIC_TPR_OURS        0xe0u /* only the highest class gets through */
#define APIC_SVR_ENABLE      BIT(8)
#define APIC_ICR_BUSY        BIT(12)
#define APIC_ICR_INIT_OTHERS 0xc4500u /* all but self, assert, edge, INIT */

static uint64_t apic_base(void)
{
    return rdmsr(IA32_APIC_BASE);
}

static bool is_x2apic(uint64_t base)
{
    return (base & APIC_BASE_X2APIC) != 0;
}

static hpa_t register_address(uint64_t base, uint32_t reg)
{
    return HPA((base & APIC_BASE_ADDRESS) + reg);
}

uint32_t host_apic_read(uint32_t reg)
{
    uint64_t base = apic_base();
    uint32_t value = 0;

    if (is_x2apic(base))
        return (uint32_t)rdmsr(X2APIC_MSR(reg));
    window_read(register_address(base, reg), MEMTYPE_UC, &value, sizeof(value));
    return value;
}

void host_apic_write(uint32_t reg, uint32_t value)
{
    uint64_t base = apic_base();

    if (is_x2apic(base))
        wrmsr(X2APIC_MSR(reg), value);
    else
        window_write(register_address(base, reg), MEMTYPE_UC, &value, sizeof(value));
}

/*
 * The other CPUs wait in a loop of the firmware's, in memory that becomes ours: INIT puts them where only a
 * start-up IPI wakes them.
 */
static void park_other_cpus(void)
{
    host_apic_write(APIC_ICR_LOW, APIC_ICR_INIT_OTHERS);
    while (!is_x2apic(apic_base()) && (host_apic_read(APIC_ICR_LOW) & APIC_ICR_BUSY))
        __builtin_ia32_pause();
}

void host_interrupts_quiesce(void)
{
    /* In the order of their LVT numbers: a CPU has the first max_lvt + 1 of them. */
    static const uint32_t sources[] = {HOST_APIC_LVT_TIMER, APIC_LVT_LINT0, APIC_LVT_LINT1,
                                       APIC_LVT_ERROR,      APIC_LVT_PMC,   APIC_LVT_THERMAL,
                                       APIC_LVT_CMCI};
    uint64_t last;

    out8(PIC_MASTER_DATA, PIC_MASK_ALL);
    out8(PIC_SLAVE_DATA, PIC_MASK_ALL);
    if (!(apic_base() & APIC_BASE_ENABLE))
        return;
    last = FIELD_GET(APIC_VERSION_MAX_LVT, host_apic_read(APIC_VERSION));
    for (unsigned i = 0; i < ARRAY_COUNT(sources) && i <= last; i++)
        host_apic_write(sources[i], APIC_LVT_MASKED);
    host_apic_write(APIC_TPR, APIC_TPR_OURS);
    park_other_cpus();
}

void host_interrupt_end(void)
{
    if (apic_base() & APIC_BASE_ENABLE)
        host_apic_write(APIC_EOI, 0);
}

bool host_interrupts_open(void)
{
    if (!(apic_base() & APIC_BASE_ENABLE))
        return false;
    host_apic_write(APIC_SVR, (uint32_t)APIC_SVR_ENABLE | HOST_VECTOR_SPURIOUS);
    return true;
}
