/*
 * The device of docs/first-device.md, under the name that its reader gave it. The page of the tutorial that talks to the device
 * is this file between the two marks.
 */
#include "tests/guest/pci.h"

#define VECTOR   0x61u
#define PATIENCE 2000000000ull /* ticks of the TSC */

static struct pci_function first;

/* [tutorial */
/* BAR0 at an address of the guest's choice, uncached: the register, then the page of memory. */
#define REGISTER (GVA_EDU)
#define MEMORY   (GVA_EDU + PAGE)

static void register_and_interrupt(unsigned i)
{
    (void)i;
    if (!expect(pci_find(&first, 0x1d1d, 0x1ab2, 0), "the device is on the bus"))
        return;
    bar_show(&first, 0, GVA_EDU, 2 * PAGE, PAGE, PAT_UC);
    command_set(&first, COMMAND_MASTER, true); /* without it no interrupt comes */
    irq_on(VECTOR, NULL, NULL);
    irq_forget();
    if (!irq_ready() || !msi_on(&first, VECTOR))
        return;
    expect_eq("the register at first", load(REGISTER, 4), 0);
    store(REGISTER, 4, 42);
    expect(irq_wait_count(VECTOR, 1, PATIENCE), "the interrupt");
    expect_eq("the register", load(REGISTER, 4), 42);
    msi_off(&first);
}

static void page_of_memory(unsigned i)
{
    (void)i;
    for (uint64_t at = 0; at < PAGE; at += 8)
        store(MEMORY + at, 8, at * 3);
    for (uint64_t at = 0; at < PAGE; at += 8)
        expect_eq("word", load(MEMORY + at, 8), at * 3);
}
/* tutorial] */

/* Accesses that the device does not take. */
static void nothing_else(unsigned i)
{
    (void)i;
    expect_eq("a byte", load(REGISTER, 1), 0xff);
    expect_eq("behind the register", load(REGISTER + 4, 4), 0xffffffff);
    store(REGISTER, 2, 7);
    expect_eq("the register after a narrow write", load(REGISTER, 4), 42);
}

static const struct check list[] = {
    {"first", "a register that interrupts", NULL, 0, false, register_and_interrupt},
    {"first", "a page of memory", NULL, 0, false, page_of_memory},
    {"first", "nothing else", NULL, 0, false, nothing_else},
};

const struct check_list checks_first = {list, COUNT_OF(list)};
