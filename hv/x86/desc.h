/*
 * Owns:     the descriptor tables of a CPU and its per-CPU block behind GS.
 * Promises: after cpu_tables_load() nothing of the firmware's tables is used; NMI, #DF and #MC run on stacks of
 *           their own.
 * Needs:    stacks from boot/, exception_entry() from hv/console.
 * Never:    interrupts enabled in root mode, but for one moment: where the CPU sleeps, and where one has ended a guest's
 *           run. Their handler is empty: who enabled them tells the APIC.
 */
#ifndef HV_X86_DESC_H
#define HV_X86_DESC_H

#include "hv/base/types.h"

#define STACK_BYTES     (4 * PAGE_BYTES)
#define STACK_COUNT     4u                         /* main, NMI, #DF, #MC */
#define STACK_GAP_BYTES (STACK_BYTES + PAGE_BYTES) /* with the guard page below */

enum stack { STACK_MAIN, STACK_NMI, STACK_DF, STACK_MC };

/* Per-CPU state behind GS. Owner: its CPU. */
struct cpu {
    struct cpu *self; /* gs:0 */
    uint32_t index;
    uint8_t *stacks; /* STACK_COUNT times (guard page, stack) */
    uint64_t nmis;
    uint64_t in_guest;     /* published before an entry; see vm_flush() */
    void *running;         /* struct vp, while in its run loop */
    unsigned windows_open; /* hv/mem/window.h */
    uint64_t gdt[5];
    uint8_t tss[104] ALIGNED(16);
};

/* What an exception pushes (isr.asm). */
struct exception_frame {
    uint64_t gpr[16]; /* encoding order; [4] is the interrupted RSP */
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

void cpu_tables_load(struct cpu *cpu);

/* isr.asm: sleep until an interrupt has come; it is taken, and its handler does nothing. Interrupts are off before and after. */
void cpu_sleep(void);

static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;

    __asm__("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

/*
 * "This CPU is in a guest", as the shoot-down reads it. Publishing is a full fence: what is read afterwards is
 * newer than what the other side read before it saw the flag.
 */
static inline void cpu_publish_in_guest(void)
{
    uint64_t one = 1;

    __asm__ volatile("xchgq %0, %%gs:%c1"
                     : "+r"(one)
                     : "i"(offsetof(struct cpu, in_guest))
                     : "memory");
}

static inline void cpu_publish_out_of_guest(void)
{
    __asm__ volatile("movq $0, %%gs:%c0" ::"i"(offsetof(struct cpu, in_guest)) : "memory");
}

/* The top of a stack (grows down). */
static inline uint8_t *stack_top(const struct cpu *cpu, enum stack stack)
{
    return cpu->stacks + ((uint64_t)stack + 1) * STACK_GAP_BYTES;
}

uint64_t cpu_tss_base(const struct cpu *cpu);
uint64_t cpu_idt_base(void);

#endif
