#include "tests/fake/alarm.h"

#include "hv/base/assert.h"

#define START 1000u

uint64_t fake_alarm_clock = START;
unsigned fake_alarm_rings;

static struct alarm *first;

bool alarm_init(void)
{
    return true;
}

uint64_t alarm_now(void)
{
    return fake_alarm_clock;
}

void alarm_set(struct alarm *alarm, uint64_t deadline)
{
    struct alarm **at = &first;

    while (*at && *at != alarm)
        at = &(*at)->next;
    if (*at)
        *at = alarm->next;
    alarm->deadline = deadline;
    if (deadline == 0)
        return;
    for (at = &first; *at && (*at)->deadline <= deadline;)
        at = &(*at)->next;
    alarm->next = *at;
    *at = alarm;
}

void alarm_run(void)
{
    while (first && first->deadline <= fake_alarm_clock) {
        struct alarm *alarm = first;

        alarm_set(alarm, 0);
        fake_alarm_rings++;
        alarm->ring(alarm);
    }
}

bool alarm_wait(void)
{
    if (!first)
        return false;
    fake_alarm_clock = MAX(fake_alarm_clock, first->deadline);
    alarm_run();
    return true;
}

void fake_alarm_go(uint64_t to)
{
    ASSERT(to >= fake_alarm_clock);
    while (first && first->deadline <= to)
        (void)alarm_wait();
    fake_alarm_clock = to;
}

void fake_alarm_reset(void)
{
    first = NULL;
    fake_alarm_clock = START;
    fake_alarm_rings = 0;
}
