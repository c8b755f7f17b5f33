/*
 * Owns:     the VMCS fields that we use: one list makes constants, names and width checks.
 * Promises: encodings as in SDM 3D Appendix B "Field Encoding in VMCS"; bits 14:13 are the width.
 * Needs:    nothing.
 * Never:    a field that is not used.
 */
#ifndef HV_VMX_FIELDS_H
#define HV_VMX_FIELDS_H

/* X(width in bits, or N for natural, name, encoding) */
#define VMCS_FIELD_LIST(X)                  \
    X(16, VPID, 0x0000)                     \
    X(16, GUEST_ES_SELECTOR, 0x0800)        \
    X(16, GUEST_CS_SELECTOR, 0x0802)        \
    X(16, GUEST_SS_SELECTOR, 0x0804)        \
    X(16, GUEST_DS_SELECTOR, 0x0806)        \
    X(16, GUEST_FS_SELECTOR, 0x0808)        \
    X(16, GUEST_GS_SELECTOR, 0x080a)        \
    X(16, GUEST_LDTR_SELECTOR, 0x080c)      \
    X(16, GUEST_TR_SELECTOR, 0x080e)        \
    X(16, HOST_ES_SELECTOR, 0x0c00)         \
    X(16, HOST_CS_SELECTOR, 0x0c02)         \
    X(16, HOST_SS_SELECTOR, 0x0c04)         \
    X(16, HOST_DS_SELECTOR, 0x0c06)         \
    X(16, HOST_FS_SELECTOR, 0x0c08)         \
    X(16, HOST_GS_SELECTOR, 0x0c0a)         \
    X(16, HOST_TR_SELECTOR, 0x0c0c)         \
    X(64, IO_BITMAP_A, 0x2000)              \
    X(64, IO_BITMAP_B, 0x2002)              \
    X(64, MSR_BITMAP, 0x2004)               \
    X(64, TSC_OFFSET, 0x2010)               \
    X(64, EPT_POINTER, 0x201a)              \
    X(64, GUEST_PHYSICAL_ADDRESS, 0x2400)   \
    X(64, LINK_POINTER, 0x2800)             \
    X(64, GUEST_DEBUGCTL, 0x2802)           \
    X(64, GUEST_PAT, 0x2804)                \
    X(64, GUEST_EFER, 0x2806)               \
    X(64, GUEST_PDPTE0, 0x280a)             \
    X(64, GUEST_PDPTE1, 0x280c)             \
    X(64, GUEST_PDPTE2, 0x280e)             \
    X(64, GUEST_PDPTE3, 0x2810)             \
    X(64, HOST_PAT, 0x2c00)                 \
    X(64, HOST_EFER, 0x2c02)                \
    X(32, PIN_CONTROLS, 0x4000)             \
    X(32, PRIMARY_CONTROLS, 0x4002)         \
    X(32, EXCEPTION_BITMAP, 0x4004)         \
    X(32, PAGE_FAULT_ERROR_MASK, 0x4006)    \
    X(32, PAGE_FAULT_ERROR_MATCH, 0x4008)   \
    X(32, CR3_TARGET_COUNT, 0x400a)         \
    X(32, EXIT_CONTROLS, 0x400c)            \
    X(32, EXIT_MSR_STORE_COUNT, 0x400e)     \
    X(32, EXIT_MSR_LOAD_COUNT, 0x4010)      \
    X(32, ENTRY_CONTROLS, 0x4012)           \
    X(32, ENTRY_MSR_LOAD_COUNT, 0x4014)     \
    X(32, ENTRY_INTERRUPTION_INFO, 0x4016)  \
    X(32, ENTRY_EXCEPTION_ERROR, 0x4018)    \
    X(32, ENTRY_INSTRUCTION_LENGTH, 0x401a) \
    X(32, SECONDARY_CONTROLS, 0x401e)       \
    X(32, INSTRUCTION_ERROR, 0x4400)        \
    X(32, EXIT_REASON, 0x4402)              \
    X(32, EXIT_INTERRUPTION_INFO, 0x4404)   \
    X(32, EXIT_INTERRUPTION_ERROR, 0x4406)  \
    X(32, IDT_VECTORING_INFO, 0x4408)       \
    X(32, IDT_VECTORING_ERROR, 0x440a)      \
    X(32, EXIT_INSTRUCTION_LENGTH, 0x440c)  \
    X(32, GUEST_ES_LIMIT, 0x4800)           \
    X(32, GUEST_CS_LIMIT, 0x4802)           \
    X(32, GUEST_SS_LIMIT, 0x4804)           \
    X(32, GUEST_DS_LIMIT, 0x4806)           \
    X(32, GUEST_FS_LIMIT, 0x4808)           \
    X(32, GUEST_GS_LIMIT, 0x480a)           \
    X(32, GUEST_LDTR_LIMIT, 0x480c)         \
    X(32, GUEST_TR_LIMIT, 0x480e)           \
    X(32, GUEST_GDTR_LIMIT, 0x4810)         \
    X(32, GUEST_IDTR_LIMIT, 0x4812)         \
    X(32, GUEST_ES_RIGHTS, 0x4814)          \
    X(32, GUEST_CS_RIGHTS, 0x4816)          \
    X(32, GUEST_SS_RIGHTS, 0x4818)          \
    X(32, GUEST_DS_RIGHTS, 0x481a)          \
    X(32, GUEST_FS_RIGHTS, 0x481c)          \
    X(32, GUEST_GS_RIGHTS, 0x481e)          \
    X(32, GUEST_LDTR_RIGHTS, 0x4820)        \
    X(32, GUEST_TR_RIGHTS, 0x4822)          \
    X(32, GUEST_INTERRUPTIBILITY, 0x4824)   \
    X(32, GUEST_ACTIVITY, 0x4826)           \
    X(32, GUEST_SYSENTER_CS, 0x482a)        \
    X(32, HOST_SYSENTER_CS, 0x4c00)         \
    X(N, CR0_GUEST_HOST_MASK, 0x6000)       \
    X(N, CR4_GUEST_HOST_MASK, 0x6002)       \
    X(N, CR0_READ_SHADOW, 0x6004)           \
    X(N, CR4_READ_SHADOW, 0x6006)           \
    X(N, EXIT_QUALIFICATION, 0x6400)        \
    X(N, GUEST_LINEAR_ADDRESS, 0x640a)      \
    X(N, GUEST_CR0, 0x6800)                 \
    X(N, GUEST_CR3, 0x6802)                 \
    X(N, GUEST_CR4, 0x6804)                 \
    X(N, GUEST_ES_BASE, 0x6806)             \
    X(N, GUEST_CS_BASE, 0x6808)             \
    X(N, GUEST_SS_BASE, 0x680a)             \
    X(N, GUEST_DS_BASE, 0x680c)             \
    X(N, GUEST_FS_BASE, 0x680e)             \
    X(N, GUEST_GS_BASE, 0x6810)             \
    X(N, GUEST_LDTR_BASE, 0x6812)           \
    X(N, GUEST_TR_BASE, 0x6814)             \
    X(N, GUEST_GDTR_BASE, 0x6816)           \
    X(N, GUEST_IDTR_BASE, 0x6818)           \
    X(N, GUEST_DR7, 0x681a)                 \
    X(N, GUEST_RSP, 0x681c)                 \
    X(N, GUEST_RIP, 0x681e)                 \
    X(N, GUEST_RFLAGS, 0x6820)              \
    X(N, GUEST_PENDING_DEBUG, 0x6822)       \
    X(N, GUEST_SYSENTER_ESP, 0x6824)        \
    X(N, GUEST_SYSENTER_EIP, 0x6826)        \
    X(N, HOST_CR0, 0x6c00)                  \
    X(N, HOST_CR3, 0x6c02)                  \
    X(N, HOST_CR4, 0x6c04)                  \
    X(N, HOST_FS_BASE, 0x6c06)              \
    X(N, HOST_GS_BASE, 0x6c08)              \
    X(N, HOST_TR_BASE, 0x6c0a)              \
    X(N, HOST_GDTR_BASE, 0x6c0c)            \
    X(N, HOST_IDTR_BASE, 0x6c0e)            \
    X(N, HOST_SYSENTER_ESP, 0x6c10)         \
    X(N, HOST_SYSENTER_EIP, 0x6c12)         \
    X(N, HOST_RSP, 0x6c14)                  \
    X(N, HOST_RIP, 0x6c16)

#define VMCS_WIDTH_16                          0u
#define VMCS_WIDTH_64                          1u
#define VMCS_WIDTH_32                          2u
#define VMCS_WIDTH_N                           3u

#define VMCS_FIELD_ENUM(width, name, encoding) VMCS_##name = (encoding),
enum vmcs_field { VMCS_FIELD_LIST(VMCS_FIELD_ENUM) };
#undef VMCS_FIELD_ENUM

#define VMCS_FIELD_CHECK(width, name, encoding) \
    _Static_assert((((encoding) >> 13) & 3) == VMCS_WIDTH_##width, "width of " #name);
VMCS_FIELD_LIST(VMCS_FIELD_CHECK)
#undef VMCS_FIELD_CHECK

#endif
