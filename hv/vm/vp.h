/*
 * Owns:     a virtual CPU: registers, the pending event, cached policy.
 * Promises: on the exit path the core reads and writes only this structure and struct hv_exit.
 * Needs:    hv/vm/vm.h.
 * Never:    shared: only its physical CPU touches it while it runs.
 */
#ifndef HV_VM_VP_H
#define HV_VM_VP_H

#include "hv/mmio/insn.h"
#include "hv/vm/apic.h"
#include "hv/vm/trail.h"
#include "hv/vm/vm.h"
#include "hv/x86/regs.h"

/* What the next entry delivers to the guest. */
enum vp_event_kind { VP_EVENT_NONE, VP_EVENT_EXCEPTION, VP_EVENT_REINJECT };

struct vp_event {
    uint8_t kind;   /* enum vp_event_kind */
    uint8_t beside; /* struct vp's own: see due */
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint32_t raw; /* REINJECT: the backend's own encoding of an interrupted delivery */
    uint32_t raw_length;
    uint64_t address; /* #PF: what CR2 becomes. #DB: causes that DR6 gets besides what it has */
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
    /* PAE paging: the CPU's copy of the four top entries, where a CPU keeps one in the guest. */
    bool has_pdpte;
    uint64_t pdpte[4];
};

#define CPUID_BASIC_LEAVES    14u /* 0 .. 0xD */
#define CPUID_EXTENDED_LEAVES 9u  /* 0x80000000 .. 0x80000008 */

struct cpuid_answer {
    uint32_t eax, ebx, ecx, edx;
};

/*
 * A place in the guest's code whose trapped access was carried out: the short way for the next time (hv/vm/usual.h).
 * Nothing of it is believed: the guest's table entries and the bytes are read again and compared, so a place is what a
 * walk and a decoder would find, or it does not count. The short way takes a MOV without a segment base or RSP.
 */
struct vp_place {
    uint64_t rip;
    struct guest_trail trail;
    const uint8_t *code; /* in guest RAM: the 15 bytes at rip, all in one page */
    uint64_t bytes[2];   /* from the first and from VP_PLACE_SECOND on */
    /* The instruction, as far as it can be worked out before the registers are known. */
    uint64_t disp; /* with rip and length when it is relative to them */
    uint64_t imm;  /* what a store of an immediate writes, else 0 */
    uint64_t mask; /* ones, as wide as the access; 0 for an immediate, which has no register */
    uint8_t kind;  /* enum vp_place_kind */
    uint8_t base, index,
        reg;       /* as in insn (an immediate: any reg); nearer, which saves two instructions */
    uint8_t shift; /* of the register: 8 for AH, CH, DH, BH */
    uint8_t not_needed; /* all bits but enum insn_access: what need not have been tried */
    uint8_t unaligned;  /* bits of the address that must be 0 */
    struct insn insn;
} ALIGNED(256);
enum vp_place_kind { PLACE_STORE, PLACE_LOAD, PLACE_LOAD_NARROW };
#define VP_PLACES       64u
#define VP_PLACE_SECOND (INSN_MAX_BYTES - sizeof(uint64_t))

/* A page of operands, found by a walk that is compared in the same way. */
struct vp_page {
    struct guest_trail trail;
    uint64_t linear, gpa; /* its first byte */
    bool writable, user;  /* what the entries together allow */
    bool accessed, dirty; /* the bits that such accesses set are set */
} ALIGNED(128);
#define VP_PAGES 16u

struct vp {
    uint64_t gpr
        [GPR_COUNT];   /* first: the exit stub pushes them here. [GPR_RSP] is stale: see load_rsp */
    uint64_t host_rsp; /* where the run loop's stack continues */
    struct vm *vm;
    void *backend; /* the backend's own part */
    union {
        struct vp_event event;
        struct {
            uint8_t event_kind;
            /* The APIC may have something to deliver: set by apic.c, cleared by vp_next_event() when nothing waits. */
            bool attention;
        };
        uint16_t due; /* both in one compare: not 0, and the entry has something to look at */
    };
    uint64_t flushed_generation; /* vm->generation that this VP's CPU last flushed for */
    unsigned last_region;
    struct vp_page operand[VP_PAGES];
    struct vp_place place[VP_PLACES];
    struct apic *apic;
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
void vp_cpuid_set_apic(struct vp *vp, bool on);

/* hv/vm/msr.c: what RDMSR, WRMSR, MOV CR and XSETBV do. HV_RESUME: #GP was queued. */
enum hv_resume vp_msr_read(struct vp *vp);
enum hv_resume vp_msr_write(struct vp *vp);
enum hv_resume vp_cr_access(struct vp *vp, const struct hv_exit_cr *cr);
enum hv_resume vp_xsetbv(struct vp *vp);

/* hv/vm/io.c */
enum hv_resume vp_port_access(struct vp *vp, const struct hv_exit_io *io);

/* hv/vm/mmio.c. A backend tries hv/vm/usual.h first. */
enum hv_resume vp_memory_fault(struct vp *vp, struct hv_exit *exit);

/* First of all, and whenever the guest writes EFER: what is kept of tables has been found legal with NXE as it was. */
void vp_places_forget(struct vp *vp);

/* hv/vm/access.c: carry out the instruction at exit->rip, whatever it is and wherever its operands are. */
enum hv_resume vp_emulate(struct vp *vp, struct hv_exit *exit);

/* hv/vm/exit.c: what ends with an instruction whose RFLAGS had TF or RF set: #DB is queued, RF goes. */
void vp_step_done(struct vp *vp, uint64_t rflags);

/* hv/vm/deliver.c: what the guest can take at this moment, and what the next entry is to do. */
#define VP_TAKES_INTERRUPT   BIT(0)
#define VP_TAKES_NMI         BIT(1)
#define VP_TAKES_ERROR_CODES BIT(2) /* real mode knows none */

struct vp_delivery {
    /* 0, or in the form that both vendors' control structures have: vector, type in bits 10:8, bit 11 with an error code,
     * bit 31. */
    uint32_t info;
    uint32_t error;
    /* A new one: vp->event still has its vector and address. It ends the shadow of STI and MOV SS. */
    bool exception;
    bool nmi;      /* a new one: NMIs are blocked from now on */
    uint8_t waits; /* VP_TAKES_*: what the entry is to be told of when the guest can take it */
};
#define DELIVERY_TYPE           BITS(10, 8)
#define DELIVERY_HAS_ERROR      BIT(11)
#define DELIVERY_VALID          BIT(31)
#define DELIVERY_TYPE_INTERRUPT 0u
#define DELIVERY_TYPE_NMI       2u
#define DELIVERY_TYPE_EXCEPTION 3u

/* For a backend, when vp->due is not 0. What is chosen counts as delivered. */
struct vp_delivery vp_next_event(struct vp *vp, unsigned takes);
/* Would it be an NMI or an interrupt? */
bool vp_has_event(struct vp *vp, unsigned takes);

/* Queue an exception for the next entry. */
void vp_inject(struct vp *vp, uint8_t vector, bool has_error, uint32_t error);
void vp_inject_page_fault(struct vp *vp, gva_t address, uint32_t error);
void vp_inject_debug(struct vp *vp, uint64_t causes); /* bits of DR6 */

/* The current privilege level: the DPL of SS, whatever the mode. */
static inline unsigned vp_cpl(const struct vp_state *state)
{
    return (state->seg[INSN_SS].attributes >> 5) & 3;
}

static inline enum insn_mode vp_code_mode(const struct vp_state *state)
{
    const uint32_t is_long = 1u << 13, is_big = 1u << 14;
    uint32_t code = state->seg[INSN_CS].attributes;

    if ((state->efer & EFER_LMA) && (code & is_long))
        return INSN_64;
    return code & is_big ? INSN_32 : INSN_16;
}

/* Where the instruction is: only 64-bit code has no CS base. */
static inline uint64_t vp_code_address(const struct vp_state *state)
{
    if (vp_code_mode(state) == INSN_64)
        return state->rip;
    return (uint32_t)(state->seg[INSN_CS].base + state->rip);
}

#endif
