#include "hv/svm/caps.h"

#include "ept/format.h"
#include "hv/base/log.h"
#include "hv/svm/svm.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define LEAF_EXTENDED     0x80000000u
#define LEAF_FEATURES     0x80000001u
#define LEAF_SVM          0x8000000au
#define FEATURE_ECX_SVM   BIT(2)
#define SVM_NP            BIT(0)
#define SVM_NRIP          BIT(3)
#define SVM_FLUSH_BY_ASID BIT(6)
#define SVM_DECODE_ASSIST BIT(7)
#define SVM_REVISION      BITS(7, 0)

struct svm_caps svm_caps;

bool svm_present(void)
{
    return cpuid(LEAF_EXTENDED, 0).eax >= LEAF_SVM &&
           (cpuid(LEAF_FEATURES, 0).ecx & FEATURE_ECX_SVM);
}

static void fill_neutral_caps(void)
{
    hv_caps.backend = "svm-npt";
    hv_caps.table_format = pt_format_npt.name;
    hv_caps.ignore_pat = false; /* no nested type holds against every guest type */
    hv_caps.large_2m = true;
    hv_caps.large_1g = (cpuid(LEAF_FEATURES, 0).edx & CPUID_8000_0001_EDX_1G) != 0;
    hv_caps.large_executable = true; /* AMD CPUs do not have the iTLB multihit erratum */
    hv_caps.execute_only = false;
    hv_caps.accessed_dirty = true;
    hv_caps.physical_bits = (uint8_t)cpuid(0x80000008, 0).eax;
}

const char *svm_probe(void)
{
    struct cpuid_regs svm = cpuid(LEAF_SVM, 0);

    /* As VMX is switched on when the firmware left the choice to us. */
    if ((rdmsr(VM_CR) & (VM_CR_SVMDIS | VM_CR_LOCK)) == VM_CR_SVMDIS)
        wrmsr(VM_CR, rdmsr(VM_CR) & ~VM_CR_SVMDIS);
    if (rdmsr(VM_CR) & VM_CR_SVMDIS)
        return "SVM is locked off (VM_CR.SVMDIS): enable SVM in the firmware's setup";
    if (!(svm.edx & SVM_NP))
        return "this CPU has no nested paging: use an AMD CPU of the Barcelona generation or later";
    svm_caps.revision = (uint32_t)FIELD_GET(SVM_REVISION, svm.eax);
    svm_caps.asids = svm.ebx;
    if (svm_caps.asids < 2)
        return "this CPU has no ASID for a guest: use another one";
    svm_caps.next_rip = (svm.edx & SVM_NRIP) != 0;
    svm_caps.flush_by_asid = (svm.edx & SVM_FLUSH_BY_ASID) != 0;
    svm_caps.decode_assists = (svm.edx & SVM_DECODE_ASSIST) != 0;
    fill_neutral_caps();
    svm_memtype_init();
    return NULL;
}

static const char *yes_no(bool bit)
{
    return bit ? "yes" : "no";
}

void svm_print_caps(void)
{
    log_line("svm", "revision %u, %u ASIDs, nRIP %s, FlushByAsid %s, decode assists %s",
             svm_caps.revision, svm_caps.asids, yes_no(svm_caps.next_rip),
             yes_no(svm_caps.flush_by_asid), yes_no(svm_caps.decode_assists));
    log_line("svm", "NPT: 4-level walk, leaves 4K 2M%s, execute-only no, A/D always",
             hv_caps.large_1g ? " 1G" : "");
    log_line("svm", "memory types UC WC WT WP WB, ignore-PAT no (the nested format has none)");
}
