#include "hv/vmx/vmx.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/vmx/caps.h"
#include "hv/vmx/insn.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/regs.h"

#define EPTP_WALK_4 (3ull << 3) /* page-walk length minus one */

/* Segment access rights as the VMCS has them (SDM 3C "Guest Register State"). */
#define RIGHTS_CODE32   0xc09bu /* 32-bit, execute/read, accessed, present, 4 KiB granular */
#define RIGHTS_DATA32   0xc093u
#define RIGHTS_LDT      0x0082u
#define RIGHTS_TSS32    0x008bu /* busy 32-bit TSS */
#define TSS32_LIMIT     0x67u
#define FLAT_LIMIT      0xffffffffu
#define RFLAGS_RESERVED 2u

/* entry.asm */
extern const uint8_t vmx_exit_stub[] __attribute__((visibility("hidden")));

static hv_status_t zero_frame(hpa_t *frame)
{
    hv_status_t status = frames_alloc(&hv_frames, 1, 1, frame);

    if (status == HV_OK)
        memset(direct(*frame), 0, PAGE_BYTES);
    return status;
}

static hv_status_t region_create(hpa_t *region)
{
    hv_status_t status = zero_frame(region);

    if (status == HV_OK)
        *(uint32_t *)direct(*region) = vmx_caps.revision;
    return status;
}

hv_status_t vmx_cpu_enable(void)
{
    /* XSETBV is carried out for the guest in root mode. */
    uint64_t xsave = cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE : 0;
    hpa_t region;
    hv_status_t status = region_create(&region);

    if (status != HV_OK)
        return status;
    write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
    write_cr4((read_cr4() | CR4_VMXE | xsave | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1);
    if (xsave)
        xsetbv(0, XCR0_X87); /* what a guest finds after reset */
    if (!vmxon(region))
        vmx_insn_failed("vmxon", region.v);
    invept(INVEPT_ALL_CONTEXTS, (eptp_t){0});
    return HV_OK;
}

/* The wanted bits, forced to what the CPU allows; probe() has seen that all needed ones are allowed. */
static uint32_t controls(enum vmx_controls word, uint64_t wanted)
{
    ASSERT((wanted & ~(uint64_t)vmx_caps.may_be_1[word]) == 0);
    return (uint32_t)wanted | vmx_caps.must_be_1[word];
}

static void write_controls(struct vmx_vp *vmx)
{
    uint64_t secondary = SECONDARY_EPT | SECONDARY_UNRESTRICTED;

    secondary |= vmx_caps.may_be_1[VMX_SECONDARY] & SECONDARY_RDTSCP;
    if (vmx_caps.vpid)
        secondary |= SECONDARY_VPID;
    vmwrite32(VMCS_PIN_CONTROLS,
              controls(VMX_PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI));
    vmx->primary =
        controls(VMX_PRIMARY, PRIMARY_HLT | PRIMARY_MWAIT | PRIMARY_RDPMC | PRIMARY_CR8_LOAD |
                                  PRIMARY_CR8_STORE | PRIMARY_IO_BITMAPS | PRIMARY_MSR_BITMAP |
                                  PRIMARY_MONITOR | PRIMARY_SECONDARY);
    vmwrite32(VMCS_PRIMARY_CONTROLS, vmx->primary);
    vmwrite32(VMCS_SECONDARY_CONTROLS, controls(VMX_SECONDARY, secondary));
    vmwrite32(VMCS_EXIT_CONTROLS,
              controls(VMX_EXIT, EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_ACK_INTERRUPT |
                                     EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
                                     EXIT_LOAD_EFER));
    vmwrite32(VMCS_ENTRY_CONTROLS,
              controls(VMX_ENTRY, ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER));

    /*
     * #MC is ours. #DB and #AC are intercepted because a guest can make their delivery loop for ever in
     * microcode; they are handed on. Every other exception is the guest's own business.
     */
    vmwrite32(VMCS_EXCEPTION_BITMAP, (uint32_t)(BIT(VECTOR_MC) | BIT(VECTOR_DB) | BIT(VECTOR_AC)));
    vmwrite32(VMCS_PAGE_FAULT_ERROR_MASK, 0);
    vmwrite32(VMCS_PAGE_FAULT_ERROR_MATCH, 0);
    vmwrite32(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite32(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite32(VMCS_ENTRY_INTERRUPTION_INFO, 0);
    vmwrite64(VMCS_IO_BITMAP_A, vmx->io_bitmap[0].v);
    vmwrite64(VMCS_IO_BITMAP_B, vmx->io_bitmap[1].v);
    vmwrite64(VMCS_MSR_BITMAP, vmx->msr_bitmap.v);
    vmwrite64(VMCS_TSC_OFFSET, 0);
    vmwrite64(VMCS_EPT_POINTER, vmx->eptp.v);
    vmwrite64(VMCS_LINK_POINTER, ~0ull);
    if (vmx_caps.vpid)
        vmwrite16(VMCS_VPID, vmx->vpid);
}

static void write_host_state(struct vp *vp)
{
    struct cpu *cpu = this_cpu();

    vmwrite16(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite16(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite16(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite16(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite64(VMCS_HOST_PAT, HV_PAT);
    vmwrite64(VMCS_HOST_EFER, rdmsr(IA32_EFER));
    vmwrite32(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite_natural(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite_natural(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite_natural(VMCS_HOST_CR0, read_cr0());
    vmwrite_natural(VMCS_HOST_CR3, read_cr3());
    vmwrite_natural(VMCS_HOST_CR4, read_cr4());
    vmwrite_natural(VMCS_HOST_FS_BASE, 0);
    vmwrite_natural(VMCS_HOST_GS_BASE, (uint64_t)(uintptr_t)cpu);
    vmwrite_natural(VMCS_HOST_TR_BASE, cpu_tss_base(cpu));
    vmwrite_natural(VMCS_HOST_GDTR_BASE, (uint64_t)(uintptr_t)cpu->gdt);
    vmwrite_natural(VMCS_HOST_IDTR_BASE, cpu_idt_base());
    vmwrite_natural(VMCS_HOST_RSP, (uint64_t)(uintptr_t)&vp->gpr[GPR_COUNT]);
    vmwrite_natural(VMCS_HOST_RIP, (uint64_t)(uintptr_t)vmx_exit_stub);
}

/* X(segment, rights, limit): the state in which PVH starts a guest. */
#define PVH_SEGMENTS(X)              \
    X(ES, RIGHTS_DATA32, FLAT_LIMIT) \
    X(CS, RIGHTS_CODE32, FLAT_LIMIT) \
    X(SS, RIGHTS_DATA32, FLAT_LIMIT) \
    X(DS, RIGHTS_DATA32, FLAT_LIMIT) \
    X(FS, RIGHTS_DATA32, FLAT_LIMIT) \
    X(GS, RIGHTS_DATA32, FLAT_LIMIT) \
    X(LDTR, RIGHTS_LDT, 0)           \
    X(TR, RIGHTS_TSS32, TSS32_LIMIT)

#define WRITE_SEGMENT(name, rights, limit)         \
    vmwrite16(VMCS_GUEST_##name##_SELECTOR, 0);    \
    vmwrite32(VMCS_GUEST_##name##_RIGHTS, rights); \
    vmwrite32(VMCS_GUEST_##name##_LIMIT, limit);   \
    vmwrite_natural(VMCS_GUEST_##name##_BASE, 0);

static void write_guest_segments(void)
{
    PVH_SEGMENTS(WRITE_SEGMENT)
    vmwrite16(VMCS_GUEST_CS_SELECTOR,
              SELECTOR_CODE); /* any non-null value; the guest loads its own */
    vmwrite32(VMCS_GUEST_GDTR_LIMIT, 0);
    vmwrite32(VMCS_GUEST_IDTR_LIMIT, 0);
    vmwrite_natural(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite_natural(VMCS_GUEST_IDTR_BASE, 0);
}

static void write_guest_state(struct vp *vp, uint32_t entry)
{
    const uint64_t dr7_reset = 0x400;

    write_guest_segments();
    vmx_set_cr0(vp, CR0_PE | CR0_ET);
    vmx_set_cr4(vp, 0);
    vmwrite_natural(VMCS_GUEST_CR3, 0);
    vmwrite_natural(VMCS_GUEST_DR7, dr7_reset);
    vmwrite_natural(VMCS_GUEST_RSP, 0);
    vmwrite_natural(VMCS_GUEST_RIP, entry);
    vmwrite_natural(VMCS_GUEST_RFLAGS, RFLAGS_RESERVED);
    vmwrite_natural(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite_natural(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite_natural(VMCS_GUEST_SYSENTER_EIP, 0);
    vmwrite32(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite32(VMCS_GUEST_ACTIVITY, 0);
    vmwrite64(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite64(VMCS_GUEST_PAT, PAT_RESET);
    vmwrite64(VMCS_GUEST_EFER, 0);
}

/*
 * MSRs that the guest reads and writes without an exit: the VMCS switches them, or we never use them.
 * The bitmap has four parts of 1 KiB: read low, read high, write low, write high MSRs; 1 intercepts.
 */
static void open_msrs(hpa_t bitmap)
{
    static const uint32_t open[] = {
        IA32_SYSENTER_CS, IA32_SYSENTER_ESP,   IA32_SYSENTER_EIP, IA32_STAR,
        IA32_LSTAR,       IA32_CSTAR,          IA32_FMASK,        IA32_FS_BASE,
        IA32_GS_BASE,     IA32_KERNEL_GS_BASE, IA32_TSC_AUX,
    };
    const uint32_t high_first = 0xc0000000u, part_bytes = 1024, high_part = 1024, write_part = 2048;
    uint8_t *map = direct(bitmap);

    memset(map, 0xff, PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(open); i++) {
        uint32_t part = open[i] >= high_first ? high_part : 0;
        uint32_t byte = (open[i] & (part_bytes * 8 - 1)) / 8;
        uint8_t keep = (uint8_t) ~(1u << (open[i] % 8));

        map[part + byte] &= keep;
        map[part + write_part + byte] &= keep;
    }
}

/* State that VMX does not switch and we do not use: the guest finds it as after reset, not as firmware left it. */
static void reset_unswitched_state(void)
{
    static const uint32_t msrs[] = {IA32_STAR, IA32_LSTAR, IA32_CSTAR, IA32_FMASK,
                                    IA32_KERNEL_GS_BASE};
    const uint64_t dr6_reset = 0xffff0ff0;

    for (unsigned i = 0; i < ARRAY_COUNT(msrs); i++)
        wrmsr(msrs[i], 0);
    if (vmx_caps.may_be_1[VMX_SECONDARY] & SECONDARY_RDTSCP)
        wrmsr(IA32_TSC_AUX, 0);
    write_dr6(dr6_reset);
    write_cr2(0);
}

/* Frames of a VP that could not be made are not given back: the boot stops then. */
static hv_status_t allocate(struct vp *vp)
{
    hpa_t frame;
    struct vmx_vp *vmx;
    hv_status_t status = zero_frame(&frame);

    if (status != HV_OK)
        return status;
    vmx = direct(frame);
    vp->backend = vmx;
    if ((status = region_create(&vmx->vmcs)) != HV_OK ||
        (status = zero_frame(&vmx->msr_bitmap)) != HV_OK ||
        (status = zero_frame(&vmx->io_bitmap[0])) != HV_OK ||
        (status = zero_frame(&vmx->io_bitmap[1])) != HV_OK)
        return status;
    open_msrs(vmx->msr_bitmap);
    memset(direct(vmx->io_bitmap[0]), 0xff, PAGE_BYTES);
    memset(direct(vmx->io_bitmap[1]), 0xff, PAGE_BYTES);
    return HV_OK;
}

hv_status_t vmx_vp_create(struct vp *vp, uint32_t entry, uint32_t start_info)
{
    struct vmx_vp *vmx;
    hv_status_t status = allocate(vp);

    if (status != HV_OK)
        return status;
    vmx = vmx_of(vp);
    vmx->vpid = (uint16_t)(vp->vm->id + 1); /* 0 is the host's */
    vmx->eptp.v = vp->vm->tables.root.v | EPTP_WALK_4 | MEMTYPE_WB;
    vmx->cr0_guest_owned = CR0_DEFINED & ~(CR0_CD | CR0_NW | CR0_NE | CR0_ET);
    vp->cr4_guest_bits &= vmx_caps.cr4_fixed1;
    vmx->cr4_guest_owned = vp->cr4_guest_bits & ~CR4_OSXSAVE;
    if (!vmclear(vmx->vmcs) || !vmptrld(vmx->vmcs))
        vmx_insn_failed("vmclear/vmptrld", vmx->vmcs.v);
    write_controls(vmx);
    write_host_state(vp);
    write_guest_state(vp, entry);
    reset_unswitched_state();
    if (vmx_caps.vpid)
        invvpid(INVVPID_SINGLE_CONTEXT, vmx->vpid);
    vp->gpr[GPR_RBX] = start_info;
    return HV_OK;
}

const struct backend vmx_backend = {
    .name = "vmx-ept",
    .room = "vmx",
    .present = vmx_present,
    .probe = vmx_probe,
    .tables = &pt_format_ept,
    .print_caps = vmx_print_caps,
    .cpu_enable = vmx_cpu_enable,
    .vp_create = vmx_vp_create,
    .vp_run = vmx_vp_run,
    .state_get = vmx_state_get,
    .set_cr0 = vmx_set_cr0,
    .set_cr4 = vmx_set_cr4,
    .set_efer = vmx_set_efer,
    .set_pat = vmx_set_pat,
    .set_rflags = vmx_set_rflags,
    .memtype_combine = vmx_memtype_combine,
    .load_rsp = vmx_load_rsp,
    .store_rsp = vmx_store_rsp,
    .report = vmx_report,
};
