/*
 * Owns:     the boot CPU's local APIC, once the firmware's interrupts are silenced (hv/vm/host_irq.h does that earlier,
 *           through windows, because nothing can be mapped yet).
 * Promises: registers are read through a mapping of the page as uncached device memory, in x2APIC mode by MSR;
 *           ends nothing and sends nothing.
 * Needs:    hv/mem/view.h.
 * Never:    interrupts for guests.
 */
#ifndef DRIVERS_HOST_APIC_H
#define DRIVERS_HOST_APIC_H

#include "hv/base/status.h"
#include "hv/base/types.h"

struct apic_state {
    uint64_t base; /* of the page; also in x2APIC mode, where it is not used */
    bool x2apic;
    uint32_t id;
    uint8_t version;
    unsigned lvt_entries;
    unsigned in_service, pending; /* vectors in ISR and IRR */
    uint32_t errors;              /* ESR; 0: none */
};

/* Map the page. HV_E_NOT_SUPPORTED: the CPU's APIC is off; and what hv_io_space_map() says. */
hv_status_t apic_start(void) MUST_CHECK;

/* What the registers say now. Only after apic_start() succeeded. */
struct apic_state apic_look(void);

/* apic_start() and one line of what it is, more when something waits in it. Without an APIC one line says so. */
void apic_report(bool quiet);

#endif
