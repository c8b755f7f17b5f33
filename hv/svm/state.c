#include "hv/svm/caps.h"
#include "hv/svm/svm.h"
#include "hv/x86/regs.h"

/*
 * To the form that struct vp_segment has: the four flag bits lie four higher there, and what is not present cannot
 * be used.
 */
static struct vp_segment segment(const struct vmcb_segment *s)
{
    const uint32_t present = 0x80;
    uint32_t attributes = s->attributes;

    return (struct vp_segment){s->selector, s->limit,
                               (attributes & 0xff) | (attributes & 0xf00) << 4 |
                                   (attributes & present ? 0 : SEGMENT_UNUSABLE),
                               s->base};
}

/* FS, GS and the other state that #VMEXIT leaves alone is in the VMCB too: entry.asm does VMSAVE. */
void svm_state_get(const struct vp *vp, struct vp_state *state)
{
    const struct svm_vp *svm = svm_of(vp);
    const struct vmcb *vmcb = svm->vmcb;
    const uint32_t dpl = 3u << 5;

    state->cr0 = svm->cr0_seen;
    state->real_cr0 = vmcb->cr0;
    state->cr3 = vmcb->cr3;
    state->cr4 = svm->cr4_seen;
    state->efer = vmcb->efer & ~EFER_SVME;
    state->pat = vmcb->g_pat;
    state->rip = vmcb->rip;
    state->rsp = vmcb->rsp;
    state->rflags = vmcb->rflags;
    state->has_pdpte = false; /* APM 2 "Legacy PAE Mode": read by each walk */
    state->seg[0] = segment(&vmcb->es);
    state->seg[1] = segment(&vmcb->cs);
    state->seg[2] = segment(&vmcb->ss);
    state->seg[3] = segment(&vmcb->ds);
    state->seg[4] = segment(&vmcb->fs);
    state->seg[5] = segment(&vmcb->gs);
    state->seg[2].attributes = (state->seg[2].attributes & ~dpl) | (uint32_t)vmcb->cpl << 5;
}

/* A change of paging bits behind the CPU's back: its TLB does not know (APM 2 "TLB Flush"). */
static void flush(struct vmcb *vmcb)
{
    vmcb->tlb_control = svm_caps.flush_by_asid ? TLB_CONTROL_FLUSH_ASID : TLB_CONTROL_FLUSH_ALL;
}

/*
 * CD and NW stay 0 for the CPU: a guest does not switch off its caches, as under VMX. There is no read shadow, so
 * reads are intercepted while the guest believes otherwise.
 */
void svm_set_cr0(struct vp *vp, uint64_t value)
{
    struct svm_vp *svm = svm_of(vp);
    struct vmcb *vmcb = svm->vmcb;
    const uint16_t cr0_read = 1;
    uint64_t changed;

    changed = (vmcb->cr0 ^ value) & (CR0_PG | CR0_WP);
    svm->cr0_seen = value;
    vmcb->cr0 = value & ~(CR0_CD | CR0_NW);
    vmcb->cr_read_intercepts = (uint16_t)(vmcb->cr_read_intercepts & ~cr0_read);
    if (vmcb->cr0 != value)
        vmcb->cr_read_intercepts |= cr0_read;
    if (changed)
        flush(vmcb);
}

void svm_set_cr4(struct vp *vp, uint64_t value)
{
    struct svm_vp *svm = svm_of(vp);

    /* Without MCE a machine check in the guest would shut the machine down instead of coming to us. */
    svm->cr4_seen = value;
    svm->vmcb->cr4 = value | CR4_MCE;
    flush(svm->vmcb);
}

void svm_set_efer(struct vp *vp, uint64_t value)
{
    struct vmcb *vmcb = svm_of(vp)->vmcb;

    vmcb->efer = value | EFER_SVME; /* VMRUN wants it set; the guest does not see it */
    flush(vmcb);
}

void svm_set_pat(struct vp *vp, uint64_t value)
{
    struct vmcb *vmcb = svm_of(vp)->vmcb;

    vmcb->g_pat = value;
    flush(vmcb);
}

void svm_set_rflags(struct vp *vp, uint64_t value)
{
    svm_of(vp)->vmcb->rflags = value;
}

void svm_load_rsp(struct vp *vp)
{
    vp->gpr[GPR_RSP] = svm_of(vp)->vmcb->rsp;
}

void svm_store_rsp(struct vp *vp)
{
    svm_of(vp)->vmcb->rsp = vp->gpr[GPR_RSP];
}

/* X(field): what the report shows. */
#define REPORT_LIST(X)      \
    X(cr_read_intercepts)   \
    X(cr_write_intercepts)  \
    X(exception_intercepts) \
    X(intercepts1)          \
    X(intercepts2)          \
    X(iopm_base)            \
    X(msrpm_base)           \
    X(asid)                 \
    X(tlb_control)          \
    X(virtual_interrupt)    \
    X(interrupt_shadow)     \
    X(exit_code)            \
    X(exit_info1)           \
    X(exit_info2)           \
    X(exit_int_info)        \
    X(nested_control)       \
    X(event_injection)      \
    X(nested_cr3)           \
    X(next_rip)             \
    X(cpl)                  \
    X(efer)                 \
    X(cr0)                  \
    X(cr2)                  \
    X(cr3)                  \
    X(cr4)                  \
    X(dr6)                  \
    X(dr7)                  \
    X(rflags)               \
    X(rip)                  \
    X(rsp)                  \
    X(rax)                  \
    X(g_pat)

#define REPORT_FIELD(field) \
    log_line("vmcb", "%-26s %#18llx", #field, (unsigned long long)vmcb->field);

#define REPORT_SEGMENTS(X) X(es) X(cs) X(ss) X(ds) X(fs) X(gs) X(ldtr) X(tr) X(gdtr) X(idtr)
#define REPORT_SEGMENT(name)                                                             \
    log_line("vmcb", "%-4s selector %#6x attributes %#5x limit %#10x base %#llx", #name, \
             vmcb->name.selector, vmcb->name.attributes, vmcb->name.limit,               \
             (unsigned long long)vmcb->name.base);

void svm_report(const struct vp *vp)
{
    const struct vmcb *vmcb = svm_of(vp)->vmcb;

    REPORT_LIST(REPORT_FIELD)
    REPORT_SEGMENTS(REPORT_SEGMENT)
}
