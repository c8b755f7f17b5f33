/*
 * The edu device, as QEMU's docs/specs/edu.rst describes it: the same checks run on QEMU's own and on ours. Where a check
 * takes more than one answer, it says why.
 */
#include "tests/guest/edu.h"

struct pci_function edu;

bool edu_ready(void)
{
    static bool looked;

    if (!looked) {
        looked = true;
        if (pci_find(&edu, EDU_VENDOR, EDU_DEVICE, 0)) {
            bar_show(&edu, 0, GVA_EDU, EDU_BYTES, PAGE, PAT_UC);
            command_set(&edu, COMMAND_MASTER | COMMAND_NO_INTX, true);
        }
    }
    if (!edu.present)
        skip("no edu device");
    return edu.present;
}

bool edu_wait_while(unsigned offset, uint64_t bit)
{
    uint64_t start = rdtsc();

    for (uint64_t n = 0; n < POLLS || rdtsc() - start < PATIENCE; n++)
        if (!(edu_get(offset) & bit))
            return true;
    fail("the bit %lx at %lx stays", bit, (uint64_t)offset);
    return false;
}

static void identity(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    expect_eq("revision and class", config_get(&edu, CFG_REVISION, 4), 0x00ff0010);
    expect_eq("header type", config_get(&edu, CFG_HEADER_TYPE, 1), 0);
    expect_eq("subsystem", config_get(&edu, CFG_SUBSYSTEM, 4), 0x11001af4);
    expect(config_get(&edu, CFG_PIN, 1) <= 1, "interrupt pin");
    expect_eq("bytes of BAR0", edu.bar[0].bytes, EDU_BYTES);
    expect(!edu.bar[0].io && !edu.bar[0].wide && !edu.bar[0].prefetchable,
           "BAR0 is 32-bit memory that is not prefetchable");
    for (unsigned bar = 1; bar < PCI_BARS; bar++)
        expect_eq("another BAR", edu.bar[bar].bytes, 0);
    expect_eq("identification", edu_get(R_ID), ID_VALUE);
    edu_put(R_ID, 0);
    expect_eq("identification after a write", edu_get(R_ID), ID_VALUE);
}

static void liveness(unsigned i)
{
    static const uint32_t values[] = {0, 1, 0xffffffff, 0x12345678, 0x80000000, 0x55aa55aa};

    (void)i;
    if (!edu_ready())
        return;
    for (unsigned v = 0; v < COUNT_OF(values); v++) {
        edu_put(R_LIVENESS, values[v]);
        expect_eq("complement", edu_get(R_LIVENESS), ~values[v]);
    }
}

static void factorial(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    for (uint32_t n = 0; n <= 40 && !failed(); n++) {
        uint32_t product = 1; /* modulo 2^32 from 13 on, and 0 from 34 on */

        for (uint32_t k = 2; k <= n; k++)
            product *= k;
        edu_put(R_FACTORIAL, n);
        if (edu_wait_while(R_STATUS, STATUS_BUSY))
            expect_eq("factorial", edu_get(R_FACTORIAL), product);
    }
    expect_eq("interrupts of it", edu_get(R_IRQ), 0);
}

static void status(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    edu_put(R_STATUS, 0xffffffff);
    expect_eq("all ones written", edu_get(R_STATUS), STATUS_IRQ);
    edu_put(R_STATUS, STATUS_BUSY);
    expect_eq("only busy written", edu_get(R_STATUS), 0);
}

static void factorial_interrupt(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    edu_put(R_STATUS, STATUS_IRQ);
    edu_put(R_FACTORIAL, 5);
    expect(edu_wait_while(R_STATUS, STATUS_BUSY), "computed");
    /* The bit goes before the interrupt comes: the computation is a thread of its own on QEMU. */
    for (unsigned n = 0; n < POLLS && edu_get(R_IRQ) == 0; n++)
        ;
    expect_eq("interrupt status", edu_get(R_IRQ), IRQ_FACTORIAL);
    expect_eq("status", edu_get(R_STATUS), STATUS_IRQ);
    expect_eq("factorial", edu_get(R_FACTORIAL), 120);
    edu_put(R_ACK, IRQ_FACTORIAL);
    expect_eq("acknowledged", edu_get(R_IRQ), 0);
    edu_put(R_STATUS, 0);
    edu_put(R_FACTORIAL, 4);
    expect(edu_wait_while(R_STATUS, STATUS_BUSY), "computed");
    expect_eq("interrupt status without the bit", edu_get(R_IRQ), 0);
}

/* STATUS tells of an interrupt where there is a pin for it: QEMU's has INTA, ours sends messages only. */
static uint32_t pin_status(void)
{
    return config_get(&edu, CFG_STATUS, 2) & STATUS_INTERRUPT;
}

static void interrupt_status(unsigned i)
{
    uint32_t pin;

    (void)i;
    if (!edu_ready())
        return;
    pin = config_get(&edu, CFG_PIN, 1) != 0 ? STATUS_INTERRUPT : 0;
    edu_put(R_RAISE, 0x1);
    expect_eq("raised", edu_get(R_IRQ), 0x1);
    edu_put(R_RAISE, 0x80000070);
    expect_eq("more raised", edu_get(R_IRQ), 0x80000071);
    edu_put(R_RAISE, 0);
    expect_eq("nothing raised", edu_get(R_IRQ), 0x80000071);
    edu_put(R_IRQ, 0);
    expect_eq("read-only", edu_get(R_IRQ), 0x80000071);
    expect_eq("interrupt bit of STATUS", pin_status(), pin);
    edu_put(R_ACK, 0x80000001);
    expect_eq("some acknowledged", edu_get(R_IRQ), 0x70);
    edu_put(R_ACK, 0x0f);
    expect_eq("others acknowledged", edu_get(R_IRQ), 0x70);
    edu_put(R_ACK, 0xffffffff);
    expect_eq("all acknowledged", edu_get(R_IRQ), 0);
    expect_eq("interrupt bit of STATUS", pin_status(), 0);
}

static void nobody_s(unsigned i)
{
    static const unsigned offsets[] = {0x0c,
                                       0x1c,
                                       0x28,
                                       0x5c,
                                       R_RAISE,
                                       R_ACK,
                                       0x68,
                                       0x7c,
                                       0x84,
                                       0x8c,
                                       0x94,
                                       0x9c,
                                       0xa0,
                                       0x100,
                                       0x1000,
                                       EDU_BUFFER,
                                       EDU_BUFFER + 0xffc,
                                       EDU_BYTES - 4};

    (void)i;
    if (!edu_ready())
        return;
    for (unsigned o = 0; o < COUNT_OF(offsets) && !failed(); o++) {
        if (offsets[o] != R_RAISE && offsets[o] != R_ACK)
            edu_put(offsets[o], 0x12345678);
        if (!expect_eq("ones", edu_get(offsets[o]), 0xffffffff))
            say("# at offset 0x%x\n", offsets[o]);
    }
    expect_eq("identification", edu_get(R_ID), ID_VALUE);
}

/* Below 0x80 accesses have four bytes, from there on four or eight. */
static void widths(unsigned i)
{
    uint64_t byte, word;

    (void)i;
    if (!edu_ready())
        return;
    edu_put(R_LIVENESS, 0);
    expect_eq("eight bytes of the identification", load(GVA_EDU + R_ID, 8), ~0ull);
    expect_eq("eight bytes of the factorial", load(GVA_EDU + R_FACTORIAL, 8), ~0ull);
    store(GVA_EDU + R_ID, 8, 0x1234567800000000);
    expect_eq("after eight bytes over it", edu_get(R_LIVENESS), 0xffffffff);
    /* The specification leaves narrow reads open: QEMU's memory core answers 0 for it, ours ones like any refused read. */
    byte = load(GVA_EDU + R_ID, 1);
    word = load(GVA_EDU + R_LIVENESS + 2, 2);
    expect((byte == 0 && word == 0) || (byte == 0xff && word == 0xffff), "narrow reads");
    store(GVA_EDU + R_LIVENESS, 1, 0);
    store(GVA_EDU + R_LIVENESS + 2, 2, 0);
    expect_eq("after narrow writes", edu_get(R_LIVENESS), 0xffffffff);
}

static void dma_registers(unsigned i)
{
    static const unsigned offsets[] = {R_SOURCE, R_DESTINATION, R_COUNT};

    (void)i;
    if (!edu_ready())
        return;
    for (unsigned r = 0; r < COUNT_OF(offsets) && !failed(); r++) {
        store(GVA_EDU + offsets[r], 8, 0x123456789abcdef0 + r);
        expect_eq("eight bytes", load(GVA_EDU + offsets[r], 8), 0x123456789abcdef0 + r);
        expect_eq("the low four", edu_get(offsets[r]), 0x9abcdef0 + r);
        edu_put(offsets[r], 0x87654321);
        expect_eq("four bytes written", load(GVA_EDU + offsets[r], 8), 0x87654321);
    }
    store(GVA_EDU + R_COMMAND, 8, DMA_TO_RAM | DMA_IRQ);
    expect_eq("a command that does not start", load(GVA_EDU + R_COMMAND, 8) & DMA_START, 0);
}

static void moves(unsigned i)
{
    uint64_t home, away;

    (void)i;
    if (!edu_ready())
        return;
    home = edu.bar[0].base;
    away = free_address(EDU_BYTES);
    edu_put(R_LIVENESS, 0x1234);
    command_set(&edu, COMMAND_MEMORY, false);
    expect_nobody("decode off", GVA_EDU + R_ID, 4);
    bar_set(&edu, 0, away);
    bar_show(&edu, 0, GVA_MOVED, PAGE, PAGE, PAT_UC);
    expect_nobody("where it was", GVA_EDU + R_ID, 4);
    expect_eq("where it is", load(GVA_MOVED + R_ID, 4), ID_VALUE);
    expect_eq("its state", load(GVA_MOVED + R_LIVENESS, 4), ~0x1234u);
    bar_set(&edu, 0, home); /* with decode on */
    expect_eq("home again", edu_get(R_ID), ID_VALUE);
    unmap(GVA_MOVED, PAGE, PAGE);
}

static const struct check list[] = {
    {"edu", "ids, class, BARs, identification", NULL, 0, false, identity},
    {"edu", "liveness gives the complement", NULL, 0, false, liveness},
    {"edu", "factorials of 0 to 40", NULL, 0, false, factorial},
    {"edu", "only the interrupt bit of the status can be written", NULL, 0, false, status},
    {"edu", "a factorial raises its interrupt when asked to", NULL, 0, false, factorial_interrupt},
    {"edu", "interrupts are raised and acknowledged by bits", NULL, 0, false, interrupt_status},
    {"edu", "what nobody answers for reads ones", NULL, 0, false, nobody_s},
    {"edu", "accesses of other widths are refused", NULL, 0, false, widths},
    {"edu", "registers of transfers, by four and by eight bytes", NULL, 0, false, dma_registers},
    {"edu", "BAR0 moves, and the state stays", NULL, 0, false, moves},
};
const struct check_list checks_edu = {list, COUNT_OF(list)};
