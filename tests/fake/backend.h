/*
 * Owns:     a backend for host tests of hv/vm: settable state and recorded calls; what privileged
 *           instructions of the core do in a process.
 * Promises: what the core sets is what it gets next; fake_backend counts the calls and keeps the newest value;
 *           after fake_cpu_catch(), XSETBV, WBINVD and MOV DR6 are carried out on fake_cpu.
 * Needs:    Linux on x86-64: such an instruction becomes a signal, whose handler steps over it.
 * Never:    linked together with boot/main.c or hv/vm/host_irq.c.
 */
#ifndef TESTS_FAKE_BACKEND_H
#define TESTS_FAKE_BACKEND_H

#include "hv/vm/backend.h"

struct fake_backend {
    struct vp_state state; /* what state_get() answers */
    unsigned state_gets, cr0_sets, cr4_sets, efer_sets, pat_sets, rflags_sets, rsp_loads,
        rsp_stores;
    unsigned interrupts_ended;
    void (*on_state_get)(struct vp *vp); /* before it answers; a test may change the world there */
};

struct fake_cpu {
    uint64_t xcr0, dr6;
    unsigned xsetbvs, wbinvds;
};

extern struct fake_backend fake_backend;
extern struct fake_cpu fake_cpu;

/* Zero both and point hv_backend here. */
void fake_backend_reset(void);

/*
 * Carry out privileged instructions from now on, once in this test: cmocka sets handlers of its own before each test
 * and after its set-up.
 */
void fake_cpu_catch(void);

/* Setters that the core called so far: the guest's state has changed when it moves. */
unsigned fake_backend_sets(void);

#endif
