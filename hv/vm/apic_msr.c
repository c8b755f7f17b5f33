/*
 * The local APIC by its MSRs: which of its three modes it is in, and the registers in x2APIC mode.
 */
#include "hv/vm/apic_core.h"

#include "hv/vm/vp.h"

static bool is_x2_msr(uint32_t msr)
{
    return msr - APIC_MSR_FIRST < APIC_REGS;
}

bool apic_owns_msr(uint32_t msr)
{
    return is_x2_msr(msr) || msr == IA32_APIC_BASE || msr == IA32_TSC_DEADLINE;
}

/*
 * SDM 3A "x2APIC State Transitions":
 *
 *     disabled <----> xAPIC ----> x2APIC ----> disabled
 */
static bool mode_may_change(uint64_t from, uint64_t to)
{
    if (to == APIC_BASE_X2APIC)
        return false;
    if (from == APIC_BASE_MODE)
        return to != APIC_BASE_ENABLE;
    return from != 0 || to != APIC_BASE_MODE;
}

static bool base_write(struct apic *apic, uint64_t value)
{
    const uint64_t address = BIT(hv_caps.physical_bits) - PAGE_BYTES;
    uint64_t from = apic->base & APIC_BASE_MODE, to = value & APIC_BASE_MODE;

    if ((value & ~(address | APIC_BASE_BSP | APIC_BASE_MODE)) || !mode_may_change(from, to))
        return false;
    if (value == apic->base)
        return true;
    apic->base = value;
    if (to == 0)
        apic_reset(apic);
    vp_cpuid_set_apic(apic->vp, to != 0);
    if (apic_page_place(apic) != HV_OK && log_limit_pass(&apic->vp->msr_log))
        log_line("vm", "local APIC: nothing answers at %#llx, the place is taken",
                 (unsigned long long)apic->region.v);
    return true;
}

bool apic_msr_read(struct apic *apic, uint32_t msr, uint64_t *value)
{
    unsigned reg = msr - APIC_MSR_FIRST;

    if (msr == IA32_APIC_BASE)
        *value = apic->base;
    else if (msr == IA32_TSC_DEADLINE)
        *value = apic_timer_deadline_read(apic);
    else if (!apic_is_x2(apic) || !(apic_rules[reg].access & APIC_X2READS))
        return false;
    else
        *value = apic_register_read(apic, reg);
    if (msr == APIC_MSR_FIRST + APIC_REG_ICR_LOW)
        *value |= (uint64_t)apic->icr_high << 32;
    return true;
}

static void icr_write(struct apic *apic, uint64_t value)
{
    apic->icr_low = (uint32_t)(value & ~APIC_ICR_STATUS);
    apic->icr_high = (uint32_t)(value >> 32);
    apic_send(apic, apic->icr_low, apic->icr_high);
}

static bool x2_write(struct apic *apic, unsigned reg, uint64_t value)
{
    const struct apic_rule *rule = &apic_rules[reg];
    uint64_t bits = rule->bits;

    if (reg == APIC_REG_ICR_LOW)
        bits |= BITS(63, 32);
    if (!apic_is_x2(apic) || !(rule->access & APIC_X2WRITES) || (value & ~bits))
        return false;
    if (reg == APIC_REG_ICR_LOW)
        icr_write(apic, value);
    else if (reg == APIC_REG_SELF_IPI)
        apic_send(apic, (uint32_t)(value | FIELD_PREP(APIC_ICR_SHORTHAND, APIC_TO_SELF)), 0);
    else
        apic_register_write(apic, reg, (uint32_t)value);
    return true;
}

bool apic_msr_write(struct apic *apic, uint32_t msr, uint64_t value)
{
    if (msr == IA32_APIC_BASE)
        return base_write(apic, value);
    if (msr != IA32_TSC_DEADLINE)
        return x2_write(apic, msr - APIC_MSR_FIRST, value);
    apic_timer_deadline_write(apic, value);
    return true;
}
