/*
 * What the next entry delivers, in the order of SDM 3A "Prioritization of Concurrent Events": an event whose delivery was
 * interrupted comes first, for it has begun; then an exception, which belongs to the last instruction.
 */
#include "hv/vm/vp.h"

static uint32_t delivery_info(unsigned type, unsigned vector)
{
    return (uint32_t)(DELIVERY_VALID | FIELD_PREP(DELIVERY_TYPE, type) | vector);
}

static void take_own_event(struct vp_event *event, unsigned takes, struct vp_delivery *d)
{
    d->info = event->raw;
    d->error = event->error;
    d->exception = event->kind == VP_EVENT_EXCEPTION;
    if (d->exception)
        d->info = delivery_info(DELIVERY_TYPE_EXCEPTION, event->vector) |
                  (event->has_error && (takes & VP_TAKES_ERROR_CODES) ? DELIVERY_HAS_ERROR : 0);
    event->kind = VP_EVENT_NONE;
}

static void take_nmi(struct apic *apic, unsigned takes, struct vp_delivery *d)
{
    if (apic_has_nmi(apic) && d->info == 0 && (takes & VP_TAKES_NMI)) {
        apic_take_nmi(apic);
        d->info = delivery_info(DELIVERY_TYPE_NMI, VECTOR_NMI);
        d->nmi = true;
    }
    apic->nmis = (uint8_t)MIN(apic->nmis, 1); /* a CPU latches one: others are one with it */
    if (apic_has_nmi(apic))
        d->waits |= (uint8_t)VP_TAKES_NMI;
}

static void take_interrupt(struct apic *apic, unsigned takes, struct vp_delivery *d)
{
    int vector = apic_next(apic);

    if (vector < 0)
        return;
    if (d->info != 0 || !(takes & VP_TAKES_INTERRUPT)) {
        d->waits |= (uint8_t)VP_TAKES_INTERRUPT;
        return;
    }
    apic_take(apic, (uint8_t)vector);
    d->info = delivery_info(DELIVERY_TYPE_INTERRUPT, (unsigned)vector);
}

struct vp_delivery vp_next_event(struct vp *vp, unsigned takes)
{
    struct vp_delivery delivery = {0};

    if (vp->event.kind != VP_EVENT_NONE)
        take_own_event(&vp->event, takes, &delivery);
    take_nmi(vp->apic, takes, &delivery);
    take_interrupt(vp->apic, takes, &delivery);
    vp->attention = delivery.waits != 0; /* another exit may come before the window, and open it */
    return delivery;
}

bool vp_has_event(struct vp *vp, unsigned takes)
{
    struct apic *apic = vp->apic;

    return (apic_has_nmi(apic) && (takes & VP_TAKES_NMI)) ||
           ((takes & VP_TAKES_INTERRUPT) && apic_next(apic) >= 0);
}
