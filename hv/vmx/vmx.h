/*
 * Owns:     the VMX side of a VP: VMCS, bitmaps, entry and exit.
 * Promises: hv/vmx is reached through one table (vmx_backend) and calls the core's vm_exit() directly.
 * Needs:    base, x86, ept, hv/vm.
 * Never:    devices, sections, boot.
 */
#ifndef HV_VMX_VMX_H
#define HV_VMX_VMX_H

#include "hv/vm/backend.h"

/* Owner: its VP. Allocated from frames, one page. */
struct vmx_vp {
    hpa_t vmcs;
    hpa_t msr_bitmap;
    hpa_t io_bitmap[2];
    eptp_t eptp;
    uint16_t vpid;
    bool launched;
    uint32_t primary;         /* its controls, with the windows that are asked for */
    uint64_t cr0_guest_owned; /* bits that the guest changes without an exit */
    uint64_t cr4_guest_owned;
};

extern const struct backend vmx_backend;

static inline struct vmx_vp *vmx_of(const struct vp *vp)
{
    return vp->backend;
}

/* setup.c */
hv_status_t vmx_cpu_enable(void);
hv_status_t vmx_vp_create(struct vp *vp, uint32_t entry, uint32_t start_info);

/* run.c */
void vmx_vp_run(struct vp *vp);

/* state.c */
void vmx_state_get(const struct vp *vp, struct vp_state *state);
void vmx_set_cr0(struct vp *vp, uint64_t value);
void vmx_set_cr4(struct vp *vp, uint64_t value);
void vmx_set_efer(struct vp *vp, uint64_t value);
void vmx_set_pat(struct vp *vp, uint64_t value);
void vmx_set_rflags(struct vp *vp, uint64_t value);
void vmx_load_rsp(struct vp *vp);
void vmx_store_rsp(struct vp *vp);
void vmx_report(const struct vp *vp);

/* memtype.c */
uint8_t vmx_memtype_combine(const struct pt_leaf *leaf, struct hv_memtype_report *report);

#endif
