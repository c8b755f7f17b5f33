/*
 * The registers of the local APIC, its modes, and its priorities (SDM 3A "Advanced Programmable Interrupt Controller").
 *
 * All of it runs on QEMU's own APIC too. Where that one is known to differ, exact() is asked and the check says how.
 */
#include "tests/guest/guest.h"

#define BASE_RESERVED 0x2ffull /* bits 7:0, 9 */
#define SVR_FOCUS     0x200u
#define RRD           0xc0u

static bool exact(void)
{
    return on_barvisor();
}

/* For what QEMU's cannot do at all. */
static bool exact_ready(void)
{
    if (!exact())
        skip("not with QEMU's own APIC");
    return exact() && irq_ready();
}

/* ---- registers ---- */

struct reg {
    const char *text;
    uint16_t at;
    uint32_t reset, writable, ones; /* ones: read as one whatever is written */
};

static const struct reg regs[] = {
    {"TPR", APIC_TPR, 0, 0xff, 0},
    {"LDR", APIC_LDR, 0, 0xff000000u, 0},
    {"DFR", APIC_DFR, ~0u, 0xf0000000u, 0x0fffffffu},
    {"spurious vector", APIC_SVR, 0xff, 0x1ff, 0},
    {"ICR, high half", APIC_ICR_HIGH, 0, 0xff000000u, 0},
    {"LVT timer", APIC_TIMER, LVT_MASKED, 0x100ff, 0},
    {"LVT thermal sensor", APIC_THERMAL, LVT_MASKED, 0x107ff, 0},
    {"LVT performance counters", APIC_PMC, LVT_MASKED, 0x107ff, 0},
    {"LVT LINT0", APIC_LINT0, LVT_MASKED, 0x1a7ff, 0},
    {"LVT LINT1", APIC_LINT1, LVT_MASKED, 0x1a7ff, 0},
    {"LVT error", APIC_ERROR, LVT_MASKED, 0x100ff, 0},
    {"initial count", APIC_INITIAL, 0, ~0u, 0},
    {"divide", APIC_DIVIDE, 0, 0xb, 0},
};

/*
 * Every writable bit, alone and with all others; LVT entries stay masked but for the moment in which only their mask
 * is not set. QEMU's keeps whatever is written to an LVT entry or to the high half of ICR: only the writable bits
 * are looked at there.
 */
static void writable(unsigned i)
{
    const struct reg *r = &regs[i];
    uint32_t seen = exact() || r->at == APIC_TPR ? ~0u : r->writable | r->ones;
    uint32_t mask = r->at >= APIC_TIMER && r->at <= APIC_ERROR ? LVT_MASKED : 0;

    if (r->at == APIC_SVR)
        seen &= ~SVR_FOCUS; /* some have it */

    if (!irq_ready())
        return;
    if (r->at == APIC_INITIAL)
        apic_write(APIC_TIMER, LVT_MASKED);
    for (unsigned bit = 0; bit < 32 && !failed(); bit++) {
        uint32_t v = 1u << bit | mask;

        if (r->at == APIC_TIMER && (v & (LVT_PERIODIC | LVT_DEADLINE)))
            continue;
        apic_write(r->at, v);
        expect_eq(r->text, apic_read(r->at) & seen, (v & r->writable) | r->ones);
    }
    apic_write(r->at, ~0u & ~(r->at == APIC_TIMER ? LVT_PERIODIC | LVT_DEADLINE : 0));
    expect_eq("all bits", apic_read(r->at) & seen, r->writable | r->ones);
    apic_write(r->at, 0);
    expect_eq("no bits", apic_read(r->at) & seen, r->ones);
    irq_ready();
}

static void name_writable(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "writable bits of %s", regs[i].text);
}

/* Software can have the reset state again: off and on by IA32_APIC_BASE. QEMU's stays off then. */
static void reset_values(unsigned i)
{
    uint64_t base;

    (void)i;
    if (!exact_ready())
        return;
    for (unsigned k = 0; k < COUNT_OF(regs); k++)
        apic_write(regs[k].at, regs[k].at == APIC_TIMER ? 0x55u : ~0u);
    apic_self_ipi(0x77);
    base = rdmsr(MSR_APIC_BASE);
    wrmsr(MSR_APIC_BASE, base & ~APIC_BASE_ENABLE);
    expect_eq("the page while it is off", load(GVA_APIC + APIC_VERSION, 4), ones(4));
    expect_eq("CPUID while it is off", cpuid(1, 0).d >> 9 & 1, 0);
    wrmsr(MSR_APIC_BASE, base);
    expect_eq("CPUID", cpuid(1, 0).d >> 9 & 1, 1);
    for (unsigned k = 0; k < COUNT_OF(regs) && !failed(); k++)
        expect_eq(regs[k].text, apic_read(regs[k].at), regs[k].reset);
    expect_eq("ICR", apic_read(APIC_ICR), 0);
    expect_eq("current count", apic_read(APIC_CURRENT), 0);
    for (unsigned o = APIC_ISR; o <= APIC_ESR; o += 16)
        expect_eq("ISR, TMR, IRR, ESR", apic_read(o), 0);
    irq_ready();
}

static void version(unsigned i)
{
    uint32_t v;

    (void)i;
    if (!irq_ready())
        return;
    v = apic_read(APIC_VERSION);
    expect((v & 0xff) >= 0x10 && (v & 0xff) <= 0x15, "an integrated APIC");
    expect((v >> 16 & 0xff) >= 5 && (v >> 16 & 0xff) <= 6, "number of LVT entries");
    expect_eq("ID is that of CPUID", apic_id(), cpuid(1, 0).b >> 24);
}

/* The ID may be writable or not; whatever it reads is what messages go to. */
static void id(unsigned i)
{
    uint32_t before, now;

    (void)i;
    if (!irq_ready())
        return;
    before = apic_read(APIC_ID);
    apic_write(APIC_ID, 0x2a000000u);
    now = apic_read(APIC_ID);
    expect(now == before || now == 0x2a000000u, "the old one or the new one");
    apic_icr(ICR_ASSERT | 0x61, now >> 24);
    apic_icr(ICR_ASSERT | 0x62, (now >> 24) ^ 1);
    irq_window();
    expect_eq("to this ID", irq_count(0x61), 1);
    expect_eq("to another", irq_count(0x62), 0);
    apic_write(APIC_ID, before);
}

static void read_only(unsigned i)
{
    static const uint16_t at[] = {APIC_VERSION, APIC_APR, APIC_PPR, RRD, APIC_CURRENT};

    (void)i;
    if (!irq_ready())
        return;
    for (unsigned k = 0; k < COUNT_OF(at) + 24 && !failed(); k++) {
        unsigned reg = k < COUNT_OF(at) ? at[k] : APIC_ISR + 16 * (k - COUNT_OF(at));
        uint32_t before = apic_read(reg);

        if (reg == RRD && !exact()) /* QEMU's calls it reserved and notes an error that stays */
            continue;
        apic_write(reg, ~0u);
        expect_eq("after ones", apic_read(reg), before);
        apic_write(reg, 0);
        expect_eq("after zeroes", apic_read(reg), before);
    }
}

/* QEMU's keeps the mask as it is while the APIC is off, and accepts interrupts. */
static void software_disable(unsigned i)
{
    static const uint16_t lvt[] = {APIC_TIMER, APIC_THERMAL, APIC_PMC,
                                   APIC_LINT0, APIC_LINT1,   APIC_ERROR};

    (void)i;
    if (!irq_ready())
        return;
    apic_write(APIC_ERROR, 0x45);
    apic_self_ipi(0x46);
    apic_write(APIC_SVR, IRQ_SPURIOUS);
    for (unsigned k = 0; k < COUNT_OF(lvt) && !failed() && exact(); k++) {
        expect_eq("masked", apic_read(lvt[k]) & LVT_MASKED, LVT_MASKED);
        apic_write(lvt[k], 0x45);
        expect_eq("stays masked", apic_read(lvt[k]), LVT_MASKED | 0x45);
    }
    expect(apic_bit(APIC_IRR, 0x46), "what was pending is kept");
    if (exact()) {
        apic_self_ipi(0x47);
        expect(!apic_bit(APIC_IRR, 0x47), "nothing new is taken");
    }
    apic_write(APIC_SVR, SVR_ENABLE | IRQ_SPURIOUS);
    if (exact())
        expect_eq("the mask is for software to clear", apic_read(APIC_ERROR), LVT_MASKED | 0x45);
    irq_window();
    expect_eq("it comes", irq_count(0x46), 1);
    expect_eq("the other does not", irq_count(0x47), exact() ? 0 : irq_count(0x47));
}

/* Every bit of TPR against a vector that is in service: the higher class wins. */
static void priorities(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    irq_eoi_deferred = true;
    for (uint32_t tpr = 0; tpr < 0x100; tpr += 0x0b) {
        apic_write(APIC_TPR, tpr);
        expect_eq("PPR is TPR", apic_read(APIC_PPR), tpr);
    }
    apic_write(APIC_TPR, 0);
    apic_self_ipi(0x77);
    irq_window();
    expect(apic_bit(APIC_ISR, 0x77) && !apic_bit(APIC_IRR, 0x77), "in service");
    for (uint32_t tpr = 0; tpr < 0x100 && !failed(); tpr += 0x0b) {
        apic_write(APIC_TPR, tpr);
        expect_eq("PPR", apic_read(APIC_PPR), tpr >> 4 >= 7 ? tpr : 0x70);
        expect_eq("CR8", read_cr8(), tpr >> 4);
    }
    apic_write(APIC_TPR, 0);
    apic_eoi();
    expect_eq("PPR after EOI", apic_read(APIC_PPR), 0);
    expect_eq("interrupts", irq_total, 1);
}

static void cr8(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    for (uint64_t v = 0; v < 16; v++) {
        expect_eq("fault", (uint64_t)(int64_t)try_write_cr8(v), ~0ull);
        expect_eq("TPR", apic_read(APIC_TPR), v << 4);
        expect_eq("CR8", read_cr8(), v);
        apic_write(APIC_TPR, (uint32_t)(v << 4) | 0xf);
        expect_eq("CR8 shows the class", read_cr8(), v);
    }
    /* TCG takes any value, the hypervisor's own MOV to CR8 faults on hardware and where it intercepts */
    if (!quirk_canonical && exact()) {
        expect_eq("bit 4", (uint64_t)(int64_t)try_write_cr8(16), VEC_GP);
        expect_eq("bit 63", (uint64_t)(int64_t)try_write_cr8(1ull << 63), VEC_GP);
    }
    (void)try_write_cr8(0);
}

/* A vector of each class, held back by TPR of its class and let go by the one below. */
static void tpr_holds(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    for (unsigned class = 2; class < 16 && !failed(); class ++) {
        unsigned vector = class << 4 | 0xe;

        if (i == 0)
            apic_write(APIC_TPR, class << 4);
        else
            (void)try_write_cr8(class);
        apic_self_ipi(vector);
        irq_window();
        expect_eq("held back", irq_count(vector), 0);
        expect(apic_bit(APIC_IRR, vector), "pending");
        if (i == 0)
            apic_write(APIC_TPR, (class << 4) - 1);
        else
            (void)try_write_cr8(class - 1);
        irq_window();
        expect_eq("let go", irq_count(vector), 1);
    }
    apic_write(APIC_TPR, 0);
}

static void name_tpr_holds(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%s holds back its class and those below", i ? "CR8" : "TPR");
}

/* ---- IA32_APIC_BASE ---- */

/* QEMU's keeps the page where it was and cannot be enabled again; here it moves, over nothing and back. */
static void relocation(unsigned i)
{
    uint64_t base, away = 0xfec10000ull;

    (void)i;
    if (!exact_ready())
        return;
    base = rdmsr(MSR_APIC_BASE);
    expect_eq("base", base, APIC_HOME | APIC_BASE_ENABLE | APIC_BASE_BSP);
    wrmsr(MSR_APIC_BASE, away | APIC_BASE_ENABLE | APIC_BASE_BSP);
    expect_eq("the old place", load(GVA_APIC + APIC_VERSION, 4), ones(4));
    map(GVA_TMP, away, PAGE, PAGE, pat_index_of(PAT_UC));
    expect_eq("the new place", load(GVA_TMP + APIC_VERSION, 4) & 0xf0, 0x10);
    store(GVA_TMP + APIC_ICR, 4, ICR_SELF | ICR_ASSERT | 0x50);
    expect_eq("IRR", load(GVA_TMP + APIC_IRR + 0x20, 4), 1u << 16);
    wrmsr(MSR_APIC_BASE, base);
    expect_eq("nothing stays behind", load(GVA_TMP + APIC_VERSION, 4), ones(4));
    unmap(GVA_TMP, PAGE, PAGE);
    irq_window();
    expect_eq("it comes at the old place", irq_count(0x50), 1);
}

static void base_faults(unsigned i)
{
    uint64_t base;

    (void)i;
    if (!exact_ready())
        return;
    base = rdmsr(MSR_APIC_BASE);
    for (unsigned bit = 0; bit < 64 && !failed(); bit++) {
        uint64_t v = base ^ 1ull << bit;
        bool reserved = (1ull << bit & BASE_RESERVED) || bit >= 52;

        if (reserved)
            expect_eq("reserved bit", (uint64_t)(int64_t)try_wrmsr(MSR_APIC_BASE, v), VEC_GP);
    }
    expect_eq(
        "x2APIC without the APIC",
        (uint64_t)(int64_t)try_wrmsr(MSR_APIC_BASE, (base & ~APIC_BASE_ENABLE) | APIC_BASE_X2),
        VEC_GP);
    if (!apic_have_x2())
        expect_eq("no x2APIC", (uint64_t)(int64_t)try_wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2),
                  VEC_GP);
    expect_eq("unchanged", rdmsr(MSR_APIC_BASE), base);
}

static const struct check list[] = {
    {"apic", NULL, name_writable, COUNT_OF(regs), false, writable},
    {"apic", "reset values", NULL, 0, false, reset_values},
    {"apic", "version, and the ID that CPUID tells", NULL, 0, false, version},
    {"apic", "the ID register is what messages go to", NULL, 0, false, id},
    {"apic", "read-only registers stay", NULL, 0, false, read_only},
    {"apic", "disabled by software and enabled again", NULL, 0, false, software_disable},
    {"apic", "PPR is the higher of TPR and what is in service", NULL, 0, false, priorities},
    {"apic", "CR8 is the class of TPR", NULL, 0, false, cr8},
    {"apic", NULL, name_tpr_holds, 2, false, tpr_holds},
    {"apic", "the page moves", NULL, 0, false, relocation},
    {"apic", "IA32_APIC_BASE refuses reserved bits", NULL, 0, false, base_faults},
};
const struct check_list checks_apic = {list, COUNT_OF(list)};
