/*
 * Owns:     architectural constants: MSRs, control-register bits, CPUID bits, vectors, segments.
 * Promises: names as in the manuals (SDM 4, SDM 3A "Control Registers", SDM 2 "CPUID").
 * Needs:    hv/base/bits.h.
 * Never:    VMX- or SVM-only constants.
 */
#ifndef HV_X86_REGS_H
#define HV_X86_REGS_H

#include "hv/base/bits.h"

/* MSRs */
#define IA32_TSC                0x10u
#define IA32_PLATFORM_ID        0x17u
#define IA32_APIC_BASE          0x1bu
#define IA32_FEATURE_CONTROL    0x3au
#define IA32_BIOS_SIGN_ID       0x8bu
#define IA32_MTRRCAP            0xfeu
#define IA32_ARCH_CAPABILITIES  0x10au
#define IA32_SYSENTER_CS        0x174u
#define IA32_SYSENTER_ESP       0x175u
#define IA32_SYSENTER_EIP       0x176u
#define IA32_MISC_ENABLE        0x1a0u
#define IA32_MTRR_PHYSBASE0     0x200u /* base and mask in turn */
#define IA32_MTRR_PHYSMASK0     0x201u
#define IA32_MTRR_FIX64K_00000  0x250u
#define IA32_MTRR_FIX16K_80000  0x258u /* 2 of them */
#define IA32_MTRR_FIX4K_C0000   0x268u /* 8 of them */
#define IA32_PAT                0x277u
#define IA32_MTRR_DEF_TYPE      0x2ffu
#define IA32_TSC_DEADLINE       0x6e0u
#define IA32_EFER               0xc0000080u
#define IA32_STAR               0xc0000081u
#define IA32_LSTAR              0xc0000082u
#define IA32_CSTAR              0xc0000083u
#define IA32_FMASK              0xc0000084u
#define IA32_FS_BASE            0xc0000100u
#define IA32_GS_BASE            0xc0000101u
#define IA32_KERNEL_GS_BASE     0xc0000102u
#define IA32_TSC_AUX            0xc0000103u
#define AMD_SYSCFG              0xc0010010u
#define AMD_TOP_MEM2            0xc001001du

#define APIC_BASE_ENABLE        BIT(11)
#define APIC_BASE_ADDRESS       BITS(51, 12)
#define APIC_BASE_X2APIC        BIT(10)
#define ARCH_CAP_IF_PSCHANGE_NO BIT(6)

#define EFER_SCE                BIT(0)
#define EFER_LME                BIT(8)
#define EFER_LMA                BIT(10)
#define EFER_NXE                BIT(11)

#define CR0_PE                  BIT(0)
#define CR0_MP                  BIT(1)
#define CR0_EM                  BIT(2)
#define CR0_TS                  BIT(3)
#define CR0_ET                  BIT(4)
#define CR0_NE                  BIT(5)
#define CR0_WP                  BIT(16)
#define CR0_AM                  BIT(18)
#define CR0_NW                  BIT(29)
#define CR0_CD                  BIT(30)
#define CR0_PG                  BIT(31)
#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)

#define CR4_VME                    BIT(0)
#define CR4_PVI                    BIT(1)
#define CR4_TSD                    BIT(2)
#define CR4_DE                     BIT(3)
#define CR4_PSE                    BIT(4)
#define CR4_PAE                    BIT(5)
#define CR4_MCE                    BIT(6)
#define CR4_PGE                    BIT(7)
#define CR4_PCE                    BIT(8)
#define CR4_OSFXSR                 BIT(9)
#define CR4_OSXMMEXCPT             BIT(10)
#define CR4_LA57                   BIT(12)
#define CR4_VMXE                   BIT(13)
#define CR4_FSGSBASE               BIT(16)
#define CR4_PCIDE                  BIT(17)
#define CR4_OSXSAVE                BIT(18)
#define CR4_SMEP                   BIT(20)
#define CR4_SMAP                   BIT(21)

#define CPUID_1_ECX_VMX            BIT(5)
#define CPUID_1_ECX_X2APIC         BIT(21)
#define CPUID_1_ECX_TSC_DEADLINE   BIT(24)
#define CPUID_1_ECX_XSAVE          BIT(26)
#define CPUID_1_ECX_OSXSAVE        BIT(27)
#define CPUID_1_ECX_HYPERVISOR     BIT(31)
#define CPUID_1_EDX_APIC           BIT(9)
#define CPUID_1_EDX_MTRR           BIT(12)
#define CPUID_8000_0001_EDX_RDTSCP BIT(27)
#define CPUID_8000_0001_EDX_1G     BIT(26)

#define XCR0_X87                   BIT(0)
#define XCR0_SSE                   BIT(1)
#define XCR0_AVX                   BIT(2)

enum vector {
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_COUNT = 32,
};

#define DR6_BS BIT(14)
#define DR7_GD BIT(13)

/* Page-fault error code (SDM 3A "Interrupt 14"). */
#define PF_PRESENT  1u
#define PF_WRITE    2u
#define PF_USER     4u
#define PF_RESERVED 8u
#define PF_FETCH    16u

#define RFLAGS_CF   BIT(0)
#define RFLAGS_PF   BIT(2)
#define RFLAGS_AF   BIT(4)
#define RFLAGS_ZF   BIT(6)
#define RFLAGS_SF   BIT(7)
#define RFLAGS_TF   BIT(8)
#define RFLAGS_IF   BIT(9)
#define RFLAGS_DF   BIT(10)
#define RFLAGS_OF   BIT(11)
#define RFLAGS_RF   BIT(16)
#define RFLAGS_VM   BIT(17)
#define RFLAGS_AC   BIT(18)

/* Attributes of a segment: bits 8..23 of its descriptor from bit 0 on (SDM 3C "Guest Register State"). */
#define SEGMENT_TYPE        0xfu
#define SEGMENT_WRITABLE    0x2u /* of data */
#define SEGMENT_READABLE    0x2u /* of code */
#define SEGMENT_EXPAND_DOWN 0x4u /* of data */
#define SEGMENT_CODE        0x8u
#define SEGMENT_BIG         0x4000u /* D/B */
#define SEGMENT_UNUSABLE    0x10000u

/* Our GDT. */
enum selector {
    SELECTOR_NULL = 0x00,
    SELECTOR_CODE = 0x08,
    SELECTOR_DATA = 0x10,
    SELECTOR_TSS = 0x18, /* 16 bytes */
};

/* Guest page-table bits that every 4-level format shares (SDM 3A "4-Level Paging"). */
#define PTE_P     BIT(0)
#define PTE_W     BIT(1)
#define PTE_U     BIT(2)
#define PTE_PWT   BIT(3)
#define PTE_PCD   BIT(4)
#define PTE_A     BIT(5)
#define PTE_D     BIT(6)
#define PTE_PS    BIT(7)
#define PTE_XD    BIT(63)

#define PAT_RESET 0x0007040600070406ull /* the value after reset, which guests start with */

/* With 4 levels the bits from 47 on are alike. */
static inline bool is_canonical(uint64_t linear)
{
    const unsigned top = 47;
    uint64_t high = (uint64_t)((int64_t)linear >> top);

    return high == 0 || high == ~0ull;
}

#endif
