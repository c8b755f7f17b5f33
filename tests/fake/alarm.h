/*
 * Owns:     the clock and the alarms of hv/vm/alarm.h for host tests.
 * Promises: time stands still unless a test moves it; alarms ring in the order of their deadlines, at the time of their
 *           deadline.
 * Needs:    nothing.
 * Never:    linked together with hv/vm/alarm.c.
 */
#ifndef TESTS_FAKE_ALARM_H
#define TESTS_FAKE_ALARM_H

#include "hv/vm/alarm.h"

extern uint64_t fake_alarm_clock;
extern unsigned fake_alarm_rings; /* so far */

/* No alarm is set, and the clock is at its start, which is not 0. */
void fake_alarm_reset(void);

/* Go to that time, ringing what is due on the way. */
void fake_alarm_go(uint64_t to);

#endif
