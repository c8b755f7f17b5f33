/*
 * Owns:     the interface between the core and a hardware backend.
 * Promises: this table is for cold paths only; the exit path is a direct call of vm_exit().
 * Needs:    hv/vm/vp.h.
 * Never:    vendor names outside the backends and the list in boot/main.c.
 */
#ifndef HV_VM_BACKEND_H
#define HV_VM_BACKEND_H

#include "hv/vm/vp.h"

struct backend {
    const char *name;
    const char *room; /* the word that its lines begin with */
    /* True when the CPU's vendor has this kind of virtualisation at all. */
    bool (*present)(void);
    /*
     * NULL when everything needed is there, and hv_caps is filled; else one sentence that says what is
     * missing and what to do.
     */
    const char *(*probe)(void);
    const struct pt_format *tables;
    void (*print_caps)(void);
    hv_status_t (*cpu_enable)(void); /* on each CPU */
    hv_status_t (*vp_create)(struct vp *vp, uint32_t entry,
                             uint32_t start_info); /* PVH start state */
    void (*vp_run)(struct vp *vp);                 /* until vm->stop is set */
    void (*state_get)(const struct vp *vp, struct vp_state *state);
    void (*set_cr0)(struct vp *vp, uint64_t value); /* as the guest wrote it, validated */
    void (*set_cr4)(struct vp *vp, uint64_t value);
    void (*set_efer)(struct vp *vp, uint64_t value);
    void (*set_pat)(struct vp *vp, uint64_t value);
    void (*set_rflags)(struct vp *vp, uint64_t value);
    /*
     * The effective type (enum memtype) of an access through `leaf` with caches on. The report has everything else by
     * then; has_mtrr and mtrr_type are filled here.
     */
    uint8_t (*memtype_combine)(const struct pt_leaf *leaf, struct hv_memtype_report *report);
    void (*load_rsp)(struct vp *vp);     /* RSP is not saved at exits: into vp->gpr ... */
    void (*store_rsp)(struct vp *vp);    /* ... and back */
    void (*report)(const struct vp *vp); /* registers of the control structure by name */
};

extern const struct backend *hv_backend; /* set once at boot */

#endif
