/*
 * What an APIC does with messages: destinations, delivery modes, order, nesting, NMI, errors; and the boundary
 * at which it delivers.
 */
#include "tests/guest/guest.h"

#define FIRST       16u
#define MODE_LOWEST 0x100u
#define MODE_INIT   0x500u
#define MODE_SIPI   0x600u
#define LEVEL       0x8000u
#define DFR_CLUSTER 0x0fffffffu
#define ESR_ILLEGAL 0x60u /* the vector that is sent, the one that is received */
#define ESR_ADDRESS 0x80u
#define WHILE       20000000ull

static bool exact(void)
{
    return on_barvisor();
}

/* 0: ascending, 1: descending, each delivered before the next is sent. */
static void every_vector(unsigned i)
{
    if (!irq_ready())
        return;
    irq_low_vectors(true);
    for (unsigned n = FIRST; n < 256 && !failed(); n++) {
        unsigned v = i == 0 ? n : 255 + FIRST - n;

        apic_self_ipi(v);
        expect(apic_bit(APIC_IRR, v), "pending");
        irq_window();
        expect(!apic_bit(APIC_IRR, v) && !apic_bit(APIC_ISR, v), "done");
        expect_eq("count", irq_count(v), 1);
        expect_eq("total", irq_total, n - FIRST + 1);
    }
    irq_low_vectors(false);
}

static void name_every_vector(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "IPI to oneself, vectors %s", i == 0 ? "16 to 255" : "255 to 16");
}

/* All at once: the highest first, whatever the order in which they were sent. */
static void all_at_once(unsigned i)
{
    if (!irq_ready())
        return;
    irq_low_vectors(true);
    for (unsigned n = FIRST; n < 256; n++)
        apic_self_ipi(i == 0 ? n : 255 + FIRST - n);
    for (unsigned o = 0; o < 8; o++)
        expect_eq("IRR", apic_read(APIC_IRR + 16 * o), o == 0 ? 0xffff0000u : ~0u);
    expect_eq("before STI", irq_total, 0);
    irq_window();
    expect_eq("total", irq_total, 256 - FIRST);
    for (unsigned n = 0; n < 256 - FIRST && !failed(); n++)
        expect_eq("order", irq_log[n].vector, 255 - n);
    irq_low_vectors(false);
}

static void name_all_at_once(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "240 vectors at once, sent %s",
                i == 0 ? "ascending" : "descending");
}

/* ---- nesting ---- */

static void send_three(struct trap_frame *frame, void *arg)
{
    (void)frame;
    (void)arg;
    expect(apic_bit(APIC_ISR, 0x60), "in service");
    expect_eq("PPR", apic_read(APIC_PPR), 0x60);
    apic_self_ipi(0x50);
    apic_self_ipi(0x6f);
    apic_self_ipi(0x70);
    irq_window();
    expect_eq("the higher class came in between", irq_count(0x70), 1);
    expect_eq("its own class did not", irq_count(0x6f), 0);
    expect_eq("the lower class did not", irq_count(0x50), 0);
}

static void nesting(unsigned i)
{
    static const uint8_t order[] = {0x60, 0x70, 0x6f, 0x50};

    (void)i;
    if (!irq_ready())
        return;
    irq_on(0x60, send_three, NULL);
    apic_self_ipi(0x60);
    irq_window();
    expect_eq("total", irq_total, COUNT_OF(order));
    for (unsigned n = 0; n < COUNT_OF(order); n++)
        expect_eq("order", irq_log[n].vector, order[n]);
}

/* Each handler lets the next class in: as deep as there are classes. */
static void deeper(struct trap_frame *frame, void *arg)
{
    unsigned class = (unsigned)frame->vector >> 4;

    (void)arg;
    expect_eq("PPR", apic_read(APIC_PPR), class << 4);
    if (class < 15) {
        irq_on((unsigned)frame->vector + 16, deeper, NULL);
        apic_self_ipi((unsigned)frame->vector + 16);
        irq_window();
    } else {
        for (unsigned c = 2; c < 16; c++)
            expect(apic_bit(APIC_ISR, c << 4 | 3), "all in service");
    }
    expect_eq("PPR behind the inner one", apic_read(APIC_PPR), class << 4);
}

static void deep(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    irq_on(0x23, deeper, NULL);
    apic_self_ipi(0x23);
    irq_window();
    expect_eq("total", irq_total, 14);
    expect_eq("PPR", apic_read(APIC_PPR), 0);
}

/* An EOI is for the highest that is in service. */
static void eoi_order(unsigned i)
{
    static const uint8_t up[] = {0x31, 0x48, 0x9a, 0xe0};

    (void)i;
    if (!irq_ready())
        return;
    irq_eoi_deferred = true;
    apic_eoi(); /* for nobody */
    for (unsigned n = 0; n < COUNT_OF(up); n++) {
        apic_self_ipi(up[n]);
        irq_window();
        expect_eq("delivered", irq_count(up[n]), 1);
    }
    for (unsigned n = COUNT_OF(up); n-- > 0 && !failed();) {
        expect_eq("PPR", apic_read(APIC_PPR), up[n] & 0xf0);
        for (unsigned k = 0; k < COUNT_OF(up); k++)
            expect_eq("ISR", apic_bit(APIC_ISR, up[k]), k <= n);
        apic_eoi();
    }
    expect_eq("PPR", apic_read(APIC_PPR), 0);
}

static void again_twice(struct trap_frame *frame, void *arg)
{
    (void)arg;
    if (irq_count((unsigned)frame->vector) == 1) {
        apic_self_ipi((unsigned)frame->vector);
        apic_self_ipi((unsigned)frame->vector);
        expect(apic_bit(APIC_ISR, 0x51) && apic_bit(APIC_IRR, 0x51), "in service and pending");
    }
}

static void coalesce(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    for (unsigned n = 0; n < 5; n++)
        apic_self_ipi(0x50);
    irq_window();
    expect_eq("five become one", irq_count(0x50), 1);
    irq_on(0x51, again_twice, NULL);
    apic_self_ipi(0x51);
    irq_window();
    expect_eq("one more waits while one is in service", irq_count(0x51), 2);
    expect_eq("edge-triggered", apic_bit(APIC_TMR, 0x50), 0);
}

/* ---- destinations ---- */

struct target {
    uint32_t dfr, ldr, low, destination;
    bool here;
};

static const struct target targets[] = {
    {~0u, 0x04, ICR_LOGICAL, 0x04, true},
    {~0u, 0x04, ICR_LOGICAL, 0x02, false},
    {~0u, 0x04, ICR_LOGICAL, 0x86, true},
    {~0u, 0x04, ICR_LOGICAL, 0xfb, false},
    {~0u, 0x24, ICR_LOGICAL, 0x20, true},
    {~0u, 0x04, ICR_LOGICAL, 0xff, true},
    {~0u, 0x00, ICR_LOGICAL, 0x01, false},
    {~0u, 0x04, ICR_LOGICAL, 0x00, false},
    {DFR_CLUSTER, 0x21, ICR_LOGICAL, 0x21, true},
    {DFR_CLUSTER, 0x21, ICR_LOGICAL, 0x23, true},
    {DFR_CLUSTER, 0x21, ICR_LOGICAL, 0x22, false},
    {DFR_CLUSTER, 0x21, ICR_LOGICAL, 0x11, false},
    {DFR_CLUSTER, 0x28, ICR_LOGICAL, 0x2f, true},
    {DFR_CLUSTER, 0x21, ICR_LOGICAL, 0xff, true},
    {~0u, 0x04, ICR_LOGICAL | MODE_LOWEST, 0x04, true},
    {~0u, 0x04, ICR_LOGICAL | MODE_LOWEST, 0x08, false},
    {~0u, 0x04, MODE_LOWEST, 0, true},
    {~0u, 0x04, 0, 0, true},
    {~0u, 0x04, 0, 0xff, true},
    {~0u, 0x04, 0, 3, false},
    {~0u, 0x04, ICR_SELF, 3, true},
    {~0u, 0x04, ICR_SELF | ICR_LOGICAL, 8, true},
    {~0u, 0x04, ICR_ALL, 3, true},
    {~0u, 0x04, ICR_OTHERS, 0, false},
    {~0u, 0x04, ICR_OTHERS | ICR_LOGICAL, 4, false},
    {~0u, 0x04, ICR_LOGICAL | LEVEL, 4, true}, /* an IPI is an edge whatever is said */
};

static void destination(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    for (unsigned n = 0; n < COUNT_OF(targets) && !failed(); n++) {
        const struct target *t = &targets[n];

        /* QEMU's makes it level-triggered; and knows no broadcast in the cluster model */
        if (!exact() && ((t->low & LEVEL) || (t->dfr == DFR_CLUSTER && t->destination == 0xff)))
            continue;
        apic_write(APIC_DFR, t->dfr);
        apic_write(APIC_LDR, t->ldr << 24);
        apic_icr(t->low | ICR_ASSERT | (0x80 + n), t->destination);
        expect_eq("idle", apic_read(APIC_ICR) & ICR_PENDING, 0);
        expect_eq("TMR", apic_bit(APIC_TMR, 0x80 + n), 0);
        irq_window();
        if (irq_count(0x80 + n) != t->here)
            fail("DFR %lx LDR %lx ICR %lx to %lx: came %u times", (uint64_t)t->dfr,
                 (uint64_t)t->ldr, (uint64_t)t->low, (uint64_t)t->destination, irq_count(0x80 + n));
    }
}

/* Messages that start other CPUs: there is none. QEMU's takes a status bit that is written for its own. */
static void nobody(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    apic_icr(MODE_INIT | LEVEL | ICR_ASSERT, 5);
    expect_eq("INIT", apic_read(APIC_ICR), MODE_INIT | LEVEL | ICR_ASSERT);
    apic_icr(MODE_INIT | LEVEL, 5);
    expect_eq("deasserted", apic_read(APIC_ICR), MODE_INIT | LEVEL);
    apic_icr(MODE_SIPI | ICR_ASSERT | 0x08, 5);
    expect_eq("SIPI", apic_read(APIC_ICR), MODE_SIPI | ICR_ASSERT | 0x08);
    apic_icr(MODE_SIPI | ICR_ASSERT | 0x08, 0); /* a CPU that is not waiting for it */
    apic_icr(ICR_OTHERS | MODE_INIT | ICR_ASSERT, 0);
    apic_icr(ICR_OTHERS | ICR_NMI | ICR_ASSERT, 0);
    apic_icr(ICR_ALL | MODE_INIT | LEVEL, 0); /* deasserted: arbitration IDs, nothing else */
    if (exact()) {
        apic_icr(ICR_PENDING | ICR_ASSERT | 0x99, 5);
        expect_eq("status", apic_read(APIC_ICR), ICR_ASSERT | 0x99);
    }
    irq_window();
    expect_eq("interrupts", irq_total, 0);
}

/* QEMU's ESR does not know vectors, nor how to become 0. */
static void illegal_vectors(unsigned i)
{
    (void)i;
    if (!irq_ready())
        return;
    if (!exact()) {
        skip("not with QEMU's own APIC");
        return;
    }
    apic_write(APIC_ERROR, 0x52);
    for (unsigned v = 0; v < FIRST && !failed(); v++) {
        apic_self_ipi(v);
        expect(!apic_bit(APIC_IRR, v), "not accepted");
        apic_write(APIC_ESR, 0);
        expect((apic_read(APIC_ESR) & ESR_ILLEGAL) && !(apic_read(APIC_ESR) & ~ESR_ILLEGAL),
               "illegal vector in ESR");
        apic_write(APIC_ESR, 0);
        expect_eq("ESR is clear again", apic_read(APIC_ESR), 0);
        irq_window();
        expect_eq("error interrupts", irq_count(0x52), v + 1);
    }
    (void)apic_read(0x40);
    expect_eq("ESR shows nothing before it is written", apic_read(APIC_ESR), 0);
    apic_write(APIC_ESR, 0);
    expect_eq("a register that is not there", apic_read(APIC_ESR), ESR_ADDRESS);
    apic_write(APIC_ESR, 0);
    irq_window();
    expect_eq("interrupts", irq_total, FIRST + 1);
}

/* ---- NMI ---- */

static unsigned nmi_depth, nmi_deepest;

static void nmi(struct trap_frame *frame, void *arg)
{
    unsigned more = *(const unsigned *)arg;

    (void)frame;
    if (++nmi_depth > nmi_deepest)
        nmi_deepest = nmi_depth;
    if (irq_count(VEC_NMI) == 1)
        for (unsigned n = 0; n < more; n++)
            apic_icr(ICR_SELF | ICR_ASSERT | ICR_NMI, 0);
    __asm__ volatile("nop\n\tnop\n\tnop");
    nmi_depth--;
}

/* With IF=0; those sent inside the handler wait for its IRET, and as a CPU notes one of them, two are one. */
static void nmis(unsigned i)
{
    uint64_t start = rdtsc();

    if (!irq_ready())
        return;
    nmi_depth = nmi_deepest = 0;
    irq_on(VEC_NMI, nmi, &i);
    apic_icr(ICR_SELF | ICR_ASSERT | ICR_NMI | 0x33, 0);
    while (irq_count(VEC_NMI) < 1 + (i > 0) && rdtsc() - start < WHILE)
        ;
    expect_eq("NMIs", irq_count(VEC_NMI) < 1 + (i > 0), 0);
    expect_eq("NMIs in all", irq_count(VEC_NMI), 1 + (i > 0));
    expect_eq("nested", nmi_deepest, 1);
    expect_eq("interrupts", irq_total, irq_count(VEC_NMI));
    expect(!apic_bit(APIC_ISR, 0x33) && !apic_bit(APIC_IRR, 0x33), "an NMI has no vector");
    irq_on(VEC_NMI, NULL, NULL);
}

static void name_nmis(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "NMI with IF=0, and %u in its handler", i);
}

/* An interrupt and then an NMI are sent with IF=0, where the interrupt waits for STI. */
static bool send_both(void)
{
    static const unsigned none = 0;

    if (!irq_ready())
        return false;
    irq_on(VEC_NMI, nmi, (void *)(uintptr_t)&none);
    apic_self_ipi(0x40);
    apic_icr(ICR_SELF | ICR_ASSERT | ICR_NMI, 0);
    return true;
}

static void nmi_first(unsigned i)
{
    (void)i;
    if (!send_both())
        return;
    irq_window();
    expect_eq("total", irq_total, 2);
    expect_eq("first", irq_log[0].vector, VEC_NMI);
    expect_eq("second", irq_log[1].vector, 0x40);
    irq_on(VEC_NMI, NULL, NULL);
}

static void nmi_alone(unsigned i)
{
    (void)i;
    if (!send_both())
        return;
    expect_eq("NMI", irq_count(VEC_NMI), 1);
    expect_eq("interrupt", irq_count(0x40), 0);
    irq_window();
    expect_eq("interrupt", irq_count(0x40), 1);
    irq_on(VEC_NMI, NULL, NULL);
}

/* ---- the boundary ---- */

static const char *const place_names[AT_COUNT] = {"STI; NOP",
                                                  "STI; CLI",
                                                  "STI; STI",
                                                  "POPF",
                                                  "IRET",
                                                  "STI; HLT",
                                                  "STI; load",
                                                  "STI; store",
                                                  "STI; CPUID",
                                                  "STI; IN",
                                                  "STI; RDMSR",
                                                  "STI; MOV to CR8",
                                                  "MOV to CR8",
                                                  "the store that sends it",
                                                  "MOV SS; the store that sends it",
                                                  "STI; the store that sends it"};

/*
 * In front of which instruction it is taken. A store that sends is exact only here: QEMU's own translation looks for
 * interrupts behind a few instructions more.
 */
static void boundary(unsigned i)
{
    const struct irq_place_code *p = &irq_places[i];
    bool sends = i >= AT_STORE_SENDS, nowhere = p->at == 0;
    uint64_t address = GVA_APIC + (sends ? APIC_ICR : APIC_LDR);

    if (!irq_ready())
        return;
    if (i == AT_CR8_OPENS)
        apic_write(APIC_TPR, 0xf0);
    if (!sends)
        apic_self_ipi(0x66);
    p->run(address, sends ? ICR_SELF | ICR_ASSERT | 0x66 : 0);
    if (exact() || !sends) {
        expect_eq("interrupts", irq_total, nowhere ? 0 : 1);
        if (!nowhere)
            expect_eq("taken in front of", irq_log[0].rip, p->at);
    }
    irq_window();
    expect_eq("interrupts in the end", irq_total, 1);
}

static void name_boundary(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "the interrupt is taken %s %s",
                i == AT_STI_CLI ? "not behind" : "behind", place_names[i]);
}

static const struct check list[] = {
    {"apic", NULL, name_every_vector, 2, false, every_vector},
    {"apic", NULL, name_all_at_once, 2, false, all_at_once},
    {"apic", "a handler lets in higher classes only", NULL, 0, false, nesting},
    {"apic", "14 classes deep", NULL, 0, false, deep},
    {"apic", "EOI is for the highest in service", NULL, 0, false, eoi_order},
    {"apic", "the same vector coalesces", NULL, 0, false, coalesce},
    {"apic", "physical and logical destinations, shorthands", NULL, 0, false, destination},
    {"apic", "INIT, SIPI and NMI for nobody", NULL, 0, false, nobody},
    {"apic", "illegal vectors and registers: ESR and its interrupt", NULL, 0, false,
     illegal_vectors},
    {"apic", NULL, name_nmis, 3, false, nmis},
    {"apic", "NMI goes before an interrupt", NULL, 0, false, nmi_first},
    {"apic", "NMI with IF=0 while an interrupt waits", NULL, 0, false, nmi_alone},
    {"apic", NULL, name_boundary, AT_COUNT, false, boundary},
};
const struct check_list checks_ipi = {list, COUNT_OF(list)};
