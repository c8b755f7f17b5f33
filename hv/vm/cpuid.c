/*
 * CPUID policy: computed once per VP from the real CPU and one table, looked up on every exit.
 */
#include "hv/base/string.h"
#include "hv/vm/vp.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define EXTENDED_FIRST   0x80000000u
#define HYPERVISOR_FIRST 0x40000000u
#define HYPERVISOR_LAST  0x4000ffffu
/* SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND */
#define LEAF1_ECX 0x76d83203u
/* FPU VME DE PSE TSC MSR PAE CX8 SEP MTRR PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS */
#define LEAF1_EDX     0x0f8bb97fu
#define LEAF_CACHE    4u
#define LEAF_POWER    6u
#define LEAF_FEATURES 7u
#define LEAF_TOPOLOGY 0xbu
#define LEAF_XSAVE    0xdu

/*
 * What a guest may see of the real CPU: one mask per register. Leaves without a row read zero. Hidden on
 * purpose: virtualisation itself, MONITOR, PCID and INVPCID, MCE and MCA, SMX, performance monitoring, transactional
 * memory, protection keys, and vector state beyond AVX. The local APIC is the hypervisor's own, whatever the CPU's
 * is like: vp_cpuid_init() shows it.
 */
static const struct cpuid_rule {
    uint32_t leaf, eax, ebx, ecx, edx;
} rules[] = {
    {0x0, ~0u, ~0u, ~0u, ~0u},
    {0x1, ~0u, 0x0000ffffu, LEAF1_ECX, LEAF1_EDX},
    {LEAF_CACHE, 0x3fffu, ~0u, ~0u, ~0u},
    /* 7: FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA */
    {LEAF_FEATURES, 0,
     1u << 0 | 1u << 3 | 1u << 5 | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 18 | 1u << 19 | 1u << 20 |
         1u << 23 | 1u << 24 | 1u << 29,
     0, 0},
    {LEAF_XSAVE, XCR0_X87 | XCR0_SSE | XCR0_AVX, ~0u, ~0u, 0},
    {0x80000000, ~0u, ~0u, ~0u, ~0u},
    /* 80000001: LAHF ABM PREFETCHW; SYSCALL NX 1GB RDTSCP LM */
    {0x80000001, ~0u, 0, 1u << 0 | 1u << 5 | 1u << 8,
     1u << 11 | 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29},
    {0x80000002, ~0u, ~0u, ~0u, ~0u},
    {0x80000003, ~0u, ~0u, ~0u, ~0u},
    {0x80000004, ~0u, ~0u, ~0u, ~0u},
    {0x80000005, ~0u, ~0u, ~0u, ~0u},
    {0x80000006, ~0u, ~0u, ~0u, ~0u},
    {0x80000007, 0, 0, 0, 1u << 8}, /* invariant TSC */
    {0x80000008, 0xffffu, 0, 0, 0},
};

static struct cpuid_answer allowed(const struct cpuid_rule *rule, uint32_t subleaf)
{
    struct cpuid_regs real = cpuid(rule->leaf, subleaf);

    return (struct cpuid_answer){real.eax & rule->eax, real.ebx & rule->ebx, real.ecx & rule->ecx,
                                 real.edx & rule->edx};
}

static struct cpuid_answer *slot(struct vp *vp, uint32_t leaf)
{
    if (leaf < CPUID_BASIC_LEAVES)
        return &vp->basic[leaf];
    if (leaf - EXTENDED_FIRST < CPUID_EXTENDED_LEAVES)
        return &vp->extended[leaf - EXTENDED_FIRST];
    return NULL;
}

/* The CR4 bits that exist for a guest with these features. */
static uint64_t cr4_bits(const struct vp *vp)
{
    uint64_t bits = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE |
                    CR4_OSFXSR | CR4_OSXMMEXCPT;
    uint32_t leaf7 = vp->basic[7].ebx;

    if (vp->basic[1].ecx & CPUID_1_ECX_XSAVE)
        bits |= CR4_OSXSAVE;
    if (leaf7 & 1u << 0)
        bits |= CR4_FSGSBASE;
    if (leaf7 & 1u << 7)
        bits |= CR4_SMEP;
    if (leaf7 & 1u << 20)
        bits |= CR4_SMAP;
    return bits;
}

void vp_cpuid_init(struct vp *vp)
{
    uint32_t basic_last = cpuid(0, 0).eax, extended_last = cpuid(EXTENDED_FIRST, 0).eax;

    for (unsigned i = 0; i < ARRAY_COUNT(rules); i++) {
        uint32_t leaf = rules[i].leaf;
        uint32_t last = leaf >= EXTENDED_FIRST ? extended_last : basic_last;

        struct cpuid_answer *answer = slot(vp, leaf);

        if (answer && leaf <= last)
            *answer = allowed(&rules[i], 0);
    }
    vp->basic[0].eax = MIN(MAX(basic_last, LEAF_TOPOLOGY), CPUID_BASIC_LEAVES - 1);
    vp->extended[0].eax = MIN(extended_last, EXTENDED_FIRST + CPUID_EXTENDED_LEAVES - 1);
    vp->basic[1].ecx |=
        (uint32_t)(CPUID_1_ECX_HYPERVISOR | CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE);
    vp->basic[1].ebx |= vp->apic->id << 24 | 1u << 16; /* one logical processor */
    vp->basic[LEAF_POWER].eax = 1u << 2;               /* the APIC's timer always runs */
    vp_cpuid_set_apic(vp, true);
    /* Bits 23:16: how many address bits a guest can use; the tables stop at PT_INPUT_BITS. */
    vp->extended[8].eax |= MIN(vp->extended[8].eax & 0xff, PT_INPUT_BITS) << 16;
    vp->xcr0_mask = vp->basic[LEAF_XSAVE].eax;
    vp->cr4_guest_bits = cr4_bits(vp);
}

void vp_cpuid_set_osxsave(struct vp *vp, bool on)
{
    vp->basic[1].ecx &= ~(uint32_t)CPUID_1_ECX_OSXSAVE;
    if (on)
        vp->basic[1].ecx |= (uint32_t)CPUID_1_ECX_OSXSAVE;
}

void vp_cpuid_set_apic(struct vp *vp, bool on)
{
    vp->basic[1].edx &= ~(uint32_t)CPUID_1_EDX_APIC;
    if (on)
        vp->basic[1].edx |= (uint32_t)CPUID_1_EDX_APIC;
}

/* Leaf 0xB: one thread in one core. */
static struct cpuid_answer topology_answer(const struct vp *vp, uint32_t subleaf)
{
    const uint32_t levels = 2; /* threads, cores; their numbers are 1 and 2 */
    struct cpuid_answer answer = {.ecx = subleaf & 0xff, .edx = vp->apic->id};

    if (subleaf < levels) {
        answer.ebx = 1;
        answer.ecx |= (subleaf + 1) << 8;
    }
    return answer;
}

/* Leaves whose answer depends on ECX or on XCR0. The guest's XCR0 is loaded, so the CPU knows the sizes. */
static struct cpuid_answer subleaf_answer(const struct vp *vp, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_rule all = {leaf, ~0u, ~0u, ~0u, ~0u};
    struct cpuid_answer answer = {0, 0, 0, 0};

    if (vp->basic[leaf].eax ==
        0) /* the CPU, which may not have it, would answer for its last leaf */
        return answer;
    answer = allowed(&all, subleaf);
    if (leaf == LEAF_CACHE) {
        answer.eax &= 0x3fffu; /* no sharing and no cores to tell of */
    } else if (subleaf == 0) {
        answer.eax = (uint32_t)vp->xcr0_mask;
        answer.ecx = vp->xcr0_mask & XCR0_AVX ? 832 : 576; /* legacy area, header, AVX state */
        answer.edx = 0;
    } else if (subleaf == 1) {
        answer = (struct cpuid_answer){answer.eax & 1u, 0, 0, 0}; /* XSAVEOPT */
    } else if (subleaf >= 64 || !(vp->xcr0_mask & BIT(subleaf))) {
        answer = (struct cpuid_answer){0, 0, 0, 0};
    }
    return answer;
}

/* 0x40000000: highest hypervisor leaf and the signature "BarvisorBrvs". The rest of the range is zero. */
static struct cpuid_answer hypervisor_answer(uint32_t leaf)
{
    struct cpuid_answer answer = {0, 0, 0, 0};
    static const char signature[12] = {'B', 'a', 'r', 'v', 'i', 's', 'o', 'r', 'B', 'r', 'v', 's'};

    if (leaf == HYPERVISOR_FIRST) {
        answer.eax = HYPERVISOR_FIRST;
        memcpy(&answer.ebx, signature, 4);
        memcpy(&answer.ecx, signature + 4, 4);
        memcpy(&answer.edx, signature + 8, 4);
    }
    return answer;
}

static inline void put(struct vp *vp, const struct cpuid_answer *answer)
{
    vp->gpr[GPR_RAX] = answer->eax;
    vp->gpr[GPR_RBX] = answer->ebx;
    vp->gpr[GPR_RCX] = answer->ecx;
    vp->gpr[GPR_RDX] = answer->edx;
}

/* The leaves that are not a plain table look-up. */
#define SPECIAL_LEAVES \
    (1u << LEAF_CACHE | 1u << LEAF_FEATURES | 1u << LEAF_TOPOLOGY | 1u << LEAF_XSAVE)

static __attribute__((noinline)) enum hv_resume special_leaf(struct vp *vp, uint32_t leaf)
{
    uint32_t subleaf = (uint32_t)vp->gpr[GPR_RCX];
    struct cpuid_answer answer = {0, 0, 0, 0};

    if (leaf == LEAF_CACHE || leaf == LEAF_XSAVE)
        answer = subleaf_answer(vp, leaf, subleaf);
    else if (leaf == LEAF_TOPOLOGY)
        answer = topology_answer(vp, subleaf);
    else if (leaf >= HYPERVISOR_FIRST && leaf <= HYPERVISOR_LAST)
        answer = hypervisor_answer(leaf);
    else if (leaf - EXTENDED_FIRST < CPUID_EXTENDED_LEAVES)
        answer = vp->extended[leaf - EXTENDED_FIRST];
    else if (leaf == LEAF_FEATURES && subleaf == 0)
        answer = vp->basic[leaf];
    put(vp, &answer);
    return HV_ADVANCE;
}

enum hv_resume vp_cpuid(struct vp *vp)
{
    uint32_t leaf = (uint32_t)vp->gpr[GPR_RAX];

    if (UNLIKELY(leaf >= CPUID_BASIC_LEAVES || (SPECIAL_LEAVES >> leaf & 1)))
        return special_leaf(vp, leaf);
    put(vp, &vp->basic[leaf]);
    return HV_ADVANCE;
}
