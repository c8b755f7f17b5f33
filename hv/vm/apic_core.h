/*
 * Owns:     what the parts of the local APIC share: its registers by number, their bits, delivery modes.
 * Promises: a register's number is its offset in the page / 16, and its MSR - 0x800.
 * Needs:    hv/vm/apic.h.
 * Never:    included by anybody but hv/vm/apic*.c and tests.
 */
#ifndef HV_VM_APIC_CORE_H
#define HV_VM_APIC_CORE_H

#include "hv/base/bits.h"
#include "hv/vm/apic.h"
#include "hv/x86/regs.h"

/* SDM 3A "Local APIC Register Address Map". */
enum apic_register {
    APIC_REG_ID = 0x02,
    APIC_REG_VERSION = 0x03,
    APIC_REG_TPR = 0x08,
    APIC_REG_APR = 0x09,
    APIC_REG_PPR = 0x0a,
    APIC_REG_EOI = 0x0b,
    APIC_REG_RRD = 0x0c,
    APIC_REG_LDR = 0x0d,
    APIC_REG_DFR = 0x0e,
    APIC_REG_SVR = 0x0f,
    APIC_REG_ISR = 0x10, /* 8 registers each */
    APIC_REG_TMR = 0x18,
    APIC_REG_IRR = 0x20,
    APIC_REG_ESR = 0x28,
    APIC_REG_ICR_LOW = 0x30, /* in x2APIC mode all of ICR */
    APIC_REG_ICR_HIGH = 0x31,
    APIC_REG_LVT = 0x32, /* 6 of them, in the order of enum apic_lvt */
    APIC_REG_INITIAL_COUNT = 0x38,
    APIC_REG_CURRENT_COUNT = 0x39,
    APIC_REG_DIVIDE = 0x3e,
    APIC_REG_SELF_IPI = 0x3f,
    APIC_REGS = 0x40
};
#define APIC_REG_SHIFT     4u
#define APIC_MSR_FIRST     0x800u

#define APIC_VERSION_VALUE (0x14u | (APIC_LVTS - 1u) << 16)

/* Of the ID, the logical destination and the high half of ICR in xAPIC mode. */
#define APIC_XAPIC_ID_SHIFT 24u
#define APIC_XAPIC_ALL      0xffu /* as a destination: everybody */
#define APIC_X2APIC_ALL     UINT32_MAX

#define APIC_CLASS          0xf0u /* of a priority */
#define APIC_FIRST_LEGAL    16u   /* vectors below are the CPU's own */

#define APIC_SVR_ENABLE     BIT(8)
#define APIC_SVR_FOCUS      BIT(9) /* of CPUs of long ago: may be written, reads 0 */
#define APIC_DFR_FLAT       0xffffffffu
#define APIC_DFR_CLUSTER    0x0fffffffu

#define APIC_ESR_SENT       BIT(5) /* an illegal vector */
#define APIC_ESR_RECEIVED   BIT(6) /* an illegal vector */
#define APIC_ESR_REGISTER   BIT(7) /* an illegal address */

#define APIC_LVT_VECTOR     BITS(7, 0)
#define APIC_LVT_STATUS     (BIT(12) | BIT(14)) /* of delivery, and remote IRR: always 0 */
#define APIC_LVT_MASK       BIT(16)
#define APIC_LVT_MODE       BITS(18, 17) /* of the timer */
enum apic_timer_mode { APIC_ONE_SHOT, APIC_PERIODIC, APIC_TSC_DEADLINE };

/* The low half of ICR; an MSI's data has the vector, the mode and the trigger in the same bits. */
#define APIC_ICR_VECTOR    BITS(7, 0)
#define APIC_ICR_MODE      BITS(10, 8)
#define APIC_ICR_LOGICAL   BIT(11)
#define APIC_ICR_STATUS    BIT(12)
#define APIC_ICR_ASSERT    BIT(14)
#define APIC_ICR_LEVEL     BIT(15)
#define APIC_ICR_SHORTHAND BITS(19, 18)
enum apic_delivery_mode {
    APIC_FIXED,
    APIC_LOWEST,
    APIC_SMI,
    APIC_RESERVED_3,
    APIC_NMI,
    APIC_INIT,
    APIC_STARTUP,
    APIC_EXTINT,
};
enum apic_shorthand { APIC_TO_DESTINATION, APIC_TO_SELF, APIC_TO_ALL, APIC_TO_OTHERS };

#define APIC_BASE_BSP  BIT(8)
#define APIC_BASE_MODE (APIC_BASE_ENABLE | APIC_BASE_X2APIC)

static inline bool apic_is_x2(const struct apic *apic)
{
    return (apic->base & APIC_BASE_X2APIC) != 0; /* never without the enable bit */
}

/* In x2APIC mode it follows from the ID (SDM 3A "Logical x2APIC ID"). */
static inline uint32_t apic_ldr(const struct apic *apic)
{
    if (apic_is_x2(apic))
        return apic->id >> 4 << 16 | 1u << (apic->id & 15);
    return apic->ldr;
}

/* ---- apic.c ---- */

void apic_reset(struct apic *apic);
/* A fixed interrupt arrives. A local APIC that software has disabled takes none. */
void apic_accept(struct apic *apic, uint8_t vector, bool level);
/* Bits of ESR: the first of its kind since the last write of ESR is told through the LVT. */
void apic_error(struct apic *apic, uint32_t error);

/* In the access flags of a register: who may do what. */
#define APIC_READS    1u /* in the page */
#define APIC_WRITES   2u
#define APIC_X2READS  4u /* by its MSR */
#define APIC_X2WRITES 8u
struct apic_rule {
    uint32_t bits; /* that can be written; all others are reserved */
    uint8_t access;
};
extern const struct apic_rule apic_rules[APIC_REGS];
uint32_t apic_register_read(struct apic *apic, unsigned reg);
/* value has only bits of the rule. */
void apic_register_write(struct apic *apic, unsigned reg, uint32_t value);

/* Put the page where base says, or take it away. */
hv_status_t apic_page_place(struct apic *apic) MUST_CHECK;

/* ---- apic_send.c ---- */

/* What a write of ICR does; `destination` as in its mode: 8 bits or 32. */
void apic_send(struct apic *apic, uint32_t icr, uint32_t destination);

/* ---- apic_timer.c ---- */

void apic_timer_reset(struct apic *apic);
/* Whatever has come due by now happens. */
void apic_timer_update(struct apic *apic);
void apic_timer_lvt_write(struct apic *apic, uint32_t value);
void apic_timer_count_write(struct apic *apic, uint32_t value);
uint32_t apic_timer_count_read(struct apic *apic);
void apic_timer_divide_write(struct apic *apic, uint32_t value);
uint64_t apic_timer_deadline_read(struct apic *apic);
void apic_timer_deadline_write(struct apic *apic, uint64_t value);

#endif
