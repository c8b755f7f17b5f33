#include "hv/vm/alarm.h"

#include "hv/vm/host_timer.h"

/* One CPU in this version: with more, each has its own. */
static struct {
    struct alarm *first; /* soonest first, those of one time in the order in which they were set */
    uint64_t armed;      /* what the timer was set to; 0: off */
    uint64_t ringing;    /* what is due by then is being rung; 0: nothing is */
} alarms;

bool alarm_init(void)
{
    return host_timer_init();
}

uint64_t alarm_now(void)
{
    return host_timer_now();
}

/* `came`: the timer is not running any more, or might as well not be. */
static void arm(bool came)
{
    uint64_t soonest = alarms.first ? alarms.first->deadline : 0;

    if (alarms.armed != soonest || (came && soonest != 0))
        host_timer_set(soonest);
    alarms.armed = soonest;
}

static void take_out(struct alarm *alarm)
{
    struct alarm **at = &alarms.first;

    if (alarm->deadline == 0)
        return;
    while (*at != alarm)
        at = &(*at)->next;
    *at = alarm->next;
    alarm->deadline = 0;
}

void alarm_set(struct alarm *alarm, uint64_t deadline)
{
    struct alarm **at = &alarms.first;

    take_out(alarm);
    if (deadline != 0) {
        /* One that sets itself again and is late already comes back with the next interrupt, not in this round. */
        if (deadline <= alarms.ringing)
            deadline = alarms.ringing + 1;
        while (*at && (*at)->deadline <= deadline)
            at = &(*at)->next;
        alarm->deadline = deadline;
        alarm->next = *at;
        *at = alarm;
    }
    if (alarms.ringing == 0)
        arm(false);
}

void alarm_run(void)
{
    struct alarm *alarm;

    if (alarms.ringing != 0) /* a bell that waits: its caller goes on */
        return;
    alarms.ringing = host_timer_now();
    while ((alarm = alarms.first) != NULL && alarm->deadline <= alarms.ringing) {
        take_out(alarm);
        alarm->ring(alarm);
    }
    alarms.ringing = 0;
    arm(true); /* it came early, perhaps */
}

bool alarm_wait(void)
{
    if (!alarms.first)
        return false;
    if (alarms.first->deadline > host_timer_now())
        host_sleep(alarms.first->deadline);
    alarm_run();
    return true;
}
