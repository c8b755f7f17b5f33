/*
 * Owns:     the SVM side of a VP: VMCB, permission maps, entry and exit.
 * Promises: hv/svm is reached through one table (svm_backend) and calls the core's vm_exit() directly.
 * Needs:    base, x86, ept, hv/vm.
 * Never:    devices, sections, boot.
 */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include "hv/svm/vmcb.h"
#include "hv/vm/backend.h"
#include "hv/x86/regs.h"

/* Owner: its VP. Allocated from frames, one page. The first two members are entry.asm's. */
struct svm_vp {
    uint64_t vmcb_address;      /* host-physical */
    uint64_t host_vmcb_address; /* where VMSAVE keeps what #VMEXIT does not restore */
    struct vmcb *vmcb;
    uint64_t cr0_seen; /* CR0 as the guest sees it: CD and NW are kept from the CPU */
    uint64_t cr4_seen; /* CR4 likewise: MCE is ours */
    /* From an NMI until the guest's IRET is over, which is single-stepped (nmi.c). */
    bool nmi_blocked, stepping;
    uint64_t iret_rip, own_flags, own_dr6; /* while stepping: what was before */
    struct alarm again;                    /* an NMI that waits is looked at again */
};

/* As under VMX: #MC is ours, and delivery of #DB and #AC could loop for ever in microcode. */
#define SVM_EXCEPTIONS ((uint32_t)(BIT(VECTOR_MC) | BIT(VECTOR_DB) | BIT(VECTOR_AC)))

extern const struct backend svm_backend;

static inline struct svm_vp *svm_of(const struct vp *vp)
{
    return vp->backend;
}

static inline bool svm_is_code_64(const struct vmcb *vmcb)
{
    return (vmcb->efer & EFER_LMA) && (vmcb->cs.attributes & ATTRIBUTE_LONG);
}

/* setup.c */
hv_status_t svm_cpu_enable(void);
hv_status_t svm_vp_create(struct vp *vp, uint32_t entry, uint32_t start_info);

/* run.c */
void svm_vp_run(struct vp *vp);

/* nmi.c */
void svm_nmi_block(struct svm_vp *svm); /* one is delivered */
void svm_nmi_retry(struct svm_vp *svm); /* one cannot be delivered now, though none is blocked */
void svm_nmi_iret(struct svm_vp *svm);  /* the exit before an IRET: step over it */
void svm_nmi_undo_step(struct svm_vp *svm); /* an event comes before it */
/* The exit of an exception while stepping. True: it was nothing but the step. */
bool svm_nmi_step_done(struct vp *vp);

/* state.c */
void svm_state_get(const struct vp *vp, struct vp_state *state);
void svm_set_cr0(struct vp *vp, uint64_t value);
void svm_set_cr4(struct vp *vp, uint64_t value);
void svm_set_efer(struct vp *vp, uint64_t value);
void svm_set_pat(struct vp *vp, uint64_t value);
void svm_set_rflags(struct vp *vp, uint64_t value);
void svm_load_rsp(struct vp *vp);
void svm_store_rsp(struct vp *vp);
void svm_report(const struct vp *vp);

/* memtype.c */
void svm_memtype_init(void); /* reads the MTRRs */
uint8_t svm_memtype_combine(const struct pt_leaf *leaf, struct hv_memtype_report *report);

/* insn.c: instructions whose exits do not tell enough when nRIP and decode assists are missing. */
struct svm_insn {
    uint8_t length;
    uint8_t modrm; /* of MOV CR, CLTS has none: 0 */
    uint8_t rex;
    uint8_t opcode[2];
};

bool svm_fetch_insn(const struct vp *vp, struct svm_insn *insn);

#endif
