#include "hv/vm/host_timer.h"

#include "hv/base/bits.h"
#include "hv/vm/host_irq.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/regs.h"

#define APIC_INITIAL_COUNT   0x380u
#define APIC_CURRENT_COUNT   0x390u
#define APIC_DIVIDE          0x3e0u

#define LVT_MASKED           BIT(16)
#define LVT_TSC_DEADLINE     BIT(18)
#define DIVIDE_BY_1          0xbu

#define CPUID_1_ECX_DEADLINE BIT(24)

/* How many counts of the APIC's timer a tick of the TSC is, as a fraction of 2^RATIO_SHIFT. */
#define RATIO_SHIFT    24u
#define MEASURED_TICKS (1ull << 17)
#define LONGEST_TICKS  (1ull << 32) /* after that long it comes early */

static struct {
    bool present, tsc_deadline;
    uint64_t ratio;
} timer;

/* One moment on both clocks. */
struct moment {
    uint64_t ticks;
    uint32_t count;
};

/* An emulator may be interrupted between the two readings: the closest of some pairs is taken. */
static struct moment look(void)
{
    const unsigned tries = 4;
    struct moment best = {0, 0};
    uint64_t closest = ~0ull;

    for (unsigned i = 0; i < tries; i++) {
        uint64_t before = rdtsc();
        uint32_t count = host_apic_read(APIC_CURRENT_COUNT);
        uint64_t taken = rdtsc() - before;

        if (taken < closest) {
            closest = taken;
            best = (struct moment){before + taken / 2, count};
        }
    }
    return best;
}

static uint64_t measure(void)
{
    struct moment from, to;

    host_apic_write(HOST_APIC_LVT_TIMER, (uint32_t)LVT_MASKED);
    host_apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    host_apic_write(APIC_INITIAL_COUNT, UINT32_MAX);
    (void)look(); /* what is slow only once */
    from = look();
    while (rdtsc() - from.ticks < MEASURED_TICKS)
        __builtin_ia32_pause();
    to = look();
    host_apic_write(APIC_INITIAL_COUNT, 0);
    return ((uint64_t)(from.count - to.count) << RATIO_SHIFT) / (to.ticks - from.ticks);
}

bool host_timer_init(void)
{
    if (!host_interrupts_open())
        return false;
    timer.tsc_deadline = (cpuid(1, 0).ecx & CPUID_1_ECX_DEADLINE) != 0;
    if (!timer.tsc_deadline)
        timer.ratio = measure();
    timer.present = timer.tsc_deadline || timer.ratio != 0;
    if (timer.present)
        host_apic_write(HOST_APIC_LVT_TIMER,
                        HOST_VECTOR_TIMER | (timer.tsc_deadline ? (uint32_t)LVT_TSC_DEADLINE : 0));
    mfence(); /* the mode is there before the first deadline (SDM 3A "TSC-Deadline Mode") */
    return timer.present;
}

/* Rounded down: early is looked at again, late is late. */
static uint32_t counts_until(uint64_t deadline)
{
    uint64_t now = rdtsc(), counts;

    if (deadline <= now)
        return 1;
    counts = MIN(deadline - now, LONGEST_TICKS) * timer.ratio >> RATIO_SHIFT;
    return (uint32_t)MAX(MIN(counts, UINT32_MAX), 1);
}

void host_timer_set(uint64_t deadline)
{
    if (!timer.present)
        return;
    if (timer.tsc_deadline)
        wrmsr(IA32_TSC_DEADLINE, deadline);
    else
        host_apic_write(APIC_INITIAL_COUNT, deadline ? counts_until(deadline) : 0);
}

uint64_t host_timer_now(void)
{
    return rdtsc();
}

void host_sleep(uint64_t until)
{
    if (!timer.present) {
        while (rdtsc() < until)
            __builtin_ia32_pause();
        return;
    }
    cpu_sleep();
    host_interrupt_end();
}
