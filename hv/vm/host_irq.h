/*
 * Owns:     the machine's interrupt sources and other CPUs that the firmware left running.
 * Promises: after host_interrupts_quiesce() the PICs and the local APIC's own sources are masked, no fixed
 *           interrupt gets through the task priority, and the other CPUs are in wait-for-SIPI; a stray
 *           interrupt that ends a guest run is acknowledged and forgotten.
 * Needs:    hv/mem/window.h for the xAPIC page.
 * Never:    delivers anything to a guest.
 */
#ifndef HV_VM_HOST_IRQ_H
#define HV_VM_HOST_IRQ_H

void host_interrupts_quiesce(void);
void host_interrupt_end(void);

#endif
