#include "tests/guest/guest.h"

#define GATE_INTERRUPT 0x8e00u
#define CODE_SELECTOR  0x08u

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, zero;
};

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const uint64_t trap_vectors[32];
extern void trap_recover(void);
extern uint64_t trap_chain, trap_vector;
void trap_handle(struct trap_frame *frame);

static struct gate idt[32];
struct trap_frame trap_last;
uint64_t trap_cr2;

void traps_init(void)
{
    struct table_pointer p = {sizeof(idt) - 1, (uint64_t)(uintptr_t)idt};

    for (unsigned v = 0; v < COUNT_OF(idt); v++) {
        uint64_t a = trap_vectors[v];
        idt[v] = (struct gate){(uint16_t)a,         CODE_SELECTOR,       GATE_INTERRUPT,
                               (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0};
    }
    __asm__ volatile("lidt %0" ::"m"(p));
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
    frame->rflags = 2;
}
