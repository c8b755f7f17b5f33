/* Alarms over a timer and a clock that the test moves. */
#include "tests/fake/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/vm/alarm.h"
#include "hv/vm/host_timer.h"

#define ALARMS 6u
#define START  1000u

static uint64_t now, armed;
static unsigned sets, sleeps;
static int64_t off; /* the timer comes that much later than it was set to */

bool host_timer_init(void)
{
    return true;
}

void host_timer_set(uint64_t deadline)
{
    armed = deadline;
    sets++;
}

uint64_t host_timer_now(void)
{
    return now;
}

void host_sleep(uint64_t until)
{
    sleeps++;
    assert_int_not_equal(armed, 0); /* or nothing would wake us */
    assert_int_equal(until, armed);
    now = (uint64_t)((int64_t)armed + off);
}

static struct alarm alarm[ALARMS];
static unsigned order[32], rings;
static uint64_t again[ALARMS]; /* what each sets itself to when it rings */

static void ring(struct alarm *which)
{
    unsigned n = (unsigned)(which - alarm);

    assert_int_equal(which->deadline, 0);
    assert_in_range(rings, 0, 31);
    order[rings++] = n;
    if (again[n])
        alarm_set(which, again[n]);
}

static int open_alarms(void **state)
{
    (void)state;
    now = START;
    rings = sets = sleeps = 0;
    off = 0;
    memset(again, 0, sizeof(again));
    for (unsigned i = 0; i < ALARMS; i++)
        alarm[i].ring = ring;
    return 0;
}

static int close_alarms(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALARMS; i++)
        alarm_set(&alarm[i], 0);
    assert_int_equal(armed, 0); /* off when there is none */
    return 0;
}

static void expect_order(unsigned count, const unsigned *expected)
{
    assert_int_equal(rings, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(order[i], expected[i]);
}

static void test_order(void **state)
{
    static const uint64_t at[ALARMS] = {1500, 1200, 1900, 1200, 1201, 1500};
    static const unsigned expected[] = {1, 3, 4, 0, 5, 2};

    (void)state;
    for (unsigned i = 0; i < ALARMS; i++)
        alarm_set(&alarm[i], at[i]);
    assert_int_equal(armed, 1200);
    assert_int_equal(sets, 2); /* only the soonest is told */
    now = 1199;
    alarm_run();
    assert_int_equal(rings, 0);
    now = 1200;
    alarm_run();
    assert_int_equal(rings, 2);
    assert_int_equal(armed, 1201);
    now = 5000;
    alarm_run();
    alarm_run();
    expect_order(6, expected);
    assert_int_equal(armed, 0);
}

static void test_set_anew(void **state)
{
    static const unsigned expected[] = {1, 0};

    (void)state;
    alarm_set(&alarm[0], 1100);
    alarm_set(&alarm[1], 1200);
    alarm_set(&alarm[2], 1150);
    alarm_set(&alarm[0], 1300); /* from the front to the back */
    assert_int_equal(armed, 1150);
    alarm_set(&alarm[2], 0); /* and one goes */
    assert_int_equal(armed, 1200);
    assert_int_equal(alarm[2].deadline, 0);
    alarm_set(&alarm[2], 0);
    now = 1400;
    alarm_run();
    expect_order(2, expected);
}

/* One that sets itself to a time that has passed comes with the next interrupt: others are not kept waiting. */
static void test_set_inside(void **state)
{
    static const unsigned expected[] = {0, 1, 0, 0};

    (void)state;
    again[0] = 500;
    alarm_set(&alarm[0], 1100);
    alarm_set(&alarm[1], 1101);
    now = 1200;
    alarm_run();
    expect_order(2, expected);
    assert_int_equal(armed, 1201);
    now = 1300;
    alarm_run();
    expect_order(3, expected);
    again[0] = 2000;
    now = 1400;
    alarm_run();
    expect_order(4, expected);
    assert_int_equal(alarm[0].deadline, 2000);
    assert_int_equal(armed, 2000);
}

static struct alarm *victim;

static void ring_and_stop(struct alarm *which)
{
    (void)which;
    rings++;
    alarm_set(victim, 0);
    alarm_run(); /* whoever looks at the clock inside changes nothing */
}

static void test_stopped_inside(void **state)
{
    (void)state;
    victim = &alarm[1];
    alarm[0].ring = ring_and_stop;
    alarm_set(&alarm[0], 1100);
    alarm_set(&alarm[1], 1100);
    now = 1200;
    alarm_run();
    assert_int_equal(rings, 1);
    assert_int_equal(armed, 0);
}

static void test_early(void **state)
{
    (void)state;
    alarm_set(&alarm[0], 1500);
    now = 1499; /* the interrupt is here already */
    sets = 0;
    alarm_run();
    assert_int_equal(rings, 0);
    assert_int_equal(sets, 1); /* set again, though to the same time: it comes once */
    assert_int_equal(armed, 1500);
}

static void test_wait(void **state)
{
    (void)state;
    assert_false(alarm_wait());
    assert_int_equal(sleeps, 0);
    alarm_set(&alarm[0], 1500);
    off = -3; /* early: whoever waits waits again */
    assert_true(alarm_wait());
    assert_int_equal(rings, 0);
    off = 5;
    assert_true(alarm_wait());
    assert_int_equal(rings, 1);
    assert_int_equal(sleeps, 2);
    assert_false(alarm_wait());
    alarm_set(&alarm[0], now); /* due already: no sleep, which the timer might not end */
    assert_true(alarm_wait());
    assert_int_equal(rings, 2);
    assert_int_equal(sleeps, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_alarms, close_alarms)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),          TEST(test_set_anew), TEST(test_set_inside),
        TEST(test_stopped_inside), TEST(test_early),    TEST(test_wait),
    };

    assert_true(alarm_init());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
