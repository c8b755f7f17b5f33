/*
 * Loads between magic breaks, at the edges of every initial range: a debugger that shows what the CPU walked
 * checks each leaf without the hypervisor's help. Each access is announced by a line of numbers. A debugger that
 * cannot trace reads memory at the end: with `hold` the guest then stays where it is, tables and all.
 */
#include "tests/guest/guest.h"

static unsigned number;

static void touch(const struct initial *r, uint64_t page)
{
    uint64_t gva = GVA_BAR2 + page * PAGE + 8;

    say("# oracle %u gva=0x%lx gpa=0x%lx bar2=0x%lx pat=0x%lx type=%u ipat=%u level=%u\n", ++number,
        gva, lab.base[2] + page * PAGE + 8, lab.base[2], (uint64_t)GUEST_PAT, type_value[r->type],
        r->ipat, initial_level(r, page));
    invlpg(gva);
    __asm__ volatile("xchgw %%bx, %%bx\n\tmovl (%0), %%eax\n\txchgw %%bx, %%bx" ::"r"(gva)
                     : "eax", "memory");
}

/* First and last page, and both sides of each 2 MiB border inside. */
static void touch_range(unsigned n)
{
    struct initial r = initial_range(n);
    uint64_t last = r.page + r.pages - 1;

    if (!type_legal(r.ipat != 0))
        return;
    for (uint64_t p = r.page; p <= last; p++)
        if (p == r.page || p == last || p % 512 == 0 || p % 512 == 511)
            touch(&r, p);
}

void oracle_run(bool hold)
{
    say("TAP version 13\n1..1\n");
    if (!lab.present) {
        say("ok 1 - oracle: loads # SKIP no lab device\n");
        tap_done(0, 0, 1);
        return;
    }
    for (unsigned n = 0; n < INITIAL_COUNT; n++)
        touch_range(n);
    say("ok 1 - oracle: %u loads\n", number);
    tap_done(1, 0, 0);
    if (!hold)
        return;
    say("# oracle: holding\n");
    for (;;)
        __asm__ volatile("pause");
}
