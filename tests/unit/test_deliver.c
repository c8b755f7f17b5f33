/* What the next entry delivers, and a HLT that waits for it: the real APIC, a clock that the test moves. */
#include "tests/unit/apic_kit.h"

#define INFO(type, vector) ((uint32_t)(DELIVERY_VALID | (type) << 8 | (vector)))
#define ALL                ((unsigned)(VP_TAKES_INTERRUPT | VP_TAKES_NMI | VP_TAKES_ERROR_CODES))
#define SELF               0x40000u
#define NMI                0x400u
#define WAITS_BOTH         (VP_TAKES_INTERRUPT | VP_TAKES_NMI)

static struct vp_delivery next(unsigned takes)
{
    return vp_next_event(&kit.vp, takes);
}

static void send(uint32_t what)
{
    kit.vp.attention = false;
    page_put(P_ICR, SELF | what);
    assert_true(kit.vp.attention);
}

static void expect_delivery(struct vp_delivery d, uint32_t info, unsigned waits)
{
    assert_int_equal(d.info, info);
    assert_int_equal(d.waits, waits);
}

static void test_one_compare(void **state)
{
    (void)state;
    assert_int_equal(kit.vp.due, 0);
    kit.vp.attention = true;
    assert_int_not_equal(kit.vp.due, 0);
    vp_inject(&kit.vp, VECTOR_UD, false, 0);
    assert_true(kit.vp.attention); /* they do not overlap */
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_EXCEPTION, VECTOR_UD), 0);
    assert_int_equal(kit.vp.due, 0);
    kit.vp.event.kind = VP_EVENT_REINJECT;
    assert_false(kit.vp.attention);
    assert_int_not_equal(kit.vp.due, 0);
}

static void test_order(void **state)
{
    struct vp_delivery d;

    (void)state;
    send(0x41);
    send(0x91);
    send(NMI);
    vp_inject(&kit.vp, VECTOR_GP, true, 5);
    d = next(ALL);
    expect_delivery(d, INFO(DELIVERY_TYPE_EXCEPTION, VECTOR_GP) | (uint32_t)DELIVERY_HAS_ERROR,
                    WAITS_BOTH);
    assert_true(d.exception && !d.nmi);
    assert_int_equal(d.error, 5);
    assert_int_equal(kit.vp.event.vector, VECTOR_GP); /* a backend looks there */
    d = next(ALL);
    expect_delivery(d, INFO(DELIVERY_TYPE_NMI, VECTOR_NMI), VP_TAKES_INTERRUPT);
    assert_true(d.nmi && !d.exception);
    assert_false(set_has(P_ISR, 0x91)); /* only what is delivered is in service */
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x91), 0);
    assert_true(set_has(P_ISR, 0x91));
    assert_false(set_has(P_IRR, 0x91));
    expect_delivery(next(ALL), 0, 0); /* 0x41 is below what is in service: no window for it */
    page_put(P_EOI, 0);
    assert_true(kit.vp.attention);
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x41), 0);
}

/* Something whose delivery was interrupted goes out as it came in, and the APIC gives nothing for it. */
static void test_reinjected(void **state)
{
    struct vp_delivery d;

    (void)state;
    send(0x41);
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x41), 0);
    send(0x91);
    kit.vp.event.kind = VP_EVENT_REINJECT;
    kit.vp.event.raw = INFO(DELIVERY_TYPE_INTERRUPT, 0x41);
    kit.vp.event.error = 0;
    d = next(ALL);
    expect_delivery(d, INFO(DELIVERY_TYPE_INTERRUPT, 0x41), VP_TAKES_INTERRUPT);
    assert_false(d.exception);
    assert_true(set_has(P_ISR, 0x41) && set_has(P_IRR, 0x91));
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x91), 0);
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
}

static void test_not_taken(void **state)
{
    (void)state;
    send(0x41);
    send(NMI);
    expect_delivery(next(0), 0, WAITS_BOTH);
    expect_delivery(next(VP_TAKES_INTERRUPT), INFO(DELIVERY_TYPE_INTERRUPT, 0x41), VP_TAKES_NMI);
    send(0x91);
    expect_delivery(next(VP_TAKES_NMI), INFO(DELIVERY_TYPE_NMI, VECTOR_NMI), VP_TAKES_INTERRUPT);
    expect_delivery(next(VP_TAKES_NMI), 0, VP_TAKES_INTERRUPT);
    page_put(P_TPR, 0xa0); /* held back by the APIC: that needs no window */
    expect_delivery(next(0), 0, 0);
    page_put(P_TPR, 0);
    assert_true(kit.vp.attention);
}

/* One NMI is handled, one waits behind it, more are one. */
static void test_nmis(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        send(NMI);
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_NMI, VECTOR_NMI), VP_TAKES_NMI);
    expect_delivery(next(VP_TAKES_INTERRUPT), 0, VP_TAKES_NMI);
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_NMI, VECTOR_NMI), 0);
    expect_delivery(next(ALL), 0, 0);
}

/* An exit may come before the window, and open it: as long as something waits, every entry looks. */
static void test_while_it_waits(void **state)
{
    (void)state;
    send(0x41);
    for (unsigned i = 0; i < 3; i++) {
        expect_delivery(next(0), 0, VP_TAKES_INTERRUPT);
        assert_true(kit.vp.attention);
    }
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x41), 0);
    assert_false(kit.vp.attention);
}

static void test_real_mode(void **state)
{
    (void)state;
    vp_inject(&kit.vp, VECTOR_GP, true, 5);
    expect_delivery(next(ALL & ~(unsigned)VP_TAKES_ERROR_CODES),
                    INFO(DELIVERY_TYPE_EXCEPTION, VECTOR_GP), 0);
}

static void test_window_exit(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_WINDOW};

    (void)state;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    assert_true(kit.vp.attention);
}

/* ---- HLT ---- */

static enum hv_resume halt(unsigned takes, bool stepped)
{
    struct hv_exit exit = {.reason = HV_EXIT_HLT,
                           .halt = {.takes = (uint8_t)takes, .stepped = stepped}};

    kit.vm.stop = VM_STOP_NONE;
    kit.vp.attention = false;
    return vm_exit(&kit.vp, &exit);
}

static void start_timer(uint32_t ticks)
{
    page_put(P_DIVIDE, 0xb);
    page_put(P_TIMER, 0x55);
    page_put(P_INITIAL, ticks);
}

static void test_halt_wakes(void **state)
{
    uint64_t before;

    (void)state;
    send(0x41);
    assert_int_equal(halt(ALL, false), HV_ADVANCE);
    assert_true(kit.vp.attention);
    (void)next(ALL);
    page_put(P_EOI, 0);
    send(NMI);
    assert_int_equal(halt(VP_TAKES_NMI, false), HV_ADVANCE);
    (void)next(ALL);
    before = fake_alarm_clock;
    start_timer(5000);
    assert_int_equal(halt(ALL, false), HV_ADVANCE);
    assert_int_equal(fake_alarm_clock, before + 5000);
    expect_delivery(next(ALL), INFO(DELIVERY_TYPE_INTERRUPT, 0x55), 0);
}

static void test_halt_for_ever(void **state)
{
    (void)state;
    assert_int_equal(halt(ALL, false), HV_STOP);
    assert_int_equal(kit.vm.stop, VM_STOP_HLT);
    start_timer(5000);
    assert_int_equal(halt(VP_TAKES_NMI, false), HV_STOP); /* IF=0: the timer sends no NMI */
    assert_int_equal(kit.vm.stop, VM_STOP_HLT);
    assert_int_equal(fake_alarm_rings, 0);
    page_put(P_TPR, 0x50); /* it comes, and does not wake */
    assert_int_equal(halt(ALL, false), HV_STOP);
    assert_int_equal(fake_alarm_rings, 1);
    page_put(P_TPR, 0);
    send(NMI);
    assert_int_equal(halt(0, false), HV_STOP);   /* blocked */
    assert_int_equal(halt(0, true), HV_ADVANCE); /* the single step behind it */
}

static void ring_often(struct alarm *alarm)
{
    alarm_set(alarm, alarm_now() + 100);
}

static void ring_end(struct alarm *alarm)
{
    (void)alarm;
    vm_stop(&kit.vm, NULL, VM_STOP_UNEXPECTED);
}

/* Other alarms ring meanwhile. They wake nobody, and alone they let no guest sleep for ever. */
static void test_halt_among_alarms(void **state)
{
    struct alarm other = {.ring = ring_often};

    (void)state;
    alarm_set(&other, alarm_now() + 100);
    assert_int_equal(halt(ALL, false), HV_STOP);
    assert_int_equal(fake_alarm_rings, 0);
    start_timer(5050);
    assert_int_equal(halt(ALL, false), HV_ADVANCE);
    assert_int_equal(fake_alarm_rings, 51);
    (void)next(ALL);
    page_put(P_EOI, 0);
    start_timer(5000);
    other.ring = ring_end; /* a device ends the VM */
    assert_int_equal(halt(ALL, false), HV_STOP);
    assert_int_equal(kit.vm.stop, VM_STOP_UNEXPECTED);
    alarm_set(&other, 0);
}

static void test_host_interrupt(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_INTERRUPT};

    (void)state;
    start_timer(5000);
    fake_alarm_clock += 5000;
    kit.vp.attention = false;
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_RESUME);
    assert_int_equal(fake_backend.interrupts_ended, 1);
    assert_int_equal(fake_alarm_rings, 1);
    assert_true(kit.vp.attention);
    kit.vm.stop = VM_STOP_RESET; /* by a bell */
    assert_int_equal(vm_exit(&kit.vp, &exit), HV_STOP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, apic_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_compare),
        TEST(test_order),
        TEST(test_reinjected),
        TEST(test_not_taken),
        TEST(test_nmis),
        TEST(test_while_it_waits),
        TEST(test_real_mode),
        TEST(test_window_exit),
        TEST(test_halt_wakes),
        TEST(test_halt_for_ever),
        TEST(test_halt_among_alarms),
        TEST(test_host_interrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
