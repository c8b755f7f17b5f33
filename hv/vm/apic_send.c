/*
 * Messages between local APICs, and from devices: who is meant, and what it does to him. There is one local APIC, so a message
 * is for it or for nobody.
 */
#include "hv/vm/apic_core.h"

#include "hv/vm/vp.h"

/* SDM 3A "Message Address Register Format". */
#define MSI_ADDRESS       0xfee00000ull
#define MSI_ADDRESS_FIXED BITS(63, 20)
#define MSI_DESTINATION   BITS(19, 12)
#define MSI_LOGICAL       BIT(2)

/* SDM 3A "Determining IPI Destination", "Logical Destination Mode in x2APIC Mode". */
static bool is_addressed(const struct apic *apic, uint32_t destination, bool logical)
{
    const uint32_t cluster = 0xf0, members = 0x0f, high = 0xffff0000u;
    uint32_t ldr = apic_ldr(apic);

    if (apic_is_x2(apic)) {
        if (destination == APIC_X2APIC_ALL)
            return true;
        if (!logical)
            return destination == apic->id;
        return ((destination ^ ldr) & high) == 0 && (destination & ldr & ~high) != 0;
    }
    if (destination == APIC_XAPIC_ALL)
        return true;
    if (!logical)
        return destination == apic->xapic_id >> APIC_XAPIC_ID_SHIFT;
    ldr >>= APIC_XAPIC_ID_SHIFT;
    if (apic->dfr == APIC_DFR_FLAT)
        return (destination & ldr) != 0;
    return apic->dfr == APIC_DFR_CLUSTER && ((destination ^ ldr) & cluster) == 0 &&
           (destination & ldr & members) != 0;
}

/* NMIs that arrive while two wait are one with the second. */
static void take_nmi(struct apic *apic)
{
    const uint8_t most = 2;

    if (apic->nmis < most)
        apic->nmis++;
    apic->vp->attention = true;
}

/* INIT starts the only CPU anew, which is what a reset of the machine is. */
static void take_init(struct apic *apic)
{
    vm_end_at_entry(apic->vp->vm, VM_STOP_RESET);
}

static void deliver(struct apic *apic, uint32_t message, bool level)
{
    switch ((enum apic_delivery_mode)FIELD_GET(APIC_ICR_MODE, message)) {
    case APIC_FIXED:
    case APIC_LOWEST: /* of one */
        apic_accept(apic, (uint8_t)message, level);
        break;
    case APIC_NMI:
        take_nmi(apic);
        break;
    case APIC_INIT:
        take_init(apic);
        break;
    case APIC_STARTUP: /* of a CPU that does not wait for one */
    case APIC_SMI:
    case APIC_EXTINT:
    case APIC_RESERVED_3:
    default:
        apic->dropped++;
        break;
    }
}

void apic_send(struct apic *apic, uint32_t icr, uint32_t destination)
{
    unsigned mode = (unsigned)FIELD_GET(APIC_ICR_MODE, icr);
    bool for_us = true;

    if (mode <= APIC_LOWEST && (icr & APIC_ICR_VECTOR) < APIC_FIRST_LEGAL)
        apic_error(apic, APIC_ESR_SENT);
    if (mode == APIC_INIT && (icr & (APIC_ICR_LEVEL | APIC_ICR_ASSERT)) == APIC_ICR_LEVEL)
        return; /* the deassertion of INIT, which only CPUs of long ago heed */
    switch ((enum apic_shorthand)FIELD_GET(APIC_ICR_SHORTHAND, icr)) {
    case APIC_TO_DESTINATION:
        for_us = is_addressed(apic, destination, (icr & APIC_ICR_LOGICAL) != 0);
        break;
    case APIC_TO_OTHERS:
        for_us = false;
        break;
    case APIC_TO_SELF:
    case APIC_TO_ALL:
        break;
    }
    if (for_us)
        deliver(apic, icr, false); /* IPIs are edges whatever the trigger mode says */
    else
        apic->dropped++;
}

static bool is_reserved(uint32_t data)
{
    unsigned mode = (unsigned)FIELD_GET(APIC_ICR_MODE, data);

    return mode == APIC_RESERVED_3 || mode == APIC_STARTUP ||
           (data & (APIC_ICR_LEVEL | APIC_ICR_ASSERT)) == APIC_ICR_LEVEL;
}

hv_status_t apic_message(struct vm *vm, uint64_t address, uint32_t data)
{
    struct apic *apic = vm->vp->apic;
    uint32_t destination = (uint32_t)FIELD_GET(MSI_DESTINATION, address);

    if ((address & MSI_ADDRESS_FIXED) != MSI_ADDRESS)
        return HV_E_INVALID_PARAMETER_2;
    if (is_reserved(data))
        return HV_E_INVALID_PARAMETER_3;
    if (apic_is_x2(apic) && destination == APIC_XAPIC_ALL)
        destination = APIC_X2APIC_ALL; /* an MSI has eight bits to say everybody with */
    if ((apic->base & APIC_BASE_ENABLE) &&
        is_addressed(apic, destination, (address & MSI_LOGICAL) != 0))
        deliver(apic, data, (data & APIC_ICR_LEVEL) != 0);
    else
        apic->dropped++;
    return HV_OK;
}
