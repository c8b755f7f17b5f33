#include "hv/svm/svm.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/svm/caps.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define IOPM_PAGES      3u
#define MSRPM_PAGES     2u
#define FLAT_LIMIT      0xffffffffu
#define TSS32_LIMIT     0x67u
#define RFLAGS_RESERVED 2u
#define DR6_RESET       0xffff0ff0u
#define DR7_RESET       0x400u

static hv_status_t frames_zeroed(uint64_t pages, hpa_t *base)
{
    hv_status_t status = frames_alloc(&hv_frames, pages, 1, base);

    if (status == HV_OK)
        memset(direct(*base), 0, pages * PAGE_BYTES);
    return status;
}

hv_status_t svm_cpu_enable(void)
{
    uint64_t xsave = cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE : 0;
    hpa_t host_save;
    hv_status_t status = frames_zeroed(1, &host_save);

    if (status != HV_OK)
        return status;
    write_cr4(read_cr4() | xsave); /* XSETBV is carried out for the guest by the host */
    if (xsave)
        xsetbv(0, XCR0_X87);
    wrmsr(IA32_EFER, rdmsr(IA32_EFER) | EFER_SVME);
    wrmsr(VM_HSAVE_PA, host_save.v);
    return HV_OK;
}

/*
 * MSRs that the guest reads and writes without an exit: VMSAVE and VMLOAD switch them, or we never use them.
 * The map has two bits per MSR, read and write, in three ranges of 8192 MSRs; 1 intercepts.
 */
static void open_msrs(uint8_t *map)
{
    static const uint32_t open[] = {
        IA32_SYSENTER_CS, IA32_SYSENTER_ESP,   IA32_SYSENTER_EIP, IA32_STAR,
        IA32_LSTAR,       IA32_CSTAR,          IA32_FMASK,        IA32_FS_BASE,
        IA32_GS_BASE,     IA32_KERNEL_GS_BASE, IA32_TSC_AUX,
    };
    const uint32_t high_first = 0xc0000000u, range_msrs = 8192, range_bytes = 2048,
                   msrs_per_byte = 4;

    memset(map, 0xff, MSRPM_PAGES * PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_COUNT(open); i++) {
        uint32_t index = open[i] & (range_msrs - 1);
        uint32_t byte = (open[i] >= high_first ? range_bytes : 0) + index / msrs_per_byte;

        map[byte] &= (uint8_t) ~(3u << (index % msrs_per_byte * 2));
    }
}

static void write_controls(const struct vp *vp, struct vmcb *vmcb, hpa_t iopm, hpa_t msrpm)
{
    vmcb->cr_read_intercepts = (uint16_t)(BIT(4) | BIT(8)); /* CR4: MCE is ours */
    vmcb->cr_write_intercepts = (uint16_t)(BIT(0) | BIT(4) | BIT(8));
    vmcb->exception_intercepts = SVM_EXCEPTIONS;
    vmcb->intercepts1 =
        (uint32_t)(INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC |
                   INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA |
                   INTERCEPT_IO | INTERCEPT_MSR | INTERCEPT_FERR | INTERCEPT_SHUTDOWN);
    vmcb->intercepts2 =
        (uint32_t)(INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
                   INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |
                   INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_RDPRU | INTERCEPT_XSETBV);
    vmcb->iopm_base = iopm.v;
    vmcb->msrpm_base = msrpm.v;
    ASSERT(vp->vm->id + 1 < svm_caps.asids);
    vmcb->asid = vp->vm->id + 1;              /* 0 is the host's */
    vmcb->virtual_interrupt = V_INTR_MASKING; /* host interrupts heed the host's IF, which is 1 */
    vmcb->nested_control = NESTED_PAGING;
    vmcb->nested_cr3 = vp->vm->tables.root.v;
}

static const struct vmcb_segment data32 = {0, ATTRIBUTE_DATA32, FLAT_LIMIT, 0};

static void write_guest_state(struct vp *vp, struct vmcb *vmcb, uint32_t entry)
{
    vmcb->es = vmcb->ss = vmcb->ds = vmcb->fs = vmcb->gs = data32;
    vmcb->cs = (struct vmcb_segment){SELECTOR_CODE, ATTRIBUTE_CODE32, FLAT_LIMIT, 0};
    vmcb->ldtr = (struct vmcb_segment){0, ATTRIBUTE_LDT, 0, 0};
    vmcb->tr = (struct vmcb_segment){0, ATTRIBUTE_TSS32, TSS32_LIMIT, 0};
    vmcb->efer = EFER_SVME;
    vmcb->dr6 = DR6_RESET;
    vmcb->dr7 = DR7_RESET;
    vmcb->rflags = RFLAGS_RESERVED;
    vmcb->rip = entry;
    vmcb->g_pat = PAT_RESET;
    svm_set_cr0(vp, CR0_PE | CR0_ET);
    svm_set_cr4(vp, 0);
}

hv_status_t svm_vp_create(struct vp *vp, uint32_t entry, uint32_t start_info)
{
    hpa_t frame, vmcb, host_vmcb, iopm, msrpm;
    struct svm_vp *svm;
    hv_status_t status;

    if ((status = frames_zeroed(1, &frame)) != HV_OK ||
        (status = frames_zeroed(1, &vmcb)) != HV_OK ||
        (status = frames_zeroed(1, &host_vmcb)) != HV_OK ||
        (status = frames_zeroed(IOPM_PAGES, &iopm)) != HV_OK ||
        (status = frames_zeroed(MSRPM_PAGES, &msrpm)) != HV_OK)
        return status; /* the boot stops: nothing is given back */
    svm = direct(frame);
    *svm = (struct svm_vp){
        .vmcb_address = vmcb.v, .host_vmcb_address = host_vmcb.v, .vmcb = direct(vmcb)};
    vp->backend = svm;
    memset(direct(iopm), 0xff, IOPM_PAGES * PAGE_BYTES);
    open_msrs(direct(msrpm));
    write_controls(vp, svm->vmcb, iopm, msrpm);
    write_guest_state(vp, svm->vmcb, entry);
    if (cpuid(0x80000001, 0).edx & CPUID_8000_0001_EDX_RDTSCP)
        wrmsr(IA32_TSC_AUX, 0);
    vp->gpr[GPR_RBX] = start_info;
    return HV_OK;
}

const struct backend svm_backend = {
    .name = "svm-npt",
    .room = "svm",
    .present = svm_present,
    .probe = svm_probe,
    .tables = &pt_format_npt,
    .print_caps = svm_print_caps,
    .cpu_enable = svm_cpu_enable,
    .vp_create = svm_vp_create,
    .vp_run = svm_vp_run,
    .state_get = svm_state_get,
    .set_cr0 = svm_set_cr0,
    .set_cr4 = svm_set_cr4,
    .set_efer = svm_set_efer,
    .set_pat = svm_set_pat,
    .set_rflags = svm_set_rflags,
    .memtype_combine = svm_memtype_combine,
    .load_rsp = svm_load_rsp,
    .store_rsp = svm_store_rsp,
    .report = svm_report,
};
