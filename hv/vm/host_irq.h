/*
 * Owns:     the machine's interrupt sources and other CPUs that the firmware left running; its local APIC.
 * Promises: after host_interrupts_quiesce() the PICs and the local APIC's own sources are masked, no fixed
 *           interrupt but those of the highest class gets through the task priority, and the other CPUs are in
 *           wait-for-SIPI. An interrupt that ends a guest run or a sleep is acknowledged by host_interrupt_end().
 * Needs:    hv/mem/window.h for the xAPIC page.
 * Never:    delivers anything to a guest.
 */
#ifndef HV_VM_HOST_IRQ_H
#define HV_VM_HOST_IRQ_H

#include "hv/base/types.h"

/* The class above the task priority: what we take ourselves. */
#define HOST_VECTOR_TIMER    0xfeu
#define HOST_VECTOR_SPURIOUS 0xffu

void host_interrupts_quiesce(void);
void host_interrupt_end(void);

/* Switch the local APIC on for our own interrupts. False: the firmware left it disabled. */
bool host_interrupts_open(void);

/* Its registers by their offset in the xAPIC page, in both modes. While it is enabled. */
#define HOST_APIC_LVT_TIMER 0x320u
uint32_t host_apic_read(uint32_t reg);
void host_apic_write(uint32_t reg, uint32_t value);

#endif
