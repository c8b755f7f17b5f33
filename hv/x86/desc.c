#include "hv/x86/desc.h"

#include "hv/base/string.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define IDT_INTERRUPT_GATE 0x8e00ull /* present, DPL 0, 64-bit interrupt gate */

struct idt_gate {
    uint64_t low, high;
};

struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint64_t base;
};

/* isr.asm: one entry point per exception, ISR_STRIDE bytes apart, and one for all interrupts. */
extern const uint8_t isr_entries[] __attribute__((visibility("hidden")));
extern const uint8_t isr_interrupt[] __attribute__((visibility("hidden")));
#define ISR_STRIDE 16u

/* Shared by all CPUs; written once. */
#define GATES 256u
static struct idt_gate idt[GATES] ALIGNED(16);

static unsigned ist_of(unsigned vector)
{
    switch (vector) {
    case VECTOR_NMI:
        return STACK_NMI;
    case VECTOR_DF:
        return STACK_DF;
    case VECTOR_MC:
        return STACK_MC;
    default:
        return 0;
    }
}

static void idt_build(void)
{
    for (unsigned v = 0; v < GATES; v++) {
        uint64_t entry =
            (uint64_t)(uintptr_t)(v < VECTOR_COUNT ? isr_entries + v * ISR_STRIDE : isr_interrupt);

        idt[v].low = (entry & 0xffff) | (uint64_t)SELECTOR_CODE << 16 |
                     (IDT_INTERRUPT_GATE | ist_of(v)) << 32 | (entry & 0xffff0000) << 32;
        idt[v].high = entry >> 32;
    }
}

/* A 64-bit TSS holds only stacks: RSP0 at byte 4, IST1 at byte 36 (SDM 3A "64-Bit Task State Segment"). */
static void tss_build(struct cpu *cpu)
{
    const unsigned ist1 = 36, io_map_base = 102;
    uint16_t no_io_map = sizeof(cpu->tss);

    memset(cpu->tss, 0, sizeof(cpu->tss));
    for (unsigned s = STACK_NMI; s < STACK_COUNT; s++) {
        uint64_t top = (uint64_t)(uintptr_t)stack_top(cpu, (enum stack)s);

        memcpy(cpu->tss + ist1 + (s - 1) * sizeof(top), &top, sizeof(top));
    }
    memcpy(cpu->tss + io_map_base, &no_io_map, sizeof(no_io_map));
}

static void gdt_build(struct cpu *cpu)
{
    const uint64_t code = 0x00af9b000000ffffull; /* 64-bit, execute/read, accessed */
    const uint64_t data = 0x00cf93000000ffffull; /* read/write, accessed */
    uint64_t tss = cpu_tss_base(cpu);

    cpu->gdt[0] = 0;
    cpu->gdt[1] = code;
    cpu->gdt[2] = data;
    cpu->gdt[3] =
        (sizeof(cpu->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss & 0xff000000) << 32;
    cpu->gdt[4] = tss >> 32;
}

uint64_t cpu_tss_base(const struct cpu *cpu)
{
    return (uint64_t)(uintptr_t)cpu->tss;
}

uint64_t cpu_idt_base(void)
{
    return (uint64_t)(uintptr_t)idt;
}

void cpu_tables_load(struct cpu *cpu)
{
    struct table_register gdtr = {sizeof(cpu->gdt) - 1, (uint64_t)(uintptr_t)cpu->gdt};
    struct table_register idtr = {sizeof(idt) - 1, cpu_idt_base()};

    idt_build();
    tss_build(cpu);
    gdt_build(cpu);
    cpu->self = cpu;

    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %2, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs\n\t"
                     "lidt %3\n\t"
                     "movl %4, %%eax\n\t"
                     "ltr %%ax"
                     :
                     : "m"(gdtr), "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "m"(idtr),
                       "i"(SELECTOR_TSS)
                     : "rax", "memory");
    wrmsr(IA32_FS_BASE, 0);
    wrmsr(IA32_GS_BASE, (uint64_t)(uintptr_t)cpu);
}
