/*
 * Owns:     the CPU's one timer interrupt, shared by all who must be told when a time has come.
 * Promises: an alarm rings at most once for each alarm_set(), in root mode with no lock held, at or after its time: at
 *           the exit that the timer's interrupt causes, or inside alarm_wait(). A guest that runs with interrupts off
 *           is not stopped for it on every CPU (docs/emulators.md).
 * Needs:    the local APIC of the CPU (hv/vm/host_irq.h), link-time clock and timer in unit tests.
 * Never:    wakes anybody when no alarm is set: without one the timer is off.
 */
#ifndef HV_VM_ALARM_H
#define HV_VM_ALARM_H

#include "hv/base/types.h"

struct alarm {
    uint64_t deadline; /* time-stamp counter; 0: off */
    void (*ring)(struct alarm *alarm);
    struct alarm *next; /* those that are set, soonest first */
};

/* Find the timer and how fast it runs against the time-stamp counter. False: there is none, alarms ring late. */
bool alarm_init(void);

/* The clock of deadlines. */
uint64_t alarm_now(void);

/* Set it, or set it anew; 0: off. Interrupts are off. Cheap when it is not the soonest. */
void alarm_set(struct alarm *alarm, uint64_t deadline);

/* Ring what is due. From the exit of the timer's interrupt, and wherever time may have passed. */
void alarm_run(void);

/* Sleep until an interrupt comes, then ring what is due. False: no alarm is set, so nothing could wake us. */
bool alarm_wait(void);

#endif
