#include "hv/vm/walk.h"
#include "hv/vmx/caps.h"
#include "hv/vmx/insn.h"
#include "hv/vmx/vmx.h"
#include "hv/x86/regs.h"

static uint64_t merge(uint64_t real, uint64_t shadow, uint64_t guest_owned)
{
    return (real & guest_owned) | (shadow & ~guest_owned);
}

#define READ_SEGMENT(name)                                  \
    (struct vp_segment)                                     \
    {                                                       \
        .selector = vmread16(VMCS_GUEST_##name##_SELECTOR), \
        .limit = vmread32(VMCS_GUEST_##name##_LIMIT),       \
        .attributes = vmread32(VMCS_GUEST_##name##_RIGHTS), \
        .base = vmread_natural(VMCS_GUEST_##name##_BASE)    \
    }

static const uint16_t pdpte_fields[] = {VMCS_GUEST_PDPTE0, VMCS_GUEST_PDPTE1, VMCS_GUEST_PDPTE2,
                                        VMCS_GUEST_PDPTE3};

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* A guest with EPT pages with the CPU's copy, which exits save (SDM 3C "Saving Non-Register State"). */
static void get_pdptes(struct vp_state *state)
{
    state->has_pdpte = pae_paging(state->cr0, state->cr4, state->efer);
    for (unsigned i = 0; state->has_pdpte && i < ARRAY_COUNT(pdpte_fields); i++)
        state->pdpte[i] = vmcs_get(pdpte_fields[i]);
}

void vmx_state_get(const struct vp *vp, struct vp_state *state)
{
    const struct vmx_vp *vmx = vmx_of(vp);

    state->real_cr0 = vmread_natural(VMCS_GUEST_CR0);
    state->cr0 = merge(state->real_cr0, vmread_natural(VMCS_CR0_READ_SHADOW), vmx->cr0_guest_owned);
    state->cr4 = merge(vmread_natural(VMCS_GUEST_CR4), vmread_natural(VMCS_CR4_READ_SHADOW),
                       vmx->cr4_guest_owned);
    state->cr3 = vmread_natural(VMCS_GUEST_CR3);
    state->efer = vmread64(VMCS_GUEST_EFER);
    state->pat = vmread64(VMCS_GUEST_PAT);
    state->rip = vmread_natural(VMCS_GUEST_RIP);
    state->rsp = vmread_natural(VMCS_GUEST_RSP);
    state->rflags = vmread_natural(VMCS_GUEST_RFLAGS);
    get_pdptes(state);
    state->seg[0] = READ_SEGMENT(ES);
    state->seg[1] = READ_SEGMENT(CS);
    state->seg[2] = READ_SEGMENT(SS);
    state->seg[3] = READ_SEGMENT(DS);
    state->seg[4] = READ_SEGMENT(FS);
    state->seg[5] = READ_SEGMENT(GS);
}

/* A change of paging bits that hardware would have flushed for (SDM 3A "Invalidation of TLBs"). */
static void flush_linear(const struct vmx_vp *vmx)
{
    if (vmx_caps.vpid)
        invvpid(INVVPID_SINGLE_CONTEXT, vmx->vpid);
}

/*
 * PAE paging keeps its four top entries in the CPU. A MOV CR that the guest makes by itself loads them; one that is
 * carried out for it must load them too (SDM 3A "PDPTE Registers"). Entries that cannot be read are not present.
 */
static void load_pdptes(struct vp *vp)
{
    uint64_t table = vmread_natural(VMCS_GUEST_CR3) & BITS(31, 5), entry;

    if (!pae_paging(vmread_natural(VMCS_GUEST_CR0), vmread_natural(VMCS_GUEST_CR4),
                    vmread64(VMCS_GUEST_EFER)))
        return;
    for (unsigned i = 0; i < ARRAY_COUNT(pdpte_fields); i++) {
        if (!guest_physical_read(vp->vm, GPA(table + i * sizeof(entry)), &entry, sizeof(entry)))
            entry = 0;
        vmcs_set(pdpte_fields[i], entry);
    }
}

/*
 * CD and NW stay 0 for the CPU whatever the guest wants: VMX would leave the hypervisor uncached. NE
 * is VMX's, ET is fixed. Unrestricted guest frees PE and PG from the fixed bits.
 */
void vmx_set_cr0(struct vp *vp, uint64_t value)
{
    struct vmx_vp *vmx = vmx_of(vp);
    uint64_t fixed = vmx_caps.cr0_fixed0 & ~(CR0_PE | CR0_PG);

    vmwrite_natural(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | fixed);
    vmwrite_natural(VMCS_CR0_READ_SHADOW, value);
    vmwrite_natural(VMCS_CR0_GUEST_HOST_MASK, ~vmx->cr0_guest_owned);
    load_pdptes(vp);
    flush_linear(vmx);
}

void vmx_set_cr4(struct vp *vp, uint64_t value)
{
    struct vmx_vp *vmx = vmx_of(vp);

    /* MCE is ours: without it a machine check in the guest would shut the machine down. */
    vmwrite_natural(VMCS_GUEST_CR4, value | vmx_caps.cr4_fixed0 | CR4_MCE);
    vmwrite_natural(VMCS_CR4_READ_SHADOW, value);
    vmwrite_natural(VMCS_CR4_GUEST_HOST_MASK, ~vmx->cr4_guest_owned);
    load_pdptes(vp);
    flush_linear(vmx);
}

void vmx_set_efer(struct vp *vp, uint64_t value)
{
    uint32_t entry = vmread32(VMCS_ENTRY_CONTROLS) & ~(uint32_t)ENTRY_IA32E;

    if (value & EFER_LMA)
        entry |= (uint32_t)ENTRY_IA32E;
    vmwrite32(VMCS_ENTRY_CONTROLS, entry);
    vmwrite64(VMCS_GUEST_EFER, value);
    flush_linear(vmx_of(vp));
}

void vmx_set_pat(struct vp *vp, uint64_t value)
{
    vmwrite64(VMCS_GUEST_PAT, value);
    flush_linear(vmx_of(vp));
}

void vmx_set_rflags(struct vp *vp, uint64_t value)
{
    (void)vp;
    vmwrite_natural(VMCS_GUEST_RFLAGS, value);
}

void vmx_load_rsp(struct vp *vp)
{
    vp->gpr[GPR_RSP] = vmread_natural(VMCS_GUEST_RSP);
}

void vmx_store_rsp(struct vp *vp)
{
    vmwrite_natural(VMCS_GUEST_RSP, vp->gpr[GPR_RSP]);
}

/* A report must not fail on a field that this CPU lacks. */
static void report_field(const char *name, uint64_t field)
{
    uint64_t value;

    if (vmcs_try_get(field, &value))
        log_line("vmcs", "%-26s %#18llx", name, (unsigned long long)value);
    else
        log_line("vmcs", "%-26s %18s", name, "not there");
}

#define REPORT_FIELD(width, name, encoding) report_field(#name, encoding);

void vmx_report(const struct vp *vp)
{
    (void)vp;
    VMCS_FIELD_LIST(REPORT_FIELD)
}
