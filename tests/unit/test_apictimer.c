/* The timer of the local APIC, on a clock that the test moves. */
#include "tests/unit/apic_kit.h"

#define VECTOR   0x31u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define MODE_3   0x60000u

#define now      fake_alarm_clock

/* The vector is in IRR; it is delivered and ended. */
static bool fired(void)
{
    bool in = set_has(P_IRR, VECTOR);

    if (in) {
        assert_int_equal(deliver_next(), VECTOR);
        page_put(P_EOI, 0);
    }
    return in;
}

static void start(uint32_t lvt, uint32_t divide, uint32_t count)
{
    page_put(P_TIMER, lvt);
    page_put(P_DIVIDE, divide);
    page_put(P_INITIAL, count);
}

/* Codes of the divide configuration register. */
static const struct {
    uint32_t code;
    unsigned divisor;
} dividers[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

static void test_one_shot(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(dividers); i++) {
        const uint64_t divisor = dividers[i].divisor, from = now;

        start(VECTOR, dividers[i].code, 1000);
        assert_true(apic_timer_is_armed(&kit.apic));
        assert_int_equal(kit.apic.alarm.deadline, from + 1000 * divisor);
        for (unsigned passed = 0; passed < 1000; passed += 37) {
            fake_alarm_go(from + passed * divisor);
            assert_int_equal(page_get(P_CURRENT), 1000 - passed);
            fake_alarm_go(from + passed * divisor + divisor - 1); /* a count is as long as all */
            assert_int_equal(page_get(P_CURRENT), 1000 - passed);
        }
        fake_alarm_go(from + 1000 * divisor - 1);
        assert_int_equal(page_get(P_CURRENT), 1);
        assert_false(fired());
        kit.vp.attention = false;
        fake_alarm_go(from + 1000 * divisor);
        assert_true(kit.vp.attention);
        assert_true(fired());
        assert_int_equal(page_get(P_CURRENT), 0);
        assert_int_equal(page_get(P_INITIAL), 1000);
        assert_false(apic_timer_is_armed(&kit.apic));
        fake_alarm_go(from + 5000 * divisor); /* once */
        assert_false(fired());
        assert_int_equal(page_get(P_CURRENT), 0);
    }
    assert_int_equal(fake_alarm_rings, ARRAY_COUNT(dividers));
}

/* The longest time there is: 2^32 - 1 counts of 128. */
static void test_longest(void **state)
{
    const uint64_t from = now;

    (void)state;
    start(VECTOR, 10, UINT32_MAX);
    assert_int_equal(page_get(P_CURRENT), UINT32_MAX);
    fake_alarm_go(from + ((uint64_t)UINT32_MAX << 7) - 1);
    assert_int_equal(page_get(P_CURRENT), 1);
    assert_false(fired());
    fake_alarm_go(now + 1);
    assert_true(fired());
}

static void test_periodic(void **state)
{
    const uint64_t period = 4 * 50000, from = now;

    (void)state;
    start(PERIODIC | VECTOR, 1, 50000);
    for (unsigned i = 1; i <= 20; i++) {
        fake_alarm_go(from + i * period - 1);
        assert_false(fired());
        assert_int_equal(page_get(P_CURRENT), 1);
        fake_alarm_go(from + i * period);
        assert_true(fired());
        assert_int_equal(page_get(P_CURRENT), 50000);
        assert_int_equal(kit.apic.alarm.deadline, from + (i + 1) * period);
    }
    /* A late look: one interrupt for all that was missed, and the grid is the old one. */
    now = from + 30 * period + 123;
    assert_int_equal(apic_next(&kit.apic), VECTOR);
    assert_true(fired());
    assert_int_equal(kit.apic.alarm.deadline, from + 31 * period);
    assert_int_equal(page_get(P_CURRENT), 50000 - 30);
    assert_int_equal(kit.apic.accepted, 21);
    page_put(P_INITIAL, 0);
    assert_false(apic_timer_is_armed(&kit.apic));
    assert_int_equal(kit.apic.alarm.deadline, 0);
    fake_alarm_go(now + 10 * period);
    assert_false(fired());
    assert_int_equal(page_get(P_CURRENT), 0);
}

/* A period of one tick must not ring all the time. */
static void test_shortest_period(void **state)
{
    const uint64_t from = now, span = 10000000;

    (void)state;
    start(PERIODIC | VECTOR, 11, 1);
    fake_alarm_go(from + span);
    assert_in_range(fake_alarm_rings, 10, span / 10000);
    assert_true(fired());
    assert_true(kit.apic.alarm.deadline > now);
    now++; /* whoever asks sees it at once all the same */
    assert_int_equal(apic_next(&kit.apic), VECTOR);
}

/* The alarm is late: asking finds it, and the alarm does not bring it a second time. */
static void test_asked_before_the_alarm(void **state)
{
    const uint64_t from = now;

    (void)state;
    start(VECTOR, 11, 5000);
    now = from + 4999;
    assert_int_equal(apic_next(&kit.apic), -1);
    now = from + 5000;
    assert_true(set_has(P_IRR, VECTOR)); /* a guest that polls sees it too */
    assert_int_equal(apic_next(&kit.apic), VECTOR);
    assert_int_equal(kit.apic.alarm.deadline, 0);
    assert_true(fired());
    alarm_run();
    assert_false(fired());
}

static void test_masked(void **state)
{
    const uint64_t from = now;

    (void)state;
    start(MASKED | VECTOR, 11, 10000);
    assert_false(apic_timer_is_armed(&kit.apic));
    assert_int_equal(kit.apic.alarm.deadline, 0); /* nobody is woken */
    fake_alarm_go(from + 4000);
    assert_int_equal(page_get(P_CURRENT), 6000); /* but it counts */
    page_put(P_TIMER, VECTOR);
    assert_int_equal(kit.apic.alarm.deadline, from + 10000);
    page_put(P_TIMER, MASKED | VECTOR);
    assert_int_equal(kit.apic.alarm.deadline, 0);
    fake_alarm_go(from + 10001);
    page_put(P_TIMER, VECTOR); /* too late: it was over while masked */
    assert_false(fired());
    assert_int_equal(page_get(P_CURRENT), 0);
    assert_false(apic_timer_is_armed(&kit.apic));
    start(MASKED | PERIODIC | VECTOR, 11, 10000);
    fake_alarm_go(now + 25000);
    assert_int_equal(page_get(P_CURRENT), 5000);
    page_put(P_TIMER, PERIODIC | VECTOR);
    fake_alarm_go(now + 4999);
    assert_false(fired());
    fake_alarm_go(now + 1);
    assert_true(fired());
    page_put(P_SVR, 0xff); /* off by software: masked */
    assert_int_equal(kit.apic.alarm.deadline, 0);
    assert_false(apic_timer_is_armed(&kit.apic));
}

/* A write of the initial count begins anew, in the middle too. */
static void test_begun_anew(void **state)
{
    const uint64_t from = now;

    (void)state;
    start(VECTOR, 11, 10000);
    fake_alarm_go(from + 9999);
    page_put(P_INITIAL, 3000);
    assert_int_equal(page_get(P_CURRENT), 3000);
    fake_alarm_go(from + 12998);
    assert_false(fired());
    fake_alarm_go(from + 12999);
    assert_true(fired());
}

/* Another divider: what is left is counted at the new rate, and what is over stays over. */
static void test_divider_changed(void **state)
{
    const uint64_t from = now;

    (void)state;
    start(VECTOR, 11, 10000);
    fake_alarm_go(from + 6000);
    page_put(P_DIVIDE, 10);
    assert_int_equal(page_get(P_CURRENT), 4000);
    fake_alarm_go(from + 6000 + 3999 * 128);
    assert_int_equal(page_get(P_CURRENT), 1);
    page_put(P_DIVIDE, 11);
    assert_int_equal(kit.apic.alarm.deadline, now + 1);
    fake_alarm_go(now + 1);
    assert_true(fired());
    page_put(P_DIVIDE, 10);
    assert_int_equal(page_get(P_CURRENT), 0);
    assert_false(apic_timer_is_armed(&kit.apic));
    start(PERIODIC | VECTOR, 11, 30000);
    page_put(P_DIVIDE, 0);
    fake_alarm_go(now + 60000);
    assert_true(fired());
    assert_int_equal(kit.apic.alarm.deadline, now + 60000);
}

/* ---- TSC deadline ---- */

static void test_deadline(void **state)
{
    const uint64_t from = now;

    (void)state;
    assert_true(msr_put(IA32_TSC_DEADLINE, from + 100)); /* not in this mode */
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), 0);
    assert_false(apic_timer_is_armed(&kit.apic));
    page_put(P_TIMER, DEADLINE | VECTOR);
    assert_true(msr_put(IA32_TSC_DEADLINE, from + 5000));
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), from + 5000);
    assert_true(apic_timer_is_armed(&kit.apic));
    assert_int_equal(page_get(P_CURRENT), 0);
    page_put(P_INITIAL, 77); /* is ignored */
    assert_int_equal(page_get(P_INITIAL), 0);
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), from + 5000);
    fake_alarm_go(from + 4999);
    assert_false(fired());
    fake_alarm_go(from + 5000);
    assert_true(fired());
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), 0);
    assert_false(apic_timer_is_armed(&kit.apic));
    fake_alarm_go(from + 50000);
    assert_false(fired());
    assert_true(msr_put(IA32_TSC_DEADLINE, now)); /* at once */
    assert_true(fired());
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), 0);
    assert_true(msr_put(IA32_TSC_DEADLINE, 1));
    assert_true(fired());
    assert_true(msr_put(IA32_TSC_DEADLINE, now + 100));
    assert_true(msr_put(IA32_TSC_DEADLINE, now + 200)); /* the newest counts */
    fake_alarm_go(now + 150);
    assert_false(fired());
    assert_true(msr_put(IA32_TSC_DEADLINE, 0));
    assert_false(apic_timer_is_armed(&kit.apic));
    fake_alarm_go(now + 150);
    assert_false(fired());
    assert_true(msr_put(IA32_TSC_DEADLINE, ~0ull));
    assert_int_equal(kit.apic.alarm.deadline, ~0ull);
}

/* It is over when the time has come, seen or not; what it would have said while masked is lost. */
static void test_deadline_masked(void **state)
{
    (void)state;
    page_put(P_TIMER, MASKED | DEADLINE | VECTOR);
    assert_true(msr_put(IA32_TSC_DEADLINE, now + 300));
    assert_int_equal(kit.apic.alarm.deadline, 0);
    fake_alarm_go(now + 299);
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), now + 1);
    fake_alarm_go(now + 1);
    assert_int_equal(msr_of(IA32_TSC_DEADLINE), 0);
    page_put(P_TIMER, DEADLINE | VECTOR);
    assert_false(fired());
    assert_true(msr_put(IA32_TSC_DEADLINE, now + 300));
    page_put(P_TIMER, DEADLINE | 0x99); /* another vector disarms nothing */
    fake_alarm_go(now + 300);
    assert_true(set_has(P_IRR, 0x99));
}

/* A write that changes the mode disarms; one that does not goes on. */
static void test_modes(void **state)
{
    static const uint32_t modes[] = {0, PERIODIC, DEADLINE, MODE_3};

    (void)state;
    for (unsigned from = 0; from < 4; from++)
        for (unsigned to = 0; to < 4; to++) {
            page_put(P_TIMER, modes[from] | VECTOR);
            page_put(P_DIVIDE, 11);
            page_put(P_INITIAL, 50000);
            (void)msr_put(IA32_TSC_DEADLINE, now + 50000);
            assert_int_equal(apic_timer_is_armed(&kit.apic), from < 3);
            page_put(P_TIMER, modes[to] | VECTOR);
            assert_int_equal(apic_timer_is_armed(&kit.apic), from < 3 && from == to);
            assert_int_equal(msr_of(IA32_TSC_DEADLINE), from == 2 && to == 2 ? now + 50000 : 0);
            assert_int_equal(page_get(P_CURRENT), from < 2 && from == to ? 50000 : 0);
            fake_alarm_go(now + 50000);
            assert_int_equal(fired(), from < 3 && from == to);
            page_put(P_TIMER, MODE_3 | VECTOR);
        }
}

static void test_illegal_vector(void **state)
{
    (void)state;
    start(15, 11, 100);
    fake_alarm_go(now + 100);
    assert_int_equal(apic_next(&kit.apic), -1);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0x40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, apic_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_shot),
        TEST(test_longest),
        TEST(test_periodic),
        TEST(test_shortest_period),
        TEST(test_asked_before_the_alarm),
        TEST(test_masked),
        TEST(test_begun_anew),
        TEST(test_divider_changed),
        TEST(test_deadline),
        TEST(test_deadline_masked),
        TEST(test_modes),
        TEST(test_illegal_vector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
