/*
 * What RDMSR, WRMSR, MOV CR, CLTS, LMSW and XSETBV do for a guest: validated here as the manuals say, then
 * handed to the backend. (Which MSRs never exit is the backend's business.)
 */
#include "hv/mmio/insn.h"
#include "hv/vm/backend.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

static enum hv_resume refuse(struct vp *vp)
{
    vp_inject(vp, VECTOR_GP, true, 0);
    return HV_RESUME;
}

static enum hv_resume refuse_msr(struct vp *vp, const char *what, uint32_t msr)
{
    if (log_limit_pass(&vp->msr_log))
        log_line("vm", "%s of unknown MSR %#x: #GP", what, msr);
    return refuse(vp);
}

static bool pat_is_valid(uint64_t pat)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned type = (unsigned)(pat >> (i * 8)) & 0xff;

        if (type != MEMTYPE_UC_MINUS && !memtype_is_valid(type))
            return false;
    }
    return true;
}

/* MSRs with a constant answer. Writes to them: accepted and dropped, or refused. */
static const struct msr_constant {
    uint32_t msr;
    bool write_ignored;
    uint64_t value;
} constants[] = {
    {IA32_PLATFORM_ID, false, 0},
    {IA32_FEATURE_CONTROL, false, 1}, /* locked, virtualisation off */
    {IA32_BIOS_SIGN_ID, true, 0},
    {IA32_MTRRCAP, false, BIT(10)},                   /* no variable, no fixed ranges, WC there */
    {IA32_MTRR_DEF_TYPE, true, BIT(11) | MEMTYPE_WB}, /* enabled, or guests give up the PAT */
    {IA32_MISC_ENABLE, true, BIT(0)},                 /* fast strings */
};

static const struct msr_constant *constant_of(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_COUNT(constants); i++)
        if (constants[i].msr == msr)
            return &constants[i];
    return NULL;
}

enum hv_resume vp_msr_read(struct vp *vp)
{
    uint32_t msr = (uint32_t)vp->gpr[GPR_RCX];
    const struct msr_constant *constant = constant_of(msr);
    struct vp_state state;
    uint64_t value;

    if (apic_owns_msr(msr)) {
        if (!apic_msr_read(vp->apic, msr, &value))
            return refuse(vp);
    } else if (constant) {
        value = constant->value;
    } else if (msr == IA32_TSC) {
        value = rdtsc();
    } else if (msr == IA32_PAT || msr == IA32_EFER) {
        hv_backend->state_get(vp, &state);
        value = msr == IA32_PAT ? state.pat : state.efer;
    } else {
        return refuse_msr(vp, "read", msr);
    }
    vp->gpr[GPR_RAX] = (uint32_t)value;
    vp->gpr[GPR_RDX] = value >> 32;
    return HV_ADVANCE;
}

static enum hv_resume efer_write(struct vp *vp, uint64_t value)
{
    struct vp_state state;

    hv_backend->state_get(vp, &state);
    if (value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return refuse(vp);
    if ((state.cr0 & CR0_PG) && ((value ^ state.efer) & EFER_LME))
        return refuse(vp);
    hv_backend->set_efer(vp, (value & ~EFER_LMA) | (state.efer & EFER_LMA));
    vp_places_forget(vp);
    return HV_ADVANCE;
}

enum hv_resume vp_msr_write(struct vp *vp)
{
    uint32_t msr = (uint32_t)vp->gpr[GPR_RCX];
    uint64_t value = (uint32_t)vp->gpr[GPR_RAX] | vp->gpr[GPR_RDX] << 32;
    const struct msr_constant *constant = constant_of(msr);

    if (apic_owns_msr(msr))
        return apic_msr_write(vp->apic, msr, value) ? HV_ADVANCE : refuse(vp);
    if (constant)
        return constant->write_ignored ? HV_ADVANCE : refuse(vp);
    if (msr == IA32_EFER)
        return efer_write(vp, value);
    if (msr != IA32_PAT)
        return refuse_msr(vp, "write", msr);
    if (!pat_is_valid(value))
        return refuse(vp);
    hv_backend->set_pat(vp, value);
    return HV_ADVANCE;
}

/* SDM 3A "Control Registers": what MOV to CR0 refuses. */
static enum hv_resume cr0_write(struct vp *vp, const struct vp_state *state, uint64_t value)
{
    const uint32_t code_long = 1u << 13;
    uint64_t efer = state->efer;

    if ((value >> 32) || ((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return refuse(vp);
    value = (value & CR0_DEFINED) | CR0_ET;
    if ((value & CR0_PG) && !(state->cr0 & CR0_PG) && (efer & EFER_LME)) {
        if (!(state->cr4 & CR4_PAE) || (state->seg[INSN_CS].attributes & code_long))
            return refuse(vp);
        hv_backend->set_efer(vp, efer | EFER_LMA);
    } else if (!(value & CR0_PG) && (state->cr0 & CR0_PG) && (efer & EFER_LMA)) {
        if (state->seg[INSN_CS].attributes & code_long)
            return refuse(vp);
        hv_backend->set_efer(vp, efer & ~EFER_LMA);
    }
    hv_backend->set_cr0(vp, value);
    return HV_ADVANCE;
}

static enum hv_resume cr4_write(struct vp *vp, const struct vp_state *state, uint64_t value)
{
    if (value & ~vp->cr4_guest_bits)
        return refuse(vp);
    if ((state->efer & EFER_LMA) && !(value & CR4_PAE))
        return refuse(vp);
    vp_cpuid_set_osxsave(vp, (value & CR4_OSXSAVE) != 0);
    hv_backend->set_cr4(vp, value);
    return HV_ADVANCE;
}

/* CR8 always comes here; CR0 and CR4 do where the backend has no read shadows. */
static enum hv_resume cr_read(struct vp *vp, const struct hv_exit_cr *cr,
                              const struct vp_state *state)
{
    vp->gpr[cr->gpr] = cr->number == 8   ? apic_cr8_read(vp->apic)
                       : cr->number == 0 ? state->cr0
                                         : state->cr4;
    if (cr->gpr == GPR_RSP)
        hv_backend->store_rsp(vp);
    return HV_ADVANCE;
}

enum hv_resume vp_cr_access(struct vp *vp, const struct hv_exit_cr *cr)
{
    const uint64_t msw = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    struct vp_state state;

    hv_backend->state_get(vp, &state);
    if (cr->clts)
        return cr0_write(vp, &state, state.cr0 & ~CR0_TS);
    if (cr->lmsw) /* LMSW can set PE, not clear it */
        return cr0_write(vp, &state, (state.cr0 & ~(msw & ~CR0_PE)) | (cr->value & msw));
    if (!cr->write)
        return cr_read(vp, cr, &state);
    if (cr->number == 8) {
        if (cr->value & ~BITS(3, 0))
            return refuse(vp);
        apic_cr8_write(vp->apic, cr->value);
        return HV_ADVANCE;
    }
    return cr->number == 0 ? cr0_write(vp, &state, cr->value) : cr4_write(vp, &state, cr->value);
}

/*
 * SDM 2 "XSETBV": CPL 0, XCR0 only, x87 always, AVX only with SSE. CR4.OSXSAVE was checked by the CPU; the privilege
 * was not everywhere, for the exit comes first on some.
 */
enum hv_resume vp_xsetbv(struct vp *vp)
{
    uint64_t value = (uint32_t)vp->gpr[GPR_RAX] | vp->gpr[GPR_RDX] << 32;
    struct vp_state state;

    hv_backend->state_get(vp, &state);
    if (vp_cpl(&state) != 0 || (uint32_t)vp->gpr[GPR_RCX] != 0 || (value & ~vp->xcr0_mask) ||
        !(value & XCR0_X87) || ((value & XCR0_AVX) && !(value & XCR0_SSE)))
        return refuse(vp);
    xsetbv(0, value);
    return HV_ADVANCE;
}
