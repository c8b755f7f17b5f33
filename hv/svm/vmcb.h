/*
 * Owns:     the layout of the VMCB and its constants.
 * Promises: offsets as in APM 2 Appendix B "VMCB Layout", checked at compile time.
 * Needs:    hv/base/bits.h.
 * Never:    a field that is not used is named.
 */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include "hv/base/bits.h"

struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes; /* descriptor bits 8..15 and 20..23, packed */
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    /* control area */
    uint16_t cr_read_intercepts;
    uint16_t cr_write_intercepts;
    uint32_t dr_intercepts;
    uint32_t exception_intercepts;
    uint32_t intercepts1;
    uint32_t intercepts2;
    uint8_t reserved_014[0x40 - 0x14];
    uint64_t iopm_base;
    uint64_t msrpm_base;
    uint64_t tsc_offset;
    uint32_t asid;
    uint8_t tlb_control;
    uint8_t reserved_05d[3];
    uint64_t virtual_interrupt;
    uint64_t interrupt_shadow;
    uint64_t exit_code;
    uint64_t exit_info1;
    uint64_t exit_info2;
    uint64_t exit_int_info;
    uint64_t nested_control;
    uint8_t reserved_098[0xa8 - 0x98];
    uint64_t event_injection;
    uint64_t nested_cr3;
    uint64_t lbr_control;
    uint64_t clean_bits;
    uint64_t next_rip;
    uint8_t fetched_bytes;
    uint8_t fetched[15];
    uint8_t reserved_0e0[0x400 - 0xe0];
    /* state save area */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl;
    uint8_t reserved_4cc[4];
    uint64_t efer;
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp,
        sysenter_eip, cr2;
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;
    uint8_t reserved_670[0x1000 - 0x670];
};

#define VMCB_AT(field, offset) \
    _Static_assert(offsetof(struct vmcb, field) == (offset), "offset of " #field)
VMCB_AT(iopm_base, 0x40);
VMCB_AT(tlb_control, 0x5c);
VMCB_AT(exit_code, 0x70);
VMCB_AT(nested_control, 0x90);
VMCB_AT(event_injection, 0xa8);
VMCB_AT(clean_bits, 0xc0);
VMCB_AT(fetched_bytes, 0xd0);
VMCB_AT(es, 0x400);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(cr2, 0x640);
VMCB_AT(g_pat, 0x668);
_Static_assert(sizeof(struct vmcb) == 4096, "the VMCB is a page");

/* intercepts1 */
#define INTERCEPT_INTR     BIT(0)
#define INTERCEPT_NMI      BIT(1)
#define INTERCEPT_INIT     BIT(3)
#define INTERCEPT_VINTR    BIT(4)
#define INTERCEPT_RDPMC    BIT(15)
#define INTERCEPT_CPUID    BIT(18)
#define INTERCEPT_IRET     BIT(20)
#define INTERCEPT_INVD     BIT(22)
#define INTERCEPT_HLT      BIT(24)
#define INTERCEPT_INVLPGA  BIT(26)
#define INTERCEPT_IO       BIT(27)
#define INTERCEPT_MSR      BIT(28)
#define INTERCEPT_FERR     BIT(30)
#define INTERCEPT_SHUTDOWN BIT(31)
/* intercepts2 */
#define INTERCEPT_VMRUN        BIT(0)
#define INTERCEPT_VMMCALL      BIT(1)
#define INTERCEPT_VMLOAD       BIT(2)
#define INTERCEPT_VMSAVE       BIT(3)
#define INTERCEPT_STGI         BIT(4)
#define INTERCEPT_CLGI         BIT(5)
#define INTERCEPT_SKINIT       BIT(6)
#define INTERCEPT_WBINVD       BIT(9)
#define INTERCEPT_MONITOR      BIT(10)
#define INTERCEPT_MWAIT        BIT(11)
#define INTERCEPT_XSETBV       BIT(13)
#define INTERCEPT_RDPRU        BIT(14)

#define TLB_CONTROL_NOTHING    0u
#define TLB_CONTROL_FLUSH_ALL  1u
#define TLB_CONTROL_FLUSH_ASID 3u

#define V_IRQ                  BIT(8)
#define V_IGN_TPR              BIT(20)
#define V_INTR_MASKING         BIT(24)
#define NESTED_PAGING          BIT(0)

/* EVENTINJ and EXITINTINFO */
#define EVENT_VECTOR         BITS(7, 0)
#define EVENT_TYPE           BITS(10, 8)
#define EVENT_VALID          BIT(31)
#define EVENT_ERROR          BITS(63, 32)
#define EVENT_TYPE_EXCEPTION 3u
#define EVENT_TYPE_SOFTWARE  4u

/* EXITCODE, APM 2 Appendix C */
enum svm_exit {
    SVM_EXIT_CR_READ = 0x00,
    SVM_EXIT_CR_WRITE = 0x10,
    SVM_EXIT_EXCEPTION = 0x40,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI = 0x61,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_FERR = 0x7e,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_WBINVD = 0x89,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU = 0x8e,
    SVM_EXIT_COUNT = 0x90,
    SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID (~0u) /* in the low half: nested KVM has left the high one 0 */

/* EXITINFO1 of a nested page fault */
#define NPF_PRESENT  BIT(0)
#define NPF_WRITE    BIT(1)
#define NPF_RESERVED BIT(3)
#define NPF_FETCH    BIT(4)
#define NPF_FINAL    BIT(32)
#define NPF_TABLE    BIT(33)

/* EXITINFO1 of IN and OUT */
#define IOIO_IN       BIT(0)
#define IOIO_STRING   BIT(2)
#define IOIO_BYTES    BITS(6, 4) /* one-hot: 1, 2, 4 */
#define IOIO_PORT     BITS(31, 16)

#define FETCHED_COUNT 15u

#define SHADOW_ON     BIT(0)

/* Segment attributes */
#define ATTRIBUTE_CODE32 0xc9bu
#define ATTRIBUTE_DATA32 0xc93u
#define ATTRIBUTE_LDT    0x082u
#define ATTRIBUTE_TSS32  0x08bu
#define ATTRIBUTE_LONG   BIT(9)

#endif
