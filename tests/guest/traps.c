#include "tests/guest/guest.h"

#define GATE_INTERRUPT 0x8e00u /* with the number of one of the task's stacks */
#define CODE_SELECTOR  0x08u
#define DATA_SELECTOR  0x10u

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
};

/* The 64-bit task state: only its stacks are looked at. */
struct task {
    uint32_t unused0;
    uint64_t rsp0, rsp1, rsp2, unused1, ist[7];
    uint64_t unused2;
    uint16_t unused3, io_map;
} __attribute__((packed));

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const uint64_t trap_vectors[32];
extern void trap_recover(void);
extern uint64_t trap_chain, trap_vector;
void trap_handle(struct trap_frame *frame);

#define TASK_PRESENT 0x8900ull
#define STACK_BYTES  8192u

static struct gate idt[256] __attribute__((aligned(4096)));
static struct task task;
static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
/* By selector / 8. The first three are those of start.asm. */
uint64_t guest_gdt[16] = {
    0,
    0x00af9b000000ffff, /* 64-bit code */
    0x00cf93000000ffff, /* data */
    0x00cf9b000000ffff, /* 0x18: 32-bit code */
    0x00cffb000000ffff, /* 0x20: 32-bit code for users */
    0x00cff3000000ffff, /* 0x28: data for users */
    0x00affb000000ffff, /* 0x30: 64-bit code for users */
};
struct trap_frame trap_last;
uint64_t trap_cr2;

/* Exceptions have a stack of their own: RSP may be anything while an instruction is tried. */
static void task_init(void)
{
    struct table_pointer p = {sizeof(guest_gdt) - 1, (uint64_t)(uintptr_t)guest_gdt};
    uint64_t at = (uint64_t)(uintptr_t)&task;

    task.ist[0] = task.rsp0 = (uint64_t)(uintptr_t)(stack + sizeof(stack));
    task.io_map = sizeof(task);
    guest_gdt[GDT_TASK] =
        (sizeof(task) - 1) | (at & 0xffffff) << 16 | TASK_PRESENT << 32 | (at >> 24 & 0xff) << 56;
    guest_gdt[GDT_TASK + 1] = at >> 32;
    __asm__ volatile("lgdt %0\n\tltr %w1" ::"m"(p), "r"(GDT_TASK * 8) : "memory");
}

void trap_gate(unsigned vector, uint64_t entry, unsigned stack_number)
{
    idt[vector] = (struct gate){
        (uint16_t)entry,         CODE_SELECTOR,           (uint16_t)(GATE_INTERRUPT | stack_number),
        (uint16_t)(entry >> 16), (uint32_t)(entry >> 32), 0};
}

void trap_gate_default(unsigned vector)
{
    trap_gate(vector, trap_vectors[vector], 1);
}

void trap_stack(unsigned stack_number, uint64_t top)
{
    task.ist[stack_number - 1] = top;
}

uint64_t traps_idt(void)
{
    return (uint64_t)(uintptr_t)idt;
}

void traps_idt_load(uint64_t base)
{
    struct table_pointer p = {sizeof(idt) - 1, base};

    __asm__ volatile("lidt %0" ::"m"(p));
}

void traps_init(void)
{
    task_init();
    for (unsigned v = 0; v < COUNT_OF(trap_vectors); v++)
        trap_gate_default(v);
    traps_idt_load(traps_idt());
}

void trap_handle(struct trap_frame *frame)
{
    frame->gpr[4] = frame->rsp;
    trap_last = *frame;
    __asm__ volatile("mov %%cr2, %0" : "=r"(trap_cr2));
    trap_vector = frame->vector;
    if (trap_chain == 0) {
        say("Bail out! exception %lu error 0x%lx rip 0x%lx cr2 0x%lx\n", frame->vector,
            frame->error, frame->rip, trap_cr2);
        guest_exit(1);
    }
    frame->rip = (uint64_t)(uintptr_t)trap_recover;
    frame->cs = CODE_SELECTOR; /* the fault may come from any kind of code */
    frame->ss = DATA_SELECTOR;
    frame->rflags = 2;
}
