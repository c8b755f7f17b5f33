/*
 * The APIC's timer, against the time-stamp counter. How fast it runs is measured first. Nothing may be early,
 * ever. Other
 * work on the machine may delay everything, so lateness is judged where time is counted in instructions only, and
 * there with several tries.
 */
#include "tests/guest/guest.h"

#define VECTOR     0x90u
#define DIVIDE_1   0xbu
#define TRIES      8u
#define MEASURE    4000000ull /* ticks of the TSC */
#define COUNT      100000u    /* what most checks let it count */
#define PERIODS    20u
#define GIVE_UP    4000000000ull
#define SWEEPS     64u
#define EXITS_MOST 40u /* of a HLT with one timer, and of asking for their number */

static uint64_t ticks_per_1024; /* ticks of the TSC in 1024 counts, divide 1 */

/* Counts of a masked timer over `ticks` and a little more, both ends of it. */
static uint64_t rate(uint32_t divide, uint64_t ticks)
{
    uint64_t start, end;
    uint32_t count;

    apic_write(APIC_TIMER, LVT_MASKED | VECTOR);
    apic_write(APIC_DIVIDE, divide);
    apic_write(APIC_INITIAL, ~0u);
    start = rdtsc();
    count = apic_read(APIC_CURRENT);
    while ((end = rdtsc()) - start < ticks)
        ;
    count -= apic_read(APIC_CURRENT);
    apic_write(APIC_INITIAL, 0);
    return (end - start) * 1024 / (count == 0 ? 1 : count);
}

static bool near(uint64_t got, uint64_t expected, uint64_t parts)
{
    uint64_t slack = expected / parts;

    return got + slack >= expected && got <= expected + slack;
}

static bool begin(void)
{
    if (!irq_ready())
        return false;
    for (unsigned n = 0; n < 4 * TRIES && ticks_per_1024 == 0; n++) {
        uint64_t a = rate(DIVIDE_1, MEASURE), b = rate(DIVIDE_1, MEASURE);

        if (near(a, b, 1000))
            ticks_per_1024 = a;
    }
    apic_write(APIC_DIVIDE, DIVIDE_1);
    return expect(ticks_per_1024 != 0, "the timer has a rate");
}

static uint64_t ticks_of(uint64_t counts)
{
    return counts * ticks_per_1024 / 1024;
}

static void divides(unsigned i)
{
    static const uint8_t code[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};
    bool good = false;
    uint64_t got = 0, expected;

    if (!begin())
        return;
    expected = ticks_per_1024 << i;
    for (unsigned n = 0; n < TRIES && !good; n++) {
        got = rate(code[i], 1000000);
        good = near(got, expected, 40);
    }
    if (!good)
        expect_eq("ticks of 1024 counts", got, expected);
}

static void name_divides(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "the timer divides by %u", 1u << i);
}

/* Until the vector has come, or too long. */
static void until(uint32_t count)
{
    uint64_t start = rdtsc();

    while (irq_count(VECTOR) < count && rdtsc() - start < GIVE_UP)
        irq_window();
}

/* 0: with interrupts on, 1: in HLT. */
static void one_shot(unsigned i)
{
    uint64_t start, took = 0;
    bool good = false;

    if (!begin())
        return;
    apic_write(APIC_TIMER, VECTOR);
    for (unsigned n = 1; n <= TRIES && !good && !failed(); n++) {
        start = rdtsc();
        apic_write(APIC_INITIAL, COUNT);
        if (i == 0)
            until(n);
        else
            irq_halt();
        expect_eq("once", irq_count(VECTOR), n);
        took = irq_log[n - 1].tsc - start;
        expect(took + took / 200 >= ticks_of(COUNT), "too early");
        good = took <= ticks_of(COUNT) + ticks_of(COUNT) / 4;
        expect_eq("stopped", apic_read(APIC_CURRENT), 0);
        expect_eq("initial count stays", apic_read(APIC_INITIAL), COUNT);
    }
    if (!good && time_is_steady())
        expect_eq("ticks", took, ticks_of(COUNT));
    start = irq_count(VECTOR);
    expect(!irq_wait(VECTOR, 3 * ticks_of(COUNT)), "no second time");
    expect_eq("nothing else", irq_total, start);
}

static void name_one_shot(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "one-shot timer %s", i == 0 ? "with interrupts on" : "in HLT");
}

/* No drift: where the last one is tells of all. */
static bool periods(uint64_t *span, uint64_t *worst, bool halt)
{
    uint64_t period = ticks_of(COUNT);

    irq_forget();
    apic_write(APIC_TIMER, LVT_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL, COUNT);
    if (halt)
        while (irq_count(VECTOR) <= PERIODS && irq_total < IRQ_LOG)
            irq_halt();
    else
        until(PERIODS + 1);
    apic_write(APIC_TIMER, LVT_MASKED | LVT_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL, 0);
    if (!expect(irq_count(VECTOR) > PERIODS, "it comes again and again"))
        return false;
    *span = irq_log[PERIODS].tsc - irq_log[0].tsc;
    *worst = 0;
    for (unsigned k = 1; k <= PERIODS; k++) {
        uint64_t at = irq_log[k].tsc - irq_log[0].tsc, due = k * period;
        uint64_t off = at > due ? at - due : due - at;

        if (off > *worst)
            *worst = off;
    }
    return *worst < period / 12;
}

static void periodic(unsigned i)
{
    uint64_t span = 0, worst = 0;
    bool good = false;

    if (!begin())
        return;
    for (unsigned n = 0; n < TRIES && !good && !failed(); n++)
        good = periods(&span, &worst, i == 1);
    if (!good && time_is_steady())
        fail("20 periods of %lx ticks took %lx, one was %lx away", ticks_of(COUNT), span, worst);
    irq_window();
    irq_forget();
    expect(!irq_wait(VECTOR, 3 * ticks_of(COUNT)), "stopped by an initial count of 0");
}

static void name_periodic(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "20 periods without drift %s", i == 0 ? "" : "in HLT");
}

/* With IF=0 nothing is lost but what coalesces, and the count goes on. */
static void periodic_pending(unsigned i)
{
    uint64_t start;

    (void)i;
    if (!begin())
        return;
    apic_write(APIC_TIMER, LVT_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL, COUNT);
    start = rdtsc();
    while (rdtsc() - start < 5 * ticks_of(COUNT) ||
           (!apic_bit(APIC_IRR, VECTOR) && rdtsc() - start < GIVE_UP))
        ;
    expect(apic_bit(APIC_IRR, VECTOR), "pending");
    expect(apic_read(APIC_CURRENT) <= COUNT, "within a period");
    apic_write(APIC_TIMER, LVT_MASKED | LVT_PERIODIC | VECTOR);
    irq_window();
    expect_eq("one of them", irq_count(VECTOR), 1);
}

/* Masked: it counts, stops or starts anew, and nothing comes; not even when the mask is taken away later. */
static void masked(unsigned i)
{
    uint32_t mode = i == 0 ? 0 : LVT_PERIODIC, last, now;
    uint64_t start;
    bool again = false;

    if (!begin())
        return;
    apic_write(APIC_TIMER, LVT_MASKED | mode | VECTOR);
    apic_write(APIC_INITIAL, COUNT);
    last = apic_read(APIC_CURRENT);
    expect(last <= COUNT && (last > 0 || !time_is_steady()), "starts at the initial count");
    start = rdtsc();
    while (rdtsc() - start < 3 * ticks_of(COUNT)) {
        now = apic_read(APIC_CURRENT);
        again = again || now > last;
        last = now;
    }
    expect_eq("starts anew", again, i == 1);
    if (i == 0)
        expect_eq("stops at 0", apic_read(APIC_CURRENT), 0);
    irq_window();
    if (i == 0)
        apic_write(APIC_TIMER, VECTOR);
    irq_window();
    expect_eq("interrupts", irq_total, 0);
    apic_write(APIC_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL, 0);
    expect_eq("stopped", apic_read(APIC_CURRENT), 0);
}

static void name_masked(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "a masked timer counts, %s", i == 0 ? "one-shot" : "periodic");
}

/* What came before a check could stop it: the machine was busy elsewhere. */
static bool was_too_late(void)
{
    bool late = apic_bit(APIC_IRR, VECTOR);

    irq_window();
    irq_forget();
    return late;
}

/* A new initial count starts anew; 0 stops. */
static void rewritten(unsigned i)
{
    uint64_t start;

    (void)i;
    if (!begin())
        return;
    apic_write(APIC_TIMER, VECTOR);
    apic_write(APIC_INITIAL, COUNT);
    apic_write(APIC_INITIAL, 0);
    (void)was_too_late();
    expect_eq("stopped", apic_read(APIC_CURRENT), 0);
    expect(!irq_wait(VECTOR + 1, 2 * ticks_of(COUNT)), "nothing else");
    expect_eq("stopped", irq_count(VECTOR), 0);
    do {
        apic_write(APIC_TIMER, VECTOR);
        apic_write(APIC_INITIAL, COUNT);
        for (start = rdtsc(); rdtsc() - start < ticks_of(COUNT) / 2;)
            ;
        start = rdtsc();
        apic_write(APIC_INITIAL, COUNT);
    } while (was_too_late());
    until(1);
    expect_eq("one", irq_count(VECTOR), 1);
    expect((irq_log[0].tsc - start) * 201 / 200 >= ticks_of(COUNT), "counted from the beginning");
}

/* HLT sleeps: one wake, and few exits, however long it takes. */
static void halt(unsigned i)
{
    uint64_t before = 0, after = 0, start;

    (void)i;
    if (!begin())
        return;
    apic_write(APIC_TIMER, VECTOR);
    if (lab.present && expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK))
        before = lab_result(0);
    start = rdtsc();
    apic_write(APIC_INITIAL, 10 * COUNT);
    irq_halt();
    start = rdtsc() - start;
    if (lab.present && expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK))
        after = lab_result(0);
    expect_eq("interrupts", irq_total, 1);
    expect(start + start / 200 >= 10 * ticks_of(COUNT), "woke too early");
    expect(after - before <= EXITS_MOST, "exits while it slept");
}

/* At whatever instruction the time comes: never in a shadow. */
static void sweep(unsigned i)
{
    (void)i;
    if (!begin())
        return;
    apic_write(APIC_TIMER, VECTOR);
    for (unsigned n = 0; n < SWEEPS && !failed(); n++) {
        uint64_t start = rdtsc();

        irq_forget();
        apic_write(APIC_INITIAL, 2000 + n);
        while (irq_count(VECTOR) == 0 && rdtsc() - start < GIVE_UP)
            irq_sweep(50);
        expect_eq("count", irq_count(VECTOR), 1);
        for (unsigned k = 0; k < COUNT_OF(irq_sweep_at); k++)
            if (irq_log[0].rip == irq_sweep_at[k] && !quirk_shadow)
                fail("%u: taken in the shadow of %s", n, k == 0 ? "MOV SS" : "STI");
    }
}

/* ---- TSC deadline ---- */

static bool begin_deadline(void)
{
    if (!(cpuid(1, 0).c >> 24 & 1)) {
        skip("no TSC deadline");
        return false;
    }
    if (!begin())
        return false;
    apic_write(APIC_TIMER, LVT_DEADLINE | VECTOR);
    expect_eq("disarmed", rdmsr(MSR_TSC_DEADLINE), 0);
    return true;
}

static void deadline(unsigned i)
{
    uint64_t due = 0, back, late = 0;
    bool good = false;

    if (!begin_deadline())
        return;
    for (unsigned n = 1; n <= TRIES && !good && !failed(); n++) {
        due = rdtsc() + 200000;
        wrmsr(MSR_TSC_DEADLINE, due);
        back = rdmsr(MSR_TSC_DEADLINE);
        expect(back == due || (back == 0 && rdtsc() >= due), "reads back until it is past");
        if (i == 0)
            until(n);
        else
            irq_halt();
        expect_eq("once", irq_count(VECTOR), n);
        expect(irq_log[n - 1].tsc >= due, "too early");
        late = irq_log[n - 1].tsc - due;
        good = late < 50000;
        expect_eq("disarmed by it", rdmsr(MSR_TSC_DEADLINE), 0);
    }
    if (!good && time_is_steady())
        expect_eq("late", late, 0);
    irq_window();
    expect_eq("current count", apic_read(APIC_CURRENT), 0);
}

static void name_deadline(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "TSC deadline %s", i == 0 ? "with interrupts on" : "in HLT");
}

static void deadline_edges(unsigned i)
{
    (void)i;
    if (!begin_deadline())
        return;
    wrmsr(MSR_TSC_DEADLINE, 1);
    irq_window();
    expect_eq("one in the past comes at once", irq_count(VECTOR), 1);
    expect_eq("and only once", rdmsr(MSR_TSC_DEADLINE), 0);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 300000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    (void)was_too_late();
    for (uint64_t start = rdtsc(); rdtsc() - start < 400000;)
        irq_window();
    expect_eq("0 disarms", irq_count(VECTOR), 0);
    apic_write(APIC_INITIAL, 1000);
    expect_eq("no initial count in this mode", apic_read(APIC_CURRENT), 0);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 300000);
    apic_write(APIC_TIMER, VECTOR);
    (void)was_too_late();
    expect_eq("another mode disarms", rdmsr(MSR_TSC_DEADLINE), 0);
    wrmsr(MSR_TSC_DEADLINE, 1);
    expect_eq("and ignores writes", rdmsr(MSR_TSC_DEADLINE), 0);
    for (uint64_t start = rdtsc(); rdtsc() - start < 400000;)
        irq_window();
    expect_eq("nothing more", irq_count(VECTOR), 0);
}

static const struct check list[] = {
    {"apic", NULL, name_divides, 8, false, divides},
    {"apic", NULL, name_one_shot, 2, false, one_shot},
    {"apic", NULL, name_periodic, 2, false, periodic},
    {"apic", "a periodic timer while IF=0", NULL, 0, false, periodic_pending},
    {"apic", NULL, name_masked, 2, false, masked},
    {"apic", "the initial count written again, and 0", NULL, 0, false, rewritten},
    {"apic", "HLT sleeps until the timer", NULL, 0, false, halt},
    {"apic", "no timer interrupt in the shadow of MOV SS or STI", NULL, 0, false, sweep},
    {"apic", NULL, name_deadline, 2, false, deadline},
    {"apic", "TSC deadline: past, 0, other modes", NULL, 0, false, deadline_edges},
};
const struct check_list checks_timer = {list, COUNT_OF(list)};
