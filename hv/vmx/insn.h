/*
 * Owns:     the VMX instructions, each with its failure path.
 * Promises: VMREAD and VMWRITE of the wrong width do not compile; both kinds of failure (CF and ZF) end in
 *           vmx_insn_failed(), except where the caller can answer them.
 * Needs:    VMX root operation and a current VMCS.
 * Never:    an unchecked VMX instruction.
 */
#ifndef HV_VMX_INSN_H
#define HV_VMX_INSN_H

#include "hv/base/types.h"
#include "hv/vmx/fields.h"

/* Panics with the instruction, its operand and the VM-instruction error (0 when there is no current VMCS). */
NORETURN void vmx_insn_failed(const char *insn, uint64_t operand);

static inline bool vmcs_try_get(uint64_t field, uint64_t *value)
{
    bool failed;

    __asm__ volatile("vmread %[f], %[v]" : [v] "=r"(*value), "=@ccbe"(failed) : [f] "r"(field));
    return !failed;
}

static inline uint64_t vmcs_get(uint64_t field)
{
    uint64_t value;

    if (UNLIKELY(!vmcs_try_get(field, &value)))
        vmx_insn_failed("vmread", field);
    return value;
}

static inline void vmcs_set(uint64_t field, uint64_t value)
{
    bool failed;

    __asm__ volatile("vmwrite %[v], %[f]"
                     : "=@ccbe"(failed)
                     : [f] "r"(field), [v] "r"(value)
                     : "memory");
    if (UNLIKELY(failed))
        vmx_insn_failed("vmwrite", field);
}

#define VMCS_WIDTH_IS(field, w) _Static_assert((((field) >> 13) & 3) == (w), "width of " #field)

#define vmread16(f)                      \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_16); \
        (uint16_t) vmcs_get(f);          \
    })
#define vmread32(f)                      \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_32); \
        (uint32_t) vmcs_get(f);          \
    })
#define vmread64(f)                      \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_64); \
        vmcs_get(f);                     \
    })
#define vmread_natural(f)               \
    __extension__({                     \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_N); \
        vmcs_get(f);                    \
    })
#define vmwrite16(f, v)                  \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_16); \
        vmcs_set(f, (uint16_t){v});      \
    })
#define vmwrite32(f, v)                  \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_32); \
        vmcs_set(f, (uint32_t){v});      \
    })
#define vmwrite64(f, v)                  \
    __extension__({                      \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_64); \
        vmcs_set(f, (v));                \
    })
#define vmwrite_natural(f, v)           \
    __extension__({                     \
        VMCS_WIDTH_IS(f, VMCS_WIDTH_N); \
        vmcs_set(f, (v));               \
    })

/* The physical-address forms: false when the CPU answered either kind of failure. */
static inline bool vmxon(hpa_t region)
{
    bool failed;

    __asm__ volatile("vmxon %[r]" : "=@ccbe"(failed) : [r] "m"(region.v) : "memory");
    return !failed;
}

static inline bool vmclear(hpa_t region)
{
    bool failed;

    __asm__ volatile("vmclear %[r]" : "=@ccbe"(failed) : [r] "m"(region.v) : "memory");
    return !failed;
}

static inline bool vmptrld(hpa_t region)
{
    bool failed;

    __asm__ volatile("vmptrld %[r]" : "=@ccbe"(failed) : [r] "m"(region.v) : "memory");
    return !failed;
}

enum invept_type { INVEPT_SINGLE_CONTEXT = 1, INVEPT_ALL_CONTEXTS = 2 };

static inline void invept(enum invept_type type, eptp_t eptp)
{
    struct {
        uint64_t eptp, reserved;
    } descriptor = {eptp.v, 0};
    bool failed;

    __asm__ volatile("invept %[d], %[t]"
                     : "=@ccbe"(failed)
                     : [d] "m"(descriptor), [t] "r"((uint64_t)type)
                     : "memory");
    if (UNLIKELY(failed))
        vmx_insn_failed("invept", eptp.v);
}

enum invvpid_type { INVVPID_SINGLE_CONTEXT = 1 };

static inline void invvpid(enum invvpid_type type, uint16_t vpid)
{
    struct {
        uint64_t vpid, linear;
    } descriptor = {vpid, 0};
    bool failed;

    __asm__ volatile("invvpid %[d], %[t]"
                     : "=@ccbe"(failed)
                     : [d] "m"(descriptor), [t] "r"((uint64_t)type)
                     : "memory");
    if (UNLIKELY(failed))
        vmx_insn_failed("invvpid", vpid);
}

#endif
