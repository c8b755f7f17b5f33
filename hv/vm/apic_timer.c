/*
 * The timer of the local APIC. It counts at the rate of the time-stamp counter over the divider, so nothing ticks here: all
 * that is kept is when the count will be 0, and what the count is now follows from the clock.
 *
 *   write of count, deadline, divider or LVT --> due --alarm--> ring --> apic_accept()
 *                                                 `--apic_next() finds it past--^
 */
#include "hv/vm/apic_core.h"

/*
 * A guest may ask for a period of one tick. Interrupts that nobody can tell apart are one interrupt, and the alarms
 * for them keep this distance, in ticks, or nothing else would run.
 */
#define LEAST_DISTANCE 10000u

static enum apic_timer_mode mode_of(uint32_t lvt)
{
    return (enum apic_timer_mode)FIELD_GET(APIC_LVT_MODE, lvt);
}

static enum apic_timer_mode mode(const struct apic *apic)
{
    return mode_of(apic->lvt[APIC_LVT_TIMER]);
}

/* SDM 3A "Divide Configuration Register": 0 is 2 ... 6 is 128, and 7 is 1. */
static unsigned shift(const struct apic *apic)
{
    unsigned code = (apic->divide & 3) | (apic->divide >> 1 & 4);

    return (code + 1) & 7;
}

static bool is_masked(const struct apic *apic)
{
    return (apic->lvt[APIC_LVT_TIMER] & APIC_LVT_MASK) != 0;
}

/* A masked timer counts, but nobody has to be woken for it. */
static void arm(struct apic *apic, uint64_t earliest)
{
    if (apic->timer_due != 0 && !is_masked(apic))
        alarm_set(&apic->alarm, MAX(apic->timer_due, earliest));
    else if (apic->alarm.deadline != 0)
        alarm_set(&apic->alarm, 0);
}

/* It is due: one interrupt, however many periods have passed. The next one keeps to the grid of the first. */
static COLD void expire(struct apic *apic, uint64_t now)
{
    uint64_t period;

    if (mode(apic) == APIC_PERIODIC) {
        period = (uint64_t)apic->initial_count << shift(apic);
        apic->timer_due += ((now - apic->timer_due) / period + 1) * period;
    } else {
        apic->timer_due = 0;
        apic->tsc_deadline = 0;
    }
    arm(apic, now + LEAST_DISTANCE);
    if (!is_masked(apic))
        apic_accept(apic, (uint8_t)apic->lvt[APIC_LVT_TIMER], false);
}

/* The time, with everything done that was due before it. */
static uint64_t up_to_date(struct apic *apic)
{
    uint64_t now = alarm_now();

    if (apic->timer_due != 0 && apic->timer_due <= now)
        expire(apic, now);
    return now;
}

void apic_timer_update(struct apic *apic)
{
    (void)up_to_date(apic);
}

static void ring(struct alarm *alarm)
{
    apic_timer_update(CONTAINER_OF(alarm, struct apic, alarm));
}

void apic_timer_reset(struct apic *apic)
{
    if (apic->alarm.deadline != 0)
        alarm_set(&apic->alarm, 0);
    apic->alarm.ring = ring;
    apic->timer_due = apic->tsc_deadline = 0;
    apic->initial_count = apic->divide = 0;
}

void apic_timer_lvt_write(struct apic *apic, uint32_t value)
{
    (void)up_to_date(apic);
    if (mode_of(value) != mode(apic)) /* SDM 3A "TSC-Deadline Mode": a change of mode disarms */
        apic->timer_due = apic->tsc_deadline = 0;
    apic->lvt[APIC_LVT_TIMER] = value;
    arm(apic, 0);
}

void apic_timer_count_write(struct apic *apic, uint32_t value)
{
    uint64_t now;

    if (mode(apic) > APIC_PERIODIC)
        return;
    now = up_to_date(apic);
    apic->initial_count = value;
    apic->timer_due = value != 0 ? now + ((uint64_t)value << shift(apic)) : 0;
    arm(apic, 0);
}

/* What is left, a count that has begun included. Of a deadline nothing can be read here. */
static uint32_t count_at(const struct apic *apic, uint64_t now)
{
    const uint64_t part = BIT(shift(apic)) - 1;

    if (mode(apic) > APIC_PERIODIC || apic->timer_due == 0)
        return 0;
    return (uint32_t)((apic->timer_due - now + part) >> shift(apic));
}

uint32_t apic_timer_count_read(struct apic *apic)
{
    uint64_t now = up_to_date(apic);

    return count_at(apic, now);
}

/* The count goes on from where it is at the new rate. */
void apic_timer_divide_write(struct apic *apic, uint32_t value)
{
    uint64_t now = up_to_date(apic), count = count_at(apic, now);

    apic->divide = value;
    if (count != 0) {
        apic->timer_due = now + (count << shift(apic));
        arm(apic, 0);
    }
}

uint64_t apic_timer_deadline_read(struct apic *apic)
{
    (void)up_to_date(apic);
    return apic->tsc_deadline;
}

void apic_timer_deadline_write(struct apic *apic, uint64_t value)
{
    (void)up_to_date(apic);
    if (mode(apic) != APIC_TSC_DEADLINE)
        return;
    apic->tsc_deadline = apic->timer_due = value;
    arm(apic, 0);
    (void)up_to_date(apic); /* it may be past already */
}

bool apic_timer_is_armed(const struct apic *apic)
{
    return apic->timer_due != 0 && !is_masked(apic);
}
