/*
 * x2APIC mode: which MSRs there are, what they refuse, and the ways between the modes (SDM 3A "Extended XAPIC
 * (x2APIC)").
 */
#include "tests/guest/guest.h"

#define REGS        0x40u
#define EVERYBODY   0xffffffffu
#define LVT_FIRST   0x32u
#define LVT_LAST    0x37u
#define X2_SELF_IPI 0x3fu
#define NO_FAULT    UINT64_C(0xffffffffffffffff)

static bool begin(void)
{
    if (!apic_have_x2()) {
        skip("no x2APIC");
        return false;
    }
    return irq_ready();
}

/* For each register: r, w, b both, - neither. */
static const char kinds[REGS + 1] = "--rr----b-rw-r-b"
                                    "rrrrrrrrrrrrrrrr"
                                    "rrrrrrrrb-------"
                                    "b-bbbbbbbr----bw";

static int try_read(unsigned reg)
{
    uint64_t v;

    return try_rdmsr(MSR_X2APIC + reg, &v);
}

/* A value that changes nothing that matters. */
static uint64_t harmless(unsigned reg)
{
    switch (reg) {
    case APIC_SVR / 16:
        return SVR_ENABLE | IRQ_SPURIOUS;
    case APIC_ICR / 16:
        return (uint64_t)5 << 32 | ICR_ASSERT | 0x99;
    case X2_SELF_IPI:
        return 0x88;
    default:
        return reg >= LVT_FIRST && reg <= LVT_LAST ? LVT_MASKED : 0;
    }
}

static void matrix(unsigned i)
{
    (void)i;
    if (!begin())
        return;
    for (unsigned reg = 0; reg < REGS && !failed(); reg++) {
        expect_eq("read in xAPIC mode", (uint64_t)(int64_t)try_read(reg), VEC_GP);
        expect_eq("write in xAPIC mode",
                  (uint64_t)(int64_t)try_wrmsr(MSR_X2APIC + reg, harmless(reg)), VEC_GP);
    }
    apic_x2(true);
    for (unsigned reg = 0; reg < REGS && !failed(); reg++) {
        bool reads = kinds[reg] == 'r' || kinds[reg] == 'b';
        bool writes = kinds[reg] == 'w' || kinds[reg] == 'b';
        int r = try_read(reg), w = try_wrmsr(MSR_X2APIC + reg, harmless(reg));

        if ((r < 0) != reads || (w < 0) != writes || (r >= 0 && r != VEC_GP) ||
            (w >= 0 && w != VEC_GP))
            fail("register %lx: read %s, write %s", (uint64_t)reg, r < 0 ? "answers" : "faults",
                 w < 0 ? "is taken" : "faults");
    }
    for (unsigned reg = REGS; reg < 0x100 && !failed(); reg++)
        expect_eq("behind the last", (uint64_t)(int64_t)try_read(reg), VEC_GP);
    expect_eq("the page", load(GVA_APIC + APIC_VERSION, 4), ones(4));
    irq_window();
    expect_eq("the self IPI", irq_count(0x88), 1);
    expect_eq("interrupts", irq_total, 1);
}

/* Bits that are reserved in a write, beside all of the upper half but ICR's. */
static void reserved(unsigned i)
{
    static const struct {
        uint16_t reg;
        uint32_t bits;
    } rows[] = {
        {APIC_TPR, 0xffffff00u},     {APIC_EOI, ~0u},
        {APIC_SVR, 0xffffe000u},     {APIC_ESR, ~0u},
        {APIC_ICR, 0xfff32000u},     {APIC_TIMER, 0xfff8ef00u},
        {APIC_THERMAL, 0xfffee800u}, {APIC_LINT0, 0xfffe0800u},
        {APIC_ERROR, 0xfffeef00u},   {APIC_INITIAL, 0},
        {APIC_DIVIDE, ~0xbu},        {APIC_SELF, 0xffffff00u},
    };

    (void)i;
    if (!begin())
        return;
    apic_x2(true);
    for (unsigned k = 0; k < COUNT_OF(rows); k++) {
        uint32_t msr = MSR_X2APIC + rows[k].reg / 16;
        uint64_t plain = harmless(rows[k].reg / 16);

        for (unsigned bit = 0; bit < 64 && !failed(); bit++) {
            bool upper = bit >= 32 && rows[k].reg != APIC_ICR;

            if (!upper && (bit >= 32 || !(rows[k].bits >> bit & 1)))
                continue;
            if (try_wrmsr(msr, plain | 1ull << bit) != VEC_GP)
                fail("register %lx, bit %u: no fault", (uint64_t)rows[k].reg, bit);
        }
    }
    irq_window();
    expect_eq("interrupts", irq_total, 0);
}

static void base_is(const char *what, uint64_t v, bool allowed)
{
    uint64_t before = rdmsr(MSR_APIC_BASE);
    int vector = try_wrmsr(MSR_APIC_BASE, v);

    expect_eq(what, (uint64_t)(int64_t)vector, allowed ? NO_FAULT : VEC_GP);
    expect_eq(what, rdmsr(MSR_APIC_BASE), allowed ? v : before);
}

static void transitions(unsigned i)
{
    const uint64_t off = APIC_HOME | APIC_BASE_BSP, on = off | APIC_BASE_ENABLE,
                   x2 = on | APIC_BASE_X2, invalid = off | APIC_BASE_X2;

    (void)i;
    if (!begin())
        return;
    base_is("xAPIC to invalid", invalid, false);
    base_is("xAPIC to xAPIC", on, true);
    base_is("xAPIC to x2APIC", x2, true);
    base_is("x2APIC to x2APIC", x2, true);
    base_is("x2APIC to xAPIC", on, false);
    base_is("x2APIC to invalid", invalid, false);
    base_is("x2APIC to off", off, true);
    base_is("off to x2APIC", x2, false);
    base_is("off to invalid", invalid, false);
    base_is("off to off", off, true);
    base_is("off to xAPIC", on, true);
    base_is("xAPIC to off", off, true);
    base_is("off to xAPIC again", on, true);
    expect_eq("reset by off", load(GVA_APIC + APIC_SVR, 4), IRQ_SPURIOUS);
    irq_ready();
}

/* The way up keeps what is pending and in service, and TPR. */
static void keeps(unsigned i)
{
    (void)i;
    if (!begin())
        return;
    irq_eoi_deferred = true;
    apic_self_ipi(0x91);
    irq_window();
    apic_self_ipi(0x51);
    apic_write(APIC_TPR, 0x23);
    apic_x2(true);
    expect(apic_bit(APIC_ISR, 0x91) && apic_bit(APIC_IRR, 0x51), "ISR and IRR");
    expect_eq("TPR", apic_read(APIC_TPR), 0x23);
    expect_eq("PPR", apic_read(APIC_PPR), 0x90);
    irq_window();
    expect_eq("held back", irq_count(0x51), 0);
    apic_eoi();
    irq_window();
    expect_eq("let go", irq_count(0x51), 1);
    apic_eoi();
    expect_eq("PPR", apic_read(APIC_PPR), 0x23);
    expect_eq("CR8", read_cr8(), 2);
}

static void messages(unsigned i)
{
    uint32_t id, logical;
    unsigned v = 0x60;

    (void)i;
    if (!begin())
        return;
    apic_x2(true);
    id = apic_id();
    logical = apic_read(APIC_LDR);
    expect_eq("LDR follows from the ID", logical, (id >> 4) << 16 | 1u << (id & 15));
    expect_eq("ID", id, cpuid(1, 0).b >> 24);
    apic_icr(ICR_ASSERT | v++, id);
    apic_icr(ICR_ASSERT | v++, EVERYBODY);
    apic_icr(ICR_ASSERT | ICR_LOGICAL | v++, logical);
    apic_icr(ICR_ASSERT | ICR_LOGICAL | v++, logical | 0xffff);
    apic_icr(ICR_ASSERT | ICR_LOGICAL | v++, EVERYBODY);
    apic_icr(ICR_SELF | v++, 77);
    apic_icr(ICR_ALL | v++, 77);
    wrmsr(MSR_X2APIC + X2_SELF_IPI, v++);
    apic_icr(ICR_ASSERT | 0xf0, id ^ 1);
    apic_icr(ICR_ASSERT | 0xf1, id ^ 0x100);
    apic_icr(ICR_ASSERT | ICR_LOGICAL | 0xf2, logical ^ 0x10000);
    apic_icr(ICR_ASSERT | ICR_LOGICAL | 0xf3, (logical & ~0xffffu) | (~logical & 0xffff));
    apic_icr(ICR_OTHERS | 0xf4, id);
    expect_eq("ICR is one register", rdmsr(MSR_X2APIC + APIC_ICR / 16),
              (uint64_t)id << 32 | ICR_OTHERS | 0xf4);
    irq_window();
    for (unsigned n = 0x60; n < v; n++)
        expect_eq("came", irq_count(n), 1);
    expect_eq("interrupts", irq_total, v - 0x60);
    for (unsigned n = 0; n < irq_total; n++)
        expect_eq("order", irq_log[n].vector, v - 1 - n);
}

/* The timer, ESR and NMI by MSRs. */
static void others(unsigned i)
{
    (void)i;
    if (!begin())
        return;
    apic_x2(true);
    apic_write(APIC_DIVIDE, 0xb);
    apic_write(APIC_TIMER, 0x77);
    apic_write(APIC_INITIAL, 5000);
    irq_halt();
    expect_eq("timer", irq_count(0x77), 1);
    expect_eq("current count", apic_read(APIC_CURRENT), 0);
    apic_write(APIC_ERROR, 0x78);
    wrmsr(MSR_X2APIC + X2_SELF_IPI, 3);
    apic_write(APIC_ESR, 0);
    expect(apic_read(APIC_ESR) != 0, "ESR");
    irq_window();
    expect_eq("error", irq_count(0x78), 1);
    for (unsigned v = 16; v < 256; v += 7)
        if (v >= 32)
            wrmsr(MSR_X2APIC + X2_SELF_IPI, v);
    irq_forget();
    irq_window();
    expect_eq("self IPIs", irq_total, 32);
    for (unsigned k = 1; k < irq_total; k++)
        expect_eq("order", irq_log[k].vector, irq_log[k - 1].vector - 7);
}

static const struct check list[] = {
    {"apic", "x2APIC: every MSR in both modes", NULL, 0, false, matrix},
    {"apic", "x2APIC: reserved bits", NULL, 0, false, reserved},
    {"apic", "the ways between off, xAPIC and x2APIC", NULL, 0, false, transitions},
    {"apic", "x2APIC: what the change of mode keeps", NULL, 0, false, keeps},
    {"apic", "x2APIC: destinations and the self IPI", NULL, 0, false, messages},
    {"apic", "x2APIC: timer, errors, order", NULL, 0, false, others},
};
const struct check_list checks_x2 = {list, COUNT_OF(list)};
