#include "hv/vmx/caps.h"

#include "ept/format.h"
#include "hv/base/log.h"
#include "hv/vm/vm.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define IA32_VMX_BASIC                  0x480u
#define IA32_VMX_PIN_CONTROLS           0x481u
#define IA32_VMX_PRIMARY_CONTROLS       0x482u
#define IA32_VMX_EXIT_CONTROLS          0x483u
#define IA32_VMX_ENTRY_CONTROLS         0x484u
#define IA32_VMX_CR0_FIXED0             0x486u
#define IA32_VMX_CR0_FIXED1             0x487u
#define IA32_VMX_CR4_FIXED0             0x488u
#define IA32_VMX_CR4_FIXED1             0x489u
#define IA32_VMX_SECONDARY              0x48bu
#define IA32_VMX_EPT_VPID_CAP           0x48cu
#define IA32_VMX_TRUE_PIN_CONTROLS      0x48du

#define BASIC_REVISION                  BITS(30, 0)
#define BASIC_REGION_BYTES              BITS(44, 32)
#define BASIC_TRUE_CONTROLS             BIT(55)

#define FEATURE_CONTROL_LOCK            BIT(0)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX BIT(2)

struct vmx_caps vmx_caps;

/* What must be there, in the order in which it is reported. */
static const struct need {
    enum vmx_controls word;
    uint64_t bit;
    const char *missing;
} control_needs[] = {
    {VMX_PRIMARY, PRIMARY_SECONDARY,
     "this CPU has no secondary controls, so no EPT: use a newer Intel CPU"},
    {VMX_SECONDARY, SECONDARY_EPT,
     "this CPU has no EPT: use one of the Nehalem generation or later"},
    {VMX_SECONDARY, SECONDARY_UNRESTRICTED,
     "this CPU has no unrestricted guest: use one of the Westmere generation or later"},
    {VMX_PIN, PIN_VIRTUAL_NMI, "this CPU has no virtual NMIs: use one that has them"},
    {VMX_PIN, PIN_NMI | PIN_EXTERNAL_INTERRUPT,
     "this CPU cannot exit on interrupts and NMIs: use one that can"},
    {VMX_PRIMARY, PRIMARY_INTR_WINDOW | PRIMARY_NMI_WINDOW,
     "this CPU has no interrupt and NMI windows: use one that has them"},
    {VMX_PRIMARY,
     PRIMARY_HLT | PRIMARY_IO_BITMAPS | PRIMARY_MSR_BITMAP | PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE |
         PRIMARY_MWAIT | PRIMARY_MONITOR | PRIMARY_RDPMC,
     "this CPU lacks HLT, CR8, MWAIT, RDPMC, I/O-bitmap or MSR-bitmap exits: use one that has "
     "them"},
    {VMX_EXIT, EXIT_HOST_64 | EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PAT | EXIT_LOAD_PAT,
     "this CPU cannot switch EFER and PAT at exits: use one that can"},
    {VMX_ENTRY, ENTRY_LOAD_EFER | ENTRY_LOAD_PAT,
     "this CPU cannot load EFER and PAT at entries: use one that can"},
};

static const struct {
    uint64_t bit;
    const char *missing;
} ept_needs[] = {
    {EPT_CAP_4_LEVEL, "EPT of this CPU has no 4-level walk: use one that has it"},
    {EPT_CAP_UC | EPT_CAP_WB,
     "EPT of this CPU lacks the UC or WB memory type for its tables: use one that has both"},
    {EPT_CAP_INVEPT | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL,
     "this CPU lacks INVEPT: use one that has it"},
};

static void read_controls(enum vmx_controls word, uint32_t msr)
{
    uint64_t value = rdmsr(msr);

    vmx_caps.must_be_1[word] = (uint32_t)value;
    vmx_caps.may_be_1[word] = (uint32_t)(value >> 32);
}

/*
 * The TRUE MSRs also say which of the formerly fixed-to-1 controls may be 0; they lie in the same order
 * behind IA32_VMX_TRUE_PIN_CONTROLS.
 */
static void read_all_controls(bool true_controls)
{
    uint32_t pin = true_controls ? IA32_VMX_TRUE_PIN_CONTROLS : IA32_VMX_PIN_CONTROLS;

    read_controls(VMX_PIN, pin);
    read_controls(VMX_PRIMARY, pin + (IA32_VMX_PRIMARY_CONTROLS - IA32_VMX_PIN_CONTROLS));
    read_controls(VMX_EXIT, pin + (IA32_VMX_EXIT_CONTROLS - IA32_VMX_PIN_CONTROLS));
    read_controls(VMX_ENTRY, pin + (IA32_VMX_ENTRY_CONTROLS - IA32_VMX_PIN_CONTROLS));
    if (vmx_caps.may_be_1[VMX_PRIMARY] & PRIMARY_SECONDARY)
        read_controls(VMX_SECONDARY, IA32_VMX_SECONDARY);
}

/* NULL, or why VMXON would fail. Enables VMX when the firmware left the choice to us. */
static const char *unlock(void)
{
    uint64_t control = rdmsr(IA32_FEATURE_CONTROL);

    if (!(control & FEATURE_CONTROL_LOCK)) {
        wrmsr(IA32_FEATURE_CONTROL,
              control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX);
        control = rdmsr(IA32_FEATURE_CONTROL);
    }
    if (!(control & FEATURE_CONTROL_VMX_OUTSIDE_SMX))
        return "VMX is locked off in IA32_FEATURE_CONTROL: enable VT-x in the firmware's "
               "setup";
    return NULL;
}

/*
 * The iTLB multihit erratum needs care unless the CPU says otherwise; where the MSR is absent the erratum
 * depends on the model, and we take the safe answer.
 */
static bool executable_leaves_may_be_large(void)
{
    const uint32_t leaf7_edx_arch_capabilities = 1u << 29;

    if (cpuid(0, 0).eax < 7 || !(cpuid(7, 0).edx & leaf7_edx_arch_capabilities))
        return false;
    return (rdmsr(IA32_ARCH_CAPABILITIES) & ARCH_CAP_IF_PSCHANGE_NO) != 0;
}

static void fill_neutral_caps(void)
{
    uint64_t ept = vmx_caps.ept_vpid;

    hv_caps.backend = "vmx-ept";
    hv_caps.table_format = pt_format_ept.name;
    hv_caps.ignore_pat = true;
    hv_caps.large_2m = (ept & EPT_CAP_2M) != 0;
    hv_caps.large_1g = (ept & EPT_CAP_1G) != 0;
    hv_caps.large_executable = executable_leaves_may_be_large();
    hv_caps.execute_only = (ept & EPT_CAP_EXECUTE_ONLY) != 0;
    hv_caps.accessed_dirty = (ept & EPT_CAP_AD) != 0;
    hv_caps.physical_bits = (uint8_t)cpuid(0x80000008, 0).eax;
}

bool vmx_present(void)
{
    return (cpuid(1, 0).ecx & CPUID_1_ECX_VMX) != 0;
}

const char *vmx_probe(void)
{
    uint64_t basic;
    const char *missing = unlock();

    if (missing)
        return missing;
    basic = rdmsr(IA32_VMX_BASIC);
    vmx_caps.revision = (uint32_t)FIELD_GET(BASIC_REVISION, basic);
    vmx_caps.region_bytes = (uint32_t)FIELD_GET(BASIC_REGION_BYTES, basic);
    read_all_controls((basic & BASIC_TRUE_CONTROLS) != 0);
    for (unsigned i = 0; i < ARRAY_COUNT(control_needs); i++) {
        const struct need *need = &control_needs[i];

        if ((vmx_caps.may_be_1[need->word] & need->bit) != need->bit)
            return need->missing;
    }
    if (vmx_caps.must_be_1[VMX_PRIMARY] & (PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE))
        return "this CPU insists on exits for CR3: use one of the Nehalem generation or later";
    vmx_caps.ept_vpid = rdmsr(IA32_VMX_EPT_VPID_CAP);
    for (unsigned i = 0; i < ARRAY_COUNT(ept_needs); i++)
        if ((vmx_caps.ept_vpid & ept_needs[i].bit) != ept_needs[i].bit)
            return ept_needs[i].missing;
    vmx_caps.vpid = (vmx_caps.may_be_1[VMX_SECONDARY] & SECONDARY_VPID) &&
                    (vmx_caps.ept_vpid & EPT_CAP_INVVPID) &&
                    (vmx_caps.ept_vpid & EPT_CAP_INVVPID_SINGLE);
    vmx_caps.cr0_fixed0 = rdmsr(IA32_VMX_CR0_FIXED0);
    vmx_caps.cr0_fixed1 = rdmsr(IA32_VMX_CR0_FIXED1);
    vmx_caps.cr4_fixed0 = rdmsr(IA32_VMX_CR4_FIXED0);
    vmx_caps.cr4_fixed1 = rdmsr(IA32_VMX_CR4_FIXED1);
    fill_neutral_caps();
    return NULL;
}

static const char *yes_no(uint64_t bit)
{
    return bit ? "yes" : "no";
}

void vmx_print_caps(void)
{
    uint64_t ept = vmx_caps.ept_vpid;

    log_line("vmx",
             "revision %#x, VMCS %u bytes, unrestricted guest yes, virtual NMIs yes, VPID %s",
             vmx_caps.revision, vmx_caps.region_bytes, yes_no(vmx_caps.vpid));
    log_line("vmx",
             "EPT: 4-level walk, leaves 4K%s%s, execute-only %s, A/D %s, INVEPT single and all",
             hv_caps.large_2m ? " 2M" : "", hv_caps.large_1g ? " 1G" : "",
             yes_no(ept & EPT_CAP_EXECUTE_ONLY), yes_no(ept & EPT_CAP_AD));
    log_line("vmx", "memory types UC WC WT WP WB, ignore-PAT yes, large executable leaves %s",
             hv_caps.large_executable ? "yes" : "no (iTLB multihit)");
}
