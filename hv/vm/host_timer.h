/*
 * Owns:     the timer in the machine's local APIC, and the CPU's sleep.
 * Promises: one interrupt at or shortly before a time of the time-stamp counter: whoever set it looks at the clock and
 *           sets it again when it came early. No interrupt is taken but inside host_sleep() and at exits of a guest.
 * Needs:    host_interrupts_quiesce() first; gates for interrupts (hv/x86/desc.c).
 * Never:    more than one time: that is alarm.h.
 */
#ifndef HV_VM_HOST_TIMER_H
#define HV_VM_HOST_TIMER_H

#include "hv/base/types.h"

/* False: the machine's APIC is off or has no timer that counts. */
bool host_timer_init(void);
void host_timer_set(uint64_t deadline); /* 0: off */
uint64_t host_timer_now(void);          /* the time-stamp counter */

/* Until an interrupt or an NMI comes. Without a timer until that time, without rest. */
void host_sleep(uint64_t until);

#endif
