/*
 * Owns:     a virtual CPU: registers, the pending event, cached policy.
 * Promises: on the exit path the core reads and writes only this structure and struct hv_exit.
 * Needs:    hv/vm/vm.h.
 * Never:    shared: only its physical CPU touches it while it runs.
 */
#ifndef HV_VM_VP_H
#define HV_VM_VP_H

#include "hv/mmio/insn.h"
#include "hv/vm/vm.h"

/* What the next entry delivers to the guest. */
enum vp_event_kind { VP_EVENT_NONE, VP_EVENT_EXCEPTION, VP_EVENT_REINJECT };

struct vp_event {
    uint8_t kind; /* enum vp_event_kind */
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint32_t raw; /* REINJECT: the backend's own encoding of an interrupted delivery */
    uint32_t raw_length;
    uint64_t address; /* #PF: what CR2 becomes */
};

struct vp_segment {
    uint16_t selector;
    uint32_t limit;
    uint32_t attributes; /* descriptor bits 8..23 from bit 0 on; bit 16: unusable */
    uint64_t base;
};

/* The state that cold paths read and write through the backend. */
struct vp_state {
    uint64_t cr0, cr3, cr4, efer; /* cr0 and cr4 as the guest sees them */
    uint64_t real_cr0;            /* as the CPU has it */
    uint64_t rip, rflags, rsp;
    uint64_t pat;
    struct vp_segment seg[6]; /* in enum insn_segment order: ES CS SS DS FS GS */
};

#define CPUID_BASIC_LEAVES    14u /* 0 .. 0xD */
#define CPUID_EXTENDED_LEAVES 9u  /* 0x80000000 .. 0x80000008 */

struct cpuid_answer {
    uint32_t eax, ebx, ecx, edx;
};

struct vp {
    uint64_t gpr
        [GPR_COUNT];   /* first: the exit stub pushes them here. [GPR_RSP] is stale: see load_rsp */
    uint64_t host_rsp; /* where the run loop's stack continues */
    struct vm *vm;
    void *backend; /* the backend's own part */
    struct vp_event event;
    uint64_t flushed_generation; /* vm->generation that this VP's CPU last flushed for */
    unsigned last_region;
    uint64_t cr8;
    uint64_t xcr0_mask;      /* what XSETBV may set */
    uint64_t cr4_guest_bits; /* what the guest may set */
    struct cpuid_answer basic[CPUID_BASIC_LEAVES];
    struct cpuid_answer extended[CPUID_EXTENDED_LEAVES];
    struct log_limit msr_log;
};

/* hv/vm/cpuid.c */
void vp_cpuid_init(struct vp *vp);
enum hv_resume vp_cpuid(struct vp *vp);
void vp_cpuid_set_osxsave(struct vp *vp, bool on);

/* hv/vm/msr.c: what RDMSR, WRMSR, MOV CR and XSETBV do. HV_RESUME: #GP was queued. */
enum hv_resume vp_msr_read(struct vp *vp);
enum hv_resume vp_msr_write(struct vp *vp);
enum hv_resume vp_cr_access(struct vp *vp, const struct hv_exit_cr *cr);
enum hv_resume vp_xsetbv(struct vp *vp);

/* hv/vm/io.c */
enum hv_resume vp_port_access(struct vp *vp, const struct hv_exit_io *io);

/* hv/vm/mmio.c */
enum hv_resume vp_memory_fault(struct vp *vp, struct hv_exit *exit);

/* Queue an exception for the next entry. */
void vp_inject(struct vp *vp, uint8_t vector, bool has_error, uint32_t error);
void vp_inject_page_fault(struct vp *vp, gva_t address, uint32_t error);

/* The current privilege level: the DPL of SS, whatever the mode. */
static inline unsigned vp_cpl(const struct vp_state *state)
{
    return (state->seg[INSN_SS].attributes >> 5) & 3;
}

#endif
